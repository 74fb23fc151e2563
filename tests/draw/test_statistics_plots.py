"""Plots of a data set: what is drawn is what was counted, with titles, names and units."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from aerostat.draw.figure import png_bytes
from aerostat.draw.statistics import (
    class_chart,
    image_size_chart,
    objects_per_image_chart,
    place_chart,
    ratio_chart,
    size_chart,
)

EDGES = np.asarray([8.0, 16, 32, 64, 128, 256])
COUNTS = {"train": np.asarray([0, 1, 3, 6, 0]), "val": np.asarray([0, 0, 1, 0, 1])}


def texts(axes: Any) -> list[str]:
    legend = axes.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def said(axes: Any) -> tuple[str, str, str]:
    return axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()


def heights(axes: Any) -> list[list[float]]:
    return [list(patch.get_data().values) for patch in axes.patches if not patch.get_fill()]


def assert_drawn(figure: Any) -> None:
    """Draw it, and see that no text leaves the picture."""
    assert png_bytes(figure).startswith(b"\x89PNG")
    box = figure.get_tightbbox()
    assert box.x0 >= -0.05 and box.x1 <= figure.get_figwidth() + 0.05
    assert box.y0 >= -0.05 and box.y1 <= figure.get_figheight() + 0.05


@pytest.mark.parametrize("count", [1, 3, 30])
def test_few_classes_have_bars_with_their_numbers(count: int) -> None:
    names = [f"class number {i}" for i in range(count)]
    figure = class_chart(names, {"train": np.arange(count) * 1000, "val": np.arange(count)})
    [axes] = figure.axes
    assert [bar.get_width() for bar in axes.containers[0]] == [1000 * i for i in range(count)]
    assert [bar.get_width() for bar in axes.containers[1]] == list(range(count))
    assert said(axes)[:2] == ("Objects per class", "objects")
    assert texts(axes)[0].startswith("train: ")
    assert_drawn(figure)
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    tops = [label.get_window_extent().y1 for label in axes.get_yticklabels()]
    bottoms = [label.get_window_extent().y0 for label in axes.get_yticklabels()]
    assert all(bottom >= top for bottom, top in zip(bottoms[:-1], tops[1:], strict=True))  # none overlap


def test_many_classes_are_a_curve_and_its_ends() -> None:
    counts = np.random.default_rng(0).permutation(500)
    names = [f"class number {i}" for i in range(500)]
    figure = class_chart(names, {"train": counts, "val": np.zeros(500, int)})
    curve, ends = figure.axes
    assert curve.lines[0].get_ydata().tolist() == sorted(counts.tolist(), reverse=True)
    assert texts(curve) == ["train: 124 750; none of 1 class", "val: 0; none of 500 classes"]
    assert [bar.get_width() for bar in ends.containers[0]] == [*range(499, 487, -1), *range(11, -1, -1)]
    assert_drawn(figure)


@pytest.mark.parametrize("name", ["$x_1$ and \\frac", "$", "", "a" * 300, "气球", "Größe"])
def test_any_class_name_can_be_drawn(name: str) -> None:
    figure = class_chart([name, "other"], {"train": np.asarray([1, 2])})
    assert_drawn(figure)


def test_histograms_are_shares_of_each_split() -> None:
    figure = objects_per_image_chart(np.arange(6), COUNTS)
    [axes] = figure.axes
    assert heights(axes) == [[0, 0.1, 0.3, 0.6, 0], [0, 0, 0.5, 0, 0.5]]
    assert texts(axes) == ["train: 10 images", "val: 2 images"]
    assert said(axes) == ("Objects per image", "objects on the image", "share of the images")
    assert_drawn(figure)


@pytest.mark.parametrize("most", [0, 1, 3, 59])
def test_numbers_of_objects_are_whole_however_few_there_are(most: int) -> None:
    figure = objects_per_image_chart(np.arange(most + 2), {"train": np.ones(most + 1, int)})
    [axes] = figure.axes
    ticks = axes.get_xticks()
    assert len(ticks) and (ticks == np.rint(ticks)).all()


def test_bins_of_several_counts_are_said() -> None:
    [axes] = objects_per_image_chart(np.arange(0, 60, 10), COUNTS).axes
    assert axes.get_xlabel() == "objects on the image, in steps of 10"


def test_sizes_are_marked_with_the_borders_of_coco_and_the_pixels_of_the_input() -> None:
    figure = size_chart(EDGES, COUNTS, EDGES / 256, COUNTS, input_size=640)
    left, right = figure.axes
    assert [line.get_xdata()[0] for line in left.lines] == [32, 96]
    assert {text.get_text() for text in left.texts} == {"small", "medium", "large"}
    assert "pixels" in left.get_xlabel() and "longer side" in right.get_xlabel()
    [above] = right.child_axes
    figure.canvas.draw()
    assert above.get_xlim() == pytest.approx([640 * x for x in right.get_xlim()])
    assert_drawn(figure)
    assert not size_chart(EDGES, COUNTS, EDGES / 256, COUNTS).axes[1].child_axes


def test_ratios_are_said_as_ratios() -> None:
    figure = ratio_chart(np.asarray([0.25, 0.5, 1, 2, 4, 8]), COUNTS)
    [axes] = figure.axes
    assert_drawn(figure)
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert {"1:2", "1:1", "2:1", "4:1"} <= set(names)


def test_places_are_maps_on_one_scale_with_the_top_of_the_image_on_top() -> None:
    places = np.zeros((4, 4))
    places[0, 3] = 0.8
    centres = {"train": np.asarray([[0.9, 0.1]]), "val": np.zeros((0, 2))}
    figure = place_chart({"train": places, "val": places / 2}, centres)
    first, second = figure.axes[:2]
    assert np.array_equal(first.images[0].get_array(), places)
    assert first.images[0].get_clim() == second.images[0].get_clim() == (0, 0.8)
    assert first.get_ylim() == (1, 0)
    assert first.images[0].get_extent() == [0, 1, 1, 0]
    assert_drawn(figure)


def test_where_sizes_are_equally_common_none_is_the_commonest() -> None:
    [axes] = image_size_chart({"train": np.asarray([[640, 480, 2], [480, 640, 2]])}).axes
    assert texts(axes) == ["train: 4 images, 2 sizes"]  # neither is the commonest


def test_image_sizes_say_the_commonest() -> None:
    sizes = {"train": np.asarray([[640, 480, 9], [480, 640, 1]]), "val": np.asarray([[8000, 100, 1]])}
    figure = image_size_chart({**sizes, "test": np.zeros((0, 3), int)})
    [axes] = figure.axes
    assert texts(axes) == [
        "train: 10 images, 2 sizes; commonest 640 × 480 (90%)",
        "val: 1 image of 8000 × 100",
    ]
    assert said(axes) == ("Image sizes", "width, pixels", "height, pixels")
    assert axes.get_xlim()[1] > 8000
    assert_drawn(figure)


@pytest.mark.parametrize("counts", [{}, {"train": np.zeros(5, int)}])
def test_nothing_to_show_is_shown_as_nothing(counts: dict[str, np.ndarray]) -> None:
    for figure in (
        ratio_chart(EDGES, counts or {"all": np.zeros(5, int)}),
        size_chart(EDGES, counts or {"all": np.zeros(5, int)}, EDGES, counts or {"all": np.zeros(5, int)}),
        image_size_chart({name: np.zeros((0, 3), int) for name in counts}),
    ):
        assert_drawn(figure)


def test_seven_splits_are_drawn() -> None:
    counts = {f"split {k}": COUNTS["train"] for k in range(7)}
    assert_drawn(objects_per_image_chart(np.arange(6), counts))


def test_plotting_statistics_leaves_pyplot_alone() -> None:
    code = (
        "import sys, numpy as np; from aerostat.draw.figure import png_bytes;"
        "from aerostat.draw.statistics import class_chart;"
        "png_bytes(class_chart(['a'], {'train': np.asarray([1])}));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
