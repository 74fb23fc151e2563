"""A process that dies ends the others soon, in one sentence, and the run can be resumed.

``AEROSTAT_KILLS=20 pytest -m slow tests/processes/test_deaths.py`` kills 20 times.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aerostat.runs.directory import Run
from aerostat.weights.training_state import load_state

KILLS = min(20, int(os.environ.get("AEROSTAT_KILLS", "2")))
SECONDS = 60
"""After a death, the others must have ended by then."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found by /proc"),
]

TRAIN = ["--model", "rtmdet-nano", "--weights=", "--input-size", "64", "--epochs", "400", "--batch-size", "2"]


def started(words: list[str], said: Path) -> subprocess.Popen[bytes]:
    """Start the command line, which says what it has to say to a file."""
    mine = ("LOCAL_RANK", "RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE")
    environment = {key: value for key, value in os.environ.items() if key not in mine}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "aerostat", "--quiet", "train", *words]
    with said.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment)


def await_state(run: Run, process: subprocess.Popen[bytes], said: Path) -> None:
    """Wait until a process has saved a new state."""
    stamp = run.checkpoint.stat().st_mtime_ns if run.checkpoint.is_file() else 0
    until = time.monotonic() + 600
    while not run.checkpoint.is_file() or run.checkpoint.stat().st_mtime_ns == stamp:
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < until, said.read_text()
        time.sleep(0.05)


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_death_ends_the_others_in_one_sentence_and_any_number_goes_on(drawn, tmp_path):
    run, said, rng = Run(tmp_path / "run"), tmp_path / "said.txt", random.Random(0)
    words = [str(drawn(train=4, val=1)), *TRAIN, "--out", str(run.path)]
    for kill in range(KILLS):
        again = ["--resume", str(run.path)]
        process = started([*(again if run.checkpoint.is_file() else words), "--devices", "2"], said)
        await_state(run, process, said)
        time.sleep(rng.uniform(0, 2))
        (other,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
        rank = 1 - kill % 2
        os.kill(other if rank else process.pid, signal.SIGKILL)
        began = time.monotonic()
        process.wait(SECONDS)
        while is_there(other):
            assert time.monotonic() - began < SECONDS
            time.sleep(0.05)
        sentence = rf"Process {rank} on \S+ died; the last whole state is kept; go on with: aerostat train "
        lines = [line for line in said.read_text().splitlines() if "died" in line]
        assert len(lines) == 1 and re.search(sentence, lines[0]), said.read_text()
        assert "Traceback" not in said.read_text()
        assert process.returncode == (1 if rank else -signal.SIGKILL)
        assert load_state(run.checkpoint)["position"]
    alone = started(["--resume", str(run.path), "--devices", "1"], said)
    await_state(run, alone, said)
    alone.terminate()
    assert alone.wait(SECONDS) == 128 + signal.SIGTERM, said.read_text()
