"""Broken and doubtful annotations, as every verb that reads them meets them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from aerostat.datasets.formats import FORMATS


def edit(path: Path, change: Callable[[Any], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


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
    "no annotations": (
        lambda r: (r / "train/via.json").write_text('{"a": 1}'),
        [*(format_.title for format_ in FORMATS), "'a'"],
    ),
    "empty file": (lambda r: (r / "train/via.json").write_text(""), ["via.json", "annotation"]),
    "no annotation file": (lambda r: (r / "train/via.json").unlink(), ["3 images but no annotation file"]),
    "two annotation files": (
        lambda r: (
            shutil.copy(r / "train/via.json", r / "train/more.json"),
            edit(r / "train/more.json", lambda d: d["0.jpg1"].update(regions={})),
        ),
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
    aerostat, via, weights, working_folder, verb, what, assert_refused, tree, tiny_run
):
    break_it, words = BROKEN_VIA[what]
    break_it(via)
    before = tree(via.parent)
    commands = {
        "train": ["train", via, "--classes", "disc", *tiny_run],
        "convert": ["convert", via, "out", "--classes", "disc"],
        "eval": ["eval", weights, via, "--save", "found.json"],
    }
    assert_refused(aerostat(*commands[verb]), *words)
    assert tree(via.parent) == before


@pytest.mark.parametrize("verb", ["train", "convert"])
@pytest.mark.parametrize("what", BROKEN_COCO)
def test_broken_classes_are_refused_and_nothing_is_written(
    aerostat, coco, verb, what, assert_refused, tree, tiny_run
):
    break_it, words = BROKEN_COCO[what]
    break_it(coco)
    before = tree(coco.parent)
    assert_refused(aerostat(verb, coco, *(["out"] if verb == "convert" else tiny_run)), *words)
    assert tree(coco.parent) == before


def test_a_split_without_a_box_is_trained_and_evaluated_by_nobody(
    aerostat, via, weights, assert_refused, tiny_run
):
    edit(via / "val" / "via.json", lambda d: [entry.update(regions={}) for entry in d.values()])
    assert_refused(aerostat("train", via, "--classes", "disc", *tiny_run), "usable box", "'val'")
    assert_refused(aerostat("eval", weights, via), "usable box", "'val'")


def test_doubtful_regions_are_kept_or_dropped_and_counted(aerostat, via, assert_refused):
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
    aerostat, via, weights, content, assert_refused, tiny_run
):
    image = via / "val" / "1.jpg"
    image.unlink()
    if content is not None:
        image.write_bytes(content)
    kind = "missing image" if content is None else "unreadable image"
    for words in (
        ["convert", via, "out", "--classes", "disc"],
        ["train", via, "--classes", "disc", *tiny_run],
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
