"""The training pipeline of a config: input size and augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aerostat.migration.table import Draft, Row
from aerostat.openmmlab.config import Config
from aerostat.openmmlab.values import type_name
from aerostat.openmmlab.work_dir import datasets_in, pair_of_sides, test_size

Step = dict[str, Any]

_SILENT = frozenset(
    [
        "LoadImageFromFile",
        "LoadAnnotations",
        "PackDetInputs",
        "LoadImageFromNDArray",
        "FilterAnnotations",
        "DefaultFormatBundle",
        "Collect",
        "Pad",
        "RandomCrop",
        "Resize",
        "LetterResize",
        "YOLOv5KeepRatioResize",
        "RemoveDataElement",
    ]
)
_MOSAIC = ("CachedMosaic", "Mosaic")
_MIXUP = ("CachedMixUp", "MixUp", "YOLOv5MixUp", "YOLOXMixUp")
_RESIZE = ("RandomResize",)
_HSV = ("YOLOXHSVRandomAug", "YOLOv5HSVRandomAug")
_FLIP = ("RandomFlip",)
_KNOWN = frozenset((*_SILENT, *_MOSAIC, *_MIXUP, *_RESIZE, *_HSV, *_FLIP))

_TITLES = {"mosaic": "Mosaic", "mixup": "MixUp"}
_CACHES = {
    "CachedMosaic": 40,
    "Mosaic": 40,
    "CachedMixUp": 20,
    "YOLOv5MixUp": 20,
    "MixUp": 20,
    "YOLOXMixUp": 20,
}
"""Images that these transforms keep by default."""


@dataclass(frozen=True)
class Pipelines:
    """The pipelines that training runs.

    Args:
        first: steps of stage 1.
        second: steps of stage 2; empty without a second stage.
        key: name of the first one in the table.
    """

    first: tuple[Step, ...]
    second: tuple[Step, ...]
    key: str = "train pipeline"


def steps_of(pipeline: Any) -> tuple[Step, ...]:
    """Return the steps of a pipeline that are dictionaries, those within `RandomApply` and its like, too."""
    found: list[Step] = []
    for step in pipeline if isinstance(pipeline, list | tuple) else ():
        if isinstance(step, dict):
            found.append(step)
    return tuple(found)


def pipelines_of(config: Config) -> Pipelines:
    """Return the pipelines of both stages, as the data loader and the hooks state them."""
    datasets = datasets_in(config.get("train_dataloader", "dataset"))
    outer = [d for d in datasets if type_name(d.get("type")) == "MultiImageMixDataset"]
    inner = [d for d in datasets if d.get("pipeline") and d not in outer]
    first = (
        *steps_of(inner[0].get("pipeline") if inner else None),
        *steps_of(outer[0].get("pipeline") if outer else None),
    )
    second: tuple[Step, ...] = ()
    for hook in steps_of(config.get("custom_hooks")):
        if type_name(hook.get("type")) == "PipelineSwitchHook":
            second = steps_of(hook.get("switch_pipeline"))
    return Pipelines(first, second)


def one(steps: tuple[Step, ...], names: tuple[str, ...]) -> Step | None:
    """Return the first step of one of these types."""
    return next((step for step in steps if type_name(step.get("type")) in names), None)


def map_augmentation(config: Config, draft: Draft) -> None:
    """Map input size and augmentation."""
    found = pipelines_of(config)
    if not found.first:
        draft.leave(
            "train_dataloader.dataset.pipeline", None, "no pipeline is stated; it is the published one"
        )
        _test_size(config, draft, draft.values.get("data", {}).get("input_size", 640))
        return
    side = _input_size(config, found, draft)
    mosaic, mixup = one(found.first, _MOSAIC), one(found.first, _MIXUP)
    _mixing("mosaic", mosaic, draft, found.key)
    _mixing("mixup", mixup, draft, found.key)
    if mosaic is None and mixup is None:
        draft.set("schedule.stage2_share", 1.0)
    _resize(found, side, mosaic is None and mixup is None, draft)
    _colours(one(found.first, _HSV), draft)
    _flip(one(found.first, _FLIP), draft)
    _others(found, draft)


# --- input size


def _input_size(config: Config, found: Pipelines, draft: Draft) -> int:
    """Set the side of the network's input, and return it."""
    sources: tuple[tuple[tuple[str, ...], str], ...] = (
        (("RandomCrop",), "crop_size"),
        (("Pad",), "size"),
        (_MOSAIC, "img_scale"),
        (("Resize", "RandomResize", "LetterResize", "YOLOv5KeepRatioResize"), "scale"),
    )
    for names, key in sources:
        step = one(found.first, names)
        stated = step.get(key) if step else None
        pair = pair_of_sides(stated)
        if step is None or pair is None or step.get("crop_type", "absolute") != "absolute":
            continue
        side = max(pair)
        why = ""
        if not _is_square(stated, side):
            why = "the input is a square whose side is a multiple of 32; the larger side is taken"
        draft.take("data.input_size", side, f"{type_name(step['type'])}.{key}", stated, why)
        _test_size(config, draft, side)
        return side
    draft.leave("train pipeline", None, "it states no size; the input is 640 px, as published")
    draft.set("data.input_size", 640)
    _test_size(config, draft, 640)
    return 640


