"""D-RISE on black boxes whose answers depend on known pixels."""

import numpy as np
import pytest

from aerostat.errors import InputError
from aerostat.explanation.black_box import scorer_of_black_box
from aerostat.explanation.drise import Masks, drise, masked_images, random_mask
from aerostat.results.detections import Detections

BOX = (40, 24, 72, 48)  # x1, y1, x2, y2 of the pixels that the black box looks at
WHITE = np.full((96, 128, 3), 255, np.uint8)


def sees(images_bgr: np.ndarray) -> list[Detections]:
    """Find a box wherever it claims to be, by the brightness of the pixels in BOX alone."""
    x1, y1, x2, y2 = BOX
    scores = images_bgr[:, y1:y2, x1:x2].mean((1, 2, 3)) / 255
    return [Detections(np.asarray([[80, 60, 120, 90]]), [score], [0], ("white",)) for score in scores]


SCORER = scorer_of_black_box(sees, np.asarray([[80.0, 60, 120, 90]]), np.asarray([0]))


def share_inside(heat: np.ndarray, margin: int = 0) -> float:
    x1, y1, x2, y2 = BOX
    inside = heat[y1 - margin : y2 + margin, x1 - margin : x2 + margin]
    return float(inside.sum() / heat.sum())


def test_heat_lies_where_the_black_box_looks_and_not_where_it_finds() -> None:
    heat = drise(SCORER, WHITE, masks=Masks(400))[0]
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert BOX[0] <= x < BOX[2] and BOX[1] <= y < BOX[3]
    assert share_inside(heat, margin=8) > 0.85  # a mask's cell has 8 px
    assert heat[60:90, 80:120].sum() < 0.05 * heat.sum()  # the box that is found


def test_more_masks_give_a_cleaner_map() -> None:
    few, many = (share_inside(drise(SCORER, WHITE, masks=Masks(n))[0], 8) for n in (60, 1200))
    assert many > few


def test_the_same_seed_gives_the_same_map_whatever_the_batches_and_another_seed_another() -> None:
    first = drise(SCORER, WHITE, masks=Masks(50, seed=4))
    assert np.allclose(first, drise(SCORER, WHITE, masks=Masks(50, seed=4, batch=7)), atol=1e-6)
    assert np.array_equal(first, drise(SCORER, WHITE, masks=Masks(50, seed=4)))
    assert not np.allclose(first, drise(SCORER, WHITE, masks=Masks(50, seed=5)), atol=1e-3)


def test_a_detector_that_answers_the_same_whatever_is_covered_gives_no_heat() -> None:
    heat = drise(lambda images: np.full((len(images), 2), 0.7), WHITE, masks=Masks(40))
    assert heat.shape == (2, 96, 128)
    assert not heat.any()


def test_each_detection_has_its_own_map_from_the_same_masks() -> None:
    def corners(images: np.ndarray) -> np.ndarray:
        return np.stack([images[:, :24, :24].mean((1, 2, 3)), images[:, -24:, -24:].mean((1, 2, 3))], 1)

    top_left, bottom_right = drise(corners, WHITE, masks=Masks(300))
    assert top_left[:32, :32].sum() > 0.8 * top_left.sum()
    assert bottom_right[-32:, -32:].sum() > 0.8 * bottom_right.sum()


def test_padding_is_never_masked_and_has_no_heat() -> None:
    image = WHITE.copy()
    image[60:] = 7
    for shown, images in masked_images(image, (128, 60), Masks(9, batch=4)):
        assert shown.shape[1:] == (60, 128)
        assert (images[:, 60:] == 7).all()
    heat = drise(lambda images: images[:, :60, :16].mean((1, 2)), image, (128, 60), masks=Masks(60))
    assert heat[:, :60].any()
    assert not heat[:, 60:].any()


def test_masks_show_and_cover_every_pixel_equally_often() -> None:
    generator = np.random.default_rng(0)
    masks = np.stack([random_mask((50, 30), generator, Masks(grid=8, keep=0.3)) for _ in range(2000)])
    assert masks.min() >= 0 and masks.max() <= 1
    assert masks.mean(0) == pytest.approx(np.full((30, 50), 0.3), abs=0.05)


def test_the_image_shows_through_a_mask_in_proportion() -> None:
    image = np.full((8, 8, 3), 200, np.uint8)
    shown, images = next(masked_images(image, (8, 8), Masks(2, grid=3, fill=100)))
    assert images[0, ..., 0] == pytest.approx(100 + 100 * shown[0], abs=0.51)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (300, 1, 3), (3, 2, 3)])
def test_images_of_few_pixels_are_masked_too(shape: tuple[int, int, int]) -> None:
    heat = drise(lambda images: images.mean((1, 2)), np.full(shape, 255, np.uint8), masks=Masks(30))
    assert heat.shape == (3, *shape[:2])
    assert np.isfinite(heat).all()


@pytest.mark.parametrize("wrong", [{"count": 1}, {"grid": 0}, {"keep": 0.0}, {"keep": 1.0}, {"batch": 0}])
def test_numbers_out_of_their_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"Expected (at least 2 masks|masks of at least 1 cell)"):
        Masks(**wrong)


def test_scores_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="not a number"):
        drise(lambda images: np.full((len(images), 1), np.nan), WHITE, masks=Masks(4))
