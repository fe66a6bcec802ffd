"""The replay buffer: whole states of past negative phases, kept on the device.

Persistent chains make contrastive divergence follow the model's own distribution (Tieleman 2008; Du & Mordatch 2019):
a negative phase starts from states that earlier ones left behind, mixed with a few fresh ones.  Pushing is first in
first out, drawing is uniform with replacement, and both are pure functions of fixed shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp


class ReplayBuffer(NamedTuple):
    """Stored states and where the next ones go."""

    states: tuple[jax.Array, ...]  # per layer, (capacity, H, W, C)
    head: jax.Array  # int32, slot of the next state
    size: jax.Array  # int32, slots in use


def create(shapes: Sequence[tuple[int, ...]], capacity: int) -> ReplayBuffer:
    """An empty buffer for `capacity` states of shapes (H, W, C), one per layer; ValueError if capacity < 1."""
    if capacity < 1:
        raise ValueError(f"the replay buffer needs room for at least one state, not {capacity}")
    states = tuple(jnp.zeros((capacity, *shape), jnp.float32) for shape in shapes)
    return ReplayBuffer(states, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


def push(buffer: ReplayBuffer, states: Sequence[jax.Array]) -> ReplayBuffer:
    """Store a batch of states (B, H, W, C), overwriting the oldest ones when the buffer is full.

    A batch larger than the capacity leaves its last `capacity` states.
    """
    capacity, batch = buffer.states[0].shape[0], states[0].shape[0]
    kept = min(batch, capacity)
    slots = (buffer.head + (batch - kept) + jnp.arange(kept)) % capacity
    stored = tuple(old.at[slots].set(new[batch - kept :]) for old, new in zip(buffer.states, states, strict=True))
    return ReplayBuffer(stored, (buffer.head + batch) % capacity, jnp.minimum(buffer.size + batch, capacity))


def draw(key: jax.Array, buffer: ReplayBuffer, batch: int) -> tuple[jax.Array, ...]:
    """Draw `batch` stored states uniformly with replacement; zeros while the buffer is empty."""
    slots = jax.random.randint(key, (batch,), 0, jnp.maximum(buffer.size, 1))
    return tuple(states[slots] for states in buffer.states)


def mix(
    key: jax.Array, buffer: ReplayBuffer, fresh: Sequence[jax.Array], fraction: float
) -> tuple[jax.Array, ...]:
    """Replace the first round(fraction * B) of the fresh states by stored ones, none while the buffer is empty."""
    batch = fresh[0].shape[0]
    stored = draw(key, buffer, batch)
    take = (jnp.arange(batch) < round(fraction * batch)) & (buffer.size > 0)
    return tuple(jnp.where(take[:, None, None, None], old, new) for old, new in zip(stored, fresh, strict=True))
