"""Compare `analysis` with files of reference arrays (`reference/analysis`).

Files hold inputs, outputs or both; inputs that a file lacks are read from its neighbours in the same folder (the
primary recording, the activity table, fits). Comparisons are made with `compat=True` unless they say otherwise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from analysis import activity, correlograms, gabor_fits, lag, orientation, spectra, synchrony, transients
from analysis.timescale import Periods, TimeScale

LAGS = np.arange(-50, 50)
PERIODS = Periods()
SCALE = TimeScale()
EXACT, SINGLE = 1e-9, 1e-6

# One array that only this kind of file has.
SIGNATURES = {
    "tables": "double_stim_locs_yx",
    "primary_recording": "state_q",
    "active_neurons": "shapiro_W_during",
    "orientation_prefs": "fit_params_cos1",
    "assign_ori": "match_ch_batch",
    "oscillating_neurons": "peak_freqs_flat_during",
    "contrast_spectra_transients": "psd_times_freq",
    "state_traces_acorr": "acorr_during_patch",
    "ei_lag_state_momentum": "row_lag_ch_batch",
    "activity_maps": "map_vmin_vmax",
    "fits": "starts_gauss_cost",
    "correlograms": "xcorr_mid100",
    "groups": "res_dur_out_amp_compar",
}


def recognise(npz) -> bool:
    """Whether the file is one of the kinds that `check` knows."""
    return _kind(npz) is not None


def _kind(npz) -> str | None:
    names = set(npz.keys())
    return next((kind for kind, name in SIGNATURES.items() if name in names), None)


def check(path) -> dict[str, tuple[float, float, float]]:
    """Compare one file: {output: (worst absolute error, worst relative error, tolerance of the absolute error)}."""
    path = Path(path)
    with np.load(path, allow_pickle=False) as npz:
        kind = _kind(npz)
        if kind is None:
            raise ValueError(f"{path}: not a file of reference arrays of the analysis.")
        file = {name: npz[name] for name in npz}
    found: dict[str, tuple[float, float, float]] = {}
    CHECKS[kind](found, file, path)
    return found


def _compare(found, name, ours, theirs, tolerance=EXACT, absolute=False) -> None:
    """Record a comparison; NaN must stand in the same places. Tolerances are relative to the largest value."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape or (np.isnan(ours) != np.isnan(theirs)).any():
        found[name] = (float("inf"), float("inf"), 0.0)
        return
    there = ~np.isnan(theirs)
    scale = float(np.abs(theirs[there]).max()) if there.any() else 0.0
    worst = float(np.abs(ours[there] - theirs[there]).max()) if there.any() else 0.0
    found[name] = (worst, worst / max(scale, 1e-300), tolerance if absolute or scale == 0 else tolerance * scale)


def _at_most(found, name, value, limit) -> None:
    found[name] = (max(float(value), 0.0), max(float(value), 0.0), limit)


def _neighbour(path: Path, name: str) -> dict[str, np.ndarray]:
    other = path.with_name(name)
    if not other.exists():
        raise ValueError(f"{path.name} can only be checked with {name} beside it.")
    with np.load(other, allow_pickle=False) as npz:
        return {key: npz[key] for key in npz}


def _state(path: Path) -> np.ndarray:
    """State (time, stimuli, channels, height, width) of the primary recording."""
    file = _neighbour(path, "primary_recording.npz")
    return file["state_q"] * float(file["scale"])


def _rows(array) -> np.ndarray:
    return array[np.lexsort(np.round(array, 9).T[::-1])]


