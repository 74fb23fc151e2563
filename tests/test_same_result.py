"""The same request has the same answer: again, in other batches, by other threads, in another engine.

On one machine whatever runs the same arithmetic gives the same bits. Batches and other engines add up in
another order: float32 carries 7 digits, some 60 layers of sums leave 5 of them in a score. Trained
weights are held to 1e-4 of a score and 0.02 pixels of the network's input; networks of random weights
amplify rounding, and are held to 2e-3 and half a pixel.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from aerostat import demo
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord
from aerostat.evaluation.evaluate import evaluate
from aerostat.explanation.boxam import explain
from aerostat.geometry.boxes import pairwise_iou
from aerostat.images.letterbox import Letterbox
from aerostat.images.read import read_image
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.inference.resolve import load
from aerostat.results.detections import Detections
from aerostat.scenes.balloons import write_balloons
from aerostat.training.api import train
from aerostat.weights.checkpoint import Header, save_weights

SIZE = (96, 64)
NOISE = {"boxes": 0.02, "scores": 1e-4}
"""Of trained weights, in pixels of the network's input and of the score."""
WILD = {"boxes": 0.5, "scores": 2e-3}
"""Of random ones."""


@pytest.fixture
def detector(random_net: Callable[..., nn.Module]) -> Detector:
    return Detector(TorchEngine(random_net(2, SIZE)), ("kite", "balloon"), SIZE)


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    """Nine photographs of noise, each of another shape."""
    made = []
    for i in range(9):
        width, height = 60 + 31 * i, 250 - 23 * i
        image = np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)
        path = tmp_path / f"{i}.png"
        assert cv2.imwrite(str(path), image)
        made.append(ImageRecord(path, path.name, width, height))
    return made


