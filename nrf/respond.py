"""What a field's latents do while it is shown images: a file of features that models of real neurons can read.

The stage `respond` cuts every image of a file into patches of the field's size, holds each while the latents move by
the field's own sampler at its own temperature, and writes `responses/NAME.npz` in the run folder:

    features   (n, rows, columns, channels)      posterior means, one cell a patch
    samples    (S, n, rows, columns, channels)   the same of single posterior samples: trials, float16
    blank      (S, rows, columns, channels)      samples while a uniform image of the images' mean level is shown
    channels   names of the channels: LAYER/CHANNEL/mean and LAYER/CHANNEL/square

A channel's value in a patch is the mean over its map of the state, or of the state squared.  With
`config.respond.weights` 'shuffled' the entries of every tensor of the weights are permuted first: the same network
without what it learned.
"""

from __future__ import annotations

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nrf.controls import shuffle_weights
from nrf.from_config import read_sampler
from nrf.phases import make_gradient_fn
from nrf.trained import Trained, read_trained, start_states
from runtime import devices
from runtime.errors import ConfigError
from runtime.files import write_arrays
from runtime.interrupt import stop_on_signal
from runtime.metrics import Progress


def respond(config: ConfigDict, workdir: str | pathlib.Path) -> pathlib.Path:
    """Writes the responses of a trained field to the images of `config.respond.images`; returns the file.

    Raises:
        ConfigError: a file or field that cannot be used.
    """
    options, folder = config.respond, pathlib.Path(workdir)
    devices.set_matmul_precision(config.precision)
    trained = read_trained(config, folder)
    if options.weights == "shuffled":
        trained = shuffle_weights(config, folder, trained).trained
    height, _, channels = trained.model.architecture.state_shapes(1)[0][1:]
    images = read_images(options.images, options.array, options.size, channels)
    shown = np.concatenate([images, np.full_like(images[:1], images.mean())])
    patches, grid = cut(shown, height, options.stride)
    path = folder / "responses" / f"{options.name}.npz"
    sample = make_responder(config, trained)
    states = np.asarray(trained.space.to_states(patches), np.float32)
    found, batch = [], min(options.batch, len(states))
    with stop_on_signal() as stop, Progress(-(-len(states) // batch), 0, "responding") as progress:
        for done, first in enumerate(range(0, len(states), batch)):
            rows = np.minimum(np.arange(first, first + batch), len(states) - 1)  # a last, smaller batch: same program
            key = jax.random.fold_in(jax.random.key(config.seed), done)
            pooled = np.asarray(sample(key, trained.weights, states[rows]), np.float32)
            found.append(pooled[:, : min(batch, len(states) - first)])
            progress.update(done + 1)
            if stop.requested:
                raise ConfigError("stopped before all images were shown; give the same command again")
    samples = np.concatenate(found, axis=1).reshape(options.samples, len(shown), *grid, -1)
    samples, blank = samples[:, :-1], samples[:, -1]
    arrays = {"features": samples.mean(0), "samples": samples.astype(np.float16), "blank": blank.astype(np.float16)}
    write_arrays(path, {**arrays, "channels": names(trained)}, compress=True)
    return path


def read_images(path: str | None, name: str, size: int, channels: int) -> np.ndarray:
    """Returns images (n, size, size, channels) in [0, 1] from an array of an `.npz` file.

    Integers count as grey levels of 0 to 255; larger images are averaged over blocks of pixels; colours are averaged
    for a field of grey images, and grey levels repeated for one of colours.

    Raises:
        ConfigError: a missing file or array, or images that do not fit.
    """
    if path is None:
        raise ConfigError("config.respond.images is not set; give an .npz file that holds images")
    path = pathlib.Path(path)
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; give config.respond.images an .npz file that holds images")
    with np.load(path, allow_pickle=False) as file:
        if name not in file.files:
            raise ConfigError(f"{path} has no array '{name}' but {', '.join(file.files)}; set config.respond.array")
        images = file[name]
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[1] != images.shape[2]:
        raise ConfigError(f"{path}: '{name}' has shape {images.shape}; give square images (n, size, size[, channels])")
    levels = images / 255 if np.issubdtype(images.dtype, np.integer) else np.asarray(images, np.float64)
    if not (levels.min() >= 0 and levels.max() <= 1):
        raise ConfigError(f"{path}: '{name}' goes from {levels.min():g} to {levels.max():g}; give levels in [0, 1]")
    factor = images.shape[1] // size
    if factor < 1 or images.shape[1] % size:
        raise ConfigError(f"config.respond.size is {size}; it must divide the images' {images.shape[1]} pixels")
    levels = levels.reshape(len(levels), size, factor, size, factor, -1).mean((2, 4))
    if channels == 1:
        return levels.mean(-1, keepdims=True)
    return np.repeat(levels.mean(-1, keepdims=True), channels, -1) if levels.shape[-1] != channels else levels


def cut(images: np.ndarray, size: int, stride: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Returns patches (n · rows · columns, size, size, channels) every `stride` pixels, and (rows, columns).

    Raises:
        ConfigError: images smaller than a patch.
    """
    side = images.shape[1]
    if side < size:
        raise ConfigError(f"config.respond.size is {side}, less than the {size} pixels that the field sees; raise it")
    starts = range(0, side - size + 1, stride)
    patches = np.stack([images[:, y : y + size, x : x + size] for y in starts for x in starts], axis=1)
    return patches.reshape(-1, *patches.shape[2:]), (len(starts), len(starts))


def make_responder(config: ConfigDict, trained: Trained):
    """Returns the compiled function (key, weights, images (B, H, W, C)) -> pooled samples (S, B, channels)."""
    options, model = config.respond, trained.model
    sampler, clip = read_sampler(config, model, True), config.sampler.gradient_clip or None

    def run(key, weights, images):
        start_key, key = jax.random.split(key)
        gradient_fn = make_gradient_fn(model, weights, images, clip)
        state = sampler.init(start_states(trained, start_key, images, config.positive.start)[1:], gradient_fn)

        def advance(step, state):
            return sampler.step(jax.random.fold_in(key, step), state, gradient_fn)[0]

        def take(state, index):
            first = options.settle + index * options.every
            state = jax.lax.fori_loop(first, first + options.every, advance, state)
            return state, pool(state.position)

        state = jax.lax.fori_loop(0, options.settle, advance, state)
        return jax.lax.scan(take, state, jnp.arange(options.samples))[1]

    return jax.jit(run)


def pool(latents) -> jax.Array:
    """Returns means over the map of every channel's state and of its square, (B, channels)."""
    parts = [power(state).mean((1, 2)) for state in latents for power in (lambda s: s, jnp.square)]
    return jnp.concatenate(parts, axis=-1)


def names(trained: Trained) -> np.ndarray:
    """Returns the channels' names, in the order of `pool`."""
    layers = enumerate(trained.model.architecture.layers[1:], start=1)
    return np.array(
        [f"{index}/{c}/{what}" for index, layer in layers for what in ("mean", "square") for c in range(layer.channels)]
    )
