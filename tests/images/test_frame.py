"""Frames from paths, arrays and PIL images."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from aerostat.errors import InputError
from aerostat.images.frame import Frame, as_frame
from aerostat.images.read import read_image

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def test_a_frame_in_memory_gives_its_own_pixels():
    frame = Frame(COLOURS, "colours", 3, time_s=0.5)
    assert frame.read() is COLOURS
    assert (frame.location, frame.index, frame.time_s, frame.path) == ("colours", 3, 0.5, None)


def test_a_frame_of_a_file_reads_it_when_it_is_needed(tmp_path: Path):
    frame = as_frame(str(tmp_path / "a.png"), 4)
    assert (frame.name, frame.index, frame.location) == ("a.png", 4, str(tmp_path / "a.png"))
    with pytest.raises(InputError, match=r"a\.png"):
        frame.read()
    cv2.imwrite(str(tmp_path / "a.png"), COLOURS)
    np.testing.assert_array_equal(frame.read(), COLOURS)


def test_a_frame_has_pixels_or_a_file():
    with pytest.raises(InputError, match="`image_bgr` or `path`"):
        Frame(None, "nothing")


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_an_array_that_is_no_image_is_refused(image):
    with pytest.raises(InputError, match=r"\(H, W, 3\) of uint8, found"):
        as_frame(image)


@pytest.mark.parametrize("image", [None, 3, b"bytes", [COLOURS]])
def test_what_is_no_image_at_all_is_refused_with_its_type(image):
    with pytest.raises(InputError, match=f"found {type(image).__name__}"):
        as_frame(image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pil_image_is_upright_and_bgr_as_its_file_is(tmp_path: Path, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(COLOURS[:, :, ::-1]).save(path, exif=exif)
    with Image.open(path) as image:
        np.testing.assert_array_equal(as_frame(image).read(), read_image(path))
        np.testing.assert_array_equal(as_frame(ImageOps.exif_transpose(image)).read(), read_image(path))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "P", "PA", "I;16"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_pil_image_of_any_mode_is_what_its_file_is(tmp_path: Path, mode: str, suffix: str):
    if (mode, suffix) in {("PA", ".png"), ("PA", ".tif")}:
        image = Image.fromarray(COLOURS).convert("P").convert("PA")
        grey = np.asarray(image.convert("RGB"))[:, :, ::-1]
        np.testing.assert_array_equal(as_frame(image).read(), grey)
        return
    if mode == "I;16":
        image = Image.fromarray(COLOURS[:, :, 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(COLOURS).convert(mode)
    path = tmp_path / f"a{suffix}"
    image.save(path)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(as_frame(opened).read(), read_image(path))


def test_a_pil_image_that_cannot_be_an_image_of_bytes_is_refused():
    with pytest.raises(InputError, match="found the mode F"):
        as_frame(Image.fromarray(np.zeros((4, 4), np.float32)))


def test_a_pil_image_whose_file_is_cut_off_is_refused(tmp_path: Path):
    path = tmp_path / "a.png"
    noise = np.random.default_rng(1).integers(0, 256, (99, 99, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:9000])
    with Image.open(path) as image, pytest.raises(InputError, match="can be decoded"):
        as_frame(image)
