"""Faithfulness of heat maps: deletion, insertion and heat in the box, beside control maps."""

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
from aerostat.progress import progress_shown, track
from aerostat.results.detections import Detection
from aerostat.text import html_table

STEPS = 24
"""Number of images of a curve, besides the first one."""
BLOCKS_ALONG = 80
"""Number of blocks along the photograph's longer side: 4 px at an input of 320. A block changes at once."""
CONTROLS = MappingProxyType(
    {
        "random": "white noise",
        "smooth random": "noise as smooth as maps",
        "centred Gaussian": "a bell over the photograph: objects tend to be in the middle",
        "Gaussian in the box": "a bell in the explained box: the best guess without the network",
    }
)
"""Maps without knowledge of the network, which a faithful map must beat."""
SMOOTH_SHARE = 1 / 20
"""Standard deviation of the smooth noise, as a share of the photograph's longer side."""
BLUR_SHARE = 1 / 16
"""Standard deviation of the blur from which insertion starts, as a share of the photograph's longer side."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Score of a detection while pixels are removed or added, hottest first.

    Args:
        shares: (S,) share of the photograph's pixels that are changed, rising from 0 to 1.
        scores: (S,) similarity of the best candidate to the explained detection, divided by that on the whole
            photograph; all 0 if it is not found there.
    """

    shares: NDArray[np.float64]
    scores: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Area under the curve by trapezoids; 1 for a constant score."""
        return float(np.trapezoid(self.scores, self.shares))

    def __repr__(self) -> str:
        """Return the area in one line."""
        return f"Curve(area {self.area:.3f}, {len(self.shares)} steps)"

    def to_dict(self) -> dict[str, Any]:
        """Return the curve as JSON values."""
        return {"area": self.area, "shares": self.shares.tolist(), "scores": self.scores.tolist()}


@dataclass(frozen=True, eq=False)
class Measures:
    """Faithfulness of one map to one detection.

    Args:
        inside: share of the heat inside the explained box, `heat_inside`.
        deletion: curve while the hottest pixels are removed first; a small area is better.
        insertion: curve while the hottest pixels are added first; a large area is better.
    """

    inside: float
    deletion: Curve
    insertion: Curve

    def cells(self) -> tuple[str, str, str]:
        """Return the three measures as cells of a table."""
        return f"{self.inside:.2f}", f"{self.deletion.area:.3f}", f"{self.insertion.area:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Return the measures as JSON values."""
        return {
            "inside": self.inside,
            "deletion": self.deletion.to_dict(),
            "insertion": self.insertion.to_dict(),
        }


def heat_inside(heat: NDArray[np.floating], box_xyxy: tuple[float, float, float, float]) -> float:
    """Return the share of a map's heat inside a box, from 0 to 1.

    This is the energy-based pointing game of Score-CAM (Wang et al., arXiv:1910.01279, section 4.3). A pixel
    on the box's edge counts by its part inside.

    Args:
        heat: (H, W), not negative.
        box_xyxy: box in pixels of the map.

    Returns:
        0 for a map without heat and for a box without area.

    >>> heat_inside(np.ones((4, 4)), (0, 0, 2, 4))
    0.5
    """
    total = float(heat.sum(dtype=np.float64))
    if total <= 0:
        return 0.0
    height, width = heat.shape
    x1, y1, x2, y2 = box_xyxy
    rows, columns = _coverage(height, y1, y2), _coverage(width, x1, x2)
    return float(rows @ heat.astype(np.float64) @ columns) / total


def _coverage(length: int, start: float, stop: float) -> NDArray[np.float64]:
    """Return the part of each of `length` pixels between two edges."""
    left = np.arange(length, dtype=np.float64)
    covered: NDArray[np.float64] = np.clip(np.minimum(left + 1, stop) - np.maximum(left, start), 0, 1)
    return covered


