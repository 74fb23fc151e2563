import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aerostat.datasets.formats.via import read_via, write_via
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import InputError

POLYGON = {"name": "polygon", "all_points_x": [10, 30, 30, 10, 10], "all_points_y": [20, 20, 60, 60, 20]}
RECT = {"name": "rect", "x": 5, "y": 6, "width": 20, "height": 10}


def region(shape: dict[str, Any], **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": shape, "region_attributes": attributes}


def entry(name: str, *regions: dict[str, Any], as_dict: bool = False) -> dict[str, Any]:
    listed: Any = {str(i): r for i, r in enumerate(regions)} if as_dict else list(regions)
    return {f"{name}123": {"filename": name, "size": 123, "regions": listed, "file_attributes": {}}}


@pytest.fixture
def read(images, write_json):
    """Read VIA JSON whose images a.png and b.png, 100 x 80, lie beside it."""

    def read(document: Any, classes: list[str] | None = None, **options: Any) -> Split:
        folder = images("data", "a.png", "b.png")
        return read_via(
            write_json(folder / "via.json", document), [folder], split="train", classes=classes, **options
        )

    return read


@pytest.mark.parametrize("as_dict", [True, False], ids=["version 1", "version 2"])
def test_regions_of_both_versions_are_read(read, as_dict: bool) -> None:
    split = read(entry("a.png", region(POLYGON), region(RECT), as_dict=as_dict), ["balloon"])
    (image,) = split.images
    outlined, boxed = image.instances
    assert (image.file_name, image.width, image.height) == ("a.png", 100, 80)
    assert (outlined.box_xyxy, outlined.area) == ((10, 20, 30, 60), 800)
    assert outlined.polygons[0].tolist() == [[10, 20], [30, 20], [30, 60], [10, 60], [10, 20]]
    assert (boxed.box_xyxy, boxed.area, boxed.polygons) == ((5, 6, 25, 16), 200, ())
    assert split.classes == ("balloon",) and split.problems == ()


def test_a_project_file_is_read(read) -> None:
    project = {
        "_via_settings": {"ui": {}},
        "_via_img_metadata": entry("a.png", region(RECT)),
        "_via_attributes": {},
    }
    assert read(project, ["balloon"]).box_count == 1


def test_an_image_without_regions_is_kept(read) -> None:
    split = read({**entry("a.png", region(RECT)), **entry("b.png")}, ["balloon"])
    assert [len(image.instances) for image in split.images] == [1, 0]


@pytest.mark.parametrize(
    ("shape", "box", "area"),
    [
        ({"name": "circle", "cx": 50, "cy": 40, "r": 10}, (40, 30, 60, 50), math.pi * 100),
        ({"name": "ellipse", "cx": 50, "cy": 40, "rx": 20, "ry": 10}, (30, 30, 70, 50), math.pi * 200),
        (
            {"name": "ellipse", "cx": 50, "cy": 40, "rx": 20, "ry": 10, "theta": math.pi / 2},
            (40, 20, 60, 60),
            math.pi * 200,
        ),
        (
            {"name": "polyline", "all_points_x": [10, 30, 20], "all_points_y": [10, 10, 30]},
            (10, 10, 30, 30),
            200,
        ),
    ],
)
def test_round_and_open_shapes_become_outlines(read, shape, box, area) -> None:
    (instance,) = read(entry("a.png", region(shape)), ["balloon"]).images[0].instances
    assert instance.box_xyxy == pytest.approx(box, abs=1e-9)
    assert instance.area == pytest.approx(area, rel=2e-3)
    assert len(instance.polygons) == 1


def test_a_point_costs_itself_and_is_named(read) -> None:
    point = region({"name": "point", "cx": 1, "cy": 1})
    split = read(entry("a.png", point, region(RECT)), ["balloon"])
    assert split.box_count == 1
    (problem,) = split.problems
    assert (problem.file_name, problem.kind, problem.record) == ("a.png", "malformed record", "region 0")
    assert "is a point, which has no extent" in problem.detail


# --- classes ---


def test_one_attribute_is_the_class_and_names_are_sorted(read) -> None:
    split = read(entry("a.png", region(RECT, kind="dog"), region(RECT, kind="cat")))
    assert split.classes == ("cat", "dog")
    assert [i.label for i in split.images[0].instances] == [1, 0]


def test_given_classes_fix_the_order_and_may_be_more(read) -> None:
    split = read(entry("a.png", region(RECT, kind="cat")), ["dog", "cat", "cow"])
    assert split.classes == ("dog", "cat", "cow") and split.images[0].instances[0].label == 1


def test_a_class_that_is_not_listed_is_named(read) -> None:
    with pytest.raises(InputError, match="'cow', which `classes` does not list: it lists 'dog'"):
        read(entry("a.png", region(RECT, kind="cow")), ["dog"])


def test_several_attributes_are_listed(read) -> None:
    with pytest.raises(InputError, match=r"\('colour', 'kind'\).*`class_attribute=NAME`"):
        read(entry("a.png", region(RECT, kind="dog", colour="red")))


def test_the_named_attribute_is_taken(read) -> None:
    split = read(entry("a.png", region(RECT, kind="dog", colour="red")), class_attribute="colour")
    assert split.classes == ("red",)


def test_attributes_that_always_agree_are_one_and_it_is_said(read) -> None:
    regions = region(RECT, kind="dog", tipo="dog"), region(RECT, kind="cat"), region(RECT, tipo="cow")
    split = read(entry("a.png", *regions))
    assert split.classes == ("cat", "cow", "dog")
    assert [(p.kind, p.record) for p in split.problems] == [("equal attributes", "region_attributes")]


def test_attributes_that_never_meet_or_disagree_once_are_several(read) -> None:
    for second in (region(RECT, tipo="dog"), region(RECT, kind="cat", tipo="dog")):
        with pytest.raises(InputError, match="several region attributes"):
            read(entry("a.png", region(RECT, kind="dog"), second))


def test_attributes_that_hold_no_class_are_counted(read) -> None:
    document = entry("a.png", region(RECT, kind="dog", colour="red"), region(RECT, kind="dog", colour=""))
    document["a.png123"]["file_attributes"] = {"caption": "a dog", "source": "", "public": {"yes": True}}
    split = read(document, class_attribute="kind")
    assert [p.detail for p in split.problems if p.kind == "not read"] == ["2 file attributes", "1 attributes"]


def test_an_attribute_that_nobody_filled_in_is_not_in_use(read) -> None:
    assert read(entry("a.png", region(RECT, kind="dog", note=""))).classes == ("dog",)


def test_a_named_attribute_that_is_missing_is_refused(read) -> None:
    with pytest.raises(InputError, match=r"no region attribute 'type'.*only 'kind'"):
        read(entry("a.png", region(RECT, kind="dog")), class_attribute="type")


@pytest.mark.parametrize(("classes", "found"), [(None, "none was given"), (["a", "b"], r"gives 2 \(a, b\)")])
def test_no_attribute_takes_exactly_one_name(read, classes, found: str) -> None:
    with pytest.raises(InputError, match=f"takes one name, `classes=NAME`, but .*{found}"):
        read(entry("a.png", region(RECT)), classes)


def test_a_ticked_box_is_the_class(read) -> None:
    document = entry(
        "a.png", region(RECT, kind={"dog": True, "cat": False}), region(RECT, kind={"cat": True})
    )
    assert read(document).classes == ("cat", "dog")


def test_regions_without_one_class_are_dropped_and_counted(read) -> None:
    document = entry(
        "a.png",
        region(RECT, kind="dog"),
        region(RECT, kind=" "),
        region(RECT, kind={"cat": True, "dog": True}),
    )
    split = read(document)
    assert split.box_count == 1
    assert [(p.kind, p.file_name) for p in split.problems] == [("no class", "a.png")] * 2


# --- shapes that do not fit ---


def polygon(*vertices: tuple[float, float]) -> dict[str, Any]:
    xs, ys = zip(*vertices, strict=True)
    return {"name": "polygon", "all_points_x": list(xs), "all_points_y": list(ys)}


@pytest.mark.parametrize(
    ("shape", "box", "kinds"),
    [
        (polygon((60, 10), (100, 10), (100, 80), (60, 80)), (60, 10, 100, 80), []),
        (polygon((60, 10), (100.4, 10), (100.4, 80)), (60, 10, 100, pytest.approx(79.307, abs=1e-3)), []),
        (polygon((60, 10), (120, 10), (120, 60), (60, 60)), (60, 10, 100, 60), ["clipped"]),
        (polygon((110, 10), (120, 10), (120, 60)), None, ["outside the image"]),
        (polygon((80, -30), (130, -30), (130, 30)), None, ["outside the image"]),
        (polygon((10, 10), (40, 50)), (10, 10, 40, 50), ["degenerate polygon"]),
        (polygon((10, 10), (40, 10), (20, 10)), None, ["degenerate box"]),
        (polygon((10, 10), (40, 40), (40, 10), (12, 45)), (10, 10, 40, 45), ["self-crossing polygon"]),
        ({"name": "rect", "x": -10, "y": 6, "width": 20, "height": 10}, (0, 6, 10, 16), ["clipped"]),
        ({"name": "rect", "x": 5, "y": 6, "width": 0, "height": 10}, None, ["degenerate box"]),
        ({"name": "rect", "x": 5, "y": 6, "width": -3, "height": 10}, None, ["degenerate box"]),
        ({"name": "rect", "x": 5, "y": 6}, None, ["malformed record"]),
        ({"name": "rect", "x": "wide", "y": 6, "width": 1, "height": 1}, None, ["malformed record"]),
        ({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2]}, None, ["malformed record"]),
        ({"name": "polygon", "all_points_x": [], "all_points_y": []}, None, ["malformed record"]),
        (
            {"name": "polygon", "all_points_x": [[1], [2]], "all_points_y": [[1], [2]]},
            None,
            ["malformed record"],
        ),
        ({"name": "polygon", "all_points_x": 5, "all_points_y": 5}, None, ["malformed record"]),
        ({"name": "cube"}, None, ["malformed record"]),
        ({}, None, ["malformed record"]),
    ],
)
def test_what_becomes_of_a_shape(read, shape, box, kinds: list[str]) -> None:
    split = read(entry("a.png", region(shape)), ["balloon"])
    boxes = [i.box_xyxy for i in split.images[0].instances]
    assert boxes == ([] if box is None else [box])
    assert [p.kind for p in split.problems] == kinds


