"""Files that nobody meant, by chance or made to cost; `python -m scripts.fuzz` tries as many as asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scripts.fuzz.bombs import BOMBS
from scripts.fuzz.limits import memory
from scripts.fuzz.parsers import PARSERS
from scripts.fuzz.watch import Watch

from aerostat.images.limits import CAMERA_MEMORY

pytestmark = pytest.mark.nightly

INPUTS = 40
"""Of each parser; the good files are the first."""


@pytest.fixture(scope="module")
def watch() -> Iterator[Watch]:
    with Watch() as watch:
        yield watch


@pytest.mark.parametrize("parser", PARSERS)
def test_whatever_a_file_holds_the_outcome_is_a_result_or_a_sentence(watch: Watch, parser: str) -> None:
    verdicts = {number: watch.verdict(parser, number, seed=1) for number in range(INPUTS)}
    assert {number: verdict for number, verdict in verdicts.items() if not verdict.good} == {}
    good_files = len(PARSERS[parser].seeds())
    assert all(verdicts[number].outcome == "result" for number in range(good_files))
    assert any(verdict.outcome == "refused" for verdict in verdicts.values())


QUICK = (
    "via/outlines that meet everywhere",
    "via/nested",
    "coco/a mask of one endless number",
    "coco/a mask of huge runs",
    "coco/outlines that meet everywhere",
    "coco/an object of 100,000 outlines",
    "recipe/a key of many parts",
    "recipe/nested",
    "recipe/a long number",
    "weights/twice the same among 300,000 classes",
    "weights/a header of 2^60",
    "state/one tensor in 20,000 places",
    "pth/one list as a thousand dictionaries",
    "pth/one storage as a thousand tensors",
    "pth/a zip bomb",
    "onnx/nested",
    "image/a PNG of 100,000 x 100,000",
    "image/a JPEG of 20,000 scans",
    "image/a BMP of 100,000 x 100,000",
    "image/a TIFF of 100,000 x 100,000",
    "image/a PPM of 100,000 x 100,000",
)


@pytest.mark.parametrize("bomb", QUICK)
def test_a_file_made_to_cost_is_read_or_refused_within_its_share(watch: Watch, bomb: str) -> None:
    verdict = watch.verdict(bomb, 0)
    assert verdict.good, verdict


LONG = (
    "via/50,000 classes",
    "via/100,000 empty entries",
    "coco/100,000 folders",
    "weights/100,000 empty tensors",
    "pth/a million copies",
    "image/a WebP of 16,383 x 16,383",
    "image/a PNG with texts",
)
"""Two seconds and more; `python -m scripts.fuzz --bombs` tries them too."""

WHAT_LIBAVIF_DOES = pytest.mark.xfail(
    reason="libavif decodes a stream of up to 16384 x 16384 to scale it down to the size that the file states"
)


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(name, marks=[WHAT_LIBAVIF_DOES] if "AVIF whose stream" in name else [])
        for name in BOMBS
        if name not in QUICK + LONG
    ],
)
def test_every_other_file_made_to_cost_is_read_or_refused_within_its_share(watch: Watch, bomb: str) -> None:
    verdict = watch.verdict(bomb, 0)
    assert verdict.good, verdict


# ------------------------------------------------------------------------------------ the watch itself


@pytest.mark.parametrize(
    ("fault", "outcome", "said"),
    [
        ("none", "result", ""),
        ("escape", "escaped", "KeyError: 'nobody caught this'"),
        ("burn", "too slow", ""),
        ("sleep", "hung", "no answer after"),
        ("hog", "too much memory", ""),
        ("devour", "out of memory", ""),
        ("crash", "crashed", "the process ended with"),
        ("run", "reached out", "os.system"),
        ("swallow", "reached out", "subprocess.Popen"),
        ("peep", "reached out", "secret.png"),
        ("spill", "reached out", "spilt"),
    ],
)
def test_the_watch_sees_what_none_may_do(fault: str, outcome: str, said: str) -> None:
    with Watch(seconds=0.3, hangs_after=10 if fault != "sleep" else 3) as watch:
        verdict = watch.verdict(f"fault-{fault}", 0)
        assert (verdict.outcome, said in verdict.said) == (outcome, True), verdict
        assert verdict.good == (fault == "none")
        assert watch.verdict("fault-none", 0).good  # what was lost is begun anew


def test_an_input_is_the_same_whenever_it_is_asked_for() -> None:
    for parser in PARSERS.values():
        assert [parser.input(number, 3) for number in range(20)] == [parser.input(n, 3) for n in range(20)]
        assert len({parser.input(number, 3) for number in range(60)}) > 35


def test_the_memory_of_an_input_is_what_was_promised() -> None:
    assert memory(0) == 200 * 1024 * 1024
    assert memory(1000) - memory(0) == 50_000
    assert memory(0, is_image=True) == CAMERA_MEMORY + memory(0)
