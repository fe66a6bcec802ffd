"""Variability from trial to trial: its size, how units share it, and what models with given means say of it.

Models of the variance of unit n to image i, all with the same mean m, which other trials give:

    Poisson                 V = m
    modulated Poisson       V = m + a m²               a gain that differs from trial to trial, variance a
    function of the mean    V = m + b + d m + a m²
    samples                 V = m + b + d m + a m² + c F, F the variance of read-outs of samples of latents

with coefficients ≥ 0 fitted to other groups of images.  A model is scored by its log density of the trials where only
mean and variance count, −½ [log V + (x − m)²/V] per trial, which no V beats on average but the true one.

Sources: Goris, Movshon & Simoncelli (2014), Nat. Neurosci. 17:858 (modulated Poisson); Dawid & Sebastiani (1999),
Ann. Stat. 27:65 (the score); Orbán, Berkes, Fiser & Lengyel (2016), Neuron 92:530 (variability as sampling).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from v1models import ridge
from v1models.repeats import Fold

MODULATED, OF_MEAN = "modulated Poisson", "function of the mean"
LEAST = 3  # trials of an image that its variance is estimated from


class Moments(NamedTuple):
    """Of the trials of n images and N units."""

    mean: np.ndarray  # (n, N), NaN without trials
    variance: np.ndarray  # (n, N), unbiased; NaN with fewer than LEAST trials
    count: np.ndarray  # (n, N), trials


def moments(trials: np.ndarray) -> Moments:
    """Returns mean, unbiased variance and number of the trials (T, n, N) there are; NaN is missing."""
    trials = np.asarray(trials, np.float64)
    there = np.isfinite(trials)
    count = there.sum(0)
    mean = np.where(count > 0, np.where(there, trials, 0).sum(0) / np.maximum(count, 1), np.nan)
    squares = np.where(there, np.square(trials - mean), 0).sum(0)
    return Moments(mean, np.where(count >= LEAST, squares / np.maximum(count - 1, 1), np.nan), count)


def held_out_mean(found: Moments) -> np.ndarray:
    """Returns means (n, N) with one trial of the unit's overall mean added, so that none is 0; NaN without trials."""
    overall = np.nansum(found.mean * found.count, axis=0) / np.maximum(found.count.sum(0), 1)
    mean = (np.nan_to_num(found.mean) * found.count + overall) / (found.count + 1)
    return np.where(found.count > 0, mean, np.nan)


