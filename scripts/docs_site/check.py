"""Links of the built site: each leads to a file, and to a place in it."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """The targets of a page's links, and the names of its places."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key in ("href", "src") and value is not None:
                self.links.add(value)
            elif key in ("id", "name") and value:
                self.names.add(value)


def broken_links(site: Path) -> list[str]:
    """Return the links of a built site that lead nowhere, as ``page: link``."""
    found = [path for path in site.rglob("*.html") if path.name != "404.html"]
    pages = {path.resolve(): _Page(path.read_text("utf-8")) for path in found}
    return sorted(
        f"{path.relative_to(site.resolve())}: {link}"
        for path, page in pages.items()
        for link in _broken(path, page, pages, site.resolve())
    )


def _broken(path: Path, page: _Page, pages: dict[Path, _Page], site: Path) -> Iterator[str]:
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        anchor = unquote(parts.fragment)
        is_place = target not in pages or not anchor or anchor in pages[target].names
        if not target.is_file() or not target.is_relative_to(site) or not is_place:
            yield link
