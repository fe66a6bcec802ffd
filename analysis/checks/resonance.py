"""Does the field resonate, and does the resonance rise with contrast (Ray & Maunsell 2010; Roberts et al. 2013)?

For each contrast the spectrum of the summed state is fitted with a damped oscillator on a background (see `whittle`).
The mean response to each stimulus is taken away first, so that its onset does not count as a rhythm. Present: a peak
(Q above 1/√2 with its whole interval) at three contrasts or more with the highest among them, and the rise of the
line through their resonances above a tenth of their mean. Absent: no peak at the two highest contrasts, or a rise
below that.

Overdamped noise that quickens with contrast has no peak at any speed, and is absent for that reason.
"""

from __future__ import annotations

import numpy as np

from analysis.checks.resampling import interval, trial_counts, undecided_reason
from analysis.checks.trials import Trials, residuals, summed, sustained
from analysis.checks.verdict import ABSENT, PRESENT, UNDECIDED, Verdict, not_tested
from analysis.checks.whittle import LEAST_Q, Resonance, band_of, fit_resonance, periodograms

CHECK = "resonance_rises"
LEAST_RISE = 0.1  # of the mean frequency
LEAST_CONTRASTS = 3


def fit_trials(power: np.ndarray, frequencies: np.ndarray, counts: np.ndarray) -> tuple[Resonance, Resonance]:
    """Fit the mean spectrum of some trials, and that of every resample of them.

    Args:
        power: (trials, frequencies) periodograms.
        frequencies: (frequencies,) cycles per sample.
        counts: (resamples, trials) how often each trial is in each resample.

    Returns:
        Fits with fields () and (resamples,).
    """
    mean = power.mean(axis=0)
    band = band_of(mean, frequencies)
    point = fit_resonance(mean[band], frequencies[band])
    # A resample starts where the whole ended, and where its opposite would: without a peak, with a sharper one.
    starts = np.tile(point.parameters, (len(counts), 3, 1))
    starts[:, 1, 2], starts[:, 2, 2] = np.log(0.3), np.log(2.5)
    return point, fit_resonance(
        (counts @ power / counts.sum(axis=1, keepdims=True))[:, band], frequencies[band], starts
    )


def resonance_of_contrasts(trials: Trials, counts: np.ndarray) -> tuple[Resonance, Resonance]:
    """Fit the spectrum of the summed state at every contrast above 0.

    Args:
        trials: the recording.
        counts: (resamples, trials), see `trial_counts`.

    Returns:
        Fits with fields (contrasts,) and (contrasts, resamples).
    """
    values = residuals(summed(trials)[:, sustained(trials)], trials.shown())
    power, frequencies = periodograms(values)
    rows = [trials.contrast == level for level in trials.levels]
    fits = [fit_trials(power[row], frequencies, counts[:, row]) for row in rows]
    return tuple(Resonance(*map(np.stack, zip(*each, strict=True))) for each in zip(*fits, strict=True))


def resonance_rises(trials: Trials, counts: np.ndarray | None = None) -> Verdict:
    """Judge the rise of the resonance with contrast; `found` is the rise in hertz over the resonant contrasts.

    Where no peak at the two highest contrasts is the reason, `found` is Q at the highest.
    """
    counts = trial_counts(trials.contrast) if counts is None else counts
    levels, each = trials.levels, trials_per_contrast(trials)
    if levels.size < LEAST_CONTRASTS:
        return not_tested(CHECK, "Hz", f"a rise needs at least {LEAST_CONTRASTS} contrasts above 0, not {levels.size}")
    point, drawn = resonance_of_contrasts(trials, counts)
    bounds = np.array([interval(draws) for draws in drawn.quality])
    details = {
        "contrast": levels.tolist(),
        "hertz": trials.hertz(point.frequency).tolist(),
        "hertz_interval": [interval(draws) for draws in trials.hertz(drawn.frequency)],
        "quality": point.quality.tolist(),
        "quality_interval": bounds.tolist(),
    }
    also = "Q at the highest contrast", float(point.quality[-1]), drawn.quality[-1]
    resonant = (bounds[:, 0] > LEAST_Q) & (point.quality > LEAST_Q)
    if (bounds[-2:, 1] < LEAST_Q).all():
        reason = f"the spectrum has no peak at the two highest contrasts: Q {_span(point.quality[-1], *bounds[-1])}"
        quality = float(point.quality[-1]), *map(float, bounds[-1])
        return Verdict(CHECK, ABSENT, *quality, "Q", reason, drawn.quality[-1], also, details)
    if resonant.sum() < LEAST_CONTRASTS or not resonant[-1]:
        place = -1 if not resonant[-1] else int(np.flatnonzero(~resonant)[-1])
        what = f"a peak is not certain at contrast {levels[place]:g}: Q {_span(point.quality[place], *bounds[place])}"
        found = float(point.quality[place]), *map(float, bounds[place])
        reason = undecided_reason(what, each, *found, LEAST_Q)
        return Verdict(CHECK, UNDECIDED, *found, "Q", reason, drawn.quality[place], also, details)

    shown = levels[resonant]
    rise, mean = line_rise(shown, trials.hertz(point.frequency[resonant]))
    rises, means = line_rise(shown, trials.hertz(drawn.frequency[resonant]))
    low, high = interval(rises)
    found = float(rise), low, high
    relative = float(rise / mean), *interval(rises / means)
    words = (
        f"{len(shown)} resonant contrasts, {details['hertz'][int(np.flatnonzero(resonant)[0])]:.3g} to "
        f"{details['hertz'][-1]:.3g} Hz, Q {_span(point.quality[-1], *bounds[-1])} at the highest; the rise is "
        f"{_span(*relative)} of the mean frequency"
    )
    details["relative_rise"] = relative
    if relative[1] > LEAST_RISE:
        return Verdict(CHECK, PRESENT, *found, "Hz", words, rises, also, details)
    if relative[2] < LEAST_RISE:
        return Verdict(CHECK, ABSENT, *found, "Hz", words + f", below {LEAST_RISE:g}", rises, also, details)
    reason = undecided_reason(words + f", which covers {LEAST_RISE:g}", each, *relative, LEAST_RISE)
    return Verdict(CHECK, UNDECIDED, *found, "Hz", reason, rises, also, details)


def line_rise(contrasts: np.ndarray, frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rise of the least-squares line over the range of contrasts, and the mean; frequencies (contrasts, ...)."""
    centred = contrasts - contrasts.mean()
    slope = np.tensordot(centred, frequencies, axes=1) / np.sum(centred**2)
    return slope * np.ptp(contrasts), frequencies.mean(axis=0)


def trials_per_contrast(trials: Trials) -> int:
    """The smallest number of trials of a contrast above 0."""
    return int(min(np.sum(trials.contrast == level) for level in trials.levels))


def _span(found: float, low: float, high: float) -> str:
    return f"{found:.2g} [{low:.2g}, {high:.2g}]"
