"""Settings of the known system, as configs/known.py offers them and as it is recorded beside a trained field."""

from __future__ import annotations

from ml_collections import ConfigDict

from recordings.names import FIXED_SCALE, LANGEVIN
from runtime.fields import choice, number, several


def settings() -> ConfigDict:
    """The group `known` of a config."""
    config = ConfigDict()
    config.scale = choice("mode", "fixed", "marginal", "joint")  # see nrf/known/mixture.py
    config.fixed_at = number(1.0, at_least=0)  # contrast whose scale is used where the scale is fixed
    config.contrasts = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
    config.trials = number(64, at_least=4)  # of each contrast, each a chain of its own
    config.controls = several((LANGEVIN, FIXED_SCALE), (LANGEVIN, FIXED_SCALE))
    config.step_size = number(0.1728, above=0)
    config.friction = number(0.15, above=0)  # per step
    config.burn_in = number(200, at_least=0)  # lengths in sampler steps
    config.blank = number(400, at_least=50)
    config.stimulus = number(500, at_least=50)
    config.blank_after = number(100, at_least=0)
    config.dtype = choice("float16", "float32")  # of the recorded traces
    return config
