"""What all figures of the analysis share: colours, panels of a fixed size, axes in milliseconds and hertz, files.

Figures are made with matplotlib's objects and never with pyplot, so that drawing changes nothing outside the figure.
Sizes are in inches at 100 screen pixels an inch, which a page of 1100 pixels shows at their own size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from PIL import Image

from recordings.periods import Periods, TimeScale
from runtime.files import atomic_write, write_figure

# Colours of Okabe and Ito (2008), which stay apart for colour-blind readers.
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
GREY, PALE, INK = "0.55", "0.93", "0.15"
MOST_PANELS = 32
WIDTH = 10.6
DPI = 150
SMALL, TEXT = 7.5, 8.5


def new_figure(width: float = WIDTH, height: float = 3.4, constrained: bool = True) -> Figure:
    """Return an empty figure of a size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained" if constrained else None)
    FigureCanvasAgg(figure)
    return figure


def style_axes(axis: Axes, xlabel: str = "", ylabel: str = "", title: str = "") -> Axes:
    """Give axes their labels and the common look; returns them."""
    axis.set_xlabel(xlabel, fontsize=TEXT)
    axis.set_ylabel(ylabel, fontsize=TEXT)
    axis.set_title(title, fontsize=TEXT)
    axis.tick_params(labelsize=SMALL, length=2.5)
    axis.spines[["top", "right"]].set_visible(False)
    return axis


def legend(axis: Axes, title: str | None = None, beside: bool = False, **options) -> None:
    """Draw a legend: beside the axes where curves would leave no room for it, else at matplotlib's best place."""
    handles, _ = axis.get_legend_handles_labels()
    if not handles:
        return
    place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if beside else {"loc": "best"}
    drawn = axis.legend(frameon=False, fontsize=SMALL, title=title, **place | options)
    drawn.get_title().set_fontsize(SMALL)


def note(axis: Axes, text: str) -> None:
    """Write in the middle of empty axes why they are empty."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", fontsize=TEXT, color=GREY, wrap=True)


def contrast_colours(count: int) -> list:
    """Return colours from light (lowest contrast) to dark (highest)."""
    return list(matplotlib.colormaps["viridis_r"](np.linspace(0.12, 0.95, count) if count > 1 else [0.95]))


def shown_channels(count: int) -> np.ndarray:
    """Return the numbers of at most `MOST_PANELS` channels, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_PANELS)).round().astype(int))


