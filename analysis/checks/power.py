"""False-positive rate and power of the checks, measured on synthetic recordings.

`detection_table` draws recordings with an effect at several strengths, strength 0 among them, and counts how often the
check finds it. A rate at strength 0 above the level of the test means that the check invents effects; a rate near the
level at the expected strength means that it could not have found them.

    python -m analysis.checks.power --recordings 200
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from analysis.checks import physiology
from analysis.checks.synthetic import (
    Planted,
    Recording,
    autoregressive_noise,
    make_recording,
)
from analysis.measures import activity
from analysis.measures.surrogates import circular_correlograms, half_range, unit_spectra
from analysis.original.responses import activity_test
from recordings.periods import Periods


class Detection(NamedTuple):
    """How often a check found an effect of one strength."""

    check: str
    strength: float
    unit: str
    rate: float
    low: float  # 95 % Clopper-Pearson interval of the rate
    high: float
    recordings: int


class Experiment(NamedTuple):
    """One effect: what is planted at a strength, and how it is looked for."""

    unit: str
    strengths: tuple[float, ...]  # the first is the absence of the effect
    plant: Callable[[float], Planted]
    find: Callable[[Recording, np.random.Generator], bool]


def _passes(check: physiology.Check) -> bool:
    return check.verdict == "pass"


def _find_frequency(recording: Recording, rng) -> bool:
    return _passes(
        physiology.frequency_rises_with_contrast(recording.state.sum(axis=2), recording.contrast, recording.periods)
    )


def _find_transient(recording: Recording, rng) -> bool:
    return _passes(physiology.transients_grow_with_contrast(recording.state, recording.contrast, recording.periods))


def _find_lag(recording: Recording, rng) -> bool:
    return _passes(physiology.inhibition_lags_excitation(recording.state, recording.momentum, recording.periods))


def _find_quenching(recording: Recording, rng) -> bool:
    return _passes(physiology.variability_is_quenched(recording.state, recording.contrast, recording.periods))


def _find_synchrony(recording: Recording, rng) -> bool:
    strongest = recording.contrast == recording.contrast.max()
    return _passes(physiology.channels_are_synchronised(recording.state[:, strongest], recording.periods, rng))


def _find_collinear(recording: Recording, rng) -> bool:
    """Pairs of a synchronised recording against pairs of an unsynchronised one."""
    control = make_recording(rng, Planted(), contrasts=1, repeats=6, periods=recording.periods)
    strongest = recording.contrast == recording.contrast.max()
    values = []
    for state in (recording.state[:, strongest], control.state):
        during = state[recording.periods.during]
        # Distinct pairs without a common channel are independent.
        pairs = [during[:, :, [a, a + 1]] for a in range(0, during.shape[2] - 1, 2)]
        values.append([_pair_amplitude(pair[:, [r]]) for pair in pairs for r in range(pair.shape[1])])
    return _passes(physiology.collinear_pairs_synchronise_more(*values))


def _pair_amplitude(traces) -> float:
    return float(half_range(circular_correlograms(unit_spectra(traces), len(traces), 50))[0, 1])


EXPERIMENTS: dict[str, Experiment] = {
    "frequency rises with contrast": Experiment(
        "Hz", (0, 5, 10, 25), lambda s: Planted(frequency_rise=s), _find_frequency
    ),
    "transient grows with contrast": Experiment("σ", (0, 1, 2, 4), lambda s: Planted(transient=s), _find_transient),
    "inhibition lags excitation": Experiment("ms", (0, 1.5, 3, 5), lambda s: Planted(lag=s), _find_lag),
    "inhibition lags excitation (unrelated momentum)": Experiment("ms", (0,), lambda s: Planted(lag=np.nan), _find_lag),
    "variability is quenched": Experiment(
        "share of variance", (0, 0.2, 0.4, 0.8), lambda s: Planted(quenching=s), _find_quenching
    ),
    "channels are synchronised": Experiment(
        "share of variance", (0, 0.1, 0.3, 0.6), lambda s: Planted(synchrony=s), _find_synchrony
    ),
    "collinear pairs synchronise more": Experiment(
        "share of variance", (0, 0.3, 0.6, 0.9), lambda s: Planted(synchrony=s), _find_collinear
    ),
}


def measure_detection(name: str, strength: float, recordings: int, seed: int = 0) -> Detection:
    """Return how often the check of an experiment passes at one strength.

    Args:
        name: key of `EXPERIMENTS`.
        strength: of the planted effect.
        recordings: number of synthetic recordings.
        seed: of all random numbers.
    """
    experiment = EXPERIMENTS[name]
    hits = 0
    for index in range(recordings):
        rng = np.random.default_rng([seed, index])
        hits += experiment.find(make_recording(rng, experiment.plant(strength)), rng)
    interval = stats.binomtest(hits, recordings).proportion_ci(0.95, "exact")
    return Detection(name, strength, experiment.unit, hits / recordings, interval.low, interval.high, recordings)


def detection_table(recordings: int = 200, seed: int = 0, names: tuple[str, ...] | None = None) -> list[Detection]:
    """Return the detection rates of all experiments at all their strengths."""
    return [
        measure_detection(name, strength, recordings, seed)
        for name in (names or tuple(EXPERIMENTS))
        for strength in EXPERIMENTS[name].strengths
    ]


def activity_false_positives(
    neurons: int = 400, correlation: float = 0.9, seed: int = 0, periods: Periods | None = None
) -> dict[str, float]:
    """Return the share of silent neurons that the activity test calls active, with and without compat.

    Args:
        neurons: autocorrelated traces without any response.
        correlation: of neighbouring steps.
        seed: of the noise.
        periods: of the recording.
    """
    periods = periods or Periods()
    traces = autoregressive_noise(np.random.default_rng(seed), (periods.total, neurons), correlation)
    ours = activity.find_active_neurons(traces, periods)
    theirs = activity.find_active_neurons(traces, periods, test=activity_test)
    return {
        "corrected, p < 0.05": float((ours.p_value < 0.05).mean()),
        "corrected, false discovery rate 0.05": float(ours.active.mean()),
        "compat, p < 0.05": float((theirs.p_value < 0.05).mean()),
        "compat, active": float(theirs.active.mean()),
    }


def markdown_table(rows: list[Detection]) -> str:
    """Return the table as Markdown."""
    lines = ["| check | planted | found in | 95 % interval |", "|---|---|---|---|"]
    for row in rows:
        planted = "absent" if row.strength == 0 else f"{row.strength:g} {row.unit}"
        lines.append(f"| {row.check} | {planted} | {row.rate:.0%} | {row.low:.0%} … {row.high:.0%} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    import argparse

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=200, help="synthetic recordings per row")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    print(markdown_table(detection_table(options.recordings, options.seed)))
    print("\nSilent neurons with AR(1) noise called active:")
    for name, share in activity_false_positives(seed=options.seed).items():
        print(f"* {name}: {share:.1%}")


if __name__ == "__main__":
    main()
