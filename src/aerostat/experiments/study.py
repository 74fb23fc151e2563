"""Recipes over seeds or folds: what a run gives, how far it varies, and which recipe is better."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import logging
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import Split
from aerostat.errors import InputError
from aerostat.evaluation.evaluate import evaluate
from aerostat.experiments.statistics import Difference, Spread, difference, judged, spread
from aerostat.files import write_text
from aerostat.inference.resolve import load
from aerostat.inference.tta import TTA
from aerostat.progress import activity, log_to
from aerostat.runs.directory import Run
from aerostat.runs.metrics import lines_of
from aerostat.text import counted, listed
from aerostat.training.api import choose_splits, plan, resume, train
from aerostat.training.progress import clock
from aerostat.training.recipe import read_recipe
from aerostat.training.resume_checks import Fingerprint
from aerostat.training.signals import InterruptedRunError

_log = logging.getLogger(__name__)

MEASURES = {"ap": "AP", "ap50": "AP50", "best_ap": "best epoch", "tta_ap": "AP with TTA"}
"""What is told of every recipe; the first is the headline: averaged weights of the last epoch."""


@dataclass(frozen=True)
class Arm:
    """One recipe of a study.

    Args:
        name: what tables and pictures call it.
        preset: auto, small or published.
        values: recipe fields that override the preset's.
    """

    name: str
    preset: str = "auto"
    values: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One run of a study; what it gave is None until it is finished.

    Args:
        arm: name of its recipe.
        seed: of the run, and of the folds.
        fold: counted from 1; 0 where the data's own splits are used.
        ap, ap50: of the averaged weights of the last epoch.
        best_ap, best_epoch: of the best epoch, which is chosen on the validation images themselves.
        tta_ap: of the last epoch with test-time augmentation; None where it was not asked for.
        seconds: that the training took.
    """

    arm: str
    seed: int
    fold: int = 0
    ap: float = math.nan
    ap50: float = math.nan
    best_ap: float = math.nan
    best_epoch: int = 0
    tta_ap: float | None = None
    seconds: float = 0.0

    @property
    def pair(self) -> tuple[int, int]:
        """What it has in common with the runs of other recipes that it is compared with."""
        return self.seed, self.fold


@dataclass(frozen=True)
class Comparison:
    """One recipe against another."""

    ours: str
    theirs: str
    difference: Difference


