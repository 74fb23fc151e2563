import json
import math
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats import brush_runs
from aerostat.datasets.formats.format import WriteOptions
from aerostat.datasets.formats.label_studio_write import write_label_studio
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import InputError
from aerostat.geometry import polygons
from aerostat.geometry.masks import Masks

BOX = {"x": 10, "y": 25, "width": 30, "height": 25, "rotation": 0}  # (10, 20, 40, 40) in 100 x 80
ELLIPSE = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 25}
POINTS = [[10, 25], [40, 25], [40, 50], [10, 50]]


def result(value: dict[str, Any], kind: str = "rectanglelabels", label: Any = "kite", **more: Any) -> Any:
    labels = {} if label is None else {kind: [label] if isinstance(label, str) else label}
    return {
        "id": f"r{len(str(value))}{label}",
        "type": kind,
        "from_name": "label",
        "to_name": "image",
        "original_width": 100,
        "original_height": 80,
        "image_rotation": 0,
        "value": {**value, **labels},
        **more,
    }


def annotation(*results: Any, **more: Any) -> dict[str, Any]:
    return {"id": 1, "was_cancelled": False, "result": list(results), **more}


def task(*results: Any, image: Any = "/data/upload/1/0123abcd-a.png", **more: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "annotations": [annotation(*results)],
        "predictions": [],
        "data": {"image": image},
        **more,
    }


@pytest.fixture
def read(images, write_json) -> Callable[..., Split]:
    """Read a Label Studio document beside the images a.png and b.png, 100 x 80."""

    def read(document: Any, **options: Any) -> Split:
        folder = images("data", "a.png", "b.png")
        write_json(folder / "project-1.json", document)
        return Dataset.read(folder, **options).split("all")

    return read


def details(split: Split) -> list[str]:
    return [p.detail for p in split.problems if p.kind != "other name"]


# --- regions ---


@pytest.mark.parametrize(
    ("value", "kind", "box", "outlines"),
    [
        (BOX, "rectanglelabels", (10, 20, 40, 40), 0),
        ({**BOX, "rotation": 360}, "rectanglelabels", (10, 20, 40, 40), 0),
        ({**BOX, "rotation": 90}, "rectanglelabels", (-10 + 0, 20, 10, 50), 1),
        ({"points": POINTS, "closed": True}, "polygonlabels", (10, 20, 40, 40), 1),
        (
            {**ELLIPSE, "rotation": 0},
            "ellipselabels",
            (40, 20, 60, 60),
            1,
        ),
        (
            {**ELLIPSE, "rotation": 90},
            "ellipselabels",
            (30, 30, 70, 50),
            1,
        ),
    ],
)
def test_regions_become_objects_in_pixels(read, value, kind, box, outlines: int) -> None:
    (instance,) = read([task(result(value, kind))]).images[0].instances
    assert instance.box_xyxy == pytest.approx((max(0, box[0]), *box[1:]))
    assert len(instance.polygons) == outlines


def test_a_rectangle_turns_clockwise_about_its_top_left_corner(read) -> None:
    value = {"x": 50, "y": 25, "width": 20, "height": 12.5, "rotation": 30}
    (instance,) = read([task(result(value))]).images[0].instances
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    corners = [(50, 20), (50 + 20 * cos, 20 + 20 * sin)]
    corners += [(50 + 20 * cos - 10 * sin, 20 + 20 * sin + 10 * cos), (50 - 10 * sin, 20 + 10 * cos)]
    assert instance.polygons[0] == pytest.approx(np.asarray(corners))
    assert instance.box_xyxy == pytest.approx(polygons.bounds(np.asarray(corners)))


def test_per_cent_are_of_the_displayed_picture(tmp_path: Path, write_json) -> None:
    image = Image.new("RGB", (80, 100))
    exif = image.getexif()
    exif[0x0112] = 6
    (tmp_path / "data").mkdir()
    image.save(tmp_path / "data" / "a.jpg", exif=exif)
    write_json(
        tmp_path / "data" / "p.json",
        [task(result(BOX, original_width=80, original_height=100), image="a.jpg")],
    )
    split = Dataset.read(tmp_path / "data").split("all")
    assert (split.images[0].width, split.images[0].height) == (100, 80)
    assert split.images[0].instances[0].box_xyxy == pytest.approx((10, 20, 40, 40))
    assert [p.kind for p in split.problems] == ["swapped size"]


