"""Controls differ from the experiment by what they say and by nothing else."""

from collections import namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nrf import controls, experiments
from nrf.trained import read_trained
from recordings.format import RecordingError
from recordings.reading import open_recording
from runtime.errors import ConfigError, RunError
from tests.nrf.trained_run import make_run, tiny_config

NAME = "contrast_and_angle"
TEMPERATURE = tiny_config().sampler.langevin.temperature


def tune_cheaply(patch):
    patch.setattr(controls, "CHAINS", 4)
    patch.setattr(controls, "STEPS", 150)
    patch.setattr(controls, "FACTORS", (0.25, 1.0, 4.0, 16.0, 64.0))


@pytest.fixture(autouse=True)
def quick_compilation(monkeypatch):
    tune_cheaply(monkeypatch)


def config_with(names=("langevin", "shuffled_weights"), sampler=None, **record):
    record = {"layers": (1,), "movie": 0, "controls": names, "controlled": (NAME, "just_angle"), **record}
    # Not every sampler has a temperature that states could start with.
    return tiny_config("small", record=record, sampler=sampler or {}, negative={"fresh": "uniform"})


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run recorded with both default controls."""
    with pytest.MonkeyPatch.context() as patch:
        tune_cheaply(patch)
        folder = make_run(tmp_path_factory.mktemp("controlled") / "run", config_with())
        made = experiments.record(config_with(), folder)
    assert list(made) == [NAME, f"{NAME}@langevin", f"{NAME}@shuffled_weights"]
    return folder


def test_permuted_tensors_keep_their_entries():
    tree = {"a": np.arange(24.0).reshape(2, 3, 4), "b": {"c": np.arange(10.0), "d": np.ones(3)}}
    found = controls.permute_entries(tree, 0)
    for before, after in zip(jax.tree.leaves(tree), jax.tree.leaves(found), strict=True):
        assert before.shape == after.shape
        np.testing.assert_array_equal(np.sort(after, axis=None), np.sort(before, axis=None))
    assert not np.array_equal(found["a"], tree["a"]) and not np.array_equal(found["b"]["c"], tree["b"]["c"])
    again, other = controls.permute_entries(tree, 0), controls.permute_entries(tree, 1)
    np.testing.assert_array_equal(again["a"], found["a"])
    assert not np.array_equal(other["a"], found["a"])


def test_shuffled_weights_are_those_of_the_model_in_another_order(recorded):
    config = config_with(("shuffled_weights",))
    trained = read_trained(config, recorded)
    (control,) = controls.make_controls(config, recorded, trained, np.zeros((2, 8, 8, 1), np.float32))
    changed = 0
    for before, after in zip(*(jax.tree.leaves(t.weights) for t in (trained, control.trained)), strict=True):
        assert before.shape == after.shape
        changed += before.size > 1 and not np.array_equal(before, after)
    assert changed > 0.3 * len(jax.tree.leaves(trained.weights))
    assert control.config == config and control.about["seed"] == 0


def test_recordings_of_controls_have_the_schema_of_the_experiment(recorded):
    ordinary = open_recording(recorded, NAME)
    shuffled = open_recording(recorded, f"{NAME}@shuffled_weights")
    langevin = open_recording(recorded, f"{NAME}@langevin")
    assert "control" not in ordinary.about and ordinary.about["batch_steps"] == 5
    assert shuffled.schema.arrays == ordinary.schema.arrays
    assert {**shuffled.about, "control": None} == {**ordinary.about, "control": None}
    assert shuffled.about["control"]["name"] == "shuffled_weights" and shuffled.about["control"]["change"]
    lost = [name for name in ordinary.names() if name not in langevin.names()]
    assert lost == ["momentum/1/centre"] and langevin.about["variables"] == ["state"]
    control, sampler = langevin.about["control"], langevin.about["sampler"]
    assert sampler["name"] == "langevin" and sampler["step_size"] == control["step_size"] > 0
    assert sampler["temperature"] == control["temperature"] == TEMPERATURE
    for name in ("images", "sites/1"):
        np.testing.assert_array_equal(shuffled.read(name), ordinary.read(name))
    for other in (shuffled, langevin):
        assert np.abs(other.read("state/1/sites") - ordinary.read("state/1/sites")).max() > 1e-3


def test_controls_leave_the_experiment_as_it_is(recorded, tmp_path):
    folder = make_run(tmp_path / "run", config_with(()))
    experiments.record(config_with(()), folder)
    alone, beside = open_recording(folder, NAME), open_recording(recorded, NAME)
    assert alone.about == beside.about
    for name in alone.names():
        np.testing.assert_array_equal(alone.read(name), beside.read(name), err_msg=name)


def test_controls_go_on_where_they_stopped_with_the_same_step_size(recorded, monkeypatch):
    recording = open_recording(recorded, f"{NAME}@langevin")
    before = {name: recording.read(name) for name in recording.names()}
    (recording.folder / "blocks" / "00001.json").unlink()
    monkeypatch.setattr(controls, "tune_step_size", None)
    ran, run_block = [], experiments.run_block
    monkeypatch.setattr(
        experiments, "run_block", lambda job, block: ran.append((job.name, block)) or run_block(job, block)
    )
    experiments.record(config_with(), recorded)
    assert ran == [(f"{NAME}@langevin", 1)]
    again = open_recording(recorded, f"{NAME}@langevin")
    for name, values in before.items():
        np.testing.assert_array_equal(again.read(name), values, err_msg=name)
    with pytest.raises(RecordingError, match="its about was"):
        experiments.record(config_with(blank=22), recorded)


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("small") / "run", config_with())


def trained_and_images(folder, config):
    images = np.random.default_rng(0).uniform(-1, 1, (16, 8, 8, 1)).astype(np.float32)
    return read_trained(config, folder), images


@pytest.fixture(scope="module")
def tuned(small_model):
    with pytest.MonkeyPatch.context() as patch:
        tune_cheaply(patch)
        return controls.tune_step_size(config_with(), *trained_and_images(small_model, config_with()))


def test_langevin_has_the_distribution_of_the_model(small_model, tuned):
    """Means and variances of latents under the tuned step size against the model's own sampler at a small step."""
    config = config_with()
    trained, images = trained_and_images(small_model, config)
    assert tuned.autocorrelation_time >= 1 and tuned.tried[0] == controls.FACTORS[0]
    moments = []
    for name, step in (("langevin", tuned.step_size), ("underdamped", 0.1)):
        options = {"step_size": step, "temperature": TEMPERATURE, "bounds": trained.model.bounds[1:]}
        moments.append(moments_of(trained, images[:4], name, options))
    (mean, variance), (expected_mean, expected_variance) = moments
    assert np.abs(mean - expected_mean).mean() < 0.1 * np.sqrt(expected_variance).mean()
    assert variance.mean() == pytest.approx(expected_variance.mean(), rel=0.05)


