"""Fits of correlograms and means over repeats, by the original's formulas."""

from __future__ import annotations

import numpy as np

from analysis.measures import gabor_fits, synchrony
from analysis.measures.gabor_fits import GaborFits
from analysis.measures.synchrony import Groups


def fit_gabors(correlograms, lags) -> GaborFits:
    """Fit all correlograms in two stages, from five starts of which the best is chosen after the first stage.

    Args:
        correlograms: (n, d).
        lags: (d,) steps, evenly spaced around 0.

    Raises:
        ValueError: shapes do not agree, or values are not finite.
    """
    return gabor_fits.fit_from(correlograms, lags, gabor_fits.guessed_starts, _fit_block)


def _fit_block(curves, starts, lags) -> np.ndarray:
    chosen = gabor_fits.best_start(*gabor_fits.fit_starts(curves, starts, lags))
    return gabor_fits.two_stages(curves, chosen, lags)


def count_fitted_peaks(fits: GaborFits, lags) -> np.ndarray:
    """Return the number of peaks of each curve, rebuilt with its amplitude multiplied by 0.7 a second time."""
    return gabor_fits.count_fitted_peaks(fits._replace(scale=fits.scale * gabor_fits.AMPLITUDE_SHARE), lags)


def group_repeats(keys, amplitude, phase, peak_count) -> Groups:
    """Average fits over repeats; of phases, which wrap around, the arithmetic mean and a t-test of it against 0.

    Args:
        keys: (fits, columns) what defines a group, such as stimulus, period and pair.
        amplitude, phase, peak_count: (fits,).
    """
    groups = synchrony.group_repeats(keys, amplitude, phase, peak_count)
    straight = synchrony.group_repeats(keys, phase, phase, peak_count)
    test = straight.amplitude_test
    return groups._replace(phase=straight.amplitude, phase_statistic=test.statistic, phase_p_value=test.p_value)
