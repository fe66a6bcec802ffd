"""The door between pictures and the image layer: every image enters through `to_states` and leaves by `to_images`.

Pictures are grey levels in [0, 1].  States of the image layer are those grey levels stretched over the layer's range,
the grey levels themselves, or whitened coordinates, with their contrast compressed or not (`whitening.py`).  A
whitening belongs to the training set, so it is kept in the run folder (`whitening.npz`): whoever loads a model needs no
training images.
"""

from __future__ import annotations

import os
import pathlib
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from nrf import whitening
from runtime.errors import ConfigError
from runtime.files import atomic_write

FILE = "whitening.npz"


class ImageSpace(NamedTuple):
    """Coordinates of the image layer."""

    bounds: tuple[float, float]  # range of the image layer
    rescale: bool  # grey levels are stretched over the bounds (where they are not whitened)
    whitening: whitening.Whitening | None
    gain: whitening.Gain | None = None  # of whitened images; None: contrast is left as it is

    def to_states(self, images: np.ndarray) -> np.ndarray:
        """Grey levels (..., H, W, C) as float32 states of the image layer.

        Whitened states are not cut at the bounds: an image that is shown is shown as it is.
        """
        if self.whitening is not None:
            states = whitening.whiten(self.whitening, images)
            return states if self.gain is None else self.gain.apply(states)
        low, high = self.bounds
        images = np.asarray(images, np.float32)
        return images * (high - low) + low if self.rescale else images

    def to_images(self, states: np.ndarray) -> np.ndarray:
        """States (..., H, W, C) as grey levels, not cut at 0 and 1: the inverse of `to_states`."""
        if self.whitening is not None:
            states = np.asarray(states) if self.gain is None else self.gain.inverse.apply(np.asarray(states))
            return whitening.unwhiten(self.whitening, states)
        low, high = self.bounds
        states = np.asarray(states, np.float32)
        return (states - low) / (high - low) if self.rescale else states


def make_image_space(config: ConfigDict, bounds: tuple[float, float], images: np.ndarray) -> ImageSpace:
    """The image space of a config, its whitening fitted to training images (N, H, W, C) where it has one."""
    data = config.data
    if data.whitened_sd is None:
        if data.gain_control != 1:
            raise ConfigError(
                f"config.data.gain_control is {data.gain_control}, but only whitened images have their contrast "
                "compressed; set config.data.whitened_sd too, or leave gain_control at 1"
            )
        return ImageSpace(bounds, data.rescale, None)
    try:
        fitted = whitening.fit_whitening(images, data.whitened_sd)
    except ValueError as error:
        raise ConfigError(f"config.data.whitened_sd is set, but {error}; set it to None") from None
    return ImageSpace(bounds, data.rescale, fitted, read_gain(config))


def read_gain(config: ConfigDict) -> whitening.Gain | None:
    """The gain control of a config with whitening."""
    data = config.data
    return None if data.gain_control == 1 else whitening.Gain(data.whitened_sd, data.gain_control)


def write_image_space(space: ImageSpace, folder: str | os.PathLike) -> None:
    """Keep the whitening, if there is one, in a run folder."""
    if space.whitening is None:
        return
    with atomic_write(pathlib.Path(folder) / FILE) as path, path.open("wb") as file:
        np.savez(file, **space.whitening._asdict())


def read_image_space(config: ConfigDict, bounds: tuple[float, float], folder: str | os.PathLike) -> ImageSpace:
    """The image space of the run in a folder; ConfigError if its whitening is missing or damaged."""
    data = config.data
    if data.whitened_sd is None:
        return ImageSpace(bounds, data.rescale, None)
    path = pathlib.Path(folder) / FILE
    try:
        with np.load(path) as arrays:
            stored = whitening.Whitening(**arrays)
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing: images cannot be whitened as in training; restore it") from None
    except Exception as error:
        raise ConfigError(f"{path} is damaged ({error}); restore it, or train in a new folder") from None
    if stored.mean.shape != (data.size, data.size, data.channels):
        raise ConfigError(
            f"{path} whitens images of shape {stored.mean.shape}, but config.data asks for "
            f"{(data.size, data.size, data.channels)}"
        )
    return ImageSpace(bounds, data.rescale, stored, read_gain(config))
