"""What lint finds in a data set in which everything is wrong, in a sound one, and in none."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from aerostat.__main__ import main
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.problems import PROBLEM_KINDS, PROBLEM_TYPES, TYPE_OF_CODE
from aerostat.datasets.records import Problem, Split
from aerostat.errors import InputError
from aerostat.lint.annotations import check_problems
from aerostat.lint.lint import lint, lint_path, require_clean
from aerostat.lint.listing import LintReport, finding

from . import nasty

ANNOTATIONS = "_annotations.coco.json"
BOXES = "boxes.jpg"

EXPECTED = [
    ("error", "image-missing", "train/missing.jpg", ""),
    ("error", "image-empty", "train/empty.jpg", ""),
    ("error", "image-unreadable", "train/text.jpg", ""),
    ("error", "image-truncated", "train/truncated.jpg", ""),
    ("error", "image-truncated", "train/truncated.png", ""),
    ("error", "image-truncated", "val/truncated.jpg", ""),
    ("error", "image-boxes-other-orientation", "train/turned.jpg", ""),
    ("error", "duplicate-across-splits", "val/leaked.jpg", ""),
    ("error", "object-unreadable", f"train/{ANNOTATIONS}", "annotations[33]"),
    ("error", "image-unknown", f"train/{ANNOTATIONS}", "annotation 115"),
    ("error", "category-unknown", f"train/{BOXES}", "annotation 114"),
    ("error", "number-not-finite", f"train/{BOXES}", "annotation 109"),
    ("error", "number-not-finite", f"train/{BOXES}", "annotation 110"),
    ("error", "number-too-large", f"train/{BOXES}", "annotation 113"),
    ("error", "box-outside", f"train/{BOXES}", "annotation 102"),
    ("error", "box-empty", f"train/{BOXES}", "annotation 103"),
    ("error", "box-swapped-corners", f"train/{BOXES}", "annotation 104"),
    ("warning", "image-size", "train/turned.jpg", ""),
    ("warning", "image-size", "train/size.jpg", ""),
    ("warning", "image-misnamed", "train/png.jpg", ""),
    ("warning", "image-unreferenced", "train/unreferenced.jpg", ""),
    ("warning", "duplicate-in-split", "train/copy.jpg", ""),
    ("warning", "duplicate-in-split", "train/pixels_again.png", ""),
    ("warning", "near-duplicate-across-splits", "val/nearly_leaked.jpg", ""),
    ("warning", "number-too-large", f"train/{BOXES}", "annotation 112"),
    ("warning", "number-as-text", f"train/{BOXES}", "annotation 111"),
    ("warning", "box-clipped", f"train/{BOXES}", "annotation 101"),
    ("warning", "box-duplicate", f"train/{BOXES}", "object 4"),
    ("warning", "box-duplicate", f"train/{BOXES}", "object 5"),
    ("warning", "box-covers-image", f"train/{BOXES}", "object 2"),
    ("warning", "polygon-self-crossing", f"train/{BOXES}", "annotation 116"),
    ("warning", "polygon-degenerate", f"train/{BOXES}", "annotation 117"),
    ("warning", "mask-unusable", f"train/{BOXES}", "annotation 118"),
    ("warning", "class-without-objects", "train, val/", "ring"),
    ("warning", "class-in-one-split", "train/", "disc"),
    ("note", "image-rotated", "train/turned.jpg", ""),
    ("note", "image-rotated", "train/turned_and_stated.jpg", ""),
    ("note", "near-duplicate-in-split", "train/near_again.jpg", ""),
    ("note", "category-ids-with-holes", "train/", ""),
    ("note", "category-ids-with-holes", "val/", ""),
    ("note", "category-id-too-large", "train/", "ring"),
    ("note", "category-id-too-large", "val/", "ring"),
]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nasty.write(tmp_path_factory.mktemp("nasty") / "data")


@pytest.fixture(scope="module")
def report(broken: Path) -> LintReport:
    return lint_path(broken)


def told(report: LintReport) -> list[tuple[str, str, str, str]]:
    return [(f.severity, f.code, f"{f.split}/{f.file}", f.record) for f in report.findings]


def test_everything_that_is_wrong_is_found_once_and_nothing_else(report: LintReport) -> None:
    assert sorted(told(report)) == sorted(EXPECTED)


def test_the_worst_comes_first(report: LintReport) -> None:
    severities = [f.severity for f in report.findings]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)


def test_every_finding_says_what_training_does(report: LintReport) -> None:
    assert {f.training for f in report.findings} <= {row.consequence for row in PROBLEM_TYPES}
    assert all(f.wrong and f.training for f in report.findings)


def test_what_is_wrong_names_the_other_image_and_no_path_of_this_machine(
    report: LintReport, broken: Path
) -> None:
    sentences = {f.file: f.wrong for f in report.findings}
    assert sentences["leaked.jpg"] == f"has the same bytes as train/{BOXES}"
    assert sentences["pixels_again.png"] == "has the same pixels as train/pixels.png"
    assert sentences["nearly_leaked.jpg"] == "is nearly the same as train/png.jpg"
    assert not [f for f in report.findings if str(broken) in f.wrong and f.code != "image-missing"]


def test_without_pixels_headers_and_annotations_are_still_gone_through(broken: Path) -> None:
    found = lint(Dataset.read(broken), pixels=False)
    by_pixels = ("image-truncated", "near-duplicate-across-splits", "near-duplicate-in-split")
    of_pixels = {row for row in EXPECTED if row[1] in by_pixels or row[2].endswith("pixels_again.png")}
    unseen = [("note", "not-looked-at", f"{split}/", "") for split in ("train", "val")]
    assert sorted(told(found)) == sorted([*(set(EXPECTED) - of_pixels), *unseen])
    assert found.pixels == 0 and found.headers == found.images == 17


def test_the_report_is_json_and_the_counts_are_those_of_the_findings(report: LintReport) -> None:
    document = json.loads(json.dumps(report.to_dict()))
    assert document["counts"] == {"errors": 17, "warnings": 18, "notes": 7}
    assert sum(document["codes"].values()) == len(document["findings"]) == len(EXPECTED)
    few = report.to_dict(most=1)
    assert few["counts"] == document["counts"] and len(few["findings"]) == len(report.groups())


def test_many_findings_of_a_kind_are_counted_and_the_first_named() -> None:
    many = [finding("box-clipped", "train", f"{n}.png", f"box {n} [red]") for n in range(5000)]
    report = LintReport.of(many, images=1, headers=1, pixels=1)
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(report.render("all stand in x.json"))
    text = console.export_text()
    assert "box-clipped (5000)" in text and "2.png: box 2 [red]" in text and "3.png" not in text
    assert "and 4997 more (all stand in x.json)" in text


def test_every_kind_of_problem_that_reading_meets_is_a_finding() -> None:
    problems = tuple(Problem("train", "a.png", kind, "is so") for kind in PROBLEM_KINDS)
    data = Dataset(("cat",), {"train": Split("train", ("cat",), (1,), (), problems)})
    found = check_problems(data, [])
    assert len(found) == len(PROBLEM_KINDS) and {f.code for f in found} <= set(TYPE_OF_CODE)


def test_the_document_tells_every_kind_as_it_is() -> None:
    text = (Path(__file__).parents[2] / "docs" / "lint.md").read_text("utf-8")
    rows = [row.strip("| ").split(" | ") for row in text.splitlines() if row.startswith("| `")]
    assert rows == [[f"`{t.code}`", t.severity, t.meaning, t.consequence] for t in PROBLEM_TYPES]


# --- orientation, from boxes alone ---


def test_boxes_that_fit_the_stored_pixels_alone_are_of_the_other_orientation(tmp_path: Path) -> None:
    (tmp_path / "turned.jpg").write_bytes(nasty.turned(1))  # 64 x 96 upright
    (tmp_path / "out.jpg").write_bytes(nasty.turned(2))
    rects = {"turned.jpg": (50, 10, 40, 20), "out.jpg": (50, 10, 400, 20)}  # 400 fits neither way
    document = {
        name: {
            "filename": name,
            "regions": [
                {
                    "shape_attributes": dict(
                        zip(("name", "x", "y", "width", "height"), ("rect", *box), strict=True)
                    )
                }
            ],
        }
        for name, box in rects.items()
    }
    (tmp_path / "via.json").write_text(json.dumps(document))
    report = lint_path(tmp_path, ReadOptions(["disc"]), pixels=False)
    other = [f for f in report.findings if f.code == "image-boxes-other-orientation"]
    assert [(f.file, f.record) for f in other] == [("turned.jpg", "region 0")]


# --- data that are refused ---


def write_coco(folder: Path, categories: list[dict[str, object]]) -> None:
    folder.mkdir(parents=True)
    seed = sum(map(ord, folder.name))
    (folder / "a.jpg").write_bytes(nasty.encoded(nasty.picture(seed)))
    document = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": categories[0]["id"], "bbox": [1, 1, 9, 9]}],
        "categories": categories,
    }
    (folder / "coco.json").write_text(json.dumps(document))


def test_a_split_that_is_refused_is_an_error_and_the_other_is_looked_at(tmp_path: Path) -> None:
    write_coco(tmp_path / "train", [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}])
    write_coco(tmp_path / "val", [{"id": 1, "name": "cat"}])
    (first, *_) = (report := lint_path(tmp_path)).findings
    assert (first.severity, first.code, first.file) == ("error", "annotations-refused", "coco.json")
    assert "1 category id more than once, first 1" in first.wrong
    assert report.images == 1


def test_splits_that_do_not_go_together_are_an_error_and_both_are_looked_at(tmp_path: Path) -> None:
    write_coco(tmp_path / "train", [{"id": 1, "name": "cat"}])
    write_coco(tmp_path / "val", [{"id": 1, "name": "Cat"}])
    report = lint_path(tmp_path)
    assert [f.code for f in report.findings] == ["annotations-refused"]
    assert "classes differ" in report.findings[0].wrong and report.images == 2


def test_a_repeated_category_is_counted_once(tmp_path: Path) -> None:
    write_coco(tmp_path / "train", [{"id": 1, "name": "cat"}, {"id": 1, "name": "cat"}])
    report = lint_path(tmp_path)
    assert [(f.code, f.record) for f in report.findings] == [("category-repeated", "category 1")]


def test_data_without_images_are_refused_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "via.json").write_text('{"_via_img_metadata": {}}')
    assert [f.code for f in lint_path(tmp_path, ReadOptions(["x"])).findings] == ["annotations-refused"]


def test_no_data_at_all_and_classes_that_must_be_named_are_wrong_requests(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found nothing"):
        lint_path(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no images"):
        lint_path(tmp_path)


def test_an_empty_split_has_nothing_wrong_with_it() -> None:
    data = Dataset(("cat",), {"train": Split("train", ("cat",), (1,), ())})
    assert [f.code for f in lint(data).findings] == ["class-without-objects"]


# --- strictness and the command line ---


def test_strict_refuses_warnings_and_not_notes() -> None:
    note = [finding("image-rotated", "train", "a.jpg", "is turned")]
    require_clean(LintReport.of(note, images=1, headers=1, pixels=1))
    both = [*note, finding("box-clipped", "train", "b.jpg", "region 1 reaches out")]
    report = LintReport.of(both, images=1, headers=1, pixels=1)
    assert not report.fails() and report.fails(strict=True)
    with pytest.raises(InputError, match=r"`strict`: warning box-clipped, train/b\.jpg: region 1 reaches"):
        require_clean(report)


def sound(root: Path) -> Path:
    for split in ("train", "val"):
        write_coco(root / split, [{"id": 1, "name": "cat"}])
    return root


@pytest.mark.parametrize(
    ("words", "wrong", "code"),
    [
        ((), None, 0),
        (("--strict",), None, 0),
        ((), "warning", 0),
        (("--strict",), "warning", 1),
        ((), "error", 1),
    ],
)
def test_the_exit_code_tells_whether_there_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], wrong: str | None, code: int
) -> None:
    data = sound(tmp_path / "data")
    if wrong == "warning":
        Image.new("L", (9, 9)).save(data / "train" / "nobody.png")
    elif wrong == "error":
        (data / "train" / "a.jpg").write_bytes(nasty.encoded(nasty.picture(5), quality=95)[:-500])
    assert main(["lint", str(data), *words]) == code
    first, second = capsys.readouterr().out.split("\n")[:2]
    assert first == "0 of 1 validation images have near-copies in training"
    assert second.startswith("Lint: ")


def test_near_copies_across_splits_are_counted_first(
    broken: Path, report: LintReport, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of `leaked.jpg` and `nearly_leaked.jpg`."""
    assert main(["lint", str(broken)]) == 1
    assert report.leaks is not None and report.leaks.in_training == 2
    first = capsys.readouterr().out.partition("\n")[0]
    assert first == (
        f"2 of {report.leaks.images} validation images have near-copies or the same scene in training: "
        "figures will be too good; aerostat split DATA --repair proposes moves"
    )
    assert report.to_dict()["leaks"] == {
        "split": "val", "images": report.leaks.images, "in_training": 2, "scenes": True
    }  # fmt: skip


