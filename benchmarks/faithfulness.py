"""Measure how faithful the maps of every method and layer are, and write the tables of benchmarks/explain.md.

python benchmarks/faithfulness.py balloon/ --runs runs/frozen runs/free --classes balloon

Explained are the detections above 0.3 on the validation photographs that overlap an annotated object by an
IoU of at least 0.5. What has been measured is kept in a file (--work), so that an interrupted run goes on
where it stood, and runs can be measured side by side; delete it to measure anew.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import aerostat as ae
from aerostat.explanation.boxam import explain
from aerostat.explanation.faithfulness import CONTROLS, Scene
from aerostat.explanation.methods import TITLES
from aerostat.explanation.randomised import SAME_CORRELATION, randomisation_check
from aerostat.explanation.result import Explanation, Explanations, Target
from aerostat.files import write_text
from aerostat.geometry.boxes import pairwise_iou
from aerostat.images.read import read_image
from aerostat.inference.detector import Detector
from aerostat.progress import track

Record = dict[str, Any]
Key = tuple[str, str, int, str, bool]
"""Run, photograph, detection and row of a record, and whether it is about random weights."""
MARKS = ("<!-- benchmarks/faithfulness.py writes from here -->", "<!-- to here -->")
IOU = 0.5
LAST, FINE, EARLY = "neck.out_convs[level]", "neck.top_down_blocks[1]", "backbone.stage2"
STAGES = ("backbone.stage2", "backbone.stage3", "backbone.stage4")
OUTS = ("neck.out_convs[0]", "neck.out_convs[1]", "neck.out_convs[2]")
LAYERS: dict[str, Callable[[int], tuple[str, ...]]] = {
    LAST: lambda level: (OUTS[level],),
    FINE: lambda level: (FINE,),
    EARLY: lambda level: (EARLY,),
    "backbone.stage(level + 2)": lambda level: (STAGES[level],),
    "backbone.stage2 + stage3 + stage4": lambda level: STAGES,
    "neck.bottom_up_blocks[0]": lambda level: ("neck.bottom_up_blocks[0]",),
    "neck.top_down_blocks[0]": lambda level: ("neck.top_down_blocks[0]",),
    f"{EARLY} + {FINE}": lambda level: (EARLY, FINE),
    f"{FINE} + {LAST}": lambda level: (FINE, OUTS[level]),
}
"""What stands in the column of layers, and the layers meant for a detection born at a level."""
SINGLE = (*OUTS, "neck.bottom_up_blocks[0]", FINE, "neck.top_down_blocks[0]", *STAGES)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    method: str
    layer: str
    target: Target

    @property
    def key(self) -> str:
        return f"{self.method}|{self.layer}|{self.target}"

    @property
    def is_checked(self) -> bool:
        """Whether it is made anew with random weights: one layer of each part, what can be made fast."""
        fast = self.method not in ("ablationcam", "drise")
        return fast and self.target == "score" and self.layer in (LAST, FINE, EARLY)


def rows() -> list[Row]:
    """Return what is measured."""
    every, others = list(LAYERS)[:5], list(LAYERS)[5:]
    methods = [name for name in TITLES if name != "drise"]
    slow = "ablationcam"  # a prediction for each channel
    found = [Row(m, layer, "score") for m in methods for layer in every if m != slow or layer == LAST]
    found += [Row(m, layer, "score") for m in ("hirescam", "layercam") for layer in others]
    found += [Row(m, layer, "loss") for m in ("gradcam", "gradcampp", "layercam") for layer in every[:1]]
    return [*found, Row("drise", "", "score")]


def matched(found: ae.Detections, boxes_xyxy: NDArray[np.floating]) -> set[int]:
    """Return the detections that overlap an annotated object."""
    if not len(found) or not len(boxes_xyxy):
        return set()
    iou = pairwise_iou(found.boxes_xyxy.astype(np.float64), boxes_xyxy).max(1)
    return set(np.flatnonzero(iou >= IOU).tolist())


class Maps:
    """The maps of one photograph; those of one method are made when the first of them is asked for."""

    def __init__(self, detector: Detector, image_bgr: NDArray[np.uint8], wanted: Sequence[Row]) -> None:
        self._detector, self._image_bgr, self._wanted = detector, image_bgr, wanted
        self._made: dict[tuple[str, str], Explanations] = {}

    def of(self, row: Row, index: int) -> Explanation:
        """Return the map of a row for a detection; several layers are fused as `explain` fuses them."""
        kind = row.method, row.target
        if kind not in self._made:
            rows_alike = [one for one in self._wanted if (one.method, one.target) == kind and one.layer]
            needed = {name for one in rows_alike for level in range(3) for name in LAYERS[one.layer](level)}
            layers = [name for name in SINGLE if name in needed] or None
            self._made[kind] = explain(
                self._detector, self._image_bgr, layer=layers, method=row.method, target=row.target, top=None
            )
        items = self._made[kind].by_subject()[index].items
        if not row.layer:
            return items[0]
        level = items[0].level
        assert level is not None  # only detectors of other makes do not say
        wanted = LAYERS[row.layer](level)
        chosen = [item for name in wanted for item in items if item.layers == (name,)]
        return replace(
            chosen[0],
            layers=wanted,
            maps=tuple(item.maps[0] for item in chosen),
            influences=tuple(item.influence for item in chosen),
        )


def measure(arguments: argparse.Namespace, wanted: Sequence[Row], done: set[Key]) -> Iterator[Record]:
    """Yield one record for each detection and row that has not been measured yet."""
    split = ae.Dataset.read(arguments.data, classes=arguments.classes).split("val")
    for run in arguments.runs:
        detector = ae.load(run, device="cpu")
        for image in track(split.images, str(run)):
            photograph = read_image(image.path)
            boxes_xyxy = np.asarray([one.box_xyxy for one in image.instances], np.float64).reshape(-1, 4)
            found = detector.predict(photograph)
            maps = Maps(detector, photograph, wanted)
            for index in sorted(matched(found, boxes_xyxy))[:: arguments.every]:
                who = {"run": run.name, "photograph": image.path.name, "detection": index}
                left = [row for row in wanted if (*who.values(), row.key, False) not in done]
                controls = [name for name in CONTROLS if (*who.values(), name, False) not in done]
                if left or controls:
                    scene = Scene.of(detector, photograph, found[index])
                    heats = scene.controls()
                    for name in controls:
                        yield who | {"row": name} | measured(scene, heats[name], arguments.steps)
                    for row in left:
                        heat = maps.of(row, index).heat_at(scene.content_size)
                        yield who | {"row": row.key} | measured(scene, heat, arguments.steps)
                if index == 0:
                    for row in wanted:
                        if row.is_checked and (*who.values(), row.key, True) not in done:
                            again = randomisation_check(detector, photograph, maps.of(row, index))
                            yield who | {"row": row.key} | again


def measured(scene: Scene, heat: NDArray[np.floating], steps: int) -> Record:
    """Return the three numbers of a map."""
    measures = scene.measure(heat, steps=steps)
    areas = {"deletion": measures.deletion.area, "insertion": measures.insertion.area}
    return {"inside": measures.inside, **areas}


def which(record: Record) -> tuple[str, str, int]:
    """Return the detection that a record is about."""
    return record["run"], record["photograph"], record["detection"]


def records(paths: Sequence[Path]) -> list[Record]:
    """Return what has been measured so far."""
    return [
        json.loads(line) for path in paths if path.is_file() for line in path.read_text("utf-8").splitlines()
    ]


def table(found: Sequence[Record]) -> list[str]:
    """Return the lines of the first table: the means of every row, the best first, then the controls."""
    by_row = defaultdict(list)
    for record in found:
        if "inside" in record:
            by_row[record["row"]].append([record["inside"], record["deletion"], record["insertion"]])
    means = {key: np.mean(values, axis=0) for key, values in by_row.items()}
    lines = [
        "| method | layer | target | heat in the box | deletion | insertion | mean of the three |",
        "|---|---|---|---|---|---|---|",
    ]
    for key in sorted(means, key=lambda key: (key in CONTROLS, -_together(means[key]))):
        inside, deletion, insertion = means[key]
        method, layer, target = (f"*{key}*", "", "") if key in CONTROLS else key.split("|")
        lines.append(
            f"| {TITLES.get(method, method)} | {layer and f'`{layer}`'} | {target} | {inside:.2f} "
            f"| {deletion:.3f} | {insertion:.3f} | {_together(means[key]):.3f} |"
        )
    return lines


def _together(values: NDArray[np.floating]) -> float:
    inside, deletion, insertion = values.tolist()
    return float(np.mean([inside, 1 - deletion, insertion]))


def duels(found: Sequence[Record], row: str) -> list[str]:
    """Return the lines of the second table: in how many detections a row beats each control."""
    values: dict[str, dict[tuple[str, str, int], Record]] = defaultdict(dict)
    for record in found:
        if "inside" in record:
            values[record["row"]][which(record)] = record
    own = values[row]
    lines = [
        "| control | deletion: beaten in, mean difference | insertion: beaten in, mean difference |",
        "|---|---|---|",
    ]
    for name in CONTROLS:
        cells = []
        for what, sign in (("deletion", -1), ("insertion", 1)):
            gains = [sign * (own[key][what] - values[name][key][what]) for key in own]
            error = np.std(gains, ddof=1) / np.sqrt(len(gains))
            won = np.mean(np.asarray(gains) > 0)
            cells.append(
                f"{100 * won:.0f} % of {len(gains)}, {sign * np.mean(gains):+.3f} (s.e. {error:.3f})"
            )
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return lines


def sanity(found: Sequence[Record]) -> list[str]:
    """Return the lines of the third table: how alike the maps with random weights are."""
    by_row = defaultdict(list)
    for record in found:
        if "head" in record:
            by_row[record["row"]].append([record["head"], record["network"]])
    lines = ["| method | layer | random head | random network | |", "|---|---|---|---|---|"]
    for key, values in by_row.items():
        method, layer, _ = key.split("|")
        head, network = np.mean(values, axis=0)
        fails = "fails" if max(head, network) >= SAME_CORRELATION else ""
        lines.append(f"| {TITLES[method]} | `{layer}` | {head:.2f} | {network:.2f} | {fails} |")
    return lines


def written(document: Path, found: Sequence[Record], row: str) -> str:
    """Return the document with the tables between their marks made anew."""
    text = document.read_text("utf-8") if document.is_file() else "".join(MARKS)
    start, end = MARKS
    before, _, rest = text.partition(start)
    _, found_end, after = rest.partition(end)
    if not found_end:
        raise SystemExit(f"{document} has no marks {start!r} and {end!r} for the tables to stand between")
    parts = ["\n".join(lines) for lines in (table(found), duels(found, row), sanity(found))]
    return before + start + "\n\n" + "\n\n".join(parts) + "\n\n" + end + after


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--classes", nargs="+")
    parser.add_argument("--steps", type=int, default=16, help="of each curve")
    parser.add_argument("--every", type=int, default=1, help="take every so many detections of a photograph")
    parser.add_argument("--only", nargs="+", help="measure rows whose name contains one of these")
    parser.add_argument("--default", default=f"layercam|{LAST}|score", help="row for the second table")
    parser.add_argument("--work", type=Path, nargs="+", default=[Path("runs/faithfulness.jsonl")],
                        help="what has been measured; the first file takes what is measured now")  # fmt: skip
    parser.add_argument("--document", type=Path, default=Path("benchmarks/explain.md"))
    arguments = parser.parse_args()
    wanted = [row for row in rows() if not arguments.only or any(part in row.key for part in arguments.only)]
    done = {(*which(record), record["row"], "head" in record) for record in records(arguments.work)}
    arguments.work[0].parent.mkdir(parents=True, exist_ok=True)
    with arguments.work[0].open("a", encoding="utf-8") as file:
        for record in measure(arguments, wanted, done):
            file.write(json.dumps(record) + "\n")
            file.flush()
    write_text(arguments.document, written(arguments.document, records(arguments.work), arguments.default))


if __name__ == "__main__":
    main()
