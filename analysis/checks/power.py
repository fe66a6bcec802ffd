"""How often each check answers what, on mechanisms whose answers are known.

    python -m analysis.checks.power [--recordings 40] [--trials 64] [--channels 8] [--seed 0]

draws recordings of every mechanism of `mechanisms.MECHANISMS` and prints, as Markdown, the share of recordings in which
each check answered present, absent, undecided or not tested, and how often that was wrong: the opposite of what the
mechanism is known to show. Undecided is never wrong, and never of use. A second table asks how many trials are needed.
The speed is tested on pairs of channels that turn into each other, chains that are not reversible, of known
autocorrelation times; collinear against orthogonal patches on tuned channels that are known to share their noise or not
(`tuned_patches.py`), that many trials a condition and angle. At last the test of activity, which is no check of
physiology, is tried on silent neurons.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from analysis.checks.collinear import collinear_synchrony
from analysis.checks.mechanisms import (
    ABSENT,
    MECHANISMS,
    PRESENT,
    autoregressive_noise,
    rotating_chains,
    rotation_autocorrelation_time,
)
from analysis.checks.resampling import trial_counts
from analysis.checks.speed import THRESHOLD, faster_than_reference
from analysis.checks.table import NAMES, check_trials
from analysis.checks.tuned_patches import PAIRINGS, make_cells
from analysis.checks.verdict import VERDICTS
from analysis.measures import activity
from analysis.original import responses as original
from recordings.periods import Periods

OPPOSITE = {PRESENT: ABSENT, ABSENT: PRESENT}
COLUMNS = ("mechanism", "check", "truth", *VERDICTS, "wrong")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"
SPINS = (0.0, 0.1, 0.35)  # radian a sample of the faster chain: ratios of about 1, 3 and 23


class Rate(NamedTuple):
    """How often a check gave each answer."""

    mechanism: str
    check: str
    truth: str  # present, absent, or '' where it may say anything
    counts: tuple[int, int, int, int]  # of VERDICTS

    @property
    def wrong(self) -> int:
        """Number of recordings judged the opposite of the truth."""
        return self.counts[VERDICTS.index(OPPOSITE[self.truth])] if self.truth else 0


def rates(name: str, recordings: int, trials: int, channels: int, seed: int = 0) -> list[Rate]:
    """Judge recordings of one mechanism; one `Rate` a check that has a known answer.

    Args:
        name: key of `MECHANISMS`.
        recordings: number of recordings.
        trials: of each of four contrasts.
        channels: of each recording.
        seed: of the recordings.
    """
    mechanism = MECHANISMS[name]
    counts = {check: np.zeros(len(VERDICTS), int) for check in mechanism.truth}
    for number in range(recordings):
        made = mechanism.make(np.random.default_rng([seed, number]), trials, channels)
        for verdict in check_trials(made, seed=number):
            if verdict.check in counts:
                counts[verdict.check][VERDICTS.index(verdict.verdict)] += 1
    return [Rate(name, check, truth, tuple(counts[check].tolist())) for check, truth in mechanism.truth.items()]


def speed_rates(recordings: int, trials: int, seed: int = 0) -> list[Rate]:
    """The same for the speed-up, on chains that turn at each of `SPINS` against chains that do not."""
    found = []
    for spin in SPINS:
        ratio = rotation_autocorrelation_time(0.0) / rotation_autocorrelation_time(spin)
        counts = np.zeros(len(VERDICTS), int)
        for number in range(recordings):
            rng = np.random.default_rng([seed, number])
            fast, slow = rotating_chains(rng, trials, spin), rotating_chains(rng, trials, 0.0)
            verdict = faster_than_reference(fast, slow, trial_counts(fast.contrast, seed=number))
            counts[VERDICTS.index(verdict.verdict)] += 1
        truth = PRESENT if ratio > THRESHOLD else ABSENT
        name = f"chains that turn, {ratio:.3g} times faster"
        found.append(Rate(name, "faster_than_reference", truth, tuple(counts.tolist())))
    return found


def collinear_rates(recordings: int, trials: int, seed: int = 0) -> list[Rate]:
    """The same for collinear against orthogonal patches, on tuned channels."""
    found = []
    for name, pairing in PAIRINGS.items():
        counts = np.zeros(len(VERDICTS), int)
        for number in range(recordings):
            verdict = collinear_synchrony(make_cells(np.random.default_rng([seed, number]), pairing, trials), number)
            counts[VERDICTS.index(verdict.verdict)] += 1
        found.append(Rate(name, "collinear_synchrony", pairing.truth, tuple(counts.tolist())))
    return found


def row(rate: Rate) -> str:
    """A rate as a row of the Markdown table that `HEAD` begins."""
    shares = " | ".join(f"{count / max(sum(rate.counts), 1):.0%}" for count in (*rate.counts, rate.wrong))
    return f"| {rate.mechanism} | {NAMES[rate.check]} | {rate.truth} | {shares} |"


def decided_by_trials(names: Iterable[str], trials: Iterable[int], recordings: int, channels: int, seed: int) -> str:
    """Of the answers of known truth, the shares right, not decided and wrong; Markdown, a row a number of trials."""
    lines = ["| trials a contrast | right | undecided or not tested | wrong |", "|---|---|---|---|"]
    for count in trials:
        found = [rate for name in names for rate in rates(name, recordings, count, channels, seed)]
        total = sum(sum(rate.counts) for rate in found)
        right = sum(rate.counts[VERDICTS.index(rate.truth)] for rate in found)
        wrong = sum(rate.wrong for rate in found)
        shares = right / total, (total - right - wrong) / total, wrong / total
        lines.append(f"| {count} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    return "\n".join(lines)


def activity_false_positives(
    neurons: int = 400, correlation: float = 0.9, seed: int = 0, periods: Periods | None = None
) -> dict[str, float]:
    """Return the share of silent neurons that the activity test calls active, by today's formulas and the original's.

    Args:
        neurons: autocorrelated traces without any response.
        correlation: of neighbouring steps.
        seed: of the noise.
        periods: of the recording.
    """
    periods = periods or Periods()
    traces = autoregressive_noise(np.random.default_rng(seed), (periods.total, neurons), correlation)
    ours = activity.find_active_neurons(traces, periods)
    theirs = activity.find_active_neurons(traces, periods, test=original.activity_test)
    return {
        "today's, p < 0.05": float((ours.p_value < 0.05).mean()),
        "today's, false discovery rate 0.05": float(ours.active.mean()),
        "the original's, p < 0.05": float((theirs.p_value < 0.05).mean()),
        "the original's, active": float(theirs.active.mean()),
    }


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=40, help="of each mechanism")
    parser.add_argument("--trials", type=int, default=64, help="of each contrast")
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args(arguments)
    print(HEAD)
    for name in MECHANISMS:
        found = rates(name, flags.recordings, flags.trials, flags.channels, flags.seed)
        print("\n".join(map(row, found)), flush=True)
    print("\n".join(map(row, speed_rates(flags.recordings, flags.trials, flags.seed))), flush=True)
    print("\n".join(map(row, collinear_rates(flags.recordings, flags.trials, flags.seed))), flush=True)
    fewer = max(flags.recordings // 5, 1)
    counts = [flags.trials // 4, flags.trials // 2, flags.trials, flags.trials * 2]
    print("\n" + decided_by_trials(MECHANISMS, counts, fewer, flags.channels, flags.seed + 1), flush=True)
    print("\nSilent neurons with autocorrelated noise called active:")
    for name, share in activity_false_positives(seed=flags.seed).items():
        print(f"* {name}: {share:.1%}")


if __name__ == "__main__":
    main()
