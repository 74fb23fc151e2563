"""Build the documentation site: English, and Chinese below ``zh/``.

Pages are those of the repository. They are copied to a folder of their own, where their links become links of
the site, and where the reference is generated from the code. Zensical builds each language strictly: a link
that leads nowhere ends the build.

    pip install -c constraints.txt -e ".[docs]"
    python scripts/build_site.py
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from docs_site.check import broken_links
from docs_site.llms import write_llms_txt
from docs_site.navigation import read_navigation
from docs_site.reference import reference_pages
from docs_site.stage import LANGUAGES, stage_pages
from docs_site.zensical_config import write_config

ROOT = Path(__file__).resolve().parents[1]
PARTS = Path(__file__).parent / "docs_site"
MAX_TEXT = 4000
"""Characters that are shown of what Zensical says about broken links."""


def build(out: Path, url: str | None = None) -> None:
    """Write the site of all languages into a folder, which is replaced.

    Args:
        out: the folder.
        url: where the site will be, for its map and `llms.txt`.

    Raises:
        SystemExit: a page is missing from the navigation, or a link leads nowhere.
    """
    reference = reference_pages()
    sections = read_navigation(PARTS / "navigation.toml", ROOT, reference)
    pages = [page for section in sections for page in section.all_pages()]
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder, "site")
        for language, below in LANGUAGES.items():
            stage = stage_pages(ROOT, Path(folder, language), language, pages, reference)
            (stage.folder / "assets").mkdir()
            shutil.copy(PARTS / "site.css", stage.folder / "assets")
            run_zensical(write_config(PARTS / "zensical.toml", stage, sections, url))
            shutil.move(Path(folder, f"built-{language}"), site / below)
            write_llms_txt(site / below, stage, sections, url)
        found = broken_links(site)
        if found:
            raise SystemExit("Links that lead nowhere:\n" + "\n".join(found))
        shutil.rmtree(out, ignore_errors=True)
        shutil.move(site, out)


def run_zensical(config: Path) -> None:
    """Build one language, and stop at the first warning."""
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(config)]
    done = subprocess.run(command, cwd=config.parent, text=True, capture_output=True)
    if done.returncode:
        said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
        raise SystemExit(f"Zensical does not build {config.name}:\n{said[:MAX_TEXT]}")


def main() -> None:
    """Build the site that the command line asks for."""
    parser = argparse.ArgumentParser(description="Build the documentation site in English and Chinese.")
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="folder, which is replaced")
    parser.add_argument("--url", help="where the site will be, as https://example.org/aerostat/")
    options = parser.parse_args()
    build(options.out, options.url)
    print(f"wrote {options.out / 'index.html'} and {options.out / 'zh' / 'index.html'}")


if __name__ == "__main__":
    main()
