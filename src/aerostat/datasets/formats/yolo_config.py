"""``data.yaml``, ``obj.data`` and lists of names: what they say of splits and classes.

YAML 1.1 makes a boolean of ``no`` and a number of ``1_0``, so a class called `no` would be lost. Here every
value is the text that stands in the file. No object is made from it, and an alias is no copy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from aerostat.datasets.annotation_text import read_content
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath
from aerostat.images.folders import length_of
from aerostat.text import shown

MAX_BYTES = 1 << 20
"""Bytes of a ``data.yaml``. That of LVIS with its 1,203 classes has 30,000."""
MAX_DEPTH = 20
"""Lists and mappings inside each other."""
MAX_CLASSES = 100_000

_SPLIT_KEYS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_NOTHING = ("", "~", "null", "Null", "NULL")

Node = str | list[Any] | dict[str, Any]


@dataclass(frozen=True, slots=True)
class Config:
    """What a ``data.yaml`` or an ``obj.data`` says.

    Args:
        file: where it stands.
        root: the folder that the others are relative to; empty if none is stated.
        splits: folders or lists of images of each split, as stated.
        names: of the classes in the order of their numbers; empty for a number without a name.
        names_file: a list of names, as stated; empty if there is none.
        has_key_points: whether key points follow each box.
        class_count: stated number of classes, None if there is none.
    """

    file: AnyPath
    root: str = ""
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    names_file: str = ""
    has_key_points: bool = False
    class_count: int | None = None


def read_yaml(file: AnyPath) -> Config | None:
    """Return what a ``data.yaml`` says, None for YAML of another kind.

    Raises:
        InputError: it cannot be read, is no YAML, or states names or splits in another form.
    """
    node = _parsed(file)
    if not isinstance(node, dict):
        return None
    splits = {_SPLIT_KEYS[key]: _texts(value, key, file) for key, value in node.items() if key in _SPLIT_KEYS}
    splits = {name: places for name, places in splits.items() if places}
    if not splits and "names" not in node:
        return None
    count = node.get("nc")
    number = int(count) if isinstance(count, str) and re.fullmatch(r"\d{1,6}", count) else None
    return Config(
        file,
        root=_only_text(node.get("path")),
        splits=splits,
        names=_names(node.get("names"), file),
        has_key_points=bool(node.get("kpt_shape")) and node.get("kpt_shape") not in _NOTHING,
        class_count=number,
    )


def read_darknet(file: AnyPath) -> Config | None:
    """Return what an ``obj.data`` says, None for a file of another kind.

    Raises:
        InputError: it cannot be read.
    """
    if length_of(file) > MAX_BYTES:
        return None
    stated = {}
    for line in read_text(file).splitlines():
        key, equals, value = line.partition("#")[0].partition("=")
        if equals:
            stated[key.strip()] = value.strip()
    splits = {_SPLIT_KEYS[k]: (v,) for k, v in stated.items() if k in _SPLIT_KEYS and v}
    if not splits:
        return None
    count = stated.get("classes", "")
    number = int(count) if re.fullmatch(r"\d{1,6}", count) else None
    return Config(file, splits=splits, names_file=stated.get("names", ""), class_count=number)


def read_names(file: AnyPath) -> tuple[str, ...]:
    """Return the names of a list of classes, one in each line; empty for a line without a name.

    Raises:
        InputError: it cannot be read, or has too many lines.
    """
    names = [line.strip() for line in read_text(file).strip().splitlines()]
    if len(names) > MAX_CLASSES:
        raise InputError(f"{file} has {len(names)} lines, expected at most {MAX_CLASSES} names of classes.")
    return tuple(names)


def read_text(file: AnyPath) -> str:
    """Return the text of a file; that of an empty file is empty.

    Raises:
        InputError: it cannot be read, or is not UTF-8.
    """
    try:
        return read_content(file).decode() if length_of(file) else ""
    except UnicodeDecodeError:
        raise InputError(f"{file} is not UTF-8; save it again as UTF-8.") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from None


def _parsed(file: AnyPath) -> Node | None:
    """Return the first document of a YAML file, in which every value is a text; None for an empty one.

    The events of the parser are put together here, so nothing is constructed and nothing recurses.

    Raises:
        InputError: it cannot be read, is too long, is no YAML, or is nested too deeply.
    """
    try:
        length = length_of(file)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from None
    if length > MAX_BYTES:
        raise InputError(f"{file} has {length} bytes; expected a data.yaml of at most {MAX_BYTES}.")
    text = read_text(file)
    try:
        return _composed(text, file)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "malformed"
        raise InputError(f"{file} is no valid YAML{where}: {reason}; correct it.") from None


def _composed(text: str, file: AnyPath) -> Node | None:
    root: list[Node] = []
    open_nodes: list[tuple[list[Any] | dict[str, Any], list[str]]] = [(root, [])]
    anchors: dict[str, Node] = {}

    def put(node: Node, line: int) -> None:
        above, key = open_nodes[-1]
        if isinstance(above, list):
            above.append(node)
        elif key:
            above[key.pop()] = node
        elif isinstance(node, str):
            key.append(node)
        else:
            raise InputError(f"{file} has a list or a mapping as a key in line {line}; expected a text.")

    # libyaml, where it is there, is ten times as fast; both parsers give the same events.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for event in yaml.parse(text, Loader=loader):
        line = event.start_mark.line + 1 if event.start_mark is not None else 0
        if isinstance(event, yaml.DocumentEndEvent):
            break
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise InputError(f"{file} uses {shown(event.anchor)} in line {line}, which is not defined.")
            put(anchors[event.anchor], line)
        elif isinstance(event, yaml.ScalarEvent):
            if event.anchor:
                anchors[event.anchor] = event.value
            put(event.value, line)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            node: list[Any] | dict[str, Any] = [] if isinstance(event, yaml.SequenceStartEvent) else {}
            put(node, line)
            if event.anchor:
                anchors[event.anchor] = node
            open_nodes.append((node, []))
            if len(open_nodes) > MAX_DEPTH:
                raise InputError(f"{file} is nested too deeply for a data.yaml in line {line}.")
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            open_nodes.pop()
    return root[0] if root else None


def _only_text(value: Node | None) -> str:
    return value if isinstance(value, str) and value not in _NOTHING else ""


def _texts(value: Node, key: str, file: AnyPath) -> tuple[str, ...]:
    listed: list[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in listed):
        raise InputError(
            f"{file} states `{key}` in another form; expected a folder, a list file, or several."
        )
    return tuple(item for item in listed if item not in _NOTHING)


def _names(value: Node | None, file: AnyPath) -> tuple[str, ...]:
    if value is None or isinstance(value, str):
        if value in (None, *_NOTHING):
            return ()
        raise InputError(f"{file} has the names {shown(value)}; expected a list, or a mapping from numbers.")
    numbered = value if isinstance(value, dict) else {str(k): name for k, name in enumerate(value)}
    named: dict[int, str] = {}
    for key, name in numbered.items():
        if not re.fullmatch(r"\d{1,6}", key) or int(key) >= MAX_CLASSES or not isinstance(name, str):
            found = shown(name) if isinstance(name, str) else "a list or a mapping"  # of any size, by aliases
            raise InputError(
                f"{file} has {shown(key)}: {found} among the names; expected a number from 0 on and a name."
            )
        if named.setdefault(int(key), name) != name:
            raise InputError(f"{file} has two names for the class {int(key)}; keep one of them.")
    kept = {number: name for number, name in named.items() if name.strip()}
    return tuple(kept.get(number, "") for number in range(max(kept, default=-1) + 1))


def repeated(names: Sequence[str]) -> str | None:
    """Return the first name that stands for two numbers, None if there is none.

    >>> repeated(["cat", "", "", "cat"])
    'cat'
    """
    seen: set[str] = set()
    for name in filter(None, names):
        if name in seen:
            return name
        seen.add(name)
    return None
