"""Variability where it is known: gains, shared noise, samples that carry the variance, and samples that do not."""

import numpy as np
import pytest
from scipy import stats

from v1models import dispersion
from v1models.repeats import folds

IMAGES, UNITS, REPEATS, GROUPS = 100, 12, 40, 10


@pytest.fixture(scope="module")
def world():
    """Counts whose gain varies by 0.1 and whose rate also has a variance F of each image: V = m + .1 m² + F."""
    rng = np.random.default_rng(0)
    mean = rng.gamma(4, 1.5, (IMAGES, UNITS))
    spread = mean * rng.gamma(1, 1, (IMAGES, UNITS))
    variance = 0.1 * np.square(mean) + spread
    rates = rng.gamma(np.square(mean) / variance, variance / mean, (REPEATS, IMAGES, UNITS))
    trials = rng.poisson(rates).astype(float)
    trials[rng.random(trials.shape) < 0.05] = np.nan
    return mean, spread, trials, np.repeat(np.arange(GROUPS), IMAGES // GROUPS)


def test_moments_are_those_of_the_trials_there_are():
    trials = np.array([[[1.0], [2.0]], [[3.0], [np.nan]], [[8.0], [4.0]], [[np.nan], [np.nan]]])
    found = dispersion.moments(trials)
    assert found.mean[0, 0] == 4
    assert found.variance[0, 0] == pytest.approx(np.var([1, 3, 8], ddof=1))
    assert found.count.ravel().tolist() == [3, 2]
    assert found.mean[1, 0] == 3
    assert np.isnan(found.variance[1, 0])
    silent = dispersion.moments(np.repeat([[[0.0], [2.0]]], 4, axis=0))
    assert dispersion.held_out_mean(silent)[0, 0] == pytest.approx(1 / 5)


def test_coefficients_of_the_variance_are_found(world):
    mean, spread, trials, _ = world
    target = dispersion.moments(trials)
    found = dispersion.fit_variance(target, mean, np.stack([np.square(mean), spread]), np.arange(IMAGES))
    np.testing.assert_allclose(np.median(found, axis=1), [0.1, 1.0], rtol=0.25)
    assert (found >= 0).all()


def test_the_true_variance_scores_best_and_that_of_other_images_no_better_than_none(world):
    mean, spread, trials, groups = world
    target, made = dispersion.moments(trials), folds(groups)
    score = {}
    for name, parts in dispersion.variance_parts(mean, {"field": spread}).items():
        density, degrees = dispersion.score_sums(target, dispersion.predict_variance(target, mean, parts, made), groups)
        score[name] = density.sum() / degrees.sum()
    assert score["field"] > score["function of the mean"] + 0.02
    assert score["function of the mean"] + 0.002 > score["modulated Poisson"] > score["Poisson"] + 0.1
    assert score["field, other images"] < score["function of the mean"] + 0.002
    true = dispersion.score_sums(target, mean + 0.1 * np.square(mean) + spread, groups)[0].sum() / degrees.sum()
    assert score["field"] < true + 0.002


def test_the_score_is_the_normal_log_density_up_to_a_constant():
    trials = np.random.default_rng(0).normal(3, 2, (50, 1, 1))
    target = dispersion.moments(trials)
    differences = []
    for variance in (1.0, 5.0):
        density = dispersion.score_sums(target, np.full((1, 1), variance), np.zeros(1))[0][0, 0]
        normal = stats.norm.logpdf(trials, trials.mean(), np.sqrt(variance)).sum()
        # Both lack the part of one degree of freedom, which the estimated mean takes.
        differences.append(density - normal - 0.5 * np.log(variance))
    assert differences[0] == pytest.approx(differences[1])


def test_variance_that_is_left_goes_with_the_samples(world):
    mean, spread, trials, groups = world
    target = dispersion.moments(trials)
    reference = dispersion.predict_variance(target, mean, [np.square(mean)], folds(groups))
    assert np.mean(dispersion.residual_correlation(target, reference, mean, spread)) > 0.4
    other = np.random.default_rng(1).permutation(spread)
    assert abs(np.mean(dispersion.residual_correlation(target, reference, mean, other))) < 0.08
    assert np.isnan(dispersion.residual_correlation(target, reference, mean, np.zeros_like(spread))).all()


def test_spreads_are_compared_under_one_read_out_only():
    rng = np.random.default_rng(0)
    features, groups = rng.normal(size=(40, 3)), np.repeat(np.arange(8), 5)
    deviation = rng.gamma(2, 0.3, (40, 1)) * np.ones(3)
    samples = features + deviation * rng.normal(size=(300, 40, 3))
    average = features @ rng.normal(size=(3, 2)) * 4
    made = folds(groups, 4)
    read, spread = dispersion.read_out_samples(features, samples, average, made, groups)
    assert read.shape == (300, 40, 2)
    np.testing.assert_allclose(read.mean(0), average, atol=1.0)
    for index, fold in enumerate(made):
        known = np.concatenate([fold.train, fold.validation])
        np.testing.assert_allclose(spread[index, known].mean(0), 1)
        expected = np.square(deviation[:, 0]) / np.square(deviation[known, 0]).mean()
        np.testing.assert_allclose(spread[index], expected[:, None] * np.ones(2), rtol=0.5)
        np.testing.assert_array_equal(dispersion.held_out(spread, made)[fold.test], spread[index, fold.test])


def test_noise_correlations_are_those_of_the_shared_part():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(60, 40, 1))
    trials = 5 * rng.normal(size=(1, 40, 3)) + shared * [1.0, 1.0, 0.0] + rng.normal(size=(60, 40, 3))
    trials[rng.random(trials.shape) < 0.1] = np.nan
    found = dispersion.noise_correlations(trials)
    np.testing.assert_allclose(found[[0, 0, 1], [1, 2, 2]], [0.5, 0, 0], atol=0.06)
    np.testing.assert_allclose(np.diag(found), 1)
    whole = 5 * rng.normal(size=(1, 40, 3)) + shared * [1.0, 1.0, 0.0] + rng.normal(size=(60, 40, 3))
    np.testing.assert_allclose(dispersion.sample_correlations(whole), found, atol=0.06)