def assert_equal(ours: Detections, theirs: Detections) -> None:
    assert len(ours) == len(theirs) > 0
    for name in ("boxes_xyxy", "scores", "labels"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def assert_close(
    ours: Detections,
    theirs: Detections,
    input_size: tuple[int, int],
    *,
    boxes: float,
    scores: float,
    above: float,
) -> int:
    """Each detection of one is there in the other, apart from those near the threshold; return how many."""
    assert theirs.image_size is not None
    pixels = boxes * max(theirs.image_size[0] / input_size[0], theirs.image_size[1] / input_size[1])
    for one, other in ((ours, theirs), (theirs, ours)):
        clear = one.scores > above + scores
        overlap = pairwise_iou(one.boxes_xyxy[clear], other.boxes_xyxy)
        near = np.abs(one.boxes_xyxy[clear][:, None] - other.boxes_xyxy[None]).max(-1, initial=0) <= pixels
        near &= np.abs(one.scores[clear][:, None] - other.scores[None]) <= scores
        near &= one.labels[clear][:, None] == other.labels[None]
        assert near.any(1).all(), (overlap.max(1, initial=0), one.scores[clear])
    return int(clear.sum())


# ---------------------------------------------------------------------- the same arithmetic: the same bits


def test_predicted_again_it_is_the_same_to_the_bit(detector, records) -> None:
    for record in records[:3]:
        assert_equal(detector.predict(record.path, score=0.05), detector.predict(record.path, score=0.05))


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_any_number_of_threads_that_take_photographs_gives_the_same_bits(detector, records, threads) -> None:
    assert detector.engine.parallel
    alone = list(detector.predict_images(records, score=0.05, threads=2))
    for (record, ours), (same, theirs) in zip(
        detector.predict_images(records, score=0.05, threads=threads), alone, strict=True
    ):
        assert record == same
        assert_equal(ours, theirs)


@pytest.mark.parametrize("threads", [0, 1])
def test_threads_that_only_read_change_nothing(detector, records, threads) -> None:
    ours = detector.predict_images(records, score=0.05, threads=threads, batch_size=4)
    theirs = detector.predict_images(records, score=0.05, threads=0, batch_size=4)
    for (_, one), (_, other) in zip(ours, theirs, strict=True):
        assert_equal(one, other)


def test_a_photograph_resized_beforehand_has_the_boxes_of_the_whole_one(detector, records) -> None:
    # What is resized already is shown to the network as it is: the input is the same to the last pixel.
    for record in records:
        image = read_image(record.path)
        letterbox = Letterbox.fit((record.width, record.height), SIZE)
        width, height = letterbox.resized_size
        whole = detector.predict(image, score=0.05)
        small = detector.predict(letterbox.apply(image)[:height, :width], score=0.05)
        assert len(whole) == len(small) > 0
        np.testing.assert_array_equal(whole.scores, small.scores)
        factors = np.asarray([record.width / width, record.height / height] * 2)
        np.testing.assert_allclose(whole.boxes_xyxy, small.boxes_xyxy * factors, atol=1e-3)


@pytest.fixture
def scenes(tmp_path: Path) -> Dataset:
    return Dataset.read(
        write_balloons(tmp_path / "scenes", train=1, val=5, size=(96, 72)), classes=("balloon",)
    )


def test_evaluation_gives_the_same_figures_whatever_the_batches_and_threads(random_net, scenes) -> None:
    detector = Detector(TorchEngine(random_net(1, SIZE)), ("balloon",), SIZE)
    results = [
        evaluate(detector, scenes.split("val"), batch_size=batch, threads=threads, progress=False)
        for batch, threads in ((4, 2), (4, 2), (1, 3), (8, 4))
    ]
    assert results[0].ap > 0
    assert all(result == results[0] for result in results)
    batched = evaluate(detector, scenes.split("val"), batch_size=8, threads=1, progress=False)
    assert batched.ap == pytest.approx(results[0].ap, abs=2e-3)


def test_explained_again_every_map_is_the_same_to_the_bit(detector, records) -> None:
    image = read_image(records[2].path)
    methods = ("gradcam", "layercam", "ablationcam", "eigencam", "drise")
    ours, theirs = (explain(detector, image, method=methods, score=0.1, top=2, masks=50) for _ in range(2))
    assert len(ours) == 2 * len(methods)
    for mine, yours in zip(ours, theirs, strict=True):
        for a, b in zip(mine.maps, yours.maps, strict=True):
            np.testing.assert_array_equal(a, b)


# ------------------------------------------------------------- another order of sums: float noise, no more


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_batches_find_what_each_photograph_alone_shows(detector, records, batch_size) -> None:
    # One thread: the network sees batches, as on a GPU. Two: each takes a photograph of its own.
    batched = detector.predict_images(records, score=0.05, threads=1, batch_size=batch_size)
    each = detector.predict_images(records, score=0.05, threads=2, batch_size=batch_size)
    compared = 0
    for (_, ours), (_, theirs) in zip(batched, each, strict=True):
        compared += assert_close(ours, theirs, SIZE, above=0.05, **WILD)
    assert compared > 100


@pytest.mark.parametrize("batch_size", [1, 8])
def test_batches_of_real_photographs_find_what_each_alone_shows(balloon, person_weights, batch_size) -> None:
    detector = load(person_weights, input_size=320)
    names = sorted((balloon / "val").glob("*.jpg"))[:9]
    records = [ImageRecord(path, path.name, 1, 1) for path in names]
    batched = detector.predict_images(records, score=0.05, threads=1, batch_size=batch_size)
    compared = 0
    for record, found in batched:
        compared += assert_close(
            found, detector.predict(record.path, score=0.05), (320, 320), above=0.05, **NOISE
        )
    assert compared > 50


@pytest.fixture
def wild_weights(tmp_path: Path, random_net: Callable[..., nn.Module]) -> Path:
    net = random_net(2, SIZE)
    save_weights(tmp_path / "nano.safetensors", net.state_dict(), Header("nano", ("kite", "balloon"), SIZE))
    return tmp_path / "nano.safetensors"


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_engines_find_the_same_with_random_weights(wild_weights, records, engine) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip({"onnx": "onnxruntime"}.get(engine, engine))
    ours, theirs = load(wild_weights, engine=engine), load(wild_weights, engine="torch")
    compared = 0
    for record in records[::2]:
        both = [detector.predict(record.path, score=0.05) for detector in (ours, theirs)]
        compared += assert_close(*both, SIZE, above=0.05, **WILD)
    assert compared > 50


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_engines_find_the_same_on_real_photographs(balloon, person_weights, engine) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip({"onnx": "onnxruntime"}.get(engine, engine))
    ours = load(person_weights, input_size=320, engine=engine)
    theirs = load(person_weights, input_size=320, engine="torch")
    compared = 0
    for path in sorted((balloon / "val").glob("*.jpg")):
        both = [detector.predict(path, score=0.05) for detector in (ours, theirs)]
        compared += assert_close(*both, (320, 320), above=0.05, **NOISE)
    assert compared > 50


def test_a_photograph_letterboxed_beforehand_has_the_boxes_of_the_whole_one(balloon, person_weights) -> None:
    # The padding counts as photograph here: what reaches into it is not clipped, and may suppress otherwise.
    detector = load(person_weights, input_size=320)
    compared = 0
    for path in sorted((balloon / "val").glob("*.jpg")):
        image = read_image(path)
        letterbox = Letterbox.fit((image.shape[1], image.shape[0]), (320, 320))
        whole = detector.predict(image, score=0.3)
        padded = detector.predict(letterbox.apply(image), score=0.3)
        ours, theirs = letterbox.boxes_to_input(whole.boxes_xyxy), padded.boxes_xyxy
        x2, y2 = letterbox.resized_size
        inside = (ours[:, 2] < x2 - 1) & (ours[:, 3] < y2 - 1)
        near = np.abs(ours[inside][:, None] - theirs[None]).max(-1, initial=0) <= 0.01
        near &= whole.scores[inside][:, None] == padded.scores[None]
        assert near.any(1).all(), path.name
        compared += int(inside.sum())
    assert compared > 10


# ------------------------------------------------------------------------------------- training and the demo


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def assert_same_runs(ours: Path, theirs: Path) -> None:
    """Weights equal to the bit, and all that was logged but how fast it went."""
    for name in ("last.safetensors", "best.safetensors"):
        first, again = load_file(ours / name), load_file(theirs / name)
        assert first.keys() == again.keys()
        assert all(torch.equal(first[key], again[key]) for key in first)
    speed = ("images_per_second", "memory_mb", "seconds", "time")
    logs = [
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (ours, theirs)
    ]
    plain = [[{k: v for k, v in row.items() if k not in speed} for row in log] for log in logs]
    assert len(plain[0]) > 3
    assert plain[0] == plain[1]


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_run_is_the_same_to_the_bit_whatever_number_of_threads_makes_its_batches(scenes, tmp_path) -> None:
    runs = []
    for number, threads in enumerate((0, 0, 3)):
        fields = {"input_size": 96, "threads": threads, "batch_size": 2, "device": "cpu", "seed": 7}
        out = tmp_path / f"run{number}"
        train(scenes, model="rtmdet-nano", weights="", out=out, epochs=2, **fields)
        runs.append(out)
    for other in runs[1:]:
        assert_same_runs(runs[0], other)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_demo_tells_the_same_story_twice(tmp_path, monkeypatch) -> None:
    for name, value in {
        "TRAIN_SCENES": 4,
        "VAL_SCENES": 2,
        "NEW_SCENES": 2,
        "VALUES": {"schedule": {"epochs": 1}, "data": {"input_size": 320}},
        "SHOW_SCORE": 0.002,
    }.items():
        monkeypatch.setattr(demo, name, value)
    told = []
    for name in ("first", "again"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        demo.run_demo(Path("demo"))
        told.append(tmp_path / name / "demo")
    files = [sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file()) for out in told]
    assert files[0] == files[1]
    assert_same_runs(told[0] / "run", told[1] / "run")
    timed = {"metrics.jsonl", "last.ckpt", "report.html", "environment.json", "curves.png", "speed.png"}
    for file in files[0]:
        if file.name not in timed:
            assert (told[0] / file).read_bytes() == (told[1] / file).read_bytes(), file
