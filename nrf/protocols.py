"""What is shown to the model while it is recorded: images over time, and the sites whose traces are kept.

    a stimulus set   burn-in on data images, a blank (the mean training image), the stimulus, the blank again; the image
                     layer is clamped throughout and the chains keep their state and momentum
    observe          natural images, held for the whole recording
    free             no image: every layer moves, from noise

Sites are places of the image; a layer of another size has them at floor(place × layer size / image size).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from nrf.energy import EnergyModel
from nrf.stimuli import STIMULUS_SETS, as_presented, make_stimuli
from nrf.update import to_states
from runtime.config import ConfigError, did_you_mean
from runtime.images import ImageSet

OBSERVE, FREE = "observe", "free"
EXPERIMENTS = (*STIMULUS_SETS, OBSERVE, FREE)
# Offsets from the middle along a long stimulus, pixels: dense in the middle, where correlations are strong.
LINE = tuple(sorted({*range(-7, 8), *range(-15, -8, 2), *range(9, 16, 2)}))


class Periods(NamedTuple):
    """Steps of each period, in their order of time."""

    burn_in: int
    blank: int
    stimulus: int
    blank_after: int

    @property
    def boundaries(self) -> tuple[int, int, int]:
        """First steps of the blank, of the stimulus and of the last blank."""
        return self.burn_in, self.burn_in + self.blank, self.burn_in + self.blank + self.stimulus

    @property
    def total(self) -> int:
        """Steps of the whole recording."""
        return sum(self)

    def segments(self) -> dict[str, tuple[slice, ...]]:
        """Stretches of time during the stimulus and outside it (the burn-in is neither); empty ones are left out."""
        blank, onset, offset = self.boundaries
        periods = {"during": ((onset, offset),), "outside": ((blank, onset), (offset, self.total))}
        kept = {name: tuple(slice(a, b) for a, b in parts if b > a) for name, parts in periods.items()}
        return {name: parts for name, parts in kept.items() if parts}


class Protocol(NamedTuple):
    """One experiment, ready to be shown; images are states of the image layer, float32."""

    name: str
    images: np.ndarray  # (stimuli, H, W, C)
    burn_in_images: np.ndarray  # (stimuli, H, W, C)
    blank: np.ndarray  # (H, W, C)
    table: dict[str, np.ndarray]  # columns of length `stimuli`
    periods: Periods
    clamped: bool  # whether the image layer is held
    sites: np.ndarray  # (stimuli, sites, 2) int, row and column in the image


def make_protocol(name: str, config: ConfigDict, images: ImageSet, model: EnergyModel) -> Protocol:
    """The experiment `name` of config.record.

    images: grey levels in [0, 1]; the mean training image is the blank and the base of all stimuli.  Raises ConfigError
    for an unknown experiment and for options that its stimulus set does not have or that do not fit the image.
    """
    record = config.record
    if name not in EXPERIMENTS:
        raise ConfigError(f"config.record.experiments names '{name}'{did_you_mean(name, EXPERIMENTS)}")
    base = images.train.mean(axis=0)
    size = base.shape[0]
    if name in (OBSERVE, FREE):
        count = record.num_images
        shown, table = images.test[np.arange(count) % len(images.test)], {"image": np.arange(count) % len(images.test)}
        periods, sites = Periods(0, 0, record.observe_steps, 0), patch(size, record.patch)
    else:
        options = dict(record.sets[name].items()) if name in record.sets else {}
        try:
            stimuli = make_stimuli(name, base, **options)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"config.record.sets.{name}: {error}") from None
        shown, table = as_presented(stimuli.images), stimuli.table
        periods = Periods(record.burn_in, record.blank, record.stimulus, record.blank_after)
        sites = sites_of_set(name, table, size, record.patch)
    draw = np.random.default_rng([config.seed, EXPERIMENTS.index(name)])
    # Without a burn-in the chains start on the image itself.
    burn_in = shown if periods.burn_in == 0 else images.train[draw.integers(len(images.train), size=len(shown))]
    parts = (shown, burn_in, as_presented(base))
    presented = [np.asarray(to_states(part, model, config.data.rescale), np.float32) for part in parts]
    sites = np.broadcast_to(sites, (len(shown), *sites.shape[-2:])).astype(np.int16)
    return Protocol(name, *presented, table, periods, name != FREE, sites)


def sites_of_set(name: str, table: dict[str, Any], size: int, radius: int) -> np.ndarray:
    """Sites that the analyses of a stimulus set read: (sites, 2), or (stimuli, sites, 2) if they differ.

    The middle and the mobile patch; the middle and places along a long stimulus; otherwise a patch around the middle
    (`just_angle`, whose traces nobody reads: the middle alone).
    """
    if "row_offset" in table:
        mobile = size // 2 + np.stack([table["row_offset"], table["column_offset"]], axis=1)
        return np.stack([np.full_like(mobile, size // 2), mobile], axis=1)
    if name == "long_just_fewangles":
        return np.stack([line(float(angle), size) for angle in table["angle"]])
    return patch(size, 0 if name == "just_angle" else radius)


def patch(size: int, radius: int) -> np.ndarray:
    """Places up to `radius` pixels from the middle, row by row: ((2 radius + 1)², 2)."""
    around = size // 2 + np.arange(-radius, radius + 1)
    return np.stack(np.meshgrid(around, around, indexing="ij"), axis=-1).reshape(-1, 2)


def line(angle: float, size: int) -> np.ndarray:
    """Places along a long stimulus through the middle, at a right angle to its carrier: (sites, 2).

    The direction (-sin, cos) of (row, column) is rounded to a multiple of 45°.
    """
    octant = round(angle / (np.pi / 4)) % 8
    direction = np.rint([-np.sin(octant * np.pi / 4), np.cos(octant * np.pi / 4)]).astype(int)
    farthest = min(size // 2, size - 1 - size // 2)
    offsets = np.array([offset for offset in LINE if abs(offset) <= farthest])
    return size // 2 + offsets[:, None] * direction


def in_layer(sites: np.ndarray, image: tuple[int, int], layer: tuple[int, int]) -> np.ndarray:
    """Sites of the image in a layer of another size."""
    return (sites * np.asarray(layer) // np.asarray(image)).astype(np.int16)
