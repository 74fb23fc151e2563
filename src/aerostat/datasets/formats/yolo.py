"""YOLO: one text file per image, with a class and a box or an outline in each line, in shares of the image.

The layouts are those of Ultralytics and Roboflow (``data.yaml``), of darknet (``obj.data``), and of folders
alone. A line is ``class cx cy w h``, or ``class x1 y1 x2 y2 x3 y3 ...`` for an outline; four points are an
oriented box. See https://docs.ultralytics.com/datasets/ and https://github.com/AlexeyAB/darknet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from aerostat.collector import gc_disabled
from aerostat.datasets.annotation_text import HEAD_BYTES, AnnotationText
from aerostat.datasets.formats import yolo_config
from aerostat.datasets.formats.assembly import Findings, StatedImage, assemble
from aerostat.datasets.formats.checks import refuse_without_images
from aerostat.datasets.formats.format import Format, SplitFiles, WriteOptions
from aerostat.datasets.formats.yolo_labels import LabelRows
from aerostat.datasets.formats.yolo_layout import find
from aerostat.datasets.formats.yolo_listed import NAME, label_files, without_labels
from aerostat.datasets.formats.yolo_paths import is_image
from aerostat.datasets.formats.yolo_texts import folders_above, label_names, looks_like_labels, names_near
from aerostat.datasets.formats.yolo_write import image_places, write_yolo
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import Split
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath
from aerostat.images.folders import entries
from aerostat.progress import track

MANY_FILES = 3000
"""Label files from which on progress is shown."""
_MAX_UNNAMED = 10_000
"""Classes without names: beyond, a number is no class."""


def _recognise(text: AnnotationText) -> bool:
    return looks_like_labels(text.content()[:HEAD_BYTES])


def _read(files: SplitFiles, options: ReadOptions) -> Split:
    """Read the label files of a split.

    Raises:
        InputError: there is no label file or no known class, or the labels state pixels.
    """
    files = _of_label_files(files) if files.images is None else files
    names = files.images or ()
    refuse_without_images(names, files.annotations)
    found = label_files(files)
    findings = Findings(files.split)
    rows = LabelRows(findings, files.annotations, _has_key_points(files.listing))
    stated: list[StatedImage] = []
    used: set[str] = set()
    with gc_disabled():
        shown = track(names, f"reading labels of {files.split}") if len(names) >= MANY_FILES else names
        for name in shown:
            label = found.of(name)
            if label is not None:
                used.add(str(label))
            if label is None or _add(rows, label, len(stated), name, findings):
                stated.append(StatedImage(name, ()))
        if not used:
            raise without_labels(files.split, names, found)
        _report_strays(files, used, findings)
        classes = _classes(files, options, rows)
        columns = rows.columns(classes, [image.file_name for image in stated])
        root, *elsewhere = files.image_roots  # a folder that was named comes first
        files = replace(files, image_roots=(*elsewhere, root))
        return assemble(
            *(stated, files, options, findings),
            format_name=NAME,
            classes=[name for name in classes if name],
            columns=columns,
        )


def _add(rows: LabelRows, label: AnyPath, image: int, name: str, findings: Findings) -> bool:
    """Add the lines of a label file; report one that cannot be read, whose image would count as empty."""
    reason = "is no text"
    try:
        if rows.add(label.read_bytes(), image, name):
            return True
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    findings.add(name, "malformed record", f"the label file {label.name} {reason}; the image is left out")
    return False


def _report_strays(files: SplitFiles, used: set[str], findings: Findings) -> None:
    """Report label files without an image, where a folder and no list says which images there are."""
    if files.texts or not files.annotations.is_dir():
        return
    root = files.image_roots[0]
    for name in label_names(files.annotations):
        if str(files.annotations / name) not in used:
            findings.add(name, "missing image", f"has no image of its name in {root}")


def _of_label_files(files: SplitFiles) -> SplitFiles:
    """Return the split that single label files describe, with the images that their names mean."""
    folder = files.texts[0].path.parent
    known = {
        name.rpartition(".")[0]: name
        for root in reversed(files.image_roots)
        if root.is_dir()
        for name in entries(root)[1]
        if is_image(name)
    }
    stems = [text.path.stem for text in files.texts]
    return replace(
        files,
        annotations=folder,
        image_roots=(folder, *files.image_roots),
        images=tuple(known.get(stem, stem) for stem in stems),
        classes=files.classes or names_near(*folders_above(folder)),
    )


def _has_key_points(listing: AnyPath | None) -> bool:
    if listing is None or not listing.name.lower().endswith((".yaml", ".yml")):
        return False
    config = yolo_config.read_yaml(listing)
    return config is not None and config.has_key_points


def _classes(files: SplitFiles, options: ReadOptions, rows: LabelRows) -> Sequence[str]:
    """Return the names of the classes by their numbers; empty for a number without a name.

    Raises:
        InputError: a name stands for two numbers, or a number is beyond all names.
    """
    if files.classes:
        twice = yolo_config.repeated(files.classes)
        if twice is not None and options.classes is None:
            raise InputError(
                f"{files.listing or files.annotations} has two classes called {twice!r}; give each its own "
                "name."
            )
        return files.classes
    last = rows.last_class
    if options.classes is not None:
        if last >= len(options.classes):
            raise InputError(
                f"{files.annotations} has objects of the class {last}, and `classes` names those from 0 to "
                f"{len(options.classes) - 1}; name all of them in the order of their numbers."
            )
        return options.classes
    if last >= _MAX_UNNAMED:
        raise InputError(
            f"{files.annotations} has objects of the class {last}, and no list of names is there; expected "
            f"numbers below {_MAX_UNNAMED}."
        )
    return [str(number) for number in range(last + 1)]


def _write(split: Split, path: Path, options: WriteOptions) -> Counter[str]:
    return write_yolo({split.name: split}, path)[split.name]


def _write_all(splits: Mapping[str, Split], path: Path, options: WriteOptions) -> Mapping[str, Counter[str]]:
    return write_yolo(splits, path)


FORMAT = Format(
    NAME,
    "YOLO",
    looks_like_labels,
    _recognise,
    _read,
    _write,
    per_image=True,
    suffix=".txt",
    outlines="one",
    find=find,
    write_all=_write_all,
    image_places=image_places,
)
