"""Batch normalisation that several processes share; tests/processes/test_together.py has its figures."""

import copy

import pytest
import torch
from torch import nn

from aerostat.model import build
from aerostat.model.cpu_training import use_fast_training
from aerostat.model.shared_norm import SharedBatchNorm, SharedBatchNormOfGpu, use_shared_norm


@pytest.mark.parametrize(("device", "kind"), [("cpu", SharedBatchNorm), ("meta", SharedBatchNormOfGpu)])
def test_only_the_class_of_batch_normalisations_changes(device, kind):
    net = build("nano", 2).to(device)
    names, norms = list(net.state_dict()), [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    use_shared_norm(net)
    assert norms and {type(norm) for norm in norms} == {kind}
    assert all(isinstance(norm, nn.BatchNorm2d) for norm in norms)
    assert list(net.state_dict()) == names
    assert isinstance(norms[0], nn.SyncBatchNorm) == (device == "meta")


def test_in_evaluation_it_is_torchs_own():
    bn = nn.BatchNorm2d(3).eval()
    bn.running_mean.uniform_()
    shared = copy.deepcopy(bn)
    use_shared_norm(shared)
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(shared(x), bn(x))


def test_fast_training_leaves_shared_statistics_to_them(monkeypatch):
    net = build("nano", 2)
    use_fast_training(net)
    use_shared_norm(net)
    seen = []
    monkeypatch.setattr(SharedBatchNorm, "forward", lambda self, x: seen.append(self) or x)
    # The first maps are as large as those that a fused form would take.
    net.backbone.stem(torch.zeros(1, 3, 512, 512).contiguous(memory_format=torch.channels_last))
    assert len(seen) == 3
