"""Does the sampler sample, how fast, and does the energy know data from noise?

`diagnose(config, workdir)` runs chains of the trained model from scattered starts and writes `diagnostics.json`:

    mixing       rank-normalised split R-hat (Vehtari et al. 2021; 1 for chains that agree, below 1.01 wanted),
                 effective sample size (Geyer 1992), per gradient and per second, and integrated autocorrelation time
                 in steps, for the energy and for some units of every layer
    temperature  of every layer: that at which noise balances friction, and where momenta have a temperature theirs,
                 the mean of p K p
    stability    mean energy per pixel in stretches of the run, and the share of units on a bound at the end
    long chains  from noise and from data for config.diagnose.long_steps, all their measures against length, drawn in
                 `images/long_chains.png` and `long_samples.png`, and a verdict in words (see `monitor`)
    energy gap   energies of held-out images after a positive phase, against noise images and other image sets: area
                 under the ROC curve of -E (1: every image below every impostor, 0.5: no difference)

R-hat and effective sample size are BlackJAX's.
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from blackjax import diagnostics as chains
from ml_collections import ConfigDict
from scipy.stats import rankdata

from nrf import figures, monitor
from nrf.energy import EnergyModel
from nrf.from_config import make_phases, read_sampler
from nrf.image_statistics import make_reference
from nrf.phases import make_gradient_fn, uniform_states
from nrf.trained import UNOPTIMIZED, Trained, read_trained, start_states
from runtime import devices
from runtime.files import write_json
from runtime.images import load_images
from runtime.metrics import Progress, check_finite

FILE = "diagnostics.json"


class Mixing(NamedTuple):
    """How well chains of one quantity (or several, along a leading axis) mix."""

    r_hat: np.ndarray
    effective_samples: np.ndarray  # of all chains together
    autocorrelation_time: np.ndarray  # steps


class Trace(NamedTuple):
    """What is kept of a run of chains, and what the run cost."""

    energy: np.ndarray  # (draws, chains), energy per pixel
    units: tuple[np.ndarray, ...]  # per layer (draws, chains, units)
    temperature: np.ndarray  # (layers,), mean over the draws of the temperature at which noise balances friction
    momentum_temperature: np.ndarray | None  # (layers,), mean of p K p over draws, chains and units, where it has one
    on_bound: np.ndarray  # (layers,), share of units on a bound at the end
    gradients: int  # evaluated by all chains
    seconds: float


def mixing(draws: np.ndarray, thin: int = 1) -> Mixing:
    """R-hat, effective sample size and autocorrelation time tau = thin × chains × draws / effective samples.

    draws: (draws, chains, ...), every `thin`-th step of at least 4 draws and 2 chains.  A constant quantity gives NaN.
    Raises ValueError for fewer draws or chains.
    """
    if draws.shape[0] < 4 or draws.shape[1] < 2:
        raise ValueError(f"mixing needs at least 4 draws of 2 chains, not {draws.shape[0]} of {draws.shape[1]}")
    flat = np.moveaxis(draws.reshape(*draws.shape[:2], -1), 0, 1)  # (chains, draws, quantities)
    moves = np.ptp(flat, axis=1).min(axis=0) > 0
    measure = jax.vmap(lambda one: (chains.rhat(one), chains.effective_sample_size(one)), in_axes=-1)
    found = jax.jit(measure, compiler_options=UNOPTIMIZED)(flat)
    r_hat, size = (np.where(moves, np.asarray(values, np.float64), np.nan) for values in found)
    shape = draws.shape[2:]
    time_constant = thin * draws.shape[0] * draws.shape[1] / size
    return Mixing(r_hat.reshape(shape), size.reshape(shape), time_constant.reshape(shape))


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """P(E_inside < E_outside) + 1/2 P(E_inside = E_outside): area under the ROC curve of -E.

    inside, outside: energies, 1-d.
    """
    ranks = rankdata(np.concatenate([outside, inside]))
    count = len(outside)
    return float((ranks[:count].sum() - count * (count + 1) / 2) / (count * len(inside)))


def make_chunk(model: EnergyModel, sampler, units: tuple[np.ndarray, ...], steps: int, thin: int, clip) -> Callable:
    """Build chunk(key, weights, state, first) -> (state, sums and draws) of `steps` × `thin` steps of free chains.

    units: per layer, the flat numbers of the units whose states are kept.
    """

    def chunk(key: jax.Array, weights, state, first: jax.Array):
        gradient_fn = make_gradient_fn(model, weights, None, clip)

        def one(carry, number):
            state, gradients = carry
            state, info = sampler.step(jax.random.fold_in(key, number), state, gradient_fn)
            evaluated = info.num_gradients.sum() if hasattr(info, "num_gradients") else len(info.energy)
            return (state, gradients + evaluated), info

        def draw(carry, start):
            carry, info = jax.lax.scan(one, carry, start + jnp.arange(thin))
            position = carry[0].position
            kept = tuple(s.reshape(len(s), -1)[:, u] for s, u in zip(position, units, strict=True))
            kinetic = sampler.momentum_temperature(carry[0])
            return carry, (info.energy[-1], kept, info.effective_temperature.mean(axis=0), kinetic)

        (state, gradients), draws = jax.lax.scan(draw, (state, jnp.int32(0)), first + thin * jnp.arange(steps))
        return state, gradients, draws

    return chunk


def run_chains(config: ConfigDict, trained: Trained) -> Trace:
    """Run config.diagnose's free chains from starts drawn uniformly over the states' range.

    Raises NonFiniteError, with the step, if an energy is not finite.
    """
    settings, model = config.diagnose, trained.model
    sampler, clip = read_sampler(config, model, False), config.sampler.gradient_clip or None
    draw = np.random.default_rng(config.seed)
    sizes = [int(np.prod(shape[1:])) for shape in model.architecture.state_shapes(1)]
    units = tuple(np.sort(draw.choice(size, min(settings.units, size), replace=False)) for size in sizes)
    start_key, key = jax.random.split(jax.random.key(config.seed))
    state = jax.jit(
        lambda key, weights: sampler.init(
            uniform_states(key, model, settings.chains), make_gradient_fn(model, weights, None, clip)
        )
    )(start_key, trained.weights)
    run = jax.jit(make_chunk(model, sampler, units, settings.chunk, settings.thin, clip))
    run = run.lower(key, trained.weights, state, jnp.int32(0)).compile()  # before the clock starts
    stride = settings.chunk * settings.thin
    warm, total = -(-settings.warmup // stride), -(-settings.steps // stride)
    kept, gradients, began = [], 0, time.monotonic()
    with Progress(warm + total, 0, "running chains") as progress:
        for number in range(warm + total):
            if number == warm:
                jax.block_until_ready(state)
                gradients, began = 0, time.monotonic()
            state, evaluated, draws = run(key, trained.weights, state, jnp.int32(number * stride))
            draws = jax.tree.map(np.asarray, draws)
            check_finite((number + 1) * stride, {"energy": draws[0]})
            gradients += int(evaluated)
            if number >= warm:
                kept.append(draws)
            progress.update(number + 1, f"energy {draws[0][-1].mean():.4g}")
    seconds = time.monotonic() - began
    energy, states, temperature, kinetic = jax.tree.map(lambda *parts: np.concatenate(parts), *kept)
    edges = [
        float(np.mean((np.asarray(s) <= low) | (np.asarray(s) >= high)))
        for s, (low, high) in zip(state.position, model.bounds, strict=True)
    ]
    means = temperature.mean(axis=0), None if kinetic is None else kinetic.mean(axis=0), np.array(edges)
    return Trace(energy / _pixels(model), states, *means, gradients, seconds)


def image_energies(config: ConfigDict, trained: Trained, images: np.ndarray) -> np.ndarray:
    """Energy per pixel (N,) of images (states of the image layer) after a positive phase of config.positive.steps."""
    positive, _ = make_phases(config, trained.model)

    @jax.jit
    def settle(key: jax.Array, weights, batch: jax.Array) -> jax.Array:
        start_key, run_key = jax.random.split(key)
        states = start_states(trained, start_key, batch, config.positive.start)
        return trained.model.energy(weights, positive(run_key, weights, states, config.positive.steps).states)

    size, found = min(config.train.batch, len(images)), []
    for first in range(0, len(images), size):
        rows = np.minimum(np.arange(first, first + size), len(images) - 1)
        key = jax.random.fold_in(jax.random.key(config.seed), first)
        found.append(np.asarray(settle(key, trained.weights, np.asarray(images[rows], np.float32))))
    return np.concatenate(found)[: len(images)] / _pixels(trained.model)


def energy_gap(config: ConfigDict, trained: Trained) -> dict[str, dict[str, float]]:
    """Mean energies of held-out images and of each impostor, their gap, and the AUROC: {impostor: numbers}.

    Impostors are noise of the data's mean and standard deviation, the data with its pixels shuffled, and the image sets
    of config.diagnose.others.
    """
    data, settings = config.data, config.diagnose
    options = {"data_dir": data.dir, "size": data.size, "channels": data.channels, "contrast": data.contrast}
    test = held_out_images(config)[: settings.images]
    draw = np.random.default_rng([config.seed, 1])
    shuffled = draw.permuted(test.reshape(len(test), -1, test.shape[-1]), axis=1).reshape(test.shape)
    impostors = {
        "noise": np.clip(draw.normal(test.mean(), test.std(), test.shape), 0, 1),
        "shuffled pixels": shuffled,
        **{name: load_images(name, **options, num_train=1).test[: settings.images] for name in settings.others},
    }

    def energies(images: np.ndarray) -> np.ndarray:
        return image_energies(config, trained, trained.space.to_states(images))

    own, result = energies(test), {}
    for name, images in impostors.items():
        other = energies(images)
        result[name] = {
            "energy": float(own.mean()),
            "impostor_energy": float(other.mean()),
            "gap": float(other.mean() - own.mean()),
            "auroc": auroc(own, other),
        }
    return result


def held_out_images(config: ConfigDict) -> np.ndarray:
    """The held-out images of the config's data, grey levels (N, H, W, C)."""
    data = config.data
    return load_images(
        data.name, data_dir=data.dir, size=data.size, channels=data.channels, num_train=data.num_train,
        contrast=data.contrast, seed=config.seed,
    ).test  # fmt: skip


