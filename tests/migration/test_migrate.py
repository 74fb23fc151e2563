"""Recipes from configs: published constants, what is adapted, and the table."""

import dataclasses
from pathlib import Path

import pytest

from aerostat.errors import InputError
from aerostat.migration import migrate
from aerostat.migration.table import WIDTH
from aerostat.training.recipe import Recipe, read_recipe

TINY = "_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'\n"


@pytest.fixture
def migrated(tmp_path: Path):
    def run(text: str, **options):
        (tmp_path / "config.py").write_text(text, "utf-8")
        return migrate(tmp_path / "config.py", **options)

    return run


def rows(found, group: str) -> dict[str, str]:
    return {row.original: f"{row.here} {row.why}" for row in found.rows if row.group == group}


PUBLISHED = Recipe().override(
    {
        "model": {"weights": "cspnext-tiny"},
        "eval": {"interval": 10, "batch_size": 5},
        "run": {"log_interval": 50},
    }
)
"""Lyu et al., arXiv:2212.07784, and the published configs: the defaults of a recipe are those of tiny."""


def test_the_published_config_gives_the_published_constants(migrated) -> None:
    assert migrated(TINY).recipe == PUBLISHED
    recipe = migrated(TINY).recipe
    assert (recipe.optim.lr, recipe.optim.weight_decay, recipe.optim.batch_size) == (0.004, 0.05, 32)
    schedule = recipe.schedule
    assert (schedule.epochs, schedule.stage2_epoch, schedule.warmup_iterations) == (300, 280, 1000)
    assert (schedule.warmup_factor, schedule.cosine_start, schedule.final_lr_factor) == (1e-5, 0.5, 0.05)
    assert (schedule.ema_momentum, schedule.ema_gamma) == (0.0002, 2000.0)
    assert (recipe.eval.score_threshold, recipe.eval.nms_iou, recipe.eval.max_detections) == (
        0.001,
        0.65,
        300,
    )


@pytest.mark.parametrize(
    ("size", "ratio", "caches", "mixup"),
    [("s", (0.5, 2.0), (40, 20), 1.0), ("m", (0.1, 2.0), (40, 20), 1.0), ("x", (0.1, 2.0), (40, 20), 1.0)],
)
@pytest.mark.parametrize(
    "name", ["mmdet::rtmdet/rtmdet_{}_8xb32-300e_coco.py", "rtmdet_{}_syncbn_fast_8xb32-300e_coco.py"]
)
def test_larger_sizes_augment_more(migrated, size, ratio, caches, mixup, name) -> None:
    found = migrated(f"_base_ = '{name.format(size)}'").recipe
    augment = found.augment
    assert found.model.size == size
    assert (augment.resize_ratio, augment.mixup) == (ratio, mixup)
    assert (augment.mosaic_cache, augment.mixup_cache) == caches


def test_both_layouts_give_one_recipe(migrated) -> None:
    mmyolo = migrated("_base_ = 'mmyolo::rtmdet/rtmdet_tiny_syncbn_fast_8xb32-300e_coco.py'").recipe
    assert mmyolo == PUBLISHED.override({"eval": {"batch_size": 32}})


def test_a_config_of_a_user_keeps_what_it_does_not_override(shared) -> None:
    found = migrate(shared / "configs" / "my_rtmdet_tiny_8xb32-300e_coco.py")
    assert found.recipe == PUBLISHED.override(
        {"optim": {"lr": 0.0032}, "schedule": {"final_lr_factor": 0.0002 / 0.0032}}
    )
    assert found.data.classes == ("balloon",)
    root = Path("/data/user/data/balloon_dataset/balloon")
    train, val, test = (found.data.splits[name][0] for name in ("train", "val", "test"))
    assert (train.annotations, train.images) == (root / "coco_train.json", root / "train")
    assert val == train and test.annotations == root / "coco_val.json"
    assert "val_dataloader with the training data" in rows(found, "adapted")
    assert found.config.published == ("./rtmdet_tiny_8xb32-300e_coco.py",)


