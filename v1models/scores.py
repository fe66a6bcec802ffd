"""Scores of cross-validated predictions against repeats: corrected for noise, with intervals, missing never zero.

Everything is made of sums over images that are kept per group of images (a movie, a scene), so that groups can be drawn
again thousands of times.  Within each fold predictions p and trial averages y are taken relative to their means there:
a model fitted without the fold does not know the fold's mean, and the difference would count against it.

    r         Σ p y / √(Σp² Σy²)                                  correlation with the trial average
    CCnorm    Σ p y / √(Σp² S),   S = Σy² − Σ noise               Schoppe et al. (2016), Front. Comput. Neurosci. 10:10
    r²_ER     [(Σ p y)² − σ² Σp²/n̄] / [Σp² S]                     Pospisil & Bair (2021), PLoS Comput. Biol. 17:e1009212
    SNR       S / (count · σ²)                                    signal variance over trial-to-trial variance

σ² is a unit's trial-to-trial variance, averaged over images shown at least twice; the noise of an average over nᵢ
trials is σ²/nᵢ, and n̄ is the harmonic mean of nᵢ.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Sums(NamedTuple):
    """Sums over the images of each group, G groups and N units."""

    product: np.ndarray  # (G, N), Σ p y
    model: np.ndarray  # (G, N), Σ p²
    data: np.ndarray  # (G, N), Σ y²
    noise: np.ndarray  # (G, N), expected part of Σ y² that is noise
    count: np.ndarray  # (G, N), images
    inverse_trials: np.ndarray  # (G, N), Σ 1/nᵢ
    variance: np.ndarray  # (N,), trial-to-trial variance σ²


class Interval(NamedTuple):
    """An estimate with its bootstrap interval."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def collect(predictions: np.ndarray, trials: np.ndarray, groups: np.ndarray, blocks: np.ndarray) -> Sums:
    """Returns the sums that all scores are made of.

    Args:
        predictions: (n, N), each image predicted by a model that never saw its group; NaN where there is none.
        trials: (T, n, N), NaN where there is none.
        groups: (n,), unit of replication over images.
        blocks: (n,), fold that each image was predicted in.
    """
    predictions, trials = np.asarray(predictions, np.float64), np.asarray(trials, np.float64)
    there = np.isfinite(trials)
    repeats = there.sum(0)
    average = np.where(there, trials, 0).sum(0) / np.maximum(repeats, 1)
    squares = np.where(there, np.square(trials - average), 0).sum(0)
    repeated = repeats > 1
    variance = np.where(repeated, squares / np.maximum(repeats - 1, 1), 0).sum(0) / np.maximum(repeated.sum(0), 1)
    used = (repeats > 0) & np.isfinite(predictions)
    p, y = np.where(used, predictions, 0), np.where(used, average, 0)
    inverse = np.where(used, 1 / np.maximum(repeats, 1), 0)
    noise = np.zeros_like(y)
    for block in np.unique(blocks):
        rows = np.flatnonzero(blocks == block)
        count = np.maximum(used[rows].sum(0), 1)
        for array in (p, y):
            array[rows] = np.where(used[rows], array[rows] - array[rows].sum(0) / count, 0)
        # E(y − ȳ)² of noise alone: σ²/nᵢ (1 − 2/m) + mean(σ²/n)/m
        noise[rows] = np.where(
            used[rows], variance * (inverse[rows] * (1 - 2 / count) + inverse[rows].sum(0) / count**2), 0
        )
    members = (np.unique(groups)[:, None] == np.asarray(groups)).astype(np.float64)  # (G, n)
    fields = (p * y, p * p, y * y, noise, used.astype(np.float64), inverse)
    return Sums(*(members @ field for field in fields), variance)


Score = Callable[..., np.ndarray]  # (sums, draws=None) -> a number of each unit, (N,) or (B, N)


def correlation(sums: Sums, draws: np.ndarray | None = None) -> np.ndarray:
    """Returns the correlation with the trial average; draws (B, G) count each group's weight.  (N,) or (B, N)."""
    product, model, data = (_total(field, draws) for field in (sums.product, sums.model, sums.data))
    return _ratio(product, np.sqrt(model * data))


def normalized_correlation(sums: Sums, draws: np.ndarray | None = None) -> np.ndarray:
    """Returns CCnorm; NaN for units without signal.  A constant prediction scores 0."""
    product, model = _total(sums.product, draws), _total(sums.model, draws)
    return _ratio(product, np.sqrt(model * np.maximum(_signal(sums, draws), 0)), constant=model <= 0)


def corrected_r2(sums: Sums, draws: np.ndarray | None = None) -> np.ndarray:
    """Returns r²_ER, an unbiased estimate of the squared correlation with the expected response; may fall below 0."""
    product, model = _total(sums.product, draws), _total(sums.model, draws)
    mean_inverse = _ratio(_total(sums.inverse_trials, draws), _total(sums.count, draws))
    above = np.square(product) - sums.variance * mean_inverse * model
    return _ratio(above, model * np.maximum(_signal(sums, draws), 0), constant=model <= 0)


def signal_to_noise(sums: Sums) -> np.ndarray:
    """Returns the signal's variance over images divided by the variance from trial to trial, (N,)."""
    return _ratio(_signal(sums, None), _total(sums.count, None) * sums.variance)


def _signal(sums: Sums, draws) -> np.ndarray:
    return _total(sums.data, draws) - _total(sums.noise, draws)


