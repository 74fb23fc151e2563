"""The chapters that look into the network: feature maps, and what detections rest on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aerostat.explanation.boxam import explain
from aerostat.explanation.faithfulness import CONTROLS, Faithfulness, Measures, faithfulness
from aerostat.explanation.features import feature_maps
from aerostat.explanation.methods import TITLES
from aerostat.explanation.result import Explanations
from aerostat.inference.options import SHOW_SCORE
from aerostat.report.page import Chapter, Figure, Table
from aerostat.report.subject import Subject
from aerostat.text import counted

PHOTOGRAPHS = 4
"""On which a detection is explained."""
COMPARED_METHODS = ("gradcam", "layercam", "eigencam")
"""On one of them, over the backbone's stages and the last layer of the detection's level."""
MAX_BOXES = 6
"""Over feature maps: more would hide them."""
STEPS = 12
"""Of the curves of faithfulness, half of what the command takes: the areas differ by some 0.01."""


def feature_chapters(subject: Subject) -> Sequence[Chapter]:
    """Return the chapter of feature maps, of a photograph with a sure detection; nothing without one."""
    photographs = _photographs(subject)
    if not photographs:
        return []
    shown = {record.path: int((found.scores > SHOW_SCORE).sum()) for record, found in subject.found}
    path = next((path for path in photographs if shown[path] <= MAX_BOXES), photographs[0])
    maps = feature_maps(subject.detector, path, detections=True)
    text = (
        f"What backbone and neck make of {path.name}: the mean of the channels at each stride, laid over the "
        "photograph, with the boxes of what was found. Each map has a scale of its own."
    )
    caption = f"Mean activation on {path.name}, from grey (least) to yellow (most)"
    figure = Figure(maps.draw().image_bgr, caption, "feature maps of backbone and neck", wide=True)
    return [
        Chapter(
            "Feature maps",
            [text],
            [figure],
            commands=[subject.commands.features(subject.run.path, str(path))],
        )
    ]


def explanation_chapters(subject: Subject) -> Sequence[Chapter]:
    """Return the chapter of Box AM, with how faithful its maps are; nothing where nothing is found."""
    photographs = _photographs(subject)
    if not photographs:
        return [Chapter("What detections rest on", [_nothing_found(subject)])] if subject.found else []
    chosen = [photographs[place] for place in _spread(len(photographs), PHOTOGRAPHS)]
    explained = [explain(subject.detector, path, top=1) for path in chosen]
    measured = _measured(subject, chosen, explained)
    layers = ["backbone", f"neck.out_convs[{explained[0][0].level}]"]
    compared = explain(subject.detector, photographs[0], top=1, method=COMPARED_METHODS, layer=layers)
    figures = [_figure(path, found) for path, found in zip(chosen, explained, strict=True)]
    sheet = f"Other methods and layers for the same detection on {photographs[0].name}"
    figures.append(Figure(compared.draw().image_bgr, sheet, "a sheet of methods by layers", wide=True))
    text = (
        "Which part of the photograph the score and the box of a detection rest on. Each picture says at "
        "which stride its detection was born and which layer the heat is from; a layer that a detection does "
        "not depend on is said to have no influence."
    )
    return [
        Chapter(
            "What detections rest on",
            paragraphs=[text, _meaning(len(measured), len(chosen))],
            tables=[_table(measured)] if measured else [],
            figures=figures,
            commands=[subject.commands.explain(subject.run.path, str(photographs[0]), not measured)],
        )
    ]


def _measured(
    subject: Subject, paths: Sequence[Path], explained: Sequence[Explanations]
) -> list[Faithfulness]:
    """Return how faithful the first explanations are, as many as there is time for."""
    passes = 2 * (1 + len(CONTROLS)) * (STEPS + 1)  # deletion and insertion, of the map and its controls
    pairs = list(zip(paths, explained, strict=True))[: subject.affords(len(paths), passes)]
    return [faithfulness(subject.detector, path, found[0], steps=STEPS) for path, found in pairs]


def _nothing_found(subject: Subject) -> str:
    best = max((float(found.scores.max(initial=0.0)) for _, found in subject.found), default=0.0)
    part = subject.part(len(subject.found))
    return (
        f"Nothing is found above a score of {SHOW_SCORE:g} on {part}; the best candidate has {best:.3f}. "
        "There is no detection to explain."
    )


def _photographs(subject: Subject) -> list[Path]:
    """Return the photographs on which something is found, the one with the best detection first."""
    best = {record.path: float(found.scores.max(initial=0.0)) for record, found in subject.found}
    return sorted((path for path in best if best[path] > SHOW_SCORE), key=lambda path: -best[path])


def _spread(count: int, most: int) -> list[int]:
    """Return places from the first to the last, so that sure and unsure detections are among them."""
    return sorted(set(np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()))


def _figure(path: Path, found: Explanations) -> Figure:
    item = found[0]
    inside = item.share_in_boxes(item.letterbox.source_size)
    heat = f"{inside:.0%} of the heat is inside the box" if item.influence else item.remark
    caption = f"{path.name}: {item.subject}, born at {item.origin}, {item.source}; {heat}"
    return Figure(found.draw().image_bgr, caption, f"heat over {path.name}")


def _meaning(count: int, of: int) -> str:
    if not count:
        return (
            "How faithful the maps are is not measured here: a network of this size takes too long for it on "
            "a processor. The command below measures it for one photograph."
        )
    which = f"the {counted(of, 'detection')}" if count == of else f"the first {count} of the {of} detections"
    average = f"on average over {which}" if count > 1 else f"of {which}".removesuffix("s")
    return (
        f"How faithful the maps are, {average} below. Deletion is the area under the score while the hottest "
        "pixels are taken away first (lower is better), insertion the area while they come in first (higher "
        "is better), both relative to the score on the photograph. Only the first row knows the network."
    )


def _table(measured: Sequence[Faithfulness]) -> Table:
    method = measured[0].explanation.method
    rows = [(*_row(TITLES.get(method, method), [one.measures for one in measured]), "the maps below")]
    rows += [(*_row(name, [one.controls[name] for one in measured]), CONTROLS[name]) for name in CONTROLS]
    return Table(("map", "heat in the box", "deletion", "insertion", "what it is"), rows)


def _row(name: str, measures: Sequence[Measures]) -> tuple[str, ...]:
    inside = float(np.mean([one.inside for one in measures]))
    deletion = float(np.mean([one.deletion.area for one in measures]))
    insertion = float(np.mean([one.insertion.area for one in measures]))
    return name, f"{100 * inside:.0f} %", f"{deletion:.3f}", f"{insertion:.3f}"
