"""Backdrops of the drawn sample data: skies, meadows, rooms, streets, nights, each with its light."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from aerostat.errors import InputError
from aerostat.scenes.brushes import (
    Floats,
    Image,
    Light,
    Random,
    blur,
    chance,
    darken,
    gradient,
    hsv,
    make_light,
    smooth_noise,
    to_image,
    uniform,
)
from aerostat.scenes.interiors import (
    add_bricks,
    add_clutter,
    add_floor,
    add_furniture,
    add_planks,
    wall_paper,
)
from aerostat.scenes.outdoors import (
    add_hills,
    add_house_row,
    add_land,
    add_light_discs,
    add_skyline,
    add_trees,
    draw_sky,
    grass_colour,
    ground_noise,
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

    def metre(self, ground: float) -> float:
        """Return the pixels of a metre where the floor is at y = `ground`; the horizon is at eye level."""
        return max(ground - self.horizon, len(self.image) * 0.04) / self.eye


def draw_backdrop(rng: Random, width: int, height: int, names: Sequence[str] = ()) -> Backdrop:
    """Draw one of the places at random.

    Args:
        rng: source of all random draws.
        width, height: of the image in pixels.
        names: of the places to choose from, such as ``night``; empty for all of them.

    Raises:
        InputError: there is no place of such a name.
    """
    places: tuple[Callable[[Random, int, int], Backdrop], ...] = (
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
    if names:
        by_name = {place.__name__: place for place in places}
        unknown = sorted(set(names) - by_name.keys())
        if unknown:
            raise InputError(f"Unknown backdrop {unknown[0]!r}; the backdrops are {', '.join(by_name)}.")
        places = tuple(by_name[name] for name in names)
    return places[int(rng.integers(len(places)))](rng, width, height)


def open_sky(rng: Random, width: int, height: int) -> Backdrop:
    """Draw clouds, sometimes above a strip of hills and trees."""
    w, h = _half(width), _half(height)
    sky = draw_sky(rng, w, h, cloudy=0.75)
    ground = chance(rng, 0.55)
    horizon = h * uniform(rng, 0.8, 1.02)
    if ground:
        add_hills(rng, sky, horizon)
        add_land(rng, sky, min(h - 2.0, horizon + h * 0.02), grass_colour(rng))
    image = _enlarge(to_image(sky), width, height)
    scale = height / h
    light = _daylight(rng, image)
    floor = horizon * scale + 2 if ground and horizon < h * 0.93 else None
    return Backdrop(image, light, horizon * scale, floor, False, 0.8)


def meadow(rng: Random, width: int, height: int) -> Backdrop:
    """Draw grass under a line of trees."""
    w, h = _half(width), _half(height)
    canvas = draw_sky(rng, w, h, cloudy=0.5)
    horizon = h * uniform(rng, 0.35, 0.62)
    softness = uniform(rng, 0, 4)
    if chance(rng, 0.3):
        add_skyline(rng, canvas, horizon)
    add_trees(rng, canvas, horizon, uniform(rng, 0.12, 0.5) * h)
    add_land(rng, canvas, horizon, grass_colour(rng))
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
    add_light_discs(rng, image, int(rng.integers(5, 45)), hue, 0.08)
    image = _enlarge(image, width, height)
    return Backdrop(image, _daylight(rng, image), height * 0.5, None, False, 4.0)


def waterside(rng: Random, width: int, height: int) -> Backdrop:
    """Draw a lake or the sea under the sky, or sand."""
    w, h = _half(width), _half(height)
    canvas = draw_sky(rng, w, h, cloudy=0.6)
    horizon = int(h * uniform(rng, 0.3, 0.6))
    if chance(rng, 0.6):
        add_hills(rng, canvas, float(horizon))
    rows = h - horizon
    waves = ground_noise(rng, rows, w, 0.12, stretch=7.0)
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
        grain = ground_noise(rng, h - shore, w, 0.5)
        ground = np.full_like(canvas, sand)
        ground[shore:] *= 0.8 + 0.4 * grain[..., None]
        canvas = canvas * (1 - land) + ground * land
        floor = (shore + h * 0.1) * height / h
    image = _enlarge(to_image(canvas), width, height)
    return Backdrop(image, _daylight(rng, image), horizon * height / h, floor, False, 1.0)


def street(rng: Random, width: int, height: int) -> Backdrop:
    """Draw houses along a road that runs to its vanishing point."""
    w, h = _half(width), _half(height)
    canvas = to_image(draw_sky(rng, w, h, cloudy=0.4))
    horizon = h * uniform(rng, 0.42, 0.6)
    vanish = w * uniform(rng, 0.25, 0.75)
    grey = uniform(rng, 70, 150)
    canvas[int(horizon) :] = to_image(
        (grey * (0.85 + 0.3 * ground_noise(rng, h - int(horizon), w, 0.5))[..., None])
        * np.asarray([1.04, 1, 0.97], np.float32)
    )
    for side in (-1, 1):
        add_house_row(rng, canvas, horizon, vanish, side)
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
    add_light_discs(rng, image, int(rng.integers(8, 60)), uniform(rng, 0.02, 0.14), uniform(rng, 0.05, 0.5))
    image = _enlarge(image, width, height)
    if chance(rng, 0.5):  # flash
        light = make_light(
            rng, image, (uniform(rng, -0.25, 0.25), uniform(rng, -0.4, 0), 1), 0.95, 0.0, "lamp"
        )
    else:
        towards = (uniform(rng, -1, 1), uniform(rng, -1, -0.3), uniform(rng, 0.2, 0.8))
        light = make_light(rng, image, towards, uniform(rng, 0.5, 0.9), uniform(rng, 0, 0.8), "lamp")
    return Backdrop(image, light, height * 0.45, height * 0.8, False, 2.0, "indoors")


def room(rng: Random, width: int, height: int) -> Backdrop:
    """Draw a wall with furniture and windows above a floor in perspective."""
    w, h = _half(width), _half(height)
    floor = h * uniform(rng, 0.6, 0.95)
    horizon = floor * uniform(rng, 0.42, 0.62)
    wall = wall_paper(rng, w, h)
    image = to_image(wall)
    add_furniture(rng, image, floor)
    add_floor(rng, image, floor, horizon)
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
        add_bricks(rng, image)
    else:
        add_planks(rng, image, vertical=chance(rng, 0.7))
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
    image = to_image(wall_paper(rng, w, h))
    add_furniture(rng, image, h * 0.8)
    add_clutter(rng, image, int(rng.integers(4, 18)))
    image = to_image(blur(image.astype(np.float32), uniform(rng, 3.0, 6.0)))
    edge = h * uniform(rng, 0.66, 0.88)
    add_floor(rng, image, edge, edge - h * uniform(rng, 0.25, 0.5))
    towards = (uniform(rng, -1, 1), uniform(rng, -0.9, -0.2), uniform(rng, 0.2, 0.8))
    values: Floats = image * _falloff(rng, h, w, towards[0])
    image = _enlarge(to_image(values), width, height)
    light = make_light(
        rng, image, towards, uniform(rng, 0.7, 1.05), uniform(rng, 0, 0.6), _indoor_source(rng)
    )
    return Backdrop(
        image, light, edge * height / h - height * 0.3, edge * height / h, False, 4.0, "table", 0.4
    )


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
