"""How a data set was read: the options of reading, and the place that it was read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of reading a data set.

    Args:
        classes: class names in the order of the labels; by default those of the data.
        class_attribute: the VIA region attribute that holds the class, where there are several.
        images: image folder; None searches beside the annotations.
        strict: refuse data if an image or an object would have to be dropped.
        from_format: refuse annotations of another format, such as ``coco``; None takes any.

    >>> ReadOptions(classes=["balloon"]).classes
    ('balloon',)
    """

    classes: Sequence[str] | None = None
    class_attribute: str | None = None
    images: Path | str | None = None
    strict: bool = False
    from_format: str | None = None

    def __post_init__(self) -> None:
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(self.classes))
        if self.images is not None:
            object.__setattr__(self, "images", Path(self.images))

    @property
    def image_folder(self) -> Path | None:
        """`images` as a path."""
        return None if self.images is None else Path(self.images)


_KEPT = ("path", "classes", "class_attribute", "images", "strict")
"""Keys under which a run has always kept how its data were read."""


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
        kept = ReadOptions(
            options.classes,
            options.class_attribute,
            None if folder is None else folder.absolute(),
            options.strict,
            options.from_format,
        )
        return cls(Path(path).absolute(), kept)

    def to_dict(self) -> dict[str, Any]:
        """Return the origin as JSON can hold it; `from_format` only if it was asked for."""
        options = self.options
        kept: dict[str, Any] = {
            "path": str(self.path),
            "classes": None if options.classes is None else list(options.classes),
            "class_attribute": options.class_attribute,
            "images": None if options.images is None else str(options.images),
            "strict": options.strict,
        }
        return kept if options.from_format is None else {**kept, "from_format": options.from_format}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Origin | None:
        """Return the origin that `to_dict` made, None if there is no path in it. Other keys are ignored."""
        if not kept.get("path"):
            return None
        known = {name: kept[name] for name in (*_KEPT[1:], "from_format") if kept.get(name)}
        return cls(Path(kept["path"]), ReadOptions(**known))