def test_a_degenerate_polygon_keeps_no_outline_and_a_crossing_one_does(read) -> None:
    line, bow = polygon((10, 10), (40, 50)), polygon((10, 10), (40, 40), (40, 10), (12, 45))
    flat, crossing = read(entry("a.png", region(line), region(bow)), ["balloon"]).images[0].instances
    assert (flat.polygons, flat.area) == ((), 30 * 40)
    assert len(crossing.polygons) == 1


def test_numbers_as_text_are_read_and_said(read) -> None:
    as_text = {"name": "rect", "x": "5", "y": "6.5", "width": 10, "height": "10"}
    split = read(entry("a.png", region(as_text)), ["balloon"])
    assert split.images[0].instances[0].box_xyxy == (5, 6.5, 15, 16.5)
    assert [(p.kind, p.record) for p in split.problems] == [("number in another form", "region 0")]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_python_writes_for_no_number_costs_its_region_alone(read, number: float) -> None:
    broken = {**RECT, "x": number}
    split = read(entry("a.png", region(broken), region(RECT)), ["balloon"])
    assert split.box_count == 1
    assert [(p.kind, p.record) for p in split.problems] == [("malformed record", "region 0")]


def test_entries_and_regions_of_another_form_cost_themselves(read) -> None:
    document = entry("a.png", region(RECT), region(RECT))
    document["a.png123"]["regions"].append([7])
    document |= {"b": {"filename": 5, "regions": []}, "c": {"filename": "c.png", "regions": "none"}}
    split = read(document, ["balloon"])
    assert split.box_count == 2 and split.images[0].file_name == "a.png"
    assert [(p.kind, p.file_name, p.record) for p in split.problems if p.kind == "malformed record"] == [
        ("malformed record", "a.png", "region 2"),
        ("malformed record", "via.json", "entry b"),
        ("malformed record", "c.png", "regions"),
    ]


