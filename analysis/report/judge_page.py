"""The page of a judged recording: its verdicts and what led to them, in one file."""

from __future__ import annotations

import base64
import io
import pathlib
from collections.abc import Sequence

import numpy as np

from analysis.checks.table import EXPECTED, NAMES
from analysis.checks.trials import Trials
from analysis.checks.verdict import Verdict
from analysis.pages import render
from analysis.report.figures_checks import draw_trials
from runtime.errors import ConfigError

CAPTION = (
    "Left to right, top: mean of the summed signal around the onset; spectra during the sustained response and the "
    "resonance fitted to them; resonance against contrast. Bottom: overshoot ratio against contrast; variance across "
    "trials during the stimulus over before; phase by which s - p follows s, which has no verdict."
)


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
    """Return the page as text; see `write_page`."""
    levels = ", ".join(f"{level:g} ({int(np.sum(trials.contrast == level))})" for level in np.unique(trials.contrast))
    about = (
        f"{len(trials.contrast)} trials of {trials.signals.shape[1]} samples and {trials.signals.shape[2]} channels, "
        f"{trials.sample_ms:g} ms a sample, stimulus from sample {trials.onset} to {trials.offset}; contrasts and "
        f"their trials: {levels}. Intervals are 95 %, by resampling whole trials."
    )
    rows = [each.line() | {"name": NAMES[each.check], "expected": EXPECTED[each.check]} for each in verdicts]
    buffer = io.BytesIO()
    draw_trials(trials, verdicts).savefig(buffer, format="png", dpi=130)
    picture = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return render("judge.html", title=f"{name}: verdicts", about=about, rows=rows, picture=picture, caption=CAPTION)
