"""The licences of everything that aerostat brings along: `python scripts/check_licences.py [--write]`.

Walks the installed distributions from the requirements in `pyproject.toml`, with every extra, and reads what
each says of its licence. Fails on GPL and AGPL, on a licence that is not known to be permissive, on a
distribution that says nothing, and on shared libraries in a wheel that are known to be under the GPL; what a
person has looked at stands below, with the reason. `--write` renews the table in `docs/dependencies.md`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "dependencies.md"
DEVELOPMENT = "dev"
"""The extra whose packages never reach a user."""

PERMISSIVE = {
    *(
        "Apache-2.0",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "BSD",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "0BSD",
        "BSL-1.0",
        "ISC",
        "Zlib",
    ),
    *("PSF-2.0", "CC0-1.0", "Unlicense", "HPND", "MPL-2.0"),
}
"""What an Apache-2.0 project may depend on: SPDX names, and plain BSD, which many say.

MPL-2.0 binds changes to its own files alone (its sections 1.10 and 3.3).
"""
SPELLINGS = {
    r"(apache|osi approved :: apache)( software)?( licen[cs]e)?,?( version)?[- ]?(2(\.0)?)?": "Apache-2.0",
    r"(the )?mit( licen[cs]e)?": "MIT",
    r"(the )?(new |modified |3-clause )?bsd( licen[cs]e)?|freebsd|bsd 3-clause license.*": "BSD",
    r"isc( licen[cs]e)?( \(iscl\))?": "ISC",
    r"python software foundation license|psf(-2\.0)?": "PSF-2.0",
    r"mozilla public license 2\.0 \(mpl 2\.0\)|mpl[- ]2\.0": "MPL-2.0",
}
"""How licences are written where no SPDX name is given."""
WEIGHED = {
    "faster-coco-eval": (
        "Apache-2.0",
        "its metadata name no licence; the LICENSE in the wheel is Apache 2.0",
    ),
}
"""Distributions that say nothing, or nothing that can be read, and what a person found."""

OPTIONAL_LGPL = {
    "pi-heif": (
        "BSD-3-Clause",
        "optional; its code is BSD, its wheel is under LGPL-3.0 because it holds libheif and libde265: "
        "shared libraries of their own that can be exchanged",
    ),
}
"""Distributions of extras whose wheels are under the LGPL, the licence of their code, and why they may stay.

