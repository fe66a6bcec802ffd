"""Run an experiment.

    python launch.py --config=configs/nrflv.py[:PRESET] [--config.FIELD=VALUE ...] [--workdir=FOLDER] [--stages=train]

The config says what is computed and to which package it belongs; this file only reads flags, freezes the config and
calls the stages.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

from runtime import devices
from runtime.config import ConfigError, clear_errors, did_you_mean, load_config, split_flags


def train(config, workdir) -> None:
    """Train the model and say where everything is."""
    from nrf.training import train as run

    metrics = run(config, workdir)
    gap, distance = metrics.get("energy/gap"), metrics.get("samples/spectrum_distance")
    print(f"\ntrained for {config.train.updates} updates in {workdir}")
    if gap is not None:
        print(f"  energy gap {gap:+.4f} per pixel; amplitude spectra: samples {distance:.2f} from the data,", end=" ")
        print(f"white noise {metrics['samples/noise_distance']:.2f}")
    print(f"  look at      {workdir / 'images' / 'samples.png'} and curves.png beside it")
    print(f"  numbers in   {workdir / 'metrics.jsonl'}; curves: tensorboard --logdir {workdir}")
    print(f"  weights in   {workdir / 'checkpoints'}")
    print("  try next     a longer run: the same command with --config.train.updates=2000 goes on from here")


STAGES = {"train": train}


def main(arguments: list[str]) -> None:
    spec, overrides, others = split_flags(arguments)
    parser = argparse.ArgumentParser(
        prog="launch.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=pathlib.Path, help="run folder (default: runs/ and the config's name)")
    parser.add_argument("--stages", default="train", help=f"comma-separated, of: {', '.join(STAGES)}")
    flags = parser.parse_args(others)
    if spec is None:
        raise ConfigError("no config was given: write --config=configs/nrflv.py, with :PRESET behind it if you like")
    config = load_config(spec, overrides)
    stages = flags.stages.split(",")
    for stage in stages:
        if stage not in STAGES:
            raise ConfigError(f"--stages names '{stage}'{did_you_mean(stage, STAGES)}")
    workdir = flags.workdir or pathlib.Path("runs") / default_name(spec)
    devices.initialise()
    devices.enable_compilation_cache(workdir.parent / ".compiled")
    print(f"{spec} in {workdir} on {devices.describe()}")
    for stage in stages:
        STAGES[stage](config, workdir)


def default_name(spec: str) -> str:
    """Name of the run folder of a config: its file's name and the preset."""
    path, _, preset = spec.partition(".py")
    return "-".join(part for part in (pathlib.Path(path).name, preset.lstrip(":")) if part)


if __name__ == "__main__":
    with clear_errors():
        main(sys.argv[1:])
