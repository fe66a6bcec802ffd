"""A student of a known teacher: how much noise in the responses costs.

    python launch.py --config=configs/v1/bs3_exp8.py --config.data.dir=./Data

Not in the thesis (bs3_exp8, runs 0 to 9; its second runner, bs3_exp8_2, is runs 10 to 15 here).  The teacher is a
fitted baseline 3, seed 14: train bl3.py first, or name another folder by --config.data.teacher.run.  The student,
baseline 3 again, fits the teacher's predictions g with noise of variance c² g, c = .25, .5, 1, 1.3, 2, then .3, .35,
.4 × scored on noisy responses (mean of 3 draws) or on g itself; 10 seeds, 5000 epochs.  The table teacher.csv of a run
has the correlation on training and validation images with noisy, clean and recorded responses.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py), and the smallest response
of an array is subtracted from it; the script added it, which leaves some negative.
Published: no numbers.
Time, estimated from 2.7 ms an epoch and seed: 40 minutes on 2 cores, without the teacher.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, loop, numbered, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """This sweep; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 3)
    config.data.teacher.run = "runs/bl3"
    config.fit.score_training = True
    published(config, "", "bs3_exp8", "")
    scored = loop("scored", ("noisy", "clean"), "data.teacher.scored")
    numbered(config, "bs3_exp8", loop("c", (0.25, 0.5, 1.0, 1.3, 2.0), "data.teacher.noise"), scored)
    numbered(
        config, "bs3_exp8_2", loop("c", (0.3, 0.35, 0.4), "data.teacher.noise"), scored, first=10, logged_first=0
    )
