"""Which pixels a TIFF file has: types that are not read are named, and raw files are no images."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from aerostat.errors import InputError
from aerostat.images.kinds import UnsupportedImageError
from aerostat.images.read import decode_image, read_image, read_size
from aerostat.images.tiff import read_directory

from .tiffs import tiff

GREY = np.arange(40 * 60).reshape(40, 60)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        (GREY.astype("f2"), "16-bit floating point pixels"),
        (GREY.astype("f4"), "32-bit floating point pixels"),
        (GREY.astype("f8"), "64-bit floating point pixels"),
        (GREY.astype("c8"), "64-bit complex pixels"),
        (GREY.astype("u4"), "32-bit integer pixels"),
        (GREY.astype("i4"), "32-bit signed integer pixels"),
        (GREY.astype("u8"), "64-bit integer pixels"),
        (np.dstack([GREY] * 3).astype("f4"), "32-bit floating point pixels"),
        (np.dstack([GREY] * 3).astype("u4"), "32-bit integer pixels"),
        (np.dstack([GREY] * 3).astype("i2"), "16-bit signed integer pixels"),
        (np.dstack([GREY] * 5).astype("u1"), "TIFF pixels of 5 channels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_pixels_that_are_not_read_are_named_and_the_file_is_called_whole(tmp_path, values, order, words):
    path = tmp_path / "depth.tif"
    path.write_bytes(tiff(values, order=order))
    for read in (read_size, read_image):
        with pytest.raises(UnsupportedImageError) as raised:
            read(path)
        sentence = str(raised.value)
        assert f"found {words}, which are not supported: {path}; save it as 8 or 16 bits" in sentence
        assert "the file is whole" in sentence and "broken" not in sentence and "\n" not in sentence


@pytest.mark.parametrize("values", [GREY.astype("u1"), (GREY * 27).astype("u2"), (GREY * 13).astype("i2")])
def test_eight_and_sixteen_bits_are_read(tmp_path, values):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(values))
    assert read_size(path) == (60, 40)
    assert read_image(path).shape == (40, 60, 3)


def test_a_pfm_has_floating_point_pixels():
    content = b"Pf\n60 40\n-1.0\n" + GREY.astype("<f4").tobytes()
    with pytest.raises(UnsupportedImageError, match="32-bit floating point pixels"):
        decode_image(content, "a.pfm")


def test_a_compression_that_the_decoders_lack_is_named():
    with pytest.raises(UnsupportedImageError, match="TIFF pixels compressed as LERC"):
        decode_image(tiff(GREY.astype("u1"), {259: 34887}), "a.tif")


@pytest.mark.parametrize(
    "tags",
    [{50706: 0x0401}, {254: 1, 330: 8}, {262: 32803}, {262: 34892}],
    ids=["DNG", "NEF, ARW and PEF begin with a thumbnail", "sensor", "linear raw"],
)
def test_a_raw_file_is_named_and_its_thumbnail_is_not_read(tmp_path, tags):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(np.dstack([GREY] * 3).astype("u1"), tags))
    for read in (read_size, read_image):
        with pytest.raises(UnsupportedImageError, match="a camera's raw file, which is not supported"):
            read(path)


def test_canon_marks_its_raw_files_behind_the_header():
    content = bytearray(tiff(GREY.astype("u1")))
    moved = content[:8] + b"CR\x02\0" + bytes(4) + content[8:]
    moved[4:8] = struct.pack("<I", 16)
    with pytest.raises(UnsupportedImageError, match="a camera's raw file"):
        decode_image(bytes(moved), "a.cr2")


def test_a_pyramid_with_smaller_copies_is_an_image(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(GREY.astype("u1"), {254: 0, 330: 8}))
    assert read_image(path).shape == (40, 60, 3)


def test_the_directory_of_a_bigtiff_is_found():
    entries = {256: 60, 257: 40, 258: 32, 259: 1, 262: 1, 339: 3}
    table = b"".join(struct.pack("<HHQQ", tag, 3, 1, value) for tag, value in sorted(entries.items()))
    content = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, len(entries)) + table
    directory = read_directory(io.BytesIO(content))
    assert directory is not None and directory.unsupported_pixels == "32-bit floating point pixels"


@pytest.mark.parametrize("length", [0, 3, 8, 20, 100])
def test_a_cut_directory_is_none_or_short_and_no_error(length):
    read_directory(io.BytesIO(tiff(GREY.astype("f4"))[:length]))
    with pytest.raises(InputError):
        decode_image(tiff(GREY.astype("u1"))[:length], "a.tif")


def test_a_directory_that_claims_four_billion_entries_costs_nothing():
    content = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 2**62) + bytes(200)
    assert read_directory(io.BytesIO(content)) is not None
    far = b"II*\0" + struct.pack("<I", 2**32 - 1) + bytes(100)
    assert read_directory(io.BytesIO(far)) is None


def test_other_images_have_no_directory():
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "PNG")
    assert read_directory(stream) is None
