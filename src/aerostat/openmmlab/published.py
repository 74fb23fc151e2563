"""Values of the published RTMDet configs (MMDetection 3, MMYOLO), for bases that are missing on disk.

They are facts about the model: sizes, schedule and augmentation of arXiv:2212.07784 in the layout in which a
config states them. Names of keys are those of MMEngine; nothing is read from OpenMMLab's packages.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_ZOO = "https://download.openmmlab.com/mmdetection/v3.0/rtmdet"


@dataclass(frozen=True, slots=True)
class PublishedSize:
    """What a published config of one size states.

    Args:
        depth, width: multiples of the backbone's blocks and channels.
        neck_blocks: blocks of each layer of the neck.
        ratio: lowest and highest factor of the random resize.
        mosaic_cache, mixup_cache: images kept for Mosaic and MixUp.
        mixup: probability of MixUp.
        random_pop: whether a cached image is replaced at random, and not the oldest.
        backbone: file of the pretrained backbone, empty for none.
        depthwise: whether spatial convolutions are depthwise-separable.
    """

    depth: float
    width: float
    neck_blocks: int
    ratio: tuple[float, float] = (0.1, 2.0)
    mosaic_cache: int = 40
    mixup_cache: int = 20
    mixup: float = 1.0
    random_pop: bool = True
    backbone: str = ""
    depthwise: bool = False


PUBLISHED_SIZES = {
    "nano": PublishedSize(0.33, 0.25, 1, (0.5, 2.0), 20, 10, 0.5, random_pop=False, depthwise=True),
    "tiny": PublishedSize(
        0.167, 0.375, 1, (0.5, 2.0), 20, 10, 0.5, random_pop=False, backbone="cspnext-tiny_imagenet_600e.pth"
    ),
    "s": PublishedSize(0.33, 0.5, 1, (0.5, 2.0), backbone="cspnext-s_imagenet_600e.pth"),
    "m": PublishedSize(0.67, 0.75, 2),
    "l": PublishedSize(1.0, 1.0, 3),
    "x": PublishedSize(1.33, 1.25, 4),
}
"""By name of the size. There is no published nano of 80 classes; that of people starts from these values."""

_DETECTOR = re.compile(
    r"rtmdet_(nano|tiny|s|m|l|x)((?:_syncbn)?(?:_fast)?)_8xb32[-_]300e_coco(?:\.py)?", re.IGNORECASE
)
_PARTS = re.compile(
    r"(?:.*/)?(?:_base_/(?:datasets/|schedules/)?)?"
    r"(default_runtime|schedule_1x|coco_detection|rtmdet_tta|det_p5_tta)(?:\.py)?"
)


def find(name: str, scope: str = "") -> dict[str, Any] | None:
    """Return the values of a published config, None for a name that is not one.

    Args:
        name: as a base names it; its folders do not count.
        scope: package before ``::``, such as ``mmdet``; ``mmyolo`` has the layout of MMYOLO.

    >>> find("../rtmdet/rtmdet_tiny_8xb32-300e_coco.py")["train_cfg"]["max_epochs"]
    300
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    if match := _DETECTOR.fullmatch(last):
        size = PUBLISHED_SIZES[match[1].lower()]
        if scope == "mmyolo" or match[2]:
            return _mmyolo(size)
        return _mmdetection(size)
    if match := _PARTS.fullmatch(name.replace("\\", "/")):
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "default_runtime": _runtime,
            "schedule_1x": _schedule_1x,
            "coco_detection": _coco_detection,
            "rtmdet_tta": _tta,
            "det_p5_tta": _tta,
        }
        return parts[match[1]]()
    return None


# --- parts of both layouts


def _runtime() -> dict[str, Any]:
    backends = [{"type": "LocalVisBackend"}]
    return {
        "default_scope": "mmdet",
        "default_hooks": {
            "timer": {"type": "IterTimerHook"},
            "logger": {"type": "LoggerHook", "interval": 50},
            "param_scheduler": {"type": "ParamSchedulerHook"},
            "checkpoint": {"type": "CheckpointHook", "interval": 1},
            "sampler_seed": {"type": "DistSamplerSeedHook"},
            "visualization": {"type": "DetVisualizationHook"},
        },
        "env_cfg": {"cudnn_benchmark": False},
        "vis_backends": backends,
        "visualizer": {"type": "DetLocalVisualizer", "vis_backends": backends, "name": "visualizer"},
        "log_processor": {"type": "LogProcessor", "window_size": 50, "by_epoch": True},
        "log_level": "INFO",
        "load_from": None,
        "resume": False,
        "backend_args": None,
        "file_client_args": {"backend": "disk"},
    }


