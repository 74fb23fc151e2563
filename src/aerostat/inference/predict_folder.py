"""Many photographs in, pictures and a file of detections out."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, Protocol

from aerostat.datasets.records import ImageRecord
from aerostat.errors import InputError, clause
from aerostat.files import require_folder
from aerostat.images.read import IMAGE_SUFFIXES, list_images
from aerostat.inference.detector import Detector
from aerostat.inference.tta import TTA, ViewPlan
from aerostat.progress import track
from aerostat.results.detections import Detections
from aerostat.results.io import write_coco, write_csv, write_json
from aerostat.text import counted, listed

Format = Literal["json", "csv", "coco"]
FILES: dict[Format, str] = {
    "json": "detections.json",
    "csv": "detections.csv",
    "coco": "detections_coco.json",
}

FOLDERS = ("correct", "errors", "not-annotated")
"""Where pictures are sorted: all objects found and nothing else, something wrong, nobody knows."""


class Verdict(Protocol):
    """How right the detections on a photograph are."""

    @property
    def missed(self) -> int:
        """Objects that were not found."""

    @property
    def false(self) -> int:
        """Detections that find nothing."""

    @property
    def right(self) -> bool:
        """Whether neither is there."""


Judge = Callable[[Path, Detections], Verdict | None]
"""Gives the verdict on a photograph; None if it is not annotated."""


@dataclass(frozen=True)
class Outcome:
    """What was found and written.

    Args:
        found: path, as the sources gave it, and detections of each image, in order.
        pictures: what was drawn.
        files: with the detections.
        failed: images that could not be read, with the reason.
        tta: the views that were taken of each image, if there were several.
        verdicts: by path, where pictures were sorted; None for an image that is not annotated.
    """

    found: tuple[tuple[str, Detections], ...]
    pictures: tuple[Path, ...]
    files: tuple[Path, ...]
    failed: tuple[tuple[str, str], ...]
    tta: ViewPlan | None = None
    verdicts: Mapping[str, Verdict | None] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome for JSON."""
        return {
            "images": [found.to_dict() for _, found in self.found],
            "pictures": [str(path) for path in self.pictures],
            "files": [str(path) for path in self.files],
            "failed": [{"file": name, "reason": reason} for name, reason in self.failed],
            "tta": None if self.tta is None else self.tta.to_dict(),
            "sorted": None if self.verdicts is None else [self._sorted(name) for name in self.verdicts],
        }

    def _sorted(self, name: str) -> dict[str, Any]:
        verdict = self.verdicts[name] if self.verdicts else None
        counts = {"missed": verdict.missed, "false": verdict.false} if verdict else {}
        return {"file": name, "folder": folder_of(verdict), **counts}

    def lines(self) -> list[str]:
        """Return what a person wants to know: one line an image, then what was written or was not."""
        lines = [f"{name}: {_count(found)}{self._said_of(name)}" for name, found in self.found]
        lines += [f"{name}: NOT READ ({reason})" for name, reason in self.failed]
        total = sum(len(found) for _, found in self.found)
        lines.append(f"{counted(total, 'detection')} on {counted(len(self.found), 'image')}")
        if self.tta is not None:
            lines.append(self.tta.describe())
        if self.verdicts is not None:
            counts = Counter(map(folder_of, self.verdicts.values()))
            lines.append(", ".join(f"{folder} {counts[folder]}" for folder in FOLDERS if counts[folder]))
        if self.pictures and self.verdicts is not None:
            folders = dict.fromkeys(str(picture.parent) for picture in self.pictures)
            lines.append(f"wrote {counted(len(self.pictures), 'picture')} to {listed(sorted(folders))}")
        elif self.pictures:
            lines.append(f"wrote {counted(len(self.pictures), 'picture')} to {self.pictures[0].parent}")
        lines += [f"wrote {path}" for path in self.files]
        if not self.found:
            lines.append("nothing was written: no image could be read")
        return lines

    def _said_of(self, name: str) -> str:
        if self.verdicts is None:
            return ""
        verdict = self.verdicts[name]
        return " - not annotated" if verdict is None else f" - {verdict}"


def predict_to_folder(
    load_detector: Callable[[], Detector],
    sources: Sequence[str],
    out: Path,
    *,
    score: float,
    nms_iou: float,
    tta: TTA | None = None,
    formats: Sequence[Format] = ("json",),
    pictures: bool = True,
    judge: Callable[[Detector], Judge] | None = None,
) -> Outcome:
    """Detect on all images that the sources name and write what was found.

    An image that cannot be read is named in the outcome and does not stop the rest.

    Args:
        load_detector: called once the sources are known to be there.
        sources: images, folders, or patterns.
        out: folder for pictures and files; made if need be. Pictures of an earlier call are replaced.
        score, nms_iou, tta: see `Detector.predict`.
        formats: of the files with the detections.
        pictures: whether to draw.
        judge: makes of the detector what says how right the detections on a photograph are; pictures are then
            sorted into the folders `FOLDERS` below `out`. None leaves them in one.

    Raises:
        InputError: if a source is not there, names no image, or would be written over.
    """
    paths = find_images(sources, out)
    names = _unique_names(paths)
    require_folder(out)
    if pictures:
        places = [out] if judge is None else [out / folder for folder in FOLDERS]
        _spare_photographs(paths, [_picture(place, name) for place in places for name in names], out)
    detector = load_detector()
    verdict_on = None if judge is None else judge(detector)
    records = [
        ImageRecord(path, name, 0, 0, id=i) for i, (path, name) in enumerate(zip(paths, names, strict=True))
    ]
    failed: list[tuple[str, str]] = []
    found: list[tuple[str, Detections]] = []
    drawn: list[Path] = []
    verdicts: dict[str, Verdict | None] = {}
    results = detector.predict_images(
        records,
        score=score,
        nms_iou=nms_iou,
        tta=tta or False,
        on_unreadable=lambda record, error: failed.append((str(record.path), clause(error))),
    )
    for record, detections in track(results, "predicting", total=len(records)):
        found.append((str(record.path), detections))
        folder = out
        if verdict_on is not None:
            verdicts[str(record.path)] = verdict = verdict_on(record.path, detections)
            folder = out / folder_of(verdict)
        if pictures:
            drawn.append(detections.draw().save(_picture(folder, record.file_name)))
            if verdict_on is not None:
                _forget(out, folder, record.file_name)
    files = tuple(_write(out / FILES[kind], kind, found) for kind in formats) if found else ()
    plan = None if tta is None else tta.plan(detector.input_size, nms_iou)
    sorted_ = None if verdict_on is None else verdicts
    return Outcome(tuple(found), tuple(drawn), files, tuple(failed), plan, sorted_)


