"""What a config means: the population it names, the network it describes, how that is fitted.

A config of this package has the groups `data`, `model` (one group a layer: layer0, layer1, …), `optimization`,
`fit` and `stopping`; `configs/v1/suite.py` lists every field with its meaning. A layer's size is a number of features
or a fraction of the recorded neurons, so that one config fits every region.

Configs that differ in numbers only (`shared_program` says which those are) describe networks that one compiled program
trains side by side.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from runtime.config import flatten
from runtime.errors import ConfigError, did_you_mean
from v1models import data, losses, teacher
from v1models.describe import layer_groups, layer_size
from v1models.layers import KINDS
from v1models.layers.layer import Shape
from v1models.metrics import pearson
from v1models.ndn3 import regime
from v1models.network import Network
from v1models.simulation import simulate
from v1models.specification import NetworkSpec
from v1models.training import Plan, Stopping, orders_from_keys, start_members
from v1models.update import Data, Hyper, Member, Optimization, Trainer, make_trainer

SOURCES = ("simulated", "regions")
RECORDED_WHITE = 255e-6
# Fields whose values may differ between networks that one program trains, beside all penalties and dropouts.
NUMBERS = ("optimization.learning_rate", "published")


class Experiment(NamedTuple):
    """One fit: what to train, on what, and how long; I instances that share a program."""

    specs: tuple  # NetworkSpec of each instance, differing in penalty strengths and dropout alone
    trainer: Trainer
    hypers: tuple  # Hyper of each instance
    train: Data
    stopping: Any  # Data that early stopping looks at, or None
    validation: Data
    trials: Any  # (T, m, N) or None
    test: Any  # Data of held-out images that nothing looks at before the end, or None
    test_trials: Any  # (T, m', N) or None
    compared: Any  # {name: (training, validation responses)} that a taught population is compared with, or {}
    truth: Any  # what a simulation knows (`simulation.Truth`), else None
    truth_correlation: Any  # (N,), correlation of the true rates with the validation responses, simulated data only
    offset: Any  # an image x enters the network as (x − offset) / scale
    scale: Any
    plan: Plan
    seeds: tuple


def load_recordings(config: ConfigDict) -> list[data.Population]:
    """The populations of all regions of `config.data`, as recorded, one by one.

    Args:
        config: with `data.source`: 'regions' of a folder in the layout of data.py, or 'simulated'; a folder in
            `data.dir` means 'regions'.

    Raises:
        ConfigError: an unknown source or missing files.
    """
    options = config.data
    if options.source not in SOURCES:
        raise ConfigError(f"config.data.source is '{options.source}'{did_you_mean(options.source, SOURCES)}")
    if options.source == "regions" and options.dir is None:
        raise ConfigError(
            "config.data.source is 'regions' but config.data.dir is not set; give the folder that holds region1 …, as "
            f"in --config.data.dir=./Data. It comes from {data.SUPPLEMENT}"
        )
    if options.dir is not None:
        return data.load_each_region(options.dir, tuple(options.regions))
    simulated = dict(options.simulated.items())
    seed = simulated.pop("seed")

    def one(region):
        here = {name: data.of_region(v, region, f"config.data.simulated.{name}") for name, v in simulated.items()}
        return _as_recorded(simulate(**here, seed=seed + region))

    try:
        return [one(region) for region in options.regions]
    except ConfigError as error:
        text = str(error)
        raise ConfigError(text if text.startswith("config.") else f"config.data.simulated: {text}") from None


def _as_recorded(population):
    """A simulated population with pixels of 0 … 0.000255, as the supplement has: normalizations mean the same."""
    return population._replace(
        train_images=RECORDED_WHITE * population.train_images,
        validation_images=RECORDED_WHITE * population.validation_images,
    )


def read_experiment(configs: Sequence[ConfigDict]) -> Experiment:
    """The fit that configs sharing a program describe; one config is the usual case.

    Raises ConfigError naming the field that does not fit.
    """
    config = configs[0]
    raw, population, (offset, scale) = _populations(config)
    population, compared = teacher.teach(config, population)
    population, test, kept = _set_aside(population, config)
    compared = {name: (seen, held[kept]) for name, (seen, held) in compared.items()}
    trained, held_out = population, None
    if config.stopping.enabled:
        trained = data.split_training(population, config.stopping.fraction, seed=config.data.split_seed + 1)
        held_out = trained
    rates = _mean_rates(config, population, trained)
    neurons = population.train_responses.shape[1]
    specs = network_specifications(configs, population.train_images.shape[1:], neurons)
    optimization = _optimization(config)
    if len(configs[0].seeds) < 1:
        raise ConfigError("config.seeds is empty; give at least one, as in --config.seeds=0,1,2")
    return Experiment(
        specs,
        make_trainer(Network(specs[0]), optimization),
        tuple(_hyper(one, spec, specs) for one, spec in zip(configs, specs, strict=True)),
        _rows(trained.train_images, trained.train_responses, trained.train_mask, rates),
        None if held_out is None else _rows(
            held_out.validation_images, held_out.validation_responses, held_out.validation_mask, rates
        ),
        _rows(population.validation_images, population.validation_responses, population.validation_mask, rates),
        population.trials,
        None if test is None else _rows(
            test.validation_images, test.validation_responses, test.validation_mask, rates
        ),
        None if test is None else test.trials,
        compared,
        raw.truth,
        _truth_correlation(raw, config, kept),
        offset,
        scale,
        _plan(config, len(configs)),
        tuple(config.seeds),
    )  # fmt: skip


def _populations(config):
    """The population as recorded, as the network sees it, and (offset, scale) from the one to the other's images."""
    recordings, options = load_recordings(config), config.data
    raw = data.pool_populations(recordings)
    if options.inputs not in data.NORMALIZATIONS:
        known = did_you_mean(options.inputs, data.NORMALIZATIONS)
        raise ConfigError(f"config.data.inputs is '{options.inputs}'{known}")
    normalized = None
    if options.own_statistics:
        normalized = data.pool_populations(
            [data.normalize(one, options.inputs, options.responses, own_statistics=True) for one in recordings]
        )
    if options.inner_split:
        # Choices are made on held-out training rows, never on the validation set.
        raw = data.split_training(raw, options.inner_split, seed=options.split_seed)
        if normalized is not None:
            normalized = data.split_training(normalized, options.inner_split, seed=options.split_seed)
    if normalized is None:
        normalized = data.normalize(raw, options.inputs, options.responses)
    return raw, normalized, data.NORMALIZATIONS[options.inputs](np.asarray(raw.train_images, np.float64))


