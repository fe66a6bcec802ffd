"""The phase by which inhibition follows excitation: reported, never judged.

In the reading of Aitchison & Lengyel (2016) H(u, v) = E(u) + ½ K |u - v|², with excitation u = s and inhibition v = s
- p. Then v follows u by atan(ω/K) at the frequency ω, for any energy and any recording: it is a property of the
dynamics and no evidence about what was learned. What the cross-spectrum adds is that the recording shows it.

The recorded momentum is the one before the kick, half a step late; p on the step is p - ½ h ∂E/∂s (`on_step`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.checks.resampling import interval, trial_counts
from analysis.checks.resonance import fit_trials
from analysis.checks.synchrony import resonance_band
from analysis.checks.trials import Trials, residuals, sustained
from analysis.checks.whittle import LEAST_Q, periodograms


class Phase(NamedTuple):
    """The phase at one contrast; NaN where the state does not resonate."""

    contrast: float
    hertz: float  # of the resonance
    degrees: float  # by which inhibition follows excitation
    low: float  # interval of the degrees, 95 %
    high: float
    milliseconds: float
    shuffled: float  # degrees with the momentum of another trial
    coherence: float  # of excitation and inhibition, 0 to 1; what the phase of the shuffled has nothing of


def on_step(momentum: np.ndarray, gradient: np.ndarray, step_size: float) -> np.ndarray:
    """Momentum on the step, from the momentum before the kick and the gradient there: p - ½ h ∂E/∂s.

    Args:
        momentum: (..., time, channels), recorded after each step.
        gradient: the same shape, recorded as that of the state *before* each step, so that of a state is one row later.
        step_size: h.

    Returns:
        (..., time - 1, channels): the last row has no gradient after it.
    """
    return momentum[..., :-1, :] - 0.5 * step_size * gradient[..., 1:, :]


def phases_of_inhibition(trials: Trials, counts: np.ndarray | None = None) -> list[Phase]:
    """Cross-spectral phase of the summed s - p behind the summed s within a quarter of the resonance, per contrast.

    Args:
        trials: with the momentum on the step, in units where K = 1.
        counts: (resamples, trials).
    """
    counts = trial_counts(trials.contrast) if counts is None else counts
    window, shown = sustained(trials), trials.shown()
    state = residuals(np.asarray(trials.signals[:, window], np.float64).sum(axis=2), shown)
    momentum = residuals(np.asarray(trials.momentum[:, window], np.float64).sum(axis=2), shown)
    taper = np.hanning(state.shape[1] + 2)[1:-1]
    spectra = [np.fft.rfft(values * taper, axis=1)[:, 2:] for values in (state, state - momentum)]
    power, frequencies = periodograms(state)
    found = []
    for level in trials.levels:
        rows = np.flatnonzero(trials.contrast == level)
        fit, _ = fit_trials(power[rows], frequencies, counts[:2, rows])
        if not fit.quality > LEAST_Q:
            found.append(Phase(float(level), *[np.nan] * 7))
            continue
        band = resonance_band(frequencies, float(fit.frequency))
        excitation, inhibition = (each[rows][:, band] for each in spectra)
        cross = np.sum(excitation * inhibition.conj(), axis=1)
        other = np.sum(excitation * (excitation - np.roll(excitation - inhibition, 1, axis=0)).conj())
        turns = np.angle(np.concatenate([[cross.sum()], counts[:, rows] @ cross]))
        strength = np.abs(cross.sum()) / np.sqrt(np.sum(np.abs(excitation) ** 2) * np.sum(np.abs(inhibition) ** 2))
        low, high = interval(np.degrees(turns[1:]))
        milliseconds = turns[0] / (2 * np.pi * float(fit.frequency)) * trials.sample_ms
        values = trials.hertz(fit.frequency), np.degrees(turns[0]), low, high, milliseconds, np.degrees(np.angle(other))
        found.append(Phase(float(level), *map(float, values), float(strength)))
    return found
