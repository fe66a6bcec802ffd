"""Ridge regression as a read-out: every unit's weights in closed form, its strength chosen on groups held out.

The eigenvectors of the smaller of two matrices serve all strengths and all units at once:

    fewer images than features   K = XXᵀ/d = VΛVᵀ, prediction K* V (Λ + λ)⁻¹ Vᵀ (y − ȳ) + ȳ
    fewer features than images   C = XᵀX/d = VΛVᵀ, prediction X* V (Λ + λ)⁻¹ Vᵀ Xᵀ (y − ȳ)/d + ȳ

Source: Hoerl & Kennard (1970), Technometrics 12:55.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from v1models.repeats import Fold

STRENGTHS = tuple(10.0 ** np.arange(-4, 5))


def predict(
    features: np.ndarray,
    responses: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    strengths: Sequence[float] = STRENGTHS,
) -> np.ndarray:
    """Returns predictions (strengths, len(test), N) of units fitted on the rows `train`.

    Args:
        features: (n, …), standardized here by the training rows.
        responses: (n, N); NaN where a unit was not shown an image: units are fitted on the rows they have.
        train: rows to fit on.
        test: rows to predict.
        strengths: penalties λ, in units of the mean squared feature.
    """
    flat = np.asarray(features, np.float64).reshape(len(features), -1)
    mean, spread = flat[train].mean(0), flat[train].std(0)
    flat = (flat - mean) / np.where(spread > 1e-12 * np.maximum(np.abs(mean), 1), spread, np.inf)
    predictions = np.empty((len(strengths), len(test), responses.shape[1]))
    there = np.isfinite(responses[train])
    patterns, which = np.unique(there, axis=1, return_inverse=True)
    for pattern in range(patterns.shape[1]):  # units that share their missing images share one eigenvalue problem
        units, rows = np.flatnonzero(which == pattern), train[patterns[:, pattern]]
        known, size = flat[rows], flat.shape[1]
        level = responses[rows][:, units].mean(0)
        target = responses[rows][:, units] - level
        if size < len(rows):
            matrix, cross, target = known.T @ known / size, flat[test], known.T @ target / size
        else:
            matrix, cross = known @ known.T / size, flat[test] @ known.T / size
        values, vectors = np.linalg.eigh(matrix)
        cross, target = cross @ vectors, vectors.T @ target
        for index, strength in enumerate(strengths):
            predictions[index][:, units] = cross @ (target / (np.maximum(values, 0)[:, None] + strength)) + level
    return predictions


def fit_predict(
    features: np.ndarray, responses: np.ndarray, fold: Fold, groups: np.ndarray, strengths: Sequence[float] = STRENGTHS
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (predictions (len(fold.test), N), strength of every unit (N,)) of one fold.

    Each unit's strength is the one with the least squared error over groups left out of the training and validation
    rows, a quarter at a time; the unit is then fitted on all of these rows.  The test rows are predicted once.

    Args:
        features: (n, …).
        responses: (n, N), NaN where missing.
        fold: `repeats.Fold`.
        groups: (n,), of images; a group is left out whole.
        strengths: penalties to choose from.
    """
    known = np.sort(np.concatenate([fold.train, fold.validation]))
    names = np.unique(groups[known])
    error = np.zeros((len(strengths), responses.shape[1]))
    for held in np.array_split(names, min(4, len(names))):
        out = np.isin(groups[known], held)
        found = predict(features, responses, known[~out], known[out], strengths)
        error += np.nansum(np.square(found - responses[known[out]]), axis=1)
    choice = error.argmin(0)
    found = predict(features, responses, known, fold.test, strengths)
    return found[choice, :, np.arange(responses.shape[1])].T, np.asarray(strengths)[choice]


def weights(features: np.ndarray, responses: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    """Returns (weights (d,), intercept) of one unit for features as they are, not standardized.

    Args:
        features: (n, …).
        responses: (n,), NaN where missing.
        strength: λ.
    """
    rows = np.isfinite(responses)
    flat = np.asarray(features, np.float64).reshape(len(features), -1)
    mean, spread = flat[rows].mean(0), flat[rows].std(0)
    scale = np.where(spread > 1e-12 * np.maximum(np.abs(mean), 1), spread, np.inf)
    known, level = (flat[rows] - mean) / scale, responses[rows].mean()
    kernel = known @ known.T / flat.shape[1] + strength * np.eye(len(known))
    found = known.T @ np.linalg.solve(kernel, responses[rows] - level) / flat.shape[1] / scale
    return found, float(level - mean @ found)
