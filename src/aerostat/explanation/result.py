"""Explanations: heat over a photograph, and the detection, method and layers that it belongs to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.explanation.methods import TITLES
from aerostat.files import file_stem, replacing
from aerostat.geometry.postprocess import STRIDES
from aerostat.images.letterbox import Letterbox
from aerostat.results.detections import Detection, Detections, Picture
from aerostat.text import counted, listed

Target = Literal["score", "loss"]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Heat of what speaks for one detection, or for several at once.

    Args:
        detections: explained detections, best first; one, unless a class or all are explained at once.
        levels: pyramid level of each detection: 0, 1, 2 for strides 8, 16, 32; empty for a black box.
        method: such as ``gradcam``.
        layers: canonical names, such as ``neck.out_convs[2]``; several are fused; empty for a black box.
        target: number that the heat speaks for, ``score`` or ``loss``.
        maps: a map (h, w) float32 for each layer, one for a black box. It is not negative and covers the
            whole input at the layer's own resolution and scale; 0 under the padding, all 0 without influence.
        letterbox: resize and padding of the photograph.
        influences: for each map, whether the detections depend on its layer.
        candidate: whether this is not a detection but the best raw candidate at a place.
        note: more to say, such as why a candidate is no detection; a clause, or empty.
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
        """The explained detection, or the best of several."""
        return self.detections[0]

    @property
    def level(self) -> int | None:
        """Pyramid level: 0, 1, 2 for strides 8, 16, 32; None for a black box."""
        return self.levels[0] if self.levels else None

    @property
    def influence(self) -> bool:
        """Whether the detections depend on any of the layers."""
        return any(self.influences)

    @property
    def heat(self) -> NDArray[np.float32]:
        """Heat (H, W) over the photograph, from 0 to 1 (divided by its maximum); all 0 without heat."""
        return self.heat_at(self.letterbox.source_size)

    def heat_at(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """Return the heat (height, width) over the photograph drawn at `size` = (width, height).

        Scales of layers do not compare. So maps of several layers are each divided by their maximum, then
        averaged over the layers that have an influence.
        """
        letterbox = replace(self.letterbox, source_size=size)
        parts = [
            _by_maximum(letterbox.map_to_source(values, strided=bool(self.layers)))
            for values, influence in zip(self.maps, self.influences, strict=True)
            if influence
        ]
        if not parts:
            return np.zeros((size[1], size[0]), np.float32)
        return parts[0] if len(parts) == 1 else _by_maximum(np.mean(parts, axis=0, dtype=np.float32))

    def boxes_at(self, size: tuple[int, int]) -> NDArray[np.float64]:
        """Return the explained boxes (n, 4) on the photograph drawn at `size` = (width, height)."""
        scale = np.asarray(size * 2, np.float64) / np.asarray(self.letterbox.source_size * 2)
        boxes_xyxy: NDArray[np.float64] = np.asarray([d.box_xyxy for d in self.detections]) * scale
        return boxes_xyxy

    def heat_in_box_at(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """Return the heat at `size` = (width, height) only within the boxes, by its maximum in each."""
        heat = self.heat_at(size)
        inside = np.zeros_like(heat)
        for x1, y1, x2, y2 in self.boxes_at(size):
            place = (slice(int(y1), int(np.ceil(y2))), slice(int(x1), int(np.ceil(x2))))
            inside[place] = np.maximum(inside[place], _by_maximum(heat[place]))
        return inside

    def share_in_boxes(self, size: tuple[int, int]) -> float:
        """Return the share of the heat within the boxes, 0 to 1, drawn at `size` = (width, height)."""
        heat = self.heat_at(size)
        inside = np.zeros(heat.shape, bool)
        for x1, y1, x2, y2 in self.boxes_at(size):
            inside[round(y1) : round(y2), round(x1) : round(x2)] = True
        return float(heat[inside].sum() / max(float(heat.sum()), 1e-12))

    @property
    def subject(self) -> str:
        """Name and score of the detections: ``balloon 83%`` or ``3 x balloon, best 83%``."""
        best = self.detection
        score = f"{100 * best.score:.0f}%" if best.score >= 0.1 else f"{100 * best.score:.2g}%"
        if len(self.detections) == 1:
            return f"{'candidate ' * self.candidate}{best.name} {score}"
        names = listed(dict.fromkeys(d.name for d in self.detections))
        return f"{len(self.detections)} x {names}, best {score}"

    @property
    def origin(self) -> str:
        """Pyramid level in words: ``level 2 (stride 32)``."""
        levels = [f"level {level} (stride {STRIDES[level]})" for level in sorted(set(self.levels))]
        return " and ".join(levels) or "an unknown level"

    @property
    def source(self) -> str:
        """Method and layers in words: ``GradCAM of neck.out_convs[2]``."""
        title = TITLES.get(self.method, self.method)
        return f"{title} of {' + '.join(self.layers)}" if self.layers else title

    @property
    def remark(self) -> str:
        """Reason why there is no heat; empty if there is heat."""
        what = "this candidate" if self.candidate else "this detection"
        what = what if len(self.detections) == 1 else "these detections"
        if not self.influence:
            if not self.layers:
                return f"covering parts of the photograph has no influence on {what}"
            names, verb = " and ".join(self.layers), "has" if len(self.layers) == 1 else "have"
            return f"{names} {verb} no influence on {what} of {self.origin}"
        if not any(values.any() for values in self.maps):
            return f"nothing in the photograph speaks for {what} here, only against it"
        return ""

    def __repr__(self) -> str:
        """Return the explanation in one line."""
        return f"Explanation({self.subject}: {self.source}, target {self.target})"

    def _repr_png_(self) -> bytes:
        """Return the heat and the boxes for a notebook; `Explanations` has the photograph as well."""
        from aerostat.explanation.sheets import draw_heat

        return Picture(draw_heat(self))._repr_png_()

    def file_stem(self, number: int) -> str:
        """Return a part of a file name: ``01-balloon``, ``candidate-balloon``, ``all-balloon`` or ``all``."""
        names = {detection.name for detection in self.detections}
        kind = "candidate" if self.candidate else f"{number:02d}" if len(self.detections) == 1 else "all"
        return f"{kind}-{file_stem(names.pop(), 40)}" if len(names) == 1 else kind

    def to_dict(self) -> dict[str, Any]:
        """Return detections, method and layers as JSON values, without the maps."""
        return {
            "detections": [
                {"box_xyxy": list(d.box_xyxy), "score": d.score, "label": d.label, "class": d.name}
                for d in self.detections
            ],
            "levels": list(self.levels),
            "strides": [STRIDES[level] for level in self.levels],
            "candidate": self.candidate,
            "method": self.method,
            "layers": list(self.layers),
            "target": self.target,
            "influence": self.influence,
            "share_in_boxes": round(self.share_in_boxes(self.letterbox.resized_size), 4),
            "note": self.note or None,
            "remark": self.remark or None,
        }


def _by_maximum(values: NDArray[np.floating]) -> NDArray[np.float32]:
    most = float(values.max(initial=0.0))
    return np.asarray(values / most if most > 0 else values * 0, np.float32)


@dataclass(frozen=True, eq=False)
class Explanations:
    """All explanations of one photograph: by detection, then by method, then by layer.

    A notebook shows the picture of `draw`.

    Args:
        items: the explanations.
        photograph_bgr: photograph (H, W, 3) uint8 at the size in which it is drawn.
        detections: all detections on the photograph, explained or not.
        path: path of the photograph, if known.
    """

    items: tuple[Explanation, ...]
    photograph_bgr: NDArray[np.uint8]
    detections: Detections
    path: Path | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.items)

    def __getitem__(self, index: int) -> Explanation:
        return self.items[index]

    def by_subject(self) -> list[Explanations]:
        """Return the explanations by detection (or class, or all together), best first."""
        groups = (tuple(group) for _, group in groupby(self.items, key=lambda item: id(item.detections)))
        return [replace(self, items=group) for group in groups]

    def draw(self, *, norm_in_box: bool = False) -> Picture:
        """Return a picture of the explanation, or a sheet of several.

        Args:
            norm_in_box: whether only the heat within the explained boxes is drawn, divided by its maximum
                there.
        """
        from aerostat.explanation.sheets import draw_explanations

        return Picture(draw_explanations(self, norm_in_box=norm_in_box))

    def save(self, path: Path | str) -> Path:
        """Write the picture of `draw` and return its path."""
        return self.draw().save(path)

    def save_all(
        self, folder: Path | str, *, norm_in_box: bool = False, arrays: bool = False
    ) -> tuple[list[Path], Path | None]:
        """Write one picture for each of `by_subject`, and the arrays if asked; return their paths.

        A picture shows one explanation, or a sheet of methods by layers. The arrays are float32 (h, w) over
        the whole input of the network. Their names are number, method and layer
        (``1/gradcam/neck.out_convs[2]``). ``letterbox`` is the JSON text that `Letterbox.from_dict` takes.

        Args:
            folder: folder for the files.
            norm_in_box: see `draw`.
            arrays: whether the arrays are written.

        Raises:
            InputError: a picture would replace the photograph.
        """
        folder = Path(folder)
        stem = file_stem(self.path.stem if self.path else "image")
        subjects = self.by_subject()
        pictures = [
            folder / f"{stem}-explained-{one[0].file_stem(number)}.jpg"
            for number, one in enumerate(subjects, start=1)
        ]
        if self.path is not None and self.path.resolve() in {picture.resolve() for picture in pictures}:
            raise InputError(f"A picture would replace the photograph {self.path}; choose another folder.")
        for one, picture in zip(subjects, pictures, strict=True):
            one.draw(norm_in_box=norm_in_box).save(picture)
        data = folder / f"{stem}-explained.npz"
        if arrays:
            self._save_arrays(data)
        return pictures, data if arrays else None

    def _save_arrays(self, path: Path) -> None:
        content: dict[str, Any] = {
            "/".join(filter(None, (str(number), item.method, layer))): values
            for number, one in enumerate(self.by_subject(), start=1)
            for item in one
            for layer, values in zip(item.layers or ("",), item.maps, strict=True)
        }
        content["letterbox"] = np.asarray(json.dumps(self.items[0].letterbox.to_dict()))
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **content)

    def lines(self) -> list[str]:
        """Return a sentence for each of `by_subject`: detection, pyramid level, methods and layers."""
        return [one._line() for one in self.by_subject()]

    def _line(self) -> str:
        first = self.items[0]
        x1, y1, x2, y2 = first.detection.box_xyxy
        place = f" at ({x1:.0f}, {y1:.0f}, {x2:.0f}, {y2:.0f})" if len(first.detections) == 1 else ""
        methods = listed(dict.fromkeys(TITLES.get(item.method, item.method) for item in self.items), 8)
        layers = listed(dict.fromkeys(" + ".join(item.layers) for item in self.items if item.layers), 8)
        remarks = dict.fromkeys(item.remark for item in self.items if item.remark)
        made = f"{methods} of {layers}" if layers else methods
        what = f"{first.subject}{place}, {first.origin}: {made}"
        return "; ".join(filter(None, (what, first.note, *remarks)))

    def to_dict(self) -> dict[str, Any]:
        """Return the explanations as JSON values, without the maps."""
        return {
            "file": None if self.path is None else self.path.as_posix(),
            "letterbox": self.items[0].letterbox.to_dict(),
            "found": len(self.detections),
            "explanations": [
                {"number": number, **item.to_dict()}
                for number, one in enumerate(self.by_subject(), start=1)
                for item in one
            ],
        }

    def _repr_png_(self) -> bytes | None:
        """Return the picture of `draw` for a notebook."""
        return self.draw()._repr_png_() if self.items else None

    def __repr__(self) -> str:
        """Return the number of maps in one line."""
        kinds = counted(len(self.by_subject()), "subject")
        return f"Explanations({counted(len(self), 'map')} of {kinds} on {self.path or 'an image'})"
