"""Explanations of a clip along its tracks: a video with heat, and a table of the maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.draw.boxes import Style, draw_boxes
from aerostat.draw.heatmap import overlay_heat
from aerostat.errors import InputError
from aerostat.explanation.along_tracks import REASONS, CarryOptions, MapCosts, TrackExplainer, TrackMap
from aerostat.explanation.options import find_methods
from aerostat.explanation.track_rows import MapForm, MapRows, MapSummary
from aerostat.images.frame import Frame
from aerostat.inference.clip_sinks import RowSink
from aerostat.inference.clip_sources import Chain
from aerostat.inference.clip_tracks import ClipTracks, Tracking, TrackSink
from aerostat.inference.detector import Detector
from aerostat.inference.options import SHOW_SCORE, PredictArguments
from aerostat.inference.predict_clips import ClipFiles, CountSink, Written, predict_until_stopped
from aerostat.inference.sinks import Sink, stop_sinks
from aerostat.results.detections import Detections
from aerostat.text import counted
from aerostat.video.writer import VideoFormat

TABLE = "{}-maps.{}"
"""Name of the table of the maps of a clip."""
HEADER = ("map", "in box", "deletion", "insertion")
NAMES = {"carried": "carried", "full": "full, made on the same frame", "bell": "Gaussian in the box"}
"""What the measured maps are, for a person."""


@dataclass(frozen=True, slots=True)
class TrackFiles:
    """What is written about the maps of a clip.

    Args:
        form: of the table.
        video_format: of the video.
    """

    form: MapForm = "csv"
    video_format: VideoFormat | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TrackOutcome:
    """What was explained, and the files that were written.

    Args:
        clip: name of the clip.
        frames: number of frames that were looked at.
        tracks: number of tracks.
        summary: of the maps.
        costs: time that they took.
        files: that were written.
        notes: what a reader of the files should know.
        problem: why the clip was not read to its end; None if it was.
        stopped: the error that ended the work early; None if it came to its end.
    """

    clip: str
    frames: int
    tracks: int
    summary: MapSummary
    costs: MapCosts
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    problem: str | None = None
    stopped: BaseException | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON values."""
        summary, costs = self.summary, self.costs
        return {
            "file": self.clip,
            "frames": self.frames,
            "tracks": self.tracks,
            "maps": {"full": summary.maps - summary.carried, "carried": summary.carried},
            "reasons": dict(summary.reasons),
            "seconds": {"full": round(costs.full_s, 3), "carried": round(costs.carried_s, 3)},
            "measured": summary.count,
            "carried_worse": summary.worse,
            "faithfulness": summary.means(),
            "files": [str(path) for path in self.files],
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """Return the summary for a person, without the table of `faithfulness_rows`."""
        summary = self.summary
        full = summary.maps - summary.carried
        why = [f"{summary.reasons[name]} {text}" for name, text in REASONS.items() if name in summary.reasons]
        lines = [
            f"{self.clip}: {counted(self.frames, 'frame')}, {counted(self.tracks, 'track')}, "
            f"{counted(summary.maps, 'map')}: {full} full, {summary.carried} carried on"
        ]
        lines += [f"full maps: {', '.join(why)}"] * bool(why)
        if (ratio := self.costs.ratio) is not None:
            lines.append(f"a carried map took 1/{ratio:.0f} of the time of a full one")
        return lines

    def faithfulness_rows(self) -> list[tuple[str, ...]]:
        """Return cells under `HEADER`: means over the frames whose carried maps were measured."""
        return [
            (NAMES[name], f"{row['inside']:.2f}", f"{row['deletion']:.3f}", f"{row['insertion']:.3f}")
            for name, row in self.summary.means().items()
        ]


class ClipMaps:
    """The maps of the last frame of a clip, and a summary of all.

    Attributes:
        last: maps of the last frame.
        summary: of all maps so far.
        track_ids: numbers of all objects so far.
    """

    def __init__(self) -> None:
        self.last: tuple[TrackMap, ...] = ()
        self.summary = MapSummary.empty()
        self.track_ids: set[int | None] = set()

    def take(self, maps: tuple[TrackMap, ...]) -> None:
        """Take in the maps of the next frame."""
        self.last = maps
        self.summary.add(maps)
        self.track_ids.update(one.detection.track_id for one in maps)

    def paint(self, frame: Frame, detections: Detections) -> Callable[[], NDArray[np.uint8]]:
        """Return what draws the last frame, also when later ones have come."""
        maps = self.last
        return lambda: draw_maps(frame.read(), maps, detections.classes)


def draw_maps(
    image_bgr: NDArray[np.uint8], maps: Sequence[TrackMap], classes: Sequence[str]
) -> NDArray[np.uint8]:
    """Return a frame with the heat of all its maps, boxes and numbers, and the ages of the maps.

    Args:
        image_bgr: (H, W, 3) uint8; left as it is.
        maps: of its objects.
        classes: names of all classes.
    """
    if not maps:
        return image_bgr.copy()
    heat = np.max([one.heat for one in maps], axis=0)
    numbers = [one.detection.track_id or 0 for one in maps]
    ages = [f"carried {counted(one.age, 'frame')}" if one.is_carried else "full map" for one in maps]
    names = [
        f"#{number} {one.detection.name}, {age}" for number, one, age in zip(numbers, maps, ages, strict=True)
    ]
    return draw_boxes(
        overlay_heat(image_bgr, heat),
        [one.detection.box_xyxy for one in maps],
        [one.detection.label for one in maps],
        classes,
        names=names,
        style=Style(colours="instance", numbers=numbers),
    )


class MapSink:
    """Explains the tracked detections of each frame, then hands the frame on to other sinks.

    Args:
        maps: takes the maps.
        explainer: of the clip.
        sinks: get every frame with its tracked detections.
    """

    def __init__(self, maps: ClipMaps, explainer: TrackExplainer, sinks: Sequence[Sink]) -> None:
        self.maps, self.explainer, self.sinks = maps, explainer, sinks

    def write(self, frame: Frame, detections: Detections) -> None:
        """Explain, and hand on."""
        self.maps.take(self.explainer.update(frame, detections))
        for sink in self.sinks:
            sink.write(frame, detections)

    def close(self) -> None:
        """Close the sinks."""
        for sink in self.sinks:
            sink.close()

    def stop(self) -> None:
        """Keep what there is so far, as the sinks do."""
        stop_sinks(self.sinks)


def explain_clip(
    load_detector: Callable[[], Detector],
    source: Chain,
    out: Path,
    *,
    options: CarryOptions | None = None,
    tracking: Tracking | None = None,
    files: TrackFiles | None = None,
    score: float = SHOW_SCORE,
    progress: bool = True,
) -> TrackOutcome:
    """Explain the tracked objects of a clip, and write a video with heat and a table of the maps.

    If Ctrl-C or an error comes, the files are ended with the frames so far, and `stopped` has the error.

    Args:
        load_detector: is called once it is known that the files can be written.
        source: one clip, from `open_sources`.
        out: folder for the files; made if need be.
        options: when maps are carried on, and how full ones are made.
        tracking: thresholds of the tracker.
        files: what is written.
        score: from which an object may be new; weaker detections continue a track.
        progress: whether to show progress.

    Raises:
        InputError: there is not one clip, the method is unknown, or the files cannot be written.
    """
    files, options, tracking = files or TrackFiles(), options or CarryOptions(), tracking or Tracking()
    find_methods(options.method)
    if source.photographs or len(source.moving) != 1:
        raise InputError("Expected one clip for `track`, found photographs or several sources.")
    tracking.check(source)
    asked: PredictArguments = {"score": score, "masks": False, "slices": "off"}
    tracking, asked = tracking.with_score(asked)
    (moving,) = source.moving
    maps, counts = ClipMaps(), CountSink()
    table = out / TABLE.format(moving.clip.stem, files.form)
    written = Written(out, ClipFiles((), True, files.video_format, False), source, maps.paint)
    explainer = TrackExplainer(load_detector(), options)
    rows = RowSink(table, MapRows(files.form, lambda: maps.last))
    sink = MapSink(maps, explainer, [*written.sinks(), rows, counts])
    tracked = TrackSink(ClipTracks(tracking, None), [sink])
    stopped = predict_until_stopped(explainer.detector, source, [tracked], progress=progress, **asked)
    return TrackOutcome(
        moving.clip.name,
        sum(count.frames for count in counts.counts.values()),
        len(maps.track_ids),
        maps.summary,
        explainer.costs,
        tuple(path for path in (*written.paths(), table) if path.exists()),
        written.notes(),
        moving.problem,
        stopped,
    )
