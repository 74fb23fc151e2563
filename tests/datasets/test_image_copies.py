"""Images that a conversion brings along: names, nested folders, archives, embedded data, failures."""

import errno
import io
import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from aerostat.datasets import formats, image_copies
from aerostat.datasets.convert import convert
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.image_copies import bring_images, distinct_names
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import AerostatError, InputError
from aerostat.images.location import location_of

from .formats import toy


@dataclass(frozen=True)
class Embedded:
    """An image inside an annotation file."""

    name: str
    content: bytes

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.content)


def png(colour: str = "red") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (100, 80), colour).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def pets(images) -> Path:
    """Two splits with nested images of one name and a file beside them that is nobody's business."""
    root = images("pets", "train/a.png", "train/more/a.png", "val/b.png")
    rows = "filename,class,xmin,ymin,xmax,ymax\n"
    (root / "train" / "_annotations.csv").write_text(f"{rows}a.png,cat,1,2,3,4\nmore/a.png,dog,5,6,7,8\n")
    (root / "val" / "_annotations.csv").write_text(f"{rows}b.png,cat,1,2,3,4\n")
    return root


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_images_stand_below_images_and_splits_and_keep_their_folders(pets: Path, tmp_path: Path) -> None:
    done = convert(pets, tmp_path / "out", with_images="copy")
    assert tree(tmp_path / "out") == [
        *("images/train/a.png", "images/train/more/a.png", "images/val/b.png"),
        *("train.json", "val.json"),
    ]
    assert done.images.found and done.images.lines() == []
    assert not (tmp_path / "out" / "images" / "train" / "a.png").samefile(pets / "train" / "a.png")


def test_one_split_needs_no_folder_of_its_own(pets: Path, tmp_path: Path) -> None:
    convert(pets / "val", tmp_path / "out", with_images="copy")
    assert tree(tmp_path / "out") == ["images/b.png", "val.json"]
    assert Dataset.read(tmp_path / "out").split("val").images.file_names == ("b.png",)


def test_a_link_shares_the_bytes_or_points_to_them(pets: Path, tmp_path: Path, monkeypatch) -> None:
    convert(pets, tmp_path / "hard", with_images="link")
    brought = tmp_path / "hard" / "images" / "train" / "a.png"
    assert not brought.is_symlink() and brought.samefile(pets / "train" / "a.png")

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(image_copies.os, "link", refuse)
    monkeypatch.chdir(tmp_path)
    convert("pets", "soft", with_images="link")  # relative paths do not lead a link astray
    brought = tmp_path / "soft" / "images" / "train" / "a.png"
    assert brought.is_symlink() and brought.samefile(pets / "train" / "a.png")
    assert len(Dataset.read(tmp_path / "soft").splits["train"]) == 2


@pytest.mark.parametrize("how", ["copy", "link"])
def test_images_in_an_archive_are_unpacked(pets: Path, tmp_path: Path, how: str) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", pets))
    done = convert(packed, tmp_path / "out", with_images=how)
    assert done.images.found
    for name in ("train/a.png", "train/more/a.png", "val/b.png"):
        assert (tmp_path / "out" / "images" / name).read_bytes() == (pets / name).read_bytes()


def test_the_images_of_an_archive_are_read_from_it_while_they_stay(pets: Path, tmp_path: Path) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", pets))
    done = convert(packed, tmp_path / "out")
    assert (done.images.found, done.images.folder) == (False, packed)
    assert len(Dataset.read(tmp_path / "out", images=packed).splits["train"]) == 2


def test_names_that_collide_become_distinct_and_annotations_follow(tmp_path: Path) -> None:
    rows = []
    for number, place in enumerate(("x/a.png", "y/a.png", "z/A.PNG", "z/a_2.png", "ä.png", "a\u0308.png")):
        path = tmp_path / place
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (100, 80), (number, 0, 0)).save(path)
        name = place if number == 3 else path.name
        rows.append(ImageRecord(path, name, 100, 80, [Instance((number, 1, 9, 9), 0)], number + 1))
    split = bring_images(Split("train", ("cat",), (1,), rows), tmp_path / "out", "copy", own_stems=False)
    names = split.images.file_names
    assert len({name.casefold() for name in names}) == 6 and names[:3] == ("a.png", "a_2.png", "A_3.PNG")
    assert names[3] == "z/a_2.png"
    for image, row in zip(split.images, rows, strict=True):
        assert image.path == tmp_path / "out" / image.file_name
        assert image.path.read_bytes() == row.path.read_bytes() and image.instances == row.instances


def test_many_equal_names_cost_no_more_than_as_many_different_ones() -> None:
    names = distinct_names(
        ["a.png"] * 20_000, [location_of(f"{n}/a.png") for n in range(20_000)], own_stems=True
    )
    assert len(set(names)) == 20_000


def test_images_with_annotation_files_of_their_own_differ_without_suffix_too() -> None:
    places = [location_of(name) for name in ("a.png", "a.jpg", "b/a.jpg")]
    names = ["a.png", "a.jpg", "b/a.jpg"]
    assert distinct_names(names, places, own_stems=False) == names
    assert distinct_names(names, places, own_stems=True) == ["a.png", "a_2.jpg", "b/a.jpg"]


