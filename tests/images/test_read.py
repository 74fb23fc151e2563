"""What the one reader makes of every kind of file, compared with Pillow's decoding or with known colours."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, features

from aerostat.errors import InputError
from aerostat.images.read import (
    IMAGE_SUFFIXES,
    decode_image,
    list_images,
    read_image,
    read_resized,
    read_size,
)

# Quarters, 60 wide and 40 high, as (R, G, B): red and blue above, green and yellow below.
RED, BLUE, GREEN, YELLOW = (200, 30, 10), (20, 40, 230), (10, 220, 30), (240, 240, 30)
QUARTERS = np.zeros((40, 60, 3), np.uint8)
QUARTERS[:20, :30], QUARTERS[:20, 30:], QUARTERS[20:, :30], QUARTERS[20:, 30:] = RED, BLUE, GREEN, YELLOW


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def smooth_photograph(width: int = 640, height: int = 480) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    return Image.fromarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC))


def test_channels_come_as_bgr(tmp_path):
    image = read_image(write(tmp_path / "a.png", encode(Image.fromarray(QUARTERS), "PNG")))
    assert image.shape == (40, 60, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert tuple(image[5, 5]) == RED[::-1]
    assert tuple(image[35, 55]) == YELLOW[::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_exif_orientation_is_applied(tmp_path, format, orientation):
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(format, {})
    content = encode(Image.fromarray(QUARTERS), format, exif=exif, **options)
    path = write(tmp_path / f"a.{format.lower()}", content)
    image = read_image(path)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))[..., ::-1]
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).max() <= 6
    assert read_size(path) == (image.shape[1], image.shape[0])


def test_orientation_6_puts_the_bottom_left_at_the_top_left(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate 90 degrees clockwise to see it upright
    image = read_image(write(tmp_path / "a.png", encode(Image.fromarray(QUARTERS), "PNG", exif=exif)))
    corners = [tuple(image[y, x][::-1].tolist()) for y, x in ((5, 5), (5, 35), (55, 5), (55, 35))]
    assert image.shape == (60, 40, 3)
    assert corners == [GREEN, RED, YELLOW, BLUE]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense", b"\0" * 40])
def test_broken_exif_leaves_the_image_as_stored(tmp_path, exif):
    path = write(tmp_path / "a.jpg", encode(Image.fromarray(QUARTERS), "JPEG", exif=exif))
    assert read_image(path).shape == (40, 60, 3)
    assert read_size(path) == (60, 40)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_orientations_that_do_not_exist_are_ignored(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write(tmp_path / "a.jpg", encode(Image.fromarray(QUARTERS), "JPEG", exif=exif))
    assert read_image(path).shape == (40, 60, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_grey_becomes_three_equal_channels(format):
    grey = Image.fromarray(np.arange(0, 240, dtype=np.uint8).reshape(12, 20))
    image = decode_image(encode(grey, format), "grey")
    assert image.shape == (12, 20, 3)
    assert (image == image[..., :1]).all()
    assert np.abs(image[..., 0].astype(int) - np.asarray(grey)).max() <= 4


def test_one_bit_and_palette_images_become_their_colours():
    bits = np.zeros((8, 8), bool)
    bits[:, 4:] = True
    assert (
        decode_image(encode(Image.fromarray(bits), "PNG"), "bits")[0].tolist()
        == [[0] * 3] * 4 + [[255] * 3] * 4
    )
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, *BLUE] + [0] * 762)
    for format in ("PNG", "GIF"):
        assert tuple(decode_image(encode(palette, format), "palette")[0, 0]) == BLUE[::-1]


@pytest.mark.parametrize("alpha", [0, 128, 255])
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_dropped_and_colours_stay_as_stored(format, alpha):
    rgba = np.dstack([QUARTERS, np.full(QUARTERS.shape[:2], alpha, np.uint8)])
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    image = decode_image(encode(Image.fromarray(rgba), format, **options), "rgba")
    assert (image == QUARTERS[..., ::-1]).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_keep_their_high_byte(suffix, channels):
    values = (np.arange(40 * 60).reshape(40, 60) * 27).astype(np.uint16)
    stored = values if channels == 1 else np.dstack([values] * 3)
    image = decode_image(cv2.imencode(suffix, stored)[1].tobytes(), "deep")
    assert image.dtype == np.uint8
    assert np.abs(image[..., 0].astype(int) - (values >> 8)).max() <= 1


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_is_converted(format):
    cmyk = Image.fromarray(QUARTERS).convert("CMYK")
    image = decode_image(encode(cmyk, format), "cmyk")
    assert np.abs(image[5, 5].astype(int) - RED[::-1]).max() <= 6
    assert np.abs(image[35, 5].astype(int) - GREEN[::-1]).max() <= 6


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_an_animation_gives_its_first_frame(tmp_path, format):
    first, second = Image.new("RGB", (30, 20), RED), Image.new("RGB", (30, 20), BLUE)
    options = {"lossless": True} if format == "WEBP" else {}
    content = encode(first, format, save_all=True, append_images=[second], duration=100, **options)
    path = write(tmp_path / "moving", content)
    assert getattr(Image.open(path), "n_frames", 1) >= 2
    assert np.abs(read_image(path).astype(int) - RED[::-1]).max() <= 1
    assert read_size(path) == (30, 20)


@pytest.mark.parametrize("name", ["气球.jpg", "صورة.jpg", "🎈 party.jpg", "with spaces.jpg", "naïve.JPG"])
def test_file_names_in_any_script_are_read(tmp_path, name):
    path = write(tmp_path / name, encode(Image.fromarray(QUARTERS), "JPEG"))
    assert read_image(path).shape == (40, 60, 3)
    assert read_size(str(path)) == (60, 40)
    assert list_images(tmp_path) == [path]


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (8000, 3), (8000, 3600)])
def test_sizes_from_one_pixel_to_8000_agree_with_the_header(tmp_path, size):
    path = write(tmp_path / "a.png", encode(Image.new("RGB", size, RED), "PNG", compress_level=1))
    height, width = read_image(path).shape[:2]
    assert (width, height) == size == read_size(path)


def test_the_size_of_a_huge_photograph_is_read_without_its_pixels(tmp_path, recwarn):
    # Pillow's guard refuses to open more than 179 million pixels; here only the header exists.
    header = b"\0\0\x4e\x20\0\0\x27\x10\x08\x02\0\0\0"  # 20000 x 10000, 8 bit RGB
    chunk = b"IHDR" + header
    content = (
        b"\x89PNG\r\n\x1a\n" + len(header).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    )
    content += b"\0\0\0\x01IDAT\0" + zlib.crc32(b"IDAT\0").to_bytes(4, "big")
    path = write(tmp_path / "aerial.png", content)
    os.truncate(path, 30 << 20)  # as large as such files are: a smaller one would be taken for a bomb
    assert read_size(path) == (20000, 10000)
    assert not recwarn.list
    with pytest.raises(InputError, match=r"aerial\.png"):
        read_image(path)


@pytest.mark.parametrize("reader", [read_image, read_size])
def test_what_is_no_image_is_refused_by_name(tmp_path, reader):
    missing, folder = tmp_path / "missing.jpg", tmp_path / "folder.jpg"
    folder.mkdir()
    empty = write(tmp_path / "empty.jpg", b"")
    text = write(tmp_path / "text.jpg", b"this is a text file, not a photograph\n" * 9)
    page = write(tmp_path / "page.png", b"<!doctype html><html><body>404</body></html>")
    noise = write(tmp_path / "noise.jpg", bytes(range(128, 256)) * 9)
    expected = {
        missing: "nothing",
        folder: "a folder",
        empty: "empty",
        text: "a text",
        page: "a web page",
        noise: "no readable",
    }
    for path, found in expected.items():
        with pytest.raises(InputError, match=found) as raised:
            reader(path)
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("keep", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_file_that_was_cut_off_is_refused_by_name(tmp_path, format, keep):
    content = encode(smooth_photograph(), format)
    path = write(tmp_path / "cut.img", content[: int(len(content) * keep)])
    with pytest.raises(InputError, match=r"cut\.img"):
        read_image(path)


@pytest.mark.parametrize("missing", [1, 2, 10])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_last_bytes_is_refused(progressive, missing):
    content = encode(smooth_photograph(), "JPEG", progressive=progressive)
    with pytest.raises(InputError, match="end is missing"):
        decode_image(content[:-missing], "photo.jpg")


def test_a_preview_with_an_end_of_its_own_does_not_hide_a_missing_end():
    preview = encode(Image.fromarray(QUARTERS), "JPEG")
    content = encode(smooth_photograph(), "JPEG", exif=b"Exif\0\0" + preview)
    assert decode_image(content, "photo.jpg").shape == (480, 640, 3)
    with pytest.raises(InputError, match="end is missing"):
        decode_image(content[: len(content) // 2], "photo.jpg")


def test_a_film_behind_the_end_of_a_jpeg_does_no_harm():
    content = encode(smooth_photograph(), "JPEG")
    film = b"ftypmp42" + b"\xff\xd9\xff\xda\0\x08" + bytes(range(256))  # bytes that look like another scan
    assert (decode_image(content + film, "motion.jpg") == decode_image(content, "motion.jpg")).all()


# Reading at another size


def white_from(width: int, height: int, x: int, y: int) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[y:, x:] = 255
    return image


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    "size", [(1001, 701), (501, 351), (500, 350), (333, 233), (250, 175), (125, 87), (40, 28)]
)
def test_edges_keep_their_places_at_any_size_and_orientation(tmp_path, orientation, format, size):
    # 1001 x 701 is no multiple of 2, 4 or 8: blocks at the right and below reach beyond the image.
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(white_from(1001, 701, 600, 400))
    options = {"quality": 95} if format == "JPEG" else {"compress_level": 1}
    path = write(tmp_path / "edges", encode(stored, format, exif=exif, **options))
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("L"), float) / 255
    turned = size[::-1] if orientation >= 5 else size
    found = read_resized(path, turned)[..., 1].astype(float) / 255
    assert found.shape == turned[::-1]
    for axis in (0, 1):  # how much is white along the whitest row and column, in pixels of the result
        expected = upright.mean(axis).max() * found.shape[axis]
        assert found.mean(axis).max() * found.shape[axis] == pytest.approx(expected, abs=0.25)
    # ... and on which side: the centre of mass, as a share of the image
    for axis in (0, 1):
        centre, wanted = (
            (plane.mean(1 - axis) * (np.arange(plane.shape[axis]) + 0.5)).sum() / plane.mean(1 - axis).sum()
            for plane in (found, upright)
        )
        assert centre / found.shape[axis] == pytest.approx(wanted / upright.shape[axis], abs=0.002)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(640, 480), (320, 240), (200, 150), (77, 61), (20, 15), (1, 1), (700, 500)])
def test_a_photograph_at_a_smaller_size_is_the_mean_of_what_it_covers(tmp_path, mode, size):
    path = write(tmp_path / "a.jpg", encode(smooth_photograph().convert(mode), "JPEG", quality=95))
    full = np.asarray(Image.open(path).convert("RGB"))[..., ::-1]
    shrinks = size[0] <= 640
    expected = cv2.resize(full, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    difference = np.abs(read_resized(path, size).astype(int) - expected)
    assert difference.mean() < 2
    assert difference.max() <= 25


@pytest.mark.parametrize(
    ("size", "factor"),
    [
        ((640, 480), 1),
        ((321, 240), 1),
        ((320, 240), 2),
        ((200, 100), 2),
        ((160, 120), 4),
        ((80, 60), 8),
        ((9, 9), 8),
    ],
)
def test_a_jpeg_is_decoded_no_larger_than_needed_and_other_files_whole(tmp_path, monkeypatch, size, factor):
    decoded: list[tuple[int, ...]] = []
    decode = cv2.imdecode

    def watch(*arguments):
        image = decode(*arguments)
        decoded.append(image.shape[:2])
        return image

    monkeypatch.setattr(cv2, "imdecode", watch)
    for format, expected in (("JPEG", factor), ("PNG", 1)):
        decoded.clear()
        assert (
            read_resized(write(tmp_path / "a", encode(smooth_photograph(), format)), size).shape[1::-1]
            == size
        )
        assert decoded == [(480 // expected, 640 // expected)]


def test_at_its_own_size_a_file_is_read_as_it_is(tmp_path):
    for format in ("JPEG", "PNG"):
        path = write(tmp_path / "a", encode(smooth_photograph(), format))
        assert (read_resized(path, (640, 480)) == read_image(path)).all()


def test_what_cannot_be_read_is_refused_at_any_size_in_the_same_words(tmp_path):
    content = encode(smooth_photograph(), "JPEG")
    for name, broken in [
        ("cut.jpg", content[: len(content) // 2]),
        ("empty.jpg", b""),
        ("no.jpg", b"no image"),
    ]:
        path = write(tmp_path / name, broken)
        with pytest.raises(InputError) as whole:
            read_image(path)
        for size in ((640, 480), (80, 60)):
            with pytest.raises(InputError) as smaller:
                read_resized(path, size)
            assert str(smaller.value) == str(whole.value)
    with pytest.raises(InputError, match="found nothing"):
        read_resized(tmp_path / "missing.jpg", (10, 10))


def test_floating_point_images_are_refused():
    content = cv2.imencode(".tiff", np.full((4, 4), 0.5, np.float32))[1].tobytes()
    with pytest.raises(InputError, match=r"found 32-bit floating point pixels.*: depth\.tiff"):
        decode_image(content, "depth.tiff")


def test_formats_that_opencv_does_not_know_are_decoded_all_the_same(monkeypatch):
    content = encode(Image.fromarray(QUARTERS), "GIF")
    expected = decode_image(content, "a.gif")
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)  # as a build without the codec answers
    assert (decode_image(content, "a.gif") == expected).all()


def test_broken_files_leave_opencv_silent(tmp_path):
    content = encode(smooth_photograph(), "TIFF")
    path = write(tmp_path / "cut.tif", content[: len(content) // 2])
    code = (
        "import sys; from aerostat.images.read import read_image\n"
        "try: read_image(sys.argv[1])\nexcept Exception as error: print(type(error).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "InputError"
    assert "opencv" not in done.stderr.lower()


def test_listing_takes_images_by_suffix_sorted_and_without_hidden_files(tmp_path):
    names = ["b.PNG", "a.jpg", "notes.txt", ".hidden.jpg", "c.webp", "sub/d.tif", "sub/._d.tif"]
    (tmp_path / "sub").mkdir()
    (tmp_path / "folder.jpg").mkdir()
    for name in names:
        (tmp_path / name).touch()
    assert [p.name for p in list_images(tmp_path)] == ["a.jpg", "b.PNG", "c.webp"]
    found = list_images(str(tmp_path), recursive=True)
    assert [p.relative_to(tmp_path).as_posix() for p in found] == ["a.jpg", "b.PNG", "c.webp", "sub/d.tif"]
    assert list_images(tmp_path / "folder.jpg") == []
    assert ".jpg" in IMAGE_SUFFIXES
    for wrong in (tmp_path / "nowhere", tmp_path / "a.jpg"):
        with pytest.raises(InputError, match="folder of images"):
            list_images(wrong)


def test_balloon_photographs_have_the_sizes_of_their_headers():
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "balloon" / "val"
    if not folder.is_dir():
        pytest.skip("the balloon photographs are not here")
    photographs = list_images(folder)
    assert len(photographs) == 13
    for path in photographs:
        height, width = read_image(path).shape[:2]
        assert read_size(path) == (width, height)
