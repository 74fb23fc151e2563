"""The embedded sample data: scenes with balloons, drawn, with the outlines that people would annotate.

Everything comes from one seed: the same seed gives the same bytes with the same versions of numpy and OpenCV.
Scenes are drawn in milliseconds, so that a small network can also be trained on thousands of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.files import write_bytes, write_text
from aerostat.scenes.backdrops import Backdrop, draw_backdrop
from aerostat.scenes.brushes import (
    Floats,
    Image,
    Light,
    Mask,
    Random,
    bezier,
    blur,
    chance,
    darken,
    fill,
    hsv,
    linear,
    paint,
    shade,
    stroke,
    uniform,
    window,
)
from aerostat.scenes.props import Sprite, defocused, draw_hanging, draw_standing, person, present

ANNOTATION_FILE = "via_region_data.json"
LEAST_VISIBLE = 0.25
"""A balloon of which less than this share shows is not annotated."""

_THING = 255  # in the map of what covers what: not a balloon; 0 is the backdrop


def write_balloons(
    folder: Path | str, *, train: int = 48, val: int = 16, size: tuple[int, int] = (640, 480), seed: int = 0
) -> Path:
    """Write drawn scenes as JPEG files with VIA 1.x annotation files, and return `folder`.

    The layout is that of the well-known balloon data: ``train/`` and ``val/``, in each the images and one
    ``via_region_data.json`` whose regions are polygons without a class name. Scene i of a split is the same
    whatever the number of scenes.

    Args:
        folder: made if it is missing; files of the same names are replaced.
        train, val: numbers of scenes.
        size: width and height in pixels, at least 64 each.
        seed: of everything random.

    Raises:
        InputError: a number of scenes is negative or the size is too small.
    """
    folder = Path(folder)
    width, height = size
    if train < 0 or val < 0 or min(size) < 64:
        found = f"{train} train and {val} val scenes of {width} x {height}"
        raise InputError(
            f"Expected scenes to draw in numbers from 0 and of at least 64 x 64 pixels, found {found}."
        )
    for index, (split, count) in enumerate((("train", train), ("val", val))):
        (folder / split).mkdir(parents=True, exist_ok=True)
        entries: dict[str, object] = {}
        for number in range(1, count + 1):
            rng = np.random.default_rng([seed, index, number])
            image, outlines = draw_scene(rng, width, height)
            quality = int(rng.integers(82, 95))
            content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
            name = f"scene_{number:04d}.jpg"
            write_bytes(folder / split / name, content)
            entries[f"{name}{len(content)}"] = _via_entry(name, len(content), outlines)
        write_text(folder / split / ANNOTATION_FILE, json.dumps(entries))
    return folder


def _via_entry(name: str, size: int, outlines: Sequence[NDArray[np.float64]]) -> dict[str, object]:
    regions = {}
    for index, outline in enumerate(outlines):
        points = np.rint(np.concatenate([outline, outline[:1]])).astype(int)
        xs, ys = points[:, 0].tolist(), points[:, 1].tolist()
        attributes = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
        regions[str(index)] = {"shape_attributes": attributes, "region_attributes": {}}
    return {
        "fileref": "",
        "size": size,
        "filename": name,
        "base64_img_data": "",
        "file_attributes": {},
        "regions": regions,
    }


def draw_scene(rng: Random, width: int, height: int) -> tuple[Image, list[NDArray[np.float64]]]:
    """Draw one scene.

    Args:
        rng: everything random comes from it.
        width, height: of the image in pixels.

    Returns:
        The image (height, width, 3) uint8 BGR, and for each balloon of which at least a quarter shows its
        whole outline, behind other things too, cut to the image: (n, 2) x and y in pixels.
    """
    backdrop = draw_backdrop(rng, width, height)
    canvas = np.ascontiguousarray(backdrop.image)
    cover = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(0, 5))):
        _place_thing(rng, canvas, cover, backdrop, in_front=False)
    balloons: list[Balloon] = []
    if not chance(rng, 0.06):
        for _ in range(1 if chance(rng, 0.8) else 2):
            balloons += _arrange(rng, backdrop, width, height)
    for number, balloon in enumerate(balloons, start=1):
        draw_balloon(rng, canvas, cover, number, balloon, backdrop)
    for hold, holder, ground in sorted(
        {(b.tether, b.holder, b.ground) for b in balloons if b.tether and b.holder}
    ):
        _place_holder(rng, canvas, cover, backdrop, hold, holder, ground)
    if chance(rng, 0.3):
        _place_thing(rng, canvas, cover, backdrop, in_front=True)
    return _develop(rng, canvas), visible_outlines(balloons, cover)


# ------------------------------------------------------------------------------------------------ balloons


def visible_outlines(balloons: Sequence[Balloon], cover: Mask) -> list[NDArray[np.float64]]:
    """Return the outline (n, 2) of each balloon of which at least a quarter shows, cut to the image.

    Args:
        balloons: as they were drawn, the first with number 1.
        cover: (H, W) uint8, the number of the balloon that each pixel shows.
    """
    height, width = cover.shape
    outlines = []
    shown = np.bincount(cover.ravel(), minlength=256)
    for number, balloon in enumerate(balloons, start=1):
        outline = clip_outline(balloon.annotation(), width, height)
        if len(outline) >= 3 and shown[number] >= LEAST_VISIBLE * _area(balloon.outline()):
            outlines.append(outline)
    return outlines


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a balloon is made of.

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
    """One balloon where it hangs.

    Args:
        x, y: the middle of its widest part, in pixels.
        radius: half its width, in pixels.
        angle: 0 with the knot straight down, in radians, clockwise.
        profile: (k, 2), along the axis from the top (-1) past the knot: position and half width, in radii.
        look: what it is made of.
        tether: where its string ends, or None.
        rests: it lies on the floor.
        holder: what keeps the strings of its group: nobody, a ``person``, or a ``weight`` on the floor.
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


