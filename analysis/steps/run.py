"""What every step of the analysis is given, and the few selections that several of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.formulas import Formulas
from analysis.load import Experiment, NotTestable
from analysis.results import Arrays, Store
from recordings.periods import TimeScale


class Options(NamedTuple):
    """Settings of an analysis."""

    compat: bool = False  # which formulas, see `analysis.formulas`
    level: float = 0.05  # of tests and false discovery rates
    surrogates: int = 199
    resamples: int = 10_000  # of bootstrap intervals
    seed: int = 0
    calibrate_at: float | None = None  # contrast whose resonance is put at `calibrate_hertz`, if any
    calibrate_hertz: float = 40.0


class Run(NamedTuple):
    """Recordings and results of one layer."""

    open: Callable[[str], Experiment]  # by name; raises NotTestable for one that was not recorded
    names: tuple[str, ...]  # recordings, controls among them
    store: Store
    options: Options
    formulas: Formulas
    scale: TimeScale
    known: Mapping[str, Experiment] = {}  # recordings of the system with known answers beside the run, by name
    tick: Callable[[], None] = lambda: None  # called after each block of a long step


class Outcome(NamedTuple):
    """What a step made."""

    arrays: Arrays
    table: pd.DataFrame | None = None


def result(run: Run, step: str) -> Arrays:
    """Arrays of an earlier step; NotTestable where it could not be made."""
    if not run.store.done(step):
        raise NotTestable(f"it needs the step '{step}', which could not be made")
    return run.store.read(step)


def matched_channels(run: Run, angles: np.ndarray) -> np.ndarray:
    """Return (channels, stimuli) bool: the stimulus has about the preferred angle of the channel."""
    found = result(run, "preferences")
    return run.formulas.match_stimuli(found["preferred_angle"], found["is_orientation"], angles)


def shown_contrasts(contrasts: np.ndarray) -> np.ndarray:
    """At most four of the distinct contrasts, from the lowest to the highest; of eight those numbered 0, 3, 5 and 7."""
    levels = np.unique(contrasts)
    places = (0, 3, 5, 7) if levels.size == 8 else np.unique(np.linspace(0, levels.size - 1, 4).round().astype(int))
    return levels[list(places)]


def primary_patch(experiment: Experiment, stimuli: slice = slice(None)) -> np.ndarray:
    """State of the central patch (time, stimuli, channels, sites)."""
    return np.moveaxis(experiment.site_traces(stimuli)[:, :, experiment.patch_sites()], 2, 3)
