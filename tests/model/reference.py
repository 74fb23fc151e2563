"""Weights, input and objects of the reference figures, and how results are compared with them."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import torch

from aerostat.model import build, normalise

SIZE = (160, 128)
"""Width and height of the input."""
BOXES = (
    torch.tensor([[10, 12, 70, 90], [60, 40, 150, 120], [64, 44, 140, 118], [2, 100, 14, 110]]).float(),
    torch.tensor([[30, 20, 120, 100], [0, 0, 159, 127]]).float(),
)


def fill(name, shape):
    r = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    x = r.standard_normal(shape)
    if name.endswith("running_var"):
        v = np.exp(0.2 * x)
    elif name.endswith("running_mean"):
        v = 0.2 * x
    elif name.endswith("bn.weight") or (name.endswith("weight") and len(shape) == 1):
        v = 1 + 0.2 * x
    elif ".rtm_cls." in name and name.endswith("bias"):
        v = -2 + 0.3 * x
    elif ".rtm_reg." in name and name.endswith("bias"):
        v = 1.5 + 0.3 * x
    elif name.endswith("bias"):
        v = 0.2 * x
    else:
        v = 1.4 * x / np.sqrt(np.prod(shape[1:]))
    return v.astype(np.float32)


def pixels():
    """The two images (2, 3, H, W) uint8 BGR."""
    return np.random.Generator(np.random.PCG64(7)).integers(0, 256, (2, 3, SIZE[1], SIZE[0]), dtype=np.uint8)


class Case:
    """A network in the weights of the rule, its figures, the input with its objects, and the outputs."""

    def __init__(self, size, classes, figures, masks=False):
        self.reference, self.classes = figures, classes
        self.net = build(size, classes, masks).eval()
        state = {n: torch.from_numpy(fill(n, t.shape)) for n, t in self.net.state_dict().items()}
        self.net.load_state_dict(state)
        self.images = normalise(torch.from_numpy(pixels()))
        self.boxes = list(BOXES)
        self.labels = [torch.tensor([0, 3, 3, 7]) % classes, torch.tensor([5, 1]) % classes]
        with torch.no_grad():
            self.outputs = self.net(self.images)

    def losses_and_gradient_norms(self, losses_of, boxes, labels):
        """Losses by name and the gradient norm of each parameter; `losses_of` maps outputs to losses."""
        self.net.zero_grad(set_to_none=True)
        losses = losses_of(self.net(self.images), boxes, labels)
        sum(losses.values()).backward()
        norms = [-1 if p.grad is None else p.grad.norm().item() for p in self.net.parameters()]
        return {k: v.item() for k, v in losses.items()}, np.array(norms)

    def assert_names_and_shapes(self):
        names = [str(n) for n in self.reference["state_names"]]
        shapes = [json.loads(str(s)) for s in self.reference["state_shapes"]]
        state = self.net.state_dict()
        assert list(state) == names
        assert [list(t.shape) for t in state.values()] == shapes
        assert [n for n, _ in self.net.named_parameters()] == [str(n) for n in self.reference["param_names"]]

    def assert_losses_and_gradients(self, losses_of, mode):
        saved = {n: t.clone() for n, t in self.net.state_dict().items()}
        self.net.train(mode == "trainbn")
        losses, norms = self.losses_and_gradient_norms(losses_of, self.boxes, self.labels)
        self.net.eval()
        self.net.load_state_dict(saved)
        for name, value in losses.items():
            assert value == pytest.approx(float(self.reference[f"{mode}_{name}"]), rel=1e-5)
        theirs = self.reference[f"{mode}_gradnorm"]
        assert np.all(np.abs(norms - theirs) <= 1e-3 * np.abs(theirs))
        return losses

    def assert_found_one_to_one(self, found, kind):
        for image, candidates in enumerate(found):
            boxes, scores, labels = candidates.boxes_xyxy, candidates.scores, candidates.labels
            theirs = [self.reference[f"pred_{kind}{image}_{key}"] for key in ("boxes", "scores", "labels")]
            assert len(boxes) == len(theirs[0])
            free = np.ones(len(boxes), bool)
            for box, score, label in zip(*theirs, strict=True):
                same = free & (labels == label) & (np.abs(scores - score) <= 2e-5)
                same &= (np.abs(boxes - box) <= 1e-2).all(1)
                assert same.any(), (image, box, score, label)
                free[same.argmax()] = False


def assert_close(ours, theirs, tolerance):
    """Within `tolerance`, absolute up to 1 and relative above."""
    error = np.abs(np.asarray(ours) - theirs) / np.maximum(np.abs(theirs), 1)
    assert error.max() <= tolerance, error.max()
