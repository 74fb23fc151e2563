"""What is drawn at once, against the published steps and against interpolation worked out in the test."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Instance
from aerostat.pipeline.layout import Layout, Source, Span, Tile, arrange
from aerostat.pipeline.loader import TrainLoader
from aerostat.pipeline.policy import Augmentation, draw_plan
from aerostat.pipeline.render import jitter_hsv, mix, render, resample
from aerostat.scenes.balloons import write_balloons

from . import stepwise


def smooth(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Colours that change slowly, as in a photograph out of focus."""
    cells = [min(8, max(2, length // 20)) for length in (height, width)]
    noise = np.random.default_rng(seed).integers(0, 256, (*cells, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def bilinear(image: np.ndarray, columns: Span, rows: Span) -> np.ndarray:
    """The values between the centres of the image's pixels, in floating point; the outermost go on."""

    def along(values: np.ndarray, span: Span) -> np.ndarray:
        centres = (np.arange(span.start, span.stop) + 0.5) * span.scale + span.origin - 0.5
        centres = np.clip(centres, 0, len(values) - 1)
        lower = np.floor(centres).astype(int)
        upper = np.minimum(lower + 1, len(values) - 1)
        share = (centres - lower)[:, None, None]
        return values[lower] * (1 - share) + values[upper] * share

    return along(along(image.astype(float), rows).transpose(1, 0, 2), columns).transpose(1, 0, 2)


@pytest.mark.parametrize("seed", range(40))
def test_resampling_is_bilinear_at_any_scale_and_place(seed):
    rng = np.random.default_rng(seed)
    image = smooth(int(rng.integers(1, 200)), int(rng.integers(1, 200)), seed)
    spans = []
    for length in (image.shape[1], image.shape[0]):
        scale = float(np.exp(rng.uniform(np.log(0.05), np.log(8))))
        start = int(rng.integers(0, 20))
        count = max(1, min(300, round(length / scale * rng.uniform(0.3, 1.2))))
        origin = float(rng.uniform(-0.2, 0.5)) * length - start * scale
        spans.append(Span(start, start + count, scale, origin))
    columns, rows = spans
    found = resample(image, columns, rows)
    expected = bilinear(image, columns, rows)
    assert found.shape == expected.shape
    # Rounding, 1/32 pixel of displacement, and OpenCV's fixed-point weights.
    steepest = max(np.abs(np.diff(image.astype(int), axis=axis)).max(initial=0) for axis in (0, 1))
    difference = np.abs(found - expected)
    assert difference.max() <= 1.5 + 2 * steepest / 16
    assert difference.mean() <= 0.5 + 2 * steepest / 64


def test_a_slope_is_where_it_belongs_to_a_thirtieth_of_a_pixel():
    # 8 levels per pixel of the image, so that a level is an eighth of a pixel.
    slope = np.repeat(np.arange(0, 256, 8, dtype=np.uint8)[None, :, None], 40, 0).repeat(3, 2)
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(200):
        scale = float(rng.uniform(0.5, 1.5))
        columns = Span(3, 15, scale, float(rng.uniform(0, 5)))
        found = resample(slope, columns, Span(0, 20, 1.0, 5.0)).astype(float)
        errors.append((found - bilinear(slope, columns, Span(0, 20, 1.0, 5.0))).mean() / 8)
    assert np.abs(errors).max() < 0.1
    assert abs(np.mean(errors)) < 0.03  # rounding down in OpenCV, no bias beyond


def draw(layout: Layout, images: Sequence[np.ndarray], side: int, flip: bool = False) -> np.ndarray:
    out = np.full((side, side, 3), 77, np.uint8)
    render(layout, images, (0, 0, 0), flip, out)
    return out


@pytest.mark.parametrize("flip", [False, True])
def test_tiles_are_written_where_they_lie_grey_elsewhere_and_mirrored_within_what_shows(flip):
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    tile = Tile(0, (2, 2), Span(1, 3, 1.0, -1.0), Span(0, 2, 1.0, 0.0))
    out = draw(Layout((5, 4), (tile,), *nothing), [image], 6, flip)
    expected = np.full((6, 6, 3), 114)
    if flip:
        expected[:2, 2:4] = image[:, ::-1]
    else:
        expected[:2, 1:3] = image
    assert (out == expected).all()


def test_without_tiles_there_is_grey():
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    assert (draw(Layout((6, 6), (), *nothing), [], 6) == 114).all()


def test_colours_change_as_in_the_published_step():
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 52, 3)
    assert colours.size == 3 * 52**3
    rng = np.random.default_rng(0)
    gains = [(0, 0, 0), (4, 0, 0), (-4, 0, 0), (0, 29, 0), (0, -29, 0), (0, 0, 29), (0, 0, -29)]
    gains += [(75, 300, -300), (90, 0, 0), (-179, -300, 300), *rng.integers(-29, 30, (5, 3)).tolist()]
    for gain in gains:
        found = jitter_hsv(colours, tuple(gain))
        expected = stepwise.jitter_hsv(colours, tuple(gain)).astype(int)
        assert np.abs(found - expected).max() <= 1, gain
        assert (found != expected).mean() < 0.002, gain  # hues past a full turn are rounded once more


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.7])
def test_colours_change_in_all_that_shows_and_not_in_the_padding(scale):
    image, gains = smooth(200, 200), (3, 20, -20)
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    tile = Tile(0, (200, 200), Span(20, 100, scale, 3.0), Span(0, 90, scale, 7.0))
    layout = Layout((110, 90), (tile,), *nothing)
    plain, changed = (np.empty((128, 128, 3), np.uint8) for _ in range(2))
    render(layout, [image], (0, 0, 0), False, plain)
    render(layout, [image], gains, False, changed)
    expected = plain.copy()
    expected[:90, :110] = stepwise.jitter_hsv(plain[:90, :110], gains)  # Mosaic's grey, too
    assert (changed[90:] == 114).all()
    assert (changed[:, 110:] == 114).all()
    assert np.abs(changed[:90, :20].astype(int) - expected[:90, :20]).max() <= 1
    # Changing colours and interpolating in the other order is the same up to rounding where colours are near.
    assert np.abs(changed.astype(int) - expected).mean() < 0.6


@pytest.mark.parametrize("side", [256, 255])
def test_a_mean_of_two_images_is_rounded_down(side):
    first = np.repeat(np.arange(side, dtype=np.uint8)[:, None, None], side, 1).repeat(3, 2)
    second = first.transpose(1, 0, 2).copy()
    out = np.empty_like(first)
    mix(first, second, out)
    assert (out == (first.astype(int) + second) // 2).all()


# Against the published steps


def jpeg(path: Path, image_bgr: np.ndarray, **options: object) -> Path:
    buffer = io.BytesIO()
    Image.fromarray(image_bgr[..., ::-1]).save(buffer, "JPEG", quality=95, **options)
    path.write_bytes(buffer.getvalue())
    return path


@pytest.fixture(scope="module")
def made_images(tmp_path_factory) -> list[ImageRecord]:
    """Landscape, portrait, square, tiny, long and huge ones, with and without objects, one turned by EXIF."""
    folder = tmp_path_factory.mktemp("made")
    sizes = [(400, 300), (300, 500), (256, 256), (3, 2), (1, 1), (900, 20), (1601, 1203), (190, 250)]
    rng = np.random.default_rng(0)
    records = []
    for index, (width, height) in enumerate(sizes):
        turned = index == 1
        stored = smooth(height, width, index) if turned else smooth(width, height, index)
        exif = Image.Exif()
        exif[0x0112] = 6 if turned else 1
        path = jpeg(folder / f"{index}.jpg", stored, exif=exif)
        corners = rng.uniform(0, 1, (index % 4, 2, 2)) * (width, height)
        boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1).tolist()
        instances = tuple(Instance(tuple(box), label) for label, box in enumerate(boxes))
        records.append(ImageRecord(path, path.name, width, height, instances))
    return records


def in_tiles(
    augmentation: Augmentation, stage: int, position: int, records: Sequence[ImageRecord]
) -> np.ndarray:
    """Where the window shows an image at least two pixels from any seam, on which interpolations differ."""
    plan = draw_plan(augmentation, 0, stage, position)
    sources = [Source((r.width, r.height), r.boxes_xyxy(), r.labels()) for r in records]
    layout = arrange(plan, augmentation, stage, sources)
    shown = np.zeros((augmentation.input_size,) * 2, np.uint8)
    for tile in layout.tiles:
        inside = shown[tile.rows.start : tile.rows.stop, tile.columns.start : tile.columns.stop]
        inside[2:-2, 2:-2] = 1
    if plan.flip:
        width = layout.size[0]
        shown[:, :width] = shown[:, :width][:, ::-1].copy()
    return shown.astype(bool)


def compare(
    records: Sequence[ImageRecord], augmentation: Augmentation, stage: int, positions: int
) -> tuple[np.ndarray, int]:
    """Return the mean difference of each sample from the published steps, and how many boxes there were."""
    loader = TrainLoader(records, augmentation=augmentation, batch_size=4, threads=0)
    plain: dict[int, stepwise.Sample] = {}

    def fetch(position: int) -> stepwise.Sample:
        index = loader.index_at(position)
        if index not in plain:
            plain[index] = stepwise.plain_sample(records[index], augmentation.input_size)
        return plain[index]

    def before_mixup(position: int) -> stepwise.Sample:
        return stepwise.sample_before_mixup(augmentation, 0, stage, position, fetch)

    differences, boxes = [], 0
    for position in range(positions):
        expected = stepwise.augmented_sample(augmentation, 0, stage, position, before_mixup)
        found = loader.sample(position, stage)
        assert found.labels.tolist() == expected.labels.tolist()
        np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=0.5)
        boxes += len(found.labels)
        difference = np.abs(found.image_bgr.astype(int) - expected.image_bgr).mean(-1)
        plan = draw_plan(augmentation, 0, stage, position)
        shown = [position, *(position - back for back in plan.mosaic_partners or ())]
        inside = in_tiles(augmentation, stage, position, [records[loader.index_at(at)] for at in shown])
        if inside.any():
            differences.append(difference[inside].mean())
        assert difference.mean() < 8, "seams and background too"
    return np.asarray(differences), boxes


CASES: list[tuple[int, dict[str, object]]] = [
    (1, {"mixup": 0.0}),
    (1, {"mixup": 1.0}),
    (1, {"mosaic": 0.0, "mixup": 0.0, "flip": 1.0}),
    (1, {"mosaic": 0.5, "resize_ratio": (0.1, 2.0)}),
    (2, {"flip": 1.0}),
    (2, {"flip": 0.0, "resize_ratio": (0.1, 2.0)}),
]


@pytest.mark.parametrize(("stage", "options"), CASES)
def test_samples_are_those_of_the_published_steps(made_images, stage, options):
    differences, boxes = compare(made_images, Augmentation(input_size=160, **options), stage, 40)
    assert len(differences) > 20
    assert boxes > 20
    assert differences.mean() < 1
    # The steps leave pixels out where an image shrinks a lot; and of three pixels enlarged to 160 in a row
    # every colour in between shows, which is changed before it is mixed.
    assert differences.max() < 4


@pytest.mark.parametrize("size", [320, 640])
@pytest.mark.parametrize(("stage", "options"), CASES[:1] + CASES[2:3] + [(2, {}), (1, {})])
def test_photographs_are_those_of_the_published_steps(balloon, size, stage, options):
    records = Dataset.read(balloon, classes=["balloon"]).split("train").images[::2]
    differences, boxes = compare(records, Augmentation(input_size=size, **options), stage, 24)
    assert boxes > 50
    assert differences.mean() < 2


def test_drawn_scenes_are_those_of_the_published_steps(tmp_path):
    write_balloons(tmp_path / "drawn", train=8, val=1, seed=3)
    records = Dataset.read(tmp_path / "drawn", classes=["balloon"]).split("train").images
    for size in (160, 320):
        for stage in (1, 2):
            differences, _ = compare(records, Augmentation(input_size=size), stage, 16)
            assert differences.mean() < 2
