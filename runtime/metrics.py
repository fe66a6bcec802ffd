"""What a run measures, written once a step to a line of JSON and to TensorBoard from the same values.

`metrics.jsonl` is only ever appended to: one object a line, flushed at once, so that a killed run loses at most the
line it was writing. A run that resumes at step k computes the steps after k anew: their earlier lines move to
`metrics.superseded.jsonl`, so a reader finds each step once and nothing is lost. Lines of one step are read as one row.

Names may be nested dicts and tuples; they are joined with slashes, as in `energy/positive` or `step_size/0`. An array
of more than one element is shown as a histogram in TensorBoard and by its mean and standard deviation in the file.
"""

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
import pandas as pd
from tensorboardX import SummaryWriter
from tqdm import tqdm

from runtime.errors import ConfigError, RunError
from runtime.files import write_text

METRICS, SUPERSEDED = "metrics.jsonl", "metrics.superseded.jsonl"
SYNC_SECONDS = 1.0
NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class NonFiniteError(RunError):
    """A quantity of the run is infinite or not a number; the message names it and the step."""


class MetricsWriter:
    """Appends what a run measures to its folder; of several processes, the first writes.

    Args:
        workdir: the run folder; made if it is missing.
        resume_step: the last step whose lines stay; None: the run starts anew, and earlier lines are all superseded.
    """

    def __init__(self, workdir: str | os.PathLike, resume_step: int | None = None):
        self._writes = jax.process_index() == 0
        if not self._writes:
            return
        folder = Path(workdir)
        folder.mkdir(parents=True, exist_ok=True)
        _supersede(folder, -math.inf if resume_step is None else resume_step)
        self._file = (folder / METRICS).open("a")
        self._synced = 0.0
        purge = 0 if resume_step is None else resume_step + 1
        self._tensorboard = SummaryWriter(str(folder / "tensorboard"), purge_step=purge)

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes the values of a step.

        Args:
            step: number of completed steps.
            values: numbers and arrays by name, in nested dicts or tuples.
        """
        if not self._writes:
            return
        record: dict[str, Any] = {"step": int(step), "time": round(time.time(), 3)}
        for name, value in _flatten(jax.device_get(values)).items():
            array = np.asarray(value)
            if array.size == 1:
                number = array.reshape(()).item()
                self._tensorboard.add_scalar(name, float(number), step)
                record[name] = _as_json(number)
            elif array.size:
                array = array.astype(np.float64)
                if np.isfinite(array).all():
                    self._tensorboard.add_histogram(name, array, step)
                record |= {f"{name}/mean": _as_json(array.mean()), f"{name}/std": _as_json(array.std())}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        # The line is safe from a kill once flushed; a power cut may cost the last second.
        if time.monotonic() - self._synced > SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        if self._writes:
            os.fsync(self._file.fileno())
            self._file.close()
            self._tensorboard.close()

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def read_metrics(workdir: str | os.PathLike) -> pd.DataFrame:
    """Returns what a run has measured: a row a step (the index), a column a quantity, NaN where a step lacks one.

    A last line that is still being written is left out.

    Raises:
        ConfigError: the folder holds no metrics, or a line other than the last cannot be read.
    """
    path = Path(workdir) / METRICS
    if not path.is_file():
        raise ConfigError(f"{workdir} holds no {METRICS}")
    rows: dict[int, dict[str, Any]] = {}
    for line in _whole_lines(path):
        record = {name: NOT_FINITE.get(value, value) for name, value in _parse(path, line).items()}
        rows.setdefault(record.pop("step"), {}).update(record)
    table = pd.DataFrame.from_dict(rows, orient="index").sort_index()
    table.index.name = "step"
    return table


def check_finite(step: int, values: Mapping[str, Any]) -> None:
    """Raises a `NonFiniteError` that names the first quantity, and the entry of an array, that is not finite.

    Args:
        step: the step that computed the values.
        values: numbers and arrays by name, in nested dicts or tuples, in the order in which they are to be blamed.
    """
    for name, value in _flatten(jax.device_get(values)).items():
        array = np.asarray(value, np.float64)
        if np.isfinite(array).all():
            continue
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        place = f"{name}[{', '.join(map(str, first))}]" if first else name
        raise NonFiniteError(f"step {step}: {place} is {array[first]}")


class Progress:
    """Shows how far a run is, its rate and the time left: a bar in a terminal, otherwise a line now and then.

    Where standard error is no terminal, a line comes after at least 10 seconds and 5 % of the work, or after 5 minutes,
    and one at the end.

    Args:
        total: number of steps of the whole run.
        initial: number of steps already done.
        description: what stands in front.
        stream: where to show it (default: standard error).
    """

    QUIET_SECONDS, QUIET_PART, LONGEST_SECONDS = 10.0, 0.05, 300.0

    def __init__(self, total: int, initial: int = 0, description: str = "", stream: TextIO | None = None):
        self._stream = sys.stderr if stream is None else stream
        self._total, self._initial, self._done, self._description = total, initial, initial, description
        self._began = self._spoke = time.monotonic()
        self._spoke_at, self._note = initial, ""
        self._bar = None
        self._shows = jax.process_index() == 0
        if self._shows and self._stream.isatty():
            self._bar = tqdm(total=total, initial=initial, desc=description, file=self._stream, dynamic_ncols=True)

    def update(self, done: int, note: str = "") -> None:
        """Says that `done` of the steps are done, with a note behind, such as the present loss."""
        advanced, self._done, self._note = done - self._done, done, note
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(advanced)
            return
        quiet, part = time.monotonic() - self._spoke, (done - self._spoke_at) / max(self._total, 1)
        if (quiet >= self.QUIET_SECONDS and part >= self.QUIET_PART) or quiet >= self.LONGEST_SECONDS:
            self._say()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._spoke_at != self._done or self._done == self._initial:
            self._say()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _say(self) -> None:
        self._spoke, self._spoke_at = time.monotonic(), self._done
        if not self._shows:
            return
        elapsed, advanced = self._spoke - self._began, self._done - self._initial
        rate = advanced / elapsed if elapsed > 0 else 0.0
        left = tqdm.format_interval((self._total - self._done) / rate) if rate else "?"
        times = f"{tqdm.format_interval(elapsed)} gone, {left} left, {rate:.3g} steps/s"
        head = f"{self._description}: " if self._description else ""
        tail = f", {self._note}" if self._note else ""
        print(f"{head}{self._done}/{self._total} ({times}{tail})", file=self._stream, flush=True)


def _flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(values, Mapping):
        parts = values.items()
    elif hasattr(values, "_asdict"):
        parts = values._asdict().items()
    elif isinstance(values, tuple | list):
        parts = enumerate(values)
    else:
        return {prefix: values}
    flat = {}
    for name, value in parts:
        flat |= _flatten(value, f"{prefix}/{name}" if prefix else str(name))
    return flat


def _as_json(number: float | bool) -> float | bool | str:
    # JSON has no numbers for these; Python's own spelling of them is not JSON and other readers refuse it.
    return number if isinstance(number, int) or math.isfinite(number) else str(float(number))


def _whole_lines(path: Path) -> list[str]:
    """Returns the finished lines of a file; the rest behind the last line break was cut short by a kill."""
    return path.read_text().split("\n")[:-1]


def _parse(path: Path, line: str) -> dict[str, Any]:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path} is damaged: the line {line[:60]!r} cannot be read ({error})") from None


def _supersede(folder: Path, last_step: float) -> None:
    """Moves the lines of the steps after `last_step` to a file of their own; drops a last line that was cut short."""
    path = folder / METRICS
    if not path.exists():
        return
    lines = _whole_lines(path)
    kept = [line for line in lines if _parse(path, line)["step"] <= last_step]
    superseded = [line for line in lines if _parse(path, line)["step"] > last_step]
    if superseded:
        with (folder / SUPERSEDED).open("a") as history:
            history.writelines(line + "\n" for line in superseded)
            history.flush()
            os.fsync(history.fileno())
    # A kill between the two writes leaves the lines in both files, never in none.
    write_text(path, "".join(line + "\n" for line in kept))
