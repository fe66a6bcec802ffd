"""Learning the weights: the contrastive loss and the optimizers of the energy model.

The gradient of a log likelihood is a difference of two averages, dE/dw over data (positive phase) less dE/dw over the
model's own samples (negative phase).  The loss below has that gradient, plus a penalty that keeps the two energies,
which only matter up to a constant, from drifting away together (Du & Mordatch 2019).

    L = E+ - E- + l2 (E+^2 + E-^2),     E = sum over the images of a batch, divided by `scale`

Both optimizers bring a clip of their own that stops a rare steep batch from undoing what was learned: Adam an
elementwise one, at a few standard deviations of the element's own gradient history; plain descent one per array.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from nrf.energy import EnergyModel, States, Variables
from runtime.errors import ConfigError, did_you_mean

ADAM_BETAS = (0.0, 0.999)
SGD_MOMENTUM = 0.4


def contrastive_loss(
    model: EnergyModel, variables: Variables, positive: States, negative: States, l2: float, scale: float = 1.0,
    negative_weight: float = 1.0,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Return L = E+ - E- + l2 (E+^2 + E-^2) and (E+, E-), with E the energy summed over the batch, over `scale`.

    positive, negative: states of both phases, held constant, tuples of (B, H, W, C); the batches may differ in size.
    negative_weight: factor of the negative energies: images over chains makes both means count alike.
    """
    weights = model.prepare(variables)
    positive, negative = jax.lax.stop_gradient((positive, negative))
    energies = tuple(
        factor * jnp.sum(model.energy(weights, states)) / scale
        for factor, states in ((1.0, positive), (negative_weight, negative))
    )
    up, down = energies
    return up - down + l2 * (up**2 + down**2), energies


class SecondMoment(NamedTuple):
    """Memory of `clip_by_second_moment`."""

    count: jax.Array  # int32, updates so far
    moment: optax.Updates  # running mean of squared clipped gradients, shaped like the parameters


def clip_by_second_moment(
    beta: float = ADAM_BETAS[1], deviations: float = 3.0, slack: float = 0.1
) -> optax.GradientTransformation:
    """Clip each gradient element at +-(deviations * sqrt(v / (1 - beta^k)) + slack); the first update is not clipped.

    v is the running mean of the element's squared clipped gradient and k the number of updates, both before this one:
    the second moment that an Adam of the same beta behind this clip would hold.
    """

    def init(params: optax.Params) -> SecondMoment:
        return SecondMoment(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(updates: optax.Updates, state: SecondMoment, params: optax.Params | None = None):
        del params
        # At the first update there is no history: 1 - beta^0 is 0, hence the guard, and the bound is lifted.
        correction = 1 - beta ** jnp.maximum(state.count, 1).astype(jnp.float32)

        def clip(g: jax.Array, v: jax.Array) -> jax.Array:
            bound = deviations * jnp.sqrt(v / correction) + slack
            return jnp.where(state.count == 0, g, jnp.clip(g, -bound, bound))

        clipped = jax.tree.map(clip, updates, state.moment)
        moment = jax.tree.map(lambda g, v: beta * v + (1 - beta) * g * g, clipped, state.moment)
        return clipped, SecondMoment(state.count + 1, moment)

    return optax.GradientTransformation(init, update)


def _adam(learning_rate: float | optax.Schedule, own_clip: bool) -> optax.GradientTransformation:
    adam = optax.adam(learning_rate, *ADAM_BETAS)
    return optax.chain(clip_by_second_moment(), adam) if own_clip else adam


def _sgd(learning_rate: float | optax.Schedule, own_clip: bool) -> optax.GradientTransformation:
    sgd = optax.sgd(learning_rate, SGD_MOMENTUM)
    # A root mean square of 1 is a norm of sqrt(size).
    return optax.chain(optax.clip_by_block_rms(1.0), sgd) if own_clip else sgd


OPTIMIZERS = {"adam": _adam, "sgd": _sgd}


def make_weight_optimizer(
    name: str, learning_rate: float | optax.Schedule, *, own_clip: bool = True,
    global_norm: float | None = None, latent_rate: float = 1.0,
) -> optax.GradientTransformation:
    """Build the optimizer of the energy model's parameters.

    name: 'adam', betas (0, 0.999), its own clip the elementwise `clip_by_second_moment`; or 'sgd', momentum 0.4, its
    own clip scaling each array's gradient to a norm of at most sqrt(size).  learning_rate: a number, or a schedule from
    the count of updates such as `epoch_decay`; own_clip: whether that clip is applied; global_norm: largest norm of the
    gradient over all arrays together, applied first.  Raises ConfigError for an unknown name or a norm that is not
    positive.
    """
    if name not in OPTIMIZERS:
        raise ConfigError(f"weight optimizer '{name}' is unknown{did_you_mean(name, OPTIMIZERS)}")
    if global_norm is not None and not global_norm > 0:
        raise ConfigError(f"the global norm of the weight gradient is {global_norm}; give a positive number or None")
    optimizer = OPTIMIZERS[name](learning_rate, own_clip)
    if not (isinstance(latent_rate, int | float) and latent_rate == 1):
        optimizer = optax.chain(optimizer, scale_latents(latent_rate))
    return optimizer if global_norm is None else optax.chain(optax.clip_by_global_norm(global_norm), optimizer)


def scale_latents(factor: float) -> optax.GradientTransformation:
    """Multiply the changes of all weights but those of the image layer (`net_0`, `bias_0`) by a factor."""

    def scale(updates: optax.Updates, params: optax.Params | None = None) -> optax.Updates:
        del params
        own = ("net_0", "bias_0")
        return {k: u if k in own else jax.tree.map(lambda a: factor * a, u) for k, u in updates.items()}

    return optax.stateless(scale)


def epoch_decay(learning_rate: float, factor: float, updates_per_epoch: int) -> optax.Schedule:
    """Schedule that multiplies the learning rate by `factor` at the end of each epoch of `updates_per_epoch`."""
    return optax.exponential_decay(learning_rate, updates_per_epoch, factor, staircase=True)
