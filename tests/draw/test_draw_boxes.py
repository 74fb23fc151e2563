"""Boxes on photographs of any size, with labels in any script."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aerostat.draw import boxes as drawing
from aerostat.draw.boxes import draw_boxes, line_width, text_size
from aerostat.draw.palette import class_colour
from aerostat.draw.saving import save_image
from aerostat.draw.shapes import FILL_OPACITY
from aerostat.draw.text import drawable, elide, paint_text, text_mask, text_width
from aerostat.errors import InputError

LONG = "a class name so long that nobody would ever type it twice, and yet somebody did " * 4


def grey(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 127, np.uint8)


def tag_spots(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, str]]:
    """Note where the text of every tag is painted, as x1, y1, x2, y2, and what it says."""
    spots: list[tuple[np.ndarray, str]] = []

    def noting(image: np.ndarray, text: str, left: int, top: int, size: int, *colour: object) -> None:
        height, width = text_mask(text, size).shape
        spots.append((np.asarray((left, top, left + width, top + height)), text))
        paint_text(image, text, left, top, size, *colour)

    monkeypatch.setattr(drawing, "paint_text", noting)
    return spots


def test_no_boxes_leave_an_equal_image_that_is_a_copy() -> None:
    image = grey(40, 30)
    drawn = draw_boxes(image, [], [], ["balloon"], [])
    assert np.array_equal(drawn, image)
    assert drawn is not image


def test_the_input_is_left_alone_and_the_box_has_the_colour_of_its_class() -> None:
    image = grey(640, 480)
    drawn = draw_boxes(image, [[100, 120, 300, 400]], [1], ["a", "b"])
    assert (image == 127).all()
    for x, y in ((100, 250), (300, 250), (200, 400)):
        assert tuple(drawn[y, x].tolist()) == class_colour(1)
    assert (drawn[200:350, 150:250] == 127).all()  # the inside is not covered


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ((100, 75), 1),
        ((100, 75), 30),
        ((640, 480), 5),
        ((640, 480), 100),
        ((3000, 200), 20),
        ((8000, 6000), 12),
    ],
)
def test_tags_stay_inside_the_image_at_every_size(
    size: tuple[int, int], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spots = tag_spots(monkeypatch)
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(-0.1, 1.1, (count, 2, 2)) * size, axis=1).reshape(count, 4)
    names = ["balloon", LONG, "气球", "Ballon d'été"]
    draw_boxes(grey(*size), corners, np.arange(count) % 4, names, rng.random(count))
    assert 0 < len(spots) <= count
    assert len(spots) == count or count > drawing.ALWAYS_TAGGED
    for spot, text in spots:
        assert (spot >= 0).all() and (spot[2:] <= size).all()
        assert text.endswith("%")


@pytest.mark.parametrize(
    ("width", "expected_line", "least_text"), [(100, 1, 9), (640, 2, 14), (1024, 3, 20), (8000, 20, 100)]
)
def test_lines_and_letters_grow_with_the_image(width: int, expected_line: int, least_text: int) -> None:
    assert line_width(width * 3 // 4, width) == expected_line
    assert text_size(width * 3 // 4, width) >= least_text
    assert text_size(width * 3 // 4, width, 100) <= text_size(width * 3 // 4, width)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (2, 400), (12, 12)])
def test_an_image_too_small_for_text_gets_its_box_without_a_tag(size: tuple[int, int]) -> None:
    drawn = draw_boxes(grey(*size), [[0, 0, *size]], [0], ["balloon"], [0.9])
    assert drawn.shape == (size[1], size[0], 3)
    assert tuple(drawn[0, 0].tolist()) == class_colour(0)


def test_tags_of_neighbours_do_not_cover_one_another_where_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spots = tag_spots(monkeypatch)
    close = [[200, 200 + d, 400, 380 + d] for d in (0, 4, 8)]
    draw_boxes(grey(640, 480), close, [0, 0, 0], ["balloon"], [0.9, 0.8, 0.7])
    for i, (a, _) in enumerate(spots):
        for b, _ in spots[i + 1 :]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def crowd(count: int, size: tuple[int, int]) -> np.ndarray:
    """Boxes on a lattice over the whole image, each of 60 % of its cell."""
    columns = round(np.sqrt(count * size[0] / size[1]))
    x, y = np.arange(count) % columns, np.arange(count) // columns
    wide, high = size[0] / columns, size[1] / (-(-count // columns))
    return np.stack([(x + 0.2) * wide, (y + 0.2) * high, (x + 0.8) * wide, (y + 0.8) * high], axis=1)


@pytest.mark.parametrize("size", [(480, 360), (1600, 1200)])
@pytest.mark.parametrize("count", [20, 100])
def test_in_a_crowd_the_objects_stay_in_sight(
    size: tuple[int, int], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spots = tag_spots(monkeypatch)
    boxes = crowd(count, size)
    names = [f"kind {k}" for k in range(10)]
    drawn = draw_boxes(grey(*size), boxes, np.arange(count) % 10, names)
    assert {text for _, text in spots} == set(names)  # every class is named at least once
    tagged = sum(float(np.prod(spot[2:] - spot[:2])) for spot, _ in spots)
    assert tagged <= drawing.MAX_TAGGED * size[0] * size[1]
    untouched = (drawn == 127).all(axis=2)
    for x1, y1, x2, y2 in np.rint(boxes).astype(int):
        assert untouched[y1:y2, x1:x2].mean() > 0.4


def test_in_a_crowd_of_one_class_one_tag_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    spots = tag_spots(monkeypatch)
    draw_boxes(grey(640, 480), crowd(30, (640, 480)), [0] * 30, ["balloon"])
    assert [text for _, text in spots] == ["balloon"]
    spots.clear()
    draw_boxes(grey(640, 480), crowd(30, (640, 480)), [0] * 30, ["balloon"], np.linspace(0.3, 0.9, 30))
    assert len(spots) > 1 and spots[-1][1] == "balloon 90%"  # scores differ: as many as there is room for


@pytest.mark.parametrize("count", [1, drawing.ALWAYS_TAGGED])
def test_a_few_boxes_all_have_their_tags_even_one_upon_the_other(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spots = tag_spots(monkeypatch)
    draw_boxes(grey(100, 75), [[40, 30, 50, 40]] * count, [0] * count, ["balloon"])
    assert len(spots) == count


def test_names_are_said_in_place_of_the_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    spots = tag_spots(monkeypatch)
    draw_boxes(grey(640, 480), [[9, 9, 90, 90]], [0], ["car"], names=["car (crowd)"])
    assert [text for _, text in spots] == ["car (crowd)"]
    with pytest.raises(InputError, match="one value of `names` for each of 1 boxes"):
        draw_boxes(grey(20, 20), [[0, 0, 5, 5]], [0], ["b"], names=[])


def test_lines_and_letters_on_a_panorama_fit_its_short_side() -> None:
    assert line_width(100, 8000) == line_width(100, 300) == 1
    assert text_size(400, 8000) == text_size(400, 1200)


def test_lines_around_small_objects_are_thinner_but_still_seen_on_a_large_image() -> None:
    large = draw_boxes(grey(4000, 3000), [[1000, 1000, 2000, 2000]], [0], ["b"])
    small = draw_boxes(grey(4000, 3000), [[1000, 1000, 1030, 1030]], [0], ["b"])
    thick, thin = ((d[1015, 900:1015] != 127).any(axis=1).sum() for d in (large, small))
    assert 3 <= thin < thick


def test_lines_are_thinner_in_a_crowd() -> None:
    assert line_width(2400, 3200, 100) < line_width(2400, 3200, 20) < line_width(2400, 3200, 1)


def test_polygons_are_filled_half_transparently_and_only_there() -> None:
    image = grey(200, 200)
    triangle = np.asarray([[50.0, 50], [150, 50], [50, 150]])
    for outline in (triangle, [triangle], (triangle, triangle + 2)):
        drawn = draw_boxes(image, [[50, 50, 150, 150]], [0], ["balloon"], polygons=[outline])
        expected = 127 + (np.asarray(class_colour(0)) - 127) * FILL_OPACITY
        if not isinstance(outline, tuple):
            np.testing.assert_allclose(drawn[85, 85], expected, atol=1)
        assert (drawn[130, 130] == 127).all()
    assert np.array_equal(
        draw_boxes(image, [[50, 50, 150, 150]], [0], ["b"], polygons=[None]),
        draw_boxes(image, [[50, 50, 150, 150]], [0], ["b"]),
    )


def test_polygons_and_boxes_beyond_the_image_are_cut_not_refused() -> None:
    far = np.asarray([[-1e6, -1e6], [1e6, -1e6], [0, 1e6]])
    drawn = draw_boxes(grey(60, 60), [[-1e7, -1e7, 1e7, 1e7]], [0], ["b"], polygons=[far])
    assert drawn.shape == (60, 60, 3)


@pytest.mark.parametrize(
    ("boxes", "labels", "scores", "polygons", "message"),
    [
        ([[0, 0, 5, 5]], [0, 0], None, None, "one value of `labels` for each of 1 boxes"),
        ([[0, 0, 5, 5]], [0], [0.1, 0.2], None, "one value of `scores` for each of 1 boxes"),
        ([[0, 0, 5, 5]], [0], None, [], "one value of `polygons` for each of 1 boxes"),
        ([[0, 0, float("nan"), 5]], [0], None, None, "finite boxes"),
        ([[0, 0, 5, 5]], [2], None, None, "labels from 0 to 0 to draw, found 2"),
        ([[0, 0, 5, 5]], [-1], None, None, "found -1"),
    ],
)
def test_arguments_that_do_not_fit_together_are_refused(
    boxes: list[list[float]],
    labels: list[int],
    scores: list[float] | None,
    polygons: list[None] | None,
    message: str,
) -> None:
    with pytest.raises(InputError, match=message):
        draw_boxes(grey(20, 20), boxes, labels, ["b"], scores, polygons)


@pytest.mark.parametrize("name", ["balloon", "Größe", "шар", "μπαλόνι", "بالون"])
def test_names_in_scripts_that_the_shipped_font_has_are_drawn_as_they_are(name: str) -> None:
    assert drawable(name)[0] == name
    assert text_mask(name, 20).max() == 255


def test_a_name_without_a_font_falls_back_to_its_class_number(monkeypatch: pytest.MonkeyPatch) -> None:
    latin = (drawable("a")[1], frozenset(map(ord, "abcdefghijklmnopqrstuvwxyz 0123456789_%…")))
    monkeypatch.setattr("aerostat.draw.text.usable_fonts", lambda: (latin,))
    drawable.cache_clear()
    text_mask.cache_clear()
    spots = tag_spots(monkeypatch)
    try:
        draw_boxes(
            grey(640, 480), [[50, 60, 300, 300]] * 3, [0, 1, 2], ["气球", "气球 red", "気球_2"], [0.5] * 3
        )
        assert sorted(text for _, text in spots) == ["class 0 50%", "class 2 50%", "red 50%"]
    finally:
        drawable.cache_clear()
        text_mask.cache_clear()


def test_a_font_that_covers_more_of_a_name_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "aerostat.draw.text.usable_fonts",
        lambda: (("latin", frozenset(b"abc ")), ("wide", frozenset(map(ord, "abc 气球")))),
    )
    drawable.cache_clear()
    try:
        assert drawable("abc") == ("abc", "latin")
        assert drawable("abc 气球") == ("abc 气球", "wide")
    finally:
        drawable.cache_clear()


@pytest.mark.parametrize("text", ["", "\n", "two\nlines\tand a tab\x00", LONG])
def test_any_text_becomes_one_line(text: str) -> None:
    assert text_mask(text, 12).shape[0] == text_mask("Ag", 12).shape[0]
    assert "\n" not in drawable(text)[0]


@pytest.mark.parametrize("room", [30, 80, 200])
def test_long_texts_lose_their_middle_and_as_little_as_they_must(room: int) -> None:
    text = "the_beginning_of_a_long_file_name_and_its_end.jpg"
    short = elide(text, 13, room)
    assert text_width(short, 13) <= room
    head, tail = short.split("…")
    assert text.startswith(head) and text.endswith(tail)
    longer = text[: len(head) + 1] + "…" + text[len(text) - len(tail) - 1 :]
    assert text_width(longer, 13) > room


def test_a_short_text_is_not_elided() -> None:
    assert elide("short.jpg", 13, 500) == "short.jpg"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp", ".bmp", ".tif"])
def test_pictures_are_saved_under_names_in_any_script(suffix: str, tmp_path: Path) -> None:
    import cv2

    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    path = save_image(tmp_path / f"气球 été{suffix}", image)
    read = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert read.shape == image.shape
    if suffix in (".png", ".bmp", ".tif"):
        assert np.array_equal(read, image)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["picture.gifv", "picture", "picture.txt"])
def test_an_unknown_suffix_is_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="suffix"):
        save_image(tmp_path / "new" / name, grey(4, 4))
    assert list(tmp_path.iterdir()) == []
