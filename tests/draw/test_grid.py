"""Sheets of pictures."""

from __future__ import annotations

import numpy as np
import pytest

from aerostat.draw.grid import image_grid
from aerostat.draw.text import drawable, text_mask
from aerostat.errors import InputError


def plain(width: int, height: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_images_stand_in_order_row_by_row_with_gaps_between() -> None:
    images = [plain(10, 10, v) for v in (10, 20, 30)]
    sheet = image_grid(images, columns=2, cell=(10, 10), gap=4, background=(200, 200, 200))
    assert sheet.shape == (4 + 14 + 14, 4 + 14 + 14, 3)
    assert (sheet[4:14, 4:14] == 10).all()
    assert (sheet[4:14, 18:28] == 20).all()
    assert (sheet[18:28, 4:14] == 30).all()
    assert (sheet[18:28, 18:28] == 200).all()  # the empty cell
    assert (sheet[:4] == 200).all() and (sheet[:, -4:] == 200).all()


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((100, 50), (5, 15), (0, 20)),
        ((50, 100), (0, 20), (5, 15)),
        ((3, 3), (0, 20), (0, 20)),
        ((4000, 2), (9, 11), (0, 20)),
    ],
)
def test_an_image_keeps_its_proportions_in_the_middle_of_its_cell(
    size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    sheet = image_grid([plain(*size, 50)], cell=(20, 20), gap=0)
    shown = np.argwhere((sheet == 50).all(axis=2))
    low, high = shown.min(axis=0), shown.max(axis=0) + 1
    assert abs(low[0] - rows[0]) <= 1 and abs(high[0] - rows[1]) <= 1
    assert abs(low[1] - columns[0]) <= 1 and abs(high[1] - columns[1]) <= 1


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_columns_are_chosen_so_that_every_image_has_a_cell_and_no_row_is_empty(count: int) -> None:
    sheet = image_grid([plain(8, 6, 40)] * count, cell=(80, 60), gap=0)
    rows, columns = sheet.shape[0] // 60, sheet.shape[1] // 80
    assert (rows - 1) * columns < count <= rows * columns
    assert int((sheet == 40).all(axis=2).sum()) == count * 80 * 60


def test_captions_stand_under_their_images_and_inside_their_cells() -> None:
    captions = ["short", "名前のない写真.jpg", "w" * 300]
    sheet = image_grid([plain(60, 40, 255)] * 3, columns=3, cell=(60, 40), gap=10, captions=captions)
    ink = sheet.min(axis=2) < 128
    assert not ink[: 10 + 40].any()
    for column in range(3):
        left = 10 + column * 70
        assert ink[50:, left : left + 60].any()
        assert not ink[:, left - 10 : left].any()


def test_a_caption_keeps_a_place_for_what_no_font_can_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    latin = (drawable("a")[1], frozenset([*range(32, 127), ord("□"), ord("…")]))
    monkeypatch.setattr("aerostat.draw.text.usable_fonts", lambda: (latin,))
    told: list[str] = []
    monkeypatch.setattr("aerostat.draw.grid.paint_text", lambda _, text, *__: told.append(text))
    drawable.cache_clear()
    try:
        image_grid([plain(300, 40, 0)] * 3, captions=["写真 一.jpg, 2 objects", "写真", "写真 53%"])
        assert told == ["□□ □.jpg, 2 objects", "image 2", "□□ 53%"]
    finally:
        drawable.cache_clear()
        text_mask.cache_clear()


def test_a_title_stands_above_the_images_and_moves_them_down() -> None:
    plain_sheet = image_grid([plain(60, 40, 90)], cell=(60, 40), gap=10)
    sheet = image_grid([plain(60, 40, 90)], cell=(60, 40), gap=10, title="an overlong title " * 9)
    head = sheet.shape[0] - plain_sheet.shape[0]
    assert head > 0 and sheet.shape[1] == plain_sheet.shape[1]
    assert np.array_equal(sheet[head:], plain_sheet)
    assert (sheet[:head].min(axis=2) < 128).any()
    assert (sheet[:head, :8] == 255).all() and (sheet[:head, -8:] == 255).all()


def test_light_captions_are_drawn_on_a_dark_sheet() -> None:
    sheet = image_grid([plain(60, 40, 0)], cell=(60, 40), captions=["dark"], background=(0, 0, 0))
    assert sheet.max() > 200


def test_a_photograph_of_8000_pixels_and_one_of_a_single_pixel_share_a_sheet() -> None:
    sheet = image_grid([plain(8000, 6000, 90), plain(1, 1, 60)], columns=2, cell=(40, 30), gap=0)
    assert sheet.shape == (30, 80, 3)
    assert (sheet[15, 20] == 90).all() and (sheet[15, 60] == 60).all()


@pytest.mark.parametrize(
    ("images", "captions", "message"),
    [([], None, "at least one image"), ([plain(2, 2, 0)], ["a", "b"], "1 captions")],
)
def test_no_images_or_too_many_captions_are_refused(
    images: list[np.ndarray], captions: list[str] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        image_grid(images, captions=captions)
