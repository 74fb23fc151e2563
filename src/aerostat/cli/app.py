"""The command line itself, and what several verbs share: options, refusals, how data are read."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from aerostat.cli import console
from aerostat.errors import InputError
from aerostat.files import nearest_existing

if TYPE_CHECKING:
    from aerostat.datasets.dataset import Dataset
    from aerostat.datasets.records import Split
    from aerostat.inference.detector import Detector
    from aerostat.inference.tta import TTA

app = App(
    name="aerostat",
    help="RTMDet object detection, lighter than air: annotations in, trained detector out.",
    version_flags=["--version"],
    group_parameters="Options",
    suppress_keyboard_interrupt=False,  # it would end without a word
)

Classes = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
JsonFlag = Annotated[bool, Parameter(name="--json", negative=(), show_default=False)]


def read(data: Path, **reading: Any) -> Dataset:
    """Read data as `Dataset.read` does, which is imported only now."""
    from aerostat.datasets.dataset import Dataset

    return Dataset.read(data, **reading)


def read_for(known: tuple[str, ...], data: Path, classes: list[str] | None, **reading: Any) -> Dataset:
    """Read data for a detector of the classes `known`, whose names stand for those that nobody states."""
    from aerostat.datasets.records import OtherClassesError

    if classes:
        return read(data, classes=classes, **reading)
    try:
        return read(data, classes=list(known), **reading)
    except OtherClassesError:  # whoever compares them says so
        return read(data, classes=None, **reading)


def split_to_evaluate(dataset: Dataset, name: str | None) -> Split:
    """Return the split asked for; if none was, val, else test, else the only one there is."""
    from aerostat.datasets.records import ONLY_SPLIT

    if name is not None or "val" in dataset.splits:
        return dataset.split(name or "val")
    only = list(dataset.splits) if len(dataset.splits) == 1 else []
    chosen = "test" if "test" in dataset.splits else only[0] if only else "val"
    part = dataset.split(chosen)
    if chosen != ONLY_SPLIT:
        console.note(f"there is no val split: evaluating on {chosen}")
    return part


def tell_losses(dataset: Dataset, part: Split) -> None:
    """Say what the figures of a split are missing, so that they are not compared with those of the whole."""
    from aerostat.datasets.records import LOSSES
    from aerostat.datasets.summary import data_card

    for card in data_card(dataset).splits:
        for problem in card.problems:
            if card.name == part.name and problem.kind in LOSSES:
                first = problem.first[0]
                console.note(
                    f"{part.name}: {problem.kind} ({problem.count}), {problem.consequence}; "
                    f"first {first.file_name}: {first.detail}"
                )


def load_for_use(weights: str, device: str, input_size: int | None, engine: str, tta: TTA | None) -> Detector:
    """Return a detector to look at photographs with; `auto` takes an export of the weights, if any."""
    from aerostat.inference.resolve import exported_beside, load

    found = exported_beside(weights, input_size=input_size, device=device) if engine == "auto" else None
    if found is not None:
        detector = load(found, input_size=input_size)
        sizes = tta.plan(detector.input_size).views if tta else ()
        if (
            all(view.input_size == detector.input_size for view in sizes)
            or detector.engine.fixed_size is None
        ):
            console.note(f"running {found}, the export of these weights (--engine torch for themselves)")
            return detector
    return load(weights, device=device, input_size=input_size, engine=engine)


def name_of(data: Path) -> str:
    """Return what a data set is called, for the folder of what is made of it."""
    named = data.resolve()  # `.` and `..` have names too
    return named.stem if named.is_file() else named.name


def require_free(path: Path, force: bool, option: str) -> None:
    """Refuse, before any work is done, a file to write that exists or can never be.

    Raises:
        InputError: naming the option that asked for it.
    """
    above = nearest_existing(path.absolute().parent)
    if path.is_dir() or not above.is_dir():
        found = "is a folder" if path.is_dir() else f"cannot be written: {above} is a file"
        raise InputError(f"{path} {found}; {option} names a file to write.")
    if path.exists() and not force:
        raise InputError(f"{path} exists already; choose another {option} or allow it with --force.")


def refuse(options: dict[str, Any], why: str) -> None:
    """Refuse options that would be ignored, rather than let somebody wonder.

    Raises:
        InputError: naming those that were given.
    """
    given = [name for name, value in options.items() if value not in (None, False)]
    if given:
        raise InputError(f"{', '.join(given)} {why}; leave {'it' if len(given) == 1 else 'them'} out.")


def split_names(classes: list[str] | None) -> list[str] | None:
    """Return the class names; one text with commas is several names."""
    if classes is not None and len(classes) == 1:
        return [name.strip() for name in classes[0].split(",") if name.strip()]
    return classes


def document(content: Any) -> str:
    """Return the JSON document that --json prints; characters that a terminal would obey are escaped."""
    text = json.dumps(content, indent=2, ensure_ascii=not _prints_unicode())
    return re.sub(r"[\x7f-\x9f\u2028-\u202e\u2066-\u2069]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _prints_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
