import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats.cvat import FORMAT
from aerostat.datasets.formats.format import WriteOptions
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import InputError
from aerostat.geometry import polygons
from aerostat.geometry.masks import Masks

CAT = 'label="cat" occluded="0"'
BOX = f'<box {CAT} xtl="1" ytl="2" xbr="30" ybr="40"></box>'
SQUARE = "10,10;20,10;20,20;10,20"


def image(*shapes: str, name: str = "a.png", more: str = 'width="100" height="80"') -> str:
    return f'<image id="0" name="{name}" {more}>{"".join(shapes)}</image>'


def document(*images: str, meta: str = "") -> str:
    return f"<?xml version='1.0'?><annotations><version>1.1</version>{meta}{''.join(images)}</annotations>"


@pytest.fixture
def read(images, tmp_path: Path) -> Callable[..., Dataset]:
    """Read a file whose images a.png and b.png lie in `images/`."""

    def read(content: str | bytes, **options: Any) -> Dataset:
        images("data/images", "a.png", "b.png")
        path = tmp_path / "data" / "annotations.xml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Dataset.read(tmp_path / "data", **options)

    return read


def instances(data: Dataset, name: str = "a.png") -> list[Instance]:
    (found,) = [i for split in data.splits.values() for i in split.images if i.file_name == name]
    return list(found.instances)


def kinds(data: Dataset) -> list[str]:
    return [problem.kind for problem in data.problems]


# ------------------------------------------------------------------------------------ objects


def test_shapes_of_an_image_are_objects(read) -> None:
    shapes = [
        BOX,
        f'<polygon label="dog" points="{SQUARE}"/>',
        f'<ellipse {CAT} cx="50" cy="40" rx="10" ry="5" rotation="90"/>',
        f'<mask {CAT} rle="1, 2, 3" left="5" top="6" width="3" height="2"/>',
        f'<box {CAT} xtl="40" ytl="30" xbr="60" ybr="40" rotation="90"/>',
    ]
    data = read(document(image(*shapes), image(name="b.png")))
    box, polygon, ellipse, mask, turned = instances(data)
    assert box.box_xyxy == (1, 2, 30, 40)
    assert (polygon.box_xyxy, polygon.area, data.classes[polygon.label]) == ((10, 10, 20, 20), 100, "dog")
    assert ellipse.box_xyxy == pytest.approx((45, 30, 55, 50))
    assert (mask.box_xyxy, mask.area) == ((6, 6, 8, 7), 2)
    assert (turned.box_xyxy, turned.area) == ((45, 25, 55, 45), 200)
    assert instances(data, "b.png") == [] and data.problems == () and data.classes == ("cat", "dog")


def test_what_is_not_read_is_counted(read) -> None:
    skeleton = '<skeleton label="man"><points label="1" outside="0" points="1,2"/></skeleton>'
    marked = BOX.replace('"0"', '"1"', 1).replace("></box>", '><attribute name="a">b</attribute></box>')
    data = read(document(image(skeleton, marked, '<tag label="good"/>')))
    assert {problem.detail for problem in data.problems} == {
        "1 skeletons",
        "1 marks as occluded",
        "1 attributes",
        "1 tags of images",
    }
    assert data.classes == ("cat",)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (
            f'<points {CAT} points="1,2"/>',
            "points 1 is no object: it is a set of points, which has no extent",
        ),
        (f'<box {CAT} xtl="1"/>', "box 1 is no object: ytl is missing"),
        (f'<polygon {CAT} points="1;2"/>', "polygon 1 is no object: points is no list"),
        (f'<mask {CAT} rle="9" left="99" top="0" width="9" height="1"/>', "reaches out of the image"),
        (f'<mask {CAT} rle="9" left="0" top="0" width="9" height="1"/>', "the mask has no pixels"),
    ],
)
def test_a_broken_object_costs_itself_alone(read, shape: str, said: str) -> None:
    data = read(document(image(shape, BOX)))
    assert [instance.box_xyxy for instance in instances(data)] == [(1, 2, 30, 40)]
    assert kinds(data) == ["malformed record"] and said in data.problems[0].detail


