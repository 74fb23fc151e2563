"""Sinks of detections: pictures, folders sorted by verdict, and files in JSON, CSV and COCO."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from aerostat.images.frame import Frame
from aerostat.results.detections import Detections
from aerostat.results.io import write_coco, write_csv, write_json

ResultFormat = Literal["json", "csv", "coco"]
FILES: dict[ResultFormat, str] = {
    "json": "detections.json",
    "csv": "detections.csv",
    "coco": "detections_coco.json",
}
"""Name of the file with detections in each form."""

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
"""Formats that pictures are written in; the picture of any other file is a JPEG."""

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


class FileSink:
    """One file with the detections of all frames, written whole at the end.

    Args:
        path: the file.
        kind: its format.
    """

    def __init__(self, path: Path, kind: ResultFormat) -> None:
        self.path, self.kind = path, kind
        self.results: list[tuple[str, Detections]] = []

    def write(self, frame: Frame, detections: Detections) -> None:
        """Keep the detections for the file; the frame is known by its path, or else by its name."""
        self.results.append((frame.location, detections))

    def close(self) -> None:
        """Write the file."""
        {"json": write_json, "csv": write_csv, "coco": write_coco}[self.kind](self.path, self.results)


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
        self.pictures.append(detections.draw(frame.image_bgr).save(place))

    def close(self) -> None:
        """Do nothing: every picture is written when its frame comes."""


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
            detections.draw(frame.image_bgr).save(picture_path(self.folder / right, frame.name))
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