@pytest.mark.parametrize(
    ("stated", "place", "brought"),
    [
        ("photos/a.png", "data/photos/a.png", "photos/a.png"),
        ("photos/a.png", "data/a.png", "a.png"),
        ("../../etc/a.png", "data/a.png", "a.png"),
        ("../data/a.png", "data/a.png", "a.png"),
        ("/data/a.png", "/data/a.png", "data/a.png"),
        ("C:\\photos\\a.png", "data/a.png", "a.png"),
        ("https://host/my%20cell.jpg?raw=true", "data/my cell.jpg", "my cell.jpg"),
        ("0001", "data/0001.jpg", "0001.jpg"),
    ],
)
def test_a_name_is_that_of_the_file_below_the_folders_that_both_have(stated, place, brought) -> None:
    assert distinct_names([stated], [location_of(place)], own_stems=False) == [brought]


@pytest.mark.parametrize(
    ("name", "content", "brought"),
    [
        ("..\\photos\\a.png", png(), "a.png"),
        ("", png(), "image.png"),
        ("cell", png(), "cell.png"),
        ("a/../b\x00.png", png(), "b_.png"),
        ("x" * 400 + ".png", png(), "x" * 120 + ".png"),
        ("cell", b"no image", "cell"),
    ],
)
def test_an_embedded_image_becomes_a_file(tmp_path: Path, name: str, content: bytes, brought: str) -> None:
    row = ImageRecord(Embedded("a.json", content), name, 100, 80)
    split = bring_images(Split("train", ("cat",), (1,), [row]), tmp_path / "out", "link", own_stems=False)
    assert split.images.file_names == (brought,)
    assert (tmp_path / "out" / brought).read_bytes() == content


def test_a_failed_run_leaves_nothing_of_its_own(pets: Path, tmp_path: Path, monkeypatch) -> None:
    copied = Counter[str]()

    def until_the_disk_is_full(source: Path, target: Path) -> None:
        copied["files"] += 1
        if copied["files"] == 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        Path(target).write_bytes(Path(source).read_bytes())

    monkeypatch.setattr(image_copies.shutil, "copyfile", until_the_disk_is_full)
    (tmp_path / "empty").mkdir()
    for target in ("new/folder", "empty"):
        copied.clear()
        with pytest.raises(AerostatError, match=r"cannot be brought to .*No space left on device") as caught:
            convert(pets, tmp_path / target, with_images="copy")
        assert caught.value.exit_code == 1 and copied["files"] == 3
    assert list((tmp_path / "empty").iterdir()) == [] and not (tmp_path / "new").exists()


def test_too_small_a_disk_is_told_before_anything_is_written(pets: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(image_copies.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 0, 10))
    with pytest.raises(InputError, match=r"images take .* MB, and .* left.*`with_images='link'`"):
        convert(pets, tmp_path / "out", with_images="copy")
    assert not (tmp_path / "out").exists()
    convert(pets, tmp_path / "out", with_images="link")


def test_an_image_that_is_gone_fails_the_whole(pets: Path, tmp_path: Path, monkeypatch) -> None:
    data = Dataset.read(pets)
    (pets / "train" / "more" / "a.png").unlink()
    for how in ("copy", "link"):
        with pytest.raises(AerostatError, match=r"more/a\.png cannot be brought"):
            bring_images(data.splits["train"], tmp_path / how, how, own_stems=False)


def test_a_failed_writer_takes_back_files_and_images(pets: Path, tmp_path: Path, monkeypatch) -> None:
    def write(split: Split, folder: Path, options: object) -> Counter[str]:
        if split.name == "val":
            raise OSError(errno.ENOSPC, "No space left on device")
        return toy.write(split, folder, options)

    broken = formats.Format(
        **{name: getattr(toy.FORMAT, name) for name in toy.FORMAT.__slots__} | {"write": write}
    )
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, broken))
    for how in (None, "copy"):
        with pytest.raises(OSError, match="No space"):
            convert(pets, tmp_path / "out", to="toy", with_images=how)
        assert not (tmp_path / "out").exists()


def test_images_stand_beside_annotation_files_of_their_own(pets: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, toy.FORMAT))
    convert(pets / "val", tmp_path / "out", to="toy", with_images="copy")
    assert tree(tmp_path / "out") == ["b.png", "b.toy"]
    assert len(Dataset.read(tmp_path / "out").splits) == 1


def test_what_was_not_read_and_what_was_lost_is_reported(pets: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        path = pets / split / "_annotations.csv"
        header, *rows = path.read_text().splitlines()
        path.write_text("\n".join([f"{header},score", *(f"{row},0.5" for row in rows), ""]))
    done = convert(pets, tmp_path / "out")
    assert done.not_read == {"values of the column 'score'": 3}
    assert done.to_dict()["not_read"] == done.not_read and json.dumps(done.to_dict())
    assert "not read: 3 values of the column 'score'" in done.lines()


def test_images_in_no_single_folder_are_to_be_brought_along(pets: Path, tmp_path: Path) -> None:
    (pets / "val" / "data").mkdir()
    (pets / "val" / "b.png").rename(pets / "val" / "data" / "b.png")
    done = convert(pets, tmp_path / "out")
    assert (done.images.found, done.images.folder) == (False, None)
    assert done.lines()[-1].endswith("`with_images='copy'`.")


def test_annotations_beside_their_images_need_no_folder(pets: Path) -> None:
    assert convert(pets / "val", pets / "val" / "coco.json").images.found
