"""Statistics shared by the analyses: tests, corrections, intervals, effect sizes.

All functions work on whole arrays at once: a test is carried out for every neuron, channel and stimulus in one call.
Time series of a sampler are strongly autocorrelated, so a t-test that counts every step as an independent sample
rejects far too often. The remedy is the method of batch means: means over stretches longer than the autocorrelation are
nearly independent, and cheap enough to make while recording (`recordings.period_statistics`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special, stats


class TTest(NamedTuple):
    """Result of a t-test, elementwise over the tested array."""

    statistic: np.ndarray
    p_value: np.ndarray  # two-sided


class Interval(NamedTuple):
    """An estimate with its confidence bounds; for error bars use `estimate - low` and `high - estimate`."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    standard_error: np.ndarray
    count: np.ndarray


def circular_distance(a, b, period: float = 2 * np.pi) -> np.ndarray:
    """Return the distance on a circle, `period/2 - ||a - b| - period/2|` for angles in [0, period]."""
    apart = np.mod(np.abs(np.asarray(a, float) - np.asarray(b, float)), period)
    return period / 2 - np.abs(apart - period / 2)


def welch_t_test(mean_a, variance_a, count_a, mean_b, variance_b, count_b) -> TTest:
    """Test equality of two means without assuming equal variances (Welch 1947), from moments.

    t = (m_a - m_b) / sqrt(v_a/n_a + v_b/n_b), degrees of freedom after Welch and Satterthwaite.

    Args:
        mean_a, mean_b: sample means.
        variance_a, variance_b: unbiased sample variances.
        count_a, count_b: numbers of independent samples.

    Returns:
        A two-sided test; statistic 0 and p 1 where both variances are 0 and the means agree.
    """
    a = np.asarray(mean_a, float), np.sqrt(np.asarray(variance_a, float)), count_a
    b = np.asarray(mean_b, float), np.sqrt(np.asarray(variance_b, float)), count_b
    with np.errstate(divide="ignore", invalid="ignore"):
        test = stats.ttest_ind_from_stats(*a, *b, equal_var=False)
    same = a[0] == b[0]
    return TTest(np.where(same, 0.0, test.statistic), np.where(same, 1.0, test.pvalue))


def benjamini_hochberg(p_values) -> np.ndarray:
    """Return q-values: the false discovery rate at which each test would just be called (Benjamini & Hochberg 1995).

    q_(i) = min over j >= i of p_(j) N / j over all N finite p-values; NaN stays NaN and is not counted.
    """
    result = np.array(p_values, float)
    finite = np.isfinite(result)
    if finite.any():
        result[finite] = stats.false_discovery_control(result[finite])
    return result


def holm(p_values) -> np.ndarray:
    """Return p-values corrected by Holm's step-down rule (1979, Scand. J. Stat. 6:65).

    NaN stays NaN and is not counted.
    """
    p_values = np.asarray(p_values, float)
    corrected, known = np.full(p_values.shape, np.nan), np.flatnonzero(np.isfinite(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1)), 1.0)
    return corrected


def hedges_g(mean_a, variance_a, count_a, mean_b, variance_b, count_b) -> np.ndarray:
    """Return the difference of two means in pooled standard deviations, corrected for small samples (Hedges 1981)."""
    freedom = np.asarray(count_a) + np.asarray(count_b) - 2
    pooled = ((np.asarray(count_a) - 1) * variance_a + (np.asarray(count_b) - 1) * variance_b) / freedom
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(pooled > 0, (np.asarray(mean_a) - mean_b) / np.sqrt(pooled), 0.0) * (1 - 3 / (4 * freedom - 1))


def shapiro_wilk(spread, variance, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Test normality after Shapiro & Wilk 1965, W = (Σ a_i x_(i))² / ((n - 1) s²), p after Royston (1995, AS R94).

    Args:
        spread: Σ a_i x_(i), see `recordings.period_statistics`.
        variance: unbiased variance s² of the samples.
        count: n, the number of samples; the approximation of p was made for n up to 5000.

    Returns:
        W and p, NaN for constant samples.
    """
    squares = np.asarray(variance, float) * (count - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(squares > 0, np.asarray(spread, float) ** 2 / squares, np.nan)
        # Rounding of accumulated statistics may carry W past 1.
        logarithm = np.log1p(-np.minimum(statistic, 1 - 1e-12))
    size = np.log(count)
    mean = np.polyval([0.0038915, -0.083751, -0.31082, -1.5861], size)
    deviation = np.exp(np.polyval([0.0030302, -0.082676, -0.4803], size))
    return statistic, special.ndtr(-(logarithm - mean) / deviation)


def student_interval(samples, axis: int = 0, level: float = 0.99) -> Interval:
    """Return mean and Student-t confidence bounds along an axis, mean ± t_{(1+level)/2, n-1} s/√n."""
    samples = np.asarray(samples, float)
    count = samples.shape[axis]
    mean, error = samples.mean(axis=axis), stats.sem(samples, axis=axis)
    reach = stats.t.ppf((1 + level) / 2, count - 1) * error
    return Interval(mean, mean - reach, mean + reach, error, np.asarray(count))


def bootstrap_interval(
    values, rng: np.random.Generator, resamples: int = 10_000, level: float = 0.95, method: str = "percentile"
) -> Interval:
    """Return the mean of a sample with bootstrap confidence bounds (Efron & Tibshirani 1993).

    With q the quantiles of the resampled means and m the mean, percentile bounds are [q_low, q_high] and basic (also
    called pivotal) bounds [2m - q_high, 2m - q_low]; a single value has no spread.

    Args:
        values: (n,) independent values.
        rng: source of the resampling.
        resamples: number of resamples.
        level: coverage.
        method: 'percentile', 'basic' or 'BCa'.

    Raises:
        ValueError: no values, or an unknown method.
    """
    values = np.asarray(values, float)
    if values.size == 0:
        raise ValueError("A bootstrap interval needs at least one value.")
    mean = values.mean()
    if np.ptp(values) == 0:
        return Interval(mean, mean, mean, np.zeros(()), np.asarray(values.size))
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=resamples, batch=1000, confidence_level=level, method=method, rng=rng
    )
    bounds = found.confidence_interval
    return Interval(mean, bounds.low, bounds.high, found.standard_error, np.asarray(values.size))


def trend_test(x, y) -> dict[str, float]:
    """Test a monotone trend of y with x by Spearman's rank correlation, with the least-squares slope beside it.

    Args:
        x, y: (n,) values; pairs with a non-finite member are dropped.

    Returns:
        dict with rho, p_value, slope, intercept and count; NaN where fewer than 3 distinct x are left.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    keep = np.isfinite(x) & np.isfinite(y)
    x, y = x[keep], y[keep]
    found = dict.fromkeys(("rho", "p_value", "slope", "intercept"), np.nan) | {"count": float(x.size)}
    if np.unique(x).size >= 3 and np.unique(y).size >= 2:
        numbers = *stats.spearmanr(x, y), *np.polyfit(x, y, 1)
        found |= dict(zip(found, map(float, numbers), strict=False))
    return found
