"""Training by contrastive divergence: the state that is carried, and one update of it.

An update samples latents for a batch of images (positive phase) and whole states from the replay buffer (negative
phase), moves the weights down the difference of their energies, and moves the initializer towards where the latents
settled.  `TrainState` holds everything that the next update depends on, random key included, so a run that is restored
from a checkpoint goes on bit for bit as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from nrf import optimizers, phases, replay, schedules
from nrf.energy import EnergyModel, States, Weights
from nrf.initializer import Initializer


class TrainState(NamedTuple):
    """Everything carried from update to update."""

    step: jax.Array  # int32, updates done
    key: jax.Array  # random key of the run; update k uses fold_in(key, k)
    variables: Any  # parameters of the energy (and spectral vectors)
    optimizer: Any  # optax state of the energy's optimizer
    initializer: Any  # parameters of the initializer network, {} when the config does not use it
    initializer_optimizer: Any  # its optax state, () when the config does not use it
    buffer: replay.ReplayBuffer  # states of past negative phases
    latents: States  # where the last positive phase ended, (B, H, W, C) per latent layer
    schedule: schedules.LengthSchedule  # length of the negative phase


class Samples(NamedTuple):
    """Full states of both phases of one update, for pictures and histograms."""

    positive: States
    negative: States


class Trainer(NamedTuple):
    """What an update works with; `from_config.make_trainer` builds it.

    The methods are the functions of this module for this trainer.
    """

    config: ConfigDict
    model: EnergyModel
    initializer: Initializer | None  # None when neither phase starts from it
    optimizer: optax.GradientTransformation  # of the energy's parameters
    initializer_optimizer: optax.GradientTransformation
    learning_rate: optax.Schedule  # of `optimizer`, from the number of updates
    positive_phase: Callable[..., phases.PhaseResult]
    negative_phase: Callable[..., phases.PhaseResult]
    epoch: int  # updates

    @property
    def pixels(self) -> int:
        """Pixels of an image."""
        image = self.model.architecture.layers[0]
        return image.height * image.width

    def create_state(self, key: jax.Array) -> TrainState:
        """The state at update 0."""
        return create_state(self, key)

    def update(self, state: TrainState, images: jax.Array) -> tuple[TrainState, dict, Samples]:
        """One update on images (B, H, W, C), states of the image layer: the new state, metrics, samples."""
        return update(self, state, images)

    def evaluate(self, state: TrainState, images: jax.Array) -> dict:
        """Metrics of held-out images (B, H, W, C)."""
        return evaluate(self, state, images)


def create_state(trainer: Trainer, key: jax.Array) -> TrainState:
    """The state at update 0: weights and latents drawn, an empty buffer."""
    weights_key, guide_key, latents_key, run_key = jax.random.split(key, 4)
    config, model, batch = trainer.config, trainer.model, trainer.config.train.batch
    variables = model.init(weights_key)
    guide = trainer.initializer.init(guide_key) if trainer.initializer else {}
    shapes = [shape[1:] for shape in model.architecture.state_shapes(batch)]
    return TrainState(
        step=jnp.int32(0),
        key=run_key,
        variables=variables,
        optimizer=trainer.optimizer.init(variables["params"]),
        initializer=guide,
        initializer_optimizer=trainer.initializer_optimizer.init(guide) if trainer.initializer else (),
        buffer=replay.create(shapes, config.negative.buffer_size),
        latents=phases.uniform_states(latents_key, model, batch)[1:],
        schedule=schedules.create(config.negative.steps, config.negative.growth_window),
    )


def update(trainer: Trainer, state: TrainState, images: jax.Array) -> tuple[TrainState, dict, Samples]:
    """One update: both phases, then a step of the weights and of the initializer.

    Args:
      trainer: what the update works with.
      state: the state before.
      images: (B, H, W, C) states of the image layer.

    Returns:
      The state after the update, metrics by name, and the states in which the phases ended.
    """
    keys = jax.random.split(jax.random.fold_in(state.key, state.step), 7)
    schedule = advance_schedule(trainer, state)
    weights = trainer.model.prepare(state.variables)
    positive = run_positive(trainer, keys[:3], weights, state, images)
    negative = run_negative(trainer, keys[3:], weights, state, schedule)
    variables, optimizer_state, metrics = update_weights(trainer, state, positive.states, negative.states)
    guide, guide_state, guide_metrics = update_initializer(trainer, state, images, positive.states[1:])
    new_state = TrainState(
        step=state.step + 1,
        key=state.key,
        variables=variables,
        optimizer=optimizer_state,
        initializer=guide,
        initializer_optimizer=guide_state,
        buffer=replay.push(state.buffer, negative.states),
        latents=positive.states[1:],
        schedule=schedules.record(schedule, metrics["energy/positive"], metrics["energy/negative"]),
    )
    metrics |= {"buffer/size": new_state.buffer.size, **guide_metrics}
    metrics |= phase_metrics("positive", positive, 1) | phase_metrics("negative", negative, 0)
    return new_state, metrics, Samples(positive.states, negative.states)


def evaluate(trainer: Trainer, state: TrainState, images: jax.Array) -> dict:
    """Energy per pixel of held-out images (B, H, W, C) after a positive phase."""
    key, start_key = jax.random.split(jax.random.fold_in(state.key, state.step))
    weights = trainer.model.prepare(state.variables)
    start = (images, *start_latents(trainer, start_key, state, images))
    result = trainer.positive_phase(key, weights, start, trainer.config.positive.steps)
    return {"energy/held_out": jnp.mean(trainer.model.energy(weights, result.states)) / trainer.pixels}


def run_positive(
    trainer: Trainer, keys: jax.Array, weights: Weights, state: TrainState, images: jax.Array
) -> phases.PhaseResult:
    """The positive phase of an update, from three keys: latents settle on the clamped images."""
    length_key, start_key, key = keys
    config = trainer.config.positive
    steps = schedules.phase_length(length_key, config.steps, config.poisson, longest_positive(trainer.config))
    start = (images, *start_latents(trainer, start_key, state, images))
    return trainer.positive_phase(key, weights, start, steps)


def run_negative(
    trainer: Trainer, keys: jax.Array, weights: Weights, state: TrainState, schedule: schedules.LengthSchedule
) -> phases.PhaseResult:
    """The negative phase of an update, from four keys: everything moves, from stored states and a few fresh ones."""
    mix_key, fresh_key, length_key, key = keys
    config = trainer.config.negative
    fresh = fresh_states(trainer, fresh_key, state)
    start = replay.mix(mix_key, state.buffer, fresh, config.buffer_fraction)
    steps = schedules.phase_length(length_key, schedule.length, config.poisson, config.longest)
    return trainer.negative_phase(key, weights, start, steps)


def start_latents(trainer: Trainer, key: jax.Array, state: TrainState, images: jax.Array) -> States:
    """Where the latents start in the positive phase: config.positive.start."""
    start = trainer.config.positive.start
    if start == "initializer":
        return trainer.initializer.apply(state.initializer, images)
    if start == "previous":
        return state.latents
    drawn = phases.uniform_states(key, trainer.model, images.shape[0])[1:]
    return drawn if start == "random" else tuple(jnp.zeros_like(s) for s in drawn)


def fresh_states(trainer: Trainer, key: jax.Array, state: TrainState) -> States:
    """Starts of the negative phase that do not come from the buffer: config.negative.fresh."""
    batch = trainer.config.train.batch
    if trainer.config.negative.fresh == "uniform":
        return phases.uniform_states(key, trainer.model, batch)
    images = phases.noise_images(key, trainer.model, batch, trainer.config.data.rescale)
    return (images, *trainer.initializer.apply(state.initializer, images))


def update_weights(trainer: Trainer, state: TrainState, positive: States, negative: States) -> tuple[Any, Any, dict]:
    """One step of the weights down the contrastive loss of both phases' states.

    Returns:
      Variables, state of the optimizer, metrics (energies per pixel, loss, norm of the gradient, learning rate).
    """
    config, model = trainer.config.train, trainer.model
    pixels = float(config.batch * trainer.pixels)
    scale = pixels if config.per_pixel else 1.0

    def loss(params):
        variables = {**state.variables, "params": params}
        return optimizers.contrastive_loss(model, variables, positive, negative, config.l2, scale)

    (value, energies), gradient = jax.value_and_grad(loss, has_aux=True)(state.variables["params"])
    change, optimizer_state = trainer.optimizer.update(gradient, state.optimizer, state.variables["params"])
    variables = {**state.variables, "params": optax.apply_updates(state.variables["params"], change)}
    up, down = (energy * (scale / pixels) for energy in energies)
    metrics = {
        "loss": value,
        "energy/positive": up,
        "energy/negative": down,
        "energy/gap": down - up,
        "gradient/weights": optax.tree.norm(gradient),
        "rate/weights": trainer.learning_rate(state.step),
    }
    return model.power_iteration(variables), optimizer_state, metrics


def update_initializer(
    trainer: Trainer, state: TrainState, images: jax.Array, latents: States
) -> tuple[Any, Any, dict]:
    """One step of the initializer towards the settled latents: parameters, optimizer state, losses by layer."""
    if trainer.initializer is None:
        return state.initializer, state.initializer_optimizer, {}
    loss = jax.value_and_grad(trainer.initializer.loss, has_aux=True)
    (_, losses), gradient = loss(state.initializer, images, jax.lax.stop_gradient(latents))
    change, optimizer_state = trainer.initializer_optimizer.update(
        gradient, state.initializer_optimizer, state.initializer
    )
    metrics = {f"initializer/loss_{layer}": value for layer, value in enumerate(losses, start=1)}
    return optax.apply_updates(state.initializer, change), optimizer_state, metrics


def longest_positive(config: ConfigDict) -> int:
    """Longest positive phase: a Poisson draw may exceed its mean, but hardly ever twofold and never here."""
    return config.positive.steps * (2 if config.positive.poisson else 1)


def advance_schedule(trainer: Trainer, state: TrainState) -> schedules.LengthSchedule:
    """The length of the negative phase, lengthened at the end of an epoch where config.negative.growth says so."""
    config, epoch = trainer.config.negative, trainer.epoch
    if config.growth == 1.0:
        return state.schedule
    grown = schedules.grow(
        state.schedule,
        state.step // epoch,
        factor=config.growth,
        margin=config.growth_margin,
        cooldown=config.growth_cooldown,
        first_epoch=config.growth_first_epoch,
        longest=config.longest,
    )
    at_epoch = (state.step % epoch == 0) & (state.step > 0)
    return jax.tree.map(lambda new, old: jnp.where(at_epoch, new, old), grown, state.schedule)


def phase_metrics(name: str, result: phases.PhaseResult, first: int) -> dict:
    """Diagnostics of a phase: its length, acceptance, and per layer the states, forces, temperature and any momenta."""
    metrics = {f"{name}/steps": result.steps, f"{name}/acceptance": result.info.acceptance}
    moving = zip(result.states[first:], result.info.gradient, result.info.effective_temperature, strict=True)
    for layer, (state, force, temperature) in enumerate(moving, start=first):
        metrics |= {
            f"{name}/layer_{layer}/state_mean": jnp.mean(state),
            f"{name}/layer_{layer}/state_sd": jnp.std(state),
            f"{name}/layer_{layer}/gradient_rms": jnp.sqrt(jnp.mean(force**2)),
            f"{name}/layer_{layer}/temperature": temperature,
        }
    for layer, momentum in enumerate(result.sampler_state.momentum or (), start=first):
        metrics[f"{name}/layer_{layer}/momentum_rms"] = jnp.sqrt(jnp.mean(momentum**2))
    return metrics
