"""Where the images and labels of a YOLO data set are found."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.errors import InputError

LINE = "0 0.5 0.5 0.2 0.5\n"
BOX = [40.0, 20.0, 60.0, 60.0]
Make = Callable[..., Path]


@pytest.fixture
def make(images) -> Make:
    """Write images and texts by their names into a folder."""

    def write(folder: str, *names: str, **texts: str) -> Path:
        root = images(folder, *names)
        root.mkdir(exist_ok=True)
        return put(root, {name.replace("__", "/"): text for name, text in texts.items()})

    return write


def put(root: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def facts(data: Dataset) -> dict[str, list[tuple[str, list[list[float]]]]]:
    """Image names and boxes by split."""
    return {
        name: [(image.file_name, image.instances.boxes_xyxy.tolist()) for image in split.images]
        for name, split in data.splits.items()
    }


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))
    return path


@pytest.fixture
def roboflow(make: Make) -> Path:
    """What Roboflow exports: its paths lead out of the folder."""
    root = make("pets", "train/images/a.jpg", "train/images/b.jpg", "valid/images/c.jpg", "test/images/d.jpg")
    labels = {f"{name}.txt": LINE for name in ("train/labels/a", "valid/labels/c", "test/labels/d")}
    config = (
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 1\nnames: ['cat']\n\n"
        "roboflow:\n  workspace: w\n  version: 1\n"
    )
    return put(root, {**labels, "train/labels/b.txt": "", "data.yaml": config})


ROBOFLOW = {
    "train": [("a.jpg", [BOX]), ("b.jpg", [])],
    "val": [("c.jpg", [BOX])],
    "test": [("d.jpg", [BOX])],
}


@pytest.mark.parametrize("form", ["folder", "yaml", "zip"])
def test_roboflows_export_is_read(roboflow: Path, form: str) -> None:
    path = {"folder": roboflow, "yaml": roboflow / "data.yaml"}.get(form) or zipped(roboflow)
    data = Dataset.read(path)
    assert facts(data) == ROBOFLOW and data.classes == ("cat",) and not data.problems


def test_a_wrong_folder_above_does_not_count(roboflow: Path, images) -> None:
    images(".", "train/images/other.jpg")
    assert facts(Dataset.read(roboflow)) == ROBOFLOW


def test_roboflows_folders_need_no_data_yaml(roboflow: Path) -> None:
    (roboflow / "data.yaml").unlink()
    data = Dataset.read(roboflow)
    assert facts(data) == ROBOFLOW and data.classes == ("0",)
    assert Dataset.read(roboflow, ["kite"]).classes == ("kite",)
    assert facts(Dataset.read(roboflow / "valid")) == {"val": ROBOFLOW["val"]}


def test_one_split_of_an_export_has_the_names_of_the_whole(roboflow: Path) -> None:
    assert Dataset.read(roboflow / "valid").classes == ("cat",)
    assert Dataset.read(roboflow / "train" / "labels").classes == ("cat",)
    assert facts(Dataset.read(roboflow / "train" / "images")) == {"train": ROBOFLOW["train"]}


def test_a_data_yaml_in_another_folder_leads_up(roboflow: Path) -> None:
    (roboflow / "configs").mkdir()
    (roboflow / "data.yaml").rename(roboflow / "configs" / "pets.yaml")
    assert facts(Dataset.read(roboflow / "configs" / "pets.yaml")) == ROBOFLOW


@pytest.mark.parametrize(
    "root",
    ["", ".", "''", "pets", "../pets", "/content/datasets/pets", "C:\\Users\\me\\pets", "~", "{here}"],
)
@pytest.mark.parametrize(
    "places",
    ["images/{split}", "/content/pets/images/{split}", "[images/{split}]", "D:\\pets\\images\\{split}"],
)
def test_path_may_come_from_another_computer(make: Make, root: str, places: str) -> None:
    folder = make("pets", "images/train/a.jpg", "images/val/b.jpg")
    train, val = places.format(split="train"), places.format(split="val")
    path = f"path: {root.format(here=folder)}\n" if root else ""
    config = f"{path}train: {train}\nval: {val}\nnames:\n  0: cat\n"
    put(folder, {"data.yaml": config, "labels/train/a.txt": LINE, "labels/val/b.txt": LINE})
    expected = {"train": [("a.jpg", [BOX])], "val": [("b.jpg", [BOX])]}
    assert facts(Dataset.read(folder / "data.yaml")) == expected


def test_path_is_relative_to_the_working_folder_too(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make("work/pets", "images/train/a.jpg", labels__train__a__txt="")
    put(folder, {"labels/train/a.txt": LINE})
    put(folder.parent.parent, {"configs/pets.yaml": "path: pets\ntrain: images/train\nnames: [cat]\n"})
    monkeypatch.chdir(folder.parent)
    data = Dataset.read(folder.parent.parent / "configs" / "pets.yaml")
    assert facts(data) == {"train": [("a.jpg", [BOX])]}


def test_a_split_of_several_folders_keeps_them_apart(make: Make) -> None:
    folder = make("pets", "one/images/a.jpg", "two/images/a.jpg")
    config = "train: [one/images, two/images]\nval: [two/images]\nnames: [cat]\n"
    put(folder, {"data.yaml": config, "one/labels/a.txt": LINE, "two/labels/a.txt": LINE})
    both = [("one/images/a.jpg", [BOX]), ("two/images/a.jpg", [BOX])]
    for path in (folder, zipped(folder)):
        assert facts(Dataset.read(path)) == {"train": both, "val": [("a.jpg", [BOX])]}


@pytest.mark.parametrize(
    "prefix",
    [
        "./images/",
        "images/",
        "data/images/",
        "/home/me/pets/images/",
        "C:\\me\\pets\\images\\",
        "../x/images/",
    ],
)
def test_a_list_of_images_may_come_from_another_computer(make: Make, prefix: str) -> None:
    folder = make("pets", "images/b.jpg", "images/sub/a.jpg", "images/c.jpg")
    inner = "sub\\" if "\\" in prefix else "sub/"
    lists = f"{prefix}b.jpg\n{prefix}{inner}a.jpg\n\n{prefix}b.jpg\r\n"
    texts = {"data.yaml": "train: train.txt\nnames: [cat]\n", "train.txt": lists}
    put(folder, {**texts, "labels/b.txt": LINE, "labels/sub/a.txt": LINE, "labels/c.txt": LINE})
    data = Dataset.read(folder)
    assert facts(data) == {"train": [("b.jpg", [BOX]), ("sub/a.jpg", [BOX])]} and not data.problems


DARKNET = {
    "obj.data": "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n"
    "backup = backup/\n",
    "obj.names": "cat\ndog\n",
    "train.txt": "data/obj_train_data/a.jpg\n",
    "valid.txt": "data/obj_valid_data/b.jpg\n",
    "obj_train_data/a.txt": "1 0.5 0.5 0.2 0.5\n",
    "obj_valid_data/b.txt": LINE,
}


@pytest.mark.parametrize("missing", ["", "obj.data", "obj.data train.txt valid.txt"])
def test_darknets_layout_is_read(make: Make, missing: str) -> None:
    folder = put(make("pets", "obj_train_data/a.jpg", "obj_valid_data/b.jpg"), DARKNET)
    for name in missing.split():
        (folder / name).unlink()
    expected = {"train": [("obj_train_data/a.jpg", [BOX])], "val": [("obj_valid_data/b.jpg", [BOX])]}
    if "train.txt" in missing:  # folders alone
        expected = {"train": [("a.jpg", [BOX])], "val": [("b.jpg", [BOX])]}
    for path in (folder, zipped(folder), folder / (missing.split() or ["obj.data"])[0]):
        if path.exists():
            data = Dataset.read(path)
            assert facts(data) == expected and data.classes == ("cat", "dog")
    assert data.splits["train"].images.instances.labels.tolist() == [1]


def test_an_image_list_is_data_by_itself(make: Make) -> None:
    folder = put(make("pets", "obj_train_data/a.jpg", "obj_valid_data/b.jpg"), DARKNET)
    data = Dataset.read(folder / "valid.txt")
    assert facts(data) == {"val": [("obj_valid_data/b.jpg", [BOX])]} and data.classes == ("cat", "dog")


LAYOUTS = {
    "labels/train beside images/train": ("images/train/a.jpg", "labels/train/a.txt", "train"),
    "with a year": ("images/train2017/a.jpg", "labels/train2017/a.txt", "train"),
    "split folders, labels beside images": ("train/a.jpg", "train/a.txt", "train"),
    "images/train, labels beside images": ("images/train/a.jpg", "images/train/a.txt", "train"),
    "train/images, labels beside images": ("train/images/a.jpg", "train/images/a.txt", "train"),
    "images beside labels": ("images/a.jpg", "labels/a.txt", "all"),
    "labels in a folder beside": ("a.jpg", "labels/a.txt", "all"),
    "labels beside images": ("a.jpg", "a.txt", "all"),
    "labels beside images/": ("images/a.jpg", "images/a.txt", "all"),
    "capitals": ("Images/a.jpg", "Labels/a.txt", "all"),
    "other names": ("pictures/a.jpg", "Annotations/a.txt", "all"),
    "labels in an own folder": ("train/img.jpg", "train/labels/img.txt", "train"),
    "suffix in capitals": ("images/a.JPG", "labels/a.txt", "all"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_folders_alone_are_read(make: Make, layout: str, form: str) -> None:
    image, label, split = LAYOUTS[layout]
    folder = put(make("pets", image), {label: LINE, "classes.txt": "cat\ndog\n", "notes.json": "{}"})
    data = Dataset.read(folder if form == "folder" else zipped(folder))
    assert facts(data) == {split: [(Path(image).name, [BOX])]}
    assert data.classes == ("cat", "dog") and not data.problems


def test_names_may_stand_in_each_split_folder(make: Make) -> None:
    folder = make("pets", "train/a.jpg", "valid/b.jpg")
    texts = {f"{split}/_darknet.labels": "cat\ndog\n" for split in ("train", "valid")}
    data = Dataset.read(put(folder, {**texts, "train/a.txt": LINE, "valid/b.txt": LINE}))
    assert facts(data) == {"train": [("a.jpg", [BOX])], "val": [("b.jpg", [BOX])]}
    assert data.classes == ("cat", "dog")


def test_images_may_stand_elsewhere(roboflow: Path, tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / "photos" / split).parent.mkdir(exist_ok=True)
        shutil.move(roboflow / split / "images", tmp_path / "photos" / split)
    assert facts(Dataset.read(roboflow, images=tmp_path / "photos")) == ROBOFLOW
    (roboflow / "data.yaml").unlink()
    assert facts(Dataset.read(roboflow, images=tmp_path / "photos")) == ROBOFLOW
    with pytest.raises(InputError, match=r"None of the images .* can be read, first 'a'.*`images`"):
        Dataset.read(roboflow / "train")


def test_one_label_file_is_data_by_itself(make: Make) -> None:
    folder = put(make("pets", "a.jpg", "b.jpg"), {"a.txt": LINE, "b.txt": LINE, "classes.txt": "cat\n"})
    data = Dataset.read(folder / "a.txt")
    assert facts(data) == {"all": [("a.jpg", [BOX])]} and data.classes == ("cat",) and not data.problems


def test_a_split_may_be_named_by_its_label_folder(make: Make) -> None:
    folder = make("pets", "images/one/a.jpg", "images/two/b.jpg")
    put(folder, {"labels/one/a.txt": LINE, "labels/two/b.txt": LINE, "classes.txt": "cat\n"})
    data = Dataset.read(folder, splits={"train": "labels/one", "val": "labels/two"})
    assert facts(data) == {"train": [("a.jpg", [BOX])], "val": [("b.jpg", [BOX])]}
    assert data.classes == ("cat",)


def test_another_format_wins_over_folders_and_not_over_a_data_yaml(make: Make, write_json) -> None:
    folder = put(make("pets", "images/train/a.jpg"), {"labels/train/a.txt": LINE})
    image = {"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}
    one = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
    coco = {"images": [image], "annotations": [one], "categories": [{"id": 1, "name": "kite"}]}
    write_json(folder / "annotations" / "train.json", coco)
    assert Dataset.read(folder).classes == ("kite",)
    assert Dataset.read(folder / "labels").classes == ("0",)
    put(folder, {"data.yaml": "train: images/train\nnames: [cat]\n"})
    assert Dataset.read(folder).classes == ("cat",)


def test_a_data_yaml_without_labels_leaves_the_folder_to_others(make: Make, write_json) -> None:
    folder = put(make("pets", "train/a.jpg"), {"data.yaml": "train: train\nnames: [cat]\n"})
    with pytest.raises(InputError, match=r"None of the 1 image of train has a label file; .*first.*train"):
        Dataset.read(folder)
    image = {"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}
    one = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
    coco = {"images": [image], "annotations": [one], "categories": [{"id": 1, "name": "kite"}]}
    write_json(folder / "train" / "_annotations.coco.json", coco)
    assert Dataset.read(folder).classes == ("kite",)


def test_other_texts_are_no_labels(make: Make) -> None:
    folder = make("pets", "images/a.jpg", "images/b.jpg")
    kitti = "Car 0.00 0 1.5 10 20 30 40 1 1 1 1 1 1 0\n"
    put(folder, {"labels/a.txt": kitti, "README.txt": "pets", "labels/b.txt": kitti, "classes.txt": "cat\n"})
    with pytest.raises(InputError, match=r"holds 2 images but no annotation file; expected .*YOLO"):
        Dataset.read(folder)


def test_a_test_split_that_is_not_there_is_left_out(roboflow: Path, caplog) -> None:
    shutil.rmtree(roboflow / "test")
    assert list(Dataset.read(roboflow).splits) == ["train", "val"]
    assert "test" in caplog.text and "left out" in caplog.text
    shutil.rmtree(roboflow / "valid")
    with pytest.raises(InputError, match=r"data.yaml: The images of val \('../valid/images'\) are not there"):
        Dataset.read(roboflow)


def test_test_images_without_labels_are_left_out(make: Make) -> None:
    folder = make("pets", "train/images/a.jpg", "test/images/b.jpg")
    put(folder, {"train/labels/a.txt": LINE})
    assert list(Dataset.read(folder).splits) == ["train"]


def test_two_folders_for_one_split_are_refused(make: Make) -> None:
    folder = make("pets", "valid/a.jpg", "val/b.jpg")
    put(folder, {"valid/a.txt": LINE, "val/b.txt": LINE})
    with pytest.raises(InputError, match="two folders for the split 'val', val and valid; keep one"):
        Dataset.read(folder)


def test_several_data_yamls_are_refused_unless_one_has_the_usual_name(make: Make) -> None:
    folder = make("pets", "images/a.jpg")
    texts = dict.fromkeys(("a.yaml", "b.yaml"), "train: images\nnames: [cat]\n")
    put(folder, {**texts, "labels/a.txt": LINE, "hyp.yaml": "lr0: 0.1\n", "broken.yaml": "[", "x.data": "y"})
    with pytest.raises(InputError, match=r"several files that list splits \(a.yaml, b.yaml\); name one"):
        Dataset.read(folder)
    assert Dataset.read(folder / "a.yaml").classes == ("cat",)
    put(folder, {"data.yaml": "train: images\nnames: [dog]\n"})
    assert Dataset.read(folder).classes == ("dog",)


def test_no_name_of_a_list_leads_out_of_its_folder(make: Make, images) -> None:
    outside = images("secret", "a.jpg")
    folder = make("pets", "images/a.jpg")
    lists = f"{outside}/a.jpg\n../secret/a.jpg\n../../../etc/hosts.jpg\nimages/a.jpg\n"
    put(folder, {"data.yaml": "train: train.txt\nnames: [cat]\n", "train.txt": lists, "labels/a.txt": LINE})
    put(outside, {"a.txt": LINE})
    with pytest.raises(InputError):  # three names mean one file
        Dataset.read(folder)
    put(folder, {"train.txt": f"{outside}/secret.jpg\nimages/a.jpg\n"})
    data = Dataset.read(folder)
    assert [problem.kind for problem in data.problems] == ["missing image"]
    assert all(folder in image.path.parents for image in data.splits["train"].images)


def test_a_folder_of_many_texts_that_are_no_labels_is_not_read_through(make: Make, monkeypatch) -> None:
    folder = make("pets", "a.jpg")
    put(folder, {f"{number}.txt": "a text" for number in range(500)})
    from aerostat.datasets.formats import yolo_texts

    opened = []
    text = yolo_texts.AnnotationText
    monkeypatch.setattr(yolo_texts, "AnnotationText", lambda path: opened.append(path) or text(path))
    with pytest.raises(InputError):
        Dataset.read(folder)
    assert len(opened) <= 100


def test_paths_of_thousands_of_folders_cost_no_more_than_their_length(make: Make) -> None:
    deep = "images/" * 20_000
    lists = "".join(f"{deep}{number}/x.jpg\n" for number in range(20)) + "images/a.jpg\n"
    texts = {"data.yaml": f"path: /{deep}\ntrain: train.txt\nnames: [cat]\n", "train.txt": lists}
    folder = put(make("pets", "images/a.jpg"), {**texts, "labels/a.txt": LINE})
    data = Dataset.read(folder)
    assert [image.file_name for image in data.splits["train"].images] == ["images/a.jpg"]
    assert len(data.problems) == 20
