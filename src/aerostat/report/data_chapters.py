"""The chapters that show the data: images with their labels, their numbers, and the training batches."""

from __future__ import annotations

from collections.abc import Sequence

from aerostat.inspection.folder import plot_pngs
from aerostat.inspection.pictures import split_pictures
from aerostat.inspection.split_statistics import measure
from aerostat.report.page import Chapter, Figure
from aerostat.report.subject import Subject
from aerostat.training.preview import preview_pictures

SHOWN_IMAGES, SHOWN_SAMPLES = 12, 8
PLOTS = {
    "objects_per_class": "How many objects of each class",
    "objects_per_image": "How many objects on an image",
    "box_sizes": "How large the boxes are",
    "box_aspect_ratios": "Which shape the boxes have",
    "box_places": "Where the boxes lie on the image",
    "image_sizes": "How large the images are",
}
WIDE_PLOTS = ("box_sizes", "box_places")
"""Of several panels beside each other."""


def picture_chapters(subject: Subject) -> Sequence[Chapter]:
    """Return the chapter of labelled images and plots; without images nothing."""
    splits = [split for split in subject.data.splits.values() if len(split)]
    figures: list[Figure] = []
    notes: list[str] = []
    for split in splits:
        pictures = split_pictures(split, limit=SHOWN_IMAGES, seed=subject.recipe.run.seed)
        notes += [f"{name} is left out: {reason}" for name, reason in pictures.unreadable]
        if pictures.shown:
            alt = f"images of the split {split.name} with their labels"
            figures.append(Figure(pictures.labelled_grid(), pictures.title, alt, wide=True))
    plots = plot_pngs([measure(split) for split in splits], input_size=subject.recipe.data.input_size)
    figures += [
        Figure(content, PLOTS.get(name, name), f"Plot: {PLOTS.get(name, name)}", wide=name in WIDE_PLOTS)
        for name, content in sorted(plots.items(), key=lambda plot: plot[0] not in WIDE_PLOTS)
    ]
    text = "Images as they are annotated, and what can be counted in them."
    return [Chapter("The data in pictures", [text, *notes], figures)] if figures else []


def batch_chapters(subject: Subject) -> Sequence[Chapter]:
    """Return the chapter of what the network saw first in each stage of training."""
    stages = preview_pictures(subject.train_split, subject.recipe, limit=SHOWN_SAMPLES)
    figures = [
        Figure(stage.grid(), stage.title, f"augmented training samples of stage {stage.stage}", wide=True)
        for stage in stages
    ]
    text = (
        "The samples that each stage of training began with, to the pixel as the network saw them, with the "
        "boxes that it was to find."
    )
    return [Chapter("Training batches", [text], figures)]
