"""Fits of damped oscillations to correlograms, thousands at once.

A correlogram of two oscillating neurons is a cosine under a bell. It is fitted in two stages:

    1. d(x) ≈ A cos(λx + p) + m            with A = 0.7 max d fixed, from several starting frequencies
    2. d(x) ≈ [A cos(λx + p) + m] g exp(-x² / 2s²) / (√2π |s|)

`amplitude` = half the range of the fitted curve is the measure of synchrony. Both stages are non-linear least squares.
m and g enter linearly and are eliminated (variable projection, Golub & Pereyra 1973), which leaves two unknowns and
one; Levenberg-Marquardt steps with closed-form derivatives then run for all correlograms and starts side by side in
float32, and the best start is brought to convergence in float64.

Fitting in stages stops short: a frequency that suits the undamped cosine need not suit the damped one. So every start
passes both stages, the best of them is kept, and a third stage fits all five parameters together:

    3. d(x) ≈ [a cos λx + b sin λx + c] exp(-x² / 2s²)

which is the curve of stage 2 written with its linear parameters a, b and c, so that its cost is never higher.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from analysis.measures.peaks import find_peaks

AMPLITUDE_SHARE = 0.7
SIGMA_START = 70.0
SIGMA_RANGE = (0.3, 1e4)
FREQUENCY_STEPS = (-2, -1, 0, 1, 2)
BLOCKS = (64, 512)


class GaborFits(NamedTuple):
    """Fitted parameters, one entry a correlogram."""

    scale: np.ndarray  # A, the fixed amplitude of the cosine, 0.7 × the largest value of the correlogram
    angular_frequency: np.ndarray  # λ, radian per step, not negative
    phase: np.ndarray  # p, radian in (-π, π]
    offset: np.ndarray  # m
    sigma: np.ndarray  # s, steps, positive
    gain: np.ndarray  # g
    cost_sine: np.ndarray  # half the squared residuals after stage 1
    cost: np.ndarray  # half the squared residuals after stage 2
    amplitude: np.ndarray  # half the range of the fitted curve
    minimum: np.ndarray  # of the fitted curve
    maximum: np.ndarray
    peak_count: np.ndarray  # peaks of the correlogram, from which the first frequency is guessed


def _solve(matrix, vector):
    """Solve small positive definite systems by an unrolled Cholesky factorisation, elementwise over leading axes."""
    size = vector.shape[-1]
    lower = [[None] * size for _ in range(size)]
    solution = [None] * size
    for row in range(size):
        for column in range(row + 1):
            rest = matrix[..., row, column] - sum(lower[row][k] * lower[column][k] for k in range(column))
            lower[row][column] = jnp.sqrt(jnp.maximum(rest, 1e-30)) if row == column else rest / lower[column][column]
        solution[row] = (vector[..., row] - sum(lower[row][k] * solution[k] for k in range(row))) / lower[row][row]
    for row in reversed(range(size)):
        later = sum(lower[k][row] * solution[k] for k in range(row + 1, size))
        solution[row] = (solution[row] - later) / lower[row][row]
    return jnp.stack(solution, axis=-1)


def _levenberg_marquardt(evaluate, parameters, steps: int):
    """Minimise many small problems side by side.

    `evaluate(parameters)` returns cost (...), gradient (..., k) and Gauss-Newton matrix (..., k, k) for parameters
    (..., k).
    """
    slack = 1 + (1e-6 if parameters.dtype == jnp.float32 else 1e-13)

    def step(_, carry):
        parameters, (cost, gradient, matrix), damping = carry
        diagonal = jnp.diagonal(matrix, axis1=-2, axis2=-1)
        damped = (
            matrix
            + jnp.eye(matrix.shape[-1], dtype=matrix.dtype) * (damping[..., None] * diagonal + 1e-12)[..., None, :]
        )
        trial = parameters - _solve(damped, gradient)
        trial_value = evaluate(trial)
        # Rounding must not reject the last, smallest steps: they are judged by the gradient, which is more exact.
        better = trial_value[0] <= cost * slack

        def keep(new, old):
            return jnp.where(better.reshape(better.shape + (1,) * (new.ndim - better.ndim)), new, old)

        value = jax.tree.map(keep, trial_value, (cost, gradient, matrix))
        return keep(trial, parameters), value, jnp.clip(jnp.where(better, damping / 5, damping * 4), 1e-9, 1e9)

    damping = jnp.full(parameters.shape[:-1], 1e-2, parameters.dtype)
    parameters, (cost, *_), _ = jax.lax.fori_loop(0, steps, step, (parameters, evaluate(parameters), damping))
    return parameters, cost


def _waves(phase, frequency, lags):
    """Return cos and sin of λx + p (..., d) by the addition theorem, x = coarse + fine: 20 angles instead of 100."""
    rows = next(n for n in range(int(lags.size**0.5), 0, -1) if lags.size % n == 0)
    grid = lags.reshape(rows, -1)
    coarse, fine = phase + frequency * grid[:, 0], frequency * (grid[0] - grid[0, 0])
    cos_a, sin_a, cos_b, sin_b = jnp.cos(coarse), jnp.sin(coarse), jnp.cos(fine), jnp.sin(fine)
    cosine = cos_a[..., :, None] * cos_b[..., None, :] - sin_a[..., :, None] * sin_b[..., None, :]
    sine = sin_a[..., :, None] * cos_b[..., None, :] + cos_a[..., :, None] * sin_b[..., None, :]
    shape = (*cosine.shape[:-2], lags.size)
    return cosine.reshape(shape), sine.reshape(shape)


@partial(jax.jit, static_argnames=("steps", "newton"))
def _fit_sines(curves, lags, starts, steps: int, newton: bool):
    """Fit cos(λx + p) + m to scaled curves (n, d) from starts (n, starts, 2) of (p, λ).

    Gauss and Newton's matrix keeps to the minimum next to the start; Newton's converges in few steps once there.
    """
    target = curves - curves.mean(axis=-1, keepdims=True)
    width = jnp.sqrt((lags**2).mean())

    def evaluate(parameters):
        cosine, sine = _waves(parameters[..., :1], parameters[..., 1:], lags)
        residual = cosine - cosine.mean(axis=-1, keepdims=True) - target[:, None]

        def total(values):
            return values.sum(axis=-1)

        # The residual sums to 0, so that the means of the derivatives (what m takes up) drop out of the gradient.
        gradient = -jnp.stack([total(sine * residual), total(sine * residual * lags)], axis=-1)
        square, product = sine**2, residual * cosine
        mean_sine, mean_turned = total(sine), total(sine * lags)
        gauss = [
            total(square) - mean_sine**2 / lags.size,
            total(square * lags) - mean_sine * mean_turned / lags.size,
            total(square * lags**2) - mean_turned**2 / lags.size,
        ]
        a, b, d = gauss
        if newton:
            a, b, d = (part - total(product * lags**k) for k, part in enumerate(gauss))
            # |H| = (H² + |det H|) / √(tr H² + 2|det H|): the same curvature, but downhill where H is not definite.
            # Frequencies are counted in units of 1/width, so that both directions weigh alike.
            b, d = b / width, d / width**2
            size = jnp.abs(a * d - b * b)
            root = jnp.sqrt(a**2 + d**2 + 2 * b**2 + 2 * size) + 1e-20
            a, b, d = (a**2 + b**2 + size) / root, b * (a + d) / root, (d**2 + b**2 + size) / root
            b, d = b * width, d * width**2
        matrix = jnp.stack([jnp.stack([a, b], axis=-1), jnp.stack([b, d], axis=-1)], axis=-2)
        return 0.5 * total(residual**2), gradient, matrix

    return _levenberg_marquardt(evaluate, starts, steps)


@partial(jax.jit, static_argnames="steps")
def _fit_bells(curves, carriers, lags, starts, steps: int = 25):
    """Fit g' carrier exp(-x² / 2s²) to scaled curves (n, d) from starts (n, 1) of log s."""
    low, high = np.log(SIGMA_RANGE)

    def evaluate(parameters):
        width = jnp.exp(-2 * jnp.clip(parameters, low, high)) * lags**2
        shape = carriers * jnp.exp(-0.5 * width)
        power = (shape**2).sum(axis=-1, keepdims=True) + 1e-20
        gain = (shape * curves).sum(axis=-1, keepdims=True) / power
        residual = gain * shape - curves
        change = gain * shape * width
        change = change - shape * (shape * change).sum(axis=-1, keepdims=True) / power
        gradient = (change * residual).sum(axis=-1, keepdims=True)
        matrix = (change**2).sum(axis=-1)[..., None, None]
        return 0.5 * (residual**2).sum(axis=-1), gradient, matrix

    parameters, cost = _levenberg_marquardt(evaluate, starts, steps)
    return jnp.clip(parameters, low, high), cost


