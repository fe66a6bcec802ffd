"""Does the stimulus quench variability across trials (Churchland et al. 2010)?

For each channel the variance across trials that were shown the same, at each time, is averaged over the sustained
response and over the blank before it; the statistic is the geometric mean over channels of their ratio at the highest
contrast. Present: its interval lies below 0.9; absent: above.

Two trivial causes are kept out. A channel pushed against a wall (or a floor such as zero spikes) varies less because
it cannot move: channels whose values pile up at an end of their range are left out. And a variance that depends on
the mean changes with it: where enough channels keep their mean, those alone decide, and otherwise the report says
that the means were not matched.
"""

from __future__ import annotations

import numpy as np

from analysis.checks.resampling import LEVEL, interval, trial_counts
from analysis.checks.trials import Trials, before, sustained
from analysis.checks.verdict import Verdict, against_threshold, not_tested

CHECK = "variability_quenched"
THRESHOLD = 0.9
EDGE, PILED = 0.01, 0.002  # outermost share of a channel's range, and the share of samples that makes a wall of it
SAME_MEAN = 0.5  # standard deviations of the blank
ONE_PEAK = 8  # samples
LEAST_MATCHED = 4  # channels
MOST_SAMPLES = 200  # of a window


def variability_quenched(trials: Trials, counts: np.ndarray | None = None) -> Verdict:
    """Judge quenching at the highest contrast; `found` is the ratio of variances, during over before."""
    counts = trial_counts(trials.contrast) if counts is None else counts
    top = trials.contrast == trials.levels[-1]
    shown = trials.shown()[top]
    if np.bincount(shown).max() < 2:
        return not_tested(CHECK, "ratio", "no stimulus of the highest contrast was shown twice")
    windows = (sustained(trials), before(trials))
    during, blank = (np.asarray(trials.signals[top][:, _thinned(window)], np.float64) for window in windows)
    free = ~at_wall(np.concatenate([during, blank], axis=1))
    if not free.any():
        reason = "every channel piles up at an end of its range, where variance falls because nothing can move"
        return not_tested(CHECK, "ratio", reason)
    shift = np.abs(during.mean(axis=(0, 1)) - blank.mean(axis=(0, 1))) / np.maximum(blank.std(axis=(0, 1)), 1e-30)
    matched = free & (shift < SAME_MEAN)
    chosen = matched if matched.sum() >= LEAST_MATCHED else free
    weights = np.concatenate([np.ones((1, top.sum())), counts[:, top]])
    # (resamples, channels)
    logs = np.log(variance_over_trials(during, shown, weights)) - np.log(variance_over_trials(blank, shown, weights))
    ratio, every = np.exp(logs[:, chosen].mean(axis=1)), np.exp(logs[:, free].mean(axis=1))
    kept = f"{chosen.sum()} of {free.size} channels"
    if chosen is matched:
        words = f"{kept} keep their mean and reach no wall (all that reach no wall: {every[0]:.3g})"
    else:
        words = f"{kept} reach no wall, too few of them keep their mean, so means are not matched"
    each = int(top.sum())
    verdict = against_threshold(CHECK, float(ratio[0]), ratio[1:], THRESHOLD, False, "ratio", each, words)
    details = {"channels": int(chosen.sum()), "at_wall": int((~free).sum()), "matched": bool(chosen is matched),
               "all_free": [float(every[0]), *interval(every[1:], LEVEL)]}  # fmt: skip
    return verdict._replace(details=details)


def ratios_of_contrasts(trials: Trials) -> list[float]:
    """The ratio of variances at every contrast above 0, mean over channels that reach no wall, without intervals."""
    found = []
    for level in trials.levels:
        alone = trials._replace(**_only(trials, level))
        details = variability_quenched(alone, np.ones((1, len(alone.contrast)))).details
        found.append(details["all_free"][0] if details else np.nan)
    return found


def at_wall(values: np.ndarray) -> np.ndarray:
    """(channels,) bool: whether values (trials, time, channels) pile up at an end of a channel's range.

    Of Gaussian values less than one in a hundred thousand lies in the outermost hundredth of the range on either side;
    at a wall the density does not fall off.
    """
    low, high = values.min(axis=(0, 1)), values.max(axis=(0, 1))
    edge = EDGE * (high - low)
    ends = (values <= low + edge).sum(axis=(0, 1)), (values >= high - edge).sum(axis=(0, 1))
    # A signal that turns slowly leaves a few samples at its very highest peak.
    return (np.maximum(*ends) > PILED * values.shape[0] * values.shape[1] + ONE_PEAK) | (high <= low)


def variance_over_trials(values: np.ndarray, shown: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Variance across trials of one stimulus at each time, mean over time and stimuli, for every resample.

    Args:
        values: (trials, time, channels).
        shown: (trials,) int, the stimulus.
        weights: (resamples, trials) counts.

    Returns:
        (resamples, channels); the expectation of a resample is corrected for the trials drawn twice.
    """
    time, channels = values.shape[1:]
    total = np.zeros((len(weights), channels))
    share = np.zeros(len(weights))
    for number in np.unique(shown):
        rows = np.flatnonzero(shown == number)
        if rows.size < 2:
            continue
        flat = values[rows] - values[rows].mean(axis=0)
        count = weights[:, rows]
        size = np.maximum(count.sum(axis=1), 1)
        mean = (count @ flat.reshape(rows.size, -1)).reshape(-1, time, channels) / size[:, None, None]
        square = count @ np.mean(flat**2, axis=1) / size[:, None]
        # Unbiased if the resample's trials were all different; a bootstrap sample holds 1 - 1/n of the variance.
        drawn = rows.size / (rows.size - 1)
        total += size[:, None] * drawn * (square - np.mean(mean**2, axis=1))
        share += size
    return np.maximum(total / np.maximum(share, 1)[:, None], 1e-300)


def _thinned(window: slice) -> slice:
    return slice(window.start, window.stop, max(1, (window.stop - window.start) // MOST_SAMPLES))


def _only(trials: Trials, level: float) -> dict:
    rows = trials.contrast == level
    groups = None if trials.groups is None else trials.groups[rows]
    return {"signals": trials.signals[rows], "contrast": trials.contrast[rows], "groups": groups}
