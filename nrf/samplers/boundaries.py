"""The walls of the state space: reflecting, clamping, or none.

States live in the range of the state activation (hardtanh [-1, 1], hardsig [0, 1], relu: latents [0, ∞)).  What happens
at a wall decides the distribution that is sampled:

* reflect: a trajectory bounces, position folded back and momentum reversed.  What is sampled is the target restricted
  to the box, exp(-E/T) inside and nothing outside.
* clamp: a position beyond the wall is set onto it and keeps its momentum, as published.  Mass piles up on the walls, so
  the restricted target is not what is sampled.
* none: no walls; the range of the activation acts on the networks' inputs only.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from nrf.samplers.options import check_choice, is_per_layer

Bounds = tuple[float, float]

BOUNDARIES = ("reflect", "clamp", "none")
UNBOUNDED: Bounds = (-math.inf, math.inf)


def check_bounds(bounds: Any, boundary: str, allowed: tuple[str, ...] = BOUNDARIES) -> None:
    """Check the two options `bounds` and `boundary`.

    bounds: None (no walls), one pair (low, high) for all layers, or a tuple of such pairs, one per layer that moves; a
    side may be infinite.  Raises ValueError for anything else, for an empty box, and for an unknown boundary.
    """
    check_choice("boundary", boundary, allowed)
    if bounds is None:
        return
    if not is_per_layer(bounds):
        raise ValueError(f"sampler option 'bounds' must be (low, high) or one such pair per layer, not {bounds!r}.")
    for pair in bounds if all(is_per_layer(b) for b in bounds) else (bounds,):
        if not is_per_layer(pair) or len(pair) != 2 or not all(isinstance(b, int | float) for b in pair):
            raise ValueError(f"sampler option 'bounds' must be (low, high) or one such pair per layer, not {bounds!r}.")
        low, high = pair
        if not low < high:
            raise ValueError(f"sampler option 'bounds' has the empty range ({low}, {high}); low must be below high.")


def bounds_per_layer(bounds: Any, boundary: str, num_layers: int) -> tuple[Bounds, ...]:
    """One pair (low, high) per layer; infinite where there are no walls.

    Raises ValueError when there are pairs for another number of layers.
    """
    if bounds is None or boundary == "none":
        return (UNBOUNDED,) * num_layers
    pairs = tuple(bounds) if all(is_per_layer(b) for b in bounds) else (tuple(bounds),) * num_layers
    if len(pairs) != num_layers:
        raise ValueError(
            f"sampler option 'bounds' has {len(pairs)} pairs but {num_layers} layers move here; "
            f"give one pair for all of them or one per moving layer."
        )
    return tuple((float(low), float(high)) for low, high in pairs)


def reflect(position: jax.Array, bounds: Bounds) -> tuple[jax.Array, jax.Array]:
    """Fold positions back into the box as if each had bounced off its walls, however often.

        box [a, b], w = b - a:   y = (s - a) mod 2w,   s' = a + w - |w - y|,   reversed where y > w

    position: any shape, in units of state.  Returns the folded position and a boolean array that is true where the
    number of bounces is odd, so where the velocity is reversed.  Positions inside the box come back bit for bit.
    """
    low, high = bounds
    if bounds == UNBOUNDED:
        return position, jnp.zeros(position.shape, bool)
    if high == math.inf:
        outside = position < low
        return jnp.where(outside, 2 * low - position, position), outside
    if low == -math.inf:
        outside = position > high
        return jnp.where(outside, 2 * high - position, position), outside
    width = high - low
    outside = (position < low) | (position > high)
    phase = jnp.mod(position - low, 2 * width)
    folded = jnp.clip(low + width - jnp.abs(width - phase), low, high)
    return jnp.where(outside, folded, position), outside & (phase > width)


def clamp(position: jax.Array, bounds: Bounds) -> jax.Array:
    """Positions set onto the wall they have crossed: max(low, min(s, high))."""
    return position if bounds == UNBOUNDED else jnp.clip(position, bounds[0], bounds[1])
