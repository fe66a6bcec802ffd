"""Recordings: large arrays over time and stimuli, written while the next are computed, complete block by block.

A recording is a folder:

    recording.json      version, arrays (shape, dimensions, type) and whatever the writer says of them
    arrays/NAME/        one zarr array each, written by TensorStore, compressed
    blocks/00003.json   mark of a finished block: size and SHA-256 of every file that belongs to it

Every array has a dimension 'stimulus', and a *block* is a range of stimuli: its chunks hold no other stimuli, so that
blocks are written, resumed, checked and lost by themselves.  The mark is written last, when the block is on disk; a
writer that is killed leaves marked blocks, which the next one skips, and a few without a mark, which it writes again.
A reader refuses a block that has no mark or whose files are not those of the mark.

    schema = Schema(arrays, stimuli=128, block=8, about={...})
    with Writer(folder, schema) as writer:
        for block in writer.missing():
            writer.write(block, "state/1", values, start=0)      # returns at once; (time, stimuli of the block, ...)
            writer.finish(block)
    recording = Recording(folder)
    recording.read("state/1", stimulus=slice(0, 4), time=slice(100, 200))
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recordings.format import (
    DESCRIPTION,
    STIMULUS,
    TIME,
    Array,
    RecordingError,
    Schema,
    block_files,
    check_same,
    find_damage,
    mark_path,
    open_array,
    read_description,
    sync_file,
    write_json,
)
from runtime.config import did_you_mean

__all__ = ["Array", "Recording", "RecordingError", "Schema", "Writer", "list_recordings", "open_recording"]

RECORDINGS = "recordings"  # folder of a run that holds its recordings
CONTROL_MARK = "@"  # a recording NAME@CONTROL is a control of the experiment NAME
MAX_PENDING = 256 << 20  # bytes handed over and not yet written before a writer waits


class Writer:
    """Writes a recording, or goes on with one of the same schema.

    Args:
      folder: of the recording; made if it is missing.
      schema: what it holds.
      max_pending: bytes that may wait to be written.

    Raises:
      RecordingError: the folder holds another recording; the message names the first difference.
    """

    def __init__(self, folder: str | os.PathLike, schema: Schema, max_pending: int = MAX_PENDING):
        self.folder, self.schema = pathlib.Path(folder).absolute(), schema
        self._max_pending, self._pending, self._pending_bytes = max_pending, deque(), 0
        self._written: dict[int, dict[str, list[range]]] = {}
        self._seal: threading.Thread | None = None
        self._seal_error: BaseException | None = None
        if (self.folder / DESCRIPTION).exists():
            check_same(self.folder, read_description(self.folder), schema.to_json())
        else:
            (self.folder / "blocks").mkdir(parents=True, exist_ok=True)
            write_json(self.folder / DESCRIPTION, schema.to_json())
        self._stores = {name: open_array(self.folder, name, schema, create=True) for name in schema.arrays}

    def missing(self) -> list[int]:
        """Blocks that are not finished, in rising order; a marked block that is damaged counts as missing."""
        return [b for b in range(self.schema.num_blocks) if find_damage(self.folder, self.schema, b, True) is not None]

    def write(self, block: int, name: str, values: np.ndarray, start: int = 0) -> None:
        """Hand over part of a block; returns before it is on disk unless too much is waiting.

        values: the array's dimensions, with the stimuli of the block and, if there is a dimension 'time', any number of
        steps from `start` on.  It must not be changed afterwards.  Raises RecordingError for non-finite values and for
        values that the array's type cannot hold.
        """
        array = self.schema.arrays[name]
        if block not in self._written:
            self._clear(block)
        stored = _convert(name, np.asarray(values), array.dtype)
        stimuli = self.schema.stimuli_of(block)
        index, expected = [], []
        for dim, size, given in zip(array.dims, array.shape, stored.shape, strict=True):
            here = {STIMULUS: stimuli, TIME: slice(start, start + given)}.get(dim, slice(0, size))
            index.append(here)
            expected.append(min(here.stop, size) - here.start)
        if stored.shape != tuple(expected):
            raise ValueError(f"array '{name}', block {block}: values have shape {stored.shape}, not {tuple(expected)}")
        future = self._stores[name][tuple(index)].write(stored)
        steps = range(start, start + stored.shape[array.dims.index(TIME)]) if TIME in array.dims else range(1)
        self._written[block].setdefault(name, []).append(steps)
        self._pending.append((future, stored.nbytes))
        self._pending_bytes += stored.nbytes
        while self._pending_bytes > self._max_pending:
            self._wait_one()

    def finish(self, block: int) -> None:
        """Mark a block as complete once it is on disk; the waiting and hashing happen beside the next computation.

        Raises RecordingError if something of the block was never written.
        """
        for name, array in self.schema.arrays.items():
            steps = array.shape[array.dims.index(TIME)] if TIME in array.dims else 1
            found = sorted(step for part in self._written.get(block, {}).get(name, []) for step in part)
            if found != list(range(steps)):
                raise RecordingError(
                    f"block {block} of {self.folder} cannot be finished: of array '{name}' {len(set(found))} of "
                    f"{steps} steps were written"
                )
        self._written.pop(block)
        self._join()
        waiting, self._pending, self._pending_bytes = [f for f, _ in self._pending], deque(), 0
        self._seal = threading.Thread(target=self._mark, args=(block, waiting))
        self._seal.start()

    def bytes_on_disk(self) -> int:
        """Size of all files of the recording."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def close(self) -> None:
        """Wait until everything handed over is on disk."""
        while self._pending:
            self._wait_one()
        self._join()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _clear(self, block: int) -> None:
        # What an interrupted writer left is unfinished or torn, and writing part of a torn chunk would read it first.
        mark_path(self.folder, block).unlink(missing_ok=True)
        for name in block_files(self.schema, block):
            (self.folder / name).unlink(missing_ok=True)
        self._written[block] = {}

    def _wait_one(self) -> None:
        future, size = self._pending.popleft()
        self._pending_bytes -= size
        future.result()

    def _mark(self, block: int, waiting: Sequence) -> None:
        try:
            for future in waiting:
                future.result()
            files = {}
            for path in block_files(self.schema, block):
                content = (self.folder / path).read_bytes()
                files[path] = [len(content), hashlib.sha256(content).hexdigest()]
                sync_file(self.folder / path)
            write_json(mark_path(self.folder, block), {"block": block, "files": files})
        except BaseException as error:  # it is raised again in the writer's own thread
            self._seal_error = error

    def _join(self) -> None:
        if self._seal is not None:
            self._seal.join()
            self._seal = None
        if self._seal_error is not None:
            error, self._seal_error = self._seal_error, None
            raise RecordingError(f"{self.folder} could not be written: {error}; free space and start again") from error


