"""Pages of one language in a folder of their own, with links of the site in place of the repository's."""

from __future__ import annotations

import posixpath
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = {"en": "", "zh": "zh"}
"""Language -> folder of its site below the site of the first language."""

HOME = {"en": "README.md", "zh": "README.zh-CN.md"}
PICTURES = (".jpg", ".png", ".svg")

_CODE_OR_LINK = re.compile(
    r"^```.*?^```$|(?P<mark>!?)\[(?P<words>[^\]]*)\]\((?P<target>[^)\s]+)\)|`[^`]+`", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Stage:
    """The pages of one language, ready to be built.

    Args:
        language: a key of `LANGUAGES`.
        folder: where the pages were written.
        places: page as the navigation names it -> path in `folder`.
        titles: page -> its first heading.
    """

    language: str
    folder: Path
    places: Mapping[str, str]
    titles: Mapping[str, str]


def stage_pages(
    root: Path, folder: Path, language: str, pages: Iterable[str], generated: Mapping[str, str]
) -> Stage:
    """Write the pages of a language and the pictures that they show; return where they are.

    A page without a translation is taken in English, so that every link of a translated page leads somewhere.

    Args:
        root: the repository.
        folder: is made.
        language: a key of `LANGUAGES`.
        pages: paths of English pages, as the navigation has them.
        generated: path -> text of the pages that are generated.
    """
    folder.mkdir(parents=True)
    places = {page: place_of(page) for page in ("README.md", *pages)}
    titles = {}
    for page, place in places.items():
        source = translated(root, page, language)
        text = generated[page] if page in generated else (root / source).read_text("utf-8")
        titles[page] = title_of(text)
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        link = _Links(root, folder, language, source, place, places)
        target.write_text(map_links(text, link), "utf-8")
    return Stage(language, folder, places, titles)


def place_of(page: str) -> str:
    """Return where a page of the repository stands on the site.

    >>> place_of("docs/masks.md"), place_of("benchmarks/README.md"), place_of("CHANGELOG.md")
    ('masks.md', 'benchmarks/index.md', 'changelog.md')
    """
    folder, _, name = page.rpartition("/")
    folder = re.sub(r"^docs(/zh)?(/|$)", "", folder)
    name = "index.md" if name in ("README.md", "README.zh-CN.md") else name.lower()
    return posixpath.join(folder, name)


def translated(root: Path, page: str, language: str) -> str:
    """Return the path of a page in a language, of the English one if there is no translation."""
    if page == "README.md":
        return HOME[language]
    other = page.replace("docs/", f"docs/{language}/", 1)
    return other if page.startswith("docs/") and (root / other).is_file() else page


def title_of(text: str) -> str:
    """Return the words of the first heading."""
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1].replace("`", "") if found else ""


def anchors_of(text: str) -> list[str]:
    """Return the anchors of the headings in order, as the site and the host of the project name them.

    >>> anchors_of("# A page\\n\\n## TFLite, ncnn\\n\\n## 不装 aerostat")
    ['a-page', 'tflite-ncnn', '不装-aerostat']
    """
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-") for words in headings]


def map_links(text: str, change: Callable[[str, str, str], str]) -> str:
    """Return a page with each link and picture outside of code replaced.

    Args:
        text: Markdown.
        change: takes ``!`` or nothing, the words and the target, and returns Markdown.
    """

    def changed(found: re.Match[str]) -> str:
        return change(found["mark"], found["words"], found["target"]) if found["target"] else found[0]

    return _CODE_OR_LINK.sub(changed, text)


@dataclass(frozen=True)
class _Links:
    """Turns the links of one page into links of the site."""

    root: Path
    folder: Path
    language: str
    source: str
    place: str
    places: Mapping[str, str]

    def __call__(self, mark: str, words: str, target: str) -> str:
        if "://" in target or target.startswith("#"):
            return f"{mark}[{words}]({target})"
        path, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(self.source), path))
        if path in HOME.values() and path != HOME[self.language]:
            return f'<a href="{self._other_home(path)}">{words}</a>'
        place = place_of(path)
        if path.endswith(PICTURES):
            (self.folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.root / path, self.folder / place)
        elif place not in self.places.values():
            if not (self.root / path).exists():
                raise SystemExit(f"{self.source} links to {target}, which is missing.")
            return words  # a source file: it has no page
        relative = posixpath.relpath(place, posixpath.dirname(self.place) or ".")
        return f"{mark}[{words}]({relative}{'#' * bool(anchor)}{self._translated_anchor(path, anchor)})"

    def _translated_anchor(self, path: str, anchor: str) -> str:
        """Return the anchor in the translation of the page that a link leads to.

        A page that is shown in English names English headings. A translation has as many headings in the
        same order.
        """
        other = translated(self.root, path, self.language)
        if not anchor or other == path:
            return anchor
        ours, theirs = (anchors_of((self.root / name).read_text("utf-8")) for name in (path, other))
        return theirs[ours.index(anchor)] if anchor in ours and len(ours) == len(theirs) else anchor

    def _other_home(self, home: str) -> str:
        """Return the address of another language's first page, from a page with an address that ends in /."""
        depth = self.place.removesuffix("index.md").count("/") + (not self.place.endswith("index.md"))
        up = depth + bool(LANGUAGES[self.language])
        other = next(language for language, name in HOME.items() if name == home)
        return ("../" * up or "./") + LANGUAGES[other]
