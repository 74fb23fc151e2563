"""What a run would do: its recipe with reasons, its splits, and the weights that it starts from."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.rare_classes import rare_classes_text
from aerostat.datasets.records import Split
from aerostat.datasets.summary import data_card, require_usable
from aerostat.errors import InputError, nearest
from aerostat.geometry.postprocess import MASK_NMS_IOU, MAX_MASKS
from aerostat.inference.resolve import weights_path
from aerostat.lint.listing import LintReport
from aerostat.model import ARCHITECTURES, SIZES, RTMDet, build
from aerostat.pipeline.training_windows import window_count
from aerostat.runs.commands import PYTHON, Commands
from aerostat.splitting.holdout import Holdout, hold_out, hold_out_again
from aerostat.text import as_text, counted
from aerostat.training.presets import Choice, Extent, PresetBasis, choose
from aerostat.training.recipe import Recipe
from aerostat.weights import zoo
from aerostat.weights.checkpoint import Weights, fit_to, load_weights, read_header

_log = logging.getLogger(__name__)

NANO_WEIGHTS = "rtmdet-nano-person"
"""There is no nano of COCO's 80 classes. The person detector has seen the most images of those there are."""
MASK_STEP_COST = 1.3
"""Time of a training step with masks, relative to one without (benchmarks/README.md)."""
DEFAULT_SIZE = "tiny"
"""The smallest size with published weights of COCO's 80 classes."""

Values = Mapping[str, Mapping[str, Any]]
"""Recipe fields: section -> key -> value."""


@dataclass(frozen=True)
class TrainRequest:
    """What was asked of a training.

    Args:
        model: rtmdet-nano, -tiny, -s, -m, -l or -x; None takes that of the weights, else rtmdet-tiny.
        weights: a file, run or zoo name; empty for fresh weights; None takes the zoo's if they are cached.
        preset: auto, small or published; the recipe to start from.
        recipe: to start from in place of a preset.
        values: recipe fields that override those.
        val: share of the images that is held out for validation where the data have no split for it; 0 for
            none, None for a fifth of ten images or more.
    """

    model: str | None = None
    weights: str | None = None
    preset: str = "auto"
    recipe: Recipe | None = None
    values: Values = field(default_factory=dict)
    val: float | None = None


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Args:
        recipe: resolved.
        reasons: for its values, a sentence each.
        train_split, val_split: what it learns from and is validated on; None for no validation.
        weights: what it starts from, already read; None for fresh weights.
        data: as it trains on them: with the held-out images in a split of their own.
        holdout: the held-out images; None if the data have a split for validation, or none was wanted.
    """

    recipe: Recipe
    reasons: tuple[str, ...]
    train_split: Split
    val_split: Split | None
    weights: Weights | None
    data: Dataset
    holdout: Holdout | None = None


def plan(data: Dataset, request: TrainRequest | None = None, commands: Commands = PYTHON) -> Plan:
    """Return what a run would do, after checking that it can.

    Args:
        data: with a training split; see `choose_splits`.
        request: what is asked for.
        commands: what to type, as the caller words it.

    Raises:
        InputError: something does not fit, in one sentence.
    """
    request = request or TrainRequest()
    # Unknown keys are refused before anything else is looked at.
    Recipe().override(request.values)
    explicit = {section: dict(fields) for section, fields in request.values.items()}
    train_split, val_split = choose_splits(data)
    require_usable(data, [split.name for split in (train_split, val_split) if split])
    size, asked = _size_and_weights(request, explicit.get("model", {}))
    source, why = _choose_weights(size, asked, commands, masks=bool(_asked_masks(request)))
    loaded = load_weights(weights_path(source)) if source else None
    data, holdout = _with_validation(data, request.val)
    train_split, val_split = choose_splits(data)
    masks, about_masks = _choose_masks(_asked_masks(request), loaded, train_split, commands)
    choice = _start_of(request, size, source, loaded, train_split, masks=masks, commands=commands)
    if masks and request.recipe is None:
        recipe = choice.recipe.override({"eval": {"nms_iou": MASK_NMS_IOU, "max_detections": MAX_MASKS}})
        choice = replace(choice, recipe=recipe)
    differing = _differing(choice.recipe, explicit)
    explicit.setdefault("model", {}).update(size=size, weights=source, masks=masks)
    recipe = choice.recipe.override(explicit)
    if loaded is not None:
        fit_to(loaded, size, data.classes, build(size, len(data.classes), masks).state_dict(), source)
    rare = rare_classes_text(train_split)
    about_classes = [f"{rare}: expect a low AP for them"] if rare else []
    reasons = (*choice.reasons, why, *about_masks, *about_classes, *differing)
    return Plan(recipe, reasons, train_split, val_split, loaded, data, holdout)


def _asked_masks(request: TrainRequest) -> bool | None:
    """Return whether masks are asked for; None leaves it to the weights."""
    of_recipe = None if request.recipe is None else request.recipe.model.masks
    masks: bool | None = request.values.get("model", {}).get("masks", of_recipe)
    return masks


def _choose_masks(
    asked: bool | None, loaded: Weights | None, train_split: Split, commands: Commands
) -> tuple[bool, list[str]]:
    """Return whether the network has masks, and what there is to say about that.

    Without a request it has the task of the weights, and boxes alone without weights.

    Raises:
        InputError: masks are asked for, but no object has an outline.
    """
    wanted = asked if asked is not None else loaded is not None and loaded.header.masks
    instances = train_split.images.instances
    trained, outlined = (int(x.sum()) for x in (~instances.crowd, ~instances.crowd & instances.has_masks()))
    if wanted and not outlined:
        leave = "leave `masks` out" if asked else "or train without masks, by `masks=False`"
        raise InputError(
            f"Masks cannot be learned: none of the {counted(trained, 'object')} of {train_split.name} has an "
            f"outline or a mask; annotate outlines, {leave}."
        )
    if not wanted:
        hint = (
            f"{outlined} of {counted(trained, 'object')} have outlines: {commands.parameter('masks')} would "
        )
        hint += f"also train instance masks; a step then takes about {MASK_STEP_COST:g} times as long"
        return False, [hint] if outlined and asked is None else []
    text = f"instance masks: {outlined} of {counted(trained, 'object')} have outlines"
    if outlined < trained:
        text += f"; the other {trained - outlined} train boxes and are left out of the mask loss"
    return True, [text]


def _with_validation(data: Dataset, val: float | None) -> tuple[Dataset, Holdout | None]:
    """Return the data with images held out for validation where they have no split for it, and which.

    Raises:
        InputError: the share is impossible, or the data have a split for validation.
    """
    if val is not None and not 0 <= val < 1:
        raise InputError(f"Expected `val` to be at least 0 and below 1, found {val:g}.")
    train_split, val_split = choose_splits(data)
    if val_split is not None and val:
        raise InputError(
            f"The data have a split {val_split.name!r} for validation, so `val={val:g}` would do nothing; "
            "leave it out."
        )
    return (data, None) if val_split is not None or val == 0 else hold_out(data, train_split, val)


def _size_and_weights(request: TrainRequest, of_model: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the size of the network, and the weights that are asked for; None leaves the choice."""
    recipe = request.recipe
    of_recipe = recipe.model.weights if recipe else None
    asked = of_model.get("weights", of_recipe) if request.weights is None else request.weights
    named = of_model.get("size") or (_size_of(request.model) if request.model else None)
    if named is None and recipe is not None:
        named = recipe.model.size
    return named or (read_header(weights_path(asked)).size if asked else DEFAULT_SIZE), asked


