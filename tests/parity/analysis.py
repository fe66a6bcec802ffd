"""Compare `analysis` with files of reference arrays (`reference/analysis`).

Files hold inputs, outputs or both; inputs that a file lacks are read from its neighbours in the same folder (the
primary recording, the activity table, fits). What the original computed differently is compared with
`analysis.original`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from analysis.measures import (
    activity,
    correlograms,
    lag,
    orientation,
    spectra,
    synchrony,
    transients,
)
from analysis.original import dynamics, responses
from recordings import sites
from recordings.periods import TimeScale
from tests.parity import synchrony_comparison
from tests.parity.analysis_comparison import (
    EXACT,
    PERIODS,
    SINGLE,
    compare,
    neighbour,
    sorted_rows,
)

SCALE = TimeScale()

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


def _state(path: Path) -> np.ndarray:
    """State (time, stimuli, channels, height, width) of the primary recording."""
    file = neighbour(path, "primary_recording.npz")
    return file["state_q"] * float(file["scale"])


def _check_tables(found, file, path):
    from nrf import stimuli

    base = np.zeros((32, 32, 1), np.float32)
    double = stimuli.make_stimuli("double_fewlocs_and_fewerangles", base).table
    offsets = np.stack([double["row_offset"], double["column_offset"]], axis=1)
    compare(found, "double offsets", offsets, file["double_stim_locs_yx"])
    compare(found, "double static angles", double["static_angle"], file["double_stim_static_angles"])
    compare(found, "double mobile angles", double["mobile_angle"], file["double_stim_mobile_angles"])
    columns = ("static_angle", "mobile_angle", "row_offset", "column_offset")
    group, first = synchrony.stimulus_groups(double, columns)
    members = np.stack([np.flatnonzero(group == g) for g in range(len(first))])
    compare(found, "double groups", members, file["double_stim_batchgroups"])
    compare(found, "double group offsets", offsets[first], file["double_stim_batchgroup_locs_yx"])
    for side in ("mobile", "static"):
        theirs = file[f"double_stim_batchgroupangles_{side}"]
        compare(found, f"double group {side} angles", double[f"{side}_angle"][first], theirs)
    for name, key in (("just_angle_few_angles", "few_angles"), ("long_just_fewangles", "long_angles")):
        table = stimuli.make_stimuli(name, base).table
        compare(found, f"{name} angles", table["angle"], file[f"{key}_per_batch"])
        if key == "few_angles":
            group, first = synchrony.stimulus_groups(table, ("angle",))
            members = np.stack([np.flatnonzero(group == g) for g in range(len(first))])
            compare(found, "few angles groups", members, file["few_angles_batchgroups"])
    primary = stimuli.make_stimuli("contrast_and_angle", base).table
    pairs = np.stack([primary["angle"], primary["contrast"]], axis=1)
    # The original's table is rounded to three digits.
    compare(found, "primary pairs", pairs, file["primary_angle_contrast_pairs"], 1e-3, absolute=True)
    for angle, theirs in zip(file["rclocs_angles"], file["rclocs_yx"], strict=True):
        compare(found, f"sites at {np.degrees(angle):.0f}°", sorted_rows(sites.along(angle, 32)), sorted_rows(theirs))
    compare(found, "milliseconds", SCALE.to_ms(file["timesteps"]), file["timesteps_to_ms"])
    compare(found, "steps", SCALE.to_steps(file["timesteps"]), file["ms_to_timesteps"])
    constants = dict(zip(file["const_names"].tolist(), file["const"].tolist(), strict=True))
    ours = [PERIODS.burn_in, PERIODS.onset, PERIODS.offset, PERIODS.total]
    compare(found, "periods", ours, [constants[key] for key in ("burn_in", "stim_start", "stim_stop", "T")])
    compare(found, "lags", correlograms.lag_axis(-50, 50), file["acorr_x"])


def _check_primary(found, file, path):
    """The recording is input only: its planted frequencies must be found in the spectra of driven stimuli."""
    state = file["state_q"] * float(file["scale"])
    frequencies, power = spectra.power_spectrum(state[PERIODS.during].sum(axis=(2, 3, 4)))
    top = frequencies[(power * frequencies).argmax(axis=1)]
    contrast = file["angle_contrast_pairs"][:, 1]
    driven = contrast >= contrast.max() / 3
    planted = file["freq_per_batch_cyc_per_step"]
    compare(found, "planted frequencies", top[driven], planted[driven], 3e-3, absolute=True)


def _check_active(found, file, path):
    state = np.moveaxis(_state(path), 2, 1)
    ours = activity.find_active_neurons(state, test=responses.activity_test)
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
        compare(found, name, getattr(ours, name), file[key], tolerance)


def _check_preferences(found, file, path):
    ours = responses.find_orientation_preferences(file["angles"], file["mean_act_during"].T)
    compare(found, "normed", ours.curves, file["normed"])
    for name, fit in (("cos1", ours.direction), ("cos2", ours.orientation)):
        theirs = file[f"fit_params_{name}"]
        compare(found, f"{name} amplitude", fit.amplitude, np.abs(theirs[:, 0]), 1e-5, absolute=True)
        curve = theirs[:, :1] * np.cos(fit.harmonic * file["angles"] + theirs[:, 1:2]) + theirs[:, 2:]
        compare(found, f"{name} curve", orientation.evaluate_cosine(fit, file["angles"]), curve, 1e-5, absolute=True)
    costs = np.stack([ours.direction.cost, ours.orientation.cost], axis=1)
    compare(found, "costs", costs, file["fit_costs"], 1e-8)
    compare(found, "direction or orientation", ours.is_orientation, file["dir_or_ori"])
    compare(found, "amplitude", ours.amplitude, np.abs(file["amplitude"]), 1e-5, absolute=True)
    compare(found, "preferred_angle", ours.preferred_angle, file["preferred_angle"])
    compare(found, "peak counts", ours.peaks.sum(axis=1), file["peaks_count"])
    # The reference counts from the zero that pads the curve.
    compare(found, "peaks", np.nonzero(ours.peaks)[1] + 1, file["peaks_elongated_flat"])


def _check_assignment(found, file, path):
    amplitude, angle = file["amplitude"], file["preferred_angle"]
    blank = np.zeros_like(amplitude)
    fit = orientation.CosineFit(1, amplitude, blank, blank, blank)
    preferences = orientation.Preferences(
        np.zeros((amplitude.size, 1)), fit, fit, blank.astype(bool), amplitude, angle, blank, blank, blank
    )
    threshold, distance = float(file["amp_threshold"]), float(file["match_threshold_rad"])
    preferred = responses.assign_orientation(preferences, threshold=threshold)
    matched = orientation.match_angles(preferred, file["stim_ori"], distance)
    compare(found, "preferred after threshold", preferred, file["ori_pref_after_threshold"])
    compare(found, "matched", matched, file["match_ch_batch"], 0.0)


def _check_oscillations(found, file, path):
    state = _state(path)
    assigned = neighbour(path, "assign_ori.npz")
    active = neighbour(path, "active_neurons.npz")
    # Neurons are numbered by their pixel in the whole image; the recording holds the pixels from 14 on.
    row, column = active["height"], active["width"]
    central = (row >= 15) & (row <= 17) & (column >= 15) & (column <= 17)
    matched = assigned["match_ch_batch"][: state.shape[2]]
    channel, stimulus, h, w = np.nonzero(active["active"] & matched[:, :, None, None] & central)
    for name, ours in (("ch", channel), ("batch", stimulus), ("height", row[channel, stimulus, h, w])):
        compare(found, name, ours, file[name])
    compare(found, "width", column[channel, stimulus, h, w], file["width"])
    periods = dynamics.oscillations_by_period(state[:, stimulus, channel, h, w])
    for name, ours in zip(("during", "outside"), periods, strict=True):
        compare(found, f"sum_freq_psd_{name}", ours.weighted_power, file[f"sum_freq_psd_{name}"])
        compare(found, f"peak_count_{name}", ours.peaks.sum(axis=1), file[f"peak_count_{name}"])
        frequencies = np.broadcast_to(ours.frequencies, ours.power.shape)[ours.peaks]
        compare(found, f"peak_freqs_{name}", frequencies, file[f"peak_freqs_flat_{name}"])
        compare(found, f"peak_powers_{name}", ours.power[ours.peaks], file[f"peak_powers_flat_{name}"])
        compare(found, f"welch_freqs_{name}", ours.frequencies, file[f"welch_freqs_{name}"])
        first = file[f"welch_psd_first_{name}"]
        compare(found, f"welch_psd_{name}", ours.power[: len(first)], first)
    during = periods[0]
    product = (during.power * during.frequencies * during.peaks).sum(axis=1)
    compare(found, "peak_freqs_power_product", product, file["peak_freqs_power_product"])
    compare(found, "max_peak_power", np.where(during.peaks, during.power, 0).max(axis=1), file["max_peak_power"])
    levels, values = spectra.mean_by_contrast(spectra.frequency_power(during), assigned["stim_contrast"][stimulus])
    compare(found, "contrasts", levels, file["contrast_freq_plot_contrast"])
    compare(found, "frequency × power by contrast", values, file["contrast_freq_plot_value"])


def _check_spectra(found, file, path):
    state = _state(path)
    assigned = neighbour(path, "assign_ori.npz")
    contrast = assigned["stim_contrast"]
    shown = np.isin(np.round(contrast, 6), np.round(file["contrasts"], 6))
    state, contrast = state[:, shown], contrast[shown]
    matched = assigned["match_ch_batch"][: state.shape[2], shown].T
    compare(found, "sampling rate", SCALE.sampling_rate, file["fs"])
    for name, part in (("patch", state[..., 1:4, 1:4]), ("neuron", state[..., 2:3, 2:3])):
        _, series = spectra.local_field_potential(part, matched, contrast)
        compare(found, f"series_{name}", series[100:].T, file[f"specgram_series_{name}"])
        ours = spectra.spectrogram(series[100:], SCALE.sampling_rate)
        compare(found, f"specgram_{name}", ours.power[..., ::50], file[f"specgram_{name}_every50"], SINGLE)
        result = transients.transients(part, contrast, PERIODS)
        compare(found, f"transient_on_{name}", result.on.T, file[f"transient_on_{name}"])
        compare(found, f"transient_off_{name}", result.off.T, file[f"transient_off_{name}"])
        if name == "patch":
            during = series[PERIODS.during]
            compare(found, "spectrum_series_during", during.T, file["spectrum_series_during"])
            frequencies, power = spectra.power_spectrum(during, SCALE.sampling_rate)
            compare(found, "welch_freqs", frequencies, file["welch_freqs"])
            compare(found, "welch_psd", power, file["welch_psd"])
            compare(found, "psd_times_freq", power * frequencies, file["psd_times_freq"])
            compare(found, "specgram_freqs", ours.frequencies, file["specgram_freqs"])
            compare(found, "specgram_t", ours.times, file["specgram_t"])


def _check_traces(found, file, path):
    state = _state(path)
    assigned = neighbour(path, "assign_ori.npz")
    active = neighbour(path, "active_neurons.npz")["active"]
    matched = assigned["match_ch_batch"][: state.shape[2]]
    for name, inside in (("patch", slice(1, 4)), ("neuron", slice(2, 3))):
        part = state[..., inside, inside]
        selected = (active[..., inside, inside] & matched[:, :, None, None]).astype(float)
        series = np.einsum("tbchw,cbhw->tc", part, selected)
        compare(found, f"series_{name}", series.T, file[f"summed_series_{name}"], SINGLE)
        for period, steps in (("during", PERIODS.during), ("outside", PERIODS.before)):
            ours = correlograms.autocorrelogram(series[steps], 100)
            compare(found, f"acorr_{period}_{name}", ours, file[f"acorr_{period}_{name}"])
        ours = spectra.spectrogram(series, 100.0, hop=100)
        compare(found, f"specgram100_{name}", ours.power, file[f"specgram100_{name}_every100"], SINGLE)
        compare(found, "specgram100_freqs", ours.frequencies, file["specgram100_freqs"])
        for figure, title in enumerate(file[f"state_traces_names_{name}"].tolist()):
            channel, angle = int(title.split("for ch ")[1].split()[0]), float(title.split("stim")[1][: -len(".png")])
            shown = np.abs(assigned["stim_ori"] - angle) < 1e-3
            chosen, contrast = matched[channel][shown][:, None], assigned["stim_contrast"][shown]
            _, summed = spectra.local_field_potential(part[700:1500, shown, channel][:, :, None], chosen, contrast)
            ours = summed / np.unique(contrast, return_counts=True)[1]
            compare(found, f"state_traces_{name}_{figure}", ours[::4, ::2].T, file[f"state_traces_{name}"][figure])


def _check_lag(found, file, path):
    momentum = file["momenta_centre_q"] * float(file["scale"])
    state = _state(path)[..., 2, 2]
    ours = dynamics.lags_of_momentum(state, momentum)
    compare(found, "lags", ours.T, file["row_lag_ch_batch"])
    for room, per_channel, final in (
        (dynamics, "mean_lag_as_original_cumulative", "final_original"),
        (lag, "mean_lag_per_channel", "final_per_channel"),
    ):
        means = room.mean_lags(ours.T)
        compare(found, per_channel, means, file[per_channel])
        compare(found, final, means.mean(), file[final])
    # Today's lags have the other sign, and the maximum is found between steps.
    today = -lag.find_lags(state, momentum).lags.T
    compare(found, "lags of today", today, file["row_lag_ch_batch"], 0.5, absolute=True)
    last, bounds = (state[:, -1], momentum[:, -1]), (-100, 100)
    curves = [correlograms.cross_correlogram(last[0][s], last[0][s], bounds) for s in (PERIODS.during, PERIODS.before)]
    curves.append(correlograms.cross_correlogram(*last, bounds))
    compare(found, "correlograms", np.stack(curves, axis=1), file["corr_during_before_statemom_lastbatch"])
    for index, period in enumerate((PERIODS.during, PERIODS.before)):
        lines = [sign * lag.end_of_period(trace[:, 0], period) for sign, trace in zip((1, -1), last, strict=True)]
        compare(found, f"traces {index}", lines, file["fig_lines_state_mom"][index])


def _check_maps(found, file, path):
    state = _state(path)
    table = neighbour(path, "active_neurons.npz")
    ours = activity.find_active_neurons(np.moveaxis(state, 2, 1), test=responses.activity_test)
    compare(found, "means", ours.mean_during, table["mean_during"])
    compare(found, "maps", np.moveaxis(activity.activity_map(ours), 1, 0), file["map_primary"])
    limits = np.moveaxis(responses.map_limits(ours, 1), 1, 0)
    compare(found, "limits", limits, file["map_vmin_vmax"])
    frames = responses.movie_frames(state[:, file["gif_batches"][0], 0], PERIODS)
    compare(found, "movie", np.transpose(frames, (2, 1, 0)), file["gif_batch0_ch0_frames"], 0.0)
    during, outside = file["retino_mean_during"], file["retino_mean_outside"]
    compare(found, "retinotopy", during - outside, file["retino_image"], SINGLE)
    # All panels of a stimulus share the limits of its means.
    both = np.stack([during, outside])
    limits = np.stack([both.min(axis=(0, 2, 3, 4)), both.max(axis=(0, 2, 3, 4))], axis=-1)
    limits = np.broadcast_to(limits[:, None], file["retino_clim"].shape)
    compare(found, "retinotopy limits", limits, file["retino_clim"], SINGLE)


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
    **synchrony_comparison.CHECKS,
}
