"""Judge any recording: from this program, from another model or from an animal.

    python -m analysis.judge FILE.npz [--reference OTHER.npz] [--html OUT.html]

FILE.npz holds plain arrays:

    signals    (trials, time, channels)  in any unit; (trials, time) for one channel
    onset      first sample with the stimulus
    offset     first sample after it
    sample_ms  milliseconds a sample
    contrast   (trials,)                 at least 0; 0 for a blank

    momentum   (trials, time, channels)  optional: the phase of inhibition is drawn, never judged
    energy     (trials, time)            optional: of the whole system; how fast it is sampled stands beside the signals
    angle      (trials, ...)             optional, as is place: what else was shown; trials that agree in
    place      (trials, ...)             contrast, angle and place are repeats of each other

One line of JSON a check goes to standard output: {"check", "verdict", "found", "low", "high", "unit", "reason"}.  The
verdict is present, absent, undecided or not tested; `found` with its 95 % interval is what decided.  OTHER.npz, of the
same form, is the same system under other dynamics; a sample of either is taken to have cost the same.  Recordings are
compared as they are: to tune both dynamics by one rule is for whoever makes them.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import zipfile
from collections.abc import Mapping

import numpy as np

from analysis.checks.table import check_trials
from analysis.checks.trials import Trials
from runtime.errors import ConfigError, clear_errors, did_you_mean

NEEDED = ("signals", "onset", "offset", "sample_ms", "contrast")
LEAST_TRIALS, LEAST_BLANK, LEAST_STIMULUS, LEAST_GROUP = 8, 16, 48, 4
LEAST_SIZE, MOST_SIZE = 1e-60, 1e60  # of the largest value: fourth powers of what is beyond are no numbers


def read_trials(path: str | pathlib.Path) -> Trials:
    """Read and check a recording.

    Args:
        path: of an .npz file with the arrays above.

    Raises:
        ConfigError: the file cannot be read, an array is missing, or its shape or content cannot be used; the message
            says which and how to mend it.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ConfigError(f"{path} holds a single array; write an .npz with {_listed(NEEDED)}")
        with loaded as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}") from None
    except ConfigError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        why = getattr(error, "strerror", None) or "it is another kind of file, or holds objects"
        raise ConfigError(f"{path} cannot be read as an .npz of plain arrays: {why}") from None
    try:
        return trials_from_arrays(arrays)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def trials_from_arrays(arrays: Mapping[str, np.ndarray]) -> Trials:
    """Check the arrays of a recording; ConfigError says what cannot be used."""
    for name in NEEDED:
        if name not in arrays:
            raise ConfigError(
                f"the array '{name}' is missing{did_you_mean(name, arrays)}; needed are {_listed(NEEDED)}"
            )
    signals = _numbers(arrays, "signals").astype(np.float64)
    if signals.ndim == 2:
        signals = signals[:, :, None]
    if signals.ndim != 3 or 0 in signals.shape:
        raise ConfigError(f"signals has shape {arrays['signals'].shape}; it must be (trials, time, channels)")
    count, steps = signals.shape[:2]
    contrast = _numbers(arrays, "contrast").astype(float)
    if contrast.shape != (count,):
        raise ConfigError(
            f"contrast has shape {contrast.shape}; signals holds {count} trials, so it must be ({count},)"
        )
    if (contrast < 0).any():
        raise ConfigError(f"contrast holds {contrast.min():g}; contrasts are at least 0")
    onset, offset = _whole(arrays, "onset"), _whole(arrays, "offset")
    if not 0 <= onset < offset <= steps:
        raise ConfigError(
            f"onset {onset} and offset {offset} do not fit {steps} samples: 0 <= onset < offset <= {steps} must hold"
        )
    if onset < LEAST_BLANK:
        raise ConfigError(f"there are {onset} samples before the onset; at least {LEAST_BLANK} of blank are needed")
    if offset - onset < LEAST_STIMULUS:
        raise ConfigError(f"the stimulus lasts {offset - onset} samples; at least {LEAST_STIMULUS} are needed")
    sample_ms = float(_scalar(arrays, "sample_ms"))
    if sample_ms <= 0:
        raise ConfigError(f"sample_ms is {sample_ms:g}; it must be above 0")
    # Contrasts that differ by rounding alone are the same, in whatever unit.
    largest = contrast.max() or 1.0
    contrast = np.round(contrast / largest, 6) * largest
    levels, each = np.unique(contrast[contrast > 0], return_counts=True)
    if levels.size < 2:
        shown = f"only contrast {levels[0]:g}" if levels.size else "no contrast"
        raise ConfigError(
            f"{shown} above 0 was shown; trends need at least two contrasts above 0, a rise of frequency three"
        )
    if each.min() < LEAST_TRIALS:
        raise ConfigError(
            f"contrast {levels[each.argmin()]:g} has {each.min()} trials; at least {LEAST_TRIALS} of each are needed "
            "(64 decide most checks)"
        )
    varies = np.ptp(signals, axis=(0, 1)) > 0
    if not varies.any():
        raise ConfigError("signals is constant in every channel")
    if not LEAST_SIZE < np.abs(signals).max() < MOST_SIZE:
        raise ConfigError(
            f"signals are as large as {np.abs(signals).max():.2g}; give them in a unit in which they are about 1"
        )
    if all(np.ptp(signals[contrast == level], axis=0).max() == 0 for level in levels):
        raise ConfigError("all trials of a contrast are equal; each must be a recording of its own, not a copy")
    momentum = _momentum(arrays, signals.shape)
    # A large offset must not cost precision, nor a dead channel a check.
    signals = signals[:, :, varies]
    signals -= signals.mean(axis=(0, 1))
    momentum = None if momentum is None else momentum[:, :, varies]
    groups = _groups(arrays, contrast, varies.size)
    return Trials(signals, onset, offset, contrast, sample_ms, groups, momentum, _energy(arrays, signals.shape[:2]))


