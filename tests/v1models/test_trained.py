"""Trained cores: they find what made the responses, folds do not see their test groups, weights survive the disk."""

import jax
import numpy as np
import pytest

from configs.v1.henaff import family
from runtime.errors import ConfigError
from v1models import metrics, trained
from v1models.repeats import folds

SIZE, GROUPS, EACH, UNITS = 8, 12, 30, 6


@pytest.fixture(scope="module")
def world():
    """Units that read the largest rectified contrast of rows near one place: one kernel explains them all."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(GROUPS * EACH, SIZE, SIZE))
    edges = np.maximum(images[:, 2:, 1:-1] - images[:, :-2, 1:-1], 0)
    near = edges.reshape(-1, 3, 2, 3, 2).max((2, 4))
    responses = 2 * near[:, [0, 0, 1, 1, 2, 2], [0, 2, 1, 0, 2, 1]] + 0.1
    responses[rng.random(responses.shape) < 0.1] = np.nan
    options = family("trained", grid=SIZE, widths=(3,), features=4, noise="poisson", l1=0.001, epochs=60, look_every=10,
                     learning_rate=2e-2, readout="factorized", seeds=(0,))  # fmt: skip
    return options, images, responses, folds(np.repeat(np.arange(GROUPS), EACH), 3, 1)


@pytest.fixture(scope="module")
def fitted(world):
    return trained.fit_predict(*world)


def test_a_shared_core_finds_what_made_the_responses(world, fitted):
    options, _, responses, made = world
    shown = np.isfinite(responses)
    found = metrics.pearson(fitted.singles[0], np.nan_to_num(responses), shown)
    assert np.mean(found) > 0.6, found
    assert fitted.epochs.shape == (len(made),)
    assert (fitted.epochs % options.look_every == 0).all()


def test_test_groups_have_no_part_in_their_own_fold(world, fitted):
    options, images, responses, made = world
    changed = responses.copy()
    changed[made[0].test] = 7.0
    again = trained.fit_predict(options, images, changed, made)
    np.testing.assert_allclose(again.singles[0][made[0].test], fitted.singles[0][made[0].test], rtol=1e-5, atol=1e-6)
    assert np.abs(again.singles[0][made[1].test] - fitted.singles[0][made[1].test]).max() > 0.1


def test_a_seed_is_the_same_in_any_company_and_the_family_predicts_by_their_mean(world, fitted):
    options, images, responses, made = world
    both = trained.fit_predict(options, images, responses, made, seeds=(3, 0))
    assert both.singles.shape == (2, *responses.shape) and both.epochs.shape == (2 * len(made),)
    np.testing.assert_allclose(both.singles[1], fitted.singles[0], rtol=1e-3, atol=1e-3)
    assert np.abs(both.singles[0] - both.singles[1]).max() > 0.1
    found, shown = trained.ensemble(both.singles), np.isfinite(responses)
    np.testing.assert_allclose(found, both.singles.mean(0), rtol=1e-6)
    each = [metrics.pearson(one, np.nan_to_num(responses), shown).mean() for one in both.singles]
    assert metrics.pearson(found, np.nan_to_num(responses), shown).mean() > np.mean(each)
    both.singles[0, made[0].test] = np.nan  # where one diverged the other predicts, and where both did nothing does
    both.singles[:, made[1].test] = np.nan
    found = trained.ensemble(both.singles)
    np.testing.assert_array_equal(found[made[0].test], both.singles[1][made[0].test])
    assert np.isnan(found[made[1].test]).all() and np.isfinite(found[made[2].test]).all()


def test_weights_come_back_from_arrays_and_predict_the_same(world, fitted):
    options, images, _, made = world
    back = trained.from_arrays(trained.to_arrays(fitted))
    jax.tree.map(np.testing.assert_array_equal, back.params, fitted.params)
    predict = trained.predictor(options, back, np.array([4, 1]), images.std())
    found = np.asarray(predict(images[..., None].astype(np.float32)))
    assert found.shape == (len(images), 2)
    # The mean over folds is near each fold's own prediction of what it did not see.
    assert np.corrcoef(found[made[0].test, 0], fitted.singles[0][made[0].test, 4])[0, 1] > 0.6


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("readout", "point", "readout is 'point'"),
        ("convolutions", "rotate", "convolutions is 'rotate'"),
        ("noise", "cauchy", "noise is 'cauchy'"),
    ],
)
def test_bad_fields_are_named(world, field, value, message):
    options = world[0].copy_and_resolve_references()
    with options.ignore_type():
        options[field] = value
    with pytest.raises(ConfigError, match=message):
        trained.fit_predict(options, *world[1:])


def test_rotated_cores_and_gaussian_readouts_have_their_shapes():
    options = family("trained", grid=16, convolutions="rotated", features=2, widths=(5, 3))
    spec = trained.network(options, 7)
    assert spec.shapes == ((16, 16, 1), (6, 6, 8), (6, 6, 8), (1, 1, 7))
