"""`eval --tta` and `predict --tta` as a person meets them."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aerostat.model import build
from aerostat.weights.checkpoint import Header, save_weights


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder with a detector for 64 px, two photographs and their annotations."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net = build("nano", 1)
    with torch.no_grad():
        for layer in net.bbox_head.rtm_cls:
            layer.bias.zero_()  # finds something everywhere
        for layer in net.bbox_head.rtm_reg:
            layer.bias.fill_(1.5)
    save_weights(tmp_path / "nano.safetensors", net.state_dict(), Header("nano", ("disc",), (64, 64)))
    folder = tmp_path / "data" / "val"
    folder.mkdir(parents=True)
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 255, (48, 80, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    images = [{"id": i, "file_name": f"{i}.png", "width": 80, "height": 48} for i in range(2)]
    box = {"id": 1, "image_id": 0, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0}
    document = {"images": images, "annotations": [box], "categories": [{"id": 1, "name": "disc"}]}
    (folder / "_annotations.coco.json").write_text(json.dumps(document))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


EVAL = ["eval", "nano.safetensors", "data"]
PREDICT = ["predict", "nano.safetensors", "data/val/0.png"]


def test_the_table_says_which_views_there_were(aerostat) -> None:
    code, out, _ = aerostat(*EVAL, "--tta", "--scales", "published")
    assert code == 0
    assert out.splitlines()[0].startswith(" Average Precision")
    assert out.splitlines()[-1] == (
        "test-time augmentation: 6 views (64, 32, 96 px, each plain and mirrored), merged by NMS at IoU 0.65"
    )
    assert "test-time" not in aerostat(*EVAL)[1]


def test_the_document_says_which_views_there_were(aerostat) -> None:
    words = ["--tta", "--scales", "96", "1x", "--no-flip", "--merge", "wbf", "--merge-iou", "0.6", "--json"]
    told = json.loads(aerostat(*EVAL, *words)[1])
    assert told["tta"] == {
        "views": [{"input_size": [96, 96], "flip": False}, {"input_size": [64, 64], "flip": False}],
        "merge": "wbf",
        "merge_iou": 0.6,
    }
    plain = json.loads(aerostat(*EVAL, "--json")[1])
    assert plain["tta"] is None
    assert plain.keys() == told.keys()


def test_sizes_are_relative_to_the_input_that_was_asked_for(aerostat) -> None:
    words = ["--input-size", "128", "--tta", "--scales", "0.5", "1.0", "--json"]
    views = json.loads(aerostat(*EVAL, *words)[1])["tta"]["views"]
    assert [view["input_size"][0] for view in views] == [64, 64, 128, 128]


def test_one_view_gives_the_plain_figures(aerostat) -> None:
    plain = json.loads(aerostat(*EVAL, "--json")[1])
    one = json.loads(aerostat(*EVAL, "--json", "--tta", "--scales", "1.0", "--no-flip")[1])
    assert plain["detections"] > 0
    assert plain | {"tta": None} == one | {"tta": None}


def test_predict_says_which_views_there_were(aerostat) -> None:
    code, out, _ = aerostat(*PREDICT, "--tta", "--scales", "64,96", "--nms-iou", "0.5")
    assert code == 0
    assert (
        "test-time augmentation: 4 views (64, 96 px, each plain and mirrored), merged by WBF at IoU 0.5"
        in out.splitlines()
    )
    told = json.loads(aerostat(*PREDICT, "--tta", "--json", "--out", "more")[1])
    assert told["tta"]["views"][0] == {"input_size": [64, 64], "flip": False}
    assert json.loads(aerostat(*PREDICT, "--json", "--out", "plain")[1])["tta"] is None


@pytest.mark.parametrize(
    ("words", "merge"),
    [([], "wbf"), (["--scales", "published"], "nms"), (["--scales", "published", "--merge", "wbf"], "wbf")],
)
def test_the_published_scales_are_merged_as_published(aerostat, words: list[str], merge: str) -> None:
    told = json.loads(aerostat(*PREDICT, "--tta", *words, "--json", "--out", "more")[1])
    assert told["tta"]["merge"] == merge


@pytest.mark.parametrize("verb", [EVAL, PREDICT])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--scales", "640,320"], ["--scales would do nothing", "add --tta, or leave it out"]),
        (["--merge", "nms"], ["--merge"]),
        (["--merge-iou", "0"], ["--merge-iou"]),
        (["--flip"], ["--flip"]),
        (["--no-flip"], ["--no-flip"]),
        (["--no-flip", "--merge", "wbf"], ["--no-flip, --merge", "leave them out"]),
        (["--tta", "--scales"], ["at least one scale"]),
        (["--tta", "--scales", "0"], ["multiples of 32", "found 0;"]),
        (["--tta", "--scales", "-320"], ["found -320;"]),
        (["--tta", "--scales", "640,100"], ["found 100;"]),
        (["--tta", "--scales", "0.5,99999999"], ["found 99999999;"]),
        (["--tta", "--scales", "100.0"], ["found 100;"]),
        (["--tta", "--scales", "1.0,1x"], ["1x twice"]),
        (["--tta", "--scales", "large"], ["'large'"]),
        (["--tta", "--merge", "mean"], ["mean", "nms", "wbf"]),
        (["--tta", "--merge-iou", "1.5"], ["between 0 and 1", "1.5"]),
    ],
)
def test_options_that_cannot_be_or_would_do_nothing_are_refused_before_any_work(
    aerostat, verb: list[str], words: list[str], expected: list[str]
) -> None:
    code, out, err = aerostat(verb[0], "no-such-weights", *verb[2:], *words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert all(word in err for word in expected), err
    assert "no-such-weights" not in err
    assert not Path("predictions").exists()
