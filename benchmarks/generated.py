"""Experiments of any size that are generated instead of recorded: for benchmarks and tests of the whole analysis.

Every neuron is autocorrelated noise with a response and an oscillation that grow with contrast and with how well the
angle suits its channel; channels prefer angles that are evenly spread. Traces are kept in float16, as recordings are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analysis.checks.mechanisms import autoregressive_noise
from analysis.load import Experiment
from analysis.measures.statistics import circular_distance
from benchmarks.synthetic import narrow_band_noise
from recordings.names import DURING, MOMENTUM, OUTSIDE, STATE
from recordings.period_statistics import PeriodStatistics
from recordings.periods import Periods, TimeScale

WIDTH = 6.0  # pixels, spread of the response around the middle
RESPONSE = 3.0  # mean response in standard deviations of the noise


class GeneratedSource:
    """Arrays of a generated experiment, see `load.Source`; statistics are drawn, not computed from traces."""

    def __init__(self, table: Mapping, sites, size, channels: int, periods: Periods, seed: int):
        self._sites, self._size, self._channels, self._periods = sites, size, channels, periods
        self._seed = seed
        count = len(sites)
        contrast = np.asarray(table.get("contrast", np.ones(count)), float)
        angle = np.asarray(table["angle"] if "angle" in table else table["static_angle"], float)
        preferred = np.pi * np.arange(channels) / channels
        apart = circular_distance(angle[:, None], preferred[None], np.pi)
        self._gain = contrast[:, None] / max(contrast.max(), 1e-9) * np.exp(-((apart / 0.5) ** 2))
        self._frequency = (30 + 25 * contrast / max(contrast.max(), 1e-9)) / TimeScale().sampling_rate
        self._traces = self._make_traces()

    def _make_traces(self) -> np.ndarray:
        periods, count, sites = self._periods, *self._sites.shape[:2]
        traces = np.empty((periods.total, count, sites, self._channels), np.float16)
        random = np.random.default_rng(self._seed)
        on = np.zeros((periods.total, 1, 1))
        on[periods.during] = 1
        for stimulus in range(count):
            shape = (periods.total, sites, self._channels)
            noise = autoregressive_noise(random, shape)
            wave = narrow_band_noise(random, (periods.total, 1, *shape[1:]), self._frequency[stimulus])[:, 0]
            traces[:, stimulus] = 0.1 * (noise + on * self._gain[stimulus] * (RESPONSE + wave))
        return traces

    def site_traces(self, stimuli: slice) -> np.ndarray:
        """See `load.Source`."""
        return self._traces[:, stimuli].astype(np.float32)

    def centre(self, variable: str) -> np.ndarray:
        """See `load.Source`; the momentum is the change of the state."""
        place = np.flatnonzero((self._sites[0] == np.asarray(self._size) // 2).all(axis=1))[0]
        return np.gradient(self._traces[:, :, place].astype(np.float32), axis=0)

    def statistics(self, period: str) -> PeriodStatistics:
        """See `load.Source`."""
        segments = {DURING: (self._periods.during,), OUTSIDE: (self._periods.before, self._periods.after)}[period]
        steps = [part.stop - part.start for part in segments]
        length = max(1, min([100, *(n // 8 for n in steps if n)]))
        batches = sum(n // length for n in steps)
        rows, columns = (np.arange(n) - n // 2 for n in self._size)
        profile = np.exp(-(rows[:, None] ** 2 + columns[None] ** 2) / (2 * WIDTH**2))
        mean = 0.1 * RESPONSE * (period == DURING) * self._gain[:, None, None, :] * profile[None, :, :, None]
        noise = np.random.default_rng([self._seed, len(period)]).standard_normal(mean.shape, dtype=np.float32)
        # Batch means of AR(1) noise with correlation 0.9 have 19 times the variance of independent steps.
        batch_variance = 0.01 * 19 / length
        mean = mean.astype(np.float32) + noise * np.float32(np.sqrt(batch_variance / batches))
        spread = np.full(mean.shape, batch_variance, np.float32)
        variance = np.full_like(spread, 0.01)
        return PeriodStatistics(
            sum(steps), mean, variance, batches, mean, spread, np.sqrt(0.999 * (sum(steps) - 1) * variance)
        )

    def frames(self, stimulus: int, every: int) -> np.ndarray:
        """See `load.Source`."""
        count = -(-self._periods.total // every)
        return np.random.default_rng(self._seed).standard_normal((count, *self._size, self._channels), dtype=np.float32)

    def images(self) -> np.ndarray:
        """See `load.Source`."""
        return np.zeros((len(self._sites), *self._size, 1), np.float32)


def generate_experiment(
    name: str, table: Mapping, sites, size: tuple[int, int], channels: int, periods: Periods, seed: int = 0
) -> Experiment:
    """Generate an experiment.

    Args:
        name: of the experiment.
        table: stimulus table, columns of (stimuli,) with an angle or a static_angle, radian, and maybe a contrast.
        sites: (stimuli, sites, 2) places in the map.
        size: height and width of the map.
        channels: number of channels.
        periods: lengths of the periods.
        seed: of all noise.
    """
    sites = np.asarray(sites, int)
    return Experiment(
        name=name,
        layer=1,
        periods=periods,
        table={column: np.asarray(values) for column, values in table.items()},
        size=size,
        channels=channels,
        variables=(STATE, MOMENTUM),
        sites=sites,
        filmed=(0,),
        movie_every=5,
        about={"experiment": name, "level": "analysis", "generated": True},
        source=GeneratedSource(table, sites, size, channels, periods, seed),
    )