# --- images ---


def test_missing_and_broken_images_are_named_and_left_out(read, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "broken.png").write_bytes(b"no image")
    document = {**entry("a.png"), **entry("gone.png", region(RECT)), **entry("broken.png", region(RECT))}
    split = read(document, ["balloon"])
    assert [image.file_name for image in split.images] == ["a.png"]
    assert [(p.kind, p.file_name) for p in split.problems] == [
        ("missing image", "gone.png"),
        ("unreadable image", "broken.png"),
    ]


def test_a_file_name_twice_is_refused(read) -> None:
    document = {**entry("a.png", region(RECT)), "a.png999": entry("a.png")["a.png123"]}
    with pytest.raises(InputError, match=r"1 file name more than once, first 'a\.png'"):
        read(document, ["balloon"])


@pytest.mark.parametrize("document", [{}, {"_via_img_metadata": {}}])
def test_a_file_without_images_is_refused(read, document) -> None:
    with pytest.raises(InputError, match="lists no images"):
        read(document, ["balloon"])


def test_a_hundred_thousand_empty_regions_are_counted(read) -> None:
    document = entry("a.png", *[{}] * 100_000)
    split = read(document, ["balloon"])
    assert split.box_count == 0 and len(split.problems) == 100_000


# --- CSV ---


