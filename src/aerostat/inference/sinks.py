"""Sinks of detections: pictures, folders sorted by verdict, files in JSON, CSV and COCO, masks as images."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aerostat.draw.saving import save_image
from aerostat.errors import AerostatError
from aerostat.files import file_stem
from aerostat.geometry.mask_measures import PixelSize
from aerostat.images.frame import Frame
from aerostat.images.letterbox import Letterbox
from aerostat.images.resize import resize_image
from aerostat.images.tiled import open_tiled
from aerostat.results.detections import Detections
from aerostat.results.io import MaskFormat, write_coco, write_csv, write_json
from aerostat.results.mask_pictures import cut_outs, label_map

ResultFormat = Literal["json", "csv", "coco"]
FILES: dict[ResultFormat, str] = {
    "json": "detections.json",
    "csv": "detections.csv",
    "coco": "detections_coco.json",
}
"""Name of the file with detections in each form."""

LABEL_MAPS, CUT_OUTS = "label-maps", "cut-outs"
"""Folders for masks as images."""

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
"""Formats that pictures are written in; the picture of any other file is a JPEG."""

MAX_DRAWN_PIXELS, DRAWN_SIDE = 100_000_000, 4096
"""A tiled TIFF file with more pixels is drawn with this side at most."""

FOLDERS = ("correct", "errors", "not-annotated")
"""Folders for sorted pictures: every object found and nothing else, something wrong, no annotations."""


class Sink(Protocol):
    """Takes the detections of a source, frame by frame.

    A class with these two methods is a sink.
    """

    def write(self, frame: Frame, detections: Detections) -> None:
        """Take the detections of one frame; frames come in the order of their source."""

    def close(self) -> None:
        """Finish. It is called once, after the last frame.

        It is not called if an error came before, or no frame could be read.
        """


@runtime_checkable
class StoppableSink(Protocol):
    """A sink that keeps what it has when an error or Ctrl-C comes.

    It is a `Sink` with one method more.
    """

    def stop(self) -> None:
        """Finish early, so that all frames so far can be read. It is called in place of `close`."""


def stop_sinks(sinks: Iterable[Sink]) -> None:
    """Stop those sinks that can be stopped; one full disk does not cost the other files."""
    for sink in sinks:
        if isinstance(sink, StoppableSink):
            with suppress(AerostatError, OSError):  # the first error is the one to tell
                sink.stop()


class Verdict(Protocol):
    """How right the detections on a photograph are."""

    @property
    def missed(self) -> int:
        """Objects without a detection."""

    @property
    def false(self) -> int:
        """Detections without an object."""

    @property
    def right(self) -> bool:
        """Whether both are 0."""


Judge = Callable[[Path, Detections], Verdict | None]
"""Returns the verdict on a photograph; None if it is not annotated."""


class ListSink:
    """Keeps the detections of all frames in memory, in `results`, by the path or the name of the frame."""

    def __init__(self) -> None:
        self.results: list[tuple[str, Detections]] = []

    def write(self, frame: Frame, detections: Detections) -> None:
        """Keep the detections."""
        self.results.append((frame.location, detections))

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class FileForm:
    """A file with detections, and what it says of masks.

    Args:
        kind: its format.
        mask_format: how a COCO file states masks.
        pixel_size: adds measures in its unit to a CSV file.
    """

    kind: ResultFormat
    mask_format: MaskFormat = "rle"
    pixel_size: PixelSize | None = None


@dataclass(frozen=True, slots=True)
class PictureFiles:
    """Which images are written of each photograph.

    Args:
        drawn: the photograph with its detections drawn on it.
        label_maps: a map of the numbers of the detections, see `LabelMapSink`.
        cut_outs: each detection alone, see `CutOutSink`.
    """

    drawn: bool = True
    label_maps: bool = False
    cut_outs: bool = False


class FileSink:
    """One file with the detections of all frames, written whole at the end.

    Args:
        path: the file.
        form: its format; a name will do.
    """

    def __init__(self, path: Path, form: FileForm | ResultFormat) -> None:
        self.path = path
        self.form = form if isinstance(form, FileForm) else FileForm(form)
        self.results: list[tuple[str, Detections]] = []

    def write(self, frame: Frame, detections: Detections) -> None:
        """Keep the detections for the file; the frame is known by its path, or else by its name."""
        self.results.append((frame.location, detections))

    def close(self) -> None:
        """Write the file."""
        if self.form.kind == "csv":
            write_csv(self.path, self.results, self.form.pixel_size)
        elif self.form.kind == "coco":
            write_coco(self.path, self.results, mask_format=self.form.mask_format)
        else:
            write_json(self.path, self.results)


class PictureSink:
    """A picture of each frame with its detections, named after the frame.

    Args:
        folder: for the pictures; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pictures: list[Path] = []
        self._taken = set[str]()

    def write(self, frame: Frame, detections: Detections) -> None:
        """Draw the detections and write the picture; a name that is taken gets the index of its frame."""
        place = picture_path(self.folder, frame.name)
        if place.name.lower() in self._taken:
            place = place.with_stem(f"{place.stem}-{frame.index}")
        self._taken.add(place.name.lower())
        shown, canvas_bgr = _drawable(frame, detections)
        self.pictures.append(shown.draw(frame.read() if canvas_bgr is None else canvas_bgr).save(place))

    def close(self) -> None:
        """Do nothing: every picture is written when its frame comes."""


