"""The verb `predict` on clips, streams, animations, pages, archives and names on standard input."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from aerostat.video.capture import VideoFile, be_quiet

FRAMES = 6


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory, write_finder: Callable[..., Path]) -> Path:
    """A network that finds something everywhere."""
    return write_finder(tmp_path_factory.mktemp("weights") / "finder.safetensors", ("disc", "fire engine"))


def write_clip(
    path: Path, frames: int = FRAMES, code: str = "MJPG", size: tuple[int, int] = (64, 48)
) -> Path:
    be_quiet()
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), 10, size)
    for number in range(frames):
        video.write(np.full((size[1], size[0], 3), 20 * number % 256, np.uint8))
    video.release()
    return path


def cut_clip(path: Path) -> Path:
    """A clip of noise, of which the last third is missing."""
    be_quiet()
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for image in np.random.default_rng(0).integers(0, 256, (FRAMES, 48, 64, 3), np.uint8):
        video.write(image)
    video.release()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    return path


@pytest.fixture
def clip(working_folder: Path) -> Path:
    return write_clip(Path("door.avi"))


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def files_below(folder: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def test_a_clip_becomes_a_video_and_lines_with_number_and_time(aerostat, finder, clip):
    ended = aerostat("predict", finder, clip)
    assert ended.code == 0, ended.err
    assert files_below("predictions") == ["detections.jsonl", "door.webm"]
    lines = lines_of(Path("predictions/detections.jsonl"))
    assert [(line["file"], line["frame"], line["time_s"]) for line in lines] == [
        ("door.avi", number, number / 10) for number in range(FRAMES)
    ]
    assert all(line["image_size"] == [64, 48] and line["detections"] for line in lines)
    assert set(lines[0]["detections"][0]) == {"box_xyxy", "score", "label", "class"}
    video = VideoFile(Path("predictions/door.webm"))
    assert (len(list(video)), video.clip.rate) == (FRAMES, 10)
    assert f"door.avi: {FRAMES} frames (0.00 s to 0.50 s)" in ended.out
    assert "videos have one rate, here 10 frames a second (VP9), and no sound" in ended.out
    assert "OpenCV" not in ended.err


def test_the_video_shows_the_boxes(aerostat, finder, clip):
    aerostat("predict", finder, clip, "--video-format", "avi")
    plain, drawn = VideoFile(clip), VideoFile(Path("predictions/door.avi"))
    for before, after in zip(plain, drawn, strict=True):
        assert np.abs(before.read().astype(int) - after.read()).max() > 60


def test_rows_come_in_every_form(aerostat, finder, clip):
    ended = aerostat("predict", finder, clip, "--no-video", "--format", "jsonl,json,csv,mot", "--every", "2")
    assert ended.code == 0, ended.err
    out = Path("predictions")
    assert files_below("predictions") == ["detections.csv", "detections.json", "detections.jsonl", "door.txt"]
    lines = lines_of(out / "detections.jsonl")
    assert [line["frame"] for line in lines] == [0, 2, 4]
    assert json.loads((out / "detections.json").read_text())["images"] == lines
    with (out / "detections.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = [(line["frame"], one) for line in lines for one in line["detections"]]
    assert [(int(row["frame"]), float(row["time_s"]), row["class"]) for row in rows] == [
        (frame, frame / 10, one["class"]) for frame, one in found
    ]
    mot = [line.split(",") for line in (out / "door.txt").read_text().splitlines()]
    assert [int(fields[0]) for fields in mot] == [frame + 1 for frame, _ in found]
    for fields, (_, one) in zip(mot, found, strict=True):
        x1, y1, x2, y2 = one["box_xyxy"]
        assert fields[1] == "-1" and fields[7:] == ["-1", "-1", "-1"]
        assert [float(field) for field in fields[2:6]] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=0.006)
        assert float(fields[6]) == pytest.approx(one["score"], abs=6e-5)


def test_standard_output_has_lines_and_nothing_else(aerostat, finder, clip):
    ended = aerostat("predict", finder, clip, "--out", "-", "--start", "0.2", "--end", "0.4")
    assert ended.code == 0
    assert [json.loads(line)["frame"] for line in ended.out.splitlines()] == [2, 3]
    assert not Path("predictions").exists() and not Path("-").exists()
    rows = csv.DictReader(io.StringIO(aerostat("predict", finder, clip, "--out", "-", "--format", "csv").out))
    assert {row["frame"] for row in rows} == {str(number) for number in range(FRAMES)}


def test_a_reader_that_goes_ends_the_work(finder, clip):
    command = [sys.executable, "-m", "aerostat", "predict", str(finder), str(clip), "--out", "-", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.wait(60) == 1
        assert b"Traceback" not in process.stderr.read()


def test_pictures_and_crops_of_each_frame(aerostat, finder, clip):
    ended = aerostat("predict", finder, clip, "--no-video", "--pictures", "--crops", "--fps", "5")
    assert ended.code == 0, ended.err
    lines = lines_of(Path("predictions/detections.jsonl"))
    assert files_below("predictions/door") == ["000000.jpg", "000002.jpg", "000004.jpg"]
    crops = files_below("predictions/crops/door")
    assert len(crops) == sum(len(line["detections"]) for line in lines)
    assert {name.partition("-")[0] for name in crops} == {"000000", "000002", "000004"}
    assert any(name.endswith(("-fire_engine.jpg", "-disc.jpg")) for name in crops)


def test_segments_begin_new_files(aerostat, finder, clip):
    ended = aerostat(
        "predict", finder, clip, "--segment", "200ms", "--video-format", "vp8", "--format", "jsonl,mot"
    )
    assert ended.code == 0, ended.err
    names = ["detections-000{}.jsonl", "door-000{}.txt", "door-000{}.webm"]
    assert files_below("predictions") == sorted(name.format(part) for name in names for part in (1, 2, 3))
    frames = [
        line["frame"]
        for part in (1, 2, 3)
        for line in lines_of(Path(f"predictions/detections-000{part}.jsonl"))
    ]
    assert frames == list(range(FRAMES))
    assert [len(list(VideoFile(f"predictions/door-000{part}.webm"))) for part in (1, 2, 3)] == [2, 2, 2]


def test_several_sources_have_files_of_their_own(aerostat, finder, clip, photograph):
    Path("b").mkdir()
    shutil.copy(clip, "b/door.avi")
    photograph(Path("still.jpg"))
    ended = aerostat(
        "predict", finder, clip, "b", "still.jpg", "--video-format", "vp8", "--format", "jsonl,mot"
    )
    assert ended.code == 0, ended.err
    expected = ["detections.jsonl", "door-2.txt", "door-2.webm", "door.txt", "door.webm", "still.jpg"]
    assert files_below("predictions") == expected
    files = [line["file"] for line in lines_of(Path("predictions/detections.jsonl"))]
    assert files == ["door.avi"] * FRAMES + ["b/door.avi"] * FRAMES + ["still.jpg"]
    assert lines_of(Path("predictions/detections.jsonl"))[-1]["frame"] is None


def test_a_folder_may_hold_clips_alone(aerostat, finder, clip):
    Path("b").mkdir()
    clip.rename("b/door.avi")
    ended = aerostat("predict", finder, "b", "--no-video", "--json")
    assert ended.document["sources"][0]["frames"] == FRAMES


def test_animations_and_pages(aerostat, finder):
    images = [Image.new("RGB", (64, 48), (40 * n, 0, 0)) for n in range(3)]
    images[0].save("a.gif", save_all=True, append_images=images[1:], duration=200)
    images[0].save("scan.tif", save_all=True, append_images=images[1:])
    ended = aerostat("predict", finder, "a.gif", "scan.tif", "--video-format", "vp8")
    assert ended.code == 0, ended.err
    assert files_below("predictions") == [
        "a.webm",
        "detections.jsonl",
        *(f"scan/00000{page}.jpg" for page in range(3)),
    ]
    lines = lines_of(Path("predictions/detections.jsonl"))
    assert [line["time_s"] for line in lines] == [0.0, 0.2, 0.4, None, None, None]
    assert [line["frame"] for line in lines] == [0, 1, 2, 0, 1, 2]


def test_an_archive_of_photographs_is_read_in_place(aerostat, finder, photograph):
    photograph(Path("a.jpg"))
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.write("a.jpg", "sub/b.jpg")
        archive.write("a.jpg", "a.jpg")
        archive.writestr("notes.txt", "no image")
    ended = aerostat("predict", finder, "photos.zip")
    assert ended.code == 0, ended.err
    assert files_below("predictions") == ["a.jpg", "b.jpg", "detections.json"]
    images = json.loads(Path("predictions/detections.json").read_text())["images"]
    assert [image["file"] for image in images] == ["photos.zip/a.jpg", "photos.zip/sub/b.jpg"]
    document = aerostat("predict", finder, "photos.zip", "--json").document
    assert [image["file"] for image in document["images"]] == [image["file"] for image in images]
    with zipfile.ZipFile("none.zip", "w") as archive:
        archive.writestr("notes.txt", "no image")
    ended = aerostat("predict", finder, "none.zip")
    assert ended.code == 2 and "no images in the archive none.zip" in ended.err


def test_photographs_have_lines_too(aerostat, finder, photograph, monkeypatch):
    photograph(Path("a.jpg"))
    photograph(Path("b.jpg"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a.jpg\nb.jpg\n")))
    ended = aerostat("predict", finder, "-", "--out", "-")
    assert ended.code == 0, ended.err
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [(line["file"], line["frame"]) for line in lines] == [("a.jpg", None), ("b.jpg", None)]
    assert aerostat("predict", finder, "a.jpg", "--format", "jsonl").code == 0
    assert files_below("predictions") == ["a.jpg", "detections.jsonl"]


@pytest.mark.parametrize("end", [b"\n", b"\0"])
def test_names_come_from_standard_input(aerostat, finder, photograph, monkeypatch, end):
    photograph(Path("a b.jpg"))
    photograph(Path("c.jpg"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a b.jpg" + end + b"c.jpg" + end)))
    ended = aerostat("predict", finder, "-", "--json")
    assert [image["file"] for image in ended.document["images"]] == ["a b.jpg", "c.jpg"]


def test_photographs_may_be_the_frames_of_a_clip(aerostat, finder, photograph):
    for number in range(3):
        photograph(Path(f"img1/{number:06d}.jpg"), number)
    ended = aerostat(
        "predict", finder, "img1", "--video", "--fps", "4", "--video-format", "vp8", "--format", "jsonl,mot"
    )
    assert ended.code == 0, ended.err
    assert files_below("predictions") == ["detections.jsonl", "img1.txt", "img1.webm"]
    lines = lines_of(Path("predictions/detections.jsonl"))
    assert [(line["file"], line["frame"], line["time_s"]) for line in lines] == [
        (f"img1/{number:06d}.jpg", number, number / 4) for number in range(3)
    ]
    video = VideoFile("predictions/img1.webm")
    assert (len(list(video)), video.clip.rate) == (3, 4)


def test_frames_of_another_size_are_fitted_and_said(aerostat, finder, photograph):
    photograph(Path("s/1.jpg"))
    Image.new("RGB", (40, 90)).save("s/2.jpg")
    ended = aerostat("predict", finder, "s", "--video", "--video-format", "avi")
    assert ended.code == 0 and "1 frame of another size were fitted into 80 x 64 px" in ended.out
    assert [line["image_size"] for line in lines_of(Path("predictions/detections.jsonl"))] == [
        [80, 64],
        [40, 90],
    ]


def test_a_cut_clip_keeps_what_it_has_and_fails(aerostat, finder, working_folder):
    clip = cut_clip(Path("door.avi"))
    ended = aerostat("predict", finder, clip, "--video-format", "vp8")
    assert ended.code == 1
    assert "door.avi was not read to its end: the clip is cut" in ended.err
    assert ended.err.rstrip().endswith("; what was read of it is written.")
    lines = lines_of(Path("predictions/detections.jsonl"))
    assert 0 < len(lines) < FRAMES and len(list(VideoFile("predictions/door.webm"))) == len(lines)


def test_a_broken_clip_costs_itself_alone(aerostat, finder, clip):
    Path("broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(40))
    ended = aerostat("predict", finder, "broken.mp4", clip, "--no-video")
    assert ended.code == 1
    assert (
        "broken.mp4 was not read to its end: expected a clip" in ended.err
        and "the others are done" in ended.err
    )
    assert len(lines_of(Path("predictions/detections.jsonl"))) == FRAMES


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["broken.mp4"], ["damaged, or of an unknown codec", "broken.mp4"]),
        (["empty.mp4"], ["Expected a clip, found an empty file: empty.mp4"]),
        (["list.m3u8"], ["list.m3u8"]),
        (["door.avi", "nowhere.mp4"], ["no image or folder nowhere.mp4"]),
        (["97"], ["camera 97"]),
        (["ftp://me:s3cr3t@door/1"], ["begins with rtsp://", "ftp://door/1"]),
        (["rtsp://me:s3cr3t@127.0.0.1:9/1"], ["rtsp://127.0.0.1:9/1", "nothing listens"]),
        (["door.avi", "--every", "0"], ["--every", "0"]),
        (["door.avi", "--fps", "0"], ["--fps"]),
        (["door.avi", "--start", "soon"], ["Expected a time", "'soon'"]),
        (["door.avi", "--start", "3", "--end", "2"], ["--end", "--start"]),
        (["door.avi", "--segment", "0"], ["--segment"]),
        (["door.avi", "door.avi.copy", "--segment", "1s"], ["--segment", "2 sources"]),
        (["door.avi", "--timeout", "0"], ["--timeout"]),
        (["door.avi", "--format", "coco"], ["--format", "jsonl, json, csv, mot", "'coco'"]),
        (["door.avi", "--sort"], ["--sort", "for photographs"]),
        (["door.avi", "--label-maps"], ["--label-maps", "for photographs"]),
        (["door.avi", "--out", "-", "--crops"], ["--out -", "--crops"]),
        (["door.avi", "--out", "-", "--format", "csv,jsonl"], ["one format of rows"]),
        (["door.avi", "--out", ".", "--video-format", "avi"], ["would replace the clip door.avi", "--out"]),
        (["door.avi", "--out", "own"], ["own/door.webm exists", "--out"]),
        (["door.avi", "--out", "-", "--json"], ["--json would stand among the rows"]),
        (["still.jpg", "--format", "mot"], ["Expected a clip for --format mot", "--video"]),
        (["still.jpg", "--out", "-", "--every", "2"], ["--every is for clips"]),
        (["still.jpg", "--every", "2"], ["--every is for clips"]),
        (["still.jpg", "--crops"], ["--crops is for clips"]),
        (["door.avi", "--video-format", "gif"], ["gif"]),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_written(
    aerostat, finder, clip, photograph, working_folder, words, expected, assert_refused, tree
):
    Path("broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(40))
    Path("empty.mp4").write_bytes(b"")
    Path("list.m3u8").write_text("#EXTM3U\n/etc/passwd\n")
    Path("own").mkdir()
    Path("own/door.webm").write_bytes(b"of somebody")
    shutil.copy(clip, "door.avi.copy")
    photograph(Path("still.jpg"))
    before = tree(working_folder)
    ended = aerostat("predict", finder, *words)
    if words[0] == "list.m3u8":  # the reader of images says what they are
        assert ended.code == 1 and words[0] in ended.err
    else:
        assert_refused(ended, *expected)
    assert "s3cr3t" not in ended.out + ended.err
    assert tree(working_folder) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_leaves_whole_files(finder, working_folder, number):
    write_clip(Path("long.avi"), 4000)
    command = [sys.executable, "-m", "aerostat", "predict", str(finder), "long.avi", "--format", "jsonl,json"]
    with subprocess.Popen(
        [*command, "--video-format", "vp8"], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    ) as run:
        until = time.monotonic() + 60
        while not any(path.stat().st_size > 20_000 for path in Path().glob("predictions/.detections*")):
            assert time.monotonic() < until and run.poll() is None
            time.sleep(0.02)
        run.send_signal(number)
        out, err = run.communicate(timeout=60)
    assert run.returncode == 130 and b"Traceback" not in err, err
    assert files_below("predictions") == ["detections.json", "detections.jsonl", "long.webm"]
    lines = lines_of(Path("predictions/detections.jsonl"))
    assert 0 < len(lines) < 4000 and [line["frame"] for line in lines] == list(range(len(lines)))
    assert json.loads(Path("predictions/detections.json").read_text())["images"] == lines
    assert len(list(VideoFile("predictions/long.webm"))) == len(lines)
    assert f"long.avi: {len(lines)} frames" in out.decode()
    assert b"stopping after this frame" in err and err.rstrip().endswith(b"aerostat: Interrupted.")


def test_a_full_disk_leaves_whole_files(aerostat, finder, clip, monkeypatch):
    calls = 0

    def usage(_: object) -> object:
        nonlocal calls
        calls += 1
        return namedtuple("usage", "total used free")(1 << 40, 0, 1 << 39 if calls < 6 else 1 << 20)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    ended = aerostat("predict", finder, clip, "--video-format", "vp8")
    assert ended.code == 1 and "nearly full (1 MB are free" in ended.err
    lines = lines_of(Path("predictions/detections.jsonl"))
    assert 0 < len(lines) < FRAMES
    assert 0 < len(list(VideoFile("predictions/door.webm"))) <= len(lines)


def test_memory_holds_no_results(aerostat, finder, clip):
    """The rows of a clip are written before its end: nothing waits in a list."""
    import gc

    from aerostat.results.detections import Detections

    def alive() -> int:
        gc.collect()
        return sum(isinstance(one, Detections) for one in gc.get_objects())

    before = alive()  # other tests may hold some

    class Counting:
        most = 0

        def write(self, *_: object) -> None:
            Counting.most = max(Counting.most, alive())

    from aerostat.inference.clip_sinks import RowSink
    from aerostat.inference.predict_folder import predict_to_sinks
    from aerostat.inference.resolve import load

    long = VideoFile(write_clip(Path("long.avi"), 80))
    sinks = [RowSink(Path("rows.jsonl"), "jsonl"), Counting()]
    Counting.close = lambda _: None
    assert predict_to_sinks(load(finder), long, sinks, progress=False) == 80
    assert Counting.most - before < 30


def test_a_model_yields_frames_with_their_detections(finder, clip):
    import aerostat as ae

    model = ae.load(finder)
    pairs = list(model.stream(clip, every=2, score=0.1))
    assert [(frame.index, frame.time_s) for frame, _ in pairs] == [(0, 0.0), (2, 0.2), (4, 0.4)]
    for frame, detections in pairs:
        assert detections == model(frame, score=0.1)
    cut_clip(clip)
    stream = model.stream(str(clip))
    next(stream)
    with pytest.raises(ae.AerostatError, match=r"door\.avi was not read to its end: the clip is cut"):
        list(stream)
    with pytest.raises(ae.InputError, match="camera 97"):
        next(model.stream(97))


def test_a_stream_is_looked_at_and_its_password_appears_nowhere(aerostat, finder, working_folder):
    import http.server
    import threading

    class Stream(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
            self.end_headers()
            content = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
            part = b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(content)
            try:
                while True:
                    self.wfile.write(part + content + b"\r\n")
                    time.sleep(0.01)
            except OSError:
                pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stream)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{server.server_port}"
    try:
        words = ["--end", "2s", "--segment", "1s", "--json", "--verbose"]
        ended = aerostat("predict", finder, f"http://me:s3cr3t@{host}/door?pwd=s3cr3t", *words)
    finally:
        server.shutdown()
        server.server_close()
    assert ended.code == 0, ended.err
    (source,) = ended.document["sources"]
    assert source["file"] == f"http://{host}/door" and source["last_s"] < 2
    assert any("dropped because later ones came" in note for note in ended.document["notes"])
    assert files_below("predictions") == [
        *(f"127.0.0.1-door-000{part}.webm" for part in (1, 2)),
        *(f"detections-000{part}.jsonl" for part in (1, 2)),
    ]
    # at most a second, at ten frames a second; less if the computer is busy
    assert 1 <= len(list(VideoFile("predictions/127.0.0.1-door-0001.webm"))) <= 11
    written = b"".join(path.read_bytes() for path in Path("predictions").iterdir())
    assert b"s3cr3t" not in written and "s3cr3t" not in ended.out + ended.err
