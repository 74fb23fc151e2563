"""The schedule of a config: epochs, learning rate, optimiser, hooks and seed."""

from __future__ import annotations

import math
from typing import Any

from aerostat.migration.augmentation import steps_of
from aerostat.migration.table import Draft
from aerostat.openmmlab.config import Config
from aerostat.openmmlab.values import type_name
from aerostat.openmmlab.work_dir import datasets_in
from aerostat.training.recipe import Recipe

_NO_DATA = "the number of training images is not known here"

_HARMLESS_HOOKS = frozenset(
    [
        "SyncNormHook",
        "NumClassCheckHook",
        "CheckInvalidLossHook",
        "MemoryProfilerHook",
        "EmptyCacheHook",
        "ProfilerHook",
        "NPUProfilerHook",
        "SetEpochInfoHook",
        "DetVisualizationHook",
        "SyncBuffersHook",
    ]
)


def number(value: Any) -> float | None:
    """Return a number of a config, None for anything else."""
    fine = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
    return value if fine else None


def map_schedule(config: Config, draft: Draft) -> None:
    """Map everything that decides how long and how fast a run learns."""
    _batch(config, draft)
    epochs = _epochs(config, draft)
    lr = _optimiser(config, draft)
    _scheduler(config, draft, epochs, lr)
    _hooks(config, draft, epochs)
    _default_hooks(config, draft)
    _seed(config, draft)


# --- batch and epochs


def _batch(config: Config, draft: Draft) -> None:
    size = config.get("train_dataloader", "batch_size")
    if number(size) is not None:
        draft.take(
            "optim.batch_size", size, "train_dataloader.batch_size", size,
            f"images of one GPU there, of all devices here: with 8 GPUs it was {8 * int(size)}",
        )  # fmt: skip
    evaluated = config.get("val_dataloader", "batch_size")
    if evaluated is not None:
        draft.take("eval.batch_size", evaluated, "val_dataloader.batch_size")


def repetitions(config: Config) -> int:
    """Return how often `RepeatDataset` shows each image in an epoch."""
    times = 1
    for dataset in datasets_in(config.get("train_dataloader", "dataset")):
        stated = dataset.get("times") if type_name(dataset.get("type")) == "RepeatDataset" else 1
        times *= max(1, int(number(stated) or 1))
    return min(times, 10_000)


def _iterations_per_epoch(draft: Draft) -> int | None:
    batch = draft.values.get("optim", {}).get("batch_size", 32)
    return None if draft.train_images is None else math.ceil(draft.train_images / batch)


def _epochs(config: Config, draft: Draft) -> int:
    """Set the number of epochs, and return it as the config counts it."""
    loop = config.get("train_cfg", default={})
    loop = loop if isinstance(loop, dict) else {}
    stated, times = number(loop.get("max_epochs")), repetitions(config)
    if stated is None or stated < 1 or stated != int(stated):
        return _epochs_of_iterations(loop, draft)
    epochs = int(stated)
    why = f"RepeatDataset shows each image {times} times in an epoch" if times > 1 else ""
    draft.take("schedule.epochs", epochs * times, "train_cfg.max_epochs", epochs, why)
    interval = number(loop.get("val_interval", 1))
    if interval is not None:
        longer = why and f"{times} epochs here are one there"
        draft.take(
            "eval.interval", int(interval) * times, "train_cfg.val_interval", int(interval), str(longer)
        )
    if loop.get("dynamic_intervals"):
        draft.leave("train_cfg.dynamic_intervals", loop["dynamic_intervals"], "the interval stays the same")
    return epochs


def _epochs_of_iterations(loop: dict[str, Any], draft: Draft) -> int:
    iterations, per_epoch = number(loop.get("max_iters")), _iterations_per_epoch(draft)
    if iterations is not None and per_epoch:
        epochs = max(1, round(iterations / per_epoch))
        draft.take(
            "schedule.epochs", epochs, "train_cfg.max_iters", int(iterations),
            f"an epoch has {per_epoch} iterations",
        )  # fmt: skip
        return epochs
    usual = Recipe().schedule.epochs
    why = f"a run is counted in epochs, and {_NO_DATA}; set schedule.epochs, which is {usual}"
    if iterations is None:
        why = f"no number of epochs is stated; schedule.epochs is {usual}, as published"
    draft.leave("train_cfg.max_iters" if iterations is not None else "train_cfg", iterations, why)
    return usual


