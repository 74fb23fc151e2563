"""The picture of deletion and insertion curves."""

import io
import re

import numpy as np
import pytest

from aerostat.draw.score_curves import ScoreCurves, score_curves

SHARES = np.linspace(0, 1, 9) ** 2


def made(name: str, control: bool = False) -> ScoreCurves:
    return ScoreCurves(name, (SHARES, 1 - SHARES), (SHARES, SHARES), control)


def test_both_panels_hold_every_curve_and_the_legend_names_the_areas() -> None:
    figure = score_curves([made("mine"), made("chance", control=True)], "title")
    assert [len(axes.get_lines()) for axes in figure.axes] == [2, 2]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    area = float(np.trapezoid(SHARES, SHARES))
    assert texts == [f"mine: {1 - area:.3f}, {area:.3f}", f"chance: {1 - area:.3f}, {area:.3f}"]


def test_controls_are_told_apart_from_what_is_measured_without_colour() -> None:
    figure = score_curves([made("mine"), made("a", control=True), made("b", control=True)], "title")
    for line, name in zip(figure.axes[0].get_lines(), ("whole", "first", "second"), strict=True):
        line.set_gid(name)
    written = io.StringIO()
    figure.savefig(written, format="svg")
    styles = {
        name: re.search(rf'<g id="{name}">.*?style="([^"]*)"', written.getvalue(), re.DOTALL)[1]
        for name in ("whole", "first", "second")
    }
    dashes = {name: re.findall(r"stroke-dasharray: ([^;]+)", style) for name, style in styles.items()}
    assert dashes["whole"] == []
    assert dashes["first"] and dashes["second"] and dashes["first"] != dashes["second"]


def test_scores_above_that_of_the_photograph_stay_in_the_picture() -> None:
    high = ScoreCurves("high", (SHARES, 1.4 - SHARES), (SHARES, SHARES))
    assert score_curves([high], "title").axes[0].get_ylim()[1] > 1.4


@pytest.mark.parametrize("count", [1, 12])
def test_few_and_many_curves_are_drawn(count: int) -> None:
    score_curves([made(f"a method of backbone.stage{i}") for i in range(count)], "title").canvas.draw()


def test_a_photograph_of_one_block_has_curves_of_two_points() -> None:
    two = (np.asarray([0.0, 1]), np.asarray([1.0, 0]))
    score_curves([ScoreCurves("mine", two, two)], "title").canvas.draw()
