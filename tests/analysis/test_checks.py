"""The checks answer rightly on mechanisms whose answers are known, and their estimators find what was put in."""

import json

import numpy as np
import pytest
from scipy import signal

from analysis.checks import (
    collinear,
    mechanisms,
    networks,
    phase,
    power,
    quenching,
    resampling,
    speed,
    synchrony,
    table,
    tuned_patches,
    whittle,
)
from analysis.checks.mechanisms import MECHANISMS, make_trials
from analysis.checks.overshoot import held_out_peak, overshoot_grows
from analysis.checks.resonance import resonance_rises
from analysis.checks.trials import residuals
from analysis.checks.verdict import ABSENT, NOT_TESTED, PRESENT, UNDECIDED, Verdict, against_threshold
from analysis.steps import verdicts

OPPOSITE = {PRESENT: ABSENT, ABSENT: PRESENT}


def small(name, seed=0, each=24, channels=4):
    return MECHANISMS[name].make(np.random.default_rng(seed), each, channels)


QUICK = (
    "the same, driven", "unrelated oscillators", "unit oscillators given a step", "oscillators that quicken", "walls",
)  # fmt: skip


@pytest.mark.parametrize("name", QUICK)
def test_no_mechanism_is_judged_wrongly(name):
    found = {v.check: v for v in table.check_trials(small(name), resamples=100)}
    assert found["faster_than_reference"].verdict == NOT_TESTED
    for check, truth in MECHANISMS[name].truth.items():
        assert found[check].verdict != OPPOSITE[truth], found[check]
        assert found[check].reason
    # Few trials are enough for what is planted clearly.
    for check, truth in MECHANISMS[name].truth.items():
        assert truth == ABSENT or found[check].verdict in (PRESENT, UNDECIDED)


@pytest.mark.slow
@pytest.mark.parametrize("name", MECHANISMS)
def test_sixty_four_trials_decide_and_rightly(name):
    found = {v.check: v.verdict for v in table.check_trials(small(name, each=64, channels=8))}
    for check, truth in MECHANISMS[name].truth.items():
        wanted = {truth, NOT_TESTED} if name == "walls" else {truth}
        assert found[check] in wanted, (check, found[check])


def test_resonance_of_a_known_oscillator_is_found_and_that_of_noise_is_not():
    rng = np.random.default_rng(0)
    traces = make_trials(rng, 24, 1, lambda c: 2 * np.pi * (0.03 + 0.02 * c), 2.0)
    verdict = resonance_rises(traces, resampling.trial_counts(traces.contrast, 100))
    wanted = [1000 * (0.03 + 0.02 * c) * np.sqrt(1 - 1 / 8) for c in traces.levels]
    np.testing.assert_allclose(verdict.details["hertz"], wanted, rtol=0.06)
    np.testing.assert_allclose(verdict.details["quality"], 2, rtol=0.25)
    assert verdict.verdict == PRESENT and verdict.low < verdict.found < verdict.high
    assert verdict.found == pytest.approx(wanted[-1] - wanted[0], rel=0.15)

    power, frequencies = whittle.periodograms(rng.standard_normal((24, 300)))
    white = whittle.fit_resonance(power.mean(axis=0), frequencies)
    assert white.quality < whittle.LEAST_Q and np.isnan(white.frequency)
    # Noise that alternates has its power at the end of the band: that is no peak inside it.
    power, frequencies = whittle.periodograms(signal.lfilter([1], [1, 0.6], rng.standard_normal((24, 300)), axis=1))
    assert np.isnan(whittle.fit_resonance(power.mean(axis=0), frequencies).frequency)


def test_many_spectra_at_once_are_fitted_as_one_by_one():
    rng = np.random.default_rng(1)
    traces = signal.lfilter([1], [1, -1.6, 0.8], rng.standard_normal((6, 300)), axis=1)
    power, frequencies = whittle.periodograms(traces)
    together = whittle.fit_resonance(power.reshape(2, 3, -1), frequencies)
    alone = [whittle.fit_resonance(each, frequencies).frequency for each in power]
    assert together.frequency.shape == (2, 3)
    np.testing.assert_allclose(together.frequency.ravel(), alone, rtol=1e-3)


