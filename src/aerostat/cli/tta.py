"""The options of test-time augmentation, which `eval` and `predict` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from aerostat.cli.app import Flag
from aerostat.errors import InputError

if TYPE_CHECKING:
    from aerostat.inference.tta import TTA


@Parameter(name="*")
@dataclass(frozen=True)
class TtaOptions:
    """What is looked at, and how it is merged.

    Parameters
    ----------
    tta:
        Test-time augmentation: look at each photograph several times, at several
        scales and mirrored, and merge what is found.
    scales:
        Scales for --tta: whole numbers are pixels of the square input (640,320,960);
        numbers with a point or an x are relative to the model's own test size
        (1x,0.5x,2x, the default); "published" are the authors' 1x,0.5x,1.5x,
        which nms then merges as theirs does.
    flip:
        Look at each scale mirrored too, as --tta does by default, or do not.
    merge:
        How --tta merges: wbf, the default, is weighted box fusion; nms keeps the best
        of overlapping boxes.
    merge_iou:
        Overlap above which --tta merges boxes of a class; by default the NMS IoU.
    """

    tta: Flag = False
    scales: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None
    flip: Annotated[bool | None, Parameter(show_default=False)] = None
    merge: Literal["nms", "wbf"] | None = None
    merge_iou: float | None = None

    def chosen(self) -> TTA | None:
        """Return the augmentation asked for, or None.

        Raises:
            InputError: a scale is none, or an option has nothing to act on.
        """
        if not self.tta:
            options = {"--scales": self.scales, "--merge": self.merge, "--merge-iou": self.merge_iou}
            options["--flip" if self.flip else "--no-flip"] = self.flip
            given = [name for name, value in options.items() if value is not None]
            if given:
                them = "it" if len(given) == 1 else "them"
                raise InputError(f"{', '.join(given)} would do nothing; add --tta, or leave {them} out.")
            return None
        from aerostat.inference.tta import PUBLISHED_SCALES, TTA, parse_scales

        said: dict[str, Any] = {"flip": self.flip, "merge": self.merge, "merge_iou": self.merge_iou}
        if self.scales is not None:
            said["scales"] = parse_scales(self.scales)
            if self.merge is None and said["scales"] == PUBLISHED_SCALES:
                said["merge"] = "nms"
        return TTA(**{name: value for name, value in said.items() if value is not None})


ONE_LOOK = TtaOptions()
"""Nothing asked for."""
