"""The verb `inspect`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aerostat.cli import console
from aerostat.cli.app import app
from aerostat.cli.console import document
from aerostat.cli.names import as_typed
from aerostat.cli.options import READ, RECIPE, Flag, JsonFlag, Read, Recipe
from aerostat.cli.reading import read
from aerostat.cli.recipes import training_request
from aerostat.errors import AerostatError, clause

if TYPE_CHECKING:
    from aerostat.inspection.pictures import StagePictures
    from aerostat.training.plan import Plan

_log = logging.getLogger(__name__)


@app.command(sort_key=3, usage="Usage: aerostat inspect DATA [OPTIONS]")
def inspect(
    data: Path,
    /,
    *,
    out: Path = Path("inspection"),
    limit: int = 16,
    reading: Read = READ,
    start: Recipe = RECIPE,
    force: Flag = False,
    json_: JsonFlag = False,
) -> None:
    """Draw annotated images, their labels and statistics, and training batches.

    Also prints the data card and what lint finds. The options of the recipe are those of train: they decide
    the input size and the augmentation.

    Parameters
    ----------
    data:
        Data set folder, or one split's annotation file.
    out:
        Folder for the pictures; an earlier inspection in it is replaced.
    limit:
        Number of images of each split, and of samples of each stage of training, to show.
    force:
        Write into a folder that holds other files than an earlier inspection.
    """
    from aerostat.cli.commands import COMMANDS
    from aerostat.datasets.summary import data_card
    from aerostat.inspection.folder import DOCUMENT, TrainingPreview, check_request, inspect_to_folder
    from aerostat.lint.lint import lint, require_clean
    from aerostat.training.preview import plan_to_show

    check_request(out, limit=limit, force=force)
    request = training_request(start)
    dataset = read(data, reading, strict=False)  # everything is shown first
    planned, refusal = plan_to_show(dataset, request, COMMANDS)
    findings = lint(dataset)
    if not json_:
        console.stdout().print(data_card(dataset).render(problems=False))
        wording = partial(as_typed, words=["inspect"])
        see_all = f"all stand in {out / DOCUMENT}"
        console.stdout().print(findings.render(see_all, COMMANDS.repair, wording))
    if refusal:
        _log.warning(f"train would refuse these data: {refusal}")
    decided = planned.recipe if planned else None
    if planned and decided:
        _log.info(
            f"batches as for rtmdet-{decided.model.size} at {decided.data.input_size} px, batch "
            f"{decided.optim.batch_size}, seed {decided.run.seed} ({planned.reasons[0]})"
        )
    done = inspect_to_folder(
        dataset,
        out,
        limit=limit,
        seed=decided.run.seed if decided else start.seed or 0,
        force=force,
        training=TrainingPreview(
            batches=lambda: _batches(planned, limit),
            input_size=decided.data.input_size if decided else None,
            recipe=decided.to_dict() if decided else None,
            refusal=refusal,
        ),
        findings=findings,
    )
    print(document(done.to_dict()) if json_ else "\n".join(done.lines()))
    if reading.strict:
        require_clean(findings)


def _batches(planned: Plan | None, limit: int) -> Sequence[StagePictures]:
    """Return what the network would see; nothing, with a note, if there is no plan or no readable image."""
    from aerostat.training.preview import preview_pictures

    if planned is None:
        return []
    try:
        return preview_pictures(planned.train_split, planned.recipe, limit=limit)
    except AerostatError as error:
        _log.warning(f"the batches of training cannot be shown: {clause(error)}")
        return []
