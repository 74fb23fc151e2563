"""Cameras and streams: the latest frame is kept, the others are dropped and counted.

A thread reads without a pause, because frames that wait in a buffer are old when they are looked at. A stream
that breaks is opened again after a pause, which doubles each time.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2

from aerostat.errors import InputError
from aerostat.images.frame import Clip, Frame
from aerostat.interrupts import StopRequest
from aerostat.text import counted, listed
from aerostat.video.addresses import check_scheme, is_address, shown_address
from aerostat.video.capture import MAX_RATE, be_quiet, frames_of, rate_of, stated_frames
from aerostat.video.probe import why_not_opened
from aerostat.video.times import Selection

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a live source is waited for.

    Args:
        answer_s: seconds within which it must answer.
        first_pause_s: seconds before a broken stream is opened again; the pause doubles each time.
        longest_pause_s: seconds that a pause lasts at most.
        give_up_s: seconds after which a broken stream is given up.
    """

    answer_s: float = 10.0
    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0
    give_up_s: float = 600.0


PATIENCE = Patience()
"""What is usual."""


def open_live(
    target: str,
    stem: str,
    selection: Selection,
    patience: Patience = PATIENCE,
    stop: StopRequest | None = None,
) -> LiveStream | RemoteClip:
    """Return a camera or a stream; a clip on a server is read from its beginning, and no frame is dropped.

    Args:
        target: address of a stream, or number of a camera.
        stem: begins the names of files that are written about it.
        selection: which frames are looked at.
        patience: how long it is waited for.
        stop: ends a live source.

    Raises:
        InputError: it cannot be opened; the sentence says why, without the password.
    """
    name = name_of(target)
    if is_address(target):
        check_scheme(target)
    capture = open_target(target, patience.answer_s)
    if capture is None:
        raise InputError(_refusal(target, patience.answer_s))
    frames = stated_frames(capture) if is_address(target) else None
    rate = rate_of(capture)
    if frames is not None:
        return RemoteClip(capture, Clip(name, stem, selection.rate(rate), frames=frames), selection, rate)
    stated = capture.get(cv2.CAP_PROP_FPS)
    clip = Clip(name, stem, selection.rate(rate) if 0 < stated <= MAX_RATE else 0.0, live=True)
    return LiveStream(target, capture, clip, selection, patience, stop)


def name_of(target: str) -> str:
    """Return what messages call a camera or a stream.

    >>> name_of("0"), name_of("http://a:b@door/x")
    ('camera 0', 'http://door/x')
    """
    return shown_address(target) if is_address(target) else f"camera {int(target)}"


def open_target(target: str, answer_s: float) -> cv2.VideoCapture | None:
    """Return an opened camera or stream; None if it cannot be opened within a time.

    Args:
        target: address of a stream, or number of a camera.
        answer_s: seconds within which a stream must answer.
    """
    be_quiet()
    if is_address(target):
        limits = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(answer_s * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(answer_s * 1000)),
        ]
        capture = cv2.VideoCapture(target, cv2.CAP_FFMPEG, limits)
    else:
        capture = cv2.VideoCapture(int(target))
    if capture.isOpened():
        return capture
    capture.release()
    return None


def _refusal(target: str, answer_s: float) -> str:
    name = name_of(target)
    if is_address(target):
        return f"The stream {name} cannot be opened: {why_not_opened(target, answer_s)}."
    if not sys.platform.startswith("linux"):
        return f"The {name} cannot be opened; see whether it is connected, and used by no other program."
    cameras = sorted(path.name.removeprefix("video") for path in Path("/dev").glob("video[0-9]*"))
    if not cameras:
        return f"There is no {name}: this computer has no camera."
    if str(int(target)) in cameras:
        return f"The {name} cannot be opened: another program has it, or you may not read /dev/video{target}."
    return f"There is no {name}; the numbers here are {listed(cameras)}."


class RemoteClip:
    """A clip on a server, read like a file.

    Args:
        capture: at its beginning.
        clip: what its frames say about it; `frames` are those of the whole clip.
        selection: which frames are looked at.
        rate: of the whole clip.
    """

    def __init__(self, capture: cv2.VideoCapture, clip: Clip, selection: Selection, rate: float) -> None:
        self.clip, self.selection = clip, selection
        self.problem: str | None = None
        self.remark: str | None = None
        self._capture, self._rate = capture, rate
        self._begun = False

    def __iter__(self) -> Iterator[Frame]:
        """Yield the selected frames.

        Raises:
            InputError: they were read before; it is opened again for that.
        """
        if self._begun:
            raise InputError(f"Expected to read {self.clip.name} once, found a second time; open it again.")
        self._begun = True
        read = -1
        try:
            for frame in frames_of(self._capture, self.clip, self.selection, self._rate):
                read = frame.index
                yield frame
            is_over = not self._capture.grab()
        finally:
            self._capture.release()
        expected = self.clip.frames or 0
        step = self.clip.rate or self._rate
        if is_over and read + 1 + self._rate / step < 0.95 * expected:
            self.problem = f"the connection ended after {read + 1} of about {expected} frames"