def test_a_result_without_a_size_is_in_per_cent_of_the_image(read) -> None:
    bare = result(BOX)
    del bare["original_width"], bare["original_height"]
    turned = {**bare, "id": "t", "value": {**bare["value"], "rotation": 5}}
    split = read([task(bare, turned)])
    assert split.images[0].instances[0].box_xyxy == pytest.approx((10, 20, 40, 40))
    assert "states no original_width" in details(split)[0]


def test_labels_and_answers_of_one_id_belong_to_its_region(read) -> None:
    drawn = result(BOX, "rectangle", None, id="x")
    labels = result(BOX, "labels", "dog", id="x")
    answer = {"id": "x", "type": "choices", "value": {"choices": ["old"]}, "to_name": "image"}
    split = read([task(drawn, labels, answer)])
    assert split.classes == ("dog",) and split.box_count == 1
    assert details(split) == ["1 results of the type choices"]


@pytest.mark.parametrize("label", [None, [], ["kite", "dog"], [""], [5]])
def test_a_region_without_a_single_label_has_no_class(read, label: Any) -> None:
    split = read([task(result(BOX, label=label), result({"points": POINTS}, "polygonlabels"))])
    assert split.box_count == 1 and [p.kind for p in split.problems if p.kind != "other name"] == ["no class"]


def test_what_is_no_region_is_counted(read) -> None:
    others = [
        {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
        {"type": "textarea", "value": {"text": ["a"]}, "id": "z"},
        {"type": "magic", "value": {}},
        {"type": "labels", "value": {"start": 1, "end": 2, "labels": ["PER"]}, "id": "n"},
        result({"x": 1, "y": 2, "width": 0.3}, "keypointlabels", "eye"),
    ]
    split = read([task(*others, result(BOX, score=0.5, meta={"text": ["?"]}, image_rotation=90))])
    assert split.box_count == 1
    assert sorted(details(split)) == sorted(
        [
            *("1 results of the type relation", "1 results of the type textarea", "1 results of other types"),
            *("1 labels without a region", "1 key points", "1 scores", "1 notes", "1 turned pictures"),
        ]
    )


@pytest.mark.parametrize(
    "broken",
    [
        *(None, "text", 5),
        result({**BOX, "x": "left"}),
        result({**BOX, "x": None}),
        result({**BOX, "width": float("nan")}),
        result({**BOX, "rotation": []}),
        result({"points": 5}, "polygonlabels"),
        result({"points": [[1, 2], [3]]}, "polygonlabels"),
        result({"points": [[1, None], [3, 4]]}, "polygonlabels"),
        result({"radiusX": 5}, "ellipselabels"),
        *(
            result({"rle": rle, "format": "rle"}, "brushlabels")
            for rle in (5, [], [1] * 20, [300], "abc", [None])
        ),
    ],
)
def test_a_broken_result_costs_itself_alone(read, broken: Any) -> None:
    split = read([task(broken, result({"points": POINTS}, "polygonlabels"))])
    assert split.box_count == 1
    assert [p.kind for p in split.problems if p.kind != "other name"] == ["malformed record"]


@pytest.mark.parametrize("broken", [None, [], {}, {"data": 5, "annotations": []}, {"id": 1}])
def test_a_broken_task_costs_itself_alone(read, broken: Any) -> None:
    split = read([task(result(BOX)), broken])
    assert len(split) == 1 and [p.kind for p in split.problems] == ["malformed record", "other name"]


# --- brushes ---


class Bits:
    """The format in the plainest form: numbers as text of bits."""

    def __init__(self, count: int) -> None:
        self.text = f"{count:032b}{7:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))

    def add(self, values: list[int], repeated: bool, choice: int) -> None:
        length = (3, 4, 8, 16)[choice]
        self.text += f"{int(repeated)}{choice:02b}{len(values) - 1:0{length}b}"
        self.text += "".join(f"{value:08b}" for value in (values[:1] if repeated else values))

    def bytes(self) -> list[int]:
        text = self.text + "0" * (-len(self.text) % 8)
        return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


@st.composite
def brushes(draw) -> tuple[list[int], np.ndarray[Any, Any]]:
    width, height = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    count = 4 * width * height
    bits, values = Bits(count), list[int]()
    while len(values) < count:
        choice = draw(st.integers(0, 3))
        length = draw(st.integers(1, min(count - len(values), 2 ** (3, 4, 8, 16)[choice])))
        repeated = draw(st.booleans())
        value = st.sampled_from([0, 1, 255])
        part = [draw(value)] * length if repeated else draw(st.lists(value, min_size=length, max_size=length))
        bits.add(part, repeated, choice)
        values += part
    alpha = np.asarray(values).reshape(height, width, 4)[:, :, 3] > 0
    return bits.bytes(), alpha


@settings(max_examples=300, deadline=None)
@given(brushes())
def test_a_brush_is_the_alpha_of_its_picture(brush) -> None:
    values, alpha = brush
    size = alpha.shape[1], alpha.shape[0]
    assert (Masks.from_coco([brush_runs.decode(values, size)], size)[0] == alpha).all()


def test_long_blocks_of_single_values_are_read() -> None:
    alpha = np.random.default_rng(0).random((30, 50)) < 0.5
    values = [v for inside in alpha.ravel().tolist() for v in (200, 10, 20, 90 * inside)]
    for shift in range(9):  # the values begin at any bit
        bits = Bits(len(values))
        for at in range(shift):
            bits.add(values[at : at + 1], False, 0)
        bits.add(values[shift:], False, 3)
        assert (Masks.from_coco([brush_runs.decode(bits.bytes(), (50, 30))], (50, 30))[0] == alpha).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.randoms(use_true_random=False))
