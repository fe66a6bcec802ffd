"""What the units of a trained model stand for: images that the model samples, freely or for one channel at a time.

Three modes, each a chain in which every layer moves, the image included:

    standard         a long free phase from noise: samples of the model
    channels_energy  1/2 sum e_i over the units of one channel is lowered, e_i the energies of `energy.py`.
                     Layers that this energy does not reach rest (only noise and friction move them), except those
                     below l, which follow the total energy, so that an image appears below a deep layer
    channels_state   the ordinary dynamics with one channel held at 0.8 and the layer's other channels at 0

All channels of a layer run in one program: the batch axis is channels × samples.  Annealing starts hot and cools the
sampler geometrically to its own temperature.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from ml_collections import ConfigDict
from PIL import Image

from nrf import figures
from nrf.architecture import Architecture
from nrf.energy import EnergyModel, States, Weights
from nrf.from_config import read_sampler
from nrf.phases import clip_gradient, uniform_states
from nrf.trained import read_trained
from runtime import devices
from runtime.errors import ConfigError, did_you_mean
from runtime.files import atomic_write, write_figure
from runtime.metrics import Progress

MODES = ("standard", "channels_energy", "channels_state")
ENERGY_SCALE = 0.5
HELD_VALUE = 0.8


class Annealing(NamedTuple):
    """Temperature T(t) = T factor^(1 - t/steps) until step `steps`, T from then on."""

    factor: float  # how many times hotter the chain starts
    steps: int


class Visualisation(NamedTuple):
    """Pure functions of one mode; `selected` is the channel of each image, one-hot, (B, channels of the layer)."""

    init: Callable[..., Any]  # (weights, states, selected) -> sampler state
    step: Callable[..., tuple]  # (key, weights, sampler state, selected, step number) -> (sampler state, info)


class Trajectory(NamedTuple):
    """What a run leaves behind."""

    frames: jax.Array  # (frames + 1, B, H, W, C), the image layer at the start and after each stretch of steps
    energy: jax.Array  # (frames, B), energy that the chain follows, before the last step of each stretch
    states: States  # all layers at the end


def reached_layers(architecture: Architecture, layer: int) -> tuple[int, ...]:
    """Layers whose states the energy of `layer`'s units depends on: itself and its inputs, in rising order."""
    target = architecture.layers[layer]
    return tuple(sorted({layer} | {each.source for each in (*target.conv_inputs, *target.dense_inputs)}))


