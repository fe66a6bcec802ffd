"""How good a model is, and how good one could be.

Correlations are per neuron over images. Repeated presentations come as trials (T, n, N): T repeats of n images for N
neurons, NaN where an image was shown less often; an image that a neuron was never shown is missing from its scores.
Single-trial noise bounds every score; the ceilings here estimate the bound from the repeats alone.

Sources: oracle correlation and FEV/FEVE, Cadena et al. (2019), PLoS Comput. Biol. 15(4): e1006897; signal power and
normalized correlation, Schoppe et al. (2016), Front. Comput. Neurosci. 10:10; split-half reliability, Spearman (1910)
and Brown (1910).
"""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PUBLISHED_PERCENTILES = (50, 90, 10)


def _correlation(xp, a, b, weight):
    count = xp.maximum(xp.sum(weight, -2), 1)
    a_mean, b_mean = xp.sum(weight * a, -2) / count, xp.sum(weight * b, -2) / count
    a = weight * (a - a_mean[..., None, :])
    b = weight * (b - b_mean[..., None, :])
    a_norm, b_norm = xp.sqrt(xp.sum(a * a, -2)), xp.sqrt(xp.sum(b * b, -2))
    # A column whose spread is rounding error of its mean is constant: its correlation is undefined and counts as 0.
    tolerance = 16 * xp.finfo(a.dtype).eps
    varies = (a_norm > tolerance * xp.sqrt(count) * xp.abs(a_mean)) & (
        b_norm > tolerance * xp.sqrt(count) * xp.abs(b_mean)
    )
    product = xp.where(varies, a_norm * b_norm, 1)
    r = xp.where(varies, xp.sum(a * b, -2) / xp.where(product > 0, product, 1), 0)
    return xp.clip(xp.where(xp.isfinite(r), r, 0), -1, 1)


