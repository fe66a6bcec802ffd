"""Pictures that a training run writes for people to look at: sample grids and the energy curve.

Figures are drawn with matplotlib's object interface, so nothing touches global state and no display is needed.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nrf.image_statistics import gaussian_like
from nrf.monitor import ChainReport
from runtime.files import write_figure

SHEET = 64  # images of a panel
COLUMNS = 5  # of panels in the figure of long chains
STARTS = {"noise": "tab:red", "data": "tab:blue"}
# Measures of long chains that are drawn, and their titles.
PANELS = {
    "spectrum_distance": "distance of amplitude spectra",
    "variance_pc_1-4": "variance, components 1-4, over data's",
    "variance_pc_5-16": "variance, components 5-16",
    "variance_pc_17-64": "variance, components 17-64",
    "variance_pc_rest": "variance, other components",
    "pixel_sd": "standard deviation of pixels",
    "pixel_kurtosis": "kurtosis of pixels",
    "gabor_kurtosis": "kurtosis of Gabor responses",
    "gabor_dependence": "dependence of Gabor strengths",
    "contrast_distance": "distance of contrasts (KS)",
    "nearest_neighbour": "distance to the nearest chain",
    "energy": "energy per pixel / T",
}


def tile(images: np.ndarray, columns: int, border: int = 1, value: float = 1.0) -> np.ndarray:
    """Tile images (N, H, W, C) in rows of `columns`, separated by `border` pixels; returns (height, width, C)."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    shape = (rows * (height + border) + border, columns * (width + border) + border, channels)
    sheet = np.full(shape, value, np.float32)
    for index, image in enumerate(images):
        top = border + (index // columns) * (height + border)
        left = border + (index % columns) * (width + border)
        sheet[top : top + height, left : left + width] = image
    return sheet


def sample_sheet(panels: Mapping[str, np.ndarray], path: pathlib.Path, title: str, bounds: tuple[float, float]) -> None:
    """Write named panels of images (N, H, W, C) side by side as PNG, grey levels running over `bounds`."""
    low, high = bounds
    figure = Figure(figsize=(4.2 * len(panels), 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, (name, images) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True):
        columns = int(np.ceil(np.sqrt(len(images))))
        sheet = np.clip((tile(np.asarray(images), columns, value=high) - low) / (high - low), 0, 1)
        axis.imshow(sheet.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(name)
        axis.set_axis_off()
    figure.suptitle(title)
    write_figure(path, figure)


def training_curves(history: pd.DataFrame, path: pathlib.Path, title: str) -> None:
    """Write energies of both phases, their gap, and the distance of long chains from data, against the update number.

    history: a row per update (see `runtime.metrics.read_metrics`).
    """
    step = np.asarray(history.index, float)
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    energies, gap, quality = figure.subplots(1, 3)
    for name, colour in (("positive", "tab:blue"), ("negative", "tab:red")):
        energies.plot(step, history[f"energy/{name}"], color=colour, lw=1, label=f"{name} phase")
    energies.set(xlabel="update", ylabel="energy per pixel", title="Energy after each phase")
    energies.legend(frameon=False)
    gap.plot(step, np.asarray(history["energy/gap"], float), color="0.4", lw=1)
    gap.axhline(0, color="k", lw=0.5)
    gap.set(xlabel="update", ylabel="negative minus positive, per pixel", title="Energy gap")
    if "samples/spectrum_distance" in history:
        distance = np.asarray(history["samples/spectrum_distance"], float)
        seen = np.isfinite(distance)
        quality.plot(step[seen], distance[seen], "o-", color="tab:green", ms=3, lw=1, label="long chains")
        gaussian = np.asarray(history["samples/gaussian_distance"], float)
        quality.plot(step[seen], gaussian[seen], "--", color="0.6", lw=1, label="Gaussian of the data's covariance")
        quality.set(xlabel="update", ylabel="distance of amplitude spectra", title="Long chains against data")
        quality.set_ylim(0, None)
        quality.legend(frameon=False)
    figure.suptitle(title)
    write_figure(path, figure)


def chain_sheet(watch: ChainReport, held_out: np.ndarray, path: pathlib.Path, title: str) -> None:
    """Write long chains beside data and the Gaussian with the data's covariance, as PNG.

    held_out: (M, H, W, C) grey levels.
    """
    number, steps = min(len(watch.images["data"]), SHEET), watch.lengths[-1]
    panels = {
        "data (held out)": held_out[np.arange(number) * len(held_out) // number],
        "Gaussian of the data's covariance": gaussian_like(held_out, number, 0),
        f"chains from noise, {steps} steps": watch.images["noise"][:number],
        f"chains from data, {steps} steps": watch.images["data"][:number],
    }
    sample_sheet(panels, path, title, (0.0, 1.0))


def chain_figure(watch: ChainReport, path: pathlib.Path, title: str) -> None:
    """Write all measures of long chains, from noise and from data, against their length, with data's and Gaussian's."""
    figure = Figure(figsize=(18, 8.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, COLUMNS).ravel()
    names = [name for name in PANELS if name in watch.measures["noise"][0]]
    for axis, name in zip(axes, names, strict=False):
        for start, colour in STARTS.items():
            values = [row[name] for row in watch.measures[start]]
            axis.plot(watch.lengths, values, "o-", color=colour, ms=3, lw=1, label=f"from {start}")
        for source, style, label in ((watch.reference, "-", "data"), (watch.gaussian, ":", "Gaussian")):
            if name in source:
                axis.axhline(source[name], color="k", ls=style, lw=0.8, label=label)
        axis.set(xscale="log", xlim=(0.9 * watch.lengths[0], 1.1 * watch.lengths[-1]), title=PANELS[name])
        if min(min(row[name] for row in rows) for rows in watch.measures.values()) >= 0:
            axis.set_ylim(0, None)
    axes[0].legend(frameon=False, fontsize=8)
    bars = axes[len(names)]
    if watch.temperature is not None:
        bars.bar(range(len(watch.temperature)), watch.temperature, color="0.6", width=0.5)
        bars.axhspan(0.95, 1.05, color="tab:green", alpha=0.2, lw=0)
        bars.set(title="kinetic temperature / T", xlabel="layer", xticks=range(len(watch.temperature)))
    else:
        bars.set_axis_off()
    for axis in axes[len(names) + 1 :]:
        axis.set_axis_off()
    for axis in axes[max(len(names) - COLUMNS, 0) : len(names)]:
        axis.set_xlabel("chain length, steps")
    rhat = ", ".join(f"{name} {value:.2f}" for name, value in watch.r_hat.items())
    figure.suptitle(f"{title}; split R-hat of the second half: {rhat}")
    write_figure(path, figure)
