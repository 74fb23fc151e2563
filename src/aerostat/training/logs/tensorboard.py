"""TensorBoard: event files in the run's directory, written with the package `tensorboard`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.training.logs.figures import parameters_of
from aerostat.training.logs.tracker import DEADLINE_S, Beginning, Measured, Place, require_package

FLUSH_S = 10
"""Seconds after which figures are on the disk."""


@dataclass
class TensorBoard:
    """Logs a run to event files: figures, validation pictures, recipe and hyperparameters.

    TensorBoard holds no files, so that report and weights stay in the run's directory.

    Args:
        folder: for the event files; None is ``tensorboard`` in the run's directory.
        deadline_s: seconds that a run waits for it at its end.

    Raises:
        InputError: the package tensorboard is not installed.

    Example:
        >>> run = aerostat.train(data, loggers=[TensorBoard()])  # doctest: +SKIP
    """

    folder: Path | str | None = None
    deadline_s: float = DEADLINE_S
    title: str = field(default="TensorBoard", init=False)
    _writer: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        require_package("tensorboard", self.title, "tensorboard")

    def begin(self, beginning: Beginning) -> None:
        """Open an event file; of a resumed run, figures after the checkpoint are dropped."""
        from torch.utils.tensorboard import SummaryWriter, summary

        writing: Any = summary  # torch states no types for it
        folder = Path(self.folder) if self.folder else beginning.run.path / "tensorboard"
        again = beginning.after.iteration + 1 if beginning.resumed else None
        self._writer = SummaryWriter(str(folder), purge_step=again, flush_secs=FLUSH_S)
        if beginning.resumed:
            return
        for part in writing.hparams(parameters_of(beginning.recipe), {"val/ap": 0.0}):
            self._writer.file_writer.add_summary(part)
        self._writer.add_text("recipe", f"```toml\n{beginning.recipe.to_toml()}```", 0)

    def figures(self, measured: Sequence[Measured]) -> None:
        """Write scalars."""
        for one in measured:
            for name, value in one.figures.items():
                self._writer.add_scalar(name, value, one.place.iteration, one.time_s)

    def picture(self, name: str, picture_bgr: NDArray[np.uint8], place: Place) -> None:
        """Write a picture as JPEG; PNG would be ten times as large."""
        import cv2
        from tensorboard.compat.proto.summary_pb2 import Summary

        height, width = picture_bgr.shape[:2]
        encoded = cv2.imencode(".jpg", picture_bgr)[1].tobytes()
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=encoded)
        summary = Summary(value=[Summary.Value(tag=f"val/{name}", image=image)])
        self._writer.file_writer.add_summary(summary, place.iteration)

    def file(self, path: Path, folder: str) -> None:
        """Do nothing."""

    def end(self, finished: bool) -> None:
        """Close the event file."""
        self._writer.close()

    def abandon(self) -> None:
        """Do nothing: the event file is whole up to its last record."""
