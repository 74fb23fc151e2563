"""Record what version 0.1.0 wrote and answered, as test data that later versions are held to.

    PYTHONPATH=CHECKOUT_OF_0.1.0/src python scripts/record_compatibility.py WORK --shared ../shared

runs the command line of version 0.1.0 and writes the result to tests/compatibility/data/. The data of the
repository were made by commit c1f61f8. Run it again only if a format is dropped on purpose.

How the data were made:
  - Scenes, runs, exports and a study are packed into one archive. The network is RTMDet-nano at 192 px. It
    starts from the checkpoint of the demo, and all of it is trained by one thread on the CPU.
  - SIGKILL ended the run `stopped` in its second epoch. Its files are those of the end of the first.
  - The run `finished` is a copy of `stopped` that version 0.1.0 resumed to its end, without the state.
  - Float32 tensors of weights, states and exports are rounded to few bits, so that the archive is a third as
    large. The INT8 export is not rounded. Version 0.1.0 measured every expected figure after the rounding,
    from the rounded files. The lines of `metrics.jsonl` in `finished` belong to its weights before it.
  - `ROOT` stands for the folder in which the files were made.
"""

from __future__ import annotations

import os

# Before torch is loaded: the figures of the tests are those of one thread and of oneDNN's AVX2 kernels.
os.environ |= {"OMP_NUM_THREADS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2", "COLUMNS": "300"}

import argparse
import contextlib
import io
import json
import lzma
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import aerostat as ae
from aerostat.__main__ import main as run_command

PROJECT = Path(__file__).resolve().parents[1]
DATA = PROJECT / "tests" / "compatibility" / "data"
ROOT = "/recorded-by-aerostat-0.1.0"
"""Stands in recorded files for the folder in which they were made."""
WEIGHT_BITS, MOMENT_BITS = 5, 2
"""Bits of the mantissa that are kept: of weights, and of the two moments of each weight in the optimiser."""
CLASS = "drawn balloon"
IMAGE = "scenes/val/scene_0001.jpg"
ENGINE = ["--engine", "torch"]
PHOTOGRAPHS = (
    "14898532020_ba6199dd22_k.jpg",
    "16335852991_f55de7958d_k.jpg",
    "2917282960_06beee649a_b.jpg",
    "3825919971_93fb1ec581_b.jpg",
)
TRAIN = [
    *("--classes", CLASS, "--model", "rtmdet-nano", "--weights", "pretrained.safetensors"),
    *("--device", "cpu", "--input-size", "192", "--epochs", "3", "--batch-size", "4", "--lr", "0.0005"),
    *("--set", "schedule.ema_momentum=0.2", "--set", "schedule.ema_gamma=2"),  # an average unlike the weights
]
STUDY = [
    *("study", "scenes", "--classes", CLASS, "--seeds", "2", "--weights", "finished/best.safetensors"),
    *("--set", "data.input_size=64", "--set", "schedule.epochs=1", "--set", "run.device=cpu"),
    *("--vary", "optim.lr=0.002", "--out", "study", "--json"),
]

