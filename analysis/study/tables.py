"""Tables of a study: a row a network, and a page of what networks, seeds, controls and factors say."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.checks.networks import by_seed, over_networks, p_of_zero, student
from analysis.checks.table import holm
from analysis.study.effects import Effect, interactions, main_effects
from analysis.study.networks import BESIDE, CHECKS, CONTROLS, LEARNED, PREDICTED, RESPONSE, SEED, Network, read_networks
from runtime.files import atomic_write, write_text

TABLE, PAGE, FIGURE = "study.csv", "study.md", "images/study.png"
SHOWN = CHECKS | BESIDE
# What long chains draw beside held-out images, and images that are Gaussian in the field's coordinates.
LEARNT = {
    "kurtosis of Gabor responses, long chains": (lambda each: each.chains, LEARNED),
    "held-out images": (lambda each: each.images, "held_out"),
    "Gaussian images": (lambda each: each.images, "gaussian"),
    "distance of amplitude spectra, long chains from held-out images": (lambda each: each.chains, "spectrum"),
    "standard deviation of pixels over theirs": (lambda each: each.chains, "sd"),
}
FEW = ["too few networks for intervals"]


def write_study(folder: str | pathlib.Path) -> list[pathlib.Path]:
    """Write tables and figure of a sweep; returns their paths."""
    from analysis.report.figures_study import draw_study

    folder, networks = pathlib.Path(folder), read_networks(folder)
    with atomic_write(folder / TABLE) as path:
        table_of(networks).to_csv(path, index=False)
    write_text(folder / PAGE, page_of(networks))
    draw_study(networks, SHOWN, folder / FIGURE)
    return [folder / name for name in (TABLE, PAGE, FIGURE)]


def table_of(networks: Sequence[Network]) -> pd.DataFrame:
    """A row a network."""
    return pd.DataFrame([
        {"network": each.name, **each.levels, SEED: each.seed, "stationary": each.stationary, **each.chains,
         **{f"{check}: verdict": each.rows[check]["verdict"] for check in CHECKS}, **each.numbers,
         **{f"{check}, {control}": number for control, numbers in each.controls.items()
            for check, number in numbers.items()},
         **{f"{LEARNED}, {kind}": number for kind, number in each.images.items()}}
        for each in networks
    ])  # fmt: skip


def page_of(networks: Sequence[Network]) -> str:
    """The tables, as Markdown."""
    good = [each for each in networks if each.stationary]
    lines = [*_head(networks, len(good)), "", "## Cells", "", *_cells(networks)]
    if _seeds(networks) is not None:
        lines += ["", "## Seeds", "", *_by_seed(networks)]
    shown = [(networks, "all networks"), (good, "networks with stationary chains")]
    for chosen, title in shown if 0 < len(good) < len(networks) else shown[:1]:
        title = f"{title} ({len(chosen)})"
        lines += ["", f"## Verdicts over {title}", "", *_verdicts(chosen)]
        for control, table in _less_controls(chosen).items():
            lines += ["", f"## Less the same network under {CONTROLS[control]}, {title}", "", *table]
        lines += ["", f"## Effects of the factors, {title}", "", *_effects(chosen)]
        lines += ["", f"## Interactions of the factors, {title}", "", *_interactions(chosen)]
    return "\n".join(lines) + "\n"


def _head(networks: Sequence[Network], good: int) -> Iterator[str]:
    r_hat = [each.chains["r_hat"] for each in networks if "r_hat" in each.chains]
    yield f"{len(networks)} networks, {good} of them with stationary chains."
    if r_hat:
        error = max(each.temperature_error for each in networks)
        yield (f"Split R-hat of the energy is at most {max(r_hat):.3f}, the kinetic temperature of a layer within "
               f"{100 * error:.1f} % of the set one.")  # fmt: skip
    saddles = sum(not np.isfinite(each.numbers[PREDICTED]) for each in networks)
    if 0 < saddles < len(networks):
        yield f"In {saddles} the mean state at the lowest or the highest contrast is no minimum: no variance predicted."
    yield from _quenching(networks)
    shown = {name: one for name, one in LEARNT.items() if any(one[1] in one[0](each) for each in networks)}
    if shown:
        heads = [*networks[0].levels, *shown]
        yield from ("", "## What was learned", "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads))
        for levels, cell in _by_levels(networks):
            found = [_spread([part(each).get(key, np.nan) for each in cell]) for part, key in shown.values()]
            yield f"| {' | '.join([*levels, *found])} |"


def _quenching(networks: Sequence[Network]) -> Iterator[str]:
    """What a fall of variance goes with: changes of the mean, the prediction of curvature, the size of the response."""
    matched = [(each.rows["variability_quenched"].get("details") or {}).get("matched") for each in networks]
    if any(each is not None for each in matched):
        yield f"Quenching is matched for the mean in {matched.count(True)}, in {matched.count(False)} it cannot be."
    pairs = np.array([[each.numbers[PREDICTED], each.numbers["variability_quenched"]] for each in networks])
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if len(pairs) > 2 and pairs.std(axis=0).min() > 0:
        error = np.sqrt(np.mean((pairs[:, 0] - pairs[:, 1]) ** 2))
        yield (f"Variance ratios predicted and measured correlate by {np.corrcoef(pairs.T)[0, 1]:.2f} over "
               f"{len(pairs)} networks, root mean square difference {error:.3f}.")  # fmt: skip
    for name, part in {"fields": None, **{name: control for control, name in CONTROLS.items()}}.items():
        found = [each.controls.get(part, {}) if part else each.numbers for each in networks]
        pairs = np.array([[each.get(RESPONSE, np.nan), each.get("variability_quenched", np.nan)] for each in found])
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        if len(pairs) > 2 and pairs.std(axis=0).min() > 0:
            yield (f"By how many standard deviations the strongest stimulus moves the summed state, {name}: "
                   f"{_spread(pairs[:, 0])}; over {len(pairs)} networks the variance ratio correlates with it by "
                   f"{np.corrcoef(pairs.T)[0, 1]:.2f}.")  # fmt: skip


def _by_levels(networks: Sequence[Network]) -> list[tuple[tuple[str, ...], list[Network]]]:
    keys = dict.fromkeys(tuple(each.levels.values()) for each in networks)
    return [(key, [each for each in networks if tuple(each.levels.values()) == key]) for key in keys]


def _cells(networks: Sequence[Network]) -> Iterator[str]:
    """A table for each number: mean and range over the networks of a cell, and the same under controls."""
    controls = [control for control in CONTROLS if any(control in each.controls for each in networks)]
    for key, name in SHOWN.items():
        beside = controls if key in CHECKS else []
        heads = [*networks[0].levels, "networks (stationary)", name, *(CONTROLS[each] for each in beside)]
        yield from ("", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads))
        for levels, cell in _by_levels(networks):
            found = _spread([each.numbers[key] for each in cell])
            if key in CHECKS:
                found += f"; {_count(each.rows[key]['verdict'] for each in cell)}"
            parts = [f"{len(cell)} ({sum(each.stationary for each in cell)})", found]
            parts += [_spread([each.controls.get(c, {}).get(key, np.nan) for each in cell]) for c in beside]
            yield f"| {' | '.join([*levels, *parts])} |"


def _by_seed(networks: Sequence[Network]) -> Iterator[str]:
    seeds = list(dict.fromkeys(each.seed for each in networks))
    yield f"| number | {' | '.join(f'seed {seed}' for seed in seeds)} |"
    yield "|" + "---|" * (len(seeds) + 1)
    for key, name in SHOWN.items():
        cells = [_spread([each.numbers[key] for each in networks if each.seed == seed]) for seed in seeds]
        yield f"| {name} | {' | '.join(cells)} |"


def _verdicts(networks: Sequence[Network]) -> list[str]:
    lines = ["| check | verdict | number | 95 % | why |", "|---|---|---|---|---|"]
    for check, name in CHECKS.items():
        rows = [{**each.rows[check], "check": check} for each in networks]
        row = over_networks(check, rows, _seeds(networks)).line()
        span = "–" if row["low"] is None else f"{row['low']:.3g} to {row['high']:.3g}"
        number = "–" if row["found"] is None else f"{row['found']:.3g} {row['unit']}"
        lines.append(f"| {name} | **{row['verdict']}** | {number} | {span} | {row['reason']} |")
    for key, name in BESIDE.items():
        values = by_seed(np.array([each.numbers[key] for each in networks]), _seeds(networks))
        if values.size > 2:
            found, low, high = student(values)
            lines.append(f"| {name} | – | {found:.3g} | {low:.3g} to {high:.3g} | no check |")
    return lines


def _less_controls(networks: Sequence[Network]) -> dict[str, list[str]]:
    """A table of paired differences over seeds for each control that was recorded.

    Bold: Holm's p, over all differences from all controls, is below .05.  A network of which one of the two numbers was
    not measured is left out.
    """
    seeds, found = _seeds(networks), {}
    recorded = [control for control in CONTROLS if any(control in each.controls for each in networks)]
    for control, check in itertools.product(recorded, CHECKS):
        numbers = [(each.numbers[check], each.controls.get(control, {}).get(check, np.nan)) for each in networks]
        pairs = np.array(numbers)
        units = by_seed(pairs[:, 0] - pairs[:, 1], seeds)
        if units.size > 2:
            found[control, check] = pairs[np.isfinite(pairs).all(axis=1)], units
    corrected = holm([p_of_zero(units) for _, units in found.values()])
    tables = {control: [f"| check | networks | field | {name} | difference | 95 % | p, Holm's of {len(found)} | "
                        f"alone, {name} |", "|---|---|---|---|---|---|---|---|"]
              for control, name in CONTROLS.items() if control in recorded}  # fmt: skip
    for ((control, check), (pairs, units)), p in zip(found.items(), corrected, strict=True):
        difference, low, high = student(units)
        mark = "**" if p < 0.05 else ""
        alone = _count(each.said[control][check] for each in networks if control in each.said)
        tables[control].append(
            f"| {CHECKS[check]} | {len(pairs)} | {pairs[:, 0].mean():.3g} | {pairs[:, 1].mean():.3g} | "
            f"{mark}{difference:.3g}{mark} | {low:.3g} to {high:.3g} | {p:.2g} | {alone} |"
        )
    return {control: lines if len(lines) > 2 else FEW for control, lines in tables.items()}


def _effects(networks: Sequence[Network]) -> list[str]:
    """Bold: Holm's p, over all effects of the table, is below .05."""
    found = [(name, effect) for key, name in SHOWN.items() for effect in main_effects(*_model(networks, key))]
    corrected = holm([effect.p_value for _, effect in found])
    lines = [f"| number | factor | difference | 95 % | p, Holm's of {len(found)} |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {_difference(effect, p)} | {p:.2g} |" for (name, effect), p in zip(found, corrected, strict=True)
    ]
    return lines if found else FEW


