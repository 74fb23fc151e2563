"""The command line as a person meets it: what it prints, what it writes, how it ends."""

import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from pycocotools.coco import COCO

from aerostat.__main__ import main
from aerostat.cli import app
from aerostat.datasets.records import ImageRecord
from aerostat.model import build
from aerostat.results.detections import Detections
from aerostat.weights.checkpoint import Header, read_header, save_weights

VERBS = [name for name in app if not name.startswith("-")]
TINY_RUN = [
    "--model",
    "rtmdet-nano",
    "--epochs",
    "1",
    "--input-size",
    "64",
    "--batch-size",
    "2",
    "--device",
    "cpu",
]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What stdout holds, which must be one JSON document and nothing else."""
        return json.loads(self.out)


@pytest.fixture
def aerostat(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run one command in this process; file descriptors are captured, so that nothing slips by."""

    def run(*words: object) -> Ended:
        capfd.readouterr()
        code = main([str(word) for word in words])
        return Ended(code, *capfd.readouterr())

    return run


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, a cache without weights, one thread, 80 columns."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("AEROSTAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(threads)


# --- small data ---

BOX = (20, 10, 50, 40)
"""Every photograph has one disc, here; the next ones stand a pixel further to the right."""


def photograph(path: Path, shift: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (80, 64), (90, 120, 160))
    x1, y1, x2, y2 = BOX
    ImageDraw.Draw(image).ellipse((x1 + shift, y1, x2 + shift, y2), fill=(220, 30, 40))
    image.save(path)


def outline(shift: int = 0) -> dict[str, Any]:
    x1, y1, x2, y2 = BOX
    x1, x2 = x1 + shift, x2 + shift
    shape = {"name": "polygon", "all_points_x": [x1, x2, x2, x1], "all_points_y": [y1, y1, y2, y2]}
    return {"shape_attributes": shape, "region_attributes": {}}


def write_via(root: Path, splits: Sequence[str] = ("train", "val"), count: int = 3) -> Path:
    """Write photographs with a VIA file that states no class, like the balloons."""
    for split in splits:
        entries = {}
        for i in range(count):
            photograph(root / split / f"{i}.jpg", i)
            entries[f"{i}.jpg1"] = {"filename": f"{i}.jpg", "size": 1, "regions": {"0": outline(i)}}
        (root / split / "via.json").write_text(json.dumps(entries))
    return root


def write_coco(
    root: Path, categories: dict[int, str], splits: Sequence[str] = ("train", "val"), count: int = 3
) -> Path:
    """Write photographs with a COCO file whose objects go through the categories; image ids from 100."""
    ids = list(categories)
    for split in splits:
        images, annotations = [], []
        for i in range(count):
            photograph(root / split / f"{i}.jpg", i)
            images.append({"id": 100 + i, "file_name": f"{i}.jpg", "width": 80, "height": 64})
            annotation = {"id": i + 1, "image_id": 100 + i, "bbox": [20 + i, 10, 30, 30], "area": 900}
            annotations.append({**annotation, "category_id": ids[i % len(ids)], "iscrowd": 0})
        listed = [{"id": id_, "name": name} for id_, name in categories.items()]
        document = {"images": images, "annotations": annotations, "categories": listed}
        (root / split / "_annotations.coco.json").write_text(json.dumps(document))
    return root


def edit(path: Path, change: Callable[[Any], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.fixture
def via(tmp_path: Path) -> Path:
    return write_via(tmp_path / "via")


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "coco", {9: "disc"})


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of discs with fresh weights, for 64 px."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    save_weights(path, build("nano", 1).state_dict(), Header("nano", ("disc",), (64, 64)))
    return path


class Seer:
    """A detector that sees the annotations themselves, so that every AP is 1."""

    def __init__(self, *classes: str) -> None:
        self.classes = classes
        self.names: tuple[str, ...] = ()

    def predict_images(
        self, records: Sequence[ImageRecord], **_: Any
    ) -> Iterator[tuple[ImageRecord, Detections]]:
        for record in records:
            labels = [self.classes.index(self.names[label]) for label in record.labels()]
            boxes = record.boxes_xyxy()
            yield record, Detections(boxes, np.full(len(boxes), 0.9), np.asarray(labels, int), self.classes)


@pytest.fixture
def seer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Seer]:
    """Put a detector that sees everything in the place of whatever is loaded."""

    def put(*classes: str) -> Seer:
        from aerostat.evaluation import evaluate

        detector = Seer(*classes)
        detect = evaluate.detect

        def detect_known(_: Any, split: Any, **options: Any) -> Any:
            detector.names = split.classes
            return detect(detector, split, **options)  # type: ignore[arg-type]

        monkeypatch.setattr("aerostat.inference.resolve.load", lambda *_, **__: detector)
        monkeypatch.setattr("aerostat.evaluation.evaluate.detect", detect_known)
        return detector

    return put


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return everything below a folder with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def assert_refused(ended: Ended, *words: str, code: int = 2) -> None:
    """One sentence on stderr that holds all the words, nothing on stdout, and the exit code."""
    assert ended.code == code, ended
    assert ended.out == ""
    lines = ended.err.splitlines()
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("aerostat: ")
    for word in words:
        assert word in lines[0]


# --- help, version, words that are no command ---


def test_without_words_the_help_is_shown(aerostat: Callable[..., Ended]) -> None:
    ended = aerostat()
    assert ended.code == 0
    assert ended.out == aerostat("--help").out
    assert "Fine-tune RTMDet" in ended.out


