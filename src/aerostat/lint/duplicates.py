"""Images that are there twice, nearly twice, or show the same scene."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from aerostat.lint.files import ImageFile, name_of, read_again
from aerostat.lint.listing import Finding, finding
from aerostat.lint.similarity import (
    COMMON_FEATURES,
    Features,
    common_features,
    features,
    like_colours,
    near_pairs,
)
from aerostat.progress import track

MAX_SCENES = 500
"""Maximum number of pairs with similar colours whose details are compared; an image takes 0.2 s."""

Scenes = Literal["none", "across splits", "all"]
"""Which images are looked through for the same scene: none, those of different splits, or all."""


@dataclass(frozen=True, slots=True)
class Similar:
    """Which images are alike. Images are named by their places in a list of files.

    Args:
        same: place and all places of the same bytes or pixels, with what they share, a clause.
        near: pairs of nearly the same images.
        scenes: pairs that show one scene, with their number of common details.
    """

    same: tuple[tuple[int, tuple[int, ...], str], ...]
    near: tuple[tuple[int, int], ...]
    scenes: tuple[tuple[int, int, int], ...]

    def pairs(self) -> list[tuple[int, int]]:
        """Return all pairs of images that are alike in any way."""
        same = [(group[0], place) for place, group, _ in self.same]
        return [*same, *self.near, *((a, b) for a, b, _ in self.scenes)]


@dataclass(slots=True)
class SceneMemory:
    """Details of images and what their comparison gave, kept for the next search among the same files."""

    details: dict[int, Features | None] = field(default_factory=dict)
    common: dict[tuple[int, int], int] = field(default_factory=dict)


def find_similar(files: Sequence[ImageFile], scenes: Scenes, memory: SceneMemory | None = None) -> Similar:
    """Return which images are alike.

    Args:
        files: with what is known of their bytes and pixels.
        scenes: which images are looked through for the same scene.
        memory: of an earlier search among the same files in the same order.
    """
    same: list[tuple[int, tuple[int, ...], str]] = []
    repeated: set[int] = set()
    for key, wrong in (("digest", "has the same bytes as"), ("pixel_digest", "has the same pixels as")):
        for group in _alike(files, key):
            for place in group[1:]:
                if place not in repeated:
                    repeated.add(place)
                    same.append((place, tuple(group), wrong))
    distinct = [k for k, file in enumerate(files) if k not in repeated and file.signature is not None]
    signatures = [s for k in distinct if (s := files[k].signature) is not None]
    near = [(distinct[i], distinct[j]) for i, j in near_pairs(signatures)]
    shown = [] if scenes == "none" else _same_scenes(files, distinct, near, scenes, memory or SceneMemory())
    return Similar(tuple(same), tuple(near), tuple(shown))


def findings_of(files: Sequence[ImageFile], similar: Similar) -> list[Finding]:
    """Return a finding for each image that is like an earlier one."""
    found: list[Finding] = []
    for place, group, wrong in similar.same:
        other = _partner(files, place, group)
        across = files[place].split != files[other].split
        code = "duplicate-across-splits" if across else "duplicate-in-split"
        found.append(_pair(code, files, place, other, wrong))
    partners: dict[int, list[int]] = defaultdict(list)
    for a, b in similar.near:
        partners[b].append(a)
    for place, others in partners.items():
        elsewhere = [other for other in others if files[other].split != files[place].split]
        code = "near-duplicate-across-splits" if elsewhere else "near-duplicate-in-split"
        found.append(_pair(code, files, place, (elsewhere or others)[0], "is nearly the same as"))
    for a, b, common in similar.scenes:
        if files[a].split != files[b].split:
            wrong = f"shows the same scene ({common} details in common) as"
            found.append(_pair("same-scene-across-splits", files, b, a, wrong))
    return found


def join(number: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return for each of a number of images the first image of its group; pairs and their pairs are a group.

    >>> join(5, [(0, 2), (2, 4)])
    [0, 1, 0, 3, 0]
    """
    first = list(range(number))

    def find(place: int) -> int:
        while first[place] != place:
            first[place] = first[first[place]]
            place = first[place]
        return place

    for a, b in pairs:
        low, high = sorted((find(a), find(b)))
        first[high] = low
    return [find(place) for place in range(number)]


def _alike(files: Sequence[ImageFile], key: str) -> list[list[int]]:
    groups: dict[bytes, list[int]] = defaultdict(list)
    for place, file in enumerate(files):
        if digest := getattr(file, key):
            groups[digest].append(place)
    return [group for group in groups.values() if len(group) > 1]


def _partner(files: Sequence[ImageFile], place: int, group: Sequence[int]) -> int:
    """Return which of the same images is named: one of another split, if there is one."""
    others = [other for other in group if other < place]
    return next((o for o in others if files[o].split != files[place].split), others[0])


def _pair(code: str, files: Sequence[ImageFile], place: int, other: int, wrong: str) -> Finding:
    file = files[place]
    return finding(code, file.split, file.record.file_name, f"{wrong} {name_of(files[other])}")


def _same_scenes(
    files: Sequence[ImageFile],
    distinct: Sequence[int],
    near: Sequence[tuple[int, int]],
    scenes: Scenes,
    memory: SceneMemory,
) -> list[tuple[int, int, int]]:
    """Return pairs of images that show the same scene and are not known to be alike."""
    groups: list[int] | None = None
    if scenes == "all":  # of a series of nearly the same images the first stands for all
        first = join(len(files), near)
        distinct = [k for k in distinct if first[k] == k]
    else:
        splits = {name: number for number, name in enumerate(dict.fromkeys(file.split for file in files))}
        if len(splits) < 2:
            return []
        groups = [splits[files[k].split] for k in distinct]
    signatures = [s for k in distinct if (s := files[k].signature) is not None]
    known = set(near)
    pairs = [(distinct[i], distinct[j]) for i, j in like_colours(signatures, groups, MAX_SCENES)]
    pairs = sorted(pair for pair in pairs if pair not in known)
    new = [pair for pair in pairs if pair not in memory.common]
    for a, b in track(new, "comparing scenes") if len(new) > 20 else new:
        one, other = _details(files, a, memory), _details(files, b, memory)
        memory.common[a, b] = common_features(one, other) if one and other else 0
    return [(a, b, memory.common[a, b]) for a, b in pairs if memory.common[a, b] >= COMMON_FEATURES]


def _details(files: Sequence[ImageFile], place: int, memory: SceneMemory) -> Features | None:
    if place not in memory.details:
        image_bgr = read_again(files[place])
        memory.details[place] = None if image_bgr is None else features(image_bgr)
    return memory.details[place]