def test_objects_outside_or_without_label_are_reported(read) -> None:
    wrong = [
        f'<box {CAT} xtl="-9" ytl="2" xbr="30" ybr="1e300"/>',
        f'<box {CAT} xtl="200" ytl="2" xbr="300" ybr="20"/>',
        f'<box {CAT} xtl="9" ytl="9" xbr="1" ybr="1"/>',
        '<box label="" xtl="1" ytl="2" xbr="3" ybr="4"/>',
    ]
    data = read(document(image(*wrong)))
    assert kinds(data) == ["clipped", "outside the image", "degenerate box", "no class"]
    assert [instance.box_xyxy for instance in instances(data)] == [(0, 2, 30, 80)]


# ------------------------------------------------------------------------------------ groups


def group(kind: str, number: int, content: str, label: str = "cat") -> str:
    return f'<{kind} label="{label}" group_id="{number}" {content}/>'


def polygon(number: int, x: int, label: str = "cat") -> str:
    return group("polygon", number, f'points="{x},1;{x + 5},1;{x + 5},9;{x},9"', label)


CORNERS = 'xtl="1" ytl="1" xbr="{}" ybr="20"'


def test_polygons_of_one_group_are_one_object(read) -> None:
    shapes = [polygon(1, 1), BOX, polygon(1, 20), polygon(2, 40), polygon(0, 50), polygon(0, 60)]
    joined, box, alone, first, second = instances(read(document(image(*shapes))))
    assert (joined.box_xyxy, joined.area, len(joined.polygons)) == ((1, 1, 25, 9), 80, 2)
    assert [o.box_xyxy[0] for o in (box, alone, first, second)] == [1, 40, 50, 60]


def test_a_box_of_the_group_is_the_box_of_the_object(read) -> None:
    (joined,) = instances(read(document(image(polygon(1, 1), group("box", 1, CORNERS.format(30))))))
    assert (joined.box_xyxy, len(joined.polygons)) == ((1, 1, 30, 20), 1)
    mask = group("mask", 1, 'rle="0,4" left="2" top="2" width="2" height="2"')
    (joined,) = instances(read(document(image(group("box", 1, CORNERS.format(9)), mask))))
    assert (joined.box_xyxy, joined.area) == ((1, 1, 9, 20), 4)


@pytest.mark.parametrize(
    "shapes",
    [
        [group("box", 1, CORNERS.format(9)), group("box", 1, CORNERS.format(30))],
        [group("box", 1, CORNERS.format(9)), group("box", 1, CORNERS.format(30)), polygon(1, 1)],
        [polygon(1, 1), polygon(1, 20, "dog")],
        [polygon(1, 1), group("mask", 1, 'rle="0,4" left="2" top="2" width="2" height="2"')],
        [polygon(1, 1), group("ellipse", 1, 'cx="50" cy="40" rx="10" ry="5"')],
        [polygon(1, 1), group("box", 1, CORNERS.format(30) + ' rotation="45"')],
    ],
    ids=["two boxes", "two boxes and a polygon", "two classes", "polygon and mask", "ellipse", "turned box"],
)
def test_other_groups_stay_apart(read, shapes: list[str]) -> None:
    assert len(instances(read(document(image(*shapes))))) == len(shapes)


# ------------------------------------------------------------------------------------ images and classes


def test_labels_give_the_order_of_the_classes(read) -> None:
    labels = [
        "<label><name>dog</name><type>any</type></label>",
        "<label><name>cat</name></label>",
        "<label><name>good</name><type>tag</type></label>",
        "<label><name>man</name><type>skeleton</type></label>",
        "<label><name>1</name><type>points</type><parent>man</parent></label>",
        "<label><name>dog</name></label>",
    ]
    for kind in ("task", "job", "project"):
        meta = f"<meta><{kind}><labels>{''.join(labels)}</labels></{kind}></meta>"
        assert read(document(image(BOX), meta=meta)).classes == ("dog", "cat")


def test_the_stated_size_is_compared(read) -> None:
    assert kinds(read(document(image(BOX, more='width="80" height="100"')))) == ["swapped size"]
    assert kinds(read(document(image(BOX, more='width="0" height="?"')))) == []


def test_a_missing_image_is_reported(read) -> None:
    data = read(document(image(BOX), image(name="gone.png")))
    assert [(p.kind, p.file_name) for p in data.problems] == [("missing image", "gone.png")]


def test_an_image_without_name_is_reported(read) -> None:
    data = read(document(image(BOX), '<image id="4"/>'))
    assert kinds(data) == ["malformed record"] and "an image without name" in data.problems[0].detail


