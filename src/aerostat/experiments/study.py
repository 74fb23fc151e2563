"""Studies: recipes trained over seeds or folds, their mean and spread, and which recipe is better."""

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
from aerostat.evaluation.coco import CocoResult
from aerostat.evaluation.evaluate import evaluate, validation_slices
from aerostat.experiments.statistics import Difference, Spread, difference, judged, spread
from aerostat.files import write_text
from aerostat.inference.resolve import load
from aerostat.inference.tta import TTA
from aerostat.progress import activity, log_to
from aerostat.runs.commands import PYTHON, Commands
from aerostat.runs.directory import Run
from aerostat.runs.metrics import best_of, lines_of
from aerostat.text import counted, listed
from aerostat.training.plan import TrainRequest, choose_splits, plan
from aerostat.training.progress import clock
from aerostat.training.recipe import Recipe, read_recipe
from aerostat.training.resume_checks import Fingerprint
from aerostat.training.runner import RunOptions, resume_run, start_run
from aerostat.training.signals import InterruptedRunError

_log = logging.getLogger(__name__)

BOX_MEASURES = {"ap": "AP", "ap50": "AP50", "best_ap": "best epoch", "tta_ap": "AP with TTA"}
"""Figures of every recipe. The first is the headline: AP of the averaged weights of the last epoch."""
MASK_MEASURES = {
    "mask_ap": "mask AP",
    "ap": "box AP",
    "best_mask_ap": "best epoch",
    "tta_mask_ap": "mask AP with TTA",
    "tta_ap": "box AP with TTA",
}
"""Figures of recipes that all have masks; the first is the headline."""
MIXED_MEASURES = {**BOX_MEASURES, "mask_ap": "mask AP"}
"""Figures where some recipes have masks: boxes are what all of them have."""


@dataclass(frozen=True)
class Arm:
    """One recipe of a study.

    Args:
        name: of the recipe in tables and pictures.
        request: what is asked of its runs; each run has its own seed.
    """

    name: str
    request: TrainRequest = dataclasses.field(default_factory=TrainRequest)


