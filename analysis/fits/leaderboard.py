"""Page of a leaderboard: families of models side by side on a recording with repeats.

`write_page(workdir)` reads the tables and arrays that `v1models.leaderboard` left and writes figures (PNG) and
`index.html`: the table first, then every unit against its ceiling, learning curves, and most exciting images.
"""

from __future__ import annotations

import pathlib

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from analysis.pages import render
from runtime.errors import ConfigError
from runtime.files import write_figure, write_text

SCORES = {"cc_norm": "CCnorm", "r2_corrected": "corrected r²", "r": "r with the average"}


def write_page(workdir) -> pathlib.Path:
    """Writes the figures and the page of a leaderboard; returns the page's path.

    Raises:
        ConfigError: where the folder holds no finished leaderboard.
    """
    folder = pathlib.Path(workdir)
    if not (folder / "leaderboard.csv").exists():
        raise ConfigError(f"{folder} holds no leaderboard; run the stage 'train' there first")
    tables = {name: read_table(folder / f"{name}.csv") for name in ("leaderboard", "units", "comparisons", "learning")}
    figures = [("scores.png", draw_scores(tables["leaderboard"], folder), CAPTIONS["scores"])]
    figures.append(("units.png", draw_units(tables["units"], folder), CAPTIONS["units"]))
    if len(tables["learning"]):
        figures.append(("learning.png", draw_learning(tables["learning"], folder), CAPTIONS["learning"]))
    rows, caption = board_rows(tables["leaderboard"]), CAPTIONS["exciting"]
    for name in (row["family"] for row in rows):
        if (folder / "exciting" / f"{name}.npz").exists():
            figures.append((f"exciting_{name}.png", draw_exciting(folder, name), caption))
            caption = "The same units and quantities under another family."
    page = render(
        "leaderboard.html",
        title=folder.name,
        recordings=list(dict.fromkeys(tables["leaderboard"]["recording"])),
        rows=rows,
        comparisons=tables["comparisons"].to_dict("records"),
        figures=[(name, caption) for name, _, caption in figures],
    )
    write_text(folder / "index.html", page)
    return folder / "index.html"


CAPTIONS = {
    "scores": "Mean score over reliable units of all recordings; of trained families that of their seeds' mean "
    "prediction. Bars: 95 % intervals, groups of images and units drawn anew. CCnorm estimates the correlation with "
    "the expected response, whose ceiling is 1.",
    "units": "Every unit's correlation with its trial average under the best family, against the highest that noise "
    "allows (square root of its reliability). The line is the ceiling.",
    "learning": "Mean CCnorm of held-out groups against the number of groups of images that models were fitted on. Of "
    "trained families: the first seed, for as many updates at every number; a quarter of the groups says when to stop.",
    "exciting": "Images, of the recording's mean contrast at most, that drive a unit's model most (gradient ascent "
    "within the aperture of the recording's images); below each the mean gradient of the prediction by the pixels, and "
    "its root mean square (white: 0), both times the pixels' standard deviation: above the units that the best of "
    "these families predicts best, below those it predicts worst, the same under every family. They say what the model "
    "wants, not more.",
}


def read_table(path: pathlib.Path) -> pd.DataFrame:
    """Returns a table; recordings are names even if they look like numbers."""
    return pd.read_csv(path, dtype={"recording": str, "family": str})


def board_rows(board: pd.DataFrame) -> list[dict]:
    """Returns one row a family, best first: CCnorm of every recording with its interval, other scores overall."""
    whole = board[board["recording"] == "all"].sort_values("cc_norm", ascending=False)
    rows = []
    for _, row in whole.iterrows():
        here = board[board["family"] == row["family"]].set_index("recording")
        cells = {
            name: (here.loc[name, "cc_norm"], here.loc[name, "cc_norm_low"], here.loc[name, "cc_norm_high"])
            for name in here.index
        }
        seeds = {"seeds": int(row["seeds"]), "single": row["cc_norm_single"]}
        others = {name: row[name] for name in ("family", "r", "r2_corrected", "ceiling_r")}
        rows.append({"units": int(row["units"]), "cells": cells, **others, **seeds})
    return rows


