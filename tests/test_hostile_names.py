"""Names of classes and files that are markup or obeyed by terminals: text on every page and in every line."""

from __future__ import annotations

import dataclasses
import html.parser
import io
import json
import re
import sys
from pathlib import Path

import pytest
from rich.text import Text

from aerostat.__main__ import main
from aerostat.cli import console
from aerostat.cli.console import document
from aerostat.demo import CHECKPOINT
from aerostat.progress import escaping
from aerostat.runs.directory import Run
from aerostat.scenes.balloons import write_balloons
from aerostat.text import plain, shown
from aerostat.training.recipe import Recipe
from aerostat.weights.checkpoint import load_weights, save_weights

MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&{{7*7}}$\\frac{[red]</title></style>"
OBEYED = "\x1b[2J\x1b]0;title\x07\x9b2J\r\b\x7f\u202e"
CLASS = MARKUP + OBEYED
FILE = "<script>alert(2)<script>\"'><img src=x onerror=alert(2)>&{{7*7}}[red]\x1b[2J\r\n\u202e.jpg"
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Elements(html.parser.HTMLParser):
    """The elements of a page and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and a run whose class and one of whose photographs have such names."""
    root = tmp_path_factory.mktemp("hostile")
    data = write_balloons(root / "data", train=3, val=2, seed=5)
    for split in ("train", "val"):
        (annotations,) = (path for path in (data / split).iterdir() if path.suffix == ".json")
        entries = json.loads(annotations.read_text())
        for entry in entries.values():
            for region in entry["regions"].values():
                region["region_attributes"] = {"class": CLASS}
            if entry["filename"].endswith("1.jpg"):
                (data / split / entry["filename"]).rename(data / split / FILE)
                entry["filename"] = FILE
        annotations.write_text(json.dumps(entries))
    run = Run(root / "run<script>")
    run.create()
    values = {"model": {"size": "nano"}, "data": {"input_size": 320}, "optim": {"batch_size": 2}}
    Recipe().override({**values, "schedule": {"epochs": 2}}).write(run.recipe)
    run.environment.write_text(json.dumps({"data": {"path": str(data), "classes": [CLASS]}}))
    weights = load_weights(CHECKPOINT)
    save_weights(run.best, weights.state, dataclasses.replace(weights.header, classes=(CLASS,)))
    return root


@pytest.mark.slow
def test_a_reports_names_are_text_in_elements_attributes_and_the_title(hostile: Path) -> None:
    assert main(["report", str(hostile / "run<script>")]) == 0
    page = (hostile / "run<script>" / "report.html").read_text("utf-8")
    elements = Elements(page).found
    tags = {tag for tag, _ in elements}
    assert not tags & {"script", "iframe", "object", "embed", "form", "base"}
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
    sources = [attributes["src"] or "" for tag, attributes in elements if tag == "img"]
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert "&lt;script&gt;alert(1)" in page and "<title>run&lt;script&gt;</title>" in page
    assert "{{7*7}}" in page and page.count("</title>") == page.count("</style>") == 1


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["predict", "predict --json", "eval", "convert", "explain"])
def test_no_verb_prints_what_a_terminal_obeys(
    hostile: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], verb: str
) -> None:
    weights, data, out = (
        str(hostile / "run<script>" / "best.safetensors"),
        hostile / "data",
        str(tmp_path / "o"),
    )
    arguments = {
        "predict": ["predict", weights, str(data / "val"), "--out", out],
        "predict --json": ["predict", weights, str(data / "val"), "--out", out, "--json"],
        "eval": ["eval", weights, str(data)],
        "convert": ["convert", str(data), out],
        "explain": ["explain", weights, str(data / "val" / FILE), "--out", out],
    }[verb]
    assert main(arguments) == 0
    printed = "".join(capfd.readouterr())
    assert _CONTROLS.findall(printed) == []
    assert "script" in printed


def test_a_sentence_about_a_missing_file_is_one_line_of_text(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "x.pth", f"nowhere{OBEYED}\n.jpg"]) == 2
    printed = capfd.readouterr().err
    assert _CONTROLS.findall(printed) == [] and printed.count("\n") == 1
    assert r"nowhere\x1b[2J" in printed


def test_consoles_write_foreign_text_as_text_and_keep_their_own_colours() -> None:
    from rich.console import Console

    file = io.StringIO()
    terminal = escaping(Console(file=file, force_terminal=True, color_system="standard", width=200))
    terminal.print(Text("a\x1b[2Jb\nc", style="red"))
    assert file.getvalue() == "\x1b[31ma\\x1b[2Jb\x1b[0m\n\x1b[31mc\x1b[0m\n"


def test_notes_and_results_hold_nothing_but_text(capfd: pytest.CaptureFixture[str]) -> None:
    console.note("one [red]\x1b[2J\ntwo")
    console.tell("three\nfour\x9b", "five\u00a0\u3000six")
    out, err = capfd.readouterr()
    assert err == "one [red]\\x1b[2J\ntwo\n"
    assert out == "three\\nfour\\x9b\nfive\u00a0\u3000six\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("grün 气球 🎈", "grün 气球 🎈"),
        ("a\tb\0c", "a\\tb\\x00c"),
        ("\u202egpj", "\\u202egpj"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_prints_stays_and_what_does_not_is_escaped(text: str, expected: str) -> None:
    assert plain(text) == expected
    assert plain(plain(text)) == expected


def test_a_shown_value_is_quoted_in_one_line_and_cut() -> None:
    assert shown("a\nb") == r"'a\nb'"
    assert shown(7) == "7"
    assert len(shown("x" * 10**6)) == 60 and shown("x" * 10**6).endswith("...")


def test_a_json_document_holds_no_control_characters_and_means_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    content = {"name": f"grün{OBEYED}\u2028"}
    assert _CONTROLS.findall(document(content)) == []
    assert json.loads(document(content)) == content and "grün" in document(content)
