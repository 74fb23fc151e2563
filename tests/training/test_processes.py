"""How the processes of a run are started."""

import pytest
import torch

from aerostat.errors import InputError
from aerostat.processes.placement import Placement
from aerostat.training.processes import launch
from aerostat.training.recipe import Recipe


@pytest.mark.parametrize("device", ["cpu", "cpu:0", "auto", "cuda:7"])
def test_where_there_is_no_gpu_the_cpu_is_launched(device, caplog, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    fabric = launch(Recipe().override({"run": {"device": device}}))
    assert fabric.device.type == "cpu"
    assert ("cuda:7 cannot be used here" in caplog.text) == (device == "cuda:7")


def test_what_cannot_be_launched_is_one_sentence():
    with pytest.raises(InputError, match="16-mixed needs a GPU"):
        launch(Recipe().override({"run": {"device": "cpu"}, "optim": {"precision": "16-mixed"}}))


def test_a_batch_must_have_an_image_for_each_process():
    recipe = Recipe().override({"run": {"device": "cpu"}, "optim": {"batch_size": 1}})
    with pytest.raises(InputError, match="A batch of 1 image cannot be shared by 2 processes"):
        launch(recipe, Placement(2))
