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
    degrees_of_freedom: np.ndarray


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
    part_a, part_b = np.asarray(variance_a, float) / count_a, np.asarray(variance_b, float) / count_b
    error = part_a + part_b
    difference = np.asarray(mean_a, float) - mean_b
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(difference == 0, 0.0, difference / np.sqrt(error))
        freedom = error**2 / (part_a**2 / (np.asarray(count_a) - 1) + part_b**2 / (np.asarray(count_b) - 1))
    freedom = np.where(error > 0, freedom, np.asarray(count_a) + np.asarray(count_b) - 2)
    return TTest(t, 2 * stats.t.sf(np.abs(t), freedom), freedom)


def one_sample_t_test(samples, axis: int = 0, expected: float = 0.0) -> TTest:
    """Test whether the mean along an axis differs from `expected`, two-sided."""
    samples = np.asarray(samples, float)
    count = samples.shape[axis]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = samples.std(axis=axis, ddof=1) / np.sqrt(count)
        t = (samples.mean(axis=axis) - expected) / error
    return TTest(t, 2 * stats.t.sf(np.abs(t), count - 1), np.full(t.shape, count - 1))


def benjamini_hochberg(p_values) -> np.ndarray:
    """Return q-values: the false discovery rate at which each test would just be called (Benjamini & Hochberg 1995).

    q_(i) = min over j >= i of p_(j) N / j over all N finite p-values; NaN stays NaN and is not counted.
    """
    p_values = np.asarray(p_values, float)
    finite = np.isfinite(p_values)
    p = p_values[finite]
    order = np.argsort(p)
    scaled = p[order] * p.size / np.arange(1, p.size + 1)
    lowest = np.minimum.accumulate(scaled[::-1])[::-1]
    q = np.empty_like(p)
    q[order] = np.minimum(lowest, 1)
    result = np.full(p_values.shape, np.nan)
    result[finite] = q
    return result


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
    mean = samples.mean(axis=axis)
    error = samples.std(axis=axis, ddof=1) / np.sqrt(count)
    reach = stats.t.ppf((1 + level) / 2, count - 1) * error
    return Interval(mean, mean - reach, mean + reach, error, np.asarray(count))


def bootstrap_interval(
    values, rng: np.random.Generator, resamples: int = 10_000, level: float = 0.95, kind: str = "pivotal"
) -> Interval:
    """Return the mean of a sample with bootstrap confidence bounds (Efron & Tibshirani 1993).

    With q the quantiles of the resampled means and m the mean, pivotal bounds are [2m - q_high, 2m - q_low] and
    percentile bounds [q_low, q_high].

    Args:
        values: (n,) independent values.
        rng: source of the resampling.
        resamples: number of resamples.
        level: coverage.
        kind: 'pivotal' or 'percentile'.

    Raises:
        ValueError: no values, or an unknown kind.
    """
    values = np.asarray(values, float)
    if values.size == 0:
        raise ValueError("A bootstrap interval needs at least one value.")
    if kind not in ("pivotal", "percentile"):
        raise ValueError(f"Unknown bootstrap interval '{kind}'; choose 'pivotal' or 'percentile'.")
    means = values[rng.integers(0, values.size, (resamples, values.size))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    mean = values.mean()
    if kind == "pivotal":
        low, high = 2 * mean - high, 2 * mean - low
    return Interval(mean, low, high, means.std(ddof=1), np.asarray(values.size))


def trend_test(x, y, groups=None) -> dict[str, float]:
    """Test a monotone trend of y with x by Spearman's rank correlation, with the least-squares slope beside it.

    Args:
        x, y: (n,) values; pairs with a non-finite member are dropped.
        groups: (n,) labels; values of one group and x are averaged first, so that repeats of one unit count once.

    Returns:
        dict with rho, p_value, slope, intercept and count; NaN where fewer than 3 distinct x are left.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if groups is not None:
        keys, index = np.unique(np.stack([np.asarray(groups, float), x]), axis=1, return_inverse=True)
        index = index.ravel()
        x, y = keys[1], np.bincount(index, y) / np.bincount(index)
    keep = np.isfinite(x) & np.isfinite(y)
    x, y = x[keep], y[keep]
    if np.unique(x).size < 3 or np.unique(y).size < 2:
        return {"rho": np.nan, "p_value": np.nan, "slope": np.nan, "intercept": np.nan, "count": float(x.size)}
    rho, p_value = stats.spearmanr(x, y)
    slope, intercept = np.polyfit(x, y, 1)
    return {
        "rho": float(rho),
        "p_value": float(p_value),
        "slope": float(slope),
        "intercept": float(intercept),
        "count": float(x.size),
    }
