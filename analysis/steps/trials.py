"""From the recording of an experiment to the trials that the checks are given.

A stimulus of the recording is a trial: one chain, one presentation. Channels are those of the middle of the map, so
that their sum is the signal of one place; the burn-in is cut off.

Time is physical: a step of the sampler is worth its step size, t = h × step in units of 1/√curvature (for overdamped
Langevin dynamics, which is the limit of infinite friction, h = √(2ε)). The milliseconds of the run's time scale belong
to a step of the field itself; a control whose steps are larger takes more milliseconds a step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.checks.phase import on_step
from analysis.checks.trials import Trials
from analysis.load import Experiment, NotTestable
from recordings.names import GRADIENT, LANGEVIN, MOMENTUM
from recordings.periods import TimeScale

LEAST_TRIALS, LEAST_BLANK, LEAST_STIMULUS = 4, 16, 48


def trials_of(experiment: Experiment, scale: TimeScale, step_size: float | None = None) -> Trials:
    """Trials of an experiment with stimuli of several contrasts, each shown repeatedly.

    Args:
        experiment: the recording.
        scale: what a step of the field is worth.
        step_size: physical step of the field, see `physical_step`; None if that is the recording at hand.

    Raises:
        NotTestable: the experiment has too few trials or its periods are too short.
    """
    periods = experiment.periods
    if periods.blank < LEAST_BLANK or periods.stimulus < LEAST_STIMULUS:
        raise NotTestable(
            f"the recording '{experiment.name}' has {periods.blank} steps of blank and {periods.stimulus} of stimulus; "
            f"at least {LEAST_BLANK} and {LEAST_STIMULUS} are needed"
        )
    contrast = np.round(experiment.column("contrast").astype(float), 6)
    shown, each = np.unique(contrast[contrast > 0], return_counts=True)
    if not shown.size or each.min() < LEAST_TRIALS:
        found = f"{each.min()} trials of contrast {shown[each.argmin()]:g}" if shown.size else "no contrast above 0"
        raise NotTestable(f"the recording '{experiment.name}' has {found}; at least {LEAST_TRIALS} trials are needed")
    signals = _by_trial(experiment.centre(), periods.burn_in)
    momentum, h = None, physical_step(experiment.about.get("sampler", {}), experiment.layer)
    if {MOMENTUM, GRADIENT} <= set(experiment.variables) and h is not None:
        raw = (_by_trial(experiment.centre(variable), periods.burn_in) for variable in (MOMENTUM, GRADIENT))
        momentum = on_step(*raw, h)
        momentum = np.concatenate([momentum, momentum[:, -1:]], axis=1)  # long after the stimulus: never looked at
        if periods.offset == periods.total:
            signals, momentum = signals[:, :-1], momentum[:, :-1]
    energy = experiment.source.energy()
    if energy is not None:
        energy = energy[periods.burn_in :].T.astype(np.float64)[:, : signals.shape[1]]
    ms = scale.ms_per_step * (1.0 if step_size is None or h is None else h / step_size)
    last = min(periods.offset - periods.burn_in, signals.shape[1])
    return Trials(signals, periods.blank, last, contrast, ms, _groups(experiment.table, contrast), momentum, energy)


def physical_step(sampler: Mapping[str, Any], layer: int) -> float | None:
    """Step of a sampler in units of time, of one layer; None where it has none.

    Args:
        sampler: name and options, as a recording keeps them.
        layer: number of the layer; options may have an entry for each, the image being layer 0.
    """
    size = sampler.get("step_size")
    if isinstance(size, list | tuple):
        size = size[layer] if layer < len(size) else None
    if not isinstance(size, int | float):
        return None
    return math.sqrt(2 * size) if sampler.get("name") == LANGEVIN else float(size)


def _by_trial(values: np.ndarray, burn_in: int) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(values, np.float32)[burn_in:].transpose(1, 0, 2))


def _groups(table: Mapping[str, np.ndarray], contrast: np.ndarray) -> np.ndarray | None:
    columns = [np.asarray(table[name], float) for name in ("angle", "row_offset", "column_offset") if name in table]
    if not columns:
        return None
    groups = np.unique(np.round(np.stack([contrast, *columns], axis=1), 6), axis=0, return_inverse=True)[1].ravel()
    return groups if np.bincount(groups).max() >= LEAST_TRIALS else None
