"""Writing recordings: large arrays over time and stimuli go to disk while the next are computed, block by block.

    schema = Schema(arrays, stimuli=128, block=8, about={...})
    with Writer(folder, schema) as writer:
        for block in writer.missing():
            writer.write(block, "state/1", values, start=0)      # returns at once; (time, stimuli of the block, ...)
            writer.finish(block)

See `recordings.format` for what lies on disk.
"""

from __future__ import annotations

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
    RecordingError,
    Schema,
    block_files,
    check_same,
    find_damage,
    mark_name,
    open_array,
    read_description,
    read_mark,
)
from runtime.files import failure, sync, write_json
from runtime.manifest import write_manifest

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
        self._sizes: dict[int, int] = {}  # bytes of the finished blocks
        if (self.folder / DESCRIPTION).exists():
            check_same(self.folder, read_description(self.folder), schema.to_json())
        else:
            write_json(self.folder / DESCRIPTION, schema.to_json())
        self._stores = {name: open_array(self.folder, name, schema, create=True) for name in schema.arrays}

    def missing(self) -> list[int]:
        """Return the blocks that are not finished, in rising order; a damaged block counts as missing."""
        found = []
        for block in range(self.schema.num_blocks):
            if find_damage(self.folder, self.schema, block, verify=True) is None:
                self._sizes[block] = _size(read_mark(self.folder, block))
            else:
                found.append(block)
        return found

    def write(self, block: int, name: str, values: np.ndarray, start: int = 0) -> None:
        """Hand over part of a block; returns before it is on disk unless too much is waiting.

        Args:
            block: its number.
            name: of the array.
            values: the array's dimensions, with the stimuli of the block and, if there is a dimension 'time', any
                number of steps from `start` on. They must not be changed afterwards.
            start: first step.

        Raises:
            RecordingError: values that are not finite or that the array's type cannot hold.
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
        """Mark a block as complete once it is on disk; waiting and hashing happen beside the next computation.

        Raises:
            RecordingError: something of the block was never written.
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
        """Size of the finished blocks that `missing` found or that were written since.

        It is counted from their marks: while blocks are written, TensorStore makes and deletes files of its own.
        """
        return sum(self._sizes.values())

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
        (self.folder / mark_name(block)).unlink(missing_ok=True)
        self._sizes.pop(block, None)
        for name in block_files(self.schema, block):
            (self.folder / name).unlink(missing_ok=True)
        self._written[block] = {}

    def _wait_one(self) -> None:
        future, size = self._pending.popleft()
        self._pending_bytes -= size
        try:
            future.result()
        except Exception as error:
            raise self._write_error(error) from error

    def _mark(self, block: int, waiting: Sequence) -> None:
        try:
            for future in waiting:
                future.result()
            files = block_files(self.schema, block)
            for file in files:
                sync(self.folder / file)
            self._sizes[block] = _size(write_manifest(self.folder, {"block": block}, files, mark_name(block)))
        except BaseException as error:  # it is raised again in the writer's own thread
            self._seal_error = error

    def _join(self) -> None:
        if self._seal is not None:
            self._seal.join()
            self._seal = None
        if self._seal_error is not None:
            error, self._seal_error = self._seal_error, None
            raise self._write_error(error) from error

    def _write_error(self, error: BaseException) -> RecordingError:
        return RecordingError(
            f"{self.folder} could not be written: {failure(error, self.folder)}; mend that and start again: finished "
            "blocks are kept"
        )


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


def _size(files: Mapping[str, Mapping[str, Any]]) -> int:
    return sum(file["size"] for file in files.values())