def _schedule_1x() -> dict[str, Any]:
    return {
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": 12, "val_interval": 1},
        "val_cfg": {"type": "ValLoop"},
        "test_cfg": {"type": "TestLoop"},
        "param_scheduler": [
            {"type": "LinearLR", "start_factor": 0.001, "by_epoch": False, "begin": 0, "end": 500},
            {
                "type": "MultiStepLR",
                "begin": 0,
                "end": 12,
                "by_epoch": True,
                "milestones": [8, 11],
                "gamma": 0.1,
            },
        ],
        "optim_wrapper": {
            "type": "OptimWrapper",
            "optimizer": {"type": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.0001},
        },
        "auto_scale_lr": {"enable": False, "base_batch_size": 16},
    }


def _coco_detection() -> dict[str, Any]:
    load = {"type": "LoadImageFromFile", "backend_args": None}
    boxes = {"type": "LoadAnnotations", "with_bbox": True}
    resize = {"type": "Resize", "scale": (1333, 800), "keep_ratio": True}
    train = [load, boxes, resize, {"type": "RandomFlip", "prob": 0.5}, {"type": "PackDetInputs"}]
    test = [load, resize, boxes, {"type": "PackDetInputs"}]
    return {
        "dataset_type": "CocoDataset",
        "data_root": "data/coco/",
        "train_pipeline": train,
        "test_pipeline": test,
        **_loaders("CocoDataset", train, test, (2, 1)),
    }


def _loaders(dataset: str, train: list[Any], test: list[Any], batch_sizes: tuple[int, int]) -> dict[str, Any]:
    """Return the loaders and evaluators of COCO 2017."""

    def loader(batch_size: int, split: str, pipeline: list[Any], **more: Any) -> dict[str, Any]:
        return {
            "batch_size": batch_size,
            "num_workers": 10,
            "persistent_workers": True,
            "sampler": {"type": "DefaultSampler", "shuffle": split == "train"},
            "dataset": {
                "type": dataset,
                "data_root": "data/coco/",
                "ann_file": f"annotations/instances_{split}2017.json",
                "data_prefix": {"img": f"{split}2017/"},
                **more,
                "pipeline": pipeline,
            },
        }

    evaluator = {
        "type": "CocoMetric",
        "ann_file": "data/coco/annotations/instances_val2017.json",
        "metric": "bbox",
        "proposal_nums": (100, 1, 10),
    }
    kept = {"filter_cfg": {"filter_empty_gt": True, "min_size": 32}}
    return {
        "train_dataloader": loader(batch_sizes[0], "train", train, **kept),
        "val_dataloader": loader(batch_sizes[1], "val", test, test_mode=True),
        "test_dataloader": loader(batch_sizes[1], "val", test, test_mode=True),
        "val_evaluator": evaluator,
        "test_evaluator": dict(evaluator),
    }


