"""Measure how faithful the maps of every method and layer are, and write the tables of benchmarks/explain.md.

python benchmarks/faithfulness.py balloon/ --runs runs/frozen runs/free --classes balloon

Explained are the detections above 0.3 on the validation photographs that overlap an annotated object by an
IoU of at least 0.5. What has been measured is kept in a file (--work), so that an interrupted run goes on where
it stood; delete it to measure anew.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import aerostat as ae
from aerostat import console
from aerostat.boxes import pairwise_iou
from aerostat.data.image import read_image
from aerostat.explanation.boxam import explain
from aerostat.explanation.faithfulness import CONTROLS, STEPS, Scene
from aerostat.explanation.result import TITLES, Explanation, Explanations
from aerostat.predict import Detector

IOU = 0.5
FINE = "neck.top_down_blocks[1]"
STAGES = ("backbone.stage2", "backbone.stage3", "backbone.stage4")
OUTS = ("neck.out_convs[0]", "neck.out_convs[1]", "neck.out_convs[2]")
LAYERS = {
    "neck.out_convs[level]": lambda level: (OUTS[level],),
    "neck.bottom_up_blocks[0]": lambda level: ("neck.bottom_up_blocks[0]",),
    FINE: lambda level: (FINE,),
    "neck.top_down_blocks[0]": lambda level: ("neck.top_down_blocks[0]",),
    "backbone.stage(level + 2)": lambda level: (STAGES[level],),
    "backbone.stage2": lambda level: STAGES[:1],
    "backbone, fused": lambda level: STAGES,
    f"backbone.stage2 + {FINE}": lambda level: (STAGES[0], FINE),
    f"{FINE} + neck.out_convs[level]": lambda level: (FINE, OUTS[level]),
}
"""Rows of the table, and the layers that they stand for at the level where a detection was born."""
SINGLE = (*OUTS, "neck.bottom_up_blocks[0]", FINE, "neck.top_down_blocks[0]", *STAGES)
SLOW = {"ablationcam": ("neck.out_convs[level]", FINE, "backbone.stage2")}
"""What would take too long on every layer."""
LOSS_LAYERS = ("neck.out_convs[level]", FINE, "backbone.stage2")
"""Layers of the second target."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    method: str
    layer: str
    target: str

    @property
    def key(self) -> str:
        return f"{self.method}|{self.layer}|{self.target}"


def rows() -> list[Row]:
    """Return what is measured."""
    methods = [name for name in TITLES if name != "drise"]
    found = [Row(m, layer, "score") for m in methods for layer in LAYERS if layer in SLOW.get(m, LAYERS)]
    found += [
        Row(m, layer, "loss")
        for m in ("gradcam", "gradcampp", "hirescam", "layercam")
        for layer in LOSS_LAYERS
    ]
    return [*found, Row("drise", "", "score")]


def matched(found: ae.Detections, boxes_xyxy: NDArray[np.floating]) -> set[int]:
    """Return the detections that overlap an annotated object."""
    if not len(found) or not len(boxes_xyxy):
        return set()
    iou = pairwise_iou(found.boxes_xyxy.astype(np.float64), boxes_xyxy).max(1)
    return set(np.flatnonzero(iou >= IOU).tolist())


def explained(
    detector: Detector, image_bgr: NDArray[np.uint8], wanted: Sequence[Row]
) -> dict[str, Explanations]:
    """Return all maps that the rows are made of, by method and target."""
    made = {}
    for method, target in dict.fromkeys((row.method, row.target) for row in wanted):
        needed = {
            name
            for row in wanted
            if (row.method, row.target) == (method, target) and row.layer
            for level in range(3)
            for name in LAYERS[row.layer](level)
        }
        layers = [name for name in SINGLE if name in needed] or None
        made[f"{method}|{target}"] = explain(
            detector, image_bgr, layer=layers, method=method, target=target, top=None
        )
    return made


