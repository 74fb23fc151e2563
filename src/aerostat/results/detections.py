"""The one result type: what was found on an image; and the files that results of many images go to."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from aerostat.errors import InputError, nearest
from aerostat.files import write_bytes, write_text
from aerostat.geometry.boxes import xyxy_to_xywh
from aerostat.text import counted, listed

if TYPE_CHECKING:
    import supervision

CSV_COLUMNS = ("file", "class", "score", "x1", "y1", "x2", "y2")

Results = Sequence[tuple[str | Path | int, "Detections"]]
"""Images by file name or COCO image id, each with what was found on it."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One found object.

    Args:
        box_xyxy: (x1, y1, x2, y2) in pixels of the original image.
        score: as the model gave it, usually within 0 and 1.
        label: index into the classes.
        name: the class name.
    """

    box_xyxy: tuple[float, float, float, float]
    score: float
    label: int
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image to look at: save it, or let a notebook show it.

    Args:
        image_bgr: (H, W, 3) uint8.
    """

    image_bgr: NDArray[np.uint8]

    def save(self, path: Path | str) -> Path:
        """Write the picture in the format that the suffix names and return its path."""
        from aerostat.draw.saving import save_image

        return save_image(path, self.image_bgr)

    def _repr_png_(self) -> bytes:
        import cv2

        return bytes(cv2.imencode(".png", self.image_bgr)[1])


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What was found on one image, in pixels of the original (upright) image.

    Iterating yields a `Detection` each; an integer index does too; a slice, an array of indices or a mask of
    booleans gives the `Detections` selected.

    Args:
        boxes_xyxy: (n, 4), kept as float32; no corner swapped.
        scores: (n,), kept as float32.
        labels: (n,) whole numbers that index `classes`, kept as int64.
        classes: names of all classes the model knows.
        masks: None, until models give masks.
        image_size: (width, height) of the image, if known.
        path: where the image came from, if known.

    Raises:
        InputError: shapes do not fit one another, a number is not finite, corners are swapped, or a label has
            no class.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    masks: None = None
    image_size: tuple[int, int] | None = None
    path: Path | None = None

    def __post_init__(self) -> None:
        boxes = _numbers("boxes_xyxy", self.boxes_xyxy)
        boxes = boxes.reshape(0, 4) if boxes.shape == (0,) else boxes  # [] is no boxes
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise InputError(f"Expected boxes_xyxy of shape (n, 4), found {boxes.shape}.")
        scores, labels = _numbers("scores", self.scores), _numbers("labels", self.labels)
        for name, values in (("scores", scores), ("labels", labels)):
            if values.shape != (len(boxes),):
                raise InputError(
                    f"Expected {name} of shape ({len(boxes)},) for boxes_xyxy of shape {boxes.shape}, "
                    f"found {values.shape}."
                )
        swapped = np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(axis=1))
        if len(swapped):
            found = boxes[swapped[0]].tolist()
            raise InputError(
                f"Expected boxes with x1 <= x2 and y1 <= y2, found {found} at index {swapped[0]}."
            )
        names: Any = self.classes  # a lone string is one class, not one class per letter
        set_field = object.__setattr__  # the way a frozen dataclass has of tidying its own fields
        set_field(self, "boxes_xyxy", boxes.astype(np.float32, copy=False))
        set_field(self, "scores", scores.astype(np.float32, copy=False))
        set_field(self, "labels", labels.astype(np.int64, copy=False))
        set_field(self, "classes", (names,) if isinstance(names, str) else tuple(names))
        _check_labels(labels, len(self.classes))
        if self.image_size is not None:
            set_field(self, "image_size", (int(self.image_size[0]), int(self.image_size[1])))
        if self.path is not None:
            set_field(self, "path", Path(self.path))

    @classmethod
    def empty(
        cls, classes: Sequence[str], *, image_size: tuple[int, int] | None = None, path: Path | None = None
    ) -> Detections:
        """Return the result of an image on which nothing was found."""
        boxes, none = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        return cls(boxes, none, np.zeros(0, np.int64), tuple(classes), None, image_size, path)

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    def __iter__(self) -> Iterator[Detection]:
        rows = zip(self.boxes_xyxy.tolist(), self.scores.tolist(), self.labels.tolist(), strict=True)
        for (x1, y1, x2, y2), score, label in rows:
            yield Detection((x1, y1, x2, y2), score, label, self.classes[label])

    @overload
    def __getitem__(self, index: int) -> Detection: ...

    @overload
    def __getitem__(self, index: slice | ArrayLike) -> Detections: ...

    def __getitem__(self, index: int | slice | ArrayLike) -> Detection | Detections:
        if isinstance(index, int | np.integer) and not isinstance(index, bool | np.bool_):
            x1, y1, x2, y2 = self.boxes_xyxy[index].tolist()
            label = int(self.labels[index])
            return Detection((x1, y1, x2, y2), float(self.scores[index]), label, self.classes[label])
        chosen = index if isinstance(index, slice) else self._places(index)
        boxes, scores, labels = self.boxes_xyxy[chosen], self.scores[chosen], self.labels[chosen]
        return Detections(boxes, scores, labels, self.classes, self.masks, self.image_size, self.path)

    def _places(self, index: ArrayLike) -> NDArray[Any]:
        """Return a mask or an array of indices as an array that selects along the first axis only."""
        places = np.asarray(index)
        places = places.astype(np.int64) if places.size == 0 and places.dtype != bool else places
        if places.ndim != 1 or places.dtype.kind not in "biu":
            raise InputError(
                "Expected a slice, an array (k,) of whole numbers or a mask (n,) of booleans to select "
                f"detections, found shape {places.shape} of {places.dtype}."
            )
        if places.dtype == bool and len(places) != len(self):
            raise InputError(
                f"Expected a mask of {counted(len(self), 'boolean')} for as many detections, "
                f"found {len(places)}."
            )
        return places

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Detections) and (
            (self.classes, self.image_size, self.path) == (other.classes, other.image_size, other.path)
            and np.array_equal(self.boxes_xyxy, other.boxes_xyxy)
            and np.array_equal(self.scores, other.scores)
            and np.array_equal(self.labels, other.labels)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        names = (
            f"{int((self.labels == label).sum())} {self.classes[label]}" for label in np.unique(self.labels)
        )
        return f"Detections({', '.join(names) or 'nothing found'}{f' on {self.path}' if self.path else ''})"

    def filter(self, score: float | None = None, classes: Sequence[str] | str | None = None) -> Detections:
        """Return the detections with at least this score and of these classes.

        Args:
            score: the lowest score to keep; None keeps all.
            classes: names (or one name) to keep; None keeps all. The class list itself stays whole.

        Raises:
            InputError: a name is none of the classes.
        """
        keep = np.ones(len(self), bool)
        if score is not None:
            # In float32 like the scores, so that a score read as 0.3 is not below a threshold of 0.3.
            keep &= self.scores >= np.float32(score)
        if classes is not None:
            names = [classes] if isinstance(classes, str) else list(classes)
            for name in names:
                if name not in self.classes:
                    raise InputError(
                        f"Expected a class of the model ({listed(self.classes, 10)}), found {name!r}."
                        f"{nearest(name, self.classes)}"
                    )
            keep &= np.isin(self.labels, [i for i, name in enumerate(self.classes) if name in names])
        return self[keep]

    def to_coco(self, image_id: int, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Return COCO results, each with image_id, category_id, bbox (x, y, width, height) and score.

        Args:
            image_id: COCO's id of the image.
            category_ids: parallel to `classes`; None numbers the classes from 1.

        Raises:
            InputError: there are not as many ids as classes.
        """
        ids = _category_ids(self.classes, category_ids)
        boxes_xywh = xyxy_to_xywh(self.boxes_xyxy.astype(np.float64)).tolist()
        rows = zip(boxes_xywh, self.scores.tolist(), self.labels.tolist(), strict=True)
        return [
            {"image_id": image_id, "category_id": ids[label], "bbox": box, "score": score}
            for box, score, label in rows
        ]

    def to_supervision(self) -> supervision.Detections:
        """Return the same as `supervision.Detections`, class names in ``data["class_name"]``.

        Raises:
            InputError: the package supervision is not installed.
        """
        try:
            import supervision
        except ImportError:
            raise InputError(
                "Expected the package supervision for to_supervision(), found none: pip install supervision."
            ) from None
        return supervision.Detections(
            xyxy=self.boxes_xyxy.copy(),
            confidence=self.scores.copy(),
            class_id=self.labels.copy(),
            data={"class_name": np.asarray([self.classes[label] for label in self.labels], dtype=np.str_)},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` takes, of plain lists, numbers and strings that any JSON writer takes.

        Numbers are the shortest decimals that give the same float32 back.
        """
        rows = zip(_decimals(self.boxes_xyxy), _decimals(self.scores), self.labels.tolist(), strict=True)
        return {
            "file": None if self.path is None else _readable(self.path),
            "image_size": None if self.image_size is None else list(self.image_size),
            "classes": list(self.classes),
            "detections": [
                {"box_xyxy": box, "score": score, "label": label, "class": self.classes[label]}
                for box, score, label in rows
            ],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Detections:
        """Return the detections that `to_dict` wrote.

        Raises:
            InputError: something is missing, of another kind, or does not fit.
        """
        try:
            rows = content["detections"]
            size, file = content.get("image_size"), content.get("file")
            return cls(
                np.asarray([row["box_xyxy"] for row in rows]),
                np.asarray([row["score"] for row in rows]),
                np.asarray([row["label"] for row in rows]),
                tuple(str(name) for name in content["classes"]),
                image_size=None if size is None else (int(size[0]), int(size[1])),
                path=None if file is None else Path(file),
            )
        except KeyError as error:
            raise InputError(
                f"Expected detections as to_dict() gives them, found no {error} in them."
            ) from None
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            raise InputError(
                f"Expected detections as to_dict() gives them, found otherwise: {error}."
            ) from None

    def draw(self, image_bgr: NDArray[np.uint8] | None = None) -> Picture:
        """Return the image with the boxes, class names and scores on it.

        Args:
            image_bgr: (H, W, 3) uint8, the original image; None reads it from `path`.

        Raises:
            InputError: no image is given and `path` is not known or cannot be read.
        """
        from aerostat.draw.boxes import draw_boxes

        if image_bgr is None:
            if self.path is None:
                raise InputError(
                    "Expected an image to draw on, found none: these detections do not know a path."
                )
            from aerostat.images.read import read_image

            image_bgr = read_image(self.path)
        return Picture(draw_boxes(image_bgr, self.boxes_xyxy, self.labels, self.classes, self.scores))

    def save(self, path: Path | str) -> Path:
        """Write the detections as .json (`to_dict`) or .csv, whole or not at all, and return the path.

        Raises:
            InputError: the suffix is neither.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix == ".json":
            write_bytes(path, msgspec.json.format(msgspec.json.encode(self.to_dict()), indent=2) + b"\n")
        elif suffix == ".csv":
            write_csv(path, [(self.path or "", self)])
        else:
            raise InputError(
                f"Expected a name that ends in .json or .csv, found {path}: draw().save(...) saves a picture."
            )
        return path


def write_json(path: Path | str, results: Results) -> None:
    """Write the results of many images as one JSON document, ``{"images": [to_dict() of each]}``.

    Args:
        path: the file; it is written whole or not at all.
        results: images with their detections; the name or id given here stands in the document as ``file``.
    """
    images = [{**found.to_dict(), "file": _readable(key)} for key, found in results]
    write_bytes(Path(path), msgspec.json.encode({"images": images}) + b"\n")


def write_csv(path: Path | str, results: Results) -> None:
    """Write the results of many images as CSV, one row per detection: file, class, score, x1, y1, x2, y2.

    Args:
        path: the file (UTF-8); it is written whole or not at all.
        results: images with their detections; an image on which nothing was found has no row.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for key, found in results:
        rows = zip(found.labels.tolist(), _decimals(found.scores), _decimals(found.boxes_xyxy), strict=True)
        writer.writerows((_readable(key), found.classes[label], score, *box) for label, score, box in rows)
    write_text(Path(path), text.getvalue())


def write_coco(path: Path | str, results: Results, category_ids: Sequence[int] | None = None) -> None:
    """Write the results of many images in COCO's form.

    Images given by COCO id make a results file, a list of ``image_id, category_id, bbox, score``, as
    evaluation servers and ``loadRes`` take it. Images given by file name, which have no ids elsewhere, make a
    whole COCO document with images, categories and annotations (each with its ``score``), as ``COCO(path)``
    takes it.

    Args:
        path: the file; it is written whole or not at all.
        results: images, all by id or all by name, with their detections, all of the same classes.
        category_ids: parallel to the classes; None numbers them from 1.

    Raises:
        InputError: ids and names are mixed, class lists differ, or the category ids do not fit the classes.
    """
    by_id = [isinstance(key, int | np.integer) for key, _ in results]
    if any(by_id) and not all(by_id):
        raise InputError("Expected all images by COCO id or all by file name, found both: write two files.")
    for key, found in results:
        if found.classes != results[0][1].classes:
            raise InputError(
                f"Expected one class list in {path}, found {len(results[0][1].classes)} classes for "
                f"{results[0][0]} and another list of {len(found.classes)} for {key}: write two files."
            )
    if all(by_id):
        document: Any = [row for key, found in results for row in found.to_coco(int(str(key)), category_ids)]
    else:
        document = _coco_document(results, category_ids)
    write_bytes(Path(path), msgspec.json.encode(document) + b"\n")


def _coco_document(results: Results, category_ids: Sequence[int] | None) -> dict[str, Any]:
    classes = results[0][1].classes
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (key, found) in enumerate(results, start=1):
        width, height = found.image_size or (None, None)
        images.append({"id": image_id, "file_name": _readable(key), "width": width, "height": height})
        for row in found.to_coco(image_id, category_ids):
            area = row["bbox"][2] * row["bbox"][3]
            annotations.append({"id": len(annotations) + 1, **row, "area": area, "iscrowd": 0})
    ids = _category_ids(classes, category_ids)
    categories = [{"id": id_, "name": name} for id_, name in zip(ids, classes, strict=True)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _numbers(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return `values` as an array of finite numbers, or say which is not."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"Expected {name} as an array, found rows of different lengths.") from None
    if array.dtype.kind not in "iuf":
        raise InputError(f"Expected numbers for {name}, found {array.dtype} of shape {array.shape}.")
    finite = np.isfinite(array)
    if not finite.all():
        at = tuple(np.argwhere(~finite)[0].tolist())
        raise InputError(f"Expected finite {name}, found {array[at]} at {list(at)} of shape {array.shape}.")
    return array


def _check_labels(labels: NDArray[Any], class_count: int) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= class_count) | (labels != np.floor(labels)))
    if len(wrong):
        raise InputError(
            f"Expected labels that index {counted(class_count, 'class', 'classes')}, counted from 0, "
            f"found {labels[wrong[0]]} at index {wrong[0]}."
        )


def _category_ids(classes: Sequence[str], category_ids: Sequence[int] | None) -> list[int]:
    if category_ids is None:
        return list(range(1, len(classes) + 1))
    if len(category_ids) != len(classes):
        raise InputError(
            f"Expected a category id for each of {counted(len(classes), 'class', 'classes')}, "
            f"found {len(category_ids)}."
        )
    return [int(id_) for id_ in category_ids]


def _decimals(values: NDArray[np.float32]) -> Any:
    """Return nested lists of the shortest decimals that read back as the same float32 (0.9, not 0.8999)."""
    return values.astype(np.str_).astype(np.float64).tolist()


def _readable(name: str | Path | int) -> str:
    """Return a file name as text that UTF-8 can hold; bytes in it that are no text become question marks."""
    text = name.as_posix() if isinstance(name, Path) else str(name)
    return text.encode("utf-8", "replace").decode("utf-8")
