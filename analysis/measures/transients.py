"""Transients at stimulus onset and offset.

Cortex answers the appearance of a stimulus with an overshoot that grows with contrast. Time is axis 0 everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.measures.spectra import local_field_potential
from recordings.periods import Periods


class Transients(NamedTuple):
    """Summed rectified activity around the change of the stimulus, one column a group of stimuli."""

    groups: np.ndarray  # (groups,) label, such as the contrast
    on: np.ndarray  # (steps, groups) from 100 steps before onset
    off: np.ndarray  # (steps, groups) from 100 steps before offset
    start: int  # first step relative to the change, negative


def transients(
    traces, groups, periods: Periods | None = None, lead: int = 100, length: int = 250, selected=None
) -> Transients:
    """Return the sum over neurons of max(x, μ), less its own mean over the blanks.

    μ is each neuron's mean over both blanks without burn-in: what falls below it is cut, so that neurons which are
    driven down do not cancel the ones driven up.

    Args:
        traces: (time, stimuli, ...) state; everything behind stimuli is summed.
        groups: (stimuli,) label of each stimulus; stimuli of one label are summed.
        periods: periods of the recording.
        lead: steps before the change.
        length: steps shown.
        selected: neurons to sum, bool, (stimuli, ...); all by default.
    """
    periods = periods or Periods()
    periods.check(len(traces))
    traces = np.asarray(traces, np.float64)
    blanks = periods.blank + periods.blank_after
    mean = (traces[periods.before].sum(axis=0) + traces[periods.after].sum(axis=0)) / blanks
    if selected is None:
        selected = np.ones(traces.shape[1:], bool)
    labels, summed = local_field_potential(np.maximum(traces, mean), selected, groups)
    summed = summed - (summed[periods.before].sum(axis=0) + summed[periods.after].sum(axis=0)) / blanks
    onset, offset = periods.onset - lead, periods.offset - lead
    return Transients(labels, summed[onset : onset + length], summed[offset : offset + length], -lead)


def transient_strength(result: Transients, early: int = 50, late: tuple[int, int] = (100, 150)) -> np.ndarray:
    """Return the overshoot per group: the mean of the first `early` steps after onset less that of the steps `late`."""
    zero = -result.start
    return result.on[zero : zero + early].mean(axis=0) - result.on[zero + late[0] : zero + late[1]].mean(axis=0)
