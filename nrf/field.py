"""A trained field in one object: draw from it, show it images, ask for energies.

    model = nrf.load("runs/quick")
    images = model.sample(seed=0, count=16, steps=2000)         # (16, H, W, C), grey levels in [0, 1]
    held_out = model.data("test", 64)                           # images prepared as those of the training
    latents = model.respond(held_out, seed=0, steps=200)        # list per latent layer of mean states (64, H, W, C)
    model.energy(held_out, latents)                             # (64,)

Weights, sampler and images are those of the run: its `config.json` says all of it.  Equal seeds give equal numbers.
"""

from __future__ import annotations

import numbers
import pathlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import FrozenConfigDict

from nrf.from_config import read_sampler
from nrf.phases import make_gradient_fn, uniform_states
from nrf.trained import Trained, read_run_config, read_trained, start_states
from runtime import devices
from runtime.errors import ConfigError, did_you_mean
from runtime.images import ImageSet, load_images

STARTS = ("noise", "data")
PARTS = ("train", "test")
TOLERANCE = 1e-6  # by which an image may leave [0, 1]: rounding


class TrainedField:
    """A trained field, read by `nrf.load`.

    Attributes:
        config: the config of its run.
        folder: the run folder.
        updates: number of updates behind its weights.
        image_shape: (H, W, C) of its images.
        latent_shapes: (H, W, C) of each latent layer.
    """

    def __init__(self, folder: pathlib.Path, config: FrozenConfigDict, trained: Trained):
        self.folder, self.config, self.updates = folder, config, trained.updates
        self._trained = trained
        shapes = trained.model.architecture.state_shapes(1)
        self.image_shape, *self.latent_shapes = (tuple(shape[1:]) for shape in shapes)

    def __repr__(self) -> str:
        return f"TrainedField('{self.folder}', {self.updates} updates, images {self.image_shape})"

    def sample(self, *, seed: int, count: int = 16, steps: int = 1000, start: Any = "noise") -> np.ndarray:
        """Images in which free chains of the model's own sampler end.

        Args:
            seed: of the start and of the noise.
            count: number of chains; with images given as the start, they are the chains and count is their number.
            steps: sampler steps.
            start: 'noise', states drawn uniformly; 'data', held-out images; or images (N, H, W, C) in [0, 1].  With
                images, latents start where the positive phase of the training starts.

        Returns:
            (count, H, W, C) in [0, 1].

        Raises:
            ConfigError: an argument that cannot be used.
        """
        start_key, run_key = self._keys(seed)
        _check_whole("steps", steps, 1)
        if isinstance(start, str):
            _check_whole("count", count, 1)
            if start not in STARTS:
                raise ConfigError(f"there is no start {start!r}{did_you_mean(start, STARTS)}; give one, or images")
        if isinstance(start, str) and start == "noise":
            states = self._noise(start_key, count)
        else:
            images = self._draw_data(seed, count) if isinstance(start, str) else self._checked(start, "start")
            states = self._start(start_key, images)
        states = self._free(run_key, self._trained.weights, states, jnp.int32(steps))
        return np.clip(self._trained.space.to_images(np.asarray(states[0])), 0.0, 1.0)

    def data(self, part: str = "test", count: int | None = None) -> np.ndarray:
        """The first images of the training set or of the held-out ones, prepared as the model was trained on.

        Args:
            part: 'train' or 'test'.
            count: how many, None for all.

        Returns:
            (count, H, W, C) in [0, 1].

        Raises:
            ConfigError: an unknown part, more images than there are, or images that are not on this machine.
        """
        if part not in PARTS:
            raise ConfigError(f"there is no part {part!r} of the data{did_you_mean(str(part), PARTS)}")
        images = getattr(self._images, part)
        if count is None:
            return images
        _check_whole("count", count, 1)
        if count > len(images):
            raise ConfigError(f"count is {count}, but the part {part!r} of the data holds {len(images)} images")
        return images[:count]

    def respond(self, images: Any, *, seed: int, steps: int = 200) -> list[np.ndarray]:
        """Mean states of the latents while the images are shown.

        The latents start where the positive phase of the training starts, settle for half of the steps, and are
        averaged over the other half.

        Args:
            images: (N, H, W, C) in [0, 1].
            seed: of the start and of the noise.
            steps: sampler steps.

        Returns:
            One array (N, H, W, C) for each latent layer.

        Raises:
            ConfigError: an argument that cannot be used.
        """
        start_key, run_key = self._keys(seed)
        _check_whole("steps", steps, 1)
        states = self._start(start_key, self._checked(images, "images"))
        if len(states) == 1:
            return []
        means = self._clamped(run_key, self._trained.weights, states, jnp.int32(steps // 2), jnp.int32(steps))
        return [np.asarray(mean) for mean in means]

    def energy(self, images: Any, latents: Sequence[Any]) -> np.ndarray:
        """Energy E(s) of images with latents, summed over units.

        Args:
            images: (N, H, W, C) in [0, 1].
            latents: one array (N, H, W, C) for each latent layer, such as `respond` returns.

        Returns:
            (N,).

        Raises:
            ConfigError: arrays of other shapes, or values outside their range.
        """
        images = self._checked(images, "images")
        if len(latents) != len(self.latent_shapes):
            raise ConfigError(f"latents has {len(latents)} arrays, but the model has {len(self.latent_shapes)} layers")
        arrays = []
        for layer, (given, shape) in enumerate(zip(latents, self.latent_shapes, strict=True), start=1):
            array = np.asarray(given, np.float32)
            if array.shape != (len(images), *shape):
                raise ConfigError(
                    f"latents of layer {layer} have shape {array.shape}; for {len(images)} images they must have "
                    f"{(len(images), *shape)}"
                )
            arrays.append(array)
        return np.asarray(self._energy(self._trained.weights, (self._as_states(images), *arrays)))

    # --- what is compiled or read once

    @cached_property
    def _images(self) -> ImageSet:
        data = self.config.data
        return load_images(
            data.name, data_dir=data.dir, size=data.size, channels=data.channels, num_train=data.num_train,
            contrast=data.contrast, seed=self.config.seed,
        )  # fmt: skip

    @cached_property
    def _energy(self):
        return jax.jit(self._trained.model.energy)

    @cached_property
    def _noise(self):
        return jax.jit(lambda key, count: uniform_states(key, self._trained.model, count), static_argnums=1)

    @cached_property
    def _starts(self):
        def start(key, variables, images):
            trained = self._trained._replace(initializer_variables=variables)
            return start_states(trained, key, images, self.config.positive.start)

        return jax.jit(start)

    @cached_property
    def _free(self):
        sampler, clip = read_sampler(self.config, self._trained.model, False), self.config.sampler.gradient_clip or None

        def run(key, weights, states, steps):
            gradient_fn = make_gradient_fn(self._trained.model, weights, None, clip)

            def advance(step, state):
                return sampler.step(jax.random.fold_in(key, step), state, gradient_fn)[0]

            return tuple(jax.lax.fori_loop(0, steps, advance, sampler.init(states, gradient_fn)).position)

        return jax.jit(run)

    @cached_property
    def _clamped(self):
        sampler, clip = read_sampler(self.config, self._trained.model, True), self.config.sampler.gradient_clip or None

        def run(key, weights, states, settled, steps):
            gradient_fn = make_gradient_fn(self._trained.model, weights, states[0], clip)

            def advance(step, carry):
                state, sums = carry
                state, _ = sampler.step(jax.random.fold_in(key, step), state, gradient_fn)
                kept = step >= settled
                return state, tuple(jnp.where(kept, a + s, a) for a, s in zip(sums, state.position, strict=True))

            start = sampler.init(states[1:], gradient_fn)
            _, sums = jax.lax.fori_loop(0, steps, advance, (start, tuple(map(jnp.zeros_like, states[1:]))))
            return tuple(total / (steps - settled) for total in sums)

        return jax.jit(run)

    # --- from arguments to arrays

    def _keys(self, seed: int) -> tuple[jax.Array, jax.Array]:
        _check_whole("seed", seed, 0)
        return tuple(jax.random.split(jax.random.key(seed)))

    def _draw_data(self, seed: int, count: int) -> np.ndarray:
        held_out = self._images.test
        rows = np.random.default_rng(seed).choice(len(held_out), count, replace=len(held_out) < count)
        return held_out[rows]

    def _checked(self, images: Any, name: str) -> np.ndarray:
        array = np.asarray(images)
        if array.ndim != 4 or array.shape[1:] != self.image_shape or not len(array):
            raise ConfigError(f"{name} has shape {array.shape}; the model reads images of shape (N, {self._size()})")
        if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
            raise ConfigError(f"{name} holds {array.dtype}; give grey levels in [0, 1] as numbers")
        low, high = float(array.min()), float(array.max())
        if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):  # false for NaN, too
            raise ConfigError(f"{name} has values from {low:g} to {high:g}; give grey levels in [0, 1]")
        return np.asarray(array, np.float32)

    def _size(self) -> str:
        return ", ".join(map(str, self.image_shape))

    def _as_states(self, images: np.ndarray) -> jax.Array:
        return jax.device_put(self._trained.space.to_states(images))

    def _start(self, key: jax.Array, images: np.ndarray):
        return self._starts(key, self._trained.initializer_variables, self._as_states(images))


def load(folder: str | pathlib.Path, step: int | str = "latest") -> TrainedField:
    """Read the field that a run folder, or a shipped folder under `pretrained/`, holds.

    Args:
        folder: run folder.
        step: number of updates of the checkpoint, 'latest' or 'best'.

    Raises:
        ConfigError: no run folder, or one without a trained field.
        CheckpointError: a checkpoint that is missing or damaged.
    """
    folder = pathlib.Path(folder)
    config = read_run_config(folder)
    devices.set_matmul_precision(config.precision)
    return TrainedField(folder, config, read_trained(config, folder, step))


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ConfigError(f"{name} is {value!r}; give a whole number of at least {least}")
