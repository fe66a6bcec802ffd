"""What a quadratic well answers: resonance, overshoot, phase and variance of one mode under the sampler's dynamics.

A mode is a direction of state space in which the energy is ½ λ x², moved by underdamped Langevin dynamics of step h,
friction c = γh a step, inverse mass K and temperature T.  In continuous time (angular frequencies per unit of time):

    resonance   ω = sqrt(Kλ - γ²/2)              where the spectrum of x has its peak; none below 0
    overshoot   exp(-πγ / (2 ω_d)), ω_d = sqrt(Kλ - γ²/4)      beyond the new rest, after the well has moved
    phase       atan(ω / K)                      of inhibition x - p behind excitation x
    variance    T / λ

A step of `samplers.underdamped` is the linear map (x, p) ← M (x, p) + noise with, for d = e^{-c} and a = h²Kλ,

    M = [[1 - a(1 + d)/2,  hK(1 + d)/2],        noise  (hK/2, 1) sqrt(T(1 - d²)/K) z
         [-d h λ,          d          ]]

from which the same quantities follow without any error of discretisation: det M = d gives a decay of e^{-c/2} a step,
the angle θ of its eigenvalues cos θ = cosh(c/2)(1 - a/2), the spectrum of x

    S(ω) = T (1 - d²) h²K/4 · |1 + z|² / |z² - tr M z + d|²,    z = e^{iω},

its peak cos ω = 2 cosh(c/2)(1 - a/4) - 1, and the phase of x - p̃, p̃ = p - ½h ∂E the momentum on the step,
atan(2 tan(ω/2)(1 - a/4) / (hK)).  All functions are NumPy's and take arrays of curvatures.

Leimkuhler & Matthews, Molecular Dynamics (2015), chapter 7; Aitchison & Lengyel, PLoS Comput. Biol. 2016 (E and I).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LONGEST_RESPONSE = 4096  # steps in which a peak of a step response is looked for


class Dynamics(NamedTuple):
    """Underdamped Langevin dynamics of one mode."""

    step_size: float  # h, units of time
    friction: float  # c = γh, the momentum decays by e^{-c} a step
    temperature: float  # T, units of energy
    inverse_mass: float = 1.0  # K


class Modes(NamedTuple):
    """Predictions for modes of given curvature, each shaped like the curvatures; NaN where there is no such thing."""

    resonance: np.ndarray  # cycles per step, exact; 0 where the spectrum falls from 0 on
    resonance_continuous: np.ndarray  # cycles per step, h sqrt(Kλ - γ²/2) / 2π; 0 where there is none
    quality: np.ndarray  # ω₀/γ, from the exact rotation and decay of M; sqrt(½) and more resonate
    overshoot: np.ndarray  # share of a step by which its response goes beyond it, exact; 0 for none
    overshoot_continuous: np.ndarray  # exp(-πγ / (2 ω_d)); 0 for overdamped modes
    phase: np.ndarray  # radian by which x - p̃ lags x at the resonance, exact
    phase_continuous: np.ndarray  # radian, atan(ω/K)
    variance: np.ndarray  # T/λ, units of state²


def mode_map(curvature: np.ndarray, dynamics: Dynamics) -> np.ndarray:
    """Matrix M of one sampler step on (x, p), (..., 2, 2).

    Args:
        curvature: λ, energy per state², any shape.
        dynamics: of the mode.
    """
    h, c, _, k = dynamics
    curvature = np.asarray(curvature, float)
    decay, ones = np.exp(-c), np.ones_like(curvature)
    rows = [
        [1 - 0.5 * h * h * k * curvature * (1 + decay), 0.5 * h * k * (1 + decay) * ones],
        [-decay * h * curvature, decay * ones],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def mode_noise(dynamics: Dynamics) -> np.ndarray:
    """Covariance (2, 2) of the noise that one step adds to (x, p)."""
    h, c, temperature, k = dynamics
    direction = np.array([0.5 * h * k, 1.0])
    return np.outer(direction, direction) * temperature * -np.expm1(-2 * c) / k


def spectrum(curvature: np.ndarray, frequency: np.ndarray, dynamics: Dynamics) -> np.ndarray:
    """Power spectral density of x, S(ω) with ∫_{-1/2}^{1/2} S df = T/λ, at frequencies f: curvature.shape + (F,).

    Args:
        curvature: λ, any shape.
        frequency: cycles per step, (F,).
        dynamics: of the mode.
    """
    trace = np.trace(mode_map(curvature, dynamics), axis1=-2, axis2=-1)[..., None]
    z = np.exp(2j * np.pi * np.asarray(frequency, float))
    noise = mode_noise(dynamics)[0, 0]
    return noise * np.abs(1 + z) ** 2 / np.abs(z * z - trace * z + np.exp(-dynamics.friction)) ** 2


def step_responses(curvature: np.ndarray, steps: int, dynamics: Dynamics) -> np.ndarray:
    """Mean of x after the well has jumped from -1 to 0, from rest: x_0 = -1, x_1, ..., (steps,) + curvature.shape."""
    matrix = mode_map(curvature, dynamics)
    point = np.stack([-np.ones_like(matrix[..., 0, 0]), np.zeros_like(matrix[..., 0, 0])], axis=-1)
    found = []
    for _ in range(steps):
        found.append(point[..., 0])
        point = np.einsum("...ij,...j->...i", matrix, point)
    return np.stack(found)


def phase_lag(curvature: np.ndarray, frequency: np.ndarray, dynamics: Dynamics) -> np.ndarray:
    """Radian by which x - p̃ lags x at a frequency (cycles per step): atan(2 tan(ω/2)(1 - h²Kλ/4) / (hK))."""
    h, _, _, k = dynamics
    slope = 2 * np.tan(np.pi * np.asarray(frequency)) / (h * k)
    return np.arctan(slope * (1 - 0.25 * h * h * k * np.asarray(curvature, float)))


def predict_modes(curvature: np.ndarray, dynamics: Dynamics) -> Modes:
    """Everything that follows from curvature and dynamics for each mode.

    Args:
        curvature: λ, energy per state², any shape.  NaN is predicted at λ ≤ 0 (no well) and h²Kλ ≥ 4 (unstable).
        dynamics: of the mode.
    """
    h, c, temperature, k = dynamics
    curvature = np.asarray(curvature, float)
    a, well = h * h * k * curvature, (curvature > 0) & (h * h * k * curvature < 4)
    stable = np.where(well, a, np.nan)
    resonance = np.arccos(np.clip(2 * np.cosh(0.5 * c) * (1 - 0.25 * stable) - 1, -1, 1)) / (2 * np.pi)
    turn = np.cosh(0.5 * c) * (1 - 0.5 * stable)
    angle = np.where(np.abs(turn) < 1, np.arccos(np.clip(turn, -1, 1)), 0.0)
    slow = stable - 0.25 * c * c
    # Overdamped modes decay at two rates, whose product is ω₀².
    rates = np.arccosh(np.maximum(turn, 1.0))
    natural = np.sqrt(np.maximum(0.25 * c * c + np.where(np.abs(turn) < 1, angle**2, -(rates**2)), 0.0))
    omega = np.sqrt(np.maximum(stable - 0.5 * c * c, 0.0))
    damped = np.sqrt(np.where(slow > 0, slow, np.nan))
    return Modes(
        resonance=resonance,
        resonance_continuous=np.where(well, omega / (2 * np.pi), np.nan),
        quality=np.where(well, natural / c, np.nan),
        overshoot=np.where(well, _overshoot(np.where(well, curvature, 1.0 / (h * h * k)), dynamics), np.nan),
        overshoot_continuous=np.where(well, np.nan_to_num(np.exp(-0.5 * np.pi * c / damped)), np.nan),
        phase=np.where(well, phase_lag(curvature, resonance, dynamics), np.nan),
        phase_continuous=np.where(well, np.arctan(omega / (h * k)), np.nan),
        variance=np.where(curvature > 0, temperature / np.where(curvature > 0, curvature, 1.0), np.nan),
    )


def _overshoot(curvature: np.ndarray, dynamics: Dynamics) -> np.ndarray:
    if curvature.size == 0:
        return np.zeros_like(curvature)
    slowest = float(np.sqrt(np.min(curvature) * dynamics.inverse_mass)) * dynamics.step_size
    # The first peak comes after half a turn; without one there is none later either.
    steps = int(np.clip(2 * np.pi / slowest, 8, LONGEST_RESPONSE))
    return np.maximum(step_responses(curvature, steps, dynamics).max(axis=0), 0.0)