def read_out_samples(
    features: np.ndarray, samples: np.ndarray, average: np.ndarray, made: Sequence[Fold], groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what linear read-outs of the mean responses make of single samples: (read (S, n, N), spread (K, n, N)).

    Read-outs are ridge regressions from features to trial averages, one a fold.  `read` are each image's samples read
    out by the one that never saw its group, `spread` the variances over samples of all images under each of the K
    read-outs: these differ in strength, so that only variances under the same one can be compared.

    Args:
        features: (n, …), posterior means.
        samples: (S, n, …).
        average: (n, N), trial averages, NaN where missing.
        made: folds of `repeats.folds`.
        groups: (n,).
    """
    count, draws = len(features), len(samples)
    rows = np.concatenate([features.reshape(count, -1), samples.reshape(draws * count, -1)]).astype(np.float64)
    read, spread = np.empty((draws, count, average.shape[1])), []
    for fold in made:
        every = np.arange(count, count * (1 + draws))
        found, _ = ridge.fit_predict(rows, average, Fold(fold.train, fold.validation, every), groups)
        found = found.reshape(draws, count, -1)
        read[:, fold.test] = found[:, fold.test]
        spread.append(relative(found.var(0, ddof=1), fold))
    return read, np.stack(spread)


def relative(part: np.ndarray, fold: Fold) -> np.ndarray:
    """Returns part (n, N) over its mean over the images fitted on; 0 where that is 0."""
    size = np.nanmean(part[np.concatenate([fold.train, fold.validation])], axis=0)
    return part / np.where(size > 0, size, np.inf)


def held_out(spread: np.ndarray, made: Sequence[Fold]) -> np.ndarray:
    """Returns of (K, n, N), one for each fold, every image's under the fold that tests it, (n, N)."""
    found = np.empty(spread.shape[1:])
    for index, fold in enumerate(made):
        found[fold.test] = spread[index, fold.test]
    return found


def fit_variance(target: Moments, mean: np.ndarray, parts: np.ndarray, rows: np.ndarray, rounds: int = 4) -> np.ndarray:
    """Returns c ≥ 0 (K, N) of V = m + Σ_k c_k p_k, by least squares whose weights are (trials − 1) / V².

    Args:
        target: moments to fit.
        mean: (n, N), m.
        parts: (K, n, N), p.
        rows: images to fit on.
        rounds: of weights and fit in turn.
    """
    found = np.zeros((len(parts), mean.shape[1]))
    if not len(parts):
        return found
    usable = np.isfinite(target.variance) & np.isfinite(mean) & (mean > 0)
    for unit in range(mean.shape[1]):
        there = rows[usable[rows, unit]]
        if not len(there):
            continue
        level, design = mean[there, unit], parts[:, there, unit].T
        excess, degrees = target.variance[there, unit] - level, target.count[there, unit] - 1
        for _ in range(rounds):
            scale = np.sqrt(degrees) / (level + design @ found[:, unit])
            found[:, unit] = nnls(design * scale[:, None], excess * scale)[0]
    return found


def predict_variance(
    target: Moments, mean: np.ndarray, parts: Sequence[np.ndarray], made: Sequence[Fold]
) -> np.ndarray:
    """Returns V (n, N) of every image by coefficients fitted to the other folds.

    Args:
        target, mean: as in `fit_variance`.
        parts: each (n, N), or (K, n, N) with one for each fold.
        made: the K folds.
    """
    found = np.full(mean.shape, np.nan)
    for index, fold in enumerate(made):
        here = [relative(part[index] if part.ndim == 3 else part, fold) for part in parts]
        here = np.stack(here) if here else np.empty((0, *mean.shape))
        coefficients = fit_variance(target, mean, here, np.concatenate([fold.train, fold.validation]))
        found[fold.test] = mean[fold.test] + (coefficients[:, None] * here[:, fold.test]).sum(0)
    return found


def score_sums(target: Moments, variance: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns −½ Σ ν (log V + s²/V) and Σ ν over each group's images, (G, N) both; ν = trials − 1.

    Args:
        target: moments to score, s² their variance.
        variance: V (n, N).
        groups: (n,).
    """
    usable = np.isfinite(target.variance) & np.isfinite(variance) & (variance > 0)
    safe = np.where(usable, variance, 1)
    degrees = np.where(usable, target.count - 1, 0)
    log_density = -0.5 * degrees * (np.log(safe) + np.where(usable, target.variance, 0) / safe)
    members = (np.unique(groups)[:, None] == np.asarray(groups)).astype(np.float64)
    return members @ log_density, members @ degrees


def residual_correlation(
    target: Moments, reference: np.ndarray, mean: np.ndarray, predictor: np.ndarray, least: int = 20
) -> np.ndarray:
    """Returns the correlation over images of s²/V, V the reference's, with a predictor relative to V, (N,).

    What is linear in log m and its square is taken out of both.  Above 0 where the predictor knows of variance that no
    such function of the mean knows of; NaN with fewer images than `least`, or without spread.

    Args:
        target: moments, s² their variance.
        reference: V (n, N).
        mean: m (n, N).
        predictor: (n, N).
        least: images that a correlation needs.
    """
    usable = np.isfinite(target.variance) & np.isfinite(predictor) & (reference > 0) & (mean > 0)
    found = np.full(mean.shape[1], np.nan)
    for unit in np.flatnonzero(usable.sum(0) >= least):
        rows = usable[:, unit]
        level = np.log(mean[rows, unit])
        pair = np.stack([target.variance[rows, unit], predictor[rows, unit]], axis=1) / reference[rows, unit, None]
        found[unit] = _partial(pair, np.stack([level, np.square(level)], axis=1))
    return found


def _partial(pair, others):
    """Correlation of the two columns of (n, 2) after the linear part of others (n, k) is taken out; NaN without any."""
    pair, others = pair - pair.mean(0), others - others.mean(0)
    size = np.sqrt(np.square(pair).sum(0))
    if others.shape[1]:
        pair = pair - others @ np.linalg.lstsq(others, pair, rcond=None)[0]
    norm = np.sqrt(np.square(pair).sum(0))
    return float(pair[:, 0] @ pair[:, 1] / norm.prod()) if (norm > 1e-9 * size).all() else np.nan


def noise_correlations(trials: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Returns correlations of units over trials at a fixed image, (N, N): Σ cov / √(Σ var Σ var) over trials both have.

    Args:
        trials: (T, n, N), units recorded together; NaN where missing.
        rows: images to use, all by default.
    """
    trials = np.asarray(trials if rows is None else trials[:, rows], np.float64)
    found = moments(trials)
    # Standardized by image: images with strong responses would decide alone otherwise.
    deviation = np.sqrt(np.where(found.variance > 0, found.variance, np.nan))
    scores = (trials - found.mean) / deviation
    there = np.isfinite(scores)
    flat, shown = (np.where(there, scores, 0).reshape(-1, trials.shape[2]), there.reshape(-1, trials.shape[2]) * 1.0)
    squares = np.square(flat).T @ shown  # of the first unit over the trials that the second has too
    return _ratio(flat.T @ flat, np.sqrt(squares * squares.T))


def sample_correlations(samples: np.ndarray) -> np.ndarray:
    """Returns correlations of units over samples (S, n, N) at a fixed image, standardized by image, (N, N)."""
    deviations = samples - samples.mean(0)
    spread = deviations.std(0)
    flat = np.where(spread > 0, deviations / np.where(spread > 0, spread, 1), 0).reshape(-1, samples.shape[2])
    norm = np.sqrt(np.square(flat).sum(0))
    return _ratio(flat.T @ flat, norm[:, None] * norm)


def shared_gain_correlations(mean: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Returns correlations (N, N) of modulated Poisson units with one gain for all, averaged over images.

    √(a_n a_m) m_n m_m / √(V_n V_m) with V = m + a m².

    Args:
        mean: (n, N).
        gain: a (N,), variance of the gain.
    """
    mean = np.nan_to_num(mean)
    variance = mean + gain * np.square(mean)
    part = np.where(variance > 0, np.sqrt(gain) * mean / np.sqrt(np.where(variance > 0, variance, 1)), 0)
    return part.T @ part / len(mean)


def signal_correlations(mean: np.ndarray) -> np.ndarray:
    """Returns correlations of units over images of their mean responses (n, N), (N, N)."""
    centered = np.nan_to_num(mean - np.nanmean(mean, axis=0))
    norm = np.sqrt(np.square(centered).sum(0))
    return _ratio(centered.T @ centered, norm[:, None] * norm)


def _ratio(above, below):
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)


def over_pairs(
    measured: np.ndarray, predicted: np.ndarray, given: Sequence[np.ndarray] = (), units: np.ndarray | None = None
) -> float:
    """Returns the correlation over pairs of units of two matrices (N, N), linear parts of others taken out of both.

    Args:
        measured, predicted: (N, N).
        given: matrices whose linear part is taken out: with them a partial correlation.
        units: rows and columns to use, a unit more than once where it was drawn so; its pairs with itself never count.
    """
    units = np.arange(len(measured)) if units is None else units
    first, second = np.triu_indices(len(units), 1)
    first, second = units[first], units[second]
    columns = np.stack([matrix[first, second] for matrix in (measured, predicted, *given)], axis=1)
    columns = columns[(first != second) & np.isfinite(columns).all(1)]
    return _partial(columns[:, :2], columns[:, 2:]) if len(columns) >= 4 + len(given) else np.nan


def contrasts(images: np.ndarray) -> np.ndarray:
    """Returns the standard deviation of each image's (n, rows, columns, channels) pixels over their mean, (n,)."""
    flat = np.asarray(images, np.float64).reshape(len(images), -1)
    return flat.std(1) / np.maximum(flat.mean(1), 1e-12)


def contrast_levels(contrast: np.ndarray, groups: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns rows (levels, groups) of the images `rows`, every group's in order of contrast.

    Groups with fewer images than the largest are left out.
    """
    series = [rows[groups[rows] == group] for group in np.unique(groups[rows])]
    longest = max(map(len, series))
    return np.stack([one[np.argsort(contrast[one])] for one in series if len(one) == longest], axis=1)


def fano_curve(variance: np.ndarray, mean: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Returns Σ V / Σ m over the images of each level, (levels, N); NaN where nothing responds.

    Args:
        variance, mean: (n, N).
        levels: rows (levels, groups) as `contrast_levels` gives.
    """
    there = np.isfinite(variance[levels]) & np.isfinite(mean[levels])
    return _ratio(np.where(there, variance[levels], 0).sum(1), np.where(there, mean[levels], 0).sum(1))


def slope(curve: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """Returns the change of log₂ of a curve (levels, N) for a doubling of contrast (levels,), (N,).

    NaN for units whose curve is not positive at every level.
    """
    x = np.log2(contrast) - np.log2(contrast).mean()
    good = (np.isfinite(curve) & (curve > 0)).all(0)
    return np.where(good, x @ np.log2(np.where(good, curve, 1)) / np.square(x).sum(), np.nan)


def variance_parts(mean: np.ndarray, spreads: Mapping[str, np.ndarray], seed: int = 0) -> dict[str, list[np.ndarray]]:
    """Returns the parts p of every model's V = m + Σ c p by name.

    Args:
        mean: m (n, N).
        spreads: {name: F (K, n, N)}, variances over samples of each field's read-outs, one for each fold.
        seed: of the permutation of images in the controls `NAME, other images`.
    """
    order = np.random.default_rng(seed).permutation(len(mean))
    of_mean = [np.ones_like(mean), mean, np.square(mean)]
    models = {"Poisson": [], MODULATED: of_mean[2:], OF_MEAN: of_mean}
    for name, spread in spreads.items():
        models |= {
            f"{name} alone": [spread],
            name: [*of_mean, spread],
            f"{name}, other images": [*of_mean, spread[..., order, :]],
        }
    return models
