import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., Path]:
    """Write plain images, 100 x 80 unless told, into a folder below the test's own and return the folder."""

    def write(folder: str, *names: str, size: tuple[int, int] = (100, 80)) -> Path:
        path = tmp_path / folder
        for name in names:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, (90, 120, 40)).save(path / name)
        return path

    return write


@pytest.fixture
def write_json() -> Callable[[Path, Any], Path]:
    def write(path: Path, document: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    return write
