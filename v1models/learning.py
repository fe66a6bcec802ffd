"""Learning curves: how well held-out groups of images are predicted, against the number of groups fitted on.

All families see the same groups.  A read-out by ridge regression chooses its strength and is fitted on all of them; a
trained family stops by a quarter of them (at least one) and is fitted on the others, from its first seed, for as many
updates as with all groups.  Where all groups of a fold are used its curve ends at the score of that seed.

What is trained is kept in `learning/NAME_GROUPS.npz` and not done again.
"""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from runtime.files import write_arrays
from runtime.metrics import Progress
from v1models import repeats, ridge, scores, trained


def learning_curves(
    config: ConfigDict,
    features: dict[str, np.ndarray],
    images: np.ndarray,
    recording: repeats.Repeats,
    made: list[repeats.Fold],
    singles: dict[str, np.ndarray],
    reliability: np.ndarray,
    folder: pathlib.Path,
) -> pd.DataFrame:
    """Returns one row a family of `config.learning.families` and number of groups: mean CCnorm over reliable units.

    Args:
        config: of the leaderboard.
        features: of the families with fixed cores, (n, …).
        images: as trained cores see them, (n, size, size).
        recording: the recording.
        made: folds.
        singles: what each seed of every family predicts when fitted on all groups, (S, n, N).
        reliability: of the units, (N,).
        folder: of the run.
    """
    keep, responses, rows = reliability > config.scores.reliable, recording.average, []
    blocks = repeats.tested_in(made)
    curves = [(family, count) for family in config.learning.families for count in config.learning.groups]
    columns = ["family", "groups", "value", "low", "high"]
    if not curves:
        return pd.DataFrame(columns=columns)
    with Progress(len(curves), 0, "learning curves") as progress:
        for done, (family, count) in enumerate(curves):
            folds = [few_groups(fold, recording.groups, count) for fold in made]
            options = config.families[family]
            if options.core != "trained":
                predictions = np.full(responses.shape, np.nan)
                for few in folds:
                    predictions[few.test] = ridge.fit_predict(features[family], responses, few, recording.groups)[0]
            elif all(few is fold for few, fold in zip(folds, made, strict=True)):
                predictions = singles[family][0]
            else:
                path = folder / "learning" / f"{family}_{count}.npz"
                predictions = train_on(options, images, responses, folds, made, path)
            collected = scores.collect(predictions, recording.trials, recording.groups, blocks)
            found = scores.over_both(scores.normalized_correlation, collected, keep, config.scores.resamples)
            rows.append({"family": family, "groups": count, **found._asdict()})
            progress.update(done + 1, family)
    return pd.DataFrame(rows, columns=columns)


def few_groups(fold: repeats.Fold, groups: np.ndarray, count: int) -> repeats.Fold:
    """Returns a fold with `count` groups to fit on: a quarter of them, or what is missing, from its validation groups.

    Args:
        fold: a fold.
        groups: of the images, (n,).
        count: groups in all; a fold that has no more is kept as it is.
    """
    train, validation = np.unique(groups[fold.train]), np.unique(groups[fold.validation])
    if count >= len(train) + len(validation):
        return fold
    held = min(max(1, count // 4, count - len(train)), len(validation))
    chosen = train[: max(count - held, 0)], validation[:held]
    return repeats.Fold(
        fold.train[np.isin(groups[fold.train], chosen[0])],
        fold.validation[np.isin(groups[fold.validation], chosen[1])],
        fold.test,
    )


def train_on(
    family: ConfigDict,
    images: np.ndarray,
    responses: np.ndarray,
    folds: list[repeats.Fold],
    made: list[repeats.Fold],
    path: pathlib.Path,
) -> np.ndarray:
    """Returns what a trained family's first seed predicts, (n, N), fitted on smaller folds for as many updates."""
    if path.exists():
        return np.load(path)["predictions"]
    path.parent.mkdir(exist_ok=True)
    stretch = min(len(fold.train) for fold in made) / min(len(few.train) for few in folds)
    fitted = trained.fit_predict(family, images, responses, folds, seeds=family.seeds[:1], stretch=stretch)
    write_arrays(path, {"predictions": fitted.singles[0]}, compress=True)
    return fitted.singles[0]
