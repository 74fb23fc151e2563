"""Sinks for endless sources: rows and pictures are written as they come, and memory does not grow."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from aerostat.draw.saving import save_image
from aerostat.files import file_stem, replacing
from aerostat.geometry.boxes import xyxy_to_xywh
from aerostat.images.frame import Frame
from aerostat.inference.sinks import FILES, Sink
from aerostat.results.detections import Detections
from aerostat.results.io import CSV_COLUMNS, decimals, readable
from aerostat.video.writer import VideoFormat, VideoWriter, require_space

RowFormat = Literal["jsonl", "json", "csv", "mot"]
ROW_FILES: dict[RowFormat, str] = {
    "jsonl": "detections.jsonl",
    "json": FILES["json"],
    "csv": FILES["csv"],
    "mot": ".txt",
}
"""Names of files with the detections of frames. MOT text has one file for each clip, named after it."""

CROPS = "crops"
"""Folder for pictures of single detections."""

LIVE_RATE = 10.0
"""Frames per second of the written video of a live source, unless another rate is asked for."""
MAX_REPEATED_S = 10.0
"""Seconds that a frame of a live source lasts at most in its video. A stream that was away for an hour would
otherwise fill the disk with one picture."""


SLACK = 1e-6
"""Frames by which the place of a frame may be rounded."""

Paint = Callable[[Frame, Detections], Callable[[], NDArray[np.uint8]]]
"""Takes a frame with its detections when it comes, and returns what draws it later, in another thread."""


def paint_detections(frame: Frame, detections: Detections) -> Callable[[], NDArray[np.uint8]]:
    """Return what draws the detections on their frame."""
    return lambda: detections.draw(frame.read()).image_bgr


class PartSink:
    """A sink for each part of a source: the next part begins when the key of a frame changes.

    Args:
        key: returns the part that a frame belongs to; None leaves the frame out.
        make: returns the sink of a part, by the key.
    """

    def __init__(self, key: Callable[[Frame], Hashable | None], make: Callable[[Any], Sink]) -> None:
        self._key, self._make = key, make
        self._part: Hashable | None = None
        self._sink: Sink | None = None

    def write(self, frame: Frame, detections: Detections) -> None:
        """Hand the frame to the sink of its part, having closed that of the part before."""
        key = self._key(frame)
        if key is None:
            return
        if self._sink is None or key != self._part:
            self.close()
            self._part, self._sink = key, self._make(key)
        self._sink.write(frame, detections)

    def close(self) -> None:
        """Close the sink of the last part."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()

    def stop(self) -> None:
        """Close the sink of the last part: all frames so far are in it."""
        self.close()


class VideoSink:
    """A video of the frames of one clip with their detections.

    Of a clip each frame is written once. Of a live source a frame lasts until the next one came, so the
    video is as long as the time that passed.

    Args:
        path: of the file.
        format_: of the file.
        rate: frames per second.
        paint: draws the frames.
    """

    def __init__(
        self, path: Path, format_: VideoFormat, rate: float, paint: Paint = paint_detections
    ) -> None:
        self._paint = paint
        self.writer = VideoWriter(path, rate, format_)
        self._start_s = 0.0
        self._written = 0

    def write(self, frame: Frame, detections: Detections) -> None:
        """Draw and encode the frame, in the writer's thread."""
        times = 1
        if frame.clip is not None and frame.clip.live and frame.time_s is not None:
            if not self._written:
                self._start_s = frame.time_s
            due = int((frame.time_s - self._start_s) * self.writer.rate + SLACK) + 1
            most = max(1, int(MAX_REPEATED_S * self.writer.rate))
            times = due - self._written
            if times > most:  # the stream was away
                self._start_s += (times - most) / self.writer.rate
                times = most
        if times < 1:
            return
        self._written += times
        self.writer.write(self._paint(frame, detections), times)

    def close(self) -> None:
        """End the file."""
        self.writer.close()

    def stop(self) -> None:
        """End the file: what was written so far is playable."""
        self.writer.close()


class RowTarget(Protocol):
    """A form of rows: what begins a file, what stands for a frame, what ends it."""

    def begin(self, frame: Frame, detections: Detections) -> bytes:
        """Return the beginning of the file, given its first frame."""

    def rows(self, frame: Frame, detections: Detections) -> bytes:
        """Return what stands for a frame."""

    def end(self) -> bytes:
        """Return the end of the file."""