def pearson(a: Any, b: Any, mask: Any = None) -> np.ndarray:
    """Pearson correlation of each neuron over rows, undefined counted as 0.

    r = Σ(a − ā)(b − b̄) / √(Σ(a − ā)² Σ(b − b̄)²) over rows with mask 1. A constant column, a fully masked one and one
    with a single row give 0.

    Args:
        a, b: (…, n, N).
        mask: (n, N) or None.

    Returns:
        (…, N) float64.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    weight = np.ones(b.shape[-2:]) if mask is None else np.asarray(mask, np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return _correlation(np, a, b, weight)


def pearson_on_device(a: Any, b: Any, mask: Any = None) -> jax.Array:
    """`pearson` as a traceable function of JAX arrays, in their precision."""
    return _correlation(jnp, a, b, jnp.ones(b.shape[-2:], b.dtype) if mask is None else mask)


def percentiles_over_seeds(scores: Any, percentiles: Sequence[float] = PUBLISHED_PERCENTILES) -> np.ndarray:
    """The 50th, 90th and 10th percentile over seeds, the way an instance is reported.

    Args:
        scores: (…, seeds).
        percentiles: which.

    Returns:
        (…, 3).
    """
    return np.moveaxis(np.percentile(np.asarray(scores, np.float64), percentiles, axis=-1), 0, -1)


def _trials(trials, least=2):
    trials = np.asarray(trials, np.float64)
    if trials.ndim != 3 or len(trials) < least:
        raise ValueError(
            f"trials have shape {trials.shape}; at least {least} repeats as (repeats, images, neurons) needed."
        )
    return trials, np.isfinite(trials)


def trial_average(trials: np.ndarray) -> np.ndarray:
    """Mean over the repeats there are, (n, N); NaN where a neuron was never shown an image."""
    trials, there = _trials(trials, least=1)
    count = there.sum(0)
    return np.where(count > 0, np.where(there, trials, 0).sum(0) / np.maximum(count, 1), np.nan)


def _covariance(a, b, shown):
    """Unbiased covariance over the images shown, and their number, per neuron (N,)."""
    count = shown.sum(0)
    a, b = (np.where(shown, each, 0) for each in (a, b))
    a, b = (np.where(shown, each - each.sum(0) / np.maximum(count, 1), 0) for each in (a, b))
    return (a * b).sum(0) / np.maximum(count - 1, 1), count


def oracle_correlation(trials: np.ndarray, pooled: bool = False) -> np.ndarray:
    """Correlation of single trials with the mean of the other trials of the same image, per neuron (leave-one-out).

    pooled=False: one correlation over images for every trial, averaged over trials. pooled=True: one correlation over
    all (trial, image) pairs.

    Args:
        trials: (T, n, N), NaN where missing.
        pooled: whether all pairs are taken together.

    Returns:
        (N,).
    """
    trials, there = _trials(trials)
    filled = np.where(there, trials, 0)
    others = there.sum(0) - there
    rest = (filled.sum(0) - filled) / np.maximum(others, 1)
    usable = there & (others > 0)
    if pooled:
        flat = (-1, trials.shape[-1])
        return pearson(filled.reshape(flat), rest.reshape(flat), usable.reshape(flat))
    each = np.stack([pearson(filled[t], rest[t], usable[t]) for t in range(len(trials))])
    counted = usable.any(1)
    return (each * counted).sum(0) / np.maximum(counted.sum(0), 1)


def pairwise_trial_correlation(trials: np.ndarray) -> np.ndarray:
    """Mean over all pairs of trials of their correlation over the images both have, per neuron (N,)."""
    trials, there = _trials(trials)
    filled = np.where(there, trials, 0)
    total, counted = np.zeros(trials.shape[-1]), np.zeros(trials.shape[-1])
    for i, j in itertools.combinations(range(len(trials)), 2):
        both = there[i] & there[j]
        # Pairs that share no two images say nothing.
        usable = both.sum(0) > 1
        total += np.where(usable, pearson(filled[i], filled[j], both), 0)
        counted += usable
    return total / np.maximum(counted, 1)


def reliability(trials: np.ndarray) -> np.ndarray:
    """Reliability of the trial average, T ρ / (1 + (T − 1) ρ), ρ the mean pairwise trial correlation (Spearman–Brown).

    T is the mean number of repeats of the images shown, where they are ragged. Its square root bounds the correlation
    that any model can reach with the trial average. Returns (N,).
    """
    trials, there = _trials(trials)
    rho, repeats = pairwise_trial_correlation(trials), there.sum((0, 1)) / np.maximum(there.any(0).sum(0), 1)
    return repeats * rho / (1 + (repeats - 1) * rho)


def correlation_ceiling(trials: np.ndarray) -> np.ndarray:
    """√max(reliability, 0): the best expected correlation with the trial average, per neuron (N,)."""
    return np.sqrt(np.maximum(reliability(trials), 0))


def noise_variance(trials: np.ndarray) -> np.ndarray:
    """Trial-to-trial variance (unbiased) averaged over images shown more than once, per neuron (N,)."""
    trials, there = _trials(trials)
    count = there.sum(0)
    squares = np.where(there, np.square(trials - trial_average(trials)), 0).sum(0)
    variance, repeated = squares / np.maximum(count - 1, 1), count > 1
    return (variance * repeated).sum(0) / np.maximum(repeated.sum(0), 1)


def signal_power(trials: np.ndarray) -> np.ndarray:
    """Variance over images of the expected response: Var(trial average) − mean(noise variance / repeats), (N,).

    Unbiased, so it can be negative for a neuron that does not respond.
    """
    trials, there = _trials(trials)
    repeats, average = there.sum(0), trial_average(trials)
    variance, images = _covariance(average, average, repeats > 0)
    inverse = np.where(repeats > 0, 1 / np.maximum(repeats, 1), 0).sum(0) / np.maximum(images, 1)
    return variance - noise_variance(trials) * inverse


def explainable_variance_fraction(trials: np.ndarray) -> np.ndarray:
    """FEV, signal power / (signal power + noise variance): the part of a trial's variance that images explain."""
    signal, noise = signal_power(trials), noise_variance(trials)
    total = signal + noise
    return np.where(total > 0, signal / np.where(total > 0, total, 1), 0)


def explainable_variance_explained(predictions: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """FEVE = 1 − (mean (r − p)² − σ²) / (Var r − σ²), σ² the noise variance, over all single trials, per neuron (N,).

    1 for the true expected response, 0 for its mean. Neurons with Var r ≤ σ² have nothing to explain: NaN.

    Args:
        predictions: (n, N).
        trials: (T, n, N).

    Source: Cadena et al. 2019.
    """
    trials, there = _trials(trials)
    noise, count = noise_variance(trials), there.sum((0, 1))
    error = np.where(there, np.square(trials - np.asarray(predictions)), 0).sum((0, 1)) / count
    mean = np.where(there, trials, 0).sum((0, 1)) / count
    variance = np.where(there, np.square(trials - mean), 0).sum((0, 1)) / count
    explainable = variance - noise
    return np.where(explainable > 0, 1 - (error - noise) / np.where(explainable > 0, explainable, 1), np.nan)


def correlation_to_average(predictions: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Pearson correlation of predictions with the trial average, per neuron (N,)."""
    average = trial_average(trials)
    return pearson(predictions, np.nan_to_num(average), np.isfinite(average))


def normalized_correlation(predictions: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """CCnorm = Cov(p, r̄) / √(Var p · signal power): correlation with the noise-free response, per neuron (N,).

    Neurons without signal power are NaN.

    Args:
        predictions: (n, N).
        trials: (T, n, N).

    Source: Schoppe et al. 2016.
    """
    predictions, average = np.asarray(predictions, np.float64), trial_average(trials)
    shown = np.isfinite(average)
    covariance, _ = _covariance(predictions, average, shown)
    spread = _covariance(predictions, predictions, shown)[0] * signal_power(trials)
    return np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1)), np.nan)
