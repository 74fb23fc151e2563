"""Does a heat map tell what the detector looked at? Measures that need only the map and the detector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.explanation.black_box import Scorer, scorer_of_detector
from aerostat.explanation.randomised import randomisation_check
from aerostat.explanation.result import Explanation
from aerostat.images.letterbox import PAD_VALUE, Letterbox
from aerostat.images.read import read_image
from aerostat.inference.detector import Detector
from aerostat.progress import track
from aerostat.results.detections import Detection

STEPS = 24
"""Images that a curve asks the detector about, besides the first one."""
BLOCKS_ALONG = 80
"""Blocks along the photograph's longer side that are changed as one: 4 px at an input of 320."""
CONTROLS = MappingProxyType(
    {
        "random": "white noise",
        "smooth random": "noise as smooth as maps are",
        "centred Gaussian": "a bell over the photograph: objects tend to be in the middle",
        "Gaussian in the box": "a bell in the explained box: all that one can know without the network",
    }
)
"""Maps that know nothing of the network, which a faithful map must beat."""
SMOOTH_SHARE = 1 / 20
"""Standard deviation of the smooth noise, as a share of the photograph's longer side."""
BLUR_SHARE = 1 / 16
"""Standard deviation of the blur, as a share of the photograph's longer side, from which insertion starts."""


@dataclass(frozen=True, eq=False)
class Curve:
    """How much of a detection is found while the photograph is taken away, or comes in, hottest pixels first.

    Args:
        shares: (S,) of the photograph's pixels that are changed, rising from 0 to 1.
        scores: (S,) similarity of the best candidate to the explained detection, divided by that on the whole
            photograph; all 0 where it is not found even there.
    """

    shares: NDArray[np.float64]
    scores: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Area under the curve by trapezoids; 1 for a score that stays what it is on the photograph."""
        return float(np.trapezoid(self.scores, self.shares))

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers that any JSON writer takes."""
        return {"area": self.area, "shares": self.shares.tolist(), "scores": self.scores.tolist()}


