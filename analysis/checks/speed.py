"""How much faster does a system sample than a reference, per gradient?

The integrated autocorrelation time of a quantity is what its mean over T samples pays for their dependence,

    τ = lim T var(mean over T) / var

with both variances taken across trials (chains) that were shown the same. This holds for chains that are not reversible
and oscillate, whose autocorrelations cancel and where rules that cut the sum at its first negative term are wrong. At a
finite T the mean over T misses c/T, which two lengths remove: τ = 2 τ(T) - τ(T/2). A sample stands for one gradient in
both recordings, whatever their time scales.

`found` is the median over channels of τ_reference / τ for the states (their means: first moments), over all contrasts;
the worst channel, the squares of the states and the energy, where both recordings hold it, stand in the reason.
Present: the interval lies above 5; absent: below.
"""

from __future__ import annotations

import numpy as np

from analysis.checks.resampling import interval, trial_counts
from analysis.checks.trials import Trials, sustained
from analysis.checks.verdict import Verdict, against_threshold, not_tested

CHECK = "faster_than_reference"
THRESHOLD = 5.0
LEAST_TIME = 64  # samples of the sustained response


def faster_than_reference(trials: Trials, reference: Trials, counts: np.ndarray | None = None) -> Verdict:
    """Judge the speed-up over a reference; `found` is τ_reference / τ for the states.

    Args:
        trials: the recording.
        reference: the same system under other dynamics: the same channels, and contrasts of which some are the same.
        counts: (resamples, trials) of the recording.
    """
    unit = "times per sample"
    if trials.signals.shape[2] != reference.signals.shape[2]:
        channels = f"{trials.signals.shape[2]} and {reference.signals.shape[2]}"
        return not_tested(CHECK, unit, f"recording and reference have {channels} channels; they must be the same")
    levels = np.intersect1d(trials.levels, reference.levels)
    if not levels.size:
        return not_tested(CHECK, unit, "recording and reference share no contrast above 0")
    if min(_length(trials), _length(reference)) < LEAST_TIME:
        return not_tested(CHECK, unit, f"the sustained response is shorter than {LEAST_TIME} samples")
    counts = trial_counts(trials.contrast) if counts is None else counts
    theirs = trial_counts(reference.contrast, len(counts), seed=1)
    found = {}
    for name, power in (("states", 1), ("squares", 2)):
        times = [autocorrelation_times(one, weights, levels, power)
                 for one, weights in ((trials, counts), (reference, theirs))]  # fmt: skip
        found[name] = times[1] - times[0]  # logs (1 + resamples, contrasts, channels)
    per_channel = found["states"].mean(axis=1)
    ratio, worst = np.exp(np.median(per_channel, axis=1)), np.exp(per_channel.min(axis=1))
    squares = np.exp(np.median(found["squares"].mean(axis=1), axis=1))
    energy = _of_energy(trials, reference, counts, theirs, levels)
    total = "the energy is not in both recordings"
    if energy is not None:
        total = f"the energy {energy[0]:.3g} [{_span(energy[1:])}]"
    words = (
        f"means of states {ratio[0]:.3g} times, worst channel {worst[0]:.3g}, squares of states {squares[0]:.3g} "
        f"[{_span(squares[1:])}], {total}; decided by the means of states"
    )
    each = int(min(np.sum(trials.contrast == level) for level in levels))
    verdict = against_threshold(CHECK, float(ratio[0]), ratio[1:], THRESHOLD, True, unit, each, words)
    details = {
        "contrast": levels.tolist(),
        "states": np.exp(np.median(found["states"][0], axis=1)).tolist(),
        "squares": np.exp(np.median(found["squares"][0], axis=1)).tolist(),
        "worst": float(worst[0]),
        "energy": None if energy is None else [float(energy[0]), *interval(energy[1:])],
    }
    return verdict._replace(details=details)


def _of_energy(
    trials: Trials, reference: Trials, counts: np.ndarray, theirs: np.ndarray, levels: np.ndarray
) -> np.ndarray | None:
    """The same ratio for the energy, (1 + resamples,), mean over contrasts; None where one recording has none."""
    if trials.energy is None or reference.energy is None:
        return None
    times = [
        autocorrelation_times(one._replace(signals=one.energy[:, :, None]), weights, levels)
        for one, weights in ((trials, counts), (reference, theirs))
    ]
    return np.exp((times[1] - times[0]).mean(axis=1)[:, 0])


def autocorrelation_times(trials: Trials, counts: np.ndarray, levels: np.ndarray, power: int = 1) -> np.ndarray:
    """Logarithms of τ in samples, (1 + resamples, contrasts, channels): the whole first, then the resamples.

    Args:
        trials: the recording.
        counts: (resamples, trials).
        levels: contrasts.
        power: 1 for the states, 2 for the squares of their distance from the mean.
    """
    shown, window = trials.shown(), sustained(trials)
    result = []
    for level in levels:
        rows = trials.contrast == level
        values = np.asarray(trials.signals[rows][:, window], np.float64)
        weights = np.concatenate([np.ones((1, rows.sum())), counts[:, rows]])
        groups = shown[rows]
        for number in np.unique(groups):
            same = groups == number
            # One mean for all times as well: the mean moves no more in this window, and its error is that of T trials.
            values[same] -= values[same].mean(axis=(0, 1))
        result.append(np.log(_times(values**power if power > 1 else values, groups, weights)))
    return np.stack(result, axis=1)


def _times(values: np.ndarray, groups: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """τ (resamples, channels) of values (trials, time, channels) whose groups have means of their own."""
    half = values.shape[1] // 2
    halves = np.stack([values[:, :half].mean(axis=1), values[:, half : 2 * half].mean(axis=1)], axis=1)
    wholes = halves.mean(axis=1)
    total, short, long, share = 0.0, 0.0, 0.0, 0.0
    for number in np.unique(groups):
        rows = np.flatnonzero(groups == number)
        if rows.size < 2:
            continue
        count = weights[:, rows]
        size = count.sum(axis=1)[:, None]
        unbiased = rows.size / (rows.size - 1)
        centre = np.einsum("rn,nc->rc", count, values[rows].mean(axis=1)) / np.maximum(size, 1)
        spread = np.einsum("rn,nc->rc", count, np.mean(values[rows] ** 2, axis=1)) - size * centre**2
        of_wholes = np.einsum("rn,nc->rc", count, wholes[rows] ** 2) - size * centre**2
        first = [np.einsum("rn,nc->rc", count, halves[rows, part]) / np.maximum(size, 1) for part in (0, 1)]
        of_halves = [
            np.einsum("rn,nc->rc", count, halves[rows, part] ** 2) - size * first[part] ** 2 for part in (0, 1)
        ]
        total, long = total + spread, long + unbiased * of_wholes
        short, share = short + unbiased * 0.5 * sum(of_halves), share + size
    variance = np.maximum(total, 1e-300)
    at_full, at_half = 2 * half * long / variance, half * short / variance
    # Never below a tenth of the plain estimate: noise must not turn a time negative.
    return np.maximum(2 * at_full - at_half, 0.1 * at_full + 1e-12)


def _length(trials: Trials) -> int:
    window = sustained(trials)
    return window.stop - window.start


def _span(draws: np.ndarray) -> str:
    return "{:.3g}, {:.3g}".format(*interval(draws))
