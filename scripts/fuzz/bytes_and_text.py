"""Changes to bytes, whatever they mean, and the values that parsers like least."""

from __future__ import annotations

import random
import re

NUMBERS = (
    *("0", "-0", "1", "-1", "2", "127", "255", "256", "65535", "65536", "2147483647", "2147483648"),
    *("-2147483649", "4294967296", "9007199254740993", "9223372036854775807", "9223372036854775808"),
    *(
        "18446744073709551616",
        "1" + "0" * 30,
        "1" + "0" * 400,
        "9" * 5000,
        "1e400",
        "-1e400",
        "1e308",
        "5e-324",
    ),
    *("0.1", "1e-9", "-0.0", "1E5", "0x10", "1_000", "01", "+1", ".5", "NaN", "Infinity", "-Infinity", "nan"),
)
"""As text; not all of them are numbers to every parser."""

NAMES = (
    *("", ".", "..", "/", "\\", "../secret.png", "../../../../etc/passwd", "/etc/passwd", "..\\secret.png"),
    *(
        "C:\\secret.png",
        "C:secret.png",
        "\\\\server\\share\\a.png",
        "file:///etc/passwd",
        "https://a.b/c.png",
    ),
    *(
        "a.png/",
        "./a.png",
        "a.png\x00.jpg",
        "a\nb.png",
        "\x1b[2J.png",
        "[red]a.png",
        "<script>alert(1)</script>",
    ),
    *("folder/../a.png", "A.PNG", "a" * 5000, "ä" * 300, "CON", "\u202egnp.a", "\ufeffa.png", "link.png"),
)
"""Names of files or classes that lead elsewhere, cannot be shown, or cannot be."""

_INTERESTING = (0, 1, 0x7F, 0x80, 0xFE, 0xFF, *b"\"'[]{}(),:.\\/\n-+eE0")
_WORDS = (
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\x00" * 8,
    b"\xff" * 8,
    b"\x00\x01\x86\xa0",
    b"\xa0\x86\x01\x00",
)
_DIGITS = re.compile(rb"-?\d+(?:\.\d+)?")


def change(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    """Return the bytes with one to eight changes.

    Args:
        content: what to change.
        others: inputs whose pieces may be put in.
        dice: decides.
    """
    data = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        _CHANGES[dice.randrange(len(_CHANGES))](data, others, dice)
    return bytes(data)


def _flip(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    if data:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _set(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    if data:
        data[dice.randrange(len(data))] = dice.choice(_INTERESTING)


def _word(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    word = dice.choice(_WORDS)
    at = dice.randrange(min(len(data), 400) + 1)  # headers come first
    data[at : at + len(word)] = word


def _cut(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    del data[dice.randrange(len(data) + 1) :]


def _remove(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    at = dice.randrange(len(data) + 1)
    del data[at : at + dice.choice((1, 2, 4, 16, 100, 1000))]


def _repeat(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    at = dice.randrange(len(data) + 1)
    piece = bytes(data[at : at + dice.choice((1, 2, 4, 16, 100))])
    times = dice.choice((1, 2, 10, 1000))
    data[at:at] = piece * times if len(data) < 1 << 20 else piece


def _insert(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    at = dice.randrange(len(data) + 1)
    data[at:at] = dice.randbytes(dice.choice((1, 2, 4, 8, 64)))


def _splice(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    other = dice.choice(others)
    start, at = dice.randrange(len(other) + 1), dice.randrange(len(data) + 1)
    if dice.random() < 0.5:
        data[at:] = other[start:]
    else:
        data[at:at] = other[start : start + dice.choice((4, 64, 1000))]


def _number(data: bytearray, others: tuple[bytes, ...], dice: random.Random) -> None:
    found = list(_DIGITS.finditer(data))
    if found:
        match = dice.choice(found)
        data[match.start() : match.end()] = dice.choice(NUMBERS).encode()


_CHANGES = (_flip, _set, _word, _cut, _remove, _repeat, _insert, _splice, _number)