def test_fine_tuning_as_in_the_course(migrated) -> None:
    found = migrated(
        TINY + "max_epochs, stage2 = 40, 5\nbase_lr = 12 * 0.004 / (32 * 8)\nnum_classes = 1\n"
        "load_from = 'https://download.openmmlab.com/mmdetection/v3.0/rtmdet/rtmdet_tiny_8xb32-300e_coco/"
        "rtmdet_tiny_8xb32-300e_coco_20220902_112414-78e30dcc.pth'\n"
        "model = dict(backbone=dict(frozen_stages=4))\n"
        "train_dataloader = dict(batch_size=12, dataset=dict(metainfo=dict(classes=('balloon',))))\n"
        "train_cfg = dict(max_epochs=max_epochs, val_interval=10)\n"
        "optim_wrapper = dict(optimizer=dict(lr=base_lr))\n"
        "param_scheduler = [\n"
        "    dict(type='LinearLR', start_factor=1e-5, by_epoch=False, begin=0, end=30),\n"
        "    dict(type='CosineAnnealingLR', eta_min=base_lr * 0.05, begin=max_epochs // 2, end=max_epochs,\n"
        "         T_max=max_epochs // 2, by_epoch=True, convert_to_iter_based=True)]\n"
        "_base_.custom_hooks[1].switch_epoch = max_epochs - stage2\n"
        "randomness = dict(seed=3)"
    )
    recipe = found.recipe
    assert (recipe.model.weights, recipe.model.freeze) == ("rtmdet-tiny", "backbone")
    assert (recipe.optim.batch_size, recipe.optim.lr, recipe.run.seed) == (12, 0.0001875, 3)
    schedule = recipe.schedule
    assert (schedule.epochs, schedule.stage2_epoch, schedule.warmup_iterations) == (40, 35, 30)
    assert (schedule.cosine_start, schedule.final_lr_factor) == (0.5, 0.05)
    assert rows(found, "without effect").keys() == {"num_classes"}
    assert "line 4" in rows(found, "without effect")["num_classes"]


# --- single settings


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("optim_wrapper = dict(type='AmpOptimWrapper')", "optim.precision", "bf16-mixed"),
        ("optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))", "optim.clip_grad_norm", 35.0),
        ("optim_wrapper = dict(accumulative_counts=4)", "optim.accumulate", 4),
        ("optim_wrapper = dict(optimizer=dict(weight_decay=0.01))", "optim.weight_decay", 0.01),
        (
            "optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}))",
            "optim.backbone_lr_factor",
            0.1,
        ),
        ("auto_scale_lr = dict(enable=True, base_batch_size=256)", "optim.lr", 0.0005),
        ("optim_wrapper = dict(_delete_=True, optimizer=dict(type='SGD', lr=0.02))", "optim.lr", 0.004),
        ("custom_hooks = []", "schedule.ema_momentum", 1.0),
        ("custom_hooks = []", "schedule.stage2_share", 0.0),
        ("custom_hooks = [dict(type='EMAHook', momentum=0.001)]", "schedule.ema_gamma", 0.001),
        ("custom_hooks = [dict(type='EarlyStoppingHook', patience=7)]", "schedule.patience", 7),
        ("param_scheduler = []", "schedule.cosine_start", 1.0),
        ("param_scheduler = []", "schedule.warmup_iterations", 0),
        ("model = dict(test_cfg=dict(score_thr=0.05))", "eval.score_threshold", 0.05),
        ("model = dict(backbone=dict(init_cfg=None))", "model.weights", ""),
        ("load_from = 'a/b.pth'", "model.weights", "a/b.pth"),
        ("train_cfg = dict(val_interval=3)", "eval.interval", 3),
    ],
)
def test_a_setting_becomes_a_field(migrated, text, field, value) -> None:
    section, _, key = field.partition(".")
    assert getattr(getattr(migrated(TINY + text).recipe, section), key) == value


def pipeline(*steps: str) -> str:
    return TINY + f"train_dataloader = dict(dataset=dict(pipeline=[{', '.join(steps)}]))"


