"""What CVAT states about a task or a project before its annotations."""

from __future__ import annotations

from dataclasses import dataclass, field

from aerostat.datasets.xml_text import Element, number, of_text, records, side
from aerostat.images.archive import AnyPath

DEFAULT_SUBSET = "default"
"""The subset of a task in a project that names none, as CVAT writes it."""

_NO_CLASSES = frozenset(("tag", "points", "skeleton"))
"""Types of labels that no box can have."""


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of a task.

    Args:
        size: how many there are; 0 if it is not stated.
        start: number of the first one.
        stop: number of the last one; -1 if it is not stated.
        step: from one to the next.
        is_video: whether they come from a video and not from image files.
        image_size: (width, height), None if it is not stated.
    """

    size: int = 0
    start: int = 0
    stop: int = -1
    step: int = 1
    is_video: bool = True
    image_size: tuple[int, int] | None = None

    def has(self, frame: int) -> bool:
        """Return whether a frame is one of the task."""
        inside = frame >= self.start and (self.stop < 0 or frame <= self.stop)
        return inside and (frame - self.start) % self.step == 0


@dataclass(frozen=True, slots=True)
class Meta:
    """What a file states before its annotations.

    Args:
        classes: names of the labels in their order, without those that no box can have.
        tasks: the frames of each task with the name of its subset.
        subsets: names of the subsets of a project; empty for a single task.
    """

    classes: tuple[str, ...] = ()
    tasks: tuple[tuple[str, Frames], ...] = ()
    subsets: tuple[str, ...] = field(default=())

    def frames_of(self, subset: str | None) -> Frames:
        """Return the frames of the only task (of a subset); unknown ones if there are several tasks."""
        found = [frames for name, frames in self.tasks if subset in (None, name)]
        return found[0] if len(found) == 1 else Frames()


def read_meta(path: AnyPath) -> Meta:
    """Return what a file states before its annotations; nothing if it begins with them.

    Raises:
        InputError: the file is cut off or malformed before that.
    """
    for element in records(path):
        if element.tag == "meta":
            return parse_meta(element)
        if element.tag in ("image", "track"):
            break
    return Meta()


def parse_meta(element: Element) -> Meta:
    """Return what a ``<meta>`` states: about a task, a job or a project."""
    project = element.find("project")
    single = next((found for key in ("task", "job") if (found := element.find(key)) is not None), None)
    holder = project if project is not None else single
    if holder is None:
        return Meta()
    names = [of_text(label.find("name")) for label in holder.iterfind("labels/label") if _is_class(label)]
    classes = tuple(dict.fromkeys(name for name in names if name))
    if project is None:
        return Meta(classes, ((_subset_of(holder), _frames(holder)),))
    tasks = tuple((_subset_of(task), _frames(task)) for task in project.iterfind("tasks/task"))
    stated = of_text(project.find("subsets")).splitlines()
    subsets = dict.fromkeys([*(name for name, _ in tasks), *(name.strip() for name in stated)])
    return Meta(classes, tasks, tuple(name for name in subsets if name))


def _is_class(label: Element) -> bool:
    return not of_text(label.find("parent")) and of_text(label.find("type")) not in _NO_CLASSES


def _subset_of(task: Element) -> str:
    return of_text(task.find("subset")) or DEFAULT_SUBSET


def _frames(task: Element) -> Frames:
    size = task.find("original_size")
    width, height = (side(of_text(size.find(key))) if size is not None else 0 for key in ("width", "height"))
    key, _, step = of_text(task.find("frame_filter")).partition("=")
    count, start = (max(_whole(task.find(name), 0), 0) for name in ("size", "start_frame"))
    every = side(step) or 1 if key.strip() == "step" else 1
    return Frames(
        count,
        start,
        _whole(task.find("stop_frame"), start + (count - 1) * every if count else -1),
        every,
        of_text(task.find("mode")) != "annotation",
        (width, height) if width and height else None,
    )


def _whole(element: Element | None, default: int) -> int:
    try:
        value = number(of_text(element), "number")
    except ValueError:
        return default
    return int(value) if value.is_integer() and abs(value) < 1 << 31 else default
