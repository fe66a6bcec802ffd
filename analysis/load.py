"""Recordings of a run folder as the analyses see them, whatever level they were recorded at.

An `Experiment` gives traces at sites, traces of the middle, statistics per neuron and period, and frames of a movie. At
level `analysis` these were accumulated while recording; at level `full` they are taken from the whole traces, block by
block, so that both lead to the same tables and figures up to the rounding of the recorded numbers.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from analysis.measures import statistics
from analysis.measures.activity import PeriodStatistics, period_statistics
from recordings.files import Recording, list_recordings, recording_folder
from recordings.periods import Periods
from runtime.config import RunError, did_you_mean

BATCH_STEPS = 100


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

    def centre(self, variable: str = "state") -> np.ndarray:
        """A variable of the middle neuron of every channel (time, stimuli, channels), float32."""
        if variable == "state":
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
        return self.source.statistics("during"), self.source.statistics("outside")


class ReducedSource:
    """A recording of level `analysis`."""

    def __init__(self, recording: Recording, layer: int):
        self._recording, self._layer = recording, layer

    def site_traces(self, stimuli: slice) -> np.ndarray:
        """See `Source`."""
        return self._recording.read(f"state/{self._layer}/sites", stimulus=stimuli).astype(np.float32)

    def centre(self, variable: str) -> np.ndarray:
        """See `Source`."""
        return self._recording.read(f"{variable}/{self._layer}/centre").astype(np.float32)

    def statistics(self, period: str) -> PeriodStatistics:
        """See `Source`."""
        about, layer = self._recording.about["statistics"], self._layer
        place = list(about).index(period)
        names = ("mean", "variance", "batch_mean", "batch_variance", "normality_spread")
        found = {name: self._recording.read(f"statistics/{layer}/{name}", period=place) for name in names}
        steps, batches = about[period]["steps"], about[period]["batches"]
        normality = statistics.shapiro_wilk_from_spread(found["normality_spread"], found["variance"], steps)
        moments = found["mean"], found["variance"], batches, found["batch_mean"], found["batch_variance"]
        return PeriodStatistics(steps, *moments, *normality)

    def frames(self, stimulus: int, every: int) -> np.ndarray:
        """See `Source`."""
        return self._recording.read(f"movie/{self._layer}", stimulus=stimulus).astype(np.float32)

    def images(self) -> np.ndarray:
        """See `Source`."""
        return self._recording.read("images")


class FullSource:
    """A recording of level `full`; the block read last stays in memory."""

    def __init__(self, recording: Recording, layer: int, periods: Periods, sites: np.ndarray):
        self._recording, self._layer, self._periods, self._sites = recording, layer, periods, sites
        self._block: tuple[int, np.ndarray] | None = None
        self._statistics: dict[str, PeriodStatistics] = {}

    def _read(self, stimulus: int) -> np.ndarray:
        block = stimulus // self._recording.schema.block
        rows = self._recording.schema.stimuli_of(block)
        if self._block is None or self._block[0] != block:
            self._block = None
            self._block = block, self._recording.read(f"state/{self._layer}", stimulus=rows)
        return self._block[1][:, stimulus - rows.start]

    def site_traces(self, stimuli: slice) -> np.ndarray:
        """See `Source`."""
        numbers = range(stimuli.start, stimuli.stop)
        return np.stack([self._read(n)[:, *self._sites[n].T].astype(np.float32) for n in numbers], axis=1)

    def centre(self, variable: str) -> np.ndarray:
        """See `Source`."""
        name = f"{variable}/{self._layer}"
        height, width = self._recording.schema.arrays[name].shape[2:4]
        return self._recording.read(name, height=height // 2, width=width // 2).astype(np.float32)

    def statistics(self, period: str) -> PeriodStatistics:
        """See `Source`."""
        if period not in self._statistics:
            length = self._recording.about.get("batch_steps", BATCH_STEPS)
            parts = {"during": (self._periods.during,), "outside": (self._periods.before, self._periods.after)}
            found = {name: [] for name in parts}
            for stimulus in range(self._recording.schema.stimuli):
                traces = self._read(stimulus)
                for name, segments in parts.items():
                    present = tuple(part for part in segments if part.stop > part.start)
                    found[name].append(period_statistics(traces, present, length))
            for name, each in found.items():
                columns = [np.stack(values) if np.ndim(values[0]) else values[0] for values in zip(*each, strict=True)]
                self._statistics[name] = PeriodStatistics(*columns)
        return self._statistics[period]

    def frames(self, stimulus: int, every: int) -> np.ndarray:
        """See `Source`."""
        return self._read(stimulus)[::every].astype(np.float32)

    def images(self) -> np.ndarray:
        """See `Source`."""
        return self._recording.read("images")


def recorded(run_folder: str | pathlib.Path) -> list[str]:
    """Names of the recordings of a run, controls among them."""
    return list_recordings(run_folder)


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
    names = recorded(run_folder)
    if name not in names:
        raise NotTestable(
            f"the experiment '{name}' was not recorded{did_you_mean(name, names)}; add it to config.record.experiments "
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
    periods, sites = Periods(*about["periods"]), recording.read(f"sites/{layer}").astype(int)
    full = about["level"] == "full"
    source = FullSource(recording, layer, periods, sites) if full else ReducedSource(recording, layer)
    shape = recording.schema.arrays[f"state/{layer}" if full else f"statistics/{layer}/mean"].shape
    return Experiment(
        name=name,
        layer=layer,
        periods=periods,
        table={column: np.asarray(values) for column, values in about["table"].items()},
        size=(shape[2], shape[3]),
        channels=shape[4],
        variables=tuple(about["variables"]),
        sites=sites,
        filmed=tuple(about["filmed"]),
        movie_every=about["movie_every"],
        about=about,
        source=source,
    )


def _listed(values: Sequence) -> str:
    return ", ".join(map(str, values))