def run_long_chains(config: ConfigDict, trained: Trained) -> monitor.ChainReport:
    """Run config.diagnose.long_chains chains from noise and as many from data for long_steps steps.

    Raises NonFiniteError, with the step, if an energy is not finite.
    """
    settings, images = config.diagnose, held_out_images(config)
    run = monitor.Chains(
        trained.model, read_sampler(config, trained.model, False), trained.space, make_reference(images), images,
        trained.thermal_sd, config.sampler.gradient_clip or None,
    )  # fmt: skip
    with Progress(settings.long_steps, 0, "running long chains") as progress:
        return monitor.run_chains(
            run, trained.weights, jax.random.key(config.seed + 1), settings.long_chains, settings.long_steps,
            report=lambda step, energy: progress.update(step, f"energy {energy:.4g}"),
        )  # fmt: skip


def summarize(config: ConfigDict, trace: Trace) -> dict[str, Any]:
    """The numbers of a run of chains, ready for JSON; quantities that do not move have null."""
    thin = config.diagnose.thin
    found = {"energy": mixing(trace.energy, thin)}
    found |= {f"layer_{layer}": mixing(units, thin) for layer, units in enumerate(trace.units)}
    table = {}
    for name, each in found.items():
        moving = np.isfinite(each.effective_samples)
        least = float(np.min(each.effective_samples[moving])) if moving.any() else np.nan
        table[name] = {
            "r_hat": float(np.max(each.r_hat[moving])) if moving.any() else np.nan,
            "effective_samples": least,
            "effective_samples_per_gradient": least / trace.gradients,
            "effective_samples_per_second": least / trace.seconds,
            "autocorrelation_time": float(np.max(each.autocorrelation_time[moving])) if moving.any() else np.nan,
        }
    stretches = [float(part.mean()) for part in np.array_split(trace.energy, min(10, len(trace.energy)))]
    report = {
        "mixing": table,
        "temperature": {
            "of_noise": trace.temperature.tolist(),
            "of_momentum": None if trace.momentum_temperature is None else trace.momentum_temperature.tolist(),
        },
        "stability": {"energy_per_pixel": stretches, "units_on_bound": trace.on_bound.tolist()},
        "cost": {"gradients": trace.gradients, "seconds": trace.seconds, "device": devices.describe()},
    }
    return _without_nan(report)


