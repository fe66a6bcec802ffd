"""Reports of fitted models, from run folders written by hand: tables, tests of differences, figures, the page."""

import html
import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.fits import run_figures, runs
from runtime.errors import ConfigError

SEEDS = 6
SCORES = {
    "plain": np.array([0.50, 0.52, 0.48, 0.51, 0.49, 0.53]),
    "better": np.array([0.53, 0.54, 0.52, 0.53, 0.52, 0.56]),
    "a|b <i>": np.array([0.50, 0.51, 0.49, 0.51, 0.49, 0.53]),
}


def write_run(folder, scores, filters=True):
    folder.mkdir(parents=True)
    labels = {"instance": folder.name, "seed": np.arange(len(scores))}
    pd.DataFrame({**labels, "validation_correlation": scores}).to_csv(folder / "results.csv", index=False)
    p50, p90, p10 = np.percentile(scores, (50, 90, 10))
    row = {"instance": folder.name, "seeds": len(scores), "p50": p50, "p90": p90, "p10": p10, "ceiling": 0.9}
    pd.DataFrame([row]).to_csv(folder / "percentiles.csv", index=False)
    with (folder / "metrics.jsonl").open("w") as file:
        for step in (10, 20, 30):
            part = {
                f"correlation/{key}": value * step / 30
                for key, value in zip(runs.PERCENTILES, (p50, p90, p10), strict=True)
            }
            file.write(json.dumps({"step": step, "time": 0.0, **part}) + "\n")
    if filters:
        random = np.random.default_rng(0)
        np.savez(
            folder / "filters.npz", layer0_filters=random.normal(size=(9, 9, 30)), layer1_kernel=np.ones((1, 1, 3, 2))
        )
        images = random.normal(size=(2, 9, 9, 1))
        names = ("spike_triggered_averages", "gradients", "most_exciting_images")
        np.savez(folder / "receptive_fields.npz", neurons=[0, 3], responses=[1, 2], **dict.fromkeys(names, images))


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "sweep"
    for name, scores in SCORES.items():
        write_run(folder / name, scores, filters=name != "better")
    states = [{"name": name, "state": "finished", "reason": "", "published": []} for name in SCORES]
    states[0]["published"] = [0.51, 0.53, 0.49]
    states.append({"name": "broken", "state": "failed", "reason": "no & yes", "published": []})
    (folder / "sweep.json").write_text(json.dumps({"runs": states, "published_best": [0.6, 0.61]}))
    return folder


def test_the_table_has_percentiles_and_published_numbers_beside(sweep):
    table = runs.summary_table(sweep).set_index("run")
    assert list(table.index) == list(SCORES)
    np.testing.assert_allclose(
        table.loc["plain", ["p50", "p90", "p10"]].astype(float), np.percentile(SCORES["plain"], (50, 90, 10))
    )
    assert table.loc["plain", "published_p50"] == 0.51 and table.loc["plain", "published_p10"] == 0.49
    # Where only the best run's numbers were published they stand beside our best.
    assert table.loc["better", "published_p50"] == 0.6 and np.isnan(table.loc["better", "published_p10"])


def test_differences_are_tested_in_pairs(sweep):
    scores = runs.seed_scores(sweep)
    assert scores.shape == (SEEDS, 3)
    table = runs.paired_differences(scores).set_index("run")
    assert (table["reference"] == "better").all() and list(table.index) == ["plain", "a|b <i>"]
    expected = stats.ttest_rel(SCORES["plain"], SCORES["better"])
    row = table.loc["plain"]
    assert row["p_t"] == pytest.approx(expected.pvalue) and row["seeds"] == SEEDS
    interval = expected.confidence_interval(0.95)
    assert (row["low_95"], row["high_95"]) == pytest.approx((interval.low, interval.high))
    assert row["p_wilcoxon"] == pytest.approx(stats.wilcoxon(SCORES["plain"], SCORES["better"]).pvalue)
    # Pairs resolve what the same numbers taken apart do not.
    assert row["p_t"] < 0.1 * stats.ttest_ind(SCORES["plain"], SCORES["better"]).pvalue
    assert (table["p_holm"] >= table["p_t"]).all()
    with pytest.raises(ConfigError, match="reference 'best' is no finished run"):
        runs.paired_differences(scores, "best")


def test_equal_runs_and_single_seeds_do_not_differ():
    equal = runs.paired_differences(pd.DataFrame({"a": [0.1, 0.2], "b": [0.1, 0.2]}), "a").iloc[0]
    assert (equal["mean_difference"], equal["p_t"], equal["p_wilcoxon"]) == (0, 1, 1)
    single = runs.paired_differences(pd.DataFrame({"a": [0.1], "b": [0.3]}), "a").iloc[0]
    assert single["mean_difference"] == pytest.approx(0.2) and np.isnan(single["p_t"])
    assert len(runs.paired_differences(pd.DataFrame({"a": [0.1]}))) == 0


def test_a_report_is_a_page_whose_pictures_are_there(sweep):
    text = runs.write_report(sweep)
    assert "3 finished runs" in text and "better: r = 0.530" in text
    page = (sweep / "index.html").read_text()
    pictures = re.findall(r'src="([^"]+)"', page)
    assert {"curves.png", "scores.png", "plain/filters.png", "plain/receptive_fields.png"} <= set(pictures)
    assert "better/filters.png" not in pictures

    for picture in pictures:
        assert (sweep / html.unescape(picture)).read_bytes().startswith(b"\x89PNG")
    assert "3 of 4 runs are finished" in page and "no &amp; yes" in page
    assert "<i>" not in page
    reading, _, *lines = (sweep / "table.md").read_text().splitlines()
    assert "Unit of replication: the seed" in reading and "Split: the validation images" in page
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1 and len(lines) == 5
    pd.testing.assert_frame_equal(pd.read_csv(sweep / "table.csv"), runs.summary_table(sweep))
    assert len(pd.read_csv(sweep / "differences.csv")) == 2


def test_one_run_is_reported_alone(tmp_path):
    write_run(tmp_path / "bl4", SCORES["plain"])
    (tmp_path / "bl4" / "config.json").write_text(json.dumps({"config": {"published": [0.513, 0.533, 0.506]}}))
    runs.write_report(tmp_path / "bl4")
    assert pd.read_csv(tmp_path / "bl4" / "table.csv").loc[0, "published_p90"] == 0.533
    # Beside a fit to simulated responses the numbers of a recording would say nothing.
    for data, expected in (({"dir": None}, ()), ({"dir": "Data"}, (0.513,))):
        (tmp_path / "bl4" / "config.json").write_text(json.dumps({"config": {"published": [0.513], "data": data}}))
        assert runs.read_published(tmp_path / "bl4") == ({"bl4": expected}, ())
    assert (tmp_path / "bl4" / "index.html").exists() and not (tmp_path / "bl4" / "scores.png").exists()


def test_folders_without_a_finished_run_are_named(tmp_path):
    with pytest.raises(ConfigError, match="holds no finished run"):
        runs.write_report(tmp_path)


def test_only_arrays_with_rows_and_columns_are_pictures():
    assert run_figures.as_pictures(np.ones((5, 6, 2, 3))).shape == (6, 5, 6)
    assert run_figures.as_pictures(np.ones((5, 6, 3))).shape == (3, 5, 6)
    assert run_figures.as_pictures(np.ones((1, 1, 20, 3))) is None and run_figures.as_pictures(np.ones((5, 5))) is None
