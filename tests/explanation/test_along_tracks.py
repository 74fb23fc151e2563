"""Explanations along tracks: when a map is carried on, when a full one is made, and what is measured."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from aerostat.errors import InputError
from aerostat.explanation.along_tracks import CarryOptions, TrackExplainer, TrackMap, gain
from aerostat.explanation.boxam import explain
from aerostat.images.frame import Frame
from aerostat.inference.detector import Detector
from aerostat.results.detections import Detections

Lively = Callable[..., Detector]
SCORE = 0.05


def noise(seed: int = 3, size: tuple[int, int] = (120, 90)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def frame(image_bgr: np.ndarray, index: int = 0) -> Frame:
    return Frame(image_bgr, "clip", index)


@pytest.fixture(scope="module")
def detector(lively: Lively) -> Detector:
    return lively(side=96)


@pytest.fixture(scope="module")
def tracked(detector: Detector) -> Detections:
    """Two objects on a still picture."""
    found = detector.predict(noise(), score=SCORE)[:2]
    return replace(found, track_ids=np.asarray([7, 4]))


def reasons(maps: tuple[TrackMap, ...]) -> list[str | None]:
    return [one.reason for one in maps]


def test_a_new_track_has_the_map_of_the_still_and_keeps_it_on_the_next_frames(
    detector: Detector, tracked: Detections
) -> None:
    explainer = TrackExplainer(detector)
    first = explainer.update(frame(noise(), 20), tracked)
    second = explainer.update(frame(noise(), 22), tracked)
    assert reasons(first) == ["new", "new"]
    assert reasons(second) == [None, None]
    assert [one.detection.track_id for one in second] == [7, 4]
    assert [(one.source_frame, one.age) for one in first + second] == [(20, 0)] * 2 + [(20, 1)] * 2
    still = explain(detector, noise(), score=SCORE, top=2)
    for one, later, item in zip(first, second, still, strict=True):
        assert one.heat.shape == (90, 120)
        assert np.allclose(one.content, item.heat_at(one.letterbox.resized_size), atol=1e-3)
        assert np.allclose(later.content, one.content, atol=1e-3)
        assert later.likeness == pytest.approx(1, abs=1e-4)
    assert (explainer.costs.full, explainer.costs.carried) == (2, 2)


def test_the_heat_goes_with_the_box(detector: Detector, tracked: Detections) -> None:
    explainer = TrackExplainer(detector)
    one = tracked[:1]
    (before,) = explainer.update(frame(noise()), one)
    moved = replace(one, boxes_xyxy=one.boxes_xyxy + np.float32([-20, 0, -20, 0]))
    (after,) = explainer.update(frame(np.roll(noise(), -20, axis=1)), moved)
    assert after.is_carried
    shift = round(20 * 96 / 120)
    assert np.allclose(after.content[:, :-shift], before.content[:, shift:], atol=1e-3)
    assert after.content.any()


def test_a_full_map_is_made_when_the_carried_one_is_old(detector: Detector, tracked: Detections) -> None:
    explainer = TrackExplainer(detector, full_every=3)
    found = [explainer.update(frame(noise(), i), tracked[:1])[0] for i in range(7)]
    assert reasons(tuple(found)) == ["new", None, None, "age", None, None, "age"]
    always = TrackExplainer(detector, full_every=1)
    assert not any(always.update(frame(noise(), i), tracked[:1])[0].is_carried for i in range(3))


def test_a_full_map_is_made_when_the_box_or_the_look_changed(detector: Detector, tracked: Detections) -> None:
    explainer = TrackExplainer(detector)
    explainer.update(frame(noise()), tracked[:1])
    x1, y1, x2, y2 = tracked.boxes_xyxy[0].tolist()
    narrow = replace(tracked[:1], boxes_xyxy=np.asarray([[x1, y1, x1 + 0.7 * (x2 - x1), y2]]))
    assert reasons(explainer.update(frame(noise()), narrow)) == ["box"]
    assert reasons(explainer.update(frame(noise()), narrow)) == [None]
    assert reasons(explainer.update(frame(noise(seed=9)), narrow)) == ["look"]
    blind = TrackExplainer(detector, likeness=-1, box_change=100)
    blind.update(frame(noise()), tracked[:1])
    assert reasons(blind.update(frame(noise(seed=9)), narrow)) == [None]


def test_a_track_that_was_away_for_long_is_forgotten(detector: Detector, tracked: Detections) -> None:
    explainer = TrackExplainer(detector, full_every=3)
    explainer.update(frame(noise()), tracked[:1])
    for _ in range(3):
        assert explainer.update(frame(noise()), tracked[:0]) == ()
    assert reasons(explainer.update(frame(noise()), tracked[:1])) == ["new"]


def test_frames_of_another_size_are_explained(detector: Detector, tracked: Detections) -> None:
    explainer = TrackExplainer(detector, likeness=-1)
    explainer.update(frame(noise()), tracked[:1])
    wide = replace(tracked[:1], image_size=(200, 90))
    (one,) = explainer.update(frame(noise(size=(200, 90))), wide)
    assert one.heat.shape == (90, 200)


def test_the_best_objects_are_explained_and_boxes_without_an_area_are_left_out(
    detector: Detector, tracked: Detections
) -> None:
    best = int(tracked.scores.argmax())
    (one,) = TrackExplainer(detector, top=1).update(frame(noise()), tracked)
    assert one.detection.track_id == [7, 4][best]
    flat = replace(tracked[:1], boxes_xyxy=np.asarray([[5, 5, 5, 30]]))
    assert TrackExplainer(detector).update(frame(noise()), flat) == ()


def test_every_so_many_frames_both_maps_are_measured(detector: Detector, tracked: Detections) -> None:
    explainer = TrackExplainer(detector, measure_every=2, tolerance=10)
    found = [explainer.update(frame(noise(), i), tracked[:1])[0] for i in range(3)]
    assert [one.measures is not None for one in found] == [True, False, True]
    first, last = found[0].measures, found[2].measures
    assert first is not None and first.carried is None
    assert last is not None and last.carried is not None
    assert gain(last.carried) == pytest.approx(gain(last.full), abs=0.02)  # nothing has moved
    assert last.bell.inside > 0.5
    assert explainer.costs.full == 1  # measuring does not count


def test_a_carried_map_that_is_measured_to_be_worse_is_replaced(
    detector: Detector, tracked: Detections
) -> None:
    explainer = TrackExplainer(detector, measure_every=1, tolerance=0, likeness=-1, box_change=100)
    found = []
    for seed in range(3):  # other pictures, so that the carried maps are wrong
        seen = detector.predict(noise(seed), score=SCORE)[:1]
        found += explainer.update(frame(noise(seed), seed), replace(seen, track_ids=np.asarray([1])))
    for one in found[1:]:
        assert one.measures is not None and one.measures.carried is not None
        worse = gain(one.measures.carried) < gain(one.measures.full)
        assert one.reason == ("faithfulness" if worse else None)
    assert "faithfulness" in reasons(tuple(found))
    replaced = next(one for one in found if one.reason == "faithfulness")
    assert replaced.source_frame == found.index(replaced)


@pytest.mark.parametrize("method", ["gradcam", "drise"])
def test_another_method_may_make_the_maps(detector: Detector, tracked: Detections, method: str) -> None:
    explainer = TrackExplainer(detector, method=method, masks=20)
    first = explainer.update(frame(noise()), tracked)
    second = explainer.update(frame(noise()), tracked)
    for one, later in zip(first, second, strict=True):
        assert one.content.max() > 0
        assert np.allclose(one.content, later.content, atol=1e-3)


@pytest.mark.parametrize(
    "changed",
    [
        {"full_every": 0},
        {"measure_every": 0},
        {"box_change": 0.9},
        {"box_change": float("nan")},
        {"likeness": 1.1},
        {"tolerance": -0.1},
        {"top": 0},
    ],
)
def test_numbers_out_of_their_range_are_refused(changed: dict[str, float]) -> None:
    with pytest.raises(InputError, match="Expected"):
        CarryOptions(**changed)  # type: ignore[arg-type]


def test_detections_without_numbers_are_refused(detector: Detector, tracked: Detections) -> None:
    with pytest.raises(InputError, match="track_ids"):
        TrackExplainer(detector).update(frame(noise()), replace(tracked, track_ids=None))
