"""The networks of a sweep, each with its factors, verdicts and numbers."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from analysis.checks.networks import UNITS, number_of
from analysis.checks.table import NAMES, check_trials
from analysis.load import NotTestable, open_experiment
from analysis.results import read_json
from analysis.steps.trials import physical_step, trials_of
from recordings import names
from recordings.format import RecordingError, mark_files
from recordings.periods import TimeScale
from recordings.reading import list_recordings, recording_folder
from runtime.config import flatten, read_config
from runtime.errors import ConfigError
from runtime.files import write_json
from runtime.metrics import METRICS, read_metrics
from runtime.sweeps import read_sweep

JUDGED = "judged.json"  # in a run's folder: its rows, kept while its recordings stay as they are
SEED = "seed"
MOST_R_HAT = 1.1  # of the energy, chains from noise and from data together
MOST_TEMPERATURE_ERROR = 0.05
MEDIAN, STIFFEST = "median curvature", "highest curvature"
LEARNED, PREDICTED = "kurtosis", "predicted variance"
RESPONSE = "response"
# What is measured beside the checks, with its name.
BESIDE = {MEDIAN: f"change of the {MEDIAN}", STIFFEST: f"change of the {STIFFEST}",
          PREDICTED: "variance ratio predicted from curvature", LEARNED: "kurtosis of Gabor responses"}  # fmt: skip
# What is read of long chains: its name here, and in the log.
WATCHED = {"r_hat": "r_hat/energy", "spectrum": "pooled/spectrum_distance", "sd": "pooled/pixel_sd_ratio",
           LEARNED: "pooled/gabor_kurtosis"}  # fmt: skip
CHECKS = {name: NAMES[name] for name in UNITS if name != "collinear_synchrony"}
CONTROLS = {names.LANGEVIN: "Langevin dynamics", names.SHUFFLED: "shuffled weights"}
Rows = dict[str, dict[str, Any]]  # check: its row, as in checks.json


class Network(NamedTuple):
    """One trained and recorded field."""

    name: str  # of its run
    levels: dict[str, str]  # factor: level
    seed: str
    rows: Rows
    numbers: dict[str, float]  # of checks, response, curvature and what was learned; NaN where nothing was measured
    chains: dict[str, float]  # what long chains at the end of training showed
    controls: dict[str, dict[str, float]]  # the numbers of the checks under each control that was recorded
    said: dict[str, dict[str, str]]  # the verdicts of the checks under each control
    images: dict[str, float]  # kurtosis of held-out images and of Gaussian ones; {} where they were not measured

    @property
    def temperature_error(self) -> float:
        """Largest difference of a layer's kinetic temperature from the set one, relative to it."""
        return max((abs(v - 1) for key, v in self.chains.items() if key.startswith("temperature")), default=0.0)

    @property
    def stationary(self) -> bool:
        """Whether long chains from noise and from data agree, at the set temperature."""
        return self.chains.get("r_hat", np.nan) <= MOST_R_HAT and self.temperature_error <= MOST_TEMPERATURE_ERROR


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
            rows = judge_run(folder / name)
        except NotTestable as error:
            raise ConfigError(f"{folder / name}: {error}") from None
        except RecordingError as error:  # it is being recorded, or was broken off
            print(f"left out: {error}")
            continue
        chains = read_chains(folder / name)
        measured = {control: _numbers(each) for control, each in rows.items()}
        numbers = measured.pop("") | read_curvature(folder / name) | {LEARNED: chains.get(LEARNED, np.nan)}
        said = {control: {check: each[check]["verdict"] for check in CHECKS}
                for control, each in rows.items() if control}  # fmt: skip
        images = {kind: each["gabor_kurtosis"] for kind, each in (read_json(folder / name / names.DATA) or {}).items()}
        found.append(
            Network(name, levels[name], str(configs[name][SEED]), rows[""], numbers, chains, measured, said, images)
        )
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


def judge_run(folder: pathlib.Path) -> dict[str, Rows]:
    """Rows of the checks of one run, {'': those of the field, control: the same under a control that was recorded}.

    They are read from the run's folder where its recordings are those that were judged.
    """
    marks = [mark for name in list_recordings(folder) for mark in mark_files(recording_folder(folder, name))]
    recorded = sorted(f"{mark.parent.name}/{mark.name}: {mark.read_text()}" for mark in marks)
    path = folder / JUDGED
    if path.exists():
        before = json.loads(path.read_text())
        if before["recorded"] == recorded and "" in before["rows"]:
            return before["rows"]
    experiment = open_experiment(folder, names.TRIALS)
    step = physical_step(experiment.about.get("sampler", {}), experiment.layer)
    names_of = {control: names.of_control(names.TRIALS, control) for control in CONTROLS}
    trials = {control: trials_of(open_experiment(folder, name), TimeScale(), step)
              for control, name in names_of.items() if name in list_recordings(folder)}  # fmt: skip
    rows = {"": _rows(check_trials(trials_of(experiment, TimeScale()), trials.get(names.LANGEVIN)))}
    rows |= {control: _rows(check_trials(each)) for control, each in trials.items()}
    write_json(path, {"recorded": recorded, "rows": rows}, indent=1)
    return rows


def _numbers(rows: Rows) -> dict[str, float]:
    """The number of each check, and by how many standard deviations the strongest stimulus moves the summed state."""
    details = rows["overshoot_grows"].get("details") or {}
    moved = abs(details["sustained"][-1]) / details["noise"] if details.get("noise") else np.nan
    return {check: number_of(rows[check]) for check in CHECKS} | {RESPONSE: moved}


def _rows(verdicts) -> Rows:
    rows = {each.check: {**each.line(), "details": each.details} for each in verdicts}
    return json.loads(json.dumps(rows, default=lambda value: value.tolist()))


def read_curvature(folder: pathlib.Path) -> dict[str, float]:
    """What the curvature at the highest contrast says beside that at the lowest; NaN without predictions.

    Returns:
        Relative changes of the median and the highest curvature, and the ratio of the variances of a place's summed
        state that linear response predicts (NaN where the mean state is no minimum).
    """
    table = read_json(folder / names.PREDICTIONS)
    if table is None:
        return {MEDIAN: np.nan, STIFFEST: np.nan, PREDICTED: np.nan}
    curvature = np.array(table["modes"]["step_curvature"], float)
    change = curvature[-1] / curvature[0] - 1
    place = next((signal for name, signal in table.get("signals", {}).items() if name.endswith("/site")), {})
    variance = np.array(place.get("variance", [np.nan]), float)
    ratio = variance[-1] / variance[0] if min(variance[-1], variance[0]) > 0 else np.nan
    return {MEDIAN: float(change[1]), STIFFEST: float(change[2]), PREDICTED: float(ratio)}


def read_chains(folder: pathlib.Path) -> dict[str, float]:
    """What long chains at the end of training showed, beside the held-out images where that can be.

    Returns:
        R-hat of the energy, distance of amplitude spectra, standard deviation of pixels over the images', kurtosis of
        Gabor responses, kinetic temperature of each layer over T; what was not measured is missing.
    """
    if not (folder / METRICS).exists():
        return {}
    last = read_metrics(folder).ffill().iloc[-1]
    found = {name: last.get(f"chains/{key}") for name, key in WATCHED.items()}
    found |= {key.split("/")[1] + "_" + key.split("_")[-1]: value for key, value in last.items()
              if key.startswith("chains/temperature/")}  # fmt: skip
    return {key: float(value) for key, value in found.items() if value is not None}
