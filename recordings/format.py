"""How a recording lies on disk: its description, its arrays and the marks of its finished blocks.

A recording is a folder:

    recording.json      version, arrays (shape, dimensions, type) and whatever the writer says of them
    arrays/NAME/        one zarr array each, written by TensorStore, compressed
    blocks/00003.json   mark of a finished block: a manifest (`runtime.manifest`) of the files that belong to it

Every array has a dimension 'stimulus', and a *block* is a range of stimuli: its chunks hold no other stimuli, so that
blocks are written, resumed, checked and lost by themselves. The mark is written last, when the block is on disk; a
writer that is killed leaves marked blocks, which the next one skips, and a few without a mark, which it writes again.
A reader refuses a block that has no mark or whose files are not those of the mark. `recordings.writing` and
`recordings.reading` do both; this file says what a complete recording is.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorstore as ts

from runtime import manifest
from runtime.errors import RunError

VERSION = 2
READABLE = (1, 2)  # version 1 had marks {"block", "files": {name: [size, SHA-256]}}, and no measured contrast
DESCRIPTION, ARRAYS, MARKS = "recording.json", "arrays", "blocks"
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


def open_array(folder: pathlib.Path, name: str, schema: Schema, create: bool) -> ts.TensorStore:
    """Open an array of a recording, or make it; RecordingError where it does not fit the schema."""
    array = schema.arrays[name]
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": str(folder / ARRAYS / name)},
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
            files.append(f"{ARRAYS}/{name}/" + ".".join(map(str, place)))
    return files


def find_damage(folder: pathlib.Path, schema: Schema, block: int, verify: bool = False) -> str | None:
    """Return what is wrong with a block, or None; without `verify` only names and sizes are compared."""
    try:
        files = read_mark(folder, block)
    except FileNotFoundError:
        return "was never finished"
    except manifest.DamagedError:
        return "has a damaged mark"
    if sorted(files) != sorted(block_files(schema, block)):
        return "has a mark of another recording"
    try:
        manifest.check_files(folder, files, verify)
    except manifest.DamagedError as damage:
        return f"is damaged: {damage}"
    return None


def read_mark(folder: pathlib.Path, block: int) -> dict[str, dict[str, Any]]:
    """Return the files of a finished block, {name: {"size": bytes, "sha256": digest}}.

    Raises:
        FileNotFoundError: the block was never finished.
        DamagedError: its mark is not as it was written.
    """
    path = folder / mark_name(block)
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        files = json.loads(path.read_text())["files"]
        return {name: {"size": size, "sha256": digest} for name, (size, digest) in files.items()}
    except (ValueError, KeyError, TypeError):  # not of version 1
        return manifest.listed_files(folder, mark_name(block))


def read_description(folder: pathlib.Path) -> dict[str, Any]:
    """Return the description of a recording; RecordingError where there is none of a version that can be read."""
    path = folder / DESCRIPTION
    try:
        body = json.loads(path.read_text())
    except FileNotFoundError:
        raise RecordingError(f"{folder} holds no recording: it has no {DESCRIPTION}") from None
    except ValueError as error:
        raise RecordingError(f"{path} is damaged ({error}); record again in another folder") from None
    if body.get("version") not in READABLE:
        raise RecordingError(
            f"{folder} is a recording of version {body.get('version')}, and this program reads version "
            f"{' and '.join(map(str, READABLE))}: record again in another folder, or read it with the program that "
            "wrote it"
        )
    return body


def check_same(folder: pathlib.Path, before: dict, now: dict) -> None:
    """Raise RecordingError where the description of a folder is not that of the recording that is to be made."""
    for key in ("about", "stimuli", "block", "arrays"):
        there, here = before[key], now[key]
        if key == "about" and before["version"] < VERSION:
            here = _as_far_as_known(there, here)
        if isinstance(there, dict):
            changed = [k for k in {**there, **here} if there.get(k) != here.get(k)]
            there, here = ({k: body.get(k) for k in changed[:1]} for body in (there, here))
        if there != here:
            raise RecordingError(
                f"{folder} holds another recording: its {key} was {_short(there)} and is {_short(here)}; go on with "
                "the settings it was started with, or move the folder away"
            )


def _as_far_as_known(there: dict, here: dict) -> dict:
    """What an older description could not say is left out of the new one."""
    kept = {key: value for key, value in here.items() if key in there}
    return {key: _as_far_as_known(there[key], v) if isinstance(v, dict) else v for key, v in kept.items()}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "..."


def mark_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the marks of all finished blocks of a recording, in order."""
    return sorted((folder / MARKS).glob("*.json"))


def mark_name(block: int) -> str:
    """Return the file that marks a block as finished, relative to the recording's folder."""
    return f"{MARKS}/{block:05d}.json"
