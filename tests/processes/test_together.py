"""Two processes learn and find what one does; only rounding differs."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from aerostat.scenes.balloons import write_balloons
from aerostat.weights.training_state import load_state

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[int, dict[str, Any]]:
    """Return what `together.py` finds, by the number of processes. Three images are no multiple of two."""
    folder = tmp_path_factory.mktemp("together")
    write_balloons(folder / "data", train=5, val=5, seed=3)
    script, results = Path(__file__).with_name("together.py"), {}
    keys = ("LOCAL_RANK", "RANK", "NODE_RANK", "MASTER_PORT", "WORLD_SIZE")
    environment = {key: value for key, value in os.environ.items() if key not in keys}
    for devices in (1, 2):
        out = folder / f"{devices}.ckpt"
        done = subprocess.run(
            [sys.executable, script, folder / "data", out, str(devices)],
            capture_output=True,
            text=True,
            timeout=600,
            env={**environment, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        results[devices] = load_state(out)
    return results


def difference(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    """Return the norm of all differences, relative to the norm of all values."""
    assert one.keys() == two.keys() and one
    apart = sum(float((one[name] - two[name]).double().square().sum()) for name in one)
    whole = sum(float(value.double().square().sum()) for value in one.values())
    return (apart / whole) ** 0.5


def test_the_samples_are_those_of_one_process_in_its_order(found):
    assert found[1]["names"] == found[2]["names"]
    assert found[1]["sums"] == found[2]["sums"] and len(found[1]["sums"][0]) == 3


@pytest.mark.parametrize("mode", ["frozen", "training"])
def test_losses_gradients_and_weights_are_those_of_one_process(found, mode):
    one, two = found[1][mode], found[2][mode]
    for alone, shared in zip(one["losses"], two["losses"], strict=True):
        assert shared == pytest.approx(alone, rel=1e-5)
    # Statistics of a few dozen values magnify the last digit of float32.
    assert difference(one["gradients"], two["gradients"]) < (1e-5 if mode == "frozen" else 1e-3)
    assert difference(one["average"], two["average"]) < 1e-5


def test_shared_batch_normalisation_is_that_of_torch_but_for_rounding(found):
    one, two = found[1]["norm"], found[2]["norm"]
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-10, atol=1e-12)


def test_batch_statistics_are_those_of_the_whole_batch(found):
    one, two = ({k: v.float() for k, v in found[n]["training"]["buffers"].items()} for n in (1, 2))
    assert difference(one, two) < 1e-6
    assert all(torch.equal(one[k], two[k]) for k in one if k.endswith("num_batches_tracked"))


@pytest.mark.parametrize("what", ["validation", "evaluation"])
def test_figures_are_those_of_one_process_to_the_last_digit(found, what):
    assert "'ap': 0.0," not in found[1][what]
    assert found[1][what] == found[2][what]