def make_visualisation(
    model: EnergyModel,
    sampler,
    mode: str = "standard",
    layer: int | None = None,
    *,
    energy_scale: float = ENERGY_SCALE,
    held_value: float = HELD_VALUE,
    gradient_clip: float | None = None,
    samples: int | None = None,
    annealing: Annealing | None = None,
) -> Visualisation:
    """Build the functions of a mode.

    sampler: over all layers; layer: whose channels are shown (not for 'standard'); energy_scale: factor of the
    channel's energy; held_value: state of the held channel; gradient_clip: limit of the norm of the gradient of all
    layers over the `samples` images of one channel (the whole batch if left out); annealing: None for none.
    The momentum clip and the batch-averaged preconditioner of SGHMC, if asked for, act on the whole batch.
    Raises ValueError for an unknown mode, a layer that is not there, or annealing of a sampler without a temperature.
    """
    if mode not in MODES:
        raise ConfigError(f"visualisation mode '{mode}' is unknown{did_you_mean(mode, MODES)}")
    count = len(model.architecture.layers)
    if mode != "standard" and (layer is None or not 0 <= layer < count):
        raise ConfigError(f"mode '{mode}' shows the channels of a layer from 0 to {count - 1}, not of layer {layer}")
    if annealing is not None and sampler.options.get("temperature") is None:
        raise ConfigError(f"sampler '{sampler.name}' has no temperature to anneal; set visualise.annealing to 1")
    descends = mode == "channels_energy"
    reached = reached_layers(model.architecture, layer) if descends else ()
    below = tuple(i for i in range(layer) if i not in reached) if descends else ()

    def gradient_of(weights: Weights, selected: jax.Array) -> Callable:
        def channel_energy(position: States) -> tuple[jax.Array, jax.Array]:
            units = model.unit_energies(weights, position)[layer]
            energy = energy_scale * jnp.sum(units * selected[:, None, None, :], axis=(1, 2, 3))
            return jnp.sum(energy), energy

        def gradient_fn(position: States) -> tuple[jax.Array, States]:
            if descends:
                gradient, energy = jax.grad(channel_energy, has_aux=True)(position)
                if below:
                    _, total = model.energy_and_gradient(weights, position, below)
                    replaced = dict(zip(below, total, strict=True))
                    gradient = tuple(replaced.get(i, g) for i, g in enumerate(gradient))
            else:
                energy, gradient = model.energy_and_gradient(weights, position)
            return energy, gradient if gradient_clip is None else clip_groups(gradient, gradient_clip, samples)

        return gradient_fn

    def init(weights: Weights, states: States, selected: jax.Array):
        return sampler.init(states, gradient_of(weights, selected))

    def step(key: jax.Array, weights: Weights, state, selected: jax.Array, number: jax.Array):
        gradient_fn = gradient_of(weights, selected)
        if annealing is None:
            state, info = sampler.step(key, state, gradient_fn)
        else:
            heat = annealing.factor ** jnp.maximum(0.0, 1.0 - number / annealing.steps)
            warm = jax.tree.map(lambda t: t * heat, sampler.options["temperature"])
            state, info = sampler.step(key, state, gradient_fn, warm)
        if mode == "channels_state":
            held = jnp.broadcast_to(held_value * selected[:, None, None, :], state.position[layer].shape)
            position = tuple(held if i == layer else s for i, s in enumerate(state.position))
            state = sampler.place(state, position, gradient_fn)
        return state, info

    return Visualisation(init, step)


def clip_groups(gradient: States, norm: float, samples: int | None) -> States:
    """`phases.clip_gradient` for each run of `samples` images by itself; all images together if samples is None."""
    if samples is None:
        return clip_gradient(gradient, norm)
    groups = tuple(g.reshape(-1, samples, *g.shape[1:]) for g in gradient)
    clipped = jax.vmap(lambda group: clip_gradient(group, norm))(groups)
    return tuple(c.reshape(g.shape) for c, g in zip(clipped, gradient, strict=True))


def make_trajectory(visualisation: Visualisation, frames: int, every: int) -> Callable[..., Trajectory]:
    """Build run(key, weights, states, selected) -> Trajectory of frames × every steps, one compiled loop."""

    def run(key: jax.Array, weights: Weights, states: States, selected: jax.Array) -> Trajectory:
        def advance(number, carry):
            state, _ = carry
            key_now = jax.random.fold_in(key, number)
            state, info = visualisation.step(key_now, weights, state, selected, number)
            return state, info.energy

        def stretch(state, frame):
            nothing = jnp.zeros(states[0].shape[0])
            state, energy = jax.lax.fori_loop(frame * every, (frame + 1) * every, advance, (state, nothing))
            return state, (state.position[0], energy)

        start = visualisation.init(weights, states, selected)
        end, (images, energy) = jax.lax.scan(stretch, start, jnp.arange(frames))
        return Trajectory(jnp.concatenate([states[0][None], images]), energy, tuple(end.position))

    return run


def select_channels(channels: int, samples: int) -> jax.Array:
    """One-hot rows (channels × samples, channels): `samples` images for each channel, channel after channel."""
    return jnp.repeat(jnp.eye(channels), samples, axis=0)


