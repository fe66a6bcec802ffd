"""The shipped field under other dynamics: what of a recording belongs to the energy, and what to how it is sampled.

    python launch.py --config=configs/study/dynamics.py --stages=import,record,study --workdir=runs/dynamics

records the weights of `pretrained/patches`, and of another field with `:FOLDER`, at three temperatures, three frictions
and under two masses: 18 recordings of 32 trials at each of three contrasts.  Nothing is trained: away from the
temperature of the training the distribution that is sampled is the learned energy's at another temperature, and no
longer meant to be that of the images.  There is no Langevin dynamics beside them: it knows neither friction nor mass,
and that of the field's own temperature is in its own recording.

A friction c lets the momentum decay by e^-c a step.  In the linear well of curvature λ the spectrum has a peak where
h²Kλ > c²/2 (see nrf/linear_response.py), so that friction alone takes a field from overdamped to ringing.
"""

from ml_collections import ConfigDict

from configs.nrflv import of_run
from recordings.names import PRIMARY, STATE, TRIALS

FIELD = "pretrained/patches"
TEMPERATURES = (0.005, 0.02, 0.08)
FRICTIONS = (0.1, 0.3, 1.0)
MASSES = ("diagonal", "circulant")


def get_config(preset: str = FIELD) -> ConfigDict:
    """The sweep over the dynamics of the field in a folder."""
    config = of_run(preset)
    config.train.start_from = preset
    record = config.record
    record.update({"experiments": (PRIMARY, TRIALS), "controls": (), "known": False, "block": 96})
    record.update({"burn_in": 50, "blank": 150, "stimulus": 300, "blank_after": 0, "variables": (STATE,)})
    record.sets[PRIMARY].update({"contrasts": 4, "angles": 1})
    record.sets[TRIALS].update({"contrasts": (0.8, 1.6, 2.4), "repeats": 32})
    record.prediction.update({"angles": 1, "chains": 4})
    config.sweep.grid = (
        ("sampler.underdamped.temperature", TEMPERATURES),
        ("sampler.underdamped.friction", FRICTIONS),
        ("sampler.underdamped.mass", MASSES),
    )
    return config
