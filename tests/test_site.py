"""The documentation site: what `scripts/build_site.py` makes of the pages. `.ci/run` builds it as a whole."""

import re
import sys
from pathlib import Path

import pytest

import aerostat
from aerostat.cli import app
from aerostat.training.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from build_site import run_zensical  # noqa: E402
from docs_site.check import broken_links  # noqa: E402
from docs_site.llms import write_llms_txt  # noqa: E402
from docs_site.navigation import read_navigation  # noqa: E402
from docs_site.reference import command_pages, python_pages, recipe_page  # noqa: E402
from docs_site.stage import map_links, place_of, stage_pages  # noqa: E402
from docs_site.zensical_config import write_config  # noqa: E402


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return {**command_pages(), "reference/recipe.md": recipe_page(), **python_pages()}


# --- navigation


def test_every_page_stands_in_one_section(generated: dict[str, str]) -> None:
    sections = read_navigation(ROOT / "scripts" / "docs_site" / "navigation.toml", ROOT, generated)
    pages = [page for section in sections for page in section.all_pages()]
    assert len(pages) == len(set(pages)) and "docs/masks.md" in pages


@pytest.mark.parametrize(
    ("pages", "message"),
    [
        ('"docs/a.md"', "docs/b.md stands in no section"),
        ('"docs/a.md", "docs/b.md", "docs/c.md"', "names docs/c.md, which is missing"),
        ('"docs/a.md", "docs"', "names docs/a.md twice"),
    ],
)
def test_a_wrong_navigation_is_refused(tmp_path: Path, pages: str, message: str) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("a", "b"):
        (tmp_path / "docs" / f"{name}.md").write_text(f"# {name}\n")
    path = tmp_path / "navigation.toml"
    path.write_text(f'[[section]]\ntitle = {{ en = "A" }}\npages = [{pages}]\n')
    with pytest.raises(SystemExit, match=re.escape(message)):
        read_navigation(path, tmp_path, ())


