"""The verb `completion`."""

import re
import shutil
import subprocess

import pytest

from aerostat.cli import app

VERBS = {name for name in app if not name.startswith("-")}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_names_every_verb_and_options(aerostat, shell):
    ended = aerostat("completion", shell)
    assert (ended.code, ended.err) == (0, "")
    words = set(re.findall(r"[a-z0-9-]+", ended.out))
    assert words >= VERBS
    assert {option.lstrip("-") for option in ("--epochs", "--slices")} <= {word.lstrip("-") for word in words}


def test_a_shell_that_is_not_known_is_refused(aerostat, assert_refused):
    assert_refused(aerostat("completion", "tcsh"), "tcsh", "fish")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("tr", {"train"}), ("train --epo", {"--epochs"}), ("pre", {"predict"}), ("export --to on", {"onnx"})],
)
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_what_was_begun(aerostat, tmp_path, typed, expected):
    (tmp_path / "script").write_text(aerostat("completion", "bash").out)
    words = ["aerostat", *typed.split()]
    begun = f'. ./script; COMP_WORDS=("$@"); COMP_CWORD={len(words) - 1}'
    ask = f'{begun}; _aerostat; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "-c", ask, "bash", *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == expected