def frame_document(frame: Frame, detections: Detections) -> dict[str, Any]:
    """Return what `Detections.to_dict` returns, with the number and the time of the frame in its clip."""
    document = {"file": readable(frame.location), "frame": frame.index, "time_s": frame.time_s}
    if frame.clip is None:
        document |= {"frame": None}
    return {**document, **{key: value for key, value in detections.to_dict().items() if key != "file"}}


class JsonLines:
    """A line of JSON for each frame, see `frame_document`."""

    def begin(self, frame: Frame, detections: Detections) -> bytes:
        """Return nothing: every line stands for itself."""
        return b""

    def rows(self, frame: Frame, detections: Detections) -> bytes:
        """Return the line of a frame."""
        return msgspec.json.encode(frame_document(frame, detections)) + b"\n"

    def end(self) -> bytes:
        """Return nothing."""
        return b""


class JsonDocument:
    """One JSON document, ``{"images": [...]}``, whose entries are as `frame_document` returns them."""

    def __init__(self) -> None:
        self._is_first = True

    def begin(self, frame: Frame, detections: Detections) -> bytes:
        """Return the opening."""
        return b'{"images":['

    def rows(self, frame: Frame, detections: Detections) -> bytes:
        """Return the entry of a frame."""
        comma, self._is_first = b"" if self._is_first else b",\n", False
        return comma + msgspec.json.encode(frame_document(frame, detections))

    def end(self) -> bytes:
        """Return the closing."""
        return b"]}\n"


class CsvRows:
    """A row for each detection: file, frame, time_s, class, score, x1, y1, x2, y2, then as far as there are
    any track_id and segmentation.
    """

    def __init__(self) -> None:
        self._optional: tuple[str, ...] = ()

    def begin(self, frame: Frame, detections: Detections) -> bytes:
        """Return the line of column names; the first frame tells which optional columns there are."""
        given = {"track_id": detections.track_ids, "segmentation": detections.masks}
        self._optional = tuple(name for name, values in given.items() if values is not None)
        return _csv([[CSV_COLUMNS[0], "frame", "time_s", *CSV_COLUMNS[1:], *self._optional]])

    def rows(self, frame: Frame, detections: Detections) -> bytes:
        """Return the rows of a frame."""
        number = "" if frame.clip is None else frame.index
        time_s = "" if frame.time_s is None else f"{frame.time_s:.6f}"
        columns = {
            "track_id": None if detections.track_ids is None else detections.track_ids.tolist(),
            "segmentation": None
            if detections.masks is None
            else [msgspec.json.encode(mask).decode() for mask in detections.masks.to_coco()],
        }
        optional = [columns[name] or [""] * len(detections) for name in self._optional]
        names = [detections.classes[label] for label in detections.labels.tolist()]
        scores, boxes = decimals(detections.scores), decimals(detections.boxes_xyxy)
        return _csv(
            [
                [readable(frame.location), number, time_s, name, score, *box, *extra]
                for name, score, box, *extra in zip(names, scores, boxes, *optional, strict=True)
            ]
        )

    def end(self) -> bytes:
        """Return nothing."""
        return b""


class MotRows:
    """A row for each detection as MOTChallenge states results.

    The fields are frame (from 1), id, left, top, width, height, score, and three times -1. The id is -1
    without a tracker. MOT text has no classes.
    """

    def begin(self, frame: Frame, detections: Detections) -> bytes:
        """Return nothing: there is no line of column names."""
        return b""

    def rows(self, frame: Frame, detections: Detections) -> bytes:
        """Return the rows of a frame."""
        ids = [-1] * len(detections) if detections.track_ids is None else detections.track_ids.tolist()
        boxes = xyxy_to_xywh(detections.boxes_xyxy.astype("float64")).tolist()
        lines = [
            f"{frame.index + 1},{id_},{left:.2f},{top:.2f},{width:.2f},{height:.2f},{score:.4f},-1,-1,-1\n"
            for id_, (left, top, width, height), score in zip(
                ids, boxes, detections.scores.tolist(), strict=True
            )
        ]
        return "".join(lines).encode()

    def end(self) -> bytes:
        """Return nothing."""
        return b""


