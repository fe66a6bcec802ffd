"""Scores of single neurons in the summary table: medians over seeds, few neurons only."""

import numpy as np
import pandas as pd
import pytest

from analysis.fits import runs
from analysis.fits.neuron_scores import MOST_NEURONS, neuron_columns


def write_scores(folder, scores):
    """A finished run's tables from correlations (seeds, neurons); the ensemble is better by .01."""
    folder.mkdir(parents=True)
    seeds, neurons = scores.shape
    index = {"seed": np.repeat(np.arange(seeds), neurons), "neuron": np.tile(np.arange(neurons), seeds)}
    pd.DataFrame({**index, "correlation": scores.ravel()}).to_csv(folder / "neurons.csv", index=False)
    better = {"neuron": np.arange(neurons), "correlation": np.median(scores, 0) + 0.01}
    pd.DataFrame(better).to_csv(folder / "ensemble.csv", index=False)
    p50, p90, p10 = np.percentile(scores.mean(1), (50, 90, 10))
    row = {"instance": folder.name, "seeds": seeds, "p50": p50, "p90": p90, "p10": p10}
    pd.DataFrame([row]).to_csv(folder / "percentiles.csv", index=False)


def test_neurons_of_small_recordings_stand_in_the_table(tmp_path):
    weak, strong = np.array([[0.1, 0.5], [0.2, 0.6], [0.4, 0.4]]), np.array([[0.3, 0.7], [0.2, 0.8], [0.1, 0.9]])
    write_scores(tmp_path / "weak", weak)
    write_scores(tmp_path / "strong", strong)
    (tmp_path / "sweep.json").write_text(
        '{"runs": [{"name": "weak", "published": []}, {"name": "strong", "published": []}], "published_best": []}'
    )
    table = runs.summary_table(tmp_path).set_index("run")
    assert table.loc["weak", ["neuron_0", "neuron_1"]].tolist() == [0.2, 0.5]
    assert table.loc["strong", ["ensemble_0", "ensemble_1"]].tolist() == pytest.approx([0.21, 0.81])
    # How far each run's median falls from the best.
    assert table["below_best"].tolist() == pytest.approx([0.5 - 0.4, 0])


@pytest.mark.parametrize("neurons", [1, MOST_NEURONS + 1])
def test_other_recordings_have_no_such_columns(neurons, tmp_path):
    write_scores(tmp_path / "run", np.zeros((2, neurons)))
    assert neuron_columns(tmp_path / "run") == {}
