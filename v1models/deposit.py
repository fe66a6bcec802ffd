"""The recordings of Hénaff et al. (2021) as their authors deposited them: a folder of MATLAB files, osf.io/gwtcs.

    stimulus/stim_matrix.mat                    stim_matrix (zooms, categories, movies, rows, columns, frames), gray
                                                levels from 0 to 1, and image_paths (zooms, categories, movies, frames),
                                                such as '…/stimSelected-zoom2x/movie05-prairie1/synthetic06.png'
    V1_responses/SESSION_image_sequences.mat    naturalStruct.sortedResponses (zooms, categories, movies, frames, units,
                                                repeats), spike counts, NaN where missing; naturalStruct.num_units

Every file may lie anywhere below the folder.  What an image shows is taken from its path: it does not matter how the
stimulus file orders categories; responses are ordered natural, synthetic, contrast.  Where a path names the image of
another place (the first and last frames of synthetic sequences are natural ones), that place's trials are not read.

Files of MATLAB's version 7.3 are HDF5 with all axes reversed; reading them needs h5py.

Source: Hénaff, Bai, Charlton, Nauhaus, Simoncelli & Goris (2021), Nat. Commun. 12:5982.  The layout is that of the
deposit's analysis scripts and of a published description of the stimulus file.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.io

from runtime.errors import ConfigError
from v1models.repeats import shrink

STIMULI = "stim_matrix.mat"
RESPONSES = "_image_sequences.mat"
SIDE = 128  # pixels of the images as read
CATEGORIES = ("natural", "synthetic", "contrast")  # in the order of the responses' second axis
COLUMNS = ("zoom", "movie", "category", "frame")
PLACE = re.compile(r"zoom(\d+)x[\\/]movie(\d+)[^\\/]*[\\/](natural|synthetic|contrast)(\d+)\.\w+$")


def read_deposit(folder: str | os.PathLike, side: int = SIDE) -> dict[str, np.ndarray]:
    """Returns the arrays that an `.npz` file of these recordings holds: only images that some unit was shown.

    Args:
        folder: with the stimulus file and one or more response files; every one that is there is read.
        side: pixels to which images are averaged.

    Returns:
        images128 (n, side, side), uint8; meta (n, 4), integers: zoom, movie, category (0 natural, 1 synthetic,
        2 contrast), frame; meta_columns (4,); sessions (S,); and for every session counts_SESSION (n, repeats, units),
        int16, -1 where missing, of the units that have any trial.

    Raises:
        ConfigError: a file that is missing, cannot be read or holds other arrays than expected.
    """
    folder = pathlib.Path(folder)
    stimuli, sessions = sorted(folder.rglob(STIMULI)), sorted(folder.rglob(f"*{RESPONSES}"))
    for found, name in ((stimuli, STIMULI), (sessions, f"SESSION{RESPONSES}")):
        if not found:
            raise ConfigError(f"{folder} holds no {name}; give the folder of the deposit osf.io/gwtcs, or an .npz file")
    images, places = read_stimuli(stimuli[0], side)
    counts = {path.name.removesuffix(RESPONSES): read_counts(path, places) for path in sessions}
    if len(counts) < len(sessions):
        raise ConfigError(f"{folder} holds files of one session twice; keep one of each")
    shown = np.any([(each >= 0).any((1, 2)) for each in counts.values()], axis=0)
    if not shown.any():
        raise ConfigError(f"{folder}: no image of {STIMULI} has a trial in any {RESPONSES} file; are they of one set?")
    names = [name for name, each in counts.items() if (each >= 0).any()]
    return {
        "images128": images[shown],
        "meta": places[shown],
        "meta_columns": np.array(COLUMNS),
        "sessions": np.array(names),
        **{f"counts_{name}": counts[name][shown][:, :, (counts[name] >= 0).any((0, 1))] for name in names},
    }


def read_stimuli(path: pathlib.Path, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Returns images (n, side, side), uint8, and their places (n, 4) in the columns `COLUMNS`, sorted by these.

    Raises:
        ConfigError: where the arrays are not there, do not fit together, or no path names a place.
    """
    matrix, paths = (_field(path, name, array) for name, array in read_matlab(path, "stim_matrix", "image_paths"))
    if matrix.ndim != 6 or paths.shape != (*matrix.shape[:3], matrix.shape[5]):
        raise ConfigError(
            f"{path.name}: stim_matrix has shape {matrix.shape} and image_paths {paths.shape}; expected (zooms, "
            "categories, movies, rows, columns, frames) and the same without rows and columns"
        )
    found = {}
    for index in np.ndindex(paths.shape):
        named = PLACE.search(_text(paths[index]))
        if named:
            zoom, movie, category, frame = named.groups()
            # The same image again, at the end of another sequence, does not replace the first.
            found.setdefault((int(zoom), int(movie), CATEGORIES.index(category), int(frame)), index)
    if not found:
        raise ConfigError(
            f"{path.name}: no entry of image_paths names an image, as in zoom2x/movie05-prairie1/synthetic06.png"
        )
    places = sorted(found)
    try:
        small = np.concatenate([
            shrink(matrix[(*found[place][:3], slice(None), slice(None), found[place][3])][None, ..., None], side)
            for place in places
        ])  # fmt: skip
    except ConfigError as error:
        raise ConfigError(f"{path.name}: {error}") from None
    if not np.isfinite(small).all():
        raise ConfigError(f"{path.name}: images that image_paths names hold pixels that are not finite")
    white = 255 if small.max() <= 1 else 1
    return np.round(white * small[..., 0]).clip(0, 255).astype(np.uint8), np.array(places, np.int16)


