"""A system with known answers: the Gaussian scale mixture, recorded and judged as a trained field is.

    python launch.py --config=configs/known.py            64 trials a contrast; about a minute on 2 cores
    python launch.py --config=configs/known.py:precise    512 trials a contrast; some minutes

Nothing is trained and nothing downloaded.  Expected verdicts: the resonance rises with contrast (24 to 59 Hz), the
onset overshoot grows, variability is quenched, sampling is about ten times faster than Langevin dynamics; under
Langevin dynamics no resonance, no overshoot, the same quenching; with the scale fixed no rise and no quenching.

    python launch.py --config=configs/known.py --config.known.scale=joint

samples the scale together with the rest, which leaves the rise of the frequency and takes away the overshoot.
"""

from ml_collections import ConfigDict

from nrf.known.settings import settings
from runtime.config import select_preset
from runtime.fields import optional


def get_config(preset: str = "standard") -> ConfigDict:
    """The config of a preset: standard (default) or precise."""
    config = base()
    select_preset(preset, {"standard": lambda config: None, "precise": precise})(config)
    return config


def defaults(config: ConfigDict) -> list[ConfigDict]:
    """Configs whose values nobody chose in a file of his own: the presets."""
    return [get_config(), get_config("precise")]


def base() -> ConfigDict:
    """All fields."""
    config = ConfigDict()
    config.package = "known"
    config.seed = 0

    config.known = settings()
    config.analyse = ConfigDict()  # as in configs/nrflv.py
    config.analyse.layer = optional(int)
    config.analyse.compat = False
    config.analyse.level = 0.05
    config.analyse.surrogates = 199
    config.analyse.resamples = 10_000
    config.analyse.calibrate_at = optional(float)  # None: 1 step = 1 ms
    config.analyse.calibrate_hertz = 40.0
    return config.lock()  # a field that is not there is an error where a config sets it


def precise(config: ConfigDict) -> None:
    """Eight times the trials: the table of docs/power.md."""
    config.known.trials = 512
