"""Drawn scenes with balloons, annotated with the outlines that people would click.

The same seed gives the same bytes with the same versions of numpy and OpenCV. A scene takes milliseconds, so
that a small network can be trained on thousands of scenes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.files import write_bytes, write_text
from aerostat.geometry import polygons
from aerostat.scenes.backdrops import Backdrop, draw_backdrop
from aerostat.scenes.brushes import (
    Image,
    Light,
    Mask,
    Random,
    blur,
    chance,
    darken,
    drop_shadow,
    paint,
    stroke,
    uniform,
    window,
)
from aerostat.scenes.camera import develop
from aerostat.scenes.drawn_balloon import Balloon, draw_balloon
from aerostat.scenes.groups import draw_group, random_radius
from aerostat.scenes.props import Sprite, defocused, draw_hanging, draw_standing, person, present

ANNOTATION_FILE = "via_region_data.json"
MIN_VISIBLE = 0.25
"""A balloon is annotated if at least this share of it is visible."""

_THING = 255  # in the map of covers: an object other than a balloon; 0 is the backdrop


def write_balloons(
    folder: Path | str,
    *,
    train: int = 48,
    val: int = 16,
    size: tuple[int, int] = (640, 480),
    seed: int = 0,
    backdrops: Sequence[str] = (),
) -> Path:
    """Write drawn scenes as JPEG files with VIA 1.x annotation files, and return `folder`.

    The layout is that of the well-known balloon data: ``train/`` and ``val/``, in each the images and one
    ``via_region_data.json`` whose regions are polygons without a class name. Scene i of a split is the same
    whatever the number of scenes.

    Args:
        folder: created if it is missing; files of the same names are replaced.
        train, val: numbers of scenes.
        size: width and height in pixels, at least 64 each.
        seed: of all random draws.
        backdrops: places to choose from, such as ``("night", "street")``; empty for all of them.

    Raises:
        InputError: a number of scenes is negative, the size is too small, or a place is unknown.

    Example:
        >>> import tempfile
        >>> folder = write_balloons(tempfile.mkdtemp(), train=2, val=1, size=(64, 64))
        >>> sorted(path.name for path in (folder / "train").iterdir())
        ['scene_0001.jpg', 'scene_0002.jpg', 'via_region_data.json']
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
            image, outlines = draw_scene(rng, width, height, backdrops)
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


def draw_scene(
    rng: Random, width: int, height: int, backdrops: Sequence[str] = ()
) -> tuple[Image, list[NDArray[np.float64]]]:
    """Draw one scene.

    Args:
        rng: source of all random draws.
        width, height: of the image in pixels.
        backdrops: places to choose from; empty for all of them.

    Returns:
        The image (height, width, 3) uint8 BGR, and the outlines (n, 2), x and y in pixels, of the balloons
        that are at least a quarter visible. An outline is whole, behind other objects too, and clipped to
        the image.
    """
    backdrop = draw_backdrop(rng, width, height, backdrops)
    canvas = np.ascontiguousarray(backdrop.image)
    cover = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(0, 5))):
        _place_thing(rng, canvas, cover, backdrop, in_front=False)
    balloons: list[Balloon] = []
    if not chance(rng, 0.06):
        for _ in range(1 if chance(rng, 0.8) else 2):
            balloons += draw_group(rng, backdrop, width, height)
    for number, balloon in enumerate(balloons, start=1):
        draw_balloon(rng, canvas, cover, number, balloon, backdrop)
    for hold, holder, ground in sorted(
        {(b.tether, b.holder, b.ground) for b in balloons if b.tether and b.holder}
    ):
        _place_holder(rng, canvas, cover, backdrop, hold, holder, ground)
    if chance(rng, 0.3):
        _place_thing(rng, canvas, cover, backdrop, in_front=True)
    return develop(rng, canvas), visible_outlines(balloons, cover)


def visible_outlines(balloons: Sequence[Balloon], cover: Mask) -> list[NDArray[np.float64]]:
    """Return the outlines (n, 2), clipped to the image, of balloons that are at least a quarter visible.

    Args:
        balloons: as they were drawn, the first with number 1.
        cover: (H, W) uint8, the number of the balloon that each pixel shows.
    """
    height, width = cover.shape
    outlines = []
    shown = np.bincount(cover.ravel(), minlength=256)
    for number, balloon in enumerate(balloons, start=1):
        outline = polygons.clip(balloon.annotation(), width, height)
        if len(outline) >= 3 and shown[number] >= MIN_VISIBLE * polygons.area(balloon.outline()):
            outlines.append(outline)
    return outlines


def _place_thing(rng: Random, canvas: Image, cover: Mask, backdrop: Backdrop, in_front: bool) -> None:
    """Draw an object other than a balloon, in place."""
    height, width = cover.shape
    if backdrop.floor is not None and backdrop.floor < height * 0.95 and chance(rng, 0.75):
        far, near = (0.5, 1.9) if in_front else (0.05, 1.15)
        ground = backdrop.floor + (height - backdrop.floor) * uniform(rng, far, near)
        sprite = draw_standing(rng, backdrop.light, backdrop.metre(ground), backdrop.place)
        sigma = uniform(rng, 0.8, 4.0) if in_front and chance(rng, 0.5) else backdrop.softness * 0.3
        _stand(canvas, cover, sprite, uniform(rng, 0, 1) * width, ground, sigma)
        return
    size = random_radius(rng, width, height, 0.06, 0.3) * 2
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
    """Draw the person or the weight that holds the strings at `hold`, in place."""
    metre = backdrop.metre(ground)
    sprite = (
        person(rng, backdrop.light, metre)
        if holder == "person"
        else present(rng, backdrop.light, metre * 0.7)
    )
    _stand(canvas, cover, sprite, hold[0], ground, 0.0)


def _stand(canvas: Image, cover: Mask, sprite: Sprite, x: float, ground: float, sigma: float) -> None:
    """Stand a sprite on the floor with its shadow, in place."""
    wide = sprite.alpha.shape[1] * 0.42
    angle = np.linspace(0, 2 * np.pi, 25)[:-1]
    spot = np.stack([x + wide * np.cos(angle), ground - 1 + wide * 0.16 * np.sin(angle)], axis=1)
    drop_shadow(canvas, None, spot, wide * 0.12 + 0.5, 0.5)
    _lay(
        canvas, cover, sprite, int(x - sprite.alpha.shape[1] / 2), int(ground - sprite.alpha.shape[0]), sigma
    )


def _lay(canvas: Image, cover: Mask, sprite: Sprite, left: int, top: int, sigma: float) -> None:
    """Draw a sprite, out of focus by `sigma`, and mark its pixels in `cover`, in place."""
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