DOCUMENTS: dict[str, list[str]] = {
    "lint": ["lint", "messy", "--classes", CLASS, "--json"],
    "inspect": [
        *("inspect", "scenes", "--classes", CLASS, "--limit", "2", "--weights", "finished"),
        *("--set", "data.threads=0", "--out", "out/inspect", "--json"),
    ],
    "convert": [
        *("convert", "messy/train/via_region_data.json", "out/messy.json", "--classes", CLASS, "--json"),
    ],
    "convert-folder": ["convert", "scenes", "out/coco", "--classes", CLASS, "--json"],
    "eval": ["eval", "finished", "scenes", *ENGINE, "--json"],
    "eval-last": ["eval", "finished/last.safetensors", "scenes", *ENGINE, "--json"],
    "eval-tta": ["eval", "finished", "scenes", *ENGINE, "--tta", "--json"],
    "eval-onnx": ["eval", "exports/float32.onnx", "scenes", "--json"],
    "eval-openmmlab": ["eval", "exports/openmmlab.pth", "scenes", "--json"],
    "predict": [
        *(
            "predict",
            "finished",
            "scenes/val",
            *ENGINE,
            "--score",
            "0.2",
            "--format",
            "json",
            "--format",
            "csv",
        ),
        *("--format", "coco", "--out", "out/predict", "--json"),
    ],
    "predict-sort": [
        *("predict", "finished", "scenes/val", *ENGINE, "--score", "0.2", "--sort", "--tta"),
        *("--out", "out/sorted", "--json"),
    ],
    "features": ["features", "finished", IMAGE, "--layers", "neck", "--out", "out/features", "--json"],
    "features-list": ["features", "finished", "--layers", "list", "--json"],
    "explain": [
        *("explain", "finished", IMAGE, "--score", "0.2", "--top", "2", "--method", "gradcam", "layercam"),
        *("--out", "out/explain", "--json"),
    ],
    "explain-faithfulness": [
        *("explain", "finished", IMAGE, "--score", "0.2", "--top", "1", "--faithfulness"),
        *("--out", "out/faithful", "--json"),
    ],
    "export-onnx": [
        *(
            "export",
            "finished",
            "--out",
            "out/finished.onnx",
            "--data",
            "scenes",
            "--classes",
            CLASS,
            "--json",
        ),
    ],
    "export-openvino": [
        *("export", "finished", "--out", "out/finished.xml", "--nms", "--dynamic", "--images", "scenes/val"),
        "--json",
    ],
    "benchmark": [
        *("benchmark", "finished", "--seconds", "0.3", "--batch", "1", "--input-size", "64"),
        *("--engine", "torch", "onnx", "--json"),
    ],
    "study": STUDY,
    "models": ["models", "--json"],
    "doctor": ["doctor"],
}
"""Command lines whose JSON documents are recorded, run in this order in the folder of the archive."""
MEASURED = {"benchmark", "doctor"}
"""Documents whose values differ between machines. Their keys and the kinds of their values are compared."""
PROSE = {"wrong", "training", "consequence", "detail", "compared_on", "title", "headline", "optimistic"}
"""Keys of sentences for people, which may be worded otherwise."""
WRITTEN: dict[str, tuple[str, ...]] = {
    "convert": ("out/messy.json",),
    "convert-folder": ("out/coco/**/*.json",),
    "predict": (
        "out/predict/detections.json",
        "out/predict/detections.csv",
        "out/predict/detections_coco.json",
    ),
}
"""Files that a command writes and whose content is recorded, too."""

EXPORTS = ("float32.onnx", "float32.xml", "int8.onnx", "openmmlab.pth")

RECIPES: dict[str, list[str]] = {
    "auto": [],
    "small": ["--recipe", "small", "--model", "rtmdet-nano", "--weights", "finished"],
    "published": ["--recipe", "published", "--model", "rtmdet-s"],
    "set": [
        *("--set", "optim.accumulate=2", "--set", "augment.resize_ratio=[0.8, 1.25]", "--model", "rtmdet-x"),
        *("--set", "augment.copy_paste=3", "--set", "eval.max_detections=50"),
    ],
    "flags": [
        *("--model", "rtmdet-tiny", "--epochs", "7", "--batch-size", "3", "--input-size", "320"),
        *(
            "--lr",
            "0.003",
            "--seed",
            "5",
            "--device",
            "cpu",
            "--precision",
            "bf16-mixed",
            "--freeze-backbone",
        ),
    ],
    "published-epochs": ["--recipe", "published", "--epochs", "12", "--set", "optim.batch_size=16"],
}
"""Options of `train` whose resolved recipes are recorded."""

VERBS: dict[str, list[str]] = {
    "convert": ["missing.json", "missing/out.json"],
    "lint": ["missing"],
    "inspect": ["missing"],
    "train": ["missing"],
    "study": ["missing"],
    "eval": ["missing.safetensors", "missing"],
    "predict": ["missing.safetensors", "missing.jpg"],
    "features": ["missing.safetensors", "missing.jpg"],
    "explain": ["missing.safetensors", "missing.jpg"],
    "export": ["missing.safetensors"],
    "benchmark": ["missing.safetensors"],
    "report": ["missing"],
    "demo": [],
    "models": [],
    "doctor": [],
}
"""Every verb with names of files that are not there, so that a command line is parsed and then refused."""


# ---------------------------------------------------------------------------------------------- running


def answer(*words: str) -> str:
    """Return what a command prints on stdout.

    Raises:
        RuntimeError: it fails; `lint` ends with 1 where it finds an error, which is its answer.
    """
    printed = io.StringIO()
    print("+ aerostat", *words, file=sys.stderr)
    with contextlib.redirect_stdout(printed):
        code = run_command(list(words))
    if code > (words[0] == "lint"):
        raise RuntimeError(f"aerostat {' '.join(words)} ended with {code}")
    return printed.getvalue()


