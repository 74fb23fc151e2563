"""Memory that does not suffice for a batch: in parts from there on, with the same gradients."""

import copy
import math

import numpy as np
import pytest
import torch

from aerostat.datasets.dataset import Dataset
from aerostat.errors import AerostatError
from aerostat.geometry.outlines import Outlines, rasterise
from aerostat.inference.detector import Detector
from aerostat.model import detection_loss, normalise
from aerostat.pipeline.loader import Batch
from aerostat.training.device import DeviceBatch
from aerostat.training.loop import Trainer
from aerostat.training.oom import in_parts, is_out_of_memory
from aerostat.weights.training_state import load_state


def small_memory(
    trainer: Trainer, monkeypatch, most: int, error: type[RuntimeError] = torch.OutOfMemoryError
) -> list[int]:
    """Let the network take at most so many images; returns the sizes that it was given."""
    sizes: list[int] = []
    forward = trainer.learner.network.forward

    def narrow(images):
        sizes.append(len(images))
        if len(images) > most:
            raise error("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(images)

    monkeypatch.setattr(trainer.learner.network, "forward", narrow)
    return sizes


def steps_of(trainer: Trainer, monkeypatch) -> list[dict[str, torch.Tensor]]:
    recorded: list[dict[str, torch.Tensor]] = []
    step = trainer.learner.optimiser.optimizer.step

    def recording(*args, **kwargs):
        recorded.append(
            {n: p.grad.clone() for n, p in trainer.learner.net.named_parameters() if p.grad is not None}
        )
        return step(*args, **kwargs)

    monkeypatch.setattr(trainer.learner.optimiser.optimizer, "step", recording)
    return recorded


def gradients(net, images, boxes, labels) -> dict[str, torch.Tensor]:
    other = copy.deepcopy(net).train()
    losses = detection_loss(*other(normalise(images)), boxes, labels)
    sum(losses.values()).backward()
    return {name: p.grad for name, p in other.named_parameters() if p.grad is not None}


def test_a_batch_that_does_not_fit_is_learned_from_in_halves_and_said(
    drawn, trainer_for, monkeypatch, caplog
):
    caplog.set_level("INFO", "aerostat")
    data = Dataset.read(drawn(train=4, val=0))
    trainer = trainer_for(data, optim={"batch_size": 4, "lr": 1e-12}, schedule={"epochs": 2})
    (batch,) = trainer.loader.epoch(0, 1)
    halves = [
        gradients(trainer.learner.net, batch.images[half], batch.boxes[half], batch.labels[half])
        for half in (slice(0, 2), slice(2, 4))
    ]
    steps = steps_of(trainer, monkeypatch)
    sizes = small_memory(trainer, monkeypatch, most=2)
    trainer.fit()
    assert sizes == [4, 2, 2, 2, 2], "tried once, then in halves, also in the next epoch"
    assert len(steps) == 2
    for name, gradient in steps[0].items():
        expected = (halves[0][name] + halves[1][name]) / 2
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-7, msg=name)
    said = caplog.text
    assert said.count("memory does not suffice for 4 images at a time") == 1
    assert "2 go through the network at a time" in said and "after as many as before (4)" in said
    assert [r["kind"] for r in trainer.job.run.read_metrics()] == ["warning", "train", "train"]
    assert load_state(trainer.job.run.checkpoint)["parts"] == 2


def test_a_shortage_within_a_group_of_iterations_loses_none_of_their_gradients(
    drawn, trainer_for, monkeypatch
):
    data = Dataset.read(drawn(train=4, val=0))
    trainer = trainer_for(data, optim={"batch_size": 2, "accumulate": 2, "lr": 1e-12})
    single = [
        gradients(
            trainer.learner.net, batch.images[i : i + 1], batch.boxes[i : i + 1], batch.labels[i : i + 1]
        )
        for batch in trainer.loader.epoch(0, 1)
        for i in (0, 1)
    ]
    steps = steps_of(trainer, monkeypatch)
    forward, count = trainer.learner.network.forward, [0]

    def short_once(images):
        count[0] += 1
        if count[0] == 2:  # the second iteration of the group
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(images)

    monkeypatch.setattr(trainer.learner.network, "forward", short_once)
    trainer.fit()
    (step,) = steps
    for name, gradient in step.items():
        expected = sum(each[name] for each in single) / 4
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-7, msg=name)


