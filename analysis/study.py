"""A sweep of recorded fields as one experiment: every network is a unit, every field that varies a factor.

    python -m analysis.study FOLDER            (or the stage `study` of launch.py)

judges the recording of `contrast_trials` of every run below a sweep's folder that has one, and leaves in FOLDER

    study.csv           a row a network: its factors, its long chains, verdict and number of each check
    study.md            tables: networks of each cell, verdicts over networks, effects of the factors
    images/study.png    the numbers of all networks

A check gives each network one number (see `checks.networks`): a rise of the resonance over the mean frequency, 0
without one; the overshoot ratio; variance during over before; phase consistency; the speed-up over Langevin dynamics.
To them comes what the curvature of the energy says without any recording: by how much the stiffest and the median
direction change from the lowest to the highest contrast, and what was learned at all: the kurtosis of the responses of
Gabors to what long chains draw.  The effect of a factor is that of its levels in the linear model of main effects over
all networks, with Student's interval.  Networks of one seed share patches, first weights and the noise of their
recordings: seeds are a block of that model, and means over networks have intervals over the means of seeds.  Every
number is also compared with that of the same network under Langevin dynamics: what is there without inertia is no
effect of the dynamics, and may come from the estimator.  Fields whose long chains do not agree are no samplers of
anything: they are marked, and the tables are made without them as well.
"""

from __future__ import annotations

import argparse
import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from analysis.checks.networks import UNITS, by_seed, number_of, over_networks, student
from analysis.checks.table import NAMES, check_trials
from analysis.load import NotTestable, open_experiment
from analysis.steps.trials import physical_step, trials_of
from recordings import names
from recordings.format import RecordingError, mark_files
from recordings.periods import TimeScale
from recordings.reading import list_recordings, recording_folder
from runtime.config import flatten, read_config
from runtime.errors import ConfigError, clear_errors
from runtime.files import atomic_write, write_json, write_text
from runtime.metrics import METRICS, read_metrics
from runtime.sweeps import read_sweep

JUDGED = "judged.json"  # in a run's folder: its rows, kept while its recordings stay as they are
TABLE, PAGE, FIGURE = "study.csv", "study.md", "images/study.png"
SEED = "seed"
MOST_R_HAT = 1.1  # of the energy, chains from noise and from data together
MOST_TEMPERATURE_ERROR = 0.05
MEDIAN, STIFFEST = "median curvature", "highest curvature"
LEARNED, PREDICTED = "kurtosis", "predicted variance"
# What is measured beside the checks, with its name.
BESIDE = {MEDIAN: f"change of the {MEDIAN}", STIFFEST: f"change of the {STIFFEST}",
          PREDICTED: "variance ratio predicted from curvature", LEARNED: "kurtosis of Gabor responses"}  # fmt: skip
CHECKS = {name: NAMES[name] for name in UNITS if name != "collinear_synchrony"}


class Network(NamedTuple):
    """One trained and recorded field."""

    name: str  # of its run
    levels: dict[str, str]  # factor: level
    seed: str
    rows: dict[str, dict[str, Any]]  # check: its row, as in checks.json
    numbers: dict[str, float]  # of the checks, the curvature and what was learned; NaN where nothing was measured
    chains: dict[str, float]  # what long chains at the end of training showed
    control: dict[str, float]  # the numbers of the checks under Langevin dynamics, {} where that was not recorded

    @property
    def stationary(self) -> bool:
        """Whether long chains from noise and from data agree, at the set temperature."""
        wrong = [abs(value - 1) for key, value in self.chains.items() if key.startswith("temperature")]
        return self.chains.get("r_hat", np.nan) <= MOST_R_HAT and max(wrong, default=0) <= MOST_TEMPERATURE_ERROR


class Effect(NamedTuple):
    """Mean of a number at one level of a factor less that at another, other factors alike."""

    factor: str
    one: str
    other: str
    found: float
    low: float  # 95 %
    high: float


