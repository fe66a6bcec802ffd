"""Spectra of single neurons and of summed activity: oscillations, their frequency, and how contrast changes them.

The summed state of a patch stands in for a local field potential (LFP). Time is always axis 0; spectra have frequency
on the last axis.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import signal

from analysis.measures.peaks import find_peaks
from recordings.periods import Periods, TimeScale


class Oscillations(NamedTuple):
    """Spectral peaks of traces (one entry a trace) in one period."""

    frequencies: np.ndarray  # (bins,) cycles per step
    power: np.ndarray  # (traces, bins) state², a sine of amplitude A has a peak of A²/2
    peaks: np.ndarray  # (traces, bins) bool
    weighted_power: np.ndarray  # (traces,) sum over bins of frequency × power


class Spectrogram(NamedTuple):
    """Power over frequency and time."""

    frequencies: np.ndarray  # (bins,) in the unit of the sampling rate
    times: np.ndarray  # (windows,) middle of each window, in the inverse unit
    power: np.ndarray  # (..., bins, windows) density


def power_spectrum(traces, sampling_rate: float = 1.0, window: int = 256, scaling: str = "density"):
    """Return Welch's power spectrum (1967) of every trace: hann windows, half overlap, mean removed per window.

    Args:
        traces: (time, ...).
        sampling_rate: steps per unit of time; frequencies come out in its unit.
        window: steps a window, shortened to the trace.
        scaling: 'density' (power per frequency) or 'spectrum' (power).

    Returns:
        frequencies (bins,) and power (..., bins).
    """
    traces = np.moveaxis(np.asarray(traces, np.float64), 0, -1)
    return signal.welch(traces, sampling_rate, nperseg=min(window, traces.shape[-1]), scaling=scaling)


def find_oscillations(traces, window: int = 1000) -> Oscillations:
    """Find the spectral peaks of each trace: prominence of half the largest power, at least 3 bins apart.

    A linear trend is removed first. A spectrum without such a peak gives its largest bin.

    Args:
        traces: (time, traces).
        window: steps of a Welch window.
    """
    frequencies, power = power_spectrum(signal.detrend(traces, axis=0), window=window, scaling="spectrum")
    largest = power.max(axis=1)
    peaks = find_peaks(power, largest / 2, distance=3)
    alone = ~peaks.any(axis=1)
    peaks[alone, power[alone].argmax(axis=1)] = True
    return Oscillations(frequencies, power, peaks, power @ frequencies)


def oscillations_by_period(traces, periods: Periods | None = None) -> tuple[Oscillations, Oscillations]:
    """Find oscillations with and without the stimulus, windowed alike; without is the longest uninterrupted blank.

    Args:
        traces: (time, traces).
        periods: periods of the recording.

    Returns:
        Oscillations during the stimulus and outside it.
    """
    periods = periods or Periods()
    periods.check(len(traces))
    outside = traces[periods.before if periods.blank >= periods.blank_after else periods.after]
    window = min(1000, periods.stimulus, len(outside))
    return find_oscillations(traces[periods.during], window), find_oscillations(outside, window)


def frequency_power(oscillations: Oscillations, least_power: float = 1e-5) -> np.ndarray:
    """Return the sum over peaks of frequency × power per trace; NaN where the highest peak is at most `least_power`."""
    product = (oscillations.power * oscillations.frequencies * oscillations.peaks).sum(axis=1)
    highest = np.where(oscillations.peaks, oscillations.power, 0).max(axis=1)
    return np.where((product > 0) & (highest > least_power), product, np.nan)


def mean_by_contrast(values, contrasts) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct contrasts and the mean of the finite values at each of them (NaN where there is none)."""
    values, contrasts = np.asarray(values, float), np.asarray(contrasts, float)
    levels, index = np.unique(contrasts, return_inverse=True)
    keep = np.isfinite(values)
    count = np.bincount(index[keep], minlength=levels.size)
    total = np.bincount(index[keep], values[keep], minlength=levels.size)
    return levels, np.divide(total, count, out=np.full(levels.size, np.nan), where=count > 0)


