"""A source and a sink that somebody writes, and the sinks that are here, around a detector that is known."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aerostat.errors import InputError
from aerostat.geometry.mask_measures import PixelSize
from aerostat.images.frame import Frame
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.inference.predict_folder import predict_to_sinks
from aerostat.inference.sinks import (
    CutOutSink,
    FileForm,
    FileSink,
    LabelMapSink,
    ListSink,
    PictureSink,
    SortedPictureSink,
    picture_path,
)
from aerostat.model import build
from aerostat.results.detections import Detections


class Countdown:
    """A source: frames that are made in memory, ten a second."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.count):
            grey = np.full((48, 64, 3), 20 * (index + 1), np.uint8)
            yield Frame(grey, f"frame {index}.png", index, time_s=index / 10)


class Times:
    """A sink: the times of the frames that came, and whether it was closed."""

    def __init__(self) -> None:
        self.times: list[float | None] = []
        self.closed = 0

    def write(self, frame: Frame, detections: Detections) -> None:
        self.times.append(frame.time_s)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.manual_seed(0)
    net = build("nano", 2).eval()
    for level in range(3):
        torch.nn.init.constant_(net.bbox_head.rtm_cls[level].bias, 1.0)
        torch.nn.init.constant_(net.bbox_head.rtm_reg[level].bias, 1.5)
    return Detector(TorchEngine(net), ("kite", "disc"), (64, 64))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_source_that_somebody_writes_goes_to_every_sink(detector: Detector, tmp_path: Path, count: int):
    times, kept, pictures = Times(), ListSink(), PictureSink(tmp_path / "pictures")
    files = [FileSink(tmp_path / f"all.{kind}", kind) for kind in ("json", "csv", "coco")]
    frames = predict_to_sinks(
        detector, Countdown(count), [times, kept, pictures, *files], progress=False, max_detections=3
    )
    assert frames == count
    assert times.times == [index / 10 for index in range(count)] and times.closed == 1
    names = [f"frame {index}.png" for index in range(count)]
    assert [name for name, _ in kept.results] == names
    assert all(len(found) == 3 and found.path is None for _, found in kept.results)
    assert [path.name for path in pictures.pictures] == names
    with Image.open(pictures.pictures[0]) as picture:
        assert picture.size == (64, 48)
    images = json.loads((tmp_path / "all.json").read_bytes())["images"]
    assert [Detections.from_dict({**image, "file": None}) for image in images] == [
        found for _, found in kept.results
    ]
    assert (tmp_path / "all.csv").read_text().count("\n") == 3 * count + 1
    assert len(json.loads((tmp_path / "all.coco").read_bytes())["annotations"]) == 3 * count


def test_frames_in_memory_and_on_disk_give_the_same(detector: Detector, tmp_path: Path):
    (frame,) = Countdown(1)
    Image.fromarray(frame.image_bgr[:, :, ::-1]).save(tmp_path / "a.png")
    expected = detector.predict(frame.image_bgr, max_detections=5)
    pillow = Image.open(tmp_path / "a.png")
    ones = [detector(image, max_detections=5) for image in (frame, frame.image_bgr, pillow)]
    assert ones == [expected] * 3
    many = detector([frame.image_bgr, tmp_path / "a.png", str(tmp_path / "a.png"), pillow], max_detections=5)
    assert [found.path for found in many] == [None, tmp_path / "a.png", tmp_path / "a.png", None]
    assert all(np.array_equal(found.boxes_xyxy, expected.boxes_xyxy) for found in many)
    assert detector((), max_detections=5) == []


def test_an_endless_source_is_taken_as_it_comes(detector: Detector):
    taken = []

    def endless() -> Iterator[Frame]:
        for frame in Countdown(1_000_000):
            taken.append(frame.index)
            yield frame

    results = detector.predict_images(endless(), threads=2)
    first = [next(results)[0].index for _ in range(3)]
    results.close()
    assert first == [0, 1, 2]
    assert len(taken) < 20


def test_a_frame_that_cannot_be_read_is_left_out_or_raises(detector: Detector, tmp_path: Path):
    frames = [*Countdown(2), Frame(None, "gone.png", 2, path=tmp_path / "gone.png")]
    told, kept = [], ListSink()
    read = predict_to_sinks(
        detector, frames, [kept], progress=False, on_unreadable=lambda frame, _: told.append(frame.name)
    )
    assert (read, told, len(kept.results)) == (2, ["gone.png"], 2)
    times = Times()
    with pytest.raises(InputError, match=r"gone\.png"):
        predict_to_sinks(detector, frames, [times], progress=False)
    assert times.closed == 0


def test_nothing_is_closed_where_there_is_no_frame(detector: Detector, tmp_path: Path):
    times, file = Times(), FileSink(tmp_path / "all.json", "json")
    assert predict_to_sinks(detector, [], [times, file], progress=False) == 0
    assert times.closed == 0 and list(tmp_path.iterdir()) == []


