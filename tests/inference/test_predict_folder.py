"""Sources in, pictures and files out, with a detector whose answers are known."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from aerostat.__main__ import main
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import InputError
from aerostat.evaluation.per_image import image_evaluator
from aerostat.geometry.mask_measures import PixelSize
from aerostat.images.frame import Frame
from aerostat.inference.predict_folder import Outcome, predict_to_folder
from aerostat.inference.sinks import FileForm, Judge, PictureFiles
from aerostat.results.detections import Detections

CLASSES = ("balloon", "kite")
GREY = (120, 120, 120)


class KnownDetector:
    """Finds one balloon and one kite on every image, at the same place, and cannot read what is empty."""

    input_size = (640, 640)

    def predict_images(
        self, frames: Iterable[Frame], *, on_unreadable: Callable[..., None], **_: Any
    ) -> Iterator[tuple[Frame, Detections]]:
        for frame in frames:
            if not frame.path.stat().st_size:
                on_unreadable(frame, InputError("expected an image, found an empty file"))
                continue
            boxes = np.array([[10, 20, 50, 60], [5.5, 6.5, 30, 40]])
            scores, labels = np.array([0.9, 0.5]), np.array([0, 1])
            yield (
                frame,
                Detections(boxes, scores, labels, CLASSES, image_size=(80, 64), path=frame.path),
            )


def photograph(path: Path, colour: tuple[int, int, int] = GREY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (80, 64), colour).save(path)
    return path


def predict(*sources: Path | str, out: Path, **options: Any) -> Outcome:
    options = {"score": 0.3, "nms_iou": 0.65, **options}
    return predict_to_folder(lambda: KnownDetector(), [str(s) for s in sources], out, **options)  # type: ignore[arg-type, return-value]


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def snapshot(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_below(folder)}


def test_a_folder_becomes_pictures_and_a_file_in_every_form(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.png"):
        photograph(tmp_path / "photos" / name)
    out = tmp_path / "out"
    done = predict(tmp_path / "photos", out=out, formats=("json", "csv", "coco"))
    assert files_below(out) == ["a.png", "b.jpg", "detections.csv", "detections.json", "detections_coco.json"]
    first, second = (str(tmp_path / "photos" / name) for name in ("a.png", "b.jpg"))

    images = json.loads((out / "detections.json").read_text())["images"]
    assert [image["file"] for image in images] == [first, second]
    assert images[0]["image_size"] == [80, 64]
    assert images[0]["detections"][1] == {
        "box_xyxy": [5.5, 6.5, 30.0, 40.0],
        "score": 0.5,
        "label": 1,
        "class": "kite",
    }
    rows = list(csv.reader((out / "detections.csv").open()))
    assert rows[0] == ["file", "class", "score", "x1", "y1", "x2", "y2"]
    assert rows[1] == [first, "balloon", "0.9", "10.0", "20.0", "50.0", "60.0"]
    assert len(rows) == 5
    coco = COCO(out / "detections_coco.json")
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == [first, second]
    assert coco.loadAnns(coco.getAnnIds(imgIds=[2]))[1]["bbox"] == [5.5, 6.5, 24.5, 33.5]

    assert done.lines()[0] == f"{first}: 1 balloon (0.90), 1 kite (0.50)"
    assert "4 detections on 2 images" in done.lines()
    assert f"wrote 2 pictures to {out}" in done.lines()
    assert done.to_dict()["pictures"] == [str(out / "a.png"), str(out / "b.jpg")]
    assert [image["file"] for image in done.to_dict()["images"]] == [first, second]


def test_the_picture_shows_the_boxes_at_the_size_of_the_photograph(tmp_path: Path) -> None:
    photograph(tmp_path / "a.png")
    predict(tmp_path / "a.png", out=tmp_path / "out")
    drawn = np.asarray(Image.open(tmp_path / "out" / "a.png").convert("RGB")).astype(int)
    assert drawn.shape == (64, 80, 3)
    changed = np.abs(drawn - 120).max(axis=2) > 40
    assert changed[40, 8:13].any(), "the left side of the box from x = 10"
    assert not changed[:, 70:].any(), "far from both boxes nothing is drawn"


def test_names_in_any_script_and_with_spaces_stay(tmp_path: Path) -> None:
    photograph(tmp_path / "照片" / "聚会 一.jpg")
    done = predict(tmp_path / "照片", out=tmp_path / "结果")
    assert files_below(tmp_path / "结果") == ["detections.json", "聚会 一.jpg"]
    assert (
        "聚会 一.jpg"
        in json.loads((tmp_path / "结果" / "detections.json").read_text("utf-8"))["images"][0]["file"]
    )
    assert done.failed == ()


def test_photographs_of_one_name_get_a_picture_each(tmp_path: Path) -> None:
    for folder in ("a", "b", "b/a", "c/a"):
        photograph(tmp_path / folder / "x.jpg")
    photograph(tmp_path / "a" / "x.png")
    photograph(tmp_path / "a" / "X.JPG")
    done = predict(tmp_path, out=tmp_path / "out")
    assert len(done.found) == 6
    assert len({path.name.lower() for path in done.pictures}) == 6
    assert all(path.is_file() for path in done.pictures)
    assert len({name for name, _ in done.found}) == 6, "in the files each is known by its own path"


@pytest.mark.parametrize(
    ("name", "picture"), [("a.bmp", "a.jpg"), ("a.JPEG", "a.jpeg"), ("a.b.tif", "a.b.jpg")]
)
def test_kinds_that_are_not_written_become_jpeg(tmp_path: Path, name: str, picture: str) -> None:
    photograph(tmp_path / "in" / name)
    done = predict(tmp_path / "in", out=tmp_path / "out")
    assert [path.name for path in done.pictures] == [picture]


def test_an_unreadable_image_is_named_and_the_rest_is_done(tmp_path: Path) -> None:
    photograph(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "broken.jpg").touch()
    photograph(tmp_path / "in" / "c.jpg")
    done = predict(tmp_path / "in", out=tmp_path / "out")
    broken = str(tmp_path / "in" / "broken.jpg")
    assert done.failed == ((broken, "expected an image, found an empty file"),)
    assert f"{broken}: NOT READ (expected an image, found an empty file)" in done.lines()
    assert files_below(tmp_path / "out") == ["a.jpg", "c.jpg", "detections.json"]


def test_where_nothing_could_be_read_nothing_is_written_and_said_so(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").touch()
    done = predict(tmp_path / "broken.jpg", out=tmp_path / "out", formats=("json", "csv", "coco"))
    assert not (tmp_path / "out").exists()
    assert done.lines()[-1] == "nothing was written: no image could be read"
    assert done.to_dict() == {
        "images": [],
        "pictures": [],
        "files": [],
        "failed": [
            {"file": str(tmp_path / "broken.jpg"), "reason": "expected an image, found an empty file"}
        ],
        "tta": None,
        "sorted": None,
    }


def test_without_pictures_only_the_file_is_written(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg")
    predict(tmp_path / "a.jpg", out=tmp_path / "out", pictures=False, formats=("csv",))
    assert files_below(tmp_path / "out") == ["detections.csv"]


# --- photographs are never drawn over ---


def refuses_to_draw(folder: Path, *sources: Path, out: Path) -> None:
    before = snapshot(folder)
    with pytest.raises(InputError, match="choose another `out`"):
        predict(*sources, out=out)
    assert snapshot(folder) == before


def test_the_sources_own_folder_is_refused(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg")
    refuses_to_draw(tmp_path, tmp_path, out=tmp_path)
    refuses_to_draw(tmp_path, tmp_path / "a.jpg", out=tmp_path / "below" / "..")


def test_a_picture_never_takes_the_place_of_another_source(tmp_path: Path) -> None:
    first, second = photograph(tmp_path / "a.jpg"), photograph(tmp_path / "sub" / "a.jpg")
    refuses_to_draw(tmp_path, first, second, out=tmp_path / "sub")


def test_a_source_under_a_link_is_known(tmp_path: Path) -> None:
    photograph(tmp_path / "real" / "a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    refuses_to_draw(tmp_path, tmp_path / "link" / "a.jpg", out=tmp_path / "real")


def test_a_photograph_that_only_stands_in_the_folder_is_spared_too(tmp_path: Path) -> None:
    source, bystander = photograph(tmp_path / "new" / "a.bmp"), photograph(tmp_path / "album" / "a.jpg")
    refuses_to_draw(tmp_path, source, out=bystander.parent)


def test_pictures_of_an_earlier_call_are_replaced(tmp_path: Path) -> None:
    source, out = photograph(tmp_path / "a.png"), tmp_path / "out"
    predict(source, out=out)
    first = (out / "a.png").read_bytes()
    photograph(source, (250, 250, 250))
    predict(source, out=out)
    assert (out / "a.png").read_bytes() != first


def test_pictures_inside_the_source_folder_are_no_photographs_the_next_time(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg")
    photograph(tmp_path / "sub" / "b.jpg")
    for _ in range(2):
        done = predict(tmp_path, out=tmp_path / "sub" / "predictions")
        assert [Path(name).name for name, _ in done.found] == ["a.jpg", "b.jpg"]


def test_pictures_that_a_pattern_matches_the_next_time_are_no_photographs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.jpg", "b.PNG", ".hidden.jpg", "sub/c.jpg"):
        photograph(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        done = predict("**/*.jpg", out=Path("sub/predictions"))
        assert [Path(name).as_posix() for name, _ in done.found] == ["a.jpg", "sub/c.jpg"]
    done = predict("sub/predictions/*.jpg", out=Path("again"))  # asked for by name, they are
    assert [Path(name).name for name, _ in done.found] == ["a.jpg", "c.jpg"]


@pytest.mark.parametrize("below", ["", "/deeper/still"])
def test_a_file_in_the_way_of_the_folder_is_named_before_the_detector_is_loaded(
    tmp_path: Path, below: str
) -> None:
    photograph(tmp_path / "a.jpg")
    (tmp_path / "taken").write_text("precious")

    def must_not_load() -> Any:
        raise AssertionError("loaded in vain")

    with pytest.raises(InputError, match=r"taken.* cannot be a folder, because (it|.*taken) is a file"):
        predict_to_folder(
            must_not_load,
            [str(tmp_path / "a.jpg")],
            Path(f"{tmp_path}/taken{below}"),
            score=0.3,
            nms_iou=0.65,
        )
    assert (tmp_path / "taken").read_text() == "precious"


# --- sorting ---

EXACT = (Instance((10, 20, 50, 60), 0), Instance((5.5, 6.5, 30, 40), 1))
"""What `KnownDetector` finds everywhere."""


def judge_of(album: Path, objects: dict[str, tuple[Instance, ...]]) -> Callable[[Any], Judge]:
    records = tuple(ImageRecord(album / name, name, 80, 64, found) for name, found in objects.items())
    data = Dataset(CLASSES, {"val": Split("val", CLASSES, (1, 2), records)})
    return lambda _: image_evaluator(data, CLASSES)


def test_pictures_are_sorted_into_correct_errors_and_not_annotated(tmp_path: Path) -> None:
    album, out = tmp_path / "album", tmp_path / "out"
    for name in ("right.png", "missed.png", "nobody.png"):
        photograph(album / name)
    (album / "empty.png").touch()
    more = (*EXACT, Instance((60, 1, 70, 9), 0))
    judge = judge_of(album, {"right.png": EXACT, "missed.png": more, "empty.png": EXACT})
    done = predict(album, out=out, judge=judge)
    pictures = ["correct/right.png", "errors/missed.png", "not-annotated/nobody.png"]
    assert files_below(out) == sorted([*pictures, "detections.json"])
    assert "correct 1, errors 1, not-annotated 1" in done.lines()
    assert any(
        line.endswith("missed.png: 1 balloon (0.90), 1 kite (0.50) - 1 missed") for line in done.lines()
    )
    assert done.to_dict()["sorted"] == [
        {"file": str(album / "missed.png"), "folder": "errors", "missed": 1, "false": 0},
        {"file": str(album / "nobody.png"), "folder": "not-annotated"},
        {"file": str(album / "right.png"), "folder": "correct", "missed": 0, "false": 0},
    ]


def test_a_picture_that_is_sorted_again_leaves_its_old_folder(tmp_path: Path) -> None:
    album, out = tmp_path / "album", tmp_path / "out"
    photograph(album / "a.png")
    predict(album, out=out, judge=judge_of(album, {"a.png": ()}))
    assert "errors/a.png" in files_below(out)
    predict(album, out=out, judge=judge_of(album, {"a.png": EXACT}))
    assert files_below(out) == ["correct/a.png", "detections.json"]


def test_a_photograph_in_a_folder_to_sort_into_is_spared(tmp_path: Path) -> None:
    album = tmp_path / "album"
    photograph(album / "errors" / "a.png")
    with pytest.raises(InputError, match="would replace the photographs"):
        predict(album / "errors", out=album, judge=judge_of(album, {}))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--sort", "--no-pictures"), "--no-pictures"),
        (("--truth", "x"), "--truth is for --sort and for --format coco"),
        (("--sort",), "--sort needs annotations"),
        (("--sort", "--truth", "nowhere"), "found nothing at nowhere"),
    ],
)
def test_sorting_that_cannot_be_is_refused_before_the_detector_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    picture = photograph(tmp_path / "a.png")
    assert main(["predict", "no-weights.safetensors", str(picture), *words]) == 2
    assert said in capsys.readouterr().err


# --- masks ---


class MaskingDetector(KnownDetector):
    """Finds a mask within each box, too, if it has masks."""

    def __init__(self, has_masks: bool = True) -> None:
        self.has_masks = has_masks

    def predict_images(self, frames: Any, **options: Any) -> Iterator[tuple[Frame, Detections]]:
        for frame, found in super().predict_images(frames, **options):
            masks = np.zeros((2, 64, 80), bool)
            masks[0, 22:58, 12:48] = True
            masks[1, 8:38, 8:28] = True
            yield frame, replace(found, masks=masks)


def predict_masks(folder: Path, detector: MaskingDetector, **options: Any) -> Outcome:
    photograph(folder / "photos" / "a.jpg")
    return predict_to_folder(
        lambda: detector,  # type: ignore[arg-type, return-value]
        [str(folder / "photos")],
        folder / "out",
        progress=False,
        **options,
    )


def test_masks_are_written_as_images_beside_the_pictures(tmp_path: Path) -> None:
    done = predict_masks(
        tmp_path, MaskingDetector(), pictures=PictureFiles(drawn=False, label_maps=True, cut_outs=True)
    )
    assert files_below(tmp_path / "out") == [
        *("cut-outs/a/0001.png", "cut-outs/a/0002.png"),
        *("detections.json", "label-maps/a.png"),
    ]
    names = ("detections.json", "label-maps", "cut-outs")
    assert done.lines()[-3:] == [f"wrote {tmp_path / 'out' / name}" for name in names]
    assert predict_masks(tmp_path, MaskingDetector(), pictures=PictureFiles(label_maps=True)).pictures


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"pictures": PictureFiles(label_maps=True)}, "label_maps"),
        ({"pictures": PictureFiles(cut_outs=True)}, "cut_outs"),
        ({"formats": [FileForm("csv", pixel_size=PixelSize(1.0, "um"))]}, "pixel_size"),
    ],
)
def test_what_needs_masks_is_refused_without_them_and_nothing_is_written(
    tmp_path: Path, options: dict[str, Any], name: str
) -> None:
    with pytest.raises(InputError, match=f"Expected masks for `{name}`, found that this model has none"):
        predict_masks(tmp_path, MaskingDetector(has_masks=False), **options)
    with pytest.raises(InputError, match=f"Expected masks for `{name}`, found that `masks` is off"):
        predict_masks(tmp_path, MaskingDetector(), masks=False, **options)
    assert not (tmp_path / "out").exists() or files_below(tmp_path / "out") == []


def test_masks_are_not_written_where_the_photographs_are(tmp_path: Path) -> None:
    photo = photograph(tmp_path / "out" / "label-maps" / "a.png")
    before = photo.read_bytes()
    with pytest.raises(InputError, match="beside the photograph"):
        predict_to_folder(
            lambda: MaskingDetector(),  # type: ignore[arg-type, return-value]
            [str(photo)],
            tmp_path / "out",
            pictures=PictureFiles(drawn=False, label_maps=True),
        )
    assert photo.read_bytes() == before