def test_no_name_leads_out_of_the_folder(read, images) -> None:
    images(".", "secret.png")
    data = read(document(image(BOX), image(BOX, name="../../secret.png")))
    assert kinds(data) == ["missing image"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<annotations><version>1.1</version>\n<image id='0'", r"annotations\.xml is cut off.+ line 2"),
        (document(image(BOX), image(BOX)), r"lists 1 image more than once, first 'a\.png'"),
        (document(), "lists no images"),
        ("<annotations><version/>\n<image name='\xff'/>".encode("latin-1"), "is not UTF-8 at line 2"),
        (document(image(BOX)).replace("?>", "?><!DOCTYPE annotations [<!ENTITY a 'b'>]>"), "document type"),
    ],
)
def test_a_broken_file_is_refused(read, content: str | bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(content)


def test_an_unknown_class_is_refused(read) -> None:
    with pytest.raises(InputError, match="objects of the class 'cat', which `classes` does not list"):
        read(document(image(BOX)), classes=["dog"])


def test_masks_that_unfold_to_far_more_than_the_file_are_refused(images, tmp_path: Path) -> None:
    images("data", "a.png")
    row = '<mask label="cat" rle="0,65000" left="0" top="0" width="65000" height="2"/>'
    content = document(image(*[row] * 400, more='width="65000" height="65000"'))
    (tmp_path / "data" / "annotations.xml").write_text(content)
    with pytest.raises(InputError, match="holds masks that unfold to far more than the file"):
        Dataset.read(tmp_path / "data")


# ------------------------------------------------------------------------------------ projects


def project(*subsets: str) -> str:
    tasks = "".join(f"<task><id>{n}</id><subset>{name}</subset></task>" for n, name in enumerate(subsets))
    return f"<meta><project><tasks>{tasks}</tasks></project></meta>"


def of_subset(subset: str, *shapes: str) -> str:
    return image(*shapes, more=f'subset="{subset}" width="100" height="80"')


def test_the_subsets_of_a_project_are_splits(images, tmp_path: Path) -> None:
    images("data/images", "Train/a.png", "Validation/a.png")
    content = document(of_subset("Train", BOX), of_subset("Validation"), meta=project("Train", "Validation"))
    (tmp_path / "data" / "annotations.xml").write_text(content)
    with zipfile.ZipFile(tmp_path / "project.zip", "w") as archive:
        for path in sorted((tmp_path / "data").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path / "data"))
    for place in ("data", "data/annotations.xml", "project.zip"):
        data = Dataset.read(tmp_path / place)
        assert {name: [len(i.instances) for i in s.images] for name, s in data.splits.items()} == {
            "train": [1],
            "val": [0],
        }
        assert [s.images[0].location.name[-12:] for s in data.splits.values()] == [
            "/Train/a.png",
            "dation/a.png",
        ]


def test_a_project_of_one_subset_is_one_split(read) -> None:
    data = read(document(of_subset("Train", BOX), meta=project("Train", "Train")))
    assert list(data.splits) == ["all"] and len(instances(data)) == 1


def test_a_project_of_a_maker_of_tools(shared: Path) -> None:
    folder = shared / "data" / "small" / "datumaro_assets" / "cvat_dataset" / "for_images"
    data = Dataset.read(folder / "export_project")
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 2, "val": 2, "test": 2}
    assert data.classes == ("label1", "label2")
    (box, polyline) = data.split("train").images[0].instances
    assert box.box_xyxy == (0, 2, 4, 4) and polyline.box_xyxy == (1, 2, 7, 8)
    single = Dataset.read(folder / "export_task")
    assert kinds(single).count("no class") == 2 and len(single.split("all")) == 2


def test_the_same_boxes_are_the_same(shared: Path) -> None:
    root = shared / "data" / "same_boxes"

    def by_name(data: Dataset) -> dict[str, list[Any]]:
        found = data.split("all").images
        return {
            im.path.name: sorted((data.classes[i.label], i.box_xyxy) for i in im.instances) for im in found
        }

    read = by_name(Dataset.read(root / "cvat_format", images=root / "images"))
    assert read == by_name(Dataset.read(root / "coco_format_v1", images=root / "images"))
    assert sum(map(len, read.values())) == 273


# ------------------------------------------------------------------------------------ writing

