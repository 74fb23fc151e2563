"""The training loop: one pass over it is `_step`, one epoch `_epoch`, the run `fit`."""

from __future__ import annotations

import dataclasses
import gc
import math
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch import Tensor, nn

from aerostat import console
from aerostat.data.augment import Augmentation
from aerostat.data.dataset import ImageRecord, Split
from aerostat.data.loader import Batch, TrainLoader
from aerostat.engines.pytorch import TorchEngine
from aerostat.errors import AerostatError, InputError, clause
from aerostat.evaluation.coco import CocoResult
from aerostat.evaluation.evaluate import evaluate
from aerostat.files import replacing
from aerostat.memory import kept_memory
from aerostat.model import RTMDet, detection_loss, normalise
from aerostat.model.checkpoint import Header, save_weights
from aerostat.model.folding import folded
from aerostat.model.training_state import load_state, save_state
from aerostat.predict import Detector
from aerostat.training.ema import ExponentialMovingAverage
from aerostat.training.interruption import InterruptedRunError, stop_requests
from aerostat.training.machine import memory_mb, thread_count
from aerostat.training.optimiser import build_optimiser, load_optimiser_state, set_training_mode
from aerostat.training.progress import EpochDisplay, EpochProgress, showing
from aerostat.training.recipe import Recipe
from aerostat.training.run import Run
from aerostat.training.schedule import lr_factor
from aerostat.training.transfer import Placed, placed

STEPS_UNREAD = 1
"""On a GPU the losses of a step are read while it works on the next one: reading them at once would wait."""
ITERATIONS_UNASKED = 16
"""Several processes agree so often whether one of them was asked to stop: that waits for all of them."""


@dataclass
class Position:
    """Where a run stands; all of it is in the checkpoint.

    Args:
        epoch: epochs finished.
        batch: iterations finished of the epoch after these.
        best_ap: best validation AP so far, -1 before the first.
        best_epoch: the epoch (counted from 1) that reached it.
        stale: validations since then.
        seconds: that the run has worked.
        stopped_early: whether patience ran out.
    """

    epoch: int = 0
    batch: int = 0
    best_ap: float = -1.0
    best_epoch: int = 0
    stale: int = 0
    seconds: float = 0.0
    stopped_early: bool = False


@dataclass(frozen=True, eq=False)
class Step:
    """What an iteration did; its losses may still be on their way from the device.

    Args:
        batch: what was learned from.
        number: of the iteration in its epoch, from 1.
        lr: learning rate.
        stepped: whether the optimiser stepped.
        losses: (3,) float32 in the host's memory, in the order of `LOSSES`; complete once `done` is.
        done: None where there is nothing to wait for.
    """

    batch: Batch
    number: int
    lr: float
    stepped: bool
    losses: Tensor
    done: torch.cuda.Event | None = None

    def read(self) -> dict[str, float]:
        """Return the losses by name, waiting for them if need be."""
        if self.done is not None:
            self.done.synchronize()
        return dict(zip(LOSSES, self.losses.tolist(), strict=True))


LOSSES = ("loss", "loss_cls", "loss_bbox")


