"""One process that ends early ends the others, and its sentence is told once."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from aerostat.errors import AerostatError, InputError
from aerostat.processes.lifeline import connected


class Crew:
    """Stands for `Processes` in one of several threads."""

    def __init__(self, rank: int, count: int, told: dict[int, queue.Queue[Any]]) -> None:
        self.rank, self.count, self.told, self.fabric = rank, count, told, self

    def gather(self, value: Any) -> list[Any]:
        return [f"host{rank}" for rank in range(self.count)]

    def broadcast(self, value: Any) -> Any:
        if self.rank == 0:
            for rank in range(1, self.count):
                self.told[rank].put(value)
            return value
        return self.told[self.rank].get(timeout=30)


def ended(*blocks: Callable[[], None]) -> list[BaseException | None]:
    """Do one block in each of several threads that are connected; return how each ended."""
    told: dict[int, queue.Queue[Any]] = {rank: queue.Queue() for rank in range(len(blocks))}

    def work(rank: int) -> BaseException | None:
        try:
            with connected(Crew(rank, len(blocks), told)):  # type: ignore[arg-type]
                blocks[rank]()
        except BaseException as error:
            return error
        return None

    with ThreadPoolExecutor(len(blocks)) as pool:
        return list(pool.map(work, range(len(blocks))))


def broken_exchange() -> None:
    """Do what an exchange does when another process has gone."""
    raise RuntimeError("Connection closed by peer")


def refusing(error: BaseException) -> Callable[[], None]:
    def refuse() -> None:
        raise error

    return refuse


def test_work_that_is_done_ends_quietly():
    waiting = threading.Event()
    assert ended(waiting.set, lambda: waiting.wait(30) and None, lambda: None) == [None, None, None]


def test_a_process_alone_is_not_connected():
    assert ended(lambda: None) == [None]


@pytest.mark.parametrize("kind", [AerostatError, InputError])
def test_the_first_process_tells_what_another_one_says(kind):
    first, second, third = ended(broken_exchange, refusing(kind("No room.")), broken_exchange)
    assert type(first) is kind and str(first) == "Process 1 on host1 failed: No room."
    assert isinstance(second, SystemExit) and second.code == kind.exit_code
    assert isinstance(third, SystemExit) and third.code


def test_the_first_process_tells_its_own_error_and_the_others_are_silent():
    first, second = ended(refusing(AerostatError("The loss is not finite.")), broken_exchange)
    assert str(first) == "The loss is not finite."
    assert isinstance(second, SystemExit) and second.code == 1


def test_an_error_of_the_program_keeps_its_traceback():
    first, second = ended(broken_exchange, refusing(TypeError("no number")))
    assert str(first) == "Process 1 on host1 failed: TypeError: no number"
    assert isinstance(second, TypeError)


def test_a_process_that_leaves_on_request_is_not_missed():
    assert [type(end) for end in ended(lambda: None, refusing(SystemExit(0)))] == [type(None), SystemExit]
