"""Sampling phases: a kernel run many times over frozen weights, compiled as one loop.

In the *positive* (clamped) phase the image layer holds data and only the latents move; in the *negative* (free) phase
every layer moves.  A phase knows nothing of the sampler but `init` and `step`, and nothing of the model but its
gradient.  Lengths are arrays, so one compiled program serves every length up to `max_steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nrf.energy import EnergyModel, States, Weights
from nrf.samplers.base import SamplerInfo
from nrf.samplers.boundaries import reflect


class EarlyStop(NamedTuple):
    """Stop when the mean energy lay within `threshold` (largest less smallest) over `window` steps.

    The energies looked at are those before each of the last window + 1 steps.
    """

    threshold: float  # energy per image
    window: int  # steps
    after: int = 200  # steps before which a phase does not stop


class PhaseResult(NamedTuple):
    """What a phase leaves behind; L_free is the number of layers that moved."""

    states: States  # all layers, (B, H, W, C)
    sampler_state: tuple  # the kernel's state after the last step, over the free layers
    info: tuple  # the kernel's diagnostics of the last step
    energy_history: jax.Array  # (max_steps,) mean energy per image before each step, NaN beyond the last
    steps: jax.Array  # int32, steps taken


class MeanStates(NamedTuple):
    """Mean states of B chains, and how far they are known."""

    mean: States  # (B, ...)
    early: States  # the same from the first half of the steps
    late: States  # and from the second


class EmptyState(NamedTuple):
    """State of a sampler with nothing to move."""

    position: tuple
    momentum: tuple


def clip_gradient(gradient: tuple[jax.Array, ...], norm: float) -> tuple[jax.Array, ...]:
    """Scale all layers by min(1, norm / (|g| + 1e-6)), |g| the Euclidean norm over layers, units and images."""
    size = jnp.sqrt(sum(jnp.sum(g * g) for g in gradient))
    factor = jnp.minimum(1.0, norm / (size + 1e-6))
    return tuple(g * factor for g in gradient)


def make_gradient_fn(
    model: EnergyModel, weights: Weights, image: jax.Array | None = None, gradient_clip: float | None = None
) -> Callable[[States], tuple[jax.Array, States]]:
    """gradient_fn(position) -> (energy (B,), dE/dposition) of the free layers, the image held fixed if one is given.

    gradient_clip limits the norm of the gradient of all layers together, a clamped image included.
    """

    def gradient_fn(position: States) -> tuple[jax.Array, States]:
        states = position if image is None else (image, *position)
        skip = 0 if image is None or gradient_clip is not None else 1
        energy, gradient = model.energy_and_gradient(weights, states, range(skip, len(states)))
        if gradient_clip is not None:
            gradient = clip_gradient(gradient, gradient_clip)
        return energy, gradient[len(gradient) - len(position) :]

    return gradient_fn


def make_phase(
    model: EnergyModel,
    sampler,
    *,
    clamp_image: bool,
    max_steps: int,
    gradient_clip: float | None = None,
    early_stop: EarlyStop | None = None,
) -> Callable[..., PhaseResult]:
    """Build run(key, weights, states, num_steps, momentum=None) -> PhaseResult.

    sampler: `init(position, gradient_fn)` and `step(key, state, gradient_fn) -> (state, info)` over the free layers;
    clamp_image: hold layer 0; num_steps: int or int32 array, cut to max_steps.  The sampler starts anew in every
    phase, but for the momentum of the free layers where one is given.
    """

    def run(key: jax.Array, weights: Weights, states: States, num_steps, momentum=None) -> PhaseResult:
        """Run the phase from `states` (all layers), taking `num_steps` steps, an int or an int32 array."""
        if clamp_image and len(states) == 1:
            return still(model, weights, states)
        image = states[0] if clamp_image else None
        gradient_fn = make_gradient_fn(model, weights, image, gradient_clip)
        state = sampler.init(states[1:] if clamp_image else states, gradient_fn)
        if momentum is not None:
            state = state._replace(momentum=momentum)
        # The loop carries diagnostics, so their shapes are needed before the first step.
        info_shape = jax.eval_shape(lambda s: sampler.step(key, s, gradient_fn)[1], state)
        info = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), info_shape)
        history = jnp.full((max_steps,), jnp.nan)
        limit = jnp.minimum(jnp.asarray(num_steps, jnp.int32), max_steps)

        def unfinished(carry):
            step, _, _, history = carry
            going = step < limit
            if early_stop is not None:
                length = min(early_stop.window + 1, max_steps)
                recent = jax.lax.dynamic_slice(history, (jnp.maximum(step - length, 0),), (length,))
                ready = step > max(early_stop.after, early_stop.window)
                going &= ~(ready & (jnp.max(recent) - jnp.min(recent) < early_stop.threshold))
            return going

        def advance(carry):
            step, state, _, history = carry
            state, info = sampler.step(jax.random.fold_in(key, step), state, gradient_fn)
            return step + 1, state, info, history.at[step].set(jnp.mean(info.energy))

        steps, state, info, history = jax.lax.while_loop(unfinished, advance, (jnp.int32(0), state, info, history))
        position = tuple(state.position)
        return PhaseResult(position if image is None else (image, *position), state, info, history, steps)

    def still(model: EnergyModel, weights: Weights, states: States) -> PhaseResult:
        """The positive phase of a model without latents: nothing moves."""
        info = SamplerInfo(model.energy(weights, states), (), jnp.zeros((0,)), jnp.float32(1.0))
        return PhaseResult(states, EmptyState((), ()), info, jnp.full((max_steps,), jnp.nan), jnp.int32(0))

    return run


def mean_states(gradient_fn: Callable, sampler, key: jax.Array, start: States, settle: int, steps: int) -> MeanStates:
    """Means over time of chains that run `steps` steps after `settle` others.

    Args:
        gradient_fn: position -> (energy (B,), gradient).
        sampler: `init(position, gradient_fn)` and `step(key, state, gradient_fn)`.
        key: random key.
        start: layers (B, ...).
        settle, steps: lengths; steps is rounded down to an even number.
    """
    half = max(steps // 2, 1)

    def run(carry, number):
        state, total = carry
        state, _ = sampler.step(jax.random.fold_in(key, number), state, gradient_fn)
        return (state, jax.tree.map(jnp.add, total, tuple(state.position))), None

    def stretch(state, first, length):
        zero = jax.tree.map(jnp.zeros_like, tuple(state.position))
        (state, total), _ = jax.lax.scan(run, (state, zero), first + jnp.arange(length))
        return state, jax.tree.map(lambda x: x / length, total)

    state, _ = stretch(sampler.init(start, gradient_fn), 0, settle)
    state, early = stretch(state, settle, half)
    _, late = stretch(state, settle + half, half)
    return MeanStates(jax.tree.map(lambda a, b: 0.5 * (a + b), early, late), early, late)


def uniform_states(key: jax.Array, model: EnergyModel, batch: int) -> States:
    """Fresh states drawn uniformly from the range of the state activation (unbounded sides end at 1)."""
    keys = jax.random.split(key, len(model.bounds))
    return tuple(
        jax.random.uniform(k, shape, minval=max(low, -1.0), maxval=min(high, 1.0))
        for k, shape, (low, high) in zip(keys, model.architecture.state_shapes(batch), model.bounds, strict=True)
    )


def thermal_states(key: jax.Array, model: EnergyModel, batch: int, deviations: tuple[float, ...]) -> States:
    """Fresh states drawn from N(0, sd²) per layer, reflected into the range of the state activation.

    With sd = sqrt(T) this is the distribution of states that no network drives.
    """
    keys = jax.random.split(key, len(model.bounds))
    shapes = model.architecture.state_shapes(batch)
    drawn = (sd * jax.random.normal(k, shape) for k, shape, sd in zip(keys, shapes, deviations, strict=True))
    return tuple(reflect(s, bounds)[0] for s, bounds in zip(drawn, model.bounds, strict=True))


def noise_images(key: jax.Array, model: EnergyModel, batch: int, rescale: bool) -> jax.Array:
    """Noise images for an initializer to read, as published: grey levels m + 0.3 z, m ~ U(0, 0.7), z ~ N(0, 1).

    m is one number for each image and channel, z one for each pixel; they are not cut at 0 and 1.

    Args:
        key: random key.
        model: the energy, for the image layer's shape and bounds.
        batch: images.
        rescale: whether grey levels are stretched over the bounds, as those of the data are.
    """
    shape = model.architecture.state_shapes(batch)[0]
    mean_key, noise_key = jax.random.split(key)
    mean = jax.random.uniform(mean_key, (batch, 1, 1, shape[-1]), maxval=0.7)
    grey = mean + 0.3 * jax.random.normal(noise_key, shape)
    low, high = model.bounds[0] if rescale else (0.0, 1.0)
    return low + (high - low) * grey
