"""The letterbox against hand-worked sizes, OpenCV, and its own inverse."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aerostat.errors import InputError
from aerostat.images.letterbox import Letterbox
from aerostat.images.resize import resize_image

sides = st.integers(1, 5000)


@pytest.mark.parametrize(
    ("source", "input_size", "resized"),
    [
        ((1024, 768), (640, 640), (640, 480)),
        ((768, 1024), (640, 640), (480, 640)),
        ((2048, 1365), (640, 640), (640, 427)),  # 1365 * 0.3125 = 426.56
        ((500, 333), (320, 320), (320, 213)),  # 333 * 0.64 = 213.12
        ((1023, 682), (640, 640), (640, 427)),  # 682 * 640 / 1023 = 426.67
        ((682, 1023), (640, 640), (427, 640)),
        ((100, 50), (640, 640), (640, 320)),  # enlarged
        ((640, 640), (640, 640), (640, 640)),
        ((1000, 500), (320, 640), (320, 160)),
        ((10000, 1), (320, 320), (320, 1)),  # never less than a pixel
        ((1, 10000), (320, 320), (1, 320)),
        ((1, 1), (320, 320), (320, 320)),
        ((8000, 6000), (640, 640), (640, 480)),
    ],
)
def test_sizes_follow_the_published_rounding(source, input_size, resized):
    letterbox = Letterbox.fit(source, input_size)
    assert letterbox.resized_size == resized
    assert letterbox.content_box == (0, 0, *resized)


def test_a_small_image_keeps_its_size_where_enlarging_is_off():
    letterbox = Letterbox.fit((100, 50), (640, 640), enlarge=False)
    assert letterbox.resized_size == (100, 50)
    assert Letterbox.fit((1280, 640), (640, 640), enlarge=False).resized_size == (640, 320)


def test_apply_resizes_bilinearly_and_pads_right_and_below_with_114():
    image = np.random.default_rng(0).integers(0, 256, (768, 1024, 3), np.uint8)
    out = Letterbox.fit((1024, 768), (640, 640)).apply(image)
    assert out.shape == (640, 640, 3)
    assert out.dtype == np.uint8
    assert (out[:480] == cv2.resize(image, (640, 480), interpolation=cv2.INTER_LINEAR)).all()
    assert (out[480:] == 114).all()


def test_apply_honours_a_letterbox_with_padding_on_all_sides():
    image = np.full((10, 20, 3), 7, np.uint8)
    letterbox = Letterbox((20, 10), (30, 40), (20, 10), pad_left=4, pad_top=6, pad_value=0)
    out = letterbox.apply(image)
    ys, xs = np.nonzero(out[..., 0])
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == letterbox.content_box == (4, 6, 24, 16)


def test_boxes_scale_by_new_over_old_per_axis():
    letterbox = Letterbox.fit((1023, 682), (640, 640))  # 640 / 1023 across, 427 / 682 down
    boxes = letterbox.boxes_to_input(np.asarray([[0, 0, 1023, 682], [102.3, 68.2, 511.5, 341.0]]))
    np.testing.assert_allclose(boxes, [[0, 0, 640, 427], [64, 42.7, 320, 213.5]], rtol=1e-12)


def test_no_boxes_stay_no_boxes():
    letterbox = Letterbox.fit((100, 80), (64, 64))
    assert letterbox.boxes_to_input(np.zeros((0, 4))).shape == (0, 4)
    assert letterbox.boxes_to_source(np.zeros((0, 4))).shape == (0, 4)


@given(
    sides, sides, st.integers(32, 1280), st.integers(0, 50), st.integers(0, 50), st.booleans(), st.randoms()
)
@settings(max_examples=200, deadline=None)
def test_boxes_come_back_exactly(width, height, side, left, top, enlarge, random):
    fitted = Letterbox.fit((width, height), (side, side), enlarge)
    assert max(fitted.resized_size) <= side
    letterbox = Letterbox(
        fitted.source_size, (side + left, side + top), fitted.resized_size, pad_left=left, pad_top=top
    )
    boxes = np.asarray([[random.uniform(0, width), random.uniform(0, height)] * 2 for _ in range(5)])
    back = letterbox.boxes_to_source(letterbox.boxes_to_input(boxes))
    np.testing.assert_allclose(back, boxes, rtol=1e-12, atol=1e-9)
    again = Letterbox.from_dict(json.loads(json.dumps(letterbox.to_dict())))
    assert again == letterbox


@pytest.mark.parametrize("stride", [1, 8, 32])
def test_a_disc_at_y_700_lights_up_at_y_700(stride):
    picture = np.zeros((768, 1024, 3), np.uint8)
    cv2.circle(picture, (300, 700), 40, (255, 255, 255), -1)
    letterbox = Letterbox.fit((1024, 768), (640, 640))
    plane = letterbox.apply(picture)[..., 0].astype(np.float32)
    plane[480:] = 0
    heat = cv2.resize(plane, (640 // stride, 640 // stride), interpolation=cv2.INTER_AREA)
    back = letterbox.map_to_source(heat).astype(np.float64)
    assert back.shape == (768, 1024)
    ys, xs = np.mgrid[:768, :1024]
    # A coarse map spreads the disc, and what it spreads below the picture is cut off: hence some room.
    assert abs((back * ys).sum() / back.sum() - 700) < (1 if stride < 32 else 5)
    assert abs((back * xs).sum() / back.sum() - 300) < (1 if stride < 32 else 2)
    assert back[700, 300] > 0.75 * back.max()
    assert back[524].max() == 0  # where a map stretched over the picture together with its padding lights up


def test_whole_cells_are_interpolated_as_opencv_does():
    values = np.random.default_rng(1).random((80, 80, 3)).astype(np.float32)
    back = Letterbox.fit((1024, 768), (640, 640)).map_to_source(values)  # 480 rows = 60 cells of 8
    np.testing.assert_allclose(back, cv2.resize(values[:60], (1024, 768)), atol=1e-5)
    assert back.dtype == np.float32


@pytest.mark.parametrize("source", [(1024, 679), (679, 1024), (333, 500), (1, 1), (3, 700), (2048, 1365)])
@pytest.mark.parametrize("cells", [(80, 80), (20, 20), (640, 640), (1, 1)])
def test_a_slope_over_the_input_comes_back_as_the_same_slope(source, cells):
    # A map that holds the y of its cells' centres must read, at any source pixel, that pixel's y there.
    letterbox = Letterbox.fit(source, (640, 640))
    cell = 640 / cells[0]
    values = np.repeat(((np.arange(cells[0]) + 0.5) * cell)[:, None], cells[1], axis=1)
    back = letterbox.map_to_source(values)
    assert back.shape == source[::-1]
    height = letterbox.resized_size[1]
    expected = (np.arange(source[1]) + 0.5) * height / source[1]
    last = (np.ceil(height / cell) - 0.5) * cell  # beyond the outermost centres the map is held constant
    np.testing.assert_allclose(back[:, 0], np.clip(expected, cell / 2, last), rtol=1e-9)


@pytest.mark.parametrize("source", [(1024, 679), (679, 1024), (640, 640)])
@pytest.mark.parametrize("halvings", [1, 3, 5])
def test_what_strided_convolutions_see_comes_back_to_where_they_saw_it(source, halvings):
    # A dot goes through convolutions of kernel 3, stride 2 and padding 1 with a smooth symmetric kernel.
    kernel = torch.outer(torch.tensor([0.25, 0.5, 0.25]), torch.tensor([0.25, 0.5, 0.25]))[None, None]
    letterbox = Letterbox.fit(source, (640, 640))
    for x, y in [(200.0, 300.0), (310.0, 150.0), (233.0, 277.0)]:  # pixels of the input
        ys, xs = np.mgrid[:640, :640]
        plane = np.exp(-((xs + 0.5 - x) ** 2 + (ys + 0.5 - y) ** 2) / (2 * 25**2)).astype(np.float32)
        values = torch.from_numpy(plane)[None, None]
        for _ in range(halvings):
            values = torch.nn.functional.conv2d(values, kernel, stride=2, padding=1)
        back = letterbox.map_to_source(values[0, 0].numpy(), strided=True).astype(np.float64)
        rows, columns = np.mgrid[: source[1], : source[0]]
        factor_x, factor_y = letterbox.scale
        found_x = (back * (columns + 0.5)).sum() / back.sum() * factor_x
        found_y = (back * (rows + 0.5)).sum() / back.sum() * factor_y
        assert abs(found_x - x) < 2 and abs(found_y - y) < 2, (found_x, found_y)


def test_padding_never_bleeds_into_the_map():
    letterbox = Letterbox((64, 32), (64, 64), (48, 24), pad_left=8, pad_top=16)
    values = np.full((64, 64), 99.0)
    values[16:40, 8:56] = 1.0
    assert (letterbox.map_to_source(values) == 1.0).all()


def test_many_channels_and_integers_are_mapped():
    letterbox = Letterbox.fit((100, 50), (64, 64))
    assert letterbox.map_to_source(np.ones((8, 8, 700), np.float16)).shape == (50, 100, 700)
    assert letterbox.map_to_source(np.full((8, 8), 5, np.uint8)).dtype == np.float32


@pytest.mark.parametrize("shape", [(8,), (0, 8), (1, 2, 3, 4)])
def test_what_is_no_map_is_refused(shape):
    with pytest.raises(InputError, match="map of shape"):
        Letterbox.fit((100, 50), (64, 64)).map_to_source(np.zeros(shape))


def test_an_image_of_another_size_is_refused():
    with pytest.raises(InputError, match=r"\(100, 50\).*\(50, 100\)"):
        Letterbox.fit((100, 50), (64, 64)).apply(np.zeros((100, 50, 3), np.uint8))


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"source_size": [100, 50]},
        {"source_size": [100, 50], "input_size": [64, 64], "resized_size": [65, 32]},
        {"source_size": [100, 50], "input_size": [64, 64], "resized_size": [64]},
        {"source_size": [0, 50], "input_size": [64, 64], "resized_size": [64, 32]},
        {"source_size": [100, 50], "input_size": [64, 64], "resized_size": ["wide", 32]},
        {"source_size": [100, 50], "input_size": [64, 64], "resized_size": [64, 32], "pad_left": 1},
        {"source_size": [100, 50], "input_size": [64, 64], "resized_size": [64, 32], "pad_top": 33},
        {"source_size": [100, 50], "input_size": [64, 64], "resized_size": [60, 32], "pad_left": -1},
        {"source_size": [100, 50], "input_size": [64, 64], "resized_size": [60, 32], "pad_top": -1},
        {"source_size": [100, 50], "input_size": [64, 64], "resized_size": [64, 32], "colour": 1},
    ],
)
def test_a_broken_record_is_refused(broken):
    with pytest.raises(InputError):
        Letterbox.from_dict(broken)


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_slopes_come_back_through_padding_on_all_sides_of_an_input_that_is_not_square(strided, axis):
    # The map has another resolution across than down; the photograph begins and ends within a cell.
    letterbox = Letterbox((100, 75), (128, 192), (80, 60), pad_left=21, pad_top=42)
    cells, start, length, source = [(24, 42, 60, 75), (32, 21, 80, 100)][axis]
    cell = (192, 128)[axis] / cells
    places = np.arange(cells) * cell + (0.5 if strided else cell / 2)
    values = np.repeat(places[:, None], 32, 1) if axis == 0 else np.repeat(places[None], 24, 0)
    back = letterbox.map_to_source(values, strided=strided)
    assert back.shape == (75, 100)
    expected = start + (np.arange(source) + 0.5) * length / source
    first, last = places[int(start // cell)], places[int(np.ceil((start + length) / cell)) - 1]
    assert strided or expected[0] < first
    found = back[:, 50] if axis == 0 else back[30]
    np.testing.assert_allclose(found, np.clip(expected, first, last), rtol=1e-9)


def test_a_map_of_no_channels_is_a_map():
    assert Letterbox.fit((100, 50), (64, 64)).map_to_source(np.zeros((8, 8, 0))).shape == (50, 100, 0)


@pytest.mark.parametrize("size", [(3, 10), (8, 8), (5, 5), (8, 5)])
def test_an_image_is_resized_whatever_sides_are_equal(size):
    image = np.random.default_rng(0).integers(0, 256, (5, 8, 3), np.uint8)
    out = resize_image(image, size)
    assert (out == cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)).all()
    assert out.shape == (size[1], size[0], 3)
    tall = np.random.default_rng(0).integers(0, 256, (10, 7, 3), np.uint8)
    assert resize_image(tall, (3, 10)).shape == (10, 3, 3)


def test_a_record_is_plain_json_and_its_numbers_come_back_whole():
    letterbox = Letterbox((100, 50), (64, 96), (60, 30), 2, 3, 7)
    record = letterbox.to_dict()
    assert record == {
        "source_size": [100, 50],
        "input_size": [64, 96],
        "resized_size": [60, 30],
        "pad_left": 2,
        "pad_top": 3,
        "pad_value": 7,
    }
    again = Letterbox.from_dict({key: v if isinstance(v, list) else float(v) for key, v in record.items()})
    assert again == letterbox
    assert [type(value) for value in (again.pad_left, again.pad_top, again.pad_value)] == [int] * 3
    with pytest.raises(InputError):
        Letterbox.from_dict({**record, "pad_left": "two"})


def test_a_letterbox_that_is_given_no_padding_has_none_and_pads_with_114():
    letterbox = Letterbox((10, 10), (20, 20), (10, 10))
    assert (letterbox.pad_left, letterbox.pad_top, letterbox.pad_value) == (0, 0, 114)
    assert letterbox.content_box == (0, 0, 10, 10)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("part", [(30, 20, 60, 45), (0, 0, 100, 75), (7, 71, 8, 75), (99, 0, 100, 2)])
@pytest.mark.parametrize("shape", [(6, 9), (2, 2), (1, 1)])
def test_a_part_of_a_slope_comes_back_as_the_same_slope(shape, part, mirrored):
    # Each cell holds the weighted place of its centre in the input. Beyond the outermost centres it is flat.
    letterbox = Letterbox((100, 75), (128, 192), (80, 45), pad_left=21, pad_top=42)
    xs, ys = (
        8 * (np.arange(shape[1]) + 3.5),
        8 * (np.arange(shape[0]) + 5.5),
    )  # from cell (3, 5) on
    back = letterbox.part_to_source(
        (3 * xs + 7 * ys[:, None]).astype(np.float32), 8, (3, 5), part, mirrored=mirrored
    )
    across, down = np.arange(part[0], part[2]) + 0.5, np.arange(part[1], part[3]) + 0.5
    in_x, in_y = 21 + (100 - across if mirrored else across) * 0.8, 42 + down * 0.6
    expected = 3 * np.clip(in_x, xs[0], xs[-1])[:, None] + 7 * np.clip(in_y, ys[0], ys[-1])
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, expected, rtol=1e-5)


def test_a_peak_in_a_map_comes_back_between_its_neighbours():
    letterbox = Letterbox.fit((32, 8), (32, 8))
    back = letterbox.part_to_source(np.asarray([[0, 8, 0]], np.float32), 8, (0, 0), (2, 3, 24, 4))[:, 0]
    ways = [*([0] * 2), *np.arange(0.5, 8), *np.arange(7.5, 0, -1), *([0] * 4)]  # centres at 4, 12 and 20
    np.testing.assert_allclose(back, ways)
