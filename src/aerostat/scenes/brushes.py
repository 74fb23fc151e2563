"""Tools to draw scenes: noise, masks, compositing, and light on curved surfaces.

Colours of surfaces and light are linear; images are display-coded uint8 BGR. The coding is a square, not
sRGB's curve: close enough for drawings, and ten times faster.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.uint8]
Floats = NDArray[Any]  # float32; OpenCV's signatures do not say so
Random = np.random.Generator

SIDE = 80
"""Side of the tables that hold light by surface normal."""


def hsv(hue: float, saturation: float, value: float) -> Floats:
    """Return blue, green, red (3,) in 0-255 for hue, saturation and value in [0, 1]; the hue wraps round."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return np.asarray([blue, green, red], np.float32) * 255


def linear(colour_bgr: ArrayLike) -> Floats:
    """Return display colours 0-255 as linear light 0-1."""
    values: Floats = np.square(np.asarray(colour_bgr, np.float32) / 255)
    return values


def uniform(rng: Random, low: float, high: float) -> float:
    """Return one number between `low` and `high`."""
    return low + (high - low) * float(rng.random())


def chance(rng: Random, probability: float) -> bool:
    """Return True with the given probability."""
    return float(rng.random()) < probability


def to_image(values: NDArray[Any]) -> Image:
    """Return 0-255 values as uint8, saturated."""
    # OpenCV 4 returns (3,) as (3, 1)
    return np.asarray(cv2.convertScaleAbs(np.maximum(values, 0)), np.uint8).reshape(np.shape(values))


def smooth_noise(
    rng: Random,
    height: int,
    width: int,
    cells: float,
    octaves: int = 1,
    stretch: float = 1.0,
    gain: float = 0.5,
) -> Floats:
    """Return value noise (height, width) in about [0, 1]: small random arrays, enlarged and summed.

    Args:
        rng: source of all random draws.
        height, width: of the result.
        cells: grains along the height in the coarsest octave.
        octaves: each has twice as many grains as the last and `gain` times its weight.
        stretch: above 1 makes the grains wider than high.
        gain: see `octaves`.
    """
    finest = cells * 2 ** (octaves - 1)  # sum at no more than four pixels per finest grain, enlarge once
    high = max(2, min(height, round(finest * 4)))
    wide = max(2, min(width, round(finest * 4 * width / height / min(stretch, 1.0))))
    total = np.zeros((high, wide), np.float32)
    weight, weights = 1.0, 0.0
    for _ in range(octaves):
        rows = max(2, min(height, round(cells) + 1))
        columns = max(2, min(width, round(cells * width / height / stretch) + 1))
        grains = rng.random((rows, columns), np.float32) * np.float32(weight)
        total += cv2.resize(grains, (wide, high), interpolation=cv2.INTER_CUBIC)
        weights += weight
        cells, weight = cells * 2, weight * gain
    total *= np.float32(1 / weights)
    if (high, wide) == (height, width):
        return total
    return np.asarray(cv2.resize(total, (width, height), interpolation=cv2.INTER_LINEAR))


def gradient(height: int, width: int, top: ArrayLike, bottom: ArrayLike, power: float = 1.0) -> Floats:
    """Return (height, width, 3) values that go from colour `top` to colour `bottom`."""
    t = (np.linspace(0, 1, height, dtype=np.float32) ** power)[:, None, None]
    column = np.asarray(top, np.float32) * (1 - t) + np.asarray(bottom, np.float32) * t
    return np.repeat(column, width, axis=1)


