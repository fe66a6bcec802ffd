"""The initializer: shapes, output range, its loss and optimizer, and what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nrf.architecture import Architecture
from nrf.initializer import initializer_optimizer, make_initializer
from runtime.errors import ConfigError

FIELDS = {
    "state_sizes": [(2, 8, 8), (4, 8, 8), (3, 3, 3)],
    "connect": [(0,), (1,), (2,)],
    "kind": [(1,), (1,), (1,)],
    "base_kernel_padding": [((3, 1),), ((3, 1),), ((3, 1),)],
    "main_kernel": [3, 3, 3],
    "num_layers": [0, 0, 0],
    "num_ch_base": 4,
    "growth_rate": 2,
    "num_ch_initter": 4,
}


def architecture(**changes):
    return Architecture.from_lists("example", **{**FIELDS, **changes})


@functools.cache
def network(state_activation="hardtanh", convolution="auto"):
    made = make_initializer(architecture(), state_activation, convolution=convolution)
    leaves, structure = jax.tree.flatten(jax.eval_shape(made.init, jax.random.key(0)))
    numbers = np.random.default_rng(0)
    return made, jax.tree.unflatten(structure, [(0.3 * numbers.normal(size=p.shape)).astype("f4") for p in leaves])


def image(batch=3, seed=1):
    return np.random.default_rng(seed).uniform(size=(batch, 8, 8, 2)).astype(np.float32)


@functools.cache
def apply(state_activation="hardtanh", convolution="auto"):
    return jax.jit(network(state_activation, convolution)[0].apply)


def test_one_guess_per_latent_layer():
    _, variables = network()
    assert [g.shape for g in apply()(variables, image())] == [(3, 8, 8, 4), (3, 3, 3, 3)]


def test_parts_and_widths():
    _, variables = network()
    parts = {k: tuple(v["squeeze"]["kernel"].shape) for k, v in variables["params"].items() if "out" not in k}
    encoder = {f"encoder_{k}": (2 + 4 * k, 4) for k in range(4)}  # two latent layers and two more
    sides = {"side_0_first": (18, 8), "side_0_second": (8, 4), "side_1_first": (18, 6), "side_1_second": (6, 4)}
    assert parts == encoder | sides
    # A layer smaller than the image is reached by plain convolution, the other by both kinds.
    assert set(variables["params"]["side_0_first"]["cct"]) == {
        "conv", "conv_bias", "transposed", "transposed_bias"
    }
    assert set(variables["params"]["side_1_first"]["cct"]) == {"conv", "conv_bias"}
    assert set(variables["params"]["side_1_out"]) == {"kernel", "bias"}


@pytest.mark.parametrize(
    ("state_activation", "low", "high"), [("hardtanh", -1, 1), ("hardsig", 0, 1), ("relu", 0, None)]
)
def test_guesses_leave_the_range_by_a_hundredth(state_activation, low, high):
    _, variables = network()
    params = {**variables["params"]}
    for name in ("side_0_out", "side_1_out"):  # saturate the last layer
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        params[name] = {"kernel": np.zeros_like(kernel), "bias": np.r_[-50.0, np.full(len(bias) - 1, 50.0)]}
    for guess in apply(state_activation)({"params": params}, image()):
        guess = np.asarray(guess)
        np.testing.assert_allclose(guess[..., 0], low - 0.5, rtol=1e-6)
        np.testing.assert_allclose(guess[..., 1:], 50.0 if high is None else high + 0.5, rtol=1e-6)


def test_both_ways_of_convolving_agree():
    _, variables = network()
    for a, b in zip(*(apply(convolution=c)(variables, image()) for c in ("direct", "spectral")), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_images_do_not_influence_each_other():
    _, variables = network()
    images = image()
    others = images * np.array([1, 0, 0], np.float32)[:, None, None, None]
    whole, changed = apply()(variables, images), apply()(variables, others)
    for a, b in zip(whole, changed, strict=True):
        np.testing.assert_allclose(a[0], b[0], atol=1e-6)


def test_loss_sums_mean_squares_over_layers():
    made, variables = network()
    guesses = apply()(variables, image())
    latents = tuple(np.asarray(g) + d for g, d in zip(guesses, (0.5, 2.0), strict=True))
    loss, per_layer = jax.jit(made.loss)(variables, image(), latents)
    np.testing.assert_allclose(per_layer, [0.25, 4.0], rtol=1e-5)
    np.testing.assert_allclose(loss, 4.25, rtol=1e-5)


def test_training_approaches_the_latents():
    made, variables = network()
    latents = tuple(np.full(g.shape, 0.3, np.float32) for g in apply()(variables, image()))
    optimizer = initializer_optimizer(0.02)
    state, losses = jax.jit(optimizer.init)(variables), []

    @jax.jit
    def update(variables, state):
        (loss, _), gradient = jax.value_and_grad(made.loss, has_aux=True)(variables, image(), latents)
        change, state = optimizer.update(gradient, state, variables)
        return loss, optax.apply_updates(variables, change), state

    for _ in range(30):
        loss, variables, state = update(variables, state)
        losses.append(float(loss))
    assert losses[-1] < 0.2 * losses[0]


def test_optimizer_is_nesterov_descent():
    optimizer = initializer_optimizer(0.1)
    params, momentum = np.zeros(3), np.zeros(3)
    ours, update = np.zeros(3, np.float32), jax.jit(optimizer.update)
    state = optimizer.init(ours)
    for g in np.random.default_rng(0).normal(size=(4, 3)):
        momentum = 0.85 * momentum + g
        params = params - 0.1 * (g + 0.85 * momentum)
        change, state = update(g.astype(np.float32), state, ours)
        ours = ours + np.asarray(change)
    np.testing.assert_allclose(ours, params, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_ch_initter": 5}, ["num_ch_initter", "5", "even"]),
        ({"num_ch_initter": 0}, ["num_ch_initter", "0"]),
        ({"state_sizes": [(2, 8, 8), (7, 8, 8), (3, 3, 3)]}, ["layer 1", "7 channels", "num_ch_initter"]),
        ({"state_sizes": [(2, 6, 6), (4, 6, 6), (3, 3, 3)]}, ["layer 2", "6 x 6", "7 x 7"]),
    ],
)
def test_sizes_that_cannot_work_are_refused_at_once(changes, words):
    with pytest.raises(ConfigError) as raised:
        make_initializer(architecture(**changes))
    assert all(word in str(raised.value) for word in ["'example'", *words]), str(raised.value)


def test_nothing_to_initialize_is_refused():
    alone = {k: v[:1] if isinstance(v, list) else v for k, v in FIELDS.items()}
    with pytest.raises(ConfigError, match="no latent layers"):
        make_initializer(Architecture.from_lists("alone", **alone))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"state_activation": "tanh"}, "state_activation 'tanh'"),
        ({"activation": "gelu"}, "activation 'gelu'"),
        ({"convolution": "fast"}, "convolution 'fast'"),
    ],
)
def test_unknown_names_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        make_initializer(architecture(), **options)


def test_an_image_of_another_size_is_refused():
    made, variables = network()
    with pytest.raises(ValueError, match="8, 8, 2"):
        made.apply(variables, jnp.zeros((1, 2, 8, 8)))
