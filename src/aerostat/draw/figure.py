"""Matplotlib figures of one look, without global state; matplotlib is imported for the first figure."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAINT, FRAME = "#e4e4e4", "#9a9a9a"
"""Colours of grid lines, and of the axes."""


def new_figure(width: float, height: float, *, dpi: int = 120) -> Figure:
    """Return an empty white figure of a size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure) -> bytes:
    """Return a figure as the content of a PNG file."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def style_axes(axes: Axes, *, grid: bool = True) -> None:
    """Show two of the four sides of the axes, and a faint grid below the data."""
    if grid:
        axes.grid(True, color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FRAME)
