"""The data card: what is in a data set, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from aerostat.datasets.problems import CONSEQUENCES, Problem, ProblemKind
from aerostat.errors import InputError
from aerostat.text import counted

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from aerostat.datasets.dataset import Dataset
    from aerostat.datasets.records import Split

SMALL_AREA, LARGE_AREA = 32.0**2, 96.0**2
"""COCO's bounds between small, medium and large objects, in square pixels of the original image."""

SHOWN_PROBLEMS = 3
"""Problems of each kind that are named; the others are counted."""

_SHOWN_CLASSES = 20


@dataclass(frozen=True, slots=True)
class ProblemCount:
    """Problems of one kind in one split: how many, and the first few."""

    kind: ProblemKind
    consequence: str
    count: int
    first: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class SplitCard:
    """What is in one split.

    Args:
        name: of the split.
        images: how many.
        images_without_objects: how many of them have no object; they are kept.
        instances: how many objects, crowd regions left out.
        instances_per_class: by class name, every class of the data set, also those with none.
        small, medium, large: objects by area, in COCO's bounds.
        crowd: how many crowd regions.
        width, height: (least, median, most) in pixels.
        problems: by kind.
        outlined: how many of the objects have outlines.
        run_lengths: how many have a run-length mask and no outline.
        box_only: how many have a box only; they are left out of the loss of masks.
    """

    name: str
    images: int
    images_without_objects: int
    instances: int
    instances_per_class: dict[str, int]
    small: int
    medium: int
    large: int
    crowd: int
    width: tuple[int, float, int]
    height: tuple[int, float, int]
    problems: tuple[ProblemCount, ...]
    # Cards of earlier versions lack these.
    outlined: int = 0
    run_lengths: int = 0
    box_only: int = 0

    @property
    def shapes(self) -> str:
        """How many objects have outlines, masks and a box only, one clause; empty for boxes alone."""
        parts = [f"{counted(self.outlined, 'object')} with outlines"] * bool(self.outlined)
        parts += [f"{self.run_lengths} with run-length masks"] * bool(self.run_lengths)
        if parts and self.box_only:
            parts.append(f"{self.box_only} with a box only, left out of the mask loss")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class DataCard:
    """What is in a data set, split by split."""

    classes: tuple[str, ...]
    splits: tuple[SplitCard, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the card as JSON can hold it."""
        return asdict(self)

    def render(self, problems: bool = True) -> RenderableType:
        """Return tables for a console at least 80 columns wide.

        Args:
            problems: whether the problems of reading are listed, too.
        """
        from rich.console import Group

        parts: list[RenderableType] = [_overview(self.splits), "", _class_table(self.classes, self.splits)]
        if problems and any(split.problems for split in self.splits):
            parts.append(_problem_table(self.splits))
        return Group(*parts)


def data_card(dataset: Dataset) -> DataCard:
    """Count what is in a data set."""
    return DataCard(dataset.classes, tuple(card_of(split) for split in dataset.splits.values()))


def card_of(split: Split) -> SplitCard:
    """Count what is in one split."""
    instances = split.images.instances
    kept = ~instances.crowd
    labels = np.bincount(instances.labels[kept], minlength=len(split.classes)).tolist()
    areas = instances.areas[kept]
    outlined = int((instances.outline_counts[kept] > 0).sum())
    masked = int(instances.has_masks()[kept].sum())
    small, large = int((areas < SMALL_AREA).sum()), int((areas > LARGE_AREA).sum())
    return SplitCard(
        name=split.name,
        images=len(split),
        images_without_objects=int((split.images.instance_counts == 0).sum()),
        instances=len(areas),
        instances_per_class={name: labels[label] for label, name in enumerate(split.classes)},
        small=small,
        medium=len(areas) - small - large,
        large=large,
        crowd=len(instances) - len(areas),
        width=_spread(split.images.sizes[:, 0].tolist()),
        height=_spread(split.images.sizes[:, 1].tolist()),
        problems=_count_problems(split.problems),
        outlined=outlined,
        run_lengths=masked - outlined,
        box_only=len(areas) - masked,
    )


def _spread(values: list[int]) -> tuple[int, float, int]:
    return (min(values), float(median(values)), max(values)) if values else (0, 0.0, 0)


def _count_problems(problems: Iterable[Problem]) -> tuple[ProblemCount, ...]:
    by_kind: dict[ProblemKind, list[Problem]] = {}
    for problem in problems:
        by_kind.setdefault(problem.kind, []).append(problem)
    return tuple(
        ProblemCount(kind, CONSEQUENCES[kind], len(by_kind[kind]), tuple(by_kind[kind][:SHOWN_PROBLEMS]))
        for kind in CONSEQUENCES
        if kind in by_kind
    )


def require_usable(dataset: Dataset, splits: Sequence[str] = ("train", "val")) -> None:
    """Refuse a data set with a split that has nothing to learn from or to be measured on.

    Args:
        dataset: the data.
        splits: names of the splits that are needed.

    Raises:
        InputError: a split is missing or has no usable box; the sentence says what was dropped from it.
    """
    for name in splits:
        split = dataset.split(name)
        if split.box_count:
            continue
        crowd = len(split.images.instances)
        reasons = [f"{p.kind}: {p.count}, {p.consequence}" for p in _count_problems(split.problems)]
        reasons += [f"{counted(crowd, 'crowd region')}, not counted"] * bool(crowd)
        why = "; ".join(reasons) if reasons else "its annotations hold no objects"
        raise InputError(
            f"Expected a usable box in the split {split.name!r}, found none on "
            f"{counted(len(split), 'image')} ({why}); correct the annotations."
        )


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE, pad_edge=False)


def _overview(splits: Sequence[SplitCard]) -> Table:
    table = _table("Data")
    table.add_column("split")
    for name in ("images", "empty", "objects", "small", "medium", "large", "crowd"):
        table.add_column(name, justify="right")
    for s in splits:
        numbers = (s.images, s.images_without_objects, s.instances, s.small, s.medium, s.large, s.crowd)
        table.add_row(s.name, *map(str, numbers))
    lines = ["objects by area: small < 32 x 32 px, large > 96 x 96 px"]
    lines += [
        f"{s.name}: images {s.width[0]}-{s.width[2]} x {s.height[0]}-{s.height[2]} px, "
        f"median {s.width[1]:.0f} x {s.height[1]:.0f}"
        for s in splits
    ]
    lines += [f"{s.name}: {s.shapes}" for s in splits if s.shapes]
    table.caption = "\n".join(lines)
    table.caption_justify = "left"
    return table


def _class_table(classes: Sequence[str], splits: Sequence[SplitCard]) -> Table:
    """Return the objects per class, the commonest classes first where there are many."""
    from rich.text import Text

    totals = {name: sum(s.instances_per_class[name] for s in splits) for name in classes}
    shown = list(classes)
    if len(shown) > _SHOWN_CLASSES:
        shown = sorted(classes, key=lambda name: -totals[name])[: _SHOWN_CLASSES - 1]
    table = _table("Objects per class")
    table.add_column("class", overflow="fold")
    for s in splits:
        table.add_column(s.name, justify="right")
    for name in shown:
        table.add_row(Text(name), *(str(s.instances_per_class[name]) for s in splits))
    if rest := [name for name in classes if name not in shown]:
        table.add_row(
            f"{len(rest)} more", *(str(sum(s.instances_per_class[name] for name in rest)) for s in splits)
        )
    return table


def _problem_table(splits: Sequence[SplitCard]) -> Table:
    from rich.text import Text

    table = _table("Problems")
    table.add_column("split")
    table.add_column("number", justify="right")
    table.add_column("what, and what becomes of it", overflow="fold")
    for s in splits:
        for p in s.problems:
            text = Text(f"{p.kind}: {p.consequence}")
            for problem in p.first:
                text.append(f"\n  {problem.file_name}: {problem.detail}", style="dim")
            if p.count > len(p.first):
                text.append(f"\n  and {p.count - len(p.first)} more", style="dim")
            table.add_row(s.name, str(p.count), text)
    return table
