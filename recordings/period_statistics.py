"""What is kept of a period of a recording for every neuron in place of its trace.

A test of activity reads, per neuron and period, the number of steps, mean and variance, the mean and variance of the
means of consecutive stretches (batch means, which autocorrelation does not inflate), and for the Shapiro-Wilk test of
normality the spread sum_i a_i x_(i): its statistic is W = spread² / ((n - 1) variance).

This runs beside the sampler on the same processor, so it has to be cheap: float32 throughout, relative to the first
step and then to the mean, which leaves relative errors of about 1e-6.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

STATISTICS = ("mean", "variance", "batch_mean", "batch_variance", "normality_spread")
LEAST_STEPS = 12  # for which the weights of the normality test hold
NEURONS = 256  # reduced at once, so that their traces stay in a core's cache


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


def summarise(
    history: np.ndarray | Sequence[np.ndarray], segments: Sequence[slice], batch_steps: int = 100
) -> dict[str, np.ndarray]:
    """Reduce a period to its statistics.

    history: (time, ...) float32 states, or consecutive pieces of them; segments: stretches of time that make up the
    period, none empty; batch_steps: steps of a batch mean.  Returns the arrays of STATISTICS, each of the trailing
    shape, float32.
    """
    pieces = [history] if isinstance(history, np.ndarray) else history
    shape, flat = pieces[0].shape[1:], [piece.reshape(len(piece), -1) for piece in pieces]
    rows = [rows for segment in segments for rows in _rows(flat, segment)]
    lengths = [segment.stop - segment.start for segment in segments]
    steps, width = sum(lengths), flat[0].shape[1]
    weights = normality_weights(steps)
    antisymmetric = np.zeros(steps, np.float32)
    antisymmetric[: len(weights)], antisymmetric[-len(weights) :] = -weights, weights[::-1]
    result = {name: np.empty(width, np.float32) for name in STATISTICS}
    gathered, turned = np.empty((steps, NEURONS), np.float32), np.empty((NEURONS, steps), np.float32)
    for first in range(0, width, NEURONS):
        neurons = slice(first, min(first + NEURONS, width))
        count, place = neurons.stop - first, 0
        origin = rows[0][0, neurons]
        for part in rows:
            np.subtract(part[:, neurons], origin, out=gathered[place : place + len(part), :count])
            place += len(part)
        samples = turned[:count]
        samples[:] = gathered[:, :count].T
        mean = samples.mean(axis=1)
        samples -= mean[:, None]
        stretches = _stretch_means(samples, lengths, stretch_length(segments, batch_steps))
        result["mean"][neurons] = origin + mean
        result["variance"][neurons] = np.einsum("ij,ij->i", samples, samples) / (steps - 1)
        result["batch_mean"][neurons] = origin + mean + stretches.mean(axis=1)
        result["batch_variance"][neurons] = stretches.var(axis=1, ddof=1)
        samples.sort(axis=1)
        result["normality_spread"][neurons] = np.einsum("ij,j->i", samples, antisymmetric)
    return {name: values.reshape(shape) for name, values in result.items()}


def _rows(pieces: Sequence[np.ndarray], segment: slice) -> list[np.ndarray]:
    """The steps of a segment, one array from each piece that has some."""
    found, start = [], 0
    for piece in pieces:
        inside = piece[max(segment.start - start, 0) : max(segment.stop - start, 0)]
        start += len(piece)
        if len(inside):
            found.append(inside)
    return found


def _stretch_means(samples: np.ndarray, lengths: Sequence[int], stretch: int) -> np.ndarray:
    """Means (neurons, stretches) of consecutive stretches of each of the segments laid side by side in (neurons, n)."""
    means, start = [], 0
    for length in lengths:
        whole = samples[:, start : start + length // stretch * stretch]
        means.append(whole.reshape(len(samples), -1, stretch).mean(axis=2))
        start += length
    return np.concatenate(means, axis=1)