def test_a_written_brush_is_read_back(width: int, height: int, dice) -> None:
    mask = np.asarray([dice.random() < 0.3 for _ in range(width * height)]).reshape(height, width)
    mask = np.kron(mask, np.ones((1, 60), bool))
    size = mask.shape[1], mask.shape[0]
    decoded = Masks.from_coco([brush_runs.decode(brush_runs.encode(mask), size)], size)
    assert (decoded[0] == mask).all()


def test_a_large_brush_is_read_and_a_bomb_is_refused() -> None:
    rows, columns = np.ogrid[:2500, :4000]
    mask = (rows - 1200) ** 2 + (columns - 2000) ** 2 < 1000**2
    decoded = Masks.from_coco([brush_runs.decode(brush_runs.encode(mask), (4000, 2500))], (4000, 2500))
    assert decoded.area()[0] == mask.sum()
    stripes = np.zeros((6000, 8000), bool)
    stripes[::2] = True
    with pytest.raises(ValueError, match="than its data can draw"):
        brush_runs.decode(brush_runs.encode(stripes), (8000, 6000))


@pytest.mark.parametrize("size", [(10, 9), (0, 0), (20, 5)])
def test_a_brush_of_another_size_is_refused(size) -> None:
    values = brush_runs.encode(np.ones((10, 10), bool))
    if size == (20, 5):
        assert brush_runs.decode(values, size)["size"] == [5, 20]
        return
    with pytest.raises(ValueError, match="a brush of 400 values"):
        brush_runs.decode(values, size)


def test_a_brush_becomes_a_mask(read) -> None:
    mask = np.zeros((80, 100), bool)
    mask[20:30, 40:50] = True
    value = {"format": "rle", "rle": brush_runs.encode(mask)}
    (instance,) = read([task(result(value, "brushlabels"))]).images[0].instances
    assert instance.box_xyxy == (40, 20, 50, 30) and instance.area == 100 and instance.rle is not None


# --- tasks ---


def test_the_newest_annotation_that_was_not_cancelled_is_read(read) -> None:
    old, new = result(BOX, label="old"), result(BOX, label="new")
    several = task()
    several["annotations"] = [
        annotation(new, id=2, updated_at="2022-12-27T21:05:03Z"),
        annotation(old, id=9, updated_at="2022-12-27T21:04:40Z"),
        annotation(old, id=10, updated_at="2023-12-27T21:04:40Z", was_cancelled=True),
    ]
    split = read([several])
    assert split.classes == ("new",)
    assert details(split) == [
        "1 cancelled annotations",
        "1 further annotations of a task, of which the newest is read",
    ]


def test_an_empty_annotation_is_an_image_without_objects_and_a_task_without_is_left_out(read) -> None:
    none = {"id": 3, "annotations": [], "data": {"image": "c.png"}}
    split = read([task(result(BOX), image="a.png"), task(image="b.png"), none])
    assert [(i.file_name, len(i.instances)) for i in split.images] == [("a.png", 1), ("b.png", 0)]
    assert details(split) == ["1 tasks without an annotation, left out with their images"]


