"""Weights & Biases: files in the run's directory, or a server, through the package `wandb`."""

from __future__ import annotations

import netrc
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.training.logs.figures import parameters_of, plain_name
from aerostat.training.logs.redaction import redacted
from aerostat.training.logs.tracker import DEADLINE_S, Beginning, Measured, Place, require_package

QUIET = {
    "WANDB_ERROR_REPORTING": "false",  # reports of usage and of errors to W&B
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_X_DISABLE_STATS": "true",  # figures of processor, memory and network
    "WANDB_X_DISABLE_META": "true",  # command line, host, user
    "WANDB_X_DISABLE_MACHINE_INFO": "true",
    "WANDB_X_SAVE_REQUIREMENTS": "false",
}
"""Variables that are set unless the user has set them, before wandb is imported."""
SERVER = "https://api.wandb.ai"
NAME = "wandb"
MODES = ("offline", "online", "disabled")


@dataclass
class WandB:
    """Logs a run to Weights & Biases: figures, recipe, curves, validation pictures, report and weights.

    Its reports of usage and errors, and all that it finds out about the machine by itself, are off unless a
    variable says otherwise, such as ``WANDB_ERROR_REPORTING=true`` or ``WANDB_X_DISABLE_STATS=false``.

    Args:
        mode: ``offline`` writes files that ``wandb sync`` sends later; ``online`` sends them at once. None
            takes ``WANDB_MODE``, else ``offline``.
        project: its name; None takes ``WANDB_PROJECT``, else ``aerostat``.
        deadline_s: seconds that a run waits for it at its end.

    Raises:
        InputError: the package wandb is not installed, the mode is unknown, or the mode is ``online``
            without an API key.

    Example:
        >>> run = aerostat.train(data, loggers=[WandB(mode="online")])  # doctest: +SKIP
    """

    mode: Literal["offline", "online", "disabled"] | None = None
    project: str | None = None
    deadline_s: float = DEADLINE_S
    title: str = field(default="W&B", init=False)
    _run: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        require_package("wandb", self.title, "wandb")
        mode = self.chosen_mode
        if mode not in MODES:
            raise InputError(f"Expected WANDB_MODE to be one of {', '.join(MODES)}, found {mode!r}.")
        if mode == "online" and not _has_credentials():
            raise InputError(
                "Logging to W&B with WANDB_MODE=online needs an API key, and there is none; set "
                "WANDB_API_KEY, type 'wandb login', or leave WANDB_MODE out to log offline."
            )

    @property
    def chosen_mode(self) -> str:
        """How the run is logged."""
        return self.mode or os.environ.get("WANDB_MODE") or "offline"

    def begin(self, beginning: Beginning) -> None:
        """Make a run in the project, or go on with the one that this run has had there."""
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        import wandb

        known = beginning.remembered(NAME).get("id") if beginning.resumed else None
        name = beginning.run.path.resolve().name
        mode: Any = self.chosen_mode  # one of MODES
        self._run = wandb.init(
            project=self.project or os.environ.get("WANDB_PROJECT") or "aerostat",
            id=known if isinstance(known, str) else None,
            resume="allow" if isinstance(known, str) else None,
            name=os.environ.get("WANDB_NAME") or name,
            dir=str(beginning.run.path),
            mode=mode,
            config={
                key: redacted(value) if isinstance(value, str) else value
                for key, value in parameters_of(beginning.recipe).items()
            },
        )
        beginning.remember(NAME, {"id": self._run.id})
        self._run.define_metric("iteration", hidden=True)
        self._run.define_metric("*", step_metric="iteration")

    def figures(self, measured: Sequence[Measured]) -> None:
        """Log figures over iterations."""
        for one in measured:
            self._run.log({**one.figures, "iteration": one.place.iteration, "epoch": one.place.epoch})

    def picture(self, name: str, picture_bgr: NDArray[np.uint8], place: Place) -> None:
        """Log a picture as JPEG."""
        import wandb

        image = wandb.Image(picture_bgr[:, :, ::-1], file_type="jpg")
        self._run.log({f"val/{name}": image, "iteration": place.iteration, "epoch": place.epoch})

    def file(self, path: Path, folder: str) -> None:
        """Log a file of the run as an artifact; it is not copied."""
        import wandb

        kind = "model" if folder == "weights" else folder
        artifact = wandb.Artifact(plain_name(f"{self._run.id}-{path.name}").replace(" ", "_"), type=kind)
        artifact.add_file(str(path.absolute()), policy="immutable", skip_cache=True)
        self._run.log_artifact(artifact)

    def end(self, finished: bool) -> None:
        """End the run; online, this waits until everything is sent."""
        self._run.finish(exit_code=0 if finished else 1)

    def abandon(self) -> None:
        """Stop the process of W&B, which would keep this one from ending while a server does not answer.

        Nothing in the public interface of wandb does that. What is sent is also in the run's directory.
        """
        import wandb

        connection: Any = getattr(wandb.setup(), "_connection", None)
        with suppress(Exception):
            connection._cleanup()  # no farewell at the end of this process
        with suppress(Exception):
            connection._proc._process.kill()


def _has_credentials() -> bool:
    """Return whether there is a key for the server: in a variable, or in the file of `wandb login`."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or SERVER).hostname or ""
    named = os.environ.get("NETRC")
    for path in [Path(named)] if named else [Path("~/.netrc").expanduser(), Path("~/_netrc").expanduser()]:
        with suppress(OSError, netrc.NetrcParseError, UnicodeDecodeError):
            if netrc.netrc(str(path)).authenticators(host):
                return True
    return False
