"""A run folder with the results of an analysis, made up: what the report reads, without a model and its recordings.

Arrays have the shapes and meaning that the steps of `analysis.pipeline` write; where it is easy they are made by the
project's own functions from synthetic traces.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from analysis.formulas import TODAY
from analysis.measures import (
    activity,
    correlograms,
    lag,
    orientation,
    spectra,
    statistics,
    surrogates,
    transients,
)
from analysis.results import Store
from benchmarks.synthetic import Planted, make_recording
from recordings.periods import Periods, TimeScale

PERIODS = Periods(20, 300, 400, 200)
LAYER = 1
EXPERIMENTS = ("contrast_and_angle", "just_angle", "long_just_fewangles", "double_fewlocs_and_fewerangles")


def stimulus_table(name: str, contrasts: int, angles: int) -> dict[str, np.ndarray]:
    """The table of a small stimulus set."""
    if name == "contrast_and_angle":
        angle, contrast = np.meshgrid(
            np.arange(angles) * 2 * np.pi / angles, np.linspace(0, 2.8, contrasts), indexing="ij"
        )
        return {"angle": angle.ravel(), "contrast": contrast.ravel(), "repeat": np.zeros(angle.size, int)}
    if name == "double_fewlocs_and_fewerangles":
        static, distance, turn = np.meshgrid(np.arange(4) * np.pi / 2, (3, 5), (0, np.pi / 2), indexing="ij")
        rows = {"static_angle": static.ravel(), "mobile_angle": (static + turn).ravel(), "distance": distance.ravel()}
        return rows | {"contrast": np.full(static.size, 4.8), "repeat": np.zeros(static.size, int)}
    angle = np.arange(angles) * 2 * np.pi / angles
    return {"angle": angle, "contrast": np.full(angles, 2.4), "repeat": np.zeros(angles, int)}


def activity_arrays(rng, table, channels: int, size: int, preferred) -> dict[str, np.ndarray]:
    """A blob in the middle of the map of every channel, as strong as its tuning and the contrast."""
    count = len(table["contrast"])
    angle = table.get("angle", table.get("static_angle"))
    place = np.linspace(-1, 1, size)
    blob = np.exp(-8 * (place[:, None] ** 2 + place**2))
    drive = table["contrast"][:, None] * (1 + np.cos(2 * (angle[:, None] - preferred))) / 4
    signal = drive[:, None, None] * blob[..., None]
    shape = (count, size, size, channels)
    during, outside = signal + 0.1 * rng.standard_normal(shape), 0.1 * rng.standard_normal(shape)
    p_value = 2 * stats.norm.sf(np.abs(during - outside) / np.hypot(0.1, 0.1))
    q_value = statistics.benjamini_hochberg(p_value.ravel()).reshape(shape)
    difference = np.moveaxis(during - outside, 3, 1)
    reach = np.abs(difference).max(axis=(0, 2, 3))
    limits = np.broadcast_to(np.stack([-reach, reach], axis=-1), (count, channels, 2))
    carrier = np.cos(
        np.pi * size * (np.cos(angle)[:, None, None] * place + np.sin(angle)[:, None, None] * place[:, None]) / 4
    )
    images = 0.3 * table["contrast"][:, None, None] / 2.8 * carrier * blob
    return {
        "mean_during": during, "mean_outside": outside, "effect_size": during - outside, "p_value": p_value,
        "q_value": q_value, "active": (q_value < 0.05) & (during > outside), "limits": limits,
        "images": images[..., None].astype(np.float32), **{f"table_{key}": values for key, values in table.items()},
    }  # fmt: skip


def preference_arrays(rng, channels: int, preferred, tuned) -> dict[str, np.ndarray]:
    """Tuning curves of channels; those not `tuned` are noise."""
    angles = np.arange(64) * 2 * np.pi / 64
    curves = np.cos(2 * (angles - preferred[:, None])) * tuned[:, None] + 0.4 * rng.standard_normal((channels, 64))
    found = orientation.find_orientation_preferences(angles, curves)
    kept = orientation.assign_orientation(found)
    first, second = (orientation.evaluate_cosine(fit, angles) for fit in (found.direction, found.orientation))
    return {
        "angles": angles, "curves": found.curves, "fitted": np.where(found.is_orientation[:, None], second, first),
        "preferred_angle": kept, "angle_of_fit": found.preferred_angle, "is_orientation": found.is_orientation,
        "amplitude": found.amplitude, "explained": found.explained, "q_value": found.q_value,
    }  # fmt: skip


def traces_arrays(rng, channels: int, contrasts: int) -> dict[str, dict[str, np.ndarray]]:
    """The steps that are made from traces of the experiment with contrasts, and the lag."""
    planted = Planted(frequency_rise=25, transient=3, oscillation=2, lag=3.0)
    recording = make_recording(rng, planted, contrasts, 4, channels, PERIODS)
    state, contrast, periods = recording.state, recording.contrast, recording.periods
    levels = np.unique(contrast)
    shown = levels[np.unique(np.linspace(0, levels.size - 1, 4).round().astype(int))]
    field = state.sum(axis=2)
    series = np.stack([field[:, contrast == level].sum(axis=1) for level in shown], axis=1)
    series = np.stack([series, series / channels], axis=1)  # (time, modes, contrasts)
    frequency, power = spectra.power_spectrum(series[periods.during], window=128)
    _, blank = spectra.power_spectrum(series[periods.before], window=128)
    windows = spectra.spectrogram(series[periods.burn_in :], 1.0, 128, 4)
    peaks = spectra.driven_peak_frequency(field, periods) / TimeScale().sampling_rate
    each = [transients.transients(state, contrast, periods, 100, 250)] * 2
    single = transients.transients(state, np.arange(contrast.size), periods, 100, 250)
    keep = np.isin(each[0].groups, shown)
    drawn = slice(periods.onset - 200, periods.onset + 300)
    means = np.stack([state[drawn][:, contrast == level].mean(axis=1) for level in levels], axis=-1)
    lags = np.arange(-100, 101)
    auto = [correlograms.autocorrelogram(state[part].mean(axis=1), 100) for part in (periods.during, periods.before)]
    during = spectra.find_oscillations(state[periods.during].reshape(periods.stimulus, -1), 300)
    highest = during.frequencies[np.where(during.peaks, during.power, 0).argmax(axis=1)]
    product = spectra.frequency_power(during)
    inhibition = -recording.momentum
    lag_steps = lag.lags_of_inhibition(state, recording.momentum, periods)
    both = correlograms.cross_correlogram(state[periods.during], inhibition[periods.during], (-100, 101), True)
    ends = {}
    for name, traces in (("state", state), ("momentum", recording.momentum)):
        for period, part in (("during", periods.during), ("before", periods.before)):
            ends[f"{name}_{period}"] = lag.end_of_period(traces[:, -1], part, 300).T
    return {
        "spectra": {
            "contrasts": shown, "frequency": frequency, "power": power, "blank_power": blank,
            "neurons": np.full((2, shown.size), channels), "spectrogram_frequency": windows.frequencies,
            "spectrogram_step": windows.times + periods.burn_in,
            "spectrogram": windows.power * windows.frequencies[:, None], "peak_frequency": peaks,
            "stimulus_contrast": contrast,
        },
        "oscillations": {
            "contrasts": levels, "count": np.full(levels.size, 4 * channels),
            "frequency_power": spectra.mean_by_contrast(product, contrast.repeat(channels))[1],
            "frequency_during": highest, "frequency_outside": rng.permutation(highest) / 2,
        },
        "transients": {
            "contrasts": shown, "on_step": np.arange(-100, 150), "on": np.stack([e.on[:, keep] for e in each]),
            "off_step": np.arange(-100, 150), "off": np.stack([e.off[:, keep] for e in each]),
            "strength": transients.transient_strength(single), "stimulus_contrast": contrast,
        },
        "traces": {
            "steps": np.arange(-200, 300), "contrasts": levels, "traces": np.moveaxis(means, 1, 0),
            "angle": np.zeros(channels), "lags": lags, "autocorrelogram_during": auto[0],
            "autocorrelogram_before": auto[1],
        },
        "lag": {
            "experiment": np.asarray("contrast_and_angle"), "stimulus": np.asarray(contrast.size - 1),
            "lag_steps": lag_steps, "correlogram_lags": lags, "correlogram": both.mean(axis=0),
            "trace_steps": np.arange(300), **ends, "autocorrelogram_lags": lags, "autocorrelogram_during": auto[0],
            "autocorrelogram_before": auto[1],
        },
    }  # fmt: skip


def synchrony_arrays(rng, kind: str, channels: int) -> dict[str, np.ndarray]:
    """Amplitudes of pairs that fall with angle or distance, a test against surrogates and fitted examples."""
    recording = make_recording(rng, Planted(synchrony=0.4, oscillation=1.5), 1, 8, max(channels, 2), PERIODS)
    during = recording.state[PERIODS.during]
    x = rng.choice(np.arange(3, 11), 120) if kind != "aligned" else rng.uniform(0, np.pi, 120)
    first = rng.random(120) < 0.5
    y = 0.3 * np.exp(-x / 5) * (1 + first) + 0.05 * rng.random(120)
    bins = {key: [] for key in ("bin_x", "bin_mean", "bin_low", "bin_high", "bin_count", "bin_kind")}
    slopes = {}
    for number, wanted in enumerate((True, False)):
        slopes[f"slope_{number}"] = np.polyfit(x[first == wanted], y[first == wanted], 1)
        rounded = np.round(x[first == wanted])
        for level in np.unique(rounded):
            members = y[first == wanted][rounded == level]
            if members.size > 1:
                interval = statistics.student_interval(members, level=0.95)
                row = (level, interval.estimate, interval.low, interval.high, members.size, number)
                for key, value in zip(bins, row, strict=True):
                    bins[key].append(float(value))
    lags = correlograms.lag_axis(-50, 50)
    fits = np.linspace(0.6, 0.1, 4)[:, None] * np.cos(0.5 * lags) * np.exp(-((lags / 30) ** 2))
    curves = fits + 0.03 * rng.standard_normal(fits.shape)
    arrays = {
        "lags": lags, "x": x, "y": y, kind: first, **{key: np.array(values) for key, values in bins.items()}, **slopes,
        "example_curve": curves, "example_fit": fits, "example_a": np.arange(4), "example_b": np.arange(4) + 1,
        "example_during": np.arange(4) % 2 == 0,
    }  # fmt: skip
    if kind == "during":
        return arrays
    test = surrogates.synchrony_test(during, rng, 50, 99)
    arrays |= {"pair_amplitude": test.amplitude, "pair_p": test.p_value, "pair_q": test.q_value, "excess": test.excess}
    arrays |= {"null_excess": test.null_excess, "overall_p": np.asarray(test.overall_p_value)}
    arrays["surrogate_kind"] = np.asarray("shuffle")
    if kind == "aligned":
        rows = correlograms.pair_correlograms(during, (-150, 150), True)[:, 0, 1]
        interval = statistics.student_interval(rows, level=0.99)
        arrays |= {"neighbour_distance": np.array([1]), "neighbour_lags": correlograms.lag_axis(-150, 150)}
        for name, value in zip(("mean", "low", "high"), interval[:3], strict=True):
            arrays[f"neighbour_{name}"] = np.asarray(value)[None]
    return arrays


def check_row(name: str, found: float | None, verdict: str, unit: str = "Hz", reason: str = "", **controls) -> dict:
    """A row of checks.json; the interval is ± 20 % of what was found."""
    spread = None if found is None else 0.2 * abs(found) + 0.01
    bounds = {"low": None, "high": None} if found is None else {"low": found - spread, "high": found + spread}
    row = {"check": name.replace(" ", "_"), "name": name, "expected": "more", "found": found, **bounds, "unit": unit}
    return row | {"verdict": verdict, "reason": reason, "controls": controls, "known": None}


def differing(row: dict, by: float, corrected: float) -> dict:
    """A control with its difference from the field."""
    return row | {
        "difference": {"found": by, "low": by - 1, "high": by + 1, "unit": row["unit"], "corrected": corrected}
    }


def checks() -> list[dict]:
    """Verdicts of every kind."""
    absent = check_row("", 1.0, "absent")
    rows = [
        check_row("resonance rises", 21.0, "present", langevin=differing(absent, 20.0, 0.004), shuffled_weights=absent),
        check_row("overshoot grows", 0.7, "present", "ratio", langevin=check_row("", 0.6, "present", "ratio")),
        check_row("channels share a rhythm", 0.1, "undecided", "coherence", "the interval covers 0; 40 trials decide"),
        check_row("sampling is faster", 0.9, "absent", "times", shuffled_weights=check_row("", 0.2, "undecided", "ms")),
        check_row("variability is quenched", None, "not tested", "ratio", "no stimulus was shown twice"),
    ]
    levels = {"contrast": [0.4, 0.8]}
    rows[0]["details"] = levels | {"hertz": [20.0, 41.0], "hertz_interval": [[19.0, 21.0], [40.0, 42.0]]}
    rows[1]["details"] = levels | {"ratio": [None, 1.7], "ratio_interval": [[None, None], [1.5, 1.9]]}
    rows[0]["known"], rows[1]["known"] = check_row("", 23.0, "present"), check_row("", 1.4, "undecided", "ratio")
    rows[4]["check"], contrast = "variability_quenched", [0.4, 0.8, 1.2]
    hertz = {"hertz": [20, 30, 41], "hertz_interval": [[18, 22], [28, 32], [39, 43]]}
    ratio = {"ratio": [1.1, 1.3, None], "ratio_interval": [[1, 1.2], [1.2, 1.4], [None, None]]}
    rows[0]["details"], rows[1]["details"] = {"contrast": contrast, **hertz}, {"contrast": contrast, **ratio}
    return rows


def predictions() -> dict:
    """Content of predictions.json: a highest curvature and a resonance that rise."""
    signal = {"resonance": [0.05, 0.08, 0.12, 0.0], "overshoot": [None, 0.1, 0.3, 0.4], "phase": [0.2, 0.3, 0.5, None]}
    signal["variance"] = [2.0, 1.8, 1.2, 1.0]
    modes = {"step_curvature": [[0.1, 0.5, 1.0 + level] for level in range(4)]}
    return {"contrasts": [0.0, 0.4, 0.8, 1.2], "modes": modes, "signals": {f"layer_{LAYER}/site": signal}}


def measured() -> dict:
    """Content of measured.json."""
    phase = {"contrast": [0.8, 1.2], "degrees": [12, 20], "low": [10, 18], "high": [14, None]}
    return {"": {"contrast": [0.4, 0.8, 1.2], "summed_variance_ratio": [1.0, 0.8, None], "phase": phase}}


def diagnostics() -> dict:
    """Content of diagnostics.json, with a layer that does not move."""
    keys = ("r_hat", "effective_samples", "effective_samples_per_gradient", "effective_samples_per_second")
    mixing = {
        name: dict(zip((*keys, "autocorrelation_time"), values, strict=True))
        for name, values in {
            "energy": (1.004, 900.0, 0.11, 60.0, 8.0),
            "layer_0": (1.05, 300.0, 0.04, 20.0, 27.0),
            "layer_1": (None, None, None, None, None),
        }.items()
    }
    gap = {"energy": -1.2, "impostor_energy": 0.4, "gap": 1.6, "auroc": 0.99}
    return {
        "updates": 300,
        "mixing": mixing,
        "temperature": {"of_noise": [0.001, 0.0012], "of_momentum": [0.0011, 0.0013]},
        "stability": {"energy_per_pixel": [-1.0, -1.1, -1.05], "units_on_bound": [0.01, 0.4]},
        "cost": {"gradients": 8000, "seconds": 15.0, "device": "cpu"},
        "energy_gap": {"noise": gap, "shuffled pixels": gap | {"impostor_energy": -0.3, "auroc": 0.9}},
    }


def fabricate(
    run: Path,
    channels: int = 6,
    size: int = 12,
    contrasts: int = 5,
    angles: int = 4,
    seed: int = 0,
    movie: int = 20,
    names: tuple[str, ...] = EXPERIMENTS,
) -> Path:
    """Write a whole analysed run into a folder; returns the folder."""
    rng = np.random.default_rng(seed)
    run = Path(run)
    tables = {name: stimulus_table(name, contrasts, angles) for name in names}
    recorded = {
        "level": "analysis",
        "updates": 300,
        "seed": 0,
        "architecture": "tiny",
        "sampler": {"name": "underdamped"},
    }
    experiments = {name: recorded | {"experiment": name} for name in (*names, "contrast_and_angle@langevin")}
    about = {
        "layer": LAYER, "channels": channels, "size": [size, size], "periods": list(PERIODS),
        "wording": TODAY.wording._asdict(), "level": 0.05, "experiments": experiments, "fingerprint": "0",
    }  # fmt: skip
    store = Store(run / "analysis" / f"layer{LAYER}", about)
    preferred = np.arange(channels) * np.pi / channels
    for name, table in tables.items():
        rows = pd.DataFrame({"stimulus": np.arange(len(table["contrast"])), **table})
        store.write(f"activity_{name}", activity_arrays(rng, table, channels, size, preferred), rows)
    store.write("preferences", preference_arrays(rng, channels, preferred, np.arange(channels) % 3 != 2))
    for step, arrays in traces_arrays(rng, channels, contrasts).items():
        store.write(step, arrays)
    if channels > 1:
        for step, kind in (("overlapping", "aligned"), ("patches", "collinear"), ("line", "during")):
            store.write(f"synchrony_{step}", synchrony_arrays(rng, kind, channels))
    steps = np.linspace(0, PERIODS.total - 1, movie).astype(int)
    states = rng.standard_normal((movie, size, size, channels))
    frames = np.stack([activity.movie_frames(states[..., c]) for c in range(channels)], axis=-1)
    others = {"other_frames": frames[None, ::-1], "other_stimuli": np.asarray([1])}
    common = {"stimulus": np.asarray(0), "experiment": np.asarray("contrast_and_angle"), **others}
    store.write("movie", {"frames": frames, "steps": steps, **common})
    skipped = {} if channels > 1 else {"synchrony_overlapping": "the layer has one channel, so that there are no pairs"}
    scale = TimeScale()
    store.write_json(
        "about.json", about | {"skipped": skipped, "ms_per_step": scale.ms_per_step, "origin": scale.origin}
    )
    store.write_json("checks.json", checks())
    store.write_json("measured.json", measured())
    (run / "predictions.json").write_text(json.dumps(predictions()))
    (run / "diagnostics.json").write_text(json.dumps(diagnostics()))
    (run / "config.json").write_text(json.dumps({"config": {"seed": 0, "data": {"name": "natural"}}, "versions": {}}))
    return run
