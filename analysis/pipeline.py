"""The whole analysis of a run: recordings in, arrays, tables, verdicts and report out.

`analyse(config, workdir)` runs the steps below over the recordings of a run and leaves what they made in
`workdir/analysis/layerL/` (see `analysis.results`), then writes the report. A step that is finished is not made again;
a killed analysis goes on with the step, or the block of a long step, that it was at. A step that lacks a recording, or
whose recording cannot show what it looks for, is left out, and the report says why.
"""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Callable, Mapping

from analysis.formulas import choose
from analysis.load import Experiment, NotTestable, open_experiment
from analysis.report.build import write_report
from analysis.results import RESULTS, Store
from analysis.steps import dynamics, responses, synchrony
from analysis.steps.run import Options, Outcome, Run
from analysis.steps.verdicts import check_physiology, measure_trials
from recordings.format import mark_files
from recordings.names import CONTROL_MARK, KNOWN, LINE, PATCHES, PRIMARY, REPEATED, TRIALS
from recordings.periods import TimeScale
from recordings.reading import list_recordings, recording_folder
from runtime.errors import ConfigError
from runtime.metrics import Progress

VERSION = 2  # of the results: those of another version are made anew

STEPS: dict[str, Callable[[Run], Outcome]] = {
    "preferences": responses.find_preferences,
    "spectra": dynamics.find_spectra,
    "oscillations": responses.find_oscillations,
    "transients": dynamics.find_transients,
    "traces": dynamics.find_traces,
    "lag": dynamics.find_lag,
    "movie": responses.make_movie,
    "synchrony_overlapping": synchrony.overlapping_fields,
    "synchrony_patches": synchrony.two_patches,
    "synchrony_line": synchrony.long_stimulus,
}

# Steps that work block by block, and the experiments that they read.
LONG = {"synchrony_overlapping": REPEATED, "synchrony_patches": PATCHES, "synchrony_line": LINE}


def analyse(config, workdir: str | pathlib.Path) -> pathlib.Path:
    """Analyse the recordings of a run and write its report; returns the report's path.

    Args:
        config: whole config of the run; the group `analyse` says how, `seed` seeds resampling and surrogates.
        workdir: run folder with recordings.

    Raises:
        ConfigError: there are no recordings, or a field of config.analyse cannot be used.
        RecordingError: a recording is of another version, unfinished or damaged.
        ResultsError: results cannot be written.
    """
    options, folder = read_options(config), pathlib.Path(workdir)
    names = list_recordings(folder)
    if not names:
        raise ConfigError(f"{folder} holds no recordings; run the stage 'record' there first")
    layer = config.analyse.layer
    opened = {name: open_experiment(folder, name, layer) for name in names}
    layer = next(iter(opened.values())).layer
    about = describe(opened, layer, options)
    about["fingerprint"] = fingerprint(folder, names)
    store = Store(folder / RESULTS / f"layer{layer}", about)
    known = {name: open_experiment(folder / KNOWN, name) for name in list_recordings(folder / KNOWN)}
    run_steps(opened, store, options, about, known)
    return write_report(folder, layer)


def draw_report(config, workdir: str | pathlib.Path) -> pathlib.Path:
    """Draw the report of what was analysed, without analysing anything; returns its path.

    Args:
        config: whole config of the run; `analyse.layer` says which layer, None for the first one analysed.
        workdir: run folder with an analysis.

    Raises:
        ConfigError: nothing was analysed there.
    """
    folder, layer = pathlib.Path(workdir), config.analyse.layer
    if layer is None:
        analysed = sorted(int(path.name.removeprefix("layer")) for path in (folder / RESULTS).glob("layer[0-9]*"))
        if not analysed:
            raise ConfigError(f"{folder} holds no analysis; run the stage 'analyse' there first")
        layer = analysed[0]
    return write_report(folder, layer)


