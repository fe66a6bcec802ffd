"""Figures of tuning and of oscillations: preferences of channels, spectra, and what contrast does to them."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analysis.measures import statistics
from analysis.report.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    SMALL,
    TEXT,
    VERMILION,
    contrast_colours,
    cycles_axis,
    grid_legend,
    legend,
    new_figure,
    note,
    outer_labels,
    panels,
    shown_channels,
    style_axes,
    with_interval,
)
from recordings.periods import Periods, TimeScale

MODES = ("all neurons of the patch", "the centre neuron alone")


def tuning_grid(angles, curves, fitted, preferred, is_orientation, explained) -> Figure:
    """Draw the tuning curve of each channel with its fitted cosine and preferred angle; untuned channels are grey.

    Args:
        angles: (angles,) radian.
        curves, fitted: (channels, angles) centred, of unit length.
        preferred: (channels,) radian, NaN for untuned channels.
        is_orientation: (channels,) bool, two periods over the circle rather than one.
        explained: (channels,) share of variance.
    """
    channels = shown_channels(len(curves))
    figure, axes, lowest = panels(channels.size, ratio=0.7)
    degrees = np.degrees(angles)
    reach = 1.12 * max(np.abs(curves[channels]).max(initial=0), 1e-9)
    for axis, channel, low in zip(axes, channels, lowest, strict=True):
        tuned = np.isfinite(preferred[channel])
        axis.set_facecolor("white" if tuned else PALE)
        axis.plot(degrees, curves[channel], color=BLUE if tuned else GREY, lw=0.8, label="measured" if tuned else "")
        axis.plot(degrees, fitted[channel], color=VERMILION if tuned else "0.75", lw=1.3, label="fit" if tuned else "")
        period = 180 if is_orientation[channel] else 360
        if tuned:
            for angle in np.arange(np.degrees(preferred[channel]) % period, 360.01, period):
                axis.axvline(angle, color=INK, lw=0.9, ls=":")
        axis.set(xlim=(0, 360), ylim=(-reach, reach), xticks=(90, 180, 270))
        kind = "ori" if is_orientation[channel] else "dir"
        text = f"{channel}: {kind} {np.degrees(preferred[channel]):.0f}°" if tuned else f"{channel}: untuned"
        axis.set_title(f"{text}, R² {explained[channel]:.2f}", fontsize=SMALL, pad=2)
        axis.tick_params(labelbottom=bool(low))
    outer_labels(figure, "angle of the stimulus (degrees)", "response (centred, unit length)")
    for axis, tuned in zip(axes, np.isfinite(preferred[channels]), strict=True):
        if tuned:
            axis.axvline(-1e3, color=INK, lw=0.9, ls=":", label="preferred angle")
            grid_legend(figure, axis)
            break
    return figure


def tuning_polar(angles, curves, fitted, preferred) -> Figure:
    """Draw the tuning curves as distances from the middle, the lowest response of a channel at the small circle.

    Args: as `tuning_grid`.
    """
    channels = shown_channels(len(curves))
    figure, axes, _ = panels(channels.size, ratio=1.0, left=0.12, gap=(0.1, 0.12), strip=0, bottom=0.1, widest=1.8)
    around = np.linspace(0, 2 * np.pi, 181)
    closed = np.append(angles, angles[0])
    for axis, channel in zip(axes, channels, strict=True):
        tuned = np.isfinite(preferred[channel])
        base, span = curves[channel].min(), np.ptp(curves[channel]) or 1.0
        for radius in (0.25, 1.25):
            axis.plot(radius * np.cos(around), radius * np.sin(around), color="0.8", lw=0.6)
        for values, colour, width in (
            (curves[channel], BLUE if tuned else GREY, 0.8),
            (fitted[channel], VERMILION if tuned else "0.75", 1.3),
        ):
            radius = 0.25 + (np.append(values, values[0]) - base) / span
            axis.plot(radius * np.cos(closed), radius * np.sin(closed), color=colour, lw=width)
        if tuned:
            end = 1.25 * np.exp(1j * preferred[channel])
            axis.plot([0, end.real], [0, end.imag], color=INK, lw=0.9, ls=":")
        axis.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4))
        axis.set_axis_off()
        axis.text(0, 1, str(channel), transform=axis.transAxes, fontsize=SMALL, va="top", color=INK if tuned else GREY)
    return figure


def preference_circle(preferred, amplitude, is_orientation) -> Figure:
    """Draw the preferred angle of each tuned channel as a spoke as long as the amplitude of its fit.

    A channel tuned to orientation has a spoke in both directions.

    Args:
        preferred: (channels,) radian, NaN for untuned channels.
        amplitude: (channels,) of the fitted cosine.
        is_orientation: (channels,) bool.
    """
    figure = new_figure(8.4, 3.9)
    axis, spread = figure.subplots(1, 2, width_ratios=(1, 1.25))
    tuned = np.flatnonzero(np.isfinite(preferred))
    reach = 1.3 * np.max(amplitude[tuned], initial=1e-9)
    around = np.linspace(0, 2 * np.pi, 181)
    for share in (0.5, 1.0):
        axis.plot(share * reach / 1.3 * np.cos(around), share * reach / 1.3 * np.sin(around), color="0.85", lw=0.6)
    for kind, colour, label in ((True, BLUE, "orientation"), (False, ORANGE, "direction")):
        for channel in tuned[is_orientation[tuned] == kind]:
            end = amplitude[channel] * np.exp(1j * preferred[channel])
            start = -end if kind else 0j
            axis.plot([start.real, end.real], [start.imag, end.imag], color=colour, lw=1.2, label=label)
            tip = end * (1 + 0.07 * reach / max(abs(end), 1e-9))
            axis.text(tip.real, tip.imag, str(channel), fontsize=SMALL, ha="center", va="center", color=colour)
            label = ""
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axis.set_axis_off()
    axis.set_title("preferred angle, length = amplitude", fontsize=TEXT)
    handles, _ = axis.get_legend_handles_labels()
    if handles:
        legend(axis, loc="lower center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    else:
        note(axis, "no channel is tuned")
    style_axes(spread, "preferred orientation (degrees)", "channels")
    spread.hist(
        [np.degrees(preferred[tuned[is_orientation[tuned] == kind]]) % 180 for kind in (True, False)],
        bins=np.arange(0, 181, 15), stacked=True, color=[BLUE, ORANGE], rwidth=0.9,
    )  # fmt: skip
    spread.set(xlim=(0, 180), xticks=np.arange(0, 181, 45))
    spread.yaxis.get_major_locator().set_params(integer=True)
    return figure


def spectrograms(contrasts, frequency, step, spectrogram, neurons, periods: Periods, scale: TimeScale) -> Figure:
    """Draw frequency × power over time for each contrast (columns) and mode (rows), onset and offset marked.

    Args:
        contrasts: (contrasts,).
        frequency: (bins,) cycles per step.
        step: (windows,) middle of each window, steps of the recording.
        spectrogram: (modes, contrasts, bins, windows).
        neurons: (modes, contrasts) neurons summed.
        periods, scale: of the recording.
    """
    modes, columns = spectrogram.shape[:2]
    figure = new_figure(height=0.6 + 2.1 * modes)
    axes = figure.subplots(modes, columns, squeeze=False, sharex=True, sharey=True)
    hertz, ms = np.asarray(frequency) * scale.sampling_rate, scale.to_ms(np.asarray(step) - periods.onset)
    hop = ms[1] - ms[0] if ms.size > 1 else 1.0
    bin_width = hertz[1] - hertz[0] if hertz.size > 1 else 1.0
    highest = highest_frequency(hertz, np.moveaxis(spectrogram, 2, -1))
    extent = (ms[0] - hop / 2, ms[-1] + hop / 2, hertz[0] - bin_width / 2, hertz[-1] + bin_width / 2)
    for mode in range(modes):
        finite = spectrogram[mode][np.isfinite(spectrogram[mode])]
        top = float(np.quantile(finite, 0.995)) if finite.size else 1.0
        for column in range(columns):
            axis, values = axes[mode, column], spectrogram[mode, column]
            style_axes(axis, title=f"contrast {contrasts[column]:.2g}" if mode == 0 else "")
            if neurons[mode, column] == 0 or not np.isfinite(values).any():
                axis.set(xlim=extent[:2], ylim=(0, highest))
                note(axis, "no matched neuron")
                continue
            image = axis.imshow(
                values, origin="lower", aspect="auto", extent=extent, cmap="viridis", vmin=0, vmax=top,
                interpolation="nearest", rasterized=True,
            )  # fmt: skip
            axis.set(xlim=extent[:2], ylim=(0, highest))
            for change in (0, scale.to_ms(periods.stimulus)):
                axis.axvline(change, color="white", lw=1.0, ls="--")
        axes[mode, 0].set_ylabel(f"{MODES[mode]}\n{scale.label('frequency', 'Hz')}", fontsize=SMALL)
        if finite.size:
            bar = figure.colorbar(image, ax=list(axes[mode]), pad=0.01, extend="max")
            bar.set_label("frequency × power", fontsize=SMALL)
            bar.ax.tick_params(labelsize=SMALL)
    figure.supxlabel(scale.label("time since onset", "ms"), fontsize=TEXT)
    return figure


def highest_frequency(hertz: np.ndarray, power: np.ndarray, least: float = 60.0) -> float:
    """Return how far a frequency axis should reach: beyond 99 % of the power, and to `least` hertz.

    Args:
        hertz: (bins,) rising.
        power: (..., bins) what is drawn; NaN counts as nothing.
        least: hertz; the band in which cortex oscillates shall be seen even if nothing is there.
    """
    share = np.cumsum(np.nan_to_num(power).reshape(-1, len(hertz)).sum(axis=0))
    reach = hertz[min(int(np.searchsorted(share, 0.99 * share[-1])), len(hertz) - 1)]
    return float(min(hertz[-1], max(1.2 * reach, least)))


def power_spectra(contrasts, frequency, power, blank_power, neurons, scale: TimeScale) -> Figure:
    """Draw power density × frequency against frequency for each contrast, the blank of the same stimuli dashed.

    Args:
        contrasts: (contrasts,).
        frequency: (bins,) cycles per step.
        power, blank_power: (modes, contrasts, bins) density.
        neurons: (modes, contrasts) neurons summed.
        scale: time scale.
    """
    modes = power.shape[0]
    figure = new_figure(height=3.9)
    axes = figure.subplots(1, modes, squeeze=False)[0]
    keep = np.asarray(frequency) > 0
    hertz = np.asarray(frequency)[keep] * scale.sampling_rate
    top = highest_frequency(hertz, np.maximum(power, blank_power)[..., keep] * hertz)
    for mode, axis in enumerate(axes):
        style_axes(axis, scale.label("frequency", "Hz"), "power density × frequency (state²)")
        axis.set_title(MODES[mode], fontsize=TEXT, pad=6)
        for row, colour in enumerate(contrast_colours(len(contrasts))):
            if not neurons[mode, row]:
                continue
            label = f"{contrasts[row]:.2g} ({neurons[mode, row]})"
            # Density per hertz times hertz equals density per cycle a step times cycles a step.
            axis.plot(hertz, power[mode, row, keep] * frequency[keep], color=colour, lw=1.5, label=label)
            axis.plot(hertz, blank_power[mode, row, keep] * frequency[keep], color=colour, lw=1, ls="--")
        if not np.any(neurons[mode]):
            note(axis, "no channel prefers a shown angle")
            continue
        axis.set_xlim(0, top)
        axis.set_ylim(0, None)
        cycles_axis(axis, scale)
        axis.plot([], [], color=INK, lw=1, ls="--", label="blank before")
        legend(axis, "contrast (neurons)")
    return figure


def against_contrast(contrast, values, ylabel: str, blank: str = "") -> Figure:
    """Draw a value of each stimulus against its contrast: points, means with 95 % intervals, and the line of the trend.

    Args:
        contrast, values: (stimuli,); NaN where a stimulus gives none.
        ylabel: of the axis.
        blank: what a NaN means, for the title; values that are not finite are counted there.
    """
    figure = new_figure(6.6, 3.6)
    axis = style_axes(figure.subplots(), "contrast", ylabel)
    contrast, values = np.asarray(contrast, float), np.asarray(values, float)
    levels = np.unique(contrast)
    keep = np.isfinite(values)
    step = np.diff(levels).min() if levels.size > 1 else 1.0
    shift = np.random.default_rng(0).uniform(-0.12, 0.12, contrast.size) * step
    axis.plot((contrast + shift)[keep], values[keep], "o", color=BLUE, ms=3.5, alpha=0.5, mew=0, label="stimuli")
    rows = [values[keep & (contrast == level)] for level in levels]
    several = [n for n, row in enumerate(rows) if row.size > 1]
    if several:
        intervals = [statistics.student_interval(rows[n], level=0.95) for n in several]
        mean, low, high = (np.array([part[k] for part in intervals], float) for k in range(3))
        with_interval(axis, levels[several] + 0.2 * step, mean, low, high, color=INK, label="mean, 95 % interval")
    driven = keep & (contrast > 0)
    trend = statistics.trend_test(contrast[driven], values[driven])
    if np.isfinite(trend["rho"]):
        reach = np.array([contrast[driven].min(), contrast[driven].max()])
        label = f"trend: ρ = {trend['rho']:.2f}, p = {trend['p_value']:.2g}"
        axis.plot(reach, trend["intercept"] + trend["slope"] * reach, color=VERMILION, lw=1.5, label=label)
    if blank and not keep.all():
        axis.set_title(f"{blank}: {np.sum(~keep)} of {keep.size} stimuli", fontsize=SMALL)
    if not keep.any():
        note(axis, "no stimulus gave a value")
        axis.set_yticks([])
    axis.set_xticks(levels if levels.size < 12 else levels[:: levels.size // 8], minor=False)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
    if keep.any():
        legend(axis, beside=True)
    return figure


def frequency_power(contrasts, means, count, during, outside, scale: TimeScale) -> Figure:
    """Draw mean frequency × power against contrast, and the frequencies found with and without the stimulus.

    Args:
        contrasts, means, count: (contrasts,) mean over active and matched neurons, and how many there are.
        during, outside: (neurons,) frequency of each neuron's oscillation, cycles per step.
        scale: time scale.
    """
    figure = new_figure(height=3.4)
    axis, spread = figure.subplots(1, 2)
    style_axes(axis, "contrast", "Σ frequency × power (state² cycles / step)")
    axis.plot(contrasts, means, "o-", color=BLUE, lw=1.4, ms=4)
    for x, y, n in zip(contrasts, means, count, strict=True):
        if np.isfinite(y):
            axis.annotate(f"n = {int(n)}", (x, y), (-4, 4), textcoords="offset points", ha="right", fontsize=SMALL)
    axis.margins(x=0.12, y=0.15)
    if not np.isfinite(means).any():
        note(axis, "no active neuron is matched to its stimulus")
    style_axes(spread, scale.label("frequency of the oscillation", "Hz"), "neurons × stimuli")
    rate = scale.sampling_rate
    highest = np.nanmax(np.concatenate([during, outside]), initial=0) * rate
    bins = np.linspace(0, min(rate / 2, max(60.0, 1.1 * highest)), 41)
    for values, colour, label in ((outside, GREY, "outside"), (during, GREEN, "during the stimulus")):
        values = np.asarray(values, float) * rate
        spread.hist(values[np.isfinite(values)], bins=bins, color=colour, alpha=0.6, label=label)
    spread.set_xlim(0, bins[-1])
    if np.size(during) == 0:
        note(spread, "no active neuron is matched to its stimulus")
    else:
        legend(spread)
    return figure
