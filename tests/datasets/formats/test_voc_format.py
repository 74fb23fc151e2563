import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aerostat.datasets.convert import convert
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats.format import WriteOptions
from aerostat.datasets.formats.voc import FORMAT
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import InputError

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def box(*corners: object) -> str:
    return f"<bndbox>{''.join(f'<{k}>{v}</{k}>' for k, v in zip(CORNERS, corners, strict=True))}</bndbox>"


def thing(content: str, name: str = "cat") -> str:
    return f"<object><name>{name}</name>{content}</object>"


def xml(*objects: str, filename: str | None = None, size: str = "") -> str:
    named = "" if filename is None else f"<filename>{filename}</filename>"
    return f"<annotation>{named}{size}{''.join(objects)}</annotation>"


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Write text files below a folder and return it."""

    def put(folder: str, **contents: str) -> Path:
        return put_all(folder, {f"{name}.xml": content for name, content in contents.items()})

    def put_all(folder: str, contents: dict[str, str]) -> Path:
        root = tmp_path / folder
        for name, content in contents.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content, encoding="utf-8")
        return root

    put.all = put_all  # type: ignore[attr-defined]
    return put


def objects(data: Dataset) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    return {
        image.file_name: [(data.classes[i.label], i.box_xyxy) for i in image.instances]
        for split in data.splits.values()
        for image in split.images
    }


def kinds(data: Dataset) -> list[str]:
    return [problem.kind for problem in data.problems]


# ------------------------------------------------------------------------------------ content


def test_coordinates_are_taken_as_they_are_written(images, put) -> None:
    images("data", "a.png")
    root = put("data", a=xml(thing(box(1, 2, 40, 60)), thing(box("0.25", "1e1", " 30.5\n", 20), "dog")))
    assert objects(Dataset.read(root)) == {"a.png": [("cat", (1, 2, 40, 60)), ("dog", (0.25, 10, 30.5, 20))]}


def test_difficult_is_kept_and_the_rest_is_counted(images, put) -> None:
    images("data", "a.png")
    marks = "<pose>Left</pose><truncated>1</truncated><occluded>0</occluded><difficult>1</difficult>"
    part = f"<part><name>head</name>{box(2, 2, 3, 3)}</part><actions><walking>1</walking></actions>"
    plain = "<pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
    root = put("data", a=xml(thing(box(1, 1, 9, 9) + marks + part), thing(plain + box(5, 5, 8, 8))))
    data = Dataset.read(root)
    assert data.split("all").images.instances.difficult.tolist() == [True, False]
    said = {problem.detail for problem in data.problems}
    assert said == {"1 poses", "1 marks as truncated", "1 parts of objects", "1 lists of actions"}


def test_an_object_with_several_boxes_is_several_objects(images, put) -> None:
    images("data", "a.png")
    root = put("data", a=xml(thing(box(1, 1, 9, 9) + box(20, 20, 30, 30))))
    assert objects(Dataset.read(root)) == {"a.png": [("cat", (1, 1, 9, 9)), ("cat", (20, 20, 30, 30))]}


def test_polygons_of_roboflow_are_outlines(images, put) -> None:
    images("data", "a.png")
    points = "<x1>1</x1><y1>2</y1><x2>9</x2><y2>2</y2><x3>9</x3><y3>8</y3>"
    root = put("data", a=xml(thing(box(1, 2, 9, 8) + f"<polygon>{points}</polygon>")))
    (image,) = Dataset.read(root).split("all").images
    assert image.instances[0].polygons[0].tolist() == [[1, 2], [9, 2], [9, 8]]
    assert image.instances[0].area == 24


def test_a_rotated_box_of_rolabelimg_is_an_outline(images, put) -> None:
    images("data", "a.png")
    turned = f"<robndbox><cx>50</cx><cy>40</cy><w>20</w><h>6</h><angle>{math.pi / 2}</angle></robndbox>"
    root = put("data", a=xml(thing(turned)))
    (image,) = Dataset.read(root).split("all").images
    assert image.instances[0].box_xyxy == pytest.approx((47, 30, 53, 50))  # a quarter turn


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (box("nan", 1, 2, 3), "object 1 is no object: xmin is 'nan', which is not finite; dropped"),
        (box(1, 1, "wide", 3), "xmax is 'wide', which is no number"),
        ("<bndbox><xmin>1</xmin></bndbox>", "ymin is missing"),
        ("<polygon><x1>1</x1><y2>2</y2></polygon>", "y1 is missing"),
    ],
)
def test_a_broken_object_costs_itself_alone(images, put, broken: str, said: str) -> None:
    images("data", "a.png")
    data = Dataset.read(put("data", a=xml(thing(broken), thing(box(1, 1, 5, 5)))))
    assert objects(data) == {"a.png": [("cat", (1, 1, 5, 5))]}
    assert kinds(data) == ["malformed record"] and said in data.problems[0].detail


def test_objects_outside_the_image_or_without_class_are_reported(images, put) -> None:
    images("data", "a.png")
    wrong = [
        box(-9, 2, 40, 60),
        box(200, 2, 240, 60),
        box(5, 5, 5, 9),
        box(9, 9, 1, 1),
        box(1, 1, "1e300", 9),
    ]
    data = Dataset.read(put("data", a=xml(*map(thing, wrong), thing(box(1, 1, 2, 2), ""), thing(""))))
    assert objects(data) == {"a.png": [("cat", (0, 2, 40, 60)), ("cat", (1, 1, 100, 9))]}
    expected = ["clipped", "outside the image", "degenerate box", "degenerate box", "clipped"]
    assert kinds(data) == [*expected, "no class", "malformed record"]


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        ("100", "80", []),
        ("80", "100", ["swapped size"]),
        ("99", "80", ["wrong size"]),
        ("0", "0", []),
        ("", "wide", []),
        ("100.0", "80.0", []),
    ],
)
def test_the_stated_size_is_compared(images, put, width: str, height: str, expected: list[str]) -> None:
    images("data", "a.png")
    size = f"<size><width>{width}</width><height>{height}</height><depth/></size>"
    assert kinds(Dataset.read(put("data", a=xml(thing(box(1, 1, 5, 5)), size=size)))) == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<annotation><object>", r"a\.xml is cut off: its XML ends unfinished at line 1"),
        ("<annotation>\n&cat;</annotation>", r"a\.xml is not valid XML: undefined entity at line 2"),
        ("<!DOCTYPE annotation [<!ENTITY b 'c'>]><annotation/>", r"a\.xml states a document type"),
    ],
)
def test_a_broken_file_is_refused(images, put, content: str, said: str) -> None:
    images("data", "a.png", "b.png")
    root = put("data", a=content)
    with pytest.raises(InputError, match=said):
        Dataset.read(root)


def test_a_file_that_is_not_utf8_is_refused_by_its_line(images, put) -> None:
    root = images("data", "a.png")
    (root / "a.xml").write_bytes(b"<annotation>\n<object>\xff</object></annotation>")
    with pytest.raises(InputError, match=r"a\.xml is not UTF-8 at line 2"):
        Dataset.read(root)


def test_the_old_xml_of_labelme_is_not_taken_for_voc(images, put) -> None:
    images("data", "a.png")
    points = "<polygon><pt><x>1</x><y>1</y></pt></polygon>"
    root = put("data", a=xml(thing(points)))
    with pytest.raises(InputError, match=r"no annotation file|Expected"):
        Dataset.read(root, from_format="voc")
    put("data/Annotations", a=xml(thing(points)))
    with pytest.raises(InputError, match=r"no annotation file|Expected"):
        Dataset.read(root, from_format="voc")


# ------------------------------------------------------------------------------------ which image


def test_the_file_name_in_the_xml_counts_if_there_is_such_an_image(images, put) -> None:
    images("data", "a.png", "b.png")
    data = Dataset.read(put("data", x=xml(thing(box(1, 1, 5, 5)), filename="b.png")))
    assert data.split("all").images[0].path.name == "b.png" and data.problems == ()


@pytest.mark.parametrize("filename", [None, "", "gone.png", "folder/gone.jpg", "../../secret.png"])
def test_else_the_name_of_the_xml_counts(images, put, filename: str | None) -> None:
    images(".", "secret.png")
    images("data/in", "a.png", "b.png")
    data = Dataset.read(put("data/in", a=xml(thing(box(1, 1, 5, 5)), filename=filename)))
    assert data.split("all").images[0].path.name == "a.png"
    assert kinds(data) == (["other name"] if filename else [])


def test_a_file_name_without_suffix_or_with_another_one_finds_the_image(images, put) -> None:
    images("data", "a.png", "b.png")
    root = put("data", a=xml(thing(box(1, 1, 5, 5)), filename="a"), b=xml(filename="b.jpg"))
    data = Dataset.read(root)
    assert [image.path.name for image in data.split("all").images] == ["a.png", "b.png"]


def test_a_file_name_that_all_files_share_counts_for_none(images, put) -> None:
    images("data", "a.png", "b.png")
    same = {name: xml(thing(box(1, 1, 5, n)), filename="a.png") for n, name in ((5, "a"), (6, "b"))}
    data = Dataset.read(put("data", **same))
    assert objects(data) == {"a.png": [("cat", (1, 1, 5, 5))], "b.png": [("cat", (1, 1, 5, 6))]}
    (note,) = data.problems
    assert note.kind == "other name" and "'b.png' in place of 'a.png'" in note.detail


def test_two_files_for_one_image_are_refused(images, put) -> None:
    images("data", "a.png")
    with pytest.raises(InputError, match=r"lists 1 image more than once, first 'a\.png'"):
        Dataset.read(put("data", a=xml(filename="a.png"), x=xml(filename="a.png")))


def test_a_missing_image_is_reported(images, put) -> None:
    images("data", "a.png")
    data = Dataset.read(put("data", a=xml(thing(box(1, 1, 5, 5))), b=xml(filename="b.png")))
    assert [(p.kind, p.file_name) for p in data.problems] == [("missing image", "b.png")]
    assert list(objects(data)) == ["a.png"]


# ------------------------------------------------------------------------------------ layouts


@pytest.fixture
def devkit(images, put) -> Path:
    """Four images in the layout of the devkit, without lists."""
    names = ("1", "2", "3", "4")
    images("VOCdevkit/VOC2007/JPEGImages", *(f"{name}.jpg" for name in names))
    put(
        "VOCdevkit/VOC2007/Annotations",
        **{n: xml(thing(box(1, 1, 9, 9)), filename=f"{n}.jpg") for n in names},
    )
    return put.all("VOCdevkit", {"VOC2007/Annotations/._1.xml": "\0"})


def lists(put, **names: str) -> None:
    put.all("VOCdevkit/VOC2007/ImageSets/Main", {f"{split}.txt": text for split, text in names.items()})


def by_split(data: Dataset) -> dict[str, list[str]]:
    return {name: [image.path.stem for image in split.images] for name, split in data.splits.items()}


def test_without_lists_all_files_are_one_split(devkit: Path) -> None:
    assert by_split(Dataset.read(devkit)) == {"all": ["1", "2", "3", "4"]}
    assert by_split(Dataset.read(devkit / "VOC2007")) == {"all": ["1", "2", "3", "4"]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"train": "1\n2\n", "val": "3\n", "trainval": "1\n2\n3\n"}, {"train": ["1", "2"], "val": ["3"]}),
        ({"trainval": "1\n2\n", "test": "4\n"}, {"train": ["1", "2"], "test": ["4"]}),
        ({"train": "2\n", "trainval": "1\n2\n3\n"}, {"train": ["2"], "val": ["1", "3"]}),
        ({"val": "2\n", "trainval": "1\n2\n"}, {"train": ["1"], "val": ["2"]}),
        ({"train": "1 1\n2 -1\n\n3  0\n", "cat_train": "4 1\n"}, {"train": ["1", "2", "3"]}),
        (
            {"train": "# a comment\n1.jpg\nJPEGImages/2.jpg\n1\n3.jpg Annotations/3.xml\n"},
            {"train": ["1", "2", "3"]},
        ),
        ({"default": "3\n1\n"}, {"all": ["3", "1"]}),
        ({"Train": "3\n", "Validation": "1\n"}, {"train": ["3"], "val": ["1"]}),
    ],
)
def test_lists_are_splits(devkit: Path, put, given: dict[str, str], expected: dict[str, list[str]]) -> None:
    lists(put, **given)
    data = Dataset.read(devkit)
    assert by_split(data) == expected
    assert "missing image" not in kinds(data)


def test_a_listed_image_without_xml_is_reported(devkit: Path, put) -> None:
    lists(put, train="1\n77\n")
    data = Dataset.read(devkit)
    assert by_split(data) == {"train": ["1"]}
    (problem,) = data.problems
    assert (problem.kind, problem.file_name) == (
        "missing image",
        "77",
    ) and "has no XML file" in problem.detail


def test_a_test_list_without_any_xml_is_left_out(devkit: Path, put) -> None:
    lists(put, train="1\n", val="2\n", test="77\n78\n")
    data = Dataset.read(devkit)
    assert by_split(data) == {"train": ["1"], "val": ["2"]}
    assert "No image that" in data.left_out[0].sentence


def test_a_list_can_be_named_by_itself(devkit: Path, put) -> None:
    lists(put, train="1\n", mine="3\n4\n")
    path = devkit / "VOC2007" / "ImageSets" / "Main"
    assert by_split(Dataset.read(path / "mine.txt")) == {"mine": ["3", "4"]}
    chosen = Dataset.read(devkit, splits={"train": path / "train.txt", "val": path / "mine.txt"})
    assert by_split(chosen) == {"train": ["1"], "val": ["3", "4"]}


def test_a_single_file_finds_its_image(devkit: Path) -> None:
    data = Dataset.read(devkit / "VOC2007" / "Annotations" / "3.xml")
    assert by_split(data) == {"all": ["3"]} and data.problems == ()


def test_two_lists_of_one_split_are_refused(devkit: Path, put) -> None:
    lists(put, val="1\n", valid="2\n")
    with pytest.raises(InputError, match=r"two lists for the split 'val', val\.txt and valid\.txt"):
        Dataset.read(devkit)


def test_a_list_that_is_not_utf8_is_refused(devkit: Path, put) -> None:
    lists(put, train="1\n")
    (devkit / "VOC2007" / "ImageSets" / "Main" / "train.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(InputError, match=r"train\.txt is not UTF-8"):
        Dataset.read(devkit)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "labelmap.txt",
            "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndog:1,2,3::\ncat:4,5,6:head:\n",
        ),
        ("classes.txt", "dog\ncat\n"),
        ("Annotations/classes.txt", "dog\ncat\n"),
    ],
)
def test_a_list_of_classes_gives_their_order(devkit: Path, put, name: str, content: str) -> None:
    put.all("VOCdevkit/VOC2007", {name: content})
    assert Dataset.read(devkit).classes == ("dog", "cat")


def test_a_list_of_other_classes_is_ignored(devkit: Path, put) -> None:
    put.all("VOCdevkit/VOC2007", {"classes.txt": "boat\ncar\n"})
    assert Dataset.read(devkit).classes == ("cat",)


@pytest.mark.parametrize("layout", ["{split}/{name}.xml", "Annotations/{split}/{name}.xml"])
def test_a_folder_for_each_split_is_read(images, put, layout: str) -> None:
    beside = layout.startswith("{")
    for split, name in (("train", "a"), ("valid", "b")):
        images(f"data/{split}" if beside else f"data/images/{split}", f"{name}.jpg")
        path = layout.format(split=split, name=name)
        put.all("data", {path: xml(thing(box(1, 1, 9, 9)), filename=f"{name}.jpg")})
    assert by_split(Dataset.read(images("data"))) == {"train": ["a"], "val": ["b"]}


def test_folders_below_annotations_go_with_those_of_the_images(images, put) -> None:
    images("data/JPEGImages", "x/1.jpg", "y/1.jpg")
    for folder, side in (("x", 5), ("y", 6)):
        put.all("data/Annotations", {f"{folder}/1.xml": xml(thing(box(1, 1, 9, side)), filename="1.jpg")})
    data = Dataset.read(images("data"))
    assert objects(data) == {"x/1.jpg": [("cat", (1, 1, 9, 5))], "y/1.jpg": [("cat", (1, 1, 9, 6))]}


def test_an_archive_is_read_in_place(devkit: Path, put, tmp_path: Path) -> None:
    lists(put, train="1\n2\n", val="3\n")
    with zipfile.ZipFile(tmp_path / "voc.zip", "w") as archive:
        for path in sorted(devkit.rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path))
    assert by_split(Dataset.read(tmp_path / "voc.zip")) == {"train": ["1", "2"], "val": ["3"]}


# ------------------------------------------------------------------------------------ real files


def test_bccd_is_read_whole(shared: Path) -> None:
    data = Dataset.read(shared / "data" / "bccd")
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 205, "val": 87, "test": 72}
    boxes = sum(len(split.images.instances) for split in data.splits.values())
    assert boxes + kinds(data).count("degenerate box") == 4888
    assert data.classes == ("Platelets", "RBC", "WBC")


@pytest.mark.parametrize("form", ["pascalvoc_format", "imagenet_format"])
def test_the_same_boxes_are_the_same(shared: Path, form: str) -> None:
    root = shared / "data" / "same_boxes"
    expected = Dataset.read(root / "coco_format_v1", images=root / "images")
    read = Dataset.read(root / form, images=root / "images")

    def by_name(data: Dataset) -> dict[str, list[Any]]:
        images = data.split("all").images
        return {
            im.path.name: sorted((data.classes[i.label], i.box_xyxy) for i in im.instances) for im in images
        }

    assert by_name(read) == by_name(expected)
    assert sum(map(len, by_name(read).values())) == 273


# ------------------------------------------------------------------------------------ writing

coordinates = st.one_of(st.integers(0, 40), st.floats(0, 40), st.decimals(0, 40, places=2)).map(float)
boxes = st.tuples(coordinates, coordinates, coordinates, coordinates).map(
    lambda n: (n[0], n[1], n[0] + n[2] + 0.01, n[1] + n[3] * 0.9 + 0.01)
)
NAMES = ("a.png", "ü.png", "deep/a.png", "a.jpg")
CLASSES = ("气球", "dog", 'a "quoted" <name>')


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("voc")
    for name in NAMES:
        (path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (100, 80)).save(path / "images" / name)
    return path


def area(corners: tuple[float, float, float, float]) -> float:
    return (corners[2] - corners[0]) * (corners[3] - corners[1])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(boxes, st.integers(0, 2), st.booleans()), max_size=3), min_size=4, max_size=4
    ),
    st.permutations(range(4)),
)
def test_writing_and_reading_back_changes_nothing(photographs: Path, content, order) -> None:
    rows = [
        ImageRecord(
            photographs / "images" / NAMES[place],
            NAMES[place],
            100,
            80,
            [
                Instance(corners, label, area=area(corners), difficult=hard)
                for corners, label, hard in content[place]
            ],
            number,
        )
        for number, place in enumerate(order, start=1)
    ]
    split = Split("train", CLASSES, (1, 2, 3), rows)
    assert FORMAT.write(split, photographs / "out", WriteOptions()) == {}
    data = Dataset.read(photographs / "out", images=photographs / "images")
    assert data.split("train") == split and data.problems == ()


def test_what_the_format_cannot_hold_is_counted(images, tmp_path: Path) -> None:
    import numpy as np

    folder = images("data", "a.png")
    outline = np.asarray([(1.0, 1.0), (9.0, 1.0), (9.0, 9.0)])
    mask = {"size": [80, 100], "counts": [0, 80, 7920]}
    row = ImageRecord(
        *(folder / "a.png", "a.png", 100, 80),
        [
            Instance((1, 1, 9, 9), 0, (outline,)),
            Instance((0, 0, 1, 80), 0, (), mask),
            Instance((1, 1, 9, 9), 0, crowd=True),
        ],
    )
    lost = FORMAT.write(Split("val", ("cat",), (1,), [row]), tmp_path / "out", WriteOptions())
    expected = {"outlines": 1, "masks": 1, "crowd regions left out": 1}
    assert dict(lost) == expected
    data = Dataset.read(tmp_path / "out", images=folder)
    assert objects(data) == {"a.png": [("cat", (1, 1, 9, 9)), ("cat", (0, 0, 1, 80))]}


def test_the_written_file_has_the_order_of_the_devkit(images, put, tmp_path: Path) -> None:
    images("data", "in/a.png")
    put.all("data", {"in/a.xml": xml(thing(box(1, 2.5, 9, 9)), filename="a.png")})
    convert(tmp_path / "data", tmp_path / "out", to="voc")
    text = (tmp_path / "out" / "Annotations" / "a.xml").read_text("utf-8")
    order = ["<folder>", "<filename>a.png", "<source>", "<size><width>100<", "<height>80<", "<segmented>0<"]
    order += ["<object>", "<name>cat<", "<pose>", "<truncated>", "<difficult>0<", "<xmin>1<", "<ymin>2.5<"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert (tmp_path / "out" / "ImageSets" / "Main" / "default.txt").read_text("utf-8") == "a\n"


@pytest.mark.parametrize(
    "name", ["../up.png", "/abs/a.png", "C:\\x\\a.png", "a\nb.png", "x" * 300 + ".png", "..", ""]
)
def test_no_name_leads_out_of_the_written_folder(images, tmp_path: Path, name: str) -> None:
    folder = images("data", "a.png")
    row = ImageRecord(folder / "a.png", name, 100, 80)
    FORMAT.write(Split("train", ("cat",), (1,), [row]), tmp_path / "in" / "out", WriteOptions())
    (written,) = tmp_path.rglob("*.xml")
    assert written.is_relative_to(tmp_path / "in" / "out" / "Annotations")


def test_several_splits_are_read_back_from_their_folders(devkit: Path, put, tmp_path: Path) -> None:
    lists(put, train="1\n2\n", val="3\n")
    convert(devkit, tmp_path / "out", to="voc")
    assert by_split(Dataset.read(tmp_path / "out", images=devkit)) == {"train": ["1", "2"], "val": ["3"]}
    options = ReadOptions(images=devkit)
    done = convert(tmp_path / "out", tmp_path / "coco", options, to="coco")
    assert [(file.split, file.images, file.instances) for file in done.files] == [
        ("train", 2, 2),
        ("val", 1, 1),
    ]
