"""Work directories of MMEngine: weights, config, classes, test size and logs."""

import json
from pathlib import Path

import pytest

from aerostat.errors import InputError
from aerostat.openmmlab import find_work_dir


def make(folder: Path, *names: str, last: str = "") -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"weights")
    if last:
        (folder / "last_checkpoint").write_text(last)
    return folder


def log(folder: Path, start: str, lines: list[dict]) -> None:
    path = folder / start / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"cut off')


def test_best_and_newest_weights_are_found(tmp_path) -> None:
    names = (
        "epoch_9.pth",
        "epoch_10.pth",
        "best_coco_bbox_mAP_epoch_9.pth",
        "best_coco_bbox_mAP_epoch_10.pth",
    )
    found = find_work_dir(make(tmp_path, *names))
    assert (found.best.name, found.newest.name) == ("best_coco_bbox_mAP_epoch_10.pth", "epoch_10.pth")
    assert found.weights == found.best


def test_last_checkpoint_counts_wherever_the_directory_has_moved(tmp_path) -> None:
    folder = make(tmp_path, "epoch_9.pth", "epoch_10.pth", last="/root/work_dirs/x/epoch_9.pth")
    assert find_work_dir(folder).weights.name == "epoch_9.pth"
    make(tmp_path, last="C:\\work_dirs\\x\\epoch_10.pth")
    assert find_work_dir(folder).weights.name == "epoch_10.pth"
    make(tmp_path, last="../../elsewhere/secret.pth")
    assert find_work_dir(folder).weights.name == "epoch_10.pth"


def test_the_best_weights_of_the_first_versions_stand_in_a_folder(tmp_path) -> None:
    found = find_work_dir(make(tmp_path, "epoch_100.pth", "best_coco/bbox_mAP_epoch_90.pth"))
    assert found.weights == tmp_path / "best_coco" / "bbox_mAP_epoch_90.pth"


def test_other_folders_and_files_are_no_work_directory(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("a")
    (tmp_path / "my.py").write_text("x = 1")
    assert find_work_dir(tmp_path) is None
    assert find_work_dir(tmp_path / "notes.txt") is None
    assert find_work_dir(tmp_path / "none") is None


def test_a_directory_with_logs_alone_has_no_weights(tmp_path) -> None:
    (tmp_path / f"{tmp_path.name}.py").write_text("x = 1")
    log(tmp_path, "20230610_053501", [{"loss": 1.0, "epoch": 1}])
    with pytest.raises(InputError, match=r"no \.pth file"):
        _ = find_work_dir(tmp_path).weights


CONFIG = """
train_dataloader = dict(dataset=dict(type='RepeatDataset', times=2, dataset=dict(
    type='CocoDataset', metainfo=dict(classes=('cat', 'dog')))))
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(600, 330), keep_ratio=True)]))
"""


@pytest.mark.parametrize("place", ["{name}.py", "other.py", "20230610_053501/vis_data/config.py"])
def test_classes_and_test_size_come_from_the_dumped_config(tmp_path, place) -> None:
    path = make(tmp_path, "epoch_1.pth") / place.format(name=tmp_path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CONFIG)
    found = find_work_dir(tmp_path)
    assert (found.classes, found.input_size) == (("cat", "dog"), (608, 352))


def test_without_a_config_nothing_is_stated(tmp_path) -> None:
    found = find_work_dir(make(tmp_path, "epoch_1.pth"))
    assert (found.config, found.classes, found.input_size) == (None, (), None)


def test_logs_become_records_of_a_run(tmp_path) -> None:
    make(tmp_path, "epoch_2.pth")
    iteration = {
        "lr": 1e-3,
        "loss": 1.5,
        "loss_cls": 1.0,
        "loss_bbox": 0.5,
        "epoch": 1,
        "iter": 1,
        "memory": 70,
    }
    validation = {"coco/bbox_mAP": 0.5, "coco/bbox_mAP_50": 0.7, "coco/bbox_mAP_s": -1.0, "step": 1}
    log(tmp_path, "20230610_053501", [iteration, validation, {**iteration, "epoch": 2}, {"other": 1}])
    log(tmp_path, "20230611_000000", [{**iteration, "epoch": 2, "loss": 9}, {**validation, "step": 2}])
    records = find_work_dir(tmp_path).records()
    assert records[0] == {
        "kind": "train", "epoch": 1, "lr": 1e-3, "loss": 1.5, "loss_cls": 1.0, "loss_bbox": 0.5,
        "memory_mb": 70,
    }  # fmt: skip
    assert records[1] == {"kind": "val", "epoch": 1, "ap": 0.5, "ap50": 0.7, "ap_small": -1.0}
    assert [(r["kind"], r["epoch"], r.get("loss")) for r in records[2:]] == [
        ("train", 2, 9),
        ("val", 2, None),
    ]


def test_a_log_of_anything_is_read_without_harm(tmp_path) -> None:
    make(tmp_path, "epoch_2.pth")
    lines = ["[1]", "null", "[" * 5000, '{"loss": "nan"}', '{"loss": 1e400}', '{"loss": true}', "\x00\xff"]
    (tmp_path / "a" / "vis_data").mkdir(parents=True)
    (tmp_path / "a" / "vis_data" / "a.json").write_text("\n".join(lines), "latin-1")
    assert find_work_dir(tmp_path).records() == []
