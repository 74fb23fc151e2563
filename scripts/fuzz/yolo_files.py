"""Label files, data.yaml and lists of images to start from, and changes of their lines."""

from __future__ import annotations

import random
from pathlib import Path

from scripts.fuzz import bytes_and_text

_BOXES = "0 0.5 0.5 0.25 0.5\n1 0.3 0.25 0.2 0.125\n0 0.1 0.1 0.2 0.2\n"
_OUTLINES = "0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0.5 0.2 0.7 0.5 0.5 0.8 0.3 0.5\n"
_MORE = (
    "0 0.5 0.5 0.2 0.5 0.9\n1 0.5 0.5 0.2 0.5 0.4 0.4 2 0.5 0.5 1\n"
    "1.0 0.25000000000000000000001 .5 2E-1 5e-1\n"
)
_YAML = (
    "path: .\ntrain: images\nval: list.txt\ntest: ../x\nnc: 2\nnames:\n  0: kite\n  1: no\n",
    "train: [images, images]\nnames: ['kite', \"ball\\x0a\"]\nkpt_shape: [1, 3]\n",
    "a: &a [kite, ball]\nnames: *a\ntrain: list.txt\ndownload: |\n  import os\n",
)
_KEYS = ("path", "train", "val", "test", "names", "nc", "kpt_shape", "<<", "0")
_NODES = (
    *(
        "",
        "~",
        "yes",
        "images",
        "list.txt",
        "[images]",
        "[]",
        "{}",
        "{0: a}",
        "[a, [b]]",
        "{a: b}",
        "&x",
        "*x",
    ),
    *(
        "!!python/object/apply:os.system [id]",
        "!!binary aGk=",
        "!!set {a}",
        "? [a] : b",
        "'",
        '"\\u0000"',
        "|",
    ),
    *(
        "[" * 3000,
        "{a: " * 3000,
        "- " * 3000,
        "&a [*a]",
        "2024-01-01",
        "0x1f",
        "1_000",
        "<<: *x",
        "---",
        "...",
    ),
)


def labels() -> tuple[bytes, ...]:
    """Return label files."""
    return tuple(text.encode() for text in (_BOXES, _OUTLINES, _MORE))


def configs() -> tuple[bytes, ...]:
    """Return the texts of data.yaml."""
    return tuple(text.encode() for text in _YAML)


def lists() -> tuple[bytes, ...]:
    """Return lists of images."""
    return b"images/c.png\n./a.png\n", b"/home/me/data/images/c.png\r\nC:\\data\\a.png\n\n"


def change_numbers(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    """Change words and lines of a label file."""
    lines = [line.split() for line in content.decode().splitlines()]
    for _ in range(dice.choice((1, 1, 2, 5))):
        line = dice.choice(lines)
        match dice.randrange(4):
            case 0 if line:
                line[dice.randrange(len(line))] = dice.choice(bytes_and_text.NUMBERS)
            case 1:
                line.insert(
                    dice.randrange(len(line) + 1), dice.choice(("0.5", "2", "x", "-0.1", "1.0000001"))
                )
            case 2 if line:
                del line[dice.randrange(len(line)) :]
            case _:
                lines += [list(line)] * (dice.choice((1, 2, 300)) if len(lines) < 300 else 1)
    text = "\n".join(" ".join(line) for line in lines)
    return text.encode(dice.choice(("utf-8",) * 8 + ("utf-8-sig", "utf-16")))


def change_nodes(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    """Change keys and values of a data.yaml."""
    lines = content.decode().splitlines()
    for _ in range(dice.choice((1, 1, 2, 4))):
        at = dice.randrange(len(lines) + 1)
        node = dice.choice((*_NODES, *bytes_and_text.NUMBERS))
        match dice.randrange(4):
            case 0:
                lines.insert(at, f"{dice.choice(_KEYS)}: {node}")
            case 1 if at < len(lines):
                lines[at] = f"{lines[at].partition(':')[0]}: {node}"
            case 2:
                lines[at:at] = lines[at : at + 1] * dice.choice((1, 2, 2000))
            case _:
                lines.insert(at, dice.choice(("  ", "- ", "  - ")) + node)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def change_names(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    """Change the lines of a list of images."""
    lines = content.decode().splitlines()
    for _ in range(dice.choice((1, 2, 5))):
        lines.insert(dice.randrange(len(lines) + 1), dice.choice(bytes_and_text.NAMES))
    return "\n".join(lines * dice.choice((1, 1, 500))).encode("utf-8", "surrogatepass")


def put_labels(folder: Path) -> None:
    """Put label files beside the images of a folder, and a list of images."""
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / "c.txt").write_text(_BOXES)
    (folder / "b.txt").write_text(_OUTLINES)
    (folder / "list.txt").write_text("b.jpg\nimages/c.png\n")
