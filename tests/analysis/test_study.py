"""Sweeps of recorded fields as one experiment: factors, effects, tables; judging itself is in test_verdicts.py."""

import itertools

import numpy as np
import pytest
from scipy import stats

from analysis import study
from analysis.checks.networks import UNITS
from analysis.report.figures_study import draw_study
from runtime.errors import ConfigError

SCENES, KINDS = ("natural", "white", "scrambled"), ("additive", "joint")


NUMBERS = itertools.count()


def network(scene="natural", kind="joint", number=0.5, r_hat=1.0, seed=None, **chains):
    """A network of which every check found the same number, with a seed of its own if none is given."""
    seed = str(next(NUMBERS)) if seed is None else seed
    rows = {check: {"verdict": "absent", "unit": "u", "found": number} for check in study.CHECKS}
    numbers = dict.fromkeys((*study.CHECKS, *study.BESIDE), number)
    levels, slow = {"name": scene, "mixing": kind}, dict.fromkeys(study.CHECKS, number - 0.5)
    return study.Network(f"{scene}_{kind}", levels, seed, rows, numbers, {"r_hat": r_hat, **chains}, slow)


def test_factors_are_the_fields_that_vary_each_once():
    configs = {
        f"{name}_{mixing}_{seed}": {"data.name": name, "mixing": mixing, "width": width, "seed": seed, "rate": 1e-3}
        for name in SCENES
        for mixing, width in (("additive", 9), ("joint", 10))
        for seed in (0, 1)
    }
    factors = study.factors_of(configs)
    assert factors["white_joint_1"] == {
        "name": "white",
        "mixing": "joint",
    }  # the width says nothing the mixing does not


def test_main_effects_find_what_was_planted():
    rng = np.random.default_rng(0)
    cells = list(itertools.product(SCENES, KINDS, range(6)))
    planted = {"natural": 0.3, "white": 0.0, "scrambled": 0.0, "additive": 0.0, "joint": 0.2}
    values = np.array([planted[s] + planted[k] + 0.05 * rng.standard_normal() for s, k, _ in cells])
    levels = [{"name": s, "mixing": k} for s, k, _ in cells]
    effects = {(each.one, each.other): each for each in study.main_effects(values, levels)}
    assert set(effects) == {("natural", "white"), ("natural", "scrambled"), ("white", "scrambled"), KINDS}
    assert (
        effects["natural", "white"].low < 0.3 < effects["natural", "white"].high and effects["natural", "white"].low > 0
    )
    assert effects[KINDS].high < 0
    # A network of which nothing was measured leaves the rest as it was.
    assert study.main_effects(np.append(values, np.nan), [*levels, levels[0]])[0].found == pytest.approx(
        effects["natural", "white"].found
    )


def test_main_effects_of_two_groups_are_student():
    one, other = np.array([1.0, 1.4, 1.1]), np.array([0.6, 0.2, 0.5])
    (effect,) = study.main_effects(np.append(one, other), [{"a": "x"}] * 3 + [{"a": "y"}] * 3)
    span = stats.ttest_ind(one, other).confidence_interval(0.95)
    assert (effect.low, effect.high) == pytest.approx((span.low, span.high))
    assert study.main_effects(one[:2], [{"a": "x"}, {"a": "y"}]) == []  # no degree of freedom for the error
    assert study.main_effects(np.full(2, np.nan), [{"a": "x"}] * 2) == []


def test_networks_of_one_seed_are_one_unit():
    """What a seed does to all of its networks is no evidence on their mean, and is taken from what factors do."""
    rng = np.random.default_rng(2)
    noise = {str(seed): rng.standard_normal() for seed in range(4)}
    cells = [(s, k, seed) for s in SCENES for k in KINDS for seed in noise]
    made = [network(s, k, 0.3 * (s == "natural") + noise[seed], seed=seed) for s, k, seed in cells]
    values = np.array([each.numbers["synchrony"] for each in made])
    (effect, *_) = study.main_effects(values, [each.levels for each in made], [each.seed for each in made])
    assert (effect.low, effect.high) == pytest.approx((0.3, 0.3))
    row = next(line for line in study._verdicts(made) if line.startswith("| channels share"))
    span = stats.t.interval(0.95, 3, np.mean(values), np.std(list(noise.values()), ddof=1) / 2)
    assert f"{span[0]:.3g} to {span[1]:.3g}" in row and "in 24 of" not in row and "of 24 networks" in row
    text = "\n".join(study._less_control(made))
    assert "| 24 |" in text and "**0.5** | 0.5 to 0.5 |" in text


def test_intervals_of_effects_cover_the_truth():
    rng, levels = np.random.default_rng(1), [{"a": a, "b": b} for a in "xyz" for b in "uv" for _ in range(2)]
    covered = [
        each.low < 0 < each.high for _ in range(150) for each in study.main_effects(rng.standard_normal(12), levels)[:1]
    ]
    assert 0.9 < np.mean(covered) <= 1


def test_networks_without_stationary_chains_are_marked_and_judged_apart(tmp_path):
    good = [network(s, k, number) for s in SCENES for k, number in zip(KINDS, (0.2, 0.4), strict=True)]
    bad = [network(number=5.0, r_hat=1.4), network(number=5.0, temperature_1=1.2), network(number=5.0, r_hat=np.nan)]
    assert all(each.stationary for each in good) and not any(each.stationary for each in bad)
    text = study.page_of([*good, *bad])
    assert text.startswith("9 networks, 6 of them with stationary chains.") and "| 'natural'" not in text
    assert "| natural | joint | 4 (1) |" in text
    alone = text.split("## Verdicts over networks with stationary chains (6)")[1]
    assert "| variability is quenched | 6 | 0.3 | -0.2 | **0.5** |" in alone  # a paired difference, all alike
    assert "3.85 (0.4–5) |" in text  # the span of the kurtosis in a cell
    assert "mixing: additive less joint | **-0.2**" in alone and "absent in 6, undecided in 0" in alone
    # Runs that were not trained here, such as one field under many dynamics, have no long chains at all.
    assert "networks with stationary chains (" not in study.page_of(bad) and "0 of them" in study.page_of(bad)
    table = study.table_of([*good, *bad])
    assert list(table["stationary"]) == [True] * 6 + [False] * 3
    draw_study([*good, *bad], study.CHECKS, tmp_path / "images" / "study.png")
    assert (tmp_path / "images" / "study.png").stat().st_size > 10_000
    assert set(study.CHECKS) < set(UNITS)


def test_folders_that_hold_no_study_say_so(tmp_path, capsys):
    with pytest.raises(SystemExit):
        study.main([str(tmp_path)])
    assert "is no folder of a sweep" in capsys.readouterr().err
    (tmp_path / "sweep.json").write_text('{"runs": [{"name": "a"}]}')
    with pytest.raises(ConfigError, match="no run of the sweep in .* has a recording 'contrast_trials'"):
        study.read_networks(tmp_path)
