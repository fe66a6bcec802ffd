"""Figures of synchrony between neurons, and of the verdicts beside their controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.report.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    SMALL,
    TEXT,
    VERMILION,
    grid_legend,
    legend,
    new_figure,
    note,
    outer_labels,
    panels,
    style_axes,
    with_interval,
)
from recordings.periods import TimeScale

MOST_POINTS = 4000
CONTROL_COLOURS = (ORANGE, SKY, PURPLE, GREEN, GREY)


def neighbour_correlograms(distance, lags, mean, low, high, scale: TimeScale, unit: str = "correlation") -> Figure:
    """Draw mean correlograms of channels a given number of channels apart with 99 % intervals as bands.

    Args:
        distance: (distances,) between channel numbers.
        lags: (lags,) steps.
        mean, low, high: (distances, lags); NaN for distances that no pair has.
        scale: time scale.
        unit: of the correlograms.
    """
    present = np.flatnonzero(np.isfinite(mean).any(axis=1))
    if not present.size:
        figure = new_figure(6, 2)
        note(style_axes(figure.subplots()), "no two channels were recorded")
        return figure
    figure = new_figure(height=2.7)
    axes = figure.subplots(1, present.size, squeeze=False, sharey=True)[0]
    ms = scale.to_ms(np.asarray(lags))
    for axis, row in zip(axes, present, strict=True):
        style_axes(axis, title=f"{int(distance[row])} apart")
        axis.axhline(0, color=GREY, lw=0.6)
        axis.axvline(0, color=GREY, lw=0.6)
        axis.fill_between(ms, low[row], high[row], color=BLUE, alpha=0.3, lw=0)
        axis.plot(ms, mean[row], color=BLUE, lw=0.9)
        axis.set_xlim(ms[0], ms[-1])
    axes[0].set_ylabel(unit, fontsize=TEXT)
    figure.supxlabel(scale.label("lag", "ms"), fontsize=TEXT)
    return figure


def amplitude_against(
    arrays: Mapping[str, Any], kinds: Sequence[bool], names: tuple[str, str], xlabel: str, unit: str = "correlation"
) -> Figure:
    """Draw amplitudes of pairs against an angle or a distance: points, binned means with 95 % intervals, lines.

    The two kinds stand in panels of their own, on common axes, so that neither hides the other.

    Args:
        arrays: x, y (pairs,), bin_x, bin_mean, bin_low, bin_high, bin_kind, bin_count (bins,), slope_0, slope_1 (2,).
        kinds: (pairs,) bool, true for the kind drawn first (bin_kind 0).
        names: of the two kinds.
        xlabel: of the axis.
        unit: of the amplitude.
    """
    figure = new_figure(height=3.5)
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    x, y, kinds = np.asarray(arrays["x"], float), np.asarray(arrays["y"], float), np.asarray(kinds, bool)
    draw = np.random.default_rng(0)
    for kind, (axis, name, colour) in enumerate(zip(axes, names, (BLUE, VERMILION), strict=True)):
        rows = np.flatnonzero((kinds == (kind == 0)) & np.isfinite(x) & np.isfinite(y))
        drawn = draw.choice(rows, min(rows.size, MOST_POINTS), replace=False)
        style_axes(axis, xlabel, f"amplitude ({unit})" if kind == 0 else "")
        axis.set_title(f"{name} (n = {rows.size})", fontsize=TEXT)
        alpha = float(np.clip(200 / max(drawn.size, 1), 0.2, 0.7))
        axis.plot(x[drawn], y[drawn], "o", color=colour, ms=3, alpha=alpha, mew=0, rasterized=True)
        chosen = np.asarray(arrays["bin_kind"]) == kind
        if chosen.any():
            parts = (np.asarray(arrays[f"bin_{part}"], float)[chosen] for part in ("x", "mean", "low", "high"))
            with_interval(axis, *parts, color=INK, label="mean, 95 % interval", zorder=4)
        slope = np.asarray(arrays[f"slope_{kind}"], float)
        if np.isfinite(slope).all() and rows.size:
            reach = np.array([x[rows].min(), x[rows].max()])
            label = f"line: slope {slope[0]:+.2g}"
            axis.plot(reach, np.polyval(slope, reach), color=ORANGE, lw=1.8, label=label, zorder=3)
        if not rows.size:
            note(axis, "no such pair")
    finite = y[np.isfinite(y)]
    if finite.size:
        # A few large amplitudes would flatten all others.
        top = max(np.quantile(finite, 0.998), np.nanmax(np.append(arrays["bin_high"], -np.inf)))
        axes[0].set_ylim(0, 1.35 * top)
    for axis in axes:
        legend(axis, loc="upper right", ncols=2)
    return figure


def surrogate_histogram(excess, null_excess, p_value: float, kind: str) -> Figure:
    """Draw the mean excess of amplitude over surrogates beside that of the surrogates themselves.

    Args:
        excess: (pairs,) amplitude less the mean of its surrogates.
        null_excess: (surrogates,) the same of each surrogate, averaged over pairs.
        p_value: of the mean excess.
        kind: of the surrogates.
    """
    figure = new_figure(height=3.1)
    axis, pairs = figure.subplots(1, 2)
    observed = float(np.nanmean(excess)) if np.size(excess) else np.nan
    style_axes(axis, "mean excess of amplitude over surrogates (correlation)", "surrogates")
    axis.hist(null_excess, bins=25, color=GREY, alpha=0.8, label=f"{np.size(null_excess)} surrogates ({kind})")
    if np.isfinite(observed):
        axis.axvline(observed, color=VERMILION, lw=2, label=f"observed, p = {p_value:.3g}")
    axis.set_ylim(0, 1.35 * axis.get_ylim()[1])
    axis.margins(x=0.1)
    legend(axis, loc="upper left", ncols=2)
    style_axes(pairs, "excess of a pair (correlation)", "pairs")
    finite = np.asarray(excess)[np.isfinite(excess)]
    if finite.size:
        pairs.hist(finite, bins=int(np.clip(finite.size // 3, 5, 40)), color=BLUE, alpha=0.85)
        pairs.axvline(0, color=INK, lw=0.8)
    else:
        note(pairs, "no pairs")
    return figure


def pair_matrix(amplitude, q_value, labels: tuple[str, str] = ("channel", "channel"), level: float = 0.05) -> Figure:
    """Draw the amplitude of every pair of channels; pairs above their surrogates carry a dot.

    Args:
        amplitude: (channels, channels) correlation; a pair without a test (q is NaN) is left blank.
        q_value: (channels, channels) false discovery rate.
        labels: of the columns and of the rows.
        level: largest q with a dot.
    """
    figure = new_figure(6.0, 4.8)
    axis = style_axes(figure.subplots(), *labels)
    q_value = np.asarray(q_value, float)
    values = np.where(np.isfinite(q_value), np.asarray(amplitude, float), np.nan)
    if not np.isfinite(values).any():
        note(axis, "there are no pairs")
        return figure
    axis.set_facecolor("0.85")
    drawn = axis.imshow(values, cmap="viridis", vmin=0, interpolation="nearest")
    marked = np.nan_to_num(q_value, nan=1.0) < level
    rows, columns = np.nonzero(marked)
    size = max(1.5, 60 / max(len(values), 8))
    axis.plot(columns, rows, "o", color=VERMILION, ms=size, mew=0.4, mec="white", clip_on=False)
    for side in (axis.xaxis, axis.yaxis):
        side.get_major_locator().set_params(integer=True)
    axis.spines[:].set_visible(False)
    tested = np.isfinite(q_value)
    if tested.shape[0] == tested.shape[1] and not tested.diagonal().any():  # both orders of a pair are one
        tested, marked = np.triu(tested), np.triu(marked)
    axis.set_title(f"{marked.sum()} of {tested.sum()} pairs with q < {level:g} (dots)", fontsize=TEXT)
    bar = figure.colorbar(drawn, ax=axis)
    bar.set_label("amplitude (correlation)", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    return figure


def example_fits(
    lags, curves, fits, channels_a, channels_b, during, scale: TimeScale, unit: str = "correlation"
) -> Figure:
    """Draw correlograms of single pairs with the Gabor function fitted to each.

    Args:
        lags: (lags,) steps.
        curves, fits: (examples, lags) correlation.
        channels_a, channels_b: (examples,).
        during: (examples,) bool, during the stimulus or before it.
        scale: time scale.
        unit: of the correlograms.
    """
    if not len(curves):
        figure = new_figure(6, 2)
        note(style_axes(figure.subplots()), "no correlogram was fitted")
        return figure
    figure, axes, _ = panels(len(curves), ratio=0.7, most=4, left=0.8)
    ms = scale.to_ms(np.asarray(lags))
    low, high = np.nanmin(curves), np.nanmax(curves)
    margin = 0.08 * (high - low) or 0.1
    for row, axis in enumerate(axes):
        axis.axhline(0, color=GREY, lw=0.5)
        axis.plot(ms, curves[row], ".", color=BLUE, ms=2.5, label="correlogram")
        axis.plot(ms, fits[row], color=VERMILION, lw=1.2, label="fitted Gabor function")
        axis.set(xlim=(ms[0], ms[-1]), ylim=(low - margin, high + margin))
        period = "during" if during[row] else "before"
        axis.set_title(f"channels {channels_a[row]} and {channels_b[row]}, {period}", fontsize=SMALL, pad=2)
    outer_labels(figure, scale.label("lag", "ms"), unit)
    grid_legend(figure, axes[0])
    return figure


def verdicts(rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Draw what each check found with its 95 % interval: field, controls, known system; None where nothing was found.

    Args:
        rows: rows of `checks.json`, see `analysis.report.verdicts`.
    """
    rows = [row for row in rows if _finite(row.get("found"))]
    if not rows:
        return None
    columns = min(3, len(rows))
    lines = -(-len(rows) // columns)
    names = list(dict.fromkeys(name for row in rows for name in row.get("controls") or {}))
    figure = new_figure(height=lines * (0.85 + 0.22 * (2 + len(names))))
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes[len(rows) :]:
        axis.set_axis_off()
    for axis, row in zip(axes, rows, strict=False):
        style_axes(axis, row["unit"], "", row["name"])
        entries = (
            {"field": row} | (row.get("controls") or {}) | ({"known system": row["known"]} if row.get("known") else {})
        )
        for place, (name, entry) in enumerate(entries.items()):
            colour = CONTROL_COLOURS[names.index(name) % len(CONTROL_COLOURS)] if name in names else BLUE
            if not _finite(entry.get("found")):
                where = axis.get_yaxis_transform()
                axis.text(0.02, place, entry["verdict"], transform=where, va="center", fontsize=SMALL, color=GREY)
                continue
            if (entry.get("unit") or row["unit"]) != row["unit"]:
                where, said = axis.get_yaxis_transform(), f"{entry['found']:.3g} {entry['unit']}"
                axis.text(0.02, place, said, transform=where, va="center", fontsize=SMALL, color=colour)
                continue
            found = float(entry["found"])
            bounds = [float(entry[key]) if _finite(entry.get(key)) else found for key in ("low", "high")]
            lengths = [[max(found - bounds[0], 0)], [max(bounds[1] - found, 0)]]
            filled = colour if entry["verdict"] == "present" else "white"
            axis.errorbar(found, place, xerr=lengths, fmt="o", color=colour, mfc=filled, ms=5, capsize=2.5, lw=1.3)
        axis.set_yticks(np.arange(len(entries)), [name.replace("_", " ") for name in entries])
        axis.set_ylim(len(entries) - 0.5, -0.5)
        axis.xaxis.set_major_locator(MaxNLocator(5))
    return figure


def _finite(value: Any) -> bool:
    return value is not None and bool(np.isfinite(float(value)))
