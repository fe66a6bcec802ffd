"""Linear response: closed forms against the sampler's own steps, and against the laws that they must keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from nrf.linear_response import (
    Dynamics,
    mode_map,
    mode_noise,
    phase_lag,
    predict_modes,
    spectrum,
    step_responses,
)
from nrf.samplers import underdamped

CURVATURES = np.array([0.2, 0.6, 1.0, 1.8, 3.5])
DYNAMICS = Dynamics(step_size=0.4, friction=0.2, temperature=0.7)


@pytest.mark.parametrize("dynamics", [DYNAMICS, Dynamics(0.17, 0.6, 2.0, inverse_mass=1.7)])
def test_map_and_noise_keep_the_thermal_distribution(dynamics):
    for curvature in CURVATURES:
        covariance = solve_discrete_lyapunov(mode_map(curvature, dynamics), mode_noise(dynamics))
        # The positions of this scheme are exact in a quadratic well at every step size.
        assert covariance[0, 0] == pytest.approx(dynamics.temperature / curvature, rel=1e-9)


def test_map_is_the_step_of_the_sampler():
    h, c, temperature, _ = DYNAMICS
    update = underdamped.build_update(underdamped.Options(step_size=h, friction=c, temperature=temperature))
    curvature, start, draw = 1.3, np.array([0.7, -0.4]), 0.9
    position, momentum, normal = (jnp.full((1, 1), value) for value in (*start, draw))
    state, _ = update(underdamped.UnderdampedState((position,), (momentum,)), (curvature * position,), (normal,))
    kicked = np.linalg.cholesky(mode_noise(DYNAMICS)[1:, 1:])[0, 0] * np.array([0.5 * h, 1.0]) * draw
    expected = mode_map(curvature, DYNAMICS) @ start + kicked
    found = [float(state.position[0][0, 0]), float(state.momentum[0][0, 0])]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_spectrum_has_the_variance_and_the_peak_that_are_predicted():
    frequency = (np.arange(40000) + 0.5) / 80000
    density, modes = spectrum(CURVATURES, frequency, DYNAMICS), predict_modes(CURVATURES, DYNAMICS)
    np.testing.assert_allclose(density.mean(axis=1), modes.variance, rtol=1e-4)
    resonant = modes.resonance > 0
    assert resonant.tolist() == [True] * 5
    np.testing.assert_allclose(frequency[density.argmax(axis=1)], modes.resonance, atol=2e-5)
    slow = predict_modes(np.array([0.02, -0.1, 30.0]), DYNAMICS)
    assert slow.resonance[0] == 0 and slow.overshoot[0] < 0.02
    assert np.isnan(slow.resonance[1:]).all() and np.isnan(slow.overshoot[1:]).all()


def test_discrete_forms_come_to_the_continuous_ones_at_small_steps():
    small = Dynamics(0.02, 0.012, 1.0)
    modes = predict_modes(CURVATURES, small)
    for exact, limit in (("resonance", "resonance_continuous"), ("overshoot", "overshoot_continuous")):
        np.testing.assert_allclose(getattr(modes, exact), getattr(modes, limit), rtol=1e-3)
    np.testing.assert_allclose(modes.phase, modes.phase_continuous, rtol=1e-3)
    np.testing.assert_allclose(modes.quality, np.sqrt(CURVATURES) / 0.6, rtol=1e-3)


def test_simulated_mode_shows_spectrum_and_phase():
    curvature, steps, chains = 1.5, 2048, 400
    h, c, temperature, _ = DYNAMICS
    kernel = underdamped.build_kernel(underdamped.Options(step_size=h, friction=c, temperature=temperature))

    def gradient_fn(position):
        return 0.5 * curvature * jnp.sum(position[0] ** 2, axis=1), (curvature * position[0],)

    def one(state, number):
        state, _ = kernel(jax.random.fold_in(jax.random.key(3), number), state, gradient_fn)
        position, momentum = state.position[0][:, 0], state.momentum[0][:, 0]
        return state, (position, momentum - 0.5 * h * curvature * position)

    start = underdamped.init((jnp.zeros((chains, 1)),))
    _, (position, momentum) = jax.jit(lambda s: jax.lax.scan(one, s, jnp.arange(200 + steps)))(start)
    state, inhibition = (np.asarray(x[200:], np.float64) for x in (position, position - momentum))
    assert state.var() == pytest.approx(temperature / curvature, rel=0.02)
    window = np.hanning(steps)[:, None]
    e, i = (np.fft.rfft(window * x, axis=0) for x in (state, inhibition))
    frequency = np.fft.rfftfreq(steps)
    power = np.mean(np.abs(e) ** 2, axis=1) / np.sum(window**2)
    resonance = float(predict_modes(curvature, DYNAMICS).resonance)
    near = np.abs(frequency / resonance - 1) < 0.5
    np.testing.assert_allclose(power[near], spectrum(curvature, frequency[near], DYNAMICS), rtol=0.25)
    expected = spectrum(curvature, frequency[near], DYNAMICS)
    assert np.mean(power[near] / expected) == pytest.approx(1.0, abs=0.02)
    at = int(np.argmin(np.abs(frequency - resonance)))
    lag = -np.angle(np.sum(i[at - 8 : at + 9] * np.conj(e[at - 8 : at + 9])))
    assert lag == pytest.approx(float(phase_lag(curvature, frequency[at], DYNAMICS)), abs=0.03)


def test_step_response_ends_at_the_new_rest_after_one_overshoot():
    response = step_responses(CURVATURES, 200, DYNAMICS)
    assert (response[0] == -1).all() and np.abs(response[-1]).max() < 1e-6
    np.testing.assert_allclose(response.max(axis=0), predict_modes(CURVATURES, DYNAMICS).overshoot)
