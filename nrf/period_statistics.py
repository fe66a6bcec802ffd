"""What is kept of a period of a recording for every neuron in place of its trace.

A test of activity reads, per neuron and period, the number of steps, mean and variance, the mean and variance of the
means of consecutive stretches (batch means, which autocorrelation does not inflate), and for the Shapiro-Wilk test of
normality the spread sum_i a_i x_(i): its statistic is W = spread² / ((n - 1) variance).  Sums are taken in float64.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

STATISTICS = ("mean", "variance", "batch_mean", "batch_variance", "normality_spread")
LEAST_STEPS = 12  # for which the weights of the normality test hold
NEURONS = 2048  # reduced at once, so that their traces stay in a core's cache


def normality_weights(count: int) -> np.ndarray:
    """Weights a_n, a_{n-1} ... (n // 2,) of the largest minus the smallest, next largest minus next smallest sample.

    Royston's approximation (1995, AS R94) of those of Shapiro & Wilk 1965; ValueError for fewer than 12 samples.
    """
    if count < LEAST_STEPS:
        raise ValueError(f"the test of normality needs at least {LEAST_STEPS} steps in a period, not {count}")
    scores = -special.ndtri((np.arange(1, count // 2 + 1) - 0.375) / (count + 0.25))
    total, root = 2 * np.sum(scores**2), 1 / np.sqrt(count)
    largest = np.polyval([-2.706056, 4.434685, -2.071190, -0.147981, 0.221157, 0], root) + scores[0] / np.sqrt(total)
    second = np.polyval([-3.582633, 5.682633, -1.752461, -0.293762, 0.042981, 0], root) + scores[1] / np.sqrt(total)
    rest = (total - 2 * scores[0] ** 2 - 2 * scores[1] ** 2) / (1 - 2 * largest**2 - 2 * second**2)
    return np.concatenate([[largest, second], scores[2:] / np.sqrt(rest)])


def stretch_length(segments: Sequence[slice], batch_steps: int) -> int:
    """Steps of a batch mean: `batch_steps`, or half of the shortest segment if that is less."""
    return max(1, min([batch_steps, *((part.stop - part.start) // 2 for part in segments)]))


def count_batches(segments: Sequence[slice], batch_steps: int) -> int:
    """Number of batch means of a period."""
    length = stretch_length(segments, batch_steps)
    return sum((part.stop - part.start) // length for part in segments)


def summarise(history: np.ndarray, segments: Sequence[slice], batch_steps: int = 100) -> dict[str, np.ndarray]:
    """Reduce a period to its statistics.

    history: (time, ...) float32 states; segments: stretches of time that make up the period, none empty; batch_steps:
    steps of a batch mean.  Returns the arrays of STATISTICS, each of the trailing shape, float32.
    """
    length = stretch_length(segments, batch_steps)
    flat = history.reshape(len(history), -1)
    weights = normality_weights(sum(part.stop - part.start for part in segments))
    result = {name: np.empty(flat.shape[1], np.float32) for name in STATISTICS}
    for first in range(0, flat.shape[1], NEURONS):
        neurons = slice(first, first + NEURONS)
        parts = [flat[part, neurons].T.astype(np.float64, order="C") for part in segments]
        means = np.concatenate(
            [p[:, : p.shape[1] // length * length].reshape(len(p), -1, length).mean(axis=2) for p in parts], axis=1
        )
        joined = np.concatenate(parts, axis=1)
        result["mean"][neurons] = joined.mean(axis=1)
        result["variance"][neurons] = joined.var(axis=1, ddof=1)
        result["batch_mean"][neurons] = means.mean(axis=1)
        result["batch_variance"][neurons] = means.var(axis=1, ddof=1)
        joined.sort(axis=1)
        half = joined.shape[1] // 2
        result["normality_spread"][neurons] = (joined[:, ::-1][:, :half] - joined[:, :half]) @ weights
    return {name: values.reshape(history.shape[1:]) for name, values in result.items()}
