"""A run's directory: never written over, its log whole line by line."""

import json
import os

import pytest

from aerostat.errors import InputError
from aerostat.runs.directory import Run


def test_a_new_directory_is_made_with_its_parents(tmp_path):
    run = Run(tmp_path / "runs" / "a")
    run.create()
    assert run.path.is_dir()
    assert list(run.path.iterdir()) == []


def test_an_empty_directory_may_be_used(tmp_path):
    Run(tmp_path).create()


def test_a_directory_with_something_in_it_is_refused_and_untouched(tmp_path):
    (tmp_path / "recipe.toml").write_text("mine")
    with pytest.raises(InputError, match=r"exists already; choose another `out`, or remove it\.$"):
        Run(tmp_path).create()  # there is nothing to go on from
    assert [p.name for p in tmp_path.iterdir()] == ["recipe.toml"]
    assert (tmp_path / "recipe.toml").read_text() == "mine"


def test_a_directory_with_a_checkpoint_can_be_gone_on_with(tmp_path):
    (tmp_path / "my run").mkdir()
    (tmp_path / "my run" / "last.ckpt").write_bytes(b"")
    with pytest.raises(InputError, match=r"choose another `out`, go on with `resume` '.*my run', or remove"):
        Run(tmp_path / "my run").create()


def test_a_file_of_that_name_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        Run(tmp_path / "file").create()
    with pytest.raises(InputError, match="Cannot make the run directory"):
        Run(tmp_path / "file" / "below").create()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(InputError, match="Cannot make the run directory"):
        Run(tmp_path / "closed" / "a").create()


def test_what_is_logged_is_read_back(tmp_path):
    run = Run(tmp_path)
    records = [{"kind": "train", "epoch": 1, "loss": 0.1}, {"kind": "val", "epoch": 1, "name": "Größe"}]
    for record in records:
        run.log(record)
    assert run.read_metrics() == records
    assert len(run.metrics.read_text("utf-8").splitlines()) == 2


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    run = Run(tmp_path)
    run.log({"epoch": 1})
    with run.metrics.open("a") as file:
        file.write('{"epoch": 2, "lo')
    assert run.read_metrics() == [{"epoch": 1}]


def test_the_validations_are_the_lines_with_a_number_for_epoch_and_ap(tmp_path):
    run = Run(tmp_path)
    good = [{"kind": "val", "epoch": 1, "ap": 0.5}, {"kind": "val", "epoch": 2, "ap": -1}]
    run.log(good[0], {"kind": "train", "epoch": 2, "ap": 0.1}, {"kind": "val", "epoch": 2}, good[1])
    run.log({"kind": "val", "epoch": 3, "ap": float("nan")}, {"kind": "val", "epoch": None, "ap": 0.1})
    assert run.read_validations() == good


def test_a_folder_without_metrics_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"is not a run.*metrics\.jsonl"):
        Run(tmp_path).read_metrics()


LOG = [
    *({"kind": "train", "epoch": 1, "batch": batch} for batch in (1, 2, 3)),
    {"kind": "val", "epoch": 1},
    {"kind": "stage", "epoch": 2},
    *({"kind": "train", "epoch": 2, "batch": batch} for batch in (1, 2, 3)),
    {"kind": "val", "epoch": 2},
]


@pytest.mark.parametrize(
    ("epoch", "batch", "kept"),
    [
        (1, 1, 0),  # from the start
        (1, 3, 2),
        (1, 4, 3),  # stopped after the last iteration, before the validation
        (2, 1, 4),  # after a whole epoch; the second stage is about to begin, and to be noted again
        (2, 2, 6),
        (2, 4, 8),
        (3, 1, 9),
    ],
)
def test_what_follows_the_checkpoint_is_cut_off(tmp_path, epoch, batch, kept):
    run = Run(tmp_path)
    for record in LOG:
        run.log(record)
    run.cut_metrics(epoch, batch)
    assert [json.loads(line) for line in run.metrics.read_text().splitlines()] == LOG[:kept]


def test_cutting_where_nothing_was_logged_makes_no_file(tmp_path):
    Run(tmp_path).cut_metrics(1, 1)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------ of runs that were killed


def test_a_directory_with_nothing_but_what_a_dead_process_was_writing_may_be_used(tmp_path):
    (tmp_path / ".last.ckpt.ab12cd34.ckpt").write_bytes(b"half")
    Run(tmp_path).create()
    with Run(tmp_path).locked():
        assert list(tmp_path.iterdir()) == []


def test_what_dead_processes_left_in_a_run_is_cleared_in_all_its_folders(tmp_path):
    run = Run(tmp_path)
    for folder in (run.path, run.plots, run.predictions):
        folder.mkdir(exist_ok=True)
        (folder / ".loss.png.ab12cd34.png").write_bytes(b"half")
        (folder / "loss.png").write_bytes(b"whole")
    with run.locked():
        assert sorted(p.name for p in tmp_path.rglob("*.png")) == ["loss.png"] * 3


def test_a_run_has_ended_when_its_last_line_says_so(tmp_path):
    run = Run(tmp_path)
    assert not run.ended
    run.log({"kind": "val", "epoch": 1})
    assert not run.ended
    run.log({"kind": "end", "epoch": 1})
    assert run.ended
    run.log({"kind": "resume", "epoch": 2})
    assert not run.ended


def test_lines_that_are_no_records_are_passed_over(tmp_path):
    run = Run(tmp_path)
    run.metrics.write_text('[1]\n7\n{"kind": "val", "epoch": 1}\n{}\n{"kind": "val", "ep')
    assert run.read_metrics() == [{"kind": "val", "epoch": 1}, {}]
    run.cut_metrics(1, 1)
    assert run.read_metrics() == [{}]
