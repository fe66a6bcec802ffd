"""Figures of fitted models: percentile curves, scores of every seed, filters and masks, preferred images.

Drawn with matplotlib's object interface: no global state, no display.
"""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from runtime.files import write_figure

MOST_FILTERS = 24  # of one array


def curves(percentiles: dict[str, pd.DataFrame], path: Path, published: dict[str, tuple], title: str) -> None:
    """Median over seeds against epochs, a band from the 10th to the 90th percentile; published medians dashed."""
    figure = _figure(9, 4.8)
    axis = figure.subplots()
    for colour, (name, table) in zip(_colours(len(percentiles)), percentiles.items(), strict=True):
        epoch = np.asarray(table.index, float)
        axis.plot(epoch, table["p50"], color=colour, lw=1.6, label=name, marker="o" if len(epoch) < 4 else None, ms=3)
        axis.fill_between(epoch, table["p10"], table["p90"], color=colour, alpha=0.15, lw=0)
        if published.get(name):
            axis.axhline(published[name][0], color=colour, lw=1, ls="--")
    marks = ", dashed: published" if any(published.values()) else ""
    axis.set(xlabel="epoch", ylabel="validation correlation", title=f"{title}: median and 10–90 % of seeds{marks}")
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    axis.spines[["top", "right"]].set_visible(False)
    write_figure(path, figure)


def scores(table: pd.DataFrame, path: Path, title: str) -> None:
    """The score of every seed (dots, one seed joined by a line) and the median of each run (bar)."""
    count = table.shape[1]
    figure = _figure(max(5.0, 1.2 + 0.55 * count), 4.6)
    axis = figure.subplots()
    places = np.arange(count)
    if count <= 12:
        for _, row in table.iterrows():
            axis.plot(places, row.to_numpy(float), color="0.8", lw=0.6, zorder=1)
    for place, colour, name in zip(places, _colours(count), table.columns, strict=True):
        values = table[name].dropna().to_numpy()
        axis.scatter(np.full(len(values), place), values, s=14, color=colour, zorder=2)
        axis.hlines(np.median(values), place - 0.3, place + 0.3, color="k", lw=1.5, zorder=3)
    slanted = {"rotation": 20, "ha": "right"} if count <= 6 else {"rotation": 90}
    axis.set_xticks(places, table.columns, fontsize=8, **slanted)
    axis.set(ylabel="validation correlation", title=f"{title}: every seed, bars are medians")
    axis.spines[["top", "right"]].set_visible(False)
    write_figure(path, figure)


def filters(folder: Path, path: Path, title: str) -> bool:
    """Filters and masks of the best seed, one row of pictures for each array that has rows and columns.

    Returns whether there was something to draw.
    """
    source = Path(folder) / "filters.npz"
    if not source.is_file():
        return False
    with np.load(source) as arrays:
        pictures = {name: picture for name in arrays if (picture := as_pictures(arrays[name])) is not None}
    if not pictures:
        return False
    rows = sum(-(-min(len(images), MOST_FILTERS) // 12) for images in pictures.values())
    figure = _figure(10, 0.85 * rows + 0.25 * len(pictures) + 0.3)
    heights = [-(-min(len(images), MOST_FILTERS) // 12) for images in pictures.values()]
    panels = np.atleast_1d(figure.subfigures(len(pictures), 1, height_ratios=heights, hspace=0.02))
    for panel, (name, images) in zip(panels, pictures.items(), strict=True):
        shown = images[:MOST_FILTERS]
        more = f" ({len(shown)} of {len(images)})" if len(shown) < len(images) else ""
        panel.suptitle(f"{name.replace('_', ' ')}{more}, {images.shape[1]}×{images.shape[2]} pixels", fontsize=9)
        _row(panel, shown, 12)
    figure.suptitle(f"{title}: weights of the best seed, each scaled to its own maximum", fontsize=10)
    write_figure(path, figure)
    return True


def fields(folder: Path, path: Path, title: str) -> bool:
    """What neurons want to see: one column a neuron; spike-triggered average, mean gradient, most exciting image."""
    source = Path(folder) / "receptive_fields.npz"
    if not source.is_file():
        return False
    kinds = {
        "spike_triggered_averages": "spike-triggered\naverage",
        "gradients": "mean gradient\nof the model",
        "most_exciting_images": "most exciting\nimage",
    }
    with np.load(source) as arrays:
        neurons = arrays["neurons"]
        images = {label: arrays[name][..., 0] for name, label in kinds.items()}
    figure = _figure(1.5 * len(neurons) + 1.2, 4.8)
    axes = figure.subplots(len(images), len(neurons), squeeze=False)
    for row, (label, pictures) in zip(axes, images.items(), strict=True):
        for axis, neuron, picture in zip(row, neurons, pictures, strict=True):
            _picture(axis, picture)
            if row is axes[0]:
                axis.set_title(f"neuron {neuron}", fontsize=8)
        row[0].set_axis_on()
        row[0].set(xticks=[], yticks=[])
        row[0].spines[:].set_visible(False)
        row[0].set_ylabel(label, fontsize=8)
    figure.suptitle(f"{title}: best seed", fontsize=10)
    write_figure(path, figure)
    return True


def as_pictures(array: np.ndarray) -> np.ndarray | None:
    """Weights (rows, columns, channels, outputs) or (rows, columns, outputs) as pictures (number, rows, columns).

    None where there is no spatial extent worth a picture.
    """
    if array.ndim not in (3, 4) or min(array.shape[:2]) < 3:
        return None
    flat = array.reshape(*array.shape[:2], -1)
    return np.moveaxis(flat, -1, 0)


def _row(panel, images, columns):
    rows = -(-len(images) // columns)
    axes = panel.subplots(rows, columns, squeeze=False)
    for axis, picture in zip(axes.flat, images, strict=False):
        _picture(axis, picture)
    for axis in axes.flat[len(images) :]:
        axis.set_axis_off()


def _picture(axis, picture):
    limit = np.abs(picture).max() or 1.0
    axis.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    axis.set_axis_off()


def _colours(count):
    if count <= 10:
        return [matplotlib.colormaps["tab10"](index) for index in range(count)]
    return list(matplotlib.colormaps["viridis"](np.linspace(0, 0.92, count)))


def _figure(width, height):
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
