"""Each verb's JSON document has the keys and values of version 0.1.0, and its files have the same content."""

import json
from pathlib import Path

import pytest

RECORDED = json.loads((Path(__file__).with_name("data") / "documents.json").read_text("utf-8"))
SLOW = {"benchmark", "explain-faithfulness", "inspect", "export-onnx", "export-openvino"}
NEEDS = {
    "eval-onnx": ("onnxruntime",),
    "export-onnx": ("onnx", "onnxruntime"),
    "export-openvino": ("onnx", "openvino"),
    "benchmark": ("onnx", "onnxruntime"),
    "doctor": ("onnx", "onnxruntime", "openvino"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in RECORDED]
)
def test_a_json_document_has_its_keys_and_values(aerostat, here, assert_as_recorded, name):
    for package in NEEDS.get(name, ()):
        pytest.importorskip(package)
    before = RECORDED[name]
    ended = aerostat(*before["words"])
    assert ended.code == (1 if name == "lint" else 0), ended.err
    assert_as_recorded(before["document"], json.loads(ended.out), name)
    for path, content in before["files"].items():
        text = (here / path).read_text("utf-8")
        assert_as_recorded(content, json.loads(text) if path.endswith(".json") else text, path)
