"""Moves that keep like images in one split: the fewest ones, and the sizes of the splits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerostat.datasets.dataset import Dataset
from aerostat.errors import InputError
from aerostat.lint.lint import lint
from aerostat.splitting.repair import homes, repair


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([], []),
        ([[3, 0], [0, 2]], [0, 1]),  # nothing crosses
        ([[3, 1], [9, 0], [0, 4]], [0, 0, 1]),  # the one image moves
        ([[1, 3], [9, 0], [0, 4]], [1, 0, 1]),
        ([[1, 1], [1, 1], [9, 0], [0, 3]], [1, 0, 0, 1]),  # one each way keeps both sizes
        # Three of train and one of val, four times: one group goes to val, which keeps its four images.
        ([[3, 1]] * 4 + [[9, 0]], [1, 0, 0, 0, 0]),
        ([[2, 1, 1], [5, 0, 0], [0, 3, 0], [0, 0, 3]], [0, 0, 1, 2]),
    ],
)
def test_groups_go_where_most_of_them_is_and_sizes_stay(members, expected):
    assert (
        homes(np.asarray(members, np.int64).reshape(-1, len(members[0]) if members else 2)).tolist()
        == expected
    )


def test_a_validation_split_that_is_all_copies_keeps_its_size():
    """As a public set of chess pieces has it: 85 of 87 held-out images have copies in training."""
    members = np.array([[3, 1]] * 85 + [[0, 1]] * 2 + [[1, 0]] * 3)
    home = homes(members)
    sizes = np.bincount(home, members.sum(axis=1))
    assert abs(sizes[1] - 87) <= 2
    moved = members.sum() - members[np.arange(len(members)), home].sum()
    assert moved == 64 + 3 * 21


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3).filter(any), min_size=1, max_size=25))
@settings(max_examples=200, deadline=None)
def test_sizes_are_never_worse_than_with_the_fewest_moves(rows):
    members = np.asarray(rows)
    home = homes(members)
    assert (members[np.arange(len(rows)), home] > 0).all(), "a group goes where one of its images is"

    def off(where):
        return np.abs(np.bincount(where, members.sum(axis=1), 3) - members.sum(axis=0)).sum()

    assert off(home) <= off(members.argmax(axis=1))


def test_moves_name_the_image_and_its_like(write_scenes, tmp_path):
    write_scenes(tmp_path / "d" / "train", range(12))
    write_scenes(tmp_path / "d" / "val", [20, 21, 3, 22])
    data = Dataset.read(tmp_path / "d")
    assert lint(data).leaks.in_training == 1
    found = repair(data)
    assert found.crossing == 1
    (move,) = found.moves
    assert {(move.before, move.file_name), (move.after, move.like)} == {
        ("train", "003.png"),
        ("val", "002.png"),
    }
    assert lint(found.arrangement.data).leaks.in_training == 0
    assert len(found.arrangement.data.split("val")) in (3, 5)
    assert "1 group of like images crosses the splits; 1 move would mend that" in found.summary()


def test_sound_splits_stay_as_they_are(write_scenes, tmp_path):
    write_scenes(tmp_path / "d" / "train", range(6))
    write_scenes(tmp_path / "d" / "val", [7, 8])
    found = repair(Dataset.read(tmp_path / "d"))
    assert found.moves == () and "nothing has to be moved" in found.summary()


def test_data_without_splits_are_refused(write_scenes, tmp_path):
    with pytest.raises(InputError, match="two splits or more for `repair`, found train alone"):
        repair(Dataset.read(write_scenes(tmp_path / "train", range(3))))
