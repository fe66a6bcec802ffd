"""NDN3's logs: which epochs have scores, what is printed, and TensorBoard files under NDN3's names."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter

from v1models import metrics


def mean_correlation(predictions: np.ndarray, responses: np.ndarray, mask: np.ndarray | None, how: str) -> float:
    """Mean over neurons of Pearson's r over measured rows.

    Args:
      predictions, responses: (B, N).
      mask: 1 where measured, (B, N), or None.
      how: neurons whose r is undefined count as 0 ('zero-NaNs') or not at all ('filter-NaNs').
    """
    r = metrics.pearson(predictions, responses, mask)
    if how == "filter-NaNs":
        weight = np.ones_like(responses) if mask is None else mask
        deviations = [_deviation(values, weight) for values in (predictions, responses)]
        defined = np.minimum(*deviations) > 0
        return float(r[defined].mean()) if defined.any() else 0.0
    return float(np.mean(r))


def _deviation(values, weight):
    mean = (weight * values).sum(0) / np.maximum(weight.sum(0), 1)
    return (weight * np.square(values - mean)).sum(0)


class Summaries:
    """Scores of a training: kept, printed and written as its options ask.

    Args:
      output_dir: folder of the logs, or None for none.
      options: `opt_params`: epochs_summary and display.
      epochs: how many there will be.
      silent: whether nothing is printed.
    """

    def __init__(self, output_dir: str | os.PathLike | None, options: Mapping[str, Any], epochs: int, silent: bool):
        self.every, self.display = options["epochs_summary"], None if silent else options["display"]
        folder = None if output_dir is None or not self.every else Path(output_dir) / "summaries"
        names = ("train", "test") if folder is not None else ()
        self.writers = {name: SummaryWriter(str(folder / name)) for name in names}

    def __enter__(self) -> "Summaries":
        return self

    def __exit__(self, *exception: object) -> None:
        for writer in self.writers.values():
            writer.close()

    def due(self, epoch: int) -> bool:
        """Whether an epoch, from 0, has scores: the first, and the last of every so many."""
        return any(every and (epoch == 0 or epoch % every == every - 1) for every in (self.every, self.display))

    def write(self, epoch: int, scores: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        """Prints and logs the scores {'train': {tag: number}, 'test': …} of an epoch; returns them with its number."""
        if self.display and (epoch == 0 or epoch % self.display == self.display - 1):
            costs = ", ".join(f"{name} cost = {values['loss/cost']:.4f}" for name, values in scores.items())
            print(f"Epoch {epoch:05d}: {costs}, reg penalty = {scores['train']['loss/reg_pen']:.4f}")
        if self.every and (epoch == 0 or epoch % self.every == self.every - 1):
            for name, writer in self.writers.items():
                for tag, value in scores.get(name, {}).items():
                    writer.add_scalar(tag, value, epoch)
        return {"epoch": epoch, **scores}