@dataclass(frozen=True)
class Study:
    """What a study found.

    Args:
        path: its directory.
        trials: all runs, in order.
        test_share: validation images for each training image where the runs are folds, else 0.
    """

    path: Path
    trials: tuple[Trial, ...]
    test_share: float = 0.0

    @property
    def arms(self) -> list[str]:
        """Names of the recipes in order."""
        return list(dict.fromkeys(trial.arm for trial in self.trials))

    def values(self, arm: str, measure: str = "ap") -> list[float]:
        """Return a figure of each run of a recipe; empty if it was not measured."""
        found = [getattr(trial, measure) for trial in self.trials if trial.arm == arm]
        return [] if any(value is None for value in found) else found

    def spread(self, arm: str, measure: str = "ap") -> Spread:
        """Return mean, deviation and interval of a figure of a recipe."""
        return spread(self.values(arm, measure), test_share=self.test_share)

    def comparisons(self, measure: str = "ap") -> list[Comparison]:
        """Return every recipe against every earlier one, on the same seeds and folds."""
        pairs = [(b, a) for a, b in itertools.combinations(self.arms, 2)]
        found = judged(
            [difference(self.values(a, measure), self.values(b, measure), test_share=self.test_share)
             for a, b in pairs]
        )  # fmt: skip
        return [Comparison(a, b, d) for (a, b), d in zip(pairs, found, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: every run, every recipe, every comparison; NaN is None."""
        measures = [m for m in MEASURES if self.values(self.arms[0], m)]
        return {
            "headline": "ap: averaged weights of the last epoch",
            "optimistic": "best_ap: the best epoch is chosen on the validation images that it is scored on",
            "trials": [_plain(dataclasses.asdict(trial)) for trial in self.trials],
            "recipes": {
                arm: {m: _plain(dataclasses.asdict(self.spread(arm, m))) for m in measures}
                for arm in self.arms
            },
            "comparisons": [_plain(dataclasses.asdict(c)) for c in self.comparisons()],
        }


def study(
    data: Dataset,
    arms: Sequence[Arm],
    *,
    out: Path | str,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    folds: int = 0,
    model: str | None = None,
    weights: str | None = None,
    tta: bool = False,
) -> Study:
    """Train every recipe on every seed or fold and tell what came out; finished runs are not made again.

    Args:
        data: with a training split, and without folds a validation split.
        arms: the recipes, the first being what others are measured against.
        out: directory of the study; a run is in `out`/RECIPE/seed-N or `out`/RECIPE/fold-K-seed-N.
        seeds: of the runs.
        folds: so many parts of the training split, each validated on once by a run that learns from the
            others; a validation split of the data is not looked at. 0 uses the data's own splits.
        model, weights: see `aerostat.training.api.train`.
        tta: also score the last weights with test-time augmentation.

    Raises:
        InputError: the request does not fit the data or what stands in `out`.
        AerostatError: a run failed; what is finished stays.
    """
    _require_sensible(data, arms, seeds, folds)
    out = Path(out)
    trials = [
        Trial(arm.name, seed, fold)
        for seed, fold in itertools.product(seeds, range(1, folds + 1) if folds else (0,))
        for arm in arms
    ]
    parts = {trial.pair: fold_of(data, folds, trial.fold, trial.seed) for trial in trials}
    _require_scores(parts)
    by_name = {arm.name: arm for arm in arms}
    _settle(out, data, arms, parts[trials[0].pair], folds=folds, tta=tta, model=model, weights=weights)
    done: list[Trial] = []
    began, worked = time.monotonic(), 0
    with activity() as tell:
        for number, trial in enumerate(trials, 1):
            place = folder_of(out, trial)
            known = _finished(place / "trial.json", trial)
            if known is None:
                now = time.monotonic()
                ends = now + (now - began) / worked * (len(trials) - number + 1) if worked else None
                begun = f"run {number} of {len(trials)}: {_title(trial)}"
                tell(partial(_state_of, begun, ends, Run(place / "run")))
                try:
                    known = _run(place, trial, by_name[trial.arm], parts[trial.pair], model, weights, tta)
                except InterruptedRunError as stopped:  # the run alone does not know where its data are
                    raise InterruptedRunError(
                        f"{_title(trial)}: {stopped.what}.",
                        stopped.signal_number,
                        "the same command again",
                    ) from None
                worked += 1
                _log.info(
                    f"{_title(known)}: AP {known.ap:.3f} after the last epoch"
                    + (f", {known.tta_ap:.3f} with TTA" if known.tta_ap is not None else "")
                    + f"; best epoch {known.best_ap:.3f}; {clock(known.seconds)}"
                )
            done.append(known)
    part = parts[trials[0].pair]
    share = len(part.split("val")) / len(part.split("train")) if folds else 0.0
    found = Study(out, tuple(sorted(done, key=lambda t: list(by_name).index(t.arm))), share)
    write_text(out / "results.json", json.dumps(found.to_dict(), indent=2))
    return found


def fold_of(data: Dataset, folds: int, fold: int, seed: int) -> Dataset:
    """Return the data of one run: their own splits, or one fold of the training split against the others.

    Images are dealt out in the order of how many objects they show, so that folds are alike; those that show
    as many are shuffled by the seed.

    Args:
        data: with a training split.
        folds: how many; 0 for the data's own splits.
        fold: which, from 1.
        seed: other seeds deal otherwise.
    """
    train_split, val_split = choose_splits(data)
    if not folds:
        assert val_split is not None
        return Dataset(data.classes, {"train": train_split, "val": val_split})
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(train_split))
    counts = train_split.images.instance_counts[order]
    order = order[np.argsort(-counts, kind="stable")]
    place, totals = np.empty(len(order), int), np.zeros(folds)
    for first in range(0, len(order), folds):  # one to each fold, the fullest image to the emptiest fold
        block = order[first : first + folds]
        places = np.argsort(totals, kind="stable")[: len(block)]
        place[block] = places
        totals[places] += train_split.images.instance_counts[block]
    parts = {"train": place != fold - 1, "val": place == fold - 1}
    return Dataset(
        data.classes,
        {
            name: dataclasses.replace(train_split.chosen(np.flatnonzero(mask)), name=name)
            for name, mask in parts.items()
        },
    )


def folder_of(out: Path, trial: Trial) -> Path:
    """Return where a run of a study stands."""
    name = f"fold-{trial.fold}-seed-{trial.seed}" if trial.fold else f"seed-{trial.seed}"
    return out / slug(trial.arm) / name


def slug(name: str) -> str:
    """Return a folder name for a recipe's name: what is not a letter, digit, dot or dash becomes a dash."""
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip(".-")[:60]
    if kept == name:
        return kept
    return f"{kept}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"  # others may be called nearly so


def _require_sensible(data: Dataset, arms: Sequence[Arm], seeds: Sequence[int], folds: int) -> None:
    train_split, val_split = choose_splits(data)
    names = [arm.name for arm in arms]
    if not arms or len(set(names)) < len(names):
        raise InputError(f"Expected recipes of different names, found {listed(names) or 'none'}.")
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"Expected at least one seed and none twice, found {list(seeds)}.")
    if folds == 1 or folds < 0:
        raise InputError(f"Expected at least 2 folds, found {folds}.")
    if folds > len(train_split):
        raise InputError(
            f"Expected at most as many folds as training images ({len(train_split)}), found {folds}."
        )
    if not folds and val_split is None:
        raise InputError("The data have no val split to score the runs on; use --folds 5.")


def _require_scores(parts: Mapping[tuple[int, int], Dataset]) -> None:
    """Raise InputError if a run would be scored where nothing is to be found: AP is undefined there."""
    for (seed, fold), part in parts.items():
        if part.split("val").box_count:
            continue
        if fold:
            raise InputError(
                f"Fold {fold} of seed {seed} holds no object to score a run on; use fewer folds."
            )
        raise InputError("The data's val split holds no object to score a run on; use --folds 5.")


def _settle(
    out: Path,
    data: Dataset,
    arms: Sequence[Arm],
    part: Dataset,
    *,
    folds: int,
    tta: bool,
    model: str | None,
    weights: str | None,
) -> None:
    """Check every recipe before the first run, and that what stands in `out` is of the same study."""
    path = out / "study.json"
    if out.exists() and not path.is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already and is no study; choose another --out.")
    recipes: dict[str, Any] = {}
    for arm in arms:
        planned = plan(part, model=model, weights=weights, preset=arm.preset, values=arm.values)
        recipes[arm.name] = json.loads(json.dumps(planned.recipe.to_dict()))  # as it is read again
        recipes[arm.name]["run"].pop("seed")
    kept: dict[str, Any] = {
        "classes": list(data.classes),
        "images": _fingerprint(choose_splits(data)[0]),
        "validation images": None if folds else _fingerprint(part.split("val")),
        "folds": folds,
        "tta": tta,
        "recipes": recipes,
    }
    if path.is_file():
        before = _read(path)
        before.setdefault("validation images", kept["validation images"])  # older studies do not tell
        for key in ("classes", "folds", "tta", "images", "validation images"):
            if before.get(key) != kept[key]:
                raise InputError(
                    f"The study in {out} has other {key} ({before.get(key)}, asked for were {kept[key]}); "
                    "choose another --out."
                )
        for name, recipe in before.get("recipes", {}).items():
            if name in recipes and recipes[name] != recipe:
                other = _first_difference(recipe, recipes[name])
                raise InputError(
                    f"The study in {out} has a recipe {name!r} with {other}; choose another name or --out."
                )
        kept["recipes"] = {**before.get("recipes", {}), **recipes}
    write_text(path, json.dumps(kept, indent=2))


def _run(
    place: Path, trial: Trial, arm: Arm, part: Dataset, model: str | None, weights: str | None, tta: bool
) -> Trial:
    """Make one run, or go on with it, with its console in a file beside it."""
    run = Run(place / "run")
    place.mkdir(parents=True, exist_ok=True)
    values = {section: dict(fields) for section, fields in arm.values.items()}
    values.setdefault("run", {})["seed"] = trial.seed
    with log_to(place / "log.txt"):
        if run.checkpoint.is_file():
            if not run.ended:  # its last validation may be due though all has been learned
                resume(run, part)
        else:
            if run.path.exists():  # stopped before its first checkpoint: nothing of it is worth keeping
                shutil.rmtree(run.path)
            train(part, model=model, weights=weights, out=run.path, preset=arm.preset, values=values)
        lines = run.read_metrics()
        scores = lines_of(lines, "val", "ap")
        last, best = scores[-1], max(scores, key=lambda line: line["ap"])
        with_tta = score_with_tta(run, part.split("val")) if tta else None
    found = dataclasses.replace(
        trial,
        ap=last["ap"],
        ap50=last["ap50"],
        best_ap=best["ap"],
        best_epoch=best["epoch"],
        tta_ap=with_tta,
        seconds=lines[-1].get("seconds", 0.0),
    )
    write_text(place / "trial.json", json.dumps(dataclasses.asdict(found)))
    return found


def score_with_tta(run: Run, split: Split) -> float:
    """Return AP of a run's last weights with the default views, asked for as its own validation asks.

    Raises:
        InputError: if the run or its weights cannot be read.
    """
    asked = read_recipe(run.recipe).eval
    return evaluate(
        load(run.last),
        split,
        score=asked.score_threshold,
        nms_iou=asked.nms_iou,
        max_detections=asked.max_detections,
        tta=TTA(),
        on_unreadable=lambda record, _: _log.info(f"left out, as in validation: {record.file_name}"),
    ).ap


def _state_of(begun: str, ends: float | None, run: Run) -> str:
    """Return how far along the study is, with the newest line of the run that is being made.

    Args:
        begun: what is being made.
        ends: when the study should be done by its pace so far, as `time.monotonic` counts; None if unknown.
        run: that is being made.
    """
    left = f", about {clock(ends - now)} left" if ends and ends > (now := time.monotonic()) else ""
    try:
        with run.metrics.open("rb") as file:
            file.seek(max(0, run.metrics.stat().st_size - 4096))
            epoch = json.loads(file.read().splitlines()[-1])["epoch"]
    except (OSError, ValueError, LookupError, TypeError):
        return f"{begun}, starting{left}"
    return f"{begun}, epoch {epoch}{left}"


def _finished(path: Path, trial: Trial) -> Trial | None:
    """Return what a run gave, if it is finished."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        found = Trial(**json.loads(path.read_text("utf-8")))
        if (found.arm, found.pair) == (trial.arm, trial.pair):
            return found
    return None


def _title(trial: Trial) -> str:
    fold = f"fold {trial.fold}, " if trial.fold else ""
    return f"{trial.arm}, {fold}seed {trial.seed}"


def _fingerprint(split: Split) -> str:
    """Return what tells one set of images and boxes from another, in a few letters."""
    known = Fingerprint.of(split)
    digest = hashlib.sha256(json.dumps(known.names).encode() + known.checks.tobytes()).hexdigest()[:12]
    return f"{counted(len(split), 'image')} {digest}"


def _first_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    for section, fields in now.items():
        for key, value in fields.items():
            if before.get(section, {}).get(key) != value:
                return f"{section}.{key} = {before.get(section, {}).get(key)}, asked for was {value}"
    return "other fields"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{path} is no readable record of a study; choose another --out.")
    return found


def _plain(value: Any) -> Any:
    """Return values as JSON has them: no NaN."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
