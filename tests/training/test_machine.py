"""What is said about the machine."""

import json
import os
from importlib import metadata

import pytest
import torch

from aerostat.training.machine import describe_environment, environment_line, memory_mb, thread_count
from aerostat.training.recipe import Recipe


@pytest.mark.parametrize(("processors", "threads"), [(1, 1), (4, 4), (64, 8)])
def test_threads_follow_the_processors_up_to_eight(monkeypatch, processors, threads):
    monkeypatch.setattr("aerostat.training.machine.usable_processors", lambda: processors)
    assert thread_count(Recipe()) == threads


@pytest.mark.parametrize("threads", [0, 3, 100])
def test_threads_that_are_asked_for_are_taken(threads):
    assert thread_count(Recipe().override({"data": {"threads": threads}})) == threads


@pytest.mark.parametrize(("asked", "processes", "each"), [(8, 2, 4), (3, 2, 1), (1, 4, 1), (0, 2, 0)])
def test_processes_of_a_machine_share_its_threads(asked, processes, each):
    assert thread_count(Recipe().override({"data": {"threads": asked}}), processes) == each


def test_the_memory_of_this_process_is_counted_in_mebibytes():
    block = bytearray(os.urandom(1 << 20)) * 300  # 300 MiB that were touched
    assert 300 <= memory_mb(torch.device("cpu")) < 100_000
    assert len(block)


def test_the_environment_names_what_a_bug_report_needs_and_fits_json():
    environment = json.loads(json.dumps(describe_environment()))
    assert environment["packages"]["torch"] == metadata.version("torch")
    assert environment["packages"]["aerostat"]
    assert {"python", "platform", "processors", "threads", "gpus", "command"} <= set(environment)


def test_the_line_for_the_console_names_versions_and_device():
    line = environment_line(describe_environment(), torch.device("cpu"))
    assert f"torch {metadata.version('torch')}" in line
    assert "on cpu" in line
    assert "\n" not in line


def test_a_package_that_is_missing_has_no_version(monkeypatch):
    installed = metadata.version

    def version(package):
        if package == "onnx":
            raise metadata.PackageNotFoundError(package)
        return installed(package)

    monkeypatch.setattr(metadata, "version", version)
    packages = describe_environment()["packages"]
    assert packages["onnx"] is None and packages["torch"]
