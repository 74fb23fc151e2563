import os
from pathlib import Path

import pytest

# The reference figures were made with oneDNN's AVX2 kernels. With AVX-512 ones the same network differs by
# 2e-6 in its outputs and, through training-mode BatchNorm over a few pixels, by 2e-5 in its losses. oneDNN
# reads this once, before the first convolution.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")

SENDS_SIGNALS = ("test_interruption.py", "test_trainer.py", "test_train.py")

PROJECT = Path(__file__).resolve().parents[1]
SHARED = PROJECT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs, weights and reference figures beside the project, if it is there."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder `shared` beside the project (photographs, weights, reference figures)")
    return SHARED


@pytest.fixture(scope="session")
def balloon(shared: Path) -> Path:
    return shared / "data" / "balloon"


@pytest.fixture(scope="session")
def person_weights(shared: Path) -> Path:
    return shared / "weights" / "rtmdet_nano_person.pth"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests that send signals to their own process come first.

    After the tests of ONNX Runtime and OpenVINO in one process the delivery of a signal was seen to end in a
    segmentation fault; neither alone does that, and no command of ours runs both.
    """
    items.sort(key=lambda item: item.path.name not in SENDS_SIGNALS)
