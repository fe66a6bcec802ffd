"""Which neurons respond to a stimulus, and maps of where they are.

A neuron is active if its state is larger with the stimulus than without. The decision needs little of the recording:
per neuron and period the count, mean and variance of steps and of a few stretches
(`recordings.period_statistics.PeriodStatistics`), which are made while recording; whole traces give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from analysis.measures import statistics
from recordings.names import DURING, OUTSIDE
from recordings.period_statistics import PeriodStatistics, summarize
from recordings.periods import Periods


class Activity(NamedTuple):
    """Activity test, elementwise over neurons and stimuli."""

    mean_during: np.ndarray
    mean_outside: np.ndarray
    statistic: np.ndarray
    p_value: np.ndarray
    q_value: np.ndarray  # false discovery rate
    effect_size: np.ndarray  # Hedges' g over single steps
    active: np.ndarray  # bool
    shapiro_w_during: np.ndarray
    shapiro_p_during: np.ndarray
    shapiro_w_outside: np.ndarray
    shapiro_p_outside: np.ndarray


def activity_test(during: PeriodStatistics, outside: PeriodStatistics, level: float = 0.05) -> Activity:
    """Test for every neuron whether its mean state is larger with the stimulus than without.

    Welch's t-test on batch means, which autocorrelation does not inflate, with the false discovery rate over all
    tested neurons held at `level`.

    Args:
        during, outside: statistics of the stimulus period and of the blanks.
        level: false discovery rate.
    """
    test = statistics.welch_t_test(
        during.batch_mean, during.batch_variance, during.batch_count,
        outside.batch_mean, outside.batch_variance, outside.batch_count,
    )  # fmt: skip
    return judge(during, outside, test, statistics.benjamini_hochberg(test.p_value), level)


def judge(during: PeriodStatistics, outside: PeriodStatistics, test: statistics.TTest, q_value, level: float):
    """Return the activity that a test found: active are neurons with q < level and a larger mean during the stimulus.

    Args:
        during, outside: statistics of the stimulus period and of the blanks.
        test: of the difference of their means.
        q_value: what is compared with `level`.
        level: see above.
    """
    effect = statistics.hedges_g(
        during.mean, during.variance, during.count, outside.mean, outside.variance, outside.count
    )
    active = (q_value < level) & (during.mean > outside.mean)
    normality = [statistics.shapiro_wilk(p.normality_spread, p.variance, p.count) for p in (during, outside)]
    tested = test.statistic, test.p_value, q_value, effect, active
    return Activity(during.mean, outside.mean, *tested, *normality[0], *normality[1])


def find_active_neurons(
    traces, periods: Periods | None = None, level: float = 0.05, test: Callable[..., Activity] = activity_test
) -> Activity:
    """Run the activity test on whole traces.

    Args:
        traces: (time, ...) state; everything behind time is tested elementwise.
        periods: periods of the recording; outside is both blanks, without the burn-in.
        level: see `activity_test`.
        test: the test.

    Raises:
        ValueError: the traces do not fill the periods.
    """
    periods = periods or Periods()
    periods.check(len(traces))
    found = {name: summarize(traces, parts, dtype=np.float64) for name, parts in periods.segments().items()}
    return test(found[DURING], found[OUTSIDE], level)


def activity_map(activity: Activity) -> np.ndarray:
    """Return mean state with minus without the stimulus, in the shape of the test (… height, width)."""
    return activity.mean_during - activity.mean_outside


def map_limits(activity: Activity, stimulus_axis: int = 0) -> np.ndarray:
    """Return the colour limits of activity maps: ± the largest absolute value over all stimuli of a channel.

    Zero is the middle of the scale, and maps of one channel can be compared.

    Args:
        activity: tests of shape (…, height, width), with the stimuli on `stimulus_axis`.
        stimulus_axis: axis of the stimuli.

    Returns:
        (… without height and width, 2) low and high.
    """
    size = np.abs(activity_map(activity)).max(axis=(-2, -1))
    size = np.broadcast_to(size.max(axis=stimulus_axis, keepdims=True), size.shape)
    return np.stack([-size, size], axis=-1)


def movie_frames(traces) -> np.ndarray:
    """Return frames of a movie of activity (time, height, width), scaled to 0 … 255 over all of it, uint8.

    Args:
        traces: (time, height, width) state of one channel and stimulus; a constant trace gives zeros.
    """
    traces = np.asarray(traces, np.float64)
    low, high = traces.min(), traces.max()
    return np.rint((traces - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
