"""XML of annotation files: read safely, in parts where it is large, with errors that say where.

A file that states a document type is refused, so no entity is ever expanded and no other file is read. The
text is decoded here and not by the parser, so that this holds for every encoding.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator
from typing import Any, cast
from xml.etree import ElementTree

from aerostat.errors import InputError
from aerostat.images.archive import AnyPath
from aerostat.text import shown

Element = ElementTree.Element

MAX_DEPTH = 64
"""Elements around an element. Annotations have six."""
MAX_ELEMENTS = 4_000_000
"""Elements of one record, such as an image or a track. Each takes about 200 bytes of memory."""
MAX_DOCUMENT = 1 << 24
"""Bytes of a document that is read whole: a file that describes one image."""

_CHUNK = 1 << 18
_DOCTYPE = "<!DOCTYPE"
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]{0,39})["']""")
_CODECS = frozenset(
    (
        *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "ascii", "iso8859-1", "iso8859-15", "cp1250"),
        *("cp1251", "cp1252", "gb2312", "gbk", "gb18030", "big5", "shift_jis", "cp932", "euc_jp"),
        *("euc_kr", "cp949", "koi8-r"),
    )
)
"""Encodings that XML files declare, by the names that Python gives them."""

_UNFINISHED = (3, 4, 5, 6, 20)
"""Expat's codes for no element, an unclosed token, a partial character and an unclosed CDATA section."""


def root_tag(head: bytes) -> str:
    """Return the name of the first element of an XML file, or of its document type; empty if it is no XML.

    Args:
        head: the beginning of the file as UTF-8, without white space before it.

    >>> root_tag(b"<?xml version='1.0'?><!-- made by hand --><annotation verified='yes'>")
    'annotation'
    """
    if not head.startswith(b"<"):
        return ""
    text = head.decode("utf-8", "ignore")
    place = 0
    while (skipped := _PROLOGUE.match(text, place)) is not None:
        place = skipped.end()
    found = _TAG.match(text, place)
    return found[1] if found else ""


_PROLOGUE = re.compile(r"\s*(?:<\?(?:(?!\?>).)*\?>|<!--(?:(?!-->).)*-->)", re.DOTALL)
_TAG = re.compile(r"\s*<(?:!DOCTYPE\s+)?([A-Za-z_][\w.-]*)")


def read_document(path: AnyPath) -> Element:
    """Return the root of a small XML file.

    Raises:
        InputError: the file cannot be read, is too large, or is no whole XML without a document type; the
            sentence gives the line.
    """
    parser = ElementTree.XMLParser()
    length = 0
    try:
        for text in _decoded(path):
            length += len(text)
            if length > MAX_DOCUMENT:
                raise InputError(
                    f"{path} has more than {MAX_DOCUMENT >> 20} MiB, which no file about one image has; "
                    "export it again."
                )
            parser.feed(text)
        root: Element = parser.close()
    except ElementTree.ParseError as error:
        raise _syntax_error(error, path) from None
    return root


def records(path: AnyPath) -> Iterator[Element]:
    """Yield the children of the root one by one. Each is released when the next one is asked for.

    Raises:
        InputError: as `read_document` does, or a record is nested too deeply or has too many elements.
    """
    depth = elements = 0
    root: Element | None = None
    try:
        for event, element in _events(path):
            if event == "start":
                depth, elements = depth + 1, elements + 1
                root = element if root is None else root
                if depth > MAX_DEPTH or elements > MAX_ELEMENTS:
                    raise InputError(f"{path} is nested too deeply or too large to be annotations.")
                continue
            depth -= 1
            if depth == 1 and root is not None:
                yield element
                root.clear()
                elements = 0
    except ElementTree.ParseError as error:
        raise _syntax_error(error, path) from None


def number(text: str | None, name: str) -> float:
    """Return the finite number that a text states.

    Args:
        text: content of an element or attribute; None if there is none.
        name: of it, for the error.

    Raises:
        ValueError: there is none, it is no number, or it is not finite; the text says which.

    >>> number(" 12.5 ", "xmin")
    12.5
    """
    if text is None:
        raise ValueError(f"{name} is missing")
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} is {shown(text, 30)}, which is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{name} is {shown(text, 30)}, which is not finite")
    return value


