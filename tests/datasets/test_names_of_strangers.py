"""File names in annotations that lead elsewhere, and links: what is read and written stays where it belongs.

A link is followed: on one's own disk it is how large data sets are arranged. What stands behind it is only
ever decoded as an image, and nothing is ever written through it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aerostat.datasets.convert import convert
from aerostat.datasets.dataset import Dataset
from aerostat.errors import InputError
from aerostat.files import write_text
from aerostat.images.read import read_image

LEADING_OUT = [
    "../secret.png",
    "../../secret.png",
    "sub/../../secret.png",
    "./../secret.png",
    "/secret.png",
    "..\\secret.png",
    "sub\\..\\..\\secret.png",
    "C:\\secret.png",
    "C:secret.png",
    "C:/secret.png",
    "\\\\server\\share\\secret.png",
    "\\\\?\\C:\\secret.png",
    "file:///secret.png",
    "https://example.org/secret.png",
    "~/secret.png",
    "%2e%2e/secret.png",
    "..",
    ".",
    "",
    "/",
    "secret.png\0.png",
    "\0",
    "a\nb.png",
    "x" * 5000 + ".png",
    "/".join(["d"] * 3000) + "/a.png",
    "\u202egnp.a",
]


def picture(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10), (grey, grey, grey)).save(path)


def coco(names: list[str]) -> str:
    images = [{"id": i, "file_name": name, "width": 20, "height": 10} for i, name in enumerate(names)]
    boxes = [{"image_id": i, "category_id": 1, "bbox": [1, 1, 5, 5]} for i in range(len(names))]
    return json.dumps({"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "kite"}]})


def via(names: list[str]) -> str:
    rect = {"name": "rect", "x": 1, "y": 1, "width": 5, "height": 5}
    regions = [{"shape_attributes": rect, "region_attributes": {"class": "kite"}}]
    return json.dumps({str(i): {"filename": name, "regions": regions} for i, name in enumerate(names)})


def via_csv(names: list[str]) -> str:
    rect = '{""name"":""rect"",""x"":1,""y"":1,""width"":5,""height"":5}'
    header = (
        "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    )
    quoted = [name.replace('"', '""') for name in names]
    return "\n".join([header, *(f'"{name}",1,"{{}}",1,0,"{rect}","{{""c"":""kite""}}"' for name in quoted)])


@pytest.mark.parametrize("form", [coco, via, via_csv])
@pytest.mark.parametrize("name", LEADING_OUT, ids=lambda name: ascii(name)[:30])
def test_a_name_never_leads_out_of_the_folder_of_the_images(tmp_path: Path, name: str, form) -> None:
    data = tmp_path / "above" / "data"
    picture(tmp_path / "secret.png", 1)
    picture(tmp_path / "above" / "secret.png", 1)
    picture(data / "a.png", 99)
    (data / "annotations.txt").write_text(form(["a.png", name]))
    try:
        images = Dataset.read(data).splits["all"].images
    except InputError as error:
        assert "\n" not in str(error).replace(str(name), "")
        return
    assert images[0].file_name == "a.png"
    for image in images:
        assert image.path.resolve().is_relative_to(data.resolve())
        assert read_image(image.path)[0, 0, 0] == 99
    before = sorted(tmp_path.rglob("*"))
    for target in ("coco.json", "via.json"):
        convert(data / "annotations.txt", tmp_path / "out" / target)
    assert set(tmp_path.rglob("*")) - set(before) == {
        tmp_path / "out" / n for n in ("", "coco.json", "via.json")
    }


def test_the_last_part_of_such_a_name_finds_the_image_in_the_folder(tmp_path: Path) -> None:
    picture(tmp_path / "data" / "a.png", 99)
    (tmp_path / "data" / "c.json").write_text(coco(["C:\\photos\\a.png"]))
    assert Dataset.read(tmp_path / "data").splits["all"].images[0].path == tmp_path / "data" / "a.png"


def test_an_image_behind_a_link_is_read_and_what_is_no_image_is_not(tmp_path: Path) -> None:
    picture(tmp_path / "store" / "far.png", 50)
    (tmp_path / "private.txt").write_text("a secret")
    data = tmp_path / "data"
    data.mkdir()
    links = {"a.png": tmp_path / "store" / "far.png", "b.png": tmp_path / "private.txt"}
    for name, target in {**links, "c.png": Path("/dev/zero"), "d.png": data / "d.png"}.items():
        (data / name).symlink_to(target)
    (data / "c.json").write_text(coco(["a.png", "b.png", "c.png", "d.png"]))
    split = Dataset.read(data).splits["all"]
    assert [image.file_name for image in split.images] == ["a.png"]
    assert {p.file_name: p.kind for p in split.problems} == {
        "b.png": "unreadable image",
        "c.png": "missing image",  # a device without an end is no file
        "d.png": "missing image",  # a link to itself
    }
    assert not any("secret" in p.detail for p in split.problems)


def test_a_link_in_the_way_of_what_is_written_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    link = tmp_path / "out.json"
    link.symlink_to(tmp_path / "precious.txt")
    write_text(link, "{}")
    assert (tmp_path / "precious.txt").read_text() == "mine"
    assert link.read_text() == "{}" and not link.is_symlink()


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be on Windows")
def test_pictures_of_odd_names_stay_in_their_folder_and_apart(tmp_path: Path) -> None:
    from aerostat.inference.sinks import picture_path
    from aerostat.inference.sources import unique_names

    names = [
        "a.png",
        "A.PNG",
        "a.jpg",
        "\x1b[2J.png",
        "a\nb.png",
        "<script>.png",
        "..png",
        "x" * 250 + ".png",
    ]
    paths = [tmp_path / "in" / name for name in names] + [tmp_path / "other" / "a.png"]
    pictures = [picture_path(tmp_path / "out", name) for name in unique_names(paths)]
    assert all(picture.parent == tmp_path / "out" for picture in pictures)
    assert len({str(picture).lower() for picture in pictures}) == len(paths)


def test_pixels_behind_names_are_those_of_the_folder(tmp_path: Path) -> None:
    picture(tmp_path / "secret.png", 1)
    picture(tmp_path / "data" / "secret.png", 99)
    (tmp_path / "data" / "c.json").write_text(coco(["../secret.png"]))
    image = Dataset.read(tmp_path / "data").splits["all"].images[0]
    assert np.all(read_image(image.path) == 99)
