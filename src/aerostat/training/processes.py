"""The processes of one run: how they are started, and what they tell each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from lightning_fabric import Fabric, seed_everything
from torch import Tensor, distributed

from aerostat.errors import InputError
from aerostat.inference.devices import choose_device, respect_quota
from aerostat.training.recipe import Recipe

T = TypeVar("T")


def launch(recipe: Recipe) -> Fabric:
    """Seed everything and start the processes of a run; returns the Fabric of this one.

    Raises:
        InputError: the device, its number or the precision cannot be used here.
    """
    device = choose_device(recipe.run.device)
    respect_quota()
    if recipe.optim.precision == "16-mixed" and device.type == "cpu":
        raise InputError("The precision 16-mixed needs a GPU; on the CPU use bf16-mixed or 32-true.")
    seed_everything(recipe.run.seed, verbose=False)
    try:
        fabric = Fabric(
            accelerator=device.type,
            devices=fabric_devices(device, recipe.run.devices),
            precision=recipe.optim.precision,
        )
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        why = str(error).rstrip(".")
        raise InputError(f"Cannot train on {recipe.run.devices} x {device}: {why}.") from None
    return fabric


def fabric_devices(device: torch.device, count: int) -> int | list[int]:
    """Return which devices Fabric is asked for: a number of them, or one GPU by its number.

    >>> fabric_devices(torch.device("cuda:1"), 1)
    [1]
    """
    return [device.index] if device.type == "cuda" and device.index is not None else count


@dataclass(frozen=True)
class Processes:
    """The exchange of values between the processes of a run; a single process exchanges nothing.

    All processes must call the same methods in the same order, because each call waits for all of them.

    Args:
        fabric: launched.
    """

    fabric: Fabric

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return self.fabric.global_rank

    @property
    def count(self) -> int:
        """How many there are."""
        return self.fabric.world_size

    def agreed_signal(self, requested: Sequence[int]) -> int:
        """Return the signal that any process was sent, else 0: none may leave while others wait for it.

        Args:
            requested: signals that this process was sent.
        """
        number = max(requested, default=0)
        if self.count == 1:
            return number
        highest = torch.tensor(number, device=self.fabric.device)
        distributed.all_reduce(highest, op=distributed.ReduceOp.MAX)
        return int(highest)

    def average(self, value: Tensor) -> Tensor:
        """Return the mean of a value over all processes."""
        averaged = self.fabric.all_reduce(value, reduce_op="mean")
        assert isinstance(averaged, Tensor)
        return averaged

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, in their order; they are pickled on the way."""
        if self.count == 1:
            return [value]
        every: list[T] = [value] * self.count
        distributed.all_gather_object(every, value)
        return every

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with those of the first process; they have the same shapes everywhere."""
        if self.count == 1:
            return
        for tensor in tensors:
            dense = tensor.detach().contiguous()
            distributed.broadcast(dense, src=0)
            tensor.detach().copy_(dense)