def hottest_first(heat: NDArray[np.floating], *, block: int, seed: int = 0) -> NDArray[np.int64]:
    """Return for each pixel (H, W) the rank of its block from hot to cold.

    Blocks of equal heat have a random order: in reading order a map with large areas of zero would profit
    from the place of the object.

    Args:
        heat: (H, W).
        block: side of a block in pixels; blocks at the right and bottom edge may be smaller.
        seed: seed of the random order.
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
    """Return the scores while one image turns into another, block by block.

    The steps are at shares of (i / steps)^2, closer at the beginning: an object covers a few hundredths of a
    photograph, and equal steps would change all of it at once.

    Args:
        scorer: gives one number per image, (N, 1).
        start_bgr, end_bgr: images (H, W, 3).
        places: ranks (h, w) from `hottest_first`, h <= H and w <= W; pixels outside stay as they are.
        full_score: divisor of the scores; if it is 0 all scores are 0.
        steps: number of images besides the first one.
    """
    sizes = np.bincount(places.ravel())
    reached = np.concatenate([[0], np.cumsum(sizes)])  # number of changed pixels by number of blocks
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
    """One detection in the network's input, and its scorer.

    Args:
        image_bgr: (H, W, 3) uint8, the network's input.
        content_size: (width, height) of the photograph at the left and top of the input.
        box_xyxy: explained box in pixels of the input.
        scorer: gives one number per image, (N, 1).
        full_score: score on the whole photograph.
        seed: seed of the order of equal heat, and of the controls.
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
        """Return the scene of a detection on a photograph (H, W, 3) uint8; its box is in the same pixels."""
        letterbox = Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), detector.input_size)
        boxes_xyxy = letterbox.boxes_to_input(np.asarray([detection.box_xyxy]))
        labels = np.asarray([detection.label])
        scorer = scorer_of_detector(detector, boxes_xyxy, labels, letterbox.resized_size)
        seen = letterbox.apply(image_bgr)
        x1, y1, x2, y2 = boxes_xyxy[0].tolist()
        full_score = float(scorer(seen[None])[0, 0])
        return cls(seen, letterbox.resized_size, (x1, y1, x2, y2), scorer, full_score, seed)

    def measure(self, heat: NDArray[np.floating], *, steps: int = STEPS) -> Measures:
        """Return the faithfulness of a map (h, w) over the photograph at `content_size`.

        Deletion replaces pixels by the grey of the padding, in which the network has learned to see nothing.
        Insertion starts from a blur, because pixels on grey would have edges of their own (RISE, Petsiuk et
        al., arXiv:1806.07421, section 4.3).

        Raises:
            InputError: the map has another size, a negative number, or one that is not finite.
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
        """Return the control maps (h, w) by name; see `CONTROLS`."""
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
    """Return a bell (h, w) centred on a box; its standard deviation is a quarter of the sides."""
    x1, y1, x2, y2 = box_xyxy
    sides = []
    for length, start, stop in ((size[0], x1, x2), (size[1], y1, y2)):
        distance = np.arange(length) + 0.5 - (start + stop) / 2
        sides.append(np.exp(-0.5 * (distance / max((stop - start) / 4, 0.25)) ** 2))
    return np.outer(sides[1], sides[0])


def blurred(image_bgr: NDArray[np.uint8], content_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the input with a strongly blurred photograph; the padding stays as it is."""
    width, height = content_size
    out = image_bgr.copy()
    sigma = max(content_size) * BLUR_SHARE
    out[:height, :width] = cv2.GaussianBlur(image_bgr[:height, :width], (0, 0), sigma)
    return out


def emptied(image_bgr: NDArray[np.uint8], content_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the input with the grey of the padding instead of the photograph."""
    width, height = content_size
    out = image_bgr.copy()
    out[:height, :width] = PAD_VALUE
    return out


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """Faithfulness of one explanation, beside the controls.

    Args:
        explanation: the measured explanation.
        full_score: score of the explained detection on the whole photograph; the curves are relative to it.
        measures: measures of the explanation's heat.
        controls: measures of the maps of `CONTROLS`, by name.
        randomised: similarity of the map with random weights by part, see `randomised.randomisation_check`;
            empty for a black box.
    """

    explanation: Explanation
    full_score: float
    measures: Measures
    controls: Mapping[str, Measures]
    randomised: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the faithfulness as JSON values."""
        return {
            "full_score": self.full_score,
            **self.measures.to_dict(),
            "randomised": dict(self.randomised),
            "controls": {name: measures.to_dict() for name, measures in self.controls.items()},
        }

    def __repr__(self) -> str:
        """Return the measures in one line."""
        measures = self.measures
        return (
            f"Faithfulness({self.explanation.source}: {measures.inside:.0%} of the heat in the box, deletion "
            f"{measures.deletion.area:.3f}, insertion {measures.insertion.area:.3f})"
        )

    def _repr_html_(self) -> str:
        """Return the table of the map and its controls for a notebook."""
        rows = [(self.explanation.source, *self.measures.cells())]
        rows += [(name, *measures.cells()) for name, measures in self.controls.items()]
        return html_table(("map", "in box", "deletion", "insertion"), rows, repr(self))


def faithfulness(
    detector: Detector,
    image: Path | str | NDArray[np.uint8],
    explanation: Explanation,
    *,
    steps: int = STEPS,
    seed: int = 0,
    progress: bool = True,
) -> Faithfulness:
    """Return the faithfulness of an explanation of one detection, beside the controls.

    Args:
        detector: detector of the explained detection. It predicts `steps` + 1 images for each of ten curves.
        image: path, or photograph (H, W, 3) uint8 BGR.
        explanation: explanation of one detection on it.
        steps: number of steps of each curve.
        seed: seed of the order of equal heat, of the controls and of random weights.
        progress: whether progress is shown.

    Raises:
        InputError: an explanation of several detections or of another photograph, or an unreadable image.

    Example:
        ``faithfulness(model, "party.jpg", ae.explain(model, "party.jpg", top=1)[0])``
    """
    return faithfulness_of_all(detector, image, [explanation], steps=steps, seed=seed, progress=progress)[0]


def faithfulness_of_all(
    detector: Detector,
    image: Path | str | NDArray[np.uint8],
    explanations: Iterable[Explanation],
    *,
    steps: int = STEPS,
    seed: int = 0,
    progress: bool = True,
) -> list[Faithfulness]:
    """Return the faithfulness of several explanations of one photograph; see `faithfulness`.

    The controls of a detection are measured once for all of its methods and layers.
    """
    image_bgr = image if isinstance(image, np.ndarray) else read_image(image)
    explanations = list(explanations)
    for explanation in explanations:
        _check(explanation, detector, image_bgr)
    scenes: dict[Detection, tuple[Scene, dict[str, Measures]]] = {}
    measured = []
    with progress_shown(progress):
        for explanation in track(explanations, "measuring faithfulness"):
            if explanation.detection not in scenes:
                scene = Scene.of(detector, image_bgr, explanation.detection, seed=seed)
                controls = {name: scene.measure(heat, steps=steps) for name, heat in scene.controls().items()}
                scenes[explanation.detection] = scene, controls
            scene, controls = scenes[explanation.detection]
            measures = scene.measure(explanation.heat_at(scene.content_size), steps=steps)
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
