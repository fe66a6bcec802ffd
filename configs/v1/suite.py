"""All fields of a config for models of V1, and the parts that experiments are put together from.

    python launch.py --config=configs/v1/bl4.py                          the experiment as one would do it today
    python launch.py --config=configs/v1/bl4.py:ndn3                     as published, with all peculiarities
    python launch.py --config=configs/v1/bl4.py:quick                    shortened: two minutes on 2 cores
    python launch.py --config=configs/v1/bl4.py:ndn3+quick               presets can be joined
    python launch.py --config=configs/v1/bl4.py --config.data.dir=./Data recorded data in place of simulated data
    python launch.py --config=configs/v1/bl4.py --describe               what it would train (=json: for programs)

Without `--config.data.dir` a population of the recording's size is simulated, so every config runs anywhere.  The
folder holds region1, region2 and region3 of the supplement of Antolík et al. (2016), or any recording in that layout.
Any field can be changed on the command line, `--config.model.layer2.penalties.l2=0.5` for example.  What experiments
share is in `experiments.py`; docs/v1_suite.md lists them all and what `:ndn3` changes.
"""

import dataclasses
import re
from collections.abc import Callable

import numpy as np
from ml_collections import ConfigDict
from ml_collections.config_dict import FieldReference

from runtime.config import select_preset
from runtime.errors import ConfigError, did_you_mean
from runtime.fields import optional, per_layer
from v1models.layers import KINDS
from v1models.penalties import FAMILIES


def base() -> ConfigDict:
    """All fields but the model, with the values most experiments share: region 1, 10 seeds, 5000 epochs."""
    config = ConfigDict()
    config.package = "v1models"
    config.seeds = tuple(range(10))
    config.precision = "highest"  # matrix products on accelerators: highest (float32), high (TF32 x 3) or default

    config.data = ConfigDict()
    config.data.source = "simulated"  # simulated or regions; a folder in `dir` means regions
    config.data.dir = optional(str)  # folder that holds region1, region2, region3
    config.data.regions = (1,)  # several are pooled with masks
    config.data.inputs = "standard"  # none, million, standard, unit_deviation or pixel_standard
    config.data.responses = "none"  # none, unit_deviation or neuron_deviation
    config.data.inner_split = 0.0  # fraction of training rows to score on in place of the validation set
    config.data.test = 0.0  # fraction of the validation images that are scored once, at the end, and never looked at
    config.data.split_seed = 0
    config.data.own_statistics = False  # each array of each region normalized by its own statistics, before pooling
    config.data.simulated = ConfigDict()
    config.data.simulated.neurons = per_region(103, 55, 102)
    config.data.simulated.size = 31  # pixels
    config.data.simulated.train_images = per_region(1800, 1260, 1800)
    config.data.simulated.validation_images = 50
    config.data.simulated.repeats = per_region(10, 8, 12)
    config.data.simulated.kind = "center_surround"  # center_surround, energy or mixed
    config.data.simulated.noise = "poisson"  # poisson or gamma
    config.data.simulated.mean_rate = 2.0
    config.data.simulated.units = 9
    config.data.simulated.hidden = 0.2  # hidden units between these and the neurons, a fraction of the neurons
    config.data.simulated.seed = 0  # region k is simulated from seed + k
    config.data.teacher = ConfigDict()  # a fitted model whose noisy predictions stand in place of the responses
    config.data.teacher.run = optional(str)  # its run folder
    config.data.teacher.member = 14  # seed of the fit to take from there
    config.data.teacher.noise = 0.5  # c: the noise on a prediction g has the variance c² g
    config.data.teacher.scored = "noisy"  # validation responses: noisy (mean of 3 draws) or clean
    config.data.teacher.minimum = "subtracted"  # the smallest response of an array is subtracted from it, or added
    config.data.teacher.seed = 14  # of the noise

    config.model = ConfigDict()
    config.model.use = ""  # name of a group of `alternatives` whose layers stand in place of these
    config.model.mean_rate_bias = False  # start the last bias where the model predicts the mean response

    config.alternatives = ConfigDict()

    config.optimization = ConfigDict()
    config.optimization.noise = "poisson"  # poisson, gaussian, gamma, tweedie (zero-inflated gamma) or bernoulli
    config.optimization.optimizer = "adam"  # adam or lbfgs
    config.optimization.learning_rate = 1e-3
    config.optimization.batch_size = optional(int)  # None: all rows
    config.optimization.batch_size = 16
    config.optimization.keep_last_batch = True
    config.optimization.beta1 = 0.9
    config.optimization.beta2 = 0.999
    config.optimization.epsilon = 1e-8
    config.optimization.epsilon_before_correction = False  # as TensorFlow 1
    config.optimization.schedule = "constant"  # constant, cosine or exponential
    config.optimization.schedule_steps = optional(int)  # updates
    config.optimization.count_masked = False
    config.optimization.poisson_offset = 1e-6
    config.optimization.divide_by_rates = True  # the Poisson loss of a neuron is divided by its mean response
    config.optimization.rates_over_all_rows = False  # as NDN3: mean responses from validation rows as well

    config.fit = ConfigDict()
    config.fit.epochs = 5000
    config.fit.log_every = 100  # epochs between two scores
    config.fit.checkpoint_every = 5  # scores between two checkpoints
    config.fit.members_at_once = optional(int)  # networks in one program; lower it where memory is short
    config.fit.numpy_orders = False  # order rows as NDN3 does: RandomState(seed).permutation
    config.fit.numpy_starts = False  # draw initial values as NDN3 does, from RandomState(seed)
    config.fit.log_first = False  # score after the first epoch too
    config.fit.score_with_dropout = False  # scores of networks with dropout are taken under a random mask
    config.fit.score_training = False  # correlation with the training responses, at the end

    config.stopping = ConfigDict()
    config.stopping.enabled = False
    config.stopping.fraction = 0.2  # of the training rows, set aside to stop by
    config.stopping.monitor = "loss"  # loss or correlation
    config.stopping.patience = 10  # scores
    config.stopping.phases = 1
    config.stopping.rate_factor = 1 / 3  # on the learning rate, from phase to phase

    config.log = ConfigDict()
    config.log.keep = 2  # latest checkpoints kept
    config.log.neurons_shown = 6  # neurons whose preferred images are searched for at the end

    config.origin = ConfigDict()  # where the experiment was published; nothing is computed from it
    config.origin.experiment = ""  # number in the thesis
    config.origin.script = ""
    config.origin.log_name = ""
    config.origin.run = optional(int)  # number of the run there
    config.origin.without_effect = ()  # ((layer, penalty, strength), …) that the script gave and that did nothing

    config.published = ()  # percentiles 50, 90, 10 of the mean validation correlation, to stand beside ours
    config.sweep = ConfigDict()
    config.sweep.grid = ()  # ((field, (value, …)), …): every combination is a run
    config.sweep.runs = ()  # ((name, ((field, value), …)), …): one run each, crossed with the grid
    config.sweep.published_best = ()  # percentiles of the best run, where only those were published
    config.sweep.together = 16  # runs that differ in numbers only and train in one program, at most
    # A field that is not there is an error where a config sets it; experiments add layers.
    config.lock()
    config.model.unlock()
    config.alternatives.unlock()
    return config


