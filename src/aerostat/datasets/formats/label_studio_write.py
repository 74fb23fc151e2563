"""Writing tasks for Label Studio, with annotations or with the predictions of a model."""

from __future__ import annotations

import json
import urllib.parse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aerostat.datasets.formats import brush_runs, placed_masks
from aerostat.datasets.formats.exact_box import CORNERS_KEY
from aerostat.datasets.formats.format import LEFT_OUT, WriteOptions
from aerostat.datasets.formats.label_studio_config import CONTROLS, SUFFIX, config_text
from aerostat.datasets.formats.label_studio_regions import POINTS_KEY, corners_of, points_of
from aerostat.datasets.formats.written_form import form_of
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.files import write_bytes, write_text
from aerostat.geometry.masks import Masks
from aerostat.images.location import path_of

SOURCE = {"source": "aerostat"}
"""The `meta` of written tasks, by which a file without any object is known."""


def write_label_studio(split: Split, path: Path, options: WriteOptions) -> Counter[str]:
    """Write a split as tasks that Label Studio imports, and a labelling configuration beside it.

    Images are named for local storage: ``/data/local-files/?d=FOLDER/NAME``, where FOLDER is the last folder
    above the name. Label Studio finds them if LOCAL_FILES_DOCUMENT_ROOT is the folder above it.

    An object of several outlines is one brush mask, because a polygon has one outline.

    Args:
        split: what to write.
        path: the JSON file; the configuration stands beside it as ``NAME.label_config.xml``.
        options: of writing; with `scores` the objects are predictions, which the tool shows as drafts.

    Returns:
        How many objects were written as less than they are, by what was lost.
    """
    lost: Counter[str] = Counter()
    types = Counter[str]()
    tasks = []
    first = 0
    for number, image in enumerate(split.images, start=1):
        size = image.width, image.height
        results = []
        for place, instance in enumerate(image.instances):
            if instance.crowd:
                lost[LEFT_OUT] += 1
                continue
            kind, value = _value(instance, size, lost)
            types[kind] += 1
            result = {
                "id": f"i{number}o{place + 1}",
                "type": kind,
                "from_name": CONTROLS[kind],
                "to_name": "image",
                "original_width": size[0],
                "original_height": size[1],
                "image_rotation": 0,
                "value": {**value, kind: [split.classes[instance.label]]},
            }
            if options.scores is not None:
                result["score"] = float(options.scores[first + place])
            results.append(result)
        first += len(image.instances)
        tasks.append({"data": _data(image), "meta": SOURCE, **_results(results, options)})
    content = json.dumps(tasks, ensure_ascii=False, separators=(",", ":"))
    write_bytes(path, content.encode("utf-8", "surrogatepass"))
    text = config_text(split.classes, types or ("rectanglelabels",))
    write_text(path.with_name(f"{path.stem}{SUFFIX}"), text)
    return lost


def _results(results: list[dict[str, Any]], options: WriteOptions) -> dict[str, Any]:
    """Return the key of a task that holds its results."""
    if options.scores is None:
        return {"annotations": [{"result": results}]}
    if not results:
        return {"predictions": []}
    mean = sum(result["score"] for result in results) / len(results)
    version = options.model or "aerostat"
    return {"predictions": [{"model_version": version, "score": mean, "result": results}]}


def _data(image: ImageRecord) -> dict[str, str]:
    file = path_of(image.location)
    name = image.file_name
    if file is not None:
        parts = file.absolute().parts
        inner = tuple(part for part in name.replace("\\", "/").split("/") if part)
        if parts[-len(inner) :] != inner:
            inner = parts[-1:]
        name = "/".join(parts[-len(inner) - 1 :]) if len(parts) > len(inner) + 1 else "/".join(inner)
    quoted = urllib.parse.quote(name, errors="surrogatepass")
    return {"image": f"/data/local-files/?d={quoted}", "file_name": image.file_name}


def _value(instance: Instance, size: tuple[int, int], lost: Counter[str]) -> tuple[str, dict[str, Any]]:
    """Return the type of the result that holds an object, and its value without the label."""
    if instance.difficult:
        lost["difficult marks"] += 1
    form = form_of(instance, size, lost)
    beside = {} if form.box_xyxy is None else {CORNERS_KEY: list(form.box_xyxy)}
    if form.kind == "box":
        return "rectanglelabels", _rectangle(instance, size)
    if form.kind == "outlines" and len(instance.polygons) == 1:
        return "polygonlabels", {**_polygon(instance.polygons[0], size), **beside}
    if instance.polygons:
        masks = Masks.from_polygons([instance.polygons], size)
        if not masks.area()[0]:
            lost["objects of several outlines without a pixel written as a box"] += 1
            return "rectanglelabels", _rectangle(instance, size)
        lost["outlines of objects with several, written as a mask"] += 1
        mask = masks[0]
        beside = {CORNERS_KEY: list(instance.box_xyxy)}
    else:
        mask = placed_masks.dense_of(instance.rle or {}, size)
    return "brushlabels", {"format": "rle", "rle": brush_runs.encode(mask), **beside}


def _rectangle(instance: Instance, size: tuple[int, int]) -> dict[str, Any]:
    x1, y1, x2, y2 = instance.box_xyxy
    width, height = size
    per_cent = (
        *(x1 * 100 / width, y1 * 100 / height),
        *((x2 - x1) * 100 / width, (y2 - y1) * 100 / height),
    )
    value: dict[str, Any] = dict(zip(("x", "y", "width", "height"), per_cent, strict=True))
    value["rotation"] = 0
    if corners_of(per_cent, size) != instance.box_xyxy:
        value[CORNERS_KEY] = list(instance.box_xyxy)
    return value


def _polygon(outline: np.ndarray[Any, Any], size: Sequence[int]) -> dict[str, Any]:
    per_cent = outline * 100 / np.asarray(size, np.float64)
    value: dict[str, Any] = {"points": per_cent.tolist(), "closed": True}
    if not np.array_equal(points_of(per_cent, (size[0], size[1])), outline):
        value[POINTS_KEY] = outline.tolist()
    return value
