"""Why a field shows what it shows: what the curvature of its clamped energy predicts, beside what was measured.

Predictions lie in `predictions.json` of the run folder, one value a contrast; what was measured stands in the details
of the rows of `checks.json` (resonance, overshoot) and in `measured.json` (variance, phase). The system with known
answers, if it was recorded beside the field, has its predictions in its own run folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from analysis.pages import short
from analysis.report.figures import BLUE, GREY, ORANGE, dress, new_figure, note, with_interval
from analysis.results import read_json
from recordings import names
from recordings.format import RecordingError
from recordings.periods import TimeScale
from recordings.reading import open_recording

PREDICTIONS = "predictions.json"
Row = Mapping[str, Any]


class Curve(NamedTuple):
    """One quantity against contrast; intervals are NaN where there is none."""

    contrast: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Quantity(NamedTuple):
    """One panel: what was predicted and measured in the field and in the system with known answers."""

    title: str
    unit: str
    none: float | None  # value of no effect
    curves: dict[str, Curve]  # by 'field, measured', 'field, predicted', …


LABELS = {
    ("field", "measured"): (BLUE, "o"),
    ("field", "predicted"): (BLUE, "-"),
    ("known system", "measured"): (ORANGE, "s"),
    ("known system", "predicted"): (ORANGE, "--"),
}


def quantities(
    run: Path, layer: int, rows: Sequence[Row], measured: Mapping[str, Any], scale: TimeScale
) -> list[Quantity]:
    """Return resonance, overshoot, phase of inhibition and variance against contrast, as far as they are known.

    Args:
        run: run folder.
        layer: that was analysed.
        rows: rows of `checks.json`.
        measured: content of `measured.json`.
        scale: time scale of the field.
    """
    details = {row["check"]: row.get("details") or {} for row in rows}
    of_known = {row["check"]: (row.get("known") or {}).get("details") or {} for row in rows}
    panels = {name: {} for name in ("resonance", "overshoot", "phase", "variance")}
    for who, found, key in (("field", details, ""), ("known system", of_known, "known")):
        for name, curve in _measured(found, measured.get(key) or {}).items():
            panels[name][f"{who}, measured"] = curve
    for who, folder, rate in (("field", run, scale.sampling_rate), ("known system", *_known(run))):
        for name, curve in _predicted(folder / PREDICTIONS, layer, rate).items():
            panels[name][f"{who}, predicted"] = curve
    return [
        Quantity("resonance of the summed state", scale.label("frequency", "Hz"), None, panels["resonance"]),
        Quantity("onset overshoot", "peak / sustained", 1.0, panels["overshoot"]),
        Quantity("phase of inhibition at the resonance", "degrees", None, panels["phase"]),
        Quantity("variance during the stimulus / before", "ratio", 1.0, panels["variance"]),
    ]


def _measured(details: Mapping[str, Row], trials: Mapping[str, Any]) -> dict[str, Curve]:
    found = {}
    resonance, overshoot = details.get("resonance_rises") or {}, details.get("overshoot_grows") or {}
    if "hertz" in resonance:
        found["resonance"] = _curve(resonance["contrast"], resonance["hertz"], resonance.get("hertz_interval"))
    if "ratio" in overshoot:
        found["overshoot"] = _curve(overshoot["contrast"], overshoot["ratio"], overshoot.get("ratio_interval"))
    phase = trials.get("phase") or {}
    if phase.get("degrees"):
        bounds = list(zip(phase["low"], phase["high"], strict=True))
        found["phase"] = _curve(phase["contrast"], phase["degrees"], bounds)
    if trials.get("variance_ratio"):
        found["variance"] = _curve(trials["contrast"], trials["variance_ratio"])
    return found


def _predicted(path: Path, layer: int, rate: float) -> dict[str, Curve]:
    table = read_json(path) or {}
    signals = table.get("signals") or {}
    signal = signals.get(f"layer_{layer}/site") or next(iter(signals.values()), None)
    if signal is None:
        return {}
    contrast = np.asarray(table["contrasts"], float)
    shown = contrast > 0
    resonance, overshoot, phase, variance = (
        _numbers(signal[name]) for name in ("resonance", "overshoot", "phase", "variance")
    )
    blank = variance[contrast == 0].mean() if (contrast == 0).any() else np.nan
    values = {
        "resonance": np.where(resonance > 0, resonance * rate, np.nan),
        "overshoot": 1 + overshoot,
        "phase": np.degrees(phase),
        "variance": variance / blank,
    }
    return {
        name: _curve(contrast[shown], each[shown]) for name, each in values.items() if np.isfinite(each[shown]).any()
    }


def _known(run: Path) -> tuple[Path, float]:
    folder = run / names.KNOWN
    try:
        about = open_recording(folder, names.TRIALS).about
    except RecordingError:
        return folder, np.nan
    return folder, TimeScale(about.get("ms_per_step", 1.0)).sampling_rate


def _numbers(values: Sequence) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)


def _curve(contrast, values, bounds=None) -> Curve:
    low, high = (
        (np.full(len(values), np.nan),) * 2 if bounds is None else (_numbers(b) for b in zip(*bounds, strict=True))
    )
    return Curve(_numbers(contrast), _numbers(values), low, high)


def draw(found: Sequence[Quantity]) -> Figure | None:
    """Draw the quantities against contrast, points measured with 95 % intervals, lines predicted; None without any."""
    if not any(each.curves for each in found):
        return None
    figure = new_figure(height=5.6)
    axes = figure.subplots(2, 2).ravel()
    for axis, quantity in zip(axes, found, strict=True):
        dress(axis, "contrast", quantity.unit, quantity.title)
        if not quantity.curves:
            note(axis, "neither measured nor predicted")
            continue
        if quantity.none is not None:
            axis.axhline(quantity.none, color=GREY, lw=0.7, ls=":")
        for name, curve in quantity.curves.items():
            colour, style = LABELS[tuple(name.split(", "))]
            there = np.isfinite(curve.value)
            x, y = curve.contrast[there], curve.value[there]
            if style in "os":
                low, high = np.where(np.isfinite(curve.low), curve.low, curve.value), curve.high
                high = np.where(np.isfinite(high), high, curve.value)
                with_interval(axis, x, y, low[there], high[there], fmt=style, color=colour, label=name)
            else:
                axis.plot(x, y, style, color=colour, lw=1.4, label=name)
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    return figure


def sentences(run: Path, layer: int, rows: Sequence[Row], scale: TimeScale) -> list[str]:
    """Return for each verdict that curvature speaks of, which property of the energy makes it so.

    Args:
        run: run folder.
        layer: that was analysed.
        rows: rows of `checks.json`.
        scale: time scale of the field.
    """
    table = read_json(run / PREDICTIONS) or {}
    curves = _predicted(run / PREDICTIONS, layer, scale.sampling_rate)
    if not table:
        return []
    lowest, _, highest = np.array([_numbers(row) for row in table["modes"]["step_curvature"]]).T
    found = {
        "resonance_rises": f"the highest curvature of the clamped energy goes from {short(highest[0])} to "
        f"{short(highest[-1])} (h²λ) over the contrasts; by linear response the resonance then "
        + _course(curves.get("resonance"), "Hz", "there is none to rise"),
        "overshoot_grows": "how far a response overshoots depends on friction against the curvature it moves along; "
        "the predicted ratio " + _course(curves.get("overshoot"), "", "is not defined, the mean hardly moves"),
        "variability_quenched": "variance along a direction is temperature over curvature; the predicted ratio of "
        "variances " + _course(curves.get("variance"), "", "is not known"),
        "faster_than_reference": f"curvatures lie between {short(lowest[-1])} and {short(highest[-1])} (h²λ) at the "
        "highest contrast: the highest bounds the steps of both samplers, and the lowest is what inertia crosses in "
        "straight lines and Langevin dynamics diffuses along",
    }
    said = {row["check"]: f"{row['name'].capitalize()}: {row['verdict']}." for row in rows}
    return [f"{said[check]} Predicted: {words}." for check, words in found.items() if check in said]


def _course(curve: Curve | None, unit: str, otherwise: str) -> str:
    if curve is None:
        return otherwise
    there = np.flatnonzero(np.isfinite(curve.value))
    first, last = (short(curve.value[there[place]]) for place in (0, -1))
    return f"goes from {first} to {last} {unit}".rstrip()
