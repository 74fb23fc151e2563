"""The model card of an exported file: what it holds, its data, how well it works, how to run it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from aerostat.datasets.records import ImageRecord, Split
from aerostat.deploy.export import Outcome
from aerostat.evaluation.bootstrap import CONFIDENCE, ap_interval
from aerostat.evaluation.coco import CocoResult
from aerostat.evaluation.evaluate import detect, score_detections
from aerostat.inference.backends.exported import LAYOUT
from aerostat.results.detections import Detections
from aerostat.text import counted

MEASURED = 100
"""Images at most that the figures of a card are measured on, so that an export stays short."""
_EXAMPLE = """\
import aerostat

model = aerostat.load({file!r})
for found in model("party.jpg", score=0.3):
    print(found.name, round(found.score, 2), found.box_xyxy)
"""


@dataclass(frozen=True)
class Measured:
    """Figures of a detector for a card.

    Args:
        split: name of the split.
        result: the COCO figures.
        interval: of the box AP; None if it is not defined.
        of_file: whether the file itself was measured, not its weights.
    """

    split: str
    result: CocoResult
    interval: tuple[float, float] | None
    of_file: bool


def measured(
    done: Outcome, split: Split, pairs: list[tuple[ImageRecord, Detections]] | None = None
) -> Measured | None:
    """Return the figures of an exported file on at most `MEASURED` images of a split; None without objects.

    A file of another layout is not measured itself: its weights are, which it was compared with.

    Args:
        done: the export.
        split: annotated images.
        pairs: all of them with the detections of the file, if they are known; the figures are then of all.
    """
    some = split.sample(MEASURED) if pairs is None else split
    detector = done.detector or done.reference
    if not len(some) or not all(name in detector.classes for name in some.classes):
        return None
    pairs = detect(detector, some, progress=False) if pairs is None else pairs
    result = score_detections(some, pairs)
    if result.ap < 0:
        return None
    images, found = [image for image, _ in pairs], [detections for _, detections in pairs]
    return Measured(split.name, result, ap_interval(images, found, some.classes), done.detector is not None)


def model_card(done: Outcome, data: Sequence[str], figures: Measured | None) -> str:
    """Return the model card of an exported file as Markdown.

    Args:
        done: the export.
        data: a sentence about each split that is known.
        figures: what was measured, if anything could be.
    """
    about = done.exported
    width, height = about.input_size
    name = done.path.name
    rows = {
        "network": f"RTMDet{'-Ins' if about.masks else ''}-{about.size}",
        "classes": ", ".join(about.classes),
        "layout": about.layout,
        "precision": about.precision,
        "input": f"{width} x {height} px, {about.colour_order}",
        "letterbox": "the ratio is kept, the image stands at the top left, the rest is grey 114",
        "normalisation": about.normalisation,
        "suppression": _suppression(done),
        "licence of the weights": about.licence or "not stated",
        "SHA-256": hashlib.sha256(done.path.read_bytes()).hexdigest(),
        "SHA-256 of the weights": about.weights_sha256,
    }
    parts = [
        f"# {name}",
        "\n".join(["| | |", "|---|---|", *(f"| {key} | {_cell(text)} |" for key, text in rows.items())]),
        "## Data",
        "\n".join(f"- {sentence}" for sentence in data) or "The data are not known.",
        "## Figures",
        _figures(figures),
        _parity(done),
        "## Tensors",
        "\n".join(f"- {tensor}" for tensor in done.tensors),
        "## Use",
        f"```python\n{example(done)}```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def example(done: Outcome) -> str:
    """Return some lines of Python that run an exported file, which lies in the current folder."""
    from aerostat.deploy.layouts.contract import Layout
    from aerostat.deploy.layouts.contracts import CONTRACTS

    about, name = done.exported, done.path.name
    if about.layout == LAYOUT:
        return _EXAMPLE.format(file=name)
    width, height = about.input_size
    contract = CONTRACTS[Layout(about.layout)]
    template = contract.openvino_example if done.path.suffix == ".xml" else contract.example
    return template.format(file=name, width=width, height=height, classes=about.classes)


def _suppression(done: Outcome) -> str:
    about = done.exported
    if about.nms_iou is None:
        return "left to the reader"
    return f"in the graph: IoU {about.nms_iou:g}, scores above {about.score_threshold:g}"


def _figures(figures: Measured | None) -> str:
    if figures is None:
        return "No annotated images were at hand."
    result = figures.result
    of = "The file" if figures.of_file else "The weights, with which the file was compared,"
    lines = [f"| figure | value | {CONFIDENCE:.0%} interval |", "|---|---|---|"]
    interval = "" if figures.interval is None else "{:.3f} to {:.3f}".format(*figures.interval)
    lines.append(f"| AP (IoU 0.50 to 0.95) | {result.ap:.3f} | {interval} |")
    lines += [f"| AP50 | {result.ap50:.3f} | |", f"| AP75 | {result.ap75:.3f} | |"]
    if result.masks is not None:
        lines.append(f"| mask AP | {result.masks.ap:.3f} | |")
    about = (
        f"{of} on {counted(result.images, 'image')} of the split {figures.split} with "
        f"{counted(result.instances, 'object')}. The interval is a bootstrap over images."
    )
    return "\n".join([about, "", *lines])


def _parity(done: Outcome) -> str:
    from aerostat.deploy.layouts.contract import Layout
    from aerostat.deploy.layouts.contracts import CONTRACTS

    remark = "" if done.exported.layout == LAYOUT else CONTRACTS[Layout(done.exported.layout)].remark
    if done.parity is None:
        return f"The file was not compared with its weights. {remark}".strip()
    return f"Compared with the weights {done.parity.describe()}. {remark}".strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
