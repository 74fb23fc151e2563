"""Images in no file of their own: what has a name and can be opened is read, linted and trained from."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Images, Instance, Split
from aerostat.errors import InputError
from aerostat.images.location import FileLocation, FilesBelow, length, location_of, path_of, read_bytes
from aerostat.images.read import read_header, read_image, read_resized, read_size
from aerostat.lint.lint import lint
from aerostat.training.api import train


@dataclass(frozen=True)
class Member:
    """A member of a zip archive."""

    archive: Path
    member: str

    @property
    def name(self) -> str:
        return f"{self.archive}/{self.member}"

    def open(self) -> BinaryIO:
        try:
            with zipfile.ZipFile(self.archive) as archive:
                return io.BytesIO(archive.read(self.member))
        except KeyError:
            raise FileNotFoundError(2, "not in the archive") from None


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "photos.zip"
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(4):
            stream = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(stream, "PNG")
            archive.writestr(f"{number}.png", stream.getvalue())
    return path


def data(archive: Path) -> Dataset:
    boxes = (Instance((5, 5, 40, 30), 0, area=875.0),)
    rows = [ImageRecord(Member(archive, f"{n}.png"), f"{n}.png", 64, 48, boxes, id=n + 1) for n in range(4)]
    splits = {name: Split(name, ("disc",), (1,), Images.of(rows[part])) for name, part in PARTS.items()}
    return Dataset(("disc",), splits)


PARTS = {"train": slice(0, 2), "val": slice(2, 4)}


def test_a_member_of_an_archive_is_read_as_its_file_would_be(archive: Path, tmp_path: Path) -> None:
    member = Member(archive, "1.png")
    file = tmp_path / "1.png"
    file.write_bytes(read_bytes(member))
    assert (read_image(member) == read_image(file)).all()
    assert (read_resized(member, (20, 15)) == read_resized(file, (20, 15))).all()
    assert read_size(member) == read_size(file) == (64, 48)
    assert read_header(member) == read_header(file)
    assert length(member) == length(FileLocation(file)) == file.stat().st_size


def test_a_path_may_lead_into_an_archive(archive: Path) -> None:
    path = archive / "1.png"
    assert (read_image(path) == read_image(Member(archive, "1.png"))).all()
    assert read_size(str(path)) == (64, 48)
    with pytest.raises(InputError, match=r"not in the archive.*photos\.zip.gone\.png"):
        read_image(archive / "gone.png")


def test_a_folder_with_the_name_of_an_archive_is_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "photos.zip" / "a.png"
    file.parent.mkdir()
    Image.new("RGB", (5, 3)).save(file)
    assert location_of(file) == FileLocation(file)
    assert read_size(file) == (5, 3)


@pytest.mark.parametrize("read", [read_image, read_size, read_header])
def test_a_member_that_is_not_there_is_named(archive: Path, read) -> None:
    with pytest.raises(InputError, match=r"not in the archive.*photos\.zip.gone\.png"):
        read(Member(archive, "gone.png"))


def test_data_of_an_archive_are_linted_and_trained_from(archive: Path, tmp_path: Path) -> None:
    dataset = data(archive)
    assert [f.code for f in lint(dataset).findings] == []
    run = train(
        dataset, model="rtmdet-nano", weights="", epochs=1, input_size=64, batch_size=2, out=tmp_path / "run"
    )
    assert run.best.is_file()


def test_paths_are_locations_of_files() -> None:
    assert location_of("a.jpg") == location_of(Path("a.jpg")) == FileLocation(Path("a.jpg"))
    member = Member(Path("x.zip"), "a.jpg")
    assert location_of(member) is member and path_of(member) is None
    assert path_of(FileLocation(Path("a.jpg"))) == Path("a.jpg")


def test_files_below_a_folder_are_made_when_they_are_asked_for() -> None:
    files = FilesBelow(Path("root"), ("a.jpg", "x/b.jpg", "c.jpg"))
    assert [path_of(file) for file in files] == [Path("root/a.jpg"), Path("root/x/b.jpg"), Path("root/c.jpg")]
    assert files[1] == FileLocation(Path("root/x/b.jpg")) and len(files[1:]) == 2
    assert files.chosen([2, 0]) == FilesBelow(Path("root"), ("c.jpg", "a.jpg"))
