"""How much of their range images with 16 bits per channel use, and what reading makes of a stated range."""

import cv2
import numpy as np
import pytest

from aerostat.errors import InputError
from aerostat.images.depth import value_range
from aerostat.images.read import decode_image

from .tiffs import tiff


def ramp(highest: int, lowest: int = 0) -> np.ndarray:
    """Return 60 x 80 values that rise evenly."""
    return np.linspace(lowest, highest, 60 * 80).reshape(60, 80).astype(np.uint16)


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 15, 16])
@pytest.mark.parametrize("suffix", [".png", ".tiff", ".jp2"])
def test_the_bits_in_use_are_found(suffix, bits):
    content = cv2.imencode(suffix, ramp(2**bits - 1))[1].tobytes()
    found = value_range(content)
    assert found is not None and found.bits == bits and found.low <= 2 ** (bits - 9)


def test_colours_count_and_alpha_does_not():
    pixels = np.dstack([ramp(4095), ramp(1000), ramp(1000), np.full((60, 80), 65535, np.uint16)])
    found = value_range(cv2.imencode(".png", pixels)[1].tobytes())
    assert found is not None and found.bits == 12


def test_a_few_hot_and_dead_pixels_do_not_count():
    pixels = ramp(4095, 300)
    pixels[0, 0], pixels[1, 1] = 65535, 0
    found = value_range(cv2.imencode(".png", pixels)[1].tobytes())
    assert found is not None and found.bits == 12 and found.low >= 300


def test_negative_values_are_seen():
    found = value_range(tiff(ramp(2000).astype(np.int16) - 1024))
    assert found is not None and found.low < -1000


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".jpg", ".bmp"])
def test_eight_bits_have_no_range(suffix):
    assert value_range(cv2.imencode(suffix, ramp(255).astype(np.uint8))[1].tobytes()) is None


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG", b"II*\0", b"no image", b"\x89PNG" + bytes(20) + b"\x10"]
)
def test_what_cannot_be_read_has_no_range(content):
    assert value_range(content) is None


@pytest.mark.parametrize("highest", [100, 255, 1023, 4095, 16383, 65535])
@pytest.mark.parametrize("kind", [b"P5", b"P6"])
def test_a_range_that_the_file_states_becomes_the_whole_range(kind, highest):
    dtype = ">u2" if highest > 255 else "u1"
    values = ramp(highest).astype(dtype)
    values = values if kind == b"P5" else np.dstack([values] * 3).astype(dtype)
    content = kind + b"\n80 60\n%d\n" % highest + values.tobytes()
    image = decode_image(content, "a.pgm")
    expected = values.reshape(60, 80, -1)[..., 0].astype(float) / highest * 255
    assert image.shape == (60, 80, 3)
    assert np.abs(image[..., 0] - expected).max() <= 2
    with pytest.raises(InputError, match="broken or cut-off"):
        decode_image(content[:-1], "a.pgm")