def side(text: str | None) -> int:
    """Return a whole number of pixels above 0; 0 if the text states none.

    >>> side("640"), side("640.0"), side("-3"), side(None), side("wide")
    (640, 640, 0, 0, 0)
    """
    try:
        value = number(text, "side")
    except ValueError:
        return 0
    return int(value) if value > 0 and value.is_integer() and value < 1 << 31 else 0


def of_text(element: Element | None) -> str:
    """Return the text of an element without white space around it; empty if there is no element or text."""
    return (element.text or "").strip() if element is not None else ""


def plain_number(value: float) -> str:
    """Return a number as text that gives it back to the last bit; a whole one without a decimal point.

    >>> plain_number(12.0), plain_number(0.1), plain_number(1e300)
    ('12', '0.1', '1e+300')
    """
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def escaped(text: str) -> str:
    """Return a text as content of an element or of an attribute in double quotes.

    Characters that no XML file can hold, such as commands to a terminal, become U+FFFD.

    >>> escaped('cats & "dogs"')
    'cats &amp; &quot;dogs&quot;'
    """
    text = _FORBIDDEN.sub("\ufffd", text)
    for letter, name in _ESCAPES:
        text = text.replace(letter, name)
    return text


_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES = (
    *(("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")),
    *(("\n", "&#10;"), ("\r", "&#13;"), ("\t", "&#9;")),  # a reader turns them into blanks otherwise
)


def _events(path: AnyPath) -> Iterator[tuple[str, Element]]:
    parser: ElementTree.XMLPullParser[Any] = ElementTree.XMLPullParser(("start", "end"))
    for text in _decoded(path):
        parser.feed(text)
        yield from cast("Iterator[tuple[str, Element]]", parser.read_events())
    parser.close()
    yield from cast("Iterator[tuple[str, Element]]", parser.read_events())


def _decoded(path: AnyPath) -> Iterator[str]:
    """Yield the text of a file in parts.

    Raises:
        InputError: the file cannot be read, is empty, has another encoding, or states a document type.
    """
    line, tail, decoder = 1, "", None
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                if decoder is None:
                    decoder = codecs.getincrementaldecoder(_encoding(chunk, path))()
                text = decoder.decode(chunk)
                if _DOCTYPE in tail + text:
                    raise InputError(
                        f"{path} states a document type ({_DOCTYPE}), which annotations do not need and "
                        "which may name other files; remove it."
                    )
                yield text.removeprefix("\ufeff") if line == 1 else text
                line, tail = line + text.count("\n"), text[-len(_DOCTYPE) :]
            if decoder is not None:
                decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        line += bytes(error.object[: error.start]).count(b"\n")
        raise InputError(
            f"{path} is not {error.encoding.upper()} at line {line}; save it again as UTF-8."
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if decoder is None:
        raise InputError(f"{path} is empty: expected annotations; export them again.")


def _encoding(head: bytes, path: AnyPath) -> str:
    """Return the encoding that the beginning of a file states; UTF-8 if it states none.

    Raises:
        InputError: it is none of those in which annotations are written.
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    declared = _DECLARED.match(head.removeprefix(codecs.BOM_UTF8))
    if declared is None:
        return "utf-8"
    name = declared[1].decode()
    try:
        found = codecs.lookup(name).name
    except LookupError:
        found = ""
    if found not in _CODECS:
        raise InputError(f"{path} states the encoding {name!r}, which is not known; save it again as UTF-8.")
    return "utf-8" if found.startswith("utf-16") else found  # without a mark it cannot be UTF-16


def _syntax_error(error: ElementTree.ParseError, path: AnyPath) -> InputError:
    line = error.position[0]
    if error.code in _UNFINISHED:
        return InputError(f"{path} is cut off: its XML ends unfinished at line {line}; export it again.")
    reason = str(error).partition(":")[0]
    return InputError(f"{path} is not valid XML: {reason} at line {line}; export it again.")
