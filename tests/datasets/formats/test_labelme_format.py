import base64
import io
import json
import pickle
import threading
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

from aerostat.datasets.annotation_text import AnnotationText
from aerostat.datasets.convert import convert
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats.format import SplitFiles, WriteOptions
from aerostat.datasets.formats.labelme import EmbeddedImage, read_labelme
from aerostat.datasets.formats.labelme_write import write_labelme
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import InputError
from aerostat.geometry import polygons
from aerostat.geometry.masks import Masks
from aerostat.images.read import read_image

SQUARE = [[10, 10], [40, 10], [40, 30], [10, 30]]


def shape(points: Any, kind: str | None = "polygon", label: Any = "kite", **more: Any) -> dict[str, Any]:
    stated = {} if kind is None else {"shape_type": kind}
    return {"label": label, "points": points, **stated, **more}


def document(*shapes: Any, image: Any = "a.png", size: Any = (100, 80), **more: Any) -> dict[str, Any]:
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": image,
        "imageData": None,
        "imageHeight": size[1],
        "imageWidth": size[0],
        **more,
    }


def png(mask: Any) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(mask, np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture
def read(images, write_json) -> Callable[..., Split]:
    """Read LabelMe documents a.json, b.json, ... beside the images a.png and b.png, 100 x 80."""

    def read(*documents: Any, **options: Any) -> Split:
        folder = images("data", "a.png", "b.png")
        for letter, text in zip("abcdef", documents, strict=False):
            write_json(folder / f"{letter}.json", text)
        return Dataset.read(folder, **options).split("all")

    return read


def kinds(split: Split) -> list[str]:
    return [problem.kind for problem in split.problems]


# --- shapes ---


@pytest.mark.parametrize(
    ("stated", "box", "outlines"),
    [
        (shape([[40, 30], [10, 10]], "rectangle"), (10, 10, 40, 30), 0),
        (shape([[10, 30], [40, 10]], "rectangle"), (10, 10, 40, 30), 0),
        (shape(SQUARE, "rectangle"), (10, 10, 40, 30), 0),
        (shape(SQUARE), (10, 10, 40, 30), 1),
        (shape(SQUARE, None, line_color=None, fill_color=[1, 2, 3, 4]), (10, 10, 40, 30), 1),
        (shape(SQUARE, "linestrip"), (10, 10, 40, 30), 1),
        (shape(SQUARE, "oriented_rectangle"), (10, 10, 40, 30), 1),
        (shape([[50, 40], [53, 44]], "circle"), (45, 35, 55, 45), 1),
    ],
)
def test_shapes_with_an_extent_are_objects(read, stated, box, outlines: int) -> None:
    split = read(document(stated))
    (instance,) = split.images[0].instances
    assert instance.box_xyxy == pytest.approx(box) and len(instance.polygons) == outlines
    assert split.classes == ("kite",) and split.problems == ()


@pytest.mark.parametrize("kind", ["point", "points", "line"])
def test_points_and_lines_are_dropped_by_name(read, kind: str) -> None:
    split = read(document(shape([[1, 1]], kind), shape(SQUARE)))
    (problem,) = split.problems
    assert split.box_count == 1 and (problem.kind, problem.record) == ("malformed record", "shape 0")
    assert f"is a {kind}, which has no extent" in problem.detail


@pytest.mark.parametrize(
    "stated",
    [
        *("text", None, 7, shape([]), shape(None), shape("abc"), shape([[1]]), shape([[1, 2, 3]])),
        *(shape([[1, None], [2, 2]]), shape([["x", 1], [2, 2]]), shape([[10**400, 1], [2, 2]])),
        *(shape(SQUARE, "star"), shape([[1, 1]], "circle"), shape([[1, 1]], "rectangle"), shape(SQUARE, 5)),
        *(
            shape(SQUARE[:2], "mask"),
            shape(SQUARE[:2], "mask", mask="?"),
            shape(SQUARE[:2], "mask", mask="AA"),
        ),
        shape([[float("nan"), 1], [2, 2], [3, 3]]),
        shape([[500, 500], [510, 510]], "mask", mask=png([[1, 1], [1, 1]])),
        shape([[-1e300, 1], [2, 2]], "mask", mask=png([[1, 1], [1, 1]])),
    ],
)
def test_a_broken_shape_costs_itself_alone(read, stated: Any) -> None:
    split = read(document(stated, shape(SQUARE)))
    assert split.box_count == 1 and kinds(split) == ["malformed record"]


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        ([[-20, -20], [30, 30]], "clipped"),
        ([[200, 200], [300, 300]], "outside the image"),
        ([[5, 5], [5, 5]], "degenerate box"),
    ],
)
def test_coordinates_out_of_range_are_reported(read, points, kind: str) -> None:
    assert kinds(read(document(shape(points, "rectangle"), shape(SQUARE)))) == [kind]


