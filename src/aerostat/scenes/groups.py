"""Groups of balloons as they hang, fly and lie in a drawn scene."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aerostat.scenes.backdrops import Backdrop
from aerostat.scenes.brushes import Random, bezier, chance, uniform
from aerostat.scenes.drawn_balloon import Balloon, balloon_profile, draw_looks


def draw_group(rng: Random, backdrop: Backdrop, width: int, height: int) -> list[Balloon]:
    """Return balloons of one group, the farthest first."""
    kinds = [_single, _few, _few, _bunch, _bunch, _bunch, _scattered, _garland]
    if backdrop.floor is not None:
        kinds += [_lying, _lying]
    balloons = kinds[int(rng.integers(len(kinds)))](rng, backdrop, width, height)
    if not chance(rng, 0.15):
        return balloons
    sigma = uniform(rng, 0.6, 3.0)  # a group out of focus
    return [replace(b, sigma=min(sigma, b.radius * 0.12)) for b in balloons]


def random_radius(rng: Random, width: int, height: int, low: float, high: float) -> float:
    """Return a radius between two shares of the image's shorter side, small ones as likely as large ones."""
    return min(width, height) * 0.5 * math.exp(uniform(rng, math.log(low), math.log(high)))


def _single(rng: Random, backdrop: Backdrop, width: int, height: int) -> list[Balloon]:
    r = random_radius(rng, width, height, 0.09, 0.62)
    x, y = uniform(rng, 0.05, 0.95) * width, uniform(rng, 0.1, 0.75) * height
    angle = float(rng.normal(0, 0.3)) if chance(rng, 0.8) else uniform(rng, -np.pi, np.pi)
    tether = (
        (x - math.sin(angle) * 2 * r + uniform(rng, -1, 1) * r, y + r * uniform(rng, 2.5, 9))
        if chance(rng, 0.7)
        else None
    )
    return [Balloon(x, y, r, angle, balloon_profile(rng), draw_looks(rng, 1)[0], tether)]


def _few(rng: Random, backdrop: Backdrop, width: int, height: int) -> list[Balloon]:
    count = int(rng.integers(2, 5))
    r = random_radius(rng, width, height, 0.09, 0.4)
    looks = draw_looks(rng, count)
    balloons = []
    for look in looks:
        x, y = uniform(rng, 0.03, 0.97) * width, uniform(rng, 0.08, 0.7) * height
        size = r * uniform(rng, 0.75, 1.25)
        tether = (
            (x + uniform(rng, -1.5, 1.5) * size, y + size * uniform(rng, 2.5, 8))
            if chance(rng, 0.75)
            else None
        )
        balloons.append(Balloon(x, y, size, float(rng.normal(0, 0.25)), balloon_profile(rng), look, tether))
    return sorted(balloons, key=lambda b: b.radius)


def _bunch(rng: Random, backdrop: Backdrop, width: int, height: int) -> list[Balloon]:
    """Balloons whose strings meet in one hand, each leaning away from it."""
    count = int(rng.integers(3, 15))
    r = random_radius(rng, width, height, 0.11, 0.36 if count < 8 else 0.24)
    spread = r * math.sqrt(count) * uniform(rng, 0.75, 1.1)
    cx, cy = uniform(rng, 0.15, 0.85) * width, uniform(rng, 0.15, 0.55) * height
    hold = (cx + uniform(rng, -1, 1) * spread, cy + spread + r * uniform(rng, 2, 6))
    holder, ground = "", 0.0
    if backdrop.floor is not None and backdrop.place != "table" and chance(rng, 0.75):
        holder = "person" if chance(rng, 0.6) else "weight"
        ground = backdrop.floor + (height * 1.05 - backdrop.floor) * uniform(rng, 0.1, 1.0)
        lift = backdrop.metre(ground) * (1.0 if holder == "person" else 0.12)
        hold = (hold[0], ground - lift)
        cy = min(cy, hold[1] - spread - r)
    else:
        hold = (hold[0], max(hold[1], height * 1.05))
    looks, profiles = draw_looks(rng, count), [balloon_profile(rng) for _ in range(3)]
    balloons: list[Balloon] = []
    for place in _apart(rng, count, 0.75 * r / spread):
        x, y = cx + place[0] * spread, cy + place[1] * spread * 0.85
        angle = -math.atan2(hold[0] - x, max(hold[1] - y, r)) + float(rng.normal(0, 0.15))
        size = r * uniform(rng, 0.85, 1.12)
        balloons.append(
            Balloon(
                x,
                y,
                size,
                angle,
                profiles[int(rng.integers(3))],
                looks[len(balloons)],
                hold,
                holder=holder,
                ground=ground,
            )
        )
    return balloons


