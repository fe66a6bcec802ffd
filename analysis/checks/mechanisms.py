"""Recordings made by simple mechanisms, of which it is known what a check must say.

Every mechanism is a stochastic process that runs step by step through blank, stimulus and blank, and whose parameters
may depend on contrast: overdamped noise (first order) and damped oscillators (second order), in a box or not, of each
channel alone or with a part in common. Nothing is painted on: an overshoot comes from an oscillator that is given a
step, a saturated variance from a wall.

    oscillator   x'' = -ω0² (x - d) - (ω0/Q) x' + noise      in its exact discrete form
    overdamped   x'  = -k (x - d) + noise
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import signal

from analysis.checks.trials import Trials

ONSET, OFFSET, TOTAL = 300, 700, 750
SETTLE = 100  # steps before the recording begins
TURNING_KEEP, TURNING_STEPS = 0.93, 420
CONTRASTS = (0.0, 0.25, 0.5, 0.75, 1.0)
ABSENT, PRESENT = "absent", "present"


class Plan(NamedTuple):
    """What each step of a process is driven by; arrays (trials,), for the blank and for the stimulus."""

    speed: np.ndarray  # ω0 in radian per step of an oscillator, k per step of an overdamped process
    quality: float  # Q of an oscillator, 0 for an overdamped process
    spread: np.ndarray  # standard deviation of the stationary process
    drive: np.ndarray  # mean that the stimulus asks for
    shared: np.ndarray  # share of the noise's variance that all channels have in common


class Mechanism(NamedTuple):
    """A process and what the checks must answer; a check that is not named may say anything."""

    make: Callable[[np.random.Generator, int, int], Trials]  # (rng, trials a contrast, channels)
    truth: dict[str, str]


def simulate(rng: np.random.Generator, blank: Plan, lit: Plan, channels: int, walls: float = np.inf) -> np.ndarray:
    """Run a process; returns (trials, time, channels).

    Args:
        rng: of the noise.
        blank, lit: without and with the stimulus.
        channels: number of channels, all alike.
        walls: the state is reflected at ± this value.
    """
    count = len(blank.speed)
    state = rng.standard_normal((count, channels)) * blank.spread[:, None]
    velocity = np.zeros_like(state)
    result = np.empty((TOTAL, count, channels))
    steppers = {False: _stepper(blank), True: _stepper(lit)}
    for time in range(-SETTLE, TOTAL):
        step, plan = steppers[ONSET <= time < OFFSET], lit if ONSET <= time < OFFSET else blank
        common = np.sqrt(plan.shared)[:, None, None] * rng.standard_normal((count, 1, 2))
        noise = np.sqrt(1 - plan.shared)[:, None, None] * rng.standard_normal((count, channels, 2)) + common
        state, velocity = step(state, velocity, noise)
        outside = np.abs(state) > walls
        state = np.where(outside, np.sign(state) * (2 * walls) - state, state) if outside.any() else state
        if time >= 0:
            result[time] = state
    return result.transpose(1, 0, 2)


def _stepper(plan: Plan):
    """step(state, velocity, noise) -> (state, velocity) of one plan, exact for constant parameters."""
    drive, spread = plan.drive[:, None], plan.spread[:, None]
    if plan.quality == 0:
        keep = np.exp(-plan.speed)[:, None]

        def overdamped(state, velocity, noise):
            return drive + keep * (state - drive) + np.sqrt(1 - keep**2) * spread * noise[..., 0], velocity

        return overdamped
    forward, root = oscillator_matrices(plan.speed, plan.quality)

    def oscillator(state, velocity, noise):
        pair = np.stack([state - drive, velocity], axis=-1)
        moved = np.einsum("nij,ncj->nci", forward, pair) + np.einsum("nij,ncj->nci", root, noise) * spread[..., None]
        return moved[..., 0] + drive, moved[..., 1]

    return oscillator


def oscillator_matrices(speed: np.ndarray, quality: float) -> tuple[np.ndarray, np.ndarray]:
    """exp(F) and the root of the noise covariance of (x, x'/ω0), of stationary variance 1."""
    generator = speed[:, None, None] * np.array([[0.0, 1.0], [-1.0, -1.0 / quality]])
    values, vectors = np.linalg.eig(generator + 0j)
    forward = np.real(vectors @ (np.exp(values)[..., None] * np.linalg.inv(vectors)))
    covariance = np.eye(2) - forward @ forward.transpose(0, 2, 1)
    return forward, np.linalg.cholesky(covariance + 1e-12 * np.eye(2))


def make_trials(
    rng: np.random.Generator,
    each: int,
    channels: int,
    speed=lambda c: 0.2 + 0 * c,
    quality: float = 0.0,
    spread=lambda c: 1 + 0 * c,
    drive=lambda c: 0 * c,
    shared=lambda c: 0 * c,
    walls: float = np.inf,
) -> Trials:
    """Trials of a process whose parameters are functions of contrast; in the blank they have their values at 0."""
    contrast = np.repeat(CONTRASTS, each)
    plans = [Plan(speed(c), quality, spread(c), drive(c), shared(c)) for c in (0 * contrast, contrast)]
    return Trials(simulate(rng, *plans, channels, walls), ONSET, OFFSET, contrast)


def rotating_chains(rng: np.random.Generator, each: int, spin: float) -> Trials:
    """Pairs of channels that turn into each other, s ← k R s + noise: not reversible, of stationary variance 1.

    Args:
        rng: of the noise.
        each: trials of each of two contrasts, which change nothing.
        spin: angle of the rotation R, radian a sample; 0 for two unrelated reversible chains.
    """
    contrast = np.repeat([0.5, 1.0], each)
    matrix = TURNING_KEEP * np.array([[np.cos(spin), -np.sin(spin)], [np.sin(spin), np.cos(spin)]])
    state, signals = rng.standard_normal((len(contrast), 2)), np.empty((len(contrast), TURNING_STEPS, 2))
    for step in range(TURNING_STEPS):
        state = state @ matrix.T + np.sqrt(1 - TURNING_KEEP**2) * rng.standard_normal(state.shape)
        signals[:, step] = state
    return Trials(signals, 20, TURNING_STEPS, contrast)


def rotation_autocorrelation_time(spin: float) -> float:
    """Integrated autocorrelation time of `rotating_chains`: Re (1 + a) / (1 - a) with a = k exp(i spin)."""
    factor = TURNING_KEEP * np.exp(1j * spin)
    return float(np.real((1 + factor) / (1 - factor)))


def _cycles(hertz):
    return 2 * np.pi * hertz / 1000


def _process(truth: dict[str, str], **options) -> Mechanism:
    return Mechanism(lambda rng, each, channels: make_trials(rng, each, channels, **options), truth)


def _driven_pairs(rng, each: int, channels: int) -> Trials:
    """Unrelated oscillators, with a rhythm on top that the stimulus starts anew in every trial, of random strength."""
    trials = make_trials(rng, each, channels, lambda c: _cycles(40 + 0 * c), 2.0)
    since = np.arange(TOTAL) - ONSET
    wave = np.where((since >= 0) & (since < OFFSET - ONSET), np.sin(_cycles(40) * since), 0.0)
    strength = trials.contrast * (1 + 0.5 * rng.standard_normal(len(trials.contrast)))
    return trials._replace(signals=trials.signals + strength[:, None, None] * wave[:, None])


def _different_rhythms(rng, each: int, channels: int) -> Trials:
    """Oscillators of their own frequencies, 25 to 60 Hz, that know nothing of each other or of the stimulus."""
    parts = [
        make_trials(rng, each, 1, lambda c, hz=hz: _cycles(hz + 0 * c), 3.0) for hz in np.linspace(25, 60, channels)
    ]
    return parts[0]._replace(signals=np.concatenate([part.signals for part in parts], axis=2))


NOTHING = {"resonance_rises": ABSENT, "overshoot_grows": ABSENT, "variability_quenched": ABSENT, "synchrony": ABSENT}
MECHANISMS: dict[str, Mechanism] = {
    # Nulls: what looks like an effect and is none.
    "overdamped noise that quickens": _process(NOTHING, speed=lambda c: 0.05 + 0.35 * c),
    "the same, driven": _process(NOTHING, speed=lambda c: 0.05 + 0.35 * c, drive=lambda c: 2 * c),
    "white noise": _process(NOTHING, speed=lambda c: 20 + 0 * c),
    "unrelated oscillators": _process(NOTHING, speed=lambda c: _cycles(40 + 0 * c), quality=3.0),
    "oscillators of different frequencies": Mechanism(_different_rhythms, NOTHING),
    "driven pairs": Mechanism(_driven_pairs, {key: NOTHING[key] for key in ("resonance_rises", "synchrony")}),
    "noise in common, no rhythm": _process(NOTHING, shared=lambda c: 0.5 * c),
    "walls": _process(
        {"resonance_rises": ABSENT, "overshoot_grows": ABSENT, "variability_quenched": ABSENT},
        drive=lambda c: 2.5 * c, walls=2.0,
    ),
    # Planted: one effect each.
    "unit oscillators given a step": _process(
        NOTHING | {"overshoot_grows": PRESENT}, speed=lambda c: _cycles(30 + 0 * c), quality=1.5, drive=lambda c: 3 * c,
    ),
    "oscillators that quicken": _process(
        NOTHING | {"resonance_rises": PRESENT}, speed=lambda c: _cycles(30 + 20 * c), quality=2.0,
    ),
    "variance that falls": _process(NOTHING | {"variability_quenched": PRESENT}, spread=lambda c: 1 - 0.4 * c),
    "a rhythm in common": _process(
        NOTHING | {"synchrony": PRESENT}, speed=lambda c: _cycles(40 + 0 * c), quality=3.0, shared=lambda c: 0.5 * c,
    ),
}  # fmt: skip


def autoregressive_noise(rng: np.random.Generator, shape, correlation: float = 0.9) -> np.ndarray:
    """Return AR(1) noise of unit variance along axis 0, started in its stationary state."""
    draws = rng.standard_normal(shape)
    draws[1:] *= np.sqrt(1 - correlation**2)
    return signal.lfilter([1.0], [1.0, -correlation], draws, axis=0)
