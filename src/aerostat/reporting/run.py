"""Chapters from the directory of a run alone, without its detector and its data."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from aerostat.datasets.summary import DataCard, SplitCard
from aerostat.errors import InputError
from aerostat.evaluation.coco import MAX_DETS, UNDEFINED, CocoResult
from aerostat.evaluation.table import text_table
from aerostat.images.read import decode_image
from aerostat.reporting.page import Card, Chapter, Figure, Fold, Table
from aerostat.runs.commands import PYTHON, Commands
from aerostat.runs.directory import Run
from aerostat.runs.metrics import best_of, is_number, lines_of
from aerostat.text import counted, listed
from aerostat.training.recipe import Recipe, read_recipe
from aerostat.weights import container, training_state

MAX_PREDICTIONS = 16
"""Images with detections that a page shows; the others are counted."""
MAX_CLASSES = 100
"""Rows of a table of classes. Of more classes, the most frequent or the worst are shown."""

MAX_REMARKS = 20
"""Rows of the table of warnings."""

NOTHING = "–"
_SIZES = "Sizes of objects are COCO's: small is below 32 × 32 px, large above 96 × 96 px."
_PRECISION = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "AP small",
    "ap_medium": "AP medium",
    "ap_large": "AP large",
}
_RECALL = {
    "ar1": "AR 1",
    "ar10": "AR 10",
    "ar100": "AR 100",
    "ar_small": "AR small",
    "ar_medium": "AR medium",
    "ar_large": "AR large",
}
FIGURES = _PRECISION | _RECALL
"""Keys of COCO's figures, with their names."""
MASKS = "mask_"
"""Before the keys of the figures of masks in the records of a run."""


