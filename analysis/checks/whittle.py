"""Spectra of trials, and the resonance fitted to them by Whittle's likelihood, many spectra at a time.

The spectrum of a damped oscillator driven by white noise, on a flat background, is

    S(ω) = A / ((ω0² - ω²)² + γ² ω²) + B

It has a peak, at √(ω0² - γ²/2), only if Q = ω0/γ > 1/√2; overdamped noise of any speed is the limit of small Q. With
P the mean periodogram, Whittle's likelihood is -Σ (log S + P/S): it knows that a periodogram scatters in proportion
to itself. It is maximised over log A, log ω0, log Q, log B by Fisher scoring, from several starts, of which the best
is kept. The band ends at twice the frequency below which 95 % of the power lies: far above a resonance the spectrum
falls by decades and its shape is that of the step of the integrator or of the recording filter, which the formula
does not know (fitted up to Nyquist, a resonance of 24 Hz and Q 1.2 reads 26 Hz and 1.7). Whittle, J. Roy. Stat. Soc.
B 1953.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LEAST_Q = 2**-0.5  # below it the spectrum has no peak
LEAST_SHARE = 0.1  # of the band's power that a resonance must carry; a spike in white noise carries some per cent
HIGHEST = 0.85  # of the Nyquist frequency, the end of the band
FIRST_BIN = 2  # of the tapered periodogram: lower ones hold the drift of a trial
BAND_SHARE, BAND_FACTOR, LEAST_BINS = 0.95, 2.0, 24
STEPS, RIDGE = 40, 1e-3
STARTS = tuple((f, q) for f in (0.04, 0.1, 0.25, 0.55) for q in (0.25, 1.2, 5.0))  # ω0 in bands, Q


class Resonance(NamedTuple):
    """Fits of any number of spectra; each field has the shape of the spectra without their last axis."""

    frequency: np.ndarray  # of the peak, cycles per sample; NaN where there is none
    quality: np.ndarray  # Q = ω0/γ; 0 where it carries too little of the power or has its peak outside the band
    natural: np.ndarray  # ω0 / 2π, cycles per sample
    share: np.ndarray  # of the band's power in the oscillator
    deviance: np.ndarray  # Σ (log S + P/S), for comparing starts
    parameters: np.ndarray  # (..., 4), log A, log ω0, log Q, log B in units of the band and the mean power


def periodograms(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tapered periodograms of traces, and their frequencies.

    Args:
        values: (trials, time).

    Returns:
        Power (trials, frequencies) and frequencies in cycles per sample.
    """
    steps = values.shape[1]
    taper = np.hanning(steps + 2)[1:-1]
    power = np.abs(np.fft.rfft(values * taper, axis=1)) ** 2 / np.sum(taper**2)
    frequencies = np.fft.rfftfreq(steps)
    band = slice(FIRST_BIN, np.searchsorted(frequencies, 0.5 * HIGHEST) + 1)
    return power[:, band], frequencies[band]


def band_of(power: np.ndarray, frequencies: np.ndarray) -> slice:
    """The band in which a mean periodogram (frequencies,) is fitted."""
    # A signal that holds still has no power, and its band is the whole.
    last = np.searchsorted(np.cumsum(power), BAND_SHARE * np.sum(power)) if np.any(power) else -1
    highest = BAND_FACTOR * frequencies[last]
    return slice(0, max(LEAST_BINS, int(np.searchsorted(frequencies, highest, side="right"))))


def fit_resonance(power: np.ndarray, frequencies: np.ndarray, starts: np.ndarray | None = None) -> Resonance:
    """Fit a resonance to every spectrum.

    Args:
        power: (..., frequencies) mean periodograms.
        frequencies: (frequencies,) cycles per sample, rising.
        starts: (..., starts, 4) parameters to start from, as in `Resonance.parameters`; None for a grid.
    """
    shape, width = power.shape[:-1], power.shape[-1]
    flat = power.reshape(-1, width)
    scale = np.maximum(flat.mean(axis=1, keepdims=True), np.finfo(float).tiny)
    data = np.maximum(flat / scale, 1e-12)
    grid = frequencies / frequencies[-1]
    tried = _grid_starts(data, grid) if starts is None else starts.reshape(len(data), -1, 4)
    count = tried.shape[1]
    parameters, deviance = _score(np.repeat(data, count, axis=0), grid, tried.reshape(-1, 4).copy())
    best = deviance.reshape(-1, count).argmin(axis=1)
    parameters = parameters.reshape(-1, count, 4)[np.arange(len(data)), best]
    deviance = deviance.reshape(-1, count)[np.arange(len(data)), best]

    natural, quality = np.exp(parameters[:, 1]) * frequencies[-1], np.exp(parameters[:, 2])
    oscillator = np.exp(parameters[:, :1]) * _line(parameters, grid)[0]
    share = oscillator.mean(axis=1) / (oscillator.mean(axis=1) + np.exp(parameters[:, 3]))
    peak = natural * np.sqrt(np.where(quality > LEAST_Q, 1 - 1 / (2 * np.maximum(quality, LEAST_Q) ** 2), np.nan))
    # What rises up to the end of the band, as alternating noise does, has shown no peak.
    quality = np.where((share < LEAST_SHARE) | (peak > frequencies[-1]), 0.0, quality)
    fields = np.where(quality > LEAST_Q, peak, np.nan), quality, natural, share, deviance
    return Resonance(*(field.reshape(shape) for field in fields), parameters.reshape(*shape, 4))


