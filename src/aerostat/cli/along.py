"""Options of `explain` along the tracks of a clip, and the work they ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.console import document
from aerostat.cli.options import Flag, given_options
from aerostat.errors import AerostatError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aerostat.explanation.along_tracks import CarryOptions
    from aerostat.inference.clip_sources import ClipOptions
    from aerostat.inference.detector import Detector

MEASURE_EVERY = 10
"""Frames between measurements of --faithfulness, unless --measure-every says otherwise."""


@Parameter(name="*")
@dataclass(frozen=True)
class Along:
    """Explanations along the tracks of a clip.

    Parameters
    ----------
    track:
        IMAGE is a clip: explain its objects along their tracks. A full map is made now and then. In between
        it moves with the box, at a fraction of the cost. Writes a video with the heat and a table.
    full_every:
        Maximum number of frames that a full map serves; 1 makes one on each frame.
    box_change:
        Make a full map when a side of the box grew or shrank by this factor.
    likeness:
        Make a full map when the correlation of the pixels of the old and the new box is below this.
    measure_every:
        Frames between measurements of --faithfulness: of the carried map, a full one and a bell in the box.
        Where the carried map is worse, the full one takes its place.
    every:
        Look at every second, third, ... frame of the clip.
    start:
        Time in the clip to begin at: 90, 1:30, 45s, 10min.
    end:
        Time in the clip to end at.
    table:
        Format of the table of maps: csv or jsonl.
    video_format:
        webm (VP9), vp8 (WebM, five times faster to write), avi (Motion JPEG, for office programs) or mp4
        (H.264 where your OpenCV has it, else VP9).
    """

    track: Flag = False
    full_every: int = 30
    box_change: float = 1.25
    likeness: float = 0.5
    measure_every: int | None = None
    every: int = 1
    start: str | None = None
    end: str | None = None
    table: Literal["csv", "jsonl"] = "csv"
    video_format: Annotated[Literal["webm", "vp8", "avi", "mp4"] | None, Parameter(show_default=False)] = None

    def refuse_without_track(self) -> None:
        """Refuse options that would be ignored without --track.

        Raises:
            InputError: naming the first of them.
        """
        if given := list(given_options(self)):
            raise InputError(f"{given[0]} is for --track, which was not given; add it.")

    def options(self, faithfulness: bool, **others: Any) -> CarryOptions:
        """Return when maps are carried on.

        Raises:
            InputError: a number is out of its range, or there is nothing to measure.
        """
        from aerostat.explanation.along_tracks import CarryOptions

        if self.measure_every is not None and not faithfulness:
            raise InputError("--measure-every is for --faithfulness, which was not given; add it.")
        every = (self.measure_every or MEASURE_EVERY) if faithfulness else None
        return CarryOptions(self.full_every, self.box_change, self.likeness, every, **others)

    def reading(self) -> ClipOptions:
        """Return how the clip is read.

        Raises:
            InputError: a time or a number cannot be.
        """
        from aerostat.inference.clip_sources import ClipOptions
        from aerostat.video.times import Selection, seconds

        start_s = 0.0 if self.start is None else seconds(self.start)
        end_s = None if self.end is None else seconds(self.end)
        return ClipOptions(Selection(self.every, start_s, end_s))


ALONG = Along()
"""A photograph."""


def explain_along(
    load_detector: Callable[[], Detector],
    clip: Path,
    out: Path,
    along: Along,
    options: CarryOptions,
    *,
    score: float,
    as_json: bool,
) -> None:
    """Explain a clip along its tracks, and print what was made.

    Raises:
        InputError: it is no clip.
        AerostatError: the clip could not be read to its end, or the work was ended early.
    """
    from aerostat.evaluation.table import text_table
    from aerostat.explanation.explain_clips import HEADER, TrackFiles, explain_clip
    from aerostat.inference.clip_sources import open_sources

    source = open_sources([str(clip)], out, along.reading()) if clip.is_file() else None
    if source is None:
        found = "a photograph" if clip.is_file() else "no such file"
        raise InputError(f"Expected a clip for --track, found {found}: {clip}.")
    with source.stop.caught():
        done = explain_clip(
            load_detector,
            source,
            out,
            options=options,
            files=TrackFiles(along.table, along.video_format),
            score=score,
        )
    if as_json:
        print(document(done.to_dict()))
    else:
        console.tell(*done.lines())
        if rows := done.faithfulness_rows():
            table = text_table(HEADER, rows, width=78)
            print("\n".join(f"  {line}" for line in table.splitlines()))
        console.tell(*(f"wrote {path}" for path in done.files), *done.notes)
    if done.stopped is not None:
        raise done.stopped
    if done.problem is not None:
        raise AerostatError(f"{done.clip} was not read to its end: {done.problem}.")
