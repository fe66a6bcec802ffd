"""The verdict table: every check on the field, on its controls, and on the system with known answers.

Rows of `checks.json`, one a check:

    check, name, expected             identifier, and in words what is looked for and what cortex shows
    verdict                           present, absent, undecided or not tested
    found, low, high, unit, reason    what decided, its 95 % interval, and why
    details                           numbers behind it, such as values at each contrast
    controls                          {control: the same, and `difference` where the same quantity was measured in both}
    known                             the same row of the system with known answers, if it was recorded

A difference is the field minus the control on the same resamples of the trials: {found, low, high, unit, p_value,
corrected}, the last by Holm's rule over the checks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.checks import collinear, table
from analysis.checks.phase import Phase, phases_of_inhibition
from analysis.checks.quenching import ratios_of_contrasts
from analysis.checks.resampling import RESAMPLES
from analysis.checks.table import EXPECTED, NAMES
from analysis.checks.trials import Trials, summed
from analysis.checks.verdict import Verdict, not_tested
from analysis.load import Experiment, NotTestable
from analysis.steps.patches import patch_pairs
from analysis.steps.run import Run
from analysis.steps.trials import physical_step, trials_of
from recordings import names
from recordings.names import LANGEVIN, SHUFFLED, TRIALS
from recordings.periods import TimeScale

SPEED, COLLINEAR = "faster_than_reference", collinear.CHECK


def check_physiology(run: Run) -> list[dict[str, Any]]:
    """Return the rows of `checks.json`, one a check."""
    controls = sorted({names.split(name)[1] for name in run.names} - {""})
    field = _check(run, "")
    others = {control: _check(run, control) for control in controls}
    known = known_verdicts(run)
    rows = []
    for check, name in NAMES.items():
        row = {"check": check, "name": name, "expected": EXPECTED[check], **_plain(field[check])}
        row["controls"] = {control: _plain(found[check]) for control, found in others.items()}
        row["known"] = _plain(known[check]) if check in known else None
        rows.append(row)
    for control, found in others.items():
        for difference in table.differences(list(field.values()), list(found.values())):
            entry = next(row for row in rows if row["check"] == difference.check)["controls"][control]
            entry["difference"] = _finite({key: value for key, value in difference._asdict().items() if key != "check"})
    return rows


def measure_trials(run: Run) -> dict[str, Any]:
    """Return what was measured at each contrast, of the field, its controls and the known system: variance and phase.

    Resonance and overshoot stand in the details of their rows.
    """
    found = {}
    for name in run.names:
        experiment, control = names.split(name)
        if experiment == TRIALS:
            try:
                trials = _trials(run, control)
            except NotTestable:
                continue
            found[control] = measures(trials)
    if TRIALS in run.known:
        found["known"] = measures(_known_trials(run, ""))
    return found


def measures(trials: Trials) -> dict[str, Any]:
    """Return variance ratios, of channels and of their sum, and phases of inhibition, at each contrast."""
    phases = [] if trials.momentum is None else phases_of_inhibition(trials)
    together = trials._replace(signals=summed(trials)[:, :, None])
    return {
        "contrast": trials.levels.tolist(),
        "variance_ratio": _finite(ratios_of_contrasts(trials)),
        "summed_variance_ratio": _finite(ratios_of_contrasts(together)),
        "phase": {field: _finite([getattr(each, field) for each in phases]) for field in Phase._fields},
    }


def known_verdicts(run: Run) -> dict[str, Verdict]:
    """Return the verdicts on the system with known answers, {} where it was not recorded."""
    if TRIALS not in run.known:
        return {}
    slow = names.of_control(TRIALS, LANGEVIN)
    reference = _known_trials(run, LANGEVIN) if slow in run.known else None
    return {each.check: each for each in table.check_trials(_known_trials(run, ""), reference, RESAMPLES)}


def _check(run: Run, control: str) -> dict[str, Verdict]:
    """Verdicts on the field ('') or on a control."""
    try:
        trials, reason = _trials(run, control), ""
    except NotTestable as error:
        trials, reason = None, str(error)
    found = {}
    if trials is not None:
        reference = _reference(run) if not control else None
        found = {each.check: each for each in table.check_trials(trials, reference, RESAMPLES, run.options.seed)}
    if control or SPEED not in found:
        said = "it is the field that is compared with Langevin dynamics" if control else reason
        found[SPEED] = not_tested(SPEED, "times per sample", said)
    found[COLLINEAR] = _collinear(run, control)
    return {check: found.get(check) or not_tested(check, "", reason) for check in NAMES}


def _collinear(run: Run, control: str) -> Verdict:
    if control == SHUFFLED:
        # Channels are chosen by what they prefer, which was measured in the field alone.
        reason = "the channels of shuffled weights prefer other angles than the field's, which were not measured"
        return not_tested(COLLINEAR, "phase consistency", reason)
    try:
        return collinear.collinear_synchrony(patch_pairs(run, control), run.options.seed)
    except NotTestable as error:
        return not_tested(COLLINEAR, "phase consistency", str(error))


def _trials(run: Run, control: str) -> Trials:
    step = None
    if control and TRIALS in run.names:
        experiment = run.open(TRIALS)
        step = physical_step(experiment.about.get("sampler", {}), experiment.layer)
    return trials_of(run.open(names.of_control(TRIALS, control)), run.scale, step)


def _reference(run: Run) -> Trials | None:
    try:
        return _trials(run, LANGEVIN)
    except NotTestable:
        return None


def _known_trials(run: Run, control: str) -> Trials:
    model: Experiment = run.known[TRIALS]
    scale = TimeScale(model.about.get("ms_per_step", 1.0), "of the known system")
    step = physical_step(model.about["sampler"], model.layer)
    return trials_of(run.known[names.of_control(TRIALS, control)], scale, step)


def _plain(verdict: Verdict) -> dict[str, Any]:
    row = verdict.line()
    del row["check"]
    return row | {"details": _finite(verdict.details)}


def _finite(value: Any) -> Any:
    """The value as JSON holds it: numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(each) for each in value]
    if isinstance(value, np.generic | np.ndarray):
        return _finite(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
