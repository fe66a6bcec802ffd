"""How far inhibition lags behind excitation: the lag between state and momentum.

State plays the part of excitation and the negative momentum the part of inhibition; the original took the momentum
itself. In cortex inhibition follows excitation by a few milliseconds. The lag of a pair of traces is where their
correlogram has its maximum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.measures import statistics
from analysis.measures.correlograms import cross_correlogram
from recordings.periods import Periods


class Lags(NamedTuple):
    """Lags of momentum behind state."""

    lags: np.ndarray  # (...) steps, one a neuron and stimulus; positive: momentum follows state
    correlation: np.ndarray  # (...) correlation coefficient at that lag


def state_momentum_lag(
    states, momenta, max_lag: int = 100, periods: Periods | None = None, compat: bool = False
) -> Lags:
    """Return the lag at which momentum is most like the state.

    Args:
        states, momenta: (time, ...).
        max_lag: lags searched, -max_lag … max_lag - 1 steps.
        periods: restricts the traces to the stimulus; the whole recording, burn-in included, by default as in the
            original.
        compat: the original's sign, in which a momentum that follows the state has a negative lag, and whole steps.
            By default the maximum is found between steps, by the cosine through the three highest points: one step is
            4 ms, as long as the lag that is looked for.

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
    lags = (place - max_lag).astype(np.float64)
    height = np.take_along_axis(result, place[..., None], axis=-1)[..., 0]
    if compat:
        return Lags(lags, height)
    inner = np.clip(place, 1, 2 * max_lag - 2)
    left, middle, right = (np.take_along_axis(result, (inner + o)[..., None], axis=-1)[..., 0] for o in (-1, 0, 1))
    # cos ω(k - δ) at k = -1, 0, 1 gives ω and δ exactly; a parabola would be drawn to the nearest step.
    with np.errstate(divide="ignore", invalid="ignore"):
        omega = np.arccos(np.clip((left + right) / (2 * middle), -1, 1))
        shift = np.arctan((right - left) / (2 * middle * np.sin(omega))) / omega
    usable = (inner == place) & (middle > 0) & np.isfinite(shift)
    return Lags(-(lags + np.where(usable, np.clip(shift, -0.5, 0.5), 0.0)), height)


def mean_lag(lags, compat: bool = False) -> tuple[np.ndarray, float]:
    """Return the mean lag of each channel and over all of them.

    Args:
        lags: (channels, stimuli) steps.
        compat: the original never emptied its list, so that the mean of channel k is taken over channels 0 … k and the
            grand mean weights early channels more.
    """
    lags = np.asarray(lags, float)
    means = lags.mean(axis=1)
    if compat:
        means = np.cumsum(means) / np.arange(1, len(means) + 1)
    return means, float(means.mean())


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
