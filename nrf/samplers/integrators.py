"""Integrators of Hamilton's equations for H(s, p) = E(s) + ½ pᵀKp, which take no key.

The flow is split into pieces that can be solved exactly:

    kick (B):   p ← p - h ∂E/∂s
    drift (A):  s ← s + h K p, bouncing off the walls of the box

Kick and drift preserve volume and are undone by reversing the momentum; so does every symmetric sequence of them, with
an energy error of O(h²).  Samplers put noise between the pieces.

Walls and coupled channels.  A wall at coordinate i acts along e_i.  The bounce that conserves ½ pᵀKp is

    v = Kp,    p_i ← p_i - 2 v_i / K_ii        (so v_i ← -v_i, and v_j ← v_j - 2 v_i K_ji / K_ii)

With a diagonal mass this is p_i ← -p_i, coordinates do not feel each other, and the drift with bounces is exact.  With
a coupled mass the bounce of one channel turns the velocity of its neighbours, and reversing v_i alone would change the
kinetic energy and thereby what is sampled.  Here the drift is split once more, into drifts of one group of mutually
uncoupled channels at a time, each solved exactly with its bounces.  In the interior those drifts commute, so that the
sweep equals the plain drift; at a wall each of them preserves the volume and ½ pᵀKp exactly.  A sweep run backwards
(`reverse`) undoes it, so that a sweep and its reverse around another piece make a symmetric step.

Leimkuhler & Matthews, Molecular Dynamics (2015), chapters 2 and 7; Afshar & Domke, NeurIPS 2015 (reflections).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from nrf.samplers.boundaries import UNBOUNDED, Bounds, clamp, reflect
from nrf.samplers.mass import couple


def kick(momentum: jax.Array, gradient: jax.Array, step: float | jax.Array) -> jax.Array:
    """p - h ∂E/∂s for one layer; step h is a scalar or an array like the layer."""
    return momentum - step * gradient


def drift(
    position: jax.Array,
    momentum: jax.Array,
    step: float | jax.Array,
    *,
    inverse_mass: np.ndarray | None = None,
    bounds: Bounds = UNBOUNDED,
    boundary: str = "reflect",
    reverse: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Move one layer along its momentum, s + h K p, and treat the walls.

    position, momentum: (..., C); step: scalar or array like the layer (units of state per unit of K p);
    inverse_mass: K (C, C) or None for the identity; reverse: run the channel sweep backwards.
    Returns the new position and momentum.
    """
    if boundary == "reflect" and bounds != UNBOUNDED:
        if inverse_mass is not None and np.count_nonzero(inverse_mass - np.diag(np.diag(inverse_mass))):
            return _sweep(position, momentum, step, inverse_mass, bounds, reverse)
        moved, reversed_ = reflect(position + step * couple(inverse_mass, momentum), bounds)
        return moved, jnp.where(reversed_, -momentum, momentum)
    moved = position + step * couple(inverse_mass, momentum)
    return (clamp(moved, bounds) if boundary == "clamp" else moved), momentum


def sweep_stride(inverse_mass: np.ndarray) -> int:
    """Smallest divisor of the number of channels at whose multiples channels are uncoupled."""
    channels = len(inverse_mass)
    distances = np.minimum(np.arange(channels), channels - np.arange(channels))
    band = int(distances[inverse_mass[0] != 0].max())
    return next(d for d in range(1, channels + 1) if channels % d == 0 and (d > band or d == channels))


def _sweep(position, momentum, step, inverse_mass, bounds, reverse):
    stride = sweep_stride(inverse_mass)
    diagonal = float(inverse_mass[0, 0])
    groups = [slice(first, None, stride) for first in range(stride)]
    step = jnp.broadcast_to(jnp.asarray(step, position.dtype), position.shape)
    velocity = couple(inverse_mass, momentum)
    positions = [position[..., g] for g in groups]
    momenta = [momentum[..., g] for g in groups]
    velocities = [velocity[..., g] for g in groups]
    order = list(range(stride))[:: -1 if reverse else 1]
    for place, i in enumerate(order):
        positions[i], bounced = reflect(positions[i] + step[..., groups[i]] * velocities[i], bounds)
        change = jnp.where(bounced, -2.0 * velocities[i] / diagonal, 0.0)
        momenta[i] = momenta[i] + change
        # Groups that have moved already are done with their velocity: only later ones need to hear of the bounce.
        for j in order[place + 1 :]:
            coupling = inverse_mass[groups[j], groups[i]]
            if np.any(coupling):
                velocities[j] = velocities[j] + couple(coupling, change)
    return _interleave(positions), _interleave(momenta)


def _interleave(groups: list[jax.Array]) -> jax.Array:
    stacked = jnp.stack(groups, axis=-1)
    return stacked.reshape(*stacked.shape[:-2], -1)
