"""The training loop: epochs, validation, stopping.

`step.py` makes one step, `epoch_log.py` reads its losses, `validation.py` validates, `checkpoints.py` saves
and restores the state, `loggers.py` takes the records.
"""

from __future__ import annotations

import gc
import logging
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from lightning_fabric import Fabric

from aerostat.datasets.records import Split
from aerostat.errors import AerostatError
from aerostat.evaluation.coco import CocoResult
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.model import RTMDet
from aerostat.pipeline.loader import TrainLoader
from aerostat.pipeline.policy import Augmentation
from aerostat.processes.exchange import Processes
from aerostat.training.checkpoints import Checkpoints
from aerostat.training.device import to_device
from aerostat.training.epoch_log import EpochLog
from aerostat.training.glibc import kept_memory
from aerostat.training.job import Job
from aerostat.training.loggers import Loggers, MetricsFile
from aerostat.training.logs.pictures import examples_of
from aerostat.training.machine import memory_mb, thread_count
from aerostat.training.monitor import Monitor
from aerostat.training.position import Position
from aerostat.training.progress import EpochProgress, showing
from aerostat.training.recipe import Recipe
from aerostat.training.schedule import lr_factor
from aerostat.training.signals import InterruptedRunError, stop_requests
from aerostat.training.step import Learner, Losses, batch_losses
from aerostat.training.validation import Validation, Validator, score

_log = logging.getLogger(__name__)

ITERATIONS_PER_AGREEMENT = 16
"""Several processes ask each other this often whether to stop, because each waits for all others then."""


MASK_FIGURES = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
"""Figures of masks that a record holds beside those of boxes, as ``mask_ap`` and so on."""


def flat_figures(result: CocoResult) -> dict[str, Any]:
    """Return a result as JSON values, with the figures of masks beside those of boxes."""
    figures = result.to_dict()
    of_masks = figures.pop("masks", {})
    return figures | {f"mask_{name}": of_masks[name] for name in MASK_FIGURES if of_masks}


def primary_ap(result: CocoResult) -> float:
    """Return the AP that decides which weights are the best: that of masks if there are masks."""
    return result.ap if result.masks is None else result.masks.ap


