"""Experiment 1.2.6: batches of 2 to 1800 images.

    python launch.py --config=configs/v1/exp_1_2_6.py --config.data.dir=./Data

Baseline 4, 10 seeds; epochs grow with the batch above 16, max(5000 · size / 16, 5000): as many updates for each.
With --executor=slurm each size is a job.
Published: sizes and epochs, no percentiles that are known to us.
Time, estimated and not measured: many hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import best_baseline, choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.2.6; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    best_baseline(config)
    config.sweep.runs = tuple(
        (f"batch{size}", (("optimization.batch_size", size), ("fit.epochs", max(5000 * size // 16, 5000))))
        for size in (2, 8, 16, 32, 64, 128, 512, 1024, 1800)
    )
