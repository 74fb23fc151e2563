"""What to type next, in the words of whoever calls the library.

A run that was stopped says how to resume it. A warning says where to look, a page how to use the weights.
Python users read calls of the library; the command line passes its own commands instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerostat.runs.directory import Run

Origin = Mapping[str, Any]
"""How data were read: arguments of `Dataset.read`; empty for data made in memory."""

PHOTOGRAPH = "PHOTOGRAPH.jpg"
"""Stands for a file that the reader chooses."""


@dataclass(frozen=True, repr=False)
class Commands:
    """What to type for each next step; the default texts are calls of the library.

    Args:
        resume: resumes the run in a directory.
        report: writes the page about it.
        evaluate: evaluates it on the data of an origin, with test-time augmentation if the last is true.
        predict: predicts a photograph with it.
        explain: explains its predictions on a photograph, with faithfulness if the last is true.
        features: shows its feature maps of a photograph.
        inspect: shows the data of an origin.
        inspect_any: shows any data.
        lint: lists what is wrong with data.
        repair: proposes moves of images between splits.
        repeat: does again what was done last.
        argument: an argument of `train` with a value.
        parameter: an argument of `train` without one.
    """

    resume: Callable[[Path], str]
    report: Callable[[Path], str]
    evaluate: Callable[[Path, Origin, bool], str]
    predict: Callable[[Path, str], str]
    explain: Callable[[Path, str, bool], str]
    features: Callable[[Path, str], str]
    inspect: Callable[[Origin], str]
    inspect_any: str
    lint: str
    repair: str
    repeat: str
    argument: Callable[[str, object], str]
    parameter: Callable[[str], str]

    def __repr__(self) -> str:
        """Return an example, because functions show nothing to readers of a signature."""
        return f"<commands such as {self.report(Path('RUN'))}>"

    def next_steps(self, path: Path, origin: Origin) -> list[str]:
        """Return what to type to use a run's weights.

        Args:
            path: directory of the run.
            origin: how its data were read.
        """
        return [
            self.evaluate(path, origin, False),
            self.predict(path, PHOTOGRAPH),
            self.explain(path, PHOTOGRAPH, False),
        ]

    def what_is_left(self, run: Run) -> tuple[str, str]:
        """Return what is left of a run that is ended from outside, a clause, and what to type then."""
        if not run.checkpoint.is_file():
            return "nothing had been learned and nothing is kept", ""
        if run.ended:
            return "the run is whole but for its page", self.report(run.path)
        return "the last whole state is kept", self.resume(run.path)


def _load(path: Path) -> str:
    return f"ae.load({str(path)!r})"


PYTHON = Commands(
    resume=lambda path: f"ae.resume({str(path)!r})",
    report=lambda path: f"ae.report({str(path)!r})",
    evaluate=lambda path, origin, tta: f"ae.evaluate({_load(path)}, data.split('val'){', tta=True' * tta})",
    predict=lambda path, photograph: f"{_load(path)}.predict({photograph!r})",
    explain=lambda path, photograph, _: f"ae.explain({_load(path)}, {photograph!r})",
    features=lambda path, photograph: f"ae.feature_maps({_load(path)}, {photograph!r})",
    inspect=lambda origin: "aerostat.inspection.folder.inspect_to_folder(data, Path('inspection'))",
    inspect_any="aerostat.inspection.folder.inspect_to_folder",
    lint="aerostat.lint.lint.lint(data) names all",
    repair="aerostat.splitting.repair.repair(data) proposes moves",
    repeat="the same call again",
    argument=lambda name, value: f"{name}={value!r}",
    parameter=lambda name: f"`{name}`",
)
"""Calls of the library, which Python users see."""
