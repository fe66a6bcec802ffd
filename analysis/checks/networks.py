"""Verdicts over several trained networks, of which each is one unit: trials and chains of one network say nothing of
the next.

    python -m analysis.checks.networks RUN RUN RUN [--against RUN RUN RUN] [--layer 1]

reads `checks.json` of analysed runs and prints one line of JSON a check, in the form of `analysis.judge`; with
--against a second one with the difference of the two groups of networks, such as fields of natural and of white
patches.

Each network gives one number a check, and an interval over networks is Student's. The number is the one that the
verdict of a single recording rests on; a network without a resonance has a rise of 0, one without a rhythm a
synchrony of 0, one without a response an overshoot ratio of 1.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from analysis.checks.overshoot import LEAST_RATIO, NO_RESPONSE
from analysis.checks.quenching import THRESHOLD as LARGEST_VARIANCE
from analysis.checks.resonance import LEAST_RISE
from analysis.checks.speed import THRESHOLD as LEAST_SPEED
from analysis.checks.synchrony import SMALLEST
from analysis.checks.verdict import ABSENT, NOT_TESTED, PRESENT, UNDECIDED, VERDICTS, Verdict
from analysis.results import RESULTS, read_json
from runtime.errors import ConfigError, clear_errors

LEAST_NETWORKS = 3
Row = Mapping[str, Any]


class Unit(NamedTuple):
    """What a network's number of a check is, and where the effect begins."""

    unit: str
    threshold: float
    above: bool  # whether the effect lies above the threshold
    smallest: float | None = None  # effect below which it is absent; None: the threshold


UNITS = {
    "resonance_rises": Unit("rise / mean frequency", LEAST_RISE, True),
    "overshoot_grows": Unit("ratio", LEAST_RATIO, True),
    "variability_quenched": Unit("ratio", LARGEST_VARIANCE, False),
    "synchrony": Unit("phase consistency", 0.0, True, SMALLEST),
    "collinear_synchrony": Unit("phase consistency", 0.0, True, SMALLEST),
    "faster_than_reference": Unit("times per sample", LEAST_SPEED, True),
}


def number_of(row: Row) -> float:
    """The number that a network's row of `checks.json` gives; NaN where nothing was measured."""
    check, details = row["check"], row.get("details") or {}
    if row["verdict"] == NOT_TESTED:
        return np.nan
    if check == "resonance_rises" and details.get("relative_rise"):
        return float(details["relative_rise"][0])
    weak = check == "overshoot_grows" and "noise" in details
    if weak and not abs(details["sustained"][-1]) > NO_RESPONSE * details["noise"]:
        # Over a sustained response that may be 0 the ratio is no number, and large by chance.
        return 1.0 if row["verdict"] == ABSENT else np.nan
    if row.get("unit", "").startswith("Q"):
        return 0.0 if row["verdict"] == ABSENT else np.nan
    return np.nan if row.get("found") is None else float(row["found"])


def over_networks(check: str, rows: Sequence[Row], seeds: Sequence[str] | None = None) -> Verdict:
    """One verdict for several networks.

    Args:
        check: name, a key of `UNITS`.
        rows: the row of this check of every network.
        seeds: of the networks; those of one seed share the draws of noise, so that their mean is the unit.  None where
            every network has its own.

    Returns:
        Present or absent where the interval over networks excludes the threshold, or lies below the smallest effect of
        checks that have one; undecided where it does not, or with fewer than three networks, and then how many more
        would decide if they went on alike.
    """
    what = UNITS[check]
    values = by_seed(np.array([number_of(row) for row in rows]), seeds)
    counts = ", ".join(f"{word} in {sum(row['verdict'] == word for row in rows)}" for word in VERDICTS)
    words = f"alone {counts} of {len(rows)} networks"
    more_of = "networks" if seeds is None else "seeds"
    if not values.size:
        return Verdict(check, NOT_TESTED, None, None, None, what.unit, words)
    if values.size < LEAST_NETWORKS:
        reason = f"{words}; at least {LEAST_NETWORKS} {more_of} are needed"
        return Verdict(check, UNDECIDED, float(values.mean()), None, None, what.unit, reason)
    found, low, high = student(values)
    border = what.threshold if what.smallest is None else what.smallest
    if low > what.threshold or high < border:
        word = PRESENT if (low > what.threshold) == what.above else ABSENT
        return Verdict(check, word, found, low, high, what.unit, words)
    more = networks_needed(values, what.threshold if found > (what.threshold + border) / 2 else border)
    words += f"; about {more} more {more_of} would decide" if more else f"; no affordable number of {more_of} would"
    return Verdict(check, UNDECIDED, found, low, high, what.unit, words)


