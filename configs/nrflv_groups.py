"""Groups of fields of `nrflv.py`: the samplers' options, and what the stages after training read."""

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
from runtime.fields import choice, choice_per_layer, number, optional, per_layer, several

MODES = ("standard", "channels_energy", "channels_state")
EXPERIMENTS = (PRIMARY, TRIALS, TUNING, REPEATED, PATCHES, LINE, OBSERVE, FREE)


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
            "step_size": per_layer(0.3, above=0),
            "friction": per_layer(0.3, above=0),
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

    def metropolis(step_size: float, **others) -> ConfigDict:
        own = {"step_size": number(step_size, above=0), "temperature": number(0.02, above=0)}
        return ConfigDict({**own, **others, **walls("reflect", "none")})

    config.hmc = metropolis(0.2, num_integration_steps=number(5, at_least=1), inverse_mass=per_layer(1.0, above=0))
    config.mala = metropolis(0.03)
    config.nuts = metropolis(0.2, max_num_doublings=number(4, at_least=1), inverse_mass=per_layer(1.0, above=0))
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
    config.blank = number(200, at_least=0)
    config.stimulus = number(400, at_least=LEAST_STEPS)
    config.blank_after = number(200, at_least=0)
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
            "contrast_trials": {"contrasts": (0.0, 0.8, 1.6, 2.4), "repeats": 64},
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
    config.calibrate_at = optional(float)  # contrast whose resonance sets the time scale; None: 17 steps = 70 ms
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


def responding() -> ConfigDict:
    """Stage `respond`: what the latents do while images of a file are shown, as features for models of neurons."""
    config = ConfigDict()
    config.images = optional(str)  # .npz file
    config.array = "images"  # of the file, (n, side, side[, channels]): integers 0 to 255, or levels in [0, 1]
    config.size = number(32, at_least=1)  # pixels that images are averaged to, a divisor of their side
    config.stride = number(8, at_least=1)  # pixels between patches of the field's size
    config.settle = number(100, at_least=0)  # steps before the first sample
    config.samples = number(20, at_least=1)
    config.every = number(10, at_least=1)  # steps between samples
    config.batch = number(256, at_least=1)  # patches at once
    config.weights = choice("trained", "shuffled")
    config.name = "latents"  # of the file in the run folder's responses/
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
