"""Laws of the layers: what normalisation fixes, what transposing means, how dense layers flatten."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nrf import convolution as conv
from nrf.architecture import Kind
from nrf.layers import (
    ACTIVATIONS,
    Cct,
    DenseBlock,
    DenseNet,
    Kernel,
    Pointwise,
    main_pads,
    make_nonlinearity,
    run_dense,
)
from runtime.errors import ConfigError


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def numbers_for(module, seed=0):
    """Random variables of the module's shapes; scales are positive."""
    draw = np.random.default_rng(seed)
    template = jax.eval_shape(module.init, jax.random.key(0))
    return jax.tree.map(lambda p: draw.uniform(0.5, 1.5, p.shape).astype(np.float32) - (p.ndim > 1), template)


def length(kernel, axis):
    others = tuple(a for a in range(4) if a != axis % 4)
    return np.sqrt(np.sum(np.square(kernel), others))


@pytest.mark.parametrize(("axis", "channels"), [(-1, 5), (-2, 2)])  # transposed kernels: one norm per input channel
def test_weight_norm_fixes_the_norm_and_ignores_the_length_of_its_direction(axis, channels):
    module = Kernel((3, 3, 2, 5), axis, 18, "weight")
    params = numbers_for(module)["params"]
    assert params["scale"].shape == (channels,)
    apply = jax.jit(lambda p: module.apply({"params": p}))
    weight = apply(params)
    np.testing.assert_allclose(length(weight, axis), params["scale"], rtol=1e-6)
    np.testing.assert_allclose(apply({**params, "kernel": 2 * params["kernel"]}), weight, rtol=1e-6)
    # At the start the scale is the direction's own length.
    start = apply({**params, "scale": length(params["kernel"], axis)})
    np.testing.assert_allclose(start, params["kernel"], rtol=1e-5)


def test_spectral_norm_reaches_a_largest_singular_value_of_one():
    module = Kernel((3, 3, 2, 5), -1, 18, "spectral")
    variables = numbers_for(module)
    advance = jax.jit(lambda v: module.apply(v, mutable=["spectral"]))
    for _ in range(60):
        weight, updated = advance(variables)
        variables = {**variables, **updated}
    np.testing.assert_allclose(np.linalg.norm(np.asarray(weight).reshape(-1, 5), 2), 1.0, rtol=1e-5)


def test_spectral_gradient_holds_the_vectors_constant():
    module = Kernel((1, 1, 3, 4), -1, 3, "spectral")
    variables, probe = numbers_for(module), numbers(3, 4)

    @jax.jit
    def run(variables):
        def loss(params):
            return jnp.sum(probe * module.apply({**variables, "params": params}).reshape(3, 4))

        return jax.grad(loss)(variables["params"])["kernel"], module.apply(variables, mutable=["spectral"])[1]

    found, updated = run(variables)
    rows, left = variables["params"]["kernel"].reshape(3, 4).T, np.asarray(updated["spectral"]["u"])
    right = rows.T @ variables["spectral"]["u"]
    right = right / np.linalg.norm(right)
    sigma = left @ rows @ right
    expected = probe / sigma - np.sum(probe * rows.T) / sigma**2 * np.outer(right, left)
    np.testing.assert_allclose(np.reshape(found, (3, 4)), expected, rtol=1e-4, atol=1e-5)


def correlate(x, kernel, padding):
    return lax.conv_general_dilated(
        x, kernel, (1, 1), [(padding, padding)] * 2, dimension_numbers=("HWNC", "HWIO", "HWNC"), precision="highest"
    )


def cct(kind, kernel, padding, norm="none"):
    """The module and a function that runs it on maps (6, 6, 2, 3)."""
    pads = kernel - 1 - padding if kind == Kind.TRANSPOSED else padding
    plan = conv.plan((6, 6), kernel, pads, (3, 4), None, "direct")
    module = Cct(plan, kind, 3, 4, norm)

    def run(variables, x):
        weights = module.apply(variables)
        return conv.apply(plan, x, weights["kernel"], weights["bias"])

    return module, run


@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (5, 0), (7, 3), (3, 2)])
def test_a_transposed_convolution_is_the_adjoint_of_a_convolution(kernel, padding):
    module, run = cct(Kind.TRANSPOSED, kernel, padding)
    variables = numbers_for(module)
    size = 6 + kernel - 1 - 2 * padding
    x, z = numbers(6, 6, 2, 3), numbers(size, size, 2, 4, seed=1)

    @jax.jit
    def both(variables, x, z):
        back = jnp.swapaxes(variables["params"]["transposed"]["kernel"], 2, 3)
        return run(variables, x) - variables["params"]["transposed_bias"], correlate(z, back, padding)

    forward, adjoint = (np.asarray(a, np.float64) for a in both(variables, x, z))
    np.testing.assert_allclose(np.sum(forward * z), np.sum(x * adjoint), rtol=1e-5)


