"""Objects of drawn scenes other than balloons: people, balls, fruit, lamps, cars, signs.

Each function draws one object as a `Sprite`. Many are round and bright on purpose, but none has a
balloon's knot or thins towards one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from aerostat.scenes.brushes import (
    Floats,
    Image,
    Light,
    Mask,
    Random,
    blur,
    chance,
    fill,
    hsv,
    linear,
    relief,
    shade,
    smooth_noise,
    to_image,
    uniform,
)


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """An object cut out along its outline.

    Args:
        image: (h, w, 3) display colours, defined a little beyond the outline.
        alpha: (h, w) opacity.
        hangs: on a cord from above.
    """

    image: Image
    alpha: Mask
    hangs: bool = False


def draw_standing(rng: Random, light: Light, metre: float, place: str) -> Sprite:
    """Draw an object that stands ``outdoors``, ``indoors`` or on a ``table``; `metre` is in pixels."""
    makers = {
        "outdoors": (person, person, person, ball, car, sign, lamp),
        "indoors": (person, person, person, ball, ball, present, lamp),
        "table": (small_fruit, small_fruit, upright_plate, present, small_ball),
    }[place]
    return makers[int(rng.integers(len(makers)))](rng, light, metre)


def draw_hanging(rng: Random, light: Light, size: float, place: str) -> Sprite:
    """Draw a round object, about `size` pixels wide, that hangs on a wall or a cord, or flies."""
    makers = (
        (ball_of, flat_disc, lantern) if place == "outdoors" else (plate, lantern, lantern, clock, flat_disc)
    )
    return makers[int(rng.integers(len(makers)))](rng, light, size)


# ------------------------------------------------------------------------------------------------- people


def person(rng: Random, light: Light, metre: float) -> Sprite:
    """Draw a standing person, seen from the front or from behind."""
    child = chance(rng, 0.35)
    tall = metre * (uniform(rng, 0.85, 1.3) if child else uniform(rng, 1.55, 1.9))
    scale = min(1.0, 300 / max(tall, 1))  # drawn no larger than this, then enlarged
    return _enlarged(_person(rng, light, tall * scale, 5.2 if child else 7.3), 1 / scale)


def _person(rng: Random, light: Light, tall: float, heads: float) -> Sprite:
    h = max(12, int(tall * 1.25))
    w = max(10, int(tall * 0.95))
    colour, height = np.zeros((h, w, 3), np.uint8), np.zeros((h, w), np.uint8)
    head = tall / heads
    x, top = w / 2, h - tall
    cloth, trousers = _cloth_colour(rng), _cloth_colour(rng) * 0.7
    skin = hsv(uniform(rng, 0.035, 0.075), uniform(rng, 0.3, 0.6), uniform(rng, 0.4, 0.95))
    hair = hsv(uniform(rng, 0.03, 0.12), uniform(rng, 0.2, 0.7), uniform(rng, 0.06, 0.5))
    shoulder, hip = top + head * 1.45, top + tall * 0.52
    half = tall * uniform(rng, 0.105, 0.135)

    def limb(points: list[tuple[float, float]], thick: float, tone: Floats, level: int) -> None:
        path = [np.rint(np.asarray(points) * 16).astype(np.int32)]
        wide = max(1, round(thick))
        cv2.polylines(colour, path, False, tone.tolist(), wide, cv2.LINE_AA, shift=4)
        cv2.polylines(height, path, False, level, wide, cv2.LINE_AA, shift=4)

    def shape(points: list[tuple[float, float]], tone: Floats, level: int) -> None:
        outline = np.asarray(points)
        fixed = [np.rint(outline * 16).astype(np.int32)]
        cv2.fillPoly(colour, fixed, tone.tolist(), cv2.LINE_AA, shift=4)
        fill(height, outline, level)

    skirt = chance(rng, 0.3)
    stance = uniform(rng, 0.03, 0.09) * tall
    for side in (-1, 1):  # legs and shoes
        foot = (x + side * stance, h - tall * 0.03)
        limb(
            [(x + side * half * 0.45, hip), (x + side * stance * 0.9, h - tall * 0.25), foot],
            tall * 0.085,
            skin if skirt else trousers,
            150,
        )
        limb([foot, (foot[0] + side * tall * 0.025, foot[1])], tall * 0.055, trousers * 0.4, 170)
    if skirt:
        waist, hem = shoulder + tall * 0.2, hip + tall * 0.18
        shape(_symmetric(x, [(half * 0.7, waist), (half * 1.7, hem)]), cloth, 200)
    neck, armpit = (half * 0.5, shoulder - head * 0.1), (half, shoulder + head * 0.12)
    shape(_symmetric(x, [neck, armpit, (half * 0.8, hip)]), cloth, 205)
    if chance(rng, 0.4):  # long hair falls behind the neck
        for canvas, tone in ((colour, hair.tolist()), (height, 215)):
            cv2.ellipse(canvas, ((x, top + head * 0.75), (head * 0.92, head * 1.2), 0), tone, -1, cv2.LINE_AA)
    limb([(x, top + head * 0.8), (x, shoulder)], head * 0.42, skin * 0.85, 190)
    for side in (-1, 1):
        raised = chance(rng, 0.3)
        elbow = (x + side * (half + tall * 0.07), shoulder + tall * (0.02 if raised else 0.17))
        hand = (
            x + side * (half + tall * uniform(rng, 0.02, 0.15)),
            shoulder + tall * (uniform(rng, -0.24, -0.1) if raised else uniform(rng, 0.22, 0.33)),
        )
        limb([(x + side * half * 0.85, shoulder + head * 0.15), elbow], tall * 0.062, cloth * 0.92, 230)
        limb([elbow, hand], tall * 0.05, skin if chance(rng, 0.6) else cloth * 0.92, 235)
        limb([hand, hand], tall * 0.055, skin, 240)
    _head(rng, colour, height, (x, top + head * 0.5), head, skin, hair)
    return _puffed(rng, light, colour, height, max(1.2, tall * 0.022), 0.14)


def _symmetric(middle: float, right: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a closed shape from its right half, given as distance from the middle and y."""
    return [(middle + x, y) for x, y in right] + [(middle - x, y) for x, y in reversed(right)]


