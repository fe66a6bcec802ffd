"""Controls of a recording: the same experiment on the same images with one ingredient taken away.

    langevin           overdamped Langevin dynamics at the sampler's temperature, its step size tuned: no inertia
    shuffled_weights   the entries of every trained tensor permuted: the same weights, but nothing learned
    diagonal_mass      the sampler with a diagonal mass: channels not coupled by their momentum

An effect that a control shows as well does not come from what the control lacks. Chains of a control start from the
same states and see the same images as those of the experiment.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from nrf.from_config import read_sampler
from nrf.phases import make_gradient_fn, make_phase, uniform_states
from nrf.protocols import EXPERIMENTS
from nrf.samplers import make_sampler, options_for_layers
from nrf.trained import UNOPTIMIZED, Trained
from recordings.autocorrelation import autocorrelation_time
from recordings.names import CONTROLS, DIAGONAL, LANGEVIN, MOMENTUM, SHUFFLED, STATE, of_control
from recordings.reading import list_recordings, open_recording
from runtime.checkpoint import read_tree
from runtime.errors import ConfigError, RunError, did_you_mean
from runtime.metrics import Progress

# The tuning of Langevin's step size: multiples of config.sampler.langevin.step_size, the first being the reference.
FACTORS = (0.25, *(2.0 ** (k / 2) for k in range(-2, 12)))
CHAINS = 16
SETTLE, STEPS = 100, 300  # steps before and during which energy and traces are looked at
UNITS = 16  # traces per layer and chain
TOLERANCE = (0.05, 0.2)  # of the thermal energy N T/2: what is always allowed, what the sampler's own error may allow
POWER_ITERATIONS = 30


class Control(NamedTuple):
    """An experiment's variant: what to record with, and what was changed."""

    name: str
    config: ConfigDict
    trained: Trained
    about: Mapping[str, Any]  # JSON


class Tuned(NamedTuple):
    """A step size of Langevin dynamics and how it was found."""

    step_size: float | tuple[float, ...]  # units of state² per energy
    autocorrelation_time: float  # steps, mean over traces
    tried: tuple[float, ...]  # multiples of the configured step size that were run


def check_controls(config: ConfigDict) -> None:
    """Raise ConfigError for names in config.record.controls and .controlled that mean nothing for this config."""
    record = config.record
    for name in record.controls:
        if name not in CONTROLS:
            raise ConfigError(f"config.record.controls names '{name}'{did_you_mean(name, CONTROLS)}")
    for name in record.controlled:
        if name not in EXPERIMENTS:
            raise ConfigError(f"config.record.controlled names '{name}'{did_you_mean(name, EXPERIMENTS)}")
    if DIAGONAL in record.controls and not _is_coupled(config):
        raise ConfigError(
            f"config.record.controls names '{DIAGONAL}', but the sampler '{config.sampler.name}' couples no channels "
            "by its mass; leave it out"
        )


def controlled_experiments(config: ConfigDict) -> tuple[str, ...]:
    """Names of the experiments that are recorded under controls too."""
    return tuple(name for name in config.record.experiments if name in config.record.controlled)


def make_controls(
    config: ConfigDict, workdir: str | pathlib.Path, trained: Trained, images: np.ndarray
) -> list[Control]:
    """Build config.record.controls.

    Args:
        config: of the run.
        workdir: run folder; one with a recording of the Langevin control keeps its step size.
        trained: the model.
        images: (N, H, W, C) states of the image layer, on which Langevin's step size is tuned, see `tune_step_size`.

    Raises:
        ConfigError: controls that cannot be made.
        RunError: Langevin dynamics is stable at none of its step sizes.
    """
    if not controlled_experiments(config):
        return []
    makers = {LANGEVIN: _langevin, SHUFFLED: shuffle_weights, DIAGONAL: _diagonal_mass}
    return [makers[name](config, pathlib.Path(workdir), trained, images) for name in config.record.controls]