@partial(jax.jit, static_argnames="steps")
def _fit_damped(curves, lags, starts, steps: int = 15):
    """Fit [a cos λx + b sin λx + c] exp(-x² / 2s²) to curves (n, d) from starts (n, 5) of (a, b, c, λ, log s)."""

    def evaluate(parameters):
        a, b, c, frequency, log_width = (parameters[:, k : k + 1] for k in range(5))
        width = jnp.exp(-2 * jnp.clip(log_width, *np.log(SIGMA_RANGE))) * lags**2
        bell = jnp.exp(-0.5 * width)
        cosine, sine = _waves(jnp.zeros_like(frequency), frequency, lags)
        fitted = (a * cosine + b * sine + c) * bell
        columns = (cosine * bell, sine * bell, bell, (b * cosine - a * sine) * lags * bell, fitted * width)
        residual = fitted - curves
        gradient = jnp.stack([(column * residual).sum(axis=-1) for column in columns], axis=-1)
        matrix = jnp.stack(
            [jnp.stack([(one * other).sum(axis=-1) for other in columns], axis=-1) for one in columns], axis=-2
        )
        return 0.5 * (residual**2).sum(axis=-1), gradient, matrix

    return _levenberg_marquardt(evaluate, starts, steps)


def count_peaks(correlograms) -> np.ndarray:
    """Return the number of peaks from which the frequency is guessed: height 0, prominence max/5, 3 steps apart.

    A correlogram without any positive peak counts as 1.
    """
    correlograms = np.asarray(correlograms)
    marks = find_peaks(correlograms, correlograms.max(axis=1) / 5, distance=3, height=0)
    return np.maximum(marks.sum(axis=1), 1)


