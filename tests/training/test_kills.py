"""Runs that are killed with SIGKILL end as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = int(os.environ.get("AEROSTAT_KILLS", "6"))
"""The full run, some two minutes of a core: ``AEROSTAT_KILLS=50 pytest tests/training/test_kills.py``."""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.parametrize(("masks", "kills"), [(False, KILLS), (True, max(1, KILLS // 2))])
def test_a_killed_run_goes_on_from_whole_files_and_ends_as_the_undisturbed_one_to_the_bit(
    tmp_path, masks, kills
):
    done = subprocess.run(
        [
            sys.executable,
            Path(__file__).with_name("killed_runs.py"),
            tmp_path,
            str(kills),
            "0",
            str(int(masks)),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    print(counts)
    assert counts["kills"] == kills
    assert counts["runs finished"] >= 1
