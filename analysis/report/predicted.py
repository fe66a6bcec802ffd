"""Why the verdicts are what they are: what the curvature of the energy predicts, beside what was measured.

`predictions.json` of a run says, for each contrast, what the Hessian of the clamped energy at the mean state makes of
the summed signal of one place: its resonance, overshoot, variance and phase (linear response, see the stage `record`).
Beside it stand the same quantities as the checks measured them. Where the two agree, a verdict follows from the learned
energy alone, and a sentence says from which property of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.checks.overshoot import NO_RESPONSE
from analysis.report.figures import BLUE, INK, legend, new_figure, note, style_axes
from recordings.periods import TimeScale

CHECKS = ("resonance_rises", "overshoot_grows", "variability_quenched")  # of the comparisons, in their order
STEADY = 0.1  # relative change of the curvature over contrasts below which it is called the same
Rows = Mapping[str, Mapping[str, Any]]


class Curve(NamedTuple):
    """One quantity at every contrast."""

    contrast: np.ndarray
    values: np.ndarray
    bounds: np.ndarray | None = None  # (contrasts, 2)


class Comparison(NamedTuple):
    """A quantity as predicted and as measured; either may be None."""

    name: str
    unit: str
    predicted: Curve | None
    measured: Curve | None


def compare(
    predictions: Mapping[str, Any], layer: int, rows: Rows, measured: Mapping[str, Any], scale: TimeScale
) -> list[Comparison]:
    """Return resonance, overshoot, variance and phase as predicted and as measured.

    Args:
        predictions: content of `predictions.json`, {} for none.
        layer: number of the layer.
        rows: rows of `checks.json` by check.
        measured: of the field in `measured.json`, {} for none.
        scale: of the run.
    """
    signal = (predictions.get("signals") or {}).get(f"layer_{layer}/site") or {}
    contrast = _array(predictions.get("contrasts"))

    def predicted(values: np.ndarray) -> Curve | None:
        return Curve(contrast, values) if values.size and np.isfinite(values).any() else None

    resonance, variance = _array(signal.get("resonance")), _array(signal.get("variance"))
    resonance = np.where(resonance > 0, resonance, np.nan)
    blank = variance[contrast == 0] if variance.size else variance
    spread = variance / blank[0] if blank.size else np.array([])
    found = _details(rows, "resonance_rises"), _details(rows, "overshoot_grows")
    phase = measured.get("phase") or {}
    ratio = measured.get("summed_variance_ratio")
    return [
        Comparison("resonance", "Hz", predicted(resonance * scale.sampling_rate), _measured(found[0], "hertz")),
        Comparison("overshoot", "peak / sustained", predicted(1 + _array(signal.get("overshoot"))),
                   _responding(_measured(found[1], "ratio"), found[1])),
        Comparison("variance of the sum", "during / before", predicted(spread),
                   Curve(_array(measured["contrast"]), _array(ratio)) if ratio else None),
        Comparison("phase of inhibition", "degrees", predicted(np.degrees(_array(signal.get("phase")))),
                   Curve(_array(phase.get("contrast")), _array(phase.get("degrees")),
                         np.stack([_array(phase["low"]), _array(phase["high"])], 1)) if phase.get("degrees") else None),
    ]  # fmt: skip


def draw(comparisons: Sequence[Comparison]) -> Figure:
    """Draw every quantity against contrast: predicted as a line with dots, measured as points with their intervals."""
    figure = new_figure(height=2.9)
    for axis, each in zip(figure.subplots(1, len(comparisons)), comparisons, strict=True):
        style_axes(axis, "contrast", each.unit, each.name)
        if each.predicted is None and each.measured is None:
            note(axis, "neither predicted\nnor measured")
            continue
        if each.predicted is not None:
            axis.plot(each.predicted.contrast, each.predicted.values, ".-", color=BLUE, lw=1.4, ms=4,
                      label="curvature")  # fmt: skip
        if each.measured is not None:
            _points(axis, each.measured)
        # None of them can be below 0, and a change is to be seen beside the whole.
        axis.set_ylim(0.0, max(axis.get_ylim()[1] * 1.1, 0.1))
        legend(axis)
    return figure


def sentences(predictions: Mapping[str, Any], layer: int, rows: Rows, comparisons: Sequence[Comparison]) -> list[str]:
    """Return a sentence per verdict that says which property of the energy makes it so.

    Args:
        predictions, layer, rows: as in `compare`.
        comparisons: of `compare`.
    """
    said = [_curvature(predictions)]
    for check, comparison in zip(CHECKS, comparisons, strict=False):
        if check in rows:
            said.append(f"{_sentence(rows[check]['name'])}: {rows[check]['verdict']}. {_ends(comparison)}")
    if comparisons and comparisons[-1].measured is not None:
        said.append(
            "The phase of inhibition has no verdict: s - p follows s by atan(ω/K), whatever the energy. "
            + _ends(comparisons[-1])
        )
    for check, text in (
        ("synchrony", "The curvature along the sum says nothing of pairs of channels."),
        ("faster_than_reference", "The speed for means is about h²/(εc) for every mode, whatever the curvature: it "
                                  "belongs to the samplers."),
    ):  # fmt: skip
        if check in rows and rows[check]["verdict"] != "not tested":
            said.append(f"{_sentence(rows[check]['name'])}: {rows[check]['verdict']}. {text}")
    return said


def _sentence(text: str) -> str:
    """The text with a capital first letter and names left as they are."""
    return text[:1].upper() + text[1:]


def _curvature(predictions: Mapping[str, Any]) -> str:
    modes = (predictions.get("modes") or {}).get("step_curvature")
    if not modes:
        return "The run has no predictions.json: what the curvature of its energy asks for is not known."
    values = _array(modes)
    middle, change = values[:, 1], np.ptp(values, axis=0) / np.maximum(values.mean(axis=0), 1e-30)
    if change.max() < STEADY:
        return (
            f"With the image held, the curvature of the energy (in units of the step, h²Kλ) runs from "
            f"{values[:, 0].min():.3g} to {values[:, 2].max():.3g} with median {middle.mean():.3g}, and changes by at "
            f"most {100 * change.max():.2g} % over the contrasts: the image adds forces and no curvature, so that "
            "neither frequency nor variance can follow it."
        )
    return (
        f"With the image held, the curvature of the energy (in units of the step, h²Kλ) depends on contrast: its "
        f"lowest mode goes from {values[0, 0]:.3g} to {values[-1, 0]:.3g}, its median from {middle[0]:.3g} to "
        f"{middle[-1]:.3g}, its highest from {values[0, 2]:.3g} to {values[-1, 2]:.3g}."
    )


def _ends(comparison: Comparison) -> str:
    parts = []
    for name, curve in (("the curvature predicts", comparison.predicted), ("measured is", comparison.measured)):
        known = np.flatnonzero(np.isfinite(curve.values) & (curve.contrast > 0)) if curve is not None else np.array([])
        if not known.size:
            parts.append(f"{name} {'none' if curve is not None else 'nothing, for want of a response or of a peak'}")
            continue
        low, high = known[0], known[-1]
        parts.append(
            f"{name} {curve.values[low]:.3g} at contrast {curve.contrast[low]:g} and {curve.values[high]:.3g} at "
            f"{curve.contrast[high]:g}"
        )
    text = f"{_sentence(comparison.name)} ({comparison.unit}): {', '.join(parts)}"
    if error := _error(comparison):
        text += f"; they differ by {100 * error:.2g} % in the median"
    return text + "."


def _error(comparison: Comparison) -> float:
    """Median relative difference at the contrasts that both have; 0 where there are none."""
    one, other = comparison.predicted, comparison.measured
    if one is None or other is None:
        return 0.0
    apart = [
        abs(value - one.values[np.isclose(one.contrast, contrast)][0]) / abs(value)
        for contrast, value in zip(other.contrast, other.values, strict=True)
        if np.isfinite(value) and value and np.isclose(one.contrast, contrast).any()
    ]
    apart = [each for each in apart if np.isfinite(each)]
    return float(np.median(apart)) if apart else 0.0


def _points(axis: Axes, curve: Curve) -> None:
    shown = np.isfinite(curve.values)
    x, y = curve.contrast[shown], curve.values[shown]
    lengths = None
    if curve.bounds is not None:
        bounds = np.where(np.isfinite(curve.bounds[shown]), curve.bounds[shown], y[:, None])
        lengths = np.maximum(np.stack([y - bounds[:, 0], bounds[:, 1] - y]), 0)
    axis.errorbar(x, y, lengths, fmt="o", ms=4, color=INK, capsize=2, lw=1, label="measured")


def _measured(details: Mapping[str, Any], key: str) -> Curve | None:
    if key not in details:
        return None
    bounds = np.stack([_array(pair) for pair in details[f"{key}_interval"]])
    return Curve(_array(details["contrast"]), _array(details[key]), bounds)


def _responding(curve: Curve | None, details: Mapping[str, Any]) -> Curve | None:
    """The overshoot where the stimulus moves the mean: elsewhere it is a ratio of two numbers that may be 0."""
    if curve is None or "noise" not in details:
        return curve
    clear = np.abs(_array(details["sustained"])) > NO_RESPONSE * details["noise"]
    return curve._replace(values=np.where(clear, curve.values, np.nan)) if clear.any() else None


def _details(rows: Rows, check: str) -> Mapping[str, Any]:
    return (rows.get(check) or {}).get("details") or {}


def _array(values: Any) -> np.ndarray:
    return np.array([] if values is None else values, float)
