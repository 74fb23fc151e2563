"""Detections as drafts for annotation tools, and with the ids of annotations."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats import FORMATS
from aerostat.datasets.origin import ReadOptions
from aerostat.errors import InputError
from aerostat.images.frame import Frame
from aerostat.inference.annotation_sinks import CocoResults, as_instances, with_extent
from aerostat.inference.predict_folder import Outcome, draft_formats, predict_to_folder
from aerostat.results.detections import Detections

CLASSES = ("kite", "balloon")
BOXES = np.array([[10.0, 20.0, 50.0, 60.0], [5.5, 6.5, 30.0, 40.0]])


class KnownDetector:
    """Finds a kite and a balloon on every image, at the same place."""

    input_size = (640, 640)

    def predict_images(
        self, frames: Iterable[Frame], *, on_unreadable: Callable[..., None], **_: Any
    ) -> Iterator[tuple[Frame, Detections]]:
        for frame in frames:
            found = Detections(BOXES, [0.9, 0.5], [1, 0], CLASSES, image_size=(80, 64), path=frame.path)
            yield frame, found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (80, 64)).save(path)
    return tmp_path / "photos"


def predict(photos: Path, *formats: Any) -> Outcome:
    out = photos.parent / "out"
    return predict_to_folder(
        lambda: KnownDetector(),  # type: ignore[arg-type, return-value]
        [str(photos)],
        out,
        formats=formats,
        pictures=False,
        progress=False,
    )


@pytest.mark.parametrize("name", [f.name for f in FORMATS if f.name not in ("coco", "csv")])
def test_a_draft_reads_back_as_annotations(photos: Path, name: str) -> None:
    done = predict(photos, name)
    (path,) = done.files
    data = Dataset.read(path, options=ReadOptions(images=photos, from_format=name))
    (split,) = data.splits.values()
    assert len(split) == 2
    for image in split.images:
        found = {data.classes[i.label]: i.box_xyxy for i in image.instances}
        assert found.keys() == set(CLASSES)
        assert found["balloon"] == pytest.approx(tuple(BOXES[0]), abs=1e-4)
        assert found["kite"] == pytest.approx(tuple(BOXES[1]), abs=1e-4)


def test_all_forms_have_one_list(photos: Path) -> None:
    assert set(draft_formats()) == {"json", "csv", "coco", *(format_.name for format_ in FORMATS)}
    with pytest.raises(InputError, match="Expected `formats` among json, csv, coco"):
        predict(photos, "yaml")
    assert not (photos.parent / "out").exists()


def test_masks_go_along_and_a_box_without_extent_does_not() -> None:
    masks = np.zeros((2, 64, 80), bool)
    masks[0, 20:30, 10:20] = True
    boxes = [[10, 20, 20, 30], [5, 5, 5, 9]]
    found = as_instances(with_extent(Detections(boxes, [0.9, 0.5], [1, 0], CLASSES, masks=masks)))
    assert len(found) == 1
    assert found[0].area == 100
    assert found[0].rle is not None and found[0].rle["size"] == [64, 80]


def test_a_tool_that_tells_predictions_from_annotations_gets_predictions_with_scores(photos: Path) -> None:
    done = predict(photos, "label-studio")
    tasks = json.loads(done.files[0].read_text())
    assert [task.get("annotations", []) for task in tasks] == [[], []]
    scores = [[result["score"] for result in task["predictions"][0]["result"]] for task in tasks]
    assert scores == [[pytest.approx(0.9), 0.5]] * 2


def coco_file(photos: Path, names: tuple[str, ...], classes: dict[int, str]) -> Path:
    path = photos.parent / "truth.json"
    images = [
        {"id": 70 + n, "file_name": name, "width": 80, "height": 64} for n, name in enumerate(names, start=1)
    ]
    categories = [{"id": id_, "name": name} for id_, name in classes.items()]
    annotation = {"id": 1, "image_id": 71, "category_id": 9, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}
    document = {"images": images, "annotations": [annotation], "categories": categories}
    path.write_text(json.dumps(document))
    return path


def test_results_with_ids_are_what_loadres_takes(photos: Path) -> None:
    path = coco_file(photos, ("b.png", "a.png"), {9: "balloon", 4: "kite"})
    truth = Dataset.read(path, images=photos)
    done = predict(photos, CocoResults(truth))
    rows = json.loads(done.files[0].read_text())
    assert [(row["image_id"], row["category_id"], row["score"]) for row in rows] == [
        *((72, 9, pytest.approx(0.9)), (72, 4, 0.5)),
        *((71, 9, pytest.approx(0.9)), (71, 4, 0.5)),
    ]
    results = COCO(path).loadRes(str(done.files[0]))
    assert len(results.getAnnIds()) == 4


def test_photographs_without_an_id_are_left_out_and_named(photos: Path) -> None:
    path = coco_file(photos, ("b.png",), {9: "balloon", 4: "kite"})
    done = predict(photos, CocoResults(Dataset.read(path, images=photos)))
    assert {row["image_id"] for row in json.loads(done.files[0].read_text())} == {71}
    assert f"leaves out 1 photograph without an id, first {photos / 'a.png'}" in done.lines()[-1]


def test_annotations_of_other_photographs_or_classes_are_refused(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (80, 64)).save(other / "b.png")
    path = coco_file(photos, ("b.png",), {9: "balloon", 4: "kite"})
    with pytest.raises(InputError, match="in one split of `truth`, found them in none"):
        predict(photos, CocoResults(Dataset.read(path, images=other)))
    path = coco_file(photos, ("b.png",), {9: "baloon"})
    with pytest.raises(InputError, match="no category for the detected class 'kite'"):
        predict(photos, CocoResults(Dataset.read(path, images=photos)))
