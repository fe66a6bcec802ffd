"""Effective samples per gradient and per second of every sampler on one trained field, clamped and free.

    python benchmarks/mixing.py [--run pretrained/patches] [--chains 16] [--tune 300] [--steps 1000] [--cases free]

Prints a JSON line per case and sampler.  All samplers start from the same states, which chains of Hamiltonian Monte
Carlo have brought to the distribution, and are tuned by the same rule: of the settings in `SETTINGS` (seven each at
most), the one of the most effective samples per gradient, worst quantity, among those whose mean energy is within 5 %
of the thermal energy N T/2 of the reference chains'.  The thesis's sampler samples another distribution at every
setting, so it is run as published and its energy error says by how much.

Autocorrelation times come from batch means over chains, τ = L var(mean of L draws) / var(draw), which needs no
reversibility, of the energy and of states and squared states of units of every layer; `resolved` is false where τ is
not small against the batch, so that it is only a lower bound.  A draw costs `gradients_per_draw` gradients (HMC and
NUTS several).  Where torch is installed, the thesis's sampler has the original's way of running it beside it: the same
field and algorithm in PyTorch, one backward pass a step (`peer_ms`, for all chains), from the same states; effective
samples a second follow from the same autocorrelation time, as the two sample the same distribution (`peer_energy_error`
is the difference of their mean energies over the thermal energy).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np

from nrf.phases import make_gradient_fn
from nrf.samplers import make_sampler, options_for_layers
from nrf.trained import Trained, read_trained, start_states
from runtime import devices
from runtime.checkpoint import read_tree
from runtime.config import read_config
from runtime.images import load_images

UNITS = 12  # per layer, looked at
IMAGES = 4  # held in the clamped case, at most
BATCHES = 4  # of each chain's draws
MOST_CORRELATED = 0.2  # of a batch's length: beyond it τ is not resolved
TOLERANCE = 0.05  # of the thermal energy
BURN_IN = 100  # draws, in which a sampler forgets that it started with another one's momentum

# What is tried of every sampler: at most seven settings each; step sizes in units of the state.
SETTINGS: dict[str, dict[str, tuple]] = {
    "underdamped": {"step_size": (0.3, 0.6, 0.9), "friction": (0.3, 1.2)},
    "langevin": {"step_size": (0.03, 0.06, 0.1, 0.15, 0.25, 0.4, 0.6)},
    "sghmc": {"step_size": (0.1, 0.2, 0.35), "friction": (0.3, 1.2), "num_burn_in": (50,)},
    "hmc": {"step_size": (0.3, 0.5, 0.7), "num_integration_steps": (3, 8)},
    "nuts": {"step_size": (0.2, 0.35, 0.5, 0.7), "max_num_doublings": (4,)},
    "sghmc_thesis": {},
}


class Found(NamedTuple):
    """What one setting of one sampler did."""

    times: dict[str, np.ndarray]  # autocorrelation times in draws, by quantity
    energy: float  # mean, per chain
    gradients: float  # per draw and chain
    seconds: float  # per draw of all chains
    acceptance: float
    batch: int  # draws


class Problem(NamedTuple):
    """A field with its images held, or free."""

    trained: Trained
    gradient_of: Callable  # weights, image -> gradient_fn
    image: jax.Array | None  # (chains, H, W, C), held
    start: tuple[jax.Array, ...]  # layers that move
    free: range  # their numbers
    temperature: float


def autocorrelation_time(draws: np.ndarray, batches: int = BATCHES, groups: int = 1) -> np.ndarray:
    """τ = L var(batch means) / var, in draws, at least 1; (draws, chains, ...) -> (...).

    The variance of batch means is about the mean of all chains of one distribution, so chains that have not met count
    as correlated.  groups: of neighbouring chains, each with a distribution of its own (another image held).
    """
    length = len(draws) // batches
    used = np.asarray(draws[: length * batches], np.float64)
    grouped = used.reshape(len(used), groups, -1, *used.shape[2:])
    used = (grouped - grouped.mean(axis=(0, 2), keepdims=True)).reshape(used.shape)
    means = used.reshape(batches, length, *used.shape[1:]).mean(axis=1).reshape(-1, *used.shape[2:])
    spread = used.reshape(-1, *used.shape[2:]).var(axis=0)
    return np.maximum(length * means.var(axis=0, ddof=1) / np.where(spread > 0, spread, 1.0), 1.0)


def groups_of(chains: int) -> int:
    """Images that a clamped case holds, as many chains on each."""
    return next(count for count in range(min(IMAGES, chains), 0, -1) if chains % count == 0)


def make_problem(config, trained: Trained, chains: int, clamped: bool) -> Problem:
    """The field with chains on held-out images, latents where positive phases start."""
    data = config.data
    images = load_images(
        data.name, data_dir=data.dir, size=data.size, channels=data.channels, num_train=data.num_train,
        contrast=data.contrast, seed=config.seed,
    ).test  # fmt: skip
    groups = np.arange(chains) * groups_of(chains) // chains if clamped else np.arange(chains)
    shown = trained.space.to_states(images[groups * (len(images) // chains)])
    states = start_states(trained, jax.random.key(config.seed), jnp.asarray(shown), config.positive.start)
    temperature = config.sampler[config.sampler.name].temperature
    temperature = temperature[0] if isinstance(temperature, tuple) else temperature

    def gradient_of(weights, image):
        return make_gradient_fn(trained.model, weights, image)

    first = 1 if clamped else 0
    return Problem(
        trained, gradient_of, states[0] if clamped else None, states[first:], range(first, len(states)), temperature
    )


def build(problem: Problem, name: str, options: dict[str, Any]):
    """A sampler at the field's temperature and walls."""
    given = {**options, "bounds": problem.trained.model.bounds}
    if name != "sghmc_thesis":
        given["temperature"] = problem.temperature
    return make_sampler(name, **options_for_layers(given, problem.free))


