"""New splits of a data set: what stays together, what is the same again, and what is refused."""

import dataclasses
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aerostat as ae
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import Images, Split
from aerostat.errors import InputError
from aerostat.lint.lint import lint
from aerostat.splitting.split import arrange, arrange_folds


def names(data):
    return {name: sorted(split.images.file_names) for name, split in data.splits.items()}


def test_like_images_are_in_one_split(write_scenes, tmp_path):
    scenes = [*range(20), *range(0, 20, 2)]
    data = Dataset.read(write_scenes(tmp_path / "d", scenes))
    done = arrange(data, val=0.2, seed=0)
    assert {name: len(split) for name, split in done.data.splits.items()} == {"train": 24, "val": 6}
    place = {name: split for split, files in names(done.data).items() for name in files}
    for number in range(0, 20, 2):
        assert place[f"{number:03}.png"] == place[f"{20 + number // 2:03}.png"]
    assert (done.groups, done.grouped, done.largest) == (10, 20, 2)
    assert done.together() == "10 groups of like images (20 images, at most 2 in one) stay together."
    assert lint(done.data).leaks.in_training == 0


@given(
    scenes=st.lists(st.integers(0, 9), min_size=6, max_size=24),
    shares=st.sampled_from([(0.2, 0.0), (0.3, 0.2)]),
    seed=st.integers(0, 5),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_group_of_like_images_crosses_a_split(write_scenes, tmp_path_factory, scenes, shares, seed):
    data = Dataset.read(write_scenes(tmp_path_factory.mktemp("any") / "d", scenes))
    val, test = shares
    if len(set(scenes)) < (3 if test else 2):
        with pytest.raises(InputError, match="groups of like images"):
            ae.split(data, val=val, test=test, seed=seed)
        return
    parts = ae.split(data, val=val, test=test, seed=seed).splits
    seen = [{scenes[int(name[:3])] for name in split.images.file_names} for split in parts.values()]
    assert sum(map(len, seen)) == len(set().union(*seen)) == len(set(scenes))
    assert sum(map(len, parts.values())) == len(scenes)


def test_the_same_seed_gives_the_same_split_in_whatever_order_the_images_are_listed(write_scenes, tmp_path):
    data = Dataset.read(write_scenes(tmp_path / "d", [*range(16), 1, 2, 3]))
    first = names(ae.split(data, seed=3))
    assert names(ae.split(data, seed=3)) == first
    records = list(data.split("train").images)
    random.Random(7).shuffle(records)
    shuffled = dataclasses.replace(data.split("train"), images=Images.of(records))
    assert names(ae.split(Dataset(data.classes, {"all": shuffled}), seed=3)) == first
    assert names(ae.split(data, seed=4)) != first


def test_images_and_objects_are_those_of_the_source_and_nothing_is_copied(write_scenes, tmp_path):
    labels = [[i % 2] * (i % 4) for i in range(12)]
    data = Dataset.read(write_scenes(tmp_path / "d", range(12), labels, ("disc", "ring")))
    before = {record.file_name: record for record in data.split("train").images}
    parts = ae.split(data, val=0.25)
    assert parts.classes == ("disc", "ring") and parts.origin is None
    for split in parts.splits.values():
        for record in split.images:
            assert record == before.pop(record.file_name)
    assert not before


def test_classes_and_images_without_objects_are_spread(write_scenes, tmp_path):
    labels = [[0]] * 20 + [[1]] * 10 + [[]] * 10
    data = Dataset.read(write_scenes(tmp_path / "d", range(40), labels, ("disc", "ring")))
    val = ae.split(data, val=0.2).split("val")
    assert Counter(tuple(r.instances.labels.tolist()) for r in val.images) == {(0,): 4, (1,): 2, (): 2}


def test_splits_that_are_there_are_pooled_and_ids_stay_unique(write_scenes, tmp_path):
    write_scenes(tmp_path / "d" / "train", range(8))
    write_scenes(tmp_path / "d" / "val", [*range(8, 12)])
    data = ae.split(Dataset.read(tmp_path / "d"), val=0.25, test=0.25)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 6, "val": 3, "test": 3}
    ids = [id_ for split in data.splits.values() for id_ in split.images.ids.tolist()]
    assert len(set(ids)) == 12
    assert {str(r.path) for s in data.splits.values() for r in s.images} == {
        str(path) for path in (tmp_path / "d").rglob("*.png")
    }


def test_problems_of_reading_go_with_their_images(write_scenes, tmp_path):
    folder = write_scenes(tmp_path / "d", range(10))
    (folder / "003.png").unlink()
    (folder / "004.png").write_bytes(b"")
    data = ae.split(Dataset.read(folder), val=0.3)
    assert {(p.split, p.file_name) for p in data.problems} == {("train", "003.png"), ("train", "004.png")}


