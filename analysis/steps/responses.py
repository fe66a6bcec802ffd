"""Which neurons respond, what channels prefer, and what there is to be seen of it: the steps about single neurons."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.load import NotTestable
from analysis.measures import activity, orientation, spectra
from analysis.steps.run import Outcome, Run, matched_channels, primary_patch, result
from recordings.names import DURING, OUTSIDE, PRIMARY, TUNING

TRACES_AT_ONCE = 4096


def find_activity(run: Run, name: str) -> Outcome:
    """Test every neuron for a response to every stimulus (`measures.activity`)."""
    experiment = run.open(name)
    found = run.formulas.activity_test(*experiment.statistics(), run.options.level)
    # Maps are drawn as (stimuli, channels, height, width).
    maps = found._replace(**{field: np.moveaxis(values, 3, 1) for field, values in found._asdict().items()})
    active = found.active
    arrays = {
        "mean_during": found.mean_during,
        "mean_outside": found.mean_outside,
        "effect_size": found.effect_size,
        "p_value": found.p_value,
        "q_value": found.q_value,
        "active": active,
        "limits": run.formulas.map_limits(maps),
        "images": experiment.source.images(),
    }
    arrays = {key: v.astype(np.float32) if v.dtype == np.float64 else v for key, v in arrays.items()}
    arrays |= {f"table_{column}": np.asarray(values) for column, values in experiment.table.items()}
    stimulus, channel = (index.ravel() for index in np.indices((experiment.stimuli, experiment.channels)))
    table = pd.DataFrame({"stimulus": stimulus})
    for column, values in experiment.table.items():
        table[column] = np.asarray(values)[stimulus]
    table["channel"] = channel
    table["active_neurons"] = active.sum(axis=(1, 2)).ravel()
    table["mean_during"] = found.mean_during.mean(axis=(1, 2)).ravel()
    table["mean_outside"] = found.mean_outside.mean(axis=(1, 2)).ravel()
    table["largest_effect_size"] = found.effect_size.max(axis=(1, 2)).ravel()
    for period in (DURING, OUTSIDE):
        # The smallest W of a map: how far from a Gaussian the neurons get.
        table[f"least_shapiro_w_{period}"] = getattr(found, f"shapiro_w_{period}").min(axis=(1, 2)).ravel()
    return Outcome(arrays, table)


def find_preferences(run: Run) -> Outcome:
    """Fit tuning curves of the middle neuron of every channel (`measures.orientation`)."""
    experiment, found = run.open(TUNING), result(run, f"activity_{TUNING}")
    angles = experiment.column("angle")
    if np.unique(angles).size < 6:
        raise NotTestable(f"'{TUNING}' shows fewer than 6 angles; set config.record.sets.{TUNING}.angles to more")
    height, width = experiment.size
    responses = found["mean_during"][:, height // 2, width // 2].T
    order = np.argsort(angles, kind="stable")
    angles, responses = angles[order], responses[:, order]
    fits = run.formulas.find_orientation_preferences(angles, responses)
    preferred = run.formulas.assign_orientation(fits, run.options.level)
    curves = [orientation.evaluate_cosine(fit, angles) for fit in (fits.direction, fits.orientation)]
    arrays = {
        "angles": angles,
        "curves": fits.curves,
        "fitted": np.where(fits.is_orientation[:, None], curves[1], curves[0]),
        "preferred_angle": preferred,
        "angle_of_fit": fits.preferred_angle,
        "is_orientation": fits.is_orientation,
        "amplitude": fits.amplitude,
        "explained": fits.explained,
        "q_value": fits.q_value,
    }
    table = pd.DataFrame({"channel": np.arange(len(preferred)), "preferred_angle_degrees": np.degrees(preferred)})
    for column in ("is_orientation", "amplitude", "explained", "q_value"):
        table[column] = arrays[column]
    return Outcome(arrays, table)


def find_oscillations(run: Run) -> Outcome:
    """Find spectral peaks of the patch neurons that are active and prefer the stimulus."""
    experiment, tested = run.open(PRIMARY), result(run, f"activity_{PRIMARY}")
    if min(experiment.periods.stimulus, max(experiment.periods.blank, experiment.periods.blank_after)) < 16:
        raise NotTestable("its periods are shorter than 16 steps")
    contrasts = experiment.column("contrast")
    matched = matched_channels(run, experiment.column("angle")).T
    sites = experiment.patch_sites()
    rows, columns = experiment.sites[0][sites].T
    # (stimuli, channels, sites)
    chosen = np.moveaxis(tested["active"][:, rows, columns], 1, 2) & matched[:, :, None]
    found = {key: [] for key in ("stimulus", "channel", "site", "product", "frequency", "power", "outside")}
    each = experiment.periods.total * experiment.channels * len(sites)
    for stimuli in experiment.blocks(each, 1 << 25):
        traces = primary_patch(experiment, stimuli)
        places = np.argwhere(chosen[stimuli])
        for first in range(0, len(places), TRACES_AT_ONCE):
            part = places[first : first + TRACES_AT_ONCE]
            during, outside = run.formulas.oscillations_by_period(traces[:, *part.T], experiment.periods)
            found["stimulus"].append(part[:, 0] + stimuli.start)
            found["channel"].append(part[:, 1])
            found["site"].append(sites[part[:, 2]])
            found["product"].append(spectra.frequency_power(during))
            for key, oscillations in (("frequency", during), ("outside", outside)):
                highest = np.where(oscillations.peaks, oscillations.power, -1).argmax(axis=1)
                place = np.arange(len(highest)), highest
                found[key].append(np.stack([oscillations.frequencies[highest], oscillations.power[place]], axis=1))
    if not found["product"]:
        raise NotTestable("no neuron of the central patch is both active and tuned to the stimulus")
    joined = {key: np.concatenate(values) for key, values in found.items() if values}
    levels, means = spectra.mean_by_contrast(joined["product"], contrasts[joined["stimulus"]])
    every = np.unique(contrasts)
    placed = np.full(every.size, np.nan)
    placed[np.searchsorted(every, levels)] = means
    counted = contrasts[joined["stimulus"][np.isfinite(joined["product"])]]
    arrays = {
        "contrasts": every,
        "frequency_power": placed,
        "count": np.array([(counted == level).sum() for level in every]),
        "row_stimulus": joined["stimulus"],
        "row_site": joined["site"],
        "row_channel": joined["channel"],
        "frequency_during": joined["frequency"][:, 0],
        "power_during": joined["frequency"][:, 1],
        "frequency_outside": joined["outside"][:, 0],
        "power_outside": joined["outside"][:, 1],
    }
    rows = {key.removeprefix("row_"): arrays[key] for key in list(arrays)[3:]}
    table = pd.DataFrame(
        {**rows, "contrast": contrasts[joined["stimulus"]], "frequency_times_power": joined["product"]}
    )
    return Outcome(arrays, table)


def make_movie(run: Run) -> Outcome:
    """Frames of the filmed stimuli, that with the highest contrast first, each channel scaled to 0 … 255."""
    candidates = [name for name in (PRIMARY, *run.names) if name in run.names]
    for name in candidates:
        experiment = run.open(name)
        if experiment.filmed:
            break
    else:
        raise NotTestable("no stimulus was filmed; set config.record.movie to 1 or more")
    strength = np.asarray(experiment.table.get("contrast", np.zeros(experiment.stimuli)))
    stimuli = sorted(experiment.filmed, key=lambda row: -strength[row])
    movies = []
    for stimulus in stimuli:
        states = experiment.source.frames(stimulus, experiment.movie_every)
        movies.append(np.stack([activity.movie_frames(states[..., c]) for c in range(experiment.channels)], axis=-1))
    arrays = {"frames": movies[0], "stimulus": np.asarray(stimuli[0]), "experiment": np.asarray(name)}
    arrays["steps"] = np.arange(len(movies[0])) * experiment.movie_every
    if len(movies) > 1:
        arrays |= {"other_frames": np.stack(movies[1:]), "other_stimuli": np.asarray(stimuli[1:])}
    return Outcome(arrays)
