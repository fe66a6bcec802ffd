"""The three answers of a check, and what stands beside them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from analysis.checks.resampling import LEVEL, interval, undecided_reason

PRESENT, ABSENT, UNDECIDED, NOT_TESTED = VERDICTS = ("present", "absent", "undecided", "not tested")


class Verdict(NamedTuple):
    """One row of a table of verdicts."""

    check: str
    verdict: str  # one of VERDICTS
    found: float | None  # None where nothing was measured
    low: float | None  # interval of `found`, 95 %
    high: float | None
    unit: str
    reason: str  # what decided, in a sentence; how many more trials would, if nothing did
    draws: np.ndarray | None = None  # (resamples,) of `found`, for differences from a control
    also: tuple[str, float, np.ndarray] | None = None  # unit, value and draws of a second quantity, always measured
    details: dict[str, Any] | None = None  # numbers behind the verdict, JSON

    def line(self) -> dict[str, Any]:
        """What is shown: without draws and details, numbers that are not finite left out."""
        row = self._asdict()
        del row["draws"], row["also"], row["details"]
        return {key: _plain(value) for key, value in row.items()}


def not_tested(check: str, unit: str, reason: str) -> Verdict:
    """A check that could not be made, and why."""
    return Verdict(check, NOT_TESTED, None, None, None, unit, reason)


def against_threshold(
    check: str, found: float, draws: np.ndarray, threshold: float, above: bool, unit: str, trials: int, words: str
) -> Verdict:
    """Compare an interval with a threshold.

    Args:
        check: name.
        found, draws: statistic and its resamples.
        threshold: beyond which the effect is present.
        above: whether beyond means above.
        unit: of the statistic.
        trials: of each contrast, for what is said of an undecided check.
        words: what was measured, in a few words.
    """
    low, high = interval(draws, LEVEL)
    if low > threshold or high < threshold:
        verdict = PRESENT if (low > threshold) == above else ABSENT
        reason = f"{words}: the interval lies {'above' if low > threshold else 'below'} {threshold:g}"
    else:
        verdict = UNDECIDED
        reason = undecided_reason(f"{words}: the interval covers {threshold:g}", trials, found, low, high, threshold)
    return Verdict(check, verdict, found, low, high, unit, reason, draws)


def _plain(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value