@dataclass(frozen=True)
class Story:
    """All that the directory of a run holds, apart from weights and pictures.

    Args:
        run: the directory.
        recipe: resolved.
        environment: versions, machine and data; empty if they were not recorded.
        card: summary of the data; None if it was not recorded.
        train: records of iterations, in order.
        validations: records of validations, in order, without those whose AP is undefined.
        classes: names; empty if they are unknown.
        epoch: finished epochs.
        seconds: time that the run worked; 0 if it is unknown.
        finished: whether the run came to its end.
        remarks: (epoch, text) of warnings, and of differences where the run was resumed.
    """

    run: Run
    recipe: Recipe
    environment: Mapping[str, Any]
    card: DataCard | None
    train: Sequence[Mapping[str, Any]]
    validations: Sequence[Mapping[str, Any]]
    classes: Sequence[str]
    epoch: int
    seconds: float
    finished: bool
    remarks: Sequence[tuple[int, str]] = ()

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The validation with the highest AP, that of masks if there are any; the first of equals."""
        return best_of(self.validations)


def data_chapter(card: DataCard, figures: Sequence[Figure] = (), source: str = "") -> Chapter:
    """Return the chapter about a data set.

    Args:
        card: its summary.
        figures: pictures of it.
        source: a sentence about where it was read from.
    """
    count = len(card.classes)
    names = f": {', '.join(card.classes)}" if count <= 20 else ""
    text = f"{counted(count, 'class', 'classes')}{names}. {_SIZES}"
    shapes = [f"{s.name}: {s.shapes}." for s in card.splits if s.shapes]
    paragraphs = [source] * bool(source) + [" ".join([text, *shapes])]
    tables = [_split_table(card.splits), _class_table(card), _problem_table(card.splits)]
    return Chapter(
        "Data",
        paragraphs=paragraphs,
        tables=[table for table in tables if table.rows],
        figures=figures,
    )


def _split_table(splits: Sequence[SplitCard]) -> Table:
    header = ("split", "images", "empty", "objects", "small", "medium", "large", "crowd", "size in pixels")
    rows = []
    for s in splits:
        numbers = (s.images, s.images_without_objects, s.instances, s.small, s.medium, s.large, s.crowd)
        size = f"{s.width[0]}–{s.width[2]} × {s.height[0]}–{s.height[2]}"
        rows.append((s.name, *map(str, numbers), size))
    return Table(header, rows)


def _class_table(card: DataCard) -> Table:
    """Return the objects per class, without rows where there is only one class."""
    totals = {name: sum(s.instances_per_class[name] for s in card.splits) for name in card.classes}
    shown = list(totals) if len(totals) > 1 else []
    if len(shown) > MAX_CLASSES:
        shown = sorted(totals, key=lambda name: -totals[name])[:MAX_CLASSES]
    rows = [(name, *(str(s.instances_per_class[name]) for s in card.splits)) for name in shown]
    caption = "Objects per class" + _rest(len(totals), len(shown), "the commonest")
    return Table(("class", *(s.name for s in card.splits)), rows, caption)


def _problem_table(splits: Sequence[SplitCard]) -> Table:
    rows = [
        (
            p.kind,
            s.name,
            str(p.count),
            p.consequence,
            "; ".join(f"{x.file_name}: {x.detail}" for x in p.first),
        )
        for s in splits
        for p in s.problems
    ]
    return Table(("problem", "split", "count", "what was done", "the first"), rows, "Problems")


def read_story(run: Run) -> Story:
    """Return what the directory of a run holds.

    Raises:
        InputError: the directory is not a run, or a file in it cannot be read.
    """
    if not run.recipe.is_file():
        what = "has no recipe.toml" if run.path.is_dir() else "does not exist"
        raise InputError(f"{run.path} is not a run: it {what}; name the directory of a training.")
    recipe = read_recipe(run.recipe)
    try:
        lines = run.read_metrics() if run.metrics.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{run.metrics} cannot be read: {error}.") from None
    records = [line for line in lines if isinstance(line, dict) and is_number(line.get("epoch"))]
    train = [record for record in records if record.get("kind") == "train"]
    scored = [line for line in lines_of(lines, "val", "ap") if line["ap"] >= 0]
    environment = _read_environment(run)
    state = _read_state(run)
    position = _mapping(state.get("position"))
    classes = state.get("classes") or (list(_mapping(scored[-1].get("per_class"))) if scored else [])
    seen = max([int(r["epoch"]) for r in scored] + [int(r["epoch"]) - 1 for r in train], default=0)
    epoch = int(position.get("epoch", seen))
    return Story(
        run=run,
        recipe=recipe,
        environment=environment,
        card=_read_card(environment, run),
        train=train,
        validations=scored,
        classes=[str(name) for name in classes],
        epoch=epoch,
        seconds=float(position.get("seconds", 0.0)),
        finished=(epoch >= recipe.schedule.epochs or bool(position.get("stopped_early")))
        and not position.get("unvalidated"),
        remarks=[(int(r["epoch"]), text) for r in records for text in _remarks(r)],
    )


def _remarks(record: Mapping[str, Any]) -> list[str]:
    """Return the texts of a record that readers of a page should see."""
    if record.get("kind") == "warning":
        return [str(record.get("text"))]
    if record.get("kind") == "resume" and isinstance(record.get("differences"), list):
        return [f"resumed; differs from before: {text}" for text in record["differences"]]
    return []


def _read_environment(run: Run) -> Mapping[str, Any]:
    if not run.environment.is_file():
        return {}
    try:
        return _mapping(json.loads(run.environment.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{run.environment} is no readable JSON: {error}; remove it to go without."
        ) from None


def _read_card(environment: Mapping[str, Any], run: Run) -> DataCard | None:
    if "data_card" not in environment:
        return None
    try:
        return msgspec.convert(environment["data_card"], DataCard)
    except msgspec.ValidationError as error:
        raise InputError(
            f"Expected a data card in {run.environment}, found something else: {error}; remove it there."
        ) from None


def _read_state(run: Run) -> Mapping[str, Any]:
    """Return position and classes from the checkpoint, without its tensors; empty without a checkpoint."""
    if not run.checkpoint.is_file():
        return {}
    document = container.read_document(run.checkpoint, training_state.KEY, "the saved state of a run")
    return _mapping(document.get("tree"))


# ------------------------------------------------------------------------------------------------ chapters


def story_chapters(story: Story, commands: Commands = PYTHON) -> list[Chapter]:
    """Return the chapters that need the directory of a run alone.

    Chapters with nothing to show are left out. An unfinished run has no predictions, and one without a
    validation split has no evaluation.

    Args:
        story: the run.
        commands: what to type next, as the caller words it.
    """
    makers: tuple[Callable[[Story], Chapter | None], ...] = (
        partial(_summary, commands=commands),
        _data,
        _curves,
        _evaluation,
        _predictions,
        _recipe,
        _environment,
    )
    return [chapter for make in makers if (chapter := make(story)) is not None]


def title(story: Story) -> str:
    """Return the name of a run."""
    return story.run.path.resolve().name or str(story.run.path)


def subtitle(story: Story) -> str:
    """Return the network, its input and its classes in a line."""
    network = f"RTMDet-{story.recipe.model.size} at {story.recipe.data.input_size} px"
    if not story.classes:
        return network
    if len(story.classes) <= 5:
        return f"{network} for {', '.join(story.classes)}"
    return f"{network} for {len(story.classes)} classes"


def _summary(story: Story, commands: Commands) -> Chapter:
    run = story.run
    cards = [*(_ap_cards(story) or _loss_cards(story)), *_image_cards(story)]
    if story.seconds:
        cards.append(Card("Time", _duration(story.seconds), _speed(story)))
    files = {
        run.best: "averaged weights of the best epoch",
        run.last: "averaged weights of the last epoch",
        run.checkpoint: "the whole state, to resume from",
        run.metrics: "every iteration and validation",
        run.recipe: "the resolved recipe",
        run.environment: "versions, machine and data",
    }
    rows = [(path.name, _size(path), what) for path, what in files.items() if path.is_file()]
    return Chapter(
        "Summary",
        cards=cards,
        paragraphs=[_state_of_things(story)],
        commands=_next_steps(story, commands),
        tables=[*_remark_tables(story), Table(("file", "size", "what it is"), rows, "Files")],
    )


def _remark_tables(story: Story) -> list[Table]:
    """Return a table of the remarks, if there are any."""
    shown = story.remarks[:MAX_REMARKS]
    rows = [(str(epoch), text) for epoch, text in shown]
    caption = "Warnings" + _rest(len(story.remarks), len(shown), "the first")
    return [Table(("epoch", "what"), rows, caption)] if rows else []


def _ap_cards(story: Story) -> list[Card]:
    if (best := story.best) is None:
        return []
    of_masks = Card("Mask AP", three_digits(best.get("mask_ap")), "COCO, IoU of masks")
    return [
        *([of_masks] if "mask_ap" in best else []),
        Card("AP", three_digits(best["ap"]), "COCO, IoU 0.50 to 0.95"),
        Card("AP50", three_digits(best.get("ap50")), "at IoU 0.50"),
        Card("Best epoch", str(best["epoch"]), f"of {story.recipe.schedule.epochs}"),
    ]


def _loss_cards(story: Story) -> list[Card]:
    cards = [Card("Epochs", str(story.epoch), f"of {story.recipe.schedule.epochs}")]
    epoch = story.train[-1]["epoch"] if story.train else 0
    losses = [float(r["loss"]) for r in story.train if r["epoch"] == epoch and is_number(r.get("loss"))]
    if losses:
        cards.append(Card("Loss", f"{sum(losses) / len(losses):.3f}", f"mean of epoch {epoch}"))
    return cards


def _image_cards(story: Story) -> list[Card]:
    if story.card is not None:
        splits = [split for split in story.card.splits if split.images]
        note = ", ".join(f"{split.images} {split.name}" for split in splits)
        return [Card("Images", str(sum(split.images for split in splits)), note)]
    counts = _validation_counts(story)
    if "images" not in counts:
        return []
    objects = f", {counted(counts['instances'], 'object')}" if "instances" in counts else ""
    return [Card("Images", str(counts["images"]), f"for validation{objects}")]


def _validation_counts(story: Story) -> dict[str, int]:
    """Return how many images and instances the last validation saw, as far as it tells."""
    last = story.validations[-1] if story.validations else {}
    return {key: int(last[key]) for key in ("images", "instances") if is_number(last.get(key))}


def _speed(story: Story) -> str:
    """Return the middle speed of the epochs, as their last iterations saw it."""
    by_epoch = {
        r["epoch"]: float(r["images_per_second"])
        for r in story.train
        if is_number(r.get("images_per_second"))
    }
    return f"{np.median(list(by_epoch.values())):.0f} images/s" if by_epoch else ""


def _state_of_things(story: Story) -> str:
    recipe, run, best = story.recipe, story.run, story.best
    weights = recipe.model.weights
    start = f"starting from {Path(weights).name}" if weights else "from fresh weights"
    if recipe.model.freeze == "backbone":
        start += ", its backbone frozen"
    if not story.epoch:
        return f"The first of {counted(recipe.schedule.epochs, 'epoch')}, {start}, is not finished yet."
    text = f"Trained for {story.epoch} of {counted(recipe.schedule.epochs, 'epoch')}, {start}"
    if not story.finished:
        text += "; the run has not finished"
    elif story.epoch < recipe.schedule.epochs:
        patience = counted(recipe.schedule.patience, "validation")
        text += f"; it stopped early because AP had not risen for {patience}"
    text += "."
    if best is not None:
        text += f" The figures are those of epoch {best['epoch']}"
        text += f", whose weights are in {run.best.name}." if run.best.is_file() else "."
    elif story.finished:
        text += " Nothing was validated, so there is no AP and only the last weights are kept."
    else:
        text += " Nothing has been validated yet."
    return text


def _next_steps(story: Story, commands: Commands) -> list[str]:
    run, steps = story.run, []
    if not story.finished and run.checkpoint.is_file():
        steps.append(commands.resume(run.path))
    if run.best.is_file() or run.last.is_file():
        steps += commands.next_steps(run.path, _mapping(story.environment.get("data")))
    return steps


def _data(story: Story) -> Chapter | None:
    source = _mapping(story.environment.get("data"))
    if story.card is not None:
        chapter = data_chapter(
            story.card, source=f"Read from {source['path']}." if source.get("path") else ""
        )
        found = _lint_table(_mapping(story.environment.get("lint")))
        return replace(chapter, tables=[*chapter.tables, found]) if found.rows else chapter
    names = {"path": "read from", "class_attribute": "class attribute", "images": "images from"}
    rows = [(names.get(key, key), _plain(value)) for key, value in source.items() if value]
    if story.classes:
        rows = [row for row in rows if row[0] != "classes"]
        rows.append((counted(len(story.classes), "class", "classes"), listed(story.classes, MAX_CLASSES)))
    seen = {"images": "images for validation", "instances": "objects on them"}
    rows += [(seen[key], str(number)) for key, number in _validation_counts(story).items()]
    return Chapter("Data", tables=[Table(("", "as recorded"), rows)]) if rows else None


def _lint_table(lint: Mapping[str, Any]) -> Table:
    """Return what lint found before the run, a row for each kind."""
    header = ("severity", "kind", "count", "what training does", "the first")
    codes, rows = _mapping(lint.get("codes")), dict[tuple[str, str], tuple[str, ...]]()
    findings = lint.get("findings")
    for finding in map(_mapping, findings if isinstance(findings, list) else ()):
        kind = str(finding.get("severity")), str(finding.get("code"))
        first = f"{finding.get('file')}: {finding.get('wrong')}"
        rows.setdefault(kind, (*kind, _plain(codes.get(kind[1])), _plain(finding.get("training")), first))
    return Table(header, list(rows.values()), "What lint found before the run")


def _curves(story: Story) -> Chapter | None:
    captions = {
        "ap": "AP on the validation images, by epoch",
        "loss": "Training loss and its parts, by epoch",
        "lr": "Learning rate, by epoch",
    }
    pictures, notes = _pictures(story.run.plots, (".png",))
    known = [name for name in captions if name in pictures]
    names = known + [name for name in pictures if name not in captions]
    figures = []
    for name in names:
        caption = captions.get(name, name)
        figures.append(Figure(pictures[name], caption, f"Plot: {caption}", wide=name == "ap"))
    return Chapter("Curves", notes, figures) if figures or notes else None


def _evaluation(story: Story) -> Chapter | None:
    best = story.best
    if best is None:
        return None
    last = story.validations[-1]
    masks = any("mask_ap" in record for record in story.validations)
    shown = {f"best, epoch {best['epoch']}": best, f"last, epoch {last['epoch']}": last}
    if best is last:
        shown = {f"epoch {best['epoch']}, best and last": best}
    tables = [
        Table(
            ("weights", *(name.removeprefix(f"{kind} ") for name in names.values())),
            [
                (title, *(three_digits(record.get(prefix + key)) for key in names))
                for title, record in shown.items()
            ],
            caption + " of masks" * bool(prefix),
        )
        for prefix in (("", MASKS) if masks else ("",))
        for kind, caption, names in (
            ("AP", "Average precision", _PRECISION),
            ("AR", "Average recall", _RECALL),
        )
    ]
    by_class = _ap_by_class(shown)
    text = "Figures by the COCO protocol, with the averaged weights, on the validation split."
    if masks:
        text += " The best epoch has the highest AP of masks."
    if any(three_digits(record.get(key)) == NOTHING for record in shown.values() for key in FIGURES):
        text += " A dash stands where there is nothing to find."
    folded = [
        Fold(f"Epoch {best['epoch']} in COCO's own lines" + ", masks" * bool(prefix), lines)
        for prefix in ("", MASKS)
        if (lines := _coco_lines(best, prefix))
    ]
    columns = {"ap": "AP", "ap50": "AP50", "ap75": "AP75"} | ({"mask_ap": "mask AP"} if masks else {})
    history = text_table(
        ("epoch", *columns.values()),
        [(str(r["epoch"]), *(three_digits(r.get(k)) for k in columns)) for r in story.validations],
    )
    return Chapter(
        "Evaluation",
        paragraphs=[text],
        tables=[*tables, by_class] if by_class.rows else tables,
        folds=[*folded, Fold("Every validation", history)],
    )


def _ap_by_class(shown: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the AP of each class, without rows where there is only one class."""
    columns = [_mapping(record.get("per_class")) for record in shown.values()]
    names = list(columns[0]) if len(columns[0]) > 1 else []
    if len(names) > MAX_CLASSES:
        lowest = {name: value for name, value in columns[0].items() if is_number(value)}
        names = sorted(lowest, key=lambda name: lowest[name])[:MAX_CLASSES]
    rows = [(name, *(three_digits(column.get(name)) for column in columns)) for name in names]
    return Table(("class", *shown), rows, "AP by class" + _rest(len(columns[0]), len(names), "the lowest"))