MOSAIC = "dict(type='CachedMosaic')"
CROP = "dict(type='RandomCrop', crop_size=(320, 320))"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (
            ["dict(type='CachedMosaic', prob=0.5, max_cached_images=7)"],
            {"mosaic": 0.5, "mosaic_cache": 7, "mixup": 0.0},
        ),
        (["dict(type='CachedMixUp', prob=0.25)"], {"mixup": 0.25, "mixup_cache": 20, "mosaic": 0.0}),
        (["dict(type='RandomFlip', prob=0.3)"], {"flip": 0.3}),
        (["dict(type='RandomFlip', prob=[0.3, 0.2], direction=['vertical', 'horizontal'])"], {"flip": 0.2}),
        ([], {"flip": 0.0, "hue": 0, "saturation": 0, "value": 0, "mosaic": 0.0, "mixup": 0.0}),
        (["dict(type='YOLOXHSVRandomAug', hue_delta=9)"], {"hue": 9, "saturation": 30, "value": 30}),
        (
            [MOSAIC, "dict(type='RandomResize', scale=(640, 640), ratio_range=(0.5, 1.5))"],
            {"resize_ratio": (0.5, 1.5)},
        ),
        (
            [MOSAIC, "dict(type='RandomResize', scale=(320, 320), ratio_range=(0.5, 1.5))"],
            {"resize_ratio": (0.25, 0.75)},
        ),
        (
            ["dict(type='RandomResize', scale=(320, 320), ratio_range=(0.5, 1.5))"],
            {"resize_ratio": (0.5, 1.5)},
        ),
    ],
)  # fmt: skip
def test_a_pipeline_becomes_the_augmentation(migrated, steps, expected) -> None:
    found = migrated(pipeline(*steps, CROP)).recipe
    assert found.data.input_size == 320
    assert {key: getattr(found.augment, key) for key in expected} == expected


def test_without_mosaic_and_mixup_the_whole_run_is_stage_2(migrated) -> None:
    assert migrated(pipeline(CROP)).recipe.schedule.stage2_epoch == 0


@pytest.mark.parametrize(("size", "side"), [("(640, 384)", 640), ("(500, 500)", 512), ("[320, 320]", 320)])
def test_an_input_that_is_no_square_of_a_multiple_of_32_is_adapted(migrated, size, side) -> None:
    found = migrated(pipeline(f"dict(type='RandomCrop', crop_size={size})"))
    assert found.recipe.data.input_size == side
    assert ("RandomCrop.crop_size" in rows(found, "adapted")) == (size != "[320, 320]")


def test_steps_and_hooks_without_a_counterpart_are_named_with_the_reason(migrated) -> None:
    found = migrated(
        pipeline("dict(type='RandomAffine')", "dict(type='Albu', transforms=[])", CROP)
        + "\ncustom_hooks = [dict(type='MyHook')]\n"
        "model = dict(bbox_head=dict(loss_bbox=dict(type='DIoULoss')))"
    )
    left = rows(found, "unsupported")
    for key in ("RandomAffine", "Albu", "custom_hooks MyHook", "model.bbox_head.loss_bbox.type"):
        assert left[key].strip()


def test_repeated_data_make_longer_epochs(migrated) -> None:
    found = migrated(
        TINY
        + "train_dataloader = dict(dataset=dict(_delete_=True, type='RepeatDataset', times=3, dataset=dict(\n"
        "    type='CocoDataset', ann_file='a.json', pipeline=_base_.train_pipeline)))\n"
        "train_cfg = dict(max_epochs=10, val_interval=1)"
    ).recipe
    assert (found.schedule.epochs, found.eval.interval) == (30, 3)


def test_iterations_are_epochs_once_the_number_of_images_is_known(migrated) -> None:
    text = TINY + "train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=1000)"
    assert migrated(text, train_images=320).recipe.schedule.epochs == 100
    assert "train_cfg.max_iters" in rows(migrated(text), "unsupported")


def test_a_value_that_no_recipe_allows_is_left_out_with_the_reason(migrated) -> None:
    found = migrated(TINY + "optim_wrapper = dict(optimizer=dict(lr=5))")
    assert found.recipe.optim.lr == 0.004
    assert "below 1" in rows(found, "unsupported")["optim_wrapper.optimizer.lr"]


@pytest.mark.parametrize(
    "text",
    [
        "train_cfg = None", "train_dataloader = None", "optim_wrapper = None",
        "param_scheduler = dict(type=5)",
        "custom_hooks = [None, 1]", "default_hooks = []", "model = dict(test_cfg=[])", "randomness = 3",
        "train_dataloader = dict(dataset=[1])", "val_evaluator = []", "auto_scale_lr = 1", "load_from = 5",
        "train_cfg = dict(max_epochs='a')", "model = dict(backbone=dict(frozen_stages='all'))",
        "train_dataloader = dict(batch_size=-3)", "model = dict(bbox_head=dict(num_classes=None))",
        "optim_wrapper = dict(optimizer=dict(lr=True), paramwise_cfg=[])",
        "custom_hooks = [dict(type='PipelineSwitchHook', switch_epoch=9999)]",
        "train_dataloader = dict(dataset=dict(ann_file=3, data_prefix='train', metainfo=[]))",
        "param_scheduler = [dict(type='CosineAnnealingLR', begin='x', eta_min=None)]",
    ],
)  # fmt: skip
def test_settings_of_an_unexpected_type_still_give_a_recipe(migrated, text) -> None:
    text = text if "_base_" in text else TINY + text.replace("= None", "= None", 1)
    try:
        found = migrated(text)
    except InputError as error:  # MMEngine refuses to merge them, too
        assert "_delete_" in str(error) or "dictionary" in str(error)
    else:
        assert Recipe().override(found.recipe.to_dict()) == found.recipe


