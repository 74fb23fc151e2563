"""How the processes of a run are started, and what they tell each other."""

import pytest
import torch
from lightning_fabric import Fabric

from aerostat.errors import InputError
from aerostat.training.processes import Processes, fabric_devices, launch
from aerostat.training.recipe import Recipe


@pytest.mark.parametrize(
    ("device", "count", "asked"),
    [
        ("cpu", 1, 1),
        ("cpu", 4, 4),
        ("cpu:0", 1, 1),
        ("cuda", 2, 2),
        ("cuda:0", 1, [0]),
        ("cuda:3", 1, [3]),
        ("mps", 1, 1),
        ("mps:0", 1, 1),
    ],
)
def test_a_numbered_gpu_is_asked_for_by_its_number(device, count, asked):
    assert fabric_devices(torch.device(device), count) == asked


@pytest.mark.parametrize("device", ["cpu", "cpu:0", "auto", "cuda:7"])
def test_where_there_is_no_gpu_the_cpu_is_launched(device, caplog, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    fabric = launch(Recipe().override({"run": {"device": device}}))
    assert fabric.device.type == "cpu"
    assert ("cuda:7 cannot be used here" in caplog.text) == (device == "cuda:7")


def test_what_cannot_be_launched_is_one_sentence():
    with pytest.raises(InputError, match="16-mixed needs a GPU"):
        launch(Recipe().override({"run": {"device": "cpu"}, "optim": {"precision": "16-mixed"}}))


def test_a_single_process_talks_to_itself():
    alone = Processes(Fabric(accelerator="cpu", devices=1))
    assert (alone.rank, alone.count) == (0, 1)
    assert alone.agreed_signal([]) == 0 and alone.agreed_signal([15]) == 15
    assert alone.gather("mine") == ["mine"]
    tensor = torch.ones(3)
    alone.copy_from_first([tensor])
    assert torch.equal(tensor, torch.ones(3))
