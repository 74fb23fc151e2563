"""Tables of boxes in pixels: TensorFlow's, Roboflow's and RetinaNet's forms."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aerostat.datasets import formats
from aerostat.datasets.annotation_text import AnnotationText
from aerostat.datasets.convert import convert
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats.csv_table import write_csv
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import ImageRecord, Instance, OtherClassesError, Split
from aerostat.errors import InputError

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax"


@pytest.fixture
def photos(images) -> Path:
    return images("photos", "a.png", "b.png")


def read(folder: Path, text: str | bytes, name: str = "_annotations.csv", **options) -> Dataset:
    content = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(content)
    return Dataset.read(folder / name, **options)


def objects(data: Dataset) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    (split,) = data.splits.values()
    return {
        image.file_name: [(data.classes[i.label], i.box_xyxy) for i in image.instances]
        for image in split.images
    }


def problems(data: Dataset) -> list[tuple[str, str]]:
    return [(problem.kind, problem.record) for problem in data.problems]


EXPECTED = {"a.png": [("kite", (10.0, 20.0, 40.5, 60.0)), ("disc", (0.0, 0.0, 5.0, 5.0))], "b.png": []}


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\na.png,100,80,kite,10,20,40.5,60.0\na.png,100,80,disc,0,0,5,5\nb.png,100,80,,,,,\n",
        "image;label;x1;y1;x2;y2\na.png;kite;10;20;40.5;60\na.png;disc;0;0;5;5\nb.png;;;;;\n",
        "X_max\tx_min\tClass Name\tY_min\tY_max\timage_path\n40.5\t10\tkite\t20\t60\tdata/a.png\n"
        "5\t0\tdisc\t0\t5\tdata/a.png\n\t\t\t\t\tdata/b.png\n",
        "image_id,class_id,class_name,x_min,y_min,x_max,y_max\na,7,kite,10,20,40.5,60\na,9,disc,0,0,5,5\nb,,,,,,\n",
        "a.png,10,20,40.5,60,kite\na.png,0,0,5,5,disc\nb.png,,,,,\n",
        '"filename","width","height","class","xmin","ymin","xmax","ymax"\r\n'
        '"a.png",100,80, "kite",10,20,40.5,60\r\na.png,100,80,disc,0,0,5,5,,\r\n'
        "b.png,,,,,,,",
    ],
    ids=["tensorflow", "semicolons", "tabs and other names", "ids", "retinanet", "quotes and CRLF"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_header_says_what_the_columns_are(photos: Path, text: str, encoding: str) -> None:
    data = read(photos, text.encode(encoding))
    short = {name.rpartition("/")[2]: found for name, found in objects(data).items()}
    assert short == EXPECTED and data.classes == ("disc", "kite")
    assert data.splits["all"].source_format == "csv"


def test_a_name_with_commas_and_quotes_is_quoted(photos: Path) -> None:
    data = read(photos, f'{HEADER}\na.png,100,80,"a ""red"", round kite",1,2,3,4\n')
    assert data.classes == ('a "red", round kite',)


def test_real_raccoons_are_read_as_they_are_written(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "small" / "csv" / "raccoon_labels.csv"
    rows = [line.split(",") for line in source.read_text().splitlines()[1:]]
    for name, width, height, *_ in rows:
        Image.new("1", (int(width), int(height))).save(tmp_path / f"{name[:-4]}.jpg")
    data = read(tmp_path, source.read_bytes())
    assert len(data.splits["all"].images.instances) == len(rows) == 217 and data.problems == ()
    stated = sorted(tuple(map(float, row[4:])) for row in rows)
    assert sorted(map(tuple, data.splits["all"].images.instances.boxes_xyxy.tolist())) == stated
    write_csv(data.splits["all"], tmp_path / "out.csv")
    written = (tmp_path / "out.csv").read_text().splitlines()
    assert written[0] == HEADER and sorted(written[1:]) == sorted(source.read_text().splitlines()[1:])


def test_splits_of_roboflow_are_found_and_other_images_are_no_empty_ones(images, tmp_path: Path) -> None:
    root = images("r", "train/a.png", "train/unlisted.png", "valid/b.png", "test/c.png")
    for split, name in (("train", "a"), ("valid", "b"), ("test", "c")):
        (root / split / "_annotations.csv").write_text(f"{HEADER}\n{name}.png,100,80,kite,1,2,3,4\n")
    data = Dataset.read(root)
    assert {name: split.images.file_names for name, split in data.splits.items()} == {
        "train": ("a.png",),
        "val": ("b.png",),
        "test": ("c.png",),
    }


def test_vias_own_table_stays_vias(photos: Path) -> None:
    header = (
        "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    )
    (photos / "via.csv").write_text(f"{header}\na.png,1,{{}},0,0,{{}},{{}}\n")
    assert formats.recognise(AnnotationText(photos / "via.csv")).name == "via"


@pytest.mark.parametrize(
    "text",
    [
        "filename,class\na.png,kite\n",
        "a.png,10,20,40,60\n",
        "a.txt,10,20,40,60,kite\n",
        "a.png,10,20,40,60,kite\na.png,label\n",
        "a.png,,,,,\n",
        "name,x,y,width,height\na,1,2,3,4\n",
        "id,price,x1,y1\n1,2,3,4\n",
        '"a.png,1,2,3,4,kite\n',
    ],
)
def test_other_tables_are_no_annotations(photos: Path, text: str) -> None:
    with pytest.raises(InputError, match="neither JSON nor a known table"):
        read(photos, text, "table.txt")


def test_broken_rows_cost_themselves_alone(photos: Path) -> None:
    rows = [
        "a.png,100,80,kite,1,2,3,4",
        "a.png,100,80,kite,1,2,x,4",
        "a.png,100,80,kite,1,2,nan,4",
        "a.png,100,80,kite,1,2,1e999,4",
        "a.png,100,80,kite,1,2,,4",
        "a.png,100,80,kite,1,2,3",
        ",100,80,kite,1,2,3,4",
        "a.png,100,80,,1,2,3,4",
        "a.png,100,80,kite,3,2,1,4",
        "a.png,100,80,kite,-20,-20,-1,-1",
        "a.png,100,80,kite,-5,2,300,4",
        f"a.png,100,80,kite,-1e300,2,{'9' * 400},4",
        "gone.png,100,80,kite,1,2,3,4",
        "b.png,80,100,kite,1,2,3,4",
    ]
    data = read(photos, "\n".join([HEADER, *rows, "  "]))
    assert objects(data) == {
        "a.png": [("kite", (1, 2, 3, 4)), ("kite", (0, 2, 100, 4))],
        "b.png": [("kite", (1, 2, 3, 4))],
    }
    assert problems(data) == [
        ("malformed record", "line 3"),
        ("malformed record", "line 4"),
        ("malformed record", "line 5"),
        ("malformed record", "line 6"),
        ("malformed record", "line 7"),
        ("malformed record", "line 8"),
        ("malformed record", "line 13"),
        ("missing image", ""),
        ("swapped size", ""),
        ("no class", "line 9"),
        ("degenerate box", "line 10"),
        ("outside the image", "line 11"),
        ("clipped", "line 12"),
    ]


def test_what_is_not_read_is_counted(photos: Path) -> None:
    data = read(photos, f"{HEADER},score,id\na.png,100,80,kite,1,2,3,4,0.5,1\nb.png,100,80,kite,1,2,3,4,,2\n")
    assert [(p.kind, p.detail) for p in data.problems] == [("not read", "1 values of the column 'score'")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "filename;class;xmin;ymin;xmax;ymax\na.png;kite;1;2;3,5;4\n",
            "decimal comma, first '3,5' in line 2",
        ),
        (f'{HEADER}\na.png,100,80,kite,1,2,"3,5",4\n', "decimal comma"),
        (f"{HEADER}\na.png,100,80,kite,1,2,3,4\na.png,100,80,ki", "is cut off at line 3"),
        (f'{HEADER}\na.png,100,80,"kite,1,2,3,4\n', "is cut off or damaged at line 2"),
        (f"{HEADER}\na.png,100,80,kité,1,2,3,4\n".encode("latin-1"), "is not UTF-8"),
        (f"{HEADER}\n", "lists no images"),
        (" \n", "is empty"),
        (f"{HEADER}\na.png,100,80,kite,1,2,3,4\n./a.png,100,80,kite,1,2,3,4\n", "both mean"),
        (f"{HEADER}\n" + "x\n" * 100_002, "more than 100000 records"),
    ],
)
def test_a_broken_table_is_refused_in_one_sentence(photos: Path, text: str | bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read(photos, text)


def test_a_class_that_was_not_asked_for_is_refused(photos: Path) -> None:
    with pytest.raises(OtherClassesError, match="objects of the class 'kite'"):
        read(photos, f"{HEADER}\na.png,100,80,kite,1,2,3,4\n", classes=["disc"])


def test_a_table_without_a_class_takes_one_name(photos: Path) -> None:
    text = "image,xmin,ymin,xmax,ymax\na.png,1,2,3,4\n"
    with pytest.raises(OtherClassesError, match="no column for the class"):
        read(photos, text)
    assert objects(read(photos, text, classes=["kite"])) == {"a.png": [("kite", (1, 2, 3, 4))]}


def test_a_table_in_an_archive_is_read_in_place(photos: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("train/labels.csv", f"{HEADER}\na.png,100,80,kite,1,2,3,4\n")
        archive.write(photos / "a.png", "train/a.png")
    assert Dataset.read(tmp_path / "data.zip").splits["train"].images[0].instances[0].box_xyxy == (1, 2, 3, 4)


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_names_that_look_like_formulas_are_written_as_they_are_in_quotes(tmp_path: Path, start: str) -> None:
    class_name, file_name = f"{start}cmd|' /C calc'!A0", f"{start}a.png"
    Image.new("RGB", (100, 80)).save(tmp_path / file_name)
    record = ImageRecord(tmp_path / file_name, file_name, 100, 80, [Instance((1, 2, 3, 4), 0)])
    write_csv(Split("train", (class_name,), (1,), [record]), tmp_path / "train.csv")
    assert (
        (tmp_path / "train.csv")
        .read_text()
        .splitlines()[1]
        .startswith(f'"{file_name}",100,80,"{class_name}",')
    )
    assert objects(Dataset.read(tmp_path / "train.csv"))[file_name] == [(class_name, (1, 2, 3, 4))]


def test_what_a_table_cannot_hold_is_counted(photos: Path, write_json) -> None:
    outline = {"segmentation": [[1, 1, 9, 1, 9, 9]]}
    annotations = [
        {"id": n, "image_id": 1, "category_id": 1, "bbox": [1, 1, 8, 8], "iscrowd": int(n == 2)}
        | (outline if n == 1 else {})
        for n in (1, 2, 3)
    ]
    document = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": annotations}
    write_json(photos / "c.json", document | {"categories": [{"id": 1, "name": "kite"}]})
    done = convert(photos / "c.json", photos / "out.csv", ReadOptions(crowd="region"))
    assert done.format == "csv" and done.lost == {"outlines": 1, "crowd regions left out": 1}
    assert done.files[0].instances == 2


def test_a_name_that_utf8_cannot_hold_is_refused(tmp_path: Path) -> None:
    split = Split("train", ("kite",), (1,), [ImageRecord(tmp_path / "a.png", "\udcff.png", 9, 9)])
    with pytest.raises(InputError, match="is not Unicode"):
        write_csv(split, tmp_path / "train.csv")
    assert not (tmp_path / "train.csv").exists()


WIDTH, HEIGHT = 100, 80
numbers = st.one_of(
    st.integers(0, 40), st.floats(0, 40), st.floats(0, 1e-6), st.decimals(0, 40, places=2).map(float)
)
boxes = st.tuples(numbers, numbers, numbers, numbers).map(
    lambda n: (float(n[0]), float(n[1]), float(n[0] + n[2] + 0.01), float(n[1] + n[3] * 0.9 + 0.01))
)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
    lambda name: name.strip() != ""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("round_trip")
    for name in ("a.png", "ü, b.png"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(path / name)
    return path


@settings(max_examples=80, deadline=None)
@given(
    st.lists(names, min_size=2, max_size=3, unique=True),
    st.lists(st.lists(st.tuples(boxes, st.integers(0, 1)), max_size=4), min_size=2, max_size=2),
)
def test_reading_back_what_was_written_changes_nothing(folder: Path, classes, per_image) -> None:
    rows = [
        ImageRecord(
            folder / name,
            name,
            WIDTH,
            HEIGHT,
            [Instance(b, label, area=(b[2] - b[0]) * (b[3] - b[1])) for b, label in found],
            number,
        )
        for number, (name, found) in enumerate(zip(("a.png", "ü, b.png"), per_image, strict=True), start=1)
    ]
    split = Split("train", tuple(classes), tuple(range(1, len(classes) + 1)), rows)
    assert write_csv(split, folder / "train.csv") == {}
    back = Dataset.read(folder / "train.csv", classes)
    assert replace(back.split("train"), problems=()) == split and back.problems == ()