class Recording:
    """A recording to read.

    Args:
      folder: of the recording.
      verify: compare every file of a block with its checksum when the block is first read; only its presence and size
        otherwise.

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
        """Names of the arrays."""
        return list(self.schema.arrays)

    def missing(self) -> list[int]:
        """Blocks that are unfinished or damaged."""
        return [b for b in range(self.schema.num_blocks) if find_damage(self.folder, self.schema, b) is not None]

    def read(self, name: str, **where: slice | int | Sequence[int] | np.ndarray) -> np.ndarray:
        """Part of an array, by the names of its dimensions: read("state/1", stimulus=slice(0, 8), time=slice(100)).

        An integer drops its dimension; lists take several entries of one dimension.  Raises RecordingError for an
        unknown array or dimension and for a block that is unfinished or damaged.
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


def _is_finite(values: np.ndarray) -> bool:
    """Whether all values are finite; of half precision, whose arithmetic is slow, the exponent bits are looked at."""
    if values.dtype != np.float16:
        return bool(np.isfinite(values).all())
    exponent = np.uint16(0x7C00)
    return not bool(((values.view(np.uint16) & exponent) == exponent).any())


def _convert(name: str, values: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(values.astype(dtype, copy=False))
    if stored.dtype.kind == "f" and not _is_finite(stored):
        if np.isfinite(values).all():
            largest = float(np.abs(values).max())
            raise RecordingError(f"array '{name}' holds {largest:.3g}, too large for {dtype}: record it in float32")
        raise RecordingError(f"array '{name}' is not finite: the chains diverged; use a smaller sampler step size")
    return stored
