"""The figure of a sweep of recorded fields: a panel a number, a point a network."""

from __future__ import annotations

import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.checks.networks import UNITS
from analysis.report.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, WIDTH, new_figure, style_axes
from recordings.names import SHUFFLED
from runtime.files import write_figure

COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
MARKS = "osD^vP"
# Levels whose value in a config says little: (factor, level): its name in the figure.
NAMES = {
    ("name", "natural"): "natural", ("name", "natural_scrambled"): "scrambled", ("name", "natural_white"): "white",
    ("mixing", "separate"): "additive", ("mixing", "joint"): "joint",
    ("contrast", "None"): "kept", ("contrast", "0.2"): "stretched",
}  # fmt: skip


def draw_study(networks: Sequence[Any], shown: Mapping[str, str], path: pathlib.Path) -> None:
    """Draw the numbers of all networks against the first factor; colour is the second, shape the third.

    Hollow points are networks whose chains are not stationary, grey crosses the same networks with their weights
    shuffled, a dashed line is the threshold of a check.

    Args:
        networks: `study.Network`s, of at least one factor.
        shown: numbers to draw, with their titles.
        path: of the file.
    """
    factors = list(networks[0].levels) or ["run"]
    known = [list(dict.fromkeys(each.levels.get(factor, "") for each in networks)) for factor in factors]
    columns = -(-len(shown) // 2)
    figure = new_figure(WIDTH, 5.6)
    axes = np.atleast_1d(figure.subplots(2, columns)).ravel()
    for axis, (key, title) in zip(axes, shown.items(), strict=False):
        style_axes(axis, factors[0], "", "\n".join(textwrap.wrap(title, 24)))
        for each in networks:
            place, colour, mark = _look(each, factors, known)
            axis.plot(place, each.numbers[key], MARKS[mark % len(MARKS)], color=COLOURS[colour % len(COLOURS)], ms=4.5,
                      mfc=None if each.stationary else "none", alpha=0.9)  # fmt: skip
            if key in each.controls.get(SHUFFLED, {}):
                axis.plot(place, each.controls[SHUFFLED][key], "x", color=GREY, ms=3.5, zorder=0)
        if key in UNITS:
            axis.axhline(UNITS[key].threshold, color=GREY, lw=0.8, ls="--")
        ticks = [NAMES.get((factors[0], level), level.replace("_", "\n")) for level in known[0]]
        axis.set_xticks(range(len(known[0])), ticks, fontsize=7)
        axis.set_xlim(-0.6, len(known[0]) - 0.4)
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    handles = [
        axes[0].plot([], [], "o", color=COLOURS[place % len(COLOURS)], label=_name(factors[1], level))[0]
        for place, level in enumerate(known[1] if len(factors) > 1 else ())
    ]
    handles += [
        axes[0].plot([], [], MARKS[place % len(MARKS)], color=GREY, label=_name(factors[2], level))[0]
        for place, level in enumerate(known[2] if len(factors) > 2 else ())
    ]
    if not all(each.stationary for each in networks):
        handles.append(axes[0].plot([], [], "o", color=GREY, mfc="none", label="chains not stationary")[0])
    if any(SHUFFLED in each.controls for each in networks):
        handles.append(axes[0].plot([], [], "x", color=GREY, label="the same with shuffled weights")[0])
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
    write_figure(path, figure, dpi=110)


def _name(factor: str, level: str) -> str:
    return NAMES.get((factor, level), f"{factor} {level}")


def _look(network: Any, factors: Sequence[str], known: Sequence[Sequence[str]]) -> tuple[float, int, int]:
    numbers = [levels.index(network.levels.get(factor, "")) for factor, levels in zip(factors, known, strict=True)]
    numbers += [0] * (3 - len(numbers))
    shades = [len(levels) for levels in known] + [1] * 3
    aside = (numbers[1] + 0.5) / shades[1] - 0.5
    return numbers[0] + 0.6 * aside + 0.1 * (numbers[2] - (shades[2] - 1) / 2), numbers[1], numbers[2]