def _groups(arrays: Mapping[str, np.ndarray], contrast: np.ndarray, channels: int) -> np.ndarray | None:
    """Trials that were shown the same, by angle and place; None where too few are to be repeats of each other."""
    columns = [contrast]
    for name in ("angle", "place"):
        if name in arrays:
            values = _numbers(arrays, name)
            if values.ndim == 1 and len(values) == channels != len(contrast):
                continue  # what the channels prefer: it says nothing of repeats
            if values.ndim < 1 or len(values) != len(contrast):
                raise ConfigError(
                    f"{name} has shape {values.shape}; its first dimension must be the {len(contrast)} trials"
                )
            columns += list(values.reshape(len(values), -1).T)
    if len(columns) == 1:
        return None
    groups = np.unique(np.round(np.stack(columns, axis=1), 6), axis=0, return_inverse=True)[1].ravel()
    return groups if np.bincount(groups[contrast > 0]).max() >= LEAST_GROUP else None


def _momentum(arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray | None:
    if "momentum" not in arrays:
        return None
    momentum = _numbers(arrays, "momentum")
    momentum = momentum[:, :, None] if momentum.ndim == 2 else momentum
    if momentum.shape != shape:
        raise ConfigError(f"momentum has shape {momentum.shape}; it must be that of signals, {shape}")
    return momentum.astype(np.float64)


def _energy(arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray | None:
    if "energy" not in arrays:
        return None
    energy = _numbers(arrays, "energy").astype(np.float64)
    if energy.shape != shape:
        raise ConfigError(f"energy has shape {energy.shape}; it must be (trials, time), {shape}")
    return energy - energy.mean()  # a large offset must not cost precision


def _numbers(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    values = np.asarray(arrays[name])
    if values.dtype.kind not in "fiub":
        raise ConfigError(f"{name} holds {values.dtype}; it must hold real numbers")
    if not np.isfinite(values).all():
        missing = int(np.sum(~np.isfinite(values)))
        if values.size == 1:
            raise ConfigError(f"{name} is {values.item()}; it must be a number")
        raise ConfigError(f"{name} holds {missing} values that are NaN or infinite; leave those trials out")
    return values


def _scalar(arrays: Mapping[str, np.ndarray], name: str) -> float:
    values = _numbers(arrays, name)
    if values.size != 1:
        raise ConfigError(f"{name} has shape {values.shape}; it must be one number")
    return values.reshape(()).item()


def _whole(arrays: Mapping[str, np.ndarray], name: str) -> int:
    value = _scalar(arrays, name)
    if value != int(value):
        raise ConfigError(f"{name} is {value:g}; it counts samples and must be a whole number")
    return int(value)


def _listed(names) -> str:
    return ", ".join(names)


def main(arguments: list[str] | None = None) -> None:
    """Print one line of JSON a check, and write the page if one is asked for."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m analysis.judge", description=__doc__, formatter_class=raw)
    parser.add_argument("file", type=pathlib.Path, help="recording, .npz")
    parser.add_argument("--reference", type=pathlib.Path, help="the same system under other dynamics, .npz")
    parser.add_argument("--html", type=pathlib.Path, help="page for people to write")
    parser.add_argument("--seed", type=int, default=0, help="of the resamples")
    flags = parser.parse_args(arguments)
    with clear_errors():
        trials = read_trials(flags.file)
        reference = read_trials(flags.reference) if flags.reference else None
        verdicts = check_trials(trials, reference, seed=flags.seed)
        for verdict in verdicts:
            print(json.dumps(verdict.line(), allow_nan=False), flush=True)
        if flags.html:
            from analysis.report.judge_page import write_page

            write_page(flags.html, flags.file.name, trials, verdicts)
            print(f"page in {flags.html}", file=sys.stderr)


if __name__ == "__main__":
    main()
