"""The zoo: what it lists, and downloads that are whole and right or absent, from a server on this machine."""

import contextlib
import email.message
import errno
import hashlib
import http.server
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
import urllib.response
from collections.abc import Iterator
from pathlib import Path

import pytest

from aerostat.errors import AerostatError, InputError
from aerostat.weights import zoo

CONTENT = bytes(range(256)) * 9000  # 2.3 MB: three pieces
DIGITS = hashlib.sha256(CONTENT).hexdigest()[:8]


ONE_ENTRY = (
    "zoo.find = lambda name: zoo.ZooEntry(name, 'detection', 'nano', '', (320, 320), None, None, "
    f"'a/test-{DIGITS}.pth')"
)
"""For a process of its own."""


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT with byte ranges; `behaviour` spoils it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour = "good"
        self.location = ""
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append((self.path, wanted))
        start = int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        if server.behaviour == "redirect" and self.path != "/moved.pth":
            self.send_response(302)
            self.send_header("Location", server.location)
            self.end_headers()
        elif server.behaviour.isdigit():
            self.send_error(int(server.behaviour))
        elif server.behaviour in ("without end", "trickling"):
            self.send_for_ever(0 if server.behaviour == "without end" else 0.02)
        elif wanted and server.behaviour != "no ranges" and start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.end_headers()
        else:
            self.send_content(start if server.behaviour != "no ranges" else 0)

    def send_for_ever(self, pause: float) -> None:
        """Send zeros without saying how many, until the other side has enough."""
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(bytes(1 if pause else 1 << 16))
                time.sleep(pause)

    def send_content(self, start: int) -> None:
        body = CONTENT[start:] if self.server.behaviour != "wrong" else b"x" * len(CONTENT[start:])
        self.send_response(206 if start else 200)
        lies = {"endless": 10**12, "half said": len(body) // 2, "twice said": 2 * len(body)}
        self.send_header("Content-Length", str(lies.get(self.server.behaviour, len(body))))
        if start:
            shift = 5 if self.server.behaviour == "wrong range" else 0
            self.send_header("Content-Range", f"bytes {start + shift}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        if self.server.behaviour == "always cut":
            body = body[:1000] if not start else b""
        elif self.server.behaviour == "cut once":
            self.server.behaviour, body = "good", body[: 1500 * 1024]
        with contextlib.suppress(OSError):  # the other side has heard enough
            self.wfile.write(body)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    entry = zoo.ZooEntry(
        "rtmdet-test", "detection", "nano", "none", (320, 320), None, None, f"a/b/test-{DIGITS}.pth"
    )
    other = zoo.ZooEntry("cspnext-test", "backbone", "tiny", "none", (224, 224), None, None, "a/cspnext.pth")
    every = (*zoo.entries(), entry, other)
    monkeypatch.setattr(zoo, "entries", lambda: every)
    monkeypatch.setenv("AEROSTAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AEROSTAT_MIRROR", server.url + "/mirror/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()


def cached(tmp_path: Path, name: str = f"test-{DIGITS}.pth") -> Path:
    return tmp_path / "home" / "weights" / name


def files_of(tmp_path: Path) -> list[str]:
    """What a user finds in the cache, lock files aside."""
    folder = tmp_path / "home" / "weights"
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock") if folder.exists() else []


# ------------------------------------------------------------------------------------ the list


def test_the_zoo_lists_the_published_files_with_their_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AEROSTAT_MIRROR", raising=False)
    by_name = {entry.name: entry for entry in zoo.entries()}
    tiny = by_name["rtmdet-tiny"]
    assert tiny.url == (
        "https://download.openmmlab.com/mmdetection/v3.0/rtmdet/rtmdet_tiny_8xb32-300e_coco/"
        "rtmdet_tiny_8xb32-300e_coco_20220902_112414-78e30dcc.pth"
    )
    assert (tiny.box_ap, tiny.sha256_prefix, tiny.input_size, tiny.licence) == (
        41.1,
        "78e30dcc",
        (640, 640),
        "Apache-2.0",
    )
    assert by_name["rtmdet-ins-x"].url.endswith(
        "/rtmdet-ins_x_8xb16-300e_coco/rtmdet-ins_x_8xb16-300e_coco_20221124_111313-33d4595b.pth"
    )
    assert by_name["rtmdet-nano-person"].url == (
        "https://download.openmmlab.com/mmpose/v1/projects/rtmposev1/rtmdet_nano_8xb32-100e_coco-obj365-person-05d8511e.pth"
    )
    digits = {name: entry.sha256_prefix for name, entry in by_name.items()}
    assert digits == {
        "rtmdet-tiny": "78e30dcc",
        "rtmdet-s": "387a891e",
        "rtmdet-m": "229f527c",
        "rtmdet-l": "5a0be7c4",
        "rtmdet-x": "cc79b9ae",
        "rtmdet-nano-person": "05d8511e",
        "rtmdet-m-person": "235e8209",
        "rtmdet-nano-hand": "267f9c8f",
        "cspnext-tiny": "",
        "rtmdet-ins-tiny": "ec670f7e",
        "rtmdet-ins-s": "fdc5d7ec",
        "rtmdet-ins-m": "6eba602e",
        "rtmdet-ins-l": "78d1d652",
        "rtmdet-ins-x": "33d4595b",
    }


def test_the_parameter_counts_are_those_of_the_networks() -> None:
    from aerostat.model import build

    for name, classes in [
        ("rtmdet-tiny", 80),
        ("rtmdet-s", 80),
        ("rtmdet-m-person", 1),
        ("rtmdet-nano-person", 1),
    ]:
        entry = zoo.find(name)
        parameters = sum(p.numel() for p in build(entry.size, classes).parameters())
        assert entry.parameters_m == pytest.approx(parameters / 1e6, abs=1e-6)
    backbone = sum(p.numel() for p in build("tiny", 1).backbone.parameters())
    assert zoo.find("cspnext-tiny").parameters_m == pytest.approx(backbone / 1e6, abs=1e-6)


def test_an_unknown_name_gets_the_nearest() -> None:
    assert zoo.find("RTMDet-Tiny").name == "rtmdet-tiny"
    with pytest.raises(InputError, match=r"no 'rtmdet-tinny'.*Did you mean 'rtmdet-tiny'\?"):
        zoo.find("rtmdet-tinny")


def test_networks_with_masks_have_their_published_figures() -> None:
    small = zoo.find("rtmdet-ins-s")
    assert (small.box_ap, small.mask_ap, small.parameters_m) == (44.0, 38.7, 10.183311)
    assert (small.task, small.sha256_prefix) == ("instance segmentation", "fdc5d7ec")


def test_the_table_says_where_each_file_is_and_whether_it_is_here(server: Server, tmp_path: Path) -> None:
    assert not any(row.here for row in zoo.zoo_table())
    zoo.fetch("rtmdet-test")
    rows = {row.entry.name: row for row in zoo.zoo_table()}
    assert [name for name, row in rows.items() if row.here] == ["rtmdet-test"]
    assert rows["rtmdet-test"].path == cached(tmp_path)
    plain = json.loads(json.dumps(rows["rtmdet-test"].to_dict()))
    assert (plain["name"], plain["file"], plain["here"]) == ("rtmdet-test", str(cached(tmp_path)), True)


def test_the_cache_is_in_the_home_folder_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AEROSTAT_HOME", raising=False)
    monkeypatch.setenv("HOME", "/somewhere")
    assert zoo.weights_folder() == Path("/somewhere/.cache/aerostat/weights")


# ------------------------------------------------------------------------------------ downloads


def test_a_download_is_whole_verified_recorded_and_asked_for_once(server: Server, tmp_path: Path) -> None:
    path = zoo.fetch("rtmdet-test")
    assert path == cached(tmp_path) and path.read_bytes() == CONTENT
    assert files_of(tmp_path) == [path.name, path.name + ".sha256"]
    assert (
        cached(tmp_path, path.name + ".sha256").read_text().split()[0] == hashlib.sha256(CONTENT).hexdigest()
    )
    assert zoo.fetch("rtmdet-test") == path
    assert server.asked == [(f"/mirror/a/b/test-{DIGITS}.pth", None)]


def test_a_cut_connection_is_taken_up_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.behaviour = "cut once"
    assert zoo.fetch("rtmdet-test").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, f"bytes={1500 * 1024}-"]


def test_a_part_of_an_earlier_run_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    cached(tmp_path).parent.mkdir(parents=True)
    cached(tmp_path, f"test-{DIGITS}.pth.part").write_bytes(CONTENT[:12345])
    assert zoo.fetch("rtmdet-test").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == ["bytes=12345-"]


def test_a_server_without_ranges_sends_it_again_from_the_start(server: Server, tmp_path: Path) -> None:
    server.behaviour = "no ranges"
    cached(tmp_path).parent.mkdir(parents=True)
    cached(tmp_path, f"test-{DIGITS}.pth.part").write_bytes(b"old" * 1_000_000)
    assert zoo.fetch("rtmdet-test").read_bytes() == CONTENT


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"too long"], ids=["complete", "too long"])
def test_a_part_that_is_complete_or_too_long_ends_in_the_right_file(
    server: Server, tmp_path: Path, part: bytes
) -> None:
    cached(tmp_path).parent.mkdir(parents=True)
    cached(tmp_path, f"test-{DIGITS}.pth.part").write_bytes(part)
    assert zoo.fetch("rtmdet-test").read_bytes() == CONTENT


