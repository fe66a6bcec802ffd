"""Plain descent on the energy: any optax chain as a sampler without noise.

    s ← clip(s + ε u),    u = the chain's update for the gradient ∂E/∂s

It finds a nearby minimum instead of sampling a law (temperature 0), for comparison with the samplers and for settling
latents quickly.  Positions are set onto the walls they cross (projected descent), without a word to the chain's state.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from blackjax.base import SamplingAlgorithm

from nrf.samplers.base import GradientFn, Position, SamplerInfo, zeros_like
from nrf.samplers.boundaries import bounds_per_layer, check_bounds, clamp
from nrf.samplers.options import check_choice, check_number, per_layer

OPTIMIZERS = ("sgd", "momentum", "nesterov", "adam")


class DescentState(NamedTuple):
    """Carried from step to step."""

    position: Position  # layers (B, ..., C), units of state
    momentum: Position  # like position; the displacement of the last step before the walls, units of state
    optimizer_state: Any  # the chain's own


def make_optimizer(optimizer: Any, momentum: float = 0.9, b1: float = 0.9, b2: float = 0.999):
    """The chain behind a name, for a learning rate of 1; a chain of one's own is returned as it is.

    'sgd': -g; 'momentum': -(g + μg' + μ²g'' + …); 'nesterov': one step ahead of it (Sutskever et al. 2013);
    'adam': -mean(g)/(sqrt(mean(g²)) + 1e-8) (Kingma & Ba 2015).
    Raises ValueError for an unknown name or a momentum outside [0, 1).
    """
    if isinstance(optimizer, optax.GradientTransformation):
        return optimizer
    check_choice("optimizer", optimizer, OPTIMIZERS)
    for name, value in {"momentum": momentum, "b1": b1, "b2": b2}.items():
        check_number(name, value, at_least=0, below=1)
    direction = {
        "sgd": optax.identity,
        "momentum": lambda: optax.trace(momentum),
        "nesterov": lambda: optax.trace(momentum, nesterov=True),
        "adam": lambda: optax.scale_by_adam(b1, b2),
    }[optimizer]()
    return optax.chain(direction, optax.scale(-1.0))


def init(
    position: Position, gradient_fn: GradientFn | None = None, *, optimizer: Any = "sgd", **settings
) -> DescentState:
    """State at a position, the chain at its start; optimizer and settings as given to the kernel."""
    return DescentState(position, zeros_like(position), make_optimizer(optimizer, **settings).init(position))


def build_kernel(
    optimizer: Any = "sgd", step_size: Any = None, bounds: Any = None, boundary: str = "clamp", **settings
):
    """Build kernel(key, state, gradient_fn) -> (state, info); the key is not used.

    optimizer: 'sgd', 'momentum', 'nesterov', 'adam', or an optax.GradientTransformation whose updates are added;
    step_size ε: a value or one per layer that moves (0.1 for a name, 1 for a chain with a learning rate of its own);
    settings: momentum, b1, b2 (see `make_optimizer`).  bounds: see `boundaries`; boundary: 'clamp' or 'none'.
    Raises ValueError for values out of range.
    """
    chain = make_optimizer(optimizer, **settings)
    step_size = (1.0 if chain is optimizer else 0.1) if step_size is None else step_size
    check_number("step_size", step_size, above=0)
    check_bounds(bounds, boundary, allowed=("clamp", "none"))

    def kernel(key: jax.Array, state: DescentState, gradient_fn: GradientFn):
        layers, structure = jax.tree.flatten(state.position)
        steps = per_layer("step_size", step_size, len(layers))
        walls = bounds_per_layer(bounds, boundary, len(layers))
        energy, gradient = gradient_fn(state.position)
        updates, optimizer_state = chain.update(gradient, state.optimizer_state, state.position)
        moves = [h * u for h, u in zip(steps, jax.tree.leaves(updates), strict=True)]
        layers = [clamp(s + move, wall) for s, move, wall in zip(layers, moves, walls, strict=True)]
        info = SamplerInfo(energy, gradient, jnp.zeros(len(layers), jnp.float32), jnp.float32(1.0))
        position, momentum = (jax.tree.unflatten(structure, x) for x in (layers, moves))
        return DescentState(position, momentum, optimizer_state), info

    return kernel


def as_top_level_api(
    gradient_fn: GradientFn, optimizer: Any = "sgd", step_size: Any = None, bounds: Any = None, **settings
) -> SamplingAlgorithm:
    """Descent on one energy: init(position), step(key, state).  Options as in `build_kernel`."""
    kernel = build_kernel(optimizer, step_size, bounds, **settings)
    return SamplingAlgorithm(
        lambda position, rng_key=None: init(position, gradient_fn, optimizer=optimizer, **settings),
        lambda key, state: kernel(key, state, gradient_fn),
    )
