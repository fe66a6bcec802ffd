"""How far inhibition lags behind excitation: the lag between state and momentum.

State plays the part of excitation and the negative momentum the part of inhibition. In cortex inhibition follows
excitation by a few milliseconds. The lag of a pair of traces is where their correlogram has its maximum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.measures import statistics
from analysis.measures.correlograms import cross_correlogram
from recordings.periods import Periods

MOMENTUM_LAGS = 12  # steps searched: within one cycle of the oscillations


class Lags(NamedTuple):
    """Lags of momentum behind state."""

    lags: np.ndarray  # (...) steps, one a neuron and stimulus; positive: momentum follows state
    correlation: np.ndarray  # (...) correlation coefficient at that lag


def find_lags(states, momenta, max_lag: int = 100, periods: Periods | None = None) -> Lags:
    """Return the lag at which momentum is most like the state.

    The maximum of the correlogram is found between steps, by the cosine through its three highest points: one step is
    as long as the lag that is looked for.

    Args:
        states, momenta: (time, ...).
        max_lag: lags searched, -max_lag … max_lag - 1 steps.
        periods: restricts the traces to the stimulus; the whole recording, burn-in included, by default.

    Raises:
        ValueError: shapes differ, or the traces are not longer than max_lag.
    """
    states, momenta = np.asarray(states), np.asarray(momenta)
    if states.shape != momenta.shape:
        raise ValueError(f"States {states.shape} and momenta {momenta.shape} must have the same shape.")
    if periods is not None:
        periods.check(len(states))
        states, momenta = states[periods.during], momenta[periods.during]
    if len(states) <= max_lag:
        raise ValueError(f"Lags up to {max_lag} need traces longer than {len(states)} steps; give a smaller max_lag.")
    result = cross_correlogram(states, momenta, (-max_lag, max_lag), normalise=True)
    place = result.argmax(axis=-1)
    height = np.take_along_axis(result, place[..., None], axis=-1)[..., 0]
    inner = np.clip(place, 1, 2 * max_lag - 2)
    left, middle, right = (np.take_along_axis(result, (inner + o)[..., None], axis=-1)[..., 0] for o in (-1, 0, 1))
    # cos ω(k - δ) at k = -1, 0, 1 gives ω and δ exactly; a parabola would be drawn to the nearest step.
    with np.errstate(divide="ignore", invalid="ignore"):
        omega = np.arccos(np.clip((left + right) / (2 * middle), -1, 1))
        shift = np.arctan((right - left) / (2 * middle * np.sin(omega))) / omega
    usable = (inner == place) & (middle > 0) & np.isfinite(shift)
    return Lags(max_lag - place - np.where(usable, np.clip(shift, -0.5, 0.5), 0.0), height)


def lags_of_inhibition(states, momenta, periods: Periods) -> np.ndarray:
    """Return the lag of the negative momentum behind the state during the stimulus, (...) steps.

    Args:
        states, momenta: (time, ...).
        periods: of the recording.
    """
    return find_lags(states, -np.asarray(momenta), min(MOMENTUM_LAGS, periods.stimulus - 1), periods).lags


def mean_lags(lags) -> np.ndarray:
    """Return the mean lag (channels,) of lags (channels, stimuli)."""
    return np.asarray(lags, float).mean(axis=1)


def lag_interval(lags, level: float = 0.95) -> statistics.Interval:
    """Return the mean lag with a Student-t interval over channels, which are the independent units.

    Args:
        lags: (channels, stimuli) steps.
        level: coverage.
    """
    return statistics.student_interval(np.asarray(lags, float).mean(axis=1), level=level)


def end_of_period(traces, period: slice, length: int = 300) -> np.ndarray:
    """Return the last `length` steps of a period, demeaned: what state and momentum traces are drawn from."""
    part = np.asarray(traces, np.float64)[period][-length:]
    return part - part.mean(axis=0)
