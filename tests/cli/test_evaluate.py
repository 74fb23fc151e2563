"""The verb `eval`."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from aerostat.datasets.records import ImageRecord
from aerostat.results.detections import Detections


class Seer:
    """A detector that sees the annotations themselves, so that every AP is 1."""

    def __init__(self, *classes: str) -> None:
        self.classes = classes
        self.names: tuple[str, ...] = ()

    def predict_images(
        self, records: Sequence[ImageRecord], **_: Any
    ) -> Iterator[tuple[ImageRecord, Detections]]:
        for record in records:
            labels = [self.classes.index(self.names[label]) for label in record.labels()]
            boxes = record.boxes_xyxy()
            yield record, Detections(boxes, np.full(len(boxes), 0.9), np.asarray(labels, int), self.classes)


@pytest.fixture
def seer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Seer]:
    """Put a detector that sees everything in the place of whatever is loaded."""

    def put(*classes: str) -> Seer:
        from aerostat.evaluation import evaluate

        detector = Seer(*classes)
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
