import sys

import numpy as np
import pytest
import torch

from aerostat.benchmarking import peak as peak_module
from aerostat.benchmarking.peak import Peak, measure_peak


def test_the_floor_is_whichever_takes_longer() -> None:
    peak = Peak(macs_per_second=100.0, bytes_per_second=10.0, arithmetic="float32 matrix product")
    assert peak.floor_seconds(200.0, 10.0) == 2.0
    assert peak.floor_seconds(200.0, 50.0) == 5.0


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak_module, "MATRIX_SIDES", (64,))
    monkeypatch.setattr(peak_module, "CONVOLUTIONS", ((16, 8),))
    monkeypatch.setattr(peak_module, "COPY_BYTES", 2**20)


@pytest.mark.usefixtures("small")
def test_the_measured_peak_is_no_lower_than_what_the_same_arithmetic_reaches_here() -> None:
    import time

    found = measure_peak("cpu", 0.2)
    left = torch.randn(64, 64)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        torch.mm(left, left)
        seconds.append(time.perf_counter() - start)
    assert found.macs_per_second > 0.2 * 64**3 / float(np.median(seconds))
    assert found.bytes_per_second > 1e8  # a floppy disk is slower, no memory is
    assert found.arithmetic.startswith("float32 ")


@pytest.mark.usefixtures("small")
def test_without_torch_numpy_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    found = measure_peak("cpu", 0.1)
    assert found.arithmetic == "float32 matrix product by numpy"
    assert found.macs_per_second > 0
    assert found.bytes_per_second > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_has_a_peak_and_its_precision_is_left_as_it_was() -> None:
    before = torch.backends.cuda.matmul.allow_tf32
    found = measure_peak("cuda", 0.5)
    assert found.macs_per_second > 1e12
    assert torch.backends.cuda.matmul.allow_tf32 == before