def draw_scenes(folder: Path) -> None:
    """Draw small scenes, by the code that draws those of the demo; and a copy with faults."""
    from aerostat.data.balloons import write_balloons

    write_balloons(folder / "scenes", train=8, val=4, size=(192, 144), seed=41)
    shutil.copytree(folder / "scenes", folder / "messy")
    annotations = folder / "messy" / "train" / "via_region_data.json"
    content = json.loads(annotations.read_text())
    first, second, third, *_ = content
    content[first]["filename"] = "missing.jpg"
    flat = content[second]["regions"]["0"]["shape_attributes"]
    flat["all_points_x"] = [5] * len(flat["all_points_x"])
    outside = content[third]["regions"]["0"]["shape_attributes"]
    outside["all_points_x"] = [x + 150 for x in outside["all_points_x"]]
    annotations.write_text(json.dumps(content))
    cut = folder / "messy" / "train" / "scene_0005.jpg"
    cut.write_bytes(cut.read_bytes()[:3000])


def train_and_kill(run: Path) -> None:
    """Train a run and kill it after its first epoch."""
    words = [sys.executable, "-m", "aerostat", "train", "scenes", *TRAIN, "--out", str(run)]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    while not (run / "last.safetensors").is_file():  # the last file of an epoch's end
        time.sleep(0.001)
        if process.poll() is not None:
            raise RuntimeError("the run ended before it could be killed")
    process.send_signal(signal.SIGKILL)
    process.wait()
    lines = (run / "metrics.jsonl").read_text().splitlines()
    print(*lines, sep="\n", file=sys.stderr)


# ---------------------------------------------------------------------------------------------- rounding


def rounded(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Return float32 values rounded to the nearest with that number of bits in the mantissa."""
    drop = 23 - bits
    whole = values.view(np.uint32).astype(np.uint64) + (1 << (drop - 1))
    return ((whole >> drop) << drop).astype(np.uint32).view(np.float32)


def split_safetensors(path: Path) -> tuple[str, dict[str, Any], bytearray]:
    """Return the header of a safetensors file as text and as an object, and the bytes of its tensors."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    text = content[8 : 8 + length].decode()
    return text, json.loads(text), bytearray(content[8 + length :])


def join_safetensors(path: Path, text: str, tensors: bytes | bytearray) -> None:
    """Write a safetensors file of a header and the bytes of its tensors."""
    header = text.rstrip(" ").encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + tensors)


def round_safetensors(path: Path) -> None:
    """Round the float32 tensors of a file in place, those of one number excepted: they may be counters."""
    text, header, tensors = split_safetensors(path)
    moments = _moments(header.get("__metadata__", {}))
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32" or np.prod(entry["shape"]) == 1:
            continue
        begin, end = entry["data_offsets"]
        values = np.frombuffer(bytes(tensors[begin:end]), np.float32)
        tensors[begin:end] = rounded(values, MOMENT_BITS if name in moments else WEIGHT_BITS).tobytes()
    join_safetensors(path, text, tensors)


def _moments(metadata: dict[str, str]) -> set[str]:
    """Return the names of the optimiser's moments in the state of a run."""
    found: set[str] = set()

    def look(value: Any, key: str) -> None:
        if isinstance(value, dict) and value.get("$") == "tensor" and key in ("exp_avg", "exp_avg_sq"):
            found.add(value["at"])
        elif isinstance(value, dict):
            for inner, item in value.items():
                look(item, inner)
        elif isinstance(value, list):
            for item in value:
                look(item, key)

    for document in metadata.values():
        look(json.loads(document), "")
    return found


def round_onnx(path: Path) -> None:
    """Round the constants of an ONNX file in place."""
    import onnx

    model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size > 1:
            tensor.raw_data = rounded(values.copy(), WEIGHT_BITS).tobytes()
    path.write_bytes(model.SerializeToString())


def round_openvino(path: Path) -> None:
    """Round the constants of an OpenVINO model in place."""
    content = bytearray(path.with_suffix(".bin").read_bytes())
    for layer in ElementTree.parse(path).getroot().iter("layer"):
        place = layer.find("data")
        if layer.get("type") != "Const" or place is None or place.get("element_type") != "f32":
            continue
        begin, size = int(place.attrib["offset"]), int(place.attrib["size"])
        if size > 4:
            values = np.frombuffer(bytes(content[begin : begin + size]), np.float32)
            content[begin : begin + size] = rounded(values, WEIGHT_BITS).tobytes()
    path.with_suffix(".bin").write_bytes(content)


