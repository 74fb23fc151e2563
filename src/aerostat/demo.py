"""The whole story on embedded data: convert, look, train, evaluate, predict, explain, and a page about it."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aerostat.datasets.convert import convert
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.origin import ReadOptions
from aerostat.draw.grid import image_grid
from aerostat.draw.saving import save_image
from aerostat.errors import InputError
from aerostat.evaluation.evaluate import evaluate
from aerostat.explanation.boxam import explain
from aerostat.explanation.features import feature_maps
from aerostat.images.read import read_image
from aerostat.inference.detector import Detector
from aerostat.inference.predict_folder import Outcome, predict_to_folder
from aerostat.inference.resolve import load
from aerostat.inspection.folder import Inspection, TrainingPreview, inspect_to_folder
from aerostat.reporting import Chapter, Figure, run_chapters, write_report
from aerostat.runs.commands import PYTHON, Commands
from aerostat.scenes.balloons import write_balloons
from aerostat.training.plan import TrainRequest, plan
from aerostat.training.preview import preview_pictures
from aerostat.training.progress import clock
from aerostat.training.runner import RunOptions, start_run

_log = logging.getLogger(__name__)

CHECKPOINT = Path(__file__).with_name("assets") / "rtmdet_nano_drawn_balloons.safetensors"
"""Trained by scripts/train_demo_checkpoint.py on drawn scenes that are not among the demo's."""
CLASSES = ("balloon",)
MODEL = "rtmdet-nano"
TRAIN_SCENES, VAL_SCENES, NEW_SCENES = 160, 24, 6
SEED, NEW_SEED = 0, 3
VALUES: dict[str, dict[str, Any]] = {
    "schedule": {"epochs": 15},
    "data": {"input_size": 320},
    "model": {"masks": True},
}
"""A recipe for two minutes: left to itself `train` takes 640 px here and 40 epochs."""
GRID_IMAGES = 12
SHOW_SCORE = 0.45
"""Above the command's own default: a crowd of faint boxes hides the picture."""


def run_demo(out: Path, commands: Commands = PYTHON) -> Path:
    """Run the demo into a folder that must not exist, and return the path of its report.

    Args:
        out: the folder.
        commands: what to type next, as the caller words it.

    Raises:
        InputError: if the folder is there already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already; choose another `out`, or remove it.")
    began = time.monotonic()
    _step(1, "draw balloon scenes, annotated in VIA like the real data set")
    data = write_balloons(out / "data", train=TRAIN_SCENES, val=VAL_SCENES, seed=SEED)
    new = _new_photographs(out)
    _step(2, "convert the VIA files to COCO: aerostat convert")
    conversion = convert(data, out / "coco", ReadOptions(classes=CLASSES))
    _log.info("\n".join(conversion.lines()))
    _step(3, "look at the images, the labels and the training batches: aerostat inspect")
    dataset = Dataset.read(data, classes=CLASSES)
    inspection = _inspect(dataset, out / "inspection")
    _log.info("\n".join(inspection.lines()))
    _step(4, "train RTMDet-nano with masks: aerostat train --masks")
    run = start_run(dataset, out / "run", _request(), RunOptions(commands=commands))
    _step(5, "evaluate by the COCO protocol, plain and with several views: aerostat eval --tta")
    detector = load(run.path)
    result = evaluate(detector, dataset.split("val"))
    _log.info(result.render())
    _log.info(f"with views: AP {evaluate(detector, dataset.split('val'), tta=True).ap:.3f}")
    predicted = _predict(detector, new, out)
    _look_inside(detector, new, out)
    _step(8, "one page about it all")
    chapters = [
        _picture_chapter(conversion.lines(), inspection.pictures["train"]["images"][0]),
        *run_chapters(run, commands=commands),
        _prediction_chapter(predicted.pictures),
    ]
    seconds = time.monotonic() - began
    page = write_report(
        out / "report.html",
        title="aerostat demo",
        subtitle=f"From a VIA file to a trained detector in {clock(seconds)}, on drawn scenes, offline",
        chapters=chapters,
    )
    _log.info(f"done in {clock(seconds)}: AP {result.ap:.3f} on {result.images} scenes that it had not seen")
    return page


def _request() -> TrainRequest:
    return TrainRequest(MODEL, str(CHECKPOINT), values=VALUES)


def _inspect(dataset: Dataset, folder: Path) -> Inspection:
    """Draw the images, the labels, and the batches that training will begin with."""
    planned = plan(dataset, _request())
    recipe = planned.recipe
    return inspect_to_folder(
        dataset,
        folder,
        limit=GRID_IMAGES,
        seed=recipe.run.seed,
        training=TrainingPreview(
            batches=lambda: preview_pictures(planned.train_split, recipe, limit=GRID_IMAGES),
            input_size=recipe.data.input_size,
            recipe=recipe.to_dict(),
        ),
    )


def _predict(detector: Detector, photographs: Path, out: Path) -> Outcome:
    """Predict on new photographs, and draw one picture of all."""
    _step(6, "predict new photographs: aerostat predict")
    predicted = predict_to_folder(
        lambda: detector,
        [str(photographs)],
        out / "predictions",
        score=SHOW_SCORE,
        formats=("json", "csv"),
    )
    _log.info("\n".join(predicted.lines()))
    found = image_grid([read_image(path) for path in predicted.pictures], columns=3, cell=(480, 360))
    save_image(out / "pictures" / "found.jpg", found)
    return predicted


def _look_inside(detector: Detector, photographs: Path, out: Path) -> None:
    """Draw feature maps and explanations of the photograph with the most detections."""
    _step(7, "look into the network: aerostat features and aerostat explain")
    counts = {path: len(detector.predict(path, score=SHOW_SCORE)) for path in sorted(photographs.iterdir())}
    photograph = max(counts, key=lambda path: counts[path])
    written = feature_maps(detector, photograph).save(out / "features")
    pictures, _ = explain(detector, photograph, score=SHOW_SCORE).save_all(out / "explanations")
    _log.info("\n".join(map(str, [*written, *pictures])))


def _step(number: int, title: str) -> None:
    _log.info(f"\n{number}. {title}")


def _new_photographs(out: Path) -> Path:
    """Draw scenes that are in no split."""
    folder = write_balloons(out / "unseen", train=NEW_SCENES, val=0, seed=NEW_SEED) / "train"
    photographs = out / "photographs"
    photographs.mkdir()
    for path in sorted(folder.glob("*.jpg")):
        shutil.move(path, photographs / path.name)
    shutil.rmtree(out / "unseen")
    return photographs


def _picture_chapter(conversion: list[str], images: Path) -> Chapter:
    return Chapter(
        title="First look: drawn scenes",
        paragraphs=(
            "Photograph-like scenes of balloons, drawn by aerostat and annotated in VIA with polygons and no "
            "class name, like the real balloon data set. Lamps, balls and signs are there to mislead.",
        ),
        commands=("aerostat convert data coco --classes balloon",),
        text_blocks=("\n".join(conversion),),
        figures=(Figure(images, "First the images; the labels follow below", "a grid of scenes", wide=True),),
    )


def _prediction_chapter(pictures: Sequence[Path]) -> Chapter:
    return Chapter(
        title="New photographs",
        paragraphs=("Scenes that are in neither split.",),
        commands=("aerostat predict run photographs",),
        figures=tuple(Figure(path, path.name, f"detections on {path.name}") for path in pictures),
    )
