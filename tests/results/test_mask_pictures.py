"""Maps of the numbers of detections, and detections cut out."""

import numpy as np
import pytest

from aerostat.errors import InputError
from aerostat.results.detections import Detections
from aerostat.results.mask_pictures import MAX_NUMBER, cut_outs, label_map


def three() -> Detections:
    masks = np.zeros((3, 6, 8), bool)
    masks[0, 1:4, 1:5] = True
    masks[1, 2:6, 3:8] = True
    boxes = [[1, 1, 5, 4], [3, 2, 8, 6], [0, 0, 2, 2]]
    return Detections(boxes, [0.5, 0.9, 0.7], [0, 1, 0], ("kite", "disc"), masks=masks)


def test_a_map_numbers_the_detections_and_better_ones_cover_others():
    labels = label_map(three())
    assert labels.dtype == np.uint16 and labels.shape == (6, 8)
    expected = np.zeros((6, 8), int)
    expected[1:4, 1:5] = 1
    expected[2:6, 3:8] = 2
    np.testing.assert_array_equal(labels, expected)


def test_of_equal_scores_the_earlier_detection_counts():
    masks = np.ones((2, 2, 2), bool)
    found = Detections([[0, 0, 2, 2]] * 2, [0.5, 0.5], [0, 0], ("kite",), masks=masks)
    assert np.unique(label_map(found)).tolist() == [1]


def test_an_image_without_detections_has_a_map_of_zeros():
    none = Detections.empty(("kite",))
    assert label_map(none, (4, 3)).tolist() == np.zeros((3, 4), int).tolist()
    assert label_map(Detections.empty(("kite",), image_size=(2, 1))).shape == (1, 2)
    with pytest.raises(InputError, match="`image_size`"):
        label_map(none)


def test_a_cut_out_is_the_box_of_the_mask_with_all_else_transparent():
    image = np.random.default_rng(0).integers(1, 255, (6, 8, 3)).astype(np.uint8)
    found = list(cut_outs(three(), image))
    assert [number for number, _ in found] == [1, 2]
    picture = found[1][1]
    assert picture.shape == (4, 5, 4)
    np.testing.assert_array_equal(picture[:, :, :3], image[2:6, 3:8])
    assert (picture[:, :, 3] == 255).all()
    corner = np.zeros((1, 6, 8), bool)
    corner[0, 0, 0] = corner[0, 1, 1] = True
    one = Detections([[0, 0, 2, 2]], [0.5], [0], ("kite",), masks=corner)
    [(_, picture)] = cut_outs(one, image)
    assert picture[:, :, 3].tolist() == [[255, 0], [0, 255]]
    assert picture[0, 1].tolist() == [0, 0, 0, 0]


def test_detections_without_masks_are_refused():
    boxes_alone = Detections([[0, 0, 2, 2]], [0.5], [0], ("kite",), image_size=(4, 4))
    with pytest.raises(InputError, match="Expected detections with masks"):
        label_map(boxes_alone)
    with pytest.raises(InputError, match="Expected detections with masks"):
        list(cut_outs(boxes_alone, np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(InputError, match=r"size of the masks \(8, 6\), found \(8, 7\)"):
        list(cut_outs(three(), np.zeros((7, 8, 3), np.uint8)))


def test_more_detections_than_sixteen_bits_can_number_are_refused():
    count = MAX_NUMBER + 1
    found = Detections(
        np.tile([0, 0, 1, 1], (count, 1)), np.ones(count), np.zeros(count), ("kite",), image_size=(2, 2)
    )
    with pytest.raises(InputError, match="at most 65535"):
        label_map(found)
