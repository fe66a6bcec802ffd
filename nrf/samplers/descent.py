"""Plain descent on the energy: an optax chain as a sampler without noise.

    s ← clip(s + ε u),    u = the chain's update for the gradient ∂E/∂s

    sgd         -g
    momentum    -(g + μg' + μ²g'' + …)
    nesterov    one step ahead of it (Sutskever et al. 2013)
    adam        -mean(g)/(sqrt(mean(g²)) + 1e-8) (Kingma & Ba 2015)

It finds a nearby minimum instead of sampling (temperature 0), for comparison with the samplers and for settling
latents quickly.  Positions are set onto the walls they cross (projected descent), without a word to the chain's state.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from nrf.samplers.base import GradientFn, Position, SamplerInfo, zeros_like
from nrf.samplers.boundaries import bounds_per_layer, check_bounds, clamp
from nrf.samplers.options import check_number, per_layer


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of every chain, and all of those of 'sgd'.

    Raises:
        ValueError: a value out of range.
    """

    step_size: Any = 0.1  # ε, a value or one per layer that moves
    bounds: Any = None  # see `boundaries`
    boundary: str = "clamp"  # or 'none'

    def __post_init__(self):
        check_number("step_size", self.step_size, above=0)
        check_bounds(self.bounds, self.boundary, allowed=("clamp", "none"))

    def chain(self) -> optax.GradientTransformation:
        """The chain for a learning rate of 1, its sign that of descent."""
        return optax.scale(-1.0)


@dataclass(frozen=True, kw_only=True)
class MomentumOptions(Options):
    """Options of 'momentum'."""

    momentum: float = 0.9  # μ, the share of the last displacement that is kept

    def __post_init__(self):
        super().__post_init__()
        check_number("momentum", self.momentum, at_least=0, below=1)

    def chain(self) -> optax.GradientTransformation:
        """The chain for a learning rate of 1, its sign that of descent."""
        return optax.chain(optax.trace(self.momentum), optax.scale(-1.0))


@dataclass(frozen=True, kw_only=True)
class NesterovOptions(MomentumOptions):
    """Options of 'nesterov'."""

    def chain(self) -> optax.GradientTransformation:
        """The chain for a learning rate of 1, its sign that of descent."""
        return optax.chain(optax.trace(self.momentum, nesterov=True), optax.scale(-1.0))


@dataclass(frozen=True, kw_only=True)
class AdamOptions(Options):
    """Options of 'adam'."""

    b1: float = 0.9  # memory of the mean gradient
    b2: float = 0.999  # memory of its mean square

    def __post_init__(self):
        super().__post_init__()
        check_number("b1", self.b1, at_least=0, below=1)
        check_number("b2", self.b2, at_least=0, below=1)

    def chain(self) -> optax.GradientTransformation:
        """The chain for a learning rate of 1, its sign that of descent."""
        return optax.chain(optax.scale_by_adam(self.b1, self.b2), optax.scale(-1.0))


class DescentState(NamedTuple):
    """Carried from step to step."""

    position: Position  # layers (B, ..., C), units of state
    displacement: Position  # like position; that of the last step before the walls, units of state
    optimizer_state: Any  # the chain's own

    @property
    def momentum(self) -> None:
        """None: the displacement is no momentum, it has no distribution."""
        return None


def build_init(options: Options):
    """Build init(position, gradient_fn=None) -> state, the chain at its start."""

    def init(position: Position, gradient_fn: GradientFn | None = None) -> DescentState:
        return DescentState(position, zeros_like(position), options.chain().init(position))

    return init


def build_kernel(options: Options):
    """Build kernel(key, state, gradient_fn) -> (state, info); the key is not used."""
    chain = options.chain()

    def kernel(key: jax.Array, state: DescentState, gradient_fn: GradientFn):
        layers, structure = jax.tree.flatten(state.position)
        steps = per_layer("step_size", options.step_size, len(layers))
        walls = bounds_per_layer(options.bounds, options.boundary, len(layers))
        energy, gradient = gradient_fn(state.position)
        updates, optimizer_state = chain.update(gradient, state.optimizer_state, state.position)
        moves = [h * u for h, u in zip(steps, jax.tree.leaves(updates), strict=True)]
        layers = [clamp(s + move, wall) for s, move, wall in zip(layers, moves, walls, strict=True)]
        info = SamplerInfo(energy, gradient, jnp.zeros(len(layers), jnp.float32), jnp.float32(1.0))
        position, displacement = map(partial(jax.tree.unflatten, structure), (layers, moves))
        return DescentState(position, displacement, optimizer_state), info

    return kernel