def test_the_version_is_printed(aerostat: Callable[..., Ended]) -> None:
    assert aerostat("--version") == Ended(0, f"{metadata.version('aerostat')}\n", "")


def test_every_verb_of_the_contract_is_there() -> None:
    assert {"demo", "convert", "train", "eval", "predict", "export", "report", "models", "doctor"} <= set(
        VERBS
    )


@pytest.mark.parametrize("verb", VERBS)
def test_help_lists_every_option_with_a_text_in_80_columns(aerostat: Callable[..., Ended], verb: str) -> None:
    shown = aerostat(verb, "--help").out
    assert f"Usage: aerostat {verb}" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    arguments = [a for a in app[verb].assemble_argument_collection(parse_docstring=True) if a.show]
    for argument in arguments:
        assert argument.parameter.help, f"{verb} {argument.name} has no text"
        assert all(name in shown for name in argument.names)
        assert " ".join(argument.parameter.help.split())[:20] in " ".join(shown.replace("│", " ").split())
    assert aerostat(verb, "--help").out == aerostat(verb, "-h").out


def test_no_option_can_be_said_in_an_undocumented_way() -> None:
    names = {
        n
        for verb in VERBS
        for a in app[verb].assemble_argument_collection(parse_docstring=True)
        for n in a.names
    }
    assert {n for n in names if n.startswith(("--no-", "--empty-"))} == {
        "--no-pictures",
        "--no-flip",
        "--no-pixels",
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], ["trian", "Did you mean", "train", "aerostat --help"]),
        (["--nope"], ["--nope", "aerostat --help"]),
        (["train", "d", "--modle", "x"], ["--modle", "--model", "aerostat train --help"]),
        (["train", "d", "e"], ["Unexpected argument 'e'", "aerostat train --help"]),
        (["convert", "only"], ["DST is missing", "aerostat convert --help"]),
        (["eval"], ["WEIGHTS is missing"]),
        (["train", "d", "--epochs", "ten"], ["--epochs", "ten"]),
        (["train", "d", "--epochs"], ["--epochs requires an argument"]),
        (["train", "d", "--precision", "fp16"], ["fp16", "16-mixed"]),
        (["train", "d", "--device", "gpu"], ["gpu", "cuda"]),
        (["train"], ["data set folder", "aerostat train DATA"]),
        (["train", "--classes", "disc", "d"], ["DATA goes before it"]),
        (["predict", "w"], ["at least one image, folder or pattern"]),
        (["predict", "w", "x.jpg", "--format", "xml"], ["xml", "csv"]),
        (["export", "w", "--to", "tflite"], ["tflite", "openmmlab"]),
    ],
)
def test_a_wrong_command_line_is_one_sentence(
    aerostat: Callable[..., Ended], words: list[str], expected: list[str]
) -> None:
    assert_refused(aerostat(*words), *expected)


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_every_command_of_the_readme_is_one(page: str) -> None:
    text = (Path(__file__).parents[2] / page).read_text("utf-8")
    commands = re.findall(r"(?:^|&& |`)aerostat ([a-z][^`#\n]*)", text, re.MULTILINE)
    assert {command.split()[0] for command in commands} >= {"demo", "convert", "train", "eval", "predict"}
    for command in commands:
        app.parse_args(shlex.split(command), exit_on_error=False, print_error=False)  # raises if it is none


# --- ends that no command plans ---


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
    aerostat: Callable[..., Ended],
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    code: int,
    words: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("aerostat.datasets.convert.convert", fail)
    assert_refused(aerostat("convert", "a", "b"), words, code=code)


def test_a_bug_is_not_dressed_up_as_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("aerostat.datasets.convert.convert", fail)
    with pytest.raises(ZeroDivisionError):
        main(["convert", "a", "b"])


def test_a_reader_that_goes_away_is_no_failure_worth_a_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "aerostat", "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_terminal_that_cannot_show_a_name_does_not_stop_the_command(tmp_path: Path) -> None:
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


# --- bad data ---


def _cut(root: Path) -> None:
    path = root / "train" / "via.json"
    path.write_bytes(path.read_bytes()[:200])


def _rename(root: Path) -> None:
    edit(root / "val" / "_annotations.coco.json", lambda d: d["categories"][0].update(name="dics"))


def _no_classes(root: Path) -> None:
    for split in ("train", "val"):
        edit(root / split / "_annotations.coco.json", lambda d: d.update(categories=[], annotations=[]))


BROKEN_VIA: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "missing folder": (shutil.rmtree, ["nothing at", "check the path"]),
    "no images": (lambda r: [shutil.rmtree(r / s) for s in ("train", "val")], ["holds no images"]),
    "images gone": (lambda r: [p.unlink() for p in r.rglob("*.jpg")], ["0.jpg", "--images"]),
    "cut off": (_cut, ["via.json", "cut off", "byte 200", "export it again"]),
    "no annotations": (lambda r: (r / "train/via.json").write_text('{"a": 1}'), ["COCO or VIA", "'a'"]),
    "empty file": (lambda r: (r / "train/via.json").write_text(""), ["via.json", "annotation"]),
    "no annotation file": (lambda r: (r / "train/via.json").unlink(), ["3 images but no annotation file"]),
    "two annotation files": (
        lambda r: shutil.copy(r / "train/via.json", r / "train/more.json"),
        ["more.json, via.json"],
    ),
    "duplicate file name": (
        lambda r: edit(r / "val/via.json", lambda d: d.update(again=d["0.jpg1"])),
        ["more than once", "'0.jpg'"],
    ),
}
BROKEN_COCO: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "classes differ": (_rename, ["'disc'", "'dics'"]),
    "no class": (_no_classes, ["at least one class"]),
}


