"""What is drawn of an annotated object: its polygons, or the rings of its mask."""

import numpy as np
import pytest
from pycocotools import mask as coco

from aerostat.datasets.drawn_outlines import drawn_outline
from aerostat.datasets.instances import Instance
from aerostat.draw.shapes import Shape
from aerostat.geometry.masks import Masks

FILLED = np.zeros((40, 60), np.uint8)
FILLED[10:20, 5:25] = 1
FILLED[12:15, 8:11] = 0
FILLED[30:38, 40:55] = 1


def packed() -> dict:
    rle = coco.encode(np.asfortranarray(FILLED))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def plain() -> dict:
    changes = np.flatnonzero(np.diff(np.concatenate([[0], FILLED.T.ravel(), [0]])))
    return {"size": [40, 60], "counts": np.diff([0, *changes.tolist(), FILLED.size]).tolist()}


@pytest.mark.parametrize("rle", [packed(), plain()], ids=["packed", "plain"])
def test_a_mask_is_drawn_along_its_edges_with_its_holes(rle):
    shape = drawn_outline(Instance((5, 10, 55, 38), 0, rle=rle), (2.0, 1.0))
    assert isinstance(shape, Shape)
    half = [ring / (2, 1) for ring in shape.rings]
    assert len(half) == 3
    drawn = sum(mask.astype(int) for mask in Masks.from_polygons([[ring] for ring in half], (60, 40)))
    np.testing.assert_array_equal(drawn % 2, FILLED)


def test_polygons_go_before_masks_and_are_scaled():
    polygon = np.asarray([[0.0, 0], [4, 0], [4, 4]])
    (drawn,) = drawn_outline(Instance((0, 0, 4, 4), 0, (polygon,), rle=packed()), (0.5, 2.0))
    assert drawn.tolist() == [[0, 0], [2, 0], [2, 8]]


@pytest.mark.parametrize("rle", [{}, {"size": [4, 4], "counts": "#"}, {"size": [4, 4], "counts": [3]}])
def test_a_broken_mask_and_an_object_without_one_have_nothing_to_draw(rle):
    assert drawn_outline(Instance((0, 0, 4, 4), 0, rle=rle)) is None
    assert drawn_outline(Instance((0, 0, 4, 4), 0)) is None


def test_a_mask_of_a_huge_image_is_drawn_too():
    shape = drawn_outline(
        Instance((0, 0, 9000, 9000), 0, rle={"size": [9000, 9000], "counts": [0, 81_000_000]})
    )
    assert isinstance(shape, Shape)
    assert shape.rings[0].tolist() == [[0, 0], [9000, 0], [9000, 9000], [0, 9000]]