def _start_of(
    request: TrainRequest,
    size: str,
    source: str,
    loaded: Weights | None,
    train_split: Split,
    *,
    masks: bool,
    commands: Commands,
) -> Choice:
    """Return the recipe that the asked values override, with its reasons."""
    if request.recipe is not None:
        return Choice(request.recipe, ("the recipe as it was given",))
    published = {str(name): a.input_size for name, a in ARCHITECTURES.items()}
    data, schedule, optim = (request.values.get(name, {}) for name in ("data", "schedule", "optim"))
    if data.get("slices"):
        return _start_of_windows(request, size, source, train_split, commands)
    basis = PresetBasis(
        size=size,
        train_images=len(train_split),
        weights=source,
        input_size=loaded.header.input_size[0] if loaded else published[size],
        extent=None if "input_size" in data else Extent.of(train_split),
        epochs=schedule.get("epochs"),
        batch_size=optim.get("batch_size"),
        accumulate=optim.get("accumulate", 1),
        fresh_head=masks and loaded is not None and not loaded.header.masks,
    )
    return choose(request.preset, basis, commands)


def _start_of_windows(
    request: TrainRequest, size: str, source: str, train_split: Split, commands: Commands
) -> Choice:
    """Return the recipe for windows of photographs: they are the images, and the input is as large as they.

    Raises:
        InputError: objects of other images would be pasted in.
    """
    data, schedule, optim = (request.values.get(name, {}) for name in ("data", "schedule", "optim"))
    asked = Recipe().override({"data": data}).data  # refuses what is out of range
    if request.values.get("augment", {}).get("copy_paste"):
        raise InputError(
            "Objects are pasted into whole photographs only; leave `copy_paste` or `slices` out."
        )
    windows = window_count(train_split.images, asked.slices, asked.overlap)
    basis = PresetBasis(
        size=size,
        train_images=windows,
        weights=source,
        input_size=max(32, round(asked.slices / 32) * 32),
        epochs=schedule.get("epochs"),
        batch_size=optim.get("batch_size"),
        accumulate=optim.get("accumulate", 1),
    )
    choice = choose(request.preset, basis, commands)
    reason = (
        f"{counted(windows, 'window')} of {asked.slices} px of {counted(len(train_split), 'photograph')}: "
        "all with objects, and at most as many without"
    )
    return replace(choice, reasons=(reason, *choice.reasons))


