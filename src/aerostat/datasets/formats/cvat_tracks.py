"""The tracks of CVAT for video 1.1: which frame is which image, and where objects are between key frames.

A track has shapes on frames. A shape with ``outside="1"`` says that the object is not to be seen from there
on. Between two stated frames the shape is interpolated, also towards an outside one; see `between` in
`cvat_shapes`. A track that does not end outside goes on to the last frame of the task. These are CVAT's rules
(`get_interpolated_shapes` in cvat/apps/dataset_manager/annotation.py). Frames that a file states with
``keyframe="0"`` are taken as they stand.

CVAT writes an object of one frame with an outside shape on the next frame, but for the last frame and the one
before it. So a track of one shape on the last frame but one does not go on.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aerostat.datasets.formats.assembly import Findings
from aerostat.datasets.formats.cvat_meta import Frames
from aerostat.datasets.formats.cvat_parts import count_unread
from aerostat.datasets.formats.cvat_shapes import KINDS, Shape, between, parse_shape
from aerostat.datasets.xml_text import Element, number
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath
from aerostat.images.folders import files_below
from aerostat.images.read import IMAGE_SUFFIXES

MAX_INTERPOLATED = 2_000_000
"""Shapes between key frames that are made for one file. Each takes about 300 bytes."""


@dataclass(frozen=True, slots=True)
class Stated:
    """A shape of a track on a frame.

    Args:
        frame: number of the frame.
        outside: whether the object is not to be seen from there on.
        shape: the shape.
    """

    frame: int
    outside: bool
    shape: Shape


@dataclass(frozen=True, slots=True)
class Track:
    """One object on many frames.

    Args:
        name: of the class; None if the track names none.
        record: what messages call it.
        shapes: in the order of their frames, one a frame.
    """

    name: str | None
    record: str
    shapes: Sequence[Stated]


def parse_track(element: Element, file_name: str, findings: Findings) -> Track:
    """Return a track; what is wrong with its shapes is reported under the name of the file."""
    record = f"track {element.get('id', '')[:20]}".rstrip()
    stated: dict[int, Stated] = {}
    for part in element:
        if part.tag not in KINDS:
            continue
        if part.tag == "skeleton":
            findings.unread["skeletons"] += 1
            continue
        where = f"{record}, frame {part.get('frame', '')[:20]}"
        try:
            frame = _frame(part.get("frame"))
            outside = part.get("outside") == "1"
            if frame in stated:
                raise ValueError("the track states this frame twice")
            stated[frame] = Stated(frame, outside, _gone(part) if outside else parse_shape(part))
        except ValueError as error:
            findings.add(file_name, "malformed record", f"{where} is no shape: {error}; dropped", where)
            continue
        if not outside:
            count_unread(part, findings)
    shapes = [stated[frame] for frame in sorted(stated)]
    return Track(element.get("label") or None, record, shapes)


def _gone(element: Element) -> Shape:
    """Return the shape of an outside frame, towards which the object moves; an empty one if it is broken."""
    try:
        return parse_shape(element)
    except ValueError:
        return Shape(element.tag, np.zeros(0))


def _frame(text: str | None) -> int:
    value = number(text, "frame")
    if not value.is_integer() or not 0 <= value < 1 << 31:
        raise ValueError("the number of the frame is no whole number from 0")
    return int(value)


def visible(track: Track, frames: Sequence[int], last: int, step: int) -> Iterable[tuple[int, Shape]]:
    """Yield the frames on which an object is visible, with its shape.

    Args:
        track: of the object.
        frames: numbers of the frames that have an image, in ascending order.
        last: number of the last frame of the task.
        step: from one frame of the task to the next.
    """
    for place, stated in enumerate(track.shapes):
        if stated.outside:
            continue
        yield stated.frame, stated.shape
        if place + 1 < len(track.shapes):
            end = track.shapes[place + 1]
        elif len(track.shapes) == 1 and stated.frame == last - step:
            break
        else:
            end = Stated(last + 1, True, stated.shape)
        length = end.frame - stated.frame
        first = bisect.bisect_right(frames, stated.frame)
        for frame in frames[first : bisect.bisect_left(frames, end.frame)]:
            shape = between(stated.shape, end.shape, (frame - stated.frame) / length)
            if shape is not None:
                yield frame, shape


def shapes_by_frame(
    tracks: Sequence[Track], named: Mapping[int, str], frames: Frames, path: AnyPath
) -> dict[int, list[tuple[Track, Shape]]]:
    """Return the visible objects of each frame that has an image or a stated shape.

    Args:
        tracks: of the file.
        named: names of the images by the numbers of their frames.
        frames: of the task.
        path: the file, for the refusal.

    Raises:
        InputError: there are more than `MAX_INTERPOLATED` shapes that the file does not state.
    """
    found: dict[int, list[tuple[Track, Shape]]] = {frame: [] for frame in sorted(named)}
    there = list(found)
    last_stated = max((track.shapes[-1].frame for track in tracks if track.shapes), default=0)
    last = frames.stop if frames.stop >= 0 else max([last_stated, *there[-1:]])
    left = MAX_INTERPOLATED + sum(len(track.shapes) for track in tracks)
    for track in tracks:
        for frame, shape in visible(track, there, last, frames.step):
            found.setdefault(frame, []).append((track, shape))
            left -= 1
            if left < 0:
                raise InputError(
                    f"{path} has tracks that go on over more than {MAX_INTERPOLATED} frames; end them where "
                    "the objects are gone, and export the file again."
                )
    return {frame: found[frame] for frame in sorted(found)}


# ------------------------------------------------------------------------------------ images of frames


def images_of_frames(roots: Iterable[AnyPath], frames: Frames, used: Iterable[int]) -> dict[int, str]:
    """Return the names of the images of a task by the numbers of their frames.

    Three ways of naming are tried, and the one that fits most of the used frames counts: the number in the
    name is that of the frame in the video (``frame_000010.png``), or it counts the frames of the task. For a
    task of image files, or if no number fits, the images are the frames in the order of their names, provided
    that there are as many as the task has.

    Args:
        roots: folders in which the images may be; the first one with images counts.
        frames: of the task.
        used: numbers of frames with objects.
    """
    names = next((found for root in roots if (found := _images_below(root))), [])
    used = set(used)
    in_order = {frames.start + place * frames.step: name for place, name in enumerate(names)}
    if not frames.is_video and len(names) == frames.size:
        return in_order
    numbered = _by_number(names)
    counted = {frames.start + number * frames.step: name for number, name in numbered.items()}
    best = max((numbered, counted), key=lambda named: len(used & named.keys()))
    if not used & best.keys():
        best = in_order if names and len(names) == frames.size else {}
    return {frame: name for frame, name in best.items() if frames.has(frame)}


def _images_below(root: AnyPath) -> list[str]:
    if not root.is_dir():
        return []
    return sorted(
        name for name in files_below(root) if f".{name.rpartition('.')[2].lower()}" in IMAGE_SUFFIXES
    )


def _by_number(names: Iterable[str]) -> dict[int, str]:
    """Return names by the number at their end; of several with one number the first in order counts."""
    found: dict[int, str] = {}
    for name in names:
        digits = re.search(r"(\d{1,9})$", name.rpartition(".")[0])
        if digits is not None:
            found.setdefault(int(digits[1]), name)
    return found
