"""Run an experiment.

    python launch.py --config=configs/nrflv.py[:PRESET] [--config.FIELD=VALUE ...] [--workdir=FOLDER] [--stages=train]
    python launch.py --config=configs/v1/exp_1_2_4.py [--executor=dask --executor-options=workers=2]
    python launch.py --config=configs/v1/exp_1_2_4.py --describe[=json]           what would run, nothing computed

The config says what is computed and to which package it belongs; this file only reads flags and calls the stages.  A
config with lists of values is a sweep, whose runs go to the executor: local, dask, slurm, sge or pbs.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

from runtime import devices
from runtime.config import ConfigError, clear_errors, default_name, did_you_mean, load_config, split_flags
from runtime.executors import OPTIONS
from runtime.sweeps import check_executor, finished_runs, is_sweep, train_sweep


def import_(config, workdir, flags) -> None:
    """Make a run folder of a model that was trained elsewhere."""
    from nrf.training import import_weights as run

    print(f"imported into {run(config, workdir)}")


def train(config, workdir, flags) -> bool:
    """Train the model, or all runs of a sweep, and say where everything is; returns whether a sweep came to an end."""
    from nrf import sweeps
    from nrf.training import summary
    from nrf.training import train as run

    if not is_sweep(config):
        print(summary(workdir, run(config, workdir)))
        return True
    finished = train_sweep(
        config, workdir, sweeps.train_members, sweeps.program, flags.executor, flags.executor_options
    )
    print("runs side by side in", *sweeps.report(workdir), sep="\n  ")
    return finished


def visualise(config, workdir, flags) -> None:
    """Draw what the trained model samples and what its channels like."""
    from nrf.visualisation import visualise as run

    print("drew", *run(config, workdir), sep="\n  ")


def record(config, workdir, flags) -> None:
    """Show the trained model stimuli and record its activity, beside what its curvature predicts."""
    from nrf.experiments import record as run
    from nrf.predictions import predict_recording

    predict_recording(config, workdir)
    print("recorded", *run(config, workdir).values(), sep="\n  ")


def record_known(config, workdir, flags) -> None:
    """Record the system with known answers and its controls."""
    from nrf.known.recording import record as run

    print("recorded", *run(config, workdir).values(), sep="\n  ")


def analyse(config, workdir, flags) -> None:
    """Analyse the recordings and write the report."""
    from analysis.pipeline import analyse as run

    print(f"report in {run(config, workdir)}")


def diagnose(config, workdir, flags) -> None:
    """Measure how well the chains mix and what the energy tells apart."""
    from nrf.diagnostics import diagnose as run

    run(config, workdir)
    print(f"numbers in {workdir / 'diagnostics.json'}")


def score(config, workdir, flags) -> None:
    """Judge the trained model as a density of images, beside simple models."""
    from nrf.score.scorecard import score as run

    table = run(config, workdir)
    if len(table):
        print(table.T.round(3).to_string(), f"\ntable and figure in {workdir / 'score'}")


def fit(config, workdir, flags) -> bool:
    """Fit models of V1: one run, or all runs of a sweep; returns whether they came to an end."""
    from v1models.experiment import shared_program
    from v1models.run import train_together

    if not is_sweep(config):
        return train_together([config], [workdir])[0]["finished"]
    return train_sweep(config, workdir, train_together, shared_program, flags.executor, flags.executor_options)


def report(config, workdir, flags) -> None:
    """Tables, figures and a page of fitted models."""
    from analysis.fits.runs import write_report

    print(write_report(workdir))


def compare(config, workdir, flags) -> None:
    """Compare families of models on a recording with repeats."""
    from v1models.leaderboard import compare as run

    print(run(config, workdir).query("recording == 'all'").to_string(index=False))


def show(config, workdir, flags) -> None:
    """Figures and a page of a leaderboard."""
    from analysis.fits.leaderboard import write_page

    print(write_page(workdir))


def figures(config, workdir, flags) -> None:
    """Figures of runs of several folders."""
    from analysis.fits.comparison import draw_all

    print(draw_all(config, workdir))


def describe(config, form: str) -> str:
    """What a config would train, without computing: a table for people, or JSON lines."""
    from runtime.describe import as_json, as_table

    package = config.get("package", "nrf")
    if package == "nrf":
        from nrf.describe import describe as records
    elif package == "v1models":
        from v1models.describe import describe as records
    else:
        raise ConfigError(f"--describe knows configs that train networks, and this one belongs to '{package}'")
    return as_json(records(config)) if form == "json" else as_table(records(config))


# Stages of each package, and those that run where --stages does not say otherwise.
STAGES = {
    "nrf": {
        "import": import_, "train": train, "visualise": visualise, "record": record, "analyse": analyse,
        "diagnose": diagnose, "score": score,
    },
    "v1models": {"train": fit, "report": report},
    "known": {"record": record_known, "analyse": analyse},
    "leaderboard": {"train": compare, "report": show},
    "figures": {"report": figures},
}
DEFAULT_STAGES = {
    "nrf": ["train"],
    "known": ["record", "analyse"],
    "v1models": ["train", "report"],
    "leaderboard": ["train", "report"],
    "figures": ["report"],
}


# Stages that take a sweep as a whole; the others take its runs one by one.
WHOLE = ("train", "report")


def make_parser() -> argparse.ArgumentParser:
    """All flags beside --config and its fields."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="launch.py", description=__doc__, formatter_class=raw)
    parser.add_argument("--workdir", type=pathlib.Path, help="run folder (default: runs/ and the config's name)")
    parser.add_argument("--stages", help="train, visualise, record, analyse, diagnose, score; or train, report")
    parser.add_argument("--executor", default="local", help=f"where a sweep's runs go: {', '.join(OPTIONS)}")
    parser.add_argument("--executor-options", default="", help="KEY=VALUE,… of the executor, see runtime/executors.py")
    parser.add_argument("--describe", nargs="?", const="table", choices=("table", "json"), help="say what would run")
    return parser


def main(arguments: list[str]) -> None:
    spec, overrides, others = split_flags(arguments)
    flags = make_parser().parse_args(others)
    if spec is None:
        raise ConfigError("no config was given: write --config=configs/nrflv.py, with :PRESET behind it if you like")
    config = load_config(spec, overrides)
    if flags.describe:
        if vars(flags) | {"describe": None} != vars(make_parser().parse_args([])):
            raise ConfigError("--describe computes nothing, so other flags than --config do nothing; leave them out")
        print(describe(config, flags.describe))
        return
    package = config.get("package", "nrf")
    known, stages = STAGES[package], DEFAULT_STAGES[package] if flags.stages is None else flags.stages.split(",")
    for stage in stages:
        if stage not in known:
            raise ConfigError(f"--stages names '{stage}'{did_you_mean(stage, known)}")
    check_executor(config, stages, flags.executor, flags.executor_options)
    workdir = flags.workdir or pathlib.Path("runs") / default_name(spec)
    devices.initialize()
    devices.enable_compilation_cache(workdir.parent / ".compiled")
    print(f"{spec} in {workdir} on {devices.describe()}", flush=True)
    for stage in stages:
        alone = stage in WHOLE or not is_sweep(config)
        for member, folder in [(config, workdir)] if alone else finished_runs(config, workdir):
            if known[stage](member, folder, flags) is False:
                return


if __name__ == "__main__":
    with clear_errors():
        main(sys.argv[1:])