def test_peak_of_a_flat_response_is_not_above_it():
    rng = np.random.default_rng(2)
    early = rng.standard_normal((40, 60)) + 3
    counts = np.concatenate([np.ones((1, 40)), rng.multinomial(40, np.full(40, 1 / 40), 50)])
    found = held_out_peak(early, counts, 0)
    assert early.mean(axis=0).max() > 3.2  # what the peak of the mean says
    assert abs(found[0] - 3) < 0.12 and abs(found[1:].mean() - 3) < 0.12
    # A trial drawn twice is in one half only: were it in both, resamples would find peaks of noise.
    bump = np.where(np.arange(60) == 20, 1.0, 0.0)
    assert held_out_peak(early + bump, counts, 0)[0] == pytest.approx(4, abs=0.35)


def test_overshoot_is_found_with_either_sign_and_in_any_unit():
    trials = small("unit oscillators given a step")
    plain = overshoot_grows(trials, resampling.trial_counts(trials.contrast, 60))
    turned = overshoot_grows(
        trials._replace(signals=5000 - 30 * trials.signals), resampling.trial_counts(trials.contrast, 60)
    )
    assert plain.verdict == turned.verdict == PRESENT
    assert turned.found == pytest.approx(plain.found)
    assert plain.found == pytest.approx(1 + np.exp(-np.pi / (2 * 1.5) / np.sqrt(1 - 1 / 9)), abs=0.12)


def test_variance_ratio_is_unbiased_in_resamples_and_walls_are_seen():
    rng = np.random.default_rng(3)
    values = rng.standard_normal((12, 30, 5))
    shown = np.repeat([0, 1], 6)
    values[shown == 1] += 10  # another stimulus, not more variance
    counts = np.concatenate([np.ones((1, 12)), rng.multinomial(6, np.full(6, 1 / 6), 300) @ np.eye(6, 12)])
    found = quenching.variance_over_trials(values[:6], shown[:6], counts[:, :6])
    np.testing.assert_allclose(found[0], values[:6].var(axis=0, ddof=1).mean(axis=0))
    both = quenching.variance_over_trials(values, shown, np.ones((1, 12)))
    assert 0.7 < both.mean() < 1.3
    assert not quenching.at_wall(values).any()
    many = rng.standard_normal((64, 200, 2))
    assert not quenching.at_wall(many).any()
    assert quenching.at_wall(np.clip(many, -1.5, None)).all()
    assert quenching.at_wall(np.where(many > 1.5, 3 - many, many)).all()


def test_phase_consistency_finds_what_is_shared_and_leaves_what_is_driven():
    rng = np.random.default_rng(4)
    shown, weights = np.zeros(40, int), np.ones((1, 40))
    random = np.exp(2j * np.pi * rng.random((40, 3, 4)))
    assert abs(synchrony.phase_consistency(random, weights, shown).mean()) < 0.03
    shared = random[:, :, :1] * np.exp(0.5j * np.arange(4))
    np.testing.assert_allclose(synchrony.phase_consistency(shared, weights, shown), 1, atol=0.1)
    locked = np.ones((40, 3, 4)) + 0j  # the same phase in every trial: what shifted trials show as well
    np.testing.assert_allclose(synchrony.phase_consistency(locked, weights, shown), 0, atol=1e-6)


def test_momentum_is_moved_onto_the_step():
    # Of a unit oscillator without friction s - p follows s by atan(ω) once p is on the step, whatever the step.
    h = 0.4
    omega = 2 * np.arcsin(h / 2) / h
    state, momentum = [1.0], [0.0]
    for _ in range(4000):
        p = momentum[-1] - h * state[-1]
        momentum.append(p)
        state.append(state[-1] + h * p)
    state, momentum = (np.array(each)[None, :, None] for each in (state[:-1], momentum[:-1]))
    gradient = np.concatenate([np.zeros((1, 1, 1)), state[:, :-1]], axis=1)  # recorded as that of the state before
    found = phase.on_step(momentum, gradient, h)
    time = np.arange(found.shape[1])
    turned = np.exp(-1j * omega * h * time)
    lag = np.angle(np.sum(state[0, :-1, 0] * turned) / np.sum((state[0, :-1, 0] - found[0, :, 0]) * turned))
    # p̃ = s' sampled: its amplitude beside s is sin(ωh)/h.
    assert np.degrees(lag) == pytest.approx(np.degrees(np.arctan(np.sin(omega * h) / h)), abs=0.5)


