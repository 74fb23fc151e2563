"""A connection between process 0 and each other one, which tells at once that a process has ended.

The operating system closes the connections of a process that dies, however it dies. Waiting for gradients may
last forever then: gloo notices, NCCL does not. A machine that vanishes is noticed within half a minute.
A process that fails sends its sentence to process 0, which raises it in its own name. All others end
without a word.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from aerostat.errors import AerostatError, InputError
from aerostat.processes.exchange import Processes

_log = logging.getLogger(__name__)

CONNECT_SECONDS = 60.0
LEAVE_SECONDS = 10.0
"""How long the main thread may take to end by itself once another process has; NCCL does not let it."""
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
_MAX_LINE = 1 << 16


@dataclass(frozen=True)
class Ending:
    """Why the work has ended early.

    Args:
        sentence: for the user.
        code: exit code.
    """

    sentence: str
    code: int = 1

    def error(self) -> AerostatError:
        """Return it as an error."""
        return (InputError if self.code == InputError.exit_code else AerostatError)(self.sentence)


@contextmanager
def connected(processes: Processes, left: Callable[[], str] = str) -> Iterator[None]:
    """Do the block's work in all processes, and end it in all of them if one ends early.

    Args:
        processes: that do the work; all of them must come here.
        left: returns a clause on what is left of the work when a process has died; empty for nothing.

    Raises:
        AerostatError: in process 0, if a process failed or died.
        SystemExit: in the others.
    """
    if processes.count == 1:
        yield
        return
    hosts = processes.gather(socket.gethostname())
    line = _First(processes, hosts, left) if processes.rank == 0 else _Other(processes, hosts, left)
    try:
        yield
    except BaseException as error:
        line.leave(error)
        raise
    line.finish()


class _Line:
    """One end of the connections.

    Args:
        processes: that do the work.
        hosts: name of the machine of each.
        left: see `connected`.
    """

    def __init__(self, processes: Processes, hosts: list[str], left: Callable[[], str]) -> None:
        self.hosts, self.left, self.rank = hosts, left, processes.rank
        self.ending: Ending | None = None
        self._known, self._over = threading.Event(), threading.Event()

    def died(self, rank: int) -> Ending:
        """Return the ending when a process has gone without a word."""
        rest = self.left()
        return Ending(f"Process {rank} on {self.hosts[rank]} died{f'; {rest}' * bool(rest)}.")

    def end(self, ending: Ending, *, silent: bool) -> None:
        """Let the main thread end, and end the process if that does not happen soon; called by the watch."""
        self.ending = ending
        self._known.set()
        if self._over.wait(LEAVE_SECONDS):
            return
        if not silent:
            _log.critical("%s", ending.sentence)
        os._exit(ending.code)

    def await_ending(self, error: BaseException, seconds: float) -> Ending | None:
        """Return why the work has ended, if that is known or an error of the exchange lets it be expected."""
        if isinstance(error, RuntimeError):
            self._known.wait(seconds)
        return self.ending


class _First(_Line):
    """The end of process 0."""

    def __init__(self, processes: Processes, hosts: list[str], left: Callable[[], str]) -> None:
        super().__init__(processes, hosts, left)
        with _listener() as listener:
            token = secrets.token_hex(16)
            processes.fabric.broadcast((listener.getsockname()[1], token))
            self.connections = _accepted(listener, token, processes.count)
        self._selector = selectors.DefaultSelector()
        for rank, connection in self.connections.items():
            self._selector.register(connection, selectors.EVENT_READ, rank)
        self._watch = threading.Thread(target=self._look, name="aerostat-lifeline", daemon=True)
        self._watch.start()

    def finish(self) -> None:
        """Tell the others that all is done."""
        self._over.set()
        self._send("done")
        self._close()

    def leave(self, error: BaseException) -> None:
        """End because of an error of this process; raise that of another one instead if it was the first."""
        ending = self.await_ending(error, LEAVE_SECONDS)
        self._over.set()
        self._send("end")
        self._close()
        if ending is not None and not isinstance(error, AerostatError | KeyboardInterrupt | SystemExit):
            raise ending.error() from None

    def _send(self, word: str) -> None:
        for connection in self.connections.values():
            _tell(connection, {"word": word})

    def _close(self) -> None:
        for connection in self.connections.values():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes the watch, which ends
        self._watch.join(LEAVE_SECONDS)
        for connection in self.connections.values():
            connection.close()

    def _look(self) -> None:
        with self._selector as selector:
            while selector.get_map() and not self._over.is_set():
                for key, _ in selector.select(1.0):
                    word = _heard(self.connections[key.data])
                    selector.unregister(key.fileobj)
                    if self._over.is_set() or word.get("word") == "done":
                        continue
                    ending = self.died(key.data)
                    if "sentence" in word:
                        ending = Ending(str(word["sentence"]), int(word.get("code", 1)))
                    self._send("end")
                    self.end(ending, silent=False)
                    return


class _Other(_Line):
    """The end of another process."""

    def __init__(self, processes: Processes, hosts: list[str], left: Callable[[], str]) -> None:
        super().__init__(processes, hosts, left)
        port, token = processes.fabric.broadcast((0, ""))
        host = os.environ.get("MASTER_ADDR", "127.0.0.1")
        try:
            self.connection = socket.create_connection((host, port), CONNECT_SECONDS)
        except OSError as error:
            raise AerostatError(
                f"Process {self.rank} on {hosts[self.rank]} cannot connect to {host}:{port} "
                f"({error.strerror or error}); the machines must be able to reach each other at any port."
            ) from None
        self.connection.settimeout(None)
        _keep_alive(self.connection)
        _tell(self.connection, {"token": token, "rank": self.rank})
        self._watch = threading.Thread(target=self._look, name="aerostat-lifeline", daemon=True)
        self._watch.start()

    def finish(self) -> None:
        """Tell process 0 that this one has done its part."""
        self._over.set()
        _tell(self.connection, {"word": "done"})

    def leave(self, error: BaseException) -> None:
        """Tell process 0 of an error, and end without a word."""
        if isinstance(error, SystemExit) and not error.code:
            self.finish()
            return
        ending = self.await_ending(error, LEAVE_SECONDS / 2)
        code = int(getattr(error, "exit_code", 1))
        if ending is None:
            what = str(error) or type(error).__name__
            if not isinstance(error, AerostatError):
                what = f"{type(error).__name__}: {what}"
            sentence = f"Process {self.rank} on {self.hosts[self.rank]} failed: {what}"
            _tell(self.connection, {"sentence": sentence, "code": code})
            self._known.wait(LEAVE_SECONDS)
        self._over.set()
        if ending is not None or isinstance(error, AerostatError | KeyboardInterrupt):
            raise SystemExit(code) from None

    def _look(self) -> None:
        word = _heard(self.connection).get("word")
        if word == "done" or self._over.is_set():
            return
        ending = self.died(0)
        if word is None and self.rank == 1:  # process 0 cannot say it any more
            _log.critical("%s", ending.sentence)
        self.end(ending, silent=True)


def _listener() -> socket.socket:
    if socket.has_dualstack_ipv6():
        with suppress(OSError):
            return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", 0))


def _accepted(listener: socket.socket, token: str, count: int) -> dict[int, socket.socket]:
    """Return the connections of processes 1 to count - 1; those of strangers are closed.

    Raises:
        AerostatError: a process does not come.
    """
    found: dict[int, socket.socket] = {}
    until = time.monotonic() + CONNECT_SECONDS
    while len(found) < count - 1:
        listener.settimeout(max(0.01, until - time.monotonic()))
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            missing = [str(rank) for rank in range(1, count) if rank not in found]
            raise AerostatError(
                f"The processes {', '.join(missing)} cannot connect to {socket.gethostname()}; the machines "
                "must be able to reach each other at any port."
            ) from None
        connection.settimeout(5.0)
        said = _heard(connection)
        if not secrets.compare_digest(str(said.get("token", "")).encode(), token.encode()):
            connection.close()
            continue
        connection.settimeout(None)
        _keep_alive(connection)
        found[int(said["rank"])] = connection
    return found


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # macOS and old systems lack some
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _tell(connection: socket.socket, content: dict[str, Any]) -> None:
    with suppress(OSError):
        connection.sendall(json.dumps(content).encode() + b"\n")


def _heard(connection: socket.socket) -> dict[str, Any]:
    """Return the next message; empty if the connection is closed."""
    data = b""
    with suppress(OSError):
        while not data.endswith(b"\n") and len(data) < _MAX_LINE:
            more = connection.recv(1)  # the next message may stand behind this one
            if not more:
                return {}
            data += more
    try:
        content = json.loads(data)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
