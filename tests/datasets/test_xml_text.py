import tracemalloc
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostat.datasets.xml_text import (
    MAX_DEPTH,
    MAX_DOCUMENT,
    escaped,
    number,
    plain_number,
    read_document,
    records,
    root_tag,
)
from aerostat.errors import InputError

READERS: list[Callable[[Path], object]] = [read_document, lambda path: list(records(path))]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "a.xml"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("read", READERS, ids=["whole", "in parts"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"a\.xml is empty: expected annotations"),
        (b"<a>\n<b>", r"a\.xml is cut off: its XML ends unfinished at line 2"),
        (b"<a>\n<b x='1", r"a\.xml is cut off"),
        (b"<a>\n\n<b></a>", r"a\.xml is not valid XML: mismatched tag at line 3"),
        (b"<a>&nbsp;</a>", r"not valid XML: undefined entity at line 1"),
        (b"<a>\n<b>\xff</b></a>", r"a\.xml is not UTF-8 at line 2; save it again as UTF-8"),
        (b"<?xml version='1.0' encoding='gbk'?>\n<a>\xff\xff</a>", r"a\.xml is not GBK at line 2"),
        (b"<?xml version='1.0' encoding='zlib'?><a/>", r"states the encoding 'zlib', which is not known"),
        (b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", r"states a document type \(<!DOCTYPE\)"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>".encode("utf-16"), r"states a document type"),
        (b" " * ((1 << 18) - 5) + b"<!DOCTYPE a><a/>", r"states a document type"),  # across two parts
    ],
)
def test_what_is_no_sound_xml_is_refused_with_its_line(write, read, content: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(write(content))


def test_a_billion_laughs_are_not_laughed(write) -> None:
    laughs = "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 10))
    path = write(f"<!DOCTYPE a [<!ENTITY l0 'ha'>{laughs}]><a>&l9;</a>".encode())
    for read in READERS:
        with pytest.raises(InputError, match="document type"):
            read(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gbk", "gb2312"])
def test_encodings_of_annotation_tools_are_read(write, encoding: str) -> None:
    declared = "utf-8" if encoding == "utf-8-sig" else encoding
    path = write(f"<?xml version='1.0' encoding='{declared}'?><a><b>气球</b></a>".encode(encoding))
    assert read_document(path).findtext("b") == "气球"
    assert [record.text for record in records(path)] == ["气球"]


def test_records_are_released_one_by_one(write) -> None:
    path = write(b"<a>" + b"<b><c x='1'/></b>" * 50_000 + b"</a>")

    def peak(read: Callable[[Path], object]) -> int:
        tracemalloc.start()
        try:
            read(path)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert sum(record[0].get("x") == "1" for record in records(path)) == 50_000
    assert peak(lambda path: sum(1 for _ in records(path))) < peak(read_document) / 2


def test_deep_and_large_documents_are_refused(write) -> None:
    deep = b"<a>" * (MAX_DEPTH + 1) + b"</a>" * (MAX_DEPTH + 1)
    with pytest.raises(InputError, match="nested too deeply"):
        list(records(write(deep)))
    with pytest.raises(InputError, match="more than 16 MiB"):
        read_document(write(b"<a>" + b" " * MAX_DOCUMENT + b"</a>"))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_document(tmp_path / "none.xml")


@pytest.mark.parametrize(
    ("head", "tag"),
    [
        (b"<annotation>", "annotation"),
        (b"<?xml version='1.0'?>\n<!-- > --><?x y?><annotations x='1'>", "annotations"),
        (b"<!DOCTYPE html><html>", "html"),
        (b"{}", ""),
        (b"<!-- never ends <annotation>", ""),
        (b"", ""),
    ],
)
def test_the_first_element_tells_what_a_file_is(head: bytes, tag: str) -> None:
    assert root_tag(head) == tag


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "xmin is missing"), ("", "no number"), ("1,5", "no number"), ("nan", "not finite")],
)
def test_a_text_that_is_no_number_is_named(text: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        number(text, "xmin")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_every_bit(value: float) -> None:
    assert float(plain_number(value)) == value


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_escaped_text_is_read_back(text: str) -> None:
    kept = "".join(c if c >= " " or c in "\t\n\r" else "\ufffd" for c in text)
    kept = kept.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
    root = ElementTree.fromstring(f'<a b="{escaped(text)}">{escaped(text)}</a>')
    assert (root.get("b"), root.text or "") == (kept, kept)
