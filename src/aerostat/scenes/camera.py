"""What a camera makes of a drawn scene: glare, colours, vignette, blur, grain and JPEG."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.scenes.brushes import Image, Random, chance, darken, uniform


def develop(rng: Random, canvas: Image) -> Image:
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
