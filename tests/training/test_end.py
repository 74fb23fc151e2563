"""A run that was killed after its last epoch: resuming it writes what is missing and ends well."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aerostat.__main__ import main
from aerostat.datasets.dataset import Dataset
from aerostat.reporting.complete import lacks_page
from aerostat.runs.directory import Run

KILLED = """
import os, signal, sys
import aerostat.reporting.page
import aerostat.training.finish
module, name = sys.argv[1].rsplit(".", 1)
setattr(sys.modules[module], name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
from aerostat.__main__ import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No published weights are at hand, and nothing may be fetched."""
    monkeypatch.setenv("AEROSTAT_HOME", str(tmp_path / "home"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
@pytest.mark.parametrize(
    ("killed_at", "ended"),
    [
        pytest.param("aerostat.reporting.page.write_bytes", True, id="while its page is written"),
        pytest.param("aerostat.training.finish.draw_predictions", False, id="before the record of its end"),
    ],
)
def test_resuming_a_run_that_was_killed_after_its_last_epoch_ends_it(drawn, tmp_path, killed_at, ended):
    run = Run(tmp_path / "run")
    words = [
        "train", drawn(), "--model", "rtmdet-nano", "--weights", "", "--out", run.path, "--epochs", 1,
        "--input-size", 64, "--batch-size", 2, "--device", "cpu", "--set", "data.threads=0",
    ]  # fmt: skip
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, killed_at, *map(str, words)], env=dict(os.environ), capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    page = run.path / "report.html"
    assert run.ended == ended and not page.exists()
    weights = run.last.read_bytes()
    again = [sys.executable, "-m", "aerostat", "train", "--resume", str(run.path)]
    done = subprocess.run(again, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(page)] and page.is_file()
    assert run.ended and len(list(run.predictions.iterdir())) == 2
    assert run.last.read_bytes() == weights, "nothing was learned again"
    refused = subprocess.run(again, capture_output=True, text=True)
    assert refused.returncode == 2 and "is finished (1 of 1 epoch)" in refused.stderr


@pytest.fixture
def finished(drawn, start, small, tmp_path) -> Run:
    """A finished run without a page, as `train` in Python leaves it."""
    return start(Dataset.read(drawn()), tmp_path / "run", small)


def test_resuming_a_finished_run_without_a_page_writes_it(finished, tmp_path, capsys):
    assert main(["train", "--resume", str(finished.path)]) == 0
    page = finished.path / "report.html"
    assert capsys.readouterr().out == f"{page}\n" and page.is_file()
    assert not lacks_page(finished)
    assert main(["train", "--resume", str(finished.path)]) == 2
    assert "is finished" in capsys.readouterr().err


def test_the_data_may_be_given_again_where_they_have_moved(finished, tmp_path, capsys):
    moved = (tmp_path / "data").rename(tmp_path / "moved")
    assert main(["train", str(moved), "--resume", str(finished.path)]) == 0
    assert "Training batches" in (finished.path / "report.html").read_text("utf-8")


def test_a_page_from_before_the_end_is_written_again(finished, capsys):
    page = finished.path / "report.html"
    page.write_text("of the first epoch")
    end = finished.metrics.stat().st_mtime_ns
    os.utime(page, ns=(end - 1, end - 1))
    assert main(["train", "--resume", str(finished.path)]) == 0
    assert page.read_text("utf-8") != "of the first epoch"


def test_a_run_that_has_not_ended_does_not_lack_its_page(finished):
    lines = finished.metrics.read_text("utf-8").splitlines(keepends=True)
    finished.metrics.write_text("".join(lines[:-1]), "utf-8")
    shutil.rmtree(finished.predictions)
    assert not lacks_page(finished)
