"""The stages of fields and of the system with known answers, as `launch.py` calls them.

Each takes the config, the run folder and the flags of the command line, says what it made, and returns False where the
stages after it must wait. A stage imports what it needs when it is called: the command line answers at once.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from runtime.errors import RunError
from runtime.idle import Idle
from runtime.sweeps import is_sweep, train_sweep


def import_(config: ConfigDict, workdir: pathlib.Path, flags: Any) -> bool:
    """Make a run folder of a model that was trained elsewhere, or those of a sweep; returns whether all were made."""
    from nrf import together
    from nrf.training import import_weights as run

    if not is_sweep(config):
        print(f"imported into {run(config, workdir)}")
        return True
    members = together.import_together
    return train_sweep(config, workdir, members, together.program, flags.executor, flags.executor_options)


def train(config: ConfigDict, workdir: pathlib.Path, flags: Any) -> bool:
    """Train the model, or all runs of a sweep, and say where everything is; returns whether a sweep came to an end."""
    from nrf import sweeps, together
    from nrf.training import summary
    from nrf.training import train as run

    if not is_sweep(config):
        print(summary(workdir, run(config, workdir)))
        return True
    members = sweeps.train_and_record if config.sweep.record else together.train_together
    finished = train_sweep(config, workdir, members, together.program, flags.executor, flags.executor_options)
    print("runs side by side in", *sweeps.report(workdir), sep="\n  ")
    return finished


def visualise(config: ConfigDict, workdir: pathlib.Path, flags: Any) -> None:
    """Draw what the trained model samples and what its channels like."""
    from nrf.visualisation import visualise as run

    print("drew", *run(config, workdir), sep="\n  ")


def record(config: ConfigDict, workdir: pathlib.Path, flags: Any) -> None:
    """Show the trained model stimuli and record its activity, beside what its curvature predicts."""
    from nrf.experiments import record as run
    from nrf.predictions import predict_recording

    predict_recording(config, workdir)
    print("recorded", *run(config, workdir).values(), sep="\n  ")


def record_known(config: ConfigDict, workdir: pathlib.Path, flags: Any) -> None:
    """Record the system with known answers and its controls."""
    from nrf.known.recording import record as run

    print("recorded", *run(config, workdir).values(), sep="\n  ")


def diagnose(config: ConfigDict, workdir: pathlib.Path, flags: Any) -> None:
    """Say whether the field samples its data, how well the chains mix and what the energy tells apart."""
    from nrf.diagnostics import diagnose as run

    report = run(config, workdir)
    print(f"{report['verdict']}\nnumbers in {workdir / 'diagnostics.json'}, figures in {workdir / 'images'}")
    if report["faults"]:
        raise RunError(f"the field in {workdir} does not sample its data: {len(report['faults'])} faults, listed above")


def adopt(folder: str | pathlib.Path, workdir: str | pathlib.Path) -> None:
    """Give a field that lies in another folder a run folder of its own."""
    from nrf.trained import adopt as run

    run(folder, workdir)


def score(config: ConfigDict, workdir: pathlib.Path, flags: Any) -> None:
    """Judge the trained model as a density of images, beside simple models."""
    from nrf.score.scorecard import score as run

    table = run(config, workdir)
    if len(table):
        print(table.T.round(3).to_string(), f"\ntable and figure in {workdir / 'score'}")


def describe(config: ConfigDict) -> dict[str, Any]:
    """Records of what would be trained, see `runtime.describe`."""
    from nrf.describe import describe as run

    return run(config)


def respond(config: ConfigDict, workdir: pathlib.Path, flags: Any) -> None:
    """Show the trained model images of a file and write what its latents do, for models of real neurons."""
    from nrf.respond import respond as run

    print(f"responses in {run(config, workdir)}")


def idle(config: ConfigDict, stages: Sequence[str]) -> Idle:
    """The fields that do nothing, see `runtime.idle`."""
    from nrf.idle import idle_fields as run

    return run(config, stages)


def idle_known(config: ConfigDict, stages: Sequence[str]) -> Idle:
    """Those of the system with known answers."""
    from nrf.idle import idle_known as run

    return run(config, stages)