def _drawable(frame: Frame, detections: Detections) -> tuple[Detections, NDArray[np.uint8] | None]:
    """Return detections and the pixels to draw them on; None for those of their file.

    A huge tiled TIFF file is drawn smaller and without masks, since its pixels are never in memory together.
    """
    if frame.image_bgr is not None or frame.path is None:
        return detections, frame.image_bgr
    with open_tiled(frame.path) as tiled:
        if tiled is None or tiled.size[0] * tiled.size[1] <= MAX_DRAWN_PIXELS:
            return detections, None
        reduced = tiled.reduced((DRAWN_SIDE, DRAWN_SIDE))
        shrunk = Letterbox.fit((reduced.shape[1], reduced.shape[0]), (DRAWN_SIDE, DRAWN_SIDE)).resized_size
        canvas_bgr = np.ascontiguousarray(resize_image(reduced, shrunk))
        factors = np.asarray([own / side for own, side in zip(shrunk, tiled.size, strict=True)] * 2)
    boxes = (detections.boxes_xyxy * factors).astype(np.float32)
    return replace(detections, boxes_xyxy=boxes, masks=None, image_size=shrunk), canvas_bgr


class LabelMapSink:
    """A PNG of 16 bits for each frame: a pixel is the number of its detection from 1, see `label_map`.

    Args:
        path: the folder; made if need be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._taken = set[str]()

    def write(self, frame: Frame, detections: Detections) -> None:
        """Write the map of one frame, named after it.

        Raises:
            InputError: there are detections without masks.
        """
        size = None
        if detections.masks is None and detections.image_size is None:
            height, width = frame.read().shape[:2]
            size = (width, height)
        save_image(self.path / f"{_own_stem(frame, self._taken)}.png", label_map(detections, size))

    def close(self) -> None:
        """Do nothing: every map is written when its frame comes."""


class CutOutSink:
    """A folder for each frame with a transparent PNG for each detection, named by its number from 1.

    Args:
        path: the folder; made if need be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.empty = 0
        self._taken = set[str]()

    def write(self, frame: Frame, detections: Detections) -> None:
        """Write the detections of one frame, and remove those of an earlier call.

        Raises:
            InputError: there are detections without masks.
        """
        folder = self.path / _own_stem(frame, self._taken)
        written = set[str]()
        for number, picture in cut_outs(detections, frame.read()) if len(detections) else ():
            place = folder / f"{number:04d}.png"
            save_image(place, picture)
            written.add(place.name)
        self.empty += len(detections) - len(written)
        for old in folder.glob("*.png") if folder.is_dir() else ():
            if re.fullmatch(r"[0-9]{4,5}\.png", old.name) and old.name not in written:
                old.unlink()

    def close(self) -> None:
        """Do nothing: every picture is written when its frame comes."""


def _own_stem(frame: Frame, taken: set[str]) -> str:
    """Return the name of a frame without its suffix; a name that is taken gets the index of the frame."""
    stem = file_stem(Path(Path(frame.name).name).stem)
    if stem.lower() in taken:
        stem = f"{stem}-{frame.index}"
    taken.add(stem.lower())
    return stem


class SortedPictureSink:
    """A picture of each frame in a folder that says whether its detections are right.

    Args:
        folder: has the folders `FOLDERS` in it.
        judge: returns the verdict on a photograph.
    """

    def __init__(self, folder: Path, judge: Judge) -> None:
        self.folder, self.judge = folder, judge
        self.pictures: list[Path] = []
        self.verdicts: dict[str, Verdict | None] = {}

    def write(self, frame: Frame, detections: Detections) -> None:
        """Write the picture, and remove that of an earlier call from the other folders."""
        verdict = None if frame.path is None else self.judge(frame.path, detections)
        self.verdicts[frame.location] = verdict
        right = folder_of(verdict)
        self.pictures.append(
            detections.draw(frame.read()).save(picture_path(self.folder / right, frame.name))
        )
        for other in FOLDERS:
            if other != right:
                picture_path(self.folder / other, frame.name).unlink(missing_ok=True)

    def close(self) -> None:
        """Do nothing: every picture is written when its frame comes."""


def picture_path(folder: Path, name: str) -> Path:
    """Return the file for the picture of a frame: its name, in a format that is written here."""
    place = folder / (Path(name).name or "frame")
    suffix = place.suffix.lower()
    return place.with_suffix(suffix if suffix in PICTURE_SUFFIXES else ".jpg")


def folder_of(verdict: Verdict | None) -> str:
    """Return the folder in which the picture of a photograph belongs."""
    return FOLDERS[2] if verdict is None else FOLDERS[0] if verdict.right else FOLDERS[1]