def _looks(rng: Random, count: int) -> list[Look]:
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
    """Draw a balloon with its shadows and its string, and note in `cover` what it hides, in place."""
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
    thick = (1 - facing) ** 2  # one looks through more rubber at the edge
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
    """Return what is printed on a balloon, (h, w) in 0-1, foreshortened towards the edges."""
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
        _shadow(canvas, None, outline + gap, r * 0.16, 0.42)
    elif r > 9:
        _shadow(canvas, cover, outline + np.asarray([-towards[0], -towards[1]]) * r * 0.3, r * 0.16, 0.5)
    if balloon.rests:
        ground = float(outline[:, 1].max())
        middle = (balloon.x - float(towards[0]) * r * 0.5, ground - r * 0.06)
        angle = np.linspace(0, 2 * np.pi, 25)[:-1]
        for wide, strength in ((1.15, 0.38), (0.5, 0.55)):
            spot = np.stack(
                [middle[0] + wide * r * np.cos(angle), middle[1] + 0.24 * wide * r * np.sin(angle)], axis=1
            )
            _shadow(canvas, None, spot, r * 0.11 * wide, strength)


def _shadow(
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


# --------------------------------------------------------------------------------------------- arrangement


def _arrange(rng: Random, backdrop: Backdrop, width: int, height: int) -> list[Balloon]:
    """Return balloons of one group, the farthest first."""
    kinds = [_single, _few, _few, _bunch, _bunch, _bunch, _scattered, _garland]
    if backdrop.floor is not None:
        kinds += [_lying, _lying]
    balloons = kinds[int(rng.integers(len(kinds)))](rng, backdrop, width, height)
    if not chance(rng, 0.15):
        return balloons
    sigma = uniform(rng, 0.6, 3.0)  # a group out of focus
    return [replace(b, sigma=min(sigma, b.radius * 0.12)) for b in balloons]


def _radius(rng: Random, width: int, height: int, least: float, most: float) -> float:
    """Return a radius between two shares of the image's shorter side, small ones as likely as large ones."""
    return min(width, height) * 0.5 * math.exp(uniform(rng, math.log(least), math.log(most)))


def _single(rng: Random, backdrop: Backdrop, width: int, height: int) -> list[Balloon]:
    r = _radius(rng, width, height, 0.09, 0.62)
    x, y = uniform(rng, 0.05, 0.95) * width, uniform(rng, 0.1, 0.75) * height
    angle = float(rng.normal(0, 0.3)) if chance(rng, 0.8) else uniform(rng, -np.pi, np.pi)
    tether = (
        (x - math.sin(angle) * 2 * r + uniform(rng, -1, 1) * r, y + r * uniform(rng, 2.5, 9))
        if chance(rng, 0.7)
        else None
    )
    return [Balloon(x, y, r, angle, balloon_profile(rng), _looks(rng, 1)[0], tether)]


def _few(rng: Random, backdrop: Backdrop, width: int, height: int) -> list[Balloon]:
    count = int(rng.integers(2, 5))
    r = _radius(rng, width, height, 0.09, 0.4)
    looks = _looks(rng, count)
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
    r = _radius(rng, width, height, 0.11, 0.36 if count < 8 else 0.24)
    spread = r * math.sqrt(count) * uniform(rng, 0.75, 1.1)
    cx, cy = uniform(rng, 0.15, 0.85) * width, uniform(rng, 0.15, 0.55) * height
    hold = (cx + uniform(rng, -1, 1) * spread, cy + spread + r * uniform(rng, 2, 6))
    holder, ground = "", 0.0
    if backdrop.floor is not None and backdrop.place != "table" and chance(rng, 0.75):
        holder = "person" if chance(rng, 0.6) else "weight"
        ground = backdrop.floor + (height * 1.05 - backdrop.floor) * uniform(rng, 0.1, 1.0)
        lift = _metre(backdrop, ground, height) * (1.0 if holder == "person" else 0.12)
        hold = (hold[0], ground - lift)
        cy = min(cy, hold[1] - spread - r)
    else:
        hold = (hold[0], max(hold[1], height * 1.05))
    looks, profiles = _looks(rng, count), [balloon_profile(rng) for _ in range(3)]
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
    r = _radius(rng, width, height, 0.045, 0.12)
    balloons = []
    for look in _looks(rng, count):
        size = max(r * uniform(rng, 0.7, 1.4), 8 * min(width, height) / 480)
        x, y = uniform(rng, 0, 1) * width, uniform(rng, 0.02, 0.75) * height
        tether = (x + uniform(rng, -1, 1) * size, y + size * uniform(rng, 3, 6)) if chance(rng, 0.6) else None
        balloons.append(Balloon(x, y, size, float(rng.normal(0, 0.35)), balloon_profile(rng), look, tether))
    return sorted(balloons, key=lambda b: b.radius)


def _garland(rng: Random, backdrop: Backdrop, width: int, height: int) -> list[Balloon]:
    """Balloons tied closely along an arch."""
    r = _radius(rng, width, height, 0.11, 0.2)
    left, right = uniform(rng, -0.1, 0.3) * width, uniform(rng, 0.6, 1.1) * width
    base, top = uniform(rng, 0.3, 1.0) * height, uniform(rng, -0.35, 0.3) * height
    arch = bezier(((left, base), (left, top), (right, top), (right, base * uniform(rng, 0.6, 1.1))), 200)
    length = float(np.linalg.norm(np.diff(arch, axis=0), axis=1).sum())
    count = min(30, int(length / (r * 1.05)))
    looks, profiles = _looks(rng, count), [balloon_profile(rng) for _ in range(3)]
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
    r = _radius(rng, width, height, 0.1, 0.34)
    balloons = []
    for look in _looks(rng, int(rng.integers(1, 9))):
        ground = floor + (height * 1.06 - floor) * uniform(rng, 0.08, 1.0)
        near = (ground - backdrop.horizon) / max(height - backdrop.horizon, 1.0)
        size = max(r * min(max(near, 0.35), 1.1), 8 * min(width, height) / 480)
        balloon = Balloon(
            uniform(rng, 0, 1) * width, 0.0, size, uniform(rng, -np.pi, np.pi), balloon_profile(rng), look
        )
        lift = ground - float(balloon.outline()[:, 1].max())
        balloons.append(Balloon(balloon.x, lift, size, balloon.angle, balloon.profile, look, None, True))
    return sorted(balloons, key=lambda b: float(b.outline()[:, 1].max()))


# -------------------------------------------------------------------------------------- things, development


def _place_thing(rng: Random, canvas: Image, cover: Mask, backdrop: Backdrop, in_front: bool) -> None:
    """Draw something that is no balloon, in place."""
    height, width = cover.shape
    if backdrop.floor is not None and backdrop.floor < height * 0.95 and chance(rng, 0.75):
        far, near = (0.5, 1.9) if in_front else (0.05, 1.15)
        ground = backdrop.floor + (height - backdrop.floor) * uniform(rng, far, near)
        sprite = draw_standing(rng, backdrop.light, _metre(backdrop, ground, height), backdrop.place)
        sigma = uniform(rng, 0.8, 4.0) if in_front and chance(rng, 0.5) else backdrop.softness * 0.3
        _stand(canvas, cover, sprite, uniform(rng, 0, 1) * width, ground, sigma)
        return
    size = _radius(rng, width, height, 0.06, 0.3) * 2
    sprite = draw_hanging(rng, backdrop.light, size, backdrop.place)
    x, top = uniform(rng, 0, 1) * width, int(uniform(rng, -0.05, 0.6) * height)
    left = int(x - sprite.alpha.shape[1] / 2)
    if backdrop.wall:
        _shadow_of(canvas, sprite, left, top, backdrop.light, size * 0.12)
    if sprite.hangs:
        stroke(canvas, np.asarray([(x, -2.0), (x, top + 2.0)]), (40, 40, 40), max(1, round(size / 60)))
    _lay(canvas, cover, sprite, left, top, backdrop.softness * 0.3)


def _place_holder(
    rng: Random,
    canvas: Image,
    cover: Mask,
    backdrop: Backdrop,
    hold: tuple[float, float],
    holder: str,
    ground: float,
) -> None:
    """Draw whoever or whatever holds the strings that meet at `hold`, in place."""
    metre = _metre(backdrop, ground, cover.shape[0])
    sprite = (
        person(rng, backdrop.light, metre)
        if holder == "person"
        else present(rng, backdrop.light, metre * 0.7)
    )
    _stand(canvas, cover, sprite, hold[0], ground, 0.0)


def _metre(backdrop: Backdrop, ground: float, height: int) -> float:
    """Return the pixels of a metre where the floor is at y = `ground`; the horizon is at eye level."""
    return max(ground - backdrop.horizon, height * 0.04) / backdrop.eye


def _stand(canvas: Image, cover: Mask, sprite: Sprite, x: float, ground: float, sigma: float) -> None:
    """Stand a sprite on the floor with its shadow, in place."""
    wide = sprite.alpha.shape[1] * 0.42
    angle = np.linspace(0, 2 * np.pi, 25)[:-1]
    spot = np.stack([x + wide * np.cos(angle), ground - 1 + wide * 0.16 * np.sin(angle)], axis=1)
    _shadow(canvas, None, spot, wide * 0.12 + 0.5, 0.5)
    _lay(
        canvas, cover, sprite, int(x - sprite.alpha.shape[1] / 2), int(ground - sprite.alpha.shape[0]), sigma
    )


def _lay(canvas: Image, cover: Mask, sprite: Sprite, left: int, top: int, sigma: float) -> None:
    """Draw a sprite, out of focus by `sigma`, and note in `cover` what it hides, in place."""
    area = window(cover.shape, left, top, left + sprite.alpha.shape[1], top + sprite.alpha.shape[0])
    if area is None:
        return
    soft = defocused(sprite, sigma)
    margin = (soft.image.shape[0] - sprite.image.shape[0]) // 2
    paint(canvas, soft.image, soft.alpha, left - margin, top - margin)
    x1, y1, x2, y2 = area
    cover[y1:y2, x1:x2][sprite.alpha[y1 - top : y2 - top, x1 - left : x2 - left] > 127] = _THING


def _shadow_of(canvas: Image, sprite: Sprite, left: int, top: int, light: Light, gap: float) -> None:
    """Darken the wall behind a sprite, in place."""
    margin = int(gap * 1.5) + 2
    mask = cv2.copyMakeBorder(sprite.alpha, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0)
    soft = np.asarray(blur(mask, gap * 0.6), np.uint8)
    darken(
        canvas,
        soft,
        0.4,
        left - margin - int(light.direction[0] * gap),
        top - margin - int(light.direction[1] * gap),
    )


def _develop(rng: Random, canvas: Image) -> Image:
    """Return the scene as a camera records it: glare, cast, contrast, vignette, blur, grain, JPEG."""
    height, width = canvas.shape[:2]
    shot: NDArray[Any] = canvas
    if chance(rng, 0.35):
        size = (max(2, width // 8), max(2, height // 8))
        small: NDArray[Any] = cv2.resize(shot, size, interpolation=cv2.INTER_AREA)
        bright = cv2.subtract(small, np.full_like(small, 150))
        glare = cv2.GaussianBlur(bright, (0, 0), max(1.0, width / 160))
        shot = cv2.addWeighted(shot, 1, cv2.resize(glare, (width, height)), uniform(rng, 0.15, 0.6), 0)
    saturation = 0.05 if chance(rng, 0.03) else uniform(rng, 0.65, 1.1)
    cast = np.exp(rng.normal(0, 0.05, 3))
    grey = np.asarray([0.114, 0.587, 0.299]) * (1 - saturation)
    shot = cv2.transform(shot, (np.eye(3) * saturation + grey[None]) * cast[:, None])
    shot = cv2.LUT(shot, _tone_curve(rng))
    if chance(rng, 0.55):
        _vignette(shot, uniform(rng, 0.1, 0.45))
    if chance(rng, 0.2):
        shot = cv2.GaussianBlur(shot, (0, 0), uniform(rng, 0.4, 1.1) * max(1.0, height / 480))
    strength = uniform(rng, 0.0, 0.26) ** 1.5
    noise: NDArray[Any] = np.frombuffer(rng.bytes(height * width * 3), np.uint8).reshape(height, width, 3)
    noise = cv2.blur(noise, (2, 2))
    shot = cv2.addWeighted(shot, 1, noise, strength, -127.5 * strength)
    if chance(rng, 0.25):
        coded = cv2.imencode(".jpg", shot, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 80))])[1]
        shot = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return np.asarray(shot, np.uint8)