def fit_gabors(correlograms, lags) -> GaborFits:
    """Fit all correlograms.

    Starting frequencies are those of `guessed_starts` and the two largest bins of the padded Fourier transform with the
    phase read there, which catch correlograms whose peaks were miscounted.

    Args:
        correlograms: (n, d).
        lags: (d,) steps, evenly spaced around 0.

    Returns:
        One entry a correlogram; constant correlograms give amplitude 0.

    Raises:
        ValueError: shapes do not agree, or values are not finite.
    """

    def starts(curves, lags, counts):
        return np.concatenate([guessed_starts(curves, lags, counts), _fourier_starts(curves, lags)], axis=1)

    return fit_from(correlograms, lags, starts, _fit_block)


def guessed_starts(curves, lags, counts) -> np.ndarray:
    """Return starts (n, 5, 2) of (p, λ): λ₀ 1.15^k, k = -2 … 2, with λ₀ = 7 / (d / peaks), about one period a peak."""
    first = 7 * counts / lags.size
    return np.stack([np.stack([np.zeros_like(first), first * 1.15**k], -1) for k in FREQUENCY_STEPS], 1)


def fit_from(correlograms, lags, make_starts, fit_block) -> GaborFits:
    """Fit all correlograms from given starts by a given sequence of stages.

    Args:
        correlograms: (n, d).
        lags: (d,) steps, evenly spaced around 0.
        make_starts: (curves, lags, peak counts) -> (n, starts, 2) of (p, λ).
        fit_block: (curves, starts, lags) -> (n, 6) of p, λ, m, s, g and the cost of stage 1, curves being divided by A.

    Raises:
        ValueError: shapes do not agree, or values are not finite.
    """
    correlograms, lags = np.asarray(correlograms, np.float64), np.asarray(lags, np.float64)
    if correlograms.ndim != 2 or correlograms.shape[1] != lags.size:
        raise ValueError(f"Gabor fits need correlograms (n, {lags.size}), not {correlograms.shape}.")
    if not np.isfinite(correlograms).all():
        row = int(np.flatnonzero(~np.isfinite(correlograms).all(axis=1))[0])
        raise ValueError(f"Correlogram {row} has values that are not finite; was its recording complete?")
    counts = count_peaks(correlograms)
    largest = correlograms.max(axis=1)
    # Without a positive value there is no scale to take from the maximum: the largest deviation stands in.
    scale = AMPLITUDE_SHARE * np.where(largest > 0, largest, np.abs(correlograms).max(axis=1))
    scale = np.where(scale > 0, scale, 1.0)
    curves = correlograms / scale[:, None]
    found = _in_blocks(fit_block, (curves, make_starts(curves, lags, counts)), lags)
    phase, frequency, offset, sigma, gain, cost_sine = np.concatenate(found).T
    # cos(λx + p) = cos(-λx - p): the sign of λ is free, so that it is kept positive.
    fits = GaborFits(
        scale=scale,
        angular_frequency=np.abs(frequency),
        phase=np.angle(np.exp(1j * phase * np.where(frequency < 0, -1, 1))),
        offset=offset * scale,
        sigma=sigma,
        gain=gain,
        cost_sine=cost_sine * scale**2,
        cost=np.zeros_like(scale),
        amplitude=np.zeros_like(scale),
        minimum=np.zeros_like(scale),
        maximum=np.zeros_like(scale),
        peak_count=counts,
    )
    fitted = evaluate_gabors(fits, lags)
    low, high = fitted.min(axis=1), fitted.max(axis=1)
    cost = 0.5 * ((fitted - correlograms) ** 2).sum(axis=1)
    return fits._replace(cost=cost, amplitude=(high - low) / 2, minimum=low, maximum=high)


