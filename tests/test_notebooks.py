"""The notebooks: clean, valid, and each runs from its first cell to its last."""

import json
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the extra [notebooks] is not installed")

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS_PER_CELL = 300
"""Far more than any cell takes; a kernel that hangs does not hold up CI."""

notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["explain-and-compare", "first-detector", "own-data"]


@notebooks
def test_a_notebook_is_valid_and_holds_no_output(path: Path) -> None:
    nbformat.validate(json.loads(path.read_text("utf-8")))
    code = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert "%pip install" in code[0].source and "find_spec" in code[0].source  # Colab has no aerostat


@pytest.mark.slow
@notebooks
def test_a_notebook_runs_and_shows_tables_and_pictures(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient", reason="the extra [notebooks] is not installed")
    pytest.importorskip("ipykernel", reason="the extra [notebooks] is not installed")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(path, 4)
    nbclient.NotebookClient(
        notebook,
        timeout=SECONDS_PER_CELL,
        startup_timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = {kind for output in outputs for kind in output.get("data", {})}
    assert {"text/html", "image/png"} <= shown
    assert not [output for output in outputs if output.output_type == "error"]
    texts = [output.get("data", {}).get("text/plain", "") for output in outputs]
    assert not [
        text for text in texts if "nothing found on" in text
    ]  # a picture without a box teaches little
