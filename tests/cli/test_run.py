"""How a command ends."""

import errno
import os
import subprocess
import sys

import pytest

from aerostat.__main__ import main


@pytest.mark.parametrize(
    ("failure", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "Interrupted."),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "big.json"),
            1,
            "No space left on device (big.json)",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 1, "Permission denied (/root/x)"),
    ],
)
def test_what_stops_a_command_is_said_without_a_traceback(
    aerostat, monkeypatch, failure, code, words, assert_refused
):
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("aerostat.datasets.convert.convert", fail)
    assert_refused(aerostat("convert", "a", "b"), words, code=code)


def test_a_bug_is_not_dressed_up_as_bad_input(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("aerostat.datasets.convert.convert", fail)
    with pytest.raises(ZeroDivisionError):
        main(["convert", "a", "b"])


def test_a_reader_that_goes_away_is_no_failure_worth_a_traceback():
    process = subprocess.Popen(
        [sys.executable, "-m", "aerostat", "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_terminal_that_cannot_show_a_name_does_not_stop_the_command(tmp_path, write_via):
    write_via(tmp_path / "照片", ["train"])
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "aerostat",
            "convert",
            str(tmp_path / "照片" / "train"),
            "出.json",
            "--classes",
            "球",
        ],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"\\u51fa.json: 3 images, 3 objects of 1 class (\\u7403)")


# --- how much is said


@pytest.mark.parametrize(
    "words", [["-v", "lint"], ["--verbose", "lint"], ["lint", "-v"], ["lint", "--verbose"]]
)
def test_verbose_adds_the_traceback_of_an_error(aerostat, words):
    ended = aerostat(*words, "nowhere")
    assert (ended.code, ended.out) == (2, "")
    *details, last = ended.err.splitlines()
    assert last.startswith("aerostat: Expected a data set, found nothing at nowhere")
    assert details[0].startswith("cli.run: ") and "Traceback (most recent call last):" in details
    assert "Traceback" not in aerostat("lint", "nowhere").err


@pytest.mark.parametrize("words", [["-q", "eval"], ["eval", "-q"], ["eval", "--quiet"]])
def test_quiet_leaves_warnings_and_results(aerostat, tmp_path, write_via, weights, words):
    data = write_via(tmp_path / "d", ["train"])
    (data / "train" / "1.jpg").write_bytes(b"no image")
    loud = aerostat("eval", weights, data, "--json")
    quiet = aerostat(*words, weights, data, "--json")
    assert "there is no val split" in loud.err and "there is no val split" not in quiet.err
    assert quiet.err.startswith("warning: train: unreadable image (1)")
    assert quiet.document == loud.document


def test_a_json_document_stays_clean_when_details_are_logged(aerostat, coco, weights):
    plain, detailed = (aerostat("eval", weights, coco, "--json", *words) for words in ([], ["-v"]))
    assert plain.document == detailed.document


def test_verbose_and_quiet_exclude_each_other(aerostat, assert_refused):
    assert_refused(aerostat("models", "-v", "-q"), "--verbose and --quiet")


def test_a_word_after_two_dashes_is_no_option(aerostat, assert_refused):
    assert_refused(aerostat("lint", "--", "-v"), "found nothing at -v")
