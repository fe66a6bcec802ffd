"""Underdamped Langevin dynamics with an exact noise term: the project's default sampler, one gradient per step.

    ds = K p dt,    dp = -∂E/∂s dt - γ p dt + sqrt(2 γ T K⁻¹) dW        distribution:  exp(-(E(s) + ½ pᵀKp) / T)

One step of size h starts with the only gradient, at the current position:

    B   p ← p - h ∂E/∂s
    A   s ← s + ½h K p
    O   p ← e^{-c} p + sqrt(T (1 - e^{-2c})) K^{-1/2} z,    z ~ N(0, 1),    c = γh
    A   s ← s + ½h K p

This is BAOAB (Leimkuhler & Matthews, Appl. Math. Res. Express 2013) with its two half kicks, which meet at the same
position, done as one.  Positions are BAOAB's; the momentum carried is the one before the kick (BAOAB's own is half a
kick later).  So nothing but position and momentum is carried, and a change of weights between phases needs no care.

What is exact: friction and noise (an Ornstein-Uhlenbeck process, solved exactly for any c); for a Gaussian target in a
space without walls the whole covariance of the positions, at every stable step size (h² times the largest eigenvalue of
K ∂²E below 4), for every K.  In general, the distribution of the positions is off by O(h²), and by O(h⁴) for large c.

Near a reflecting wall the force f that pushes a unit against it sets the scale: the mean distance should be T/f.
A kick does not know when in the step the bounce comes, and the mismatch heats.  Measured mean distance over T/f:

    h f / sqrt(T)      0.2     0.7     2.2
    friction 0.1       1.01    1.4     7
    friction 1         1.01    1.04    2.4

So at low temperatures saturated units stay further from their walls than they should, unless h is small.  The
samplers of `metropolis` have no such error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nrf.samplers.base import GradientFn, Position, kernel_from_update, temperatures_of, zeros_like
from nrf.samplers.boundaries import bounds_per_layer, check_bounds
from nrf.samplers.integrators import drift, kick
from nrf.samplers.mass import check_mass, couple, inverse_mass, kinetic_temperature, matrix_function
from nrf.samplers.options import check_number, each_layer


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options; per layer, a value or a tuple of one per layer that moves.

    Raises:
        ValueError: a value out of range.
    """

    step_size: Any = 0.1  # per layer: h, units of state per sqrt(energy)
    friction: Any = 0.1  # per layer: c = γh; the momentum decays by e^{-c} a step (1 and more: nearly overdamped)
    temperature: Any = 1.0  # per layer: T, units of energy
    mass: Any = "diagonal"  # per layer: 'diagonal' or 'circulant', see `mass`
    coupling_sd: Any = None  # per layer: width of a circulant mass in channels, None for the published one
    bounds: Any = None  # see `boundaries`
    boundary: str = "reflect"  # 'reflect', 'clamp' or 'none'

    def __post_init__(self):
        check_number("step_size", self.step_size, above=0)
        check_number("friction", self.friction, above=0)
        check_number("temperature", self.temperature, at_least=0)
        check_mass(self.mass, self.coupling_sd)
        check_bounds(self.bounds, self.boundary)


class UnderdampedState(NamedTuple):
    """Carried from step to step."""

    position: Position  # layers (B, ..., C), units of state
    momentum: Position  # like position, distribution N(0, T K⁻¹), units of sqrt(energy); the one before the kick


def init(position: Position, gradient_fn: GradientFn | None = None) -> UnderdampedState:
    """State at rest at a position; the momentum takes about 1/friction steps to reach its temperature."""
    return UnderdampedState(position, zeros_like(position))


def build_update(options: Options):
    """Build update(state, gradient, normals, temperature=None) -> (state, effective temperatures), without randomness.

    gradient, normals: like the position; normals: the N(0, 1) draws to use; temperature: takes the option's place.
    """

    def update(state: UnderdampedState, gradient: Position, normals: Position, temperature: Any = None):
        layers, structure = jax.tree.flatten(state.position)
        momenta = jax.tree.leaves(state.momentum)
        settings = each_layer(options, len(layers), temperature=temperature)
        walls = bounds_per_layer(options.bounds, options.boundary, len(layers))
        for i, (force, normal) in enumerate(zip(jax.tree.leaves(gradient), jax.tree.leaves(normals), strict=True)):
            own = settings[i]
            matrix = inverse_mass(own.mass, layers[i].shape[-1], own.coupling_sd)
            # M^(1/2) = K^(-1/2) shapes white noise into momenta of covariance K⁻¹.
            root = None if matrix is None else matrix_function(matrix, lambda values: values**-0.5)
            geometry = {"inverse_mass": matrix, "bounds": walls[i], "boundary": options.boundary}
            library = jnp if isinstance(own.friction, jax.Array) else math
            decay = library.exp(-own.friction)
            spread = jnp.sqrt(own.temperature * -library.expm1(-2 * own.friction))
            momentum = kick(momenta[i], force, own.step_size)
            layer, momentum = drift(layers[i], momentum, 0.5 * own.step_size, **geometry)
            momentum = decay * momentum + spread.astype(momentum.dtype) * couple(root, normal)
            layers[i], momenta[i] = drift(layer, momentum, 0.5 * own.step_size, reverse=True, **geometry)

        state = UnderdampedState(*(jax.tree.unflatten(structure, x) for x in (layers, momenta)))
        return state, temperatures_of(settings)

    return update


def build_kernel(options: Options):
    """Build kernel(key, state, gradient_fn, temperature=None) -> (state, info), sampling exp(-E/T).

    A temperature given to the kernel takes the place of the option, so that it can change from step to step.
    """
    return kernel_from_update(build_update(options))


def momentum_temperature(options: Options, state: UnderdampedState) -> jax.Array:
    """Mean of p K p over images and units, (layers,): T in the stationary distribution."""
    return kinetic_temperature(options.mass, options.coupling_sd, state.momentum)
