"""Splits in a folder: what is written, where images are found, and what happens to files of before."""

import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image

import aerostat as ae
from aerostat.datasets.dataset import Dataset
from aerostat.errors import InputError
from aerostat.splitting.folder import write_splits


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def contents(data: Dataset) -> dict[str, list[tuple[str, list[list[float]], list[int]]]]:
    """Return images by what is in them, and not by how they are named."""
    return {
        name: sorted(
            (str(r.path.resolve()), r.instances.boxes_xyxy.tolist(), r.instances.labels.tolist())
            for r in split.images
        )
        for name, split in data.splits.items()
    }


@pytest.fixture
def one(write_scenes, tmp_path):
    labels = [[i % 2] * (i % 3) for i in range(10)]
    return Dataset.read(write_scenes(tmp_path / "photos", range(10), labels, ("disc", "ring")))


def test_the_folder_is_a_data_set_that_finds_the_images_where_they_are(one, tmp_path):
    before = tree(tmp_path / "photos")
    data = ae.split(one, val=0.3)
    done = write_splits([data], tmp_path / "out")
    assert tree(tmp_path / "photos") == before, "images and annotations stay as they are"
    assert [path.relative_to(tmp_path / "out").as_posix() for path in done.files] == [
        "lists/train.txt",
        "lists/val.txt",
        "train.json",
        "val.json",
    ]
    assert done.image_folder == tmp_path / "photos" and done.folders == (tmp_path / "out",)
    again = Dataset.read(tmp_path / "out")
    assert again.classes == data.classes and not again.problems
    assert contents(again) == contents(data)
    lines = (tmp_path / "out" / "lists" / "val.txt").read_text().splitlines()
    assert lines == list(data.split("val").images.file_names) and len(lines) == 3


def test_it_is_found_after_it_was_moved_with_the_images(one, tmp_path):
    write_splits([ae.split(one, val=0.3)], tmp_path / "out")
    (tmp_path / "elsewhere").mkdir()
    for name in ("photos", "out"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    assert len(Dataset.read(tmp_path / "elsewhere" / "out").split("val")) == 3


def test_images_of_several_folders_keep_their_folders_in_their_names(write_scenes, tmp_path):
    write_scenes(tmp_path / "d" / "train", range(30))
    write_scenes(tmp_path / "d" / "val", range(30, 40))
    data = ae.split(Dataset.read(tmp_path / "d"), val=0.3)
    write_splits([data], tmp_path / "out")
    names = json.loads((tmp_path / "out" / "train.json").read_text())["images"]
    assert {image["file_name"].partition("/")[0] for image in names} == {"train", "val"}
    assert contents(Dataset.read(tmp_path / "out")) == contents(data)


def test_via_stays_via_and_knows_its_class(balloon, tmp_path):
    data = ae.split(Dataset.read(balloon, classes=["balloon"]), pixels=False)
    done = write_splits([data], tmp_path / "out")
    text = json.loads((tmp_path / "out" / "val.json").read_text())
    assert all("regions" in entry for entry in text.values())
    again = Dataset.read(tmp_path / "out")
    assert again.classes == ("balloon",) and not done.lost
    assert {n: s.box_count for n, s in again.splits.items()} == {
        n: s.box_count for n, s in data.splits.items()
    }


def test_folds_have_a_folder_each(one, tmp_path):
    parts = ae.folds(one, 3)
    done = write_splits(parts, tmp_path / "out")
    assert [folder.name for folder in done.folders] == ["fold1", "fold2", "fold3"]
    for folder, part in zip(done.folders, parts, strict=True):
        assert contents(Dataset.read(folder)) == contents(part)


def test_without_links_the_folder_of_the_images_is_named(one, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    data = ae.split(one, val=0.3)
    done = write_splits([data], tmp_path / "out")
    assert not done.linked
    assert contents(Dataset.read(tmp_path / "out", images=done.image_folder)) == contents(data)


def test_what_is_there_is_replaced_only_if_that_is_asked_for(one, tmp_path):
    out = tmp_path / "out"
    write_splits(ae.folds(one, 3), out)
    (out / "notes.txt").write_text("mine")
    (out / "fold3" / "mine.json").write_text("{}")
    before = tree(out)
    with pytest.raises(InputError, match="out exists; name another `out`, or replace it with `force=True`"):
        write_splits([ae.split(one)], out)
    assert tree(out) == before
    write_splits(ae.folds(one, 2), out, force=True)
    assert not (out / "fold3" / "train.json").exists() and not (out / "fold3" / "lists").exists()
    assert (out / "notes.txt").read_text() == "mine" and (out / "fold3" / "mine.json").is_file()
    write_splits([ae.split(one, val=0.3)], out, force=True)
    assert sorted(p.name for p in out.iterdir()) == [
        "fold3",
        "images",
        "lists",
        "notes.txt",
        "train.json",
        "val.json",
    ]
    assert len(Dataset.read(out).split("val")) == 3


def test_a_failure_leaves_nothing(one, tmp_path, monkeypatch):
    data = ae.split(one)
    broken = {**data.splits, "val": dataclasses.replace(data.splits["val"], category_ids=())}
    with pytest.raises(Exception):  # noqa: B017 - whatever goes wrong
        write_splits([Dataset(data.classes, broken)], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("in_the_way", ["out", "folder"])
def test_a_file_in_the_way_is_named(one, tmp_path, in_the_way):
    (tmp_path / in_the_way).write_text("a file")
    target = tmp_path / "out" if in_the_way == "out" else tmp_path / "folder" / "out"
    with pytest.raises(InputError, match=r"cannot be a folder: the file .* stands in the way"):
        write_splits([ae.split(one)], target)


def test_images_that_are_no_files_are_refused(one, tmp_path):
    class Memory:
        name = "memory"

        def open(self):
            return (tmp_path / "photos" / "000.png").open("rb")

    record = ae.split(one).split("val").images[0]
    elsewhere = dataclasses.replace(
        one.split(next(iter(one.splits))), images=[type(record)(Memory(), "a.png", 64, 48)]
    )
    with pytest.raises(InputError, match="Expected images in files of their own, found memory"):
        write_splits([Dataset(one.classes, {"train": elsewhere})], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_image_link_that_is_a_folder_of_others_is_never_removed(one, tmp_path):
    out = tmp_path / "out"
    (out / "images").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(out / "images" / "own.png")
    with pytest.raises(InputError, match="images"):
        write_splits([ae.split(one)], out, force=True)
    assert (out / "images" / "own.png").is_file() and not (out / "train.json").exists()
