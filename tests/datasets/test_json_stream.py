"""A JSON object in a file is laid out in parts: what they hold together is what decoding it whole gives."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aerostat.datasets import json_stream
from aerostat.datasets.json_stream import JsonFile

DOCUMENT = {
    "info": {"year": 2026, "text": 'a "quoted" }, {text'},
    "images": [{"id": n, "file_name": f"{n} }},{{.jpg"} for n in range(50)],
    "none": [],
    "number": 12,
    "nested": [{"counts": [{"a": 1}, {"b": [2, {"c": 3}]}], "more": {"x": {}}} for _ in range(20)],
}


@pytest.fixture(params=[1, 40, 300, 1 << 20], autouse=True)
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(json_stream, "CHUNK", request.param)
    return int(request.param)


def laid_out(path: Path, text: str | bytes) -> JsonFile | None:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return JsonFile.lay_out(path)


def whole(file: JsonFile) -> dict[str, Any]:
    return {key: json.loads(file.text(key)) for key in file.values}


@pytest.mark.parametrize("form", [{}, {"indent": 1}, {"separators": (",", ":")}])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_values_and_elements_are_those_of_the_document(tmp_path: Path, form: Any, mark: str) -> None:
    file = laid_out(tmp_path / "x.json", mark + json.dumps(DOCUMENT, **form) + "\n")
    assert file is not None
    assert whole(file) == DOCUMENT and file.arrays == {"images", "none", "nested"}
    for key in file.arrays:
        elements = [json.loads(bytes(raw)) for part in file.elements(key) for raw in part]
        assert elements == DOCUMENT[key] and file.count(key) == len(elements)
        assert [row for text in file.texts(key) for row in json.loads(text)] == elements


def test_a_large_array_is_in_several_parts(tmp_path: Path, chunk: int) -> None:
    file = laid_out(tmp_path / "x.json", json.dumps(DOCUMENT))
    assert file is not None and (len(file.values["images"]) > 2) == (chunk <= 300)


def test_of_a_key_that_is_there_twice_the_last_counts(tmp_path: Path) -> None:
    file = laid_out(tmp_path / "x.json", '{"a": [{"b": 1}], "a": 5}')
    assert file is not None and whole(file) == {"a": 5} and not file.arrays


@pytest.mark.parametrize(
    "text",
    [
        *("", "  ", "[1]", "5", '"a"', "{", '{"a"', '{"a":', '{"a": 1', '{"a": 1,}', '{,"a": 1}', '{"a" 1}'),
        *('{"a": [{"b": 1}', '{"a": [{"b": 1},]}', '{"a": [,{"b": 1}]}', '{"a": [{"b": 1} {"b": 1}]}'),
        *('{"a": 1} x', '{"a": 1}{', '{"a": NaN}', '{"a": [{"b": NaN}]}', "{'a': 1}", '{"a": tru}', '{5: 1}'),
        '{"a": [' + "[" * 5000,
        b"\xff\xfe{\x00}\x00",
    ],
)  # fmt: skip
def test_what_is_broken_or_unusual_is_left_to_others(tmp_path: Path, text: str | bytes) -> None:
    assert laid_out(tmp_path / "x.json", text) is None


def test_a_file_that_is_not_there_is_left_to_others(tmp_path: Path) -> None:
    assert JsonFile.lay_out(tmp_path / "none.json") is None


def test_every_cut_of_a_document_is_left_to_others(tmp_path: Path) -> None:
    text = json.dumps({"a": [{"b": [1, {"c": 2}]}] * 3, "d": "}, {"})
    assert not any(laid_out(tmp_path / "x.json", text[:stop]) for stop in range(len(text)))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=st.dictionaries(st.text(max_size=4), values, max_size=5), indent=st.sampled_from([None, 1]))
def test_any_document_is_laid_out_as_it_is_or_not_at_all(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any], indent: int | None
) -> None:
    text = json.dumps(document, indent=indent)
    file = laid_out(tmp_path_factory.mktemp("any") / "x.json", text)
    assert file is None or whole(file) == document