def _apart(rng: Random, count: int, distance: float) -> list[NDArray[np.float64]]:
    """Return points in the unit disc, each the best of a few tries at keeping a distance from the others."""
    points: list[NDArray[np.float64]] = []
    for _ in range(count):
        tries = rng.uniform(-1, 1, (6, 2))
        tries /= np.maximum(1, np.linalg.norm(tries, axis=1))[:, None]
        if points:
            gaps = np.linalg.norm(tries[:, None] - np.asarray(points)[None], axis=2).min(axis=1)
            points.append(tries[int(np.argmin(np.abs(gaps - 1.6 * distance)))])
        else:
            points.append(tries[0] * 0.3)
    return points


def _scattered(rng: Random, backdrop: Backdrop, width: int, height: int) -> list[Balloon]:
    """Many small ones that have been let go."""
    count = int(rng.integers(4, 22))
    r = random_radius(rng, width, height, 0.045, 0.12)
    balloons = []
    for look in draw_looks(rng, count):
        size = max(r * uniform(rng, 0.7, 1.4), 8 * min(width, height) / 480)
        x, y = uniform(rng, 0, 1) * width, uniform(rng, 0.02, 0.75) * height
        tether = (x + uniform(rng, -1, 1) * size, y + size * uniform(rng, 3, 6)) if chance(rng, 0.6) else None
        balloons.append(Balloon(x, y, size, float(rng.normal(0, 0.35)), balloon_profile(rng), look, tether))
    return sorted(balloons, key=lambda b: b.radius)


def _garland(rng: Random, backdrop: Backdrop, width: int, height: int) -> list[Balloon]:
    """Balloons tied closely along an arch."""
    r = random_radius(rng, width, height, 0.11, 0.2)
    left, right = uniform(rng, -0.1, 0.3) * width, uniform(rng, 0.6, 1.1) * width
    base, top = uniform(rng, 0.3, 1.0) * height, uniform(rng, -0.35, 0.3) * height
    arch = bezier(((left, base), (left, top), (right, top), (right, base * uniform(rng, 0.6, 1.1))), 200)
    length = float(np.linalg.norm(np.diff(arch, axis=0), axis=1).sum())
    count = min(30, int(length / (r * 1.05)))
    looks, profiles = draw_looks(rng, count), [balloon_profile(rng) for _ in range(3)]
    balloons = []
    for i in rng.permutation(count):
        size = r * uniform(rng, 0.7, 1.2)
        x, y = arch[int((i + 0.5) / count * 199)] + rng.normal(0, 0.45, 2) * r
        angle = uniform(rng, -np.pi, np.pi)
        balloons.append(Balloon(float(x), float(y), size, angle, profiles[int(i) % 3], looks[int(i)]))
    return balloons


def _lying(rng: Random, backdrop: Backdrop, width: int, height: int) -> list[Balloon]:
    """Balloons on the floor, larger towards the camera."""
    floor = float(backdrop.floor if backdrop.floor is not None else height * 0.8)
    r = random_radius(rng, width, height, 0.1, 0.34)
    balloons = []
    for look in draw_looks(rng, int(rng.integers(1, 9))):
        ground = floor + (height * 1.06 - floor) * uniform(rng, 0.08, 1.0)
        near = (ground - backdrop.horizon) / max(height - backdrop.horizon, 1.0)
        size = max(r * min(max(near, 0.35), 1.1), 8 * min(width, height) / 480)
        balloon = Balloon(
            uniform(rng, 0, 1) * width, 0.0, size, uniform(rng, -np.pi, np.pi), balloon_profile(rng), look
        )
        lift = ground - float(balloon.outline()[:, 1].max())
        balloons.append(Balloon(balloon.x, lift, size, balloon.angle, balloon.profile, look, None, True))
    return sorted(balloons, key=lambda b: float(b.outline()[:, 1].max()))
