"""`study` on the command line: one table, one picture, plain refusals."""

import json
from pathlib import Path

import pytest

from aerostat.scenes.balloons import write_balloons

FAST = [
    "--model",
    "rtmdet-nano",
    "--weights",
    "",
    "--set",
    "data.input_size=64",
    "--set",
    "schedule.epochs=1",
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "drawn"
    write_balloons(folder, train=6, val=2, seed=0)
    return folder


@pytest.mark.slow
def test_folds_of_two_recipes_make_a_table_a_picture_and_a_verdict(aerostat, data, tmp_path):
    options = ["--classes", "balloon", "--folds", "2", "--vary", "optim.lr=0.00001 model.freeze=backbone"]
    code, out, err = aerostat("study", data, *options, *FAST)
    assert code == 0, err
    assert "\nA: auto\nB: optim.lr=0.00001 model.freeze=backbone\n" in out
    assert "\nB against A: AP" in out
    assert all(len(line) <= 80 for line in out[: out.index("\nA: auto")].splitlines())
    assert "over 2 pairs" in out and "Folds share most of their training images" in out
    study = tmp_path / "studies" / "drawn-folds-2"
    assert str(study.relative_to(tmp_path) / "study.png") in out and (study / "study.png").is_file()
    assert (
        err.count("after the last epoch") == 4 and "epoch 1/1" not in err
    )  # a line a run; the rest is in its log
    assert all("epoch 1/1" in log.read_text() for log in study.glob("*/*/log.txt"))

    code, out, err = aerostat("study", data, *options, *FAST, "--json")  # nothing is trained again
    assert code == 0 and "after the last epoch" not in err
    assert [t["fold"] for t in json.loads(out)["trials"]] == [1, 2, 1, 2]


@pytest.mark.slow
def test_a_study_with_masks_is_about_masks(aerostat, data, tmp_path):
    options = ["--classes", "balloon", "--masks", "--tta", "--seeds", "2", "--vary", "optim.lr=0.00001"]
    code, out, err = aerostat("study", data, *options, *FAST)
    assert code == 0, err
    table, rest = out.split("\nA: auto")
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "mask" in table and table.count("TTA") == 2
    assert "\nB against A: mask AP" in rest
    assert err.count("mask AP") == 4 and err.count("box AP") == 4
    code, out, err = aerostat("study", data, *options, *FAST, "--json")
    assert json.loads(out)["headline"].startswith("mask_ap")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--seeds", "0"], "--seeds to be at least 1"),
        (["--folds", "1"], "at least 2 folds"),
        (["--folds", "7"], "at most as many folds as training images"),
        (["--vary", "optim.speed=1"], "Unknown recipe key 'optim.speed'"),
        (["--vary", "faster"], "section.key=value"),
        (["--recipe", "quick"], "Unknown recipe 'quick'"),
        (["--vary", "optim.lr=0.1", "--vary", "optim.lr=0.1"], "recipes of different names"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_nothing_is_written(aerostat, data, tmp_path, words, sentence):
    code, out, err = aerostat("study", data, "--classes", "balloon", *FAST, *words)
    assert code == 2 and out == ""
    assert sentence in err and "Traceback" not in err
    assert not (tmp_path / "studies").exists()
