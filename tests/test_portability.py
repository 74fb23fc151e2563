"""Nothing assumes Linux: what the source may not contain, and text where a system cannot show all of it."""

import ast
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from aerostat.__main__ import main
from aerostat.inference.resolve import load
from aerostat.model import build
from aerostat.scenes.balloons import write_balloons
from aerostat.weights import zoo
from aerostat.weights.checkpoint import Header, load_weights, save_weights
from aerostat.weights.openmmlab import write_pth
from aerostat.weights.training_state import load_state, save_state

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "aerostat"

OF_LINUX_ALONE = {"fcntl", "resource", "termios", "pwd", "grp", "pty", "syslog"}
"""Modules that Windows lacks: imported within `try` or for one platform only."""
SIGNALS = {"SIGINT", "SIGTERM"}
"""Those that every system has."""
NEVER = {
    *(
        "os.fork",
        "os.forkpty",
        "os.system",
        "os.popen",
        "os.startfile",
        "os.getuid",
        "os.geteuid",
        "os.chown",
    ),
    *("os.kill", "os.killpg", "os.mkfifo", "multiprocessing.get_context", "multiprocessing.set_start_method"),
    *("locale.setlocale", "os.path.join", "datetime.now", "datetime.today", "datetime.utcnow"),
}
"""Calls that mean one kind of system, a shell, `fork`, or a time without its zone."""
TAKES_A_PATH = {"Path", "open", "joinpath", "with_name", "glob", "rglob"}


def joined_by_hand(node: ast.AST) -> bool:
    """Return whether an expression glues names together with a slash."""
    match node:
        case ast.JoinedStr(values=values):
            return any("/" in str(p.value) for p in values if isinstance(p, ast.Constant))
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=joiner), attr="join")):
            return joiner in ("/", "\\")
        case ast.BinOp(op=ast.Add() | ast.Mod(), left=left, right=right):
            return any(isinstance(x, ast.Constant) and "/" in str(x.value) for x in (left, right))
    return False


def paths_in(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield where a path, or what follows the `/` of one, is a text glued together with slashes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and named(node).rpartition(".")[2] in TAKES_A_PATH:
            yield from filter(joined_by_hand, node.args)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and joined_by_hand(node.right):
            yield node.right


def named(call: ast.Call) -> str:
    return ast.unparse(call.func)


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((k.value for k in call.keywords if k.arg == name), None)


def is_binary(mode: ast.expr | None) -> bool:
    if isinstance(mode, ast.IfExp):
        return is_binary(mode.body) and is_binary(mode.orelse)
    return isinstance(mode, ast.Constant) and isinstance(mode.value, str) and "b" in mode.value


def text_without_encoding(call: ast.Call) -> bool:
    """Return whether a call reads or writes text in whatever encoding the machine happens to have."""
    name = named(call)
    last = name.rpartition(".")[2]
    if keyword(call, "encoding") is not None:
        return False
    if last == "read_text":
        return not call.args
    if last == "write_text":  # `files.write_text(path, content)` is ours and always UTF-8
        return isinstance(call.func, ast.Attribute) and name != "files.write_text" and len(call.args) < 2
    if name == "open":
        return not is_binary(call.args[1] if len(call.args) > 1 else keyword(call, "mode"))
    if last == "open" and name not in ("os.open", "Image.open") and "opener" not in name:
        return not is_binary(call.args[0] if call.args else keyword(call, "mode"))
    if name.startswith("subprocess.") and last in ("run", "Popen", "check_output", "check_call"):
        return any(keyword(call, k) is not None for k in ("text", "universal_newlines"))
    if last in ("NamedTemporaryFile", "TemporaryFile", "fdopen", "TextIOWrapper"):
        mode = call.args[1] if last == "fdopen" and len(call.args) > 1 else keyword(call, "mode")
        return mode is not None and not is_binary(mode)
    return False


def faults(text: str) -> list[str]:
    """Return what a source file assumes about the system that it runs on, a line each."""
    tree = ast.parse(text)
    sheltered = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Try | ast.FunctionDef)
        or (isinstance(node, ast.If) and "platform" in ast.unparse(node.test))
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if text_without_encoding(node):
                found.append(f"{node.lineno}: text without an encoding: {ast.unparse(node)[:80]}")
            shell = keyword(node, "shell")
            if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
                found.append(f"{node.lineno}: a shell")
            if named(node) in NEVER:
                found.append(f"{node.lineno}: {named(node)}")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = {a.name for a in node.names} if isinstance(node, ast.Import) else {str(node.module)}
            found += [f"{node.lineno}: {n}" for n in names & OF_LINUX_ALONE if id(node) not in sheltered]
        elif isinstance(node, ast.Attribute) and re.fullmatch(r"signal\.SIG[A-Z0-9]+", ast.unparse(node)):
            found += [f"{node.lineno}: signal.{node.attr}"] if node.attr not in SIGNALS else []
    return found