def test_a_connection_that_is_cut_again_and_again_fails_and_keeps_the_part(
    server: Server, tmp_path: Path
) -> None:
    server.behaviour = "always cut"
    with pytest.raises(AerostatError, match="the connection was cut") as raised:
        zoo.fetch("rtmdet-test")
    assert raised.value.exit_code == 1 and str(raised.value).endswith(f"put it at {cached(tmp_path)}.")
    assert files_of(tmp_path) == [f"test-{DIGITS}.pth.part"]
    server.behaviour = "good"
    assert zoo.fetch("rtmdet-test").read_bytes() == CONTENT


def test_a_wrong_file_is_not_kept(server: Server, tmp_path: Path) -> None:
    server.behaviour = "wrong"
    with pytest.raises(AerostatError, match=f"SHA-256 should begin {DIGITS} but begins"):
        zoo.fetch("rtmdet-test")
    assert files_of(tmp_path) == []


@pytest.mark.parametrize("behaviour", ["404", "403", "500", "endless"])
def test_a_refusal_says_which_file_to_put_where(server: Server, tmp_path: Path, behaviour: str) -> None:
    server.behaviour = behaviour
    with pytest.raises(AerostatError) as raised:
        zoo.fetch("rtmdet-test")
    message = str(raised.value)
    assert f"{server.url}/mirror/a/b/test-{DIGITS}.pth cannot be fetched" in message
    assert message.endswith(f"get that file and put it at {cached(tmp_path)}.")
    assert "\n" not in message and len(server.asked) == 1 and files_of(tmp_path) == []


