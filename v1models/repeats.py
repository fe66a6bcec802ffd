"""Recordings with repeats: every image shown many times, trials missing here and there, images that belong together.

One file, as `numpy.savez` writes it, holds a recording (docs/own_recordings.md shows how to make one):

    images      (n, rows, columns) or (n, rows, columns, channels)   any numeric type
    trials      (T, n, N)    response of N units to n images in T repeats; NaN, or a negative integer, where missing
    groups      (n,)         integers: images of one group (frames of a movie, crops of a photograph) are never split
    categories  (n,)         optional names or integers, such as natural, contrast
    recordings  (N,)         optional names or integers: the recording each unit comes from

Ragged repeats are trials that are missing.  Scores are made of images whose whole group the model never saw; what was
never shown to a unit is missing, not zero.
"""

from __future__ import annotations

import os
import pathlib
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from runtime.errors import ConfigError, did_you_mean


class Repeats(NamedTuple):
    """Responses of N units to n images in up to T repeats."""

    images: np.ndarray  # (n, rows, columns, channels), float32, as recorded
    trials: np.ndarray  # (T, n, N), float32, NaN where there is none
    groups: np.ndarray  # (n,), int
    categories: np.ndarray  # (n,), str
    recordings: np.ndarray  # (N,), str

    @property
    def shown(self) -> np.ndarray:
        """Where a unit has at least one trial: (n, N), bool."""
        return np.isfinite(self.trials).any(0)

    @property
    def average(self) -> np.ndarray:
        """Mean over the trials there are: (n, N), NaN where there is none."""
        count = np.isfinite(self.trials).sum(0)
        total = np.where(np.isfinite(self.trials), self.trials, 0).sum(0, dtype=np.float64)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


class Fold(NamedTuple):
    """Rows of one cross-validation fold; no group has images in two of them."""

    train: np.ndarray  # rows to fit on
    validation: np.ndarray  # rows to choose strengths and stopping by
    test: np.ndarray  # rows to score, looked at once


def make_repeats(
    images: Any,
    trials: Any,
    groups: Any,
    categories: Any = None,
    recordings: Any = None,
    name: str = "the recording",
) -> Repeats:
    """Returns checked repeats from plain arrays.

    Args:
        images: (n, rows, columns) or (n, rows, columns, channels).
        trials: (T, n, N), NaN (or negative, if integers) where there is no trial.
        groups: (n,), integers.
        categories: (n,) or None.
        recordings: (N,) or None.
        name: of the recording, for messages.

    Raises:
        ConfigError: naming the array that does not fit.
    """
    images, trials, groups = np.asarray(images), np.asarray(trials), np.asarray(groups)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4:
        raise ConfigError(f"{name}: images have shape {images.shape}; give (n, rows, columns[, channels])")
    if trials.ndim != 3 or trials.shape[1] != len(images):
        raise ConfigError(f"{name}: trials have shape {trials.shape}; give (repeats, {len(images)}, units)")
    if groups.shape != (len(images),):
        raise ConfigError(
            f"{name}: groups have shape {groups.shape}; give one integer for each of {len(images)} images"
        )
    missing = trials < 0 if np.issubdtype(trials.dtype, np.integer) else np.isnan(trials)
    trials = np.where(missing, np.nan, trials).astype(np.float32)
    if np.isinf(trials).any() or not np.isfinite(images).all():
        raise ConfigError(f"{name}: images or trials hold values that are not finite; a missing trial is NaN")
    silent = ~np.isfinite(trials).any((0, 1))
    if silent.any():
        raise ConfigError(f"{name}: unit {int(np.flatnonzero(silent)[0])} has no trial at all; leave such units out")
    categories = np.full(len(images), "all") if categories is None else np.asarray(categories).astype(str)
    recordings = np.full(trials.shape[2], "1") if recordings is None else np.asarray(recordings).astype(str)
    for label, array, count in (("categories", categories, len(images)), ("recordings", recordings, trials.shape[2])):
        if array.shape != (count,):
            raise ConfigError(f"{name}: {label} have shape {array.shape}; give ({count},)")
    return Repeats(images.astype(np.float32), trials, groups.astype(int), categories, recordings)


