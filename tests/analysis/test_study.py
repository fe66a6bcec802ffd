"""Sweeps of recorded fields as one experiment: factors, effects, tables; judging itself is in test_verdicts.py."""

import itertools

import numpy as np
import pytest
from scipy import stats

from analysis.checks.networks import UNITS
from analysis.report.figures_study import NAMES, draw_study
from analysis.study import __main__ as command
from analysis.study import tables
from analysis.study.effects import interactions, main_effects
from analysis.study.networks import CHECKS, Network, factors_of, read_networks
from configs.study import scenes
from runtime.errors import ConfigError

SCENES, KINDS = ("natural", "white", "scrambled"), ("additive", "joint")


NUMBERS = itertools.count()


def network(scene="natural", kind="joint", number=0.5, r_hat=1.0, seed=None, **chains):
    """A network of which every check found the same number, with a seed of its own if none is given."""
    seed = str(next(NUMBERS)) if seed is None else seed
    rows = {check: {"verdict": "absent", "unit": "u", "found": number} for check in CHECKS}
    numbers, controls = dict.fromkeys(tables.SHOWN, number), {"langevin": dict.fromkeys(CHECKS, number - 0.5)}
    levels, chains, images = {"name": scene, "mixing": kind}, {"r_hat": r_hat, **chains}, {"held_out": 7.0}
    said = {"langevin": dict.fromkeys(CHECKS, "undecided")}
    return Network(f"{scene}_{kind}", levels, seed, rows, numbers, chains, controls, said, images)


def test_factors_are_the_fields_that_vary_each_once():
    configs = {
        f"{name}_{mixing}_{seed}": {"data.name": name, "mixing": mixing, "width": width, "seed": seed, "rate": 1e-3}
        for name in SCENES
        for mixing, width in (("additive", 9), ("joint", 10))
        for seed in (0, 1)
    }
    factors = factors_of(configs)
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
    effects = {(each.one, each.other): each for each in main_effects(values, levels)}
    assert set(effects) == {("natural", "white"), ("natural", "scrambled"), ("white", "scrambled"), KINDS}
    assert (
        effects["natural", "white"].low < 0.3 < effects["natural", "white"].high and effects["natural", "white"].low > 0
    )
    assert effects[KINDS].high < 0
    # A network of which nothing was measured leaves the rest as it was.
    assert main_effects(np.append(values, np.nan), [*levels, levels[0]])[0].found == pytest.approx(
        effects["natural", "white"].found
    )


def test_main_effects_of_two_groups_are_student():
    one, other = np.array([1.0, 1.4, 1.1]), np.array([0.6, 0.2, 0.5])
    (effect,) = main_effects(np.append(one, other), [{"a": "x"}] * 3 + [{"a": "y"}] * 3)
    span = stats.ttest_ind(one, other).confidence_interval(0.95)
    assert (effect.low, effect.high) == pytest.approx((span.low, span.high))
    assert main_effects(one[:2], [{"a": "x"}, {"a": "y"}]) == []  # no degree of freedom for the error
    assert main_effects(np.full(2, np.nan), [{"a": "x"}] * 2) == []


def test_networks_of_one_seed_are_one_unit():
    """What a seed does to all of its networks is no evidence on their mean, and is taken from what factors do."""
    rng = np.random.default_rng(2)
    noise = {str(seed): rng.standard_normal() for seed in range(4)}
    cells = [(s, k, seed) for s in SCENES for k in KINDS for seed in noise]
    made = [network(s, k, 0.3 * (s == "natural") + noise[seed], seed=seed) for s, k, seed in cells]
    values = np.array([each.numbers["synchrony"] for each in made])
    (effect, *_) = main_effects(values, [each.levels for each in made], [each.seed for each in made])
    assert (effect.low, effect.high) == pytest.approx((0.3, 0.3))
    row = next(line for line in tables._verdicts(made) if line.startswith("| channels share"))
    span = stats.t.interval(0.95, 3, np.mean(values), np.std(list(noise.values()), ddof=1) / 2)
    assert f"{span[0]:.3g} to {span[1]:.3g}" in row and "in 24 of" not in row and "of 24 networks" in row
    text = "\n".join(tables._less_controls(made)["langevin"])
    assert "| 24 |" in text and "**0.5** | 0.5 to 0.5 |" in text and "| 24 undecided |" in text


def test_differences_from_controls_are_corrected_for_all_of_them():
    """Student's test over the means of seeds; its p times the number of differences, and bold by that alone."""
    off = {"langevin": (0.3, 0.1, 0.35, 0.2), "shuffled_weights": (0.3, -0.2, 0.1, -0.3)}
    made = [network(seed=str(seed))._replace(
                controls={control: dict.fromkeys(CHECKS, 0.5 - by[seed]) for control, by in off.items()},
                said={control: dict.fromkeys(CHECKS, "absent") for control in off})
            for seed in range(4) for _ in range(2)]  # fmt: skip
    test, count = stats.ttest_1samp(off["langevin"], 0), 2 * len(CHECKS)
    alone, span = test.pvalue, test.confidence_interval(0.95)
    assert alone < 0.05 < count * alone  # the interval excludes 0, and is one of many
    row = tables._less_controls(made)["langevin"][2]
    assert "**" not in row and f"| 0.237 | {span.low:.3g} to {span.high:.3g} | {count * alone:.2g} | 8 absent |" in row
    found = [each._replace(controls={**each.controls, "langevin": dict.fromkeys(CHECKS, 0.01 * int(each.seed))})
             for each in made]  # fmt: skip
    text = tables._less_controls(found)["langevin"]
    assert f"Holm's of {count}" in text[0] and "| **0.485** |" in text[2]
    assert "**" not in "".join(tables._less_controls(found)["shuffled_weights"])


