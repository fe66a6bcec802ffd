"""Scores and noise ceilings: golden values, ragged repeats, and laws."""

import jax
import numpy as np
import pytest
from scipy import stats

from v1models import data, metrics, saved


def _population(seed=0, repeats=200, images=60, neurons=3, noise=1.0):
    random = np.random.default_rng(seed)
    expected = random.standard_normal((images, neurons)) * [0.5, 1.0, 2.0][:neurons]
    return expected, expected + noise * random.standard_normal((repeats, images, neurons))


def test_pearson_agrees_with_scipy_and_counts_undefined_as_zero():
    random = np.random.default_rng(0)
    a, b = random.standard_normal((20, 4)), random.standard_normal((20, 4))
    a[:, 1] = 0.1
    mask = (random.random((20, 4)) < 0.7).astype(float)
    mask[:, 2] = 0
    expected = [stats.pearsonr(a[mask[:, n] == 1, n], b[mask[:, n] == 1, n])[0] for n in (0, 3)]
    for ours in (
        metrics.pearson(a, b, mask),
        jax.jit(metrics.pearson_on_device)(a, b, mask),
    ):
        np.testing.assert_allclose(np.asarray(ours)[[0, 3]], expected, atol=1e-6)
        assert ours[1] == 0
        assert ours[2] == 0
    assert (metrics.pearson(a[:1], b[:1]) == 0).all()
    assert (metrics.pearson(np.full((5, 1), np.nan), np.ones((5, 1))) == 0).all()


def test_percentiles_over_seeds_come_in_the_published_order():
    np.testing.assert_allclose(metrics.percentiles_over_seeds(np.arange(11.0)), [5, 9, 1])


def test_ragged_repeats_equal_full_ones_where_nothing_is_missing():
    _, trials = _population(repeats=6)
    missing = trials.copy()
    missing[4:, 10:] = np.nan
    for measure in (
        metrics.oracle_correlation,
        metrics.signal_power,
        metrics.noise_variance,
        metrics.reliability,
        metrics.explainable_variance_fraction,
    ):
        full, part = measure(trials), measure(missing)
        assert np.isfinite(part).all()
        # Fewer repeats change the estimate little, and not at all where they are only padding.
        np.testing.assert_allclose(part, full, atol=0.25)
        np.testing.assert_allclose(measure(np.concatenate([trials, np.full_like(trials[:2], np.nan)])), full)


def test_oracle_correlation_of_one_neuron_by_hand():
    trials = np.array([[[1.0], [2.0], [4.0]], [[2.0], [1.0], [5.0]]])
    r = stats.pearsonr([1, 2, 4], [2, 1, 5])[0]
    np.testing.assert_allclose(metrics.oracle_correlation(trials), [r])
    np.testing.assert_allclose(metrics.pairwise_trial_correlation(trials), [r])
    np.testing.assert_allclose(metrics.reliability(trials), [2 * r / (1 + r)])
    pooled = stats.pearsonr([1, 2, 4, 2, 1, 5], [2, 1, 5, 1, 2, 4])[0]
    np.testing.assert_allclose(metrics.oracle_correlation(trials, pooled=True), [pooled])


def test_variance_is_split_into_signal_and_noise():
    expected, trials = _population(noise=1.5)
    np.testing.assert_allclose(metrics.noise_variance(trials), 1.5**2, rtol=0.05)
    signal = expected.var(0, ddof=1)
    np.testing.assert_allclose(metrics.signal_power(trials), signal, rtol=0.1)
    np.testing.assert_allclose(metrics.explainable_variance_fraction(trials), signal / (signal + 1.5**2), rtol=0.1)


def test_the_true_response_is_perfect_and_its_mean_explains_nothing():
    expected, trials = _population()
    np.testing.assert_allclose(metrics.explainable_variance_explained(expected, trials), 1, atol=0.05)
    np.testing.assert_allclose(metrics.normalized_correlation(expected, trials), 1, atol=0.02)
    np.testing.assert_allclose(
        metrics.correlation_to_average(expected, trials), metrics.correlation_ceiling(trials), atol=0.01
    )
    flat = np.broadcast_to(trials.mean((0, 1)), expected.shape)
    np.testing.assert_allclose(metrics.explainable_variance_explained(flat, trials), 0, atol=0.02)


def test_images_that_were_never_shown_are_missing_not_zero():
    expected, trials = _population(repeats=6)
    hidden = np.concatenate([trials, np.full_like(trials, np.nan)], axis=1)
    predictions = np.concatenate([expected + 0.3, 7 + 5 * np.random.default_rng(1).random(expected.shape)])
    assert np.isnan(metrics.trial_average(hidden)[len(expected) :]).all()
    for measure in (
        metrics.reliability,
        metrics.noise_variance,
        metrics.signal_power,
        metrics.explainable_variance_fraction,
        metrics.oracle_correlation,
    ):
        np.testing.assert_allclose(measure(hidden), measure(trials))
    for score in (
        metrics.correlation_to_average,
        metrics.normalized_correlation,
        metrics.explainable_variance_explained,
    ):
        np.testing.assert_allclose(score(predictions, hidden), score(predictions[: len(expected)], trials))


def test_one_repeat_has_no_ceiling():
    with pytest.raises(ValueError, match="at least 2"):
        metrics.oracle_correlation(np.zeros((1, 5, 2)))


def test_ceilings_of_the_recordings_agree_with_their_statistics(shared, tmp_path):
    reference = np.load(shared / "reference" / "ndn3" / "real_data_stats.npz")
    # The recordings here lack their training images, which ceilings do not read.
    for region in (1, 2, 3):
        recorded, folder = shared / "data" / "v1" / "antolik2016" / f"region{region}", tmp_path / f"region{region}"
        folder.mkdir()
        for file in recorded.iterdir():
            (folder / file.name).symlink_to(file)
        np.save(folder / "training_inputs.npy", np.zeros((len(np.load(folder / "training_set.npy")), 961)))
    # Pooled, regions of 10, 8 and 12 repeats lie in one array with NaN where there is nothing.
    regions = data.load_each_region(tmp_path, (1, 2, 3))
    pooled = data.normalize(data.pool_populations(regions), "none", "neuron_deviation")
    assert pooled.trials.shape == (12, 150, 103 + 55 + 102)
    table = saved.ceiling_table(pooled.validation_responses, pooled.trials)
    of_region = np.split(table["oracle_correlation"], [103, 103 + 55])
    for region, ours, mean in zip((1, 2, 3), of_region, (0.39968, 0.32892, 0.36853), strict=True):
        np.testing.assert_allclose(ours, reference[f"region{region}_oracle_loo_per_neuron"], rtol=1e-6)
        np.testing.assert_allclose(ours.mean(), mean, atol=5e-6)
