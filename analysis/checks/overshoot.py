"""Does the response overshoot at the onset, and does the overshoot grow with contrast?

With the trial mean of the summed state m(t), its mean before the stimulus b and its sustained mean s (second half of
the stimulus), the overshoot ratio is (m(peak) - b) / (s - b) and its excess m(peak) - s, in units of the signal. The
largest value of a noisy curve lies above the curve's largest value; so trials are halved, the time of the peak is
read from one half and its value from the other, both ways and for several divisions. Resamples are drawn as counts of
trials before they are divided: no trial is ever in both halves.

Present: a ratio above 1.1 at the two highest contrasts, and an excess whose line rises with contrast. Absent: a ratio
below 1.1 at one of them or in their mean, an excess that falls, or no response at all that the peak or the sustained
mean could show. The ratio itself need not grow: responses in cortex keep nearly the same shape at all contrasts
(Albrecht et al. 2002).

An overdamped response climbs to its sustained mean from below: its ratio is at most 1. Contrast 0 is the sham.
"""

from __future__ import annotations

import numpy as np

from analysis.checks.resampling import interval, trial_counts, undecided_reason
from analysis.checks.trials import Trials, before, summed
from analysis.checks.verdict import ABSENT, PRESENT, UNDECIDED, Verdict, not_tested

CHECK = "overshoot_grows"
LEAST_RATIO = 1.1
LEAST_CONTRASTS = 2
DIVISIONS = 16
NO_RESPONSE = 1 / 3  # of the standard deviation between trials: smaller mean responses count as none


def overshoot_grows(trials: Trials, counts: np.ndarray | None = None, seed: int = 0) -> Verdict:
    """Judge the onset overshoot; `found` is its ratio at the highest contrast."""
    counts = trial_counts(trials.contrast) if counts is None else counts
    levels = trials.levels
    if levels.size < LEAST_CONTRASTS:
        return not_tested(CHECK, "ratio", f"growth needs at least {LEAST_CONTRASTS} contrasts above 0")
    traces = summed(trials)
    traces = traces - traces[:, before(trials)].mean(axis=1, keepdims=True)
    late = traces[:, trials.onset + trials.duration // 2 : trials.offset].mean(axis=1)
    # One direction of response for all contrasts: that of the sustained means, the higher contrasts weighing more.
    direction = np.sign(np.sum(late * trials.contrast)) or 1.0
    traces, late = traces * direction, late * direction
    early = traces[:, trials.onset : trials.onset + max(trials.duration // 3, 2)]
    everything = np.concatenate([np.ones((1, len(late))), counts])
    rows = [np.flatnonzero(trials.contrast == level) for level in levels]
    peak = np.stack([held_out_peak(early[row], everything[:, row], seed) for row in rows])
    held = np.stack([everything[:, row] @ late[row] / everything[:, row].sum(axis=1) for row in rows])
    excess = peak - held
    # The ratio is above 1.1 where peak - 1.1 sustained is above 0: no division by a response that may be 0.
    surplus = peak - LEAST_RATIO * held
    slope = np.tensordot(levels - levels.mean(), excess, axes=1) / np.sum((levels - levels.mean()) ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(held > 0, peak / held, np.nan)
    noise = float(np.sqrt(np.mean([traces[row][:, trials.onset :].var(axis=0, ddof=1).mean() for row in rows])))
    return _decide(levels, ratio, surplus, slope, peak, held, noise, min(map(len, rows)))


def held_out_peak(early: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """The value at the peak of the trial mean, time and value from different halves of the trials.

    Args:
        early: (trials, time) responses.
        counts: (resamples, trials).
        seed: of the divisions.

    Returns:
        (resamples,), mean over divisions and over both ways.
    """
    rng, number = np.random.default_rng([seed, 12]), len(early)
    total = np.zeros(len(counts))
    for _ in range(DIVISIONS):
        half = np.zeros(number, bool)
        half[rng.permutation(number)[: number // 2]] = True
        means = []
        for part in (half, ~half):
            weights = counts[:, part]
            means.append(weights @ early[part] / np.maximum(weights.sum(axis=1, keepdims=True), 1))
        for one, other in (means, means[::-1]):
            total += np.take_along_axis(other, one.argmax(axis=1)[:, None], axis=1)[:, 0]
    return total / (2 * DIVISIONS)


def _decide(levels, ratio, surplus, slope, peak, held, noise, each) -> Verdict:
    bounds = np.array([interval(draws[1:]) for draws in ratio])
    sides = np.array([interval(draws[1:]) for draws in surplus])
    rising = interval(slope[1:])
    details = {
        "contrast": levels.tolist(),
        "ratio": ratio[:, 0].tolist(),
        "ratio_interval": bounds.tolist(),
        "excess": (peak - held)[:, 0].tolist(),
        "sustained": held[:, 0].tolist(),
        "slope": [float(slope[0]), *rising],
        "noise": noise,
    }
    found = float(ratio[-1, 0]), *map(float, bounds[-1])

    def verdict(word: str, reason: str) -> Verdict:
        return Verdict(CHECK, word, *found, "ratio", reason, ratio[-1, 1:], details=details)

    words = f"ratio {ratio[-2, 0]:.3g} and {ratio[-1, 0]:.3g} at the two highest contrasts"
    grows = f"the excess changes by {slope[0]:.3g} [{rising[0]:.3g}, {rising[1]:.3g}] per unit of contrast"
    # Beside trials that scatter so much, what is smaller cannot be told from nothing, nor does it matter.
    largest = max(abs(bound) for values in (peak[-2:, 1:], held[-2:, 1:]) for bound in interval(values.mean(axis=0)))
    if (sides[-2:, 0] > 0).all() and rising[0] > 0:
        return verdict(PRESENT, f"{words}; {grows}")
    if largest < NO_RESPONSE * noise:
        return verdict(ABSENT, f"the stimulus moves the mean by less than {largest / noise:.2g} standard deviations")
    # Present asks for both, so one that is below settles it, and so does their mean.
    if min(*sides[-2:, 1], interval(surplus[-2:, 1:].mean(axis=0))[1]) < 0:
        return verdict(ABSENT, f"{words}, of which {LEAST_RATIO:g} is the least that counts")
    if rising[1] < 0:
        return verdict(ABSENT, f"{words}; {grows}")
    if (sides[-2:, 0] > 0).all():
        return verdict(UNDECIDED, undecided_reason(f"{words}; {grows}", each, float(slope[0]), *rising, 0.0))
    place = -1 if sides[-1, 0] <= 0 else -2
    reason = undecided_reason(f"{words}, not clearly on one side of {LEAST_RATIO:g}", each,
                              float(surplus[place, 0]), *sides[place], 0.0)  # fmt: skip
    return verdict(UNDECIDED, reason)
