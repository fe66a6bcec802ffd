"""The curvature predictor: against dense Hessians of a tiny model and the exact answers of a quadratic energy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nrf import curvature as cv
from nrf.architecture import Architecture
from nrf.energy import make_energy
from nrf.linear_response import Dynamics, predict_modes, spectrum, step_responses
from nrf.phases import MeanStates, make_gradient_fn, mean_states, uniform_states
from nrf.predictions import Signal, predict
from nrf.samplers import make_sampler
from tests.nrf.tiny import get_config

STEP, FRICTION, TEMPERATURE = 0.4, 0.2, 0.5


@pytest.fixture(scope="module", params=[pytest.param("spectral", marks=pytest.mark.slow), "direct"])
def field(request):
    """A tiny model with its clamped gradient at two images, and the latents' dense Hessians there."""
    fields = dict(get_config().model.architecture.items())
    fields |= {"state_sizes": ((1, 4, 4), (3, 4, 4), (2, 2, 2)), "num_ch_base": 2}
    architecture = Architecture.from_lists("tiny", **fields)
    model = make_energy(architecture, convolution=request.param)

    @jax.jit
    def make(key):
        weights = model.prepare(model.init(key))
        image, *latents = (0.5 * s for s in uniform_states(key, model, 2))

        def flat_gradient(flat):
            _, gradient = make_gradient_fn(model, weights, image)(cv.unflatten(flat, latents))
            return cv.flatten(gradient)

        flat = cv.flatten(latents)
        # Reverse mode, one row of the Hessian a call: the convolutions define no forward rules.
        pull = jax.vjp(flat_gradient, flat)[1]
        rows = jax.lax.map(lambda row: pull(jnp.broadcast_to(row, flat.shape))[0], jnp.eye(flat.shape[1]))
        return weights, image, tuple(latents), jnp.moveaxis(rows, 1, 0)

    weights, image, latents, hessian = make(jax.random.key(0))
    return make_gradient_fn(model, weights, image), latents, np.asarray(hessian, np.float64)


def test_products_are_those_of_the_dense_hessian(field):
    gradient_fn, position, hessian = field
    np.testing.assert_allclose(hessian, np.swapaxes(hessian, 1, 2), atol=1e-5)
    vector = jax.random.normal(jax.random.key(2), cv.flatten(position).shape)

    @jax.jit
    def product(position, vector):
        return cv.flatten(cv.hessian_product(gradient_fn, position, cv.unflatten(vector, position)))

    found = product(position, vector)
    np.testing.assert_allclose(found, np.einsum("bij,bj->bi", hessian, vector), atol=2e-4)


def test_extremes_and_median_are_those_of_the_dense_hessian(field):
    gradient_fn, position, hessian = field
    geometry = cv.make_geometry(tuple(s.shape[-1] for s in position), 1.0, 1.0, 1.0)
    probe = jax.random.normal(jax.random.key(3), cv.flatten(position).shape)
    iterate = jax.jit(lambda position, probe: cv.lanczos(cv.step_operator(gradient_fn, position, geometry), probe, 60))
    found = cv.extremes(iterate(position, probe))
    values = np.linalg.eigvalsh(hessian)
    np.testing.assert_allclose(found[:, [0, 2]], values[:, [0, -1]], rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found[:, 1], np.median(values, axis=1), atol=0.05)


def test_geometry_scales_the_hessian_by_steps_and_masses(field):
    gradient_fn, position, hessian = field
    channels = tuple(s.shape[-1] for s in position)
    steps, widths = (0.3, 0.1), (0.5, 0.4)
    geometry = cv.make_geometry(channels, steps, FRICTION, TEMPERATURE, "circulant", widths)
    apply = jax.jit(cv.step_operator(gradient_fn, position, geometry))
    probe = jax.random.normal(jax.random.key(4), cv.flatten(position).shape)
    # A v = K^(1/2) h H h K^(1/2) v: the same factor as that between states and the coordinates of the steps.
    scaled = cv.signal_to_steps(cv.unflatten(probe, position), geometry)
    product = np.einsum("bij,bj->bi", hessian, np.asarray(scaled))
    expected = cv.signal_to_steps(cv.unflatten(jnp.asarray(product, jnp.float32), position), geometry)
    np.testing.assert_allclose(apply(probe), expected, atol=1e-4)
    # A signal sees the same number in either coordinates: b·s = (K^(1/2) h b)·(K^(-1/2) s / h).
    signal = cv.unflatten(probe, position)
    seen = jnp.sum(cv.signal_to_steps(signal, geometry) * cv.to_steps(position, geometry), axis=1)
    np.testing.assert_allclose(seen, jnp.sum(probe * cv.flatten(position), axis=1), rtol=1e-3)