def read_options(config) -> Options:
    """Options of config.analyse; ConfigError names a field that cannot be used."""
    group = config.analyse
    for field, low, high in (("level", 1e-6, 0.5), ("surrogates", 19, 1e6), ("resamples", 100, 1e7)):
        if not low <= group[field] <= high:
            raise ConfigError(f"config.analyse.{field} is {group[field]}; it must lie between {low:g} and {high:g}")
    if group.calibrate_hertz <= 0:
        raise ConfigError(f"config.analyse.calibrate_hertz is {group.calibrate_hertz}; it must be above 0")
    fields = {name: group[name] for name in Options._fields if name != "seed"}
    return Options(**fields, seed=config.seed)


def describe(opened: dict[str, Experiment], layer: int, options: Options) -> dict:
    """What is analysed and how, as the results keep it."""
    first = opened.get(PRIMARY) or next(iter(opened.values()))
    return {
        "version": VERSION,
        "layer": layer,
        "channels": first.channels,
        "size": list(first.size),
        "periods": list(first.periods),
        "experiments": {name: dict(experiment.about) for name, experiment in opened.items()},
        **options._asdict(),
        "wording": choose(options.compat).wording._asdict(),
    }


def fingerprint(folder: pathlib.Path, names: list[str]) -> str:
    """A digest of all recorded blocks: results made from other recordings are made anew."""
    digest = hashlib.sha256()
    for name in names:
        for mark in mark_files(recording_folder(folder, name)):
            digest.update(mark.read_bytes())
    return digest.hexdigest()


def run_steps(
    opened: dict[str, Experiment],
    store: Store,
    options: Options,
    about: dict,
    known: Mapping[str, Experiment] | None = None,
) -> None:
    """Run what is missing of all steps and the checks.

    Args:
        opened: experiments by name, whatever their arrays come from.
        store: where results go.
        options: of the analysis.
        about: what is analysed, see `describe`.
        known: recordings of the system with known answers, judged beside them.
    """

    def open_one(name: str) -> Experiment:
        if name not in opened:
            raise NotTestable(f"the experiment '{name}' was not recorded; add it to config.record.experiments")
        return opened[name]

    steps = {f"activity_{name}": _activity_of(name) for name, e in opened.items() if _has_blank(name, e)} | STEPS
    formulas = choose(options.compat)
    found = {step: name for step, name in LONG.items() if name in opened}
    blocks = {step: synchrony.number_of_blocks(opened[name], formulas) for step, name in found.items()}
    total, done = len(steps) + 1 + sum(blocks.values()), 0
    skipped: dict[str, str] = {}
    with Progress(total, 0, "analysing") as progress:
        label = ""

        def tick() -> None:
            nonlocal done
            done += 1
            progress.update(done, label)

        run = Run(open_one, tuple(opened), store, options, formulas, time_scale(opened), known or {}, tick)
        if options.calibrate_at is not None:
            run = run._replace(scale=dynamics.calibrated_scale(run, options.calibrate_at, options.calibrate_hertz))
        for label, step in steps.items():
            planned = done + blocks.get(label, 0)
            if not store.done(label):
                try:
                    store.write(label, *step(run))
                except NotTestable as error:
                    skipped[label] = str(error)
            done = planned
            tick()
        label = "checks"
        store.write_json("checks.json", check_physiology(run))
        store.write_json("measured.json", measure_trials(run))
        tick()
    body = {**about, "skipped": skipped, "ms_per_step": run.scale.ms_per_step, "origin": run.scale.origin}
    store.write_json("about.json", body)


def time_scale(opened: Mapping[str, Experiment]) -> TimeScale:
    """What a step is worth: what a recording says of itself, or else the convention."""
    said = [each.about["ms_per_step"] for each in opened.values() if "ms_per_step" in each.about]
    return TimeScale(said[0], f"1 step = {said[0]:g} ms") if said else TimeScale()


def _activity_of(name: str) -> Callable[[Run], Outcome]:
    return lambda run: responses.find_activity(run, name)


def _has_blank(name: str, experiment: Experiment) -> bool:
    # Of the trials the checks read traces alone.
    return CONTROL_MARK not in name and name != TRIALS and experiment.periods.blank + experiment.periods.blank_after > 0
