"""Overdamped Langevin dynamics: no inertia, positions alone.

    ds = -∂E/∂s dt + sqrt(2T) dW        distribution:  exp(-E(s) / T)

Two discretisations of step ε, one gradient a step each:

* 'leimkuhler-matthews' (default):  s ← s - ε ∂E/∂s + sqrt(2εT) (z + z') / 2, where z' is fresh and z the draw of the
  step before.  Averaging successive draws cancels the leading error: the covariance of a Gaussian target is exact at
  every stable step size (ε times the largest curvature below 2), other distributions are off by O(ε²).
* 'euler':  s ← s - ε ∂E/∂s + sqrt(2εT) z (Euler-Maruyama; the "unadjusted Langevin algorithm").  Off by O(ε): in a
  harmonic well of curvature k the variance is T / (k (1 - εk/2)), at ε = 0.1 and k = 1 five per cent too large.

The first is the limit of infinite friction of the underdamped sampler (BAOAB with h = sqrt(2ε)), and is run as such:
two half moves of sqrt(ε/2) along z and z', each bouncing off the walls, so that a bounce also turns the draw carried
over.  Reflected Euler steps fold the end of the step back into the box.

Leimkuhler & Matthews, Appl. Math. Res. Express 2013; Roberts & Tweedie, Bernoulli 1996 (the Euler scheme).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nrf.samplers.base import GradientFn, Position, kernel_from_update, temperatures_of, zeros_like
from nrf.samplers.boundaries import bounds_per_layer, check_bounds
from nrf.samplers.integrators import drift, kick
from nrf.samplers.options import check_choice, check_number, each_layer

SCHEMES = ("leimkuhler-matthews", "euler")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options; per layer, a value or a tuple of one per layer that moves.

    Raises:
        ValueError: a value out of range.
    """

    step_size: Any = 0.01  # per layer: ε, units of state² per energy; an underdamped step h covers about ε = h²/2
    temperature: Any = 1.0  # per layer: T, units of energy
    scheme: str = "leimkuhler-matthews"  # or 'euler'
    bounds: Any = None  # see `boundaries`
    boundary: str = "reflect"  # 'reflect', 'clamp' or 'none'

    def __post_init__(self):
        check_number("step_size", self.step_size, above=0)
        check_number("temperature", self.temperature, at_least=0)
        check_choice("scheme", self.scheme, SCHEMES)
        check_bounds(self.bounds, self.boundary)


class LangevinState(NamedTuple):
    """Carried from step to step."""

    position: Position  # layers (B, ..., C), units of state
    noise: Position  # like position; sqrt(T) z, the draw carried over, units of sqrt(energy); zeros for 'euler'

    @property
    def momentum(self) -> None:
        """None: there is no inertia."""
        return None


def init(position: Position, gradient_fn: GradientFn | None = None) -> LangevinState:
    """State at a position; the first step has half of the noise, as there is no draw before it."""
    return LangevinState(position, zeros_like(position))


def build_update(options: Options):
    """Build update(state, gradient, normals, temperature=None) -> (state, effective temperatures), without randomness.

    gradient, normals: like the position; normals: the N(0, 1) draws to use; temperature: takes the option's place.
    """

    def update(state: LangevinState, gradient: Position, normals: Position, temperature: Any = None):
        layers, structure = jax.tree.flatten(state.position)
        carried = jax.tree.leaves(state.noise)
        settings = each_layer(options, len(layers), temperature=temperature)
        walls = bounds_per_layer(options.bounds, options.boundary, len(layers))
        for i, (force, normal) in enumerate(zip(jax.tree.leaves(gradient), jax.tree.leaves(normals), strict=True)):
            own = settings[i]
            geometry = {"bounds": walls[i], "boundary": options.boundary}
            fresh = jnp.sqrt(jnp.asarray(own.temperature, layers[i].dtype)) * normal
            if options.scheme == "euler":
                stride = jnp.sqrt(2.0 * jnp.asarray(own.step_size, layers[i].dtype))
                # The kick that turns into -ε ∂E/∂s after a move of sqrt(2ε).
                layers[i], _ = drift(layers[i], kick(fresh, force, 0.5 * stride), stride, **geometry)
            else:
                half = jnp.sqrt(0.5 * jnp.asarray(own.step_size, layers[i].dtype))
                layer, _ = drift(layers[i], kick(carried[i], force, 2 * half), half, **geometry)
                layers[i], carried[i] = drift(layer, fresh, half, **geometry)

        state = LangevinState(*(jax.tree.unflatten(structure, x) for x in (layers, carried)))
        return state, temperatures_of(settings)

    return update


def build_kernel(options: Options):
    """Build kernel(key, state, gradient_fn, temperature=None) -> (state, info), sampling exp(-E/T).

    A temperature given to the kernel takes the place of the option.
    """
    return kernel_from_update(build_update(options))
