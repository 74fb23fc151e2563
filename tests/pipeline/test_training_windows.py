"""Training samples from windows of large photographs."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from aerostat.datasets.records import ImageRecord, Instance
from aerostat.errors import AerostatError
from aerostat.images.read import read_image
from aerostat.pipeline.loader import TrainLoader
from aerostat.pipeline.policy import Augmentation
from aerostat.pipeline.training_windows import TrainingWindows, window_count

SMALL = Augmentation(input_size=64, mosaic=0.0, mixup=0.0, windows=(64, 0.2))


def photograph(path: Path, size: tuple[int, int], seed: int, *instances: Instance) -> ImageRecord:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8)
    image = cv2.resize(noise, size, interpolation=cv2.INTER_NEAREST)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return ImageRecord(path, path.name, *size, instances)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> list[ImageRecord]:
    folder = tmp_path_factory.mktemp("large")
    square = np.asarray([(150, 60), (190, 60), (190, 100), (150, 100)], float)
    objects = (
        Instance((10, 10, 30, 30), 0),
        Instance((55, 10, 75, 30), 1),  # the border at x = 64 cuts it: 9 and 11 pixels
        Instance((62, 70, 92, 90), 0),  # of this one the first window shows 2 pixels of 30
        Instance((150, 60, 190, 100), 1, polygons=(square,)),
        Instance((0, 0, 300, 200), 0, crowd=True),
    )
    return [
        photograph(folder / "a.png", (300, 200), 0, *objects),
        photograph(folder / "b.png", (64, 64), 1, Instance((1, 2, 20, 30), 1)),
        photograph(folder / "c.png", (400, 300), 2),
    ]


def windows(photographs: list[ImageRecord], **options: int) -> TrainingWindows:
    return TrainingWindows(photographs, 64, 0.0, cache_bytes=options.get("cache_bytes", 1 << 20))


def test_windows_show_their_part_of_the_photograph(photographs):
    found = windows(photographs)
    for index in range(len(found)):
        name, corner = found.name(index).split(" ", 1)
        x, y = map(int, corner.strip("()").split(","))
        whole = read_image(next(record.path for record in photographs if record.file_name == name))
        size = found.size(index)
        assert (found.read(index, size) == whole[y : y + size[1], x : x + size[0]]).all()


def test_objects_are_clipped_and_slivers_are_left_out(photographs):
    found = windows(photographs)
    index = next(i for i in range(len(found)) if found.name(i) == "a.png (0, 0)")
    source = found.source(index)
    assert source.boxes_xyxy.tolist() == [[10, 10, 30, 30], [55, 10, 64, 30]]
    assert source.labels.tolist() == [0, 1]
    names = [found.name(i) for i in range(len(found))]
    shown = sum(len(found.source(i).labels) for i in range(len(found)) if names[i].startswith("a.png"))
    assert shown >= 5  # each object in some window


def test_an_object_larger_than_a_window_fills_several(tmp_path):
    record = photograph(tmp_path / "a.png", (300, 300), 0, Instance((10, 10, 290, 290), 0))
    found = TrainingWindows([record], 64, 0.0, cache_bytes=0)
    filled = [found.source(index).boxes_xyxy.tolist() for index in range(len(found))]
    assert [[0, 0, 64, 64]] in filled


def test_outlines_are_those_of_the_boxes(photographs):
    found = windows(photographs)
    for index in range(len(found)):
        assert len(found.outlines(index)) == len(found.source(index).labels)


def test_windows_without_objects_are_at_most_as_many(photographs):
    found = windows(photographs)
    has_objects = [bool(len(found.source(index).labels)) for index in range(len(found))]
    assert has_objects.count(False) == has_objects.count(True)
    assert window_count(photographs, 64, 0.0) == len(found)


def test_an_epoch_shows_each_window_and_keeps_photographs_together(photographs, monkeypatch):
    monkeypatch.setattr("aerostat.pipeline.training_windows.BLOCK_BYTES", 1)
    found = windows(photographs)
    order = found.shuffled(np.random.default_rng(0)).tolist()
    assert sorted(order) == list(range(len(found)))
    names = [found.name(index).split(" ")[0] for index in order]
    assert sum(a != b for a, b in pairwise(names)) == len(set(names)) - 1


def loader(photographs: list[ImageRecord], **options: object) -> TrainLoader:
    return TrainLoader(photographs, augmentation=SMALL, batch_size=4, seed=3, **options)


def test_samples_depend_on_seed_and_position_alone(photographs):
    first, second = loader(photographs, threads=0), loader(photographs, threads=2, cache_bytes=0)
    assert len(first) == len(second) > 1
    for one, other in zip(first.epoch(1, 2), second.epoch(1, 2), strict=True):
        assert one.file_names == other.file_names
        assert one.images.equal(other.images)
        assert all(a.equal(b) for a, b in zip(one.boxes, other.boxes, strict=True))
    late = list(second.epoch(1, 2, start_batch=1))
    assert late[0].images.equal(list(first.epoch(1, 2))[1].images)


def test_a_broken_photograph_is_left_out(photographs, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    records = [*photographs, ImageRecord(broken, "broken.png", 100, 100)]
    assert window_count(records, 64, 0.0) == window_count(photographs, 64, 0.0)
    with pytest.raises(AerostatError, match="none of the 1 readable"):
        TrainingWindows(records[-1:], 64, 0.0, cache_bytes=0)
