"""Files that are complete or not there.

A file is written beside its place, brought to disk, and only then takes its name, in one move. A program that is
killed, or that fills the disk, therefore never leaves half a file under a name that a reader trusts, and what stood
under the name before stays until the new file is whole.

    with atomic_write(folder / "table.csv") as path:
        table.to_csv(path, index=False)
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import RunError, is_disk_full

INCOMPLETE = ".incomplete"


class WriteError(RunError):
    """Something could not be written; the message names it and says why and what to do."""


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yields the name to write to; at the end of the block the file is on disk for good and takes its own name.

    If the block fails, the unfinished file is removed and a former one is as it was. The folder is made if it is
    missing. The yielded name ends in `.incomplete`: a library that reads the format off the name must be told it.

    Args:
        path: the file.

    Raises:
        WriteError: it cannot be written: says whether the disk is full.
    """
    path = Path(path)
    incomplete = path.with_name(path.name + INCOMPLETE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield incomplete
        sync(incomplete)
        incomplete.replace(path)
        sync(path.parent)
    except OSError as error:
        raise WriteError(
            f"{path} cannot be written: {failure(error, path.parent)}; mend that and give the same command again: "
            "what is finished is kept"
        ) from error
    finally:
        with suppress(OSError):
            incomplete.unlink()


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with atomic_write(path) as incomplete:
        incomplete.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, body: Any, indent: int | None = None, allow_nan: bool = True) -> None:
    """Writes a JSON file, whole or not at all.

    Args:
        path: the file.
        body: what JSON can hold.
        indent: spaces by which each level is set in; None: all in one line.
        allow_nan: whether numbers that are not finite are written in Python's spelling, which other readers may refuse.

    Raises:
        ValueError: a number is not finite and that is not allowed.
        WriteError: it cannot be written.
    """
    write_text(path, json.dumps(body, indent=indent, allow_nan=allow_nan) + "\n")


def write_arrays(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], compress: bool = False) -> None:
    """Writes arrays by name as one `.npz` file, whole or not at all."""
    with atomic_write(path) as incomplete, incomplete.open("wb") as stream:
        (np.savez_compressed if compress else np.savez)(stream, **arrays)


def write_figure(path: str | os.PathLike, figure: Any, dpi: int = 110, **options: Any) -> None:
    """Writes a Matplotlib figure, whole or not at all, in the format that the name's ending says."""
    with atomic_write(path) as incomplete:
        figure.savefig(incomplete, format=Path(path).suffix[1:], dpi=dpi, **options)


def failure(error: BaseException, folder: str | os.PathLike) -> str:
    """Returns why something could not be written into a folder, in a few words."""
    if is_disk_full(error):
        return f"the disk is full ({shutil.disk_usage(folder).free / 2**20:.0f} MiB are free)"
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"


def sync(path: str | os.PathLike) -> None:
    """Brings a file, or the names in a folder, to disk, so that they survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
