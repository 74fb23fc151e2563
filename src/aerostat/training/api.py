"""From a data set to a trained detector: resolve the recipe, start or resume, train, tell what came out."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lightning_fabric import Fabric, seed_everything

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import Split
from aerostat.datasets.summary import data_card, require_usable
from aerostat.errors import AerostatError, InputError, clause, nearest
from aerostat.evaluation.advice import AdviceReport, advise
from aerostat.images.read import read_image
from aerostat.inference.devices import choose_device
from aerostat.inference.resolve import load, weights_path
from aerostat.lint.lint import lint, require_clean
from aerostat.lint.listing import LintReport
from aerostat.model import ARCHITECTURES, SIZES, RTMDet, build
from aerostat.runs.curves import plot_training
from aerostat.runs.directory import Run
from aerostat.text import as_text, counted
from aerostat.training.loop import Trainer
from aerostat.training.machine import describe_environment, environment_line, is_main_process
from aerostat.training.position import Position
from aerostat.training.presets import Extent, choose
from aerostat.training.progress import clock
from aerostat.training.recipe import Recipe
from aerostat.training.resume_checks import differences, in_order_of, require_same_classes
from aerostat.weights import zoo
from aerostat.weights.checkpoint import Weights, fit_to, load_weights, read_header
from aerostat.weights.container import version
from aerostat.weights.training_state import load_state

_log = logging.getLogger(__name__)

NANO_WEIGHTS = "rtmdet-nano-person"
"""There is no nano of COCO's 80 classes; the person detector is the widest trained one."""
DEFAULT_SIZE = "tiny"
"""The smallest of which weights of COCO's 80 classes are published."""
PICTURES = 16
"""Validation photographs drawn at the end of a run."""

