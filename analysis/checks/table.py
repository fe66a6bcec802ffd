"""All checks of one recording, and their differences from a control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.checks.overshoot import overshoot_grows
from analysis.checks.quenching import variability_quenched
from analysis.checks.resampling import RESAMPLES, interval, trial_counts
from analysis.checks.resonance import resonance_rises
from analysis.checks.speed import faster_than_reference
from analysis.checks.synchrony import synchrony
from analysis.checks.trials import Trials
from analysis.checks.verdict import Verdict, not_tested

# What each check would find in cortex, and where that was reported.
EXPECTED = {
    "resonance_rises": "a spectral peak that rises with contrast (Ray & Maunsell 2010; Roberts 2013)",
    "overshoot_grows": "an onset overshoot, larger in amplitude at high contrast (Albrecht 2002; Müller 2001)",
    "variability_quenched": "less variance across trials with the stimulus (Churchland 2010)",
    "synchrony": "a rhythm shared by channels, more with the stimulus than without",
    "collinear_synchrony": "more synchrony of collinear than of orthogonal patches (Gray 1989)",
    "faster_than_reference": "means found over 5 times faster than by Langevin dynamics (Aitchison & Lengyel 2016)",
}
NAMES = {
    "resonance_rises": "resonance rises with contrast",
    "overshoot_grows": "onset overshoot grows with contrast",
    "variability_quenched": "variability is quenched",
    "synchrony": "channels share a rhythm",
    "collinear_synchrony": "collinear patches synchronise more",
    "faster_than_reference": "sampling is faster than Langevin",
}


class Difference(NamedTuple):
    """A recording's statistic minus that of its control."""

    check: str
    found: float
    low: float  # interval of the difference, 95 %
    high: float
    p_value: float  # two-sided, by the resamples
    corrected: float  # the same by Holm's rule over all checks compared
    unit: str


def check_trials(trials: Trials, reference: Trials | None = None, resamples: int = RESAMPLES, seed: int = 0):
    """Make every check that one recording allows; returns a list of `Verdict`.

    Args:
        trials: the recording.
        reference: the same system under other dynamics, for the speed; None leaves that check untested.
        resamples: of the trials, the same in every check.
        seed: of resamples and divisions.
    """
    counts = trial_counts(trials.contrast, resamples, seed)
    found = [
        resonance_rises(trials, counts),
        overshoot_grows(trials, counts, seed),
        variability_quenched(trials, counts),
        synchrony(trials, counts, seed),
    ]
    if reference is None:
        reason = "there is no recording of the same system under other dynamics to compare with"
        return [*found, not_tested("faster_than_reference", "times per sample", reason)]
    return [*found, faster_than_reference(trials, reference, counts)]


def differences(model: Sequence[Verdict], control: Sequence[Verdict]) -> list[Difference]:
    """Paired differences of the statistics of a recording and its control, resample by resample.

    Only checks that measured the same quantity in both are compared, in what decided or in what is always measured.
    Both must come from resamples of one seed over the same contrasts: trials that began alike are drawn together.
    """
    theirs, found = {verdict.check: verdict for verdict in control}, []
    for ours in model:
        pair = _comparable(ours, theirs.get(ours.check))
        if pair is None:
            continue
        (unit, one, mine), (_, two, others) = pair
        draws = mine - others
        draws = draws[np.isfinite(draws)]
        if draws.size < 20:
            continue
        side = (min(np.mean(draws <= 0), np.mean(draws >= 0)) * draws.size + 1) / (draws.size + 1)
        found.append(Difference(ours.check, one - two, *interval(draws), float(min(2 * side, 1)), np.nan, unit))
    corrected = holm([each.p_value for each in found])
    return [each._replace(corrected=p) for each, p in zip(found, corrected, strict=True)]


def _comparable(ours: Verdict, other: Verdict | None):
    """(unit, value, draws) of both in the first quantity that both measured, or None."""
    if other is None:
        return None
    first = [(each.unit, each.found, each.draws) for each in (ours, other)]
    for pair in (first, [ours.also, other.also]):
        if all(each is not None and each[2] is not None for each in pair) and pair[0][0] == pair[1][0]:
            return pair
    return None


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number by Holm's rule (Scand. J. Stat. 1979)."""
    order = np.argsort(p_values)
    count, result, largest = len(p_values), np.ones(len(p_values)), 0.0
    for place, number in enumerate(order):
        largest = max(largest, min(1.0, (count - place) * p_values[number]))
        result[number] = largest
    return result.tolist()
