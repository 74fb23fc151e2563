"""`docs/architecture.md` names every file of the package, each on its floor's line, and no other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "aerostat"


def named_files() -> set[str]:
    """Return the files that the table of floors names, relative to the package."""
    found = set()
    for line in (ROOT / "docs" / "architecture.md").read_text("utf-8").splitlines():
        if not re.match(r"\| \d+ \|", line):
            continue
        names = re.findall(r"`([^`]+)`", line)
        folder = names.pop(0) if names[0].endswith("/") else ""
        for name in names:
            prefix, braces, rest = name.partition("{")
            variants = [prefix + v + rest.partition("}")[2] for v in rest.partition("}")[0].split(",")]
            found |= {folder + v for v in (variants if braces else [name]) if v.endswith(".py")}
    return found


def test_the_table_of_floors_names_every_file_and_no_other() -> None:
    files = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    assert named_files() == {name for name in files if not name.endswith("__init__.py")}
