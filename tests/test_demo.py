"""The demo as a newcomer runs it."""

import json
import re

import pytest

from aerostat.__main__ import main
from aerostat.demo import CHECKPOINT, NEW_SCENES
from aerostat.errors import InputError
from aerostat.runs.directory import Run
from aerostat.weights.checkpoint import read_header


@pytest.mark.slow
def test_the_demo_tells_the_whole_story_and_reaches_its_ap(tmp_path, capsys):
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out)]) == 0
    assert str(out / "report.html") in capsys.readouterr().out
    run = Run(out / "run")
    validations = [record for record in run.read_metrics() if record["kind"] == "val"]
    assert max(record["ap"] for record in validations) > 0.5
    assert max(record["mask_ap"] for record in validations) > 0.45
    assert validations[0]["images"] == 24
    assert len(json.loads((out / "coco" / "train.json").read_text())["images"]) == 160
    assert len(list((out / "predictions").glob("*.jpg"))) == NEW_SCENES
    found = json.loads((out / "predictions" / "detections.json").read_text())
    assert sum(len(image["detections"]) for image in found["images"]) > NEW_SCENES
    assert (out / "inspection" / "batches" / "stage1.png").is_file()
    assert len(list((out / "features").glob("*.jpg"))) == 7  # three strides of two layers, and the sheet
    assert list((out / "explanations").glob("*.jpg"))
    page = (out / "report.html").read_text()
    for words in (
        "First the images",
        "Images and labels",
        "Training batches",
        "Test-time augmentation",
        "Kinds of error",
        "Feature maps",
        "Explanations",
        "Average Precision",
        "New photographs",
        "data:image/",
    ):
        assert words in page
    assert not re.search(r"""(src|href)=["']https?:""", page)  # nothing is fetched to show it


def test_the_checkpoint_is_small_and_says_where_it_comes_from():
    header = read_header(CHECKPOINT)
    assert CHECKPOINT.stat().st_size <= 4 * 2**20
    assert (header.size, header.classes) == ("nano", ("drawn balloon",))
    assert any("Apache-2.0" in note for note in header.notes)


def test_a_folder_that_exists_is_refused_and_untouched(tmp_path):
    from aerostat.demo import run_demo

    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        run_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
