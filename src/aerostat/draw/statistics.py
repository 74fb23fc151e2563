"""Charts of the content of a data set, with class names in any script.

Each chart takes numbers by split, so that differences between splits are visible.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aerostat.draw.figure import FAINT, new_figure, style_axes
from aerostat.draw.text import drawable, elide
from aerostat.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

BySplit = Mapping[str, NDArray[Any]]
"""Numbers by the name of the split, in the order of drawing."""

FEW_CLASSES = 30
"""Classes that are drawn as bars, at most; more are drawn as a curve with its two ends."""
END_CLASSES = 12
"""Classes named at each end of that curve."""

# Okabe and Ito, "Color Universal Design" (2008)
_SPLIT_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
_GREY = "#6b6b6b"
_NAME_PIXELS, _NAME_SIZE = 150, 11
_SMALL, _LARGE = 32.0, 96.0  # COCO's limits of small and large: square roots of areas in pixels


def class_chart(names: Sequence[str], counts: BySplit) -> Figure:
    """Return objects per class: bars with their numbers, or for many classes a curve and its two ends.

    Args:
        names: of the classes.
        counts: (C,) objects of each class, by split.
    """
    if len(names) <= FEW_CLASSES:
        figure = new_figure(7.2, 1.5 + len(names) * max(0.24, 0.17 * len(counts)))
        axes = _axes(figure, "Objects per class", "objects", "")
        _class_bars(axes, names, list(range(len(names))), counts)
        return figure
    from matplotlib.ticker import EngFormatter

    figure = new_figure(11.0, 3.0 + 2 * END_CLASSES * max(0.2, 0.12 * len(counts)))
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.25, 1)})
    total = np.sum(list(counts.values()), axis=0)
    order = np.argsort(-total, kind="stable")
    _style(left, f"Objects per class: {len(names)} classes", "classes, the commonest first", "objects")
    for (split, values), colour in zip(counts.items(), _colours(), strict=False):
        none = int((values == 0).sum())
        label = f"{split}: {_many(int(values.sum()))}" + (
            f"; none of {counted(none, 'class', 'classes')}" if none else ""
        )
        left.plot(np.arange(1, len(names) + 1), np.sort(values)[::-1], color=colour, label=label)
    left.set_yscale("symlog", linthresh=1)
    left.yaxis.set_major_formatter(_plain_numbers())
    left.set_ylim(bottom=0)
    left.set_xlim(left=1)
    _legend(left)
    _style(right, f"The {END_CLASSES} commonest and the {END_CLASSES} rarest", "objects", "")
    ends = [*order[:END_CLASSES].tolist(), *order[-END_CLASSES:].tolist()]
    _class_bars(right, names, ends, counts, gap_after=END_CLASSES)
    right.set_xscale("symlog", linthresh=1)
    right.xaxis.set_major_formatter(EngFormatter(sep=""))
    right.set_xlim(0, 12 * max(1.0, float(total.max(initial=1))))
    return figure


def _class_bars(
    axes: Axes, names: Sequence[str], shown: Sequence[int], counts: BySplit, gap_after: int | None = None
) -> None:
    places = np.arange(len(shown), dtype=np.float64)
    if gap_after is not None:
        places[gap_after:] += 1
    thick = 0.8 / len(counts)
    for row, ((split, values), colour) in enumerate(zip(counts.items(), _colours(), strict=False)):
        y = places - 0.4 + thick * (row + 0.5)
        drawn = axes.barh(y, values[shown], thick, color=colour, label=f"{split}: {_many(int(values.sum()))}")
        axes.bar_label(drawn, [_many(int(v)) for v in values[shown]], padding=2, fontsize=7, color=_GREY)
    fallbacks = [f"class {index}" for index in shown]
    texts = [elide(names[i], _NAME_SIZE, _NAME_PIXELS, f) for i, f in zip(shown, fallbacks, strict=True)]
    axes.set_yticks(places, texts)
    for label, index, fallback in zip(axes.get_yticklabels(), shown, fallbacks, strict=True):
        _set_font(label, names[index], fallback)
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.margins(x=0.12)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(_plain_numbers())
    _whole_ticks(axes, "x")
    if gap_after is None:
        legend = axes.legend(
            loc="lower right", bbox_to_anchor=(1, 1), ncols=5, frameon=False, fontsize=9, borderaxespad=0.2
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def objects_per_image_chart(edges: NDArray[Any], counts: BySplit) -> Figure:
    """Return the share of images by their number of objects.

    Args:
        edges: (k + 1,) whole numbers of objects.
        counts: (k,) images in each bin, by split.
    """
    step = int(edges[1] - edges[0])
    name = "objects on the image" + (f", in steps of {step}" if step > 1 else "")
    figure = new_figure(7.2, 4.2)
    axes = _axes(figure, "Objects per image", name, "share of the images")
    _outlines(axes, edges - 0.5, counts, "image")
    _whole_ticks(axes, "x")
    axes.set_xlim(edges[0] - 0.5, edges[-1] - 0.5)
    return figure


def size_chart(
    edges: NDArray[Any],
    counts: BySplit,
    share_edges: NDArray[Any],
    share_counts: BySplit,
    input_size: int | None = None,
) -> Figure:
    """Return the sizes of boxes: in pixels with COCO's limits, and as shares of the image.

    Args:
        edges: (k + 1,) square roots of areas in pixels.
        counts: (k,) boxes in each bin, by split.
        share_edges: (m + 1,) square roots of areas over the longer side of the image.
        share_counts: (m,) boxes in each bin, by split.
        input_size: of the network in pixels; adds an axis of sizes at the input.
    """
    figure = new_figure(11.0, 4.4)
    left, right = figure.subplots(1, 2)
    _style(left, "Box sizes in the image", "square root of the box's area, pixels", "share of the objects")
    _outlines(left, edges, counts, "object", legend=False)
    _log_pixels(left, edges, list(counts.values()), (_SMALL / 2, _LARGE * 2))
    low, high = left.get_xlim()
    for border in (_SMALL, _LARGE):
        left.axvline(border, color=_GREY, linestyle=(0, (4, 3)), linewidth=1.1)
    top = left.get_ylim()[1]
    for start, end, word in ((low, _SMALL, "small"), (_SMALL, _LARGE, "medium"), (_LARGE, high, "large")):
        left.text(math.sqrt(start * end), top, word, ha="center", va="bottom", fontsize=9, color=_GREY)
    left.set_ylim(top=top * 1.08)
    title = "Box sizes as a share" if input_size is None else f"Box sizes at an input of {input_size} pixels"
    _style(right, title, "square root of the box's area / longer side of the image", "share of the objects")
    _outlines(right, share_edges, share_counts, "object")
    right.set_xscale("log", base=2)
    right.set_xlim(_occupied(share_edges, list(share_counts.values()), (1 / 16, 1.0)))
    right.xaxis.set_major_formatter(_percent_numbers())
    if input_size is not None:
        above = right.secondary_xaxis(
            "top", functions=(lambda share: share * input_size, lambda pixels: pixels / input_size)
        )
        above.set_xscale("log", base=2)
        above.xaxis.set_major_formatter(_plain_numbers())
        above.tick_params(colors="#444444", labelsize=9)
        above.set_xlabel("pixels at the network's input", fontsize=9)
        left.set_title(left.get_title(loc="left"), loc="left", fontsize=12, fontweight="bold", pad=38)
    return figure


def ratio_chart(edges: NDArray[Any], counts: BySplit) -> Figure:
    """Return the aspect ratios of boxes.

    Args:
        edges: (k + 1,) width / height.
        counts: (k,) boxes in each bin, by split.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter

    figure = new_figure(7.2, 4.2)
    axes = _axes(figure, "Aspect ratios of boxes", "width : height", "share of the objects")
    _outlines(axes, edges, counts, "object")
    axes.set_xscale("log", base=2)
    axes.set_xlim(_occupied(edges, list(counts.values()), (0.25, 4.0)))
    axes.axvline(1, color=_GREY, linestyle=(0, (4, 3)), linewidth=1.1)
    axes.xaxis.set_major_locator(FixedLocator([2.0**power for power in range(-4, 5)]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda ratio, _: f"{ratio:g}:1" if ratio >= 1 else f"1:{1 / ratio:g}")
    )
    return figure


