"""The page is read back with an HTML parser of the standard library, its pictures with OpenCV."""

import base64
import json
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from aerostat.cli.commands import COMMANDS
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Instance, Problem, Split
from aerostat.datasets.summary import data_card
from aerostat.errors import InputError
from aerostat.lint.listing import LintReport, finding
from aerostat.reporting import (
    Card,
    Chapter,
    Figure,
    Fold,
    Table,
    data_chapter,
    report,
    run_chapters,
    write_report,
)
from aerostat.runs.directory import Run
from aerostat.training.recipe import Recipe
from aerostat.weights.training_state import save_state

VOID = {"meta", "link", "img", "br", "path", "rect"}


class Page(HTMLParser):
    """Elements as (tag, attributes), and the text of the page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(path.read_text("utf-8"))
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag  # every element is closed where it was opened

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def pictures(self) -> list[tuple[str, np.ndarray, dict[str, str | None]]]:
        """Media type, pixels and attributes of each picture."""
        found = []
        for attributes in self.all("img"):
            head, _, content = attributes["src"].partition(";base64,")
            pixels = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
            found.append((head, pixels, attributes))
        return found


def photograph(height: int = 40, width: int = 60) -> np.ndarray:
    """A ramp from red to blue."""
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    row = np.stack([ramp, np.full(width, 90, np.uint8), ramp[::-1]], axis=-1)
    return np.tile(row, (height, 1, 1))


def encoded(suffix: str, image: np.ndarray) -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def written(tmp_path: Path, *chapters: Chapter, **heads: str) -> Page:
    return Page(write_report(tmp_path / "page.html", **{"title": "A title", **heads}, chapters=chapters))


# ------------------------------------------------------------------------------------------------ the page


def test_a_page_without_chapters_has_its_title(tmp_path):
    page = written(tmp_path, title="Nothing yet", subtitle="so far")
    assert page.open == []
    assert "Nothing yet" in page.text and "so far" in page.text
    assert not page.all("section")


def test_everything_of_a_chapter_is_on_the_page_and_well_formed(tmp_path):
    page = written(
        tmp_path,
        Chapter(
            "Evaluation",
            cards=[Card("AP", "0.571", "of the best epoch")],
            paragraphs=["First paragraph.", "Second one."],
            commands=["aerostat eval run data", "aerostat predict run x.jpg"],
            tables=[Table(("class", "AP"), [("cat", "0.5"), ("dog", "–")], "By class")],
            text_blocks=[" Average Precision  (AP) @[ IoU=0.50:0.95 ] = 0.571"],
            figures=[Figure(photograph(), "A ramp", "colours from red to blue")],
            folds=[Fold("More", "x = 1\ny = 2")],
        ),
    )
    assert page.open == []
    for text in (
        "Evaluation",
        "0.571",
        "of the best epoch",
        "First paragraph.",
        "Second one.",
        "By class",
        "dog",
        "aerostat eval run data",
        " Average Precision  (AP) @[ IoU=0.50:0.95 ] = 0.571",
        "A ramp",
        "More",
        "x = 1\ny = 2",
    ):
        assert text in page.text
    assert [picture["alt"] for picture in page.all("img")] == ["colours from red to blue"]


def test_no_text_of_any_kind_becomes_markup(tmp_path):
    evil = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>&amp;{{ 7*7 }}"
    page = written(
        tmp_path,
        Chapter(
            evil,
            [evil],
            [Figure(photograph(), evil, evil)],
            [Table([evil], [[evil]], evil)],
            [evil],
            [evil],
            [Card(evil, evil, evil)],
            [Fold(evil, evil)],
        ),
        title=evil,
        subtitle=evil,
    )
    assert page.open == []
    assert not page.all("script")
    assert len(page.all("img")) == 1
    assert page.all("img")[0]["alt"] == evil
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.text.count(evil) >= 14


def test_nothing_is_fetched_and_nothing_may_run(tmp_path):
    page = written(tmp_path, Chapter("One", figures=[Figure(photograph(), "", "a ramp")]))
    links = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "data", "action", "poster")
    ]
    assert links and all(link.startswith(("data:", "#")) for link in links)
    assert "@import" not in (tmp_path / "page.html").read_text("utf-8")
    policy = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_contents_lead_to_every_chapter_even_where_titles_are_alike_or_in_another_script(tmp_path):
    titles = ["Data", "Data", "data 2", "评估", "!!!", "Data"]
    page = written(tmp_path, *(Chapter(title) for title in titles))
    anchors = [section["id"] for section in page.all("section")]
    assert len(set(anchors)) == len(titles)
    assert [link["href"] for link in page.all("a")] == [f"#{anchor}" for anchor in anchors]


def test_columns_of_numbers_are_flush_right_and_others_not(tmp_path):
    rows = [("a", "1", "0.571", "3 MB", "1.2.x"), ("b", "-2", "–", "14.5 MB", "7")]
    page = written(tmp_path, Chapter("T", tables=[Table(("name", "n", "AP", "size", "version"), rows)]))
    kinds = [cell["class"] for cell in page.all("th") if cell.get("scope") == "col"]
    assert [kind == "number" for kind in kinds] == [False, True, True, True, False]


def test_a_table_whose_rows_do_not_fit_its_header_is_refused():
    with pytest.raises(ValueError, match="1 cells under 2 titles"):
        Table(("a", "b"), [("1",)])


def test_figures_keep_their_order_whatever_their_width(tmp_path):
    image = np.zeros((8, 8, 3), np.uint8)
    figures = [Figure(image, name, name, wide) for name, wide in (("a", False), ("b", True), ("c", False))]
    page = written(tmp_path, Chapter("P", figures=figures))
    shown = [attributes for _, _, attributes in page.pictures()]
    assert [attributes["alt"] for attributes in shown] == ["a", "b", "c"]
    assert [attributes.get("class") for attributes in page.all("figure")] == [None, "wide", None]


@pytest.mark.parametrize(("wide", "side"), [(True, 1600), (False, 1000)])
def test_a_photograph_is_scaled_to_its_place_and_keeps_its_proportions_and_colours(tmp_path, wide, side):
    content = encoded(".jpg", photograph(800, 3200))
    page = written(tmp_path, Chapter("P", figures=[Figure(content, "wide", "a ramp", wide)]))
    ((kind, pixels, attributes),) = page.pictures()
    assert kind == "data:image/jpeg"
    assert pixels.shape == (side // 4, side, 3)
    assert (attributes["width"], attributes["height"]) == (str(side), str(side // 4))
    assert (
        np.abs(pixels[side // 8, 10].astype(int) - (0, 90, 255)).max() < 12
    )  # blue, green, red at the left end


@pytest.mark.parametrize("shape", [(1, 1, 3), (30, 50), (1, 20000, 3)])
def test_pixels_of_any_shape_become_a_picture(tmp_path, shape):
    page = written(tmp_path, Chapter("P", figures=[Figure(np.full(shape, 128, np.uint8), "", "grey")]))
    ((kind, pixels, _),) = page.pictures()
    assert kind == "data:image/jpeg"
    assert max(pixels.shape[:2]) == min(max(shape[:2]), 1000)
    assert np.abs(pixels.astype(int) - 128).max() <= 2


def test_a_plot_is_kept_to_the_byte(tmp_path):
    content = encoded(".png", photograph(50, 2000))
    path = tmp_path / "plot.png"
    path.write_bytes(content)
    page = written(tmp_path, Chapter("P", figures=[Figure(path, "plot", "a plot")]))
    assert page.all("img")[0]["src"] == "data:image/png;base64," + base64.b64encode(content).decode()


def test_a_huge_png_is_embedded_as_a_photograph(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    content = encoded(".png", noise)
    page = written(tmp_path, Chapter("P", figures=[Figure(content, "noise", "noise")]))
    assert page.pictures()[0][0] == "data:image/jpeg"


def test_what_a_camera_wrote_into_a_photograph_does_not_reach_the_page(tmp_path):
    content = encoded(".jpg", photograph())
    secret = b"GPS 52.52 N 13.40 E"
    content = content[:2] + b"\xff\xfe" + (len(secret) + 2).to_bytes(2, "big") + secret + content[2:]
    assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is not None
    page = written(tmp_path, Chapter("P", figures=[Figure(content, "", "a ramp")]))
    assert secret not in base64.b64decode(page.all("img")[0]["src"].partition(";base64,")[2])


def test_a_page_of_too_many_photographs_makes_them_all_smaller_until_it_fits(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (900, 1600, 3), np.uint8)  # hardest to compress
    figures = [Figure(noise, f"photograph {i}", "noise") for i in range(3)]
    path = write_report(tmp_path / "page.html", title="t", chapters=[Chapter("P", figures=figures)])
    whole = path.stat().st_size
    monkeypatch.setattr("aerostat.reporting.page.MAX_BYTES", whole // 2)
    page = written(tmp_path, Chapter("P", figures=figures))
    widths = {int(image["width"]) for image in page.all("img")}
    assert (tmp_path / "page.html").stat().st_size <= whole // 2
    assert len(page.all("img")) == 3 and len(widths) == 1 and 200 < widths.pop() < 1000


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"no picture",
        encoded(".png", photograph())[:60],
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        Path("missing.png"),
        Path("tests"),
    ],
    ids=["empty", "text", "cut off", "no pixels", "four channels", "float", "missing", "folder"],
)
def test_a_picture_that_is_none_is_refused_and_the_page_before_stays(tmp_path, image):
    path = tmp_path / "page.html"
    path.write_text("the page before")
    with pytest.raises(InputError) as error:
        write_report(path, title="t", chapters=[Chapter("P", figures=[Figure(image, "the caption", "alt")])])
    assert str(error.value).count("\n") == 0
    assert path.read_text() == "the page before"
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_a_file_name_that_is_no_utf8_does_not_break_the_page(tmp_path):
    page = written(tmp_path, Chapter("P", ["photo\udcff.jpg"]))
    assert "photo?.jpg" in page.text


# ------------------------------------------------------------------------------------------------ a run


FIGURES = {
    "ap": 0.571,
    "ap50": 0.712,
    "ap75": 0.616,
    "ap_small": None,
    "ap_medium": 0.116,
    "ap_large": 0.845,
    "ar1": 0.212,
    "ar10": 0.608,
    "ar100": 0.64,
    "ar_small": None,
    "ar_medium": 0.312,
    "ar_large": 0.89,
    "images": 13,
    "instances": 50,
    "detections": 3900,
    "left_out": 0,
    "max_dets": [1, 10, 100],
}


def train_line(epoch: int, loss: float) -> dict:
    return {
        "kind": "train",
        "epoch": epoch,
        "batch": 1,
        "iteration": epoch,
        "loss": loss,
        "loss_cls": loss / 2,
        "loss_bbox": loss / 2,
        "lr": 0.001,
        "images_per_second": 30.0,
        "memory_mb": 1554.2,
    }


def val_line(epoch: int, **figures) -> dict:
    return {"kind": "val", "epoch": epoch, **FIGURES, "per_class": {"cat": 0.5, "dog": 0.642}, **figures}


def make_run(folder: Path, lines: list[dict], *, epochs: int = 3, environment: dict | None = None) -> Run:
    run = Run(folder)
    run.create()
    Recipe().override(
        {"model": {"size": "nano"}, "schedule": {"epochs": epochs}, "optim": {"lr": 0.001}}
    ).write(run.recipe)
    for line in lines:
        run.log(line)
    known = {
        "python": "3.11.7",
        "platform": "Linux",
        "packages": {"torch": "2.13.0", "gone": None},
        "gpus": [],
        "processors": 2,
        "command": ["/usr/bin/aerostat", "train", "my data"],
        "data": {"path": "/data/my pets", "classes": ["cat", "dog"]},
    }
    run.environment.write_text(json.dumps({**known, **(environment or {})}))
    return run


def add_checkpoint(run: Run, epoch: int, seconds: float, *, stopped_early: bool = False) -> None:
    position = {
        "epoch": epoch,
        "batch": 0,
        "best_ap": 0.5,
        "best_epoch": 2,
        "stale": 1,
        "seconds": seconds,
        "stopped_early": stopped_early,
    }
    state = {"net": {"w": torch.zeros(2)}, "position": position, "classes": ["cat", "dog"]}
    save_state(run.checkpoint, state)


@pytest.fixture
def finished(tmp_path) -> Run:
    lines = [train_line(1, 2.5), val_line(1, ap=0.2), train_line(2, 1.5), val_line(2), train_line(3, 1.0)]
    run = make_run(tmp_path / "pets", [*lines, val_line(3, ap=0.5, ap50=0.7)])
    add_checkpoint(run, 3, 430.0)
    run.best.write_bytes(b"x" * 200_000)
    run.last.write_bytes(b"x")
    for name in ("lr", "loss", "ap", "extra"):
        (run.plots).mkdir(exist_ok=True)
        (run.plots / f"{name}.png").write_bytes(encoded(".png", photograph()))
    run.predictions.mkdir()
    for name in ("b", "a"):
        (run.predictions / f"{name}.jpg").write_bytes(encoded(".jpg", photograph()))
    return run


def chapter(chapters: list[Chapter], title: str) -> Chapter:
    (found,) = [c for c in chapters if c.title == title]
    return found


def test_a_finished_run_has_all_its_chapters_in_order(finished):
    titles = [c.title for c in run_chapters(finished)]
    assert titles == ["Summary", "Data", "Curves", "Evaluation", "Predictions", "Recipe", "Environment"]


def test_the_summary_shows_the_numbers_of_the_best_epoch_not_of_the_last(finished):
    summary = chapter(run_chapters(finished, commands=COMMANDS), "Summary")
    cards = {card.name: card.value for card in summary.cards}
    assert cards == {
        "AP": "0.571",
        "AP50": "0.712",
        "Best epoch": "2",
        "Images": "13",
        "Time": "7.2 min",
    }
    assert "3 of 3 epochs" in summary.paragraphs[0] and "best.safetensors" in summary.paragraphs[0]
    assert summary.commands == [
        f"aerostat eval {finished.path} '/data/my pets'",
        f"aerostat predict {finished.path} PHOTOGRAPH.jpg",
        f"aerostat explain {finished.path} PHOTOGRAPH.jpg",
    ]
    assert ("best.safetensors", "0.2 MB") in [row[:2] for row in summary.tables[0].rows]


def test_the_evaluation_shows_best_and_last_epoch_and_cocos_twelve_lines(finished):
    evaluation = chapter(run_chapters(finished), "Evaluation")
    precision, recall, by_class = evaluation.tables
    assert precision.rows == [
        ("best, epoch 2", "0.571", "0.712", "0.616", "–", "0.116", "0.845"),
        ("last, epoch 3", "0.500", "0.700", "0.616", "–", "0.116", "0.845"),
    ]
    assert recall.rows[0] == ("best, epoch 2", "0.212", "0.608", "0.640", "–", "0.312", "0.890")
    assert by_class.rows == [("cat", "0.500", "0.500"), ("dog", "0.642", "0.642")]
    lines = evaluation.folds[0].text.splitlines()
    assert len(lines) == 12
    assert lines[0] == " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.571"
    assert lines[3] == " Average Precision  (AP) @[ IoU=0.50:0.95 | area= small | maxDets=100 ] = -1.000"
    assert lines[6] == " Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=  1 ] = 0.212"


def test_a_run_with_masks_shows_their_figures_and_their_best_epoch(tmp_path):
    of_masks = {f"mask_{key}": 0.25 for key in FIGURES if key.startswith(("ap", "ar"))}
    last = {**of_masks, "mask_ap": 0.4, "mask_ar1": None}
    run = make_run(
        tmp_path / "masks", [train_line(1, 2.0), val_line(1, **of_masks), val_line(2, ap=0.3, **last)]
    )
    chapters = run_chapters(run)
    cards = {card.name: card.value for card in chapter(chapters, "Summary").cards}
    assert (cards["Mask AP"], cards["AP"], cards["Best epoch"]) == ("0.400", "0.300", "2")
    evaluation = chapter(chapters, "Evaluation")
    assert [table.caption for table in evaluation.tables[:4]] == [
        *("Average precision", "Average recall", "Average precision of masks", "Average recall of masks")
    ]
    assert evaluation.tables[0].rows[0][:3] == ("epoch 2, best and last", "0.300", "0.712")
    assert evaluation.tables[2].rows[0][:3] == ("epoch 2, best and last", "0.400", "0.250")
    assert evaluation.tables[3].rows[0][:3] == ("epoch 2, best and last", "–", "0.250")
    assert "The best epoch has the highest AP of masks." in evaluation.paragraphs[0]
    titles = [fold.title for fold in evaluation.folds]
    assert titles[:2] == ["Epoch 2 in COCO's own lines", "Epoch 2 in COCO's own lines, masks"]
    assert evaluation.folds[1].text.splitlines()[0].endswith("| maxDets=100 ] = 0.400")
    assert evaluation.folds[2].text.splitlines()[0].split()[-2:] == ["mask", "AP"]


def test_figures_of_a_run_without_masks_have_no_word_about_them(finished):
    chapters = run_chapters(finished)
    shown = [chapter(chapters, "Summary").cards, chapter(chapters, "Evaluation")]
    assert "mask" not in str(shown).lower()


def test_the_recipe_shows_what_differs_and_folds_the_whole(finished):
    recipe = chapter(run_chapters(finished), "Recipe")
    assert recipe.tables[0].rows == [
        ("model.size", "nano", "tiny"),
        ("optim.lr", "0.001", "0.004"),
        ("schedule.epochs", "3", "300"),
    ]
    assert 'size = "nano"' in recipe.folds[0].text and "ema_gamma" in recipe.folds[0].text


def test_curves_and_predictions_come_in_a_stable_order(finished):
    chapters = run_chapters(finished)
    curves = [figure.caption.split(" ")[0] for figure in chapter(chapters, "Curves").figures]
    assert curves == ["AP", "Training", "Learning", "extra"]
    assert [f.alt for f in chapter(chapters, "Predictions").figures] == ["Detections on a", "Detections on b"]


def test_data_and_environment_are_told_as_recorded(finished):
    chapters = run_chapters(finished)
    assert chapter(chapters, "Data").tables[0].rows == [
        ("read from", "/data/my pets"),
        ("2 classes", "cat, dog"),
        ("images for validation", "13"),
        ("objects on them", "50"),
    ]
    environment = chapter(chapters, "Environment")
    assert environment.commands == ["aerostat train 'my data'"]
    rows = dict(environment.tables[0].rows)
    assert rows["torch"] == "2.13.0" and rows["GPU"] == "none" and rows["peak memory"] == "1554 MB"
    assert rows["gone"] == "–"


def test_the_page_of_a_run_stands_in_its_directory_and_can_be_rebuilt(finished):
    path = report(finished)
    assert path == finished.path / "report.html"
    first = path.read_bytes()
    assert report(finished.path) == path  # a folder is taken too
    assert path.read_bytes() == first
    page = Page(path)
    assert "pets" in page.text and "RTMDet-nano at 640 px for cat, dog" in page.text
    assert len(page.pictures()) == 6


def test_a_picture_that_cannot_be_read_is_named_and_the_others_are_shown(finished):
    (finished.predictions / "a.jpg").write_bytes(b"broken")
    predictions = chapter(run_chapters(finished), "Predictions")
    assert len(predictions.figures) == 1
    assert "a.jpg cannot be read and is left out." in predictions.paragraphs


def test_of_many_predictions_sixteen_are_shown_and_the_others_counted(finished):
    for i in range(20):
        (finished.predictions / f"c{i}.jpg").write_bytes(encoded(".jpg", photograph()))
    predictions = chapter(run_chapters(finished), "Predictions")
    assert len(predictions.figures) == 16
    assert predictions.paragraphs[-1] == f"6 more are in {finished.predictions}."


def test_of_many_classes_the_lowest_hundred_are_shown(tmp_path):
    per_class = {f"class {i}": (None if i == 7 else 1 - i / 1203) for i in range(1203)}
    run = make_run(tmp_path / "lvis", [val_line(3, per_class=per_class)])
    by_class = chapter(run_chapters(run), "Evaluation").tables[2]
    assert by_class.caption == "AP by class: the lowest 100 of 1203"
    assert [row[0] for row in by_class.rows[:2]] == ["class 1202", "class 1201"]
    assert len(by_class.rows) == 100


def test_a_run_that_never_finished_an_epoch_has_a_page(tmp_path):
    run = Run(tmp_path / "new")
    run.create()
    Recipe().write(run.recipe)
    chapters = run_chapters(run)
    assert [c.title for c in chapters] == ["Summary", "Recipe"]
    assert chapters[0].paragraphs == ["The first of 300 epochs, from fresh weights, is not finished yet."]
    assert chapters[0].commands == []
    assert Page(report(run)).open == []


def test_an_unfinished_run_says_so_and_how_to_go_on(tmp_path):
    run = make_run(tmp_path / "pets", [train_line(1, 2.0), val_line(1), train_line(2, 1.0)], epochs=9)
    add_checkpoint(run, 1, 59.0)
    with run.metrics.open("a") as file:
        file.write('{"kind": "train", "epo')
    summary = chapter(run_chapters(run, commands=COMMANDS), "Summary")
    assert "1 of 9 epochs" in summary.paragraphs[0] and "the run has not finished" in summary.paragraphs[0]
    assert summary.commands == [f"aerostat train --resume {run.path}"]
    assert {c.name: c.value for c in summary.cards}["Time"] == "59 s"


def test_what_training_noticed_is_told_by_epoch_and_of_very_much_the_first(tmp_path):
    lines = [
        {"kind": "warning", "epoch": 2, "batch": 1, "text": "the loss jumped on <b>.jpg"},
        {"kind": "resume", "epoch": 3, "batch": 1, "differences": ["torch: 2.4 before, 2.5 now"]},
        {"kind": "resume", "epoch": 3, "batch": 2, "differences": []},
        {"kind": "end", "epoch": 3, "seconds": 1.0},
    ]
    summary = chapter(run_chapters(make_run(tmp_path / "few", lines)), "Summary")
    (table,) = (table for table in summary.tables if table.caption == "Warnings")
    assert list(table.rows) == [
        ("2", "the loss jumped on <b>.jpg"),
        ("3", "resumed; differs from before: torch: 2.4 before, 2.5 now"),
    ]
    summary = chapter(run_chapters(make_run(tmp_path / "many", lines[:1] * 50)), "Summary")
    (table,) = (table for table in summary.tables if table.caption.startswith("Warnings"))
    assert len(table.rows) == 20 and table.caption.endswith(": the first 20 of 50")
    summary = chapter(run_chapters(make_run(tmp_path / "none", [])), "Summary")
    assert all(not table.caption.startswith("What training") for table in summary.tables)


def test_a_run_that_stopped_early_is_finished(tmp_path):
    run = make_run(tmp_path / "pets", [val_line(1), val_line(2, ap=0.1)], epochs=9)
    add_checkpoint(run, 2, 5400.0, stopped_early=True)
    run.best.write_bytes(b"x")
    summary = chapter(run_chapters(run), "Summary")
    assert "it stopped early because AP had not risen" in summary.paragraphs[0]
    assert not any("--resume" in command for command in summary.commands)
    assert {c.name: c.value for c in summary.cards}["Time"] == "1.5 h"


def test_a_run_without_validation_shows_its_loss_instead_of_ap(tmp_path):
    run = make_run(tmp_path / "pets", [train_line(1, 9.0), train_line(2, 2.0), train_line(2, 1.0)], epochs=2)
    add_checkpoint(run, 2, 10.0)
    run.last.write_bytes(b"x")
    chapters = run_chapters(run)
    assert "Evaluation" not in [c.title for c in chapters]
    cards = {card.name: card.value for card in chapters[0].cards}
    assert cards["Loss"] == "1.500" and "AP" not in cards
    assert "Nothing was validated" in chapters[0].paragraphs[0]


def test_losses_and_aps_that_are_no_numbers_are_passed_over(tmp_path):
    lines = [train_line(1, float("nan")), val_line(1, ap=None), val_line(2, ap=float("nan")), val_line(3)]
    run = make_run(tmp_path / "pets", lines)
    with run.metrics.open("a") as file:
        file.write('3\n[]\n{"kind": "val"}\n')
    chapters = run_chapters(run)
    assert {card.name: card.value for card in chapters[0].cards}["Best epoch"] == "3"


def test_a_data_card_that_was_recorded_is_shown(tmp_path):
    box = Instance((0.0, 0.0, 20.0, 20.0), 1, area=400.0)
    record = ImageRecord(Path("x.jpg"), "x.jpg", 640, 480, (box,))
    problem = Problem("train", "<b>.jpg", "clipped", "region 2 was cut")
    train = Split("train", ("cat", "dog"), (1, 2), (record, record), (problem,))
    card = data_card(Dataset(("cat", "dog"), {"train": train}))
    run = make_run(tmp_path / "pets", [val_line(3)], environment={"data_card": card.to_dict()})
    chapters = run_chapters(run)
    data = chapter(chapters, "Data")
    sizes, classes, problems = data.tables
    assert sizes.rows == [("train", "2", "0", "2", "2", "0", "0", "0", "640–640 × 480–480")]
    assert classes.rows == [("cat", "0"), ("dog", "2")]
    assert problems.rows[0][:3] == ("clipped", "train", "1")
    assert [(c.value, c.note) for c in chapters[0].cards if c.name == "Images"] == [("2", "2 train")]
    assert data_chapter(card, source="Drawn.").paragraphs[0] == "Drawn."


def test_the_data_chapter_counts_outlines_and_cards_of_earlier_versions_have_none(tmp_path):
    outline = (np.asarray([(0.0, 0.0), (5.0, 0.0), (5.0, 10.0)]),)
    objects = (Instance((0, 0, 20, 20), 0, outline), Instance((0, 0, 20, 20), 0))
    train = Split("train", ("cat",), (1,), (ImageRecord(Path("x.jpg"), "x.jpg", 640, 480, objects),))
    card = data_card(Dataset(("cat",), {"train": train}))
    (text,) = data_chapter(card).paragraphs
    assert text.endswith("train: 1 object with outlines, 1 with a box only, left out of the mask loss.")
    old = card.to_dict()
    for name in ("outlined", "run_lengths", "box_only"):
        del old["splits"][0][name]
    run = make_run(tmp_path / "pets", [val_line(3)], environment={"data_card": old})
    assert "outline" not in " ".join(chapter(run_chapters(run), "Data").paragraphs)


def test_what_lint_found_is_a_row_for_each_kind(tmp_path):
    train = Split("train", ("cat",), (1,), (ImageRecord(Path("x.jpg"), "x.jpg", 640, 480),))
    card = data_card(Dataset(("cat",), {"train": train})).to_dict()
    found = [finding("box-outside", "train", name, "region 2 lies outside") for name in ("<i>.jpg", "b.jpg")]
    found.append(finding("image-misnamed", "train", "c.jpg", "is a PNG"))
    lint = LintReport(tuple(found), 1, 1, 1).to_dict(most=1)
    run = make_run(tmp_path / "pets", [], environment={"data_card": card, "lint": lint})
    table = chapter(run_chapters(run), "Data").tables[-1]
    assert [row[:3] for row in table.rows] == [
        ("error", "box-outside", "2"),
        ("warning", "image-misnamed", "1"),
    ]
    assert table.rows[0][4] == "<i>.jpg: region 2 lies outside"
    for nonsense in ({}, {"findings": 3}, {"findings": [3], "codes": []}, "x"):
        known = {"data_card": card, "lint": nonsense}
        odd = make_run(tmp_path / f"odd{len(str(nonsense))}", [], environment=known)
        assert chapter(run_chapters(odd), "Data") is not None


@pytest.mark.parametrize("what", ["missing", "empty", "file", "other"])
def test_a_folder_that_is_no_run_is_refused_and_nothing_is_written(tmp_path, what):
    path = tmp_path / "place"
    if what in ("empty", "other"):
        path.mkdir()
    if what == "other":
        (path / "photo.jpg").write_bytes(b"x")
    if what == "file":
        path.write_text("x")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="is not a run"):
        report(path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("recipe.toml", b"[model"),
        ("recipe.toml", b"[model]\nsise = 1"),
        ("environment.json", b"{"),
        ("environment.json", b"\xff\xfe"),
        ("environment.json", b'{"data_card": {"classes": 1}}'),
        ("metrics.jsonl", b"\xff\xfe\x00"),
        ("last.ckpt", b"cut"),
    ],
)
def test_a_broken_file_of_a_run_is_named_in_one_sentence(finished, name, content):
    (finished.path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        report(finished)
    assert name in str(error.value) and "\n" not in str(error.value)
    assert not (finished.path / "report.html").exists()