class Trainer:
    """Trains a network on one split and validates its averaged weights on another.

    Args:
        fabric: launched.
        net: in the weights that the run starts from.
        job: what the run works on.
        losses: returns the losses of a batch by name.
    """

    def __init__(self, fabric: Fabric, net: RTMDet, job: Job, *, losses: Losses = batch_losses) -> None:
        self.fabric, self.job, self.processes = fabric, job, Processes(fabric)
        self.position, self.monitor = Position(), Monitor(commands=job.commands)
        self.result: CocoResult | None = None
        """The last validation's figures; None before it."""
        self._scored_at: tuple[int, int] | None = None
        self._unreadable: set[str] = set()
        self.loader = build_loader(job.train_split, job.recipe, self.processes)
        metrics = MetricsFile(job.run)
        self.loggers = Loggers(job.run, job.recipe, (metrics, *job.loggers), active=fabric.is_global_zero)
        self.learner = Learner(fabric, net, job.recipe, warn=self._warn_of_iteration, losses=losses)
        self.checkpoints = Checkpoints(fabric, job, self.learner, metrics, iterations=len(self.loader))

    def begin(self) -> None:
        """Write the state before the first iteration.

        Raises:
            AerostatError: it cannot be written.
        """
        self.checkpoints.begin(self.position, self.monitor)

    def restore(self) -> None:
        """Resume from the checkpoint of the run."""
        self.position, self.monitor = self.checkpoints.restore()

    # ------------------------------------------------------------------------------------------ the loop

    def fit(self) -> Position:
        """Train to the end of the recipe, or until patience runs out.

        Raises:
            InterruptedRunError: a signal asked to stop; the state is saved.
            AerostatError: a loss is not finite, or gradients are not several times in a row; the batch is
                saved and named. Also if the last state could not be saved.
        """
        began = time.monotonic() - self.position.seconds
        with stop_requests() as requested, kept_memory(), _objects_frozen():
            while not self.position.ended(self.job.recipe.schedule.epochs):
                number = 0 if self.position.unvalidated else self._train_epoch(requested)
                self.position.seconds = time.monotonic() - began
                if not number and self.position.unvalidated and self.job.val_split:
                    number = self._validate(self.job.val_split, requested)
                    self.position.seconds = time.monotonic() - began
                if number:
                    self._leave(number)
                self.position.unvalidated = False
                self.save()
                number = self.processes.agreed_signal(requested)
                if number and not self.position.ended(self.job.recipe.schedule.epochs):
                    self._leave(number)
        self.checkpoints.saver.require_saved()
        return self.position

    def _train_epoch(self, requested: list[int]) -> int:
        """Learn from the rest of an epoch; returns the signal that asked to stop within it, else 0."""
        position, recipe, iterations = self.position, self.job.recipe, len(self.loader)
        epoch, first = position.epoch, position.batch
        self.learner.freeze_backbone(recipe.freezes_backbone(epoch))
        stage = 2 if epoch >= recipe.schedule.stage2_epoch else 1
        # A run that was stopped after the last iteration of an epoch has nothing left of it.
        number = self._learn_from(epoch, stage, requested) if first < iterations else 0
        if not self.learner.weights_are_finite():
            run = self.job.run
            saved = f"; the state before this epoch is in {run.checkpoint}" * run.checkpoint.is_file()
            raise AerostatError(
                f"The weights are not finite after epoch {epoch + 1}{saved}; try a lower learning rate."
            )
        if not number:
            position.epoch, position.batch = epoch + 1, 0
            due = recipe.is_validated(position.epoch)
            position.unvalidated = due and self.job.val_split is not None
        return number

    def _learn_from(self, epoch: int, stage: int, requested: list[int]) -> int:
        """Learn from the batches of an epoch; returns the signal that asked to stop within it, else 0."""
        position, recipe, iterations = self.position, self.job.recipe, len(self.loader)
        first = position.batch
        if stage == 2 and epoch == recipe.schedule.stage2_epoch and first == 0:
            self.loggers.log({"kind": "stage", "epoch": epoch + 1, "stage": 2})
        progress = EpochProgress(
            title=f"epoch {epoch + 1}/{recipe.schedule.epochs}",
            batches=iterations,
            first=first,
            remaining=(recipe.schedule.epochs - epoch - 1) * iterations,
        )
        batches = self.loader.epoch(epoch, stage, start_batch=first)
        with (
            showing(progress, silent=not self.fabric.is_global_zero) as display,
            closing(to_device(batches, self.fabric.device)) as placed,
        ):
            log = EpochLog(
                epoch + 1,
                progress,
                display,
                monitor=self.monitor,
                loggers=self.loggers,
                fabric=self.fabric,
                run=self.job.run,
                log_interval=recipe.run.log_interval,
            )
            for batch in placed:
                lr = self._lr(epoch * iterations + position.batch)
                step = self.learner.learn(batch, lr=lr, iteration=position.batch, iterations=iterations)
                position.batch += 1
                log.add(step)
                if step.stepped and (number := self._agreed_within_epoch(requested)):
                    log.read()
                    return number
            log.read()
        if self.fabric.is_global_zero:
            _log.info(f"{progress.title}  {progress.line(step.lr, memory_mb(self.fabric.device))}")
        return 0

    def _lr(self, iteration: int) -> float:
        schedule = self.job.recipe.schedule
        return self.job.recipe.optim.lr * lr_factor(
            iteration,
            schedule.epochs * len(self.loader),
            warmup_iterations=schedule.warmup_iterations,
            warmup_factor=schedule.warmup_factor,
            cosine_start=schedule.cosine_start,
            final_lr_factor=schedule.final_lr_factor,
        )

    def _agreed_within_epoch(self, requested: list[int]) -> int:
        """Return the signal to stop at within an epoch, else 0."""
        if self.processes.count > 1 and self.position.batch % ITERATIONS_PER_AGREEMENT:
            return 0
        return self.processes.agreed_signal(requested)

    # ---------------------------------------------------------------------------------------- validation

    def _validate(self, split: Split, requested: list[int]) -> int:
        """Score the averaged weights; returns the signal that asked to stop, else 0."""
        recipe, net = self.job.recipe, self.learner.ema.net
        # Only the first process's batch norm statistics are saved, so all validate those.
        self.processes.copy_from_first([*net.parameters(), *net.buffers()])
        size = (recipe.data.input_size, recipe.data.input_size)
        validator = Validator(
            Detector(TorchEngine(net), self.job.classes, size),
            split,
            recipe.eval,
            threads=thread_count(recipe, self.processes.on_this_machine),
            processes=self.processes,
            requested=requested,
            slices=recipe.data.slices,
            overlap=recipe.data.overlap,
        )
        share = validator.detect()
        if share is None:
            return self.processes.agreed_signal(requested)
        if self.fabric.is_global_zero:
            for place, why in sorted(share.unreadable.items()):
                self._leave_out(split.images[place].file_name, why)
            self.record(score(share, split, all_objects=bool(recipe.data.slices)))
            if self.loggers.take_pictures:
                self.loggers.show(examples_of(split, share.detections))
        position = self.position
        position.stale, position.stopped_early = self.fabric.broadcast(
            (position.stale, position.stopped_early)
        )
        return 0

    def record(self, validation: Validation) -> None:
        """Log what a validation found, and remember whether these are the best weights so far."""
        position, result, recipe = self.position, validation.result, self.job.recipe
        self.result, self._scored_at = result, position.place
        figures = flat_figures(result)
        per_class = {row["name"]: row["ap"] for row in figures.pop("per_class")}
        self.loggers.log({"kind": "val", "epoch": position.epoch, **figures, "per_class": per_class})
        best = position.see_ap(primary_ap(result), patience=recipe.schedule.patience)
        mark = "  best so far" if best else f"  (best {position.best_ap:.3f}, epoch {position.best_epoch})"
        masks = f"  mask AP {result.masks.ap:.3f}" if result.masks is not None else ""
        _log.info(
            f"  validation  AP {result.ap:.3f}  AP50 {result.ap50:.3f}  AP75 {result.ap75:.3f}{masks}{mark}"
        )
        for text in self.monitor.see_validation(
            best_ap=max(position.best_ap, result.ap),  # masks begin later than boxes
            same_scores=validation.same_scores,
            share=position.epoch / recipe.schedule.epochs,
            fresh=not recipe.model.weights,
            origin=self.job.origin,
        ):
            self.loggers.warn(text, epoch=position.epoch)

    def _leave_out(self, file_name: str, why: str) -> None:
        """Tell of an image that cannot be read, once; an unreadable image does not end a run."""
        if file_name not in self._unreadable:
            self._unreadable.add(file_name)
            _log.info(f"validation leaves out {file_name}: {why}")

    # ---------------------------------------------------------------------------------- saving and leaving

    def save(self) -> None:
        """Write the whole state and the averaged weights; where that fails it is tried again later."""
        position = self.position
        scored = self._scored_at == position.place
        self.checkpoints.save(
            position, self.monitor, self.figures, best=scored and position.best_epoch == position.epoch
        )

    @property
    def figures(self) -> dict[str, float]:
        """What validation found of the present weights, empty if they were not validated."""
        result = self.result if self._scored_at == self.position.place else None
        if result is None:
            return {}
        return {k: v for k, v in flat_figures(result).items() if isinstance(v, float | int)}

    def _leave(self, signal_number: int) -> None:
        """Save the state and end the process."""
        self.save()
        self.fabric.barrier()  # a process that ends takes the others with it
        if not self.fabric.is_global_zero:
            # With another code Fabric would kill the first process, were that one not quicker to end.
            raise SystemExit(0)
        position, saver = self.position, self.checkpoints.saver
        place = f"after epoch {position.epoch}" + ", before its validation" * position.unvalidated
        if position.batch:
            place = f"in epoch {position.epoch + 1}, after iteration {position.batch} of {len(self.loader)}"
        state = "the state is saved"
        if saver.failure:
            newest = f"that of {saver.saved or 'nothing'} is whole"
            state = f"the state could not be saved ({saver.failure}), but {newest}"
        raise InterruptedRunError(
            f"Stopped by {signal.Signals(signal_number).name} {place}; {state}.",
            signal_number,
            self.job.commands.resume(self.job.run.path),
        )

    def _warn_of_iteration(self, text: str, iteration: int) -> None:
        self.loggers.warn(text, epoch=self.position.epoch + 1, iteration=iteration)


