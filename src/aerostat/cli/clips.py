"""Options about clips, cameras and streams, and `predict` of them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.console import document
from aerostat.cli.options import Flag, given_options
from aerostat.errors import AerostatError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aerostat.inference.clip_sinks import RowFormat
    from aerostat.inference.clip_sources import ClipOptions
    from aerostat.inference.predict_clips import ClipFiles, ClipOutcome


@Parameter(name="*")
@dataclass(frozen=True)
class Clips:
    """How clips, cameras and streams are read, and what is written about them.

    Parameters
    ----------
    every:
        Look at every second, third, ... frame of clips and streams.
    start:
        Time in a clip to begin at: 90, 1:30, 45s, 10min.
    end:
        Time in a clip or stream to end at.
    fps:
        Look at no more frames a second than this. With --video, photographs are 10 or this many a second.
    video:
        Write a video with the detections, which is the default for clips and streams, or do not. Photographs
        are then the frames of a clip.
    video_format:
        webm (VP9), vp8 (WebM, five times faster to write), avi (Motion JPEG, for office programs) or mp4
        (H.264 where your OpenCV has it, else VP9). By default webm, and vp8 for cameras and streams.
    crops:
        Also write crops/NAME/000012-01-person.jpg and so on: each detection cut out by its box.
    segment:
        Begin new files after this time, such as 10min, for streams without an end.
    timeout:
        Seconds within which a camera or a stream must answer.
    """

    every: int = 1
    start: str | None = None
    end: str | None = None
    fps: float | None = None
    video: Annotated[bool | None, Parameter(show_default=False)] = None
    video_format: Literal["webm", "vp8", "avi", "mp4"] | None = None
    crops: Flag = False
    segment: str | None = None
    timeout: float = 10.0

    def reading(self) -> ClipOptions:
        """Return how sources are read.

        Raises:
            InputError: a time or a number cannot be.
        """
        from aerostat.inference.clip_sources import ClipOptions
        from aerostat.video.live import Patience
        from aerostat.video.times import Selection, seconds

        if not self.timeout > 0:
            raise InputError(f"Expected --timeout above 0, found {self.timeout:g}.")
        start_s = 0.0 if self.start is None else seconds(self.start)
        end_s = None if self.end is None else seconds(self.end)
        selection = Selection(self.every, start_s, end_s, self.fps)
        return ClipOptions(selection, Patience(self.timeout), self.video and (self.fps or SEQUENCE_RATE))

    def writing(self, rows: tuple[RowFormat, ...], pictures: bool | None, out: Path) -> ClipFiles:
        """Return what is written.

        Raises:
            InputError: the time of a segment cannot be, or files are asked for beside standard output.
        """
        from aerostat.inference.predict_clips import STDOUT, ClipFiles
        from aerostat.video.times import seconds

        to_files = out != STDOUT
        if not to_files:
            asked: dict[str, object] = {"--video": self.video, "--pictures": pictures, "--crops": self.crops}
            asked |= {"--segment": self.segment, "--video-format": self.video_format}
            if given := [name for name, value in asked.items() if value]:
                raise InputError(f"--out - writes rows to standard output alone; leave {given[0]} out.")
        return ClipFiles(
            rows,
            video=to_files and self.video is not False,
            video_format=self.video_format,
            pictures=pictures,
            crops=self.crops,
            segment_s=None if self.segment is None else seconds(self.segment),
        )

    def refuse_for_photographs(self) -> None:
        """Refuse options that would be ignored because no source moves.

        Raises:
            InputError: naming the first of them.
        """
        if given := list(given_options(self)):
            raise InputError(
                f"{given[0]} is for clips, cameras and streams, found photographs alone; leave it out."
            )


SEQUENCE_RATE = 10.0
"""Frames per second of photographs that --video takes as a clip, without --fps."""

CLIPS = Clips()
"""Nothing asked for."""


def names_of(sources: Sequence[str]) -> tuple[str, ...]:
    """Return the sources, with the names on standard input in place of ``-``.

    Names stand one a line, or with a zero byte after each as ``find -print0`` writes them.

    Raises:
        InputError: there is no name, ``-`` stands twice, or a name is an address: those are typed.
    """
    typed = [source for source in sources if Path(source) == Path("-")]
    if not typed:
        return tuple(sources)
    text = sys.stdin.buffer.read().decode(sys.getfilesystemencoding(), "surrogateescape")
    lines = text.split("\0") if "\0" in text else text.splitlines()
    names = [line for line in lines if line.strip()]
    if not names or len(typed) > 1:
        found = "none" if not names else "- twice"
        raise InputError(f"Expected names of files on standard input, found {found}.")
    from aerostat.video.addresses import is_address

    if any(map(is_address, names)):
        raise InputError(
            "Expected names of files on standard input, found an address; type addresses as SOURCE."
        )
    at = sources.index(typed[0])
    return (*sources[:at], *names, *sources[at + 1 :])


def tell_outcome(done: ClipOutcome, out: Path, as_json: bool) -> None:
    """Print what was found and written, and end as the work did.

    Raises:
        AerostatError: a source could not be read to its end, or the work was ended early.
        KeyboardInterrupt: by Ctrl-C.
    """
    if str(out) != "-":
        if as_json:
            print(document(done.to_dict()))
        else:
            console.tell(*done.lines())
    if done.stopped is not None:
        raise done.stopped
    if done.failed:
        name, reason = done.failed[0]
        broken = {name for name, _ in done.failed}
        others = any(count.name not in broken for count in done.counts)
        rest = "what was read of it is written" if done.counts else "nothing was written"
        rest = "the others are done" if others else rest
        more = f" ({len(done.failed)} sources in all)" if len(done.failed) > 1 else ""
        raise AerostatError(f"{name} was not read to its end{more}: {reason}; {rest}.")