def read_networks(folder: str | pathlib.Path) -> list[Network]:
    """Judge all recorded runs of a sweep, or read what was judged before.

    Raises:
        ConfigError: it is no folder of a sweep, or no run of it was recorded.
    """
    folder = pathlib.Path(folder)
    runs = [run["name"] for run in read_sweep(folder)["runs"]]
    recorded = [name for name in runs if names.TRIALS in list_recordings(folder / name)]
    if not recorded:
        raise ConfigError(f"no run of the sweep in {folder} has a recording '{names.TRIALS}'; run the stage 'record'")
    configs = {name: flatten(read_config(folder / name)) for name in recorded}
    levels = factors_of(configs)
    found = []
    for name in recorded:
        try:
            rows, slow = judge_run(folder / name)
        except NotTestable as error:
            raise ConfigError(f"{folder / name}: {error}") from None
        except RecordingError as error:  # it is being recorded, or was broken off
            print(f"left out: {error}")
            continue
        chains = read_chains(folder / name)
        numbers = {check: number_of(rows[check]) for check in CHECKS} | read_curvature(folder / name)
        numbers[LEARNED] = chains.get(LEARNED, np.nan)
        control = {check: number_of(slow[check]) for check in CHECKS if check in slow}
        found.append(Network(name, levels[name], str(configs[name][SEED]), rows, numbers, chains, control))
    if not found:
        raise ConfigError(f"no recording of the sweep in {folder} is finished; run the stage 'record'")
    return found


