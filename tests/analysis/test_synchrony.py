"""Gabor fits, groups of repeats and surrogates."""

import numpy as np
import pytest
from scipy import optimize, stats

from analysis.measures import correlograms, gabor_fits, surrogates, synchrony
from analysis.original import synchrony as original
from benchmarks.synthetic import Planted, make_recording, narrow_band_noise

LAGS = np.arange(-50, 50)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def damped(frequency, phase, sigma, offset=0.0, size=1.0):
    return size * (np.cos(frequency * LAGS + phase) + offset) * np.exp(-0.5 * (LAGS / sigma) ** 2)


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(1)
    values = np.stack([rng.uniform(0.2, 0.8, 24), rng.uniform(-1, 1, 24), rng.uniform(12, 40, 24)], axis=1)
    sizes = rng.uniform(0.5, 5, 24)
    return values, sizes, np.stack([damped(*row, size=size) for row, size in zip(values, sizes, strict=True)])


def test_planted_oscillations_are_recovered(planted):
    values, _sizes, curves = planted
    fits = gabor_fits.fit_gabors(curves, LAGS)
    assert np.allclose(fits.angular_frequency, values[:, 0], rtol=1e-3)
    assert np.allclose(fits.sigma, values[:, 2], rtol=1e-2)
    assert np.allclose(fits.phase, values[:, 1], atol=1e-2)
    assert np.allclose(fits.amplitude, np.ptp(curves, axis=1) / 2, rtol=1e-3)


def test_fits_are_equivariant_to_scale(planted):
    curves = planted[2][:6]
    one, ten = gabor_fits.fit_gabors(curves, LAGS), gabor_fits.fit_gabors(10 * curves, LAGS)
    assert np.allclose(ten.amplitude, 10 * one.amplitude, rtol=1e-4)
    assert np.allclose(ten.angular_frequency, one.angular_frequency, rtol=1e-4)


def scipy_fit(curve, scale, peak_count):
    """Both stages with the original's starts; returns the two costs."""
    first = 7 * peak_count / LAGS.size
    sines = [
        optimize.least_squares(lambda v: scale * np.cos(v[1] * LAGS + v[0]) + v[2] - curve, (0, first * 1.15**k, 0))
        for k in range(-2, 3)
    ]
    best = min(sines, key=lambda result: result.cost)
    carrier = scale * np.cos(best.x[1] * LAGS + best.x[0]) + best.x[2]

    def bell(v):
        return carrier * v[1] / np.sqrt(2 * np.pi) / v[0] * np.exp(-0.5 * (LAGS / v[0]) ** 2) - curve

    return best.cost, min(optimize.least_squares(bell, (70, gain)).cost for gain in (400, 500, 600))


def test_costs_are_no_worse_than_those_of_scipy(rng, planted):
    curves = planted[2][:6] + rng.normal(0, 0.2, (6, 100))
    default, staged = gabor_fits.fit_gabors(curves, LAGS), original.fit_gabors(curves, LAGS)
    for row, curve in enumerate(curves):
        sine, full = scipy_fit(curve, staged.scale[row], staged.peak_count[row])
        assert staged.cost_sine[row] <= sine * (1 + 1e-6)
        assert default.cost[row] <= full * (1 + 1e-6)


def test_curves_agree_with_their_costs(planted):
    curves = planted[2]
    fits = gabor_fits.fit_gabors(curves, LAGS)
    drawn = gabor_fits.evaluate_gabors(fits, LAGS)
    assert np.allclose(fits.cost, 0.5 * ((drawn - curves) ** 2).sum(axis=1))
    assert np.allclose(fits.maximum, drawn.max(axis=1))
    assert (gabor_fits.count_fitted_peaks(fits, LAGS) >= 1).all()


def test_flat_and_negative_correlograms_do_not_stop_the_fit():
    curves = np.stack([np.zeros(100), -np.ones(100) - 0.1 * np.cos(0.3 * LAGS)])
    fits = gabor_fits.fit_gabors(curves, LAGS)
    assert fits.amplitude[0] == pytest.approx(0, abs=1e-9)
    assert np.isfinite(fits.amplitude).all()
    assert fits.peak_count.tolist() == [1, 1]
    assert len(gabor_fits.fit_gabors(np.zeros((0, 100)), LAGS).cost) == 0


def test_bad_correlograms_are_named():
    with pytest.raises(ValueError, match=r"\(n, 100\)"):
        gabor_fits.fit_gabors(np.zeros((3, 50)), LAGS)
    broken = np.ones((3, 100))
    broken[1, 4] = np.nan
    with pytest.raises(ValueError, match="Correlogram 1"):
        gabor_fits.fit_gabors(broken, LAGS)


def test_groups_of_repeats(rng):
    keys = np.repeat([[0, 0], [0, 1], [1, 0]], 8, axis=0)
    amplitude, phase = rng.uniform(1, 2, 24), rng.normal(0, 0.2, 24)
    groups = original.group_repeats(keys, amplitude, phase, np.full(24, 3.0))
    assert groups.count.tolist() == [8, 8, 8]
    expected = stats.ttest_1samp(amplitude[8:16], 0)
    assert groups.amplitude_test.p_value[1] == pytest.approx(expected.pvalue)
    assert groups.phase[1] == pytest.approx(phase[8:16].mean())


