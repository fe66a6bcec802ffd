"""Do samples of a field's latents, taken as trials, vary like the neurons that a read-out of their means predicts?

`assess(config, workdir)` leaves in the run folder

    read_out/NAME.npz   samples read out, their variance, and samples of latents made independent; not made again
    variability.csv     three questions, one row a quantity and model, with intervals
    contrast.csv        Fano factors, measured and modelled, and the latents' own variance, at every contrast
    pairs.npz           measured and predicted noise correlations of every pair, for the figure

The questions, all on images whose group no read-out or coefficient has seen:

    variance      mean log density of trials beyond that of a function of the mean (`dispersion.py`), nats a trial
    correlations  correlation over pairs of units of noise correlations, measured and predicted; as it is, and with what
                  signal correlations and a gain shared by all units predict taken out
    contrast      log₂ change of the Fano factor for a doubling of contrast

Each has controls of the same means: Poisson, modulated Poisson, the samples of other images, latents made independent
(each latent's samples in an order of their own), and whatever other fields the config names.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from runtime.config import CONFIG_FILE, check_same, save_config
from runtime.errors import ConfigError
from runtime.files import write_arrays
from runtime.metrics import Progress
from v1models import cores, dispersion, metrics, repeats, scores
from v1models.leaderboard import write_table

MAY_CHANGE = ("data.path", "scores", "folds.validation")  # the last is of earlier versions
ADDED = {"data.recordings": ()}  # fields that those lack
REFERENCE, GAIN, SIGNAL = dispersion.OF_MEAN, "shared gain", "signal correlation"
INDEPENDENT = "{}, latents independent"


def assess(config: ConfigDict, workdir: str | os.PathLike) -> pd.DataFrame:
    """Answers the three questions for every file of samples in `config.fields`; returns the table.

    Raises:
        ConfigError: naming the field or file that cannot be used.
    """
    folder = pathlib.Path(workdir)
    if config.data.path is None:
        raise ConfigError("config.data.path is not set; give the .npz file of a recording (docs/own_recordings.md)")
    named = {name: path for name, path in config.fields.items() if path is not None}
    if not named:
        raise ConfigError("config.fields names no file; give samples that the stage respond wrote, by name")
    recording = repeats.load_repeats(config.data.path, config.data.recordings)
    fields = {name: read_samples(path, len(recording.images)) for name, path in named.items()}
    if (folder / CONFIG_FILE).exists():
        check_same(config, folder, MAY_CHANGE, ADDED)
    save_config(config, folder)
    made = repeats.folds(recording.groups, config.folds.count, 0, config.folds.seed)
    read = read_out(fields, recording, made, folder / "read_out")
    keep = metrics.reliability(recording.trials) > config.scores.reliable
    judge = Judge(recording, keep, config.scores.resamples)
    spreads = {name: found["spread"] for name, found in read.items()}
    halves = [half_variances(recording.trials, order, spreads, made) for order in ((0, 1), (1, 0))]
    rows = variance_rows(judge, halves, read, made)
    found, pairs = correlation_rows(judge, read, halves)
    write_arrays(folder / "pairs.npz", pairs, compress=True)
    slopes, curves = contrast_rows(judge, halves, fields)
    table = pd.DataFrame(rows + found + slopes)
    write_table(curves, folder / "contrast.csv", UNITS)
    write_table(table, folder / "variability.csv", UNITS)
    return table


UNITS = "recordings, units within them, and for the variance groups of images"


def read_samples(path: str, count: int) -> dict[str, np.ndarray]:
    """Returns features (n, d), samples (S, n, d) and, where the file has it, blank (S, d) of a file of samples.

    Raises:
        ConfigError: a file without samples, or of other images.
    """
    features = cores.read_features(path, count).reshape(count, -1)
    with np.load(path) as file:
        if "samples" not in file.files or len(file["samples"]) < dispersion.LEAST:
            raise ConfigError(f"{path} has no 'samples' ({dispersion.LEAST} or more); the stage respond writes them")
        samples = file["samples"].astype(np.float64)
        blank = file["blank"].astype(np.float64) if "blank" in file.files else None
    if samples.reshape(len(samples), count, -1).shape[2] != features.shape[1]:
        raise ConfigError(f"{path}: samples have shape {samples.shape} and features {features.shape}; write both anew")
    found = {"features": features, "samples": samples.reshape(len(samples), count, -1)}
    return found if blank is None else found | {"blank": blank.reshape(len(blank), -1)}


def independent(samples: np.ndarray, seed: int = 0) -> np.ndarray:
    """Returns samples (S, n, d) with every latent's in an order of its own: the same variances, no covariances."""
    return np.random.default_rng(seed).permuted(samples, axis=0)