@pytest.mark.parametrize("verb", ["train", "convert", "eval"])
@pytest.mark.parametrize("what", BROKEN_VIA)
def test_broken_data_is_refused_and_nothing_is_written(
    aerostat: Callable[..., Ended], via: Path, weights: Path, working_folder: Path, verb: str, what: str
) -> None:
    break_it, words = BROKEN_VIA[what]
    break_it(via)
    before = tree(via.parent)
    commands = {
        "train": ["train", via, "--classes", "disc", *TINY_RUN],
        "convert": ["convert", via, "out", "--classes", "disc"],
        "eval": ["eval", weights, via, "--save", "found.json"],
    }
    assert_refused(aerostat(*commands[verb]), *words)
    assert tree(via.parent) == before


@pytest.mark.parametrize("verb", ["train", "convert"])
@pytest.mark.parametrize("what", BROKEN_COCO)
def test_broken_classes_are_refused_and_nothing_is_written(
    aerostat: Callable[..., Ended], coco: Path, verb: str, what: str
) -> None:
    break_it, words = BROKEN_COCO[what]
    break_it(coco)
    before = tree(coco.parent)
    assert_refused(aerostat(verb, coco, *(["out"] if verb == "convert" else TINY_RUN)), *words)
    assert tree(coco.parent) == before


def test_a_split_without_a_box_is_trained_and_evaluated_by_nobody(
    aerostat: Callable[..., Ended], via: Path, weights: Path
) -> None:
    edit(via / "val" / "via.json", lambda d: [entry.update(regions={}) for entry in d.values()])
    assert_refused(aerostat("train", via, "--classes", "disc", *TINY_RUN), "usable box", "'val'")
    assert_refused(aerostat("eval", weights, via), "usable box", "'val'")


def test_doubtful_regions_are_kept_or_dropped_and_counted(aerostat: Callable[..., Ended], via: Path) -> None:
    def region(x: list[float], y: list[float]) -> dict[str, Any]:
        shape = {"name": "polygon", "all_points_x": x, "all_points_y": y}
        return {"shape_attributes": shape, "region_attributes": {}}

    added = {
        "outside": region([500, 600, 600], [10, 10, 60]),
        "clipped": region([-20, 30, 30], [10, 10, 60]),
        "crossing": region([5, 45, 10, 45], [5, 5, 45, 30]),
        "line": region([5, 60], [5, 50]),
        "speck": region([5, 5, 5], [5, 5, 5]),
    }
    edit(via / "train" / "via.json", lambda d: d["0.jpg1"]["regions"].update(added))
    ended = aerostat("convert", via / "train", "train.json", "--classes", "disc", "--json")
    assert ended.code == 0
    assert ended.document["problems"] == {
        "outside the image": 1,
        "clipped": 1,
        "self-crossing polygon": 1,
        "degenerate polygon": 1,
        "degenerate box": 1,
    }
    assert ended.document["files"][0]["instances"] == 3 + 3, "clipped, crossing and line are kept"
    boxes = [a["bbox"] for a in COCO("train.json").loadAnns(COCO("train.json").getAnnIds(imgIds=[1]))]
    assert [0, 10, 30, 50] in boxes
    assert [5, 5, 55, 45] in boxes
    assert_refused(
        aerostat("convert", via / "train", "strict.json", "--classes", "disc", "--strict"),
        "--strict",
        "0.jpg",
        "outside the image",
    )
    assert not Path("strict.json").exists()


@pytest.mark.parametrize("content", [None, b"", b"no image"])
def test_an_image_that_cannot_be_used_is_named_and_strict_refuses_it(
    aerostat: Callable[..., Ended], via: Path, weights: Path, content: bytes | None
) -> None:
    image = via / "val" / "1.jpg"
    image.unlink()
    if content is not None:
        image.write_bytes(content)
    kind = "missing image" if content is None else "unreadable image"
    for words in (
        ["convert", via, "out", "--classes", "disc"],
        ["train", via, "--classes", "disc", *TINY_RUN],
        ["eval", weights, via],
    ):
        assert_refused(aerostat(*words, "--strict"), "--strict", kind, "1.jpg")
    done = aerostat("convert", via, "out", "--classes", "disc")
    assert done.code == 0
    assert any(line.startswith(f"{kind}: 1, first 1.jpg") for line in done.out.splitlines())
    assert "out/val.json: 2 images, 2 objects" in done.out
    figures = aerostat("eval", weights, via, "--json")
    assert (figures.code, figures.document["images"]) == (0, 2)
    assert f"val: {kind} (1), left out with its objects; first 1.jpg" in figures.err


# --- convert ---


def test_convert_writes_what_pycocotools_reads(aerostat: Callable[..., Ended], via: Path) -> None:
    ended = aerostat("convert", via / "train" / "via.json", "train.json", "--classes", "disc")
    assert ended == Ended(0, "train.json: 3 images, 3 objects of 1 class (disc)\n", "")
    read = COCO("train.json")
    assert read.cats[1]["name"] == "disc"
    assert [a["bbox"] for a in read.anns.values()] == [[20 + i, 10, 30, 30] for i in range(3)]


