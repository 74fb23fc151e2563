"""Parts of outdoor backdrops: sky, hills, trees, houses, ground, lights out of focus."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.scenes.brushes import (
    Floats,
    Image,
    Random,
    blur,
    chance,
    fill,
    gradient,
    hsv,
    smooth_noise,
    uniform,
    window,
)


def draw_sky(rng: Random, w: int, h: int, cloudy: float) -> Floats:
    """Draw a sky (h, w, 3): by day, overcast or in the evening, with clouds at a probability of `cloudy`."""
    kind = float(rng.random())
    if kind < 0.55:  # day
        hue = uniform(rng, 0.54, 0.61)
        top, bottom = (
            hsv(hue, uniform(rng, 0.5, 0.85), uniform(rng, 0.5, 0.85)),
            hsv(hue - 0.02, uniform(rng, 0.1, 0.4), uniform(rng, 0.85, 1)),
        )
        white = np.float32(uniform(rng, 225, 255))
    elif kind < 0.8:  # overcast
        tone = uniform(rng, 0.5, 0.95)
        top, bottom = hsv(0.58, 0.08, tone), hsv(0.58, 0.04, min(1, tone + 0.15))
        white = np.float32(tone * 265)
    else:  # evening
        top, bottom = (
            hsv(uniform(rng, 0.58, 0.72), 0.55, uniform(rng, 0.25, 0.6)),
            hsv(uniform(rng, 0.02, 0.11), 0.6, uniform(rng, 0.75, 1)),
        )
        white = np.float32(uniform(rng, 150, 215))
    sky = gradient(h, w, top, bottom, uniform(rng, 0.7, 1.4))
    if chance(rng, cloudy):
        small_h, small_w = max(8, h // 2), max(8, w // 2)
        form = smooth_noise(rng, small_h, small_w, uniform(rng, 2, 4), 5, uniform(rng, 1.3, 2.4), 0.55)
        cover = uniform(rng, 0.42, 0.62)
        thick = np.clip((form - cover) * uniform(rng, 3.5, 8), 0, 1)
        shadow = np.clip((form - np.roll(form, -max(1, small_h // 22), axis=0)) * 3.2, -0.25, 0.35)
        lit: Floats = cv2.resize(white * (0.9 - shadow * 0.55 - 0.12 * thick), (w, h))[..., None]
        cover_map = cv2.resize(thick, (w, h))[..., None] * np.float32(uniform(rng, 0.7, 1))
        cloud = lit * (0.75 + 0.25 * bottom / max(float(bottom.max()), 1))
        sky = sky * (1 - cover_map) + cloud * cover_map
    return np.asarray(sky, np.float32)


def add_hills(rng: Random, canvas: Floats, horizon: float) -> None:
    """Draw two or three ridges, each further one paler, in place."""
    h, w = canvas.shape[:2]
    haze = canvas[max(0, min(h - 1, int(horizon)))].mean(0)
    layers = int(rng.integers(1, 4))
    for layer in range(layers):
        near = (layer + 1) / layers
        knots = rng.random(7) * 0.6 + rng.random(1) * 0.4
        ridge = cv2.resize(knots.astype(np.float32)[None], (w, 1), interpolation=cv2.INTER_CUBIC)[0]
        fine = cv2.resize(rng.random((1, max(2, w // 3)), np.float32), (w, 1))[0]
        line = horizon - h * (0.16 * ridge * (1.2 - 0.6 * near) + 0.012 * fine * near)
        colour = hsv(uniform(rng, 0.2, 0.4), 0.4, uniform(rng, 0.2, 0.45)) * near + haze * (1 - near * 0.85)
        points = np.stack([np.arange(w), line], axis=1)
        points = np.concatenate([points, [[w, h], [0, h]]])
        mask = fill(np.zeros((h, w), np.uint8), points)
        canvas[mask > 127] = colour * 0.9


def add_trees(rng: Random, canvas: Floats, horizon: float, height: float) -> None:
    """Draw a line of crowns with leaves in light and shade, in place."""
    h, w = canvas.shape[:2]
    mask = np.zeros((h, w), np.uint8)
    for _ in range(int(rng.integers(6, 22))):
        x, r = uniform(rng, -0.1, 1.1) * w, height * uniform(rng, 0.25, 0.6)
        cv2.ellipse(
            mask,
            (int(x), int(horizon - r * uniform(rng, 0.2, 1.0))),
            (int(r) + 1, int(r * uniform(rng, 0.8, 1.3)) + 1),
            0,
            0,
            360,
            255,
            -1,
        )
    leaves = smooth_noise(rng, h, w, 9, 4, gain=0.75)
    crown = np.asarray(blur(mask, 3.0), np.float32) / 255
    ragged = np.clip((crown + (leaves - 0.5) * np.minimum(1.4, crown * 6) - 0.4) * 4, 0, 1)[..., None]
    hue = uniform(rng, 0.2, 0.36) if chance(rng, 0.8) else uniform(rng, 0.04, 0.12)
    t = np.clip((leaves - 0.3) * 2.3, 0, 1)[..., None]
    colour = hsv(hue + 0.03, 0.7, 0.12) * (1 - t) + hsv(hue, 0.6, uniform(rng, 0.4, 0.65)) * t
    canvas[:] = canvas * (1 - ragged) + colour * ragged


def add_skyline(rng: Random, canvas: Floats, horizon: float) -> None:
    """Draw distant blocks of flats side by side, in place."""
    h, w = canvas.shape[:2]
    haze = canvas[max(0, int(horizon) - 1)].mean(0)
    x = 0
    while x < w:
        wide, high = int(uniform(rng, 0.03, 0.1) * w) + 2, uniform(rng, 0.08, 0.38) * h
        colour = haze * 0.45 + hsv(uniform(rng, 0, 1), 0.15, uniform(rng, 0.2, 0.6)) * 0.55
        top = int(horizon - high)
        cv2.rectangle(canvas, (x, top), (x + wide, int(horizon)), colour.tolist(), -1)
        _window_grid(rng, canvas, x, top, wide, int(high), colour * uniform(rng, 0.6, 1.3))
        x += wide + int(uniform(rng, 0, 0.03) * w)


def _window_grid(
    rng: Random, canvas: NDArray[Any], x: int, y: int, wide: int, high: int, colour: Floats
) -> None:
    step_x, step_y = max(4, wide // int(rng.integers(3, 7))), max(5, high // int(rng.integers(3, 9)))
    for row in range(y + step_y // 3, y + high - step_y // 2, step_y):
        for column in range(x + step_x // 4, x + wide - step_x // 2, step_x):
            tone = uniform(rng, 0.85, 1.15)
            cv2.rectangle(
                canvas, (column, row), (column + step_x // 2, row + step_y // 2), (colour * tone).tolist(), -1
            )


def add_house_row(rng: Random, canvas: Image, horizon: float, vanish: float, side: int) -> None:
    """Draw houses on one side of the road, far ones first, their lines meeting at the vanishing point."""
    h, w = canvas.shape[:2]
    reach = (w - vanish) if side > 0 else vanish
    depths = np.cumprod(np.concatenate([[1.25], rng.uniform(0.55, 0.78, 5)]))
    tall = uniform(rng, 0.5, 1.3)
    for near, far in reversed(list(pairwise(depths))):
        colour = hsv(uniform(rng, 0, 0.13), uniform(rng, 0.05, 0.5), uniform(rng, 0.3, 0.85))
        top = tall * uniform(rng, 0.8, 1.2) * h
        x1, x2 = vanish + side * reach * far * 0.9, vanish + side * reach * near * 0.9
        far_y, near_y = (
            (horizon - top * far, horizon + 0.3 * h * far),
            (horizon - top * near, horizon + 0.3 * h * near),
        )
        front = np.asarray([(x1, far_y[0]), (x2, near_y[0]), (x2, near_y[1]), (x1, far_y[1])])
        cv2.fillPoly(
            canvas, [front.astype(np.int32)], (colour * (0.75 if side > 0 else 1)).tolist(), cv2.LINE_AA
        )
        panes = hsv(0.58, 0.25, uniform(rng, 0.15, 0.7))
        for row in np.arange(0.08, 0.72, uniform(rng, 0.13, 0.22)):
            for column in np.arange(0.1, 0.9, 0.28):
                quad = []
                for u, v in (
                    (column, row),
                    (column + 0.16, row),
                    (column + 0.16, row + 0.09),
                    (column, row + 0.09),
                ):
                    scale = far + (near - far) * u
                    x = vanish + side * reach * scale * 0.9
                    quad.append((x, horizon - top * scale + (top + 0.3 * h) * scale * v))
                tone = panes * uniform(rng, 0.7, 1.3)
                cv2.fillPoly(canvas, [np.asarray(quad).astype(np.int32)], tone.tolist(), cv2.LINE_AA)


def grass_colour(rng: Random) -> Floats:
    """Return a colour of grass, BGR in 0-255, now and then that of dry grass."""
    if chance(rng, 0.8):
        return hsv(uniform(rng, 0.19, 0.33), uniform(rng, 0.4, 0.75), uniform(rng, 0.35, 0.65))
    return hsv(uniform(rng, 0.07, 0.13), uniform(rng, 0.2, 0.5), uniform(rng, 0.4, 0.7))


def ground_noise(rng: Random, rows: int, columns: int, grain: float, stretch: float = 1.0) -> Floats:
    """Return noise (rows, columns) in about [0, 1], its grains growing from the horizon (row 0) on."""
    rows = max(2, rows)
    source = smooth_noise(rng, 128, 256, 64 * grain + 8, 3, gain=0.7)
    y = (np.arange(rows, dtype=np.float32) + rows * 0.06)[:, None]
    x = np.arange(columns, dtype=np.float32)[None] - columns / 2
    depth = np.float32(rows) / y
    map_x = x * depth * np.float32(0.9 / stretch) + 128
    map_y = depth * np.float32(90) + 0 * x
    return np.asarray(cv2.remap(source, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))


def add_land(rng: Random, canvas: Floats, horizon: float, colour: Floats) -> None:
    """Draw ground from the horizon down to the camera, in place."""
    h, w = canvas.shape[:2]
    top = int(horizon)
    rows = h - top
    if rows < 2:
        return
    noise = ground_noise(rng, rows, w, uniform(rng, 0.3, 0.9))
    patches = smooth_noise(rng, rows, w, 3, 2, 3.0)
    blades = smooth_noise(rng, rows, w, rows / 3, 1, 0.5)
    tone = (
        0.45
        + 0.55 * noise
        + 0.35 * (patches - 0.5)
        + 0.4 * (blades - 0.5) * np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    )
    canvas[top:] = colour * tone[..., None] * np.float32(1.35)


def add_light_discs(rng: Random, image: Image, count: int, hue: float, spread: float) -> None:
    """Draw lights out of focus: translucent discs with a brighter rim, in place."""
    h, w = image.shape[:2]
    base = uniform(rng, 0.02, 0.07) * h
    glow = np.zeros_like(image)
    for _ in range(count):
        r = max(2, round(base * uniform(rng, 0.6, 1.4)))
        x, y = int(rng.integers(w)), int(h * uniform(rng, 0, 1) ** 1.3)
        colour = hsv(hue + spread * uniform(rng, -1, 1), uniform(rng, 0.2, 0.8), uniform(rng, 0.25, 1.0))
        disc = np.zeros((2 * r + 3, 2 * r + 3, 3), np.uint8)
        cv2.circle(disc, (r + 1, r + 1), r, (colour * 0.6).tolist(), -1, cv2.LINE_AA)
        cv2.circle(disc, (r + 1, r + 1), r, (colour * 0.75).tolist(), 1, cv2.LINE_AA)
        area = window(glow.shape, x - r - 1, y - r - 1, x + r + 2, y + r + 2)
        if area is not None:
            x1, y1, x2, y2 = area
            part = glow[y1:y2, x1:x2]
            part[:] = cv2.add(part, disc[y1 - y + r + 1 : y2 - y + r + 1, x1 - x + r + 1 : x2 - x + r + 1])
    image[:] = cv2.add(image, glow)
