"""The page of a judged recording: its verdicts and what led to them, in one file."""

from __future__ import annotations

import base64
import io
import pathlib
from collections.abc import Sequence

import numpy as np

from analysis.checks.table import EXPECTED, NAMES
from analysis.checks.trials import Trials
from analysis.checks.verdict import ABSENT, NOT_TESTED, PRESENT, UNDECIDED, Verdict
from analysis.report.figures_checks import draw_trials
from analysis.report.page import STYLE, escape
from runtime.config import ConfigError

COLOURS = {PRESENT: "#006b4e", ABSENT: "#1c4f82", UNDECIDED: "#7a4b00", NOT_TESTED: "#5b6673"}


def write_page(path: str | pathlib.Path, name: str, trials: Trials, verdicts: Sequence[Verdict]) -> None:
    """Write the page.

    Args:
        path: of the file to write.
        name: of what was judged.
        trials: the recording.
        verdicts: of `table.check_trials` on it.

    Raises:
        ConfigError: the file cannot be written.
    """
    text = make_page(name, trials, verdicts)
    try:
        pathlib.Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None


def make_page(name: str, trials: Trials, verdicts: Sequence[Verdict]) -> str:
    """The page as text."""
    levels = ", ".join(f"{level:g} ({int(np.sum(trials.contrast == level))})" for level in np.unique(trials.contrast))
    about = (
        f"{len(trials.contrast)} trials of {trials.signals.shape[1]} samples and {trials.signals.shape[2]} channels, "
        f"{trials.sample_ms:g} ms a sample, stimulus from sample {trials.onset} to {trials.offset}; contrasts and "
        f"their trials: {levels}. Intervals are 95 %, by resampling whole trials."
    )
    head = "".join(f"<th>{each}</th>" for each in ("check", "verdict", "found", "unit", "reason", "in cortex"))
    rows = "".join(_row(verdict) for verdict in verdicts)
    caption = (
        "Left to right, top: mean of the summed signal around the onset; spectra during the sustained response and the "
        "resonance fitted to them; resonance against contrast. Bottom: overshoot ratio against contrast; variance "
        "across trials during the stimulus over before; phase by which s - p follows s, which has no verdict."
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(name)}: verdicts</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head><body>'
        f"<h1>{escape(name)}</h1><p>{escape(about)}</p>"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f'<figure><img src="{_picture(trials, verdicts)}" alt="six panels, described below"><figcaption>{caption}'
        "</figcaption></figure></body></html>\n"
    )


def _row(verdict: Verdict) -> str:
    colour = COLOURS[verdict.verdict]
    word = f'<b style="color:{colour}">{verdict.verdict}</b>'
    found = "–" if verdict.found is None or not np.isfinite(verdict.found) else f"{verdict.found:.3g}"
    if verdict.low is not None and np.isfinite([verdict.low, verdict.high]).all():
        found += f" [{verdict.low:.3g}, {verdict.high:.3g}]"
    cells = (escape(NAMES[verdict.check]), word, found, escape(verdict.unit), escape(verdict.reason),
             escape(EXPECTED[verdict.check]))  # fmt: skip
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _picture(trials: Trials, verdicts: Sequence[Verdict]) -> str:
    buffer = io.BytesIO()
    draw_trials(trials, verdicts).savefig(buffer, format="png", dpi=130)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
