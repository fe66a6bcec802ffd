"""Sweeps: one config with lists of values becomes many runs, each with a folder and a name of its own.

A config's group `sweep` says what varies:

    config.sweep.grid = (("optimization.learning_rate", (1e-4, 1e-3)), ("model.layer1.fraction", (0.2, 0.3), "hidden"))
    config.sweep.runs = (("dense", ()), ("small", (("fit.epochs", 100), ("seeds", (0, 1)))))

Every combination of the grid is a run, under every entry of `runs`: here dense_learning_rate=0.0001_hidden=0.2 and
seven more. A label behind the values stands for the field in names. Runs that differ in numbers only train side by side
in one program, up to `sweep.together` of them.

    expand(config)                      the runs, in order
    run_sweep(config, workdir, …)       all of them: finished ones are skipped, a failing one stops no other

`sweep.json` in the sweep's folder holds the name and state of every run, refreshed whenever one ends.
"""

import contextlib
import itertools
import json
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict, FrozenConfigDict

from runtime.errors import ConfigError, RunError, did_you_mean
from runtime.executors import Execute, make_executor, read_options
from runtime.files import WriteError, write_json, write_text

SWEEP_FILE = "sweep.json"
WAITING, FINISHED, FAILED, STOPPED = "waiting", "finished", "failed", "stopped"


class Run(NamedTuple):
    """One run of a sweep."""

    name: str  # of its folder
    config: FrozenConfigDict


def is_sweep(config: Mapping[str, Any]) -> bool:
    """Returns whether a config stands for several runs."""
    return "sweep" in config and bool(config["sweep"]["grid"] or config["sweep"]["runs"])


def with_values(config: FrozenConfigDict, values: Mapping[str, Any]) -> FrozenConfigDict:
    """Returns a config with some fields changed.

    Args:
        config: any config.
        values: new values by field, such as {'optimization.learning_rate': 1e-3}.

    Raises:
        ConfigError: there is no such field, or it holds values of another kind.
    """
    fields = config.to_dict()
    for field, value in values.items():
        group = fields
        *parents, name = field.split(".")
        for part in parents:
            if not isinstance(group.get(part), dict):
                raise ConfigError(f"the sweep sets '{field}', but there is no group '{part}'{_near(part, group)}")
            group = group[part]
        if name not in group or isinstance(group[name], dict):
            raise ConfigError(f"the sweep sets '{field}', but there is no field '{name}'{_near(name, group)}")
        if not _fits(group[name], value):
            raise ConfigError(f"the sweep sets '{field}' to {value!r}, but the field holds {group[name]!r}")
        group[name] = float(value) if isinstance(group[name], float) and isinstance(value, int) else value
    return FrozenConfigDict(ConfigDict(fields).lock())


def expand(config: FrozenConfigDict) -> list[Run]:
    """Returns the runs of a config's sweep, in order; of a config without one, none.

    Raises:
        ConfigError: an entry is malformed, sets a field that is not there, or two runs have one name.
    """
    grid = [_grid_entry(entry) for entry in config.sweep.grid]
    listed = [_run_entry(entry) for entry in config.sweep.runs] or [("", {})]
    emptied = [f"sweep.{name}" for name in ("grid", "runs", "published_best") if name in config.sweep]
    single = with_values(config, dict.fromkeys(emptied, ()))
    runs = []
    for prefix, values in listed:
        for combination in itertools.product(*(entry[1] for entry in grid)):
            chosen = {field: value for (field, _, _), value in zip(grid, combination, strict=True)}
            labels = [f"{label}={_text(value)}" for (_, _, label), value in zip(grid, combination, strict=True)]
            name = "_".join([prefix, *labels] if prefix else labels)
            runs.append(Run(name, with_values(single, {**values, **chosen})))
    names = [run.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"two runs of the sweep are called '{twice[0]}': label grid entries, (field, values, label)")
    return runs


