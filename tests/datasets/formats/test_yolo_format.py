"""What the lines of YOLO's label files mean, and what is reported about them."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.errors import InputError
from aerostat.lint.lint import lint_path

Make = Callable[..., Path]


@pytest.fixture
def make(images) -> Make:
    """Write a data set of images of 100 x 80 whose labels and data.yaml are given."""

    def write(
        *labels: str | bytes | None, config: str = "names: [cat, dog]\n", file: str = "data.yaml"
    ) -> Path:
        names = [f"images/{number}.jpg" for number in range(len(labels))]
        root = images("data", *names)
        (root / "labels").mkdir(exist_ok=True)
        for number, text in enumerate(labels):
            if text is not None:
                content = text.encode() if isinstance(text, str) else text
                (root / "labels" / f"{number}.txt").write_bytes(content)
        text = f"train: images\n{config}" if file == "data.yaml" else config
        if file:
            (root / file).write_text(text, encoding="utf-8")
        return root

    return write


def objects(data: Dataset) -> list[list[tuple[str, list[float]]]]:
    (split,) = data.splits.values()
    return [
        [(data.classes[i.label], [round(v, 9) for v in i.box_xyxy]) for i in image.instances]
        for image in split.images
    ]


def kinds(data: Dataset) -> dict[str, int]:
    return dict(Counter(problem.kind for problem in data.problems))


def test_boxes_are_centre_and_size_in_shares(make: Make) -> None:
    data = Dataset.read(make("1 0.5 0.25 0.2 0.1\n\n0 0.1 0.1 0.2 0.2\r\n", "", None, "\n \n"))
    assert objects(data) == [[("dog", [40, 16, 60, 24]), ("cat", [0, 0, 20, 16])], [], [], []]
    assert data.classes == ("cat", "dog") and not data.problems
    assert data.splits["train"].images.instances.areas.round(6).tolist() == [160, 320]
    assert data.splits["train"].source_format == "yolo"


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff1 0.5 0.25 0.2 0.1".encode(),
        "1 0.5 0.25 0.2 0.1\n".encode("utf-16"),
        b"1.0\t0.5\t0.25 0.2  0.1 \n",
        b"1 5e-1 .25 2E-1 0.1\n",
        b"1 0.500000 0.250000 0.200000 0.100000\r\n",
    ],
)
def test_a_line_may_be_written_in_other_ways(make: Make, content: bytes) -> None:
    assert objects(Dataset.read(make(content))) == [[("dog", [40, 16, 60, 24])]]


def test_decimals_are_taken_to_the_last_bit(make: Make) -> None:
    whole = "0 0.30000000000000000000 0.50000000000000000000 0.20000000000000000000 0.5\n"
    data = Dataset.read(make(whole))
    assert data.splits["train"].images[0].instances[0].box_xyxy == (20, 20, 40, 60)


def test_outlines_are_kept_and_their_bounds_are_the_box(make: Make) -> None:
    data = Dataset.read(make("0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0.5 0.2 0.7 0.5 0.5 0.8 0.3 0.5\n"))
    assert objects(data) == [[("cat", [10, 8, 50, 40]), ("dog", [30, 16, 70, 64])]]
    triangle, quadrilateral = data.splits["train"].images[0].instances
    assert np.allclose(triangle.polygons[0], [(10, 8), (50, 8), (50, 40)]) and triangle.area == 640
    assert len(quadrilateral.polygons[0]) == 4 and quadrilateral.area == pytest.approx(960)
    assert not data.problems


def test_scores_and_key_points_are_counted_as_not_read(make: Make) -> None:
    pose = "0 0.5 0.5 0.2 0.5 0.4 0.4 2 0.5 0.5 1 0 0 0\n"
    prediction = "1 0.5 0.5 0.2 0.5 0.875\n0 0.1 0.1 0.5 0.1 0.5 0.5 0.9\n"
    data = Dataset.read(make(pose + prediction))
    boxes = [("cat", [40, 20, 60, 60]), ("dog", [40, 20, 60, 60]), ("cat", [10, 8, 50, 40])]
    assert objects(data) == [boxes]
    unread = {problem.detail for problem in data.problems if problem.kind == "not read"}
    assert unread == {"1 objects with key points", "2 scores"}


def test_key_points_are_no_outline_where_data_yaml_states_their_shape(make: Make) -> None:
    line = "0 0.5 0.5 0.2 0.5 0.4 0.4 0.5 0.5 0.6 0.6\n"  # three key points without a mark, or five points
    assert objects(Dataset.read(make(line)))[0] == [("cat", [20, 32, 60, 48])]
    data = Dataset.read(make(line, config="kpt_shape: [3, 2]\nnames: [cat]\n"))
    assert objects(data) == [[("cat", [40, 20, 60, 60])]] and kinds(data) == {"not read": 1}


BROKEN = {
    "0 0.5 0.5 0.2": "has 4 columns, expected a class with the 4 numbers of a box or with 3 points or more",
    "0": "has 1 column,",
    "cat 0.5 0.5 0.2 0.2": "has 'cat' among its numbers",
    "0,0.5,0.5,0.2,0.2": "has '0,0.5,0.5,0.2,0.2' among its numbers",
    "0 0.5 0.5 0.2 1_0": "has '1_0' among its numbers",
    "0 0.5 nan 0.2 0.2": "has a number that is not finite",
    "0 0.5 0.5 inf 0.2": "has a number that is not finite",
    "0 0.5 1e999 0.2 0.2": "has a number that is not finite",
    "0.5 0.5 0.5 0.2 0.2": "has the class 0.5, expected a whole number",
    "0 0.5 0.5 0.2 \x00": "among its numbers",
}


@pytest.mark.parametrize("line", BROKEN)
def test_a_broken_line_costs_itself_alone(make: Make, line: str) -> None:
    data = Dataset.read(make(f"1 0.5 0.25 0.2 0.1\n{line}\n", "0 0.5 0.5 0.2 0.5\n"))
    assert objects(data) == [[("dog", [40, 16, 60, 24])], [("cat", [40, 20, 60, 60])]]
    (problem,) = data.problems
    assert problem.kind == "malformed record" and problem.file_name == "0.jpg" and problem.record == "line 2"
    assert problem.detail.startswith("line 2 ") and BROKEN[line] in problem.detail
    with pytest.raises(InputError, match="refused by `strict`"):
        Dataset.read(make(f"1 0.5 0.25 0.2 0.1\n{line}\n"), strict=True)


GEOMETRY = {
    "0 1.0 0.5 0.4 0.5": ("clipped", [80, 20, 100, 60]),
    "0 0.999 0.5 0.004 0.5": ("", [99.7, 20, 100, 60]),  # beyond by a tenth of a pixel
    "0 1.5 0.5 0.2 0.5": ("outside the image", None),
    "0 0.5 0.5 -0.2 0.5": ("degenerate box", None),
    "0 0.5 0.5 0 0.5": ("degenerate box", None),
    "0 0.1 0.1 0.1 0.5 0.1 0.9": ("degenerate box", None),
    "0 0.5 0.1 1.5 0.1 1.5 0.5 0.5 0.5": ("clipped", [50, 8, 100, 40]),
    "0 0.1 0.1 0.5 0.5 0.5 0.1 0.1 0.6": ("self-crossing polygon", [10, 8, 50, 48]),
    "0 0.1 0.1 0.5 0.5 0.5 0.1 0.1 0.5": ("degenerate polygon", [10, 8, 50, 40]),
}


@pytest.mark.parametrize("line", GEOMETRY)
def test_what_does_not_fit_is_clipped_or_dropped(make: Make, line: str) -> None:
    kind, box = GEOMETRY[line]
    data = Dataset.read(make(f"{line}\n1 0.5 0.25 0.2 0.1\n"))
    found = objects(data)[0]
    assert found == [*([("cat", box)] if box else []), ("dog", [40, 16, 60, 24])]
    assert kinds(data) == ({kind: 1} if kind else {})
    assert all(problem.record == "line 1" for problem in data.problems)


def test_numbers_of_pixels_are_recognised(make: Make) -> None:
    with pytest.raises(InputError, match=r"labels state pixels, such as 320, where YOLO has shares"):
        Dataset.read(make("0 320 240 100 50\n0 20 20 10 10\n"))
    data = Dataset.read(make("0 0.5 0.5 0.2 0.5\n0 0.5 0.5 0.2 0.5\n0 320 240 100 50\n"))
    assert kinds(data) == {"outside the image": 1}


@pytest.mark.parametrize("number", ["2", "-1", "7.0", "99999999999999999999"])
def test_a_class_without_a_name_drops_the_object(make: Make, number: str) -> None:
    data = Dataset.read(make(f"{number} 0.5 0.5 0.2 0.5\n1 0.5 0.25 0.2 0.1\n"))
    assert objects(data) == [[("dog", [40, 16, 60, 24])]]
    (problem,) = data.problems
    assert (problem.kind, problem.record) == ("unknown category", "line 1")
    assert problem.detail == f"line 1 has the class {float(number):.0f}, which has no name; dropped"


def test_a_data_set_whose_classes_all_lack_a_name_is_refused(make: Make) -> None:
    with pytest.raises(
        InputError, match=r"No object of .* has a class with a name: .* numbers 3, 7, and 2 cl"
    ):
        Dataset.read(make("3 0.5 0.5 0.2 0.5\n7 0.5 0.5 0.2 0.5\n"))


def test_numbers_without_a_list_of_names_are_names(make: Make) -> None:
    root = make("2 0.5 0.5 0.2 0.5\n", "0 0.5 0.5 0.2 0.5\n", file="")
    data = Dataset.read(root)
    assert data.classes == ("0", "1", "2") and [o[0][0] for o in objects(data)] == ["2", "0"]
    named = Dataset.read(root, ["cat", "dog", "owl"])
    assert [o[0][0] for o in objects(named)] == ["owl", "cat"]
    with pytest.raises(InputError, match=r"objects of the class 2, and `classes` names those from 0 to 1"):
        Dataset.read(root, ["cat", "dog"])
    (root / "labels" / "0.txt").write_text("20000 0.5 0.5 0.2 0.5\n")
    with pytest.raises(InputError, match=r"objects of the class 20000, and no list of names is there"):
        Dataset.read(root)


def test_classes_reorder_named_ones(make: Make) -> None:
    data = Dataset.read(make("1 0.5 0.25 0.2 0.1\n"), ["dog", "cat"])
    assert data.classes == ("dog", "cat") and objects(data)[0][0][0] == "dog"
    with pytest.raises(InputError, match=r"objects of the class 'dog', which `classes` does not list"):
        Dataset.read(make("1 0.5 0.25 0.2 0.1\n"), ["cat", "kite"])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("names: [yes, no]", ("yes", "no")),
        ("names:\n- on\n- off", ("on", "off")),
        ("names: {0: 1_0, 1: 012}", ("1_0", "012")),
        ("names: {1: b, 0: 'null'}", ("null", "b")),
        ("names:\n  0: 2024-01-01\n  1: 1e3", ("2024-01-01", "1e3")),
        ("names: ['a: b', \"c\\nd\"]", ("a: b", "c\nd")),
        ("a: &x cat\nnames: [*x, 气球]", ("cat", "气球")),
        ("nc: 7\nnames: [cat, dog]\ndownload: |\n  import os\n", ("cat", "dog")),
        ("nc: 2\nnames: !!python/object/apply:os.system [touch, x]", ("touch", "x")),
    ],
)
def test_names_are_taken_as_they_are_written(make: Make, names: str, expected: tuple[str, ...]) -> None:
    data = Dataset.read(make("1 0.5 0.25 0.2 0.1\n", config=f"{names}\n"))
    assert data.classes == expected and objects(data)[0][0][0] == expected[1]


def test_numbers_may_have_gaps(make: Make) -> None:
    root = make(
        "5 0.5 0.5 0.2 0.5\n2 0.5 0.5 0.2 0.5\n3 0.5 0.5 0.2 0.5\n", config="names: {5: dog, 2: cat}\n"
    )
    data = Dataset.read(root)
    assert data.classes == ("cat", "dog") and [name for name, _ in objects(data)[0]] == ["dog", "cat"]
    assert kinds(data) == {"unknown category": 1}


def test_a_stated_number_of_classes_that_contradicts_the_names_is_told(make: Make, caplog) -> None:
    Dataset.read(make("1 0.5 0.25 0.2 0.1\n", config="nc: 3\nnames: [cat, dog]\n"))
    assert "states 3 classes and lists 2 names" in caplog.text


CONFIGS = {
    "names: [cat\n": r"data.yaml is no valid YAML in line 3",
    "names: {0: a, 0: b, 1: c}\n": None,  # the last one counts
    "names: {a: b}\n": r"has 'a': 'b' among the names; expected a number from 0 on and a name",
    "names: {-1: b}\n": r"has '-1': 'b' among the names",
    "names: [[a], b]\n": r"among the names",
    "names: cat\n": r"has the names 'cat'; expected a list",
    "names: [cat, cat]\n": r"two classes called 'cat'; give each its own name",
    "? [a]\n: b\n": r"a list or a mapping as a key in line 2",
    "names: *x\n": r"data.yaml (is no valid YAML|uses 'x' in line 2)",
    "names: [cat]\nval: {a: b}\n": r"states `val` in another form",
    "x: " + "[" * 100_000 + "\n": r"(nested too deeply|no valid YAML)",
    "x: \x07\n": r"no valid YAML",
    "names: [" + "cat, " * 300_000 + "]\n": r"expected a data.yaml of at most 1048576",
}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda text: text[:20])
def test_a_broken_data_yaml_is_refused(make: Make, config: str) -> None:
    root = make("1 0.5 0.25 0.2 0.1\n", config=config)
    if CONFIGS[config] is None:
        assert Dataset.read(root).classes == ("b", "c")
        return
    with pytest.raises(InputError, match=CONFIGS[config]):
        Dataset.read(root)


def test_aliases_of_aliases_cost_nothing(make: Make) -> None:
    levels = "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(15))
    data = Dataset.read(make("0 0.5 0.5 0.2 0.5\n", config=f"a0: &a0 [x, y]\n{levels}names: [cat]\n"))
    assert data.classes == ("cat",)
    with pytest.raises(InputError, match="among the names"):
        Dataset.read(make("0 0.5 0.5 0.2 0.5\n", config=f"a0: &a0 [x, y]\n{levels}names: *a15\n"))


def test_a_data_yaml_in_another_encoding_is_refused(make: Make) -> None:
    root = make("0 0.5 0.5 0.2 0.5\n")
    (root / "data.yaml").write_bytes("train: images\nnames: [Ärger]\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"data.yaml is not UTF-8; save it again"):
        Dataset.read(root)
    (root / "data.yaml").write_bytes(b"")
    assert Dataset.read(root).classes == ("0",)


def test_a_label_file_that_is_no_text_leaves_its_image_out(make: Make) -> None:
    data = Dataset.read(make("0 0.5 0.5 0.2 0.5\n", b"0 0.5 0.5 0.2 0.5\n\xff\xd8\xff\xe0\n", "\n"))
    assert objects(data) == [[("cat", [40, 20, 60, 60])], []]
    (problem,) = data.problems
    assert problem.file_name == "1.jpg" and "1.txt is no text; the image is left out" in problem.detail


def test_a_label_file_without_an_image_is_reported(make: Make) -> None:
    root = make("0 0.5 0.5 0.2 0.5\n")
    (root / "labels" / "lost.txt").write_text("0 0.5 0.5 0.2 0.5\n")
    (root / "labels" / "classes.txt").write_text("cat\n")
    data = Dataset.read(root)
    (problem,) = data.problems
    assert (problem.kind, problem.file_name) == ("missing image", "lost.txt")
    assert "has no image of its name in" in problem.detail
    assert "image-missing" in {finding.code for finding in lint_path(root).findings}


def test_a_missing_and_a_broken_image_are_left_out_alone(make: Make) -> None:
    root = make(*["0 0.5 0.5 0.2 0.5\n"] * 3)
    (root / "images" / "1.jpg").write_bytes(b"no image")
    (root / "list.txt").write_text("images/0.jpg\nimages/1.jpg\nimages/2.jpg\nimages/9.jpg\n")
    (root / "data.yaml").write_text("train: list.txt\nnames: [cat]\n")
    data = Dataset.read(root)
    assert [image.file_name for image in data.splits["train"].images] == ["0.jpg", "2.jpg"]
    assert kinds(data) == {"unreadable image": 1, "missing image": 1}


def test_two_images_of_one_stem_share_their_labels(make: Make) -> None:
    root = make("0 0.5 0.5 0.2 0.5\n")
    (root / "images" / "0.jpg").rename(root / "images" / "0.png")
    make("0 0.5 0.5 0.2 0.5\n")
    assert objects(Dataset.read(root)) == [[("cat", [40, 20, 60, 60])]] * 2


def test_a_file_of_broken_lines_alone_is_refused(make: Make) -> None:
    with pytest.raises(
        InputError, match=r"more than 100000 records that cannot be used, first '0.jpg': line 1"
    ):
        Dataset.read(make("x\n" * 100_001))


def test_long_numbers_cost_no_more_than_their_length(make: Make) -> None:
    digits = "5" * 200_000
    data = Dataset.read(make(f"0 0.{digits} 0.{digits} 0.2 0.1\n0 0.5 0.5 1e-{digits} 0.5\n"))
    assert kinds(data) == {"degenerate box": 1} and len(objects(data)[0]) == 1


def test_every_turned_image_is_upright(make: Make) -> None:
    from PIL import Image

    root = make("0 0.5 0.5 0.2 0.5\n")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (100, 80)).save(root / "images" / "0.jpg", exif=exif)
    assert objects(Dataset.read(root)) == [[("cat", [32, 25, 48, 75])]]


def test_yolo_can_be_asked_for(make: Make) -> None:
    root = make("0 0.5 0.5 0.2 0.5\n")
    assert Dataset.read(root, from_format="yolo").classes == ("cat", "dog")
    with pytest.raises(InputError, match=r"Expected coco annotations, found yolo"):
        Dataset.read(root, from_format="coco")


def test_progress_is_shown_for_thousands_of_files(make: Make, monkeypatch) -> None:
    from aerostat.datasets.formats import yolo

    titles = []
    monkeypatch.setattr(yolo, "MANY_FILES", 2)
    monkeypatch.setattr(yolo, "track", lambda items, title: titles.append(title) or items)
    Dataset.read(make("0 0.5 0.5 0.2 0.5\n", ""))
    assert titles == ["reading labels of train"]


def test_same_boxes_agree_with_the_other_forms(shared: Path) -> None:
    data = shared / "data" / "same_boxes"
    ours = Dataset.read(data / "yolo_format", images=data / "images")
    coco = Dataset.read(data / "coco_format_v1", images=data / "images")
    assert ours.classes == coco.classes and not ours.problems
    theirs = {image.path.name: image for split in coco.splits.values() for image in split.images}
    largest = 0.0
    for image in ours.splits["train"].images:
        other = theirs.pop(image.path.name)
        assert image.instances.labels.tolist() == other.instances.labels.tolist()
        largest = max(largest, float(np.abs(image.instances.boxes_xyxy - other.instances.boxes_xyxy).max()))
    assert not theirs and 0 < largest < 0.0004


@pytest.mark.parametrize(("folder", "splits"), [("annotations", 1), ("labels", 2), ("strict", 1)])
def test_files_of_other_tools_are_read(shared: Path, folder: str, splits: int) -> None:
    data = Dataset.read(shared / "data" / "small" / "datumaro_assets" / "yolo_dataset" / folder)
    assert len(data.splits) == splits and data.classes == tuple(f"label_{number}" for number in range(10))
    for split in data.splits.values():
        boxes = split.images.instances.boxes_xyxy
        assert np.allclose(boxes, [(0, 2, 4, 4), (3, 3, 5, 6)], atol=1e-4) and not split.problems
        assert split.images.instances.labels.tolist() == [2, 4]


def test_it_is_read_with_options_of_the_command_line(make: Make, aerostat) -> None:
    root = make("1 0.5 0.25 0.2 0.1\n", "0 0.5 0.5 0.2 0.5\n", "bad line here\n")
    done = aerostat("convert", root / "data.yaml", root / "coco.json", "--only-classes", "dog")
    assert done.code == 0 and "3 images, 1 object of 1 class (dog)" in done.out
    assert "malformed record: 1, first 2.jpg: line 1 has 'bad' among" in done.out
    assert aerostat("convert", root, root / "b.json", "--strict").code == 2
    assert not (root / "b.json").exists()