def evaluate_gabors(fits: GaborFits, lags) -> np.ndarray:
    """Return the fitted curves (n, lags)."""
    lags = np.asarray(lags, np.float64)

    def column(values):
        return np.asarray(values)[:, None]

    carrier = column(fits.scale) * np.cos(column(fits.angular_frequency) * lags + column(fits.phase)) + column(
        fits.offset
    )
    bell = np.exp(-0.5 * (lags / column(fits.sigma)) ** 2) / (np.sqrt(2 * np.pi) * column(fits.sigma))
    return carrier * column(fits.gain) * bell


def count_fitted_peaks(fits: GaborFits, lags) -> np.ndarray:
    """Return the number of peaks of each fitted curve at lags (d,): height at least 0, prominence at least 0.01."""
    return find_peaks(evaluate_gabors(fits, lags), 0.01, height=0).sum(axis=1)


def _fourier_starts(curves, lags) -> np.ndarray:
    size = 4 * lags.size
    spectrum = np.fft.rfft(curves - curves.mean(axis=1, keepdims=True), size, axis=1)
    power = np.abs(spectrum)
    inner = (power[:, 1:-1] >= power[:, :-2]) & (power[:, 1:-1] >= power[:, 2:])
    bins = np.argsort(np.where(inner, power[:, 1:-1], -1), axis=1)[:, :-3:-1] + 1
    frequency = 2 * np.pi * bins / size / (lags[1] - lags[0])
    phase = np.angle(np.take_along_axis(spectrum, bins, axis=1)) - frequency * lags[0]
    return np.stack([phase, frequency], axis=-1)


def _fit_block(curves, starts, lags) -> np.ndarray:
    """All starts pass both stages, the best goes on to stage 3; see `fit_from` for what is given and returned."""
    sines, _ = fit_starts(curves, starts, lags)
    single, time = np.asarray(curves, np.float32), np.asarray(lags, np.float32)
    repeated, width = np.repeat(single, starts.shape[1], axis=0), np.float32(np.log(SIGMA_START))
    _, costs = _fit_bells(repeated, _carriers(sines, single, time), time, np.full((len(repeated), 1), width), steps=12)
    return two_stages(curves, best_start(sines, costs.reshape(starts.shape[:2])), lags, _refine)