def test_shapes_of_one_group_and_label_are_one_object(read) -> None:
    away = [[60, 50], [80, 50], [80, 70]]
    split = read(
        document(
            shape(SQUARE, group_id=1),
            shape(away, group_id=1),
            shape(away, group_id=1, label="dog"),
            shape([[0, 0], [5, 5]], "rectangle", group_id=2),
            shape([[8, 8], [9, 9]], "rectangle", group_id=2),
            shape([[0, 0], [5, 5]], "rectangle", group_id=3),
        )
    )
    joined, dog, boxes, box = split.images[0].instances
    assert joined.box_xyxy == (10, 10, 80, 70) and [len(o) for o in joined.polygons] == [4, 3]
    assert (dog.label, joined.label, len(dog.polygons)) == (0, 1, 1)
    assert (boxes.box_xyxy, len(boxes.polygons)) == ((0, 0, 9, 9), 2)
    assert (box.box_xyxy, box.polygons) == ((0, 0, 5, 5), ())
    assert [p.detail for p in split.problems] == ["1 groups of shapes with several labels as one object"]


@pytest.mark.parametrize("true", [1, 255])
def test_a_mask_lies_at_its_first_point(read, true: int) -> None:
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:5] = true
    split = read(document(shape([[20, 10], [25, 13]], "mask", mask=png(mask))))
    (instance,) = split.images[0].instances
    assert instance.box_xyxy == (22, 11, 25, 13) and instance.area == 6
    dense = Masks.from_coco([instance.rle], (100, 80))[0]
    assert dense[11:13, 22:25].all() and dense.sum() == 6


def test_a_mask_beyond_the_border_is_cut(read) -> None:
    full = np.ones((10, 10), np.uint8)
    split = read(
        document(
            shape([[-5, -5], [4, 4]], "mask", mask=png(full)),
            shape([[95, 75], [104, 84]], "mask", mask=png(full)),
        )
    )
    assert [i.box_xyxy for i in split.images[0].instances] == [(0, 0, 5, 5), (95, 75, 100, 80)]
    assert [i.area for i in split.images[0].instances] == [25, 25]


def test_a_mask_and_a_polygon_of_one_group_are_one_mask(read) -> None:
    parts = shape([[0, 0], [1, 1]], "mask", mask=png([[1, 1], [1, 1]]), group_id=1), shape(SQUARE, group_id=1)
    (instance,) = read(document(*parts)).images[0].instances
    assert instance.box_xyxy == (0, 0, 40, 30) and instance.area == 4 + 600 and not instance.polygons


def test_a_mask_of_an_image_of_another_size_is_kept_by_its_box(read) -> None:
    mask = shape([[0, 0], [3, 3]], "mask", mask=png(np.ones((4, 4))))
    split = read(document(mask, size=(90, 80)))
    assert split.images[0].instances[0].box_xyxy == (0, 0, 4, 4)
    assert set(kinds(split)) == {"wrong size", "unusable mask"}


@pytest.mark.parametrize("label", ["", "  ", None, 7])
def test_a_shape_without_a_label_has_no_class(read, label: Any) -> None:
    split = read(document(shape(SQUARE, label=label), shape(SQUARE)))
    assert split.box_count == 1 and kinds(split) == ["no class"]


def test_labels_of_the_converters_for_no_object_are_left_out_and_counted(read) -> None:
    split = read(
        document(shape(SQUARE, label="__ignore__"), shape(SQUARE, label="_background_"), shape(SQUARE))
    )
    assert split.classes == ("kite",) and split.box_count == 1
    assert [p.detail for p in split.problems] == [
        "1 shapes labelled __ignore__",
        "1 shapes labelled _background_",
    ]


