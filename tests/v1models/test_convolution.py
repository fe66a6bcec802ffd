"""Convolution as products of matrices, and pooling, against XLA's own, in value and in derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from v1models.convolution import convolve, max_pool
from v1models.layers.activations import softplus


@pytest.mark.parametrize(
    ("kernel", "strides", "dilation", "padding"),
    [
        ((3, 3), (1, 1), 1, "SAME"),
        ((4, 5), (2, 3), 1, "SAME"),
        ((3, 2), (1, 2), 2, "SAME"),
        ((5, 5), (2, 2), 1, "VALID"),
        ((3, 3), (1, 1), 2, "VALID"),
        ((1, 7), (1, 4), 1, "SAME"),
        ((21, 2), (12, 4), 1, "SAME"),
    ],
)
def test_products_are_the_convolution(kernel, strides, dilation, padding):
    draw = np.random.default_rng(0)
    inputs = {
        # A kernel of at least a quarter of the input's columns is a band, a narrower one of many channels shifted sums.
        (channels, columns): [draw.normal(size=size) for size in ((2, 9, columns, channels), (*kernel, channels, 4))]
        for channels, columns in ((1, 11), (3, 11), (9, 11), (9, 4 * kernel[1] + 1))
    }

    def value_and_derivatives(activity, weights, as_products):
        def run(activity, weights):
            return convolve(activity, weights, strides, dilation, padding, as_products)

        value, pull = jax.vjp(run, activity, weights)
        return value, *pull(jnp.cos(jnp.arange(value.size, dtype=value.dtype)).reshape(value.shape))

    @jax.jit
    def both(inputs):
        return [[value_and_derivatives(*pair, how) for pair in inputs.values()] for how in (True, False)]

    found, expected = both(jax.tree.map(jnp.float32, inputs))
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_many_networks_at_once_are_each_by_itself():
    draw = np.random.default_rng(1)
    activity, weights = (jnp.float32(draw.normal(size=size)) for size in ((3, 2, 6, 6, 1), (3, 3, 3, 1, 2)))
    together = jax.jit(jax.vmap(lambda a, w: convolve(a, w, (1, 1), 1, "SAME", True)))(activity, weights)
    one = jax.jit(lambda a, w: convolve(a, w, (1, 1), 1, "SAME", False))
    for index in range(3):
        alone = one(activity[index], weights[index])
        np.testing.assert_allclose(together[index], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("size", "side"), [((6, 9), 3), ((5, 7), 2), ((4, 4), 3), ((3, 3), 5)])
def test_pooling_takes_the_largest(size, side):
    def square_sum(pool, x):
        return jnp.sum(jnp.square(pool(x, side)))

    def theirs(x, side):
        return nn.max_pool(x, (side, side), strides=(side, side), padding="SAME")

    @jax.jit
    def both(x):
        values = max_pool(x, side), theirs(x, side)
        return values, [jax.grad(lambda x, pool=pool: square_sum(pool, x))(x) for pool in (max_pool, theirs)]

    activity = jnp.float32(np.random.default_rng(2).normal(size=(2, *size, 3)))
    (value, expected), (slope, expected_slope) = both(activity)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_allclose(slope, expected_slope, rtol=1e-6)


def test_the_derivative_of_a_pooled_activation_is_that_of_its_largest_value():
    """Also where the activation is computed several times, each time with another rounding (see `max_pool`)."""
    x = np.random.default_rng(0).normal(size=(4, 6, 6, 3)) * 3
    found = jax.jit(jax.grad(lambda x: jnp.sum(jnp.square(max_pool(softplus(x), 2)))))(jnp.float32(x))
    windows = x.reshape(4, 3, 2, 3, 2, 3)
    largest = (windows == windows.max((2, 4), keepdims=True)).reshape(x.shape)
    expected = np.where(largest, 2 * np.log1p(np.exp(x)) / (1 + np.exp(-x)), 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_pooling_does_not_hide_what_is_not_a_number():
    for place in np.ndindex(2, 2):
        assert np.isnan(max_pool(jnp.ones((1, 2, 2, 1)).at[0, *place].set(jnp.nan), 2)).all()
