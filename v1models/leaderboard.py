"""Families of models side by side on a recording with repeats, every image predicted without its group.

`compare(config, workdir)` leaves in the run folder

    families/NAME.npz        predictions of each seed, `singles` (S, n, N) with S = 1 for fixed cores, and strengths or
                             weights; a family that is there is not done again
    leaderboard.csv          one row a family and recording: mean CCnorm, r²_ER and r over units, with intervals; beside
                             each the median over seeds of what one seed reaches (`_single`)
    units.csv                one row a family and unit, with intervals over groups of images
    comparisons.csv          one family (the best, or config.scores.against) less every other: paired differences, Holm;
                             over units, and over recordings and units within them
    learning.csv             mean CCnorm against the number of groups fitted on (`learning.py`)

                             every table has the columns `split` and `replication`
    exciting/NAME.npz        most exciting images and gradients of the best and the worst units (`exciting.py`)

A family that is trained from several seeds predicts by their mean, the ensemble: every score, ceiling and comparison is
the ensemble's, and none of a seed that was chosen.  Units count whose reliability (Spearman–Brown over all repeats)
exceeds `config.scores.reliable`; the unit of replication over images is the group, the split is by group, and the score
is of the images of held-out groups alone.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable

import jax
import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from runtime.config import CONFIG_FILE, check_same, save_config
from runtime.errors import ConfigError, did_you_mean
from runtime.files import atomic_write, write_arrays
from runtime.metrics import Progress
from v1models import cores, exciting, learning, metrics, repeats, ridge, scores, trained

MAY_CHANGE = ("data.path", "scores", "learning", "exciting")
ADDED = {"data.recordings": ()}  # fields that runs of earlier versions lack
CORES = ("pixels", *cores.BANKS, "file", "trained")
NESTED = "groups of images, recordings, and units within them"


def compare(config: ConfigDict, workdir: str | os.PathLike) -> pd.DataFrame:
    """Fits and scores every family of `config.families` on `config.data`; returns the leaderboard.

    Raises:
        ConfigError: naming the field or file that cannot be used.
    """
    folder = pathlib.Path(workdir)
    check(config)
    recording = repeats.load_repeats(config.data.path, config.data.recordings)
    if (folder / CONFIG_FILE).exists():
        check_same(config, folder, MAY_CHANGE, ADDED)
    save_config(config, folder)
    images = prepare(recording, config)
    made = repeats.folds(recording.groups, config.folds.count, config.folds.validation, config.folds.seed)
    rows = repeats.frames_before(recording.groups, config.data.lags) if config.data.lags > 1 else None
    features = {
        name: make_features(family, images, name, rows)
        for name, family in config.families.items()
        if family.core != "trained"
    }
    singles = fit_families(config, features, images, recording, made, folder)
    blocks = repeats.tested_in(made)

    def collect(predictions):
        return scores.collect(predictions, recording.trials, recording.groups, blocks)

    each = {name: [collect(one) for one in found] for name, found in singles.items()}
    sums = {
        name: each[name][0] if len(found) == 1 else collect(trained.ensemble(found)) for name, found in singles.items()
    }
    reliability = metrics.reliability(recording.trials)
    board = leaderboard(sums, each, recording, reliability, config.scores)
    write_table(units(sums, recording, reliability, config.scores), folder / "units.csv", "groups of images")
    write_table(comparisons(sums, reliability, config.scores, recording.recordings), folder / "comparisons.csv")
    curves = learning.learning_curves(config, features, images, recording, made, singles, reliability, folder)
    write_table(curves, folder / "learning.csv")
    exciting.write_exciting_images(config, recording, images, sums, reliability, folder)
    write_table(board, folder / "leaderboard.csv")
    return board


def check(config: ConfigDict) -> None:
    """Raises ConfigError for fields that cannot be used."""
    if config.data.path is None:
        raise ConfigError(
            "config.data.path is not set; give the .npz file of a recording with repeats, as in "
            "--config.data.path=henaff2021_v1.npz (docs/own_recordings.md says what it holds), or the deposit's folder"
        )
    if not dict(config.families.items()):
        raise ConfigError("config.families is empty; name at least one family")
    for name, family in config.families.items():
        if family.core not in CORES:
            raise ConfigError(f"config.families.{name}.core is '{family.core}'{did_you_mean(family.core, CORES)}")
        if family.core == "file" and family.path is None:
            raise ConfigError(f"config.families.{name}.path is not set; give a file of features of the images")
    if config.data.lags < 1:
        raise ConfigError(f"config.data.lags is {config.data.lags}; give 1 for still images, more for movies")
    if config.data.lags > 1:
        single = [name for name, family in config.families.items() if family.core == "trained"]
        if single:
            raise ConfigError(
                f"config.families.{single[0]} is trained on single frames; leave it out where config.data.lags is "
                f"{config.data.lags}"
            )
        if config.exciting.units:
            raise ConfigError(
                "most exciting images are made of single frames; set config.exciting.units=0 where config.data.lags is "
                f"{config.data.lags}"
            )
    for name in config.learning.families if config.learning.groups else ():
        if name not in config.families:
            raise ConfigError(f"config.learning.families names '{name}'{did_you_mean(name, config.families)}")
        if config.families[name].core == "trained" and min(config.learning.groups) < 2:
            raise ConfigError(
                f"config.learning.groups has {min(config.learning.groups)}, but '{name}' in config.learning.families "
                "is trained and needs a group to fit on and one to stop by; give at least 2"
            )
    against = config.scores.against
    if against is not None and against not in config.families:
        raise ConfigError(f"config.scores.against is '{against}'{did_you_mean(against, config.families)}")
    if not 0 <= config.scores.reliable < 1:
        raise ConfigError(f"config.scores.reliable is {config.scores.reliable}; it must lie between 0 and 1")


def prepare(recording: repeats.Repeats, config: ConfigDict) -> np.ndarray:
    """Returns images (n, size, size) as the cores see them: averaged to size, standardized over all pixels."""
    images = repeats.shrink(recording.images, config.data.size).mean(-1)
    spread = images.std()
    if not spread > 0:
        raise ConfigError("the images do not vary, so nothing can be predicted from them")
    return ((images - images.mean()) / spread).astype(np.float32)


def make_features(family: ConfigDict, images: np.ndarray, name: str, rows: np.ndarray | None = None) -> np.ndarray:
    """Returns features (n, …) of a family, or (n, lags, …): those of the images `rows` (n, lags) names beside it."""
    try:
        if family.core == "file":
            found = cores.read_features(family.path, len(images))
        else:
            found = np.asarray(jax.jit(cores.fixed_core(family, images.shape[1]))(images), np.float64)
        return found if rows is None else found[rows]
    except ConfigError as error:
        raise ConfigError(f"config.families.{name}: {error}") from None


def fit_families(
    config: ConfigDict,
    features: dict[str, np.ndarray],
    images: np.ndarray,
    recording: repeats.Repeats,
    made: list[repeats.Fold],
    folder: pathlib.Path,
) -> dict[str, np.ndarray]:
    """Returns predictions (S, n, N) of every family by each of its S seeds, written as soon as they are made."""
    (folder / "families").mkdir(parents=True, exist_ok=True)
    responses, found = recording.average, {}
    with Progress(len(config.families) * len(made), 0, "fitting families") as progress:
        for done, (name, family) in enumerate(config.families.items()):
            path = folder / "families" / f"{name}.npz"
            before = dict(np.load(path)) if path.exists() else {}
            if "singles" in before:  # files of earlier versions have a mean alone
                found[name] = before["singles"]
                progress.update((done + 1) * len(made), f"{name} was there")
                continue

            def report(part, done=done, name=name):
                progress.update(int((done + part) * len(made)), name)

            if family.core == "trained":
                try:
                    arrays = trained.to_arrays(trained.fit_predict(family, images, responses, made, report))
                except ConfigError as error:
                    raise ConfigError(f"config.families.{name}: {error}") from None
            else:
                arrays = fit_ridge(features[name], responses, recording.groups, made, report)
            write_arrays(path, arrays, compress=True)
            found[name] = arrays["singles"]
    return found


def fit_ridge(
    features: np.ndarray, responses: np.ndarray, groups: np.ndarray, made: list[repeats.Fold], report: Callable
) -> dict[str, np.ndarray]:
    """Returns `singles` (1, n, N), predictions by ridge regression from features, and `strengths` (folds, N)."""
    predictions, strengths = np.full(responses.shape, np.nan), []
    for index, fold in enumerate(made):
        predictions[fold.test], chosen = ridge.fit_predict(features, responses, fold, groups)
        strengths.append(chosen)
        report((index + 1) / len(made))
    return {"singles": predictions[None], "strengths": np.stack(strengths)}


def leaderboard(
    sums: dict[str, scores.Sums],
    each: dict[str, list[scores.Sums]],
    recording: repeats.Repeats,
    reliability: np.ndarray,
    options: ConfigDict,
) -> pd.DataFrame:
    """One row a family and recording, and one over all recordings.

    Args:
        sums: of each family's prediction, the mean over its seeds.
        each: of each seed's.
        recording: whose units are scored.
        reliability: of the units, (N,).
        options: config.scores.
    """
    rows = []
    for family, collected in sums.items():
        for name in ("all", *np.unique(recording.recordings)):
            keep = reliability > options.reliable
            if name != "all":
                keep &= recording.recordings == name
            row = {"family": family, "recording": name, "units": int(keep.sum()), "seeds": len(each[family])}
            for label, score in SCORES.items():
                interval = scores.over_both(score, collected, keep, options.resamples)
                row |= {label: interval.value, f"{label}_low": interval.low, f"{label}_high": interval.high}
                one = [np.nanmean(score(seed)[keep]) for seed in each[family]] if keep.any() else [np.nan]
                row[f"{label}_single"] = float(np.median(one))
            row["ceiling_r"] = float(np.sqrt(np.maximum(reliability[keep], 0)).mean()) if keep.any() else np.nan
            rows.append(row)
    return pd.DataFrame(rows)


SCORES = {
    "cc_norm": scores.normalized_correlation,
    "r2_corrected": scores.corrected_r2,
    "r": scores.correlation,
}


def units(
    sums: dict[str, scores.Sums], recording: repeats.Repeats, reliability: np.ndarray, options: ConfigDict
) -> pd.DataFrame:
    """One row a family and unit, with intervals over groups of images."""
    tables = []
    for family, collected in sums.items():
        table = {
            "family": family, "unit": np.arange(len(reliability)), "recording": recording.recordings,
            "reliability": reliability, "snr": scores.signal_to_noise(collected),
        }  # fmt: skip
        for label, score in SCORES.items():
            interval = scores.over_images(score, collected, options.resamples)
            table |= {label: interval.value, f"{label}_low": interval.low, f"{label}_high": interval.high}
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def comparisons(
    sums: dict[str, scores.Sums], reliability: np.ndarray, options: ConfigDict, recordings: np.ndarray
) -> pd.DataFrame:
    """One family less every other: mean CCnorm over reliable units, images and units drawn anew in pairs.

    The one is options.against, or the best.  With several recordings everything is there twice: units drawn as if of
    one recording, and recordings drawn anew with units within them.  Holm's correction is over the other families.
    """
    keep = reliability > options.reliable
    means = {family: np.nanmean(scores.normalized_correlation(each)[keep]) for family, each in sums.items()}
    one = options.against or max(means, key=means.get)
    drawn = {"groups of images and units": None}
    if len(np.unique(recordings[keep])) > 1:
        drawn[NESTED] = recordings
    rows = []
    for replication, owners in drawn.items():
        found = {
            family: scores.compare(
                scores.normalized_correlation, sums[one], each, keep, options.resamples, recordings=owners
            )
            for family, each in sums.items()
            if family != one
        }
        adjusted = scores.holm([each.p for each in found.values()]) if found else []
        rows += [
            {"family": one, "other": family, **each._asdict(), "p_holm": p, "replication": replication}
            for (family, each), p in zip(found.items(), adjusted, strict=True)
        ]
    columns = ["family", "other", "difference", "low", "high", "p", "p_holm", "replication"]
    return pd.DataFrame(rows, columns=columns)


def write_table(table: pd.DataFrame, path: pathlib.Path, replication: str = "groups of images and units") -> None:
    """Writes a table as CSV, whole or not at all, with how images were split and what its intervals draw anew.

    A table whose rows differ in that has the column `replication` itself.
    """
    about = {"split": "by group, held out"} | ({} if "replication" in table else {"replication": replication})
    with atomic_write(path) as incomplete:
        table.assign(**about).to_csv(incomplete, index=False)
