"""Images that are no photographs, for asking whether a model's density tells.

    phase scrambled   each patch with its amplitude spectrum, mean and random phases: second-order statistics kept
    noise             white, of the data's mean and standard deviation
    digits            an image set of another kind (config.score.digits), where one is given
"""

from __future__ import annotations

import numpy as np
from ml_collections import ConfigDict

from runtime.errors import ConfigError
from runtime.images import load_images


def phase_scrambled(images: np.ndarray, seed: int) -> np.ndarray:
    """Images (N, H, W, C) with random phases: those of white noise, the same in all channels, clipped to [0, 1].

    The amplitude at every spatial frequency and the mean are each image's own, up to the clipping.
    """
    noise = np.random.default_rng([seed, 11]).normal(size=(*images.shape[:3], 1))
    phases = np.exp(1j * np.angle(np.fft.fft2(noise, axes=(1, 2))))
    spectrum = np.abs(np.fft.fft2(images, axes=(1, 2)))
    scrambled = np.fft.ifft2(spectrum * phases, axes=(1, 2)).real
    means = images.mean(axis=(1, 2), keepdims=True)
    return np.clip(scrambled - scrambled.mean(axis=(1, 2), keepdims=True) + means, 0, 1)


def white_noise(images: np.ndarray, seed: int) -> np.ndarray:
    """Gaussian white noise of the images' mean and standard deviation, clipped to [0, 1]."""
    draw = np.random.default_rng([seed, 12])
    return np.clip(draw.normal(images.mean(), images.std(), images.shape), 0, 1)


def outlier_sets(config: ConfigDict, images: np.ndarray) -> dict[str, np.ndarray]:
    """The sets, by name, as many images each as `images` (N, H, W, C), grey levels in [0, 1].

    Raises:
        ConfigError: digits that cannot be loaded.
    """
    sets = {"phase scrambled": phase_scrambled(images, config.seed), "noise": white_noise(images, config.seed)}
    if config.score.digits is not None:
        size, channels = images.shape[1], images.shape[3]
        try:
            digits = load_images(config.score.digits, data_dir=config.data.dir, size=size, channels=channels).test
        except ConfigError as error:
            raise ConfigError(f"config.score.digits: {error}") from None
        sets["digits"] = digits[np.arange(len(images)) % len(digits)]
    return sets
