"""The training loop: one pass over it is `_step`, one epoch `_epoch`, the run `fit`."""

from __future__ import annotations

import dataclasses
import gc
import logging
import math
import shlex
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from aerostat.datasets.records import ImageRecord, Split
from aerostat.errors import AerostatError, InputError, clause
from aerostat.evaluation.coco import CocoResult
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.model import RTMDet, detection_loss
from aerostat.pipeline.loader import TrainLoader
from aerostat.pipeline.policy import Augmentation
from aerostat.runs.directory import Run
from aerostat.text import counted
from aerostat.training.checkpoints import Saver, Weights
from aerostat.training.device import DeviceBatch, to_device
from aerostat.training.ema import ExponentialMovingAverage
from aerostat.training.glibc import kept_memory
from aerostat.training.machine import memory_mb, thread_count
from aerostat.training.monitor import Monitor
from aerostat.training.oom import in_parts, is_out_of_memory
from aerostat.training.optimiser import build_optimiser, load_optimiser_state, set_training_mode
from aerostat.training.position import Position
from aerostat.training.progress import EpochDisplay, EpochProgress, showing
from aerostat.training.recipe import Recipe
from aerostat.training.resume_checks import Fingerprint, made_with
from aerostat.training.schedule import lr_factor
from aerostat.training.signals import InterruptedRunError, stop_requests
from aerostat.training.step import LOSSES, Step, TrainedNetwork, on_its_way
from aerostat.training.validation import Validation, validate
from aerostat.weights.checkpoint import Header, read_header, save_weights
from aerostat.weights.container import write_safetensors
from aerostat.weights.training_state import load_state

_log = logging.getLogger(__name__)

STEPS_UNREAD = 1
"""On a GPU the losses of a step are read while it works on the next one: reading them at once would wait."""
ITERATIONS_UNASKED = 16
"""Several processes agree so often whether one of them was asked to stop: that waits for all of them."""


