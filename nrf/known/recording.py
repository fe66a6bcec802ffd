"""Recording the known system and its controls, in the form in which a trained field is recorded.

Every trial is a chain of its own: burn-in and blank at contrast 0, the stimulus, the blank again, position and momentum
carried on throughout.  The recordings of a run are

    contrast_trials                the Gaussian scale mixture under the project's underdamped sampler
    contrast_trials@langevin       the same energy under overdamped Langevin dynamics, ε = 1.8 / λ_max: no inertia
    contrast_trials@fixed_scale    the scale held at the value of one contrast: inertia, but no gain control

of level `full`, with layer 1 the 32 units on a map of one place.  Momentum is that before the kick, gradient that at
the state before the step, as in the recordings of a field.
"""

from __future__ import annotations

import pathlib
import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nrf import predictions
from nrf.curvature import make_geometry
from nrf.known import mixture as gsm
from nrf.samplers import Sampler, make_sampler
from recordings import names
from recordings.format import Array, Schema
from recordings.names import FIXED_SCALE, FULL, GRADIENT, LANGEVIN, MOMENTUM, STATE, TRIALS
from recordings.periods import Periods
from recordings.reading import recording_folder
from recordings.writing import Writer
from runtime import devices
from runtime.errors import ConfigError
from runtime.interrupt import stop_on_signal
from runtime.metrics import Progress

LAYER = 1
BATCH_STEPS = 100  # of the batch means that a test of activity reads
MS_PER_STEP = 1.0  # what a step of the underdamped sampler is said to last
STABILITY = 1.8  # ε λ_max of the Langevin control, of which 2 is the limit


class System(NamedTuple):
    """One of the recordings."""

    name: str
    scale: str  # one of mixture.SCALES
    sampler: Sampler
    variables: tuple[str, ...]
    about: dict[str, Any] | None  # of a control


def record(config: ConfigDict, workdir: str | pathlib.Path) -> dict[str, pathlib.Path]:
    """Record the known system and its controls, or what is missing of them; returns the folder of each by name.

    Args:
        config: with the group `known`, see configs/known.py, and `seed`.
        workdir: run folder.

    Raises:
        ConfigError: a field of config.known cannot be used.
        RecordingError: a recording of other settings is in the way.
    """
    check_settings(config)
    devices.set_matmul_precision("highest")
    known, model = config.known, gsm.make_mixture()
    contrasts = np.repeat(np.asarray(known.contrasts, float), known.trials)
    periods = Periods(known.burn_in, known.blank, known.stimulus, known.blank_after)
    systems = make_systems(config, model)
    folders = {system.name: recording_folder(workdir, system.name) for system in systems}
    with stop_on_signal() as stop, Progress(len(systems) * len(known.contrasts), 0, "recording") as progress:
        done = 0
        for system in systems:
            schema = make_schema(config, system, model, contrasts, periods)
            with Writer(folders[system.name], schema) as writer:
                run, missing = make_run(config, system, model, periods), writer.missing()
                for block in range(schema.num_blocks):
                    if block in missing and not stop.requested:
                        rows = schema.stimuli_of(block)
                        write_block(writer, block, run, _key(config.seed, block), contrasts[rows], model)
                    done += 1
                    progress.update(done, system.name)
    write_predictions(config, model, workdir)
    return folders


def check_settings(config: ConfigDict) -> None:
    """Raise ConfigError for values of config.known that do not go together, naming the field."""
    known = config.known
    if len(known.contrasts) < 1 or min(known.contrasts) < 0 or len(set(known.contrasts)) < len(known.contrasts):
        raise ConfigError(f"config.known.contrasts is {known.contrasts}; give different numbers of at least 0")
    limit = 2 / np.sqrt(gsm.largest_curvature(gsm.make_mixture()))
    if not known.step_size < limit:
        raise ConfigError(
            f"config.known.step_size is {known.step_size}; it must lie below {limit:.4g}, where the sampler becomes "
            "unstable"
        )


def make_systems(config: ConfigDict, model: gsm.Mixture) -> list[System]:
    """The recordings that config.known asks for, controls last."""
    known, step = config.known, STABILITY / gsm.largest_curvature(model)
    inertial = make_sampler("underdamped", step_size=known.step_size, friction=known.friction, temperature=1.0)
    overdamped = make_sampler("langevin", step_size=step, temperature=1.0)
    systems = [System(TRIALS, known.scale, inertial, (STATE, MOMENTUM, GRADIENT), None)]
    if LANGEVIN in known.controls:
        about = {"name": LANGEVIN, "change": "overdamped Langevin dynamics of the same energy", "step_size": step}
        systems.append(System(names.of_control(TRIALS, LANGEVIN), known.scale, overdamped, (STATE,), about))
    if FIXED_SCALE in known.controls:
        about = {"name": FIXED_SCALE, "change": f"the scale z held at its value for contrast {known.fixed_at}"}
        systems.append(System(names.of_control(TRIALS, FIXED_SCALE), "fixed", inertial, (STATE,), about))
    return systems