def first_members(config: ConfigDict, experiment: Experiment, instances: int) -> Member:
    """Members before training, (instances · seeds, …), with initial values as the config asks: ours or NDN3's.

    Args:
        config: the config of the fit.
        experiment: what it describes.
        instances: how many configs train together.

    Raises:
        ConfigError: NDN3's initial values together with something that NDN3 has not.
    """
    if not config.fit.numpy_starts:
        train = experiment.train
        rates = losses.mean_rates(train.responses, train.mask) if config.model.mean_rate_bias else None
        return start_members(experiment.trainer, experiment.seeds, instances, rates)
    network = experiment.specs[0]
    if config.model.mean_rate_bias or any(layer.batch_norm for layer in network.layers):
        raise ConfigError(
            "config.fit.numpy_starts draws all values as NDN3 does, which has neither batch normalization nor biases "
            "from mean rates; set it to False, or those"
        )
    return regime.start_members(experiment.trainer, network, experiment.seeds, instances)


def shared_program(config: ConfigDict) -> str:
    """A text that is equal for configs whose networks one compiled program can train side by side."""
    fixed = {name: value for name, value in flatten(config).items() if not _is_number(name)}
    return json.dumps(fixed, sort_keys=True, default=str)


def _is_number(field):
    parts = field.split(".")
    if parts[0] == "origin":
        return True
    parts = parts[2:] if parts[0] == "alternatives" else parts[1:] if parts[0] == "model" else []
    return field in NUMBERS or "penalties" in parts[1:] or parts[1:] == ["dropout"]


def _set_aside(population, config):
    """(population, its test part or None, rows of the validation images that are left)."""
    count = len(population.validation_images)
    if not config.data.test:
        return population, None, np.arange(count)
    try:
        kept, tested = data.split_rows(count, config.data.test, config.data.split_seed + 2)
    except ConfigError as error:
        raise ConfigError(f"config.data.test: {error}") from None

    def part(rows):
        mask, trials = population.validation_mask, population.trials
        return population._replace(
            validation_images=population.validation_images[rows],
            validation_responses=population.validation_responses[rows],
            validation_mask=None if mask is None else mask[rows],
            trials=None if trials is None else trials[:, rows],
        )

    return part(kept), part(tested), kept


def _rows(images, responses, mask, rates):
    arrays = (images, responses, mask, rates)
    return Data(*(None if array is None else jax.device_put(np.asarray(array, np.float32)) for array in arrays))


