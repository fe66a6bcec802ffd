"""The verdict step on the system with known answers: through the recording, as a field's, and beside a field."""

import json
import shutil

import numpy as np
import pytest
from ml_collections import ConfigDict

from analysis import pipeline
from analysis.load import NotTestable, open_experiment
from analysis.steps import trials as steps
from analysis.study import __main__ as study
from analysis.study import networks
from nrf.known import recording
from recordings.names import KNOWN, TRIALS
from recordings.periods import TimeScale
from runtime.config import load_config, save_config
from runtime.errors import ConfigError
from runtime.metrics import MetricsWriter

SMALL = (
    "known.trials=10", "known.contrasts=0.0,0.5,1.0,1.25", "known.burn_in=30", "known.blank=120", "known.stimulus=200",
    "known.blank_after=0",
)  # fmt: skip
# What must be found with 512 trials a contrast, at contrasts 0.25 ... 1.25 (docs/power.md).
TABLE = {
    "hertz": ((24.1, 26.5, 35.8, 48.2, 59.2), 0.9),
    "quality": ((1.24, 1.33, 1.69, 2.20, 2.57), 0.12),
    "ratio": ((np.nan, 1.28, 1.38, 1.51, 1.56), 0.15),
    "variance_ratio": ((0.99, 0.94, 0.78, 0.65, 0.57), 0.02),
    "milliseconds": ((4.76, 4.53, 4.06, 3.44, 3.04), 0.12),
}


def judged(config, folder, monkeypatch):
    monkeypatch.setattr(pipeline, "write_report", lambda folder, layer: folder)
    pipeline.analyse(config, folder)
    results = folder / "analysis" / "layer1"
    rows = {row["check"]: row for row in json.loads((results / "checks.json").read_text())}
    return rows, json.loads((results / "measured.json").read_text())


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder, config = tmp_path_factory.mktemp("known"), load_config("configs/known.py", SMALL)
    recording.record(config, folder)
    return config, folder


def test_known_system_is_judged_like_a_field_and_beside_one(small, tmp_path, monkeypatch):
    config, source = small
    folder = tmp_path / "run"
    shutil.copytree(source, folder)
    shutil.copytree(source, folder / KNOWN)
    rows, measured = judged(config, folder, monkeypatch)
    assert rows["resonance_rises"]["verdict"] == "present" and rows["resonance_rises"]["found"] > 15
    assert rows["variability_quenched"]["verdict"] == "present"
    assert rows["collinear_synchrony"]["verdict"] == "not tested"
    assert {tuple(row["controls"]) for row in rows.values()} == {("fixed_scale", "langevin")}
    slow, fixed = (rows["resonance_rises"]["controls"][name] for name in ("langevin", "fixed_scale"))
    assert slow["verdict"] != "present" != fixed["verdict"]
    assert slow["difference"]["unit"] == "Q at the highest contrast" and slow["difference"]["low"] > 0.5
    assert rows["variability_quenched"]["controls"]["langevin"]["verdict"] == "present"  # it belongs to the posterior
    assert rows["variability_quenched"]["controls"]["fixed_scale"]["verdict"] != "present"
    # The same recording beside a run answers the same.
    assert [row["known"]["verdict"] for row in rows.values() if row["check"] != "collinear_synchrony"] == [
        row["verdict"] for row in rows.values() if row["check"] != "collinear_synchrony"
    ]
    assert set(measured) == {"", "fixed_scale", "langevin", "known"}
    phases = measured[""]["phase"]
    np.testing.assert_allclose(
        phases["degrees"], np.degrees(np.arctan(2 * np.pi * np.array(phases["hertz"]) / 172.8)), atol=3
    )


