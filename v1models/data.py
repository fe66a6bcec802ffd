"""Stimuli and responses: recordings on disk, plain arrays, pooled regions, normalizations.

A recording's folder holds

    training_inputs.npy        (n, pixels)            images shown once
    training_set.npy           (n, neurons)           responses to them
    validation_inputs.npy      (m, pixels)            held-out images
    validation_set.npy         (m, neurons)           responses to them, means over repeats
    raw_validation_set.npy     (repeats, m, neurons)  optional: the repeats themselves, for noise ceilings

which is the layout of the supplement of Antolík et al. (2016), PLoS Comput. Biol. 12(6): e1004927, with folders
`region1`, `region2` and `region3`. A population that needs no file is in `simulation.py`.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from runtime.errors import ConfigError

SUPPLEMENT = (
    "the first supplement of https://doi.org/10.1371/journal.pcbi.1004927 "
    "(doi 10.1371/journal.pcbi.1004927.s001); unzip it so that ./Data/region1, region2 and region3 exist"
)
REGION_FOLDERS = {1: "region1", 2: "region2", 3: "region3"}


class Population(NamedTuple):
    """Recorded or simulated responses of N neurons to n training and m held-out images."""

    name: str
    train_images: Any  # (n, rows, columns, 1)
    train_responses: Any  # (n, N)
    validation_images: Any  # (m, rows, columns, 1)
    validation_responses: Any  # (m, N), means over repeats
    trials: Any = None  # (T, m, N), NaN where missing, or None
    train_mask: Any = None  # (n, N), 1 where measured, or None when everything was
    validation_mask: Any = None  # (m, N)
    truth: Any = None  # parameters of a simulated population, or None


def from_arrays(
    train_images: Any,
    train_responses: Any,
    validation_images: Any,
    validation_responses: Any,
    trials: Any = None,
    name: str = "arrays",
    image_shape: tuple[int, int] | None = None,
) -> Population:
    """A population from plain arrays.

    Args:
        train_images, validation_images: (n, pixels), (n, rows, columns) or (n, rows, columns, channels).
        train_responses, validation_responses: (n, N).
        trials: (T, m, N) or None.
        name: of the population.
        image_shape: (rows, columns) of flat images, by default square.

    Raises:
        ConfigError: names the array that does not fit.
    """
    images = [
        _images(train_images, "train_images", image_shape),
        _images(validation_images, "validation_images", image_shape),
    ]
    if images[0].shape[1:] != images[1].shape[1:]:
        raise ConfigError(f"training images are {images[0].shape[1:]}, validation images {images[1].shape[1:]}.")
    responses = [np.asarray(train_responses, np.float32), np.asarray(validation_responses, np.float32)]
    for label, pictures, rates in (("train", images[0], responses[0]), ("validation", images[1], responses[1])):
        if rates.ndim != 2 or len(rates) != len(pictures):
            raise ConfigError(
                f"{label}_responses have shape {rates.shape} for {len(pictures)} images; give (images, neurons)."
            )
        if not np.isfinite(rates).all():
            raise ConfigError(f"{label}_responses hold values that are not finite; mask them or leave those rows out.")
    if responses[0].shape[1] != responses[1].shape[1]:
        raise ConfigError(
            f"train_responses are of {responses[0].shape[1]} neurons, validation_responses of {responses[1].shape[1]}."
        )
    if trials is not None:
        trials = np.asarray(trials, np.float64)
        if trials.shape[1:] != responses[1].shape:
            raise ConfigError(
                f"trials have shape {trials.shape}; give (repeats, {responses[1].shape[0]}, {responses[1].shape[1]})."
            )
    return Population(name, images[0], responses[0], images[1], responses[1], trials)


def _images(array, label, image_shape):
    # Float64 until normalized: pixels of the supplement are of the order 1e-4.
    array = np.asarray(array, np.float64)
    if array.ndim == 2:
        side = round(array.shape[1] ** 0.5)
        rows, columns = image_shape or (side, side)
        if rows * columns != array.shape[1]:
            raise ConfigError(
                f"{label}: {array.shape[1]} pixels a row do not make a "
                f"{'square image' if image_shape is None else f'{rows}×{columns} image'}; "
                "give image_shape=(rows, columns)."
            )
        array = array.reshape(-1, rows, columns)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4:
        raise ConfigError(f"{label} have shape {array.shape}; give (n, pixels) or (n, rows, columns).")
    return array


def load_folder(
    folder: str | os.PathLike, image_shape: tuple[int, int] | None = None, source: str | None = None
) -> Population:
    """A population from a folder of the layout above.

    Args:
        folder: its path.
        image_shape: (rows, columns) of non-square images.
        source: where its files come from, for the message.

    Raises:
        ConfigError: names every file that is missing and where to get it.
    """
    folder = Path(folder)
    needed = ("training_inputs.npy", "training_set.npy", "validation_inputs.npy", "validation_set.npy")
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        where = f" They come from {source}." if source else ""
        raise ConfigError(f"{folder} lacks {', '.join(missing)}.{where}")
    arrays = [np.load(folder / name) for name in needed]
    repeats = folder / "raw_validation_set.npy"
    return from_arrays(
        *arrays, trials=np.load(repeats) if repeats.is_file() else None, name=folder.name, image_shape=image_shape
    )


def load_each_region(root: str | os.PathLike = "Data", regions: Sequence[int] = (1,)) -> list[Population]:
    """Regions of Antolík et al. (2016), one population each.

    Args:
        root: the folder that holds region1, ….
        regions: which.

    Raises:
        ConfigError: an unknown region, or as `load_folder`.
    """
    unknown = [region for region in regions if region not in REGION_FOLDERS]
    if unknown or not regions:
        raise ConfigError(f"regions are {tuple(regions)}; choose from 1, 2 and 3.")
    return [load_folder(Path(root) / REGION_FOLDERS[region], source=SUPPLEMENT) for region in regions]


def of_region(value: Any, region: int, field: str) -> Any:
    """A setting of one region: the one number for all, or the region's of a tuple with one for each of 1, 2, 3.

    Raises ConfigError, naming the field, where the tuple has none for it.
    """
    if not isinstance(value, tuple):
        return value
    if not 1 <= region <= len(value):
        raise ConfigError(f"{field} is {value}, which has no entry for region {region}; give one number for all")
    return value[region - 1]


def pool(recordings: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Several recordings as one: rows one after another, neurons side by side.

    Args:
        recordings: a list of (inputs (nᵢ, …), responses (nᵢ, Nᵢ)).

    Returns:
        (inputs (Σn, …), responses (Σn, ΣN), zero where not measured, mask (Σn, ΣN), 1 where measured).
    """
    inputs = np.concatenate([images for images, _ in recordings])
    rows, neurons = (sum(responses.shape[axis] for _, responses in recordings) for axis in (0, 1))
    pooled = np.zeros((rows, neurons), recordings[0][1].dtype)
    mask = np.zeros_like(pooled)
    row = neuron = 0
    for _, responses in recordings:
        block = (slice(row, row + responses.shape[0]), slice(neuron, neuron + responses.shape[1]))
        pooled[block], mask[block] = responses, 1
        row, neuron = row + responses.shape[0], neuron + responses.shape[1]
    return inputs, pooled, mask