@contextmanager
def _objects_frozen() -> Iterator[None]:
    """Let the garbage collector pass over all present objects; it would walk through them every few steps."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def build_loader(split: Split, recipe: Recipe, processes: Processes | None = None) -> TrainLoader:
    """Return the training batches that a recipe describes.

    Args:
        split: to learn from.
        recipe: resolved.
        processes: each takes its part of every batch; None for one process.
    """
    a = recipe.augment
    return TrainLoader(
        split.images,
        augmentation=Augmentation(
            input_size=recipe.data.input_size,
            mosaic=a.mosaic,
            mixup=a.mixup,
            resize_ratio=a.resize_ratio,
            hsv_delta=(a.hue, a.saturation, a.value),
            flip=a.flip,
            mosaic_cache=a.mosaic_cache,
            mixup_cache=a.mixup_cache,
            copy_paste=a.copy_paste,
            mask_stride=recipe.optim.mask_loss_stride if recipe.model.masks else None,
            windows=(recipe.data.slices, recipe.data.overlap) if recipe.data.slices else None,
        ),
        batch_size=recipe.optim.batch_size,
        seed=recipe.run.seed,
        threads=thread_count(recipe, processes.on_this_machine if processes else 1),
        cache_bytes=(recipe.data.cache_mb << 20) // (processes.on_this_machine if processes else 1),
        rank=processes.rank if processes else 0,
        world_size=processes.count if processes else 1,
    )
