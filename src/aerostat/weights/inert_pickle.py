"""Read the structure of a pickle without executing any of it.

A pickle is a program for a small stack machine; Python's own machine imports modules and calls functions on
the way. The one here has no instruction for that: a name stays a `Name`, a call stays a `Call`, an outside
reference stays a `Persistent`, and whoever reads the result decides which of these records it understands.
Nothing is ever looked up, and nothing recurses. Time and memory are bounded by the length of the pickle: an
instruction of one byte can make an object of a hundred, so there may be no more of those than in real ones.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from typing import Any, Protocol

MAX_INSTRUCTIONS = 4_000_000
"""About five seconds' worth; a checkpoint of OpenMMLab with its training logs has some ten thousand."""
_ALLOWANCE = 1_000_000
_BYTES_PER_OBJECT = 4
"""Beyond the allowance, on average: pickle writes two instructions or more for a container and its memo."""
_MAKING = frozenset(
    (
        *(
            "MARK",
            "EMPTY_DICT",
            "EMPTY_LIST",
            "EMPTY_SET",
            "LIST",
            "TUPLE",
            "FROZENSET",
            "DICT",
            "TUPLE1",
            "TUPLE2",
        ),
        *(
            "TUPLE3",
            "PUT",
            "BINPUT",
            "LONG_BINPUT",
            "MEMOIZE",
            "PERSID",
            "BINPERSID",
            "GLOBAL",
            "STACK_GLOBAL",
        ),
        *("EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST"),
    )
)


class Source(Protocol):
    """Something to read a pickle from, such as an open binary file, a `BytesIO` or an `mmap`."""

    def read(self, size: int, /) -> bytes: ...  # noqa: D102
    def readline(self) -> bytes: ...  # noqa: D102


