"""Chapters of the report: advice, and label issues."""

from __future__ import annotations

from collections.abc import Sequence

from aerostat.datasets.records import ImageRecord
from aerostat.draw.comparison import Side, side_by_side
from aerostat.draw.text import drawable
from aerostat.errors import InputError, clause
from aerostat.evaluation.advice import AdviceReport, read_advice
from aerostat.evaluation.label_issues import KIND_TEXTS, LabelIssue
from aerostat.images.read import read_image
from aerostat.reporting.page import Chapter, Figure, Table
from aerostat.reporting.subject import Subject
from aerostat.text import counted

MAX_PICTURES = 12
"""Maximum number of label issues with a picture; the table lists more."""
MAX_ROWS = 100
"""Maximum number of rows in the table."""

_NOTHING = "–"
_ABOUT = {
    "length": "length of the run",
    "images": "number of images",
    "classes": "rare classes",
    "size": "input size",
    "labels": "labels",
}


def advice_chapters(subject: Subject) -> Sequence[Chapter]:
    """Return the chapters of a finished run's advice; none without an advice file."""
    if not subject.run.advice.is_file():
        return []
    given = read_advice(subject.run.advice)
    rows = [(_ABOUT.get(one.about, one.about), one.text) for one in given.advice]
    texts = ["Advice from the run's own figures:"] if rows else ["Nothing in the run's figures stands out."]
    chapters = [Chapter("Advice", texts, tables=[Table(("about", "advice"), rows)] if rows else [])]
    return [*chapters, _label_issue_chapter(subject, given)] if given.label_issues else chapters


def _label_issue_chapter(subject: Subject, given: AdviceReport) -> Chapter:
    issues = given.label_issues
    texts = [
        f"The model contradicts {counted(len(issues), 'label')} on {counted(given.checked_images, 'image')} "
        "that it has learned from. Model or label may be wrong: look, and correct wrong annotations. The "
        "dashed box is the one that contradicts."
    ]
    records = {record.file_name: record for record in subject.train_split.images}
    figures = []
    for issue in issues[:MAX_PICTURES]:
        record = records.get(issue.file_name)
        if record is None:
            continue
        try:
            figures.append(_picture(issue, record, subject.train_split.classes))
        except InputError as error:
            texts.append(f"A picture is left out: {clause(error)}.")
    rows = [_row(issue) for issue in issues[:MAX_ROWS]]
    rest = f": the first {MAX_ROWS} of {len(issues)}" if len(issues) > MAX_ROWS else ""
    header = ("file", "what", "annotated", "found", "score", "x1, y1, x2, y2")
    return Chapter("Label issues", texts, figures, [Table(header, rows, f"Label issues{rest}")])


def _row(issue: LabelIssue) -> tuple[str, ...]:
    score = f"{issue.score:.2f}" if issue.detected else _NOTHING
    box = ", ".join(f"{value:.0f}" for value in issue.box_xyxy)
    what = KIND_TEXTS[issue.kind]
    return issue.file_name, what, issue.annotated or _NOTHING, issue.detected or _NOTHING, score, box


def _picture(issue: LabelIssue, record: ImageRecord, classes: Sequence[str]) -> Figure:
    drawn = {name: drawable(name, f"class {k}")[0] for k, name in enumerate(classes)}
    place = issue.instance
    about = None if place is None or place >= len(record.instances) else record.instances[place]
    others = [o for i, o in enumerate(record.instances) if i != place and not o.crowd]
    caption = f"{KIND_TEXTS[issue.kind].capitalize()}: {issue.detected or issue.annotated}"
    detection = None if issue.detected is None else issue.box_xyxy
    truth = Side(
        "Annotated",
        [o.box_xyxy for o in others],
        [o.label for o in others],
        focus_xyxy=None if about is None else about.box_xyxy,
        focus_label=0 if about is None else about.label,
        focus_text="" if issue.annotated is None else drawn.get(issue.annotated, ""),
        ghost_xyxy=detection if about is None else None,
        ghost_text="nothing annotated",
    )
    found = Side(
        "Found",
        focus_xyxy=detection,
        focus_label=0 if issue.detected is None else list(classes).index(issue.detected),
        focus_text="" if issue.detected is None else f"{drawn[issue.detected]} {issue.score:.0%}",
        ghost_xyxy=issue.box_xyxy if detection is None else None,
        ghost_text="not found",
    )
    pixels = side_by_side(read_image(record.location), truth, found, caption)
    return Figure(pixels, f"{record.file_name}. {caption}.", f"{record.file_name}: {caption}", wide=True)