def test_progress_is_shown_unless_it_is_turned_off(
    detector: Detector, caplog: pytest.LogCaptureFixture, monkeypatch
):
    from aerostat import progress

    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    caplog.set_level("INFO", "aerostat")
    frames = list(Countdown(2))
    predict_to_sinks(detector, frames, [], progress=False)
    detector(frames, progress=False)
    assert caplog.messages == []
    predict_to_sinks(detector, frames, [])
    predict_to_sinks(detector, Countdown(1), [])
    assert caplog.messages == ["predicting: 1 of 2", "predicting: 2 of 2", "predicting: 1"]


def test_frames_of_one_name_get_a_picture_each(tmp_path: Path):
    sink = PictureSink(tmp_path)
    grey = np.zeros((8, 8, 3), np.uint8)
    for index, name in enumerate(("a", "a", "A.png", "b/a.jpg")):
        sink.write(Frame(grey, name, index), Detections.empty(("disc",)))
    assert len({path.name.lower() for path in sink.pictures}) == 4
    assert all(path.parent == tmp_path and path.is_file() for path in sink.pictures)


def test_a_frame_without_a_file_is_not_annotated(tmp_path: Path):
    sink = SortedPictureSink(tmp_path, lambda path, found: pytest.fail("there is no file to judge"))
    sink.write(Frame(np.zeros((8, 8, 3), np.uint8), "a.png"), Detections.empty(("disc",)))
    assert sink.pictures == [tmp_path / "not-annotated" / "a.png"]
    assert sink.verdicts == {"a.png": None}


@pytest.mark.parametrize(
    ("name", "picture"),
    [("a.png", "a.png"), ("a.tif", "a.jpg"), ("a", "a.jpg"), ("../a.png", "a.png"), ("", "frame.jpg")],
)
def test_a_picture_has_the_name_of_its_frame_and_stays_in_its_folder(name: str, picture: str):
    assert picture_path(Path("out"), name) == Path("out") / picture


# --- masks as images ---


def masked(count: int) -> Detections:
    """Return detections on 64 x 48 pixels; the second has an empty mask."""
    dense = np.zeros((count, 48, 64), bool)
    for place in range(count):
        dense[place, 5 : 10 + place, 4 + 10 * place : 9 + 10 * place] = place != 1
    boxes = [[4 + 10 * place, 5, 9 + 10 * place, 10 + place] for place in range(count)]
    return Detections(boxes, np.linspace(0.9, 0.5, count), [0] * count, ("kite",), masks=dense)


def frame(name: str, index: int = 0) -> Frame:
    return Frame(np.full((48, 64, 3), 90, np.uint8), name, index)


def test_each_frame_gets_a_map_of_sixteen_bits(tmp_path: Path):
    sink = LabelMapSink(tmp_path / "maps")
    for index, name in enumerate(("a.jpg", "sub/a.png", "b.jpg")):
        sink.write(frame(name, index), masked(3) if index < 2 else Detections.empty(("kite",)))
    sink.close()
    assert sorted(path.name for path in sink.path.iterdir()) == ["a-1.png", "a.png", "b.png"]
    read = np.asarray(Image.open(sink.path / "a.png"))
    assert read.shape == (48, 64) and np.unique(read).tolist() == [0, 1, 3]
    assert read[7, 5] == 1 and read[7, 26] == 3
    assert "16" in Image.open(sink.path / "a.png").mode
    assert not np.asarray(Image.open(sink.path / "b.png")).any()


def test_detections_are_cut_out_and_those_of_an_earlier_call_are_removed(tmp_path: Path):
    CutOutSink(tmp_path).write(frame("a.jpg"), masked(4))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["0001.png", "0003.png", "0004.png"]
    (tmp_path / "a" / "mine.png").write_bytes(b"precious")
    sink = CutOutSink(tmp_path)
    sink.write(frame("a.jpg"), masked(2))
    sink.write(frame("none.jpg", 1), Detections.empty(("kite",)))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["0001.png", "mine.png"]
    assert not (tmp_path / "none").exists()
    assert sink.empty == 1
    read = np.asarray(Image.open(tmp_path / "a" / "0001.png"))
    assert read.shape == (5, 5, 4) and (read == (90, 90, 90, 255)).all()


@pytest.mark.parametrize("name", ["../../up.jpg", "/etc/x.png", ".."])
def test_no_name_of_a_frame_leads_out_of_the_folder(tmp_path: Path, name: str):
    LabelMapSink(tmp_path / "in" / "maps").write(frame(name), masked(1))
    CutOutSink(tmp_path / "in" / "cut").write(frame(name), masked(1))
    written = [path.relative_to(tmp_path / "in").parts for path in tmp_path.rglob("*.png")]
    assert sorted(parts[0] for parts in written) == ["cut", "maps"]
    assert sorted(map(len, written)) == [2, 3]


def test_a_file_says_of_masks_what_its_form_asks_for(tmp_path: Path):
    table = FileSink(tmp_path / "all.csv", FileForm("csv", pixel_size=PixelSize(2.0, "mm")))
    coco = FileSink(tmp_path / "all.json", FileForm("coco", mask_format="polygons"))
    for sink in (table, coco):
        sink.write(frame("a.jpg"), masked(1))
        sink.close()
    assert "area_mm2" in table.path.read_text().splitlines()[0].split(",")
    [row] = json.loads(coco.path.read_text())["annotations"]
    assert row["segmentation"] == [[4, 5, 9, 5, 9, 10, 4, 10]]
