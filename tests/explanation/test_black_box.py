"""How much of a detection is found again, seen from outside."""

from pathlib import Path

import numpy as np
import pytest
import torch

from aerostat.errors import InputError
from aerostat.explanation import black_box
from aerostat.explanation.black_box import scorer_of_black_box, scorer_of_detector, similarity
from aerostat.images.letterbox import Letterbox
from aerostat.images.read import read_image
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.inference.resolve import load
from aerostat.model import build, candidate_boxes, normalise
from aerostat.results.detections import Detections

CLASSES = ("balloon", "kite")


def found(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Detections:
    return Detections(np.asarray(boxes), np.asarray(scores), np.asarray(labels), CLASSES)


def test_the_best_product_of_score_and_overlap_among_candidates_of_the_class_counts() -> None:
    candidates = found(
        [[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 10], [20, 20, 30, 30]],
        [0.4, 0.9, 1.0, 1.0],  # of the right class: 0.4 x IoU 1 and 0.9 x IoU 0.5
        [0, 0, 1, 0],
    )
    explained = np.asarray([[0.0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]])
    assert similarity(candidates, explained, np.asarray([0, 1, 0])) == pytest.approx([0.45, 1.0, 0.0])


def test_nothing_found_is_similar_to_nothing() -> None:
    empty = Detections.empty(CLASSES)
    assert similarity(empty, np.asarray([[0.0, 0, 1, 1]]), np.asarray([0])).tolist() == [0.0]
    assert similarity(empty, np.zeros((0, 4)), np.zeros(0, np.int64)).shape == (0,)


def test_a_black_box_is_asked_about_images_and_answers_one_row_each() -> None:
    def answer(images_bgr: np.ndarray) -> list[Detections]:
        return [found([[0, 0, 4, 4]], [image[0, 0, 0] / 255], [0]) for image in images_bgr]

    images = np.zeros((3, 8, 8, 3), np.uint8)
    images[1] = 255
    scorer = scorer_of_black_box(answer, np.asarray([[0.0, 0, 4, 4], [0, 0, 4, 8]]), np.asarray([0, 0]))
    assert scorer(images) == pytest.approx(np.asarray([[0, 0], [1, 0.5], [0, 0]]))
    assert scorer(images[:0]).shape == (0, 2)


def test_a_black_box_that_answers_for_other_images_is_refused() -> None:
    scorer = scorer_of_black_box(lambda images: [], np.asarray([[0.0, 0, 4, 4]]), np.asarray([0]))
    with pytest.raises(InputError, match="each of 2 images"):
        scorer(np.zeros((2, 8, 8, 3), np.uint8))


@pytest.mark.parametrize("masks", [False, True])
def test_a_detectors_candidates_are_those_of_decoding_clipped_to_the_photograph(
    monkeypatch: pytest.MonkeyPatch, masks: bool
) -> None:
    torch.manual_seed(3)
    net = build("nano", 2, masks).eval()
    with torch.no_grad():
        for layer in [*net.bbox_head.rtm_cls, *net.bbox_head.rtm_reg]:
            layer.weight.normal_(std=0.5)
        for layer in net.bbox_head.rtm_reg:
            layer.bias.fill_(1.5)
    detector = Detector(TorchEngine(net), CLASSES, (96, 64))
    monkeypatch.setattr(black_box, "BATCH_PIXELS", 4 * 64 * 96 + 1)
    images = np.random.default_rng(0).integers(0, 256, (11, 64, 96, 3), dtype=np.uint8)
    content = (90, 50)
    explained = np.asarray([[10.0, 10, 60, 45], [70, 20, 90, 50], [0, 0, 90, 50]])
    labels = np.asarray([0, 1, 1])

    def candidates(images_bgr: np.ndarray) -> list[Detections]:
        with torch.no_grad():
            cls, reg = net(normalise(torch.from_numpy(images_bgr.transpose(0, 3, 1, 2))))[:2]
        rows = []
        for i in range(len(images_bgr)):
            raw = candidate_boxes([x[i] for x in cls], [x[i] for x in reg], score_threshold=0)
            boxes = np.clip(raw.boxes_xyxy, 0, np.asarray([*content, *content], np.float32))
            solid = (boxes[:, 2:] > boxes[:, :2]).all(1)
            rows.append(Detections(boxes[solid], raw.scores[solid], raw.labels[solid], CLASSES))
        return rows

    expected = scorer_of_black_box(candidates, explained, labels)(images)
    assert expected.min() > 0
    assert scorer_of_detector(detector, explained, labels, content)(images) == pytest.approx(
        expected, rel=1e-4
    )


def test_a_detection_on_its_own_photograph_is_found_with_its_own_score(
    person_weights: Path, balloon: Path
) -> None:
    detector = load(person_weights, device="cpu", input_size=320)
    image = read_image(sorted((balloon / "val").glob("*.jpg"))[1])
    detections = detector.predict(image)
    assert len(detections) > 0
    letterbox = Letterbox.fit((image.shape[1], image.shape[0]), detector.input_size)
    boxes = letterbox.boxes_to_input(detections.boxes_xyxy)
    scorer = scorer_of_detector(detector, boxes, detections.labels, letterbox.resized_size)
    assert scorer(letterbox.apply(image)[None])[0] == pytest.approx(detections.scores, abs=2e-3)


def test_scores_of_masked_photographs_take_no_masks() -> None:
    net = build("nano", 1, masks=True).eval()
    runs: list[str] = []
    for name in ("kernel_convs", "mask_head"):
        part = getattr(net.bbox_head, name)
        for module in part if name == "kernel_convs" else [part]:
            module.forward = lambda *_, name=name: runs.append(name)  # copies of the network keep it
    scorer = scorer_of_detector(Detector(TorchEngine(net), ("a",), (64, 64)), [[0, 0, 9, 9]], [0], (64, 64))
    assert scorer(np.zeros((2, 64, 64, 3), np.uint8)).shape == (2, 1)
    assert not runs