def test_convert_says_in_json_what_it_wrote(aerostat: Callable[..., Ended], via: Path) -> None:
    document = aerostat("convert", via, "out", "--classes", "disc", "--json").document
    assert [file["path"] for file in document["files"]] == ["out/train.json", "out/val.json"]
    assert document["classes"] == ["disc"]


def test_convert_replaces_only_with_force_and_never_its_source(
    aerostat: Callable[..., Ended], via: Path
) -> None:
    Path("a.json").write_text("precious")
    words = ["convert", via / "train", "a.json", "--classes", "disc"]
    assert_refused(aerostat(*words), "a.json exists", "--force")
    assert Path("a.json").read_text() == "precious"
    assert aerostat(*words, "--force").code == 0
    source = via / "train" / "via.json"
    assert_refused(
        aerostat("convert", source, source, "--classes", "disc", "--force"), "is the file to convert"
    )


def test_several_classes_come_as_words_or_with_commas(aerostat: Callable[..., Ended], tmp_path: Path) -> None:
    data = write_coco(tmp_path / "two", {1: "disc", 2: "kite"})
    for classes in (["kite", "disc"], ["kite,disc"]):
        ended = aerostat("convert", data, "out", "--classes", *classes, "--json", "--force")
        assert ended.document["classes"] == ["kite", "disc"]


@pytest.mark.parametrize("classes", [[""], [","], [], ["disc", "disc"]])
def test_class_names_must_be_names(aerostat: Callable[..., Ended], coco: Path, classes: list[str]) -> None:
    assert_refused(aerostat("convert", coco, "out", "--classes", *classes), "--classes")


# --- train ---


def test_dry_run_prints_the_plan_and_writes_nothing(
    aerostat: Callable[..., Ended], via: Path, working_folder: Path
) -> None:
    before = tree(via.parent)
    words = ["--classes", "disc", "--model", "rtmdet-nano", "--dry-run", "--epochs", "7", "--freeze-backbone"]
    ended = aerostat("train", via, *words, "--set", "augment.flip=0.25", "--set", "optim.lr=0.0003")
    assert ended.code == 0
    recipe = tomllib.loads(ended.out)
    assert recipe["schedule"]["epochs"] == 7
    assert recipe["model"] == {"size": "nano", "weights": "", "freeze": "backbone"}
    assert (recipe["augment"]["flip"], recipe["optim"]["lr"]) == (0.25, 0.0003)
    for words_of_card in ("train", "val", "disc", "7 epochs", "preset small: 3 training images"):
        assert words_of_card in ended.err
    assert tree(via.parent) == before


def test_flags_beat_set_and_set_beats_the_recipe_file(aerostat: Callable[..., Ended], coco: Path) -> None:
    Path("r.toml").write_text(
        '[model]\nsize = "nano"\n[optim]\nlr = 0.1\nbatch_size = 9\n[data]\ninput_size = 96\n'
    )
    words = [
        "--recipe",
        "r.toml",
        "--set",
        "optim.lr=0.2",
        "--set",
        "data.input_size=128",
        "--input-size",
        "64",
    ]
    recipe = tomllib.loads(aerostat("train", coco, *words, "--dry-run").out)
    assert recipe["model"]["size"] == "nano"
    assert (recipe["optim"]["batch_size"], recipe["optim"]["lr"], recipe["data"]["input_size"]) == (
        9,
        0.2,
        64,
    )
    recipe = tomllib.loads(aerostat("train", coco, *words, "--model", "rtmdet-s", "--dry-run").out)
    assert recipe["model"]["size"] == "s"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--set", "optim.learningrate=1"], ["optim.learningrate", "Known keys", "lr"]),
        (["--set", "schedule.epoch=3"], ["schedule.epoch", "Did you mean", "epochs"]),
        (["--set", "optimm.lr=1"], ["'optimm'", "Did you mean 'optim'"]),
        (["--set", "lr=1"], ["section.key=value", "'lr=1'"]),
        (["--set", "optim.lr=fast"], ["optim.lr", "'fast'"]),
        (["--set", "optim.lr=-1"], ["optim.lr", "-1"]),
        (["--set", "run.device=gpu"], ["run.device", "expected auto, cpu, cuda, mps", "'gpu'"]),
        (["--epochs", "0"], ["schedule.epochs", "at least 1"]),
        (["--input-size", "100"], ["input_size", "multiple of 32", "100"]),
        (["--recipe", "tiny"], ["'tiny'", "small", "published"]),
        (["--recipe", "none.toml"], ["none.toml"]),
        (["--recipe", "typo.toml"], ["typo.toml", "schedule.epochz", "Did you mean", "epochs"]),
        (["--recipe", "cut.toml"], ["cut.toml", "TOML", "line 1"]),
        (["--model", "rtmdet-nan"], ["rtmdet-nan", "Did you mean 'rtmdet-nano'"]),
        (["--weights", "none.pth"], ["none.pth"]),
        (["--weights", "rtmdet-tini"], ["rtmdet-tini", "aerostat models", "Did you mean 'rtmdet-tiny'"]),
        (["--weights", "r.txt"], ["r.txt", "not a weights file"]),
        (["--classes", "kite"], ["'disc'", "'kite'"]),
    ],
)
def test_a_request_that_does_not_fit_is_refused_and_nothing_is_written(
    aerostat: Callable[..., Ended], coco: Path, words: list[str], expected: list[str]
) -> None:
    Path("typo.toml").write_text("[schedule]\nepochz = 3\n")
    Path("cut.toml").write_text("[schedule\n")
    Path("r.txt").write_text("not weights")
    before = tree(coco.parent)
    assert_refused(aerostat("train", coco, *words), *expected)
    assert tree(coco.parent) == before