def test_phases_are_averaged_on_the_circle():
    phase = np.array([np.pi - 0.1, -np.pi + 0.1] * 10)
    ours = synchrony.group_repeats(np.zeros((20, 1)), np.ones(20), phase, np.ones(20))
    theirs = original.group_repeats(np.zeros((20, 1)), np.ones(20), phase, np.ones(20))
    assert abs(ours.phase[0]) == pytest.approx(np.pi)
    assert abs(theirs.phase[0]) < 1e-9
    assert ours.phase_p_value[0] < 1e-6


def test_rayleigh_test_holds_its_level(rng):
    keys = np.repeat(np.arange(3000), 16)[:, None]
    groups = synchrony.group_repeats(keys, np.ones(48000), rng.uniform(-np.pi, np.pi, 48000), np.ones(48000))
    assert (groups.phase_p_value < 0.05).mean() == pytest.approx(0.05, abs=0.015)


def test_the_original_amplitude_test_cannot_accept(rng):
    traces = rng.normal(size=(400, 16, 4))
    amplitude = surrogates.half_range(
        surrogates.circular_correlograms(surrogates.unit_spectra(traces)[:, None].reshape(16, 4, -1), 400, 20)
    )
    per_repeat = np.array(
        [
            surrogates.half_range(surrogates.circular_correlograms(surrogates.unit_spectra(traces[:, [r]]), 400, 20))[
                0, 1
            ]
            for r in range(16)
        ]
    )
    assert amplitude[0, 1] > 0
    groups = original.group_repeats(np.zeros((16, 1)), per_repeat, np.zeros(16), np.ones(16))
    assert groups.amplitude_test.p_value[0] < 1e-6
    assert synchrony_p(traces, rng) > 0.05


def synchrony_p(traces, rng):
    return surrogates.synchrony_test(traces, rng, 20, 99).overall_p_value


def test_during_is_compared_with_its_own_blank():
    keys = np.array([[0, 0, 1], [0, 0, 1], [0, 1, 1], [0, 1, 1]])
    for amplitude, expected in (([0.05, 0.05, 1, 1], [0, -1]), ([2, 2, 1, 1], [1, -1])):
        groups = synchrony.group_repeats(keys, amplitude, np.zeros(4), np.zeros(4))
        assert synchrony.exceeds_blank(groups, 1).tolist() == expected
    lonely = synchrony.group_repeats(keys[:2], [1, 1], [0, 0], [0, 0])
    with pytest.raises(ValueError, match="no fits outside"):
        synchrony.exceeds_blank(lonely, 1)


def test_stimulus_groups_keep_their_order():
    table = {"angle": np.array([2.0, 2.0, 1.0, 2.0, 1.0])}
    group, first = synchrony.stimulus_groups(table, ("angle",))
    assert group.tolist() == [0, 0, 1, 0, 1]
    assert first.tolist() == [0, 2]


def test_neighbour_intervals_leave_out_missing_distances(rng):
    traces = rng.normal(size=(40, 4, 3))
    distances, found = synchrony.neighbour_intervals(traces, (-5, 6), normalise=False)
    assert distances == [1, 2] and found[0].count == 4 * 4
    pairs = correlograms.pair_correlograms(traces, (-5, 6))
    assert np.allclose(found[1].estimate, (pairs[:, 0, 2] + pairs[:, 2, 0]).mean(axis=0) / 2)


def test_phase_randomisation_keeps_the_power_spectrum(rng):
    spectra = surrogates.unit_spectra(rng.normal(size=(128, 3, 2)))
    turned = surrogates.randomize_phases(spectra, rng)
    assert np.allclose(np.abs(turned), np.abs(spectra))
    assert np.abs(np.angle(turned / spectra)[1:-1]).mean() > 1


def test_shuffling_keeps_every_trace(rng):
    spectra = surrogates.unit_spectra(rng.normal(size=(64, 6, 3)))
    shuffled = surrogates.shuffle_repeats(spectra, rng)
    assert np.allclose(np.sort(np.abs(shuffled[..., 3]), axis=0), np.sort(np.abs(spectra[..., 3]), axis=0))


@pytest.mark.parametrize("kind", ["shuffle", "phase"])
def test_synchrony_is_found_where_it_is(rng, kind):
    shared = narrow_band_noise(rng, (500, 8, 1), 0.1)
    traces = rng.normal(size=(500, 8, 4))
    traces[..., :2] += shared
    found = surrogates.synchrony_test(traces, rng, 30, 199, kind)
    assert found.q_value[0, 1] < 0.05
    assert found.q_value[1, 0] == found.q_value[0, 1]
    assert found.effect_size[0, 1] > 5 * abs(found.effect_size[2, 3])
    assert np.isnan(found.p_value[0, 0])


def test_synchrony_test_refuses_too_few_repeats(rng):
    with pytest.raises(ValueError, match="at least 3 repeats"):
        surrogates.synchrony_test(rng.normal(size=(50, 2, 2)), rng, 10, 19, "shuffle")
    with pytest.raises(ValueError, match="Unknown surrogates"):
        surrogates.synchrony_test(rng.normal(size=(50, 6, 2)), rng, 10, 19, "jitter")


def test_synthetic_synchrony_reaches_its_strength(rng):
    recording = make_recording(rng, Planted(synchrony=1.0, oscillation=50.0), contrasts=1, repeats=2)
    during = recording.state[recording.periods.during, 0]
    assert np.corrcoef(during.T)[0, 1] > 0.95
