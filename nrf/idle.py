"""Which fields of a field's config do nothing, given the others and the stages that run (see `runtime.idle`)."""

from __future__ import annotations

from collections.abc import Sequence

from ml_collections import ConfigDict

from recordings.names import FIXED_SCALE, FREE, LANGEVIN, OBSERVE, PRIMARY
from runtime.idle import Idle

TRAINING = ("train", "import")
LATER = ("visualise", "record", "analyse", "diagnose", "score", "respond")
GROWTH = ("growth_margin", "growth_window", "growth_cooldown", "growth_first_epoch")


def idle_fields(config: ConfigDict, stages: Sequence[str]) -> Idle:
    """The fields that nothing reads when these stages run under this config."""
    idle = Idle()
    idle.unless_stage(("train",), stages, "sweep.record")
    if config.sweep.record and "train" in stages:
        stages = (*stages, "record")
    _training(idle, config, stages)
    _samplers(idle, config, stages)
    for stage in LATER:
        idle.unless_stage((stage,), stages, stage)
    _recording(idle, config)
    _others(idle, config)
    return idle


def idle_known(config: ConfigDict, stages: Sequence[str]) -> Idle:
    """The same for the system with known answers."""
    idle, known = Idle(), config.known
    idle.unless_stage(("record",), stages, "known", "seed")
    idle.unless_stage(("analyse",), stages, "analyse")
    fixed = known.scale == "fixed" or FIXED_SCALE in known.controls
    idle.unless(fixed, "neither config.known.scale nor a control fixes the scale", "known.fixed_at")
    calibrated = config.analyse.calibrate_at is not None
    idle.unless(calibrated, "no config.analyse.calibrate_at is set", "analyse.calibrate_hertz")
    return idle


def _training(idle, config, stages):
    data, positive, negative, train = config.data, config.positive, config.negative, config.train
    idle.unless_stage(TRAINING, stages, "log", "monitor", "train.updates", "train.start_from", "model.checkpoint",
                      "train.max_energy")  # fmt: skip
    others = (*(config.diagnose.others if "diagnose" in stages else ()), config.score.digits or "")
    named = any(name.startswith("tfds:") for name in (data.name, *others))
    idle.unless(named, f"config.data.name is '{data.name}', which lies elsewhere", "data.dir")
    rescaled = data.whitened_sd is None or negative.fresh == "initializer"
    idle.unless(rescaled, "whitened images (config.data.whitened_sd) have no range of grey levels", "data.rescale")
    idle.unless(
        config.model.named is None, f"config.model.named chooses the architecture '{config.model.named}'",
        "model.architecture",
    )  # fmt: skip
    blocks = config.model.named is None and any(config.model.architecture.num_layers)
    idle.unless(blocks, "no layer has dense blocks (config.model.architecture.num_layers)",
                "model.architecture.growth_rate")  # fmt: skip
    bends = config.model.activation in ("tanh", "swish") or config.model.architecture.get("mixing") == "gated"
    idle.unless(bends, f"config.model.activation is '{config.model.activation}', which has no scale", "model.gain")
    guided = "initializer" in (positive.start, negative.fresh)
    idle.unless(
        guided, "neither config.positive.start nor config.negative.fresh is 'initializer'", "initializer.lr",
        "initializer.weight_norm", "model.architecture.num_ch_initter",
    )  # fmt: skip
    stops = positive.stop_threshold is not None
    idle.unless(stops, "no config.positive.stop_threshold is set", "positive.stop_window", "positive.stop_after")
    longest, earliest = positive.steps * (2 if positive.poisson else 1), max(positive.stop_after, positive.stop_window)
    idle.unless(
        not stops or longest > earliest,
        f"phases of at most {longest} steps (config.positive.steps) end before they may stop, after {earliest}",
        "positive.stop_threshold", "positive.stop_window", "positive.stop_after",
    )  # fmt: skip
    start = f"config.negative.start is '{negative.start}'"
    idle.unless(negative.start == "buffer", start, "negative.buffer_size", "negative.buffer_fraction")
    idle.unless(negative.start == "persistent", start, "negative.chains", "negative.renewed", "negative.from_data")
    idle.unless(negative.renewed, "config.negative.renewed is 0: no chain starts afresh", "negative.from_data")
    idle.unless(
        negative.growth != 1.0, "config.negative.growth is 1: the phase keeps its length",
        *(f"negative.{field}" for field in GROWTH),
    )  # fmt: skip
    schedule = f"config.train.lr_schedule is '{train.lr_schedule}'"
    idle.unless(train.lr_schedule == "cosine", schedule, "train.lr_final")
    idle.unless(train.lr_schedule == "epochs", schedule, "train.lr_decay")


def _samplers(idle, config, stages):
    chosen = config.sampler.name
    compared = "record" in stages and LANGEVIN in config.record.controls
    for name in config.sampler:
        if name not in ("name", "gradient_clip"):
            used = name == chosen or (name == LANGEVIN and compared)
            idle.unless(used, f"config.sampler.name is '{chosen}'", f"sampler.{name}")
    own = config.sampler.get(chosen, {})
    if "mass" in own:
        # Here, not above: the package starts JAX, and `launch.py` joins the processes of a job before that.
        from nrf.samplers.mass import FEWEST_COUPLED_CHANNELS

        circulant = "circulant" in (own.mass if isinstance(own.mass, tuple) else (own.mass,))
        idle.unless(circulant, f"config.sampler.{chosen}.mass is 'diagonal'", f"sampler.{chosen}.coupling_sd")
        couples = config.model.named is not None or own.coupling_sd is not None or any(
            size[0] >= FEWEST_COUPLED_CHANNELS for size in config.model.architecture.state_sizes
        )
        idle.unless(
            couples or not circulant,
            f"no layer has {FEWEST_COUPLED_CHANNELS} channels, the fewest that are coupled, and no coupling_sd is set",
            f"sampler.{chosen}.mass",
        )


def _recording(idle, config):
    record = config.record
    for name in record.sets:
        idle.unless(name in record.experiments, f"config.record.experiments has no '{name}'", f"record.sets.{name}")
    unprompted = {OBSERVE, FREE}
    idle.unless(
        unprompted & set(record.experiments), f"config.record.experiments has neither '{OBSERVE}' nor '{FREE}'",
        "record.observe_steps", "record.num_images",
    )  # fmt: skip
    idle.unless(
        set(record.experiments) - unprompted, "config.record.experiments has no set of stimuli",
        *(f"record.{period}" for period in ("burn_in", "blank", "stimulus", "blank_after")),
    )  # fmt: skip
    idle.unless(record.controls, "config.record.controls names none", "record.controlled")
    idle.unless(record.movie, "config.record.movie is 0", "record.movie_every")
    predicted = PRIMARY in record.experiments and record.prediction.angles
    reason = f"without the experiment '{PRIMARY}', or with config.record.prediction.angles 0, nothing is predicted"
    fields = ("chains", "settle", "steps", "lanczos")
    idle.unless(predicted, reason, *(f"record.prediction.{field}" for field in fields))


def _others(idle, config):
    modes = config.visualise.modes
    for mode, field in (("channels_energy", "energy_scale"), ("channels_state", "held_value")):
        idle.unless(mode in modes, f"config.visualise.modes has no '{mode}'", f"visualise.{field}")
    idle.unless(set(modes) - {"standard"}, "config.visualise.modes has only 'standard'", "visualise.layers")
    calibrated = config.analyse.calibrate_at is not None
    idle.unless(calibrated, "no config.analyse.calibrate_at is set", "analyse.calibrate_hertz")
