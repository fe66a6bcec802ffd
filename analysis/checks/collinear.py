"""Do collinear patches synchronise the channels that they drive more than orthogonal patches (Gray et al. 1989)?

A static patch lies in the middle, a mobile one further along its axis, parallel or orthogonal to it. The static
channels are those that prefer the static angle; the mobile channels those that prefer the angle of *their* patch, so
that in both conditions both are driven. The statistic is the pairwise phase consistency (see `synchrony`) of static
and mobile channels at their resonance during the stimulus, above the shift predictor: mean over pairs, parallel minus
orthogonal, within each angle and distance and then over them. Resampled are trials and channels: pairs that share a
channel or a chain are not independent.

Whether both conditions drive alike is measured, not assumed: the mean response of the mobile channels, in standard
deviations, stands in the reason, and cells where only one condition drives are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.checks.resampling import interval, undecided_reason
from analysis.checks.synchrony import (
    SMALLEST,
    resonance_band,
    rhythm_of_channels,
    shifted,
    spectra_of,
    without_response,
)
from analysis.checks.verdict import ABSENT, PRESENT, UNDECIDED, Verdict, not_tested
from analysis.checks.whittle import LEAST_Q

CHECK = "collinear_synchrony"
UNIT = "phase consistency"
RESAMPLES = 300
LEAST_DRIVE = 0.25  # standard deviations of the blank: what drives less is not driven
LEAST_TRIALS = 4


class Cell(NamedTuple):
    """One angle and distance: trials of both conditions."""

    static: tuple[np.ndarray, np.ndarray]  # parallel, orthogonal: (trials, time, static channels), with the stimulus
    mobile: tuple[np.ndarray, np.ndarray]  # the same of the mobile channels
    static_numbers: np.ndarray  # (static channels,) which channels they are
    mobile_numbers: tuple[np.ndarray, np.ndarray]
    drive: tuple[float, float]  # mean response of the mobile channels, standard deviations of the blank


def collinear_synchrony(cells: Sequence[Cell], seed: int = 0) -> Verdict:
    """Judge collinear against orthogonal; `found` is the difference of phase consistency.

    Args:
        cells: angles and distances.
        seed: of the resamples.
    """
    driven = [cell for cell in cells if min(map(abs, cell.drive)) >= LEAST_DRIVE]
    driven = [cell for cell in driven if min(len(each) for each in cell.static) >= LEAST_TRIALS]
    if not driven:
        drives = "; ".join(f"{a:.2g} and {b:.2g}" for a, b in (cell.drive for cell in cells[:4]))
        reason = f"no place of the mobile patch drives channels in both conditions (responses {drives} sd)"
        return not_tested(CHECK, UNIT, reason if cells else "no channels prefer the angles of the patches")
    every = np.concatenate([_scaled(part) for cell in driven for part in (*cell.static, *cell.mobile)])
    fit, drawn, frequencies = rhythm_of_channels(every, np.ones((1, len(every))))
    if not fit.quality > LEAST_Q:
        reason = f"the driven channels have no peak in their spectra (Q {float(fit.quality):.2g})"
        return Verdict(CHECK, ABSENT, float(fit.quality), None, None, "Q", reason + ", so there is no rhythm to share")
    band = resonance_band(frequencies, float(fit.frequency))
    rng = np.random.default_rng([seed, 14])
    prepared = [_prepare(cell, band) for cell in driven]
    channels = 1 + max(int(numbers.max()) for c in driven for numbers in (c.static_numbers, *c.mobile_numbers))
    draws = []
    for number in range(RESAMPLES + 1):
        # How often each channel is drawn; the first round is the data themselves.
        often = rng.multinomial(channels, np.full(channels, 1 / channels)) if number else np.ones(channels)
        values = [
            _difference(cell, parts, often, rng if number else None)
            for cell, parts in zip(driven, prepared, strict=True)
        ]
        values = [value for value in values if np.isfinite(value)]
        draws.append(np.mean(values) if values else np.nan)
    found, drawn = float(draws[0]), np.array(draws[1:])
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size or not np.isfinite(found):
        return not_tested(CHECK, UNIT, "no pair of a static and a mobile channel is left")
    low, high = interval(drawn)
    each = min(len(part) for cell in driven for part in cell.static)
    drive = np.mean([cell.drive for cell in driven], axis=0)
    words = f"{len(driven)} places; mobile channels respond by {drive[0]:.2g} sd parallel, {drive[1]:.2g} orthogonal"
    if low > 0:
        word, reason = PRESENT, words
    elif high < SMALLEST:
        word, reason = ABSENT, f"{words}; parallel patches add less than {max(high, 0):.2g}"
    else:
        border = 0.0 if found > SMALLEST / 2 else SMALLEST
        word, reason = UNDECIDED, undecided_reason(words, each, found, low, high, border)
    details = {"places": len(driven), "drive": drive.tolist()}
    return Verdict(CHECK, word, found, low, high, UNIT, reason, details=details)


def _scaled(part: np.ndarray) -> np.ndarray:
    """Every channel as trials of one channel, (trials x channels, time, 1), mean response taken away."""
    plain = without_response(np.asarray(part, np.float64), np.zeros(len(part), int))
    return plain.transpose(0, 2, 1).reshape(-1, plain.shape[1], 1) / max(plain.std(), 1e-30)


def _prepare(cell: Cell, band: np.ndarray):
    """Per condition: phases of pairs (trials, band, static, mobile), of the same and of shifted trials."""
    prepared = []
    for condition in (0, 1):
        shown = np.zeros(len(cell.static[condition]), int)
        parts = (cell.static[condition], cell.mobile[condition])
        spectra = [spectra_of(without_response(np.asarray(part, np.float64), shown))[:, band] for part in parts]
        one, other = (each / np.maximum(np.abs(each), 1e-300) for each in spectra)
        same = one[:, :, :, None] * other[:, :, None].conj()
        prepared.append((same, one[:, :, :, None] * other[shifted(shown)][:, :, None].conj()))
    return prepared


def _difference(cell: Cell, prepared, often: np.ndarray, rng: np.random.Generator | None) -> float:
    values = []
    for condition, (same, other) in enumerate(prepared):
        count = len(same)
        weights = np.ones(count) if rng is None else rng.multinomial(count, np.full(count, 1 / count)).astype(float)
        total, own = weights.sum(), np.sum(weights**2)
        if total**2 - own <= 0:
            return np.nan
        locked = [np.abs(np.tensordot(weights, each, axes=1)) ** 2 for each in (same, other)]
        pairs = (locked[0] - locked[1]).mean(axis=0) / (total**2 - own)
        share = np.outer(often[cell.static_numbers], often[cell.mobile_numbers[condition]]).astype(float)
        # A channel with itself at two places is alike in everything, and such pairs exist in one condition only.
        itself = np.equal.outer(cell.static_numbers, cell.mobile_numbers[condition])
        if not itself.all():
            share[itself] = 0
        if share.sum() <= 0:
            return np.nan
        values.append(np.sum(share * pairs) / share.sum())
    return values[0] - values[1]
