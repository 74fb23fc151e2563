"""The curves of a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aerostat.runs.curves import ap_curve, loss_curve, lr_curve, plot_training

Line = dict[str, Any]


def train_line(epoch: int, iteration: int, loss: float = 1.0) -> Line:
    parts = {"loss_cls": loss * 0.25, "loss_bbox": loss * 0.75, "lr": 1e-3, "images_per_second": 9.0}
    return {"kind": "train", "epoch": epoch, "iteration": iteration, "loss": loss, **parts}


def val_line(epoch: int, ap: float) -> Line:
    return {"kind": "val", "epoch": epoch, "ap": ap, "ap50": ap * 1.2, "ap75": ap * 1.1}


RUN = [train_line(e, 10 * e + i, 3 / e) for e in range(1, 6) for i in range(10)]
VAL = [val_line(e, ap) for e, ap in ((1, 0.1), (2, 0.5), (3, 0.7), (4, 0.7), (5, 0.6))]


def labels(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        (RUN + VAL + [{"kind": "stage", "epoch": 4}], ["loss.png", "lr.png", "ap.png"]),
        (RUN, ["loss.png", "lr.png"]),
        ([train_line(1, 1)], ["loss.png", "lr.png"]),
        ([train_line(1, 1), val_line(1, 0.0)], ["loss.png", "lr.png", "ap.png"]),
        (VAL, ["ap.png"]),
        ([{"kind": "train", "epoch": 1, "loss": 2.0}], ["loss.png"]),
        ([train_line(1, 1, float("nan"))], ["lr.png"]),
        ([{"kind": "environment", "torch": "2.13"}, {"kind": "stage", "epoch": 2}], []),
        ([], []),
    ],
)
def test_what_there_is_to_plot_is_written_and_nothing_else(
    metrics: list[Line], names: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "plots"
    assert plot_training(metrics, folder) == [folder / name for name in names]
    for name in names:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in folder.glob("*")) == sorted(names)


def test_the_best_epoch_is_the_first_of_the_highest_ap() -> None:
    figure = ap_curve(VAL)
    assert figure is not None
    assert "best: AP 0.700, epoch 3" in labels(figure)
    star = next(line for line in figure.axes[0].lines if line.get_marker() == "*")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (3, 0.7)


def test_with_masks_their_ap_is_a_line_and_decides_which_epoch_is_the_best() -> None:
    masks = [{**line, "mask_ap": ap} for line, ap in zip(VAL, (0.1, 0.6, 0.3, 0.2), strict=False)]
    figure = ap_curve(masks)
    assert figure is not None
    assert {"mask AP", "best: mask AP 0.600, epoch 2"} <= set(labels(figure))
    star = next(line for line in figure.axes[0].lines if line.get_marker() == "*")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (2, 0.6)


def test_the_second_stage_is_marked_where_its_first_epoch_begins() -> None:
    for chart in (loss_curve, lr_curve):
        figure = chart([*RUN, {"kind": "stage", "epoch": 4}])
        assert figure is not None
        assert "second stage" in labels(figure)
        mark = next(line for line in figure.axes[0].lines if line.get_label() == "second stage")
        assert list(mark.get_xdata()) == [3, 3]


def test_training_lines_are_spread_over_their_epochs_and_smoothed_without_a_shift() -> None:
    steps = [train_line(e, 0, value) for e in (1, 2) for value in np.linspace(4, 2, 100)]
    figure = loss_curve(steps)
    assert figure is not None
    curve = next(line for line in figure.axes[0].lines if line.get_label() == "loss")
    x, y = np.asarray(curve.get_xdata()), np.asarray(curve.get_ydata())
    assert x[0] == pytest.approx(0.01) and x[99] == 1.0 and x[-1] == 2.0
    assert y[0] == 4.0
    assert y[150] == pytest.approx(np.linspace(4, 2, 100)[46:51].mean())  # the mean of the last five


def test_a_long_run_and_missing_parts_are_plotted(tmp_path: Path) -> None:
    lines = [{"kind": "train", "epoch": 1 + i // 1000, "loss": 1.0, "lr": 0.1} for i in range(30000)]
    assert len(plot_training(lines, tmp_path)) == 2


def test_plotting_leaves_pyplot_alone(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from aerostat.runs.curves import plot_training;"
        "plot_training([{'kind': 'train', 'epoch': 1, 'loss': 1.0, 'lr': 0.1}], Path(sys.argv[1]));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