def test_where_not_even_one_image_fits_the_run_ends_with_a_sentence(discs, trainer_for, monkeypatch):
    trainer = trainer_for(discs)
    small_memory(trainer, monkeypatch, most=0)
    with pytest.raises(AerostatError, match=r"for 1 image of 64 px at a time \(CUDA out of memory") as caught:
        trainer.fit()
    assert "`input_size`" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_run_that_is_gone_on_with_keeps_its_parts(discs, trainer_for, monkeypatch):
    trainer = trainer_for(discs)
    small_memory(trainer, monkeypatch, most=1)
    trainer.fit()
    trainer.restore()
    assert trainer.learner.parts == 2


def test_another_error_is_not_taken_for_a_shortage(discs, trainer_for, monkeypatch):
    trainer = trainer_for(discs)

    def broken(images):
        raise RuntimeError("expected scalar type Half")

    monkeypatch.setattr(trainer.learner.network, "forward", broken)
    with pytest.raises(RuntimeError, match="scalar type"):
        trainer.fit()


@pytest.mark.slow
def test_validation_that_does_not_fit_looks_at_fewer_at_a_time(discs, trainer_for, monkeypatch, caplog):
    caplog.set_level("INFO", "aerostat")
    trainer = trainer_for(discs, eval={"batch_size": 8})
    predict, asked = Detector.predict_images, []

    def narrow(self, images, *, batch_size, **options):
        asked.append(batch_size)
        found = predict(self, images, batch_size=batch_size, **options)
        yield next(found)
        if batch_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        yield from found

    monkeypatch.setattr(Detector, "predict_images", narrow)
    trainer.fit()
    assert asked == [8, 4, 2]
    assert "validation goes on with 2 images at a time" in caplog.text
    assert [r["images"] for r in trainer.job.run.read_metrics() if r["kind"] == "val"] == [2]


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError("whatever"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("shape mismatch"), False),
    ],
)
def test_a_shortage_is_known_by_its_kind_or_its_words(error, short):
    assert is_out_of_memory(error) == short


@pytest.mark.parametrize(
    ("count", "parts", "sizes"), [(4, 1, [4]), (4, 2, [2, 2]), (5, 2, [3, 2]), (5, 4, [2, 2, 1]), (1, 8, [1])]
)
def test_parts_are_as_large_as_possible_and_leave_no_image_out(count, parts, sizes):
    images = torch.arange(count).reshape(count, 1, 1, 1)
    boxes, labels = (
        [torch.full((1, 4), float(i)) for i in range(count)],
        [torch.tensor([i]) for i in range(count)],
    )
    batch = DeviceBatch(Batch(images, boxes, labels, []), images, boxes, labels)
    found = list(in_parts(batch, parts))
    assert [len(part.boxes) for part in found] == sizes == [len(part.images) for part in found]
    assert [int(x) for part in found for x in part.labels] == list(range(count))
    assert math.ceil(count / parts) == max(sizes)


def test_each_part_has_the_masks_of_its_images():
    images = torch.zeros((5, 3, 8, 8), dtype=torch.uint8)
    nothing = [torch.zeros((0, 4))] * 5, [torch.zeros(0, dtype=torch.int64)] * 5
    masks = [rasterise(Outlines.of([], {}, (8, 8)), np.zeros((0, 4)), (8, 8), 4) for _ in range(5)]
    batch = DeviceBatch(Batch(images, *nothing, [], masks), images, *nothing, masks)
    found = [mask for part in in_parts(batch, 2) for mask in part.masks]
    assert all(mine is theirs for mine, theirs in zip(found, masks, strict=True))
    assert [len(part.masks) for part in in_parts(batch, 2)] == [3, 2]
