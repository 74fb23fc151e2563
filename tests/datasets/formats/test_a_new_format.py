"""A new format is one module and one line in `FORMATS`: it is read, linted, converted, trained from, listed.

The toy format of `toy.py` has one file per image. The line is added for the test.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aerostat.__main__ import main
from aerostat.datasets import formats
from aerostat.datasets.annotation_text import AnnotationText
from aerostat.datasets.convert import convert
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats.format import SplitFiles
from aerostat.datasets.origin import ReadOptions
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath
from aerostat.lint.lint import lint_path
from aerostat.training.api import train

from . import toy


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, toy.FORMAT))


@pytest.fixture
def pets(images) -> Path:
    """Two splits of two images, the labels beside them."""
    root = images("pets", "train/a.png", "train/b.png", "val/a.png", "val/b.png")
    for split in ("train", "val"):
        (root / split / "a.toy").write_text("#toy\na.png\ncat 10 20 40 60\ndog 90 20 120 40")
        (root / split / "b.toy").write_text("#toy\nb.png\ndog 1 2 3.5 4")
    return root


def boxes(data: Dataset) -> list[list[tuple[str, tuple[float, ...]]]]:
    return [
        [(data.classes[i.label], i.box_xyxy) for i in image.instances]
        for split in data.splits.values()
        for image in split.images
    ]


EXPECTED = [[("cat", (10, 20, 40, 60)), ("dog", (90, 20, 100, 40))], [("dog", (1, 2, 3.5, 4))]] * 2


def test_all_files_of_a_folder_are_one_split(pets: Path) -> None:
    data = Dataset.read(pets)
    assert list(data.splits) == ["train", "val"] and boxes(data) == EXPECTED
    assert [p.kind for p in data.problems] == ["clipped"] * 2
    alone = Dataset.read(pets / "train" / "b.toy")
    assert boxes(alone) == [EXPECTED[1]]


@pytest.mark.parametrize("layout", ["{split}/labels", "labels/{split}"])
def test_its_files_may_stand_in_a_folder_of_their_own(pets: Path, tmp_path: Path, layout: str) -> None:
    for split in ("train", "val"):
        folder = tmp_path / "moved" / layout.format(split=split)
        folder.mkdir(parents=True)
        of_images = folder.parent / "images" if layout == "{split}/labels" else None
        of_images = of_images or tmp_path / "moved" / "images" / split
        of_images.mkdir(parents=True)
        for name in "ab":
            (pets / split / f"{name}.toy").rename(folder / f"{name}.toy")
            (pets / split / f"{name}.png").rename(of_images / f"{name}.png")
    assert boxes(Dataset.read(tmp_path / "moved")) == EXPECTED


def test_lint_looks_at_it(pets: Path) -> None:
    codes = {f.code for f in lint_path(pets).findings}
    assert codes == {"box-clipped", "duplicate-across-splits", "duplicate-in-split"}


def test_it_is_converted_to_and_from_every_other_format(pets: Path, tmp_path: Path) -> None:
    for name in ("coco", "via"):
        convert(pets, tmp_path / name, to=name)
        back_to = tmp_path / f"toy_from_{name}"
        done = convert(tmp_path / name, back_to, ReadOptions(images=pets), to="toy")
        assert done.format == "toy" and [f.path.name for f in done.files] == ["train", "val"]
        assert boxes(Dataset.read(back_to, images=pets)) == EXPECTED
    assert convert(pets / "val", tmp_path / "my-toy").format == "toy"  # the name says it
    with pytest.raises(InputError, match=r"my-toy exists"):
        convert(pets / "val", tmp_path / "my-toy")
    assert convert(pets / "val", tmp_path / "toys.json").format == "coco"  # it is no word of the name
    with pytest.raises(InputError, match="is the folder to convert"):
        convert(pets / "train", pets / "train", to="toy", force=True)


def test_it_is_named_where_nothing_is_recognised(pets: Path, write_json: Callable[..., Path]) -> None:
    path = write_json(pets / "x.json", {"some": "thing"})
    titles = ".+".join(format_.title for format_ in formats.FORMATS)
    assert titles.endswith("Toy")
    with pytest.raises(InputError, match=f"Expected {titles} annotations"):
        Dataset.read(path)
    with pytest.raises(InputError, match="Expected coco annotations, found toy in"):
        Dataset.read(pets, from_format="coco")


def test_it_is_trained_from(pets: Path, tmp_path: Path) -> None:
    tiny = {"epochs": 1, "input_size": 64, "batch_size": 2}
    run = train(Dataset.read(pets), model="rtmdet-nano", weights="", out=tmp_path / "run", **tiny)
    assert run.best.is_file()
    assert json.loads(run.environment.read_text("utf-8"))["data_card"]["classes"] == ["cat", "dog"]


def test_the_command_line_lists_it_and_takes_it(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "--help"]) == 0
    assert "toy" in capsys.readouterr().out
    assert (
        main(["convert", str(pets / "val"), str(tmp_path / "c.json"), "--from", "toy", "--to", "coco"]) == 0
    )
    assert main(["convert", str(pets / "val"), str(tmp_path / "d"), "--to", "toy"]) == 0
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["a.toy", "b.toy"]
    assert main(["convert", str(pets / "val"), str(tmp_path / "e"), "--to", "nope"]) == 2
    assert "toy" in capsys.readouterr().err


def test_the_list_of_formats_costs_other_verbs_nothing() -> None:
    code = "import sys; from aerostat.__main__ import main; main(['--help']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'cyclopts'" in done.stdout and "'numpy'" not in done.stdout and "'msgspec'" not in done.stdout


def listed_layout(folder: AnyPath, images: AnyPath | None) -> list[SplitFiles]:
    """A layout that only one format has: a file that lists annotation files in folders."""
    if not folder.is_dir() or not (folder / "list").is_file():
        return []
    texts = [AnnotationText(folder / name) for name in (folder / "list").read_bytes().decode().split()]
    return [SplitFiles("x", folder, tuple(texts), (images or folder,), format="toy")]


@pytest.mark.parametrize("given", ["beside", "by splits"])
def test_a_layout_of_its_own_may_stand_in_each_split_folder(
    pets: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS[:-1], replace(toy.FORMAT, find=listed_layout)))
    labels = pets if given == "beside" else pets.parent / "labels"
    for split in ("train", "val"):
        (labels / split / "deep").mkdir(parents=True)
        (pets / split / "b.toy").rename(labels / split / "deep" / "b.toy")
        (pets / split / "a.toy").rename(labels / split / "a.toy")
        (labels / split / "list").write_text("a.toy deep/b.toy")
    data = Dataset.read(labels, images=None if given == "beside" else pets)
    assert list(data.splits) == ["train", "val"] and boxes(data) == EXPECTED
