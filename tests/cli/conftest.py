"""What tests of the command line share: a current folder, small data, and weights."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw

from aerostat.model import build
from aerostat.weights.checkpoint import Header, save_weights

BOX = (20, 10, 50, 40)
"""The disc on the first photograph; on each next one it stands a pixel further to the right."""


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, a cache without weights, one thread, 80 columns."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("AEROSTAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(threads)


def draw_photograph(path: Path, shift: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (80, 64), (90, 120, 160))
    x1, y1, x2, y2 = BOX
    ImageDraw.Draw(image).ellipse((x1 + shift, y1, x2 + shift, y2), fill=(220, 30, 40))
    image.save(path)


def outline(shift: int) -> dict[str, Any]:
    x1, y1, x2, y2 = BOX
    x1, x2 = x1 + shift, x2 + shift
    shape = {"name": "polygon", "all_points_x": [x1, x2, x2, x1], "all_points_y": [y1, y1, y2, y2]}
    return {"shape_attributes": shape, "region_attributes": {}}


@pytest.fixture(scope="session")
def photograph() -> Callable[..., None]:
    """Return a function that draws a photograph of 80 x 64 with one disc."""
    return draw_photograph


@pytest.fixture(scope="session")
def write_via() -> Callable[..., Path]:
    """Return a function that writes photographs with a VIA file that states no class, like the balloons."""

    def write(root: Path, splits: Sequence[str] = ("train", "val"), count: int = 3) -> Path:
        for split in splits:
            entries = {}
            for i in range(count):
                draw_photograph(root / split / f"{i}.jpg", i)
                entries[f"{i}.jpg1"] = {"filename": f"{i}.jpg", "size": 1, "regions": {"0": outline(i)}}
            (root / split / "via.json").write_text(json.dumps(entries))
        return root

    return write


@pytest.fixture(scope="session")
def write_coco() -> Callable[..., Path]:
    """Return a function that writes photographs with a COCO file; objects go through the categories."""

    def write(
        root: Path, categories: dict[int, str], splits: Sequence[str] = ("train", "val"), count: int = 3
    ) -> Path:
        ids = list(categories)
        for split in splits:
            images, annotations = [], []
            for i in range(count):
                draw_photograph(root / split / f"{i}.jpg", i)
                images.append({"id": 100 + i, "file_name": f"{i}.jpg", "width": 80, "height": 64})
                annotation = {"id": i + 1, "image_id": 100 + i, "bbox": [20 + i, 10, 30, 30], "area": 900}
                annotations.append({**annotation, "category_id": ids[i % len(ids)], "iscrowd": 0})
            listed = [{"id": id_, "name": name} for id_, name in categories.items()]
            document = {"images": images, "annotations": annotations, "categories": listed}
            (root / split / "_annotations.coco.json").write_text(json.dumps(document))
        return root

    return write


@pytest.fixture
def via(tmp_path: Path, write_via: Callable[..., Path]) -> Path:
    """Data without a class, in VIA format."""
    return write_via(tmp_path / "via")


@pytest.fixture
def coco(tmp_path: Path, write_coco: Callable[..., Path]) -> Path:
    """Data of the class disc, in COCO format."""
    return write_coco(tmp_path / "coco", {9: "disc"})


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of discs with fresh weights, for 64 px."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    save_weights(path, build("nano", 1).state_dict(), Header("nano", ("disc",), (64, 64)))
    return path


@pytest.fixture(scope="session")
def tiny_run() -> list[str]:
    """Options of a training that takes seconds."""
    return [
        "--model",
        "rtmdet-nano",
        "--epochs",
        "1",
        "--input-size",
        "64",
        "--batch-size",
        "2",
        "--device",
        "cpu",
    ]


@pytest.fixture(scope="session")
def tree() -> Callable[[Path], dict[str, bytes | None]]:
    """Return a function that returns everything below a folder with its content."""

    def read(folder: Path) -> dict[str, bytes | None]:
        return {
            str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
            for path in folder.rglob("*")
        }

    return read


@pytest.fixture(scope="session")
def assert_refused() -> Callable[..., None]:
    """Return a check: one sentence on stderr that holds all the words, nothing on stdout, the exit code."""

    def check(ended: Any, *words: str, code: int = 2) -> None:
        assert ended.code == code, ended
        assert ended.out == ""
        lines = ended.err.splitlines()
        assert len(lines) == 1, ended.err
        assert lines[0].startswith("aerostat: ")
        for word in words:
            assert word in lines[0]

    return check


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory, write_finder: Callable[..., Path]) -> Path:
    """A network that finds something everywhere."""
    return write_finder(tmp_path_factory.mktemp("weights") / "finder.safetensors", ("disc",))
