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
    leaky_relu,
    main_pads,
    run_dense,
    swish,
)


def test_weight_norm_fixes_the_norm_and_starts_as_no_norm():
    module = Kernel((3, 3, 2, 5), -1, 18, "weight")
    variables = module.init(jax.random.key(0))
    np.testing.assert_allclose(module.apply(variables), variables["params"]["kernel"], rtol=1e-6)
    scale = jnp.arange(1.0, 6.0)
    weight = module.apply({"params": {**variables["params"], "scale": scale}})
    np.testing.assert_allclose(jnp.sqrt(jnp.sum(weight**2, (0, 1, 2))), scale, rtol=1e-6)


def test_weight_norm_of_transposed_kernels_is_per_input_channel():
    module = Kernel((3, 3, 2, 5), -2, 45, "weight")
    params = module.init(jax.random.key(0))["params"]
    weight = module.apply({"params": {**params, "scale": jnp.array([2.0, 7.0])}})
    np.testing.assert_allclose(jnp.sqrt(jnp.sum(weight**2, (0, 1, 3))), [2.0, 7.0], rtol=1e-6)


def test_weight_does_not_depend_on_the_length_of_its_direction():
    module = Kernel((3, 3, 2, 5), -1, 18, "weight")
    params = module.init(jax.random.key(0))["params"]
    doubled = {**params, "kernel": 2 * params["kernel"]}
    np.testing.assert_allclose(module.apply({"params": doubled}), module.apply({"params": params}), rtol=1e-6)


def test_spectral_norm_reaches_a_largest_singular_value_of_one():
    module = Kernel((3, 3, 2, 5), -1, 18, "spectral")
    variables = module.init(jax.random.key(0))
    for _ in range(60):
        weight, updated = module.apply(variables, mutable=["spectral"])
        variables = {**variables, **updated}
    np.testing.assert_allclose(np.linalg.norm(weight.reshape(-1, 5), 2), 1.0, rtol=1e-5)
    # Without a mutable collection the vector stays: sampling sees frozen weights.
    np.testing.assert_array_equal(module.apply(variables), module.apply(variables))


def test_spectral_gradient_holds_the_vectors_constant():
    module = Kernel((1, 1, 3, 4), -1, 3, "spectral")
    variables = module.init(jax.random.key(0))
    _, updated = module.apply(variables, mutable=["spectral"])
    probe = jax.random.normal(jax.random.key(1), (1, 1, 3, 4))
    found = jax.grad(lambda p: jnp.sum(probe * module.apply({**variables, "params": p})))(variables["params"])["kernel"]
    rows = variables["params"]["kernel"].reshape(3, 4).T
    left = updated["spectral"]["u"]
    right = rows.T @ variables["spectral"]["u"]
    right = right / jnp.linalg.norm(right)
    sigma = left @ rows @ right
    expected = probe.reshape(3, 4) / sigma - jnp.sum(probe.reshape(3, 4) * rows.T) / sigma**2 * jnp.outer(right, left)
    np.testing.assert_allclose(found.reshape(3, 4), expected, rtol=1e-5, atol=1e-6)


def cct(kind, kernel, padding, norm="none"):
    pads = kernel - 1 - padding if kind == Kind.TRANSPOSED else padding
    plan = conv.plan((6, 6), kernel, pads, (3, 4), None, "direct")
    module = Cct(plan, kind, 3, 4, norm)
    return plan, module, module.init(jax.random.key(0))


def correlate(x, kernel, padding):
    return lax.conv_general_dilated(
        x, kernel, (1, 1), [(padding, padding)] * 2, dimension_numbers=("HWNC", "HWIO", "HWNC"), precision="highest"
    )


def run(plan, module, variables, x):
    weights = module.apply(variables)
    return conv.apply(plan, x, weights["kernel"], weights["bias"])


