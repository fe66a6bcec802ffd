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
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import analysis.stages as analysis_stages
import nrf.stages as nrf_stages
import v1models.stages as v1_stages
from runtime import devices
from runtime.config import default_name, load_config, split_flags
from runtime.describe import as_json, as_table
from runtime.errors import ConfigError, clear_errors, did_you_mean
from runtime.executors import OPTIONS
from runtime.idle import check_file, check_used
from runtime.sweeps import check_executor, finished_runs, is_sweep


class Package(NamedTuple):
    """What configs of a package can be asked for."""

    stages: Mapping[str, Callable]
    default: Sequence[str]  # stages that run where --stages does not say otherwise
    idle: Callable  # which fields do nothing, given a config and the stages
    describe: Callable | None = None


PACKAGES = {
    "nrf": Package(
        {"import": nrf_stages.import_, "train": nrf_stages.train, "visualise": nrf_stages.visualise,
         "record": nrf_stages.record, "analyse": analysis_stages.analyse, "diagnose": nrf_stages.diagnose,
         "score": nrf_stages.score, "respond": nrf_stages.respond, "study": analysis_stages.study},
        ("train",), nrf_stages.idle, nrf_stages.describe,
    ),
    "known": Package(
        {"record": nrf_stages.record_known, "analyse": analysis_stages.analyse, "report": analysis_stages.report_again},
        ("record", "analyse"), nrf_stages.idle_known,
    ),
    "v1models": Package(
        {"train": v1_stages.fit, "report": analysis_stages.report}, ("train", "report"), v1_stages.idle,
        v1_stages.describe,
    ),
    "leaderboard": Package(
        {"train": v1_stages.compare, "report": analysis_stages.show}, ("train", "report"), v1_stages.idle_leaderboard
    ),
    "variability": Package(
        {"train": v1_stages.assess, "report": analysis_stages.show_variability}, ("train", "report"),
        v1_stages.idle_variability,
    ),
    "figures": Package({"report": analysis_stages.figures}, ("report",), analysis_stages.idle_figures),
}  # fmt: skip
# Stages that take a sweep as a whole; the others take its runs one by one.
WHOLE = ("import", "train", "report", "study")


def make_parser() -> argparse.ArgumentParser:
    """All flags beside --config and its fields."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="launch.py", description=__doc__, formatter_class=raw)
    parser.add_argument("--workdir", type=pathlib.Path, help="run folder (default: runs/ and the config's name)")
    stages = "; ".join(f"{package}: {', '.join(known.stages)}" for package, known in PACKAGES.items())
    parser.add_argument("--stages", help=f"what to do, one after another ({stages})")
    parser.add_argument("--executor", default="local", help=f"where a sweep's runs go: {', '.join(OPTIONS)}")
    parser.add_argument("--executor-options", default="", help="KEY=VALUE,… of the executor, see runtime/executors.py")
    parser.add_argument("--describe", nargs="?", const="table", choices=("table", "json"), help="say what would run")
    return parser


def main(arguments: list[str]) -> None:
    spec, overrides, others = split_flags(arguments)
    flags = make_parser().parse_args(others)
    if spec is None:
        raise ConfigError("no config was given: write --config=configs/nrflv.py, with :PRESET behind it if you like")
    devices.initialize()  # first: a config that is a run folder, and the checks below, load packages that start JAX
    config = load_config(spec, overrides)
    name, workdir = config.get("package", "nrf"), flags.workdir or pathlib.Path("runs") / default_name(spec)
    if name not in PACKAGES:
        raise ConfigError(f"{spec}: config.package is '{name}'{did_you_mean(name, PACKAGES)}")
    package = PACKAGES[name]
    check_file(spec, config, list(package.stages), package.idle, workdir)
    if flags.describe:
        if vars(flags) | {"describe": None} != vars(make_parser().parse_args([])):
            raise ConfigError("--describe computes nothing, so other flags than --config do nothing; leave them out")
        if package.describe is None:
            raise ConfigError(f"--describe knows configs that train networks, and this one belongs to '{name}'")
        check_used(config, overrides, list(package.stages), package.idle, workdir)
        print({"json": as_json, "table": as_table}[flags.describe](package.describe(config)))
        return
    stages = package.default if flags.stages is None else flags.stages.split(",")
    for stage in stages:
        if stage not in package.stages:
            raise ConfigError(f"--stages names '{stage}'{did_you_mean(stage, package.stages)}")
    check_executor(config, stages, flags.executor, flags.executor_options)
    check_used(config, overrides, stages, package.idle, workdir)
    devices.enable_compilation_cache(workdir.parent / ".compiled")
    if pathlib.Path(spec).is_dir():
        nrf_stages.adopt(spec, workdir)
    print(f"{spec} in {workdir} on {devices.describe()}", flush=True)
    for stage in stages:
        alone = stage in WHOLE or not is_sweep(config)
        for member, folder in [(config, workdir)] if alone else finished_runs(config, workdir):
            if package.stages[stage](member, folder, flags) is False:
                return


if __name__ == "__main__":
    with clear_errors():
        main(sys.argv[1:])