@pytest.mark.parametrize(("options", "splits"), [({"pixels": False}, 2), ({}, 1)])
def test_near_copies_are_not_counted_without_pixels_or_without_two_splits(
    tmp_path: Path, options: dict[str, bool], splits: int
) -> None:
    data = Dataset.read(sound(tmp_path / "data"))
    some = Dataset(data.classes, dict(list(data.splits.items())[:splits]))
    report = lint(some, **options)
    assert report.leaks is None and report.to_dict()["leaks"] is None


def test_json_is_one_document_with_all_findings(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(broken), "--json", "--no-pixels"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["codes"]["image-empty"] == 1 and document["pixels"] == 0


def test_the_sound_half_of_a_data_set_stays_sound_whatever_the_threads(tmp_path: Path) -> None:
    data = Dataset.read(sound(tmp_path / "data"))
    assert told(lint(data, threads=1)) == told(lint(data, threads=4)) == []


def test_a_brief_look_stops_at_its_time_and_says_what_it_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Dataset.read(sound(tmp_path / "data"))
    monkeypatch.setattr("aerostat.lint.lint.BRIEF_SECONDS", -1.0)
    monkeypatch.setattr("aerostat.lint.lint.MAX_HEADERS", 1)
    report = lint(data, brief=True)
    assert (report.images, report.headers, report.pixels) == (2, 0, 0)
    assert [f.code for f in report.findings] == ["not-looked-at"] * 3


def test_the_balloon_photographs_have_one_scene_in_two_splits(balloon: Path) -> None:
    report = lint(Dataset.read(balloon, ["balloon"]))
    assert told(report) == [
        ("warning", "same-scene-across-splits", "val/24631331976_defa3bb61f_k.jpg", ""),
        ("warning", "polygon-self-crossing", "train/120853323_d4788431b9_b.jpg", "region 4"),
    ]
    assert report.findings[0].wrong.endswith("as train/24362039530_b151b41a52_k.jpg")
    assert np.isclose(report.pixels, 74)
