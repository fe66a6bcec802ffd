"""How activity moves in time: spectra by contrast, transients, mean traces, the lag of momentum behind the state."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.checks.resampling import trial_counts
from analysis.checks.resonance import resonance_of_contrasts
from analysis.checks.whittle import LEAST_Q
from analysis.load import Experiment, NotTestable
from analysis.measures import (
    correlograms,
    lag,
    spectra,
    transients,
)
from analysis.steps.run import Outcome, Run, matched_channels, primary_patch, result, shown_contrasts
from analysis.steps.trials import trials_of
from recordings.names import LINE, MOMENTUM, PRIMARY, STATE, TRIALS
from recordings.periods import TimeScale, calibrated_time_scale

MODES = ("patch", "neuron")
WINDOW = 256  # steps of a spectral window
SPECTROGRAM_COLUMNS = 300
CORRELOGRAM_LAGS = 100


def _fields(run: Run, experiment: Experiment, matched, groups, labels):
    """Summed state of matched neurons by group (modes, time, groups) and how many were summed (modes, groups)."""
    centre = np.flatnonzero(experiment.patch_sites() == experiment.centre_site())
    places = {"patch": np.arange(len(experiment.patch_sites())), "neuron": centre}
    summed = np.zeros((len(MODES), experiment.periods.total, labels.size))
    each = experiment.periods.total * experiment.channels * len(places["patch"])
    for stimuli in experiment.blocks(each, 1 << 25):
        traces = primary_patch(experiment, stimuli)
        for mode, name in enumerate(MODES):
            here, field = spectra.local_field_potential(traces[..., places[name]], matched.T[stimuli], groups[stimuli])
            summed[mode][:, np.searchsorted(labels, here)] += field
    per_label = np.array([matched[:, groups == label].sum() for label in labels])
    return summed, np.stack([per_label * len(places[name]) for name in MODES])


def find_spectra(run: Run) -> Outcome:
    """Power spectra and spectrograms of the summed state by contrast, and the peak frequency of every stimulus."""
    experiment = run.open(PRIMARY)
    periods, contrasts = experiment.periods, experiment.column("contrast")
    if min(periods.stimulus, periods.blank) < 16:
        raise NotTestable("its stimulus or its blank is shorter than 16 steps")
    levels, shown = np.unique(contrasts), shown_contrasts(contrasts)
    matched = matched_channels(run, experiment.column("angle"))
    summed, neurons = _fields(run, experiment, matched, contrasts, levels)
    keep = np.searchsorted(levels, shown)
    series = np.moveaxis(summed, 1, 0)[:, :, keep]
    neurons = neurons[:, keep]
    silent = neurons[..., None] == 0
    frequency, power = spectra.power_spectrum(series[periods.during], window=WINDOW)
    blank_frequency, blank = spectra.power_spectrum(series[periods.before], window=WINDOW)
    # Periods of different lengths may have windows of different lengths.
    blank = np.apply_along_axis(lambda row: np.interp(frequency, blank_frequency, row), -1, blank)
    rest = series[periods.burn_in :]
    window = min(WINDOW, periods.stimulus // 2 * 2)
    windows = spectra.spectrogram(rest, 1.0, window, max(1, (len(rest) - window) // SPECTROGRAM_COLUMNS))
    peaks = spectra.driven_peak_frequency(field_of_stimuli(experiment), periods, run.scale)
    arrays = {
        "contrasts": shown,
        "frequency": frequency,
        "power": np.where(silent, np.nan, power),
        "blank_power": np.where(silent, np.nan, blank),
        "neurons": neurons,
        "spectrogram_frequency": windows.frequencies,
        "spectrogram_step": windows.times + periods.burn_in,
        "spectrogram": np.where(silent[..., None], np.nan, windows.power * windows.frequencies[:, None]).astype("f4"),
        "peak_frequency": peaks / run.scale.sampling_rate,
        "stimulus_contrast": contrasts,
    }
    table = pd.DataFrame(
        {"frequency_cycles_per_step": frequency, "frequency_hertz": frequency * run.scale.sampling_rate}
    )
    for mode, name in enumerate(MODES):
        for group, contrast in enumerate(shown):
            table[f"{name}_contrast_{contrast:.2f}"] = arrays["power"][mode, group]
            table[f"{name}_contrast_{contrast:.2f}_blank"] = arrays["blank_power"][mode, group]
    return Outcome(arrays, table)


def field_of_stimuli(experiment: Experiment) -> np.ndarray:
    """State summed over the patch and all channels (time, stimuli)."""
    each = experiment.periods.total * experiment.channels * len(experiment.patch_sites())
    parts = [
        primary_patch(experiment, stimuli).sum(axis=(2, 3), dtype=np.float64)
        for stimuli in experiment.blocks(each, 1 << 25)
    ]
    return np.concatenate(parts, axis=1)


def find_transients(run: Run) -> Outcome:
    """On and off transients by contrast, and the overshoot of every stimulus."""
    experiment = run.open(PRIMARY)
    periods, contrasts = experiment.periods, experiment.column("contrast")
    lead = min(100, periods.blank, periods.stimulus)
    tail = min(150, periods.stimulus, periods.blank_after)
    if tail < 150:
        raise NotTestable("its stimulus or last blank is shorter than 150 steps")
    shown = shown_contrasts(contrasts)
    places = [slice(None), np.flatnonzero(experiment.patch_sites() == experiment.centre_site())]
    each = experiment.periods.total * experiment.channels * len(experiment.patch_sites())
    parts = []
    for stimuli in experiment.blocks(each, 1 << 25):
        traces = primary_patch(experiment, stimuli)
        every = np.arange(traces.shape[1])
        parts.append([transients.transients(traces[..., p], every, periods, lead, lead + tail) for p in places])
    # Sums over stimuli of a contrast; the rectification is done neuron by neuron, so that parts add up.
    member = (contrasts[:, None] == shown).astype(float)
    on, off = (
        np.stack([np.concatenate([getattr(p[mode], part) for p in parts], axis=1) @ member for mode in range(2)])
        for part in ("on", "off")
    )
    strength = np.concatenate([transients.transient_strength(part[0]) for part in parts])
    steps = np.arange(lead + tail) - lead
    arrays = {"contrasts": shown, "on_step": steps, "on": on, "off_step": steps, "off": off}
    arrays |= {"strength": strength, "stimulus_contrast": contrasts}
    table = pd.DataFrame({"stimulus": np.arange(len(contrasts)), "contrast": contrasts, "strength": strength})
    return Outcome(arrays, table)


def find_traces(run: Run) -> Outcome:
    """Mean traces of every channel around onset by contrast, and autocorrelograms of its matched, active neurons."""
    experiment, tested = run.open(PRIMARY), result(run, f"activity_{PRIMARY}")
    periods, contrasts = experiment.periods, experiment.column("contrast")
    angles = experiment.column("angle")
    matched = matched_channels(run, angles)
    sites = experiment.patch_sites()
    rows, columns = experiment.sites[0][sites].T
    active = np.moveaxis(tested["active"][:, rows, columns], 1, 2) & matched.T[:, :, None]
    before, after = min(400, periods.onset), min(400, periods.total - periods.onset)
    steps = slice(periods.onset - before, periods.onset + after)
    levels = np.unique(contrasts)
    # Among the stimuli that match a channel, those of one angle are drawn: the first.
    used = np.array([angles[m][0] if m.any() else np.nan for m in matched])
    drawn = matched & (angles[None] == used[:, None])
    counts = np.stack([drawn[:, contrasts == level].sum(axis=1) for level in levels], axis=1)
    traces = np.zeros((experiment.channels, before + after, levels.size))
    field = np.zeros((periods.total, experiment.channels))
    each = periods.total * experiment.channels * len(sites)
    for stimuli in experiment.blocks(each, 1 << 25):
        state = primary_patch(experiment, stimuli)
        summed = state[steps].sum(axis=3, dtype=np.float64)
        for place, level in enumerate(levels):
            here = drawn[:, stimuli] & (contrasts[stimuli] == level)
            traces[:, :, place] += np.einsum("tsc,cs->ct", summed, here)
        field += np.einsum("tscn,scn->tc", state, active[stimuli].astype(np.float32))
    with np.errstate(invalid="ignore", divide="ignore"):
        traces = np.where(counts[:, None] > 0, traces / counts[:, None], np.nan)
    lags = min(CORRELOGRAM_LAGS, periods.stimulus - 1, periods.blank - 1)
    arrays = {
        "steps": np.arange(steps.start, steps.stop) - periods.onset,
        "contrasts": levels,
        "traces": traces.astype(np.float32),
        "angle": used,
        "lags": np.arange(-lags, lags + 1),
        "autocorrelogram_during": correlograms.autocorrelogram(field[periods.during], lags),
        "autocorrelogram_before": correlograms.autocorrelogram(field[periods.before], lags),
    }
    return Outcome(arrays)


def find_lag(run: Run) -> Outcome:
    """The lag of inhibition, the negative momentum, behind excitation in the middle of every channel, and traces."""
    candidates = [name for name in (LINE, PRIMARY, *run.names) if name in run.names]
    experiments = (run.open(name) for name in candidates)
    experiment = next((e for e in experiments if MOMENTUM in e.variables and e.periods.blank > 1), None)
    if experiment is None:
        raise NotTestable("no experiment recorded the momentum; add 'momentum' to config.record.variables")
    periods = experiment.periods
    state, momentum = experiment.centre(STATE), experiment.centre(MOMENTUM)
    lags = run.formulas.lags(state, momentum, periods)
    reach = min(CORRELOGRAM_LAGS, periods.stimulus - 1)
    mean = np.zeros((experiment.channels, 2 * reach + 1))
    for channel in range(experiment.channels):
        pair = (x[periods.during, :, channel] for x in (state, -momentum))
        mean[channel] = correlograms.cross_correlogram(*pair, (-reach, reach + 1), normalise=True).mean(axis=0)
    # The stimulus that drives the state most is drawn.
    stimulus = int(np.abs(state[periods.during].mean(axis=0) - state[periods.before].mean(axis=0)).sum(axis=1).argmax())
    drawn = {
        f"{name}_{when}": lag.end_of_period(values[:, stimulus], period, 300).T
        for name, values in ((STATE, state), (MOMENTUM, momentum))
        for when, period in (("during", periods.during), ("before", periods.before))
    }
    steps = min(values.shape[1] for values in drawn.values())
    auto = min(CORRELOGRAM_LAGS, periods.stimulus - 1, periods.blank - 1)
    arrays = {
        "experiment": np.asarray(experiment.name),
        "stimulus": np.asarray(stimulus),
        "lag_steps": lags,
        "correlogram_lags": np.arange(-reach, reach + 1),
        "correlogram": mean,
        "trace_steps": np.arange(steps),
        **{name: values[:, -steps:] for name, values in drawn.items()},
        "autocorrelogram_lags": np.arange(-auto, auto + 1),
        "autocorrelogram_during": correlograms.autocorrelogram(state[periods.during, stimulus], auto),
        "autocorrelogram_before": correlograms.autocorrelogram(state[periods.before, stimulus], auto),
    }
    means = run.formulas.mean_lags(lags.T)
    table = pd.DataFrame({"channel": np.arange(len(means)), "lag_steps": means, "lag_ms": run.scale.to_ms(means)})
    return Outcome(arrays, table)


def calibrated_scale(run: Run, contrast: float, hertz: float) -> TimeScale:
    """The time scale on which the resonance at one contrast (the nearest shown) is `hertz`.

    Args:
        run: with a recording of trials, or of contrasts and angles.
        contrast: at which the summed state of the middle is looked at, see `checks.resonance`.
        hertz: that its resonance shall have.

    Raises:
        NotTestable: the spectrum at this contrast has no peak.
    """
    trials = trials_of(run.open(TRIALS if TRIALS in run.names else PRIMARY), TimeScale())
    nearest = trials.levels[np.abs(trials.levels - contrast).argmin()]
    point, _ = resonance_of_contrasts(trials, trial_counts(trials.contrast, resamples=1))
    here = int(np.flatnonzero(trials.levels == nearest)[0])
    if not point.quality[here] > LEAST_Q:
        raise NotTestable(
            f"the spectrum at contrast {nearest:g} has no peak (Q {point.quality[here]:.2g}), so that the time scale "
            "cannot be calibrated; choose another config.analyse.calibrate_at, or None"
        )
    return calibrated_time_scale(float(point.frequency[here]), hertz, f"resonance at contrast {nearest:g}")