def load_repeats(path: str | os.PathLike, recordings: Sequence[str] = ()) -> Repeats:
    """Returns the recording in an `.npz` file of the layout above or in that of `henaff` or `baker`, or in a folder.

    Args:
        path: of the file, or of a folder with the MATLAB files of Hénaff et al. (2021), see `deposit.py`.
        recordings: names of those whose units are read, empty for all.

    Raises:
        ConfigError: where the file is missing, is no such file, or lacks an array or a recording.
    """
    found = _load(pathlib.Path(path))
    missing = sorted({*recordings} - {*found.recordings})
    if missing:
        known = did_you_mean(missing[0], np.unique(found.recordings).tolist())
        raise ConfigError(f"{path} holds no recording '{missing[0]}'{known}")
    if not recordings:
        return found
    units = np.isin(found.recordings, recordings)
    trials = found.trials[:, :, units]
    return found._replace(trials=trials, recordings=found.recordings[units])


def _load(path):
    if path.is_dir():
        from v1models.deposit import read_deposit  # which needs this file

        return henaff(read_deposit(path), path.name)
    if not path.is_file():
        raise ConfigError(
            f"{path} does not exist; give the .npz file of a recording, or the folder of the deposit osf.io/gwtcs (see "
            "docs/own_recordings.md)"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise ConfigError(f"{path} is not a readable .npz file ({error}); write it with numpy.savez") from None
    if "images128" in arrays:
        return henaff(arrays, path.name)
    if "clip_slot" in arrays:
        return baker(arrays, path.name)
    missing = [name for name in ("images", "trials", "groups") if name not in arrays]
    if missing:
        raise ConfigError(f"{path} lacks {', '.join(missing)}; docs/own_recordings.md lists what a recording needs")
    names = ("images", "trials", "groups", "categories", "recordings")
    return make_repeats(**{name: arrays[name] for name in names if name in arrays}, name=path.name)


CATEGORIES = np.array(["natural", "synthetic", "contrast"])


def henaff(arrays: Mapping[str, np.ndarray], name: str = "henaff2021") -> Repeats:
    """Returns the six recordings of Hénaff et al. (2021), units side by side: all saw the same 440 images.

    Groups are movies (both zooms and all frames of one scene): neighboring frames are nearly equal, and splits by
    frame give high scores even to models fitted to the wrong images.  Source: Hénaff, Bai, Charlton, Nauhaus,
    Simoncelli & Goris (2021), Nat. Commun. 12:5982.
    """
    sessions = [str(session) for session in arrays["sessions"]]
    counts = [arrays[f"counts_{session}"] for session in sessions]  # (images, repeats, units), negative where missing
    repeats = max(count.shape[1] for count in counts)
    trials = [
        np.pad(np.moveaxis(count, 1, 0), ((0, repeats - count.shape[1]), (0, 0), (0, 0)), constant_values=-1)
        for count in counts
    ]
    owner = np.repeat(sessions, [count.shape[2] for count in counts])
    columns = [str(column).split("(")[0] for column in arrays["meta_columns"]]
    meta = dict(zip(columns, np.moveaxis(np.asarray(arrays["meta"]), 1, 0), strict=True))
    trials = np.concatenate(trials, axis=2)
    return make_repeats(arrays["images128"], trials, meta["movie"], CATEGORIES[meta["category"]], owner, name)


def baker(arrays: Mapping[str, np.ndarray], name: str = "baker_cat") -> Repeats:
    """Returns neurons of cat V1 that saw natural movies: every frame an image, every clip a group.

    Clips were stored with different gains, so each is divided by its standard deviation; a clip of which half of the
    pixels lie at the ends of its range is left out.  Neurons have 5 repeats of some clips and 20 of others.  Sources:
    Nguyen, Sooriyaarachchi, Huang & Baker, "Estimating receptive fields of simple and complex cells in early visual
    cortex: a convolutional neural network model with parameterized rectification"; Talebi & Baker (2012), J. Neurosci.
    """
    clips = arrays["clips"].astype(np.float32)
    sound = np.flatnonzero([np.isin(clip, (clip.min(), clip.max())).mean() < 0.5 for clip in clips])
    length, neurons = clips.shape[1], [str(neuron) for neuron in arrays["neurons"]]
    repeats = max(arrays[f"{neuron}_{part}"].shape[1] for neuron in neurons for part in ("est", "pred"))
    trials = np.full((repeats, len(sound) * length, len(neurons)), np.nan, np.float32)
    for place, clip in enumerate(sound):
        part, slot = re.fullmatch(r"([a-z]+)(\d+)", str(arrays["clip_slot"][clip])).groups()
        for unit, neuron in enumerate(neurons):
            counts = arrays[f"{neuron}_{part}"][int(slot) * length : (int(slot) + 1) * length]
            trials[: counts.shape[1], place * length : (place + 1) * length, unit] = counts.T
    movies = clips[sound] - clips[sound].mean((1, 2, 3), keepdims=True)
    movies /= movies.std((1, 2, 3), keepdims=True)
    owners = [neuron.rsplit("_", 1)[0] for neuron in neurons]
    groups = np.repeat(sound, length)
    return make_repeats(movies.reshape(-1, *clips.shape[2:]), trials, groups, recordings=owners, name=name)


def frames_before(groups: np.ndarray, count: int) -> np.ndarray:
    """Returns the rows of each frame and of the count − 1 before it in its group, (n, count); a first one repeats.

    Raises:
        ConfigError: where a group's frames do not follow each other.
    """
    groups = np.asarray(groups)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(groups)) + 1])
    if len(starts) != len(np.unique(groups)):
        raise ConfigError("config.data.lags is above 1, but frames of a group do not follow each other; sort them")
    first = np.repeat(starts, np.diff([*starts, len(groups)]))
    return np.maximum(first[:, None], np.arange(len(groups))[:, None] - np.arange(count))


