"""The verb `eval`."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO

from aerostat.datasets.records import ImageRecord
from aerostat.geometry.masks import Masks
from aerostat.results.detections import Detections


class Seer:
    """A detector that sees the annotations themselves, so that every AP is 1."""

    def __init__(self, *classes: str, masks: bool = False) -> None:
        self.classes = classes
        self.masks = masks
        self.names: tuple[str, ...] = ()

    def predict_images(
        self, records: Sequence[ImageRecord], **_: Any
    ) -> Iterator[tuple[ImageRecord, Detections]]:
        for record in records:
            labels = [self.classes.index(self.names[label]) for label in record.labels()]
            boxes = record.boxes_xyxy()
            size = record.width, record.height
            masks = Masks.from_polygons([[corners(box)] for box in boxes], size) if self.masks else None
            scores = np.full(len(boxes), 0.9)
            yield record, Detections(boxes, scores, np.asarray(labels, int), self.classes, masks=masks)


def corners(box: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the outline of a box."""
    return box[[0, 1, 2, 1, 2, 3, 0, 3]]


@pytest.fixture
def seer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Seer]:
    """Put a detector that sees everything in the place of whatever is loaded."""

    def put(*classes: str, masks: bool = False) -> Seer:
        from aerostat.evaluation import evaluate

        detector = Seer(*classes, masks=masks)
        detect = evaluate.detect

        def detect_known(_: Any, split: Any, **options: Any) -> Any:
            detector.names = split.classes
            return detect(detector, split, **options)  # type: ignore[arg-type]

        monkeypatch.setattr("aerostat.inference.resolve.load", lambda *_, **__: detector)
        monkeypatch.setattr("aerostat.evaluation.evaluate.detect", detect_known)
        return detector

    return put


def test_eval_prints_the_familiar_table(aerostat, coco, seer):
    seer("disc")
    ended = aerostat("eval", "any", coco)
    lines = ended.out.splitlines()
    assert ended.code == 0
    assert lines[0] == " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 1.000"
    assert lines[9] == " Average Recall     (AR) @[ IoU=0.50:0.95 | area= small | maxDets=100 ] = 1.000"
    assert "disc" in ended.out
    assert lines[-1] == "3 images, 3 instances, 3 detections"


def test_eval_takes_the_detectors_class_where_the_data_state_none(aerostat, via, seer):
    seer("disc")
    document = aerostat("eval", "any", via, "--json").document
    assert (document["ap"], document["instances"]) == (1.0, 3)


def test_eval_guesses_no_class_where_the_detector_knows_several(aerostat, via, seer, assert_refused):
    seer("disc", "kite")
    assert_refused(aerostat("eval", "any", via), "states no class", "--classes NAME")
    assert aerostat("eval", "any", via, "--classes", "kite", "--json").document["ap"] == 1.0


@pytest.mark.parametrize("classes", [[], ["--classes", "disc", "kite"], ["--classes", "kite", "disc"]])
def test_eval_matches_classes_by_name_and_saves_under_the_ids_of_the_data(
    aerostat, tmp_path, seer, classes, write_coco
):
    data = write_coco(tmp_path / "two", {7: "disc", 4: "kite"})
    seer("bird", "kite", "disc")  # knows more, in another order
    ended = aerostat("eval", "any", data, "--json", "--save", "found.json", *classes)
    assert ended.document["ap"] == 1.0
    truth = COCO(data / "val" / "_annotations.coco.json")
    saved = json.loads(Path("found.json").read_text())
    assert [(row["image_id"], row["category_id"]) for row in saved] == [(100, 7), (101, 4), (102, 7)]
    assert len(truth.loadRes("found.json").anns) == 3


def test_eval_of_classes_that_the_detector_does_not_know_is_refused(
    aerostat, tmp_path, seer, assert_refused, write_coco
):
    data = write_coco(tmp_path / "two", {7: "disc", 4: "kite"})
    seer("disc")
    ended = aerostat("eval", "any", data)
    assert_refused(ended, "The detector knows the classes disc", "kite")
    assert "--classes" not in ended.err, "nobody gave any"


