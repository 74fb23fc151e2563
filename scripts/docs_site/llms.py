"""``llms.txt``: the pages of the site for language models (https://llmstxt.org)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from docs_site.navigation import Section
from docs_site.stage import Stage

SUMMARY = {
    "en": "Train, evaluate, explain and export RTMDet object detectors, with instance masks.",
    "zh": "训练、评估、解释和导出 RTMDet 目标检测器，支持实例分割。",
}


def write_llms_txt(site: Path, stage: Stage, sections: Iterable[Section], url: str | None) -> None:
    """Write ``llms.txt``, and the pages as Markdown beside their HTML, into the site of one language."""
    for place in stage.places.values():
        target = site / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(stage.folder / place, target)
    lines = ["# aerostat", "", f"> {SUMMARY[stage.language]}"]
    for section in sections:
        lines += ["", f"## {section.title[stage.language]}", ""]
        lines += [_line(page, stage, f"{url.rstrip('/')}/" if url else "") for page in section.all_pages()]
    (site / "llms.txt").write_text("\n".join(lines) + "\n", "utf-8")


def _line(page: str, stage: Stage, base: str) -> str:
    """Return the link to a page, and what its headings say."""
    text = (stage.folder / stage.places[page]).read_text("utf-8")
    headings = re.findall(r"^## (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.MULTILINE)
    about = f": {'; '.join(headings)}" if headings else ""
    return f"- [{stage.titles[page]}]({base}{stage.places[page]}){about}"
