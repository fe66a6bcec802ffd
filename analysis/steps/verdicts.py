"""The verdict table: every check against physiology, on the model and on its controls."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.checks import physiology
from analysis.checks.physiology import Check
from analysis.load import Experiment, NotTestable
from analysis.measures.synchrony import stimulus_groups
from analysis.steps.dynamics import field_of_stimuli
from analysis.steps.run import Run, primary_patch, result
from recordings.names import CONTROL_MARK, LANGEVIN, LINE, PRIMARY, REPEATED


def _frequency(run: Run, control: str) -> Check:
    experiment = run.open(PRIMARY + control)
    contrasts = experiment.column("contrast")
    field = field_of_stimuli(experiment)
    return physiology.frequency_rises_with_contrast(
        field, contrasts, experiment.periods, run.scale, level=run.options.level
    )


def _transients(run: Run, control: str) -> Check:
    experiment = run.open(PRIMARY + control)
    contrasts = experiment.column("contrast")
    if min(experiment.periods.stimulus, experiment.periods.blank_after) < 150:
        raise NotTestable("the stimulus or the blank behind it is shorter than 150 steps")
    return physiology.transients_grow_with_contrast(
        primary_patch(experiment), contrasts, experiment.periods, run.options.level
    )


def _lag(run: Run, control: str) -> Check:
    names = [name for name in (LINE, PRIMARY, REPEATED) if name + control in run.names]
    for name in names:
        experiment = run.open(name + control)
        if "momentum" in experiment.variables:
            state, momentum = experiment.centre("state"), experiment.centre("momentum")
            return physiology.inhibition_lags_excitation(
                state, momentum, experiment.periods, run.scale, level=run.options.level
            )
    raise NotTestable("no momentum was recorded" if names else "not recorded")


def _repeats(run: Run, control: str) -> tuple[Experiment, np.ndarray]:
    experiment = run.open(REPEATED + control)
    return experiment, stimulus_groups(experiment.table, ("angle",))[0]


def _quenching(run: Run, control: str) -> Check:
    experiment, repeats = _repeats(run, control)
    return physiology.variability_is_quenched(experiment.centre(), repeats, experiment.periods, level=run.options.level)


def _synchrony(run: Run, control: str) -> Check:
    experiment, repeats = _repeats(run, control)
    rng = np.random.default_rng([run.options.seed, 2])
    options = {"count": run.options.surrogates, "level": run.options.level, "stimuli": repeats}
    return physiology.channels_are_synchronised(experiment.centre(), experiment.periods, rng, **options)


def _collinear(run: Run, control: str) -> Check:
    if control:
        raise NotTestable("not recorded")
    found = result(run, "synchrony_patches")
    if not found["x"].size:
        raise NotTestable("no channel is tuned to the angle of a static patch")
    pairs = found["y"][found["collinear"]], found["y"][~found["collinear"]]
    return physiology.collinear_pairs_synchronise_more(*pairs, run.options.level)


def _efficiency(run: Run, control: str) -> Check:
    if control:
        raise NotTestable("the check compares the model with this control")
    model, langevin = (run.open(name).centre() for name in (PRIMARY, PRIMARY + CONTROL_MARK + LANGEVIN))
    return physiology.samples_more_efficiently(model, langevin, run.open(PRIMARY).periods)


CHECKS: dict[str, Callable[[Run, str], Check]] = {
    "peak frequency rises with contrast": _frequency,
    "onset transient grows with contrast": _transients,
    "inhibition lags excitation": _lag,
    "variability is quenched at onset": _quenching,
    "channels are synchronised": _synchrony,
    "collinear pairs synchronise more": _collinear,
    "sampling is more efficient than Langevin": _efficiency,
}


def check_physiology(run: Run) -> list[dict[str, Any]]:
    """Return one row a check: name, expected, found, interval, verdict and the same of every control."""
    controls = sorted({name.split(CONTROL_MARK)[1] for name in run.names if CONTROL_MARK in name})
    rows = []
    for name, check in CHECKS.items():
        row = _row(name, check, run, "")
        row["controls"] = {control: _row(name, check, run, CONTROL_MARK + control) for control in controls}
        rows.append(row)
    return rows


def _row(name: str, check: Callable[[Run, str], Check], run: Run, control: str) -> dict[str, Any]:
    try:
        found = check(run, control)._asdict()
    except NotTestable as error:
        reason = "not recorded" if control and "was not recorded" in str(error) else str(error)
        nan = math.nan
        found = Check(name, physiology.EXPECTED[name], nan, nan, nan, "", nan, "not tested", reason)._asdict()
    # JSON knows no NaN.  A test that does not reject says nothing about absence.
    found |= {"check": name, "verdict": {"pass": "present", "fail": "undecided"}.get(found["verdict"], "not tested")}
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in found.items()}
