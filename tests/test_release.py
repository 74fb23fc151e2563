"""What a release is made of: the built files, their version, the steps of the image, the files for GitHub."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
VERSION = PROJECT["version"]
SOURCES = ("pyproject.toml", "MANIFEST.in", "LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff")
SOURCES += ("SECURITY.md", "constraints.txt", "scripts/docker_install.sh")

SHORT_DEMO = """
import sys
from pathlib import Path

import aerostat
from aerostat import demo
from aerostat.__main__ import main

assert Path(aerostat.__file__).is_relative_to(sys.prefix), aerostat.__file__
demo.TRAIN_SCENES, demo.VAL_SCENES, demo.NEW_SCENES = 4, 2, 1
demo.VALUES = {"schedule": {"epochs": 1}, "data": {"input_size": 320}}
demo.SHOW_SCORE = 0.002
sys.exit(main(["demo", "--out", "out"]))
"""
"""The demo with fewer and smaller pictures. What it learns is the business of tests/test_demo.py."""


# --- versions


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert citation["version"] == VERSION
    assert headings[0] == VERSION
    assert citation["license"] == PROJECT["license"]


# --- files for GitHub


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schema", "pattern", "count"),
    [
        ("github-workflows", ".github/workflows/*.yml", 2),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml", 2),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml", 1),
        ("citation-file-format", "CITATION.cff", 1),
    ],
)
def test_files_keep_to_the_public_schemas(schema: str, pattern: str, count: int) -> None:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    paths = sorted(map(str, ROOT.glob(pattern)))
    assert len(paths) == count
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_actions_are_pinned_and_only_publishing_may_write() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text("utf-8"))
        used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
        assert used and all(re.search(r"@[0-9a-f]{40}$", action) for action in used)
        rights = {name: job.get("permissions", {}) for name, job in workflow["jobs"].items()}
        writing = {name for name, right in rights.items() if "write" in right.values()}
        assert writing <= {"publish"} and "write" not in workflow["permissions"].values()
        assert "secrets." not in path.read_text("utf-8")


def test_an_issue_about_an_error_asks_for_the_environment() -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text("utf-8"))
    required = {field.get("id") for field in form["body"] if field.get("validations", {}).get("required")}
    assert {"command", "output", "doctor"} <= required


# --- wheel and sdist


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a release is built from, without what an earlier build has left behind."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "tests").mkdir()
    (folder / "tests" / "test_something.py").write_text("")  # setuptools would take it along
    left = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "src", folder / "src", ignore=left)
    return folder


@pytest.fixture(scope="module")
def built(checkout: Path) -> dict[str, Path]:
    """The sdist, and the wheel that is built from the sdist, by suffix."""
    pytest.importorskip("build", reason="build is not installed")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(checkout / "dist")]
    done = subprocess.run([*command, str(checkout)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.suffix: path for path in (checkout / "dist").iterdir()}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that sees the packages of this one, but not the checkout.

    Path files below a path file are not followed, and that of an editable installation is one.
    """
    folder = tmp_path_factory.mktemp("bare") / "environment"
    venv.create(folder, symlinks=os.name != "nt")
    inside = sysconfig.get_path("purelib", "venv", vars={"base": str(folder), "platbase": str(folder)})
    packages = {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    (Path(inside) / "packages.pth").write_text("\n".join(sorted(packages)))
    scripts = sysconfig.get_path("scripts", "venv", vars={"base": str(folder), "platbase": str(folder)})
    return Path(scripts) / ("python.exe" if os.name == "nt" else "python")


def outside() -> dict[str, str]:
    """Return the environment without what leads Python to the checkout."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


@pytest.mark.slow
def test_the_sdist_holds_what_is_needed_and_no_tests(built: dict[str, Path]) -> None:
    with tarfile.open(built[".gz"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "SECURITY.md"} <= names
    assert {"constraints.txt", "pyproject.toml", "src/aerostat/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests", "docs", "benchmarks"))]
    assert built[".gz"].stat().st_size < 8 * 2**20


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_asset_and_nothing_else(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built[".whl"]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = archive.read(f"aerostat-{VERSION}.dist-info/METADATA").decode()
        assert f"aerostat-{VERSION}.dist-info/licenses/LICENSE" in archive.namelist()
    source = ROOT / "src"
    wanted = {path.relative_to(source).as_posix() for path in (source / "aerostat").rglob("*.py")}
    assets = {path.relative_to(source).as_posix() for path in (source / "aerostat" / "assets").iterdir()}
    assert names == wanted | assets | {"aerostat/py.typed"}
    assert "License-Expression: Apache-2.0" in metadata


@pytest.mark.slow
def test_the_installed_wheel_runs_the_demo_without_a_checkout(
    built: dict[str, Path], bare: Path, tmp_path: Path
) -> None:
    install = [sys.executable, "-m", "pip", "--python", str(bare), "install", "--no-index", "--no-deps"]
    subprocess.run(
        [*install, "--force-reinstall", str(built[".whl"])], env=outside(), capture_output=True, check=True
    )
    done = subprocess.run(
        [str(bare), "-c", SHORT_DEMO],
        cwd=tmp_path,
        env=outside(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "data:image/" in (tmp_path / "out" / "report.html").read_text("utf-8")
    program = bare.with_name("aerostat")
    told = subprocess.run([str(program), "--version"], env=outside(), capture_output=True, text=True)
    assert told.stdout.strip() == VERSION


# --- the image for Docker


def steps() -> list[str]:
    """Return the commands of the Dockerfile that install something, in their order."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    return re.findall(r"^RUN .*sh scripts/docker_install\.sh (\w+)$", text, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the steps are for Linux")
def test_the_steps_of_the_image_install_aerostat(checkout: Path, bare: Path) -> None:
    """The packages are there already, so that each step finds its requirements fulfilled."""
    assert steps() == ["torch", "requirements", "package"]
    environment = outside() | {"PATH": f"{bare.parent}{os.pathsep}{os.environ['PATH']}", "PIP_NO_INDEX": "1"}
    for step in steps():
        command = ["sh", "scripts/docker_install.sh", step]
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert step == "package" or "Requirement already satisfied" in done.stdout
    told = subprocess.run(["aerostat", "--version"], env=environment, capture_output=True, text=True)
    assert told.stdout.strip() == VERSION


def test_the_image_runs_as_a_user_without_rights_and_holds_no_secret() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    last = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER aerostat$", last, re.MULTILINE)
    assert last.index("USER aerostat") < last.index("ENTRYPOINT")
    copied = {
        word for line in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.MULTILINE) for word in line.split()
    }
    allowed = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert allowed[0] == "*"
    for name in copied:
        assert (ROOT / name).exists()
        assert any(
            name.rstrip("/") in (line[1:], str(Path(line[1:]).parent)) for line in allowed if line[0] == "!"
        )
