"""ByteTrack: what happens to identities."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerostat.errors import InputError
from aerostat.geometry.masks import Masks
from aerostat.results.detections import Detections
from aerostat.tracking.options import TrackerOptions
from aerostat.tracking.tracker import Tracker

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("lap") is None, reason="the extra [tracking] is not installed"
)

CLASSES = ("person", "car")
BOX = (10.0, 10.0, 30.0, 60.0)


def frame(*objects: tuple[tuple[float, float, float, float], float, int]) -> Detections:
    """Return detections of (box, score, label)."""
    return Detections(
        np.asarray([box for box, _, _ in objects], np.float32).reshape(-1, 4),
        np.asarray([score for _, score, _ in objects], np.float32),
        np.asarray([label for _, _, label in objects], np.int64),
        CLASSES,
    )


def at(x: float, score: float = 0.9, label: int = 0, y: float = 10.0) -> tuple[tuple[float, ...], float, int]:
    return (x, y, x + 20, y + 50), score, label


def ids(found: Detections) -> list[int]:
    assert found.track_ids is not None
    return found.track_ids.tolist()


def test_an_object_keeps_its_identity_as_it_moves() -> None:
    tracker = Tracker()
    assert [ids(tracker.update(frame(at(3 * step)))) for step in range(30)] == [[1]] * 30


def test_two_objects_that_pass_each_other_keep_theirs() -> None:
    tracker = Tracker()
    for step in range(41):
        found = tracker.update(frame(at(5 * step), at(200 - 5 * step, y=25)))
        assert ids(found) == [1, 2], f"frame {step}"


def test_a_new_object_has_an_identity_in_its_second_frame() -> None:
    tracker = Tracker()
    tracker.update(frame())
    assert [ids(tracker.update(frame(at(0)))) for _ in range(3)] == [[], [1], [1]]


def test_objects_of_the_first_frame_have_one_at_once() -> None:
    assert ids(Tracker().update(frame(at(0), at(100)))) == [1, 2]


def test_a_flash_of_one_frame_takes_no_number() -> None:
    tracker = Tracker()
    tracker.update(frame(at(0)))
    for x in (200, 300, 400):
        assert ids(tracker.update(frame(at(0), at(x)))) == [1]
    tracker.update(frame(at(0), at(500)))
    assert ids(tracker.update(frame(at(0), at(500)))) == [1, 2]


def test_weak_detections_continue_a_track_and_never_begin_one() -> None:
    tracker = Tracker()
    tracker.update(frame(at(0)))
    assert [ids(tracker.update(frame(at(0, 0.2), at(100, 0.2)))) for _ in range(5)] == [[1]] * 5


def test_detections_below_the_low_score_are_left_out() -> None:
    tracker = Tracker()
    tracker.update(frame(at(0)))
    assert ids(tracker.update(frame(at(0, 0.05)))) == []


def test_a_good_detection_below_the_score_of_new_tracks_only_continues() -> None:
    tracker = Tracker(high_score=0.5, new_score=0.8)
    tracker.update(frame(at(0)))
    for _ in range(3):
        found = tracker.update(frame(at(0, 0.6), at(100, 0.7)))
        assert ids(found) == [1]


def test_a_lost_object_comes_back_with_its_identity() -> None:
    tracker = Tracker(lost_frames=10)
    for step in range(10):
        tracker.update(frame(at(4 * step)))
    for _ in range(10):
        assert ids(tracker.update(frame())) == []
    assert ids(tracker.update(frame(at(4 * 20)))) == [1]


def test_after_that_it_is_a_new_object() -> None:
    tracker = Tracker(lost_frames=10)
    tracker.update(frame(at(0)))
    for _ in range(11):
        tracker.update(frame())
    assert ids(tracker.update(frame(at(0)))) == []
    assert ids(tracker.update(frame(at(0)))) == [2]


def test_with_times_a_lost_object_is_kept_for_seconds_however_many_frames_there_are() -> None:
    for rate, away_s, expected in ((10, 1.1, 1), (10, 1.2, 2), (2, 1.5, 1), (2, 2.0, 2), (0.5, 4.0, 2)):
        tracker = Tracker(confirm_frames=1, lost_frames=0, lost_s=1.0)
        tracker.update(frame(at(0)), 0.0)
        for number in range(1, round(away_s * rate)):
            tracker.update(frame(), number / rate)
        assert ids(tracker.update(frame(at(0)), away_s)) == [expected], (rate, away_s)


def test_a_lost_object_is_not_continued_by_weak_detections() -> None:
    tracker = Tracker()
    tracker.update(frame(at(0)))
    tracker.update(frame())
    assert ids(tracker.update(frame(at(0, 0.2)))) == []
    assert ids(tracker.update(frame(at(0, 0.9)))) == [1]


def test_objects_of_different_classes_never_share_an_identity() -> None:
    tracker = Tracker()
    tracker.update(frame(at(0, label=0)))
    assert ids(tracker.update(frame(at(0, label=1)))) == []
    assert ids(tracker.update(frame(at(0, label=1)))) == [2]
    both = frame(at(0, label=1), at(0, label=0))
    assert ids(tracker.update(both)) == [2, 1]


def test_boxes_masks_scores_and_columns_stay_as_they_are() -> None:
    boxes = np.asarray([[0, 0, 4, 4], [2, 2, 8, 8], [0, 5, 4, 9]], np.float32)
    masks = Masks.from_dense(np.arange(3 * 100).reshape(3, 10, 10) % 7 == 0)
    detections = Detections(
        boxes, [0.9, 0.05, 0.7], [0, 1, 0], CLASSES, masks, (10, 10), data={"age": np.asarray([3, 4, 5])}
    )
    found = Tracker().update(detections)
    assert found[:] == found
    assert ids(found) == [1, 2]
    kept = detections[[0, 2]]
    assert (found.boxes_xyxy == kept.boxes_xyxy).all()
    assert found.masks == kept.masks
    assert found.data["age"].tolist() == [3, 5]


def test_boxes_without_an_area_are_left_out() -> None:
    tracker = Tracker()
    flat = ((5.0, 5.0, 5.0, 50.0), 0.9, 0)
    assert [ids(tracker.update(frame(flat, at(50)))) for _ in range(3)] == [[1]] * 3


def test_another_model_needs_another_tracker() -> None:
    tracker = Tracker()
    tracker.update(frame())
    with pytest.raises(InputError, match="one tracker follows one video"):
        tracker.update(Detections.empty(["balloon"]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"high_score": 1.5},
        {"low_score": -0.1},
        {"high_iou": float("nan")},
        {"lost_frames": -1},
        {"confirm_frames": 0},
        {"lost_frames": 2.5},
        {"low_score": 0.6, "high_score": 0.5},
        {"high_score": 0.6, "new_score": 0.5},
    ],
)
def test_thresholds_out_of_range_or_order_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="`"):
        TrackerOptions(**wrong)


def test_a_high_score_near_one_leaves_room_for_new_tracks() -> None:
    assert TrackerOptions(high_score=0.95).start_score == 1.0


# --- properties of any video

videos = st.lists(
    st.lists(
        st.tuples(
            st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 30), st.integers(0, 30)).map(
                lambda xywh: (xywh[0], xywh[1], xywh[0] + xywh[2], xywh[1] + xywh[3])
            ),
            st.sampled_from([0.05, 0.15, 0.5, 0.65, 0.95]),
            st.integers(0, 1),
        ),
        max_size=6,
    ),
    max_size=12,
)


@settings(max_examples=120, deadline=None)
@given(videos)
def test_identities_are_unique_in_a_frame_of_one_class_and_the_same_every_time(video: list[list]) -> None:
    one, other = Tracker(lost_frames=3), Tracker(lost_frames=3)
    labels: dict[int, int] = {}
    last_seen: dict[int, int] = {}
    for number, objects in enumerate(video):
        detections = frame(*objects)
        found = one.update(detections)
        assert found == other.update(detections)
        numbers = ids(found)
        assert len(set(numbers)) == len(numbers)
        for each, label in zip(numbers, found.labels.tolist(), strict=True):
            assert labels.setdefault(each, label) == label
            # A number is not given again after its track has ended.
            assert number - last_seen.get(each, number) <= 3 + 1
            last_seen[each] = number
    assert sorted(labels) == list(range(1, len(labels) + 1))


def test_thousands_of_boxes_keep_their_identities() -> None:
    x, y = np.meshgrid(np.arange(60.0) * 30, np.arange(50.0) * 60)
    boxes = np.stack([x.ravel(), y.ravel(), x.ravel() + 20, y.ravel() + 50], axis=1)
    rng = np.random.default_rng(0)
    tracker = Tracker()
    owners: dict[int, int] = {}
    for step in range(6):
        order = rng.permutation(len(boxes))
        moved = (boxes + np.asarray([3 * step, step, 3 * step, step]))[order]
        found = tracker.update(
            Detections(moved, np.full(len(moved), 0.9), np.zeros(len(moved), int), CLASSES)
        )
        assert len(found) == len(boxes)
        for each, owner in zip(ids(found), order.tolist(), strict=True):
            assert owners.setdefault(each, owner) == owner


def test_a_crowd_that_all_overlaps_is_followed() -> None:
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 100, (300, 2))
    boxes = np.concatenate([corners, corners + np.asarray([60, 120])], axis=1)
    tracker = Tracker()
    first = ids(tracker.update(Detections(boxes, np.full(300, 0.9), np.zeros(300, int), CLASSES)))
    for _ in range(3):
        boxes += rng.normal(0, 0.01, boxes.shape)
        found = tracker.update(Detections(boxes, np.full(300, 0.9), np.zeros(300, int), CLASSES))
        assert ids(found) == first