class Name:
    """A module-level name that the pickle asked for, unresolved: ``text`` is ``module.name``, or empty."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Call:
    """A call that the pickle asked for and nobody made: ``name`` (empty if not a plain name) and ``args``."""

    __slots__ = ("args", "name")

    def __init__(self, function: Any, args: Any) -> None:
        self.name = function.text if isinstance(function, Name) else ""
        self.args = args if isinstance(args, tuple) else ()


class Persistent:
    """A reference to something stored outside the pickle (in torch's files: a storage)."""

    __slots__ = ("pid",)

    def __init__(self, pid: Any) -> None:
        self.pid = pid


class _Machine:
    """The state of the stack machine; `step` carries out one instruction, none of which resolves a name."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under the open MARKs
        self.memo: dict[int, Any] = {}  # a dict, so that a memo index of 2**31 costs nothing
        self.persistent: list[Persistent] = []
        self.copied = 0  # entries of lists that became ordered dicts; one list may be asked for many times

    def step(self, opcode: str, arg: Any) -> None:
        """Carry out one instruction; a KeyError or IndexError means that the pickle is damaged."""
        match opcode:
            case "PROTO" | "FRAME" | "STOP" | "READONLY_BUFFER":
                pass
            case "NONE":
                self.stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                self.stack.append(opcode == "NEWTRUE")
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "POP" if self.stack:
                self.stack.pop()
            case "POP" | "POP_MARK":
                self._items()
            case "DUP":
                self.stack.append(self.stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[arg] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[arg])
            case "PERSID":
                self._refer(arg)
            case "BINPERSID":
                self._refer(self.stack.pop())
            case _:
                if not (self._collect(opcode) or self._call(opcode, arg)):
                    self.stack.append(arg)  # what is left are numbers, strings and bytes

    def _collect(self, opcode: str) -> bool:
        """Carry out an instruction that makes or fills a container."""
        match opcode:
            case "EMPTY_TUPLE":
                self.stack.append(())
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_LIST" | "EMPTY_SET":  # sets become lists: what is never hashed cannot recurse
                self.stack.append([])
            case "LIST":
                self._push(self._items())
            case "TUPLE" | "FROZENSET":
                self._push(tuple(self._items()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(reversed([self.stack.pop() for _ in range(int(opcode[-1]))])))
            case "DICT":
                self._push(_filled({}, self._items()))
            case "APPEND":
                self._extend([self.stack.pop()])
            case "APPENDS" | "ADDITEMS":
                self._extend(self._items())
            case "SETITEM":
                value, key = self.stack.pop(), self.stack.pop()
                self._extend([key, value])
            case "SETITEMS":
                self._extend(self._items())
            case _:
                return False
        return True

    def _call(self, opcode: str, arg: Any) -> bool:
        """Carry out an instruction that names, calls or furnishes something: write down that it was asked."""
        match opcode:
            case "GLOBAL":
                self.stack.append(_name(arg))
            case "STACK_GLOBAL":
                name, module = self.stack.pop(), self.stack.pop()
                plain = isinstance(name, str) and isinstance(module, str)
                self.stack.append(Name(f"{module}.{name}" if plain else ""))
            case "EXT1" | "EXT2" | "EXT4" | "NEXT_BUFFER":
                self.stack.append(Name(""))
            case "REDUCE" | "NEWOBJ" | "NEWOBJ_EX":
                if opcode == "NEWOBJ_EX":
                    self.stack.pop()  # keyword arguments
                args, function = self.stack.pop(), self.stack.pop()
                self.stack.append(self._made(Call(function, args)))
            case "OBJ":
                function, *args = self._items()
                self._push(self._made(Call(function, tuple(args))))
            case "INST":
                self._push(self._made(Call(_name(arg), tuple(self._items()))))
            case "BUILD":
                self.stack.pop()  # attributes for an object that was never made
            case _:
                return False
        return True

    def _made(self, call: Call) -> Any:
        """Return the call, or a dict in place of an ordered one, because later instructions fill it."""
        if call.name != "collections.OrderedDict":
            return call
        pairs = call.args[0] if call.args and isinstance(call.args[0], (list, tuple)) else ()
        self.copied += len(pairs)
        items = [x for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2 for x in pair]
        return _filled({}, items)

    def _push(self, value: Any) -> None:
        """Put a value on the stack as it is once the value is known, which `_items` may have replaced."""
        self.stack.append(value)

    def _items(self) -> list[Any]:
        """Take everything above the last MARK."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def _extend(self, items: list[Any]) -> None:
        """Put items into the container on top; what is asked of an unmade object is forgotten."""
        container = self.stack[-1]
        if isinstance(container, list):
            container.extend(items)
        elif isinstance(container, dict):
            _filled(container, items)

    def _refer(self, pid: Any) -> None:
        self.persistent.append(Persistent(pid))
        self.stack.append(self.persistent[-1])


def _name(arg: Any) -> Name:
    return Name(str(arg).replace(" ", ".", 1))  # pickletools joins module and name with a space


def _filled(target: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    """Set keys and values that alternate in `items`; plain keys only, for a tuple's hash would recurse."""
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(key, (str, int, float, bytes, type(None))):
            target[key] = value
    return target


def read(source: Source) -> tuple[Any, list[Persistent]]:
    """Read one pickle from `source` and leave `source` right behind it.

    Returns:
        What the pickle describes, made of dict, list (also for sets), tuple, str, bytes, numbers, `Name`,
        `Call` and `Persistent`; and every `Persistent` met on the way, in order.

    Raises:
        ValueError: if the bytes are no pickle, or a damaged one.
    """
    machine = _Machine()
    made = 0
    try:
        for number, (opcode, arg, position) in enumerate(_instructions(source)):
            made += opcode in _MAKING
            machine.step(opcode, arg)
            if number >= MAX_INSTRUCTIONS:
                raise ValueError(f"more than {MAX_INSTRUCTIONS} instructions")
            if made > _ALLOWANCE + position // _BYTES_PER_OBJECT or machine.copied > position:
                raise ValueError("more objects than its length warrants")
        return machine.stack[-1], machine.persistent
    except (IndexError, KeyError, TypeError, OverflowError, ValueError) as error:
        raise ValueError(f"damaged pickle ({str(error)[:100] or type(error).__name__})") from None


def _instructions(source: Source) -> Iterator[tuple[str, Any, int]]:
    start: int | None = None
    for opcode, arg, position in pickletools.genops(source):  # type: ignore[arg-type]
        place = position or 0  # of a source that can tell; a pickle may begin in the middle of one
        start = place if start is None else start
        yield opcode.name, arg, place - start