def read_out(
    fields: Mapping[str, Any], recording: repeats.Repeats, made: list[repeats.Fold], folder: pathlib.Path
) -> dict[str, dict[str, np.ndarray]]:
    """Returns what was read out of each field, written as soon as it is made.

    Returns:
        {name: {'samples': (S, n, N), 'independent': the same of independent latents, 'spread': (K, n, N), variances
        over samples under each fold's read-out, relative to their mean over the images fitted on}}.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    with Progress(len(fields), 0, "reading out samples") as progress:
        for done, (name, field) in enumerate(fields.items()):
            path = folder / f"{name}.npz"
            if not path.exists():
                given = (recording.average, made, recording.groups)
                samples, spread = dispersion.read_out_samples(field["features"], field["samples"], *given)
                alone, _ = dispersion.read_out_samples(field["features"], independent(field["samples"]), *given)
                arrays = {"samples": samples, "independent": alone, "spread": spread}
                write_arrays(path, {key: value.astype(np.float32) for key, value in arrays.items()}, compress=True)
            with np.load(path) as file:
                found[name] = {key: file[key].astype(np.float64) for key in file.files}
            progress.update(done + 1, name)
    return found


class Judge:
    """What all questions share: the recording, the units that count, how intervals are made."""

    def __init__(self, recording: repeats.Repeats, keep: np.ndarray, resamples: int):
        self.recording, self.keep, self.resamples = recording, keep, resamples

    def interval(self, values: np.ndarray, drawn: np.ndarray | None = None) -> dict[str, Any]:
        """Mean of values (N,) over the units that count, with an interval over recordings and units."""
        kept = np.where(self.keep, values, np.nan)
        found = scores.over_recordings(kept, self.recording.recordings, drawn, self.resamples)
        return {**found._asdict(), "units": int(np.isfinite(kept).sum())}


def half_variances(
    trials: np.ndarray, order: tuple[int, int], spreads: Mapping[str, np.ndarray], made: list[repeats.Fold]
) -> dict[str, Any]:
    """Every model's V (n, N): means from the trials order[0]::2, coefficients from order[1]::2 of other groups."""
    known, target = (dispersion.moments(trials[first::2]) for first in order)
    mean = dispersion.held_out_mean(known)
    variances = {
        name: dispersion.predict_variance(target, mean, parts, made)
        for name, parts in dispersion.variance_parts(mean, spreads).items()
    }
    return {"mean": mean, "target": target, "variances": variances}


def variance_rows(
    judge: Judge, halves: list[dict], read: Mapping[str, Mapping[str, np.ndarray]], made: list[repeats.Fold]
) -> list[dict]:
    """Log density beyond that of a function of the mean, and what that leaves of variance beside the samples'."""
    rows, density, degrees = [], {}, 0.0
    for name in halves[0]["variances"]:
        parts = [
            dispersion.score_sums(half["target"], half["variances"][name], judge.recording.groups) for half in halves
        ]
        density[name], degrees = (sum(part) for part in zip(*parts, strict=True))
    draws = scores.draw_groups(len(degrees), judge.resamples)
    for name, each in density.items():
        above = each - density[REFERENCE]
        values = above.sum(0) / np.maximum(degrees.sum(0), 1)
        drawn = (draws @ above) / np.maximum(draws @ degrees, 1)
        rows.append(_row("variance", GAINED, name, judge.interval(values, drawn)))
    for name, found in read.items():
        spread = dispersion.held_out(found["spread"], made)
        given = [(half["target"], half["variances"][REFERENCE], half["mean"]) for half in halves]
        left = [dispersion.residual_correlation(*each, spread) for each in given]
        rows.append(_row("variance", LEFT, name, judge.interval(np.mean(left, axis=0))))
    rows += [_row("variance", LEFT, name, judge.interval(values)) for name, values in other_trials(judge).items()]
    for name, found in read.items():
        first, second = (found["samples"][start::2].var(0, ddof=1) for start in (0, 1))
        rows.append(_row("variance", AGREE, name, judge.interval(agreement(first, second, made))))
    return rows


