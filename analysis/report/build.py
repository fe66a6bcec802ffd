"""The report of an analysed run: one HTML file with the verdicts first, then every figure, then how to do it again.

    write_report("runs/quick", layer=1)     figures in runs/quick/analysis/layer1/figures and runs/quick/report.html

The page needs no other file: figures and the movie are embedded; links lead to the SVG of each figure and to tables.
Whatever an analysis could not make is named with the reason.
"""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.report import (
    figures,
    figures_dynamics,
    figures_maps,
    figures_synchrony,
)
from analysis.report import (
    page as report_page,
)
from analysis.report.page import escape, paragraph
from analysis.report.sections import (
    Missing,
    Picture,
    Results,
    Section,
    picture,
    sections,
    short,
)
from analysis.results import RESULTS, read_json
from recordings import names
from runtime.config import CONFIG_FILE, ConfigError, flatten
from runtime.files import write_text

REPORT, FIGURES = "report.html", "figures"
TABLE_ROWS = 6
LARGEST_PICTURE = 3_000_000  # bytes of a picture of the training that is embedded


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
    checks = read_json(folder / "checks.json") or []
    missing: dict[str, str] = {}
    shown = [_show(results, section, missing) for section in sections(results)]
    shown.append(("Movie of activity", _movie(results, missing)))
    shown.append(("Sampler diagnostics", _diagnostics(results, missing)))
    body = [
        ("Verdicts", _verdicts(results, checks)),
        ("What could not be tested or shown", _untested(checks, missing)),
        *shown,
        *_background(results),
    ]
    title = f"{run.resolve().name}: does layer {layer} behave like cortex?"
    text = report_page.page(title, _summary(results, checks, missing), body)
    path = run / REPORT
    write_text(path, text)
    return path


def summarise(about: Mapping[str, Any], checks: Sequence[Mapping[str, Any]]) -> str:
    """What the checks found, in sentences.

    Args:
        about: content of `about.json`.
        checks: rows of `checks.json`.
    """
    if not checks:
        return "No check against physiology was made."
    listed_as = {word: [row["name"] for row in checks if row["verdict"] == word] for word in report_page.WORDS}
    parts = [f"{_count(checks, 'check')} against physiology"]
    for word, said in (("pass", "passed"), ("fail", "failed"), ("not tested", "could not be tested")):
        listed = f" ({', '.join(listed_as[word])})" if listed_as[word] else ""
        parts.append(f"{len(listed_as[word])} {said}{listed}")
    text = f"{parts[0]}: {'; '.join(parts[1:])}."
    passed = [row for row in checks if row["verdict"] == "pass"]
    same = [row["name"] for row in passed if report_page.controls_that_pass(row)]
    if same:
        text += f" Of those that passed, {len(same)} passed in a control as well ({', '.join(same)}), which therefore "
        text += "do not speak for the model's dynamics."
    bare = [
        row["name"]
        for row in passed
        if all(entry["verdict"] == "not tested" for entry in (row.get("controls") or {}).values())
    ]
    if bare:
        text += f" No control was tested for {', '.join(bare)}."
    return text


