"""Activation functions by name; `softplus` is written out because it was a seventh of a training step on a CPU."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

# Coefficients 1/(2k + 1) of ln(1 + u) = 2 artanh(z), z = u/(2 + u) ≤ 1/3: eight terms reach float32's precision.
_ARTANH_COEFFICIENTS = tuple(1 / (2 * k + 1) for k in range(8))


@jax.custom_jvp
def softplus(x: jax.Array) -> jax.Array:
    """ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|).

    In float32 the logarithm is a polynomial, accurate to rounding for small e^−|x| too and several times faster than
    log1p on a CPU.
    """
    small = jnp.exp(-jnp.abs(x))
    if x.dtype != jnp.float32:
        return jnp.maximum(x, 0) + jnp.log1p(small)
    z = small / (2 + small)
    square = z * z
    series = jnp.full_like(z, _ARTANH_COEFFICIENTS[-1])
    for coefficient in reversed(_ARTANH_COEFFICIENTS[:-1]):
        series = series * square + coefficient
    return jnp.maximum(x, 0) + 2 * z * series


@softplus.defjvp
def _softplus_derivative(primals, tangents):
    return softplus(primals[0]), jax.nn.sigmoid(primals[0]) * tangents[0]


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "linear": lambda x: x,
    "relu": jax.nn.relu,
    "leaky_relu": lambda x: jnp.where(x > 0, x, 0.1 * x),
    "softplus": softplus,
    "exponential": jnp.exp,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "quadratic": jnp.square,
    "elu": jax.nn.elu,
    "rectified_quadratic": lambda x: jnp.square(jax.nn.relu(x)),
}