def choose_splits(data: Dataset) -> tuple[Split, Split | None]:
    """Return the split to learn from and the one to validate on: val, else test, else None.

    Raises:
        InputError: there is no training split.
    """
    splits = data.splits
    if "train" not in splits and len(splits) > 1:
        raise InputError(f"Training needs a split named train; the data have {', '.join(splits)}.")
    train_split = splits["train"] if "train" in splits else next(iter(splits.values()))
    for name in ("val", "test"):
        if name in splits and splits[name] is not train_split:
            return train_split, splits[name]
    return train_split, None


def with_held_out(data: Dataset, file_names: Collection[str]) -> Dataset:
    """Return data with the held-out images of a run in a validation split, unless they have such a split.

    Args:
        data: of the run, as they are read now.
        file_names: of the images that it held out; empty if it held nothing out.
    """
    train_split, val_split = choose_splits(data)
    if val_split is not None or not file_names:
        return data
    return hold_out_again(data, train_split, file_names)


def show_plan(planned: Plan, findings: LintReport | None = None, commands: Commands = PYTHON) -> None:
    """Log the data card, what lint has found, and the recipe with its reasons."""
    _log.info(as_text(data_card(planned.data).render(problems=findings is None)))
    if findings is not None:
        _log.info(as_text(findings.render(commands.lint, commands.repair)))
    recipe = planned.recipe
    _log.info(
        f"rtmdet-{recipe.model.size} at {recipe.data.input_size} px, "
        f"{counted(recipe.schedule.epochs, 'epoch')}, batch {recipe.optim.batch_size}, "
        f"lr {recipe.optim.lr:g}, seed {recipe.run.seed}"
    )
    for reason in planned.reasons:
        _log.info(f"  - {reason}")
    if planned.holdout is not None:
        _show_holdout(planned.holdout, commands)
    if planned.val_split is None:
        _log.info("  - there is no val split: nothing is validated and only the last weights are kept")
    elif planned.holdout is None and planned.val_split.name != "val":
        _log.info(f"  - there is no val split: validating on {planned.val_split.name}")


def _show_holdout(holdout: Holdout, commands: Commands) -> None:
    held = len(holdout.file_names)
    if held:
        _log.info(
            f"  - there is no val split: {held} of {counted(holdout.images, 'image')} are held out for "
            f"validation ({commands.argument('val', 0)} learns from all)"
        )
        _log.info(f"    {holdout.together}")
    for warning in holdout.warnings:
        _log.warning(warning)


def start_network(planned: Plan, classes: tuple[str, ...]) -> tuple[RTMDet, str]:
    """Return the network in the weights that a run starts from, and a sentence about its head."""
    recipe = planned.recipe
    net = build(recipe.model.size, len(classes), recipe.model.masks)
    if planned.weights is None:
        return net, "fresh weights"
    state, report = fit_to(
        planned.weights, recipe.model.size, classes, net.state_dict(), recipe.model.weights
    )
    net.load_state_dict(state)
    remarks = "".join(f"\n  - {remark}" for remark in planned.weights.header.notes)
    return net, f"{recipe.model.weights}: {report.sentence}{remarks}"


def _size_of(model: str) -> str:
    size = model.removeprefix("rtmdet-")
    if size not in SIZES:
        names = [f"rtmdet-{name}" for name in SIZES]
        raise InputError(
            f"Unknown model {model!r}; the models are {', '.join(names)}.{nearest(model, names)}"
        )
    return size


def _differing(recipe: Recipe, values: Values) -> list[str]:
    """Return a sentence about the asked values that differ from the recipe's, if there are any."""
    before = recipe.to_dict()
    asked = [
        f"{section}.{key} = {value}"
        for section, fields in values.items()
        for key, value in fields.items()
        if section != "model" and before[section][key] != value
    ]
    return [f"asked for instead: {', '.join(asked)}"] if asked else []


def _choose_weights(
    size: str, weights: str | None, commands: Commands, *, masks: bool = False
) -> tuple[str, str]:
    """Return what to start from, empty for fresh weights, and why; with masks for a run with masks."""
    if weights:
        return weights, f"starting from {weights}"
    if weights is None:
        name = NANO_WEIGHTS if size == "nano" else f"rtmdet-{'ins-' * masks}{size}"
        known = [entry for entry in zoo.entries() if entry.name == name]
        if known and zoo.cached_path(known[0]).is_file():
            return name, f"starting from {name}'s published weights, which are in the cache"
        if known:
            return "", (
                f"starting from fresh weights, which needs many images; {commands.argument('weights', name)} "
                "would fetch the published ones"
            )
    return "", "starting from fresh weights"