def make_schema(
    config: ConfigDict, system: System, model: gsm.Mixture, contrasts: np.ndarray, periods: Periods
) -> Schema:
    """What the recording of a system holds; a block has the trials of one contrast."""
    count, maps = len(contrasts), ("stimulus", "height", "width", "channel")
    arrays = {
        names.IMAGES: Array(maps, (count, gsm.SIZE, gsm.SIZE, 1), "float32"),
        names.sites(LAYER): Array(("stimulus", "site", "coordinate"), (count, 1, 2), "int16"),
        names.TOTAL_ENERGY: Array(("time", "stimulus"), (periods.total, count), "float32"),
    }
    for variable in system.variables:
        shape = (periods.total, count, 1, 1, gsm.UNITS)
        arrays[names.traces(variable, LAYER)] = Array(("time", *maps), shape, config.known.dtype)
    options = {key: value for key, value in system.sampler.options.items() if value is not None}
    about = {
        "experiment": TRIALS,
        "system": f"Gaussian scale mixture, scale: {system.scale}",
        "level": FULL,
        "periods": list(periods),
        "table": {
            "contrast": contrasts.tolist(),
            "angle": np.full(count, np.pi / 2).tolist(),
            "repeat": np.tile(np.arange(config.known.trials), len(config.known.contrasts)).tolist(),
        },
        "channel_angles": model.angles.tolist(),
        "layers": [LAYER],
        "variables": list(system.variables),
        "batch_steps": BATCH_STEPS,
        "filmed": [],
        "movie_every": 1,
        "seed": config.seed,
        **({} if system.about else {"ms_per_step": MS_PER_STEP}),
        "sampler": {"name": system.sampler.name, **options},
        **({} if system.about is None else {"control": system.about}),
    }
    return Schema(arrays, count, config.known.trials, about)


def write_predictions(config: ConfigDict, model: gsm.Mixture, workdir: str | pathlib.Path) -> pathlib.Path | None:
    """Write what the curvature predicts of the recording without control; None where the energy is not quadratic.

    At a given scale the posterior is Gaussian, so that its mean needs no chain.
    """
    known = config.known
    if known.scale not in ("mode", "fixed"):
        return None
    shown = np.asarray(known.contrasts, float)
    screen = gsm.make_screen(model, shown, known.fixed_at if known.scale == "fixed" else None)
    means = [
        np.linalg.solve(gsm.curvature(model, z), z * projected / gsm.NOISE)
        for projected, z in zip(screen[0].astype(float), screen[2].astype(float), strict=True)
    ]
    mean = (np.stack(means).astype(np.float32),)
    dark = (np.zeros((1, gsm.UNITS), np.float32),)
    table = predictions.predict(
        gsm.make_gradient_fn(gsm.make_energy(model, known.scale), jax.device_put(screen)),
        predictions.MeanStates(mean, mean, mean),
        predictions.MeanStates(dark, dark, dark),
        shown,
        make_geometry((gsm.UNITS,), known.step_size, known.friction, 1.0),
        {f"layer_{LAYER}/site": predictions.Signal(0, np.ones(gsm.UNITS, np.float32))},
        jax.random.key(config.seed),
        gsm.UNITS,
    )
    return predictions.write_predictions(table, workdir)


def make_run(config: ConfigDict, system: System, model: gsm.Mixture, periods: Periods):
    """Return run(key, contrasts (B,)) -> {array: (time, B, 32)} of one block of trials, of the energy (time, B)."""
    energy, sampler, known = gsm.make_energy(model, system.scale), system.sampler, config.known
    fixed_at = _fixed_at(config, system)

    @jax.jit
    def simulate(key, screen, blank):
        starts, steps = jax.random.split(key)
        position = gsm.start_positions(starts, model, len(screen[1]), system.scale)
        state = sampler.init(position, gsm.make_gradient_fn(energy, blank))

        def advance(state, time):
            on = (time >= periods.onset) & (time < periods.offset)
            shown = jax.tree.map(lambda lit, dark: jnp.where(on, lit, dark), screen, blank)
            state, info = sampler.step(jax.random.fold_in(steps, time), state, gsm.make_gradient_fn(energy, shown))
            # Of what is not asked for, a sampler may have nothing.
            source = {STATE: lambda: state.position, MOMENTUM: lambda: state.momentum, GRADIENT: lambda: info.gradient}
            kept = {names.traces(name, LAYER): source[name]()[0].astype(known.dtype) for name in system.variables}
            return state, {**kept, names.TOTAL_ENERGY: info.energy}

        return jax.lax.scan(advance, state, jnp.arange(periods.total))[1]

    def run(key: jax.Array, contrasts: np.ndarray) -> dict[str, np.ndarray]:
        screens = (gsm.make_screen(model, levels, fixed_at) for levels in (contrasts, np.zeros_like(contrasts)))
        return {name: np.asarray(values) for name, values in simulate(key, *screens).items()}

    return run


def write_block(writer: Writer, block: int, run, key: jax.Array, contrasts: np.ndarray, model: gsm.Mixture) -> None:
    """Simulate and write the trials of one block."""
    for name, values in run(key, contrasts).items():
        writer.write(block, name, values if name == names.TOTAL_ENERGY else values[:, :, None, None])
    images = np.stack([gsm.image(model, c).reshape(gsm.SIZE, gsm.SIZE, 1) for c in contrasts])
    writer.write(block, names.IMAGES, images.astype(np.float32))
    writer.write(block, names.sites(LAYER), np.zeros((len(contrasts), 1, 2), np.int16))
    writer.finish(block)


def _fixed_at(config: ConfigDict, system: System) -> float | None:
    return config.known.fixed_at if system.scale == "fixed" else None


def _key(seed: int, block: int) -> jax.Array:
    # The same for the model and its controls: their chains start from the same states.
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), zlib.crc32(TRIALS.encode())), block)