def _head(
    rng: Random,
    colour: Image,
    height: Mask,
    centre: tuple[float, float],
    head: float,
    skin: Floats,
    hair: Floats,
) -> None:
    """Draw a head with hair, and a face if it looks this way, in place."""
    x, y = centre
    behind = chance(rng, 0.35)
    turn = uniform(rng, -0.14, 0.14) * head
    r = head * 0.5
    for canvas, tone in ((colour, hair.tolist()), (height, 225)):
        cv2.ellipse(canvas, ((x, y - r * 0.12), (r * 1.72, r * 1.95), 0), tone, -1, cv2.LINE_AA)
    if behind:
        return
    cv2.ellipse(colour, ((x + turn, y + r * 0.16), (r * 1.36, r * 1.66), 0), skin.tolist(), -1, cv2.LINE_AA)
    cv2.ellipse(height, ((x + turn, y + r * 0.16), (r * 1.36, r * 1.66), 0), 250, -1, cv2.LINE_AA)
    if head < 14:
        return
    for side in (-1, 1):
        eye = (x + turn * 1.5 + side * r * 0.3, y + r * 0.06)
        cv2.ellipse(colour, (eye, (r * 0.2, r * 0.13), 0), (skin * 0.28).tolist(), -1, cv2.LINE_AA)
        cv2.ellipse(
            colour,
            ((eye[0], eye[1] - r * 0.2), (r * 0.32, r * 0.07), 0),
            (hair * 0.8).tolist(),
            -1,
            cv2.LINE_AA,
        )
    cv2.ellipse(
        colour,
        ((x + turn * 1.6, y + r * 0.32), (r * 0.16, r * 0.3), 0),
        (skin * 0.86).tolist(),
        -1,
        cv2.LINE_AA,
    )
    cv2.ellipse(
        colour,
        ((x + turn * 1.4, y + r * 0.6), (r * 0.5, r * 0.14), 0),
        (skin * (0.5, 0.45, 0.75)).tolist(),
        -1,
        cv2.LINE_AA,
    )