def _is_square(stated: Any, side: int) -> bool:
    return stated == side or (isinstance(stated, list | tuple) and list(stated) == [side, side])


def _test_size(config: Config, draft: Draft, side: int) -> None:
    for key in ("val_dataloader", "test_dataloader"):
        pair = test_size(config.get(key, "dataset"))
        if pair is not None and pair != (side, side):
            draft.adapt(
                f"{key} Resize",
                pair,
                f"validation has the input of training, {side} px; name another input size to evaluate",
            )
            return


# --- steps


def _probability(step: Step, default: float = 1.0) -> Any:
    return step.get("prob", default)


def _mixing(name: str, step: Step | None, draft: Draft, key: str) -> None:
    """Map Mosaic or MixUp: its probability and its cache."""
    if step is None:
        draft.take(f"augment.{name}", 0.0, f"{key} without {_TITLES[name]}", "")
        return
    kind = type_name(step["type"])
    draft.take(f"augment.{name}", _probability(step), f"{kind}.prob")
    cached = kind.startswith("Cached") or bool(step.get("use_cached"))
    images = step.get("max_cached_images", _CACHES[kind])
    why = "" if cached else "partners come from the images before, not from the whole data set"
    draft.take(f"augment.{name}_cache", images, f"{kind}.max_cached_images", images, why)
    if cached and step.get("random_pop", True):
        draft.adapt(
            f"{kind}.random_pop", True, "partners are images up to the size of the cache back, each as likely"
        )
    known = {"img_scale", "pad_val", "prob", "use_cached", "max_cached_images", "random_pop", "type"}
    plain = {"center_ratio_range": (0.5, 1.5), "ratio_range": (1.0, 1.0), "flip_ratio": 0.5, "max_iters": 15}
    if kind in ("MixUp", "YOLOXMixUp"):
        plain["ratio_range"] = (0.5, 1.5)
    for option, value in step.items():
        usual = plain.get(option)
        if option in known or (usual is not None and _same(value, usual)):
            continue
        if option in ("pre_transform", "bbox_clip_border", "max_refetch", "alpha", "beta"):
            continue
        draft.leave(f"{kind}.{option}", value, "this step is as published")


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return list(one) == list(other)
    return bool(one == other)


def _resize(found: Pipelines, side: int, single: bool, draft: Draft) -> None:
    """Map the random resize; its factors are relative to the canvas, twice the input in stage 1."""
    step = one(found.first, _RESIZE)
    if step is None:
        ratio: tuple[float, float] = (1.0, 1.0) if single else (0.5, 0.5)
        draft.take("augment.resize_ratio", ratio, f"{found.key} without RandomResize", "", "one size")
        return
    stated = step.get("ratio_range", (1.0, 1.0))
    pair = pair_of_sides(step.get("scale", step.get("img_scale")))
    canvas = side if single else 2 * side
    if not _is_range(stated):
        draft.leave("RandomResize.ratio_range", stated, "expected two factors; the published ones are taken")
        return
    factor = max(pair) / canvas if pair else 1.0
    low, high = (round(value * factor, 6) for value in stated)
    why = "" if factor == 1 else f"relative to a canvas of {canvas} px in place of {max(pair or (canvas,))}"
    draft.take("augment.resize_ratio", (low, high), "RandomResize.ratio_range", tuple(stated), why)
    if step.get("keep_ratio", True) is False:
        draft.leave("RandomResize.keep_ratio", False, "images keep their proportions")
    later = one(found.second, _RESIZE)
    if later is not None and not _same(later.get("ratio_range", stated), stated):
        draft.leave(
            "stage 2 RandomResize.ratio_range", later.get("ratio_range"), "both stages have one range"
        )


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(type(part) in (int, float) for part in value)
    )


