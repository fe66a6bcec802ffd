"""Training by contrastive divergence: the state that is carried, and one update of it.

An update samples latents for a batch of images (positive phase) and whole states (negative phase), moves the weights
down the difference of their energies, and moves the initializer towards where the latents settled.  The negative phase
goes on with chains that keep position and momentum from update to update, as in Tieleman (ICML 2008), or starts from a
replay buffer.  While the weights move they are averaged (Polyak & Juditsky 1992): the average is the trained model.
`TrainState` holds everything that the next update depends on, random key included, so a run that is restored from a
checkpoint goes on bit for bit as if it had never stopped.
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
    average: Any  # running average of `variables`, () when the config wants none
    optimizer: Any  # optax state of the energy's optimizer
    initializer: Any  # parameters of the initializer network, {} when the config does not use it
    initializer_optimizer: Any  # its optax state, () when the config does not use it
    buffer: Any  # `replay.ReplayBuffer` of states of past negative phases, () for persistent chains
    chains: Any  # `Chains`, where the last negative phase ended, () for a buffer
    latents: States  # where the last positive phase ended, (B, H, W, C) per latent layer
    schedule: schedules.LengthSchedule  # length of the negative phase


class Chains(NamedTuple):
    """Persistent chains of the negative phase."""

    position: States  # all layers, (chains, H, W, C)
    momentum: Any  # like position; None for samplers without momentum


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
    thermal_sd: tuple[float, ...] | None  # per layer sqrt(T); None for samplers without temperature
    keeps_momentum: bool  # the sampler of the negative phase has a momentum
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
    """The state at update 0: weights and latents drawn, an empty buffer or fresh chains."""
    weights_key, guide_key, latents_key, run_key = jax.random.split(key, 4)
    config, model, batch = trainer.config, trainer.model, trainer.config.train.batch
    variables = model.init(weights_key)
    guide = trainer.initializer.init(guide_key) if trainer.initializer else {}
    shapes = [shape[1:] for shape in model.architecture.state_shapes(batch)]
    persistent = config.negative.start == "persistent"
    if trainer.thermal_sd is None:
        latents = phases.uniform_states(latents_key, model, batch)
    else:
        latents = phases.thermal_states(latents_key, model, batch, trainer.thermal_sd)
    return TrainState(
        step=jnp.int32(0),
        key=run_key,
        variables=variables,
        average=jax.tree.map(jnp.array, variables) if config.train.average else (),
        optimizer=trainer.optimizer.init(variables["params"]),
        initializer=guide,
        initializer_optimizer=trainer.initializer_optimizer.init(guide) if trainer.initializer else (),
        buffer=() if persistent else replay.create(shapes, config.negative.buffer_size),
        chains=fresh_chains(trainer, jax.random.fold_in(latents_key, 1), guide) if persistent else (),
        latents=latents[1:],
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
    negative = run_negative(trainer, keys[3:], weights, state, schedule, positive.states)
    variables, optimizer_state, metrics = update_weights(trainer, state, positive.states, negative.states)
    guide, guide_state, guide_metrics = update_initializer(trainer, state, images, positive.states[1:])
    persistent = trainer.config.negative.start == "persistent"
    new_state = TrainState(
        step=state.step + 1,
        key=state.key,
        variables=variables,
        average=advance_average(trainer, state, variables),
        optimizer=optimizer_state,
        initializer=guide,
        initializer_optimizer=guide_state,
        buffer=() if persistent else replay.push(state.buffer, negative.states),
        chains=Chains(negative.states, negative.sampler_state.momentum) if persistent else (),
        latents=positive.states[1:],
        schedule=schedules.record(schedule, metrics["energy/positive"], metrics["energy/negative"]),
    )
    metrics |= guide_metrics if persistent else {"buffer/size": new_state.buffer.size, **guide_metrics}
    metrics |= phase_metrics("positive", positive, 1) | phase_metrics("negative", negative, 0)
    return new_state, metrics, Samples(positive.states, negative.states)


def evaluate(trainer: Trainer, state: TrainState, images: jax.Array) -> dict:
    """Energy per pixel of held-out images (B, H, W, C) after a positive phase."""
    key, start_key = jax.random.split(jax.random.fold_in(state.key, state.step))
    weights = trainer.model.prepare(trained_variables(state))
    start = (images, *start_latents(trainer, start_key, state, images))
    result = trainer.positive_phase(key, weights, start, trainer.config.positive.steps)
    unit = trainer.config.train.energy_unit * trainer.pixels
    return {"energy/held_out": jnp.mean(trainer.model.energy(weights, result.states)) / unit}


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
    trainer: Trainer,
    keys: jax.Array,
    weights: Weights,
    state: TrainState,
    schedule: schedules.LengthSchedule,
    settled: States,
) -> phases.PhaseResult:
    """The negative phase of an update, from four keys: everything moves, from earlier states and a few fresh ones.

    settled: (B, H, W, C) per layer, where the positive phase of this update ended.
    """
    mix_key, fresh_key, length_key, key = keys
    config = trainer.config.negative
    steps = schedules.phase_length(length_key, schedule.length, config.poisson, config.longest)
    if config.start == "persistent":
        fresh = fresh_chains(trainer, fresh_key, state.initializer)
        if config.from_data:
            fresh = restart_at_data(trainer, jax.random.fold_in(fresh_key, 1), fresh, settled)
        renewed = jax.random.bernoulli(mix_key, config.renewed, (config.chains, 1, 1, 1))
        chains = jax.tree.map(lambda new, old: jnp.where(renewed, new, old), fresh, state.chains)
        return trainer.negative_phase(key, weights, chains.position, steps, chains.momentum)
    fresh = fresh_states(trainer, fresh_key, state.initializer, trainer.config.train.batch)
    start = replay.mix(mix_key, state.buffer, fresh, config.buffer_fraction)
    return trainer.negative_phase(key, weights, start, steps)


def start_latents(trainer: Trainer, key: jax.Array, state: TrainState, images: jax.Array) -> States:
    """Where the latents start in the positive phase: config.positive.start."""
    start = trainer.config.positive.start
    if start == "initializer":
        return trainer.initializer.apply(state.initializer, images)
    if start == "previous":
        return state.latents
    if start == "thermal":
        return phases.thermal_states(key, trainer.model, images.shape[0], trainer.thermal_sd)[1:]
    drawn = phases.uniform_states(key, trainer.model, images.shape[0])[1:]
    return drawn if start == "random" else tuple(jnp.zeros_like(s) for s in drawn)


def fresh_states(trainer: Trainer, key: jax.Array, guide: Any, number: int) -> States:
    """New starts of the negative phase, as config.negative.fresh says; guide: parameters of the initializer."""
    if trainer.config.negative.fresh == "uniform":
        return phases.uniform_states(key, trainer.model, number)
    if trainer.config.negative.fresh == "thermal":
        return phases.thermal_states(key, trainer.model, number, trainer.thermal_sd)
    images = phases.noise_images(key, trainer.model, number, trainer.config.data.rescale)
    return (images, *trainer.initializer.apply(guide, images))


def fresh_chains(trainer: Trainer, key: jax.Array, guide: Any) -> Chains:
    """New persistent chains, at rest; guide: parameters of the initializer."""
    position = fresh_states(trainer, key, guide, trainer.config.negative.chains)
    return Chains(position, jax.tree.map(jnp.zeros_like, position) if trainer.keeps_momentum else None)


def restart_at_data(trainer: Trainer, key: jax.Array, fresh: Chains, settled: States) -> Chains:
    """Fresh chains of which a share, config.negative.from_data, starts at settled states (B, H, W, C) per layer."""
    config = trainer.config.negative
    shown = jnp.arange(config.chains) % len(settled[0])
    chosen = jax.random.bernoulli(key, config.from_data, (config.chains, 1, 1, 1))
    position = tuple(jnp.where(chosen, s[shown], f) for s, f in zip(settled, fresh.position, strict=True))
    return fresh._replace(position=position)


def advance_average(trainer: Trainer, state: TrainState, variables: Any) -> Any:
    """The running average after an update, a <- r a + (1 - r) w with r = min(config.train.average, (1 + k) / (10 + k)).

    The small r of the first updates k lets the average forget the random weights that it began with.
    """
    if not state.average:
        return ()
    rate = jnp.minimum(trainer.config.train.average, (1.0 + state.step) / (10.0 + state.step))
    return jax.tree.map(lambda old, new: rate * old + (1 - rate) * new, state.average, variables)


def trained_variables(state: TrainState) -> Any:
    """The variables that count as the trained model: the running average where there is one."""
    return state.average or state.variables


def update_weights(trainer: Trainer, state: TrainState, positive: States, negative: States) -> tuple[Any, Any, dict]:
    """One step of the weights down the contrastive loss of both phases' states.

    Returns:
        Variables, state of the optimizer, metrics (energies per pixel, loss, norm of the gradient, learning rate).
    """
    config, model = trainer.config.train, trainer.model
    pixels = config.energy_unit * config.batch * trainer.pixels
    scale = pixels if config.per_pixel else config.energy_unit

    def loss(params):
        variables = {**state.variables, "params": params}
        share = len(positive[0]) / len(negative[0])  # there may be more chains than images, or fewer
        return optimizers.contrastive_loss(model, variables, positive, negative, config.l2, scale, share)

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
