"""Underdamped Langevin dynamics with an exact noise term: the project's default sampler, one gradient per step.

    ds = K p dt,    dp = -∂E/∂s dt - γ p dt + sqrt(2 γ T K⁻¹) dW        law:  exp(-(E(s) + ½ pᵀKp) / T)

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
K ∂²E below 4), for every K.  In general, the law of the positions is off by O(h²), and by O(h⁴) for large c.

Near a reflecting wall the force f that pushes a unit against it sets the scale: the law wants a mean distance of T/f.
A kick does not know when in the step the bounce comes, and the mismatch heats.  Measured mean distance over T/f:

    h f / sqrt(T)      0.2     0.7     2.2
    friction 0.1       1.01    1.4     7
    friction 1         1.01    1.04    2.4

So at low temperatures saturated units stay further from their walls than the law wants, unless h is small.  The
samplers of `referee` have no such error.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from blackjax.base import SamplingAlgorithm

from nrf.samplers.base import GradientFn, Position, kernel_from_update, temperatures_of_layers, zeros_like
from nrf.samplers.boundaries import bounds_per_layer, check_bounds
from nrf.samplers.integrators import drift, kick
from nrf.samplers.mass import MASSES, couple, inverse_mass, matrix_function
from nrf.samplers.options import check_choice, check_number, per_layer


class UnderdampedState(NamedTuple):
    """Carried from step to step."""

    position: Position  # layers (B, ..., C), units of state
    momentum: Position  # like position, law N(0, T K⁻¹), units of sqrt(energy); the one before the kick


def init(position: Position, gradient_fn: GradientFn | None = None) -> UnderdampedState:
    """State at rest at a position; the momentum takes about 1/friction steps to reach its temperature."""
    return UnderdampedState(position, zeros_like(position))


def build_update(
    step_size: Any = 0.1,
    friction: Any = 0.1,
    temperature: Any = 1.0,
    mass: Any = "diagonal",
    coupling_sd: Any = None,
    bounds: Any = None,
    boundary: str = "reflect",
):
    """Build update(state, gradient, normals, temperature=None) -> (state, effective temperatures), without randomness.

    gradient, normals: like the position; normals: the N(0, 1) draws to use.  Options as in `build_kernel`.
    """
    check_number("step_size", step_size, above=0)
    check_number("friction", friction, above=0)
    check_number("temperature", temperature, at_least=0)
    check_choice("mass", mass, MASSES)
    if coupling_sd is not None:
        check_number("coupling_sd", coupling_sd, above=0)
    check_bounds(bounds, boundary)

    def update(state: UnderdampedState, gradient: Position, normals: Position, temperature=temperature):
        layers, structure = jax.tree.flatten(state.position)
        momenta = jax.tree.leaves(state.momentum)
        count = len(layers)
        steps = per_layer("step_size", step_size, count)
        frictions = per_layer("friction", friction, count)
        temperatures = per_layer("temperature", temperature, count)
        masses = per_layer("mass", mass, count)
        widths = per_layer("coupling_sd", coupling_sd, count)
        walls = bounds_per_layer(bounds, boundary, count)

        forces, draws = jax.tree.leaves(gradient), jax.tree.leaves(normals)
        for i, (force, normal) in enumerate(zip(forces, draws, strict=True)):
            matrix = inverse_mass(masses[i], layers[i].shape[-1], widths[i])
            # M^(1/2) = K^(-1/2) shapes white noise into momenta of covariance K⁻¹.
            root = None if matrix is None else matrix_function(matrix, lambda values: values**-0.5)
            geometry = {"inverse_mass": matrix, "bounds": walls[i], "boundary": boundary}
            decay = math.exp(-frictions[i])
            spread = jnp.sqrt(temperatures[i] * -math.expm1(-2 * frictions[i]))
            momentum = kick(momenta[i], force, steps[i])
            layer, momentum = drift(layers[i], momentum, 0.5 * steps[i], **geometry)
            momentum = decay * momentum + spread.astype(momentum.dtype) * couple(root, normal)
            layers[i], momenta[i] = drift(layer, momentum, 0.5 * steps[i], reverse=True, **geometry)

        state = UnderdampedState(*(jax.tree.unflatten(structure, x) for x in (layers, momenta)))
        return state, temperatures_of_layers(temperatures)

    return update


def build_kernel(**options):
    """Build kernel(key, state, gradient_fn, temperature=None) -> (state, info), sampling exp(-E/T).

    Per layer, a value or a tuple of one per layer that moves: step_size h (units of state per sqrt(energy));
    friction c = γh, the momentum decaying by e^{-c} a step (0.1: memory of ten steps; 1 and more: nearly overdamped);
    temperature T (units of energy); mass 'diagonal' or 'circulant' (see `mass`) with coupling_sd, its width in
    channels.  bounds, boundary: see `boundaries`.  A temperature given to the kernel takes the place of the option, so
    that it can change from step to step.
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
