"""What the maps of an explanation are about: detections, groups of them, or the best candidate at a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.explanation.forwarded import ForwardedImage
from aerostat.explanation.options import ExplainOptions
from aerostat.explanation.targets import Subject
from aerostat.geometry.boxes import clip_boxes, pairwise_iou
from aerostat.geometry.postprocess import Candidates
from aerostat.model import decode_boxes, level_points
from aerostat.results.detections import Detection, Detections

SAME_IOU = 0.5
"""IoU from which a candidate is a detection that is named by its box."""


@dataclass(frozen=True, eq=False)
class MapRequest:
    """The detections that one map explains, on the photograph and in the network's terms.

    Args:
        detections: on the photograph, best first.
        subject: the same in pixels of the input.
        candidate: whether this is not a detection but the best raw candidate at a place.
        note: more to say, such as why a candidate is no detection; a clause, or empty.
    """

    detections: tuple[Detection, ...]
    subject: Subject
    candidate: bool = False
    note: str = ""

    @property
    def levels(self) -> tuple[int, ...]:
        """Pyramid level of each detection."""
        return tuple(self.subject.levels.tolist())


def _request(
    image: ForwardedImage, candidates: Candidates, detections: Detections, rows: Sequence[int]
) -> MapRequest:
    chosen, device = list(rows), image.detector.device
    subject = Subject(
        torch.from_numpy(candidates.boxes_xyxy[chosen]).to(device),
        torch.from_numpy(candidates.labels[chosen]).to(device),
        torch.from_numpy(candidates.origin()[0][chosen]).to(device),
        torch.from_numpy(candidates.scores[chosen]).to(device),
    )
    return MapRequest(tuple(detections[row] for row in chosen), subject)


def requests_for_detections(
    image: ForwardedImage, candidates: Candidates, detections: Detections, options: ExplainOptions
) -> list[MapRequest]:
    """Return the requests for the best `options.top` detections or groups of detections, best first.

    Args:
        image: photograph with the raw outputs.
        candidates: candidates that were kept, in pixels of the input.
        detections: the same on the photograph.
        options: says how detections are grouped, and how many are explained.

    Raises:
        InputError: there are no detections; the sentence names the best candidate.
    """
    if not len(detections):
        best = _best_candidate(image, None)
        if best is None:
            raise InputError(f"Nothing is seen on {image.name}: no candidate of the network has an area.")
        candidate = image.detections(best)[0]
        place = ", ".join(f"{value:.0f}" for value in candidate.box_xyxy)
        raise InputError(
            f"There are no detections above the score {options.score:g} on {image.name}; the best candidate "
            f"is {candidate.name} with a score of {candidate.score:.3g} at {place}, which a lower score or "
            f"its place (`box_xyxy=({place})`) explains."
        )
    everything = range(len(detections))
    if options.per == "detection":
        groups = [[row] for row in everything]
    elif options.per == "class":
        labels = dict.fromkeys(detections.labels.tolist())
        groups = [[row for row in everything if detections.labels[row] == label] for label in labels]
    else:
        groups = [list(everything)]
    return [_request(image, candidates, detections, rows) for rows in groups[: options.top]]


def requests_for_some(
    image: ForwardedImage, candidates: Candidates, wanted: Detections, options: ExplainOptions
) -> list[MapRequest]:
    """Return a request for each of some detections: the candidate of its class that overlaps it most.

    Args:
        image: photograph with the raw outputs.
        candidates: candidates that were kept, in pixels of the input.
        wanted: detections on the photograph.
        options: score and IoU that the candidates needed.

    Raises:
        InputError: the network has no candidate where a detection is.
    """
    detections = image.detections(candidates)
    overlaps = pairwise_iou(wanted.boxes_xyxy.astype(np.float64), detections.boxes_xyxy.astype(np.float64))
    overlaps = np.where(wanted.labels[:, None] == detections.labels[None, :], overlaps, 0)
    requests = []
    for one, overlap in zip(wanted, overlaps, strict=True):
        if overlap.max(initial=0) >= SAME_IOU:
            requests.append(_request(image, candidates, detections, [int(overlap.argmax())]))
        else:
            requests.append(request_for_place(image, candidates, detections, one.box_xyxy, options))
    return requests


def request_for_place(
    image: ForwardedImage,
    candidates: Candidates,
    detections: Detections,
    box_xyxy: Sequence[float],
    options: ExplainOptions,
) -> MapRequest:
    """Return the request for the best candidate at a place; its note says why it is no detection.

    Args:
        image: photograph with the raw outputs.
        candidates: candidates that were kept, in pixels of the input.
        detections: the same on the photograph.
        box_xyxy: place in pixels of the photograph.
        options: score and IoU that detections needed.

    Raises:
        InputError: the box lies outside of the photograph, or no candidate overlaps it.
    """
    width, height = image.letterbox.source_size
    wanted = np.asarray([box_xyxy], np.float64)
    inside = clip_boxes(wanted, width, height)
    asked_for = ",".join(f"{value:g}" for value in box_xyxy)
    if not (inside[0, :2] < inside[0, 2:]).all():
        raise InputError(
            f"Expected a box on the photograph of {width} x {height} px, found {asked_for} outside of it."
        )
    best = _best_candidate(image, image.letterbox.boxes_to_input(inside)[0])
    if best is None:
        raise InputError(f"No candidate of the network overlaps the box {asked_for} on {image.name} at all.")
    overlap = float(pairwise_iou(image.detections(best).boxes_xyxy.astype(np.float64), inside)[0, 0])
    (levels, points), (level, point) = candidates.origin(), best.origin()
    same = np.flatnonzero((levels == level) & (points == point) & (candidates.labels == best.labels))
    place = f"the best candidate there, IoU {overlap:.2f} with the box asked for"
    if len(same):
        own = _request(image, candidates, detections, same.tolist())
        return replace(own, note=f"{place}; it is a detection")
    reason = _why_no_detection(candidates, detections, best, options)
    asked = _request(image, best, image.detections(best), [0])
    return replace(asked, candidate=True, note=f"{place}; {reason}")


def _why_no_detection(
    candidates: Candidates, detections: Detections, best: Candidates, options: ExplainOptions
) -> str:
    """Return the reason why a candidate is no detection."""
    own = float(best.scores[0])
    if own <= options.score:
        return f"no detection, its score {own:.3g} is not above {options.score:g}"
    ious = pairwise_iou(candidates.boxes_xyxy, best.boxes_xyxy)[:, 0]
    ious = np.where(candidates.labels == best.labels[0], ious, 0)
    if len(ious) and ious.max() > options.nms_iou:
        winner = detections[int(ious.argmax())]
        return f"no detection, {winner.name} {winner.score:.0%} takes its place (IoU {ious.max():.2f})"
    return "no detection, the maximum number of better ones is reached"


@torch.no_grad()
def _best_candidate(image: ForwardedImage, box_xyxy: NDArray[np.float64] | None) -> Candidates | None:
    """Return the raw candidate with the largest product of score and IoU with a box, whatever its score.

    Args:
        image: photograph with the raw outputs.
        box_xyxy: (4,) in input pixels; None asks for the best score anywhere on the photograph.

    Returns:
        None if the product is 0 for all candidates.
    """
    points = level_points([(x.shape[2], x.shape[3]) for x in image.done.cls], image.detector.device)
    of_level = torch.split(points, [x[0, 0].numel() for x in image.done.cls])
    candidates = []
    for level, (cls, reg) in enumerate(zip(image.done.cls, image.done.reg, strict=True)):
        distances = reg[0].flatten(1).T.float()
        boxes_xyxy = decode_boxes(of_level[level], distances).cpu().numpy()
        boxes_xyxy = clip_boxes(boxes_xyxy, *image.content_size)
        scores = cls[0].flatten(1).T.float().sigmoid().cpu().numpy()  # (P, K)
        iou = np.asarray((boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(1), np.float64)
        if box_xyxy is not None:
            iou *= pairwise_iou(boxes_xyxy, box_xyxy[None])[:, 0]
        products = scores * iou[:, None]
        point, label = np.unravel_index(int(products.argmax()), products.shape)
        best_of_level = Candidates(
            boxes_xyxy[[point]],
            scores[[point], [label]],
            np.asarray([label], np.int64),
            levels=np.asarray([level], np.int64),
            points=np.asarray([point], np.int64),
        )
        candidates.append((float(products[point, label]), best_of_level))
    product, best = max(candidates, key=lambda candidate: candidate[0])
    return best if product > 0 else None
