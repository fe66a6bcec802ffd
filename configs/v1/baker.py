"""Cat V1 responses to natural movies: space-time receptive fields and local energy over the last frames.

    python launch.py --config=configs/v1/baker.py --config.data.path=baker_cat_v1.npz

Three neurons of areas 17 and 18 saw clips of 375 frames, five or twenty times.  A response is predicted from the last
seven frames (93 ms at 75 Hz): `pixels` is a linear space-time receptive field by ridge regression, `gabor_energy` and
`steerable` weigh local energy of every frame, which phase does not change.  Split: by clip, always.  A few minutes of
one core; CCnorm of the three neurons .34, .59, .29 by pixels (docs/leaderboard.md).

Data: Nguyen, Sooriyaarachchi, Huang & Baker, "Estimating receptive fields of simple and complex cells in early visual
cortex: a convolutional neural network model with parameterized rectification"; Talebi & Baker (2012), J. Neurosci.;
movies from the McGill Calibrated Colour Image Database.  `v1models/repeats.py` says how the file is read.
"""

from ml_collections import ConfigDict

from configs.v1.henaff import base, family
from runtime.config import select_preset


def get_config(preset: str = "movies") -> ConfigDict:
    """Preset: movies, the default and the only one."""
    config = base()
    select_preset(preset, {"movies": movies})(config)
    return config


def movies(config: ConfigDict) -> None:
    """Fields that differ from those for still images."""
    config.data.update({"size": 32, "lags": 7})
    for name in list(config.families):
        del config.families[name]
    bank = {"grid": 4, "scales": 3, "orientations": 4, "highest": 0.25}
    config.families.update(
        {
            "pixels": family("pixels", grid=16),
            "gabor_energy": family("gabor", compression="amplitude", **bank),
            "steerable": family("steerable", **bank),
        }
    )
    config.learning.update({"families": ("pixels", "gabor_energy"), "groups": (2, 4, 7)})
    config.exciting.units = 0
