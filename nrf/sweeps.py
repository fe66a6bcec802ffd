"""Sweeps of fields: many trainings of one config, and what they came to.

    --config.sweep.grid="(('train.lr', (1e-3, 2e-3)), ('seed', (0, 1, 2)))"

Members that differ in numbers only train in one program (`nrf.together`); with config.sweep.record each is recorded as
soon as it is trained (`train_and_record`).  `report` leaves in the sweep's folder

    sweep.csv              a row a run: the fields that vary, its state, its last numbers
    sweep_settings.csv     a row a setting, seeds pooled: mean and standard deviation over seeds
    images/sweep.png       the numbers of all runs against the update
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from nrf.diagnostics import held_out_images
from nrf.experiments import record
from nrf.from_config import read_architecture, read_model
from nrf.image_space import read_image_space
from nrf.image_statistics import gaussian_like, make_reference, measure
from nrf.predictions import predict_recording
from nrf.together import train_together
from recordings.names import DATA
from recordings.reading import open_recording
from runtime.config import CONFIG_FILE, flatten, read_config
from runtime.files import atomic_write, write_json
from runtime.metrics import METRICS, read_metrics
from runtime.sweeps import FINISHED, WAITING, read_sweep

SEED = "seed"
# What is shown of a run, where it is logged.
NUMBERS = ("energy/gap", "energy/held_out", "samples/spectrum_distance", "loss")
TABLE, SETTINGS, FIGURE = "sweep.csv", "sweep_settings.csv", "images/sweep.png"
RECORDED = "recorded.json"  # in a run's folder: what its recordings were made with, once they are whole


def train_and_record(configs: Sequence[ConfigDict], folders: Sequence[str | pathlib.Path]) -> list[dict[str, Any]]:
    """Train runs, see `together.train_together`, and record each that came to its end, in the same process.

    A run that is recorded already is not looked at again.  One whose recording was interrupted is not finished.
    """
    results = train_together(configs, folders)
    for place, (config, folder) in enumerate(zip(configs, folders, strict=True)):
        if results[place]["finished"] and not _record(config, pathlib.Path(folder)):
            results[place] = {"finished": False}
    return results


def _record(config: ConfigDict, folder: pathlib.Path) -> bool:
    """Record a trained run where that was not done; returns whether all of it is there."""
    mark, fields = folder / RECORDED, flatten(config)
    wanted = {name: value for name, value in fields.items() if name.split(".")[0] in ("record", "sampler", "train")}
    wanted = json.loads(json.dumps(wanted))
    if mark.exists() and json.loads(mark.read_text()) == wanted:
        return True
    _measure_data(config, folder)
    predict_recording(config, folder)
    made = record(config, folder)
    if any(open_recording(folder, name, verify=False).missing() for name in made):
        return False
    write_json(mark, wanted)
    return True


def _measure_data(config: ConfigDict, folder: pathlib.Path) -> None:
    """Write the measures of `image_statistics` of the held-out images, and of as many Gaussian ones.

    Those have the images' mean and covariance in the field's coordinates: what second-order structure alone comes to
    once gain control is undone.  Both are measured as pictures, as the samples of long chains are.
    """
    images = held_out_images(config)
    space = read_image_space(config, read_model(config, read_architecture(config)).bounds[0], folder)
    gaussian = space.to_images(gaussian_like(space.to_states(images), len(images), config.seed))
    reference = make_reference(images)
    write_json(folder / DATA, {"held_out": measure(images, reference), "gaussian": measure(gaussian, reference)})


def report(workdir: str | pathlib.Path) -> list[pathlib.Path]:
    """Write the tables and the figure of a sweep, of the runs that have begun; returns their paths.

    Raises:
        ConfigError: it is no folder of a sweep.
    """
    folder = pathlib.Path(workdir)
    runs = [run for run in read_sweep(folder)["runs"] if (folder / run["name"] / CONFIG_FILE).exists()]
    configs = {run["name"]: flatten(read_config(folder / run["name"])) for run in runs}
    varied = [
        field
        for field in next(iter(configs.values()), {})
        if len({repr(fields.get(field)) for fields in configs.values()}) > 1
    ]
    histories = {name: read_metrics(folder / name) for name in configs if (folder / name / METRICS).exists()}
    table = pd.DataFrame([_row(run, configs, varied, histories) for run in runs])
    settings = _over_seeds(table, [field for field in varied if field != SEED])
    for name, frame in ((TABLE, table), (SETTINGS, settings)):
        with atomic_write(folder / name) as path:
            frame.to_csv(path, index=False)
    _draw(histories, table, [field for field in varied if field != SEED], folder / FIGURE)
    return [folder / name for name in (TABLE, SETTINGS, FIGURE)]


def _row(run: dict, configs: dict, varied: list[str], histories: dict) -> dict[str, Any]:
    name = run["name"]
    last = histories[name].ffill().iloc[-1] if name in histories and len(histories[name]) else {}
    return {
        "run": name,
        **{field: configs[name].get(field) for field in varied},
        "state": run["state"] or WAITING,
        "update": int(last.name) if len(last) else 0,
        **{number: float(last[number]) for number in NUMBERS if number in last},
    }


def _over_seeds(table: pd.DataFrame, fields: list[str]) -> pd.DataFrame:
    """Mean and standard deviation of the numbers over the finished runs of each setting."""
    finished = table[table["state"] == FINISHED] if len(table) else table
    shown = [number for number in NUMBERS if number in finished]
    rows = []
    for setting, runs in _groups(finished, fields):
        row = {**setting, "runs": len(runs)}
        for number in shown:
            row |= {f"{number} mean": runs[number].mean(), f"{number} sd": runs[number].std(ddof=1)}
        rows.append(row)
    return pd.DataFrame(rows)


def _groups(table: pd.DataFrame, fields: list[str]):
    if not fields:
        return [({}, table)] if len(table) else []
    # Fields may hold tuples, which pandas would not group by.
    keys = table[fields].map(repr).agg("; ".join, axis=1) if len(table) else []
    return [
        ({field: runs[field].iloc[0] for field in fields}, runs)
        for runs in (table[keys == key] for key in dict.fromkeys(keys))
    ]


def _draw(histories: dict, table: pd.DataFrame, fields: list[str], path: pathlib.Path) -> None:
    shown = [number for number in NUMBERS if any(number in history for history in histories.values())]
    figure = Figure(figsize=(4.5 * max(len(shown), 1), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.atleast_1d(figure.subplots(1, max(len(shown), 1)))
    for colour, (setting, runs) in enumerate(_groups(table, fields)):
        label = ", ".join(f"{field.split('.')[-1]} {value}" for field, value in setting.items())
        for place, name in enumerate(runs["run"]):
            if name not in histories:
                continue
            for axis, number in zip(axes, shown, strict=False):
                values = histories[name].get(number, pd.Series(dtype=float)).dropna()
                axis.plot(values.index, values, f"C{colour % 10}", lw=1, label=None if place else label or "all runs")
    for axis, number in zip(axes, shown, strict=False):
        axis.set(xlabel="update", title=number)
    if len(table):
        axes[0].legend(frameon=False, fontsize=8)
    with atomic_write(path) as incomplete:
        figure.savefig(incomplete, format="png", dpi=110)
