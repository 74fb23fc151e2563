"""Progress of training: one bar per epoch on a terminal or in a notebook, log lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aerostat.progress import (
    NotebookBar,
    ProgressLines,
    in_notebook,
    on_terminal,
    progress_is_shown,
    terminal,
)

if TYPE_CHECKING:
    from rich.progress import Progress


@dataclass
class EpochProgress:
    """Counts and times the iterations of one epoch.

    Args:
        title: for example ``epoch 3/40``.
        batches: iterations of the epoch.
        first: iterations done before (a resumed epoch).
        remaining: iterations of the run after this epoch, for the time left.
    """

    title: str
    batches: int
    first: int
    remaining: int
    losses: dict[str, float] = field(default_factory=dict)
    images: int = 0
    done: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, losses: dict[str, float], images: int) -> None:
        """Count an iteration."""
        for name, value in losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + value
        self.images += images
        self.done += 1

    @property
    def images_per_second(self) -> float:
        """Since the epoch began."""
        return self.images / max(time.monotonic() - self.started, 1e-9)

    @property
    def seconds_left(self) -> float:
        """Of the run, at this epoch's pace."""
        if not self.done:
            return 0.0
        pace = (time.monotonic() - self.started) / self.done
        return pace * (self.batches - self.first - self.done + self.remaining)

    def line(self, lr: float, memory_mb: float) -> str:
        """Return the state as one line."""
        count = max(self.done, 1)
        mean = {name: total / count for name, total in list(self.losses.items())}
        parts = "  ".join(f"{name} {value:.3f}" for name, value in mean.items())
        return (
            f"{parts}  lr {lr:.2e}  {self.images_per_second:.1f} images/s  {memory_mb:.0f} MB  "
            f"ETA {clock(self.seconds_left)}"
        )

    def short_line(self, lr: float, memory_mb: float) -> str:
        """Return the text beside a bar in 80 columns; the least important part is last and cut first."""
        loss = self.losses.get("loss", 0.0) / max(self.done, 1)
        pace = self.images_per_second
        return (
            f"loss {loss:.3f}  ETA {clock(self.seconds_left)}  {pace:.{0 if pace >= 100 else 1}f} images/s  "
            f"{memory_mb:.0f} MB  lr {lr:.1e}"
        )


def clock(seconds: float) -> str:
    """Return seconds as m:ss or h:mm:ss."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}" if hour else f"{minute}:{second:02d}"


class EpochDisplay:
    """Shows an `EpochProgress` while it grows; see `showing`."""

    def __init__(self, progress: EpochProgress, *, silent: bool = False) -> None:
        self.progress = progress
        self._lr, self._memory_mb = 0.0, 0.0
        self._bar: Progress | None = None
        self._lines: ProgressLines | None = None
        self._cell: NotebookBar | None = None
        if silent or not progress_is_shown():
            return
        if in_notebook():
            self._cell = NotebookBar(progress.title, progress.batches)
            return
        if not on_terminal():
            self._lines = ProgressLines(self._plain_line)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (
            TextColumn(progress.title),
            BarColumn(bar_width=8),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
        )
        self._bar = Progress(*columns, console=terminal(), transient=True)
        self._task = self._bar.add_task("", total=progress.batches, completed=progress.first)

    def update(self, lr: float, memory_mb: float) -> None:
        """Show the newest iteration."""
        self._lr, self._memory_mb = lr, memory_mb
        done = self.progress.first + self.progress.done
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=self.progress.short_line(lr, memory_mb))
        elif self._lines is not None:
            self._lines.item_done()
        elif self._cell is not None:
            self._cell.update(done, self.progress.short_line(lr, memory_mb))

    def _plain_line(self) -> str:
        progress = self.progress
        place = f"{progress.title}  {progress.first + progress.done}/{progress.batches}"
        if not progress.done:
            return f"{place}  the first batch takes long: {clock(time.monotonic() - progress.started)} so far"
        return f"{place}  {progress.line(self._lr, self._memory_mb)}"


@contextmanager
def showing(progress: EpochProgress, *, silent: bool = False) -> Iterator[EpochDisplay]:
    """Show the progress of one epoch while the block runs; `silent` where another process shows it."""
    display = EpochDisplay(progress, silent=silent)
    with display._bar or display._lines or display._cell or nullcontext():
        yield display
