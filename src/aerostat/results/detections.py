"""Detections of one image, the result type of every model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aerostat.errors import InputError, nearest
from aerostat.geometry.masks import Masks
from aerostat.results import interop, io
from aerostat.text import counted, listed

if TYPE_CHECKING:
    import pandas
    import supervision


@dataclass(frozen=True, slots=True)
class Detection:
    """One detected object.

    Args:
        box_xyxy: (x1, y1, x2, y2) in pixels of the original image.
        score: as the model gave it, usually within 0 and 1.
        label: index into the classes.
        name: the class name.
        track_id: number of the object in a video; None without a tracker.
        mask: its mask, as `Masks` of length 1; None without masks.
        data: the object's values of the free columns.
    """

    box_xyxy: tuple[float, float, float, float]
    score: float
    label: int
    name: str
    track_id: int | None = None
    mask: Masks | None = field(default=None, repr=False)
    data: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


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
    """Objects detected on one image, in pixels of the original (upright) image.

    Iteration and integer indices give `Detection`. Slices, index arrays and boolean masks give `Detections`.

    >>> result = Detections([[0, 0, 10, 20], [5, 5, 9, 9]], [0.9, 0.4], [1, 0], ("person", "balloon"))
    >>> result
    Detections(1 person, 1 balloon)
    >>> result[result.scores > 0.5].boxes_xyxy.tolist()
    [[0.0, 0.0, 10.0, 20.0]]

    Args:
        boxes_xyxy: (n, 4), kept as float32; x1 <= x2 and y1 <= y2.
        scores: (n,), kept as float32.
        labels: (n,) whole numbers that index `classes`, kept as int64.
        classes: names of all classes the model knows.
        masks: n masks of the image; an array (n, h, w) is converted. None if the model gives none.
        image_size: (width, height) of the image, if known.
        path: where the image came from, if known.
        track_ids: (n,) whole numbers, kept as int64, that tell objects of a video apart; None without a
            tracker.
        data: free columns by name, each (n, ...), such as embeddings.

    Raises:
        InputError: shapes do not fit one another, a number is not finite, corners are swapped, a label has
            no class, or the masks are of another image size.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    masks: Masks | None = None
    image_size: tuple[int, int] | None = None
    path: Path | None = None
    track_ids: NDArray[np.int64] | None = None
    data: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        boxes = _checked_boxes(self.boxes_xyxy)
        scores = _checked_column("scores", self.scores, len(boxes))
        labels = _checked_column("labels", self.labels, len(boxes))
        names: Any = self.classes  # a lone string is one class, not one class per letter
        set_field = object.__setattr__  # a frozen dataclass normalises its own fields this way
        set_field(self, "boxes_xyxy", boxes.astype(np.float32, copy=False))
        set_field(self, "scores", scores.astype(np.float32, copy=False))
        set_field(self, "labels", labels.astype(np.int64, copy=False))
        set_field(self, "classes", (names,) if isinstance(names, str) else tuple(names))
        _check_labels(labels, len(self.classes))
        if self.image_size is not None:
            set_field(self, "image_size", (int(self.image_size[0]), int(self.image_size[1])))
        if self.path is not None:
            set_field(self, "path", Path(self.path))
        if self.masks is not None:
            set_field(self, "masks", _checked_masks(self.masks, len(boxes), self.image_size))
        if self.track_ids is not None:
            set_field(self, "track_ids", _checked_track_ids(self.track_ids, len(boxes)))
        if self.data:
            set_field(self, "data", _checked_data(self.data, len(boxes)))

    @classmethod
    def empty(
        cls, classes: Sequence[str], *, image_size: tuple[int, int] | None = None, path: Path | None = None
    ) -> Detections:
        """Return the result of an image without detections."""
        boxes, none = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        return cls(boxes, none, np.zeros(0, np.int64), tuple(classes), None, image_size, path)

    @classmethod
    def concatenate(cls, parts: Sequence[Detections]) -> Detections:
        """Return the detections of several parts of one image, one part after the other.

        Args:
            parts: at least one, with the same classes and columns; `image_size` and `path` are those of the
                first part.

        Raises:
            InputError: there is no part, or classes or columns differ.
        """
        return cls(**_joined(parts))

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    def __iter__(self) -> Iterator[Detection]:
        return (_row(self, index) for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Detection: ...

    @overload
    def __getitem__(self, index: slice | ArrayLike) -> Detections: ...

    def __getitem__(self, index: int | slice | ArrayLike) -> Detection | Detections:
        if isinstance(index, int | np.integer) and not isinstance(index, bool | np.bool_):
            return _row(self, int(index))
        rows = index if isinstance(index, slice) else _checked_rows(index, len(self))
        return Detections(
            self.boxes_xyxy[rows],
            self.scores[rows],
            self.labels[rows],
            self.classes,
            None if self.masks is None else self.masks[rows],
            self.image_size,
            self.path,
            None if self.track_ids is None else self.track_ids[rows],
            {name: values[rows] for name, values in self.data.items()},
        )

    def columns(self) -> list[str]:
        """Return the names of the optional columns that are there: masks, track_ids, and those of `data`."""
        optional = [name for name in ("masks", "track_ids") if getattr(self, name) is not None]
        return optional + sorted(self.data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Detections) and (
            (self.classes, self.image_size, self.path) == (other.classes, other.image_size, other.path)
            and np.array_equal(self.boxes_xyxy, other.boxes_xyxy)
            and np.array_equal(self.scores, other.scores)
            and np.array_equal(self.labels, other.labels)
            and self.columns() == other.columns()
            and self.masks == other.masks
            and (self.track_ids is None or np.array_equal(self.track_ids, other.track_ids))  # type: ignore[arg-type]
            and all(np.array_equal(values, other.data[name]) for name, values in self.data.items())
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        names = (
            f"{int((self.labels == label).sum())} {self.classes[label]}" for label in np.unique(self.labels)
        )
        return f"Detections({', '.join(names) or 'nothing found'}{f' on {self.path}' if self.path else ''})"

    def _repr_png_(self) -> bytes | None:
        """Return the drawn image for a notebook; None without a file to draw on."""
        try:
            return None if self.path is None else self.draw()._repr_png_()
        except InputError:
            return None

    def filter(self, score: float | None = None, classes: Sequence[str] | str | None = None) -> Detections:
        """Return the detections with at least this score and of these classes.

        Args:
            score: the lowest score to keep; None keeps all.
            classes: names (or one name) to keep; None keeps all. The class list itself stays whole.

        Raises:
            InputError: a name is not among the classes.
        """
        return self[_wanted(self, score, classes)]

    def to_coco(
        self,
        image_id: int,
        category_ids: Sequence[int] | None = None,
        mask_format: io.MaskFormat = "rle",
    ) -> list[dict[str, Any]]:
        """Return COCO results, each with image_id, category_id, bbox (x, y, width, height) and score.

        Masks are added as ``segmentation``, track ids as ``track_id``.

        Args:
            image_id: COCO's id of the image.
            category_ids: parallel to `classes`; None numbers the classes from 1.
            mask_format: ``rle`` writes masks as compressed run lengths, ``polygons`` as outlines that give
                the same pixels. An empty mask has run lengths in both.

        Raises:
            InputError: there are not as many ids as classes, or no such format of masks.
        """
        return io.coco_rows(self, image_id, category_ids, mask_format)

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` takes: lists, numbers and strings, as any JSON writer takes them.

        Numbers are the shortest decimals that give the same float32 back.
        """
        return io.to_dict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Detections:
        """Return the detections that `to_dict` wrote.

        Raises:
            InputError: something is missing, of another kind, or does not fit.
        """
        return cls(**io.fields_of_dict(content))

    def to_supervision(self) -> supervision.Detections:
        """Return the same as `supervision.Detections`, class names in ``data["class_name"]``.

        Raises:
            InputError: the package supervision is not installed.
        """
        return interop.to_supervision(self)

    @classmethod
    def from_supervision(
        cls, detections: supervision.Detections, classes: Sequence[str] | None = None
    ) -> Detections:
        """Return `supervision.Detections` as detections of this package.

        Args:
            detections: with class ids; without a confidence the score is 1.
            classes: names that the class ids index; None takes them from ``data["class_name"]``.

        Raises:
            InputError: there are no class ids, or no names for them.
        """
        return cls(**interop.fields_of_supervision(detections, classes))

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame with a row per detection.

        Its columns are file, class, score, x1, y1, x2, y2, then as far as there are any ``track_id``,
        ``mask_area`` and the other measures of `MaskMeasures`, and the free columns.

        Raises:
            InputError: the package pandas is not installed.
        """
        return interop.to_pandas(self)

    def draw(
        self,
        image_bgr: NDArray[np.uint8] | None = None,
        *,
        masks: bool = True,
        colours: Literal["class", "instance"] | None = None,
    ) -> Picture:
        """Return the image with the boxes, masks, class names and scores on it.

        Args:
            image_bgr: (H, W, 3) uint8, the original image; None reads it from `path`.
            masks: whether to draw the masks, if there are any. Many objects with masks have no boxes.
            colours: by ``class`` or by ``instance``; None is ``instance`` with track ids, else ``class``.

        Raises:
            InputError: no image is given and `path` cannot be read, or the masks are of another size.
        """
        return Picture(_drawn(self, image_bgr, masks, colours))

    def save(self, path: Path | str) -> Path:
        """Write the detections as .json (`to_dict`) or .csv, whole or not at all, and return the path.

        Raises:
            InputError: the suffix is neither.
        """
        return io.save(self, Path(path))


def _drawn(
    detections: Detections,
    image_bgr: NDArray[np.uint8] | None,
    masks: bool,
    colours: Literal["class", "instance"] | None,
) -> NDArray[np.uint8]:
    """Return the image with the detections on it; see `Detections.draw`."""
    from aerostat.draw.boxes import Style, draw_boxes
    from aerostat.draw.shapes import shapes_of

    if image_bgr is None:
        if detections.path is None:
            raise InputError("Expected an image to draw on, found none: these detections do not know a path.")
        from aerostat.images.read import read_image

        image_bgr = read_image(detections.path)
    shapes = None
    if masks and detections.masks is not None:
        size = (image_bgr.shape[1], image_bgr.shape[0])
        if detections.masks.image_size != size:
            raise InputError(
                f"Expected an image of the size of the masks {detections.masks.image_size}, found {size}."
            )
        shapes = shapes_of(detections.masks)
    ids = None if detections.track_ids is None else detections.track_ids.tolist()
    names = None
    if ids is not None:
        names = [
            f"#{number} {detections.classes[label]}"
            for number, label in zip(ids, detections.labels.tolist(), strict=True)
        ]
    return draw_boxes(
        image_bgr,
        detections.boxes_xyxy,
        detections.labels,
        detections.classes,
        detections.scores,
        shapes,
        names=names,
        style=Style(colours=colours or ("class" if ids is None else "instance"), numbers=ids),
    )


def _row(detections: Detections, index: int) -> Detection:
    """Return one detection with its values of all columns."""
    x1, y1, x2, y2 = detections.boxes_xyxy[index].tolist()
    label = int(detections.labels[index])
    return Detection(
        (x1, y1, x2, y2),
        float(detections.scores[index]),
        label,
        detections.classes[label],
        None if detections.track_ids is None else int(detections.track_ids[index]),
        None if detections.masks is None else detections.masks[[index]],
        {name: values[index] for name, values in detections.data.items()},
    )


def _wanted(
    detections: Detections, score: float | None, classes: Sequence[str] | str | None
) -> NDArray[np.bool_]:
    """Return for each detection (n,) whether `Detections.filter` keeps it."""
    keep = np.ones(len(detections), bool)
    if score is not None:
        # In float32 like the scores, so that a score read as 0.3 is not below a threshold of 0.3.
        keep &= detections.scores >= np.float32(score)
    if classes is not None:
        names = [classes] if isinstance(classes, str) else list(classes)
        for name in names:
            if name not in detections.classes:
                raise InputError(
                    f"Expected a class of the model ({listed(detections.classes, 10)}), found {name!r}."
                    f"{nearest(name, detections.classes)}"
                )
        keep &= np.isin(detections.labels, [i for i, name in enumerate(detections.classes) if name in names])
    return keep


def _checked_column(name: str, values: ArrayLike, count: int) -> NDArray[Any]:
    column = _numbers(name, values)
    if column.shape != (count,):
        raise InputError(
            f"Expected {name} of shape ({count},) for boxes_xyxy of shape ({count}, 4), found {column.shape}."
        )
    return column


def _joined(parts: Sequence[Detections]) -> dict[str, Any]:
    """Return the fields of several parts, one part after the other."""
    if not parts:
        raise InputError("Expected at least one part to concatenate, found none.")
    first = parts[0]
    for index, part in enumerate(parts):
        if part.classes != first.classes or part.columns() != first.columns():
            raise InputError(
                f"Expected parts with the same classes and columns, found part {index} with "
                f"{counted(len(part.classes), 'class', 'classes')} and the columns "
                f"{listed(part.columns()) or 'none'}, part 0 with "
                f"{counted(len(first.classes), 'class', 'classes')} and "
                f"{listed(first.columns()) or 'none'}."
            )
    masks = [part.masks for part in parts if part.masks is not None]
    track_ids = [part.track_ids for part in parts if part.track_ids is not None]
    return {
        "boxes_xyxy": np.concatenate([part.boxes_xyxy for part in parts]),
        "scores": np.concatenate([part.scores for part in parts]),
        "labels": np.concatenate([part.labels for part in parts]),
        "classes": first.classes,
        "masks": Masks.concatenate(masks) if masks else None,
        "image_size": first.image_size,
        "path": first.path,
        "track_ids": np.concatenate(track_ids) if track_ids else None,
        "data": {name: np.concatenate([part.data[name] for part in parts]) for name in first.data},
    }


def _checked_boxes(values: ArrayLike) -> NDArray[Any]:
    boxes = _numbers("boxes_xyxy", values)
    boxes = boxes.reshape(0, 4) if boxes.shape == (0,) else boxes  # [] is an empty list of boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"Expected boxes_xyxy of shape (n, 4), found {boxes.shape}.")
    swapped = np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(axis=1))
    if len(swapped):
        found = boxes[swapped[0]].tolist()
        raise InputError(f"Expected boxes with x1 <= x2 and y1 <= y2, found {found} at index {swapped[0]}.")
    return boxes


def _checked_masks(masks: Masks | ArrayLike, count: int, image_size: tuple[int, int] | None) -> Masks:
    masks = masks if isinstance(masks, Masks) else Masks.from_dense(masks)
    if len(masks) != count:
        raise InputError(f"Expected a mask for each of {counted(count, 'box', 'boxes')}, found {len(masks)}.")
    if image_size is not None and masks.image_size != image_size:
        raise InputError(f"Expected masks of the image size {image_size}, found {masks.image_size}.")
    return masks


def _checked_track_ids(values: ArrayLike, count: int) -> NDArray[np.int64]:
    ids = np.asarray(values)
    ids = ids.astype(np.int64) if ids.size == 0 else ids
    if ids.shape != (count,) or ids.dtype.kind not in "iu":
        raise InputError(
            f"Expected track_ids of whole numbers and shape ({count},), found {ids.dtype} of shape "
            f"{ids.shape}."
        )
    return ids.astype(np.int64, copy=False)


def _checked_data(data: Mapping[str, ArrayLike], count: int) -> dict[str, NDArray[Any]]:
    columns = {str(name): np.asarray(values) for name, values in data.items()}
    for name, values in columns.items():
        if values.ndim == 0 or len(values) != count:
            raise InputError(
                f"Expected data[{name!r}] of shape ({count}, ...), one row per box, found {values.shape}."
            )
    return columns


def _checked_rows(index: ArrayLike, count: int) -> NDArray[Any]:
    """Return indices or a mask of booleans as an array that selects along the first axis only."""
    rows = np.asarray(index)
    rows = rows.astype(np.int64) if rows.size == 0 and rows.dtype != bool else rows
    if rows.ndim != 1 or rows.dtype.kind not in "biu":
        raise InputError(
            "Expected a slice, an array (k,) of whole numbers or a mask (n,) of booleans to select "
            f"detections, found shape {rows.shape} of {rows.dtype}."
        )
    if rows.dtype == bool and len(rows) != count:
        raise InputError(
            f"Expected a mask of {counted(count, 'boolean')} for as many detections, found {len(rows)}."
        )
    return rows


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