class TrainedNetwork(nn.Module):
    """The network as it is trained: from images as the loader makes them to the raw outputs.

    A frozen backbone does not change during a run, so that its batch normalisation is folded into its
    convolutions once; nothing of it is kept for a backward pass.

    Args:
        net: in training mode.
    """

    def __init__(self, net: RTMDet) -> None:
        super().__init__()
        self.net = net
        self._frozen: list[nn.Module] = []  # in a list, so that it is no part of this module's state

    def forward(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Map BGR images (N, 3, H, W), 0-255, to the outputs of `RTMDet.forward`."""
        inputs = normalise(images).contiguous(memory_format=torch.channels_last)
        if self.net.backbone.training:
            cls, reg = self.net(inputs)
        else:
            with torch.no_grad():
                features = self._backbone()(inputs)
            cls, reg = self.net.bbox_head(self.net.neck(features))
        return cls, reg

    def forget(self) -> None:
        """Fold anew at the next use: the weights have been loaded."""
        self._frozen.clear()

    def _backbone(self) -> nn.Module:
        if not self._frozen:
            self._frozen.append(folded(self.net.backbone))
        return self._frozen[0]


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
    ) -> None:
        self.fabric, self.recipe, self.run, self.source = fabric, recipe, run, source
        self.classes, self.val_split = train_split.classes, val_split
        self.position = Position()
        self.last_result: CocoResult | None = None
        self._scored_at: tuple[int, int] | None = None
        self._unreadable: set[str] = set()
        self.loader = build_loader(train_split, recipe, fabric.global_rank, fabric.world_size)
        self.total = recipe.schedule.epochs * len(self.loader)
        set_training_mode(net, freeze_backbone=recipe.model.freeze == "backbone")
        net = net.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = ExponentialMovingAverage(
            net, momentum=recipe.schedule.ema_momentum, gamma=recipe.schedule.ema_gamma
        )
        optimiser = build_optimiser(net, lr=recipe.optim.lr, weight_decay=recipe.optim.weight_decay)
        self.net = net
        self.learner = TrainedNetwork(net)
        self.wrapped, self.optimiser = fabric.setup(self.learner, optimiser)
        self._unread: deque[Step] = deque()

    # ------------------------------------------------------------------------------------------ the loop

    def fit(self) -> Position:
        """Train to the end of the recipe, or until patience runs out.

        Raises:
            InterruptedRunError: if a signal asked to stop; the state is saved.
            AerostatError: on a loss that is not finite; the batch is saved and named.
        """
        schedule, position = self.recipe.schedule, self.position
        began = time.monotonic() - position.seconds
        with stop_requests() as requested, kept_memory(), _settled_objects():
            while position.epoch < schedule.epochs and not position.stopped_early:
                asked = self._epoch(position.epoch, requested)
                position.seconds = time.monotonic() - began
                self._require_finite_weights()
                if asked:
                    self._leave(asked)
                position.epoch, position.batch = position.epoch + 1, 0
                last = position.epoch == schedule.epochs
                if self.val_split and (last or position.epoch % self.recipe.eval.interval == 0):
                    self._validate(self.val_split)
                    position.stopped_early = 0 < schedule.patience <= position.stale
                position.seconds = time.monotonic() - began
                self.save()
                asked = self._agreed(requested)
                if asked and not (last or position.stopped_early):
                    self._leave(asked)
        return position

    def _epoch(self, epoch: int, requested: list[int]) -> int:
        """Work through the rest of an epoch; returns the signal that asked to stop within it, 0 for none."""
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
            closing(placed(made, self.fabric.device)) as batches,
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
            console.note(f"{progress.title}  {progress.line(step.lr, memory_mb(self.fabric.device))}")
        return 0

    def _step(self, batch: Placed, epoch: int) -> Step:
        """Learn from one batch; on a GPU nothing here waits for it."""
        optim = self.recipe.optim
        lr = self._lr(epoch * len(self.loader) + self.position.batch)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        cls, reg = self.wrapped(batch.images)
        losses = detection_loss(
            cls,
            reg,
            batch.boxes,
            batch.labels,
            average=self._average if self.fabric.world_size > 1 else None,
        )
        loss = losses["loss_cls"] + losses["loss_bbox"]
        place = self.position.batch % optim.accumulate
        left = len(self.loader) - (self.position.batch - place)
        group = min(optim.accumulate, left)  # the last group of an epoch may be smaller
        self.fabric.backward(loss / group)
        stepped = place + 1 == group
        if stepped:
            if optim.clip_grad_norm > 0:
                self.fabric.clip_gradients(
                    self.wrapped, self.optimiser, max_norm=optim.clip_grad_norm, error_if_nonfinite=False
                )
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
            self.ema.update(self.net)
        values = torch.stack([loss, losses["loss_cls"], losses["loss_bbox"]]).detach()
        return Step(batch.batch, self.position.batch + 1, lr, stepped, *_on_its_way(values))

    def _read(self, epoch: int, progress: EpochProgress, display: EpochDisplay, leave: int = 0) -> None:
        """Read the losses of all but the last `leave` steps and log them; stop on one that is no number."""
        while len(self._unread) > leave:
            step = self._unread.popleft()
            losses = step.read()
            if not math.isfinite(losses["loss"]):
                self._refuse(step, losses)
            progress.add(losses, len(step.batch.images) * self.fabric.world_size)
            display.update(step.lr, memory_mb(self.fabric.device))
            self._log_iteration(epoch, step, losses, progress)

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

    def _validate(self, split: Split) -> None:
        """Score the averaged weights; keep them as the best ones if they are."""
        recipe, position = self.recipe, self.position
        if self.fabric.is_global_zero:
            size = (recipe.data.input_size, recipe.data.input_size)
            result = evaluate(
                Detector(TorchEngine(self.ema.net), self.classes, size),
                split,
                score_threshold=recipe.eval.score_threshold,
                nms_iou=recipe.eval.nms_iou,
                max_detections=recipe.eval.max_detections,
                batch_size=recipe.eval.batch_size,
                threads=thread_count(recipe),
                on_unreadable=self._leave_out,
            )
            self.last_result, self._scored_at = result, (position.epoch, position.batch)
            figures = result.to_dict()
            per_class = {row["name"]: row["ap"] for row in figures.pop("per_class")}
            self._log({"kind": "val", "epoch": position.epoch, **figures, "per_class": per_class})
            better = result.ap > position.best_ap
            if better:
                position.best_ap, position.best_epoch, position.stale = result.ap, position.epoch, 0
                self._save_weights(best=True)
            else:
                position.stale += 1
            mark = (
                "  best so far" if better else f"  (best {position.best_ap:.3f}, epoch {position.best_epoch})"
            )
            console.note(
                f"  validation  AP {result.ap:.3f}  AP50 {result.ap50:.3f}  AP75 {result.ap75:.3f}{mark}"
            )
        self.fabric.barrier()
        position.stale = self.fabric.broadcast(position.stale)

    def _leave_out(self, record: ImageRecord, error: InputError) -> None:
        """Go on without a photograph that cannot be read, as training does: hours of work hang on it."""
        if record.file_name not in self._unreadable:
            self._unreadable.add(record.file_name)
            console.note(f"validation leaves out {record.file_name}: {clause(error)}")

    # ------------------------------------------------------------------------------------------ state

    def save(self) -> None:
        """Write the averaged weights, then the whole state, each whole or not at all."""
        if not self.fabric.is_global_zero:
            return
        self._save_weights(best=False)
        save_state(
            self.run.checkpoint,
            {
                "net": self.net.state_dict(),
                "ema": self.ema.net.state_dict(),
                "ema_updates": self.ema.updates,
                "optimiser": self.optimiser.state_dict(),
                "precision": self.fabric.strategy.precision.state_dict(),
                "torch_random_state": torch.get_rng_state(),
                "position": dataclasses.asdict(self.position),
                "recipe": self.recipe.to_dict(),
                "classes": list(self.classes),
                "train_images": len(self.loader.images),
                "source": self.source,
            },
        )

    def restore(self) -> None:
        """Go on from the run's checkpoint."""
        state = load_state(self.run.checkpoint)
        self.net.load_state_dict(state["net"])
        self.learner.forget()
        self.ema.net.load_state_dict(state["ema"])
        self.ema.updates = state["ema_updates"]
        load_optimiser_state(self.optimiser.optimizer, state["optimiser"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        torch.set_rng_state(state["torch_random_state"])
        self.position = Position(**state["position"])
        if self.fabric.is_global_zero:
            self.run.cut_metrics(self.position.epoch + 1, self.position.batch + 1)
        self.fabric.barrier()  # nothing is written anew before every process has read

    def _save_weights(self, *, best: bool) -> None:
        size = self.recipe.data.input_size
        # Figures of an earlier epoch are none of these weights'.
        at = (self.position.epoch, self.position.batch)
        result = self.last_result if self._scored_at == at else None
        figures = {k: v for k, v in result.to_dict().items() if isinstance(v, float | int)} if result else {}
        header = Header(
            size=self.recipe.model.size,
            classes=self.classes,
            input_size=(size, size),
            recipe=self.recipe.to_dict(),
            metrics={"epoch": self.position.epoch, **figures},
        )
        save_weights(self.run.best if best else self.run.last, self.ema.net.state_dict(), header)

    def _leave(self, signal_number: int) -> None:
        self.save()
        self.fabric.barrier()  # a process that ends takes the others with it
        position, name = self.position, signal.Signals(signal_number).name
        place = f"after epoch {position.epoch}"
        if position.batch:
            place = f"in epoch {position.epoch + 1}, after iteration {position.batch} of {len(self.loader)}"
        raise InterruptedRunError(
            f"Stopped by {name} {place}; the state is saved; go on with: {self.run.resume_command}",
            signal_number,
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

    def _refuse(self, step: Step, losses: dict[str, float]) -> None:
        """Save the batch that gave a loss that is no number, and stop; nothing is saved of the weights."""
        self._unread.clear()
        batch = step.batch
        path = self.run.path / f"nonfinite_batch_rank{self.fabric.global_rank}.safetensors"
        tensors = {"images": batch.images.contiguous()}
        for i, (boxes, labels) in enumerate(zip(batch.boxes, batch.labels, strict=True)):
            tensors |= {f"boxes.{i}": boxes, f"labels.{i}": labels}
        with replacing(path) as temporary:
            save_file(tensors, temporary, {"file_names": "\n".join(batch.file_names)})
        values = ", ".join(f"{name} {losses[name]}" for name in LOSSES[1:])
        names = ", ".join(batch.file_names[:3]) + (", ..." if len(batch.file_names) > 3 else "")
        raise AerostatError(
            f"The loss is not finite ({values}) in epoch {self.position.epoch + 1}, iteration "
            f"{step.number}; the batch ({names}) is in {path}; "
            "try a lower learning rate, or check these images."
        )

    # ------------------------------------------------------------------------------------------ records

    def _log(self, record: dict[str, Any]) -> None:
        if self.fabric.is_global_zero:
            self.run.log(record)

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


def _on_its_way(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Return values in the host's memory, and what to wait for before they are read."""
    if values.device.type != "cuda":
        return values.cpu(), None
    landing = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    landing.copy_(values, non_blocking=True)
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record()
    return landing, done


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
        ),
        batch_size=math.ceil(recipe.optim.batch_size / world_size),
        seed=recipe.run.seed,
        threads=thread_count(recipe),
        cache_bytes=recipe.data.cache_mb << 20,
        rank=rank,
        world_size=world_size,
    )