# --- other models

HEAD = "dict(type='RTMDet', bbox_head=dict(type='RTMDetSepBNHead'), "


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("dict(type='FasterRCNN', roi_head=dict())", "config of 'FasterRCNN'; only RTMDet"),
        ("dict(type='YOLODetector', bbox_head=dict(type='YOLOv8Head'))", "YOLODetector with YOLOv8Head"),
        ("dict(type='mmdet.RTMDet', bbox_head=dict(type='RotatedRTMDetSepBNHead'))", "rotated RTMDet"),
        (
            HEAD + "backbone=dict(type='SwinTransformer'))",
            "backbone 'SwinTransformer'",
        ),
        (
            HEAD + "backbone=dict(type='CSPNeXt', arch='P6'))",
            "backbone 'CSPNeXt P6'",
        ),
        (
            HEAD + "backbone=dict(type='CSPNeXt', deepen_factor=0.5, widen_factor=0.5))",
            "no published size",
        ),
        ("[1]", "states no model"),
    ],
)
def test_another_model_is_refused_by_its_name(migrated, model, why) -> None:
    with pytest.raises(InputError, match=why):
        migrated(f"model = {model}")


def test_a_config_without_a_model_is_refused(migrated) -> None:
    with pytest.raises(InputError, match="states no model"):
        migrated("data_root = 'a'")


# --- the table and the file


def test_the_table_fits_a_terminal_and_names_each_group(migrated) -> None:
    found = migrated(
        TINY + "num_classes = 3\nload_from = 'https://example.org/" + "x" * 200 + ".pth'\n"
        "custom_hooks = [dict(type='" + "MyHook" * 30 + "')]\nwork_dir = '\x1b[31mred'"
    )
    lines = found.render()
    assert max(map(len, lines)) <= WIDTH
    heads = [line for line in lines if not line.startswith(" ")]
    assert [head.partition(" (")[0] for head in heads] == [
        "taken over", "adapted", "unsupported, left out", "without effect in the original"
    ]  # fmt: skip
    assert "\x1b" not in "".join(lines)
    assert sum(int(head.rpartition("(")[2].rstrip(")")) for head in heads) == len(found.rows)


def test_the_recipe_is_the_same_after_writing_and_reading(migrated, tmp_path) -> None:
    found = migrated(TINY + "load_from = 'a\\nb'\ntrain_dataloader = dict(dataset=dict(data_root='a\\nb'))")
    (tmp_path / "r.toml").write_text(found.to_toml(), "utf-8")
    assert read_recipe(tmp_path / "r.toml") == found.recipe
    assert dataclasses.is_dataclass(found.recipe)


def test_the_document_holds_recipe_data_and_rows(migrated) -> None:
    document = migrated(TINY).to_dict()
    assert document["recipe"]["schedule"]["epochs"] == 300
    assert document["data"]["splits"]["train"][0]["annotations"].endswith("instances_train2017.json")
    assert sum(document["counts"].values()) == len(document["rows"])


def test_a_dumped_config_gives_the_recipe_of_its_source(migrated) -> None:
    source = migrated(TINY + "train_cfg = dict(max_epochs=12)\nrandomness = dict(seed=4)")
    dumped = "\n".join(f"{key} = {value!r}" for key, value in source.config.values.items())
    full_names = dumped.replace("'RTMDet'", "'mmdet.models.detectors.rtmdet.RTMDet'")
    full_names = full_names.replace("'CachedMosaic'", "'mmdet.datasets.transforms.CachedMosaic'")
    for text in (dumped, full_names):
        found = migrated(text)
        assert found.recipe == source.recipe
        assert found.data.splits == source.data.splits
        assert found.config.published == ()
