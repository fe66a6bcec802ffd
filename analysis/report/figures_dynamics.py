"""Figures of activity over time: transients, traces, autocorrelograms, the lag of momentum behind state, and mixing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.measures import lag
from analysis.report.figures import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PALE,
    SMALL,
    TEXT,
    VERMILION,
    contrast_colours,
    grid_legend,
    legend,
    mark_stimulus,
    new_figure,
    note,
    outer_labels,
    panels,
    shown_channels,
    style_axes,
)
from analysis.report.figures_responses import MODES
from recordings.periods import Periods, TimeScale

TRACE = 120  # steps of a pair of traces: more would hide a lag of a step
SEARCHED = 12  # steps to both sides in which the lag is looked for: within a cycle of the oscillations


def transients(contrasts, on_step, on, off_step, off, scale: TimeScale) -> Figure:
    """Draw the summed rectified activity around onset and offset for each contrast.

    Args:
        contrasts: (contrasts,).
        on_step, off_step: (steps,) relative to the change.
        on, off: (modes, steps, contrasts) state, less the mean of the blanks.
        scale: time scale.
    """
    modes = on.shape[0]
    figure = new_figure(height=0.5 + 2.4 * modes)
    axes = figure.subplots(modes, 2, squeeze=False)
    for mode in range(modes):
        parts = ((on_step, on, "onset", (0, np.inf)), (off_step, off, "offset", (-np.inf, 0)))
        for axis, (steps, values, change, shaded) in zip(axes[mode], parts, strict=True):
            ms = scale.to_ms(np.asarray(steps))
            style_axes(axis, scale.label(f"time since {change}", "ms") if mode == modes - 1 else "", "")
            axis.set_xlim(ms[0], ms[-1])
            axis.axvspan(max(shaded[0], ms[0]), min(shaded[1], ms[-1]), color=PALE, lw=0, zorder=-10)
            axis.axhline(0, color=GREY, lw=0.7)
            for column, colour in enumerate(contrast_colours(len(contrasts))):
                axis.plot(ms, values[mode, :, column], color=colour, lw=1, label=f"{contrasts[column]:.2g}")
            axis.set_title(f"{change}, {MODES[mode]}", fontsize=TEXT)
        axes[mode, 0].set_ylabel("summed state − blank", fontsize=TEXT)
        legend(axes[mode, 1], "contrast", beside=True)
    return figure


def state_traces(steps, contrasts, traces, angle, periods: Periods, scale: TimeScale) -> Figure:
    """Draw the mean trace of each channel around onset at its preferred angle, one line for every second contrast.

    Args:
        steps: (time,) since onset.
        contrasts: (contrasts,).
        traces: (channels, time, contrasts) state, NaN where no stimulus matches the channel.
        angle: (channels,) of the stimuli, radian.
        periods, scale: of the recording.
    """
    matched = np.flatnonzero(np.isfinite(traces).any(axis=(1, 2)))
    if not matched.size:
        figure = new_figure(6, 2)
        note(style_axes(figure.subplots()), "no channel prefers a shown angle")
        return figure
    channels = matched[shown_channels(matched.size)]
    figure, axes, _ = panels(channels.size, ratio=0.75, most=6, left=0.75)
    chosen = np.arange(len(contrasts))[::-2][::-1]
    ms = scale.to_ms(np.asarray(steps))
    # What the sampler does in its first steps would flatten all that follows.
    low, high = np.nanquantile(traces[channels][..., chosen], [0.001, 0.999])
    margin = 0.05 * (high - low) or 0.1
    for axis, channel in zip(axes, channels, strict=True):
        axis.set(xlim=(ms[0], ms[-1]), ylim=(low - margin, high + margin))
        mark_stimulus(axis, periods, scale)
        for column, colour in zip(chosen, contrast_colours(chosen.size), strict=True):
            axis.plot(ms, traces[channel, :, column], color=colour, lw=0.7, label=f"{contrasts[column]:.2g}")
        axis.set_title(f"{channel}: {np.degrees(angle[channel]):.0f}°", fontsize=SMALL, pad=2)
    outer_labels(figure, scale.label("time since onset", "ms"), "state, mean over stimuli")
    grid_legend(figure, axes[0], "contrast (shaded: stimulus)")
    return figure


def autocorrelograms(lags, during, before, scale: TimeScale) -> Figure:
    """Draw the autocorrelogram of each channel during the stimulus and before it.

    Args:
        lags: (lags,) steps.
        during, before: (channels, lags), NaN where no neuron counts.
        scale: time scale.
    """
    channels = shown_channels(len(during))
    figure, axes, _ = panels(channels.size, ratio=0.62)
    ms = scale.to_ms(np.asarray(lags))
    first = None
    for axis, channel in zip(axes, channels, strict=True):
        axis.set(xlim=(ms[0], ms[-1]), ylim=(-0.6, 1.05))
        axis.axhline(0, color=GREY, lw=0.5)
        axis.set_title(f"channel {channel}", fontsize=SMALL, pad=2)
        if not np.isfinite(during[channel]).any():
            note(axis, "none")
            continue
        axis.plot(ms, before[channel], color=GREY, lw=0.9, label="before the stimulus")
        axis.plot(ms, during[channel], color=BLUE, lw=0.9, label="during the stimulus")
        first = first or axis
    outer_labels(figure, scale.label("lag", "ms"), "autocorrelation")
    if first is not None:
        grid_legend(figure, first)
    return figure


def state_momentum(arrays: Mapping[str, np.ndarray], scale: TimeScale, most: int = 4) -> Figure:
    """Draw state and negative momentum over each other, during the stimulus and before it, and their correlogram.

    The channels are those whose correlogram is strongest.

    Args:
        arrays: trace_steps (steps,), state_during, momentum_during, state_before, momentum_before (channels, steps),
            autocorrelogram_lags, autocorrelogram_during, autocorrelogram_before, correlogram_lags, correlogram.
        scale: time scale.
        most: channels drawn.
    """
    strength = np.nan_to_num(np.abs(arrays["correlogram"]).max(axis=1))
    channels = np.sort(np.argsort(-strength)[:most])
    figure = new_figure(height=0.5 + 1.65 * channels.size)
    axes = figure.subplots(channels.size, 4, squeeze=False, width_ratios=(2, 2, 1.3, 1.3))
    length = min(np.shape(arrays["state_during"])[1], TRACE)
    ms = scale.to_ms(np.arange(length) - length)
    for row, channel in zip(axes, channels, strict=True):
        for axis, period in zip(row, ("during", "before"), strict=False):
            style_axes(axis)
            for name, sign, colour, label in (("state", 1, BLUE, "state"), ("momentum", -1, VERMILION, "−momentum")):
                values = sign * np.asarray(arrays[f"{name}_{period}"][channel], float)[-length:]
                spread = np.std(values)
                axis.plot(ms, values / (spread if spread > 0 else 1), color=colour, lw=0.8, label=label)
            axis.set_xlim(ms[0], ms[-1])
            axis.set_ylim(-4, 5.5)  # room for the legend
        row[0].set_ylabel(f"channel {channel}\nstandard deviations", fontsize=SMALL)
        own, both = style_axes(row[2]), style_axes(row[3])
        lags = scale.to_ms(arrays["autocorrelogram_lags"])
        own.plot(lags, arrays["autocorrelogram_before"][channel], color=GREY, lw=0.9, label="before")
        own.plot(lags, arrays["autocorrelogram_during"][channel], color=BLUE, lw=0.9, label="during")
        _correlogram(both, arrays["correlogram_lags"], arrays["correlogram"][channel], scale)
    titles = ("end of the stimulus", "end of the blank", "state, autocorrelation", "state with −momentum")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=TEXT)
    for axis in axes[-1, :2]:
        axis.set_xlabel("time to the end (ms)", fontsize=TEXT)
    axes[-1, 2].set_xlabel("lag (ms)", fontsize=TEXT)
    axes[-1, 3].set_xlabel("lag (ms)", fontsize=TEXT)
    legend(axes[0, 0], ncols=2, loc="upper right")
    legend(axes[0, 2], loc="upper right")
    figure.supxlabel(f"time scale: {scale.origin}", fontsize=SMALL, color=GREY)
    return figure


def _correlogram(axis, lags, values, scale: TimeScale) -> None:
    # Correlograms are sums of state[n + lag] inhibition[n]: inhibition that follows has its peak at negative lags.
    lags = -np.asarray(lags)
    ms, searched = scale.to_ms(lags), np.abs(lags) <= SEARCHED
    axis.axvline(0, color=GREY, lw=0.6)
    axis.plot(ms, values, color=INK, lw=0.9)
    if np.isfinite(values[searched]).any():
        top = int(np.nanargmax(np.where(searched, values, np.nan)))
        axis.plot(ms[top], values[top], "v", color=VERMILION, ms=5)
    near = min(3 * SEARCHED * scale.ms_per_step, np.max(np.abs(ms)))
    axis.set_xlim(-near, near)


def lag_correlograms(lags, correlogram, scale: TimeScale) -> Figure:
    """Draw the correlogram of state with negative momentum of every channel as a row of colours, and their mean.

    Args:
        lags: (lags,) steps.
        correlogram: (channels, lags) correlation.
        scale: time scale.
    """
    figure = new_figure(height=min(2.6 + 0.1 * len(correlogram), 5.0))
    image, mean = figure.subplots(1, 2, width_ratios=(1.3, 1))
    order = np.argsort(-np.asarray(lags))
    ms, values = -scale.to_ms(np.asarray(lags))[order], np.asarray(correlogram)[:, order]
    half = (ms[1] - ms[0]) / 2 if ms.size > 1 else 0.5
    reach = np.nanmax(np.abs(values), initial=0) or 1.0
    extent = (ms[0] - half, ms[-1] + half, len(values) - 0.5, -0.5)
    drawn = image.imshow(values, aspect="auto", extent=extent, cmap="RdBu_r", vmin=-reach, vmax=reach, rasterized=True)
    style_axes(image, scale.label("−momentum behind state", "ms"), "channel")
    image.yaxis.get_major_locator().set_params(integer=True)
    bar = figure.colorbar(drawn, ax=image, pad=0.01)
    bar.set_label("correlation", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    style_axes(mean, scale.label("−momentum behind state", "ms"), "correlation, mean over channels")
    _correlogram(mean, np.asarray(lags), np.nanmean(correlogram, axis=0), scale)
    return figure


def lag_histogram(lag_steps, scale: TimeScale) -> Figure:
    """Draw the lags of negative momentum behind state, over stimuli and channels and as means of channels.

    Args:
        lag_steps: (stimuli, channels) steps, positive where inhibition follows.
        scale: time scale.
    """
    figure = new_figure(height=3.3)
    axis, means = figure.subplots(1, 2)
    ms = scale.to_ms(np.asarray(lag_steps, float))
    finite = ms[np.isfinite(ms)]
    low, high = np.quantile(finite, [0.005, 0.995]) if finite.size else (0, 1)
    low, high = min(low, 0) - 1, max(high, 0) + 1
    bins = np.linspace(low, high, 61)
    style_axes(axis, scale.label("−momentum behind state", "ms"), "neurons × stimuli")
    axis.hist(np.clip(finite, low, high), bins=bins, color=BLUE, alpha=0.85)
    axis.axvline(0, color=INK, lw=0.8)
    axis.set_xlim(low, high)
    per_channel = np.nanmean(ms, axis=0)
    style_axes(means, scale.label("−momentum behind state", "ms"), "channels")
    means.hist(per_channel, bins=np.linspace(low, high, 31), color=ORANGE, alpha=0.85)
    means.yaxis.get_major_locator().set_params(integer=True)
    means.axvline(0, color=INK, lw=0.8)
    if ms.shape[1] > 1:
        interval = lag.lag_interval(ms.T, 0.95)
        estimate, lower, upper = (float(value) for value in interval[:3])
        top = means.get_ylim()[1]
        means.set_ylim(0, 1.15 * top)
        means.errorbar(
            estimate, 1.06 * top, xerr=[[estimate - lower], [upper - estimate]], fmt="D", color=VERMILION, ms=4,
            capsize=3,
        )  # fmt: skip
        means.set_title(f"mean {estimate:.2f} ms, 95 % interval {lower:.2f} to {upper:.2f}", fontsize=TEXT)
    means.set_xlim(low, high)
    return figure


def diagnostics(report: Mapping[str, Any]) -> Figure:
    """Draw what `diagnostics.json` holds: mixing of each quantity, temperatures, stability, and the energy gap.

    Args:
        report: the file's content; parts that are absent or null are left out.
    """
    figure = new_figure(height=5.6)
    r_hat, samples, time, temperature, energy, gap = figure.subplots(2, 3).ravel()
    mixing = report.get("mixing", {})
    names = [name.replace("_", " ") for name in mixing]

    def bars(axis, key: str, label: str) -> None:
        style_axes(axis, label)
        values = np.array([_number(row.get(key)) for row in mixing.values()])
        axis.barh(np.arange(len(names)), np.nan_to_num(values), color=BLUE, height=0.6)
        axis.set_yticks(np.arange(len(names)), names)
        axis.invert_yaxis()
        for place, value in enumerate(values):
            if np.isfinite(value):
                axis.text(value, place, f" {value:.4g}", va="center", fontsize=SMALL)
            else:
                where = axis.get_yaxis_transform()
                axis.text(0.02, place, "does not move", va="center", fontsize=SMALL, color=GREY, transform=where)
        axis.margins(x=0.25)
        axis.locator_params(axis="x", nbins=4)

    bars(r_hat, "r_hat", "R̂ (1: chains agree)")
    values = [_number(row.get("r_hat")) for row in mixing.values()]
    r_hat.axvline(1.01, color=VERMILION, lw=1, ls="--")
    r_hat.set_xlim(0.98, 0.98 + 1.3 * (max(1.05, np.nanmax([1.0, *values])) - 0.98))
    bars(samples, "effective_samples_per_gradient", "effective samples per gradient")
    bars(time, "autocorrelation_time", "autocorrelation time (steps)")

    heat = report.get("temperature") or {}
    style_axes(temperature, "layer", "temperature")
    for key, label, mark, colour in (
        ("of_noise", "noise against friction", "s", BLUE),
        ("of_momentum", "mean squared momentum", "o", ORANGE),
    ):
        if heat.get(key):
            found = [_number(value) for value in heat[key]]
            temperature.plot(np.arange(len(found)), found, mark, color=colour, ms=5, label=label, alpha=0.8)
            temperature.set_xticks(np.arange(len(found)))
    temperature.margins(x=0.2, y=0.15)
    temperature.set_ylim(0, None)
    legend(temperature)

    style_axes(energy, "stretch of the run", "energy per pixel")
    stretches = (report.get("stability") or {}).get("energy_per_pixel") or []
    heights = [_number(value) for value in stretches]
    energy.plot(np.arange(1, len(heights) + 1), heights, "o-", color=BLUE, ms=3.5, lw=1)
    energy.xaxis.get_major_locator().set_params(integer=True)

    style_axes(gap, "energy per pixel")
    impostors = report.get("energy_gap") or {}
    rows = [("held-out images", next(iter(impostors.values()))["energy"], None)] if impostors else []
    rows += [(name, row["impostor_energy"], row["auroc"]) for name, row in impostors.items()]
    for place, (name, value, area) in enumerate(rows):
        gap.plot(value, place, "o", color=BLUE if area is None else VERMILION, ms=6)
        text = name if area is None else f"{name}, AUROC {area:.2f}"
        gap.annotate(text, (value, place), (0, 7), textcoords="offset points", ha="center", fontsize=SMALL)
    gap.set_yticks([])
    gap.spines["left"].set_visible(False)
    gap.margins(x=0.35, y=0.25)
    gap.invert_yaxis()
    for axis, has in ((temperature, heat), (energy, stretches), (gap, rows), (r_hat, mixing)):
        if not has:
            note(axis, "not measured")
    return figure


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