def test_speed_is_right_for_chains_that_are_not_reversible():
    rng = np.random.default_rng(5)
    # A rule that stops at the first negative pair of autocorrelations errs where chains turn.
    slow, fast = mechanisms.rotating_chains(rng, 100, 0.0), mechanisms.rotating_chains(rng, 100, 0.25)
    wanted = [mechanisms.rotation_autocorrelation_time(spin) for spin in (0.0, 0.25)]
    for trials, time in zip((slow, fast), wanted, strict=True):
        found = np.exp(speed.autocorrelation_times(trials, np.ones((1, 200)), trials.levels)[0].mean())
        assert found == pytest.approx(time, rel=0.15)
    verdict = speed.faster_than_reference(fast, slow, resampling.trial_counts(fast.contrast, 100))
    assert verdict.verdict == PRESENT and verdict.low < wanted[0] / wanted[1] < verdict.high
    assert "the energy is not in both" in verdict.reason and verdict.details["energy"] is None
    # Turning leaves the length as it is: the energy ½‖s‖² is sampled as slowly as without.
    both = [each._replace(energy=0.5 * (each.signals**2).sum(axis=2)) for each in (fast, slow)]
    found, low, high = speed.faster_than_reference(*both).details["energy"]
    assert low < 1 < high and high < 0.5 * verdict.low and found == pytest.approx(1, abs=0.3)
    same = speed.faster_than_reference(slow, slow, resampling.trial_counts(slow.contrast, 100))
    assert same.verdict == ABSENT and same.low < 1 < same.high
    other = slow._replace(signals=slow.signals[:, :, :1])
    assert "2 and 1 channels" in speed.faster_than_reference(slow, other).reason


def test_resamples_keep_the_number_of_trials_of_each_contrast():
    contrast = np.repeat([0.0, 0.5, 1.0], [3, 5, 7])
    counts = resampling.trial_counts(contrast, 20, 3)
    assert [set(counts[:, contrast == level].sum(axis=1)) for level in (0, 0.5, 1)] == [{3}, {5}, {7}]
    np.testing.assert_array_equal(counts, resampling.trial_counts(contrast, 20, 3))
    assert resampling.interval(np.array([np.nan] * 5 + [1.0] * 5)) == (-np.inf, np.inf)


def test_undecided_says_how_many_more_trials_would_decide():
    draws = np.random.default_rng(6).normal(1.0, 0.1, 2000)
    verdict = against_threshold("x", 1.0, draws, 0.9, False, "ratio", 20, "ratio")
    # Half width .2 at 20 trials, distance .1: four times the trials, and a tenth more.
    assert verdict.verdict == UNDECIDED and 50 < int(verdict.reason.split("about ")[1].split()[0]) < 80
    assert resampling.trials_needed(20, 0.9, 0.7, 1.1, 0.9) is None
    assert against_threshold("x", 1.0, draws, 0.7, False, "ratio", 20, "ratio").verdict == ABSENT
    assert against_threshold("x", 1.0, draws, 1.5, False, "ratio", 20, "ratio").verdict == PRESENT


def test_differences_are_corrected_for_their_number():
    assert table.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    rng = np.random.default_rng(7)
    draws = rng.normal(0, 1, 400)

    def row(check, found, shift, unit="Hz"):
        return Verdict(check, PRESENT, found, 0, 0, unit, "", draws + shift)

    model = [row("a", 5.0, 5.0), row("b", 1.0, 0.0), row("c", 1.0, 1.0)]
    control = [row("a", 1.0, 1.0), row("b", 1.0, 0.0), row("c", 1.0, 1.0, "Q")]
    found = {each.check: each for each in table.differences(model, control)}
    assert set(found) == {"a", "b"}  # what was measured differently is not compared
    assert found["a"].found == 4 and (found["a"].low, found["a"].high) == pytest.approx((4, 4))  # paired
    assert found["a"].corrected < 0.05 < found["b"].corrected