def _tone_curve(rng: Random) -> NDArray[np.uint8]:
    """Return a table (256,) of gamma, contrast, lifted blacks and exposure."""
    x = np.linspace(0, 1, 256) ** math.exp(float(rng.normal(-0.1, 0.12)))
    curved = x * x * (3 - 2 * x)
    x = x + (curved - x) * uniform(rng, -0.1, 0.6)
    black = uniform(rng, 0, 0.06) if chance(rng, 0.4) else 0.0
    return np.asarray(np.clip((black + x * (1 - black)) * uniform(rng, 0.93, 1.12) * 255, 0, 255), np.uint8)


def _vignette(canvas: NDArray[Any], strength: float) -> None:
    """Darken the corners, in place."""
    x, y = np.linspace(-1, 1, 40), np.linspace(-1, 1, 30)[:, None]
    corners = (255 * ((x * x + y * y) / 2) ** 1.4).astype(np.uint8)
    shadow = cv2.resize(corners, (canvas.shape[1], canvas.shape[0]), interpolation=cv2.INTER_LINEAR)
    darken(canvas, np.asarray(shadow, np.uint8), strength, 0, 0)


def _area(outline: NDArray[np.float64]) -> float:
    x, y = outline.T
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def clip_outline(outline: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """Return the part of a polygon (n, 2) inside the image (Sutherland and Hodgman, 1974)."""
    for axis, limit, sign in ((0, 0.0, 1), (0, float(width), -1), (1, 0.0, 1), (1, float(height), -1)):
        inside = sign * (outline[:, axis] - limit) >= 0
        if inside.all():
            continue
        kept: list[NDArray[np.float64]] = []
        for i in range(len(outline)):
            before, here = outline[i - 1], outline[i]
            if inside[i - 1] != inside[i]:
                crossing = before + (here - before) * ((limit - before[axis]) / (here[axis] - before[axis]))
                crossing[axis] = limit
                kept.append(crossing)
            if inside[i]:
                kept.append(here)
        if len(kept) < 3:
            return np.empty((0, 2))
        outline = np.asarray(kept)
    return outline