def test_a_misspelt_key_is_refused_before_the_data_are_read(aerostat: Callable[..., Ended]) -> None:
    assert_refused(aerostat("train", "no/such/data", "--set", "optim.lrr=1"), "optim.lrr")


def test_weights_of_another_size_are_refused(
    aerostat: Callable[..., Ended], coco: Path, weights: Path, working_folder: Path
) -> None:
    ended = aerostat("train", coco, "--model", "rtmdet-tiny", "--weights", weights)
    assert_refused(ended, "rtmdet-nano", "rtmdet-tiny", str(weights))
    assert list(working_folder.iterdir()) == []


def test_a_run_directory_that_exists_is_refused_untouched(
    aerostat: Callable[..., Ended], coco: Path, working_folder: Path
) -> None:
    Path("runs/coco").mkdir(parents=True)
    Path("runs/coco/notes.txt").write_text("precious")
    before = tree(working_folder)
    assert_refused(aerostat("train", coco, *TINY_RUN), "runs/coco exists", "--out")
    assert_refused(aerostat("train", coco, *TINY_RUN, "--out", "runs/coco/notes.txt"), "exists")
    assert tree(working_folder) == before


@pytest.mark.parametrize(
    ("data", "run"),
    [(".", "v1.2 set"), ("train/..", "v1.2 set"), ("../v1.2 set/", "v1.2 set"), ("train/via.json", "via")],
)
def test_a_run_is_named_after_its_data(
    aerostat: Callable[..., Ended],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    data: str,
    run: str,
) -> None:
    monkeypatch.chdir(write_via(tmp_path / "v1.2 set"))
    (Path("runs") / run / "taken").mkdir(parents=True)  # so that the name is said and nothing is trained
    assert_refused(aerostat("train", data, "--classes", "disc", *TINY_RUN), f"runs/{run} exists")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--resume", "none"], ["none", "last.ckpt"]),
        (["--resume", "r", "--epochs", "9"], ["--epochs", "--resume", "leave it out"]),
        (["--resume", "r", "--dry-run", "--model", "rtmdet-s"], ["--model, --dry-run", "leave them out"]),
        (["--resume", "r", "--classes", "disc"], ["--classes", "DATA"]),
    ],
)
def test_resume_ignores_nothing_in_silence(
    aerostat: Callable[..., Ended], words: list[str], expected: list[str]
) -> None:
    assert_refused(aerostat("train", *words), *expected)


def test_training_needs_a_split_to_learn_from(aerostat: Callable[..., Ended], tmp_path: Path) -> None:
    data = write_via(tmp_path / "d", ["val", "test"])
    assert_refused(aerostat("train", data, "--classes", "disc", *TINY_RUN), "train", "val, test")


@pytest.mark.parametrize(
    ("splits", "note"),
    [
        (["train", "valid"], ""),
        (["train", "test"], "there is no val split: validating on test"),
        (["train"], "there is no val split: nothing is validated"),
    ],
)
def test_the_split_to_validate_on_is_found_and_named(
    aerostat: Callable[..., Ended], tmp_path: Path, splits: list[str], note: str
) -> None:
    data = write_via(tmp_path / "d", splits)
    ended = aerostat("train", data, "--classes", "disc", *TINY_RUN, "--dry-run")
    assert ended.code == 0
    assert note in ended.err
    assert ("there is no val split" in ended.err) == bool(note)


@pytest.mark.slow
def test_the_main_story_from_a_via_file_to_predictions(aerostat: Callable[..., Ended], via: Path) -> None:
    trained = aerostat("train", via, "--classes", "disc", *TINY_RUN)
    run = Path("runs/via")
    assert trained.code == 0
    for name in ("recipe.toml", "environment.json", "metrics.jsonl", "last.ckpt", "best.safetensors"):
        assert (run / name).is_file()
    assert "epoch 1/1" in trained.err
    assert f"aerostat eval {run}" in trained.err, "the next commands to type"

    figures = aerostat("eval", run, via, "--json", "--save", "found.json")
    assert (figures.code, figures.document["images"], figures.document["instances"]) == (0, 3, 3)
    assert {row["image_id"] for row in json.loads(Path("found.json").read_text())} <= {1, 2, 3}

    found = aerostat("predict", run, via / "val", "--score", "0.001", "--json", "--out", "native")
    assert found.code == 0
    assert len(found.document["images"]) == 3

    exported = aerostat("export", run, "--to", "openmmlab")
    assert exported == Ended(0, "wrote runs/via/best.pth: rtmdet-nano, classes disc\n", "")
    again = aerostat(
        "predict",
        run / "best.pth",
        via / "val",
        "--score",
        "0.001",
        "--json",
        "--out",
        "exported",
        "--input-size",
        64,
    )
    assert again.document["images"] == found.document["images"]

    assert_refused(aerostat("train", via, "--classes", "disc", *TINY_RUN), "runs/via exists")
    assert_refused(aerostat("train", "--resume", run), "is finished", f"--weights {run}")


