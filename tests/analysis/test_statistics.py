"""Tests, corrections and intervals against SciPy and against their laws."""

import numpy as np
import pytest
from scipy import stats

from analysis.measures import statistics
from recordings.period_statistics import summarize


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_circular_distance_is_a_metric_on_the_circle(rng):
    a, b, c = rng.uniform(-10, 10, (3, 200))
    d = statistics.circular_distance
    assert np.allclose(d(a, b), d(b, a))
    assert np.allclose(d(a, a + 2 * np.pi), 0, atol=1e-9)
    assert (d(a, c) <= d(a, b) + d(b, c) + 1e-12).all()
    assert d(0.1, 2 * np.pi - 0.1) == pytest.approx(0.2)
    assert d(0.1, np.pi - 0.1, period=np.pi) == pytest.approx(0.2)


def test_welch_t_test_equals_scipy(rng):
    a, b = rng.normal(0.2, 1, (40, 5)), rng.normal(0, 2, (90, 5))
    ours = statistics.welch_t_test(a.mean(0), a.var(0, ddof=1), 40, b.mean(0), b.var(0, ddof=1), 90)
    theirs = stats.ttest_ind(a, b, equal_var=False)
    assert np.allclose(ours.statistic, theirs.statistic)
    assert np.allclose(ours.p_value, theirs.pvalue)


def test_welch_t_test_of_constants():
    equal = statistics.welch_t_test(1.0, 0.0, 10, 1.0, 0.0, 10)
    apart = statistics.welch_t_test(2.0, 0.0, 10, 1.0, 0.0, 10)
    assert equal.p_value == 1
    assert apart.p_value == 0


def test_benjamini_hochberg_equals_scipy_and_skips_nan(rng):
    p = rng.uniform(size=50) ** 2
    expected = stats.false_discovery_control(p)
    with_gap = np.insert(p, 10, np.nan)
    ours = statistics.benjamini_hochberg(with_gap)
    assert np.isnan(ours[10])
    assert np.allclose(np.delete(ours, 10), expected)


def test_holm_steps_down():
    np.testing.assert_allclose(statistics.holm(np.array([0.01, 0.04, 0.03, np.nan])), [0.03, 0.06, 0.06, np.nan])
    np.testing.assert_allclose(statistics.holm(np.array([0.5, 0.9])), [1.0, 1.0])


@pytest.mark.parametrize("count", [12, 100, 1001, 1600])
def test_shapiro_wilk_equals_scipy(rng, count):
    x = np.stack([rng.normal(size=count), rng.exponential(size=count), rng.uniform(size=count)], axis=1)
    whole = summarize(x, (slice(0, count),), dtype=np.float64)
    w, p = statistics.shapiro_wilk(whole.normality_spread, whole.variance, count)
    for column in range(3):
        theirs = stats.shapiro(x[:, column])
        assert w[column] == pytest.approx(theirs.statistic, abs=1e-7)
        assert p[column] == pytest.approx(theirs.pvalue, rel=1e-3, abs=1e-12)


def test_shapiro_wilk_of_constants():
    assert np.isnan(statistics.shapiro_wilk(0.0, 0.0, 20)[0])


def test_student_interval_covers_the_mean(rng):
    x = rng.normal(1.0, 2.0, (15, 4000))
    interval = statistics.student_interval(x, level=0.9)
    covered = ((interval.low < 1) & (interval.high > 1)).mean()
    assert covered == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("method", ["basic", "percentile"])
def test_bootstrap_interval_covers_the_mean(rng, method):
    hits = 0
    for _ in range(300):
        interval = statistics.bootstrap_interval(rng.normal(size=40), rng, 500, 0.95, method)
        hits += interval.low < 0 < interval.high
    assert 0.88 <= hits / 300 <= 0.99


def test_bootstrap_methods_mirror_each_other():
    values = np.random.default_rng(1).exponential(size=30)
    a = statistics.bootstrap_interval(values, np.random.default_rng(2), method="basic")
    b = statistics.bootstrap_interval(values, np.random.default_rng(2), method="percentile")
    assert a.low == pytest.approx(2 * a.estimate - b.high)
    single = statistics.bootstrap_interval([3.0], np.random.default_rng(2))
    assert (single.low, single.estimate, single.high) == (3, 3, 3)
    with pytest.raises(ValueError, match="at least one value"):
        statistics.bootstrap_interval([], np.random.default_rng(2))


def test_hedges_g_of_known_shift(rng):
    a, b = rng.normal(1, 2, 4000), rng.normal(0, 2, 4000)
    g = statistics.hedges_g(a.mean(), a.var(ddof=1), a.size, b.mean(), b.var(ddof=1), b.size)
    assert g == pytest.approx(0.5, abs=0.06)


def test_trend_test_finds_a_slope_and_needs_three_places(rng):
    x = np.repeat(np.arange(5.0), 10)
    found = statistics.trend_test(x, 2 * x + rng.normal(size=50))
    assert found["p_value"] < 1e-6
    assert found["slope"] == pytest.approx(2, abs=0.3)
    assert np.isnan(statistics.trend_test(np.repeat([0.0, 1.0], 10), rng.normal(size=20))["p_value"])
