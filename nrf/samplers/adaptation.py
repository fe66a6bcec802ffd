"""The burn-in of adaptive SGHMC: every unit's step is scaled by the inverse root of its gradient's second moment v̂.

Springenberg, Klein, Falkner & Hutter (NeurIPS 2016) learn v̂ during burn-in and then freeze it:

    r = 1/(τ+1),  m = 1/√v̂                                            (values before this step's adaptation)
    in burn-in:  τ ← τ + 1 - τ g²/v̂;   g ← g + r (G - g);   v̂ ← v̂ + r (G² - v̂)          (old values on the right)

with G = ∂E/∂s, and τ = g = v̂ = 1, p = 0 at the start of every phase.  `sghmc` and `sghmc_published` share it.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nrf.samplers.base import GradientFn, Position, zeros_like


class SGHMCState(NamedTuple):
    """Carried from step to step; every field but the last has the structure and shapes of the position."""

    position: Position  # layers (B, ..., C), units of state
    momentum: Position  # published: p, units of state per step, before K; exact: q = p/(ε√m), units of sqrt(energy)
    tau: Position  # τ, length of the averaging window in steps
    gradient_mean: Position  # g, running mean of the gradient, energy per unit of state
    gradient_square: Position  # v̂, running mean of its square
    step: jax.Array  # int32 scalar, steps taken


def init(position: Position, gradient_fn: GradientFn | None = None) -> SGHMCState:
    """State at rest with the adaptation at its start: τ = g = v̂ = 1, p = 0."""
    ones = jax.tree.map(jnp.ones_like, position)
    return SGHMCState(position, zeros_like(position), ones, ones, ones, jnp.int32(0))


def preconditioner(square: jax.Array, mean_over_batch: bool) -> jax.Array:
    """m = 1/√v̂ of one layer, (B, ..., C); its mean over the batch where that is asked for."""
    m = 1.0 / jnp.sqrt(square)
    return jnp.broadcast_to(jnp.mean(m, 0, keepdims=True), square.shape) if mean_over_batch else m


def adapt(tau: jax.Array, mean: jax.Array, square: jax.Array, gradient: jax.Array):
    """One burn-in update of (τ, g, v̂) by a gradient, all arrays alike (equations in the module's docstring)."""
    rate = 1.0 / (tau + 1.0)
    return (
        tau + 1.0 - tau * mean * mean / square,
        mean + rate * (gradient - mean),
        square + rate * (gradient * gradient - square),
    )


def adapted(state: SGHMCState, gradient: Position, num_burn_in: int) -> SGHMCState:
    """The state with (τ, g, v̂) adapted while the burn-in lasts, and the step counted."""
    step = state.step + 1
    burning_in = step <= num_burn_in
    structure = jax.tree.structure(state.position)
    old = [jax.tree.leaves(field) for field in (state.tau, state.gradient_mean, state.gradient_square)]
    new = []
    for *before, force in zip(*old, jax.tree.leaves(gradient), strict=True):
        after = adapt(*before, force)
        new.append([jnp.where(burning_in, a, b) for a, b in zip(after, before, strict=True)])
    tau, mean, square = (jax.tree.unflatten(structure, field) for field in zip(*new, strict=True))
    return state._replace(tau=tau, gradient_mean=mean, gradient_square=square, step=step)