def _check_tables(found, file, path):
    from nrf import stimuli

    base = np.zeros((32, 32, 1), np.float32)
    double = stimuli.make_stimuli("double_fewlocs_and_fewerangles", base).table
    offsets = np.stack([double["row_offset"], double["column_offset"]], axis=1)
    _compare(found, "double offsets", offsets, file["double_stim_locs_yx"])
    _compare(found, "double static angles", double["static_angle"], file["double_stim_static_angles"])
    _compare(found, "double mobile angles", double["mobile_angle"], file["double_stim_mobile_angles"])
    columns = ("static_angle", "mobile_angle", "row_offset", "column_offset")
    group, first = synchrony.stimulus_groups(double, columns)
    members = np.stack([np.flatnonzero(group == g) for g in range(len(first))])
    _compare(found, "double groups", members, file["double_stim_batchgroups"])
    _compare(found, "double group offsets", offsets[first], file["double_stim_batchgroup_locs_yx"])
    for side in ("mobile", "static"):
        theirs = file[f"double_stim_batchgroupangles_{side}"]
        _compare(found, f"double group {side} angles", double[f"{side}_angle"][first], theirs)
    for name, key in (("just_angle_few_angles", "few_angles"), ("long_just_fewangles", "long_angles")):
        table = stimuli.make_stimuli(name, base).table
        _compare(found, f"{name} angles", table["angle"], file[f"{key}_per_batch"])
        if key == "few_angles":
            group, first = synchrony.stimulus_groups(table, ("angle",))
            members = np.stack([np.flatnonzero(group == g) for g in range(len(first))])
            _compare(found, "few angles groups", members, file["few_angles_batchgroups"])
    primary = stimuli.make_stimuli("contrast_and_angle", base).table
    pairs = np.stack([primary["angle"], primary["contrast"]], axis=1)
    # The original's table is rounded to three digits.
    _compare(found, "primary pairs", pairs, file["primary_angle_contrast_pairs"], 1e-3, absolute=True)
    for angle, sites in zip(file["rclocs_angles"], file["rclocs_yx"], strict=True):
        _compare(found, f"sites at {np.degrees(angle):.0f}°", _rows(synchrony.sites_along(angle)), _rows(sites))
    _compare(found, "milliseconds", SCALE.to_ms(file["timesteps"]), file["timesteps_to_ms"])
    _compare(found, "steps", SCALE.to_steps(file["timesteps"]), file["ms_to_timesteps"])
    constants = dict(zip(file["const_names"].tolist(), file["const"].tolist(), strict=True))
    ours = [PERIODS.burn_in, PERIODS.onset, PERIODS.offset, PERIODS.total]
    _compare(found, "periods", ours, [constants[key] for key in ("burn_in", "stim_start", "stim_stop", "T")])
    _compare(found, "lags", correlograms.lag_axis(-50, 50), file["acorr_x"])


def _check_primary(found, file, path):
    """The recording is input only: its planted frequencies must be found in the spectra of driven stimuli."""
    state = file["state_q"] * float(file["scale"])
    top = spectra.peak_frequency(state[PERIODS.during].sum(axis=(2, 3, 4)), SCALE) / SCALE.sampling_rate
    contrast = file["angle_contrast_pairs"][:, 1]
    driven = contrast >= contrast.max() / 3
    planted = file["freq_per_batch_cyc_per_step"]
    _compare(found, "planted frequencies", top[driven], planted[driven], 3e-3, absolute=True)


def _check_active(found, file, path):
    state = np.moveaxis(_state(path), 2, 1)
    ours = activity.find_active_neurons(state, compat=True)
    for name, key, tolerance in (
        ("mean_during", "mean_during", EXACT),
        ("mean_outside", "mean_outside", EXACT),
        ("statistic", "t_stat", EXACT),
        ("p_value", "p_value", EXACT),
        ("active", "active", 0.0),
        # The reference's Shapiro-Wilk test ran in single precision.
        ("shapiro_w_during", "shapiro_W_during", 5e-5),
        ("shapiro_w_outside", "shapiro_W_outside", 5e-5),
        ("shapiro_p_during", "shapiro_p_during", 2e-2),
        ("shapiro_p_outside", "shapiro_p_outside", 2e-2),
    ):
        _compare(found, name, getattr(ours, name), file[key], tolerance)


