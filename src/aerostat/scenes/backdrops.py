"""Backdrops of the drawn sample data: skies, meadows, rooms, streets, nights, each with its light."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.scenes.brushes import (
    Floats,
    Image,
    Light,
    Random,
    blur,
    chance,
    darken,
    fill,
    gradient,
    hsv,
    make_light,
    smooth_noise,
    to_image,
    uniform,
    window,
)

Place = Literal["outdoors", "indoors", "table"]


@dataclass(frozen=True, slots=True, eq=False)
class Backdrop:
    """An empty stage.

    Args:
        image: (H, W, 3) display colours.
        light: that falls on what stands here.
        horizon: y of eye level in pixels; things on the floor shrink towards it.
        floor: y where the floor begins, or None if nothing can stand here.
        wall: shadows fall on something close behind.
        softness: how far the backdrop is out of focus, in pixels.
        place: what sort of things stand here.
        eye: height of the camera above the floor, in metres.
    """

    image: Image
    light: Light
    horizon: float
    floor: float | None
    wall: bool
    softness: float
    place: Place = "outdoors"
    eye: float = 1.35


def draw_backdrop(rng: Random, width: int, height: int) -> Backdrop:
    """Draw one of the places at random."""
    places = (
        open_sky,
        meadow,
        foliage,
        room,
        room,
        brick_or_planks,
        street,
        night,
        studio,
        waterside,
        table_top,
    )
    return places[int(rng.integers(len(places)))](rng, width, height)


# ------------------------------------------------------------------------------------------------ outdoors


def open_sky(rng: Random, width: int, height: int) -> Backdrop:
    """Draw clouds, sometimes above a strip of hills and trees."""
    w, h = _half(width), _half(height)
    sky = _sky(rng, w, h, cloudy=0.75)
    ground = chance(rng, 0.55)
    horizon = h * uniform(rng, 0.8, 1.02)
    if ground:
        _hills(rng, sky, horizon)
        _land(rng, sky, min(h - 2.0, horizon + h * 0.02), _grass_colour(rng))
    image = _enlarge(to_image(sky), width, height)
    scale = height / h
    light = _daylight(rng, image)
    floor = horizon * scale + 2 if ground and horizon < h * 0.93 else None
    return Backdrop(image, light, horizon * scale, floor, False, 0.8)


def meadow(rng: Random, width: int, height: int) -> Backdrop:
    """Draw grass under a line of trees."""
    w, h = _half(width), _half(height)
    canvas = _sky(rng, w, h, cloudy=0.5)
    horizon = h * uniform(rng, 0.35, 0.62)
    softness = uniform(rng, 0, 4)
    if chance(rng, 0.3):
        _skyline(rng, canvas, horizon)
    _trees(rng, canvas, horizon, uniform(rng, 0.12, 0.5) * h)
    _land(rng, canvas, horizon, _grass_colour(rng))
    soft = np.asarray(blur(canvas, softness / 2))
    edge = int(horizon + h * 0.1)
    if edge < h - 4:  # the grass gets sharper towards the camera
        t = np.clip((np.arange(h) - edge) / (h - edge), 0, 1).astype(np.float32)[:, None, None]
        soft = soft * (1 - t) + canvas * t
    image = _enlarge(to_image(soft), width, height)
    scale = height / h
    return Backdrop(
        image, _daylight(rng, image), horizon * scale, (horizon + h * 0.05) * scale, False, softness
    )


def foliage(rng: Random, width: int, height: int) -> Backdrop:
    """Draw leaves far out of focus, with the round lights that a fast lens makes of gaps."""
    w, h = _half(width), _half(height)
    hue = uniform(rng, 0.16, 0.36) if chance(rng, 0.8) else uniform(rng, 0.03, 0.12)
    tones = smooth_noise(rng, h, w, uniform(rng, 3, 7), 5, uniform(rng, 0.7, 1.3), gain=0.75)
    dark, bright = (
        hsv(hue + 0.04, 0.6, 0.14),
        hsv(hue - 0.03, uniform(rng, 0.3, 0.55), uniform(rng, 0.65, 0.9)),
    )
    t = np.clip((tones - 0.28) * 2.2, 0, 1)[..., None]
    canvas = dark * (1 - t) + bright * t
    image = to_image(blur(canvas, uniform(rng, 2.0, 7.0)))
    _light_discs(rng, image, int(rng.integers(5, 45)), hue, 0.08)
    image = _enlarge(image, width, height)
    return Backdrop(image, _daylight(rng, image), height * 0.5, None, False, 4.0)


def waterside(rng: Random, width: int, height: int) -> Backdrop:
    """Draw a lake or the sea under the sky, or sand."""
    w, h = _half(width), _half(height)
    canvas = _sky(rng, w, h, cloudy=0.6)
    horizon = int(h * uniform(rng, 0.3, 0.6))
    if chance(rng, 0.6):
        _hills(rng, canvas, float(horizon))
    rows = h - horizon
    waves = _floor_noise(rng, rows, w, 0.12, stretch=7.0)
    base = gradient(
        rows,
        w,
        canvas[max(0, horizon - 3)].mean(0) * 0.9,
        hsv(uniform(rng, 0.5, 0.6), 0.6, uniform(rng, 0.25, 0.5)),
    )
    canvas[horizon:] = base * (0.72 + 0.56 * waves[..., None])
    floor = None
    if chance(rng, 0.6):
        shore = int(horizon + rows * uniform(rng, 0.25, 0.6))
        sand = hsv(uniform(rng, 0.07, 0.12), uniform(rng, 0.2, 0.45), uniform(rng, 0.6, 0.9))
        line = shore + np.interp(np.arange(w), np.linspace(0, w, 6), rng.random(6) * h * 0.08)
        dry = (np.arange(h)[:, None] > line[None]).astype(np.float32)
        land = np.asarray(cv2.GaussianBlur(dry, (0, 0), 1.0))[..., None]
        grain = _floor_noise(rng, h - shore, w, 0.5)
        ground = np.full_like(canvas, sand)
        ground[shore:] *= 0.8 + 0.4 * grain[..., None]
        canvas = canvas * (1 - land) + ground * land
        floor = (shore + h * 0.1) * height / h
    image = _enlarge(to_image(canvas), width, height)
    return Backdrop(image, _daylight(rng, image), horizon * height / h, floor, False, 1.0)


def street(rng: Random, width: int, height: int) -> Backdrop:
    """Draw houses along a road that runs to its vanishing point."""
    w, h = _half(width), _half(height)
    canvas = to_image(_sky(rng, w, h, cloudy=0.4))
    horizon = h * uniform(rng, 0.42, 0.6)
    vanish = w * uniform(rng, 0.25, 0.75)
    grey = uniform(rng, 70, 150)
    canvas[int(horizon) :] = to_image(
        (grey * (0.85 + 0.3 * _floor_noise(rng, h - int(horizon), w, 0.5))[..., None])
        * np.asarray([1.04, 1, 0.97], np.float32)
    )
    for side in (-1, 1):
        _house_row(rng, canvas, horizon, vanish, side)
    for lane in (-0.08, 0.1):  # kerbs
        foot = np.asarray(
            [(vanish, horizon), (vanish + lane * 60 * w / 8, h), (vanish + (lane + 0.012) * 60 * w / 8, h)]
        )
        cv2.fillPoly(canvas, [foot.astype(np.int32)], (grey + 45,) * 3, cv2.LINE_AA)
    softness = uniform(rng, 0.3, 3.5)
    image = _enlarge(to_image(blur(canvas.astype(np.float32), softness / 2)), width, height)
    scale = height / h
    return Backdrop(
        image, _daylight(rng, image), horizon * scale, (horizon + h * 0.1) * scale, False, softness
    )


def night(rng: Random, width: int, height: int) -> Backdrop:
    """Draw a dark place with lights far out of focus, lit by a flash or a lamp."""
    w, h = _half(width), _half(height)
    hue = uniform(rng, 0, 1)
    canvas = gradient(
        h, w, hsv(hue, 0.6, uniform(rng, 0.04, 0.25)), hsv(hue + 0.08, 0.5, uniform(rng, 0.04, 0.3))
    )
    canvas = canvas * (0.6 + 0.9 * smooth_noise(rng, h, w, 3, 3)[..., None])
    image = to_image(canvas)
    _light_discs(rng, image, int(rng.integers(8, 60)), uniform(rng, 0.02, 0.14), uniform(rng, 0.05, 0.5))
    image = _enlarge(image, width, height)
    if chance(rng, 0.5):  # flash
        light = make_light(
            rng, image, (uniform(rng, -0.25, 0.25), uniform(rng, -0.4, 0), 1), 0.95, 0.0, "lamp"
        )
    else:
        towards = (uniform(rng, -1, 1), uniform(rng, -1, -0.3), uniform(rng, 0.2, 0.8))
        light = make_light(rng, image, towards, uniform(rng, 0.5, 0.9), uniform(rng, 0, 0.8), "lamp")
    return Backdrop(image, light, height * 0.45, height * 0.8, False, 2.0, "indoors")


# ------------------------------------------------------------------------------------------------- indoors


def room(rng: Random, width: int, height: int) -> Backdrop:
    """Draw a wall with furniture and windows above a floor in perspective."""
    w, h = _half(width), _half(height)
    floor = h * uniform(rng, 0.6, 0.95)
    horizon = floor * uniform(rng, 0.42, 0.62)
    wall = _wall_paper(rng, w, h)
    image = to_image(wall)
    _furnish(rng, image, floor)
    _floor_boards(rng, image, floor, horizon)
    board = hsv(0.09, 0.1, uniform(rng, 0.6, 0.95))
    cv2.rectangle(image, (0, int(floor - h * 0.025)), (w, int(floor)), board.tolist(), -1)
    darken(image, np.full((max(1, h // 100), w), 255, np.uint8), 0.4, 0, int(floor))
    softness = uniform(rng, 0, 4.5)
    towards = (uniform(rng, -1, 1), uniform(rng, -0.9, -0.2), uniform(rng, 0.25, 0.9))
    values = blur(image.astype(np.float32), softness / 2) * _falloff(rng, h, w, towards[0])
    image = _enlarge(to_image(values), width, height)
    light = make_light(
        rng, image, towards, uniform(rng, 0.75, 1.05), uniform(rng, -0.2, 0.6), _indoor_source(rng)
    )
    scale = height / h
    return Backdrop(image, light, horizon * scale, floor * scale, softness < 2.5, softness, "indoors")


def brick_or_planks(rng: Random, width: int, height: int) -> Backdrop:
    """Draw a wall of bricks, tiles or boards that fills the picture, in focus."""
    base = np.full(
        (height, width, 3), hsv(uniform(rng, 0.05, 0.12), 0.15, uniform(rng, 0.3, 0.8)), np.float32
    )
    image = to_image(base)
    if chance(rng, 0.55):
        _bricks(rng, image)
    else:
        _planks(rng, image, vertical=chance(rng, 0.7))
    tones: Floats = cv2.resize(smooth_noise(rng, _half(height), _half(width), 3, 4), (width, height))
    grain = np.frombuffer(rng.bytes(width * height), np.uint8).reshape(height, width)
    tones = (
        tones * 0.5 + cv2.blur(grain, (2, 2)).astype(np.float32) * np.float32(0.22 / 255) + np.float32(0.62)
    )
    sun = uniform(rng, -1, 1)
    tones = tones * cv2.resize(_falloff(rng, 12, 16, sun)[..., 0], (width, height))
    image = to_image(image * tones[..., None])
    towards = (sun, uniform(rng, -1, -0.3), uniform(rng, 0.4, 0.9))
    light = make_light(
        rng,
        image,
        towards,
        uniform(rng, 0.8, 1.05),
        uniform(rng, -0.1, 0.3),
        "sun" if chance(rng, 0.6) else "cloud",
    )
    return Backdrop(image, light, height * 0.55, None, True, 0.0, "indoors")


def studio(rng: Random, width: int, height: int) -> Backdrop:
    """Draw a plain backdrop, near white more often than not."""
    w, h = _half(width), _half(height)
    hue, pale = uniform(rng, 0, 1), chance(rng, 0.6)
    colour = hsv(
        hue,
        uniform(rng, 0, 0.12) if pale else uniform(rng, 0.2, 0.7),
        uniform(rng, 0.75, 1.0) if pale else uniform(rng, 0.2, 0.8),
    )
    canvas = gradient(h, w, colour, colour * uniform(rng, 0.75, 1.0), 2.0)
    canvas = canvas * (0.94 + 0.12 * smooth_noise(rng, h, w, 2, 2)[..., None])
    towards = (uniform(rng, -1, 1), uniform(rng, -0.9, -0.3), uniform(rng, 0.4, 1))
    canvas = canvas * _falloff(rng, h, w, towards[0])
    image = _enlarge(to_image(canvas), width, height)
    light = make_light(rng, image, towards, uniform(rng, 0.85, 1.1), 0.0, _indoor_source(rng))
    return Backdrop(image, light, height * 0.55, height * 0.8, chance(rng, 0.5), 0.0, "indoors")


def table_top(rng: Random, width: int, height: int) -> Backdrop:
    """Draw a table close to the camera in a room out of focus."""
    w, h = _half(width), _half(height)
    image = to_image(_wall_paper(rng, w, h))
    _furnish(rng, image, h * 0.8)
    _clutter(rng, image, int(rng.integers(4, 18)))
    image = to_image(blur(image.astype(np.float32), uniform(rng, 3.0, 6.0)))
    edge = h * uniform(rng, 0.66, 0.88)
    _floor_boards(rng, image, edge, edge - h * uniform(rng, 0.25, 0.5))
    towards = (uniform(rng, -1, 1), uniform(rng, -0.9, -0.2), uniform(rng, 0.2, 0.8))
    values: Floats = image * _falloff(rng, h, w, towards[0])
    image = _enlarge(to_image(values), width, height)
    light = make_light(
        rng, image, towards, uniform(rng, 0.7, 1.05), uniform(rng, 0, 0.6), _indoor_source(rng)
    )
    return Backdrop(
        image, light, edge * height / h - height * 0.3, edge * height / h, False, 4.0, "table", 0.4
    )


# --------------------------------------------------------------------------------------------------- parts


def _half(size: int) -> int:
    """Return half the size, at which backdrops are drawn: they are soft, and it saves time."""
    return max(8, size // 2)


def _enlarge(image: Image, width: int, height: int) -> Image:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def _daylight(rng: Random, image: Image) -> Light:
    sunny = chance(rng, 0.7)
    towards = (uniform(rng, -1, 1), uniform(rng, -1.2, -0.4), uniform(rng, -0.1, 0.9))
    strength = uniform(rng, 0.9, 1.15) if sunny else uniform(rng, 0.5, 0.75)
    return make_light(
        rng, image, towards, strength, uniform(rng, 0, 0.35) if sunny else -0.1, "sun" if sunny else "cloud"
    )


def _indoor_source(rng: Random) -> str:
    return "window" if chance(rng, 0.65) else "lamp"


def _falloff(rng: Random, height: int, width: int, side: float) -> Floats:
    """Return brightness (h, w, 1) that falls from the lit side of a room to the other."""
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    lift = uniform(rng, 0.0, 0.3)
    return np.clip(0.95 + 0.22 * np.float32(side) * x - np.float32(lift) * y, 0.35, 1.25)[..., None]


def _sky(rng: Random, w: int, h: int, cloudy: float) -> Floats:
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


def _hills(rng: Random, canvas: Floats, horizon: float) -> None:
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


def _trees(rng: Random, canvas: Floats, horizon: float, height: float) -> None:
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


def _skyline(rng: Random, canvas: Floats, horizon: float) -> None:
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


def _house_row(rng: Random, canvas: Image, horizon: float, vanish: float, side: int) -> None:
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


def _grass_colour(rng: Random) -> Floats:
    if chance(rng, 0.8):
        return hsv(uniform(rng, 0.19, 0.33), uniform(rng, 0.4, 0.75), uniform(rng, 0.35, 0.65))
    return hsv(uniform(rng, 0.07, 0.13), uniform(rng, 0.2, 0.5), uniform(rng, 0.4, 0.7))


def _floor_noise(rng: Random, rows: int, columns: int, grain: float, stretch: float = 1.0) -> Floats:
    """Return noise (rows, columns) in about [0, 1], its grains growing from the horizon (row 0) on."""
    rows = max(2, rows)
    source = smooth_noise(rng, 128, 256, 64 * grain + 8, 3, gain=0.7)
    y = (np.arange(rows, dtype=np.float32) + rows * 0.06)[:, None]
    x = np.arange(columns, dtype=np.float32)[None] - columns / 2
    depth = np.float32(rows) / y
    map_x = x * depth * np.float32(0.9 / stretch) + 128
    map_y = depth * np.float32(90) + 0 * x
    return np.asarray(cv2.remap(source, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))


def _land(rng: Random, canvas: Floats, horizon: float, colour: Floats) -> None:
    """Draw ground from the horizon down to the camera, in place."""
    h, w = canvas.shape[:2]
    top = int(horizon)
    rows = h - top
    if rows < 2:
        return
    noise = _floor_noise(rng, rows, w, uniform(rng, 0.3, 0.9))
    patches = smooth_noise(rng, rows, w, 3, 2, 3.0)
    blades = smooth_noise(rng, rows, w, rows / 3, 1, 0.5)
    tone = (
        0.45
        + 0.55 * noise
        + 0.35 * (patches - 0.5)
        + 0.4 * (blades - 0.5) * np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    )
    canvas[top:] = colour * tone[..., None] * np.float32(1.35)


def _light_discs(rng: Random, image: Image, count: int, hue: float, spread: float) -> None:
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


def _wall_paper(rng: Random, w: int, h: int) -> Floats:
    colour = hsv(
        uniform(rng, 0.03, 0.15) if chance(rng, 0.6) else uniform(rng, 0, 1),
        uniform(rng, 0.02, 0.28),
        uniform(rng, 0.45, 0.95),
    )
    wall = np.empty((h, w, 3), np.float32)
    wall[:] = colour
    kind = float(rng.random())
    if kind < 0.25:  # stripes
        period, phase = uniform(rng, 0.03, 0.12) * w, uniform(rng, 0, 6)
        wall *= (1 + 0.1 * np.sign(np.sin(np.arange(w, dtype=np.float32) * 2 * np.pi / period + phase)))[
            None, :, None
        ]
    elif kind < 0.45:  # panelling below
        wall[int(h * uniform(rng, 0.4, 0.6)) :] = hsv(
            uniform(rng, 0.04, 0.1), uniform(rng, 0, 0.5), uniform(rng, 0.35, 0.9)
        )
    elif kind < 0.6:  # curtain over all of it
        folds = cv2.resize(
            rng.random((1, max(4, int(rng.integers(10, 30)))), np.float32),
            (w, 1),
            interpolation=cv2.INTER_CUBIC,
        )
        wall *= (0.6 + 0.7 * folds)[..., None]
    wall *= (0.93 + 0.14 * smooth_noise(rng, h, w, 2.5, 3))[..., None]
    return wall


def _furnish(rng: Random, image: Image, floor: float) -> None:
    """Hang and stand things along a wall, in place: windows, pictures, curtains, shelves, sofas."""
    w = image.shape[1]
    things = (_picture, _picture, _house_window, _shelf, _sofa, _door, _bunting)
    for _ in range(int(rng.integers(1, 6))):
        things[int(rng.integers(len(things)))](rng, image, int(uniform(rng, -0.1, 0.9) * w), int(floor))


def _picture(rng: Random, image: Image, x: int, floor: int) -> None:
    h, w = image.shape[:2]
    wide, high = int(uniform(rng, 0.08, 0.22) * w), int(uniform(rng, 0.1, 0.28) * h)
    y = int(uniform(rng, 0.05, 0.4) * floor)
    cv2.rectangle(
        image,
        (x + 2, y + 3),
        (x + wide + 3, y + high + 3),
        (image[min(y, h - 1), max(0, min(x, w - 1))] * 0.6).tolist(),
        -1,
    )
    cv2.rectangle(
        image,
        (x, y),
        (x + wide, y + high),
        hsv(uniform(rng, 0, 0.15), 0.4, uniform(rng, 0.1, 0.9)).tolist(),
        -1,
    )
    rim = max(1, wide // 14)
    inner = smooth_noise(rng, max(2, high - 2 * rim), max(2, wide - 2 * rim), 3, 2)[..., None]
    print_colours = hsv(uniform(rng, 0, 1), 0.5, 0.9) * inner + hsv(uniform(rng, 0, 1), 0.5, 0.4) * (
        1 - inner
    )
    y1, x1 = y + rim, x + rim
    y2, x2 = min(h, y1 + inner.shape[0]), min(w, x1 + inner.shape[1])
    if x1 >= 0 and y1 >= 0 and y2 > y1 and x2 > x1:
        image[y1:y2, x1:x2] = to_image(print_colours)[: y2 - y1, : x2 - x1]


def _house_window(rng: Random, image: Image, x: int, floor: int) -> None:
    h, w = image.shape[:2]
    wide, high = int(uniform(rng, 0.18, 0.4) * w), int(uniform(rng, 0.4, 0.75) * floor)
    y = int(uniform(rng, 0.02, 0.2) * floor)
    frame = hsv(0.1, uniform(rng, 0, 0.3), uniform(rng, 0.5, 1)).tolist()
    cv2.rectangle(image, (x, y), (x + wide, y + high), frame, -1)
    rim = max(1, wide // 22)
    x1, y1, x2, y2 = max(0, x + rim), max(0, y + rim), min(w, x + wide - rim), min(h, y + high - rim)
    if x2 - x1 > 4 and y2 - y1 > 4:
        view = gradient(
            y2 - y1,
            x2 - x1,
            hsv(0.56, uniform(rng, 0, 0.3), uniform(rng, 0.8, 1.1)),
            hsv(uniform(rng, 0.2, 0.5), 0.35, uniform(rng, 0.4, 1)),
            1.5,
        )
        view *= (0.85 + 0.3 * smooth_noise(rng, y2 - y1, x2 - x1, 4, 2))[..., None]
        image[y1:y2, x1:x2] = to_image(view)
    for column in range(1, int(rng.integers(2, 4))):
        cv2.line(image, (x + wide * column // 2, y), (x + wide * column // 2, y + high), frame, rim)
    cv2.line(image, (x, y + high // 2), (x + wide, y + high // 2), frame, rim)
    if chance(rng, 0.5):  # curtains
        cloth = hsv(uniform(rng, 0, 1), uniform(rng, 0, 0.6), uniform(rng, 0.4, 0.95))
        for left in (x - wide // 4, x + wide - wide // 8):
            for fold in range(0, wide * 3 // 8, 3):
                tone = 0.8 + 0.25 * np.sin(fold * uniform(rng, 0.7, 0.9))
                cv2.rectangle(
                    image,
                    (left + fold, max(0, y - 4)),
                    (left + fold + 3, min(floor, y + high + 10)),
                    (cloth * tone).tolist(),
                    -1,
                )


def _shelf(rng: Random, image: Image, x: int, floor: int) -> None:
    w = image.shape[1]
    wide, high = int(uniform(rng, 0.2, 0.4) * w), int(uniform(rng, 0.3, 0.7) * floor)
    wood = hsv(uniform(rng, 0.05, 0.1), uniform(rng, 0.3, 0.6), uniform(rng, 0.25, 0.7))
    cv2.rectangle(image, (x, floor - high), (x + wide, floor), (wood * 0.55).tolist(), -1)
    rows = int(rng.integers(2, 5))
    for row in range(rows):
        base, top = floor - high * row // rows, floor - high * (row + 1) // rows
        book = x + 2
        while book < x + wide - 4:
            thick, tall = int(rng.integers(2, 7)), int((base - top) * uniform(rng, 0.5, 0.88))
            colour = hsv(uniform(rng, 0, 1), uniform(rng, 0.1, 0.7), uniform(rng, 0.2, 0.8)).tolist()
            cv2.rectangle(image, (book, base - tall), (min(book + thick, x + wide - 2), base), colour, -1)
            book += thick + (1 if chance(rng, 0.8) else 8)
        cv2.line(image, (x, base), (x + wide, base), wood.tolist(), 2)
    cv2.rectangle(image, (x, floor - high), (x + wide, floor), wood.tolist(), 2)


def _sofa(rng: Random, image: Image, x: int, floor: int) -> None:
    h, w = image.shape[:2]
    wide, high = int(uniform(rng, 0.35, 0.6) * w), int(uniform(rng, 0.22, 0.34) * h)
    cloth = hsv(uniform(rng, 0, 1), uniform(rng, 0.1, 0.6), uniform(rng, 0.25, 0.75))
    mask = np.zeros(image.shape[:2], np.uint8)
    for x1, y1, x2, y2, tone in (
        (0.06, 0.0, 0.94, 0.75, 0.85), (0.1, 0.48, 0.5, 0.72, 1.05), (0.5, 0.48, 0.9, 0.72, 1.05),
        (0.08, 0.7, 0.92, 1.0, 0.7), (0.0, 0.3, 0.12, 1.0, 0.95), (0.88, 0.3, 1.0, 1.0, 0.9),
    ):  # fmt: skip
        a = (x + int(x1 * wide), floor + high // 6 - high + int(y1 * high))
        b = (x + int(x2 * wide), floor + high // 6 - high + int(y2 * high))
        cv2.rectangle(mask, a, b, 255, -1)
        cv2.rectangle(image, a, b, (cloth * tone).tolist(), -1)
        cv2.rectangle(image, a, b, (cloth * tone * 0.75).tolist(), 1)
        cv2.line(image, a, (b[0], a[1]), (cloth * min(1.25, tone * 1.25)).tolist(), 1)


def _door(rng: Random, image: Image, x: int, floor: int) -> None:
    w = image.shape[1]
    wide, high = int(0.2 * w), int(floor * uniform(rng, 0.75, 0.95))
    colour = hsv(uniform(rng, 0.04, 0.12), uniform(rng, 0, 0.6), uniform(rng, 0.35, 0.9))
    cv2.rectangle(image, (x, floor - high), (x + wide, floor), (colour * 0.8).tolist(), -1)
    for y1, y2 in ((0.06, 0.45), (0.52, 0.94)):
        a, b = (
            (x + wide // 7, floor - high + int(high * y1)),
            (x + wide - wide // 7, floor - high + int(high * y2)),
        )
        cv2.rectangle(image, a, b, (colour * 0.95).tolist(), -1)
        cv2.rectangle(image, a, b, (colour * 0.6).tolist(), 1)
    cv2.circle(
        image,
        (x + wide - wide // 12, floor - high // 2),
        max(1, wide // 30),
        (120, 190, 210),
        -1,
        cv2.LINE_AA,
    )


def _bunting(rng: Random, image: Image, x: int, floor: int) -> None:
    """Hang a string of small flags across the picture."""
    h, w = image.shape[:2]
    y, sag, count = uniform(rng, 0.02, 0.25) * h, uniform(rng, 0.02, 0.12) * h, int(rng.integers(8, 18))
    hue = uniform(rng, 0, 1)
    for i in range(count):
        t = (i + 0.5) / count
        cx, cy, s = t * w, y + sag * 4 * t * (1 - t), w / count * 0.4
        flag = np.asarray([(cx - s, cy), (cx + s, cy), (cx, cy + 2.2 * s)])
        cv2.fillPoly(image, [flag.astype(np.int32)], hsv(hue + i * 0.37, 0.65, 0.9).tolist(), cv2.LINE_AA)


def _clutter(rng: Random, image: Image, count: int) -> None:
    """Scatter boxes and bottles of any colour, to be thrown out of focus."""
    h, w = image.shape[:2]
    for _ in range(count):
        x, y = int(uniform(rng, 0, 1) * w), int(uniform(rng, 0.2, 0.9) * h)
        wide, high = int(uniform(rng, 0.03, 0.16) * w) + 1, int(uniform(rng, 0.05, 0.3) * h) + 1
        colour = hsv(uniform(rng, 0, 1), uniform(rng, 0.1, 0.8), uniform(rng, 0.1, 1)).tolist()
        if chance(rng, 0.5):
            cv2.rectangle(image, (x, y - high), (x + wide, y), colour, -1)
        else:
            cv2.ellipse(
                image, (x, y - high // 2), (wide // 2 + 1, high // 2 + 1), 0, 0, 360, colour, -1, cv2.LINE_AA
            )


def _floor_boards(rng: Random, image: Image, floor: float, horizon: float) -> None:
    """Draw boards, tiles or carpet in perspective from y = `floor` down, in place."""
    h, w = image.shape[:2]
    top = int(floor)
    rows = h - top
    if rows < 2:
        return
    kind = float(rng.random())
    source: Floats
    wood = hsv(uniform(rng, 0.04, 0.1), uniform(rng, 0.25, 0.65), uniform(rng, 0.3, 0.8))
    if kind < 0.55:  # boards along the line of sight
        source = np.repeat(rng.uniform(0.75, 1.1, (1, 32)).astype(np.float32), 16, axis=1)
        source = np.repeat(source, 128, axis=0) * (0.85 + 0.3 * smooth_noise(rng, 128, 512, 3, 3, 0.04))
        source[:, ::16] *= 0.55
    elif kind < 0.75:  # tiles
        source = np.where(
            (np.arange(128)[:, None] // 32 + np.arange(512)[None] // 32) % 2, 1.0, uniform(rng, 0.3, 0.9)
        ).astype(np.float32)
        wood = hsv(uniform(rng, 0, 1), uniform(rng, 0, 0.25), uniform(rng, 0.5, 0.95))
    else:  # carpet or a cloth
        source = 0.75 + 0.5 * smooth_noise(rng, 128, 512, 50, 2)
        wood = hsv(uniform(rng, 0, 1), uniform(rng, 0, 0.35), uniform(rng, 0.3, 0.9))
    y = (np.arange(rows, dtype=np.float32) + np.float32(max(floor - horizon, 2.0)))[:, None]
    x = np.arange(w, dtype=np.float32)[None] - np.float32(w * uniform(rng, 0.2, 0.8))
    depth = np.float32(h * 0.6) / y
    map_x, map_y = x * depth * np.float32(300 / w), depth * np.float32(150) + 0 * x
    texture = cv2.remap(source, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    sheen = np.linspace(1.15, 0.8, rows, dtype=np.float32)[:, None]
    image[top:] = to_image(wood * (texture * sheen)[..., None])


def _bricks(rng: Random, image: Image) -> None:
    h, w = image.shape[:2]
    rows = int(rng.integers(9, 22))
    high = h / rows
    wide = high * uniform(rng, 1.8, 2.8)
    hue, saturation, value = uniform(rng, 0.0, 0.08), uniform(rng, 0.1, 0.65), uniform(rng, 0.3, 0.85)
    joint = max(1, round(high * 0.09))
    for row in range(rows):
        x = -wide * (0.5 if row % 2 else 0.0) - wide * 0.2
        while x < w:
            tone = hsv(hue + uniform(rng, -0.01, 0.01), saturation, value * uniform(rng, 0.72, 1.15)).tolist()
            a, b = (int(x) + joint, int(row * high) + joint), (int(x + wide) - 1, int((row + 1) * high) - 1)
            cv2.rectangle(image, a, b, tone, -1)
            cv2.line(image, (a[0], b[1]), b, [c * 0.7 for c in tone], 1)
            x += wide


def _planks(rng: Random, image: Image, vertical: bool) -> None:
    board = image if vertical else np.ascontiguousarray(image.transpose(1, 0, 2))
    high, wide = board.shape[:2]
    painted = chance(rng, 0.4)
    hue, saturation, value = uniform(rng, 0.04, 0.11), uniform(rng, 0.2, 0.6), uniform(rng, 0.3, 0.8)
    if painted:
        hue, saturation = uniform(rng, 0, 1), uniform(rng, 0.05, 0.5)
    step = uniform(rng, 0.05, 0.13) * wide
    for x in np.arange(0, wide, step):
        tone = hsv(hue, saturation, value * uniform(rng, 0.78, 1.12))
        cv2.rectangle(board, (int(x), 0), (int(x + step), high), tone.tolist(), -1)
        cv2.line(board, (int(x), 0), (int(x), high), (tone * 0.4).tolist(), max(1, wide // 300))
        cv2.line(board, (int(x) + 2, 0), (int(x) + 2, high), (tone * 1.15).tolist(), 1)
    fibre = smooth_noise(rng, max(4, high // 2), max(4, wide // 2), 4, 3, 0.06, 0.8)
    grain = cv2.resize(fibre, (wide, high))[..., None]
    board[:] = to_image(board * (0.7 + 0.6 * grain))
    if not vertical:
        image[:] = board.transpose(1, 0, 2)
