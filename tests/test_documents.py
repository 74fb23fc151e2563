"""What README and docs say holds: links lead somewhere, commands are understood and run, snippets run."""

import itertools
import re
import shlex
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

import aerostat
from aerostat.__main__ import main
from aerostat.cli import app
from aerostat.runs.directory import Run
from aerostat.scenes.balloons import write_balloons
from aerostat.video.capture import be_quiet
from aerostat.weights import zoo

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
]
NAMES = [document.relative_to(ROOT).as_posix() for document in DOCUMENTS]
IMAGE_SUFFIXES = (".jpg", ".png")

NOT_HERE = {
    "aerostat demo": "trains for minutes; tests/test_demo.py has its own",
    "aerostat train --resume runs/balloon": "goes on with a run that was stopped; tests/training have it",
    "aerostat train balloon/ --classes balloon --weights rtmdet-nano-person --devices 2 --device cpu "
    "--epochs 2 --input-size 320": ("starts itself again, which here is pytest; tests/processes has it"),
    "aerostat train DATA --slices 640": "on the reader's data; tests/pipeline has it",
    "aerostat predict rtmdet-nano.onnx rtsp://name:password@door/1 --segment 10min --out door/": (
        "asks a camera; tests/video/test_live.py has it"
    ),
}
"""Commands that are understood, but not run by these tests."""


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


# --- what stands in a document


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """Return a document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """Return what stands between backticks outside of blocks."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(text))]


def lines(text: str) -> list[str]:
    """Return the commands of the shell blocks, and of indented lines, one at a time and without comments."""
    typed = [line for block in blocks(text, "sh") for line in block.splitlines()]
    typed += re.findall(r"^    (?:aerostat|python -m aerostat) .*$", prose(text), re.MULTILINE)
    commands = [shlex.join(shlex.split(line, comments=True)) for line in typed]
    return [
        part.strip()
        for command in commands
        for part in command.replace("'&&'", "&&").split("&&")
        if part.strip()
    ]


def headings(text: str) -> list[tuple[int, str]]:
    """Return level and words of the headings."""
    return [(len(marks), words) for marks, words in re.findall(r"^(#+) (.+)$", prose(text), re.MULTILINE)]


def anchors(text: str) -> set[str]:
    """Return the names under which a page of the project's host shows its headings."""
    found: set[str] = set()
    for _, words in headings(text):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", words).lower()
        kept = "".join(c for c in words if c in " -_" or unicodedata.category(c)[0] in "LN")
        name = kept.replace(" ", "-")
        found.add(next(n for i in range(99) if (n := f"{name}-{i}" if i else name) not in found))
    return found


def links(text: str) -> list[str]:
    """Return where links and pictures lead."""
    return re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", prose(text))


# --- links


def broken(link: str, document: Path) -> str | None:
    """Return what is wrong with a link, None if nothing is."""
    if "://" in link:
        parts = urlsplit(link)
        sane = parts.scheme == "https" and re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc)
        return None if sane else "no https address"
    target, _, anchor = link.partition("#")
    path = (document.parent / target).resolve() if target else document
    if not path.exists():
        return "leads nowhere"
    if not path.is_relative_to(ROOT):
        return "leads out of the project"
    if anchor and anchor not in anchors(path.read_text("utf-8")):
        return f"there is no heading {anchor!r}"
    return None


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    assert {link: why for link in links(text_of(name)) if (why := broken(link, ROOT / name))} == {}


@pytest.mark.parametrize(
    "link", ["missing.md", "#no-such-heading", "docs/nothing.md#x", "http://a.b/c", "https://x", "../../x"]
)
def test_a_broken_link_is_found(link: str) -> None:
    assert broken(link, ROOT / "README.md")


@pytest.mark.parametrize(
    "link", ["#figures", "docs/architecture.md#floors", "LICENSE", "https://arxiv.org/abs/2212.07784"]
)
def test_a_good_link_passes(link: str) -> None:
    assert broken(link, ROOT / "README.md") is None


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_pictures_are_small_enough_to_load(name: str) -> None:
    for link in links(text_of(name)):
        if link.endswith(IMAGE_SUFFIXES):
            assert (ROOT / link).stat().st_size < 1_000_000


# --- commands are understood


def understood(command: str) -> None:
    """Let the command line read a command without running it; it raises where it does not understand."""
    words = shlex.split(command.replace("VERB", "predict"))[1:]
    words = words[2:] if words[:2] == ["-m", "aerostat"] else words
    if words and not set(words) & {"--help", "--version"}:
        app.parse_args(words, exit_on_error=False, print_error=False)


