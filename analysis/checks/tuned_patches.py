"""Two patches over tuned channels that share their noise or not: what the check of collinear synchrony must answer.

At each of two places there is one damped oscillator an orientation (see `mechanisms`); a patch drives those that prefer
its angle. A share of the noise of each comes from sources that both places have in common, one an orientation, weighted
by tuning: channels that prefer like angles then share a rhythm across places, which is what collinear synchrony would
look like. Without sources in common, or with one for all, there is none to be found, however the patches drive. The
sources are there in the blank as well: the check compares pairs of channels, and does not ask whether the stimulus
switches their synchrony on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.checks.collinear import Cell
from analysis.checks.mechanisms import oscillator_matrices
from analysis.checks.verdict import ABSENT, PRESENT

CHANNELS = 8  # orientations at each place
SHOWN = (0, 2, 4, 6)  # static angles, of the channels'
WIDTH = 0.5  # of tuning and of the weights of sources, as in exp((cos 2Δ - 1) / WIDTH)
SPEED, QUALITY = 2 * np.pi * 0.04, 3.0  # ω0, radian a step, and Q
SETTLE, BLANK, SKIP, STEPS = 100, 100, 100, 300  # steps; of the stimulus the first are skipped
DRIVE = 3.0  # standard deviations, of the best channel


class Pairing(NamedTuple):
    """What two places have in common and how they are driven."""

    truth: str
    common: str = "none"  # sources: 'none', 'like', 'all' or 'unlike'
    orthogonal: float = 1.0  # drive of the mobile patch when it is orthogonal, over that when it is parallel
    wave: float = 0.0  # amplitude of a rhythm that parallel patches start anew in each trial, of random strength


PAIRINGS: dict[str, Pairing] = {
    "tuned, nothing in common": Pairing(ABSENT),
    "tuned, nothing in common, orthogonal patches drive half as much": Pairing(ABSENT, orthogonal=0.5),
    "tuned, one source for all": Pairing(ABSENT, "all"),
    "tuned, parallel patches start a rhythm": Pairing(ABSENT, wave=1.0),
    "tuned, sources in common to unlike channels": Pairing(ABSENT, "unlike"),
    "tuned, sources in common to like channels": Pairing(PRESENT, "like"),
}
SHARE = 0.5  # of the variance of the noise that comes from common sources


def make_cells(rng: np.random.Generator, pairing: Pairing, each: int = 16) -> list[Cell]:
    """Trials of every static angle, the mobile patch parallel and orthogonal to it.

    Args:
        rng: of the noise.
        pairing: what is in common, and what is driven.
        each: trials of a condition.
    """
    sources = common_sources(pairing.common)
    cells = []
    for angle in SHOWN:
        parts = []
        for mobile, drive in ((angle, 1.0), (angle + CHANNELS // 2, pairing.orthogonal)):
            mean = DRIVE * np.concatenate([tuning(angle), drive * tuning(mobile)])
            values = simulate(rng, sources, mean, each)
            if pairing.wave and mobile == angle:
                strength = pairing.wave * (1 + 0.5 * rng.standard_normal(each))
                values[:, BLANK:] += (strength[:, None] * np.sin(SPEED * np.arange(SKIP + STEPS)))[:, :, None]
            parts.append((values, np.flatnonzero(tuning(mobile % CHANNELS) > 0.5)))
        still = np.flatnonzero(tuning(angle) > 0.5)
        late = slice(BLANK + SKIP, None)
        cells.append(
            Cell(
                tuple(values[:, late, still] for values, _ in parts),
                tuple(values[:, late, CHANNELS + moving] for values, moving in parts),
                still,
                tuple(moving for _, moving in parts),
                tuple(_response(values[:, :, CHANNELS + moving]) for values, moving in parts),
            )
        )
    return cells


def tuning(angle: int) -> np.ndarray:
    """Response of the channels of a place to an angle, given as the number of the channel that prefers it."""
    difference = np.pi * (np.arange(CHANNELS) - angle) / CHANNELS
    return np.exp((np.cos(2 * difference) - 1) / WIDTH)


def common_sources(kind: str) -> np.ndarray:
    """Weights (2 n, n) of the common sources in the noise of every channel, the first place before the second.

    Rows have unit length, or are 0 where nothing is in common.
    """
    like = np.stack([tuning(angle) for angle in range(CHANNELS)])
    like /= np.linalg.norm(like, axis=1, keepdims=True)
    alike = np.full_like(like, CHANNELS**-0.5)
    pairs = {
        "none": (0 * like, 0 * like), "like": (like, like), "all": (alike, alike),
        "unlike": (like, np.roll(like, CHANNELS // 2, axis=1)),
    }  # fmt: skip
    return np.concatenate(pairs[kind])


def simulate(rng: np.random.Generator, sources: np.ndarray, mean: np.ndarray, count: int) -> np.ndarray:
    """Trials (count, BLANK + SKIP + STEPS, 2 n) of oscillators that the stimulus asks for a mean (2 n,)."""
    forward, root = (each[0] for each in oscillator_matrices(np.array([SPEED]), QUALITY))
    size, private = len(sources), np.sqrt(1 - SHARE * (sources**2).sum(axis=1))
    state = rng.standard_normal((count, size, 2))
    result = np.empty((count, BLANK + SKIP + STEPS, size))
    for time in range(-SETTLE, BLANK + SKIP + STEPS):
        common = np.einsum("ck,nkj->ncj", np.sqrt(SHARE) * sources, rng.standard_normal((count, CHANNELS, 2)))
        noise = common + private[:, None] * rng.standard_normal(state.shape)
        centre = np.stack([mean * (time >= BLANK), 0 * mean], axis=1)
        state = (state - centre) @ forward.T + centre + noise @ root.T
        if time >= 0:
            result[:, time] = state[:, :, 0]
    return result


def _response(values: np.ndarray) -> float:
    """Mean response in standard deviations of the blank."""
    blank = values[:, :BLANK]
    return float((values[:, BLANK + SKIP :].mean() - blank.mean()) / blank.std())