def by_seed(values: np.ndarray, seeds: Sequence[str] | None = None) -> np.ndarray:
    """Finite values, averaged over the networks of one seed."""
    known = np.isfinite(values)
    if seeds is None:
        return values[known]
    seeds = np.asarray(seeds)[known]
    return np.array([values[known][seeds == seed].mean() for seed in np.unique(seeds)])


def between_networks(check: str, rows: Sequence[Row], others: Sequence[Row]) -> Verdict:
    """The difference of two groups of networks, Welch's interval; present if it excludes 0, absent is never said."""
    one, other = (np.array([number_of(row) for row in group]) for group in (rows, others))
    one, other = one[np.isfinite(one)], other[np.isfinite(other)]
    unit = f"{UNITS[check].unit}, difference"
    if min(one.size, other.size) < LEAST_NETWORKS:
        reason = f"{one.size} and {other.size} networks; at least {LEAST_NETWORKS} of each are needed"
        return Verdict(check, NOT_TESTED, None, None, None, unit, reason)
    test = stats.ttest_ind(one, other, equal_var=False)
    if not np.isfinite(test.statistic):
        found = float(one.mean() - other.mean())
        return Verdict(
            check, PRESENT if found else UNDECIDED, found, found, found, unit, "networks do not differ at all"
        )
    low, high = test.confidence_interval(0.95)
    word = PRESENT if low > 0 or high < 0 else UNDECIDED
    reason = f"{one.size} and {other.size} networks, means {one.mean():.3g} and {other.mean():.3g}"
    return Verdict(check, word, float(one.mean() - other.mean()), float(low), float(high), unit, reason)


def student(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and 95 % interval."""
    half = stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size)
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def p_of_zero(values: np.ndarray) -> float:
    """Student's two-sided p of a mean of 0."""
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(values.size)
    return float(2 * stats.t.sf(abs(mean) / error, values.size - 1)) if error > 0 else float(mean == 0)


def networks_needed(values: np.ndarray, threshold: float) -> int | None:
    """How many more networks would exclude the threshold if mean and spread stayed; None for more than a thousand."""
    distance, spread = abs(values.mean() - threshold), values.std(ddof=1)
    for count in range(values.size + 1, 1000):
        if stats.t.ppf(0.975, count - 1) * spread / np.sqrt(count) < distance:
            return count - values.size
    return None


def read_rows(run: str | pathlib.Path, layer: int | None = None) -> dict[str, Row]:
    """Rows of an analysed run by check.

    Args:
        run: folder of the run.
        layer: that was analysed, None for the first.

    Raises:
        ConfigError: the run was not analysed.
    """
    folders = sorted((pathlib.Path(run) / RESULTS).glob("layer[0-9]*" if layer is None else f"layer{layer}"))
    rows = read_json(folders[0] / "checks.json") if folders else None
    if rows is None:
        raise ConfigError(f"{run} holds no verdicts; run the stage 'analyse' there first")
    return {row["check"]: row for row in rows}


def main(arguments: list[str] | None = None) -> None:
    """Print one line of JSON a check."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m analysis.checks.networks", description=__doc__, formatter_class=raw
    )
    parser.add_argument("runs", nargs="+", help="analysed run folders, one a network")
    parser.add_argument("--against", nargs="+", default=(), help="run folders of the networks to compare with")
    parser.add_argument("--layer", type=int, help="that was analysed (the first by default)")
    flags = parser.parse_args(arguments)
    with clear_errors():
        groups = [[read_rows(run, flags.layer) for run in runs] for runs in (flags.runs, flags.against)]
        for check in UNITS:
            chosen = [[rows[check] for rows in group if check in rows] for group in groups]
            print(json.dumps(over_networks(check, chosen[0]).line(), allow_nan=False))
            if flags.against:
                print(json.dumps(between_networks(check, *chosen).line(), allow_nan=False))


if __name__ == "__main__":
    main()