@pytest.mark.slow
def test_without_a_val_split_the_last_weights_are_kept_and_used(
    aerostat: Callable[..., Ended], tmp_path: Path
) -> None:
    data = write_via(tmp_path / "d", ["train"])
    assert aerostat("train", data, "--classes", "disc", *TINY_RUN, "--out", "run").code == 0
    assert not Path("run/best.safetensors").exists()
    figures = aerostat("eval", "run", data, "--json")
    assert (figures.code, figures.document["images"]) == (0, 3)
    assert "there is no val split: evaluating on train" in figures.err


# --- eval ---


def test_eval_prints_the_familiar_table(
    aerostat: Callable[..., Ended], coco: Path, seer: Callable[..., Seer]
) -> None:
    seer("disc")
    ended = aerostat("eval", "any", coco)
    lines = ended.out.splitlines()
    assert ended.code == 0
    assert lines[0] == " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 1.000"
    assert lines[9] == " Average Recall     (AR) @[ IoU=0.50:0.95 | area= small | maxDets=100 ] = 1.000"
    assert "disc" in ended.out
    assert lines[-1] == "3 images, 3 instances, 3 detections"


def test_eval_takes_the_detectors_class_where_the_data_state_none(
    aerostat: Callable[..., Ended], via: Path, seer: Callable[..., Seer]
) -> None:
    seer("disc")
    document = aerostat("eval", "any", via, "--json").document
    assert (document["ap"], document["instances"]) == (1.0, 3)


def test_eval_guesses_no_class_where_the_detector_knows_several(
    aerostat: Callable[..., Ended], via: Path, seer: Callable[..., Seer]
) -> None:
    seer("disc", "kite")
    assert_refused(aerostat("eval", "any", via), "states no class", "--classes NAME")
    assert aerostat("eval", "any", via, "--classes", "kite", "--json").document["ap"] == 1.0


@pytest.mark.parametrize("classes", [[], ["--classes", "disc", "kite"], ["--classes", "kite", "disc"]])
def test_eval_matches_classes_by_name_and_saves_under_the_ids_of_the_data(
    aerostat: Callable[..., Ended], tmp_path: Path, seer: Callable[..., Seer], classes: list[str]
) -> None:
    data = write_coco(tmp_path / "two", {7: "disc", 4: "kite"})
    seer("bird", "kite", "disc")  # knows more, in another order
    ended = aerostat("eval", "any", data, "--json", "--save", "found.json", *classes)
    assert ended.document["ap"] == 1.0
    truth = COCO(data / "val" / "_annotations.coco.json")
    saved = json.loads(Path("found.json").read_text())
    assert [(row["image_id"], row["category_id"]) for row in saved] == [(100, 7), (101, 4), (102, 7)]
    assert len(truth.loadRes("found.json").anns) == 3


def test_eval_of_classes_that_the_detector_does_not_know_is_refused(
    aerostat: Callable[..., Ended], tmp_path: Path, seer: Callable[..., Seer]
) -> None:
    data = write_coco(tmp_path / "two", {7: "disc", 4: "kite"})
    seer("disc")
    ended = aerostat("eval", "any", data)
    assert_refused(ended, "The detector knows the classes disc", "kite")
    assert "--classes" not in ended.err, "nobody gave any"


@pytest.mark.parametrize(
    ("splits", "chosen", "note"),
    [
        (["train", "val", "test"], "val", ""),
        (["train", "valid"], "val", ""),
        (["train", "test"], "test", "there is no val split: evaluating on test"),
        (["train"], "train", "there is no val split: evaluating on train"),
    ],
)
def test_eval_says_on_which_split_where_it_is_not_val(
    aerostat: Callable[..., Ended],
    tmp_path: Path,
    seer: Callable[..., Seer],
    splits: list[str],
    chosen: str,
    note: str,
) -> None:
    for size, split in enumerate(splits, start=2):
        write_coco(tmp_path / "d", {1: "disc"}, [split], count=size)
    seer("disc")
    ended = aerostat("eval", "any", tmp_path / "d", "--json")
    spelling = "valid" if chosen == "val" and "valid" in splits else chosen
    assert ended.document["images"] == 2 + splits.index(spelling)
    assert ended.err.strip() == note


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--split", "test"], ["'test'", "train, val"]),
        (["--input-size", "100"], ["multiple of 32", "100"]),
        (["--device", "abacus"], ["'abacus'", "cpu"]),
        (["--max-dets", "100", "10", "1"], ["ascending", "(100, 10, 1)"]),
        (["--max-dets", "1", "10"], ["--max-dets", "3"]),
        (["--images", "none"], ["none"]),
        (["--save", "."], ["folder", "--save"]),
        (["--save", "taken.json"], ["taken.json exists", "--force"]),
        (["--save", "taken.json/found.json"], ["taken.json is a file"]),
    ],
)
def test_an_evaluation_that_cannot_be_done_is_refused(
    aerostat: Callable[..., Ended], coco: Path, weights: Path, words: list[str], expected: list[str]
) -> None:
    Path("taken.json").write_text("precious")
    before = tree(coco.parent)
    assert_refused(aerostat("eval", weights, coco, *words), *expected)
    assert tree(coco.parent) == before


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.pth", None, ["none.pth"]),
        ("empty.pth", b"", ["empty.pth", "empty file"]),
        ("text.safetensors", b"hello", ["text.safetensors", "not a weights file"]),
        ("folder", None, ["folder", "best.safetensors"]),
    ],
)
@pytest.mark.parametrize("verb", ["eval", "predict", "export"])
def test_what_is_no_weights_file_is_refused(
    aerostat: Callable[..., Ended], coco: Path, verb: str, name: str, content: bytes | None, words: list[str]
) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    if name == "folder":
        Path(name).mkdir()
    assert_refused(aerostat(verb, name, *([] if verb == "export" else [coco / "val"])), *words)


