"""Images held out by a training: how many, which, and again."""

import dataclasses
import json

import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.errors import InputError
from aerostat.splitting import holdout
from aerostat.splitting.holdout import hold_out, hold_out_again, read_holdout
from aerostat.splitting.split import arrange


def only(data):
    return next(iter(data.splits.values()))


def names(split):
    return set(split.images.file_names)


def test_a_fifth_is_held_out_as_split_does_it(write_scenes, tmp_path):
    data = Dataset.read(write_scenes(tmp_path / "d", [*range(18), 3, 4]))
    apart, held = hold_out(data, only(data), None)
    assert set(held.file_names) == names(apart.split("val")) == names(arrange(data).data.split("val"))
    assert (len(held.file_names), held.images, held.share, held.warnings) == (4, 20, 0.2, ())
    assert apart.origin == data.origin
    assert "2 groups of like images" in held.together


def test_few_images_are_held_out_only_if_that_is_asked_for(write_scenes, tmp_path):
    data = Dataset.read(write_scenes(tmp_path / "d", range(9)))
    apart, held = hold_out(data, only(data), None)
    assert apart is data and not held.file_names
    assert held.warnings == ("there are only 9 images, so none is held out for validation",)
    apart, held = hold_out(data, only(data), 0.3)
    assert len(held.file_names) == 3 and not held.warnings
    ten = Dataset.read(write_scenes(tmp_path / "ten", range(10)))
    assert len(hold_out(ten, only(ten), None)[1].file_names) == 2


def test_images_that_are_all_alike_are_all_learned(write_scenes, tmp_path):
    data = Dataset.read(write_scenes(tmp_path / "d", [1] * 12))
    apart, held = hold_out(data, only(data), None)
    assert apart is data and "all 12 images are like one another" in held.warnings[0]
    with pytest.raises(InputError, match="groups of like images"):
        hold_out(data, only(data), 0.2)


def test_objects_must_be_on_both_sides(write_scenes, tmp_path):
    data = Dataset.read(write_scenes(tmp_path / "d", range(10), [[0], *[[]] * 9]))
    apart, held = hold_out(data, only(data), None)
    assert apart is data and "objects for both" in held.warnings[0]


def test_above_a_number_of_images_only_bytes_are_compared(write_scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(holdout, "MAX_COMPARED", 12)
    data = Dataset.read(write_scenes(tmp_path / "d", [*range(10), *[5] * 4]))
    held = hold_out(data, only(data), None)[1]
    assert len(held.file_names) == 3
    assert "Of more than 12 images only files of the same bytes are kept together" in held.together


def test_the_same_images_are_held_out_again(write_scenes, tmp_path):
    data = Dataset.read(write_scenes(tmp_path / "d", range(20)))
    apart, held = hold_out(data, only(data), None)
    path = tmp_path / "holdout.json"
    path.write_text(held.to_json())
    assert read_holdout(path) == dataclasses.replace(held, together="")
    again = hold_out_again(data, only(data), read_holdout(path).file_names)
    for name in ("train", "val"):
        assert again.split(name).images == apart.split(name).images
    assert read_holdout(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"file_names": []}', '{"share": 0.2, "images": 9, "file_names": "a.jpg"}', "[" * 9999],
)
def test_a_broken_record_is_named(tmp_path, text):
    path = tmp_path / "holdout.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"holdout\.json is no readable record of held-out images"):
        read_holdout(path)


def test_the_record_says_how_much_was_held_out(write_scenes, tmp_path):
    data = Dataset.read(write_scenes(tmp_path / "d", range(10)))
    record = json.loads(hold_out(data, only(data), 0.5)[1].to_json())
    assert (record["share"], record["images"], record["held_out"]) == (0.5, 10, 5)