def _check_preferences(found, file, path):
    ours = orientation.find_orientation_preferences(file["angles"], file["mean_act_during"].T, compat=True)
    _compare(found, "normed", ours.curves, file["normed"])
    for name, fit in (("cos1", ours.direction), ("cos2", ours.orientation)):
        theirs = file[f"fit_params_{name}"]
        _compare(found, f"{name} amplitude", fit.amplitude, np.abs(theirs[:, 0]), SINGLE, absolute=True)
        curve = theirs[:, :1] * np.cos(fit.harmonic * file["angles"] + theirs[:, 1:2]) + theirs[:, 2:]
        _compare(found, f"{name} curve", orientation.evaluate_cosine(fit, file["angles"]), curve, 1e-5, absolute=True)
    costs = np.stack([ours.direction.cost, ours.orientation.cost], axis=1)
    _compare(found, "costs", costs, file["fit_costs"], 1e-8)
    _compare(found, "direction or orientation", ours.is_orientation, file["dir_or_ori"])
    _compare(found, "amplitude", ours.amplitude, np.abs(file["amplitude"]), SINGLE, absolute=True)
    _compare(found, "preferred_angle", ours.preferred_angle, file["preferred_angle"])
    _compare(found, "peak counts", ours.peaks.sum(axis=1), file["peaks_count"])
    # The reference counts from the zero that pads the curve.
    _compare(found, "peaks", np.nonzero(ours.peaks)[1] + 1, file["peaks_elongated_flat"])


def _check_assignment(found, file, path):
    amplitude, angle = file["amplitude"], file["preferred_angle"]
    blank = np.zeros_like(amplitude)
    fit = orientation.CosineFit(1, amplitude, blank, blank, blank)
    preferences = orientation.Preferences(
        np.zeros((amplitude.size, 1)), fit, fit, blank.astype(bool), amplitude, angle, blank, blank, blank
    )
    threshold, distance = float(file["amp_threshold"]), float(file["match_threshold_rad"])
    preferred, matched = orientation.assign_orientation(preferences, file["stim_ori"], threshold, distance, compat=True)
    _compare(found, "preferred after threshold", preferred, file["ori_pref_after_threshold"])
    _compare(found, "matched", matched, file["match_ch_batch"], 0.0)


def _check_oscillations(found, file, path):
    state = _state(path)
    assigned = _neighbour(path, "assign_ori.npz")
    active = _neighbour(path, "active_neurons.npz")
    # Neurons are numbered by their pixel in the whole image; the recording holds the pixels from 14 on.
    row, column = active["height"], active["width"]
    central = (row >= 15) & (row <= 17) & (column >= 15) & (column <= 17)
    matched = assigned["match_ch_batch"][: state.shape[2]]
    channel, stimulus, h, w = np.nonzero(active["active"] & matched[:, :, None, None] & central)
    for name, ours in (("ch", channel), ("batch", stimulus), ("height", row[channel, stimulus, h, w])):
        _compare(found, name, ours, file[name])
    _compare(found, "width", column[channel, stimulus, h, w], file["width"])
    periods = spectra.oscillations_by_period(state[:, stimulus, channel, h, w], compat=True)
    for name, ours in zip(("during", "outside"), periods, strict=True):
        _compare(found, f"sum_freq_psd_{name}", ours.weighted_power, file[f"sum_freq_psd_{name}"])
        _compare(found, f"peak_count_{name}", ours.peaks.sum(axis=1), file[f"peak_count_{name}"])
        frequencies = np.broadcast_to(ours.frequencies, ours.power.shape)[ours.peaks]
        _compare(found, f"peak_freqs_{name}", frequencies, file[f"peak_freqs_flat_{name}"])
        _compare(found, f"peak_powers_{name}", ours.power[ours.peaks], file[f"peak_powers_flat_{name}"])
        _compare(found, f"welch_freqs_{name}", ours.frequencies, file[f"welch_freqs_{name}"])
        first = file[f"welch_psd_first_{name}"]
        _compare(found, f"welch_psd_{name}", ours.power[: len(first)], first)
    during = periods[0]
    product = (during.power * during.frequencies * during.peaks).sum(axis=1)
    _compare(found, "peak_freqs_power_product", product, file["peak_freqs_power_product"])
    _compare(found, "max_peak_power", np.where(during.peaks, during.power, 0).max(axis=1), file["max_peak_power"])
    levels, values = spectra.mean_by_contrast(spectra.frequency_power(during), assigned["stim_contrast"][stimulus])
    _compare(found, "contrasts", levels, file["contrast_freq_plot_contrast"])
    _compare(found, "frequency × power by contrast", values, file["contrast_freq_plot_value"])


