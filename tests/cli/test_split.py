"""`aerostat split`: what it prints and writes, what it refuses, and the training after it."""

import json
from pathlib import Path

import pytest

from aerostat.datasets.dataset import Dataset


@pytest.fixture
def photos(write_scenes, tmp_path):
    labels = [[i % 2] for i in range(20)] + [[], [0]]
    return write_scenes(tmp_path / "photos", [*range(20), 3, 4], labels, ("disc", "ring"))


def test_it_prints_a_table_and_the_command_to_train(aerostat, photos):
    ended = aerostat("split", photos, "--test", "0.1")
    assert ended.code == 0, ended.err
    rows = {line.split()[0]: line.split() for line in ended.out.splitlines() if line.strip()}
    assert rows["images"][1::3] == ["16", "4", "2"]
    assert rows["train"] == ["train", "val", "test"] and {"disc", "ring", "objects"} <= rows.keys()
    assert "2 groups of like images (4 images, at most 2 in one) stay together." in ended.out
    assert ended.out.endswith("Train: aerostat train splits/photos\n")
    data = Dataset.read(Path("splits/photos"))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 16, "val": 4, "test": 2}


def test_json_is_one_document(aerostat, photos):
    document = aerostat("split", photos, "--val", "0.5", "--out", "half", "--json").document
    assert document["splits"]["val"]["images"] == 11 and document["groups"]["count"] == 2
    assert "half/train.json" in document["written"]["files"]
    assert document["written"]["train"] == ["Train: aerostat train half"]


def test_folds_are_written_below_one_folder(aerostat, photos):
    ended = aerostat("split", photos, "--folds", "3", "--out", "folds")
    assert ended.code == 0, ended.err
    assert ended.out.count("Train: aerostat train folds/fold") == 3 and "fold 3\n" in ended.out
    val = [Dataset.read(Path(f"folds/fold{k}")).split("val").images.file_names for k in (1, 2, 3)]
    assert sorted(name for names in val for name in names) == [f"{i:03}.png" for i in range(22)]
    assert len(aerostat("split", photos, "--folds", "2", "--out", "f2", "--json").document["folds"]) == 2


def test_nothing_is_replaced_unless_that_is_asked_for(aerostat, photos, assert_refused):
    assert aerostat("split", photos).code == 0
    before = Path("splits/photos/val.json").read_text()
    assert_refused(aerostat("split", photos, "--seed", "9"), "splits/photos exists", "--force")
    assert Path("splits/photos/val.json").read_text() == before
    assert aerostat("split", photos, "--seed", "9", "--force").code == 0
    assert Path("splits/photos/val.json").read_text() != before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--val", "0"], ["--val", "above 0 and below 1, found 0"]),
        (["--val", "0.6", "--test", "0.4"], ["--val and --test", "below 1 together"]),
        (["--val", "0.2", "--folds", "5"], ["--val cannot go with --folds", "leave it out"]),
        (["--folds", "1"], ["at least 2 --folds, found 1"]),
        (["--folds", "30"], ["parts of the split (30), found 22 images"]),
        (["--folds", "21"], ["parts of the split (21), found 20 groups", "--no-pixels"]),
        (["--repair", "--val", "0.2", "--seed", "1"], ["--val, --seed cannot go", "leave them out"]),
        (["--repair"], ["two splits or more for --repair"]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_nothing_is_written(
    aerostat, photos, working_folder, words, expected, assert_refused
):
    assert_refused(aerostat("split", photos, *words), *expected)
    assert not list(working_folder.iterdir())


def test_the_folder_of_the_data_is_never_written_to(aerostat, photos, assert_refused):
    before = sorted(photos.iterdir())
    for data in (photos, photos / "labels.json"):
        refused = aerostat("split", data, "--out", photos, "--force")
        assert_refused(refused, "the folder of the data themselves")
    assert sorted(photos.iterdir()) == before


def test_data_that_are_not_there_are_refused(aerostat, assert_refused):
    assert_refused(aerostat("split", "nowhere"), "nowhere")


def test_repair_proposes_moves_and_writes_them_only_if_asked(
    aerostat, write_scenes, tmp_path, working_folder
):
    write_scenes(tmp_path / "d" / "train", range(12))
    write_scenes(tmp_path / "d" / "val", [20, 21, 3, 22])
    linted = aerostat("lint", tmp_path / "d").out.partition("\n")[0]
    assert linted.startswith("1 of 4 validation images has a near-copy or the same scene in training")
    assert "aerostat split DATA --repair" in linted
    ended = aerostat("split", tmp_path / "d", "--repair")
    assert ended.code == 0 and not list(working_folder.iterdir())
    assert "1 group of like images crosses the splits; 1 move would mend that" in ended.out
    assert "--out DIR writes the mended splits" in ended.out
    assert aerostat("split", tmp_path / "d", "--repair", "--json").document["crossing_groups"] == 1
    assert aerostat("split", tmp_path / "d", "--repair", "--out", "mended").code == 0
    assert aerostat("lint", "mended").out.startswith("0 of ")
    assert aerostat("split", "mended", "--repair").out == (
        "No group of like images crosses the splits, so nothing has to be moved.\n"
    )


@pytest.mark.slow
def test_the_written_folder_trains_and_a_run_without_val_holds_a_fifth_out(aerostat, photos, tiny_run):
    assert aerostat("split", photos, "--out", "parts").code == 0
    trained = aerostat("train", "parts", *tiny_run, "--out", "run")
    assert trained.code == 0, trained.err
    assert Path("run/best.safetensors").is_file() and not Path("run/holdout.json").exists()
    assert aerostat("train", photos, *tiny_run, "--out", "other").code == 0
    held = json.loads(Path("other/holdout.json").read_text())["file_names"]
    assert set(held) == set(Dataset.read(Path("parts")).split("val").images.file_names)
    figures = aerostat("eval", "other", photos, "--json")
    assert figures.document["images"] == len(held)
    assert f"evaluating on the {len(held)} images that other held out" in figures.err
