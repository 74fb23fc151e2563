"""`python -m benchmarks.datasets`: tiny trainings on drawn scenes, a kill, the file of runs, the table."""

import csv
import json
import re
from pathlib import Path

import pytest

from aerostat.scenes.balloons import write_balloons

ROOT = Path(__file__).resolve().parents[1]

CONFIG = """
[[dataset]]
name = "mine"
path = "data"
classes = ["balloon"]
seeds = 2
model = "rtmdet-nano"
weights = ""
masks = true
recipe = { schedule = { epochs = 1 }, data = { input_size = 64 } }

[[dataset]]
name = "shift"
drawn = { train = 3, val = 2, test = 2, size = [96, 64], backdrops = ["room"], test_backdrops = ["night"] }
score_on = "test"
seeds = [7]
model = "rtmdet-nano"
weights = ""
recipe = { schedule = { epochs = 1 }, data = { input_size = 64 } }
"""


@pytest.fixture(autouse=True)
def project_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_balloons(tmp_path / "data", train=4, val=3, size=(96, 64), seed=1)
    (tmp_path / "sets.toml").write_text(CONFIG)
    return tmp_path / "sets.toml"


def run(config: Path, *words: str) -> int:
    from benchmarks.datasets.__main__ import main

    return main([str(config), "--work", str(config.parent / "work"), *words])


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Make runs in this process, which is faster, and note their folders."""
    from benchmarks.datasets import __main__ as program
    from benchmarks.datasets.one_run import make

    made: list[Path] = []

    def make_here(folder: Path) -> None:
        made.append(folder)
        make(folder)

    monkeypatch.setattr(program, "run_apart", make_here)
    return made


def rows_of(config: Path) -> list[dict[str, str]]:
    with (config.parent / "work" / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_runs_are_made_recorded_and_not_repeated(
    config: Path, in_this_process: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(config) == 0
    printed = capsys.readouterr().out
    rows = rows_of(config)
    assert [(row["dataset"], row["seed"], row["split"]) for row in rows] == [
        ("mine", "0", "val"), ("mine", "1", "val"), ("shift", "7", "test"),
    ]  # fmt: skip
    for row in rows:
        assert all(row[name] for name in ("ap", "tta_ap", "commit", "machine", "torch", "peak_mb", "reasons"))
        assert row["input_size"] == "64" and row["epochs"] == "1"
    assert all(row["mask_ap"] for row in rows[:2]) and not rows[2]["mask_ap"]
    metrics = (config.parent / "work/mine/seed-0/run/metrics.jsonl").read_text().splitlines()
    last = [json.loads(line) for line in metrics if '"ap"' in line][-1]
    assert float(rows[0]["ap"]) == pytest.approx(last["ap"], abs=1e-4)  # by validation's own thresholds
    assert "| mine | val, 3 images | 2 |" in printed
    assert "instance masks:" in printed  # the reasons of the plan

    made, content = len(in_this_process), (config.parent / "work" / "results.csv").read_bytes()
    assert run(config) == 0
    assert len(in_this_process) == made == 3
    assert (config.parent / "work" / "results.csv").read_bytes() == content

    (config.parent / "work" / "results.csv").unlink()  # it is made again from the runs
    assert run(config) == 0
    assert (config.parent / "work" / "results.csv").read_bytes() == content
    capsys.readouterr()
    assert run(config, "--table", "--only", "shift") == 0
    printed = capsys.readouterr().out
    assert "| shift |" in printed and "mine" not in printed


@pytest.mark.slow
def test_an_unfinished_run_goes_on_from_its_checkpoint_and_a_finished_one_stays(
    config: Path, in_this_process: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.datasets import one_run

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(one_run, "score_run", killed)  # trained, not yet scored
        assert run(config, "--only", "shift") == 130
    assert not (config.parent / "work" / "results.csv").exists()
    weights = config.parent / "work/shift/seed-7/run/last.safetensors"
    trained = weights.stat().st_mtime_ns
    assert run(config, "--only", "shift") == 0
    assert weights.stat().st_mtime_ns == trained
    assert len(rows_of(config)) == 1


@pytest.mark.slow
def test_a_run_has_a_process_of_its_own_and_passes_its_failure_on(
    config: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.datasets.__main__ import main
    from benchmarks.datasets.one_run import Job

    assert run(config, "--only", "shift") == 0
    work = config.parent / "work"
    (work / "shift/seed-7/result.json").unlink()
    (work / "shift/seed-7/run/last.safetensors").write_bytes(b"broken")
    capfd.readouterr()
    assert main([str(config), "--work", str(work), "--only", "shift"]) == 2
    assert "ended with 2" in capfd.readouterr().err
    assert Job(config, "shift", 7).folder(work) == work / "shift/seed-7"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected tables [[dataset]]"),
        ("[[dataset]\n", "is no TOML file"),
        ("dataset = 3\n", "expected tables [[dataset]]"),
        ("other = 1\n[[dataset]]\npath = 'x'\n", "found 'other'"),
        ("[[dataset]]\nseeds = 2\n", "either `path` or `drawn`"),
        ("[[dataset]]\npath = 'x'\ndrawn = { train = 3 }\n", "either `path` or `drawn`"),
        ("[[dataset]]\npath = 'x'\nseed = 2\n", "unknown key 'seed'"),
        ("[[dataset]]\npath = 'x'\nseeds = true\n", "`seeds` cannot be True"),
        ("[[dataset]]\npath = 'x'\nseeds = [1, 1]\n", "different `seeds`"),
        ("[[dataset]]\npath = 'x'\nseeds = 0\n", "different `seeds`"),
        ("[[dataset]]\npath = 'x'\nclasses = 'a'\n", "`classes` cannot be 'a'"),
        ("[[dataset]]\npath = 'x'\nclasses = [1]\n", "`classes` cannot be [1]"),
        ("[[dataset]]\npath = 'x'\nname = '../../up'\n", "`name` that can be that of a folder"),
        ("[[dataset]]\npath = 'x'\nrecipe = { epochs = 3 }\n", "expected `recipe` as sections"),
        ("[[dataset]]\npath = 'x'\n[[dataset]]\npath = 'y/x'\n", "two data sets have the name 'x'"),
        ("[[dataset]]\ndrawn = { train = 3, size = [64] }\n", "expected `size` as [width, height]"),
        ("[[dataset]]\ndrawn = { trains = 3 }\n", "unknown key 'trains'"),
        ("[[dataset]]\npath = 'nowhere'\n", "nowhere: "),
        ("[[dataset]]\npath = 'data'\nclasses = ['balloon']\nscore_on = 'test'\n", "data: Expected a split"),
        ("[[dataset]]\npath = 'data'\nrecipe = { schedule = { epoch = 3 } }\n", "data: "),
        ("[[dataset]]\ndrawn = { train = 3, backdrops = ['moon'] }\n", "Unknown backdrop 'moon'"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_trained(
    config: Path, capsys: pytest.CaptureFixture[str], in_this_process: list[Path], text: str, said: str
) -> None:
    config.write_text(text)
    assert run(config) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not in_this_process


def test_other_faults_are_sentences_too(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config.with_name("none.toml")) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert run(config, "--only", "min") == 2
    assert "There is no data set 'min'" in capsys.readouterr().err
    folder = config.parent / "work/mine/seed-1"
    folder.mkdir(parents=True)
    (folder / "request.json").write_text('{"request": "another"}')
    assert run(config, "--only", "mine") == 2
    assert "another request for mine" in capsys.readouterr().err
    (config.parent / "own.csv").write_text("a,b\n1,2\n")
    assert run(config, "--csv", str(config.parent / "own.csv")) == 2
    assert "own.csv, line 2: expected the columns" in capsys.readouterr().err


def test_the_interval_of_the_table_is_student_s(tmp_path: Path) -> None:
    from benchmarks.datasets.table import COLUMNS, add_row, read_rows, table

    path = tmp_path / "runs.csv"
    assert table(read_rows(path)) == "There is no finished run."
    shared = dict.fromkeys(COLUMNS, "1") | {
        "dataset": "a",
        "request": "k",
        "mask_ap": "",
        "tta_mask_ap": "",
    }
    for seed, ap in enumerate((0.4, 0.5, 0.6)):
        row = shared | {"seed": str(seed), "ap": str(ap), "reasons": "first; second", "train_seconds": "90"}
        add_row(path, row)
        add_row(path, row)
    add_row(path, shared | {"dataset": "b|c", "ap": "0.25", "reasons": ""})
    rows = read_rows(path)
    assert len(rows) == 4
    text = table(rows)
    # t of 2 degrees of freedom at 97.5 %: 4.303; 0.1 / sqrt(3) is the error of the mean
    assert "| a | 1, 1 image | 3 | 0.500 (0.252 to 0.748) |" in text
    assert "| b/c | 1, 1 image | 1 | 0.250 |" in text
    assert "1.5 min" in text and "- first\n- second" in text and "mask" not in text


def test_the_file_that_is_shipped_is_read() -> None:
    from benchmarks.datasets.config import read_config

    entries = {entry.name: entry for entry in read_config(ROOT / "benchmarks" / "datasets.toml")}
    assert [len(entry.seeds) for entry in entries.values()] == [5, 5, 3, 3, 3]
    assert entries["labelme_polygons"].masks and entries["bccd"].score_on == "test"


@pytest.mark.slow
def test_the_files_of_the_shipped_data_are_found(shared: Path) -> None:
    from benchmarks.datasets.config import checked, read_config

    beside = ROOT / "benchmarks"
    found = {
        entry.name: checked(entry, beside, Path("unused"))
        for entry in read_config(beside / "datasets.toml")
        if entry.path
    }
    assert len(found["bccd"][1].train_split) == 205 and found["bccd"][2] == "test"
    assert len(found["same_boxes"][0].classes) == 20
    assert found["labelme_polygons"][1].recipe.model.masks


def test_a_page_gets_the_table_between_its_markers(tmp_path: Path) -> None:
    from benchmarks.datasets.table import COLUMNS, write_page

    from aerostat.errors import InputError

    page = tmp_path / "page.md"
    page.write_text("# Mine\n\n<!-- datasets: the command -->\nold\n<!-- /datasets -->\nlast\n")
    row = dict.fromkeys(COLUMNS, "1") | {"dataset": "a", "reasons": "because"}
    write_page(page, [row])
    text = page.read_text()
    assert text.startswith("# Mine\n\n<!-- datasets: the command -->\n| data |")
    assert text.endswith("|\n<!-- /datasets -->\nlast\n")
    assert "| a | 1, 1 image | 1 | 1.000 |" in text and "old" not in text and "because" not in text
    write_page(page, [])
    assert "There is no finished run." in page.read_text()
    page.write_text("no markers")
    with pytest.raises(InputError, match="has no lines"):
        write_page(page, [row])
    assert page.read_text() == "no markers"


def test_each_figure_of_the_page_of_results_stands_in_its_record() -> None:
    """A section names its records by links; all figures of its tables are there."""
    page = (ROOT / "docs" / "results.md").read_text("utf-8")
    unmarked = re.sub(r"<!-- (\w+).*?<!-- /\1 -->", "", page, flags=re.DOTALL)
    checked = 0
    for section in re.split(r"^## ", unmarked, flags=re.MULTILINE):
        linked = re.findall(r"\]\(([\w./-]+\.md)[#)]", section)
        records = "".join((ROOT / "docs" / link).read_text("utf-8") for link in linked)
        for line in section.splitlines():
            figures = re.findall(r"(?<![\w.,])\d+\.\d+", line) if line.startswith("|") else []
            for figure in figures:
                assert figure in records, f"{figure} of {line!r} stands in none of {linked}"
            checked += len(figures)
    assert checked > 50
