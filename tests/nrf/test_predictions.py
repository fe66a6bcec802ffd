"""Predictions of a run folder: complete, kept, remade when the settings change, refused where there are none."""

import json

import numpy as np
import pytest

from nrf import predictions
from tests.nrf.trained_run import make_run, tiny_config

SETS = {"contrast_and_angle": {"contrasts": 2, "angles": 2}}


def test_stage_predicts_each_contrast_of_every_layer_recorded(tmp_path, capsys):
    config = tiny_config(record={"sets": SETS})
    folder = make_run(tmp_path / "run", config)
    path = predictions.predict_recording(config, folder)
    table = json.loads(path.read_text())
    assert table["contrasts"] == [0.0, 0.4] and len(table["modes"]["step_curvature"]) == 2
    assert set(table["signals"]) == {"layer_1/site", "layer_1/all", "layer_2/site", "layer_2/all"}
    h, temperature = config.sampler.underdamped.step_size, config.sampler.underdamped.temperature
    for low, middle, high in table["modes"]["curvature"]:
        # An untrained field is nearly the quadratic term alone: curvature 1.
        assert 0.2 < low < middle < high < 2.0
    for signal in table["signals"].values():
        spectrum = np.array(signal["spectrum"])
        assert spectrum.shape == (2, len(table["frequency"]))
        np.testing.assert_allclose(spectrum.mean(axis=1), signal["variance"], rtol=0.02)
    one_unit_each = table["signals"]["layer_1/site"]["variance"][0] / 4
    assert one_unit_each == pytest.approx(temperature, rel=0.6) and table["dynamics"]["step_size"] == [h, h]

    written = path.stat().st_mtime_ns
    assert predictions.predict_recording(config, folder) == path and path.stat().st_mtime_ns == written
    langevin = tiny_config(record={"sets": SETS}, sampler={"name": "langevin"})
    with pytest.raises(predictions.NoPrediction, match="'underdamped', not of 'langevin'"):
        predictions.read_geometry(langevin, (4, 2))
    without = tiny_config(record={"sets": SETS, "experiments": ("observe",)})
    assert predictions.predict_recording(without, folder) is None
