"""Clips in files: frames with their numbers and times, read by OpenCV."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2

from aerostat.errors import InputError
from aerostat.images.frame import Clip, Frame
from aerostat.images.kinds import CLIP, PREFIX, kind_of
from aerostat.video.container import missing_bytes
from aerostat.video.times import Selection

MAX_RATE = 240.0
"""Frames per second that are believed. Some containers state the ticks of their clock, 1000 or 90000."""
DEFAULT_RATE = 25.0
"""Frames per second of a clip that states none and has a single frame."""
RATE_FRAMES = 30
"""Frames whose times tell the rate of a clip that does not state it."""

_quieting = threading.Lock()


def be_quiet() -> None:
    """Keep FFmpeg's lines off stderr, unless its level is set: they may hold an address with its password."""
    with _quieting:
        if "OPENCV_FFMPEG_DEBUG" not in os.environ:
            os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET


def is_clip(path: Path) -> bool:
    """Return whether a file is a clip by its first bytes; a name or a list of other files does not count.

    FFmpeg would follow the names in a playlist. So only files that hold the pictures themselves are opened.
    """
    try:
        with path.open("rb") as file:
            return kind_of(file.read(PREFIX)) is CLIP
    except OSError:
        return False


class VideoFile:
    """The frames of a clip in a file.

    Args:
        path: the file.
        stem: begins the names of files that are written about it.
        selection: which frames are looked at.

    Raises:
        InputError: the file cannot be opened as a clip.
    """

    def __init__(self, path: Path | str, stem: str = "", selection: Selection | None = None) -> None:
        self.path = Path(path)
        self.selection = selection or Selection()
        self.problem: str | None = None
        """What was wrong with the clip, known once it was read."""
        self.remark: str | None = None
        self.lacking = _check(self.path)
        capture = open_file(self.path)
        try:
            rate = _believed_rate(capture) or _measured_rate(self.path)
            frames = stated_frames(capture)
            if not capture.grab():
                raise InputError(self._no_picture())
        finally:
            capture.release()
        self.clip = Clip(
            str(path),
            stem or self.path.stem,
            self.selection.rate(rate),
            frames=self.selection.frames(frames, rate),
        )
        self._rate = rate

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames that are selected.

        Raises:
            InputError: the file cannot be opened any more.
        """
        capture = open_file(self.path)
        try:
            yield from frames_of(capture, self.clip, self.selection, self._rate, self.path)
            is_over = capture_is_over(capture)
        finally:
            capture.release()
        if is_over and self.lacking:
            self.problem = (
                f"the clip is cut: its container states {self.lacking} bytes more than the file has"
            )

    def _no_picture(self) -> str:
        why = f"cut ({self.lacking} bytes are missing at its end)" if self.lacking else "without a picture"
        return f"Expected a clip, found one that is {why}: {self.path}; copy it again or leave it out."


def frames_of(
    capture: cv2.VideoCapture, clip: Clip, selection: Selection, rate: float, path: Path | None = None
) -> Iterator[Frame]:
    """Yield the selected frames of an opened clip, with their times.

    Frames that are not selected are decoded, but not converted. Seeking would be faster, but a container
    with varying frame times gives no numbers after it.

    Args:
        capture: at its beginning.
        clip: what the frames say about their source.
        selection: which frames.
        rate: of the whole clip, for frames without times.
        path: of the file, if there is one.
    """
    wanted = selection.chooser()
    time_s = -1.0
    index = 0
    while capture.grab():
        time_s = _time_after(time_s, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, rate)
        choice = wanted(index, time_s)
        if choice is None:
            break
        if choice:
            done, image_bgr = capture.retrieve()
            if done and image_bgr is not None and image_bgr.size:
                if image_bgr.ndim == 2 or image_bgr.shape[2] == 1:
                    image_bgr = cv2.cvtColor(image_bgr, cv2.COLOR_GRAY2BGR)
                name = f"{clip.stem}-{index:06d}"
                yield Frame(image_bgr, name, index, round(time_s, 6), path, clip)  # type: ignore[arg-type]
        index += 1


def _time_after(before: float, stated: float, rate: float) -> float:
    """Return the time of a frame: what the clip states, if it goes forward, else by the rate."""
    if math.isfinite(stated) and stated > before and stated >= 0:
        return stated
    return 0.0 if before < 0 else before + 1 / rate


def capture_is_over(capture: cv2.VideoCapture) -> bool:
    """Return whether there is no further frame."""
    return not capture.grab()


def open_file(path: Path) -> cv2.VideoCapture:
    """Return an opened clip; its frames are turned upright as its rotation mark says.

    Raises:
        InputError: OpenCV cannot open it.
    """
    be_quiet()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        capture.release()
        lacking = missing_bytes(path)
        why = (
            f"cut ({lacking} bytes are missing at its end)" if lacking else "damaged, or of an unknown codec"
        )
        raise InputError(
            f"Expected a clip, found one that is {why}: {path}; copy it again, or convert it to MP4 or WebM."
        )
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def rate_of(capture: cv2.VideoCapture) -> float:
    """Return the frames per second that an opened clip states, or `DEFAULT_RATE`."""
    return _believed_rate(capture) or DEFAULT_RATE


def _believed_rate(capture: cv2.VideoCapture) -> float | None:
    stated = float(capture.get(cv2.CAP_PROP_FPS))
    return stated if 0 < stated <= MAX_RATE else None


def _measured_rate(path: Path) -> float:
    """Return the frames per second of a clip by the times of its first frames."""
    capture = open_file(path)
    times: list[float] = []
    while len(times) < RATE_FRAMES and capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    capture.release()
    length = times[-1] - times[0] if times else 0.0
    rate = (len(times) - 1) / length if length > 0 else DEFAULT_RATE
    return rate if 0 < rate <= MAX_RATE else DEFAULT_RATE


def stated_frames(capture: cv2.VideoCapture) -> int | None:
    """Return how many frames a clip states; None if it does not tell."""
    frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(frames) if 0 < frames < 1e9 else None


def _check(path: Path) -> int:
    """Refuse a file that is no clip, and return how many bytes a clip lacks.

    Raises:
        InputError: saying what it is.
    """
    try:
        with path.open("rb") as file:
            start = file.read(PREFIX)
        lacking = missing_bytes(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    if not start:
        raise InputError(f"Expected a clip, found an empty file: {path}; copy it again or leave it out.")
    if (kind := kind_of(start)) is not CLIP:
        found = kind.found if kind else "no known container"
        raise InputError(f"Expected a clip, found {found}: {path}; leave it out.")
    return lacking
