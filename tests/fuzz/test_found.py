"""What fuzzing found, each in its smallest form: once a traceback, a hang or gigabytes, now a sentence."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from scripts.fuzz import bombs, parsers

from aerostat.datasets.dataset import Dataset
from aerostat.errors import InputError
from aerostat.images import limits
from aerostat.images.read import read_image, read_size
from aerostat.inference.backends.exported import Exported, read_onnx_entry
from aerostat.training.recipe import parse_assignments, read_recipe
from aerostat.weights.checkpoint import read_header
from aerostat.weights.training_state import load_state

Read = Callable[[Path], object]


def png(width: int, height: int) -> bytes:
    return bombs.png(width, height)


def entry(**values: object) -> bytes:
    return parsers.onnx(json.dumps({**parsers.ENTRY, **values}).encode())


@pytest.mark.parametrize(
    ("read", "content", "sentence"),
    [
        (read_recipe, b"x = " + b"[" * 1100, "nested too deeply"),
        (read_recipe, b"[optim]\nlr = " + b"9" * 5000, "no readable TOML recipe"),
        (read_recipe, b".".join([b"a"] * 20_000) + b" = 1", "more than 200 dots"),
        (read_recipe, b"[" + b"x" * 5000 + b"]", "Unknown recipe section 'xxx"),
        (read_onnx_entry, parsers.onnx(b'{"format": 1e400}'), "cannot be read"),
        (read_onnx_entry, entry(size={"x": "nano"}), "cannot be read"),
        (read_onnx_entry, entry(input_size=[320.5, 320]), "cannot be read"),
        (read_onnx_entry, entry(input_size=[10**9, 10**9]), "cannot be read"),
        (read_onnx_entry, entry(classes="abc"), "cannot be read"),
        (read_onnx_entry, entry(batch="two"), "cannot be read"),
        (read_image, png(2**31 - 1, 2**31 - 1), "claims 2147483647 x 2147483647 pixels"),
        (read_size, png(100_000, 100_000), "claims 100000 x 100000 pixels"),
        (read_image, bombs.tiff((30_000, 30_000)), "claims 30000 x 30000 pixels"),
        (read_image, b"\xff\xd8\xff\xe0\0\x02" + b"\xff\xd9", "readable image|end is missing"),
        (read_header, bombs.weights({"classes": ["a"] * 2}), "the class 'a' appears twice"),
        (read_header, bombs.weights({"size": ["nano"]}), "the size is"),
        (read_header, bombs.weights({"input_size": [10**9, 32]}), "the input size is"),
        (load_state, bombs.state_file(2), "is damaged"),
        (load_state, bombs.state_of_tree('{"$":"int","hex":"x"}'), "is damaged"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value[:25] if isinstance(value, str) else "",
)
def test_it_is_refused_in_a_sentence(tmp_path: Path, read: Read, content: bytes, sentence: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence) as raised:
        read(path)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 600


def test_an_array_whose_shape_is_beyond_the_machine_is_refused(tmp_path: Path) -> None:
    content = bombs.state_file(1).replace(b"[1000000]", b"[9" + b"0" * 40 + b"]", 1)
    header = content[8:].partition(b"\x00" * 100)[0]
    (tmp_path / "x.ckpt").write_bytes(struct.pack("<Q", len(header)) + header + bytes(1_000_000))
    with pytest.raises(InputError, match="is damaged"):
        load_state(tmp_path / "x.ckpt")


def test_an_image_that_is_genuine_is_read_all_the_same(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "drawn.png"
    path.write_bytes(bombs.png(8_000, 6_000, 6_000))
    monkeypatch.setattr(limits, "CAMERA_PIXELS", 40_000_000)  # as if cameras had no more
    with pytest.raises(InputError, match=re.escape("set AEROSTAT_MOST_PIXELS=48000000 to read it")):
        read_image(path)
    monkeypatch.setenv("AEROSTAT_MOST_PIXELS", "48000000")
    assert read_image(path).shape == (6_000, 8_000, 3)
    monkeypatch.setenv("AEROSTAT_MOST_PIXELS", "nonsense")
    with pytest.raises(InputError, match="claims 8000 x 6000"):
        read_image(path)


def test_markers_behind_the_end_of_a_jpeg_are_no_scans_of_it(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole + b"\xff\xda" * 1000)  # a film, as telephones append it
    assert read_image(tmp_path / "b.jpg").shape == (48, 64, 3)


def test_a_stream_larger_than_the_box_around_it_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.jp2"
    try:
        Image.new("RGB", (64, 48)).save(path, "JPEG2000")
    except (OSError, KeyError):
        pytest.skip("this Pillow writes no JPEG 2000")
    content = bytearray(path.read_bytes())
    start = content.index(b"\xff\x4f\xff\x51")
    content[start + 8 : start + 16] = struct.pack(">II", 60_000, 60_000)
    path.write_bytes(content)
    assert read_size(path) == (64, 48)
    with pytest.raises(InputError, match="claims 60000 x 60000"):
        read_image(path)


def test_a_run_of_a_mask_without_an_end_costs_only_its_area(tmp_path: Path) -> None:
    Image.new("RGB", parsers.SIZE).save(tmp_path / "a.png")
    for counts in ('"' + "o" * 100_000 + '"', "[1" + "0" * 400 + "]", "[5,-9]"):
        (tmp_path / "c.json").write_bytes(bombs.coco(annotations=f"[{bombs.rle(counts)}]"))
        (image,) = Dataset.read(tmp_path / "c.json").splits["all"].images
        assert [instance.area for instance in image.instances] == [1600.0]  # that of the box


def test_a_table_that_lacks_a_column_is_refused_by_its_name(tmp_path: Path) -> None:
    header = bombs.CSV.replace("region_shape_attributes", "xregion_shape_attributes")
    (tmp_path / "x.csv").write_text(header + bombs.ROW)
    with pytest.raises(InputError, match="lacks the column 'region_shape_attributes'"):
        Dataset.read(tmp_path / "x.csv")


def test_assignments_that_no_parser_takes_are_texts() -> None:
    assert parse_assignments(["optim.lr=" + "9" * 5000]) == {"optim": {"lr": "9" * 5000}}
    assert parse_assignments(["optim.lr=" + "[" * 2000])["optim"]["lr"].startswith("[[")


def test_an_export_that_says_what_it_wrote_is_believed(tmp_path: Path) -> None:
    said = Exported("nano", ("balloon",), (320, 256), score_threshold=0.1, nms_iou=0.65)
    (tmp_path / "x.onnx").write_bytes(parsers.onnx(said.to_json().encode()))
    assert read_onnx_entry(tmp_path / "x.onnx") == said


def test_the_checksums_of_made_images_are_right() -> None:
    content = png(3, 2)
    assert struct.unpack(">I", content[29:33])[0] == zlib.crc32(content[12:29])
