"""Fitted models on disk: predictions come back, tables are labeled, absent runs are named."""

import jax
import numpy as np
import pytest

import v1models
from v1models import metrics, runs, saved
from v1models.data import NORMALIZATIONS, normalize
from v1models.layers import Dense
from v1models.network import Network
from v1models.simulation import simulate
from v1models.specification import NetworkSpec
from v1models.training import Plan, fit, stack_hypers, start_members
from v1models.update import Data, Optimization, default_hyper, make_trainer

MEMBERS = [{"instance": name, "seed": seed} for name in ("weak", "strong") for seed in (0, 1)]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    raw = simulate(4, size=12, train_images=40, validation_images=10, repeats=3)
    population = normalize(raw, "pixel_standard")
    spec = NetworkSpec(
        (12, 12, 1), (Dense(4, activation="softplus", bias=False, batch_norm=True, penalties={"l2": 0.1}),)
    )
    trainer = make_trainer(Network(spec), Optimization())
    weak = default_hyper(spec, 1e-3)
    hyper = stack_hypers([weak, weak._replace(strengths=jax.tree.map(lambda s: 10 * s, weak.strengths))], 2)
    data = Data(np.asarray(population.train_images, np.float32), np.asarray(population.train_responses, np.float32))
    shown = (population.validation_images, population.validation_responses)
    held = Data(*(np.asarray(part, np.float32) for part in shown))
    result = fit(trainer, start_members(trainer, (0, 1), 2), hyper, data, held, Plan(4, 2))
    saved.save(folder, spec, result, MEMBERS, *NORMALIZATIONS["pixel_standard"](raw.train_images))
    return folder, raw, trainer, result, held


def test_a_loaded_model_predicts_from_raw_arrays(fitted):
    folder, raw, trainer, result, held = fitted
    model = saved.load(folder)
    expected = np.asarray(jax.jit(jax.vmap(trainer.predict, in_axes=(0, None)))(result.members, held.images))
    for images in (raw.validation_images, raw.validation_images.reshape(10, 144)):
        np.testing.assert_allclose(model.predict(images), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.ensemble(raw.validation_images), expected.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.member(2)(held.images), expected[2], rtol=1e-4, atol=1e-5)
    assert model.members == MEMBERS


def test_tables_are_labelled_and_agree(fitted):
    _, raw, trainer, result, held = fitted
    tables = saved.tables(result, MEMBERS)
    assert tables["history"].groupby(["instance", "seed"])["epoch"].apply(list).tolist() == [[2, 4]] * 4
    means = tables["neurons"].groupby(["instance", "seed"], sort=False)["correlation"].mean()
    np.testing.assert_allclose(means, tables["results"]["validation_correlation"], rtol=1e-5)
    summary = saved.percentile_table(tables["results"])
    assert summary["instance"].tolist() == ["weak", "strong"]
    np.testing.assert_allclose(summary["p50"][0], np.median(result.correlations.mean(1)[:2]), rtol=1e-5)
    predictions = np.asarray(jax.jit(jax.vmap(trainer.predict, in_axes=(0, None)))(result.members, held.images))
    ceilings = saved.ceiling_table(predictions, raw.trials)
    np.testing.assert_allclose(ceilings["correlation"], result.correlations.mean(0), atol=1e-4)
    together = metrics.correlation_to_average(predictions.mean(0), raw.trials)
    np.testing.assert_allclose(ceilings["ensemble_correlation"], together)
    np.testing.assert_allclose(ceilings["oracle_correlation"], metrics.oracle_correlation(raw.trials))


def test_the_names_under_which_a_model_is_loaded(fitted):
    folder, *_ = fitted
    assert runs.load is saved.load and v1models.load(folder).members == saved.load(folder).members


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ValueError, match="let its run finish"):
        saved.load(tmp_path)
