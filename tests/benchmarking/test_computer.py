import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from aerostat.benchmarking import computer
from aerostat.benchmarking.computer import OthersWatch, describe_computer, using_threads


@pytest.fixture
def system_says(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Let files below /proc and /sys hold these texts, by a part of their path, and others be missing."""

    def say(texts: dict[str, str]) -> None:
        real = Path.read_text

        def read_text(path: Path, *args: object, **options: object) -> str:
            if path.parts[1:2] not in (("proc",), ("sys",)):
                return real(path, *args, **options)
            for part, text in texts.items():
                if part in str(path):
                    return text
            raise FileNotFoundError(path)

        monkeypatch.setattr(Path, "read_text", read_text)

    return say


def test_the_machine_has_a_name_and_cores() -> None:
    found = describe_computer()
    assert found.processor
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert found.to_dict()["cores"] == found.cores


def test_a_system_that_tells_nothing_is_described_all_the_same(system_says) -> None:
    system_says({})
    found = describe_computer()
    assert found.processor
    assert found.flags == ()


@pytest.mark.parametrize(("text", "quota"), [("max 100000\n", None), ("150000 100000\n", 1.5), ("", None)])
def test_a_container_s_share_is_processors(system_says, text: str, quota: float | None) -> None:
    system_says({"cpu.max": text})
    assert describe_computer().quota == quota


def test_an_arm_board_s_instructions_are_found(system_says) -> None:
    text = "processor : 0\nFeatures\t: fp asimd asimddp sha2\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n"
    system_says({"cpuinfo": text})
    found = describe_computer()
    assert (found.processor, found.flags) == ("Raspberry Pi 5 Model B Rev 1.0", ("asimd", "asimddp"))


def test_the_peak_of_memory_is_the_process_s_own_and_stays_when_memory_is_given_back() -> None:
    parents = np.ones(400 * 2**20, np.uint8)
    code = """
import numpy as np
from aerostat.benchmarking.computer import peak_memory_bytes
before = peak_memory_bytes()
block = np.ones(200 * 2**20, np.uint8)
del block
print(before, peak_memory_bytes())
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    before, after = map(int, said.split())
    assert 0 < before < parents.nbytes
    assert 200 * 2**20 <= after < before + 250 * 2**20


def test_threads_are_limited_for_a_while_and_then_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    before = torch.get_num_threads(), cv2.getNumThreads()
    with using_threads(2) as used:
        assert (used, torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]) == (2, 2, "2")
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_without_a_wish_threads_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with using_threads(None) as used:
        assert used == torch.get_num_threads()
        assert "OMP_NUM_THREADS" not in os.environ


def test_others_are_what_the_machine_does_beside_this_process(
    monkeypatch: pytest.MonkeyPatch, system_says
) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    stat = f"cpu  {100 * tick} 0 0 {50 * tick} 0 0 0 0 0 0\ncpu0 1 2 3\n"
    system_says({"stat": stat})
    monkeypatch.setattr(computer.time, "perf_counter", lambda: 10.0)
    monkeypatch.setattr(computer.os, "times", lambda: os.times_result((4.0, 1.0, 0.0, 0.0, 0.0)))
    watch = OthersWatch()
    # Ten seconds later: 9 of user, 2 of system, 3 of interrupts, 4 stolen; of these 6 and 2 of children ours.
    stat = f"cpu  {109 * tick} 0 {2 * tick} {55 * tick} 7 {1 * tick} {2 * tick} {4 * tick} 0 0\n"
    system_says({"stat": stat})
    monkeypatch.setattr(computer.time, "perf_counter", lambda: 20.0)
    monkeypatch.setattr(computer.os, "times", lambda: os.times_result((8.0, 3.0, 2.0, 0.0, 0.0)))
    assert watch.cores() == pytest.approx((9 + 2 + 3 + 4 - 6 - 2) / 10)


def test_where_the_system_does_not_tell_nobody_knows_of_others(system_says) -> None:
    system_says({})
    assert OthersWatch().cores() is None
