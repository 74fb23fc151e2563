"""The Kalman filter of boxes against the textbook's matrices."""

import numpy as np
import pytest

from aerostat.tracking.kalman import BoxStates, first_states, predicted, updated


def matrices(state: BoxStates, track: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (8,) and covariance (8, 8) of one track."""
    mean = np.concatenate([state.values[track], state.changes[track]])
    covariance = np.block(
        [
            [np.diag(state.value_variances[track]), np.diag(state.covariances[track])],
            [np.diag(state.covariances[track]), np.diag(state.change_variances[track])],
        ]
    )
    return mean, covariance


def textbook_step(
    mean: np.ndarray, covariance: np.ndarray, measured: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Predict and update with whole matrices, and DeepSORT's noises."""
    motion = np.eye(8) + np.eye(8, k=4)
    h = mean[3]
    noise = np.diag(np.square([h / 20, h / 20, 1e-2, h / 20, h / 160, h / 160, 1e-5, h / 160]))
    mean, covariance = motion @ mean, motion @ covariance @ motion.T + noise
    h = mean[3]
    seen = np.eye(4, 8)
    total = seen @ covariance @ seen.T + np.diag(np.square([h / 20, h / 20, 1e-1, h / 20]))
    gain = covariance @ seen.T @ np.linalg.inv(total)
    return mean + gain @ (measured - seen @ mean), covariance - gain @ total @ gain.T


def test_it_is_the_textbook_filter_of_eight_states() -> None:
    rng = np.random.default_rng(0)
    boxes = np.asarray([[10.0, 20, 50, 140], [300, 80, 340, 100]])
    state = first_states(boxes)
    expected = [matrices(state, track) for track in range(2)]
    for _ in range(12):
        boxes = boxes + np.asarray([4, 1, 5, 2]) + rng.normal(0, 1, (2, 4))
        state = updated(predicted(state), boxes)
        for track, (x1, y1, x2, y2) in enumerate(boxes):
            measured = np.asarray([(x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / (y2 - y1), y2 - y1])
            expected[track] = textbook_step(*expected[track], measured)
            for found, wanted in zip(matrices(state, track), expected[track], strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_a_box_seen_once_stays_where_it_is() -> None:
    boxes = np.asarray([[10.0, 20, 50, 140]])
    np.testing.assert_allclose(predicted(first_states(boxes)).boxes_xyxy(), boxes)


def test_a_steady_walk_is_foreseen() -> None:
    boxes = np.asarray([[10.0, 20, 50, 140]])
    state = first_states(boxes)
    for step in range(1, 20):
        state = updated(predicted(state), boxes + 5 * step * np.asarray([1, 0, 1, 0]))
    np.testing.assert_allclose(predicted(state).boxes_xyxy(), boxes + np.asarray([100, 0, 100, 0]), atol=1.0)


def test_a_track_at_rest_keeps_its_height_and_moves_on() -> None:
    state = first_states(np.asarray([[10.0, 20, 50, 140], [10.0, 20, 50, 140]]))
    state = BoxStates(state.values, np.full((2, 4), [3.0, 0, 0, -40]), *list(vars_of(state))[2:])
    after = predicted(state, resting=np.asarray([True, False])).values
    assert after[:, 3].tolist() == [120, 80]
    assert after[:, 0].tolist() == [33, 33]


def test_boxes_that_shrink_to_nothing_have_no_negative_sides() -> None:
    state = first_states(np.asarray([[10.0, 20, 50, 140]]))
    state = BoxStates(state.values, np.asarray([[0.0, 0, 0, -500]]), *list(vars_of(state))[2:])
    x1, y1, x2, y2 = predicted(state).boxes_xyxy()[0]
    assert x2 >= x1
    assert y2 >= y1


def vars_of(state: BoxStates) -> list[np.ndarray]:
    return [
        state.values,
        state.changes,
        state.value_variances,
        state.covariances,
        state.change_variances,
    ]


@pytest.mark.parametrize("height", [1e-30, 1e-3, 1e6])
def test_boxes_of_any_size_give_finite_states(height: float) -> None:
    boxes = np.asarray([[0.0, 0, 10, height]])
    state = first_states(boxes)
    for _ in range(5):
        state = updated(predicted(state), boxes)
    assert all(np.isfinite(part).all() for part in vars_of(state))
