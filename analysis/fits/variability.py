"""Page on variability: samples of fields beside the trials of neurons.

`write_page(workdir)` reads the tables that `v1models.variability` left and writes `variability.png` and `index.html`.
"""

from __future__ import annotations

import pathlib

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from analysis.fits.runs import cell
from analysis.pages import render
from runtime.errors import ConfigError
from runtime.files import write_figure, write_text

CAPTION = (
    "Left: log density of single trials beyond that of a variance that is a function of the mean (held-out groups of "
    "images; the models' means are those of the other half of the trials). Middle: correlation over pairs of units of "
    "measured and predicted noise correlations; open: what signal correlations and a shared gain predict taken out; "
    "dashed: agreement of two halves of the images. Right: Fano factor against contrast (standard deviation of pixels "
    "over their mean), geometric mean over units. Bars: 95 % intervals over recordings and units within them (left: "
    "groups of images as well)."
)
MOST_CURVES = 6


def write_page(workdir) -> pathlib.Path:
    """Writes the figure and the page; returns the page's path.

    Raises:
        ConfigError: where the folder holds no finished tables.
    """
    folder = pathlib.Path(workdir)
    if not (folder / "variability.csv").exists():
        raise ConfigError(f"{folder} holds no table of variability; run the stage 'train' there first")
    table = pd.read_csv(folder / "variability.csv")
    contrast = pd.read_csv(folder / "contrast.csv")
    draw(table, contrast, folder / "variability.png")
    about = f"Split: {table['split'][0]}. Unit of replication: {table['replication'][0]}. low, high: 95 % interval."
    parts = [
        (f"{question}: {quantity}", part[["model", "value", "low", "high", "units"]])
        for (question, quantity), part in table.groupby(["question", "quantity"], sort=False)
    ]
    if len(contrast):
        latent = contrast[contrast["quantity"] == "variance of latents"]
        wide = latent.pivot_table(index="contrast", columns="model", values="value").reset_index()
        parts.append(("contrast: variance of latents over samples, relative to its mean over images; 0 is blank", wide))
    page = render(
        "variability.html", title=folder.name, about=about, caption=CAPTION, parts=parts, cell=cell,
        picture="variability.png",
    )  # fmt: skip
    write_text(folder / "index.html", page)
    return folder / "index.html"


def draw(table: pd.DataFrame, contrast: pd.DataFrame, path: pathlib.Path) -> None:
    """One panel a question."""
    quantities = list(dict.fromkeys(table["quantity"]))
    shown = table[(table["quantity"] == quantities[0]) & (table["model"] != "Poisson")]
    size = (14, max(3.6, 1.2 + 0.28 * len(shown)))
    figure, axes = plt.subplots(1, 3, figsize=size, layout="constrained", width_ratios=(1, 1, 1.1))
    _points(axes[0], shown, "o", 0)
    lost = table[(table["quantity"] == quantities[0]) & (table["model"] == "Poisson")]["value"]
    axes[0].set_xlabel(f"nats per trial beyond a function of the mean\n(Poisson: {lost.iloc[0]:.2f})")
    pairs = table[table["question"] == "correlations"]
    for offset, (_, part) in enumerate(pairs.groupby("quantity", sort=False)):
        again = part[part["model"].str.startswith("other half")]
        order = pairs[~pairs["model"].str.startswith("other half")]["model"].drop_duplicates().tolist()
        inside = part[~part["model"].str.startswith("other half")]
        places = np.array([order.index(model) for model in inside["model"]]) + 0.2 * offset
        _points(axes[1], inside, "o" if not offset else "s", places, order, hollow=bool(offset))
        for value in again["value"]:
            axes[1].axvline(value, color="0.4", ls="--" if not offset else ":", lw=0.8)
    axes[1].set_xlabel("correlation over pairs")
    if len(contrast):
        fano = contrast[contrast["quantity"] == "Fano factor"]
        models = [model for model in dict.fromkeys(fano["model"]) if "other images" not in model][:MOST_CURVES]
        for model in models:
            part = fano[fano["model"] == model]
            bold = {"color": "black", "lw": 2} if model == "measured" else {"lw": 1.2}
            (line,) = axes[2].plot(part["contrast"], part["value"], label=model, **bold)
            if model == "measured":
                axes[2].fill_between(part["contrast"], part["low"], part["high"], alpha=0.15, color=line.get_color())
        axes[2].set(xscale="log", xlabel="contrast", ylabel="Fano factor")
        axes[2].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes[2].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes[2].xaxis.set_minor_locator(NullLocator())
        axes[2].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    write_figure(path, figure)
    plt.close(figure)


def _points(axis, part, marker, places, labels=None, hollow=False):
    places = np.arange(len(part)) if labels is None else places
    around = np.abs(np.stack([part["value"] - part["low"], part["high"] - part["value"]]))
    face = {"markerfacecolor": "none"} if hollow else {}
    axis.errorbar(part["value"], places, xerr=around, fmt=marker, capsize=2, color="C1" if hollow else "C0", **face)
    names = part["model"].tolist() if labels is None else labels
    axis.set_yticks(np.arange(len(names)), names, fontsize=8)
    axis.axvline(0, color="0.7", lw=0.8)
