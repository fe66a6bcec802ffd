"""Macaque V1 responses to binary patterns: which family of models predicts them best.

    python launch.py --config=configs/v1/tang.py --config.data.dir=FOLDER
"""

from ml_collections import ConfigDict

from configs.v1.suite import best_baseline, choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """x."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    best_baseline(config)