def _check_spectra(found, file, path):
    state = _state(path)
    assigned = _neighbour(path, "assign_ori.npz")
    contrast = assigned["stim_contrast"]
    shown = np.isin(np.round(contrast, 6), np.round(file["contrasts"], 6))
    state, contrast = state[:, shown], contrast[shown]
    matched = assigned["match_ch_batch"][: state.shape[2], shown].T
    _compare(found, "sampling rate", SCALE.sampling_rate, file["fs"])
    for name, part in (("patch", state[..., 1:4, 1:4]), ("neuron", state[..., 2:3, 2:3])):
        _, series = spectra.local_field_potential(part, matched, contrast)
        _compare(found, f"series_{name}", series[100:].T, file[f"specgram_series_{name}"])
        ours = spectra.spectrogram(series[100:], SCALE.sampling_rate)
        _compare(found, f"specgram_{name}", ours.power[..., ::50], file[f"specgram_{name}_every50"], SINGLE)
        result = transients.transients(part, contrast, PERIODS)
        _compare(found, f"transient_on_{name}", result.on.T, file[f"transient_on_{name}"])
        _compare(found, f"transient_off_{name}", result.off.T, file[f"transient_off_{name}"])
        if name == "patch":
            during = series[PERIODS.during]
            _compare(found, "spectrum_series_during", during.T, file["spectrum_series_during"])
            frequencies, power = spectra.power_spectrum(during, SCALE.sampling_rate)
            _compare(found, "welch_freqs", frequencies, file["welch_freqs"])
            _compare(found, "welch_psd", power, file["welch_psd"])
            _compare(found, "psd_times_freq", power * frequencies, file["psd_times_freq"])
            _compare(found, "specgram_freqs", ours.frequencies, file["specgram_freqs"])
            _compare(found, "specgram_t", ours.times, file["specgram_t"])


def _check_traces(found, file, path):
    state = _state(path)
    assigned = _neighbour(path, "assign_ori.npz")
    active = _neighbour(path, "active_neurons.npz")["active"]
    matched = assigned["match_ch_batch"][: state.shape[2]]
    for name, inside in (("patch", slice(1, 4)), ("neuron", slice(2, 3))):
        part = state[..., inside, inside]
        selected = (active[..., inside, inside] & matched[:, :, None, None]).astype(float)
        series = np.einsum("tbchw,cbhw->tc", part, selected)
        _compare(found, f"series_{name}", series.T, file[f"summed_series_{name}"], SINGLE)
        for period, steps in (("during", PERIODS.during), ("outside", PERIODS.before)):
            ours = correlograms.autocorrelogram(series[steps], 100)
            _compare(found, f"acorr_{period}_{name}", ours, file[f"acorr_{period}_{name}"])
        ours = spectra.spectrogram(series, 100.0, hop=100)
        _compare(found, f"specgram100_{name}", ours.power, file[f"specgram100_{name}_every100"], SINGLE)
        _compare(found, "specgram100_freqs", ours.frequencies, file["specgram100_freqs"])
        for figure, title in enumerate(file[f"state_traces_names_{name}"].tolist()):
            channel, angle = int(title.split("for ch ")[1].split()[0]), float(title.split("stim")[1][: -len(".png")])
            shown = np.abs(assigned["stim_ori"] - angle) < 1e-3
            _, ours = transients.state_traces(
                part[:, shown, channel], matched[channel][shown], assigned["stim_contrast"][shown], slice(700, 1500)
            )
            _compare(found, f"state_traces_{name}_{figure}", ours[::4, ::2].T, file[f"state_traces_{name}"][figure])


def _check_lag(found, file, path):
    momentum = file["momenta_centre_q"] * float(file["scale"])
    state = _state(path)[..., 2, 2]
    ours = lag.state_momentum_lag(state, momentum, compat=True)
    _compare(found, "lags", ours.lags.T, file["row_lag_ch_batch"])
    for compat, per_channel, final in (
        (True, "mean_lag_as_original_cumulative", "final_original"),
        (False, "mean_lag_per_channel", "final_per_channel"),
    ):
        means, mean = lag.mean_lag(ours.lags.T, compat)
        _compare(found, per_channel, means, file[per_channel])
        _compare(found, final, mean, file[final])
    # Without compat the sign is turned and the maximum is found between steps.
    default = -lag.state_momentum_lag(state, momentum).lags.T
    _compare(found, "lags without compat", default, file["row_lag_ch_batch"], 0.5, absolute=True)
    last, bounds = (state[:, -1], momentum[:, -1]), (-100, 100)
    curves = [correlograms.cross_correlogram(last[0][s], last[0][s], bounds) for s in (PERIODS.during, PERIODS.before)]
    curves.append(correlograms.cross_correlogram(*last, bounds))
    _compare(found, "correlograms", np.stack(curves, axis=1), file["corr_during_before_statemom_lastbatch"])
    for index, period in enumerate((PERIODS.during, PERIODS.before)):
        lines = [sign * lag.end_of_period(trace[:, 0], period) for sign, trace in zip((1, -1), last, strict=True)]
        _compare(found, f"traces {index}", lines, file["fig_lines_state_mom"][index])


