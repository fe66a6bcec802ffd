"""Planted effects are found, their absence is not, and what cannot be tested says so."""

import numpy as np
import pytest

from analysis.checks import physiology, power
from analysis.checks.synthetic import (
    SHORT,
    Planted,
    autoregressive_noise,
    make_recording,
)
from recordings.periods import Periods

STRONG = {
    "frequency rises with contrast": 25,
    "transient grows with contrast": 4,
    "inhibition lags excitation": 3,
    "variability is quenched": 0.8,
    "channels are synchronised": 0.6,
    "collinear pairs synchronise more": 0.9,
}


@pytest.mark.parametrize("name", sorted(STRONG))
def test_planted_effects_are_found(name):
    assert power.measure_detection(name, STRONG[name], 6, seed=1).rate >= 5 / 6


@pytest.mark.parametrize("name", sorted(power.EXPERIMENTS))
def test_absent_effects_are_not_found(name):
    # With a level of 5 %, 4 or more of 12 happen once in 400 runs; the seed is fixed.
    assert power.measure_detection(name, 0, 12, seed=2).rate < 4 / 12


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(power.EXPERIMENTS))
def test_false_positives_keep_to_the_level(name):
    found = power.measure_detection(name, 0, 150, seed=3)
    assert found.low <= 0.05


def test_planted_numbers_are_measured():
    rng = np.random.default_rng(4)
    recording = make_recording(rng, Planted(frequency_rise=25, lag=3.0, transient=4.0), repeats=10)
    field = recording.state.sum(axis=2)
    found = physiology.frequency_rises_with_contrast(field, recording.contrast, SHORT)
    # The lowest of five contrasts already has a fifth of the rise.
    assert found.low < 20 < found.high
    found = physiology.inhibition_lags_excitation(recording.state, recording.momentum, SHORT)
    assert found.found == pytest.approx(3.0, abs=0.5)


def test_a_momentum_ahead_of_the_state_fails():
    recording = make_recording(np.random.default_rng(5), Planted(lag=-3.0))
    found = physiology.inhibition_lags_excitation(recording.state, recording.momentum, SHORT)
    assert (found.verdict, found.found < 0) == ("fail", True)


def test_what_cannot_be_tested_says_so():
    rng = np.random.default_rng(6)
    recording = make_recording(rng, contrasts=1, repeats=3, channels=1)
    state, momentum, contrast = recording.state, recording.momentum, recording.contrast
    checks = [
        physiology.frequency_rises_with_contrast(state.sum(axis=2), contrast, SHORT),
        physiology.transients_grow_with_contrast(state, contrast, SHORT),
        physiology.inhibition_lags_excitation(state, momentum, SHORT),
        physiology.variability_is_quenched(state, contrast, SHORT),
        physiology.variability_is_quenched(state, np.arange(3), SHORT),
        physiology.channels_are_synchronised(state, SHORT, rng),
        physiology.collinear_pairs_synchronise_more([1.0], [2.0]),
    ]
    assert {check.verdict for check in checks} == {"not tested"}
    assert all(check.reason for check in checks)
    assert "twice" in checks[4].reason


def test_collinear_check_has_a_direction():
    low, high = np.arange(10.0), np.arange(10.0) + 8
    more = physiology.collinear_pairs_synchronise_more(high, low)
    less = physiology.collinear_pairs_synchronise_more(low, high)
    assert (more.verdict, less.verdict) == ("pass", "fail")
    assert more.found == pytest.approx(1 - less.found)


LONG = Periods(10, 20, 6000, 20)


def efficiency(correlations, channels=6, seed=0, periods=LONG):
    """The check on AR(1) traces of a model and of its control; of correlation φ, τ is (1 + φ) / (1 - φ)."""
    shape = (periods.total, 4, channels)
    traces = [
        autoregressive_noise(np.random.default_rng([seed, place]), shape, phi) for place, phi in enumerate(correlations)
    ]
    return physiology.samples_more_efficiently(*traces, periods)


def test_efficiency_is_the_ratio_of_autocorrelation_times():
    found = efficiency((0.5, 0.95))  # τ of 3 and 39
    assert found.found == pytest.approx(13, rel=0.1) and found.low < 13 < found.high
    assert found.verdict == "pass" and found.p_value < 0.025
    found = efficiency((0.5, 0.9))  # τ of 3 and 19
    assert found.found == pytest.approx(19 / 3, rel=0.1) and found.verdict == "fail" and found.p_value > 0.5
    found = efficiency((0.9, 0.9))
    assert found.low < 1 < found.high and found.verdict == "fail"


def test_efficiency_at_the_expected_ratio_seldom_passes():
    """φ of 0.5 and 29/31 make the ratio exactly 10: the whole interval is above it once in forty times."""
    verdicts = [efficiency((0.5, 29 / 31), seed=seed, periods=Periods(10, 20, 2000, 20)).verdict for seed in range(40)]
    assert verdicts.count("pass") <= 4


def test_oscillations_count_as_one_step_at_best():
    alternating = np.tile([1.0, -1.0], LONG.total // 2)[:, None, None] * np.ones((1, 2, 3))
    noise = np.random.default_rng(7).normal(size=(LONG.total, 2, 3))
    control = autoregressive_noise(np.random.default_rng(8), noise.shape, 0.9)
    found = physiology.samples_more_efficiently(alternating + 0.1 * noise, control, LONG)
    assert found.found == pytest.approx(19, rel=0.15)


def test_efficiency_needs_a_control_and_channels():
    traces = np.random.default_rng(9).normal(size=(LONG.total, 2, 1))
    for state, control, reason in ((traces, None, "no control by Langevin"), (traces, traces, "fewer than 2 channels")):
        found = physiology.samples_more_efficiently(state, control, LONG)
        assert found.verdict == "not tested" and reason in found.reason


def test_activity_false_positives_table():
    found = power.activity_false_positives(neurons=100)
    assert found["corrected, p < 0.05"] < 0.15
    assert found["corrected, false discovery rate 0.05"] < 0.05
    assert found["compat, p < 0.05"] > 0.4


def test_the_table_prints_as_markdown():
    rows = power.detection_table(2, names=("inhibition lags excitation (unrelated momentum)",))
    assert (
        power.markdown_table(rows)
        .splitlines()[2]
        .startswith("| inhibition lags excitation (unrelated momentum) | absent")
    )
