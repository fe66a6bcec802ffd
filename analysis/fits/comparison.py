"""Runs of several folders in one figure: curves over epochs with percentiles over seeds, and a table of where they end.

    draw_all(config, "runs/figures")       every figure of a config such as configs/v1/figures.py, and a page of them

A curve is one run: a percentile over seeds as its line, others as bars. A curve may also be an ensemble of runs that
were fitted apart, to one region each: seed by seed the mean of their scores, weighted by their neurons. Runs are found
by their published numbers. What is not there yet is named and left out.
"""

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.fits.runs import READING, cell, markdown, published_of, run_folders, to_recorded
from analysis.pages import render
from runtime.errors import ConfigError
from runtime.files import write_figure, write_text
from runtime.sweeps import SWEEP_FILE

MOST_POINTS, MOST_BARS = 500, 50  # of one curve
TABLE = "figures.csv"


class Curve(NamedTuple):
    """Scores of one run, or of an ensemble of runs."""

    label: str
    scores: pd.DataFrame  # mean validation correlation, epochs (index) by seeds (columns)
    published: tuple  # percentiles 50, 90, 10 at the end, or ()
    recorded: bool = True  # whether it was fitted to recorded responses, with which alone published scores compare


def find_run(folder: Path, number: int | None) -> Path:
    """The folder of a run: of the one with a published number in a sweep's folder, or the folder itself.

    Args:
        folder: a run folder or a sweep's.
        number: of the run, None for a folder with one run.

    Raises:
        ConfigError: there is no such finished run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}; run its experiment first")
    found = run_folders(folder)
    if number is None or not (folder / SWEEP_FILE).exists():
        if len(found) > 1:
            raise ConfigError(f"{folder} holds {len(found)} runs; give the number of one")
        return next(iter(found.values()))
    for path in found.values():
        if _config(path).get("origin", {}).get("run") == number:
            return path
    raise ConfigError(f"{folder} holds no finished run of number {number}")


def read_scores(folder: Path, seeds: int | None = None) -> pd.DataFrame:
    """Mean validation correlation of a run, epochs (index) by seeds (columns, in the order of the file).

    Args:
        folder: a run folder.
        seeds: how many seeds to keep, from the first; None for all.
    """
    history = pd.read_csv(Path(folder) / "history.csv", dtype={"instance": str})
    # A seed that was given twice is two columns.
    history["column"] = history.groupby(["epoch"]).cumcount()
    return history.pivot(index="epoch", columns="column", values="validation_correlation").iloc[:, :seeds]


def ensemble_scores(folders: list[Path], seeds: int | None = None) -> pd.DataFrame:
    """Scores of models fitted apart, as of one model of all their neurons: Σ N_r r_r / Σ N_r, seed by seed.

    Args:
        folders: run folders of populations with N_r neurons each.
        seeds: as for `read_scores`.

    Returns:
        Epochs that all have (index) by seeds (columns): the first seed of each, the second, ….
    """
    parts = [read_scores(folder, seeds) for folder in folders]
    weights = [pd.read_csv(Path(folder) / "neurons.csv")["neuron"].nunique() for folder in folders]
    epochs = sorted(set.intersection(*(set(part.index) for part in parts)))
    count = min(part.shape[1] for part in parts)
    values = [part.loc[epochs].to_numpy()[:, :count] for part in parts]
    return pd.DataFrame(np.average(values, axis=0, weights=weights), index=pd.Index(epochs, name="epoch"))


def read_curve(root: Path, entry: tuple) -> Curve:
    """A curve of a figure's list.

    Args:
        root: folder that holds the experiments' folders.
        entry: (label, experiment's folder, number of the run, tuple of numbers for an ensemble or None, seeds or None).

    Raises:
        ConfigError: a run is not there.
    """
    label, folder, number, seeds = entry
    if isinstance(number, tuple):
        runs = [find_run(root / folder, one) for one in number]
        return Curve(label, ensemble_scores(runs, seeds), (), all(map(to_recorded, runs)))
    run = find_run(root / folder, number)
    scores = read_scores(run, seeds)
    if seeds is not None and scores.shape[1] < seeds:
        label = f"{label} ({scores.shape[1]} of {seeds} seeds there)"
    return Curve(label, scores, published_of(run), to_recorded(run))


def every_run(folder: Path) -> list[Curve]:
    """The curves of all finished runs of a folder: of a sweep, or of the one run that it is."""
    found = run_folders(folder)
    names = [path.name if path == folder else f"{folder.name}/{name}" for name, path in found.items()]
    return [
        Curve(name, read_scores(path), published_of(path), to_recorded(path))
        for name, path in zip(names, found.values(), strict=True)
    ]


def shown(scores: pd.DataFrame, after: int, until: int | None) -> pd.DataFrame:
    """The epochs of a curve that a figure shows, MOST_POINTS at most, the last one always."""
    inside = scores[(scores.index > after) & (scores.index <= (until or math.inf))]
    step = max(math.ceil(len(inside) / MOST_POINTS), 1)
    return inside.iloc[::-1].iloc[::step].iloc[::-1]


def summary(curves: list[Curve], after: int, until: int | None, percentiles: tuple) -> pd.DataFrame:
    """One row a curve: its last epoch inside the limits, seeds, percentiles there, and the published ones beside."""
    rows = []
    for curve in curves:
        scores = shown(curve.scores, after, until)
        if scores.empty:
            continue
        last = scores.iloc[-1].dropna()
        row = {"curve": curve.label, "epoch": scores.index[-1], "seeds": len(last)}
        row |= {f"p{percent}": np.percentile(last, percent) for percent in percentiles}
        row |= {f"published_{n}": v for n, v in zip(("p50", "p90", "p10"), curve.published, strict=False)}
        rows.append(row)
    return pd.DataFrame(rows)


def draw(curves: list[Curve], options, percentiles: tuple, path: Path) -> None:
    """One figure.

    Args:
        curves: what to draw.
        options: of the figure: title, after and until (epochs), normalized (epochs over the last one), lines (constant
            scores: (label, (50th, 90th, 10th percentile)), the last two may be missing; drawn beside fits to recorded
            responses alone).
        percentiles: of the line and the ends of the bars, (50, 90, 10); a fourth is a thinner second bar's lower end,
            (75, 95, 5, 25).
        path: the picture.
    """
    figure = Figure(figsize=(8.5, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    colors = colormaps["tab10"].colors
    for color, curve in zip(colors * math.ceil(len(curves) / len(colors)), curves, strict=False):
        scores = shown(curve.scores, options.after, options.until)
        if scores.empty:
            continue
        levels = np.nanpercentile(scores.to_numpy(), percentiles, axis=1)
        epoch = np.asarray(scores.index, float)
        place = epoch / epoch[-1] if options.normalized else epoch
        marker = "o" if len(epoch) < 4 else None
        axis.plot(place, levels[0], color=color, lw=1.5, label=curve.label, marker=marker, ms=3)
        barred = slice(None, None, math.ceil(len(epoch) / MOST_BARS))
        axis.vlines(place[barred], levels[2][barred], levels[1][barred], color=color, lw=0.8, alpha=0.6)
        for lower in levels[3:]:
            axis.vlines(place[barred], lower[barred], levels[0][barred], color=color, lw=2.2, alpha=0.35)
    recorded = any(curve.recorded for curve in curves)
    lines = options.lines if recorded else ()
    for style, (label, values) in zip(("-", "--", ":", "-."), lines, strict=False):
        axis.axhline(values[0], color="0.25", lw=1.2, ls=style, label=label)
        if len(values) > 2:
            axis.axhspan(values[2], values[1], color="0.5", alpha=0.12, lw=0)
    named = " and ".join(f"{percent}" for percent in percentiles[1:])
    title = options.title if recorded else f"{options.title}, simulated responses"
    axis.set(
        xlabel="epoch / last epoch" if options.normalized else "epoch",
        ylabel="validation correlation",
        title=f"{title}\nline: percentile {percentiles[0]} over seeds, bars: {named}",
    )
    axis.title.set_fontsize(10)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    write_figure(path, figure)


def draw_all(config, workdir: Path) -> str:
    """Draw every figure of a config whose runs are there, with a table and a page; returns a few lines to print.

    Files: NAME.png of every figure, figures.csv, figures.md and index.html.

    Raises:
        ConfigError: percentiles that mean nothing, or not a single run is there.
    """
    folder, percentiles = Path(workdir), tuple(config.percentiles)
    if len(percentiles) not in (3, 4) or not all(0 <= percent <= 100 for percent in percentiles):
        raise ConfigError(
            f"config.percentiles is {percentiles}; give line, upper and lower end of the bars, as in 50,90,10, or with "
            "a second bar, as in 75,95,5,25"
        )
    folder.mkdir(parents=True, exist_ok=True)
    tables, missing, parts = [], {}, []
    for name, options in config.figures.items():
        curves = [curve for given in config.runs for curve in every_run(Path(given))]
        for entry in options.curves:
            place = (entry[0], f"{entry[1]}{config.suffix}", *entry[2:])
            try:
                curves.append(read_curve(Path(config.root), place))
            except ConfigError as error:
                missing[str(error)] = None
        if not curves:
            continue
        draw(curves, options, percentiles, folder / f"{name}.png")
        table = summary(curves, options.after, options.until, percentiles)
        tables.append(table.assign(figure=name))
        parts.append((f"{name}: {options.title}", f"{name}.png", table))
    if not tables:
        raise ConfigError(f"none of the runs is there; the first that is missing: {next(iter(missing), 'no curve')}")
    whole = pd.concat(tables, ignore_index=True)
    whole = whole[["figure", *whole.columns.drop("figure")]]
    whole.to_csv(folder / TABLE, index=False)
    write_text(folder / "figures.md", f"{READING}\n\n{markdown(whole)}")
    values = {"title": "Figures", "reading": READING, "parts": parts, "missing": missing, "cell": cell}
    write_text(folder / "index.html", render("figures.html", **values))
    lines = [f"{len(parts)} of {len(config.figures)} figures in {folder / 'index.html'}, numbers in {folder / TABLE}"]
    return "\n".join([*lines, *(f"  not there: {text}" for text in missing)])


def _config(folder):
    return json.loads((folder / "config.json").read_text())["config"]