T = TypeVar("T")
Values = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Args:
        recipe: resolved.
        reasons: why it says what it says, a sentence each.
        train_split, val_split: what it learns from and is validated on, if there is a validation split.
        weights: what it starts from, already read; None for fresh weights.
    """

    recipe: Recipe
    reasons: tuple[str, ...]
    train_split: Split
    val_split: Split | None
    weights: Weights | None


def plan(
    data: Dataset,
    *,
    model: str | None = None,
    weights: str | None = None,
    preset: str = "auto",
    values: Values | None = None,
) -> Plan:
    """Resolve what a run would do, and check that it can.

    Args:
        data: with a training split; see `choose_splits`.
        model: rtmdet-nano, -tiny, -s, -m, -l or -x; None takes that of the weights, else rtmdet-tiny.
        weights: a file, run or zoo name; empty for fresh weights; None takes the zoo's if they are there.
        preset: auto, small or published.
        values: recipe fields that override the preset's, section -> key -> value.

    Raises:
        InputError: if something does not fit, in one sentence.
    """
    Recipe().override(values or {})  # unknown keys are refused before anything else is looked at
    explicit = {section: dict(fields) for section, fields in (values or {}).items()}
    train_split, val_split = choose_splits(data)
    require_usable(data, [split.name for split in (train_split, val_split) if split])
    asked = explicit.get("model", {}).get("weights") if weights is None else weights
    named = explicit.get("model", {}).get("size") or (_size_of(model) if model else None)
    of_weights = read_header(weights_path(asked)).size if asked and not named else DEFAULT_SIZE
    size = named or of_weights
    source, why = _choose_weights(size, asked)
    loaded = load_weights(weights_path(source)) if source else None
    published = {str(name): a.input_size for name, a in ARCHITECTURES.items()}
    schedule, optim = explicit.get("schedule", {}), explicit.get("optim", {})
    asked_size = "input_size" in explicit.get("data", {})
    choice = choose(
        preset,
        size=size,
        train_images=len(train_split),
        weights=source,
        input_size=loaded.header.input_size[0] if loaded else published[size],
        extent=None if asked_size else Extent.of(train_split),
        epochs=schedule.get("epochs"),
        batch_size=optim.get("batch_size"),
        accumulate=optim.get("accumulate", 1),
    )
    differing = _differing(choice.recipe, explicit)
    explicit.setdefault("model", {}).update(size=size, weights=source)
    recipe = choice.recipe.override(explicit)
    if loaded is not None:
        fit_to(loaded, size, data.classes, build(size, len(data.classes)).state_dict(), source)
    return Plan(recipe, (*choice.reasons, why, *differing), train_split, val_split, loaded)


def train(
    data: Dataset,
    *,
    model: str | None = None,
    weights: str | None = None,
    out: Path | str = "runs/train",
    preset: str = "auto",
    epochs: int | None = None,
    values: Values | None = None,
    source: Mapping[str, Any] | None = None,
    strict: bool = False,
) -> Run:
    """Train a detector and return its run directory.

    Args:
        data: with a training split, and a validation split for AP and the best epoch.
        model: rtmdet-nano, -tiny, -s, -m, -l or -x; None takes that of the weights, else rtmdet-tiny.
        weights: a file, run or zoo name; empty for fresh weights; None takes the zoo's if they are there.
        out: the run directory; it must not exist.
        preset: auto, small or published.
        epochs: in place of the preset's; what depends on it follows.
        values: recipe fields that override the preset's, section -> key -> value.
        source: how to read the data again, remembered for resuming: arguments of `Dataset.read`.
        strict: refuse data about which lint has an error or a warning.

    Raises:
        InputError: if the request does not fit; nothing is written.
        AerostatError: if the run fails.
    """
    Recipe().override(values or {})  # so that every section is a table from here on
    explicit = {section: dict(fields) for section, fields in (values or {}).items()}
    if epochs is not None:
        explicit.setdefault("schedule", {})["epochs"] = epochs
    run = Run(Path(out))
    run.require_absent()
    planned = plan(data, model=model, weights=weights, preset=preset, values=explicit)
    recipe = planned.recipe
    findings = look_at(data, strict=strict) if strict or is_main_process() else None
    fabric = _launch(recipe)
    environment = describe_environment()
    net, report = start_network(planned, data.classes)
    if fabric.is_global_zero:
        _log.info(environment_line(environment, fabric.device))
        show_plan(data, planned, findings)
        _log.info(report)
        run.create()
    fabric.barrier()
    trainer = Trainer(
        fabric,
        net,
        planned.train_split,
        planned.val_split,
        recipe=recipe,
        run=run,
        source=_plain(source or {}),
        papers=_papers(run, recipe, environment, data, source or {}, findings),
    )
    with run.kept() if fabric.is_global_zero else nullcontext():
        trainer.begin()
        return _run(trainer)


def resume(
    run: Run | Path | str, data: Dataset | None = None, *, source: Mapping[str, Any] | None = None
) -> Run:
    """Go on with a run from its checkpoint; what was half-written when it died is cleared away.

    What must be the same as before and what may differ stands in `training.resume_checks`; what differs
    is said with both values and taken down in the log.

    Args:
        run: its directory.
        data: the data set; read again from where it was if None.
        source: how to read `data` again, remembered from now on in place of where they were.

    Raises:
        InputError: if there is no checkpoint, the run is finished or being trained, or the data are others.
    """
    run = run if isinstance(run, Run) else Run(Path(run))
    if not run.checkpoint.is_file():
        raise InputError(
            f"{run.path} has no {run.checkpoint.name} to go on from; name the directory of an unfinished run."
        )
    with run.kept() if is_main_process() else nullcontext():
        return _run(_restored(run, data, source))


def _restored(run: Run, data: Dataset | None, source: Mapping[str, Any] | None) -> Trainer:
    """Return the trainer of a run as it was when its state was saved, after looking at what is asked for."""
    state = load_state(run.checkpoint)
    recipe = Recipe().override(state["recipe"], source=str(run.checkpoint))
    position = _position(state, run)
    restart = f"--weights {shlex.quote(str(run.path))}"
    ended = position.epoch >= recipe.schedule.epochs or position.stopped_early
    if ended and not position.unvalidated and run.ended:
        raise InputError(
            f"{run.path} is finished ({position.epoch} of {counted(recipe.schedule.epochs, 'epoch')}); "
            f"start a new run from its weights with {restart}."
        )
    known = state["source"]
    if data is None:
        if not known.get("path"):
            raise InputError(f"{run.path} does not know where its data are; name them.")
        data = Dataset.read(**known)
    require_same_classes(state, data.classes, run.path)
    train_split, val_split = choose_splits(data)
    train_split = in_order_of(state, train_split, run.path, restart)
    require_usable(data, [split.name for split in (train_split, val_split) if split])
    fabric = _launch(recipe)
    environment = describe_environment()
    if fabric.is_global_zero:
        _log.info(environment_line(environment, fabric.device))
    known = known if source is None else _plain(source)
    trainer = Trainer(
        fabric,
        build(recipe.model.size, len(data.classes)),
        train_split,
        val_split,
        recipe=recipe,
        run=run,
        source=known,
        papers=_papers(run, recipe, environment, data, known),
    )
    trainer.restore()
    if fabric.is_global_zero:
        if source is not None:
            run.record_source(known)
        differing = differences(
            state,
            now=trainer.made_with,
            train_split=train_split,
            val_split=val_split,
            recipe=recipe,
            recipe_file=run.recipe,
        )
        _say_where(trainer, differing)
    return trainer


def _position(state: Mapping[str, Any], run: Run) -> Position:
    try:
        return Position(**state["position"])
    except TypeError:
        by = (state.get("made_with") or {}).get("aerostat", "another version")
        raise InputError(
            f"{run.checkpoint} was saved by aerostat {by}, and this aerostat {version()} does not know all "
            "of its state; go on with that version."
        ) from None


def _say_where(trainer: Trainer, differing: Sequence[str]) -> None:
    """Say and take down where a run is gone on with, and what differs from before."""
    position = trainer.position
    _log.info(
        f"going on with {trainer.run.path} after epoch {position.epoch}, iteration {position.batch}"
        + ", at its validation" * position.unvalidated
    )
    for text in differing:
        _log.info(f"  - differs: {text}")
    place = {"epoch": position.epoch + 1, "batch": position.batch + 1}
    trainer.saver.log({"kind": "resume", **place, "differences": list(differing)})


def look_at(data: Dataset, *, strict: bool = False) -> LintReport:
    """Return what lint finds in the time that a training may wait for it.

    Raises:
        InputError: it finds an error or a warning, and the request is `strict`.
    """
    report = lint(data, brief=True)
    if strict:
        require_clean(report)
    return report


def _papers(
    run: Run,
    recipe: Recipe,
    environment: Mapping[str, Any],
    data: Dataset,
    source: Mapping[str, Any],
    findings: LintReport | None = None,
) -> dict[Path, str]:
    """Return what stands in a run's directory for people: its recipe, and where and on what it was made."""
    record = {**environment, "data": dict(source), "data_card": data_card(data).to_dict()}
    if findings is not None:
        record["lint"] = findings.to_dict(most=20)
    return {run.recipe: recipe.to_toml(), run.environment: json.dumps(record, indent=2, default=str)}


