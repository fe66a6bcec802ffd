"""What is kept of a period of a recording for every neuron in place of its trace, on its way to disk and back.

A test of activity reads, per neuron and period, the number of steps, mean and variance, the mean and variance of the
means of consecutive stretches (batch means, which autocorrelation does not inflate), and for the Shapiro-Wilk test of
normality the spread sum_i a_i x_(i): its statistic is W = spread² / ((n - 1) variance).

    found = summarize(traces, periods.segments()["during"], batch_steps=100)       # PeriodStatistics
    writer.write(block, names.statistic("variance", layer), ...)                   # see `arrays`
    read(recording, layer, "during")                                               # the same, of all stimuli

While recording this runs beside the sampler on the same processor, so it has to be cheap: float32, relative to the
first step and then to the mean, which leaves relative errors of about 1e-6.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from recordings import names
from recordings.format import Array
from recordings.periods import LEAST_STEPS, Periods
from recordings.reading import Recording

NEURONS = 256  # reduced at once, so that their traces stay in a core's cache


class PeriodStatistics(NamedTuple):
    """Statistics of one period, arrays elementwise over neurons."""

    count: int  # steps
    mean: np.ndarray  # state
    variance: np.ndarray  # state², unbiased
    batch_count: int  # consecutive stretches
    batch_mean: np.ndarray  # mean of their means
    batch_variance: np.ndarray  # unbiased variance of their means
    normality_spread: np.ndarray  # Σ a_i x_(i) of the test of normality


STATISTICS = ("mean", "variance", "batch_mean", "batch_variance", "normality_spread")  # those that are arrays


def normality_weights(count: int) -> np.ndarray:
    """Return the weights a_n, a_{n-1} … (n // 2,) of largest minus smallest, next largest minus next smallest sample.

    Royston's approximation (1995, AS R94) of those of Shapiro & Wilk 1965.

    Raises:
        ValueError: fewer than 12 samples.
    """
    if count < LEAST_STEPS:
        raise ValueError(f"the test of normality needs at least {LEAST_STEPS} steps in a period, not {count}")
    scores = -special.ndtri((np.arange(1, count // 2 + 1) - 0.375) / (count + 0.25))
    total, root = 2 * np.sum(scores**2), 1 / np.sqrt(count)
    largest = np.polyval([-2.706056, 4.434685, -2.071190, -0.147981, 0.221157, 0], root) + scores[0] / np.sqrt(total)
    second = np.polyval([-3.582633, 5.682633, -1.752461, -0.293762, 0.042981, 0], root) + scores[1] / np.sqrt(total)
    rest = (total - 2 * scores[0] ** 2 - 2 * scores[1] ** 2) / (1 - 2 * largest**2 - 2 * second**2)
    return np.concatenate([[largest, second], scores[2:] / np.sqrt(rest)])


def count_batches(segments: Sequence[slice], batch_steps: int) -> int:
    """Return the number of batch means of a period."""
    length = _batch_length(segments, batch_steps)
    return sum((part.stop - part.start) // length for part in segments)


def summarize(
    traces: np.ndarray | Sequence[np.ndarray], segments: Sequence[slice], batch_steps: int = 100, dtype=np.float32
) -> PeriodStatistics:
    """Reduce a period to its statistics.

    Args:
        traces: (time, ...) states, or consecutive pieces of them.
        segments: stretches of time that make up the period, none empty.
        batch_steps: steps of a batch mean; half of the shortest segment if that is less.
        dtype: of the arithmetic and of the result.

    Returns:
        Arrays of the trailing shape.

    Raises:
        ValueError: the period is shorter than 12 steps.
    """
    pieces = [traces] if isinstance(traces, np.ndarray) else traces
    shape, flat = pieces[0].shape[1:], [piece.reshape(len(piece), -1) for piece in pieces]
    rows = [rows for segment in segments for rows in _rows(flat, segment)]
    lengths = [segment.stop - segment.start for segment in segments]
    steps, width, batch = sum(lengths), flat[0].shape[1], _batch_length(segments, batch_steps)
    weights = normality_weights(steps)
    antisymmetric = np.zeros(steps, dtype)
    antisymmetric[: len(weights)], antisymmetric[-len(weights) :] = -weights, weights[::-1]
    result = {name: np.empty(width, dtype) for name in STATISTICS}
    gathered, turned = np.empty((steps, NEURONS), dtype), np.empty((NEURONS, steps), dtype)
    for first in range(0, width, NEURONS):
        neurons = slice(first, min(first + NEURONS, width))
        count, place = neurons.stop - first, 0
        origin = rows[0][0, neurons].astype(dtype)
        for part in rows:
            np.subtract(part[:, neurons], origin, out=gathered[place : place + len(part), :count], dtype=dtype)
            place += len(part)
        samples = turned[:count]
        samples[:] = gathered[:, :count].T
        mean = samples.mean(axis=1)
        samples -= mean[:, None]
        batches = _batch_means(samples, lengths, batch)
        result["mean"][neurons] = origin + mean
        result["variance"][neurons] = np.einsum("ij,ij->i", samples, samples) / (steps - 1)
        result["batch_mean"][neurons] = origin + mean + batches.mean(axis=1)
        result["batch_variance"][neurons] = batches.var(axis=1, ddof=1)
        samples.sort(axis=1)
        result["normality_spread"][neurons] = np.einsum("ij,j->i", samples, antisymmetric)
    found = {name: values.reshape(shape) for name, values in result.items()}
    return PeriodStatistics(count=steps, batch_count=count_batches(segments, batch_steps), **found)


def arrays(layer: int, maps: Mapping[str, int], segments: Mapping[str, Any]) -> dict[str, Array]:
    """Return what a recording holds of the statistics of a layer.

    Args:
        layer: its number.
        maps: dimensions behind the period with their sizes, 'stimulus' among them.
        segments: of the protocol, by period.
    """
    array = Array(("period", *maps), (len(segments), *maps.values()), "float32")
    return {names.statistic(name, layer): array for name in STATISTICS}


def describe(segments: Mapping[str, Sequence[slice]], batch_steps: int) -> dict[str, dict[str, int]]:
    """Return what a recording says of its statistics: steps and batches of each period, in the order of the arrays."""
    return {
        period: {
            "steps": sum(part.stop - part.start for part in parts),
            "batches": count_batches(parts, batch_steps),
        }
        for period, parts in segments.items()
    }


def reduce(pieces, periods: Periods, batch_steps: int, layer: int) -> dict[str, np.ndarray]:
    """Return the arrays of the statistics of a layer by name, (periods, ...).

    Args:
        pieces: consecutive pieces of its states (time, ...), float32.
        periods: of the recording.
        batch_steps: see `summarize`.
        layer: its number.
    """
    found = [summarize(pieces, parts, batch_steps) for parts in periods.segments().values()]
    return {names.statistic(name, layer): np.stack([getattr(each, name) for each in found]) for name in STATISTICS}


def read(recording: Recording, layer: int, period: str) -> PeriodStatistics:
    """Return the statistics of a period ('during' or 'outside'), of shape (stimuli, height, width, channels).

    They are read where they were kept, and otherwise taken from the whole traces, block by block.
    """
    if names.statistic(STATISTICS[0], layer) in recording.schema.arrays:
        about = recording.about["statistics"]
        place = list(about).index(period)
        found = {name: recording.read(names.statistic(name, layer), period=place) for name in STATISTICS}
        return PeriodStatistics(count=about[period]["steps"], batch_count=about[period]["batches"], **found)
    segments, name, parts = (
        Periods(*recording.about["periods"]).segments()[period],
        names.traces(names.STATE, layer),
        [],
    )
    ends = np.cumsum([0, *(part.stop - part.start for part in segments)])
    joined = [slice(start, stop) for start, stop in itertools.pairwise(ends)]
    for block in range(recording.schema.num_blocks):
        stimuli = recording.schema.stimuli_of(block)
        pieces = [recording.read(name, stimulus=stimuli, time=part) for part in segments]
        parts.append(summarize(pieces, joined, recording.about["batch_steps"], np.float64))
    found = {name: np.concatenate([getattr(part, name) for part in parts]) for name in STATISTICS}
    return parts[0]._replace(**found)


def _batch_length(segments: Sequence[slice], batch_steps: int) -> int:
    return max(1, min([batch_steps, *((part.stop - part.start) // 2 for part in segments)]))


def _rows(pieces: Sequence[np.ndarray], segment: slice) -> list[np.ndarray]:
    """The steps of a segment, one array from each piece that has some."""
    found, start = [], 0
    for piece in pieces:
        inside = piece[max(segment.start - start, 0) : max(segment.stop - start, 0)]
        start += len(piece)
        if len(inside):
            found.append(inside)
    return found


def _batch_means(samples: np.ndarray, lengths: Sequence[int], batch: int) -> np.ndarray:
    """Means (neurons, batches) of consecutive stretches of each of the segments laid side by side in (neurons, n)."""
    means, start = [], 0
    for length in lengths:
        whole = samples[:, start : start + length // batch * batch]
        means.append(whole.reshape(len(samples), -1, batch).mean(axis=2))
        start += length
    return np.concatenate(means, axis=1)
