"""Prediction from a source to sinks, and from files to a folder of pictures and detections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from operator import length_hint
from pathlib import Path
from typing import Any, Unpack

from aerostat.datasets import formats as annotation_formats
from aerostat.errors import InputError, clause
from aerostat.files import require_folder
from aerostat.images.frame import Frame
from aerostat.images.kinds import CLIP_SUFFIXES
from aerostat.inference.annotation_sinks import CocoResults, CocoResultSink, DraftSink, draft_format
from aerostat.inference.detector import BATCH_SIZE, Detector
from aerostat.inference.options import PredictArguments, PredictOptions
from aerostat.inference.sinks import (
    CUT_OUTS,
    FILES,
    FOLDERS,
    LABEL_MAPS,
    CutOutSink,
    FileForm,
    FileSink,
    Judge,
    LabelMapSink,
    ListSink,
    PictureFiles,
    PictureSink,
    Sink,
    SortedPictureSink,
    Verdict,
    folder_of,
    picture_path,
    stop_sinks,
)
from aerostat.inference.sources import Files, Source, find_images
from aerostat.inference.tta import ViewPlan
from aerostat.interrupts import StopRequest
from aerostat.progress import progress_shown, track
from aerostat.results.detections import Detections
from aerostat.text import counted, listed


def predict_to_sinks(
    detector: Detector,
    source: Source,
    sinks: Sequence[Sink],
    *,
    progress: bool = True,
    read_ahead: bool = True,
    stop: StopRequest | None = None,
    on_unreadable: Callable[[Frame, InputError], None] | None = None,
    **options: Unpack[PredictArguments],
) -> int:
    """Detect on every frame of a source, hand the detections to sinks, and return the number of frames.

    The sinks are closed at the end, unless an error came or no frame could be read. After an error or Ctrl-C
    those are stopped that have a method `stop`, see `StoppableSink`.

    Args:
        detector: from `aerostat.load`.
        source: any iterable of frames.
        sinks: each gets every frame with its detections, in order.
        progress: whether to show progress.
        read_ahead: whether to read frames before they are needed, which is faster. Of a live source they
            would be old when they are looked at.
        stop: ends the work after a frame, which all sinks have got; they are closed as at the end.
        on_unreadable: is called with each frame that cannot be read, which is then left out; None raises.
        **options: see `PredictOptions`.

    Raises:
        InputError: a frame cannot be read, and `on_unreadable` is None.
    """
    total = length_hint(source) or None
    frames = 0
    results = detector.predict_images(
        source,
        batch_size=BATCH_SIZE if read_ahead else 1,
        threads=None if read_ahead else 0,
        on_unreadable=on_unreadable,
        **options,
    )
    stop = stop or StopRequest()
    try:
        with stop.heeded("frame"):
            with progress_shown(progress), closing(track(results, "predicting", total=total)) as tracked:
                for frame, detections in tracked:
                    frames += 1
                    for sink in sinks:
                        sink.write(frame, detections)
                    if stop.made:
                        break
            results.close()
            for sink in sinks if frames else ():
                sink.close()
    except BaseException:
        results.close()
        stop_sinks(sinks)
        raise
    return frames


@dataclass(frozen=True)
class Outcome:
    """Detections of many images, and the files that were written.

    Args:
        found: path, as the sources gave it, and detections of each image, in order.
        pictures: drawn pictures.
        files: with the detections.
        failed: images that could not be read, with the reason.
        tta: the views that were taken of each image, if there were several.
        verdicts: by path, if pictures were sorted; None for an image that is not annotated.
        notes: what the files do not hold.
    """

    found: tuple[tuple[str, Detections], ...]
    pictures: tuple[Path, ...]
    files: tuple[Path, ...]
    failed: tuple[tuple[str, str], ...]
    tta: ViewPlan | None = None
    verdicts: Mapping[str, Verdict | None] | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome for JSON."""
        return {
            "images": [{**detections.to_dict(), "file": name} for name, detections in self.found],
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
        """Return a summary for a person: one line per image, then the files."""
        lines = [f"{name}: {_count(detections)}{self._verdict_on(name)}" for name, detections in self.found]
        lines += [f"{name}: NOT READ ({reason})" for name, reason in self.failed]
        total = sum(len(detections) for _, detections in self.found)
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
        lines += self.notes
        if not self.found:
            lines.append("nothing was written: no image could be read")
        return lines

    def _verdict_on(self, name: str) -> str:
        if self.verdicts is None:
            return ""
        verdict = self.verdicts[name]
        return " - not annotated" if verdict is None else f" - {verdict}"


def predict_to_folder(
    load_detector: Callable[[], Detector],
    sources: Sequence[str],
    out: Path,
    *,
    formats: Sequence[str | FileForm | CocoResults] = ("json",),
    pictures: bool | PictureFiles = True,
    judge: Callable[[Detector], Judge] | None = None,
    progress: bool = True,
    **options: Unpack[PredictArguments],
) -> Outcome:
    """Detect on all images that the sources name, and write pictures and files of the detections.

    An image that cannot be read is named in the outcome and does not stop the rest.

    Args:
        load_detector: is called once the sources are known to exist.
        sources: images, folders, or patterns.
        out: folder for pictures and files; made if need be. Pictures of an earlier call are replaced.
        formats: of the files with the detections: ``json``, ``csv``, ``coco``, or the name of an annotation
            format, whose files an annotation tool opens. `FileForm` says more of masks, and `CocoResults`
            writes COCO's ids of annotations.
        pictures: whether to draw; `PictureFiles` asks for other images, too.
        judge: makes of the detector the function that returns the verdict on a photograph; pictures are then
            sorted into the folders `FOLDERS` below `out`. None leaves them in one folder.
        progress: whether to show progress.
        **options: see `PredictOptions`.

    Raises:
        InputError: a source does not exist, names no image, or would be written over; or what is asked for
            needs masks, and there are none.
    """
    source = Files(find_images(sources, out))
    photographs = [path for path in source.paths if isinstance(path, Path)]
    wanted = pictures if isinstance(pictures, PictureFiles) else PictureFiles(drawn=pictures)
    files = [_file_sink(out, kind, photographs) for kind in formats]
    files += [LabelMapSink(out / LABEL_MAPS)] * wanted.label_maps
    files += [CutOutSink(out / CUT_OUTS)] * wanted.cut_outs
    require_folder(out)
    if wanted.drawn:
        folders = [out] if judge is None else [out / folder for folder in FOLDERS]
        drawn = [picture_path(folder, name) for name in source.names for folder in folders]
        spare_photographs(photographs, drawn, out)
    if wanted.label_maps or wanted.cut_outs:
        _spare_sources(photographs, out)
    # The detector is loaded only when the folder is known to be free.
    detector = load_detector()
    _require_masks(detector, formats, wanted, options.get("masks"))
    picture_sink: PictureSink | SortedPictureSink | None = None
    if wanted.drawn:
        picture_sink = PictureSink(out) if judge is None else SortedPictureSink(out, judge(detector))
    kept = ListSink()
    failed: list[tuple[str, str]] = []
    frames = predict_to_sinks(
        detector,
        source,
        [kept, *files, *([picture_sink] if picture_sink else [])],
        progress=progress,
        on_unreadable=lambda frame, error: failed.append((frame.location, clause(error))),
        **options,
    )
    asked = PredictOptions(**options)
    return Outcome(
        tuple(kept.results),
        tuple(picture_sink.pictures) if picture_sink else (),
        tuple(sink.path for sink in files) if frames else (),
        tuple(failed),
        asked.plan(detector.input_size).views if asked.tta else None,
        picture_sink.verdicts if isinstance(picture_sink, SortedPictureSink) else None,
        tuple(note for sink in files if frames for note in _notes(sink)),
    )


LINES = "detections.jsonl"
"""Name of the file with the detections on clips, a line for each frame."""

FileSinks = FileSink | DraftSink | CocoResultSink | LabelMapSink | CutOutSink


def _require_masks(
    detector: Detector,
    formats: Sequence[str | FileForm | CocoResults],
    pictures: PictureFiles,
    masks: bool | None,
) -> None:
    """Refuse what cannot be written without masks.

    Raises:
        InputError: naming the first of them, if the detections will have no masks.
    """
    asked = {
        "label_maps": pictures.label_maps,
        "cut_outs": pictures.cut_outs,
        "pixel_size": any(isinstance(form, FileForm) and form.pixel_size for form in formats),
    }
    first = next((name for name, given in asked.items() if given), None)
    if first is not None and (masks is False or not detector.has_masks):
        why = "`masks` is off" if masks is False else "this model has none"
        raise InputError(f"Expected masks for `{first}`, found that {why}; leave `{first}` out.")


def _file_sink(out: Path, kind: str | FileForm | CocoResults, photographs: Sequence[Path]) -> FileSinks:
    """Return the sink of a format.

    Raises:
        InputError: there is no such format, or the annotations do not list the photographs.
    """
    if isinstance(kind, CocoResults):
        return kind.sink(out / FILES["coco"], photographs)
    if isinstance(kind, FileForm):
        return FileSink(out / FILES[kind.kind], kind)
    if (known := next((name for name in FILES if name == kind), None)) is not None:
        return FileSink(out / FILES[known], known)
    if (format_ := draft_format(kind)) is not None:
        return DraftSink(out, format_)
    raise InputError(f"Expected `formats` among {', '.join(draft_formats())}, found {kind!r}.")


def draft_formats() -> tuple[str, ...]:
    """Return the names of all forms that detections are written in."""
    return tuple(dict.fromkeys([*FILES, *(format_.name for format_ in annotation_formats.FORMATS)]))


def _notes(sink: FileSinks) -> list[str]:
    """Return what a file does not hold, for a person."""
    if isinstance(sink, DraftSink):
        return [f"lost in {sink.path.name}: {number} {what}" for what, number in sink.lost.items()]
    if isinstance(sink, CutOutSink) and sink.empty:
        return [f"{sink.path.name} leaves out {counted(sink.empty, 'detection')} with an empty mask"]
    if isinstance(sink, CocoResultSink) and sink.unknown:
        number = counted(len(sink.unknown), "photograph")
        return [f"{sink.path.name} leaves out {number} without an id, first {sink.unknown[0]}"]
    return []


def spare_photographs(paths: Sequence[Path], pictures: Sequence[Path], out: Path) -> None:
    """Refuse to write over any photograph or clip, whether it is among the sources or stands in `out`.

    Args:
        paths: of the sources.
        pictures: and videos that will be written.
        out: the folder for them.

    Raises:
        InputError: if a picture would take the place of a source, or of a file in a folder without the
            detections of an earlier call.
    """
    sources = {path.resolve() for path in paths}
    replaced = next((picture for picture in pictures if picture.resolve() in sources), None)
    if replaced is not None and replaced.suffix.lower() in CLIP_SUFFIXES:
        raise InputError(f"The video would replace the clip {replaced}; choose another `out`.")
    if replaced is not None:
        raise InputError(f"The pictures would replace the photographs in {out}; choose another `out`.")
    taken = next((picture for picture in pictures if picture.exists()), None)
    if taken is not None and not any((out / name).exists() for name in (*FILES.values(), LINES)):
        raise InputError(
            f"{taken} exists, but {out} has no detections of an earlier prediction; choose another `out`."
        )


def _spare_sources(paths: Sequence[Path], out: Path) -> None:
    """Refuse photographs in the folders that masks are written to as images.

    Raises:
        InputError: a source stands in one of them.
    """
    folders = [(out / name).resolve() for name in (LABEL_MAPS, CUT_OUTS)]
    taken = next((path for path in paths for place in folders if path.resolve().is_relative_to(place)), None)
    if taken is not None:
        raise InputError(f"Masks would be written beside the photograph {taken}; choose another `out`.")


def _count(detections: Detections) -> str:
    if not len(detections):
        return "nothing above the score"
    parts = []
    for label, name in enumerate(detections.classes):
        scores = detections.scores[detections.labels == label]
        if len(scores):
            best = [f"{score:.2f}" for score in scores[:3]] + ["..."] * (len(scores) > 3)
            parts.append(f"{len(scores)} {name} ({', '.join(best)})")
    return ", ".join(parts)
