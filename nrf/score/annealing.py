"""Annealed importance sampling in a box, forward and in reverse, with exact Hamiltonian moves.

Between a base whose normalizer is known and a target whose is wanted stand the distributions

    p_β(s) ∝ exp(-U_β(s)),    U_β = (1 - β) U_0 + β U_1,    0 = β_0 < β_1 < ... < β_K = 1,    s inside the walls.

A chain starts in the base, collects log w ← log w - (β_k - β_{k-1})(U_1 - U_0)(s) and moves by a kernel that leaves
p_{β_k} invariant.  E[w] = Z_1 / Z_0 exactly, so the logarithm of the mean of w is a lower bound of log Z_1 / Z_0 in
expectation.  The same run from β = 1 to 0, started in samples of the target, has E[w] = Z_0 / Z_1 and bounds it from
above.  Both come down to the truth as K grows; their difference, the gap, says how far that is.  With starts that are
only nearly samples of the target the upper bound is only nearly one.

Moves are Hamiltonian Monte Carlo: fresh momenta, `leapfrog` steps that bounce off the walls, an acceptance test for
each chain.  A pilot run finds, along β, the step size that accepts 80 %, and the standard deviation of U_1 - U_0, in
proportion to which the β are then spaced (equal thermodynamic length); both are fixed before the chains that count.

Neal, Stat. Comput. 2001; Grosse, Ghahramani & Adams, arXiv:1511.02543 (bidirectional); Burda, Grosse & Salakhutdinov,
AISTATS 2015 (reverse); Afshar & Domke, NeurIPS 2015 (walls); Crooks, PRL 2007 (thermodynamic length).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_ndtr, logsumexp

from nrf.samplers.base import Position, standard_normals
from nrf.samplers.boundaries import Bounds
from nrf.samplers.integrators import drift, kick

ACCEPTANCE = 0.8
FIRST_STEP, LARGEST_STEP = 0.3, 1.2  # of the pilot, in units of a unit's local standard deviation
GAIN = 0.3  # of the pilot's control of log h
PILOT_LEVELS, PILOT_WARMUP = 80, 30
LEAST_SHARE = 0.05  # of the mean spacing density that every stretch of β gets

# target(arguments, position) -> (U_1 (B,), dU_1/ds like position)
Target = Callable[[Any, Position], tuple[jax.Array, Position]]


class Base(NamedTuple):
    """Independent Gaussians, truncated to the box: U_0 = Σ ½ (s - m)² / v."""

    mean: Position  # layers (B or 1, ...)
    scale: Position  # layers (B or 1, ...), standard deviations before truncation


class Chains(NamedTuple):
    """B annealed chains."""

    position: Position  # layers (B, ...)
    energy: jax.Array  # (B,), U_1
    gradient: Position  # dU_1/ds
    log_weight: jax.Array  # (B,)


class Schedule(NamedTuple):
    """Where chains stop between base and target."""

    levels: np.ndarray  # (K + 1,) β, rising from 0 to 1
    step_sizes: np.ndarray  # (K + 1,) h at each




# --- base ----------------------------------------------------------------------------------------------------------


def base_energy(base: Base, position: Position) -> jax.Array:
    """U_0 of every chain, (B,)."""
    layers = zip(position, base.mean, base.scale, strict=True)
    return sum(jnp.sum((0.5 * ((s - m) / v) ** 2).reshape(len(s), -1), axis=1) for s, m, v in layers)


def base_log_normalizer(base: Base, bounds: Sequence[Bounds]) -> np.ndarray:
    """log ∫_box exp(-U_0) ds = Σ log( v sqrt(2π) (Φ(b) - Φ(a)) ), (B or 1,), a and b the walls in units of v."""
    total = 0.0
    for mean, scale, (low, high) in zip(base.mean, base.scale, bounds, strict=True):
        mean, scale = np.asarray(mean, np.float64), np.asarray(scale, np.float64)
        each = np.log(scale) + 0.5 * np.log(2 * np.pi) + _log_mass((low - mean) / scale, (high - mean) / scale)
        total = total + each.reshape(len(each), -1).sum(axis=1)
    return total


def _log_mass(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """log(Φ(high) - Φ(low)), on the side of the lower tail, where no digits are lost."""
    flip = low > 0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    return log_ndtr(high) + np.log1p(-np.exp(log_ndtr(low) - log_ndtr(high)))


def sample_base(key: jax.Array, base: Base, bounds: Sequence[Bounds], batch: int) -> Position:
    """Independent draws, layers (batch, ...)."""
    found = []
    for place, (mean, scale, (low, high)) in enumerate(zip(base.mean, base.scale, bounds, strict=True)):
        shape = (batch, *mean.shape[1:])
        a, b = (jnp.broadcast_to((wall - mean) / scale, shape) for wall in (low, high))
        draw = jax.random.truncated_normal(jax.random.fold_in(key, place), a, b, shape)
        found.append(jnp.clip(mean + scale * draw, low, high))
    return tuple(found)


def fit_base(mean: Position, variance: Position, bounds: Sequence[Bounds], least: float) -> Base:
    """Base of given means and variances, both kept where a Gaussian can be: inside the walls, sd at least `least`."""
    means = (np.clip(m, low, high) for m, (low, high) in zip(mean, bounds, strict=True))
    scales = (np.sqrt(np.maximum(v, least**2)) for v in variance)
    return Base(*(tuple(np.asarray(each, np.float32) for each in part) for part in (means, scales)))


# --- moves ---------------------------------------------------------------------------------------------------------


def start_chains(target: Target, arguments: Any, position: Position) -> Chains:
    """Chains at a position, with weight 1."""
    energy, gradient = target(arguments, position)
    return Chains(tuple(position), energy, tuple(gradient), jnp.zeros_like(energy))


def move(
    key: jax.Array,
    chains: Chains,
    target: Target,
    arguments: Any,
    base: Base,
    unit_scale: Position,
    beta: jax.Array,
    step: jax.Array,
    bounds: Sequence[Bounds],
    leapfrog: int,
) -> tuple[Chains, jax.Array]:
    """One Hamiltonian move that leaves p_β invariant; returns the chains and the acceptance of each (B,).

    Args:
        key: random key.
        chains: where they are.
        target: with its arguments.
        base: U_0.
        unit_scale: standard deviation of each unit in the target, given the others: layers (B or 1, ...).
        beta: β.
        step: h in units of a unit's standard deviation between base and target.
        bounds: walls of each layer.
        leapfrog: steps of the trajectory, one gradient each.
    """
    widths = [
        jnp.sqrt(1.0 / ((1 - beta) / b**2 + beta / u**2)) * step for b, u in zip(base.scale, unit_scale, strict=True)
    ]
    key, accept_key = jax.random.split(key)
    start = list(chains.position)
    momenta = standard_normals(key, start)

    def forces(position, gradient):
        layers = zip(position, gradient, base.mean, base.scale, strict=True)
        return [(1 - beta) * (s - m) / v**2 + beta * g for s, g, m, v in layers]

    def total(position, energy, momenta):
        kinetic = sum(0.5 * jnp.sum((p * p).reshape(len(p), -1), axis=1) for p in momenta)
        return (1 - beta) * base_energy(base, position) + beta * energy + kinetic

    def one(_, carry):
        position, momenta, _, gradient = carry
        momenta = [
            kick(p, f, 0.5 * w) for p, f, w in zip(momenta, forces(position, gradient), widths, strict=True)
        ]
        moved = [
            drift(s, p, w, bounds=wall) for s, p, w, wall in zip(position, momenta, widths, bounds, strict=True)
        ]
        position, momenta = [s for s, _ in moved], [p for _, p in moved]
        energy, gradient = target(arguments, tuple(position))
        momenta = [
            kick(p, f, 0.5 * w) for p, f, w in zip(momenta, forces(position, gradient), widths, strict=True)
        ]
        return position, momenta, energy, tuple(gradient)

    first = (start, momenta, chains.energy, chains.gradient)
    position, new_momenta, energy, gradient = jax.lax.fori_loop(0, leapfrog, one, first)
    error = total(start, chains.energy, momenta) - total(position, energy, new_momenta)
    acceptance = jnp.where(jnp.isfinite(error), jnp.exp(jnp.minimum(error, 0.0)), 0.0)
    accepted = jax.random.uniform(accept_key, acceptance.shape) < acceptance

    def choose(new, old):
        return jnp.where(accepted.reshape(-1, *([1] * (new.ndim - 1))), new, old)

    chosen = jax.tree.map(
        choose, (tuple(position), energy, gradient), (chains.position, chains.energy, chains.gradient)
    )
    return Chains(*chosen, chains.log_weight), acceptance


class Annealer:
    """Compiled annealing between a base and a target; the arrays of both are arguments, so one program serves many.

    Args:
        target: U_1 and its gradient.
        bounds: walls of each layer.
        leapfrog: steps of a move.
        chunk: moves of one compiled call.
    """

    def __init__(self, target: Target, bounds: Sequence[Bounds], leapfrog: int, chunk: int = 25):
        self.target, self.bounds, self.leapfrog, self.chunk = target, tuple(bounds), leapfrog, chunk
        self._stretch = jax.jit(self._run_stretch)
        self._adapt = jax.jit(self._run_pilot)
        self._start = jax.jit(partial(start_chains, target))
        self._draw = jax.jit(sample_base, static_argnums=(2, 3))

    def _move(self, key, chains, arguments, base, unit_scale, beta, step):
        return move(
            key, chains, self.target, arguments, base, unit_scale, beta, step, self.bounds, self.leapfrog
        )

    def _run_stretch(self, key, chains, arguments, base, unit_scale, before, beta, step, first):
        def one(chains, level):
            before, beta, step, number = level
            slope = chains.energy - base_energy(base, chains.position)
            chains = chains._replace(log_weight=chains.log_weight - (beta - before) * slope)
            moved, acceptance = self._move(
                jax.random.fold_in(key, number), chains, arguments, base, unit_scale, beta, step
            )
            # A chunk is filled up with levels of step 0, at which nothing happens.
            chains = jax.tree.map(lambda new, old: jnp.where(step > 0, new, old), moved, chains)
            return chains, jnp.mean(acceptance)

        return jax.lax.scan(one, chains, (before, beta, step, first + jnp.arange(len(beta))))

    def _run_pilot(self, key, chains, arguments, base, unit_scale, levels, groups):
        def one(carry, level):
            chains, log_step = carry
            beta, number = level
            step = jnp.exp(log_step)
            chains, acceptance = self._move(
                jax.random.fold_in(key, number), chains, arguments, base, unit_scale, beta, step
            )
            log_step = log_step + GAIN * (jnp.mean(acceptance) - ACCEPTANCE)
            slope = chains.energy - base_energy(base, chains.position)
            # Groups of chains may have targets of their own: what counts is how chains of one group differ.
            size = jnp.sum(groups, axis=1)
            centre = (groups @ slope) / size
            spread = jnp.sum((slope - centre @ groups) ** 2) / jnp.maximum(jnp.sum(size - 1), 1)
            return (chains, jnp.minimum(log_step, jnp.log(LARGEST_STEP))), (step, jnp.sqrt(spread))

        carry = (chains, jnp.log(FIRST_STEP))
        return jax.lax.scan(one, carry, (levels, jnp.arange(len(levels))))

    def plan(
        self, key: jax.Array, arguments: Any, base: Base, unit_scale: Position, count: int, groups: np.ndarray
    ) -> Schedule:
        """A schedule of `count` moves from a pilot run.

        Args:
            key: random key.
            arguments: of the target.
            base, unit_scale: see `move`.
            count: K.
            groups: (G, B) 0/1, chains of one group have one target; every chain in one group.
        """
        draw_key, run_key = jax.random.split(key)
        chains = self._start(arguments, self._draw(draw_key, base, self.bounds, groups.shape[1]))
        grid = 1 / (1 + np.exp(-np.linspace(-6, 6, PILOT_LEVELS)))
        grid = (grid - grid[0]) / (grid[-1] - grid[0])
        levels = np.concatenate([np.zeros(PILOT_WARMUP), grid])
        _, (steps, spread) = self._adapt(
            run_key, chains, arguments, base, unit_scale, levels.astype(np.float32),
            np.asarray(groups, np.float32),
        )  # fmt: skip
        steps, spread = (np.asarray(x, np.float64)[PILOT_WARMUP:] for x in (steps, spread))
        return space_levels(grid, spread, steps, count)

    def run(
        self,
        key: jax.Array,
        arguments: Any,
        base: Base,
        unit_scale: Position,
        schedule: Schedule,
        start: Position,
        reverse: bool = False,
        progress: Callable[[int, str], None] = lambda done, note: None,
    ) -> tuple[np.ndarray, Position]:
        """Log weights (B,), float64, and where the chains end.

        Args:
            key: random key.
            arguments: of the target.
            base, unit_scale: see `move`.
            schedule: see `plan`.
            start: samples of the base, or of the target in `reverse`, (B, ...).
            reverse: from the target to the base.
            progress: called with the number of moves done and a note.
        """
        order = slice(None, None, -1) if reverse else slice(None)
        levels, steps = schedule.levels[order], schedule.step_sizes[order]
        before, after, steps = levels[:-1], levels[1:], steps[1:]
        chains, total = self._start(arguments, start), np.zeros(len(start[0]))
        for first in range(0, len(after), self.chunk):
            part = slice(first, first + self.chunk)
            missing = self.chunk - len(after[part])
            ends = (np.pad(before[part], (0, missing)), np.pad(after[part], (0, missing)))
            chains, acceptance = self._stretch(
                key, chains, arguments, base, unit_scale, *(x.astype(np.float32) for x in ends),
                np.pad(steps[part], (0, missing)).astype(np.float32), np.int32(first),
            )  # fmt: skip
            # Sums of thousands of single-precision increments are kept in double.
            total += np.asarray(chains.log_weight, np.float64)
            chains = chains._replace(log_weight=jnp.zeros_like(chains.log_weight))
            accepted = float(np.mean(np.asarray(acceptance)[: self.chunk - missing]))
            progress(min(first + self.chunk, len(after)), f"acceptance {accepted:.2f}")
        return total, chains.position

    def draw(self, key: jax.Array, base: Base, batch: int) -> Position:
        """Samples of the base, layers (batch, ...)."""
        return self._draw(key, base, self.bounds, batch)


def space_levels(grid: np.ndarray, spread: np.ndarray, steps: np.ndarray, count: int) -> Schedule:
    """`count` + 1 levels, as dense along β as `spread` is large, with step sizes interpolated from the pilot's."""
    density = np.where(np.isfinite(spread), spread, 0.0)
    stretch = np.diff(grid)
    mean = max(float(np.sum(0.5 * (density[1:] + density[:-1]) * stretch)), np.finfo(float).tiny)
    density = density + LEAST_SHARE * mean
    length = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * stretch)])
    levels = np.interp(np.linspace(0, length[-1], count + 1), length, grid)
    levels[0], levels[-1] = 0.0, 1.0
    # The pilot's last steps are noisy: a running mean over neighbours is what it found out.
    smooth = np.convolve(np.pad(np.log(steps), 4, mode="edge"), np.ones(9) / 9, mode="valid")
    return Schedule(levels, np.exp(np.interp(levels, grid, smooth)))


def log_mean_exp(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """log of the mean of exp(values) along an axis."""
    return logsumexp(values, axis=axis) - np.log(values.shape[axis])


def interval_of_log_mean(values: np.ndarray, resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of log mean exp of (B,) log weights, chains being resampled."""
    draw = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.quantile(log_mean_exp(values[draw]), (0.025, 0.975))
    return float(low), float(high)
