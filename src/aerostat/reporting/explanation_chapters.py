"""Chapters of the report about the network: feature maps and explanations."""

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
from aerostat.reporting.page import Chapter, Figure, Table
from aerostat.reporting.subject import Subject
from aerostat.text import counted

PHOTOGRAPHS = 4
"""Maximum number of photographs on which a detection is explained."""
COMPARED_METHODS = ("gradcam", "layercam", "eigencam")
"""Methods of the sheet, over the backbone's stages and the last layer of the detection's level."""
MAX_BOXES = 6
"""Maximum number of boxes over feature maps, which more boxes would hide."""
STEPS = 12
"""Steps of the curves of faithfulness, half as many as the command takes; the areas differ by about 0.01."""


def feature_chapters(subject: Subject) -> Sequence[Chapter]:
    """Return the chapter of feature maps of a photograph with a sure detection; none without one."""
    photographs = _photographs(subject)
    if not photographs:
        return []
    shown = {record.path: int((found.scores > SHOW_SCORE).sum()) for record, found in subject.found}
    path = next((path for path in photographs if shown[path] <= MAX_BOXES), photographs[0])
    maps = feature_maps(subject.detector, path, detections=True)
    text = (
        f"Feature maps of backbone and neck for {path.name}: the mean of the channels at each stride over "
        "the photograph, with the detections. Each map has a scale of its own."
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
    """Return the chapter of Box AM and the faithfulness of its maps; none without detections."""
    photographs = _photographs(subject)
    if not photographs:
        return [Chapter("Explanations", [_nothing_found(subject)])] if subject.found else []
    chosen = [photographs[place] for place in _spread(len(photographs), PHOTOGRAPHS)]
    explained = [explain(subject.detector, path, top=1) for path in chosen]
    measured = _measured(subject, chosen, explained)
    layers = ["backbone", f"neck.out_convs[{explained[0][0].level}]"]
    compared = explain(subject.detector, photographs[0], top=1, method=COMPARED_METHODS, layer=layers)
    figures = [_figure(path, found) for path, found in zip(chosen, explained, strict=True)]
    sheet = f"Other methods and layers for the same detection on {photographs[0].name}"
    figures.append(Figure(compared.draw().image_bgr, sheet, "a sheet of methods by layers", wide=True))
    text = (
        "Heat maps of what in the photograph speaks for a detection. Each caption has the pyramid level of "
        "the detection and the layer of the heat. A layer without influence on the detection has no heat."
    )
    return [
        Chapter(
            "Explanations",
            paragraphs=[text, _meaning(len(measured), len(chosen))],
            tables=[_table(measured)] if measured else [],
            figures=figures,
            commands=[subject.commands.explain(subject.run.path, str(photographs[0]), not measured)],
        )
    ]


def _measured(
    subject: Subject, paths: Sequence[Path], explained: Sequence[Explanations]
) -> list[Faithfulness]:
    """Return the faithfulness of the first explanations, as many as there is time for."""
    passes = 2 * (1 + len(CONTROLS)) * (STEPS + 1)  # deletion and insertion, of the map and its controls
    pairs = list(zip(paths, explained, strict=True))[: subject.affords(len(paths), passes)]
    return [faithfulness(subject.detector, path, found[0], steps=STEPS) for path, found in pairs]


def _nothing_found(subject: Subject) -> str:
    best = max((float(found.scores.max(initial=0.0)) for _, found in subject.found), default=0.0)
    part = subject.part(len(subject.found))
    return (
        f"There are no detections above a score of {SHOW_SCORE:g} on {part}; the best candidate has "
        f"{best:.3f}."
    )


def _photographs(subject: Subject) -> list[Path]:
    """Return the photographs with detections, that of the best detection first."""
    best = {record.path: float(found.scores.max(initial=0.0)) for record, found in subject.found}
    return sorted((path for path in best if best[path] > SHOW_SCORE), key=lambda path: -best[path])


def _spread(count: int, most: int) -> list[int]:
    """Return indices from the first to the last, so that sure and unsure detections are among them."""
    return sorted(set(np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()))


def _figure(path: Path, found: Explanations) -> Figure:
    item = found[0]
    inside = item.share_in_boxes(item.letterbox.source_size)
    heat = f"{inside:.0%} of the heat is inside the box" if item.influence else item.remark
    caption = f"{path.name}: {item.subject}, {item.origin}, {item.source}; {heat}"
    return Figure(found.draw().image_bgr, caption, f"heat over {path.name}")


def _meaning(count: int, of: int) -> str:
    if not count:
        return (
            "The faithfulness of the maps was not measured: a network of this size takes too long on a CPU. "
            "The command below measures it for one photograph."
        )
    which = f"the {counted(of, 'detection')}" if count == of else f"the first {count} of the {of} detections"
    average = f"on average over {which}" if count > 1 else f"of {which}".removesuffix("s")
    return (
        f"The table has the faithfulness of the maps, {average} below. Deletion is the area under the score "
        "while the hottest pixels are removed first (lower is better). Insertion is the area while they are "
        "added first (higher is better). Both are relative to the score on the photograph. Only the first "
        "row knows the network."
    )


def _table(measured: Sequence[Faithfulness]) -> Table:
    method = measured[0].explanation.method
    rows = [(*_row(TITLES.get(method, method), [one.measures for one in measured]), "the maps below")]
    rows += [(*_row(name, [one.controls[name] for one in measured]), CONTROLS[name]) for name in CONTROLS]
    return Table(("map", "heat in the box", "deletion", "insertion", "meaning"), rows)


def _row(name: str, measures: Sequence[Measures]) -> tuple[str, ...]:
    inside = float(np.mean([one.inside for one in measures]))
    deletion = float(np.mean([one.deletion.area for one in measures]))
    insertion = float(np.mean([one.insertion.area for one in measures]))
    return name, f"{100 * inside:.0f} %", f"{deletion:.3f}", f"{insertion:.3f}"
