"""Oscillations and the lag of momentum, by the original's formulas."""

from __future__ import annotations

import numpy as np

from analysis.measures.correlograms import cross_correlogram
from analysis.measures.spectra import Oscillations, find_oscillations
from recordings.periods import Periods

LAGS = 100


def oscillations_by_period(traces, periods: Periods | None = None) -> tuple[Oscillations, Oscillations]:
    """Find oscillations during the stimulus and outside it.

    Outside includes the burn-in, and joins the two blanks across the stimulus as if one followed the other.

    Args:
        traces: (time, traces).
        periods: periods of the recording.
    """
    periods = periods or Periods()
    periods.check(len(traces))
    traces = np.asarray(traces, np.float64)
    outside = np.concatenate([traces[: periods.onset], traces[periods.offset :]])
    window = min(1000, periods.stimulus)
    return find_oscillations(traces[periods.during], window), find_oscillations(outside, window)


def lags_of_momentum(states, momenta, periods: Periods | None = None) -> np.ndarray:
    """Return the lag (...) at which the correlogram of state and momentum has its maximum, whole steps.

    The momentum itself is taken, over the whole recording with its burn-in; one that follows the state has a negative
    lag.

    Args:
        states, momenta: (time, ...).
        periods: not used.
    """
    return cross_correlogram(states, momenta, (-LAGS, LAGS), normalise=True).argmax(axis=-1).astype(float) - LAGS


def mean_lags(lags) -> np.ndarray:
    """Return the mean lag of each channel (channels,) of lags (channels, stimuli), of channel k over channels 0 … k.

    The list of lags was never emptied, so that a mean over channels weights the early ones more.
    """
    means = np.asarray(lags, float).mean(axis=1)
    return np.cumsum(means) / np.arange(1, len(means) + 1)
