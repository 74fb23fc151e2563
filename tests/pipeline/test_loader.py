"""Batches depend on seed and position alone, whatever the threads, the caches and the number of images."""

from __future__ import annotations

import threading
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from aerostat.datasets.records import ImageRecord, Instance
from aerostat.errors import AerostatError, InputError
from aerostat.images.prefetch import prefetch_images
from aerostat.images.read import read_image, read_resized
from aerostat.pipeline import loader as loader_module
from aerostat.pipeline import training_images
from aerostat.pipeline.loader import Batch, TrainLoader
from aerostat.pipeline.memo import Memo
from aerostat.pipeline.policy import Augmentation

SMALL = Augmentation(input_size=64)


def write_image(path: Path, width: int, height: int, seed: int = 0) -> Path:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    image = cv2.resize(noise, (width, height), interpolation=cv2.INTER_NEAREST)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path


def record(path: Path, width: int, height: int, *instances: Instance) -> ImageRecord:
    return ImageRecord(path, path.name, width, height, tuple(instances))


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[ImageRecord]:
    folder = tmp_path_factory.mktemp("images")
    records = []
    for index in range(10):
        width, height = 80 + 10 * index, 120 - 7 * index
        path = write_image(folder / f"{index}.png", width, height, index)
        boxes = [(5.0 + k, 6.0, 40.0 + k, 50.0) for k in range(index % 4)]  # 0 to 3 objects
        records.append(record(path, width, height, *(Instance(box, k) for k, box in enumerate(boxes))))
    return records


def equal(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.images, b.images)
        and a.file_names == b.file_names
        and all(map(torch.equal, a.boxes, b.boxes))
        and all(map(torch.equal, a.labels, b.labels))
        for a, b in zip(first, second, strict=True)
    )


def loader_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("aerostat-loader")]


def test_batches_have_the_promised_shapes(images):
    for stage in (1, 2):
        for batch in TrainLoader(images, augmentation=SMALL, batch_size=4, threads=2).epoch(0, stage):
            assert batch.images.shape == (4, 3, 64, 64)
            assert batch.images.dtype == torch.uint8
            assert batch.images.is_contiguous(memory_format=torch.channels_last)
            assert len(batch.boxes) == len(batch.labels) == len(batch.file_names) == 4
            for boxes, labels in zip(batch.boxes, batch.labels, strict=True):
                assert boxes.shape == (len(labels), 4)
                assert (boxes.dtype, labels.dtype) == (torch.float32, torch.int64)
                assert ((boxes >= 0) & (boxes <= 64)).all()


