"""Box AM: which parts of a photograph made the detector find what it found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aerostat.errors import AerostatError, InputError, nearest
from aerostat.explanation import methods
from aerostat.explanation.ablation import ablated_values
from aerostat.explanation.activations import ForwardPass, Objective, forward_from, gradients
from aerostat.explanation.black_box import scorer_of_detector
from aerostat.explanation.drise import MASKS, check_masks, drise
from aerostat.explanation.features import content_cells
from aerostat.explanation.layers import Layer, find_layer, private_copy, record
from aerostat.explanation.result import Explanation, Explanations, Target
from aerostat.explanation.targets import Subject, loss_target, score_target, share_lost
from aerostat.geometry.boxes import clip_boxes, pairwise_iou
from aerostat.geometry.postprocess import NMS_IOU, Candidates
from aerostat.images.letterbox import Letterbox
from aerostat.images.read import read_image
from aerostat.images.resize import resize_image, scaled_size
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.inference.options import SHOW_SCORE
from aerostat.inference.views import as_detections, boxes_in_source
from aerostat.model import RTMDet, decode_boxes, level_points, normalise
from aerostat.model.decode import decode
from aerostat.model.head import RTMDetSepBNHead
from aerostat.results.detections import Detection, Detections

Per = Literal["detection", "class", "all"]
Formula = Callable[[Tensor, Tensor], Tensor]

METHODS = tuple(methods.TITLES)
DEFAULT_METHOD: Mapping[Target, str] = MappingProxyType({"score": "layercam", "loss": "gradcam"})
"""By target: the most faithful one, and that of the published pictures.

