"""What an explanation says: heat over the photograph, of which detection, and how it came about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aerostat.data.image import Letterbox
from aerostat.detections import Detection, Detections, Picture
from aerostat.model.head import STRIDES

Target = Literal["score", "loss"]


@dataclass(frozen=True, eq=False)
class Explanation:
    """One map: what spoke for one detection, or for several at once.

    Args:
        detections: what is explained, best first; one, unless a class or everything is explained at once.
        levels: where each was born in the pyramid, 0, 1, 2 for strides 8, 16, 32; none where a black box does
            not say.
        method: such as ``gradcam``.
        layers: canonical names, such as ``neck.out_convs[2]``; several are fused; none for a black box.
        target: what was asked to rise, ``score`` or ``loss``.
        maps: per layer (h, w) float32, not negative, over the whole input at the layer's own resolution and
            scale; 0 under the padding. All 0 where the layer has no influence.
        letterbox: how the photograph went into the network.
        influence: per layer, whether what is explained depends on it at all.
        candidate: whether this is no detection but the best raw candidate at a place.
        note: more to say about it, such as why a candidate is no detection; one sentence or nothing.
    """

    detections: tuple[Detection, ...]
    levels: tuple[int, ...]
    method: str
    layers: tuple[str, ...]
    target: str
    maps: tuple[NDArray[np.float32], ...]
    letterbox: Letterbox
    influences: tuple[bool, ...]
    candidate: bool = False
    note: str = ""

    @property
    def detection(self) -> Detection:
        """The explained detection; the best one where several are explained at once."""
        return self.detections[0]

    @property
    def level(self) -> int | None:
        """Where it was born: 0, 1, 2 for strides 8, 16, 32; None where a black box does not say."""
        return self.levels[0] if self.levels else None

    @property
    def stride(self) -> int | None:
        """Pixels of the input between the points of its level."""
        return None if self.level is None else STRIDES[self.level]

    @property
    def influence(self) -> bool:
        """Whether what is explained depends on any of the layers at all."""
        return any(self.influences)

    @property
    def heat(self) -> NDArray[np.float32]:
        """Heat (H, W) over the photograph, 0 to 1 (divided by its maximum); all 0 where there is none."""
        return self.heat_at(self.letterbox.source_size)

    def heat_at(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """Return the heat (height, width) over the photograph drawn at `size` = (width, height).

        Maps of several layers are each divided by their maximum, then averaged over the layers that have an
        influence: what one layer's numbers mean says nothing about another's.
        """
        letterbox = replace(self.letterbox, source_size=size)
        parts = [
            _by_maximum(letterbox.map_to_source(values))
            for values, influence in zip(self.maps, self.influences, strict=True)
            if influence
        ]
        if not parts:
            return np.zeros((size[1], size[0]), np.float32)
        return parts[0] if len(parts) == 1 else _by_maximum(np.mean(parts, axis=0, dtype=np.float32))


def _by_maximum(values: NDArray[np.floating]) -> NDArray[np.float32]:
    most = float(values.max(initial=0.0))
    return np.asarray(values / most if most > 0 else values * 0, np.float32)


@dataclass(frozen=True, eq=False)
class Explanations(Sequence[Explanation]):
    """All explanations of one photograph: by detection, then by method, then by layer.

    Args:
        items: the explanations.
        photograph_bgr: (H, W, 3) uint8, as large as pictures of it get.
        found: all detections on the photograph.
        path: of the photograph, if known.
    """

    items: tuple[Explanation, ...]
    photograph_bgr: NDArray[np.uint8]
    found: Detections
    path: Path | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def by_detection(self) -> list[tuple[Explanation, ...]]:
        """Return the explanations of each detection (or class, or of everything) together, best first."""
        return [tuple(group) for _, group in groupby(self.items, key=lambda item: id(item.detections))]

    def draw(self, *, norm_in_box: bool = False) -> Picture:
        """Return one picture of all explanations; several are cells of a sheet.

        Args:
            norm_in_box: heat only within the explained boxes, divided by its maximum there.
        """
        from aerostat.explanation.pictures import draw_all

        return Picture(draw_all(self, norm_in_box=norm_in_box))

    def save(self, path: Path | str) -> Path:
        """Write the picture of all explanations and return its path."""
        return self.draw().save(path)
