"""The verb `split`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.app import app
from aerostat.cli.options import READ, Flag, Force, JsonFlag, Read, Switch
from aerostat.cli.reading import name_of, read
from aerostat.cli.refusals import refuse
from aerostat.errors import InputError

if TYPE_CHECKING:
    from aerostat.datasets.dataset import Dataset
    from aerostat.splitting.folder import WrittenSplits

_log = logging.getLogger(__name__)


@app.command(sort_key=3.5, usage="Usage: aerostat split DATA [OPTIONS]")
def split(
    data: Path,
    /,
    *,
    val: Annotated[float | None, Parameter(show_default=False)] = None,
    test: float = 0.0,
    folds: int | None = None,
    seed: int = 0,
    pixels: Switch = True,
    repair: Flag = False,
    out: Path | None = None,
    reading: Read = READ,
    force: Force = False,
    json_: JsonFlag = False,
) -> None:
    """Split annotated images into train and val, with like images on one side.

    Near-duplicates and photographs of one scene stay together, and classes are spread evenly. Writes
    annotation files and lists of names; the images stay where they are.

    Parameters
    ----------
    data:
        Data set folder, or one annotation file. Splits that it has are pooled.
    val:
        Share of the images in val; by default 0.2.
    test:
        Share of the images in test; 0 for none.
    folds:
        Write this many splits; each image is in val once.
    seed:
        Another seed makes another split.
    pixels:
        Compare the pixels of all images, which is the default, or keep only files of the same bytes together.
    repair:
        Keep the splits of DATA, and print the fewest moves after which no like images are in two of them.
        Written only with --out.
    out:
        Folder to write; by default splits/NAME-OF-DATA.
    """
    from aerostat.splitting.folder import require_files, require_free

    written = out if out is not None or repair else Path("splits") / name_of(data)
    if written is not None:
        if written.exists() and data.exists() and written.samefile(data if data.is_dir() else data.parent):
            raise InputError(f"{written} is the folder of the data themselves; name another --out.")
        require_free(written, force)  # before the images are looked at
    if repair:
        asked = {"--val": val, "--test": test, "--folds": folds, "--seed": seed, "--no-pixels": not pixels}
        refuse(asked, "cannot go with --repair")
        _repair(data, reading, written, force=force, json_=json_)
        return
    if folds is not None:
        refuse({"--val": val}, "cannot go with --folds, whose number is the share")
    from aerostat.splitting.split import VAL_SHARE, arrange, arrange_folds, require_shares

    require_shares(VAL_SHARE if val is None else val, test)
    dataset = read(data, reading)
    require_files(dataset)
    if len(dataset.splits) > 1:
        _log.info(f"the images of {', '.join(dataset.splits)} are split together")
    if folds is None:
        share = VAL_SHARE if val is None else val
        arranged = [arrange(dataset, val=share, test=test, seed=seed, pixels=pixels)]
    else:
        arranged = arrange_folds(dataset, folds, test=test, seed=seed, pixels=pixels)
    assert written is not None
    done = _write([one.data for one in arranged], written, force=force)
    for warning in dict.fromkeys(warning for one in arranged for warning in one.warnings):
        _log.warning(warning)
    if json_:
        several = {"folds": [one.to_dict() for one in arranged]} if folds else arranged[0].to_dict()
        print(console.document({**several, "written": _paths(done)}))
        return
    for number, one in enumerate(arranged, 1):
        if folds:
            console.tell(f"fold {number}")
        console.stdout().print(one.render())
    console.tell(arranged[0].together(), *_next_steps(done))


def _repair(data: Path, reading: Read, out: Path | None, *, force: bool, json_: bool) -> None:
    """Print the moves that mend the splits of data, and write them if there is a folder to write."""
    from aerostat.splitting.repair import repair

    found = repair(read(data, reading))
    done = None if out is None else _write([found.arrangement.data], out, force=force)
    if json_:
        print(console.document({**found.to_dict(), "written": _paths(done) if done else None}))
        return
    console.tell(*(move.line() for move in found.moves), found.summary())
    if done is not None:
        console.tell(*_next_steps(done))
    elif found.moves:
        console.tell("Nothing is written; --out DIR writes the mended splits.")


def _write(data: list[Dataset], out: Path, *, force: bool) -> WrittenSplits:
    from aerostat.splitting.folder import write_splits

    done = write_splits(data, out, force=force)
    for what, number in done.lost.items():
        _log.warning(f"lost in writing: {number} {what}")
    return done


def _next_steps(done: WrittenSplits) -> list[str]:
    """Return a line for each folder: what to type to train on it."""
    from aerostat.cli.commands import command

    images: list[Any] = [] if done.linked else ["--images", done.image_folder]
    return [f"Train: {command('train', folder, *images)}" for folder in done.folders]


def _paths(done: WrittenSplits) -> dict[str, Any]:
    return {
        "files": [str(path) for path in done.files],
        "images": str(done.image_folder),
        "train": _next_steps(done),
    }
