"""The report of an analysed run: one HTML file with the verdicts first, then why, then every figure.

    write_report("runs/quick", layer=1)     figures in runs/quick/analysis/layer1/figures and runs/quick/report.html

The page needs no other file: figures and the movie are embedded; links lead to the SVG of each figure and to tables.
Whatever an analysis could not make is named with the reason. What the page looks like stands in `analysis/templates`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence, Sized
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.pages import embed, plain, render, short
from analysis.report import figures, figures_dynamics, figures_maps, figures_synchrony, predicted, verdicts
from analysis.report.sections import Missing, Picture, Results, Section, picture, sections
from analysis.results import RESULTS, read_json
from recordings import names
from recordings.names import PREDICTIONS
from recordings.reading import recording_folder
from runtime.config import CONFIG_FILE, flatten
from runtime.errors import ConfigError
from runtime.files import write_text

REPORT, FIGURES = "report.html", "figures"
TABLE_ROWS = 6
LARGEST_PICTURE = 3_000_000  # bytes of a picture of the training that is embedded

Part = dict[str, Any]  # a piece of a section, as the template `report.html` draws its 'kind'


def write_report(run_folder: str | Path, layer: int) -> Path:
    """Write figures and `report.html` of an analysed run; returns the page's path.

    Args:
        run_folder: run with `analysis/layerL/`.
        layer: number of the analysed layer.

    Raises:
        ConfigError: the layer was not analysed.
    """
    run = Path(run_folder)
    folder = run / RESULTS / f"layer{layer}"
    about = read_json(folder / "about.json")
    if about is None:
        raise ConfigError(f"{run} holds no analysis of layer {layer}; run the stage 'analyse' there first")
    results = Results(run, folder, about, read_json(run / "diagnostics.json"))
    rows = read_json(folder / "checks.json") or []
    missing: dict[str, str] = {}
    why = _why(results, rows)
    shown = [{"title": section.title, "parts": _show(results, section, missing)} for section in sections(results)]
    shown.append({"title": "Movie of activity", "parts": _movie(results, missing)})
    shown.append({"title": "Sampler diagnostics", "parts": _diagnostics(results, missing)})
    body = [
        {"title": "Why", "parts": why},
        {"title": "What could not be tested or shown", "parts": _untested(rows, missing)},
        *shown,
        {"title": "Physiology to compare with", "parts": _physiology()},
        *_background(results),
    ]
    text = render(
        "report.html",
        title=f"{run.resolve().name}: does layer {layer} behave like cortex?",
        sentences=verdicts.sentences(_subject(results), rows),
        rows=[{"controls": {}} | row for row in rows],
        controls=verdicts.control_names(rows),
        small=_small(results, missing),
        sections=body,
        cell=_cell,
    )
    path = run / REPORT
    write_text(path, text)
    return path


def _subject(results: Results) -> str:
    about = results.about
    first = next(iter(about.get("experiments", {}).values()), {})
    text = f"Layer {about['layer']}"
    if "updates" in first:
        text += f" of a field trained for {first['updates']:,} updates"
    elif "system" in first:
        text = f"The system with known answers ({first['system']})"
    if "sampler" in first:
        text += f", sampled by '{first['sampler']['name']}',"
    return text


def _small(results: Results, missing: Mapping[str, str]) -> str:
    about = results.about
    experiments = {name: each for name, each in about.get("experiments", {}).items() if not names.split(name)[1]}
    first = next(iter(experiments.values()), {})
    size, scale = "×".join(map(str, about.get("size", "?"))), results.scale
    text = (
        f"Recorded were {_count(range(about['channels']), 'channel')} of {size} neurons in "
        f"{_count(experiments, 'experiment')} at level '{first.get('level', '?')}'. Milliseconds and hertz rest on the "
        f"time scale '{scale.origin}' ({short(scale.ms_per_step, 4)} ms a step), a convention and not a measurement. "
    )
    text += f"{results.wording.note} " if results.wording.note else ""
    return text + (f"{_count(missing, 'part')} of the analysis could not be made; see below." if missing else "")


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _cell(value: Any) -> str:
    return short(value, 4) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _missing(text: str) -> Part:
    return {"kind": "missing", "text": text}


def _why(results: Results, rows: Sequence[Mapping[str, Any]]) -> list[Part]:
    parts = []
    if any(row.get("details") for row in rows):
        by_check, measured = {row["check"]: row for row in rows}, read_json(results.folder / "measured.json") or {}
        expected, layer = read_json(results.run / PREDICTIONS) or {}, results.about["layer"]
        compared = predicted.compare(expected, layer, by_check, measured.get("", {}), results.scale)
        texts = predicted.sentences(expected, layer, by_check, compared)
        parts += [{"kind": "text", "text": text, "link": ""} for text in texts]
        parts.append(_figure(results, picture("predicted", predicted.draw(compared))))
    drawn = figures_synchrony.verdicts(rows)
    if drawn is None:
        return [*parts, _missing("No check found a number that could be drawn.")]
    return [*parts, _figure(results, picture("verdicts", drawn))]


def _untested(rows: Sequence[Mapping[str, Any]], missing: Mapping[str, str]) -> list[Part]:
    found = verdicts.untested(rows) + [(plain(step), reason) for step, reason in missing.items()]
    if not found:
        return [{"kind": "text", "text": "Everything was tested and shown.", "link": ""}]
    return [_as_table(pd.DataFrame(found, columns=["what", "why not"]))]


def _as_table(frame: pd.DataFrame, summary: str = "", text: str = "", link: str = "") -> Part:
    return {"kind": "table", "frame": frame, "summary": summary, "text": text, "link": link}


def _show(results: Results, section: Section, missing: dict[str, str]) -> list[Part]:
    try:
        arrays = results.arrays(section.step)
    except Missing as reason:
        missing[section.step] = str(reason)
        return [_missing(f"Not shown: {reason}.")]
    parts = []
    for each in section.draw(results, arrays, section.step):
        if each.figure is None:
            missing[each.name] = each.caption
            parts.append(_missing(f"Not shown: {plain(each.name)}, because {each.caption}."))
        else:
            parts.append(_figure(results, each))
    sheet = recording_folder(results.run, section.step.removeprefix("activity_")) / names.CONTACT_SHEET
    if sheet.is_file():
        link = sheet.relative_to(results.run).as_posix()
        parts.append({"kind": "text", "text": "All distinct stimuli as they were shown:", "link": link})
    return parts + _step_table(results, section.step)


def _figure(results: Results, drawn: Picture) -> Part:
    png, svg = figures.save(drawn.figure, results.folder / FIGURES, drawn.name)
    return {
        "kind": "figure", "source": embed(png), "alt": plain(drawn.name), "movie": False,
        "width": round(100 * drawn.figure.get_figwidth()), "caption": drawn.caption, "cortex": drawn.cortex,
        "numbers": drawn.numbers, "link": svg.relative_to(results.run).as_posix(), "link_text": "SVG",
    }  # fmt: skip


def _picture_file(path: Path, caption: str, run: Path, width: int = 0) -> Part:
    return {
        "kind": "figure", "source": embed(path), "alt": plain(path.stem), "movie": path.suffix == ".gif",
        "width": width, "caption": caption, "cortex": "", "numbers": (), "link": path.relative_to(run).as_posix(),
        "link_text": path.name,
    }  # fmt: skip


def _step_table(results: Results, step: str) -> list[Part]:
    path = results.folder / f"{step}.csv"
    if not path.exists():
        return []
    try:
        frame = pd.read_csv(path, nrows=TABLE_ROWS)
        with path.open("rb") as file:
            rows = sum(1 for _ in file) - 1
    except (OSError, ValueError) as error:
        return [_missing(f"The table {path.name} cannot be read ({error}).")]
    text = f"First {len(frame)} of {rows:,} rows; all of them in"
    return [_as_table(frame, "Table", text, path.relative_to(results.run).as_posix())]


def _movie(results: Results, missing: dict[str, str]) -> list[Part]:
    try:
        arrays = results.arrays("movie")
    except Missing as reason:
        missing["movie"] = str(reason)
        return [_missing(f"Not shown: {reason}.")]
    movies = {int(arrays["stimulus"]): arrays["frames"]}
    if "other_frames" in arrays:
        movies |= dict(zip(arrays["other_stimuli"].tolist(), arrays["other_frames"], strict=True))
    shown = []
    for stimulus, frames in movies.items():
        path = results.folder / FIGURES / (f"movie_stimulus{stimulus}.gif" if shown else "movie.gif")
        figures_maps.write_movie(frames, arrays["steps"], results.periods, results.scale, path)
        caption = (
            f"State of the channels (tiles) in the experiment '{arrays['experiment']}', stimulus {stimulus}, each "
            "channel scaled to its own range. The bar below shows the time and, in orange, when the stimulus is on "
            f"({results.scale.origin})."
        )
        shown.append(_picture_file(path, caption, results.run, 640))
    return shown


def _diagnostics(results: Results, missing: dict[str, str]) -> list[Part]:
    if not results.diagnostics:
        missing["diagnostics"] = "the run has no diagnostics.json; run the stage 'diagnose'"
        return [_missing(f"Not shown: {missing['diagnostics']}.")]
    drawn = figures_dynamics.diagnostics(results.diagnostics)
    cost = results.diagnostics.get("cost") or {}
    numbers = [f"{cost['gradients']:,} gradients in {short(cost['seconds'])} s on {cost['device']}"] if cost else []
    bounds = (results.diagnostics.get("stability") or {}).get("units_on_bound")
    if bounds:
        shares = ", ".join(f"{100 * share:.1f} %" for share in bounds)
        numbers.append(f"units on a bound at the end, by layer: {shares}")
    return [_figure(results, picture("diagnostics", drawn, *numbers))]


def _physiology() -> list[Part]:
    entries = [reference._asdict() for reference in verdicts.REFERENCES]
    return [{"kind": "references", "entries": entries}, {"kind": "text", "text": verdicts.COMPETITOR, "link": ""}]


def _background(results: Results) -> list[dict[str, Any]]:
    record = read_json(results.run / CONFIG_FILE) or {}
    flat = flatten(record.get("config") or {})
    first = next(iter(results.about.get("experiments", {}).values()), {})
    lengths = zip(("burn-in", "blank", "stimulus", "blank"), results.periods, strict=True)
    facts = {
        "updates": first.get("updates", "?"),
        "architecture": first.get("architecture", "?"),
        "sampler": json.dumps(first.get("sampler", {})),
        "seed": first.get("seed", "?"),
        "periods (steps)": ", ".join(f"{name} {steps}" for name, steps in lengths),
        "revision": record.get("revision") or "unknown",
        "versions": ", ".join(f"{name} {number}" for name, number in (record.get("versions") or {}).items()),
    }
    model = [_as_table(pd.DataFrame({"what": list(facts), "value": [str(v) for v in facts.values()]}))]
    fields = pd.DataFrame({"field": list(flat), "value": [str(value) for value in flat.values()]})
    listed = _as_table(fields, f"All {len(flat)} fields") if flat else _missing(f"The run has no {CONFIG_FILE}.")
    return [
        {"title": "Checkpoint and sampler", "parts": model + _training_pictures(results.run)},
        {"title": "Config", "parts": [listed]},
        {"title": "How to do it again", "parts": _commands(results, flat)},
    ]


def _training_pictures(run: Path) -> list[Part]:
    said = {
        "samples.png": "Samples of the trained model beside held-out data, drawn by the training.",
        "curves.png": "Energies of both phases over the training.",
    }
    paths = {run / "images" / name: text for name, text in said.items()}
    shown = {path: text for path, text in paths.items() if path.is_file() and path.stat().st_size < LARGEST_PICTURE}
    return [_picture_file(path, text, run) for path, text in shown.items()]


def flags(flat: Mapping[str, Any]) -> list[str]:
    """Return command-line flags that give every field of a flattened config its value."""

    def text(value: Any) -> str:
        return repr(_tuples(value)) if isinstance(value, list | tuple) else str(value)

    return [f"--config.{field}={text(value)}" for field, value in flat.items()]


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list | tuple) else value


def _commands(results: Results, flat: Mapping[str, Any]) -> list[Part]:
    command = partial(dict, kind="command", summary="", text="")
    launch = "python launch.py --config=configs/nrflv.py"
    text = "Analyse the same recordings again (with the preset, or the fields, in which the run's config differs):"
    run = shlex.quote(str(results.run))
    parts = [command(text=text, command=f"{launch} --workdir={run} --stages=analyse")]
    if flat:
        given = " \\\n  ".join(map(shlex.quote, flags(flat)))
        stages = "train,visualise,diagnose,record,analyse"
        whole = f"{launch} --workdir=NEW_FOLDER --stages={stages} \\\n  {given}"
        parts.append(command(summary="Everything from the start, every field given", command=whole))
    return parts
