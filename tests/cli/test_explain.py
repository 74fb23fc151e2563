"""The verb `explain`: what it says and writes, and what it refuses before anything is written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from aerostat.draw.saving import save_image
from aerostat.model import build
from aerostat.weights.checkpoint import Header, save_weights

Run = Callable[..., Any]
"""Runs the verb; returns how it ended."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector with random weights that finds things of some size."""
    torch.manual_seed(1)
    net = build("nano", 2)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=1.4 / module.weight[0].numel() ** 0.5)
    for level in range(3):
        nn.init.constant_(net.bbox_head.rtm_cls[level].bias, -2.0)
        nn.init.constant_(net.bbox_head.rtm_reg[level].bias, 1.5)
    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    save_weights(path, net.state_dict(), Header("nano", ("kite", "balloon"), (96, 96)))
    return path


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    noise = np.random.default_rng(3).integers(0, 256, (150, 200, 3), dtype=np.uint8)
    return save_image(tmp_path / "party.png", noise)


@pytest.fixture
def explain(aerostat: Run, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*words: object, source: object = weights) -> Any:
        return aerostat("explain", source, *words, "--device", "cpu")

    return run


def test_each_detection_has_a_picture_and_a_sentence(explain: Run, photograph: Path, tmp_path: Path) -> None:
    ended = explain(photograph, "--score", 0.1, "--top", 3)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert len(lines) == 4
    for number, line in enumerate(lines[:3], start=1):
        picture = Path(line.rpartition(" -> ")[2])
        assert picture.name.startswith(f"party-explained-0{number}-")
        assert ", level " in line and "neck.out_convs[" in line
        assert cv2.imread(str(tmp_path / picture)).shape[1] == 480
    assert lines[3] == "wrote 3 pictures to explanations"
    assert "the best 3 of" in ended.err


def test_the_document_says_what_was_explained_and_how(explain: Run, photograph: Path, tmp_path: Path) -> None:
    ended = explain(
        photograph, "--score", 0.1, "--top", 1, "--method", "hirescam", "layercam", "--layers", "neck",
        "--save", "npz", "--out", "why", "--json",
    )  # fmt: skip
    document = json.loads(ended.out)
    made = document["explanations"]
    assert [(m["method"], m["layers"]) for m in made] == [
        (method, [f"neck.out_convs[{level}]"]) for method in ("hirescam", "layercam") for level in range(3)
    ]
    own = [f"neck.out_convs[{made[0]['levels'][0]}]"]
    assert [m["influence"] for m in made] == [m["layers"] == own for m in made]
    assert all("has no influence" in m["remark"] for m in made if not m["influence"])
    assert sorted(path.name for path in (tmp_path / "why").iterdir()) == sorted(
        Path(file).name for file in document["files"]
    )
    arrays = np.load(tmp_path / "why" / "party-explained.npz")
    assert arrays["1/layercam/neck.out_convs[2]"].shape == (3, 3)


def test_a_box_explains_why_there_is_no_detection(explain: Run, photograph: Path) -> None:
    ended = explain(photograph, "--box", "20,20,120,100", "--score", 0.99)
    assert ended.code == 0, ended.err
    assert "candidate" in ended.out and "is not above 0.99" in ended.out


@pytest.mark.parametrize("per", ["class", "all"])
def test_classes_or_everything_at_once(explain: Run, photograph: Path, per: str) -> None:
    ended = explain(photograph, "--per", per, "--score", 0.1, "--norm-in-box")
    assert ended.code == 0, ended.err
    assert " x " in ended.out.splitlines()[0]