@pytest.mark.parametrize("norm", ["none", "weight", "spectral"])
def test_both_kinds_are_two_halves_side_by_side(norm):
    module, run = cct(Kind.BOTH, 3, 1, norm)
    variables, x = numbers_for(module), numbers(6, 6, 2, 3)

    @jax.jit
    def halves(variables, x):
        found = []
        for part, axis in (("conv", -1), ("transposed", -2)):
            own = {name: tree[part] for name, tree in variables.items() if part in tree}
            kernel = Kernel((3, 3, 3, 2), axis, 1, norm).apply(own)
            kernel = kernel if part == "conv" else jnp.flip(kernel, (0, 1))
            found.append(correlate(x, kernel, 1) + variables["params"][f"{part}_bias"])
        return run(variables, x), jnp.concatenate(found, -1)

    ours, expected = halves(variables, x)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_dense_layers_flatten_channels_first():
    sizes, output = ((2, 2, 3), (1, 4, 1)), (3, 1, 2)
    module = DenseNet(sizes, 1, output, "none")
    variables = numbers_for(module)
    inputs = [numbers(h, w, 5, c, seed=i) for i, (c, h, w) in enumerate(sizes)]
    found = jax.jit(lambda v, x: run_dense(module.apply(v), x, jnp.tanh))(variables, inputs)
    params = variables["params"]
    hidden = np.concatenate([x.transpose(2, 3, 0, 1).reshape(5, -1) for x in inputs], 1)
    for index in range(3):
        hidden = hidden @ params[f"layer_{index}"]["kernel"] + params[f"bias_{index}"]
        hidden = np.tanh(hidden) if index < 2 else hidden
    np.testing.assert_allclose(np.transpose(found, (2, 3, 0, 1)).reshape(5, -1), hidden, atol=1e-4)


@pytest.mark.parametrize(("norm", "first"), [("weight", {"kernel", "scale"}), ("spectral", {"kernel"})])
def test_the_last_dense_layer_is_never_normalised(norm, first):
    params = numbers_for(DenseNet(((2, 2, 3),), 1, (3, 1, 2), norm))["params"]
    assert [set(params[f"layer_{i}"]) for i in range(3)] == [first, first, {"kernel"}]


def test_parameters_start_within_the_fan_in_bound():
    block = DenseBlock(conv.plan((6, 6), 3, 1, (4, 4), None, "direct"), Kind.CONV, 6, 4, "weight")
    point, block = jax.jit(lambda key: (Pointwise(16, 200).init(key), block.init(key)))(jax.random.key(0))
    for each in point["params"].values():
        assert 0.2 < np.abs(each).max() <= 0.25
    assert np.abs(block["params"]["cct"]["conv"]["kernel"]).max() <= (4 * 9) ** -0.5


@pytest.mark.parametrize(
    ("name", "values", "slope"),
    [
        ("swish", [-0.26894142, 0.0, 0.7310586], 0.5),
        ("leaky_relu", [-0.01, 0.0, 1.0], 0.01),
        ("relu", [0.0, 0.0, 1.0], 0.0),
        ("tanh", [-0.76159416, 0.0, 0.76159416], 1.0),
    ],
)
def test_activations_and_their_slope_at_zero(name, values, slope):
    phi = ACTIVATIONS[name]
    found, found_slope = jax.jit(lambda x: (phi(x), jax.grad(phi)(x[1])))(jnp.array([-1.0, 0.0, 1.0]))
    np.testing.assert_allclose(found, values, rtol=1e-6)
    np.testing.assert_allclose(found_slope, slope, rtol=1e-6)


def test_a_gain_moves_the_bend_and_keeps_the_slope():
    plain, sharp = make_nonlinearity("tanh"), make_nonlinearity("tanh", 10.0)
    x = jnp.array([-3.0, 0.0, 1e-4, 0.05, 3.0])
    np.testing.assert_allclose(sharp.activation(x), plain.activation(10 * x) / 10, rtol=1e-6)
    np.testing.assert_allclose(sharp.activation(x)[-1], 0.1, rtol=1e-6)
    np.testing.assert_allclose(sharp.activation(x)[2], 1e-4, rtol=1e-4)
    np.testing.assert_allclose(sharp.gate(x), plain.gate(10 * x), rtol=1e-6)
    with pytest.raises(ConfigError, match="config.model.gain is 0; it must be positive"):
        make_nonlinearity("tanh", 0)


@pytest.mark.parametrize(("kernel", "pads"), [(1, 0), (3, 1), (7, 3), (11, 5)])
def test_main_kernels_keep_the_size(kernel, pads):
    assert main_pads(kernel) == pads
