"""Kalman filter of boxes with constant velocity, for all tracks at once.

The state of a box is its centre x, centre y, aspect ratio (width / height) and height, and their changes
per frame. All noises are independent between these four, so the filter of eight states is exactly four
filters of two states, value and change. Covariances are kept as three arrays in place of 8 x 8 matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Model and constants of DeepSORT (Wojke et al. 2017, arXiv 1703.07402), which ByteTrack uses.
POSITION_NOISE, VELOCITY_NOISE = 1 / 20, 1 / 160
"""Standard deviations in heights of the box: of positions, and of changes per frame."""
ASPECT_NOISE, ASPECT_VELOCITY_NOISE, MEASURED_ASPECT_NOISE = 1e-2, 1e-5, 1e-1
"""Standard deviations of the aspect ratio, of its change per frame, and of a measured one."""


@dataclass(frozen=True, slots=True, eq=False)
class BoxStates:
    """Estimated boxes of n tracks.

    Args:
        values: (n, 4) centre x, centre y, aspect ratio, height.
        changes: (n, 4) their changes per frame.
        value_variances: (n, 4).
        covariances: (n, 4) between each value and its change.
        change_variances: (n, 4).
    """

    values: Floats
    changes: Floats
    value_variances: Floats
    covariances: Floats
    change_variances: Floats

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> BoxStates:
        """Return some of the states."""
        return BoxStates(*(part[index] for part in self._parts()))

    def boxes_xyxy(self) -> Floats:
        """Return the boxes (n, 4); their sides are never negative."""
        height = np.maximum(self.values[:, 3], 0.0)
        half = np.stack([np.maximum(self.values[:, 2], 0.0) * height, height], axis=1) / 2
        return np.concatenate([self.values[:, :2] - half, self.values[:, :2] + half], axis=1)

    def _parts(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        return (
            self.values,
            self.changes,
            self.value_variances,
            self.covariances,
            self.change_variances,
        )


def join_states(first: BoxStates, second: BoxStates) -> BoxStates:
    """Return the states of `first`, then those of `second`."""
    parts = zip(first._parts(), second._parts(), strict=True)
    return BoxStates(*(np.concatenate(pair) for pair in parts))


def replace_states(states: BoxStates, index: NDArray[np.int64], new: BoxStates) -> BoxStates:
    """Return the states with those at `index` replaced by `new`."""
    parts = []
    for old, part in zip(states._parts(), new._parts(), strict=True):
        copy = old.copy()
        copy[index] = part
        parts.append(copy)
    return BoxStates(*parts)


def first_states(boxes_xyxy: Floats) -> BoxStates:
    """Return the states of boxes (n, 4) seen once, with sides above 0: at rest, and uncertain."""
    values = _measured(boxes_xyxy)
    height = values[:, 3]
    return BoxStates(
        values,
        np.zeros_like(values),
        _noise(height, 2 * POSITION_NOISE, ASPECT_NOISE) ** 2,
        np.zeros_like(values),
        _noise(height, 10 * VELOCITY_NOISE, ASPECT_VELOCITY_NOISE) ** 2,
    )


def predicted(states: BoxStates, resting: NDArray[np.bool_] | None = None) -> BoxStates:
    """Return the states one frame later.

    Args:
        states: of n tracks.
        resting: (n,) tracks whose height keeps still, because nothing was seen of them in the last frame.
    """
    changes = states.changes
    if resting is not None and resting.any():
        changes = changes.copy()
        changes[resting, 3] = 0.0
    height = states.values[:, 3]
    value_noise = _noise(height, POSITION_NOISE, ASPECT_NOISE) ** 2
    change_noise = _noise(height, VELOCITY_NOISE, ASPECT_VELOCITY_NOISE) ** 2
    return BoxStates(
        states.values + changes,
        changes,
        states.value_variances + 2 * states.covariances + states.change_variances + value_noise,
        states.covariances + states.change_variances,
        states.change_variances + change_noise,
    )


def updated(states: BoxStates, boxes_xyxy: Floats) -> BoxStates:
    """Return predicted states after boxes (n, 4) with sides above 0 were seen."""
    noise = _noise(states.values[:, 3], POSITION_NOISE, MEASURED_ASPECT_NOISE) ** 2
    total = states.value_variances + noise
    value_gain, change_gain = states.value_variances / total, states.covariances / total
    surprise = _measured(boxes_xyxy) - states.values
    return BoxStates(
        states.values + value_gain * surprise,
        states.changes + change_gain * surprise,
        states.value_variances - value_gain * states.value_variances,
        states.covariances - value_gain * states.covariances,
        states.change_variances - change_gain * states.covariances,
    )


def _measured(boxes_xyxy: Floats) -> Floats:
    """Return centre x, centre y, aspect ratio and height (n, 4)."""
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    centres = boxes_xyxy[:, :2] + sides / 2
    return np.concatenate([centres, sides[:, :1] / sides[:, 1:], sides[:, 1:]], axis=1)


def _noise(height: Floats, relative: float, aspect: float) -> Floats:
    """Return standard deviations (n, 4): relative to the height, and of the aspect ratio."""
    scaled = relative * np.abs(height)
    return np.stack([scaled, scaled, np.full_like(height, aspect), scaled], axis=1)
