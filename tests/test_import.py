"""What comes with `import aerostat`, and what must not."""

import subprocess
import sys
from importlib import metadata

import pytest

import aerostat

HEAVY = ("torch", "cv2", "matplotlib", "lightning_fabric", "faster_coco_eval", "PIL")

REPORT_LOADED = f"""
import sys
loaded = sorted(set({HEAVY!r}) & set(sys.modules))
print("loaded:", *loaded, file=sys.stderr)
"""


def loaded_after(code: str) -> str:
    """Return the last line of stderr: which heavy packages a fresh interpreter has loaded after `code`."""
    done = subprocess.run(
        [sys.executable, "-c", code + REPORT_LOADED], capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "code",
    [
        "import aerostat",
        "import aerostat as ae; dir(ae); ae.__version__; ae.InputError",
        "from aerostat.__main__ import main; main(['--help'])",
        "from aerostat.__main__ import main; main(['--version'])",
        "from aerostat.__main__ import main; main(['train', '--help'])",
        "from aerostat.__main__ import main; main(['trian'])",
        "import aerostat.progress, aerostat.geometry.boxes, aerostat.datasets.records",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code: str) -> None:
    assert loaded_after(code) == "loaded:"


def test_what_is_loaded_is_seen() -> None:
    assert loaded_after("import aerostat as ae; ae.load") == "loaded: PIL cv2"
    assert loaded_after("import aerostat.model") == "loaded: torch"


@pytest.mark.parametrize("name", aerostat.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(aerostat, name).__doc__


def test_the_version_is_the_installed_one() -> None:
    assert aerostat.__version__ == metadata.version("aerostat")


def test_submodules_are_attributes() -> None:
    assert aerostat.model.build is sys.modules["aerostat.model"].build


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        aerostat.nope  # noqa: B018


def test_a_submodule_that_lacks_a_package_says_so(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lacking.py").write_text("import a_package_that_nobody_has")
    monkeypatch.setattr(aerostat, "__path__", [*aerostat.__path__, str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="a_package_that_nobody_has"):
        aerostat.lacking  # noqa: B018


def test_public_names_stay_functions_after_their_modules_are_loaded() -> None:
    """A folder of the same name would take the place of the function."""
    again = "print(*(name for name in ae.__all__ if not callable(getattr(ae, name))))"
    code = f"import aerostat as ae; [getattr(ae, name) for name in ae.__all__]; {again}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
