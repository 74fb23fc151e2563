"""Options about tracking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from aerostat.cli.options import Flag, given_options
from aerostat.errors import InputError

if TYPE_CHECKING:
    from aerostat.inference.clip_tracks import Tracking


@Parameter(name="*")
@dataclass(frozen=True)
class Track:
    """Identities of objects in clips and streams, and what is counted of them.

    Parameters
    ----------
    track:
        Give each object a number that it keeps, and write a table of tracks. Then --score is the score from
        which an object may be new; weaker detections continue a track.
    line:
        Count who crosses a line, and track: x1,y1,x2,y2 in pixels, with a name in front if you like, as
        door=0,200,640,200. Seen from its first point to its second, in is from left to right. Repeat the
        option for more lines.
    zone:
        Count who is in a zone, and how long, and track: x1,y1,x2,y2,x3,y3,... in pixels, with a name in front
        if you like. Repeat the option for more zones.
    anchor:
        The point of a box that crosses lines: its centre, or the bottom, where feet are.
    lost_time:
        Time such as 2s after which an object that was not seen again has a new number.
    """

    track: Flag = False
    line: Annotated[list[str] | None, Parameter(negative=())] = None
    zone: Annotated[list[str] | None, Parameter(negative=())] = None
    anchor: Literal["centre", "bottom"] = "centre"
    lost_time: str = "1s"

    def chosen(self) -> Tracking | None:
        """Return what is asked; None without tracking.

        Raises:
            InputError: a line or a zone is none, or there is nothing that would use an option.
        """
        given = given_options(self)
        if not (self.track or self.line or self.zone):
            if given:
                raise InputError(f"{next(iter(given))} is for --track, which was not given; add it.")
            return None
        from aerostat.inference.clip_tracks import Tracking
        from aerostat.tracking.counting import parse_line, parse_zone
        from aerostat.tracking.options import TrackerOptions
        from aerostat.tracking.track_log import LogOptions
        from aerostat.video.times import seconds

        lines = [parse_line(text, _name("line", self.line, at)) for at, text in enumerate(self.line or ())]
        zones = [parse_zone(text, _name("zone", self.zone, at)) for at, text in enumerate(self.zone or ())]
        options = TrackerOptions(lost_s=seconds(self.lost_time))
        return Tracking(options, LogOptions(tuple(lines), tuple(zones), self.anchor))

    def refuse_for_photographs(self) -> None:
        """Refuse options that would be ignored because no source moves.

        Raises:
            InputError: naming the first of them.
        """
        if given := list(given_options(self)):
            raise InputError(
                f"{given[0]} is for clips, cameras and streams, found photographs alone; leave it out."
            )


NO_TRACK = Track()
"""No tracking."""


def _name(kind: str, texts: list[str] | None, at: int) -> str:
    """Return the name of a line or zone without one: the kind, with a number if there are several."""
    return kind if len(texts or ()) == 1 else f"{kind}{at + 1}"
