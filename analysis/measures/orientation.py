"""Direction and orientation preference of channels, from cosine fits to tuning curves.

A channel's tuning curve is its mean response to many angles. One cosine over the circle describes direction tuning, two
describe orientation tuning. Both fits are linear in (cosine part, sine part, offset), so that all channels are solved
in closed form by one product, and the better of the two fits names the kind of tuning.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from analysis.measures import statistics
from analysis.measures.peaks import find_peaks

AMPLITUDE_THRESHOLD = 0.04
MATCH_DISTANCE, WIDEST_MATCH = np.radians(10), np.pi / 8


class CosineFit(NamedTuple):
    """Fit of `amplitude cos(harmonic θ + phase) + offset`, one entry a channel."""

    harmonic: int
    amplitude: np.ndarray  # not negative
    phase: np.ndarray  # radian, in (-π, π]
    offset: np.ndarray
    cost: np.ndarray  # half the sum of squared residuals


class Preferences(NamedTuple):
    """Preferred angles of channels with the evidence for them."""

    curves: np.ndarray  # (channels, angles) responses, centred and of unit length
    direction: CosineFit  # one period over the circle
    orientation: CosineFit  # two periods
    is_orientation: np.ndarray  # (channels,) bool, the two-period fit is the better one
    amplitude: np.ndarray  # (channels,) of the better fit
    preferred_angle: np.ndarray  # (channels,) radian
    explained: np.ndarray  # (channels,) share of variance that the better fit explains
    q_value: np.ndarray  # (channels,) false discovery rate of "no tuning"
    peaks: np.ndarray  # (channels, angles) bool, peaks of the curve itself


def fit_cosine(angles, curves, harmonic: int) -> CosineFit:
    """Fit `a cos(kθ + φ) + m` by least squares to every curve.

    Args:
        angles: (angles,) radian.
        curves: (channels, angles).
        harmonic: k, periods over the circle.
    """
    angles = np.asarray(angles, float)
    design = np.stack([np.cos(harmonic * angles), np.sin(harmonic * angles), np.ones_like(angles)], axis=1)
    (cosine, sine, offset), *_ = np.linalg.lstsq(design, np.asarray(curves, float).T, rcond=None)
    residual = curves - (design @ np.stack([cosine, sine, offset])).T
    return CosineFit(
        harmonic, np.hypot(cosine, sine), np.arctan2(-sine, cosine), offset, 0.5 * (residual**2).sum(axis=1)
    )


def evaluate_cosine(fit: CosineFit, angles) -> np.ndarray:
    """Return the fitted curves (channels, angles)."""
    return fit.amplitude[:, None] * np.cos(fit.harmonic * np.asarray(angles) + fit.phase[:, None]) + fit.offset[:, None]


def find_orientation_preferences(angles, responses) -> Preferences:
    """Find what angle each channel prefers.

    Curves are centred and scaled to unit length; the harmonic with the smaller cost is chosen. The preferred angle is
    the maximum of the fitted cosine, -φ/k modulo 2π/k, and an F-test against a constant response says whether there
    is tuning at all.

    Args:
        angles: (angles,) stimulus angles, radian.
        responses: (channels, angles) mean state during the stimulus.

    Raises:
        ValueError: fewer than 6 angles, or shapes that do not agree.
    """
    angles, responses = np.asarray(angles, float), np.asarray(responses, float)
    if responses.ndim != 2 or responses.shape[1] != angles.size or angles.size < 6:
        raise ValueError(
            f"Orientation preferences need responses (channels, angles) to at least 6 angles; got {responses.shape} "
            f"for {angles.size} angles."
        )
    curves = responses - responses.mean(axis=1, keepdims=True)
    length = np.linalg.norm(curves, axis=1, keepdims=True)
    curves = curves / np.where(length > 0, length, 1)
    direction, orientation = fit_cosine(angles, curves, 1), fit_cosine(angles, curves, 2)
    is_orientation = orientation.cost < direction.cost
    chosen = [np.where(is_orientation, second, first) for first, second in zip(direction, orientation, strict=True)]
    harmonic, amplitude, phase, _, cost = chosen
    padded = np.pad(curves, ((0, 0), (1, 1)))
    # Peaks lie a quarter of the circle apart at least; edge samples count only if positive.
    peaks = find_peaks(padded, curves.max(axis=1) / 9, distance=max(1, angles.size // 4))[:, 1:-1]
    preferred = np.mod(-phase / harmonic, 2 * np.pi / harmonic)
    explained = 1 - 2 * cost / np.where(length[:, 0] > 0, 1.0, np.inf)
    explained = np.where(length[:, 0] > 0, explained, 0.0)
    freedom = angles.size - 3
    with np.errstate(divide="ignore"):
        ratio = explained / 2 / ((1 - explained) / freedom)
    # The better of two fits is tested, so the p-value pays for both (Bonferroni).
    p_value = np.minimum(1, 2 * stats.f.sf(ratio, 2, freedom))
    q_value = statistics.benjamini_hochberg(p_value)
    return Preferences(curves, direction, orientation, is_orientation, amplitude, preferred, explained, q_value, peaks)


def assign_orientation(preferences: Preferences, level: float = 0.05, threshold: float = AMPLITUDE_THRESHOLD):
    """Return the preferred angles (channels,) of the tuned channels, radian, NaN for the others.

    Args:
        preferences: result of `find_orientation_preferences`.
        level: false discovery rate of tuning.
        threshold: least amplitude of the fit.
    """
    tuned = (np.abs(preferences.amplitude) > threshold) & (preferences.q_value < level)
    return np.where(tuned, preferences.preferred_angle, np.nan)


def match_stimuli(preferred, is_orientation, angles) -> np.ndarray:
    """Return (channels, stimuli) bool: the stimulus has about the preferred angle of the channel.

    'About' is half the distance of neighbouring stimulus angles, but at least 10° and at most 22.5°; angles of
    orientation-tuned channels are taken modulo 180°.

    Args:
        preferred: (channels,) radian, NaN for untuned channels.
        is_orientation: (channels,) bool.
        angles: (stimuli,) radian.
    """
    distinct = np.unique(np.round(np.mod(angles, 2 * np.pi), 9))
    spacing = np.diff(distinct).min() if distinct.size > 1 else np.pi
    distance = np.clip(0.5 * spacing, MATCH_DISTANCE, WIDEST_MATCH) + 1e-6
    return match_angles(preferred, angles, distance, periods_of(is_orientation))


def periods_of(is_orientation) -> np.ndarray:
    """Return the angle after which each preference repeats: π for orientations, 2π for directions."""
    return np.where(is_orientation, np.pi, 2 * np.pi)


def match_angles(preferred, stimulus_angles, distance: float = MATCH_DISTANCE, period=2 * np.pi) -> np.ndarray:
    """Return (channels, stimuli) bool: the stimulus lies within `distance` of the preference; NaN never does."""
    period = np.broadcast_to(np.asarray(period, float), np.shape(preferred))[:, None]
    apart = statistics.circular_distance(np.asarray(preferred)[:, None], np.asarray(stimulus_angles)[None, :], period)
    return np.nan_to_num(apart, nan=np.inf) < distance
