"""This version resumes, evaluates and reports runs of version 0.1.0, with the same figures."""

import json
import shutil

import numpy as np
import pytest

import aerostat as ae

NOT_COMPARED = {"images_per_second", "memory_mb"}


def lines(run, kind):
    every = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if k not in NOT_COMPARED} for line in every if line["kind"] == kind
    ]


@pytest.mark.slow
@pytest.mark.parametrize("named", [False, True], ids=["data from the state", "data named"])
def test_a_stopped_run_is_resumed_to_the_figures_of_the_old_version(
    aerostat, old_run, here, recorded, assert_as_recorded, named
):
    run = old_run("stopped")
    assert len(lines(run, "val")) == 1
    data = [here / "scenes", "--classes", "drawn balloon"] if named else []
    ended = aerostat("train", *data, "--resume", run)
    assert ended.code == 0, ended.err
    before = recorded("resumed")
    assert len(before["val"]) == 3
    for kind in ("train", "val"):
        assert_as_recorded(before[kind], lines(run, kind), kind)
    for name in ("best.safetensors", "last.safetensors", "last.ckpt", "recipe.toml", "report.html"):
        assert (run / name).is_file(), name
    again = aerostat("train", "--resume", run)
    assert again.code == 2
    assert "finished" in again.err


@pytest.mark.slow
def test_a_stopped_run_is_resumed_from_python(old_run, recorded, assert_as_recorded):
    run = old_run("stopped")
    ae.resume(run)
    for kind in ("train", "val"):
        assert_as_recorded(recorded("resumed")[kind], lines(run, kind), kind)


@pytest.mark.parametrize("name", ["best", "last"])
def test_weights_say_what_they_are_for(name):
    detector = ae.load(f"finished/{name}.safetensors", device="cpu")
    assert tuple(detector.classes) == ("drawn balloon",)
    assert tuple(detector.input_size) == (192, 192)


def test_the_detections_of_a_finished_run_are_the_same(here, arrays):
    detector = ae.load("finished", device="cpu")
    before = arrays("scenes")
    images = sorted((here / "scenes" / "val").glob("*.jpg"))
    assert len(images) == 4
    for image in images:
        found = detector.predict(image, score=0.1)
        at = f"finished/{image.name}"
        assert len(found) == len(before[f"{at}/scores"]) > 0
        np.testing.assert_allclose(found.boxes_xyxy, before[f"{at}/boxes_xyxy"], rtol=0, atol=1e-4)
        np.testing.assert_allclose(found.scores, before[f"{at}/scores"], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(found.labels, before[f"{at}/labels"])


@pytest.mark.slow
def test_a_finished_run_is_reported(aerostat, old_run):
    run = old_run("finished")
    ended = aerostat("report", run)
    assert ended.code == 0, ended.err
    page = (run / "report.html").read_text("utf-8")
    assert "drawn balloon" in page
    best = max(line["ap"] for line in lines(run, "val"))
    assert f"{best:.3f}" in page


def test_an_old_export_beside_old_weights_is_taken_for_them(aerostat, here, old_run):
    run = old_run("finished")
    shutil.copy(here / "exports" / "float32.onnx", run / "best.onnx")
    ended = aerostat("eval", run, "scenes", "--json")
    assert ended.code == 0, ended.err
    assert "best.onnx" in ended.err


def test_a_directory_that_holds_an_old_run_is_not_overwritten(aerostat, old_run):
    run = old_run("stopped")
    ended = aerostat("train", "scenes", "--classes", "drawn balloon", "--out", run)
    assert ended.code == 2
    assert "--resume" in ended.err
