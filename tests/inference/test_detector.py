"""Real weights on real photographs against the reference's detections; every other way in and out."""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from aerostat.datasets.records import ImageRecord
from aerostat.errors import AerostatError, InputError
from aerostat.geometry.boxes import pairwise_iou
from aerostat.images.frame import Frame
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.inference.devices import choose_device
from aerostat.inference.resolve import load, weights_path
from aerostat.inference.tta import TTA
from aerostat.model import build
from aerostat.weights import zoo
from aerostat.weights.checkpoint import Header, save_weights


@pytest.mark.parametrize("size", [320, 640])
def test_golden_detections_of_the_person_detector(shared, balloon, person_weights, size):
    golden = json.loads((shared / "parity" / "nano_person_balloon_val.json").read_text())
    detector = load(person_weights, input_size=size)
    assert detector.classes == ("person",)
    for name, reference in golden.items():
        theirs = reference[str(size)]
        boxes, scores = np.array(theirs["boxes"]).reshape(-1, 4), np.array(theirs["scores"])
        found = detector.predict(balloon / "val" / name, score=0.05)
        iou = pairwise_iou(found.boxes_xyxy.astype(float), boxes)
        close = (iou > 0.99) & (np.abs(found.scores[:, None] - scores[None]) < 0.005)
        assert close[:, scores > 0.3].any(0).all(), (name, "a reference detection was not found")
        assert close[found.scores > 0.31].any(1).all(), (name, "a detection that the reference does not have")


# ------------------------------------------------------------------ a network without weights, but fast


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def detector() -> Detector:
    """Finds something nearly everywhere, with scores that differ from point to point."""
    torch.manual_seed(0)
    net = build("nano", 2)
    with torch.no_grad():
        net.train()(torch.randn(4, 3, 64, 64))  # batch statistics of its own, or every map fades to nothing
        for layer in net.eval().bbox_head.rtm_cls:
            layer.weight.normal_()
            layer.bias.zero_()
        for layer in net.bbox_head.rtm_reg:
            layer.bias.fill_(1.5)
    return Detector(TorchEngine(net), ("disc", "ring"), (64, 64))


def photograph(path: Path, width: int = 80, height: int = 48, seed: int = 0) -> ImageRecord:
    image = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    assert cv2.imwrite(str(path), image)
    return ImageRecord(path, path.name, width, height)


def test_a_file_and_its_pixels_give_the_same(detector, tmp_path):
    record = photograph(tmp_path / "p.png")
    from_file = detector.predict(record.path)
    from_text = detector.predict(str(record.path))
    from_pixels = detector.predict(cv2.imread(str(record.path)))
    assert len(from_file) > 0
    assert from_file == from_text
    assert (from_file.path, from_pixels.path) == (record.path, None)
    np.testing.assert_array_equal(from_file.boxes_xyxy, from_pixels.boxes_xyxy)


@pytest.mark.parametrize("shape", [(48, 80), (200, 31), (1, 1), (1, 300)])
def test_boxes_lie_on_the_photograph_whatever_its_shape(detector, shape):
    found = detector.predict(np.full((*shape, 3), 90, np.uint8))
    height, width = shape
    assert found.image_size == (width, height)
    assert found.classes == ("disc", "ring")
    boxes = found.boxes_xyxy
    assert len(boxes) > 0
    assert (boxes >= 0).all() and (boxes[:, ::2] <= width).all() and (boxes[:, 1::2] <= height).all()
    assert boxes.dtype == np.float32


def test_the_thresholds_are_kept(detector):
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    everything = detector.predict(image, score=0.0, nms_iou=0.99, max_detections=1000)
    middle = float(np.median(everything.scores))
    found = detector.predict(image, score=middle, nms_iou=0.99, max_detections=1000)
    assert 0 < len(found) == (everything.scores > middle).sum() < len(everything)
    assert len(detector.predict(image, score=0.0, max_detections=3)) == 3
    assert len(detector.predict(image, score=0.0, nms_iou=0.1)) < len(everything)
    assert len(detector.predict(image, score=1.0)) == 0


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
        np.zeros(0, np.uint8),
    ],
    ids=lambda image: f"{image.shape} {image.dtype}",
)
def test_an_array_that_is_no_image_is_refused_with_its_shape(detector, image):
    with pytest.raises(InputError) as caught:
        detector.predict(image)
    assert str(image.shape) in str(caught.value)
    assert str(image.dtype) in str(caught.value)
    assert "(H, W, 3)" in str(caught.value)