def test_predictions_are_no_annotations(read) -> None:
    found = {"result": [result(BOX, label="guess")], "model_version": "m"}
    split = read([{**task(result(BOX)), "predictions": [found]}])
    assert split.classes == ("kite",) and details(split) == ["1 predictions"]
    alone = read([{"data": {"image": "a.png"}, "predictions": [found], "annotations": []}])
    assert alone.classes == ("guess",)
    assert details(alone) == ["no task has an annotation, so the predictions of a model are read"]


@pytest.mark.parametrize(
    "image",
    [
        *("/data/upload/1/0123abcd-a.png", "/data/local-files/?d=some/folder/a.png", "s3://bucket/x/a.png"),
        *("http://host:8080/data/upload/1/a.png", "https://host/a.png?raw=true", "a.png", "upload/3/a.png"),
    ],
)
def test_images_are_found_by_their_url(read, image: str) -> None:
    assert [Path(i.location.name).name for i in read([task(result(BOX), image=image)]).images] == ["a.png"]


@pytest.mark.parametrize(
    "data", [{"img": "a.png"}, {"photo": "a.png", "text": "words"}, {"x": "/data/upload/1/a.png"}]
)
def test_the_image_may_stand_under_any_key(read, data) -> None:
    named = result(BOX, to_name=next(iter(data)))
    for one in (named, result(BOX, to_name="elsewhere")):
        assert len(read([{**task(one), "data": data}, task(image="b.png")])) == 2


def test_the_uploaded_name_is_used_if_the_url_leads_nowhere(read) -> None:
    split = read([task(result(BOX), image="/image2", file_upload="e97d4735-a.png")])
    assert [Path(image.location.name).name for image in split.images] == ["a.png"]


def test_a_task_may_show_several_images(read) -> None:
    data = {"left": "a.png", "right": "b.png"}
    both = [result(BOX, to_name="left"), result(BOX, to_name="right", id="o", label="dog")]
    split = read([{**task(*both), "data": data}])
    assert [(i.file_name, len(i.instances)) for i in split.images] == [("a.png", 1), ("b.png", 1)]


def test_two_tasks_for_one_image(read) -> None:
    split = read([task(result(BOX)), task(result(BOX))])
    assert len(split) == 1 and "same annotations" in [p.kind for p in split.problems]
    with pytest.raises(InputError, match="lists 1 image more than once"):
        read([task(result(BOX)), task(result(BOX, label="dog"))])


def test_one_task_and_a_file_of_a_storage_are_read(read) -> None:
    assert read(task(result(BOX))).box_count == 1
    stored = {**annotation(result(BOX)), "task": {"id": 1, "data": {"image": "a.png"}}}
    assert read(stored).box_count == 1


def test_the_old_key_of_annotations_is_read(read) -> None:
    assert (
        read([{"id": 1, "data": {"image": "a.png"}, "completions": [annotation(result(BOX))]}]).box_count == 1
    )


def test_json_min_is_read(read) -> None:
    size = {"original_width": 100, "original_height": 80}
    entry = {"image": "/data/upload/1/0123abcd-a.png", "id": 1, "annotator": 1, "annotation_id": 1}
    old = {**entry, "updated_at": "2020", "label": [{**BOX, "rectanglelabels": ["old"], **size}]}
    new = {
        **entry,
        "updated_at": "2021",
        "annotation_id": 2,
        "label": [{**BOX, "rectanglelabels": ["kite"], **size}],
    }
    shaped = {"points": POINTS, "polygonlabels": ["dog"], **size}
    other = {**entry, "id": 2, "image": "b.png", "quality": "good", "shape": [shaped]}
    split = read([new, old, other])
    assert [[(split.classes[i.label], i.box_xyxy) for i in image.instances] for image in split.images] == [
        [("kite", (10, 20, 40, 40))],
        [("dog", (10, 20, 40, 40))],
    ]
    assert details(split) == ["1 further annotations of a task, of which the newest is read"]


# --- files ---


def test_tasks_without_a_region_are_no_annotations(images, write_json, aerostat) -> None:
    folder = images("data", "a.png")
    write_json(folder / "project.json", [task()])
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 80}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}],
        "categories": [{"id": 1, "name": "cell"}],
    }
    with pytest.raises(InputError, match="found 1 task of Label Studio without a region"):
        Dataset.read(folder)
    write_json(folder / "coco.json", coco)
    assert Dataset.read(folder).classes == ("cell",)