def local_field_potential(traces, selected, groups) -> tuple[np.ndarray, np.ndarray]:
    """Sum the traces of selected neurons for each group of stimuli.

    Args:
        traces: (time, stimuli, channels, ...) state; everything behind channels is summed.
        selected: (stimuli, channels) or (stimuli, channels, ...) bool.
        groups: (stimuli,) label of each stimulus, such as its contrast.

    Returns:
        distinct labels (groups,) and the sums (time, groups).
    """
    traces = np.asarray(traces)
    selected = np.asarray(selected, bool)
    selected = selected.reshape(selected.shape + (1,) * (traces.ndim - 1 - selected.ndim))
    weight = np.broadcast_to(selected, traces.shape[1:]).astype(np.float64)
    summed = np.einsum("tsn,sn->ts", traces.reshape(*traces.shape[:2], -1), weight.reshape(weight.shape[0], -1))
    labels, index = np.unique(groups, return_inverse=True)
    return labels, summed @ np.eye(labels.size)[index]


def spectrogram(series, sampling_rate: float, window: int = 256, hop: int = 1) -> Spectrogram:
    """Return the power density of a series in sliding windows (Hann window, nothing removed).

    P(f, t) = 2 |Σ_n w_n x_{t+n} exp(-2πi f n)|² / (sampling_rate Σ w_n²), without the 2 at 0 and at the highest bin.

    Args:
        series: (time, ...).
        sampling_rate: steps per unit of time.
        window: steps a window, even.
        hop: steps from window to window.

    Raises:
        ValueError: the series is shorter than a window.
    """
    series = np.moveaxis(np.asarray(series, np.float64), 0, -1)
    if series.shape[-1] < window:
        raise ValueError(f"A spectrogram with windows of {window} steps needs a longer series than {series.shape[-1]}.")
    taper = np.hanning(window)
    return Spectrogram(*signal.spectrogram(series, sampling_rate, taper, noverlap=window - hop, detrend=False))


def driven_peak_frequency(
    field, periods: Periods, scale: TimeScale | None = None, band: tuple[float, float] = (5.0, 100.0)
) -> np.ndarray:
    """Return the frequency (hertz) at which the stimulus raises power the most, NaN where it raises none.

    Power with the stimulus is divided by the mean power of the blanks before it: the slope of the background, which
    would pull weak oscillations towards lower or higher frequencies, drops out. A peak counts only if it is higher than
    the highest of 95 % of the blanks, divided alike; the place of a peak of noise says nothing and lies in the middle
    of the band on average, which alone would make a trend with contrast.

    Args:
        field: (time, stimuli) local field potential.
        periods: of the recording.
        scale: time scale.
        band: frequencies to look in, hertz.
    """
    scale = scale or TimeScale()
    field = signal.detrend(np.asarray(field, float), axis=0)
    window = min(256, periods.stimulus, periods.blank)
    powers = [
        power_spectrum(signal.detrend(field[part], axis=0), scale.sampling_rate, window)
        for part in (periods.during, periods.before)
    ]
    frequencies, blank = powers[1]
    inside = (frequencies >= band[0]) & (frequencies <= band[1])
    reference = blank.mean(axis=0)
    ratios = [np.where(inside, power / np.where(reference > 0, reference, np.inf), 0) for _, power in powers]
    threshold = np.quantile(ratios[1].max(axis=1), 0.95)
    return np.where(ratios[0].max(axis=1) > threshold, _interpolated_maximum(frequencies, ratios[0]), np.nan)


def _interpolated_maximum(frequencies, power) -> np.ndarray:
    """Return where the last axis is largest, between bins by a parabola through the three highest points."""
    top = np.clip(power.argmax(axis=-1), 1, len(frequencies) - 2)
    left, middle, right = (np.take_along_axis(power, (top + o)[..., None], -1)[..., 0] for o in (-1, 0, 1))
    curvature = left - 2 * middle + right
    shift = np.where(curvature < 0, 0.5 * (left - right) / np.where(curvature == 0, 1, curvature), 0)
    return (top + np.clip(shift, -0.5, 0.5)) * frequencies[1]
