"""Sources of frames: files, folders and patterns, images in memory, and a source that somebody writes."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aerostat.errors import InputError
from aerostat.inference.sources import Files, Images, find_images


def photograph(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (80, 64), (120, 120, 120)).save(path)
    return path


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """a.jpg b.PNG notes.txt .hidden.jpg sub/c.jpg, worked in as the current folder."""
    for name in ("a.jpg", "b.PNG", ".hidden.jpg", "sub/c.jpg"):
        photograph(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["."], ["a.jpg", "b.PNG", "sub/c.jpg"]),
        (["sub"], ["sub/c.jpg"]),
        (["*.jpg"], ["a.jpg"]),
        (["**/*.jpg"], ["a.jpg", "sub/c.jpg"]),
        (["s*"], ["sub/c.jpg"]),
        (["b.PNG", "a.jpg"], ["b.PNG", "a.jpg"]),
        (["a.jpg", "a.jpg", "."], ["a.jpg", "b.PNG", "sub/c.jpg"]),
        (["*"], ["a.jpg", "b.PNG", "sub/c.jpg"]),  # not the notes beside them
        (["**"], ["a.jpg", "b.PNG", "sub/c.jpg"]),
        (["no*"], ["notes.txt"]),  # whatever it is, nothing else is meant
        (["sub/../a.jpg", "./b.PNG", "b.PNG"], ["sub/../a.jpg", "b.PNG"]),
        (["notes.txt"], ["notes.txt"]),  # named outright, it is the reader who says what it is not
    ],
)
def test_files_folders_and_patterns_name_images_each_once(
    album: Path, sources: list[str], expected: list[str]
) -> None:
    assert [path.as_posix() for path in find_images(sources)] == expected


def test_a_path_into_an_archive_names_one_image_of_it(album: Path) -> None:
    with zipfile.ZipFile("data.zip", "w") as archive:
        archive.write("a.jpg", "train/a.jpg")
        archive.write("b.PNG", "train/b.PNG")
    (found,) = find_images(["data.zip/train/a.jpg"])
    assert str(found).endswith("a.jpg") and found.is_file()
    with pytest.raises(InputError, match=r"There is no image or folder data\.zip/train/gone\.jpg"):
        find_images(["data.zip/train/gone.jpg"])


def test_a_file_whose_name_looks_like_a_pattern_is_itself(album: Path) -> None:
    photograph(album / "a[1].jpg")
    assert find_images(["a[1].jpg"]) == [Path("a[1].jpg")]


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ([], "at least one image"),
        (["empty"], "no images in the folder empty"),
        (["a.jpg", "nope.jpg"], "no image or folder nope.jpg"),
        (["*.gif"], r"No file matches \*\.gif"),
        (["empt*"], r"No image matches empt\*"),
    ],
)
def test_a_source_without_images_is_refused_by_name(album: Path, sources: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_images(sources)


def test_clips_among_images_are_left_out_and_named(album: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("clip.mp4", "sub/other.MOV", "a.NEF"):
        (album / name).write_bytes(b"\0\0\0\x18ftypmp42" + bytes(40))
    for source in (".", "*"):
        caplog.clear()
        assert [path.name for path in find_images([source])] == ["a.jpg", "b.PNG", "c.jpg"]
        (line,) = caplog.messages
        assert "left out" in line and "(first clip.mp4)" in line and "1 raw file of a camera" in line


def test_a_folder_of_clips_alone_is_refused_by_what_it_holds(album: Path) -> None:
    (album / "empty" / "clip.webm").touch()
    with pytest.raises(
        InputError, match=r"no images in the folder empty; it holds 1 video clip \(first clip"
    ):
        find_images(["empty"])


def test_an_image_named_in_two_ways_is_one(album: Path) -> None:
    assert find_images(["a.jpg", str(album / "a.jpg"), str(album / "*.jpg")]) == [Path("a.jpg")]


def test_files_become_frames_whose_pixels_stay_in_their_files(album: Path) -> None:
    source = Files(["a.jpg", album / "sub" / "c.jpg"])
    assert len(source) == 2
    first, second = source
    assert (first.name, first.index, first.path, first.image_bgr) == ("a.jpg", 0, Path("a.jpg"), None)
    assert (second.index, second.location) == (1, str(album / "sub" / "c.jpg"))
    assert first.read().shape == (64, 80, 3)
    assert list(source)[1].name == "c.jpg", "a source can be gone through again"


def test_files_of_one_name_become_frames_of_different_names() -> None:
    names = [frame.name for frame in Files(["a/x.jpg", "b/x.png", "c/b/X.JPG", "b/x.gif"])]
    assert names == ["x.jpg", "b_x.png", "X-2.JPG", "x-3.gif"]


def test_images_in_memory_become_frames_in_order(album: Path) -> None:
    grey = np.full((6, 8, 3), 7, np.uint8)
    first, second, third = Images([grey, Image.new("RGB", (8, 6), (1, 2, 3)), "a.jpg"])
    assert first.image_bgr is grey
    assert second.read()[0, 0].tolist() == [3, 2, 1]
    assert third.path == Path("a.jpg")
    assert [frame.index for frame in (first, second, third)] == [0, 1, 2]
    assert len(Images([grey])) == 1
