"""OpenImages' tables of boxes: ids without suffix, shares, crowd regions, class descriptions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aerostat.datasets.convert import convert
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats.openimages import HEADER, write_openimages
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import InputError

SHORT = "ImageID,LabelName,XMin,XMax,YMin,YMax"


def test_the_real_boxes_agree_with_those_of_coco(shared: Path) -> None:
    root = shared / "data" / "same_boxes"
    found = Dataset.read(next((root / "openimages_format").glob("*.csv")), images=root / "images")
    truth = Dataset.read(root / "coco_format_v2", images=root / "images")

    def boxes(data: Dataset) -> dict[str, list[tuple[str, ...]]]:
        return {
            image.file_name: sorted((data.classes[i.label], *i.box_xyxy) for i in image.instances)
            for image in next(iter(data.splits.values())).images
        }

    ours, theirs = boxes(found), boxes(truth)
    assert ours.keys() == theirs.keys() and sum(map(len, ours.values())) == 273
    for name, rows in theirs.items():
        assert [row[0] for row in ours[name]] == [row[0] for row in rows]
        np.testing.assert_allclose([r[1:] for r in ours[name]], [r[1:] for r in rows], rtol=0, atol=1e-7)
    assert [(p.kind, p.detail) for p in found.problems] == [
        ("number in another form", "1011 numbers with a decimal comma; read as if it were a point")
    ]


def test_splits_ids_and_machine_ids_of_the_published_files(images) -> None:
    root = images("oi", "train/00ab.jpg", "train/00ab.txt.png", "validation/00cd.jpg", "test/00ef.jpg")
    (root / "class-descriptions-boxable.csv").write_text("/m/01yrx,Cat\n/m/0bt9lr,Dog\n/m/0x,Dog\n")
    for name, image_id in (("train", "00ab"), ("validation", "00cd"), ("test", "00ef")):
        (root / f"{name}-annotations-bbox.csv").write_text(
            f"{','.join(HEADER)}\n"
            f"{image_id},xclick,/m/01yrx,1,0.25,0.5,0.125,1,1,0,0,0,0\n"
            f"{image_id},xclick,/m/0bt9lr,1,0,1,0,1,0,1,1,0,0\n"
        )
    data = Dataset.read(root)
    assert data.classes == ("Cat", "Dog") and list(data.splits) == ["train", "val", "test"]
    image = data.splits["train"].images[0]
    assert image.file_name == "00ab.jpg"
    assert [(i.box_xyxy, i.label, i.crowd) for i in image.instances] == [
        ((25, 10, 50, 80), 0, False),
        ((0, 0, 100, 80), 1, True),
    ]
    assert [(p.kind, p.detail) for p in data.splits["train"].problems] == [
        ("not read", "1 marks IsOccluded"),
        ("not read", "1 marks IsTruncated"),
    ]
    as_object = Dataset.read(root, options=_options(crowd="object")).splits["train"].images.instances
    assert not as_object.crowd.any()


def _options(**given):
    from aerostat.datasets.origin import ReadOptions

    return ReadOptions(**given)


def test_two_machine_ids_of_one_name_stay_two_classes(images) -> None:
    root = images("oi", "a.jpg")
    (root / "oidv7-class-descriptions.csv").write_text("LabelName,DisplayName\n/m/1,Dog\n/m/2,Dog\n")
    (root / "boxes.csv").write_text(f"{SHORT}\na,/m/1,0,1,0,1\na,/m/2,0,1,0,1\na,/m/3,0,1,0,1\n")
    assert Dataset.read(root).classes == ("/m/3", "Dog (/m/1)", "Dog (/m/2)")


def test_the_layout_of_fiftyone_is_found(images) -> None:
    root = images("fo", "train/data/a.jpg", "validation/data/b.jpg")
    for split, name in (("train", "a"), ("validation", "b")):
        for folder in ("labels", "metadata"):
            (root / split / folder).mkdir()
        (root / split / "labels" / "detections.csv").write_text(f"{SHORT}\n{name},/m/1,0,1,0,1\n")
        (root / split / "labels" / "classifications.csv").write_text("ImageID,Source,LabelName,Confidence\n")
        (root / split / "metadata" / "classes.csv").write_text("/m/1,Dog\n")
    data = Dataset.read(root)
    assert data.classes == ("Dog",)
    assert [len(split.images.instances) for split in data.splits.values()] == [1, 1]


@pytest.mark.parametrize(
    ("rows", "kinds"),
    [
        (["a,kite,0.1,0.2,x,0.4"], ["malformed record"]),
        (["a,kite,0.1,0.2,nan,0.4"], ["malformed record"]),
        (["a,kite,0.1,0.2,0,1e99999999999999999999999"], ["malformed record"]),
        (["a,kite,0.1,0.2,1e-99999999999999999999999,1"], ["malformed record"]),
        (["a,kite,0.1,0.2,0,1e300"], ["clipped"]),
        (["a,,0.1,0.2,0.1,0.4"], ["no class"]),
        (["a,kite,0.2,0.1,0.1,0.4"], ["degenerate box"]),
        (["a,kite,0.1,0.2,0.1"], ["malformed record"]),
        (["a,kite,-0.1,0.2,0.1,0.4"], ["clipped"]),
        (["gone,kite,0.1,0.2,0.1,0.4"], ["missing image"]),
    ],
)
def test_broken_rows_cost_themselves_alone(images, rows: list[str], kinds: list[str]) -> None:
    root = images("oi", "a.jpg")
    (root / "boxes.csv").write_text("\n".join([SHORT, "a,kite,0.5,1,0.5,1", *rows, ""]))
    data = Dataset.read(root)
    assert data.splits["all"].images[0].instances[0].box_xyxy == (50, 40, 100, 80)
    assert [problem.kind for problem in data.problems] == kinds


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (SHORT.encode(), "lists no images"),
        (f"{SHORT}\na,kite,0,1,0,1\na,ki".encode(), "is cut off at line 3"),
        (f"{SHORT}\na,kité,0,1,0,1\n".encode("latin-1"), "is not UTF-8"),
        (b"ImageID,Source,LabelName,Confidence\na,x,kite,1\n", "neither JSON nor a known table"),
    ],
)
def test_a_broken_table_is_refused_in_one_sentence(images, content: bytes, reason: str) -> None:
    root = images("oi", "a.jpg")
    (root / "boxes.csv").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        Dataset.read(root / "boxes.csv")


def test_written_tables_have_all_columns_and_keep_crowd_regions(images, tmp_path: Path) -> None:
    root = images("oi", "a.jpg", "b.png", "c.jpg")
    (root / "boxes.csv").write_text(
        f"{SHORT},IsGroupOf\na.jpg,kite,0.25,0.5,0.125,1,1\nb.png,=kite,0,1,0,1,0\nc,,,,,,\n"
    )
    done = convert(root, tmp_path / "openimages")
    assert done.format == "openimages" and done.lost == {}
    assert (tmp_path / "openimages" / "all.csv").read_text().splitlines() == [
        ",".join(HEADER),
        "a,,kite,1,0.25,0.5,0.125,1.0,-1,-1,1,-1,-1",
        'b.png,,"=kite",1,0.0,1.0,0.0,1.0,-1,-1,0,-1,-1',
        "c,,,,,,,,,,,,",
    ]
    back = Dataset.read(tmp_path / "openimages", images=root)
    assert back.splits["all"].images == Dataset.read(root).splits["all"].images


SIDES = (97, 83)
numbers = st.one_of(
    st.integers(0, 40), st.floats(0, 40), st.floats(0, 1e-6), st.decimals(0, 40, places=2).map(float)
)
boxes = st.tuples(numbers, numbers, numbers, numbers).map(
    lambda n: (float(n[0]), float(n[1]), float(n[0] + n[2] + 0.01), float(n[1] + n[3] + 0.01))
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("round_trip")
    for name in ("a.jpg", "a.png"):
        Image.new("RGB", SIDES).save(path / name)
    return path


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.tuples(boxes, st.integers(0, 1), st.booleans()), max_size=4), min_size=2, max_size=2)
)
def test_reading_back_gives_the_same_boxes_to_the_last_bit(folder: Path, per_image) -> None:
    rows = [
        ImageRecord(
            folder / name,
            name,
            *SIDES,
            [Instance(b, k, crowd=c, area=(b[2] - b[0]) * (b[3] - b[1])) for b, k, c in found],
            number,
        )
        for number, (name, found) in enumerate(zip(("a.jpg", "a.png"), per_image, strict=True), start=1)
    ]
    split = Split("train", ("kite", "a, b"), (1, 2), rows)
    assert write_openimages(split, folder / "train.csv") == {}
    back = Dataset.read(folder / "train.csv", ["kite", "a, b"])
    assert replace(back.split("train"), problems=()) == split
