"""Adaptive stochastic-gradient Hamiltonian Monte Carlo made exact: the stationary distribution is exp(-E/T).

`sghmc_published` is the algorithm as published.  Here, with m the preconditioner of `adaptation`, once v̂ is frozen, let
a = ε√m for each unit and q = p/a.  The dynamics that are Hamiltonian in (s, q), for any K and any m, are

    ds = a K q dt,   dq = -a G dt - c K q dt + sqrt(2cT) dW        distribution:  exp(-(E + ½ qᵀKq) / T),

friction operator cK against white noise of 2cT: the leading term of the published σ² (a² 2cT = 2ε²cm at T = 1) is this
balance.  With K = 1 these are the published dynamics; with coupled channels the published drift applies m on one side
only, K p, which has a stationary distribution in closed form only where m is the same for all channels; here the
inverse mass aKa is symmetric.  Euler steps, as published, add an error of order c and ε²m times the curvature.  Here it
is corrected by splitting, with the exact solution of each piece (BAOAB, half kicks merged as in `underdamped`):

    q ← q - aG;   s ← s + ½aKq;   q ← e^{-cK} q + sqrt(T K⁻¹(1 - e^{-2cK})) z;   s ← s + ½aKq

What error remains: none in the covariance of a Gaussian target without walls (at stable steps, ε²m times the curvature
below 4); O(ε²) in others.  During burn-in v̂ still follows the chain and nothing is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nrf.samplers.adaptation import SGHMCState, adapted, init, preconditioner
from nrf.samplers.base import Position, kernel_from_update, temperatures_of
from nrf.samplers.boundaries import bounds_per_layer, check_bounds
from nrf.samplers.integrators import drift, kick
from nrf.samplers.mass import check_mass, couple, inverse_mass, kinetic_temperature, matrix_function
from nrf.samplers.options import check_number, each_layer

__all__ = ["Options", "build_kernel", "build_update", "init", "momentum_temperature"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options; per layer, a value or a tuple of one per layer that moves.

    Raises:
        ValueError: a value out of range.
    """

    step_size: Any = 0.1  # per layer: ε
    friction: Any = 0.1  # per layer: c, the momentum decaying by e^{-c} a step
    temperature: Any = 1.0  # per layer: T, units of energy
    num_burn_in: int = 100  # steps during which v̂ adapts
    mean_batch_preconditioner: bool = False  # m averaged over the batch
    mass: Any = "diagonal"  # per layer: 'diagonal' or 'circulant', see `mass`
    coupling_sd: Any = None  # per layer: width of a circulant mass in channels, None for the published one
    bounds: Any = None  # see `boundaries`
    boundary: str = "reflect"  # 'reflect', 'clamp' or 'none'

    def __post_init__(self):
        check_number("step_size", self.step_size, above=0)
        check_number("friction", self.friction, above=0)
        check_number("temperature", self.temperature, at_least=0)
        check_number("num_burn_in", self.num_burn_in, at_least=0)
        check_mass(self.mass, self.coupling_sd)
        check_bounds(self.bounds, self.boundary)


def build_update(options: Options):
    """Build update(state, gradient, normals, temperature=None) -> (state, effective temperatures), without randomness.

    gradient, normals: like the position; normals: the N(0, 1) draws to use; temperature: takes the option's place.
    """

    def update(state: SGHMCState, gradient: Position, normals: Position, temperature: Any = None):
        layers, structure = jax.tree.flatten(state.position)
        momenta, squares = jax.tree.leaves(state.momentum), jax.tree.leaves(state.gradient_square)
        settings = each_layer(options, len(layers), temperature=temperature)
        walls = bounds_per_layer(options.bounds, options.boundary, len(layers))
        for i, (force, normal) in enumerate(zip(jax.tree.leaves(gradient), jax.tree.leaves(normals), strict=True)):
            own = settings[i]
            matrix = inverse_mass(own.mass, layers[i].shape[-1], own.coupling_sd)
            stride = own.step_size * jnp.sqrt(preconditioner(squares[i], options.mean_batch_preconditioner))
            geometry = {"inverse_mass": matrix, "bounds": walls[i], "boundary": options.boundary}
            momentum = kick(momenta[i], force, stride)
            layer, momentum = drift(layers[i], momentum, 0.5 * stride, **geometry)
            momentum = _thermostat(momentum, normal, matrix, own)
            layers[i], momenta[i] = drift(layer, momentum, 0.5 * stride, reverse=True, **geometry)
        position, momentum = (jax.tree.unflatten(structure, x) for x in (layers, momenta))
        state = adapted(state, gradient, options.num_burn_in)._replace(position=position, momentum=momentum)
        return state, temperatures_of(settings)

    return update


def _thermostat(momentum, normal, matrix, own):
    """Friction cK and its noise over one step, solved exactly."""
    root_heat = jnp.sqrt(jnp.asarray(own.temperature, momentum.dtype))
    if matrix is None:
        return np.exp(-own.friction) * momentum + np.sqrt(-np.expm1(-2 * own.friction)) * root_heat * normal
    decay = matrix_function(matrix, lambda k: np.exp(-own.friction * k))
    spread = matrix_function(matrix, lambda k: np.sqrt(-np.expm1(-2 * own.friction * k) / k))
    return couple(decay, momentum) + root_heat * couple(spread, normal)


def build_kernel(options: Options):
    """Build kernel(key, state, gradient_fn, temperature=None) -> (state, info), sampling exp(-E/T) after burn-in.

    A temperature given to the kernel takes the place of the option.
    """
    return kernel_from_update(build_update(options))


def momentum_temperature(options: Options, state: SGHMCState) -> jax.Array:
    """Mean of q K q over images and units, (layers,): T in the stationary distribution."""
    return kinetic_temperature(options.mass, options.coupling_sd, state.momentum)
