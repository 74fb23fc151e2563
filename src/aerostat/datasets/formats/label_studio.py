"""Label Studio: JSON and JSON-MIN exports of images, https://labelstud.io/guide/task_format.

Coordinates are per cent of the displayed picture, so the size of the image file counts. A turned rectangle
becomes the outline of its corners. Of several annotations of a task the newest that was not cancelled is
read. Predictions are read only if no task has an annotation. An annotation without results is an image
without objects; a task without annotations is left out. A labelling configuration beside the file,
``NAME.label_config.xml`` or ``label_config*.xml``, gives the order of the classes.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from aerostat.datasets.annotation_text import AnnotationText, decode, is_utf8, keys_of, refuse_other_encoding
from aerostat.datasets.formats.assembly import Findings, StatedImage, assemble
from aerostat.datasets.formats.checks import BrokenRecords, refuse_repeated
from aerostat.datasets.formats.format import Format, SplitFiles
from aerostat.datasets.formats.label_studio_config import LabelConfig, classes_of, configs_beside
from aerostat.datasets.formats.label_studio_regions import PER_CENT, is_drawn, objects_of, stated_size
from aerostat.datasets.formats.label_studio_write import SOURCE, write_label_studio
from aerostat.datasets.image_folder import ImageFolder
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import Split
from aerostat.errors import InputError
from aerostat.images.read import IMAGE_SUFFIXES
from aerostat.progress import track
from aerostat.text import shown

_MANY = 5000
"""Tasks from which on progress is shown."""

_OTHERS = "further annotations of a task, of which the newest is read"
_OTHER_PREDICTIONS = "further predictions of a task, of which the newest is read"
_CANCELLED = "cancelled annotations"
_UNLABELLED = "tasks without an annotation, left out with their images"
_NO_IMAGE = "tasks without an image"


@dataclass(slots=True)
class _Task:
    """A task, or the entries of JSON-MIN that belong to one.

    Args:
        record: by which messages call it.
        data: of the task.
        annotations: each with a `result`.
        predictions: likewise.
        upload: name of the uploaded file.
    """

    record: str
    data: Mapping[str, Any]
    annotations: list[dict[str, Any]] = field(default_factory=list)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    upload: str = ""


@dataclass(slots=True)
class _Read:
    """The images of tasks, and what repeats an image has to have the same of."""

    stated: list[StatedImage] = field(default_factory=list)
    values: dict[str, list[Any]] = field(default_factory=dict)
    uploads: dict[str, str] = field(default_factory=dict)
    annotated: int = 0


def read_label_studio(files: SplitFiles, options: ReadOptions) -> Split:
    """Read a split of tasks.

    Args:
        files: where they stand.
        options: of reading.

    Raises:
        InputError: the file is cut off or no JSON, or holds no annotated image.
    """
    (text,) = files.texts
    configs = configs_beside(text.path)
    findings = Findings(files.split)
    content = text.take()
    read = _read_tasks(content, files, configs, findings, predicted=False)
    if not read.annotated:
        guesses = Findings(files.split)
        predicted = _read_tasks(content, files, configs, guesses, predicted=True)
        if predicted.stated:
            read, findings = predicted, guesses
            detail = "no task has an annotation, so the predictions of a model are read"
            findings.add(text.path.name, "not read", detail)
    del content
    if not read.stated:
        raise InputError(
            f"{files.annotations} has no annotated image ({findings.unread[_UNLABELLED]} tasks without an "
            "annotation); label a task and export it again."
        )
    _use_uploads(read, files)
    used = {o.name for image in read.stated for o in image.objects if o.name is not None}
    classes = files.classes or classes_of(configs, used)
    return assemble(read.stated, files, options, findings, format_name="label-studio", classes=classes)


def _read_tasks(
    content: bytes, files: SplitFiles, configs: Sequence[LabelConfig], findings: Findings, predicted: bool
) -> _Read:
    read = _Read()
    image_keys = {name: key for config in configs for name, key in config.images.items()}
    broken = BrokenRecords(findings.problems, files.annotations)
    repeated: list[str] = []
    for task in _tasks(content, files, findings):
        broken.refuse_too_many()
        results = _chosen(task, findings, predicted)
        if results is None:
            findings.unread[_UNLABELLED] += 1
            continue
        read.annotated += 1
        for name, part in _by_image(task, results, image_keys, findings):
            values = [result.get("value") for result in part if isinstance(result, dict)]
            if name in read.values:
                if read.values[name] == values:
                    findings.add(name, "same annotations", f"{task.record} repeats another task")
                else:
                    repeated += [name, name]
                continue
            read.values[name] = values
            if task.upload:
                read.uploads[name] = task.upload
            size = stated_size(part)
            objects = objects_of(part, size, name, findings)
            read.stated.append(StatedImage(name, objects, size, unit=size or PER_CENT))
    refuse_repeated(repeated, ("image", "images"), files.annotations)
    return read


# --- tasks ---


def _tasks(content: bytes, files: SplitFiles, findings: Findings) -> Iterator[_Task]:
    """Yield the tasks of a file, one decoded at a time: brushes take much memory."""
    path = files.annotations
    if content.lstrip().startswith(b"{"):
        decode(content, dict[str, msgspec.Raw], path)  # refuses a text that is cut off
        raws: Sequence[bytes | msgspec.Raw] = [content]
    else:
        raws = decode(content, list[msgspec.Raw], path)
    older = _older_entries(raws)
    tracked: Iterable[bytes | msgspec.Raw] = (
        track(raws, f"reading {path.name}") if len(raws) > _MANY else raws
    )
    for number, raw in enumerate(tracked):
        if number in older:
            findings.unread[_OTHERS] += 1
            continue
        try:
            record = msgspec.json.decode(raw)
            task = _task_of(record, f"task {number}")
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            refuse_other_encoding(raw, path)
            detail = f"task {number} is no task ({error}); left out"
            findings.add(path.name, "malformed record", detail, f"task {number}")
            continue
        yield task


class _Head(msgspec.Struct):
    id: Any = None
    data: msgspec.Raw | None = None
    annotation_id: Any = None
    updated_at: Any = None
    created_at: Any = None


def _older_entries(raws: Sequence[bytes | msgspec.Raw]) -> set[int]:
    """Return the entries of JSON-MIN to leave out: it has one for each annotation of a task."""
    newest: dict[object, tuple[tuple[str, float], int]] = {}
    left_out = set[int]()
    for number, raw in enumerate(raws):
        try:
            head = msgspec.json.decode(raw, type=_Head)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
        if head.data is not None or not isinstance(head.id, (int, str)) or head.annotation_id is None:
            continue
        age = _age({"updated_at": head.updated_at, "created_at": head.created_at, "id": head.annotation_id})
        other = newest.get(head.id)
        if other is not None:
            left_out.add(number if age <= other[0] else other[1])
        if other is None or age > other[0]:
            newest[head.id] = age, number
    return left_out


def _age(annotation: Mapping[str, Any]) -> tuple[str, float]:
    """Return what sorts annotations by their age; dates of ISO 8601 sort as text."""
    date = annotation.get("updated_at") or annotation.get("created_at")
    number = annotation.get("id")
    return (
        date if isinstance(date, str) else "",
        float(number) if isinstance(number, int) and abs(number) < 1 << 63 else 0.0,
    )


def _task_of(record: Any, name: str) -> _Task:
    """Return a task from one of its forms.

    Raises:
        ValueError: it has none of them.
    """
    if not isinstance(record, dict):
        raise ValueError(f"found {shown(record, 30)}")
    if isinstance(record.get("id"), int):
        name = f"task {record['id']}"
    inner = record.get("task")
    if isinstance(inner, dict) and isinstance(record.get("result"), list):  # a file of a target storage
        record = {**inner, "annotations": [record]}
    data = record.get("data")
    upload = record.get("file_upload")
    upload = upload if isinstance(upload, str) else ""
    if isinstance(data, dict):
        annotations = record.get("annotations", record.get("completions"))  # versions below 1.0
        return _Task(name, data, _objects(annotations), _objects(record.get("predictions")), upload)
    if "annotation_id" not in record and "annotator" not in record and not _fields_of_regions(record):
        raise ValueError("it has no data")
    results = [
        {**{k: item.get(k) for k in ("original_width", "original_height", "id")}, "value": item}
        for item in _fields_of_regions(record)
    ]
    return _Task(name, record, [{"result": results}])


def _objects(stated: Any) -> list[dict[str, Any]]:
    return [item for item in stated if isinstance(item, dict)] if isinstance(stated, list) else []


def _fields_of_regions(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the regions in the fields of an entry of JSON-MIN."""
    lists = (value if isinstance(value, list) else [value] for value in record.values())
    items = (item for found in lists for item in found if isinstance(item, dict))
    return [item for item in items if any(key.endswith("labels") or key == "points" for key in item)]


