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

from runtime.config import select_preset


def get_config(preset: str = "standard") -> ConfigDict:
    """The config of a preset: standard (default) or precise."""
    config = base()
    select_preset(preset, {"standard": lambda config: None, "precise": precise})(config)
    return config


def base() -> ConfigDict:
    """All fields."""
    config = ConfigDict()
    config.package = "known"
    config.seed = 0

    config.known = ConfigDict()
    config.known.scale = "mode"  # mode, fixed, marginal or joint: see nrf/known/mixture.py
    config.known.fixed_at = 1.0  # contrast whose scale is used where the scale is fixed
    config.known.contrasts = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
    config.known.trials = 64  # of each contrast, each a chain of its own
    config.known.controls = ("langevin", "fixed_scale")
    config.known.step_size = 0.1728
    config.known.friction = 0.15  # per step
    config.known.burn_in = 200  # lengths in sampler steps
    config.known.blank = 400
    config.known.stimulus = 500
    config.known.blank_after = 100
    config.known.dtype = "float16"  # of the recorded traces, or float32
    return config


def precise(config: ConfigDict) -> None:
    """Eight times the trials: the table of docs/power.md."""
    config.known.trials = 512