def test_several_words_of_a_path_may_hold_anything(explain: Run, photograph: Path) -> None:
    odd = photograph.with_name("Ballon, rot [1] é.png")
    photograph.rename(odd)
    ended = explain(odd, "--score", 0.1, "--top", 1)
    assert ended.code == 0, ended.err
    assert Path(ended.out.splitlines()[0].rpartition(" -> ")[2]).is_file()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--layer", "neck.out_conv[1]"], "neck.out_convs[1]"),
        (["--layer", "neck.out_convs"], "not run itself"),
        (["--layer", "backbone.stage4[2].attention.fc"], "no place in the image"),
        (["--method", "gradcm"], "Did you mean 'gradcam'?"),
        (["--box", "1,2,3"], "x1,y1,x2,y2"),
        (["--box", "here"], "x1,y1,x2,y2"),
        (["--box", "50,50,20,90"], "x1 < x2"),
        (["--box", "500,500,600,600"], "200 x 150 px"),
        (["--score", "0.9999"], "the best candidate is"),
        (["--score", "2"], "score in [0, 1)"),
        (["--top", "0"], "top 0"),
        (["--target", "class"], "target"),
        (["--fuse"], "--fuse"),
        (["--fuse", "--layer", "backbone.stage4"], "--fuse"),
        (["--box", "1,1,9,9", "--per", "all"], "--per"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_nothing_is_written(
    explain: Run, photograph: Path, tmp_path: Path, words: list[str], expected: str
) -> None:
    before = sorted(tmp_path.iterdir())
    ended = explain(photograph, *words)
    assert ended.code == 2
    assert expected in ended.err and len(ended.err.strip().splitlines()) == 1
    assert not ended.out
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_no_image_is_refused(explain: Run, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    for image in ("text.jpg", "missing.jpg", "."):
        ended = explain(image)
        assert ended.code == 2
        assert "Expected an image" in ended.err
    assert not (tmp_path / "explanations").exists()


def test_a_file_in_place_of_the_folder_is_refused(explain: Run, photograph: Path, tmp_path: Path) -> None:
    (tmp_path / "explanations").write_text("taken")
    ended = explain(photograph)
    assert ended.code == 2 and "cannot be a folder" in ended.err


def test_an_exported_model_is_refused_with_what_serves_in_its_place(explain: Run, photograph: Path) -> None:
    ended = explain(photograph, "--method", "drise", "gradcam", source="model.onnx")
    assert ended.code == 2
    assert "cannot be looked into as gradcam must; explain the weights it was exported from" in ended.err
    for option, value in (("--layers", "neck"), ("--per", "all"), ("--box", "1,1,9,9"), ("--target", "loss")):
        ended = explain(photograph, option, value, source="model.onnx")
        assert ended.code == 2 and option in ended.err


def test_an_exported_model_is_explained_by_drise_much_as_its_weights_are(
    explain: Run, photograph: Path, tmp_path: Path, weights: Path
) -> None:
    from aerostat.deploy.export import export

    export(weights, tmp_path / "model.onnx")
    maps = {}
    for source in (str(weights), "model.onnx"):
        out = tmp_path / f"of-{Path(source).suffix[1:]}"
        asked = ("--method", "drise", "--masks", "60", "--top", "1", "--score", "0.1", "--save", "npz")
        ended = explain(photograph, *asked, "--out", out, source=source)
        assert ended.code == 0, ended.err
        (file,) = out.glob("*.npz")
        with np.load(file) as arrays:
            (maps[source],) = (arrays[name] for name in arrays.files if arrays[name].ndim == 2)
    first, second = (heat.ravel() for heat in maps.values())
    assert np.corrcoef(first, second)[0, 1] > 0.95


def test_faithfulness_is_a_table_with_controls_a_sentence_and_curves_for_each_detection(
    explain: Run, photograph: Path, tmp_path: Path
) -> None:
    ended = explain(
        photograph, "--score", 0.1, "--top", 2, "--method", "layercam", "gradcam", "--faithfulness"
    )
    assert ended.code == 0, ended.err
    for name in ("LayerCAM of neck", "GradCAM of neck", "random", "centred Gaussian", "Gaussian in the box"):
        assert (
            sum(
                line.startswith(f"  {name}") and line.endswith(tuple("0123456789"))
                for line in ended.out.splitlines()
            )
            >= 2
        )
    curves = [Path(line.split("-> ")[1]) for line in ended.out.splitlines() if line.startswith("  curves ->")]
    assert len(curves) == 2
    assert all(cv2.imread(str(tmp_path / path)) is not None for path in curves)
    assert "deletion and insertion" in ended.err  # what the numbers mean


def test_faithfulness_is_in_the_document_beside_what_it_measures(explain: Run, photograph: Path) -> None:
    ended = explain(photograph, "--score", 0.1, "--top", 1, "--faithfulness", "--json")
    content = json.loads(ended.out)
    measured = content["explanations"][0]["faithfulness"]
    assert 0 <= measured["inside"] <= 1
    for curve in (measured["deletion"], measured["insertion"], measured["controls"]["random"]["deletion"]):
        assert len(curve["shares"]) == len(curve["scores"]) and curve["shares"][-1] == 1
        assert curve["area"] == pytest.approx(np.trapezoid(curve["scores"], curve["shares"]))
    assert set(measured["randomised"]) == {"head", "network"}
    assert any(path.endswith("-curves.png") for path in content["files"])


def test_a_black_box_method_is_measured_too_and_has_no_weights_to_randomise(
    explain: Run, photograph: Path
) -> None:
    ended = explain(
        photograph, "--score", 0.1, "--top", 1, "--method", "drise", "--masks", 20, "--faithfulness", "--json"
    )
    measured = json.loads(ended.out)["explanations"][0]["faithfulness"]
    assert measured["randomised"] == {}
    assert measured["full_score"] > 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--faithfulness", "--per", "all"), "single detections"),
        (("--masks", "50"), "--masks is for --method drise"),
        (("--method", "drise", "--masks", "1"), "at least 2 masks"),
    ],
)
def test_requests_that_cannot_be_measured_are_refused_before_any_work(
    explain: Run, photograph: Path, tmp_path: Path, words: tuple[str, ...], expected: str
) -> None:
    ended = explain(photograph, *words, source="no-such-weights")
    assert ended.code == 2
    assert expected in ended.err
    assert not (tmp_path / "explanations").exists()