def test_a_file_that_is_missing_or_no_image_is_named(detector, tmp_path):
    with pytest.raises(InputError, match=r"none\.jpg"):
        detector.predict(tmp_path / "none.jpg")
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(InputError, match=r"text\.jpg"):
        detector.predict(tmp_path / "text.jpg")
    with pytest.raises(InputError, match="folder"):
        detector.predict(tmp_path)


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 0), (2, 2), (4, 1), (100, 3)])
def test_many_images_come_in_order_and_as_each_alone(detector, tmp_path, batch_size, threads):
    sizes = [(80, 48), (30, 90), (64, 64), (200, 100), (50, 51)]
    records = [photograph(tmp_path / f"{i}.png", *size, seed=i) for i, size in enumerate(sizes)]
    alone = [detector.predict(record.path) for record in records]
    together = list(detector.predict_images(records, batch_size=batch_size, threads=threads))
    assert [record for record, _ in together] == records
    for one, (_, other) in zip(alone, together, strict=True):
        assert one.path == other.path
        assert one.image_size == other.image_size
        assert len(one) == len(other)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


def test_no_images_are_no_results(detector):
    assert list(detector.predict_images([])) == []


@pytest.mark.parametrize("batch_size", [1, 4])
def test_an_unreadable_image_among_others_is_told_and_left_out(detector, tmp_path, batch_size):
    records = [photograph(tmp_path / f"{i}.png", seed=i) for i in range(3)]
    records[1].path.write_bytes(records[1].path.read_bytes()[:60])
    told: list[tuple[str, str]] = []
    found = detector.predict_images(
        records,
        batch_size=batch_size,
        on_unreadable=lambda record, error: told.append((record.file_name, str(error))),
    )
    assert [record.file_name for record, _ in found] == ["0.png", "2.png"]
    assert [name for name, _ in told] == ["1.png"]
    assert str(records[1].path) in told[0][1]


def test_an_unreadable_image_raises_unless_there_is_a_function_for_it(detector, tmp_path):
    record = ImageRecord(tmp_path / "gone.png", "gone.png", 4, 4)
    with pytest.raises(InputError, match=r"gone\.png"):
        list(detector.predict_images([record]))


@pytest.mark.parametrize("part", ["rtm_cls", "rtm_reg"])
def test_a_network_whose_outputs_are_no_numbers_never_just_finds_nothing(detector, tmp_path, part):
    with torch.no_grad():
        getattr(detector.net.bbox_head, part)[2].bias.fill_(float("nan"))
    record = photograph(tmp_path / "p.png")
    with pytest.raises(AerostatError, match=r"not numbers on .*p\.png"):
        detector.predict(record.path)


# --------------------------------------------------------------------------- several views of a photograph


