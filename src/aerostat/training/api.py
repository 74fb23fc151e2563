"""Training in Python: `train` a detector, `resume` a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aerostat.datasets.dataset import Dataset
from aerostat.runs.directory import Run
from aerostat.training.loggers import Logger
from aerostat.training.logs.tracker import Tracker
from aerostat.training.plan import TrainRequest
from aerostat.training.recipe import Recipe, values_of_fields
from aerostat.training.runner import RunOptions, resume_run, start_run


def train(
    data: Dataset,
    recipe: Recipe | str | None = None,
    *,
    model: str | None = None,
    weights: str | None = None,
    out: Path | str = "runs/train",
    loggers: Sequence[Logger | Tracker] = (),
    progress: bool = True,
    **fields: Any,
) -> Run:
    """Train a detector and return its run.

    Args:
        data: with a training split, and a validation split for AP and the best epoch. Without one a fifth
            of the images is held out, of ten images or more; see `aerostat.splitting.split`.
        recipe: a recipe, or the name of a preset: ``auto``, ``small`` or ``published``. None means `auto`:
            data size selects the preset.
        model: rtmdet-nano, -tiny, -s, -m, -l or -x. None takes that of the recipe or the weights, else
            rtmdet-tiny.
        weights: a file, run or zoo name; empty for fresh weights. None takes the recipe's, else the zoo's if
            they are in the cache.
        out: the run directory; it must not exist.
        loggers: receive the records of the run, in addition to ``metrics.jsonl``: trackers of
            `aerostat.training.logs`, or any `aerostat.training.loggers.Logger`.
        progress: whether progress is shown.
        **fields: recipe fields by name, such as `epochs`, `batch_size` (of the optimiser), `input_size`,
            `lr`, `seed`, `device`, `devices`, `precision`, `freeze`. Presets derive warm-up and stage 2 from
            `epochs`; ``small`` also derives averaging. `val` is no field of the recipe: it is the share of
            the images that is held out of data without a validation split, by default 0.2; 0 holds nothing
            out. `nodes` is none either: it is the number of machines that train together, `devices`
            processes on each; all of them make this call. With ``masks=True`` the network also learns
            instance masks, by default if its weights have them.

    Raises:
        InputError: the request does not fit; nothing is written.
        AerostatError: the run fails.

    Example:
        >>> run = train(data, model="rtmdet-nano", epochs=40, seed=1)  # doctest: +SKIP
        >>> run.best  # doctest: +SKIP
        PosixPath('runs/train/best.safetensors')
    """
    val = fields.pop("val", None)
    nodes = fields.pop("nodes", 1)
    if fields.get("masks") is None:  # the task of the weights
        fields.pop("masks", None)
    values = values_of_fields(fields)
    given = recipe if isinstance(recipe, Recipe) else None
    preset = recipe if isinstance(recipe, str) else "auto"
    request = TrainRequest(model, weights, preset, given, values, val)
    return start_run(data, Path(out), request, RunOptions(tuple(loggers), progress, nodes=nodes))


def resume(
    run: Run | Path | str,
    data: Dataset | None = None,
    *,
    loggers: Sequence[Logger | Tracker] = (),
    progress: bool = True,
    devices: int | None = None,
    nodes: int = 1,
) -> Run:
    """Resume a run from its checkpoint, and return it.

    The classes and the training images must be those of the run. Other differences are logged, old and new
    value; see `aerostat.training.resume_checks`.

    Args:
        run: its directory.
        data: the data set; read again from where it was if None. Data that were made in memory must be
            given.
        loggers: as for `train`; they are not remembered.
        progress: whether progress is shown.
        devices: processes on each machine, by default as many as the run began with. Any number sees the
            same samples.
        nodes: machines.

    Raises:
        InputError: there is no checkpoint, the run is finished or being trained, or the data are others.
        AerostatError: the run fails.
    """
    run = run if isinstance(run, Run) else Run(Path(run))
    options = RunOptions(tuple(loggers), progress, devices=devices, nodes=nodes)
    return resume_run(run, data, options)