@dataclass(frozen=True)
class Trial:
    """One run of a study. Its figures are NaN until it is finished.

    Args:
        arm: name of its recipe.
        seed: of the run, and of the folds.
        fold: counted from 1; 0 where the data's own splits are used.
        ap, ap50: of the averaged weights of the last epoch.
        best_ap, best_epoch: of the best epoch, which is chosen on the validation images themselves, with
            masks by their AP.
        tta_ap: of the last epoch with test-time augmentation; None where it was not asked for.
        seconds: that the training took.
        mask_ap, best_mask_ap, tta_mask_ap: the same figures of masks; None where there are none.
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
    mask_ap: float | None = None
    best_mask_ap: float | None = None
    tta_mask_ap: float | None = None

    @property
    def pair(self) -> tuple[int, int]:
        """Seed and fold: runs of other recipes with the same pair are compared with this one."""
        return self.seed, self.fold


@dataclass(frozen=True)
class Comparison:
    """One recipe against another."""

    ours: str
    theirs: str
    difference: Difference


@dataclass(frozen=True)
class Study:
    """The result of a study.

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

    @property
    def headline(self) -> str:
        """The measure that decides between recipes: AP of masks if all of them have masks, else of boxes."""
        return "mask_ap" if all(self.values(arm, "mask_ap") for arm in self.arms) else "ap"

    @property
    def measures(self) -> dict[str, str]:
        """Names and titles of the figures that at least one recipe has, the headline first."""
        any_masks = any(self.values(arm, "mask_ap") for arm in self.arms)
        named = MASK_MEASURES if self.headline == "mask_ap" else MIXED_MEASURES if any_masks else BOX_MEASURES
        return {m: title for m, title in named.items() if any(self.values(arm, m) for arm in self.arms)}

    def values(self, arm: str, measure: str = "ap") -> list[float]:
        """Return a figure of each run of a recipe; empty if it was not measured."""
        found = [getattr(trial, measure) for trial in self.trials if trial.arm == arm]
        return [] if any(value is None for value in found) else found

    def spread(self, arm: str, measure: str = "") -> Spread:
        """Return mean, deviation and interval of a figure of a recipe, by default of the headline."""
        return spread(self.values(arm, measure or self.headline), test_share=self.test_share)

    def comparisons(self, measure: str = "") -> list[Comparison]:
        """Return every recipe against every earlier one, on the same seeds and folds, by the headline."""
        measure = measure or self.headline
        pairs = [(b, a) for a, b in itertools.combinations(self.arms, 2)]
        found = judged(
            [difference(self.values(a, measure), self.values(b, measure), test_share=self.test_share)
             for a, b in pairs]
        )  # fmt: skip
        return [Comparison(a, b, d) for (a, b), d in zip(pairs, found, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: every run, every recipe, every comparison; NaN is None."""
        best = "best_mask_ap" if self.headline == "mask_ap" else "best_ap"
        return {
            "headline": f"{self.headline}: averaged weights of the last epoch",
            "optimistic": f"{best}: the best epoch is chosen on the validation images that it is scored on",
            "trials": [_plain(dataclasses.asdict(trial)) for trial in self.trials],
            "recipes": {
                arm: {
                    m: _plain(dataclasses.asdict(self.spread(arm, m)))
                    for m in self.measures
                    if self.values(arm, m)
                }
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
    tta: bool = False,
    commands: Commands = PYTHON,
) -> Study:
    """Train every recipe on every seed or fold and return the results; finished runs are not repeated.

    Args:
        data: with a training split, and without folds a validation split.
        arms: the recipes; the others are compared with the first.
        out: directory of the study; a run is in `out`/RECIPE/seed-N or `out`/RECIPE/fold-K-seed-N.
        seeds: of the runs.
        folds: number of parts of the training split. Each part is validated on once, by a run that learns
            from the others; a validation split of the data is not used. 0 uses the data's own splits.
        tta: also score the last weights with test-time augmentation.
        commands: what to type next, as the caller words it.

    Raises:
        InputError: the request does not fit the data or what stands in `out`.
        AerostatError: a run failed; finished runs stay.
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
    first = parts[trials[0].pair]
    _write_study(out, data, arms, first, folds=folds, tta=tta)
    done = _run_all(out, trials, arms, parts, tta=tta, commands=commands)
    share = len(first.split("val")) / len(first.split("train")) if folds else 0.0
    names = [arm.name for arm in arms]
    found = Study(out, tuple(sorted(done, key=lambda trial: names.index(trial.arm))), share)
    write_text(out / "results.json", json.dumps(found.to_dict(), indent=2))
    return found


def _run_all(
    out: Path,
    trials: Sequence[Trial],
    arms: Sequence[Arm],
    parts: Mapping[tuple[int, int], Dataset],
    *,
    tta: bool,
    commands: Commands,
) -> list[Trial]:
    """Return all trials with their figures, after making the runs that are not finished."""
    by_name = {arm.name: arm for arm in arms}
    done: list[Trial] = []
    began, worked = time.monotonic(), 0
    with activity() as show:
        for number, trial in enumerate(trials, 1):
            place = folder_of(out, trial)
            known = _finished(place / "trial.json", trial)
            if known is None:
                now = time.monotonic()
                ends = now + (now - began) / worked * (len(trials) - number + 1) if worked else None
                begun = f"run {number} of {len(trials)}: {_title(trial)}"
                show(partial(state_of, begun, ends, Run(place / "run")))
                try:
                    known = _run(place, trial, by_name[trial.arm], parts[trial.pair], tta, commands)
                except InterruptedRunError as stopped:
                    # The run alone does not know where its data are: the study has to be repeated.
                    raise InterruptedRunError(
                        f"{_title(trial)}: {stopped.what}.", stopped.signal_number, commands.repeat
                    ) from None
                worked += 1
                _log.info(_figures(known))
            done.append(known)
    return done


def fold_of(data: Dataset, folds: int, fold: int, seed: int) -> Dataset:
    """Return the data of one run: their own splits, or one fold of the training split against the others.

    Images are dealt to the folds in the order of their numbers of objects, which makes the folds alike.
    Images with equal numbers are shuffled by the seed.

    Args:
        data: with a training split.
        folds: number of folds; 0 for the data's own splits.
        fold: number of this fold, from 1.
        seed: another seed makes other folds.
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
    """Return the folder of a run of a study."""
    name = f"fold-{trial.fold}-seed-{trial.seed}" if trial.fold else f"seed-{trial.seed}"
    return out / slug(trial.arm) / name


def slug(name: str) -> str:
    """Return a folder name for a recipe's name: what is not a letter, digit, dot or dash becomes a dash."""
    safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip(".-")[:60]
    if safe == name:
        return safe
    return f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"  # another name may have the same letters


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
        raise InputError("The data have no val split to score the runs on; use `folds` 5.")


def _require_scores(parts: Mapping[tuple[int, int], Dataset]) -> None:
    """Raise InputError if a run would be scored where nothing is to be found: AP is undefined there."""
    for (seed, fold), part in parts.items():
        if part.split("val").box_count:
            continue
        if fold:
            raise InputError(
                f"Fold {fold} of seed {seed} holds no object to score a run on; use fewer folds."
            )
        raise InputError("The data's val split holds no object to score a run on; use `folds` 5.")


def _write_study(
    out: Path, data: Dataset, arms: Sequence[Arm], part: Dataset, *, folds: int, tta: bool
) -> None:
    """Write what the study is, after checking every recipe and that `out` holds the same study."""
    path = out / "study.json"
    if out.exists() and not path.is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already and is no study; choose another `out`.")
    recipes: dict[str, Any] = {}
    for arm in arms:
        recipes[arm.name] = _as_read_again(plan(part, arm.request).recipe)
    record: dict[str, Any] = {
        "classes": list(data.classes),
        "images": _fingerprint(choose_splits(data)[0]),
        "validation images": None if folds else _fingerprint(part.split("val")),
        "folds": folds,
        "tta": tta,
        "recipes": recipes,
    }
    if path.is_file():
        before = _read(path)
        before.setdefault("validation images", record["validation images"])  # older studies do not tell
        for key in ("classes", "folds", "tta", "images", "validation images"):
            if before.get(key) != record[key]:
                raise InputError(
                    f"The study in {out} has other {key} ({before.get(key)}, asked for were {record[key]}); "
                    "choose another `out`."
                )
        for name, stored in before.get("recipes", {}).items():
            recipe = _with_new_fields(stored)
            if name in recipes and recipes[name] != recipe:
                other = _first_difference(recipe, recipes[name])
                raise InputError(
                    f"The study in {out} has a recipe {name!r} with {other}; choose another name or `out`."
                )
        record["recipes"] = {**before.get("recipes", {}), **recipes}
    write_text(path, json.dumps(record, indent=2))


def _run(place: Path, trial: Trial, arm: Arm, part: Dataset, tta: bool, commands: Commands) -> Trial:
    """Make one run, or resume it, with its log in a file beside it."""
    run = Run(place / "run")
    place.mkdir(parents=True, exist_ok=True)
    values = {section: dict(fields) for section, fields in arm.request.values.items()}
    values.setdefault("run", {})["seed"] = trial.seed
    options = RunOptions(commands=commands)
    with log_to(place / "log.txt"):
        make_run(run, part, dataclasses.replace(arm.request, values=values), options)
        lines = run.read_metrics()
        scores = lines_of(lines, "val", "ap")
        last, best = scores[-1], best_of(scores)
        assert best is not None
        with_tta = score_run(run, part.split("val"), tta=True) if tta else None
    found = dataclasses.replace(
        trial,
        ap=last["ap"],
        ap50=last["ap50"],
        best_ap=best["ap"],
        best_epoch=best["epoch"],
        tta_ap=with_tta.ap if with_tta else None,
        seconds=lines[-1].get("seconds", 0.0),
        mask_ap=last.get("mask_ap"),
        best_mask_ap=best.get("mask_ap"),
        tta_mask_ap=with_tta.masks.ap if with_tta and with_tta.masks else None,
    )
    write_text(place / "trial.json", json.dumps(dataclasses.asdict(found)))
    return found


def make_run(run: Run, data: Dataset, request: TrainRequest, options: RunOptions) -> None:
    """Train a run to its end: begin it, resume it, or leave it as it is.

    Args:
        run: its directory. What was stopped before its first checkpoint is begun again.
        data: that it learns from.
        request: what is asked of it.
        options: how it is done.

    Raises:
        InputError: the request does not fit, or the data are others than before.
        AerostatError: the run fails or is interrupted.
    """
    if run.checkpoint.is_file():
        # The last validation may be due although all epochs are finished.
        if not run.ended:
            resume_run(run, data, options)
        return
    if run.path.exists():
        shutil.rmtree(run.path)
    start_run(data, run.path, request, options)


def score_run(run: Run, split: Split, *, tta: TTA | bool = False) -> CocoResult:
    """Return the figures of a run's last weights as its own validation scores, or with views.

    Args:
        run: finished.
        split: the ground truth.
        tta: test-time augmentation; True for the default views.

    Raises:
        InputError: the run or its weights cannot be read.
    """
    asked = read_recipe(run.recipe).eval
    detector = load(run.last)
    return evaluate(
        detector,
        split,
        slices=validation_slices(detector),
        score=asked.score_threshold,
        nms_iou=asked.nms_iou,
        max_detections=asked.max_detections,
        tta=tta,
        on_unreadable=lambda record, _: _log.info(f"left out, as in validation: {record.file_name}"),
    )


def state_of(begun: str, ends: float | None, run: Run) -> str:
    """Return the progress of a study in a line, with the epoch of its present run.

    Args:
        begun: title of the present run.
        ends: when the study ends at its present pace, by `time.monotonic`; None if unknown.
        run: the present run.
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
    """Return the figures of a finished run, else None."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        found = Trial(**json.loads(path.read_text("utf-8")))
        if (found.arm, found.pair) == (trial.arm, trial.pair):
            return found
    return None


def _figures(trial: Trial) -> str:
    """Return the figures of a finished run in a line."""
    boxes = "AP" if trial.mask_ap is None else "box AP"
    kinds = [(boxes, trial.ap, trial.tta_ap, trial.best_ap)]
    if trial.mask_ap is not None and trial.best_mask_ap is not None:
        kinds.insert(0, ("mask AP", trial.mask_ap, trial.tta_mask_ap, trial.best_mask_ap))
    parts = [
        f"{name} {last:.3f} after the last epoch"
        + (f", {with_tta:.3f} with TTA" if with_tta is not None else "")
        + f"; best epoch {best:.3f}"
        for name, last, with_tta, best in kinds
    ]
    return f"{_title(trial)}: {'; '.join(parts)}; {clock(trial.seconds)}"


def _title(trial: Trial) -> str:
    fold = f"fold {trial.fold}, " if trial.fold else ""
    return f"{trial.arm}, {fold}seed {trial.seed}"


def _fingerprint(split: Split) -> str:
    """Return a short text that differs for other images or boxes."""
    known = Fingerprint.of(split)
    digest = hashlib.sha256(json.dumps(known.names).encode() + known.checks.tobytes()).hexdigest()[:12]
    return f"{counted(len(split), 'image')} {digest}"


def _with_new_fields(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored recipe with the defaults of the fields that it is too old to have."""
    defaults = _as_read_again(Recipe())
    return {section: {**fields, **recipe.get(section, {})} for section, fields in defaults.items()}


def _as_read_again(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as the record of a study holds it: JSON values, without the seed."""
    fields: dict[str, Any] = json.loads(json.dumps(recipe.to_dict()))
    fields["run"].pop("seed")
    return fields


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
        raise InputError(f"{path} is no readable record of a study; choose another `out`.")
    return found


def _plain(value: Any) -> Any:
    """Return values as JSON has them: no NaN."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
