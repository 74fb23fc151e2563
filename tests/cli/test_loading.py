"""What stands where weights are named."""

from pathlib import Path

import pytest


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
def test_what_is_no_weights_file_is_refused(aerostat, coco, verb, name, content, words, assert_refused):
    if content is not None:
        Path(name).write_bytes(content)
    if name == "folder":
        Path(name).mkdir()
    assert_refused(aerostat(verb, name, *([] if verb == "export" else [coco / "val"])), *words)


def test_half_a_weights_file_is_refused(aerostat, coco, weights, assert_refused):
    Path("half.safetensors").write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    assert_refused(aerostat("eval", "half.safetensors", coco), "half.safetensors", "cut off")
