"""Compare fitted models of V1 on the same images: one seed, the ensemble of seeds, ensembles of several models.

    python examples/compare_fits.py Data/region1 runs/tang/cnn runs/tang/four runs/tang/cnn+runs/tang/four

The first argument is a folder with validation_inputs.npy and validation_set.npy (images, responses); the others are run
folders of finished fits, `+` joins several into one ensemble of all their seeds.  Printed are correlations, means over
neurons: the median over seeds, the mean prediction of all seeds with a 95 % interval, its neurons one by one; then the
last model's mean prediction less every other's, and the same of the median seed, in pairs.  Intervals draw images anew,
the same for all models; they say nothing of other seeds or other neurons.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np

from v1models.saved import load

RESAMPLES = 2000


def correlations(predictions: np.ndarray, responses: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson correlation of every neuron, (B, N), of predictions and responses (m, N) with images weighted (B, m)."""
    p, y = (array - array.mean(0) for array in (np.asarray(predictions, np.float64), np.asarray(responses, np.float64)))
    count = weights.sum(1, keepdims=True)
    mean_p, mean_y, pp, yy, py = (weights @ array / count for array in (p, y, p * p, y * y, p * y))
    return (py - mean_p * mean_y) / np.sqrt((pp - mean_p**2) * (yy - mean_y**2))


def compare(folder: str, models: list[str], resamples: int = RESAMPLES) -> dict[str, dict]:
    """Prints the comparison; returns for each model its scores, the first draw being the images as they are."""
    images, responses = (np.load(pathlib.Path(folder) / f"validation_{name}.npy") for name in ("inputs", "set"))
    count = len(images)
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=resamples)
    weights = np.concatenate([np.ones((1, count)), drawn])

    # %% Every seed predicts all images; nothing is chosen by them.
    found = {}
    for model in models:
        seeds = np.concatenate([load(one).predict(images) for one in model.split("+")])
        neurons = correlations(seeds.mean(0), responses, weights)
        single = np.median([correlations(one, responses, weights).mean(1) for one in seeds], axis=0)
        found[model] = {"seeds": len(seeds), "single": single, "ensemble": neurons.mean(1), "neurons": neurons[0]}
        each = " ".join(f"{value:.3f}" for value in neurons[0])
        print(f"{model}: {len(seeds)} seeds, median {interval(single)}, mean prediction {interval(neurons.mean(1))}")
        print(f"    of it neurons 0 to {len(neurons[0]) - 1}: {each}")

    # %% Differences in pairs: the same images are drawn for both.
    last = found[models[-1]]
    for model in models[:-1]:
        ensemble, single = (interval(last[name] - found[model][name]) for name in ("ensemble", "single"))
        print(f"{models[-1]} less {model}: mean prediction {ensemble}, median seed {single}")
    return found


def interval(drawn: np.ndarray) -> str:
    """A value, the first of drawn (B,), and the 95 % interval of the others, as a text."""
    low, high = np.percentile(drawn[1:], (2.5, 97.5))
    return f"{drawn[0]:.4f} [{low:.4f}, {high:.4f}]"


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    compare(sys.argv[1], sys.argv[2:])