def _summary(results: Results, checks: Sequence[Mapping[str, Any]], missing: Mapping[str, str]) -> str:
    about = results.about
    experiments = {name: each for name, each in about.get("experiments", {}).items() if not names.split(name)[1]}
    controls = sorted({names.split(name)[1] for name in about.get("experiments", {})} - {""})
    first = next(iter(experiments.values()), {})
    size = "×".join(map(str, about.get("size", "?")))
    text = f"Recorded was layer {about['layer']}: {_count(range(about['channels']), 'channel')} of {size} neurons"
    if "updates" in first:
        text += f", of a model trained for {first['updates']:,} updates"
    if "sampler" in first:
        text += f", sampled by '{first['sampler']['name']}'"
    text += f", in {_count(experiments, 'experiment')} at level '{first.get('level', '?')}'. "
    text += f"Controls: {', '.join(map(report_page.plain, controls)) if controls else 'none was recorded'}. "
    scale = results.scale
    text += f"Milliseconds and hertz rest on the time scale '{scale.origin}' ({short(scale.ms_per_step, 4)} ms a step)"
    text += ", a convention and not a measurement. "
    text += f"{results.said.note} " if results.said.note else ""
    if missing:
        text += f"{_count(missing, 'part')} of the analysis could not be made; see below."
    return paragraph(summarise(about, checks)) + paragraph(text)


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _verdicts(results: Results, checks: Sequence[Mapping[str, Any]]) -> str:
    if not checks:
        return paragraph("The analysis left no checks.json; run the stage 'analyse' again.", "missing")
    text = (
        "A check passes where its test rejects 'no effect' and the value lies where cortex has it. A control is the "
        "same experiment on a changed system, which should not show the effect: a check that a control passes as well "
        "does not speak for the model's dynamics."
    )
    body = paragraph(text) + report_page.verdict_table(checks)
    drawn = figures_synchrony.verdicts(checks)
    return body if drawn is None else body + _figure(results, picture("verdicts", drawn))


def _untested(checks: Sequence[Mapping[str, Any]], missing: Mapping[str, str]) -> str:
    rows = [(row["name"], row.get("reason") or "") for row in checks if row["verdict"] == "not tested"]
    rows += [
        (f"{row['name']}, control {report_page.plain(name)}", entry.get("reason") or "")
        for row in checks
        if row["verdict"] != "not tested"
        for name, entry in (row.get("controls") or {}).items()
        if entry["verdict"] == "not tested"
    ]
    rows += [(report_page.plain(step), reason) for step, reason in missing.items()]
    if not rows:
        return paragraph("Everything was tested and shown.")
    return report_page.table(pd.DataFrame(rows, columns=["what", "why not"]))


def _show(results: Results, section: Section, missing: dict[str, str]) -> tuple[str, str]:
    try:
        arrays = results.arrays(section.step)
    except Missing as reason:
        missing[section.step] = str(reason)
        return section.title, paragraph(f"Not shown: {reason}.", "missing")
    parts = []
    for each in section.draw(results, arrays, section.step):
        if each.figure is None:
            missing[each.name] = each.caption
            parts.append(paragraph(f"Not shown: {report_page.plain(each.name)}, because {each.caption}.", "missing"))
        else:
            parts.append(_figure(results, each))
    return section.title, "".join(parts) + _table(results, section.step)


def _figure(results: Results, drawn: Picture) -> str:
    png, svg = figures.save(drawn.figure, results.folder / FIGURES, drawn.name)
    link, width = svg.relative_to(results.run).as_posix(), round(100 * drawn.figure.get_figwidth())
    said = drawn.caption, drawn.cortex, drawn.numbers
    return report_page.figure(_embed(png), link, report_page.plain(drawn.name), *said, width)


def _embed(path: Path) -> str:
    return f"data:image/{path.suffix[1:]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _table(results: Results, step: str) -> str:
    path = results.folder / f"{step}.csv"
    if not path.exists():
        return ""
    try:
        frame = pd.read_csv(path, nrows=TABLE_ROWS)
        with path.open("rb") as file:
            rows = sum(1 for _ in file) - 1
    except (OSError, ValueError) as error:
        return paragraph(f"The table {path.name} cannot be read ({error}).", "missing")
    link = f'<a href="{escape(path.relative_to(results.run).as_posix())}">{escape(path.name)}</a>'
    text = f"<p>First {len(frame)} of {rows:,} rows; all of them in {link}.</p>"
    return f"<details><summary>Table</summary>{text}{report_page.table(frame)}</details>"