def test_half_a_weights_file_is_refused(aerostat: Callable[..., Ended], coco: Path, weights: Path) -> None:
    Path("half.safetensors").write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    assert_refused(aerostat("eval", "half.safetensors", coco), "half.safetensors", "cut off")


# --- predict ---


def test_predict_reports_the_broken_and_does_the_rest(
    aerostat: Callable[..., Ended], via: Path, weights: Path
) -> None:
    (via / "val" / "1.jpg").write_bytes(b"no image")
    ended = aerostat("predict", weights, via / "val")
    assert ended.code == 1
    assert f"{via / 'val' / '1.jpg'}: NOT READ" in ended.out
    assert ended.err.endswith(
        f"1 of 3 images could not be read, first {via / 'val' / '1.jpg'}; the others are done.\n"
    )
    written = sorted(p.name for p in Path("predictions").iterdir())
    assert written == ["0.jpg", "2.jpg", "detections.json"]
    document = aerostat("predict", weights, via / "val", "--json").document
    assert [Path(image["file"]).name for image in document["images"]] == ["0.jpg", "2.jpg"]
    assert [Path(image["file"]).name for image in document["failed"]] == ["1.jpg"]


def test_predict_of_nothing_readable_fails_and_writes_nothing(
    aerostat: Callable[..., Ended], weights: Path, working_folder: Path
) -> None:
    Path("broken.jpg").write_bytes(b"no image")
    ended = aerostat("predict", weights, "broken.jpg")
    assert (ended.code, ended.out.splitlines()[-1]) == (1, "nothing was written: no image could be read")
    assert "first broken.jpg; nothing was written." in ended.err
    assert [path.name for path in working_folder.iterdir()] == ["broken.jpg"]


def test_predict_says_when_nothing_was_found(
    aerostat: Callable[..., Ended], via: Path, weights: Path
) -> None:
    ended = aerostat("predict", weights, via / "val" / "0.jpg", "--no-pictures", "--format", "csv")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        f"{via / 'val' / '0.jpg'}: nothing above the score",
        "0 detections on 1 image",
        "wrote predictions/detections.csv",
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere"], ["nowhere"]),
        (["empty"], ["no images in the folder empty"]),
        (["*.jpg"], ["*.jpg"]),
        (["x.png", "--score", "1.5"], ["1.5"]),
        (["x.png", "--nms-iou", "0"], ["0.0"]),
        (["x.png", "--out", "."], ["photographs", "--out"]),
        (["x.png", "--out", "x.png"], ["x.png is a file"]),
        (["x.png", "--input-size", "33"], ["multiple of 32"]),
    ],
)
def test_a_prediction_that_cannot_be_done_is_refused(
    aerostat: Callable[..., Ended], weights: Path, working_folder: Path, words: list[str], expected: list[str]
) -> None:
    Path("empty").mkdir()
    photograph(Path("x.png"))
    before = tree(working_folder)
    assert_refused(aerostat("predict", weights, *words), *expected)
    assert tree(working_folder) == before


# --- export, models, report, doctor ---


def test_export_replaces_only_with_force_and_never_its_source(
    aerostat: Callable[..., Ended], weights: Path
) -> None:
    assert aerostat("export", weights, "--out", "a.pth").code == 0
    first = Path("a.pth").read_bytes()
    assert_refused(aerostat("export", weights, "--out", "a.pth"), "a.pth exists", "--force")
    assert_refused(
        aerostat("export", "a.pth", "--to", "openmmlab", "--force"), "a.pth is the file to export", "--out"
    )
    assert_refused(aerostat("export", weights, "--out", "a.pth/b.pth"), "a.pth is a file")
    assert Path("a.pth").read_bytes() == first
    assert aerostat("export", weights, "--out", "a.pth", "--force").code == 0


def test_an_exported_file_keeps_the_input_size(aerostat: Callable[..., Ended], working_folder: Path) -> None:
    save_weights("n.safetensors", build("nano", 2).state_dict(), Header("nano", ("a", "b"), (96, 96)))
    assert aerostat("export", "n.safetensors", "--to", "openmmlab").code == 0
    header = read_header(working_folder / "n.pth")
    assert (header.size, header.classes, header.input_size) == ("nano", ("a", "b"), (96, 96))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "openmmlab", "--nms"], ["--nms", "OpenMMLab"]),
        (["--nms-iou", "0.5"], ["--nms-iou", "--nms"]),
        (["--nms", "--nms-iou", "1.5"], ["NMS IoU", "1.5"]),
        (["--dynamic", "--batch", "4"], ["--batch", "--dynamic"]),
        (["--batch", "-1"], ["batch", "-1"]),
        (["--out", "m.txt"], [".onnx", "m.txt"]),
        (["--int8"], ["INT8", "--images"]),
        (["--images", "nowhere"], ["nowhere"]),
        (["--classes", "a", "b"], ["--classes", "--data"]),
        (["--input-size", "100"], ["multiple of 32", "100"]),
    ],
    ids=" ".join,
)
def test_an_export_that_cannot_be_is_refused_before_anything_is_written(
    aerostat: Callable[..., Ended], working_folder: Path, options: list[str], words: list[str]
) -> None:
    save_weights("n.safetensors", build("nano", 2).state_dict(), Header("nano", ("a", "b"), (64, 64)))
    assert_refused(aerostat("export", "n.safetensors", *options), *words)
    assert sorted(p.name for p in working_folder.iterdir()) == ["n.safetensors"]


