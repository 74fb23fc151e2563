"""The recipe of a run: frozen dataclasses, stored as one flat TOML file.

Unknown keys are errors that name the nearest known one. Every field can be overridden as ``section.key``.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import tomli_w

from aerostat.errors import InputError, clause, nearest
from aerostat.files import write_text
from aerostat.inference.devices import check_device
from aerostat.inference.slices import MAX_OVERLAP, MAX_SIDE, MIN_SIDE
from aerostat.text import plain, shown

_MAX_TEXT = 256 << 10
_MAX_DOTS = 200

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Freeze = Literal["none", "backbone"]


def _require(section: str, holds: bool, key: str, expected: str, found: object) -> None:
    if not holds:
        raise InputError(f"The recipe's {section}.{key} must be {expected}, found {shown(found)}.")


@dataclass(frozen=True)
class ModelRecipe:
    """The network and the weights that it starts from.

    Args:
        size: nano, tiny, s, m, l or x.
        weights: file or zoo name to start from; empty for fresh weights.
        freeze: ``backbone`` keeps the backbone's weights and batch statistics as they are.
        masks: whether the network also predicts instance masks (RTMDet-Ins).
    """

    size: Literal["nano", "tiny", "s", "m", "l", "x"] = "tiny"
    weights: str = ""
    freeze: Freeze = "none"
    masks: bool = False


@dataclass(frozen=True)
class DataRecipe:
    """How images reach the network.

    Args:
        input_size: side of the square network input in pixels, a multiple of 32.
        threads: decoding and augmenting threads; 0 works in the training thread, -1 follows the processors.
        cache_mb: memory for decoded images.
        slices: side in pixels of the windows of photographs that are trained on and validated by; 0 for whole
            photographs.
        overlap: share of a window's side that neighbours have in common.
    """

    input_size: int = 640
    threads: int = -1
    cache_mb: int = 1024
    slices: int = 0
    overlap: float = 0.2

    def __post_init__(self) -> None:
        size = self.input_size
        is_side = self.slices == 0 or MIN_SIDE <= self.slices <= MAX_SIDE
        _require("data", is_side, "slices", f"0, or {MIN_SIDE} to {MAX_SIDE} pixels", self.slices)
        is_share = 0 <= self.overlap <= MAX_OVERLAP
        _require("data", is_share, "overlap", f"from 0 to {MAX_OVERLAP}", self.overlap)
        _require("data", size >= 32 and size % 32 == 0, "input_size", "a positive multiple of 32", size)
        _require("data", self.threads >= -1, "threads", "-1 or more", self.threads)
        _require("data", self.cache_mb >= 0, "cache_mb", "0 or more", self.cache_mb)


@dataclass(frozen=True)
class AugmentRecipe:
    """Augmentation; the defaults are the published ones of RTMDet-tiny (MMDetection 3 configs).

    Args:
        mosaic: probability of a four-image mosaic in stage 1.
        mixup: probability of blending with a second image in stage 1.
        mosaic_cache, mixup_cache: how many recent images partners are drawn from.
        resize_ratio: random resize, lowest and highest factor of the canvas.
        hue, saturation, value: largest shift in HSV (OpenCV's 0-180 / 0-255 scales).
        flip: probability of a horizontal flip.
        copy_paste: maximum number of outlined objects of other images that are pasted into a sample of
            stage 1.
    """

    mosaic: float = 1.0
    mixup: float = 0.5
    mosaic_cache: int = 20
    mixup_cache: int = 10
    resize_ratio: tuple[float, float] = (0.5, 2.0)
    hue: int = 5
    saturation: int = 30
    value: int = 30
    flip: float = 0.5
    copy_paste: int = 0

    def __post_init__(self) -> None:
        for key in ("mosaic", "mixup", "flip"):
            value = getattr(self, key)
            _require("augment", 0 <= value <= 1, key, "between 0 and 1", value)
        low, high = self.resize_ratio
        _require(
            "augment",
            0 < low <= high < math.inf,
            "resize_ratio",
            "two rising factors above 0",
            self.resize_ratio,
        )
        for key in ("mosaic_cache", "mixup_cache"):
            _require("augment", getattr(self, key) >= 1, key, "at least 1", getattr(self, key))
        for key in ("hue", "saturation", "value", "copy_paste"):
            _require("augment", getattr(self, key) >= 0, key, "0 or more", getattr(self, key))


@dataclass(frozen=True)
class OptimRecipe:
    """AdamW and its batch.

    Args:
        batch_size: images per iteration over all devices.
        accumulate: iterations whose gradients make one optimiser step.
        lr: learning rate after warm-up.
        backbone_lr_factor, head_lr_factor: of the learning rates of backbone and head to `lr`.
        weight_decay: on convolution weights; never on norms and biases.
        clip_grad_norm: largest gradient norm, 0 for no clipping.
        precision: of the forward pass; losses and assignment are always float32.
        mask_loss_stride: pixels between neighbouring cells at which masks are compared: 8, 4 as published,
            2 or 1.
    """

    batch_size: int = 32
    accumulate: int = 1
    lr: float = 0.004
    backbone_lr_factor: float = 1.0
    head_lr_factor: float = 1.0
    weight_decay: float = 0.05
    clip_grad_norm: float = 0.0
    precision: Precision = "32-true"
    mask_loss_stride: int = 4

    def __post_init__(self) -> None:
        _require("optim", self.batch_size >= 1, "batch_size", "at least 1", self.batch_size)
        _require("optim", self.accumulate >= 1, "accumulate", "at least 1", self.accumulate)
        stride = self.mask_loss_stride
        _require("optim", stride in (1, 2, 4, 8), "mask_loss_stride", "1, 2, 4 or 8", stride)
        _require("optim", 0 < self.lr < 1, "lr", "above 0 and below 1", self.lr)
        for key in ("weight_decay", "clip_grad_norm", "backbone_lr_factor", "head_lr_factor"):
            value = getattr(self, key)
            _require("optim", 0 <= value < math.inf, key, "0 or more, and finite", value)


@dataclass(frozen=True)
class ScheduleRecipe:
    """Length of the run, and what changes during it.

    Args:
        epochs: passes over the training images.
        warmup_iterations: linear rise of the learning rate from `warmup_factor` of it.
        warmup_factor: share of the learning rate at which the warm-up begins.
        cosine_start: share of the run after which the learning rate falls along a cosine.
        final_lr_factor: of the learning rate at the end of the cosine.
        freeze_share: share of the run, from its start, in which `model.freeze` holds.
        stage2_share: share of the run, at its end, without Mosaic and MixUp.
        ema_momentum: of the averaged weights, which validation and the saved files use.
        ema_gamma: iterations over which the average's momentum falls from 1 to `ema_momentum`.
        patience: validations without a better AP after which the run stops early, 0 for never.
    """

    epochs: int = 300
    warmup_iterations: int = 1000
    warmup_factor: float = 1e-5
    cosine_start: float = 0.5
    final_lr_factor: float = 0.05
    freeze_share: float = 1.0
    stage2_share: float = 20 / 300
    ema_momentum: float = 0.0002
    ema_gamma: float = 2000.0
    patience: int = 0

    def __post_init__(self) -> None:
        _require("schedule", self.epochs >= 1, "epochs", "at least 1", self.epochs)
        _require(
            "schedule", self.warmup_iterations >= 0, "warmup_iterations", "0 or more", self.warmup_iterations
        )
        for key in (
            "warmup_factor",
            "cosine_start",
            "final_lr_factor",
            "freeze_share",
            "stage2_share",
            "ema_momentum",
        ):
            value = getattr(self, key)
            _require("schedule", 0 <= value <= 1, key, "between 0 and 1", value)
        _require(
            "schedule", 0 < self.ema_gamma < math.inf, "ema_gamma", "above 0, and finite", self.ema_gamma
        )
        _require("schedule", self.patience >= 0, "patience", "0 or more", self.patience)

    @property
    def stage2_epoch(self) -> int:
        """The first epoch (counted from 0) without Mosaic and MixUp; `epochs` without a second stage."""
        return self.epochs - math.floor(self.epochs * self.stage2_share + 0.5)  # a half counts as one


@dataclass(frozen=True)
class EvalRecipe:
    """Validation during the run; the thresholds are the published ones for AP.

    Args:
        interval: epochs between validations; the last epoch is always validated.
        batch_size: images at a time.
        score_threshold, nms_iou, max_detections: see `aerostat.model.decode`.
    """

    interval: int = 1
    batch_size: int = 8
    score_threshold: float = 0.001
    nms_iou: float = 0.65
    max_detections: int = 300

    def __post_init__(self) -> None:
        _require("eval", self.interval >= 1, "interval", "at least 1", self.interval)
        _require("eval", self.batch_size >= 1, "batch_size", "at least 1", self.batch_size)
        _require("eval", self.max_detections >= 1, "max_detections", "at least 1", self.max_detections)
        for key in ("score_threshold", "nms_iou"):
            value = getattr(self, key)
            _require("eval", 0 <= value < 1, key, "at least 0 and below 1", value)


@dataclass(frozen=True)
class RunRecipe:
    """Seed, devices and logging of the run.

    Args:
        seed: of weights, data order and augmentation.
        device: auto, cpu, cuda, cuda:1 or mps, as every function that takes a device.
        devices: how many of them; 1 with the number of a GPU.
        log_interval: iterations between lines of metrics.jsonl.
    """

    seed: int = 0
    device: str = "auto"
    devices: int = 1
    log_interval: int = 1

    def __post_init__(self) -> None:
        _require("run", 0 <= self.seed < 2**32, "seed", "at least 0 and below 2^32", self.seed)
        try:
            check_device(self.device)
        except InputError as error:
            raise InputError(f"The recipe's run.device: {clause(error)}.") from None
        _require("run", self.devices >= 1, "devices", "at least 1", self.devices)
        numbered = ":" in self.device
        _require("run", self.devices == 1 or not numbered, "devices", f"1 with {self.device}", self.devices)
        _require("run", self.log_interval >= 1, "log_interval", "at least 1", self.log_interval)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a run computes, apart from its data.

    Args:
        model: the network and the weights that it starts from.
        data: input size, threads and memory for images.
        augment: ranges and probabilities of the augmentation.
        optim: batch, learning rate, weight decay and precision.
        schedule: number of epochs, warm-up, stage 2, averaging and early stop.
        eval: validation during the run.
        run: seed, devices and logging.

    >>> Recipe().override({"optim": {"lr": 0.001}}).optim.lr
    0.001
    """

    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    eval: EvalRecipe = field(default_factory=EvalRecipe)
    run: RunRecipe = field(default_factory=RunRecipe)

    def freezes_backbone(self, epoch: int) -> bool:
        """Return whether the backbone is frozen in an epoch, counted from 0."""
        learns_from = math.floor(self.schedule.epochs * self.schedule.freeze_share + 0.5)
        return self.model.freeze == "backbone" and epoch < learns_from

    def is_validated(self, epoch: int) -> bool:
        """Return whether there is a validation after an epoch, counted from 1; the last always has one."""
        return epoch == self.schedule.epochs or epoch % self.eval.interval == 0

    def override(self, values: Mapping[str, Mapping[str, Any]], source: str = "the request") -> Recipe:
        """Return the recipe with some fields replaced.

        Args:
            values: section -> key -> value, as TOML gives them.
            source: named in error messages.

        Raises:
            InputError: for an unknown section or key (naming the nearest known one) or an unfit value.

        Example:
            >>> recipe = Recipe().override({"schedule": {"epochs": 40}, "run": {"seed": 1}})
            >>> recipe.schedule.epochs, recipe.run.seed, recipe.schedule.warmup_iterations
            (40, 1, 1000)
        """
        sections = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name, fields in values.items():
            if name not in sections:
                raise InputError(
                    f"Unknown recipe section {shown(name)} in {source}; expected {_names(sections)}."
                    + (_in_section(name) or nearest(name, sections))
                )
            if not isinstance(fields, Mapping):
                raise InputError(
                    f"Recipe section {name!r} in {source} must be a table, found {shown(fields)}."
                )
            sections[name] = _replace(sections[name], name, fields, source)
        return Recipe(**sections)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return section -> key -> plain value."""
        plain: dict[str, dict[str, Any]] = msgspec.to_builtins(self)
        return plain

    def to_toml(self) -> str:
        """Return the recipe as TOML."""
        return tomli_w.dumps(self.to_dict())

    def write(self, path: Path) -> None:
        """Write the recipe as TOML."""
        write_text(path, self.to_toml())


T = TypeVar("T")


def _names(known: Iterable[str]) -> str:
    return ", ".join(known)


def _in_section(key: str) -> str:
    """Return a question that names the sections which have this very key, or an empty string."""
    sections = get_type_hints(Recipe)
    found = [f"{name}.{key}" for name, section in sections.items() if key in get_type_hints(section)]
    return f" Did you mean {' or '.join(map(repr, found))}?" if found else ""


def _replace(section: T, name: str, values: Mapping[str, Any], source: str) -> T:
    types = get_type_hints(type(section))
    converted = {}
    for key, value in values.items():
        if key not in types:
            close = _in_section(key) or nearest(key, types) or f" Known keys: {_names(types)}."
            raise InputError(f"Unknown recipe key {shown(f'{name}.{key}')} in {source}.{close}")
        try:
            converted[key] = msgspec.convert(value, types[key])
        except msgspec.ValidationError as error:
            choices = get_args(types[key]) if get_origin(types[key]) is Literal else ()
            expected = f"expected {_names(choices)}" if choices else error
            raise InputError(
                f"Recipe key '{name}.{key}' in {source}: {expected}, found {shown(value)}."
            ) from None
    replaced: T = dataclasses.replace(section, **converted)  # type: ignore[type-var]
    return replaced


def values_of_fields(fields: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return section -> key -> value for recipe fields by their names alone.

    Args:
        fields: key -> value. Of a key that two sections have, the one that training depends on is meant:
            ``batch_size`` is the optimiser's.

    Raises:
        InputError: for an unknown key, naming the nearest known one.

    >>> values_of_fields({"epochs": 40, "lr": 0.001})
    {'schedule': {'epochs': 40}, 'optim': {'lr': 0.001}}
    """
    section_of: dict[str, str] = {}
    for name, section in get_type_hints(Recipe).items():  # in order, the optimiser before evaluation
        for key in get_type_hints(section):
            section_of.setdefault(key, name)
    values: dict[str, dict[str, Any]] = {}
    for key, value in fields.items():
        if key not in section_of:
            known = nearest(key, section_of) or f" Known fields: {_names(section_of)}."
            raise InputError(f"Unknown recipe field {shown(key)} in the request.{known}")
        values.setdefault(section_of[key], {})[key] = value
    return values


def _parse(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises:
        ValueError: it is not TOML. Numbers of thousands of digits, values nested a thousand deep and keys of
            hundreds of parts are refused too, because the parser takes long for them or recurses.
    """
    if len(text) > _MAX_TEXT:
        raise ValueError(f"it has {len(text)} characters, a recipe has some thousand")
    # The parser reads a dotted key once for each of its parts, and stores them all.
    if any(line.count(".") > _MAX_DOTS for line in text.splitlines()):
        raise ValueError(f"it has a line with more than {_MAX_DOTS} dots")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def read_values(path: Path) -> dict[str, Any]:
    """Return the tables of a recipe file.

    Raises:
        InputError: it is missing, not TOML, or has a key outside of a table.
    """
    try:
        text = path.read_text("utf-8-sig")  # some editors begin a file with a mark
        values = _parse(text)
    except FileNotFoundError:
        raise InputError(f"There is no recipe file {path}.") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path} is no readable TOML recipe: {plain(str(error)[:200])}.") from None
    Recipe().override(values, source=str(path))  # from here on there are only tables of known keys
    return values


def read_recipe(path: Path) -> Recipe:
    """Return the recipe that a file holds, its missing fields filled with the defaults."""
    return Recipe().override(read_values(path), source=str(path))


def parse_assignments(assignments: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return section -> key -> value for texts such as ``optim.lr=0.001``.

    Raises:
        InputError: a text is not of the form ``section.key=value``.
    """
    values: dict[str, dict[str, Any]] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and section and key):
            raise InputError(f"Expected section.key=value, for example optim.lr=0.001, found {text!r}.")
        try:
            parsed = _parse(f"value = {value}")["value"]
        except ValueError:
            parsed = value.strip()  # a bare word is a string
        values.setdefault(section, {})[key] = parsed
    return values
