"""The drawn sample data: the same from the same seed, annotated as people annotate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.errors import InputError
from aerostat.scenes.backdrops import Backdrop
from aerostat.scenes.balloons import draw_scene, visible_outlines, write_balloons
from aerostat.scenes.brushes import make_light, smooth_noise
from aerostat.scenes.drawn_balloon import Balloon, Look, balloon_profile, draw_balloon

SIZE = (160, 120)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def backdrop(width: int = 320, height: int = 240) -> Backdrop:
    image = np.full((height, width, 3), 200, np.uint8)
    light = make_light(np.random.default_rng(0), image, (-0.5, -0.6, 0.6), 0.9, 0.0, "window")
    return Backdrop(image, light, height * 0.5, None, False, 0.0)


def red_balloon(x: float, y: float, radius: float, angle: float = 0.0) -> Balloon:
    look = Look(np.asarray([0.0, 0.0, 0.6], np.float32), 0.04, 0.0, 0.0, 0.0, "none", np.ones(3, np.float32))
    return Balloon(x, y, radius, angle, balloon_profile(np.random.default_rng(3)), look)


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        assert write_balloons(tmp_path / name, train=4, val=2, size=SIZE, seed=seed) == tmp_path / name
    first, again, other = (contents(tmp_path / name) for name in "abc")
    assert first == again
    assert all(first[name] != other[name] for name in first)
    assert len(first) == 4 + 2 + 2


def test_a_scene_depends_neither_on_how_many_are_drawn_nor_on_threads(tmp_path: Path) -> None:
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        few = contents(write_balloons(tmp_path / "few", train=2, val=1, size=SIZE))
        cv2.setNumThreads(4)
        many = contents(write_balloons(tmp_path / "many", train=5, val=3, size=SIZE))
    finally:
        cv2.setNumThreads(threads)
    for name in ("train/scene_0001.jpg", "train/scene_0002.jpg", "val/scene_0001.jpg"):
        assert few[name] == many[name]
    assert few["train/scene_0001.jpg"] != few["val/scene_0001.jpg"]


def test_annotations_have_the_form_of_the_balloon_data(tmp_path: Path) -> None:
    write_balloons(tmp_path, train=12, val=3, size=SIZE)
    for split, count in (("train", 12), ("val", 3)):
        entries = json.loads((tmp_path / split / "via_region_data.json").read_bytes())
        assert len(entries) == count
        for key, entry in entries.items():
            path = tmp_path / split / entry["filename"]
            assert key == f"{path.name}{path.stat().st_size}"
            assert entry["size"] == path.stat().st_size
            assert cv2.imread(str(path)).shape == (SIZE[1], SIZE[0], 3)
            for region in entry["regions"].values():
                shape = region["shape_attributes"]
                xs, ys = shape["all_points_x"], shape["all_points_y"]
                assert region["region_attributes"] == {}
                assert shape["name"] == "polygon"
                assert len(xs) == len(ys) >= 4
                assert (xs[0], ys[0]) == (xs[-1], ys[-1])
                assert all(type(v) is int for v in xs + ys)
                assert min(xs) >= 0 <= min(ys) and max(xs) <= SIZE[0] and max(ys) <= SIZE[1]


def test_the_reader_of_via_files_takes_every_region_without_complaint(tmp_path: Path) -> None:
    write_balloons(tmp_path, train=10, val=2, size=SIZE)
    entries = json.loads((tmp_path / "train" / "via_region_data.json").read_bytes())
    dataset = Dataset.read(tmp_path, classes=["balloon"])
    train = dataset.split("train")
    assert train.box_count == sum(len(entry["regions"]) for entry in entries.values()) > 0
    assert len(train) == 10


@pytest.mark.parametrize("size", [(64, 64), (90, 400), (400, 90), (640, 480), (1800, 1300)])
def test_any_size_is_drawn_with_its_outlines_inside(size: tuple[int, int]) -> None:
    width, height = size
    for seed in range(3):
        image, outlines = draw_scene(np.random.default_rng(seed), width, height)
        assert image.shape == (height, width, 3)
        assert image.dtype == np.uint8
        for outline in outlines:
            assert outline.shape[1] == 2 and len(outline) >= 3
            assert (outline >= 0).all() and (outline <= size).all()


def test_scenes_vary_from_none_to_many_balloons() -> None:
    counts = [len(draw_scene(np.random.default_rng([1, seed]), 64, 64)[1]) for seed in range(80)]
    assert 0 < counts.count(0) < 20
    assert max(counts) >= 10
    assert 2 < np.mean(counts) < 12


@pytest.mark.parametrize(("radius", "angle"), [(40, 0.0), (70, 2.0), (15, -0.7)])
def test_an_outline_encloses_exactly_the_pixels_that_its_balloon_changed(radius: float, angle: float) -> None:
    scene = backdrop()
    canvas, cover = scene.image.copy(), np.zeros((240, 320), np.uint8)
    balloon = red_balloon(150, 110, radius, angle)
    draw_balloon(np.random.default_rng(0), canvas, cover, 1, balloon, scene)
    changed = cv2.absdiff(canvas, scene.image).max(axis=2) > 50  # more than half covered, or the highlight
    x, y = np.meshgrid(np.arange(320) + 0.5, np.arange(240) + 0.5)  # pixel centres, tested one by one
    outline = balloon.annotation().astype(np.float32)
    inside = np.asarray(
        [cv2.pointPolygonTest(outline, p, False) >= 0 for p in zip(x.ravel(), y.ravel(), strict=True)]
    )
    inside = inside.reshape(changed.shape)
    assert (changed & inside).sum() / (changed | inside).sum() > (0.98 if radius > 20 else 0.93)
    assert ((cover == 1) & inside).sum() / ((cover == 1) | inside).sum() > (0.98 if radius > 20 else 0.93)


def test_a_balloon_is_shaded_round_and_thins_to_a_knot() -> None:
    scene = backdrop()
    canvas, cover = scene.image.copy(), np.zeros((240, 320), np.uint8)
    balloon = red_balloon(160, 100, 60)
    draw_balloon(np.random.default_rng(0), canvas, cover, 1, balloon, scene)
    light_side, dark_side = canvas[75, 125, 2], canvas[130, 200, 2]  # the light comes from the upper left
    assert int(light_side) > int(dark_side) + 20
    widths = (cover == 1).sum(axis=1)
    rows = np.flatnonzero(widths)
    assert widths[rows[-3]] < 0.2 * widths.max()  # the knot
    assert widths[rows[3]] > 0.2 * widths.max()  # the crown


@pytest.mark.parametrize(
    ("front", "kept"),
    [
        ((100.0, 100.0, 60.0), [1]),  # the first is covered: only the second is annotated
        ((260.0, 100.0, 30.0), [0, 1]),  # apart: both
        ((120.0, 100.0, 18.0), [0, 1]),  # partly covered: both
    ],
)
def test_a_balloon_of_which_less_than_a_quarter_shows_is_not_annotated(
    front: tuple[float, float, float], kept: list[int]
) -> None:
    group = [red_balloon(100, 100, 25), red_balloon(*front)]
    outlines = visible_outlines(group, drawn_cover(group))
    assert len(outlines) == len(kept)
    for outline, index in zip(outlines, kept, strict=True):
        np.testing.assert_allclose(outline, group[index].annotation())


def test_a_balloon_beyond_the_border_is_cut_there_or_dropped() -> None:
    half, nearly_out = red_balloon(0, 120, 40), replace(red_balloon(150, -52, 50), angle=np.pi)
    (outline,) = visible_outlines([half, nearly_out], drawn_cover([half, nearly_out]))
    assert outline[:, 0].min() == 0.0
    assert outline[:, 0].max() == pytest.approx(40, abs=0.5)


def drawn_cover(group: Sequence[Balloon]) -> np.ndarray:
    """Draw balloons one over the other, and return the number of the balloon that each pixel shows."""
    scene = backdrop()
    canvas, cover = scene.image.copy(), np.zeros((240, 320), np.uint8)
    for number, balloon in enumerate(group, start=1):
        draw_balloon(np.random.default_rng(0), canvas, cover, number, balloon, scene)
    return cover


def test_no_scenes_leave_readable_empty_annotation_files(tmp_path: Path) -> None:
    write_balloons(tmp_path, train=0, val=0, size=SIZE)
    assert contents(tmp_path) == {"train/via_region_data.json": b"{}", "val/via_region_data.json": b"{}"}


@pytest.mark.parametrize("wrong", [{"train": -1}, {"val": -2}, {"size": (63, 480)}, {"size": (640, 0)}])
def test_impossible_requests_are_refused_in_one_sentence_before_anything_is_written(
    wrong: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"^Expected scenes .* found .*\.$"):
        write_balloons(tmp_path / "new", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("octaves", "stretch"), [(1, 1.0), (4, 1.0), (3, 8.0), (3, 0.05)])
def test_noise_fills_its_range_without_leaving_it_far(octaves: int, stretch: float) -> None:
    noise = smooth_noise(np.random.default_rng(0), 60, 80, 5, octaves, stretch)
    assert noise.shape == (60, 80)
    assert -0.3 < noise.min() < 0.45 < 0.55 < noise.max() < 1.3


def test_places_can_be_chosen_and_all_of_them_give_the_same_bytes_as_no_choice(tmp_path: Path) -> None:
    night = write_balloons(tmp_path / "night", train=8, val=0, size=SIZE, seed=2, backdrops=["night"])
    studio = write_balloons(tmp_path / "studio", train=8, val=0, size=SIZE, seed=2, backdrops=["studio"])
    bright = [
        np.mean([cv2.imread(str(path)).mean() for path in sorted((folder / "train").glob("*.jpg"))])
        for folder in (night, studio)
    ]
    assert bright[0] < bright[1] / 2
    plain, chosen = (tmp_path / name for name in ("plain", "chosen"))
    write_balloons(plain, train=2, val=1, size=SIZE)
    write_balloons(chosen, train=2, val=1, size=SIZE, backdrops=())
    assert contents(plain) == contents(chosen)


def test_a_place_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Unknown backdrop 'moon'; the backdrops are open_sky, meadow"):
        write_balloons(tmp_path, train=1, val=0, size=SIZE, backdrops=["night", "moon"])
