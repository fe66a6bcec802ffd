"""Predicted beside measured: what is compared, what is drawn, and the sentences that say why."""

import numpy as np

from analysis.report import predicted
from recordings.periods import TimeScale

SCALE = TimeScale(2.0, "1 step = 2 ms")
PREDICTIONS = {
    "contrasts": [0.0, 0.5, 1.0],
    "modes": {"step_curvature": [[0.02, 1.0, 2.0], [0.03, 1.1, 2.0], [0.06, 1.4, 2.1]]},
    "signals": {
        "layer_1/site": {
            "resonance": [0.0, 0.05, 0.1], "variance": [4.0, 3.0, 2.0], "overshoot": [None, 0.2, 0.5],
            "phase": [None, 0.5, 1.0],
        }
    },
}  # fmt: skip
ROWS = {
    "resonance_rises": {
        "name": "resonance rises with contrast", "verdict": "present",
        "details": {"contrast": [0.5, 1.0], "hertz": [25.0, 52.0], "hertz_interval": [[24.0, 26.0], [50.0, 54.0]]},
    },
    "overshoot_grows": {
        "name": "onset overshoot grows with contrast", "verdict": "undecided",
        "details": {"contrast": [0.5, 1.0], "ratio": [None, 1.5], "ratio_interval": [[None, None], [1.4, 1.6]]},
    },
    "synchrony": {"name": "channels share a rhythm", "verdict": "absent", "details": {}},
}  # fmt: skip
MEASURED = {
    "contrast": [0.5, 1.0],
    "summed_variance_ratio": [0.75, 0.5],
    "phase": {"contrast": [0.5, 1.0], "degrees": [30.0, None], "low": [28.0, None], "high": [31.0, None]},
}


def test_quantities_are_compared_in_the_same_units():
    found = predicted.compare(PREDICTIONS, 1, ROWS, MEASURED, SCALE)
    assert [each.name for each in found] == ["resonance", "overshoot", "variance of the sum", "phase of inhibition"]
    np.testing.assert_allclose(found[0].predicted.values, [np.nan, 25, 50])
    np.testing.assert_allclose(found[1].predicted.values, [np.nan, 1.2, 1.5])
    np.testing.assert_allclose(found[2].predicted.values, [1, 0.75, 0.5])
    np.testing.assert_allclose(found[0].measured.bounds[1], [50, 54])
    assert len(predicted.draw(found).axes) == 4


def test_sentences_say_which_property_of_the_energy_decides():
    found = predicted.compare(PREDICTIONS, 1, ROWS, MEASURED, SCALE)
    said = predicted.sentences(PREDICTIONS, 1, ROWS, found)
    assert "depends on contrast: its lowest mode goes from 0.02 to 0.06" in said[0]
    assert said[1].startswith("Resonance rises with contrast: present. Resonance (Hz): the curvature predicts 25 at")
    assert "measured is 25 at contrast 0.5 and 52 at 1; they differ by 1.9 % in the median" in said[1]
    assert any("says nothing of pairs" in each for each in said)
    steady = PREDICTIONS | {"modes": {"step_curvature": [[0.02, 1.0, 1.88], [0.02, 1.0, 1.88]]}}
    assert "adds forces and no curvature" in predicted.sentences(steady, 1, ROWS, found)[0]


def test_runs_without_predictions_say_so():
    found = predicted.compare({}, 1, {}, {}, SCALE)
    assert all(each.predicted is None and each.measured is None for each in found)
    assert "no predictions.json" in predicted.sentences({}, 1, {}, found)[0]
    assert len(predicted.draw(found).axes) == 4