def draw_scores(board: pd.DataFrame, folder: pathlib.Path) -> pathlib.Path:
    """Mean scores with intervals, one panel a score."""
    whole = board[board["recording"] == "all"].sort_values("cc_norm")
    size = (10, 0.8 + 0.45 * len(whole))
    figure, axes = plt.subplots(1, len(SCORES), figsize=size, sharey=True, layout="constrained")
    for axis, (score, label) in zip(axes, SCORES.items(), strict=True):
        middle = whole[score].to_numpy()
        around = np.abs(np.stack([middle - whole[f"{score}_low"], whole[f"{score}_high"] - middle]))
        axis.errorbar(middle, np.arange(len(whole)), xerr=around, fmt="o", capsize=3)
        axis.set_yticks(np.arange(len(whole)), whole["family"])
        axis.axvline(0, color="0.7", linewidth=0.8)
        axis.set_xlabel(label)
    return _save(figure, folder / "scores.png")


def draw_units(units: pd.DataFrame, folder: pathlib.Path) -> pathlib.Path:
    """Each unit's correlation under the best family against what noise allows."""
    best = units.groupby("family")["cc_norm"].mean().idxmax()
    here = units[units["family"] == best]
    figure, axis = plt.subplots(figsize=(5, 5), layout="constrained")
    for recording, part in here.groupby("recording"):
        ceiling = np.sqrt(np.maximum(part["reliability"], 0))
        axis.scatter(ceiling, part["r"], s=14, alpha=0.8, label=f"{recording} ({len(part)})")
    axis.plot([0, 1], [0, 1], color="0.4", linewidth=0.8)
    axis.axhline(0, color="0.7", linewidth=0.8)
    axis.set(xlabel="ceiling, √reliability", ylabel=f"correlation with the trial average, {best}")
    axis.legend(fontsize=7, frameon=False, title="recording (units)", title_fontsize=7)
    return _save(figure, folder / "units.png")


def draw_learning(learning: pd.DataFrame, folder: pathlib.Path) -> pathlib.Path:
    """Score against the number of groups fitted on."""
    figure, axis = plt.subplots(figsize=(5, 3.5), layout="constrained")
    for family, part in learning.groupby("family"):
        around = np.abs(np.stack([part["value"] - part["low"], part["high"] - part["value"]]))
        axis.errorbar(part["groups"], part["value"], yerr=around, marker="o", capsize=3, label=family)
    axis.set(xlabel="groups of images fitted on", ylabel="mean CCnorm of held-out groups")
    axis.set_xticks(sorted(set(learning["groups"])))
    axis.legend(frameon=False)
    return _save(figure, folder / "learning.png")


def draw_exciting(folder: pathlib.Path, family: str) -> pathlib.Path:
    """Most exciting images with gradients and sensitivities below them, best units above, worst below."""
    with np.load(folder / "exciting" / f"{family}.npz") as file:
        arrays = {name: file[name] for name in file.files}
    count = len(arrays["units"]) // 2
    kinds = ("images", "gradients", "sensitivities")
    rows = 2 * len(kinds)
    figure, axes = plt.subplots(
        rows, count, figsize=(1.6 * count, 1.65 * rows + 0.8), layout="constrained", squeeze=False
    )
    figure.suptitle(f"family {family}", fontsize=9)
    for index, unit in enumerate(arrays["units"]):
        column, row = index % count, len(kinds) * (index // count)
        for axis, name in zip(axes[row : row + len(kinds), column], kinds, strict=True):
            picture = arrays[name][index]
            limit = np.abs(picture).max() or 1
            colors = {"cmap": "gray_r", "vmin": 0} if name == "sensitivities" else {"cmap": "gray", "vmin": -limit}
            axis.imshow(picture, vmax=limit, **colors)
            axis.axis("off")
        axes[row, column].set_title(f"unit {unit}\nCCnorm {arrays['cc_norm'][index]:.2f}", fontsize=7)
    return _save(figure, folder / f"exciting_{family}.png")


def _save(figure, path: pathlib.Path) -> pathlib.Path:
    write_figure(path, figure)
    plt.close(figure)
    return path
