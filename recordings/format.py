"""How a recording lies on disk: its description, its arrays and the marks of its finished blocks.

`recordings.files` writes and reads recordings; this file says what a complete one is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorstore as ts

from runtime.config import RunError
from runtime.manifest import sync_folder

VERSION = 1
DESCRIPTION = "recording.json"
TIME, STIMULUS = "time", "stimulus"
CHUNK_BYTES = 4 << 20  # target size of a chunk before compression
COMPRESSOR = {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 1}


class RecordingError(RunError):
    """A recording cannot be written or read; the message says which, what is wrong and what to do."""


class Array(NamedTuple):
    """One array of a recording."""

    dims: tuple[str, ...]  # names of the dimensions, 'stimulus' among them; 'time' may be written in parts
    shape: tuple[int, ...]  # of the whole recording
    dtype: str  # float16 or float32 (values outside float16's range are refused), or an integer type
    steps: int = 0  # steps of a chunk, best as many as are written at once; 0 to choose by size


@dataclasses.dataclass(frozen=True)
class Schema:
    """What a recording holds."""

    arrays: Mapping[str, Array]
    stimuli: int
    block: int  # stimuli a block; the last may have fewer
    about: Mapping[str, Any]  # JSON; two recordings are the same only if this is the same

    def __post_init__(self):
        if self.block < 1 or self.stimuli < 1:
            raise ValueError(f"a recording of {self.stimuli} stimuli in blocks of {self.block} holds nothing")
        for name, array in self.arrays.items():
            if len(array.dims) != len(array.shape) or STIMULUS not in array.dims:
                raise ValueError(f"array '{name}' needs a name for each of its dimensions, one of them '{STIMULUS}'")
            if array.shape[array.dims.index(STIMULUS)] != self.stimuli:
                raise ValueError(f"array '{name}' has shape {array.shape}, which is not that of {self.stimuli} stimuli")

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return -(-self.stimuli // self.block)

    def stimuli_of(self, block: int) -> slice:
        """Stimuli of a block."""
        return slice(block * self.block, min((block + 1) * self.block, self.stimuli))

    def num_bytes(self) -> int:
        """Size of all arrays before compression."""
        return sum(math.prod(a.shape) * np.dtype(a.dtype).itemsize for a in self.arrays.values())

    def to_json(self) -> dict[str, Any]:
        """The schema as JSON holds it."""
        arrays = {name: array._asdict() for name, array in self.arrays.items()}
        body = {"version": VERSION, "stimuli": self.stimuli, "block": self.block, "arrays": arrays, "about": self.about}
        return json.loads(json.dumps(body))


def chunk_shape(schema: Schema, array: Array) -> tuple[int, ...]:
    """Whole in every dimension but the stimuli, of which a chunk has one block's, and time, cut as the array asks."""
    chunks = [schema.block if dim == STIMULUS else size for dim, size in zip(array.dims, array.shape, strict=True)]
    if TIME in array.dims:
        axis = array.dims.index(TIME)
        rest = math.prod(chunks) // max(chunks[axis], 1) * np.dtype(array.dtype).itemsize
        chunks[axis] = min(array.shape[axis], array.steps or max(1, CHUNK_BYTES // max(rest, 1)))
    return tuple(max(size, 1) for size in chunks)


def open_array(folder: pathlib.Path, name: str, schema: Schema, create: bool):
    array = schema.arrays[name]
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": str(folder / "arrays" / name)},
        "metadata": {
            "shape": array.shape, "chunks": chunk_shape(schema, array), "dtype": np.dtype(array.dtype).str,
            "compressor": COMPRESSOR, "dimension_separator": ".",
        },
        # Otherwise a chunk of zeros would have no file, and a lost file would read as zeros.
        "store_data_equal_to_fill_value": True,
    }  # fmt: skip
    try:
        return ts.open(spec, open=True, create=create).result()
    except ValueError as error:
        raise RecordingError(f"array '{name}' of the recording {folder} cannot be opened: {error}") from None


def block_files(schema: Schema, block: int) -> list[str]:
    """Files of a block, relative to the recording's folder."""
    files = []
    for name, array in schema.arrays.items():
        counts = [-(-size // chunk) for size, chunk in zip(array.shape, chunk_shape(schema, array), strict=True)]
        axis = array.dims.index(STIMULUS)
        counts[axis] = 1
        for index in np.ndindex(*counts):
            place = list(index)
            place[axis] = block
            files.append(f"arrays/{name}/" + ".".join(map(str, place)))
    return files


def find_damage(folder: pathlib.Path, schema: Schema, block: int, verify: bool = False) -> str | None:
    """What is wrong with a block, or None; without `verify` only names and sizes are compared."""
    try:
        files = json.loads(mark_path(folder, block).read_text())["files"]
    except FileNotFoundError:
        return "was never finished"
    except (ValueError, KeyError, TypeError):
        return "has a damaged mark"
    if sorted(files) != sorted(block_files(schema, block)):
        return "has a mark of another recording"
    for name, (size, digest) in files.items():
        path = folder / name
        if not path.exists():
            return f"is torn: {name} is missing"
        if path.stat().st_size != size:
            return f"is torn: {name} has {path.stat().st_size} bytes instead of {size}"
        if verify and hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            return f"is damaged: {name} has other content than was written"
    return None


def read_description(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    try:
        body = json.loads(path.read_text())
    except FileNotFoundError:
        raise RecordingError(f"{folder} holds no recording: it has no {DESCRIPTION}") from None
    except ValueError as error:
        raise RecordingError(f"{path} is damaged ({error}); record again in another folder") from None
    if body.get("version") != VERSION:
        raise RecordingError(
            f"{folder} is a recording of version {body.get('version')}, and this program reads version {VERSION}: "
            "record again in another folder, or read it with the program that wrote it"
        )
    return body


def check_same(folder: pathlib.Path, before: dict, now: dict) -> None:
    for key in ("about", "stimuli", "block", "arrays"):
        there, here = before[key], now[key]
        if isinstance(there, dict):
            changed = [k for k in {**there, **here} if there.get(k) != here.get(k)]
            there, here = ({k: body.get(k) for k in changed[:1]} for body in (there, here))
        if there != here:
            raise RecordingError(
                f"{folder} holds another recording: its {key} was {_short(there)} and is {_short(here)}; go on with "
                "the settings it was started with, or move the folder away"
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "..."


def mark_path(folder: pathlib.Path, block: int) -> pathlib.Path:
    return folder / "blocks" / f"{block:05d}.json"


def write_json(path: pathlib.Path, body: Any) -> None:
    temporary = path.with_suffix(".incomplete")
    temporary.write_text(json.dumps(body))
    sync_file(temporary)
    temporary.replace(path)
    sync_folder(path.parent)


def sync_file(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