@jax.jit
def _carriers(sines, curves, lags):
    carriers = jnp.cos(sines[..., 1:] * lags + sines[..., :1])
    carriers += (curves[:, None] - carriers).mean(axis=-1, keepdims=True)
    return carriers.reshape(-1, curves.shape[-1])


def fit_starts(curves, starts, lags):
    """Run stage 1 from all starts (n, starts, 2) in float32; returns (p, λ) of the same shape and costs (n, starts)."""
    return _fit_sines(*(np.asarray(array, np.float32) for array in (curves, lags, starts)), steps=40, newton=False)


def two_stages(curves, chosen, lags, refine=None) -> np.ndarray:
    """Bring stages 1 and 2 to convergence in float64 from the chosen start of each curve, see `fit_from`.

    Args:
        curves: (n, d) correlograms divided by A.
        chosen: (n, 2) of (p, λ).
        lags: (d,) steps.
        refine: what follows, a function like `_refine`; nothing by default.
    """
    with jax.enable_x64(True):
        sine, cost_sine = _fit_sines(curves, lags, chosen[:, None].astype(np.float64), steps=20, newton=True)
        phase, frequency = np.asarray(sine[:, 0]).T
        cosine = np.cos(frequency[:, None] * lags + phase[:, None])
        offset = (curves - cosine).mean(axis=1)
        carrier = cosine + offset[:, None]
        width, _ = _fit_bells(curves, carrier, lags, np.full((len(curves), 1), np.log(SIGMA_START)))
        sigma = np.exp(np.asarray(width[:, 0]))
        shape = carrier * np.exp(-0.5 * (lags / sigma[:, None]) ** 2)
        power = (shape**2).sum(axis=1)
        gain = np.divide((shape * curves).sum(axis=1), power, out=np.zeros_like(power), where=power > 0)
        found = phase, frequency, offset, sigma, gain
        phase, frequency, offset, sigma, gain = refine(curves, lags, *found) if refine else found
    gain = gain * np.sqrt(2 * np.pi) * sigma
    return np.stack([phase, frequency, offset, sigma, gain, np.asarray(cost_sine[:, 0])], axis=1)


def _refine(curves, lags, phase, frequency, offset, sigma, gain):
    """Run stage 3 and keep it where it lowered the cost."""
    start = np.stack([gain * np.cos(phase), -gain * np.sin(phase), gain * offset, frequency, np.log(sigma)], axis=1)
    found, cost = map(np.asarray, _fit_damped(curves, lags, start))
    usable = np.isfinite(found).all(axis=1) & np.isfinite(cost)
    found = np.where(usable[:, None], found, start)
    gained = np.hypot(found[:, 0], found[:, 1])
    usable &= gained > 1e-9

    def pick(new, old):
        return np.where(usable, new, old)

    with np.errstate(divide="ignore", invalid="ignore"):
        return (
            pick(np.arctan2(-found[:, 1], found[:, 0]), phase),
            pick(found[:, 3], frequency),
            pick(found[:, 2] / gained, offset),
            pick(np.exp(np.clip(found[:, 4], *np.log(SIGMA_RANGE))), sigma),
            pick(gained, gain),
        )


def best_start(parameters, costs) -> np.ndarray:
    """Return the parameters (n, k) of the start with the lowest cost of (n, starts, k) with costs (n, starts)."""
    parameters, costs = np.asarray(parameters), np.asarray(costs)
    costs = np.where(np.isfinite(costs), costs, np.inf)
    return np.take_along_axis(parameters, costs.argmin(axis=1)[:, None, None], axis=1)[:, 0]


def _in_blocks(fit, arrays, lags) -> list[np.ndarray]:
    """Run a compiled fit over blocks of one of two sizes, so that it is compiled once and memory stays bounded."""
    count = len(arrays[0])
    block = BLOCKS[0] if count <= BLOCKS[0] else BLOCKS[1]
    results = []
    for start in range(0, count, block):
        part = [array[start : start + block] for array in arrays]
        missing = block - len(part[0])
        part = [np.pad(array, [(0, missing), *[(0, 0)] * (array.ndim - 1)], mode="edge") for array in part]
        results.append(fit(*part, lags)[: block - missing])
    return results or [np.zeros((0, 6))]
