"""The variables of the environment that users of version 0.1.0 set have their effects."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from aerostat.images import limits


def test_aerostat_home_moves_the_cache(aerostat, monkeypatch, tmp_path):
    monkeypatch.setenv("AEROSTAT_HOME", str(tmp_path / "elsewhere"))
    rows = json.loads(aerostat("models", "--json").out)
    assert rows
    assert all(row["file"].startswith(str(tmp_path / "elsewhere" / "weights")) for row in rows)


def test_aerostat_mirror_names_another_server(aerostat, monkeypatch):
    monkeypatch.setenv("AEROSTAT_MIRROR", "https://mirror.example/models/")
    rows = json.loads(aerostat("models", "--json").out)
    assert rows
    assert all(row["url"] == f"https://mirror.example/models/{row['path']}" for row in rows)


def test_aerostat_most_pixels_lets_a_large_drawing_be_read(aerostat, monkeypatch, tmp_path):
    # Version 0.1.0 refused this size. Cameras reach it now, so the limit is lowered to what it was.
    monkeypatch.setattr(limits, "CAMERA_PIXELS", 30_000_000)
    drawing = tmp_path / "drawing.png"
    assert cv2.imwrite(str(drawing), np.zeros((6000, 8000, 3), np.uint8))
    words = ("predict", "finished", drawing, "--no-pictures", "--out", tmp_path / "found", "--json")
    monkeypatch.delenv("AEROSTAT_MOST_PIXELS", raising=False)
    refused = aerostat(*words)
    assert refused.code == 1
    assert "AEROSTAT_MOST_PIXELS=48000000" in refused.out + refused.err
    monkeypatch.setenv("AEROSTAT_MOST_PIXELS", "48000000")
    read = aerostat(*words)
    assert read.code == 0, read.err
    assert json.loads(read.out)["images"][0]["image_size"] == [8000, 6000]


@pytest.mark.slow
def test_omp_num_threads_says_how_many_threads_compute(one_thread_environment):
    command = [sys.executable, "-m", "aerostat", "doctor"]
    for threads in (1, 2):
        environment = {**one_thread_environment, "OMP_NUM_THREADS": str(threads)}
        printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert json.loads(printed)["threads"] == threads
