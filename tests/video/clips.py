"""Small clips for tests: each frame has a grey value that tells its number."""

import struct
from pathlib import Path

import cv2
import numpy as np

from aerostat.video.capture import be_quiet
from aerostat.video.writer import opencv_muffled

be_quiet()  # before OpenCV loads FFmpeg

SIZE = (64, 48)
STEP = 10
"""Grey values between one frame and the next."""


def write_clip(
    path: Path, frames: int = 12, rate: float = 10.0, code: str = "MJPG", size: tuple[int, int] = SIZE
) -> Path:
    """Write a clip whose frame n is grey of the value n * STEP, with a white left half of the first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with opencv_muffled():
        video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), rate, size)
    assert video.isOpened()
    for number in range(frames):
        image = np.full((size[1], size[0], 3), number * STEP, np.uint8)
        image[: size[1] // 4, : size[0] // 2] = 255
        video.write(image)
    video.release()
    return path


def number_of(image_bgr: np.ndarray) -> int:
    """Return the number of the frame that a picture shows, by its lower right corner."""
    return round(float(image_bgr[-8:, -8:].mean()) / STEP)


def turned(path: Path) -> None:
    """Mark the MP4 as turned by 90 degrees, as a telephone does (ISO/IEC 14496-12, 8.3.2: the matrix)."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4
    assert content[at] == 0
    one = 1 << 16
    struct.pack_into(">9i", content, at + 40, 0, one, 0, -one, 0, 0, SIZE[1] * one, 0, 1 << 30)
    path.write_bytes(content)
