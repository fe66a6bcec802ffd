"""Fields that a config has and does not use: whoever sets one of them is told so, in place of being ignored.

A package says of any config which of its fields are idle, and why:

    idle = Idle()
    idle.unless(config.train.lr_schedule == "cosine", "config.train.lr_schedule is 'epochs'", "train.lr_final")

`check_used` refuses a command line that sets one of these fields, in the config or in its sweep.  A value that the run
in the folder was begun with already says what is so, and may be said again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import FrozenConfigDict

from runtime.config import CONFIG_FILE, flatten, read_config
from runtime.errors import ConfigError
from runtime.sweeps import expand, is_sweep

Reasons = Callable[[Any, Sequence[str]], "Idle"]


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
    swept = is_sweep(config)
    runs = [run.config for run in expand(config)] if swept else [config]
    notes = [idle(run, stages) for run in runs]
    if swept and any(field.startswith("sweep.") for field in fields):
        fields += _varied(config, runs)
    begun = _begun(workdir)
    for field in dict.fromkeys(fields):
        if field.split(".")[0] == "sweep":
            if not swept and field == "sweep.together":
                raise ConfigError("config.sweep.together does nothing here: there is no sweep; leave it out")
            continue
        reasons = [note.why(field) for note in notes]
        value = flatten(config).get(field)
        if all(reasons) and not (field in begun and repr(begun[field]) == repr(value)):
            raise ConfigError(f"config.{field} does nothing here: {reasons[0]}; leave it out, or change that")


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