def diagnose(config: ConfigDict, workdir: str | pathlib.Path) -> dict[str, Any]:
    """Diagnose the trained model in `workdir`; returns what it writes to `diagnostics.json`.

    In `mixing`, each layer has the worst of its units; `faults` says what keeps the field from sampling its data, and
    is empty where nothing does.  Raises ConfigError for fields that cannot be used.
    """
    devices.set_matmul_precision(config.precision)
    trained = read_trained(config, workdir)
    report = {"updates": trained.updates, **summarize(config, run_chains(config, trained))}
    report["energy_gap"] = energy_gap(config, trained)
    watch = run_long_chains(config, trained)
    folder = pathlib.Path(workdir)
    title = f"{config.data.name}, update {trained.updates}"
    figures.chain_figure(watch, folder / "images" / "long_chains.png", title)
    figures.chain_sheet(watch, held_out_images(config), folder / "images" / "long_samples.png", title)
    report["long_chains"] = _without_nan(monitor.as_metrics(watch))
    report["faults"], report["verdict"] = monitor.judge(watch), monitor.verdict(watch, trained.updates)
    write_json(pathlib.Path(workdir) / FILE, report, indent=2, allow_nan=False)
    return report


def _pixels(model: EnergyModel) -> int:
    return model.architecture.layers[0].height * model.architecture.layers[0].width


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