def _check_maps(found, file, path):
    state = _state(path)
    table = _neighbour(path, "active_neurons.npz")
    ours = activity.find_active_neurons(np.moveaxis(state, 2, 1), compat=True)
    _compare(found, "means", ours.mean_during, table["mean_during"])
    _compare(found, "maps", np.moveaxis(activity.activity_map(ours), 1, 0), file["map_primary"])
    limits = np.moveaxis(activity.map_limits(ours, 1, compat=True), 1, 0)
    _compare(found, "limits", limits, file["map_vmin_vmax"])
    frames = activity.movie_frames(state[:, file["gif_batches"][0], 0], PERIODS, compat=True)
    _compare(found, "movie", np.transpose(frames, (2, 1, 0)), file["gif_batch0_ch0_frames"], 0.0)
    during, outside = file["retino_mean_during"], file["retino_mean_outside"]
    _compare(found, "retinotopy", during - outside, file["retino_image"], SINGLE)
    _compare(found, "retinotopy limits", activity.retinotopy_limits(during, outside), file["retino_clim"], SINGLE)


def _periods_of(file) -> list[np.ndarray]:
    traces, start = file["trace_q"] * float(file["scale"]), int(file["trace_t0"])
    return [traces[slice(s.start - start, s.stop - start)] for s in (PERIODS.during, PERIODS.before)]


def _all_correlograms(file) -> np.ndarray:
    """Correlograms (period, stimulus, …, lag): pairs of channels, or channel and second site."""
    results = []
    for traces in _periods_of(file):
        if "reps" in file:
            results.append(correlograms.pair_correlograms(traces, (-50, 50)))
            continue
        if "static_angle" in file:
            channels = traces.shape[2] // 2
            first, second = traces[:, :, channels:, None], traces[:, :, None, :channels]
        else:
            sites = file["locs_yx"]
            second = traces.reshape(*traces.shape[:2], -1, sites.shape[1])
            centre = (sites == 16).all(axis=2).argmax(axis=1)
            first = np.take_along_axis(second, centre[None, :, None, None], axis=3)
        results.append(correlograms.cross_correlogram(first, second, (-50, 50)))
    return np.stack(results)


def _check_correlograms(found, file, path):
    ours = _all_correlograms(file)
    if "xcorr_key_ch_b_y_x" in file:
        ours = np.transpose(ours, (2, 1, 0, 3, 4))
        keys = file["xcorr_key_ch_b_y_x"][..., 2:]
        _compare(found, "sites", np.broadcast_to(file["locs_yx"], keys.shape), keys)
    _compare(found, "correlograms", ours, file["xcorr_mid100"], SINGLE)
    if "xcorr_full_batch0" in file:
        full = [correlograms.pair_correlograms(t[:, :1], (1 - len(t), len(t)))[0] for t in _periods_of(file)]
        _compare(found, "all lags", full, file["xcorr_full_batch0"], SINGLE)


def _fitted_rows(file, recording) -> np.ndarray:
    """Correlograms in the order of the fits."""
    curves = _all_correlograms(recording)

    def number(name):
        return file[name].astype(int)

    period, stimulus = number("dur_or_out"), number("batch")
    if "batch_index_in_128" in recording and stimulus.max() >= len(recording["batch_index_in_128"]):
        stimulus = np.searchsorted(recording["batch_index_in_128"], stimulus)
    if "channel" not in file:
        return curves[period, stimulus, number("channel_A"), number("channel_B")]
    places = np.stack([number("y"), number("x")], axis=1)
    site = (recording["locs_yx"][stimulus] == places[:, None]).all(axis=2).argmax(axis=1)
    return curves[period, stimulus, number("channel"), site]


