"""Detections as other packages have them: stand-ins, and the packages where they are installed."""

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from aerostat.errors import InputError
from aerostat.results.detections import Detections

CLASSES = ("person", "balloon")
DENSE = np.zeros((2, 6, 8), bool)
DENSE[0, 1:4, 2:5] = DENSE[1, 5, 7] = True


def tracked() -> Detections:
    return Detections(
        [[2, 1, 5, 4], [7, 5, 8, 6]],
        [0.9, 0.5],
        [1, 0],
        CLASSES,
        DENSE,
        path="a.jpg",
        track_ids=[7, 12],
        data={"speed": np.asarray([0.5, 2.0]), "vector": np.eye(2)},
    )


def stand_in(name: str, **members: object) -> ModuleType:
    module = ModuleType(name)
    for key, value in members.items():
        setattr(module, key, value)
    return module


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


@pytest.fixture(params=["stand-in", "package"])
def supervision(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "package" and not installed("supervision"):
        pytest.skip("supervision is not installed")
    if request.param == "stand-in":
        monkeypatch.setitem(sys.modules, "supervision", stand_in("supervision", Detections=SimpleNamespace))


@pytest.fixture(params=["stand-in", "package"])
def pandas(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "package" and not installed("pandas"):
        pytest.skip("pandas is not installed")
    if request.param == "stand-in":
        monkeypatch.setitem(sys.modules, "pandas", stand_in("pandas", DataFrame=dict))


@pytest.mark.usefixtures("supervision")
def test_supervision_has_the_same_numbers_and_gives_them_back() -> None:
    theirs = tracked().to_supervision()
    assert theirs.xyxy.tolist() == tracked().boxes_xyxy.tolist()
    assert theirs.confidence.tolist() == tracked().scores.tolist()
    assert theirs.class_id.tolist() == [1, 0]
    assert theirs.tracker_id.tolist() == [7, 12]
    np.testing.assert_array_equal(theirs.mask, DENSE)
    assert theirs.data["class_name"].tolist() == ["balloon", "person"]
    back = Detections.from_supervision(theirs)
    assert back == Detections(
        *(tracked().boxes_xyxy, tracked().scores, tracked().labels, CLASSES, DENSE),
        track_ids=[7, 12],
        data=tracked().data,
    )


@pytest.mark.usefixtures("supervision")
def test_no_detections_are_none_in_supervision_too() -> None:
    theirs = Detections.empty(CLASSES).to_supervision()
    assert theirs.data["class_name"].shape == (0,)
    assert Detections.from_supervision(theirs, CLASSES) == Detections.empty(CLASSES)


@pytest.mark.usefixtures("supervision")
def test_boxes_that_supervision_has_without_scores_have_the_score_one() -> None:
    import supervision

    theirs = supervision.Detections(
        xyxy=np.asarray([[1.0, 2, 3, 4]]),
        class_id=np.asarray([2]),
        confidence=None,
        mask=None,
        tracker_id=None,
        data={},
    )
    assert Detections.from_supervision(theirs, ["a", "b", "c"]).scores.tolist() == [1.0]
    with pytest.raises(InputError, match="`classes`"):
        Detections.from_supervision(theirs)
    theirs.data = {"class_name": np.asarray(["kite"])}
    assert Detections.from_supervision(theirs).classes == ("class 0", "class 1", "kite")
    theirs.class_id = None
    with pytest.raises(InputError, match="`class_id`"):
        Detections.from_supervision(theirs, ["a"])


@pytest.mark.usefixtures("pandas")
def test_a_data_frame_has_a_row_per_detection() -> None:
    frame = tracked().to_pandas()
    assert list(frame) == [
        *("file", "class", "score", "x1", "y1", "x2", "y2"),
        *("track_id", "mask_area", "mask_perimeter", "mask_centroid_x", "mask_centroid_y"),
        *("mask_equivalent_diameter", "mask_orientation", "speed", "vector"),
    ]
    assert list(frame["class"]) == ["balloon", "person"]
    assert list(frame["x2"]) == [5, 8]
    assert list(frame["mask_area"]) == [9, 1]
    assert [list(vector) for vector in frame["vector"]] == [[1, 0], [0, 1]]
    assert list(Detections.empty(CLASSES).to_pandas()) == ["file", "class", "score", "x1", "y1", "x2", "y2"]


@pytest.mark.parametrize(("package", "call"), [("supervision", "to_supervision"), ("pandas", "to_pandas")])
def test_without_the_package_the_message_says_how_to_get_it(
    package: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"pip install {package}"):
        getattr(tracked(), call)()