def test_the_command_converts_it(images, write_json, aerostat, tmp_path: Path) -> None:
    folder = images("data", "a.png")
    file = write_json(folder / "project.json", [task(result(BOX), image="a.png")])
    assert aerostat("convert", folder, tmp_path / "out.json").code == 0
    assert json.loads((tmp_path / "out.json").read_text())["annotations"][0]["bbox"] == [10, 20, 30, 20]
    file.write_bytes(file.read_bytes()[:-30])
    ended = aerostat("convert", folder, tmp_path / "again.json")
    assert (
        ended.code == 2 and "project.json is cut off" in ended.err and not (tmp_path / "again.json").exists()
    )


@pytest.mark.parametrize("content", ["", "[", "[]", "{}", "[1]", '[{"id": 1}]', '{"a": 1}', "[[[["])
def test_empty_and_broken_files_are_refused(images, tmp_path: Path, content: str) -> None:
    file = images("data", "a.png") / "p.json"
    file.write_text(content)
    with pytest.raises(InputError, match=r"p\.json"):
        Dataset.read(file, from_format="label-studio")


def test_a_file_in_another_encoding_is_refused(images) -> None:
    file = images("data", "a.png") / "p.json"
    text = json.dumps([task(result(BOX, label="é"))], ensure_ascii=False)
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="UTF-8"):
        Dataset.read(file)


def test_it_is_read_from_an_archive(images, write_json, tmp_path: Path) -> None:
    folder = images("data", "a.png")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.write(folder / "a.png", "images/0123abcd-a.png")
        archive.writestr("result.json", json.dumps([task(result(BOX))]))
        archive.writestr("label_config.xml", '<View><X><Label value="zoo"/><Label value="kite"/></X></View>')
    data = Dataset.read(tmp_path / "data.zip")
    assert data.split("all").box_count == 1 and data.classes == ("zoo", "kite")


@pytest.mark.parametrize(
    ("config", "classes"),
    [
        (
            '<View><L name="l"><Label value="zoo"/><Label value="big" alias="kite"/></L></View>',
            ("zoo", "kite"),
        ),
        ('<View><Label value="zoo"/></View>', ("kite",)),
        ("<View><Label", ("kite",)),
        ('<!DOCTYPE V [<!ENTITY a "aa">]><View><Label value="&a;"/><Label value="kite"/></View>', ("kite",)),
    ],
)
def test_a_configuration_beside_gives_the_order_of_the_classes(read, tmp_path, config, classes) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "label_config_1.xml").write_text(config)
    assert read([task(result(BOX))]).classes == classes


# --- writing ---


def test_written_tasks_are_those_of_the_tool(images, tmp_path: Path) -> None:
    root = images("photos", "sub/ü a.png")
    outline = np.asarray(POINTS, np.float64)
    found = [
        Instance((10, 20, 40, 40), 1),
        Instance((10, 25, 40, 50), 0, (outline,), difficult=True),
        Instance((10, 25, 80, 75), 0, (outline, outline + np.asarray([40, 25]))),
        Instance((1, 1, 9, 9), 0, crowd=True),
    ]
    rows = [ImageRecord(root / "sub/ü a.png", "sub/ü a.png", 100, 80, found)]
    lost = write_label_studio(
        Split("all", ("kite", 'a "dog"'), (1, 2), rows), tmp_path / "o.json", WriteOptions()
    )
    assert lost == {
        "difficult marks": 1,
        "outlines of objects with several, written as a mask": 1,
        "crowd regions left out": 1,
    }
    (written,) = json.loads((tmp_path / "o.json").read_text())
    assert written["data"]["image"] == "/data/local-files/?d=photos/sub/%C3%BC%20a.png"
    rectangle, polygon, brush = written["annotations"][0]["result"]
    assert rectangle == {
        **{"id": "i1o1", "type": "rectanglelabels", "from_name": "label", "to_name": "image"},
        **{"original_width": 100, "original_height": 80, "image_rotation": 0},
        "value": {**BOX, "rectanglelabels": ['a "dog"']},
    }
    assert (polygon["type"], polygon["from_name"]) == ("polygonlabels", "polygon")
    assert (brush["type"], brush["value"]["format"]) == ("brushlabels", "rle")
    config = (tmp_path / "o.label_config.xml").read_text()
    assert """<Label value='a "dog"'/>""" in config and config.count("toName") == 3