def test_an_onnx_export_says_what_it_was_compared_on_and_is_taken_by_predict(
    aerostat: Callable[..., Ended], working_folder: Path
) -> None:
    save_weights("n.safetensors", build("nano", 2).state_dict(), Header("nano", ("a", "b"), (64, 64)))
    done = aerostat("export", "n.safetensors")
    assert done.code == 0
    first, second = done.out.splitlines()
    assert first.startswith("wrote n.onnx: rtmdet-nano, float32, classes a, b, ")
    assert second.startswith("the same as the weights, on drawn scenes")
    assert_refused(aerostat("export", "n.safetensors"), "n.onnx exists", "--force")
    assert_refused(aerostat("export", "n.onnx"), "exported model already")
    Image.new("RGB", (70, 50)).save("p.png")
    found = aerostat("predict", "n.safetensors", "p.png", "--json")
    assert found.code == 0
    assert "running n.onnx, the export of these weights" in found.err
    figures = aerostat("export", "n.safetensors", "--images", "p.png", "--nms", "--force", "--json").document
    assert figures["agreement"]["same"] and figures["agreement"]["images"] == 1
    assert "running" not in aerostat("predict", "n.safetensors", "p.png").err


def test_an_exported_file_has_the_published_names_and_shapes_in_their_order(
    aerostat: Callable[..., Ended], working_folder: Path
) -> None:
    reference = np.load(Path(__file__).parents[1] / "model" / "parity" / "tiny_det_1.npz")
    state = build("tiny", 1).state_dict()
    save_weights("t.safetensors", state, Header("tiny", ("balloon",)))
    assert aerostat("export", "t.safetensors", "--to", "openmmlab").code == 0
    theirs = torch.load(working_folder / "t.pth", weights_only=True)
    assert list(theirs["state_dict"]) == [str(name) for name in reference["state_names"]]
    shapes = [json.loads(str(shape)) for shape in reference["state_shapes"]]
    assert [list(tensor.shape) for tensor in theirs["state_dict"].values()] == shapes
    assert all(torch.equal(theirs["state_dict"][name], tensor) for name, tensor in state.items())
    assert theirs["meta"]["dataset_meta"]["classes"] == ("balloon",)


def test_export_refuses_weights_with_a_part_missing(
    aerostat: Callable[..., Ended], working_folder: Path
) -> None:
    state = {name: t for name, t in build("nano", 1).state_dict().items() if "neck.out_convs.1" not in name}
    save_weights("n.safetensors", state, Header("nano", ("a",)))
    assert_refused(aerostat("export", "n.safetensors"), "neck.out_convs.1", "missing")
    assert_refused(aerostat("export", "n.safetensors", "--to", "openmmlab"), "neck.out_convs.1", "missing")
    assert sorted(p.name for p in working_folder.iterdir()) == ["n.safetensors"]


def test_export_refuses_a_backbone(aerostat: Callable[..., Ended], working_folder: Path) -> None:
    net = build("nano", 1)
    backbone = {name: t for name, t in net.state_dict().items() if name.startswith("backbone.")}
    save_weights("b.safetensors", backbone, Header("nano", (), (224, 224), kind="backbone"))
    assert_refused(aerostat("export", "b.safetensors"), "backbone")
    assert_refused(aerostat("predict", "b.safetensors", working_folder.parent), "image")
    assert sorted(p.name for p in working_folder.iterdir()) == ["b.safetensors"]


def test_models_lists_the_zoo_in_80_columns_and_as_json(
    aerostat: Callable[..., Ended], tmp_path: Path
) -> None:
    listed = aerostat("models")
    rows = aerostat("models", "--json").document
    assert (listed.code, listed.err) == (0, "")
    table = listed.out.splitlines()[1 : 1 + len(rows)]
    assert [line.split()[0] for line in table] == [row["name"] for row in rows]
    assert max(map(len, table)) <= 80
    assert str(tmp_path / "home") in listed.out
    tiny = next(row for row in rows if row["name"] == "rtmdet-tiny")
    assert tiny["url"].startswith("https://download.openmmlab.com/")
    assert tiny["url"].endswith(f"-{tiny['sha256_prefix']}.pth")
    assert (tiny["box_ap"], tiny["here"]) == (41.1, False)


def test_report_refuses_what_is_no_run(aerostat: Callable[..., Ended], working_folder: Path) -> None:
    for name in ("none", str(working_folder)):
        assert_refused(aerostat("report", name), "no run")
    assert list(working_folder.iterdir()) == []


def test_demo_refuses_a_folder_with_anything_in_it(
    aerostat: Callable[..., Ended], working_folder: Path
) -> None:
    Path("full").mkdir()
    Path("full/notes.txt").write_text("precious")
    assert_refused(aerostat("demo", "--out", "full"), "full exists")
    assert tree(working_folder) == {"full": None, "full/notes.txt": b"precious"}


def test_doctor_names_the_versions(aerostat: Callable[..., Ended]) -> None:
    assert aerostat("doctor").document["packages"]["torch"] == torch.__version__
