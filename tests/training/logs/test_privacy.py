"""A run that is logged to every tracker contacts nothing, and no secret is in what it leaves."""

import importlib.util
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

WITNESS = """
import socket, sys
def told(what, address):
    if not isinstance(address, str):  # a file of this machine is no contact
        print("CONTACT", what, address, file=sys.__stderr__, flush=True)
connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo
socket.socket.connect = lambda self, a: (told("connect", a), connect(self, a))[1]
socket.socket.connect_ex = lambda self, a: (told("connect", a), connect_ex(self, a))[1]
socket.getaddrinfo = lambda *a, **k: (told("look up", a), look_up(*a, **k))[1]
from aerostat.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
KEY = "0123456789abcdef" * 3
TRACKERS = [name for name in ("tensorboard", "mlflow", "wandb") if importlib.util.find_spec(name) is not None]


class Proxy:
    """Counts who asks for anything outside: the process of W&B is not written in Python."""

    def __init__(self):
        self.socket, self.asked = socket.create_server(("127.0.0.1", 0)), 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.asked += 1
            connection.close()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"


@pytest.fixture
def proxy():
    made = Proxy()
    yield made
    made.socket.close()


def user_of(tmp_path, proxy):
    """Return the environment of somebody who has set nothing but keys: trackers see neither CI nor tests."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "WANDB_", "PYTEST_", "CI", "GITHUB_", "GITLAB_", "BUILD_"))
        and name not in ("DO_NOT_TRACK", "JENKINS_URL", "RUNBOT_HOST_URL")
    }
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    return {
        **kept,
        **dict.fromkeys(names, proxy.address),
        "NO_PROXY": "",
        "no_proxy": "",
        "HOME": str(tmp_path),
        "WANDB_API_KEY": KEY,
        "MLFLOW_TRACKING_PASSWORD": KEY,
    }


def test_the_witness_sees_a_contact(tmp_path, proxy):
    code = WITNESS.partition("from aerostat")[0]
    code += (
        "\nimport urllib.request\ntry: urllib.request.urlopen('http://host.invalid')\nexcept OSError: pass"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=user_of(tmp_path, proxy), capture_output=True, text=True, check=True
    )
    assert "CONTACT" in done.stderr
    assert proxy.asked == 1


@pytest.mark.slow
@pytest.mark.skipif(not TRACKERS, reason="no extra of a tracker is installed")
def test_a_run_contacts_nothing_and_keeps_secrets(drawn, tmp_path, proxy):
    out = tmp_path / "runs" / "discs"
    words = ["train", str(drawn()), "--model", "rtmdet-nano", "--weights", "", "--out", str(out)]
    words += ["--epochs", "1", "--input-size", "64", "--batch-size", "2", "--device", "cpu"]
    words += [word for name in TRACKERS for word in ("--log", name)]
    done = subprocess.run(
        [sys.executable, "-c", WITNESS, *words],
        env=user_of(tmp_path, proxy),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "CONTACT" not in done.stderr
    assert proxy.asked == 0
    assert "warning: logging" not in done.stderr and "did not get" not in done.stderr
    assert KEY not in done.stdout + done.stderr
    assert [
        file for file in tmp_path.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()
    ] == []
    left = {path.relative_to(tmp_path / "runs").as_posix() for path in (tmp_path / "runs").rglob("*")}
    if "tensorboard" in TRACKERS:
        assert any(name.startswith("discs/tensorboard/events.out.") for name in left)
    if "mlflow" in TRACKERS:
        assert any(Path(name).name == "report.html" and name.startswith("mlruns/") for name in left)
    if "wandb" in TRACKERS:
        assert any(name.startswith("discs/wandb/offline-run-") for name in left)
