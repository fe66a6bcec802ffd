"""Statistics shared by the analyses: tests, corrections, intervals, effect sizes.

All functions work on whole arrays at once: a test is carried out for every neuron, channel and stimulus in one call.
Time series of a sampler are strongly autocorrelated, so a t-test that counts every step as an independent sample
rejects far too often. Two remedies are here: the method of batch means (`batch_means`: means over stretches longer than
the autocorrelation are nearly independent, and cheap enough to accumulate while recording), and the integrated
autocorrelation time (`autocorrelation_time`) where whole traces are at hand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import fft, special, stats


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


def batch_means(traces, length: int) -> np.ndarray:
    """Return means over consecutive stretches of `length` steps; what is left at the end is dropped.

    Args:
        traces: (time, ...).
        length: steps a stretch; several autocorrelation times, so that the means are nearly independent.

    Raises:
        ValueError: fewer than two stretches fit, so no variance can be estimated.
    """
    traces = np.asarray(traces)
    count = traces.shape[0] // length
    if count < 2:
        raise ValueError(f"Batch means of {length} steps need at least {2 * length} steps, not {traces.shape[0]}.")
    return traces[: count * length].reshape(count, length, *traces.shape[1:]).mean(axis=1, dtype=np.float64)


def autocovariance(traces, segments: tuple[slice, ...] | None = None) -> np.ndarray:
    """Return the autocovariance at lags 0 … T-1 of the longest segment, by FFT and divided by the number of samples.

    Args:
        traces: (time, ...); the mean over all segments is removed.
        segments: stretches of time to pool; products never span two of them. All of the trace by default.
    """
    traces = np.asarray(traces, float)
    parts = [traces[segment] for segment in (segments or (slice(None),))]
    count, longest = sum(len(part) for part in parts), max(len(part) for part in parts)
    mean = sum(part.sum(axis=0) for part in parts) / count
    size = fft.next_fast_len(2 * longest, real=True)
    power = sum(np.abs(fft.rfft(part - mean, size, axis=0)) ** 2 for part in parts)
    return fft.irfft(power, size, axis=0)[:longest] / count


def autocorrelation_time(traces, segments: tuple[slice, ...] | None = None) -> np.ndarray:
    """Return the integrated autocorrelation time: how many steps are worth one independent sample.

    τ = 1 + 2 Σ ρ_k, summed up to the first pair of neighbouring lags whose sum is negative (initial positive
    sequence, Geyer 1992). Oscillating traces have τ < 1 in principle; the result is kept at least 1.

    Args:
        traces: (time, ...).
        segments: see `autocovariance`.

    Returns:
        Array of the trailing shape; 1 for constant traces.
    """
    covariance = autocovariance(traces, segments)
    pairs = covariance[: len(covariance) // 2 * 2].reshape(-1, 2, *covariance.shape[1:]).sum(axis=1)
    running = np.cumprod(pairs > 0, axis=0)
    variance = np.where(covariance[0] > 0, covariance[0], 1.0)
    return np.maximum(2 * (pairs * running).sum(axis=0) / variance - 1, 1.0)


def shapiro_wilk(samples) -> tuple[np.ndarray, np.ndarray]:
    """Test normality along axis 0 after Shapiro & Wilk 1965 with Royston's approximations (1995, AS R94).

    W = (Σ a_i x_(i))² / Σ (x_i - mean)²; the weights depend on the number of samples alone, so that all columns are
    tested by one sort and one product.

    Args:
        samples: (n, ...), 12 <= n; the approximation of p was made for n up to 5000.

    Returns:
        W and p of the trailing shape; NaN for constant samples.

    Raises:
        ValueError: fewer than 12 samples.
    """
    samples = np.asarray(samples, float)
    count = samples.shape[0]
    if count < 12:
        raise ValueError(f"The Shapiro-Wilk approximation used here needs at least 12 samples, not {count}.")
    half = count // 2
    scores = special.ndtri((np.arange(1, half + 1) - 0.375) / (count + 0.25))
    total = 2 * np.sum(scores**2)
    root = 1 / np.sqrt(count)
    first = np.polyval([-2.706056, 4.434685, -2.071190, -0.147981, 0.221157, 0], root) - scores[0] / np.sqrt(total)
    second = np.polyval([-3.582633, 5.682633, -1.752461, -0.293762, 0.042981, 0], root) - scores[1] / np.sqrt(total)
    rest = (total - 2 * scores[0] ** 2 - 2 * scores[1] ** 2) / (1 - 2 * first**2 - 2 * second**2)
    weights = -scores / np.sqrt(rest)
    weights[:2] = first, second
    ordered = np.sort(samples, axis=0)
    # The weights are antisymmetric: the i-th largest minus the i-th smallest sample carries the i-th weight.
    spread = np.tensordot(weights, ordered[::-1][:half] - ordered[:half], axes=1)
    return shapiro_wilk_from_spread(spread, samples.var(axis=0, ddof=1), count)


def shapiro_wilk_from_spread(spread, variance, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return W = spread² / ((n - 1) variance) and p from Σ a_i x_(i) and the unbiased variance of n samples."""
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
