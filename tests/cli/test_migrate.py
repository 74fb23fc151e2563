"""The verb `migrate`, and verbs that take a config or a work directory of MMDetection."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest

TINY = "_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'\n"
NANO = (
    "_base_ = 'mmdet::rtmdet/rtmdet_nano_8xb32-300e_coco.py'\n"
    "metainfo = dict(classes=('{name}',))\n"
    "test_pipeline = [dict(type='Resize', scale=(64, 64), keep_ratio=True)]\n"
    "train_pipeline = [dict(type='RandomCrop', crop_size=(64, 64))]\n"
    "train_dataloader = dict(batch_size=2, dataset=dict(data_root='{root}', metainfo=metainfo,\n"
    "    ann_file='train/_annotations.coco.json', data_prefix=dict(img='train'), pipeline=train_pipeline))\n"
    "val_dataloader = dict(dataset=dict(data_root='{root}', metainfo=metainfo,\n"
    "    ann_file='val/_annotations.coco.json', data_prefix=dict(img='val'), pipeline=test_pipeline))\n"
    "test_dataloader = val_dataloader\n"
    "train_cfg = dict(max_epochs=2, val_interval=1)\n"
    "randomness = dict(seed=7)\n"
)


def config_of(data: Path, name: str = "disc", text: str = NANO) -> Path:
    path = Path("config.py")
    path.write_text(text.format(root=data, name=name))
    return path


def test_migrate_prints_a_table_of_80_columns_and_the_next_command(aerostat, working_folder):
    Path("my.py").write_text(TINY + "num_classes = 1\n")
    ended = aerostat("migrate", "my.py")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("taken over (") and lines[-1] == "aerostat train my.py"
    assert "without effect in the original (1)" in lines
    assert [path.name for path in working_folder.iterdir()] == ["my.py"]


def test_migrate_prints_one_document(aerostat):
    Path("my.py").write_text(TINY)
    document = aerostat("migrate", "my.py", "--json").document
    assert document["recipe"]["optim"]["lr"] == 0.004
    assert {row["group"] for row in document["rows"]} >= {"taken over", "adapted", "unsupported"}
    assert document["out"] is None


def test_migrate_writes_a_recipe_that_train_takes(aerostat, coco, assert_refused):
    Path("my.py").write_text(
        TINY + "train_cfg = dict(max_epochs=7)\nmodel = dict(backbone=dict(init_cfg=None))\n"
    )
    ended = aerostat("migrate", "my.py", "--out", "r.toml")
    assert "wrote r.toml" in ended.out
    recipe = tomllib.loads(Path("r.toml").read_text())
    assert recipe["schedule"]["epochs"] == 7
    assert_refused(aerostat("migrate", "my.py", "--out", "r.toml"), "r.toml exists already", "--force")
    assert aerostat("migrate", "my.py", "--out", "r.toml", "--force").code == 0
    assert tomllib.loads(aerostat("train", coco, "--recipe", "r.toml", "--dry-run").out) == recipe


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import os\nos.system('touch made')", ["my.py, line 1", "import of 'os'"]),
        ("x = 1\ny = open('made', 'w')", ["my.py, line 2", "is not executed"]),
        ("x = (", ["my.py, line 1", "no Python"]),
        ("_base_ = 'my.py'", ["my.py inherits from itself"]),
        (
            "_base_ = '../gone.py'",
            ["my.py, line 1", "'../gone.py' is neither a .py file on disk nor a published"],
        ),
        ("model = dict(type='FasterRCNN')", ["'FasterRCNN'", "only RTMDet"]),
        ("", ["states no model"]),
    ],
)
def test_a_config_that_cannot_be_migrated_is_refused_in_a_sentence(
    aerostat, working_folder, coco, assert_refused, text, words
):
    Path("my.py").write_text(text)
    for command in (
        ["migrate", "my.py", "--out", "r.toml"],
        ["migrate", "my.py", "--json"],
        ["train", "my.py"],
        ["train", coco, "--recipe", "my.py"],
    ):
        assert_refused(aerostat(*command), *words)
    assert [path.name for path in working_folder.iterdir()] == ["my.py"]


def test_a_missing_config_is_refused(aerostat, assert_refused):
    assert_refused(aerostat("migrate", "none.py"), "none.py", "found nothing")
    assert_refused(aerostat("train", "none.py"), "none.py", "found nothing")


# --- train


def test_train_takes_data_and_recipe_of_a_config(aerostat, coco):
    ended = aerostat("train", config_of(coco), "--dry-run", "--epochs", "3")
    assert ended.code == 0
    recipe = tomllib.loads(ended.out)
    assert recipe["model"] == {"size": "nano", "weights": "", "freeze": "none", "masks": False}
    assert (recipe["data"]["input_size"], recipe["run"]["seed"]) == (64, 7)
    assert recipe["schedule"]["epochs"] == 3  # options beat the config
    for words in ("settings taken over", "adapted (", "disc", "nothing uses"):
        assert words in ended.err or words == "nothing uses"


def test_weights_that_cannot_be_had_are_missed_before_the_data_are_read(aerostat, working_folder):
    Path("my.py").write_text(TINY + "load_from = 'gone/epoch_12.pth'\n")
    ended = aerostat("train", "my.py", "--device", "cpu")
    assert (ended.code, ended.out) == (2, "")
    last = ended.err.splitlines()[-1]
    assert "gone/epoch_12.pth" in last and "--weights ''" in last
    assert [path.name for path in working_folder.iterdir()] == ["my.py"]


def test_train_on_other_data_with_the_recipe_of_a_config(aerostat, via):
    words = ["--classes", "disc", "--recipe", config_of(Path("gone"), "balloon"), "--dry-run"]
    ended = aerostat("train", via, *words)
    assert tomllib.loads(ended.out)["data"]["input_size"] == 64
    assert "3" in ended.err and "disc" in ended.err


def test_a_preset_on_the_data_of_a_config(aerostat, coco):
    ended = aerostat("train", config_of(coco), "--recipe", "small", "--dry-run", "--model", "rtmdet-nano")
    assert tomllib.loads(ended.out)["schedule"]["epochs"] == 100


def test_what_a_config_states_cannot_be_given_again(aerostat, coco, assert_refused):
    ended = aerostat("train", config_of(coco), "--classes", "disc", "--dry-run")
    assert (ended.code, ended.out) == (2, "")
    assert "--classes cannot go with a config" in ended.err.splitlines()[-1]


def test_data_that_are_not_where_the_config_says_are_refused(aerostat, working_folder):
    ended = aerostat("train", config_of(Path("/nowhere/at/all")))
    assert ended.code == 2 and ended.out == ""
    last = ended.err.splitlines()[-1]
    assert "/nowhere/at/all/train/_annotations.coco.json for train" in last and "--recipe" in last
    assert [path.name for path in working_folder.iterdir()] == ["config.py"]


def test_eval_takes_the_data_of_a_config(aerostat, coco, weights):
    assert aerostat("eval", weights, config_of(coco), "--json").document["images"] == 3


@pytest.mark.slow
def test_a_config_trains_and_its_run_is_evaluated_and_reported(aerostat, coco):
    path = config_of(coco)
    ended = aerostat("train", path, "--out", "run", "--device", "cpu")
    assert ended.code == 0, ended.err
    recipe = tomllib.loads(Path("run/recipe.toml").read_text())
    assert recipe["schedule"]["epochs"] == 2 and recipe["optim"]["batch_size"] == 2
    assert Path("run/last.safetensors").is_file() and Path("run/report.html").is_file()
    assert aerostat("report", "run", path).code == 0
    assert aerostat("eval", "run", path, "--json").document["images"] == 3


@pytest.mark.slow
def test_the_config_of_a_user_trains_on_balloon(aerostat, balloon, shared, tmp_path):
    config = shared / "configs" / "my_rtmdet_tiny_8xb32-300e_coco.py"
    words = [
        "--recipe",
        config,
        "--classes",
        "balloon",
        "--weights",
        "",
        "--epochs",
        "1",
        "--batch-size",
        "2",
    ]
    few = tmp_path / "few"
    for split in ("train", "val"):
        (few / split).mkdir(parents=True)
        entries = json.loads((balloon / split / "via_region_data.json").read_text())
        chosen = dict(list(entries.items())[:2])
        (few / split / "via.json").write_text(json.dumps(chosen))
        for entry in chosen.values():
            shutil.copy(balloon / split / entry["filename"], few / split)
    ended = aerostat("train", few, *words, "--input-size", "320", "--device", "cpu", "--out", "run")
    assert ended.code == 0, ended.err
    recipe = tomllib.loads(Path("run/recipe.toml").read_text())
    assert (recipe["optim"]["lr"], recipe["model"]["size"]) == (0.0032, "tiny")
    assert Path("run/last.safetensors").is_file()


# --- work directories


@pytest.fixture
def work_dir(coco, weights, aerostat) -> Path:
    """What MMDetection leaves behind: weights that `export` wrote, the dumped config and a log."""
    folder = Path("work_dirs/config")
    logs = folder / "20230610_053501" / "vis_data"
    logs.mkdir(parents=True)
    assert aerostat("export", weights, "--to", "openmmlab", "--out", folder / "epoch_2.pth").code == 0
    shutil.copy(folder / "epoch_2.pth", folder / "best_coco_bbox_mAP_epoch_1.pth")
    (folder / "last_checkpoint").write_text("/root/work_dirs/config/epoch_2.pth")
    shutil.copy(config_of(coco, text=NANO.replace("(64, 64), keep", "(96, 96), keep")), folder / "config.py")
    lines = []
    for epoch in (1, 2):
        parts = {"loss": 3.0 / epoch, "loss_cls": 2.0 / epoch, "loss_bbox": 1.0 / epoch}
        lines.append({"lr": 0.001, "epoch": epoch, "iter": epoch, "step": epoch, **parts})
        lines.append({"coco/bbox_mAP": 0.5 / epoch, "coco/bbox_mAP_50": 0.6 / epoch, "step": epoch})
    (logs / "scalars.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_predict_and_eval_take_a_work_directory(aerostat, work_dir, coco):
    ended = aerostat("predict", work_dir, coco / "val" / "0.jpg", "--out", "found", "--no-pictures")
    assert ended.code == 0, ended.err
    assert "best_coco_bbox_mAP_epoch_1.pth at 96 x 96 px" in ended.err
    assert "disc" in aerostat("eval", work_dir, coco).out
    assert aerostat("eval", work_dir, coco, "--json").document["images"] == 3
    (work_dir / "best_coco_bbox_mAP_epoch_1.pth").unlink()
    assert "epoch_2.pth at 96 x 96 px" in aerostat("eval", work_dir, coco).err


def test_a_config_that_cannot_be_parsed_costs_classes_and_size_only(aerostat, work_dir, coco):
    (work_dir / "config.py").write_text("import os")
    ended = aerostat("eval", work_dir, coco)
    assert ended.code == 0 and "import of 'os'" in ended.err


def test_a_directory_without_weights_is_refused(aerostat, working_folder, coco, assert_refused):
    Path("empty").mkdir()
    assert_refused(aerostat("eval", "empty", coco), "empty is no run with weights", ".pth")
    assert_refused(aerostat("report", "empty"), "empty is no run")


@pytest.mark.slow
def test_report_writes_a_page_about_a_work_directory(aerostat, work_dir, coco):
    ended = aerostat("report", work_dir)
    assert ended.code == 0, ended.err
    page = (work_dir / "report.html").read_text()
    assert f"wrote {work_dir / 'report.html'}" in ended.out
    for words in (
        "0.500",
        "Curves",
        "Migration",
        "Images and labels",
        "best_coco_bbox_mAP_epoch_1.pth",
        "disc",
    ):
        assert words in page
    assert page.count("data:image/png") >= 3
    shutil.rmtree(coco / "train")
    assert aerostat("report", work_dir).code == 0
    assert "are left out" in (work_dir / "report.html").read_text()