# --- optimiser


def _optimiser(config: Config, draft: Draft) -> float:
    """Map the optimiser, and return the learning rate as the config states it."""
    wrapper = config.get("optim_wrapper", default={})
    wrapper = wrapper if isinstance(wrapper, dict) else {}
    optimiser = wrapper.get("optimizer")
    optimiser = optimiser if isinstance(optimiser, dict) else {}
    kind, lr = type_name(optimiser.get("type", "AdamW")), number(optimiser.get("lr"))
    usual = Recipe().optim.lr
    if kind != "AdamW":
        draft.leave(
            "optim_wrapper.optimizer.type",
            kind,
            f"AdamW is the only optimiser; its rate is {usual:g}, as published",
        )
        draft.set("optim.lr", usual)
    elif lr is not None:
        _rate(config, draft, lr)
    if kind == "AdamW" and (decay := optimiser.get("weight_decay", 0.01)) is not None:
        draft.take("optim.weight_decay", decay, "optim_wrapper.optimizer.weight_decay")
    for key, value in optimiser.items():
        same = {"betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False}.get(key)
        if key not in ("type", "lr", "weight_decay", "momentum", "batch_size_per_gpu", "nesterov") and not (
            value == same or (isinstance(value, list | tuple) and tuple(value) == same)
        ):
            draft.leave(
                f"optim_wrapper.optimizer.{key}", value, "the optimiser is AdamW with its usual values"
            )
    _wrapper(wrapper, draft)
    return lr or usual


def _rate(config: Config, draft: Draft, lr: float) -> None:
    """Set the learning rate, scaled as the config asks for."""
    scaling = config.get("auto_scale_lr")
    batch, base = draft.values.get("optim", {}).get("batch_size"), None
    if isinstance(scaling, dict) and scaling.get("enable"):
        base = number(scaling.get("base_batch_size"))
    if base and batch:
        draft.take(
            "optim.lr", lr * batch / base, "optim_wrapper.optimizer.lr", lr,
            f"auto_scale_lr: for a batch of {base:g}, here {batch}",
        )  # fmt: skip
        return
    draft.take("optim.lr", lr, "optim_wrapper.optimizer.lr")
    if batch and lr == 0.004 and batch < 256:
        draft.adapt(
            "optim_wrapper.optimizer.lr",
            lr,
            f"as stated; it is published for a batch of 256, so for {batch} it would be {lr * batch / 256:g}",
        )


def _wrapper(wrapper: dict[str, Any], draft: Draft) -> None:
    kind = type_name(wrapper.get("type", "OptimWrapper"))
    if kind == "AmpOptimWrapper":
        draft.take(
            "optim.precision", "bf16-mixed", "optim_wrapper.type", kind,
            "bfloat16 needs no scaling of the loss and works on a CPU, too; 16-mixed is float16",
        )  # fmt: skip
    elif kind != "OptimWrapper":
        draft.leave("optim_wrapper.type", kind, "the optimiser takes plain steps")
    clip = wrapper.get("clip_grad")
    if isinstance(clip, dict) and clip.get("max_norm") is not None:
        draft.take("optim.clip_grad_norm", clip["max_norm"], "optim_wrapper.clip_grad.max_norm")
        if clip.get("norm_type", 2) != 2:
            draft.leave(
                "optim_wrapper.clip_grad.norm_type", clip["norm_type"], "the norm is the Euclidean one"
            )
    if wrapper.get("accumulative_counts", 1) != 1:
        draft.take("optim.accumulate", wrapper["accumulative_counts"], "optim_wrapper.accumulative_counts")
    _parameters(wrapper.get("paramwise_cfg"), draft)


def _parameters(paramwise: Any, draft: Draft) -> None:
    """Map rates and decays of single groups of parameters."""
    stated = paramwise if isinstance(paramwise, dict) else {}
    for key in ("norm_decay_mult", "bias_decay_mult"):
        if stated.get(key, 1) != 0:
            draft.adapt(
                f"paramwise_cfg.{key}",
                stated.get(key, "not stated"),
                "norms and biases never have weight decay",
            )
    custom = stated.get("custom_keys")
    for name, options in custom.items() if isinstance(custom, dict) else ():
        factor = number(options.get("lr_mult")) if isinstance(options, dict) else None
        if str(name).rstrip(".") == "backbone" and factor is not None:
            draft.take("optim.backbone_lr_factor", factor, "paramwise_cfg.custom_keys.backbone.lr_mult")
        else:
            draft.leave(
                f"paramwise_cfg.custom_keys.{name}", options, "only the backbone has a rate of its own"
            )


# --- schedulers


def _scheduler(config: Config, draft: Draft, epochs: int, lr: float) -> None:
    stated = config.get("param_scheduler")
    schedulers = steps_of([stated] if isinstance(stated, dict) else stated)
    warmed = cooled = False
    for place, step in enumerate(schedulers):
        kind, key = type_name(step.get("type")), f"param_scheduler[{place}]"
        if kind == "LinearLR" and not warmed:
            warmed = True
            _warm_up(step, key, draft)
        elif kind == "CosineAnnealingLR" and not cooled:
            cooled = True
            _cosine(step, key, draft, epochs, lr)
        elif kind in ("LinearLR", "CosineAnnealingLR"):
            draft.leave(f"{key} {kind}", None, "there is one warm-up and one cosine")
        else:
            draft.leave(f"{key} {kind or 'a step'}", None, "the rate is warmed up, flat, then a cosine")
    per_epoch, warm = _iterations_per_epoch(draft), draft.values.get("schedule", {}).get("warmup_iterations")
    if per_epoch and warm and warm >= per_epoch * epochs:
        draft.adapt(
            "param_scheduler LinearLR",
            None,
            f"the run has {per_epoch * epochs} iterations, all of them warm-up",
        )
    if not warmed:
        draft.take("schedule.warmup_iterations", 0, "param_scheduler without LinearLR", "")
    if not cooled:
        draft.take(
            "schedule.cosine_start", 1.0, "param_scheduler without a cosine", "", "the rate stays flat"
        )


def _warm_up(step: dict[str, Any], key: str, draft: Draft) -> None:
    begin, end = number(step.get("begin", 0)), number(step.get("end"))
    if begin is None or end is None or end < begin:
        draft.leave(f"{key}.end", step.get("end"), "no length of the warm-up is stated; it is as published")
    elif step.get("by_epoch", True):
        per_epoch = _iterations_per_epoch(draft)
        if per_epoch is None:
            draft.leave(
                f"{key}.end", end, f"epochs of warm-up are iterations here, and {_NO_DATA}; "
                "set schedule.warmup_iterations",
            )  # fmt: skip
        else:
            draft.take(
                "schedule.warmup_iterations", round((end - begin) * per_epoch), f"{key}.end", end,
                f"epochs there; an epoch has {per_epoch} iterations",
            )  # fmt: skip
    else:
        draft.take("schedule.warmup_iterations", int(end - begin), f"{key}.end", int(end - begin))
    if (factor := number(step.get("start_factor", 1 / 3))) is not None:
        draft.take("schedule.warmup_factor", float(factor), f"{key}.start_factor")
    if begin:
        draft.leave(f"{key}.begin", begin, "the warm-up begins with the run")


def _cosine(step: dict[str, Any], key: str, draft: Draft, epochs: int, lr: float) -> None:
    begin, end = number(step.get("begin", 0)) or 0, number(step.get("end"))
    by_epoch = step.get("by_epoch", True)
    total: float | None = float(epochs)
    if not by_epoch:
        per_epoch = _iterations_per_epoch(draft)
        total = end if per_epoch is None else float(per_epoch * epochs)
    if total:
        start = _short(begin / total)
        late = "" if start < 1 else "the run ends before, so the rate stays flat"
        draft.take("schedule.cosine_start", min(1.0, start), f"{key}.begin", begin, late)
        if end is not None and abs(end - total) > 0.01 * total:
            draft.adapt(f"{key}.end", end, "the cosine ends with the run")
    ratio = number(step.get("eta_min_ratio"))
    least = number(step.get("eta_min", 0 if ratio is None else None))
    if ratio is not None:
        draft.take("schedule.final_lr_factor", ratio, f"{key}.eta_min_ratio")
    elif least is not None:
        factor = _short(least / lr)
        draft.take(
            "schedule.final_lr_factor", min(factor, 1.0), f"{key}.eta_min", least,
            "" if factor <= 1 else f"it is above the learning rate, {lr:g}, to which the rate would rise",
        )  # fmt: skip


def _short(value: float) -> float:
    """Return a quotient without the last digits, which are rounding errors of the config's own arithmetic."""
    return float(f"{value:.10g}")


# --- hooks


def _hooks(config: Config, draft: Draft, epochs: int) -> None:
    averaged = switched = False
    single = draft.values.get("schedule", {}).get("stage2_share") == 1.0
    for hook in steps_of(config.get("custom_hooks")):
        kind = type_name(hook.get("type"))
        if kind == "EMAHook":
            averaged = True
            _averaging(hook, draft)
        elif kind in ("PipelineSwitchHook", "YOLOXModeSwitchHook"):
            switched = True
            last = number(hook.get("num_last_epochs", 15))
            at = number(hook.get("switch_epoch")) if kind == "PipelineSwitchHook" else epochs - (last or 0)
            if single:
                draft.adapt(f"{kind}", at, "no step mixes images, so the whole run is stage 2")
            elif at is not None:
                _switch(kind, at, draft, epochs)
        elif kind == "EarlyStoppingHook":
            draft.take("schedule.patience", hook.get("patience", 5), "EarlyStoppingHook.patience")
        elif kind not in _HARMLESS_HOOKS:
            draft.leave(
                f"custom_hooks {kind or 'a hook'}", None, "there is no such hook, and it is not executed"
            )
    if not averaged:
        draft.take(
            "schedule.ema_momentum", 1.0, "custom_hooks without EMAHook", "",
            "a momentum of 1 averages nothing; the published average has 0.0002",
        )  # fmt: skip
    if not switched and not single:
        draft.take("schedule.stage2_share", 0.0, "custom_hooks without PipelineSwitchHook", "")


def _averaging(hook: dict[str, Any], draft: Draft) -> None:
    kind = type_name(hook.get("ema_type", "ExponentialMovingAverage"))
    usual = 0.0002
    draft.take("schedule.ema_momentum", hook.get("momentum", usual), "EMAHook.momentum")
    if kind == "ExpMomentumEMA":
        draft.take("schedule.ema_gamma", float(number(hook.get("gamma")) or 2000), "EMAHook.gamma")
    elif kind == "ExponentialMovingAverage":
        draft.take(
            "schedule.ema_gamma",
            0.001,
            "EMAHook.ema_type",
            kind,
            "a momentum that is the same from the start",
        )
    else:
        draft.leave("EMAHook.ema_type", kind, "the average has an exponential momentum, as published")


def _switch(kind: str, at: float, draft: Draft, epochs: int) -> None:
    key = "switch_epoch" if kind == "PipelineSwitchHook" else "num_last_epochs"
    rest = max(0, epochs - int(at))
    draft.take("schedule.stage2_share", min(rest, epochs) / epochs, f"{kind}.{key}", int(at))
    if at >= epochs:
        draft.adapt(f"{kind}.{key}", int(at), f"the run has {epochs} epochs, so stage 2 never begins")


def _default_hooks(config: Config, draft: Draft) -> None:
    hooks = config.get("default_hooks", default={})
    hooks = hooks if isinstance(hooks, dict) else {}
    logger, keeper = hooks.get("logger"), hooks.get("checkpoint")
    if isinstance(logger, dict) and logger.get("interval") is not None:
        draft.take("run.log_interval", logger["interval"], "default_hooks.logger.interval")
    if isinstance(keeper, dict):
        draft.adapt(
            f"default_hooks.checkpoint {', '.join(str(key) for key in keeper if key != 'type')}"[:70],
            None,
            "the state of each epoch replaces the last one; best and last weights are kept",
        )
    stopping = hooks.get("early_stopping")
    if isinstance(stopping, dict):
        draft.take("schedule.patience", stopping.get("patience", 5), "default_hooks.early_stopping.patience")


def _seed(config: Config, draft: Draft) -> None:
    randomness = config.get("randomness", default={})
    seed = randomness.get("seed") if isinstance(randomness, dict) else None
    if seed is not None:
        draft.take("run.seed", seed, "randomness.seed")
