"""What is shown to the model while it is recorded: images over time, and the sites whose traces are kept.

    a stimulus set   burn-in on data images, a blank (the mean training image), the stimulus, the blank again (but for
                     contrast_trials); the image layer is clamped throughout, chains keep their state and momentum
    observe          natural images, held for the whole recording
    free             no image: every layer moves, from noise

The contrast of each stimulus is measured from the image that is shown (Michelson's) and stands in the table.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from nrf.image_space import ImageSpace
from nrf.stimuli import STIMULUS_SETS, StimulusSet, as_presented, make_stimuli, michelson_contrast
from recordings.names import FREE, LINE, OBSERVE, TRIALS, TUNING
from recordings.periods import Periods
from recordings.sites import along, patch
from runtime.errors import ConfigError, did_you_mean
from runtime.images import ImageSet

EXPERIMENTS = (*STIMULUS_SETS, OBSERVE, FREE)


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
    stimuli: StimulusSet | None = None  # as shown, in grey levels; None for natural images and none


def make_protocol(name: str, config: ConfigDict, images: ImageSet, space: ImageSpace) -> Protocol:
    """Make the experiment `name` of config.record.

    Args:
        name: a stimulus set, 'observe' or 'free'.
        config: of the run.
        images: grey levels in [0, 1]; the mean training image is the blank and the base of all stimuli.
        space: says what states images become.

    Raises:
        ConfigError: an unknown experiment, or options that its stimulus set does not have or that do not fit the image.
    """
    record = config.record
    if name not in EXPERIMENTS:
        raise ConfigError(f"config.record.experiments names '{name}'{did_you_mean(name, EXPERIMENTS)}")
    base = images.train.mean(axis=0)
    size = base.shape[0]
    if name in (OBSERVE, FREE):
        count = record.num_images
        numbers = np.arange(count) % len(images.test)
        shown, table, stimuli = images.test[numbers], {"image": numbers}, None
        periods, sites = Periods(0, 0, record.observe_steps, 0), patch(size, record.patch)
    else:
        options = dict(record.sets[name].items()) if name in record.sets else {}
        try:
            made = make_stimuli(name, base, **options)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"config.record.sets.{name}: {error}") from None
        shown = as_presented(made.images)
        table = {**made.table, "michelson_contrast": michelson_contrast(shown)}
        stimuli = StimulusSet(name, shown, table)
        # Of the trials, which are most of a recording, nothing after the stimulus is read.
        after = 0 if name == TRIALS else record.blank_after
        periods = Periods(record.burn_in, record.blank, record.stimulus, after)
        sites = sites_of_set(name, table, size, record.patch)
    draw = np.random.default_rng([config.seed, EXPERIMENTS.index(name)])
    # Without a burn-in the chains start on the image itself.
    burn_in = shown if periods.burn_in == 0 else images.train[draw.integers(len(images.train), size=len(shown))]
    parts = (shown, burn_in, as_presented(base))
    presented = [space.to_states(part) for part in parts]
    sites = np.broadcast_to(sites, (len(shown), *sites.shape[-2:])).astype(np.int16)
    return Protocol(name, *presented, table, periods, name != FREE, sites, stimuli)


def sites_of_set(name: str, table: dict[str, Any], size: int, radius: int) -> np.ndarray:
    """Sites that the analyses of a stimulus set read: (sites, 2), or (stimuli, sites, 2) if they differ.

    The middle and the mobile patch; the middle and places along a long stimulus; otherwise a patch around the middle
    (`just_angle`, whose traces nobody reads: the middle alone).
    """
    if "row_offset" in table:
        mobile = size // 2 + np.stack([table["row_offset"], table["column_offset"]], axis=1)
        return np.stack([np.full_like(mobile, size // 2), mobile], axis=1)
    if name == LINE:
        return np.stack([along(float(angle), size) for angle in table["angle"]])
    return patch(size, 0 if name == TUNING else radius)