def folder_of(verdict: Verdict | None) -> str:
    """Return the folder in which the picture of a photograph belongs."""
    return FOLDERS[2] if verdict is None else FOLDERS[0] if verdict.right else FOLDERS[1]


def _forget(out: Path, folder: Path, name: str) -> None:
    """Remove the picture of an earlier call from the folders in which it does not belong any more."""
    for other in FOLDERS:
        if out / other != folder:
            _picture(out / other, name).unlink(missing_ok=True)


def find_images(sources: Sequence[str], out: Path | None = None) -> list[Path]:
    """Return the images that files, folders (searched through) and patterns name, each once, in order.

    Args:
        sources: files, folders and patterns.
        out: a folder that is not searched where it stands inside of a source: what was drawn there by an
            earlier call is no photograph.

    Raises:
        InputError: for a source that is not there, or names no image.
    """
    if not sources:
        raise InputError("Expected at least one image, folder or pattern to predict on.")
    found: dict[Path, Path] = {}
    for source in sources:
        for path in _images_of(source, out):
            found.setdefault(path.absolute(), path)
    return list(found.values())


def _images_of(source: str, out: Path | None) -> Iterator[Path]:
    path = Path(source)
    if path.is_dir():
        images = _not_drawn(list_images(path, recursive=True), path, out)
        if not images:
            raise InputError(f"There are no images in the folder {path}.")
        yield from images
    elif path.exists():
        yield path
    elif glob.has_magic(source):
        matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - pathlib refuses absolute patterns
        if not matches:
            raise InputError(f"No file matches {source}.")
        yield from _images_among(list(map(Path, matches)), source, out)
    else:
        raise InputError(f"There is no image or folder {source}.")


def _images_among(matches: Sequence[Path], pattern: str, out: Path | None) -> list[Path]:
    """Return the images among what a pattern matches, and those of the folders that it matches.

    ``photos/*`` means the photographs, not the annotations beside them; where nothing is called like an
    image, all files are taken, and the reader says what they are.

    Raises:
        InputError: if there are none.
    """
    files: list[Path] = []
    for match in matches:
        files += list_images(match) if match.is_dir() else [match]
    files = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES] or files
    start = Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    images = _not_drawn(files, start, out)
    if not images:
        raise InputError(f"No image matches {pattern}.")
    return images


def _not_drawn(images: Sequence[Path], start: Path, out: Path | None) -> list[Path]:
    """Return the images without those below `out`, unless the search was started there."""
    if out is None or start.resolve() not in out.resolve().parents:
        return list(images)
    return [image for image in images if out.resolve() not in image.resolve().parents]


def _unique_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each picture: the file's own, with the folder or a number where it is taken.

    Names are told apart without their suffixes, since a picture may be written with another one.
    """
    names, taken = [], set[str]()
    for path in paths:
        choices = [path.stem, f"{path.parent.name}_{path.stem}"]
        choices += [f"{path.stem}-{number}" for number in range(2, len(paths) + 2)]
        stem = next(choice for choice in choices if choice.lower() not in taken)
        taken.add(stem.lower())
        names.append(stem + path.suffix)
    return names


def _picture(out: Path, name: str) -> Path:
    """Return where the picture of a photograph goes: under its name, as a kind that is written here."""
    suffix = Path(name).suffix.lower()
    return (out / name).with_suffix(suffix if suffix in (".jpg", ".jpeg", ".png", ".webp") else ".jpg")


def _spare_photographs(paths: Sequence[Path], pictures: Sequence[Path], out: Path) -> None:
    """Refuse to draw over any photograph, whether it is among the sources or merely stands in `out`.

    Raises:
        InputError: if a picture would take the place of a source, or of a file in a folder that no earlier
            call wrote its detections to.
    """
    sources = {path.resolve() for path in paths}
    if any(picture.resolve() in sources for picture in pictures):
        raise InputError(f"The pictures would replace the photographs in {out}; choose another --out.")
    taken = next((picture for picture in pictures if picture.exists()), None)
    if taken is not None and not any((out / name).exists() for name in FILES.values()):
        raise InputError(
            f"{taken} exists, but {out} has no detections of an earlier prediction; choose another --out."
        )


def _write(path: Path, kind: Format, found: Sequence[tuple[str, Detections]]) -> Path:
    {"json": write_json, "csv": write_csv, "coco": write_coco}[kind](path, found)
    return path


def _count(found: Detections) -> str:
    if not len(found):
        return "nothing above the score"
    parts = []
    for label, name in enumerate(found.classes):
        scores = found.scores[found.labels == label]
        if len(scores):
            best = [f"{score:.2f}" for score in scores[:3]] + ["..."] * (len(scores) > 3)
            parts.append(f"{len(scores)} {name} ({', '.join(best)})")
    return ", ".join(parts)
