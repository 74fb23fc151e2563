"""XML annotations to start from, and changes of their elements."""

from __future__ import annotations

import copy
import random
from xml.etree import ElementTree

from scripts.fuzz import bytes_and_text

_LARGEST_TREE = 20_000
"""Elements of a changed document, so that repeated repeating ends."""

_BOX = "<bndbox><xmin>5</xmin><ymin>5.5</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"
_VOC_OBJECT = (
    "<object><name>kite</name><pose>Left</pose><truncated>1</truncated><difficult>1</difficult>"
    f"{_BOX}<part><name>tail</name>{_BOX}</part></object>"
)
_OUTLINED = (
    f"<object><name>balloon</name>{_BOX}<polygon><x1>5</x1><y1>5</y1><x2>30</x2><y2>5</y2><x3>30</x3><y3>40</y3>"
    "</polygon></object><object><name>balloon</name><robndbox><cx>30</cx><cy>20</cy><w>9</w><h>4</h>"
    "<angle>0.5</angle></robndbox></object>"
)
_SIZE = "<size><width>64</width><height>48</height><depth>3</depth></size>"


def voc() -> tuple[bytes, ...]:
    """Return files of Pascal VOC about a.png."""
    head = f"<folder>x</folder><filename>a.png</filename>{_SIZE}<segmented>0</segmented>"
    whole = f"<annotation>{head}{_VOC_OBJECT}{_OUTLINED}</annotation>"
    return whole.encode(), f"<?xml version='1.0'?>\n<annotation>{_VOC_OBJECT}</annotation>".encode()


_META = (
    "<meta><task><size>3</size><mode>{}</mode><subset></subset><start_frame>0</start_frame>"
    "<stop_frame>2</stop_frame><frame_filter>step=1</frame_filter><labels><label><name>kite</name>"
    "<type>any</type></label><label><name>balloon</name></label></labels>"
    "<original_size><width>64</width><height>48</height></original_size></task></meta>"
)
_MASK = 'rle="1, 2, 3" left="5" top="6" width="3" height="2"'
_CVAT_SHAPES = (
    '<box label="kite" occluded="1" xtl="1" ytl="2" xbr="30" ybr="40" rotation="30" z_order="0"/>'
    '<polygon label="kite" points="5,5;30,5;30,40.5" group_id="1"/>'
    '<polygon label="kite" points="40,5;50,5;50,40.5" group_id="1"/>'
    '<box label="kite" xtl="1" ytl="2" xbr="30" ybr="40" group_id="1"/>'
    '<polyline label="balloon" points="1,1;9,1;9,9"/>'
    '<ellipse label="balloon" cx="30" cy="20" rx="9" ry="4" rotation="45"/>'
    f'<mask label="balloon" {_MASK}/>'
    '<points label="balloon" points="1,2"/><tag label="good"/>'
)


def cvat() -> tuple[bytes, ...]:
    """Return files of CVAT for images."""
    images = "".join(
        f'<image id="0" name="{name}" width="64" height="48">{_CVAT_SHAPES}</image>'
        for name in ("a.png", "b.jpg")
    )
    whole = f"<annotations><version>1.1</version>{_META.format('annotation')}{images}</annotations>"
    return whole.encode(), f"<annotations>{images}</annotations>".encode()


def cvat_video() -> tuple[bytes, ...]:
    """Return files of CVAT for video; the images of their folder are the frames in order."""
    corners = 'xtl="1" ytl="2" xbr="30" ybr="40"'
    boxes = (
        f'<box frame="0" outside="0" keyframe="1" {corners} rotation="10"/>'
        f'<box frame="2" outside="1" keyframe="1" {corners}/>'
    )
    shapes = (
        '<polygon frame="0" outside="0" keyframe="1" points="5,5;30,5;30,40"/>'
        '<polygon frame="2" outside="0" keyframe="1" points="5,5;30,5;30,40;5,40"/>'
    )
    mask = f'<mask frame="1" outside="0" keyframe="1" {_MASK}/>'
    tracks = "".join(
        f'<track id="{n}" label="kite">{part}</track>' for n, part in enumerate((boxes, shapes, mask))
    )
    whole = f"<annotations><version>1.1</version>{_META.format('interpolation')}{tracks}</annotations>"
    return (whole.encode(),)


def change(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    """Return XML with a few elements, attributes or texts changed."""
    root = ElementTree.fromstring(content)
    for _ in range(dice.choice((1, 1, 2, 4))):
        parents = [element for element in root.iter() if len(element)]
        if not parents:
            break
        parent = dice.choice(parents)
        place = dice.randrange(len(parent))
        element = parent[place]
        match dice.randrange(6):
            case 0:
                parent.remove(element)
            case 1:
                times = dice.choice((1, 2, 500)) if sum(1 for _ in root.iter()) < _LARGEST_TREE // 500 else 1
                parent[place:place] = [copy.deepcopy(element) for _ in range(times)]
            case 2:
                dice.choice(parents).append(copy.deepcopy(element))
            case 3 if element.attrib:
                key = dice.choice(list(element.attrib))
                if dice.random() < 0.2:
                    del element.attrib[key]
                else:
                    element.set(key, _value(element.attrib[key], dice))
            case 4:
                element.tag = dice.choice([other.tag for other in root.iter()])
            case _:
                element.text = _value(element.text or "", dice)
    encoding = dice.choice(("utf-8",) * 8 + ("utf-16", "gbk", "latin-1"))
    text = ElementTree.tostring(root, "unicode")
    if dice.random() < 0.05:
        text = '<!DOCTYPE annotation [<!ENTITY a "b">]>' + text
    declared = f"<?xml version='1.0' encoding='{encoding}'?>" if encoding != "utf-8" else ""
    return (declared + text).encode(encoding, "replace")


def _value(old: str, dice: random.Random) -> str:
    if dice.random() < 0.4 and any(sign in old for sign in ",;"):
        parts = old.split(",")
        parts[dice.randrange(len(parts))] = dice.choice(bytes_and_text.NUMBERS)
        return ",".join(parts)
    return dice.choice((*bytes_and_text.NUMBERS, *bytes_and_text.NAMES))