FORMS: dict[RowFormat, Callable[[], RowTarget]] = {
    "jsonl": JsonLines,
    "json": JsonDocument,
    "csv": CsvRows,
    "mot": MotRows,
}
"""What makes the rows of each format."""


class RowSink:
    """A file of rows, which is written as the frames come, and gets its name when it is closed.

    Args:
        target: the file, or an open stream such as that of standard output.
        format_: of the rows, or what makes them.
    """

    def __init__(self, target: Path | BinaryIO, format_: RowFormat | RowTarget) -> None:
        self.form = FORMS[format_]() if isinstance(format_, str) else format_
        self._files = ExitStack()
        self._target = target
        self._file: BinaryIO | None = None

    def write(self, frame: Frame, detections: Detections) -> None:
        """Write the rows of a frame, all of them or none.

        Raises:
            OSError, AerostatError: the disk is full.
        """
        content = b""
        if self._file is None:
            self._file = self._opened()
            content = self.form.begin(frame, detections)
        content += self.form.rows(frame, detections)
        if not isinstance(self._target, Path):
            self._file.write(content)
            self._file.flush()  # the next program of the pipe waits for it
            return
        require_space(self._target.parent)
        whole = self._file.tell()
        try:
            _write_all(self._file, content)
        except BaseException:  # a full disk, or Ctrl-C between two parts
            self._file.truncate(whole)
            raise

    def close(self) -> None:
        """End the file; without a frame there is no file."""
        file, self._file = self._file, None
        if file is not None:
            with self._files:  # gives the file its name, even if the disk is full
                _write_all(file, self.form.end())

    def stop(self) -> None:
        """End the file: all frames so far are in it."""
        self.close()

    def _opened(self) -> BinaryIO:
        if not isinstance(self._target, Path):
            return self._target
        part = self._files.enter_context(replacing(self._target))
        return self._files.enter_context(part.open("wb", buffering=0))


class FramePictureSink:
    """A picture of each frame with its detections, in a folder for each clip.

    Args:
        folder: has the folders.
        paint: draws the frames.
    """

    def __init__(self, folder: Path, paint: Paint = paint_detections) -> None:
        self.folder = folder
        self._paint = paint
        self.pictures = 0

    def write(self, frame: Frame, detections: Detections) -> None:
        """Draw the detections and write the picture; its name has the number of the frame."""
        require_space(self.folder)
        place = place_of(self.folder, frame) / f"{frame.index:06d}.jpg"
        save_image(place, self._paint(frame, detections)())
        self.pictures += 1

    def close(self) -> None:
        """Do nothing: every picture is written when its frame comes."""


class CropSink:
    """A picture of each detection, cut out of its frame by its box, in a folder for each clip or photograph.

    Args:
        folder: has the folders.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.crops = 0

    def write(self, frame: Frame, detections: Detections) -> None:
        """Write the crops of one frame; a box outside of the picture has none."""
        if not len(detections):
            return
        require_space(self.folder)
        image_bgr = frame.read()
        height, width = image_bgr.shape[:2]
        start = "" if frame.clip is None else f"{frame.index:06d}-"
        for number, one in enumerate(detections, start=1):
            x1, y1, x2, y2 = one.box_xyxy
            left, top = max(0, int(x1)), max(0, int(y1))
            crop_bgr = image_bgr[top : min(height, -int(-y2 // 1)), left : min(width, -int(-x2 // 1))]
            if crop_bgr.size:
                class_name = file_stem(re.sub(r"[.\s]+", "_", one.name), 40)
                name = f"{start}{number:02d}-{class_name}.jpg"
                save_image(place_of(self.folder, frame) / name, crop_bgr)
                self.crops += 1

    def close(self) -> None:
        """Do nothing: every crop is written when its frame comes."""


def place_of(folder: Path, frame: Frame) -> Path:
    """Return the folder of a clip or of a photograph, named after it."""
    return folder / file_stem(Path(Path(frame.name).name).stem if frame.clip is None else frame.clip.stem)


def _write_all(file: BinaryIO, content: bytes) -> None:
    """Write to a file without a buffer, which may take a part at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _csv(rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")