@pytest.mark.parametrize("behaviour", ["without end", "half said"])
def test_more_bytes_than_the_file_has_leave_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    monkeypatch.setattr(zoo, "_MAX_BYTES", 5_000_000)
    server.behaviour = behaviour
    with pytest.raises(AerostatError, match=r"it does not end|SHA-256 should begin"):
        zoo.fetch("rtmdet-test")
    assert files_of(tmp_path) == []


def test_a_length_that_never_comes_is_asked_for_again(server: Server, tmp_path: Path) -> None:
    server.behaviour = "twice said"
    assert zoo.fetch("rtmdet-test").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, f"bytes={len(CONTENT)}-"]


def test_a_server_that_trickles_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(zoo, "ATTEMPTS", 2)
    server.behaviour = "trickling"  # a byte each 20 ms: no single wait is ever too long
    with pytest.raises(AerostatError, match="less than 1000 bytes a second"):
        zoo.fetch("rtmdet-test")
    assert not cached(tmp_path).exists()
    server.behaviour = "good"
    with pytest.raises(AerostatError, match="something else than was published"):
        zoo.fetch("rtmdet-test")  # what trickled in was no part of the file
    assert files_of(tmp_path) == []
    assert zoo.fetch("rtmdet-test").read_bytes() == CONTENT


