"""What the factors of a study do to a number: linear models with the seeds of networks as blocks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

Levels = Mapping[str, str]  # factor: level


class Effect(NamedTuple):
    """Mean of a number at one level of a factor less that at another, other factors alike."""

    factor: str
    one: str
    other: str
    found: float
    low: float  # 95 %
    high: float
    p_value: float  # of no difference, two-sided


class Interaction(NamedTuple):
    """Whether what one factor does depends on the level of another."""

    factors: tuple[str, str]
    p_value: float  # of the F test of the model with their interaction against that without


class Fit(NamedTuple):
    """Least squares of a number on the columns of a design."""

    inverse: np.ndarray  # of the design's normal matrix
    coefficients: np.ndarray
    squares: float  # of the residuals
    free: int  # degrees of freedom of the error


def main_effects(values: np.ndarray, levels: Sequence[Levels], blocks: Sequence[str] | None = None) -> list[Effect]:
    """Differences between the levels of every factor in the linear model of main effects, Student's 95 % intervals.

    Args:
        values: (networks,) one number each; NaN is left out.
        levels: of each network, {factor: level}.
        blocks: of each network, what it shares with others beside its levels, such as a seed; None for nothing.

    Returns:
        One effect for each pair of levels of each factor; none where no degree of freedom is left for the error, or a
        level has no network.
    """
    values, levels, blocks, known = _known(values, levels, blocks)
    columns = _columns(levels, blocks, known)
    fit = _fit(values, columns)
    if fit is None:
        return []
    places = {name: place for place, name in enumerate(columns)}
    found = []
    for factor, some in known.items():
        for one, other in itertools.combinations(some, 2):
            contrast = np.zeros(len(columns))
            for level, sign in ((one, 1.0), (other, -1.0)):
                if (factor, level) in places:
                    contrast[places[factor, level]] = sign
            difference = float(contrast @ fit.coefficients)
            error = float(np.sqrt(fit.squares / fit.free * (contrast @ fit.inverse @ contrast)))
            half = float(stats.t.ppf(0.975, fit.free)) * error
            p_value = float(2 * stats.t.sf(abs(difference) / error, fit.free)) if error > 0 else float(difference == 0)
            found.append(Effect(factor, one, other, difference, difference - half, difference + half, p_value))
    return found


def interactions(values: np.ndarray, levels: Sequence[Levels], blocks: Sequence[str] | None = None):
    """F tests of every pair of factors: the model of main effects with and without their interaction.

    Args:
        values, levels, blocks: as of `main_effects`.

    Returns:
        One `Interaction` for each pair of factors that can be tested.
    """
    values, levels, blocks, known = _known(values, levels, blocks)
    columns = _columns(levels, blocks, known)
    small, found = _fit(values, columns), []
    for one, other in itertools.combinations(known, 2):
        products = {
            (*first, *second): columns[first] * columns[second]
            for first in columns if first[0] == one for second in columns if second[0] == other
        }  # fmt: skip
        large = _fit(values, columns | products)
        if not products or small is None or large is None or not large.squares > 0:
            continue
        count = small.free - large.free
        ratio = (small.squares - large.squares) / count / (large.squares / large.free)
        found.append(Interaction((one, other), float(stats.f.sf(ratio, count, large.free))))
    return found


def _known(values, levels, blocks):
    """Values that are finite with their levels and blocks, and all levels of each factor as they come."""
    values = np.asarray(values, float)
    rows = np.flatnonzero(np.isfinite(values))
    known = {factor: list(dict.fromkeys(each[factor] for each in levels)) for factor in (levels[0] if levels else ())}
    return values[rows], [levels[row] for row in rows], None if blocks is None else [blocks[row] for row in rows], known


def _columns(levels: Sequence[Levels], blocks: Sequence[str] | None, known: Mapping[str, Sequence[str]]):
    """{name: column} of zeros and ones: the mean, the blocks and the levels but the first of each factor."""
    columns = {("mean", ""): np.ones(len(levels))}
    for block in list(dict.fromkeys(blocks or ()))[1:]:
        columns["block of", block] = np.array([each == block for each in blocks], float)
    for factor, some in known.items():
        for level in some[1:]:
            columns[factor, level] = np.array([each[factor] == level for each in levels], float)
    return columns


def _fit(values: np.ndarray, columns: Mapping[tuple, np.ndarray]) -> Fit | None:
    """The fit; None where no degree of freedom is left for the error or a column is made up of others."""
    design = np.stack(list(columns.values()), axis=1)
    free = len(values) - design.shape[1]
    if free < 1 or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    inverse = np.linalg.inv(design.T @ design)
    fitted = inverse @ design.T @ values
    return Fit(inverse, fitted, float(np.sum((values - design @ fitted) ** 2)), free)
