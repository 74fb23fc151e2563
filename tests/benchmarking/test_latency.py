import time
from collections.abc import Callable

import pytest

from aerostat.benchmarking import latency
from aerostat.benchmarking.latency import Latency, measure_in_turn


class Clock:
    """A clock that only works move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def work(self, name: str, seconds: float) -> Callable[[], None]:
        def call() -> None:
            self.now += seconds
            self.calls.append(name)

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(latency.time, "perf_counter", lambda: clock.now)
    return clock


def test_each_work_gets_the_same_time_and_its_own_figure(clock: Clock) -> None:
    works = {"slow": clock.work("slow", 1.0), "fast": clock.work("fast", 0.25)}
    found = measure_in_turn(works, 40.0)
    assert (found["slow"].median, found["fast"].median) == pytest.approx((1.0, 0.25))
    assert found["slow"].calls == pytest.approx(20, abs=1)
    assert found["fast"].calls == pytest.approx(80, abs=4)


def test_works_take_turns_from_the_beginning_to_the_end(clock: Clock) -> None:
    works = {name: clock.work(name, 1.0) for name in "abc"}
    measure_in_turn(works, 30.0)
    for name in "abc":
        assert name in clock.calls[:6]
        assert name in clock.calls[-3:]


def test_a_slow_work_is_called_often_enough_whatever_the_time(clock: Clock) -> None:
    found = measure_in_turn({"x": clock.work("x", 100.0), "y": clock.work("y", 0.5)}, 1.0, min_calls=3)
    assert found["x"].calls == 3
    assert found["y"].calls >= 3


def test_the_first_call_of_a_turn_of_short_calls_does_not_count(clock: Clock) -> None:
    def work() -> None:
        clock.calls.append("x")
        first = len(clock.calls) == 1 or clock.calls[-2] != "x"
        clock.now += 0.09 if first else 0.01  # the other runtime's threads are still spinning

    found = measure_in_turn({"x": work, "y": clock.work("y", 0.5)}, 20.0)
    assert found["x"].high == pytest.approx(0.01)


def test_nothing_to_measure_takes_no_time_and_gives_nothing() -> None:
    start = time.perf_counter()
    assert measure_in_turn({}, 60.0) == {}
    assert time.perf_counter() - start < 10


def test_quartiles_are_those_of_the_calls() -> None:
    # numpy's linear quartiles of 1, 2, 3, 4, 10, by hand: 2, 3, 4
    assert Latency.of([10.0, 1.0, 4.0, 2.0, 3.0]) == Latency(3.0, 2.0, 4.0, 5)
    assert Latency.of([7.0]) == Latency(7.0, 7.0, 7.0, 1)


def test_whoever_waits_is_told_what_runs(clock: Clock) -> None:
    told: list[str] = []
    measure_in_turn({"a": clock.work("a", 1.0)}, 1.0, min_calls=1, on_turn=told.append)
    assert set(told) == {"a"}
