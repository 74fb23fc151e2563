"""Parsers of untrusted files: good files to start from, changes of them, and the function that reads them."""

from __future__ import annotations

import collections
import contextlib
import csv
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scripts.fuzz import archives, bytes_and_text, json_trees, pickles, xml_files, yolo_files
from scripts.fuzz.bytes_and_text import NUMBERS

_LARGEST = 8 << 20
"""Bytes of an input: beyond, its size alone would take the time."""

Change = Callable[[bytes, tuple[bytes, ...], random.Random], bytes]


@dataclass(frozen=True)
class Parser:
    """One reader of files.

    Args:
        name: to ask for it.
        file_name: what the file is called in its folder.
        seeds: gives good files.
        changes: one of them is made for each input.
        read: reads the file; `folder` has images beside it.
    """

    name: str
    file_name: str
    seeds: Callable[[], tuple[bytes, ...]]
    changes: tuple[Change, ...]
    read: Callable[[Path], object]

    def input(self, number: int, seed: int = 0) -> bytes:
        """Return one input, always the same for the same numbers; the first ones are the good files."""
        seeds = self.seeds()
        if number < len(seeds):
            return seeds[number]
        dice = random.Random(f"{seed}/{self.name}/{number}")
        return dice.choice(self.changes)(dice.choice(seeds), seeds, dice)[:_LARGEST]


# ------------------------------------------------------------------------------------ annotations

SIZE = 64, 48
"""Width and height of the images beside annotations."""


def put_images(folder: Path) -> None:
    """Put what annotation files name into a folder, and beside the folder what they must not reach."""
    from PIL import Image

    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name in ("a.png", "b.jpg", "images/c.png", "../secret.png"):
        Image.new("RGB", SIZE, (90, 120, 30)).save(folder / name)


_POLYGON = {"name": "polygon", "all_points_x": [5, 30, 30.5, 5, 5], "all_points_y": [5, 5, 40, 40, 5]}
_SHAPES: tuple[dict[str, Any], ...] = (
    _POLYGON,
    {"name": "rect", "x": 1, "y": 2, "width": 20, "height": 10},
    {"name": "circle", "cx": 30, "cy": 20, "r": 9.5},
    {"name": "ellipse", "cx": 30, "cy": 20, "rx": 9, "ry": 4, "theta": 0.5},
    {"name": "polyline", "all_points_x": [1, 9, 9], "all_points_y": [1, 1, 9]},
)


def _regions(name: str) -> list[dict[str, Any]]:
    return [{"shape_attributes": shape, "region_attributes": {"class": name}} for shape in _SHAPES]


@cache
def _via() -> tuple[bytes, ...]:
    first = {"filename": "a.png", "size": 12, "regions": _regions("balloon"), "file_attributes": {}}
    old = {"fileref": "", "filename": "b.jpg", "size": 9, "regions": dict(enumerate(_regions("kite")))}
    ticked = {"shape_attributes": _POLYGON, "region_attributes": {"kind": {"kite": True, "ball": False}}}
    document = {"a.png12": first, "b.jpg9": old}
    project = {"_via_settings": {"ui": {}}, "_via_img_metadata": document, "_via_attributes": {"region": {}}}
    plain = {"a.png1": {"filename": "a.png", "size": 1, "regions": [ticked]}}
    return tuple(json.dumps(part).encode() for part in (document, project, plain))


_CSV_HEADER = (
    *("filename", "file_size", "file_attributes", "region_count", "region_id"),
    *("region_shape_attributes", "region_attributes"),
)


