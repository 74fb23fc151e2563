"""How a data set was read: the options of reading, and the place that it was read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from aerostat.images.archive import AnyPath, ArchivePath, is_zip

CrowdAs = Literal["auto", "region", "object"]
"""What COCO's ``iscrowd`` means; see `ReadOptions`."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of reading a data set.

    Args:
        classes: class names in the order of the labels; by default those of the data.
        class_attribute: the VIA region attribute that holds the class, where there are several.
        images: image folder, or a zip archive of images; None searches beside the annotations.
        strict: refuse data if an image or an object would have to be dropped.
        from_format: the format of the annotations, such as ``coco``; None recognises it. Files of another
            format are refused.
        splits: the annotations of each split, where a folder does not tell: a file or folder by the name of
            the split. Paths are relative to the data's path, or to the working folder if nothing is there,
            or absolute.
        only_classes: classes whose objects are kept; the others are left out and counted.
        merge_classes: new class names, each with the names that become it.
        crowd: what a mark as crowd region means. ``region`` is COCO's own meaning: not learned, matched
            softly in evaluation. ``object`` takes such objects like any other. ``auto`` does so if every
            object with an outline or a mask has the mark, as some tools write it.

    >>> ReadOptions(classes=["balloon"]).classes
    ('balloon',)
    """

    classes: Sequence[str] | None = None
    class_attribute: str | None = None
    images: Path | str | None = None
    strict: bool = False
    from_format: str | None = None
    splits: Mapping[str, Path | str] | None = None
    only_classes: Sequence[str] | None = None
    merge_classes: Mapping[str, Sequence[str]] | None = None
    crowd: CrowdAs = "auto"

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in ("classes", "only_classes"):
            if (names := getattr(self, name)) is not None:
                put(self, name, tuple(names))
        if self.merge_classes is not None:
            put(self, "merge_classes", {new: tuple(old) for new, old in self.merge_classes.items()})
        if self.images is not None:
            put(self, "images", Path(self.images))
        if self.splits is not None:
            put(self, "splits", {name: Path(path) for name, path in self.splits.items()})

    @property
    def image_folder(self) -> Path | None:
        """`images` as a path."""
        return None if self.images is None else Path(self.images)


def annotations_named(path: AnyPath, place: Path | str) -> AnyPath:
    """Return the annotations that one of `ReadOptions.splits` means, whether they exist or not.

    Args:
        path: of the data.
        place: below the data, in the working folder, or absolute.
    """
    if isinstance(path, Path) and path.is_file() and is_zip(path):
        path = ArchivePath(path)
    root = path if path.is_dir() else path.parent
    below = root.joinpath(*Path(place).parts) if isinstance(root, ArchivePath) else root / place
    return Path(place) if not below.exists() and Path(place).exists() else below


_KEPT = ("path", "classes", "class_attribute", "images", "strict")
"""Keys under which a run has always kept how its data were read."""

_KEPT_IF_GIVEN = ("from_format", "splits", "only_classes", "merge_classes", "crowd")
"""Keys that a run has only where the option was given."""


@dataclass(frozen=True, slots=True)
class Origin:
    """An origin is a path plus read options. `Dataset.read_again` uses it.

    Args:
        path: what was given as the data, absolute.
        options: of reading; the folder of the images is absolute.

    >>> Origin.from_dict({"path": "/photos", "classes": ["kite"]}).options.classes
    ('kite',)
    """

    path: Path
    options: ReadOptions = field(default_factory=ReadOptions)

    @classmethod
    def of(cls, path: Path | str, options: ReadOptions) -> Origin:
        """Return the origin with absolute paths, so that it holds in another working folder."""
        folder = options.image_folder
        kept = replace(options, images=None if folder is None else folder.absolute())
        if options.splits is not None:
            named = {
                name: (place, annotations_named(Path(path), place)) for name, place in options.splits.items()
            }
            # One below the data stays relative, as it was typed: the data may be moved.
            splits = {
                name: at.absolute() if at == Path(place) else place for name, (place, at) in named.items()
            }
            kept = replace(kept, splits=splits)
        return cls(Path(path).absolute(), kept)

    def to_dict(self) -> dict[str, Any]:
        """Return the origin as JSON can hold it; options that are newer than 0.1 only if they were given."""
        options = self.options
        kept: dict[str, Any] = {
            "path": str(self.path),
            "classes": None if options.classes is None else list(options.classes),
            "class_attribute": options.class_attribute,
            "images": None if options.images is None else str(options.images),
            "strict": options.strict,
        }
        newer = {
            "from_format": options.from_format,
            "splits": options.splits and {name: str(path) for name, path in options.splits.items()},
            "only_classes": options.only_classes and list(options.only_classes),
            "merge_classes": options.merge_classes
            and {new: list(old) for new, old in options.merge_classes.items()},
            "crowd": None if options.crowd == "auto" else options.crowd,
        }
        return kept | {name: value for name, value in newer.items() if value is not None}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Origin | None:
        """Return the origin that `to_dict` made, None if there is no path in it. Other keys are ignored."""
        if not kept.get("path"):
            return None
        known = {name: kept[name] for name in (*_KEPT[1:], *_KEPT_IF_GIVEN) if kept.get(name)}
        return cls(Path(kept["path"]), ReadOptions(**known))
