"""Scores of single neurons beside those of a run, for recordings of few neurons."""

from pathlib import Path

import pandas as pd

MOST_NEURONS = 8  # a table of more columns is not read


def neuron_columns(folder: Path) -> dict[str, float]:
    """Validation correlation of every neuron of a run, as further columns of the summary table.

    Reads `neurons.csv` (seed, neuron, correlation) and, where it is there, `ensemble.csv` (neuron, correlation).

    Args:
        folder: a run folder.

    Returns:
        {'neuron_0': median over seeds, …, 'ensemble_0': of the mean prediction of the seeds, …}; empty when the run has
        more than MOST_NEURONS neurons or one alone, or wrote no such table.
    """
    columns = {}
    for file, name in (("neurons.csv", "neuron"), ("ensemble.csv", "ensemble")):
        if not (Path(folder) / file).is_file():
            continue
        scores = pd.read_csv(Path(folder) / file).groupby("neuron")["correlation"].median()
        if 1 < len(scores) <= MOST_NEURONS:
            columns |= {f"{name}_{neuron}": float(score) for neuron, score in scores.items()}
    return columns
