"""Synchrony of pairs of neurons in three experiments: overlapping receptive fields, two patches, one long stimulus.

All three go the same way: correlograms of all pairs with the stimulus and in the blank before it, a damped cosine
fitted to each, its amplitude averaged over repeats, and the amplitudes set against what tells the pairs apart.
Today's formulas normalise correlograms, so that amplitudes are correlation coefficients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.formulas import Formulas
from analysis.load import Experiment, NotTestable
from analysis.measures import (
    correlograms,
    gabor_fits,
    surrogates,
    synchrony,
)
from analysis.measures.synchrony import DURING, OUTSIDE
from analysis.results import Arrays
from analysis.steps.run import Outcome, Run, matched_channels
from recordings.names import LINE, PATCHES, REPEATED

LAGS = (-50, 50)
NEIGHBOUR_LAGS = 200
FITS_AT_ONCE = 16_384
EXAMPLES = 3


class Design(NamedTuple):
    """What tells the three experiments apart."""

    kind: str  # name of the boolean that splits the pairs: aligned, collinear or during
    keys: tuple[str, ...]  # columns of a group's key behind (stimulus group, period)
    # (during, outside) correlograms of a block of stimuli (stimuli, period, pairs, lags)
    correlograms: Callable[[slice], np.ndarray]
    pairs: Callable[[slice], np.ndarray]  # (stimuli, pairs, columns) keys of the pairs
    select: Callable[[synchrony.Groups], Arrays]  # x, y and the boolean
    labels: np.ndarray  # (stimuli,) number of the distinct stimulus


def _both_periods(periods, correlate) -> np.ndarray:
    parts = [correlate(period) for period in (periods.during, periods.before)]
    return np.stack(parts, axis=1)


def _check(experiment: Experiment) -> None:
    if min(experiment.periods.stimulus, experiment.periods.blank) < LAGS[1] - LAGS[0]:
        raise NotTestable(f"its stimulus or its blank is shorter than {LAGS[1] - LAGS[0]} steps")


class Tuning(NamedTuple):
    """What the channels of an experiment prefer; all NaN and False where that could not be found out."""

    preferred: np.ndarray  # (channels,) radian, NaN for untuned channels
    matched: np.ndarray  # (channels, stimulus groups)
    period: np.ndarray | None  # (channels,) radian, see `synchrony.against_orientation_difference`


def _tuning(run: Run, channels: int, angles: np.ndarray) -> Tuning:
    """Tuning with the angles of the stimulus groups; correlograms and surrogates need none."""
    if not run.store.done("preferences"):
        return Tuning(np.full(channels, np.nan), np.zeros((channels, len(angles)), bool), None)
    found = run.store.read("preferences")
    periods = run.formulas.preference_periods(found["is_orientation"])
    return Tuning(found["preferred_angle"], matched_channels(run, angles), periods)


def overlapping_fields(run: Run) -> Outcome:
    """Pairs of channels in the middle of the map, against the angle between their preferences."""
    experiment = run.open(REPEATED)
    if experiment.channels < 2:
        raise NotTestable("the layer has one channel, so that there are no pairs")
    _check(experiment)
    labels, first = synchrony.stimulus_groups(experiment.table, ("angle",))
    angles = experiment.column("angle")[first]
    tuning, traces = _tuning(run, experiment.channels, angles), experiment.centre()
    a, b = np.triu_indices(experiment.channels, 1)
    if run.formulas.both_orders:
        a, b = np.indices((experiment.channels, experiment.channels)).reshape(2, -1)

    def correlate(stimuli: slice) -> np.ndarray:
        def of(period):
            return correlograms.pair_correlograms(traces[period, stimuli], LAGS, run.formulas.normalised)[:, a, b]

        return _both_periods(experiment.periods, of)

    def select(groups):
        return synchrony.against_orientation_difference(groups, angles, *tuning)

    keys = np.stack([a, b], axis=1)
    design = Design("aligned", ("channel_a", "channel_b"), correlate, lambda s: _repeat(keys, s), select, labels)
    outcome = _analyse(run, "synchrony_overlapping", experiment, design)
    outcome.arrays.update(_neighbours(run, experiment, traces))
    outcome.arrays.update(_against_surrogates(run, traces[experiment.periods.during], labels))
    return outcome


def two_patches(run: Run) -> Outcome:
    """Pairs of a channel at the mobile and a channel at the static patch, against their distance."""
    experiment = run.open(PATCHES)
    _check(experiment)
    columns = ("static_angle", "mobile_angle", "row_offset", "column_offset")
    static, mobile, *offset = (experiment.column(name) for name in columns)
    labels, first = synchrony.stimulus_groups(experiment.table, columns)
    traces = experiment.site_traces()
    count = experiment.channels
    tuning = _tuning(run, count, static[first])
    keys = np.stack(np.indices((count, count)).reshape(2, -1), axis=1)

    def correlate(stimuli: slice) -> np.ndarray:
        def of(period):
            part = traces[period, stimuli]
            pairs = part[:, :, 1, :, None], part[:, :, 0, None, :]
            found = correlograms.cross_correlogram(*pairs, LAGS, run.formulas.normalised)
            return found.reshape(found.shape[0], -1, found.shape[-1])

        return _both_periods(experiment.periods, of)

    def select(groups):
        angles, offsets = (static[first], mobile[first]), np.stack(offset, axis=1)[first]
        return synchrony.against_distance_of_patches(groups, *angles, offsets, tuning.preferred, tuning.matched)

    names = ("channel_mobile", "channel_static")
    design = Design("collinear", names, correlate, lambda s: _repeat(keys, s), select, labels)
    outcome = _analyse(run, "synchrony_patches", experiment, design)
    both = np.concatenate([traces[experiment.periods.during, :, site] for site in (1, 0)], axis=2)
    outcome.arrays.update(_against_surrogates(run, both, labels, across=count))
    return outcome


def long_stimulus(run: Run) -> Outcome:
    """A channel in the middle and along a long stimulus, against the distance, with the stimulus and in the blank."""
    experiment = run.open(LINE)
    _check(experiment)
    labels, first = synchrony.stimulus_groups(experiment.table, ("angle",))
    angles = experiment.column("angle")[first]
    centre, count = experiment.centre_site(), experiment.channels
    tuning = _tuning(run, count, angles)
    middle = tuple(experiment.sites[0][centre])

    def correlate(stimuli: slice) -> np.ndarray:
        part = experiment.site_traces(stimuli)

        def of(period):
            pairs = part[period, :, centre, None], part[period]
            found = correlograms.cross_correlogram(*pairs, LAGS, run.formulas.normalised)
            return found.reshape(found.shape[0], -1, found.shape[-1])

        return _both_periods(experiment.periods, of)

    def pairs(stimuli: slice) -> np.ndarray:
        sites = experiment.sites[stimuli]
        channel = np.broadcast_to(np.arange(count), (*sites.shape[:2], count))
        column, row = (np.broadcast_to(sites[..., axis, None], channel.shape) for axis in (1, 0))
        return np.stack([channel, column, row], axis=-1).reshape(len(sites), -1, 3)

    def select(groups):
        return synchrony.against_distance_along(groups, angles, tuning.preferred, middle, tuning.matched)

    design = Design("during", ("channel", "column", "row"), correlate, pairs, select, labels)
    return _analyse(run, "synchrony_line", experiment, design)


def _repeat(keys: np.ndarray, stimuli: slice) -> np.ndarray:
    return np.broadcast_to(keys, (stimuli.stop - stimuli.start, *keys.shape))


def fit_blocks(stimuli: int, pairs: int) -> list[slice]:
    """Ranges of stimuli with about `FITS_AT_ONCE` correlograms each."""
    step = max(1, FITS_AT_ONCE // (2 * pairs))
    return [slice(start, min(start + step, stimuli)) for start in range(0, stimuli, step)]


def number_of_blocks(experiment: Experiment, formulas: Formulas) -> int:
    """Blocks in which the correlograms of an experiment are fitted."""
    channels, sites = experiment.channels, experiment.sites.shape[1]
    pairs = {
        REPEATED: channels**2 if formulas.both_orders else channels * (channels - 1) // 2,
        PATCHES: channels**2,
        LINE: channels * sites,
    }
    return len(fit_blocks(experiment.stimuli, max(1, pairs[experiment.name])))


def _analyse(run: Run, step: str, experiment: Experiment, design: Design) -> Outcome:
    lags = correlograms.lag_axis(*LAGS)
    formulas, count = run.formulas, design.pairs(slice(0, 1)).shape[1]

    def fit(stimuli: slice) -> Arrays:
        curves = design.correlograms(stimuli).reshape(-1, lags.size)
        found = formulas.fit_gabors(curves, lags)
        peaks = formulas.count_fitted_peaks(found, lags)
        kept = ("amplitude", "phase", "angular_frequency", "sigma", "cost")
        return {**{name: getattr(found, name) for name in kept}, "peaks": peaks}

    blocks = fit_blocks(experiment.stimuli, count)
    parts = list(run.store.parts(step, blocks, fit, run.tick))
    fits = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    pairs = np.concatenate([design.pairs(block) for block in blocks])[:, None]
    shape = (experiment.stimuli, 2, count)
    period = np.broadcast_to(np.array([DURING, OUTSIDE])[None, :, None], shape)
    label = np.broadcast_to(design.labels[:, None, None], shape)
    pairs = np.broadcast_to(pairs, (*shape, pairs.shape[-1]))
    keys = np.concatenate([label[..., None], period[..., None], pairs], axis=-1).reshape(-1, 2 + pairs.shape[-1])
    groups = formulas.group_repeats(keys, fits["amplitude"], fits["phase"], fits["peaks"])
    selected = design.select(groups)
    arrays = {"lags": lags, "x": selected["x"], "y": selected["y"], design.kind: selected[design.kind]}
    arrays |= _binned(run, selected, design.kind)
    arrays |= _examples(run, design, fits["amplitude"].reshape(shape), pairs, lags)
    columns = ("stimulus_group", "period", *design.keys)
    table = pd.DataFrame({name: groups.keys[:, i].astype(int) for i, name in enumerate(columns)})
    table["period"] = np.where(table["period"] == DURING, "during", "outside")
    table["repeats"], table["amplitude"] = groups.count, groups.amplitude
    table["amplitude_p_value_against_0"] = groups.amplitude_test.p_value
    table["phase"], table["phase_statistic"], table["phase_p_value"] = (
        groups.phase,
        groups.phase_statistic,
        groups.phase_p_value,
    )
    table["peaks"], table["exceeds_blank"] = groups.peak_count, synchrony.exceeds_blank(groups, 1)
    return Outcome(arrays, table)


def _binned(run: Run, selected: Arrays, kind: str) -> Arrays:
    """Means with 95 % bootstrap intervals at each x, and a line, of the pairs of each kind (0: the named one)."""
    found = {name: [] for name in ("bin_x", "bin_mean", "bin_low", "bin_high", "bin_count", "bin_kind")}
    slopes = {}
    rng = np.random.default_rng(run.options.seed)
    for number, wanted in enumerate((True, False)):
        here = selected[kind] == wanted
        x, y = selected["x"][here], selected["y"][here]
        slopes[f"slope_{number}"] = np.polyfit(x, y, 1) if np.unique(x).size > 1 else np.full(2, np.nan)
        if not x.size:
            continue
        width = run.formulas.angle_bin
        if kind == "aligned" and width:
            x = np.minimum(np.floor(x / width), round(np.pi / width) - 1) * width + 0.5 * width
        bins = synchrony.bin_by_value(x, y, rng, run.options.resamples, run.formulas.interval)
        found["bin_x"].append(bins.x)
        found["bin_kind"].append(np.full(len(bins.x), number))
        for name, field in (("mean", "estimate"), ("low", "low"), ("high", "high"), ("count", "count")):
            found[f"bin_{name}"].append(np.array([getattr(i, field) for i in bins.intervals], float))
    return {name: np.concatenate(values) if values else np.zeros(0) for name, values in found.items()} | slopes


def _examples(run: Run, design: Design, amplitude: np.ndarray, pairs: np.ndarray, lags: np.ndarray) -> Arrays:
    """Correlograms with fits of strong, middling and weak pairs of different neurons, with the stimulus and without."""
    mean = np.where((pairs[0, 0, :, 0] == pairs[0, 0, :, 1])[None], -1.0, amplitude[:, DURING])
    order = np.argsort(mean, axis=None)[int((mean < 0).sum()) :]
    if not order.size:
        order = np.argsort(amplitude[:, DURING], axis=None)
    picked = order[np.linspace(order.size - 1, 0, EXAMPLES).astype(int)]
    curves, channels, during = [], [], []
    for stimulus, pair in zip(*np.unravel_index(picked, mean.shape), strict=True):
        both = design.correlograms(slice(stimulus, stimulus + 1))[0, :, pair]
        for period in (DURING, OUTSIDE):
            curves.append(both[period])
            channels.append(pairs[stimulus, 0, pair, :2])
            during.append(period == DURING)
    curves = np.array(curves)
    fitted = gabor_fits.evaluate_gabors(run.formulas.fit_gabors(curves, lags), lags)
    a, b = np.array(channels).T if len(design.keys) == 2 else np.array(channels)[:, :1].T.repeat(2, axis=0)
    return {
        "example_curve": curves, "example_fit": fitted, "example_a": a, "example_b": b,
        "example_during": np.array(during),
    }  # fmt: skip


def _neighbours(run: Run, experiment: Experiment, traces: np.ndarray) -> Arrays:
    """Mean correlograms of channels 1 to 5 apart, with 99 % intervals."""
    reach = min(NEIGHBOUR_LAGS, experiment.periods.stimulus - 1)
    during, lags = traces[experiment.periods.during], (-reach, reach)
    distances, found = synchrony.neighbour_intervals(during, lags, run.formulas.normalised)
    return {
        "neighbour_distance": np.array(distances),
        "neighbour_lags": correlograms.lag_axis(*lags),
        "neighbour_mean": np.array([interval.estimate for interval in found]),
        "neighbour_low": np.array([interval.low for interval in found]),
        "neighbour_high": np.array([interval.high for interval in found]),
    }


def _against_surrogates(run: Run, traces: np.ndarray, labels: np.ndarray, across: int | None = None) -> Arrays:
    """Test of all pairs against surrogates; `across`: only pairs of one of the first channels with one of the rest."""
    rng = np.random.default_rng([run.options.seed, 1])
    reach = min(LAGS[1], len(traces) // 2 - 1)
    test = surrogates.synchrony_test(traces, rng, reach, run.options.surrogates, stimuli=labels, across=across)
    kept = (slice(None, across), slice(across, None)) if across else (slice(None), slice(None))
    return {
        "pair_amplitude": test.amplitude[kept],
        "pair_p": test.p_value[kept],
        "pair_q": test.q_value[kept],
        "excess": test.excess,
        "null_excess": test.null_excess,
        "overall_p": np.asarray(test.overall_p_value),
        "surrogate_kind": np.asarray(surrogates.choose_surrogates(labels)),
    }
