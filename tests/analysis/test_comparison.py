"""Figures across experiments, from run folders written by hand: curves, ensembles, limits, and what is missing."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.fits import comparison
from runtime.config import load_config
from runtime.errors import ConfigError
from runtime.sweeps import expand, is_sweep

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "v1"
EPOCHS, SEEDS = np.arange(100, 1100, 100), 6


def write_run(folder, scores, neurons=3, number=None, published=()):
    """A finished run: scores (epochs, seeds)."""
    folder.mkdir(parents=True)
    count = scores.shape[1]
    rows = {"instance": folder.name, "seed": np.repeat(np.arange(count), len(scores))}
    rows |= {"epoch": np.tile(EPOCHS[: len(scores)], count), "validation_correlation": scores.T.ravel()}
    pd.DataFrame(rows).to_csv(folder / "history.csv", index=False)
    pd.DataFrame({"neuron": np.tile(np.arange(neurons), count)}).to_csv(folder / "neurons.csv", index=False)
    pd.DataFrame({"p50": [0.0]}).to_csv(folder / "percentiles.csv", index=False)
    config = {"published": list(published), "origin": {"run": number}}
    (folder / "config.json").write_text(json.dumps({"config": config}))


@pytest.fixture
def root(tmp_path):
    random = np.random.default_rng(0)
    names = {}
    for number, neurons in ((0, 5), (3, 2), (25, 7)):
        name = f"{number:03d}_some"
        names[number] = random.random((10, SEEDS))
        write_run(tmp_path / "exp_3_1_1" / name, names[number], neurons, number, (0.4, 0.5, 0.3))
    states = [{"name": f"{number:03d}_some", "state": "finished", "reason": "", "published": []} for number in names]
    text = json.dumps({"runs": states, "published_best": []})
    (tmp_path / "exp_3_1_1" / "sweep.json").write_text(text)
    write_run(tmp_path / "bl1", random.random((10, 12)))
    return tmp_path, names


def test_a_run_is_found_by_its_number_and_keeps_its_first_seeds(root):
    folder, scores = root
    curve = comparison.read_curve(folder, ("three", "exp_3_1_1", 3, 4))
    np.testing.assert_allclose(curve.scores.to_numpy(), scores[3][:, :4])
    assert list(curve.scores.index) == list(EPOCHS) and curve.published == (0.4, 0.5, 0.3)
    assert comparison.read_curve(folder, ("b", "bl1", None, 10)).scores.shape == (10, 10)
    for entry, message in (
        (("x", "exp_3_1_1", 4, None), "no finished run of number 4"),
        (("x", "exp_9", 0, None), "there is no folder"),
        (("x", "exp_3_1_1", None, None), "holds 3 runs; give the number"),
    ):
        with pytest.raises(ConfigError, match=message):
            comparison.read_curve(folder, entry)


def test_regions_fitted_apart_are_weighted_by_their_neurons(root):
    folder, scores = root
    curve = comparison.read_curve(folder, ("apart", "exp_3_1_1", (0, 3), None))
    np.testing.assert_allclose(curve.scores.to_numpy(), (5 * scores[0] + 2 * scores[3]) / 7)


def test_the_table_has_percentiles_at_the_last_epoch_inside_the_limits(root):
    folder, scores = root
    curve = comparison.read_curve(folder, ("pooled", "exp_3_1_1", 25, None))
    row = comparison.summary([curve], 300, 700, (75, 95, 5, 25)).iloc[0]
    assert row["epoch"] == 700 and row["seeds"] == SEEDS and row["published_p90"] == 0.5
    np.testing.assert_allclose(
        row[["p75", "p95", "p5", "p25"]].astype(float), np.percentile(scores[25][6], (75, 95, 5, 25))
    )
    assert comparison.summary([curve], 2000, None, (50, 90, 10)).empty


def test_a_curve_has_few_points_and_ends_where_it_ends():
    scores = pd.DataFrame({0: np.arange(1234.0)}, index=np.arange(1, 1235))
    seen = comparison.shown(scores, 300, None)
    assert len(seen) <= comparison.MOST_POINTS and seen.index[-1] == 1234 and seen.index.min() > 300
    assert list(comparison.shown(scores, 300, 304).index) == [301, 302, 303, 304]


def test_a_page_of_figures_names_what_is_not_there(root, tmp_path):
    folder, _ = root
    config = load_config(f"{CONFIGS}/figures.py", [f"root={folder}", "percentiles=75,95,5,25"])
    text = comparison.draw_all(config, tmp_path / "out")
    assert "exp_1_2_4; run its experiment first" in text
    table = pd.read_csv(tmp_path / "out" / "figures.csv")
    assert {"3_1_1_1", "3_1_1_2", "05_1_1_1"} <= set(table["figure"]) and "2_1_1" not in set(table["figure"])
    page = (tmp_path / "out" / "index.html").read_text()
    for name in table["figure"].unique():
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG") and f'src="{name}.png"' in page
    assert "Not there" in page
    with pytest.raises(ConfigError, match=r"percentiles is \(50,\)"):
        comparison.draw_all(load_config(f"{CONFIGS}/figures.py", ["percentiles=50"]), tmp_path / "out")
    with pytest.raises(ConfigError, match="none of the runs is there"):
        comparison.draw_all(load_config(f"{CONFIGS}/figures.py", [f"root={tmp_path / 'none'}"]), tmp_path / "out")


def test_published_scores_stand_beside_fits_to_recorded_responses_alone(root, tmp_path, monkeypatch):
    folder, _ = root
    drawn = []
    monkeypatch.setattr(comparison, "write_figure", lambda path, figure: drawn.append(figure.axes[0]))
    options = load_config(f"{CONFIGS}/figures.py").figures["05_1_1_1"]
    for place in ("regions", None):
        config = {"data": {"dir": place}, "origin": {}}
        (folder / "bl1" / "config.json").write_text(json.dumps({"config": config}))
        curve = comparison.read_curve(folder, ("B1", "bl1", None, 25))
        comparison.draw([curve], options, (50, 90, 10), tmp_path / "out.png")
    shown, simulated = ([line.get_label() for line in axis.get_lines()] for axis in drawn)
    assert shown == ["B1 (12 of 25 seeds there)", "HSM"] and simulated == shown[:1]
    assert "simulated responses" in drawn[1].get_title() and "simulated" not in drawn[0].get_title()


def test_runs_of_any_folders_stand_in_one_figure(root, tmp_path):
    folder, _ = root
    config = load_config(f"{CONFIGS}/figures.py:own", [f"runs={folder}/bl1,{folder}/exp_3_1_1"])
    comparison.draw_all(config, tmp_path / "own")
    curves = pd.read_csv(tmp_path / "own" / "figures.csv")["curve"]
    assert list(curves) == ["bl1", *(f"exp_3_1_1/{number:03d}_some" for number in (0, 3, 25))]


def test_the_published_figures_name_runs_that_the_suite_has():
    numbers = {}
    for options in load_config(f"{CONFIGS}/figures.py").figures.values():
        for _, folder, number, _ in options.curves:
            if folder not in numbers:
                config = load_config(f"{CONFIGS}/{folder}.py")
                runs = expand(config) if is_sweep(config) else []
                numbers[folder] = {run.config.origin.run for run in runs} or {None}
            assert set(number if isinstance(number, tuple) else (number,)) <= numbers[folder], (folder, number)
