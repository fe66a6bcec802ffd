"""Log likelihood of images under the field, between two bounds of annealed importance sampling.

Image states x and latents h are distributed as exp(-E(x, h)/T) in the box of the field's walls; the distribution of
images is what is left when the latents are summed over,

    log p(x) = log f(x) - log Z,    f(x) = ∫ exp(-E(x, h)/T) dh,    Z = ∫ f(x) dx.

Both are annealed from independent Gaussians truncated to the box, whose means and variances are those of chains of the
model (log Z: of all layers; log f: of the latents of each image).  Forward runs bound log Z and log f from below;
reverse runs, started in the model's long chains (log Z) and in its chains at the image (log f), from above.  So

    lower = forward log f - reverse log Z,    upper = reverse log f - forward log Z,

as far as those chains are samples of the model, which the gap, and the stage `diagnose`, tell.  A change of variables
brings the density of states to that of grey levels 0 to 256 (see `GreyLevels`): with uniform dequantisation its mean is
a lower bound of the log probability of 8-bit images (Theis, van den Oord & Bethge, ICLR 2016).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nrf.from_config import read_sampler
from nrf.phases import make_gradient_fn
from nrf.samplers.base import Position
from nrf.score import annealing as ais
from nrf.trained import Trained, start_states
from nrf.whitening import Gain
from runtime.errors import ConfigError

GREY_LEVELS = 256
LEAST_STEPS = 100  # of chains at an image, before and while their moments are taken
LEAST_SCALE = 0.5  # of a base, in units of sqrt(T), the standard deviation of a unit by its quadratic term alone


class GreyLevels(NamedTuple):
    """The map from grey levels in [0, 1] to states of the image layer: s = gain(A x + b)."""

    matrix: np.ndarray  # A (D, D), float64
    offset: np.ndarray  # b (D,)
    log_determinant: float  # log |det A|, nats
    gain: Gain | None = None  # None: s = A x + b

    def density(self, log_density: np.ndarray, states: np.ndarray) -> np.ndarray:
        """Log density (N,) of states (N, H, W, C) as that of images of 256 grey levels, nats per pixel and channel."""
        size, volume = len(self.offset), self.log_determinant
        if self.gain is not None:
            # The inverse map's determinant at s is one over that of the map at w.
            volume = volume - self.gain.inverse.log_determinant(states)
        return (log_density + volume) / size - np.log(GREY_LEVELS)


class ChainMoments(NamedTuple):
    """Chains after a run, with their moments over its second part."""

    position: Position  # layers (B, ...)
    mean: Position  # over time
    square: Position  # over time, of squares


def read_grey_levels(trained: Trained) -> GreyLevels:
    """The map of grey levels to states; its linear part is found by showing it blank images with one pixel lit.

    Raises:
        ConfigError: a map that loses information, which has no density.
    """
    shape = trained.model.architecture.state_shapes(1)[0][1:]
    size = int(np.prod(shape))
    probes = np.concatenate([np.zeros((1, size)), np.eye(size)]).reshape(-1, *shape)
    linear = trained.space._replace(gain=None)
    seen = np.asarray(linear.to_states(probes), np.float64).reshape(size + 1, size)
    matrix = (seen[1:] - seen[0]).T
    sign, log_determinant = np.linalg.slogdet(matrix)
    if sign == 0 or not np.isfinite(log_determinant):
        raise ConfigError("the images' map to states cannot be inverted, so images have no density under the field")
    return GreyLevels(matrix, seen[0], float(log_determinant), trained.space.gain)


def read_temperature(config: ConfigDict) -> float:
    """The temperature at which the field is judged: config.score.temperature, or its sampler's.

    Raises:
        ConfigError: none, or several.
    """
    if config.score.temperature is not None:
        temperature = config.score.temperature
    else:
        options = config.sampler[config.sampler.name]
        if "temperature" not in options:
            raise ConfigError(
                f"the sampler '{config.sampler.name}' has no temperature, at which a distribution could be judged; "
                "give one as config.score.temperature"
            )
        temperature = options.temperature
    if isinstance(temperature, tuple):
        if len(set(temperature)) > 1:
            raise ConfigError(
                f"config.sampler.{config.sampler.name}.temperature differs between layers {temperature}: "
                "what is sampled is not exp(-E/T); give one temperature as config.score.temperature"
            )
        temperature = temperature[0]
    if not temperature > 0:
        raise ConfigError(f"config.score.temperature is {temperature}; it must be positive")
    return float(temperature)


def dequantize(images: np.ndarray, seed: int) -> np.ndarray:
    """Images in [0, 1] rounded to 8 bits, with uniform noise of one grey level: (q + u) / 256, float64."""
    whole = np.rint(np.clip(np.asarray(images, np.float64), 0, 1) * (GREY_LEVELS - 1))
    return (whole + np.random.default_rng(seed).random(images.shape)) / GREY_LEVELS


# --- what is annealed ----------------------------------------------------------------------------------------------


def free_target(model, temperature: float) -> ais.Target:
    """U = E/T of all layers; arguments: the weights."""

    def target(weights, position):
        energy, gradient = model.energy_and_gradient(weights, position)
        return energy / temperature, tuple(g / temperature for g in gradient)

    return target


def clamped_target(model, temperature: float) -> ais.Target:
    """U = E/T of the latents; arguments: (weights, states of the image layer (B, H, W, C))."""

    def target(arguments, position):
        weights, image = arguments
        states = (image, *position)
        energy, gradient = model.energy_and_gradient(weights, states, range(1, len(states)))
        return energy / temperature, tuple(g / temperature for g in gradient)

    return target


def make_moment_sampler(
    config: ConfigDict, trained: Trained, clamped: bool, chunk: int = 100
) -> Callable[..., ChainMoments]:
    """Build explore(key, images, settle, steps, progress) -> ChainMoments: chains of the model's own sampler.

    images: (B, H, W, C) states of the image layer, from which the chains start as the positive phase of training does;
    where it is clamped, the image is not among the layers returned.
    """
    model = trained.model
    sampler, clip = read_sampler(config, model, clamped), config.sampler.gradient_clip or None
    first = 1 if clamped else 0

    def gradient_of(weights, image):
        return make_gradient_fn(model, weights, image if clamped else None, clip)

    @jax.jit
    def begin(key, weights, images):
        states = start_states(trained, key, images, config.positive.start)
        return sampler.init(states[first:], gradient_of(weights, images))

    @jax.jit
    def run(key, weights, image, state, sums, begun, counted):
        gradient_fn = gradient_of(weights, image)

        def one(carry, number):
            state, (mean, square) = carry
            state, _ = sampler.step(jax.random.fold_in(key, begun + number), state, gradient_fn)
            counts = (number < counted[1]) & (number >= counted[0])
            mean = jax.tree.map(lambda m, s: m + jnp.where(counts, s, 0), mean, tuple(state.position))
            square = jax.tree.map(lambda m, s: m + jnp.where(counts, s * s, 0), square, tuple(state.position))
            return (state, (mean, square)), None

        (state, sums), _ = jax.lax.scan(one, (state, sums), jnp.arange(chunk))
        return state, sums

    def explore(key, images, settle: int, steps: int, progress: Callable[[int, str], None]) -> ChainMoments:
        start_key, key = jax.random.split(key)
        state = begin(start_key, trained.weights, images)
        sums = (tuple(np.zeros(s.shape, np.float32) for s in state.position),) * 2
        total = -(-(settle + steps) // chunk) * chunk
        for begun in range(0, total, chunk):
            counted = np.array([total - steps - begun, chunk])
            state, sums = run(key, trained.weights, images, state, sums, np.int32(begun), counted)
            jax.block_until_ready(sums)
            progress(min(begun + chunk, settle + steps), "sampling")
        mean, square = (tuple(np.asarray(s) / steps for s in part) for part in sums)
        return ChainMoments(tuple(state.position), mean, square)

    return explore


def base_of(explored: ChainMoments, chains: int, bounds, temperature: float) -> ais.Base:
    """Base with the mean of every group of `chains` neighbours, and the variance over them and time.

    The variance is pooled over the groups: few chains tell it badly.
    """

    def grouped(x):
        return np.repeat(np.asarray(x).reshape(-1, chains, *x.shape[1:]).mean(axis=1), chains, axis=0)

    mean = tuple(grouped(m) for m in explored.mean)
    squares = tuple(grouped(s) for s in explored.square)
    variance = tuple(np.mean(s - m * m, axis=0, keepdims=True) for s, m in zip(squares, mean, strict=True))
    return ais.fit_base(mean, variance, bounds, LEAST_SCALE * np.sqrt(temperature))


# --- the two bounds ------------------------------------------------------------------------------------------------


def bound_log_partition(config: ConfigDict, trained: Trained, images: np.ndarray, progress) -> dict[str, Any]:
    """Bounds of log Z, JSON, and of what they were made.

    Args:
        config: of the run; config.score.chains, anneal, leapfrog, equilibrate.
        trained: the field.
        images: states of the image layer (N, H, W, C) from which the long chains start.
        progress: called with moves done (annealing both ways and sampling) and a note.
    """
    score, model, temperature = config.score, trained.model, read_temperature(config)
    keys = jax.random.split(jax.random.key(config.seed), 5)
    rows = np.arange(score.chains) % len(images)
    explore = make_moment_sampler(config, trained, clamped=False)
    half = score.equilibrate // 2
    explored = explore(keys[0], np.asarray(images[rows], np.float32), half, score.equilibrate - half, progress)
    base = base_of(explored, score.chains, model.bounds, temperature)
    base = ais.Base(*(tuple(each[:1] for each in part) for part in base))
    annealer = ais.Annealer(free_target(model, temperature), model.bounds, score.leapfrog)
    unit_scale = local_scales(model, temperature)
    schedule = annealer.plan(
        keys[1], trained.weights, base, unit_scale, score.anneal, np.ones((1, score.chains), int)
    )
    done = score.equilibrate
    forward, _ = annealer.run(
        keys[2], trained.weights, base, unit_scale, schedule, annealer.draw(keys[3], base, score.chains),
        progress=lambda moves, note: progress(done + moves, f"log Z forward, {note}"),
    )  # fmt: skip
    backward, _ = annealer.run(
        keys[4], trained.weights, base, unit_scale, schedule, explored.position, reverse=True,
        progress=lambda moves, note: progress(done + score.anneal + moves, f"log Z reverse, {note}"),
    )  # fmt: skip
    offset = float(ais.base_log_normalizer(base, model.bounds)[0])
    low, high = ais.interval_of_log_mean(forward), ais.interval_of_log_mean(backward)
    return {
        "lower": offset + float(ais.log_mean_exp(forward)),
        "upper": offset - float(ais.log_mean_exp(backward)),
        "lower_interval": [offset + low[0], offset + low[1]],
        "upper_interval": [offset - high[1], offset - high[0]],
        "base": offset,
        "log_weight_sd": [float(np.std(forward)), float(np.std(backward))],
        "chains": score.chains,
        "moves": score.anneal,
        "temperature": temperature,
    }


def make_image_bounds(config: ConfigDict, trained: Trained) -> Callable[..., dict[str, np.ndarray]]:
    """Build bound(images, progress, reverse=True) -> bounds of log f: {'lower': (N,), 'upper': (N,)}, nats.

    images: states of the image layer, (N, H, W, C); progress is called with the number of images done and a note;
    without `reverse` there is no 'upper'.  The first call makes a pilot run, whose schedule serves all calls.
    config.score.image_chains, image_anneal, leapfrog and block say how.
    """
    score, model, temperature = config.score, trained.model, read_temperature(config)
    bounds, chains = model.bounds[1:], score.image_chains
    explore = make_moment_sampler(config, trained, clamped=True, chunk=50)
    annealer = ais.Annealer(clamped_target(model, temperature), bounds, score.leapfrog)
    unit_scale, schedules = local_scales(model, temperature)[1:], {}

    def one_block(image: jax.Array, key: jax.Array, size: int, reverse: bool) -> dict[str, np.ndarray]:
        keys = jax.random.split(key, 5)
        steps = max(config.positive.steps, LEAST_STEPS)
        explored = explore(keys[0], image, steps, steps, lambda *_: None)
        base = base_of(explored, chains, bounds, temperature)
        arguments = (trained.weights, image)
        if not schedules:
            groups = np.repeat(np.eye(size, dtype=int), chains, axis=1)
            schedules["only"] = annealer.plan(keys[1], arguments, base, unit_scale, score.image_anneal, groups)
        schedule = schedules["only"]
        offset = ais.base_log_normalizer(base, bounds).reshape(size, chains)[:, 0]
        start = annealer.draw(keys[2], base, len(image))
        weights, _ = annealer.run(keys[3], arguments, base, unit_scale, schedule, start)
        found = {"lower": offset + ais.log_mean_exp(weights.reshape(size, chains))}
        if reverse:
            weights, _ = annealer.run(
                keys[4], arguments, base, unit_scale, schedule, explored.position, reverse=True
            )
            found["upper"] = offset - ais.log_mean_exp(weights.reshape(size, chains))
        return found

    def bound(images: np.ndarray, progress: Callable[[int, str], None], reverse: bool = True) -> dict[str, np.ndarray]:
        if not bounds:
            log_f = -np.asarray(model.energy(trained.weights, (np.asarray(images, np.float32),))) / temperature
            return {"lower": log_f, "upper": log_f}
        size, found = score.block, []
        for first in range(0, len(images), size):
            # A last block of fewer images runs the same program.
            rows = np.repeat(np.minimum(np.arange(first, first + size), len(images) - 1), chains)
            key = jax.random.fold_in(jax.random.key(config.seed), first)
            found.append(one_block(np.asarray(images[rows], np.float32), key, size, reverse))
            progress(min(first + size, len(images)), "log f of images")
        return {name: np.concatenate([block[name] for block in found])[: len(images)] for name in found[0]}

    return bound


def local_scales(model, temperature: float) -> Position:
    """Standard deviation sqrt(T) of a unit by the quadratic term of its energy alone: layers (1, H, W, C)."""
    shapes = model.architecture.state_shapes(1)
    return tuple(np.full(shape, np.sqrt(temperature), np.float32) for shape in shapes)