def _interactions(networks: Sequence[Network]) -> list[str]:
    """The tests of all pairs of factors; where one is significant, what each factor does at the other's levels."""
    found = [(key, each) for key in SHOWN for each in interactions(*_model(networks, key))]
    corrected = holm([each.p_value for _, each in found])
    lines = [f"| number | factors | p | Holm's of {len(found)} |", "|---|---|---|---|"]
    inside = ["| number | where | factor | difference | 95 % |", "|---|---|---|---|---|"]
    for (key, each), p in zip(found, corrected, strict=True):
        lines.append(f"| {SHOWN[key]} | {' × '.join(each.factors)} | {each.p_value:.2g} | {p:.2g} |")
        for factor, other in itertools.permutations(each.factors) if p < 0.05 else ():
            for level in dict.fromkeys(network.levels[other] for network in networks):
                chosen = [network for network in networks if network.levels[other] == level]
                inside += [f"| {SHOWN[key]} | {other} {level} | {_difference(effect, effect.p_value)} |"
                           for effect in main_effects(*_model(chosen, key)) if effect.factor == factor]  # fmt: skip
    return [*lines, *(["", *inside] if len(inside) > 2 else [])] if found else FEW


def _model(networks: Sequence[Network], key: str):
    values = np.array([each.numbers[key] for each in networks], float)
    # A factor of which these networks have one level alone is none.
    varied = [factor for factor in networks[0].levels if len({each.levels[factor] for each in networks}) > 1]
    return values, [{factor: each.levels[factor] for factor in varied} for each in networks], _seeds(networks)


def _difference(effect: Effect, p: float) -> str:
    mark = "**" if p < 0.05 else ""
    return (f"{effect.factor}: {effect.one} less {effect.other} | {mark}{effect.found:.3g}{mark} | "
            f"{effect.low:.3g} to {effect.high:.3g}")  # fmt: skip


def _seeds(networks: Sequence[Network]) -> list[str] | None:
    """The seeds, where networks share any."""
    seeds = [each.seed for each in networks]
    return seeds if len(set(seeds)) < len(seeds) else None


def _count(verdicts: Iterable[str]) -> str:
    words = list(verdicts)
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))


def _spread(values: Sequence[float]) -> str:
    """Mean (range) of the finite values."""
    known = [value for value in values if np.isfinite(value)]
    return f"{np.mean(known):.3g} ({min(known):.3g} to {max(known):.3g})" if known else "–"
