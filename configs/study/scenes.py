"""The study of scene statistics: what a field learns from photographs, from their spectra alone, and from noise.

    python launch.py --config=configs/study/scenes.py --stages=train,study --workdir=runs/scenes

trains 60 small fields (8×8 patches, one latent layer, about 2,250 weights), records their responses to contrast under
the sampler, under Langevin dynamics and with their weights shuffled, and judges them: 3 data sets × 2 treatments of
contrast × 2 architectures × 5 seeds.  Tables and a figure are left in the folder (see analysis/study/).
`--executor=dask --executor-options=workers=2` gives each of two cores a network at a time.

    natural, scrambled, white    patches of photographs; the same with their phases drawn anew; white noise with the
                                 contrast of each patch (see runtime/images.py)
    kept, stretched              contrast as nature has it, or every patch stretched to one standard deviation
    additive, joint              networks that sum functions of one input each, or put all inputs through one
                                 nonlinearity, so that the image can change curvature; of the same number of weights

A seed is a network of its own, from its patches to its first weights, and the unit of every interval.  The seeds come
one after another, twelve cells each, and every network is recorded as soon as it is trained, so that a study that is
broken off is a smaller study; `:2` has the first two seeds alone, and the same folder can go on to `:5`.  A command
that is given again skips what is finished.

All fields keep the square root of a patch's contrast (`data.gain_control`): with all of it fields of natural patches do
not come to rest (docs/training.md).  Stretched patches have hardly any that could be compressed.
"""

from ml_collections import ConfigDict

from configs.nrflv import base
from recordings.names import LANGEVIN, PRIMARY, SHUFFLED, TRIALS
from runtime.errors import ConfigError

SEEDS = 5
DATA = {"natural": "natural", "scrambled": "natural_scrambled", "white": "natural_white"}
CONTRASTS = {"kept": None, "stretched": 0.2}
# Mixing, and the width that gives both about 2,250 weights.
NETWORKS = {"additive": ("separate", 9), "joint": ("joint", 10)}


def get_config(preset: str = str(SEEDS)) -> ConfigDict:
    """The config of the whole study, or of its first seeds."""
    if not (preset.isdigit() and 1 <= int(preset) <= SEEDS):
        raise ConfigError(f"the study has {SEEDS} seeds; {preset!r} is no number of them from 1 to {SEEDS}")
    config = small_field()
    config.sweep.together = 1  # or the seeds of a cell, which differ in numbers only, would come first
    config.sweep.record = True
    config.sweep.runs = tuple(
        (f"{data}_{contrast}_{network}_{seed}", cell(data, contrast, network, seed))
        for seed in range(int(preset))
        for data in DATA
        for contrast in CONTRASTS
        for network in NETWORKS
    )
    return config


def cell(data: str, contrast: str, network: str, seed: int) -> tuple:
    """The fields that one run of the study changes."""
    mixing, width = NETWORKS[network]
    return (
        ("data.name", DATA[data]),
        ("data.contrast", CONTRASTS[contrast]),
        ("model.architecture.mixing", mixing),
        ("model.architecture.num_ch_base", width),
        ("seed", seed),
    )


def small_field() -> ConfigDict:
    """A field of 8×8 patches that trains in less than a minute of one core, and what is recorded of it."""
    config = base()
    config.data.update({"size": 8, "num_train": 10_000})
    config.model.architecture.update(
        {
            "state_sizes": ((1, 8, 8), (4, 8, 8)),
            "connect": ((0, 1), (0, 1)),
            "kind": (("conv", "conv"), ("conv", "conv")),
            "base_kernel_padding": (((5, 2), (3, 1)), ((5, 2), (3, 1))),
            "main_kernel": (3, 3),
            "num_layers": (0, 0),
            "num_ch_base": 10,
        }
    )
    config.positive.steps = 12
    config.negative.update({"steps": 12, "chains": 64})
    # At a rate of 4e-3 five additive fields of natural patches came to a kurtosis of Gabor responses of 6 to 17, where
    # the patches have 7; at 2e-3 a joint one comes to 4.
    config.train.update({"updates": 550, "lr": 3e-3, "latent_lr": 0.1, "average": 0.99})
    config.log.update({"every": 50, "checkpoint_every": 275, "keep": 1})
    # Looked at once, at the end, for long enough to say whether chains from noise and from data agree.
    config.monitor.update({"every": 550, "steps": 1000, "chains": 32})
    record = config.record
    record.update({"experiments": (PRIMARY, TRIALS), "controls": (LANGEVIN, SHUFFLED), "controlled": (TRIALS,)})
    record.update({"burn_in": 50, "blank": 150, "stimulus": 400, "blank_after": 0, "block": 64, "known": False})
    record.sets[TRIALS].update({"contrasts": (0.8, 1.6, 2.8)})
    record.sets[PRIMARY].update({"contrasts": 8, "angles": 1})
    record.prediction.update({"angles": 1, "chains": 4})
    return config
