"""Experiment 1.2.6: batches of 2 to 1800 images.

    python launch.py --config=configs/v1/exp_1_2_6.py --config.data.dir=./Data

Thesis: fig:5.1.2.6 (bs3_exp2).  Baseline 3, 10 seeds; epochs grow with the batch above 16, max(5000 · b / 16, 5000),
so that the larger batches make as many updates.  With --executor=slurm each size is a job.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published medians, region 1: 2 .496, 64 .503, 512 .506, 1800 .496.
Time, estimated and not measured: a day or more on 2 cores, most of it for the largest batches.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, numbered, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.2.6; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 3)
    published(config, "1.2.6", "bs3_exp2", "")
    numbered(
        config,
        "bs3_exp2",
        tuple(
            (f"b={size}", (("optimization.batch_size", size), ("fit.epochs", max(int(size / 16 * 5000), 5000))))
            for size in (2, 8, 16, 32, 64, 128, 512, 1024, 1800)
        ),
        published={0: (0.496,), 4: (0.503,), 6: (0.506,), 8: (0.496,)},
    )
