"""YOLO data sets that aerostat writes: what is in the files, and what comes back from them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aerostat.datasets.convert import convert
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats.yolo_write import image_places, write_yolo
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import InputError
from aerostat.geometry import polygons

SIZES = {"a.png": (100, 80), "sub/ü.png": (331, 7), "b.c.png": (1, 1999), "sub/a.png": (640, 427)}
CLASSES = ("气球", "no", 'a "quoted" \\ name: #1', " [1] ")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos")
    for name, size in SIZES.items():
        (path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", size).save(path / name)
    return path


fractions = st.one_of(
    st.floats(0, 1),
    st.floats(0, 1e-6),
    st.integers(0, 100).map(lambda n: n / 100),
    st.sampled_from([0.0, 1.0]),
)


def coordinate(side: int) -> st.SearchStrategy[float]:
    """Anything on a side of an image, down to what no pixel and no file needs."""
    values = st.one_of(fractions.map(lambda part: part * side), st.integers(0, side).map(float))
    return values.filter(lambda value: value == 0 or value > 1e-15)


def spans(side: int) -> st.SearchStrategy[tuple[float, float]]:
    pairs = st.tuples(coordinate(side), coordinate(side)).map(lambda pair: tuple(sorted(pair)))
    return pairs.filter(lambda pair: pair[0] < pair[1])


@st.composite
def boxed(draw, size: tuple[int, int]) -> Instance:
    (x1, x2), (y1, y2) = draw(spans(size[0])), draw(spans(size[1]))
    return Instance((x1, y1, x2, y2), draw(st.integers(0, 3)), area=(x2 - x1) * (y2 - y1))


@st.composite
def outlined(draw, size: tuple[int, int]) -> Instance:
    points = st.tuples(coordinate(size[0]), coordinate(size[1]))
    vertices = draw(st.lists(points, min_size=3, max_size=7).map(np.array).filter(_encloses))
    area = polygons.area(vertices)
    return Instance(polygons.bounds(vertices), draw(st.integers(0, 3)), (vertices,), area=area)


def _encloses(vertices) -> bool:
    return polygons.area(vertices) > 0 and min(np.ptp(vertices, axis=0)) > 0


@st.composite
def splits(draw, instances) -> dict[str, Split]:
    found = {}
    for name, files in (("train", ("a.png", "sub/ü.png")), ("val", ("b.c.png", "sub/a.png", "a.png"))):
        images = [
            ImageRecord(file, file, *SIZES[file], draw(st.lists(instances(SIZES[file]), max_size=3)), number)
            for number, file in enumerate(files, start=1)
        ]
        found[name] = Split(name, CLASSES, (1, 2, 3, 4), tuple(images))
    return found


def read_back(folder: Path, photos: Path) -> Dataset:
    return Dataset.read(folder, images=photos)


def assert_same(data: Dataset, written: dict[str, Split]) -> None:
    assert data.classes == CLASSES and list(data.splits) == list(written)
    for name, split in written.items():
        images = data.splits[name].images
        assert images.file_names == split.images.file_names
        assert images.sizes.tolist() == split.images.sizes.tolist()
        for mine, theirs in zip(images, split.images, strict=True):
            assert mine.instances == theirs.instances


@settings(max_examples=15, deadline=None)
@given(written=splits(boxed))
def test_boxes_come_back_to_the_last_bit(photos: Path, tmp_path_factory, written) -> None:
    folder = tmp_path_factory.mktemp("written")
    assert not any(write_yolo(written, folder).values())
    assert_same(read_back(folder, photos), written)


@settings(max_examples=15, deadline=None)
@given(written=splits(outlined))
def test_outlines_come_back_to_the_last_bit(photos: Path, tmp_path_factory, written) -> None:
    folder = tmp_path_factory.mktemp("written")
    assert not any(write_yolo(written, folder).values())
    assert_same(read_back(folder, photos), written)


def split_of(*instances: Instance, name: str = "train", file: str = "a.png", classes=("cat", "dog")) -> Split:
    image = ImageRecord(file, file, 100, 80, instances, 1)
    return Split(name, classes, tuple(range(1, len(classes) + 1)), (image,))


TRIANGLE = np.array([(10.0, 8.0), (50.0, 8.0), (50.0, 40.0)])
WITH_OUTLINE = Instance((10, 8, 50, 40), 1, (TRIANGLE,), area=640.0)
BOXED = Instance((25, 20, 75, 60), 0, area=2000.0)


def test_the_files_are_those_of_the_tools(tmp_path: Path) -> None:
    write_yolo({"train": split_of(BOXED), "val": split_of(name="val", file="sub/b.jpg")}, tmp_path)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    labels = {"labels/train/a.txt", "labels/val/sub/b.txt"}
    assert files == {"data.yaml", "classes.txt", "train.txt", "val.txt", *labels}
    assert (tmp_path / "labels/train/a.txt").read_text() == "0 0.5 0.5 0.5 0.5\n"
    assert (tmp_path / "labels/val/sub/b.txt").read_text() == ""
    assert (tmp_path / "train.txt").read_text() == "./images/train/a.png\n"
    assert (tmp_path / "val.txt").read_text() == "./images/val/sub/b.jpg\n"
    assert (tmp_path / "classes.txt").read_text() == "cat\ndog\n"
    config = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert config == {"train": "train.txt", "val": "val.txt", "nc": 2, "names": {0: "cat", 1: "dog"}}


NAMES = (
    "no",
    "on",
    "1",
    "1.5",
    "null",
    "~",
    "a: b",
    "# c",
    "- d",
    "'e",
    '"f',
    "气球",
    "\u2028",
    "\x07",
    "\ufeff",
)


def test_other_yaml_readers_see_the_same_names(tmp_path: Path) -> None:
    names = (*NAMES, "cat", "hot dog", "😀", "a\nb", "2024-01-01", "=", "<<", "y", "café", "\x85", "C:\\x")
    write_yolo({"train": split_of(BOXED, classes=names)}, tmp_path)
    read = yaml.safe_load((tmp_path / "data.yaml").read_text("utf-8"))["names"]
    assert tuple(read.values()) == names and list(read) == list(range(len(names)))
    assert not (tmp_path / "classes.txt").exists()  # a name has two lines


def test_outlines_are_written_if_each_object_has_one(tmp_path: Path) -> None:
    lost = write_yolo({"train": split_of(WITH_OUTLINE)}, tmp_path / "outlines")
    assert lost == {"train": {}}
    text = (tmp_path / "outlines/labels/train/a.txt").read_text()
    assert text == "1 0.1 0.1 0.5 0.1 0.5 0.5\n"
    mixed = {"train": split_of(WITH_OUTLINE), "val": split_of(BOXED, name="val")}
    assert write_yolo(mixed, tmp_path / "boxes") == {"train": {"outlines": 1}, "val": {}}
    assert (tmp_path / "boxes/labels/train/a.txt").read_text() == "1 0.3 0.3 0.4 0.4\n"


def test_what_labels_cannot_hold_is_counted(tmp_path: Path) -> None:
    rle = {"size": [80, 100], "counts": [0, 80, 7920]}
    shifted = Instance((10, 8, 50.25, 40), 1, (TRIANGLE,), area=640.0)
    far = Instance((10, 8, 60, 40), 1, (TRIANGLE,), area=640.0)
    two = Instance((10, 8, 50, 40), 1, (TRIANGLE, TRIANGLE + 1), area=640.0)
    crowd = Instance((0, 0, 9, 9), 0, (), rle, crowd=True, area=80.0)
    masked = Instance((0, 0, 1, 80), 0, (), rle, area=80.0)
    hard = Instance((25, 20, 75, 60), 0, area=2000.0, difficult=True)

    def lost(*instances: Instance) -> dict[str, int]:
        return dict(write_yolo({"train": split_of(*instances)}, tmp_path / "out")["train"])

    assert lost(shifted) == {"boxes that become the bounds of their outlines": 1}
    assert lost(far) == {"outlines": 1} and lost(two, WITH_OUTLINE) == {"outlines": 2}
    assert lost(crowd, hard) == {"crowd regions left out": 1, "difficult marks": 1}
    assert lost(crowd, WITH_OUTLINE) == {"crowd regions left out": 1}
    assert lost(masked, WITH_OUTLINE) == {"masks": 1, "outlines": 1}
    assert len((tmp_path / "out/labels/train/a.txt").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a.jpg", "images/train/a.jpg"),
        ("x/images/y/a.jpg", "images/train/x/y/a.jpg"),
        ("../../etc/a.jpg", "images/train/etc/a.jpg"),
        ("/abs/a.jpg", "images/train/abs/a.jpg"),
        ("C:\\me\\a.jpg", "images/train/me/a.jpg"),
        ("a\nb.jpg", "images/train/a_b.jpg"),
    ],
)
def test_no_name_leads_out_of_the_written_folder(tmp_path: Path, name: str, place: str) -> None:
    split = split_of(BOXED, file=name)
    assert image_places(split) == [place]
    write_yolo({"train": split}, tmp_path / "out" / "inner")
    label = place.replace("images/", "labels/", 1).removesuffix(".jpg") + ".txt"
    assert (tmp_path / "out/inner" / label).is_file()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["inner"]


def test_two_images_that_would_share_a_label_file_are_refused(tmp_path: Path) -> None:
    rows = tuple(ImageRecord(name, name, 9, 9, (), 1) for name in ("a.jpg", "a.png"))
    with pytest.raises(InputError, match=r"'a.jpg' and 'a.png' of train would share one label file"):
        write_yolo({"train": Split("train", ("cat",), (1,), rows)}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def put_images(images: Callable[..., Path]) -> Path:
    return images("photos", "train/a.jpg", "val/a.jpg")


@pytest.fixture
def coco(images, write_json) -> Path:
    root = images("photos", "train/x/a.jpg", "train/a.jpg", "val/a.jpg")
    for split, names in (("train", ("x/a.jpg", "a.jpg")), ("val", ("a.jpg",))):
        rows = [
            {"id": number, "file_name": name, "width": 100, "height": 80}
            for number, name in enumerate(names, 1)
        ]
        boxes = [{"id": n, "image_id": n, "category_id": 7, "bbox": [10.5, 20.25, 30, 41]} for n in (1,)]
        categories = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
        document = {"images": rows, "annotations": boxes, "categories": categories}
        write_json(root / split / "_annotations.coco.json", document)
    return root


def test_a_conversion_makes_one_data_set_of_all_splits(coco: Path, tmp_path: Path, aerostat) -> None:
    done = aerostat("convert", coco, tmp_path / "out", "--to", "yolo")
    assert done.code == 0
    assert (
        "out (train): " in done.out
        and "out (val): " in done.out
        and "2 images, 1 object of 2 classes (dog, cat)" in done.out
    )
    read = Dataset.read(tmp_path / "out", images=coco)
    assert read.classes == ("dog", "cat") and list(read.splits) == ["train", "val"]
    assert read.splits["train"].images.file_names == ("x/a.jpg", "a.jpg")
    assert read.splits["train"].images.instances[0].box_xyxy == (10.5, 20.25, 40.5, 61.25)
    again = aerostat("convert", coco, tmp_path / "out", "--to", "yolo")
    assert again.code == 2 and "exists" in again.err
    assert aerostat("convert", coco, tmp_path / "out", "--to", "yolo", "--force").code == 0


def test_images_at_their_places_need_no_option(coco: Path, tmp_path: Path) -> None:
    convert(coco, tmp_path / "yolo")
    for split in ("train", "val"):
        shutil.copytree(coco / split, tmp_path / "yolo" / "images" / split)
    read = Dataset.read(tmp_path / "yolo")
    assert {name: len(split) for name, split in read.splits.items()} == {"train": 2, "val": 1}
    assert not read.problems
    back = convert(tmp_path / "yolo", tmp_path / "back", to="coco")
    assert back.classes == ("dog", "cat") and not back.lost
    boxes = (
        Dataset.read(tmp_path / "back", images=tmp_path / "yolo" / "images").splits["val"].images.instances
    )
    assert boxes.boxes_xyxy.tolist() == [[10.5, 20.25, 40.5, 61.25]]


def test_a_conversion_does_not_write_over_its_source(coco: Path, tmp_path: Path) -> None:
    convert(coco, tmp_path / "yolo")
    with pytest.raises(InputError, match="to convert; name another folder"):
        convert(tmp_path / "yolo", tmp_path / "yolo", ReadOptions(images=coco), to="yolo", force=True)


def test_a_data_set_without_a_split_becomes_train(images, tmp_path: Path) -> None:
    root = images("pets", "images/a.jpg")
    (root / "labels").mkdir()
    (root / "labels" / "a.txt").write_text("1 0.5 0.5 0.2 0.5\n")
    convert(root, tmp_path / "out", to="yolo")
    data = Dataset.read(tmp_path / "out", images=root)
    assert data.classes == ("0", "1") and list(data.splits) == ["train"]


def test_balloon_comes_back_with_its_outlines(balloon: Path, tmp_path: Path) -> None:
    done = convert(balloon, tmp_path / "yolo", ReadOptions(classes=["balloon"]))
    assert not done.lost
    mine, theirs = Dataset.read(tmp_path / "yolo", images=balloon), Dataset.read(balloon, ["balloon"])
    for name, split in theirs.splits.items():
        assert mine.splits[name].images.file_names == split.images.file_names
        assert mine.splits[name].images.instances == split.images.instances
