"""Nothing under GPL or AGPL comes along, and the table of licences names what comes."""

import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_licences", ROOT / "scripts" / "check_licences.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def licences(check: ModuleType) -> Any:
    """Of all that is required; away from CI somebody may work without every extra."""
    try:
        return check.every_licence()
    except SystemExit as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


def test_everything_that_comes_along_is_under_a_permissive_licence(licences):
    assert [one.fault for one in licences if one.fault] == []


def test_the_table_names_what_comes_along(licences):
    rows = re.findall(
        r"^\| ([a-z0-9.-]+) \|", (ROOT / "docs" / "dependencies.md").read_text("utf-8"), re.MULTILINE
    )
    named = {row for row in rows if row != "package"}
    assert named == {one.name for one in licences}, "python scripts/check_licences.py --write"


def test_the_requirements_themselves_are_among_them(licences):
    names = {one.name for one in licences}
    assert {"torch", "opencv-python-headless", "onnxruntime", "openvino", "pytest"} <= names
    assert not {"torchvision", "timm", "grad-cam", "albumentations", "numba", "ultralytics"} & names


@pytest.mark.parametrize(
    "licence",
    [
        "GPL-3.0-only",
        "AGPL-3.0-or-later",
        "LGPL-2.1-or-later",
        "MIT AND GPL-2.0-only",
        "GNU General Public License v3 (GPLv3)",
        "Proprietary",
        "Apache-2.0 AND Proprietary",
        "",
    ],
)
def test_what_is_not_known_to_be_permissive_is_refused(check, licence):
    assert check.Licence("x", "1", licence, "aerostat").fault


@pytest.mark.parametrize(
    "licence",
    ["MIT", "BSD-3-Clause AND Zlib", "Apache-2.0 WITH LLVM-exception", "MPL-2.0", "MIT OR GPL-2.0-only"],
)
def test_permissive_licences_pass(check, licence):
    assert check.Licence("x", "1", licence, "aerostat").fault is None


@pytest.mark.parametrize(
    ("about", "classifiers", "expected"),
    [
        ({"License-Expression": "MIT"}, [], "MIT"),
        ({"License": "Apache License 2.0"}, [], "Apache-2.0"),
        ({"License": "Apache 2.0"}, [], "Apache-2.0"),
        ({"License": "3-Clause BSD License"}, [], "BSD"),
        ({"License": ""}, ["License :: OSI Approved :: MIT License"], "MIT"),
        ({}, ["License :: OSI Approved", "Topic :: Software"], ""),
        ({"License": "see LICENSE"}, [], ""),
        ({}, [], ""),
    ],
)
def test_licences_are_read_as_people_write_them(check, about, classifiers, expected):
    assert check.stated({"License-Expression": "", "License": "", **about}, classifiers) == expected


@pytest.mark.parametrize(
    ("about", "classifiers"),
    [
        ({"License": "GPLv3"}, []),
        ({"License": "GNU Affero General Public License"}, []),
        ({"License": "MIT"}, ["License :: OSI Approved :: GNU General Public License v3 (GPLv3)"]),
        ({"License": "AGPL-3.0"}, ["License :: OSI Approved :: MIT License"]),
    ],
)
def test_a_copyleft_licence_is_not_hidden_by_another_statement(check, about, classifiers):
    licence = check.stated({"License-Expression": "", "License": "", **about}, classifiers)
    assert check.Licence("x", "1", licence, "aerostat").fault


def test_the_whole_of_pyproject_is_walked(check):
    project = {
        "dependencies": ["rich"],
        "optional-dependencies": {"a": ["jinja2"], "b": ["missing-package-xyz"]},
    }
    assert check.requirements(project) == {"": ["rich"], "a": ["jinja2"], "b": ["missing-package-xyz"]}
    assert {"rich", "markdown-it-py", "mdurl", "pygments"} <= check.walk(["rich"])
    assert check.walk(["rich; python_version < '3'"]) == set()
    with pytest.raises(SystemExit, match="missing-package-xyz is required but not installed"):
        check.walk(["missing-package-xyz"])


def test_the_table_is_renewed_in_place(check):
    rows = "| package | licence | needed by | |\n|---|---|---|---|\n| old | MIT | aerostat | |"
    page = f"# Title\n\n{rows}\n\nEnd.\n"
    new = check.renewed(page, [check.Licence("new", "1", "BSD", "[dev]", ("why",))])
    assert "| new | BSD | [dev] | why |" in new and "old" not in new
    assert new.startswith("# Title\n\n| package") and new.endswith("\n\nEnd.\n")