def fused(made: Explanations, index: int, layers: Sequence[str]) -> Explanation:
    """Return the explanation of a detection by several layers together; of a black box the only one."""
    items = made.by_subject()[index].items
    if not layers:
        return items[0]
    chosen = [item for name in layers for item in items if item.layers == (name,)]
    return replace(
        chosen[0],
        layers=tuple(name for item in chosen for name in item.layers),
        maps=tuple(values for item in chosen for values in item.maps),
        influences=tuple(influence for item in chosen for influence in item.influences),
    )


def measure(arguments: argparse.Namespace, wanted: Sequence[Row]) -> Iterator[dict[str, object]]:
    """Yield one record for each detection and row that has not been measured yet."""
    done = {
        (record["run"], record["photograph"], record["detection"], record["row"])
        for record in records(arguments.work)
    }
    split = ae.Dataset.read(arguments.data, classes=arguments.classes).split("val")
    for run in arguments.runs:
        detector = ae.load(run, device="cpu")
        for image in console.track(split.images, str(run)):
            photograph = read_image(image.path)
            boxes_xyxy = np.asarray([one.box_xyxy for one in image.instances], np.float64).reshape(-1, 4)
            found = detector.predict(photograph)
            chosen = sorted(matched(found, boxes_xyxy))[:: arguments.every]
            left = {
                index: [
                    key
                    for key in (*CONTROLS, *(row.key for row in wanted))
                    if (run.name, image.path.name, index, key) not in done
                ]
                for index in chosen
            }
            needed = [row for row in wanted if any(row.key in keys for keys in left.values())]
            maps = explained(detector, photograph, needed) if needed else {}
            for index in chosen:
                scene = Scene.of(detector, photograph, found[index])
                controls = scene.controls()
                for key in left[index]:
                    if key in CONTROLS:
                        heat, level = controls[key], None
                    else:
                        method, layer, target = key.split("|")
                        made = maps[f"{method}|{target}"]
                        level = made.by_subject()[index][0].level
                        one = fused(made, index, LAYERS[layer](level) if layer else ())
                        heat = one.heat_at(scene.content_size)
                    measures = scene.measure(heat, steps=arguments.steps)
                    yield {
                        "run": run.name,
                        "photograph": image.path.name,
                        "detection": index,
                        "row": key,
                        "inside": measures.inside,
                        "deletion": measures.deletion.area,
                        "insertion": measures.insertion.area,
                    }


def records(path: Path) -> list[dict[str, object]]:
    """Return what has been measured so far."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def table(found: Sequence[dict[str, object]]) -> list[str]:
    """Return the lines of the table: every row's means over all detections."""
    by_row = defaultdict(list)
    for record in found:
        by_row[str(record["row"])].append([record["inside"], record["deletion"], record["insertion"]])
    means = {key: (*np.mean(values, axis=0), len(values)) for key, values in by_row.items()}
    lines = [
        "| method | layer | target | heat inside the box | deletion (less is better) | insertion (more is better) "
        "| insertion - deletion |",
        "|---|---|---|---|---|---|---|",
    ]
    for key in sorted(means, key=lambda key: means[key][1] - means[key][2]):
        inside, deletion, insertion, _ = means[key]
        method, layer, target = key.split("|") if "|" in key else (f"*{key}*", "", "")
        lines.append(
            f"| {TITLES.get(method, method)} | {layer and f'`{layer}`'} | {target} | {inside:.2f} | {deletion:.3f} "
            f"| {insertion:.3f} | {insertion - deletion:.3f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--classes", nargs="+")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--every", type=int, default=1, help="measure every so many detections of a photograph"
    )
    parser.add_argument("--work", type=Path, default=Path("runs/faithfulness.jsonl"))
    parser.add_argument("--only", nargs="+", help="measure rows whose name contains one of these")
    arguments = parser.parse_args()
    wanted = [row for row in rows() if not arguments.only or any(part in row.key for part in arguments.only)]
    arguments.work.parent.mkdir(parents=True, exist_ok=True)
    with arguments.work.open("a", encoding="utf-8") as file:
        for record in measure(arguments, wanted):
            file.write(json.dumps(record) + "\n")
            file.flush()
    print("\n".join(table(records(arguments.work))))


if __name__ == "__main__":
    main()
