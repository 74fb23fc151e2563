"""The file that lists data sets: what is trained on, from which weights, and what is scored."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from aerostat.datasets.dataset import Dataset, read_dataset
from aerostat.datasets.origin import ReadOptions
from aerostat.errors import InputError, nearest
from aerostat.files import file_stem
from aerostat.scenes.balloons import write_balloons
from aerostat.training.plan import Plan, TrainRequest, plan


@dataclass(frozen=True)
class Drawn:
    """Drawn scenes in place of a folder; training and test may show other places.

    Args:
        train, val, test: numbers of scenes. Those of val are drawn as those of train are.
        size: width and height in pixels.
        seed: of the training scenes; the test scenes have the next one.
        backdrops: places of the training scenes; empty for all.
        test_backdrops: places of the test scenes; empty for all.
    """

    train: int = 48
    val: int = 16
    test: int = 0
    size: tuple[int, int] = (640, 480)
    seed: int = 0
    backdrops: tuple[str, ...] = ()
    test_backdrops: tuple[str, ...] = ()

    def write(self, folder: Path) -> Path:
        """Write the scenes into a folder, unless they are there, and return it."""
        if (folder / "complete").is_file():
            return folder
        write_balloons(
            folder, train=self.train, val=self.val, size=self.size, seed=self.seed, backdrops=self.backdrops
        )
        if self.test:
            unseen, places = folder / "unseen", self.test_backdrops
            write_balloons(
                unseen, train=self.test, val=0, size=self.size, seed=self.seed + 1, backdrops=places
            )
            (unseen / "train").rename(folder / "test")
            (unseen / "val" / "via_region_data.json").unlink()
            (unseen / "val").rmdir()
            unseen.rmdir()
        (folder / "complete").touch()
        return folder


@dataclass(frozen=True)
class Entry:
    """One data set of the file.

    Args:
        name: in tables and of its folder; by default that of the path.
        path: of the data, relative to the file; "" for drawn scenes.
        drawn: scenes to draw in place of a path.
        classes, images, format: as `train` takes them.
        val: share of the images to hold out where the data have no split for validation.
        score_on: the split that is scored; "" for the one that `train` validates on.
        seeds: of the runs; a number stands for 0 up to it.
        model, weights, masks: as `train` takes them; None leaves the choice to it.
        recipe: values that override those that `train` chooses: section -> key -> value.
    """

    name: str = ""
    path: str = ""
    drawn: Drawn | None = None
    classes: tuple[str, ...] = ()
    images: str = ""
    format: str = ""
    val: float | None = None
    score_on: str = ""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    model: str | None = None
    weights: str | None = None
    masks: bool | None = None
    recipe: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return a text that differs for another request; runs of equal keys are averaged."""
        asked = json.dumps({**asdict(self), "seeds": None}, sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()[:10]

    def request(self, seed: int, beside: Path) -> TrainRequest:
        """Return what is asked of the training of one seed; paths are relative to `beside`."""
        values: dict[str, dict[str, Any]] = {section: dict(v) for section, v in self.recipe.items()}
        values.setdefault("run", {})["seed"] = seed
        if self.masks is not None:
            values.setdefault("model", {})["masks"] = self.masks
        weights = self.weights
        if weights and (beside / weights).exists():  # else the name of published weights
            weights = str((beside / weights).resolve())
        return TrainRequest(model=self.model, weights=weights, values=values, val=self.val)

    def read(self, beside: Path, scenes: Path) -> Dataset:
        """Return the data; paths are relative to `beside`, and scenes are drawn into `scenes`.

        Raises:
            InputError: nothing usable is there.
        """
        classes = self.classes or (("balloon",) if self.drawn else None)
        options = ReadOptions(
            classes=classes,
            images=(beside / self.images).resolve() if self.images else None,
            from_format=self.format or None,
        )
        path = self.drawn.write(scenes) if self.drawn else (beside / self.path).resolve()
        return read_dataset(path, options)

    def scored(self, planned: Plan) -> str:
        """Return the name of the split that is scored.

        Raises:
            InputError: the data have no such split, or it has no objects.
        """
        found = planned.val_split.name if planned.val_split else ""
        name = self.score_on or found
        if not name:
            raise InputError(f"{self.name}: no image is left to score on; state `val` or `score_on`.")
        if not planned.data.split(name).box_count:
            raise InputError(f"{self.name}: the split {name!r} has no object to score on.")
        return name


def read_config(path: Path) -> list[Entry]:
    """Return the data sets that a TOML file lists.

    Raises:
        InputError: it cannot be read, or says something that is not known; in one sentence.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML file ({error}).") from None
    tables = content.pop("dataset", None)
    if content or not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        found = f"found {next(iter(content))!r}" if content else "found none"
        raise InputError(f"{path}: expected tables [[dataset]] and nothing else, {found}.")
    entries = [_entry(table, f"{path}, data set {i}") for i, table in enumerate(tables, 1)]
    names = [entry.name for entry in entries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: two data sets have the name {twice!r}; state another `name` for one.")
    return entries


def _entry(table: dict[str, Any], where: str) -> Entry:
    values = _typed(Entry, table, where)
    if "drawn" in values:
        values["drawn"] = Drawn(**_typed(Drawn, values["drawn"], f"{where}, drawn"))
    entry = Entry(**values)
    if bool(entry.path) == bool(entry.drawn):
        raise InputError(f"{where}: expected either `path` or `drawn`.")
    name = entry.name or Path(entry.path).name or "drawn"
    if name != file_stem(name) or not entry.seeds or len(set(entry.seeds)) < len(entry.seeds):
        raise InputError(
            f"{where}: expected a `name` that can be that of a folder and different `seeds`, "
            f"found {name!r} and {list(entry.seeds)}."
        )
    if not all(isinstance(part, dict) for part in entry.recipe.values()):
        raise InputError(f"{where}: expected `recipe` as sections with values, such as schedule.epochs = 5.")
    return replace(entry, name=name)


_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "path", "images", "format", "score_on", "model", "weights"), (str,)),
    **dict.fromkeys(("drawn", "recipe"), (dict,)),
    **dict.fromkeys(("train", "test", "seed"), (int,)),
    "val": (int, float),
    "masks": (bool,),
    "seeds": (int, list),
    **dict.fromkeys(("classes", "size", "backdrops", "test_backdrops"), (list,)),
}
_ITEMS = {"classes": str, "backdrops": str, "test_backdrops": str, "size": int, "seeds": int}


def _typed(kind: type, table: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the values of a table, lists as tuples, after checking names and types."""
    known = [f.name for f in fields(kind)]
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            raise InputError(
                f"{where}: unknown key {name!r}; known are {', '.join(known)}.{nearest(name, known)}"
            )
        kinds = _KINDS[name]
        items = value if isinstance(value, list) else []
        wrong = any(type(item) is not _ITEMS.get(name) for item in items)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds) or wrong:
            raise InputError(f"{where}: `{name}` cannot be {value!r}.")
        values[name] = tuple(value) if isinstance(value, list) else value
    if isinstance(values.get("seeds"), int):
        values["seeds"] = tuple(range(values["seeds"]))
    if "size" in values and len(values["size"]) != 2:
        raise InputError(f"{where}: expected `size` as [width, height], found {list(values['size'])}.")
    return values


def checked(entry: Entry, beside: Path, scenes: Path) -> tuple[Dataset, Plan, str]:
    """Return the data of an entry, what `train` would do with them, and the split that is scored.

    Raises:
        InputError: they cannot be read, or `train` refuses them; the sentence begins with the name.
    """
    try:
        data = entry.read(beside, scenes)
        planned = plan(data, entry.request(entry.seeds[0], beside))
        return data, planned, entry.scored(planned)
    except InputError as error:
        sentence = str(error)
        raise InputError(
            sentence if sentence.startswith(entry.name) else f"{entry.name}: {sentence}"
        ) from None