LayerCAM of ``neck.out_convs[level]`` has the best mean of heat in the box (0.73), deletion (0.052) and
insertion (0.931) over 85 detections of two runs (benchmarks/explain.md), and no layer is cheaper. GradCAM's
weights are averages over the photograph, so that it lights up whatever resembles the detection (0.13, 0.103,
0.817).
"""
GRADIENT_METHODS: Mapping[str, Formula] = MappingProxyType(
    {
        "gradcam": methods.gradcam,
        "gradcampp": methods.gradcampp,
        "hirescam": methods.hirescam,
        "layercam": methods.layercam,
        "eigengradcam": methods.eigengradcam,
    }
)
PUBLISHED_FORMS: Mapping[str, Formula] = MappingProxyType(
    {"gradcam": methods.boxam_gradcam, "gradcampp": methods.boxam_gradcampp}
)
"""What the `loss` target takes in their place: it is there for comparison with published pictures."""
SEVERAL_LEVELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "backbone": ("backbone.stage2", "backbone.stage3", "backbone.stage4"),
        "neck": ("neck.out_convs[0]", "neck.out_convs[1]", "neck.out_convs[2]"),
    }
)
"""Names of what gives one map per level stand for the layers that give them."""
TOP = 10
"""Maps that are made at most unless somebody asks for more."""
LONGEST_SIDE, SHORTEST_LONG_SIDE = 2000, 480
"""Pixels of the longer side of a drawn photograph: larger ones are drawn smaller, smaller ones larger."""
DRY_RUN_SIDE = 64
"""Pixels of the input on which layers show whether they give maps: two cells at the last stride."""


def explain(
    detector: Detector,
    image: Path | str | NDArray[np.uint8],
    *,
    layer: str | Sequence[str] | None = None,
    method: str | Sequence[str] | None = None,
    target: Target = "score",
    per: Per = "detection",
    top: int | None = TOP,
    score: float = SHOW_SCORE,
    box_xyxy: Sequence[float] | None = None,
    fuse: bool = False,
    nms_iou: float = NMS_IOU,
    masks: int = MASKS,
) -> Explanations:
    """Return which parts of a photograph speak for its detections.

    The detector is never changed, whatever mode it is in and whatever its parameters ask for. Padding has no
    heat and takes no part in what a method makes of a layer.

    Args:
        detector: from `aerostat.load`.
        image: a file, or an image (H, W, 3) uint8 BGR.
        layer: one or several layers by OpenMMLab's names, ``neck`` and ``backbone`` for their three levels;
            None is the last layer before the head at the level where the detection was born,
            ``neck.out_convs[level]``.
        method: one or several of `METHODS`, in the spelling of their papers if you like; None is the one that
            `DEFAULT_METHOD` names for the target.
        target: what is to rise: ``score`` (`targets.score_target`) or ``loss`` (`targets.loss_target`).
        per: one map for each detection, for each class, or for all at once.
        top: make the best so many maps of each method and layer; None makes all.
        score: detections need a higher score.
        box_xyxy: a place in pixels of the photograph: explains the best raw candidate there, whatever its
            score, in place of the detections.
        fuse: one map of all layers in place of one for each.
        nms_iou: see `Detector.predict`.
        masks: of D-RISE; each costs one prediction, and the more, the steadier its map.

    Raises:
        InputError: the image cannot be read, there is no such layer or method, a layer gives no map, there
            are no detections above the score, or the box is none or lies outside of the photograph.
        AerostatError: the network's outputs are not numbers.
    """
    wanted = check_request(method, target, per, top, score, box_xyxy)
    check_masks(masks)
    net = private_copy(detector.net)
    named = None if layer is None else find_map_layers(net, layer)
    scene = _look(detector, net, image, named or [find_layer(net, name) for name in SEVERAL_LEVELS["neck"]])
    candidates = decode(
        scene.done.cls, scene.done.reg, [scene.content_size], score_threshold=score, nms_iou=nms_iou
    )[0]
    found = scene.detections(candidates)
    if box_xyxy is None:
        asked = _asked_detections(scene, candidates, found, per, score)[:top]
    else:
        asked = [_asked_candidate(scene, candidates, found, box_xyxy, score, nms_iou)]
    items = list(_explanations(scene, asked, wanted, target, named, fuse, masks))
    return Explanations(tuple(items), drawn_size(scene.image_bgr), found, scene.path)


def explain_with(
    net: RTMDet, detector: Detector, image: Path | str | NDArray[np.uint8], explanation: Explanation
) -> Explanation:
    """Return an explanation made anew with another network in the place of the detector's.

    What is explained are the scores that the other network gives to the very candidates that the detector's
    own boxes make agree with the detection, so that two maps differ by what the networks see alone.

    Args:
        net: of the same structure.
        detector: that made the explanation; left as it is.
        image: as for `explain`.
        explanation: by any method.
    """
    target: Target = "loss" if explanation.target == "loss" else "score"
    own = _look(detector, private_copy(detector.net), image, [])
    other = private_copy(net)
    scene = _look(detector, other, image, [find_layer(other, name) for name in explanation.layers])
    boxes_xyxy = scene.letterbox.boxes_to_input(np.asarray([d.box_xyxy for d in explanation.detections]))
    subject = Subject(
        torch.as_tensor(boxes_xyxy, dtype=torch.float32, device=detector.device),
        torch.tensor([d.label for d in explanation.detections], device=detector.device),
        torch.tensor(explanation.levels, device=detector.device),
        torch.tensor([d.score for d in explanation.detections], device=detector.device),
    )

    def objective(cls: list[Tensor], reg: list[Tensor]) -> Tensor:
        if target == "loss":
            return loss_target(cls, reg, subject)
        return score_target(cls, own.done.reg, subject, scene.content_size)

    one = _Asked(explanation.detections, subject, explanation.candidate)
    _, gradient = next(gradients(scene.done, [objective], [layer.path for layer in scene.layers]))
    made = _Maps(scene, [one], [objective], target).of(0, explanation.method, scene.layers, gradient)
    return _explanation(scene, one, target, explanation.method, scene.layers, made)


def check_request(
    method: str | Sequence[str] | None,
    target: str,
    per: str,
    top: int | None,
    score: float,
    box_xyxy: Sequence[float] | None,
) -> list[str]:
    """Return the methods asked for, each once, under the names in `METHODS`; see `explain`.

    Raises:
        InputError: an unknown method, target or grouping, or a number or box that can be none.
    """
    for what, value, known in (("target", target, get_args(Target)), ("grouping", per, get_args(Per))):
        if value not in known:
            raise InputError(
                f"Expected a {what} ({', '.join(known)}), found {value!r}.{nearest(value, known)}"
            )
    if method is None:
        method = DEFAULT_METHOD["loss" if target == "loss" else "score"]
    names = [_method(name) for name in ([method] if isinstance(method, str) else method)]
    if not names:
        raise InputError(f"Expected at least one method ({', '.join(METHODS)}), found none.")
    if top is not None and top < 1:
        raise InputError(f"Expected to explain at least the best detection, found top {top}.")
    if not 0 <= score < 1:
        raise InputError(f"Expected a score in [0, 1), found {score}.")
    if box_xyxy is not None:
        box = [float(value) for value in box_xyxy]
        if len(box) != 4 or not all(map(math.isfinite, box)) or not (box[0] < box[2] and box[1] < box[3]):
            raise InputError(
                f"Expected a box as x1,y1,x2,y2 in pixels of the photograph with x1 < x2 and y1 < y2, "
                f"found {','.join(f'{value:g}' for value in box)}."
            )
    return list(dict.fromkeys(names))


def _method(name: str) -> str:
    plain = name.strip().lower().replace("++", "pp").replace("-", "").replace("_", "")
    if plain not in METHODS:
        raise InputError(
            f"Expected a method ({', '.join(METHODS)}), found {name!r}.{nearest(plain, METHODS)}"
        )
    return plain


def find_map_layers(net: RTMDet, names: str | Sequence[str]) -> list[Layer]:
    """Return the layers of a private copy that names stand for, each once, all of which give one map.

    Raises:
        InputError: there is no such layer, or it gives no map.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    layers: dict[str, Layer] = {}
    for name in wanted:
        found = find_layer(net, name)
        if isinstance(found.module, RTMDetSepBNHead):
            raise InputError(
                f"Expected a layer that gives a map, found {found.name}, which gives classes and boxes; "
                f"choose one in it such as {found.name}.cls_convs[2], or what it reads: neck.out_convs[2]."
            )
        for part in SEVERAL_LEVELS.get(found.name, (found.name,)):
            layers[part] = find_layer(net, part)
    if not layers:
        raise InputError("Expected at least one layer such as neck.out_convs[2], found none.")
    device = next(net.parameters()).device
    with torch.inference_mode():
        record(net, list(layers.values()), torch.zeros(1, 3, DRY_RUN_SIDE, DRY_RUN_SIDE, device=device))
    return list(layers.values())


