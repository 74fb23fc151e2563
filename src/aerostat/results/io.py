"""Files and documents of detections: JSON, CSV and COCO."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.files import write_bytes, write_text
from aerostat.geometry.boxes import xyxy_to_xywh
from aerostat.geometry.mask_measures import PixelSize, measure
from aerostat.geometry.masks import Masks
from aerostat.text import counted

if TYPE_CHECKING:
    from aerostat.results.detections import Detections

CSV_COLUMNS = ("file", "class", "score", "x1", "y1", "x2", "y2")

MaskFormat = Literal["rle", "polygons"]
"""How COCO files state masks: as compressed run lengths, or as outlines along pixel edges. Both are exact."""

Results = Sequence[tuple["str | Path | int", "Detections"]]
"""Images by file name or COCO image id, each with its detections."""


def write_json(path: Path | str, results: Results) -> None:
    """Write the results of many images as one JSON document, ``{"images": [to_dict() of each]}``.

    Args:
        path: the file; it is written whole or not at all.
        results: images with their detections; the name or id given here stands in the document as ``file``.
    """
    images = [{**detections.to_dict(), "file": readable(key)} for key, detections in results]
    write_bytes(Path(path), msgspec.json.encode({"images": images}) + b"\n")


def write_csv(path: Path | str, results: Results, pixel_size: PixelSize | None = None) -> None:
    """Write the results of many images as CSV, one row per detection: file, class, score, x1, y1, x2, y2.

    Where any image has track ids, ``track_id`` follows. Where any has masks, their measures follow (area,
    perimeter, centroid_x, centroid_y, equivalent_diameter, orientation; see `MaskMeasures`), and
    ``segmentation`` (COCO's compressed run lengths as JSON). A field is empty where there is no value, as
    the perimeter of an empty mask.

    Args:
        path: the file (UTF-8); it is written whole or not at all.
        results: images with their detections; an image without detections has no row.
        pixel_size: adds the measures in its unit, such as ``area_um2``.
    """
    tracked = any(detections.track_ids is not None for _, detections in results)
    masked = any(detections.masks is not None for _, detections in results)
    columns = list(measure(Masks.empty((1, 1))).columns(pixel_size)) if masked else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*CSV_COLUMNS, *["track_id"] * tracked, *columns, *["segmentation"] * masked))
    for key, detections in results:
        names = [detections.classes[label] for label in detections.labels.tolist()]
        rows = [
            [readable(key), name, score, *box]
            for name, score, box in zip(
                names, decimals(detections.scores), decimals(detections.boxes_xyxy), strict=True
            )
        ]
        measures = _measures(detections, columns, pixel_size)
        for row, extra, values in zip(rows, _optional_fields(detections), measures, strict=True):
            row += [extra.get("track_id", "")] * tracked
            row += values
            row += [json.dumps(extra["segmentation"]) if "segmentation" in extra else ""] * masked
        writer.writerows(rows)
    write_text(Path(path), text.getvalue())


def _measures(
    detections: Detections, columns: Sequence[str], pixel_size: PixelSize | None
) -> list[list[str]]:
    """Return the fields of the measures of each detection."""
    if detections.masks is None:
        return [[""] * len(columns)] * len(detections)
    measured = measure(detections.masks).columns(pixel_size)
    rows = np.stack([measured[name] for name in columns], axis=1).tolist()
    return [["" if value != value else f"{value:.10g}" for value in row] for row in rows]


def write_coco(
    path: Path | str,
    results: Results,
    category_ids: Sequence[int] | None = None,
    mask_format: MaskFormat = "rle",
) -> None:
    """Write the results of many images in COCO's form.

    Images given by COCO id make a results file, a list of ``image_id, category_id, bbox, score``, as
    evaluation servers and ``loadRes`` take it. Images given by file name, which have no ids elsewhere, make a
    whole COCO document with images, categories and annotations (each with its ``score``), as ``COCO(path)``
    takes it. Masks are written as ``segmentation``, track ids as ``track_id``.

    Args:
        path: the file; it is written whole or not at all.
        results: images, all by id or all by name, with their detections, all of the same classes.
        category_ids: parallel to the classes; None numbers them from 1.
        mask_format: of the masks; see `Detections.to_coco`.

    Raises:
        InputError: ids and names are mixed, class lists differ, or the category ids do not fit the classes.
    """
    by_id = [isinstance(key, int | np.integer) for key, _ in results]
    if any(by_id) and not all(by_id):
        raise InputError("Expected all images by COCO id or all by file name, found both: write two files.")
    for key, detections in results:
        if detections.classes != results[0][1].classes:
            raise InputError(
                f"Expected one class list in {path}, found {len(results[0][1].classes)} classes for "
                f"{results[0][0]} and another list of {len(detections.classes)} for {key}: write two files."
            )
    if all(by_id):
        rows = (detections.to_coco(int(str(key)), category_ids, mask_format) for key, detections in results)
        document: Any = list(chain.from_iterable(rows))
    else:
        document = _coco_document(results, category_ids, mask_format)
    write_bytes(Path(path), msgspec.json.encode(document) + b"\n")


def _coco_document(
    results: Results, category_ids: Sequence[int] | None, mask_format: MaskFormat
) -> dict[str, Any]:
    classes = results[0][1].classes
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (key, detections) in enumerate(results, start=1):
        width, height = detections.image_size or (None, None)
        images.append({"id": image_id, "file_name": readable(key), "width": width, "height": height})
        rows = detections.to_coco(image_id, category_ids, mask_format)
        areas = [row["bbox"][2] * row["bbox"][3] for row in rows]
        if detections.masks is not None:
            areas = detections.masks.area().tolist()
        for row, area in zip(rows, areas, strict=True):
            annotations.append({"id": len(annotations) + 1, **row, "area": area, "iscrowd": 0})
    ids = _category_ids(classes, category_ids)
    categories = [{"id": id_, "name": name} for id_, name in zip(ids, classes, strict=True)]
    return {"images": images, "annotations": annotations, "categories": categories}


def save(detections: Detections, path: Path) -> Path:
    """Write the detections of one image as .json or .csv; see `Detections.save`."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        content = msgspec.json.encode(detections.to_dict())
        write_bytes(path, msgspec.json.format(content, indent=2) + b"\n")
    elif suffix == ".csv":
        write_csv(path, [(detections.path or "", detections)])
    else:
        raise InputError(
            f"Expected a name that ends in .json or .csv, found {path}: draw().save(...) saves a picture."
        )
    return path


def coco_rows(
    detections: Detections,
    image_id: int,
    category_ids: Sequence[int] | None = None,
    mask_format: MaskFormat = "rle",
) -> list[dict[str, Any]]:
    """Return COCO results; see `Detections.to_coco`."""
    ids = _category_ids(detections.classes, category_ids)
    boxes_xywh = xyxy_to_xywh(detections.boxes_xyxy.astype(np.float64)).tolist()
    rows = zip(
        *(boxes_xywh, detections.scores.tolist(), detections.labels.tolist()),
        _optional_fields(detections, mask_format),
        strict=True,
    )
    return [
        {"image_id": image_id, "category_id": ids[label], "bbox": box, "score": score, **extra}
        for box, score, label, extra in rows
    ]


def to_dict(detections: Detections) -> dict[str, Any]:
    """Return a document of plain values; see `Detections.to_dict`."""
    rows = zip(
        *(decimals(detections.boxes_xyxy), decimals(detections.scores), detections.labels.tolist()),
        _optional_fields(detections),
        strict=True,
    )
    document: dict[str, Any] = {
        "file": None if detections.path is None else readable(detections.path),
        "image_size": None if detections.image_size is None else list(detections.image_size),
        "classes": list(detections.classes),
        "detections": [
            {"box_xyxy": box, "score": score, "label": label, "class": detections.classes[label], **extra}
            for box, score, label, extra in rows
        ],
    }
    if not len(detections):  # no row tells that there is a tracker, or that the model gives masks
        document |= {name: [] for name in detections.columns() if name in ("track_ids", "masks")}
    if detections.data:
        document["data"] = {name: values.tolist() for name, values in detections.data.items()}
    return document


def fields_of_dict(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the `Detections` that `to_dict` wrote.

    Raises:
        InputError: something is missing, or of another kind.
    """
    try:
        rows = content["detections"]
        size, file = content.get("image_size"), content.get("file")
        size = None if size is None else (int(size[0]), int(size[1]))
        fields: dict[str, Any] = {
            "boxes_xyxy": np.asarray([row["box_xyxy"] for row in rows]),
            "scores": np.asarray([row["score"] for row in rows]),
            "labels": np.asarray([row["label"] for row in rows]),
            "classes": tuple(str(name) for name in content["classes"]),
            "image_size": size,
            "path": None if file is None else Path(file),
            "data": {name: np.asarray(values) for name, values in content.get("data", {}).items()},
        }
        if any("track_id" in row for row in rows) or (not rows and "track_ids" in content):
            fields["track_ids"] = np.asarray(
                [row["track_id"] for row in rows], np.int64 if not rows else None
            )
        if not rows and "masks" in content and size is not None:
            fields["masks"] = Masks.empty(size)
        if any("segmentation" in row for row in rows):
            fields["masks"] = Masks.from_coco([row["segmentation"] for row in rows], size)
        return fields
    except KeyError as error:
        raise InputError(f"Expected detections as to_dict() gives them, found no {error} in them.") from None
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"Expected detections as to_dict() gives them, found otherwise: {error}.") from None


def _optional_fields(detections: Detections, mask_format: MaskFormat = "rle") -> list[dict[str, Any]]:
    """Return for each detection the fields that only some models and trackers give."""
    fields: list[dict[str, Any]] = [{} for _ in range(len(detections))]
    if detections.masks is not None:
        for row, segmentation in zip(fields, _segmentations(detections.masks, mask_format), strict=True):
            row["segmentation"] = segmentation
    if detections.track_ids is not None:
        for row, track_id in zip(fields, detections.track_ids.tolist(), strict=True):
            row["track_id"] = track_id
    return fields


def _segmentations(masks: Masks, mask_format: MaskFormat) -> list[Any]:
    """Return masks as COCO states them. No outline stands for an empty mask, so it has run lengths."""
    run_lengths: list[Any] = masks.to_coco()
    if mask_format == "rle":
        return run_lengths
    if mask_format != "polygons":
        raise InputError(f"Expected `mask_format` as rle or polygons, found {mask_format!r}.")
    outlines = [[ring.ravel().tolist() for ring in mine] for mine in masks.to_polygons()]
    return [mine or empty for mine, empty in zip(outlines, run_lengths, strict=True)]


def _category_ids(classes: Sequence[str], category_ids: Sequence[int] | None) -> list[int]:
    if category_ids is None:
        return list(range(1, len(classes) + 1))
    if len(category_ids) != len(classes):
        raise InputError(
            f"Expected a category id for each of {counted(len(classes), 'class', 'classes')}, "
            f"found {len(category_ids)}."
        )
    return [int(id_) for id_ in category_ids]


def decimals(values: NDArray[np.float32]) -> Any:
    """Return nested lists of the shortest decimals that read back as the same float32 (0.9, not 0.8999)."""
    # Not `astype(np.float64)`: numpy's cast of texts drops a KeyboardInterrupt that comes meanwhile.
    texts = values.astype(np.str_).ravel().tolist()
    return np.fromiter(map(float, texts), np.float64, len(texts)).reshape(values.shape).tolist()


def readable(name: str | Path | int) -> str:
    """Return a file name as text that UTF-8 can hold; bytes in it that are no text become question marks."""
    text = name.as_posix() if isinstance(name, Path) else str(name)
    return text.encode("utf-8", "replace").decode("utf-8")
