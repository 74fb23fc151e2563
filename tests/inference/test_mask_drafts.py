"""Masks through every annotation format and back: how much is kept, and what becomes of empty ones."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats import named
from aerostat.datasets.instances import Instance
from aerostat.datasets.origin import ReadOptions
from aerostat.geometry.masks import Masks
from aerostat.images.frame import Frame
from aerostat.inference.annotation_sinks import DraftSink, as_outlined
from aerostat.results.detections import Detections

SIZE = (200, 160)
CLASSES = ("kite", "balloon")


def ellipse(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    ys, xs = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    return ((xs - cx) / rx) ** 2 + ((ys - cy) / ry) ** 2 < 1


def masks() -> np.ndarray:
    """Return a disc, a ring with a hole, an object of two parts, and a slanted bar."""
    ys, xs = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    return np.stack(
        [
            ellipse(40, 40, 25, 25),
            ellipse(120, 45, 35, 30) & ~ellipse(120, 45, 15, 12),
            ellipse(40, 110, 20, 15) | ellipse(90, 130, 18, 22),
            (np.abs(ys - 0.5 * xs - 20) < 8) & (xs > 125) & (xs < 190),
        ]
    )


def found(dense: np.ndarray, moved: float = 3.0) -> Detections:
    """Return detections whose boxes are not quite those of their masks, as a network has them."""
    kept = Masks.from_dense(dense)
    boxes = kept.boxes_xyxy() + np.asarray([moved, 0, 0, -moved], np.float32)
    boxes[kept.area() == 0] = (150, 100, 180, 120)
    scores = np.linspace(0.9, 0.5, len(dense))
    return Detections(boxes, scores, np.arange(len(dense)) % 2, CLASSES, masks=kept, image_size=SIZE)


def round_trip(folder: Path, name: str, detections: Detections) -> tuple[list[Instance], Counter[str]]:
    photograph = folder / "photos" / "a.png"
    photograph.parent.mkdir()
    Image.new("RGB", SIZE).save(photograph)
    sink = DraftSink(folder, named(name))
    sink.write(Frame(None, "a.png", 0, path=photograph), detections)
    sink.close()
    data = Dataset.read(sink.path, options=ReadOptions(images=photograph.parent, from_format=name))
    (split,) = data.splits.values()
    order = {label: CLASSES.index(class_name) for label, class_name in enumerate(data.classes)}
    assert all(order[i.label] in (0, 1) for i in split.images[0].instances)
    return list(split.images[0].instances), sink.lost


def as_masks(instances: list[Instance]) -> Masks:
    parts = [
        Masks.from_coco([one.rle], SIZE) if one.rle is not None else Masks.from_polygons([one.polygons], SIZE)
        for one in instances
    ]
    return Masks.concatenate(parts)


@pytest.mark.parametrize(
    ("name", "least"),
    [("coco", 1.0), ("via", 0.97), ("labelme", 0.97), ("label-studio", 0.97), ("cvat", 0.97), ("yolo", 0.97)],
)
def test_masks_come_back_from_every_format_that_holds_outlines(
    tmp_path: Path, name: str, least: float
) -> None:
    dense = masks()
    instances, lost = round_trip(tmp_path, name, found(dense))
    assert len(instances) == len(dense)
    overlaps = Masks.from_dense(dense).iou(as_masks(instances)).max(axis=1)
    assert overlaps.min() >= least
    assert lost["boxes replaced by those around their masks"] == (0 if name == "coco" else 4)
    assert not any("rect" in what or "written as a box" in what or what == "outlines" for what in lost)


@pytest.mark.parametrize("name", ["voc", "csv", "openimages"])
def test_formats_of_boxes_keep_the_boxes_and_say_what_they_lose(tmp_path: Path, name: str) -> None:
    detections = found(masks())
    instances, lost = round_trip(tmp_path, name, detections)
    for one, box in zip(instances, detections.boxes_xyxy, strict=True):
        assert one.box_xyxy == pytest.approx(tuple(box), abs=1e-3)
    assert lost["masks"] == 4


@pytest.mark.parametrize("name", ["coco", "via", "labelme", "label-studio", "cvat", "yolo"])
def test_an_empty_mask_stays_empty(tmp_path: Path, name: str) -> None:
    dense = masks()
    dense[1] = False
    instances, lost = round_trip(tmp_path, name, found(dense))
    if name == "yolo":
        assert lost["objects with an empty mask left out"] == 1
        assert len(instances) == 3 and all(one.polygons for one in instances)
        return
    assert len(instances) == 4
    assert as_masks(instances).area().tolist().count(0) == 1
    empty = next(one for one in instances if not as_masks([one]).area()[0])
    assert empty.box_xyxy == pytest.approx((150, 100, 180, 120), abs=1e-6)
    assert lost["empty masks written as a box"] == (0 if name == "coco" else 1)


def test_scores_stay_with_their_objects_if_one_is_left_out(tmp_path: Path) -> None:
    dense = masks()
    dense[0] = False
    detections = found(dense)
    photograph = tmp_path / "a.png"
    Image.new("RGB", SIZE).save(photograph)
    sink = DraftSink(tmp_path, named("label-studio"))
    sink.write(Frame(None, "a.png", 0, path=photograph), detections)
    sink.close()
    results = json.loads(sink.path.read_text())[0]["predictions"][0]["result"]
    assert [result["score"] for result in results] == pytest.approx(detections.scores.tolist(), abs=1e-6)
    assert [result["type"] for result in results] == [
        *("rectanglelabels", "polygonlabels", "brushlabels", "polygonlabels"),
    ]


def test_outlines_of_drafts_have_few_points_and_the_box_around_them() -> None:
    detections = found(masks())
    outlined = as_outlined(detections)
    assert [len(one.polygons) for one in outlined] == [1, 1, 2, 1]
    assert [len(one.polygons) for one in as_outlined(detections, single=True)] == [1] * 4
    assert len(outlined[0].polygons[0]) < 60
    for one in outlined:
        points = np.concatenate(one.polygons)
        assert one.box_xyxy == (*points.min(axis=0), *points.max(axis=0))
    assert [one.area for one in outlined] == masks().sum(axis=(1, 2)).tolist()