def test_data_made_in_memory_are_split(write_scenes, tmp_path):
    read = Dataset.read(write_scenes(tmp_path / "d", range(10)))
    made = Dataset(read.classes, {"all": Split("all", read.classes, (1,), list(read.split("train").images))})
    assert {name: len(split) for name, split in ae.split(made).splits.items()} == {"train": 8, "val": 2}


def test_folds_hold_each_image_out_once(write_scenes, tmp_path):
    data = Dataset.read(write_scenes(tmp_path / "d", [*range(12), 0, 1]))
    parts = ae.folds(data, 4)
    held = [name for part in parts for name in part.split("val").images.file_names]
    assert sorted(held) == sorted(data.split("train").images.file_names)
    for part in parts:
        assert len(part.split("train")) + len(part.split("val")) == 14
    with_test = ae.folds(data, 3, test=0.2)
    tests = {tuple(part.split("test").images.file_names) for part in with_test}
    assert len(tests) == 1 and len(next(iter(tests))) == 3


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"val": 0.0}, "`val` to be above 0 and below 1, found 0"),
        ({"val": 1.0}, "`val` to be above 0 and below 1, found 1"),
        ({"val": float("nan")}, "`val` to be above 0"),
        ({"test": -0.1}, "`test` to be at least 0"),
        ({"val": 0.5, "test": 0.5}, "below 1 together, found 0.5 [+] 0.5"),
    ],
)
def test_impossible_shares_are_refused(write_scenes, tmp_path, shares, words):
    data = Dataset.read(write_scenes(tmp_path / "d", range(4)))
    with pytest.raises(InputError, match=words):
        ae.split(data, **shares)


@pytest.mark.parametrize(
    ("scenes", "words"),
    [
        ([0], "parts of the split .2., found 1 image;"),
        ([5] * 12, "groups of like images as parts of the split .2., found 1 group"),
    ],
)
def test_one_image_and_images_that_are_all_alike_are_refused(write_scenes, tmp_path, scenes, words):
    data = Dataset.read(write_scenes(tmp_path / "d", scenes))
    with pytest.raises(InputError, match=words):
        ae.split(data)


def test_images_that_are_nearly_the_same_are_told_apart_where_that_is_asked_for(write_scenes, tmp_path):
    data = Dataset.read(write_scenes(tmp_path / "d", [5] * 7))
    assert len(ae.split(data, val=0.3, pixels=False).split("val")) == 2
    same = Dataset.read(write_scenes(tmp_path / "same", [5] * 14))  # shades repeat after seven
    parts = ae.split(same, val=0.3, pixels=False)
    place = {name: split for split, files in names(parts).items() for name in files}
    assert all(place[f"{i:03}.png"] == place[f"{i + 7:03}.png"] for i in range(7))


def test_one_large_group_leaves_a_warning_with_what_was_reached(write_scenes, tmp_path):
    data = Dataset.read(write_scenes(tmp_path / "d", [0] * 12 + [1] * 6))
    done = arrange(data, val=0.1)
    assert {name: len(split) for name, split in done.data.splits.items()} == {"train": 12, "val": 6}
    assert done.warnings[-1] == (
        "val has 6 of 18 images (33%) where 10% were asked for; "
        "the largest group of like images has 12 of 18."
    )


def test_a_class_that_cannot_be_learned_is_named(write_scenes, tmp_path):
    labels = [[0]] * 8 + [[1]]
    data = Dataset.read(write_scenes(tmp_path / "d", range(9), labels, ("disc", "ring")))
    done = arrange(data, val=0.2)
    assert not done.warnings, "a single object is learned"


@pytest.mark.parametrize(("count", "test"), [(1, 0.0), (0, 0.0), (3, 1.0)])
def test_impossible_folds_are_refused(write_scenes, tmp_path, count, test):
    data = Dataset.read(write_scenes(tmp_path / "d", range(4)))
    with pytest.raises(InputError, match=r"folds|`test`"):
        arrange_folds(data, count, test=test)


def test_more_folds_than_groups_are_refused(write_scenes, tmp_path):
    data = Dataset.read(write_scenes(tmp_path / "d", [0, 1, 2, 0, 1, 2, 0, 1]))
    with pytest.raises(InputError, match=r"parts of the split \(5\), found 3 groups"):
        ae.folds(data, 5)


def test_the_balloon_photographs_are_split(balloon):
    data = Dataset.read(balloon, classes=["balloon"])
    parts = ae.split(data, val=0.2)
    sizes = {name: (len(split), split.box_count) for name, split in parts.splits.items()}
    assert sizes["train"][0] + sizes["val"][0] == 74 and sizes["val"][0] == 15
    share = sizes["val"][1] / (sizes["train"][1] + sizes["val"][1])
    np.testing.assert_allclose(share, 0.2, atol=0.005)  # one photograph has 50 of 305 balloons
    twins = {"24631331976_defa3bb61f_k.jpg", "24362039530_b151b41a52_k.jpg"}  # one child, seen twice
    assert any(twins <= set(split.images.file_names) for split in parts.splits.values())
