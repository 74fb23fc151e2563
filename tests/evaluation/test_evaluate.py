"""A detector over a split: what is asked of it, and the figures by hand."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import AerostatError, InputError
from aerostat.evaluation.evaluate import detect, evaluate, validation_slices
from aerostat.geometry.masks import Masks
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.inference.slices import TrainedOn
from aerostat.model import build
from aerostat.results.detections import Detections

FIRST_HALF = 51 / 101
"""AP of a perfect detector that finds one object of two: 51 of the 101 recalls have a precision of 1."""


@dataclass
class Told:
    """Stands for a detector: finds what it is told to on each image, and remembers what it was asked."""

    answers: list[Detections]
    classes: tuple[str, ...]
    asked: dict[str, Any] = field(default_factory=dict)

    def predict_images(self, images: Any, **asked: Any) -> Iterator[tuple[ImageRecord, Detections]]:
        self.asked = asked
        yield from zip(images, self.answers, strict=True)


def split_of(*boxes: tuple[float, float, float, float], classes: tuple[str, ...] = ("disc",)) -> Split:
    """Return a split with one object of the first class on each image."""
    images = tuple(
        ImageRecord(Path(f"{i}.png"), f"{i}.png", 100, 100, (Instance(box, 0, area=400.0),), id=i + 1)
        for i, box in enumerate(boxes)
    )
    return Split("val", classes, tuple(range(1, len(classes) + 1)), images)


def found(*boxes: tuple[float, float, float, float], classes=("disc",), label: int = 0) -> Detections:
    scores = [0.9 - 0.1 * i for i in range(len(boxes))]
    return Detections(np.reshape(boxes, (-1, 4)), scores, [label] * len(boxes), classes)


A, B = (10.0, 10.0, 30.0, 30.0), (50.0, 50.0, 70.0, 70.0)


@pytest.mark.parametrize(
    ("answers", "ap"),
    [
        ([found(A), found(B)], 1.0),
        ([found(A), found()], FIRST_HALF),
        ([found(), found()], 0.0),
        ([found(B), found(A)], 0.0),  # on the wrong images
    ],
)
def test_figures_by_hand(answers, ap):
    result = evaluate(Told(answers, ("disc",)), split_of(A, B), progress=False)
    assert result.ap == pytest.approx(ap, abs=1e-9)
    assert (result.images, result.instances) == (2, 2)
    assert result.detections == sum(map(len, answers))


def test_classes_are_matched_by_name_and_others_left_out():
    theirs = ("person", "disc")
    answers = [found(A, classes=theirs, label=1), found(B, B, classes=theirs, label=0)]
    result = evaluate(Told(answers, theirs), split_of(A, B), progress=False)
    assert result.ap == pytest.approx(FIRST_HALF, abs=1e-9)
    assert result.left_out == 2


def test_a_detector_that_lacks_a_class_is_refused_before_it_works():
    told = Told([], ("person", "ring"))
    with pytest.raises(InputError) as caught:
        evaluate(told, split_of(A, classes=("disc", "ring")))
    message = str(caught.value)
    assert "person, ring" in message and "with disc:" in message and "'val'" in message
    assert told.asked == {}


def test_the_score_is_coco_s_and_options_reach_the_detector(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    told = Told([found(A)], ("disc",))
    evaluate(told, split_of(A), progress=False)
    told.asked.pop("on_unreadable")
    assert told.asked == {"score": 0.001, "batch_size": 4, "threads": 2}
    for processors, threads in (("5", 5), ("64", 8)):
        monkeypatch.setenv("OMP_NUM_THREADS", processors)
        evaluate(told, split_of(A), progress=False)
        assert told.asked["threads"] == threads
    detect(
        told, split_of(A), score=0.5, nms_iou=0.3, max_detections=7, tta=True, batch_size=1, threads=0,
        progress=False,
    )  # fmt: skip
    told.asked.pop("on_unreadable")
    assert told.asked == {
        "score": 0.5, "nms_iou": 0.3, "max_detections": 7, "tta": True, "batch_size": 1, "threads": 0,
    }  # fmt: skip


def test_max_dets_limits_what_counts():
    answers = [found((0, 0, 5, 5), A)]  # the right one is the second best
    split = split_of(A)
    assert evaluate(Told(answers, ("disc",)), split, max_dets=(1, 2, 3), progress=False).ar1 == 0.0
    assert evaluate(Told(answers, ("disc",)), split, max_dets=(2, 3, 4), progress=False).ar1 == 1.0


def test_an_empty_split_has_no_figures():
    result = evaluate(Told([], ("disc",)), split_of(), progress=False)
    assert (result.images, result.ap) == (0, -1.0)


def test_progress_is_shown_only_where_it_is_wanted(monkeypatch, caplog):
    from aerostat import progress

    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    caplog.set_level("INFO", "aerostat")
    evaluate(Told([found(A), found(B)], ("disc",)), split_of(A, B), progress=False)
    assert caplog.messages == []
    evaluate(Told([found(A), found(B)], ("disc",)), split_of(A, B))
    assert caplog.messages == ["evaluating val: 1 of 2", "evaluating val: 2 of 2"]


@pytest.fixture
def photographs(tmp_path: Path) -> Split:
    split = split_of(A, B, A)
    for i in range(3):
        image = np.random.default_rng(i).integers(0, 255, (100, 100, 3), np.uint8)
        assert cv2.imwrite(str(tmp_path / f"{i}.png"), image)
    images = tuple(replace(record, location=tmp_path / record.file_name) for record in split.images)
    return replace(split, images=images)


@pytest.fixture
def detector() -> Iterator[Detector]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield Detector(TorchEngine(build("nano", 1).eval()), ("disc",), (64, 64))
    torch.set_num_threads(before)


def test_every_image_of_a_split_gets_its_detections_in_order(detector, photographs):
    results = [detect(detector, photographs, batch_size=size, progress=False) for size in (1, 2, 8)]
    for found in results:
        assert [record for record, _ in found] == list(photographs.images)
        assert [d.path for _, d in found] == [record.path for record in photographs.images]
    assert {len(result) for result in results} == {3}


def test_an_image_that_cannot_be_read_is_left_out_with_a_warning(detector, photographs, caplog):
    photographs.images[1].path.write_bytes(b"no image")
    result = evaluate(detector, photographs, progress=False)
    (record,) = caplog.records
    assert record.levelname == "WARNING" and record.getMessage().startswith("val: 1.png is left out")
    assert (result.images, result.instances, result.unreadable) == (2, 2, ("1.png",))
    assert result.to_dict()["unreadable"] == ["1.png"]
    assert "1 image unreadable" in repr(result)


def test_a_caller_may_take_what_cannot_be_read_in_place_of_the_warning(detector, photographs, caplog):
    photographs.images[1].path.write_bytes(b"no image")
    told: list[str] = []
    result = evaluate(
        detector, photographs, progress=False, on_unreadable=lambda record, _: told.append(record.file_name)
    )
    assert told == ["1.png"] and caplog.records == []
    assert (result.images, result.instances, result.unreadable) == (2, 2, ("1.png",))


def test_a_split_of_which_no_image_can_be_read_is_an_error(detector, photographs):
    for record in photographs.images:
        record.path.write_bytes(b"no image")
    with pytest.raises(AerostatError, match="None of the 3 images of val can be read"):
        evaluate(detector, photographs, progress=False)


def test_a_result_is_short_in_a_console_and_whole_in_a_notebook():
    result = evaluate(Told([found(A), found()], ("disc",)), split_of(A, B), progress=False)
    assert repr(result) == f"CocoResult(AP {FIRST_HALF:.3f}, AP50 {FIRST_HALF:.3f} on 2 images)"
    assert "Average Precision" in result._repr_html_()
    assert "unreadable" not in result.to_dict()


def test_evaluating_changes_nothing_of_the_network(detector, photographs):
    before = {name: tensor.clone() for name, tensor in detector.net.state_dict().items()}
    evaluate(detector, photographs, progress=False)
    after = detector.net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not detector.net.training


# ------------------------------------------------------------------------------------------------ masks


def outline(box: tuple[float, ...]) -> np.ndarray:
    x1, y1, x2, y2 = box
    return np.asarray([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])


def masked(detections: Detections) -> Detections:
    """Return detections whose masks fill their boxes."""
    outlines = [[outline(box)] for box in detections.boxes_xyxy.tolist()]
    return replace(detections, masks=Masks.from_polygons(outlines, (100, 100)))


def outlined(split: Split, *images: int) -> Split:
    """Return a split whose objects have outlines on some images."""
    records = []
    for place, record in enumerate(split.images):
        (instance,) = record.instances
        polygons = (outline(instance.box_xyxy),) if place in images else ()
        records.append(replace(record, instances=(replace(instance, polygons=polygons),)))
    return replace(split, images=tuple(records))


ONE_WITHOUT = "val: 1 of 2 objects have no mask; in the figures of masks they are neither found nor missed."


@pytest.mark.parametrize(
    ("images", "asked", "told"),
    [
        ((0, 1), {}, []),
        ((0,), {}, [ONE_WITHOUT]),
        ((), {}, ["val: the masks are not evaluated, because no object has an outline."]),
        ((), {"masks": False}, []),
        ((0,), {"masks": False}, []),
    ],
    ids=["all have masks", "one has only a box", "none has a mask", "not asked for", "not asked for, either"],
)  # fmt: skip
def test_one_warning_tells_which_masks_are_not_evaluated(caplog, images, asked, told):
    answers = [masked(found(A)), masked(found(B))]
    result = evaluate(Told(answers, ("disc",)), outlined(split_of(A, B), *images), progress=False, **asked)
    assert caplog.messages == told
    assert (result.masks is not None) == (bool(images) and not asked)
    assert result.ap == 1
    if result.masks is not None:
        assert (result.masks.ap, result.masks.instances) == (1, len(images))


def test_a_detector_without_masks_is_not_warned_about(caplog):
    result = evaluate(Told([found(A)], ("disc",)), outlined(split_of(A), 0), progress=False)
    assert (result.masks, caplog.messages) == (None, [])


def test_masks_of_data_without_outlines_are_refused_if_they_are_asked_for():
    told = Told([masked(found(A))], ("disc",))
    with pytest.raises(InputError, match="found none among 1 object on 1 image; leave `masks` out"):
        evaluate(told, split_of(A), progress=False, masks=True)
    assert told.asked == {}  # before the detector worked


@pytest.mark.parametrize(
    ("trained_on", "slices"), [(None, "off"), (TrainedOn(12.0), "off"), (TrainedOn(200.0, 64), "auto")]
)
def test_only_networks_of_windows_are_validated_by_windows(trained_on: TrainedOn | None, slices: str) -> None:
    model = Detector(TorchEngine(build("nano", 1)), ("disc",), (64, 64), trained_on=trained_on)
    assert validation_slices(model) == slices