class BrightSpot(torch.nn.Module):
    """Stands for a network: finds the one bright rectangle of its input exactly, and counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.device = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        self.seen.append(tuple(images.shape))
        count, _, height, width = images.shape
        cls = [torch.full((count, 1, height // s, width // s), -20.0) for s in (8, 16, 32)]
        reg = [torch.zeros((count, 4, height // s, width // s)) for s in (8, 16, 32)]
        for i, image in enumerate(images):
            # half-way between black and white, so that edges stay in place when they are blurred
            y, x = (image[0] > 0.42).nonzero(as_tuple=True)
            if len(x):
                x1, y1, x2, y2 = (int(v) for v in (x.min(), y.min(), x.max() + 1, y.max() + 1))
                row, column = (y1 + y2) // 2 // 8, (x1 + x2) // 2 // 8
                cls[0][i, 0, row, column] = 2.0  # a score of 0.881
                distances = (column * 8 - x1, row * 8 - y1, x2 - column * 8, y2 - row * 8)
                reg[0][i, :, row, column] = torch.tensor(distances, dtype=torch.float32)
        return cls, reg


def spot(width: int, height: int, box: tuple[int, int, int, int] | None) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    if box is not None:
        image[box[1] : box[3], box[0] : box[2]] = 255
    return image


SPOTS = [
    (300, 100, (12, 40, 72, 90)),  # padded below
    (100, 300, (50, 200, 95, 280)),  # padded at the right
    (200, 200, (0, 0, 60, 40)),
    (637, 411, (500, 300, 637, 411)),
    (40, 30, (2, 3, 22, 28)),  # smaller than every view
]


@pytest.mark.parametrize(("width", "height", "box"), SPOTS)
def test_every_view_lands_in_the_pixels_of_the_photograph(width, height, box):
    detector = Detector(TorchEngine(BrightSpot()), ("spot",), (320, 320))
    # no two boxes are one, unless they are the same
    everything = TTA((320, 160, 480, 256), merge="nms", merge_iou=0.9999)
    found = detector.predict(spot(width, height, box), tta=everything)
    assert len(detector.net.seen) == 8
    assert len(found) >= 1
    pixel = max(width, height) / 160  # of the coarsest view
    np.testing.assert_allclose(found.boxes_xyxy, np.tile(box, (len(found), 1)), atol=pixel)
    assert (found.boxes_xyxy >= 0).all()
    assert (found.boxes_xyxy <= (width, height) * 2).all()
    assert found.image_size == (width, height)


@pytest.mark.parametrize(("merge", "atol"), [("nms", 2.0), ("wbf", 1.0)])
@pytest.mark.parametrize(("width", "height", "box"), SPOTS)
def test_one_object_in_all_views_is_one_detection(width, height, box, merge, atol):
    detector = Detector(TorchEngine(BrightSpot()), ("spot",), (320, 320))
    found = detector.predict(spot(width, height, box), tta=TTA(merge=merge))
    np.testing.assert_allclose(found.boxes_xyxy, [box], atol=atol * max(1, max(width, height) / 320))
    np.testing.assert_allclose(found.scores, [1 / (1 + np.exp(-2))], rtol=1e-5)


@pytest.mark.parametrize("merge", ["nms", "wbf"])
def test_nothing_in_any_view_is_nothing(merge):
    detector = Detector(TorchEngine(BrightSpot()), ("spot",), (320, 320))
    found = detector.predict(spot(300, 100, None), tta=TTA(merge=merge))
    assert len(found) == 0
    assert found.image_size == (300, 100)


def test_a_huge_photograph_has_small_views():
    detector = Detector(TorchEngine(BrightSpot()), ("spot",), (64, 64))
    found = detector.predict(spot(12000, 6000, (3000, 1500, 9000, 4500)), tta=TTA((1.0, 2.0)))
    np.testing.assert_allclose(found.boxes_xyxy, [(3000, 1500, 9000, 4500)], atol=12000 / 64)
    assert set(detector.net.seen) == {(1, 3, 64, 64), (1, 3, 128, 128)}


@pytest.mark.parametrize("own", [TTA((1.0,), flip=False), TTA((64,), flip=False, merge="wbf")])
def test_one_view_at_the_own_size_is_the_plain_prediction(detector, tmp_path, own):
    records = [
        photograph(tmp_path / f"{i}.png", *size, seed=i) for i, size in enumerate([(80, 48), (30, 90)])
    ]
    asked = {"score": 0.4, "nms_iou": 0.5, "max_detections": 7}
    for record in records:
        plain = detector.predict(record.path, **asked)
        assert len(plain) > 1
        assert detector.predict(record.path, tta=own, **asked) == plain
    plain_images = list(detector.predict_images(records, **asked))
    assert list(detector.predict_images(records, tta=own, **asked)) == plain_images


def test_a_view_of_another_size_is_the_prediction_at_that_input(detector):
    image = np.random.default_rng(0).integers(0, 255, (48, 80, 3), np.uint8)
    at_size = Detector(TorchEngine(detector.net), detector.classes, (96, 96))
    assert detector.predict(image, tta=TTA((96,), flip=False)) == at_size.predict(image)


@pytest.mark.parametrize("merge", ["nms", "wbf"])
@pytest.mark.parametrize(("width", "height"), [(64, 40), (40, 64), (150, 61)])
def test_a_mirrored_photograph_has_the_mirrored_detections(detector, width, height, merge):
    noise = np.random.default_rng(0).integers(0, 255, (7, 9, 3), np.uint8)
    image = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    asked = {"score": 0.0, "max_detections": 20, "tta": TTA((1.0, 2.0), merge=merge)}
    found = detector.predict(image, **asked)
    mirrored = detector.predict(np.ascontiguousarray(image[:, ::-1]), **asked)
    assert len(found) == len(mirrored) > 3
    back = mirrored.boxes_xyxy[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (width, 0, width, 0)
    iou = pairwise_iou(found.boxes_xyxy.astype(float), back.astype(float))
    # resizing rounds a mirrored photograph otherwise, so that neighbours in the order may change places
    same = (iou > 0.9) & (np.abs(found.scores[:, None] - mirrored.scores) < 0.01)
    assert same.any(0).mean() > 0.8 and same.any(1).mean() > 0.8
    assert same[0].any() and same[:, 0].any()


def test_what_the_views_find_is_merged_by_nms_at_the_iou_of_the_prediction(detector):
    image = np.random.default_rng(0).integers(0, 255, (48, 80, 3), np.uint8)
    views = [detector.predict(image, score=0.4, tta=TTA((size,), flip=False)) for size in (64, 96)]
    merged = detector.predict(image, score=0.4, nms_iou=0.65, tta=TTA((64, 96), flip=False, merge="nms"))
    boxes = np.concatenate([view.boxes_xyxy for view in views])
    scores, labels = (np.concatenate([getattr(v, name) for v in views]) for name in ("scores", "labels"))
    kept: list[int] = []  # greedy suppression, written down slowly
    for i in np.argsort(-scores, kind="stable"):
        rivals = [j for j in kept if labels[j] == labels[i]]
        if not rivals or pairwise_iou(boxes[[i]], boxes[rivals]).max() <= 0.65:
            kept.append(int(i))
    assert len(views[0]) < len(kept) < len(boxes)
    np.testing.assert_array_equal(merged.boxes_xyxy, boxes[kept[:300]])
    np.testing.assert_array_equal(merged.scores, scores[kept[:300]])


@pytest.mark.parametrize("merge", ["nms", "wbf"])
def test_what_is_shown_does_not_change_what_is_merged(detector, merge):
    image = np.random.default_rng(0).integers(0, 255, (48, 80, 3), np.uint8)
    tta = TTA((1.0, 1.5), merge=merge)
    everything = detector.predict(image, score=0.001, tta=tta)
    middle = float(np.median(everything.scores))
    assert (
        detector.predict(image, score=middle, tta=tta) == everything[everything.scores > np.float32(middle)]
    )
    assert detector.predict(image, score=0.001, max_detections=3, tta=tta) == everything[:3]
    assert len(detector.predict(image, score=1.0, tta=tta)) == 0


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 0), (2, 2), (100, 3)])
def test_many_images_seen_several_times_come_in_order_and_as_each_alone(
    detector, tmp_path, batch_size, threads
):
    sizes = [(80, 48), (30, 90), (64, 64), (200, 100), (50, 51)]
    records = [photograph(tmp_path / f"{i}.png", *size, seed=i) for i, size in enumerate(sizes)]
    tta = TTA((1.0, 1.5))
    alone = [detector.predict(record.path, tta=tta) for record in records]
    together = list(detector.predict_images(records, tta=tta, batch_size=batch_size, threads=threads))
    assert [record for record, _ in together] == records
    for one, (_, other) in zip(alone, together, strict=True):
        assert (one.path, one.image_size) == (other.path, other.image_size)
        assert abs(len(one) - len(other)) <= 1  # a box at a threshold may fall on either side
        np.testing.assert_allclose(one.scores[:5], other.scores[:5], atol=1e-5)


def test_a_batch_of_a_larger_view_needs_no_more_memory_than_of_the_own_size(tmp_path):
    detector = Detector(TorchEngine(BrightSpot()), ("spot",), (64, 64))
    records = [photograph(tmp_path / f"{i}.png", seed=i) for i in range(5)]
    list(detector.predict_images(records, tta=TTA((1.0, 0.5, 1.5, 2.0), flip=False), batch_size=4, threads=1))
    passes = [(shape[0], shape[-1]) for shape in detector.net.seen]
    of_four = [(4, 64), (4, 32), *[(1, 96)] * 4, *[(1, 128)] * 4]  # 4 / 2.25 and 4 / 4 images
    assert passes == [*of_four, (1, 64), (1, 32), (1, 96), (1, 128)]


def test_a_photograph_is_read_once_for_all_its_views(detector, tmp_path):
    reads = []

    class Counted(Frame):
        def read(self):
            reads.append(self.name)
            return Frame.read(self)

    frame = Counted(None, "p.png", path=photograph(tmp_path / "p.png").path)
    detector.predict(frame, tta=True)
    assert len(list(detector.predict_images([frame], tta=True))) == 1
    assert reads == ["p.png"] * 2


def test_an_unreadable_image_among_others_is_told_and_left_out_of_all_views(detector, tmp_path):
    records = [photograph(tmp_path / f"{i}.png", seed=i) for i in range(3)]
    records[1].path.write_bytes(records[1].path.read_bytes()[:60])
    told: list[str] = []
    found = detector.predict_images(
        records, tta=True, on_unreadable=lambda record, _: told.append(record.file_name)
    )
    assert [record.file_name for record, _ in found] == ["0.png", "2.png"]
    assert told == ["1.png"]
    with pytest.raises(InputError, match=r"1\.png"):
        list(detector.predict_images(records, tta=True))
    assert list(detector.predict_images([], tta=True)) == []


def test_a_network_whose_outputs_are_no_numbers_is_told_in_any_view(detector, tmp_path):
    with torch.no_grad():
        detector.net.bbox_head.rtm_cls[2].bias.fill_(float("nan"))
    with pytest.raises(AerostatError, match="not numbers"):
        detector.predict(np.zeros((8, 8, 3), np.uint8), tta=True)


def test_on_real_photographs_nms_loses_nothing_that_one_look_finds(balloon, person_weights):
    detector = load(person_weights)
    shown = sorted((balloon / "val").glob("*.jpg"))[:3]
    counts = []
    for path in shown:
        plain, merged = detector.predict(path), detector.predict(path, tta=TTA((1.0, 1.5), merge="nms"))
        iou = pairwise_iou(plain.boxes_xyxy.astype(float), merged.boxes_xyxy.astype(float))
        kept = (iou > 0.65) & (merged.scores[None] >= plain.scores[:, None])
        assert kept.any(1).all(), path.name
        counts.append((len(plain), len(merged)))
    assert sum(plain for plain, _ in counts) > 0


# -------------------------------------------------------------------------------------- what is loaded


def write_weights(path: Path, classes: tuple[str, ...] = ("disc",), seed: int = 0, **header: object) -> Path:
    torch.manual_seed(seed)
    state = build("nano", len(classes)).state_dict()
    save_weights(path, state, Header("nano", classes, **{"input_size": (96, 96), **header}))
    return path


def test_a_run_gives_its_best_weights_else_its_last(tmp_path):
    last = write_weights(tmp_path / "last.safetensors", seed=1)
    assert weights_path(tmp_path) == last
    best = write_weights(tmp_path / "best.safetensors", seed=2)
    assert weights_path(tmp_path) == weights_path(str(tmp_path)) == best
    assert weights_path(last) == last, "a file is taken as it is"


def test_a_folder_without_weights_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"neither best\.safetensors nor last\.safetensors"):
        weights_path(tmp_path)


@pytest.mark.parametrize("name", ["none.pth", "none.safetensors", "runs/none", "rtmdet-tiny.pth"])
def test_a_path_that_is_not_there_is_never_looked_for_in_the_zoo(tmp_path, monkeypatch, name):
    monkeypatch.setattr(zoo, "fetch", lambda _: pytest.fail("asked the zoo"))
    with pytest.raises(InputError, match="no weights file or run directory"):
        weights_path(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no weights file or run directory"):
        weights_path(name)


def test_a_bare_name_is_the_zoos(monkeypatch, tmp_path):
    monkeypatch.setattr(zoo, "fetch", lambda name: tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert weights_path("rtmdet-tiny") == tmp_path / "rtmdet-tiny"


def test_an_unknown_name_names_the_nearest(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"'rtmdet-tinny'.*'rtmdet-tiny'"):
        weights_path("rtmdet-tinny")


def test_a_detector_is_what_its_file_says(tmp_path):
    path = write_weights(tmp_path / "w.safetensors", ("disc", "ring"))
    loaded = load(path)
    assert (loaded.classes, loaded.input_size) == (("disc", "ring"), (96, 96))
    assert not loaded.net.training
    assert loaded.device == torch.device("cpu") or torch.cuda.is_available()
    assert loaded.header is not None and loaded.header.size == "nano"
    assert load(path, input_size=160).input_size == (160, 160)


@pytest.mark.parametrize("size", [0, -32, 31, 100])
def test_an_input_size_that_is_no_multiple_of_32_is_refused(tmp_path, size):
    path = write_weights(tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=f"`input_size` as a positive multiple of 32 pixels, found {size}"):
        load(path, input_size=size)


def test_a_file_with_such_an_input_size_needs_another_one(tmp_path):
    path = write_weights(tmp_path / "w.safetensors", input_size=(100, 100))
    with pytest.raises(InputError, match=r"w\.safetensors states an input of 100 x 100"):
        load(path)
    assert load(path, input_size=64).input_size == (64, 64)


def test_a_backbone_alone_is_no_detector(tmp_path):
    state = {k: v for k, v in build("nano", 1).state_dict().items() if k.startswith("backbone.")}
    save_weights(tmp_path / "b.safetensors", state, Header("nano", (), kind="backbone"))
    with pytest.raises(InputError, match=r"b\.safetensors holds a pretrained backbone"):
        load(tmp_path / "b.safetensors")


def test_weights_with_something_missing_are_one_sentence(tmp_path):
    state = build("nano", 1).state_dict()
    del state["neck.reduce_layers.0.conv.weight"]
    save_weights(tmp_path / "w.safetensors", state, Header("nano", ("disc",)))
    with pytest.raises(InputError) as caught:
        load(tmp_path / "w.safetensors")
    assert "neck.reduce_layers.0.conv.weight" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b'{"images": []}', b"PK\x03\x04"])
def test_a_file_that_holds_no_weights_is_named(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"w\.pth"):
        load(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "name", ["nonsense", "", "cuda:", "cuda:-1", "CUDA", "auto:0", "mps:1", "hpu", "meta"]
)
def test_what_is_no_device_is_refused_with_the_devices(name):
    with pytest.raises(InputError, match=r"one of the devices auto, cpu, cuda, cuda:0, mps, found '.*'"):
        choose_device(name)


@pytest.mark.parametrize(
    "name", ["cuda:99", "cuda:999", *(() if torch.backends.mps.is_available() else ("mps",))]
)
def test_in_place_of_a_device_that_cannot_be_used_the_cpu_is_taken_with_a_warning(name, caplog):
    assert choose_device(name) == torch.device("cpu")
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "\n" not in record.getMessage()
    assert f"the device {name} cannot be used here" in record.getMessage()
    assert "the CPU is taken" in record.getMessage()


def test_a_device_is_checked_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match="devices"):
        load(tmp_path / "missing.pth", device="gpu")


def test_auto_takes_cuda_where_there_is_one(monkeypatch):
    assert choose_device("cpu") == torch.device("cpu")
    for there, device in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device("auto") == torch.device(device)
