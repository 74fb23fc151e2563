"""Which images are taken for nearly the same, and for the same scene, and which are not."""

import itertools
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from aerostat.images.read import read_image
from aerostat.lint import similarity as likeness
from aerostat.lint.similarity import (
    COMMON_FEATURES,
    Features,
    Signature,
    common_features,
    features,
    like_colours,
    near_pairs,
    signature,
)

Picture = NDArray[np.uint8]


def clouds(seed: int, width: int = 300, height: int = 200) -> Picture:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))[:, :, ::-1]


def compressed(image_bgr: Picture) -> Picture:
    stream = BytesIO()
    Image.fromarray(image_bgr[:, :, ::-1]).save(stream, "JPEG", quality=30)
    return np.asarray(Image.open(stream))[:, :, ::-1]


def smaller(image_bgr: Picture) -> Picture:
    return np.asarray(Image.fromarray(image_bgr).reduce(3))


def grey(image_bgr: Picture) -> Picture:
    return np.asarray(ImageOps.grayscale(Image.fromarray(image_bgr[:, :, ::-1])).convert("RGB"))


def cropped(image_bgr: Picture) -> Picture:
    height, width = image_bgr.shape[:2]
    return image_bgr[height // 100 : -height // 100, width // 100 : -width // 100]


def darker(image_bgr: Picture) -> Picture:
    return (0.7 * image_bgr).astype(np.uint8)


@pytest.mark.parametrize("change", [compressed, smaller, grey, cropped, darker])
def test_an_image_is_known_again_whatever_was_done_to_it(change: Callable[[Picture], Picture]) -> None:
    images = [clouds(seed) for seed in range(10)]
    signatures = [signature(image) for image in (*images, *map(change, images))]
    assert near_pairs(signatures) == [(k, k + 10) for k in range(10)]


def test_mirrored_and_other_images_are_not_the_same() -> None:
    images = [clouds(seed) for seed in range(40)]
    assert near_pairs([signature(image) for image in (*images, *(image[:, ::-1] for image in images))]) == []


def test_images_without_structure_are_like_nothing() -> None:
    plain = [np.full((64, 64, 3), value, np.uint8) for value in (0, 0, 114, 255)]
    assert near_pairs([signature(image) for image in plain]) == []
    assert near_pairs([]) == [] and like_colours([], [], 5) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (3000, 2), (2, 2)])
def test_images_of_any_shape_have_a_signature_and_features(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert signature(image).thumbnail.shape == (256,)
    assert len(features(image).points) == len(features(image).descriptors)


def of_bits(*hashes: int) -> list[Signature]:
    flat = np.full(256, 1 / 16, np.float32)
    return [Signature(np.uint64(h), flat, np.zeros(432, np.float16)) for h in hashes]


@pytest.mark.parametrize("numpy_2", [True, False])
def test_pairs_are_those_that_comparing_all_by_hand_finds(
    monkeypatch: pytest.MonkeyPatch, numpy_2: bool
) -> None:
    if not numpy_2:
        monkeypatch.delattr(np, "bitwise_count", raising=False)
    monkeypatch.setattr(likeness, "_BITS_AT_ONCE", 1000)  # many blocks
    rng = np.random.default_rng(5)
    hashes = [int(h) for h in rng.integers(0, 2**63, 60)]
    for h in list(hashes):  # some neighbours, at every distance around the bound
        for count in range(7, 13):
            hashes.append(h ^ sum(1 << int(bit) for bit in rng.choice(63, count, replace=False)))
    rng.shuffle(hashes)
    expected = [
        (i, j)
        for i, j in itertools.combinations(range(len(hashes)), 2)
        if (hashes[i] ^ hashes[j]).bit_count() <= likeness.HASH_DISTANCE
    ]
    assert near_pairs(of_bits(*hashes)) == expected and len(expected) > 100


def test_a_thousand_alike_make_a_thousand_pairs() -> None:
    assert near_pairs(of_bits(*[7] * 1000)) == [(0, k) for k in range(1, 1000)]


def test_candidates_are_of_different_groups_the_likest_first() -> None:
    red, blue, green = (np.eye(432, dtype=np.float16)[k] for k in range(3))
    mixed = (np.sqrt(0.8) * red + np.sqrt(0.2) * blue).astype(np.float16)
    plain = np.full(256, 1 / 16, np.float32)
    signatures = [Signature(np.uint64(0), plain, colours) for colours in (red, blue, mixed, red, green)]
    assert like_colours(signatures, [0, 0, 1, 1, 1], most=9) == [(0, 3), (0, 2)]
    assert like_colours(signatures, [0, 0, 1, 1, 1], most=1) == [(0, 3)]
    assert like_colours(signatures, [0] * 5, most=9) == []


def scene(seed: int) -> Picture:
    """Return a large picture of many small things."""
    rng = np.random.default_rng(seed)
    canvas = np.full((900, 1200, 3), 128, np.uint8)
    for _ in range(300):
        (x, y), radius = rng.integers(0, [1200, 900]), int(rng.integers(4, 40))
        colour = [int(c) for c in rng.integers(0, 256, 3)]
        cv2.rectangle(canvas, (int(x), int(y)), (int(x) + radius, int(y) + 2 * radius // 3), colour, -1)
    return canvas


def test_two_views_of_a_scene_have_much_in_common_and_two_scenes_have_not() -> None:
    one, other = scene(1), scene(2)
    turned = cv2.getRotationMatrix2D((600, 450), 12, 0.8)
    view = np.asarray(cv2.warpAffine(one, turned, (1200, 900)))[100:700, 200:1000]
    looks = [features(image) for image in (one, view, other)]
    assert common_features(looks[0], looks[1]) >= 4 * COMMON_FEATURES
    assert common_features(looks[0], looks[2]) < COMMON_FEATURES
    nothing = Features(np.zeros((0, 4)), np.zeros((0, 128), np.float32))
    assert common_features(looks[0], nothing) == common_features(nothing, nothing) == 0


@pytest.mark.slow
def test_of_the_balloon_photographs_one_pair_shows_the_same_scene(balloon: Path) -> None:
    pair = ("24362039530_b151b41a52_k.jpg", "24631331976_defa3bb61f_k.jpg")
    files = sorted(balloon.glob("*/*.jpg"))
    files = [file for k, file in enumerate(files) if k % 4 == 0 or file.name in pair]
    looks = [features(read_image(file)) for file in files]
    common = {
        (files[i].name, files[j].name): common_features(looks[i], looks[j])
        for i, j in itertools.combinations(range(len(files)), 2)
    }
    assert common.pop(pair) >= 2 * COMMON_FEATURES
    assert max(common.values()) <= COMMON_FEATURES // 2