# --- pages


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with pages in two languages."""
    root = tmp_path / "repository"
    texts = {
        "README.md": "# Here\n\n[one](docs/one.md), [Chinese](README.zh-CN.md)\n",
        "README.zh-CN.md": "# 这里\n\n[一](docs/one.md)、[English](README.md)\n",
        "docs/one.md": "# One\n\n[two](two.md#part), `[no](link.md)`, [code](../src/code.py)\n"
        "\n![x](images/x.png)\n",
        "docs/two.md": "# Two\n\n## Part\n",
        "docs/zh/one.md": "# 一\n\n[二](../two.md#part)\n\n![x](../images/x.png)\n",
        "src/code.py": "",
        "docs/images/x.png": "x",
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    return root


PAGES = ("docs/one.md", "docs/two.md")


def test_links_of_the_repository_become_links_of_the_site(repository: Path, tmp_path: Path) -> None:
    stage = stage_pages(repository, tmp_path / "en", "en", PAGES, {})
    one = (tmp_path / "en" / "one.md").read_text("utf-8")
    assert one == "# One\n\n[two](two.md#part), `[no](link.md)`, code\n\n![x](images/x.png)\n"
    assert (tmp_path / "en" / "images" / "x.png").read_text() == "x"
    home = (tmp_path / "en" / "index.md").read_text("utf-8")
    assert home == '# Here\n\n[one](one.md), <a href="./zh">Chinese</a>\n'
    assert stage.titles["docs/two.md"] == "Two"


def test_a_page_without_a_translation_is_taken_in_english(repository: Path, tmp_path: Path) -> None:
    stage = stage_pages(repository, tmp_path / "zh", "zh", PAGES, {})
    assert stage.titles == {"README.md": "这里", "docs/one.md": "一", "docs/two.md": "Two"}
    one = (tmp_path / "zh" / "one.md").read_text("utf-8")
    assert one == "# 一\n\n[二](two.md#part)\n\n![x](images/x.png)\n"
    assert '<a href="../">English</a>' in (tmp_path / "zh" / "index.md").read_text("utf-8")


def test_an_anchor_of_an_english_page_is_that_of_the_translated_heading(
    repository: Path, tmp_path: Path
) -> None:
    (repository / "docs" / "zh" / "two.md").write_text("# 二\n\n## 部分\n", "utf-8")
    (repository / "docs" / "zh" / "one.md").unlink()
    stage_pages(repository, tmp_path / "zh", "zh", PAGES, {})
    assert "[two](two.md#部分)" in (tmp_path / "zh" / "one.md").read_text("utf-8")


def test_a_link_to_a_missing_file_ends_the_build(repository: Path, tmp_path: Path) -> None:
    (repository / "docs" / "one.md").write_text("# One\n\n[three](three.md)\n")
    with pytest.raises(SystemExit, match=r"docs/one\.md links to three\.md"):
        stage_pages(repository, tmp_path / "en", "en", PAGES, {})


def test_links_in_code_stay() -> None:
    text = "```text\n[a](b.md)\n```\n`[a](b.md)` [`a`](b.md)\n"
    changed = map_links(text, lambda mark, words, target: f"{mark}<{words}|{target}>")
    assert changed == "```text\n[a](b.md)\n```\n`[a](b.md)` <`a`|b.md>\n"


@pytest.mark.parametrize(
    ("page", "place"),
    [
        ("README.md", "index.md"),
        ("docs/zh/masks.md", "masks.md"),
        ("docs/decisions/README.md", "decisions/index.md"),
        ("benchmarks/int8.md", "benchmarks/int8.md"),
        ("CONTRIBUTING.md", "contributing.md"),
    ],
)
def test_where_a_page_stands(page: str, place: str) -> None:
    assert place_of(page) == place


# --- generated pages


def test_every_verb_has_a_page_with_its_options(generated: dict[str, str]) -> None:
    for verb in (name for name in app if not name.startswith("-")):
        page = generated[f"reference/commands/{verb}.md"]
        assert page.startswith(f"# aerostat {verb}\n") and f"aerostat {verb} {verb}" not in page
    assert "`--input-size INT`" in generated["reference/commands/train.md"]


def test_every_recipe_field_has_its_default_and_its_meaning(generated: dict[str, str]) -> None:
    rows = dict(re.findall(r"^\| `(\w+\.\w+)` \| (.*) \|$", generated["reference/recipe.md"], re.MULTILINE))
    fields = {f"{section}.{key}" for section, values in Recipe().to_dict().items() for key in values}
    assert set(rows) == fields
    assert all(row.split(" | ")[0] for row in rows.values())
    assert "`32`" in rows["optim.batch_size"] and "`bf16-mixed`" in rows["optim.precision"]


def test_every_public_name_has_a_page(generated: dict[str, str]) -> None:
    names = [name for name in aerostat.__all__ if not name.startswith("_")]
    for name in names:
        assert generated[f"reference/python/{name}.md"].startswith(f"# {name}\n")
        assert f"[`{name}`]({name}.md)" in generated["reference/python/README.md"]
    train = generated["reference/python/train.md"]
    assert "    model: str | None = None,\n" in train and "| `loggers` |" in train
    assert "## filter" in generated["reference/python/Detections.md"]


# --- the built site


def test_links_of_the_built_site_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "index.html").write_text('<a href="a/#part"></a><a href="a/#no"></a><img src="x.png">')
    (tmp_path / "a" / "index.html").write_text(
        '<h2 id="part"></h2><a href="../../out">x</a><a href="..">x</a>'
    )
    assert broken_links(tmp_path) == ["a/index.html: ../../out", "index.html: a/#no", "index.html: x.png"]


def test_llms_txt_lists_the_pages_with_their_headings(repository: Path, tmp_path: Path) -> None:
    path = tmp_path / "navigation.toml"
    path.write_text('[[section]]\ntitle = { en = "All" }\npages = ["docs"]\n')
    sections = read_navigation(path, repository, ())
    stage = stage_pages(repository, tmp_path / "en", "en", PAGES, {})
    write_llms_txt(tmp_path / "site", stage, sections, "https://example.org/a")
    text = (tmp_path / "site" / "llms.txt").read_text("utf-8")
    assert text.startswith("# aerostat\n\n> Train,")
    assert text.endswith(
        "## All\n\n- [One](https://example.org/a/one.md)\n- [Two](https://example.org/a/two.md): Part\n"
    )
    assert (tmp_path / "site" / "two.md").read_text() == "# Two\n\n## Part\n"


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "zh"])
def test_pages_are_built_and_can_be_searched(repository: Path, tmp_path: Path, language: str) -> None:
    pytest.importorskip("zensical", reason="the extra [docs] is not installed")
    built = build_language(repository, tmp_path, language)
    title = {"en": "One", "zh": "一"}[language]
    assert f'<h1 id="{title.lower()}">{title}' in (built / "one" / "index.html").read_text("utf-8")
    assert {"en": "Part", "zh": "这里"}[language] in (built / "search.json").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("link", ["two.md#no-such-part", "#no-such-part"])
def test_a_link_to_a_missing_heading_ends_the_build(repository: Path, tmp_path: Path, link: str) -> None:
    pytest.importorskip("zensical", reason="the extra [docs] is not installed")
    (repository / "docs" / "one.md").write_text(f"# One\n\n[two]({link})\n")
    with pytest.raises(SystemExit, match="anchor does not exist"):
        build_language(repository, tmp_path, "en")


def build_language(repository: Path, tmp_path: Path, language: str) -> Path:
    """Return the folder of the built site of one language."""
    path = tmp_path / "navigation.toml"
    path.write_text('[[section]]\ntitle = { en = "All", zh = "全部" }\npages = ["docs"]\n')
    sections = read_navigation(path, repository, ())
    stage = stage_pages(repository, tmp_path / language, language, PAGES, {})
    template = ROOT / "scripts" / "docs_site" / "zensical.toml"
    run_zensical(write_config(template, stage, sections, url=None))
    return tmp_path / f"built-{language}"
