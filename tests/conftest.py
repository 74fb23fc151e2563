import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

# One thread for each of the two workers. libgomp reads both values when torch is loaded. Threads that
# spin at a barrier would take the core of the other worker.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# The reference figures were made with oneDNN's AVX2 kernels. With AVX-512 ones the same network differs by
# 2e-6 in its outputs and, through training-mode BatchNorm over a few pixels, by 2e-5 in its losses. oneDNN
# reads this once, before the first convolution.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")

# A shell starts its background jobs with SIGINT ignored, and all their children inherit that. The tests
# ask what a signal does to a command that a user starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run folders on two workers, and tests that are asked for by name whatever their tier is."""
    option, usual = config.option, config.getini("addopts")
    fast_tier = usual[usual.index("-m") + 1] if "-m" in usual else None
    if option.markexpr == fast_tier and all("::" in word for word in config.args):
        option.markexpr = ""
    has_workers = config.pluginmanager.hasplugin("xdist") and not hasattr(config, "workerinput")
    if not has_workers or option.usepdb or option.collectonly:
        return
    if option.numprocesses is None and not option.tx and any(Path(word).is_dir() for word in config.args):
        option.numprocesses = 2
        if option.dist == "no":
            option.dist = "worksteal"


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


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document on stdout, which must hold nothing else."""
        return json.loads(self.out)


@pytest.fixture
def aerostat(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Return a function that runs one command in this process; file descriptors are captured."""

    from aerostat.__main__ import main

    def run(*words: object) -> Ended:
        capfd.readouterr()
        code = main([str(word) for word in words])
        return Ended(code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def random_net() -> Callable[[int, tuple[int, int]], Any]:
    """RTMDet-nano of random weights that finds many things of several sizes in noise of (width, height)."""

    def network(num_classes: int, size: tuple[int, int]) -> Any:
        import numpy as np
        import torch

        from aerostat.model import build, normalise

        torch.manual_seed(0)
        net = build("nano", num_classes)
        noise = np.random.default_rng(1).integers(0, 256, (8, 3, size[1], size[0]), np.uint8)
        with torch.no_grad():
            for module in net.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = None  # statistics of its own, or every map fades to nothing
            net.train()(normalise(torch.from_numpy(noise)))
            for level in range(3):
                net.bbox_head.rtm_cls[level].weight.normal_(std=0.4)
                net.bbox_head.rtm_cls[level].bias.fill_(-3.0)
                net.bbox_head.rtm_reg[level].bias.fill_(1.5)
        return net.eval()

    return network


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


def draw_split(folder: Path, count: int, classes: tuple[str, ...], seed: int) -> None:
    """Write `count` photographs with one disc each, and a COCO file beside them."""
    import cv2
    import numpy as np

    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for i in range(count):
        width, height = (72, 64) if i % 2 else (64, 80)
        image = np.full((height, width, 3), 90, np.uint8)
        x, y, radius = int(rng.integers(20, 44)), int(rng.integers(20, 44)), int(rng.integers(10, 18))
        kind = i % len(classes)
        cv2.circle(image, (x, y), radius, [(30, 40, 220), (210, 60, 40), (60, 200, 60)][kind], -1)
        assert cv2.imwrite(str(folder / f"{i}.jpg"), image)
        images.append({"id": i + 1, "file_name": f"{i}.jpg", "width": width, "height": height})
        annotations.append(
            {
                "id": i + 1,
                "image_id": i + 1,
                "category_id": kind + 1,
                "bbox": [x - radius, y - radius, 2 * radius, 2 * radius],
                "area": 4 * radius**2,
                "iscrowd": 0,
            }
        )
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(classes)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "_annotations.coco.json").write_text(json.dumps(document))


