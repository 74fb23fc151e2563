"""The step on a GPU: it never waits for the device, learns what the CPU learns, and its memory stays."""

import math
from dataclasses import replace

import pytest
import torch

from aerostat.datasets.dataset import Dataset
from aerostat.errors import AerostatError
from aerostat.model import build, detection_loss, normalise
from aerostat.training.device import place, to_device
from aerostat.training.loop import Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = {"run": {"device": "cuda"}}


@pytest.fixture
def trainer(drawn, trainer_for) -> Trainer:
    return trainer_for(Dataset.read(drawn(train=8, val=2)), **CUDA)


def test_a_step_never_waits_for_the_device(trainer):
    batches = list(trainer.loader.epoch(0, 1))
    for batch in to_device(batches, trainer.fabric.device):  # the first ones choose kernels and make buffers
        trainer.learner.learn(batch, lr=1e-3, iteration=0, iterations=1)
    torch.cuda.synchronize()
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps = [
            trainer.learner.learn(batch, lr=1e-3, iteration=0, iterations=1)
            for batch in to_device(batches, trainer.fabric.device)
        ]
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    assert all(math.isfinite(step.read()["loss"]) for step in steps)


def test_batches_arrive_as_they_were_made(trainer):
    batches = list(trainer.loader.epoch(0, 1))
    for batch, there in zip(batches, to_device(batches, trainer.fabric.device), strict=True):
        assert torch.equal(there.images.cpu(), batch.images)
        for ours, theirs in zip((*there.boxes, *there.labels), (*batch.boxes, *batch.labels), strict=True):
            assert torch.equal(ours.cpu(), theirs)


@pytest.mark.parametrize("size", ["nano", "tiny"])
def test_losses_and_gradients_are_those_of_the_cpu(trainer, size, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    batch = next(iter(trainer.loader.epoch(0, 1)))
    torch.manual_seed(0)
    net = build(size, 1).train()
    found = []
    for device in ("cpu", "cuda"):
        net = net.to(device, memory_format=torch.channels_last)
        net.zero_grad()
        at = place(batch, torch.device(device))
        losses = detection_loss(*net(normalise(at.images)), at.boxes, at.labels)
        sum(losses.values()).backward()
        norm = torch.stack([p.grad.norm() for p in net.parameters() if p.grad is not None]).norm()
        found.append([value.item() for value in (*losses.values(), norm)])
    assert found[1] == pytest.approx(found[0], rel=1e-2)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_half_precision_learns(drawn, trainer_for, precision):
    trainer = trainer_for(Dataset.read(drawn(train=4, val=0)), optim={"precision": precision}, **CUDA)
    assert trainer.fit().epoch == 1
    assert all(p.isfinite().all() for p in trainer.learner.net.parameters())


def test_a_frozen_backbone_learns_with_the_rest_and_stays(drawn, trainer_for):
    trainer = trainer_for(Dataset.read(drawn(train=4, val=0)), model={"freeze": "backbone"}, **CUDA)
    before = {name: tensor.clone() for name, tensor in trainer.learner.net.backbone.state_dict().items()}
    trainer.fit()
    assert all(
        torch.equal(before[name], tensor)
        for name, tensor in trainer.learner.net.backbone.state_dict().items()
    )


def test_a_loss_that_is_no_number_is_seen_a_step_later_with_its_own_batch_saved(trainer):
    with torch.no_grad():
        trainer.learner.net.bbox_head.rtm_cls[0].bias.fill_(math.nan)
    with pytest.raises(AerostatError, match="epoch 1, iteration 1;"):
        trainer.fit()
    assert {p.name for p in trainer.job.run.path.iterdir()} == {"nonfinite_batch_rank0.safetensors"}


def test_memory_does_not_grow_with_the_steps(trainer):
    batches = [replace(b) for b in trainer.loader.epoch(0, 1)]

    def after(rounds: int) -> int:
        for _ in range(rounds):
            for batch in to_device(batches, trainer.fabric.device):
                trainer.learner.learn(batch, lr=1e-3, iteration=0, iterations=1).read()
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated()

    first = after(3)
    assert after(12) <= first * 1.01