def layer(kind: str, **options) -> ConfigDict:
    """A layer's group of fields, every option in it; penalties not named are 0.

    features: outputs; or fraction: of the number of neurons.  Options and penalties: v1models/layers/.
    """
    if kind not in KINDS:
        raise ConfigError(f"there is no kind of layer {kind!r}{did_you_mean(kind, KINDS)}")
    group = ConfigDict({"kind": kind})
    penalties = options.pop("penalties", {})
    for field in dataclasses.fields(KINDS[kind].layer):
        if field.name == "penalties":
            continue
        if field.name == "features":
            group.features, group.fraction = optional(int), optional(float)
        elif field.name == "bounds":
            group.bounds = optional(tuple)
        elif field.name in ("width", "positions"):
            group[field.name] = per_layer(options.pop(field.name))
        else:
            group[field.name] = field.default
    for name in options:
        if name not in group:
            raise ConfigError(f"a layer of kind {kind} has no option {name!r}{did_you_mean(name, group)}")
    group.lock()
    group.update(options)
    known = FAMILIES[KINDS[kind].layer.penalty_family]
    with group.unlocked():
        group.penalties = ConfigDict(dict.fromkeys(known, 0.0)).lock()
    group.penalties.update({name: float(strength) for name, strength in penalties.items()})
    return group


def set_layers(config: ConfigDict, *layers: ConfigDict) -> None:
    """Make these the layers of the model."""
    for index, group in enumerate(layers):
        config.model[f"layer{index}"] = group


def add_alternative(config: ConfigDict, name: str, *layers: ConfigDict) -> None:
    """Keep these layers under a name that `model.use` may choose."""
    config.alternatives[name] = ConfigDict()
    for index, group in enumerate(layers):
        config.alternatives[name][f"layer{index}"] = group


def dense(kind: str = "Dense", *, bias: str = "normal", **options) -> ConfigDict:
    """A softplus layer of weights with random biases: hidden units (fraction=0.2) or the neurons (fraction=1.0)."""
    return layer(kind, activation="softplus", bias_initializer=bias, **options)


