"""Train the small checkpoint that `aerostat demo` starts from, on drawn scenes.

    python scripts/train_demo_checkpoint.py WORK_FOLDER --weights rtmdet_nano_person.pth

draws its scenes with another seed than the demo's, fine-tunes RTMDet-nano from OpenMMLab's person detector on
them through the `aerostat.train` that users call, and writes the averaged weights of the last epoch, in half
precision, to src/aerostat/assets/. The record of the run that made the shipped file is
benchmarks/demo_checkpoint.md.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

import aerostat as ae
from aerostat.demo import CHECKPOINT
from aerostat.scenes.balloons import write_balloons
from aerostat.weights.checkpoint import load_weights, save_weights

SEED = 20_001
"""The demo draws with other seeds: no scene of it has been seen here."""
CLASS = "drawn balloon"
"""Another name than in the demo, which so rebuilds the head as it would for any pretrained weights."""
ORIGIN = (
    "fine-tuned on drawn scenes of balloons for the demo, from OpenMMLab's RTMDet-nano person detector "
    "(Apache-2.0)"
)


def main() -> None:
    """Draw, train, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for the scenes and the run")
    parser.add_argument("--weights", default="rtmdet-nano-person", help="file, or name of the zoo")
    parser.add_argument("--scenes", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    arguments = parser.parse_args()
    scenes = arguments.work / "scenes"
    if not scenes.exists():
        write_balloons(scenes, train=arguments.scenes, val=150, seed=SEED)
    run = ae.train(
        ae.Dataset.read(scenes, classes=[CLASS]),
        "small",
        model="rtmdet-nano",
        weights=arguments.weights,
        out=arguments.work / "run",
        epochs=arguments.epochs,
        input_size=320,
        mosaic=0.3,
        mixup=0.0,
        lr=0.001,
        batch_size=16,
    )
    weights = load_weights(run.last)
    recipe = {**(weights.header.recipe or {}), "model": {"size": "nano", "weights": "rtmdet-nano-person"}}
    header = replace(weights.header, notes=(ORIGIN,), recipe=recipe)
    save_weights(arguments.out, weights.state, header, torch.float16)
    print(f"wrote {arguments.out}: {arguments.out.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