def run_sweep(
    config: FrozenConfigDict,
    workdir: str | os.PathLike,
    train_together: Callable,
    program: Callable[[Any], str],
    execute: Execute,
    published_best: tuple = (),
) -> list[dict[str, Any]]:
    """Trains all runs of a sweep and returns what `sweep.json` holds: name, state and reason of each, in order.

    Args:
        config: a config with a sweep.
        workdir: the sweep's folder; each run gets a folder in it.
        train_together: function of a module, (configs, folders) -> a dict for each: 'finished', whether it came to its
            end, 'failed', the reason where it failed alone, and 'note', what is to be said of it.
        program: config -> a text, equal for configs that may be given to `train_together` at once.
        execute: from `executors.make_executor`.
        published_best: kept in `sweep.json` for the table.

    A group whose config is refused is tried again run by run, so that only the bad one fails.
    """
    runs, folder = expand(config), Path(workdir)
    if (folder / SWEEP_FILE).exists():
        gone = {run["name"] for run in read_sweep(folder)["runs"]} - {run.name for run in runs}
        if gone:
            raise ConfigError(
                f"{folder} holds another sweep, with runs such as '{min(gone)}'; choose another --workdir"
            )
    folder.mkdir(parents=True, exist_ok=True)
    states = {
        run.name: {"name": run.name, "state": WAITING, "reason": "", "published": run.config.get("published", ())}
        for run in runs
    }
    best = tuple(published_best or config.sweep.get("published_best", ()))
    _write(folder, states, best)
    groups = group_runs(runs, program, config.sweep.get("together", 1))
    tasks = [(train_together, [run.config.to_dict() for run in group], [str(folder / run.name) for run in group])
             for group in groups]  # fmt: skip
    for index, outcome in execute(run_group, tasks):
        names = [run.name for run in groups[index]]
        if isinstance(outcome, Exception):
            outcome = [{"state": FAILED, "reason": f"{type(outcome).__name__}: {outcome}"} for _ in names]
        for name, state in zip(names, outcome, strict=True):
            states[name].update(state)
            if state["state"] == FAILED:
                print(f"failed: {name}: {state['reason']}", flush=True)
        _write(folder, states, best)
        if any(state["state"] == STOPPED for state in outcome):
            break
    return list(states.values())


def group_runs(runs: list[Run], program: Callable[[Any], str], together: int) -> list[list[Run]]:
    """Returns the runs in groups that share a program, at most `together` in one, in the order of their first."""
    sharing: dict[str, list[int]] = {}
    for place, run in enumerate(runs):
        sharing.setdefault(program(run.config), []).append(place)
    size = max(int(together), 1)
    groups = [alike[i : i + size] for alike in sharing.values() for i in range(0, len(alike), size)]
    return [[runs[place] for place in group] for group in sorted(groups)]


def run_group(train_together: Callable, configs: list[dict], folders: list[str]) -> list[dict[str, Any]]:
    """Trains one group and returns the state of each run; whatever goes wrong becomes a reason, never an exception."""
    frozen = [FrozenConfigDict(ConfigDict(fields).lock()) for fields in configs]
    try:
        results = train_together(frozen, folders)
    except (ConfigError, RunError) as error:
        if isinstance(error, ConfigError) and len(configs) > 1:
            alone = [run_group(train_together, [one], [path]) for one, path in zip(configs, folders, strict=True)]
            return [state for states in alone for state in states]
        return [{"state": FAILED, "reason": str(error)} for _ in configs]
    except Exception as error:
        with contextlib.suppress(WriteError):
            for path in folders:
                write_text(Path(path) / "error.txt", traceback.format_exc())
        return [{"state": FAILED, "reason": f"{type(error).__name__}: {error} (see error.txt)"} for _ in configs]
    return [_state_of(done) for done in results]


def _state_of(done: Mapping[str, Any]) -> dict[str, Any]:
    """State and reason of a run, from what `train_together` returned for it."""
    if "failed" in done:
        return {"state": FAILED, "reason": done["failed"]}
    return {"state": FINISHED if done["finished"] else STOPPED, "reason": done.get("note", "")}