def commands(name: str) -> list[str]:
    """Return what a document tells to type, in blocks and in its sentences."""
    text = text_of(name)
    typed = [line for line in lines(text) if re.match(r"(python -m )?aerostat\b", line)]
    typed += [span for span in spans(text) if re.match(r"aerostat [a-zA-Z-]", span) and "..." not in span]
    named = [command for command in typed if len(command.split()) > 2 or command.split()[1].startswith("-")]
    verbs = [command for command in typed if command not in named]
    assert all(command.split()[1] in app for command in verbs), verbs
    return named


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_one_of_the_command_line(name: str) -> None:
    for command in commands(name):
        try:
            understood(command)
        except Exception as error:
            pytest.fail(f"{name}: {command!r}: {error}")


@pytest.mark.parametrize(
    "command",
    [
        "aerostat predikt a b",
        "aerostat predict a b --nope",
        "aerostat eval runs/a",
        "aerostat export a --to tensorrt",
    ],
)
def test_a_command_that_is_none_is_found(command: str) -> None:
    with pytest.raises(Exception, match=r"Unknown|requires|Invalid"):
        understood(command)


def known_options() -> set[str]:
    """Return the options of every verb, and of the scripts and benchmarks of a checkout."""
    verbs = [app[name] for name in app if not name.startswith("-")]
    options = {name for verb in verbs for a in verb.assemble_argument_collection() for name in a.names}
    scripts = [*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")]
    for script in scripts:
        options |= set(re.findall(r"[\"'](--[a-z][a-z0-9-]*)[\"']", script.read_text("utf-8")))
    return options | {"--help", "--version"}


@pytest.mark.parametrize("name", NAMES)
def test_every_option_that_is_named_exists(name: str) -> None:
    named = {word for span in spans(text_of(name)) if span.startswith("--") for word in span.split()}
    options = {word.partition("=")[0] for word in named if word.startswith("--")}
    assert options - known_options() == set()


@pytest.mark.parametrize("name", NAMES)
def test_other_programs_are_told_files_that_are_there(name: str) -> None:
    """`pip install -c FILE`, `python scripts/FILE`, `python -m benchmarks`."""
    for command in [*lines(text_of(name)), *spans(text_of(name))]:
        words = command.split()
        files = [after for before, after in itertools.pairwise(words) if before == "-c" and words[0] == "pip"]
        if words[0] == "python" and len(words) > 1 and words[1].endswith(".py"):
            files.append(words[1])
        if words[:2] == ["python", "-m"] and words[2:3] == ["benchmarks"]:
            files.append("benchmarks/__main__.py")
        assert [file for file in files if not (ROOT / file).is_file()] == [], command


def test_extras_that_are_named_exist() -> None:
    import tomllib

    extras = tomllib.loads(text_of("pyproject.toml"))["project"]["optional-dependencies"]
    for name in NAMES:
        for found in re.findall(r'"?\.\[([a-z,]+)\]"?', text_of(name)):
            assert set(found.split(",")) <= set(extras), name


# --- the two READMEs


def without_comments(block: str) -> list[str]:
    return [re.sub(r"\s*#.*", "", line) for line in block.splitlines()]


def test_both_readmes_have_the_same_sections_commands_and_code() -> None:
    ours, theirs = text_of("README.md"), text_of("README.zh-CN.md")
    assert [level for level, _ in headings(ours)] == [level for level, _ in headings(theirs)]
    for language in ("sh", "python"):
        pairs = zip(blocks(ours, language), blocks(theirs, language), strict=True)
        assert all(without_comments(a) == without_comments(b) for a, b in pairs)
    assert lines(ours) == lines(theirs)
    items = [re.findall(r"^- \*\*(\w+)\*\*", text, re.MULTILINE) for text in (ours, theirs)]
    assert items[0] == items[1]
    english = [re.sub(r"\(docs/zh/", "(docs/", text) for text in (ours, theirs)]
    targets = [set(links(text)) - {"README.md", "README.zh-CN.md"} for text in english]
    assert targets[0] == targets[1]


def test_both_readmes_name_the_same_options_and_files() -> None:
    ours, theirs = (set(spans(text_of(name))) for name in ("README.md", "README.zh-CN.md"))
    assert ours ^ theirs == set()


def test_both_readmes_give_the_same_figures() -> None:
    """Numbers with a decimal point are measured ones, and change in both languages or in none."""
    ours, theirs = (
        sorted(re.findall(r"\d+\.\d+", prose(text_of(n)))) for n in ("README.md", "README.zh-CN.md")
    )
    assert ours == theirs


# --- the Chinese pages

TRANSLATED = [name for name in NAMES if name.startswith("docs/zh/")]


def all_blocks(text: str) -> list[tuple[str, list[str]]]:
    """Return language and lines of each fenced block, code without its comments."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(kind, without_comments(b) if kind in ("sh", "python") else b.splitlines()) for kind, b in found]


def without_written_tables(english: str, chinese: str) -> str:
    """Return an English page without tables of a script that the Chinese page leaves out."""
    for mark in re.findall(r"^<!-- /(\w+) -->$", english, re.MULTILINE):
        if f"<!-- /{mark} -->" not in chinese:
            english = re.sub(rf"^<!-- {mark}: .*?^<!-- /{mark} -->$", "", english, flags=re.M | re.S)
    return english


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_chinese_page_has_the_commands_outputs_and_figures_of_its_english_page(name: str) -> None:
    """Where this fails, the English page was changed: copy its blocks, and translate its new sentences."""
    theirs = text_of(name)
    ours = without_written_tables(text_of(name.replace("docs/zh/", "docs/")), theirs)
    assert all_blocks(theirs) == all_blocks(ours)
    assert lines(theirs) == lines(ours)
    assert [level for level, _ in headings(theirs)] == [level for level, _ in headings(ours)]
    assert set(spans(theirs)) ^ set(spans(ours)) == set()
    figures = [sorted(re.findall(r"\d+\.\d+", prose(text))) for text in (ours, theirs)]
    assert figures[1] == figures[0]


def test_the_chinese_pages_lead_to_chinese_pages() -> None:
    for name in ("README.zh-CN.md", *TRANSLATED):
        folder = (ROOT / name).parent
        targets = [(folder / link.partition("#")[0]).resolve() for link in links(text_of(name))]
        names = {target.relative_to(ROOT).as_posix() for target in targets if target.is_relative_to(ROOT)}
        assert {n for n in names if n.replace("docs/", "docs/zh/", 1) in TRANSLATED} == set(), name


def test_there_are_chinese_pages_about_every_way_in() -> None:
    english = {name for name in NAMES if re.fullmatch(r"docs/(start|coming-from-.*)\.md", name)}
    assert {name.replace("docs/", "docs/zh/") for name in english} <= set(TRANSLATED)


# --- commands and snippets run, on drawn photographs and with a network of random weights

SIDE = 64
"""Of the network's input: these tests ask whether things run, not what is found."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, write_finder: Callable[..., Path]) -> Path:
    """A nano network that has learnt nothing, but finds plenty."""
    return write_finder(tmp_path_factory.mktemp("weights") / "w.safetensors", ("balloon",))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_balloons(tmp_path_factory.mktemp("drawn") / "balloon", train=3, val=2)


@pytest.fixture(scope="module")
def exports(weights: Path) -> Path:
    """A folder with the exported files that the pages speak of."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    folder = weights.parent / "exports"
    for name, options in (("best.onnx", ()), ("best-nms.onnx", ("--nms",))):
        assert main(["export", str(weights), *options, "--out", str(folder / name)]) == 0
    shutil.copy(folder / "best.onnx", folder / "rtmdet-nano.onnx")
    return folder


@pytest.fixture(scope="module")
def of_tools(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data sets as the pages about annotation tools have them."""
    folder = tmp_path_factory.mktemp("tools")
    photographs = drawn / "train"
    for source, name, options in (
        (drawn, "voc100", ("--to", "yolo", "--with-images", "copy")),
        (drawn, "balloons", ("--to", "yolo", "--with-images", "copy")),
        (photographs, "task", ("--to", "cvat", "--with-images", "copy")),
        (photographs, "project-1.json", ("--to", "label-studio")),
        (photographs, "labelme", ("--to", "labelme")),
    ):
        assert main(["convert", str(source), str(folder / name), "--classes", "balloon", *options]) == 0
    shutil.copytree(photographs, folder / "photos", ignore=shutil.ignore_patterns("*.json"))
    for name, archive in (("balloons", "balloons.v1i.yolov11.zip"), ("task", "task_12.zip")):
        made = shutil.make_archive(str(folder / name), "zip", folder / name)
        Path(made).rename(folder / archive)
        shutil.rmtree(folder / name)
    return folder


@pytest.fixture
def place(
    tmp_path: Path,
    weights: Path,
    drawn: Path,
    exports: Path,
    of_tools: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A current folder with what the documents speak of: data, photographs, runs, the published weights."""
    for folder in (exports, of_tools):
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    shutil.copytree(drawn, tmp_path / "balloon")
    for photograph in ("party.jpg", "photos/party.jpg", "aerial.jpg"):
        (tmp_path / photograph).parent.mkdir(exist_ok=True)
        shutil.copy(drawn / "val" / "scene_0001.jpg", tmp_path / photograph)
    shutil.copytree(drawn / "train", tmp_path / "aerostat-demo" / "photographs")
    assert cv2.imwrite(str(tmp_path / "slide.tif"), cv2.imread(str(tmp_path / "aerial.jpg")))
    for clip in ("hall.mp4", "street.mp4"):
        write_hall(tmp_path / clip)
    for run in ("runs/balloon", "runs/balloons", "runs/crowd", "aerostat-demo/run"):
        make_run(tmp_path / run, weights)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AEROSTAT_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")

    def fetched(name: str) -> Path:
        assert name == "rtmdet-nano-person"
        return weights

    monkeypatch.setattr(zoo, "fetch", fetched)
    return tmp_path


def write_hall(path: Path) -> None:
    """Write a clip of the size that the page about tracking speaks of."""
    be_quiet()  # FFmpeg asks once in a process; tests of what is said on stderr may come later
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10, (768, 432))
    for _ in range(3):
        video.write(np.full((432, 768, 3), 90, np.uint8))
    video.release()


def make_run(folder: Path, weights: Path) -> None:
    """Write what a finished run leaves behind, with weights that find something."""
    run = Run(folder)
    run.create()
    for path in (run.best, run.last):
        shutil.copy(weights, path)


def run_command(command: str, weights: Path, trains: bool = True) -> None:
    """Run a command of `aerostat`, a training for one epoch of small images, or up to its recipe only."""
    words = shlex.split(command)[1:]
    if words[0] == "train" and not trains and "--dry-run" not in words:
        words.append("--dry-run")
    if words[0] == "convert":  # it refuses a folder that is there
        shutil.rmtree(words[2], ignore_errors=True)
    if words[0] != "train" or "--dry-run" in words:
        assert main(words) == 0, command
        return
    run = Run(Path(words[words.index("--out") + 1] if "--out" in words else "runs/balloon"))
    shutil.rmtree(run.path, ignore_errors=True)  # training refuses a run that is there
    quick = {"--epochs": "1", "--batch-size": "2", "--device": "cpu", "--input-size": str(SIDE)}
    for option in set(quick) & set(words):  # an option is given once
        del words[words.index(option) : words.index(option) + 2]
    assert main([*words, *itertools.chain(*quick.items())]) == 0, command
    for path in (run.best, run.last):  # what was trained for a second finds nothing to explain
        shutil.copy(weights, path)


def typed_in_blocks(name: str) -> list[str]:
    """Return the commands of `aerostat`, and those that change the folder, that a page gives to be typed."""
    typed = [
        shlex.join(shlex.split(line, comments=True))
        for block in blocks(text_of(name), "sh")
        for line in block.splitlines()
    ]
    return [line for line in typed if line.startswith(("aerostat ", "cd ")) and line not in NOT_HERE]


def is_translation(name: str) -> bool:
    """Return whether a document has the commands and snippets of an English one, which are run there."""
    return name == "README.zh-CN.md" or name.startswith("docs/zh/")


def require_extras(name: str) -> None:
    """Skip the test of a page whose extras are not installed."""
    needed = {
        "docs/tracking.md": ("lap",),
        "docs/explain-along-tracks.md": ("lap",),
        "docs/trackers.md": ("tensorboard", "mlflow", "wandb"),
    }
    for package in needed.get(name, ()):
        pytest.importorskip(package, reason="an extra of this page is not installed")


WITH_COMMANDS = [name for name in NAMES if typed_in_blocks(name) and not is_translation(name)]
WITH_PYTHON = [name for name in NAMES if blocks(text_of(name), "python") and not is_translation(name)]


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_COMMANDS)
def test_the_commands_of_a_page_run_one_after_the_other(
    place: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    require_extras(name)
    for command in typed_in_blocks(name):
        if command.startswith("cd "):
            monkeypatch.chdir(command.removeprefix("cd "))
        else:  # pages about data differ in the data that they read
            run_command(command, weights, trains="/coming-from-" not in name)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_PYTHON)
def test_the_python_of_a_page_runs(
    place: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """In the folder to which the page's commands lead."""
    require_extras(name)
    train = aerostat.train

    def quickly(*arguments: Any, **options: Any) -> Run:
        run = train(*arguments, **{**options, "epochs": 1})
        shutil.copy(weights, run.best)  # what was trained for a second finds nothing to explain
        return run

    monkeypatch.setattr(aerostat, "train", quickly, raising=False)
    for command in typed_in_blocks(name):
        if command.startswith("cd "):
            monkeypatch.chdir(command.removeprefix("cd "))
        elif command.startswith("aerostat export") and "--layout" in command:  # the snippet runs its file
            run_command(command, weights)
    known: dict[str, object] = {"__name__": "snippet"}
    for block in blocks(text_of(name), "python"):
        exec(compile(block, name, "exec"), known)


def test_there_are_pages_with_commands_and_with_python() -> None:
    assert "README.md" in WITH_COMMANDS and "README.md" in WITH_PYTHON
