"""Nothing in the source assumes Linux, a shell, or the encoding of one machine."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.nightly

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
    *("locale.setlocale", "datetime.now", "datetime.today", "datetime.utcnow"),
}
"""Calls that mean one kind of system, a shell, `fork`, or a time without its zone."""
OPENS_BYTES = re.compile(r"opener|location")
"""Objects whose `open` takes no mode and gives bytes (`images.location`)."""
TAKES_A_PATH = {"Path", "open", "joinpath", "with_name"}


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
    if last == "open" and name not in ("os.open", "Image.open") and not OPENS_BYTES.search(name):
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
            of_subprocess = named(node).startswith("subprocess.") and shell is not None
            if of_subprocess and not (isinstance(shell, ast.Constant) and shell.value is False):
                found.append(f"{node.lineno}: a shell")
            if named(node) in NEVER:
                found.append(f"{node.lineno}: {named(node)}")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = {a.name for a in node.names} if isinstance(node, ast.Import) else {str(node.module)}
            found += [f"{node.lineno}: {n}" for n in names & OF_LINUX_ALONE if id(node) not in sheltered]
        elif isinstance(node, ast.Attribute) and re.fullmatch(r"signal\.SIG[A-Z0-9]+", ast.unparse(node)):
            found += [f"{node.lineno}: signal.{node.attr}"] if node.attr not in SIGNALS else []
    return found


def test_no_file_assumes_one_system() -> None:
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        text = file.read_text("utf-8")
        joined = [
            f"{node.lineno}: a path joined by hand: {ast.unparse(node)}" for node in paths_in(ast.parse(text))
        ]
        found += [f"{file.relative_to(PACKAGE)}:{line}" for line in (*faults(text), *joined)]
    assert found == []


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