@dataclass(frozen=True, eq=False)
class _Scene:
    """One photograph, how it went into the network, and what the network made of it.

    Args:
        net: a private copy.
        layers: whose outputs are at hand.
        images: (1, 3, H, W), normalised.
        done: the pass through the network.
    """

    detector: Detector
    net: RTMDet
    layers: list[Layer]
    image_bgr: NDArray[np.uint8]
    path: Path | None
    letterbox: Letterbox
    images: Tensor
    done: ForwardPass

    @property
    def content_size(self) -> tuple[int, int]:
        return self.letterbox.resized_size

    @property
    def where(self) -> str:
        return str(self.path or "the image")

    def detections(self, candidates: Candidates) -> Detections:
        """Return boxes of the input as detections on the photograph, in the same order."""
        boxes = boxes_in_source(candidates, self.letterbox)
        return as_detections(boxes, self.detector.classes, self.letterbox.source_size, self.path)


def _look(
    detector: Detector, net: RTMDet, image: Path | str | NDArray[np.uint8], layers: list[Layer]
) -> _Scene:
    path = None if isinstance(image, np.ndarray) else Path(image)
    image_bgr = image if isinstance(image, np.ndarray) else read_image(image)
    shape = image_bgr.shape
    if len(shape) != 3 or shape[2] != 3 or not image_bgr.size or image_bgr.dtype != np.uint8:
        raise InputError(f"Expected an image (H, W, 3) of uint8, found {shape} of {image_bgr.dtype}.")
    letterbox = Letterbox.fit((shape[1], shape[0]), detector.input_size)
    planes = torch.from_numpy(np.ascontiguousarray(letterbox.apply(image_bgr).transpose(2, 0, 1)))[None]
    images = normalise(planes.to(detector.device))
    done = forward_from(net, layers, images)
    if not all(torch.isfinite(x).all() for x in (*done.cls, *done.reg)):
        raise AerostatError(
            f"The network's outputs are not numbers{f' on {path}' if path else ''}; its weights are damaged, "
            "or were trained until they diverged."
        )
    return _Scene(detector, net, layers, image_bgr, path, letterbox, images, done)