WIDTH, HEIGHT = 100, 80
CLASSES = ("气球", "dog", 'a "quoted"\t<name>')
NAMES = ("a.png", "deep/ü & ö.png")
numbers = st.one_of(st.integers(0, 40), st.floats(0, 40), st.decimals(0, 40, places=2)).map(float)
boxes = st.tuples(numbers, numbers, numbers, numbers).map(
    lambda n: (n[0], n[1], n[0] + n[2] + 0.01, n[1] + n[3] * 0.9 + 0.01)
)
outlines = (
    st.lists(st.tuples(numbers, numbers), min_size=3, max_size=6)
    .map(lambda points: np.asarray(points, np.float64))
    .filter(lambda outline: polygons.area(outline) > 0 and not polygons.crosses_itself(outline))
)


@st.composite
def objects(draw) -> Instance:
    label = draw(st.integers(0, 2))
    outlined = tuple(draw(st.lists(outlines, max_size=3)))
    own_box = draw(st.none() | boxes)
    if outlined:
        around = polygons.bounds(np.concatenate(outlined))
        return Instance(own_box or around, label, outlined, area=sum(map(polygons.area, outlined)))
    if draw(st.booleans()):
        pixels = np.zeros((1, HEIGHT, WIDTH), bool)
        x, y = draw(st.integers(0, 90)), draw(st.integers(0, 70))
        pixels[0, y : y + 10, x : x + 5] = np.reshape(
            draw(st.lists(st.booleans(), min_size=50, max_size=50)), (10, 5)
        )
        pixels[0, y, x] = True
        mask = Masks.from_dense(pixels)
        around = tuple(mask.boxes_xyxy()[0].tolist())
        return Instance(own_box or around, label, (), mask.to_coco()[0], area=float(mask.area()[0]))
    x1, y1, x2, y2 = own = draw(boxes)
    return Instance(own, label, area=(x2 - x1) * (y2 - y1))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cvat")
    for name in NAMES:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(path / name)
    return path


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(objects(), max_size=4), min_size=2, max_size=2))
def test_writing_and_reading_back_changes_nothing(photographs: Path, content: list[list[Instance]]) -> None:
    rows = [
        ImageRecord(photographs / name, name, WIDTH, HEIGHT, of_image, number)
        for number, (name, of_image) in enumerate(zip(NAMES, content, strict=True), start=1)
    ]
    split = Split("train", CLASSES, (1, 2, 3), rows)
    assert FORMAT.write(split, photographs / "train.xml", WriteOptions()) == {}
    data = Dataset.read(photographs / "train.xml")
    assert data.split("train") == split and data.problems == ()


def test_what_the_format_cannot_hold_is_counted(images, tmp_path: Path) -> None:
    folder = images("data", "a.png")
    things = [Instance((1, 1, 9, 9), 0, crowd=True), Instance((1, 1, 9, 9), 0, difficult=True)]
    row = ImageRecord(folder / "a.png", "a.png", 100, 80, things)
    lost = FORMAT.write(Split("val", ("cat",), (1,), [row]), folder / "val.xml", WriteOptions())
    assert dict(lost) == {"crowd regions left out": 1, "difficult marks": 1}
    assert [instance.box_xyxy for instance in instances(Dataset.read(folder))] == [(1, 1, 9, 9)]


def test_the_written_file_states_what_cvat_asks_for(images, tmp_path: Path) -> None:
    from xml.etree import ElementTree

    folder = images("data", "a.png")
    square = np.asarray([(1.0, 1.0), (9.0, 1.0), (9.0, 9.5)])
    row = ImageRecord(
        folder / "a.png",
        "a.png",
        100,
        80,
        [Instance((1, 1, 9, 9.5), 0, (square,)), Instance((1, 1, 9, 9), 0)],
    )
    FORMAT.write(Split("val", ("cat",), (1,), [row]), tmp_path / "val.xml", WriteOptions())
    root = ElementTree.parse(tmp_path / "val.xml").getroot()
    assert (root.tag, root.findtext("version")) == ("annotations", "1.1")
    assert root.findtext("meta/task/labels/label/name") == "cat"
    found = root.find("image")
    assert found is not None
    assert found.attrib == {"id": "0", "name": "a.png", "width": "100", "height": "80"}
    polygon, box = found
    assert polygon.get("points") == "1,1;9,1;9,9.5"
    assert [box.get(key) for key in ("label", "xtl", "ytl", "xbr", "ybr", "occluded", "z_order")] == [
        *("cat", "1", "1", "9", "9", "0", "0")
    ]
    assert polygon.get("group_id") is None and box.get("group_id") is None
