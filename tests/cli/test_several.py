"""`--devices` and `--nodes`: one answer, whatever the number of processes."""

import os
import socket
import subprocess
import sys

import pytest

from aerostat.__main__ import main
from aerostat.demo import CHECKPOINT
from aerostat.scenes.balloons import write_balloons

STARTERS = ("LOCAL_RANK", "RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE")


@pytest.mark.parametrize("verb", [["train", "data"], ["train", "--resume", "run"], ["eval", "run", "data"]])
@pytest.mark.parametrize(("option", "words"), [("--devices", "0"), ("--nodes", "-1")])
def test_no_device_is_no_request(verb, option, words, capsys):
    assert main([*verb, option, words]) == 2
    assert f"Expected {option} to be at least 1, found {words}" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["train", "eval"])
def test_machines_must_be_able_to_find_each_other(verb, tmp_path, capsys, monkeypatch, drawn):
    for name in STARTERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    data = str(drawn(classes=("drawn balloon",)))
    words = {
        "train": [data, "--model", "rtmdet-nano", "--weights=", "--batch-size", "2", "--device", "cpu"],
        "eval": [str(CHECKPOINT), data],
    }
    assert main([verb, *words[verb], "--nodes", "2"]) == 2
    assert "need MASTER_ADDR, MASTER_PORT, NODE_RANK in the environment" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def start(words: list[str], **variables: str) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if key not in STARTERS}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "aerostat", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.mark.slow
def test_an_evaluation_prints_the_same_once_however_many_processes_share_it(tmp_path):
    data = write_balloons(tmp_path / "data", train=1, val=5, seed=3)
    words = [
        "eval",
        str(CHECKPOINT),
        str(data),
        "--classes",
        "drawn balloon",
        "--input-size",
        "160",
        "--json",
    ]
    alone, shared = start(words), start([*words, "--devices", "2"])
    expected, told = alone.communicate(timeout=600), shared.communicate(timeout=600)
    assert (alone.returncode, shared.returncode) == (0, 0), (expected, told)
    assert told[0] == expected[0] and '"ap": 0.' in told[0]


@pytest.mark.slow
def test_machines_with_other_data_are_refused_and_nothing_is_written(tmp_path, drawn):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    out = tmp_path / "run"
    recipe = ["--model", "rtmdet-nano", "--weights=", "--input-size", "64", "--batch-size", "2"]
    asked = [*recipe, "--device", "cpu", "--nodes", "2", "--out", str(out)]
    nodes = [
        start(
            ["train", str(drawn(train=train, name=f"data{number}")), *asked],
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
            NODE_RANK=str(number),
        )
        for number, train in enumerate((4, 3))
    ]
    (_, first), (silent, second) = (node.communicate(timeout=600) for node in nodes)
    assert [node.returncode for node in nodes] == [2, 2], (first, second)
    assert "has another training split than process 0 on" in first and "Process 1 on" in first
    assert not silent and not second and not out.exists()
