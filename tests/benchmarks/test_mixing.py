"""The mixing benchmark's estimator, on chains whose autocorrelation time is known, and its table of settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import mixing
from nrf.linear_response import Dynamics, predict_modes, spectrum
from nrf.samplers import make_sampler, sampler_options


@pytest.mark.parametrize("coefficient", [0.0, 0.8, -0.5])
def test_time_of_an_autoregression(coefficient):
    draw = np.random.default_rng(0).normal(size=(4000, 64))
    draw[0] /= np.sqrt(1 - coefficient**2)
    for t in range(1, len(draw)):
        draw[t] += coefficient * draw[t - 1]
    found = mixing.autocorrelation_time(draw[..., None])
    # Chains that alternate do better than independent draws; what is counted is no better than those.
    expected = max((1 + coefficient) / (1 - coefficient), 1.0)
    np.testing.assert_allclose(found, expected, rtol=0.15)


def test_time_of_dynamics_with_inertia_is_its_spectrum_at_zero():
    """Positions that swing are no reversible chain: S(0) gives the spread of their means, below and above τ = 1."""
    curvature, chains, steps = 0.3, 256, 2000
    dynamics = Dynamics(0.5, 0.15, 1.0)
    sampler = make_sampler("underdamped", step_size=0.5, friction=0.15, temperature=1.0)

    def gradient_fn(position):
        return 0.5 * curvature * jnp.sum(position[0] ** 2, axis=1), (curvature * position[0],)

    def one(state, number):
        state, _ = sampler.step(jax.random.fold_in(jax.random.key(0), number), state, gradient_fn)
        return state, state.position[0]

    start = sampler.init((jax.random.normal(jax.random.key(1), (chains, 1)) / np.sqrt(curvature),), gradient_fn)
    _, draws = jax.jit(lambda s: jax.lax.scan(one, s, jnp.arange(steps)))(start)
    variance = predict_modes(curvature, dynamics).variance
    expected = float(spectrum(curvature, np.array([0.0]), dynamics)[0] / variance)
    assert expected > 1.5
    np.testing.assert_allclose(mixing.autocorrelation_time(np.asarray(draws)), expected, rtol=0.15)


def test_chains_that_have_not_met_are_correlated():
    draws = np.random.default_rng(1).normal(size=(400, 8, 1)) + np.arange(8.0)[:, None]
    assert mixing.autocorrelation_time(draws)[0] > 80
    # Unless they are not to meet, each pair of them holding an image of its own.
    pairs = np.random.default_rng(1).normal(size=(400, 8, 1)) + np.repeat(np.arange(4.0), 2)[:, None]
    assert mixing.autocorrelation_time(pairs, groups=4)[0] < 1.6
    assert [mixing.groups_of(chains) for chains in (16, 6, 2, 7)] == [4, 3, 2, 1]


def test_every_setting_is_a_sampler_s_own():
    for name in mixing.SETTINGS:
        settings = mixing.settings_of(name)
        assert 1 <= len(settings) <= 7
        for options in settings:
            assert set(options) <= set(sampler_options(name))
            make_sampler(name, **options)