def _movie(results: Results, missing: dict[str, str]) -> str:
    try:
        arrays = results.arrays("movie")
    except Missing as reason:
        missing["movie"] = str(reason)
        return paragraph(f"Not shown: {reason}.", "missing")
    path = results.folder / FIGURES / "movie.gif"
    figures_maps.write_movie(arrays["frames"], arrays["steps"], results.periods, results.scale, path)
    caption = (
        f"State of the channels (tiles) in the experiment '{arrays['experiment']}', stimulus "
        f"{int(arrays['stimulus'])}, each channel scaled to its own range. The bar below shows the time and, in orange,"
        f" when the stimulus is on ({results.scale.origin})."
    )
    link = path.relative_to(results.run).as_posix()
    body = report_page.figure(_embed(path), "", "movie of activity", caption, width=640)
    return body + f'<p><a href="{escape(link)}">movie.gif</a></p>'


def _diagnostics(results: Results, missing: dict[str, str]) -> str:
    if not results.diagnostics:
        missing["diagnostics"] = "the run has no diagnostics.json; run the stage 'diagnose'"
        return paragraph(f"Not shown: {missing['diagnostics']}.", "missing")
    drawn = figures_dynamics.diagnostics(results.diagnostics)
    cost = results.diagnostics.get("cost") or {}
    numbers = [f"{cost['gradients']:,} gradients in {short(cost['seconds'])} s on {cost['device']}"] if cost else []
    bounds = (results.diagnostics.get("stability") or {}).get("units_on_bound")
    if bounds:
        shares = ", ".join(f"{100 * share:.1f} %" for share in bounds)
        numbers.append(f"units on a bound at the end, by layer: {shares}")
    return _figure(results, picture("diagnostics", drawn, *numbers))


def _background(results: Results) -> list[tuple[str, str]]:
    record = read_json(results.run / CONFIG_FILE) or {}
    config = record.get("config") or {}
    flat = flatten(config)
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
    model = report_page.table(pd.DataFrame({"what": list(facts), "value": [str(v) for v in facts.values()]}))
    model += _training_pictures(results.run)
    rows = report_page.table(pd.DataFrame({"field": list(flat), "value": [str(value) for value in flat.values()]}))
    listed = f"<details><summary>All {len(flat)} fields</summary>{rows}</details>" if flat else ""
    return [
        ("Checkpoint and sampler", model),
        ("Config", listed or paragraph(f"The run has no {CONFIG_FILE}.", "missing")),
        ("How to do it again", _commands(results, flat)),
    ]


def _training_pictures(run: Path) -> str:
    said = {
        "samples.png": "Samples of the trained model beside held-out data, drawn by the training.",
        "curves.png": "Energies of both phases over the training.",
    }
    paths = {run / "images" / name: text for name, text in said.items()}
    shown = {path: text for path, text in paths.items() if path.is_file() and path.stat().st_size < LARGEST_PICTURE}
    return "".join(report_page.figure(_embed(path), "", path.stem, text) for path, text in shown.items())


def flags(flat: Mapping[str, Any]) -> list[str]:
    """Command-line flags that give every field of a flattened config its value."""

    def text(value: Any) -> str:
        return repr(_tuples(value)) if isinstance(value, list | tuple) else str(value)

    return [f"--config.{field}={text(value)}" for field, value in flat.items()]


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list | tuple) else value


def _commands(results: Results, flat: Mapping[str, Any]) -> str:
    run = shlex.quote(str(results.run))
    stages = "train,visualise,diagnose,record,analyse"
    again = f"python launch.py --config=configs/nrflv.py --workdir={run} --stages=analyse"
    text = "Analyse the same recordings again (with the preset, or the fields, in which the run's config differs):"
    body = f"{paragraph(text)}<pre>{escape(again)}</pre>"
    if flat:
        given = " \\\n  ".join(map(shlex.quote, flags(flat)))
        whole = f"python launch.py --config=configs/nrflv.py --workdir=NEW_FOLDER --stages={stages} \\\n  {given}"
        summary = "<summary>Everything from the start, every field given</summary>"
        body += f"<details>{summary}<pre>{escape(whole)}</pre></details>"
    return body
