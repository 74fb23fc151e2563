"""What the processes of one piece of work tell each other."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, distributed

from aerostat.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The exchange of values between processes; a single process exchanges nothing.

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

    @property
    def on_this_machine(self) -> int:
        """How many of them share the processors of this machine."""
        return int(getattr(self.fabric.strategy, "num_processes", 1))

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

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a value over all processes, without a gradient."""
        summed = value.detach().clone()
        if self.count > 1:
            distributed.all_reduce(summed)
        return summed

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

    def require_same(self, facts: Mapping[str, str]) -> None:
        """Refuse to work together if the processes do not know the same facts.

        Args:
            facts: what must be equal everywhere, by the words for it, such as ``torch``.

        Raises:
            InputError: in every process, naming the machine and both values of the first difference.
        """
        known = self.gather((socket.gethostname(), dict(facts)))
        host, first = known[0]
        for rank, (other, theirs) in enumerate(known):
            for name in (*first, *(name for name in theirs if name not in first)):
                here, there = first.get(name, "none"), theirs.get(name, "none")
                if here != there:
                    raise InputError(
                        f"Process {rank} on {other} has another {name} than process 0 on {host}: {there} "
                        f"instead of {here}; all processes need the same versions, data and settings."
                    )


def share_of(images: int, *, batch_size: int, rank: int, processes: int) -> list[int]:
    """Return the places of the images that one process looks at, in order.

    Whole batches are dealt out in turn. Each image is in the same batch as with one process, which gives the
    same figures to the last digit.

    Args:
        images: of the split.
        batch_size: images that the network sees at a time.
        rank: of the process, from 0.
        processes: how many share the images.

    >>> share_of(5, batch_size=2, rank=0, processes=2)
    [0, 1, 4]
    """
    return [place for place in range(images) if place // batch_size % processes == rank]