@pytest.fixture
def drawn(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a data set and returns its folder."""

    def write(train: int = 4, val: int = 2, classes: tuple[str, ...] = ("disc",), name: str = "data") -> Path:
        root = tmp_path / name
        draw_split(root / "train", train, classes, seed=1)
        if val:
            draw_split(root / "val", val, classes, seed=2)
        return root

    return write


@pytest.fixture(scope="session")
def write_split() -> Callable[..., None]:
    """`draw_split`, for fixtures that outlive a test."""
    return draw_split


@pytest.fixture(scope="session")
def write_finder() -> Callable[..., Path]:
    """Return a function that writes weights which find something everywhere, and returns their path.

    It takes the path and the classes; with `masks` the network has masks.
    """
    import torch

    from aerostat.model import build
    from aerostat.weights.checkpoint import Header, save_weights

    def write(path: Path, classes: tuple[str, ...], masks: bool = False) -> Path:
        torch.manual_seed(0)
        net = build("nano", len(classes), masks)
        for level in range(3):
            torch.nn.init.constant_(net.bbox_head.rtm_cls[level].bias, 1.0)
            torch.nn.init.constant_(net.bbox_head.rtm_reg[level].bias, 1.5)
        save_weights(path, net.state_dict(), Header("nano", classes, (64, 64), masks=masks))
        return path

    return write


@pytest.fixture(scope="session")
def write_mjpg() -> Callable[..., Path]:
    """Return a function that writes pictures (H, W, 3) of one size as a clip of 10 frames a second."""
    import cv2

    from aerostat.video.capture import be_quiet

    def write(path: Path, pictures_bgr: Sequence[Any]) -> Path:
        be_quiet()
        height, width = pictures_bgr[0].shape[:2]
        code = cv2.VideoWriter.fourcc(*"MJPG")
        video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, 10, (width, height))
        for picture_bgr in pictures_bgr:
            video.write(picture_bgr)
        video.release()
        return path

    return write


@pytest.fixture(scope="session")
def outline() -> Callable[..., Any]:
    """Return a function that gives every object of a data set an ellipse in its box as its outline."""
    from dataclasses import replace

    from aerostat.geometry.polygons import ellipse

    def outlined(data: Any) -> Any:
        def with_outline(each: Any) -> Any:
            x1, y1, x2, y2 = each.box_xyxy
            return replace(
                each, polygons=(ellipse((x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2),)
            )

        splits = {}
        for name, split in data.splits.items():
            images = [
                replace(image, instances=tuple(with_outline(each) for each in image.instances))
                for image in split.images
            ]
            splits[name] = replace(split, images=images)
        return replace(data, splits=splits)

    return outlined


@pytest.fixture(scope="session")
def write_scenes() -> Callable[..., Path]:
    """Return a function that writes pictures of scenes with a COCO file, and returns their folder.

    It takes the folder, the number of the scene of each picture (pictures of one number are near-copies), and
    the labels of the objects on each picture.
    """
    import cv2
    import numpy as np

    def write(
        folder: Path,
        scenes: Sequence[int],
        labels: Sequence[Sequence[int]] | None = None,
        classes: Sequence[str] = ("disc",),
    ) -> Path:
        folder.mkdir(parents=True)
        images, annotations = [], []
        for i, number in enumerate(scenes):
            name = f"{i:03}.png"
            coarse = np.random.default_rng(number).integers(0, 230, (6, 8, 3), np.uint8)
            picture = cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_CUBIC) // 2 + np.uint8(40 + i % 7)
            assert cv2.imwrite(str(folder / name), picture)
            images.append({"id": i + 1, "file_name": name, "width": 64, "height": 48})
            for label in labels[i] if labels else [0]:
                x, id_ = 10 + 3 * len(annotations) % 30, len(annotations) + 1
                object_ = {"category_id": label + 1, "bbox": [x, 10, 12, 20], "area": 240, "iscrowd": 0}
                annotations.append({"id": id_, "image_id": i + 1, **object_})
        categories = [{"id": k + 1, "name": name} for k, name in enumerate(classes)]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "labels.json").write_text(json.dumps(document))
        return folder

    return write