def test_objects_with_scores_are_predictions(images, tmp_path: Path) -> None:
    root = images("photos", "a.png", "b.png")
    found = [Instance((10, 20, 40, 40), 0), Instance((1, 2, 3, 4), 0)]
    rows = [
        ImageRecord(root / "a.png", "a.png", 100, 80, found),
        ImageRecord(root / "b.png", "b.png", 100, 80),
    ]
    options = WriteOptions(scores=[0.75, 0.25], model="nano")
    write_label_studio(Split("all", ("kite",), (1,), rows), tmp_path / "o.json", options)
    first, second = json.loads((tmp_path / "o.json").read_text())
    (prediction,) = first["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("nano", 0.5)
    assert [r["score"] for r in prediction["result"]] == [0.75, 0.25]
    assert "annotations" not in first and second["predictions"] == []


numbers = st.one_of(st.integers(0, 40).map(float), st.floats(0, 40), st.floats(0, 1e-6))
outlines = (
    st.lists(st.tuples(numbers, numbers), min_size=3, max_size=6)
    .map(lambda points: np.asarray(points, np.float64))
    .filter(lambda outline: polygons.area(outline) > 0)
)


@st.composite
def instances(draw) -> Instance:
    label = draw(st.integers(0, 2))
    kind = draw(st.sampled_from(["box", "outline", "mask"]))
    if kind == "box":
        x, y, w, h = (draw(numbers) for _ in range(4))
        box = (x, y, x + w + 0.01, y + h * 0.9 + 0.01)
        return Instance(box, label, area=(box[2] - box[0]) * (box[3] - box[1]))
    if kind == "outline":
        outline = draw(outlines)
        return Instance(polygons.bounds(outline), label, (outline,), area=polygons.area(outline))
    dense = np.zeros((1, 77, 97), bool)
    dense[0, draw(st.integers(0, 76)), draw(st.integers(0, 96))] = True
    dense[0, draw(st.integers(0, 76)), draw(st.integers(0, 96)) :] = True
    masks = Masks.from_dense(dense)
    x1, y1, x2, y2 = masks.boxes_xyxy()[0].tolist()
    shift = draw(st.sampled_from([0.0, 0.25]))
    return Instance((x1, y1, x2 - shift, y2), label, rle=masks.to_coco()[0], area=float(masks.area()[0]))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("round_trip")
    for name in ("a.png", "sub/a.png", "sub/ü b+c.png"):
        (root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (97, 77)).save(root / "photos" / name)
    yield root


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(instances(), max_size=4), min_size=3, max_size=3))
def test_reading_gives_back_what_was_written(photos: Path, per_image: list[list[Instance]]) -> None:
    names = ("a.png", "sub/a.png", "sub/ü b+c.png")
    rows = [
        ImageRecord(photos / "photos" / name, name, 97, 77, found, number)
        for number, (name, found) in enumerate(zip(names, per_image, strict=True), start=1)
    ]
    split = Split("all", ("风筝", "ant", 'a "quoted" & <odd> name'), (1, 2, 3), rows)
    assert write_label_studio(split, photos / "out.json", WriteOptions()) == {}
    back = Dataset.read(photos / "out.json", images=photos / "photos").split("all")
    assert replace(back, problems=()) == split


# --- real files ---


@pytest.mark.parametrize(
    ("name", "objects", "classes"),
    [
        ("data", 4, ("parasites", "white")),
        ("data_obb", 25, ("Butterfly", "butterfly")),
        ("data_polygons", 1, ("Airplane", "Car")),
        ("csv_test", 3, ("Airplane", "Car")),
    ],
)
def test_exports_of_the_tool_are_read(shared: Path, tmp_path: Path, name: str, objects: int, classes) -> None:
    source = shared / "data" / "small" / "label_studio"
    for file in (source / f"{name}.json", *source.glob("*.xml")):
        shutil.copy(file, tmp_path)
    for one in json.loads((source / f"{name}.json").read_text()):
        size = one["annotations"][0]["result"][0]
        file = Path(one["data"]["image"].partition("?")[0]).name
        picture = Image.new("RGB", (size["original_width"], size["original_height"]))
        picture.save(tmp_path / (file if "." in file else f"{file}.png"))
    data = Dataset.read(tmp_path)
    assert sum(len(split.images.instances) for split in data.splits.values()) == objects
    assert data.classes == classes
