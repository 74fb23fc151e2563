"""Data of a config: where they are, which classes are kept, and what is refused."""

import json
from pathlib import Path

import pytest
from PIL import Image

from aerostat.datasets.dataset import Dataset
from aerostat.errors import InputError
from aerostat.migration import read_data
from aerostat.migration.data import data_of
from aerostat.openmmlab import read_config


def write_coco(path: Path, images: Path, names: list[str], first: int = 0) -> None:
    """Write two images, each with an object of every class."""
    listed, annotations = [], []
    for number in (first, first + 1):
        images.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), (90, 120, 160)).save(images / f"{number}.png")
        listed.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 48})
        for label in range(len(names)):
            box = {"bbox": [4 * label, 5, 20, 20], "area": 400, "iscrowd": 0, "category_id": 10 + label}
            annotations.append({"id": len(annotations) + 1, "image_id": number, **box})
    categories = [{"id": 10 + label, "name": name} for label, name in enumerate(names)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": listed, "annotations": annotations, "categories": categories}))


def loaders(root: str, **more: str) -> str:
    text = "metainfo = dict(classes=('cat', 'dog'))\n" * ("classes" not in more)
    text += more.get("classes", "")
    for split in ("train", "val"):
        text += (
            f"{split}_dataloader = dict(dataset=dict(\n"
            f"    type='CocoDataset', data_root='{root}', metainfo=metainfo,\n"
            f"    ann_file='annotations/{split}.json', data_prefix=dict(img='images/{split}/')))\n"
        )
    return text


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for number, split in enumerate(("train", "val", "test")):
        folder = tmp_path / "data"
        names = ["dog", "cat", "bird"]
        write_coco(folder / "annotations" / f"{split}.json", folder / "images" / split, names, 10 * number)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(place: Path, text: str):
    (place / "config.py").write_text(text)
    return read_data(data_of(read_config(place / "config.py")))


def test_listed_classes_are_kept_in_their_order_and_others_left_out(place) -> None:
    dataset = read(place, loaders("data"))
    assert dataset.classes == ("cat", "dog")
    split = dataset.splits["train"]
    assert list(dataset.splits) == ["train", "val"] and len(split) == 2
    assert split.images[0].instances.labels.tolist() == [1, 0]
    assert split.images[0].boxes_xyxy().tolist() == [[0, 5, 20, 25], [4, 5, 24, 25]]
    assert split.category_ids == (11, 10)


def test_without_classes_those_of_the_files_are_taken(place) -> None:
    dataset = read(place, loaders("data", classes="metainfo = dict()\n"))
    assert dataset.classes == ("dog", "cat", "bird")
    assert dataset.splits["val"].box_count == 6


def test_a_class_name_with_a_typo_never_means_no_objects(place) -> None:
    with pytest.raises(InputError, match="Did you mean 'bird'"):
        read(place, loaders("data", classes="metainfo = dict(classes=('birt',))\n"))


def test_images_without_a_listed_class_stay_as_background(place) -> None:
    path = place / "data" / "annotations" / "train.json"
    document = json.loads(path.read_text())
    document["annotations"] = [
        a for a in document["annotations"] if a["image_id"] == 0 or a["category_id"] == 12
    ]
    path.write_text(json.dumps(document))
    split = read(place, loaders("data")).splits["train"]
    assert [len(image.instances) for image in split.images] == [2, 0]


def test_paths_are_found_below_a_folder_above_the_config(place, tmp_path, monkeypatch) -> None:
    deep = place / "configs" / "mine"
    deep.mkdir(parents=True)
    (deep / "config.py").write_text(loaders("data"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert read_data(data_of(read_config(deep / "config.py"))).splits["train"].box_count == 4


def test_the_end_of_an_absolute_path_that_is_gone_is_found(place) -> None:
    dataset = read(place, loaders("/home/somebody/project/data"))
    assert dataset.splits["train"].box_count == 4


def test_missing_data_are_refused_with_the_file(place) -> None:
    with pytest.raises(InputError, match=r"names nowhere/annotations/train\.json for train"):
        read(place, loaders("nowhere"))


def test_a_test_split_that_is_missing_is_left_out(place) -> None:
    text = loaders("data") + "test_dataloader = dict(dataset=dict(ann_file='none.json', data_root='data'))\n"
    assert list(read(place, text).splits) == ["train", "val"]
    text = text.replace("none.json", "annotations/test.json', data_prefix=dict(img='images/test'), type='X")
    assert list(read(place, text).splits) == ["train", "val", "test"]


def test_a_concatenation_is_one_split(place) -> None:
    text = loaders("data") + (
        "one = dict(type='CocoDataset', data_root='data', ann_file='annotations/train.json',\n"
        "           metainfo=metainfo, data_prefix=dict(img='images/train'))\n"
        "two = dict(type='CocoDataset', data_root='data', ann_file='annotations/test.json',\n"
        "           data_prefix=dict(img='images/test'))\n"
        "train_dataloader = dict(dataset=dict(type='ConcatDataset', datasets=[one, two]))\n"
    )
    split = read(place, text).splits["train"]
    assert [image.file_name for image in split.images] == ["0.png", "1.png", "20.png", "21.png"]
    assert split.box_count == 8


def test_a_config_that_names_no_data_is_refused(place) -> None:
    with pytest.raises(InputError, match="names no training data"):
        read(place, "model = dict()")


def test_a_run_can_read_the_data_again(place) -> None:
    found = read(place, loaders("data"))
    assert found.origin is not None
    again = Dataset.read_again(found.origin)
    assert (again.classes, again.splits["val"].images) == (found.classes, found.splits["val"].images)
