"""What the flags of the original program say, in the fields of a config.

A checkpoint of the original holds the flags that its model was trained with.  `differences` lists those that a config
contradicts, so that nobody goes on with another sampler, clip or learning rate without knowing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from runtime.config import flatten

THESIS = "sampler.sghmc_thesis."
WORDS = {
    "dataset": {"CIFAR10": "tfds:cifar10", "MNIST": "tfds:mnist", "FashionMNIST": "tfds:fashion_mnist"},
    "initializer": {"ff_init": "initializer", "previous": "previous", "random": "random", "zeros": "zeros"},
    "state_optimizer": {
        "sghmc": "sghmc_thesis", "sgd": "sgd", "sgd_momentum": "momentum", "nesterov": "nesterov", "adam": "adam",
    },
}  # fmt: skip
# flag -> field that says the same
SAME = {
    "batch_size": "train.batch",
    "architecture": "model.named",
    "model_weight_norm": "model.weight_norm",
    "initter_network_weight_norm": "initializer.weight_norm",
    "initter_network_lr": "initializer.lr",
    "l2_reg_energy_param": "train.l2",
    "num_it_neg": "negative.steps",
    "num_it_pos": "positive.steps",
    "sample_buffer_prob": "negative.buffer_fraction",
    "lr": "train.lr",
    "lr_decay_gamma": "train.lr_decay",
    "weights_optimizer": "train.optimizer",
    "states_activation": "model.state_activation",
    "activation": "model.activation",
    "ff_dynamics": "model.ff_dynamics",
    "sampling_step_size": THESIS + "step_size",
    "momentum_param": THESIS + "friction",
    "sigma": THESIS + "sigma",
    "min_sq_sigma": THESIS + "min_sq_sigma",
    "max_sq_sigma": THESIS + "max_sq_sigma",
    "num_burn_in_steps": THESIS + "num_burn_in",
    "scale_grad": THESIS + "scale_grad",
    "mean_batch_minv_t": THESIS + "mean_batch_preconditioner",
    "num_it_viz": "visualise.steps",
    "randomize_neg_its": "negative.poisson",
    "model_save_interval": "log.checkpoint_every",
    "img_logging_interval": "monitor.every",
    "dataset": "data.name",
    "initializer": "positive.start",
    "state_optimizer": "sampler.name",
}
# field -> what several flags say of it together
JOINT = {
    THESIS + "mass": lambda flags: "circulant" if flags["non_diag_inv_mass"] else "diagonal",
    THESIS + "momentum_clip": lambda flags: _alone(flags["mom_clip_vals"]) if flags["mom_clip"] else None,
    "sampler.gradient_clip": lambda flags: flags["clip_state_grad_norm"] if flags["clip_grad"] else 0.0,
    # These two are in sampler steps.
    "log.every": lambda flags: _updates(flags["scalar_logging_interval"], flags),
    "log.histograms_every": lambda flags: (
        _updates(flags["histogram_logging_interval"], flags) if flags["log_histograms"] else 0
    ),
    "visualise.frames": lambda flags: flags["num_it_viz"] // flags["viz_img_logging_step_interval"],
    # The energy of the whole batch there, of an image here.
    "positive.stop_threshold": lambda flags: (
        flags["truncate_pos_its_threshold"] / flags["batch_size"] if flags["truncate_pos_its"] else None
    ),
    "negative.fresh": lambda flags: "initializer" if flags["neg_ff_init"] else "uniform",
}
USED_BY_JOINT = {
    "non_diag_inv_mass", "mom_clip", "mom_clip_vals", "clip_grad", "clip_state_grad_norm", "log_histograms",
    "histogram_logging_interval", "scalar_logging_interval", "neg_ff_init", "viz_img_logging_step_interval",
    "truncate_pos_its", "truncate_pos_its_threshold",
}  # fmt: skip


def differences(flags: Mapping[str, Any], config: ConfigDict) -> tuple[list[str], list[str]]:
    """Compare the flags of the original program with a config.

    Args:
        flags: values of the flags by name.
        config: the config of a run.

    Returns:
        One sentence for every field that says something else than the flags, and the names of the flags to which no
        field corresponds.
    """
    fields = flatten(config)
    said: dict[str, tuple[Any, str]] = {}
    for flag, field in SAME.items():
        if flag in flags:
            value = flags[flag]
            said[field] = (WORDS[flag].get(value, value) if flag in WORDS else value, f"--{flag}={value}")
    for field, read in JOINT.items():
        try:
            value = read(flags)
        except KeyError:  # flags of another version of the program
            continue
        said[field] = (value, "its flags")
    lines = [
        f"config.{field} is {fields[field]!r}, the checkpoint was made with {value!r} ({where})"
        for field, (value, where) in said.items()
        if field in fields and not _equal(value, fields[field])
    ]
    return lines, sorted(set(flags) - set(SAME) - USED_BY_JOINT)


def _updates(steps: int, flags: Mapping[str, Any]) -> int:
    return max(1, round(steps / (flags["num_it_pos"] + flags["num_it_neg"])))


def _alone(values: Any) -> Any:
    return values[0] if isinstance(values, list | tuple) and len(values) == 1 else values


def _equal(theirs: Any, ours: Any) -> bool:
    entries = [tuple(v) if isinstance(v, list | tuple) else (v,) for v in (theirs, ours)]
    length = max(map(len, entries))
    # One number stands for the same number in all layers.
    pairs = [each * length if len(each) == 1 else each for each in entries]
    return len(pairs[0]) == len(pairs[1]) and all(_same(a, b) for a, b in zip(*pairs, strict=True))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool) or not (isinstance(a, int | float) and isinstance(b, int | float)):
        return a == b
    return math.isclose(a, b, rel_tol=1e-6)
