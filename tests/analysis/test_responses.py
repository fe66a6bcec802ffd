"""Activity, orientation, spectra, transients, lags: known inputs give known answers."""

import numpy as np
import pytest

from analysis.checks.mechanisms import autoregressive_noise
from analysis.measures import (
    activity,
    correlograms,
    lag,
    orientation,
    spectra,
    transients,
)
from analysis.original import dynamics as original_dynamics
from analysis.original import responses as original_responses
from recordings import periods as timescale
from recordings.periods import Periods, TimeScale

PERIODS = Periods(20, 300, 300, 200)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_periods_and_their_check():
    assert (PERIODS.onset, PERIODS.offset, PERIODS.total) == (320, 620, 820)
    with pytest.raises(ValueError, match="add up to 820"):
        PERIODS.check(800)


def test_time_scales_name_their_origin():
    assert TimeScale().sampling_rate == pytest.approx(242.857, abs=1e-3)
    assert TimeScale().label("lag", "ms") == "lag (ms; 17 steps = 70 ms)"
    scale = timescale.calibrated_time_scale(0.1, 40.0, "contrast 1.2")
    assert 0.1 * scale.sampling_rate == pytest.approx(40)
    assert "contrast 1.2 = 40 Hz" in scale.label("time", "ms")
    with pytest.raises(ValueError, match=r"\(0, 0.5\]"):
        timescale.calibrated_time_scale(0.7)


def test_activity_test_finds_driven_neurons_and_leaves_silent_ones(rng):
    traces = autoregressive_noise(rng, (Periods().total, 200), 0.9)
    traces[Periods().during, :100] += 1.0
    found = activity.find_active_neurons(traces)
    assert found.active[:100].mean() > 0.95
    assert found.active[100:].mean() < 0.06
    assert found.effect_size[:100].mean() == pytest.approx(1, abs=0.1)
    # The uncorrected test takes autocorrelation for evidence.
    assert activity.find_active_neurons(traces, test=original_responses.activity_test).active[100:].mean() > 0.2


def test_map_limits_hold_every_map(rng):
    found = activity.find_active_neurons(rng.normal(size=(PERIODS.total, 3, 4, 5, 5)), PERIODS)
    limits = activity.map_limits(found, stimulus_axis=0)
    maps = activity.activity_map(found)
    assert (maps >= limits[..., 0][..., None, None]).all()
    assert (maps <= limits[..., 1][..., None, None]).all()
    assert np.allclose(limits, limits[:1])


def test_movie_frames_span_the_grey_levels(rng):
    frames = activity.movie_frames(rng.normal(size=(50, 4, 4)))
    assert (frames.min(), frames.max(), frames.dtype) == (0, 255, np.uint8)
    assert (activity.movie_frames(np.ones((50, 4, 4))) == 0).all()


@pytest.mark.parametrize("harmonic", [1, 2])
def test_preferences_of_planted_tuning(rng, harmonic):
    angles = np.arange(64) * 2 * np.pi / 64
    preferred = rng.uniform(0, 2 * np.pi / harmonic, 20)
    responses = np.cos(harmonic * (angles - preferred[:, None])) + rng.normal(0, 0.2, (20, 64))
    found = orientation.find_orientation_preferences(angles, responses)
    assert (found.is_orientation == (harmonic == 2)).all()
    apart = np.abs(np.exp(1j * harmonic * found.preferred_angle) - np.exp(1j * harmonic * preferred))
    assert apart.max() < 0.25
    assert (found.q_value < 0.05).all()
    kept = orientation.assign_orientation(found)
    matched = orientation.match_stimuli(kept, found.is_orientation, preferred + 2 * np.pi / harmonic)
    assert np.diag(matched).all()


def test_untuned_channels_stay_untuned(rng):
    angles = np.arange(64) * 2 * np.pi / 64
    found = orientation.find_orientation_preferences(angles, rng.normal(size=(300, 64)))
    preferred = orientation.assign_orientation(found)
    matched = orientation.match_stimuli(preferred, found.is_orientation, angles)
    assert np.isnan(preferred).mean() > 0.97
    assert not matched[np.isnan(preferred)].any()
    flat = orientation.find_orientation_preferences(angles, np.ones((1, 64)))
    assert not flat.q_value[0] < 0.05


def test_preferences_refuse_bad_shapes():
    with pytest.raises(ValueError, match="at least 6 angles"):
        orientation.find_orientation_preferences(np.arange(4), np.zeros((2, 4)))


def test_a_sine_has_its_peak_at_its_frequency():
    time = np.arange(1000)
    traces = np.stack([np.sin(2 * np.pi * f * time) * 3 for f in (0.03, 0.1)], axis=1)
    found = spectra.find_oscillations(traces)
    assert np.allclose(found.frequencies[found.power.argmax(axis=1)], [0.03, 0.1])
    assert np.allclose(found.power.max(axis=1), 9 / 2, rtol=1e-3)


