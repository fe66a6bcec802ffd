"""The shipped field under other dynamics: what of a recording belongs to the energy, and what to how it is sampled.

    python launch.py --config=configs/study/dynamics.py --stages=import,record,study --workdir=runs/dynamics

records the weights of `pretrained/patches`, and of another field with `:FOLDER`, at three temperatures, three frictions
and under two masses: 18 recordings of trials, and Langevin dynamics at each temperature beside them; about three
minutes of a free core each.  Nothing is trained: away from the temperature of the training the distribution that is
sampled is the learned energy's at another temperature, and no longer meant to be that of the images.

A friction c lets the momentum decay by e^-c a step.  In the linear well of curvature λ the spectrum has a peak where
h²Kλ > c²/2 (see nrf/linear_response.py), so that friction alone takes a field from overdamped to ringing.
"""

from ml_collections import ConfigDict

from configs.nrflv import of_run
from recordings.names import LANGEVIN, PRIMARY, TRIALS

FIELD = "pretrained/patches"
TEMPERATURES = (0.005, 0.02, 0.08)
FRICTIONS = (0.1, 0.3, 1.0)
MASSES = ("diagonal", "circulant")


def get_config(preset: str = FIELD) -> ConfigDict:
    """The sweep over the dynamics of the field in a folder."""
    config = of_run(preset)
    config.train.start_from = preset
    record = config.record
    record.update({"experiments": (PRIMARY, TRIALS), "controls": (LANGEVIN,), "controlled": (TRIALS,), "known": False})
    record.sets[PRIMARY].update({"angles": 1})
    record.prediction.update({"angles": 1, "chains": 4})
    config.sweep.grid = (
        ("sampler.underdamped.temperature", TEMPERATURES),
        ("sampler.underdamped.friction", FRICTIONS),
        ("sampler.underdamped.mass", MASSES),
    )
    return config
