"""What every sampler shares: the diagnostics of a step, the pair of functions that phases scan over, fresh noise.

A *position* is a tuple of arrays, one per layer that moves, each with the batch first and channels last
((B, H, W, C), or (B, C)).  A kernel sees the model only through

    gradient_fn(position) -> (energy (B,), gradient like position)

so it knows nothing of weights, clamped layers or networks.  Carried state and diagnostics are separate: the state is
what the next step needs, the info is what a reader wants to know about the step just taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Position = Any
GradientFn = Callable[[Position], tuple[jax.Array, Position]]


class SamplerInfo(NamedTuple):
    """Diagnostics of one step; energy and gradient belong to the position before the step."""

    energy: jax.Array  # (B,), energy of each chain
    gradient: Position  # like position, dE/ds in energy per unit of state
    effective_temperature: jax.Array  # (layers,), temperature at which the noise balances the friction; 0 for descent
    acceptance: jax.Array  # scalar in [0, 1], mean acceptance; 1 where there is no acceptance test


def move(state: Any, position: Position, gradient_fn: GradientFn) -> Any:
    """The state at another position, for samplers that remember nothing of the energy there."""
    return state._replace(position=position)


def no_temperature(*state: Any) -> None:
    """The answer of samplers whose momentum, if they have one, has no temperature: None."""


class Sampler(NamedTuple):
    """A sampler with its options fixed: all that a phase needs.

    A state has the fields `position` and `momentum`, which is None for samplers without inertia.
    """

    name: str
    init: Callable  # init(position, gradient_fn) -> state
    step: Callable  # step(key, state, gradient_fn) -> (state, info), pure: fit for jit, vmap, scan
    options: dict[str, Any]  # what it was made with, for the record of a run
    inertia: bool = True  # whether its states have a momentum
    # place(state, position, gradient_fn) -> state elsewhere, or under another energy, whatever it remembers renewed
    place: Callable = move
    # momentum_temperature(state) -> (layers,) mean of p K p over images and units: T in the stationary distribution
    momentum_temperature: Callable = no_temperature


def zeros_like(position: Position) -> Position:
    """Zeros of the position's structure, shapes and types."""
    return jax.tree.map(jnp.zeros_like, position)


def standard_normals(key: jax.Array, layers: list[jax.Array]) -> list[jax.Array]:
    """Independent N(0, 1) draws shaped like each layer, one key per layer."""
    keys = jax.random.split(key, len(layers))
    return [jax.random.normal(k, s.shape, s.dtype) for k, s in zip(keys, layers, strict=True)]


def kernel_from_update(update: Callable) -> Callable:
    """kernel(key, state, gradient_fn, temperature=None) -> (state, info) of a deterministic update and fresh noise.

    update(state, gradient, normals, temperature) -> (state, effective temperatures (layers,)); gradient and normals
    have the position's structure.  A temperature given to the kernel is handed on.
    """

    def kernel(key: jax.Array, state, gradient_fn: GradientFn, temperature=None):
        energy, gradient = gradient_fn(state.position)
        layers, structure = jax.tree.flatten(state.position)
        normals = jax.tree.unflatten(structure, standard_normals(key, layers))
        state, effective = update(state, gradient, normals, temperature)
        return state, SamplerInfo(energy, gradient, effective, jnp.float32(1.0))

    return kernel


def temperatures_of(layers: list) -> jax.Array:
    """The option `temperature` of every layer as one float32 array, (layers,)."""
    return jnp.stack([jnp.asarray(each.temperature, jnp.float32) for each in layers])


def gradient_from_energy(energy_fn: Callable[[Position], jax.Array]) -> GradientFn:
    """gradient_fn of an energy function: position -> (E (B,), dE/ds), chains being independent of each other.

    energy_fn: position -> (B,).
    """

    def total(position: Position) -> tuple[jax.Array, jax.Array]:
        energy = energy_fn(position)
        return jnp.sum(energy), energy

    def gradient_fn(position: Position) -> tuple[jax.Array, Position]:
        (_, energy), gradient = jax.value_and_grad(total, has_aux=True)(position)
        return energy, gradient

    return gradient_fn
