"""What is in the files that W&B writes offline, and what is refused before a run begins."""

import json
import os
import socket
import struct
import subprocess
import sys

import pytest

pytest.importorskip("wandb", reason="the extra [wandb] is not installed")

from aerostat.errors import InputError
from aerostat.training.logs import Delivery, WandB

BLOCK = 32 * 1024
KEY = "0123456789abcdef" * 3


def records(path):
    """Return the records of an offline file by kind."""
    from wandb.proto.wandb_internal_pb2 import Record

    return [Record.FromString(content) for content in chunks(path.read_bytes())]


def chunks(content):
    """Yield what is in a log of LevelDB's form, which begins with 7 bytes of W&B's own."""
    whole, at = b"", 7
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:  # a header does not go over the end of a block
            at += BLOCK - at % BLOCK
            continue
        _checksum, length, kind = struct.unpack_from("<IHB", content, at)
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or last part
            yield whole
            whole = b""


@pytest.fixture
def no_keys(monkeypatch, tmp_path):
    """No key is stored for any server."""
    monkeypatch.setenv("NETRC", str(tmp_path / "no.netrc"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.slow
def test_a_run_is_written_offline_into_its_folder(run, deliver, examples, no_keys, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    deliver(Delivery(WandB()), examples)
    (path,) = run.path.glob("wandb/offline-run-*/*.wandb")
    found = records(path)
    history = [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in found
        if record.WhichOneof("record_type") == "history"
    ]
    assert [row["train/loss"] for row in history if "train/loss" in row] == [2.0, 1.0]
    assert [(row["iteration"], row["val/ap"]) for row in history if "val/ap" in row] == [(2, 0.25)]
    assert (
        sum(any(key.startswith("val/1_") or key.startswith("val/2_") for key in row) for row in history) == 2
    )
    artifacts = {record.artifact.type for record in found if record.WhichOneof("record_type") == "artifact"}
    assert {"model", "run", "curves"} <= artifacts
    assert not [file for file in run.path.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]
    known = json.loads((run.path / "logs.json").read_text())["wandb"]["id"]
    assert path.name == f"run-{known}.wandb"


def test_online_without_a_key_is_refused_before_the_run(no_keys, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(InputError, match="WANDB_API_KEY"):
        WandB()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert WandB().chosen_mode == "online"


def test_a_stored_key_will_do(monkeypatch, tmp_path):
    stored = tmp_path / "netrc"
    stored.write_text(f"machine api.wandb.ai\n  login user\n  password {KEY}\n")
    stored.chmod(0o600)
    monkeypatch.setenv("NETRC", str(stored))
    assert WandB(mode="online").chosen_mode == "online"


def test_an_unknown_mode_is_refused(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    with pytest.raises(InputError, match="sometimes"):
        WandB()


def test_nothing_is_online_unless_it_is_asked_for():
    assert WandB().chosen_mode == "offline"
    assert "WANDB_ERROR_REPORTING" not in os.environ


SILENT = """
import socket, sys
from aerostat.runs.directory import Run
from aerostat.training.logs import Delivery, WandB
from aerostat.training.recipe import Recipe
import wandb
run = Run(__import__("pathlib").Path(sys.argv[1]))
log = Delivery(WandB(mode="online", deadline_s=2.0))
log.start(run, Recipe())
log.log({"kind": "train", "epoch": 1, "iteration": 1, "loss": 1.0})
log.close()
"""


@pytest.mark.slow
def test_a_server_that_never_answers_lets_the_process_end(run):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        environment = {**os.environ, "WANDB_BASE_URL": address, "WANDB_API_KEY": KEY}
        done = subprocess.run(
            [sys.executable, "-c", SILENT, str(run.path)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=80,  # of W&B's own wait
        )
    assert done.returncode == 0
    assert "W&B did not get 2 files, 1 record: it did not answer within 2 s of the end" in done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr
