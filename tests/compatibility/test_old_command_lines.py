"""Every option of version 0.1.0 is taken still, with its choices and its default."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

RECORDED = json.loads((Path(__file__).with_name("data") / "options.json").read_text("utf-8"))
SAMPLES = {"STR": "word", "INT": "3", "FLOAT": "0.5", "PATH": "taken"}
OPTION = re.compile(r"^│ (?P<names>--[\w-]+(?: --?[\w-]+)*)(?: [A-Z][A-Z. ]*?)? {2,}(?P<text>.*?) *│$")


def values(option):
    """Yield lists of words, each of which the option took in version 0.1.0."""
    if option["kind"] == "FLAG":
        yield []
    elif option["choices"]:
        yield from ([choice] for choice in option["choices"])
    else:
        yield [SAMPLES[kind] for kind in option["kind"].rstrip(".").split()]


def was_parsed(ended):
    """Return whether the words of a command were understood: what is not refers to the help page."""
    return not ended.err.rstrip().endswith("--help.")


@pytest.fixture(autouse=True)
def taken(here, tmp_path, monkeypatch):
    """Work where no file is that a command names, but a folder `taken`, which no command writes into."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file.txt").write_text("taken")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AEROSTAT_MIRROR", "http://127.0.0.1:9")  # nothing is to be fetched


@pytest.mark.parametrize("verb", RECORDED)
def test_every_option_with_every_choice_is_parsed(aerostat, verb):
    arguments = RECORDED[verb]["arguments"]
    for option in RECORDED[verb]["options"]:
        for name in option["names"]:
            for words in values(option):
                ended = aerostat(verb, *arguments, name, *words)
                assert was_parsed(ended), (name, words, ended.err)


@pytest.mark.parametrize("verb", RECORDED)
def test_what_is_no_option_is_not_parsed(aerostat, verb):
    ended = aerostat(verb, *RECORDED[verb]["arguments"], "--no-such-option")
    assert ended.code == 2
    assert not was_parsed(ended)


@pytest.fixture(scope="module")
def help_pages(one_thread_environment):
    """Return the help page of each verb, so wide that every option has one line."""
    program = (
        "import sys; from aerostat.__main__ import main\n"
        "for verb in sys.argv[1:]: main([verb, '--help']); print('END OF PAGE')"
    )
    environment = {**one_thread_environment, "COLUMNS": "300", "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", program, *RECORDED]
    printed = subprocess.run(
        command, env=environment, capture_output=True, text=True, encoding="utf-8", check=True
    ).stdout
    return dict(zip(RECORDED, printed.split("END OF PAGE\n"), strict=False))


@pytest.mark.parametrize("verb", [verb for verb in RECORDED if RECORDED[verb]["options"]])
def test_the_help_page_names_every_option_with_its_default(help_pages, verb):
    lines = [OPTION.match(line) for line in help_pages[verb].splitlines()]
    texts = {name: line["text"] for line in lines if line for name in line["names"].split()}
    for option in RECORDED[verb]["options"]:
        for name in option["names"]:
            assert name in texts
            if option["default"] is not None:
                assert texts[name].endswith(f"[default: {option['default']}]"), name