class LiveStream:
    """The latest frames of a camera or a stream.

    Args:
        target: address or number.
        capture: the opened source.
        clip: what its frames say about it.
        selection: which frames are looked at; times count from the first frame.
        patience: how long it is waited for.
        stop: ends it when it is asked for.
    """

    def __init__(
        self,
        target: str,
        capture: cv2.VideoCapture,
        clip: Clip,
        selection: Selection,
        patience: Patience = PATIENCE,
        stop: StopRequest | None = None,
    ) -> None:
        self.clip, self.selection = clip, selection
        self.problem: str | None = None
        self.dropped = 0
        """Frames that were selected and came while an earlier one was looked at."""
        self.connections = 1
        self._target, self._patience = target, patience
        self._capture: cv2.VideoCapture | None = capture
        self._latest: Frame | None = None
        self._over = False
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._request = stop or StopRequest()

    @property
    def remark(self) -> str | None:
        """What happened meanwhile, for a person."""
        again = self.connections - 1
        parts = [f"{counted(self.dropped, 'frame')} dropped because later ones came"] * (self.dropped > 0)
        parts += [f"opened again {counted(again, 'time')}"] * (again > 0)
        return f"{self.clip.name}: {', '.join(parts)}" if parts else None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the latest frame as soon as the one before was looked at."""
        reader = threading.Thread(target=self._read, name="aerostat-live", daemon=True)
        reader.start()
        try:
            while (frame := self._next()) is not None:
                yield frame
        finally:
            self._stop.set()
            reader.join(self._patience.answer_s + 1)

    def _next(self) -> Frame | None:
        with self._changed:
            # A wait without a limit would let no signal through.
            while self._latest is None and not self._over and not self._request.made:
                self._changed.wait(0.5)
            frame, self._latest = self._latest, None
            return frame

    def _read(self) -> None:
        try:
            self._read_all()
        except Exception as error:  # of OpenCV; the main thread waits for an end
            self.problem = f"reading failed ({type(error).__name__})"
            _log.debug("reading a live source failed", exc_info=True)
        finally:
            if self._capture is not None:
                self._capture.release()
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _read_all(self) -> None:
        wanted = self.selection.chooser()
        begun: float | None = None
        index, pause, lost = 0, self._patience.first_pause_s, 0.0
        while not self._stop.is_set():
            now = time.monotonic()
            if begun is not None and wanted_is_over(self.selection, now - begun):
                return
            if self._capture is None:
                if now - lost > self._patience.give_up_s:
                    self.problem = f"it broke and did not come back within {self._patience.give_up_s:g} s"
                    return
                self._stop.wait(pause)
                pause = min(2 * pause, self._patience.longest_pause_s)
                self._capture = open_target(self._target, self._patience.answer_s)
                self.connections += self._capture is not None
            elif self._capture.grab():
                now = time.monotonic()
                begun = now if begun is None else begun
                pause, lost = self._patience.first_pause_s, 0.0
                if wanted(index, now - begun):
                    self._keep(self._capture, index, now - begun)
                index += 1
            else:
                lost = lost or now
                self._capture.release()
                self._capture = None
                _log.warning("%s broke after %s; it is opened again", self.clip.name, counted(index, "frame"))

    def _keep(self, capture: cv2.VideoCapture, index: int, time_s: float) -> None:
        image_bgr = None
        with suppress(cv2.error):
            _, image_bgr = capture.retrieve()
        if image_bgr is None or image_bgr.ndim != 3:
            return
        frame = Frame(
            image_bgr,  # type: ignore[arg-type]
            f"{self.clip.stem}-{index:06d}",
            index,
            round(time_s, 3),
            clip=self.clip,
        )
        with self._changed:
            self.dropped += self._latest is not None
            self._latest = frame
            self._changed.notify_all()


def wanted_is_over(selection: Selection, time_s: float) -> bool:
    """Return whether a live source is past the end of what is looked at."""
    return selection.end_s is not None and time_s >= selection.end_s
