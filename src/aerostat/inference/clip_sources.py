"""From what a user names to sources: photographs, clips, cameras, streams, animations, pages and archives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypedDict, cast

from aerostat.errors import AerostatError, InputError, clause
from aerostat.images.archive import AnyPath, ArchivePath
from aerostat.images.frame import Clip, Frame
from aerostat.images.kinds import CLIP_SUFFIXES
from aerostat.inference.options import PredictArguments
from aerostat.inference.sources import Files, clips_named, find_images
from aerostat.interrupts import StopRequest
from aerostat.video.addresses import is_address, stem_of_address
from aerostat.video.capture import VideoFile, is_clip
from aerostat.video.live import PATIENCE, Patience, name_of, open_live
from aerostat.video.pages import open_pages
from aerostat.video.times import Selection

ALL_FRAMES = Selection()
"""Every frame of a clip."""


PAGED_SUFFIXES = (".gif", ".webp", ".png", ".apng", ".tif", ".tiff")
"""Suffixes of files that may hold several pictures."""


class Moving(Protocol):
    """A source whose frames have a common clip, and what is known once it was read."""

    clip: Clip
    problem: str | None
    """Why it was not read to its end."""

    @property
    def remark(self) -> str | None:
        """What else a person should know."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order."""


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """How moving sources are read.

    Args:
        selection: which frames are looked at.
        patience: how long a stream or a camera is waited for.
        sequence_rate: frames per second of photographs that are the frames of a clip; None leaves them
            single.
        stop: ends them before their end.
    """

    selection: Selection = ALL_FRAMES
    patience: Patience = PATIENCE
    sequence_rate: float | None = None
    stop: StopRequest = field(default_factory=StopRequest)


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
    text, stem = str(source), stem or stem_of(source)
    if is_live(text):
        return open_live(text, stem, options.selection, options.patience, options.stop)
    path = Path(source) if not isinstance(source, int) else Path(text)
    if not path.is_file():
        return None
    if is_clip(path) or (path.suffix.lower() in CLIP_SUFFIXES and not path.stat().st_size):
        return VideoFile(path, stem, options.selection)
    return open_pages(path, stem, options.selection)


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


def stem_of(source: str | int | AnyPath) -> str:
    """Return the name for files that are written about a source."""
    text = str(source)
    if is_address(text):
        return stem_of_address(text)
    if is_live(text):
        return f"camera-{int(text)}"
    return Path(text).stem


@dataclass(frozen=True)
class Chain:
    """Sources one after the other.

    Args:
        parts: the sources.
        failed: sources that could not be opened, with the reason.
        selection: which frames of moving sources are looked at.
        stop: ends the sources before their end.
    """

    parts: tuple[Files | Moving, ...]
    failed: tuple[tuple[str, str], ...] = ()
    selection: Selection = ALL_FRAMES
    stop: StopRequest = field(default_factory=StopRequest)

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
            if self.stop.made:
                return
            if isinstance(part, Files):
                yield from part
                continue
            count = 0
            try:
                for count, frame in enumerate(part, start=1):  # noqa: B007 - used below
                    yield frame
            except InputError as error:
                part.problem = clause(error)
            if not count and part.problem is None and not self.stop.made:
                part.problem = f"no frame is from {self.selection.described()}"


def open_sources(
    names: Sequence[str],
    out: Path | None = None,
    options: ClipOptions | None = None,
    *,
    photographs: bool = False,
) -> Chain | None:
    """Return all that names stand for, in order; None if all are photographs.

    A source that cannot be opened costs itself alone, if there are others.

    Args:
        names: files, folders (searched through), patterns, addresses of streams and numbers of cameras.
        out: a folder that is not searched, see `find_images`.
        options: how moving sources are read.
        photographs: whether photographs alone will do.

    Raises:
        InputError: a source does not exist, or none of them can be opened.
    """
    options = options or ClipOptions()
    named = [_Named(name, *_named(name, out)) for name in names]
    failed: list[tuple[str, InputError]] = []
    parts = tuple(_opened(named, options, failed))
    if not parts and failed:
        raise failed[0][1]
    if not photographs and not failed and all(isinstance(part, Files) for part in parts):
        return None
    reasons = [(name_of(name) if is_live(name) else name, clause(error)) for name, error in failed]
    return Chain(parts, tuple(reasons), options.selection, options.stop)


