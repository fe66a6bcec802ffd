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

from runtime.files import write_figure


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
    """Write energies of both phases, their gap, and the distance of samples from data, against the update number.

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
        quality.plot(step[seen], distance[seen], "o-", color="tab:green", ms=3, lw=1)
        noise = np.asarray(history["samples/noise_distance"], float)
        quality.plot(step[seen], noise[seen], "--", color="0.6", lw=1, label="white noise")
        quality.set(xlabel="update", ylabel="distance of amplitude spectra", title="Samples against data")
        quality.set_ylim(0, None)
        quality.legend(frameon=False)
    figure.suptitle(title)
    write_figure(path, figure)


def amplitude_spectrum(images: np.ndarray) -> np.ndarray:
    """Root mean power at each spatial frequency of images (N, H, W, C), over images and channels: (H, W // 2 + 1)."""
    power = np.abs(np.fft.rfft2(images, axes=(1, 2))) ** 2
    return np.sqrt(power.mean(axis=(0, 3)))


def spectrum_distance(images: np.ndarray, reference: np.ndarray) -> float:
    """|a - b| / |b| for the amplitude spectra a of the images and b of the reference, the constant term left out.

    0 for equal second-order statistics, 1 for blank images; white noise as strong as the reference lies between.
    """
    ours, theirs = (amplitude_spectrum(np.asarray(x, np.float64)) for x in (images, reference))
    ours[0, 0] = theirs[0, 0] = 0.0
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
