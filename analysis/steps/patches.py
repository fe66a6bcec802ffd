"""From the recording of two patches to what the check of collinear synchrony is given."""

from __future__ import annotations

import numpy as np

from analysis.checks.collinear import Cell
from analysis.load import NotTestable
from analysis.steps.run import Run, matched_channels
from recordings import names
from recordings.names import PATCHES

LEAST_STEPS = 64
KEYS = ("static_angle", "row_offset", "column_offset")


def patch_pairs(run: Run, control: str) -> list[Cell]:
    """One cell for each angle and place of the mobile patch, its channels chosen by the angle of *their* patch.

    Args:
        run: with the step 'preferences' done.
        control: whose recording of the two patches is read, '' for the field's.

    Raises:
        NotTestable: the patches or the preferences of the channels were not recorded, or the stimulus is too short.
    """
    experiment = run.open(names.of_control(PATCHES, control))
    periods = experiment.periods
    if min(periods.stimulus, periods.blank) < LEAST_STEPS:
        raise NotTestable(f"the stimulus or the blank of '{experiment.name}' is shorter than {LEAST_STEPS} steps")
    traces = experiment.site_traces().transpose(2, 1, 0, 3)  # (static and mobile site, stimuli, time, channels)
    columns = np.round(np.stack([experiment.column(key).astype(float) for key in KEYS], axis=1), 6)
    mobile, parallel = experiment.column("mobile_angle"), experiment.column("parallel").astype(bool)
    prefers = matched_channels(run, experiment.column("static_angle")), matched_channels(run, mobile)
    blank, late = periods.before, slice(periods.onset + periods.stimulus // 4, periods.offset)
    rest, noise = traces[1][:, blank].mean(axis=(0, 1)), np.maximum(traces[1][:, blank].std(axis=(0, 1)), 1e-30)
    cells = []
    for place in np.unique(columns, axis=0):
        here = (columns == place).all(axis=1)
        rows = [np.flatnonzero(here & side) for side in (parallel, ~parallel)]
        if not all(each.size for each in rows):
            continue
        still = np.flatnonzero(prefers[0][:, rows[0][0]])
        moving = [np.flatnonzero(prefers[1][:, each[0]]) for each in rows]
        if not still.size or not all(each.size for each in moving):
            continue
        drive = [
            float(((traces[1][each][:, late].mean(axis=(0, 1)) - rest) / noise)[chosen].mean())
            for each, chosen in zip(rows, moving, strict=True)
        ]
        cells.append(
            Cell(
                tuple(traces[0][each][:, late][:, :, still] for each in rows),
                tuple(traces[1][each][:, late][:, :, m] for each, m in zip(rows, moving, strict=True)),
                still,
                tuple(moving),
                tuple(drive),
            )
        )
    return cells
