"""Chapters of the report: images with labels, plots of the data, and training batches."""

from __future__ import annotations

from collections.abc import Sequence

from aerostat.inspection.folder import plot_pngs
from aerostat.inspection.pictures import split_pictures
from aerostat.inspection.split_statistics import measure
from aerostat.reporting.page import Chapter, Figure
from aerostat.reporting.subject import Subject
from aerostat.training.preview import preview_pictures

SHOWN_IMAGES, SHOWN_SAMPLES = 12, 8
"""Images of a split, and samples of a stage of training, on a sheet."""
PLOTS = {
    "objects_per_class": "Objects per class",
    "objects_per_image": "Objects per image",
    "box_sizes": "Box sizes",
    "box_aspect_ratios": "Box aspect ratios",
    "box_places": "Box positions",
    "image_sizes": "Image sizes",
}
WIDE_PLOTS = ("box_sizes", "box_places")
"""Plots of several panels side by side."""


def picture_chapters(subject: Subject) -> Sequence[Chapter]:
    """Return the chapter of labelled images and plots; none without images."""
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
    text = "Images with their annotations, and plots of both."
    return [Chapter("Images and labels", [text, *notes], figures)] if figures else []


def batch_chapters(subject: Subject) -> Sequence[Chapter]:
    """Return the chapter of the first samples of each stage of training."""
    stages = preview_pictures(subject.train_split, subject.recipe, limit=SHOWN_SAMPLES)
    figures = [
        Figure(stage.grid(), stage.title, f"augmented training samples of stage {stage.stage}", wide=True)
        for stage in stages
    ]
    text = (
        "The first samples of each stage of training, pixel by pixel as they went into the network, with "
        "their boxes."
    )
    return [Chapter("Training batches", [text], figures)]
