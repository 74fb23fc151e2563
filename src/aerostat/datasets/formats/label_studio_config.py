"""The labelling configuration of Label Studio: XML that lists the labels, in their order, and the images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

from aerostat.datasets.xml_text import Element, read_document
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath
from aerostat.images.folders import entries, length_of

SUFFIX = ".label_config.xml"
"""With which the name of a configuration ends that belongs to one file of annotations."""

_MAX_BYTES = 1 << 20
_MAX_FILES = 20

CONTROLS = {"rectanglelabels": "label", "polygonlabels": "polygon", "brushlabels": "brush"}
"""Types of written results, each with the name of the control that draws them, its `from_name`."""

_TAGS = {"rectanglelabels": "RectangleLabels", "polygonlabels": "PolygonLabels", "brushlabels": "BrushLabels"}


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """What a configuration says.

    Args:
        classes: its labels in their order.
        images: for the name of each tag that shows an image the key of a task's data.
    """

    classes: tuple[str, ...] = ()
    images: dict[str, str] = field(default_factory=dict)


def config_of(root: Element) -> LabelConfig:
    """Return what a configuration says.

    >>> from xml.etree.ElementTree import XML
    >>> config_of(XML('<View><RectangleLabels name="label"><Label value="kite"/></RectangleLabels></View>'))
    LabelConfig(classes=('kite',), images={})
    """
    labels: dict[str, None] = {}
    images: dict[str, str] = {}
    for element in root.iter():
        label = element.get("alias") or element.get("value")
        if element.tag == "Label" and label:
            labels[label] = None
        elif element.tag == "Image" and element.get("value", "").startswith("$"):
            images[element.get("name", "")] = element.get("value", "")[1:]
    return LabelConfig(tuple(labels), images)


def configs_beside(path: AnyPath) -> list[LabelConfig]:
    """Return the configurations beside a file of annotations.

    A file ``NAME.label_config.xml`` belongs to ``NAME.json``. Others begin with ``label_config``.
    """
    try:
        names = set(entries(path.parent)[1])
    except OSError:
        return []
    own = f"{path.stem}{SUFFIX}"
    others = sorted(name for name in names if re.fullmatch(r"label_config.*\.xml", name, re.DOTALL))
    chosen = [own] if own in names else others
    found = []
    for name in chosen[:_MAX_FILES]:
        place = path.parent / name
        try:
            if length_of(place) <= _MAX_BYTES:
                found.append(config_of(read_document(place)))
        except (OSError, InputError):  # a configuration that cannot be read gives no order
            continue
    return found


def classes_of(configs: Iterable[LabelConfig], used: set[str]) -> tuple[str, ...]:
    """Return the classes of the one configuration that lists all names in use; none if there are two."""
    fitting = {config.classes for config in configs if config.classes and used <= set(config.classes)}
    return fitting.pop() if len(fitting) == 1 else ()


def config_text(classes: Sequence[str], types: Iterable[str]) -> str:
    """Return a configuration to paste into a project.

    Args:
        classes: labels in their order.
        types: of results, such as ``rectanglelabels``; each gets a control.
    """
    labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in classes)
    controls = "".join(
        f'  <{_TAGS[kind]} name="{CONTROLS[kind]}" toName="image">\n{labels}  </{_TAGS[kind]}>\n'
        for kind in CONTROLS
        if kind in set(types)
    )
    return f'<View>\n  <Image name="image" value="$image" zoom="true"/>\n{controls}</View>\n'
