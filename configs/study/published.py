"""The shipped field under the published sampler: what its noise clamp, its mass and its walls make of a recording.

    python launch.py --config=configs/study/published.py --stages=import,record,analyse --workdir=runs/published

records the weights of `pretrained/patches`, and of another field with `:FOLDER`, under `sghmc_thesis` with its
published options: noise of a variance between 9e-5 and 1e-4 a step whatever the temperature, a circulant mass, momenta
that are cut at the walls.  It was made for energies of grey levels; here it moves the latents of a field that was
trained under another sampler at temperature 0.02, and what it samples is colder than what was learned.  Shuffled
weights are the control; there is no Langevin dynamics of the same temperature, as the sampler has none.
"""

from ml_collections import ConfigDict

from configs.nrflv import of_run
from recordings.names import PRIMARY, SHUFFLED, TRIALS, TUNING

FIELD = "pretrained/patches"


def get_config(preset: str = FIELD) -> ConfigDict:
    """The recording of the field in a folder."""
    config = of_run(preset)
    config.train.start_from = preset
    config.sampler.name = "sghmc_thesis"
    config.negative.fresh = "uniform"  # nothing is thermal without a temperature
    config.record.update({"experiments": (PRIMARY, TUNING, TRIALS), "controls": (SHUFFLED,), "controlled": (TRIALS,)})
    return config
