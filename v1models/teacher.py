"""A teacher: a fitted model whose predictions, with noise, stand in place of the responses, so that the truth is known.

A student is fitted to r = g + c √g ξ, g ≥ 0 what the teacher predicts and ξ standard normal: noise whose variance is
proportional to the rate, as in cortex. Each array is then shifted by its smallest value, so that nothing is negative;
the published experiment added that value instead of subtracting it, which is the setting 'added'.
"""

import numpy as np
from ml_collections import ConfigDict

from runtime.config import read_config
from runtime.errors import ConfigError, did_you_mean
from v1models import saved
from v1models.data import Population

DRAWS = 3  # of a validation response, averaged
SHIFTS = {"subtracted": -1.0, "added": 1.0}
SCORED = ("noisy", "clean")


def noisy_responses(random: np.random.RandomState, rates: np.ndarray, noise: float, draws: int = 1) -> np.ndarray:
    """Mean of `draws` of g + c √g ξ, (n, N).

    Args:
        random: a `RandomState` whose stream goes on.
        rates: g (n, N), non-negative.
        noise: c.
        draws: how many are averaged.
    """
    return np.mean([random.normal(rates, noise * np.sqrt(rates)) for _ in range(draws)], axis=0)


def shifted(responses: np.ndarray, minimum: float) -> np.ndarray:
    """Responses with their smallest value 'subtracted' or 'added'."""
    return responses + SHIFTS[minimum] * responses.min()


def teach(config: ConfigDict, population: Population) -> tuple[Population, dict[str, tuple]]:
    """A population with the teacher's responses in place of its own, where the config names one.

    The stream RandomState(seed) gives the training responses first, then the validation responses.

    Args:
        config: with `data.teacher`.
        population: normalized.

    Returns:
        The population and {name: (training, validation responses)} to compare predictions with: noisy, clean (the
        teacher's g) and recorded; without a teacher {}.

    Raises:
        ConfigError: a run that cannot be the teacher of this population.
    """
    options = config.data.teacher
    if options.run is None:
        return population, {}
    for field, known in (("scored", SCORED), ("minimum", SHIFTS)):
        if options[field] not in known:
            raise ConfigError(f"config.data.teacher.{field} is '{options[field]}'{did_you_mean(options[field], known)}")
    if options.noise < 0:
        raise ConfigError(f"config.data.teacher.noise is {options.noise}; it is a factor on √g, 0 for no noise")
    predict = _teacher(config)
    images = (population.train_images, population.validation_images)
    rates = [np.asarray(predict(some), np.float64) for some in images]
    recorded = (population.train_responses, population.validation_responses)
    if rates[0].shape != recorded[0].shape:
        raise ConfigError(
            f"config.data.teacher.run: {options.run} predicts {rates[0].shape[1]} neurons, but the population has "
            f"{recorded[0].shape[1]}; choose a teacher that was fitted to the same regions"
        )
    masks = (population.train_mask, population.validation_mask)
    rates = [rate if mask is None else rate * mask for rate, mask in zip(rates, masks, strict=True)]
    random = np.random.RandomState(options.seed)
    noisy = [
        shifted(noisy_responses(random, rate, options.noise, draws), options.minimum)
        for rate, draws in zip(rates, (1, DRAWS), strict=True)
    ]
    if masks[0] is not None:
        noisy = [responses * mask for responses, mask in zip(noisy, masks, strict=True)]
    taught = population._replace(
        train_responses=np.asarray(noisy[0], np.float32),
        validation_responses=np.asarray(noisy[1] if options.scored == "noisy" else rates[1], np.float32),
        trials=None,
    )
    return taught, {"noisy": tuple(noisy), "clean": tuple(rates), "recorded": recorded}


def _teacher(config):
    """Function from normalized images to (n, N): the member of the teacher's run with the config's seed."""
    options = config.data.teacher
    try:
        model, inputs = saved.load(options.run), read_config(options.run).data.inputs
    except ConfigError as error:
        raise ConfigError(
            f"config.data.teacher.run: {error} A teacher is a finished fit, such as that of configs/v1/bl3.py in "
            "runs/bl3; name another folder by --config.data.teacher.run=FOLDER"
        ) from None
    seeds = [member["seed"] for member in model.members]
    if options.member not in seeds:
        raise ConfigError(f"config.data.teacher.member is {options.member}, but {options.run} has the seeds {seeds}")
    if inputs != config.data.inputs:
        raise ConfigError(
            f"config.data.teacher.run: {options.run} was fitted to inputs '{inputs}', and config.data.inputs is "
            f"'{config.data.inputs}'; make them equal"
        )
    return model.member(seeds.index(options.member))
