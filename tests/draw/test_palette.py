"""Class colours: published, stable, told apart; text that reads on them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from aerostat.draw.palette import class_colour, relative_luminance, text_colour_on


def contrast(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
    dark, light = sorted((relative_luminance(a), relative_luminance(b)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(
    ("index", "red_green_blue"),
    [(0, (230, 159, 0)), (1, (86, 180, 233)), (2, (0, 158, 115)), (3, (240, 228, 66)), (4, (0, 114, 178)),
     (5, (213, 94, 0)), (6, (204, 121, 167))],
)  # fmt: skip
def test_the_first_classes_have_the_published_colours_of_okabe_and_ito(
    index: int, red_green_blue: tuple[int, int, int]
) -> None:
    assert class_colour(index) == red_green_blue[::-1]


def lab(count: int) -> np.ndarray:
    colours = np.asarray([[class_colour(i) for i in range(count)]], np.float32) / 255
    return cv2.cvtColor(colours, cv2.COLOR_BGR2Lab)[0]


@pytest.mark.parametrize(("count", "least"), [(12, 20), (24, 12), (84, 6)])
def test_colours_of_as_many_classes_stay_apart_in_lab(count: int, least: float) -> None:
    colours = lab(count)
    distance = np.linalg.norm(colours[:, None] - colours[None], axis=2) + 1000 * np.eye(count)
    assert distance.min() > least


# Simulations of dichromacy on linear red, green, blue by Viénot, Brettel and Mollon, "Digital video
# colourmaps for checking the legibility of displays by dichromats" (1999).
DICHROMACY = {
    "deuteranopia": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
    "protanopia": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
}


@pytest.mark.parametrize("kind", DICHROMACY)
@pytest.mark.parametrize(("count", "least"), [(7, 15), (12, 8)])
def test_the_first_twelve_stay_apart_for_people_without_green_or_red_cones(
    kind: str, count: int, least: float
) -> None:
    linear = (np.asarray([class_colour(i)[::-1] for i in range(count)]) / 255) ** 2.2
    seen = np.clip(linear @ np.asarray(DICHROMACY[kind]).T, 0, 1) ** (1 / 2.2)
    colours = cv2.cvtColor(seen[None].astype(np.float32), cv2.COLOR_RGB2Lab)[0]
    distance = np.linalg.norm(colours[:, None] - colours[None], axis=2) + 1000 * np.eye(count)
    assert distance.min() > least


def test_a_colour_depends_on_the_index_alone_and_any_index_has_one() -> None:
    indices = (3, 200, 10**6)  # the twelve base colours come round every 84 indices
    assert [class_colour(i) for i in reversed(indices)] == [class_colour(i % 84) for i in reversed(indices)]
    assert class_colour(3) == (0x42, 0xE4, 0xF0)  # Okabe and Ito's yellow, blue first
    assert all(0 <= value <= 255 for i in range(500) for value in class_colour(i))


@pytest.mark.parametrize(
    ("background", "text"),
    [
        ((255, 255, 255), (0, 0, 0)),
        ((0, 0, 0), (255, 255, 255)),
        ((0, 255, 255), (0, 0, 0)),
        ((128, 0, 0), (255, 255, 255)),
    ],
)
def test_text_is_black_on_light_and_white_on_dark(
    background: tuple[int, int, int], text: tuple[int, int, int]
) -> None:
    assert text_colour_on(background) == text


def test_text_on_every_class_colour_meets_the_contrast_of_wcag_aa() -> None:
    assert min(contrast(class_colour(i), text_colour_on(class_colour(i))) for i in range(84)) >= 4.5


def test_luminance_has_the_values_of_the_standard() -> None:
    assert relative_luminance((0, 0, 255)) == pytest.approx(0.2126)
    assert relative_luminance((0, 255, 0)) == pytest.approx(0.7152)
    assert relative_luminance((255, 255, 255)) == pytest.approx(1.0)
