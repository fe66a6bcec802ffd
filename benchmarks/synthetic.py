"""Recordings with known effects, to find out what the analyses detect and what they invent.

Every trace is autocorrelated background noise; on top of it come, each with its own strength and each absent at
strength 0: an oscillation whose frequency rises with contrast, an onset transient that grows with contrast, a momentum
that lags the state, a variability that shrinks while the stimulus is on, and a part of the oscillation that channels
share.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import signal

from analysis.checks.mechanisms import autoregressive_noise
from recordings.periods import Periods, TimeScale

SHORT = Periods(20, 400, 500, 200)


class Planted(NamedTuple):
    """Strengths of the planted effects; the defaults plant an oscillation at one frequency and nothing else."""

    base_frequency: float = 30.0  # Hz at the lowest contrast
    frequency_rise: float = 0.0  # Hz from the lowest to the highest contrast
    transient: float = 0.0  # overshoot at the highest contrast, in standard deviations of the background
    lag: float = 3.0  # ms by which the negative momentum follows the state; NaN for a momentum unrelated to the state
    quenching: float = 0.0  # share of the between-repeat variance that the stimulus removes, 0 … 1
    synchrony: float = 0.0  # share of the oscillation's variance that all channels have in common, 0 … 1
    oscillation: float = 1.0  # amplitude at the highest contrast, in standard deviations of the background


class Recording(NamedTuple):
    """A synthetic recording."""

    state: np.ndarray  # (time, stimuli, channels)
    momentum: np.ndarray  # (time, stimuli, channels)
    contrast: np.ndarray  # (stimuli,)
    periods: Periods


def narrow_band_noise(rng: np.random.Generator, shape, frequency, radius: float = 0.98) -> np.ndarray:
    """Return AR(2) noise of about unit variance along axis 0 that oscillates at `frequency` cycles per step.

    Args:
        rng: source of the noise.
        shape: (time, stimuli, ...).
        frequency: (stimuli,) cycles per step.
        radius: of the poles; the phase is remembered for about 1 / (1 - radius) steps.
    """
    warm = int(5 / (1 - radius))
    draws = rng.standard_normal((shape[0] + warm, *shape[1:]))
    result = np.empty(shape)
    for stimulus, cycles in enumerate(np.broadcast_to(frequency, shape[1:2])):
        denominator = [1.0, -2 * radius * np.cos(2 * np.pi * cycles), radius**2]
        part = signal.lfilter([1.0], denominator, draws[:, stimulus], axis=0)[warm:]
        result[:, stimulus] = part / part.std()
    return result


def delay(traces, steps: float) -> np.ndarray:
    """Return traces (time, ...) delayed by a number of steps that need not be whole, by a phase shift."""
    spectrum = np.fft.rfft(traces, axis=0)
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(len(traces)) * steps)
    return np.fft.irfft(spectrum * turn.reshape(-1, *[1] * (traces.ndim - 1)), len(traces), axis=0)


def make_recording(
    rng: np.random.Generator,
    planted: Planted | None = None,
    contrasts: int = 5,
    repeats: int = 6,
    channels: int = 6,
    periods: Periods = SHORT,
    scale: TimeScale | None = None,
) -> Recording:
    """Draw a recording.

    Args:
        rng: source of all noise.
        planted: strengths of the effects.
        contrasts: levels 0.4, 0.8 …
        repeats: stimuli of each level.
        channels: number of channels; background and, at synchrony 0, oscillations are independent between them.
        periods: lengths of the periods.
        scale: time scale of the frequencies and the lag.
    """
    planted, scale = planted or Planted(), scale or TimeScale()
    contrast = np.repeat(0.4 * np.arange(1, contrasts + 1), repeats)
    strength = contrast / contrast.max()
    shape = (periods.total, contrast.size, channels)
    on = np.zeros(periods.total)
    on[periods.during] = 1.0

    state = autoregressive_noise(rng, shape)
    # Slow fluctuations from repeat to repeat are what the stimulus quenches.
    slow = rng.standard_normal((-(-periods.total // 50), *shape[1:])).repeat(50, axis=0)[: periods.total]
    state += slow * np.sqrt(1 - planted.quenching * on)[:, None, None]
    frequency = (planted.base_frequency + planted.frequency_rise * strength) / scale.sampling_rate
    private = narrow_band_noise(rng, shape, frequency)
    shared = narrow_band_noise(rng, shape[:2], frequency)[..., None]
    wave = np.sqrt(1 - planted.synchrony) * private + np.sqrt(planted.synchrony) * shared
    state += planted.oscillation * (on[:, None] * strength)[..., None] * wave
    since = np.arange(periods.total) - periods.onset
    overshoot = np.where((since >= 0) & (on > 0), np.exp(-np.maximum(since, 0) / 25), 0.0)
    state += planted.transient * (overshoot[:, None] * strength)[..., None] + 0.5 * on[:, None, None]

    if np.isnan(planted.lag):
        momentum = autoregressive_noise(rng, shape)
    else:
        # Inhibition, which follows the state, is the negative momentum.
        momentum = 0.3 * autoregressive_noise(rng, shape) - 0.7 * delay(state, float(scale.to_steps(planted.lag)))
    return Recording(state, momentum, contrast, periods)