def test_a_redirect_in_a_circle_is_refused(server: Server, tmp_path: Path) -> None:
    server.behaviour, server.location = "redirect", "/again.pth"
    with pytest.raises(AerostatError, match=r"cannot be fetched \(HTTP 302"):
        zoo.fetch("rtmdet-test")
    assert files_of(tmp_path) == [] and len(server.asked) < 20


@pytest.mark.parametrize("written", [0, 1_500_000])
def test_a_full_disk_leaves_nothing_and_names_the_folder(
    server: Server, tmp_path: Path, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.FileIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            if self.tell() + len(data) > written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data) or 0

    opened = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda path, *a, **k: Full(path, "w") if path.suffix == ".part" else opened(path, *a, **k),
    )
    with pytest.raises(AerostatError) as raised:
        zoo.fetch("rtmdet-test")
    assert str(raised.value) == (
        f"rtmdet-test cannot be written to the cache {cached(tmp_path).parent} (No space left on device), so "
        "nothing was kept; make room there or set AEROSTAT_HOME to another folder."
    )
    assert files_of(tmp_path) == [] and len(server.asked) == 1
    monkeypatch.undo()


@pytest.mark.slow
def test_a_file_that_may_not_grow_is_refused_by_the_system_itself(server: Server, tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom aerostat.__main__ import main\nfrom aerostat.weights import zoo\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        f"{ONE_ENTRY}\n"
        "from aerostat.errors import AerostatError\n"
        "try:\n    zoo.fetch('x')\nexcept AerostatError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot be written to the cache" in done.stdout and "File too large" in done.stdout
    assert files_of(tmp_path) == []


@pytest.mark.slow
def test_two_processes_at_once_download_once(server: Server, tmp_path: Path) -> None:
    code = f"from aerostat.weights import zoo\n{ONE_ENTRY}\nprint(zoo.fetch('x'))"
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert {process.communicate()[0].strip() for process in both} == {str(cached(tmp_path))}
    assert cached(tmp_path).read_bytes() == CONTENT and len(server.asked) == 1


def test_wrong_bytes_in_a_range_are_refused(server: Server, tmp_path: Path) -> None:
    server.behaviour = "wrong range"
    cached(tmp_path).parent.mkdir(parents=True)
    cached(tmp_path, f"test-{DIGITS}.pth.part").write_bytes(CONTENT[:100])
    with pytest.raises(AerostatError, match="sent bytes from 105 where 100 was asked for"):
        zoo.fetch("rtmdet-test")


def test_offline_says_which_file_to_put_where(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEROSTAT_MIRROR", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(
        AerostatError, match=r"rtmdet-test is not in the cache and http://127.0.0.1:9/a/b/.* get that"
    ):
        zoo.fetch("rtmdet-test")
    cached(tmp_path).write_bytes(CONTENT)  # as the message says
    assert zoo.fetch("rtmdet-test") == cached(tmp_path)


@pytest.mark.parametrize("scheme", ["file:///etc/passwd", "ftp://127.0.0.1/x.pth", "gopher://127.0.0.1/x"])
def test_a_redirect_to_another_scheme_is_refused(server: Server, tmp_path: Path, scheme: str) -> None:
    server.behaviour, server.location = "redirect", scheme
    with pytest.raises(AerostatError, match=r"cannot be fetched \((HTTP 302|it was redirected)"):
        zoo.fetch("rtmdet-test")
    assert files_of(tmp_path) == []


def test_a_redirect_from_https_to_http_is_refused_and_of_an_http_mirror_followed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ssl", reason="this Python cannot open https addresses")

    def moved(_: object, request: urllib.request.Request) -> urllib.response.addinfourl:
        headers = email.message.Message()
        headers["Location"] = f"{server.url}/moved.pth"
        response = urllib.response.addinfourl(io.BytesIO(), headers, request.full_url, 302)
        response.msg = "Found"
        return response

    with monkeypatch.context() as patch:
        patch.setattr(urllib.request.HTTPSHandler, "https_open", moved)
        patch.setenv("AEROSTAT_MIRROR", "https://a.example")
        with pytest.raises(AerostatError, match="which is not https"):
            zoo.fetch("rtmdet-test")
    assert server.asked == []
    server.behaviour, server.location = "redirect", server.url + "/moved.pth"
    assert zoo.fetch("rtmdet-test").read_bytes() == CONTENT


def test_a_file_without_published_digits_is_recorded_and_checked_from_then_on(
    server: Server, tmp_path: Path
) -> None:
    cached(tmp_path).parent.mkdir(parents=True)
    cached(tmp_path, "cspnext.pth.part").write_bytes(b"of another version")
    path = zoo.fetch("cspnext-test")
    assert path.read_bytes() == CONTENT  # without digits nothing old is gone on with
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(AerostatError, match="is not the file that was published"):
        zoo.fetch("cspnext-test")
    assert path.exists()  # a user's file is named, not removed


def test_a_file_put_in_the_cache_by_hand_is_checked(server: Server, tmp_path: Path) -> None:
    cached(tmp_path).parent.mkdir(parents=True)
    cached(tmp_path).write_bytes(b"something else")
    with pytest.raises(
        AerostatError, match=f"should begin {DIGITS} but begins .*; remove it and fetch it again"
    ):
        zoo.fetch("rtmdet-test")
    assert server.asked == []


def test_two_at_once_download_once(server: Server, tmp_path: Path) -> None:
    threads = [threading.Thread(target=zoo.fetch, args=("rtmdet-test",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cached(tmp_path).read_bytes() == CONTENT and len(server.asked) == 1


# ------------------------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.org/x.pth", "over https only"),
        ("file:///etc/x.pth", "over https only"),
        ("https:///x.pth", "over https only"),
        ("https://example.org/", "Expected the address of a .pth"),
        ("https://example.org/x.zip", "Expected the address of a .pth"),
        ("https://example.org/..%2F..%2Fx.pth", "Expected the address of a .pth"),
    ],
)
def test_addresses_of_other_kinds_are_refused_before_anything_is_asked(
    tmp_path: Path, url: str, message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        zoo.fetch(url)


def test_published_addresses_go_to_the_mirror_and_share_the_cache(server: Server, tmp_path: Path) -> None:
    assert zoo.fetch(f"https://download.openmmlab.com/a/b/test-{DIGITS}.pth") == cached(tmp_path)
    assert zoo.fetch("rtmdet-test") == cached(tmp_path)
    assert len(server.asked) == 1


def test_addresses_that_end_alike_do_not_share_a_file(server: Server, tmp_path: Path) -> None:
    first = zoo.fetch("https://download.openmmlab.com/one/best.pth")
    second = zoo.fetch("https://download.openmmlab.com/two/best.pth")
    assert first != second and first.name.endswith("-best.pth")


def test_a_mirror_of_another_scheme_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEROSTAT_MIRROR", "file:///srv/mirror")
    with pytest.raises(InputError, match="AEROSTAT_MIRROR is 'file:///srv/mirror'; expected a base URL"):
        zoo.fetch("rtmdet-tiny")


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    monkeypatch.setenv("AEROSTAT_HOME", str(tmp_path / "home"))
    with pytest.raises(AerostatError, match=r"Cannot write to the cache .* set AEROSTAT_HOME"):
        zoo.fetch("rtmdet-tiny")