def moments_of(trained, images, name, options, steps=4000):
    from nrf.phases import make_gradient_fn, uniform_states
    from nrf.samplers import make_sampler

    sampler = make_sampler(name, **options)
    fresh = jax.jit(lambda key: uniform_states(key, trained.model, len(images)))
    states = (images, *fresh(jax.random.key(0))[1:])

    @jax.jit
    def run(key, weights):
        gradient_fn = make_gradient_fn(trained.model, weights, states[0])

        def advance(carry, step):
            state, sums, squares = carry
            state, _ = sampler.step(jax.random.fold_in(key, step), state, gradient_fn)
            latent = jnp.where(step >= steps // 5, state.position[0], 0)
            return (state, sums + latent, squares + latent**2), None

        zero = jnp.zeros_like(states[1])
        (_, sums, squares), _ = jax.lax.scan(
            advance, (sampler.init(states[1:], gradient_fn), zero, zero), jnp.arange(steps)
        )
        mean = sums / (steps - steps // 5)
        return mean, squares / (steps - steps // 5) - mean**2

    return (np.asarray(values) for values in run(jax.random.key(1), trained.weights))


def test_tuning_is_deterministic_and_takes_a_stable_step(small_model, tuned):
    config = config_with()
    assert controls.tune_step_size(config, *trained_and_images(small_model, config)) == tuned
    # The curvature of the energy is about 1, so that a step of 2 is unstable.
    assert 0.02 < tuned.step_size < 2 and tuned.step_size in (0.05 * np.array(tuned.tried))


def test_tuning_looks_at_the_strongest_stimuli_as_much_as_at_data():
    rng = np.random.default_rng(0)
    data = rng.normal(0.3, 0.1, (4, 8, 8, 1))
    shown = 0.3 + np.linspace(0, 2, 9)[:, None, None, None] * rng.normal(size=(1, 8, 8, 1))
    protocol = namedtuple("Protocol", "images")(rng.permutation(shown))
    found = experiments.tuning_images(data, [protocol])
    np.testing.assert_array_equal(found[:4], data)
    np.testing.assert_allclose(found[4:], shown[-4:])  # the four strongest, one after the other
    # Without stimuli data stand in.
    assert sorted(experiments.tuning_images(data, [])[4:].sum(axis=(1, 2, 3))) == sorted(data.sum(axis=(1, 2, 3)))


def test_step_sizes_of_layers_keep_their_ratio(small_model, monkeypatch):
    monkeypatch.setattr(controls, "FACTORS", (0.25, 0.5))
    config = config_with(sampler={"langevin": {"step_size": (0.01, 0.04), "temperature": TEMPERATURE}})
    found = controls.tune_step_size(config, *trained_and_images(small_model, config_with())).step_size
    np.testing.assert_allclose(np.divide(found, found[0]), (1, 4))


def test_a_step_size_that_diverges_is_named(small_model, monkeypatch):
    config = config_with(sampler={"langevin": {"step_size": 0.05, "temperature": TEMPERATURE}})
    trained, images = trained_and_images(small_model, config)
    broken = jax.tree.map(lambda w: np.full_like(w, np.nan), trained.weights)
    with pytest.raises(RunError, match=r"control 'langevin' diverges at 0.25 times config.sampler.langevin.step_size"):
        controls.tune_step_size(config, trained._replace(weights=broken), images)


def test_samplers_without_a_temperature_take_that_of_langevin(tmp_path, monkeypatch):
    monkeypatch.setattr(controls, "tune_step_size", lambda *_: controls.Tuned(0.05, 1.0, (1.0,)))
    sampler = {"name": "sghmc_thesis", "sghmc_thesis": {**tiny_config().sampler.sghmc_thesis, "mass": "circulant"}}
    config = config_with(("langevin", "diagonal_mass"), variables=("momentum",), sampler=sampler)
    folder = make_run(tmp_path / "run", config)
    _, langevin, diagonal = (job.schema.about for job in experiments.make_jobs(config, folder))
    assert langevin["control"]["temperature"] == config.sampler.langevin.temperature
    assert langevin["variables"] == ["state"] and langevin["control"]["name"] == "langevin"
    assert diagonal["sampler"]["mass"] == "diagonal" and "circulant" in diagonal["control"]["change"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"names": ("langevine",)}, r"record.controls names 'langevine' \(did you mean 'langevin'"),
        ({"controlled": ("just_angles",)}, r"record.controlled names 'just_angles' \(did you mean 'just_angle'"),
        ({"names": ("diagonal_mass",)}, "sampler 'underdamped' couples no channels by its mass; leave it out"),
    ],
)
def test_controls_that_mean_nothing_are_refused(small_model, record, message):
    with pytest.raises(ConfigError, match=message):
        experiments.record(config_with(**record), small_model)


def test_without_a_controlled_experiment_nothing_is_tuned(small_model, monkeypatch):
    config = config_with(controlled=("observe",))
    monkeypatch.setattr(controls, "tune_step_size", None)
    assert controls.make_controls(config, small_model, read_trained(config, small_model), None) == []
