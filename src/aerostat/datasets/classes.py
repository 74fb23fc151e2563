"""The classes of a data set: agreeing on them between splits, choosing some of them, merging them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from aerostat.datasets import formats
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import OtherClassesError, Problem, Split
from aerostat.errors import InputError, nearest
from aerostat.text import counted, listed


def check_class_names(options: ReadOptions) -> None:
    """Refuse invalid class names.

    Raises:
        InputError: a name is empty or given twice, or options contradict each other.
    """
    for option, names in (("classes", options.classes), ("only_classes", options.only_classes)):
        if names is None:
            continue
        if not names or not all(name.strip() for name in names):
            raise InputError(
                f"Expected at least one class name for `{option}`, found an empty one; leave it out or name "
                "it."
            )
        if len(set(names)) < len(names):
            raise InputError(
                f"Expected different class names for `{option}`, found one twice: {', '.join(names)}."
            )
    if options.classes is not None and options.only_classes is not None:
        raise InputError("`classes` and `only_classes` exclude each other; give one of them.")
    merged = [name for old in (options.merge_classes or {}).values() for name in old]
    if len(set(merged)) < len(merged):
        raise InputError(
            f"Expected each class once in `merge_classes`, found one twice: {', '.join(merged)}."
        )


def agree_on_classes(splits: Sequence[Split], options: ReadOptions) -> dict[str, Split]:
    """Return the splits by name; their labels index the same classes.

    Raises:
        InputError: the splits differ, there is no class, or a class that was asked for is not there.
    """
    if options.merge_classes:
        splits = _merged(splits, options.merge_classes)
    classes = _agreed(splits, options.classes)
    agreed = [_relabelled(split, classes) for split in splits]
    if options.only_classes is not None:
        agreed = _only(agreed, options.only_classes)
    return {split.name: split for split in agreed}


def _agreed(splits: Sequence[Split], classes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the classes of all splits.

    Files of some formats state their classes, so all must state the same. Files of others only show the
    names in use, so one split may lack some that another has. The union of differing sets is never guessed:
    it would hide misspellings.

    Raises:
        InputError: the splits differ, or there is no class.
    """
    if classes is not None:
        return tuple(classes)
    stated = any((found := formats.format_of(split)) and found.states_classes for split in splits)
    largest = max(splits, key=lambda split: len(split.classes))  # the first of the largest
    there = set(largest.classes)
    for split in splits:
        here = set(split.classes)
        missing = [name for name in split.classes if name not in there]
        absent = [name for name in largest.classes if name not in here]
        if missing or (stated and absent):
            raise InputError(
                f"The classes differ between the splits: {_difference(largest, absent)}, "
                f"{_difference(split, missing)}; correct the names or list all of them with "
                f"`classes`{_likeness([*missing, *absent])}."
            )
    if not largest.classes:
        names = ", ".join(split.name for split in splits)
        raise InputError(
            f"Expected at least one class, found none in the annotations of {names}; annotate an object."
        )
    return largest.classes


def alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return groups of names that differ in case, blanks, hyphens, underscores or a plural s only.

    >>> alike(["Helmet", "glass", "helmets ", "hard-hat", "hard hat"])
    [('Helmet', 'helmets '), ('hard-hat', 'hard hat')]
    """
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        key = re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name).casefold()) or name
        if len(key) > 3 and key.endswith("s") and not key.endswith("ss"):
            key = key[:-1]
        groups.setdefault(key, []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _likeness(names: Iterable[str]) -> str:
    """Return a clause about names that look like one class, to be put behind a sentence without its end."""
    groups = alike(names)
    if not groups:
        return ""
    return f"; {' and '.join(map(repr, groups[0]))} look like one class, which `merge_classes` makes of them"


def _difference(split: Split, names: Iterable[str]) -> str:
    alone = listed(map(repr, names), 10)
    return f"only {split.name} has {alone}" if alone else f"{split.name} has no other"


def _relabelled(split: Split, classes: tuple[str, ...]) -> Split:
    """Return the split with labels that index `classes`; category ids that count go with their names."""
    if split.classes == classes:
        return split
    ids = tuple(range(1, len(classes) + 1))
    found = formats.format_of(split)
    if found and found.states_classes and found.keeps_category_ids:  # all splits have the same names
        id_of = dict(zip(split.classes, split.category_ids, strict=True))
        ids = tuple(id_of[name] for name in classes)
    return split.relabelled(classes, ids)


def _merged(splits: Sequence[Split], merge: Mapping[str, Sequence[str]]) -> list[Split]:
    """Return the splits with merged classes. A new class stands where the first of its old ones stood.

    Raises:
        InputError: no split has one of the old names.
    """
    known = list(dict.fromkeys(name for split in splits for name in split.classes))
    old = {name: new for new, names in merge.items() for name in names}
    _refuse_unknown(old, known, "merge_classes")
    return [_merged_split(split, old) for split in splits]


def _merged_split(split: Split, old: Mapping[str, str]) -> Split:
    names = [old.get(name, name) for name in split.classes]
    classes = tuple(dict.fromkeys(names))
    id_of = dict(reversed(list(zip(names, split.category_ids, strict=True))))
    place = {name: label for label, name in enumerate(classes)}
    label_of = np.asarray([place[name] for name in names], np.int64)
    instances = split.images.instances
    images = replace(split.images, instances=instances.relabelled(label_of[instances.labels]))
    return replace(split, classes=classes, category_ids=tuple(id_of[name] for name in classes), images=images)


def _only(splits: Sequence[Split], names: Sequence[str]) -> list[Split]:
    """Return the splits with objects of some classes only; images stay, and what is left out is counted.

    Raises:
        InputError: the data have no such class.
    """
    _refuse_unknown(names, splits[0].classes, "only_classes")
    return [_only_split(split, names) for split in splits]


def _only_split(split: Split, names: Sequence[str]) -> Split:
    label_of = np.full(len(split.classes), -1)
    label_of[[split.classes.index(name) for name in names]] = np.arange(len(names))
    images = split.images
    labels = label_of[images.instances.labels]
    kept = labels >= 0
    left_out = Counter(split.classes[label] for label in images.instances.labels[~kept].tolist())
    counts = np.bincount(images.places[kept], minlength=len(images))
    chosen = replace(
        images,
        instances=images.instances.chosen(np.flatnonzero(kept)).relabelled(labels[kept]),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )
    problems = [
        Problem(split.name, "", "class left out", f"{counted(count, 'object')} of the class {name!r}")
        for name, count in left_out.items()
    ]
    ids = tuple(split.category_ids[split.classes.index(name)] for name in names)
    return replace(
        split, classes=tuple(names), category_ids=ids, images=chosen, problems=(*split.problems, *problems)
    )


def _refuse_unknown(names: Iterable[str], known: Sequence[str], option: str) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise OtherClassesError(
            f"The data have no class {unknown[0]!r} (`{option}`); they have {listed(map(repr, known), 10)}."
            f"{nearest(unknown[0], known)}"
        )
