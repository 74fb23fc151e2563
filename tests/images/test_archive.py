"""Zip archives: paths in them, and those that are refused."""

import os
import pickle
import stat
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aerostat.errors import InputError
from aerostat.images.archive import ArchiveMember, ArchivePath, is_zip, open_archive
from aerostat.images.folders import entries, files_below, length_of, parents
from aerostat.images.location import FilesBelow, length, location_of, read_bytes
from aerostat.images.read import read_image


def packed(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> ArchivePath:
    files = {"train/a.txt": b"1", "train/deep/b.txt": b"22", "c.txt": b"333", "empty/": b""}
    return ArchivePath(packed(tmp_path / "data.zip", files))


def test_a_path_in_an_archive_has_the_parts_of_a_path(archive: ArchivePath) -> None:
    path = archive / "train" / "deep" / "b.txt"
    assert (path.name, path.stem, path.suffix, path.parent) == ("b.txt", "b", ".txt", archive / "train/deep")
    assert str(path) == f"{archive.archive}/train/deep/b.txt"
    assert archive.name == "data.zip" and archive.parent == archive
    assert [above.name for above in parents(path)] == ["deep", "train", "data.zip"]


def test_files_and_folders_are_told_apart_and_listed(archive: ArchivePath) -> None:
    assert archive.is_dir() and (archive / "train").is_dir() and (archive / "empty").is_dir()
    assert (archive / "c.txt").is_file() and not (archive / "c.txt").is_dir()
    assert not (archive / "d.txt").exists()
    assert entries(archive) == (["train", "empty"], ["c.txt"])
    assert entries(archive / "nowhere") == ([], [])
    assert list(files_below(archive)) == ["c.txt", "train/a.txt", "train/deep/b.txt"]
    assert sorted(path.name for path in archive.iterdir()) == ["c.txt", "empty", "train"]


def test_content_and_length_are_read_in_place(archive: ArchivePath) -> None:
    assert (archive / "train/deep/b.txt").read_bytes() == b"22"
    assert length_of(archive / "c.txt") == 3
    with (archive / "c.txt").open() as stream:
        assert stream.seek(1) == 1 and stream.read() == b"33"
    with pytest.raises(FileNotFoundError):
        (archive / "d.txt").read_bytes()


def test_files_below_a_folder_are_the_same_on_disk(archive: ArchivePath, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive.archive) as file:
        file.extractall(tmp_path / "unpacked")
    assert list(files_below(tmp_path / "unpacked")) == list(files_below(archive))
    assert sorted(entries(tmp_path / "unpacked")[0]) == ["empty", "train"]


def test_links_to_folders_do_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.txt").write_text("")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/link").symlink_to(tmp_path / "outside")
    (tmp_path / "data/circle").symlink_to(tmp_path / "data/circle")
    assert list(files_below(tmp_path / "data")) == []


