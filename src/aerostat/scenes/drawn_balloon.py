"""One balloon of a drawn scene: its shape, its material, and how it is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.scenes.backdrops import Backdrop
from aerostat.scenes.brushes import (
    Floats,
    Image,
    Light,
    Mask,
    Random,
    bezier,
    blur,
    chance,
    drop_shadow,
    fill,
    hsv,
    linear,
    paint,
    shade,
    stroke,
    uniform,
    window,
)


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """The material of a balloon.

    Args:
        colour: linear (3,).
        gloss, metal, through: see `aerostat.scenes.brushes.shade`.
        clear: how much one sees through its middle, 0 to 1.
        pattern: printed on it: ``none``, ``dots`` or ``face``.
        ink: linear (3,), of the pattern.
    """

    colour: Floats
    gloss: float
    metal: float
    through: float
    clear: float
    pattern: str
    ink: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Balloon:
    """One balloon at its place.

    Args:
        x, y: the middle of its widest part, in pixels.
        radius: half its width, in pixels.
        angle: 0 with the knot straight down, in radians, clockwise.
        profile: (k, 2), along the axis from the top (-1) past the knot: position and half width, in radii.
        look: its material.
        tether: where its string ends, or None.
        rests: it lies on the floor.
        holder: of the strings of its group: empty, ``person``, or ``weight`` on the floor.
        ground: y of the holder's feet.
        sigma: how far it is out of focus, in pixels.
    """

    x: float
    y: float
    radius: float
    angle: float
    profile: NDArray[np.float64]
    look: Look
    tether: tuple[float, float] | None = None
    rests: bool = False
    sigma: float = 0.0
    holder: str = ""
    ground: float = 0.0

    def place(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points (n, 2) across and along the axis, in radii, as x and y in the image."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        turn = np.asarray([[cos, sin], [-sin, cos]]) * self.radius
        placed: NDArray[np.float64] = points @ turn + (self.x, self.y)
        return placed

    def outline(self) -> NDArray[np.float64]:
        """Return the whole outline (n, 2) in pixels, whether or not it lies in the image."""
        right = self.profile[:, ::-1]
        left = right[::-1] * np.asarray((-1, 1))
        return self.place(np.concatenate([right, left]))

    def annotation(self) -> NDArray[np.float64]:
        """Return the outline with as many points as a person would click."""
        right = self.profile[:, ::-1]
        right = np.concatenate([right[:-4:6], right[-2:]])
        left = right[::-1] * np.asarray((-1, 1))
        return self.place(np.concatenate([right, left]))


def balloon_profile(rng: Random) -> NDArray[np.float64]:
    """Return the shape of a balloon: half a circle, a longer and more pointed half below, the knot."""
    length = uniform(rng, 1.0, 1.22) if chance(rng, 0.6) else uniform(rng, 1.15, 1.6)
    point = uniform(rng, 1.08, 1.5)
    upper = np.linspace(0.02, np.pi / 2, 41)[:-1]
    lower = np.linspace(0, np.pi / 2, 57)[:-1]
    body_y = np.concatenate([-np.cos(upper), length * np.sin(lower)])
    body_r = np.concatenate([np.sin(upper), np.cos(lower) ** point])
    neck = uniform(rng, 0.045, 0.075)
    kept = (body_r > neck) | (body_y < 0)
    end = float(body_y[kept][-1]) + 0.02
    flare, drop = neck * uniform(rng, 1.3, 1.9), uniform(rng, 0.05, 0.12)
    knot = [
        (end + 0.02, neck),
        (end + drop * 0.4, neck * 0.9),
        (end + drop, flare),
        (end + drop + 0.02, flare * 0.8),
    ]
    return np.concatenate([np.stack([body_y[kept], body_r[kept]], axis=1), knot])


def draw_looks(rng: Random, count: int) -> list[Look]:
    """Return looks of one group: of one colour, of two or three, or all different."""
    choices = (1, 2, 3, count)[int(rng.integers(4))]
    material = (0.0, 0.35, 0.7, 1.0)[int(rng.integers(4))]
    pattern = ("none",) * 8 + ("dots", "face")
    printed = pattern[int(rng.integers(len(pattern)))]
    palette = [
        _look(rng, material if chance(rng, 0.8) else float(rng.random()), printed) for _ in range(choices)
    ]
    return [palette[int(rng.integers(choices))] for _ in range(count)]


def _look(rng: Random, material: float, pattern: str) -> Look:
    kind = float(rng.random())
    if kind < 0.74:
        colour = hsv(uniform(rng, 0, 1), uniform(rng, 0.6, 0.97), uniform(rng, 0.6, 1.0))
    elif kind < 0.84:
        colour = hsv(uniform(rng, 0, 1), uniform(rng, 0.2, 0.5), uniform(rng, 0.85, 1.0))
    elif kind < 0.92:
        colour = hsv(uniform(rng, 0, 0.15), uniform(rng, 0, 0.06), uniform(rng, 0.88, 0.98))
    else:
        colour = hsv(uniform(rng, 0.5, 0.7), uniform(rng, 0, 0.3), uniform(rng, 0.12, 0.25))
    ink = linear(hsv(0.1, 0.02, 0.95) if colour.mean() < 170 else hsv(uniform(rng, 0, 1), 0.6, 0.2))
    if material > 0.88:  # foil
        tint = colour if chance(rng, 0.6) else hsv(0.12, uniform(rng, 0, 0.5), 0.9)
        return Look(linear(tint), 0.09, uniform(rng, 0.45, 0.8), 0.0, 0.0, "none", ink)
    if material < 0.4 and colour.max() > 120:  # thin, light shines through
        return Look(
            linear(colour),
            uniform(rng, 0.03, 0.06),
            0.0,
            uniform(rng, 0.25, 0.6),
            uniform(rng, 0.05, 0.35),
            pattern,
            ink,
        )
    return Look(
        linear(colour),
        uniform(rng, 0.02, 0.06),
        uniform(rng, 0, 0.15),
        uniform(rng, 0, 0.2),
        0.0,
        pattern,
        ink,
    )


def draw_balloon(
    rng: Random, canvas: Image, cover: Mask, number: int, balloon: Balloon, backdrop: Backdrop
) -> None:
    """Draw a balloon with its shadows and its string, and mark its pixels in `cover`, in place."""
    outline = balloon.outline()
    _cast_shadows(canvas, cover, balloon, outline, backdrop)
    if balloon.tether is not None:
        _draw_string(rng, canvas, balloon)
    margin = int(balloon.sigma * 2.5) + 2
    low, high = (
        np.floor(outline.min(axis=0)).astype(int) - margin,
        np.ceil(outline.max(axis=0)).astype(int) + margin,
    )
    area = window(canvas.shape, int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    if area is None:
        return
    x1, y1, x2, y2 = area
    # OpenCV's soft edges stand 0.65 pixels outside of a polygon, and its whole coordinates are pixel centres
    drawn = replace(balloon, radius=max(1.0, balloon.radius - 0.65)).outline() - (x1 + 0.5, y1 + 0.5)
    alpha = fill(np.zeros((y2 - y1, x2 - x1), np.uint8), drawn)
    cover[y1:y2, x1:x2][alpha > 127] = number
    skin, opacity, to_skin = _skin(rng, balloon, backdrop.light)
    to_skin = to_skin @ np.asarray([[1, 0, x1], [0, 1, y1], [0, 0, 1]], np.float64)
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    size = (x2 - x1, y2 - y1)
    patch = np.asarray(
        cv2.warpAffine(skin, to_skin[:2], size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
    if opacity is not None:
        clear = cv2.warpAffine(opacity, to_skin[:2], size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        alpha = np.asarray(cv2.multiply(alpha, clear, scale=1 / 255), np.uint8)
    if balloon.sigma >= 0.4:
        patch, alpha = (
            np.asarray(blur(patch, balloon.sigma), np.uint8),
            np.asarray(blur(alpha, balloon.sigma), np.uint8),
        )
    paint(canvas, patch, alpha, x1, y1)


def _skin(rng: Random, balloon: Balloon, light: Light) -> tuple[Image, Mask | None, NDArray[np.float64]]:
    """Shade a balloon in its own frame, knot down, as a solid of revolution.

    Returns:
        The colours (h, w, 3), the opacity (h, w) or None if it hides all, and the matrix (3, 3) from
        pixels of the scene to pixels of these arrays.
    """
    look, profile = balloon.look, balloon.profile
    n = min(
        max(balloon.radius * 0.8, 6.0), 64.0
    )  # pixels per radius; larger balloons are enlarged, they are smooth
    h, w = int((profile[-1, 0] + 1) * n) + 4, int(2 * n) + 4
    along = (np.arange(h, dtype=np.float32) - 1.5) / np.float32(n) - 1
    across = (np.arange(w, dtype=np.float32) - (w - 1) / 2) / np.float32(n)
    radii = np.maximum(np.interp(along, profile[:, 0], profile[:, 1]), 0.03)
    slopes = np.clip(np.gradient(radii, along), -7, 7)
    slopes = np.convolve(np.pad(slopes, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    share = np.clip(across[None] / radii.astype(np.float32)[:, None], -0.995, 0.995)
    steep = (1 / np.sqrt(1 + slopes**2)).astype(np.float32)[:, None]
    side, up = share * steep, np.broadcast_to((-slopes).astype(np.float32)[:, None] * steep, (h, w))
    cos, sin = np.float32(math.cos(balloon.angle)), np.float32(math.sin(balloon.angle))
    nx, ny = side * cos - up * sin, side * sin + up * cos
    facing = np.sqrt(np.clip(1 - side * side - up * up, 0, 1))
    thick = (1 - facing) ** 2  # at the edge a ray passes through more rubber
    near_knot = np.clip((along - profile[-1, 0] + 0.42) / 0.42, 0, 1).astype(np.float32)[:, None] ** 2
    depth = np.clip(0.55 * thick + 0.6 * near_knot, 0, 1)[..., None]
    albedo = (
        look.colour * (1 - depth * (1 - look.colour) * np.float32(0.85)) * (1 - 0.35 * near_knot[..., None])
    )
    if look.pattern != "none":
        ink = _pattern(rng, look.pattern, h, w, n)[..., None]
        albedo = albedo * (1 - ink) + look.ink * ink
    skin = shade(light, nx, ny, albedo, look.gloss, look.metal, look.through)
    opacity = None
    if look.clear > 0:
        bright = skin.max(axis=2).astype(np.float32) / 255
        hidden = 1 - look.clear * (1 - thick) * (1 - near_knot) * (1 - bright**6)
        opacity = np.asarray(cv2.convertScaleAbs(hidden, alpha=255), np.uint8)
    scale = n / balloon.radius
    turn = np.asarray([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float64)
    shift = np.asarray([[1, 0, -balloon.x], [0, 1, -balloon.y], [0, 0, 1]])
    enlarge = np.asarray([[scale, 0, (w - 1) / 2], [0, scale, n + 1.5], [0, 0, 1]])
    return skin, opacity, enlarge @ turn @ shift


def _pattern(rng: Random, pattern: str, h: int, w: int, n: float) -> Floats:
    """Return the print on a balloon, (h, w) in 0-1, foreshortened towards the edges."""
    ink = np.zeros((h, w), np.uint8)
    middle = (w / 2, n + 1.5)
    if pattern == "dots":
        size = uniform(rng, 0.05, 0.11)
        for _ in range(int(rng.integers(10, 40))):
            a, b = uniform(rng, -1.4, 1.4), uniform(rng, -1.2, 1.0)
            at = (middle[0] + n * math.sin(a) * math.cos(b), middle[1] + n * math.sin(b))
            axes = (2 * n * size * math.cos(a), 2 * n * size * math.cos(b))
            cv2.ellipse(ink, (at, axes, 0), 255, -1, cv2.LINE_AA)

    else:
        x = middle[0] + n * uniform(rng, -0.3, 0.3)
        for offset in (-0.26, 0.26):
            cv2.ellipse(
                ink, ((x + offset * n, middle[1] - 0.25 * n), (0.14 * n, 0.26 * n), 0), 255, -1, cv2.LINE_AA
            )
        mouth = (int(x), int(middle[1] + 0.08 * n)), (int(0.42 * n), int(0.36 * n))
        cv2.ellipse(ink, *mouth, 0, 15, 165, 255, max(1, int(n * 0.07)), cv2.LINE_AA)
    return ink.astype(np.float32) * np.float32(0.85 / 255)


def _cast_shadows(
    canvas: Image, cover: Mask, balloon: Balloon, outline: NDArray[np.float64], backdrop: Backdrop
) -> None:
    """Darken what lies in a balloon's shadow: the wall, the floor, other balloons and things behind."""
    r, towards = balloon.radius, backdrop.light.direction
    if backdrop.wall:
        gap = np.asarray([-towards[0], -towards[1] * 0.8]) * r * 0.9
        drop_shadow(canvas, None, outline + gap, r * 0.16, 0.42)
    elif r > 9:
        drop_shadow(canvas, cover, outline + np.asarray([-towards[0], -towards[1]]) * r * 0.3, r * 0.16, 0.5)
    if balloon.rests:
        ground = float(outline[:, 1].max())
        middle = (balloon.x - float(towards[0]) * r * 0.5, ground - r * 0.06)
        angle = np.linspace(0, 2 * np.pi, 25)[:-1]
        for wide, strength in ((1.15, 0.38), (0.5, 0.55)):
            spot = np.stack(
                [middle[0] + wide * r * np.cos(angle), middle[1] + 0.24 * wide * r * np.sin(angle)], axis=1
            )
            drop_shadow(canvas, None, spot, r * 0.11 * wide, strength)


def _draw_string(rng: Random, canvas: Image, balloon: Balloon) -> None:
    """Draw the string from the knot to where it is held, in place."""
    if balloon.tether is None:
        return
    knot = balloon.place(np.asarray([[0.0, balloon.profile[-1, 0]]]))[0]
    end = np.asarray(balloon.tether)
    reach = float(np.linalg.norm(end - knot))
    out = balloon.place(np.asarray([[0.0, balloon.profile[-1, 0] + 1.0]]))[0] - knot
    sway = np.asarray([uniform(rng, -0.2, 0.2) * reach, uniform(rng, 0, 0.1) * reach])
    line = bezier((knot, knot + out * reach / balloon.radius * 0.3, (knot + 2 * end) / 3 + sway, end))
    tone = (
        hsv(uniform(rng, 0, 1), uniform(rng, 0, 0.7), uniform(rng, 0.3, 1.0))
        if chance(rng, 0.4)
        else hsv(0.1, 0.05, uniform(rng, 0.55, 0.95))
    )
    stroke(canvas, line, tone.tolist(), round(max(1.0, balloon.radius * 0.022)))
