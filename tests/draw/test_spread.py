import math

import cv2
import numpy as np

from aerostat.draw.spread import Row, plot_spread


def test_means_stand_in_the_order_of_their_values(tmp_path):
    rows = [Row("low", [0.2, 0.3], 0.25, 0.1, 0.4), Row("high", [0.7, 0.8], 0.75, 0.7, 0.8, [0.8, 0.9])]
    image = cv2.imread(str(plot_spread(rows, tmp_path / "deep" / "s.png", title="AP", measure="AP")))
    blue, green, red = (image[..., i].astype(int) for i in range(3))
    bars = (abs(blue - 0xB2) < 12) & (abs(green - 0x72) < 12) & (red < 12)
    heights = np.flatnonzero(bars.any(1))
    middle = (heights[0] + heights[-1]) // 2  # the legend repeats the colours beneath
    first = np.median(np.nonzero(bars[: heights[0] + 30])[1])
    second = np.median(np.nonzero(bars[middle - 60 : middle + 40])[1])
    assert first + 100 < second


def test_one_run_has_no_interval_and_any_name_will_do(tmp_path):
    rows = [Row("$x_{1} <b> [red]", [0.5], 0.5, math.nan, math.nan)]
    assert cv2.imread(str(plot_spread(rows, tmp_path / "s.png", title="AP", measure="AP"))).shape[1] > 600
