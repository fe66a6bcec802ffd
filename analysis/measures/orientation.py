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
MATCH_DISTANCE = np.radians(10)


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


def find_orientation_preferences(angles, responses, compat: bool = False) -> Preferences:
    """Find what angle each channel prefers.

    Curves are centred and scaled to unit length; the harmonic with the smaller cost is chosen. The preferred angle is
    the maximum of the fitted cosine, -φ/k modulo 2π/k, and an F-test against a constant response says whether there
    is tuning at all.

    Args:
        angles: (angles,) stimulus angles, radian.
        responses: (channels, angles) mean state during the stimulus.
        compat: the original's preferred angle: the peak of the measured curve, padded with a zero at both ends, that
            lies nearest to the maximum of the fit. A preference near 0 may be found at either end of the curve, edge
            samples count only if positive, and the value is one of the stimulus angles.

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
    # The original asked for peaks 32 of 128 samples apart: a quarter of the circle, whatever the number of angles.
    peaks = find_peaks(padded, curves.max(axis=1) / 9, distance=max(1, angles.size // 4))[:, 1:-1]
    if compat:
        preferred = _nearest_peak(angles, direction, orientation, is_orientation, peaks)
    else:
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


def _nearest_peak(angles, direction, orientation, is_orientation, peaks) -> np.ndarray:
    fitted = np.where(is_orientation[:, None], evaluate_cosine(orientation, angles), evaluate_cosine(direction, angles))
    size = angles.size
    preferred = np.full(len(fitted), np.nan)
    for channel, curve in enumerate(fitted):
        places = np.flatnonzero(peaks[channel])
        if places.size:
            apart = statistics.circular_distance(places, np.argmax(curve), period=size)
            preferred[channel] = angles[places[np.argmin(apart)]]
    return preferred


def assign_orientation(
    preferences: Preferences,
    stimulus_angles,
    threshold: float = AMPLITUDE_THRESHOLD,
    distance: float = MATCH_DISTANCE,
    level: float = 0.05,
    compat: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Keep the preferences of tuned channels and say which channels each stimulus drives.

    Args:
        preferences: result of `find_orientation_preferences`.
        stimulus_angles: (stimuli,) radian.
        threshold: least amplitude of the fit.
        distance: largest angle between stimulus and preference, radian, exclusive.
        level: false discovery rate of tuning.
        compat: the original's rule: the amplitude threshold alone decides, and angles are compared over the whole
            circle, so that an orientation-tuned channel matches only one of its two preferred directions.

    Returns:
        preferred angle (channels,), NaN for untuned ones, and matched (channels, stimuli) bool.
    """
    tuned = np.abs(preferences.amplitude) > threshold
    if not compat:
        tuned &= preferences.q_value < level
    preferred = np.where(tuned, preferences.preferred_angle, np.nan)
    period = np.where(preferences.is_orientation & (not compat), np.pi, 2 * np.pi)
    return preferred, match_angles(preferred, stimulus_angles, distance, period)


def match_angles(preferred, stimulus_angles, distance: float = MATCH_DISTANCE, period=2 * np.pi) -> np.ndarray:
    """Return (channels, stimuli) bool: the stimulus lies within `distance` of the preference; NaN never does."""
    period = np.broadcast_to(np.asarray(period, float), np.shape(preferred))[:, None]
    apart = statistics.circular_distance(np.asarray(preferred)[:, None], np.asarray(stimulus_angles)[None, :], period)
    return np.nan_to_num(apart, nan=np.inf) < distance