def columns_for(count: int, most: int = 8) -> int:
    """Return the number of columns of a grid about three times as wide as high, with rows as full as they can be."""
    rows = -(-count // max(1, min(count, most, int(np.ceil(np.sqrt(3 * count))))))
    return -(-count // max(rows, 1)) or 1


def panels(
    count: int,
    ratio: float = 0.75,
    left: float = 0.62,
    gap: tuple[float, float] = (0.1, 0.28),
    most: int = 8,
    strip: float = 0.25,
    bottom: float = 0.5,
    widest: float = 3.2,
) -> tuple[Figure, list[Axes], np.ndarray]:
    """Return a figure with a grid of equal panels, tick labels at its left and lower edge only.

    Margins are in inches and computed here: matplotlib's own layouts take seconds for a grid of this size.

    Args:
        count: panels.
        ratio: height of a panel over its width.
        left: room for the labels of the left axis.
        gap: between columns and between rows.
        most: columns at most.
        strip: room for a legend above the panels.
        bottom: room for labels below them.
        widest: width of a panel at most.

    Returns:
        figure, axes in order, and (count,) bool of the panels that stand at the lower edge.
    """
    columns = columns_for(count, most)
    rows = -(-count // columns)
    right, top = 0.12, 0.22 + strip
    wide = min((WIDTH - left - right + gap[0]) / columns - gap[0], widest)
    high = wide * ratio
    width = max(left + right + columns * (wide + gap[0]) - gap[0], 3.8)
    height = top + bottom + rows * (high + gap[1]) - gap[1]
    figure = new_figure(width, height, constrained=False)
    axes, lowest = [], np.zeros(count, bool)
    for place in range(count):
        row, column = divmod(place, columns)
        x, y = left + column * (wide + gap[0]), height - top - high - row * (high + gap[1])
        axis = figure.add_axes((x / width, y / height, wide / width, high / height))
        axis.tick_params(labelsize=SMALL, length=2)
        axis.spines[["top", "right"]].set_visible(False)
        lowest[place] = place + columns >= count
        axis.tick_params(labelbottom=bool(lowest[place]), labelleft=column == 0)
        # Labels at the ends would run into those of the next panel.
        axis.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
        axes.append(axis)
    return figure, axes, lowest


def outer_labels(figure: Figure, xlabel: str, ylabel: str) -> None:
    """Label the axes of a whole grid once."""
    height, width = figure.get_figheight(), figure.get_figwidth()
    figure.text(0.5, 0.06 / height, xlabel, ha="center", va="bottom", fontsize=TEXT)
    figure.text(0.06 / width, 0.5, ylabel, ha="left", va="center", rotation=90, fontsize=TEXT)


def grid_legend(figure: Figure, axis: Axes, title: str = "") -> None:
    """Draw the legend of a grid in the strip above the panels that `panels` keeps for it."""
    handles, labels = axis.get_legend_handles_labels()
    if not handles:
        return
    if title:
        handles, labels = [Patch(alpha=0), *handles], [title, *labels]
    figure.legend(
        handles, labels, loc="upper center", ncols=len(handles), frameon=False, fontsize=SMALL, borderaxespad=0.1,
        columnspacing=1.2, handlelength=1.4,
    )  # fmt: skip


def mark_stimulus(axis: Axes, periods: Periods, scale: TimeScale, zero: int | None = None) -> None:
    """Shade the time of the stimulus; `zero` is the step at which the axis has 0, the onset by default."""
    zero = periods.onset if zero is None else zero
    start, stop = scale.to_ms(periods.onset - zero), scale.to_ms(periods.offset - zero)
    low, high = axis.get_xlim()
    axis.axvspan(max(start, low), min(stop, high), color=PALE, lw=0, zorder=-10)
    axis.set_xlim(low, high)


def cycles_axis(axis: Axes, scale: TimeScale) -> None:
    """Add an upper axis in cycles per step, which owes nothing to the time scale, to an axis in hertz."""
    rate = scale.sampling_rate
    upper = axis.secondary_xaxis("top", functions=(lambda hertz: hertz / rate, lambda cycles: cycles * rate))
    upper.set_xlabel("frequency (cycles per step)", fontsize=SMALL)
    upper.tick_params(labelsize=SMALL, length=2.5)


def with_interval(axis: Axes, x, mean, low, high, **options) -> None:
    """Draw means with intervals; low and high are bounds, matplotlib wants distances."""
    mean, low, high = (np.asarray(values, float) for values in (mean, low, high))
    lengths = np.nan_to_num(np.maximum([mean - low, high - mean], 0))
    axis.errorbar(x, mean, yerr=lengths, **{"fmt": "o", "capsize": 2.5, "ms": 4, "lw": 1.2} | options)


def mosaic(tiles: np.ndarray, border: int = 1) -> np.ndarray:
    """Return tiles (rows, columns, H, W, ...) as one picture, NaN between them."""
    rows, columns, height, width, *rest = tiles.shape
    shape = (rows * (height + border) - border, columns * (width + border) - border, *rest)
    picture = np.full(shape, np.nan, np.float32)
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + border), column * (width + border)
            picture[top : top + height, left : left + width] = tiles[row, column]
    return picture


def outlines(mask: np.ndarray, **options) -> LineCollection:
    """Return the borders of the true pixels of a picture (rows, columns) as lines in its coordinates."""
    inside = np.pad(np.asarray(mask, bool), 1)
    rows, columns = np.nonzero(inside[1:] != inside[:-1])
    flat = np.stack([columns - 1.5, rows - 0.5, columns - 0.5, rows - 0.5], axis=1)
    rows, columns = np.nonzero(inside[:, 1:] != inside[:, :-1])
    upright = np.stack([columns - 0.5, rows - 1.5, columns - 0.5, rows - 0.5], axis=1)
    return LineCollection(np.concatenate([flat, upright]).reshape(-1, 2, 2), **options)


def save(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Write a figure as NAME.png and NAME.svg into a folder; returns both paths."""
    paths = Path(folder) / f"{name}.png", Path(folder) / f"{name}.svg"
    figure.set_dpi(DPI)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    # 256 colours are enough for figures of this kind and make a page of them a third as large.
    options = {"method": Image.Quantize.MAXCOVERAGE, "kmeans": 1, "dither": Image.Dither.NONE}
    with atomic_write(paths[0]) as incomplete:
        picture.quantize(256, **options).save(incomplete, format="PNG")
    # The layout is found once: the second file takes half the time, and both look alike.
    figure.set_layout_engine("none")
    write_figure(paths[1], figure, DPI, metadata={"Date": None})
    return paths


def stimulus_labels(table: dict[str, Sequence]) -> list[str]:
    """Return a short name for every stimulus from the columns of its table: angles in degrees, contrast, place."""
    count = len(next(iter(table.values()), ()))
    columns = {name: np.asarray(values) for name, values in table.items()}

    def degrees(angle: float) -> str:
        return f"{round(np.degrees(angle)) % 360}°"

    several = "contrast" in columns and np.unique(columns["contrast"]).size > 1
    labels = []
    for row in range(count):
        parts = []
        if "angle" in columns:
            parts.append(degrees(columns["angle"][row]))
        if "static_angle" in columns:
            parts.append(degrees(columns["static_angle"][row]))
            parts.append(f"{degrees(columns['mobile_angle'][row])} at {columns['distance'][row]:.0f} px")
        if several:
            parts.append(f"c {columns['contrast'][row]:.1f}")
        labels.append(", ".join(parts) or f"image {row}")
    return labels
