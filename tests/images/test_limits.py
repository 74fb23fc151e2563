"""Photographs of any camera are read however small their files are; larger ones in proportion to theirs."""

import io
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from aerostat.errors import InputError
from aerostat.images import limits
from aerostat.images.limits import CAMERA_MEMORY, CAMERA_PIXELS, memory_of_decoding, scans_allowed
from aerostat.images.read import decode_image, read_image, read_resized, read_size

CAMERAS = {
    "41 megapixels of a stock site": (7840, 5227),
    "61 megapixels, Sony A7R": (9504, 6336),
    "102 megapixels, Fujifilm GFX": (11648, 8736),
    "151 megapixels, Phase One IQ4": (14204, 10652),
    "200 megapixels, a telephone": (16320, 12240),
}


def stated(format_: str, size: tuple[int, int], **options: object) -> bytes:
    """Return a small file whose header states a size."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 48)).save(stream, format_, **options)
    content = stream.getvalue()
    width, height = size
    if format_ == "PNG":
        header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
        return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
    words = {"JPEG": (">HH", (48, 64), (height, width)), "BMP": ("<ii", (64, 48), size)}
    code, old, new = words.get(format_, ("<HH", (64, 48), size))
    return content.replace(struct.pack(code, *old), struct.pack(code, *new), 1)


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize(
    ("format_", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("BMP", {}), ("GIF", {})],
)
def test_the_size_of_every_camera_is_accepted_in_a_small_file(tmp_path, camera, format_, options):
    path = tmp_path / "a"
    path.write_bytes(stated(format_, CAMERAS[camera], **options))
    assert read_size(path) == CAMERAS[camera]


@pytest.mark.parametrize(
    ("format_", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("BMP", {}), ("GIF", {})],
)
def test_more_than_cameras_have_needs_a_file_of_its_size(tmp_path, format_, options):
    path = tmp_path / "a"
    path.write_bytes(stated(format_, (20_000, 16_000), **options))
    for read in (read_size, read_image):
        with pytest.raises(InputError, match=r"claims 20000 x 16000 pixels.*AEROSTAT_MOST_PIXELS=320000000"):
            read(path)
    with path.open("ab") as file:
        file.truncate(60 << 20)
    assert read_size(path) == (20_000, 16_000)


def test_formats_that_take_more_memory_have_fewer_pixels(tmp_path):
    for size, is_read in (((11_000, 9_900), True), ((16_320, 12_240), False)):
        stream = io.BytesIO()
        Image.new("1", size).save(stream, "TIFF", compression="group4")
        path = tmp_path / "a.tif"
        path.write_bytes(stream.getvalue())
        if is_read:
            assert read_size(path) == size
            continue
        with pytest.raises(InputError, match="claims 16320 x 12240"):
            read_size(path)


def test_a_progressive_photograph_of_a_stock_site_is_read(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (6960, 4640), (90, 120, 30)).save(path, progressive=True, quality=60)
    assert path.stat().st_size < 600_000
    assert read_size(path) == (6960, 4640)
    image = read_image(path)
    assert image.shape == (4640, 6960, 3) and np.abs(image[0, 0].astype(int) - (30, 120, 90)).max() <= 3
    assert read_resized(path, (696, 464)).shape == (464, 696, 3)


def test_larger_images_may_have_fewer_scans():
    assert (
        scans_allowed(None) == scans_allowed((4000, 3000)) == scans_allowed((7840, 5227)) == limits.MAX_SCANS
    )
    assert 15 <= scans_allowed((16_320, 12_240)) < limits.MAX_SCANS
    assert scans_allowed((65_535, 65_535)) == 1


def test_the_limit_of_memory_is_that_of_the_largest_photograph():
    assert CAMERA_PIXELS >= 16_320 * 12_240
    assert CAMERA_MEMORY == 9 * CAMERA_PIXELS < 2e9


def test_large_images_of_small_files_are_decoded_side_by_side_only_within_the_limit():
    inside, most, lock = 0, 0, threading.Lock()
    meet = threading.Event()

    def decode() -> None:
        nonlocal inside, most
        with memory_of_decoding(CAMERA_MEMORY // 2, 1000):
            with lock:
                inside += 1
                most = max(most, inside)
                if inside == 2:
                    meet.set()
            meet.wait(5)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=decode) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert most == 2


def test_an_image_in_proportion_to_its_file_waits_for_nothing():
    all_of_it = memory_of_decoding(10 * CAMERA_MEMORY, 1000)
    with all_of_it, memory_of_decoding(100 << 20, 1000), memory_of_decoding(CAMERA_MEMORY, 1 << 30):
        pass
    with pytest.raises(ValueError), memory_of_decoding(CAMERA_MEMORY, 0):
        raise ValueError
    with memory_of_decoding(CAMERA_MEMORY, 0):
        pass


def test_a_png_chunk_that_states_more_bytes_than_the_file_has_is_refused() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), (90, 120, 30)).save(stream, "PNG")
    content = bytearray(stream.getvalue())
    decode_image(bytes(content), "a.png")
    place = content.index(b"IDAT") - 4
    content[place : place + 4] = (2**29).to_bytes(4, "big")
    with pytest.raises(InputError, match=r"a PNG file with a chunk beyond its end: a\.png"):
        decode_image(bytes(content), "a.png")