def quadratic(size=12, seed=0, batch=3):
    """Symmetric matrices (batch, size, size) of curvatures 0.2 to 2 and the gradient of their energy."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(batch):
        basis, _ = np.linalg.qr(draw.normal(size=(size, size)))
        found.append(basis @ np.diag(draw.uniform(0.2, 2.0, size)) @ basis.T)
    matrices = np.array(found)
    centre = draw.normal(size=(batch, size))

    def gradient_fn(position):
        away = position[0] - centre
        pull = jnp.einsum("bij,bj->bi", matrices.astype(np.float32), away)
        return 0.5 * jnp.sum(away * pull, axis=1), (pull,)

    return matrices, centre, gradient_fn


def geometry_of(size):
    return cv.make_geometry((size,), STEP, FRICTION, TEMPERATURE)


def iterate(gradient_fn, position, geometry, start, steps):
    """Lanczos iteration as one program; start: in units of the steps."""

    @jax.jit
    def run(position, start):
        return cv.lanczos(cv.step_operator(gradient_fn, position, geometry), start, steps)

    return run((position.astype(np.float32),), np.asarray(start, np.float32))


def test_measure_of_a_signal_is_exact_for_a_quadratic_energy():
    matrices, centre, gradient_fn = quadratic()
    geometry = geometry_of(12)
    signal = np.random.default_rng(1).normal(size=(3, 12)).astype(np.float32)
    along = cv.signal_to_steps((signal,), geometry)
    measure = cv.spectral_measure(iterate(gradient_fn, centre, geometry, along, 12))
    variance = cv.signal_variance(measure, geometry)
    exact = TEMPERATURE * np.einsum("bi,bij,bj->b", signal, np.linalg.inv(matrices), signal)
    np.testing.assert_allclose(variance, exact, rtol=1e-3)
    frequency = (np.arange(4000) + 0.5) / 8000
    density = cv.signal_spectrum(measure, frequency, geometry)
    np.testing.assert_allclose(density.mean(axis=1), exact, rtol=2e-3)
    values, vectors = np.linalg.eigh(matrices)
    shares = np.einsum("bi,bik->bk", signal, vectors) ** 2
    dynamics = Dynamics(STEP, FRICTION, TEMPERATURE)
    exact_density = np.einsum("bk,bkf->bf", shares, spectrum(values, frequency, dynamics))
    np.testing.assert_allclose(density, exact_density, rtol=0.02)


def test_iteration_that_is_exhausted_ends_cleanly():
    matrices, centre, gradient_fn = quadratic()
    values, vectors = np.linalg.eigh(matrices)
    # A start inside the span of two modes, and one of no length at all.
    start = np.zeros((3, 12))
    start[:2] = vectors[:2, :, 1] + vectors[:2, :, 7]
    measure = cv.spectral_measure(iterate(gradient_fn, centre, geometry_of(12), start, 6))
    for b in range(2):
        order = np.argsort(-measure.weights[b])[:2]
        found = sorted(measure.nodes[b, order] / STEP**2)
        np.testing.assert_allclose(found, values[b, [1, 7]], rtol=1e-3)
    assert measure.weights[2].sum() == 0


def test_onset_is_that_of_the_linear_system():
    matrices, centre, gradient_fn = quadratic()
    geometry = geometry_of(12)
    moved = np.random.default_rng(2).normal(size=(3, 12))
    signal = np.random.default_rng(3).normal(size=(3, 12))
    krylov = iterate(gradient_fn, centre, geometry, cv.to_steps((moved.astype(np.float32),), geometry), 12)
    along = cv.signal_to_steps((signal.astype(np.float32),), geometry)
    found = cv.onset_response(krylov, along, geometry, 40)
    values, vectors = np.linalg.eigh(matrices)
    shares = np.einsum("bi,bik->bk", signal, vectors) * np.einsum("bi,bik->bk", moved, vectors)
    exact = np.einsum("bk,tbk->bt", shares, step_responses(values, 40, Dynamics(STEP, FRICTION, TEMPERATURE)))
    np.testing.assert_allclose(found, exact, atol=2e-3)


def test_table_tells_gain_from_no_gain():
    """Contrast that scales the curvature raises the frequency and quenches; contrast that adds a force does not."""
    contrasts, size = np.repeat([0.0, 0.5, 1.0], 2), 8
    for gated in (True, False):
        gain = 1.0 + 2.0 * contrasts[:, None] if gated else np.ones((6, 1))
        rest = (contrasts[:, None] * np.ones((6, size))).astype(np.float32)

        def gradient_fn(position, rest=rest, gain=gain):
            away = position[0] - rest
            return 0.5 * jnp.sum(gain * away * away, axis=1), (gain.astype(np.float32) * away,)

        known = MeanStates((rest,), (rest,), (rest,))
        blank = MeanStates(*(((np.zeros((1, size), np.float32),),) * 3))
        signals = {"all": Signal(0, np.ones(size, np.float32))}
        table = predict(gradient_fn, known, blank, contrasts, geometry_of(size), signals, jax.random.key(0), 8)
        found = table["signals"]["all"]
        curvature = np.array([1.0, 2.0, 3.0]) if gated else np.ones(3)
        expected = np.sqrt(curvature - 0.5 * (FRICTION / STEP) ** 2) * STEP / (2 * np.pi)
        np.testing.assert_allclose(table["modes"]["curvature"], np.repeat(curvature[:, None], 3, axis=1), rtol=1e-3)
        np.testing.assert_allclose(found["resonance"], expected, rtol=0.03)
        np.testing.assert_allclose(found["variance"], size * TEMPERATURE / curvature, rtol=1e-3)
        assert found["overshoot"][0] is None  # no stimulus, no response
        beyond = predict_modes(curvature[1:], Dynamics(STEP, FRICTION, TEMPERATURE)).overshoot
        np.testing.assert_allclose(found["overshoot"][1:], beyond, rtol=2e-3)
        assert found["quality"] == sorted(found["quality"])


def test_mean_states_are_those_of_the_distribution():
    _, centre, gradient_fn = quadratic(size=4, batch=8)
    sampler = make_sampler("underdamped", step_size=0.8, friction=0.8, temperature=0.01)
    start = (np.zeros((8, 4), np.float32),)
    run = jax.jit(functools.partial(mean_states, gradient_fn, sampler, settle=100, steps=4000))
    found = run(jax.random.key(0), start)
    np.testing.assert_allclose(found.mean[0], centre, atol=0.05)
    np.testing.assert_allclose(0.5 * (found.early[0] + found.late[0]), found.mean[0], rtol=1e-5)


def test_layers_whose_modes_do_not_separate_are_refused():
    with pytest.raises(ValueError, match="'friction' differs between layers"):
        cv.make_geometry((3, 4), 0.1, (0.1, 0.2), 1.0)