def _cloth_colour(rng: Random) -> Floats:
    if chance(rng, 0.35):
        return hsv(0.6, uniform(rng, 0, 0.15), uniform(rng, 0.08, 0.95))
    return hsv(uniform(rng, 0, 1), uniform(rng, 0.25, 0.8), uniform(rng, 0.2, 0.85))


# --------------------------------------------------------------------------------------------- round things


def ball(rng: Random, light: Light, metre: float) -> Sprite:
    """Draw a ball that lies on the floor."""
    return ball_of(rng, light, metre * uniform(rng, 0.22, 0.45))


def small_ball(rng: Random, light: Light, metre: float) -> Sprite:
    """Draw a ball the size of a hand."""
    return ball_of(rng, light, metre * uniform(rng, 0.06, 0.14))


def small_fruit(rng: Random, light: Light, metre: float) -> Sprite:
    """Draw a fruit of its natural size."""
    return fruit(rng, light, metre * uniform(rng, 0.07, 0.12))


def upright_plate(rng: Random, light: Light, metre: float) -> Sprite:
    """Draw a plate that leans against a wall."""
    return plate(rng, light, metre * uniform(rng, 0.15, 0.27))


def ball_of(rng: Random, light: Light, size: float) -> Sprite:
    """Draw a football, beach ball, basketball, tennis ball or chequered ball, `size` pixels wide."""
    nx, ny, nz, alpha, scale = _sphere(size)
    normals = np.stack([nx, ny, nz], axis=-1) @ _rotation(rng)
    a, b, c = normals[..., 0], normals[..., 1], normals[..., 2]
    longitude = np.arctan2(b, a)
    kind = int(rng.integers(5))
    first, second = _cloth_colour(rng), _cloth_colour(rng)
    if kind == 0:  # football
        spots = (np.stack([normals @ corner for corner in _ICOSAHEDRON]).max(axis=0) > 0.93)[..., None]
        albedo = np.where(spots, hsv(0, 0, 0.1), hsv(0.1, 0.03, 0.93))
    elif kind == 1:  # beach ball
        panels = np.stack(
            [
                first,
                hsv(0, 0, 0.95),
                second,
                hsv(0, 0, 0.95),
                hsv(uniform(rng, 0, 1), 0.8, 0.9),
                hsv(0, 0, 0.95),
            ]
        )
        albedo = panels[np.clip(((longitude + np.pi) / (2 * np.pi) * 6).astype(int), 0, 5)]
        albedo = np.where((np.abs(c) > 0.96)[..., None], hsv(0, 0, 0.9), albedo)
    elif kind == 2:  # basketball
        seams = (
            np.minimum(np.minimum(np.abs(a), np.abs(b)), np.abs(np.abs(c) - 0.55 + 0.35 * a * a)) < 0.035
        )[..., None]
        albedo = np.where(seams, hsv(0, 0, 0.08), hsv(uniform(rng, 0.03, 0.07), 0.8, 0.75))
    elif kind == 3:  # tennis ball
        seam = (np.abs(c - 0.55 * np.sin(2 * longitude) * np.hypot(a, b)) < 0.06)[..., None]
        albedo = np.where(seam, hsv(0.15, 0.1, 0.95), hsv(0.18, 0.75, 0.85))
        albedo = albedo * (
            0.85 + 0.3 * smooth_noise(rng, nx.shape[0], nx.shape[1], nx.shape[0] / 2)[..., None]
        )
    else:  # chequered or striped
        stripes = np.sin(longitude * int(rng.integers(3, 6))) if chance(rng, 0.5) else 1.0
        albedo = np.where((np.sin(c * uniform(rng, 5, 11)) * stripes > 0)[..., None], first, second)
    image = shade(light, nx, ny, linear(albedo), 0.03)
    return _enlarged(Sprite(image, alpha), scale)


