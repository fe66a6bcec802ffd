"""The preset :ndn3: every peculiarity of the published experiments acts, and a fit of a config is NDN3's own."""

import json
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from runtime.config import load_config
from runtime.errors import ConfigError
from runtime.sweeps import expand
from v1models import data, saved, teacher
from v1models.layers import Dense
from v1models.ndn3.weights import export_weights
from v1models.network import Network
from v1models.run import train
from v1models.specification import NetworkSpec
from v1models.training import Plan, fit, stack_hypers, start_members
from v1models.update import Data, Optimization, default_hyper, make_trainer

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "v1"


def write_region(folder, inputs, responses, held_inputs, held_responses):
    folder.mkdir(parents=True)
    np.save(folder / "training_inputs.npy", inputs)
    np.save(folder / "training_set.npy", responses)
    np.save(folder / "validation_inputs.npy", held_inputs)
    np.save(folder / "validation_set.npy", held_responses)


# A config, NDN3's arrays of the same architecture, and what their sizes and strengths were.
FITS = {
    "bl3": ("train_hsm", ()),
    "bl4": ("train_hsm_l2last", ("model.layer2.penalties.l2=0.1",)),
    "exp_2_1_2": ("train_ln_d2x", ("model.layer0.penalties.d2x=0.1",)),
    "exp_2_2_2": (
        "train_conv_sep_normal",
        ("model.layer0.features=5", "model.layer0.penalties.d2x=0.1", "model.layer1.penalties.l1=0.01"),
    ),
    "exp_2_2_5": (
        "train_conv3_sep",
        ("model.layer0.stride=6", *(f"model.layer{i}.features=4" for i in range(3)), "model.layer3.penalties.l1=0.01",
         *(f"model.layer{i}.penalties.{kind}" for i in range(3) for kind in ("d2x=0.05", "max_filt=0.01")),
         "model.layer1.width=3", "model.layer1.stride=1", "model.layer2.width=3", "model.layer2.stride=1"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FITS)
def test_a_config_trains_to_the_weights_and_costs_of_ndn3(name, shared, tmp_path):
    reference, sizes = FITS[name]
    with np.load(shared / "reference" / "ndn3" / f"{reference}.npz") as file:
        arrays = {key: file[key] for key in file}
    meta = json.loads(str(arrays["meta_json"]))
    rows, held = arrays["train_indxs"], arrays["test_indxs"]
    x, y = arrays["X"], arrays["Y"]
    write_region(tmp_path / "region1", x[rows], y[rows], x[held], y[held])
    epochs = meta["opt_params"]["epochs_training"]
    overrides = [
        f"data.dir={tmp_path}", "data.inputs=none", f"seeds={meta['tf_seed']}", f"fit.epochs={epochs}",
        "fit.log_every=1", "log.neurons_shown=0", f"optimization.learning_rate={meta['opt_params']['learning_rate']}",
        f"optimization.batch_size={meta['opt_params']['batch_size']}", "sweep.runs=()", *sizes,
    ]  # fmt: skip
    train(load_config(f"{CONFIGS / name}.py:ndn3", overrides), tmp_path / "run")
    model = saved.load(tmp_path / "run")
    fitted = export_weights(model.spec, jax.tree.map(lambda leaf: leaf[0], model.params))
    for index, (weights, biases) in enumerate(fitted):
        # Weights move by about 0.03 in these few updates, and are compared by how far they moved.
        for part, found in (("weights", weights), ("biases", biases)):
            # The variables that are trained: at the end NDN3 normalizes those of separable layers in its own copies.
            start, end = arrays[f"L{index}_{part}_init"], arrays[f"epoch_L{index}_{part}"][-1]
            assert np.abs(end - start).max() > 1e-3
            np.testing.assert_allclose(found - start, end - start, atol=3e-5)
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    np.testing.assert_allclose(history["validation_loss"], arrays["epoch_cost_test"], rtol=1e-5)
    np.testing.assert_allclose(model.predict(x[held])[0], arrays["pred_test_final"], rtol=1e-4, atol=1e-5)
    neurons = pd.read_csv(tmp_path / "run" / "neurons.csv")
    np.testing.assert_allclose(neurons["cost"], arrays["eval_models_test_final"], rtol=1e-4)
    np.testing.assert_allclose(neurons["prediction_sd"], arrays["pred_test_final"].std(0), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(neurons["response_sd"], y[held].std(0), rtol=1e-5)


def test_arrays_and_regions_are_normalized_by_their_own_statistics(tmp_path):
    random = np.random.default_rng(0)
    for region, neurons in ((1, 2), (2, 3)):
        shapes = ((12, 9), (12, neurons), (4, 9), (4, neurons))
        write_region(tmp_path / f"region{region}", *(region * random.random(shape) + region for shape in shapes))
    parts = [
        data.normalize(one, "standard", "unit_deviation", own_statistics=True)
        for one in data.load_each_region(tmp_path, (1, 2))
    ]
    pooled = data.pool_populations(parts)
    for part in parts:
        for images in (part.train_images, part.validation_images):
            assert images.mean() == pytest.approx(0, abs=1e-6) and images.std() == pytest.approx(1, rel=1e-5)
        assert part.train_responses.std() == pytest.approx(1) and part.validation_responses.std() == pytest.approx(1)
    np.testing.assert_array_equal(pooled.train_images[12:], parts[1].train_images)
    # One set of statistics for all is something else.
    shared = data.normalize(data.pool_populations(data.load_each_region(tmp_path, (1, 2))), "standard")
    assert abs(shared.train_images[:12].mean()) > 0.1


def test_what_ndn3_cannot_start_is_refused(tmp_path):
    short = ["seeds=0", "fit.epochs=1", "data.simulated.neurons=4", "data.simulated.train_images=40"]
    run = expand(load_config(f"{CONFIGS}/klindt.py:ndn3", short))[0]
    with pytest.raises(ConfigError, match="neither batch normalization nor biases"):
        train(run.config, tmp_path / "run")


def test_the_first_epoch_is_logged_where_asked():
    assert Plan(500, 100, log_first=True).log_epochs == [1, 100, 200, 300, 400, 500]
    assert Plan(500, 100).log_epochs == [100, 200, 300, 400, 500] and Plan(2, 1, log_first=True).log_epochs == [1, 2]


def test_scores_under_a_mask_change_scores_and_nothing_else():
    layers = (Dense(6, activation="softplus", dropout=0.5, dropout_mask="unit"), Dense(3, activation="softplus"))
    spec = NetworkSpec((4, 4, 1), layers)
    random = np.random.default_rng(0)
    images = random.standard_normal((30, 4, 4, 1)).astype(np.float32)
    rows = Data(*jax.device_put((images, random.poisson(2, (30, 3)).astype(np.float32))))
    trainer, hyper = make_trainer(Network(spec), Optimization()), default_hyper(spec, 1e-2)
    members = start_members(trainer, (0, 1))
    plain, masked = (
        fit(trainer, members, stack_hypers([hyper], 2), rows, rows, Plan(4, 2, score_with_dropout=drop))
        for drop in (False, True)
    )
    jax.tree.map(np.testing.assert_array_equal, plain.members.params, masked.members.params)
    assert not np.allclose(plain.history.validation_loss, masked.history.validation_loss)
    np.testing.assert_allclose(plain.history.train_loss, masked.history.train_loss, rtol=1e-6)
    # One mask for all images: equal images have equal predictions; another look has another mask.
    sample = jax.jit(lambda members, step, images: trainer.sample(
        jax.tree.map(lambda leaf: leaf[0], members)._replace(step=step), hyper, images
    ))  # fmt: skip
    twice = np.asarray(sample(masked.members, 8, np.concatenate([images[:5]] * 2)))
    np.testing.assert_allclose(twice[:5], twice[5:], rtol=1e-6)
    assert not np.allclose(twice, sample(masked.members, 9, np.concatenate([images[:5]] * 2)))


def test_a_teacher_gives_responses_whose_noise_is_known(tmp_path):
    short = ["seeds=0,14", "fit.epochs=2", "fit.log_every=1", "data.simulated.neurons=4", "data.simulated.size=12",
             "data.simulated.train_images=300", "data.simulated.validation_images=60", "data.simulated.repeats=2",
             "log.neurons_shown=0"]  # fmt: skip
    train(load_config(f"{CONFIGS}/bl3.py", short), tmp_path / "teacher")
    named = [*short, f"data.teacher.run={tmp_path / 'teacher'}", "data.teacher.noise=0.5"]
    config = load_config(f"{CONFIGS}/bs3_exp8.py", [*named, "data.teacher.minimum=added"])
    done = train(config, tmp_path / "student")
    table = pd.read_csv(tmp_path / "student" / "teacher.csv")
    assert done["training"] == pytest.approx(
        table.query("images == 'training' and responses == 'noisy'")["correlation"].median(), abs=1e-6
    )
    assert len(table) == 2 * 2 * 3
    # The rates as the teacher's own run predicts them, and the noise from the stream, training first.
    from v1models.experiment import read_experiment

    experiment = read_experiment([config])
    rates = experiment.compared["clean"]
    model = saved.load(tmp_path / "teacher").member(1)
    np.testing.assert_allclose(rates[0], model(experiment.train.images), rtol=1e-5)
    random = np.random.RandomState(14)
    noisy = rates[0] + 0.5 * np.sqrt(rates[0]) * random.standard_normal(rates[0].shape)
    np.testing.assert_allclose(experiment.train.responses, noisy + noisy.min(), rtol=1e-4, atol=1e-5)
    draws = [rates[1] + 0.5 * np.sqrt(rates[1]) * random.standard_normal(rates[1].shape) for _ in range(3)]
    held = np.mean(draws, 0)
    np.testing.assert_allclose(experiment.validation.responses, held + held.min(), rtol=1e-4, atol=1e-5)
    assert teacher.shifted(noisy, "subtracted").min() == 0
    with pytest.raises(ConfigError, match="has the seeds"):
        read_experiment([load_config(f"{CONFIGS}/bs3_exp8.py", [*named, "data.teacher.member=3"])])
    with pytest.raises(ConfigError, match="A teacher is a finished fit, such as that of configs/v1/bl3.py"):
        read_experiment([load_config(f"{CONFIGS}/bs3_exp8.py", [*short, f"data.teacher.run={tmp_path / 'none'}"])])