def run(problem: Problem, name: str, options: dict[str, Any], draws: int, units, start) -> tuple[Found, tuple]:
    """Run one setting from `start`; returns what it did and where it ended."""
    sampler, weights = build(problem, name, options), problem.trained.weights
    chains = len(start[0])

    def program(key, weights, image, state, first, count):
        gradient_fn = problem.gradient_of(weights, image)

        def one(state, number):
            state, info = sampler.step(jax.random.fold_in(key, number), state, gradient_fn)
            kept = [s.reshape(chains, -1)[:, u] for s, u in zip(state.position, units, strict=True)]
            gradients = jnp.mean(info.num_gradients) if hasattr(info, "num_gradients") else jnp.float32(1.0)
            return state, (info.energy, kept, gradients, info.acceptance)

        return jax.lax.scan(one, state, first + jnp.arange(count))

    key = jax.random.key(1)
    step = jax.jit(program, static_argnums=5)
    begin = jax.jit(lambda w, i, s: sampler.init(s, problem.gradient_of(w, i)))
    state = begin(weights, problem.image, start)
    state, _ = step(key, weights, problem.image, state, 0, BURN_IN)
    compiled = step.lower(key, weights, problem.image, state, 0, draws).compile()
    jax.block_until_ready(state)
    began = time.perf_counter()
    state, (energy, kept, gradients, acceptance) = compiled(key, weights, problem.image, state, BURN_IN)
    jax.block_until_ready(state)
    seconds = time.perf_counter() - began
    energy = np.asarray(energy, np.float64)
    groups = 1 if problem.image is None else groups_of(chains)

    def measured(values: np.ndarray) -> np.ndarray:
        return autocorrelation_time(values, groups=groups)

    times = {"energy": measured(energy)[None]}
    for layer, values in zip(problem.free, kept, strict=True):
        values = np.asarray(values, np.float64)
        times[f"layer_{layer}"] = measured(values)
        times[f"layer_{layer}_squared"] = measured((values - values.mean(axis=(0, 1))) ** 2)
    found = Found(
        times, float(energy.mean()), float(np.mean(gradients)), seconds / draws, float(np.mean(acceptance)),
        draws // BATCHES,
    )  # fmt: skip
    return found, tuple(state.position)


def settings_of(name: str) -> list[dict[str, Any]]:
    """All combinations of a sampler's settings."""
    options = SETTINGS[name]
    return [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]


def thermal_energy(problem: Problem) -> float:
    """N T/2 of the units that move, per chain."""
    return 0.5 * problem.temperature * sum(int(np.prod(s.shape[1:])) for s in problem.start)


def worst(found: Found) -> float:
    """The longest autocorrelation time, draws."""
    return max(float(np.max(each)) for each in found.times.values())


def line(case: str, name: str, options: dict, found: Found, error: float, tried: int, chains: int) -> dict[str, Any]:
    """The JSON of one sampler."""
    every = np.concatenate([each.ravel() for each in found.times.values()])
    slowest = max(found.times, key=lambda quantity: float(np.max(found.times[quantity])))
    per_gradient = 1 / (worst(found) * found.gradients)
    return {
        "case": case,
        "sampler": name,
        "options": options,
        "settings_tried": tried,
        "energy_error": round(error, 4),
        "keeps_the_distribution": bool(abs(error) <= TOLERANCE),
        "draws_per_sample_worst": round(worst(found), 2),
        "draws_per_sample_median": round(float(np.median(every)), 2),
        "slowest": slowest,
        "resolved": bool(worst(found) <= MOST_CORRELATED * found.batch),
        "gradients_per_draw": round(found.gradients, 2),
        "samples_per_1000_gradients": round(1000 * per_gradient, 4),
        "samples_per_1000_gradients_median": round(1000 / (float(np.median(every)) * found.gradients), 3),
        "samples_per_second": round(chains / (worst(found) * found.seconds), 4),
        "ms_per_gradient_and_chain": round(1e3 * found.seconds / (found.gradients * chains), 4),
        "acceptance": round(found.acceptance, 3),
        "chains": chains,
        "device": devices.describe(),
    }


