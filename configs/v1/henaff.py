"""Macaque V1 responses to frames of movies, 50 to 60 repeats: families of models judged by scores corrected for noise.

    python launch.py --config=configs/v1/henaff.py --config.data.path=henaff2021_v1.npz            12 minutes of a core
    python launch.py --config=configs/v1/henaff.py:quick --config.data.path=henaff2021_v1.npz      under a minute
    python launch.py --config=configs/v1/henaff.py:own …       and features of your own: docs/own_recordings.md
    python launch.py --config=configs/v1/henaff.py:joined …    a field's latents beside them: docs/joined.md
    python launch.py --config=configs/v1/henaff.py:fields …    and fields trained on patches that are not natural

Six recordings (242 units, mostly multi-units) of anaesthetised macaque V1 saw the same 440 images: natural frames of
ten movies at two zooms, synthetic frames between a movie's first and last, and contrast versions.  Images are split by
movie, always: neighboring frames are nearly equal, and splits by frame give high scores to wrong images.

Data: Hénaff, Bai, Charlton, Nauhaus, Simoncelli & Goris (2021), "Primary visual cortex straightens natural video
trajectories", Nat. Commun. 12:5982; deposit osf.io/gwtcs, whose folder may stand in place of the .npz file.
`docs/leaderboard.md` has results, `docs/own_recordings.md` says what the .npz file holds and how to write one from any
recording with repeats.  Academic use with citation.
"""

from ml_collections import ConfigDict

from runtime.config import select_preset
from runtime.fields import optional


def get_config(preset: str = "families") -> ConfigDict:
    """Presets: families (default), own (with features from a file), quick (no trained cores), joined, fields."""
    config = base()
    presets = {"families": lambda config: None, "own": own, "quick": quick, "joined": joined, "fields": fields}
    select_preset(preset, presets)(config)
    return config


def defaults(config: ConfigDict) -> list[ConfigDict]:
    """Configs whose values nobody chose in a file of his own: the presets, with families of the same names."""
    made = [get_config(preset) for preset in ("families", "quick", "joined")]
    for each in made:
        each.families = ConfigDict({name: family(group.core) for name, group in config.families.items()})
    return made


def family(core: str, **options) -> ConfigDict:
    """One family: a fixed core with ridge regression as its read-out, or a trained core with a trained read-out."""
    fields = {
        "core": core,  # pixels, steerable, gabor, file (features of the images, in their order) or trained
        "grid": 8,  # cells along a side over which features are averaged
        "scales": 4,  # octaves
        "orientations": 6,
        "highest": 0.35,  # cycles per pixel, center of the finest band
        "compression": "log",  # of local energy: power, amplitude or log
        "path": optional(str),  # of the features, core `file` alone
        # Of core `trained` alone, which sees images of grid × grid pixels:
        "convolutions": "plain",  # plain, or rotated: every kernel in four orientations
        "readout": "gaussian",  # gaussian or factorized
        "features": 8,  # kernels a convolution
        "widths": (9, 5),  # pixels of their kernels, one number a convolution
        "noise": "poisson",  # poisson, gaussian, gamma or tweedie (zero-inflated gamma)
        "l1": 0.1,  # penalty on the read-out's weights
        "seeds": (0, 1, 2, 3, 4),  # the prediction is the mean over them
        "epochs": 30,
        "look_every": 3,  # epochs between two looks at the validation groups
        "batch_size": 16,
        "learning_rate": 5e-3,
    }
    config = ConfigDict(fields)
    config.update(options)
    return config


TRAINED = {
    "cnn": {},
    "cnn_rotated": {"convolutions": "rotated"},
}


def base() -> ConfigDict:
    """All fields."""
    config = ConfigDict()
    config.package = "leaderboard"

    config.data = ConfigDict()
    config.data.path = optional(str)  # .npz file of a recording with repeats, or folder of the deposit osf.io/gwtcs
    config.data.recordings = ()  # names of those whose units are read, () for all
    config.data.size = 64  # pixels along a side after averaging
    config.data.lags = 1  # frames that a response depends on, its own and those before it; 1 for still images

    config.folds = ConfigDict()
    config.folds.count = 5  # every group of images is tested in one of them
    config.folds.validation = 2  # groups that read-outs trained step by step are stopped by
    config.folds.seed = optional(int)  # of the order of groups, None to keep it

    config.families = ConfigDict(
        {
            "pixels": family("pixels", grid=32),
            "gabor_energy": family("gabor", highest=0.25, compression="amplitude"),
            "steerable_power": family("steerable", compression="power"),
            "steerable": family("steerable"),
            **{name: family("trained", grid=32, **options) for name, options in TRAINED.items()},
        }
    )

    config.scores = ConfigDict()
    config.scores.reliable = 0.5  # units of higher reliability (Spearman-Brown, all repeats) count
    config.scores.resamples = 1000  # bootstrap draws
    config.scores.against = optional(str)  # family that all others are taken from, in pairs; None for the best

    config.learning = ConfigDict()
    config.learning.families = ("pixels", "steerable", *TRAINED)
    config.learning.groups = (2, 4, 6, 8)  # groups of images to fit on

    config.exciting = ConfigDict()
    config.exciting.units = 6  # best and as many worst units shown, 0 for none
    config.exciting.steps = 100
    config.lock()  # a field that is not there is an error where a config sets it
    config.families.unlock()
    return config


def quick(config: ConfigDict) -> None:
    """For a first look."""
    config.data.size = 32
    config.scores.resamples = 200
    config.learning.groups = ()
    config.exciting.update({"units": 3, "steps": 30})
    for name in TRAINED:
        del config.families[name]


def own(config: ConfigDict) -> None:
    """Features that another program made of the same images, as one more family."""
    config.families.own = family("file")


def joined(config: ConfigDict) -> None:
    """Latents of a field and of the same field with shuffled weights, as the stage `respond` writes them."""
    trained = {name: config.families[name] for name in TRAINED}
    quick(config)
    config.families.update(trained)
    config.families.update({"latents": family("file"), "shuffled": family("file")})
    config.scores.update({"against": "latents", "resamples": 1000})
    config.exciting.units = 0


def fields(config: ConfigDict) -> None:
    """As `joined`, with fields of the same recipe that were trained on phase-scrambled and on white patches."""
    joined(config)
    config.families.update({"scrambled": family("file"), "white": family("file")})
