"""Reader of the structure of a pickle that executes nothing in it.

A pickle is a program for a stack machine. Python's machine imports modules and calls functions. This machine
cannot: a name stays a `Name`, a call a `Call`, an outside reference a `Persistent`, and the caller decides
which of these records it understands. No name is looked up, and no method recurses.

Time and memory are bounded by the length of the pickle. An instruction of one byte can make an object of a
hundred bytes, so a pickle may not make more objects per byte than real pickles do.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from typing import Any, Protocol

MAX_INSTRUCTIONS = 4_000_000
"""Instructions of a pickle, at most: about five seconds. An OpenMMLab checkpoint has about 10,000."""
_FREE_OBJECTS = 1_000_000
"""Objects that any pickle may make."""
_BYTES_PER_OBJECT = 4
"""Bytes of the pickle for each further object: pickle writes at least two instructions for a container."""
_MAKING_OBJECTS = frozenset(
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
    """A source of bytes, such as an open binary file, a `BytesIO` or an `mmap`."""

    def read(self, size: int, /) -> bytes: ...  # noqa: D102
    def readline(self) -> bytes: ...  # noqa: D102


class Name:
    """A module-level name in a pickle, not resolved; ``text`` is ``module.name``, or empty."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Call:
    """A call in a pickle, not executed: ``name`` (empty if the function is no plain name) and ``args``."""

    __slots__ = ("args", "name")

    def __init__(self, function: Any, args: Any) -> None:
        self.name = function.text if isinstance(function, Name) else ""
        self.args = args if isinstance(args, tuple) else ()


class Persistent:
    """A reference to data outside the pickle (in torch's files a storage)."""

    __slots__ = ("pid",)

    def __init__(self, pid: Any) -> None:
        self.pid = pid


class _Machine:
    """The state of the stack machine; `step` executes one instruction and never resolves a name."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under the open MARKs
        self.memo: dict[int, Any] = {}  # a dict, because an index may be 2**31
        self.persistent: list[Persistent] = []
        self.copied = 0  # list entries copied to ordered dicts; one list may be copied many times

    def step(self, opcode: str, arg: Any) -> None:
        """Execute one instruction; a KeyError or IndexError means that the pickle is damaged."""
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
                    self.stack.append(arg)  # numbers, strings and bytes

    def _collect(self, opcode: str) -> bool:
        """Execute an instruction that makes or fills a container; return whether it is one."""
        match opcode:
            case "EMPTY_TUPLE":
                self.stack.append(())
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_LIST" | "EMPTY_SET":  # sets become lists, because a hash could recurse
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
        """Record an instruction that names, calls or completes an object; return whether it is one."""
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
                self.stack.pop()  # attributes of an object that was not made
            case _:
                return False
        return True

    def _made(self, call: Call) -> Any:
        """Return the call; for an ordered dict a dict, because later instructions fill it."""
        if call.name != "collections.OrderedDict":
            return call
        pairs = call.args[0] if call.args and isinstance(call.args[0], (list, tuple)) else ()
        self.copied += len(pairs)
        items = [x for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2 for x in pair]
        return _filled({}, items)

    def _push(self, value: Any) -> None:
        """Push a value after it is computed: `_items`, called for it, replaces the stack."""
        self.stack.append(value)

    def _items(self) -> list[Any]:
        """Pop and return all items above the last MARK."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def _extend(self, items: list[Any]) -> None:
        """Add items to the container on top of the stack; items for any other object are dropped."""
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
    """Set the alternating keys and values of `items`; only plain keys, because a tuple's hash recurses."""
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(key, (str, int, float, bytes, type(None))):
            target[key] = value
    return target


def read(source: Source) -> tuple[Any, list[Persistent]]:
    """Read one pickle and leave `source` at its end.

    Returns:
        The described value, made of dict, list (also for sets), tuple, str, bytes, numbers, `Name`, `Call`
        and `Persistent`; and all `Persistent` in order.

    Raises:
        ValueError: the bytes are no pickle, or the pickle is damaged or too large.

    Example:
        >>> import io, os, pickle
        >>> value, _ = read(io.BytesIO(pickle.dumps({"lr": 0.1, "harmful": os.getcwd})))
        >>> value["lr"], value["harmful"].text.rpartition(".")[2]
        (0.1, 'getcwd')
    """
    machine = _Machine()
    made = 0
    try:
        for number, (opcode, arg, position) in enumerate(_instructions(source)):
            made += opcode in _MAKING_OBJECTS
            machine.step(opcode, arg)
            if number >= MAX_INSTRUCTIONS:
                raise ValueError(f"more than {MAX_INSTRUCTIONS} instructions")
            if made > _FREE_OBJECTS + position // _BYTES_PER_OBJECT or machine.copied > position:
                raise ValueError("more objects than its length warrants")
        return machine.stack[-1], machine.persistent
    except (IndexError, KeyError, TypeError, OverflowError, ValueError) as error:
        raise ValueError(f"damaged pickle ({str(error)[:100] or type(error).__name__})") from None


def _instructions(source: Source) -> Iterator[tuple[str, Any, int]]:
    start: int | None = None
    for opcode, arg, position in pickletools.genops(source):  # type: ignore[arg-type]
        place = (
            position or 0
        )  # None from sources without `tell`; a pickle may begin in the middle of a source
        start = place if start is None else start
        yield opcode.name, arg, place - start
