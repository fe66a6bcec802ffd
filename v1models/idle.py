"""Which fields of a config for models of V1 do nothing, given the others and the stages (see `runtime.idle`)."""

from __future__ import annotations

from collections.abc import Sequence

from ml_collections import ConfigDict

from runtime.idle import Idle
from v1models.cores import BANKS
from v1models.describe import layer_groups

ADAM = ("beta1", "beta2", "epsilon", "epsilon_before_correction", "schedule", "schedule_steps", "learning_rate")
POISSON = ("poisson_offset", "divide_by_rates", "rates_over_all_rows")
FILTERS = ("grid", "scales", "orientations", "highest", "compression")
# What a family of a leaderboard reads, by its core.
FAMILY_FIELDS = {
    "pixels": ("grid",),
    **dict.fromkeys(BANKS, FILTERS),
    "file": ("path",),
    "trained": ("grid", "convolutions", "readout", "features", "widths", "noise", "l1", "seeds", "epochs", "look_every",
                "batch_size", "learning_rate"),
}  # fmt: skip
RANDOM = ("normal", "half_normal", "truncated_normal")  # initial values with a scale of their own


def idle_fields(config: ConfigDict, stages: Sequence[str]) -> Idle:
    """The fields that nothing reads when these stages run under this config."""
    idle = Idle()
    idle.unless("train" in stages, "only the stage 'train', which --stages does not name, reads the config",
                *(name for name in config if name != "sweep"))  # fmt: skip
    _data(idle, config)
    _fitting(idle, config)
    _layers(idle, config)
    return idle


def idle_leaderboard(config: ConfigDict, stages: Sequence[str]) -> Idle:
    """The same for families of models on a recording with repeats (configs/v1/henaff.py)."""
    idle, families = Idle(), config.families
    idle.unless_stage(("train",), stages, *config)
    for name, family in families.items():
        read = FAMILY_FIELDS.get(family.core, tuple(family))
        ignored = (f"families.{name}.{field}" for field in family if field not in ("core", *read))
        idle.unless(False, f"config.families.{name}.core is '{family.core}'", *ignored)
    cores = {family.core for family in families.values()}
    idle.unless("trained" in cores, "no family is trained step by step, with a core `trained`", "folds.validation")
    idle.unless(len(families) > 1, "there is one family", "scores.against")
    idle.unless(config.learning.groups, "config.learning.groups is empty", "learning.families")
    idle.unless(config.learning.families, "config.learning.families is empty", "learning.groups")
    idle.unless(config.exciting.units, "config.exciting.units is 0", "exciting.steps")
    idle.unless(cores != {"file"}, "no family's prediction has a gradient: all are features from files", "exciting")
    return idle


def idle_variability(config: ConfigDict, stages: Sequence[str]) -> Idle:
    """The same for samples of fields beside trials of neurons (configs/v1/variability.py)."""
    idle = Idle()
    idle.unless_stage(("train",), stages, *config)
    return idle


def _data(idle, config):
    data = config.data
    recorded = data.dir is not None
    idle.unless(not recorded, "config.data.dir names a recording", "data.simulated")
    idle.unless(not recorded or data.source == "regions", "config.data.dir names a recording", "data.source")
    split = data.inner_split or data.test or config.stopping.enabled
    reason = "no rows are set aside (config.data.inner_split and test are 0 and config.stopping.enabled is False)"
    idle.unless(split, reason, "data.split_seed")
    fields = ("member", "noise", "scored", "minimum", "seed")
    idle.unless(data.teacher.run, "no config.data.teacher.run is set", *(f"data.teacher.{field}" for field in fields))
    normalized = data.inputs in ("standard", "unit_deviation", "pixel_standard") or data.responses != "none"
    reason = f"config.data.inputs is '{data.inputs}' and config.data.responses 'none', which need no statistics"
    idle.unless(normalized, reason, "data.own_statistics")


def _fitting(idle, config):
    options, stopping = config.optimization, config.stopping
    idle.unless(
        options.optimizer == "adam", f"config.optimization.optimizer is '{options.optimizer}'",
        *(f"optimization.{name}" for name in ADAM),
    )  # fmt: skip
    whole = options.batch_size is None
    idle.unless(not whole, "config.optimization.batch_size is None: there is one batch", "optimization.keep_last_batch")
    noise = f"config.optimization.noise is '{options.noise}'"
    idle.unless(options.noise == "poisson", noise, *(f"optimization.{name}" for name in POISSON))
    idle.unless(options.divide_by_rates, "config.optimization.divide_by_rates is False",
                "optimization.rates_over_all_rows")  # fmt: skip
    masked = len(config.data.regions) > 1
    idle.unless(options.noise == "bernoulli" and masked, "only the Bernoulli loss of pooled regions has masked entries "
                "to count", "optimization.count_masked")  # fmt: skip
    stops = ("fraction", "monitor", "patience", "phases", "rate_factor")
    idle.unless(stopping.enabled, "config.stopping.enabled is False", *(f"stopping.{name}" for name in stops))
    idle.unless(stopping.phases > 1, "config.stopping.phases is 1", "stopping.rate_factor")
    drops = any(group.get("dropout") for _, group in layer_groups(config))
    idle.unless(drops, "no layer has dropout", "fit.score_with_dropout")


def _layers(idle, config):
    use = config.model.use
    for name in config.model:
        if name.startswith("layer"):
            idle.unless(not use, f"config.model.use chooses the layers of alternatives.{use}", f"model.{name}")
    for name in config.alternatives:
        idle.unless(name == use, f"config.model.use is '{use}'", f"alternatives.{name}")
    place = f"alternatives.{use}" if use else "model"
    for name, group in layer_groups(config):
        _layer(idle, config, f"{place}.{name}", group)


def _layer(idle, config, place, group):
    idle.unless(group.get("dropout"), f"config.{place}.dropout is 0", f"{place}.dropout_mask")
    bias = f"config.{place}.bias is False"
    idle.unless(group.get("bias"), bias, f"{place}.bias_initializer")
    for what in ("bias", "weight"):
        start = group.get(f"{what}_initializer")
        scaled = start in RANDOM and (what != "bias" or group.bias)
        idle.unless(scaled, f"config.{place}.{what}_initializer is '{start}'", f"{place}.{what}_scale")
    if "positivity" in group:
        clamped = group.positive != "none"
        idle.unless(clamped, f"config.{place}.positive is 'none'", f"{place}.positivity", f"{place}.gradient_at_zero")
        idle.unless(group.positivity == "clamp", f"config.{place}.positivity is '{group.positivity}'",
                    f"{place}.gradient_at_zero")  # fmt: skip