def spectrum(fit: Resonance, frequencies: np.ndarray, power: np.ndarray) -> np.ndarray:
    """The fitted spectrum (frequencies,) of one fit, in the units of the power (frequencies,) it was fitted to."""
    parameters = fit.parameters.reshape(1, 4)
    line = _line(parameters, frequencies / frequencies[-1])[0][0]
    return (np.exp(parameters[0, 0]) * line + np.exp(parameters[0, 3])) * power.mean()


def _line(parameters: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ω0⁴ / ((ω0² - ω²)² + ω0² ω² / Q²), which is 1 at ω = 0, and its derivatives by log ω0 and log Q."""
    ratio = (grid / np.exp(parameters[:, 1:2])) ** 2
    damping = ratio * np.exp(-2 * parameters[:, 2:3])
    line = 1 / ((1 - ratio) ** 2 + damping)
    by_frequency = line**2 * (2 * damping - 4 * ratio * (1 - ratio))
    return line, by_frequency, line**2 * 2 * damping


def _grid_starts(data: np.ndarray, grid: np.ndarray) -> np.ndarray:
    smooth = data[:, : max(len(grid) // 3, 1)]
    peak = grid[smooth.argmax(axis=1)]
    rows = [np.broadcast_to((0.0, np.log(f), np.log(q), -3.0), (len(data), 4)) for f, q in STARTS]
    for quality in (1.0, 4.0):
        height = np.log(data.max(axis=1) / quality**2)
        rows.append(np.stack([height, np.log(peak), np.full(len(data), np.log(quality)), np.full(len(data), -3.0)], 1))
    return np.stack(rows, axis=1)


def _score(data: np.ndarray, grid: np.ndarray, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fisher scoring with a damping of its own for every spectrum; a step that does not help is taken back."""
    low = np.array([-25.0, np.log(grid[0] / 3), np.log(1e-3), -25.0])
    high = np.array([25.0, np.log(4.0), np.log(300.0), 25.0])
    parameters = np.clip(parameters, low, high)

    def deviance_of(values, rows):
        model = np.exp(values[:, :1]) * _line(values, grid)[0] + np.exp(values[:, 3:])
        return np.sum(np.log(model) + data[rows] / model, axis=1)

    everything = np.arange(len(data))
    deviance, ridge, active = deviance_of(parameters, everything), np.full(len(data), RIDGE), everything
    for _ in range(STEPS):
        now = parameters[active]
        line, by_frequency, by_quality = _line(now, grid)
        amplitude, background = np.exp(now[:, :1]), np.exp(now[:, 3:])
        model = amplitude * line + background
        parts = (amplitude * line, amplitude * by_frequency, amplitude * by_quality, background + 0 * line)
        slopes = np.stack([part / model for part in parts], axis=2)
        fisher = slopes.transpose(0, 2, 1) @ slopes
        gradient = np.einsum("nfk,nf->nk", slopes, data[active] / model - 1)
        diagonal = np.einsum("nkk->nk", fisher)
        damped = fisher + np.eye(4) * (ridge[active, None] * (diagonal + 1e-6 * len(grid)))[:, None]
        step = np.clip(np.linalg.solve(damped, gradient[..., None])[..., 0], -1.5, 1.5)
        moved = np.clip(now + step, low, high)
        found = deviance_of(moved, active)
        better = found < deviance[active]
        gain = deviance[active] - found
        rows = active[better]
        parameters[rows], deviance[rows] = moved[better], found[better]
        ridge[active] = np.where(better, np.maximum(ridge[active] / 4, 1e-7), ridge[active] * 6)
        active = active[~((better & (gain < 1e-5)) | (ridge[active] > 1e6))]
        if not active.size:
            break
    return parameters, deviance
