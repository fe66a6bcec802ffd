"""Fields that a config has and does not use: whoever sets one of them is told so, in place of being ignored.

A package says of any config which of its fields are idle, and why:

    idle = Idle()
    idle.unless(config.train.lr_schedule == "cosine", "config.train.lr_schedule is 'epochs'", "train.lr_final")

`check_used` refuses a command line that sets one of these fields, in the config or in its sweep. `check_file` does so
for a config file: it sets a field where its value is none of those in `defaults(config)` of the file that lists all
fields of its package. A value that the run in the folder was begun with says what is so, and may be said again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import FrozenConfigDict

from runtime.config import CONFIG_FILE, CONFIGS, flatten, load_config, load_function, read_config
from runtime.errors import ConfigError, did_you_mean
from runtime.sweeps import expand, is_sweep

Reasons = Callable[[Any, Sequence[str]], "Idle"]
# The files that list all fields of a package; and the groups whose fields are checked by what is built from them.
LISTS = {
    "nrf": "nrflv.py", "known": "known.py", "v1models": "v1/suite.py", "leaderboard": "v1/henaff.py",
    "variability": "v1/variability.py", "figures": "v1/figures.py",
}  # fmt: skip
CHECKED_WHERE_BUILT = ("model.architecture.", "record.sets.")
SWEEPS = ("sweep.grid", "sweep.runs")  # what makes a config a sweep


class Idle:
    """The idle fields of a config, with the reason for each; a group stands for all of its fields."""

    def __init__(self):
        self._reasons: dict[str, str] = {}

    def unless(self, used: Any, reason: str, *fields: str) -> None:
        """Notes that these fields, or groups, do nothing for a reason, unless they are used."""
        if not used:
            self._reasons |= {field: reason for field in fields if field not in self._reasons}

    def unless_stage(self, wanted: Sequence[str], stages: Sequence[str], *fields: str) -> None:
        """Notes that these fields are read by some stages only, unless one of those is asked for."""
        names = " and ".join(f"'{stage}'" for stage in wanted)
        plural = "s" if len(wanted) > 1 else ""
        self.unless(set(wanted) & set(stages), f"the stage{plural} {names}, which --stages does not name, alone "
                    f"read{'' if plural else 's'} it", *fields)  # fmt: skip

    def why(self, field: str) -> str:
        """The reason why a field does nothing; '' where it is used."""
        parts = field.split(".")
        groups = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
        return next((self._reasons[group] for group in groups if group in self._reasons), "")


def check_used(
    config: FrozenConfigDict, overrides: Sequence[str], stages: Sequence[str], idle: Reasons, workdir: str | os.PathLike
) -> None:
    """Raises a `ConfigError` for a field that the command line sets and nothing reads.

    Args:
      config: with the overrides.
      overrides: texts `--config.GROUP.FIELD=VALUE`.
      stages: that were asked for.
      idle: (config, stages) -> `Idle`, of one run.
      workdir: the run folder.
    """
    fields = [override.removeprefix("--config.").partition("=")[0] for override in overrides]
    if not fields:
        return
    runs, notes = _notes(config, stages, idle)
    if any(field.startswith("sweep.") for field in fields):
        fields += _varied(config, runs)
    begun = _begun(workdir)
    for field in dict.fromkeys(fields):
        if field.startswith("sweep.") and field not in SWEEPS and not is_sweep(config):
            raise ConfigError(f"config.{field} does nothing here: there is no sweep; leave it out")
        reason, value = _why(notes, field), flatten(config).get(field)
        if reason and not (field in begun and repr(begun[field]) == repr(value)):
            raise ConfigError(f"config.{field} does nothing here: {reason}; leave it out, or change that")


def check_file(
    spec: str, config: FrozenConfigDict, stages: Sequence[str], idle: Reasons, workdir: str | os.PathLike
) -> None:
    """Raises a `ConfigError` for a field that a config file sets and nothing reads, whatever stages are asked for.

    What the command line puts to use is used, and what it leaves idle the file could not know of.

    Args:
      spec: of the config: a file with or without a preset; the configs of run folders were checked when they were made.
      config: with the overrides.
      stages: all that there are.
      idle, workdir: as for `check_used`.
    """
    if os.path.isdir(spec):
        return
    alone, begun = load_config(spec), _begun(workdir)
    values, (runs, notes) = flatten(alone), _notes(alone, stages, idle)
    # Alternatives are there to be chosen from.
    kept = [f"alternatives.{name}" for name in alone.get("alternatives", ())]
    kept = tuple(f"{group}." for group in kept if _why(notes, group))
    unknown = {field for field in values if not field.startswith((*kept, *CHECKED_WHERE_BUILT))}
    vain = {field for field in values if not field.startswith(kept) and _why(notes, field)}
    varied = set(_varied(alone, runs))
    path = CONFIGS / LISTS[alone.get("package", "nrf")]
    for default in load_function(path, "defaults", "config")(alone):
        table = flatten(default)
        unknown -= set(table)
        vain -= {field for field in vain - varied if field in table and repr(table[field]) == repr(values[field])}
        if not unknown and not vain:
            return
    for field in values:
        if field in unknown:
            raise ConfigError(f"{spec}: nothing reads config.{field}{did_you_mean(field, table)}; leave it out")
        now = flatten(config).get(field)
        if field in vain and _why(_notes(config, stages, idle)[1], field) and repr(begun.get(field, ...)) != repr(now):
            raise ConfigError(
                f"{spec} sets config.{field}, which does nothing there: {_why(notes, field)}; leave it out, or change "
                "that"
            )


def _notes(config: FrozenConfigDict, stages: Sequence[str], idle: Reasons) -> tuple[list[FrozenConfigDict], list[Idle]]:
    """The runs of a config, one or those of its sweep, and what is idle in each."""
    runs = [run.config for run in expand(config)] if is_sweep(config) else [config]
    return runs, [idle(run, stages) for run in runs]


def _why(notes: Sequence[Idle], field: str) -> str:
    """The first reason why a field does nothing in any of the runs; '' where one of them uses it."""
    reasons = [] if field in SWEEPS else [note.why(field) for note in notes]
    return reasons[0] if reasons and all(reasons) else ""


def _varied(config: FrozenConfigDict, runs: Sequence[FrozenConfigDict]) -> list[str]:
    """The fields in which the runs of a sweep differ."""
    tables = [flatten(run) for run in runs]
    return [field for field in tables[0] if len({repr(table.get(field)) for table in tables}) > 1]


def _begun(workdir: str | os.PathLike) -> Mapping[str, Any]:
    """The fields of the run, or of the first run of the sweep, that a folder holds already."""
    folder = Path(workdir)
    for place in (folder, *sorted(path.parent for path in folder.glob(f"*/{CONFIG_FILE}"))):
        if (place / CONFIG_FILE).exists():
            return flatten(read_config(place))
    return {}