def relocate(run: Path, work: Path) -> None:
    """Put `ROOT` in place of this machine's folder into a run's files, and fixed words for the system."""
    environment = run / "environment.json"
    content = json.loads(environment.read_text().replace(str(work), ROOT))
    content |= {"platform": "Linux", "command": ["aerostat", *content["command"][1:]]}
    environment.write_text(json.dumps(content, indent=2))
    for path in run.glob("*.*t*"):
        if path.suffix in (".ckpt", ".safetensors"):
            text, _, tensors = split_safetensors(path)
            join_safetensors(path, text.replace(str(work), ROOT), tensors)


# ---------------------------------------------------------------------------------------------- recording


def losses(run: Path) -> dict[str, Any]:
    """Return the losses and rates of a run's iterations and the figures of its validations."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    measured = {"images_per_second", "memory_mb"}
    return {
        kind: [
            {key: value for key, value in line.items() if key not in measured}
            for line in lines
            if line["kind"] == kind
        ]
        for kind in ("train", "val")
    }


def detections(weights: str, images: list[Path], **options: Any) -> dict[str, NDArray[Any]]:
    """Return boxes, scores and labels on each image by name."""
    detector = ae.load(weights, device="cpu")
    found = {}
    for image in images:
        result = detector.predict(image, **options)
        for field in ("boxes_xyxy", "scores", "labels"):
            found[f"{image.name}/{field}"] = np.asarray(getattr(result, field))
    return found


def recordable(content: Any, work: Path, *, measured: bool, key: str = "") -> Any:
    """Return a JSON value with marks for what may differ: ``<text>`` and the like, and `ROOT`."""
    if isinstance(content, dict):
        return {k: recordable(v, work, measured=measured, key=k) for k, v in content.items()}
    if isinstance(content, list):
        if measured and not any(isinstance(item, dict) for item in content):
            return "<list>"
        return [recordable(item, work, measured=measured, key=key) for item in content]
    if content is None and measured:
        return "<any>"
    if isinstance(content, str):
        prose = key in PROSE or (measured and key not in ("engine", "device", "precision", "name"))
        return "<text>" if prose and content else content.replace(str(work), ROOT)
    if isinstance(content, (int, float)) and not isinstance(content, bool) and (measured or key == "bytes"):
        return "<number>"
    return content


def written(path: Path) -> Any:
    """Return the content of a file: JSON as it is, everything else as text."""
    text = path.read_text("utf-8")
    return json.loads(text) if path.suffix == ".json" else text


def record_documents(work: Path) -> dict[str, Any]:
    """Return the JSON documents of the commands, and the content of the files that these write."""
    found = {}
    for name, words in DOCUMENTS.items():
        content = recordable(json.loads(answer(*words)), work, measured=name in MEASURED)
        paths = sorted(path for pattern in WRITTEN.get(name, ()) for path in work.glob(pattern))
        files = {str(path.relative_to(work)): written(path) for path in paths}
        found[name] = {"words": words, "document": content, "files": files}
    return found


OPTION = re.compile(
    r"^│ (?P<names>--[\w-]+(?: --?[\w-]+)*)(?: (?P<kind>[A-Z][A-Z. ]*?))? {2,}(?P<text>.*?) *│$"
)


def options(verb: str) -> Iterator[dict[str, Any]]:
    """Yield the options of a verb as its help page states them: names, kind, choices and default."""
    page = answer(verb, "--help").partition("─ Options ")[2]
    for line in page.splitlines():
        matched = OPTION.match(line)
        if matched is None:
            continue
        text = matched["text"]
        choices = re.search(r"\[choices: (.*?)\]", text)
        default = re.search(r"\[default: (.*)\]$", text)
        yield {
            "names": matched["names"].split(),
            "kind": (matched["kind"] or "FLAG").strip(),
            "choices": choices[1].split(", ") if choices else None,
            "default": default[1] if default else None,
        }


def pack(work: Path, names: list[str], target: Path) -> None:
    """Pack folders into one archive, without times and owners."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
        return info

    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 128 << 20,
                "lc": 2, "lp": 2, "pb": 2}]  # fmt: skip
    with (
        lzma.open(target, "wb", format=lzma.FORMAT_XZ, filters=filters) as stream,
        tarfile.open(fileobj=stream, mode="w") as archive,
    ):
        for name in names:
            for path in sorted((work / name).rglob("*")):
                archive.add(path, str(path.relative_to(work)), recursive=False, filter=plain)


