"""How many threads compute in a container: control groups in a folder of our own stand for Linux's."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from aerostat import processors
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.devices import respect_quota
from aerostat.model import build
from aerostat.processors import (
    compute_threads,
    processor_quota,
    set_threads_by_quota,
    threads_within_quota,
    usable_processors,
)
from aerostat.training.machine import thread_count
from aerostat.training.processes import launch
from aerostat.training.recipe import Recipe

Container = Callable[..., None]


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Container:
    """Let this process be in a control group, with the quota of each group by its path, on 8 processors."""
    root = tmp_path / "cgroup"
    root.mkdir()
    monkeypatch.setattr(processors, "CONTROL_GROUPS", root)
    monkeypatch.setattr(processors, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def be(quotas: dict[str, str], membership: str = "0::/\n") -> None:
        (tmp_path / "membership").write_text(membership)
        for group, text in quotas.items():
            (root / group).mkdir(parents=True, exist_ok=True)
            (root / group / "cpu.max").write_text(text)

    return be


@pytest.fixture
def eight_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("text", "quota", "threads"),
    [
        ("max 100000\n", None, 8),
        ("150000 100000\n", 1.5, 2),  # the second thread uses the other half
        ("200000 100000\n", 2.0, 2),
        ("20000 100000\n", 0.2, 1),
        ("6400000 100000\n", 64.0, 8),  # more than the affinity allows
        ("100000", None, 8),
        ("0 0", None, 8),
        ("-1 100000", None, 8),
        ("", None, 8),
        ("² 3", None, 8),
    ],
)
def test_a_quota_is_processors_rounded_up(
    container: Container, text: str, quota: float | None, threads: int
) -> None:
    container({".": text})
    assert processor_quota() == quota
    assert usable_processors() == compute_threads() == threads


def test_the_smallest_quota_above_the_process_counts(container: Container) -> None:
    quotas = {"pod": "300000 100000", "pod/box": "max 100000", "pod/box/inner": "400000 100000"}
    container({**quotas, "other": "100000 100000"}, "12:cpu:/elsewhere\n0::/pod/box/inner\n")
    assert usable_processors() == 3


@pytest.mark.parametrize("membership", ["", "0::/../outside\n", "1:cpu:/pod\n", "nonsense"])
def test_a_group_that_is_not_seen_leaves_the_root_s_quota(container: Container, membership: str) -> None:
    container({".": "200000 100000", "pod": "100000 100000"}, membership)
    assert usable_processors() == 2


def test_without_control_groups_the_affinity_counts(container: Container) -> None:
    assert processor_quota() is None
    assert usable_processors() == 8
    assert threads_within_quota(5) == 5


def test_systems_without_affinity_count_their_processors(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for count, usable in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert usable_processors() == usable


@pytest.mark.parametrize(("asked", "threads"), [("3", 3), ("1", 1), ("", 2), ("0", 2), ("many", 2)])
def test_what_the_user_asks_for_beats_the_quota(
    container: Container, monkeypatch: pytest.MonkeyPatch, asked: str, threads: int
) -> None:
    container({".": "200000 100000"})
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert compute_threads() == threads


def test_the_variable_for_the_runtimes_is_set_by_a_quota_alone(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_threads_by_quota()
    assert "OMP_NUM_THREADS" not in os.environ
    container({".": "200000 100000"})
    set_threads_by_quota()
    assert os.environ["OMP_NUM_THREADS"] == "2"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    set_threads_by_quota()
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_torch_is_lowered_to_the_quota_and_never_raised(
    container: Container, eight_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    respect_quota()
    assert torch.get_num_threads() == 8
    container({".": "300000 100000"})
    monkeypatch.setenv("OMP_NUM_THREADS", "8")  # the user insists
    respect_quota()
    assert torch.get_num_threads() == 8
    monkeypatch.delenv("OMP_NUM_THREADS")
    respect_quota()
    assert torch.get_num_threads() == 3
    container({".": "500000 100000"})
    respect_quota()
    assert torch.get_num_threads() == 3


def test_a_training_and_its_decoding_keep_to_the_quota(container: Container, eight_threads: None) -> None:
    container({".": "200000 100000"})
    launch(Recipe().override({"run": {"device": "cpu"}}))
    assert torch.get_num_threads() == 2
    assert thread_count(Recipe()) == 2


def test_prediction_with_torch_keeps_to_the_quota(container: Container, eight_threads: None) -> None:
    container({".": "200000 100000"})
    engine = TorchEngine(build("nano", 1).eval())
    engine.candidates(np.zeros((1, 64, 64, 3), np.uint8), score_threshold=0.5, pre_nms=10)
    assert torch.get_num_threads() == 2


def test_onnxruntime_and_openvino_are_given_the_quota_s_threads(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aerostat.inference.backends.onnxruntime import onnx_engine
    from aerostat.inference.backends.openvino import openvino_engine

    onnxruntime, openvino = pytest.importorskip("onnxruntime"), pytest.importorskip("openvino")
    container({".": "200000 100000"})
    told: list[int] = []

    def session(model: bytes, options: object, providers: list[str]) -> object:
        told.append(options.intra_op_num_threads)
        raise RuntimeError("told enough")

    def compile_model(core: object, model: object, device: str, settings: dict[str, object]) -> object:
        told.append(settings["INFERENCE_NUM_THREADS"])
        raise RuntimeError("told enough")

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(openvino.Core, "read_model", lambda core, model: model)
    monkeypatch.setattr(openvino.Core, "compile_model", compile_model)
    for engine in (onnx_engine, openvino_engine):
        with pytest.raises(Exception, match="told enough"):
            engine(b"model", None)
    assert told == [2, 2]