def write_csv(path: Path, rows: list[list[Any]], header_mark: str = "") -> Path:
    header = [
        f"{header_mark}filename",
        "file_size",
        "file_attributes",
        "region_count",
        "region_id",
        "region_shape_attributes",
        "region_attributes",
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.mark.parametrize("mark", ["", "#"], ids=["version 2", "version 1"])
def test_a_csv_export_says_what_the_json_says(images, read, mark: str) -> None:
    folder = images("data", "a.png", "b.png")
    rows = [
        ["a.png", 123, "{}", 2, 0, json.dumps(POLYGON), '{"kind":"dog"}'],
        ["a.png", 123, "{}", 2, 1, json.dumps(RECT), '{"kind":"cat"}'],
        ["b.png", 9, "{}", 0, 0, "{}", "{}"],
    ]
    from_csv = read_via(write_csv(folder / "via.csv", rows, mark), [folder], split="train")
    from_json = read(
        {**entry("a.png", region(POLYGON, kind="dog"), region(RECT, kind="cat")), **entry("b.png")}
    )
    assert from_csv == from_json


def test_a_csv_export_that_is_cut_off_is_refused_with_the_line(images) -> None:
    folder = images("data", "a.png")
    path = write_csv(folder / "via.csv", [["a.png", 1, "{}", 1, 0, json.dumps(RECT), "{}"]] * 2)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(InputError, match=r"cut off or damaged.*line 3"):
        read_via(path, [folder], split="train", classes=["balloon"])


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_csv_that_a_spreadsheet_saved_with_other_separators_is_refused(images, separator: str) -> None:
    folder = images("data", "a.png")
    path = write_csv(folder / "via.csv", [["a.png", 1, "{}", 1, 0, json.dumps(RECT), "{}"]])
    rows = list(csv.reader(path.read_text().splitlines()))
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    with pytest.raises(InputError, match="no commas between its columns"):
        read_via(path, [folder], split="train", classes=["balloon"])


def test_a_byte_order_mark_windows_line_ends_and_quotes_are_no_part_of_a_csv_export(images) -> None:
    folder = images("data", "a.png")
    path = write_csv(
        folder / "via.csv", [["a.png", 1, "{}", 1, 0, json.dumps(RECT), '{"kind":"5\\" disc, big"}']]
    )
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert b"\r\n" in path.read_bytes()
    split = read_via(path, [folder], split="train")
    assert split.classes == ('5" disc, big',)
    assert [image.file_name for image in split.images] == ["a.png"]


def test_an_outline_longer_than_csv_fields_usually_are_is_read(images) -> None:
    folder = images("data", "a.png")
    angles = [i * math.pi / 20_000 for i in range(40_000)]
    shape = polygon(*((50 + 30 * math.cos(a), 40 + 30 * math.sin(a)) for a in angles))
    path = write_csv(folder / "via.csv", [["a.png", 1, "{}", 1, 0, json.dumps(shape), "{}"]])
    split = read_via(path, [folder], split="train", classes=["balloon"])
    assert split.images[0].instances[0].area == pytest.approx(math.pi * 900, rel=1e-4)


# --- writing ---


def test_written_regions_have_the_form_that_via_imports(tmp_path: Path) -> None:
    image = ImageRecord(tmp_path / "a.png", "a.png", 100, 80, (Instance((5, 6, 25, 16.5), 0, area=210),))
    split = Split("train", ("balloon",), (1,), (image,))
    assert write_via(split, tmp_path / "two.json") == {}
    expected = region({"name": "rect", "x": 5, "y": 6, "width": 20, "height": 10.5}, **{"class": "balloon"})
    (written,) = json.loads((tmp_path / "two.json").read_text()).values()
    assert written == {"filename": "a.png", "size": -1, "regions": [expected], "file_attributes": {}}
    write_via(split, tmp_path / "one.json", version=1)
    (written,) = json.loads((tmp_path / "one.json").read_text()).values()
    assert written["regions"] == {"0": expected}


def test_what_via_cannot_hold_is_simplified_and_counted(tmp_path: Path) -> None:
    halves = tuple(np.array([[x, 0], [x + 5, 0], [x + 5, 5]], float) for x in (0, 20))
    instances = (
        Instance((0, 0, 25, 5), 0, halves, area=25),
        Instance((0, 0, 25, 5), 0, rle={"size": [80, 100], "counts": "x"}),
        Instance((0, 0, 25, 5), 0, crowd=True),
        Instance((0, 0, 25, 6), 0, difficult=True),
    )
    split = Split("train", ("a",), (1,), (ImageRecord(tmp_path / "a.png", "a.png", 100, 80, instances),))
    lost = write_via(split, tmp_path / "via.json")
    assert sorted(lost.items()) == [
        ("crowd regions left out", 1),
        ("difficult marks", 1),
        ("objects of several outlines or a mask written as a rect", 2),
    ]
    (written,) = json.loads((tmp_path / "via.json").read_text()).values()
    assert [r["shape_attributes"]["name"] for r in written["regions"]] == ["rect"] * 3