@dataclass(frozen=True, eq=False)
class Measures:
    """How faithful one map is to one detection.

    Args:
        inside: share of the heat inside the explained box, `heat_inside`.
        deletion: taking the hottest pixels away first; the smaller its area the better.
        insertion: letting the hottest pixels in first; the larger its area the better.
    """

    inside: float
    deletion: Curve
    insertion: Curve

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers that any JSON writer takes."""
        return {
            "inside": self.inside,
            "deletion": self.deletion.to_dict(),
            "insertion": self.insertion.to_dict(),
        }


def heat_inside(heat: NDArray[np.floating], box_xyxy: tuple[float, float, float, float]) -> float:
    """Return the share of a map's heat inside a box, from 0 to 1.

    The energy-based pointing game of Score-CAM (Wang et al., arXiv:1910.01279, section 4.3). A pixel that the
    box's edge cuts counts by the part of it that is inside.

    Args:
        heat: (H, W), not negative.
        box_xyxy: in pixels of the map; what is outside of the map has no heat.

    Returns:
        0 for a map without heat and for a box without area.
    """
    total = float(heat.sum(dtype=np.float64))
    if total <= 0:
        return 0.0
    height, width = heat.shape
    x1, y1, x2, y2 = box_xyxy
    rows, columns = _coverage(height, y1, y2), _coverage(width, x1, x2)
    return float(rows @ heat.astype(np.float64) @ columns) / total


def _coverage(length: int, start: float, stop: float) -> NDArray[np.float64]:
    """Return how much of each of `length` pixels lies between two edges."""
    left = np.arange(length, dtype=np.float64)
    covered: NDArray[np.float64] = np.clip(np.minimum(left + 1, stop) - np.maximum(left, start), 0, 1)
    return covered


def hottest_first(heat: NDArray[np.floating], *, block: int, seed: int = 0) -> NDArray[np.int64]:
    """Return for every pixel (H, W) the place of its block in the order from hot to cold.

    Blocks of equal heat stand in an order drawn from `seed`: in reading order a map with large areas of zero
    would profit from where the object happens to be.

    Args:
        heat: (H, W).
        block: side in pixels of the squares that are changed as one; at the right and bottom edge they may be
            cut.
        seed: of the draw.
    """
    height, width = heat.shape
    row, column = np.arange(height) // block, np.arange(width) // block
    blocks = row[:, None] * (column[-1] + 1) + column[None, :]
    count = int(blocks[-1, -1]) + 1
    sizes = np.bincount(blocks.ravel(), minlength=count)
    means = np.bincount(blocks.ravel(), heat.astype(np.float64).ravel(), count) / sizes
    order = np.lexsort((np.random.default_rng(seed).random(count), -means))
    place = np.empty(count, np.int64)
    place[order] = np.arange(count)
    places: NDArray[np.int64] = place[blocks]
    return places


def curve(
    scorer: Scorer,
    start_bgr: NDArray[np.uint8],
    end_bgr: NDArray[np.uint8],
    places: NDArray[np.int64],
    *,
    full_score: float,
    steps: int = STEPS,
) -> Curve:
    """Return the scores while one image turns into another, block after block.

    The steps stand closer at the beginning, at shares of (i / steps)^2: an object has a few hundredths of a
    photograph, and with equal steps all would be over at the first.

    Args:
        scorer: gives one number per image, (N, 1).
        start_bgr, end_bgr: (H, W, 3).
        places: (h, w), h <= H and w <= W, from `hottest_first`; what is outside of it stays.
        full_score: what the scores are divided by; where it is 0 all are 0.
        steps: besides the first image.
    """
    sizes = np.bincount(places.ravel())
    reached = np.concatenate([[0], np.cumsum(sizes)])  # pixels changed after so many blocks
    wanted = (np.arange(steps + 1) / steps) ** 2 * places.size
    blocks = np.unique(np.searchsorted(reached, wanted - 1e-9))
    images = np.repeat(start_bgr[None], len(blocks), axis=0)
    height, width = places.shape
    for image, changed in zip(images, blocks, strict=True):
        taken = places < changed
        image[:height, :width][taken] = end_bgr[:height, :width][taken]
    scores = scorer(images)[:, 0]
    return Curve(reached[blocks] / places.size, scores / full_score if full_score > 0 else 0 * scores)


@dataclass(frozen=True, eq=False)
class Scene:
    """One detection on one photograph as the network sees it, and whom to ask how much of it is found.

    Args:
        image_bgr: (H, W, 3) uint8, the network's input.
        content_size: (width, height) of the photograph at the left and top of the input.
        box_xyxy: the explained box in pixels of the input.
        scorer: gives one number per image, (N, 1).
        full_score: its answer for the whole photograph.
        seed: of the order of equal heat, and of the controls.
    """

    image_bgr: NDArray[np.uint8]
    content_size: tuple[int, int]
    box_xyxy: tuple[float, float, float, float]
    scorer: Scorer = field(repr=False)
    full_score: float
    seed: int = 0

    @classmethod
    def of(
        cls, detector: Detector, image_bgr: NDArray[np.uint8], detection: Detection, *, seed: int = 0
    ) -> Scene:
        """Return the scene of a detection on a photograph (H, W, 3) uint8, in whose pixels its box is."""
        letterbox = Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), detector.input_size)
        boxes_xyxy = letterbox.boxes_to_input(np.asarray([detection.box_xyxy]))
        labels = np.asarray([detection.label])
        scorer = scorer_of_detector(detector, boxes_xyxy, labels, letterbox.resized_size)
        seen = letterbox.apply(image_bgr)
        x1, y1, x2, y2 = boxes_xyxy[0].tolist()
        full_score = float(scorer(seen[None])[0, 0])
        return cls(seen, letterbox.resized_size, (x1, y1, x2, y2), scorer, full_score, seed)

    def measure(self, heat: NDArray[np.floating], *, steps: int = STEPS) -> Measures:
        """Return how faithful a map (h, w) over the photograph at `content_size` is.

        Deletion puts the padding's grey in the photograph's place, in which the network has learnt to see
        nothing; insertion starts from a blur, since what comes in against grey has edges of its own (RISE,
        Petsiuk et al., arXiv:1806.07421, section 4.3).

        Raises:
            InputError: the map is of another size, or not made of numbers of at least 0.
        """
        width, height = self.content_size
        if heat.shape != (height, width) or not np.isfinite(heat).all() or (heat < 0).any():
            raise InputError(
                f"Expected heat of at least 0 and shape {(height, width)}, found shape {heat.shape}"
                f"{'' if heat.shape != (height, width) else ' with other numbers'}."
            )
        block = max(1, round(max(self.content_size) / BLOCKS_ALONG))
        places = hottest_first(heat, block=block, seed=self.seed)
        grey, blur = emptied(self.image_bgr, self.content_size), blurred(self.image_bgr, self.content_size)
        asked: dict[str, Any] = {"full_score": self.full_score, "steps": steps}
        return Measures(
            heat_inside(heat, self.box_xyxy),
            curve(self.scorer, self.image_bgr, grey, places, **asked),
            curve(self.scorer, blur, self.image_bgr, places, **asked),
        )

    def controls(self) -> dict[str, NDArray[np.float64]]:
        """Return maps (h, w) by name that know nothing of the network; see `CONTROLS`."""
        width, height = self.content_size
        generator = np.random.default_rng(self.seed + 1)
        noise = generator.random((height, width))
        x1, y1, x2, y2 = self.box_xyxy
        smooth = cv2.GaussianBlur(noise, (0, 0), max(width, height) * SMOOTH_SHARE)
        return {
            "random": noise,
            "smooth random": smooth - smooth.min(),
            "centred Gaussian": _gaussian(self.content_size, (0, 0, width, height)),
            "Gaussian in the box": _gaussian(self.content_size, (x1, y1, x2, y2)),
        }


def _gaussian(size: tuple[int, int], box_xyxy: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Return a bell (h, w) centred on a box, of a standard deviation of a quarter of its sides."""
    x1, y1, x2, y2 = box_xyxy
    sides = []
    for length, start, stop in ((size[0], x1, x2), (size[1], y1, y2)):
        distance = np.arange(length) + 0.5 - (start + stop) / 2
        sides.append(np.exp(-0.5 * (distance / max((stop - start) / 4, 0.25)) ** 2))
    return np.outer(sides[1], sides[0])


