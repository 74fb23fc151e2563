"""Heat over photographs, captions and contact sheets."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest

from aerostat.draw.heatmap import captioned, contact_sheet, heat_colours, outline_boxes, overlay_heat
from aerostat.draw.palette import relative_luminance
from aerostat.errors import InputError


def photograph(width: int = 60, height: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_more_heat_is_brighter_at_every_step() -> None:
    ramp = heat_colours(np.linspace(0, 1, 256, dtype=np.float32)[None])[0]
    luminance = [relative_luminance(tuple(map(int, colour))) for colour in ramp]
    assert luminance == sorted(luminance)
    assert luminance[0] < 0.01 and luminance[-1] > 0.9


def test_the_photograph_is_untouched_where_there_is_no_heat() -> None:
    image = photograph()
    heat = np.zeros((40, 60), np.float32)
    heat[10:20, 30:40] = 1
    drawn = overlay_heat(image, heat)
    changed = (drawn != image).any(axis=2)
    assert changed[10:20, 30:40].mean() > 0.99
    changed[10:20, 30:40] = False
    assert not changed.any()


def test_the_photograph_is_grey_everywhere_if_asked_so_that_colour_means_heat() -> None:
    image = photograph()
    drawn = overlay_heat(image, np.zeros((40, 60)), grey=True)
    assert (drawn == cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None]).all()


def test_the_strength_is_how_much_of_the_photograph_the_brightest_heat_covers() -> None:
    image, heat = photograph(), np.ones((40, 60))
    assert (overlay_heat(image, heat, strength=1) == heat_colours(heat)).all()
    lightness = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None].astype(float)
    half = overlay_heat(image, heat, strength=0.5)
    assert np.abs(half - (lightness + heat_colours(heat)) / 2).max() <= 1


def test_heat_beyond_the_range_is_clipped_and_the_photograph_given_stays_as_it_was() -> None:
    image = photograph()
    before = image.copy()
    a = overlay_heat(image, np.full((40, 60), 7.0))
    assert (a == overlay_heat(image, np.ones((40, 60)))).all()
    assert (overlay_heat(image, np.full((40, 60), -1.0)) == before).all()
    assert (image == before).all()


def test_a_photograph_in_bands_is_the_same_as_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    image, heat = photograph(), np.linspace(0, 1, 2400).reshape(40, 60)
    whole = overlay_heat(image, heat)
    monkeypatch.setattr("aerostat.draw.heatmap.BAND_PIXELS", 7 * 60)
    assert (overlay_heat(image, heat) == whole).all()


def test_a_huge_photograph_needs_little_more_memory_than_its_result() -> None:
    image, heat = np.zeros((3000, 4000, 3), np.uint8), np.zeros((3000, 4000), np.float32)
    tracemalloc.start()
    overlay_heat(image, heat)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < image.nbytes + 80e6  # a single float copy of the photograph would be 144 MB


@pytest.mark.parametrize(
    ("heat", "strength", "said"),
    [
        (np.zeros((60, 40)), 0.5, r"shape \(40, 60\).*found \(60, 40\)"),
        (np.full((40, 60), np.nan), 0.5, "finite"),
        (np.zeros((40, 60)), 1.5, r"strength in \[0, 1\], found 1.5"),
    ],
)
def test_heat_that_does_not_fit_is_refused(heat: np.ndarray, strength: float, said: str) -> None:
    with pytest.raises(InputError, match=said):
        overlay_heat(photograph(), heat, strength=strength)


def test_heat_that_is_no_plane_has_no_colours() -> None:
    with pytest.raises(InputError, match=r"\(H, W\)"):
        heat_colours(np.zeros((3, 4, 5)))


@pytest.mark.parametrize("size", [(1, 1), (30, 20), (480, 10), (2000, 1500)])
def test_the_caption_stands_below_the_untouched_image(size: tuple[int, int]) -> None:
    image = photograph(*size)
    done = captioned(image, ["bbox_head.cls_convs[0][1].pointwise_conv, stride 8", "mean"], ("-1.5", "2.25"))
    assert (done[: size[1]] == image).all() and done.shape[1] == size[0] and done.shape[0] > size[1]


def test_the_scale_goes_from_the_darkest_to_the_brightest_colour() -> None:
    band = captioned(photograph(800, 600), ["one"], ("0", "1"))[600:]
    plain = captioned(photograph(800, 600), ["one"])[600:]
    assert band.shape[0] > plain.shape[0]
    colours = heat_colours(np.array([[0.0, 0.5, 1.0]]))[0]
    columns = [np.flatnonzero((band == colour).all(axis=2).any(axis=0)) for colour in colours]
    assert columns[0].min() < columns[1].mean() < columns[2].max()


def test_titles_and_pictures_stand_where_rows_and_columns_meet() -> None:
    colours = [[(10, 20, 30), (40, 50, 60)], [None, (70, 80, 90)]]
    cells = [[None if c is None else np.full((40, 60, 3), c, np.uint8) for c in row] for row in colours]
    sheet = contact_sheet(cells, ["first", "second"], ["left", "right"], cell=(60, 40), gap=8)
    place = {c: np.argwhere((sheet == c).all(axis=2)) for row in colours for c in row if c is not None}
    assert all(len(found) == 60 * 40 for found in place.values())
    tops = {c: found.min(axis=0).tolist() for c, found in place.items()}
    first, right, below = tops[(10, 20, 30)], tops[(40, 50, 60)], tops[(70, 80, 90)]
    assert right == [first[0], first[1] + 68] and below == [first[0] + 48, right[1]]
    ink = (sheet < 100).all(axis=2)
    assert ink[: first[0], first[1] :].any()  # column titles
    assert ink[first[0] : first[0] + 40, : first[1]].any() and ink[below[0] : below[0] + 40, : first[1]].any()
    empty = sheet[below[0] : below[0] + 40, first[1] : first[1] + 60]
    assert (empty == 255).all()


def test_pictures_of_all_shapes_and_long_titles_fit_a_sheet() -> None:
    cells = [[photograph(8000, 20), photograph(1, 1)], [photograph(3, 500), None]]
    titles = ["bbox_head.cls_convs[0][1].depthwise_conv.activate", "w" * 300]
    sheet = contact_sheet(cells, titles, ["x" * 200, ""], cell=(90, 60))
    assert sheet.shape[0] < 200 and sheet.shape[1] < 400


@pytest.mark.parametrize(
    ("cells", "rows", "columns", "said"),
    [
        ([], [], [], "found none"),
        ([[None]], ["a"], ["b"], "found none"),
        ([[photograph()]], ["a", "b"], ["c"], "2 row titles and 1 column title,"),
        ([[photograph()]], ["a"], ["c", "d"], "1 row title and 2 column titles,"),
    ],
)
def test_an_empty_sheet_or_titles_that_do_not_fit_are_refused(cells, rows, columns, said) -> None:
    with pytest.raises(InputError, match=said):
        contact_sheet(cells, rows, columns)


def test_outlines_show_on_black_and_white_and_leave_the_image_given() -> None:
    image = np.zeros((50, 100, 3), np.uint8)
    image[:, 50:] = 255
    drawn = outline_boxes(image, np.array([[10.0, 10.0, 90.0, 40.0]]))
    assert (drawn[10, 30] == 255).all() and (drawn[8:13, 70] == 0).any()
    assert not image[:, :50].any()
    assert (outline_boxes(image, np.zeros((0, 4))) == image).all()


def test_a_caption_that_is_too_long_is_drawn_smaller_before_it_is_shortened() -> None:
    short, long, longest = (
        captioned(photograph(600, 2000), ["x" * count])[2000:].shape[0] for count in (10, 60, 600)
    )
    assert short > long > longest
