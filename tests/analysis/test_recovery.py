"""How far a fit is from a known truth: distances of centers, the gap to the ceiling, the figure, the page."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis.fits import recovery, runs
from tests.analysis.test_runs import write_run

TRUE = np.array([[5.0, 6.0], [12.0, 20.0]])


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "run"
    write_run(path, np.array([0.8, 0.9, 0.85]), filters=False)
    table = pd.read_csv(path / "percentiles.csv").assign(true_rates=0.95)
    table.to_csv(path / "percentiles.csv", index=False)
    (path / "config.json").write_text(json.dumps({"config": {"published": []}}))
    fitted = np.array([[[5, 6], [12, 20], [30, 1]], [[5, 9], [12.4, 20.3], [5, 6]], [[8, 10], [12, 20], [5, 7]]])
    weight = np.array([[1, 0.5, 0], [1, 0.5, 0.05], [1, 0.5, 1]])
    np.savez(path / "centres.npz", true=TRUE, fitted=fitted, weight=weight, size=[31, 31])
    return path


def test_each_true_center_is_as_far_off_as_the_nearest_unit_that_counts(folder):
    with np.load(folder / "centres.npz") as arrays:
        errors = recovery.center_errors(TRUE, arrays["fitted"], arrays["weight"])
    np.testing.assert_allclose(errors, [[0, 0], [3, 0.5], [1, 0]])
    found = recovery.recovery(folder)
    assert found["center_error"] == pytest.approx(0.25) and found["found"] == pytest.approx(4 / 6)
    assert found["correlation"] == 0.85 and found["gap"] == pytest.approx(0.1)


def test_chance_is_the_distribution_of_the_nearest_of_random_points():
    # One point of many, evenly over a square of side 30: P(nearest > d) = (1 − πd²/30²)ⁿ away from the border.
    errors = recovery.chance_errors(np.array([[15.0, 15.0]]), 9, (31, 31), draws=200_000)
    for distance in (2.0, 4.0, 8.0):
        expected = (1 - np.pi * distance**2 / 900) ** 9
        assert np.mean(errors > distance) == pytest.approx(expected, abs=0.004)


def test_the_page_shows_the_figure_and_the_numbers_where_there_is_a_truth(folder):
    runs.write_report(folder)
    page = (folder / "index.html").read_text()
    assert '<img src="centres.png"' in page and "median error of 0.25 pixels" in page
    assert "a gap of 0.100" in page
    assert (folder / "centres.png").read_bytes().startswith(b"\x89PNG")
    (folder / "centres.npz").unlink()
    (folder / "centres.png").unlink()
    runs.write_report(folder)
    assert "centres.png" not in (folder / "index.html").read_text() and not (folder / "centres.png").exists()
    assert recovery.recovery(folder) == {} and recovery.sentence(folder) == ""
