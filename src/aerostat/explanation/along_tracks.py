"""Explanations along tracks: a full map now and then, which is carried on in between."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, TypedDict, Unpack

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.explanation.boxam import explain_detections
from aerostat.explanation.carried import SourceMap, look_of
from aerostat.explanation.drise import DEFAULT_MASKS
from aerostat.explanation.faithfulness import Measures, Scene
from aerostat.explanation.options import DEFAULT_TOP, check_top
from aerostat.images.frame import Frame
from aerostat.images.letterbox import Letterbox
from aerostat.inference.detector import Detector
from aerostat.results.detections import Detection, Detections

Reason = Literal["new", "age", "box", "look", "faithfulness"]
REASONS: Mapping[Reason, str] = MappingProxyType(
    {
        "new": "of new tracks",
        "age": "because of the age",
        "box": "because the box had another size",
        "look": "because the object looked different",
        "faithfulness": "because the carried map was measured to be worse",
    }
)
"""Why a full map was made."""
BELL = "Gaussian in the box"
"""The control that is measured beside the maps."""
MIN_SIDE = 1e-3
"""Smaller sides of a box in pixels of the input have no map."""


@dataclass(frozen=True, slots=True)
class CarryOptions:
    """When a map is carried on along a track, and how full maps are made.

    Args:
        full_every: maximum number of frames that one full map serves; 1 carries none on.
        box_change: factor by which a side of the box may grow or shrink.
        likeness: correlation of the pixels of the old and the new box below which a full map is made.
        measure_every: frames between measurements of the faithfulness; None measures nothing.
        tolerance: insertion minus deletion that a carried map may have less than a full one where both are
            measured.
        top: maximum number of objects of a frame that are explained, best first; None explains all.
        method, layer: of the full maps, see `explain`; several layers are fused.
        masks: number of masks of D-RISE.

    Raises:
        InputError: a number is out of its range.
    """

    full_every: int = 30
    box_change: float = 1.25
    likeness: float = 0.5
    measure_every: int | None = None
    tolerance: float = 0.05
    top: int | None = DEFAULT_TOP
    method: str | None = None
    layer: str | Sequence[str] | None = None
    masks: int = DEFAULT_MASKS

    def __post_init__(self) -> None:
        for name in ("full_every", "measure_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"Expected `{name}` as a number of frames, at least 1, found {value}.")
        if not self.box_change >= 1:
            raise InputError(f"Expected `box_change` as a factor from 1 on, found {self.box_change:g}.")
        if not -1 <= self.likeness <= 1:
            raise InputError(f"Expected `likeness` from -1 to 1, found {self.likeness:g}.")
        if not self.tolerance >= 0:
            raise InputError(f"Expected `tolerance` from 0 on, found {self.tolerance:g}.")
        check_top(self.top)


class CarryArguments(TypedDict, total=False):
    """Keyword arguments that make a `CarryOptions`, which describes them."""

    full_every: int
    box_change: float
    likeness: float
    measure_every: int | None
    tolerance: float
    top: int | None
    method: str | None
    layer: str | Sequence[str] | None
    masks: int


@dataclass(frozen=True, slots=True, eq=False)
class TrackMeasures:
    """Faithfulness of the maps of one object on one frame.

    Args:
        carried: of the map that was carried on; None where there was none.
        full: of a map that was made on this frame.
        bell: of a Gaussian in the box.
    """

    carried: Measures | None
    full: Measures
    bell: Measures


@dataclass(frozen=True, slots=True, eq=False)
class TrackMap:
    """The map of one tracked object on one frame.

    Args:
        detection: with its `track_id`.
        content: (h, w) heat over the frame at the size that the network sees, from 0 to 1.
        letterbox: resize and padding of the frame.
        reason: why a full map was made on this frame; None for a map that was carried on.
        source_frame: place in its clip of the frame that the map was made on.
        age: frames looked at since then.
        likeness: of the object to its look on that frame; None without a carried map.
        measures: faithfulness, where it was measured.
    """

    detection: Detection
    content: NDArray[np.float32] = field(repr=False)
    letterbox: Letterbox
    reason: Reason | None
    source_frame: int
    age: int
    likeness: float | None = None
    measures: TrackMeasures | None = None

    @property
    def is_carried(self) -> bool:
        """Whether the map was made on an earlier frame."""
        return self.reason is None

    @property
    def heat(self) -> NDArray[np.float32]:
        """Heat (H, W) over the frame, from 0 to 1."""
        size = self.letterbox.source_size
        return np.asarray(cv2.resize(self.content, size, interpolation=cv2.INTER_LINEAR), np.float32)


@dataclass(slots=True)
class MapCosts:
    """Number of maps, and the time that they took.

    Args:
        full, carried: numbers of maps.
        full_s, carried_s: seconds that all of them took together, without detection and tracking.
    """

    full: int = 0
    carried: int = 0
    full_s: float = 0.0
    carried_s: float = 0.0

    @property
    def ratio(self) -> float | None:
        """How many carried maps take the time of a full one; None as long as there is not one of each."""
        if not self.full or not self.carried or not self.carried_s > 0:
            return None
        return (self.full_s / self.full) / (self.carried_s / self.carried)


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """One frame with its tracked objects.

    Args:
        image_bgr: (H, W, 3) uint8.
        letterbox: of the frame.
        place: of the frame in its clip.
        tracked: the detections that are explained, best first.
        boxes_xyxy: (n, 4) in pixels of the input.
    """

    image_bgr: NDArray[np.uint8]
    letterbox: Letterbox
    place: int
    tracked: Detections
    boxes_xyxy: NDArray[np.float64]

    def track_id(self, row: int) -> int:
        assert self.tracked.track_ids is not None  # `_view` refuses them
        return int(self.tracked.track_ids[row])


class TrackExplainer:
    """Explains the tracked objects of one video, frame by frame.

    A track gets a full map on its first frame, and again when the map is old, the box has another size or the
    object looks different. On the other frames the map is moved and resized with the box.

    Args:
        detector: from `aerostat.load`, with weights, not exported.
        options: None takes the defaults.
        **changed: single options, see `CarryOptions`.

    Raises:
        InputError: a number is out of its range, or the method is unknown.

    Example:
        ``TrackExplainer(model).update(frame, tracker.update(found))``
    """

    def __init__(
        self, detector: Detector, options: CarryOptions | None = None, **changed: Unpack[CarryArguments]
    ) -> None:
        self.detector = detector
        self.options = replace(options or CarryOptions(), **changed)
        self.costs = MapCosts()
        self._sources: dict[int, SourceMap] = {}
        self._count = 0

    def update(self, frame: Frame, tracked: Detections) -> tuple[TrackMap, ...]:
        """Return the maps of the tracked objects on the next frame, best first.

        Args:
            frame: of the video.
            tracked: its detections with `track_ids`, from a `Tracker`.

        Raises:
            InputError: the detections have no numbers, the frame cannot be read, or there is no such layer.
        """
        view = self._view(frame, tracked)
        maps: dict[int, TrackMap] = {}
        due: dict[int, Reason] = {}
        for row in range(len(view.tracked)):
            began = time.perf_counter()
            made = self._carried(view, row)
            if isinstance(made, TrackMap):
                maps[row] = made
                self.costs.carried += 1
                self.costs.carried_s += time.perf_counter() - began
            else:
                due[row] = made
        if due:
            began = time.perf_counter()
            maps |= self._renewed(view, due, self._explained(view, list(due)))
            self.costs.full += len(due)
            self.costs.full_s += time.perf_counter() - began
        if self.options.measure_every and self._count % self.options.measure_every == 0:
            maps = self._measured(view, maps)
        self._count += 1
        self._forget_old()
        return tuple(maps[row] for row in sorted(maps))

    def _view(self, frame: Frame, tracked: Detections) -> _View:
        if tracked.track_ids is None:
            raise InputError("Expected detections with `track_ids`, found none; a `Tracker` gives them.")
        image_bgr = frame.read()
        letterbox = Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), self.detector.input_size)
        boxes_xyxy = letterbox.boxes_to_input(tracked.boxes_xyxy)
        sides: NDArray[np.float64] = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
        solid = sides.min(axis=1, initial=np.inf) > MIN_SIDE
        best = np.argsort(-tracked.scores, kind="stable")
        rows = best[solid[best]][: self.options.top]
        return _View(image_bgr, letterbox, frame.index, tracked[rows], boxes_xyxy[rows])

    def _carried(self, view: _View, row: int) -> TrackMap | Reason:
        """Return the map that is carried on, or why a full one is needed."""
        source, box_xyxy = self._sources.get(view.track_id(row)), view.boxes_xyxy[row]
        if source is None:
            return "new"
        age = self._count - source.count
        if age >= self.options.full_every:
            return "age"
        if source.change(box_xyxy) > self.options.box_change:
            return "box"
        likeness = source.likeness(look_of(view.image_bgr, view.tracked.boxes_xyxy[row]))
        if likeness < self.options.likeness:
            return "look"
        heat = source.carried(box_xyxy, view.letterbox)
        return TrackMap(view.tracked[row], heat, view.letterbox, None, source.frame, age, likeness)

    def _renewed(
        self, view: _View, due: Mapping[int, Reason], heats: Mapping[int, NDArray[np.float32]]
    ) -> dict[int, TrackMap]:
        """Return maps that were made on this frame, by row; they are carried on from here."""
        maps = {}
        for row, reason in due.items():
            look = look_of(view.image_bgr, view.tracked.boxes_xyxy[row])
            source = SourceMap(heats[row], view.boxes_xyxy[row], look, view.place, self._count)
            self._sources[view.track_id(row)] = source
            maps[row] = TrackMap(view.tracked[row], heats[row], view.letterbox, reason, view.place, 0)
        return maps

    def _explained(self, view: _View, rows: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """Return heat (h, w) at the size that the network sees, by row."""
        options = self.options
        items = explain_detections(
            self.detector,
            view.image_bgr,
            view.tracked[list(rows)],
            method=options.method,
            layer=options.layer,
            masks=options.masks,
        )
        size = view.letterbox.resized_size
        return {row: item.heat_at(size) for row, item in zip(rows, items, strict=True)}

    def _measured(self, view: _View, maps: Mapping[int, TrackMap]) -> dict[int, TrackMap]:
        """Return the maps with their faithfulness; a full map replaces a carried one that is worse."""
        carried = [row for row, one in maps.items() if one.is_carried]
        fresh = self._explained(view, carried) if carried else {}
        measured: dict[int, TrackMap] = {}
        worse: dict[int, Reason] = {}
        for row, one in maps.items():
            scene = Scene.of(self.detector, view.image_bgr, one.detection)
            full = scene.measure(fresh.get(row, one.content))
            own = scene.measure(one.content) if row in fresh else None
            measures = TrackMeasures(own, full, scene.measure(scene.controls()[BELL]))
            measured[row] = replace(one, measures=measures)
            if own is not None and gain(own) < gain(full) - self.options.tolerance:
                worse[row] = "faithfulness"
        again = self._renewed(view, worse, fresh)
        return measured | {row: replace(one, measures=measured[row].measures) for row, one in again.items()}

    def _forget_old(self) -> None:
        """Drop the maps of tracks that are away for long, so that memory does not grow."""
        oldest = self._count - self.options.full_every
        self._sources = {
            track_id: source for track_id, source in self._sources.items() if source.count >= oldest
        }


def gain(measures: Measures) -> float:
    """Return insertion minus deletion: one number for the faithfulness of a map, higher is better."""
    return measures.insertion.area - measures.deletion.area
