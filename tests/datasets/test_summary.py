import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Instance, Problem, Split
from aerostat.datasets.summary import DataCard, data_card, require_usable
from aerostat.errors import InputError


def box(area: float, label: int = 0, crowd: bool = False) -> Instance:
    return Instance((0, 0, area / 10, 10), label, area=area, crowd=crowd)


def image(name: str, *instances: Instance, size: tuple[int, int] = (640, 480)) -> ImageRecord:
    return ImageRecord(Path(name), name, *size, instances)


def dataset(
    *images: ImageRecord, problems: tuple[Problem, ...] = (), classes: tuple[str, ...] = ("cat", "dog")
):
    return Dataset(classes, {"train": Split("train", classes, tuple(range(len(classes))), images, problems)})


def text(card: DataCard, width: int = 80) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(card.render())
    return console.export_text()


def test_the_card_counts_images_objects_classes_and_sizes() -> None:
    # COCO's bounds: 32 x 32 and 96 x 96 themselves are medium.
    objects = [box(1023.9), box(1024), box(9216), box(9216.1), box(50_000, label=1), box(99, crowd=True)]
    card = data_card(dataset(image("a", *objects), image("b", size=(100, 900)), image("c", size=(300, 100))))
    (split,) = card.splits
    assert (split.images, split.images_without_objects, split.instances, split.crowd) == (3, 2, 5, 1)
    assert split.instances_per_class == {"cat": 4, "dog": 1}
    assert (split.small, split.medium, split.large) == (1, 2, 2)
    assert (split.width, split.height) == ((100, 300, 640), (100, 480, 900))


def test_outlines_masks_and_boxes_alone_are_counted_without_crowd_regions() -> None:
    square = (np.asarray([(0.0, 0.0), (5.0, 0.0), (5.0, 10.0)]),)
    rle = {"size": [480, 640], "counts": [0, 10, 480 * 640 - 10]}
    shaped = [Instance((0, 0, 5, 10), 0, square), Instance((0, 0, 5, 10), 0, square, rle)]
    crowd = [Instance((0, 0, 5, 10), 0, square, crowd=True), box(5, crowd=True)]
    card = data_card(
        dataset(image("a", *shaped, *crowd, box(50)), image("b", Instance((0, 0, 1, 1), 0, (), rle)))
    )
    (split,) = card.splits
    assert (split.outlined, split.run_lengths, split.box_only) == (2, 1, 1)
    expected = (
        "2 objects with outlines, 1 with run-length masks, 1 with a box only, left out of the mask loss"
    )
    assert f"train: {expected}" in " ".join(text(card).split())


def test_a_card_of_boxes_alone_has_no_line_about_outlines() -> None:
    card = data_card(dataset(image("a", box(50))))
    assert card.splits[0].box_only == 1 and card.splits[0].shapes == ""
    assert "outline" not in text(card) and "mask" not in text(card)


def test_problems_are_counted_by_kind_with_the_first_few() -> None:
    problems = tuple(Problem("train", f"{n}.png", "clipped", f"region {n}") for n in range(10))
    problems += (Problem("train", "x.png", "missing image", "gone"),)
    (split,) = data_card(dataset(image("a"), problems=problems)).splits
    assert [(p.kind, p.count, len(p.first)) for p in split.problems] == [
        ("missing image", 1, 1),
        ("clipped", 10, 3),
    ]
    assert split.problems[1].first[0].file_name == "0.png"


def test_the_card_is_json() -> None:
    problems = (Problem("train", "x.png", "missing image", "gone"),)
    told = json.loads(json.dumps(data_card(dataset(image("a", box(50)), problems=problems)).to_dict()))
    assert told["splits"][0]["problems"][0]["first"][0]["file_name"] == "x.png"


def test_the_card_fits_80_columns_whatever_the_names() -> None:
    classes = tuple(f"class [bold] number {n} " + "long " * 30 for n in range(50))
    problems = (Problem("train", "f" * 200 + ".png", "clipped", "[red]region 1 has the box (1, 2, 3, 4)"),)
    lines = text(data_card(dataset(image("a", box(50)), problems=problems, classes=classes))).splitlines()
    assert max(map(len, lines)) <= 80
    assert any("31 more" in line for line in lines)
    assert any("[bold]" in line for line in lines) and any("[red]" in line for line in lines)


def test_the_card_of_an_empty_split_renders() -> None:
    card = data_card(dataset())
    assert card.splits[0].width == (0, 0.0, 0)
    assert "train" in text(card)


def test_a_split_without_usable_boxes_is_refused_with_the_reasons() -> None:
    problems = (Problem("train", "x.png", "degenerate box", "flat"),) * 4
    data = dataset(image("a", box(5, crowd=True)), problems=problems)
    found = r"'train', found none on 1 image \(degenerate box: 4, .*; 1 crowd region, "
    with pytest.raises(InputError, match=found):
        require_usable(data, ["train"])
    with pytest.raises(InputError, match="its annotations hold no objects"):
        require_usable(dataset(image("a")), ["train"])


def test_a_split_with_one_box_is_usable_and_a_missing_one_is_not() -> None:
    data = dataset(image("a", box(5)), image("b"))
    require_usable(data, ["train"])
    with pytest.raises(InputError, match="named 'val'"):
        require_usable(data)


def test_the_card_of_the_balloon_photographs(balloon: Path) -> None:
    card = data_card(Dataset.read(balloon, ["balloon"]))
    train, val = card.splits
    assert (train.instances_per_class, val.instances_per_class) == ({"balloon": 255}, {"balloon": 50})
    assert (val.small, val.medium, val.large) == (3, 17, 30)
    assert (train.outlined, train.run_lengths, train.box_only, val.outlined) == (255, 0, 0, 50)
    assert "120853323_d4788431b9_b.jpg: region 4" in " ".join(text(card).split())