def _csv_of(rows: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


@cache
def _via_csv() -> tuple[bytes, ...]:
    rows = [list(_CSV_HEADER)]
    for name in ("a.png", "b.jpg"):
        for number, shape in enumerate(_SHAPES):
            region = json.dumps(shape), json.dumps({"class": "kite"})
            rows.append([name, "12", "{}", str(len(_SHAPES)), str(number), *region])
    rows.append(["images/c.png", "1", "{}", "0", "0", "{}", "{}"])
    return (_csv_of(rows), _csv_of(rows[:2]))


_BOX_HEADER = ("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax")
_SHARE_HEADER = ("ImageID", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", "IsGroupOf")


@cache
def _tables() -> tuple[bytes, ...]:
    sides = (str(SIZE[0]), str(SIZE[1]))
    boxes = [["a.png", *sides, name, "1", "2", "30.5", "40"] for name in ("kite", "balloon")]
    rows = [list(_BOX_HEADER), *boxes, ["b.jpg", *sides, "", "", "", "", ""]]
    bare = [["a.png", "1", "2", "30", "40", "kite"], ["images/c.png", "", "", "", "", ""]]
    return (_csv_of(rows), _csv_of(bare), _csv_of(rows).replace(b",", b";"))


@cache
def _share_tables() -> tuple[bytes, ...]:
    boxes = [["a.png", name, "1", "0.25", "0.5", "0.125", "1", "0"] for name in ("kite", "/m/01yrx")]
    rows = [list(_SHARE_HEADER), *boxes, ["b", "balloon", "1", "0,1", "0,9", "0,2", "1", "1"]]
    return (_csv_of(rows), _csv_of([*rows, ["c", *[""] * 7]]))


def _read_table(path: Path) -> object:
    """Read a table, write it in both forms, and read again what holds an object."""
    from aerostat.datasets.convert import convert
    from aerostat.datasets.dataset import Dataset
    from aerostat.datasets.origin import ReadOptions

    read = _read_annotations(path)
    assert isinstance(read, Dataset)
    for name in ("csv", "openimages"):
        out = path.parent / "out" / f"{name}.csv"
        done = convert(path, out, ReadOptions(read.classes, images=path.parent), to=name, force=True)
        if any(file.instances for file in done.files):
            Dataset.read(out, read.classes, images=path.parent)
    return read


def _change_cells(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    for _ in range(dice.choice((1, 1, 2, 5))):
        row = dice.choice(rows)
        column = dice.randrange(len(row))
        match dice.randrange(5):
            case 0:
                row[column] = dice.choice((*NUMBERS, *bytes_and_text.NAMES))
            case 1 | 2 if row[column].startswith("{"):
                row[column] = json_trees.dump(json_trees.change(json_trees.parse(row[column]), dice))
            case 3:
                rows.extend([list(row)] * (dice.choice((1, 5, 2000)) if len(str(rows)) < 20_000 else 1))
            case _:
                row.pop(column) if len(row) > 1 and dice.random() < 0.5 else row.append(row[column])
    return _csv_of(rows)


@cache
def _coco() -> tuple[bytes, ...]:
    images = [
        {"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]}
        for number, name in enumerate(("a.png", "b.jpg", "images/c.png"), start=1)
    ]
    outline = [5, 5, 30, 5, 30, 40.5, 5, 40]
    common = {"category_id": 7, "bbox": [5, 5, 25, 35.5], "area": 887.5, "iscrowd": 0}
    annotations = [
        {"id": 1, "image_id": 1, **common, "segmentation": [outline]},
        {"id": 2, "image_id": 1, **common, "segmentation": [outline, [1, 1, 9, 1, 9, 9]], "category_id": 2},
        {"id": 3, "image_id": 2, **common, "segmentation": {"size": [48, 64], "counts": [500, 72, 2500]}},
        {
            "id": 4,
            "image_id": 2,
            **common,
            "iscrowd": 1,
            "segmentation": {"size": [48, 64], "counts": "P?`0[k2"},
        },
        {"id": 5, "image_id": 3, **common},
    ]
    categories = [{"id": 7, "name": "kite", "supercategory": "toy"}, {"id": 2, "name": "balloon"}]
    whole = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    small = {**whole, "images": images[:1], "annotations": annotations[:1]}
    return json.dumps(whole).encode(), json.dumps(small).encode()


def _change_json(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    text = json_trees.dump(json_trees.change(json_trees.parse(content), dice))
    encoding = dice.choice(("utf-8",) * 8 + ("utf-8-sig", "utf-16"))
    return text.encode(encoding, "surrogatepass")


def _read_annotations(path: Path) -> object:
    """Read, write in both formats, and read again: what was taken must be fit to be written."""
    from aerostat.datasets.convert import convert
    from aerostat.datasets.dataset import Dataset
    from aerostat.datasets.origin import ReadOptions
    from aerostat.errors import InputError

    try:
        read = Dataset.read(path)
    except InputError:
        read = Dataset.read(path, ["balloon", "kite"])
    for split in read.splits.values():
        if any(image.path.resolve().is_relative_to(path.parent.resolve()) is False for image in split.images):
            raise AssertionError(f"an image outside of {path.parent}")
    _use_outlines(read)
    out = path.parent / "out"
    for name in ("coco.json", "via.json"):
        convert(path, out / name, ReadOptions(read.classes, images=path.parent), force=True)
        if not _has_image_files(read):  # neither format holds pictures
            continue
        if name == "coco.json" or any(i.instances for s in read.splits.values() for i in s.images):
            Dataset.read(out / name, read.classes, images=path.parent)
    return read


def _has_image_files(read: Any) -> bool:
    """Return whether no picture is inside of another file, as LabelMe's may be."""
    from aerostat.images.location import path_of

    return all(path_of(image.location) for split in read.splits.values() for image in split.images)


def _use_outlines(read: Any) -> None:
    """Check outlines and masks as lint does, and fill those of some images as training does."""
    from aerostat.geometry.outlines import rasterise
    from aerostat.lint.contradictions import check_contradictions
    from aerostat.lint.outlines import check_outlines
    from aerostat.pipeline.training_images import outlines_of

    check_contradictions(read)
    check_outlines(read)
    for split in read.splits.values():
        for image in split.images[:4]:
            boxes = image.boxes_xyxy()
            targets = rasterise(outlines_of(image), boxes, (image.width, image.height), 4)
            if len(targets) != len(boxes):
                raise AssertionError(f"{len(targets)} masks of {len(boxes)} boxes")


@cache
def _labelme() -> tuple[bytes, ...]:
    import base64

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (6, 4), 1).save(buffer, "PNG")
    picture = base64.b64encode(buffer.getvalue()).decode()
    corners = [[5, 5], [30, 5], [30.5, 40], [5, 40]]
    more = {"group_id": 1, "flags": {"difficult": True}, "description": "x", "mask": None}
    shapes: list[dict[str, Any]] = [
        {"label": "kite", "points": corners, "shape_type": "polygon", **more},
        {"label": "kite", "points": corners[::2], "shape_type": "rectangle", **more},
        {"label": "ball", "points": corners[:2], "shape_type": "circle", **more},
        {"label": "ball", "points": [[9, 9], [14, 12]], "shape_type": "mask", **more, "mask": picture},
        {"label": "__ignore__", "points": corners, "line_color": None},
    ]
    size = {"imageHeight": SIZE[1], "imageWidth": SIZE[0]}
    new = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": "a.png", "imageData": None, **size}
    old = {
        "shapes": shapes[:1],
        "lineColor": [0, 255, 0, 128],
        "imagePath": "..\\x\\b.jpg",
        "imageData": None,
    }
    held = {**new, "shapes": shapes[1:2], "imagePath": "gone.png", "imageData": _png_text()}
    return tuple(json.dumps(part).encode() for part in (new, old, held))


def _png_text() -> str:
    import base64

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", SIZE).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@cache
def _label_studio() -> tuple[bytes, ...]:
    import numpy as np

    from aerostat.datasets.formats import brush_runs

    mask = np.zeros((SIZE[1], SIZE[0]), bool)
    mask[4:20, 7:40] = True
    box = {"x": 10, "y": 25.5, "width": 30, "height": 25, "rotation": 30, "rectanglelabels": ["kite"]}
    values: list[tuple[str, dict[str, Any]]] = [
        ("rectanglelabels", box),
        ("polygonlabels", {"points": [[10, 25], [40, 25], [40, 50]], "polygonlabels": ["ball"]}),
        ("ellipselabels", {"x": 50, "y": 50, "radiusX": 9, "radiusY": 8, "ellipselabels": ["ball"]}),
        ("brushlabels", {"format": "rle", "rle": brush_runs.encode(mask), "brushlabels": ["kite"]}),
        ("choices", {"choices": ["yes"]}),
    ]
    size = {"original_width": SIZE[0], "original_height": SIZE[1], "to_name": "image"}
    results = [{"id": str(n), "type": kind, "value": value, **size} for n, (kind, value) in enumerate(values)]
    annotation = {"id": 1, "result": results, "was_cancelled": False, "updated_at": "2022-12-27T21:04:40Z"}
    first = {"id": 1, "annotations": [annotation], "data": {"image": "/data/upload/1/0123abcd-a.png"}}
    second = {
        "id": 2,
        "annotations": [{"id": 2, "result": []}],
        "data": {"image": "b.jpg"},
        "predictions": [],
    }
    entry = {"id": 1, "image": "a.png", "annotation_id": 1, "label": [{**box, **size}]}
    guess = {"data": {"image": "a.png"}, "predictions": [{"result": results[:2], "score": 0.5}]}
    return tuple(json.dumps(part).encode() for part in ([first, second], [entry], [guess], first))


def _read_tool_file(path: Path) -> object:
    """Read, write in the formats of both tools, and read again."""
    from aerostat.datasets.convert import convert
    from aerostat.datasets.dataset import Dataset
    from aerostat.datasets.origin import ReadOptions

    read = Dataset.read(path)
    out = path.parent / "out"
    for name, place in (("labelme", out / "labelme"), ("label-studio", out / "tasks.json")):
        convert(path, place, ReadOptions(read.classes, images=path.parent), to=name, force=True)
        if name == "label-studio" and _has_image_files(read):  # its tasks hold no pictures
            Dataset.read(place, read.classes, images=path.parent)
    return _read_annotations(path)


def _read_xml(path: Path) -> object:
    """Read XML annotations as all others, and write and read them in both formats that are XML."""
    from aerostat.datasets.convert import convert
    from aerostat.datasets.dataset import Dataset
    from aerostat.datasets.origin import ReadOptions

    read = _read_annotations(path)
    for name in ("voc", "cvat.xml"):
        out = path.parent / "out" / name
        convert(path, out, ReadOptions(read.classes, images=path.parent), to=name[:4].rstrip("."), force=True)
        Dataset.read(out, read.classes, images=path.parent)
    return read


def _read_yolo(path: Path) -> object:
    """Read a label file, write YOLO, and read the same boxes."""
    from aerostat.datasets.convert import convert
    from aerostat.datasets.dataset import Dataset
    from aerostat.datasets.origin import ReadOptions

    read = _read_annotations(path)
    out = path.parent / "out" / "yolo"
    convert(path, out, ReadOptions(read.classes, images=path.parent), to="yolo", force=True)
    again = Dataset.read(out, images=path.parent)
    for mine, theirs in zip(again.splits.values(), read.splits.values(), strict=True):
        ours, others = mine.images.instances, theirs.images.instances
        exact = max(others.boxes_xyxy.min(initial=1.0, where=others.boxes_xyxy > 0), 1e-15) > 1e-14
        if len(ours) != len(others) or (exact and (ours.boxes_xyxy != others.boxes_xyxy).any()):
            raise AssertionError("other boxes once they are written")
    return read


def _read_yolo_config(path: Path) -> object:
    """Read a data set by its data.yaml or its list of images."""
    from aerostat.datasets.dataset import Dataset

    yolo_files.put_labels(path.parent)
    read = Dataset.read(path)
    for split in read.splits.values():
        if any(image.path.resolve().is_relative_to(path.parent.resolve()) is False for image in split.images):
            raise AssertionError(f"an image outside of {path.parent}")
    return read


# ------------------------------------------------------------------------------------ recipes


@cache
def _recipes() -> tuple[bytes, ...]:
    from aerostat.training.recipe import Recipe

    whole = Recipe().to_toml().encode()
    return whole, b'[model]\nsize = "nano"\n[optim]\nlr = 1e-3\n[augment]\nresize_ratio = [0.5, 2.0]\n'


_TOML = (
    *("x = " + "[" * depth + "]" * depth for depth in (1, 100, 1100, 50_000)),
    *("x = " + "{a=" * depth + "1" + "}" * depth for depth in (1, 100, 1100)),
    *(".".join(["a"] * depth) + " = 1" for depth in (2, 100, 1100, 20_000)),
    *("[" + ".".join(["a"] * depth) + "]" for depth in (2, 1100)),
    *('"""', "'''", "[[optim]]", "[optim]", "[optim.lr]", "[model]", "lr.x = 1", "a = 1979-05-27T07:32:00Z"),
    *(
        'x = "\\ud800"',
        "x = '\x00'",
        '[""]',
        "= 1",
        "x = inf",
        "x = -nan",
        "\r",
        "\x00",
        "x = 0x" + "f" * 5000,
    ),
)


_VALUES = ("true", "[]", "{}", "[1, 2]", '"x"', "[[1]]")


def _change_toml(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    lines = content.decode().splitlines()
    for _ in range(dice.choice((1, 1, 2, 4))):
        at = dice.randrange(len(lines) + 1)
        key = lines[at % len(lines)].partition("=")[0].strip()
        match dice.randrange(5):
            case 0:
                lines.insert(at, dice.choice(_TOML))
            case 1:
                lines.insert(at, f"{key} = {dice.choice(NUMBERS)}")
            case 2 if at < len(lines):
                lines[at] = f"{key} = {dice.choice((*NUMBERS, *_VALUES))}"
            case 3:
                lines[at:at] = lines[at : at + 1] * dice.choice((1, 2, 5000))
            case _:
                lines.insert(at, f"{key} = {json.dumps(dice.choice(bytes_and_text.NAMES))}")
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _read_recipe(path: Path) -> object:
    from aerostat.training.recipe import parse_assignments, read_recipe

    recipe = read_recipe(path)
    recipe.write(path.parent / "out.toml")
    if read_recipe(path.parent / "out.toml") != recipe and "nan" not in recipe.to_toml():
        raise AssertionError("a recipe that is another one once it is written")
    return parse_assignments([f"optim.lr={path.read_text('utf-8-sig')[:2000]}"])


# ------------------------------------------------------------------------------------ configs of OpenMMLab


@cache
def _configs() -> tuple[bytes, ...]:
    child = """_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
data_root = 'data/'
metainfo = {'classes': ('balloon', 'kite'), 'palette': [(220, 20, 60)]}
max_epochs, last = 40, 5
base_lr = 12 * 0.004 / (32 * 8)
img_scale = (640, 640)
load_from = f'{data_root}weights.pth'
model = dict(backbone=dict(frozen_stages=4), bbox_head=dict(num_classes=len(metainfo['classes'])))
train_pipeline = [
    dict(type='CachedMosaic', img_scale=img_scale, max_cached_images=20),
    dict(type='RandomResize', scale=(img_scale[0] * 2, img_scale[1] * 2), ratio_range=(0.5, 2.0)),
    *[dict(type='RandomCrop', crop_size=s) for s in [img_scale]],
    dict(type='RandomFlip', prob=0.5)]
train_dataloader = dict(batch_size=12, dataset=dict(
    data_root=data_root, metainfo=metainfo, ann_file='{}.json'.format('train'), pipeline=train_pipeline))
optim_wrapper = dict(_delete_=True, optimizer=dict(type='AdamW', lr=base_lr, weight_decay=0.05))
param_scheduler = [dict(type='LinearLR', by_epoch=False, begin=0, end=30),
    dict(type='CosineAnnealingLR', eta_min=base_lr * 0.05, begin=max_epochs // 2, end=max_epochs)]
_base_.custom_hooks[1].switch_epoch = max_epochs - last
for step in train_pipeline:
    if step['type'] == 'RandomFlip':
        step['prob'] = 0.25
train_cfg = dict(max_epochs=max_epochs, val_interval=10)
work_dir = '%s/{{ fileBasenameNoExtension }}' % 'work_dirs'
"""
    pure = """from mmengine.config import read_base
with read_base():
    from .rtmdet_s_8xb32_300e_coco import *
from mmdet.datasets.transforms import RandomFlip
model.update(dict(bbox_head=dict(num_classes=1)))
train_dataloader.merge(dict(dataset=dict(pipeline=[dict(type=RandomFlip, prob=0.5)])))
randomness = dict(seed=3)
"""
    return child.encode(), pure.encode()


_PYTHON = (
    *("x = " + "[" * depth + "]" * depth for depth in (1, 80, 200, 5000)),
    *("x = " + "-" * depth + "1" for depth in (1, 90, 3000)),
    *("x = " + "1+" * depth + "1" for depth in (1, 90, 3000)),
    *("x = x" + ".a" * depth for depth in (1, 90, 3000)),
    *("x = [1]" + "\nx = [x, x]" * depth for depth in (3, 60)),
    *("x = 9 ** 9 ** 9", "x = 'a' * 10 ** 9", "x = '%999999d' % 1", "x = f'{1:>999999}'", "x = 1 << 10 ** 9"),
    *("x = '{0.__class__}'.format(1)", "x = ().__class__", "import os", "open('spilt', 'w')", "del model"),
    *(
        "x = [1]\nx.append(x)\ny = str(x)",
        "while 1: pass",
        "x = [i for i in range(9999) for j in range(9999)]",
    ),
    *(
        "from .. import *",
        "_base_ = ['a.py'] * 99",
        "_base_ = 'config.py'",
        "x = '{{_base_.model}}'",
        "x = y = z",
    ),
    *("model = None", "train_dataloader = [1]", "custom_hooks = 5", "param_scheduler = dict(a=1)", "x: int"),
    *(
        "a, *b = 1, 2",
        "x = {**{1: 2}, 'a': {}}",
        "x = {(): 1}",
        "x = {[]: 1}",
        "async def f(): pass",
        "x @= 1",
    ),
)


def _change_python(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    lines = content.decode().splitlines()
    for _ in range(dice.choice((1, 1, 2, 4))):
        at = dice.randrange(len(lines))
        words = lines[at].split(" ")
        match dice.randrange(6):
            case 0:
                lines.insert(at, dice.choice(_PYTHON))
            case 1:
                words[dice.randrange(len(words))] = dice.choice(
                    (*NUMBERS, *_VALUES, "None", "dict()", "model")
                )
                lines[at] = " ".join(words)
            case 2:
                name = lines[at].partition("=")[0].strip() or "x"
                lines.insert(at + 1, f"{name} = {json.dumps(dice.choice(bytes_and_text.NAMES))}")
            case 3:
                lines[at:at] = lines[at : at + 1] * dice.choice((1, 2, 500))
            case 4:
                lines.pop(at) if len(lines) > 1 else lines.append("x = 1")
            case _:
                other = dice.choice(others).decode().splitlines()
                lines.insert(at, dice.choice(other))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _read_config(path: Path) -> object:
    """Parse and migrate; a recipe that comes out must be one that can be written and read again."""
    from aerostat.migration import migrate
    from aerostat.training.recipe import read_recipe

    found = migrate(path)
    if max(map(len, found.render())) > 80:
        raise AssertionError("a table wider than a terminal")
    json.dumps(found.to_dict())
    (path.parent / "out.toml").write_text(found.to_toml(), "utf-8")
    if read_recipe(path.parent / "out.toml") != found.recipe:
        raise AssertionError("a recipe that is another one once it is written")
    return found.recipe


# ------------------------------------------------------------------------------------ safetensors


def safetensors_file(header: bytes, data: bytes) -> bytes:
    """Return a safetensors file with this header."""
    return struct.pack("<Q", len(header)) + header + data


def _parts(content: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack("<Q", content[:8])
    return content[8 : 8 + length], content[8 + length :]


def _change_header(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    """Change what the header says of the tensors, or lie about how long it is."""
    header, data = _parts(content)
    if dice.random() < 0.1:
        length = dice.choice((0, 1, 2, len(header) - 1, len(header) + 1, 2**31, 2**62, 2**63, 2**64 - 1))
        return struct.pack("<Q", length) + header + data
    tree = json_trees.parse(header)
    entries = [value for key, value in tree if key != "__metadata__"]
    for _ in range(dice.choice((1, 1, 2))):
        entry = dict(dice.choice(entries))
        match dice.randrange(4):
            case 0:
                offsets = entry["data_offsets"]
                offsets[dice.randrange(2)] = json_trees.Raw(dice.choice((*NUMBERS, str(len(data)))))
            case 1:
                entry["shape"][:] = [
                    json_trees.Raw(dice.choice(NUMBERS)) for _ in range(dice.choice((0, 1, 2, 9)))
                ]
            case 2:
                pair = next(pair for pair in dice.choice(entries) if pair[0] == "dtype")
                pair[1] = dice.choice(
                    ("F64", "F16", "BF16", "I8", "BOOL", "F8_E4M3", "F4", "C64", "U64", "X", "")
                )
            case _:
                tree = json_trees.change(tree, dice)
                break
    return safetensors_file(json_trees.dump(tree).encode("utf-8", "surrogatepass"), data)


def _change_document(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    """Change the document that stands as text in the header."""
    header, data = _parts(content)
    tree = json_trees.parse(header)
    metadata = next(value for key, value in tree if key == "__metadata__")
    pair = dice.choice(metadata)
    pair[1] = json_trees.dump(json_trees.change(json_trees.parse(pair[1]), dice))
    return safetensors_file(json_trees.dump(tree).encode("utf-8", "surrogatepass"), data)


def _in_folder(write: Callable[[Path], object]) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "file")
        return (Path(folder) / "file").read_bytes()


@cache
def _weights() -> tuple[bytes, ...]:
    import torch

    from aerostat.weights.checkpoint import Header, save_weights

    head = {"bbox_head.rtm_cls.0.weight": torch.zeros(2, 4, 1, 1), "a": torch.arange(6.0).reshape(2, 3)}
    more = {**head, "half": torch.zeros(3, dtype=torch.float16), "count": torch.tensor(3)}
    recipe = {"optim": {"lr": 0.1}}
    headers = (
        Header("nano", ("balloon", "kite"), (320, 320)),
        Header("tiny", ("balloon", "kite"), recipe=recipe, metrics={"ap": 0.5}, notes=("a note",)),
    )
    return tuple(
        _in_folder(lambda path, s=state, h=header: save_weights(path, s, h))
        for state, header in zip((head, more), headers, strict=True)
    )


def _read_weights(path: Path) -> object:
    from aerostat.weights.checkpoint import load_weights, read_header

    header = read_header(path)
    weights = load_weights(path)
    json.dumps(weights.header.metrics)
    return header


@cache
def _states() -> tuple[bytes, ...]:
    import numpy as np
    import torch

    from aerostat.weights.training_state import save_state

    tree = {
        "weights": {"a": torch.arange(6.0), "b": torch.zeros(0)},
        "epoch": 3,
        "random": np.arange(4, dtype=np.uint32),
        "scalar": np.float64(2.5),
        "large": 2**100,
        "nan": float("nan"),
        "bytes": b"abc",
        "numbered": {1: (1, 2), 2: [None, True]},
    }
    return _in_folder(lambda path: save_state(path, tree)), _in_folder(
        lambda path: save_state(path, {"a": [torch.ones(2)]})
    )


def _read_state(path: Path) -> object:
    from aerostat.weights.training_state import load_state

    return load_state(path)


# ------------------------------------------------------------------------------------ .pth


class HistoryBuffer:
    """Stands for the training logs that OpenMMLab pickles beside the weights."""

    def __init__(self) -> None:
        self.values = [0.5, 0.25]


@cache
def _checkpoints() -> tuple[bytes, ...]:
    import torch

    whole = torch.arange(24.0)
    state = collections.OrderedDict(
        {
            "backbone.stem.2.conv.weight": whole.reshape(4, 6).t(),
            "bbox_head.rtm_cls.0.weight": whole[2:10].reshape(2, 4, 1, 1),
            "half": torch.zeros(3, dtype=torch.float16),
            "flags": torch.tensor([True, False]),
            "count": torch.tensor(3),
            "parameter": torch.nn.Parameter(torch.ones(2)),
        }
    )
    meta = {"epoch": 3, "dataset_meta": {"classes": ("balloon", "kite")}, "seed": 1.5, "time": "now"}
    content = {"meta": meta, "state_dict": state, "message_hub": {"loss": HistoryBuffer()}}
    seeds = []
    for tree in (content, {"state_dict": {"a": torch.zeros(3)}}):
        for zipped in (True, False):
            buffer = io.BytesIO()
            torch.save(tree, buffer, _use_new_zipfile_serialization=zipped)
            seeds.append(buffer.getvalue())
    return tuple(seeds)


def _change_pickle(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    """Change the pickle in a checkpoint of either format, and put it together again."""
    altered = pickles.program if dice.random() < 0.1 else None
    if not content.startswith(b"PK"):
        cut = _stream_pickles(content)
        which = dice.choice((3, 3, 3, 4, dice.randrange(5)))
        cut[which] = altered(dice) if altered else pickles.change(cut[which], dice)
        return b"".join(cut)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(out, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename.endswith("data.pkl"):
                data = altered(dice) if altered else pickles.change(data, dice)
            target.writestr(entry.filename, data)
    return out.getvalue()


def _stream_pickles(content: bytes) -> list[bytes]:
    """Return the five pickles of torch's older format and what comes behind them."""
    import pickletools

    file, parts = io.BytesIO(content), []
    for _ in range(5):
        start = file.tell()
        for _ in pickletools.genops(file):
            pass
        parts.append(content[start : file.tell()])
    return [*parts, content[file.tell() :]]


def _change_archive(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    """Change the archive: its entries, their order, their compression, what its directory says."""
    if not content.startswith(b"PK"):
        return bytes_and_text.change(content, others, dice)
    if dice.random() < 0.5:
        data = bytearray(content)
        starts = [
            m
            for m in range(len(data) - 4)
            if data[m : m + 4] in (b"PK\x01\x02", b"PK\x05\x06", b"PK\x03\x04")
        ]
        at = dice.choice(starts) + dice.randrange(4, 46)
        word = dice.choice((b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x01\x00", b"\xff\xff", b"\x08\x00"))
        data[at : at + len(word)] = word
        return bytes(data)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(out, "w") as target:
        entries = source.infolist()
        dice.shuffle(entries)
        for entry in entries[: dice.choice((1, 100))] + dice.sample(entries, 1):
            kind = dice.choice((zipfile.ZIP_STORED,) * 6 + (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
            name = dice.choice((entry.filename,) * 6 + ("../data.pkl", "/data.pkl", "x/data/0", "data.pkl"))
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the same name twice
                target.writestr(name, source.read(entry), compress_type=kind)
    return out.getvalue()


def _read_checkpoint(path: Path) -> object:
    from aerostat.errors import InputError
    from aerostat.weights.checkpoint import load_weights
    from aerostat.weights.pth import read_pth

    try:
        file = read_pth(path)
        for tensor in file.state.values():
            tensor.sum()  # touches every element
    finally:
        with contextlib.suppress(InputError):
            load_weights(path)
    return file


# ------------------------------------------------------------------------------------ ONNX


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def proto(number: int, content: bytes) -> bytes:
    """Return a field of bytes as protobuf writes it."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def onnx(entry: bytes) -> bytes:
    """Return an ONNX file whose metadata have this entry."""
    prop = proto(1, b"aerostat") + proto(2, entry)
    return b"\x08\x08" + proto(7, b"\x00" * 30) + proto(14, prop) + proto(8, b"\x10\x11")


ENTRY = {
    **{"format": 1, "size": "nano", "classes": ["balloon", "kite"], "input_size": [320, 320]},
    **{"dynamic": False, "batch": 1, "precision": "float32", "score_threshold": None, "nms_iou": 0.65},
    "weights_sha256": "ab" * 32,
}


@cache
def _models() -> tuple[bytes, ...]:
    return (onnx(json.dumps(ENTRY).encode()),)


def _change_entry(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    tree = json_trees.change(json_trees.parse(json.dumps(ENTRY)), dice)
    return onnx(json_trees.dump(tree).encode("utf-8", "surrogatepass"))


def _read_model(path: Path) -> object:
    from aerostat.inference.backends.exported import read_onnx_entry

    exported = read_onnx_entry(path)
    if not 1 <= exported.input_size[0] * exported.input_size[1] < 2**32 or not isinstance(exported.size, str):
        raise AssertionError(f"{exported} was believed")
    return exported


# ------------------------------------------------------------------------------------ images


@cache
def _images() -> tuple[bytes, ...]:
    import numpy as np
    from PIL import Image

    pixels = np.add.outer(np.arange(SIZE[1]) * 2, np.arange(SIZE[0]) * 2).astype(np.uint8)
    colour = Image.fromarray(np.stack([pixels, pixels[::-1], 255 - pixels], axis=2))
    exif = Image.Exif()
    exif[0x0112] = 6
    made: list[bytes] = []

    def add(image: Image.Image, format: str, **options: Any) -> None:
        buffer = io.BytesIO()
        try:
            image.save(buffer, format, **options)
        except (OSError, KeyError):  # this Pillow does not write it
            return
        made.append(buffer.getvalue())

    add(colour, "JPEG", exif=exif)
    add(colour, "JPEG", progressive=True)
    add(colour.convert("CMYK"), "JPEG")
    for mode in ("RGB", "RGBA", "P", "1", "L"):
        add(colour.convert(mode), "PNG")
    add(Image.fromarray(pixels.astype(np.uint16) * 200), "PNG")
    add(colour, "BMP")
    add(colour.convert("P"), "BMP")
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        add(colour, "TIFF", **({"compression": compression} if compression else {}))
    add(colour, "WEBP", exif=exif)
    add(colour, "WEBP", lossless=True)
    add(colour.convert("P"), "GIF", save_all=True, append_images=[colour.convert("P")])
    add(colour, "AVIF")
    add(colour, "JPEG2000")
    add(colour, "PPM")
    return tuple(made)


def _change_size(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    """Write other numbers where a header may state width and height; mend a PNG's checksum."""
    data = bytearray(content)
    for word, order in ((">I", "big"), ("<I", "little"), (">H", "big"), ("<H", "little")):
        for side in SIZE:
            place = dice.choice((data.find, data.rfind))(struct.pack(word, side))
            if place >= 0 and dice.random() < 0.6:
                large = dice.choice((0, 1, 63, 65, 5000, 30_000, 65_535, 100_000, 2**31 - 1, 2**32 - 1))
                width = struct.calcsize(word)
                data[place : place + width] = (large % 2 ** (8 * width)).to_bytes(width, order)  # type: ignore[arg-type]
    if data.startswith(b"\x89PNG"):
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def _read_picture(path: Path) -> object:
    from aerostat.errors import InputError
    from aerostat.images.read import read_image, read_resized, read_size

    with contextlib.suppress(InputError):
        read_resized(path, (20, 20))
    try:
        size = read_size(path)
    finally:
        image = read_image(path)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype.name != "uint8":
        raise AssertionError(f"an image of {image.shape} and {image.dtype}")
    if (image.shape[1], image.shape[0]) != size:
        raise AssertionError(f"an image of {image.shape} whose header says {size}")
    return size


# ------------------------------------------------------------------------------------ all

_BYTES = bytes_and_text.change
_JSON = (_BYTES, _change_json, _change_json, _change_json)
_XML = (_BYTES, xml_files.change, xml_files.change, xml_files.change)

PARSERS = {
    parser.name: parser
    for parser in (
        Parser("via", "annotations.json", _via, _JSON, _read_annotations),
        Parser(
            "via-csv", "annotations.csv", _via_csv, (_BYTES, _change_cells, _change_cells), _read_annotations
        ),
        Parser("csv", "boxes.csv", _tables, (_BYTES, _change_cells, _change_cells), _read_table),
        Parser("openimages", "boxes.csv", _share_tables, (_BYTES, _change_cells, _change_cells), _read_table),
        Parser("coco", "annotations.json", _coco, _JSON, _read_annotations),
        Parser("labelme", "annotations.json", _labelme, _JSON, _read_tool_file),
        Parser("label-studio", "annotations.json", _label_studio, _JSON, _read_tool_file),
        Parser("voc", "a.xml", xml_files.voc, _XML, _read_xml),
        Parser("cvat", "annotations.xml", xml_files.cvat, _XML, _read_xml),
        Parser("cvat-video", "annotations.xml", xml_files.cvat_video, _XML, _read_xml),
        Parser("yolo", "a.txt", yolo_files.labels, (_BYTES, *[yolo_files.change_numbers] * 3), _read_yolo),
        Parser(
            "yolo-yaml",
            "data.yaml",
            yolo_files.configs,
            (_BYTES, *[yolo_files.change_nodes] * 3),
            _read_yolo_config,
        ),
        Parser(
            "yolo-list", "train.txt", yolo_files.lists, (_BYTES, yolo_files.change_names), _read_yolo_config
        ),
        Parser("recipe", "recipe.toml", _recipes, (_BYTES, _change_toml, _change_toml), _read_recipe),
        Parser("config", "config.py", _configs, (_BYTES, _change_python, _change_python), _read_config),
        Parser(
            "weights",
            "weights.safetensors",
            _weights,
            (_BYTES, _change_header, _change_document, _change_document),
            _read_weights,
        ),
        Parser("state", "last.ckpt", _states, (_BYTES, _change_header, _change_document), _read_state),
        Parser(
            "pth",
            "x.pth",
            _checkpoints,
            (_BYTES, _change_pickle, _change_pickle, _change_archive),
            _read_checkpoint,
        ),
        Parser("onnx", "x.onnx", _models, (_BYTES, _change_entry, _change_entry), _read_model),
        Parser("image", "image", _images, (_BYTES, _BYTES, _change_size), _read_picture),
        Parser(
            "zip",
            "data.zip",
            archives.archives,
            (_BYTES, archives.change_members, archives.change_headers),
            archives.read_archive,
        ),
    )
}
"""By name."""
