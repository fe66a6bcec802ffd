"""Which neurons respond and what channels prefer, by the original's formulas."""

from __future__ import annotations

import numpy as np

from analysis.measures import activity, orientation, statistics
from analysis.measures.activity import Activity
from analysis.measures.orientation import Preferences
from recordings.period_statistics import PeriodStatistics
from recordings.periods import Periods


def activity_test(during: PeriodStatistics, outside: PeriodStatistics, level: float = 0.05) -> Activity:
    """Test for every neuron whether its mean state is larger with the stimulus than without.

    Single, autocorrelated steps count as independent samples, and nothing is corrected for the number of neurons: white
    noise is called active at `level`, an autocorrelated neuron far more often.

    Args:
        during, outside: statistics of the stimulus period and of the blanks.
        level: of each single test; its p stands for the false discovery rate too.
    """
    test = statistics.welch_t_test(
        during.mean, during.variance, during.count, outside.mean, outside.variance, outside.count
    )
    return activity.judge(during, outside, test, test.p_value, level)


def map_limits(found: Activity, stimulus_axis: int = 0) -> np.ndarray:
    """Return colour limits of activity maps: the smallest and largest mean over all stimuli except the one shown.

    They are limits of means, not of differences; a modulo applied to a truth value had turned "stimuli of strong
    contrast" into "all others". A single stimulus has no others and gets the limits of its own map.

    Args:
        found: tests of shape (…, height, width), with the stimuli on `stimulus_axis`.
        stimulus_axis: axis of the stimuli.

    Returns:
        (… without height and width, 2) low and high.
    """
    low = np.minimum(found.mean_during, found.mean_outside).min(axis=(-2, -1))
    high = np.maximum(found.mean_during, found.mean_outside).max(axis=(-2, -1))
    low, high = np.moveaxis(low, stimulus_axis, 0), np.moveaxis(high, stimulus_axis, 0)
    if len(low) == 1:
        return activity.map_limits(found, stimulus_axis)
    others = ~np.eye(len(low), dtype=bool)
    limits = [(low[row].min(axis=0), high[row].max(axis=0)) for row in others]
    return np.moveaxis(np.stack([np.stack(pair, axis=-1) for pair in limits]), 0, stimulus_axis)


def movie_frames(traces, periods: Periods | None = None) -> np.ndarray:
    """Return frames of a movie of activity (time, height, width), scaled to 0 … 255, truncated, with marks, uint8.

    Marks are a progress bar in the top row, and the second row for 20 steps at the start and 10 steps before onset and
    offset. They have the value 1 of 255, so that nobody saw them.

    Args:
        traces: (time, height, width) state of one channel and stimulus, not constant.
        periods: periods of the recording.
    """
    traces, periods = np.asarray(traces, np.float64), periods or Periods()
    low, high = traces.min(), traces.max()
    frames, time = ((traces - low) / (high - low) * 255).astype(np.uint8), np.arange(len(traces))
    done = np.arange(frames.shape[2]) < (time * 32 // periods.total)[:, None]
    frames[:, 0][done] = 1
    before = np.r_[periods.onset - 10 : periods.onset, periods.offset - 10 : periods.offset]
    frames[(time < 20) | np.isin(time, before), 1] = 1
    return frames


def find_orientation_preferences(angles, responses) -> Preferences:
    """Find what angle each channel prefers: the peak of the measured curve nearest to the maximum of the better cosine.

    The curve is padded with a zero at both ends: a preference near 0 may be found at either end of it, edge samples
    count only if positive, and the value is one of the stimulus angles.

    Args:
        angles: (angles,) stimulus angles, radian.
        responses: (channels, angles) mean state during the stimulus.
    """
    found = orientation.find_orientation_preferences(angles, responses)
    fits = [orientation.evaluate_cosine(fit, angles) for fit in (found.direction, found.orientation)]
    fitted, size = np.where(found.is_orientation[:, None], fits[1], fits[0]), len(angles)
    preferred = np.full(len(fitted), np.nan)
    for channel, curve in enumerate(fitted):
        places = np.flatnonzero(found.peaks[channel])
        if places.size:
            apart = statistics.circular_distance(places, np.argmax(curve), period=size)
            preferred[channel] = np.asarray(angles, float)[places[np.argmin(apart)]]
    return found._replace(preferred_angle=preferred)


def assign_orientation(
    preferences: Preferences, level: float = 0.05, threshold: float = orientation.AMPLITUDE_THRESHOLD
):
    """Return preferred angles (channels,), NaN where the amplitude of the fit is not above `threshold`; no test.

    Args:
        preferences: result of `find_orientation_preferences`.
        level: not used.
        threshold: least amplitude.
    """
    return np.where(np.abs(preferences.amplitude) > threshold, preferences.preferred_angle, np.nan)


def match_stimuli(preferred, is_orientation, angles) -> np.ndarray:
    """Return (channels, stimuli) bool: the stimulus lies within 10° of the preference on the whole circle.

    A channel tuned to orientation so matches only one of its two preferred directions.

    Args:
        preferred: (channels,) radian, NaN for untuned channels.
        is_orientation: not used.
        angles: (stimuli,) radian.
    """
    return orientation.match_angles(preferred, angles)