def _colours(step: Step | None, draft: Draft) -> None:
    names = (("hue", 5), ("saturation", 30), ("value", 30))
    for name, usual in names:
        if step is None:
            draft.set(f"augment.{name}", 0)
        elif type_name(step["type"]) == "YOLOv5HSVRandomAug":
            shift = {"hue": 0.015, "saturation": 0.7, "value": 0.4}[name]
            stated = step.get(f"{name}_delta", shift)
            largest = 90 if name == "hue" else 127
            number = round(stated * largest) if isinstance(stated, int | float) else usual
            draft.take(
                f"augment.{name}", number, f"YOLOv5HSVRandomAug.{name}_delta", stated,
                "a share there; here added, on OpenCV's scale",
            )  # fmt: skip
        else:
            stated = step.get(f"{name}_delta", usual)
            number = int(stated) if isinstance(stated, float) and stated.is_integer() else stated
            draft.take(f"augment.{name}", number, f"YOLOXHSVRandomAug.{name}_delta", stated)
    if step is None:
        draft.rows.append(
            Row("taken over", "train pipeline without HSV jitter", "", "augment.hue, saturation, value = 0")
        )


def _flip(step: Step | None, draft: Draft) -> None:
    if step is None:
        draft.take("augment.flip", 0.0, "train pipeline without RandomFlip", "")
        return
    stated = step.get("prob", step.get("flip_ratio", 0.0))
    directions = step.get("direction", "horizontal")
    if isinstance(stated, list | tuple) or directions not in ("horizontal", ["horizontal"], ("horizontal",)):
        chances = list(stated) if isinstance(stated, list | tuple) else [stated]
        names = [directions] if isinstance(directions, str) else list(directions or ())
        horizontal = [p for p, name in zip(chances * len(names), names, strict=False) if name == "horizontal"]
        draft.take(
            "augment.flip",
            horizontal[0] if horizontal else 0.0,
            "RandomFlip",
            [stated, directions],
            "only horizontal flips",
        )
        return
    draft.take("augment.flip", stated, "RandomFlip.prob")


def _others(found: Pipelines, draft: Draft) -> None:
    """Add a row for each step that has no counterpart."""
    named: set[str] = set()
    for steps, stage in ((found.first, ""), (found.second, "stage 2 ")):
        for step in steps:
            kind = type_name(step.get("type"))
            if kind in _KNOWN or kind in named:
                continue
            named.add(kind)
            options = ", ".join(str(key) for key in step if key != "type")
            draft.leave(f"{stage}{kind or 'a step'}", options or None, _REASONS.get(kind, _NO_STEP))
    crop = one(found.first, ("RandomCrop",))
    if crop is not None:
        if crop.get("crop_type", "absolute") != "absolute":
            draft.leave("RandomCrop.crop_type", crop["crop_type"], "a crop has the size of the input")
        if crop.get("allow_negative_crop"):
            draft.adapt(
                "RandomCrop.allow_negative_crop",
                True,
                "20 crops are tried for one with objects, then one without is taken",
            )
    switched = one(found.second, (*_MOSAIC, *_MIXUP))
    if switched is not None:
        draft.leave(f"stage 2 {type_name(switched['type'])}", None, "stage 2 has neither Mosaic nor MixUp")


_NO_STEP = "there is no such step"
_REASONS: Mapping[str, str] = {
    "RandomAffine": "images are resized, cropped and flipped, not turned or sheared",
    "YOLOv5RandomAffine": "images are resized, cropped and flipped, not turned or sheared",
    "PhotoMetricDistortion": "colours change by HSV jitter only (augment.hue, saturation, value)",
    "CopyPaste": "objects are pasted by augment.copy_paste, which needs outlines",
    "Albu": "there are no transforms of Albumentations",
    "RandomChoiceResize": "sizes are drawn by augment.resize_ratio",
}
