"""Parts of indoor backdrops: wall papers, furniture, floors, bricks and planks."""

from __future__ import annotations

import cv2
import numpy as np

from aerostat.scenes.brushes import (
    Floats,
    Image,
    Random,
    chance,
    gradient,
    hsv,
    smooth_noise,
    to_image,
    uniform,
)


def wall_paper(rng: Random, w: int, h: int) -> Floats:
    """Draw a wall (h, w, 3): plain, striped, panelled or behind a curtain."""
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


def add_furniture(rng: Random, image: Image, floor: float) -> None:
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


def add_clutter(rng: Random, image: Image, count: int) -> None:
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


def add_floor(rng: Random, image: Image, floor: float, horizon: float) -> None:
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


def add_bricks(rng: Random, image: Image) -> None:
    """Draw courses of bricks with joints, in place."""
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


def add_planks(rng: Random, image: Image, vertical: bool) -> None:
    """Draw wooden or painted boards side by side, in place."""
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
