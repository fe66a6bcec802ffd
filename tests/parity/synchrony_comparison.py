"""Compare correlograms, fits and groups of repeats with the reference arrays of the synchrony experiments."""

from __future__ import annotations

import numpy as np

from analysis.measures import correlograms, gabor_fits, synchrony
from analysis.original import synchrony as original
from tests.parity.analysis_comparison import (
    EXACT,
    PERIODS,
    SINGLE,
    at_most,
    compare,
    neighbour,
    sorted_rows,
)

LAGS = np.arange(-50, 50)


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
        compare(found, "sites", np.broadcast_to(file["locs_yx"], keys.shape), keys)
    compare(found, "correlograms", ours, file["xcorr_mid100"], SINGLE)
    if "xcorr_full_batch0" in file:
        full = [correlograms.pair_correlograms(t[:, :1], (1 - len(t), len(t)))[0] for t in _periods_of(file)]
        compare(found, "all lags", full, file["xcorr_full_batch0"], SINGLE)


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
    curves = _fitted_rows(file, neighbour(path, path.name.replace("fits", "xcorr")))
    ours = original.fit_gabors(curves, LAGS)
    compare(found, "peaks of the correlogram", ours.peak_count, file["n_peaks_correlogram"])
    compare(found, "scale", ours.scale, file["max_acorr"])
    sine, full = ours.cost_sine / file["cost_sine"] - 1, ours.cost / file["cost_gabor"] - 1
    at_most(found, "excess of the first cost", sine.max(), 1e-4)
    # The reference stops at a relative change of 1e-8 in stage 1, where its λ is not yet exact: the cost of its stage 2
    # moves by a few 1e-4 either way. Only where both found the same first minimum can the second be compared.
    at_most(found, "excess of the cost", full[np.abs(sine) < 1e-6].max(), 2e-3)
    same = (np.abs(sine) < 1e-4) & (np.abs(full) < 1e-4)
    at_most(found, "fits with another minimum or less converged (share)", 1 - same.mean(), 0.15)
    relative = np.abs(ours.amplitude / file["amplitude"] - 1)[same]
    at_most(found, "amplitude, 95 % of fits (relative)", np.quantile(relative, 0.95), 1e-3)
    at_most(found, "amplitude, all fits (relative)", relative.max(), 2e-2)
    frequency = np.abs(ours.angular_frequency * np.abs(file["freq_scale"]) - 1)[same]
    at_most(found, "angular frequency (relative)", frequency.max(), 1e-3)
    default = gabor_fits.fit_gabors(curves, LAGS)
    at_most(found, "excess of the default's cost", (default.cost / file["cost_gabor"] - 1).max(), 1e-6)
    stored = ours._replace(
        scale=file["max_acorr"],
        angular_frequency=1 / file["freq_scale"],
        phase=file["sine_phase"],
        offset=file["sine_mean"],
        sigma=np.abs(file["gauss_sigma"]),
        gain=file["gauss_amp"] * np.sign(file["gauss_sigma"]),
    )
    rebuilt = gabor_fits.evaluate_gabors(stored, LAGS)
    compare(found, "curve of the stored parameters, maximum", rebuilt.max(axis=1), file["max_gabor"], 1e-8)
    compare(found, "curve of the stored parameters, minimum", rebuilt.min(axis=1), file["min_gabor"], 1e-8)
    for room, name in ((original, "num_peaks_as_original_0.49"), (gabor_fits, "num_peaks_0.7")):
        compare(found, name, room.count_fitted_peaks(stored, LAGS), file[name])


def _check_groups(found, file, path):
    recording = neighbour(path, path.name.replace("analysis", "xcorr"))
    fits = neighbour(path, path.name.replace("analysis", "fits"))
    if "res_channel" in file:
        columns = ("batch_group", "dur_or_out", "channel", "x", "y")
    else:
        columns = ("batch_group", "dur_or_out", "channel_A", "channel_B")
    keys = np.stack([fits[name] for name in columns], axis=1)
    peaks = fits["num_peaks_as_original_0.49"]
    ours = original.group_repeats(keys, fits["amplitude"], fits["sine_phase"], peaks)
    theirs = np.stack([file[f"res_{name}"] for name in columns], axis=1)
    order = np.lexsort(theirs.T[::-1])

    def against(name, values, tolerance=EXACT):
        return compare(found, name, values, file[f"res_{name}"][order], tolerance)

    compare(found, "groups", ours.keys, theirs[order])
    against("amplitude", ours.amplitude)
    against("num_peaks", ours.peak_count)
    against("dur_out_amp_compar", synchrony.exceeds_blank(ours, 1))
    amplitude = ("stat_peaks", "pvalue_peaks") if "res_stat_peaks" in file else ("amp_stat_peaks", "amp_pvalue_peaks")
    against(amplitude[0], ours.amplitude_test.statistic)
    against(amplitude[1], ours.amplitude_test.p_value)
    if "res_sine_phase" in file:
        against("sine_phase", ours.phase)
        against("phase_stat_peaks", ours.phase_statistic)
        against("phase_pvalue_peaks", ours.phase_p_value)
    sets = _selections(found, file, recording, fits, ours)
    rng = np.random.default_rng(0)
    bins = [synchrony.bin_by_value(x, y, rng, method="basic") for x, y in sets]
    values = [member for part in bins for member in part.values]
    compare(found, "bootstrap group sizes", [len(member) for member in values], file["boot_group_size"])
    splits = np.split(file["boot_values_flat"], np.cumsum(file["boot_group_size"])[:-1])

    def sort_all(members):
        return np.concatenate([np.sort(member) for member in members])

    compare(found, "bootstrap values", sort_all(values), sort_all(splits))
    intervals = [interval for part in bins for interval in part.intervals]
    compare(found, "bootstrap means", [interval.estimate for interval in intervals], file["boot_mean"])
    bounds = np.array([[interval.low, interval.high] for interval in intervals])
    # Resampling is random: bounds are compared in standard deviations over the reference's seeds.
    spread = np.maximum(file["boot_ci_sd_12runs"], 1e-3 * np.abs(bounds).max())
    at_most(found, "bootstrap bounds (σ)", (np.abs(bounds - file["boot_ci_mean_12runs"]) / spread).max(), 6.0)


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
        compare(found, "all pairs", sorted_rows(whole), sorted_rows(file["angdiff_amp_all"]))
        compare(found, "line through all pairs", np.polyfit(*whole.T, 1), file["polyfit_all"], 1e-7)
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
        compare(found, f"{name} pairs", sorted_rows(points), sorted_rows(file[f"{name}_xy"]))
        if len(np.unique(np.round(points[:, 0], 9))) > 1:
            compare(found, f"{name} line", np.polyfit(*points.T, 1), file[f"polyfit_{name}"], 1e-7)
    return [(result["x"][mask], result["y"][mask]) for mask in masks.values()]


def _check_neighbours(found, file, recording):
    _, intervals = synchrony.neighbour_intervals(_periods_of(recording)[0], (-200, 200), normalise=False)
    for name, key in (("estimate", "mean"), ("low", "low"), ("high", "high"), ("standard_error", "sem")):
        compare(found, f"neighbours {key}", [getattr(i, name) for i in intervals], file[f"ci_{key}"])
    compare(found, "neighbours degrees of freedom", [i.count - 1 for i in intervals], file["ci_df"])


CHECKS = {"fits": _check_fits, "correlograms": _check_correlograms, "groups": _check_groups}
