"""Images given back what noise or a hole took: posterior means under the field.

Of an image x only y = x + σ noise is seen, at the observed pixels.  The field's answer is the mean of

    p(x, h | y) ∝ exp( -E(x, h)/T - Σ_observed (x_i - y_i)² / 2σ² ),

which Hamiltonian moves sample (`annealing.move` at β = 1, so exactly).  It has the least mean squared error of all
estimates if the field is the distribution of the images; a Gaussian's is the Wiener filter.

Where the map of grey levels to states mixes pixels (whitening), what is seen ties states together, at every scale of
stiffness.  There the image layer moves in coordinates z, s = R z, with R Rᵀ the covariance that the quadratic term of
the energy and the noise alone would leave; moves that leave the box are rejected.  Where contrast is compressed
(`whitening.Gain`), what is seen pulls through the inverse of that map, and R is that of the map without compression.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nrf.samplers.boundaries import UNBOUNDED
from nrf.score import annealing as ais
from nrf.score.field import GreyLevels, read_temperature
from nrf.trained import Trained, start_states

CHUNK = 20  # moves of one compiled call


class Task(NamedTuple):
    """What is seen of the images; units of grey levels in [0, 1]."""

    name: str
    seen: np.ndarray  # y (N, D)
    observed: np.ndarray  # (D,) bool
    judged: np.ndarray  # (D,) bool, pixels over which the error is taken
    noise: float  # σ


def make_tasks(patches: np.ndarray, shape: tuple[int, int, int], levels: tuple, hole: int, seed: int) -> list[Task]:
    """Denoising at every noise level, and a square hole in the middle seen around it at the least of them.

    Args:
        patches: clean, (N, D), grey levels in [0, 1].
        shape: (H, W, C) of a patch.
        levels: standard deviations of the noise, in 8-bit grey levels.
        hole: side of the hole, pixels.
        seed: of the noise.
    """
    draw, everywhere = np.random.default_rng([seed, 7]), np.ones(patches.shape[1], bool)
    tasks = []
    for level in levels:
        noise = level / 255
        seen = patches + noise * draw.normal(size=patches.shape)
        tasks.append(Task(f"denoised {level:g}", seen, everywhere, everywhere, noise))
    outside, noise = np.ones(shape, bool), min(levels) / 255
    top, left = (shape[0] - hole) // 2, (shape[1] - hole) // 2
    outside[top : top + hole, left : left + hole] = False
    outside = outside.ravel()
    seen = np.where(outside, patches + noise * draw.normal(size=patches.shape), 0.5)
    return [*tasks, Task(f"hole {hole}", seen, outside, ~outside, noise)]


def psnr(restored: np.ndarray, clean: np.ndarray, judged: np.ndarray) -> float:
    """Peak signal-to-noise ratio -10 log10 of the mean squared error over the judged pixels, dB; the peak is 1."""
    return float(-10 * np.log10(np.mean((restored - clean)[:, judged] ** 2)))


def make_restorer(
    config: ConfigDict, trained: Trained, grey: GreyLevels
) -> Callable[[Task, Callable[[int, str], None]], np.ndarray]:
    """Build restore(task, progress) -> posterior means (N, D), grey levels in [0, 1].

    config.score.restore moves are averaged after half as many that settle the chains and find the step size; progress
    is called with the per cent done and a note.
    """
    score, model, temperature = config.score, trained.model, read_temperature(config)
    inverse, offset = np.linalg.inv(grey.matrix), grey.offset
    shape = model.architecture.state_shapes(1)[0][1:]
    back = inverse.astype(np.float32)
    shift = offset.astype(np.float32)
    mixes = np.count_nonzero(grey.matrix - np.diag(np.diag(grey.matrix))) > 0
    low, high = model.bounds[0]
    bounds = ((UNBOUNDED if mixes else model.bounds[0]), *model.bounds[1:])

    def to_levels(flat):
        """Grey levels (N, D) of states (N, D) of the image layer."""
        if grey.gain is not None:
            flat = grey.gain.inverse.apply(flat.reshape(-1, *shape)).reshape(flat.shape)
        return (flat - shift) @ back.T

    def target(arguments, position):
        weights, seen, precision, root = arguments
        with jax.default_matmul_precision("highest"):
            flat = position[0].reshape(len(seen), -1)
            flat = flat @ root.T if mixes else flat
            image = flat.reshape(-1, *shape)
            energy, gradient = model.energy_and_gradient(weights, (image, *position[1:]))
            levels, pull_back = jax.vjp(to_levels, flat)
            away = levels - seen
            pull = gradient[0].reshape(flat.shape) / temperature + pull_back(precision * away)[0]
            pull = pull @ root if mixes else pull
        total = energy / temperature + 0.5 * jnp.sum(precision * away**2, axis=1)
        if mixes:
            total = jnp.where(jnp.any((flat < low) | (flat > high), axis=1), jnp.inf, total)
        return total, (pull.reshape(position[0].shape), *(g / temperature for g in gradient[1:]))

    @partial(jax.jit, static_argnames="adapting")
    def run(key, chains, arguments, unit_scale, log_step, first, adapting):
        # At β = 1 the base has no part; it only has to be there.
        base = ais.Base(tuple(jnp.zeros_like(u) for u in unit_scale), unit_scale)

        def one(carry, number):
            chains, log_step, total = carry
            chains, acceptance = ais.move(
                jax.random.fold_in(key, number), chains, target, arguments, base, unit_scale,
                jnp.float32(1.0), jnp.exp(log_step), bounds, score.leapfrog,
            )  # fmt: skip
            if adapting:
                log_step = jnp.minimum(
                    log_step + ais.GAIN * (jnp.mean(acceptance) - ais.ACCEPTANCE), jnp.log(ais.LARGEST_STEP)
                )
            flat = chains.position[0].reshape(len(arguments[1]), -1)
            with jax.default_matmul_precision("highest"):
                levels = to_levels(flat @ arguments[3].T if mixes else flat)
            return (chains, log_step, total + levels), None

        carry = (chains, log_step, jnp.zeros_like(arguments[1]))
        return jax.lax.scan(one, carry, first + jnp.arange(CHUNK))[0]

    @jax.jit
    def begin(key, arguments, images):
        # In the coordinates of z the chains start at rest in those of the quadratic term: at the Wiener estimate.
        start, *latents = start_states(trained, key, images, config.positive.start)
        if mixes:
            flat = jax.scipy.linalg.solve_triangular(arguments[3], images.reshape(len(images), -1).T, lower=True)
            start = flat.T.reshape(images.shape)
        return ais.start_chains(target, arguments, (start, *latents))

    def restore(task: Task, progress: Callable[[int, str], None]) -> np.ndarray:
        precision = task.observed / task.noise**2
        stiffness = np.eye(len(offset)) / temperature + inverse.T @ (precision[:, None] * inverse)
        pulled = precision * (task.seen + inverse @ offset)
        images = np.linalg.solve(stiffness, inverse.T @ pulled.T).T.reshape(-1, *shape)
        images = images if grey.gain is None else grey.gain.apply(images)
        images = np.asarray(np.clip(images, low, high), np.float32)
        root = np.linalg.cholesky(np.linalg.inv(stiffness)) if mixes else np.eye(1)
        latents = tuple(
            np.full(s, np.sqrt(temperature), np.float32) for s in model.architecture.state_shapes(1)[1:]
        )
        own = np.ones(len(offset)) if mixes else np.diag(stiffness) ** -0.5
        unit_scale = (own.astype(np.float32).reshape(1, *shape), *latents)
        key, start_key = jax.random.split(jax.random.key(config.seed))
        arguments = (
            trained.weights,
            *(np.asarray(each, np.float32) for each in (task.seen, precision, root)),
        )
        chains, log_step = begin(start_key, arguments, images), np.float32(np.log(ais.FIRST_STEP))
        settling = -(-score.restore // (2 * CHUNK)) * CHUNK
        counted = -(-score.restore // CHUNK) * CHUNK
        total = 0.0
        for first in range(0, settling + counted, CHUNK):
            adapting = first < settling
            chains, log_step, added = run(
                key, chains, arguments, unit_scale, log_step, jnp.int32(first), adapting=adapting
            )
            total = total + (0.0 if adapting else np.asarray(added, np.float64))
            done = 100 * (first + CHUNK) // (settling + counted)
            progress(done, f"step {float(np.exp(log_step)):.2f}")
        return total / counted

    return restore