def place_chart(places: BySplit, centres: BySplit) -> Figure:
    """Return a map per split of the places of boxes on the image.

    Args:
        places: (s, s) share of the boxes that cover each cell of a square image, by split.
        centres: (k, 2) x, y in [0, 1] of the centres of boxes, by split.
    """
    from matplotlib.ticker import PercentFormatter

    figure = new_figure(1.2 + 3.9 * len(places), 4.4)
    panels = figure.subplots(1, len(places), squeeze=False, sharey=True)[0]
    peak = max((float(values.max(initial=0)) for values in places.values()), default=0.0) or 1.0
    shown = None
    for axes, (split, values) in zip(panels, places.items(), strict=True):
        _style(axes, f"Where boxes lie: {split}", "x / width of the image", "")
        shown = axes.imshow(values, cmap="cividis", vmin=0, vmax=peak, extent=(0, 1, 1, 0), aspect="equal")
        axes.grid(False)
        points = centres[split]
        alpha = 0.75 if len(points) <= 300 else 0.25
        axes.scatter(points[:, 0], points[:, 1], s=5, color="white", alpha=alpha, linewidths=0)
        axes.set_xlim(0, 1)
        axes.set_ylim(1, 0)
    panels[0].set_ylabel("y / height of the image")
    if shown is not None:
        bar = figure.colorbar(shown, ax=list(panels), shrink=0.85, format=PercentFormatter(1.0, 0))
        bar.set_label("share of the boxes over the place; dots: centres", fontsize=9)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=9)
    return figure