@pytest.mark.parametrize(
    "file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: f.relative_to(PACKAGE).as_posix()
)
def test_no_file_assumes_one_system(file: Path) -> None:
    text = file.read_text("utf-8")
    assert faults(text) == []
    assert [f"{node.lineno}: {ast.unparse(node)}" for node in paths_in(ast.parse(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "open('a')",
        "open('a', 'w')",
        "open('a', mode='r')",
        "path.open()",
        "path.open('a')",
        "path.read_text()",
        "path.write_text(content)",
        "subprocess.run(c, text=True)",
        "subprocess.run(c, shell=True)",
        "subprocess.run(c, shell=wanted)",
        "os.fork()",
        "os.system('ls')",
        "multiprocessing.get_context('fork')",
        "import fcntl",
        "from resource import getrusage",
        "signal.signal(signal.SIGKILL, f)",
        "os.kill(pid, signal.SIGHUP)",
        "datetime.now()",
    ],
)
def test_an_assumption_is_found(text: str) -> None:
    assert faults(text)


@pytest.mark.parametrize(
    "text",
    [
        "open('a', 'rb')",
        "open('a', encoding='utf-8')",
        "path.open('rb+' if new else 'wb')",
        "path.read_text('utf-8')",
        "path.write_text(content, 'utf-8')",
        "write_text(path, content)",
        "subprocess.run(c, capture_output=True)",
        "try:\n    import fcntl\nexcept ImportError:\n    fcntl = None",
        "if sys.platform != 'win32':\n    import resource",
        "signal.signal(signal.SIGTERM, signal.SIG_DFL)",
        "Image.open(stream)",
    ],
)
def test_what_runs_everywhere_is_let_pass(text: str) -> None:
    assert faults(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Path(f'{a}/{b}')",
        "Path('/'.join(parts))",
        "open(folder + '/name', 'rb')",
        "folder / f'{a}/{b}.jpg'",
        "folder.joinpath('%s/x' % name)",
    ],
)
def test_a_path_joined_by_hand_is_found(text: str) -> None:
    assert list(paths_in(ast.parse(text)))


@pytest.mark.parametrize("text", ["f'epoch {a}/{b}'", "folder / f'{a}-{b}.jpg'", "Path('/proc/self')"])
def test_fractions_and_fixed_places_are_no_paths_joined_by_hand(text: str) -> None:
    assert not list(paths_in(ast.parse(text)))


# --- text that a console or a file system cannot show ---

NAME = "照片−é"
CLASS = "气球"


