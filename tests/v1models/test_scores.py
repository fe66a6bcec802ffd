"""Scores against repeats: unbiased where the truth is known, missing never zero, intervals that cover."""

import numpy as np
import pytest

from v1models import scores

IMAGES, UNITS, REPEATS, GROUPS = 120, 200, 6, 10


@pytest.fixture(scope="module")
def world():
    """Units of known expected responses, and predictions whose true correlation with them is .6."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(IMAGES, UNITS))
    other = rng.normal(size=(IMAGES, UNITS))
    predictions = 3 * (0.6 * truth + 0.8 * other) + 5
    trials = 10 + truth + 2 * rng.normal(size=(REPEATS, IMAGES, UNITS))
    trials[rng.random(trials.shape) < 0.2] = np.nan
    groups = np.repeat(np.arange(GROUPS), IMAGES // GROUPS)
    return predictions, trials, groups


def collected(world, blocks=None):
    predictions, trials, groups = world
    return scores.collect(predictions, trials, groups, groups // 5 if blocks is None else blocks)


def test_corrected_scores_find_the_true_correlation_and_the_plain_one_does_not(world):
    sums = collected(world)
    assert np.mean(scores.normalized_correlation(sums)) == pytest.approx(0.6, abs=0.03)
    assert np.mean(scores.corrected_r2(sums)) == pytest.approx(0.36, abs=0.03)
    assert np.mean(scores.correlation(sums)) < 0.5
    assert np.mean(scores.signal_to_noise(sums)) == pytest.approx(1 / 4, abs=0.03)


def test_predictions_of_nothing_score_zero_on_average(world):
    _, trials, groups = world
    noise = np.random.default_rng(1).normal(size=(IMAGES, UNITS))
    sums = scores.collect(noise, trials, groups, np.zeros(IMAGES))
    assert abs(np.mean(scores.corrected_r2(sums))) < 0.01
    assert abs(np.mean(scores.normalized_correlation(sums))) < 0.03
    constant = scores.collect(np.ones((IMAGES, UNITS)), trials, groups, np.zeros(IMAGES))
    assert np.all(scores.normalized_correlation(constant) == 0)


def test_scale_and_offset_of_each_fold_do_not_matter(world):
    predictions, trials, groups = world
    blocks = groups // 5
    moved = predictions + 100 * blocks[:, None]
    before, after = (scores.collect(p, trials, groups, blocks) for p in (predictions, moved))
    np.testing.assert_allclose(scores.correlation(before), scores.correlation(after), rtol=1e-6)


def test_images_that_were_never_shown_are_missing_not_zero(world):
    predictions, trials, groups = world
    hidden = trials.copy()
    hidden[:, ::3] = np.nan
    kept = np.arange(IMAGES) % 3 != 0
    whole = scores.collect(predictions, hidden, groups, np.zeros(IMAGES))
    part = scores.collect(predictions[kept], trials[:, kept], groups[kept], np.zeros(kept.sum()))
    for score in (scores.correlation, scores.normalized_correlation, scores.corrected_r2):
        np.testing.assert_allclose(score(whole), score(part), rtol=1e-9)


def test_intervals_cover_the_truth_about_as_often_as_they_say(world):
    found = scores.over_images(scores.normalized_correlation, collected(world), resamples=300)
    covered = np.mean((found.low < 0.6) & (found.high > 0.6))
    assert 0.85 < covered < 0.99
    population = scores.over_both(scores.normalized_correlation, collected(world), np.ones(UNITS, bool), 300)
    assert population.low < 0.6 < population.high
    assert population.high - population.low < 0.1


def test_paired_comparison_tells_a_better_model_and_not_an_equal_one(world):
    predictions, trials, groups = world
    rng = np.random.default_rng(2)
    worse = predictions + 3 * rng.normal(size=predictions.shape)
    keep = np.ones(UNITS, bool)
    first, second = (scores.collect(p, trials, groups, groups // 5) for p in (predictions, worse))
    found = scores.compare(scores.correlation, first, second, keep, 300)
    assert found.low > 0
    assert found.p < 0.01
    alike = [predictions + 0.3 * rng.normal(size=predictions.shape) for _ in range(2)]
    both = [scores.collect(p, trials, groups, groups // 5) for p in alike]
    same = scores.compare(scores.correlation, *both, keep, 300)
    assert abs(same.difference) < 0.01


def test_a_difference_of_one_recording_alone_is_none_between_recordings(world):
    """Drawn as if of one recording, the units tell it; with recordings drawn anew they do not."""
    predictions, trials, groups = world
    owners = np.arange(UNITS) % 4
    worse = predictions + 3 * np.random.default_rng(2).normal(size=predictions.shape) * (owners == 0)
    first, second = (scores.collect(p, trials, groups, groups // 5) for p in (predictions, worse))
    given = (scores.correlation, first, second, np.ones(UNITS, bool), 300)
    pooled, nested = scores.compare(*given), scores.compare(*given, recordings=owners)
    assert nested.difference == pooled.difference and pooled.low > 0
    assert nested.low <= 0 and nested.p > 0.2


def test_holm_adjusts_as_published():
    np.testing.assert_allclose(scores.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
