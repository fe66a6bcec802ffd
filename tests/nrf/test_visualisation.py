"""Visualisation: equal to the original's steps, one batch for all channels, grids and animations."""


import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest

from nrf import visualisation as viz
from nrf.from_config import make_trainer
from nrf.phases import uniform_states
from nrf.samplers import make_sampler
from runtime.errors import ConfigError
from tests.nrf.trained_run import make_run, tiny_config
from tests.parity import viz as parity_viz

FILES = (
    "tinyB_layer0", "tinyC_layer1",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("tinyB_layer3", "tinyC_layer2")),
)  # fmt: skip


@pytest.fixture(scope="module")
def model():
    config = tiny_config()
    trainer = make_trainer(config, config.data.num_train)
    weights = jax.jit(lambda key: trainer.model.prepare(trainer.model.init(key)))(jax.random.key(1))
    return trainer.model, weights


def descent(model, step_size=0.2):
    """A sampler without noise, so that batches of different sizes see the same numbers."""
    return make_sampler("momentum", step_size=step_size, bounds=model.bounds)


def fresh(model, seed, count):
    return jax.jit(lambda key: uniform_states(key, model, count))(jax.random.key(seed))


def run(model, weights, states, selected, mode, layer, steps=5, **options):
    functions = viz.make_visualisation(model, descent(model), mode, layer, **options)
    return jax.jit(viz.make_trajectory(functions, steps, 1))(jax.random.key(0), weights, states, selected)


@pytest.mark.parametrize("name", FILES)
def test_steps_equal_the_originals(shared, name):
    path = shared / "reference" / "nrf" / f"viz_{name}.npz"
    with np.load(path) as npz:
        assert parity_viz.recognise(npz)
    found = parity_viz.check(path)
    assert len(found) >= 18
    assert not {key: value for key, value in found.items() if not value[0] <= value[2]}


@pytest.mark.parametrize("mode", ["channels_energy", "channels_state"])
def test_channels_side_by_side_equal_channels_alone(model, mode):
    model, weights = model
    states = fresh(model, 2, 2 * 4)
    options = {"gradient_clip": 0.1, "samples": 2}
    together = run(model, weights, states, viz.select_channels(4, 2), mode, 1, **options)
    rows = slice(4, 6)  # channel 2
    some, selected = tuple(np.asarray(s)[rows] for s in states), viz.select_channels(4, 2)[rows]
    alone = run(model, weights, some, selected, mode, 1, gradient_clip=0.1)
    np.testing.assert_allclose(together.frames[:, rows], alone.frames, atol=1e-6)
    assert np.abs(alone.frames[-1] - alone.frames[0]).max() > 1e-4


def test_channel_energy_goes_down_and_unreached_layers_above_rest(model):
    model, weights = model
    assert viz.reached_layers(model.architecture, 0) == (0, 1, 2)
    assert viz.reached_layers(model.architecture, 2) == (1, 2)
    states = fresh(model, 3, 4)
    trajectory = run(model, weights, states, viz.select_channels(4, 1), "channels_energy", 1, steps=8)
    energy = np.asarray(trajectory.energy)
    assert (energy[-1] < energy[0]).all()
    units = np.asarray(jax.jit(model.unit_energies)(weights, states)[1])
    expected = [0.5 * units[c, :, :, c].sum() for c in range(4)]
    np.testing.assert_allclose(energy[0], expected, rtol=1e-5)


def test_held_channel_is_held(model):
    model, weights = model
    states = fresh(model, 4, 4)
    selected = viz.select_channels(2, 2)
    trajectory = run(model, weights, states, selected, "channels_state", 2, held_value=0.6)
    held = np.asarray(trajectory.states[2])
    np.testing.assert_allclose(held, np.broadcast_to(0.6 * selected[:, None, None, :], held.shape), atol=1e-7)


def test_annealing_starts_hot_and_ends_at_the_samplers_temperature(model):
    model, weights = model
    states = fresh(model, 5, 2)
    sampler = make_sampler("underdamped", temperature=(0.1, 0.2, 0.3), bounds=model.bounds)
    functions = viz.make_visualisation(model, sampler, annealing=viz.Annealing(16.0, 4))
    selected = viz.select_channels(1, 2)
    state, step = jax.jit(functions.init)(weights, states, selected), jax.jit(functions.step)
    for number, factor in ((0, 16.0), (2, 4.0), (4, 1.0), (9, 1.0)):
        _, info = step(jax.random.key(0), weights, state, selected, jnp.int32(number))
        np.testing.assert_allclose(info.effective_temperature, np.array([0.1, 0.2, 0.3]) * factor, rtol=1e-5)


def test_what_cannot_be_shown_is_refused(model):
    model, _ = model
    with pytest.raises(ConfigError, match="did you mean 'channels_state'"):
        viz.make_visualisation(model, descent(model), "channel_state", 1)
    with pytest.raises(ConfigError, match="from 0 to 2, not of layer 3"):
        viz.make_visualisation(model, descent(model), "channels_energy", 3)
    with pytest.raises(ConfigError, match="no temperature to anneal"):
        viz.make_visualisation(model, descent(model), annealing=viz.Annealing(2.0, 4))


def test_stage_writes_grids_and_animations(tmp_path):
    config = tiny_config(visualise={"annealing": 10.0})
    run_folder = make_run(tmp_path / "run", config)
    written = viz.visualise(config, run_folder)
    assert {path.name for path in written} == {
        f"visualise_{name}.{ending}"
        for name in ("standard", "channels_energy_layer2", "channels_state_layer2")
        for ending in ("png", "gif")
    }
    for path in written:
        assert path.parent == run_folder / "images"
        picture = matplotlib.image.imread(path, format=path.suffix[1:])
        assert min(picture.shape[:2]) > 100 and picture.std() > 0
    assert not list((run_folder / "images").glob("*partial*"))
    with pytest.raises(ConfigError, match="holds no trained model"):
        viz.visualise(config, tmp_path / "nowhere")