def read_counts(path: pathlib.Path, places: np.ndarray) -> np.ndarray:
    """Returns the spike counts of one session at these places, (n, repeats, units), int16, −1 where missing.

    Raises:
        ConfigError: where there is no such array, or its axes do not fit the places or the number of units.
    """
    ((_, struct),) = read_matlab(path, "naturalStruct")
    counts = _field(path, "naturalStruct.sortedResponses", _member(struct, "sortedResponses"))
    if counts.ndim != 6:
        raise ConfigError(
            f"{path.name}: sortedResponses has shape {counts.shape}; expected (zooms, categories, movies, frames, "
            "units, repeats)"
        )
    units = _member(struct, "num_units")
    if units is not None and np.size(units) == 1 and int(np.squeeze(units)) != counts.shape[4]:
        raise ConfigError(
            f"{path.name}: sortedResponses has shape {counts.shape}, but num_units is {int(np.squeeze(units))}; its "
            "fifth axis should be the units"
        )
    there = np.isfinite(counts)
    if (counts[there] < 0).any() or (counts[there] != np.round(counts[there])).any():
        raise ConfigError(f"{path.name}: sortedResponses holds values that are not spike counts (0, 1, 2, …, or NaN)")
    index = _rows(path, places, there.any((3, 4, 5)), counts.shape)
    return np.moveaxis(np.where(there, counts, -1)[index].astype(np.int16), 1, 2)


def _rows(path, places, shown, shape):
    """Index of each place into (zooms, categories, movies, frames).

    The contrast sequences are of some of the movies.  Where the movies with trials are not among those with images the
    responses number the sequences, and the two are matched in order.  A session with a part of the sequences, numbered,
    whose numbers all happen to be movies with images is taken for one that names movies: the file does not tell.
    """
    zoom, movie, category, frame = np.moveaxis(places.astype(int), 1, 0)
    if (np.array([zoom.max(), category.max() + 1, movie.max(), frame.max()]) > shape[:4]).any():
        raise ConfigError(
            f"{path.name}: sortedResponses has shape {shape}, but there are images up to zoom {zoom.max()}, movie "
            f"{movie.max()} and frame {frame.max()}; expected (zooms, categories, movies, frames, units, repeats)"
        )
    row = movie - 1
    for z, c in np.unique(np.stack([zoom, category], 1), axis=0):
        here = (zoom == z) & (category == c)
        known, seen = np.unique(movie[here]), np.flatnonzero(shown[z - 1, c]) + 1
        if set(seen) <= set(known):
            continue
        if len(seen) != len(known):
            raise ConfigError(
                f"{path.name}: there are trials of {CATEGORIES[c]} movies {seen.tolist()} at zoom {z}, and images of "
                f"movies {known.tolist()}; which belong together cannot be told"
            )
        row[here] = (seen - 1)[np.searchsorted(known, movie[here])]
    return zoom - 1, category, row, frame - 1


def read_matlab(path: pathlib.Path, *names: str) -> list[tuple[str, Any]]:
    """Returns (name, variable) of a MATLAB file; a struct as a mapping, a cell array as an array of objects.

    Raises:
        ConfigError: where it is no such file, or of version 7.3 and h5py is not installed.
    """
    try:
        found = scipy.io.loadmat(path, variable_names=names)
    except NotImplementedError:
        return _read_hdf5(path, names)
    except Exception as error:  # scipy raises whatever a damaged file leads it to
        raise ConfigError(f"{path} is not a readable MATLAB file ({error}); download it again") from None
    return [(name, found.get(name)) for name in names]


def _read_hdf5(path, names):
    try:
        import h5py
    except ImportError:
        raise ConfigError(
            f"{path} is of MATLAB's version 7.3, which is HDF5; install h5py (pip install h5py), or save it in MATLAB "
            "with the option '-v7'"
        ) from None

    def value(item, file):
        if isinstance(item, h5py.Group):
            return {name: item[name] for name in item}
        if item.attrs.get("MATLAB_empty", 0):
            return np.zeros(0)
        array = item[()]
        if array.dtype == object:  # a cell array: references to arrays, of characters here
            texts = [_characters(file[one]) for one in array.ravel()]
            array = np.array(texts, object).reshape(array.shape)
        return array.T

    try:
        with h5py.File(path, "r") as file:
            found = {name: value(file[name], file) for name in names if name in file}
            wanted = ("sortedResponses", "num_units")
            for name, one in found.items():
                if isinstance(one, dict):  # of a struct only what is asked for: spike times are large
                    found[name] = {part: value(one[part], file) for part in wanted if part in one}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path} is not a readable MATLAB file ({error}); download it again") from None
    return [(name, found.get(name)) for name in names]


def _characters(item):
    return "" if item.attrs.get("MATLAB_empty", 0) else "".join(map(chr, np.ravel(item[()], "F").astype(int)))


def _member(struct: Any, name: str) -> Any:
    """A struct's field, None where it has none: of a mapping, or of what scipy makes of a struct."""
    if isinstance(struct, Mapping):
        return struct.get(name)
    if isinstance(struct, np.ndarray) and struct.dtype.names and struct.size == 1:
        return struct.ravel()[0][name] if name in struct.dtype.names else None
    return None


def _field(path, name, array):
    if not isinstance(array, np.ndarray):
        raise ConfigError(f"{path.name} holds no array {name}; is it the deposit's file of that name?")
    return array


def _text(entry):
    """An entry of a cell array of texts as a text, '' where it is empty."""
    while isinstance(entry, np.ndarray):
        if not entry.size:
            return ""
        entry = entry.ravel()[0]
    return str(entry)
