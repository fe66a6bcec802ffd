"""Convolution as products of matrices, and pooling, against XLA's own, in value and in derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from v1models.convolution import convolve, max_pool


@pytest.mark.parametrize("channels", [1, 3, 9])
@pytest.mark.parametrize(
    ("kernel", "strides", "dilation", "padding"),
    [
        ((3, 3), (1, 1), 1, "SAME"),
        ((4, 5), (2, 3), 1, "SAME"),
        ((3, 2), (1, 2), 2, "SAME"),
        ((5, 5), (2, 2), 1, "VALID"),
        ((3, 3), (1, 1), 2, "VALID"),
        ((1, 7), (1, 4), 1, "SAME"),
    ],
)
def test_products_are_the_convolution(channels, kernel, strides, dilation, padding):
    keys = jax.random.split(jax.random.key(0), 3)
    activity = jax.random.normal(keys[0], (2, 9, 11, channels))
    weights = jax.random.normal(keys[1], (*kernel, channels, 4))
    results = []
    for as_products in (True, False):

        def run(activity, weights, as_products=as_products):
            return convolve(activity, weights, strides, dilation, padding, as_products)

        value, pull = jax.vjp(run, activity, weights)
        results.append((value, *pull(jax.random.normal(keys[2], value.shape))))
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_many_networks_at_once_are_each_by_itself():
    keys = jax.random.split(jax.random.key(1), 2)
    activity, weights = jax.random.normal(keys[0], (3, 2, 6, 6, 1)), jax.random.normal(keys[1], (3, 3, 3, 1, 2))
    together = jax.vmap(lambda a, w: convolve(a, w, (1, 1), 1, "SAME", True))(activity, weights)
    for index in range(3):
        alone = convolve(activity[index], weights[index], (1, 1), 1, "SAME", False)
        np.testing.assert_allclose(together[index], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("size", "side"), [((6, 9), 3), ((5, 7), 2), ((4, 4), 3), ((3, 3), 5)])
def test_pooling_takes_the_largest(size, side):
    activity = jax.random.normal(jax.random.key(2), (2, *size, 3))
    expected = nn.max_pool(activity, (side, side), strides=(side, side), padding="SAME")
    np.testing.assert_array_equal(max_pool(activity, side), expected)
    ours = jax.grad(lambda x: jnp.sum(jnp.square(max_pool(x, side))))(activity)
    theirs = jax.grad(lambda x: jnp.sum(jnp.square(nn.max_pool(x, (side, side), (side, side), "SAME"))))(activity)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
