"""What an exported file says about itself, against onnx's own reader and writer of the format."""

import json
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from aerostat.errors import InputError
from aerostat.inference.backends.exported import KEY, Exported, read_onnx_entry

ENTRY = Exported("nano", ("a", "büß", '"<&\n'), (96, 64), dynamic=True, batch=None, precision="int8")


def model_with(entry: str | None, **others: str) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", values[:1], values[1:])
    model = helper.make_model(graph)
    helper.set_model_props(model, {**others, **({KEY: entry} if entry is not None else {})})
    return model


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    return path


@given(
    classes=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=5),
    others=st.dictionaries(st.sampled_from(["a", "license", "ö"]), st.text(st.characters(codec="utf-8"))),
    batch=st.none() | st.integers(1, 64),
    nms_iou=st.none() | st.floats(0, 1),
)
def test_what_was_written_is_read(tmp_path_factory, classes, others, batch, nms_iou):
    entry = Exported(
        "tiny", tuple(classes), (320, 640), batch=batch, nms_iou=nms_iou, score_threshold=nms_iou
    )
    path = written(tmp_path_factory.mktemp("file"), model_with(entry.to_json(), **others).SerializeToString())
    found = read_onnx_entry(path)
    assert found == entry
    assert found.suppressed == (nms_iou is not None)


def test_fields_of_a_later_version_of_the_same_format_are_stepped_over(tmp_path):
    entry = json.dumps({**json.loads(ENTRY.to_json()), "colour": "blue"})
    assert read_onnx_entry(written(tmp_path, model_with(entry).SerializeToString())) == ENTRY


def test_an_entry_behind_large_weights_is_found(tmp_path):
    model = model_with(ENTRY.to_json())
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1 << 20], b"\x80" * (4 << 20), raw=True)
    model.graph.initializer.append(weight)
    assert read_onnx_entry(written(tmp_path, model.SerializeToString())) == ENTRY


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, share):
    content = model_with(ENTRY.to_json()).SerializeToString()
    with pytest.raises(InputError, match=r"model\.onnx"):
        read_onnx_entry(written(tmp_path, content[: int(len(content) * share)]))


LONG = b"\xff" * 9 + b"\x01"  # 2**64 - 1 as a varint


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "does not say what its classes"),
        (b"Dear Sir or Madam,\nplease find enclosed the model.\n", "no whole ONNX file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "no whole ONNX file"),
        (bytes(1000), "no whole ONNX file"),
        (b"\x72" + LONG, "no whole ONNX file"),  # metadata of 2**64 - 1 bytes
        (b"\x72\x04\x0a" + LONG, "no whole ONNX file"),  # a key of that length within 4 bytes
        (b"\x72" + b"\xff" * 40, "no whole ONNX file"),  # a length without an end
        (b"\x72\x02\x0a\x00", "does not say what its classes"),  # an entry without a value
        (b"\x72\x03\x0a\x01\xff", "no whole ONNX file"),  # a key that is not UTF-8
        (b"\x72\x02\x12\x00", "no whole ONNX file"),  # an entry without a key
    ],
)
def test_what_is_no_onnx_file_of_ours_is_refused_in_one_sentence(tmp_path, content, says):
    with pytest.raises(InputError, match=says) as caught:
        read_onnx_entry(written(tmp_path, content))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_an_onnx_file_of_somebody_else_is_refused(tmp_path):
    content = model_with(None, author="somebody").SerializeToString()
    with pytest.raises(InputError, match="written by `aerostat export`"):
        read_onnx_entry(written(tmp_path, content))


def without(key: str) -> dict[str, object]:
    return {k: v for k, v in json.loads(ENTRY.to_json()).items() if k != key}


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        "{}",
        "[" * 100_000,
        json.dumps(without("format")),
        json.dumps(without("classes")),
        json.dumps({**without(""), "classes": []}),
        json.dumps({**without(""), "classes": [1, 2]}),
        json.dumps({**without(""), "classes": None}),
        json.dumps({**without(""), "input_size": [96]}),
        json.dumps({**without(""), "input_size": [0, 64]}),
        json.dumps({**without(""), "input_size": "large"}),
        json.dumps({**without(""), "format": None}),
    ],
)
def test_an_entry_that_cannot_be_read_is_refused(tmp_path, entry):
    with pytest.raises(InputError, match="export it again"):
        read_onnx_entry(written(tmp_path, model_with(entry).SerializeToString()))


def test_a_newer_format_is_refused_as_such(tmp_path):
    entry = json.dumps({"format": 3, "everything": "else"})
    with pytest.raises(InputError, match=r"newer aerostat \(format 3, expected 2 at most\)"):
        read_onnx_entry(written(tmp_path, model_with(entry).SerializeToString()))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_onnx_entry(tmp_path / "none.onnx")