@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (5, 0), (7, 3), (3, 2)])
def test_a_transposed_convolution_is_the_adjoint_of_a_convolution(kernel, padding):
    plan, module, variables = cct(Kind.TRANSPOSED, kernel, padding)
    x = jax.random.normal(jax.random.key(1), (6, 6, 2, 3))
    y = run(plan, module, variables, x) - variables["params"]["transposed_bias"]
    assert y.shape[:2] == (6 + kernel - 1 - 2 * padding,) * 2
    z = jax.random.normal(jax.random.key(2), y.shape)
    back = correlate(z, jnp.swapaxes(variables["params"]["transposed"]["kernel"], 2, 3), padding)
    np.testing.assert_allclose(jnp.sum(y * z), jnp.sum(x * back), rtol=1e-4)


@pytest.mark.parametrize("norm", ["none", "weight", "spectral"])
def test_both_kinds_are_two_halves_side_by_side(norm):
    plan, module, variables = cct(Kind.BOTH, 3, 1, norm)
    x = jax.random.normal(jax.random.key(1), (6, 6, 2, 3))
    y = run(plan, module, variables, x)
    rest = {k: v for k, v in variables.items() if k != "params"}
    for part, half in (("conv", y[..., :2]), ("transposed", y[..., 2:])):
        kernel = Kernel((3, 3, 3, 2), -1 if part == "conv" else -2, 1, norm).apply(
            {"params": variables["params"][part], **{k: v[part] for k, v in rest.items()}}
        )
        kernel = kernel if part == "conv" else jnp.flip(kernel, (0, 1))
        expected = correlate(x, kernel, 1) + variables["params"][f"{part}_bias"]
        np.testing.assert_allclose(half, expected, atol=1e-5)


def test_dense_layers_flatten_channels_first():
    sizes, output = ((2, 2, 3), (1, 4, 1)), (3, 1, 2)
    module = DenseNet(sizes, 1, output, "weight")
    variables = module.init(jax.random.key(0))
    inputs = [jax.random.normal(jax.random.key(i), (h, w, 5, c)) for i, (c, h, w) in enumerate(sizes)]
    found = jax.jit(lambda v, x: run_dense(module.apply(v), x, jnp.tanh))(variables, inputs)
    params = variables["params"]
    hidden = jnp.concatenate([x.transpose(2, 3, 0, 1).reshape(5, -1) for x in inputs], 1)
    for index in range(3):
        hidden = hidden @ params[f"layer_{index}"]["kernel"] + params[f"bias_{index}"]
        hidden = jnp.tanh(hidden) if index < 2 else hidden
    np.testing.assert_allclose(found.transpose(2, 3, 0, 1).reshape(5, -1), hidden, atol=1e-5)
    assert set(params["layer_0"]) == {"kernel", "scale"}
    assert set(params["layer_2"]) == {"kernel"}  # the last layer is never normalised


def test_parameters_start_within_the_fan_in_bound():
    params = Pointwise(16, 200).init(jax.random.key(0))["params"]
    for each in params.values():
        assert 0.2 < float(jnp.abs(each).max()) <= 0.25
    plan = conv.plan((6, 6), 3, 1, (4, 4), None, "direct")
    params = DenseBlock(plan, Kind.CONV, 6, 4, "weight").init(jax.random.key(0))["params"]
    assert float(jnp.abs(params["cct"]["conv"]["kernel"]).max()) <= (4 * 9) ** -0.5


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_their_slope_at_zero(name):
    phi = ACTIVATIONS[name]
    values, slopes = {
        "swish": ([-0.26894142, 0.0, 0.7310586], 0.5),
        "leaky_relu": ([-0.01, 0.0, 1.0], 0.01),
        "relu": ([0.0, 0.0, 1.0], 0.0),
    }[name]
    np.testing.assert_allclose(phi(jnp.array([-1.0, 0.0, 1.0])), values, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(phi)(0.0), slopes, rtol=1e-6)
    assert {"swish": swish, "leaky_relu": leaky_relu}.get(name, phi) is phi


@pytest.mark.parametrize(("kernel", "pads"), [(1, 0), (3, 1), (7, 3), (11, 5)])
def test_main_kernels_keep_the_size(kernel, pads):
    assert main_pads(kernel) == pads
