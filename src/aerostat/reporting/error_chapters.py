"""Chapters of the report: precision and recall, confusion matrix, and kinds of error."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord
from aerostat.draw.comparison import Side, side_by_side
from aerostat.draw.evaluation import Mark, confusion_chart, precision_recall_chart, tide_chart
from aerostat.draw.figure import png_bytes
from aerostat.draw.text import drawable
from aerostat.errors import InputError, clause
from aerostat.evaluation.coco import UNDEFINED, precision_by_recall
from aerostat.evaluation.coco_columns import labels_among
from aerostat.evaluation.confusion import Confusion, confusion_matrix
from aerostat.evaluation.tide import KINDS, BadImage, Kind, Mistake, TideResult, tide, worst_images
from aerostat.geometry.boxes import Floats
from aerostat.images.location import Location
from aerostat.images.read import read_image
from aerostat.inference.options import SHOW_SCORE
from aerostat.reporting.page import Chapter, Figure, Table
from aerostat.results.detections import Detections
from aerostat.text import counted

PICTURES = 3
"""Number of the worst images of each kind of error."""
MAX_CLASSES = 12
"""Maximum number of classes in the confusion matrix: readable on a phone."""
MAX_CURVES = 6
"""Maximum number of classes with a precision-recall curve each."""
MAX_ROWS = 20
"""Maximum number of rows in a table."""

_NOTHING = "–"
_MEANING: dict[Kind, str] = {
    "classification": "detection on an object of another class (IoU 0.5 or more)",
    "localisation": "detection of the right class with a poor box (IoU from 0.1 to 0.5)",
    "both": "detection of another class with a poor box (IoU from 0.1 to 0.5)",
    "duplicate": "detection of an object that one with a better score has found",
    "background": "detection without an object (IoU below 0.1)",
    "missed": "object without a detection, not even of another class or with a poor box",
}


def error_chapters(
    images: Sequence[ImageRecord],
    detections: Sequence[Detections],
    classes: Sequence[str],
    *,
    score: float = SHOW_SCORE,
    pictures: int = PICTURES,
    read: Callable[[Location], NDArray[np.uint8]] = read_image,
) -> list[Chapter]:
    """Return the chapters of precision and recall, of the confusion matrix, and of the kinds of error.

    A chapter without content says so.

    Args:
        images: annotated images.
        detections: detections on each image with scores down to 0.001, as from
            `aerostat.evaluation.evaluate.detect`.
        classes: names that the labels of `images` index.
        score: minimum score of the detections that are shown to a person.
        pictures: number of the worst images of each kind of error.
        read: returns the pixels (H, W, 3) uint8 BGR of an image at a location; a sentence names each image
            that it cannot read.

    Raises:
        InputError: lengths differ, a label has no class, or the detector knows none of the classes.
    """
    mistakes = tide(images, detections, classes, score=score)
    if not images or not classes:
        return []
    precision = precision_by_recall(images, detections, classes)
    matrix = confusion_matrix(images, detections, classes, score=score)
    anything = bool(mistakes.objects.any() or mistakes.shown.any())
    return [
        _precision_chapter(mistakes, precision, any(map(len, detections))),
        *([_confusion_chapter(matrix)] if anything else []),
        _kinds_chapter(mistakes, images, detections, pictures, read),
    ]


# --------------------------------------------------------------------------------------- precision and recall


def _precision_chapter(mistakes: TideResult, precision: Floats, anything_found: bool) -> Chapter:
    title = "Precision and recall"
    if not mistakes.objects.any():
        return Chapter(title, ["These images have no annotated objects, so recall is undefined."])
    if mistakes.best is None:
        text = "No detection finds an object" if anything_found else "There are no detections"
        return Chapter(title, [f"{text}: precision and recall are 0 at every score."])
    best = mistakes.best
    paragraphs = [
        f"A score threshold of {_threshold(best.score)} gives the best balance (F1 {best.f1:.2f}): precision "
        f"{best.precision:.2f} ({_percent(best.precision)} of the detections are right) and recall "
        f"{best.recall:.2f} ({_percent(best.recall)} of the objects are found). "
        f"At {mistakes.score:g}, above which pictures show detections, {_at_show_score(mistakes)}.",
        "AP is the mean of the strong curves, in which each class has the same weight. Thin curves are "
        "single classes at IoU 0.5. The star counts all objects together, at IoU 0.5. The table has "
        f"precision and recall at a score of {mistakes.score:g}."
        if len(mistakes.classes) > 1
        else "AP is the mean of the curves; the star is at IoU 0.5.",
    ]
    curves = _curves(mistakes, precision)
    mark = Mark(best.recall, best.precision, f"best F1, score {_threshold(best.score)}")
    present = np.flatnonzero(mistakes.objects).tolist()
    few = present if 1 < len(present) <= MAX_CURVES else []
    by_class = {k: precision[0, :, k] for k in few}
    chart = png_bytes(precision_recall_chart(curves, mark, by_class=by_class, classes=mistakes.classes))
    figure = Figure(chart, "Precision by recall", f"Plot of precision by recall: {'; '.join(curves)}")
    table = _class_table(mistakes, precision)
    return Chapter(title, paragraphs, [figure], [table] if table.rows else [])


def _curves(mistakes: TideResult, precision: Floats) -> dict[str, Floats]:
    """Return the mean precision (101,) of the classes that have objects, by the IoU and the AP there."""
    present = np.flatnonzero(mistakes.objects)
    mean = precision[:, :, present].mean(axis=2)  # (10, 101)
    lines = {"IoU 0.50": mean[0], "IoU 0.75": mean[5], "IoU 0.50–0.95": mean.mean(axis=0)}
    return {f"{name}: AP {line.mean():.3f}": line for name, line in lines.items()}


def _at_show_score(mistakes: TideResult) -> str:
    right, shown, objects = (int(n.sum()) for n in (mistakes.right, mistakes.shown, mistakes.objects))
    if not shown:
        return "there are no detections"
    return f"precision is {right / shown:.2f} and recall {right / objects:.2f}"


def _class_table(mistakes: TideResult, precision: Floats) -> Table:
    """Return precision, recall and AP by class, without rows where there is only one class."""
    header = ("class", "objects", "precision", "recall", "AP", "AP50")
    if len(mistakes.classes) == 1:
        return Table(header, [])
    aps = [_ap(precision[:, :, k]) for k in range(len(mistakes.classes))]
    places = sorted(range(len(aps)), key=lambda k: (aps[k] == UNDEFINED, aps[k]))
    if len(places) > MAX_ROWS:  # then no row is for a class without objects
        places = [k for k in places if aps[k] != UNDEFINED][:MAX_ROWS]
    rows = [
        (
            mistakes.classes[k],
            str(mistakes.objects[k]),
            _share(mistakes.right[k], mistakes.shown[k]),
            _share(mistakes.right[k], mistakes.objects[k]),
            _figure(aps[k]),
            _figure(_ap(precision[0, :, k])),
        )
        for k in places
    ]
    which = f"the lowest {len(rows)} of {len(aps)}" if len(rows) < len(aps) else "lowest AP first"
    return Table(header, rows, f"By class, {which}")


def _ap(precision: Floats) -> float:
    defined = precision[precision > UNDEFINED]
    return float(defined.mean()) if defined.size else UNDEFINED


# ------------------------------------------------------------------------------------------------ confusion


def _confusion_chapter(matrix: Confusion) -> Chapter:
    shown = matrix.most_confused(MAX_CLASSES)
    text = (
        f"Rows are annotated classes, columns are detected classes at a score of {matrix.score:g} or more, "
        "matched at IoU 0.5 whatever the class. Blue is right. The last column counts missed objects, the "
        "last row false detections."
    )
    if len(shown.classes) < len(matrix.classes):
        text += f" The matrix has the {len(shown.classes)} most confused of {len(matrix.classes)} classes."
    pairs = matrix.confused()
    rows = [
        (actual, detected, str(count), _share(count, objects))
        for actual, detected, count, objects in pairs[:MAX_ROWS]
    ]
    paragraphs = [text]
    if not rows and len(matrix.classes) > 1:
        paragraphs.append("No object is found as another class.")
    chart = png_bytes(confusion_chart(shown.classes, shown.counts))
    return Chapter(
        "Confusion matrix",
        paragraphs,
        [Figure(chart, "Confusion matrix", "Counts of annotated classes by detected classes")],
        [Table(("annotated", "found as", "times", "share"), rows, _pairs_caption(len(pairs), len(rows)))]
        if rows
        else [],
    )


def _pairs_caption(pairs: int, shown: int) -> str:
    return "Confused classes" + (f": the commonest {shown} of {pairs}" if shown < pairs else "")


# ------------------------------------------------------------------------------------------------ mistakes


def _kinds_chapter(
    mistakes: TideResult,
    images: Sequence[ImageRecord],
    detections: Sequence[Detections],
    pictures: int,
    read: Callable[[Location], NDArray[np.uint8]],
) -> Chapter:
    title = "Kinds of error"
    possible = [k for k in KINDS if len(mistakes.classes) > 1 or k not in ("classification", "both")]
    kinds = sorted(possible, key=lambda kind: (-mistakes.ap50_gain[kind], -mistakes.count(kind)))
    total = sum(map(mistakes.count, kinds))
    if not mistakes.objects.any() and not total:
        return Chapter(title, ["These images have neither annotated objects nor detections: no errors."])
    paragraphs = [_errors_in_words(mistakes, kinds, total)]
    if not total and all(mistakes.ap50_gain[kind] < 0.0005 for kind in kinds):
        return Chapter(title, paragraphs)
    defined = mistakes.ap50 != UNDEFINED
    counts = {kind: mistakes.count(kind) for kind in kinds}
    chart = tide_chart(counts, {kind: mistakes.ap50_gain[kind] for kind in kinds} if defined else None)
    alternative = "Bars of errors by kind and what they cost"
    figures = [Figure(png_bytes(chart), "Errors by kind", alternative, wide=True)]
    if total:
        paragraphs.append(
            "The pictures show the worst images of each kind. The bright box is the error. The dashed box is "
            "for comparison: the annotated box, the detection that found the object first, or the place "
            "without a detection or annotation."
        )
    for bad in (bad for of_kind in worst_images(mistakes, pictures, kinds).values() for bad in of_kind):
        try:
            figures.append(_picture(bad, mistakes, images[bad.image], detections[bad.image], read))
        except InputError as error:
            sentence = f"A picture is left out: {clause(error)}."
            if sentence not in paragraphs:
                paragraphs.append(sentence)
    rows = [(kind, str(counts[kind]), _figure(mistakes.ap50_gain[kind]), _MEANING[kind]) for kind in kinds]
    tables = [Table(("kind", "number", "AP50 to gain", "meaning"), rows)]
    by_class = _kinds_by_class(mistakes, kinds)
    return Chapter(title, paragraphs, figures, [*tables, by_class] if by_class.rows else tables)


def _errors_in_words(mistakes: TideResult, kinds: Sequence[Kind], total: int) -> str:
    right, objects = int(mistakes.right.sum()), int(mistakes.objects.sum())
    text = f"At a score of {mistakes.score:g} or more, "
    if not objects:
        return f"{text}{counted(total, 'detection')} on images without annotated objects: all are errors."
    if not total:
        text += f"there are no errors: each of {counted(objects, 'object')} is found once."
    else:
        text += f"{right} of {counted(objects, 'object')} are found, with {counted(total, 'error')}."
    best = kinds[0]
    if mistakes.ap50_gain[best] < 0.0005:
        return f"{text} AP50 is {mistakes.ap50:.3f}; correcting any one kind would not change it."
    what = "missed objects" if best == "missed" else f"{best} errors"
    return (
        f"{text} AP50 is {mistakes.ap50:.3f}; correcting the {what} alone would gain most, "
        f"{mistakes.ap50_gain[best]:.3f}. The gain is over detections of every score, as AP is. The kinds "
        "are those of TIDE (arXiv:2008.08115)."
    )


def _kinds_by_class(mistakes: TideResult, kinds: Sequence[Kind]) -> Table:
    """Return the errors by class, most first, without rows where there is only one class."""
    header = ("class", *kinds)
    if len(mistakes.classes) == 1:
        return Table(header, [])
    columns = [KINDS.index(kind) for kind in kinds]
    totals = mistakes.counts.sum(axis=1)
    wrong = [k for k in np.argsort(-totals, kind="stable").tolist() if totals[k]]
    rows = [(mistakes.classes[k], *(str(mistakes.counts[k, c]) for c in columns)) for k in wrong[:MAX_ROWS]]
    rest = f": the {len(rows)} classes with most" if len(rows) < len(wrong) else ""
    return Table(header, rows, f"Errors by class{rest}")


def _picture(
    bad: BadImage,
    mistakes: TideResult,
    image: ImageRecord,
    found: Detections,
    read: Callable[[Location], NDArray[np.uint8]],
) -> Figure:
    """Return an image with its worst error of a kind, ground truth left and prediction right."""
    worst = bad.mistakes[0]
    caption = _in_words(worst, mistakes.classes, image)
    # A picture only has the letters of its font.
    drawn = [drawable(name, f"class {k}")[0] for k, name in enumerate(mistakes.classes)]
    what = "missed objects" if worst.kind == "missed" else f"{worst.kind} errors"
    more = f" The worst of {len(bad.mistakes)} {what} on it." if len(bad.mistakes) > 1 else ""
    sides = _sides(worst, mistakes, drawn, image, found)
    pixels = side_by_side(read(image.location), *sides, _in_words(worst, drawn, image))
    return Figure(
        pixels,
        f"{image.file_name}. {caption}.{more}",
        f"Ground truth and prediction on {image.file_name}: {caption}",
        wide=True,
    )


def _in_words(mistake: Mistake, classes: Sequence[str], image: ImageRecord) -> str:
    name = classes[mistake.label]
    kind = mistake.kind.capitalize()
    if mistake.score is None:
        return f"{kind}: {name}"
    text = f"{kind}: {name} {_percent(mistake.score)}"
    if mistake.instance is None:
        return f"{text}, touches no object"
    actual = classes[image.instances[mistake.instance].label]
    on = f" on {actual}" if actual != name else ""
    return f"{text}{on}, IoU {mistake.iou:.2f}"


def _sides(
    mistake: Mistake, mistakes: TideResult, drawn: Sequence[str], image: ImageRecord, found: Detections
) -> tuple[Side, Side]:
    labels = next(iter(labels_among([found], mistakes.classes)))
    shown = (labels >= 0) & (found.scores >= np.float32(mistakes.score))
    detection = instance = None
    if mistake.detection is not None:
        shown[mistake.detection] = False
        detection = tuple(found.boxes_xyxy[mistake.detection].tolist())
    # A detection on the background may touch an object, but the object is not its subject.
    about = None if mistake.kind == "background" else mistake.instance
    if about is not None:
        instance = image.instances[about].box_xyxy
    others = [o for i, o in enumerate(image.instances) if i != about and not o.crowd]
    compared = instance if detection is None or mistake.kind in ("localisation", "both") else None
    if mistake.first is not None:
        compared = tuple(found.boxes_xyxy[mistake.first].tolist())
    truth = Side(
        "Ground truth",
        [o.box_xyxy for o in others],
        [o.label for o in others],
        focus_xyxy=instance,
        focus_label=0 if about is None else image.instances[about].label,
        focus_text="" if about is None else drawn[image.instances[about].label],
        ghost_xyxy=detection if instance is None else None,
        ghost_text="nothing annotated",
    )
    prediction = Side(
        "Prediction",
        found.boxes_xyxy[shown],
        labels[shown].tolist(),
        focus_xyxy=detection,
        focus_label=mistake.label,
        focus_text="" if mistake.score is None else f"{drawn[mistake.label]} {_percent(mistake.score)}",
        ghost_xyxy=compared,
        ghost_text="not found",
    )
    return truth, prediction


# ------------------------------------------------------------------------------------------------ texts


def _threshold(score: float) -> str:
    """Return a score with two decimals, or with three if the third is not 0."""
    return f"{score:.3f}".removesuffix("0")


def _percent(share: float) -> str:
    return f"{round(100 * share)}%"


def _share(part: int | np.integer, whole: int | np.integer) -> str:
    return f"{part / whole:.2f}" if whole else _NOTHING


def _figure(value: float) -> str:
    return _NOTHING if value == UNDEFINED else f"{value:.3f}"