@pytest.fixture(scope="module")
def balloons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a photograph, its COCO file and weights, all of names that ASCII and cp1252 lack."""
    import torch

    folder = tmp_path_factory.mktemp("names") / "数据"
    (folder / "val").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    (folder / "val" / f"{NAME}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    document = {
        "images": [{"id": 1, "file_name": f"{NAME}.png", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 20, 20], "area": 400}],
        "categories": [{"id": 1, "name": CLASS}],
    }
    (folder / "val" / "a.json").write_text(json.dumps(document, ensure_ascii=False), "utf-8")
    torch.manual_seed(0)
    net = build("nano", 1)
    for level in range(3):
        torch.nn.init.constant_(net.bbox_head.rtm_cls[level].bias, 1.0)
        torch.nn.init.constant_(net.bbox_head.rtm_reg[level].bias, 1.5)
    save_weights(folder / "w.safetensors", net.state_dict(), Header("nano", (CLASS,), (64, 64)))
    return folder


@pytest.fixture
def on_a_console(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, bytes, bytes]]:
    """Run a command with standard streams of an encoding, as Python sets them up."""

    def run(encoding: str, *words: object) -> tuple[int, bytes, bytes]:
        out, err = io.BytesIO(), io.BytesIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding, "strict", write_through=True))
            patch.setattr(
                sys, "stderr", io.TextIOWrapper(err, encoding, "backslashreplace", write_through=True)
            )
            code = main([str(word) for word in words])
            return code, out.getvalue(), err.getvalue()

    return run


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "utf-8"])
def test_a_console_that_lacks_letters_is_no_failure(balloons, on_a_console, tmp_path, encoding):
    out = tmp_path / NAME
    weights, photograph = balloons / "w.safetensors", balloons / "val" / f"{NAME}.png"
    for words in (
        ("convert", balloons / "val", tmp_path / "out.json"),
        ("eval", weights, balloons, "--device", "cpu"),
        ("predict", weights, photograph, "--out", out, "--format", "csv"),
    ):
        code, said, err = on_a_console(encoding, *words)
        assert code == 0, err
        said.decode(encoding)
    assert f"{NAME}.png" in (out / "detections.csv").read_text("utf-8")
    assert (out / f"{NAME}.png").is_file()
    code, said, err = on_a_console(encoding, "predict", weights, photograph, "--out", out, "--json")
    assert code == 0, err
    (image,) = json.loads(said.decode(encoding))["images"]
    assert image["detections"][0]["class"] == CLASS or CLASS in json.dumps(image, ensure_ascii=False)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has one encoding for names of files")
def test_names_that_the_file_system_cannot_write_are_one_sentence(balloons, tmp_path):
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = ["explain", "w.safetensors", f"val/{NAME}.png", "--top", "1", "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-m", "aerostat", *map(str, words)],
        cwd=balloons,
        env=environment,
        capture_output=True,
    )
    said = done.stderr.decode("ascii")
    assert done.returncode == 1
    assert "Traceback" not in said and "ascii" in said and "PYTHONUTF8=1" in said.splitlines()[-1]


def test_a_user_without_a_home_has_the_cache_below_the_current_folder(tmp_path, monkeypatch):
    def nobody(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AEROSTAT_HOME", raising=False)
    assert zoo.weights_folder() == tmp_path / ".cache" / "aerostat" / "weights"
    assert main(["models"]) == 0


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux' list of mapped files")
def test_files_that_were_read_are_let_go_of_so_that_windows_can_replace_them(balloons, tmp_path):
    """Windows replaces no file that is open or mapped, and a run's files are replaced after every epoch."""
    import torch

    weights, state = balloons / "w.safetensors", tmp_path / "last.ckpt"
    save_state(state, {"tensor": torch.ones(1000), "list": [1, 2]})
    loaded = load_weights(weights)
    kept = [loaded, load_state(state), load(weights)]
    write_pth(tmp_path / "w.pth", loaded.state, loaded.header.classes, {})
    kept.append(load_weights(tmp_path / "w.pth"))
    held = Path("/proc/self/maps").read_text("utf-8") + "".join(
        f"{entry.readlink()}\n" for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()
    )
    assert len(kept) == 4
    assert not [path for path in (weights, state, tmp_path / "w.pth") if str(path) in held]


@pytest.mark.slow
def test_a_training_on_two_devices_starts_its_processes_however_it_was_started(tmp_path):
    """Windows starts `aerostat.exe`, which tells its own name without the suffix: that of no file."""
    write_balloons(tmp_path / "balloons", train=4, val=1, size=(64, 64))
    script = tmp_path / "started.py"
    script.write_text(
        "import sys\nfrom aerostat.__main__ import main\n"
        "sys.argv[0] = 'C:/nowhere/aerostat'\nsys.exit(main())\n",
        "utf-8",
    )
    words = [
        "train",
        "balloons",
        "--classes",
        "balloon",
        "--model",
        "rtmdet-nano",
        "--epochs",
        "1",
        "--input-size",
        "64",
    ]
    words += [
        "--batch-size",
        "2",
        "--device",
        "cpu",
        "--set",
        "data.threads=0",
        "--set",
        "run.devices=2",
        "--out",
        "run",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "AEROSTAT_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, script, *words], cwd=tmp_path, env=environment, capture_output=True, timeout=240
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    assert (tmp_path / "run" / "last.safetensors").is_file()
