"""Recordings, pooling, normalization, and the simulated population."""

import numpy as np
import pytest

from runtime.errors import ConfigError
from v1models import data, metrics
from v1models.simulation import simulate


def _folder(path, images=12, held_out=4, pixels=9, neurons=3, seed=0):
    random = np.random.default_rng(seed)
    path.mkdir(parents=True)
    np.save(path / "training_inputs.npy", random.random((images, pixels)))
    np.save(path / "training_set.npy", random.random((images, neurons)))
    np.save(path / "validation_inputs.npy", random.random((held_out, pixels)))
    trials = random.random((5, held_out, neurons))
    np.save(path / "validation_set.npy", trials.mean(0))
    np.save(path / "raw_validation_set.npy", trials)
    return path


def test_regions_load_alone_and_pooled(tmp_path):
    for region in (1, 2):
        _folder(tmp_path / f"region{region}", neurons=1 + region, seed=region)
    one = data.pool_populations(data.load_each_region(tmp_path, (1,)))
    assert one.train_images.shape == (12, 3, 3, 1)
    assert one.trials.shape == (5, 4, 2)
    both = data.pool_populations(data.load_each_region(tmp_path, (1, 2)))
    assert both.train_responses.shape == (24, 5)
    np.testing.assert_array_equal(both.train_mask.sum(0), 12)
    np.testing.assert_array_equal(both.train_responses[:12, :2], one.train_responses)
    assert (both.train_responses[:12, 2:] == 0).all()
    # A masked score of the pooled population is the region's own.
    other = np.random.default_rng(1).random(both.validation_responses.shape)
    np.testing.assert_allclose(
        metrics.pearson(other, both.validation_responses, both.validation_mask)[:2],
        metrics.pearson(other[:4, :2], one.validation_responses),
    )
    np.testing.assert_allclose(metrics.oracle_correlation(both.trials)[:2], metrics.oracle_correlation(one.trials))


def test_a_setting_may_differ_between_regions():
    assert data.of_region(103, 3, "neurons") == 103 and data.of_region((103, 55, 102), 2, "neurons") == 55
    with pytest.raises(ConfigError, match=r"neurons is \(103, 55\), which has no entry for region 3"):
        data.of_region((103, 55), 3, "neurons")


def test_missing_files_are_named_with_where_to_get_them(tmp_path):
    folder = _folder(tmp_path / "region1")
    (folder / "training_inputs.npy").unlink()
    with pytest.raises(ValueError, match=r"lacks training_inputs.npy.*10.1371/journal.pcbi.1004927"):
        data.pool_populations(data.load_each_region(tmp_path, (1,)))


def test_the_recordings_that_are_here(shared):
    population = data.load_folder(shared / "data" / "v1" / "tang2018_patterns" / "region1")
    assert population.train_images.shape[1:] == (20, 20, 1)
    assert population.train_responses.shape[1] == 4
    with pytest.raises(ValueError, match="training_inputs.npy"):
        data.pool_populations(data.load_each_region(shared / "data" / "v1" / "antolik2016", (2,)))


def test_images_that_are_all_the_same_are_refused():
    random = np.random.default_rng(0)
    ones, others = np.ones((9, 16)), random.random((4, 16))
    population = data.from_arrays(ones, random.random((9, 2)), others, random.random((4, 2)))
    with pytest.raises(ValueError, match="training images do not vary"):
        data.normalize(population, "standard")


def test_normalization_uses_training_statistics_only():
    random = np.random.default_rng(0)
    population = data.from_arrays(
        random.random((50, 16)) + 1, random.random((50, 2)), random.random((9, 16)) * 5, random.random((9, 2))
    )
    for name in data.NORMALIZATIONS:
        changed = data.normalize(population, name, "neuron_deviation")
        altered = data.normalize(population._replace(validation_images=population.validation_images * 3), name)
        np.testing.assert_array_equal(changed.train_images, altered.train_images)
        np.testing.assert_allclose(changed.train_responses.std(0), 1, rtol=1e-5)
    standard = data.normalize(population, "standard").train_images
    np.testing.assert_allclose([standard.mean(), standard.std()], [0, 1], atol=1e-5)
    pixels = data.normalize(population, "pixel_standard").train_images
    np.testing.assert_allclose(pixels.std(0), 1, rtol=1e-4)


def test_split_sets_rows_aside_without_touching_validation():
    random = np.random.default_rng(0)
    population = data.from_arrays(
        random.random((50, 16)), random.random((50, 2)), random.random((9, 16)), random.random((9, 2))
    )
    inner = data.split_training(population, 0.2)
    assert (len(inner.train_images), len(inner.validation_images)) == (40, 10)
    rows = {row.tobytes() for row in population.train_responses}
    assert {row.tobytes() for row in np.concatenate([inner.train_responses, inner.validation_responses])} == rows


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((np.zeros((5, 15)), np.zeros((5, 2)), np.zeros((2, 15)), np.zeros((2, 2))), "image_shape"),
        ((np.zeros((5, 16)), np.zeros((4, 2)), np.zeros((2, 16)), np.zeros((2, 2))), "train_responses"),
        ((np.zeros((5, 16)), np.zeros((5, 3)), np.zeros((2, 16)), np.zeros((2, 2))), "neurons"),
        ((np.zeros((5, 16)), np.full((5, 2), np.nan), np.zeros((2, 16)), np.zeros((2, 2))), "not finite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, message):
    with pytest.raises(ValueError, match=message):
        data.from_arrays(*arrays)


@pytest.mark.parametrize("noise", ["poisson", "gamma"])
def test_simulated_population_has_the_noise_and_the_ceiling_it_says(noise):
    population = simulate(neurons=8, size=16, train_images=60, validation_images=40, repeats=60, noise=noise, seed=3)
    again = simulate(neurons=8, size=16, train_images=60, validation_images=40, repeats=60, noise=noise, seed=3)
    np.testing.assert_array_equal(population.trials, again.trials)
    rates = population.truth.validation_rates
    np.testing.assert_allclose(population.validation_responses.mean(0), rates.mean(0), rtol=0.1)
    # Both noises have a variance equal to the mean.
    np.testing.assert_allclose(metrics.noise_variance(population.trials), rates.mean(0), rtol=0.15)
    best = metrics.pearson(rates, population.validation_responses)
    np.testing.assert_allclose(metrics.correlation_ceiling(population.trials), best, atol=0.03)
    assert population.truth.gaussians.shape == (2, 4, 9)
    assert population.truth.gabors.shape == (4, 5)


@pytest.mark.parametrize(
    ("options", "message"), [({"hidden": 0.0}, "hidden is 0.0"), ({"size": 5}, "size is 5"), ({"kind": "dog"}, "'dog'")]
)
def test_simulated_populations_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        simulate(**options)
