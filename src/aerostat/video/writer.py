"""Video files: frames are drawn and encoded by a thread of their own, and the file is whole whenever it ends.

OpenCV's wheels bring VP8, VP9 and Motion JPEG. They bring no encoder of H.264; where the user's OpenCV has
one, MP4 files take it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.errors import AerostatError, InputError
from aerostat.files import replacing
from aerostat.video.capture import be_quiet

VideoFormat = Literal["webm", "vp8", "avi", "mp4"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a video file is written.

    Args:
        suffix: of the file.
        codecs: four-character codes with the names of codecs, the best first.
    """

    suffix: str
    codecs: tuple[tuple[str, str], ...]


ENCODINGS: dict[VideoFormat, Encoding] = {
    "webm": Encoding(".webm", (("VP90", "VP9"),)),
    "vp8": Encoding(".webm", (("VP80", "VP8"),)),
    "avi": Encoding(".avi", (("MJPG", "Motion JPEG"),)),
    "mp4": Encoding(".mp4", (("avc1", "H.264"), ("vp09", "VP9"))),
}
"""The formats of video files."""

WAITING = 4
"""Frames that may wait for the encoder. More would take memory and gain nothing."""

MIN_FREE = 64 << 20
"""Bytes that must be free on the disk. FFmpeg does not report a full disk through OpenCV, so writing ends
before it is full. Other files of the run need the rest to be closed whole."""

_stderr_taken = threading.Lock()


class VideoWriter:
    """Writes a video file. Pictures are made and encoded by a thread, in the order in which they were given.

    The file appears under its name when the writer is closed. It has one rate, and no sound.

    Args:
        path: of the file; its folder is made if need be.
        rate: frames per second.
        format_: of the file.
    """

    def __init__(self, path: Path, rate: float, format_: VideoFormat = "webm") -> None:
        self.path, self.rate, self.format = path, rate, format_
        self.codec = ""
        self.frames = 0
        self.size: tuple[int, int] | None = None
        self.resized = 0
        """Pictures that had another size than the first one."""
        self._queue: queue.Queue[tuple[Callable[[], NDArray[np.uint8]], int] | None] = queue.Queue(WAITING)
        self._error: BaseException | None = None
        self._has_failed = False
        self._files = ExitStack()
        self._video: cv2.VideoWriter | None = None
        self._thread = threading.Thread(target=self._work, name="aerostat-encoder", daemon=True)
        self._thread.start()

    def write(self, picture: Callable[[], NDArray[np.uint8]], times: int = 1) -> None:
        """Append a picture; wait if `WAITING` pictures are not encoded yet.

        Args:
            picture: returns the picture (H, W, 3) uint8 BGR; called once, by the writer's thread.
            times: how many frames it lasts.

        Raises:
            AerostatError: an earlier picture could not be written, or the disk is nearly full.
        """
        self._raise()
        require_space(self.path.parent)
        self._queue.put((picture, times))

    def close(self) -> None:
        """Wait for the thread, end the file, and give it its name; without a picture there is no file.

        Raises:
            AerostatError: a picture could not be written. Those before it are in the file.
        """
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self._video is not None:
            self._video.release()
            self._video = None
        self._files.close()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._has_failed:
                continue  # so that the queue is emptied
            try:
                self._encode(item[0](), item[1])
            except BaseException as error:  # raised again in the caller's thread
                self._error, self._has_failed = error, True

    def _encode(self, image_bgr: NDArray[np.uint8], times: int) -> None:
        height, width = image_bgr.shape[:2]
        if self.size is None:
            self.size = (width, height)
            self._video = self._open()
        elif (width, height) != self.size:
            image_bgr = padded(image_bgr, self.size)
            self.resized += 1
        assert self._video is not None
        for _ in range(times):
            self._video.write(image_bgr)
        self.frames += times

    def _open(self) -> cv2.VideoWriter:
        assert self.size is not None
        names = " or ".join(name for _, name in ENCODINGS[self.format].codecs)
        with ExitStack() as files:
            part = files.enter_context(replacing(self.path))
            for code, name in ENCODINGS[self.format].codecs:
                if (video := _opened(part, code, self.rate, self.size)) is not None:
                    self.codec = name
                    self._files = files.pop_all()
                    return video
            raise AerostatError(
                f"This OpenCV cannot write {names} of {self.size[0]} x {self.size[1]} px: {self.path}; "
                "choose another `video_format`."
            )


def _opened(path: Path, code: str, rate: float, size: tuple[int, int]) -> cv2.VideoWriter | None:
    be_quiet()
    with opencv_muffled():
        fourcc = cv2.VideoWriter.fourcc(*code)
        video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, rate, size)
    if video.isOpened():
        return video
    video.release()
    return None


def padded(image_bgr: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a picture that is scaled into another size (width, height), with black bars around it."""
    height, width = image_bgr.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    whole = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    whole[top : top + inner[1], left : left + inner[0]] = cv2.resize(
        image_bgr, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return whole


def require_space(folder: Path) -> None:
    """Refuse to go on where the disk is nearly full.

    Raises:
        AerostatError: it has less than `MIN_FREE` bytes; the sentence says how many.
    """
    free = shutil.disk_usage(folder if folder.exists() else Path()).free
    if free < MIN_FREE:
        raise AerostatError(
            f"The disk of {folder} is nearly full ({free >> 20} MB are free, expected {MIN_FREE >> 20}); "
            "what was written so far is whole."
        )


@contextlib.contextmanager
def opencv_muffled() -> Iterator[None]:
    """Leave out OpenCV's line about the tag of a codec, which it prints for every WebM file on stderr.

    It comes from C and means nothing: WebM has no such tags. Lines of others are printed afterwards.
    """
    with _stderr_taken:
        try:
            sys.stderr.flush()
            kept = os.dup(2)
        except (OSError, ValueError, AttributeError):  # no stderr, as under pythonw
            yield
            return
        with tempfile.TemporaryFile() as lines:
            os.dup2(lines.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(kept, 2)
                lines.seek(0)
                for line in lines.read().splitlines(keepends=True):
                    if not line.startswith(b"OpenCV: FFMPEG:"):
                        os.write(kept, line)
                os.close(kept)


def check_format(format_: str) -> None:
    """Refuse a video format that is not written.

    Raises:
        InputError: naming those that are.
    """
    if format_ not in ENCODINGS:
        raise InputError(f"Expected `video_format` among {', '.join(ENCODINGS)}, found {format_!r}.")
