"""Figures of the checks: what of the trials of a recording led to its verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.checks.phase import phases_of_inhibition
from analysis.checks.quenching import ratios_of_contrasts
from analysis.checks.trials import Trials, before, residuals, summed, sustained
from analysis.checks.verdict import Verdict
from analysis.checks.whittle import band_of, fit_resonance, periodograms, spectrum
from analysis.report.figures import GREY, INK, contrast_colours, legend, new_figure, note, style_axes


def draw_trials(trials: Trials, verdicts: Sequence[Verdict]) -> Figure:
    """Mean response, spectra with their fits, resonance, overshoot and variance against contrast, and the phase.

    Args:
        trials: the recording.
        verdicts: of `table.check_trials` on it.
    """
    figure = new_figure(10.6, 5.6)
    axes = figure.subplots(2, 3).ravel()
    details = {verdict.check: verdict.details or {} for verdict in verdicts}
    _responses(axes[0], trials)
    _spectra(axes[1], trials)
    _against_contrast(axes[2], details["resonance_rises"], "hertz", "resonance (Hz)", "Resonance of the summed signal")
    _against_contrast(axes[3], details["overshoot_grows"], "ratio", "peak / sustained", "Onset overshoot", 1.0)
    _variances(axes[4], trials)
    _phases(axes[5], trials)
    return figure


def _responses(axis: Axes, trials: Trials) -> None:
    traces = summed(trials)
    traces = traces - traces[:, before(trials)].mean()
    first = max(trials.onset - trials.duration // 3, 0)
    time = (np.arange(first, trials.offset) - trials.onset) * trials.sample_ms
    for level, colour in zip(trials.levels, contrast_colours(len(trials.levels)), strict=True):
        mean = traces[trials.contrast == level].mean(axis=0)[first : trials.offset]
        axis.plot(time, mean, color=colour, lw=1, label=f"{level:g}")
    axis.axvline(0, color=GREY, lw=0.8)
    style_axes(axis, "time from onset (ms)", "summed signal", "Mean response")
    legend(axis, "contrast")


def _spectra(axis: Axes, trials: Trials) -> None:
    power, frequencies = periodograms(residuals(summed(trials)[:, sustained(trials)], trials.shown()))
    widest = 0.0
    for level, colour in zip(trials.levels, contrast_colours(len(trials.levels)), strict=True):
        mean = power[trials.contrast == level].mean(axis=0)
        band = band_of(mean, frequencies)
        fit = fit_resonance(mean[band], frequencies[band])
        shown = trials.hertz(frequencies[band])
        axis.plot(shown, mean[band], color=colour, lw=0.7, alpha=0.6)
        axis.plot(shown, spectrum(fit, frequencies[band], mean[band]), color=colour, lw=1.3)
        widest = max(widest, shown[-1])
    axis.set_yscale("log")
    axis.set_xlim(0, widest)
    style_axes(axis, "frequency (Hz)", "power", "Spectra (thin) and fitted resonance")


def _against_contrast(axis: Axes, details: dict, key: str, label: str, title: str, line: float | None = None) -> None:
    style_axes(axis, "contrast", label, title)
    if key not in details:
        note(axis, "not tested")
        return
    contrast, values = np.array(details["contrast"]), np.array(details[key], float)
    bounds = np.array(details[f"{key}_interval"], float)
    shown = np.isfinite(values) & np.isfinite(bounds).all(axis=1)
    if not shown.any():
        note(axis, "no peak in any spectrum" if key == "hertz" else "no response")
        return
    # A percentile interval need not hold its own middle.
    below, above = (np.maximum(each, 0) for each in ((values - bounds[:, 0])[shown], (bounds[:, 1] - values)[shown]))
    axis.errorbar(contrast[shown], values[shown], (below, above), fmt="o-", ms=3.5, lw=1, color=INK, capsize=2)
    if line is not None:
        axis.axhline(line, color=GREY, lw=0.8)


def _variances(axis: Axes, trials: Trials) -> None:
    axis.plot(trials.levels, ratios_of_contrasts(trials), "o-", ms=3.5, lw=1, color=INK)
    axis.axhline(1.0, color=GREY, lw=0.8)
    axis.set_ylim(bottom=0)
    style_axes(axis, "contrast", "during / before", "Variance across trials, mean over channels")


def _phases(axis: Axes, trials: Trials) -> None:
    style_axes(axis, "contrast", "inhibition after excitation (ms)", "Phase (no verdict)")
    if trials.momentum is None:
        note(axis, "no momentum was recorded")
        return
    found = [each for each in phases_of_inhibition(trials) if np.isfinite(each.milliseconds)]
    if not found:
        note(axis, "no peak in any spectrum")
        return
    axis.plot([each.contrast for each in found], [each.milliseconds for each in found], "o-", ms=3.5, lw=1, color=INK)
    axis.set_ylim(bottom=0)
