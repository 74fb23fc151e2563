"""What lint says of image files that are whole and of no use, of unused bits, and of turned images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from aerostat.__main__ import main
from aerostat.datasets.dataset import Dataset
from aerostat.lint.lint import lint_path
from aerostat.lint.listing import Finding

from . import nasty

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 12345\n"
GOOD = nasty.encoded(nasty.picture(0))


def write(
    folder: Path,
    files: dict[str, bytes],
    *,
    boxes: dict[str, Sequence[Sequence[float]]] | None = None,
    size: tuple[int, int] = (nasty.WIDTH, nasty.HEIGHT),
) -> Path:
    """Write images and a COCO file that gives each a box, or those that are named."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, content) in enumerate(files.items(), 1):
        (folder / name).write_bytes(content)
        images.append({"id": number, "file_name": name, "width": size[0], "height": size[1]})
        for bbox in (boxes or {}).get(name, [[5, 5, 30, 40]]):
            row = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "bbox": bbox}
            annotations.append(row)
    categories = [{"id": 1, "name": "kite"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "coco.json").write_text(json.dumps(document), "utf-8")
    return folder


def found(folder: Path, code: str) -> list[Finding]:
    return [one for one in lint_path(folder).findings if one.code == code]


def deep(highest: int, lowest: int = 0, suffix: str = ".png", seed: int = 0) -> bytes:
    coarse = np.random.default_rng(seed).random((6, 9, 3))
    smooth = cv2.resize(coarse, (nasty.WIDTH, nasty.HEIGHT), interpolation=cv2.INTER_LINEAR)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return cv2.imencode(suffix, (lowest + smooth * (highest - lowest)).astype(np.uint16))[1].tobytes()


# pointers, and pixels that are not read


def test_pointers_are_named_where_no_image_is_there(tmp_path, capsys):
    write(tmp_path, {"a.jpg": POINTER, "b.jpg": POINTER})
    assert main(["lint", str(tmp_path)]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "found a Git LFS pointer: " in told
    assert told.endswith('a.jpg; run "git lfs pull" where the data were cloned.')
    assert "`images`" not in told and "--images" not in told


def test_a_pointer_among_images_costs_itself_alone(tmp_path):
    write(tmp_path, {"a.jpg": POINTER, "b.jpg": GOOD})
    (one,) = found(tmp_path, "image-unreadable")
    assert one.file == "a.jpg" and one.severity == "error"
    assert (
        one.wrong
        == 'expected an image, found a Git LFS pointer; run "git lfs pull" where the data were cloned'
    )
    assert len(Dataset.read(tmp_path).splits["all"].images) == 1


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        ("f4", "32-bit floating point pixels"),
        ("i4", "32-bit signed integer pixels"),
        ("f8", "64-bit floating"),
    ],
)
def test_whole_files_of_other_pixels_are_unsupported_and_not_truncated(tmp_path, type_, words):
    content = cv2.imencode(".tiff", np.arange(96 * 64).reshape(64, 96).astype(type_))[1].tobytes()
    write(tmp_path, {"a.tif": content, "b.jpg": GOOD})
    report = lint_path(tmp_path)
    (one,) = (f for f in report.findings if f.severity == "error")
    assert (one.code, one.file) == ("image-unsupported", "a.tif")
    assert words in one.wrong and "not supported; save it as 8 or 16 bits (the file is whole)" in one.wrong
    assert one.training == "the image is left out with its objects"
    assert [i.file_name for i in Dataset.read(tmp_path).splits["all"].images] == ["b.jpg"]


def test_a_clip_that_annotations_name_is_called_a_clip(tmp_path):
    write(tmp_path, {"a.mp4": b"\0\0\0\x18ftypisom" + bytes(80), "b.jpg": GOOD})
    (one,) = found(tmp_path, "image-unsupported")
    assert "found a video clip, which is not read yet; save frames of it as images" in one.wrong


