"""Times as people type them, and the choice of frames."""

import pytest

from aerostat.errors import InputError
from aerostat.video.times import Selection, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("12.5", 12.5),
        ("45s", 45),
        ("250ms", 0.25),
        ("10min", 600),
        ("2 h", 7200),
        ("1:30", 90),
        ("01:02:03.25", 3723.25),
    ],
)
def test_times_are_read(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "1:2:3:4", "ten", "1e3", "1:", "nan", "9" * 50, "10 weeks"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"Expected a time such as 90, 1:30"):
        seconds(text)


def chosen(selection: Selection, times: list[float]) -> list[int]:
    wanted = selection.chooser()
    found = []
    for index, time_s in enumerate(times):
        choice = wanted(index, time_s)
        if choice is None:
            break
        if choice:
            found.append(index)
    return found


TENTHS = [number / 10 for number in range(20)]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), list(range(20))),
        (Selection(every=7), [0, 7, 14]),
        (Selection(start_s=1.5), [15, 16, 17, 18, 19]),
        (Selection(end_s=0.3), [0, 1, 2]),
        (Selection(start_s=0.5, end_s=0.8), [5, 6, 7]),
        (Selection(fps=5), list(range(0, 20, 2))),
        (Selection(fps=2, start_s=0.3), [3, 8, 13, 18]),
        (Selection(fps=100), list(range(20))),
        (Selection(every=4, end_s=1), [0, 4, 8]),
        (Selection(start_s=5), []),
    ],
)
def test_frames_are_chosen_by_number_and_time(selection: Selection, expected: list[int]) -> None:
    assert chosen(selection, TENTHS) == expected
    # WebM rounds times to a millisecond
    assert chosen(selection, [round(time_s - 4e-5, 6) for time_s in TENTHS]) == expected


def test_a_rate_is_kept_over_a_gap_in_the_times() -> None:
    assert chosen(Selection(fps=1), [0, 0.5, 1.0, 7.2, 7.4, 8.0, 8.5, 9.1]) == [0, 2, 3, 5, 7]


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"every": 0}, "`every`"),
        ({"fps": 0}, "`fps`"),
        ({"fps": float("nan")}, "`fps`"),
        ({"start_s": 3, "end_s": 3}, "end at 3 s and a start at 3 s"),
    ],
)
def test_numbers_that_cannot_be_are_refused(numbers: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Selection(**numbers)  # type: ignore[arg-type]


def test_the_rate_and_the_number_of_frames_follow_from_the_choice() -> None:
    selection = Selection(every=2, start_s=2, end_s=4)
    assert (selection.rate(30), selection.frames(300, 30)) == (15, 30)
    assert (Selection(fps=5).rate(30), Selection(fps=50).rate(30)) == (5, 30)
    assert Selection().frames(None, 30) is None