@dataclass(frozen=True, eq=False)
class _Asked:
    """What one map is to explain: detections on the photograph, and the same in the network's terms."""

    detections: tuple[Detection, ...]
    subject: Subject
    candidate: bool = False
    note: str = ""

    @property
    def levels(self) -> tuple[int, ...]:
        return tuple(self.subject.levels.tolist())


def _asked(scene: _Scene, candidates: Candidates, found: Detections, rows: Sequence[int]) -> _Asked:
    chosen, device = list(rows), scene.detector.device
    subject = Subject(
        torch.from_numpy(candidates.boxes_xyxy[chosen]).to(device),
        torch.from_numpy(candidates.labels[chosen]).to(device),
        torch.from_numpy(candidates.origin()[0][chosen]).to(device),
        torch.from_numpy(candidates.scores[chosen]).to(device),
    )
    return _Asked(tuple(found[row] for row in chosen), subject)


def _asked_detections(
    scene: _Scene, candidates: Candidates, found: Detections, per: Per, score: float
) -> list[_Asked]:
    """Return what there is to explain, best first.

    Raises:
        InputError: nothing; the best candidate is named.
    """
    if not len(found):
        best = _best_candidate(scene, None)
        if best is None:
            raise InputError(f"Nothing is seen on {scene.where}: no candidate of the network has an area.")
        candidate = scene.detections(best)[0]
        place = ", ".join(f"{value:.0f}" for value in candidate.box_xyxy)
        raise InputError(
            f"There are no detections above the score {score:g} on {scene.where}; the best candidate is "
            f"{candidate.name} with a score of {candidate.score:.3g} at {place}, which a lower score or its "
            f"place (`box_xyxy=({place})`) explains."
        )
    everything = range(len(found))
    if per == "detection":
        groups = [[row] for row in everything]
    elif per == "class":
        labels = dict.fromkeys(found.labels.tolist())
        groups = [[row for row in everything if found.labels[row] == label] for label in labels]
    else:
        groups = [list(everything)]
    return [_asked(scene, candidates, found, rows) for rows in groups]


def _asked_candidate(
    scene: _Scene,
    candidates: Candidates,
    found: Detections,
    box_xyxy: Sequence[float],
    score: float,
    nms_iou: float,
) -> _Asked:
    """Return the best candidate at a place, and why it is no detection if it is none.

    Raises:
        InputError: the box lies outside of the photograph, or no candidate overlaps it.
    """
    width, height = scene.letterbox.source_size
    wanted = np.asarray([box_xyxy], np.float64)
    inside = clip_boxes(wanted, width, height)
    asked_for = ",".join(f"{value:g}" for value in box_xyxy)
    if not (inside[0, :2] < inside[0, 2:]).all():
        raise InputError(
            f"Expected a box on the photograph of {width} x {height} px, found {asked_for} outside of it."
        )
    best = _best_candidate(scene, scene.letterbox.boxes_to_input(inside)[0])
    if best is None:
        raise InputError(f"No candidate of the network overlaps the box {asked_for} on {scene.where} at all.")
    overlap = float(pairwise_iou(scene.detections(best).boxes_xyxy.astype(np.float64), inside)[0, 0])
    (levels, points), (level, point) = candidates.origin(), best.origin()
    same = np.flatnonzero((levels == level) & (points == point) & (candidates.labels == best.labels))
    place = f"the best candidate there, IoU {overlap:.2f} with the box asked for"
    if len(same):
        return replace(_asked(scene, candidates, found, same.tolist()), note=f"{place}; it is a detection")
    reason = _why_not(candidates, found, best, score, nms_iou)
    asked = _asked(scene, best, scene.detections(best), [0])
    return replace(asked, candidate=True, note=f"{place}; {reason}")


