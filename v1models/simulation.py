"""A simulated population: known receptive fields, known noise, repeats — data that need no file and have a truth.

Two kinds of neuron see natural-image patches:

    'center_surround'   a shared set of difference-of-Gaussians units (the model of LGN input) → a weighted sum →
                        softplus, which is the shape of the HSM baselines
    'energy'            Gabor energy units: √(even² + odd²), a complex cell (Adelson & Bergen 1985)

Rates are scaled to a mean of `mean_rate`. Training images are shown once, validation images `repeats` times, with
Poisson counts or gamma noise of the same mean and variance. Because the rates are known, so is the best score that any
model can reach.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from runtime.errors import ConfigError
from runtime.images import load_images
from v1models.data import Population
from v1models.gaussians import default_bounds, difference_of_gaussians

KINDS = ("center_surround", "energy", "mixed")
NOISES = ("poisson", "gamma")


class Truth(NamedTuple):
    """What the simulation knows; pixels from the top-left corner."""

    gaussians: Any  # (2, 4, G) difference-of-Gaussians units, parameters as in gaussians.py, or None
    inner_weights: Any  # (G, hidden units), or None
    outer_weights: Any  # (hidden units, neurons of that kind), or None
    gabors: Any  # (neurons of that kind, 5): x, y, orientation (rad), wavelength, envelope sd (pixels), or None
    train_rates: Any  # (n, N), expected responses
    validation_rates: Any  # (m, N)


def _units(random, count, size):
    """Center–surround units: positions over the middle of the image, centers of 1 to 2.5 pixels sd."""
    spread = (0.25 * size, 0.75 * size)
    center = np.stack(
        [
            random.uniform(6, 10, count),
            random.uniform(1.5, 6, count),
            random.uniform(*spread, count),
            random.uniform(*spread, count),
        ]
    )
    # The surround nearly balances the center, so that mean luminance drives the unit little.
    surround = np.stack([0.85 * center[0], 2 * center[1], center[2], center[3]])
    return np.stack([center, surround])


def _center_surround_rates(random, images, neurons, units, hidden_units, size):
    gaussians = _units(random, units, size)
    bounds = default_bounds(size, size)
    filters = np.asarray(jax.jit(difference_of_gaussians, static_argnums=(1, 2, 3))(gaussians, size, size, bounds))
    drive = _standardized(images.reshape(len(images), -1) @ filters.reshape(units, -1).T)
    inner = _sparse_weights(random, units, hidden_units)
    hidden = np.logaddexp(0, 2 * _standardized(drive @ inner))
    outer = _sparse_weights(random, hidden_units, neurons)
    return np.logaddexp(0, 2 * _standardized(hidden @ outer) - 1), gaussians, inner, outer


def _standardized(values):
    return (values - values.mean(0)) / values.std(0)


def _sparse_weights(random, inputs, outputs):
    """(inputs, outputs): about half are zero, and every output has one strong positive input."""
    weights = random.standard_normal((inputs, outputs)) * (random.random((inputs, outputs)) < 0.5)
    weights[random.integers(inputs, size=outputs), np.arange(outputs)] += 1.5
    return weights


def _gabor_pair(x, y, orientation, wavelength, deviation, size):
    rows, columns = np.mgrid[:size, :size]
    along = (columns - x) * np.cos(orientation) + (rows - y) * np.sin(orientation)
    envelope = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * deviation**2))
    phase = 2 * np.pi * along / wavelength
    even = envelope * np.cos(phase)
    # Without its mean the even filter ignores luminance, as the odd one does.
    return even - envelope * even.sum() / envelope.sum(), envelope * np.sin(phase)


def _energy_rates(random, images, neurons, size):
    gabors = np.stack(
        [
            random.uniform(0.3 * size, 0.7 * size, neurons),
            random.uniform(0.3 * size, 0.7 * size, neurons),
            random.uniform(0, np.pi, neurons),
            random.uniform(size / 6, size / 3, neurons),
            random.uniform(size / 12, size / 7, neurons),
        ],
        axis=1,
    )
    flat = images.reshape(len(images), -1)
    pairs = [_gabor_pair(*parameters, size) for parameters in gabors]
    return np.stack([np.hypot(flat @ even.ravel(), flat @ odd.ravel()) for even, odd in pairs], axis=1), gabors


def simulate(
    neurons: int = 40,
    size: int = 31,
    train_images: int = 1800,
    validation_images: int = 50,
    repeats: int = 10,
    kind: str = "mixed",
    noise: str = "poisson",
    mean_rate: float = 2.0,
    units: int = 9,
    hidden: float = 0.2,
    seed: int = 0,
) -> Population:
    """A simulated population as a `Population`, its `truth` a `Truth`.

    Args:
        neurons: how many.
        size: pixels a side of an image.
        train_images, validation_images: how many, the former shown once, the latter `repeats` times.
        repeats: of each validation image.
        kind: 'center_surround', 'energy' or 'mixed' (half of each).
        noise: 'poisson' (counts) or 'gamma' (continuous, variance = mean).
        mean_rate: mean expected response.
        units: center–surround units.
        hidden: hidden units between these and the neurons, a share of the neurons (at least two units).
        seed: of everything random.

    Raises:
        ConfigError: an unknown kind or noise, a size below 12, or a share of hidden units outside (0, 1].
    """
    if kind not in KINDS or noise not in NOISES:
        raise ConfigError(
            f"simulated population: kind {kind!r} must be one of {', '.join(KINDS)} and noise {noise!r} one "
            f"of {', '.join(NOISES)}."
        )
    if size < 12 or min(neurons, units, train_images, validation_images, repeats) < 1:
        raise ConfigError(f"simulated population: size is {size}, at least 12; all counts are at least 1.")
    if not 0 < hidden <= 1:
        raise ConfigError(f"simulated population: hidden is {hidden}; it must lie above 0 and at most at 1 a neuron.")
    random = np.random.default_rng(seed)
    found = load_images("natural", size=size, channels=1, num_train=train_images, num_test=validation_images, seed=seed)
    images = np.concatenate([found.train, found.test]).astype(np.float64)
    whitened = (images[..., 0] - images.mean()) / images.std()
    simple = {"center_surround": neurons, "energy": 0, "mixed": neurons - neurons // 2}[kind]
    rates, gaussians, weights, gabors = [], None, (None, None), None
    if simple:
        part, gaussians, *weights = _center_surround_rates(
            random, whitened, simple, units, max(2, int(hidden * simple)), size
        )
        rates.append(part)
    if neurons - simple:
        part, gabors = _energy_rates(random, whitened, neurons - simple, size)
        rates.append(part)
    rates = np.concatenate(rates, axis=1)
    rates = mean_rate * rates / rates.mean(0)
    train_rates, validation_rates = rates[:train_images], rates[train_images:]

    def responses(expected):
        return random.poisson(expected) if noise == "poisson" else random.gamma(np.maximum(expected, 1e-6))

    trials = np.stack([responses(validation_rates) for _ in range(repeats)]).astype(np.float64)
    return Population(
        name=f"simulated {kind}",
        train_images=images[:train_images],
        train_responses=responses(train_rates).astype(np.float32),
        validation_images=images[train_images:],
        validation_responses=trials.mean(0).astype(np.float32),
        trials=trials,
        truth=Truth(gaussians, *weights, gabors, train_rates, validation_rates),
    )