def _check_fits(found, file, path):
    curves = _fitted_rows(file, _neighbour(path, path.name.replace("fits", "xcorr")))
    ours = gabor_fits.fit_gabors(curves, LAGS, compat=True)
    _compare(found, "peaks of the correlogram", ours.peak_count, file["n_peaks_correlogram"])
    _compare(found, "scale", ours.scale, file["max_acorr"])
    sine, full = ours.cost_sine / file["cost_sine"] - 1, ours.cost / file["cost_gabor"] - 1
    _at_most(found, "excess of the first cost", sine.max(), 1e-4)
    # The reference stops at a relative change of 1e-8 in stage 1, where its λ is not yet exact: the cost of its stage 2
    # moves by a few 1e-4 either way. Only where both found the same first minimum can the second be compared.
    _at_most(found, "excess of the cost", full[np.abs(sine) < 1e-6].max(), 2e-3)
    same = (np.abs(sine) < 1e-4) & (np.abs(full) < 1e-4)
    _at_most(found, "fits with another minimum or less converged (share)", 1 - same.mean(), 0.15)
    relative = np.abs(ours.amplitude / file["amplitude"] - 1)[same]
    _at_most(found, "amplitude, 99 % of fits (relative)", np.quantile(relative, 0.99), 1e-3)
    _at_most(found, "amplitude, all fits (relative)", relative.max(), 2e-2)
    frequency = np.abs(ours.angular_frequency * np.abs(file["freq_scale"]) - 1)[same]
    _at_most(found, "angular frequency (relative)", frequency.max(), 1e-3)
    default = gabor_fits.fit_gabors(curves, LAGS)
    _at_most(found, "excess of the default's cost", (default.cost / file["cost_gabor"] - 1).max(), 1e-6)
    stored = ours._replace(
        scale=file["max_acorr"],
        angular_frequency=1 / file["freq_scale"],
        phase=file["sine_phase"],
        offset=file["sine_mean"],
        sigma=np.abs(file["gauss_sigma"]),
        gain=file["gauss_amp"] * np.sign(file["gauss_sigma"]),
    )
    rebuilt = gabor_fits.evaluate_gabors(stored, LAGS)
    _compare(found, "curve of the stored parameters, maximum", rebuilt.max(axis=1), file["max_gabor"], 1e-8)
    _compare(found, "curve of the stored parameters, minimum", rebuilt.min(axis=1), file["min_gabor"], 1e-8)
    for compat, name in ((True, "num_peaks_as_original_0.49"), (False, "num_peaks_0.7")):
        _compare(found, name, gabor_fits.count_fitted_peaks(stored, LAGS, compat), file[name])


def _check_groups(found, file, path):
    recording = _neighbour(path, path.name.replace("analysis", "xcorr"))
    fits = _neighbour(path, path.name.replace("analysis", "fits"))
    if "res_channel" in file:
        columns = ("batch_group", "dur_or_out", "channel", "x", "y")
    else:
        columns = ("batch_group", "dur_or_out", "channel_A", "channel_B")
    keys = np.stack([fits[name] for name in columns], axis=1)
    peaks = fits["num_peaks_as_original_0.49"]
    ours = synchrony.group_repeats(keys, fits["amplitude"], fits["sine_phase"], peaks, compat=True)
    theirs = np.stack([file[f"res_{name}"] for name in columns], axis=1)
    order = np.lexsort(theirs.T[::-1])

    def compare(name, values, tolerance=EXACT):
        return _compare(found, name, values, file[f"res_{name}"][order], tolerance)

    _compare(found, "groups", ours.keys, theirs[order])
    compare("amplitude", ours.amplitude)
    compare("num_peaks", ours.peak_count)
    compare("dur_out_amp_compar", synchrony.exceeds_blank(ours, 1))
    amplitude = ("stat_peaks", "pvalue_peaks") if "res_stat_peaks" in file else ("amp_stat_peaks", "amp_pvalue_peaks")
    compare(amplitude[0], ours.amplitude_test.statistic)
    compare(amplitude[1], ours.amplitude_test.p_value)
    if "res_sine_phase" in file:
        compare("sine_phase", ours.phase)
        compare("phase_stat_peaks", ours.phase_statistic)
        compare("phase_pvalue_peaks", ours.phase_p_value)
    sets = _selections(found, file, recording, fits, ours)
    rng = np.random.default_rng(0)
    bins = [synchrony.bin_by_value(x, y, rng, "pivotal") for x, y in sets]
    values = [member for part in bins for member in part.values]
    _compare(found, "bootstrap group sizes", [len(member) for member in values], file["boot_group_size"])
    splits = np.split(file["boot_values_flat"], np.cumsum(file["boot_group_size"])[:-1])

    def sort_all(members):
        return np.concatenate([np.sort(member) for member in members])

    _compare(found, "bootstrap values", sort_all(values), sort_all(splits))
    intervals = [interval for part in bins for interval in part.intervals]
    _compare(found, "bootstrap means", [interval.estimate for interval in intervals], file["boot_mean"])
    bounds = np.array([[interval.low, interval.high] for interval in intervals])
    # Resampling is random: bounds are compared in standard deviations over the reference's seeds.
    spread = np.maximum(file["boot_ci_sd_12runs"], 1e-3 * np.abs(bounds).max())
    _at_most(found, "bootstrap bounds (σ)", (np.abs(bounds - file["boot_ci_mean_12runs"]) / spread).max(), 6.0)