def _tta(side: int = 640) -> dict[str, Any]:
    scales = [(side, side), (side // 2, side // 2), (side * 3 // 2, side * 3 // 2)]
    return {
        "img_scales": scales,
        "tta_model": {
            "type": "DetTTAModel",
            "tta_cfg": {"nms": {"type": "nms", "iou_threshold": 0.6}, "max_per_img": 100},
        },
        "tta_pipeline": [
            {"type": "LoadImageFromFile"},
            {
                "type": "TestTimeAug",
                "transforms": [
                    [{"type": "Resize", "scale": scale, "keep_ratio": True} for scale in scales],
                    [{"type": "RandomFlip", "prob": 1.0}, {"type": "RandomFlip", "prob": 0.0}],
                ],
            },
        ],
    }


def _training(stage2: list[Any], scope: str = "") -> dict[str, Any]:
    """Return the schedule: AdamW, warm-up, flat, cosine, averaging, and the switch of pipelines."""
    epochs, last, lr, interval = 300, 20, 0.004, 10
    return {
        "max_epochs": epochs,
        "base_lr": lr,
        "train_cfg": {
            "type": "EpochBasedTrainLoop",
            "max_epochs": epochs,
            "val_interval": interval,
            "dynamic_intervals": [(epochs - last, 1)],
        },
        "val_cfg": {"type": "ValLoop"},
        "test_cfg": {"type": "TestLoop"},
        "optim_wrapper": {
            "type": "OptimWrapper",
            "optimizer": {"type": "AdamW", "lr": lr, "weight_decay": 0.05},
            "paramwise_cfg": {"norm_decay_mult": 0, "bias_decay_mult": 0, "bypass_duplicate": True},
        },
        "param_scheduler": [
            {"type": "LinearLR", "start_factor": 1e-5, "by_epoch": False, "begin": 0, "end": 1000},
            {
                "type": "CosineAnnealingLR",
                "eta_min": lr * 0.05,
                "begin": epochs // 2,
                "end": epochs,
                "T_max": epochs // 2,
                "by_epoch": True,
                "convert_to_iter_based": True,
            },
        ],
        "custom_hooks": [
            {
                "type": "EMAHook",
                "ema_type": "ExpMomentumEMA",
                "momentum": 0.0002,
                "update_buffers": True,
                "priority": 49,
            },
            {
                "type": f"{scope}PipelineSwitchHook",
                "switch_epoch": epochs - last,
                "switch_pipeline": stage2,
            },
        ],
        "auto_scale_lr": {"enable": False, "base_batch_size": 16},
    }


def _runtime_of_detector() -> dict[str, Any]:
    runtime = _runtime()
    runtime["default_hooks"]["checkpoint"] |= {"interval": 10, "max_keep_ckpts": 3}
    return runtime


_TEST_CFG = {
    "nms_pre": 30000,
    "min_bbox_size": 0,
    "score_thr": 0.001,
    "nms": {"type": "nms", "iou_threshold": 0.65},
    "max_per_img": 300,
}
_PIXELS = {"mean": [103.53, 116.28, 123.675], "std": [57.375, 57.12, 58.395], "bgr_to_rgb": False}


def _backbone(size: PublishedSize, norm: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "CSPNeXt",
        "arch": "P5",
        "expand_ratio": 0.5,
        "deepen_factor": size.depth,
        "widen_factor": size.width,
        "channel_attention": True,
        "norm_cfg": {"type": norm},
        "act_cfg": {"type": "SiLU", "inplace": True},
    }
    if size.depthwise:
        found["use_depthwise"] = True
    if size.backbone:
        checkpoint = f"{_ZOO}/cspnext_rsb_pretrain/{size.backbone}"
        found["init_cfg"] = {"type": "Pretrained", "prefix": "backbone.", "checkpoint": checkpoint}
    return found


# --- MMDetection


def _mmdetection(size: PublishedSize) -> dict[str, Any]:
    side = 640
    train, stage2, test = (_mmdet_pipeline(size, side, stage) for stage in (1, 2, 0))
    found = {**_runtime_of_detector(), **_coco_detection(), **_training(stage2), **_tta(side)}
    found |= _loaders("CocoDataset", train, test, (32, 5))
    found |= {
        "model": _mmdet_model(size),
        "train_pipeline": train,
        "train_pipeline_stage2": stage2,
        "test_pipeline": test,
        "stage2_num_epochs": 20,
        "interval": 10,
    }
    if size.backbone:
        found["checkpoint"] = f"{_ZOO}/cspnext_rsb_pretrain/{size.backbone}"
    return found


def _mmdet_model(size: PublishedSize) -> dict[str, Any]:
    channels = [int(c * size.width) for c in (256, 512, 1024)]
    norm, act = {"type": "SyncBN"}, {"type": "SiLU", "inplace": True}
    depthwise = {"use_depthwise": True} if size.depthwise else {}
    return {
        "type": "RTMDet",
        "data_preprocessor": {"type": "DetDataPreprocessor", **_PIXELS, "batch_augments": None},
        "backbone": _backbone(size, "SyncBN"),
        "neck": {
            "type": "CSPNeXtPAFPN",
            "in_channels": channels,
            "out_channels": channels[0],
            "num_csp_blocks": size.neck_blocks,
            "expand_ratio": 0.5,
            "norm_cfg": norm,
            "act_cfg": act,
            **depthwise,
        },
        "bbox_head": {
            "type": "RTMDetSepBNHead",
            "num_classes": 80,
            "in_channels": channels[0],
            "stacked_convs": 2,
            "feat_channels": channels[0],
            "anchor_generator": {"type": "MlvlPointGenerator", "offset": 0, "strides": [8, 16, 32]},
            "bbox_coder": {"type": "DistancePointBBoxCoder"},
            "loss_cls": {"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0},
            "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
            "with_objectness": False,
            "exp_on_reg": size.width >= 0.75,
            "share_conv": not size.depthwise,
            "pred_kernel_size": 1,
            "norm_cfg": norm,
            "act_cfg": act,
            **depthwise,
        },
        "train_cfg": {
            "assigner": {"type": "DynamicSoftLabelAssigner", "topk": 13},
            "allowed_border": -1,
            "pos_weight": -1,
            "debug": False,
        },
        "test_cfg": {**_TEST_CFG, "nms": dict(_TEST_CFG["nms"])},  # type: ignore[call-overload]
    }


def _mmdet_pipeline(size: PublishedSize, side: int, stage: int) -> list[dict[str, Any]]:
    """Return the pipeline of a stage; 0 is that of the test."""
    square = (side, side)
    load = {"type": "LoadImageFromFile", "backend_args": None}
    boxes = {"type": "LoadAnnotations", "with_bbox": True}
    pad = {"type": "Pad", "size": square, "pad_val": {"img": (114, 114, 114)}}
    if stage == 0:
        resize = {"type": "Resize", "scale": square, "keep_ratio": True}
        keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
        return [load, resize, pad, boxes, {"type": "PackDetInputs", "meta_keys": keys}]
    mosaic = {
        "type": "CachedMosaic",
        "img_scale": square,
        "pad_val": 114.0,
        "max_cached_images": size.mosaic_cache,
        "random_pop": size.random_pop,
    }
    mixup = {
        "type": "CachedMixUp",
        "img_scale": square,
        "ratio_range": (1.0, 1.0),
        "max_cached_images": size.mixup_cache,
        "random_pop": size.random_pop,
        "pad_val": (114, 114, 114),
        "prob": size.mixup,
    }
    middle = [*_geometry(size, side, stage, ""), pad]
    inner = [mosaic, *middle, mixup] if stage == 1 else middle
    return [load, boxes, *inner, {"type": "PackDetInputs"}]


def _geometry(size: PublishedSize, side: int, stage: int, scope: str) -> list[dict[str, Any]]:
    canvas = side * 2 if stage == 1 else side
    resize = {"scale": (canvas, canvas), "ratio_range": size.ratio, "keep_ratio": True}
    return [
        {"type": f"{scope}RandomResize", **resize},
        {"type": f"{scope}RandomCrop", "crop_size": (side, side)},
        {"type": f"{scope}YOLOXHSVRandomAug"},
        {"type": f"{scope}RandomFlip", "prob": 0.5},
    ]


# --- MMYOLO


def _mmyolo(size: PublishedSize) -> dict[str, Any]:
    side = 640
    square = (side, side)
    train, stage2, test = (_mmyolo_pipeline(size, side, stage) for stage in (1, 2, 0))
    model = _mmyolo_model(size)
    found = {**_runtime_of_detector(), **_training(stage2, "mmdet."), **_tta(side)}
    found |= _loaders("YOLOv5CocoDataset", train, test, (32, 32))
    found["val_evaluator"]["type"] = found["test_evaluator"]["type"] = "mmdet.CocoMetric"
    return found | {
        "default_scope": "mmyolo",
        "model": model,
        "model_test_cfg": model["test_cfg"],
        "train_pipeline": train,
        "train_pipeline_stage2": stage2,
        "test_pipeline": test,
        "data_root": "data/coco/",
        "dataset_type": "YOLOv5CocoDataset",
        "train_ann_file": "annotations/instances_train2017.json",
        "train_data_prefix": "train2017/",
        "val_ann_file": "annotations/instances_val2017.json",
        "val_data_prefix": "val2017/",
        "num_classes": 80,
        "train_batch_size_per_gpu": 32,
        "train_num_workers": 10,
        "val_batch_size_per_gpu": 32,
        "val_num_workers": 10,
        "persistent_workers": True,
        "num_epochs_stage2": 20,
        "img_scale": square,
        "random_resize_ratio_range": size.ratio,
        "mosaic_max_cached_images": size.mosaic_cache,
        "mixup_max_cached_images": size.mixup_cache,
        "deepen_factor": size.depth,
        "widen_factor": size.width,
        "strides": [8, 16, 32],
        "norm_cfg": {"type": "BN"},
        "lr_start_factor": 1e-5,
        "dsl_topk": 13,
        "loss_cls_weight": 1.0,
        "loss_bbox_weight": 2.0,
        "qfl_beta": 2.0,
        "weight_decay": 0.05,
        "save_checkpoint_intervals": 10,
        "val_interval_stage2": 1,
        "max_keep_ckpts": 3,
        "env_cfg": {"cudnn_benchmark": True},
    }


def _mmyolo_model(size: PublishedSize) -> dict[str, Any]:
    norm, act = {"type": "BN"}, {"type": "SiLU", "inplace": True}
    scale = {"deepen_factor": size.depth, "widen_factor": size.width}
    return {
        "type": "YOLODetector",
        "data_preprocessor": {"type": "YOLOv5DetDataPreprocessor", **_PIXELS},
        "backbone": _backbone(size, "BN"),
        "neck": {
            "type": "CSPNeXtPAFPN",
            **scale,
            "in_channels": [256, 512, 1024],
            "out_channels": 256,
            "num_csp_blocks": 3,
            "expand_ratio": 0.5,
            "norm_cfg": norm,
            "act_cfg": act,
        },
        "bbox_head": {
            "type": "RTMDetHead",
            "head_module": {
                "type": "RTMDetSepBNHeadModule",
                "num_classes": 80,
                "in_channels": 256,
                "stacked_convs": 2,
                "feat_channels": 256,
                "widen_factor": size.width,
                "norm_cfg": norm,
                "act_cfg": act,
                "share_conv": not size.depthwise,
                "pred_kernel_size": 1,
                "featmap_strides": [8, 16, 32],
            },
            "prior_generator": {"type": "mmdet.MlvlPointGenerator", "offset": 0, "strides": [8, 16, 32]},
            "bbox_coder": {"type": "DistancePointBBoxCoder"},
            "loss_cls": {
                "type": "mmdet.QualityFocalLoss",
                "use_sigmoid": True,
                "beta": 2.0,
                "loss_weight": 1.0,
            },
            "loss_bbox": {"type": "mmdet.GIoULoss", "loss_weight": 2.0},
        },
        "train_cfg": {
            "assigner": {
                "type": "BatchDynamicSoftLabelAssigner",
                "num_classes": 80,
                "topk": 13,
                "iou_calculator": {"type": "mmdet.BboxOverlaps2D"},
            },
            "allowed_border": -1,
            "pos_weight": -1,
            "debug": False,
        },
        "test_cfg": {"multi_label": True, **_TEST_CFG, "nms": dict(_TEST_CFG["nms"])},  # type: ignore[call-overload]
    }


def _mmyolo_pipeline(size: PublishedSize, side: int, stage: int) -> list[dict[str, Any]]:
    square = (side, side)
    load = {"type": "LoadImageFromFile", "backend_args": None}
    boxes = {"type": "LoadAnnotations", "with_bbox": True}
    if stage == 0:
        return [
            load,
            {"type": "YOLOv5KeepRatioResize", "scale": square},
            {"type": "LetterResize", "scale": square, "allow_scale_up": False, "pad_val": {"img": 114}},
            {**boxes, "_scope_": "mmdet"},
            {"type": "mmdet.PackDetInputs"},
        ]
    mosaic = {
        "type": "Mosaic",
        "img_scale": square,
        "use_cached": True,
        "max_cached_images": size.mosaic_cache,
        "random_pop": size.random_pop,
        "pad_val": 114.0,
    }
    mixup = {
        "type": "YOLOv5MixUp",
        "use_cached": True,
        "random_pop": size.random_pop,
        "max_cached_images": size.mixup_cache,
        "prob": size.mixup,
    }
    pad = {"type": "mmdet.Pad", "size": square, "pad_val": {"img": (114, 114, 114)}}
    middle = [*_geometry(size, side, stage, "mmdet."), pad]
    inner = [mosaic, *middle, mixup] if stage == 1 else middle
    return [load, boxes, *inner, {"type": "mmdet.PackDetInputs"}]
