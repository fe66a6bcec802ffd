"""The figure of the scorecard: log likelihoods, restoration and detection side by side, and restored patches."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nrf.figures import tile
from runtime.files import write_figure

COLOURS = {
    "field": "tab:red", "gaussian": "0.55", "ica": "tab:olive", "scale_mixture": "tab:cyan", "mixture": "tab:blue",
    "gaussian_states": "0.75", "scale_mixture_states": "paleturquoise", "mixture_states": "lightsteelblue",
}  # fmt: skip


def draw_scorecard(table: pd.DataFrame, problem: Any, found: dict[str, Any], path: pathlib.Path) -> None:
    """Write the figure as PNG.

    Args:
        table: a row a model (`scorecard.make_table`).
        problem: `scorecard.Problem`.
        found: what the parts found, with a few restored patches each.
        path: of the file.
    """
    figure = Figure(figsize=(13, 7.2), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    likelihood, restoration, detection = above.subplots(1, 3)
    colours = [COLOURS[name] for name in table.index]

    places = np.arange(len(table))[::-1]
    gaussian = table.loc["gaussian", "nats_lower"]
    lower, upper = (table[name] - gaussian for name in ("nats_lower", "nats_upper"))
    likelihood.barh(places, 0.5 * (lower + upper), color=colours, height=0.6)
    likelihood.errorbar(
        0.5 * (lower + upper), places, xerr=1.96 * table["minus_gaussian_error"], fmt="none", ecolor="k", capsize=3
    )
    likelihood.plot([lower["field"], upper["field"]], [places[0] + 0.36] * 2, "|-", color="k", lw=1, ms=6)
    likelihood.set_yticks(places, [name.replace("_", " ") for name in table.index])
    likelihood.axvline(0, color="k", lw=0.6)
    likelihood.set(xlabel="nats per pixel above the Gaussian", title="log likelihood (line: the field's two bounds)")

    denoised = [name for name in table.columns if name.startswith("psnr denoised")]
    levels = [float(name.split()[-1]) for name in denoised]
    hole = next(name for name in table.columns if name.startswith("psnr hole"))
    for name, row in table.iterrows():
        if np.isfinite(row[hole]):
            label = f"{name.replace('_', ' ')}; hole {row[hole]:.1f} dB"
            restoration.plot(levels, row[denoised], "o-", color=COLOURS[name], label=label)
    restoration.set(xlabel="noise, 8-bit grey levels", ylabel="PSNR, dB", title="posterior means")
    restoration.legend(frameon=False, fontsize=8)

    sets = [name for name in table.columns if name.startswith("auroc")]
    for place, (name, row) in enumerate(table.iterrows()):
        across = np.arange(len(sets)) + 0.9 / len(table) * (place - 0.5 * (len(table) - 1))
        detection.bar(across, row[sets], width=0.85 / len(table), color=COLOURS[name])
    detection.set_xticks(range(len(sets)), [name.removeprefix("auroc ") for name in sets])
    detection.axhline(0.5, color="k", lw=0.6, ls=":")
    detection.set(ylim=(0, 1.02), ylabel="area under the ROC curve", title="held-out patches against outliers")

    shown = [problem.tasks[len(problem.tasks) // 2 - 1], problem.tasks[-1]]
    for axis, task in zip(below.subplots(1, 2), shown, strict=True):
        rows = {
            "clean": problem.test,
            "seen": task.seen,
            "field": found[f"field {task.name}"]["examples"],
            "Wiener": found["gaussian"]["examples"][task.name],
            "mixture": found["mixture"]["examples"][task.name],
        }
        count = min(len(found["gaussian"]["examples"][task.name]), len(problem.test))
        images = np.concatenate([np.asarray(each, np.float32)[:count] for each in rows.values()])
        sheet = np.clip(tile(images.reshape(-1, *problem.shape), count), 0, 1)
        axis.imshow(sheet.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        height = problem.shape[0] + 1
        axis.set_yticks([height * (k + 0.5) for k in range(len(rows))], list(rows), fontsize=8)
        axis.set_xticks([])
        axis.set_title(f"{task.name}, noise {255 * task.noise:.0f} grey levels", fontsize=10)
    write_figure(path, figure)