def _langevin(config: ConfigDict, workdir: pathlib.Path, trained: Trained, images: np.ndarray) -> Control:
    temperature = _temperature(config)
    about = _recorded_before(workdir, config)
    if about is None:
        tuned = tune_step_size(config, trained, images)
        print(
            f"control {LANGEVIN}: step size {tuned.step_size}, autocorrelation time {tuned.autocorrelation_time:.3g} "
            f"steps, best of {len(tuned.tried)}",
            flush=True,
        )
        about = {
            "name": LANGEVIN,
            "change": f"overdamped Langevin dynamics in place of the sampler '{config.sampler.name}'",
            "step_size": tuned.step_size,
            "temperature": temperature,
            "autocorrelation_time": tuned.autocorrelation_time,
            "tried": list(tuned.tried),
        }
    step_size = about["step_size"]
    changed = config.to_dict()
    changed["sampler"]["name"] = LANGEVIN
    step_size = tuple(step_size) if isinstance(step_size, list) else step_size
    changed["sampler"][LANGEVIN] |= {"step_size": step_size, "temperature": temperature}
    # The momentum that its state carries is a random number.
    kept = tuple(variable for variable in config.record.variables if variable != MOMENTUM)
    changed["record"]["variables"] = kept or (STATE,)
    return Control(LANGEVIN, FrozenConfigDict(changed), trained, about)


def shuffle_weights(
    config: ConfigDict, workdir: pathlib.Path, trained: Trained, images: np.ndarray | None = None
) -> Control:
    """The trained network with the entries of every tensor of its weights permuted."""
    model = trained.model
    variables = read_tree(workdir / "checkpoints", trained.updates)["variables"]
    variables = {**variables, "params": permute_entries(variables["params"], config.seed)}

    def prepare(variables):
        # The norms of spectral normalisation belong to the kernels as they were.
        settled = jax.lax.fori_loop(0, POWER_ITERATIONS, lambda _, each: model.power_iteration(each), variables)
        return model.prepare(settled)

    weights = jax.jit(prepare, compiler_options=UNOPTIMIZED)(variables)
    about = {"name": SHUFFLED, "change": "the entries of every tensor of the weights permuted", "seed": config.seed}
    return Control(SHUFFLED, config, trained._replace(weights=weights), about)


def _diagonal_mass(config: ConfigDict, workdir: pathlib.Path, trained: Trained, images: np.ndarray) -> Control:
    changed, name = config.to_dict(), config.sampler.name
    about = {"name": DIAGONAL, "change": f"mass 'diagonal' in place of {config.sampler[name].mass!r}"}
    changed["sampler"][name]["mass"] = "diagonal"
    return Control(DIAGONAL, FrozenConfigDict(changed), trained, about)


def permute_entries(params: Any, seed: int) -> Any:
    """The tensors of a tree, each with its entries in a random order of its own."""
    leaves, structure = jax.tree.flatten(params)
    shuffled = [
        np.random.default_rng([seed, place]).permutation(np.asarray(leaf).ravel()).reshape(leaf.shape)
        for place, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, shuffled)


