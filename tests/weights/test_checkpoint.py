"""Weights files say what they are for, refuse what contradicts itself, and adapt to other classes."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from aerostat.errors import InputError
from aerostat.weights.checkpoint import (
    Header,
    Weights,
    adapt_classes,
    check_size,
    fit_to,
    load_weights,
    read_header,
    save_weights,
)
from aerostat.weights.coco_classes import COCO_CLASSES

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
PERSON = SHARED / "weights" / "rtmdet_nano_person.pth"
HEAD = "bbox_head.rtm_cls.{}.{}"


def head(classes: int, start: float = 0.0) -> dict[str, torch.Tensor]:
    """The class layers of a small head, every row of its own value."""
    state = {"neck.x": torch.full((2,), start)}
    for level in range(3):
        rows = torch.arange(classes, dtype=torch.float32) + start + 100 * level
        state[HEAD.format(level, "weight")] = rows.view(-1, 1, 1, 1).repeat(1, 4, 1, 1)
        state[HEAD.format(level, "bias")] = rows.clone()
    return state


# ------------------------------------------------------------------------------------ files


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    state = {**head(2), "n": torch.tensor(7), "empty": torch.empty(0, 3)}
    header = Header(
        "tiny",
        ("balloon", "Luftballon ü 气球"),
        input_size=(320, 256),
        letterbox={"pad_value": 114, "align": "centre"},
        recipe={"optim": {"lr": 0.001}, "epochs": 40},
        metrics={"AP": np.float32(0.5), "AP_small": math.nan, "count": torch.tensor(3)},
        notes=("a note",),
    )
    save_weights(tmp_path / "new" / "best.safetensors", state, header)
    read = load_weights(tmp_path / "new" / "best.safetensors")
    assert read.header == Header(
        **{**vars(header), "metrics": {"AP": 0.5, "AP_small": None, "count": 3}, "version": header.version}
    )
    assert read_header(tmp_path / "new" / "best.safetensors") == read.header
    assert read.state.keys() == state.keys()
    assert all(torch.equal(read.state[name], state[name]) for name in state)
    assert load_file(tmp_path / "new" / "best.safetensors").keys() == state.keys()  # anybody's reader


def test_the_header_is_one_json_document_without_nan(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", head(1), Header("s", ("a",), metrics={"AP": math.inf}))
    content = (tmp_path / "w.safetensors").read_bytes()
    outer = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    document = json.loads(outer["__metadata__"]["aerostat"], parse_constant=lambda c: pytest.fail(c))
    assert (document["size"], document["classes"], document["metrics"]) == ("s", ["a"], {"AP": None})


def test_half_precision_halves_the_file_and_loads_as_float32(tmp_path: Path) -> None:
    state = {"w": torch.randn(1000, generator=torch.Generator().manual_seed(0)), "huge": torch.tensor([1e6])}
    state |= {"n": torch.tensor(70000), "inf": torch.tensor([math.inf])}
    save_weights(tmp_path / "w.safetensors", state, Header("nano", ("a",)), dtype=torch.float16)
    read = load_weights(tmp_path / "w.safetensors").state
    assert (tmp_path / "w.safetensors").stat().st_size < 3000
    assert {t.dtype for t in read.values()} == {torch.float32, torch.int64}
    torch.testing.assert_close(read["w"], state["w"], rtol=1e-3, atol=1e-6)
    assert read["huge"] == 1e6  # beyond float16, so stored as it was
    assert read["n"] == 70000


def test_tensors_that_share_memory_and_views_are_stored_apart(tmp_path: Path) -> None:
    shared = torch.arange(12.0).reshape(3, 4)
    state = {"a": shared, "b": shared, "t": shared.T, "p": torch.nn.Parameter(shared[1])}
    save_weights(tmp_path / "w.safetensors", state, Header("nano", ("a",)))
    read = load_weights(tmp_path / "w.safetensors").state
    assert all(torch.equal(read[name], state[name].detach()) for name in state)


def test_a_failed_save_leaves_what_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, head(1), Header("nano", ("a",)))
    before = path.read_bytes()
    with pytest.raises(InputError, match="names 2 classes but its head has 1"):
        save_weights(path, head(1), Header("nano", ("a", "b")))
    with pytest.raises(TypeError, match="plain values"):
        save_weights(path, head(1), Header("nano", ("a",), metrics={"x": object()}))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


GOOD = {"format": 1, "size": "tiny", "classes": ["balloon"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": "huge"}, "the size is 'huge'; expected one of nano, tiny, s, m, l, x"),
        ({"size": ["tiny"]}, "the size is"),
        ({"size": None}, "the size is None"),
        ({"classes": []}, "the list of classes is empty"),
        ({"classes": [1, 2]}, r"the classes are \(1, 2\); expected a list of names"),
        ({"classes": "balloon"}, "expected a list of names"),
        ({"classes": ["a", "a"]}, "the class 'a' appears twice"),
        ({"classes": [""]}, "expected a list of names"),
        ({"classes": ["a", "b"]}, "names 2 classes but its head has 1"),
        ({"input_size": [640]}, "the input size is"),
        ({"input_size": [640, "640"]}, "the input size is"),
        ({"input_size": [640, -1]}, "the input size is"),
        ({"letterbox": 3}, "'letterbox' is 3"),
        ({"recipe": "x"}, "'recipe' is 'x'"),
        ({"metrics": None}, "'metrics' is None"),
        ({"kind": "poem"}, "the kind is 'poem'"),
        ({"notes": [1]}, "the notes are"),
        ({"format": 2}, "is of format 2, but this aerostat .* reads up to format 1; install a newer one"),
        ({"format": "1"}, "no format number"),
    ],
)
def test_a_header_that_lies_is_refused_in_one_sentence(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "w.safetensors"
    save_file(head(1), path, {"aerostat": json.dumps({**GOOD, **change})})
    with pytest.raises(InputError, match=message) as raised:
        load_weights(path)
    assert "w.safetensors" in str(raised.value) and "\n" not in str(raised.value)


def test_fields_of_a_later_version_in_the_same_format_are_passed_over(tmp_path: Path) -> None:
    save_file(head(1), tmp_path / "w.safetensors", {"aerostat": json.dumps({**GOOD, "mood": "sunny"})})
    assert load_weights(tmp_path / "w.safetensors").header.classes == ("balloon",)


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}, {"aerostat": "{"}, {"aerostat": "[" * 100_000}])
def test_safetensors_of_others_and_broken_json_are_refused(tmp_path: Path, metadata: dict[str, str]) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "w.safetensors", metadata)
    for read in (load_weights, read_header):
        with pytest.raises(InputError, match=r"w\.safetensors is (not a weights file|cut off or damaged)"):
            read(tmp_path / "w.safetensors")


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", head(1), Header("nano", ("a",)))
    content = (tmp_path / "w.safetensors").read_bytes()
    for length in [*range(0, len(content), 37), len(content) - 1]:
        (tmp_path / "cut.safetensors").write_bytes(content[:length])
        for read in (load_weights, read_header):
            with pytest.raises(InputError, match=r"cut\.safetensors is "):
                read(tmp_path / "cut.safetensors")


def test_missing_files_folders_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no file"):
        load_weights(tmp_path / "absent.safetensors")
    with pytest.raises(InputError, match="is a folder"):
        load_weights(tmp_path)
    (tmp_path / "x.jpg").write_bytes(b"\xff\xd8\xff" + bytes(100))
    with pytest.raises(InputError, match="is not a weights file of aerostat or OpenMMLab"):
        load_weights(tmp_path / "x.jpg")


def test_the_size_in_the_header_must_be_the_tensors_size(tmp_path: Path) -> None:
    tiny = {"backbone.stem.2.conv.weight": torch.empty(24, 12, 3, 3)}
    tiny |= {"backbone.stage1.0.conv.weight": torch.ones(1), "backbone.stage2.1.blocks.0.x": torch.ones(1)}
    with pytest.raises(InputError, match="states s weights, but they are tiny"):
        save_weights(tmp_path / "w.safetensors", tiny, Header("s", ("a",), kind="backbone"))


# ------------------------------------------------------------------------------------ OpenMMLab's files


def tiny_openmmlab(path: Path, classes: int = 2, **meta: object) -> Path:
    state = {
        "backbone.stem.2.conv.weight": torch.ones(24, 12, 3, 3, dtype=torch.float16),
        "backbone.stage1.0.conv.weight": torch.ones(1),
        "backbone.stage2.1.blocks.0.conv1.conv.weight": torch.ones(1),
        "bbox_head.rtm_cls.0.weight": torch.ones(classes, 96, 1, 1),
        "data_preprocessor.mean": torch.tensor([103.53, 116.28, 123.675]),
    }
    torch.save({"meta": meta, "state_dict": state}, path)
    return path


def test_the_persons_file_says_its_size_classes_and_input() -> None:
    if not PERSON.exists():
        pytest.skip(f"{PERSON} is not here")
    header = load_weights(PERSON).header
    assert (header.size, header.classes, header.input_size) == ("nano", ("person",), (320, 320))
    assert (header.kind, header.source, header.notes) == ("detector", "openmmlab", ())
    assert read_header(PERSON) == header


def test_a_pth_is_recognised_whatever_its_name_and_loads_as_float32(tmp_path: Path) -> None:
    path = tiny_openmmlab(tmp_path / "model.safetensors", dataset_meta={"classes": ("a", "b")})
    read = load_weights(path)
    assert (read.header.size, read.header.classes, read.header.input_size) == ("tiny", ("a", "b"), (640, 640))
    assert read.state["backbone.stem.2.conv.weight"].dtype == torch.float32
    assert not any(name.startswith("data_preprocessor") for name in read.state)


def test_nameless_classes_are_coco_for_80_and_numbered_otherwise(tmp_path: Path) -> None:
    coco = load_weights(tiny_openmmlab(tmp_path / "a.pth", 80)).header
    assert coco.classes == COCO_CLASSES and "COCO" in coco.notes[0]
    two = load_weights(tiny_openmmlab(tmp_path / "b.pth", 2)).header
    assert two.classes == ("class_0", "class_1") and "names no classes" in two.notes[0]
    old = load_weights(tiny_openmmlab(tmp_path / "c.pth", 2, CLASSES=("x", "y"))).header
    assert old.classes == ("x", "y") and old.notes == ()


def test_a_backbone_alone_is_recognised_and_its_classifier_left_out(tmp_path: Path) -> None:
    state = {
        "backbone.stem.2.conv.weight": torch.ones(24, 12, 3, 3),
        "backbone.stage1.0.conv.weight": torch.ones(1),
        "backbone.stage2.1.blocks.0.conv1.conv.weight": torch.ones(1),
        "head.fc.weight": torch.ones(1000, 384),
    }
    torch.save({"state_dict": state}, tmp_path / "cspnext.pth")
    read = load_weights(tmp_path / "cspnext.pth")
    assert (read.header.kind, read.header.size, read.header.classes) == ("backbone", "tiny", ())
    assert "head.fc.weight" not in read.state
    save_weights(tmp_path / "cspnext.safetensors", read.state, read.header)
    assert load_weights(tmp_path / "cspnext.safetensors").header.kind == "backbone"


# ------------------------------------------------------------------------------------ other classes


def test_rows_of_the_same_name_are_kept_and_the_others_are_fresh() -> None:
    old, fresh = head(3, start=10), head(4, start=-50)
    state, report = adapt_classes(old, ("cat", "dog", "cow"), ("cow", "bee", "cat", "ant"), fresh)
    for level in range(3):
        new, base = -50 + 100 * level, 10 + 100 * level
        want = torch.tensor([base + 2, new + 1, base + 0, new + 3], dtype=torch.float32)
        assert torch.equal(state[HEAD.format(level, "bias")], want)
        assert torch.equal(state[HEAD.format(level, "weight")], want.view(4, 1, 1, 1).expand(4, 4, 1, 1))
    assert torch.equal(state["neck.x"], old["neck.x"])
    assert (report.kept, report.rebuilt, report.dropped) == (("cow", "cat"), ("bee", "ant"), ("dog",))
    assert report.sentence == "head rebuilt for bee, ant, rows kept for cow, cat"
    assert torch.equal(fresh[HEAD.format(0, "bias")], head(4, start=-50)[HEAD.format(0, "bias")])  # untouched


def test_the_same_classes_change_nothing() -> None:
    state, report = adapt_classes(head(2), ("a", "b"), ("a", "b"), head(2, start=9))
    assert all(torch.equal(state[name], tensor) for name, tensor in head(2).items())
    assert (report.kept, report.rebuilt) == (("a", "b"), ())
    assert report.sentence == "head kept for a, b"


def test_without_a_class_in_common_every_row_is_fresh() -> None:
    state, report = adapt_classes(head(1), ("person",), ("balloon",), head(1, start=9))
    assert state[HEAD.format(0, "bias")].item() == 9
    assert report.sentence == "head rebuilt for balloon"
    many = tuple(f"c{i}" for i in range(80))
    assert (
        adapt_classes(head(1), ("x",), many, head(80))[1].sentence
        == "head rebuilt for c0, c1, c2, c3, c4 and 75 more"
    )


def test_rows_that_do_not_match_the_names_are_refused() -> None:
    with pytest.raises(InputError, match=r"name 2 classes, but bbox_head\.rtm_cls\.0\.weight has 3 rows"):
        adapt_classes(head(3), ("a", "b"), ("c",), head(1))


def test_weights_of_another_size_are_refused_naming_both() -> None:
    with pytest.raises(InputError, match=r"Expected rtmdet-tiny weights, found rtmdet-nano in best.pth"):
        check_size(Header("nano", ("a",)), "tiny", "best.pth")
    check_size(Header("nano", ("a",)), "nano", "best.pth")


def test_fitting_refuses_missing_unknown_and_misshapen_tensors() -> None:
    fresh = head(1, start=5)
    weights = Weights(head(1), Header("nano", ("person",)))
    state, _ = fit_to(weights, "nano", ("balloon",), fresh, "w")
    assert state.keys() == fresh.keys() and state[HEAD.format(0, "bias")].item() == 5
    for change, message in [
        ({"neck.x": None}, r"lacks neck\.x \(1 names missing, 0 unknown\)"),
        ({"extra": torch.ones(1)}, r"has an unknown extra \(0 names missing, 1 unknown\)"),
        ({"neck.x": torch.ones(3)}, r"neck\.x has the shape \(3,\), expected \(2,\)"),
    ]:
        bad = {name: t for name, t in {**head(1), **change}.items() if t is not None}
        with pytest.raises(InputError, match=message):
            fit_to(Weights(bad, weights.header), "nano", ("balloon",), fresh, "w")


def test_a_backbone_alone_leaves_neck_and_head_fresh() -> None:
    fresh = {"backbone.a": torch.zeros(2), **head(1, start=5)}
    backbone = Weights({"backbone.a": torch.ones(2)}, Header("tiny", (), kind="backbone"))
    state, report = fit_to(backbone, "tiny", ("balloon",), fresh, "cspnext.pth")
    assert state["backbone.a"].tolist() == [1, 1] and state["neck.x"].tolist() == [5, 5]
    assert report.rebuilt == ("balloon",)


def test_the_persons_weights_start_a_balloon_detector_with_the_focal_prior() -> None:
    if not PERSON.exists():
        pytest.skip(f"{PERSON} is not here")
    from aerostat.model import build

    network = build("nano", 2)
    state, report = fit_to(load_weights(PERSON), "nano", ("balloon", "person"), network.state_dict(), PERSON)
    network.load_state_dict(state)
    theirs = torch.load(PERSON, weights_only=True)["state_dict"]
    assert (report.kept, report.rebuilt) == (("person",), ("balloon",))
    for level in range(3):
        bias = state[HEAD.format(level, "bias")]
        assert bias[0].item() == pytest.approx(-math.log(99))
        assert bias[1] == theirs[HEAD.format(level, "bias")][0]
    assert all(torch.equal(state[n], t) for n, t in theirs.items() if ".rtm_cls." not in n)