class Trainer:
    """Trains a network on one split and validates its averaged weights on another.

    Args:
        fabric: launched.
        net: in the weights that the run starts from.
        train_split: what is learned from.
        val_split: what is validated on; None for no validation.
        recipe: resolved.
        run: directory that exists.
        source: what else the checkpoint shall remember (where the data came from).
        papers: texts that belong into the directory besides, by their place.
    """

    def __init__(
        self,
        fabric: Fabric,
        net: RTMDet,
        train_split: Split,
        val_split: Split | None,
        *,
        recipe: Recipe,
        run: Run,
        source: dict[str, Any],
        papers: Mapping[Path, str] | None = None,
    ) -> None:
        self.fabric, self.recipe, self.run, self.source = fabric, recipe, run, source
        self.classes, self.train_split, self.val_split = train_split.classes, train_split, val_split
        self.position, self.monitor, self.saver = Position(), Monitor(), Saver(run, papers)
        self.fingerprint = {
            "train": Fingerprint.of(train_split).state(),
            "val": Fingerprint.of(val_split).state() if val_split else None,
        }
        self.made_with = made_with(fabric.device)
        self.last_result: CocoResult | None = None
        self._scored_at: tuple[int, int] | None = None
        self._unreadable: set[str] = set()
        self.loader = build_loader(train_split, recipe, fabric.global_rank, fabric.world_size)
        self.total = recipe.schedule.epochs * len(self.loader)
        set_training_mode(net, freeze_backbone=self._freezes(recipe.schedule.epochs - 1))
        net = net.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = ExponentialMovingAverage(
            net, momentum=recipe.schedule.ema_momentum, gamma=recipe.schedule.ema_gamma
        )
        optimiser = build_optimiser(
            net,
            lr=recipe.optim.lr,
            weight_decay=recipe.optim.weight_decay,
            backbone_lr_factor=recipe.optim.backbone_lr_factor,
        )
        self.net = net
        self.learner = TrainedNetwork(net)
        self.wrapped, self.optimiser = fabric.setup(self.learner, optimiser)
        self._unread: deque[Step] = deque()
        self._parts = 1  # in which a batch goes through the network
        self._group: list[DeviceBatch] = []  # whose gradients have been added up since the last step

    # ------------------------------------------------------------------------------------------ the loop

    def fit(self) -> Position:
        """Train to the end of the recipe, or until patience runs out.

        Raises:
            InterruptedRunError: if a signal asked to stop; the state is saved.
            AerostatError: on a loss that is not finite, or gradients that are not several times in a row; the
                batch is saved and named. Also if the last state could not be saved.
        """
        position = self.position
        began = time.monotonic() - position.seconds
        with stop_requests() as requested, kept_memory(), _settled_objects():
            while not self.finished:
                asked = 0 if position.unvalidated else self._learn(requested)
                position.seconds = time.monotonic() - began
                if asked:
                    self._leave(asked)
                if position.unvalidated and self.val_split:
                    asked = self._validate(self.val_split, requested)
                    position.seconds = time.monotonic() - began
                    if asked:
                        self._leave(asked)
                position.unvalidated = False
                self.save()
                asked = self._agreed(requested)
                if asked and not self.finished:
                    self._leave(asked)
        self.saver.require_saved()
        return position

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to learn and to validate."""
        position = self.position
        ended = position.epoch >= self.recipe.schedule.epochs or position.stopped_early
        return ended and not position.unvalidated

    def _learn(self, requested: list[int]) -> int:
        """Finish an epoch, or leave off within it: returns the signal that asked to, 0 for none."""
        position, schedule = self.position, self.recipe.schedule
        asked = self._epoch(position.epoch, requested)
        self._require_finite_weights()
        if not asked:
            position.epoch, position.batch = position.epoch + 1, 0
            last = position.epoch == schedule.epochs
            due = last or position.epoch % self.recipe.eval.interval == 0
            position.unvalidated = due and self.val_split is not None
        return asked

    def _freezes(self, epoch: int) -> bool:
        """Return whether the backbone is frozen in an epoch, counted from 0."""
        schedule = self.recipe.schedule
        thawed = math.floor(schedule.epochs * schedule.freeze_share + 0.5)
        return self.recipe.model.freeze == "backbone" and epoch < thawed

    def _settle_freezing(self, epoch: int) -> None:
        frozen = self._freezes(epoch)
        if frozen == self.net.backbone.training:
            set_training_mode(self.net, freeze_backbone=frozen)
            self.learner.forget()
            self.ema.pair_anew()

    def _epoch(self, epoch: int, requested: list[int]) -> int:
        """Work through the rest of an epoch; returns the signal that asked to stop within it, 0 for none."""
        self._settle_freezing(epoch)
        stage = 2 if epoch >= self.recipe.schedule.stage2_epoch else 1
        first, position = self.position.batch, self.position
        if first == len(self.loader):  # stopped after its last iteration
            return 0
        if stage == 2 and epoch == self.recipe.schedule.stage2_epoch and first == 0:
            self._log({"kind": "stage", "epoch": epoch + 1, "stage": 2})
        progress = EpochProgress(
            title=f"epoch {epoch + 1}/{self.recipe.schedule.epochs}",
            batches=len(self.loader),
            first=first,
            remaining=self.total - (epoch + 1) * len(self.loader),
        )
        unread = STEPS_UNREAD if self.fabric.device.type == "cuda" else 0
        made = self.loader.epoch(epoch, stage, start_batch=first)
        with (
            showing(progress, silent=not self.fabric.is_global_zero) as display,
            closing(to_device(made, self.fabric.device)) as batches,
        ):
            for batch in batches:
                step = self._step(batch, epoch)
                self._unread.append(step)
                position.batch += 1
                self._read(epoch, progress, display, leave=unread)
                if step.stepped and (asked := self._agreed_within(requested)):
                    self._read(epoch, progress, display)
                    return asked
            self._read(epoch, progress, display)
        if self.fabric.is_global_zero:
            _log.info(f"{progress.title}  {progress.line(step.lr, memory_mb(self.fabric.device))}")
        return 0

    def _step(self, batch: DeviceBatch, epoch: int) -> Step:
        """Learn from one batch; on a GPU nothing here waits for it."""
        optim = self.recipe.optim
        lr = self._lr(epoch * len(self.loader) + self.position.batch)
        for group in self.optimiser.param_groups:
            group["lr"] = lr * group["lr_factor"]
        place = self.position.batch % optim.accumulate
        left = len(self.loader) - (self.position.batch - place)
        iterations = min(optim.accumulate, left)  # the last group of an epoch may be smaller
        losses = self._backward(batch, iterations)
        stepped = place + 1 == iterations
        broken = self._optimise() if stepped else losses.new_zeros(())
        values = torch.cat([losses, broken[None]])
        return Step(batch.batch, self.position.batch + 1, lr, stepped, *on_its_way(values))

    def _backward(self, batch: DeviceBatch, iterations: int) -> Tensor:
        """Add a batch's gradients to those of its group of so many iterations; returns its losses (3,).

        Where memory does not suffice the group is learned from again, in smaller parts from now on.
        """
        todo = [batch]
        while True:
            try:
                for each in todo:
                    losses = self._add_gradients(each, iterations)
                self._group.append(batch)
                return losses
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error)
            self._divide(batch, reason)  # not before the error is gone, which holds what it failed with
            todo = [*self._group, batch]

    def _add_gradients(self, batch: DeviceBatch, iterations: int) -> Tensor:
        total: Tensor | None = None
        for part in in_parts(batch, self._parts):
            cls, reg = self.wrapped(part.images)
            losses = detection_loss(
                cls,
                reg,
                part.boxes,
                part.labels,
                average=self._average if self.fabric.world_size > 1 else None,
            )
            loss = losses["loss_cls"] + losses["loss_bbox"]
            share = len(part.boxes) / len(batch.boxes)
            self.fabric.backward(loss * (share / iterations))
            values = torch.stack([loss, losses["loss_cls"], losses["loss_bbox"]]).detach() * share
            total = values if total is None else total + values
        assert total is not None
        return total

    def _divide(self, batch: DeviceBatch, reason: str) -> None:
        """Let batches go through the network in twice as many parts; what was added to gradients is lost."""
        size, side = len(batch.boxes), self.recipe.data.input_size
        self.optimiser.zero_grad(set_to_none=True)
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        before = math.ceil(size / self._parts)
        if self._parts >= size or self.fabric.world_size > 1:  # other processes wait for these gradients
            found = " ".join(reason.split())[:120].rstrip(".")
            raise AerostatError(
                f"Memory does not suffice for {counted(before, 'image')} of {side} px at a time ({found}); "
                "train with a smaller --batch-size, --input-size or model."
            )
        self._parts *= 2
        self._warn(
            f"memory does not suffice for {counted(before, 'image')} at a time: from here on "
            f"{math.ceil(size / self._parts)} go through the network at a time, and the optimiser steps "
            f"after as many as before ({size * self.recipe.optim.accumulate}), though batch normalisation "
            "sees fewer",
            self.position.batch + 1,
        )

    def _optimise(self) -> Tensor:
        """Step with the gradients of a group; returns 1 if they were not finite and the step was left out."""
        optim = self.recipe.optim
        broken = self._not_finite()
        if optim.clip_grad_norm > 0:
            self.fabric.clip_gradients(
                self.wrapped, self.optimiser, max_norm=optim.clip_grad_norm, error_if_nonfinite=False
            )
        if broken.device.type == "cuda":  # the fused step looks there, and then leaves all as it is
            self.optimiser.optimizer.found_inf = broken
        if broken.device.type != "cpu" or not broken:
            self.optimiser.step()
            self.ema.update(self.net)
        self.optimiser.zero_grad(set_to_none=True)
        self._group.clear()
        return broken

    def _not_finite(self) -> Tensor:
        """Return 1 (float32, on the device) if a gradient is not finite, else 0."""
        if self.recipe.optim.precision == "16-mixed":  # the scaler of the losses sees to it
            return torch.zeros((), device=self.fabric.device)
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        norms = torch._foreach_norm([p.grad for p in parameters if p.grad is not None])
        return 1 - torch.stack(norms).isfinite().all().float()

    def _read(self, epoch: int, progress: EpochProgress, display: EpochDisplay, leave: int = 0) -> None:
        """Read the losses of all but the last `leave` steps and log them; stop on one that is no number."""
        while len(self._unread) > leave:
            step = self._unread.popleft()
            losses = step.read()
            if not math.isfinite(losses["loss"]):
                values = ", ".join(f"{name} {losses[name]}" for name in LOSSES[1:])
                self._refuse(step, f"The loss is not finite ({values})")
            self._look_at(step, losses["loss"])
            progress.add(losses, len(step.batch.images) * self.fabric.world_size)
            display.update(step.lr, memory_mb(self.fabric.device))
            self._log_iteration(epoch, step, losses, progress)

    def _look_at(self, step: Step, loss: float) -> None:
        """Say what is conspicuous about an iteration; stop where nothing will be learned any more."""
        names = step.batch.file_names
        if jump := self.monitor.see_loss(loss, names):
            self._warn(jump, step.number)
        if step.stepped and (left_out := self.monitor.see_gradients(step.finite, names)):
            self._warn(left_out, step.number)
            if self.monitor.hopeless:
                count = counted(self.monitor.skipped, "step")
                self._refuse(step, f"Gradients are not finite for {count} in a row, the last")

    def _agreed_within(self, requested: list[int]) -> int:
        """Return the signal to stop at within an epoch; several processes ask each other now and then."""
        if self.fabric.world_size > 1 and self.position.batch % ITERATIONS_UNASKED:
            return 0
        return self._agreed(requested)

    def _lr(self, iteration: int) -> float:
        schedule = self.recipe.schedule
        return self.recipe.optim.lr * lr_factor(
            iteration,
            self.total,
            warmup_iterations=schedule.warmup_iterations,
            warmup_factor=schedule.warmup_factor,
            cosine_start=schedule.cosine_start,
            final_lr_factor=schedule.final_lr_factor,
        )

    def _agreed(self, requested: list[int]) -> int:
        """Return the signal that any process was sent, else 0: none may leave while others wait for it."""
        number = max(requested, default=0)
        if self.fabric.world_size == 1:
            return number
        sent = torch.tensor(number, device=self.fabric.device)
        every = self.fabric.all_gather(sent)
        assert isinstance(every, Tensor)
        return int(every.max())

    def _average(self, value: Tensor) -> Tensor:
        averaged = self.fabric.all_reduce(value, reduce_op="mean")
        assert isinstance(averaged, Tensor)
        return averaged

    def _validate(self, split: Split, requested: list[int]) -> int:
        """Score the averaged weights; returns the signal that asked to leave off, 0 for none."""
        recipe, position, asked = self.recipe, self.position, 0
        if self.fabric.is_global_zero:
            size = (recipe.data.input_size, recipe.data.input_size)
            found = validate(
                Detector(TorchEngine(self.ema.net), self.classes, size),
                split,
                score_threshold=recipe.eval.score_threshold,
                nms_iou=recipe.eval.nms_iou,
                max_detections=recipe.eval.max_detections,
                batch_size=recipe.eval.batch_size,
                threads=thread_count(recipe),
                on_unreadable=self._leave_out,
                stop=lambda: bool(requested),
            )
            if found is None:
                asked = requested[0]
            else:
                self._record(found)
        self.fabric.barrier()
        position.stale, position.stopped_early, asked = self.fabric.broadcast(
            (position.stale, position.stopped_early, asked)
        )
        return asked

    def _record(self, found: Validation) -> None:
        """Take down what a validation found, and whether these are the best weights so far."""
        position, result = self.position, found.result
        self.last_result, self._scored_at = result, (position.epoch, position.batch)
        figures = result.to_dict()
        per_class = {row["name"]: row["ap"] for row in figures.pop("per_class")}
        self._log({"kind": "val", "epoch": position.epoch, **figures, "per_class": per_class})
        better = result.ap > position.best_ap
        if better:
            position.best_ap, position.best_epoch, position.stale = result.ap, position.epoch, 0
        else:
            position.stale += 1
        position.stopped_early = 0 < self.recipe.schedule.patience <= position.stale
        mark = "  best so far" if better else f"  (best {position.best_ap:.3f}, epoch {position.best_epoch})"
        _log.info(f"  validation  AP {result.ap:.3f}  AP50 {result.ap50:.3f}  AP75 {result.ap75:.3f}{mark}")
        for text in self.monitor.see_validation(
            best_ap=position.best_ap,
            same_scores=found.same_scores,
            share=position.epoch / self.recipe.schedule.epochs,
            fresh=not self.recipe.model.weights,
            inspect=shlex.join(["aerostat", "inspect", str(self.source.get("path") or "DATA")]),
        ):
            self._warn(text)

    def _leave_out(self, record: ImageRecord, error: InputError) -> None:
        """Go on without a photograph that cannot be read, as training does: hours of work hang on it."""
        if record.file_name not in self._unreadable:
            self._unreadable.add(record.file_name)
            _log.info(f"validation leaves out {record.file_name}: {clause(error)}")

    # ------------------------------------------------------------------------------------------ state

    def save(self) -> None:
        """Write the whole state and the averaged weights; if that fails it is said, and tried again later."""
        if not self.fabric.is_global_zero:
            return
        position = self.position
        best = self._scored_at == (position.epoch, position.batch) and position.best_epoch == position.epoch
        self.saver.save(self._state(), self._weights(), best=best, of=self._place)

    def _state(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(),
            "ema": self.ema.net.state_dict(),
            "ema_updates": self.ema.updates,
            "optimiser": self.optimiser.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "torch_random_state": torch.get_rng_state(),
            "position": dataclasses.asdict(self.position),
            "figures": self._figures(),
            "monitor": self.monitor.state(),
            "parts": self._parts,
            "recipe": self.recipe.to_dict(),
            "classes": list(self.classes),
            "train_images": len(self.loader.images),
            "fingerprint": self.fingerprint,
            "made_with": self.made_with,
            "source": self.source,
        }

    def begin(self) -> None:
        """Write the state before the first iteration, so that the run can be gone on with from there.

        Raises:
            AerostatError: if it cannot be written, before hours of work show it.
        """
        if self.fabric.is_global_zero:
            self.saver.save(self._state(), None, best=False, of=self._place)
            if self.saver.failure:
                raise AerostatError(
                    f"{self.run.path} cannot be written to ({self.saver.failure}), so nothing was trained; "
                    "make room, or choose another --out."
                )
        self.fabric.barrier()

    def restore(self) -> None:
        """Go on from the run's checkpoint, after mending what a process that died left behind it."""
        state = load_state(self.run.checkpoint)
        self.net.load_state_dict(state["net"])
        self.learner.forget()
        self.ema.net.load_state_dict(state["ema"])
        self.ema.updates = state["ema_updates"]
        load_optimiser_state(self.optimiser.optimizer, state["optimiser"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        torch.set_rng_state(state["torch_random_state"])
        self.position = Position(**state["position"])
        self.monitor = Monitor.of(state.get("monitor") or {})
        self._parts = state.get("parts", 1)
        self.saver.saved = self._place
        if self.fabric.is_global_zero:
            self.run.cut_metrics(self.position.epoch + 1, self.position.batch + 1)
            self._mend(state.get("figures") or {})
        self.fabric.barrier()  # nothing is written anew before every process has read

    def _mend(self, figures: Mapping[str, Any]) -> None:
        """Write what follows from the state and is missing or older: the state is written first."""
        position, weights = self.position, self._weights(figures)
        if position.epoch == position.batch == 0:
            return
        try:
            save_weights(self.run.last, *weights)
            if self.val_split is None or position.best_epoch == 0:
                return
            if position.best_epoch == position.epoch and not (position.batch or position.unvalidated):
                save_weights(self.run.best, *weights)
                return
        except OSError as error:
            _log.info(f"the weights in {self.run.path} could not be written: {error.strerror or error}")
        held = _epoch_and_ap(self.run.best)
        if held is None or held[0] < position.best_epoch:  # of a disk that was full, or removed by hand
            now = f"that of epoch {held[0]}" if held else "that of the next validation"
            _log.info(
                f"{self.run.best} is not that of epoch {position.best_epoch}, whose AP of "
                f"{position.best_ap:.3f} is the best so far; {now} takes its place"
            )
            position.best_epoch, position.best_ap = held or (0, -1.0)

    def _weights(self, figures: Mapping[str, Any] | None = None) -> Weights:
        """Return the averaged weights with what they are for."""
        size = self.recipe.data.input_size
        header = Header(
            size=self.recipe.model.size,
            classes=self.classes,
            input_size=(size, size),
            recipe=self.recipe.to_dict(),
            metrics={"epoch": self.position.epoch, **(self._figures() if figures is None else figures)},
        )
        return self.ema.net.state_dict(), header

    def _figures(self) -> dict[str, float]:
        """Return what validation found of these very weights, nothing if they were not validated."""
        at = (self.position.epoch, self.position.batch)
        result = self.last_result if self._scored_at == at else None
        return {k: v for k, v in result.to_dict().items() if isinstance(v, float | int)} if result else {}

    @property
    def _place(self) -> str:
        """Where the run stands, such as ``epoch 3``."""
        position = self.position
        if position.batch:
            return f"epoch {position.epoch + 1} up to iteration {position.batch} of {len(self.loader)}"
        if position.epoch == 0:
            return "the beginning"
        return f"epoch {position.epoch}" + " before its validation" * position.unvalidated

    def _leave(self, signal_number: int) -> None:
        self.save()
        self.fabric.barrier()  # a process that ends takes the others with it
        if not self.fabric.is_global_zero:
            # With another code Fabric would kill the first process, were that one not quicker to end.
            raise SystemExit(0)
        position, name = self.position, signal.Signals(signal_number).name
        place = f"after epoch {position.epoch}" + ", before its validation" * position.unvalidated
        if position.batch:
            place = f"in epoch {position.epoch + 1}, after iteration {position.batch} of {len(self.loader)}"
        state = "the state is saved"
        if self.saver.failure:
            newest = f"that of {self.saver.saved} is whole"
            state = f"the state could not be saved ({self.saver.failure}), but {newest}"
        raise InterruptedRunError(
            f"Stopped by {name} {place}; {state}.", signal_number, self.run.resume_command
        )

    def _require_finite_weights(self) -> None:
        """Stop before weights that are no numbers replace the last state that can be gone on from."""
        finite = torch.stack([p.detach().isfinite().all() for p in self.net.parameters()]).all()
        if not finite:
            saved = f"; the state before this epoch is in {self.run.checkpoint}"
            raise AerostatError(
                f"The weights are not finite after epoch {self.position.epoch + 1}"
                f"{saved if self.run.checkpoint.is_file() else ''}; try a lower learning rate."
            )

    def _refuse(self, step: Step, what: str) -> None:
        """Save the batch that gave what is no number, and stop; nothing is saved of the weights."""
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
            f"{what} in epoch {self.position.epoch + 1}, iteration {step.number}; the batch ({names}) "
            f"{where}; try a lower learning rate, or check these images."
        )

    # ------------------------------------------------------------------------------------------ records

    def _log(self, record: dict[str, Any]) -> None:
        if self.fabric.is_global_zero:
            self.saver.log(record)

    def _warn(self, text: str, iteration: int = 0) -> None:
        """Say something and take it down, about an iteration of the present epoch or about the last epoch."""
        if not self.fabric.is_global_zero:
            return
        epoch = self.position.epoch + (1 if iteration else 0)
        where = f"epoch {epoch}" + f", iteration {iteration}" * bool(iteration)
        _log.warning(f"{where}: {text}")
        record = {"kind": "warning", "epoch": epoch, "text": text}
        self._log({**record, "batch": iteration} if iteration else record)

    def _log_iteration(
        self, epoch: int, step: Step, losses: dict[str, float], progress: EpochProgress
    ) -> None:
        if step.number % self.recipe.run.log_interval and step.number != len(self.loader):
            return
        record = {
            "kind": "train",
            "epoch": epoch + 1,
            "batch": step.number,
            "iteration": epoch * len(self.loader) + step.number,
            **losses,
            "lr": step.lr,
            "images_per_second": round(progress.images_per_second, 2),
            "memory_mb": round(memory_mb(self.fabric.device), 1),
        }
        self._log(record)


def _epoch_and_ap(path: Path) -> tuple[int, float] | None:
    """Return which epoch's weights a file holds, and their AP; None if it holds none with such figures."""
    try:
        metrics = read_header(path).metrics
        return int(metrics["epoch"]), float(metrics["ap"])
    except (InputError, KeyError, TypeError, ValueError):
        return None


@contextmanager
def _settled_objects() -> Iterator[None]:
    """Spare the garbage collector what has long been there: it walked through all of it every few steps."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def build_loader(split: Split, recipe: Recipe, rank: int = 0, world_size: int = 1) -> TrainLoader:
    """Return the training batches that a recipe describes."""
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
        ),
        batch_size=math.ceil(recipe.optim.batch_size / world_size),
        seed=recipe.run.seed,
        threads=thread_count(recipe),
        cache_bytes=recipe.data.cache_mb << 20,
        rank=rank,
        world_size=world_size,
    )
