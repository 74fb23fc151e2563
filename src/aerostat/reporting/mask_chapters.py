"""The chapter of the report about instance masks: their figures, their errors, and the worst ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord
from aerostat.draw.comparison import Side, side_by_side
from aerostat.draw.evaluation import tide_chart
from aerostat.draw.figure import png_bytes
from aerostat.draw.shapes import Shape, shapes_of
from aerostat.draw.text import drawable
from aerostat.errors import InputError, clause
from aerostat.evaluation.coco import ClassResult, CocoResult, evaluate_detections
from aerostat.evaluation.mask_quality import POOR_IOU, MaskPair, mask_pairs
from aerostat.evaluation.object_masks import object_masks, whether_masks
from aerostat.evaluation.tide import KINDS, Kind, TideResult, tide
from aerostat.geometry.masks import Masks
from aerostat.images.location import Location
from aerostat.images.read import read_image
from aerostat.inference.options import SHOW_SCORE
from aerostat.reporting.error_chapters import MAX_ROWS, PICTURES
from aerostat.reporting.page import Chapter, Figure, Table
from aerostat.reporting.run import FIGURES, three_digits
from aerostat.results.detections import Detections
from aerostat.text import counted

TITLE = "Masks"


def mask_chapters(
    images: Sequence[ImageRecord],
    detections: Sequence[Detections],
    classes: Sequence[str],
    *,
    score: float = SHOW_SCORE,
    pictures: int = PICTURES,
    read: Callable[[Location], NDArray[np.uint8]] = read_image,
) -> list[Chapter]:
    """Return the chapter about masks; nothing if detections or objects have none.

    Args:
        images: annotated images.
        detections: detections on each image with scores down to 0.001.
        classes: names that the labels of `images` index.
        score: minimum score of the detections that are shown to a person.
        pictures: number of the worst masks.
        read: returns the pixels (H, W, 3) uint8 BGR of an image at a location; a sentence names each image
            that it cannot read.

    Raises:
        InputError: lengths differ, a label has no class, or the detector knows none of the classes.
    """
    if not classes or not whether_masks(images, detections, None):
        return []
    result = evaluate_detections(images, detections, classes)
    errors = tide(images, detections, classes, score=score, masks=True)
    of_boxes = tide(images, detections, classes, score=score)
    pairs = mask_pairs(images, detections, classes, score=score)
    figures, sentences = _pictures(pairs, images, detections, errors.classes, pictures, read)
    tables = [_figure_table(result), _class_table(result), _kind_table(errors, of_boxes)]
    counts = {kind: errors.count(kind) for kind in _kinds(errors)}
    gains = {kind: errors.ap50_gain[kind] for kind in counts} if errors.objects.any() else None
    chart = png_bytes(tide_chart(counts, gains))
    bars = Figure(chart, "Errors of masks by kind", "Bars of errors of masks by kind", wide=True)
    return [
        Chapter(
            TITLE,
            [*_in_words(result, pairs, score), *sentences],
            [bars, *figures],
            [table for table in tables if table.rows],
        )
    ]


# ------------------------------------------------------------------------------------------------ figures


def _in_words(result: CocoResult, pairs: Sequence[MaskPair], score: float) -> list[str]:
    masks = result.masks
    assert masks is not None
    texts = [
        f"Mask AP is {three_digits(masks.ap)}, box AP {three_digits(result.ap)}. Mask AP counts an object as "
        "found where the masks overlap enough, with IoU from 0.50 to 0.95, whatever the boxes."
    ]
    if masks.without_mask:
        texts.append(
            f"{masks.without_mask} of {counted(result.instances, 'object')} have no mask. In the figures of "
            "masks they are neither found nor missed."
        )
    if not pairs:
        return [*texts, f"No object with a mask is found by its box at a score of {score:g} or more."]
    mean, poor = np.mean([pair.mask_iou for pair in pairs]), sum(pair.poor for pair in pairs)
    texts.append(
        f"At a score of {score:g} or more, boxes find {counted(len(pairs), 'object')}. Their masks have a "
        f"mean IoU of {mean:.2f}; {poor} of them {'is' if poor == 1 else 'are'} below {POOR_IOU:g}."
    )
    return texts


def _figure_table(result: CocoResult) -> Table:
    masks = result.masks
    rows = [
        (title, three_digits(getattr(masks, key)), three_digits(getattr(result, key)))
        for key, title in FIGURES.items()
    ]
    return Table(("", "masks", "boxes"), rows, "Figures by the COCO protocol")


def _class_table(result: CocoResult) -> Table:
    """Return AP of masks and boxes by class, without rows where there is only one class."""
    header = ("class", "objects", "mask AP", "mask AP50", "box AP")
    assert result.masks is not None
    rows: list[tuple[ClassResult, ClassResult]] = list(
        zip(result.masks.per_class, result.per_class, strict=True)
    )
    if len(rows) == 1:
        return Table(header, [])
    shown = sorted(rows, key=lambda row: (row[0].ap < 0, row[0].ap))[:MAX_ROWS]
    which = f"the lowest {len(shown)} of {len(rows)}" if len(shown) < len(rows) else "lowest mask AP first"
    return Table(
        header,
        [
            (mask.name, str(mask.instances), *map(three_digits, (mask.ap, mask.ap50, box.ap)))
            for mask, box in shown
        ],
        f"By class, {which}",
    )


def _kinds(errors: TideResult) -> list[Kind]:
    """Return the possible kinds, the costliest first."""
    possible = [k for k in KINDS if len(errors.classes) > 1 or k not in ("classification", "both")]
    return sorted(possible, key=lambda kind: (-errors.ap50_gain[kind], -errors.count(kind)))


def _kind_table(errors: TideResult, of_boxes: TideResult) -> Table:
    rows = [
        (kind, str(errors.count(kind)), three_digits(errors.ap50_gain[kind]), str(of_boxes.count(kind)))
        for kind in _kinds(errors)
    ]
    return Table(("kind", "by masks", "mask AP50 to gain", "by boxes"), rows, "Errors of masks by kind")


# ------------------------------------------------------------------------------------------- worst masks


def _pictures(
    pairs: Sequence[MaskPair],
    images: Sequence[ImageRecord],
    detections: Sequence[Detections],
    classes: Sequence[str],
    most: int,
    read: Callable[[Location], NDArray[np.uint8]],
) -> tuple[list[Figure], list[str]]:
    """Return pictures of the worst masks, and a sentence about what they show or lack."""
    # A picture only has the letters of its font.
    drawn = [drawable(name, f"class {k}")[0] for k, name in enumerate(classes)]
    figures: list[Figure] = []
    sentences: list[str] = []
    for pair in [pair for pair in pairs if pair.poor][:most]:
        image = images[pair.image]
        try:
            pixels = _picture(pair, image, detections[pair.image], read(image.location), drawn)
        except InputError as error:
            sentences.append(f"A picture is left out: {clause(error)}.")
            continue
        caption = _caption(pair, classes)
        alternative = f"Annotated and predicted mask on {image.file_name}: {caption}"
        figures.append(Figure(pixels, f"{image.file_name}. {caption}.", alternative, wide=True))
    if figures:
        sentences.insert(
            0,
            "The pictures show the worst masks of objects that boxes find. The white line on the right is "
            "the edge of the annotated mask.",
        )
    return figures, list(dict.fromkeys(sentences))


def _caption(pair: MaskPair, classes: Sequence[str]) -> str:
    return (
        f"{classes[pair.label]} {round(100 * pair.score)}%, IoU {pair.mask_iou:.2f} of the masks and "
        f"{pair.box_iou:.2f} of the boxes"
    )


def _picture(
    pair: MaskPair,
    image: ImageRecord,
    found: Detections,
    image_bgr: NDArray[np.uint8],
    drawn: Sequence[str],
) -> NDArray[np.uint8]:
    """Return the annotated mask beside the predicted one."""
    annotated = Masks.from_coco([object_masks(image).rles[pair.instance]], (image.width, image.height))
    assert found.masks is not None
    (truth,), (predicted,) = shapes_of(annotated), shapes_of(found.masks[[pair.detection]])
    left = Side(
        "Ground truth",
        focus_xyxy=image.instances[pair.instance].box_xyxy,
        focus_label=pair.label,
        focus_text=drawn[pair.label],
        shapes=[(truth, pair.label)],
    )
    right = Side(
        "Prediction",
        focus_xyxy=found.boxes_xyxy[pair.detection].tolist(),
        focus_label=pair.label,
        focus_text=f"{drawn[pair.label]} {round(100 * pair.score)}%",
        shapes=[(predicted, pair.label), (Shape(truth.rings, 0.0), None)],
    )
    return side_by_side(image_bgr, left, right, _caption(pair, drawn))