def _coco_lines(record: Mapping[str, Any], prefix: str = "") -> str:
    """Return COCO's twelve lines, or nothing if the record lacks one of the figures."""
    figures = {key: record.get(prefix + key) for key in FIGURES}
    if not {prefix + key for key in FIGURES} <= set(record):
        return ""
    rest: dict[str, Any] = {"per_class": (), "images": 0, "instances": 0, "detections": 0}
    rest |= {key: float(value) if is_number(value) else UNDEFINED for key, value in figures.items()}
    result = CocoResult(max_dets=tuple(record.get("max_dets") or MAX_DETS), **rest)
    return result.render().split("\n\n")[0]  # the classes and counts come after a blank line


def _predictions(story: Story) -> Chapter | None:
    folder = story.run.predictions
    pictures, notes = _pictures(folder, (".jpg", ".jpeg", ".png"), MAX_PREDICTIONS)
    if not pictures and not notes:
        return None
    which = "best" if story.run.best.is_file() else "last"
    text = f"Images of the validation split with the boxes that the {which} weights find, and their scores."
    figures = [Figure(content, name, f"Detections on {name}") for name, content in pictures.items()]
    return Chapter("Predictions", [text, *notes], figures)


def _pictures(folder: Path, suffixes: Sequence[str], most: int = 100) -> tuple[dict[str, bytes], list[str]]:
    """Return the first pictures of a folder by stem, and a sentence about each that cannot be shown."""
    found = folder.iterdir() if folder.is_dir() else ()
    paths = sorted(p for p in found if p.suffix.lower() in suffixes and not p.name.startswith("."))
    pictures: dict[str, bytes] = {}
    notes = []
    for path in paths[:most]:
        try:
            content = path.read_bytes()
            decode_image(content, str(path))
        except (OSError, InputError):
            notes.append(f"{path.name} cannot be read and is left out.")
        else:
            pictures[path.stem] = content
    if len(paths) > most:
        notes.append(f"{len(paths) - most} more are in {folder}.")
    return pictures, notes


