"""Fixed cores: banks of filters that turn images into maps of features, with nothing to be fitted.

A core takes images (n, rows, columns) and gives features (n, rows', columns', channels); a read-out (`ridge.py`) weighs
them for each unit.  Filters are applied in the Fourier domain, so the image counts as periodic.

Sources: steerable pyramid, Simoncelli & Freeman (1995), Proc. ICIP 3:444; energy model, Adelson & Bergen (1985), JOSA A
2:284; Gabor filters, Jones & Palmer (1987), J. Neurophysiol. 58:1233.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from runtime.errors import ConfigError, did_you_mean
from v1models.repeats import shrink

COMPRESSIONS = {
    "power": lambda energy: energy,
    "amplitude": lambda energy: jnp.sqrt(energy + 1e-12),  # the square root alone has no derivative at rest
    "log": lambda energy: jnp.log(energy + 1e-4),
}


def frequencies(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (frequency in cycles per pixel, direction in radians) of every coefficient of a size × size image."""
    along = np.fft.fftfreq(size)
    x, y = np.meshgrid(along, along)
    return np.hypot(x, y), np.arctan2(y, x)


def steerable_filters(size: int, scales: int = 4, orientations: int = 6, highest: float = 0.35) -> np.ndarray:
    """Returns transfer functions of analytic steerable filters, (scales · orientations, size, size).

    H(f, θ) = 2 cos(½π log₂(f/f_k)) · cos(θ − θ_j)^(orientations − 1) within one octave of f_k = highest / 2^k and
    within 90° of θ_j = πj / orientations, 0 elsewhere.
    """
    frequency, direction = frequencies(size)
    filters = []
    for scale in range(scales):
        octaves = np.log2(np.maximum(frequency, 1e-12) * 2**scale / highest)
        radial = np.where(np.abs(octaves) < 1, np.cos(0.5 * np.pi * octaves), 0)
        for orientation in range(orientations):
            angle = (direction - np.pi * orientation / orientations + np.pi) % (2 * np.pi) - np.pi
            angular = np.where(np.abs(angle) < np.pi / 2, np.cos(angle) ** (orientations - 1), 0)
            filters.append(2 * radial * angular)
    return np.stack(filters)


def gabor_filters(
    size: int, scales: int = 4, orientations: int = 6, highest: float = 0.25, bandwidth: float = 0.5
) -> np.ndarray:
    """Returns transfer functions of analytic Gabor filters, (scales · orientations, size, size).

    H(f) = exp(−|f − f_kj|² / 2(bandwidth f_k)²) with f_kj of length f_k = highest / 2^k in the direction πj /
    orientations, minus what makes a constant image answer.
    """
    along = np.fft.fftfreq(size)
    x, y = np.meshgrid(along, along)
    filters = []
    for scale in range(scales):
        center = highest / 2**scale
        spread = 2 * (bandwidth * center) ** 2
        for orientation in range(orientations):
            angle = np.pi * orientation / orientations
            there = np.exp(-((x - center * np.cos(angle)) ** 2 + (y - center * np.sin(angle)) ** 2) / spread)
            constant = np.exp(-(center**2) / spread)
            filters.append(2 * (there - constant * np.exp(-(x**2 + y**2) / spread)))
    return np.stack(filters)


def energy_maps(images: jax.Array, filters: np.ndarray, grid: int, compression: str = "log") -> jax.Array:
    """Returns local energy of every filter, |response|² averaged over cells and compressed: (n, grid, grid, filters).

    Args:
        images: (n, size, size), about unit contrast; the mean is removed.
        filters: (filters, size, size), transfer functions of analytic filters.
        grid: cells along a side, a divisor of size.
        compression: 'power', 'amplitude' (square root) or 'log'.

    Raises:
        ConfigError: for a grid that does not divide the size, or an unknown compression.
    """
    size = images.shape[1]
    if grid < 1 or size % grid:
        raise ConfigError(f"a grid of {grid} cells does not divide images of {size} pixels; give a divisor")
    if compression not in COMPRESSIONS:
        raise ConfigError(f"compression is '{compression}'{did_you_mean(compression, COMPRESSIONS)}")
    images = jnp.asarray(images, jnp.float32)
    spectra = jnp.fft.fft2(images - images.mean((1, 2), keepdims=True))
    cell = size // grid

    def one(transfer):  # one filter at a time: all at once are gigabytes
        energy = jnp.square(jnp.abs(jnp.fft.ifft2(spectra * transfer)))
        return energy.reshape(len(images), grid, cell, grid, cell).mean((2, 4))

    maps = jax.lax.map(one, jnp.asarray(filters, jnp.float32))
    return COMPRESSIONS[compression](jnp.moveaxis(maps, 0, -1))


BANKS = {"steerable": steerable_filters, "gabor": gabor_filters}


def fixed_core(family: ConfigDict, size: int) -> Callable[[jax.Array], jax.Array]:
    """Returns the differentiable map from images (n, size, size) to features that a family's config describes.

    Raises:
        ConfigError: by the map, where images cannot be averaged to the family's grid.
    """
    if family.core == "pixels":
        return lambda images: shrink(images[..., None], family.grid)
    filters = BANKS[family.core](size, family.scales, family.orientations, family.highest)
    return lambda images: energy_maps(images, filters, family.grid, family.compression)


def read_features(path: str | os.PathLike, count: int) -> np.ndarray:
    """Returns features (n, rows, columns, channels) from a file that another program wrote.

    The file is an `.npy` array, or an `.npz` file with the array `features`; its rows are the images of the recording,
    in their order.  This is how a field's latents or a pretrained network come in.

    Raises:
        ConfigError: for a missing or malformed file, another number of images, or values that are not finite.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; write features of the recording's images there first")
    try:
        loaded = np.load(path, allow_pickle=False)
        features = loaded if isinstance(loaded, np.ndarray) else loaded["features"]
    except (ValueError, OSError, KeyError, EOFError) as error:
        raise ConfigError(f"{path} holds no array of features ({error}); write 'features' with numpy.savez") from None
    if len(features) != count:
        raise ConfigError(f"{path} has features of {len(features)} images, and the recording has {count}")
    if features.ndim < 2 or not np.isfinite(features).all():
        raise ConfigError(f"{path}: features have shape {features.shape} or are not finite; give (n, …) of numbers")
    if features.ndim < 4:
        features = features.reshape(count, 1, 1, -1)
    return np.asarray(features, np.float64)
