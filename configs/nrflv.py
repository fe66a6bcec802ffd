"""The Neural Random Field with latent variables, trained by contrastive divergence.

    python launch.py --config=configs/nrflv.py            quick: grey 16x16 patches of photographs that come with
                                                          scikit-image; nothing is downloaded; minutes on 2 cores;
                                                          long chains have the data's spectrum, not yet its edges
    python launch.py --config=configs/nrflv.py:patches    the same field trained for longer: `pretrained/patches`
                                                          (7 minutes of one core)
    python launch.py --config=configs/nrflv.py:digits --config.data.dir=DATA
                                                          28x28 digits: `pretrained/digits` (15 minutes of one core)
    python launch.py --config=configs/nrflv.py:cifar --config.data.dir=DATA
                                                          32x32 colour photographs, small model: the first half of
                                                          `pretrained/cifar` (36 minutes of one core)
    python launch.py --config=configs/nrflv.py:thesis_architecture --config.data.dir=DATA
                                                          the architecture of the thesis, trained like the others:
                                                          the first half of `pretrained/thesis_architecture`
    python launch.py --config=configs/nrflv.py:thesis --config.data.dir=DATA
                                                          the architecture, sampler and schedule of the thesis on
                                                          CIFAR-10: 47,500 updates of 500 + 500 steps at batch 128;
                                                          meant for a GPU, and within 12 GB of memory

    python launch.py --config=pretrained/patches --stages=record,analyse
                                                          a field that comes with the program, or any run folder

DATA is a folder of sets prepared by TensorFlow Datasets.  Every field can be changed on the command line, for example
`--config.train.lr=3e-4 --config.sampler.name=sghmc`.  The base below is the quick preset; the others list what differs.
"""

import pathlib
from collections.abc import Callable, Iterator

from ml_collections import ConfigDict

from configs.nrflv_groups import analysis, diagnosis, recording, responding, samplers, scoring, visualisation
from recordings.names import LINE, PATCHES, REPEATED
from runtime.config import select_preset
from runtime.fields import choice, number, optional


def get_config(preset: str = "quick") -> ConfigDict:
    """The config of a preset, quick or another of `presets()`, or that of a run in a folder."""
    if pathlib.Path(preset).is_dir():
        return of_run(preset)
    config = base()
    select_preset(preset, presets())(config)
    return config


def presets() -> dict[str, Callable[[ConfigDict], None]]:
    """What each preset changes of the base."""
    return {
        "quick": quick, "patches": patches, "digits": digits, "cifar": cifar,
        "thesis_architecture": thesis_architecture, "thesis": thesis,
    }  # fmt: skip


def defaults(config: ConfigDict) -> Iterator[ConfigDict]:
    """Configs whose values nobody chose in a file of his own: the presets, and the run that the config starts from."""
    yield from map(get_config, presets())
    if config.train.start_from and pathlib.Path(config.train.start_from).is_dir():
        yield of_run(config.train.start_from)


def of_run(folder: str) -> ConfigDict:
    """All fields, with the values that the run in a folder was started with, where its config says them."""
    from nrf.trained import read_run_config

    config, found = base(), read_run_config(folder).to_dict()
    # These groups have the fields that a run gave them, and no others.
    with config.unlocked():
        config.model.architecture = ConfigDict()
        if "record" in found:
            config.record.sets = ConfigDict()
        config.update(found)
    return config


