"""What is asked of a prediction, and what it comes to for a model."""

import numpy as np
import pytest

from aerostat.geometry.postprocess import Candidates
from aerostat.inference.options import PredictOptions
from aerostat.inference.tta import TTA


def crowd(count: int) -> Candidates:
    """Return boxes that do not overlap, best first, with a column of their own."""
    corners = np.stack([np.arange(count) * 30.0, np.zeros(count)], 1)
    boxes = np.concatenate([corners, corners + 20], 1).astype(np.float32)
    scores = np.linspace(0.9, 0.1, count, dtype=np.float32)
    return Candidates(boxes, scores, np.zeros(count, np.int64), columns={"row": np.arange(count)})


def test_without_augmentation_there_is_one_view_at_the_own_size():
    plan = PredictOptions().plan((320, 256))
    (view,) = plan.views.views
    assert (view.input_size, view.flip) == ((320, 256), False)
    assert plan.view_score == 0.3


@pytest.mark.parametrize(("merge", "score"), [("wbf", 0.001), ("nms", 0.3)])
def test_views_keep_weak_boxes_where_fusion_averages_them(merge, score):
    assert PredictOptions(tta=TTA(merge=merge)).plan((320, 320)).view_score == score


def test_a_single_view_keeps_as_many_as_asked_and_several_views_more():
    asked = {"max_detections": 2, "score": 0.0}
    wide = (100_000, 100)
    assert len(PredictOptions(**asked).plan((320, 320)).keep(crowd(500), wide)) == 2
    assert len(PredictOptions(**asked, tta=True).plan((320, 320)).keep(crowd(500), wide)) == 300


def test_the_result_has_the_best_above_the_score_with_their_columns():
    plan = PredictOptions(score=0.5, max_detections=3).plan((320, 320))
    result = plan.merge([crowd(9)])
    assert result.columns["row"].tolist() == [0, 1, 2]
    assert plan.merge([crowd(9).take(slice(4, None))]).scores.tolist() == []


def test_an_option_that_does_not_exist_is_refused():
    with pytest.raises(TypeError, match="score_threshold"):
        PredictOptions(score_threshold=0.5)