def test_what_is_not_read_is_counted(read) -> None:
    more = {"flags": {"blurry": True, "new": False}, "description": "a kite", "score": 0.5}
    split = read(document(shape(SQUARE, **more, attributes={"colour": "red"}), flags={"night": True}))
    assert {p.detail for p in split.problems} == {
        *("1 flags of images", "1 flags", "1 descriptions", "1 attributes", "1 scores"),
    }


def test_a_flag_marks_a_difficult_object(read) -> None:
    split = read(document(shape(SQUARE, flags={"difficult": True}), shape(SQUARE)))
    assert split.images.instances.difficult.tolist() == [True, False] and split.problems == ()


def test_shapes_that_are_no_list_leave_an_image_without_objects(read) -> None:
    split = read(document(shapes={"a": 1}), document(shape(SQUARE), image="b.png"))
    assert [len(image.instances) for image in split.images] == [0, 1]
    assert kinds(split) == ["malformed record"]


def test_a_file_without_shapes_is_an_image_without_objects(read) -> None:
    split = read(document(), document(shape(SQUARE), image="b.png"))
    assert [len(image.instances) for image in split.images] == [0, 1]


# --- images ---


@pytest.mark.parametrize(
    "path",
    [
        "a.png",
        "./a.png",
        r"..\images\a.png",
        "../data/a.png",
        r"C:\Users\me\a.png",
        "/home/me/a.png",
        "A.PNG",
    ],
)
def test_the_path_of_the_image_may_be_of_another_machine(read, path: str) -> None:
    split = read(document(shape(SQUARE), image=path))
    assert [Path(image.location.name).name for image in split.images] == ["a.png"]


def test_images_beside_the_folder_of_the_files_are_found(images, write_json) -> None:
    root = images("data", "images/x/a.png", "images/y/a.png")
    for name in "xy":
        write_json(root / "json" / f"{name}.json", document(shape(SQUARE), image=rf"..\images\{name}\a.png"))
    split = Dataset.read(root).split("all")
    assert [image.file_name for image in split.images] == ["x/a.png", "y/a.png"] and split.problems == ()


def test_a_name_leads_to_no_file_outside(images, write_json) -> None:
    images("other", "secret.png")
    file = write_json(
        images("data", "a.png") / "z.json", document(shape(SQUARE), image="../other/secret.png")
    )
    with pytest.raises(InputError, match="None of the images"):
        Dataset.read(file)


def test_a_stale_path_gives_way_to_the_image_with_the_name_of_the_file(read) -> None:
    split = read(document(shape(SQUARE), image="old.png"), document(shape(SQUARE[:3]), image="a.png"))
    assert [image.file_name for image in split.images] == ["a.png", "b.png"]
    (problem,) = split.problems
    assert problem.kind == "other name" and "2 files with a stale imagePath, first a.json" in problem.detail


@pytest.mark.parametrize("path", [None, 5, ""])
def test_without_a_path_the_name_of_the_file_counts(read, path: Any) -> None:
    assert [image.location.name[-5:] for image in read(document(shape(SQUARE), image=path)).images] == [
        "a.png"
    ]


def test_two_equal_files_for_one_image_count_once(read) -> None:
    split = read(document(shape(SQUARE)), None, document(shape(SQUARE)))
    assert len(split) == 1 and kinds(split) == ["same annotations"]


def test_two_different_files_for_one_image_are_refused(read) -> None:
    with pytest.raises(
        InputError, match=r"a\.json and .*c\.json have different shapes for one image, 'a\.png'"
    ):
        read(document(shape(SQUARE)), None, document(shape(SQUARE, label="dog")))


def test_the_size_of_the_image_counts(read) -> None:
    split = read(document(shape(SQUARE), size=(80, 100)))
    assert (split.images[0].width, kinds(split)) == (100, ["swapped size"])


@pytest.mark.parametrize("size", [(None, None), ("100", "80"), (0, 0), (-5, 7), (2**40, 2**40), (True, 1)])
def test_a_size_that_is_none_is_no_problem(read, size) -> None:
    assert read(document(shape(SQUARE), size=size)).problems == ()