def base() -> ConfigDict:
    """All fields, with the values of the quick preset."""
    config = ConfigDict()
    config.seed = 0
    config.precision = choice("highest", "high", "default")  # matrix products on accelerators: float32, TF32 x 3, TF32

    config.data = ConfigDict()
    config.data.name = "natural"  # natural, tfds:NAME or folder:PATH
    config.data.dir = optional(str)  # folder of prepared TensorFlow Datasets
    config.data.size = number(16, at_least=1)  # pixels
    config.data.channels = number(1, at_least=1)
    config.data.num_train = optional(int, at_least=1)  # training images, None for all there are (natural: 20,000)
    config.data.contrast = optional(float, above=0)  # standard deviation to which images are stretched
    config.data.rescale = True  # map grey levels [0, 1] to the range of the image layer, where they are not whitened
    # Standard deviation of the image layer in whitened coordinates (see nrf/whitening.py), None for grey levels.  The
    # root of the sampler's temperature makes the untrained energy the Gaussian with the data's spectrum; a little below
    # it, the strongest images have the contrast at which saturated networks leave the quadratic term to itself.
    config.data.whitened_sd = optional(float, above=0)
    config.data.whitened_sd = 0.12
    # Power of an image's contrast that whitened coordinates keep, 1 for contrast as it is (`whitening.Gain`).
    config.data.gain_control = number(0.5, above=0, at_most=1)
    # Noise added to training images, standard deviation in units of the image layer: it bounds how stiff the energy
    # becomes to hold faint images, and so the step that samples them.
    config.data.noise = number(0.02, at_least=0)

    config.model = ConfigDict()
    config.model.checkpoint = optional(str)  # .pt file of the original program, whose weights are the run's first
    config.model.named = optional(str)  # an architecture of nrf/architectures.json, in place of the lists below
    config.model.architecture = patch_architecture(size=16, channels=1)
    config.model.state_activation = choice("hardtanh", "hardsig", "relu")
    config.model.activation = choice("tanh", "swish", "leaky_relu", "relu")  # only tanh saturates
    config.model.gain = number(10.0, above=0)  # phi(gain x) / gain: 1 / sqrt(T) makes tanh bend where states vary
    config.model.weight_norm = True
    config.model.ff_dynamics = False  # follow -s + f/2 + b instead of the energy gradient
    config.model.convolution = choice("auto", "direct", "spectral")

    config.initializer = ConfigDict()
    config.initializer.lr = number(0.05, above=0)
    config.initializer.weight_norm = True

    config.sampler = samplers()

    config.positive = ConfigDict()
    # Long enough for latents to come to rest: where they overshoot, or lag, that is learned as if it were stationary.
    config.positive.steps = number(15, at_least=1)
    config.positive.poisson = False  # draw the number of steps from a Poisson distribution
    # Of the latents: where those of the last batch ended, N(0, T), uniform over their range, ...
    config.positive.start = choice("previous", "thermal", "random", "initializer", "zeros")
    config.positive.stop_threshold = optional(float, above=0)  # stop when the energy moved less than this ...
    config.positive.stop_window = number(50, at_least=1)  # ... over so many steps ...
    config.positive.stop_after = number(200, at_least=0)  # ... and not before so many

    config.negative = ConfigDict()
    config.negative.steps = number(10, at_least=1)
    config.negative.poisson = False
    config.negative.longest = number(40, at_least=1)  # no phase is longer, whatever the rules below say
    config.negative.start = choice("persistent", "buffer")  # chains that keep position and momentum, or a buffer
    config.negative.fresh = choice("thermal", "uniform", "initializer")  # new starts: N(0, T), ..., from noise images
    config.negative.chains = number(32, at_least=1)  # persistent ones
    config.negative.renewed = number(0.005, at_least=0, at_most=1)  # share of them that starts afresh each update
    # Share of the renewed chains that start where the positive phase ended, on images; the rest as `fresh` says.
    config.negative.from_data = number(0.5, at_least=0, at_most=1)
    config.negative.buffer_size = number(2000, at_least=1)
    config.negative.buffer_fraction = number(0.95, at_least=0, at_most=1)
    config.negative.growth = number(1.0, above=0)  # of the length when the energy stays above the positive one's
    config.negative.growth_margin = 0.0  # energy per pixel
    config.negative.growth_window = number(200, at_least=1)  # batches
    config.negative.growth_cooldown = number(5, at_least=0)  # epochs
    config.negative.growth_first_epoch = number(5, at_least=0)

    config.train = ConfigDict()
    config.train.updates = number(400, at_least=1)
    config.train.start_from = optional(str)  # run folder whose weights, and chains if they fit, are the run's first
    config.train.batch = number(32, at_least=1)
    config.train.optimizer = choice("adam", "sgd")
    config.train.lr = number(1e-3, above=0)
    # Learning rate of the latents' networks over that of the image's: what only latents feel, the likelihood hardly
    # constrains, and an optimizer that gives every weight steps of one size lets it drift.
    config.train.latent_lr = number(0.05, above=0)
    config.train.lr_schedule = choice("cosine", "epochs")  # to lr_final at the last update; or a factor per epoch
    config.train.lr_final = number(1e-5, at_least=0)
    config.train.lr_decay = number(1.0, above=0)  # factor per epoch
    config.train.average = number(0.995, at_least=0, below=1)  # memory of the running average of weights, 0 for none
    config.train.l2 = number(0.0, at_least=0)  # weight of the squared energies, a penalty that biases the distribution
    config.train.energy_unit = number(0.02, above=0)  # of energies in loss and log; the temperature: nats
    config.train.per_pixel = True  # energies in the loss: mean per image and pixel, or the sum over the batch
    config.train.own_clip = False  # the clip of the thesis that belongs to the optimizer (see nrf/optimizers.py)
    config.train.global_norm = number(50.0, at_least=0)  # limit of the norm of all parameters' gradient, 0 for none
    config.train.max_energy = number(1e4, above=0)  # per pixel; beyond it the run stops as diverged

    config.sweep = ConfigDict({"grid": (), "runs": ()})  # many runs in place of one, see runtime/sweeps.py
    # Runs that differ in numbers only (nrf/together.py) and train in one program, at most; fewer where memory is short.
    config.sweep.together = number(16, at_least=1)
    # Record each run as soon as it is trained, where it was trained: a sweep that is broken off has whole runs.
    config.sweep.record = False

    config.log = ConfigDict()
    config.log.every = number(10, at_least=1)  # updates between lines of metrics
    config.log.histograms_every = number(0, at_least=0)  # 0 for none
    config.log.checkpoint_every = number(50, at_least=1)
    config.log.keep = number(2, at_least=1)  # latest checkpoints kept, beside the best

    config.monitor = ConfigDict()  # long chains at the averaged weights, from noise and from data (nrf/monitor.py)
    config.monitor.every = number(200, at_least=1)  # updates
    config.monitor.chains = number(64, at_least=2)  # of each kind
    config.monitor.steps = number(400, at_least=20)

    config.visualise, config.record, config.diagnose = visualisation(), recording(), diagnosis()
    config.score, config.analyse, config.respond = scoring(), analysis(), responding()
    return config.lock()  # a field that is not there is an error where a config sets it


