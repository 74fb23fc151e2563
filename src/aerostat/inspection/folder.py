"""An inspection on disk: sheets of pictures for each split, plots, and one JSON document about them."""

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
from aerostat.progress import track
from aerostat.text import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOCUMENT = "inspection.json"
"""Everything that was found and written; a folder with it is an inspection and may be made anew."""
MAX_IMAGES = 1000
"""The largest sheet: 32 by 32 pictures."""
ENLARGED_TO = 640
"""Pictures that stand alone have at least so many pixels along their longer side."""


@dataclass(frozen=True)
class Inspection:
    """What was found and written.

    Args:
        out: the folder.
        card: of the data set.
        statistics: of each split.
        plots: written, by name.
        pictures: of each split, written: ``images``, ``labels`` and ``labelled``, a picture of each image.
        shown: of each split, the images in the pictures.
        unreadable: of each split, images left out of the pictures, with the reason.
        batches: of each stage of training, its picture and what is on it.
        recipe: that the batches follow; None without batches.
        seed: of the choice of images.
        refusal: what `train` would refuse the data for; an empty text if nothing.
        findings: of lint; None if nobody looked.
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
        """Every picture that was written."""
        by_split = [path for kinds in self.pictures.values() for paths in kinds.values() for path in paths]
        return [*by_split, *(Path(batch["picture"]) for batch in self.batches), *self.plots.values()]

    def to_dict(self) -> dict[str, Any]:
        """Return the inspection for JSON."""
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

    def lines(self) -> list[str]:
        """Return what was written, a line each."""
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
    """Refuse what an inspection cannot do, before the data are read, which may take long.

    Args:
        out: the folder; it may be missing, empty, or hold an earlier inspection.
        limit: images of each split, from 1 to `MAX_IMAGES`.
        force: allow a folder that holds other files, which are kept.

    Raises:
        InputError: the limit is out of range, or something else stands at `out`.
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
    batches: Callable[[], Sequence[StagePictures]] | None = None,
    input_size: int | None = None,
    recipe: Mapping[str, Any] | None = None,
    refusal: str = "",
    findings: LintReport | None = None,
) -> Inspection:
    """Write pictures and plots of a data set.

    Args:
        data: any; splits without images have no pictures.
        out: folder to write to, see `check_request`. Pictures of an earlier inspection are replaced.
        limit: at most so many images of each split, from 1 to `MAX_IMAGES`.
        seed: of the choice of images.
        force: write into a folder that holds something else.
        batches: gives the training batches as pictures, asked when the splits are done; None for none.
        input_size: side of the network's input in pixels, for the plot of box sizes.
        recipe: that the batches follow, for the document.
        refusal: what `train` would refuse the data for, for the document.
        findings: of lint, for the document.

    Raises:
        InputError: the limit is out of range, or the folder holds something else; nothing was written.
    """
    check_request(out, limit=limit, force=force)
    _spare_photographs(data, out)
    earlier = _earlier_files(out)
    # From the first picture on the folder is known as an inspection, so that one cut short can be repeated.
    unfinished = {"unfinished": True, "files": [path.relative_to(out).as_posix() for path in earlier]}
    write_text(out / DOCUMENT, json.dumps(unfinished))
    statistics = tuple(measure(split) for split in data.splits.values())
    plots = write_plots(statistics, out / "plots", input_size=input_size)
    pictures: dict[str, dict[str, list[Path]]] = {}
    shown, unreadable = dict[str, list[str]](), dict[str, list[tuple[str, str]]]()
    for split in data.splits.values():
        some, alone = _draw_split(split, out / split.name, limit, seed)
        pictures[split.name] = _write_sheets(some, out / split.name) | ({"labelled": alone} if alone else {})
        shown[split.name] = [image.record.file_name for image in some.shown]
        unreadable[split.name] = list(some.unreadable)
    stages = [_write_stage(stage, out) for stage in (batches() if batches else ())]
    done = Inspection(
        out,
        data_card(data),
        statistics,
        plots,
        pictures,
        shown,
        unreadable,
        stages,
        recipe,
        seed,
        refusal,
        findings,
    )
    for path in set(earlier) - set(done.files):
        path.unlink(missing_ok=True)  # of images, splits and stages that are no longer shown
    write_text(out / DOCUMENT, json.dumps(done.to_dict(), indent=2))
    return done


def plot_pngs(statistics: Sequence[SplitStatistics], *, input_size: int | None = None) -> dict[str, bytes]:
    """Return the plots of some splits as PNG files by name, without those that would be empty.

    Args:
        statistics: of the splits, which are drawn together.
        input_size: side of the network's input in pixels; adds an axis of box sizes there.
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
    """Return some images of a split for its sheets; each one is also written by itself, with its labels."""
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
    """Write the samples of a stage, as PNG so that the pixels stay what they are, and tell about them."""
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
    """Refuse a folder in which images of the data stand: a picture might take the place of one.

    Raises:
        InputError: naming the folder.
    """
    folders = {image.path.parent for split in data.splits.values() for image in split.images}
    inside = [folder for folder in folders if out.resolve() in (folder.resolve(), *folder.resolve().parents)]
    if inside:
        raise InputError(f"{out} holds the photographs of {min(inside)} themselves; choose another `out`.")


def _earlier_files(out: Path) -> list[Path]:
    """Return the pictures that an earlier inspection wrote into a folder."""
    try:
        names = json.loads((out / DOCUMENT).read_text("utf-8"))["files"]
        paths = [out / str(name) for name in names]
    except (OSError, ValueError, KeyError, TypeError):  # none, or none of ours: nothing is known to be old
        return []
    here = out.resolve()
    inside = [path for path in paths if here in path.resolve().parents and ".." not in path.parts]
    return [path for path in inside if path.suffix in (".jpg", ".png")]
