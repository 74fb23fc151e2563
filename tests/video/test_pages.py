"""Pages of TIFF files, and animations."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aerostat.errors import InputError
from aerostat.video.pages import Animation, Pages, open_pages
from aerostat.video.times import Selection

from .clips import STEP, number_of


def pictures(count: int = 5, size: tuple[int, int] = (64, 48)) -> list[Image.Image]:
    return [Image.fromarray(np.full((size[1], size[0], 3), n * STEP, np.uint8)) for n in range(count)]


def saved(path: Path, images: list[Image.Image], **options: object) -> Path:
    images[0].save(path, save_all=True, append_images=images[1:], **options)
    return path


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_animations_have_the_times_that_they_state(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, pictures(), duration=[100, 200, 300, 100, 100])
    source = open_pages(path, "door", Selection())
    assert isinstance(source, Animation)
    frames = list(source)
    assert [number_of(frame.read()) for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.time_s for frame in frames] == [0, 0.1, 0.3, 0.6, 0.7]
    assert source.clip.rate == pytest.approx(5 / 0.8) and source.clip.frames == 5
    chosen = open_pages(path, "door", Selection(start_s=0.3, end_s=0.7))
    assert chosen is not None and [frame.index for frame in chosen] == [2, 3]


def test_a_picture_without_a_duration_lasts_as_in_browsers(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.gif", pictures(3), duration=0)
    source = open_pages(path, "a", Selection())
    assert source is not None and [frame.time_s for frame in source] == [0, 0.1, 0.2]


@pytest.mark.parametrize("options", [{}, {"big_tiff": True}, {"compression": "tiff_lzw"}])
def test_pages_of_a_tiff_have_numbers_and_no_times(tmp_path: Path, options: dict[str, object]) -> None:
    path = saved(tmp_path / "a.tif", pictures(), **options)
    source = open_pages(path, "scan", Selection(every=2))
    assert isinstance(source, Pages)
    frames = list(source)
    assert [(frame.index, number_of(frame.read()), frame.time_s) for frame in frames] == [
        (0, 0, None),
        (2, 2, None),
        (4, 4, None),
    ]
    assert source.clip.rate is None and frames[0].name == "scan-000000"
    with pytest.raises(InputError, match="pages have none"):
        open_pages(path, "scan", Selection(start_s=1))


def test_pages_may_differ_in_size_and_a_pyramid_has_one(tmp_path: Path) -> None:
    mixed = [pictures(1, size)[0] for size in ((64, 48), (48, 64), (60, 50))]
    source = open_pages(saved(tmp_path / "a.tif", mixed), "a", Selection())
    assert source is not None and len(list(source)) == 3
    pyramid = [pictures(1, size)[0] for size in ((64, 48), (32, 24), (16, 12))]
    assert open_pages(saved(tmp_path / "b.tif", pyramid), "b", Selection()) is None


def test_16_bits_are_read_as_those_of_a_single_picture(tmp_path: Path) -> None:
    images = [Image.fromarray(np.full((8, 8), value, np.uint16)) for value in (0, 40_000)]
    source = open_pages(saved(tmp_path / "a.tif", images), "a", Selection())
    assert source is not None
    first, second = (frame.read() for frame in source)
    assert first.max() == 0 and second.min() == second.max() == round(40_000 / 257)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif", "a.jpg"])
def test_a_file_of_one_picture_is_a_photograph(tmp_path: Path, name: str) -> None:
    pictures(1)[0].save(tmp_path / name)
    assert open_pages(tmp_path / name, "a", Selection()) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"GIF89a", b"II*\0\x08\0\0\0", b"II*\0\xff\xff\xff\xff", b"RIFF\0\0\0\0WEBPVP8X" + bytes(20)],
)
def test_a_broken_file_is_left_to_the_reader_of_images(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    assert open_pages(path, "a", Selection()) is None


def test_directories_in_a_circle_end(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", pictures(2))
    content = bytearray(path.read_bytes())
    first = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[first : first + 2], "little")
    content[first + 2 + 12 * count : first + 6 + 12 * count] = first.to_bytes(4, "little")
    path.write_bytes(content)
    assert open_pages(path, "a", Selection()) is None


def test_a_cut_animation_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), np.uint8)
    path = saved(tmp_path / "a.gif", [Image.fromarray(image) for image in noise], duration=100)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    source = open_pages(path, "a", Selection())
    if source is None:
        return
    assert 0 < len(list(source)) < 6 and source.problem is not None
