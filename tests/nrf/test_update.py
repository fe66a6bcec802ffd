"""One update: chains that go on where they were, weights that are averaged, a rate that falls."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nrf.from_config import make_trainer
from nrf.update import restart_at_data, trained_variables
from runtime.config import load_config
from runtime.errors import ConfigError
from tests.nrf.trained_run import tiny_config

STEPS = 3


def config_of(*overrides):
    plain = ["positive.start=previous", "positive.poisson=False", "negative.poisson=False", "negative.renewed=0.0"]
    plain += ["negative.from_data=0.0"]
    plain += ["positive.steps=2", f"negative.steps={STEPS}", "train.batch=4", "negative.chains=6"]
    return load_config("tests/nrf/tiny.py:small", [f"--config.{field}" for field in (*plain, *overrides)])


@functools.cache
def trainer_and_states():
    """A trainer, and its state after 0, 1 and 2 updates."""
    trainer = make_trainer(config_of(), 64)
    images = np.random.default_rng(5).normal(0, 0.1, (4, 8, 8, 1)).astype(np.float32)
    states, update = [jax.jit(trainer.create_state)(jax.random.key(0))], jax.jit(trainer.update)
    for _ in range(2):
        states.append(update(states[-1], images)[0])
    return trainer, states


def test_chains_go_on_with_their_momentum():
    trainer, (_, first, second) = trainer_and_states()
    assert first.buffer == () and all(np.abs(p).max() > 0 for p in first.chains.momentum)
    keys = jax.random.split(jax.random.fold_in(first.key, first.step), 7)
    weights = jax.jit(trainer.model.prepare)(first.variables)
    run = jax.jit(trainer.negative_phase)
    kept = run(keys[6], weights, first.chains.position, STEPS, first.chains.momentum)
    at_rest = run(keys[6], weights, first.chains.position, STEPS)
    for found, expected, other in zip(second.chains.position, kept.states, at_rest.states, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        assert np.abs(found - other).max() > 1e-3


def test_the_average_forgets_how_it_began():
    _, (start, first, second) = trainer_and_states()
    weights = [jax.tree.leaves(state.variables)[0] for state in (start, first, second)]
    expected = weights[0]
    for step, new in enumerate(weights[1:]):
        rate = min(0.995, (1 + step) / (10 + step))
        expected = rate * expected + (1 - rate) * new
    np.testing.assert_allclose(jax.tree.leaves(second.average)[0], expected, rtol=1e-5)
    assert trained_variables(second) is second.average
    assert trained_variables(second._replace(average=())) is second.variables


def test_a_share_of_the_chains_begins_anew():
    _, (start, *_) = trainer_and_states()
    trainer = make_trainer(config_of("negative.renewed=1.0", "train.lr=1e-9", "train.lr_final=0"), 64)
    far = start._replace(chains=jax.tree.map(lambda s: jnp.full_like(s, 0.9), start.chains))
    state, *_ = jax.jit(trainer.update)(far, jnp.zeros((4, 8, 8, 1)))
    assert np.abs(state.chains.position[0]).mean() < 0.3


def test_renewed_chains_begin_where_the_positive_phase_ended():
    trainer = make_trainer(config_of("negative.from_data=1.0", "negative.renewed=1.0", "negative.steps=1"), 64)
    settled = tuple(jnp.full(s, i + 0.1) for i, s in enumerate(trainer.model.architecture.state_shapes(4)))
    state = jax.jit(trainer.create_state)(jax.random.key(0))
    fresh = jax.jit(lambda key: restart_at_data(trainer, key, state.chains, settled))(jax.random.key(1))
    for i, layer in enumerate(fresh.position):
        np.testing.assert_allclose(layer, i + 0.1, rtol=1e-6)
    for momentum in fresh.momentum:
        assert np.abs(momentum).max() == 0


def test_the_rate_falls_as_a_cosine():
    schedule = make_trainer(config_of("train.updates=100", "train.lr=1e-3", "train.lr_final=1e-5"), 64).learning_rate
    assert [float(schedule(k)) for k in (0, 50, 100)] == pytest.approx([1e-3, 5.05e-4, 1e-5], rel=1e-4)
    with pytest.raises(ConfigError, match="config.train.lr_final is 1.0; give at most config.train.lr"):
        make_trainer(config_of("train.lr_final=1.0"), 64)


def test_thermal_starts_need_a_temperature():
    with pytest.raises(ConfigError, match="config.negative.fresh is 'thermal', but the sampler 'adam' has no temper"):
        make_trainer(config_of("sampler.name=adam"), 64)
    assert make_trainer(tiny_config(), 64).thermal_sd == pytest.approx((0.02**0.5,) * 3)
