"""What a run has come to, for people in a terminal or a notebook."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from aerostat.runs.directory import Run

RECIPE = '[model]\nsize = "nano"\n[schedule]\nepochs = 3\n'
RECORDS = [
    {"kind": "train", "epoch": 1, "batch": 1, "iteration": 1, "loss": 2.0, "loss_cls": 1.5, "lr": 0.1},
    {"kind": "val", "epoch": 1, "ap": 0.25, "ap50": 0.5, "ap75": 0.125},
    {"kind": "train", "epoch": 2, "batch": 1, "iteration": 2, "loss": 1.0, "loss_cls": 0.5, "lr": 0.1},
    {"kind": "val", "epoch": 2, "ap": 0.2, "ap50": 0.5, "ap75": 0.125},
]
END = {"kind": "end", "epoch": 2, "seconds": 1.0}


def make_run(folder: Path, *records: dict) -> Run:
    run = Run(folder)
    run.create()
    run.recipe.write_text(RECIPE)
    run.log(*records)
    return run


def test_a_run_says_in_a_line_what_it_has_come_to(tmp_path):
    run = make_run(tmp_path / "it's", *RECORDS)
    assert repr(run) == (
        f"Run({str(run.path)!r}: rtmdet-nano, 2 of 3 epochs, best AP 0.250 (epoch 1), not finished)"
    )
    run.log(END)
    assert repr(run).endswith("2 of 3 epochs, best AP 0.250 (epoch 1))")


def test_a_run_in_its_first_epoch_has_none_behind_it(tmp_path):
    assert "0 of 3 epochs, not finished" in repr(make_run(tmp_path, RECORDS[0]))


@pytest.mark.parametrize("content", [None, "half a [line", "\x00"])
def test_whatever_stands_there_a_run_can_be_shown(tmp_path, content):
    run = Run(tmp_path / "run")
    if content is not None:
        run.create()
        run.recipe.write_text(content)
        run.metrics.write_text(content)
    assert repr(run) == f"Run({str(run.path)!r}: 0 epochs, not finished)"
    assert "<img" not in run._repr_html_()
    assert run.to_dict()["best"] is None


def test_plain_values_are_json_and_name_recipe_figures_and_files(tmp_path):
    run = make_run(tmp_path / "run", *RECORDS, END)
    document = json.loads(json.dumps(run.to_dict()))
    assert document["recipe"] == {"model": {"size": "nano"}, "schedule": {"epochs": 3}}
    assert (document["epoch"], document["epochs"], document["finished"]) == (2, 3, True)
    assert (document["best"]["ap"], document["last"]["ap"]) == (0.25, 0.2)
    assert document["files"] == ["metrics.jsonl", "recipe.toml"]


def test_a_notebook_shows_figures_and_curves_and_no_foreign_markup(tmp_path):
    run = make_run(tmp_path / "<script>x</script>", *RECORDS)
    text = run._repr_html_()
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, _: tags.append(tag)  # type: ignore[method-assign]
    parser.feed(text)
    assert set(tags) == {"p", "b", "table", "tr", "th", "td", "img"}
    assert tags.count("img") == 2 and "data:image/png;base64," in text
    assert "0.250" in text and "0.200" in text


def test_with_masks_their_ap_decides_and_is_shown_beside_that_of_boxes(tmp_path):
    scored = [{**record, "mask_ap": ap} for record, ap in ((RECORDS[1], 0.1), (RECORDS[3], 0.15))]
    run = make_run(tmp_path / "run", RECORDS[0], scored[0], RECORDS[2], scored[1], END)
    assert repr(run).endswith("best mask AP 0.150 (epoch 2))")
    text = run._repr_html_()
    assert "mask AP75" in text and "0.150" in text
    assert "mask AP" not in make_run(tmp_path / "boxes", *RECORDS)._repr_html_()
