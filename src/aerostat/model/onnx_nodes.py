"""Nodes and constants of an ONNX graph in the making."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

if TYPE_CHECKING:
    from onnx import NodeProto


@dataclass
class Graph:
    """Nodes and constants of an unfinished graph; every method returns the name of a value."""

    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)

    def constant(self, value: NDArray[Any] | float | int | Sequence[int], name: str = "") -> str:
        """Add a constant: int64 for whole numbers, float32 for others."""
        array = np.asarray(value, np.int64 if isinstance(value, list | tuple | int) else None)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        name = name or f"constant_{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(array) if array.ndim else array
        return name

    def add(self, kind: str, *inputs: str, name: str = "", outputs: int = 1, **attributes: Any) -> str:
        """Add a node and return the name of its first output."""
        name = name or f"{kind}_{len(self.nodes)}"
        outs = [name, *(f"{name}.{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, list(inputs), outs, name=name, **attributes))
        return name

    def cells_of(self, level: str, shape: tuple[int, int, int]) -> tuple[str, str]:
        """Add column and row of each cell of a level (N, C, h, w), row by row, int64 in a shape with a -1."""
        zero, one, flat = self.constant(0), self.constant(1), self.constant(shape)
        sizes = self.add("Shape", level)
        height, width = (self.add("Gather", sizes, self.constant(axis), axis=0) for axis in (2, 3))
        size = self.add("Slice", sizes, self.constant([2]), self.constant([4]))
        x = self.add("Expand", self.add("Range", zero, width, one), size)
        y = self.add("Range", zero, height, one)
        y = self.add("Expand", self.add("Unsqueeze", y, self.constant([1])), size)
        return self.add("Reshape", x, flat), self.add("Reshape", y, flat)

    def renamed(self, value: str, name: str) -> str:
        """Give another name to a value that no node takes yet, and return the name.

        A node that only renames would be left out by a runtime, and its name with it.
        """
        for node in self.nodes:
            for place, output in enumerate(node.output):
                if output == value:
                    node.output[place] = name
        return name