def hsm_layers(gaussians: int = 9, fraction: float = 0.2, bias: str = "normal", l2: float = 0.0) -> tuple:
    """Layers of the baselines: differences of Gaussians → hidden softplus units → softplus neurons (l2 on these)."""
    return (
        layer("DifferenceOfGaussians", features=gaussians, bias_initializer=bias),
        dense(fraction=fraction, bias=bias),
        dense(fraction=1.0, bias=bias, penalties={"l2": l2}),
    )


def best_baseline(config: ConfigDict) -> None:
    """Baseline 4, from which the experiments start: random biases, l2 of 0.1 on the output layer."""
    set_layers(config, *hsm_layers(l2=0.1))


def per_region(*values: int) -> FieldReference:
    """A field that holds one number for all regions or a tuple with one for each."""
    return FieldReference(tuple(values), field_type=(int, tuple))


def layer_groups(config: ConfigDict) -> list[ConfigDict]:
    """The groups of all layers, those of alternatives among them."""
    models = (config.model, *config.alternatives.values())
    return [group for model in models for group in model.values() if isinstance(group, ConfigDict)]


def quick(config: ConfigDict) -> None:
    """Small and short enough to look at: 3 seeds, 200 epochs, 24 simulated neurons that see 600 images."""
    config.seeds = (0, 1, 2)
    config.fit.update({"epochs": 200, "log_every": 20})
    config.data.simulated.update({"neurons": 24, "train_images": 600})
    # Whatever a sweep says about the length of its runs gives way too.
    length = ("fit.epochs", "fit.log_every", "seeds")
    config.sweep.runs = tuple(
        (name, tuple((field, value) for field, value in changes if field not in length))
        for name, changes in config.sweep.runs
    )


def ndn3(config: ConfigDict) -> None:
    """Every peculiarity of the published experiments, under which a fit is NDN3's number by number.

    Arrays and regions normalized by their own statistics; numpy's initial values and row orders; TensorFlow 1's
    epsilon; Poisson rates over all rows, validation rows and masked zeros among them; bounds of (1, 25) on variances of
    full-image Gaussians and 2 added to their initial y centers; one dropout mask a unit for the whole batch, drawn
    again for every score; kernels wider than their input. The first epoch is logged.
    """
    config.data.own_statistics = True
    config.data.teacher.minimum = "added"
    config.optimization.update({"epsilon_before_correction": True, "rates_over_all_rows": True})
    config.fit.update({"numpy_orders": True, "numpy_starts": True, "log_first": True, "score_with_dropout": True})
    side = float(config.data.simulated.size)
    bounds = ((float(np.finfo(np.float64).eps), 10.0), (1.0, 25.0), (2.0, side - 2), (2.0, side - 2))
    for group in layer_groups(config):
        if "initial_y_offset" in group:
            group.initial_y_offset = 2.0
        if group.kind == "DifferenceOfGaussians":
            group.bounds = bounds
        if "cropped" in group:
            group.cropped = False
        group.dropout_mask = "unit"


def choose(preset: str, define: Callable[[ConfigDict], None], **presets: Callable[[ConfigDict], None]) -> ConfigDict:
    """The config that `define` makes of the base, under presets joined by '+': thesis (as it is), quick, ndn3, more."""
    known = {"thesis": None, "quick": quick, "ndn3": ndn3, **presets}
    changes = [select_preset(name, known) for name in preset.split("+")]
    config = base()
    define(config)
    for change in changes:
        if change is not None:
            change(config)
    return config


def defaults(config: ConfigDict) -> list[ConfigDict]:
    """Configs whose values nobody chose in a file of his own: the base and `ndn3`, with layers of the same kinds."""
    plain = base()
    plain.model.update(unset(config.model))
    plain.alternatives.update({name: unset(layers) for name, layers in config.alternatives.items()})
    published = plain.copy_and_resolve_references()
    ndn3(published)
    return [plain, published]


def unset(layers: ConfigDict) -> ConfigDict:
    """Layers of the same kinds with no option set but those that every layer of a kind needs."""
    needed = ("width", "positions")
    groups = {name: group for name, group in layers.items() if re.fullmatch(r"layer\d+", name)}
    return ConfigDict({
        name: layer(group.get("kind", ""), **{option: group[option] for option in needed if option in group})
        for name, group in groups.items()
    })  # fmt: skip


def get_config(preset: str = "thesis") -> ConfigDict:
    """Baseline 4 on the shared settings, for a start of one's own."""
    return choose(preset, best_baseline)