@pytest.mark.parametrize(
    ("splits", "chosen", "note"),
    [
        (["train", "val", "test"], "val", ""),
        (["train", "valid"], "val", ""),
        (["train", "test"], "test", "there is no val split: evaluating on test"),
        (["train"], "train", "there is no val split: evaluating on train"),
    ],
)
def test_eval_says_on_which_split_where_it_is_not_val(
    aerostat, tmp_path, seer, splits, chosen, note, write_coco
):
    for size, split in enumerate(splits, start=2):
        write_coco(tmp_path / "d", {1: "disc"}, [split], count=size)
    seer("disc")
    ended = aerostat("eval", "any", tmp_path / "d", "--json")
    spelling = "valid" if chosen == "val" and "valid" in splits else chosen
    assert ended.document["images"] == 2 + splits.index(spelling)
    assert ended.err.strip() == note


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--split", "test"], ["'test'", "train, val"]),
        (["--input-size", "100"], ["multiple of 32", "100"]),
        (["--device", "abacus"], ["'abacus'", "cpu"]),
        (["--max-dets", "100", "10", "1"], ["ascending", "(100, 10, 1)"]),
        (["--max-dets", "1", "10"], ["--max-dets", "3"]),
        (["--images", "none"], ["none"]),
        (["--save", "."], ["folder", "--save"]),
        (["--save", "taken.json"], ["taken.json exists", "--force"]),
        (["--save", "taken.json/found.json"], ["taken.json is a file"]),
    ],
)
def test_an_evaluation_that_cannot_be_done_is_refused(
    aerostat, coco, weights, words, expected, assert_refused, tree
):
    Path("taken.json").write_text("precious")
    before = tree(coco.parent)
    assert_refused(aerostat("eval", weights, coco, *words), *expected)
    assert tree(coco.parent) == before


def test_a_detector_of_some_classes_is_measured_on_these(aerostat, weights, write_coco, tmp_path):
    data = write_coco(tmp_path / "two", {9: "disc", 3: "cat"})
    refused = aerostat("eval", weights, data)
    assert refused.code == 2
    ended = aerostat("eval", weights, data, "--only-classes", "disc")
    assert ended.code == 0, ended.err


def with_outlines(data: Path, count: int) -> Path:
    """Give the first objects of the validation split an outline of the upper six tenths of the box."""
    path = data / "val" / "_annotations.coco.json"
    document = json.loads(path.read_text())
    for annotation in document["annotations"][:count]:
        x, y, w, h = annotation["bbox"]
        low = y + 0.6 * h
        annotation |= {"segmentation": [[x, y, x + w, y, x + w, low, x, low]], "area": 0.6 * w * h}
    path.write_text(json.dumps(document))
    return data


def test_eval_prints_the_figures_of_boxes_and_then_those_of_masks(aerostat, coco, seer):
    seer("disc", masks=True)
    ended = aerostat("eval", "any", with_outlines(coco, 3))
    boxes, masks = ended.out.removeprefix("Boxes\n\n").split("\nMasks\n\n")
    ap50, ap75 = ([part.splitlines()[line][-5:] for part in (boxes, masks)] for line in (1, 2))
    assert (ap50, ap75) == (["1.000", "1.000"], ["1.000", "0.000"])
    assert masks.splitlines()[-1] == "3 images, 3 instances, 3 detections"
    assert (ended.code, ended.err) == (0, "")


def test_eval_gives_the_figures_of_masks_as_json(aerostat, coco, seer):
    seer("disc", masks=True)
    ended = aerostat("eval", "any", with_outlines(coco, 2), "--json")
    assert (ended.document["ap50"], ended.document["instances"]) == (1.0, 3)
    masks = ended.document["masks"]
    assert (masks["ap50"], masks["ap75"], masks["instances"], masks["without_mask"]) == (1.0, 0.0, 2, 1)
    assert masks["per_class"] == [{"name": "disc", "ap": masks["ap"], "ap50": 1.0, "instances": 2}]
    assert "1 of 3 objects have no mask" in ended.err


@pytest.mark.parametrize(("form", "kind"), [("rle", dict), ("polygons", list)])
def test_eval_saves_masks_in_the_form_that_is_asked_for(aerostat, coco, seer, form, kind):
    seer("disc", masks=True)
    ended = aerostat("eval", "any", coco, "--save", "found.json", "--mask-format", form)
    assert ended.code == 0
    assert {type(row["segmentation"]) for row in json.loads(Path("found.json").read_text())} == {kind}


def test_eval_refuses_a_form_of_masks_without_a_file(aerostat, coco, seer):
    seer("disc", masks=True)
    ended = aerostat("eval", "any", coco, "--mask-format", "polygons")
    assert ended.code == 2
    assert "--mask-format polygons is for --save" in ended.err


def test_eval_without_outlines_says_why_there_are_no_masks(aerostat, coco, seer):
    seer("disc", masks=True)
    ended = aerostat("eval", "any", coco, "--json")
    assert "masks" not in ended.document
    assert ended.err.count("\n") == 1
    assert "the masks are not evaluated, because no object has an outline" in ended.err


def test_eval_of_masks_needs_outlines(aerostat, coco, seer, assert_refused):
    seer("disc", masks=True)
    assert_refused(aerostat("eval", "any", coco, "--masks"), "found none among 3 objects", "--masks")
