"""Reading recordings: parts of arrays by the names of their dimensions, each block checked before it is believed.

recording = open_recording("runs/quick", "just_angle")
recording.read("state/1/sites", stimulus=slice(0, 4), time=slice(100, 200))
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recordings.format import (
    DESCRIPTION,
    STIMULUS,
    Array,
    RecordingError,
    Schema,
    find_damage,
    open_array,
    read_description,
)
from recordings.names import RECORDINGS
from runtime.errors import did_you_mean


class Recording:
    """A recording to read.

    Args:
        folder: of the recording.
        verify: compare every file of a block with its checksum when the block is first read; only its presence and
            size otherwise.

    Raises:
        RecordingError: there is none, or it is of another version.
    """

    def __init__(self, folder: str | os.PathLike, verify: bool = True):
        self.folder = pathlib.Path(folder).absolute()
        body = read_description(self.folder)
        arrays = {
            name: Array(tuple(array["dims"]), tuple(array["shape"]), array["dtype"], array["steps"])
            for name, array in body["arrays"].items()
        }
        self.schema = Schema(arrays, body["stimuli"], body["block"], body["about"])
        self._verify, self._checked = verify, set()
        self._stores: dict[str, Any] = {}

    @property
    def about(self) -> Mapping[str, Any]:
        """What the writer said of the recording."""
        return self.schema.about

    def names(self) -> list[str]:
        """Return the names of the arrays."""
        return list(self.schema.arrays)

    def missing(self) -> list[int]:
        """Return the blocks that are unfinished or damaged."""
        return [b for b in range(self.schema.num_blocks) if find_damage(self.folder, self.schema, b) is not None]

    def read(self, name: str, **where: slice | int | Sequence[int] | np.ndarray) -> np.ndarray:
        """Return part of an array, chosen by the names of its dimensions.

            recording.read("state/1/sites", stimulus=slice(0, 8), time=slice(100))

        Args:
            name: of the array.
            where: what to take of each dimension; an integer drops it, lists take several entries.

        Raises:
            RecordingError: an unknown array or dimension, or a block that is unfinished or damaged.
        """
        if name not in self.schema.arrays:
            raise RecordingError(f"{self.folder} holds no array '{name}'{did_you_mean(name, self.schema.arrays)}")
        array = self.schema.arrays[name]
        for dim in where:
            if dim not in array.dims:
                raise RecordingError(f"array '{name}' has no dimension '{dim}'{did_you_mean(dim, array.dims)}")
        self._check(np.atleast_1d(np.arange(self.schema.stimuli)[where.get(STIMULUS, slice(None))]))
        if name not in self._stores:
            self._stores[name] = open_array(self.folder, name, self.schema, create=False)
        store = self._stores[name]
        # Lists select along their own dimension, one after another, whatever else is selected.
        for axis in reversed(range(len(array.dims))):
            chosen = where.get(array.dims[axis], slice(None))
            if isinstance(chosen, slice):
                chosen = slice(*chosen.indices(array.shape[axis]))
            elif not np.isscalar(chosen):
                chosen = np.arange(array.shape[axis])[np.asarray(chosen)]
            else:
                chosen = int(np.arange(array.shape[axis])[chosen])
            store = store[(slice(None),) * axis + (chosen,)]
        return np.asarray(store.read().result())

    def _check(self, stimuli: np.ndarray) -> None:
        for block in sorted({int(s) // self.schema.block for s in stimuli} - self._checked):
            if damage := find_damage(self.folder, self.schema, block, self._verify):
                here = self.schema.stimuli_of(block)
                raise RecordingError(
                    f"block {block} (stimuli {here.start} to {here.stop - 1}) of the recording {self.folder} {damage}; "
                    "record again in the same folder: only what is missing is computed"
                )
            self._checked.add(block)


def recording_folder(workdir: str | os.PathLike, name: str) -> pathlib.Path:
    """Folder of a recording of a run."""
    return pathlib.Path(workdir) / RECORDINGS / name


def list_recordings(workdir: str | os.PathLike) -> list[str]:
    """Names of the recordings of a run."""
    return sorted(path.parent.name for path in (pathlib.Path(workdir) / RECORDINGS).glob(f"*/{DESCRIPTION}"))


def open_recording(workdir: str | os.PathLike, name: str, verify: bool = True) -> Recording:
    """A recording of a run by name; RecordingError with the names that are there if it is missing."""
    known = list_recordings(workdir)
    if name not in known:
        raise RecordingError(
            f"{workdir} has no recording '{name}'{did_you_mean(name, known)}; make it with the stage 'record'"
        )
    return Recording(recording_folder(workdir, name), verify)
