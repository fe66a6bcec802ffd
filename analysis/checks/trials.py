"""What every check is given: trials of a recording as one array, and the windows of time that are looked at.

A trial is one presentation on one chain (or in one animal), independent of all others; whole trials are resampled.
Nothing here knows of milliseconds or hertz: frequencies are cycles per sample until `Trials.hertz` turns them over.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LEAST_WINDOW = 32  # samples


class Trials(NamedTuple):
    """Trials of one recording; finite numbers."""

    signals: np.ndarray  # (trials, time, channels), any unit
    onset: int  # first sample with the stimulus
    offset: int  # first sample after it
    contrast: np.ndarray  # (trials,), at least 0
    sample_ms: float = 1.0
    groups: np.ndarray | None = None  # (trials,) int: trials of one number were shown the same; None: as the contrast
    momentum: np.ndarray | None = None  # (trials, time, channels), at the time of the signals
    energy: np.ndarray | None = None  # (trials, time), of the whole system

    @property
    def duration(self) -> int:
        """Samples with the stimulus."""
        return self.offset - self.onset

    @property
    def levels(self) -> np.ndarray:
        """The contrasts above 0, rising."""
        return np.unique(self.contrast[self.contrast > 0])

    def hertz(self, cycles):
        """Cycles per sample to hertz."""
        return np.asarray(cycles) * 1000 / self.sample_ms

    def shown(self) -> np.ndarray:
        """(trials,) int: what was shown, each contrast apart."""
        groups = np.zeros(len(self.contrast), int) if self.groups is None else self.groups
        return np.unique(np.stack([self.contrast, groups], axis=1), axis=0, return_inverse=True)[1].ravel()


def before(trials: Trials) -> slice:
    """The blank before the stimulus, no longer than the stimulus and without the fifth in which a chain may settle."""
    first = max(trials.onset // 5, trials.onset - trials.duration)
    return slice(first, trials.onset)


def sustained(trials: Trials) -> slice:
    """The stimulus without its first quarter, in which the mean moves."""
    return slice(trials.onset + trials.duration // 4, trials.offset)


def summed(trials: Trials) -> np.ndarray:
    """The sum over channels, (trials, time): the local field potential of a model."""
    return np.asarray(trials.signals, np.float64).sum(axis=2)


def residuals(values: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """What is left of each trial when the mean of the trials that were shown the same is taken away, variance kept.

    Args:
        values: (trials, ...).
        shown: (trials,) int, see `Trials.shown`; a stimulus shown once is left as it is but for its mean over time.
    """
    result = np.array(values, np.float64)
    for number in np.unique(shown):
        rows = np.flatnonzero(shown == number)
        if rows.size > 1:
            # Taking away the mean takes 1/n of the variance with it.
            result[rows] = (result[rows] - result[rows].mean(axis=0)) * np.sqrt(rows.size / (rows.size - 1))
        else:
            result[rows] -= result[rows].mean(axis=1, keepdims=True)
    return result