def measure(problem: Problem, run_folder: pathlib.Path, case: str, tune: int, draws: int) -> None:
    """Tune and run every sampler; prints a line each."""
    chains = len(problem.start[0])
    draw = np.random.default_rng(0)
    sizes = [int(np.prod(s.shape[1:])) for s in problem.start]
    units = [np.sort(draw.choice(size, min(UNITS, size), replace=False)) for size in sizes]
    # A trajectory of moderate length at a step that is nearly always accepted: exact, and no sampler's own tuning.
    exact = {"step_size": 0.4, "num_integration_steps": 5}
    _, start = run(problem, "hmc", exact, draws, units, problem.start)
    reference, start = run(problem, "hmc", exact, draws, units, start)
    unit = thermal_energy(problem)
    for name in SETTINGS:
        tried = []
        for options in settings_of(name):
            found, _ = run(problem, name, options, tune, units, start)
            error = (found.energy - reference.energy) / unit
            if np.isfinite(error) and (abs(error) <= TOLERANCE or name == "sghmc_thesis"):
                tried.append((worst(found) * found.gradients, options))
        if not tried:
            nothing = {"keeps_the_distribution": False, "settings_tried": len(settings_of(name))}
            print(json.dumps({"case": case, "sampler": name, **nothing}), flush=True)
            continue
        _, options = min(tried, key=lambda each: each[0])
        found, _ = run(problem, name, options, draws, units, start)
        error = (found.energy - reference.energy) / unit
        row = line(case, name, options, found, error, len(settings_of(name)), chains)
        if name == "sghmc_thesis":
            row |= peer(problem, run_folder, start, found)
        print(json.dumps(row), flush=True)


def peer(problem: Problem, run_folder: pathlib.Path, start, found: Found, steps: int = 200) -> dict[str, Any]:
    """The published sampler in PyTorch on the same field, or why there is none."""
    try:
        import torch

        from benchmarks.peers import torch_energy
    except ModuleNotFoundError:
        return {"peer_ms": None, "peer": "torch is not installed"}
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    config, architecture = read_config(run_folder), problem.trained.model.architecture
    tree = read_tree(run_folder / "checkpoints")
    phi = torch_energy.activation(config.model.activation, config.model.gain)

    def tensor(state):
        return torch.tensor(np.asarray(state).transpose(0, 3, 1, 2).copy())

    held = [] if problem.image is None else [tensor(problem.image)]
    weights = torch_energy.effective_kernels(tree.get("average") or tree["variables"], architecture)

    def energy_of(states):
        return torch_energy.energy(weights, held + states, architecture, phi)

    states = [tensor(s) for s in start]
    probe = [s.clone().requires_grad_(True) for s in states]
    theirs = torch.autograd.grad(energy_of(probe), probe)
    _, ours = jax.jit(problem.gradient_of(problem.trained.weights, problem.image))(start)
    difference = max(
        float(np.abs(np.asarray(a).transpose(0, 3, 1, 2) - b.numpy()).max()) for a, b in zip(ours, theirs, strict=True)
    )
    state, _ = torch_energy.published_steps(energy_of, torch_energy.begin(states), BURN_IN, BURN_IN)
    state, _ = torch_energy.published_steps(energy_of, state, steps)
    began = time.perf_counter()
    state, energies = torch_energy.published_steps(energy_of, state, steps)
    seconds = (time.perf_counter() - began) / steps
    chains = len(start[0])
    return {
        "peer_ms": round(1e3 * seconds, 2),
        "project_ms": round(1e3 * found.seconds, 2),
        "peer_samples_per_second": round(chains / (worst(found) * seconds), 4),
        "peer_gradient_difference": difference,
        "peer_energy_error": round((np.mean(energies) / chains - found.energy) / thermal_energy(problem), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=pathlib.Path, default=pathlib.Path("pretrained/patches"))
    parser.add_argument("--chains", type=int, default=16)
    parser.add_argument("--tune", type=int, default=300, help="draws of every setting that is tried")
    parser.add_argument("--steps", type=int, default=1000, help="draws of the setting that is kept")
    parser.add_argument("--cases", default="clamped,free")
    options = parser.parse_args()
    if not options.run.exists():
        print(json.dumps({"skipped": f"there is no trained field in {options.run}; name one with --run"}))
        return
    config = read_config(options.run)
    trained = read_trained(config, options.run)
    for case in options.cases.split(","):
        problem = make_problem(config, trained, options.chains, case == "clamped")
        measure(problem, options.run, case, options.tune, options.steps)


if __name__ == "__main__":
    main()
