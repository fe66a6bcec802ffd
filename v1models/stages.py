"""The stages of models of V1, as `launch.py` calls them; see `nrf.stages`."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from runtime.idle import Idle
from runtime.sweeps import is_sweep, train_sweep


def fit(config: ConfigDict, workdir: pathlib.Path, flags: Any) -> bool:
    """Fit models of V1: one run, or all runs of a sweep; returns whether they came to an end."""
    from v1models.experiment import shared_program
    from v1models.run import train_together

    if not is_sweep(config):
        return train_together([config], [workdir])[0]["finished"]
    return train_sweep(config, workdir, train_together, shared_program, flags.executor, flags.executor_options)


def compare(config: ConfigDict, workdir: pathlib.Path, flags: Any) -> None:
    """Compare families of models on a recording with repeats."""
    from v1models.leaderboard import compare as run

    print(run(config, workdir).query("recording == 'all'").to_string(index=False))


def assess(config: ConfigDict, workdir: pathlib.Path, flags: Any) -> None:
    """Ask whether samples of fields vary as neurons do."""
    from v1models.variability import assess as run

    print(run(config, workdir).to_string(index=False, float_format="%.4f"))


def describe(config: ConfigDict) -> dict[str, Any]:
    """Records of what would be trained, see `runtime.describe`."""
    from v1models.describe import describe as run

    return run(config)


def idle(config: ConfigDict, stages: Sequence[str]) -> Idle:
    """The fields that do nothing, see `runtime.idle`."""
    from v1models.idle import idle_fields as run

    return run(config, stages)


def idle_leaderboard(config: ConfigDict, stages: Sequence[str]) -> Idle:
    """Those of a leaderboard."""
    from v1models.idle import idle_leaderboard as run

    return run(config, stages)


def idle_variability(config: ConfigDict, stages: Sequence[str]) -> Idle:
    """Those of a comparison of variability."""
    from v1models.idle import idle_variability as run

    return run(config, stages)
