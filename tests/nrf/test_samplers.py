"""The registry, the common face of all samplers, their options and the sentences that refuse bad ones."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from blackjax.base import SamplingAlgorithm

from nrf import samplers
from nrf.samplers import as_top_level_api, make_sampler

SHAPES = ((3, 4, 4, 2), (3, 2, 2, 8))
QUICK = {"nuts": {"max_num_doublings": 2}, "hmc": {"num_integration_steps": 2}}


def start(scale=1.0):
    draw = np.random.default_rng(0)
    return tuple((scale * draw.uniform(-1, 1, shape)).astype(np.float32) for shape in SHAPES)


def one_step(sampler, seed, state, gradient_fn):
    """One step as one program."""
    return jax.jit(lambda key, state: sampler.step(key, state, gradient_fn))(jax.random.key(seed), state)


def make_gradient_fn(image):
    """Energy with something of each image in it, as in the positive phase: (B, 1) numbers closed over."""

    def gradient_fn(position):
        gradient = tuple(s - jnp.expand_dims(image, (2, 3)) + 0.1 * s**3 for s in position)
        energy = sum(
            jnp.sum((0.5 * s**2 - jnp.expand_dims(image, (2, 3)) * s + 0.025 * s**4).reshape(len(s), -1), -1)
            for s in position
        )
        return energy, gradient

    return gradient_fn


@pytest.mark.parametrize("name", samplers.sampler_names())
def test_every_sampler_scans_under_jit_and_keeps_the_contract(name):
    sampler = make_sampler(name, bounds=(-1.0, 1.0), **QUICK.get(name, {}))
    position = start()

    @jax.jit
    def run(key, position, image):
        gradient_fn = make_gradient_fn(image)
        state = sampler.init(position, gradient_fn)
        return jax.lax.scan(lambda s, k: sampler.step(k, s, gradient_fn), state, jax.random.split(key, 3))

    image = np.linspace(-1, 1, 3, dtype=np.float32)[:, None]
    state, info = jax.device_get(run(jax.random.key(1), position, image))
    energy, gradient = jax.jit(lambda s, image: make_gradient_fn(image)(s))(position, image)
    np.testing.assert_allclose(info.energy[0], energy, rtol=1e-5)
    assert sampler.inertia == (name in ("underdamped", "sghmc", "sghmc_thesis")) == (state.momentum is not None)
    for tree in (state.position, state.momentum if sampler.inertia else state.position):
        assert tuple(x.shape for x in tree) == SHAPES
        assert all(x.dtype == np.float32 and np.isfinite(x).all() for x in tree)
    for ours, expected in zip(info.gradient, gradient, strict=True):
        np.testing.assert_allclose(ours[0], expected, rtol=1e-5, atol=1e-6)
    assert info.effective_temperature.shape == (3, 2)
    assert info.acceptance.shape == (3,)
    assert ((info.acceptance >= 0) & (info.acceptance <= 1)).all()
    assert max(np.abs(x).max() for x in state.position) <= 1.0
    assert np.abs(state.position[0] - position[0]).max() > 1e-4
    repeated, _ = run(jax.random.key(1), position, image)
    jax.tree.map(np.testing.assert_array_equal, repeated, state)


@pytest.mark.parametrize("name", ["underdamped", "langevin", "sghmc", "sghmc_thesis", "mala"])
def test_keys_decide_the_noise_and_layers_have_their_own(name):
    sampler = make_sampler(name)
    position = (np.zeros((2, 5), np.float32),) * 2

    def gradient_fn(position):
        return jnp.zeros(2), position

    @jax.jit
    def step(key, position):
        return sampler.step(key, sampler.init(position, gradient_fn), gradient_fn)[0].position

    a, b = (jax.device_get(step(jax.random.key(seed), position)) for seed in (0, 1))
    assert not np.allclose(a[0], b[0])
    assert not np.allclose(a[0], a[1])
    assert not np.allclose(a[0][0], a[0][1])


@pytest.mark.parametrize("name", ["underdamped", "adam", "hmc"])
def test_top_level_form_is_blackjax_own(name):
    gradient_fn = make_gradient_fn(np.zeros((3, 1), np.float32))
    sampler = make_sampler(name, step_size=0.05)
    algorithm = as_top_level_api(sampler, gradient_fn)
    assert isinstance(algorithm, SamplingAlgorithm)
    state = jax.jit(algorithm.init)(start())
    one, _ = jax.jit(algorithm.step)(jax.random.key(2), state)
    two, _ = one_step(sampler, 2, state, gradient_fn)
    jax.tree.map(np.testing.assert_array_equal, one, two)


@pytest.mark.parametrize("name", ["underdamped", "mala"])
def test_a_state_put_elsewhere_goes_on_from_there(name):
    """What a sampler remembers of the energy is that of the place it is at, under the energy that holds there."""
    old, new = (make_gradient_fn(np.full((3, 1), value, np.float32)) for value in (0, 1))
    sampler, elsewhere = make_sampler(name), start(0.5)
    place = jax.jit(lambda first, then: sampler.place(sampler.init(first, old), then, new))
    state, expected = place(start(), elsewhere), jax.jit(lambda s: sampler.init(s, new))(elsewhere)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), state, expected)
    _, info = one_step(sampler, 0, state, new)
    np.testing.assert_allclose(info.energy, jax.jit(new)(elsewhere)[0], rtol=1e-6)


def test_the_temperature_of_the_momentum_where_it_has_one():
    momentum = (np.full((2, 3, 3, 8), 0.5, np.float32), np.full((2, 4), 2.0, np.float32))
    for name, expected in (("underdamped", [0.25 * 3.98942, 4.0]), ("sghmc", [0.25 * 3.98942, 4.0])):
        sampler = make_sampler(name, mass="circulant")
        found = sampler.momentum_temperature(sampler.init(momentum)._replace(momentum=momentum))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    for name in ("sghmc_thesis", "langevin", "adam"):
        sampler = make_sampler(name)
        assert sampler.momentum_temperature(sampler.init(momentum)) is None


def test_options_differ_by_layer():
    position = (np.ones((2, 3), np.float32),) * 2

    def gradient_fn(position):
        return jnp.zeros(2), position

    sampler = make_sampler("underdamped", step_size=(0.1, 0.2), temperature=(0.0, 0.0))
    state, info = jax.device_get(one_step(sampler, 0, sampler.init(position), gradient_fn))
    np.testing.assert_allclose(1 - state.position[1], 4 * (1 - state.position[0]), rtol=1e-5)
    np.testing.assert_array_equal(info.effective_temperature, [0.0, 0.0])

    walls = make_sampler("sgd", step_size=(10.0, 10.0), bounds=((0.0, 1.0), (-0.5, float("inf"))))
    state, _ = jax.device_get(one_step(walls, 0, walls.init(position), gradient_fn))
    np.testing.assert_allclose([state.position[0][0, 0], state.position[1][0, 0]], [0.0, -0.5])


def test_a_temperature_given_to_the_step_takes_the_place_of_the_option():
    gradient_fn = make_gradient_fn(np.zeros((3, 1), np.float32))
    for name in ("underdamped", "langevin", "sghmc", "hmc"):
        cold, warm = make_sampler(name, temperature=0.01), make_sampler(name, temperature=2.0)
        state = jax.jit(lambda s, cold=cold: cold.init(s, gradient_fn))(start())
        annealed, info = jax.jit(lambda t, s, cold=cold: cold.step(jax.random.key(0), s, gradient_fn, t))(2.0, state)
        expected, _ = one_step(warm, 0, state, gradient_fn)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), annealed, expected)
        np.testing.assert_allclose(info.effective_temperature, [2.0, 2.0])


def test_options_for_layers_drops_the_clamped_image():
    options = {
        "step_size": (0.1, 0.2, 0.3),
        "friction": 0.5,
        "mass": ["diagonal", "circulant", "diagonal"],
        "bounds": ((0.0, 1.0), (0.0, float("inf")), (0.0, float("inf"))),
    }
    assert samplers.options_for_layers(options, range(1, 3)) == {
        "step_size": (0.2, 0.3),
        "friction": 0.5,
        "mass": ("circulant", "diagonal"),
        "bounds": ((0.0, float("inf")), (0.0, float("inf"))),
    }
    assert samplers.options_for_layers({"bounds": (-1.0, 1.0)}, [1])["bounds"] == (-1.0, 1.0)


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adam"])
def test_descent_is_the_optax_chain(name):
    reference = {
        "sgd": optax.sgd(0.1),
        "momentum": optax.sgd(0.1, 0.9),
        "nesterov": optax.sgd(0.1, 0.9, nesterov=True),
        "adam": optax.adam(0.1),
    }[name]
    gradient_fn = make_gradient_fn(np.ones((3, 1), np.float32))
    ours = make_sampler(name, step_size=0.1)

    @jax.jit
    def run(position, keys):
        def one(carry, key):
            state, chain_state, expected = carry
            updates, chain_state = reference.update(gradient_fn(expected)[1], chain_state, expected)
            state, info = ours.step(key, state, gradient_fn)
            return (state, chain_state, optax.apply_updates(expected, updates)), info.energy.sum()

        return jax.lax.scan(one, (ours.init(position), reference.init(position), position), keys)

    (state, _, expected), energies = run(start(), jax.random.split(jax.random.key(0), 30))
    for a, c in zip(state.position, expected, strict=True):
        np.testing.assert_allclose(a, c, rtol=1e-5, atol=1e-6)
    assert energies[-1] < energies[0]


def test_published_adaptation_freezes_after_burn_in():
    gradient_fn = make_gradient_fn(np.ones((3, 1), np.float32))
    sampler = make_sampler("sghmc", num_burn_in=2)
    state, squares = jax.jit(sampler.init)(start()), []
    advance = jax.jit(lambda key, state: sampler.step(key, state, gradient_fn)[0])
    for step in range(4):
        state = advance(jax.random.key(step), state)
        squares.append(np.asarray(state.gradient_square[0]))
    assert not np.allclose(squares[0], squares[1])
    np.testing.assert_array_equal(squares[1], squares[3])
    assert int(state.step) == 4


def test_one_gradient_per_step():
    for name in ("underdamped", "langevin", "sghmc", "sghmc_thesis", "adam", "mala"):
        calls = []

        def gradient_fn(position, calls=calls):
            calls.append(1)
            return jnp.zeros(3), position

        sampler = make_sampler(name)
        state = sampler.init(start(), gradient_fn)
        calls.clear()
        jax.make_jaxpr(lambda s, sampler=sampler, g=gradient_fn: sampler.step(jax.random.key(0), s, g))(state)
        assert len(calls) == 1, name


def test_the_exact_samplers_call_the_gradient_once_for_all_chains():
    shapes = []

    def gradient_fn(position):
        shapes.append(position[0].shape)
        return jnp.sum(position[0] ** 2, -1) / 2, position

    sampler = make_sampler("mala")
    state = sampler.init((jnp.ones((7, 3)),), gradient_fn)
    jax.make_jaxpr(lambda s: sampler.step(jax.random.key(0), s, gradient_fn))(state)
    assert (7, 3) in shapes


def step_once(name, **options):
    def gradient_fn(position):
        return jnp.zeros(3), position

    sampler = make_sampler(name, **options)
    return sampler.step(jax.random.key(0), sampler.init(start(), gradient_fn), gradient_fn)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("underdampd", {}, "did you mean 'underdamped'"),
        ("underdamped", {"stepsize": 0.1}, "no option 'stepsize'; did you mean 'step_size'"),
        ("sgd", {"temperature": 1.0}, "'sgd' has no option 'temperature'"),
        ("mala", {"num_integration_steps": 3}, "'mala' has no option 'num_integration_steps'"),
        ("underdamped", {"step_size": -0.1}, "'step_size' is -0.1, but must be finite and above 0"),
        ("underdamped", {"step_size": (0.1, 0.0)}, r"'step_size' \(layer entry 1\) is 0.0"),
        ("langevin", {"step_size": float("nan")}, "'step_size' is nan"),
        ("underdamped", {"step_size": "0.1"}, "'step_size' must be a number, not '0.1'"),
        ("sghmc", {"temperature": -1.0}, "'temperature' is -1.0, but must be finite and at least 0"),
        ("sghmc", {"friction": 0.0}, "'friction' is 0.0"),
        ("underdamped", {"step_size": (0.1, 0.1, 0.1)}, "'step_size' has 3 entries but 2 layers move"),
        ("underdamped", {"bounds": ((0.0, 1.0),) * 3}, "'bounds' has 3 pairs but 2 layers move"),
        ("underdamped", {"bounds": (1.0, -1.0)}, "empty range"),
        ("underdamped", {"bounds": (0.0, 1.0, 2.0)}, r"must be \(low, high\)"),
        ("underdamped", {"boundary": "reflecting"}, "did you mean 'reflect'"),
        ("hmc", {"boundary": "clamp"}, "'boundary' is 'clamp'"),
        ("sghmc_thesis", {"boundary": "reflect"}, "'boundary' is 'reflect'"),
        ("underdamped", {"mass": "circular"}, "did you mean 'circulant'"),
        ("underdamped", {"mass": "circulant", "coupling_sd": 5.0}, "'coupling_sd' = 5 makes the inverse mass"),
        ("sghmc_thesis", {"friction": 0.6}, "take a friction below 0.501"),
        ("sghmc_thesis", {"temperature": 1.0}, "'sghmc_thesis' has no option 'temperature'"),
        ("sghmc", {"max_sq_sigma": 1e-4}, "'sghmc' has no option 'max_sq_sigma'"),
        ("sghmc_thesis", {"momentum_clip": (1.0, 0.0)}, r"'momentum_clip' \(layer entry 1\) is 0.0"),
        ("langevin", {"scheme": "eular"}, "did you mean 'euler'"),
        ("hmc", {"step_size": (0.1, 0.1)}, "'step_size' must be one number, the same in all layers"),
        ("adam", {"b2": 1.0}, "'b2' is 1.0, but must be finite and at least 0 and below 1"),
        ("momentum", {"momentum": 1.5}, "'momentum' is 1.5"),
    ],
)
def test_bad_options_are_refused_with_the_option_named(name, options, words):
    with pytest.raises(ValueError, match=words):
        step_once(name, **options)


def test_channels_without_a_published_mass_are_refused():
    sampler = make_sampler("sghmc_thesis")
    with pytest.raises(ValueError, match="published for 8, 16 and 32 channels, but a layer has 12"):
        sampler.step(jax.random.key(0), sampler.init((jnp.zeros((1, 12)),)), lambda s: (jnp.zeros(1), s))


def test_options_and_defaults_are_listed():
    for name in samplers.sampler_names():
        options = samplers.sampler_options(name)
        assert "step_size" in options
        assert make_sampler(name).options == options
    assert samplers.sampler_options("sghmc_thesis")["max_sq_sigma"] == 1e-4
    assert make_sampler("underdamped", step_size=0.3).options["step_size"] == 0.3


def test_everything_that_a_kernel_can_do_is_reachable_from_a_config():
    from configs.nrflv import get_config

    config = get_config().sampler
    for name in samplers.sampler_names():
        # The walls are those of the model's states.
        assert set(config[name]) == set(samplers.sampler_options(name)) - {"bounds"}, name
        config.name = name
        make_sampler(name, **config[name].to_dict())
