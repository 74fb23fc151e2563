"""The sections of the site, read from ``navigation.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

NOT_PAGES = {"docs/decisions/template.md"}
"""Markdown files below ``docs/`` that the site leaves out."""


@dataclass(frozen=True)
class Section:
    """A heading of the navigation with its pages, and with groups below it.

    Args:
        title: language -> words.
        pages: paths in the repository, or of generated pages.
        groups: sections below this one.
    """

    title: dict[str, str]
    pages: tuple[str, ...]
    groups: tuple[Section, ...] = ()

    def all_pages(self) -> Iterator[str]:
        """Yield the pages of the section and of its groups in order."""
        yield from self.pages
        for group in self.groups:
            yield from group.all_pages()


def read_navigation(path: Path, root: Path, generated: Iterable[str]) -> tuple[Section, ...]:
    """Return the sections of the site.

    Args:
        path: ``navigation.toml``.
        root: the repository.
        generated: paths of generated pages.

    Raises:
        SystemExit: a page is named that is missing, twice or not at all.
    """
    known = [*pages_of_repository(root), *generated]
    sections = tuple(_section(entry, known) for entry in tomllib.loads(path.read_text("utf-8"))["section"])
    named = [page for section in sections for page in section.all_pages()]
    for page in named:
        if page not in known:
            raise SystemExit(f"{path.name} names {page}, which is missing.")
        if named.count(page) > 1:
            raise SystemExit(f"{path.name} names {page} twice.")
    for page in known:
        if page.startswith(("docs/", "benchmarks/", "reference/")) and page not in named:
            raise SystemExit(f"{page} stands in no section of {path.name}; add it there.")
    return sections


def pages_of_repository(root: Path) -> list[str]:
    """Return the paths of the English pages, an overview before the other pages of its folder."""
    found = [*root.glob("*.md"), *root.glob("benchmarks/*.md"), *root.glob("docs/**/*.md")]
    paths = sorted(found, key=lambda path: (path.parent, path.name != "README.md", path.name))
    names = [path.relative_to(root).as_posix() for path in paths]
    return [name for name in names if not name.startswith("docs/zh/") and name not in NOT_PAGES]


def _section(entry: dict, known: list[str]) -> Section:
    pages: list[str] = []
    for name in entry.get("pages", ()):
        below = [page for page in known if page.startswith(f"{name}/")]
        pages += [name] if name.endswith(".md") else below
    groups = tuple(_section(group, known) for group in entry.get("group", ()))
    return Section(entry["title"], tuple(pages), groups)
