"""Initial values of weights and biases.

Each initializer is a function (key, shape, scale, dtype) -> array. `scale` is the standard deviation of the random
ones (0.1 unless said otherwise: the value of the experiment suite) and is ignored by the fan-scaled ones.
"""

from typing import Any

import jax
import jax.numpy as jnp

from v1models.gaussians import GaussianBounds


def _normal(key, shape, scale, dtype):
    return scale * jax.random.normal(key, shape, dtype)


def _half_normal(key, shape, scale, dtype):
    return jnp.abs(_normal(key, shape, scale, dtype))


def _truncated_normal(key, shape, scale, dtype):
    return scale * jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype)


def _zeros(key, shape, scale, dtype):
    return jnp.zeros(shape, dtype)


def _ones(key, shape, scale, dtype):
    return jnp.ones(shape, dtype)


def _lecun_normal(key, shape, scale, dtype):
    return jax.nn.initializers.lecun_normal()(key, shape, dtype)


def _he_normal(key, shape, scale, dtype):
    return jax.nn.initializers.he_normal()(key, shape, dtype)


INITIALIZERS = {
    "normal": _normal,  # N(0, scale²)
    "half_normal": _half_normal,  # |N(0, scale²)|: what NDN3 calls trunc_normal
    "truncated_normal": _truncated_normal,  # N(0, scale²) cut at ±2 scale
    "zeros": _zeros,
    "ones": _ones,
    "lecun_normal": _lecun_normal,  # N(0, 1/fan_in)
    "he_normal": _he_normal,  # N(0, 2/fan_in)
}


def initial_gaussians(
    key: jax.Array, filters: int, bounds: GaussianBounds, y_offset: float = 0.0, dtype: Any = jnp.float32
) -> jax.Array:
    """Parameters of difference-of-Gaussians filters, each uniform within its bounds.

    Args:
        key: of the draw.
        filters: their number F.
        bounds: a GaussianBounds.
        y_offset: pixels added to the y center after the draw (2 in NDN3, which starts about 2/27 of the centers of a
            31-pixel image outside their bound).
        dtype: of the result.

    Returns:
        (2, 4, F).
    """
    lower = jnp.asarray([bound[0] for bound in bounds], dtype)[None, :, None]
    upper = jnp.asarray([bound[1] for bound in bounds], dtype)[None, :, None]
    draws = jax.random.uniform(key, (2, 4, filters), dtype)
    shift = jnp.asarray([0.0, 0.0, 0.0, y_offset], dtype)[None, :, None]
    return lower + draws * (upper - lower) + shift
