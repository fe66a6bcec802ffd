"""Training by contrastive divergence: the state that is carried, one update, and the loop around it.

An update samples latents for a batch of images (positive phase) and whole states from the replay buffer (negative
phase), moves the weights down the difference of their energies, and teaches the initialiser where the latents settled.
`TrainState` holds everything that the next update depends on, random key included, so a run that is restored from a
checkpoint goes on bit for bit as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from nrf import optimizers, phases, replay, schedules
from nrf.architecture import Architecture, get_architecture
from nrf.energy import EnergyModel, States, make_energy
from nrf.initializer import Initializer, initializer_optimizer, make_initializer
from nrf.samplers import make_sampler, options_for_layers
from runtime.config import ConfigError, did_you_mean

POSITIVE_STARTS = ("initializer", "previous", "random", "zeros")
FRESH_STARTS = ("uniform", "initializer")


class TrainState(NamedTuple):
    """Everything carried from update to update."""

    step: jax.Array  # int32, updates done
    key: jax.Array  # random key of the run; update k uses fold_in(key, k)
    variables: Any  # parameters of the energy (and spectral vectors)
    optimizer: Any  # optax state of the energy's optimiser
    initializer: Any  # parameters of the initialiser network, {} when the config does not use it
    initializer_optimizer: Any  # its optax state, () when the config does not use it
    buffer: replay.ReplayBuffer  # states of past negative phases
    latents: States  # where the last positive phase ended, (B, H, W, C) per latent layer
    schedule: schedules.LengthSchedule  # length of the negative phase


class Samples(NamedTuple):
    """Full states of both phases of one update, for pictures and histograms."""

    positive: States
    negative: States


class Trainer(NamedTuple):
    """Pure functions of one config."""

    model: EnergyModel
    initializer: Initializer | None  # None when neither phase starts from it
    create_state: Callable[[jax.Array], TrainState]  # key -> state at update 0
    update: Callable[[TrainState, jax.Array], tuple[TrainState, dict, Samples]]  # one update on images (B, H, W, C)
    evaluate: Callable[[TrainState, jax.Array], dict]  # energy of held-out images after a positive phase


def read_architecture(config: ConfigDict) -> Architecture:
    """The architecture that config.model names or spells out; ConfigError if it does not fit the data."""
    if config.model.named is not None:
        architecture = get_architecture(config.model.named)
    else:
        fields = dict(config.model.architecture.items())
        architecture = Architecture.from_lists("config.model.architecture", **fields)
    image, data = architecture.layers[0], config.data
    if (image.height, image.width, image.channels) != (data.size, data.size, data.channels):
        raise ConfigError(
            f"the image layer of architecture '{architecture.name}' is {image.height}x{image.width} with "
            f"{image.channels} channels but config.data asks for {data.size}x{data.size} with {data.channels}; "
            "make them equal"
        )
    return architecture


def read_sampler(config: ConfigDict, model: EnergyModel, clamp_image: bool):
    """The sampler that config.sampler.name chooses, its per-layer options cut down to the layers that move."""
    name = config.sampler.name
    groups = [key for key in config.sampler if key not in ("name", "gradient_clip")]
    if name not in groups:
        raise ConfigError(f"config.sampler.name is '{name}', which has no group of options{did_you_mean(name, groups)}")
    count = len(model.bounds)
    options = dict(config.sampler[name].items())
    for field, value in options.items():
        if isinstance(value, tuple) and len(value) != count:
            raise ConfigError(
                f"config.sampler.{name}.{field} has {len(value)} entries but the architecture has {count} state "
                "layers; give one number, or one per layer"
            )
    try:
        free = range(1 if clamp_image else 0, count)
        return make_sampler(name, **options_for_layers({**options, "bounds": model.bounds}, free))
    except ValueError as error:
        raise ConfigError(f"config.sampler.{name}: {error}") from None


def check_config(config: ConfigDict) -> None:
    """Raise ConfigError for values that cannot work together, naming the field."""
    choices = {"positive.start": POSITIVE_STARTS, "negative.fresh": FRESH_STARTS}
    for field, known in choices.items():
        group, name = field.split(".")
        if config[group][name] not in known:
            raise ConfigError(f"config.{field} is '{config[group][name]}'; use one of {', '.join(known)}")
    if config.negative.longest < config.negative.steps:
        raise ConfigError(
            f"config.negative.longest is {config.negative.longest}, less than config.negative.steps "
            f"({config.negative.steps}); raise it"
        )
    if not 0 <= config.negative.buffer_fraction <= 1:
        raise ConfigError(f"config.negative.buffer_fraction is {config.negative.buffer_fraction}; give 0 to 1")
    least = {
        "positive.steps": 1, "negative.steps": 1, "negative.buffer_size": 1, "negative.growth_window": 1,
        "positive.stop_window": 1, "train.batch": 1, "train.updates": 1, "log.every": 1, "log.images_every": 1,
        "log.checkpoint_every": 1, "log.keep": 1, "data.size": 1, "data.channels": 1,
    }  # fmt: skip
    for field, bound in least.items():
        group, name = field.split(".")
        if config[group][name] < bound:
            raise ConfigError(f"config.{field} is {config[group][name]}; it must be at least {bound}")
    for field in ("train.lr", "initializer.lr", "train.lr_decay", "train.max_energy", "negative.growth"):
        group, name = field.split(".")
        if not config[group][name] > 0:
            raise ConfigError(f"config.{field} is {config[group][name]}; it must be positive")


def make_trainer(config: ConfigDict, num_train: int) -> Trainer:
    """Build the functions of a training run on `num_train` images; raises ConfigError for configs that cannot work."""
    check_config(config)
    architecture = read_architecture(config)
    choices = {name: config.model[name] for name in ("state_activation", "activation", "convolution")}
    model = make_energy(
        architecture, weight_norm=config.model.weight_norm, ff_dynamics=config.model.ff_dynamics, **choices
    )
    initializer = None
    if "initializer" in (config.positive.start, config.negative.fresh):
        initializer = make_initializer(architecture, weight_norm=config.initializer.weight_norm, **choices)
    epoch = max(num_train // config.train.batch, 1)  # updates
    optimizer = optimizers.make_weight_optimizer(
        config.train.optimizer,
        optimizers.epoch_decay(config.train.lr, config.train.lr_decay, epoch),
        own_clip=config.train.own_clip,
        global_norm=config.train.global_norm or None,
    )
    guide = initializer_optimizer(config.initializer.lr)
    positive_phase, negative_phase = make_phases(config, model)
    batch = config.train.batch
    pixels = architecture.layers[0].height * architecture.layers[0].width
    scale = float(batch * pixels) if config.train.per_pixel else 1.0

    def create_state(key: jax.Array) -> TrainState:
        weights_key, guide_key, latents_key, run_key = jax.random.split(key, 4)
        variables = model.init(weights_key)
        guide_variables = initializer.init(guide_key) if initializer else {}
        shapes = [shape[1:] for shape in architecture.state_shapes(batch)]
        return TrainState(
            step=jnp.int32(0),
            key=run_key,
            variables=variables,
            optimizer=optimizer.init(variables["params"]),
            initializer=guide_variables,
            initializer_optimizer=guide.init(guide_variables) if initializer else (),
            buffer=replay.create(shapes, config.negative.buffer_size),
            latents=phases.uniform_states(latents_key, model, batch)[1:],
            schedule=schedules.create(config.negative.steps, config.negative.growth_window),
        )

    def start_latents(key: jax.Array, state: TrainState, images: jax.Array) -> States:
        start = config.positive.start
        if start == "initializer":
            return initializer.apply(state.initializer, images)
        if start == "previous":
            return state.latents
        drawn = phases.uniform_states(key, model, images.shape[0])[1:]
        return drawn if start == "random" else tuple(jnp.zeros_like(s) for s in drawn)

    def fresh_states(key: jax.Array, state: TrainState) -> States:
        if config.negative.fresh == "uniform":
            return phases.uniform_states(key, model, batch)
        images = phases.noise_images(key, model, batch)
        return (images, *initializer.apply(state.initializer, images))

    def teach(state: TrainState, images: jax.Array, latents: States) -> tuple[Any, Any, dict]:
        """The initialiser after one step towards the settled latents: parameters, optimiser state, losses by layer."""
        if initializer is None:
            return state.initializer, state.initializer_optimizer, {}
        loss = jax.value_and_grad(initializer.loss, has_aux=True)
        (_, losses), gradient = loss(state.initializer, images, jax.lax.stop_gradient(latents))
        change, guide_state = guide.update(gradient, state.initializer_optimizer, state.initializer)
        metrics = {f"initializer/loss_{layer}": value for layer, value in enumerate(losses, start=1)}
        return optax.apply_updates(state.initializer, change), guide_state, metrics

    def update(state: TrainState, images: jax.Array) -> tuple[TrainState, dict, Samples]:
        keys = jax.random.split(jax.random.fold_in(state.key, state.step), 7)
        schedule = _advance_schedule(config, state, epoch)
        weights = model.prepare(state.variables)
        steps = schedules.phase_length(keys[0], config.positive.steps, config.positive.poisson, _longest(config))
        start = (images, *start_latents(keys[1], state, images))
        positive = positive_phase(keys[2], weights, start, steps)
        start = replay.mix(keys[3], state.buffer, fresh_states(keys[4], state), config.negative.buffer_fraction)
        steps = schedules.phase_length(keys[5], schedule.length, config.negative.poisson, config.negative.longest)
        negative = negative_phase(keys[6], weights, start, steps)

        def loss(params):
            variables = {**state.variables, "params": params}
            return optimizers.contrastive_loss(
                model, variables, positive.states, negative.states, config.train.l2, scale
            )

        (value, energies), gradient = jax.value_and_grad(loss, has_aux=True)(state.variables["params"])
        change, optimizer_state = optimizer.update(gradient, state.optimizer, state.variables["params"])
        variables = {**state.variables, "params": optax.apply_updates(state.variables["params"], change)}
        guide_variables, guide_state, guide_metrics = teach(state, images, positive.states[1:])
        per_pixel = [e * (scale / (batch * pixels)) for e in energies]
        new_state = TrainState(
            step=state.step + 1,
            key=state.key,
            variables=model.power_iteration(variables),
            optimizer=optimizer_state,
            initializer=guide_variables,
            initializer_optimizer=guide_state,
            buffer=replay.push(state.buffer, negative.states),
            latents=positive.states[1:],
            schedule=schedules.record(schedule, *per_pixel),
        )
        metrics = {
            "loss": value,
            "energy/positive": per_pixel[0],
            "energy/negative": per_pixel[1],
            "energy/gap": per_pixel[1] - per_pixel[0],
            "gradient/weights": optax.tree.norm(gradient),
            "rate/weights": optimizers.epoch_decay(config.train.lr, config.train.lr_decay, epoch)(state.step),
            "buffer/size": new_state.buffer.size,
            **guide_metrics,
            **_phase_metrics("positive", positive, 1),
            **_phase_metrics("negative", negative, 0),
        }
        return new_state, metrics, Samples(positive.states, negative.states)

    def evaluate(state: TrainState, images: jax.Array) -> dict:
        key, start_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        weights = model.prepare(state.variables)
        start = (images, *start_latents(start_key, state, images))
        result = positive_phase(key, weights, start, config.positive.steps)
        return {"energy/held_out": jnp.mean(model.energy(weights, result.states)) / pixels}

    return Trainer(model, initializer, create_state, update, evaluate)


def make_phases(config: ConfigDict, model: EnergyModel) -> tuple[Callable, Callable]:
    """The positive and negative phase of a config."""
    early_stop = None
    if config.positive.stop_threshold is not None:
        positive = config.positive
        early_stop = phases.EarlyStop(positive.stop_threshold, positive.stop_window, positive.stop_after)
    clip = config.sampler.gradient_clip or None
    positive = phases.make_phase(
        model, read_sampler(config, model, True), clamp_image=True, max_steps=_longest(config), gradient_clip=clip,
        early_stop=early_stop,
    )  # fmt: skip
    negative = phases.make_phase(
        model, read_sampler(config, model, False), clamp_image=False, max_steps=config.negative.longest,
        gradient_clip=clip,
    )  # fmt: skip
    return positive, negative


def _longest(config: ConfigDict) -> int:
    """Longest positive phase: a Poisson draw may exceed its mean, but hardly ever twofold and never here."""
    return config.positive.steps * (2 if config.positive.poisson else 1)


def _advance_schedule(config: ConfigDict, state: TrainState, epoch: int) -> schedules.LengthSchedule:
    if config.negative.growth == 1.0:
        return state.schedule
    grown = schedules.grow(
        state.schedule,
        state.step // epoch,
        factor=config.negative.growth,
        margin=config.negative.growth_margin,
        cooldown=config.negative.growth_cooldown,
        first_epoch=config.negative.growth_first_epoch,
        longest=config.negative.longest,
    )
    at_epoch = (state.step % epoch == 0) & (state.step > 0)
    return jax.tree.map(lambda new, old: jnp.where(at_epoch, new, old), grown, state.schedule)


def _phase_metrics(name: str, result: phases.PhaseResult, first: int) -> dict:
    """Diagnostics of a phase: its length, acceptance, and per layer the states, momenta, forces and temperature."""
    metrics = {f"{name}/steps": result.steps, f"{name}/acceptance": result.info.acceptance}
    moving = zip(
        result.states[first:], result.sampler_state.momentum, result.info.gradient, result.info.effective_temperature,
        strict=True,
    )  # fmt: skip
    for layer, (state, momentum, force, temperature) in enumerate(moving, start=first):
        metrics |= {
            f"{name}/layer_{layer}/state_mean": jnp.mean(state),
            f"{name}/layer_{layer}/state_sd": jnp.std(state),
            f"{name}/layer_{layer}/momentum_rms": jnp.sqrt(jnp.mean(momentum**2)),
            f"{name}/layer_{layer}/gradient_rms": jnp.sqrt(jnp.mean(force**2)),
            f"{name}/layer_{layer}/temperature": temperature,
        }
    return metrics


def to_states(images: np.ndarray, model: EnergyModel, rescale: bool) -> np.ndarray:
    """Grey levels [0, 1] as states of the image layer: stretched over its bounds, or left as they are."""
    low, high = model.bounds[0]
    return images * (high - low) + low if rescale else images