def _why_not(
    candidates: Candidates, found: Detections, best: Candidates, score: float, nms_iou: float
) -> str:
    """Say why a candidate is no detection."""
    own = float(best.scores[0])
    if own <= score:
        return f"no detection, its score {own:.3g} is not above {score:g}"
    ious = pairwise_iou(candidates.boxes_xyxy, best.boxes_xyxy)[:, 0]
    ious = np.where(candidates.labels == best.labels[0], ious, 0)
    if len(ious) and ious.max() > nms_iou:
        winner = found[int(ious.argmax())]
        return f"no detection, {winner.name} {winner.score:.0%} takes its place (IoU {ious.max():.2f})"
    return "no detection, there are more than enough better ones"


@torch.no_grad()
def _best_candidate(scene: _Scene, box_xyxy: NDArray[np.float64] | None) -> Candidates | None:
    """Return the raw candidate with the largest product of score and IoU with a box, whatever its score.

    None if that is 0 for all of them.

    Args:
        scene: with the raw outputs.
        box_xyxy: (4,) in input pixels; None asks for the best score anywhere on the photograph.
    """
    points = level_points([(x.shape[2], x.shape[3]) for x in scene.done.cls], scene.detector.device)
    of_level = torch.split(points, [x[0, 0].numel() for x in scene.done.cls])
    candidates = []
    for level, (cls, reg) in enumerate(zip(scene.done.cls, scene.done.reg, strict=True)):
        distances = reg[0].flatten(1).T.float()
        boxes_xyxy = decode_boxes(of_level[level], distances).cpu().numpy()
        boxes_xyxy = clip_boxes(boxes_xyxy, *scene.content_size)
        scores = cls[0].flatten(1).T.float().sigmoid().cpu().numpy()  # (P, K)
        iou = np.asarray((boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(1), np.float64)
        if box_xyxy is not None:
            iou *= pairwise_iou(boxes_xyxy, box_xyxy[None])[:, 0]
        worth = scores * iou[:, None]
        point, label = np.unravel_index(int(worth.argmax()), worth.shape)
        best_of_level = Candidates(
            boxes_xyxy[[point]],
            scores[[point], [label]],
            np.asarray([label], np.int64),
            levels=np.asarray([level], np.int64),
            points=np.asarray([point], np.int64),
        )
        candidates.append((float(worth[point, label]), best_of_level))
    worth_most, best = max(candidates, key=lambda candidate: candidate[0])
    return best if worth_most > 0 else None


def _explanations(
    scene: _Scene,
    asked: Sequence[_Asked],
    wanted: Sequence[str],
    target: Target,
    named: list[Layer] | None,
    fuse: bool,
    masks: int,
) -> Iterator[Explanation]:
    """Yield the explanations by what is asked, then by method, then by layer."""
    objectives = [_objective(scene, one.subject, target) for one in asked]
    maps = _Maps(scene, asked, objectives, target, masks)
    made: dict[int, list[Explanation]] = {}
    paths = [layer.path for layer in scene.layers]
    for index, gradient in gradients(scene.done, objectives, paths):  # in an order of its own
        # What was born at several levels is seen at all of them at once.
        layers = named or [scene.layers[level] for level in sorted(set(asked[index].levels))]
        groups = [layers] if fuse or named is None else [[layer] for layer in layers]
        made[index] = [
            _explanation(scene, asked[index], target, method, group, maps.of(index, method, group, gradient))
            for method in wanted
            for group in ([[]] if method == "drise" else groups)
        ]
    for index in range(len(asked)):
        yield from made[index]


def _explanation(
    scene: _Scene,
    one: _Asked,
    target: Target,
    method: str,
    layers: Sequence[Layer],
    maps: Sequence[tuple[NDArray[np.float32], bool]],
) -> Explanation:
    return Explanation(
        detections=one.detections,
        levels=one.levels,
        method=method,
        layers=tuple(layer.name for layer in layers),
        target=target,
        maps=tuple(values for values, _ in maps),
        letterbox=scene.letterbox,
        influences=tuple(influence for _, influence in maps),
        candidate=one.candidate,
        note=one.note,
    )


def _objective(scene: _Scene, subject: Subject, target: Target) -> Objective:
    if target == "loss":
        return partial(loss_target, subject=subject)
    return partial(score_target, subject=subject, content_size=scene.content_size)


class _Maps:
    """The maps of one scene; what several of them share is computed once."""

    def __init__(
        self,
        scene: _Scene,
        asked: Sequence[_Asked],
        objectives: Sequence[Objective],
        target: Target,
        masks: int = MASKS,
    ) -> None:
        self._scene, self._asked, self._objectives, self._target = scene, asked, objectives, target
        self._masks = masks
        self._eigen: dict[str, NDArray[np.float32]] = {}
        self._drops: dict[str, Tensor] = {}
        self._drise: NDArray[np.float32] | None = None

    def of(
        self, index: int, method: str, layers: Sequence[Layer], gradient: Mapping[str, Tensor]
    ) -> list[tuple[NDArray[np.float32], bool]]:
        """Return for what is asked at `index` a map (h, w) of each layer, and whether it has any influence.

        Args:
            index: of what is asked.
            method: one of `METHODS`.
            layers: none for a black box, which has one map.
            gradient: (C, h, w) by path.
        """
        if method == "drise":
            heat = self._black_box(index)
            return [(heat, bool(heat.any()))]
        return [
            (self._map(index, method, layer, gradient[layer.path]), bool(gradient[layer.path].any()))
            for layer in layers
        ]

    def _map(self, index: int, method: str, layer: Layer, gradient: Tensor) -> NDArray[np.float32]:
        if not gradient.any():  # a map would show what has nothing to do with the detection
            return np.zeros(tuple(gradient.shape[1:]), np.float32)
        activations = self._scene.done.activations[layer.path][0].detach()
        if method == "eigencam":
            if layer.path not in self._eigen:
                self._eigen[layer.path] = self._on_content(lambda a, _: methods.eigencam(a), activations)
            return self._eigen[layer.path]
        if method == "ablationcam":
            drops = self._channel_drops(layer)[index]
            return self._on_content(lambda a, _: methods.ablationcam(a, drops), activations)
        published = self._target == "loss" and method in PUBLISHED_FORMS
        formula = (PUBLISHED_FORMS if published else GRADIENT_METHODS)[method]
        return self._on_content(formula, activations, gradient)

    def _black_box(self, index: int) -> NDArray[np.float32]:
        """Return the black-box map; that of several detections is the mean of theirs."""
        scene = self._scene
        if self._drise is None:
            boxes_xyxy = torch.cat([one.subject.boxes_xyxy for one in self._asked]).cpu().numpy()
            labels = torch.cat([one.subject.labels for one in self._asked]).cpu().numpy()
            detector = replace(scene.detector, engine=TorchEngine(scene.net))
            scorer = scorer_of_detector(detector, boxes_xyxy, labels, scene.content_size)
            seen = scene.letterbox.apply(scene.image_bgr)
            self._drise = drise(scorer, seen, scene.content_size, masks=self._masks)
        start = sum(len(one.detections) for one in self._asked[:index])
        own = self._drise[start : start + len(self._asked[index].detections)]
        return np.asarray(own.mean(axis=0), np.float32)

    def _channel_drops(self, layer: Layer) -> Tensor:
        """Return (n, C): the share of each objective that is lost with each channel."""
        if layer.path not in self._drops:
            done = self._scene.done
            without = ablated_values(self._scene.net, layer, self._scene.images, self._objectives)
            with torch.no_grad():
                whole = torch.stack([objective(done.cls, done.reg) for objective in self._objectives])
            self._drops[layer.path] = share_lost(self._target, whole, without)
        return self._drops[layer.path]

    def _on_content(
        self, formula: Formula, activations: Tensor, gradient: Tensor | None = None
    ) -> NDArray[np.float32]:
        """Return a formula's map of the cells that hold photograph, with zeros under the padding."""
        rows, columns = content_cells(self._scene.letterbox, activations.shape[1:])
        whole = np.zeros(tuple(activations.shape[1:]), np.float32)
        inside = activations[:, rows, columns]
        values = formula(inside, inside if gradient is None else gradient[:, rows, columns])
        whole[rows, columns] = values.float().cpu().numpy()
        return whole


def drawn_size(image_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the photograph as it is drawn, its longer side within bounds."""
    side = max(image_bgr.shape[:2])
    wanted = min(max(side, SHORTEST_LONG_SIDE), LONGEST_SIDE)
    size = scaled_size((image_bgr.shape[1], image_bgr.shape[0]), wanted / side)
    if wanted < side:
        return np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    return resize_image(image_bgr, size)
