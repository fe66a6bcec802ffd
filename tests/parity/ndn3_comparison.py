"""Comparing with NDN3's float32 reference arrays: tolerances and how errors are recorded."""

import jax
import numpy as np

# Worst relative error (to the largest reference value) that NDN3's float32 explains; see the reference's README.
FORWARD, LOSS, PENALTY, INITIAL, TRAINING_COST = 4e-6, 5e-6, 5e-6, 2e-7, 5e-6
# Weights after training are compared as changes since the start, absolutely. Gaussian parameters reach 30, so float32
# stores them no better than 4e-6. Elsewhere one gradient of the order of Adam's ε is enough: its float32 rounding in
# NDN3, 1e-8, is a hundredth of the first step's 1e-3 (seen in one weight of `train_hsm_gaussian`; all others agree to
# 5e-7).
GAUSSIAN_WEIGHTS, OTHER_WEIGHTS = 4e-5, 2e-5


def compare(found, name, ours, theirs, tolerance, absolute=False):
    """Record a comparison; a relative tolerance is turned into an absolute one by the largest reference value."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape:
        found[name] = (float("inf"), float("inf"), 0.0)
        return
    scale = float(np.abs(theirs).max()) if theirs.size else 0.0
    worst = float(np.abs(ours - theirs).max()) if theirs.size else 0.0
    worst = float("inf") if np.isnan(worst) else worst
    # An output that is zero throughout (a penalty that vanishes) is compared absolutely.
    unit = scale if scale > 1e-6 else 1.0
    found[name] = (worst, worst / max(scale, 1e-30), tolerance if absolute else tolerance * unit)


def double(tree):
    """A tree of arrays in float64."""
    return jax.tree.map(lambda array: np.asarray(array, np.float64), tree)