`aerostat` itself never needs them: a user who installs the extra chooses them."""

COPYLEFT = r"\b[AL]?GPL|GNU (Lesser |Affero |Library )?General Public"
LGPL = r"^(GNU Lesser General Public License v3 \(LGPLv3\)|LGPL-3\.0(-only|-or-later)?)$"
GPL_LIBRARIES = ("libx264", "libx265", "libpostproc", "libreadline", "libxvidcore", "libgsl", "libfftw3")
"""Shared libraries under the GPL that wheels of imaging packages have been seen to hold."""
LGPL_LIBRARIES = {
    "libavcodec": "FFmpeg, LGPL-2.1: shared libraries of their own, which aerostat does not call",
    "libgomp": "GCC's OpenMP, GPL-3.0 with the runtime exception, which lets any program use it",
    "libgfortran": "GCC's Fortran runtime, GPL-3.0 with that exception, and libquadmath, LGPL-2.1",
}
"""Shared libraries under weaker terms, and why they may stay."""


@dataclass(frozen=True)
class Licence:
    """What one distribution says of its licence.

    Args:
        name, version: of the distribution.
        licence: as SPDX writes it, as far as it can be told; empty if nothing can.
        used_by: ``aerostat``, the extras that bring it, or dev.
        remarks: what was weighed.
    """

    name: str
    version: str
    licence: str
    used_by: str
    remarks: tuple[str, ...] = ()

    @property
    def fault(self) -> str | None:
        """Why it may not be a dependency, None if it may."""
        if not self.licence:
            return (
                f"{self.name} {self.version} says nothing of its licence that can be read; look, and weigh it"
            )
        if not permissive(self.licence):
            return f"{self.name} {self.version} is under {self.licence}, which is not known to be permissive"
        return None


def permissive(expression: str) -> bool:
    """Return whether an SPDX expression leaves a permissive choice: all that AND joins, one that OR does."""
    if re.search(COPYLEFT, expression, re.IGNORECASE) and not re.search(r"\bOR\b", expression):
        return False
    for all_of in re.split(r"\s+AND\s+", expression.replace("(", " ").replace(")", " ").strip()):
        names = [part.strip().partition(" WITH ")[0] for part in re.split(r"\s+OR\s+", all_of)]
        if not PERMISSIVE & set(names):
            return False
    return True


def spdx(text: str) -> str:
    """Return the SPDX name of a licence as people write it, or an empty string."""
    first = " ".join(text.split())
    known = (name for spelling, name in SPELLINGS.items() if re.fullmatch(spelling, first, re.IGNORECASE))
    return next(known, first if first in PERMISSIVE else "")


def stated(about: Mapping[str, str], classifiers: Iterable[str]) -> str:
    """Return what metadata state: the SPDX expression, else the classifiers, else the free text.

    Classifiers and text that name a copyleft licence are given as they are, so that nothing hides them.
    """
    if about.get("License-Expression"):
        return about["License-Expression"]
    said = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License ::")]
    said = [c for c in said if c != "OSI Approved"] or [about.get("License", "")]
    hidden = [text for text in (*said, about.get("License", "")[:200]) if re.search(COPYLEFT, text)]
    if hidden:
        return hidden[0]
    return " AND ".join(sorted({spdx(text) for text in said if text.strip()} - {""}))


def requirements(project: Mapping[str, object]) -> dict[str, list[str]]:
    """Return by extra, with "" for what everybody gets, the requirements of a `[project]` table."""
    extras = dict(project.get("optional-dependencies", {}))  # type: ignore[call-overload]
    return {"": list(project["dependencies"]), **extras}  # type: ignore[call-overload]


def walk(wanted: Iterable[str]) -> set[str]:
    """Return the names of the installed distributions that requirements bring along, themselves included."""
    found: set[tuple[str, str]] = set()
    todo = [(Requirement(text), "") for text in wanted]
    while todo:
        requirement, extra_of = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra_of}):
            continue
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if name == "aerostat" or (name, extra) in found:
                continue
            try:
                below = metadata.requires(name) or []
            except metadata.PackageNotFoundError:
                raise SystemExit(f"{name} is required but not installed: pip install -e '.[dev]'") from None
            found.add((name, extra))
            todo += [(Requirement(text), extra) for text in below]
    return {name for name, _ in found}


def read(name: str, used_by: str) -> Licence:
    """Return what an installed distribution says, or what a person found where it says nothing."""
    distribution = metadata.distribution(name)
    about = distribution.metadata
    licence = stated(
        {k: about.get(k) or "" for k in ("License-Expression", "License")}, about.get_all("Classifier") or []
    )
    remarks = []
    if name in WEIGHED and not licence:
        licence, why = WEIGHED[name]
        remarks.append(why)
    if name in OPTIONAL_LGPL and re.search(LGPL, licence) and used_by != "aerostat":
        licence, why = OPTIONAL_LGPL[name]
        remarks.append(why)
    files = [file.name for file in distribution.files or []]
    remarks += [
        f"holds {why}" for lib, why in LGPL_LIBRARIES.items() if any(f.startswith(lib) for f in files)
    ]
    gpl = [file for file in files if file.startswith(GPL_LIBRARIES)]
    return Licence(name, distribution.version, f"GPL ({gpl[0]})" if gpl else licence, used_by, tuple(remarks))


def every_licence() -> list[Licence]:
    """Return the licences of all that is required, in order of who needs it and name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    of_extra = {extra: walk(wanted) for extra, wanted in requirements(project).items()}
    everybody = of_extra.pop("")
    names: dict[str, str] = dict.fromkeys(sorted(everybody), "aerostat")
    for extra in sorted(of_extra, key=lambda extra: (extra == DEVELOPMENT, extra)):
        for name in sorted(of_extra[extra]):
            before = names.get(name)
            if before is None:
                names[name] = f"[{extra}]"
            elif before.startswith("[") and extra != DEVELOPMENT:
                names[name] = f"{before} [{extra}]"
    return [read(name, used_by) for name, used_by in names.items()]


def table(licences: Iterable[Licence]) -> str:
    """Return the page's table; versions are left out, they are those of `constraints.txt`."""
    rows = ["| package | licence | needed by | |", "|---|---|---|---|"]
    rows += [f"| {one.name} | {one.licence} | {one.used_by} | {'; '.join(one.remarks)} |" for one in licences]
    return "\n".join(rows)


def renewed(page: str, licences: Iterable[Licence]) -> str:
    """Return the page with its table replaced."""
    return re.sub(
        r"\| package \|.*?(?=\n\n|\Z)", lambda _: table(licences).rstrip(), page, count=1, flags=re.DOTALL
    )


def main(arguments: list[str]) -> int:
    """Check, and with ``--write`` renew the table; returns the exit code."""
    licences = every_licence()
    faults = [one.fault for one in licences if one.fault]
    for fault in faults:
        print(fault)
    if "--write" in arguments and not faults:
        PAGE.write_text(renewed(PAGE.read_text("utf-8"), licences), "utf-8", newline="\n")
    kinds = sorted({one.licence for one in licences})
    print(f"{len(licences)} packages, {len(faults)} faults; licences: {', '.join(kinds)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
