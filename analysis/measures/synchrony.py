"""Synchrony of neurons: what the fitted correlograms say about pairs, groups of repeats, angles and distances.

Every correlogram gives an oscillation amplitude (`gabor_fits`). Amplitudes of repeats of one stimulus form a group;
groups are compared with the blank, with the difference of preferred angles, and with distance on the retina. Whether
a pair is synchronised at all is decided against surrogates (`surrogates`): an amplitude is never negative, so that
testing its mean against 0 can only reject.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from analysis.measures import statistics
from analysis.measures.correlograms import cross_correlogram
from analysis.measures.orientation import match_angles

DURING, OUTSIDE = 0, 1


class Groups(NamedTuple):
    """Means over repeats, one row a group of equal keys."""

    keys: np.ndarray  # (groups, columns), sorted
    count: np.ndarray  # (groups,) repeats
    amplitude: np.ndarray  # (groups,) mean
    amplitude_test: statistics.TTest  # of amplitude against 0; see `group_repeats`
    phase: np.ndarray  # (groups,) mean, radian
    phase_statistic: np.ndarray  # (groups,)
    phase_p_value: np.ndarray  # (groups,)
    peak_count: np.ndarray  # (groups,) mean number of peaks of the fitted curve


class BinnedIntervals(NamedTuple):
    """Mean and interval of y at each distinct x."""

    x: np.ndarray  # (bins,)
    values: list[np.ndarray]  # members of each bin
    intervals: list[statistics.Interval]


def group_repeats(keys, amplitude, phase, peak_count) -> Groups:
    """Average fits over repeats; phases, which wrap around, by the circular mean with Rayleigh's test of uniformity.

    The t-test of amplitude is kept as a description only: amplitudes are half ranges and never negative. The statistic
    of the phase is the mean resultant length (Mardia & Jupp 2000).

    Args:
        keys: (fits, columns) what defines a group, such as stimulus, period and pair.
        amplitude, phase, peak_count: (fits,).
    """
    labels, index, count = np.unique(np.asarray(keys), axis=0, return_inverse=True, return_counts=True)
    index = index.ravel()

    def mean(values):
        return np.bincount(index, values, len(labels)) / count

    amplitude, phase = np.asarray(amplitude, float), np.asarray(phase, float)
    average = mean(amplitude)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = average / np.sqrt(mean((amplitude - average[index]) ** 2) / (count - 1))
    test = statistics.TTest(t, 2 * stats.t.sf(np.abs(t), count - 1))
    resultant = mean(np.cos(phase)) + 1j * mean(np.sin(phase))
    length = count * np.abs(resultant)
    phase_p = np.exp(np.sqrt(1 + 4 * count + 4 * (count**2 - length**2)) - (1 + 2 * count))
    peaks = mean(np.asarray(peak_count, float))
    return Groups(labels, count, average, test, np.angle(resultant), np.abs(resultant), phase_p, peaks)


def exceeds_blank(groups: Groups, period_column: int, share: float = 0.1) -> np.ndarray:
    """Return 1 where the amplitude with the stimulus exceeds `share` times the one without, else 0; -1 for blanks.

    Args:
        groups: groups whose keys hold `DURING` or `OUTSIDE` in column `period_column`.
        period_column: see above.
        share: factor of the outside amplitude.

    Raises:
        ValueError: a group during the stimulus has no counterpart outside it.
    """
    outside = {
        tuple(np.delete(k, period_column)): a
        for k, a in zip(groups.keys, groups.amplitude, strict=True)
        if k[period_column] == OUTSIDE
    }
    result = np.full(len(groups.keys), -1)
    for row, (key, amplitude) in enumerate(zip(groups.keys, groups.amplitude, strict=True)):
        if key[period_column] == DURING:
            other = tuple(np.delete(key, period_column))
            if other not in outside:
                raise ValueError(f"Group {tuple(key)} has no fits outside the stimulus to compare with.")
            result[row] = amplitude > share * outside[other]
    return result


def stimulus_groups(table: dict[str, np.ndarray], columns: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct stimuli of a table in order of appearance.

    Args:
        table: columns of one entry a stimulus.
        columns: what makes two stimuli the same.

    Returns:
        group of each stimulus (stimuli,) and the first stimulus of each group (groups,).
    """
    stacked = np.stack([np.round(np.asarray(table[column], float), 9) for column in columns], axis=1)
    _, first, index = np.unique(stacked, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(first), int)
    rank[order] = np.arange(len(first))
    return rank[index.ravel()], first[order]