def _recipe(story: Story) -> Chapter:
    chosen, published = story.recipe.to_dict(), Recipe().to_dict()
    rows = [
        (f"{section}.{key}", _plain(value), _plain(published[section][key]))
        for section, fields in chosen.items()
        for key, value in fields.items()
        if value != published[section][key]
    ]
    text = (
        "Where the recipe differs from the defaults, which are the published ones of RTMDet-tiny:"
        if rows
        else "Every field has its default, the published value of RTMDet-tiny."
    )
    tables = [Table(("field", "this run", "default"), rows)] if rows else []
    written = story.run.recipe.is_file()  # a work directory of MMEngine has none
    whole = (story.run.recipe.read_text("utf-8") if written else story.recipe.to_toml()).strip()
    return Chapter("Recipe", paragraphs=[text], tables=tables, folds=[Fold("The whole recipe, TOML", whole)])


def _environment(story: Story) -> Chapter | None:
    known = story.environment
    if not known:
        return None
    rows = [
        (key, _plain(known[key])) for key in ("python", "platform", "processors", "threads") if key in known
    ]
    if "gpus" in known:
        rows.append(("GPU", _plain(known["gpus"]) or "none"))
    memory = [float(r["memory_mb"]) for r in story.train if is_number(r.get("memory_mb"))]
    if memory and max(memory) > 0:
        rows.append(("peak memory", f"{max(memory):.0f} MB"))
    rows += [(name, _plain(version)) for name, version in _mapping(known.get("packages")).items()]
    command = known.get("command")
    if not isinstance(command, list) or not command:
        return Chapter("Environment", tables=[Table(("", ""), rows)])
    program = "aerostat" if Path(str(command[0])).stem in ("aerostat", "__main__") else str(command[0])
    commands = [shlex.join([program, *map(str, command[1:])])]
    return Chapter("Environment", ["The run was started by:"], [], [Table(("", ""), rows)], commands)


# ------------------------------------------------------------------------------------------------ wording


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def three_digits(value: object) -> str:
    """Return an AP or AR with three digits, or a dash where it is undefined."""
    return f"{value:.3f}" if is_number(value) and value >= 0 else NOTHING


def _plain(value: object) -> str:
    """Return a value of the recipe or the environment as a person writes it."""
    match value:
        case None | "":
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case list() | tuple():
            return ", ".join(map(_plain, value))
    return str(value)


def _rest(total: int, shown: int, which: str) -> str:
    return f": {which} {shown} of {total}" if shown < total else ""


def _duration(seconds: float) -> str:
    """Return a time in few characters: 59 s, 7.2 min, 1.5 h."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3570 else f"{seconds / 3600:.1f} h"


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