def quick(config: ConfigDict) -> None:
    """16x16 grey patches: the base as it is."""


def patches(config: ConfigDict) -> None:
    """16x16 grey patches, until chains have the kurtosis of natural images too."""
    config.negative.update({"chains": 64, "steps": 15})
    config.train.update({"updates": 900, "average": 0.99})
    config.monitor.update({"every": 150, "steps": 1000, "chains": 32})
    config.log.update({"every": 25, "checkpoint_every": 50, "keep": 9})


def patch_architecture(size: int, channels: int) -> ConfigDict:
    """A small three-layer model: a latent map as large as the image, and one a quarter as wide.

    The image reads itself, so that it need not be white noise around what the latents say.
    """
    return ConfigDict(
        {
            "state_sizes": ((channels, size, size), (8, size, size), (16, size // 4, size // 4)),
            "connect": ((0, 1, 2), (0, 1, 2), (1, 2)),
            "kind": (("conv", "conv", "conv"), ("conv", "conv", "conv"), ("conv", "conv")),
            "base_kernel_padding": (((7, 3), (3, 1), (3, 1)), ((7, 3), (3, 1), (3, 1)), ((3, 1), (3, 1))),
            "main_kernel": (7, 3, 3),
            "num_layers": (0, 0, 0),
            "num_ch_base": 24,
            "growth_rate": 8,
            "num_ch_initter": 8,
            "mixing": "joint",
        }
    )


def digits(config: ConfigDict) -> None:
    """28x28 digits."""
    config.data.update({"name": "tfds:mnist", "size": 28, "channels": 1})
    config.model.architecture = patch_architecture(size=28, channels=1)
    config.negative.update({"chains": 64, "steps": 15})
    config.train.update({"updates": 700, "average": 0.99})
    config.monitor.update({"every": 350, "steps": 600, "chains": 32})
    config.log.update({"checkpoint_every": 50})


def cifar(config: ConfigDict) -> None:
    """32x32 colour photographs, a model small enough for a CPU."""
    config.data.update({"name": "tfds:cifar10", "size": 32, "channels": 3})
    config.model.architecture = patch_architecture(size=32, channels=3)
    config.negative.update({"chains": 64, "steps": 15})
    config.train.update({"updates": 1000, "average": 0.99})
    config.monitor.update({"every": 250, "steps": 600, "chains": 24})
    config.log.update({"checkpoint_every": 50})


def thesis_architecture(config: ConfigDict) -> None:
    """The architecture of the thesis, trained as `cifar` is, at a small batch."""
    cifar(config)
    config.model.named = "NRFLV_CIFAR_4SL_small_densebackw_wideSL1base"
    config.negative.chains = 32
    config.train.update({"batch": 16, "updates": 500})
    config.monitor.chains = 16


def thesis(config: ConfigDict) -> None:
    """The published command, noise clamp and all: the sampler runs at a temperature of about 0.001 to 0.005.

    Its logging intervals, in sampler steps, are those below in updates of 1000 steps.
    """
    config.data.update({"name": "tfds:cifar10", "size": 32, "channels": 3, "rescale": False})
    config.data.update({"whitened_sd": None, "gain_control": 1.0, "noise": 0.0})
    config.model.update({"named": "NRFLV_CIFAR_4SL_small_densebackw_wideSL1base", "activation": "swish", "gain": 1.0})
    config.initializer.lr = 5e-4
    config.positive.start = "initializer"
    config.sampler.name = "sghmc_thesis"
    config.positive.steps = 500
    config.negative.update(
        {
            "start": "buffer",
            "steps": 500,
            "longest": 2000,
            "buffer_size": 10000,
            "growth": 1.25,
            "fresh": "uniform",
        }
    )
    config.train.update(
        {
            "updates": 47500,
            "batch": 128,
            "lr": 5e-4,
            "lr_schedule": "epochs",
            "latent_lr": 1.0,
            "lr_decay": 0.95,
            "average": 0.0,
            "energy_unit": 1.0,
            "l2": 1.0,
            "per_pixel": False,
            "own_clip": True,
            "global_norm": 0.0,
        }
    )
    config.monitor.update({"every": 10, "steps": 1000})
    config.log.update({"every": 1, "histograms_every": 3, "checkpoint_every": 50})
    # A picture every 25 steps; the sampler has no temperature to anneal.
    config.visualise.update({"steps": 5000, "frames": 200, "samples": 16, "annealing": 1.0})
    config.record.update({"blank": 1000, "stimulus": 1000, "blank_after": 600, "block": 8})
    # Every set as published, said in full, so that its flags alone give this config back.
    config.record.sets.contrast_and_angle.angles = 16
    config.record.sets.just_angle.angles = 128
    for name in (REPEATED, LINE):
        config.record.sets[name].repeats = 16
    config.record.sets[PATCHES].distances = (3, 5, 7, 10)
    config.record.controls = ("langevin", "shuffled_weights", "diagonal_mass")
