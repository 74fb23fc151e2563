"""An inspection on disk: what is written, what is replaced, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import Split
from aerostat.errors import InputError
from aerostat.inspection.folder import (
    DOCUMENT,
    MAX_IMAGES,
    TrainingPreview,
    check_request,
    inspect_to_folder,
    plot_pngs,
)
from aerostat.inspection.pictures import stage_pictures
from aerostat.inspection.split_statistics import measure

OnDisk = Callable[..., Split]
PLOTS = {
    "objects_per_class", "objects_per_image", "image_sizes", "box_sizes", "box_aspect_ratios", "box_places",
}  # fmt: skip


def dataset(*splits: Split) -> Dataset:
    return Dataset(splits[0].classes, {split.name: split for split in splits})


@pytest.fixture
def plotless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the plots, where they are not what is looked at."""
    monkeypatch.setattr("aerostat.inspection.folder.plot_pngs", lambda *_, **__: {})


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_split_has_its_sheets_and_all_share_the_plots(on_disk: OnDisk, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = inspect_to_folder(dataset(on_disk(3), on_disk(2, name="val")), out, limit=2)
    sheets = {f"{split}/{name}.jpg" for split in ("train", "val") for name in ("images", "labels")}
    alone = {f"{split}/labelled/{path.name}" for split in ("train", "val")
             for path in (out / split / "labelled").iterdir()}  # fmt: skip
    assert len(alone) == 4
    assert files(out) == sheets | alone | {f"plots/{name}.png" for name in PLOTS} | {DOCUMENT}
    assert {path.relative_to(out).as_posix() for path in done.files} == files(out) - {DOCUMENT}
    for path in done.files:
        assert cv2.imread(str(path)) is not None
    assert "2 of 3 images" in "\n".join(done.lines())


def test_the_document_is_what_the_folder_holds(on_disk: OnDisk, tmp_path: Path) -> None:
    done = inspect_to_folder(
        dataset(on_disk(4)), tmp_path / "out", seed=3, training=TrainingPreview(recipe={"run": {"seed": 3}})
    )
    document = json.loads((tmp_path / "out" / DOCUMENT).read_text())
    assert document == json.loads(json.dumps(done.to_dict()))
    assert document["card"]["splits"][0]["instances"] == 2
    assert document["splits"]["train"]["shown"] == ["0.png", "1.png", "2.png", "3.png"]
    assert document["splits"]["train"]["statistics"]["objects_per_class"] == {"a": 1, "b": 1}
    assert (document["seed"], document["recipe"]) == (3, {"run": {"seed": 3}})
    for path in [*document["plots"].values(), document["splits"]["train"]["pictures"]["labels"]]:
        assert Path(path).is_file()


@pytest.mark.usefixtures("plotless")
def test_batches_are_saved_to_the_pixel_and_told(on_disk: OnDisk, tmp_path: Path, make_batch) -> None:
    stage = stage_pictures([make_batch()], ("a", "b"), stage=1, epoch=1, limit=16)
    done = inspect_to_folder(dataset(on_disk(1)), tmp_path / "out", training=TrainingPreview(lambda: [stage]))
    saved = cv2.imread(done.to_dict()["batches"][0]["picture"])
    assert (saved == stage.grid()).all()
    assert done.to_dict()["batches"][0]["samples"] == list(stage.captions)


@pytest.mark.usefixtures("plotless")
def test_an_earlier_inspection_is_replaced_and_nothing_else(on_disk: OnDisk, tmp_path: Path) -> None:
    out = tmp_path / "out"
    inspect_to_folder(dataset(on_disk(6), on_disk(2, name="val")), out)
    (out / "notes.txt").write_text("mine")
    inspect_to_folder(dataset(on_disk(2)), out)
    assert not (out / "val" / "images.jpg").exists()
    assert len(list((out / "train" / "labelled").iterdir())) == 2
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.usefixtures("plotless")
@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"files": 3}',
        '{"files": ["../mine.jpg", "train/../../mine.jpg", "/etc/passwd", 7, "x.txt"]}',
    ],
)
def test_a_strange_document_makes_nobody_delete_anything(
    on_disk: OnDisk, tmp_path: Path, content: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("mine.jpg", "out/x.txt"):
        (tmp_path / name).write_text("mine")
    (out / DOCUMENT).write_text(content)
    inspect_to_folder(dataset(on_disk(1)), out)
    assert (tmp_path / "mine.jpg").read_text() == (out / "x.txt").read_text() == "mine"


@pytest.mark.usefixtures("plotless")
def test_an_inspection_cut_short_can_be_repeated(
    on_disk: OnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = dataset(on_disk(3)), tmp_path / "out"

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inspect_to_folder(data, out, training=TrainingPreview(interrupt))
    inspect_to_folder(data, out)
    assert "unfinished" not in json.loads((out / DOCUMENT).read_text())


@pytest.mark.parametrize("limit", [0, -1, MAX_IMAGES + 1])
def test_a_limit_out_of_range_is_refused_before_anything_is_written(
    on_disk: OnDisk, tmp_path: Path, limit: int
) -> None:
    with pytest.raises(InputError, match=f"from 1 to {MAX_IMAGES} images, found {limit}"):
        inspect_to_folder(dataset(on_disk(1)), tmp_path / "out", limit=limit)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("plotless")
def test_a_folder_with_something_else_is_refused_unless_forced(on_disk: OnDisk, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    check_request(out, limit=1)  # empty
    (out / "mine.jpg").write_text("mine")
    with pytest.raises(InputError, match=r"no earlier inspection; choose another `out`.*`force`"):
        inspect_to_folder(dataset(on_disk(1)), out)
    assert files(out) == {"mine.jpg"}
    inspect_to_folder(dataset(on_disk(1)), out, force=True)
    assert (out / "mine.jpg").read_text() == "mine"


@pytest.mark.parametrize("place", ["a.txt", "a.txt/below"])
def test_a_file_in_the_way_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(InputError, match="is a file; choose another `out`"):
        check_request(tmp_path / place, limit=1, force=True)


def test_photographs_are_never_written_over(on_disk: OnDisk, tmp_path: Path) -> None:
    data = dataset(on_disk(2))
    before = files(tmp_path)
    for out in (tmp_path, tmp_path / "photographs", tmp_path / "photographs" / "train"):
        with pytest.raises(InputError, match="the images of"):
            inspect_to_folder(data, out, force=True)
    assert files(tmp_path) == before


def test_a_split_without_a_readable_image_has_no_pictures_and_says_so(
    on_disk: OnDisk, tmp_path: Path
) -> None:
    split = on_disk(2)
    for image in split.images:
        image.path.write_bytes(b"")
    done = inspect_to_folder(dataset(split, replace(split, name="val", images=())), tmp_path / "out")
    text = "\n".join(done.lines())
    assert "train: 0.png left out of the pictures: expected an image" in text
    assert "train: no pictures, 0 of 2 images" in text and "val: no pictures, 0 of 0 images" in text
    assert not (tmp_path / "out" / "train").exists()
    assert set(done.plots) == PLOTS


@pytest.mark.usefixtures("plotless")
def test_names_that_are_no_file_names_become_some(on_disk: OnDisk, tmp_path: Path) -> None:
    split = on_disk(2)
    named = [replace(split.images[0], file_name="../../a b/" + "é" * 300 + ".jpg"),
             replace(split.images[1], file_name="sub/气球.jpg")]  # fmt: skip
    inspect_to_folder(dataset(replace(split, images=tuple(named))), tmp_path / "out")
    assert sorted(path.name[:4] for path in (tmp_path / "out" / "train" / "labelled").iterdir()) == [
        "01_é",
        "02_气",
    ]


@pytest.mark.parametrize(("images", "names"), [(0, set()), (1, {"objects_per_image", "image_sizes"})])
def test_plots_without_anything_in_them_are_not_drawn(
    make_record, make_split, images: int, names: set[str]
) -> None:
    assert set(plot_pngs([measure(make_split(*[make_record()] * images))])) == names
    assert plot_pngs([]) == {}


@pytest.mark.usefixtures("plotless")
def test_an_inspection_is_a_line_in_a_console_and_a_table_in_a_notebook(
    on_disk: OnDisk, tmp_path: Path
) -> None:
    done = inspect_to_folder(dataset(on_disk(2)), tmp_path / "<out>", progress=False)
    assert repr(done) == f"Inspection({len(done.files)} pictures in {tmp_path / '<out>'})"
    assert "<out>" not in done._repr_html_() and done._repr_html_().count("<tr>") == 2
    assert repr(done.statistics[0]) == "SplitStatistics(train: 2 images, 1 object)"
