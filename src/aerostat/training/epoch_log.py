"""The iterations of an epoch once their losses are known: checked, shown, and logged."""

from __future__ import annotations

import math
from collections import deque
from typing import NoReturn

from lightning_fabric import Fabric

from aerostat.errors import AerostatError
from aerostat.runs.directory import Run
from aerostat.text import counted
from aerostat.training.loggers import Loggers
from aerostat.training.machine import memory_mb
from aerostat.training.monitor import Monitor
from aerostat.training.progress import EpochDisplay, EpochProgress
from aerostat.training.step import TOTAL, Step
from aerostat.weights.container import write_safetensors

STEPS_UNREAD = 1
"""On a GPU the losses of a step are read while it works on the next one, because reading waits for it."""


class EpochLog:
    """Reads the losses of an epoch's iterations, in order, and passes them on.

    Args:
        epoch: counted from 1.
        progress: counts the iterations.
        display: shows them.
        monitor: looks for what is conspicuous.
        loggers: take a record of each iteration.
        fabric: of the run.
        run: where a batch is saved whose loss is not finite.
        log_interval: iterations between records; the last iteration of an epoch is always logged.
    """

    def __init__(
        self,
        epoch: int,
        progress: EpochProgress,
        display: EpochDisplay,
        *,
        monitor: Monitor,
        loggers: Loggers,
        fabric: Fabric,
        run: Run,
        log_interval: int,
    ) -> None:
        self.epoch, self.progress, self.display = epoch, progress, display
        self.monitor, self.loggers, self.fabric, self.run = monitor, loggers, fabric, run
        self.log_interval = log_interval
        self._unread: deque[Step] = deque()

    def add(self, step: Step) -> None:
        """Take a step, and read all that need not be waited for.

        Raises:
            AerostatError: a loss is not finite, or gradients are not several times in a row; the batch is
                saved and named.
        """
        self._unread.append(step)
        self.read(leave=STEPS_UNREAD if self.fabric.device.type == "cuda" else 0)

    def read(self, leave: int = 0) -> None:
        """Read the losses of all steps but the last `leave`.

        Raises:
            AerostatError: as `add`.
        """
        while len(self._unread) > leave:
            step = self._unread.popleft()
            losses = step.read()
            self._check(step, losses)
            self.progress.add(losses, step.images)
            self.display.update(step.lr, memory_mb(self.fabric.device))
            self._log(step, losses)

    def _check(self, step: Step, losses: dict[str, float]) -> None:
        """Warn of what is conspicuous; stop where nothing will be learned any more."""
        if not math.isfinite(losses[TOTAL]):
            values = ", ".join(f"{name} {value}" for name, value in losses.items() if name != TOTAL)
            self._refuse(step, f"The loss is not finite ({values})")
        names = step.batch.file_names
        if jump := self.monitor.see_loss(losses[TOTAL], names):
            self.loggers.warn(jump, epoch=self.epoch, iteration=step.number)
        if step.stepped and (left_out := self.monitor.see_gradients(step.finite, names)):
            self.loggers.warn(left_out, epoch=self.epoch, iteration=step.number)
            if self.monitor.hopeless:
                count = counted(self.monitor.skipped, "step")
                self._refuse(step, f"Gradients are not finite for {count} in a row, the last")

    def _log(self, step: Step, losses: dict[str, float]) -> None:
        iterations = self.progress.batches
        if step.number % self.log_interval and step.number != iterations:
            return
        self.loggers.log(
            {
                "kind": "train",
                "epoch": self.epoch,
                "batch": step.number,
                "iteration": (self.epoch - 1) * iterations + step.number,
                **losses,
                "lr": step.lr,
                "images_per_second": round(self.progress.images_per_second, 2),
                "memory_mb": round(memory_mb(self.fabric.device), 1),
            }
        )

    def _refuse(self, step: Step, what: str) -> NoReturn:
        """Save the batch of a step, and stop. The weights are not saved."""
        self._unread.clear()
        batch = step.batch
        path = self.run.path / f"nonfinite_batch_rank{self.fabric.global_rank}.safetensors"
        tensors = {"images": batch.images.contiguous()}
        for i, (boxes, labels) in enumerate(zip(batch.boxes, batch.labels, strict=True)):
            tensors |= {f"boxes.{i}": boxes, f"labels.{i}": labels}
        try:
            write_safetensors(path, tensors, {"file_names": "\n".join(batch.file_names)})
            where = f"is in {path}"
        except OSError as error:
            where = f"could not be saved: {error.strerror or error}"
        names = ", ".join(batch.file_names[:3]) + (", ..." if len(batch.file_names) > 3 else "")
        raise AerostatError(
            f"{what} in epoch {self.epoch}, iteration {step.number}; the batch ({names}) {where}; "
            "try a lower learning rate, or check these images."
        )
