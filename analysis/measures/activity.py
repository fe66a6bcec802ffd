"""Which neurons respond to a stimulus, and maps of where they are.

A neuron is active if its state is larger with the stimulus than without. The decision needs little of the recording:
per neuron and period the count, mean and variance of steps and of a few stretches
(`recordings.period_statistics.PeriodStatistics`), which are made while recording; whole traces give the same numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.measures import statistics
from recordings.names import DURING, OUTSIDE
from recordings.period_statistics import PeriodStatistics, summarise
from recordings.periods import Periods


class Activity(NamedTuple):
    """Activity test, elementwise over neurons and stimuli."""

    mean_during: np.ndarray
    mean_outside: np.ndarray
    statistic: np.ndarray
    p_value: np.ndarray
    q_value: np.ndarray  # false discovery rate; equals p_value with compat
    effect_size: np.ndarray  # Hedges' g over single steps
    active: np.ndarray  # bool
    shapiro_w_during: np.ndarray
    shapiro_p_during: np.ndarray
    shapiro_w_outside: np.ndarray
    shapiro_p_outside: np.ndarray


def activity_test(
    during: PeriodStatistics, outside: PeriodStatistics, level: float = 0.05, compat: bool = False
) -> Activity:
    """Test for every neuron whether its mean state is larger with the stimulus than without.

    By default Welch's t-test on batch means, which autocorrelation does not inflate, with the false discovery rate
    over all tested neurons held at `level`.

    Args:
        during, outside: statistics of the stimulus period and of the blanks.
        level: false discovery rate, or with compat the level of each single test.
        compat: the original's test: single, autocorrelated steps counted as independent samples, no correction for
            the number of neurons. With it white noise passes at `level`, an autocorrelated neuron far more often.
    """
    if compat:
        test = statistics.welch_t_test(
            during.mean, during.variance, during.count, outside.mean, outside.variance, outside.count
        )
        q_value = test.p_value
    else:
        test = statistics.welch_t_test(
            during.batch_mean, during.batch_variance, during.batch_count,
            outside.batch_mean, outside.batch_variance, outside.batch_count,
        )  # fmt: skip
        q_value = statistics.benjamini_hochberg(test.p_value)
    effect = statistics.hedges_g(
        during.mean, during.variance, during.count, outside.mean, outside.variance, outside.count
    )
    active = (q_value < level) & (during.mean > outside.mean)
    normality = [statistics.shapiro_wilk(p.normality_spread, p.variance, p.count) for p in (during, outside)]
    tested = test.statistic, test.p_value, q_value, effect, active
    return Activity(during.mean, outside.mean, *tested, *normality[0], *normality[1])


def find_active_neurons(traces, periods: Periods | None = None, level: float = 0.05, compat: bool = False) -> Activity:
    """Run the activity test on whole traces.

    Args:
        traces: (time, ...) state; everything behind time is tested elementwise.
        periods: periods of the recording; outside is both blanks, without the burn-in.
        level, compat: see `activity_test`.

    Raises:
        ValueError: the traces do not fill the periods.
    """
    periods = periods or Periods()
    periods.check(len(traces))
    found = {name: summarise(traces, parts, dtype=np.float64) for name, parts in periods.segments().items()}
    return activity_test(found[DURING], found[OUTSIDE], level, compat)


def activity_map(activity: Activity) -> np.ndarray:
    """Return mean state with minus without the stimulus, in the shape of the test (… height, width)."""
    return activity.mean_during - activity.mean_outside


def map_limits(activity: Activity, stimulus_axis: int, compat: bool = False) -> np.ndarray:
    """Return the colour limits of activity maps.

    By default ± the largest absolute value of the *map* over all stimuli of a channel, so that zero is the middle of
    the scale and maps of one channel can be compared.

    Args:
        activity: tests of shape (…, height, width), with the stimuli on `stimulus_axis`.
        stimulus_axis: axis of the stimuli.
        compat: the original's limits: the smallest and largest *mean* (not difference) over all stimuli except the
            one shown; a modulo applied to a truth value had turned "stimuli of strong contrast" into that.

    Returns:
        (… without height and width, 2) low and high.
    """
    if not compat:
        size = np.abs(activity_map(activity)).max(axis=(-2, -1))
        size = np.broadcast_to(size.max(axis=stimulus_axis, keepdims=True), size.shape)
        return np.stack([-size, size], axis=-1)
    low = np.minimum(activity.mean_during, activity.mean_outside).min(axis=(-2, -1))
    high = np.maximum(activity.mean_during, activity.mean_outside).max(axis=(-2, -1))
    low, high = np.moveaxis(low, stimulus_axis, 0), np.moveaxis(high, stimulus_axis, 0)
    if len(low) == 1:
        raise ValueError("The original's colour limits need at least two stimuli; use compat=False.")
    others = ~np.eye(len(low), dtype=bool)
    limits = [(low[row].min(axis=0), high[row].max(axis=0)) for row in others]
    return np.moveaxis(np.stack([np.stack(pair, axis=-1) for pair in limits]), 0, stimulus_axis)


def retinotopy_limits(mean_during, mean_outside) -> np.ndarray:
    """Return per stimulus the common limits of all panels: (channels, 2), smallest and largest mean of the stimulus.

    Args:
        mean_during, mean_outside: (stimuli, channels, height, width).

    Returns:
        (stimuli, channels, 2), the same for all channels of a stimulus.
    """
    both = np.stack([mean_during, mean_outside])
    limits = np.stack([both.min(axis=(0, 2, 3, 4)), both.max(axis=(0, 2, 3, 4))], axis=-1)
    return np.broadcast_to(limits[:, None], (*mean_during.shape[:2], 2))


def movie_frames(traces, periods: Periods | None = None, compat: bool = False) -> np.ndarray:
    """Return frames of a movie of activity, scaled to 0 … 255 over all of the movie.

    Args:
        traces: (time, height, width) state of one channel and stimulus.
        periods: periods of the recording, for the marks of the compatible movie.
        compat: truncate instead of rounding and write the original's marks into the picture: a progress bar in the
            top row, and the second row for 20 steps at the start and 10 steps before stimulus onset and offset. The
            original gave them the value 1 of 255, so nobody saw them; by default the picture stays clean and marks
            are left to whoever draws the movie.

    Returns:
        (time, height, width) uint8; all 0 for a constant trace.
    """
    traces = np.asarray(traces, np.float64)
    low, high = traces.min(), traces.max()
    if high == low:
        return np.zeros(traces.shape, np.uint8)
    unit = (traces - low) / (high - low) * 255
    if not compat:
        return np.rint(unit).astype(np.uint8)
    frames, periods = unit.astype(np.uint8), periods or Periods()
    time = np.arange(len(frames))
    done = np.arange(frames.shape[2]) < (time * 32 // periods.total)[:, None]
    frames[:, 0][done] = 1
    marked = (time < 20) | np.isin(
        time, np.r_[periods.onset - 10 : periods.onset, periods.offset - 10 : periods.offset]
    )
    frames[marked, 1] = 1
    return frames
