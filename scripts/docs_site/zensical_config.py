"""The file that tells Zensical about one language."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

import tomli_w

from docs_site.navigation import Section
from docs_site.stage import LANGUAGES, Stage

NAMES = {"en": "English", "zh": "中文"}
HOME_TITLES = {"en": "Overview", "zh": "概览"}


def write_config(template: Path, stage: Stage, sections: Iterable[Section], url: str | None) -> Path:
    """Write the configuration beside the folder of the pages, and return its path.

    Args:
        template: what both languages share.
        stage: the pages.
        sections: of the navigation.
        url: where the site will be, None if that is not known.
    """
    config = tomllib.loads(template.read_text("utf-8"))
    project, below = config["project"], LANGUAGES[stage.language]
    project["docs_dir"] = stage.folder.name
    project["site_dir"] = f"built-{stage.language}"
    project["theme"]["language"] = stage.language
    if url:
        project["site_url"] = f"{url.rstrip('/')}/{below}"
    up = "../" if below else "./"
    project["extra"] = {
        "generator": False,
        "alternate": [
            {"name": NAMES[lang], "link": f"{up}{folder}", "lang": lang} for lang, folder in LANGUAGES.items()
        ],
    }
    home = {HOME_TITLES[stage.language]: "index.md"}
    first, *others = [_entry(section, stage) for section in sections]
    ((title, pages),) = first.items()
    project["nav"] = [{title: [home, *pages]}, *others]
    path = stage.folder.parent / f"zensical-{stage.language}.toml"
    path.write_text(tomli_w.dumps(config), "utf-8")
    return path


def _entry(section: Section, stage: Stage) -> dict[str, object]:
    pages: list[object] = [{stage.titles[page]: stage.places[page]} for page in section.pages]
    pages += [_entry(group, stage) for group in section.groups]
    return {section.title[stage.language]: pages}
