"""What processes tell each other."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from aerostat.datasets.dataset import Dataset
from aerostat.errors import InputError
from aerostat.processes.exchange import Processes
from aerostat.processes.facts import digest, versions


def test_a_single_process_talks_to_itself():
    alone = Processes(Fabric(accelerator="cpu", devices=1))
    assert (alone.rank, alone.count, alone.on_this_machine) == (0, 1, 1)
    assert alone.agreed_signal([]) == 0 and alone.agreed_signal([15]) == 15
    assert alone.gather("mine") == ["mine"]
    tensor = torch.ones(3, requires_grad=True)
    alone.copy_from_first([tensor])
    assert torch.equal(tensor, torch.ones(3))
    assert torch.equal(alone.total(tensor), torch.ones(3)) and not alone.total(tensor).requires_grad


class Told(Processes):
    """Processes of which the others have told what is given."""

    def gather(self, value: Any) -> list[Any]:
        return [value, *self.fabric]  # type: ignore[misc]


def agree(mine: Mapping[str, str], *others: tuple[str, Mapping[str, str]]) -> None:
    Told(list(others)).require_same(mine)  # type: ignore[arg-type]


def test_equal_facts_are_accepted():
    agree({"torch": "2.13.0"}, ("far", {"torch": "2.13.0"}))


@pytest.mark.parametrize(
    ("theirs", "difference"),
    [
        ({"torch": "2.12.0"}, "another torch than process 0 on .*: 2.12.0 instead of 2.13.0"),
        ({}, "another torch than process 0 on .*: none instead of 2.13.0"),
        (
            {"torch": "2.13.0", "recipe field optim.lr": "0.1"},
            "another recipe field optim.lr .*: 0.1 instead",
        ),
    ],
)
def test_a_difference_names_the_machine_and_both_values(theirs, difference):
    with pytest.raises(InputError, match=f"Process 2 on far has {difference}"):
        agree({"torch": "2.13.0"}, ("near", {"torch": "2.13.0"}), ("far", theirs))


def test_data_differ_by_names_and_labels(drawn):
    one, same, fewer = (
        Dataset.read(drawn(train=count, name=name)).split("train")
        for count, name in ((4, "one"), (4, "same"), (3, "fewer"))
    )
    assert digest(one) == digest(same) and digest(one).startswith("4 images (checksum ")
    assert len({digest(one), digest(fewer), digest(one.chosen([1, 0, 2, 3])), digest(None)}) == 4
    assert versions()["torch"] == torch.__version__