def read_sweep(workdir: str | os.PathLike) -> dict[str, Any]:
    """Returns {'runs': [{'name', 'state', 'reason', 'published'}], 'published_best'} of a sweep's folder.

    Raises:
        ConfigError: it is no folder of a sweep.
    """
    path = Path(workdir) / SWEEP_FILE
    if not path.is_file():
        raise ConfigError(f"{workdir} is no folder of a sweep: it has no {SWEEP_FILE}")
    return json.loads(path.read_text())


def train_sweep(
    config: FrozenConfigDict,
    workdir: str | os.PathLike,
    train_together: Callable,
    program: Callable[[Any], str],
    executor: str,
    options: str,
) -> bool:
    """Trains all runs of a sweep on an executor; returns whether each came to its end, well or not.

    Args:
        config, workdir, train_together, program: as in `run_sweep`.
        executor, options: as in `executors.make_executor`.

    Raises:
        RunError: all of them failed.
    """
    with make_executor(executor, options) as execute:
        states = run_sweep(config, workdir, train_together, program, execute)
    failed = [state["name"] for state in states if state["state"] == FAILED]
    if failed and len(failed) == len(states):
        raise RunError(f"all {len(failed)} runs failed, for the reasons above")
    return all(state["state"] in (FINISHED, FAILED) for state in states)


def check_executor(config: Mapping[str, Any], stages: Sequence[str], executor: str, options: str) -> None:
    """Raises a `ConfigError` for an executor that nothing would be given to, or that is not there."""
    read_options(executor, options)
    if (executor != "local" or options) and not (is_sweep(config) and "train" in stages):
        raise ConfigError(
            "--executor says where the runs of a sweep are trained, and here is none: add the stage 'train' and "
            "--config.sweep.grid=…, or leave --executor out"
        )


def finished_runs(config: FrozenConfigDict, workdir: str | os.PathLike) -> list[tuple[FrozenConfigDict, Path]]:
    """Returns config and folder of the runs of a sweep that came to their end, in order.

    Raises:
        ConfigError: the folder holds no sweep, or none of its runs is finished.
    """
    states = {run["name"]: run["state"] for run in read_sweep(workdir)["runs"]}
    found = [(run.config, Path(workdir) / run.name) for run in expand(config) if states.get(run.name) == FINISHED]
    if not found:
        raise ConfigError(f"no run of the sweep in {workdir} is finished; run the stage 'train' there first")
    return found


def _write(folder, states, best):
    write_json(folder / SWEEP_FILE, {"runs": list(states.values()), "published_best": best}, indent=2)


def _grid_entry(entry):
    if not (isinstance(entry, tuple) and len(entry) in (2, 3) and isinstance(entry[1], tuple) and entry[1]):
        raise ConfigError(f"config.sweep.grid: {entry!r} is not (field, (value, …)) or (field, (value, …), label)")
    return entry[0], entry[1], entry[2] if len(entry) == 3 else entry[0].split(".")[-1]


def _run_entry(entry):
    if not (isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str)):
        raise ConfigError(f"config.sweep.runs: {entry!r} is not (name, ((field, value), …))")
    if not all(isinstance(change, tuple) and len(change) == 2 for change in entry[1]):
        raise ConfigError(f"config.sweep.runs: '{entry[0]}' must list its changes as ((field, value), …)")
    return entry[0], dict(entry[1])


def _text(value):
    text = f"{value:g}" if isinstance(value, float) else str(value).lower()
    if isinstance(value, tuple):
        text = "-".join(_text(part) for part in value)
    return "".join(letter if letter.isalnum() or letter in "+-." else "-" for letter in text)


def _near(name, group):
    return did_you_mean(name, group)


def _fits(old, new):
    """Whether a value may replace another: of its kind, an int where a float stands, anything where None stands."""
    if old is None or new is None or isinstance(old, tuple) or isinstance(new, tuple):
        return True
    if isinstance(old, bool) or isinstance(new, bool):
        return isinstance(old, bool) and isinstance(new, bool)
    if isinstance(old, int | float) and isinstance(new, int | float):
        return isinstance(old, float) or isinstance(new, int) or old is None
    return isinstance(new, type(old))
