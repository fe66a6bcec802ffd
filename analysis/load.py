"""Recordings of a run folder as the analyses see them, whatever level they were recorded at.

An `Experiment` gives traces at sites, traces of the middle, statistics per neuron and period, and frames of a movie. At
level `analysis` these were accumulated while recording; at level `full` they are taken from the whole traces by the
same functions, so that both lead to the same tables and figures up to the rounding of the recorded numbers.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from recordings import names, period_statistics
from recordings.names import DURING, OUTSIDE, STATE
from recordings.period_statistics import PeriodStatistics
from recordings.periods import Periods
from recordings.reading import Recording, list_recordings, recording_folder
from runtime.errors import RunError, did_you_mean


class NotTestable(RunError):
    """An analysis lacks what it needs; the message says what and how to record it."""


class Source(Protocol):
    """Where the arrays of one layer of an experiment come from; stimuli are given as slices."""

    def site_traces(self, stimuli: slice) -> np.ndarray:
        """State (time, stimuli, sites, channels)."""

    def centre(self, variable: str) -> np.ndarray:
        """A variable of the middle of the map (time, stimuli, channels)."""

    def statistics(self, period: str) -> PeriodStatistics:
        """Statistics of 'during' or 'outside', of shape (stimuli, height, width, channels)."""

    def frames(self, stimulus: int, every: int) -> np.ndarray:
        """State (frames, height, width, channels) of a filmed stimulus."""

    def images(self) -> np.ndarray:
        """Stimuli as shown (stimuli, height, width, channels)."""

    def energy(self) -> np.ndarray | None:
        """Energy of all layers together (time, stimuli); None where it was not kept."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One layer of one recorded experiment."""

    name: str
    layer: int
    periods: Periods
    table: Mapping[str, np.ndarray]  # columns of the stimulus table, (stimuli,) each
    size: tuple[int, int]  # height and width of the map
    channels: int
    variables: tuple[str, ...]  # recorded besides the state
    sites: np.ndarray  # (stimuli, sites, 2) row and column in the map
    filmed: tuple[int, ...]  # stimuli with a movie
    movie_every: int  # steps from frame to frame
    about: Mapping[str, Any]
    source: Source

    @property
    def stimuli(self) -> int:
        """Number of stimuli."""
        return len(self.sites)

    def column(self, name: str) -> np.ndarray:
        """A column of the stimulus table; NotTestable if there is none."""
        if name not in self.table:
            raise NotTestable(f"the stimuli of '{self.name}' have no {name}")
        return np.asarray(self.table[name])

    def blocks(self, values_per_stimulus: int, limit: int = 1 << 27) -> Iterator[slice]:
        """Ranges of stimuli of at most `limit` values each, so that memory stays bounded."""
        step = max(1, limit // max(values_per_stimulus, 1))
        for first in range(0, self.stimuli, step):
            yield slice(first, min(first + step, self.stimuli))

    def site_traces(self, stimuli: slice = slice(None)) -> np.ndarray:
        """State at the sites (time, stimuli, sites, channels), float32."""
        return self.source.site_traces(slice(*stimuli.indices(self.stimuli)))

    def patch_sites(self) -> np.ndarray:
        """Numbers of the distinct sites: a coarse map has several sites of the image in one place."""
        return np.sort(np.unique(self.sites[0], axis=0, return_index=True)[1])

    def centre_site(self) -> int:
        """Number of the site in the middle of the map."""
        found = np.flatnonzero((self.sites[0] == np.asarray(self.size) // 2).all(axis=1))
        if not found.size:
            raise NotTestable(f"the recording '{self.name}' has no site in the middle of the map")
        return int(found[0])

    def centre(self, variable: str = STATE) -> np.ndarray:
        """A variable of the middle neuron of every channel (time, stimuli, channels), float32."""
        if variable == STATE:
            return self.site_traces()[:, :, self.centre_site()]
        if variable not in self.variables:
            raise NotTestable(
                f"the recording '{self.name}' holds no {variable}; add '{variable}' to config.record.variables and "
                "record again in another folder"
            )
        return self.source.centre(variable)

    def statistics(self) -> tuple[PeriodStatistics, PeriodStatistics]:
        """Statistics during the stimulus and outside it."""
        if self.periods.blank + self.periods.blank_after == 0:
            raise NotTestable(f"the recording '{self.name}' has no blank to compare the stimulus with")
        return self.source.statistics(DURING), self.source.statistics(OUTSIDE)


class RecordedSource:
    """A recording on disk; what level it was recorded at shows here and in `period_statistics.read` alone."""

    def __init__(self, recording: Recording, layer: int, sites: np.ndarray):
        self._recording, self._layer, self._sites = recording, layer, sites
        self._whole = recording.about["level"] == names.FULL
        self._block: tuple[int, np.ndarray] | None = None  # the whole traces read last stay in memory

    def _read_whole(self, stimulus: int) -> np.ndarray:
        block = stimulus // self._recording.schema.block
        rows = self._recording.schema.stimuli_of(block)
        if self._block is None or self._block[0] != block:
            self._block = None
            self._block = block, self._recording.read(names.traces(names.STATE, self._layer), stimulus=rows)
        return self._block[1][:, stimulus - rows.start]

    def site_traces(self, stimuli: slice) -> np.ndarray:
        """See `Source`."""
        if not self._whole:
            return self._recording.read(names.site_traces(self._layer), stimulus=stimuli).astype(np.float32)
        numbers = range(stimuli.start, stimuli.stop)
        return np.stack([self._read_whole(n)[:, *self._sites[n].T].astype(np.float32) for n in numbers], axis=1)

    def centre(self, variable: str) -> np.ndarray:
        """See `Source`."""
        if not self._whole:
            return self._recording.read(names.centre(variable, self._layer)).astype(np.float32)
        name = names.traces(variable, self._layer)
        height, width = self._recording.schema.arrays[name].shape[2:4]
        return self._recording.read(name, height=height // 2, width=width // 2).astype(np.float32)

    def statistics(self, period: str) -> PeriodStatistics:
        """See `Source`."""
        return period_statistics.read(self._recording, self._layer, period)

    def frames(self, stimulus: int, every: int) -> np.ndarray:
        """See `Source`."""
        if self._whole:
            return self._read_whole(stimulus)[::every].astype(np.float32)
        return self._recording.read(names.movie(self._layer), stimulus=stimulus).astype(np.float32)

    def images(self) -> np.ndarray:
        """See `Source`."""
        return self._recording.read(names.IMAGES)

    def energy(self) -> np.ndarray | None:
        """See `Source`."""
        if names.TOTAL_ENERGY not in self._recording.schema.arrays:  # of an earlier version of the program
            return None
        return self._recording.read(names.TOTAL_ENERGY)


def open_experiment(run_folder: str | pathlib.Path, name: str, layer: int | None = None) -> Experiment:
    """Open one layer of a recorded experiment.

    Args:
        run_folder: folder of the run.
        name: experiment, or EXPERIMENT@CONTROL.
        layer: number of the layer; the first recorded one by default.

    Raises:
        NotTestable: the experiment or the layer was not recorded.
        RecordingError: the recording is of another version, unfinished or damaged.
    """
    known = list_recordings(run_folder)
    if name not in known:
        raise NotTestable(
            f"the experiment '{name}' was not recorded{did_you_mean(name, known)}; add it to config.record.experiments "
            "and run the stage 'record'"
        )
    recording = Recording(recording_folder(run_folder, name))
    about, layers = recording.about, recording.about["layers"]
    layer = layers[0] if layer is None else layer
    if layer not in layers:
        raise NotTestable(
            f"layer {layer} is not in the recording '{name}', which holds layers {_listed(layers)}; set "
            "config.analyse.layer to one of them"
        )
    sites = recording.read(names.sites(layer)).astype(int)
    maps = names.traces(STATE, layer) if about["level"] == names.FULL else names.statistic("mean", layer)
    shape = recording.schema.arrays[maps].shape
    return Experiment(
        name=name,
        layer=layer,
        periods=Periods(*about["periods"]),
        table={column: np.asarray(values) for column, values in about["table"].items()},
        size=(shape[2], shape[3]),
        channels=shape[4],
        variables=tuple(about["variables"]),
        sites=sites,
        filmed=tuple(about["filmed"]),
        movie_every=about["movie_every"],
        about=about,
        source=RecordedSource(recording, layer, sites),
    )


def _listed(values: Sequence) -> str:
    return ", ".join(map(str, values))
