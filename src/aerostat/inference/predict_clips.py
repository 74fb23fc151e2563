"""Prediction on clips, cameras and streams: rows, videos and pictures, with memory that does not grow."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

from aerostat.errors import AerostatError, InputError, clause
from aerostat.files import require_folder
from aerostat.images.frame import Clip, Frame
from aerostat.inference.clip_sinks import (
    CROPS,
    LIVE_RATE,
    ROW_FILES,
    CropSink,
    FramePictureSink,
    Paint,
    PartSink,
    RowFormat,
    RowSink,
    VideoSink,
    paint_detections,
)
from aerostat.inference.clip_sources import Chain
from aerostat.inference.clip_tracks import ClipTracks, Tracking, TrackSink
from aerostat.inference.detector import Detector
from aerostat.inference.options import PredictArguments
from aerostat.inference.predict_folder import predict_to_sinks, spare_photographs
from aerostat.inference.sinks import PictureSink, Sink, picture_path
from aerostat.inference.sources import Files
from aerostat.results.detections import Detections
from aerostat.text import counted
from aerostat.tracking.track_log import TrackLog
from aerostat.video.writer import ENCODINGS, VideoFormat, check_format

STDOUT = Path("-")
"""In place of a folder: rows go to standard output, and no file is written."""


@dataclass(frozen=True, slots=True)
class ClipFiles:
    """What is written about moving sources.

    Args:
        rows: formats of the files with the detections.
        video: whether to write videos with the detections drawn on them.
        video_format: of the videos; None is WebM, with VP9 for clips and the faster VP8 for live sources.
        pictures: whether to write pictures with the detections: True of each frame, False of none. None is
            of photographs and of pages, which no video shows.
        crops: whether to write a picture of each detection.
        segment_s: seconds after which the files of a source are ended and others are begun; None is never.
    """

    rows: tuple[RowFormat, ...] = ("jsonl",)
    video: bool = True
    video_format: VideoFormat | None = None
    pictures: bool | None = None
    crops: bool = False
    segment_s: float | None = None


@dataclass
class ClipCount:
    """What was found in one source.

    Args:
        name: of the source.
        frames: that were looked at.
        detections: on them.
        by_class: detections of each class.
        first_s, last_s: times of the first and the last frame.
    """

    name: str
    frames: int = 0
    detections: int = 0
    by_class: dict[str, int] = field(default_factory=dict)
    first_s: float | None = None
    last_s: float | None = None

    def add(self, frame: Frame, detections: Detections) -> None:
        """Count one frame."""
        self.frames += 1
        self.detections += len(detections)
        for label in detections.labels.tolist():
            name = detections.classes[label]
            self.by_class[name] = self.by_class.get(name, 0) + 1
        self.first_s = frame.time_s if self.first_s is None else self.first_s
        self.last_s = frame.time_s

    def line(self) -> str:
        """Return the counts for a person."""
        counts = ", ".join(f"{number} {name}" for name, number in self.by_class.items())
        times = "" if self.last_s is None else f" ({self.first_s:.2f} s to {self.last_s:.2f} s)"
        return f"{self.name}: {counted(self.frames, 'frame')}{times}, {counts or 'nothing above the score'}"


class CountSink:
    """Counts frames and detections of each source, in `counts`."""

    def __init__(self) -> None:
        self.counts: dict[str, ClipCount] = {}

    def write(self, frame: Frame, detections: Detections) -> None:
        """Count one frame; all photographs count as one source."""
        name = "photographs" if frame.clip is None else frame.clip.name
        self.counts.setdefault(name, ClipCount(name)).add(frame, detections)

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class ClipOutcome:
    """What was found in moving sources, and the files that were written.

    Args:
        counts: of each source.
        files: that were written.
        failed: sources and photographs that could not be read, or not to their end, with the reason.
        notes: what a reader of the files should know.
        stopped: the error that ended the work early; None if it came to its end.
        tracked: the tracks of each source by its name, if there was a tracker.
    """

    counts: tuple[ClipCount, ...]
    files: tuple[Path, ...]
    failed: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    stopped: BaseException | None = None
    tracked: Mapping[str, TrackLog] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome for JSON."""
        return {
            "sources": [
                {
                    "file": count.name,
                    "frames": count.frames,
                    "first_s": count.first_s,
                    "last_s": count.last_s,
                    "detections": count.by_class,
                    **(self.tracked[count.name].to_dict() if count.name in self.tracked else {}),
                }
                for count in self.counts
            ],
            "files": [str(path) for path in self.files],
            "failed": [{"file": name, "reason": reason} for name, reason in self.failed],
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """Return a summary for a person."""
        lines = []
        for count in self.counts:
            tracks = self.tracked[count.name].describe() if count.name in self.tracked else []
            lines += [count.line(), *(f"{count.name}: {line}" for line in tracks)]
        lines += [f"{name}: {reason}" for name, reason in self.failed]
        lines += [f"wrote {path}" for path in self.files]
        return [*lines, *self.notes]


def predict_clips(
    load_detector: Callable[[], Detector],
    source: Chain,
    out: Path,
    *,
    files: ClipFiles | None = None,
    tracking: Tracking | None = None,
    progress: bool = True,
    **options: Unpack[PredictArguments],
) -> ClipOutcome:
    """Detect on all frames of moving sources, and write rows, videos and pictures as they come.

    If an error or `source.stop` comes, all files are ended with the frames so far, and `stopped` has the
    error.

    Args:
        load_detector: is called once it is known that the files can be written.
        source: from `open_sources`.
        out: folder for the files; made if need be. `STDOUT` writes rows to standard output, and no file.
        files: what is written.
        tracking: gives objects identities, and counts them; None does not. Detections below the score that
            is asked for continue tracks, too.
        progress: whether to show progress.
        **options: see `PredictOptions`.

    Raises:
        InputError: what is asked for cannot be written.
    """
    tracks: ClipTracks | None = None
    if tracking is not None:
        tracking.check(source)
        tracking, options = tracking.with_score(options)
        tracks = ClipTracks(tracking, None if out == STDOUT else out)
    written = Written(out, files or ClipFiles(), source, tracks.paint if tracks else paint_detections)
    detector = load_detector()
    counts = CountSink()
    sinks: list[Sink] = [*written.sinks(), counts]
    failed = list(source.failed)
    stopped = predict_until_stopped(
        detector,
        source,
        [TrackSink(tracks, sinks)] if tracks else sinks,
        progress=progress,
        on_unreadable=lambda frame, error: failed.append((frame.location, clause(error))),
        **options,
    )
    for part in source.moving:
        if part.problem is not None:
            failed.append((part.clip.name, part.problem))
    return ClipOutcome(
        tuple(counts.counts.values()),
        (*written.paths(), *(tracks.files if tracks else ())),
        tuple(failed),
        written.notes(),
        stopped,
        tracks.logs if tracks else {},
    )


def predict_until_stopped(
    detector: Detector,
    source: Chain,
    sinks: Sequence[Sink],
    *,
    progress: bool = True,
    on_unreadable: Callable[[Frame, InputError], None] | None = None,
    **options: Unpack[PredictArguments],
) -> BaseException | None:
    """Detect on the frames of moving sources, and return the error that ended the work early.

    An interrupt counts as an error. All sinks then have the frames so far.

    Args:
        detector: from `aerostat.load`.
        source: its `stop` ends the work after a frame.
        sinks, progress, on_unreadable, **options: see `predict_to_sinks`.

    Returns:
        None if all frames were looked at.

    Raises:
        BrokenPipeError: nothing reads standard output any more.
    """
    try:
        predict_to_sinks(
            detector,
            source,
            sinks,
            progress=progress,
            read_ahead=not source.is_live,
            stop=source.stop,
            on_unreadable=on_unreadable,
            **options,
        )
    except BrokenPipeError:
        raise
    except (AerostatError, OSError, KeyboardInterrupt) as error:
        return error
    return KeyboardInterrupt() if source.stop.made else None


class Written:
    """The files that are written about moving sources.

    Args:
        out: see `predict_clips`.
        files: what is written.
        source: what is read, and must not be written over.
        paint: draws the frames.

    Raises:
        InputError: what is asked for cannot be written.
    """

    def __init__(self, out: Path, files: ClipFiles, source: Chain, paint: Paint = paint_detections) -> None:
        self.out, self.files, self.source = out, files, source
        self._paint = paint
        self._rows: list[Path] = []
        self._videos: list[VideoSink] = []
        self._pictures = FramePictureSink(out, paint)
        self._photographs = PictureSink(out)
        self._crops = CropSink(out / CROPS)
        self._check()

    def _check(self) -> None:
        files, moving = self.files, self.source.moving
        if files.video_format is not None:
            check_format(files.video_format)
        if files.segment_s is not None and (files.segment_s <= 0 or len(moving) != 1):
            found = f"{files.segment_s:g} s" if len(moving) == 1 else counted(len(moving), "source")
            raise InputError(f"Expected `segment` above 0 with one clip or stream, found {found}.")
        if "mot" in files.rows and not moving:
            raise InputError("Expected a clip for `format='mot'`, found photographs alone; see `video=True`.")
        if self.out == STDOUT:
            if len(files.rows) != 1 or (files.rows[0] == "mot" and len(self.source.parts) != 1):
                raise InputError("Expected one format of rows for standard output, found several files.")
            return
        require_folder(self.out)
        first = None if files.segment_s is None else 1
        written = [self._video_path(part.clip, first) for part in moving if part.clip.rate] * files.video
        written += [_numbered(self.out / f"{part.clip.stem}.txt", first) for part in moving] * (
            "mot" in files.rows
        )
        stills = [part for part in self.source.parts if isinstance(part, Files)]
        if files.pictures is not False:
            written += [picture_path(self.out, name) for part in stills for name in part.names]
        paths = [path for part in stills for path in part.paths if isinstance(path, Path)]
        paths += [Path(part.clip.name) for part in moving if not part.clip.live]
        spare_photographs(paths, written, self.out)

    def sinks(self) -> list[Sink]:
        """Return the sinks of all files."""
        if self.out == STDOUT:
            return [RowSink(sys.stdout.buffer, self.files.rows[0])]
        sinks: list[Sink] = [self._row_sink(format_) for format_ in self.files.rows]
        if self.files.video:
            sinks.append(PartSink(_timed_clip(self.files.segment_s), self._video_sink))
        if self.files.pictures is not False:
            sinks.append(
                PartSink(lambda frame: True if frame.clip is None else None, lambda _: self._photographs)
            )
            every = self.files.pictures
            sinks.append(PartSink(lambda frame: _has_pictures(frame.clip, every), lambda _: self._pictures))
        sinks += [self._crops] * self.files.crops
        return sinks

    def paths(self) -> tuple[Path, ...]:
        """Return the files that were written."""
        return tuple(
            path for path in (*self._rows, *(sink.writer.path for sink in self._videos)) if path.exists()
        )

    def notes(self) -> tuple[str, ...]:
        """Return what a reader of the files should know."""
        notes = []
        for sink in self._videos[:1]:
            writer = sink.writer
            notes.append(
                f"videos have one rate, here {writer.rate:g} frames a second ({writer.codec}), and no sound; "
                "the times of the frames are in the rows"
            )
        for sink in self._videos:
            if sink.writer.resized:
                width, height = sink.writer.size or (0, 0)
                notes.append(
                    f"{sink.writer.path}: {counted(sink.writer.resized, 'frame')} of another size were "
                    f"fitted into {width} x {height} px; the rows have boxes in pixels of each frame"
                )
        notes += [part.remark for part in self.source.moving if part.remark is not None]
        if "mot" in self.files.rows:
            notes.append(
                "MOT text has no classes: it counts frames from 1, and has an id of -1 without a tracker"
            )
        if pictures := self._pictures.pictures + len(self._photographs.pictures):
            notes.append(f"wrote {counted(pictures, 'picture')} to {self.out}")
        if self._crops.crops:
            notes.append(f"wrote {counted(self._crops.crops, 'crop')} to {self._crops.folder}")
        return tuple(notes)

    def _row_sink(self, format_: RowFormat) -> Sink:
        per_clip = format_ == "mot"
        segment_s = self.files.segment_s

        def key(frame: Frame) -> tuple[str, int | None] | None:
            if per_clip and frame.clip is None:
                return None
            stem = frame.clip.stem if per_clip and frame.clip is not None else ""
            return stem, _segment(frame, segment_s)

        def make(part: tuple[str, int | None]) -> RowSink:
            stem, number = part
            name = f"{stem}{ROW_FILES[format_]}"
            path = _numbered(self.out / name, number)
            self._rows.append(path)
            return RowSink(path, format_)

        return PartSink(key, make)

    def _video_sink(self, part: tuple[Clip, int | None]) -> VideoSink:
        clip, number = part
        rate = (self.source.selection.fps or LIVE_RATE) if clip.live else clip.rate or LIVE_RATE
        sink = VideoSink(self._video_path(clip, number), self._video_format(clip), rate, self._paint)
        self._videos.append(sink)
        return sink

    def _video_path(self, clip: Clip, number: int | None) -> Path:
        return _numbered(self.out / f"{clip.stem}{ENCODINGS[self._video_format(clip)].suffix}", number)

    def _video_format(self, clip: Clip) -> VideoFormat:
        return self.files.video_format or ("vp8" if clip.live else "webm")


def _has_pictures(clip: Clip | None, every: bool | None) -> Clip | None:
    """Return the clip of a frame that is written as a picture; None for other frames."""
    return clip if clip is not None and (every or clip.rate is None) else None


def _segment(frame: Frame, segment_s: float | None) -> int | None:
    """Return the number of the segment that a frame belongs to, from 1; None without segments."""
    return None if segment_s is None else int((frame.time_s or 0.0) // segment_s) + 1


def _timed_clip(segment_s: float | None) -> Callable[[Frame], tuple[Clip, int | None] | None]:
    """Return what tells the part of a video that a frame belongs to; None for frames without a time."""

    def key(frame: Frame) -> tuple[Clip, int | None] | None:
        if frame.clip is None or frame.clip.rate is None:
            return None
        return frame.clip, _segment(frame, segment_s)

    return key


def _numbered(path: Path, number: int | None) -> Path:
    return path if number is None else path.with_stem(f"{path.stem}-{number:04d}")
