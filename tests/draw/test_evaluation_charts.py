"""The charts of an evaluation."""

from __future__ import annotations

import subprocess
import sys
import warnings

import cv2
import numpy as np
import pytest

from aerostat.draw.evaluation import Mark, confusion_chart, precision_recall_chart, tide_chart
from aerostat.draw.figure import png_bytes

FALLING = np.linspace(1, 0, 101)


def size_of(content: bytes) -> tuple[int, int]:
    assert content.startswith(b"\x89PNG")
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape[:2]


def test_curves_stand_at_their_recalls_and_the_mark_where_it_belongs() -> None:
    figure = precision_recall_chart({"IoU 0.50": FALLING}, Mark(0.6, 0.8, "best F1"))
    curve, star = figure.axes[0].lines
    np.testing.assert_allclose(curve.get_xdata(), np.arange(101) / 100)
    np.testing.assert_allclose(curve.get_ydata(), FALLING)
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([0.6], [0.8])
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["IoU 0.50", "best F1"]


def test_names_of_classes_are_shown_as_they_are_and_bounded() -> None:
    classes = ("$a_b$", "x" * 300, "自転車", "fish")
    figure = precision_recall_chart(
        {"all": FALLING}, by_class=dict.fromkeys((0, 1, 2), FALLING), classes=classes
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as a glyph that the font lacks
        assert max(size_of(png_bytes(figure))) < 1000
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names[1] == "$a_b$" and len(names[2]) < 40 and "…" in names[2]
    assert names[3] in ("自転車", "class 2")


@pytest.mark.parametrize("count", [1, 2, 5, 13])
def test_the_confusion_matrix_shows_its_counts_and_names(count: int) -> None:
    counts = np.arange((count + 1) ** 2).reshape(count + 1, count + 1)
    counts[-1, -1] = 0
    figure = confusion_chart([f"class {k} $" for k in range(count)], counts)
    axes = figure.axes[0]
    shown = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts}
    assert shown == {
        (r, c): str(n) for (r, c), n in np.ndenumerate(counts) if (n or r == c) and (r, c) != (count, count)
    }
    assert [t.get_text() for t in axes.get_xticklabels()] == [
        *(f"class {k} $" for k in range(count)),
        "missed",
    ]
    assert axes.get_yticklabels()[-1].get_text() == "background"
    assert max(size_of(png_bytes(figure))) < 1400


def test_what_is_right_is_blue_and_what_is_wrong_is_not() -> None:
    figure = confusion_chart(["a"], np.array([[9, 1], [5, 0]]))
    cells = np.asarray(figure.axes[0].images[0].get_array())
    assert cells[0, 0, 2] > cells[0, 0, 0]  # more blue than red
    assert cells[0, 1, 0] > cells[0, 1, 2] and cells[1, 0, 0] > cells[1, 0, 2]


def test_large_counts_are_shortened() -> None:
    figure = confusion_chart(["a"], np.array([[12_345, 999], [4_000_000, 0]]))
    assert {text.get_text() for text in figure.axes[0].texts} == {"12k", "999", "4M"}


def test_an_empty_matrix_is_drawn() -> None:
    assert size_of(png_bytes(confusion_chart(["a"], np.zeros((2, 2), int))))


@pytest.mark.parametrize("won", [None, {"missed": 0.25, "background": 0.0}])
def test_bars_have_the_lengths_of_their_figures(won: dict[str, float] | None) -> None:
    figure = tide_chart({"missed": 12, "background": 0}, won)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [12, 0]
    assert [text.get_text() for text in figure.axes[0].texts] == ["12", "0"]
    assert len(figure.axes) == (1 if won is None else 2)
    if won is not None:
        assert [text.get_text() for text in figure.axes[1].texts] == ["0.250", "0.000"]
    assert size_of(png_bytes(figure))


def test_charts_leave_pyplot_alone() -> None:
    code = (
        "import sys; from aerostat.draw.evaluation import tide_chart;"
        "from aerostat.draw.figure import png_bytes;"
        "assert 'matplotlib' not in sys.modules; png_bytes(tide_chart({'a': 1}));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