@pytest.mark.parametrize(
    ("count", "batch_size", "world_size", "batches"),
    [(10, 4, 1, 3), (10, 5, 1, 2), (3, 8, 1, 1), (1, 8, 1, 1), (10, 6, 3, 2), (10, 1, 1, 10), (2, 8, 3, 1)],
)
def test_every_epoch_is_full_and_shows_every_image(images, count, batch_size, world_size, batches):
    chosen = images[:count]
    loaders = [
        TrainLoader(
            chosen, augmentation=SMALL, batch_size=batch_size, threads=0, rank=r, world_size=world_size
        )
        for r in range(world_size)
    ]
    for epoch in (0, 1):
        names = []
        for loader in loaders:
            assert len(loader) == batches
            made = list(loader.epoch(epoch, 2))
            part = {len(b.file_names) for b in made}
            assert len(part) == 1 and part <= {batch_size // world_size, -(-batch_size // world_size)}
            names += [name for batch in made for name in batch.file_names]
        assert set(names) == {image.file_name for image in chosen}
        # As even as can be: an image is repeated only where the places do not divide.
        repeats = [names.count(image.file_name) for image in chosen]
        assert max(repeats) <= -(-len(names) // count)


def test_threads_caches_and_repetition_change_nothing(images):
    augmentation = Augmentation(input_size=64, mixup=1.0)

    def batches(**options) -> list[Batch]:
        loader = TrainLoader(images, augmentation=augmentation, batch_size=4, seed=5, **options)
        return [batch for epoch in (0, 1) for batch in loader.epoch(epoch, 1)]

    reference = batches(threads=0, cache_bytes=0)
    assert equal(reference, batches(threads=0))
    assert equal(reference, batches(threads=3))
    assert equal(reference, batches(threads=3, cache_bytes=40_000))
    assert not equal(reference[:3], reference[3:])


def test_an_epoch_can_be_entered_anywhere(images):
    def loader() -> TrainLoader:
        return TrainLoader(images, augmentation=SMALL, batch_size=3, seed=1, threads=2)

    whole = list(loader().epoch(7, 1))
    assert equal(whole[2:], list(loader().epoch(7, 1, start_batch=2)))
    assert list(loader().epoch(7, 1, start_batch=4)) == []


def test_seeds_epochs_and_stages_differ(images):
    def first(seed: int, epoch: int, stage: int) -> Batch:
        loader = TrainLoader(images, augmentation=SMALL, batch_size=4, seed=seed, threads=0)
        return next(iter(loader.epoch(epoch, stage)))

    batches = [first(0, 0, 1), first(1, 0, 1), first(0, 1, 1), first(0, 0, 2)]
    for index, batch in enumerate(batches):
        assert all(not torch.equal(batch.images, other.images) for other in batches[:index])


def test_the_order_is_shuffled_anew_in_every_epoch_and_also_before_the_run(images):
    loader = TrainLoader(images, augmentation=SMALL, batch_size=5)
    orders = [tuple(loader.index_at(10 * epoch + slot) for slot in range(10)) for epoch in range(-2, 20)]
    assert len(set(orders)) == len(orders)
    assert all(sorted(order) == list(range(10)) for order in orders)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize(("size", "processes"), [(4, 2), (5, 2), (5, 3)])
def test_processes_share_out_what_one_process_would_see(images, size, processes, start):
    def batches(**options) -> list[Batch]:
        loader = TrainLoader(images, augmentation=SMALL, batch_size=size, seed=2, threads=0, **options)
        return list(loader.epoch(1, 1, start_batch=start))

    alone = batches()
    shared = [batches(rank=rank, world_size=processes) for rank in range(processes)]
    for whole, *parts in zip(alone, *shared, strict=True):
        assert torch.equal(whole.images, torch.cat([part.images for part in parts]))
        assert whole.file_names == [name for part in parts for name in part.file_names]


@pytest.mark.parametrize("threads", [0, 2])
def test_an_abandoned_epoch_leaves_no_threads_and_opencv_as_it_was(images, threads):
    before = cv2.getNumThreads()
    iterator = TrainLoader(images, augmentation=SMALL, batch_size=1, threads=threads).epoch(0, 1)
    next(iterator)
    assert bool(loader_threads()) == bool(threads)
    del iterator
    assert not loader_threads()
    assert cv2.getNumThreads() == before


def test_a_failure_in_a_thread_reaches_the_caller_and_ends_the_threads(images, monkeypatch):
    def fail(path, size):
        raise MemoryError("no room")

    monkeypatch.setattr(training_images, "read_resized", fail)
    with pytest.raises(MemoryError, match="no room"):
        list(TrainLoader(images, augmentation=SMALL, batch_size=2, threads=2).epoch(0, 1))
    assert not loader_threads()


def cut_off(path: Path, width: int, height: int) -> Path:
    """Write a JPEG whose header can be read and whose end is missing."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    content = cv2.imencode(".jpg", noise)[1].tobytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def of_no_format(path: Path, width: int, height: int) -> Path:
    path.write_bytes(b"no photograph")
    return path


@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize("write", [cut_off, of_no_format])
def test_an_unreadable_image_is_named_once_and_replaced(images, tmp_path, caplog, threads, write):
    caplog.set_level("INFO", "aerostat")
    broken = record(write(tmp_path / "broken.jpg", 200, 90), 200, 90, Instance((0, 0, 9, 9), 0))

    def batches(second: ImageRecord) -> list[Batch]:
        records = [images[0], second, images[3], images[7]]
        loader = TrainLoader(records, augmentation=SMALL, batch_size=4, threads=threads)
        return [batch for epoch in range(3) for stage in (1, 2) for batch in loader.epoch(epoch, stage)]

    replaced, whole = batches(broken), batches(images[3])  # in its place stands the next one
    assert len(caplog.messages) == 1
    assert "broken.jpg" in caplog.messages[0]
    for one, other in zip(replaced, whole, strict=True):
        assert torch.equal(one.images, other.images)
        assert all(map(torch.equal, one.boxes + one.labels, other.boxes + other.labels))


def test_what_is_known_of_a_broken_image_changes_no_sample(images, tmp_path):
    # Most samples do not show the broken image's place on the canvas: whether it is known to be broken by
    # then, depends on what was made before, and must not move anything.
    broken = record(cut_off(tmp_path / "broken.jpg", 300, 300), 300, 300, Instance((0, 0, 99, 99), 0))
    records = [images[0], broken, images[9]]

    def loader() -> TrainLoader:
        return TrainLoader(records, augmentation=SMALL, batch_size=3, threads=0)

    used = loader()
    in_order = [used.sample(position, 1) for position in range(12)]
    for position, known in enumerate(in_order):
        fresh = loader().sample(position, 1)
        assert np.array_equal(fresh.image_bgr, known.image_bgr)
        assert np.array_equal(fresh.boxes_xyxy, known.boxes_xyxy)


def test_a_data_set_without_a_readable_image_ends_the_run(tmp_path):
    missing = [record(tmp_path / f"{n}.jpg", 10, 10) for n in range(3)]
    with pytest.raises(AerostatError, match="none of the 3 readable") as raised:
        next(TrainLoader(missing, augmentation=SMALL, batch_size=2, threads=2).epoch(0, 1))
    assert not isinstance(raised.value, InputError)


def test_crowd_regions_are_no_targets(tmp_path):
    path = write_image(tmp_path / "a.png", 64, 64)
    crowd, single = Instance((0, 0, 64, 64), 1, crowd=True), Instance((10, 10, 50, 50), 2)
    augmentation = Augmentation(input_size=64, resize_ratio=(1.0, 1.0), flip=0.0)
    batch = next(
        TrainLoader([record(path, 64, 64, crowd, single)], augmentation=augmentation, batch_size=1).epoch(
            0, 2
        )
    )
    assert batch.labels[0].tolist() == [2]
    assert batch.boxes[0].tolist() == [[10, 10, 50, 50]]


@pytest.fixture
def reads(monkeypatch) -> list[tuple[tuple[int, int], weakref.ref[np.ndarray]]]:
    """The size of each image that is read, and whether it is still there."""
    seen: list[tuple[tuple[int, int], weakref.ref[np.ndarray]]] = []

    def reading(path: Path, size: tuple[int, int]) -> np.ndarray:
        image = read_resized(path, size)
        seen.append((size, weakref.ref(image)))
        return image

    monkeypatch.setattr(training_images, "read_resized", reading)
    return seen


def test_large_images_are_kept_no_larger_than_they_are_shown(tmp_path, monkeypatch, reads):
    path = write_image(tmp_path / "large.png", 8000, 6000)
    large = record(path, 8000, 6000, Instance((800, 600, 4000, 3000), 0))
    loader = TrainLoader([large], augmentation=SMALL, batch_size=8, threads=0)
    list(loader.epoch(0, 1))
    assert {size for size, _ in reads} == {(64, 48)}  # a Mosaic has no more of it
    list(loader.epoch(1, 2))
    assert {size for size, image in reads if image() is not None} == {(64, 48), (128, 96)}


@pytest.mark.parametrize("recent", [64, 2])
def test_what_is_kept_stays_within_its_bound(images, monkeypatch, reads, recent):
    monkeypatch.setattr(loader_module, "RECENT_IMAGES", recent)  # 2: half of the room is for what stays
    loader = TrainLoader(images, augmentation=SMALL, batch_size=1, threads=0, cache_bytes=30_000)
    sizes = []
    for stage in (1, 2):
        for _ in loader.epoch(0, stage):
            kept = sum(3 * width * height for (width, height), image in reads if image() is not None)
            assert kept <= 30_000
            sizes.append(kept)
    assert max(sizes) > 10_000


def test_images_out_of_sight_are_not_read(images, monkeypatch):
    # At ratio 2 the window is a quarter of the canvas; every tile in it is read, and no other.
    read: list[Path] = []
    monkeypatch.setattr(
        training_images, "read_resized", lambda path, size: read.append(path) or read_resized(path, size)
    )
    augmentation = Augmentation(input_size=64, mixup=0.0, resize_ratio=(2.0, 2.0))
    counts = []
    for position in range(60):
        loader = TrainLoader(images, augmentation=augmentation, batch_size=1, threads=0, cache_bytes=0)
        read.clear()
        loader.sample(position, 1)
        counts.append(len(read))
    assert set(counts) <= {0, 1, 2, 3, 4}
    # Where the four meet lies within [64, 192) of 256 on each axis and the window begins in [0, 192]: it is
    # crossed one time in three or so, so that 1, 2 and 4 are seen, and on average far fewer than 4.
    assert {1, 2, 4} <= set(counts)
    assert 1.2 < np.mean(counts) < 2.4


def test_boxes_beyond_their_image_are_clipped_and_those_outside_dropped(tmp_path):
    path = write_image(tmp_path / "a.png", 60, 40)
    instances = [Instance((-5, -5, 70, 20), 0), Instance((60, 0, 90, 10), 1), Instance((5, 5, 5, 9), 2)]
    augmentation = Augmentation(input_size=60, resize_ratio=(1.0, 1.0), flip=0.0)
    loader = TrainLoader([record(path, 60, 40, *instances)], augmentation=augmentation, batch_size=1)
    plain = loader.sample(0, 2)
    assert plain.boxes_xyxy.tolist() == [[0, 0, 60, 20]]
    assert plain.labels.tolist() == [0]


def test_images_are_taken_for_as_large_as_they_are_not_as_the_annotations_say(tmp_path):
    path = write_image(tmp_path / "a.png", 60, 40)
    augmentation = Augmentation(input_size=60, resize_ratio=(1.0, 1.0), flip=0.0, hsv_delta=(0, 0, 0))
    box = Instance((10, 10, 30, 30), 0)
    right, wrong = (
        TrainLoader([record(path, *size, box)], augmentation=augmentation, batch_size=1).sample(0, 2)
        for size in ((60, 40), (600, 30))
    )
    assert np.array_equal(right.image_bgr[:40], read_image(path))
    assert np.array_equal(right.image_bgr, wrong.image_bgr)
    assert right.boxes_xyxy.tolist() == wrong.boxes_xyxy.tolist() == [[10, 10, 30, 30]]


@pytest.mark.parametrize("size", [(1, 1), (300, 1), (64, 64)])
@pytest.mark.parametrize("boxes", [[], [(0.0, 0.0, 1.0, 1.0)]])
def test_one_image_is_enough(tmp_path, size, boxes):
    path = write_image(tmp_path / "one.png", *size)
    one = record(path, *size, *(Instance(box, 0) for box in boxes))
    loader = TrainLoader([one], augmentation=Augmentation(input_size=64, mixup=1.0), batch_size=2, threads=2)
    for stage in (1, 2):
        assert [batch.images.shape for batch in loader.epoch(0, stage)] == [(2, 3, 64, 64)]


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"threads": -1},
        {"seed": -1},
        {"rank": 1},
        {"rank": -1},
        {"world_size": 0},
        {"world_size": 3},
    ],
)
def test_impossible_settings_are_refused(images, options):
    with pytest.raises(InputError, match="Expected batch_size"):
        TrainLoader(images, augmentation=SMALL, **{"batch_size": 2, **options})


def test_batches_share_no_memory(images):
    # What a consumer does to a batch, or to a sample of the cache, must not reach another one.
    augmentation = Augmentation(input_size=64, mixup=0.5)

    def loader() -> TrainLoader:
        return TrainLoader(images, augmentation=augmentation, batch_size=4, threads=2)

    untouched = [batch for epoch in range(2) for stage in (1, 2) for batch in loader().epoch(epoch, stage)]
    spoilt = []
    for epoch in range(2):
        for stage in (1, 2):
            for batch in loader().epoch(epoch, stage):
                spoilt.append(
                    Batch(
                        batch.images.clone(),
                        [boxes.clone() for boxes in batch.boxes],
                        [labels.clone() for labels in batch.labels],
                        batch.file_names,
                    )
                )
                for tensor in (batch.images, *batch.boxes, *batch.labels):
                    tensor.zero_()
    assert equal(untouched, spoilt)


def test_no_images_are_refused():
    with pytest.raises(InputError, match="at least one image"):
        TrainLoader([], augmentation=SMALL, batch_size=2)


def test_the_memo_stays_within_its_limit_and_makes_each_result_once():
    made: list[int] = []

    def make(key: int) -> bytes:
        made.append(key)
        return bytes(10)

    memo: Memo[int, bytes] = Memo(30, len)
    for key in (1, 2, 3, 1, 4, 1, 2):  # 4 pushes out 2, the least recently used; then 2 comes anew
        memo.get(key, lambda key=key: make(key))
        assert memo.held <= 30
    assert memo.held == 30
    assert made == [1, 2, 3, 4, 2]

    gate, results = threading.Event(), []
    slow: Memo[int, int] = Memo(9, lambda _: 1)

    def wait() -> int:
        made.append(99)
        gate.wait(10)
        return 7

    threads = [threading.Thread(target=lambda: results.append(slow.get(0, wait))) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(10)
    assert results == [7] * 4
    assert made.count(99) == 1


def test_of_results_in_turn_the_memo_keeps_those_that_came_first():
    made: list[int] = []
    memo: Memo[int, bytes] = Memo(50, len, stay=30)

    def ask(*keys: int) -> list[int]:
        made.clear()
        for key in keys:
            memo.get(key, lambda key=key: made.append(key) or bytes(10))
            assert memo.held <= 50
        return list(made)

    in_turn = range(10)
    assert ask(*in_turn) == list(in_turn)
    assert ask(*in_turn) == list(range(3, 10))  # without `stay` all ten would be made anew
    assert ask(9, 8) == []
    memo.let_go()
    assert ask(20, 21, 22) == [20, 21, 22]  # these stay now, and the three from before are gone
    assert ask(0, 1, 2, 3, 20, 21, 22) == [0, 1, 2, 3]


def test_the_memo_forgets_failures():
    memo: Memo[int, int] = Memo(9, lambda _: 1)
    with pytest.raises(ZeroDivisionError):
        memo.get(0, lambda: 1 // 0)
    assert memo.get(0, lambda: 5) == 5


# Whole images


def shape_of(record, image_bgr):
    return image_bgr.shape


@pytest.mark.parametrize("threads", [0, 3])
def test_every_image_is_read_once_in_order_with_what_was_made_of_it(images, threads):
    batches = list(prefetch_images(images, lambda _, image: image[:, :9].copy(), 4, threads))
    assert [len(records) for records, _ in batches] == [4, 4, 2]
    assert [record for records, _ in batches for record in records] == images
    for records, made in batches:
        for image, record in zip(made, records, strict=True):
            assert np.array_equal(image, read_image(record.path)[:, :9])
    assert not loader_threads()


def test_an_error_of_what_is_made_of_an_image_is_not_taken_for_an_unreadable_one(images):
    def refuse(record, image_bgr):
        raise InputError("not the image's fault")

    with pytest.raises(InputError, match="fault"):
        list(prefetch_images(images, refuse, 4, on_unreadable=lambda *_: None))
    assert not loader_threads()


def test_no_images_give_no_batches():
    assert list(prefetch_images([], shape_of, 4)) == []


@pytest.mark.parametrize("threads", [0, 2])
def test_an_unreadable_image_raises_or_is_told_and_left_out(images, tmp_path, threads):
    broken = record(tmp_path / "missing.jpg", 1, 1)
    mixed = [images[0], broken, images[1], broken]
    with pytest.raises(InputError, match=r"missing\.jpg"):
        list(prefetch_images(mixed, shape_of, 2, threads))
    told: list[str] = []
    batches = list(
        prefetch_images(mixed, shape_of, 2, threads, on_unreadable=lambda r, _: told.append(r.file_name))
    )
    assert [records for records, _ in batches] == [[images[0]], [images[1]]]
    assert told == ["missing.jpg"] * 2
    assert list(prefetch_images([broken], shape_of, 2, on_unreadable=lambda *_: None)) == []
    assert not loader_threads()
