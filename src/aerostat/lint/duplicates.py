"""Images that are there twice, nearly twice, or show the same scene in two splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

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


def check_duplicates(files: Sequence[ImageFile], scenes: bool = True) -> list[Finding]:
    """Return similar images, each once, with the image that it is similar to.

    Args:
        files: of all splits, with what is known of their bytes and pixels.
        scenes: look for the same scene in two splits, too.
    """
    found: list[Finding] = []
    known: set[tuple[int, int]] = set()
    first_of: dict[int, int] = {}
    for key, wrong in (("digest", "has the same bytes as"), ("pixel_digest", "has the same pixels as")):
        for group in _alike(files, key):
            for place in group[1:]:
                if place in first_of:
                    continue
                first_of[place] = group[0]
                other = _partner(files, place, group)
                across = files[place].split != files[other].split
                code = "duplicate-across-splits" if across else "duplicate-in-split"
                found.append(_pair(code, files, place, other, wrong))
    distinct = [k for k, file in enumerate(files) if k not in first_of and file.signature is not None]
    signatures = [s for k in distinct if (s := files[k].signature) is not None]
    partners: dict[int, list[int]] = defaultdict(list)
    for i, j in near_pairs(signatures):
        a, b = distinct[i], distinct[j]
        known.add((a, b))
        partners[b].append(a)
    for place, others in partners.items():
        elsewhere = [other for other in others if files[other].split != files[place].split]
        code = "near-duplicate-across-splits" if elsewhere else "near-duplicate-in-split"
        found.append(_pair(code, files, place, (elsewhere or others)[0], "is nearly the same as"))
    if scenes:
        found += _same_scenes(files, distinct, known)
    return found


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
    files: Sequence[ImageFile], distinct: Sequence[int], known: set[tuple[int, int]]
) -> list[Finding]:
    """Return images of different splits that show the same scene and are not known to be alike."""
    splits = list(dict.fromkeys(file.split for file in files))
    if len(splits) < 2:
        return []
    signatures = [s for k in distinct if (s := files[k].signature) is not None]
    groups = [splits.index(files[k].split) for k in distinct]
    pairs = [(distinct[i], distinct[j]) for i, j in like_colours(signatures, groups, MAX_SCENES)]
    pairs = sorted(pair for pair in pairs if pair not in known)
    seen: dict[int, Features | None] = {}
    found = []
    shown = track(pairs, "comparing scenes") if len(pairs) > 20 else pairs
    for a, b in shown:
        one, other = _features(files, a, seen), _features(files, b, seen)
        common = common_features(one, other) if one and other else 0
        if common >= COMMON_FEATURES:
            wrong = f"shows the same scene ({common} details in common) as"
            found.append(_pair("same-scene-across-splits", files, b, a, wrong))
    return found


def _features(files: Sequence[ImageFile], place: int, seen: dict[int, Features | None]) -> Features | None:
    if place not in seen:
        image_bgr = read_again(files[place])
        seen[place] = None if image_bgr is None else features(image_bgr)
    return seen[place]
