"""What is said about the faithfulness of an explanation."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aerostat.errors import InputError
from aerostat.explanation.boxam import explain
from aerostat.explanation.faithfulness import (
    CONTROLS,
    Curve,
    Faithfulness,
    Measures,
    faithfulness,
    faithfulness_of_all,
)
from aerostat.explanation.faithfulness_summary import HEADER, save_curves, summary_line, table_rows
from aerostat.explanation.result import Explanation
from aerostat.inference.detector import Detector

IMAGE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def detector(lively: Callable[..., Detector]) -> Detector:
    return lively()


@pytest.fixture(scope="module")
def explained(detector: Detector) -> list[Explanation]:
    return list(explain(detector, IMAGE, method=["layercam", "gradcam"], top=2, score=0.1))


def measures(deletion: float, insertion: float) -> Measures:
    ends = np.asarray([0.0, 1])
    return Measures(0.5, Curve(ends, np.full(2, deletion)), Curve(ends, np.full(2, insertion)))


def judged(one: Explanation, deletion: float, insertion: float, head: float = 0.1) -> Faithfulness:
    controls = {"chance": measures(0.3, 0.4), "box": measures(0.1, 0.9)}
    return Faithfulness(one, 0.8, measures(deletion, insertion), controls, {"head": head, "network": 0.0})


@pytest.mark.parametrize(
    ("deletion", "insertion", "head", "expected"),
    [
        (0.05, 0.95, 0.1, "better than every map without the network"),
        (0.2, 0.95, 0.1, "no better than 'box' in deletion"),
        (0.05, 0.9, 0.1, "no better than 'box' in insertion"),
        (0.3, 0.4, 0.1, "no better than 'chance' and 'box' in deletion and insertion"),
        (0.05, 0.95, 1.0, "the same with a random head"),
    ],
)
def test_the_sentence_names_every_control_that_is_as_good(
    explained: list[Explanation], deletion: float, insertion: float, head: float, expected: str
) -> None:
    sentence = summary_line(judged(explained[0], deletion, insertion, head))
    assert sentence == f"{explained[0].source}: {expected}"


def test_the_table_has_a_row_for_each_explanation_and_each_control(explained: list[Explanation]) -> None:
    rows = table_rows([judged(explained[0], 0.05, 0.95), judged(explained[1], 0.1, 0.9)])
    assert [row[0] for row in rows] == [explained[0].source, explained[1].source, "chance", "box"]
    assert rows[0][1:] == ("0.50", "0.050", "0.950", "0.10", "0.00")
    assert all(len(row) == len(HEADER) for row in rows)
    assert table_rows([]) == []


def test_measuring_gives_every_number_beside_its_controls_and_the_same_each_time(
    detector: Detector, explained: list[Explanation]
) -> None:
    first = faithfulness(detector, IMAGE, explained[0], steps=4)
    assert list(first.controls) == list(CONTROLS)
    assert set(first.randomised) == {"head", "network"}
    assert first.full_score == pytest.approx(explained[0].detection.score, abs=0.05)
    assert first.measures.deletion.scores[0] == pytest.approx(1)
    assert first.measures.insertion.scores[-1] == pytest.approx(1)
    assert first.to_dict() == faithfulness(detector, IMAGE, explained[0], steps=4).to_dict()


def test_all_explanations_are_measured_and_those_of_one_detection_share_its_controls(
    detector: Detector, explained: list[Explanation]
) -> None:
    found = faithfulness_of_all(detector, IMAGE, explained, steps=3)
    assert [one.explanation for one in found] == explained
    assert found[0].controls is found[1].controls
    assert found[0].controls is not found[2].controls
    assert faithfulness_of_all(detector, IMAGE, [], steps=3) == []


def test_explanations_of_several_detections_or_of_another_photograph_are_refused(
    detector: Detector, explained: list[Explanation]
) -> None:
    together = explain(detector, IMAGE, per="all", score=0.1)[0]
    with pytest.raises(InputError, match="of one detection"):
        faithfulness(detector, IMAGE, together)
    with pytest.raises(InputError, match="of this photograph"):
        faithfulness(detector, IMAGE[:50], explained[0])


def test_the_curves_become_a_picture(explained: list[Explanation], tmp_path: Path) -> None:
    path = save_curves(tmp_path / "a" / "curves.png", [judged(explained[0], 0.05, 0.95)])
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in path.parent.iterdir()] == ["curves.png"]


def test_faithfulness_is_a_line_in_a_console_and_a_table_in_a_notebook(explained: list[Explanation]) -> None:
    one = judged(explained[0], 0.1, 0.9)
    assert repr(one).endswith("50% of the heat in the box, deletion 0.100, insertion 0.900)")
    table = one._repr_html_()
    assert table.count("<tr>") == 2 + len(one.controls) and "0.100" in table
