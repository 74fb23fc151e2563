"""The OpenVINO engine: threads, refusals, and no telemetry."""

import copy
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from aerostat.errors import InputError
from aerostat.geometry.postprocess import Candidates
from aerostat.inference.backends.engine import NotNumbersError
from aerostat.inference.backends.exported import Exported
from aerostat.inference.backends.onnxruntime import onnx_engine
from aerostat.inference.backends.openvino import openvino_engine, read_openvino_entry
from aerostat.model.onnx_graph import onnx_model


def engine_of(net, kind=openvino_engine, *, size=(96, 64), batch=1):
    model = onnx_model(net, input_size=size, batch=batch)
    return kind(model.SerializeToString(), Exported("nano", ("a", "b", "c"), size, False, batch))


def columns(boxes: Candidates) -> list[np.ndarray]:
    return [boxes.boxes_xyxy, boxes.scores, boxes.labels]


def found_by(engine, images):
    return engine.candidates(images, score_threshold=0.1, pre_nms=30000)


def test_it_gives_what_onnx_runtime_gives(lively, noise):
    images = noise(4, 96, 64)
    ours, theirs = (
        found_by(engine_of(lively(), kind, batch=3), images) for kind in (openvino_engine, onnx_engine)
    )
    for mine, other in zip(ours, theirs, strict=True):
        assert len(mine.scores) > 5
        np.testing.assert_allclose(mine.scores, other.scores, atol=1e-4)
        np.testing.assert_allclose(mine.boxes_xyxy, other.boxes_xyxy, atol=1e-3)


@pytest.mark.parametrize("threads", [1, 4])
def test_called_by_several_threads_at_once_it_gives_what_it_gives_to_one(lively, noise, threads):
    engine = engine_of(lively())
    images = [noise(1, 96, 64, seed=seed) for seed in range(12)]
    with engine.concurrent(threads) as shared, ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: found_by(shared, image), images))
        alone = [found_by(shared, image) for image in images]
    for (ours,), (theirs,) in zip(together, alone, strict=True):
        for mine, other in zip(columns(ours), columns(theirs), strict=True):
            np.testing.assert_array_equal(mine, other)


def test_what_it_gave_stays_when_it_is_asked_again(lively, noise):
    engine = engine_of(lively())
    (first,) = found_by(engine, noise(1, 96, 64, seed=1))
    before = [values.copy() for values in columns(first)]
    found_by(engine, noise(1, 96, 64, seed=2))
    for values, kept in zip(columns(first), before, strict=True):
        np.testing.assert_array_equal(values, kept)


def test_another_size_of_input_is_refused_in_one_sentence(lively, noise):
    with pytest.raises(InputError, match="96 x 64 px only, found 64 x 96"):
        found_by(engine_of(lively()), noise(1, 64, 96))


def test_weights_that_are_not_numbers_raise_naming_the_image(lively, noise):
    net = copy.deepcopy(lively())
    with torch.no_grad():
        net.bbox_head.rtm_reg[2].bias[:] = float("nan")
    with pytest.raises(NotNumbersError) as caught:
        found_by(engine_of(net), noise(2, 96, 64))
    assert caught.value.image == 0


@pytest.mark.parametrize("content", [b"", b"<?xml version='1.0'?><net>", b"no model"])
def test_what_is_no_model_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "model.xml"
    path.write_bytes(content)
    with pytest.raises(InputError, match="no whole OpenVINO model"):
        read_openvino_entry(path)
    with pytest.raises(InputError, match="cannot be run by OpenVINO") as caught:
        openvino_engine(path, Exported("nano", ("a",), (64, 64)))
    assert "\n" not in str(caught.value)


def test_it_is_imported_without_telling_anybody(tmp_path):
    """Its own import writes an identifier into the home folder and reports to a server."""
    code = (
        "import socket, sys\n"
        "from aerostat.inference.backends.openvino import openvino_module\n"
        "def refuse(*_, **__): raise SystemExit('the network was asked for')\n"
        "socket.getaddrinfo = socket.socket.connect = refuse\n"
        "openvino = openvino_module()\n"
        "assert openvino is openvino_module() and openvino.Core\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry')]\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    environment.pop("CI", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    sys.platform != "linux", reason="the stack of signal handlers is looked at as Linux has it"
)
def test_ctrl_c_is_handled_after_a_model_has_come_and_gone():
    """In a process of its own, since only the first model that is compiled in one takes the stack."""
    script = """
import ctypes, faulthandler, signal
from aerostat.inference.backends.exported import Exported
from aerostat.inference.backends.openvino import openvino_engine
from aerostat.model.onnx_graph import onnx_model
from aerostat.model import build

faulthandler.enable()  # it handles crashes on a stack of its own, as the signals of Python then do
model = onnx_model(build("nano", 1).eval(), input_size=(64, 64), batch=1).SerializeToString()


class Stack(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


before, after = Stack(), Stack()
library = ctypes.CDLL(None)
library.sigaltstack(None, ctypes.byref(before))
engine = openvino_engine(model, Exported("nano", ("a",), (64, 64)))
library.sigaltstack(None, ctypes.byref(after))
assert (before.start, before.size) == (after.start, after.size), "handlers run elsewhere now"
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("handled")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, encoding="utf-8")
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
