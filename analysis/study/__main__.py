"""A sweep of recorded fields as one experiment: every network is a unit, every field that varies a factor.

    python -m analysis.study FOLDER            (or the stage `study` of launch.py)

judges the recording of `contrast_trials` of every run below a sweep's folder that has one, and leaves in FOLDER

    study.csv           a row a network: its factors, its long chains, verdict and number of each check
    study.md            tables: cells, seeds, verdicts over networks, differences from controls, effects of factors
    images/study.png    the numbers of all networks

A check gives each network one number (see `checks.networks`): a rise of the resonance over the mean frequency, 0
without one; the overshoot ratio; variance during over before; phase consistency; the speed-up over Langevin dynamics.
To them comes what the curvature of the energy says without any recording: by how much the stiffest and the median
direction change from the lowest to the highest contrast, and what was learned at all: the kurtosis of the responses of
Gabors to what long chains draw, beside that of the data and of a Gaussian in the field's coordinates.

The effect of a factor is that of its levels in the linear model of main effects over all networks, with Student's
interval; where two factors interact, the effects of one are given at each level of the other.  Networks of one seed
share patches, first weights and the noise of their recordings: seeds are a block of that model, and means over networks
have intervals over the means of seeds.  Every number is also compared with that of the same network under its controls:
what is there without inertia is no effect of the dynamics, and what shuffled weights show was not learned.  Fields
whose long chains do not agree are no samplers of anything: they are marked, and the tables are made without them too.
"""

from __future__ import annotations

import argparse
import pathlib

from analysis.study.tables import write_study
from runtime.errors import clear_errors


def main(arguments: list[str] | None = None) -> None:
    """Write what a sweep says and print where."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m analysis.study", description=__doc__, formatter_class=raw)
    parser.add_argument("folder", type=pathlib.Path, help="of a sweep whose runs were recorded")
    flags = parser.parse_args(arguments)
    with clear_errors():
        print(*write_study(flags.folder), sep="\n")


if __name__ == "__main__":
    main()