def pool_populations(populations: Sequence[Population]) -> Population:
    """Populations side by side in neurons and one after another in rows, masked; trials, if all have them, likewise.

    One population is returned as it is, without masks.
    """
    if len(populations) == 1:
        return populations[0]
    train = pool([(p.train_images, p.train_responses) for p in populations])
    validation = pool([(p.validation_images, p.validation_responses) for p in populations])
    trials = None
    if all(p.trials is not None for p in populations):
        trials = np.full((max(len(p.trials) for p in populations), *validation[1].shape), np.nan)
        row = neuron = 0
        for population in populations:
            repeats, images, neurons = population.trials.shape
            trials[:repeats, row : row + images, neuron : neuron + neurons] = population.trials
            row, neuron = row + images, neuron + neurons
    return Population(
        "+".join(p.name for p in populations),
        train[0],
        train[1],
        validation[0],
        validation[1],
        trials,
        train[2],
        validation[2],
    )


def _pixel_deviation(images):
    deviation = images.std(0)
    return np.where(deviation > 0, deviation, 1)


# Each gives (offset, scale) from the training images; an image x is used as (x − offset) / scale.
NORMALIZATIONS = {
    "none": lambda images: (0.0, 1.0),
    "million": lambda images: (0.0, 1e-6),  # baseline 1: the supplement's pixels lie in 0 … 0.000255
    "standard": lambda images: (images.mean(), images.std()),  # over the whole array
    "unit_deviation": lambda images: (0.0, images.std()),
    "pixel_standard": lambda images: (images.mean(0), _pixel_deviation(images)),  # each pixel by itself (Klindt et al.)
}


