"""Changes to pickles, instruction by instruction, and programs made of nothing but instructions."""

from __future__ import annotations

import pickletools
import random
import struct

COMMANDS = (
    b"cos\nsystem\n(X\x05\x00\x00\x00touchtR",
    b"cbuiltins\nexec\n(X\x0e\x00\x00\x00import os as osstR",
    b"cposix\nsystem\n(S'touch trace'\ntR",
    b"(S'touch trace'\nios\nsystem\n",
    b"(cos\nsystem\nS'touch trace'\no",
    b"\x8c\x02os\x8c\x06system\x93\x8c\x05touch\x85R",
    b"cantigravity\nfly\n)R",
    b"cpayload\nrun\n)\x81",
    b"c__main__\nx\n)}\x92",
    b"\x82\x01",
    b"\x84\xff\xff\xff\x7f",
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ",
    b"ctorch._utils\n_rebuild_tensor_v2\n(",
    b"ctorch._utils\n_rebuild_parameter\n(",
    b"ccollections\nOrderedDict\n)R",
    b"ccollections\nOrderedDict\n](K\x01K\x02\x86ea\x85R",
    b"ctorch\nSize\n(K\x02K\x02\x86\x85R",
    b"}(X\x01\x00\x00\x00aK\x01u",
)
"""Fragments: most would run something in Python's own machine, the others are what torch writes."""

_SIMPLE = b"().0125]}NtulsabdeRQ}\x85\x86\x87\x88\x89\x8f\x90\x91\x94\x92\x81\x93\x97\x98"


def change(program: bytes, dice: random.Random) -> bytes:
    """Return a pickle with one to six instructions removed, doubled, moved, altered or put in."""
    parts = instructions(program)
    for _ in range(dice.choice((1, 1, 2, 3, 6))):
        at = dice.randrange(len(parts) + 1)
        match dice.randrange(7):
            case 0:
                del parts[at : at + dice.choice((1, 1, 2, 10))]
            case 1:
                parts[at:at] = parts[at : at + dice.choice((1, 2, 10))] * dice.choice((1, 2, 500))
            case 2:
                parts.insert(at, dice.choice(COMMANDS))
            case 3:
                parts.insert(at, _instruction(dice))
            case 4 if parts:
                other = dice.randrange(len(parts))
                at = min(at, len(parts) - 1)
                parts[at], parts[other] = parts[other], parts[at]
            case 5 if at < len(parts):
                parts[at] = _instruction(dice)
            case _ if at < len(parts) and len(parts[at]) > 1:
                altered = bytearray(parts[at])
                altered[dice.randrange(1, len(altered))] = dice.randrange(256)
                parts[at] = bytes(altered)
    return b"".join(parts)


def instructions(program: bytes) -> list[bytes]:
    """Return a pickle cut into its instructions."""
    starts = [at for _, _, at in pickletools.genops(program)]
    return [program[a:b] for a, b in zip(starts, [*starts[1:], len(program)], strict=True)]


def program(dice: random.Random) -> bytes:
    """Return a program of 1 to 3000 instructions by chance."""
    count = dice.choice((5, 30, 300, 3000))
    parts = [dice.choice(COMMANDS) if dice.random() < 0.1 else _instruction(dice) for _ in range(count)]
    return b"\x80\x02" + b"".join(parts) + b"."


def _instruction(dice: random.Random) -> bytes:
    small, large = dice.randrange(256), dice.choice((0, 1, 255, 2**16, 2**31 - 1, 2**32 - 1))
    match dice.randrange(12):
        case 0:
            return b"K" + bytes([small])
        case 1:
            return dice.choice((b"h", b"q")) + bytes([dice.randrange(8)])
        case 2:
            return dice.choice((b"j", b"r", b"J")) + struct.pack("<I", large)
        case 3:
            return b"X" + struct.pack("<I", dice.choice((1, 4, large))) + b"abcd"
        case 4:
            return dice.choice((b"\x8d", b"\x8e", b"\x96", b"\x95")) + struct.pack(
                "<Q", dice.choice((4, 2**62, 2**64 - 1))
            )
        case 5:
            return b"\x8b" + struct.pack("<I", large) + b"\xff" * 4
        case 6:
            return dice.choice((b"I", b"L", b"F", b"S", b"V", b"p", b"g", b"P")) + dice.choice(
                (b"1\n", b"1L\n", b"'a'\n", b"9" * 5000 + b"\n", b"nan\n", b"\n", b"")
            )
        case _:
            return bytes([dice.choice(_SIMPLE)])
