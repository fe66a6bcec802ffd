"""Formulas of which there are two, today's and those of the published analysis; an analysis uses one set throughout.

`choose(config.analyse.compat)` is the only place where the sets are told apart. Steps and reports take what they need
from the set that they are given; what both have in common they import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from analysis.measures import activity, gabor_fits, lag, orientation, spectra, synchrony
from analysis.original import dynamics as original_dynamics
from analysis.original import responses as original_responses
from analysis.original import synchrony as original_synchrony


class Wording(NamedTuple):
    """What a report says of numbers that a set of formulas made."""

    note: str  # in the summary
    activity_test: str  # with {level}
    correlogram_unit: str
    lag_sign: int  # of lags by which inhibition follows excitation


class Formulas(NamedTuple):
    """A set of formulas; see the functions of the same names in `analysis.measures`."""

    activity_test: Callable[..., activity.Activity]
    map_limits: Callable[..., np.ndarray]
    find_orientation_preferences: Callable[..., orientation.Preferences]
    assign_orientation: Callable[..., np.ndarray]
    match_stimuli: Callable[..., np.ndarray]
    preference_periods: Callable[[Any], np.ndarray]  # (channels,) bool, tuned to orientation -> radian
    oscillations_by_period: Callable[..., tuple]
    lags: Callable[..., np.ndarray]
    mean_lags: Callable[..., np.ndarray]
    fit_gabors: Callable[..., gabor_fits.GaborFits]
    count_fitted_peaks: Callable[..., np.ndarray]
    group_repeats: Callable[..., synchrony.Groups]
    normalised: bool  # correlograms are correlation coefficients
    both_orders: bool  # of a pair of channels, (a, b) and (b, a)
    angle_bin: float  # width of bins of preference differences, radian; 0 for none
    interval: str  # method of bootstrap intervals
    wording: Wording


TODAY = Formulas(
    activity.activity_test,
    activity.map_limits,
    orientation.find_orientation_preferences,
    orientation.assign_orientation,
    orientation.match_stimuli,
    orientation.periods_of,
    spectra.oscillations_by_period,
    lag.lags_of_inhibition,
    lag.mean_lags,
    gabor_fits.fit_gabors,
    gabor_fits.count_fitted_peaks,
    synchrony.group_repeats,
    normalised=True,
    both_orders=False,  # c_ba[lag] = c_ab[-lag]: one order says all
    angle_bin=np.radians(10),  # angles of fits are all different
    interval="percentile",
    wording=Wording("", "Welch's t-test on batch means, false discovery rate {level:g}", "correlation", 1),
)

ORIGINAL = Formulas(
    original_responses.activity_test,
    original_responses.map_limits,
    original_responses.find_orientation_preferences,
    original_responses.assign_orientation,
    original_responses.match_stimuli,
    lambda is_orientation: np.full(np.shape(is_orientation), 2 * np.pi),
    original_dynamics.oscillations_by_period,
    original_dynamics.lags_of_momentum,
    original_dynamics.mean_lags,
    original_synchrony.fit_gabors,
    original_synchrony.count_fitted_peaks,
    original_synchrony.group_repeats,
    normalised=False,
    both_orders=True,
    angle_bin=0.0,
    interval="basic",
    wording=Wording(
        "The original's formulas were used, defects included.",
        "Welch's t-test on single steps, p < {level:g}",
        "raw sum",
        -1,
    ),
)


def choose(compat: bool) -> Formulas:
    """Return the original's formulas for compat, else today's."""
    return ORIGINAL if compat else TODAY