def blurred(image_bgr: NDArray[np.uint8], content_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the input with its photograph blurred beyond recognition and its padding as it is."""
    width, height = content_size
    out = image_bgr.copy()
    sigma = max(content_size) * BLUR_SHARE
    out[:height, :width] = cv2.GaussianBlur(image_bgr[:height, :width], (0, 0), sigma)
    return out


def emptied(image_bgr: NDArray[np.uint8], content_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the input with the grey of the padding in place of its photograph."""
    width, height = content_size
    out = image_bgr.copy()
    out[:height, :width] = PAD_VALUE
    return out


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """How faithful one explanation is, beside maps that know nothing of the network.

    Args:
        explanation: what was measured.
        full_score: score of the explained detection on the whole photograph, which the curves are shares of.
        measures: of the explanation's heat.
        controls: of the maps of `CONTROLS`, by name.
        randomised: how alike the map with random weights is, see `randomised.randomisation_check`; empty for
            a black box, whose weights nobody has.
    """

    explanation: Explanation
    full_score: float
    measures: Measures
    controls: Mapping[str, Measures]
    randomised: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers that any JSON writer takes."""
        return {
            "full_score": self.full_score,
            **self.measures.to_dict(),
            "randomised": dict(self.randomised),
            "controls": {name: measures.to_dict() for name, measures in self.controls.items()},
        }


def faithfulness(
    detector: Detector,
    image: Path | str | NDArray[np.uint8],
    explanation: Explanation,
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> Faithfulness:
    """Return how faithful an explanation of one detection is, with the controls beside it.

    Args:
        detector: that found it; it is asked `steps` + 1 times for each curve, ten curves in all.
        image: the photograph: a file, or an image (H, W, 3) uint8 BGR.
        explanation: of one detection on it.
        steps: of each curve.
        seed: of the order of equal heat, of the controls and of random weights.

    Raises:
        InputError: the explanation is of several detections or of another photograph, or the image cannot be
            read.
    """
    return faithfulness_of_all(detector, image, [explanation], steps=steps, seed=seed)[0]


def faithfulness_of_all(
    detector: Detector,
    image: Path | str | NDArray[np.uint8],
    explanations: Iterable[Explanation],
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> list[Faithfulness]:
    """Return how faithful each of several explanations of one photograph is, as `faithfulness` does.

    The controls of a detection are measured once, however many methods and layers explain it.
    """
    image_bgr = image if isinstance(image, np.ndarray) else read_image(image)
    explanations = list(explanations)
    for explanation in explanations:
        _check(explanation, detector, image_bgr)
    scenes: dict[Detection, tuple[Scene, dict[str, Measures]]] = {}
    measured = []
    for explanation in track(explanations, "measuring faithfulness"):
        if explanation.detection not in scenes:
            scene = Scene.of(detector, image_bgr, explanation.detection, seed=seed)
            controls = {name: scene.measure(heat, steps=steps) for name, heat in scene.controls().items()}
            scenes[explanation.detection] = scene, controls
        scene, controls = scenes[explanation.detection]
        heat = explanation.heat_at(scene.content_size)
        measures = scene.measure(heat, steps=steps)
        black_box = not explanation.layers
        alike = {} if black_box else randomisation_check(detector, image_bgr, explanation, seed=seed)
        measured.append(Faithfulness(explanation, scene.full_score, measures, controls, alike))
    return measured


def _check(explanation: Explanation, detector: Detector, image_bgr: NDArray[np.uint8]) -> None:
    if len(explanation.detections) != 1:
        raise InputError(
            f"Expected an explanation of one detection, found one of {len(explanation.detections)} at once; "
            "explain each by itself."
        )
    size = (image_bgr.shape[1], image_bgr.shape[0])
    letterbox = explanation.letterbox
    if (letterbox.source_size, letterbox.input_size) != (size, detector.input_size):
        raise InputError(
            f"Expected an explanation of this photograph ({size} at an input of {detector.input_size}), "
            f"found one of {letterbox.source_size} at {letterbox.input_size}."
        )
