"""What an analysis leaves behind: one file of arrays per step, written so that a killed analysis goes on where it was.

STEP.npz     arrays of a finished step; written under another name and renamed, so that it is whole or not there
STEP.csv     the step's table for people
parts/STEP/  finished blocks of a step that takes long
about.json   what was analysed and how; results of anything else are thrown away
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from runtime.errors import RunError
from runtime.files import atomic_write, write_arrays, write_json

Arrays = dict[str, np.ndarray]
RESULTS = "analysis"  # folder of a run that holds its analyses


class ResultsError(RunError):
    """Results cannot be read; the message says where, why and what to do."""


class Store:
    """Results of one layer.

    Args:
        folder: of the results; made if it is missing.
        about: JSON that says what is analysed and how; about.json may say more. Results made for anything else are
            removed.
    """

    def __init__(self, folder: str | os.PathLike, about: dict[str, Any]):
        self.folder = pathlib.Path(folder)
        about = json.loads(json.dumps(about))
        # Figures and the table of checks are made anew every time; arrays of other recordings must not survive.
        before = read_json(self.folder / "about.json")
        if self.folder.exists() and (before is None or any(before.get(key) != about[key] for key in about)):
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write_json("about.json", about)

    def done(self, step: str) -> bool:
        """Whether a step is finished."""
        return (self.folder / f"{step}.npz").exists()

    def read(self, step: str) -> Arrays:
        """Arrays of a finished step."""
        return read_arrays(self.folder / f"{step}.npz")

    def write(self, step: str, arrays: Arrays, table: pd.DataFrame | None = None) -> None:
        """Write a finished step and drop its parts."""
        if table is not None:
            with atomic_write(self.folder / f"{step}.csv") as path:
                table.to_csv(path, index=False)
        write_arrays(self.folder / f"{step}.npz", arrays)
        shutil.rmtree(self.folder / "parts" / step, ignore_errors=True)

    def write_json(self, name: str, body: Any) -> None:
        """Write a JSON file."""
        write_json(self.folder / name, body, indent=1)

    def parts(self, step: str, blocks: Iterable[Any], compute: Callable[[Any], Arrays], tick=lambda: None):
        """Yield compute(block) of every block, read from disk where it was computed before; calls `tick` after each."""
        folder = self.folder / "parts" / step
        for number, block in enumerate(blocks):
            path = folder / f"{number:05d}.npz"
            if path.exists():
                arrays = read_arrays(path)
            else:
                arrays = compute(block)
                write_arrays(path, arrays)
            tick()
            yield arrays


def read_arrays(path: pathlib.Path) -> Arrays:
    """Read arrays; ResultsError for a damaged file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ResultsError(
            f"{path} cannot be read ({error}); delete it and run the stage 'analyse' again: only this step is made anew"
        ) from error


def read_json(path: pathlib.Path) -> Any:
    """Content of a JSON file, or None if there is none that can be read."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