def network(found, verdict=PRESENT, check="variability_quenched", unit="ratio", **details):
    return {"check": check, "verdict": verdict, "found": found, "unit": unit, "details": details}


def test_networks_are_the_units_where_several_were_trained():
    alike = networks.over_networks("variability_quenched", [network(0.6), network(0.65), network(0.62)])
    assert alike.verdict == PRESENT and alike.reason.startswith("alone present in 3,") and alike.high < 0.9
    # Each network is certain of itself, and they differ: nothing is known of the next one.
    spread = networks.over_networks("variability_quenched", [network(0.3), network(1.3, ABSENT), network(0.8)])
    assert spread.verdict == UNDECIDED and "more networks would decide" in spread.reason
    assert networks.over_networks("variability_quenched", [network(0.6)]).verdict == UNDECIDED
    flat = [network(q, ABSENT, "resonance_rises", "Q") for q in (0.2, 0.3, 0.4)]
    assert networks.over_networks("resonance_rises", flat).verdict == ABSENT
    rising = [network(20.0, PRESENT, "resonance_rises", "Hz", relative_rise=[r, 0, 0]) for r in (0.4, 0.5, 0.6)]
    apart = networks.between_networks("resonance_rises", rising, flat)
    assert apart.verdict == PRESENT and apart.found == pytest.approx(0.5) and apart.low > 0
    assert networks.between_networks("resonance_rises", rising[:2], flat).verdict == NOT_TESTED
    # No effect on phase consistency is absent where nothing worth speaking of is left, and not where it is below 0.
    quiet = [network(v, ABSENT, "synchrony", "phase consistency") for v in (0.001, -0.002, 0.003)]
    assert networks.over_networks("synchrony", quiet).verdict == ABSENT
    assert networks.over_networks("synchrony", [*quiet, network(0.1, check="synchrony")]).verdict == UNDECIDED
    # A ratio over a response that may be 0 is no number: nothing present alone becomes present together.
    weak = {"noise": 1.0, "sustained": [0.1, -0.2]}
    none = [network(r, ABSENT, "overshoot_grows", **weak) for r in (2.7, 2.9, 3.1)]
    unclear = [network(r, UNDECIDED, "overshoot_grows", **weak) for r in (2.7, 2.9, 3.1)]
    assert networks.over_networks("overshoot_grows", none).verdict == ABSENT
    assert networks.over_networks("overshoot_grows", unclear).verdict == NOT_TESTED
    clear = [network(r, PRESENT, "overshoot_grows", noise=1.0, sustained=[1.0, 2.0]) for r in (1.4, 1.5, 1.6)]
    assert networks.over_networks("overshoot_grows", clear).verdict == PRESENT
    # The number of networks that is named does decide.
    values = np.array([1.0, 1.4, 1.2, 0.8])
    needed = 4 + networks.networks_needed(values, 0.9)
    assert networks.student(np.resize(values, needed))[1] > 0.88


def test_verdicts_of_runs_are_read_and_compared(tmp_path, capsys):
    for number, found in enumerate((0.5, 0.6, 0.55)):
        folder = tmp_path / f"run{number}" / "analysis" / "layer1"
        folder.mkdir(parents=True)
        (folder / "checks.json").write_text(json.dumps([network(found)]))
    runs = [str(tmp_path / f"run{number}") for number in range(3)]
    networks.main([*runs, "--against", *runs])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    quenched = [row for row in rows if row["check"] == "variability_quenched"]
    assert [row["verdict"] for row in quenched] == ["present", "undecided"] and quenched[1]["found"] == 0
    assert {row["verdict"] for row in rows if row["check"] == "synchrony"} == {"not tested"}
    with pytest.raises(SystemExit):
        networks.main([str(tmp_path / "other")])
    assert "holds no verdicts; run the stage 'analyse'" in capsys.readouterr().err


def test_residuals_keep_the_variance():
    rng = np.random.default_rng(8)
    values = rng.standard_normal((4000, 5)) + np.repeat([0, 3], 2000)[:, None]
    shown = np.repeat(np.arange(1000), 4)
    assert residuals(values, shown).var() == pytest.approx(1, abs=0.03)


