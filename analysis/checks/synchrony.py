"""Do pairs of channels share a rhythm while the stimulus is on?

The statistic is the pairwise phase consistency at the resonance: of a pair of channels, the mean cosine between the
phase differences of any two trials,

    PPC = (|Σ u_t|² - n) / (n (n - 1)),    u_t = X_t Y_t* / |X_t Y_t*|

which is 0 on average for unrelated rhythms whatever the number of trials (Vinck et al. 2010). It is averaged over
pairs and over the band of the resonance, with the value of pairs from different trials (the shift predictor)
subtracted, and compared with the blank before the stimulus at the same frequencies. A rhythm that the stimulus starts
anew in every trial is no synchrony, however strong it is in which trial: the mean response is taken away, in each
trial at its own strength.

A correlation without rhythm (slow drive or noise in common) also locks phases; so where the channels have no peak in
their spectra at the highest contrast there is no rhythm that could be shared, and synchrony is absent for that reason.
Present: the interval of stimulus minus blank lies above 0. Absent: it does not, and it ends below the smallest effect
that would matter, 0.05.
"""

from __future__ import annotations

import numpy as np

from analysis.checks.resampling import interval, trial_counts, undecided_reason
from analysis.checks.resonance import fit_trials
from analysis.checks.trials import LEAST_WINDOW, Trials, before, sustained
from analysis.checks.verdict import ABSENT, PRESENT, UNDECIDED, Verdict, not_tested
from analysis.checks.whittle import LEAST_Q, periodograms

CHECK = "synchrony"
SMALLEST = 0.05  # phase consistency; a coherence of about 0.22
MOST_CHANNELS = 24
MOST_RESAMPLES = 200
BAND = 0.25  # of the resonance, to either side


def synchrony(trials: Trials, counts: np.ndarray | None = None, seed: int = 0) -> Verdict:
    """Judge rhythmic synchrony at the highest contrast; `found` is stimulus minus blank, or Q without a rhythm."""
    unit = "phase consistency"
    if trials.signals.shape[2] < 2:
        return not_tested(CHECK, unit, "there is one channel; synchrony needs two")
    counts = trial_counts(trials.contrast) if counts is None else counts
    top = trials.contrast == trials.levels[-1]
    shown, weights = trials.shown()[top], counts[:MOST_RESAMPLES, top]
    channels = chosen_channels(trials.signals.shape[2], seed)
    during, blank = equal_windows(trials)
    if during.stop - during.start < LEAST_WINDOW:
        return not_tested(CHECK, unit, f"the blank before the stimulus is shorter than {LEAST_WINDOW} samples")
    signals = trials.signals[top][:, :, channels]
    parts = [without_response(np.asarray(signals[:, window], np.float64), shown) for window in (during, blank)]
    fit, drawn, frequencies = rhythm_of_channels(parts[0], weights)
    peak = interval(drawn.quality)
    if peak[1] < LEAST_Q:
        reason = f"the channels' spectra have no peak: Q {float(fit.quality):.2g} [{peak[0]:.2g}, {peak[1]:.2g}]"
        return Verdict(CHECK, ABSENT, float(fit.quality), *peak, "Q", reason + ", so there is no rhythm to share")
    centre = float(fit.frequency if fit.quality > LEAST_Q else fit.natural)
    band = resonance_band(frequencies, centre)
    everything = np.concatenate([np.ones((1, top.sum())), weights])
    locked = [phase_consistency(spectra_of(part)[:, band], everything, shown) for part in parts]
    found = (locked[0] - locked[1]).mean(axis=1)
    low, high = interval(found[1:])
    at = f"at {float(trials.hertz(centre)):.3g} Hz {locked[0].mean(axis=1)[0]:.3g} with the stimulus and " \
         f"{locked[1].mean(axis=1)[0]:.3g} without"  # fmt: skip
    details = {"hertz": float(trials.hertz(centre)), "stimulus": float(locked[0].mean(axis=1)[0]),
               "blank": float(locked[1].mean(axis=1)[0]), "pairs": locked[0].shape[1]}  # fmt: skip
    each = int(top.sum())
    if peak[0] <= LEAST_Q:
        word, reason = UNDECIDED, undecided_reason(f"a peak of the channels' spectra is not certain: {at}", each,
                                                   float(fit.quality), *peak, LEAST_Q)  # fmt: skip
    elif low > 0:
        word, reason = PRESENT, at
    elif high < SMALLEST:
        word, reason = ABSENT, f"{at}: the stimulus adds less than {max(high, 0):.2g}"
    else:
        threshold = 0.0 if found[0] > SMALLEST / 2 else SMALLEST
        word, reason = UNDECIDED, undecided_reason(at, each, float(found[0]), low, high, threshold)
    return Verdict(CHECK, word, float(found[0]), low, high, unit, reason, found[1:], details=details)