def visualise(config: ConfigDict, workdir: str | pathlib.Path) -> list[pathlib.Path]:
    """Draw the modes of config.visualise for the trained model in `workdir`; returns the pictures and animations.

    For each mode (and layer) a grid `images/visualise_MODE[_layerL].png`, one panel a channel, and the same as a GIF
    over the steps.  Raises ConfigError for fields that do not fit the model.
    """
    settings = config.visualise
    devices.set_matmul_precision(config.precision)
    trained = read_trained(config, workdir)
    model, folder = trained.model, pathlib.Path(workdir) / "images"
    folder.mkdir(exist_ok=True)
    sampler = read_sampler(config, model, False)
    layers = range(1, len(model.bounds)) if settings.layers is None else settings.layers
    tasks = [
        (mode, layer) for mode in settings.modes for layer in ((None,) if mode == "standard" else layers)
    ]
    annealing = None if settings.annealing == 1.0 else Annealing(settings.annealing, max(settings.steps // 2, 1))
    every = -(-settings.steps // settings.frames)
    written = []
    with Progress(len(tasks), 0, "visualising") as progress:
        for number, (mode, layer) in enumerate(tasks):
            channels = 1 if layer is None else model.architecture.layers[layer].channels
            functions = make_visualisation(
                model, sampler, mode, layer, energy_scale=settings.energy_scale, held_value=settings.held_value,
                gradient_clip=config.sampler.gradient_clip or None, samples=settings.samples, annealing=annealing,
            )  # fmt: skip
            start_key, run_key = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), number))
            start = jax.jit(lambda key, size=channels * settings.samples: uniform_states(key, model, size))(start_key)
            run = jax.jit(make_trajectory(functions, settings.frames, every))
            trajectory = run(run_key, trained.weights, start, select_channels(channels, settings.samples))
            title = mode if layer is None else f"{mode}, layer {layer}"
            name = "_".join(("visualise", mode) + (() if layer is None else (f"layer{layer}",)))
            frames = trained.space.to_images(np.asarray(trajectory.frames))
            written += draw(frames, channels, folder / name, title, every)
            progress.update(number + 1, title)
    return written


def draw(
    frames: np.ndarray, channels: int, path: pathlib.Path, title: str, every: int
) -> list[pathlib.Path]:
    """Write the last frame as `path`.png and all frames as `path`.gif.

    frames: (frames, channels × samples, H, W, C) grey levels; every: sampler steps between frames.
    """
    grouped = frames.reshape(len(frames), channels, -1, *frames.shape[2:])
    movie = [mosaic(frame) for frame in grouped]
    pictures = [path.with_name(path.name + ending) for ending in (".png", ".gif")]
    write_picture(movie[-1], pictures[0], f"{title}: {channels} channel(s), after {every * (len(frames) - 1)} steps")
    write_animation(movie, pictures[1], [f"{title}, step {every * i}" for i in range(len(movie))])
    return pictures


def mosaic(images: np.ndarray) -> np.ndarray:
    """One picture (height, width, C) of grey levels (channels, samples, H, W, C), cut to [0, 1]: a tile a channel."""
    inner = int(np.ceil(np.sqrt(images.shape[1])))
    tiles = np.stack([figures.tile(np.clip(each, 0, 1), inner) for each in images])
    return figures.tile(tiles, int(np.ceil(np.sqrt(len(tiles)))), border=3)


def write_picture(picture: np.ndarray, path: pathlib.Path, title: str) -> None:
    """Write one picture (height, width, 1 or 3) in [0, 1] with its title as PNG."""
    figure, _, _ = _show(picture, title)
    write_figure(path, figure)


def write_animation(pictures: Sequence[np.ndarray], path: pathlib.Path, titles: Sequence[str], fps: int = 8) -> None:
    """Write pictures (height, width, 1 or 3) in [0, 1], one after another, as a GIF of `fps` pictures a second."""
    figure, image, axis = _show(pictures[0], titles[0])
    figure.set_dpi(80)
    frames = []
    for picture, title in zip(pictures, titles, strict=True):
        image.set_data(picture.squeeze())
        axis.set_title(title, fontsize=8)
        figure.canvas.draw()
        frames.append(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3]))
    with atomic_write(path) as incomplete:
        frames[0].save(incomplete, "GIF", save_all=True, append_images=frames[1:], duration=1000 // fps, loop=0)


def _show(picture: np.ndarray, title: str):
    figure = Figure(figsize=(5.0, 5.0 * picture.shape[0] / picture.shape[1] + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    image = axis.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set_title(title, fontsize=8)
    axis.set_axis_off()
    return figure, image, axis