def test_runs_of_a_sweep_are_judged_each_as_a_network(small, tmp_path, monkeypatch):
    config, source = small
    for name, scale, recorded, seed in (("a", "mode", TRIALS, 0), ("b", "fixed", f"{TRIALS}@fixed_scale", 1)):
        folder = tmp_path / name
        shutil.copytree(source / "recordings" / recorded, folder / "recordings" / TRIALS)
        changed = ConfigDict(config.to_dict())
        changed.seed, changed.known.scale = seed, scale
        save_config(changed, folder)
        (folder / "predictions.json").write_text('{"modes": {"step_curvature": [[1, 2, 4], [1, 2, 5], [1, 3, 3]]}}')
        with MetricsWriter(folder) as writer:
            writer.write(1, {"chains/r_hat/energy": 1.02, "chains/temperature/layer_0": 1.0 if name == "a" else 1.3})
    (tmp_path / "a" / "data_statistics.json").write_text('{"gaussian": {"gabor_kurtosis": 3.25, "pixel_sd": 1}}')
    (tmp_path / "sweep.json").write_text(json.dumps({"runs": [{"name": "a"}, {"name": "b"}, {"name": "gone"}]}))
    study.main([str(tmp_path)])
    gating, held = networks.read_networks(tmp_path)
    assert gating.rows["resonance_rises"]["verdict"] == "present" and gating.numbers["resonance_rises"] > 0.3
    assert held.numbers["resonance_rises"] < 0.2 and held.rows["faster_than_reference"]["verdict"] == "not tested"
    assert gating.numbers["variability_quenched"] < 0.8 < held.numbers["variability_quenched"]
    assert gating.levels == {"scale": "mode"} and gating.stationary and not held.stationary
    assert (gating.numbers[networks.MEDIAN], gating.numbers[networks.STIFFEST]) == (0.5, -0.25)
    assert gating.chains["temperature_0"] == 1
    assert 0 < gating.numbers[networks.RESPONSE] < 10
    assert gating.images == {"gaussian": 3.25} and held.images == gating.controls == {}
    assert "2 networks, 1 of them" in (tmp_path / "study.md").read_text() and (tmp_path / "images/study.png").exists()
    # What was judged is not judged again while the recording is the same.
    monkeypatch.setattr(networks, "check_trials", None)
    assert networks.read_networks(tmp_path)[0].rows == gating.rows


def test_time_is_physical(small):
    _, folder = small
    scale = TimeScale(1.0, "1 step = 1 ms")
    field = steps.trials_of(open_experiment(folder, TRIALS), scale)
    slow = steps.trials_of(open_experiment(folder, f"{TRIALS}@langevin"), scale, 0.1728)
    assert field.sample_ms == 1 and field.signals.shape == (40, 319, 32) and (field.onset, field.offset) == (120, 319)
    assert slow.sample_ms == pytest.approx(np.sqrt(2 * 1.8 / 97.087) / 0.1728, rel=1e-3)
    assert steps.physical_step({"name": "underdamped", "step_size": [0.1, 0.2]}, 1) == 0.2
    assert steps.physical_step({"name": "sgd"}, 1) is None


def test_recordings_that_cannot_be_judged_say_why(small, tmp_path):
    config = load_config(
        "configs/known.py", [*SMALL, "known.contrasts=0.0", "known.controls=langevin", "known.trials=4"]
    )
    recording.record(config, tmp_path)
    with pytest.raises(ConfigError, match="holds no analysis; run the stage 'analyse' there first"):
        pipeline.draw_report(config, tmp_path)
    with pytest.raises(NotTestable, match="has no contrast above 0; at least 4 trials are needed"):
        steps.trials_of(open_experiment(tmp_path, TRIALS), TimeScale())


@pytest.mark.slow
def test_table_of_the_known_system_is_reproduced(tmp_path, monkeypatch):
    config = load_config("configs/known.py:precise", ["seed=1"])
    recording.record(config, tmp_path)
    rows, measured = judged(config, tmp_path, monkeypatch)
    found = {
        "hertz": rows["resonance_rises"]["details"]["hertz"],
        "quality": rows["resonance_rises"]["details"]["quality"],
        "ratio": rows["overshoot_grows"]["details"]["ratio"],
        "variance_ratio": measured[""]["variance_ratio"],
        "milliseconds": measured[""]["phase"]["milliseconds"],
    }
    for name, (values, error) in TABLE.items():
        known = np.isfinite(values)
        np.testing.assert_allclose(
            np.array(found[name], float)[known], np.array(values)[known], atol=error, err_msg=name
        )
    speeds = rows["faster_than_reference"]["details"]["states"]
    np.testing.assert_allclose(speeds, (9.8, 9.9, 10.8, 10.4, 10.3), rtol=0.15)
    verdicts = {check: row["verdict"] for check, row in rows.items()}
    assert verdicts["resonance_rises"] == verdicts["overshoot_grows"] == verdicts["variability_quenched"] == "present"
    assert verdicts["faster_than_reference"] == "present" and verdicts["synchrony"] == "absent"
    slow, fixed = (
        {check: row["controls"][name]["verdict"] for check, row in rows.items()} for name in ("langevin", "fixed_scale")
    )
    assert (slow["resonance_rises"], slow["overshoot_grows"], slow["variability_quenched"]) == (
        "absent",
        "absent",
        "present",
    )
    assert (fixed["resonance_rises"], fixed["overshoot_grows"], fixed["variability_quenched"]) == (
        "absent",
        "present",
        "absent",
    )