def shrink(images: np.ndarray, size: int) -> np.ndarray:
    """Returns images (n, size, size, channels) averaged over blocks of pixels.

    Raises:
        ConfigError: where the side is no multiple of `size`.
    """
    rows, columns = images.shape[1:3]
    if size < 1 or rows % size or columns % size or rows != columns:
        raise ConfigError(f"images of {rows}x{columns} pixels cannot be averaged to {size}x{size}; give a divisor")
    factor = rows // size
    return images.reshape(len(images), size, factor, size, factor, -1).mean((2, 4))


def folds(groups: np.ndarray, count: int = 5, validation: int = 2, seed: int | None = None) -> list[Fold]:
    """Returns cross-validation folds by group: every image is tested once.

    Args:
        groups: (n,).
        count: number of folds; group g of the sorted (or, with a seed, shuffled) groups is tested in fold g·count/G.
        validation: groups that follow the tested ones, held out to choose by.
        seed: of the shuffling, or None to keep the order.

    Raises:
        ConfigError: for more folds than groups allow.
    """
    groups = np.asarray(groups)
    names = np.unique(groups)
    if not 2 <= count <= len(names):
        raise ConfigError(f"{count} folds cannot be made of {len(names)} groups of images; give 2 to {len(names)}")
    order = names if seed is None else np.random.default_rng(seed).permutation(names)
    made = []
    for tested in np.array_split(np.arange(len(order)), count):
        following = [(tested[-1] + 1 + step) % len(order) for step in range(validation)]
        if set(following) & set(tested.tolist()) or len(tested) + validation >= len(order):
            raise ConfigError(f"{len(order)} groups leave none to fit on beside {len(tested)} tested and {validation}")
        test, held = np.isin(groups, order[tested]), np.isin(groups, order[following])
        made.append(Fold(*(np.flatnonzero(rows) for rows in (~test & ~held, held, test))))
    return made


def tested_in(made: Sequence[Fold]) -> np.ndarray:
    """Returns the index of the fold in which each image is tested, (n,)."""
    found = np.empty(sum(len(fold.test) for fold in made), int)
    for index, fold in enumerate(made):
        found[fold.test] = index
    return found
