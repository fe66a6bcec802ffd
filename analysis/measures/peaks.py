"""Peaks of many curves at once, with the rules of `scipy.signal.find_peaks`."""

from __future__ import annotations

import numpy as np
from scipy import signal


def find_peaks(curves, prominence, distance: int | None = None, height: float | None = None) -> np.ndarray:
    """Mark the peaks of each curve.

    Args:
        curves: (n, samples).
        prominence: least prominence, a number or (n,).
        distance: least number of samples between peaks; the higher one of two is kept.
        height: least height.

    Returns:
        (n, samples) bool.
    """
    curves = np.ascontiguousarray(curves, np.float64)
    prominence = np.broadcast_to(np.asarray(prominence, float), len(curves))
    marks = np.zeros(curves.shape, bool)
    for row, (curve, least) in enumerate(zip(curves, prominence, strict=True)):
        marks[row, signal.find_peaks(curve, height=height, prominence=least, distance=distance)[0]] = True
    return marks