def test_an_image_in_an_archive_is_a_location(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    archive = ArchivePath(packed(tmp_path / "data.zip", {"x/a.png": (tmp_path / "a.png").read_bytes()}))
    location = location_of(archive / "x/a.png")
    assert isinstance(location, ArchiveMember) and location.name.endswith("data.zip/x/a.png")
    assert length(location) == (tmp_path / "a.png").stat().st_size
    assert (read_image(location)[:, :, ::-1] == pixels).all()
    assert pickle.loads(pickle.dumps(location)) == location
    assert FilesBelow(archive, ("x/a.png",))[0] == location


def test_threads_and_child_processes_read_at_the_same_time(tmp_path: Path) -> None:
    files = {f"{n}.bin": bytes([n]) * 50_000 for n in range(40)}
    archive = ArchivePath(packed(tmp_path / "data.zip", files, zipfile.ZIP_DEFLATED))

    def right() -> bool:
        with ThreadPoolExecutor(4) as pool:
            found = pool.map(lambda name: (archive / name).read_bytes() == files[name], files)
            return all(found)

    assert right()
    child = os.fork()
    if child == 0:
        os._exit(0 if right() else 1)
    assert right()
    assert os.waitpid(child, 0)[1] == 0


def test_an_archive_that_changed_is_opened_again(tmp_path: Path) -> None:
    path = packed(tmp_path / "data.zip", {"a.txt": b"1"})
    assert (ArchivePath(path) / "a.txt").read_bytes() == b"1"
    packed(path, {"a.txt": b"another"})
    assert (ArchivePath(path) / "a.txt").read_bytes() == b"another"


def test_names_of_windows_in_china_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("气球.txt".encode("gbk").decode("cp437"))
        archive.writestr(info, b"1")
    content = path.read_bytes().replace("气球.txt".encode("gbk").decode("cp437").encode(), b"", 0)
    path.write_bytes(content)
    raw = "气球.txt".encode("gbk")
    stored = raw.decode("cp437").encode()
    without_flag = bytearray(content.replace(stored, raw + b"_" * (len(stored) - len(raw))))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = without_flag.index(mark) + offset
        without_flag[place : place + 2] = b"\0\0"
    path.write_bytes(bytes(without_flag))
    (name,) = entries(ArchivePath(path))[1]
    assert name.startswith("气球.txt")


def test_what_macos_adds_is_left_out(tmp_path: Path) -> None:
    path = packed(tmp_path / "data.zip", {"a/b.txt": b"", "__MACOSX/a/._b.txt": b"", "a/.DS_Store": b""})
    assert list(files_below(ArchivePath(path))) == ["a/b.txt"]


def test_backslashes_part_folders(tmp_path: Path) -> None:
    path = packed(tmp_path / "data.zip", {"a/b.txt": b"1"})
    path.write_bytes(path.read_bytes().replace(b"a/b.txt", b"a\\b.txt"))
    assert (ArchivePath(path) / "a/b.txt").read_bytes() == b"1"


@pytest.mark.parametrize("name", ["../a.txt", "/etc/a.txt", "a/../../b.txt", "C:/a.txt", "..\\a.txt"])
def test_a_name_that_leads_outside_is_refused(tmp_path: Path, name: str) -> None:
    path = packed(tmp_path / "data.zip", {"ok.txt": b"", name: b""})
    with pytest.raises(InputError, match="names a file outside itself"):
        open_archive(path)


def test_a_name_with_a_control_character_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"control character, 'a\\nb'"):
        open_archive(packed(tmp_path / "data.zip", {"a\nb": b""}))


def test_a_link_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="holds a link, 'link'"):
        open_archive(path)


@pytest.mark.parametrize("name", ["inner.zip", "x/photos.tar.gz", "a.RAR"])
def test_a_nested_archive_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="holds another archive"):
        open_archive(packed(tmp_path / "data.zip", {name: b""}))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = packed(tmp_path / "data.zip", {"a.json": bytes(100 << 20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    with pytest.raises(InputError, match="made to fill the memory"):
        open_archive(path)


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.bin", np.random.default_rng(0).bytes(10_000))
        info = archive.infolist()[0]
        for number in range(20):
            other = zipfile.ZipInfo(f"{number}.bin")
            for field in ("compress_type", "compress_size", "file_size", "CRC", "header_offset"):
                setattr(other, field, getattr(info, field))
            archive.filelist.append(other)
            archive.NameToInfo[other.filename] = other
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="made to fill the memory"):
        open_archive(path)


def test_a_file_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning):
        archive.writestr("a.txt", b"1")
        archive.writestr("a.txt", b"2")
    with pytest.raises(InputError, match=r"two files called 'a\.txt'"):
        open_archive(path)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "data.zip", {"a.txt": b"1" * 100})
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    assert is_zip(path)
    with pytest.raises(InputError, match="no whole zip archive"):
        open_archive(path)
    path.write_bytes(whole.replace(b"1" * 100, b"2" * 100))
    with pytest.raises(OSError, match="damaged"):
        read_bytes(ArchiveMember(ArchivePath(path) / "a.txt"))


def test_an_archive_of_another_method_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "data.zip", {"a.txt": b"1"}, zipfile.ZIP_LZMA)
    with pytest.raises(InputError, match=r"packed by method 14, first 'a\.txt'"):
        open_archive(path)
    assert (ArchivePath(packed(path, {"a.txt": b"1"}, zipfile.ZIP_BZIP2)) / "a.txt").read_bytes() == b"1"


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "data.zip", {"a.txt": b"1"})
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="is encrypted"):
        open_archive(path)


def test_another_file_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no archive")
    assert not is_zip(tmp_path / "a.zip")
    assert not is_zip(tmp_path / "nowhere.zip")


def test_a_name_of_very_many_folders_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/" * 30_000 + "b.jpg", b"")
    with pytest.raises(InputError, match=r"has a file below 30000 folders.*expected at most 99"):
        open_archive(path)
