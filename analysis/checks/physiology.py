"""Checks of a recording against physiology, each with a number, a test and a verdict.

A check takes arrays and returns a `Check`; the same function judges the model, its controls (overdamped Langevin,
shuffled weights, diagonal mass) and synthetic recordings with and without the effect. `not tested` is a verdict too:
one contrast cannot show a trend, and one repeat has no variability.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from analysis.measures import (
    lag,
    spectra,
    statistics,
    surrogates,
    transients,
)
from recordings.autocorrelation import autocorrelation_time
from recordings.periods import Periods, TimeScale


class Check(NamedTuple):
    """One row of a verdict table."""

    name: str
    expected: str
    found: float
    low: float  # 95 % interval of `found`
    high: float
    unit: str
    p_value: float
    verdict: str  # 'pass', 'fail' or 'not tested'
    reason: str  # why it was not tested or gave no number, else ''


# What each check expects; a table of verdicts shows it even where a check could not be made.
EXPECTED = {
    "peak frequency rises with contrast": "about +25 Hz over the range",
    "onset transient grows with contrast": "larger at high contrast",
    "inhibition lags excitation": "1 to 6 ms",
    "variability is quenched at onset": "variance ratio below 1",
    "channels are synchronised": "more than surrogates",
    "collinear pairs synchronise more": "probability above 0.5",
    "sampling is more efficient than Langevin": ">= 10 times Langevin",
}


def _not_tested(name: str, unit: str, reason: str) -> Check:
    return Check(name, EXPECTED[name], np.nan, np.nan, np.nan, unit, np.nan, "not tested", reason)


def _trend(name: str, unit: str, contrasts, values, level: float) -> Check:
    """Test that values rise with contrast; `found` is the rise of the fitted line over the range of contrasts."""
    contrasts, values = np.asarray(contrasts, float), np.asarray(values, float)
    if np.unique(contrasts[contrasts > 0]).size < 3:
        return _not_tested(name, unit, "fewer than 3 contrasts above 0 were shown")
    keep = (contrasts > 0) & np.isfinite(values)
    contrasts, values = contrasts[keep], values[keep]
    if np.unique(contrasts).size < 3:
        count = np.unique(contrasts).size or "none"
        reason = f"{count} of the contrasts raised the power of any frequency above that of the blanks"
        return Check(name, EXPECTED[name], np.nan, np.nan, np.nan, unit, np.nan, "fail", reason)
    trend = statistics.trend_test(contrasts, values)
    # One-sided: only a rise counts.
    p_value = trend["p_value"] / 2 if trend["rho"] > 0 else 1 - trend["p_value"] / 2
    line = stats.linregress(contrasts, values)
    reach = np.ptp(contrasts)
    error = stats.t.ppf(0.975, contrasts.size - 2) * line.stderr * reach
    rise = line.slope * reach
    verdict = "pass" if p_value < level else "fail"
    return Check(name, EXPECTED[name], rise, rise - error, rise + error, unit, p_value, verdict, "")


def frequency_rises_with_contrast(
    field, contrasts, periods: Periods, scale: TimeScale | None = None, band=(5.0, 100.0), level: float = 0.05
) -> Check:
    """Check that the peak frequency of the local field potential rises with contrast (Ray & Maunsell 2010).

    Args:
        field: (time, stimuli) summed state of a patch.
        contrasts: (stimuli,); stimuli are the independent units of the test.
        periods, scale: of the recording.
        band: frequencies looked at, hertz.
        level: of the one-sided rank test.
    """
    peaks = spectra.driven_peak_frequency(field, periods, scale or TimeScale(), band)
    return _trend("peak frequency rises with contrast", "Hz", contrasts, peaks, level)


def transients_grow_with_contrast(state, contrasts, periods: Periods, level: float = 0.05) -> Check:
    """Check that the overshoot at stimulus onset grows with contrast.

    Args:
        state: (time, stimuli, ...).
        contrasts: (stimuli,).
        periods: of the recording.
        level: of the one-sided rank test.
    """
    lead = min(100, periods.blank)
    result = transients.transients(state, np.arange(np.shape(state)[1]), periods, lead, lead + 150)
    strength = transients.transient_strength(result)
    return _trend("onset transient grows with contrast", "state", contrasts, strength, level)


def inhibition_lags_excitation(
    state, momentum, periods: Periods, scale: TimeScale | None = None, max_lag: int = 12, level: float = 0.05
) -> Check:
    """Check that inhibition follows excitation by 1 to 6 ms during the stimulus.

    Excitation is the state and inhibition the *negative* momentum: in ds/dt = p, dp/dt = -∂E/∂s the part that the state
    drives and that pushes the state down again is -p (Aitchison & Lengyel 2016). Momentum itself, a velocity, leads.

    Args:
        state, momentum: (time, stimuli, channels); channels are the independent units.
        periods, scale: of the recording.
        max_lag: lags searched, steps.
        level: of the test against no lag.
    """
    name = "inhibition lags excitation"
    scale = scale or TimeScale()
    if np.shape(state)[2] < 2:
        return _not_tested(name, "ms", "fewer than 2 channels were recorded")
    lags = scale.to_ms(lag.find_lags(state, -np.asarray(momentum), max_lag, periods).lags).mean(axis=0)
    test, interval = statistics.one_sample_t_test(lags), statistics.student_interval(lags, level=0.95)
    p_value = float(test.p_value) if np.isfinite(test.p_value) else 0.0
    good = p_value < level and interval.low > 0 and 1 <= interval.estimate <= 6
    bounds = (float(interval.estimate), float(interval.low), float(interval.high))
    return Check(name, EXPECTED[name], *bounds, "ms", p_value, "pass" if good else "fail", "")


def variability_is_quenched(state, repeats, periods: Periods, window: int = 50, level: float = 0.05) -> Check:
    """Check that the variance across repeats falls at stimulus onset (Churchland et al. 2010).

    Args:
        state: (time, stimuli, channels); channels are the independent units.
        repeats: (stimuli,) label; stimuli of one label are repeats of each other.
        periods: of the recording.
        window: steps averaged before the variance is taken.
        level: of the one-sided test.
    """
    name, unit = "variability is quenched at onset", "ratio"
    repeats = np.asarray(repeats)
    if np.unique(repeats, return_counts=True)[1].max() < 2:
        return _not_tested(name, unit, "no stimulus was shown twice")
    if np.shape(state)[2] < 2:
        return _not_tested(name, unit, "fewer than 2 channels were recorded")
    channels = range(np.shape(state)[2])
    spread = [
        [transients.variability(np.asarray(state)[part][:, :, channel], repeats, window).mean() for channel in channels]
        for part in (periods.before, periods.during)
    ]
    ratio = np.log(np.array(spread[1]) / np.array(spread[0]))
    test, interval = statistics.one_sample_t_test(ratio), statistics.student_interval(ratio, level=0.95)
    p_value = float(test.p_value / 2 if test.statistic < 0 else 1 - test.p_value / 2)
    bounds = np.exp([interval.estimate, interval.low, interval.high]).tolist()
    return Check(name, EXPECTED[name], *bounds, unit, p_value, "pass" if p_value < level else "fail", "")


def channels_are_synchronised(
    state,
    periods: Periods,
    rng: np.random.Generator,
    lags: int = 50,
    count: int = 99,
    level: float = 0.05,
    stimuli=None,
) -> Check:
    """Check that pairs of channels oscillate together more than surrogates in which repeats are shuffled.

    Args:
        state: (time, repeats, channels) repeats of one stimulus, or of several.
        periods: of the recording.
        rng: source of the surrogates.
        lags: largest lag, steps.
        count: number of surrogates.
        level: of the test over all pairs together: the mean effect against surrogates of the whole set.
        stimuli: (repeats,) label of what was shown, see `surrogates.synchrony_test`.
    """
    name = "channels are synchronised"
    if np.shape(state)[2] < 2:
        return _not_tested(name, "correlation", "fewer than 2 channels were recorded")
    during = np.asarray(state)[periods.during]
    result = surrogates.synchrony_test(during, rng, lags, count, stimuli=stimuli)
    found = float(result.excess.mean())
    low, high = found - np.quantile(result.null_excess, [0.975, 0.025])
    verdict = "pass" if result.overall_p_value < level else "fail"
    return Check(
        name, EXPECTED[name], found, float(low), float(high), "correlation", result.overall_p_value, verdict, ""
    )


def collinear_pairs_synchronise_more(collinear, orthogonal, level: float = 0.05) -> Check:
    """Compare the synchrony of collinear and orthogonal pairs (Gray et al. 1989 found more; the model may not).

    Args:
        collinear, orthogonal: amplitudes of pairs, one independent value each (mean over repeats).
        level: of the two-sided Mann-Whitney test.

    Returns:
        A check whose `found` is the probability that a collinear pair has the larger amplitude (0.5: no difference).
    """
    name = "collinear pairs synchronise more"
    collinear, orthogonal = np.asarray(collinear, float), np.asarray(orthogonal, float)
    if min(collinear.size, orthogonal.size) < 3:
        return _not_tested(name, "probability", "fewer than 3 pairs of a kind prefer the stimulus")
    test = stats.mannwhitneyu(collinear, orthogonal, alternative="two-sided")
    pairs = collinear.size * orthogonal.size
    found = test.statistic / pairs
    # Interval by the standard error of the area under the curve (Hanley & McNeil 1982).
    q1, q2 = found / (2 - found), 2 * found**2 / (1 + found)
    variance = found * (1 - found) + (collinear.size - 1) * (q1 - found**2) + (orthogonal.size - 1) * (q2 - found**2)
    error = 1.96 * np.sqrt(max(variance, 0) / pairs)
    verdict = "pass" if test.pvalue < level and found > 0.5 else "fail"
    bounds = float(found), max(0.0, float(found - error)), min(1.0, float(found + error))
    return Check(name, EXPECTED[name], *bounds, "probability", float(test.pvalue), verdict, "")


def samples_more_efficiently(state, control_state, periods: Periods, least: float = 10.0) -> Check:
    """Check that an independent sample costs the model fewer steps than tuned Langevin dynamics.

    With τ the integrated autocorrelation time during the stimulus, `found` is the geometric mean over stimuli and
    channels of τ_Langevin / τ_model; both take one gradient a step. Passes if the whole interval lies at or above
    `least` (Aitchison & Lengyel 2016 found tenfold). Oscillating traces may have τ < 1 in principle; τ is kept at least
    1 (see `recordings.autocorrelation`), which can only make the ratio smaller.

    Args:
        state: (time, stimuli, channels); channels are the independent units.
        control_state: (time, stimuli, channels) of the same experiment under Langevin dynamics at the same temperature;
            None if it was not recorded.
        periods: of both recordings.
        least: ratio that is expected.
    """
    name, unit = "sampling is more efficient than Langevin", "times"
    if control_state is None:
        return _not_tested(name, unit, "no control by Langevin dynamics was recorded")
    if np.shape(state)[2] < 2:
        return _not_tested(name, unit, "fewer than 2 channels were recorded")
    logs = [
        np.log(autocorrelation_time(np.asarray(traces)[periods.during])).mean(axis=0)
        for traces in (control_state, state)
    ]
    ratio = logs[0] - logs[1]
    test = statistics.one_sample_t_test(ratio, expected=np.log(least))
    p_value = float(test.p_value / 2 if test.statistic > 0 else 1 - test.p_value / 2)
    interval = statistics.student_interval(ratio, level=0.95)
    found, low, high = np.exp([interval.estimate, interval.low, interval.high]).tolist()
    return Check(name, EXPECTED[name], found, low, high, unit, p_value, "pass" if low >= least else "fail", "")
