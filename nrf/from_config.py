"""From a config to the objects that it describes: architecture, energy, networks, optimizers, samplers, phases.

This is the one place that knows the config's groups `model`, `initializer`, `sampler`, `positive`, `negative` and
`train`; what it builds knows nothing of configs but `update.Trainer`, whose choices are those of the config.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from nrf import optimizers, phases
from nrf.architecture import Architecture, get_architecture
from nrf.energy import EnergyModel, make_energy
from nrf.initializer import Initializer, initializer_optimizer, make_initializer
from nrf.samplers import Sampler, make_sampler, options_for_layers
from nrf.update import Trainer, longest_positive
from runtime.errors import ConfigError, did_you_mean


def make_trainer(config: ConfigDict, num_train: int) -> Trainer:
    """Build all that an update needs, for a run on `num_train` images.

    Raises:
        ConfigError: values that cannot work, naming the field.
    """
    check_config(config)
    return build_trainer(config, num_train)


def build_trainer(config: ConfigDict, num_train: int) -> Trainer:
    """`make_trainer` for a config that was checked, whose numbers may be values that a program is yet to be given."""
    architecture = read_architecture(config)
    model = read_model(config, architecture)
    epoch = max(num_train // config.train.batch, 1)  # updates
    rate = read_learning_rate(config, epoch)
    positive, negative = make_phases(config, model)
    return Trainer(
        config=config,
        model=model,
        initializer=read_initializer(config, architecture),
        optimizer=read_optimizer(config, rate),
        initializer_optimizer=initializer_optimizer(config.initializer.lr),
        learning_rate=rate,
        positive_phase=positive,
        negative_phase=negative,
        thermal_sd=read_thermal_sd(config, model),
        keeps_momentum=keeps_momentum(read_sampler(config, model, False), model),
        epoch=epoch,
    )


def check_config(config: ConfigDict) -> None:
    """Raise ConfigError for values that cannot work together, naming the field."""
    if config.negative.longest < config.negative.steps:
        raise ConfigError(
            f"config.negative.longest is {config.negative.longest}, less than config.negative.steps "
            f"({config.negative.steps}); raise it"
        )
    if config.train.lr_schedule == "cosine" and config.train.lr_final > config.train.lr:
        raise ConfigError(
            f"config.train.lr_final is {config.train.lr_final}; give at most config.train.lr ({config.train.lr})"
        )


def read_architecture(config: ConfigDict) -> Architecture:
    """The architecture that config.model names or spells out; ConfigError if it does not fit the data."""
    if config.model.named is not None:
        architecture = get_architecture(config.model.named)
    else:
        fields = dict(config.model.architecture.items())
        try:
            architecture = Architecture.from_lists("config.model.architecture", **fields)
        except TypeError as error:  # a field that is missing, unknown or no list
            raise ConfigError(f"config.model.architecture: {str(error).split('() ')[-1]}") from None
    image, data = architecture.layers[0], config.data
    if (image.height, image.width, image.channels) != (data.size, data.size, data.channels):
        raise ConfigError(
            f"the image layer of architecture '{architecture.name}' is {image.height}x{image.width} with "
            f"{image.channels} channels but config.data asks for {data.size}x{data.size} with {data.channels}; "
            "make them equal"
        )
    return architecture


def read_model(config: ConfigDict, architecture: Architecture) -> EnergyModel:
    """The energy of an architecture, as config.model wants it."""
    model = config.model
    return make_energy(
        architecture, weight_norm=model.weight_norm, ff_dynamics=model.ff_dynamics, gain=model.gain,
        **_network_choices(config),
    )  # fmt: skip


def read_initializer(config: ConfigDict, architecture: Architecture) -> Initializer | None:
    """The initializer network; None where neither phase starts from it."""
    if "initializer" not in (config.positive.start, config.negative.fresh):
        return None
    return make_initializer(architecture, weight_norm=config.initializer.weight_norm, **_network_choices(config))


def read_optimizer(config: ConfigDict, learning_rate: optax.Schedule) -> optax.GradientTransformation:
    """The optimizer of the energy's parameters that config.train describes."""
    train = config.train
    return optimizers.make_weight_optimizer(
        train.optimizer, learning_rate, own_clip=train.own_clip, global_norm=train.global_norm or None,
        latent_rate=train.latent_lr,
    )  # fmt: skip


def read_learning_rate(config: ConfigDict, epoch: int) -> optax.Schedule:
    """The learning rate that config.train describes, from the number of updates; epoch: updates."""
    train = config.train
    if train.lr_schedule == "epochs":
        return optimizers.epoch_decay(train.lr, train.lr_decay, epoch)
    return optax.cosine_decay_schedule(train.lr, train.updates, train.lr_final / train.lr)


def read_thermal_sd(config: ConfigDict, model: EnergyModel) -> tuple[float, ...] | None:
    """Per layer sqrt(T), T the sampler's temperature; None for samplers without one."""
    temperature = config.sampler[config.sampler.name].get("temperature")
    if temperature is None:
        for field, start in (("positive.start", config.positive.start), ("negative.fresh", config.negative.fresh)):
            if start == "thermal":
                raise ConfigError(
                    f"config.{field} is 'thermal', but the sampler '{config.sampler.name}' has no temperature; "
                    "use another start or another sampler"
                )
        return None
    layers = temperature if isinstance(temperature, tuple) else (temperature,) * len(model.bounds)
    return tuple(t**0.5 for t in layers)


def keeps_momentum(sampler: Sampler, model: EnergyModel) -> bool:
    """Whether the states of a sampler have a momentum."""
    position = tuple(jax.ShapeDtypeStruct(shape, np.float32) for shape in model.architecture.state_shapes(1))
    start = jax.eval_shape(lambda s: sampler.init(s, lambda s: (jnp.zeros(1), s)), position)
    return start.momentum is not None


def read_sampler(config: ConfigDict, model: EnergyModel, clamp_image: bool) -> Sampler:
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


def make_phases(config: ConfigDict, model: EnergyModel) -> tuple[Callable, Callable]:
    """The positive and negative phase of a config."""
    early_stop = None
    if config.positive.stop_threshold is not None:
        positive = config.positive
        early_stop = phases.EarlyStop(positive.stop_threshold, positive.stop_window, positive.stop_after)
    clip = config.sampler.gradient_clip or None
    positive = phases.make_phase(
        model, read_sampler(config, model, True), clamp_image=True, max_steps=longest_positive(config),
        gradient_clip=clip, early_stop=early_stop,
    )  # fmt: skip
    negative = phases.make_phase(
        model, read_sampler(config, model, False), clamp_image=False, max_steps=config.negative.longest,
        gradient_clip=clip,
    )  # fmt: skip
    return positive, negative


def _network_choices(config: ConfigDict) -> dict[str, Any]:
    return {name: config.model[name] for name in ("state_activation", "activation", "convolution")}
