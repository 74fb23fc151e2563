"""``aerostat`` and ``python -m aerostat``: run the command line, turn how it ended into an exit code."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aerostat.processors import set_threads_by_quota

# Waiting threads of libgomp give their processor away after this many spins, instead of never. Two trainings
# side by side on two cores are an order of magnitude faster; one alone keeps its speed
# (benchmarks/README.md). libgomp reads this when torch is loaded, so it is set before any import of torch.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
set_threads_by_quota()  # torch reads that when it is loaded, too

if TYPE_CHECKING:
    from cyclopts import CycloptsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 the work failed, 2 the request was wrong (one sentence on stderr)."""
    from cyclopts import CycloptsError

    from aerostat.cli import as_typed
    from aerostat.cli.run import run
    from aerostat.errors import AerostatError
    from aerostat.interrupts import lost_interrupts_repeated

    words = sys.argv[1:] if arguments is None else list(arguments)
    if arguments is None:
        _let_processes_be_started()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file name that the terminal cannot show is no failure
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with lost_interrupts_repeated():
            code = run(words)
        sys.stdout.flush()
    except AerostatError as error:
        return _fail(as_typed(str(error), words), error.exit_code)
    except CycloptsError as error:
        return _fail(_describe(error), 2)
    except KeyboardInterrupt:
        return _fail("Interrupted.", 130)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "lightning_fabric", "safetensors"):
            raise  # a broken installation, not one that was made for exported models alone
        return _fail(f"This needs the package {error.name}; install it with: pip install aerostat", 2)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UnicodeEncodeError as error:  # of a file name: what is printed never fails so
        if error.encoding not in (sys.getfilesystemencoding(), "utf-8"):
            raise
        return _fail(_unnameable(error), 1)
    except OSError as error:  # a full disk, a folder that may not be written to
        where = f" ({error.filename})" if error.filename else ""
        return _fail(f"The system refused: {error.strerror or error}{where}.", 1)
    return code if isinstance(code, int) else 0


def _let_processes_be_started() -> None:
    """Let the processes of a training on several devices be started as ``python -m aerostat``.

    Fabric starts again what was typed, and Windows' ``aerostat.exe`` calls itself by the name of no file.
    """
    started = sys.modules["__main__"]
    if started.__spec__ is None:
        started.__spec__ = importlib.util.find_spec("aerostat.__main__")


def _describe(error: CycloptsError) -> str:
    """Say what was wrong with the words of a command, and where to read on."""
    from cyclopts import MissingArgumentError, UnusedCliTokensError

    sentence = " ".join(str(error).split()).partition(" Available commands:")[0]
    if isinstance(error, UnusedCliTokensError):
        sentence = f"Unexpected argument {' '.join(map(repr, error.unused_tokens or ()))}."
    keyword = getattr(error, "keyword", None)  # of an option without its value; unknown before cyclopts 5
    if isinstance(error, MissingArgumentError) and error.argument is not None and keyword is None:
        sentence = f"{error.argument.name} is missing."
    return f"{sentence} See {' '.join(['aerostat', *(error.command_chain or ())])} --help."


def _unnameable(error: UnicodeEncodeError) -> str:
    name = os.path.basename(error.object)  # noqa: PTH119 - it may be no path
    return (
        f"This system writes the names of files in {error.encoding}, which has no way to write {name!r}; "
        "set the environment variable PYTHONUTF8=1, or rename the file or class."
    )


def _fail(sentence: str, code: int) -> int:
    from aerostat.text import plain

    print(f"aerostat: {plain(sentence)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
