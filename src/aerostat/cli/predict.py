"""The verb `predict`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.app import app
from aerostat.cli.clips import CLIPS, Clips, names_of, tell_outcome
from aerostat.cli.console import document
from aerostat.cli.loading import load_for_use
from aerostat.cli.options import (
    MASK_FILES,
    MASKS,
    ONE_VIEW,
    PREDICT,
    READ,
    WINDOWS,
    Device,
    Engine,
    Flag,
    InputSize,
    JsonFlag,
    MaskFiles,
    Masks,
    Predict,
    Slicing,
    Tta,
    given_options,
)
from aerostat.cli.reading import read_for
from aerostat.cli.refusals import refuse
from aerostat.cli.tracking import NO_TRACK, Track
from aerostat.errors import AerostatError, InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from aerostat.inference.annotation_sinks import CocoResults
    from aerostat.inference.clip_sinks import RowFormat
    from aerostat.inference.detector import Detector
    from aerostat.inference.options import PredictArguments
    from aerostat.inference.sinks import FileForm, Judge


@app.command(sort_key=6, usage="Usage: aerostat predict WEIGHTS SOURCE... [OPTIONS]")
def predict(
    weights: str,
    /,
    *sources: str,
    keep: Predict = PREDICT,
    views: Tta = ONE_VIEW,
    windows: Slicing = WINDOWS,
    drawn: Masks = MASKS,
    written: MaskFiles = MASK_FILES,
    out: Path = Path("predictions"),
    format_: Annotated[list[str] | None, Parameter(name="--format", negative=())] = None,
    pictures: Annotated[bool | None, Parameter(show_default=False)] = None,
    clips: Clips = CLIPS,
    track: Track = NO_TRACK,
    sort: Flag = False,
    truth: Path | None = None,
    input_size: InputSize = None,
    engine: Engine = "auto",
    device: Device = "auto",
    json_: JsonFlag = False,
) -> None:
    """Detect objects on photographs, clips, cameras and streams.

    Writes pictures or videos with boxes or masks, and a file with the detections.

    Parameters
    ----------
    weights:
        Run directory, work directory of MMDetection, weights file, exported .onnx or .xml, or name of the
        zoo.
    sources:
        Images, clips, folders, or patterns such as "photos/*.jpg"; the number of a camera; the address of a
        stream, such as rtsp://door/1; - for names of files on standard input.
    out:
        Folder for what is written; - writes the rows of clips and streams to standard output.
    format_:
        File with the detections: json (default), csv or coco. For clips and streams: jsonl (default), json,
        csv or mot. The name of an annotation format (see
        `aerostat convert --help`) writes drafts that its tool opens. Several with commas: csv,json.
    pictures:
        Draw the detections on the photographs, which is the default, or do not. For clips and streams,
        write a picture of each frame, or do not, which is the default.
    sort:
        Sort the pictures into correct/ (every object found, nothing else), errors/ and not-annotated/.
    truth:
        Annotations: a data set folder or an annotation file. --sort sorts by them (by default by those of
        SOURCE). Without --sort, --format coco takes their ids and writes the bare list that loadRes takes.
    """
    from aerostat.inference.clip_sources import open_sources
    from aerostat.inference.predict_clips import predict_clips
    from aerostat.inference.predict_folder import predict_to_folder
    from aerostat.inference.sinks import PictureFiles

    keep.check()
    tta = views.chosen()
    slices, overlap = windows.chosen()
    asked: PredictArguments = {
        "score": keep.score,
        "nms_iou": keep.nms_iou,
        "tta": tta or False,
        "masks": drawn.masks,
        "mask_threshold": drawn.mask_threshold,
        "slices": slices,
        "overlap": overlap,
    }
    sources = names_of(sources)
    tracking = track.chosen()
    names = _formats(format_, sources)
    moving = open_sources(sources, out, clips.reading(), photographs=_wants_rows(format_, out))
    if moving is not None:
        if not moving.moving:
            clips.refuse_for_photographs()
            track.refuse_for_photographs()
        if out == Path("-"):
            refuse({"--json": json_}, "would stand among the rows on standard output")
        refuse({"--sort": sort, "--truth": truth, **given_options(written)}, "is for photographs")
        with moving.stop.caught():
            done_clips = predict_clips(
                lambda: load_for_use(weights, device, input_size, engine, tta),
                moving,
                out,
                files=clips.writing(_rows(format_), pictures, out),
                tracking=tracking,
                **asked,
            )
        tell_outcome(done_clips, out, json_)
        return
    clips.refuse_for_photographs()
    track.refuse_for_photographs()
    pictures = pictures is not False
    judge = _judge(sources, truth, pictures) if sort else None
    if not sort and "coco" not in names:
        refuse({"--truth": truth}, "is for --sort and for --format coco; neither was given")
    written.check(names)
    forms = [_form(name, truth if not sort else None, written) for name in names]
    done = predict_to_folder(
        lambda: load_for_use(weights, device, input_size, engine, tta),
        sources,
        out,
        formats=forms,
        pictures=PictureFiles(pictures, written.label_maps, written.cut_outs),
        judge=judge,
        **asked,
    )
    if json_:
        print(document(done.to_dict()))
    else:
        console.tell(*done.lines())
    if done.failed:
        total = len(done.failed) + len(done.found)
        rest = "the others are done" if done.found else "nothing was written"
        raise AerostatError(
            f"{len(done.failed)} of {total} images could not be read, first {done.failed[0][0]}; {rest}."
        )


def _wants_rows(words: list[str] | None, out: Path) -> bool:
    """Return whether rows are asked for as clips have them, also of photographs."""
    names = {name for word in words or [] for name in word.split(",")}
    return out == Path("-") or bool(names & {"jsonl", "mot"})


def _rows(words: list[str] | None) -> tuple[RowFormat, ...]:
    """Return the formats of rows about clips.

    Raises:
        InputError: a name is unknown.
    """
    from aerostat.inference.clip_sinks import ROW_FILES

    known = {str(name): name for name in ROW_FILES}
    names = [name for word in words or ["jsonl"] for name in word.split(",") if name]
    for name in names:
        if name not in known:
            raise InputError(
                f"Expected --format among {', '.join(known)} for clips and streams, found {name!r}."
                f"{nearest(name, known)}"
            )
    return tuple(dict.fromkeys(known[name] for name in names))


def _formats(words: list[str] | None, sources: tuple[str, ...]) -> list[str]:
    """Return the names of formats; one word may hold several with commas between.

    Raises:
        InputError: a name is unknown, or stands among the sources.
    """
    from aerostat.inference.clip_sinks import ROW_FILES
    from aerostat.inference.predict_folder import draft_formats

    known = tuple(dict.fromkeys([*draft_formats(), *ROW_FILES]))
    names = [name for word in words or ["json"] for name in word.split(",") if name]
    for name in names:
        if name not in known:
            raise InputError(
                f"Expected --format among {', '.join(known)}, found {name!r}.{nearest(name, known)}"
            )
    typed = ",".join(dict.fromkeys(names))
    for source in sources:
        if words and source in known and not Path(source).exists():
            raise InputError(
                f"There is no image or folder {source}; several formats have commas between: "
                f"--format {typed},{source}."
            )
    return list(dict.fromkeys(names))


def _form(name: str, truth: Path | None, written: MaskFiles) -> str | FileForm | CocoResults:
    """Return a format; COCO with the ids of annotations, if these are named.

    Raises:
        InputError: the pixel size has no number or unit, or the annotations cannot be read.
    """
    if name == "coco" and truth is not None:
        from aerostat.cli.reading import read
        from aerostat.inference.annotation_sinks import CocoResults

        return CocoResults(read(truth, READ), written.mask_format)
    from aerostat.geometry.mask_measures import PixelSize
    from aerostat.inference.sinks import FileForm

    if name == "coco":
        return FileForm("coco", written.mask_format)
    if name == "csv" and written.pixel_size is not None:
        return FileForm("csv", pixel_size=PixelSize.parse(written.pixel_size))
    return name


def _judge(sources: tuple[str, ...], truth: Path | None, pictures: bool) -> Callable[[Detector], Judge]:
    """Return what makes the judge of detections, having looked at where the annotations stand.

    Raises:
        InputError: there are none, or no pictures to sort.
    """
    from aerostat.datasets.layout import find_splits
    from aerostat.evaluation.per_image import image_evaluator

    if not pictures:
        raise InputError(
            "The option --sort sorts the pictures, which --no-pictures leaves out; give one of them."
        )
    folder = Path(sources[0]) if len(sources) == 1 and Path(sources[0]).is_dir() else None
    data = truth or folder
    if data is None:
        raise InputError(
            "The option --sort needs annotations: name them with --truth, or give a data set's folder "
            "as SOURCE."
        )
    find_splits(data, READ.chosen())
    images = folder if data.is_file() else None  # annotations that stand elsewhere
    reading = replace(READ, images=images)
    return lambda detector: image_evaluator(read_for(detector.classes, data, reading), detector.classes)
