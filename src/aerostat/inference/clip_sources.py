"""From what a user names to sources: photographs, clips, cameras, streams, animations, pages and archives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict, cast

from aerostat.errors import AerostatError, InputError, clause
from aerostat.images.frame import Clip, Frame
from aerostat.inference.options import PredictArguments
from aerostat.inference.sources import Files, clips_named, find_images
from aerostat.video.addresses import check_scheme, is_address, shown_address, stem_of_address
from aerostat.video.capture import VideoFile, is_clip
from aerostat.video.times import Selection

ALL_FRAMES = Selection()
"""Every frame of a clip."""

TIMEOUT_S = 10.0
"""Seconds within which a stream or a camera must answer."""


class Moving(Protocol):
    """A source whose frames have a common clip, and what is known once it was read."""

    clip: Clip
    problem: str | None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order."""


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """How moving sources are read.

    Args:
        selection: which frames are looked at.
        timeout_s: seconds within which a stream or a camera must answer.
    """

    selection: Selection = ALL_FRAMES
    timeout_s: float = TIMEOUT_S


def open_moving(
    source: str | int | Path, stem: str = "", options: ClipOptions | None = None
) -> Moving | None:
    """Return the moving source that a name stands for; None if it is a photograph, a folder or a pattern.

    Args:
        source: the path of a clip, an animation or a file with several pages; the number of a camera; or the
            address of a stream.
        stem: begins the names of files that are written about it; by default it follows from the name.
        options: how it is read.

    Raises:
        InputError: it cannot be opened.
    """
    options = options or ClipOptions()
    text = str(source)
    if is_address(text):
        check_scheme(text)
        raise InputError("streams")
    path = Path(source) if not isinstance(source, int) else None
    if path is not None and path.is_file() and is_clip(path):
        return VideoFile(path, stem, options.selection)
    return None


class StreamArguments(PredictArguments, total=False):
    """Keyword arguments of `Detector.stream`; see `Selection` and `PredictOptions`."""

    every: int
    start_s: float
    end_s: float | None
    fps: float | None


class ReadingPlan(TypedDict, total=False):
    """How `Detector.predict_images` reads a source."""

    threads: int
    batch_size: int


AT_ONCE = ReadingPlan(threads=0, batch_size=1)
"""Each frame is looked at when it comes. Frames of a live source that are read ahead would be old."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A source for `Detector.stream`.

    Args:
        frames: of the source.
        plan: how they are read.
        predict: options of the prediction.
    """

    frames: Iterable[Frame]
    plan: ReadingPlan
    predict: PredictArguments

    def check(self) -> None:
        """Refuse a source that was not read to its end.

        Raises:
            AerostatError: saying why.
        """
        clip: Clip | None = getattr(self.frames, "clip", None)
        problem = getattr(self.frames, "problem", None)
        if problem is not None:
            name = "The source" if clip is None else clip.name
            raise AerostatError(f"{name} was not read to its end: {problem}.")


def open_stream(source: str | int | Path | Iterable[Frame], arguments: StreamArguments) -> Stream:
    """Return the source that a path, a number or an address stands for; a source of frames stays as it is.

    A folder or a pattern is a sequence of photographs.

    Raises:
        InputError: it cannot be opened.
    """
    rest: dict[str, Any] = dict(arguments)
    chosen = {name: rest.pop(name) for name in ("every", "start_s", "end_s", "fps") if name in rest}
    options = cast("PredictArguments", rest)
    if not isinstance(source, str | int | Path):
        return Stream(source, ReadingPlan(), options)
    moving = open_moving(source, options=ClipOptions(Selection(**chosen)))
    if moving is None:
        return Stream(Files(find_images([str(source)])), ReadingPlan(), options)
    return Stream(moving, AT_ONCE if moving.clip.live else ReadingPlan(), options)


def stem_of(source: str | int | Path) -> str:
    """Return the name for files that are written about a source."""
    text = str(source)
    if is_address(text):
        return stem_of_address(text)
    if text.isdigit() and not Path(text).exists():
        return f"camera-{int(text)}"
    return Path(text).stem


@dataclass(frozen=True)
class Chain:
    """Sources one after the other.

    Args:
        parts: the sources.
        failed: sources that could not be opened, with the reason.
        selection: which frames of moving sources are looked at.
    """

    parts: tuple[Files | Moving, ...]
    failed: tuple[tuple[str, str], ...] = ()
    selection: Selection = ALL_FRAMES

    @property
    def moving(self) -> tuple[Moving, ...]:
        """Those that move."""
        return tuple(part for part in self.parts if not isinstance(part, Files))

    @property
    def is_live(self) -> bool:
        """Whether any of them goes on while a frame is worked on."""
        return any(part.clip.live for part in self.moving)

    @property
    def photographs(self) -> int:
        """Number of still pictures."""
        return sum(len(part) for part in self.parts if isinstance(part, Files))

    def __length_hint__(self) -> int:
        """Return about how many frames there are; 0 if that is not known."""
        counts = [part.clip.frames for part in self.moving]
        known = [count for count in counts if count is not None]
        return self.photographs + sum(known) if len(known) == len(counts) else 0

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames of all sources; one that cannot be read any more has a `problem`."""
        for part in self.parts:
            if isinstance(part, Files):
                yield from part
                continue
            try:
                yield from part
            except InputError as error:
                part.problem = clause(error)


def open_sources(
    names: Sequence[str], out: Path | None = None, options: ClipOptions | None = None
) -> Chain | None:
    """Return all that names stand for, in order; None if all are photographs.

    Args:
        names: files, folders (searched through), patterns, addresses of streams and numbers of cameras.
        out: a folder that is not searched, see `find_images`.
        options: how moving sources are read.

    Raises:
        InputError: a source does not exist, or cannot be opened.
    """
    targets: list[Path | str] = []
    seen = set[Path]()
    moves = False
    for name in names:
        if _is_live(name):
            targets.append(name)
            moves = True
            continue
        clips = clips_named(name, out)
        images = find_images([name], out, clips=bool(clips)) if clips != [Path(name)] else []
        for path in (*images, *clips):
            if path.absolute() not in seen:
                seen.add(path.absolute())
                targets.append(path)
        moves = moves or bool(clips)
    if not moves:
        return None
    options = options or ClipOptions()
    failed: list[tuple[str, InputError]] = []
    parts = tuple(_opened(targets, options, failed))
    if not parts:
        raise failed[0][1]
    return Chain(parts, tuple((name, clause(error)) for name, error in failed), options.selection)


def _is_live(name: str) -> bool:
    return is_address(name) or (name.isdigit() and not Path(name).exists())


def _opened(
    targets: Iterable[Path | str], options: ClipOptions, failed: list[tuple[str, InputError]]
) -> Iterator[Files | Moving]:
    stills: list[Path] = []
    taken = set[str]()
    for target in targets:
        stem = _free(stem_of(target), taken)
        try:
            moving = open_moving(target, stem, options)
        except InputError as error:
            failed.append((shown_address(str(target)), error))
            continue
        if moving is None:
            stills.append(Path(target))
            continue
        taken.add(stem.lower())
        if stills:
            yield Files(stills)
            stills = []
        yield moving
    if stills:
        yield Files(stills)


def _free(stem: str, taken: set[str]) -> str:
    numbered = (f"{stem}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (stem, *numbered) if name.lower() not in taken)