def _chosen(task: _Task, findings: Findings, predicted: bool) -> list[Any] | None:
    """Return the results of the newest annotation, or prediction; None if there is none."""
    if predicted:
        usable = [p for p in task.predictions if isinstance(p.get("result"), list)]
        findings.unread[_OTHER_PREDICTIONS] += max(0, len(usable) - 1)
    else:
        standing = [a for a in task.annotations if not a.get("was_cancelled")]
        findings.unread[_CANCELLED] += len(task.annotations) - len(standing)
        usable = [a for a in standing if isinstance(a.get("result"), list)]
        findings.unread[_OTHERS] += max(0, len(usable) - 1)
        findings.unread["predictions"] += len(task.predictions)
    if not usable:
        return None
    results = max(usable, key=_age)["result"]
    return list(results)


# --- images ---


def _by_image(
    task: _Task, results: list[Any], image_keys: Mapping[str, str], findings: Findings
) -> list[tuple[str, list[Any]]]:
    """Return the names of the images of a task, each with its results.

    A task may show several images: a result says on which it is, by the name of a tag and by a number.
    """
    parts: dict[str, list[Any]] = {}
    for result in results:
        name = None
        if is_drawn(result):
            name = _image_of(task.data, result.get("to_name"), result.get("item_index"), image_keys)
        parts.setdefault(name or "", []).append(result)
    unnamed = parts.pop("", [])
    if not parts:
        name = _image_of(task.data, None, None, image_keys)
        if name is None:
            findings.unread[_NO_IMAGE] += 1
            return []
        parts[name] = []
    next(iter(parts.values())).extend(unnamed)
    return list(parts.items())