def blur(image: NDArray[Any], sigma: float) -> NDArray[Any]:
    """Return the array blurred; wide blurs are done on a reduced copy, where they cost little."""
    if sigma < 0.35:
        return image
    if sigma < 3.5 or min(image.shape[:2]) < 24:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma))
    factor = min(8, int(sigma / 1.6))
    height, width = image.shape[:2]
    small = cv2.resize(
        image, (max(2, width // factor), max(2, height // factor)), interpolation=cv2.INTER_AREA
    )
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def fill(mask: Mask, points: NDArray[np.floating], value: int = 255) -> Mask:
    """Fill the polygon (n, 2), x and y in pixels, into `mask` with soft edges, in place."""
    fixed = np.rint(points * 16).astype(np.int32)
    cv2.fillPoly(mask, [fixed], value, cv2.LINE_AA, shift=4)
    return mask


def stroke(canvas: Image, points: NDArray[np.floating], colour: Sequence[float], width: int) -> None:
    """Draw an open line through points (n, 2) with soft edges, in place."""
    fixed = np.rint(points * 16).astype(np.int32)
    cv2.polylines(
        canvas, [fixed], False, tuple(float(c) for c in colour), max(1, width), cv2.LINE_AA, shift=4
    )


def bezier(points: Sequence[ArrayLike], count: int = 24) -> NDArray[np.float64]:
    """Return `count` points (count, 2) on the Bezier curve of four control points."""
    a, b, c, d = (np.asarray(p, np.float64) for p in points)
    t = np.linspace(0, 1, count)[:, None]
    curve: NDArray[np.float64] = (
        a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t**2 * (1 - t) + d * t**3
    )
    return curve


def window(
    shape: tuple[int, ...], left: int, top: int, right: int, bottom: int
) -> tuple[int, int, int, int] | None:
    """Return left, top, right, bottom clipped to an array of `shape`; None if nothing is left."""
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, shape[1]), min(bottom, shape[0])
    return (left, top, right, bottom) if left < right and top < bottom else None


def paint(canvas: Image, patch: Image, alpha: Mask, left: int, top: int) -> None:
    """Lay `patch` with opacity `alpha`, of its size, over `canvas` at (left, top), in place."""
    area = window(canvas.shape, left, top, left + patch.shape[1], top + patch.shape[0])
    if area is None:
        return
    x1, y1, x2, y2 = area
    part = canvas[y1:y2, x1:x2]
    source = np.ascontiguousarray(patch[y1 - top : y2 - top, x1 - left : x2 - left])
    weight = alpha[y1 - top : y2 - top, x1 - left : x2 - left].astype(np.float32) * np.float32(1 / 255)
    part[:] = cv2.blendLinear(source, np.ascontiguousarray(part), weight, 1 - weight)


def darken(canvas: Image, shadow: Mask, strength: float, left: int, top: int) -> None:
    """Multiply `canvas` by `1 - strength * shadow / 255` at (left, top), cut at its edge, in place."""
    area = window(canvas.shape, left, top, left + shadow.shape[1], top + shadow.shape[0])
    if area is None:
        return
    x1, y1, x2, y2 = area
    part = canvas[y1:y2, x1:x2]
    keep = cv2.convertScaleAbs(shadow[y1 - top : y2 - top, x1 - left : x2 - left], alpha=-strength, beta=255)
    part[:] = cv2.multiply(part, cv2.cvtColor(keep, cv2.COLOR_GRAY2BGR), scale=1 / 255)


def drop_shadow(
    canvas: Image, only: Mask | None, outline: NDArray[np.float64], sigma: float, strength: float
) -> None:
    """Darken a blurred shape in place, only where `only` is not zero if that is given."""
    margin = 2.5 * sigma
    low, high = np.floor(outline.min(0) - margin).astype(int), np.ceil(outline.max(0) + margin).astype(int)
    area = window(canvas.shape, int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    if area is None:
        return
    x1, y1, x2, y2 = area
    if only is not None and not only[y1:y2, x1:x2].any():
        return
    factor = max(1.0, sigma / 1.5)  # what will be blurred need not be drawn finely
    small = max(2, math.ceil((y2 - y1) / factor)), max(2, math.ceil((x2 - x1) / factor))
    ratio = np.asarray([small[1] / (x2 - x1), small[0] / (y2 - y1)])
    mask = fill(np.zeros(small, np.uint8), (outline - (x1, y1)) * ratio)
    soft = cv2.GaussianBlur(mask, (0, 0), max(0.6, sigma / factor))
    shape = np.asarray(cv2.resize(soft, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR), np.uint8)
    if only is not None:
        shape = shape * (only[y1:y2, x1:x2] > 0)
    darken(canvas, shape, strength, x1, y1)


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """The light of a scene, tabulated by the surface normal (nx, ny), each from -1 to 1 over `SIDE` cells.

    Args:
        direction: unit vector towards the main light; x right, y down, z towards the camera.
        diffuse: (SIDE, SIDE, 3) linear irradiance.
        mirror: (SIDE, SIDE, 3) linear radiance that a mirror of that normal shows.
    """

    direction: NDArray[np.float64]
    diffuse: Floats
    mirror: Floats


def _normal_table() -> tuple[Floats, Floats, Floats]:
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    nx, ny = np.meshgrid(axis, axis)
    radius = np.maximum(np.hypot(nx, ny), 1e-6)
    inside = np.minimum(1, 1 / radius)
    nx, ny = nx * inside, ny * inside
    return nx, ny, np.sqrt(np.clip(1 - nx * nx - ny * ny, 0, 1))


_NX, _NY, _NZ = _normal_table()


def make_light(
    rng: Random, surroundings: Image, direction: ArrayLike, strength: float, warmth: float, source: str
) -> Light:
    """Tabulate the light that falls on a scene's objects.

    Args:
        rng: varies the shape of the main light.
        surroundings: the backdrop, whose colours fill the shadows and show in reflections.
        direction: towards the main light; x right, y down, z towards the camera.
        strength: of the main light; 1 lights a white surface to white.
        warmth: -1 blue to 1 orange.
        source: what shows in reflections: ``sun``, ``window``, ``lamp`` or ``cloud``.
    """
    towards = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    small = linear(cv2.resize(surroundings, (12, 12), interpolation=cv2.INTER_AREA))
    above, below = small[:6].mean((0, 1)), small[6:].mean((0, 1))
    key = np.asarray([1 - 0.35 * warmth, 1.0, 1 + 0.3 * warmth], np.float32) * strength
    facing = _NX * towards[0] + _NY * towards[1] + _NZ * towards[2]
    wrapped = np.clip((facing + 0.3) / 1.3, 0, 1) ** 1.4
    up = (0.5 - 0.5 * _NY)[..., None]
    ambient = (0.10 + 0.75 * above) * up + (0.05 + 0.6 * below) * (1 - up)
    diffuse = wrapped[..., None] * key * 0.85 + ambient * (0.45 + 0.3 * strength)
    mirror = cv2.resize(small[:, ::-1], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) * 0.8 + ambient * 0.35
    mirror = np.maximum(mirror, 0) + _glint(rng, towards, source)[..., None] * key * 16
    return Light(towards, diffuse.astype(np.float32), mirror.astype(np.float32))


def _glint(rng: Random, towards: NDArray[np.float64], source: str) -> Floats:
    """Return the image (SIDE, SIDE), 0-1, of the main light in a mirror ball."""
    half = towards + np.asarray((0, 0, 1))
    half /= np.linalg.norm(half)
    x, y = (half[:2] + 1) / 2 * SIDE
    table = np.zeros((SIDE, SIDE), np.uint8)
    if source == "window":
        wide, high = uniform(rng, 5, 9), uniform(rng, 6, 13)
        lean = uniform(rng, -2, 2)
        panes = int(rng.integers(1, 3))
        for column in range(panes):
            for row in range(2):
                x1, y1 = x + (column - panes / 2) * wide, y + (row - 1) * high / 2
                quad = [(x1 + lean, y1), (x1 + wide - 1.2 + lean, y1), (x1 + wide - 1.2, y1 + high / 2 - 1.2),
                        (x1, y1 + high / 2 - 1.2)]  # fmt: skip
                fill(table, np.asarray(quad), 200)
        soft = 0.7
    elif source == "cloud":
        cv2.ellipse(table, ((x, y), (uniform(rng, 16, 30), uniform(rng, 9, 16)), 0), 50, -1, cv2.LINE_AA)
        soft = 4.0
    else:
        size = uniform(rng, 4, 6) if source == "sun" else uniform(rng, 6, 11)
        cv2.ellipse(table, ((x, y), (size, size * uniform(rng, 0.8, 1.2)), 0), 255, -1, cv2.LINE_AA)
        if chance(rng, 0.4):  # a second, weaker light, or the first in a bright floor
            cv2.ellipse(table, ((SIDE - x, SIDE * 0.72), (5, 3), 0), 45, -1, cv2.LINE_AA)
        soft = 1.0
    return np.asarray(cv2.GaussianBlur(table, (0, 0), soft), np.float32) / 255


def shade(
    light: Light,
    nx: Floats,
    ny: Floats,
    albedo: Floats,
    gloss: float = 0.04,
    metal: float = 0.0,
    through: float = 0.0,
) -> Image:
    """Return the display colours (h, w, 3) of a surface.

    Args:
        light: of the scene.
        nx, ny: (h, w) horizontal and vertical part of the unit normal.
        albedo: linear colour, (h, w, 3) or (3,).
        gloss: share of light mirrored head-on; more is at grazing angles (Schlick's form).
        metal: 0 to 1, how far the surface is a coloured mirror.
        through: share of light that shines through from behind.
    """
    map_x, map_y = (nx + 1) * np.float32((SIDE - 1) / 2), (ny + 1) * np.float32((SIDE - 1) / 2)
    edge = 1 - np.sqrt(np.clip(1 - nx * nx - ny * ny, 0, 1))
    mirrored = np.float32(gloss) + np.float32(min(0.4, gloss * 8)) * edge**4
    colour: Floats = cv2.remap(light.diffuse, map_x, map_y, cv2.INTER_LINEAR)
    if through > 0:
        behind = cv2.remap(light.diffuse, SIDE - 1 - map_x, SIDE - 1 - map_y, cv2.INTER_LINEAR)
        colour += np.float32(through) * behind
    colour *= albedo
    reflection = cv2.remap(light.mirror, map_x, map_y, cv2.INTER_LINEAR)
    if metal > 0:
        tint = np.asarray(albedo, np.float32) * np.float32(metal * 1.1)
        colour = colour * np.float32(1 - metal * 0.8) + reflection * tint
    colour += reflection * mirrored[..., None]
    colour /= 1 + np.float32(0.22) * colour  # a film's shoulder: highlights roll off instead of clipping
    return np.asarray(cv2.convertScaleAbs(np.sqrt(colour), alpha=255 * 1.08), np.uint8)


def relief(height: Mask, softness: float, bulge: float = 1.0) -> tuple[Floats, Floats]:
    """Return normals (nx, ny) of a flat shape puffed up like a cushion: its blurred height map's slopes."""
    rounded = np.asarray(blur(height.astype(np.float32), softness), np.float32)
    scale = -bulge * softness / 160
    nx = cv2.Sobel(rounded, cv2.CV_32F, 1, 0, scale=scale / 4)
    ny = cv2.Sobel(rounded, cv2.CV_32F, 0, 1, scale=scale / 4)
    length = np.sqrt(nx * nx + ny * ny + 1)
    return nx / length, ny / length
