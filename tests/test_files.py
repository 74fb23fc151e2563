"""Files are whole or absent, whatever happens while they are written."""

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from aerostat.errors import InputError
from aerostat.files import (
    clear_leftovers,
    flush_folder,
    is_temporary,
    locked,
    nearest_existing,
    replacing,
    sha256,
    undone_on_failure,
    write_bytes,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_content_is_written_into_a_folder_that_is_made(tmp_path):
    path = tmp_path / "new" / "folder" / "file.bin"
    write_bytes(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert names(path.parent) == ["file.bin"]


@pytest.mark.parametrize("content", [b"", b"x" * (32 << 20)])
def test_nothing_and_very_much_are_written_too(tmp_path, content):
    write_bytes(tmp_path / "f", content)
    assert (tmp_path / "f").read_bytes() == content


def test_text_is_utf_8_with_its_newlines_as_they_are(tmp_path):
    write_text(tmp_path / "f.txt", "größe\r\nline\n")
    assert (tmp_path / "f.txt").read_bytes() == b"gr\xc3\xb6\xc3\x9fe\r\nline\n"


def test_an_older_file_is_replaced_only_when_the_new_one_is_whole(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent, "a rename must not cross file systems"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("before", [None, "old"])
def test_what_fails_half_way_leaves_what_was_there_and_no_rest(tmp_path, error, before):
    path = tmp_path / "f"
    if before is not None:
        path.write_text(before)
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert names(tmp_path) == ([] if before is None else ["f"])
    assert before is None or path.read_text() == before


def test_a_folder_in_the_place_of_the_file_leaves_no_rest(tmp_path):
    (tmp_path / "f" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="f"):
        write_bytes(tmp_path / "f", b"x")
    assert names(tmp_path) == ["f"]


def test_the_temporary_file_ends_as_the_file_does_since_writers_choose_by_it(tmp_path):
    with replacing(tmp_path / "a.b.png") as temporary:
        assert temporary.suffix == ".png"


@pytest.mark.parametrize(
    "name",
    ["ballons rouges été.json", "气球" * 40 + ".json", "a" * 255, "气" * 85, "f." + "x" * 250, ".hidden"],
)
def test_every_name_that_the_system_takes_is_written(tmp_path, name):
    write_bytes(tmp_path / name, b"x")
    assert names(tmp_path) == [name]


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_others_may_read_what_the_umask_lets_them(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "f", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == mode


def test_the_digest_is_sha_256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")  # the example of FIPS 180-2, appendix B.1
    assert sha256(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_nearest_thing_that_exists_is_the_path_itself_or_above_it(tmp_path, monkeypatch):
    file = tmp_path / "a.txt"
    file.write_text("")
    assert nearest_existing(file) == file
    assert nearest_existing(file / "below" / "deeper") == file
    assert nearest_existing(tmp_path / "gone" / "gone") == tmp_path
    monkeypatch.chdir(tmp_path)
    assert nearest_existing(Path("gone")) == tmp_path


# ------------------------------------------------------------------------- what a process leaves that dies


def test_what_dead_processes_left_is_cleared_and_what_living_ones_write_is_not(tmp_path):
    left = (".last.ckpt.ab12_xyz.ckpt", ".metrics.jsonl.00000000.jsonl", ".noend.abcdefgh")
    other = (".hidden", ".gitignore", "last.ckpt", ".last.ckpt.ab12_xyz.png", ".a.b.c", "x.abcdefgh.ckpt")
    for name in (*left, *other):
        (tmp_path / name).write_text("x")
    (tmp_path / ".folder.abcdefgh").mkdir()
    with replacing(tmp_path / "best.safetensors") as temporary:
        assert is_temporary(temporary)
        assert clear_leftovers(tmp_path) == len(left)
        assert temporary.exists()
        temporary.write_text("whole")
    assert names(tmp_path) == sorted([*other, ".folder.abcdefgh", "best.safetensors"])


def test_a_temporary_file_of_a_long_name_is_known_too(tmp_path):
    with replacing(tmp_path / f"{'n' * 60}.safetensors") as temporary:
        assert is_temporary(temporary)
        temporary.write_text("x")


def test_there_is_nothing_to_clear_where_there_is_no_folder(tmp_path):
    assert clear_leftovers(tmp_path / "none") == 0
    assert clear_leftovers(tmp_path) == 0


DYING = """
import os, signal, sys
from pathlib import Path
from aerostat.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_process_that_is_killed_while_it_writes_leaves_the_old_file_and_something_to_clear(tmp_path):
    (tmp_path / "f.bin").write_text("old")
    done = subprocess.run([sys.executable, "-c", DYING, tmp_path / "f.bin"])
    assert done.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 2
    assert clear_leftovers(tmp_path) == 1
    assert names(tmp_path) == ["f.bin"]
    assert (tmp_path / "f.bin").read_text() == "old"


@pytest.mark.skipif(os.name == "nt", reason="Windows opens no folders")
def test_a_folder_is_locked_for_one_at_a_time_and_nothing_is_written(tmp_path):
    with locked(tmp_path, "being read"):
        with pytest.raises(InputError, match="is being read by another"), locked(tmp_path, "being read"):
            raise AssertionError("not reached")
        assert names(tmp_path) == []
    with locked(tmp_path, "being read"):
        pass


LOCKING = """
import sys
from pathlib import Path
from aerostat.files import locked, replacing
folder = Path(sys.argv[1])
with locked(folder, "being read"), replacing(folder / "f.bin"):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows opens no folders")
def test_a_lock_of_another_process_ends_with_that_process_even_if_it_is_killed(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", LOCKING, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(InputError, match="is being read by another"), locked(tmp_path, "being read"):
            raise AssertionError("not reached")
        assert clear_leftovers(tmp_path) == 0
        other.kill()
        other.wait()
        with locked(tmp_path, "being read"):
            assert clear_leftovers(tmp_path) == 1
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows opens no folders")
def test_a_read_only_folder_can_be_locked(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with (
            locked(tmp_path, "being read"),
            pytest.raises(InputError, match="is being read by another"),
            locked(tmp_path, "being read"),
        ):
            raise AssertionError("not reached")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(os.name == "nt", reason="Windows opens no folders")
def test_a_file_system_without_locks_is_written_to_and_nothing_on_it_is_cleared(tmp_path, monkeypatch):
    def refuse(handle: int, **_: object) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("filelock.lock_descriptor", refuse)
    left = ".last.ckpt.ab12_xyz.ckpt"
    (tmp_path / left).write_text("x")
    with locked(tmp_path, "being read"), locked(tmp_path, "being read"):
        write_bytes(tmp_path / "f", b"x")
        assert clear_leftovers(tmp_path) == 0
    assert names(tmp_path) == [left, "f"]


def test_the_names_in_a_folder_can_be_flushed_and_where_there_is_none_nothing_happens(tmp_path):
    flush_folder(tmp_path)
    flush_folder(tmp_path / "none")


def test_a_failed_block_takes_back_what_it_made_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a").write_text("precious")
    (tmp_path / "empty").mkdir()
    made = [
        tmp_path / "mine",
        tmp_path / "empty",
        tmp_path / "new" / "deep" / "folder",
        tmp_path / "new" / "file",
    ]

    def make() -> None:
        for folder in made[:3]:
            (folder / "below").mkdir(parents=True)
            (folder / "below" / "b").write_text("made")
        made[3].write_text("made")
        (tmp_path / "empty" / "link").symlink_to(tmp_path / "mine")

    with pytest.raises(KeyboardInterrupt), undone_on_failure(made):
        make()
        raise KeyboardInterrupt
    assert (tmp_path / "mine" / "a").read_text() == "precious"
    assert list((tmp_path / "empty").iterdir()) == [] and not (tmp_path / "new").exists()
    shutil.rmtree(tmp_path / "mine" / "below")
    with undone_on_failure(made):
        make()
    assert made[3].exists() and (made[2] / "below" / "b").exists()