def _plain(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a source as JSON gives it back: a path is a text."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(source), default=str))
    return plain


def choose_splits(data: Dataset) -> tuple[Split, Split | None]:
    """Return the split to learn from and the one to validate on: val, else test, else none.

    Raises:
        InputError: if there is no training split.
    """
    splits = data.splits
    if "train" not in splits and len(splits) > 1:
        raise InputError(f"Training needs a split named train; the data have {', '.join(splits)}.")
    train_split = splits["train"] if "train" in splits else next(iter(splits.values()))
    for name in ("val", "test"):
        if name in splits and splits[name] is not train_split:
            return train_split, splits[name]
    return train_split, None


def show_plan(data: Dataset, planned: Plan, findings: LintReport | None = None) -> None:
    """Print the data card, what lint has found, and the recipe's reasons."""
    _log.info(as_text(data_card(data).render(problems=findings is None)))
    if findings is not None:
        _log.info(as_text(findings.render("aerostat lint --json names all")))
    recipe = planned.recipe
    _log.info(
        f"rtmdet-{recipe.model.size} at {recipe.data.input_size} px, "
        f"{counted(recipe.schedule.epochs, 'epoch')}, batch {recipe.optim.batch_size}, "
        f"lr {recipe.optim.lr:g}, seed {recipe.run.seed}"
    )
    for reason in planned.reasons:
        _log.info(f"  - {reason}")
    if planned.val_split is None:
        _log.info("  - there is no val split: nothing is validated and only the last weights are kept")
    elif planned.val_split.name != "val":
        _log.info(f"  - there is no val split: validating on {planned.val_split.name}")


def start_network(planned: Plan, classes: tuple[str, ...]) -> tuple[RTMDet, str]:
    """Return the network in the weights that the run starts from, and a sentence about its head."""
    recipe = planned.recipe
    net = build(recipe.model.size, len(classes))
    if planned.weights is None:
        return net, "fresh weights"
    state, report = fit_to(
        planned.weights, recipe.model.size, classes, net.state_dict(), recipe.model.weights
    )
    net.load_state_dict(state)
    remarks = "".join(f"\n  - {remark}" for remark in planned.weights.header.notes)
    return net, f"{recipe.model.weights}: {report.sentence}{remarks}"


def _launch(recipe: Recipe) -> Fabric:
    device = choose_device(recipe.run.device)
    if recipe.optim.precision == "16-mixed" and device.type == "cpu":
        raise InputError("The precision 16-mixed needs a GPU; on the CPU use bf16-mixed or 32-true.")
    seed_everything(recipe.run.seed, verbose=False)
    try:
        fabric = Fabric(accelerator=device.type, devices=recipe.run.devices, precision=recipe.optim.precision)
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        why = str(error).rstrip(".")
        raise InputError(f"Cannot train on {recipe.run.devices} x {device.type}: {why}.") from None
    return fabric


def _size_of(model: str) -> str:
    size = model.removeprefix("rtmdet-")
    if size not in SIZES:
        names = [f"rtmdet-{name}" for name in SIZES]
        raise InputError(
            f"Unknown model {model!r}; the models are {', '.join(names)}.{nearest(model, names)}"
        )
    return size


def _differing(recipe: Recipe, values: Values) -> list[str]:
    """Return a sentence about the fields that were asked for otherwise than the preset has them, if any."""
    preset = recipe.to_dict()
    asked = [
        f"{section}.{key} = {value}"
        for section, fields in values.items()
        for key, value in fields.items()
        if section != "model" and preset[section][key] != value
    ]
    return [f"asked for instead: {', '.join(asked)}"] if asked else []


def _choose_weights(size: str, weights: str | None) -> tuple[str, str]:
    """Return what to start from and why."""
    if weights:
        return weights, f"starting from {weights}"
    if weights is None:
        name = NANO_WEIGHTS if size == "nano" else f"rtmdet-{size}"
        known = [entry for entry in zoo.entries() if entry.name == name]
        if known and zoo.cached_path(known[0]).is_file():
            return name, f"starting from {name}'s published weights, which are in the cache"
        if known:
            return "", (
                f"starting from fresh weights, which needs many images; --weights {name} would fetch the "
                "published ones"
            )
    return "", "starting from fresh weights"


def _run(trainer: Trainer) -> Run:
    """Train, then draw the curves and some predictions, and say what came out."""
    run = trainer.run
    try:
        position = trainer.fit()
    finally:
        if trainer.fabric.is_global_zero:
            _draw(lambda: plot_training(run.read_metrics(), run.plots) if run.metrics.is_file() else None)
    if not trainer.fabric.is_global_zero:
        return run
    lines = [f"finished {counted(position.epoch, 'epoch')} in {clock(position.seconds)}"]
    if position.stopped_early:
        patience = counted(trainer.recipe.schedule.patience, "validation")
        lines[0] += f": AP did not rise for {patience}"
    lines += _outcome(trainer)
    given = _draw(lambda: _advise(trainer))
    if given and given.advice:
        lines += ["advice:", *(f"  - {one.text}" for one in given.advice)]
    lines += ["next:", *(f"  {command}" for command in run.next_commands(trainer.source))]
    _log.info("\n".join(lines))
    trainer.saver.log({"kind": "end", "epoch": position.epoch, "seconds": round(position.seconds, 1)})
    return run


def _outcome(trainer: Trainer) -> list[str]:
    """Draw what the best weights find, and return lines about all weights."""
    run, position, last = trainer.run, trainer.position, trainer.last_result
    if trainer.val_split is None:
        return [f"  last    {run.last}"]
    if not run.best.is_file():
        raise InputError(f"{run.path} has lost {run.best.name}, which validation wrote; take {run.last}.")
    if last is not None:
        _log.info(f"validation of epoch {position.epoch}:\n{last.render()}\n")
    lines = [
        f"  best    AP {position.best_ap:.3f}  epoch {position.best_epoch}  {run.best}",
        f"  last    AP {last.ap:.3f}  epoch {position.epoch}  {run.last}" if last else f"  {run.last}",
    ]
    split = trainer.val_split
    drawn = _draw(lambda: draw_predictions(run, split))
    if drawn is not None:
        lines.append(f"  {counted(drawn, 'picture')} in {run.predictions}, curves in {run.plots}")
    return lines


def _advise(trainer: Trainer) -> AdviceReport:
    """Ask the last weights what they suggest, and take it down for the report; no advice is no failure."""
    try:
        given = advise(
            load(trainer.run.last),
            trainer.run.read_validations(),
            trainer.train_split,
            trainer.val_split,
            epochs=trainer.recipe.schedule.epochs,
        )
    except AerostatError as error:
        _log.info(f"the run gives no advice: {clause(error)}")
        return AdviceReport()
    given.write(trainer.run.advice)
    return given


def _draw(draw: Callable[[], T]) -> T | None:
    """Draw, or say why not: no picture is a reason to call a training failed."""
    try:
        return draw()
    except OSError as error:
        _log.info(f"pictures could not be written: {error.strerror or error} ({error.filename})")
        return None


def draw_predictions(run: Run, split: Split, count: int = PICTURES) -> int:
    """Draw what the run's best weights find on the first images of a split; returns how many were drawn."""
    detector = load(run.path)
    drawn, stems = 0, set[str]()
    for record, found in detector.predict_images(split.images[:count], on_unreadable=lambda *_: None):
        stem = Path(record.file_name).stem  # may be another image's too, in another folder
        taken = stem.lower() in stems  # which are one file on some systems
        name = f"{stem}_{drawn}.jpg" if taken else f"{stem}.jpg"
        found.draw(read_image(record.location)).save(run.predictions / name)
        stems.add(stem.lower())
        drawn += 1
    return drawn