def test_interactions_are_found_and_taken_apart():
    """A scene that matters to one architecture alone: its effect is given for each."""
    rng = np.random.default_rng(3)
    cells = [(s, k, seed) for s in SCENES for k in KINDS for seed in range(4)]
    made = [network(s, k, (s == "white") * (k == "joint") + 0.1 * rng.standard_normal(), seed=str(seed))
            for s, k, seed in cells]  # fmt: skip
    levels, seeds = [each.levels for each in made], [each.seed for each in made]
    values = np.array([each.numbers["synchrony"] for each in made])
    (found,) = interactions(values, levels, seeds)
    assert found.factors == ("name", "mixing") and found.p_value < 1e-4
    # Of three by two levels the test without blocks is the textbook's: sums of squares of a balanced two-way layout.
    square = values.reshape(3, 2, 4)
    means = square.mean(axis=2)
    both = means - means.mean(axis=0) - means.mean(axis=1)[:, None] + means.mean()
    ratio = 4 * np.sum(both**2) / 2 / (np.sum((square - means[..., None]) ** 2) / 18)
    assert interactions(values, levels)[0].p_value == pytest.approx(stats.f.sf(ratio, 2, 18))
    text = "\n".join(tables._interactions(made))
    inside = [line for line in text.splitlines() if line.startswith("| channels share a rhythm | mixing")]
    assert len(inside) == 6 and sum("**" in line for line in inside) == 2  # white beside the two others, in joint ones
    assert all("mixing joint" in line for line in inside if "**" in line)
    flat = np.array([0.1 * rng.standard_normal() for _ in cells])
    assert interactions(flat, levels, seeds)[0].p_value > 0.01 and interactions(values[:3], levels[:3]) == []


def test_intervals_of_effects_cover_the_truth():
    rng, levels = np.random.default_rng(1), [{"a": a, "b": b} for a in "xyz" for b in "uv" for _ in range(2)]
    covered = [
        each.low < 0 < each.high for _ in range(150) for each in main_effects(rng.standard_normal(12), levels)[:1]
    ]
    assert 0.9 < np.mean(covered) < 0.99  # of 150 draws: .95 ± .018


def test_networks_without_stationary_chains_are_marked_and_judged_apart(tmp_path):
    good = [network(s, k, number) for s in SCENES for k, number in zip(KINDS, (0.2, 0.4), strict=True)]
    bad = [network(number=5.0, r_hat=1.4), network(number=5.0, temperature_1=1.2), network(number=5.0, r_hat=np.nan)]
    assert all(each.stationary for each in good) and not any(each.stationary for each in bad)
    text = tables.page_of([*good, *bad])
    assert text.startswith("9 networks, 6 of them with stationary chains.") and "| 'natural'" not in text
    assert "| natural | joint | 4 (1) |" in text
    alone = text.split("## Verdicts over networks with stationary chains (6)")[1]
    assert "| variability is quenched | 6 | 0.3 | -0.2 | **0.5** |" in alone  # a paired difference, all alike
    assert "| natural | joint | 4 (1) | 3.85 (0.4 to 5); 4 absent | 3.35 (-0.1 to 4.5) |" in text  # and Langevin's
    assert "Split R-hat of the energy is at most 1.400" in text and "within 20.0 % of the set one" in text
    assert "root mean square difference 0.000" in text and "moves the summed state" not in text
    assert "| white | additive | 7 (7 to 7) |" in text and "Gaussian images" not in text  # of the held-out images
    assert "mixing: additive less joint | **-0.2**" in alone and "absent in 6, undecided in 0" in alone
    # Runs that were not trained here, such as one field under many dynamics, have no long chains at all.
    assert "networks with stationary chains (" not in tables.page_of(bad) and "0 of them" in tables.page_of(bad)
    table = tables.table_of([*good, *bad])
    assert list(table["stationary"]) == [True] * 6 + [False] * 3
    draw_study([*good, *bad], CHECKS, tmp_path / "images" / "study.png")
    assert (tmp_path / "images" / "study.png").stat().st_size > 10_000
    assert set(CHECKS) < set(UNITS)


def test_the_figure_names_levels_as_the_study_of_scenes_does():
    named = {("name", value): name for name, value in scenes.DATA.items()}
    named |= {("contrast", str(value)): name for name, value in scenes.CONTRASTS.items()}
    assert named | {("mixing", mixing): name for name, (mixing, _) in scenes.NETWORKS.items()} == NAMES


def test_folders_that_hold_no_study_say_so(tmp_path, capsys):
    with pytest.raises(SystemExit):
        command.main([str(tmp_path)])
    assert "is no folder of a sweep" in capsys.readouterr().err
    (tmp_path / "sweep.json").write_text('{"runs": [{"name": "a"}]}')
    with pytest.raises(ConfigError, match="no run of the sweep in .* has a recording 'contrast_trials'"):
        read_networks(tmp_path)
