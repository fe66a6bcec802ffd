"""Overdamped Langevin dynamics: no inertia, positions alone.

    ds = -∂E/∂s dt + sqrt(2T) dW        law:  exp(-E(s) / T)

Two discretisations of step ε, one gradient a step each:

* 'leimkuhler-matthews' (default):  s ← s - ε ∂E/∂s + sqrt(2εT) (z + z') / 2, where z' is fresh and z the draw of the
  step before.  Averaging successive draws cancels the leading error: the covariance of a Gaussian target is exact at
  every stable step size (ε times the largest curvature below 2), other laws are off by O(ε²).
* 'euler':  s ← s - ε ∂E/∂s + sqrt(2εT) z (Euler-Maruyama; the "unadjusted Langevin algorithm").  Off by O(ε): in a
  harmonic well of curvature k the variance is T / (k (1 - εk/2)), at ε = 0.1 and k = 1 five per cent too large.

The first is the limit of infinite friction of the underdamped sampler (BAOAB with h = sqrt(2ε)), and is run as such:
two half moves of sqrt(ε/2) along z and z', each bouncing off the walls, so that a bounce also turns the draw carried
over.  Reflected Euler steps fold the end of the step back into the box.

Leimkuhler & Matthews, Appl. Math. Res. Express 2013; Roberts & Tweedie, Bernoulli 1996 (the Euler scheme).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from blackjax.base import SamplingAlgorithm

from nrf.samplers.base import GradientFn, Position, kernel_from_update, temperatures_of_layers, zeros_like
from nrf.samplers.boundaries import bounds_per_layer, check_bounds
from nrf.samplers.integrators import drift, kick
from nrf.samplers.options import check_choice, check_number, per_layer

SCHEMES = ("leimkuhler-matthews", "euler")


class LangevinState(NamedTuple):
    """Carried from step to step."""

    position: Position  # layers (B, ..., C), units of state
    momentum: Position  # like position; sqrt(T) z, the draw carried over, units of sqrt(energy); zeros for 'euler'


def init(position: Position, gradient_fn: GradientFn | None = None) -> LangevinState:
    """State at a position; the first step has half of the noise, as there is no draw before it."""
    return LangevinState(position, zeros_like(position))


def build_update(
    step_size: Any = 0.01,
    temperature: Any = 1.0,
    scheme: str = "leimkuhler-matthews",
    bounds: Any = None,
    boundary: str = "reflect",
):
    """Build update(state, gradient, normals, temperature=None) -> (state, effective temperatures), without randomness.

    gradient, normals: like the position; normals: the N(0, 1) draws to use.  Options as in `build_kernel`.
    """
    check_number("step_size", step_size, above=0)
    check_number("temperature", temperature, at_least=0)
    check_choice("scheme", scheme, SCHEMES)
    check_bounds(bounds, boundary)

    def update(state: LangevinState, gradient: Position, normals: Position, temperature=temperature):
        layers, structure = jax.tree.flatten(state.position)
        momenta = jax.tree.leaves(state.momentum)
        count = len(layers)
        steps = per_layer("step_size", step_size, count)
        temperatures = per_layer("temperature", temperature, count)
        walls = bounds_per_layer(bounds, boundary, count)

        forces, draws = jax.tree.leaves(gradient), jax.tree.leaves(normals)
        for i, (force, normal) in enumerate(zip(forces, draws, strict=True)):
            geometry = {"bounds": walls[i], "boundary": boundary}
            fresh = jnp.sqrt(jnp.asarray(temperatures[i], layers[i].dtype)) * normal
            if scheme == "euler":
                stride = jnp.sqrt(2.0 * jnp.asarray(steps[i], layers[i].dtype))
                # The kick that turns into -ε ∂E/∂s after a move of sqrt(2ε).
                layers[i], _ = drift(layers[i], kick(fresh, force, 0.5 * stride), stride, **geometry)
            else:
                half = jnp.sqrt(0.5 * jnp.asarray(steps[i], layers[i].dtype))
                layer, _ = drift(layers[i], kick(momenta[i], force, 2 * half), half, **geometry)
                layers[i], momenta[i] = drift(layer, fresh, half, **geometry)

        state = LangevinState(*(jax.tree.unflatten(structure, x) for x in (layers, momenta)))
        return state, temperatures_of_layers(temperatures)

    return update


def build_kernel(**options):
    """Build kernel(key, state, gradient_fn, temperature=None) -> (state, info), sampling exp(-E/T).

    Per layer, a value or a tuple of one per layer that moves: step_size ε (units of state² per energy; an underdamped
    step h covers about the same ground as ε = h²/2); temperature T (units of energy).  scheme: see above.  bounds,
    boundary: see `boundaries`.  A temperature given to the kernel takes the place of the option.
    Raises ValueError for values out of range.
    """
    return kernel_from_update(build_update(**options))


def as_top_level_api(gradient_fn: GradientFn, **options) -> SamplingAlgorithm:
    """The sampler for one target: init(position), step(key, state).  Options as in `build_kernel`."""
    kernel = build_kernel(**options)
    return SamplingAlgorithm(
        lambda position, rng_key=None: init(position, gradient_fn),
        lambda key, state: kernel(key, state, gradient_fn),
    )