def normalize(
    population: Population, inputs: str = "standard", responses: str = "none", own_statistics: bool = False
) -> Population:
    """A population with images and responses rescaled, statistics from the training part alone.

    Args:
        population: as recorded.
        inputs: one of NORMALIZATIONS.
        responses: 'none', 'unit_deviation' (overall), or 'neuron_deviation' (each neuron by its own).
        own_statistics: whether validation images and responses are rescaled by their own statistics in place of the
            training part's.

    Returns:
        Float32 arrays; pixels that never change become 0.

    Raises:
        ConfigError: an unknown name, or images that are all the same.
    """
    if inputs not in NORMALIZATIONS:
        raise ConfigError(f"input normalization is {inputs!r}; choose one of {', '.join(NORMALIZATIONS)}.")
    if responses not in RESPONSE_SCALES:
        raise ConfigError(f"response normalization is {responses!r}; choose one of {', '.join(RESPONSE_SCALES)}.")
    scale = held_scale = RESPONSE_SCALES[responses](population.train_responses, population.train_mask)
    statistics = held_statistics = _image_statistics(population.train_images, inputs, "training")
    if own_statistics:
        held_scale = RESPONSE_SCALES[responses](population.validation_responses, population.validation_mask)
        held_statistics = _image_statistics(population.validation_images, inputs, "validation")

    def rescaled(images, statistics):
        return np.asarray((images - statistics[0]) / statistics[1], np.float32)

    return population._replace(
        train_images=rescaled(population.train_images, statistics),
        validation_images=rescaled(population.validation_images, held_statistics),
        train_responses=np.asarray(population.train_responses / scale, np.float32),
        validation_responses=np.asarray(population.validation_responses / held_scale, np.float32),
        trials=None if population.trials is None else population.trials / held_scale,
    )


def _image_statistics(images, inputs, label):
    offset, spread = NORMALIZATIONS[inputs](images)
    if not np.any(np.asarray(spread) > 0):
        raise ConfigError(
            f"the {label} images do not vary, so that they cannot be normalized: look at {label}_inputs.npy, or set "
            "config.data.inputs to 'none'"
        )
    return offset, np.where(np.asarray(spread) > 0, spread, 1)


def _measured_deviation(responses, mask, axis):
    weight = np.ones_like(responses) if mask is None else mask
    count = np.maximum(weight.sum(axis), 1)
    mean = (weight * responses).sum(axis) / count
    deviation = np.sqrt((weight * np.square(responses - mean)).sum(axis) / count)
    return np.where(deviation > 0, deviation, 1)


RESPONSE_SCALES = {
    "none": lambda responses, mask: 1.0,
    "unit_deviation": lambda responses, mask: _measured_deviation(responses, mask, None),
    "neuron_deviation": lambda responses, mask: _measured_deviation(responses, mask, 0),
}


def split_rows(count: int, fraction: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows in two random parts, (rest, the set aside fraction), both sorted and neither empty.

    Args:
        count: of rows.
        fraction: set aside, in (0, 1).
        seed: of the choice.

    Raises:
        ConfigError: a fraction that leaves one part empty.
    """
    held = round(fraction * count)
    if not 0 < held < count:
        raise ConfigError(f"fraction is {fraction}, setting {held} of {count} images aside; leave some on both sides")
    rows = np.random.default_rng(seed).permutation(count)
    return np.sort(rows[held:]), np.sort(rows[:held])


def split_training(population: Population, fraction: float, seed: int = 0) -> Population:
    """Set aside a random part of the training rows: (population trained on the rest, population validated on that
    part).

    The held-out part takes the place of the validation set, so that stopping and choices never see the latter.

    Args:
        population: whose rows.
        fraction: of rows set aside, in (0, 1).
        seed: of the choice.

    Raises:
        ConfigError: a fraction outside that range.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"fraction is {fraction}; it must lie between 0 and 1.")
    inner, outer = split_rows(len(population.train_images), fraction, seed)
    mask = population.train_mask
    return population._replace(
        train_images=population.train_images[inner],
        train_responses=population.train_responses[inner],
        train_mask=None if mask is None else mask[inner],
        validation_images=population.train_images[outer],
        validation_responses=population.train_responses[outer],
        validation_mask=None if mask is None else mask[outer],
        trials=None,
    )