def other_trials(judge: Judge) -> dict[str, np.ndarray]:
    """What other trials of the same images say of the variance that is left, (N,) each: their variance, their mean.

    A third of the trials gives the mean, the second the variance, the last the predictor.  The last third's mean can
    say something only because the first third's is not exact: what samples say has to be more than that.
    """
    first, second, third = (dispersion.moments(judge.recording.trials[start::3]) for start in range(3))
    mean = dispersion.held_out_mean(first)
    predictors = {"variance of other trials": third.variance, "mean of other trials": third.mean}
    return {
        name: dispersion.residual_correlation(second, mean, mean, predictor) for name, predictor in predictors.items()
    }


def agreement(first: np.ndarray, second: np.ndarray, made: list[repeats.Fold]) -> np.ndarray:
    """Correlation over the images of a fold of two (n, N), mean over folds, (N,)."""
    found = []
    for fold in made:
        a, b = (each[fold.test] - each[fold.test].mean(0) for each in (first, second))
        norm = np.sqrt(np.square(a).sum(0) * np.square(b).sum(0))
        found.append(np.where(norm > 0, (a * b).sum(0) / np.where(norm > 0, norm, 1), np.nan))
    return np.nanmean(found, axis=0)


GAINED = "nats per trial beyond a function of the mean"
LEFT = "correlation with variance that a function of the mean leaves"
AGREE = "agreement of the samples' variances over images between halves of the samples"
OVER_PAIRS, BEYOND = "correlation over pairs", "correlation over pairs, signal and shared gain taken out"
SLOPE, DIFFERENCE = "log2 Fano factor per doubling of contrast", "the same, minus measured"


def _row(question: str, quantity: str, model: str, found: Mapping[str, Any]) -> dict[str, Any]:
    return {"question": question, "quantity": quantity, "model": model, **found}


def correlation_rows(
    judge: Judge, read: Mapping[str, Mapping[str, np.ndarray]], halves: list[dict]
) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Noise correlations of pairs within recordings, measured and predicted: (rows, arrays for the figure)."""
    recording, keep = judge.recording, judge.keep
    mean = np.nan_to_num(recording.average)
    gain = modulation(halves)
    parts = {}
    for name in np.unique(recording.recordings):
        units = np.flatnonzero(keep & (recording.recordings == name))
        if len(units) < 4:
            continue
        trials = recording.trials[:, :, units]
        matrices = {
            "measured": dispersion.noise_correlations(trials),
            "even": dispersion.noise_correlations(trials, np.arange(0, trials.shape[1], 2)),
            "odd": dispersion.noise_correlations(trials, np.arange(1, trials.shape[1], 2)),
            SIGNAL: dispersion.signal_correlations(recording.average[:, units]),
            GAIN: dispersion.shared_gain_correlations(mean[:, units], gain[units]),
        }
        for field, found in read.items():
            matrices[field] = dispersion.sample_correlations(found["samples"][:, :, units])
            matrices[INDEPENDENT.format(field)] = dispersion.sample_correlations(found["independent"][:, :, units])
        parts[str(name)] = matrices
    if not parts:
        return [], {}
    models = [name for name in next(iter(parts.values())) if name not in ("measured", "even", "odd")]
    count = sum(len(matrices["measured"]) for matrices in parts.values())
    rows = []

    def add(quantity, model, measured, predicted, given=()):
        found = over_recordings_of_pairs(list(parts.values()), measured, predicted, given, judge.resamples)
        rows.append(_row("correlations", quantity, model, {**found._asdict(), "units": count}))

    for model in models:
        add(OVER_PAIRS, model, "measured", model)
    add(OVER_PAIRS, "other half of the images", "even", "odd")
    for model in models:
        if model not in (SIGNAL, GAIN):
            add(BEYOND, model, "measured", model, (SIGNAL, GAIN))
    add(BEYOND, "other half of the images", "even", "odd", (SIGNAL, GAIN))
    arrays = {}
    for name, matrices in parts.items():
        upper = np.triu_indices(len(matrices["measured"]), 1)
        arrays[name] = np.stack([matrices[key][upper] for key in ("measured", *models)])
    return rows, {**arrays, "models": np.array(["measured", *models])}


def modulation(halves: list[dict]) -> np.ndarray:
    """Variance of every unit's gain by the modulated Poisson model, (N,): mean of (V − m)/m² over images and halves."""
    each = [(half["variances"][dispersion.MODULATED] - half["mean"]) / np.square(half["mean"]) for half in halves]
    return np.nanmean(np.concatenate(each), axis=0)