def _image_of(
    data: Mapping[str, Any], tag: object, index: object, image_keys: Mapping[str, str]
) -> str | None:
    """Return the name of the image that a tag shows.

    Args:
        data: of the task.
        tag: name of the tag; None for the only one.
        index: place in a list of images.
        image_keys: keys of the data by tag, from a configuration.
    """
    named = str(tag).removeprefix("$") if tag is not None else ""
    texts = [key for key, value in data.items() if isinstance(value, str)]
    likely = [key for key, value in data.items() if _is_image(value)] or texts
    for key in (image_keys.get(named), named, "image", *(likely if len(likely) == 1 else ())):
        value = data.get(key) if key else None
        if isinstance(value, list) and value:
            place = index if isinstance(index, int) and 0 <= index < len(value) else 0
            value = value[place]
        if isinstance(value, str) and value.strip():
            return _name_of(value, data)
    return None


def _is_image(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and _is_image(value[0])
    if not isinstance(value, str):
        return False
    path = value.partition("?")[0] if "?d=" not in value else value
    return f".{path.rpartition('.')[2].lower()}" in IMAGE_SUFFIXES


def _name_of(url: str, data: Mapping[str, Any]) -> str:
    """Return the name of an image from its URL; written tasks have the name beside it."""
    name = url
    if "local-files" in url:
        query = urllib.parse.parse_qsl(url.partition("?")[2])
        name = next((value for key, value in query if key == "d"), "").lstrip("/") or url
    stated = data.get("file_name")
    if isinstance(stated, str) and stated and (name == stated or name.endswith(f"/{stated}")):
        return stated
    return name


def _use_uploads(read: _Read, files: SplitFiles) -> None:
    """Name images by the file that was uploaded, where the name in the task leads nowhere."""
    if not read.uploads:
        return
    folder = ImageFolder.choose(files.image_roots, (image.file_name for image in read.stated))
    for image in read.stated:
        upload = read.uploads.get(image.file_name, "")
        if _is_image(upload) and folder.find(image.file_name) is None and folder.find(upload) is not None:
            image.file_name = upload


# --- the format ---

_MARKS_OF_A_LIST = (
    *(b'"annotations"', b'"completions"', b'"predictions"', b'"annotation_id"', b'"annotator"'),
    *(b'"original_width"', b'"rectanglelabels"', b'"polygonlabels"', b'"brushlabels"'),
)
_MARKS_OF_A_TASK = (b'"result"', b'"original_width"', b'"completed_by"')


def _may_begin(head: bytes) -> bool:
    marks = _MARKS_OF_A_LIST if head.startswith(b"[") else _MARKS_OF_A_TASK if head.startswith(b"{") else ()
    return any(mark in head for mark in marks)


def _recognise(text: AnnotationText) -> bool:
    """Return whether a file holds tasks and at least one region, or was written here."""
    if not text.is_json() or text.layout() is not None:
        return False
    document = text.document()
    if isinstance(document, dict):
        return _is_task(list(document)) and _is_annotated(text.content())
    if not document or not _is_task(keys_of(document[0])):
        return False
    return any(_is_annotated(raw) for raw in document)


def _is_task(keys: Sequence[str]) -> bool:
    of_task = {"annotations", "completions", "predictions"} & set(keys)
    of_entry = {"annotator", "annotation_id", "lead_time"} & set(keys)
    return ("data" in keys and bool(of_task)) or {"task", "result"} <= set(keys) or bool(of_entry)


def _is_annotated(raw: bytes | msgspec.Raw) -> bool:
    try:
        record = msgspec.json.decode(raw)
        task = _task_of(record, "")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return not is_utf8(bytes(raw))  # reading refuses it
    if record.get("meta") == SOURCE:
        return True
    lists = [part.get("result") for part in (*task.annotations, *task.predictions)]
    return any(isinstance(found, list) and found for found in lists)


FORMAT = Format(
    *("label-studio", "Label Studio", _may_begin, _recognise, read_label_studio, write_label_studio),
    outlines="several",
)