def _selections(found, file, recording, fits, ours):
    preferred = recording["ori_pref"]
    first = np.unique(fits["batch_group"], return_index=True)[1]
    stimulus = fits["batch"][first].astype(int)
    if "aligned_xy" in file:
        _check_neighbours(found, file, recording)
        angles = recording["stim_angle_per_batch"][stimulus]
        result = synchrony.against_orientation_difference(ours, angles, preferred)
        masks = {"aligned": result["aligned"], "unaligned": ~result["aligned"]}
        whole = np.stack([result["x"], result["y"]], axis=1)
        _compare(found, "all pairs", _rows(whole), _rows(file["angdiff_amp_all"]))
        _compare(found, "line through all pairs", np.polyfit(*whole.T, 1), file["polyfit_all"], 1e-7)
    elif "colinear_xy" in file:
        angles = file["group_static_angle"], file["group_mobile_angle"]
        result = synchrony.against_distance_of_patches(ours, *angles, file["group_loc_yx"], preferred)
        masks = {"colinear": result["collinear"], "noncolinear": ~result["collinear"]}
    else:
        angles = recording["stim_angle_per_batch"][stimulus]
        result = synchrony.against_distance_along(ours, angles, preferred)
        masks = {"during": result["during"], "outside": ~result["during"]}
    for name, mask in masks.items():
        points = np.stack([result["x"][mask], result["y"][mask]], axis=1)
        _compare(found, f"{name} pairs", _rows(points), _rows(file[f"{name}_xy"]))
        if len(np.unique(np.round(points[:, 0], 9))) > 1:
            _compare(found, f"{name} line", np.polyfit(*points.T, 1), file[f"polyfit_{name}"], 1e-7)
    return [(result["x"][mask], result["y"][mask]) for mask in masks.values()]


def _check_neighbours(found, file, recording):
    curves = correlograms.pair_correlograms(_periods_of(recording)[0], (-200, 200))
    intervals = synchrony.neighbour_intervals(curves)
    for name, key in (("estimate", "mean"), ("low", "low"), ("high", "high"), ("standard_error", "sem")):
        _compare(found, f"neighbours {key}", [getattr(i, name) for i in intervals], file[f"ci_{key}"])
    _compare(found, "neighbours degrees of freedom", [i.count - 1 for i in intervals], file["ci_df"])


CHECKS = {
    "tables": _check_tables,
    "primary_recording": _check_primary,
    "active_neurons": _check_active,
    "orientation_prefs": _check_preferences,
    "assign_ori": _check_assignment,
    "oscillating_neurons": _check_oscillations,
    "contrast_spectra_transients": _check_spectra,
    "state_traces_acorr": _check_traces,
    "ei_lag_state_momentum": _check_lag,
    "activity_maps": _check_maps,
    "fits": _check_fits,
    "correlograms": _check_correlograms,
    "groups": _check_groups,
}