# bits in use


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize(
    ("bits", "factor", "dark"), [(10, 64, "nearly black"), (12, 16, "nearly black"), (14, 4, "dark")]
)
def test_unused_bits_are_a_warning_with_the_way_out(tmp_path, suffix, bits, factor, dark):
    name = f"a{suffix}"
    write(tmp_path, {name: deep(2**bits - 1, suffix=suffix), "b.jpg": GOOD})
    (one,) = found(tmp_path, "image-bits-unused")
    assert (one.severity, one.file) == ("warning", name)
    assert f"its 16-bit values use 1/{factor} of their range" in one.wrong
    assert f"so it is {dark} when read by their high byte" in one.wrong
    assert f"multiply them by {factor}, or save it with 8 bits" in one.wrong


def test_a_narrow_span_above_a_floor_is_flat(tmp_path):
    write(tmp_path, {"thermal.png": deep(31_000, 28_000)})
    (one,) = found(tmp_path, "image-bits-unused")
    assert "use 1/16 of their range (values from 28" in one.wrong and "nearly flat" in one.wrong


def test_negative_values_are_told(tmp_path):
    values = cv2.resize(np.array([[-1000, 2000]], np.float32), (96, 64)).astype(np.int16)
    write(tmp_path, {"ct.tif": cv2.imencode(".tiff", values)[1].tobytes()})
    (one,) = found(tmp_path, "image-bits-unused")
    assert "has negative 16-bit values (values from -1000 to" in one.wrong


def test_whole_ranges_single_values_and_eight_bits_are_no_finding(tmp_path):
    black = cv2.imencode(".png", np.zeros((64, 96), np.uint16))[1].tobytes()
    eight = cv2.imencode(".png", np.arange(64 * 96).reshape(64, 96).astype(np.uint8) // 16)[1].tobytes()
    write(tmp_path, {"a.png": deep(65_535), "b.png": deep(40_000, seed=1), "c.png": black, "d.png": eight})
    assert found(tmp_path, "image-bits-unused") == []


def test_without_pixels_the_bits_are_not_looked_at(tmp_path):
    write(tmp_path, {"a.png": deep(4095)})
    codes = {one.code for one in lint_path(tmp_path, pixels=False).findings}
    assert "image-bits-unused" not in codes and "not-looked-at" in codes


# images that EXIF turns: stored as 96 x 64, seen as 64 x 96

UPRIGHT_ONLY, STORED_ONLY, EITHER = [10, 60, 30, 30], [70, 10, 20, 30], [5, 5, 30, 40]


def orientations(folder: Path, boxes: dict[str, list[list[int]]], size: tuple[int, int]) -> dict[str, str]:
    write(folder, {name: nasty.turned(k) for k, name in enumerate(boxes)}, boxes=boxes, size=size)
    return {one.file: one.severity for one in found(folder, "image-boxes-other-orientation")}


def test_a_box_that_fits_the_upright_picture_only_settles_a_stored_size(tmp_path):
    assert orientations(tmp_path, {"a.jpg": [UPRIGHT_ONLY, EITHER]}, (96, 64)) == {}
    (one,) = found(tmp_path, "image-size")
    assert one.severity == "warning" and one.wrong == "is 64 x 96 upright, the annotations say 96 x 64"
    (image,) = Dataset.read(tmp_path).splits["all"].images
    assert [i.box_xyxy for i in image.instances] == [(10, 60, 40, 90), (5, 5, 35, 45)]


def test_a_box_that_fits_the_stored_picture_only_is_an_error(tmp_path):
    boxes = {"a.jpg": [STORED_ONLY], "b.jpg": [UPRIGHT_ONLY]}
    assert orientations(tmp_path, boxes, (96, 64)) == {"a.jpg": "error"}
    assert orientations(tmp_path, boxes, (64, 96)) == {"a.jpg": "error"}


def test_boxes_that_fit_both_ways_are_judged_by_the_others(tmp_path):
    assert orientations(tmp_path, {"a.jpg": [EITHER]}, (96, 64)) == {"a.jpg": "error"}
    assert orientations(tmp_path, {"a.jpg": [EITHER], "b.jpg": [UPRIGHT_ONLY]}, (96, 64)) == {}
    mixed = {"a.jpg": [EITHER], "b.jpg": [UPRIGHT_ONLY], "c.jpg": [STORED_ONLY]}
    assert orientations(tmp_path, mixed, (96, 64)) == {"a.jpg": "error", "c.jpg": "error"}
    assert orientations(tmp_path, {"a.jpg": [EITHER]}, (64, 96)) == {}
