"""How long the phases are: Poisson lengths, and a negative phase that grows while the model outruns it.

When the mean energy of negative samples stays above that of positive ones, the negative chains have not reached the
model's low energies: they are given more steps.  The rule is evaluated once per epoch and everything it remembers is
carried as arrays, so that a resumed run takes the same decisions.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class LengthSchedule(NamedTuple):
    """Memory of the negative-length rule."""

    length: jax.Array  # float32, steps of the negative phase
    positive: jax.Array  # (window,) energies of the last positive phases
    negative: jax.Array  # (window,) energies of the last negative phases
    count: jax.Array  # int32, batches recorded since the histories were cleared
    cooldown: jax.Array  # int32, epochs during which the length may not grow


def create(length: float, window: int) -> LengthSchedule:
    """A schedule that starts at `length` steps and compares means over `window` batches."""
    zeros = jnp.zeros((window,), jnp.float32)
    return LengthSchedule(jnp.float32(length), zeros, zeros, jnp.int32(0), jnp.int32(0))


def record(schedule: LengthSchedule, positive: jax.Array, negative: jax.Array) -> LengthSchedule:
    """Remember the energies of one batch."""
    slot = schedule.count % schedule.positive.shape[0]
    return schedule._replace(
        positive=schedule.positive.at[slot].set(positive),
        negative=schedule.negative.at[slot].set(negative),
        count=schedule.count + 1,
    )


def grow(
    schedule: LengthSchedule,
    epoch: jax.Array,
    *,
    factor: float,
    margin: float,
    cooldown: int,
    first_epoch: int,
    longest: int,
) -> LengthSchedule:
    """Apply the rule at the start of an epoch.

    length <- factor * length (at most `longest`) if both histories are full, no cool-down runs, epoch > first_epoch and
    mean E- > mean E+ + margin; then the histories are cleared and a cool-down of `cooldown` epochs begins.
    """
    full = schedule.count >= schedule.positive.shape[0]
    behind = jnp.mean(schedule.negative) > jnp.mean(schedule.positive) + margin
    grows = full & (schedule.cooldown == 0) & (epoch > first_epoch) & behind
    return schedule._replace(
        length=jnp.where(grows, jnp.minimum(schedule.length * factor, longest), schedule.length),
        count=jnp.where(grows, 0, schedule.count),
        cooldown=jnp.where(grows, cooldown, jnp.maximum(schedule.cooldown - 1, 0)),
    )


def phase_length(key: jax.Array, length: jax.Array | float, poisson: bool, longest: int) -> jax.Array:
    """Steps of the next phase: round(length), or a Poisson draw of that mean; between 1 and `longest`."""
    length = jnp.asarray(length, jnp.float32)
    steps = jax.random.poisson(key, length) if poisson else jnp.round(length)
    return jnp.clip(steps.astype(jnp.int32), 1, longest)