def against_orientation_difference(
    groups: Groups, stimulus_angles, preferred, matched=None, period=None
) -> dict[str, np.ndarray]:
    """Select pairs of overlapping receptive fields by the angle between their preferences.

    Args:
        groups: keys (stimulus group, period, channel A, channel B).
        stimulus_angles: (stimulus groups,) radian.
        preferred: (channels,) preferred angles, NaN for untuned channels.
        matched: (channels, stimulus groups) bool, the channel prefers the stimulus; within 10° by default.
        period: (channels,) radian, after which a preference repeats (π for orientations); of a pair, the larger one
            counts. 2π by default.

    Returns:
        dict of x (angle between the preferences) and y (amplitude) of pairs of different channels during the stimulus,
        with `aligned` bool: both prefer the stimulus.
    """
    group, when, a, b = groups.keys.astype(int).T
    preferred, stimulus_angles = np.asarray(preferred, float), np.asarray(stimulus_angles, float)
    if matched is None:
        matched = match_angles(preferred, stimulus_angles)
    turn = np.full(len(preferred), 2 * np.pi) if period is None else np.asarray(period, float)
    keep = (when == DURING) & (a != b) & np.isfinite(preferred[a]) & np.isfinite(preferred[b])
    return {
        "x": statistics.circular_distance(preferred[a], preferred[b], np.maximum(turn[a], turn[b]))[keep],
        "y": groups.amplitude[keep],
        "aligned": (matched[a, group] & matched[b, group])[keep],
        "rows": np.flatnonzero(keep),
    }


def against_distance_of_patches(
    groups: Groups, static_angles, mobile_angles, offsets, preferred, matched=None
) -> dict[str, np.ndarray]:
    """Select pairs at the static and the mobile patch by the distance of the patches.

    Both channels must prefer the static angle. `collinear` compares the two angles only: the mobile
    patch of the stimulus set always lies on the long axis of the static one. Pairs of a channel with itself at the
    other site are kept.

    Args:
        groups: keys (stimulus group, period, channel at the mobile site, channel at the static site).
        static_angles, mobile_angles: (stimulus groups,) radian.
        offsets: (stimulus groups, 2) pixels.
        preferred: (channels,) preferred angles, NaN for untuned channels.
        matched: (channels, stimulus groups) bool, the channel prefers the static angle; within 10° by default.

    Returns:
        dict of x (distance, pixels), y (amplitude), `collinear` bool and the rows of `groups`.
    """
    group, period, mobile, static = groups.keys.astype(int).T
    angles = np.asarray(static_angles, float)
    if matched is None:
        matched = match_angles(preferred, angles)
    keep = (period == DURING) & matched[mobile, group] & matched[static, group]
    return {
        "x": np.hypot(*np.asarray(offsets, float)[group].T)[keep],
        "y": groups.amplitude[keep],
        "collinear": np.isclose(angles[group], np.asarray(mobile_angles, float)[group])[keep],
        "rows": np.flatnonzero(keep),
    }


def against_distance_along(
    groups: Groups, stimulus_angles, preferred, centre=(16, 16), matched=None
) -> dict[str, np.ndarray]:
    """Select sites along a long stimulus by their distance from the centre.

    Args:
        groups: keys (stimulus group, period, channel, column, row) of the second site; the first is the centre.
        stimulus_angles: (stimulus groups,) radian.
        preferred: (channels,) preferred angles, NaN for untuned channels.
        centre: (row, column) of the first site.
        matched: (channels, stimulus groups) bool, the channel prefers the stimulus; within 10° by default.

    Returns:
        dict of x (distance, pixels), y (amplitude), `during` bool and the rows of `groups`; the channel prefers the
        stimulus, and the centre itself is left out.
    """
    group, period, channel, column, row = groups.keys.astype(int).T
    if matched is None:
        matched = match_angles(preferred, stimulus_angles)
    distance = np.hypot(column - centre[1], row - centre[0])
    keep = matched[channel, group] & (distance > 0)
    return {
        "x": distance[keep],
        "y": groups.amplitude[keep],
        "during": (period == DURING)[keep],
        "rows": np.flatnonzero(keep),
    }


def bin_by_value(
    x, y, rng: np.random.Generator, resamples: int = 10_000, method: str = "percentile"
) -> BinnedIntervals:
    """Return mean and 95 % bootstrap interval of y at each distinct x (to 7 digits).

    Args:
        x, y: (n,).
        rng: source of the resampling.
        resamples: number of resamples.
        method: of the intervals, see `statistics.bootstrap_interval`.
    """
    levels, index = np.unique(np.round(x, 7), return_inverse=True)
    values = [np.asarray(y)[index == level] for level in range(levels.size)]
    intervals = [statistics.bootstrap_interval(member, rng, resamples, 0.95, method) for member in values]
    return BinnedIntervals(levels, values, intervals)


def neighbour_intervals(
    traces, lags: tuple[int, int], normalise: bool = True, distances=(1, 2, 3, 4, 5), level: float = 0.99
) -> tuple[list[int], list[statistics.Interval]]:
    """Return mean correlograms of channels a given number of channels apart, over all stimuli and both orders.

    Args:
        traces: (time, stimuli, channels).
        lags: first lag and one past the last.
        normalise: see `correlograms.cross_correlogram`.
        distances: differences of channel numbers; those that no pair has are left out.
        level: coverage of the Student-t intervals, pairs and stimuli counted as independent.

    Returns:
        The distances that are left and the mean correlogram (lags,) of each with its interval.
    """
    count, kept, found = np.shape(traces)[2], [], []
    for distance in (each for each in distances if each < count):
        low, high = traces[:, :, : count - distance], traces[:, :, distance:]
        both = [cross_correlogram(*pair, lags, normalise) for pair in ((low, high), (high, low))]
        rows = np.concatenate([part.reshape(-1, part.shape[-1]) for part in both])
        kept.append(distance)
        found.append(statistics.student_interval(rows, level=level))
    return kept, found
