"""Long chains at fixed weights, from noise and from data, measured against their length: what a field really samples.

States of a replay buffer, or chains that follow moving weights, look like data long before the model's distribution is
like the data's (Nijkamp et al., AAAI 2020).  What counts is where chains go, and stay, when the weights are held: those
from noise must arrive where those from data remain.  `run_chains` runs both kinds together, and `ChainReport` holds,
against chain length,

    images        the measures of `image_statistics`, each kind of start by itself
    energy        mean per pixel, over T
    walls         share of image pixels at a wall
    temperature   of the momentum of every layer, over T, in the second half: 1 where the sampler is exact
    mixing        split R-hat and effective sample size of the energy, of the logarithm of an image's contrast and of
                  the first principal components over the second half, both kinds of start together

and `judge` says in words what is not as it should be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from blackjax import diagnostics

from nrf import curvature as cv
from nrf import image_statistics as statistics
from nrf.energy import EnergyModel, Weights
from nrf.image_space import ImageSpace
from nrf.phases import make_gradient_fn, mean_states, uniform_states
from nrf.samplers import Sampler
from runtime.metrics import NonFiniteError

STARTS = ("noise", "data")
FRAMES = 100  # moments of a run at which images are kept
LENGTHS = 8  # chain lengths at which they are measured
COMPONENTS = 4  # principal components whose mixing is measured
SETTLE, AVERAGE, LANCZOS = 50, 100, 32  # steps before and of the mean states, and iterations, of a curvature watch
# What stationary means (`judge`).
MOST_DISTANCE = 0.25  # of amplitude spectra
MOST_VARIANCE_FACTOR = 2.0  # between variance across chains and the data's, in every group of principal components
MOST_SD_ERROR = 0.15
MOST_R_HAT = 1.1
MOST_TEMPERATURE_ERROR = 0.05


class ChainReport(NamedTuple):
    """What a run of long chains has shown; N chains of each start, F frames."""

    lengths: tuple[int, ...]  # steps
    measures: dict[str, list[dict[str, float]]]  # by start, at each length
    reference: dict[str, float]  # the same measures of as many held-out images
    gaussian: dict[str, float]  # ... and of draws from the Gaussian with the data's covariance
    energy: np.ndarray  # (steps, 2 N), over T and per pixel, chains from noise first
    temperature: np.ndarray | None  # (layers,), kinetic over T, second half; None for samplers without temperature
    r_hat: dict[str, float]
    effective_samples: dict[str, float]
    images: dict[str, np.ndarray]  # by start, (N, H, W, C) grey levels at the end
    pooled: dict[str, float]  # measures of all frames of the second half, both starts together


class Chains(NamedTuple):
    """What is run and how it is looked at."""

    model: EnergyModel
    sampler: Sampler
    space: ImageSpace
    reference: statistics.Reference
    held_out: np.ndarray  # (M, H, W, C), grey levels; the reference's images
    thermal_sd: tuple[float, ...] | None  # per layer sqrt(T)
    gradient_clip: float | None = None


def make_program(chains: Chains, steps: int) -> Callable:
    """Build program(key, weights, state, first) -> (state, energies (steps, chains), temperatures of the momenta).

    The last are the means of p K p of every layer (layers,), or None for samplers whose momentum has no temperature.
    """

    def program(key: jax.Array, weights: Weights, state: Any, first: jax.Array):
        gradient_fn = make_gradient_fn(chains.model, weights, None, chains.gradient_clip)

        def one(state, number):
            state, info = chains.sampler.step(jax.random.fold_in(key, number), state, gradient_fn)
            return state, (info.energy, chains.sampler.momentum_temperature(state))

        state, (energy, kinetic) = jax.lax.scan(one, state, first + jnp.arange(steps))
        return state, energy, jax.tree.map(lambda k: k.mean(axis=0), kinetic)

    return program


def make_starts(chains: Chains, key: jax.Array, number: int) -> tuple[np.ndarray, ...]:
    """States of `number` chains from noise, uniform over the range of every layer, then as many on held-out images.

    Latents over images start as those over noise do.
    """
    noise = [np.asarray(s) for s in jax.jit(lambda k: uniform_states(k, chains.model, 2 * number))(key)]
    shown = np.arange(number) * len(chains.held_out) // number  # spread over the set, repeated if it is small
    noise[0] = np.concatenate([noise[0][:number], chains.space.to_states(chains.held_out[shown])]).astype(np.float32)
    return tuple(noise)


def run_chains(
    chains: Chains,
    weights: Weights,
    key: jax.Array,
    number: int,
    steps: int,
    program: Callable | None = None,
    report: Callable[[int, float], None] = lambda step, energy: None,
) -> ChainReport:
    """Run `number` chains from noise and as many from data for `steps` steps, at fixed weights.

    Args:
        chains: what is run.
        weights: effective weights.
        key: random key.
        number: chains of each kind.
        steps: rounded down to a multiple of the steps between frames, `stride_of(steps)`.
        program: compiled `make_program(chains, stride_of(steps))`, to run it more than once.
        report: called with the steps behind and the mean energy, now and then.

    Raises:
        NonFiniteError: an energy is not finite; the message names the step.
    """
    stride = stride_of(steps)
    frames = max(steps // stride, 1)
    program = program or jax.jit(make_program(chains, stride))
    start_key, run_key = jax.random.split(key)
    starts = make_starts(chains, start_key, number)
    state = jax.jit(lambda s, w: chains.sampler.init(s, make_gradient_fn(chains.model, w, None)))(starts, weights)
    images, energies, momenta = [], [], []
    for frame in range(frames):
        state, energy, kinetic = program(run_key, weights, state, jnp.int32(frame * stride))
        energies.append(np.asarray(energy))
        if not np.isfinite(energies[-1]).all():
            raise NonFiniteError(f"the energy of a long chain is not finite after {(frame + 1) * stride} steps")
        images.append(np.asarray(state.position[0]))
        momenta.append(None if kinetic is None else np.asarray(kinetic))
        report((frame + 1) * stride, float(energies[-1][-1].mean()))
    return summarize(chains, np.stack(images), np.concatenate(energies), momenta, stride)


def stride_of(steps: int) -> int:
    """Steps between two frames."""
    return max(steps // FRAMES, 1)


def summarize(
    chains: Chains, states: np.ndarray, energy: np.ndarray, momenta: Sequence[np.ndarray | None], stride: int
) -> ChainReport:
    """All measures of a run: states (F, 2 N, H, W, C) of the image layer, energies (steps, 2 N), and p K p by frame."""
    frames, number = len(states), states.shape[1] // 2
    layer = chains.model.architecture.layers[0]
    low, high = chains.model.bounds[0]
    pictures = chains.space.to_images(states)
    marks = sorted({max(round(frames * (1 / frames) ** (1 - i / (LENGTHS - 1))), 1) for i in range(LENGTHS)})
    unit = layer.height * layer.width * (chains.thermal_sd[0] ** 2 if chains.thermal_sd else 1.0)
    energy = energy / unit
    measures = {start: [] for start in STARTS}
    for mark in marks:
        for index, start in enumerate(STARTS):
            part = slice(index * number, (index + 1) * number)
            at_wall = np.mean((states[mark - 1, part] <= low) | (states[mark - 1, part] >= high))
            measures[start].append(
                statistics.measure(pictures[mark - 1, part], chains.reference)
                | {"energy": float(energy[(mark - 1) * stride : mark * stride, part].mean()), "at_walls": at_wall}
            )
    late = pictures[frames // 2 :]
    own = chains.held_out[np.arange(number) * len(chains.held_out) // number]
    temperature = None
    if chains.thermal_sd is not None and momenta[0] is not None:
        temperature = np.mean(momenta[frames // 2 :], axis=0) / np.square(chains.thermal_sd)
    projected = late.reshape(*late.shape[:2], -1) @ chains.reference.components[:, :COMPONENTS]
    traces = {"energy": energy[len(energy) // 2 :]}
    # What mixes most slowly in natural images: how strong an image is.
    strength = np.stack([statistics.contrasts(frame) for frame in late])
    traces["contrast"] = np.log(np.maximum(strength, np.finfo(np.float32).tiny))
    traces |= {f"pc_{k + 1}": projected[..., k] for k in range(projected.shape[-1])}
    r_hat, size = {}, {}
    for name, trace in traces.items():
        r_hat[name], size[name] = _mixing(trace)
    return ChainReport(
        lengths=tuple(mark * stride for mark in marks),
        measures=measures,
        reference=statistics.measure(own, chains.reference),
        gaussian=statistics.measure(statistics.gaussian_like(chains.held_out, number, 0), chains.reference),
        energy=energy,
        temperature=temperature,
        r_hat=r_hat,
        effective_samples=size,
        images={start: pictures[-1, i * number : (i + 1) * number] for i, start in enumerate(STARTS)},
        pooled=statistics.measure(late.reshape(-1, *late.shape[2:]), chains.reference),
    )


def as_metrics(watch: ChainReport) -> dict[str, float]:
    """Everything a watch has measured as flat numbers for the log: `chains/START/LENGTH/MEASURE` and the rest."""
    found = {}
    for start, rows in watch.measures.items():
        for length, row in zip(watch.lengths, rows, strict=True):
            found |= {f"chains/{start}/{length}/{name}": float(value) for name, value in row.items()}
    found |= {f"chains/pooled/{name}": value for name, value in watch.pooled.items()}
    found |= {f"chains/r_hat/{name}": value for name, value in watch.r_hat.items()}
    found |= {f"chains/effective_samples/{name}": value for name, value in watch.effective_samples.items()}
    if watch.temperature is not None:
        found |= {f"chains/temperature/layer_{i}": float(t) for i, t in enumerate(watch.temperature)}
    return found


def make_curvature_monitor(chains: Chains, latent_sampler: Sampler) -> Callable[..., dict[str, float]]:
    """Build watch(key, weights, images) -> curvatures of the clamped energy, for the log of a training.

    The latents start at 0 on each of the images (N, H, W, C), states of the image layer, and on a blank one, all zeros;
    curvatures (energy per state²) are those of the Hessian at their mean states: `curvature/images/NAME`, means over
    the images, and `curvature/blank/NAME`, with NAME lowest, median and highest.  Where both are alike, the image
    cannot change how fast the latents move, whatever is recorded.

    Args:
        chains: what is run.
        latent_sampler: moves the latents while the image is held.
    """
    model, latents = chains.model, chains.model.architecture.layers[1:]

    @jax.jit
    def program(key: jax.Array, weights: Weights, images: jax.Array) -> cv.Krylov:
        run_key, probe_key = jax.random.split(key)
        shown = jnp.concatenate([images, jnp.zeros_like(images[:1])])
        start = tuple(jnp.zeros((len(shown), layer.height, layer.width, layer.channels)) for layer in latents)
        moving = make_gradient_fn(model, weights, shown, chains.gradient_clip)
        position = mean_states(moving, latent_sampler, run_key, start, SETTLE, AVERAGE).mean
        plain = make_gradient_fn(model, weights, shown)  # the clip is no part of the energy
        geometry = cv.make_geometry(tuple(layer.channels for layer in latents), 1.0, 1.0, 1.0)
        probe = jax.random.normal(probe_key, cv.flatten(position).shape)
        return cv.lanczos(cv.step_operator(plain, position, geometry), probe, LANCZOS)

    def watch(key: jax.Array, weights: Weights, images: jax.Array) -> dict[str, float]:
        if not latents:
            return {}
        found = cv.extremes(program(key, weights, images))
        rows = {"images": found[:-1].mean(axis=0), "blank": found[-1]}
        return {
            f"curvature/{shown}/{name}": float(value)
            for shown, row in rows.items()
            for name, value in zip(("lowest", "median", "highest"), row, strict=True)
        }

    return watch


def judge(watch: ChainReport) -> list[str]:
    """What keeps a field from being one that samples its data, one sentence each; none where it is."""
    faults = []
    for start in STARTS:
        last, where = watch.measures[start][-1], f"chains from {start}, after {watch.lengths[-1]} steps"
        if last["spectrum_distance"] > MOST_DISTANCE:
            faults.append(
                f"{where}: amplitude spectrum {last['spectrum_distance']:.2f} from the data's (at most {MOST_DISTANCE})"
            )
        if abs(last["pixel_sd_ratio"] - 1) > MOST_SD_ERROR:
            faults.append(f"{where}: pixels vary {last['pixel_sd_ratio']:.2f} times as much as the data's")
        for name, ratio in last.items():
            if name.startswith("variance_pc_") and not 1 / MOST_VARIANCE_FACTOR <= ratio <= MOST_VARIANCE_FACTOR:
                group = name.removeprefix("variance_pc_")
                fault = "have collapsed" if ratio < 1 else "spread too far"
                faults.append(f"{where}: chains {fault} along components {group}, {ratio:.2f} of the data's variance")
    if not watch.r_hat["energy"] <= MOST_R_HAT:
        faults.append(
            f"the chains do not agree on the energy: split R-hat {watch.r_hat['energy']:.2f} (at most {MOST_R_HAT})"
        )
    wanted = (watch.gaussian["gabor_kurtosis"] + watch.reference["gabor_kurtosis"]) / 2
    if watch.pooled["gabor_kurtosis"] < wanted:
        faults.append(
            f"kurtosis of Gabor responses {watch.pooled['gabor_kurtosis']:.1f}, less than half way ({wanted:.1f}) from "
            f"a Gaussian's to the data's {watch.reference['gabor_kurtosis']:.1f}"
        )
    for layer, ratio in enumerate([] if watch.temperature is None else watch.temperature):
        if abs(ratio - 1) > MOST_TEMPERATURE_ERROR:
            faults.append(f"layer {layer} is at {ratio:.2f} times the set temperature: take smaller steps")
    return faults


def verdict(watch: ChainReport, updates: int) -> str:
    """The judgement in words."""
    faults = judge(watch)
    about = f"chains of {watch.lengths[-1]} steps from noise and from data, at the weights of update {updates}"
    if not faults:
        return f"stationary, at the set temperature, and like the data: {about}"
    return f"not what was wanted, by {about}:\n" + "\n".join(f"  - {fault}" for fault in faults)


def _mixing(trace: np.ndarray) -> tuple[float, float]:
    """Rank-normalised split R-hat and effective sample size of (draws, chains); NaN where nothing moves."""
    if len(trace) < 4 or np.ptp(trace, axis=0).min() == 0:
        return float("nan"), float("nan")
    r_hat, size = _measure_mixing(trace.T)
    return float(r_hat), float(size)


@jax.jit
def _measure_mixing(draws: jax.Array) -> tuple[jax.Array, jax.Array]:
    return diagnostics.rhat(draws), diagnostics.effective_sample_size(draws)