def _total(field: np.ndarray, draws) -> np.ndarray:
    return field.sum(0) if draws is None else draws @ field


def _ratio(above, below, constant=False) -> np.ndarray:
    found = np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)
    return np.where(constant, 0.0, found)


def draw_groups(count: int, resamples: int, seed: int = 0) -> np.ndarray:
    """Returns bootstrap weights of groups, (resamples, count): how often each is drawn."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)


def over_images(score: Score, sums: Sums, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> Interval:
    """Returns each unit's score with an interval over groups of images drawn anew, (N,) each.

    Args:
        score: `correlation`, `normalized_correlation` or `corrected_r2`.
        sums: of `collect`.
        resamples: bootstrap draws.
        level: of the percentile interval.
        seed: of the draws.
    """
    drawn = score(sums, draw_groups(len(sums.product), resamples, seed))
    return Interval(score(sums), *_percentiles(drawn, level))


def over_both(
    score: Score, sums: Sums, keep: np.ndarray, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Returns the mean score of the units `keep` with an interval over images and units, both drawn anew.

    Args:
        score: as in `over_images`.
        sums: of `collect`.
        keep: (N,), bool, units that count.
        resamples: bootstrap draws.
        level: of the interval.
        seed: of the draws.
    """
    kept = np.flatnonzero(keep)
    value = np.nanmean(score(sums)[kept]) if len(kept) else np.nan
    if not len(kept):
        return Interval(value, np.nan, np.nan)
    drawn = score(sums, draw_groups(len(sums.product), resamples, seed))[:, kept]
    columns = np.random.default_rng(seed + 1).integers(len(kept), size=drawn.shape)
    return Interval(value, *_percentiles(np.nanmean(np.take_along_axis(drawn, columns, 1), axis=1), level))


def over_recordings(
    values: np.ndarray, recordings: np.ndarray, drawn: np.ndarray | None = None, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Returns the mean over units with an interval over recordings, and over units within them, both drawn anew.

    Args:
        values: (N,), NaN where a unit has none: it is left out.
        recordings: (N,), the recording of each unit.
        drawn: (resamples, N), the same values of images drawn anew, or None to keep the images.
        resamples: bootstrap draws.
        seed: of the draws.
    """
    values = np.asarray(values, np.float64)
    kept = np.flatnonzero(np.isfinite(values))
    if not len(kept):
        return Interval(np.nan, np.nan, np.nan)
    chosen = [kept[units] for units in draw_units(np.asarray(recordings)[kept], resamples, seed)]
    means = [np.nanmean(values[units] if drawn is None else drawn[index, units]) for index, units in enumerate(chosen)]
    return Interval(values[kept].mean(), *_percentiles(np.array(means), 0.95))


class Comparison(NamedTuple):
    """The paired difference of two models over the same images and units."""

    difference: float
    low: float
    high: float
    p: float  # two-sided, bootstrap


def compare(
    score: Score,
    first: Sums,
    second: Sums,
    keep: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
    recordings: np.ndarray | None = None,
) -> Comparison:
    """Returns mean score of `first` minus `second` over units `keep`, images and units drawn anew in pairs.

    p = 2 min(share of draws ≤ 0, share ≥ 0), at least 2/(resamples + 1).

    Args:
        score: as in `over_images`.
        first, second: of `collect`, of the same images and units.
        keep: (N,), bool, units that count.
        resamples: bootstrap draws.
        seed: of the draws.
        recordings: (N,), the recording of each unit: recordings are drawn anew and units within them.  None draws units
            as if they were all of one recording.
    """
    kept = np.flatnonzero(keep)
    draws = draw_groups(len(first.product), resamples, seed)
    drawn = (score(first, draws) - score(second, draws))[:, kept]
    owners = np.zeros(len(kept)) if recordings is None else np.asarray(recordings)[kept]
    columns = draw_units(owners, resamples, seed + 1)
    means = np.array([np.nanmean(values[chosen]) for values, chosen in zip(drawn, columns, strict=True)])
    found = float(np.nanmean((score(first) - score(second))[kept]))
    share = min((np.sum(means <= 0) + 1) / (resamples + 1), (np.sum(means >= 0) + 1) / (resamples + 1))
    low, high = _percentiles(means, 0.95)
    return Comparison(found, float(low), float(high), float(min(2 * share, 1)))


def draw_units(recordings: np.ndarray, resamples: int, seed: int) -> list[np.ndarray]:
    """Returns bootstrap draws of units: recordings drawn anew, then as many units within each as it has.

    Args:
        recordings: (N,), the recording of each unit.
        resamples: draws.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(recordings == name) for name in np.unique(recordings)]
    found = []
    for _ in range(resamples):
        chosen = [members[one] for one in rng.integers(len(members), size=len(members))]
        found.append(np.concatenate([units[rng.integers(len(units), size=len(units))] for units in chosen]))
    return found


def holm(p: np.ndarray) -> np.ndarray:
    """Returns p-values adjusted for their number: max over j ≤ i of (m − j) p₍ⱼ₎.

    Source: Holm (1979), Scand. J. Statist. 6:65.
    """
    p = np.asarray(p, np.float64)
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    found = np.empty_like(p)
    found[order] = np.minimum(adjusted, 1)
    return found


def _percentiles(drawn: np.ndarray, level: float) -> np.ndarray:
    tail = 50 * (1 - level)
    with warnings.catch_warnings():  # a unit without signal in any draw has no interval
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        return np.nanpercentile(drawn, (tail, 100 - tail), axis=0)