def over_recordings_of_pairs(
    parts: list[Mapping[str, np.ndarray]], measured: str, predicted: str, given: tuple[str, ...], resamples: int
) -> scores.Interval:
    """Mean over recordings of `dispersion.over_pairs`, with an interval over recordings and units drawn anew."""
    rng = np.random.default_rng(0)

    def one(part, units=None):
        return dispersion.over_pairs(part[measured], part[predicted], [part[name] for name in given], units)

    value = np.nanmean([one(part) for part in parts])
    drawn = np.empty(resamples)
    for index in range(resamples):
        chosen = [parts[number] for number in rng.integers(len(parts), size=len(parts))]
        found = [one(part, rng.integers(len(part[measured]), size=len(part[measured]))) for part in chosen]
        drawn[index] = np.nanmean(found)
    return scores.Interval(value, *np.nanpercentile(drawn, (2.5, 97.5)))


def contrast_rows(
    judge: Judge, halves: list[dict], fields: Mapping[str, Mapping[str, np.ndarray]]
) -> tuple[list[dict], pd.DataFrame]:
    """The Fano factor against contrast: (rows of slopes, one row a model and contrast)."""
    recording = judge.recording
    rows = np.flatnonzero(recording.categories == "contrast")
    if not len(rows):
        return [], pd.DataFrame()
    contrast = dispersion.contrasts(recording.images)
    levels = dispersion.contrast_levels(contrast, recording.groups, rows)
    x = np.exp(np.log(contrast[levels]).mean(1))
    found = dispersion.moments(recording.trials)
    curves = {"measured": dispersion.fano_curve(found.variance, found.mean, levels)}
    mean = np.mean([half["mean"] for half in halves], axis=0)
    for name in halves[0]["variances"]:
        variance = np.mean([half["variances"][name] for half in halves], axis=0)
        curves[name] = dispersion.fano_curve(variance, mean, levels)
    slopes = {name: dispersion.slope(curve, x) for name, curve in curves.items()}
    table = [_row("contrast", SLOPE, name, judge.interval(each)) for name, each in slopes.items()]
    table += [
        _row("contrast", DIFFERENCE, name, judge.interval(each - slopes["measured"]))
        for name, each in slopes.items()
        if name != "measured"
    ]
    points = []
    for name, curve in curves.items():
        for level, values in enumerate(curve):
            positive = np.where(values > 0, values, np.nan)
            around = {key: value if key == "units" else np.exp(value)
                      for key, value in judge.interval(np.log(positive)).items()}  # fmt: skip
            points.append({"quantity": "Fano factor", "model": name, "contrast": x[level], **around})
    for name, field in fields.items():
        points += latent_variance(name, field, levels, x)
    return table, pd.DataFrame(points)


def latent_variance(name: str, field: Mapping[str, np.ndarray], levels: np.ndarray, contrast: np.ndarray) -> list[dict]:
    """Variance over samples at every contrast and blank, relative to each latent's mean over images, averaged."""
    variance = field["samples"].var(0, ddof=1)
    overall = variance.mean(0)
    overall = np.where(overall > 0, overall, np.nan)
    shown = [(x, variance[level].mean(0)) for x, level in zip(contrast, levels, strict=True)]
    if "blank" in field:
        shown.insert(0, (0.0, field["blank"].var(0, ddof=1)))
    about = {"quantity": "variance of latents", "model": name, "low": np.nan, "high": np.nan, "units": len(overall)}
    return [{**about, "contrast": x, "value": float(np.nanmean(each / overall))} for x, each in shown]