def chosen_channels(count: int, seed: int) -> np.ndarray:
    """At most `MOST_CHANNELS` channels, drawn once."""
    if count <= MOST_CHANNELS:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, 13]).choice(count, MOST_CHANNELS, replace=False))


def without_response(values: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Each trial without its mean over time and the multiple of its stimulus's mean response that fits it best.

    Args:
        values: (trials, time, channels).
        shown: (trials,) int.
    """
    centred = values - values.mean(axis=1, keepdims=True)
    result = centred.copy()
    for number in np.unique(shown):
        rows = np.flatnonzero(shown == number)
        if rows.size > 1:
            # The response is read from the other trials, so that a trial is not taken away from itself.
            total = centred[rows].sum(axis=0)
            response = (total - centred[rows]) / (rows.size - 1)
            strength = np.sum(centred[rows] * response, axis=1) / np.maximum(np.sum(response**2, axis=1), 1e-300)
            result[rows] -= strength[:, None] * response
    return result


def equal_windows(trials: Trials) -> tuple[slice, slice]:
    """Two windows of one length: the end of the stimulus and the end of the blank before it."""
    during, blank = sustained(trials), before(trials)
    length = min(during.stop - during.start, blank.stop - blank.start)
    return slice(during.stop - length, during.stop), slice(blank.stop - length, blank.stop)


def rhythm_of_channels(values: np.ndarray, weights: np.ndarray):
    """Resonance of the mean spectrum of the channels, each scaled to the same power, and of every resample.

    Args:
        values: (trials, time, channels) residuals.
        weights: (resamples, trials).

    Returns:
        Two fits as from `fit_trials`, and the frequencies (cycles per sample).
    """
    each = [periodograms(values[:, :, channel]) for channel in range(values.shape[2])]
    scaled = [power / max(power.mean(), 1e-300) for power, _ in each]
    return *fit_trials(np.mean(scaled, axis=0), each[0][1], weights), each[0][1]


def resonance_band(frequencies: np.ndarray, centre: float) -> np.ndarray:
    """Numbers of the frequencies within a quarter of the resonance, at least the three nearest."""
    inside = np.flatnonzero(np.abs(frequencies - centre) <= BAND * centre)
    return inside if inside.size >= 3 else np.sort(np.argsort(np.abs(frequencies - centre))[:3])


def phase_consistency(spectra: np.ndarray, weights: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Pairwise phase consistency above the shift predictor, mean over the band.

    Args:
        spectra: (trials, band, channels) complex.
        weights: (resamples, trials) counts; pairs of a trial with itself are left out.
        shown: (trials,) int; the shift predictor pairs a trial with the next one of the same stimulus.

    Returns:
        (resamples, pairs).
    """
    unit = spectra / np.maximum(np.abs(spectra), 1e-300)
    first, second = np.triu_indices(unit.shape[2], 1)
    return _consistency(unit[:, :, first], unit[:, :, second], weights) - _consistency(
        unit[:, :, first], unit[shifted(shown)][:, :, second], weights
    )


def shifted(shown: np.ndarray) -> np.ndarray:
    """For every trial the number of another that was shown the same (itself if there is none)."""
    result = np.arange(len(shown))
    for number in np.unique(shown):
        rows = np.flatnonzero(shown == number)
        result[rows] = np.roll(rows, 1)
    return result


def _consistency(one: np.ndarray, other: np.ndarray, weights: np.ndarray) -> np.ndarray:
    turned = (one * other.conj()).astype(np.complex64)
    total, own = weights.sum(axis=1), np.sum(weights**2, axis=1)
    pairs = (total**2 - own)[:, None]
    mean = 0.0
    for place in range(turned.shape[1]):
        found = weights.astype(np.float32) @ turned[:, place]
        mean = mean + (found.real.astype(float) ** 2 + found.imag.astype(float) ** 2 - own[:, None]) / pairs
    return mean / turned.shape[1]


def spectra_of(values: np.ndarray) -> np.ndarray:
    """Tapered Fourier transform (trials, frequencies, channels) at the frequencies of `periodograms`."""
    steps = values.shape[1]
    spectra = np.fft.rfft(values * np.hanning(steps + 2)[1:-1, None], axis=1)
    return spectra[:, len(np.fft.rfftfreq(steps)) - spectra.shape[1] :][:, 2:]