def test_a_shared_gain_correlates_strong_responses_more():
    mean = np.array([[1.0, 10.0, 10.0]])
    found = dispersion.shared_gain_correlations(mean, np.full(3, 0.5))
    variance = mean[0] + 0.5 * np.square(mean[0])
    assert found[0, 1] == pytest.approx(0.5 * 10 / np.sqrt(variance[0] * variance[1]))
    assert found[1, 2] > found[0, 1]


def test_correlations_over_pairs_with_others_taken_out():
    rng = np.random.default_rng(0)

    def symmetric():
        matrix = rng.normal(size=(30, 30))
        return matrix + matrix.T

    common, own = symmetric(), symmetric()
    measured, predicted = common + own, common + symmetric()
    assert dispersion.over_pairs(measured, predicted) == pytest.approx(0.5, abs=0.1)
    assert dispersion.over_pairs(measured, predicted, [common]) == pytest.approx(0, abs=0.1)
    assert dispersion.over_pairs(measured, own, [common]) > 0.95
    # A unit drawn twice is no pair with itself.
    twice = dispersion.over_pairs(measured + 1e6 * np.eye(30), predicted, units=np.repeat(np.arange(15), 2))
    assert abs(twice) < 1
    assert np.isnan(dispersion.over_pairs(measured, np.ones((30, 30))))


def test_contrast_series_and_slopes():
    levels = np.array([0.1, 0.2, 0.4])
    images = 50 * (1 + levels[:, None, None, None] * np.sign(np.random.default_rng(0).normal(size=(4, 4, 1))))
    contrast = dispersion.contrasts(np.concatenate([images, images[::-1], images[:1]]))
    rows = dispersion.contrast_levels(contrast, np.array([1, 1, 1, 2, 2, 2, 3]), np.arange(7))
    assert rows.tolist() == [[0, 5], [1, 4], [2, 3]]
    curve = np.stack([levels**-0.5, np.array([1.0, 0.0, 1.0])], axis=1)
    found = dispersion.slope(curve, levels)
    assert found[0] == pytest.approx(-0.5)
    assert np.isnan(found[1])
    variance = np.repeat(np.arange(1.0, 7.0), 1)[:, None]
    assert dispersion.fano_curve(variance, np.full((6, 1), 2.0), np.array([[0, 5], [1, 4]])).ravel() == pytest.approx(
        [7 / 4, 7 / 4]
    )
