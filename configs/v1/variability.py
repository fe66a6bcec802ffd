"""Samples of a field's latents as trials: do they vary as neurons do that see the same images?

    python launch.py --config=pretrained/patches --workdir=runs/patches --stages=respond \\
        --config.respond.images=henaff2021_v1.npz --config.respond.array=images128 --config.respond.settle=60
    (the same with --config.respond.weights=shuffled --config.respond.name=shuffled)
    python launch.py --config=configs/v1/variability.py --config.data.path=henaff2021_v1.npz \\
        --config.fields.latents=runs/patches/responses/latents.npz \\
        --config.fields.shuffled_weights=runs/patches/responses/shuffled.npz

about two minutes of one core for two fields of 20 samples.  `runs/variability/index.html` is the page; docs/joined.md
says what was found.  Three questions: variance beyond what the mean explains, noise correlations between units, and the
fall of variability with contrast (images of the category `contrast`), each against controls of the same means.

Data: any recording with repeats (docs/own_recordings.md); see configs/v1/henaff.py for the one used here.
"""

from ml_collections import ConfigDict

from runtime.config import select_preset
from runtime.fields import optional


def get_config(preset: str = "samples") -> ConfigDict:
    """Presets: samples (default), quick (fewer bootstrap draws)."""
    config = ConfigDict()
    config.package = "variability"

    config.data = ConfigDict()
    config.data.path = optional(str)  # .npz file of a recording with repeats, or folder of the deposit osf.io/gwtcs
    config.data.recordings = ()  # names of those whose units are read, () for all

    config.fields = ConfigDict()  # files of samples that the stage `respond` writes, by the name that tables give them
    config.fields.latents = optional(str)
    config.fields.shuffled_weights = optional(str)
    config.fields.scrambled = optional(str)  # a field trained on phase-scrambled patches
    config.fields.white = optional(str)  # a field trained on white patches

    config.folds = ConfigDict()
    config.folds.count = 5  # every group of images is tested in one of them
    config.folds.seed = optional(int)  # of the order of groups, None to keep it

    config.scores = ConfigDict()
    config.scores.reliable = 0.5  # units of higher reliability count
    config.scores.resamples = 1000

    def quick(config):
        config.scores.resamples = 200

    config.lock()  # a field that is not there is an error where a config sets it
    config.fields.unlock()
    select_preset(preset, {"samples": lambda config: None, "quick": quick})(config)
    return config


def defaults(config: ConfigDict) -> list[ConfigDict]:
    """Configs whose values nobody chose in a file of his own: the presets, with fields of the same names."""
    made = [get_config(preset) for preset in ("samples", "quick")]
    for each in made:
        each.fields = ConfigDict(dict.fromkeys(config.fields))
    return made
