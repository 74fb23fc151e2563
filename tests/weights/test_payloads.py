"""Checkpoints with programs in them that would do something: none does, whatever form the program has.

Each payload is first run by Python's own pickle, which shows that it is alive.
"""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from aerostat.errors import InputError
from aerostat.weights.checkpoint import load_weights
from aerostat.weights.pth import read_pth

LIVE = {
    "GLOBAL and REDUCE": b"cos\nmkdir\n(S'trace'\ntR",
    "builtins.exec": b"cbuiltins\nexec\n(S'import os; os.mkdir(\"trace\")'\ntR",
    "builtins.eval": b'cbuiltins\neval\n(S\'__import__("os").mkdir("trace")\'\ntR',
    "INST": b"(S'trace'\nios\nmkdir\n",
    "OBJ": b"(cos\nmkdir\nS'trace'\no",
    "STACK_GLOBAL": b"\x8c\x02os\x8c\x05mkdir\x93\x8c\x05trace\x85R",
    "STACK_GLOBAL from the memo": b"\x8c\x02os\x94\x8c\x05mkdir\x94h\x00h\x01\x93\x8c\x05trace\x85R",
    "a module in the same folder": b"cpayload\nMARK\n",
    "NEWOBJ": b"cpayload\nMaker\n)\x81",
    "NEWOBJ_EX": b"cpayload\nMaker\n)}\x92",
    "BUILD, which calls __setstate__": b"cpayload\nState\n)\x81}S'x'\nK\x01sb",
    "one after the other": b"cos\nmkdir\n(S'trace'\ntR0cos\nsystem\n(S'true'\ntR",
    "a reduce in a key": b"}(cos\nmkdir\n(S'trace'\ntRK\x01u",
}
MODULE = """
import os

def make():
    if not os.path.isdir("trace"):
        os.mkdir("trace")

MARK = 1

class Maker:
    def __new__(cls, *args, **kwargs):
        make()
        return object.__new__(cls)

class State:
    def __setstate__(self, state):
        make()
"""


def checkpoint(payload: bytes, zipped: bool) -> bytes:
    """A checkpoint of a tensor whose meta begins with a payload; protocol 4 for the newer instructions."""
    buffer = io.BytesIO()
    torch.save(
        {"state_dict": {"a": torch.ones(2)}, "meta": {}}, buffer, _use_new_zipfile_serialization=zipped
    )
    marker = b"}q"

    def with_payload(program: bytes) -> bytes:
        at = program.rindex(b"X\x04\x00\x00\x00meta")  # "meta": its value becomes the payload's
        end = program.index(marker, at)
        return program[:at] + b"X\x04\x00\x00\x00meta" + payload + b"0" + program[end:]

    if not zipped:
        content = buffer.getvalue()
        start = content.index(b"state_dict") - 20
        at = content.index(b"X\x04\x00\x00\x00meta", start)
        return content[:at] + b"X\x04\x00\x00\x00meta" + payload + b"0" + content[at + 9 :]
    out = io.BytesIO()
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(out, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            target.writestr(entry.filename, with_payload(data) if entry.filename.endswith(".pkl") else data)
    return out.getvalue()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize("name", LIVE)
def test_a_payload_that_python_would_run_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = MODULE + ("make()\n" if "same folder" in name else "")
    (tmp_path / "payload.py").write_text(module)
    path = tmp_path / "evil.pth"
    path.write_bytes(checkpoint(LIVE[name], zipped))
    try:
        assert torch.equal(read_pth(path).state["a"], torch.ones(2))
        with pytest.raises(InputError):  # of one tensor no network can be told
            load_weights(path)
        assert not (tmp_path / "trace").exists()
        assert "payload" not in sys.modules
        pickle.loads(b"\x80\x04" + LIVE[name] + b".")  # alive: Python's own machine leaves the trace
        assert (tmp_path / "trace").exists()
    finally:
        sys.modules.pop("payload", None)


DEAD = {
    "EXT1": b"\x82\x01",
    "EXT2": b"\x83\x01\x00",
    "EXT4": b"\x84\xff\xff\xff\x7f",
    "BINPERSID of a call": b"cos\nmkdir\n(S'trace'\ntRQ",
    "PERSID": b"Pos.mkdir\n",
    "BINPERSID of a function as a storage": b"(X\x07\x00\x00\x00storagecos\nmkdir\nS'0'\nS'cpu'\nK\x01tQ",
    "NEXT_BUFFER": b"\x97",
    "LONG4 of 2 GB": b"\x8b\xff\xff\xff\x7f\x01",
    "LONG4 of a negative length": b"\x8b\xff\xff\xff\xff\x01",
    "BINUNICODE8 of 8 exabytes": b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc",
    "BINBYTES8 of 8 exabytes": b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc",
    "BYTEARRAY8 of 8 exabytes": b"\x96\xff\xff\xff\xff\xff\xff\xff\x7fabc",
    "FRAME of 8 exabytes": b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
    "a memo that is not there": b"j\xff\xff\xff\x7f",
    "a memo of index 4 billion": b"Nr\xff\xff\xff\xff",
    "a number of a million digits": b"I" + b"9" * 1_000_000 + b"\n",
    "nested 50,000 deep": b"(" * 50_000 + b"t" * 50_000,
    "a list in itself": b"]\x94h\x00a",
    "no such instruction": b"\xff",
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize("name", DEAD)
def test_a_program_that_asks_for_the_impossible_is_refused_or_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    path.write_bytes(checkpoint(DEAD[name], zipped))
    try:
        assert torch.equal(read_pth(path).state["a"], torch.ones(2))
    except InputError as error:
        assert str(error).startswith(f"{path} ") and "\n" not in str(error) and len(str(error)) < 500
    assert [entry.name for entry in tmp_path.iterdir()] == ["evil.pth"]