def write_json(name: str, content: dict[str, Any]) -> None:
    """Write a file of the data: each entry on a line of its own."""
    entries = [
        f"{json.dumps(key)}: {json.dumps(entry, ensure_ascii=False)}" for key, entry in content.items()
    ]
    (DATA / name).write_text("{\n" + ",\n".join(entries) + "\n}\n", "utf-8")


def make_runs(work: Path) -> None:
    """Make the stopped run, resume a copy of it, and make the finished run of that."""
    train_and_kill(work / "stopped")
    for name in ("best.safetensors", "last.safetensors", "last.ckpt"):
        round_safetensors(work / "stopped" / name)
    shutil.copytree(work / "stopped", work / "finished")
    answer("train", "--resume", "finished")
    write_json("resumed.json", losses(work / "finished"))
    (work / "finished" / "last.ckpt").unlink()
    for name in ("best.safetensors", "last.safetensors"):
        round_safetensors(work / "finished" / name)
    for run in (work / "stopped", work / "finished"):
        relocate(run, work)
        (run / "report.html").unlink(missing_ok=True)


def make_exports(work: Path) -> None:
    """Export the finished run in each format, and round the files."""
    (work / "exports").mkdir()
    for name in ("float32.onnx", "float32.xml"):
        answer("export", "finished", "--out", f"exports/{name}", "--images", "scenes/val")
    answer("export", "finished", "--out", "exports/openmmlab.pth")
    answer("export", "finished", "--out", "exports/int8.onnx", "--int8", "--nms", "--images", "scenes/val")
    round_onnx(work / "exports" / "float32.onnx")
    round_openvino(work / "exports" / "float32.xml")


def make_study(work: Path) -> None:
    """Make a study and keep what a later call reads: records, not weights and pictures."""
    answer(*STUDY)
    kept = {"study.json", "results.json", "trial.json", "metrics.jsonl", "recipe.toml"}
    for path in (work / "study").rglob("*"):
        if path.is_file() and path.name not in kept:
            path.unlink()


def main() -> None:
    """Record everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="an empty folder to work in")
    parser.add_argument("--shared", type=Path, required=True, help="folder of real photographs and weights")
    arguments = parser.parse_args()
    work, shared = arguments.work.absolute(), arguments.shared.absolute()
    work.mkdir(parents=True, exist_ok=True)
    DATA.mkdir(parents=True, exist_ok=True)
    os.environ["AEROSTAT_HOME"] = str(work / "home")
    os.chdir(work)
    asset = resources.files("aerostat") / "assets" / "rtmdet_nano_drawn_balloons.safetensors"
    (work / "pretrained.safetensors").write_bytes(asset.read_bytes())
    draw_scenes(work)
    make_runs(work)
    make_exports(work)
    make_study(work)
    pack(work, ["scenes", "messy", "stopped", "finished", "exports", "study"], DATA / "recorded.tar.xz")
    recipes = {name: answer("train", "scenes", "--classes", CLASS, *words, "--dry-run")
               for name, words in RECIPES.items()}  # fmt: skip
    write_json("recipes.json", {n: {"options": RECIPES[n], "toml": text} for n, text in recipes.items()})
    write_json("options.json", {
        verb: {"arguments": words, "options": list(options(verb))} for verb, words in VERBS.items()
    })  # fmt: skip
    write_json("documents.json", record_documents(work))
    images = sorted((work / "scenes" / "val").glob("*.jpg"))
    cases = ("finished", *(f"exports/{n}" for n in EXPORTS))
    found = {f"{c}/{k}": v for c in cases for k, v in detections(c, images, score=0.1).items()}
    np.savez_compressed(DATA / "scenes.npz", **found)  # type: ignore[arg-type]
    person = str(shared / "weights" / "rtmdet_nano_person.pth")
    photographs = [shared / "data" / "balloon" / "val" / name for name in PHOTOGRAPHS]
    plain = {f"plain/{k}": v for k, v in detections(person, photographs, score=0.1).items()}
    tta = {f"tta/{k}": v for k, v in detections(person, photographs, score=0.1, tta=True).items()}
    np.savez_compressed(DATA / "photographs.npz", **plain, **tta)  # type: ignore[arg-type]
    words = ["eval", person, str(shared / "data" / "balloon"), "--classes", "person", "--json"]
    write_json("balloons.json", json.loads(answer(*words)))


if __name__ == "__main__":
    main()
