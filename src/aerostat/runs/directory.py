"""The directory of a run and the files in it."""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerostat.errors import InputError
from aerostat.files import clear_leftovers, is_temporary, locked, write_text
from aerostat.runs.metrics import lines_of
from aerostat.runs.summary import RunSummary, read_recipe_table, summarise


@dataclass(frozen=True, repr=False)
class Run:
    """A run's directory and the files in it.

    Args:
        path: the directory.
    """

    path: Path

    def __repr__(self) -> str:
        """Return the path, and the summary in a line."""
        return f"Run({str(self.path)!r}: {self.summary().line})"

    def summary(self) -> RunSummary:
        """Return recipe, epochs and figures.

        It does not fail on a directory that is not a run; they are then empty.
        """
        return self._summary(self._records())

    def _summary(self, records: list[dict[str, Any]]) -> RunSummary:
        return summarise(self.path, read_recipe_table(self.recipe), records, finished=_has_end(records))

    def to_dict(self) -> dict[str, Any]:
        """Return recipe, epochs, figures of the best and the last validation, and files as plain values."""
        return self.summary().to_dict()

    def _repr_html_(self) -> str:
        """Return figures and curves for a notebook."""
        from aerostat.draw.figure import png_bytes
        from aerostat.runs.curves import ap_curve, loss_curve

        records = self._records()
        drawn = {"AP by epoch": ap_curve(records), "losses by epoch": loss_curve(records)}
        pictures = [(title, png_bytes(figure)) for title, figure in drawn.items() if figure is not None]
        return self._summary(records).to_html(pictures)

    def _records(self) -> list[dict[str, Any]]:
        try:
            return self.read_metrics()
        except (InputError, OSError, ValueError):
            return []

    @property
    def recipe(self) -> Path:
        """The resolved recipe, TOML."""
        return self.path / "recipe.toml"

    @property
    def environment(self) -> Path:
        """Versions, machine and data, JSON."""
        return self.path / "environment.json"

    @property
    def holdout(self) -> Path:
        """Names of the images that were held out of data without a validation split, JSON; often absent."""
        return self.path / "holdout.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line, with its `kind`.

        The kinds are iterations (train), validations (val), changes of the stage (stage), warnings (warning),
        where the run was resumed (resume), and its end (end).
        """
        return self.path / "metrics.jsonl"

    @property
    def checkpoint(self) -> Path:
        """The whole state, from which the run can be resumed."""
        return self.path / "last.ckpt"

    @property
    def best(self) -> Path:
        """Averaged weights of the epoch with the best validation AP."""
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        """Averaged weights of the last epoch."""
        return self.path / "last.safetensors"

    @property
    def advice(self) -> Path:
        """Advice of the finished run, JSON."""
        return self.path / "advice.json"

    @property
    def plots(self) -> Path:
        """Curves of loss, learning rate and AP."""
        return self.path / "plots"

    @property
    def predictions(self) -> Path:
        """Validation images with the detections of the best weights."""
        return self.path / "predictions"

    def require_absent(self) -> None:
        """Refuse a directory that holds something.

        Raises:
            InputError: something is there. An empty directory is allowed, and so are temporary files of a
                process that died while it wrote its first state.
        """
        if self.path.exists() and (
            not self.path.is_dir() or not all(is_temporary(inside) for inside in self.path.iterdir())
        ):
            go_on = (
                f", go on with `resume` {shlex.quote(str(self.path))}" if self.checkpoint.is_file() else ""
            )
            raise InputError(f"{self.path} exists already; choose another `out`{go_on}, or remove it.")

    def create(self) -> None:
        """Make the directory.

        Raises:
            InputError: if it is there already, or cannot be made.
        """
        self.require_absent()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"Cannot make the run directory {self.path}: {error.strerror}.") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run for this process, and remove what processes that died left half-written in it.

        Raises:
            InputError: if another process is training it.
        """
        with locked(self.path, "being trained"):
            for folder in (self.path, self.plots, self.predictions):
                clear_leftovers(folder)
            yield

    @property
    def ended(self) -> bool:
        """Whether the run has finished, with its curves and pictures; its page may be missing."""
        return self.metrics.is_file() and _has_end(self.read_metrics())

    def record_source(self, source: Mapping[str, Any]) -> None:
        """Write into the environment where the data are now.

        Args:
            source: how to read them, plain values only.
        """
        try:
            environment = json.loads(self.environment.read_text("utf-8"))
        except (OSError, ValueError):  # a record for people, without which a run goes on
            environment = {}
        write_text(self.environment, json.dumps({**environment, "data": dict(source)}, indent=2))

    def log(self, *records: Mapping[str, Any]) -> None:
        """Append records to the metrics, all of them or none.

        Raises:
            OSError: they cannot be written.
        """
        lines = "".join(json.dumps(record) + "\n" for record in records)
        with self.metrics.open("ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                content = lines.encode("utf-8")
                while content:
                    content = content[file.write(content) :]
            except OSError:
                file.truncate(end)  # half a line would spoil the next one, too
                raise

    def flush_log(self) -> None:
        """Bring the metrics to disk."""
        if self.metrics.is_file():
            with self.metrics.open("ab") as file:
                os.fsync(file.fileno())

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the records of the metrics, without a last line that was cut off.

        Raises:
            InputError: there is no file of metrics.
        """
        if not self.metrics.is_file():
            raise InputError(
                f"{self.path} is not a run: it has no {self.metrics.name}; name the directory of a run."
            )
        records = []
        for line in self.metrics.read_text("utf-8").splitlines():
            try:
                record = json.loads(line)
            except (json.JSONDecodeError, RecursionError):
                continue
            if isinstance(record, dict):
                records.append(record)
        return records

    def read_validations(self) -> list[dict[str, Any]]:
        """Return the records of the validations, in order; AP is -1 where no object was annotated.

        Raises:
            InputError: there is no file of metrics.
        """
        return lines_of(self.read_metrics(), "val", "ap")

    def cut_metrics(self, epoch: int, batch: int) -> None:
        """Drop the records after a checkpoint.

        Args:
            epoch, batch: of the next iteration, both counted from 1. Its record and all later ones are
                dropped, and so is the record of a stage that begins with it.
        """
        if not self.metrics.is_file():
            return
        places = {"stage": 1, "val": math.inf}  # a stage begins with its first iteration

        def place(record: dict[str, Any]) -> tuple[int, float]:
            return record.get("epoch", 0), record.get("batch", places.get(record.get("kind", ""), math.inf))

        earlier = [record for record in self.read_metrics() if place(record) < (epoch, batch)]
        write_text(self.metrics, "".join(json.dumps(record) + "\n" for record in earlier))


def _has_end(records: list[dict[str, Any]]) -> bool:
    """Return whether the last record of a run's metrics is its end."""
    return any(record.get("kind") == "end" for record in records[-1:])
