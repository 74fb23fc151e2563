"""One training step: losses by name, gradients, the optimiser, and what happens where one of them fails.

A new loss is one more entry of what `aerostat.model.loss.detection_loss` returns: a name that begins with
``loss_``, and a scalar that is already multiplied with its weight. The step adds all entries up. Progress,
``metrics.jsonl``, curves and loggers take the names from there.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor

from aerostat.errors import AerostatError
from aerostat.model import InstanceOutputs, Outputs, RTMDet, detection_loss, instance_loss
from aerostat.model.shared_norm import use_shared_norm
from aerostat.pipeline.loader import Batch
from aerostat.processes.exchange import Processes
from aerostat.text import counted
from aerostat.training.device import DeviceBatch
from aerostat.training.ema import ExponentialMovingAverage
from aerostat.training.network import TrainedNetwork
from aerostat.training.oom import in_parts, is_out_of_memory
from aerostat.training.optimiser import build_optimiser, set_training_mode
from aerostat.training.recipe import Recipe

TOTAL = "loss"
"""Name of the sum of all losses."""

Losses = Callable[..., Mapping[str, Tensor]]
"""Takes outputs, a batch and `total`, and returns the losses by name; see `batch_losses`."""


def batch_losses(
    outputs: Outputs, batch: DeviceBatch, *, total: Callable[[Tensor], Tensor] | None = None
) -> dict[str, Tensor]:
    """Return the losses of a batch by name; see `aerostat.model.loss`.

    Args:
        outputs: of the network.
        batch: with masks if the network has masks.
        total: adds a normaliser up over the processes of a run that has several.
    """
    if isinstance(outputs, InstanceOutputs):
        assert batch.masks is not None
        return instance_loss(outputs, batch.boxes, batch.labels, batch.masks, total=total)
    return detection_loss(*outputs, batch.boxes, batch.labels, total=total)


@dataclass(frozen=True, eq=False)
class Step:
    """What one iteration did. Its losses may still be on their way from the device.

    Args:
        batch: what was learned from in this process.
        images: that all processes learned from.
        number: of the iteration in its epoch, from 1.
        lr: learning rate.
        stepped: whether the optimiser stepped.
        names: of the losses, `TOTAL` first.
        values: (len(names) + 1,) float32 in the host's memory: the losses, then 1 if a gradient was not
            finite, else 0. They are complete once `done` is.
        done: event of the copy; None if there is nothing to wait for.
    """

    batch: Batch
    images: int
    number: int
    lr: float
    stepped: bool
    names: tuple[str, ...]
    values: Tensor
    done: torch.cuda.Event | None = None

    def read(self) -> dict[str, float]:
        """Return the losses by name. Waits for the device if necessary."""
        if self.done is not None:
            self.done.synchronize()
        return dict(zip(self.names, self.values[:-1].tolist(), strict=True))

    @property
    def finite(self) -> bool:
        """Whether all gradients were finite; known once the losses have been read."""
        return not self.values[-1]


class Learner:
    """A network in training with its optimiser and its average; makes one step at a time.

    Args:
        fabric: launched.
        net: in the weights that the run starts from.
        recipe: resolved.
        warn: takes a warning and the iteration that it is about.
        losses: returns the losses of a batch by name.
    """

    def __init__(
        self,
        fabric: Fabric,
        net: RTMDet,
        recipe: Recipe,
        *,
        warn: Callable[[str, int], None],
        losses: Losses = batch_losses,
    ) -> None:
        self.fabric, self.recipe, self.losses = fabric, recipe, losses
        self.parts = 1
        """Parts in which a batch goes through the network."""
        self._warn = warn
        self._processes = Processes(fabric)
        self._group: list[DeviceBatch] = []  # whose gradients have been added up since the last step
        set_training_mode(net, freeze_backbone=recipe.freezes_backbone(recipe.schedule.epochs - 1))
        self.net = net.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self._processes.count > 1:
            use_shared_norm(self.net)
        self.ema = ExponentialMovingAverage(
            self.net, momentum=recipe.schedule.ema_momentum, gamma=recipe.schedule.ema_gamma
        )
        optimiser = build_optimiser(
            self.net,
            lr=recipe.optim.lr,
            weight_decay=recipe.optim.weight_decay,
            backbone_lr_factor=recipe.optim.backbone_lr_factor,
            head_lr_factor=recipe.optim.head_lr_factor,
        )
        self.network = TrainedNetwork(self.net)
        self.wrapped, self.optimiser = fabric.setup(self.network, optimiser)

    def freeze_backbone(self, frozen: bool) -> None:
        """Freeze the backbone, or let it learn again; no change where it is so already."""
        if frozen == self.net.backbone.training:
            set_training_mode(self.net, freeze_backbone=frozen)
            self.network.forget_folded()
            self.ema.forget_pairs()

    def learn(self, batch: DeviceBatch, *, lr: float, iteration: int, iterations: int) -> Step:
        """Learn from one batch. On a GPU nothing here waits for the device.

        Args:
            batch: on the device.
            lr: learning rate.
            iteration: of the epoch, from 0.
            iterations: of the whole epoch in this process.

        Raises:
            AerostatError: not even one image at a time fits into memory.
        """
        accumulate = self.recipe.optim.accumulate
        for group in self.optimiser.param_groups:
            group["lr"] = lr * group["lr_factor"]
        place = iteration % accumulate
        # The last group of an epoch may be smaller.
        in_group = min(accumulate, iterations - (iteration - place))
        names, losses = self.add_gradients(batch, iteration + 1, in_group)
        stepped = place + 1 == in_group
        broken = self._optimise() if stepped else losses.new_zeros(())
        several = self._processes.count > 1
        if several:  # each process knows the losses of its part of the batch
            losses = self._processes.total(losses)
        values, done = copy_to_host(torch.cat([losses, broken[None]]))
        images = self.recipe.optim.batch_size if several else len(batch.boxes)
        return Step(batch.batch, images, iteration + 1, lr, stepped, names, values, done)

    def weights_are_finite(self) -> bool:
        """Return whether all weights are finite numbers."""
        return bool(torch.stack([p.detach().isfinite().all() for p in self.net.parameters()]).all())

    def add_gradients(self, batch: DeviceBatch, number: int, in_group: int) -> tuple[tuple[str, ...], Tensor]:
        """Add a batch's gradients to those of its group, and return its losses.

        Where memory does not suffice, the whole group is learned from again, in smaller parts from now on.

        Args:
            batch: on the device.
            number: of the iteration in its epoch, from 1.
            in_group: iterations whose gradients make one step.

        Returns:
            The names of the losses, and their values as one tensor, `TOTAL` first.
        """
        todo = [batch]
        while True:
            try:
                for each in todo:
                    last = len(self._group) + 1 >= in_group
                    names, losses = self._backward(each, in_group, exchanged=last)
                self._group.append(batch)
                return names, losses
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error)
            # Outside of the handler: the error would keep the memory of the attempt that failed.
            self._divide(batch, number, reason)
            todo = [*self._group, batch]

    def _backward(
        self, batch: DeviceBatch, in_group: int, *, exchanged: bool
    ) -> tuple[tuple[str, ...], Tensor]:
        """Add the gradients of a batch; all processes' gradients are summed up if they are `exchanged`."""
        names: tuple[str, ...] = ()
        sums: Tensor | None = None
        count = self._processes.count
        for part in in_parts(batch, self.parts):
            share = len(part.boxes) / len(batch.boxes)
            waits = count > 1 and not exchanged
            with self.fabric.no_backward_sync(self.wrapped, enabled=waits):
                outputs = self.wrapped(part.images)
                losses = self.losses(outputs, part, total=self._processes.total if count > 1 else None)
                total = functools.reduce(operator.add, losses.values())
                # The exchange takes the mean over the processes, but each loss is a part of the batch's sum.
                self.fabric.backward(total * (share * count / in_group))
            names = (TOTAL, *losses)
            values = torch.stack([total, *losses.values()]).detach() * share
            sums = values if sums is None else sums + values
        assert sums is not None
        return names, sums

    def _divide(self, batch: DeviceBatch, number: int, reason: str) -> None:
        """Let batches go through the network in twice as many parts; drops the gradients of the group."""
        size, side = len(batch.boxes), self.recipe.data.input_size
        self.optimiser.zero_grad(set_to_none=True)
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        before = math.ceil(size / self.parts)
        # With several processes the others already wait for these gradients.
        if self.parts >= size or self.fabric.world_size > 1:
            found = " ".join(reason.split())[:120].rstrip(".")
            raise AerostatError(
                f"Memory does not suffice for {counted(before, 'image')} of {side} px at a time ({found}); "
                "train with a smaller `batch_size`, `input_size` or model."
            )
        self.parts *= 2
        self._warn(
            f"memory does not suffice for {counted(before, 'image')} at a time: from here on "
            f"{math.ceil(size / self.parts)} go through the network at a time, and the optimiser steps "
            f"after as many as before ({size * self.recipe.optim.accumulate}), though batch normalisation "
            "sees fewer",
            number,
        )

    def _optimise(self) -> Tensor:
        """Step with the gradients of a group; returns 1 if they were not finite and the step was left out."""
        optim = self.recipe.optim
        broken = self._not_finite()
        if optim.clip_grad_norm > 0:
            self.fabric.clip_gradients(
                self.wrapped, self.optimiser, max_norm=optim.clip_grad_norm, error_if_nonfinite=False
            )
        # On a GPU the fused step reads this flag there, and changes nothing where it is set.
        if broken.device.type == "cuda":
            self.optimiser.optimizer.found_inf = broken
        if broken.device.type != "cpu" or not broken:
            self.optimiser.step()
            self.ema.update(self.net)
        self.optimiser.zero_grad(set_to_none=True)
        self._group.clear()
        return broken

    def _not_finite(self) -> Tensor:
        """Return 1 (float32, on the device) if a gradient is not finite, else 0."""
        # In float16 the gradient scaler checks the gradients itself.
        if self.recipe.optim.precision == "16-mixed":
            return torch.zeros((), device=self.fabric.device)
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        norms = torch._foreach_norm([p.grad for p in parameters if p.grad is not None])
        return 1 - torch.stack(norms).isfinite().all().float()


def copy_to_host(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Return values in the host's memory, and the event to wait for before they are read."""
    if values.device.type != "cuda":
        return values.cpu(), None
    landing = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    landing.copy_(values, non_blocking=True)
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record()
    return landing, done