# --- images in the annotations ---


@pytest.fixture
def embedded() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (100, 80), (10, 200, 30)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_an_image_in_the_file_is_used_if_no_file_is_there(tmp_path: Path, write_json, embedded: str) -> None:
    write_json(tmp_path / "a.json", document(shape(SQUARE), imageData=embedded))
    write_json(tmp_path / "b.json", document(shape(SQUARE), image="b.jpg", imageData=embedded))
    split = Dataset.read(tmp_path).split("all")
    location = pickle.loads(pickle.dumps(split.images[0].location))
    assert location == EmbeddedImage(tmp_path / "a.json")
    seen: list[Any] = []
    threads = [threading.Thread(target=lambda: seen.append(read_image(location))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4 and all((image == (30, 200, 10)).all() for image in seen)


def test_the_file_wins_over_the_image_in_the_annotations(read, embedded: str) -> None:
    (image,) = read(document(shape(SQUARE), imageData=embedded)).images
    assert image.location.name.endswith("a.png")


def test_an_image_in_the_file_is_found_in_an_archive(tmp_path: Path, embedded: str) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("set/a.json", json.dumps(document(shape(SQUARE), imageData=embedded)))
        archive.writestr("set/b.json", json.dumps(document(shape(SQUARE), image="b.png")))
        archive.writestr("set/b.png", base64.b64decode(embedded))
    split = Dataset.read(tmp_path / "data.zip").split("all")
    assert split.box_count == 2 and read_image(split.images[0].location).shape == (80, 100, 3)


@pytest.mark.parametrize("data", ["", "###", "AAAA", 5])
def test_a_broken_image_in_the_file_is_left_out(tmp_path: Path, write_json, embedded: str, data: Any) -> None:
    write_json(tmp_path / "a.json", document(shape(SQUARE), imageData=embedded))
    write_json(tmp_path / "b.json", document(shape(SQUARE), image="b.jpg", imageData=data))
    split = Dataset.read(tmp_path).split("all")
    assert len(split) == 1 and kinds(split)[0] in ("unreadable image", "missing image")


def test_an_image_in_the_file_goes_into_the_written_one(tmp_path: Path, write_json, embedded: str) -> None:
    write_json(tmp_path / "data" / "a.json", document(shape(SQUARE), imageData=embedded))
    convert(tmp_path / "data", tmp_path / "out", to="labelme")
    assert json.loads((tmp_path / "out" / "a.json").read_text())["imageData"] == embedded


# --- folders ---


def test_files_in_folders_of_any_depth_are_read(images, write_json) -> None:
    root = images("data", "train/x/a.png", "train/y/a.png", "val/x/deep/a.png")
    for name in ("train/x", "train/y", "val/x/deep"):
        write_json(root / name / "a.json", document(shape(SQUARE)))
    (root / "train" / "circle").symlink_to(root)
    data = Dataset.read(root)
    assert [i.file_name for i in data.split("train").images] == ["x/a.png", "y/a.png"]
    assert [i.file_name for i in data.split("val").images] == ["x/deep/a.png"]


def test_names_of_images_in_a_folder_of_annotations_name_no_splits(images, write_json) -> None:
    root = images("data", "images/test_1.png", "images/train_1.png")
    for name in ("test_1", "train_1"):
        write_json(root / "annotations" / f"{name}.json", document(shape(SQUARE), image=f"{name}.png"))
    assert len(Dataset.read(root).split("all")) == 2


def test_a_list_beside_gives_the_order_of_the_classes(read, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "labels.txt").write_text("__ignore__\n_background_\nkite\ndog\ncow\n")
    split = read(document(shape(SQUARE, label="dog"), shape(SQUARE), shape(SQUARE, label="ant")))
    assert split.classes == ("kite", "dog", "cow", "ant")


def test_a_class_that_was_not_asked_for_is_named(read) -> None:
    with pytest.raises(InputError, match="'kite', which `classes` does not list"):
        read(document(shape(SQUARE)), classes=["dog"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"shapes": [{"label": "kite", "poi', r"b\.json is cut off: its JSON ends unfinished at byte"),
        (
            json.dumps(document(shape(SQUARE, label="é"), image="b.png"), ensure_ascii=False).encode(
                "latin-1"
            ),
            "UTF-8",
        ),
        (b'{"imagePath": "b.png", "shapes": [1 2]}', r"b\.json is not valid JSON: .* \(line 1\)"),
    ],
)
def test_a_broken_file_is_refused_by_name(read, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "b.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(document(shape(SQUARE)))


def test_the_command_refuses_a_broken_file_and_writes_nothing(aerostat, images, write_json, tmp_path) -> None:
    root = images("data", "a.png", "b.png")
    write_json(root / "a.json", document(shape(SQUARE)))
    (root / "b.json").write_text('{"shapes": [')
    ended = aerostat("convert", root, tmp_path / "out.json")
    assert ended.code == 2 and "b.json is cut off" in ended.err and not (tmp_path / "out.json").exists()


# --- writing ---


def test_written_files_are_those_of_the_tool(images, tmp_path: Path) -> None:
    root = images("photos", "x/a.png", "y/a.png", "y/a.jpg")
    outline = np.asarray(SQUARE, np.float64)
    two = Instance((10, 10, 80, 70), 0, (outline, outline + 40), difficult=True)
    crowd = Instance((1, 1, 9, 9), 0, crowd=True)
    rows = [
        ImageRecord(root / name, name, 100, 80, found)
        for name, found in (("x/a.png", [two, crowd]), ("y/a.png", []), ("y/a.jpg", []))
    ]
    lost = write_labelme(Split("train", ("kite", "dog"), (1, 2), rows), tmp_path / "out", WriteOptions())
    assert lost == {"crowd regions left out": 1}
    names = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert names == {"x/a.json", "y/a.json", "y/a.jpg.json", "labels.txt"}
    written = json.loads((tmp_path / "out" / "x" / "a.json").read_text())
    assert list(written) == [
        *("version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"),
    ]
    assert written["imagePath"] == "../../photos/x/a.png" and written["imageData"] is None
    assert [(s["label"], s["shape_type"], s["group_id"], s["flags"]) for s in written["shapes"]] == [
        ("kite", "polygon", 1, {"difficult": True})
    ] * 2
    assert (tmp_path / "out" / "labels.txt").read_text().split() == [
        *("__ignore__", "_background_", "kite", "dog"),
    ]


def test_scores_of_a_model_stand_beside_the_shapes(images, tmp_path: Path) -> None:
    root = images("photos", "a.png", "b.png")
    rows = [ImageRecord(root / n, n, 100, 80, [Instance((1, 1, 9, 9), 0)]) for n in ("a.png", "b.png")]
    write_labelme(Split("all", ("kite",), (1,), rows), tmp_path, WriteOptions(scores=[0.5, 0.25]))
    assert json.loads((tmp_path / "b.json").read_text())["shapes"][0]["score"] == 0.25


@pytest.mark.parametrize(
    "name",
    ["../../x.png", "/etc/x.png", "C:\\x.png", "https://h/x.png", "a/../../x.png", "y/" * 3000 + "x.png"],
)
def test_no_name_leads_out_of_the_written_folder(images, tmp_path: Path, name: str) -> None:
    rows = [ImageRecord(images("photos", "x.png") / "x.png", name, 100, 80)]
    write_labelme(Split("all", ("kite",), (1,), rows), tmp_path / "deep" / "out", WriteOptions())
    assert {p.name for p in tmp_path.rglob("*.json")} == {"x.json"}
    assert (tmp_path / "deep" / "out" / "x.json").exists()


def test_a_box_that_is_not_around_its_outline_is_written_alone(images, tmp_path: Path) -> None:
    rows = [
        ImageRecord(
            images("photos", "a.png") / "a.png",
            *("a.png", 100, 80),
            [
                Instance((0, 0, 50, 50), 0, (np.asarray(SQUARE, np.float64),)),
                Instance((10, 10, 40.5, 30), 0, (np.asarray(SQUARE, np.float64),)),
            ],
        )
    ]
    lost = write_labelme(Split("all", ("kite",), (1,), rows), tmp_path / "out", WriteOptions())
    assert lost == {"objects whose box is not around their outline or mask written as a box": 1}
    far, near = Dataset.read(tmp_path / "out", images=tmp_path / "photos").split("all").images[0].instances
    assert (far.box_xyxy, len(far.polygons)) == ((0, 0, 50, 50), 0)
    assert (near.box_xyxy, len(near.polygons)) == ((10, 10, 40.5, 30), 1)


numbers = st.one_of(st.integers(0, 40).map(float), st.floats(0, 40), st.floats(0, 1e-6))
outlines = (
    st.lists(st.tuples(numbers, numbers), min_size=3, max_size=6)
    .map(lambda points: np.asarray(points, np.float64))
    .filter(lambda outline: polygons.area(outline) > 0)
)


@st.composite
def instances(draw) -> Instance:
    label, difficult = draw(st.integers(0, 2)), draw(st.booleans())
    kind = draw(st.sampled_from(["box", "outlines", "mask"]))
    if kind == "box":
        x, y, w, h = (draw(numbers) for _ in range(4))
        box = (x, y, x + w + 0.01, y + h * 0.9 + 0.01)
        return Instance(box, label, area=(box[2] - box[0]) * (box[3] - box[1]), difficult=difficult)
    if kind == "outlines":
        drawn = tuple(draw(st.lists(outlines, min_size=1, max_size=3)))
        box = polygons.bounds(np.concatenate(drawn))
        return Instance(box, label, drawn, area=sum(map(polygons.area, drawn)), difficult=difficult)
    dense = np.zeros((1, 80, 100), bool)
    dense[0, draw(st.integers(0, 79)), draw(st.integers(0, 99))] = True
    dense[0, draw(st.integers(0, 79)), draw(st.integers(0, 99)) :] = True
    masks = Masks.from_dense(dense)
    x1, y1, x2, y2 = masks.boxes_xyxy()[0].tolist()
    return Instance(
        (x1, y1, x2, y2), label, rle=masks.to_coco()[0], area=float(masks.area()[0]), difficult=difficult
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("round_trip")
    for name in ("a.png", "sub/a.png", "sub/ü b.png"):
        (root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (100, 80)).save(root / "photos" / name)
    yield root


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(instances(), max_size=4), min_size=3, max_size=3))
def test_reading_gives_back_what_was_written(photos: Path, per_image: list[list[Instance]]) -> None:
    names = ("a.png", "sub/a.png", "sub/ü b.png")
    rows = [
        ImageRecord(photos / "photos" / name, name, 100, 80, found, number)
        for number, (name, found) in enumerate(zip(names, per_image, strict=True), start=1)
    ]
    split = Split("train", ("风筝", "ant", 'a "quoted" name'), (1, 2, 3), rows)
    out = photos / "out"
    assert write_labelme(split, out, WriteOptions()) == {}
    texts = tuple(AnnotationText(out / name) for name in ("a.json", "sub/a.json", "sub/ü b.json"))
    files = SplitFiles("train", out, texts, (photos / "photos",))
    assert replace(read_labelme(files, ReadOptions()), problems=()) == split


# --- real files ---


def test_boxes_of_photographs_are_those_of_the_coco_form(shared: Path) -> None:
    forms = shared / "data" / "same_boxes"
    labelme = Dataset.read(forms / "labelme_format", images=forms / "images").split("all")
    coco_file = next((forms / "coco_format_v1").glob("*.json"))
    coco = Dataset.read(coco_file, images=forms / "images").split("all")

    def boxes(split: Split) -> dict[str, list[Any]]:
        return {
            Path(image.file_name).name: sorted((split.classes[i.label], i.box_xyxy) for i in image.instances)
            for image in split.images
        }

    assert len(labelme.images.instances) == 273 and boxes(labelme) == boxes(coco)


def test_a_public_set_of_polygons_is_read_whole(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "labelme_polygons"
    split = Dataset.read(folder).split("all")
    assert (len(split), len(split.images.instances), split.classes) == (18, 165, ("date", "fig", "hazelnut"))
    assert all(len(i.polygons) == 1 for i in split.images.instances)
    convert(folder, tmp_path / "out", to="labelme")
    back = Dataset.read(tmp_path / "out", images=folder).split("all")
    assert replace(back, problems=()) == replace(split, problems=())