def test_spectrogram_follows_a_change_of_frequency_and_keeps_power():
    time = np.arange(2000)
    series = np.sin(2 * np.pi * np.where(time < 1000, 0.05, 0.125) * time)
    found = spectra.spectrogram(series, 1.0, hop=50)
    top = found.frequencies[found.power.argmax(axis=0)]
    assert np.allclose(top[found.times < 850], 0.05, atol=0.004)
    assert np.allclose(top[found.times > 1150], 0.125, atol=0.004)
    noise = np.random.default_rng(0).normal(size=5000)
    total = spectra.spectrogram(noise, 2.0, hop=16).power.mean(axis=1).sum() * 2.0 / 256
    assert total == pytest.approx(1, abs=0.1)
    with pytest.raises(ValueError, match="longer series"):
        spectra.spectrogram(noise[:100], 1.0)


def test_local_field_potential_sums_the_selected(rng):
    traces = rng.normal(size=(30, 4, 3, 2, 2))
    selected = rng.random((4, 3)) > 0.5
    labels, field = spectra.local_field_potential(traces, selected, [1, 0, 1, 0])
    direct = sum(traces[:, s, c].sum(axis=(1, 2)) for s in (0, 2) for c in range(3) if selected[s, c])
    assert labels.tolist() == [0, 1]
    assert np.allclose(field[:, 1], direct)


def test_mean_by_contrast_skips_nan():
    levels, means = spectra.mean_by_contrast([1, 3, np.nan, np.nan], [0, 0, 0, 1])
    assert levels.tolist() == [0, 1]
    assert means[0] == 2
    assert np.isnan(means[1])


def test_transients_see_an_overshoot(rng):
    traces = rng.normal(size=(PERIODS.total, 2, 5)) * 0.1
    traces[PERIODS.onset : PERIODS.onset + 50, 1] += 2.0
    found = transients.transients(traces, [0, 1], PERIODS)
    strength = transients.transient_strength(found)
    assert strength[1] == pytest.approx(10, rel=0.1)
    assert abs(strength[0]) < 0.2


@pytest.mark.parametrize("planted", [3, -5, 0])
def test_lag_of_a_delayed_copy(rng, planted):
    state = autoregressive_noise(rng, (600, 3, 2), 0.8)
    momentum = np.roll(state, planted, axis=0)
    assert np.abs(lag.find_lags(state, momentum, 50).lags - planted).max() < 0.2
    assert (original_dynamics.lags_of_momentum(state, momentum) == -planted).all()


def test_lag_between_steps():
    time = np.arange(800)
    state = np.sin(0.8 * time) * np.exp(-(((time - 400) / 150) ** 2))
    late = np.sin(0.8 * (time - 0.7)) * np.exp(-(((time - 400.7) / 150) ** 2))
    assert lag.find_lags(state[:, None], late[:, None], 3).lags == pytest.approx(0.7, abs=0.01)


def test_lag_refuses_bad_input(rng):
    with pytest.raises(ValueError, match="same shape"):
        lag.find_lags(np.zeros((10, 2)), np.zeros((10, 3)))
    with pytest.raises(ValueError, match="smaller max_lag"):
        lag.find_lags(np.zeros((10, 2)), np.zeros((10, 2)))


def test_cumulative_mean_lag_is_the_original_defect():
    assert original_dynamics.mean_lags([[1, 1], [3, 3]]).tolist() == [1, 2]
    assert lag.mean_lags([[1, 1], [3, 3]]).tolist() == [1, 3]


def test_correlograms_equal_numpy(rng):
    a, b = rng.normal(size=(2, 120))
    direct = np.correlate(a - a.mean(), b - b.mean(), "full")
    ours = correlograms.cross_correlogram(a[:, None], b[:, None], (-119, 120))[0]
    assert np.allclose(ours, direct)
    traces = rng.normal(size=(120, 2, 3))
    pairs = correlograms.pair_correlograms(traces, (-10, 11))
    single = correlograms.cross_correlogram(traces[:, 1, 2], traces[:, 1, 0], (-10, 11))
    assert np.allclose(pairs[1, 2, 0], single)
    assert np.allclose(pairs[..., ::-1], np.swapaxes(pairs, 1, 2))


def test_normalised_correlogram_is_a_correlation_coefficient(rng):
    traces = rng.normal(size=(200, 1, 3))
    found = correlograms.pair_correlograms(traces, (0, 1), normalise=True)[0, :, :, 0]
    assert np.allclose(found, np.corrcoef(traces[:, 0].T))


def test_autocorrelogram_is_one_at_lag_zero_and_undefined_for_constants(rng):
    series = np.stack([rng.normal(size=300), np.ones(300)], axis=1)
    found = correlograms.autocorrelogram(series, 20)
    assert found[0, 20] == pytest.approx(1)
    assert np.allclose(found[0], found[0, ::-1])
    assert np.isnan(found[1]).all()