def tune_step_size(config: ConfigDict, trained: Trained, images: np.ndarray) -> Tuned:
    """Find the step size at which overdamped Langevin dynamics forgets fastest without losing what it samples from.

    From chains that the model's own sampler has settled, every step size runs the same length, rising until one is
    unstable or its mean energy E differs too much from that at the smallest, E_0. What is too much: with the thermal
    energy U = N T/2 of the N units that move, |E - E_0| may be 5 % of U, or as large as that of the model's own sampler
    up to 20 %, so that both are about equally exact. Among those allowed, the one with the smallest mean integrated
    autocorrelation time of the recorded layers' units wins. Deterministic given the config.

    An energy may be stiffer at some images than at others, and a step that is good at the mildest is none: the two
    halves of the images, such as data and the strongest stimuli, must each keep their energy.

    Args:
        config: of the run.
        trained: the model.
        images: (N, H, W, C) states of the image layer, held while the latents move; two kinds, one after the other.

    Raises:
        RunError: the smallest step size is unstable.
    """
    model, count = trained.model, len(trained.model.bounds)
    free = range(1, count)
    clip, temperature = config.sampler.gradient_clip or None, _temperature(config)
    base = config.sampler.langevin.step_size
    image = np.asarray(images[np.arange(CHAINS) % len(images)], np.float32)
    own = read_sampler(config, model, True)
    layers = [layer for layer in config.record.layers if 1 <= layer < count] or list(free)
    shapes = model.architecture.state_shapes(CHAINS)
    draw = np.random.default_rng(config.seed)
    sizes = {layer: int(np.prod(shapes[layer][1:])) for layer in layers}
    units = {layer: np.sort(draw.choice(n, min(UNITS, n), replace=False)) for layer, n in sizes.items()}

    def langevin(factor):
        steps = tuple(each * factor for each in base) if isinstance(base, tuple) else base * factor
        options = dict(config.sampler.langevin.items()) | {"step_size": steps, "temperature": temperature}
        return make_sampler(LANGEVIN, **options_for_layers({**options, "bounds": model.bounds}, free))

    def run(sampler, key, weights, states):
        gradient_fn = make_gradient_fn(model, weights, states[0], clip)

        def advance(state, step):
            state, info = sampler.step(jax.random.fold_in(key, step), state, gradient_fn)
            kept = [state.position[layer - 1].reshape(CHAINS, -1)[:, units[layer]] for layer in layers]
            return state, (info.energy.reshape(2, -1).mean(axis=1), kept)

        _, (energy, traces) = jax.lax.scan(advance, sampler.init(states[1:], gradient_fn), jnp.arange(SETTLE + STEPS))
        return jnp.mean(energy[SETTLE:], axis=0), [trace[SETTLE:] for trace in traces]

    start_key, settle_key, run_key = jax.random.split(jax.random.key(config.seed), 3)
    phase = make_phase(model, own, clamp_image=True, max_steps=2 * SETTLE, gradient_clip=clip)

    @jax.jit
    def settle(start_key, key, weights, image):
        start = (image, *uniform_states(start_key, model, CHAINS)[1:])
        return phase(key, weights, start, 2 * SETTLE).states

    states = settle(start_key, settle_key, trained.weights, image)
    own_energy = np.asarray(jax.jit(lambda *arguments: run(own, *arguments)[0])(run_key, trained.weights, states))
    at_factor = jax.jit(lambda factor, *arguments: run(langevin(factor), *arguments))

    heats = temperature if isinstance(temperature, tuple) else (temperature,) * count
    thermal = sum(0.5 * heats[layer] * int(np.prod(shapes[layer][1:])) for layer in free)
    tried, found, reference, allowed = [], [], None, 0.0
    with Progress(len(FACTORS), description=f"tuning {LANGEVIN}") as progress:
        for factor in FACTORS:
            energy, traces = at_factor(np.float32(factor), run_key, trained.weights, states)
            energy = np.asarray(energy)
            tried.append(factor)
            if reference is None:
                reference = energy
                allowed = np.clip(np.abs(own_energy - reference), *(share * thermal for share in TOLERANCE))
            # Written so that an energy that is not finite ends the search.
            if not (np.abs(energy - reference) <= allowed).all():
                break
            times = [autocorrelation_time(np.asarray(trace)).ravel() for trace in traces]
            found.append((float(np.mean(np.concatenate(times))), factor))
            progress.update(len(tried), f"step size times {factor:g}")
    if not found:
        raise RunError(
            f"the control '{LANGEVIN}' diverges at {FACTORS[0]:g} times config.sampler.langevin.step_size ({base}); "
            f"lower it, or leave '{LANGEVIN}' out of config.record.controls"
        )
    time, factor = min(found)
    scaled = tuple(float(each * factor) for each in base) if isinstance(base, tuple) else float(base * factor)
    return Tuned(scaled, time, tuple(tried))


def _temperature(config: ConfigDict) -> float | tuple[float, ...]:
    options = config.sampler[config.sampler.name]
    # Samplers without one, such as the published SGHMC, are compared at the temperature given for Langevin.
    return options.temperature if "temperature" in options else config.sampler.langevin.temperature


def _is_coupled(config: ConfigDict) -> bool:
    options = config.sampler[config.sampler.name]
    mass = options.mass if "mass" in options else "diagonal"
    return any(kind != "diagonal" for kind in (mass if isinstance(mass, tuple) else (mass,)))


def _recorded_before(workdir: pathlib.Path, config: ConfigDict) -> dict[str, Any] | None:
    """What an earlier recording says of its Langevin control: a resumed run goes on with the same step size."""
    wanted = {of_control(name, LANGEVIN) for name in controlled_experiments(config)}
    for name in list_recordings(workdir):
        if name in wanted:
            return open_recording(workdir, name).about["control"]
    return None
