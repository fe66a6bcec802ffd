"""Constraints on weights: signs, norms, and what happens to gradients exactly at a kink.

A constrained weight is stored free and constrained *in the forward pass*: the optimizer moves w, the model uses
max(w, 0) or w/‖w‖. Two consequences matter for exact comparisons between programs:

* penalties are taken on the constrained weights, so that a weight hidden by the clamp costs nothing;
* a kink has no derivative, so every framework picks one. Weights sit exactly at zero more often than one would
  think (half of a clamped normal initialization does), hence the choice is written out here instead of inherited
  from the array library.
"""

from typing import Any

import jax
import jax.numpy as jnp

from runtime.errors import ConfigError

NORMALIZATIONS = ("none", "unit", "cap", "frobenius", "frobenius_unscaled_penalty")

# Below this sum of squares a column counts as zero; keeps w/‖w‖ and its gradient finite.
SQUARED_NORM_FLOOR = 1e-12


def clamp_non_negative(weights: jax.Array, gradient_at_zero: float = 1.0) -> jax.Array:
    """max(w, 0), with the derivative at w = 0 chosen.

    Args:
        weights: any shape.
        gradient_at_zero: 1 (a weight at the border can come back) or 0 (it stays).
    """
    inside = weights >= 0 if gradient_at_zero else weights > 0
    return jnp.where(inside, weights, jnp.zeros_like(weights))


def clip_with_open_border(values: jax.Array, lower: float | jax.Array, upper: float | jax.Array) -> jax.Array:
    """max(min(v, upper), lower), with derivative 1 inside *and* at the bounds and 0 outside.

    When the bounds cross (lower > upper) every value becomes `lower`.

    Args:
        values: any shape.
        lower, upper: numbers.
    """
    below_upper = jnp.where(values > upper, jnp.full_like(values, upper), values)
    return jnp.where(below_upper < lower, jnp.full_like(values, lower), below_upper)


def unit_columns(weights: jax.Array, axis: int | None = 0) -> jax.Array:
    """w / ‖w‖₂ along `axis`, one norm for each output."""
    squared = jnp.sum(jnp.square(weights), axis=axis, keepdims=True)
    floored = jnp.where(squared > SQUARED_NORM_FLOOR, squared, SQUARED_NORM_FLOOR)
    return weights / jnp.sqrt(floored)


def normalize(weights: jax.Array, how: str) -> tuple[jax.Array, jax.Array]:
    """Normalize a weight matrix; returns (the weights used, the weights that penalties see).

    'none' w; 'unit' w/‖w‖ per output; 'cap' w/max(‖w‖, 1) per output; 'frobenius' N·w/‖w‖_F over the whole matrix,
    N outputs. 'frobenius_unscaled_penalty' is the last with penalties taken on w/‖w‖_F (NDN3 does that).

    Args:
        weights: (inputs, outputs).
        how: one of NORMALIZATIONS.
    """
    if how == "none":
        return weights, weights
    if how == "unit":
        weights = unit_columns(weights)
        return weights, weights
    if how == "cap":
        squared = jnp.sum(jnp.square(weights), axis=0, keepdims=True)
        weights = weights / jnp.sqrt(jnp.where(squared >= 1.0, squared, 1.0))
        return weights, weights
    if how in ("frobenius", "frobenius_unscaled_penalty"):
        unit = unit_columns(weights, axis=None)
        scaled = unit * weights.shape[1]
        return scaled, (scaled if how == "frobenius" else unit)
    raise ConfigError(f"normalization is {how!r}; choose one of {', '.join(NORMALIZATIONS)}.")


def inhibitory_signs(features: int, inhibitory: int, dtype: Any = jnp.float32) -> jax.Array:
    """(features,) of +1, the last `inhibitory` of them −1: outputs are multiplied by it after the activation."""
    return jnp.where(jnp.arange(features) < features - inhibitory, 1, -1).astype(dtype)
