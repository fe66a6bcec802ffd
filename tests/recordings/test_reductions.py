"""Reductions over periods, autocorrelation and sites: plain formulas, SciPy and known laws give the same numbers."""

import numpy as np
import pytest
from scipy import signal, stats

from recordings import sites
from recordings.autocorrelation import autocorrelation_time, autocovariance
from recordings.period_statistics import STATISTICS, count_batches, normality_weights, summarize
from recordings.periods import Periods

PARTS = (slice(2, 15), slice(20, 40))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def plain(history, parts, length):
    """The statistics of a period by their definitions."""
    joined = np.concatenate([history[part] for part in parts]).astype(float)
    batches = [
        history[start : start + length].astype(float).mean(axis=0)
        for part in parts
        for start in range(part.start, part.stop - length + 1, length)
    ]
    means = joined.mean(axis=0), joined.var(axis=0, ddof=1), np.mean(batches, axis=0), np.var(batches, axis=0, ddof=1)
    return dict(zip(STATISTICS, means, strict=False)), len(joined), len(batches)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-12)])
def test_statistics_are_those_of_their_definitions(rng, dtype, tolerance, monkeypatch):
    monkeypatch.setattr("recordings.period_statistics.NEURONS", 4)
    history = (3 + rng.normal(size=(40, 3, 2))).astype(np.float32)
    found = summarize(history, PARTS, 100, dtype)
    expected, steps, batches = plain(history, PARTS, 6)  # half of the shortest segment
    assert (found.count, found.batch_count) == (steps, batches) == (33, count_batches(PARTS, 100))
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(found, name), values, rtol=tolerance, err_msg=name)
        assert getattr(found, name).dtype == dtype
    joined = np.concatenate([history[part] for part in PARTS]).reshape(33, -1)
    w = (found.normality_spread**2 / (32 * found.variance)).ravel()
    np.testing.assert_allclose(w, [stats.shapiro(column).statistic for column in joined.T], rtol=1e-5)


def test_pieces_do_not_matter(rng):
    history = rng.normal(size=(40, 5)).astype(np.float32)
    whole = summarize(history, PARTS)
    for ours, theirs in zip(summarize([history[:7], history[7:31], history[31:]], PARTS), whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_normality_weights_have_unit_length_and_need_twelve_samples():
    assert 2 * np.sum(normality_weights(50) ** 2) == pytest.approx(1, rel=1e-12)
    with pytest.raises(ValueError, match="at least 12 steps in a period, not 5"):
        summarize(np.zeros((5, 2), np.float32), (slice(0, 5),))


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_autocorrelation_time_of_ar1_noise(rng, correlation):
    noise = signal.lfilter([1.0], [1.0, -correlation], rng.normal(size=(20000, 8)), axis=0)
    expected = (1 + correlation) / (1 - correlation)
    assert autocorrelation_time(noise).mean() == pytest.approx(expected, rel=0.1)
    assert autocorrelation_time(np.ones((50, 2))).tolist() == [1, 1]


def test_autocovariance_is_that_of_its_definition(rng):
    x = rng.normal(size=100)
    direct = [((x - x.mean())[: 100 - k] * (x - x.mean())[k:]).sum() / 100 for k in range(100)]
    np.testing.assert_allclose(autocovariance(x), direct, atol=1e-12)


def test_segments_leave_out_the_burn_in_and_what_is_empty():
    assert Periods(20, 300, 300, 200).segments() == {
        "during": (slice(320, 620),),
        "outside": (slice(20, 320), slice(620, 820)),
    }
    assert Periods(0, 0, 20, 0).segments() == {"during": (slice(0, 20),)}
    assert Periods(1, 2, 3, 4).boundaries == (1, 3, 6)


def test_sites_lie_around_and_along():
    assert sites.patch(9, 1).tolist() == [[r, c] for r in (3, 4, 5) for c in (3, 4, 5)]
    for octant in range(8):  # every place lies on the line through the middle
        apart = sites.along(octant * np.pi / 4, 32) - 16
        on_line = apart @ [-np.sin(octant * np.pi / 4), np.cos(octant * np.pi / 4)]
        np.testing.assert_allclose(np.abs(on_line), np.hypot(*apart.T))
    line = sites.along(np.pi / 2, 32)
    assert len(line) == 23 and (line[:, 1] == 16).all() and line.min() == 1 and line.max() == 31
    np.testing.assert_array_equal(sites.in_layer(np.array([[0, 4], [7, 3]]), (8, 8), (2, 2)), [[0, 1], [1, 0]])