@dataclass(frozen=True, slots=True)
class _Named:
    """What one name stands for: a live source, or images and clips."""

    name: str
    images: tuple[AnyPath, ...] = ()
    clips: tuple[Path, ...] = ()


def _named(name: str, out: Path | None) -> tuple[tuple[AnyPath, ...], tuple[Path, ...]]:
    if is_live(name):
        return (), ()
    clips = clips_named(name, out)
    images = [] if clips == [Path(name)] else find_images([name], out, clips=bool(clips))
    return tuple(images), tuple(clips)


def _opened(
    named: Iterable[_Named], options: ClipOptions, failed: list[tuple[str, InputError]]
) -> Iterator[Files | Moving]:
    """Yield the sources in order; neighbouring photographs are one."""
    stills: list[AnyPath] = []
    seen = set[AnyPath]()
    taken = set[str]()
    for one in named:
        targets = (*one.images, *one.clips) or (one.name,)
        sequence: list[Path] = []
        for target in targets:
            place = target if isinstance(target, str) else target.absolute()
            if place in seen:
                continue
            seen.add(place)  # type: ignore[arg-type]
            stem = _free(stem_of(target), taken)
            try:
                moving = _moving(target, stem, options, outright=len(targets) == 1)
            except InputError as error:
                failed.append((str(target), error))
                continue
            if moving is not None:
                taken.add(stem.lower())
                if stills:
                    yield Files(stills)
                    stills = []
                yield moving
            elif options.sequence_rate is not None and isinstance(target, Path):
                sequence.append(target)
            elif not isinstance(target, str):
                stills.append(target)
        if sequence and options.sequence_rate is not None:
            stem = _free(sequence[0].absolute().parent.name or "frames", taken)
            taken.add(stem.lower())
            yield PhotographSequence(sequence, stem, options.sequence_rate, options.selection)
    if stills:
        yield Files(stills)


def _moving(target: AnyPath | str, stem: str, options: ClipOptions, *, outright: bool) -> Moving | None:
    """Return a moving source, None for a photograph.

    Of many files only those are opened whose suffix may belong to an animation or to pages.
    """
    if isinstance(target, ArchivePath):
        return None
    suffixes = (*PAGED_SUFFIXES, *CLIP_SUFFIXES)
    if not isinstance(target, str) and not outright and target.suffix.lower() not in suffixes:
        return None
    return open_moving(target, stem, options)


class PhotographSequence:
    """Photographs that are the frames of a clip.

    Args:
        paths: of the photographs, in order.
        stem: begins the names of files that are written about it.
        rate: frames per second.
        selection: which of them are looked at.
    """

    def __init__(self, paths: Sequence[Path], stem: str, rate: float, selection: Selection) -> None:
        self.problem: str | None = None
        self.remark: str | None = None
        self._paths, self._rate, self._selection = paths, rate, selection
        frames = selection.frames(len(paths), rate)
        self.clip = Clip(str(paths[0].parent), stem, selection.rate(rate), frames=frames)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the photographs; each is read by the thread that works on it."""
        wanted = self._selection.chooser()
        for index, path in enumerate(self._paths):
            time_s = round(index / self._rate, 6)
            choice = wanted(index, time_s)
            if choice is None:
                return
            if choice:
                yield Frame(None, path.name, index, time_s, path, self.clip)


def is_live(name: str) -> bool:
    """Return whether a name is an address, or the number of a camera; a file of that name comes first."""
    return is_address(name) or (name.isdigit() and not Path(name).exists())


def _free(stem: str, taken: set[str]) -> str:
    numbered = (f"{stem}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (stem, *numbered) if name.lower() not in taken)
