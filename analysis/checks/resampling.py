"""Intervals by resampling whole trials, and the three answers drawn from them.

Trials are drawn with replacement within each contrast; a resample is kept as counts (resamples, trials), so that one
matrix product makes all of its means. The counts depend on the contrasts and the seed alone: a model and its control,
recorded on the same stimuli, are resampled together, and their difference is paired.
"""

from __future__ import annotations

import math

import numpy as np

RESAMPLES = 400
LEVEL = 0.05  # of the intervals


def trial_counts(contrast: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """How often each trial is in each resample, (resamples, trials) float64; drawn within each contrast."""
    rng = np.random.default_rng([seed, 11])
    counts = np.zeros((resamples, len(contrast)))
    for level in np.unique(contrast):
        rows = np.flatnonzero(contrast == level)
        counts[:, rows] = rng.multinomial(rows.size, np.full(rows.size, 1 / rows.size), resamples)
    return counts


def interval(draws: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The middle 1 - level of the draws (resamples,); draws that are not a number count as both ends."""
    draws = np.asarray(draws, float)
    low = np.quantile(np.where(np.isnan(draws), -np.inf, draws), level / 2, method="lower")
    high = np.quantile(np.where(np.isnan(draws), np.inf, draws), 1 - level / 2, method="higher")
    return float(low), float(high)


def trials_needed(trials: int, found: float, low: float, high: float, threshold: float) -> int | None:
    """How many more trials would put the threshold outside the interval if `found` stayed as it is.

    An interval of half width w on the threshold's side shrinks as 1/√n, so n (w / |found - threshold|)² trials decide.
    Returns None where that is more than a hundred times as many, or cannot be said.
    """
    half, distance = (found - low) if found > threshold else (high - found), abs(found - threshold)
    if not (math.isfinite(half) and distance > 0):
        return None
    needed = math.ceil(trials * (half / distance) ** 2 * 1.1)
    return None if needed > 100 * trials else max(needed - trials, math.ceil(trials / 8))


def undecided_reason(what: str, trials: int, found: float, low: float, high: float, threshold: float) -> str:
    """The sentence of an undecided check: what the interval covers and how many more trials would decide."""
    more = trials_needed(trials, found, low, high, threshold)
    if more is None:
        return f"{what}; more than {100 * trials} trials a contrast would be needed to decide"
    return f"{what}; about {more} more trials a contrast would decide"