def factors_of(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """{run: {factor: level}} of the fields in which runs differ, seeds left out.

    A field that always changes together with another says nothing new, and is left out; factors are called after the
    last part of their field.
    """
    first = next(iter(configs.values()))
    columns = {field: [repr(config.get(field)) for config in configs.values()] for field in first if field != SEED}
    kept: dict[str, list[str]] = {}
    for field, values in columns.items():
        if field.split(".")[0] == "sweep" or len(set(values)) == 1:
            continue
        pattern = [values.index(value) for value in values]
        if not any([other.index(value) for value in other] == pattern for other in kept.values()):
            kept[field] = values
    return {name: {field.split(".")[-1]: str(config[field]) for field in kept} for name, config in configs.items()}


def judge_run(folder: pathlib.Path) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Rows of the checks of one run, and the same under Langevin dynamics ({} where that was not recorded).

    They are read from the run's folder where its recordings are those that were judged.
    """
    marks = [mark for name in list_recordings(folder) for mark in mark_files(recording_folder(folder, name))]
    recorded = sorted(f"{mark.parent.name}/{mark.name}: {mark.read_text()}" for mark in marks)
    path = folder / JUDGED
    if path.exists():
        before = json.loads(path.read_text())
        if before["recorded"] == recorded and "control" in before:
            return before["rows"], before["control"]
    experiment, reference = open_experiment(folder, names.TRIALS), None
    slow = names.of_control(names.TRIALS, names.LANGEVIN)
    step = physical_step(experiment.about.get("sampler", {}), experiment.layer)
    if slow in list_recordings(folder):
        reference = trials_of(open_experiment(folder, slow), TimeScale(), step)
    rows = _rows(check_trials(trials_of(experiment, TimeScale()), reference))
    control = {} if reference is None else _rows(check_trials(reference))
    write_json(path, {"recorded": recorded, "rows": rows, "control": control}, indent=1)
    return rows, control


def _rows(verdicts) -> dict[str, dict[str, Any]]:
    rows = {each.check: {**each.line(), "details": each.details} for each in verdicts}
    return json.loads(json.dumps(rows, default=_plain))


def read_curvature(folder: pathlib.Path) -> dict[str, float]:
    """What the curvature at the highest contrast says beside that at the lowest; NaN without predictions.

    Returns:
        Relative changes of the median and the highest curvature, and the ratio of the variances of a place's summed
        state that linear response predicts (NaN where the mean state is no minimum).
    """
    path = folder / names.PREDICTIONS
    if not path.exists():
        return {MEDIAN: np.nan, STIFFEST: np.nan, PREDICTED: np.nan}
    table = json.loads(path.read_text())
    curvature = np.array(table["modes"]["step_curvature"], float)
    change = curvature[-1] / curvature[0] - 1
    place = next((signal for name, signal in table.get("signals", {}).items() if name.endswith("/site")), {})
    variance = np.array(place.get("variance", [np.nan]), float)
    ratio = variance[-1] / variance[0] if min(variance[-1], variance[0]) > 0 else np.nan
    return {MEDIAN: float(change[1]), STIFFEST: float(change[2]), PREDICTED: float(ratio)}


def read_chains(folder: pathlib.Path) -> dict[str, float]:
    """What long chains at the end of training showed: R-hat, spectrum, kurtosis, temperature of each layer over T."""
    if not (folder / METRICS).exists():
        return {}
    last = read_metrics(folder).ffill().iloc[-1]
    found = {"r_hat": last.get("chains/r_hat/energy"), "spectrum": last.get("samples/spectrum_distance")}
    found[LEARNED] = last.get("chains/pooled/gabor_kurtosis")
    found |= {key.split("/")[1] + "_" + key.split("_")[-1]: value for key, value in last.items()
              if key.startswith("chains/temperature/")}  # fmt: skip
    return {key: float(value) for key, value in found.items() if value is not None}


def main_effects(
    values: np.ndarray, levels: Sequence[Mapping[str, str]], blocks: Sequence[str] | None = None
) -> list[Effect]:
    """Differences between the levels of every factor in the linear model of main effects, Student's 95 % intervals.

    Args:
        values: (networks,) one number each; NaN is left out.
        levels: of each network, {factor: level}.
        blocks: of each network, what it shares with others beside its levels, such as a seed; None for nothing.

    Returns:
        One effect for each pair of levels of each factor; none where no degree of freedom is left for the error, or a
        level has no network.
    """
    kept = np.isfinite(values)
    values, levels = np.asarray(values, float)[kept], [each for each, keep in zip(levels, kept, strict=True) if keep]
    if not levels:
        return []
    names_of = {factor: list(dict.fromkeys(each[factor] for each in levels)) for factor in levels[0]}
    columns, places = [np.ones(len(values))], {}
    if blocks is not None:
        shared = [block for block, keep in zip(blocks, kept, strict=True) if keep]
        columns += [np.array([each == block for each in shared], float) for block in list(dict.fromkeys(shared))[1:]]
    for factor, known in names_of.items():
        for level in known[1:]:
            places[factor, level] = len(columns)
            columns.append(np.array([each[factor] == level for each in levels], float))
    design = np.stack(columns, axis=1)
    free = len(values) - design.shape[1]
    if free < 1 or np.linalg.matrix_rank(design) < design.shape[1]:
        return []
    inverse = np.linalg.inv(design.T @ design)
    fitted = inverse @ design.T @ values
    error = np.sum((values - design @ fitted) ** 2) / free
    found = []
    for factor, known in names_of.items():
        for one, other in itertools.combinations(known, 2):
            contrast = np.zeros(design.shape[1])
            for level, sign in ((one, 1.0), (other, -1.0)):
                if (factor, level) in places:
                    contrast[places[factor, level]] = sign
            difference = float(contrast @ fitted)
            half = float(stats.t.ppf(0.975, free) * np.sqrt(error * contrast @ inverse @ contrast))
            found.append(Effect(factor, one, other, difference, difference - half, difference + half))
    return found


def table_of(networks: Sequence[Network]) -> pd.DataFrame:
    """A row a network."""
    return pd.DataFrame([
        {"network": each.name, **each.levels, SEED: each.seed, "stationary": each.stationary, **each.chains,
         **{f"{check}: verdict": each.rows[check]["verdict"] for check in CHECKS}, **each.numbers}
        for each in networks
    ])  # fmt: skip


def page_of(networks: Sequence[Network]) -> str:
    """The tables, as Markdown."""
    good = [each for each in networks if each.stationary]
    lines = [f"{len(networks)} networks, {len(good)} of them with stationary chains.", "", *_cells(networks)]
    shown = [(networks, "all networks"), (good, "networks with stationary chains")]
    for chosen, title in shown if 0 < len(good) < len(networks) else shown[:1]:
        lines += ["", f"## Verdicts over {title} ({len(chosen)})", "", *_verdicts(chosen)]
        lines += ["", f"## Less the same network under Langevin dynamics, {title} ({len(chosen)})", ""]
        lines += _less_control(chosen)
        lines += ["", f"## Effects of the factors, {title} ({len(chosen)})", "", *_effects(chosen)]
    return "\n".join(lines) + "\n"


def _cells(networks: Sequence[Network]) -> list[str]:
    factors = list(networks[0].levels)
    lines = [f"| {' | '.join(factors)} | networks (stationary) | R-hat | "
             + " | ".join([*CHECKS.values(), *BESIDE.values()]) + " |"]  # fmt: skip
    lines.append("|" + "---|" * (len(factors) + 2 + len(CHECKS) + len(BESIDE)))
    for levels in dict.fromkeys(tuple(each.levels.values()) for each in networks):
        cell = [each for each in networks if tuple(each.levels.values()) == levels]
        r_hat = [each.chains.get("r_hat", np.nan) for each in cell]
        parts = [f"{len(cell)} ({sum(each.stationary for each in cell)})", f"{min(r_hat):.2f}–{max(r_hat):.2f}"]
        for check in CHECKS:
            words = [each.rows[check]["verdict"] for each in cell]
            said = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
            parts.append(f"{_mean([each.numbers[check] for each in cell])} ({said})")
        parts += [_mean([each.numbers[key] for each in cell]) for key in (MEDIAN, STIFFEST, PREDICTED)]
        kurtosis = [each.numbers[LEARNED] for each in cell]
        parts.append(f"{_mean(kurtosis)} ({min(kurtosis):.3g}–{max(kurtosis):.3g})")
        lines.append(f"| {' | '.join([*levels, *parts])} |")
    return lines


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


def _less_control(networks: Sequence[Network]) -> list[str]:
    """Paired differences; a network of which one of the two numbers was not measured is left out."""
    lines = ["| check | networks | field | Langevin | difference | 95 % |", "|---|---|---|---|---|---|"]
    seeds = _seeds(networks)
    for check, name in CHECKS.items():
        pairs = np.array([[each.numbers[check], each.control.get(check, np.nan)] for each in networks])
        units = by_seed(pairs[:, 0] - pairs[:, 1], seeds)
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        if units.size > 2:
            found, low, high = student(units)
            mark = "**" if low > 0 or high < 0 else ""
            lines.append(f"| {name} | {len(pairs)} | {pairs[:, 0].mean():.3g} | {pairs[:, 1].mean():.3g} | "
                         f"{mark}{found:.3g}{mark} | {low:.3g} to {high:.3g} |")  # fmt: skip
    return lines if len(lines) > 2 else ["too few networks for intervals"]


def _effects(networks: Sequence[Network]) -> list[str]:
    lines = ["| number | factor | difference | 95 % |", "|---|---|---|---|"]
    for key, name in {**CHECKS, **BESIDE}.items():
        values = np.array([each.numbers[key] for each in networks], float)
        for effect in main_effects(values, [each.levels for each in networks], _seeds(networks)):
            mark = "**" if effect.low > 0 or effect.high < 0 else ""
            lines.append(f"| {name} | {effect.factor}: {effect.one} less {effect.other} | "
                         f"{mark}{effect.found:.3g}{mark} | {effect.low:.3g} to {effect.high:.3g} |")  # fmt: skip
    return lines if len(lines) > 2 else ["too few networks for intervals"]


def _seeds(networks: Sequence[Network]) -> list[str] | None:
    """The seeds, where networks share any."""
    seeds = [each.seed for each in networks]
    return seeds if len(set(seeds)) < len(seeds) else None


def _mean(values: Sequence[float]) -> str:
    known = [value for value in values if np.isfinite(value)]
    return f"{np.mean(known):.3g}" if known else "–"


def _plain(value: Any) -> Any:
    return value.tolist()


def write_study(folder: str | pathlib.Path) -> list[pathlib.Path]:
    """Write tables and figure of a sweep; returns their paths."""
    from analysis.report.figures_study import draw_study

    folder, networks = pathlib.Path(folder), read_networks(folder)
    with atomic_write(folder / TABLE) as path:
        table_of(networks).to_csv(path, index=False)
    write_text(folder / PAGE, page_of(networks))
    draw_study(networks, CHECKS | BESIDE, folder / FIGURE)
    return [folder / name for name in (TABLE, PAGE, FIGURE)]


def main(arguments: list[str] | None = None) -> None:
    """Write what a sweep says and print where."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m analysis.study", description=__doc__, formatter_class=raw)
    parser.add_argument("folder", type=pathlib.Path, help="of a sweep whose runs were recorded")
    flags = parser.parse_args(arguments)
    with clear_errors():
        print(*write_study(flags.folder), sep="\n")


if __name__ == "__main__":
    main()
