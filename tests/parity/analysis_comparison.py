"""What the comparisons with the reference arrays of the analysis have in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recordings.periods import Periods

PERIODS = Periods()
EXACT, SINGLE = 1e-9, 1e-6


def compare(found, name, ours, theirs, tolerance=EXACT, absolute=False) -> None:
    """Record a comparison; NaN must stand in the same places. Tolerances are relative to the largest value."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape or (np.isnan(ours) != np.isnan(theirs)).any():
        found[name] = (float("inf"), float("inf"), 0.0)
        return
    there = ~np.isnan(theirs)
    scale = float(np.abs(theirs[there]).max()) if there.any() else 0.0
    worst = float(np.abs(ours[there] - theirs[there]).max()) if there.any() else 0.0
    found[name] = (worst, worst / max(scale, 1e-300), tolerance if absolute or scale == 0 else tolerance * scale)


def at_most(found, name, value, limit) -> None:
    found[name] = (max(float(value), 0.0), max(float(value), 0.0), limit)


def neighbour(path: Path, name: str) -> dict[str, np.ndarray]:
    other = path.with_name(name)
    if not other.exists():
        raise ValueError(f"{path.name} can only be checked with {name} beside it.")
    with np.load(other, allow_pickle=False) as npz:
        return {key: npz[key] for key in npz}


def sorted_rows(array) -> np.ndarray:
    return array[np.lexsort(np.round(array, 9).T[::-1])]
