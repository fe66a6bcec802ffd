"""Phases: what moves, how long, when they stop, and that they follow the energy."""

import jax
import numpy as np
import pytest

from nrf import phases
from nrf.architecture import Architecture, get_architecture
from nrf.energy import make_energy
from nrf.samplers import make_sampler, options_for_layers

TINY = Architecture.from_lists(
    "tiny",
    state_sizes=[(1, 6, 6), (4, 6, 6), (3, 3, 3)],
    connect=[(1, 2), (0, 1, 2), (1, 2)],
    kind=[(1, 3), (1, 0, 2), (1, 3)],
    base_kernel_padding=[((3, 1), ()), ((3, 1), (3, 1), (3, 1)), ((3, 1), ())],
    main_kernel=[3, 3, 3],
    num_layers=[0, 1, 0],
    num_ch_base=4,
    growth_rate=4,
    num_ch_initter=4,
)
BATCH = 3


@pytest.fixture(scope="module")
def model():
    return make_energy(TINY)


@pytest.fixture(scope="module")
def weights(model):
    return draw_weights(model)


def draw_weights(model):
    return jax.jit(lambda key: model.prepare(model.init(key)))(jax.random.key(0))


def draw_states(model, seed, batch):
    return jax.device_get(jax.jit(lambda key: phases.uniform_states(key, model, batch))(jax.random.key(seed)))


def sampler(model, clamp: bool, name: str = "underdamped", **options):
    free = range(1 if clamp else 0, len(model.bounds))
    return make_sampler(name, **options_for_layers({"bounds": model.bounds, **options}, free))


def start(model, seed: int = 0):
    return draw_states(model, seed, BATCH)


def test_the_positive_phase_moves_latents_and_holds_the_image(model, weights):
    run = phases.make_phase(model, sampler(model, True, step_size=0.3), clamp_image=True, max_steps=10)
    states = start(model)
    result = jax.jit(run)(jax.random.key(1), weights, states, 10)
    assert np.array_equal(result.states[0], states[0])
    assert all(not np.allclose(a, b) for a, b in zip(result.states[1:], states[1:], strict=True))
    assert int(result.steps) == 10 and np.isfinite(result.energy_history).all()


def test_the_negative_phase_moves_everything_and_stays_in_bounds(model, weights):
    options = {"step_size": 0.5, "temperature": 1.0}
    run = phases.make_phase(model, sampler(model, False, **options), clamp_image=False, max_steps=30)
    states = start(model)
    result = jax.jit(run)(jax.random.key(1), weights, states, 30)
    for before, after in zip(states, result.states, strict=True):
        assert not np.allclose(before, after)
        assert np.abs(after).max() <= 1.0


def test_one_program_serves_every_length(model, weights):
    run = jax.jit(phases.make_phase(model, sampler(model, False), clamp_image=False, max_steps=8))
    states, key = start(model), jax.random.key(2)
    for steps in (1, 5, 8, 20):
        result = run(key, weights, states, steps)
        assert int(result.steps) == min(steps, 8)
        assert int(np.isfinite(result.energy_history).sum()) == min(steps, 8)
    assert run._cache_size() == 1
    # A longer phase begins like a shorter one.
    short, long = run(key, weights, states, 3), run(key, weights, states, 7)
    assert np.array_equal(short.energy_history[:3], long.energy_history[:3])


def test_the_history_is_the_energy_before_each_step(model, weights):
    run = phases.make_phase(model, sampler(model, False), clamp_image=False, max_steps=3)
    states = start(model)
    result = jax.jit(run)(jax.random.key(1), weights, states, 3)
    before = float(np.mean(jax.jit(model.energy)(weights, states)))
    assert float(result.energy_history[0]) == pytest.approx(before, rel=1e-5)


def test_descent_lowers_the_energy(model, weights):
    run = phases.make_phase(model, sampler(model, True, "sgd", step_size=0.2), clamp_image=True, max_steps=40)
    history = np.asarray(jax.jit(run)(jax.random.key(1), weights, start(model), 40).energy_history)
    assert np.all(np.diff(history) < 1e-5)


def test_early_stopping(model, weights):
    descent = sampler(model, True, "sgd", step_size=0.3)

    def steps(threshold, after=20):
        stop = phases.EarlyStop(threshold, window=5, after=after)
        run = phases.make_phase(model, descent, clamp_image=True, max_steps=200, early_stop=stop)
        return jax.jit(run)(jax.random.key(1), weights, start(model), 200)

    stopped = steps(1e-3)
    count, history = int(stopped.steps), np.asarray(stopped.energy_history)
    assert 20 < count < 200
    assert np.ptp(history[count - 6 : count]) < 1e-3 <= np.ptp(history[count - 7 : count - 1])
    assert int(steps(1e-3, after=150).steps) > 150
    assert int(steps(0.0).steps) == 200


def test_gradient_clipping_counts_the_clamped_image(model, weights):
    states = start(model)
    _, full = jax.device_get(jax.jit(model.energy_and_gradient)(weights, states))
    norm = np.sqrt(sum(np.sum(g**2) for g in full))
    clipped = phases.make_gradient_fn(model, weights, states[0], gradient_clip=norm / 4)
    _, gradient = jax.jit(clipped)(states[1:])
    for got, whole in zip(gradient, full[1:], strict=True):
        np.testing.assert_allclose(got, whole / 4, rtol=1e-4, atol=1e-8)


def test_fresh_states_fill_their_range(model):
    for state, (low, high) in zip(draw_states(model, 0, 64), model.bounds, strict=True):
        assert low <= state.min() < low + 0.05 and high - 0.05 < state.max() <= high


def test_noise_images_have_the_published_moments(model):
    def draw(rescale):
        return np.asarray(jax.jit(lambda key: phases.noise_images(key, model, 4000, rescale))(jax.random.key(0)))

    image = draw(rescale=False)
    assert image.shape == (4000, 6, 6, 1)
    means, noise = image.mean((1, 2, 3)), image.std((1, 2, 3), ddof=1)
    # The mean of an image is U(0, 0.7) and the mean of 36 draws of N(0, 0.3²).
    np.testing.assert_allclose([means.mean(), means.var()], [0.35, 0.7**2 / 12 + 0.09 / 36], rtol=0.05)
    np.testing.assert_allclose(np.sqrt(np.mean(noise**2)), 0.3, rtol=0.01)
    np.testing.assert_allclose(draw(rescale=True), 2 * image - 1, atol=1e-6)


def test_without_latents_the_positive_phase_stands_still():
    model = make_energy(get_architecture("NRFLV_very_small_1SL_self"))
    weights, image = draw_weights(model), draw_states(model, 1, 2)
    options = make_sampler("underdamped", bounds=())
    run = phases.make_phase(model, options, clamp_image=True, max_steps=5)
    result = jax.jit(run)(jax.random.key(2), weights, image, 5)
    assert np.array_equal(result.states[0], image[0])
    assert int(result.steps) == 0
    np.testing.assert_allclose(result.info.energy, jax.jit(model.energy)(weights, image), rtol=1e-5)