def fruit(rng: Random, light: Light, size: float) -> Sprite:
    """Draw an apple, an orange, a lemon or a plum with its stem, about `size` pixels wide."""
    nx, ny, _, alpha, scale = _sphere(size, wide=uniform(rng, 0.92, 1.12))
    hue, saturation, value = (
        (0.0, 0.8, 0.7),
        (0.07, 0.9, 0.95),
        (0.14, 0.75, 0.95),
        (0.24, 0.7, 0.75),
        (0.85, 0.5, 0.35),
    )[int(rng.integers(5))]
    shape = nx.shape
    tones = smooth_noise(rng, shape[0], shape[1], 5, 4, gain=0.8)[..., None]
    albedo = hsv(hue, saturation, value) * (0.75 + 0.5 * tones)
    albedo = (
        albedo * np.clip(0.45 + 3.0 * np.hypot(nx, ny + 0.72), 0, 1)[..., None]
    )  # the dimple round the stem
    image = shade(light, nx, ny, linear(albedo), 0.035)
    side = shape[1]
    foot = (side * 0.5, shape[0] * 0.17)
    tip = (foot[0] + uniform(rng, -0.1, 0.1) * side, max(1.0, foot[1] - side * 0.13))
    for canvas, tone in ((image, (30, 50, 70)), (alpha, 255)):
        points = np.rint(np.asarray([foot, tip]) * 16).astype(np.int32)
        cv2.polylines(canvas, [points], False, tone, max(1, side // 22), cv2.LINE_AA, shift=4)
    if chance(rng, 0.5):
        leaf = (tip[0] + side * 0.1, tip[1] + side * 0.02)
        for canvas, tone in ((image, (40, 110, 60)), (alpha, 255)):
            cv2.ellipse(
                canvas, (leaf, (side * 0.22, side * 0.09), uniform(rng, -35, 35)), tone, -1, cv2.LINE_AA
            )
    return _enlarged(Sprite(image, alpha), scale)


def plate(rng: Random, light: Light, size: float) -> Sprite:
    """Draw a plate seen from above or aslant: a flat disc with a rim."""
    side, image, alpha = _blank(size)
    flat = uniform(rng, 0.35, 1.0)
    colour = _cloth_colour(rng) if chance(rng, 0.5) else hsv(0.1, 0.04, uniform(rng, 0.75, 1))
    turn = uniform(rng, -20, 20)
    middle = (side / 2, side / 2)
    image[:] = to_image(colour * 0.8)
    cv2.ellipse(alpha, (middle, (side * 0.97, side * 0.97 * flat), turn), 255, -1, cv2.LINE_AA)
    for share, tone in ((0.97, 0.92), (0.93, 1.0), (0.66, 0.82), (0.63, 0.97)):
        cv2.ellipse(
            image,
            (middle, (side * share, side * share * flat), turn),
            (colour * tone).tolist(),
            -1,
            cv2.LINE_AA,
        )
    return _lit_flat(rng, light, image, alpha, size / side)


def flat_disc(rng: Random, light: Light, size: float) -> Sprite:
    """Draw a disc of one flat colour or of rings: a paper decoration, a sticker, a reflector."""
    side, image, alpha = _blank(size)
    axes = (side * 0.95, side * 0.95 * uniform(rng, 0.75, 1.0))
    turn = uniform(rng, 0, 180)
    cv2.ellipse(alpha, ((side / 2, side / 2), axes, turn), 255, -1, cv2.LINE_AA)
    first, second = hsv(uniform(rng, 0, 1), uniform(rng, 0.3, 0.9), uniform(rng, 0.4, 1)), _cloth_colour(rng)
    image[:] = to_image(first)
    rings = int(rng.integers(0, 4))
    for ring in range(1, rings + 1):
        share = 1 - ring / (rings + 1)
        cv2.ellipse(
            image,
            ((side / 2, side / 2), (axes[0] * share, axes[1] * share), turn),
            (second if ring % 2 else first).tolist(),
            -1,
            cv2.LINE_AA,
        )
    return _lit_flat(rng, light, image, alpha, size / side)


def clock(rng: Random, light: Light, size: float) -> Sprite:
    """Draw a round clock."""
    side, image, alpha = _blank(size, smallest=10)
    middle, r = (side // 2, side // 2), side * 0.47
    cv2.circle(alpha, middle, int(r), 255, -1, cv2.LINE_AA)
    image[:] = to_image(_cloth_colour(rng))
    cv2.circle(image, middle, int(r * 0.88), hsv(0.1, 0.05, uniform(rng, 0.8, 1)).tolist(), -1, cv2.LINE_AA)
    for hour in range(12):
        angle = hour * np.pi / 6
        mark = (int(middle[0] + r * 0.74 * np.sin(angle)), int(middle[1] - r * 0.74 * np.cos(angle)))
        cv2.circle(image, mark, max(1, side // 50), (40, 40, 40), -1, cv2.LINE_AA)
    for length, angle in ((0.45, uniform(rng, 0, 6.3)), (0.68, uniform(rng, 0, 6.3))):
        tip = (int(middle[0] + r * length * np.sin(angle)), int(middle[1] - r * length * np.cos(angle)))
        cv2.line(image, middle, tip, (30, 30, 30), max(1, side // 40), cv2.LINE_AA)
    return _lit_flat(rng, light, image, alpha, size / side)


def lantern(rng: Random, light: Light, size: float) -> Sprite:
    """Draw a glowing globe or a ribbed paper lantern, which is bright in any light."""
    _, ny, nz, alpha, scale = _sphere(size, wide=uniform(rng, 1.0, 1.25))
    colour = (
        hsv(uniform(rng, 0.07, 0.14), uniform(rng, 0.05, 0.4), 1.0)
        if chance(rng, 0.6)
        else hsv(uniform(rng, 0, 1), 0.5, 1.0)
    )
    ribs = 1 - 0.16 * np.clip(np.cos(ny * uniform(rng, 22, 34)), 0, 1) if chance(rng, 0.6) else np.float32(1)
    glow = colour * ((0.62 + 0.45 * nz**1.5) * ribs)[..., None]
    image = to_image(glow)
    side = alpha.shape[1]
    cap = (int(side * 0.36), 0), (int(side * 0.64), max(2, int(side * 0.1)))
    cv2.rectangle(image, *cap, (40, 45, 50), -1)
    cv2.rectangle(alpha, *cap, 255, -1)
    return _enlarged(Sprite(image, alpha, hangs=True), scale)


# ----------------------------------------------------------------------------------------- standing things


def lamp(rng: Random, light: Light, metre: float) -> Sprite:
    """Draw a street lamp or standard lamp with a round shade."""
    tall, globe = metre * uniform(rng, 1.4, 2.8), metre * uniform(rng, 0.2, 0.42)
    scale = min(1.0, 400 / max(tall, 1))
    tall, globe = tall * scale, globe * scale
    head = draw_scaled(lantern(rng, light, globe), 1.0)
    h, w = max(8, int(tall)), max(6, head.image.shape[1])
    image, alpha = np.zeros((h, w, 3), np.uint8), np.zeros((h, w), np.uint8)
    pole = max(1, round(globe * 0.09))
    image[:] = to_image(hsv(0.6, 0.1, uniform(rng, 0.1, 0.5)))
    cv2.line(alpha, (w // 2, min(h - 1, head.image.shape[0] // 2)), (w // 2, h), 255, pole)
    cv2.rectangle(alpha, (w // 2 - pole * 2, h - pole * 2), (w // 2 + pole * 2, h), 255, -1)
    lit = shade(light, *relief(alpha, max(1.0, pole * 0.7), 3.0), linear(image), 0.04)
    rows = min(h, head.image.shape[0])
    part = head.alpha[:rows, :w].astype(np.float32)[..., None] / 255
    lit[:rows, : part.shape[1]] = (
        lit[:rows, : part.shape[1]] * (1 - part) + head.image[:rows, :w] * part
    ).astype(np.uint8)
    alpha[:rows, : part.shape[1]] = np.maximum(alpha[:rows, : part.shape[1]], head.alpha[:rows, :w])
    return _enlarged(Sprite(lit, alpha), 1 / scale)


def sign(rng: Random, light: Light, metre: float) -> Sprite:
    """Draw a traffic sign on its pole."""
    tall, wide = metre * uniform(rng, 1.6, 2.6), metre * uniform(rng, 0.5, 0.8)
    scale = min(1.0, 400 / max(tall, 1))
    h, w = max(10, int(tall * scale)), max(8, int(wide * scale))
    image, alpha = np.zeros((h, w, 3), np.uint8), np.zeros((h, w), np.uint8)
    image[:] = 140
    cv2.rectangle(alpha, (w // 2 - max(1, w // 24), w // 2), (w // 2 + max(1, w // 24), h), 255, -1)
    red, blue, white, yellow = (40, 30, 190), (170, 80, 20), (235, 235, 235), (30, 190, 240)
    face, rim = ((white, red), (blue, white), (red, white), (yellow, (30, 30, 30)))[int(rng.integers(4))]
    r = w / 2 - 0.5
    corners = (40, 40, 3, 4, 8)[int(rng.integers(5))]
    for share, tone in ((1.0, rim), (0.8, face)):
        angle = np.arange(corners) / corners * 2 * np.pi + (np.pi / 8 if corners == 8 else -np.pi / 2)
        shape = np.stack([w / 2 + r * share * np.cos(angle), w / 2 + r * share * np.sin(angle)], axis=1)
        cv2.fillPoly(image, [np.rint(shape * 16).astype(np.int32)], tone, cv2.LINE_AA, shift=4)
        if share == 1.0:
            fill(alpha, shape)
    if chance(rng, 0.6):
        cv2.rectangle(
            image,
            (int(w * 0.28), int(w * 0.44)),
            (int(w * 0.72), int(w * 0.56)),
            (30, 30, 30) if face != blue and face != red else white,
            -1,
        )
    return _lit_flat(rng, light, image, alpha, 1 / scale)


def car(rng: Random, light: Light, metre: float) -> Sprite:
    """Draw a car from the side."""
    long = metre * uniform(rng, 3.8, 4.6)
    scale = min(1.0, 420 / max(long, 1))
    w = max(16, int(long * scale))
    h = max(8, int(w * 0.36))
    colour, height = np.zeros((h, w, 3), np.uint8), np.zeros((h, w), np.uint8)
    paint_colour = _cloth_colour(rng)
    body = [
        (0.01, 0.82),
        (0.0, 0.55),
        (0.05, 0.45),
        (0.22, 0.4),
        (0.36, 0.06),
        (0.68, 0.03),
        (0.83, 0.38),
        (0.97, 0.46),
        (0.995, 0.6),
        (0.99, 0.82),
    ]
    cabin = [(0.27, 0.4), (0.38, 0.13), (0.66, 0.1), (0.78, 0.38)]
    size = np.asarray([w, h])
    colour[:] = to_image(paint_colour)
    fill(height, np.asarray(body) * size, 200)
    cv2.fillPoly(
        colour, [np.rint(np.asarray(cabin) * size * 16).astype(np.int32)], (70, 62, 55), cv2.LINE_AA, shift=4
    )
    cv2.line(
        colour,
        (int(w * 0.525), int(h * 0.1)),
        (int(w * 0.53), int(h * 0.4)),
        (paint_colour * 0.8).tolist(),
        max(1, w // 50),
    )
    cv2.line(
        colour,
        (int(w * 0.53), int(h * 0.42)),
        (int(w * 0.53), int(h * 0.8)),
        (paint_colour * 0.55).tolist(),
        1,
    )
    for at in (0.2, 0.79):
        centre = (int(w * at), int(h * 0.8))
        cv2.circle(colour, centre, int(h * 0.2), (22, 22, 22), -1, cv2.LINE_AA)
        cv2.circle(height, centre, int(h * 0.195), 170, -1, cv2.LINE_AA)
        cv2.circle(colour, centre, int(h * 0.11), (150, 150, 150), -1, cv2.LINE_AA)
    if chance(rng, 0.5):
        colour, height = np.ascontiguousarray(colour[:, ::-1]), np.ascontiguousarray(height[:, ::-1])
    return _enlarged(
        _puffed(rng, light, colour, height, max(1.2, h * 0.08), 0.0, gloss=0.02, bulge=1.2), 1 / scale
    )


def present(rng: Random, light: Light, metre: float) -> Sprite:
    """Draw a wrapped present with its ribbon."""
    size = metre * uniform(rng, 0.15, 0.4)
    side = max(8, int(min(size, 200)))
    bow = max(2, side // 6)
    high = max(6, int(side * uniform(rng, 0.45, 0.9))) + bow
    image, alpha = np.zeros((high, side, 3), np.uint8), np.zeros((high, side), np.uint8)
    wrap, ribbon = _cloth_colour(rng), hsv(uniform(rng, 0, 1), uniform(rng, 0.2, 0.8), uniform(rng, 0.6, 1))
    edge, lid, band = int(side * uniform(rng, 0.6, 0.85)), bow + (high - bow) // 5, max(1, side // 14)
    image[:] = to_image(wrap)
    image[:, edge:] = to_image(wrap * 0.7)
    image[:, edge // 2 - band : edge // 2 + band] = to_image(ribbon)
    middle = (edge + side) // 2
    image[:, middle - band // 2 : middle + band // 2 + 1] = to_image(ribbon * 0.7)
    image[lid : lid + max(1, band // 3)] = to_image(wrap * 0.5)
    alpha[bow:, 1 : side - 1] = 255
    for lean in (-1, 1):
        loop = ((edge / 2 + lean * bow * 0.7, bow * 0.75), (bow * 1.4, bow * 0.9), lean * 25)
        for canvas, tone in ((image, (ribbon * (0.85 if lean < 0 else 1.0)).tolist()), (alpha, 255)):
            cv2.ellipse(canvas, loop, tone, -1, cv2.LINE_AA)
    return _lit_flat(rng, light, image, alpha, size / side)


# --------------------------------------------------------------------------------------------------- parts


_GOLDEN = (1 + 5**0.5) / 2
_ICOSAHEDRON = np.asarray(
    [(0, a, b * _GOLDEN) for a in (-1, 1) for b in (-1, 1)]
    + [(a, b * _GOLDEN, 0) for a in (-1, 1) for b in (-1, 1)]
    + [(b * _GOLDEN, 0, a) for a in (-1, 1) for b in (-1, 1)]
) / (1 + _GOLDEN**2) ** 0.5  # fmt: skip


def _blank(size: float, smallest: int = 8) -> tuple[int, Image, Mask]:
    """Return the side to draw a flat object at, at most 220 pixels, and its empty image and alpha."""
    side = max(smallest, int(min(size, 220)))
    return side, np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.uint8)


def _rotation(rng: Random) -> Floats:
    """Return a random rotation matrix (3, 3)."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    return np.asarray(q * np.sign(np.diag(r)), np.float32)


def _sphere(size: float, wide: float = 1.0) -> tuple[Floats, Floats, Floats, Mask, float]:
    """Return normals nx, ny, nz, the alpha of a sphere, and the factor from these pixels to `size`."""
    side = int(min(max(size, 8), 130))
    across = max(8, int(side * wide))
    x = ((np.arange(across, dtype=np.float32) + 0.5) / across * 2 - 1) * np.float32(1.03)
    y = ((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1) * np.float32(1.03)
    nx, ny = np.meshgrid(x, y)
    radius = np.hypot(nx, ny)
    alpha = np.clip((1 - radius) * side * 0.5 + 0.5, 0, 1)
    keep = np.minimum(1, np.float32(0.995) / np.maximum(radius, 1e-6))
    nx, ny = nx * keep, ny * keep
    return nx, ny, np.sqrt(1 - nx * nx - ny * ny), (alpha * 255).astype(np.uint8), size / side


def _puffed(
    rng: Random,
    light: Light,
    colour: Image,
    height: Mask,
    softness: float,
    cloth: float,
    gloss: float = 0.004,
    bulge: float = 2.2,
) -> Sprite:
    """Shade a flat drawing by the relief of its height map, with folds of `cloth` strength."""
    nx, ny = relief(height, softness, bulge)
    albedo = linear(colour)
    if cloth:
        folds = smooth_noise(rng, height.shape[0], height.shape[1], height.shape[0] / 14, 3, 0.6)
        albedo = albedo * (1 - cloth + 2 * cloth * folds)[..., None]
    alpha = np.where(height > 140, 255, (height.astype(np.float32) * (255 / 140)).astype(np.uint8)).astype(
        np.uint8
    )
    return Sprite(shade(light, nx, ny, albedo, gloss), alpha)


def _lit_flat(rng: Random, light: Light, image: Image, alpha: Mask, scale: float) -> Sprite:
    """Shade a flat object that faces the camera, with one normal and slightly uneven tones."""
    h, w = alpha.shape
    tilt = np.float32(uniform(rng, -0.3, 0.3)), np.float32(uniform(rng, -0.3, 0.3))
    nx, ny = np.full((h, w), tilt[0], np.float32), np.full((h, w), tilt[1], np.float32)
    tones = 0.92 + 0.16 * smooth_noise(rng, h, w, 2, 2)[..., None]
    return _enlarged(Sprite(shade(light, nx, ny, linear(image) * tones, 0.01), alpha), scale)


def _enlarged(sprite: Sprite, scale: float) -> Sprite:
    return sprite if scale <= 1.01 else draw_scaled(sprite, scale)


def draw_scaled(sprite: Sprite, scale: float) -> Sprite:
    """Return the sprite at another size."""
    size = (max(1, round(sprite.image.shape[1] * scale)), max(1, round(sprite.image.shape[0] * scale)))
    image = np.asarray(cv2.resize(sprite.image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    alpha = np.asarray(cv2.resize(sprite.alpha, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return Sprite(image, alpha, sprite.hangs)


def defocused(sprite: Sprite, sigma: float) -> Sprite:
    """Return the sprite out of focus, with a margin for its blurred edge."""
    if sigma < 0.5:
        return sprite
    margin = int(sigma * 2.5) + 1
    image = cv2.copyMakeBorder(sprite.image, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    alpha = cv2.copyMakeBorder(sprite.alpha, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0)
    weight = alpha.astype(np.float32)[..., None] / 255  # colours from outside the outline must not bleed in
    spread = np.asarray(blur(image * weight, sigma)) / np.maximum(
        np.asarray(blur(weight[..., 0], sigma))[..., None], 0.02
    )
    return Sprite(to_image(spread), np.asarray(blur(alpha, sigma), np.uint8), sprite.hangs)
