"""MMDetection: RTMDet-tiny of its own config, random weights, 640 px, without mmcv's compiled module.

torchvision's NMS stands in for the compiled one, so that the tool can be measured without a compiler.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

from answers import Round, answer, multiply_adds


class _Compiled(types.ModuleType):
    """Stands in for `mmcv._ext`: NMS alone; other operators fail when they are called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: object, **__: object) -> None:
            raise NotImplementedError(name)

        return missing

    @staticmethod
    def nms(boxes: Any, scores: Any, iou_threshold: float = 0.5, offset: int = 0) -> Any:
        from torchvision.ops import nms

        return nms(boxes, scores, iou_threshold)


def config() -> Any:
    """Return the config of RTMDet-tiny that the package ships, without pretrained weights."""
    sys.modules["mmcv._ext"] = _Compiled("mmcv._ext")
    import mmdet
    from mmengine.config import Config

    path = Path(mmdet.__file__).parent / ".mim/configs/rtmdet/rtmdet_tiny_8xb32-300e_coco.py"
    found = Config.fromfile(path)
    found.model.backbone.init_cfg = None
    return found


def start(engine: str, photograph: str, folder: str) -> tuple[float, Round]:
    """Return multiply-adds and one round: a photograph to detections."""
    settings = config()
    import torch
    from mmdet.apis import inference_detector, init_detector

    model = init_detector(settings, None, device="cpu")
    macs = multiply_adds(model, lambda: model(torch.zeros(1, 3, 640, 640), mode="tensor"))
    return macs, lambda: inference_detector(model, photograph)


def train(data: str, folder: str, epochs: int) -> None:
    """Train on the balloon photographs with the config's own pipeline, batch 8."""
    settings = config()
    from mmdet.utils import register_all_modules
    from mmengine.runner import Runner

    register_all_modules()
    settings.work_dir = folder
    settings.model.bbox_head.num_classes = 1
    for loader, split in (("train_dataloader", "train"), ("val_dataloader", "val")):
        part = settings[loader]
        part.update(batch_size=8 if split == "train" else 1, num_workers=2)
        images = next(
            path for path in (Path(data) / split, Path(data) / "images" / split, Path(data)) if path.is_dir()
        )
        annotations = next(Path(data).rglob(f"*{split}*.json"))
        part.dataset.update(
            data_root="",
            ann_file=str(annotations),
            data_prefix={"img": str(images)},
            metainfo={"classes": ("balloon",)},
        )
    annotated = settings.val_dataloader.dataset.ann_file
    settings.val_evaluator.ann_file = annotated
    settings.test_dataloader, settings.test_evaluator = settings.val_dataloader, settings.val_evaluator
    settings.train_cfg.update(max_epochs=epochs, val_interval=epochs, dynamic_intervals=None)
    Runner.from_cfg(settings).train()


if __name__ == "__main__":
    answer(start, train)
