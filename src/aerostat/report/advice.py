"""The chapters about what a run suggests doing next, and about labels that its model disputes."""

from __future__ import annotations

from collections.abc import Sequence

from aerostat.datasets.records import ImageRecord
from aerostat.draw.comparison import Side, side_by_side
from aerostat.draw.text import drawable
from aerostat.errors import InputError, clause
from aerostat.evaluation.advice import AdviceReport, read_advice
from aerostat.evaluation.label_issues import SAID, Dispute
from aerostat.images.read import read_image
from aerostat.report.page import Chapter, Figure, Table
from aerostat.report.subject import Subject
from aerostat.text import counted

MAX_PICTURES = 12
"""Disputed labels of which a picture is shown; the others are listed."""
MAX_ROWS = 100

_NOTHING = "–"
_ABOUT = {
    "length": "length of the run",
    "images": "number of images",
    "size": "input size",
    "labels": "labels",
}


def advice_chapters(subject: Subject) -> Sequence[Chapter]:
    """Return the chapters of what a finished run suggests; nothing where nobody has asked it."""
    if not subject.run.advice.is_file():
        return []
    given = read_advice(subject.run.advice)
    rows = [(_ABOUT.get(one.about, one.about), one.text) for one in given.advice]
    texts = ["What the run's own figures suggest:"] if rows else ["Nothing in the run's figures stands out."]
    chapters = [Chapter("What to do next", texts, tables=[Table(("about", "advice"), rows)] if rows else [])]
    return [*chapters, _disputed(subject, given)] if given.disputed else chapters


def _disputed(subject: Subject, given: AdviceReport) -> Chapter:
    disputed = given.disputed
    texts = [
        f"On {counted(given.looked_at, 'image')} that the model has learned from it disputes "
        f"{counted(len(disputed), 'label')}. Either may be wrong: look, and mend the annotation where it is. "
        "Dashed is what stands against it."
    ]
    records = {record.file_name: record for record in subject.train_split.images}
    figures = []
    for dispute in disputed[:MAX_PICTURES]:
        record = records.get(dispute.file_name)
        if record is None:
            continue
        try:
            figures.append(_picture(dispute, record, subject.train_split.classes))
        except InputError as error:
            texts.append(f"A picture is left out: {clause(error)}.")
    rows = [_row(dispute) for dispute in disputed[:MAX_ROWS]]
    rest = f": the first {MAX_ROWS} of {len(disputed)}" if len(disputed) > MAX_ROWS else ""
    header = ("file", "what", "annotated", "found", "score", "x1, y1, x2, y2")
    return Chapter(
        "Labels worth a second look", texts, figures, [Table(header, rows, f"Disputed labels{rest}")]
    )


def _row(dispute: Dispute) -> tuple[str, ...]:
    score = f"{dispute.score:.2f}" if dispute.found else _NOTHING
    box = ", ".join(f"{value:.0f}" for value in dispute.box_xyxy)
    what = SAID[dispute.kind]
    return dispute.file_name, what, dispute.annotated or _NOTHING, dispute.found or _NOTHING, score, box


def _picture(dispute: Dispute, record: ImageRecord, classes: Sequence[str]) -> Figure:
    drawn = {name: drawable(name, f"class {k}")[0] for k, name in enumerate(classes)}
    place = dispute.instance
    about = None if place is None or place >= len(record.instances) else record.instances[place]
    others = [o for o in record.instances if o is not about and not o.crowd]
    caption = f"{SAID[dispute.kind].capitalize()}: {dispute.found or dispute.annotated}"
    detection = None if dispute.found is None else dispute.box_xyxy
    truth = Side(
        "Annotated",
        [o.box_xyxy for o in others],
        [o.label for o in others],
        focus_xyxy=None if about is None else about.box_xyxy,
        focus_label=0 if about is None else about.label,
        focus_text="" if dispute.annotated is None else drawn.get(dispute.annotated, ""),
        ghost_xyxy=detection if about is None else None,
        ghost_text="nothing annotated",
    )
    found = Side(
        "Found",
        focus_xyxy=detection,
        focus_label=0 if dispute.found is None else list(classes).index(dispute.found),
        focus_text="" if dispute.found is None else f"{drawn[dispute.found]} {dispute.score:.0%}",
        ghost_xyxy=dispute.box_xyxy if detection is None else None,
        ghost_text="not found",
    )
    pixels = side_by_side(read_image(record.path), truth, found, caption)
    return Figure(pixels, f"{record.file_name}. {caption}.", f"{record.file_name}: {caption}", wide=True)
