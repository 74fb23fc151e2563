"""An inspection in a folder: sheets of pictures for each split, plots, and one JSON document."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Split
from aerostat.datasets.summary import DataCard, data_card
from aerostat.draw import statistics as charts
from aerostat.draw.figure import png_bytes
from aerostat.draw.saving import save_image
from aerostat.errors import InputError, clause
from aerostat.files import require_folder, write_bytes, write_text
from aerostat.inspection.pictures import (
    LabelledImage,
    SplitPictures,
    StagePictures,
    choose_images,
    read_shown,
    sheet_layout,
    show,
)
from aerostat.inspection.split_statistics import (
    RATIO_EDGES,
    SHARE_EDGES,
    SIZE_EDGES,
    SplitStatistics,
    count_edges,
    histogram,
    measure,
)
from aerostat.lint.listing import LintReport
from aerostat.progress import progress_shown, track
from aerostat.text import counted, html_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOCUMENT = "inspection.json"
"""Name of the document. A folder that holds it is an inspection and may be replaced."""
MAX_IMAGES = 1000
"""Maximum number of pictures on a sheet: 32 by 32."""
ENLARGED_TO = 640
"""Minimum longer side of the picture of a single image, in pixels."""


def _no_stages() -> Sequence[StagePictures]:
    return ()


@dataclass(frozen=True)
class TrainingPreview:
    """What training would make of the data.

    Args:
        batches: returns the first batches of each stage as pictures; called when the splits are drawn.
        input_size: side of the network's input in pixels; it adds an axis to the plot of box sizes.
        recipe: recipe of the batches, as JSON values.
        refusal: reason why `train` would refuse the data; empty if it would not.
    """

    batches: Callable[[], Sequence[StagePictures]] = _no_stages
    input_size: int | None = None
    recipe: Mapping[str, Any] | None = None
    refusal: str = ""


@dataclass(frozen=True)
class Inspection:
    """The files of an inspection and the figures in its document.

    Args:
        out: the folder.
        card: data card.
        statistics: figures of each split.
        plots: path of each plot, by name.
        pictures: paths of the pictures of each split: ``images``, ``labels`` (sheets) and ``labelled`` (one
            picture for each image).
        shown: names of the images in the pictures, by split.
        unreadable: name and reason of images that could not be drawn, by split.
        batches: picture and contents of each stage of training.
        recipe: recipe of the batches; None without batches.
        seed: seed of the choice of images.
        refusal: reason why `train` would refuse the data; empty if it would not.
        findings: findings of lint; None if it did not run.
    """

    out: Path
    card: DataCard
    statistics: tuple[SplitStatistics, ...]
    plots: Mapping[str, Path]
    pictures: Mapping[str, Mapping[str, list[Path]]]
    shown: Mapping[str, list[str]]
    unreadable: Mapping[str, list[tuple[str, str]]]
    batches: Sequence[Mapping[str, Any]] = ()
    recipe: Mapping[str, Any] | None = None
    seed: int = 0
    refusal: str = ""
    findings: LintReport | None = None

    @property
    def files(self) -> list[Path]:
        """Path of each picture."""
        by_split = [path for kinds in self.pictures.values() for paths in kinds.values() for path in paths]
        return [*by_split, *(Path(batch["picture"]) for batch in self.batches), *self.plots.values()]

    def to_dict(self) -> dict[str, Any]:
        """Return the inspection as JSON values."""
        edges = count_edges(self.statistics)
        splits = {
            s.split: {
                "pictures": {
                    kind: str(paths[0]) if kind != "labelled" else list(map(str, paths))
                    for kind, paths in self.pictures[s.split].items()
                },
                "shown": self.shown[s.split],
                "unreadable": [{"file": f, "reason": why} for f, why in self.unreadable[s.split]],
                "statistics": s.to_dict(edges),
            }
            for s in self.statistics
        }
        return {
            "card": self.card.to_dict(),
            "seed": self.seed,
            "recipe": self.recipe,
            "refusal": self.refusal or None,
            "lint": None if self.findings is None else self.findings.to_dict(),
            "splits": splits,
            "batches": [dict(batch) for batch in self.batches],
            "plots": {name: str(path) for name, path in self.plots.items()},
            "files": [path.relative_to(self.out).as_posix() for path in self.files],
        }

    def __repr__(self) -> str:
        """Return the inspection in one line."""
        return f"Inspection({counted(len(self.files), 'picture')} in {self.out})"

    def _repr_html_(self) -> str:
        """Return a table of the splits for a notebook."""
        rows = [
            (
                s.split,
                f"{s.images:,}",
                f"{s.objects:,}",
                len(self.shown[s.split]),
                len(self.unreadable[s.split]),
            )
            for s in self.statistics
        ]
        header = ("split", "images", "objects", "drawn", "unreadable")
        return html_table(header, rows, f"Inspection in {self.out}")

    def lines(self) -> list[str]:
        """Return a line for each picture, and for each image that could not be drawn."""
        lines = []
        for s in self.statistics:
            for file_name, reason in self.unreadable[s.split]:
                lines.append(f"{s.split}: {file_name} left out of the pictures: {reason}")
            kinds = self.pictures[s.split]
            how_many = f"{len(self.shown[s.split])} of {counted(s.images, 'image')}"
            if "images" in kinds:
                lines.append(f"{kinds['images'][0]}: {how_many}, seed {self.seed}")
                lines.append(f"{kinds['labels'][0]}: the same with labels")
                lines.append(f"{kinds['labelled'][0].parent}: the same one by one")
            else:
                lines.append(f"{s.split}: no pictures, {how_many} can be shown")
        lines += [f"{batch['picture']}: {batch['title']}" for batch in self.batches]
        lines += [f"{path}" for path in self.plots.values()]
        return lines


def check_request(out: Path, *, limit: int, force: bool = False) -> None:
    """Check the arguments of an inspection before the data are read, which may take long.

    Args:
        out: the folder; it may be missing, empty, or hold an earlier inspection.
        limit: maximum number of images of each split, from 1 to `MAX_IMAGES`.
        force: whether the folder may hold other files, which are kept.

    Raises:
        InputError: the limit is out of range, or `out` holds other files.
    """
    if not 1 <= limit <= MAX_IMAGES:
        raise InputError(f"Expected a `limit` from 1 to {MAX_IMAGES} images, found {limit}.")
    require_folder(out)
    if force or not out.is_dir() or (out / DOCUMENT).is_file() or not any(out.iterdir()):
        return
    raise InputError(
        f"{out} exists and holds no earlier inspection; choose another `out`, or write into it with `force`."
    )


def inspect_to_folder(
    data: Dataset,
    out: Path,
    *,
    limit: int = 16,
    seed: int = 0,
    force: bool = False,
    training: TrainingPreview | None = None,
    findings: LintReport | None = None,
    progress: bool = True,
) -> Inspection:
    """Write pictures and plots of a data set, and one JSON document about them.

    Args:
        data: a data set; splits without images have no pictures.
        out: folder for the files, see `check_request`. Pictures of an earlier inspection are replaced.
        limit: maximum number of images of each split, from 1 to `MAX_IMAGES`.
        seed: seed of the choice of images.
        force: whether the folder may hold other files.
        training: what training would make of the data; None leaves it out.
        findings: findings of lint, for the document; None leaves them out.
        progress: whether progress is shown.

    Raises:
        InputError: the limit is out of range, or the folder holds other files; nothing was written.

    Example:
        ``inspect_to_folder(ae.Dataset.read("balloon/", classes=["balloon"]), Path("inspection"))``
    """
    check_request(out, limit=limit, force=force)
    training = training or TrainingPreview()
    _spare_photographs(data, out)
    earlier = _earlier_files(out)
    # The document comes first, so that an inspection that was cut short can be repeated.
    unfinished = {"unfinished": True, "files": [path.relative_to(out).as_posix() for path in earlier]}
    write_text(out / DOCUMENT, json.dumps(unfinished))
    statistics = tuple(measure(split) for split in data.splits.values())
    plots = write_plots(statistics, out / "plots", input_size=training.input_size)
    pictures: dict[str, dict[str, list[Path]]] = {}
    shown, unreadable = dict[str, list[str]](), dict[str, list[tuple[str, str]]]()
    with progress_shown(progress):
        for split in data.splits.values():
            name = split.name
            some, alone = _draw_split(split, out / name, limit, seed)
            pictures[name] = _write_sheets(some, out / name) | ({"labelled": alone} if alone else {})
            shown[name] = [image.record.file_name for image in some.shown]
            unreadable[name] = list(some.unreadable)
        stages = [_write_stage(stage, out) for stage in training.batches()]
    done = Inspection(
        out,
        data_card(data),
        statistics,
        plots,
        pictures,
        shown,
        unreadable,
        stages,
        training.recipe,
        seed,
        training.refusal,
        findings,
    )
    # Pictures of images, splits and stages that are no longer shown.
    for path in set(earlier) - set(done.files):
        path.unlink(missing_ok=True)
    write_text(out / DOCUMENT, json.dumps(done.to_dict(), indent=2))
    return done


def plot_pngs(statistics: Sequence[SplitStatistics], *, input_size: int | None = None) -> dict[str, bytes]:
    """Return the plots of several splits as PNG files by name, without empty plots.

    Args:
        statistics: figures of the splits, which share each plot.
        input_size: side of the network's input in pixels; it adds an axis to the plot of box sizes.
    """
    figures: dict[str, Figure] = {}
    if any(s.objects for s in statistics):
        figures["objects_per_class"] = charts.class_chart(
            statistics[0].classes, {s.split: s.per_class for s in statistics}
        )
    if any(s.images for s in statistics):
        edges = count_edges(statistics)
        per_image = {s.split: histogram(s.per_image, edges) for s in statistics}
        figures["objects_per_image"] = charts.objects_per_image_chart(edges, per_image)
        figures["image_sizes"] = charts.image_size_chart({s.split: s.image_sizes for s in statistics})
    if any(s.objects for s in statistics):
        sizes, shares = {s.split: s.sizes for s in statistics}, {s.split: s.shares for s in statistics}
        figures["box_sizes"] = charts.size_chart(SIZE_EDGES, sizes, SHARE_EDGES, shares, input_size)
        ratios = {s.split: s.ratios for s in statistics}
        figures["box_aspect_ratios"] = charts.ratio_chart(RATIO_EDGES, ratios)
        filled = [s for s in statistics if s.objects]
        figures["box_places"] = charts.place_chart(
            {s.split: s.places for s in filled}, {s.split: s.centres for s in filled}
        )
    return {name: png_bytes(figure) for name, figure in figures.items()}


def write_plots(
    statistics: Sequence[SplitStatistics], folder: Path, *, input_size: int | None = None
) -> dict[str, Path]:
    """Write the plots of `plot_pngs` into a folder and return their paths by name."""
    written = {}
    for name, content in plot_pngs(statistics, input_size=input_size).items():
        written[name] = folder / f"{name}.png"
        write_bytes(written[name], content)
    return written


def _draw_split(split: Split, folder: Path, limit: int, seed: int) -> tuple[SplitPictures, list[Path]]:
    """Return images of a split for its sheets, and write a picture of each with its labels."""
    records = choose_images(split, limit, seed)
    cell = sheet_layout(len(records), records)[1]
    unreadable: list[tuple[str, str]] = []
    shown: list[LabelledImage] = []
    alone: list[Path] = []

    def leave_out(record: ImageRecord, error: InputError) -> None:
        unreadable.append((record.file_name, clause(error)))

    images = track(read_shown(records, leave_out), f"drawing {split.name}", total=len(records))
    for record, image, scale in images:
        shown.append(show(record, image, cell, split.classes, scale))
        side = max(*image.shape[:2], ENLARGED_TO)
        picture = show(record, image, (side, side), split.classes, scale).labelled_bgr
        stem = re.sub(r"[^\w.-]+", "_", Path(record.file_name).stem)[:60]
        alone.append(save_image(folder / "labelled" / f"{len(shown):02d}_{stem}.jpg", picture))
    return SplitPictures(split.name, len(split), tuple(shown), tuple(unreadable)), alone


def _write_sheets(pictures: SplitPictures, folder: Path) -> dict[str, list[Path]]:
    if not pictures.shown:
        return {}
    return {
        "images": [save_image(folder / "images.jpg", pictures.plain_grid())],
        "labels": [save_image(folder / "labels.jpg", pictures.labelled_grid())],
    }


def _write_stage(pictures: StagePictures, out: Path) -> dict[str, Any]:
    """Write the samples of a stage as PNG, which keeps each pixel, and describe them."""
    path = save_image(out / "batches" / f"stage{pictures.stage}.png", pictures.grid())
    return {
        "stage": pictures.stage,
        "epoch": pictures.epoch,
        "batch_size": pictures.batch_size,
        "title": pictures.title,
        "picture": str(path),
        "samples": list(pictures.captions),
    }


def _spare_photographs(data: Dataset, out: Path) -> None:
    """Refuse a folder that holds images of the data: a picture might replace one.

    Raises:
        InputError: it does.
    """
    folders = {image.path.parent for split in data.splits.values() for image in split.images}
    inside = [folder for folder in folders if out.resolve() in (folder.resolve(), *folder.resolve().parents)]
    if inside:
        raise InputError(f"{out} holds the images of {min(inside)}; choose another `out`.")


def _earlier_files(out: Path) -> list[Path]:
    """Return the pictures that an earlier inspection wrote into a folder."""
    try:
        names = json.loads((out / DOCUMENT).read_text("utf-8"))["files"]
        paths = [out / str(name) for name in names]
    except (OSError, ValueError, KeyError, TypeError):  # no document, or a file of another kind
        return []
    here = out.resolve()
    inside = [path for path in paths if here in path.resolve().parents and ".." not in path.parts]
    return [path for path in inside if path.suffix in (".jpg", ".png")]
