"""The Neural Random Field with latent variables, trained by contrastive divergence.

    python launch.py --config=configs/nrflv.py            quick: grey 16x16 patches of photographs that come with
                                                          scikit-image; nothing is downloaded; about three minutes on
                                                          2 cores; long chains have the data's spectrum and contrast
    python launch.py --config=configs/nrflv.py:patches    the same field trained for hours: `pretrained/patches`
    python launch.py --config=configs/nrflv.py:digits --config.data.dir=DATA
                                                          28x28 digits; hours on 2 cores
    python launch.py --config=configs/nrflv.py:cifar --config.data.dir=DATA
                                                          32x32 colour photographs, small model; hours on 2 cores
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

from ml_collections import ConfigDict

from recordings.names import (
    CONTROLS,
    FREE,
    LEVELS,
    LINE,
    OBSERVE,
    PATCHES,
    PRIMARY,
    REPEATED,
    TRIALS,
    TUNING,
    VARIABLES,
)
from recordings.periods import LEAST_STEPS
from runtime.config import select_preset
from runtime.fields import choice, choice_per_layer, number, optional, per_layer, several

MODES = ("standard", "channels_energy", "channels_state")
EXPERIMENTS = (PRIMARY, TRIALS, TUNING, REPEATED, PATCHES, LINE, OBSERVE, FREE)


def get_config(preset: str = "quick") -> ConfigDict:
    """The config of a preset: quick (default), patches, digits, cifar or thesis; or that of a run in a folder."""
    if pathlib.Path(preset).is_dir():
        return of_run(preset)
    config = base()
    presets = {"quick": quick, "patches": patches, "digits": digits, "cifar": cifar, "thesis": thesis}
    select_preset(preset, presets)(config)
    return config


def of_run(folder: str) -> ConfigDict:
    """All fields, with the values that the run in a folder was started with."""
    from nrf.trained import read_run_config

    config, found = base(), read_run_config(folder).to_dict()
    # These groups have the fields that a run gave them, and no others.
    config.model.architecture, config.record.sets = ConfigDict(), ConfigDict()
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
    # root of the sampler's temperature makes the untrained energy the Gaussian with the data's spectrum.
    config.data.whitened_sd = optional(float, above=0)
    config.data.whitened_sd = 0.1
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
    # Long enough for latents to come to rest: where they overshoot, or lag, that is learned as if it were the law.
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
    config.negative.renewed = number(0.01, at_least=0, at_most=1)  # share of them that starts afresh each update
    config.negative.buffer_size = number(2000, at_least=1)
    config.negative.buffer_fraction = number(0.95, at_least=0, at_most=1)
    config.negative.growth = number(1.0, above=0)  # of the length when the energy stays above the positive one's
    config.negative.growth_margin = 0.0  # energy per pixel
    config.negative.growth_window = number(200, at_least=1)  # batches
    config.negative.growth_cooldown = number(5, at_least=0)  # epochs
    config.negative.growth_first_epoch = number(5, at_least=0)

    config.train = ConfigDict()
    config.train.updates = number(300, at_least=1)
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
    config.train.l2 = number(0.0, at_least=0)  # weight of the squared energies, a penalty that biases the law
    config.train.energy_unit = number(0.02, above=0)  # of energies in loss and log; the temperature: nats
    config.train.per_pixel = True  # energies in the loss: mean per image and pixel, or the sum over the batch
    config.train.own_clip = False  # the clip of the thesis that belongs to the optimizer (see nrf/optimizers.py)
    config.train.global_norm = number(50.0, at_least=0)  # limit of the norm of all parameters' gradient, 0 for none
    config.train.max_energy = number(1e4, above=0)  # per pixel; beyond it the run stops as diverged

    config.sweep = ConfigDict({"grid": (), "runs": ()})  # many runs in place of one, see runtime/sweeps.py

    config.log = ConfigDict()
    config.log.every = number(10, at_least=1)  # updates between lines of metrics
    config.log.histograms_every = number(0, at_least=0)  # 0 for none
    config.log.checkpoint_every = number(50, at_least=1)
    config.log.keep = number(2, at_least=1)  # latest checkpoints kept, beside the best

    config.monitor = ConfigDict()  # long chains at the averaged weights, from noise and from data (nrf/monitor.py)
    config.monitor.every = number(100, at_least=1)  # updates
    config.monitor.chains = number(64, at_least=2)  # of each kind
    config.monitor.steps = number(400, at_least=20)

    config.visualise, config.record, config.diagnose = visualisation(), recording(), diagnosis()
    config.score, config.analyse = scoring(), analysis()
    return config


def visualisation() -> ConfigDict:
    """Stage `visualise`: long free phases, and what each channel of a layer likes."""
    config = ConfigDict()
    config.modes = several(MODES, MODES)
    config.layers = optional(tuple)  # None for all latent layers
    config.steps = number(200, at_least=1)
    config.frames = number(20, at_least=1)  # of the animation
    config.samples = number(4, at_least=1)  # images per channel
    config.annealing = number(10.0, at_least=1)  # how much hotter the first steps are, 1 for none
    config.energy_scale = 0.5
    config.held_value = 0.8  # value of the channel that channels_state holds
    return config


def recording() -> ConfigDict:
    """Stage `record`: the trained model is shown stimuli; lengths in sampler steps."""
    config = ConfigDict()
    config.experiments = several((PRIMARY, TRIALS, TUNING, REPEATED, PATCHES, LINE), EXPERIMENTS)
    config.controls = several(("langevin", "shuffled_weights"), CONTROLS)
    config.controlled = several((TRIALS,), EXPERIMENTS)  # experiments recorded under the controls too
    config.level = choice(*LEVELS)
    config.layers = (1,)
    config.variables = several(("state", "momentum", "gradient"), VARIABLES)
    config.dtype = choice("float16", "float32")
    config.block = number(32, at_least=1)  # stimuli computed and written together
    config.chunk = number(100, at_least=1)  # steps per compiled call
    config.burn_in = number(100, at_least=0)
    config.blank = number(400, at_least=0)
    config.stimulus = number(600, at_least=LEAST_STEPS)
    config.blank_after = number(300, at_least=0)
    config.observe_steps = number(1500, at_least=LEAST_STEPS)
    config.num_images = number(16, at_least=1)
    config.patch = number(1, at_least=0)  # pixels around the centre whose traces are kept
    config.batch_steps = number(100, at_least=1)  # steps of the batch means behind the corrected tests
    config.prediction = ConfigDict(  # from the curvature at the mean states, for contrast_and_angle
        {
            "angles": number(4, at_least=0),  # of the set; 0 for no prediction
            "chains": number(1, at_least=1),  # a stimulus
            "settle": number(100, at_least=0),  # steps before those that are averaged
            "steps": number(400, at_least=2),
            "lanczos": number(48, at_least=2),  # iterations
        }
    )
    config.known = True  # record the system with known answers beside the field
    config.movie = number(1, at_least=0)  # stimuli filmed
    config.movie_every = number(5, at_least=1)
    config.sets = ConfigDict(
        {
            "contrast_and_angle": {"contrasts": 8, "angles": 8},
            "contrast_trials": {"repeats": 64},
            "just_angle": {"angles": 32},
            "just_angle_few_angles": {"angles": 8, "repeats": 8},
            "long_just_fewangles": {"angles": 8, "repeats": 4},
            "double_fewlocs_and_fewerangles": {"distances": (3, 5, 7), "repeats": 4},
        }
    )
    return config


def analysis() -> ConfigDict:
    """Stage `analyse`: tables, figures and a report of what was recorded."""
    config = ConfigDict()
    config.layer = optional(int)  # None for the first one recorded
    config.compat = False  # the original's formulas, defects included
    config.level = 0.05  # of tests and false discovery rates
    config.surrogates = 199
    config.resamples = 10_000  # of bootstrap intervals
    config.calibrate_at = optional(float)  # contrast whose peak frequency sets the time scale; None: 17 steps = 70 ms
    config.calibrate_hertz = 40.0
    return config


def diagnosis() -> ConfigDict:
    """Stage `diagnose`: how well the chains mix, and how the energy tells images apart."""
    config = ConfigDict()
    config.chains = number(8, at_least=2)
    config.warmup = number(200, at_least=0)
    config.steps = number(1000, at_least=1)
    config.thin = number(1, at_least=1)
    config.chunk = number(100, at_least=4)
    config.units = number(16, at_least=1)  # per layer, whose traces are examined
    config.long_steps = number(100_000, at_least=20)  # of the chains whose stationarity is judged
    config.long_chains = number(16, at_least=2)  # from noise, and as many from data
    config.images = number(64, at_least=1)
    config.others = ()  # further image sets, as in data.name
    return config


def scoring() -> ConfigDict:
    """Stage `score`: log likelihood, restoration and detection beside simple models of images."""
    config = ConfigDict()
    config.temperature = optional(float, above=0)  # of the distribution judged; None for the sampler's
    config.images = number(64, at_least=2)  # held-out patches
    config.patches = number(20000, at_least=10)  # training patches that the simple models are fitted to, at most
    config.chains = number(64, at_least=2)  # annealed for log Z
    config.equilibrate = number(1000, at_least=2)  # steps of the model's own sampler behind the reverse chains' starts
    config.anneal = number(600, at_least=1)  # moves between base and model
    config.image_chains = number(2, at_least=1)  # annealed for each image
    config.image_anneal = number(100, at_least=1)
    config.leapfrog = number(3, at_least=1)  # gradients of a move
    config.block = number(32, at_least=1)  # images annealed together
    config.noise_levels = (10.0, 25.0, 50.0)  # of denoising, standard deviations in 8-bit grey levels
    config.hole = number(6, at_least=1)  # side of the square to fill in, pixels; seen around it at the least noise
    config.restore = number(200, at_least=1)  # moves averaged
    config.digits = optional(str)  # a further set of outliers, as in data.name
    config.mixture = number(200, at_least=1)  # Gaussians of the mixture
    config.mixture_updates = number(10, at_least=2)
    config.ica_updates = number(1500, at_least=1)
    return config


def quick(config: ConfigDict) -> None:
    """16x16 grey patches: the base as it is."""


def patches(config: ConfigDict) -> None:
    """16x16 grey patches, for as long as it takes."""
    config.train.updates = 3000
    config.monitor.update({"every": 500, "steps": 1000})
    config.log.update({"checkpoint_every": 100})


def samplers() -> ConfigDict:
    """One group of options for each sampler; `name` chooses.

    Numbers and masses may be tuples with one entry per layer.  coupling_sd: width of a circulant mass in channels, None
    for the published one.  boundary: what happens at the walls of the states, see nrf/samplers/boundaries.py.
    """
    config = ConfigDict()
    config.name = choice(
        "underdamped", "langevin", "sghmc", "sghmc_thesis", "adam", "nesterov", "momentum", "sgd", "hmc", "mala", "nuts"
    )
    config.gradient_clip = number(0.0, at_least=0)  # limit of the norm of the states' gradient, 0 for none

    def walls(*boundaries: str) -> dict:
        return {"boundary": choice(*boundaries)}

    def masses(kind: str) -> dict:
        kinds = ("diagonal", "circulant") if kind == "diagonal" else ("circulant", "diagonal")
        return {"mass": choice_per_layer(*kinds), "coupling_sd": per_layer(None, above=0)}

    def descent(step_size: float, **others) -> ConfigDict:
        return ConfigDict({"step_size": per_layer(step_size, above=0), **others, **walls("clamp", "none")})

    def share(value: float):
        return number(value, at_least=0, below=1)

    config.underdamped = ConfigDict(
        {
            "step_size": per_layer(0.35, above=0),
            "friction": per_layer(0.35, above=0),
            "temperature": per_layer(0.02, at_least=0),
            **masses("diagonal"),
            **walls("reflect", "clamp", "none"),
        }
    )
    config.langevin = ConfigDict(
        {
            "step_size": per_layer(0.05, above=0),
            "temperature": per_layer(0.02, at_least=0),
            "scheme": choice("leimkuhler-matthews", "euler"),
            **walls("reflect", "clamp", "none"),
        }
    )
    config.sghmc = ConfigDict(
        {
            "step_size": per_layer(0.1, above=0),
            "friction": per_layer(0.1, above=0),
            "temperature": per_layer(0.02, at_least=0),
            "num_burn_in": number(10, at_least=0),
            "mean_batch_preconditioner": False,
            **masses("diagonal"),
            **walls("reflect", "clamp", "none"),
        }
    )
    config.sghmc_thesis = ConfigDict(
        {
            "step_size": per_layer(0.1, above=0),
            "friction": per_layer(0.1, above=0),
            "sigma": per_layer(0.0, at_least=0),
            "min_sq_sigma": per_layer(9e-5, at_least=0),
            "max_sq_sigma": per_layer(1e-4, at_least=0),
            "num_burn_in": number(100, at_least=0),
            "scale_grad": per_layer(1.0, above=0),
            "momentum_clip": per_layer(None, above=0),  # of the norm of a layer's displacement, over the whole batch
            "mean_batch_preconditioner": False,
            **masses("circulant"),
            **walls("clamp", "none"),
        }
    )
    config.adam = descent(0.05, b1=share(0.9), b2=share(0.999))
    config.nesterov = descent(0.05, momentum=share(0.9))
    config.momentum = descent(0.05, momentum=share(0.9))
    config.sgd = descent(0.1)

    def referee(step_size: float, **others) -> ConfigDict:
        own = {"step_size": number(step_size, above=0), "temperature": number(0.02, above=0)}
        return ConfigDict({**own, **others, **walls("reflect", "none")})

    config.hmc = referee(0.2, num_integration_steps=number(5, at_least=1), inverse_mass=per_layer(1.0, above=0))
    config.mala = referee(0.03)
    config.nuts = referee(0.2, max_num_doublings=number(4, at_least=1), inverse_mass=per_layer(1.0, above=0))
    return config


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
    config.train.update({"updates": 4000, "average": 0.998})
    config.monitor.update({"every": 500, "steps": 1000})
    config.log.update({"checkpoint_every": 100})


def cifar(config: ConfigDict) -> None:
    """32x32 colour photographs, a model small enough for a CPU."""
    config.data.update({"name": "tfds:cifar10", "size": 32, "channels": 3})
    config.model.architecture = patch_architecture(size=32, channels=3)
    config.train.update({"updates": 4000, "average": 0.998})
    config.monitor.update({"every": 500, "steps": 1000})
    config.log.update({"checkpoint_every": 100})


def thesis(config: ConfigDict) -> None:
    """The published command, noise clamp and all: the sampler runs at a temperature of about 0.001 to 0.005.

    Its logging intervals, in sampler steps, are those below in updates of 1000 steps.
    """
    config.data.update({"name": "tfds:cifar10", "size": 32, "channels": 3, "rescale": False})
    config.data.update({"whitened_sd": None, "noise": 0.0})
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
    config.monitor.update({"every": 500, "steps": 1000})
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