def image_size_chart(sizes: BySplit) -> Figure:
    """Return the sizes of images as discs, whose area is the share of images of that size.

    Args:
        sizes: (k, 3) width, height and number of images, by split.
    """
    figure = new_figure(6.4, 5.2)
    axes = _axes(figure, "Image sizes", "width, pixels", "height, pixels")
    longest = max((int(values[:, :2].max(initial=1)) for values in sizes.values()), default=1)
    for (split, values), colour in zip(sizes.items(), _colours(), strict=False):
        if not len(values):
            continue
        total = int(values[:, 2].sum())
        width, height, count = values[0].tolist()
        label = f"{split}: {_many(total, 'image')}"
        if len(values) == 1:
            label += f" of {width} × {height}"
        else:
            label += f", {_many(len(values))} sizes"
        if len(values) > 1 and count > max(values[1, 2], 0.01 * total):
            label += f"; commonest {width} × {height} ({count / total:.0%})"
        alpha = min(0.45, max(0.05, 300 / len(values)))  # thousands of sizes stay translucent
        area = (12 if len(values) < 1000 else 4) + 500 * values[:, 2] / total
        axes.scatter(values[:, 0], values[:, 1], s=area, color=colour, alpha=alpha, linewidths=0, label=label)
    axes.set_xlim(0, longest * 1.08)
    axes.set_ylim(0, longest * 1.08)
    axes.set_aspect("equal")
    axes.plot([0, longest * 1.08], [0, longest * 1.08], color=FAINT, linewidth=1, zorder=0)
    if any(len(values) for values in sizes.values()):
        legend = axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14))
        for handle in legend.legend_handles:
            handle.set_sizes([40])  # type: ignore[union-attr]
            handle.set_alpha(0.8)  # type: ignore[union-attr]
    return figure


# ------------------------------------------------------------------------------------------------- the parts


def _axes(figure: Figure, title: str, x_name: str, y_name: str) -> Axes:
    axes = figure.add_subplot()
    _style(axes, title, x_name, y_name)
    return axes


def _style(axes: Axes, title: str, x_name: str, y_name: str) -> None:
    heading = axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    heading.set_parse_math(False)
    axes.set_xlabel(x_name)
    axes.set_ylabel(y_name)
    style_axes(axes)
    axes.tick_params(colors="#444444", labelsize=9)


def _colours() -> list[str]:
    return [*_SPLIT_COLOURS, *[_GREY] * 95]


def _outlines(axes: Axes, edges: NDArray[Any], counts: BySplit, what: str, legend: bool = True) -> None:
    """Draw a histogram per split as shares of its total, so that small and large splits compare."""
    from matplotlib.ticker import PercentFormatter

    peak = 0.0
    for (split, values), colour in zip(counts.items(), _colours(), strict=False):
        total = int(values.sum())
        shares = values / max(total, 1)
        peak = max(peak, float(shares.max(initial=0)))
        axes.stairs(shares, edges, color=colour, linewidth=1.8, label=f"{split}: {_many(total, what)}")
        axes.stairs(shares, edges, color=colour, fill=True, alpha=0.13)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, None))
    axes.set_ylim(0, (peak or 1.0) * 1.12)
    if legend:
        _legend(axes)


def _legend(axes: Axes) -> None:
    legend = axes.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=9, loc="best")
    for text in legend.get_texts():
        text.set_parse_math(False)


def _log_pixels(
    axes: Axes, edges: NDArray[Any], counts: Sequence[NDArray[Any]], least: tuple[float, float]
) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(_occupied(edges, counts, least))
    axes.xaxis.set_major_formatter(_plain_numbers())


def _occupied(
    edges: NDArray[Any], counts: Sequence[NDArray[Any]], least: tuple[float, float]
) -> tuple[float, float]:
    """Return the range of the bins that are not empty, which includes `least`."""
    filled = np.flatnonzero(np.sum(list(counts), axis=0))
    if not len(filled):
        return least
    return min(float(edges[filled[0]]), least[0]), max(float(edges[filled[-1] + 1]), least[1])


def _whole_ticks(axes: Axes, axis: str) -> None:
    from matplotlib.ticker import MaxNLocator

    whole = MaxNLocator(integer=True, nbins=8, min_n_ticks=1)  # rather a single tick than halves
    (axes.xaxis if axis == "x" else axes.yaxis).set_major_locator(whole)


def _plain_numbers() -> Any:
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: _many(value) if value >= 1 or value == 0 else f"{value:g}")


def _percent_numbers() -> Any:
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: f"{100 * value:.2g}%" if value < 0.995 else "100%")


def _many(number: float, noun: str = "") -> str:
    """Return a number with groups of digits, 12 345, and its noun if there is one."""
    return f"{number:,.0f}".replace(",", " ") + (f" {noun}{'s' * (number != 1)}" if noun else "")


def _set_font(text: Text, name: str, fallback: str) -> None:
    """Give a class name a font that has its script, and show dollars as they are."""
    from matplotlib.font_manager import FontProperties

    _, font = drawable(name, fallback)
    text.set_fontproperties(FontProperties(fname=font, size=9))
    text.set_parse_math(False)
