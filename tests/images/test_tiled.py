"""Tiled TIFF files, read region by region, give the pixels of the whole."""

import cv2
import numpy as np
import pytest

from aerostat.errors import InputError
from aerostat.images.tiled import TiledImage, open_tiled

tifffile = pytest.importorskip("tifffile", reason="the package tifffile is not installed")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    return cv2.resize(noise, (500, 350), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_any_region_equals_that_of_the_whole(image, tmp_path, compression, order, bits, bigtiff):
    path = tmp_path / "a.tif"
    pixels = image if bits == 8 else image.astype(np.uint16) * 257
    tifffile.imwrite(
        path,
        pixels,
        tile=(64, 128),
        compression=compression,
        predictor=compression is not None,
        photometric="rgb",
        byteorder=order,
        bigtiff=bigtiff,
    )
    whole = image[..., ::-1]
    with open_tiled(path) as tiled:
        assert tiled.size == (500, 350)
        for x1, y1, x2, y2 in [
            (0, 0, 500, 350),
            (13, 27, 300, 200),
            (499, 349, 500, 350),
            (128, 64, 256, 128),
        ]:
            assert (tiled.read((x1, y1, x2, y2)) == whole[y1:y2, x1:x2]).all()


def test_grey_pixels_become_three_channels(image, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", image[..., 0], tile=(64, 64))
    with open_tiled(tmp_path / "a.tif") as tiled:
        assert (tiled.read((0, 0, 500, 350)) == image[..., :1]).all()


def test_a_pyramid_gives_the_overview_from_a_small_level(image, tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(image, subifds=1, tile=(64, 64), photometric="rgb")
        file.write(np.full_like(image[::2, ::2], 7), subfiletype=1, tile=(64, 64), photometric="rgb")
    with open_tiled(path) as tiled:
        assert tiled.size == (500, 350)
        assert (tiled.reduced((64, 64)) == 7).all()
        assert tiled.reduced((400, 400)).shape == (350, 500, 3)  # the small level would not do


def test_without_a_pyramid_the_overview_is_averaged_block_by_block(image, tmp_path, monkeypatch):
    monkeypatch.setattr("aerostat.images.tiled.BLOCK", 100)
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(64, 64), photometric="rgb")
    with open_tiled(tmp_path / "a.tif") as tiled:
        small = tiled.reduced((64, 64))
    bgr = image[..., ::-1]
    expected = cv2.resize(bgr, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA)
    assert min(small.shape[:2]) >= 64
    assert np.abs(small.astype(int) - expected).mean() < 3


def test_other_files_are_not_read_by_regions(image, tmp_path):
    tifffile.imwrite(tmp_path / "strips.tif", image)
    (tmp_path / "text.tif").write_text("no image")
    cv2.imwrite(str(tmp_path / "a.png"), image)
    for name in ("strips.tif", "text.tif", "a.png"):
        with open_tiled(tmp_path / name) as tiled:
            assert tiled is None


def test_a_file_that_is_cut_off_is_refused(image, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb")
    with open_tiled(path) as tiled:
        assert isinstance(tiled, TiledImage)
        path.write_bytes(path.read_bytes()[:9000])
        with pytest.raises(InputError, match="cut off"):
            tiled.read((0, 0, 500, 350))