def test_mechanisms_are_what_they_say():
    rng = np.random.default_rng(9)
    trials = make_trials(rng, 30, 2, lambda c: 0.2 + 0 * c, 2.0, drive=lambda c: 2 * c, walls=3.0)
    assert trials.signals.shape == (150, mechanisms.TOTAL, 2) and np.abs(trials.signals).max() <= 3
    free = make_trials(rng, 60, 2, lambda c: 0.2 + 0 * c, 2.0)
    assert free.signals.var() == pytest.approx(1, abs=0.05)


def patches(rng, parallel, orthogonal, drive=(1.0, 1.0), each=16):
    """Cells of three static and three mobile channels whose oscillations share a part in each condition."""
    cells = []
    for _ in range(4):
        parts = []
        for shared in (parallel, orthogonal):
            made = make_trials(rng, each // 4, 6, lambda c: 0.2 + 0 * c, 3.0, shared=lambda c, s=shared: s + 0 * c)
            parts.append(made.signals[: 4 * (each // 4), 350:690])
        static, mobile = (tuple(part[:, :, side] for part in parts) for side in (slice(3), slice(3, 6)))
        numbers = np.arange(3), (np.arange(3, 6), np.arange(3, 6))
        cells.append(collinear.Cell(static, mobile, *numbers, drive))
    return cells


def test_collinear_patches_are_compared_where_both_are_driven():
    rng = np.random.default_rng(10)
    more = collinear.collinear_synchrony(patches(rng, 0.6, 0.0))
    assert more.verdict == PRESENT and more.low > 0 and "1 sd parallel" in more.reason
    assert collinear.collinear_synchrony(patches(rng, 0.0, 0.0)).verdict in (ABSENT, UNDECIDED)
    # Driven in one condition alone: what differs is the drive, and nothing can be said of collinearity.
    alone = collinear.collinear_synchrony(patches(rng, 0.6, 0.0, drive=(1.0, 0.1)))
    assert alone.verdict == NOT_TESTED and "in both conditions" in alone.reason
    assert collinear.collinear_synchrony([]).reason == "no channels prefer the angles of the patches"


def test_collinear_patches_of_tuned_channels_are_told_from_what_drives_them():
    """Sources in common to channels of like orientation are found; one for all, or a rhythm that is evoked, are not."""
    found = {}
    for name, pairing in tuned_patches.PAIRINGS.items():
        if pairing.common in ("like", "unlike") or pairing.wave:
            found[name] = collinear.collinear_synchrony(
                tuned_patches.make_cells(np.random.default_rng(0), pairing, 48), 0
            )
            assert found[name].verdict == pairing.truth, (name, found[name])
            assert "2.1 sd parallel" in found[name].reason
    like, unlike = (next(v for n, v in found.items() if f"to {kind}" in n) for kind in ("like", "unlike"))
    assert like.low > 0 > unlike.high
    still = tuned_patches.common_sources("like")[:8]
    np.testing.assert_allclose((still**2).sum(axis=1), 1)
    assert not tuned_patches.common_sources("none").any()


def test_collinear_patches_under_shuffled_weights_have_no_channels_to_look_at():
    verdict = verdicts._collinear(None, "shuffled_weights")
    assert verdict.verdict == NOT_TESTED and "prefer other angles than the field's" in verdict.reason


def test_rates_count_the_answers():
    found = power.rates("walls", 2, 8, 2)
    assert all(sum(rate.counts) == 2 for rate in found) and {rate.check for rate in found} == set(
        MECHANISMS["walls"].truth
    )
    assert power.Rate("m", "synchrony", ABSENT, (1, 5, 3, 1)).wrong == 1
    assert "| m | channels share a rhythm | absent | 10% | 50% | 30% | 10% | 10% |" in power.row(
        power.Rate("m", "synchrony", ABSENT, (1, 5, 3, 1))
    )
    silent = power.activity_false_positives(neurons=60, periods=power.Periods(20, 200, 200, 100))
    assert silent["today's, p < 0.05"] < silent["the original's, p < 0.05"]
