"""Surrogate data: what a correlogram looks like when two traces are not synchronised.

Two oscillating neurons show an oscillating correlogram even if they know nothing of each other, because both series are
short and regular. The question is whether theirs is larger than that of surrogates with the same power spectra:

* shuffled repeats correlate one trace with the other one from a different repeat of the stimulus (Perkel et al.
  1967), which keeps what is locked to the stimulus;
* phase randomisation gives every frequency of every trace a random phase (Theiler et al. 1992).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.measures import statistics


class SynchronyTest(NamedTuple):
    """Test of each pair of channels against surrogates."""

    amplitude: np.ndarray  # (channels A, channels B) half range of the mean correlogram, correlation coefficients
    effect_size: np.ndarray  # (channels A, channels B) amplitude less the surrogates' mean, in their sd
    p_value: np.ndarray  # (channels A, channels B)
    q_value: np.ndarray  # (channels A, channels B) false discovery rate over the distinct pairs
    excess: np.ndarray  # (pairs,) amplitude less surrogate mean of the distinct pairs
    null_excess: np.ndarray  # (surrogates,) the same of each surrogate, averaged over pairs
    overall_p_value: float  # of the mean excess over all pairs


def unit_spectra(traces) -> np.ndarray:
    """Return spectra (..., bins) of traces (time, ...) with mean 0 and norm 1; constant traces give 0."""
    traces = np.moveaxis(np.asarray(traces, np.float64), 0, -1)
    traces = traces - traces.mean(axis=-1, keepdims=True)
    norm = np.linalg.norm(traces, axis=-1, keepdims=True)
    return np.fft.rfft(traces / np.where(norm > 0, norm, 1), axis=-1)


def randomize_phases(spectra, rng: np.random.Generator) -> np.ndarray:
    """Return spectra with the same magnitudes and independent uniform phases; the mean and Nyquist bins stay real."""
    return np.abs(spectra) * np.exp(2j * np.pi * rng.random(spectra.shape))


def circular_correlograms(spectra, steps: int, lags: int) -> np.ndarray:
    """Return the mean circular correlogram over repeats for all pairs.

    The cross-spectra are averaged before the transform, so that the cost does not grow with repeats squared.

    Args:
        spectra: (repeats, channels, bins) of `unit_spectra`.
        steps: length of the traces.
        lags: largest lag.

    Returns:
        (channels A, channels B, 2 lags + 1).
    """
    # As one matrix product per frequency, which is what a processor does fastest.
    by_frequency = np.ascontiguousarray(np.moveaxis(spectra, 2, 0))
    cross = np.swapaxes(by_frequency, 1, 2) @ by_frequency.conj() / len(spectra)
    return np.fft.irfft(cross, steps, axis=0)[np.arange(-lags, lags + 1) % steps].transpose(1, 2, 0)


def half_range(correlograms) -> np.ndarray:
    """Return (max - min) / 2 over the last axis."""
    return (correlograms.max(axis=-1) - correlograms.min(axis=-1)) / 2


def shuffle_repeats(spectra, rng: np.random.Generator) -> np.ndarray:
    """Return spectra (repeats, channels, bins) with the repeats of each channel in an order of its own."""
    order = rng.permuted(np.tile(np.arange(len(spectra))[:, None], (1, spectra.shape[1])), axis=0)
    return np.take_along_axis(spectra, order[..., None], axis=0)


SURROGATES = {"shuffle": shuffle_repeats, "phase": randomize_phases}


def synchrony_test(
    traces,
    rng: np.random.Generator,
    lags: int = 50,
    surrogates: int = 199,
    kind: str | None = None,
    stimuli=None,
    across: int | None = None,
) -> SynchronyTest:
    """Test for all pairs of channels whether they are synchronised within repeats.

    What all repeats of a stimulus have in common is locked to it, so the mean over repeats is removed first (the
    correlogram that is left is the raw one less the shift predictor). The statistic is the half range of the mean
    correlogram; p = (1 + surrogates at least as large) / (1 + surrogates).

    Shuffled repeats are an exact null hypothesis whatever the traces look like, and the default from 5 repeats on.
    Random phases need stationary traces: trends that run through a whole trace make them reject too often.

    Args:
        traces: (time, repeats, channels).
        rng: source of the surrogates.
        lags: largest lag looked at.
        surrogates: number of surrogates; p cannot fall below 1 / (1 + surrogates).
        kind: 'shuffle' or 'phase'; chosen by the number of repeats if None.
        stimuli: (repeats,) label of what was shown; repeats of one stimulus are shuffled among themselves. All the
            same by default.
        across: test only pairs of one of the first `across` channels with one of the others, such as channels at two
            sites; p and q of other pairs are NaN.

    Raises:
        ValueError: unknown kind, or shuffling of fewer than 3 repeats.
    """
    traces = np.asarray(traces, np.float64)
    steps, repeats = traces.shape[:2]
    labels = np.zeros(repeats, int) if stimuli is None else np.unique(stimuli, return_inverse=True)[1].ravel()
    members = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
    fewest = min(map(len, members))
    kind = kind or choose_surrogates(labels)
    if kind not in SURROGATES:
        raise ValueError(f"Unknown surrogates '{kind}'; choose one of {', '.join(SURROGATES)}.")
    if kind == "shuffle" and fewest < 3:
        raise ValueError(f"Shuffling needs at least 3 repeats, not {fewest}; use kind='phase'.")
    # Single precision: a surrogate is four times as fast, and its statistic good to seven digits.
    spectra = np.empty((repeats, traces.shape[2], steps // 2 + 1), np.complex64)
    for rows in members:
        here = traces[:, rows]
        spectra[rows] = unit_spectra(here - here.mean(axis=1, keepdims=True) if len(rows) > 1 else here)

    def draw() -> np.ndarray:
        drawn = np.empty_like(spectra)
        for rows in members:
            drawn[rows] = SURROGATES[kind](spectra[rows], rng)
        return half_range(circular_correlograms(drawn, steps, lags))

    observed = half_range(circular_correlograms(spectra, steps, lags))
    drawn = np.stack([draw() for _ in range(surrogates)])
    p_value = (1 + (drawn >= observed).sum(axis=0)) / (1 + surrogates)
    tested = np.triu(np.ones(p_value.shape, bool), 1)
    if across is not None:
        tested[:across, :across] = tested[across:, across:] = False
    p_value[~(tested | tested.T)] = np.nan
    q_value = np.full(p_value.shape, np.nan)
    upper = np.nonzero(tested)
    # Both orders of a pair share one correlogram, turned around: they count as one test.
    q_value[upper] = statistics.benjamini_hochberg(p_value[upper])
    q_value.T[upper] = q_value[upper]
    mean, spread = drawn.mean(axis=0), drawn.std(axis=0, ddof=1)
    effect = (observed - mean) / np.where(spread > 0, spread, 1)
    excess = (observed - mean)[upper]
    null_excess = (drawn - mean)[:, upper[0], upper[1]].mean(axis=1)
    overall = float((1 + (null_excess >= excess.mean()).sum()) / (1 + surrogates))
    return SynchronyTest(observed, effect, p_value, q_value, excess, null_excess, overall)


def choose_surrogates(stimuli) -> str:
    """Return 'shuffle' where every stimulus was shown at least 5 times, else 'phase'."""
    return "shuffle" if np.unique(stimuli, return_counts=True)[1].min() >= 5 else "phase"