def _mean_rates(config, population, trained):
    options = config.optimization
    if options.noise != "poisson" or not options.divide_by_rates:
        return None
    if not options.rates_over_all_rows:
        return losses.mean_rates(trained.train_responses, trained.train_mask)
    responses = np.concatenate([population.train_responses, population.validation_responses])
    mask = population.train_mask
    if mask is not None:
        mask = np.concatenate([mask, population.validation_mask])
    return losses.mean_rates(responses, mask, over_measured=False)


def _truth_correlation(raw, config, kept):
    # A pooled population keeps no truth, an inner split validates on single trials, a teacher's responses are others.
    if raw.truth is None or config.data.inner_split or config.data.teacher.run:
        return None
    return pearson(raw.truth.validation_rates[kept], raw.validation_responses[kept])


def _layer(name, group, neurons, used):
    """One layer's specification; used: the penalties that any instance of the fit uses."""
    options = dict(group.items())
    kind = options.pop("kind")
    if kind not in KINDS:
        raise ConfigError(f"config.model.{name}.kind is '{kind}'{did_you_mean(kind, KINDS)}")
    if "fraction" in options:
        fraction, group_size = options.pop("fraction"), layer_size(group, neurons)
        if (fraction is None) == (options["features"] is None):
            raise ConfigError(
                f"config.model.{name} needs one of features (now {options['features']}) and fraction, of the neurons "
                f"(now {fraction}); set the other to none"
            )
        if fraction is not None:
            options["features"] = group_size
    penalties = dict(options.pop("penalties").items()) if "penalties" in options else {}
    options["penalties"] = {penalty: strength for penalty, strength in penalties.items() if penalty in used}
    try:
        return KINDS[kind].layer(**options)
    except ConfigError as error:
        raise ConfigError(f"config.model.{name}: {error}") from None


def network_specifications(configs: Sequence[ConfigDict], image_shape: Shape, neurons: int) -> tuple[NetworkSpec, ...]:
    """The NetworkSpec of each of some configs that share a program, for images (rows, columns, channels) and N neurons.

    A penalty that one of them uses is part of all, with strength 0 where it is off. Raises ConfigError naming a field.
    """
    groups = [layer_groups(config) for config in configs]
    used = [
        {
            penalty
            for _, group in layers
            for penalty, strength in dict(group.get("penalties", {}).items()).items()
            if strength
        }
        for layers in zip(*groups, strict=True)
    ]
    specs = []
    for layers in groups:
        built = [_layer(name, group, neurons, names) for (name, group), names in zip(layers, used, strict=True)]
        try:
            specs.append(NetworkSpec(image_shape, tuple(built)))
        except ConfigError as error:
            raise ConfigError(f"config.model: {error}") from None
    last = specs[0].shapes[-1]
    if last[0] * last[1] * last[2] != neurons:
        raise ConfigError(
            f"config.model: the last layer gives {last[0] * last[1] * last[2]} numbers for {neurons} neurons; "
            "set its fraction to 1.0 and its features to none"
        )
    return tuple(specs)


def _hyper(config, spec, specs):
    dropping = {str(i) for one in specs for i, layer in enumerate(one.layers) if layer.dropout}
    rate = config.optimization.learning_rate
    if rate <= 0:
        raise ConfigError(f"config.optimization.learning_rate is {rate}; it must be positive")
    return Hyper(
        jnp.asarray(float(rate)),
        {
            str(i): {name: jnp.asarray(float(strength)) for name, strength in layer.penalties.items()}
            for i, layer in enumerate(spec.layers)
            if layer.penalties
        },
        {i: jnp.asarray(float(spec.layers[int(i)].dropout)) for i in sorted(dropping)},
    )


def _optimization(config):
    options = dict(config.optimization.items())
    for name in ("learning_rate", "divide_by_rates", "rates_over_all_rows"):
        options.pop(name)
    try:
        return Optimization(**options)
    except ConfigError as error:
        raise ConfigError(f"config.optimization: {error}") from None


def _plan(config, instances):
    options, stopping = config.fit, None
    if config.stopping.enabled:
        names = ("monitor", "patience", "phases", "rate_factor")
        stopping = Stopping(**{name: config.stopping[name] for name in names})
    try:
        return Plan(
            epochs=options.epochs,
            log_every=options.log_every,
            stopping=stopping,
            orders=regime.numpy_orders(tuple(config.seeds) * instances) if options.numpy_orders else orders_from_keys,
            members_at_once=options.members_at_once,
            checkpoint_every=options.checkpoint_every,
            log_first=options.log_first,
            score_with_dropout=options.score_with_dropout,
        )
    except ConfigError as error:
        raise ConfigError(f"config.fit: {error}") from None
