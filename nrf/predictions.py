"""Predictions beside a recording: what the curvature of the clamped energy says each contrast will show.

`predict_recording(config, workdir)` holds the trained model at stimuli of `contrast_and_angle`, finds the mean state of
the latents at each, and writes `predictions.json` into the run folder; `predict` does the same for any energy of
latents.  Frequencies are in cycles per step and times in steps: whoever reads the file knows what a step is worth.

    frequency      (F,) cycles per step at which the spectra are given
    contrasts      one value a row of what follows, rising
    modes          lowest, median and highest curvature of A, in units of the step (h²Kλ), and of H, in units of energy
                   per state², where all layers take one step size and mass; the median is that of all directions, as a
                   random probe sees them; and for the three the predictions of `linear_response.Modes`
    signals        per signal: spectrum, mean, variance, resonance (the spectrum's peak, 0 for none), quality, phase and
                   lag of inhibition at the resonance, overshoot at the onset (0.2: a fifth beyond the new mean; null
                   where there is no clear response)
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from ml_collections import ConfigDict

from nrf import curvature as cv
from nrf.from_config import read_sampler
from nrf.linear_response import predict_modes
from nrf.phases import MeanStates, make_gradient_fn, mean_states
from nrf.protocols import make_protocol
from nrf.samplers.base import GradientFn, Position
from nrf.trained import Trained, read_trained, start_states
from recordings.names import PREDICTIONS
from runtime.errors import RunError
from runtime.files import write_json
from runtime.images import ImageSet, load_images

FILE = PREDICTIONS
EXPERIMENT = "contrast_and_angle"
FREQUENCIES = (np.arange(128) + 0.5) / 256  # cycles per step
RESPONSE_STEPS = 400
# A response smaller than this many standard errors of its own estimate has no shape that could be predicted.
LEAST_RESPONSE = 3.0


class NoPrediction(RunError):
    """The sampler has no linear answer in closed form; the message says why."""


class Signal(NamedTuple):
    """What is observed: a weighted sum over the units of one layer that moves."""

    layer: int  # among the layers that move
    weights: jax.Array  # (...) shaped like the layer without its batch


def _iteration(gradient_fn: GradientFn, geometry: cv.Geometry, steps: int):
    """Compiled iterate(position, start (B, N)) -> Krylov.

    Arrays of a `Partial` are arguments of the program, so that it serves other weights and images as it is.
    """

    @jax.jit
    def iterate(gradient_fn: Partial, position: Position, start: jax.Array) -> cv.Krylov:
        return cv.lanczos(cv.step_operator(gradient_fn, position, geometry), start, steps)

    return partial(iterate, gradient_fn if isinstance(gradient_fn, Partial) else Partial(gradient_fn))


def predict(
    gradient_fn: GradientFn,
    rest: MeanStates,
    blank: MeanStates,
    contrasts: np.ndarray,
    geometry: cv.Geometry,
    signals: Mapping[str, Signal],
    key: jax.Array,
    lanczos_steps: int = 48,
) -> dict[str, Any]:
    """Predictions per contrast, ready for JSON.

    Args:
        gradient_fn: position -> (energy (B,), gradient) of the latents, B stimuli held.
        rest: mean states at the B stimuli.
        blank: mean states before their onset, of B or of 1 chains.
        contrasts: (B,); stimuli of the same contrast are averaged.
        geometry: of the dynamics (`curvature.make_geometry`).
        signals: what is observed, by name.
        key: random key of the probes.
        lanczos_steps: iterations; more resolve closer modes.
    """
    contrasts = np.asarray(contrasts, float)
    levels = np.unique(contrasts)
    rows = [contrasts == level for level in levels]
    position = rest.mean

    iterate = _iteration(gradient_fn, geometry, lanczos_steps)
    probe = iterate(position, jax.random.normal(key, cv.flatten(position).shape))
    three = cv.extremes(probe)
    three = np.stack([three[row].mean(axis=0) for row in rows])
    onset = iterate(position, cv.to_steps(jax.tree.map(jnp.subtract, position, blank.mean), geometry))
    scale = _common_scale(geometry)
    modes = predict_modes(three, geometry.dynamics)._asdict()
    # Variance and phase have the units of the states, which only a common step size and mass give back.
    for name in ("variance", "phase", "phase_continuous"):
        modes.pop(name)
    table = {
        "frequency": FREQUENCIES,
        "contrasts": levels,
        "dynamics": {
            "step_size": list(geometry.step_sizes),
            "friction": geometry.dynamics.friction,
            "temperature": geometry.dynamics.temperature,
        },
        "modes": {
            "step_curvature": three,
            "curvature": None if scale is None else three / scale,
            **modes,
        },
        "signals": {
            name: _predict_signal(signal, iterate, onset, rest, blank, rows, geometry)
            for name, signal in signals.items()
        },
    }
    return _as_json(table)


def _predict_signal(signal, iterate, onset, rest, blank, rows, geometry) -> dict[str, Any]:
    weights = [np.zeros(s.shape[1:], np.float32) for s in rest.mean]
    weights[signal.layer] = signal.weights
    batch = len(rest.mean[0])
    observed = tuple(np.broadcast_to(w, (batch, *w.shape)) for w in weights)
    in_steps = cv.signal_to_steps(observed, geometry)
    measure = cv.spectral_measure(iterate(rest.mean, in_steps))
    density = cv.signal_spectrum(measure, FREQUENCIES, geometry)
    density = np.stack([density[row].mean(axis=0) for row in rows])
    fine = np.linspace(0, 0.5, 2049)[:-1]
    dense = cv.signal_spectrum(measure, fine, geometry)
    peaks = fine[np.stack([dense[row].mean(axis=0) for row in rows]).argmax(axis=1)]
    at_peak = np.zeros(batch)
    for row, peak in zip(rows, peaks, strict=True):
        at_peak[row] = peak
    h, root = geometry.step_sizes[signal.layer], geometry.roots[signal.layer]
    phase = cv.signal_phase(measure, at_peak, geometry, h) if root is None else np.full(batch, np.nan)
    phase = np.where(peaks > 0, [phase[row].mean() for row in rows], np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        lag = np.where(peaks > 0, phase / (2 * np.pi * peaks), np.nan)
    quality = cv.signal_quality(measure, at_peak, geometry)
    variance = cv.signal_variance(measure, geometry)
    return {
        "layer": signal.layer,
        "mean": [_project(rest.mean, weights)[row].mean() for row in rows],
        "variance": [variance[row].mean() for row in rows],
        "resonance": peaks,
        "quality": [quality[row].mean() for row in rows],
        "phase": phase,
        "lag": lag,
        "overshoot": _overshoots(onset, in_steps, rest, blank, weights, rows, geometry),
        "spectrum": density,
    }


def _overshoots(onset, signal, rest, blank, weights, rows, geometry) -> list[float]:
    response = cv.onset_response(onset, signal, geometry, RESPONSE_STEPS)
    change = _project(rest.mean, weights) - _project(blank.mean, weights)
    # Half the difference of two halves is an estimate of the mean's own error.
    noise = [0.5 * (_project(each.late, weights) - _project(each.early, weights)) for each in (rest, blank)]
    error = np.sqrt(np.mean(noise[0] ** 2) + np.mean(noise[1] ** 2))
    found = []
    for row in rows:
        sign, size = np.sign(change[row]), np.abs(change[row]).sum()
        beyond = np.max(sign @ response[row])
        clear = size > LEAST_RESPONSE * error * np.sqrt(row.sum())
        found.append(max(float(beyond / size), 0.0) if clear else np.nan)
    return found


def _project(position: Position, weights: list[jax.Array]) -> np.ndarray:
    return sum(
        np.asarray(s, np.float64).reshape(len(s), -1) @ np.asarray(w, np.float64).ravel()
        for s, w in zip(position, weights, strict=True)
    )


def _common_scale(geometry: cv.Geometry) -> float | None:
    same = len(set(geometry.step_sizes)) == 1 and all(root is None for root in geometry.roots)
    return geometry.step_sizes[0] ** 2 if same else None


# --- the trained field ---------------------------------------------------------------------------------------------


def read_geometry(config: ConfigDict, channels: tuple[int, ...]) -> cv.Geometry:
    """Geometry of the config's sampler over latent layers of the given numbers of channels.

    Raises:
        NoPrediction: a sampler without a linear answer in closed form.
    """
    name = config.sampler.name
    if name != "underdamped":
        raise NoPrediction(f"the curvature predicts recordings of the sampler 'underdamped', not of '{name}'")
    options = {
        option: value[1:] if isinstance(value, tuple) else value for option, value in config.sampler[name].items()
    }
    known = ("step_size", "friction", "temperature", "mass", "coupling_sd")
    try:
        return cv.make_geometry(channels, **{option: options[option] for option in known if option in options})
    except ValueError as error:
        raise NoPrediction(f"config.sampler.{name}: {error}") from None


def default_signals(layers: tuple[int, ...], sizes: list[tuple[int, int, int]]) -> dict[str, Signal]:
    """Signals of the layers recorded: the channels of the middle site summed, and all units of the layer summed.

    Args:
        layers: numbers of the layers (1 is the first latent one).
        sizes: (H, W, C) of every layer that moves.
    """
    found = {}
    for layer in layers:
        height, width, channels = sizes[layer - 1]
        site = np.zeros((height, width, channels), np.float32)
        site[height // 2, width // 2] = 1.0
        found[f"layer_{layer}/site"] = Signal(layer - 1, site)
        found[f"layer_{layer}/all"] = Signal(layer - 1, np.ones((height, width, channels), np.float32))
    return found


def predict_field(config: ConfigDict, trained: Trained, images: ImageSet) -> dict[str, Any]:
    """Predictions for the recording of `contrast_and_angle`, ready for JSON.

    Args:
        config: of the run; config.record.prediction says how long chains run.
        trained: the model.
        images: grey levels in [0, 1], as for `protocols.make_protocol`.

    Raises:
        NoPrediction: a sampler that has none.
    """
    settings, model = config.record.prediction, trained.model
    shapes = [shape[1:] for shape in model.architecture.state_shapes(1)[1:]]
    geometry = read_geometry(config, tuple(shape[-1] for shape in shapes))
    protocol = make_protocol(EXPERIMENT, config, images, trained.space)
    angles = np.unique(protocol.table["angle"])
    rows = np.flatnonzero(np.isin(protocol.table["angle"], angles[: settings.angles]))
    shown = np.concatenate([protocol.images[rows], protocol.blank[None]])
    image = np.repeat(shown, settings.chains, axis=0)
    sampler, clip = read_sampler(config, model, True), config.sampler.gradient_clip or None

    @jax.jit
    def run(key, weights, image):
        start_key, key = jax.random.split(key)
        start = start_states(trained, start_key, image, config.positive.start)[1:]
        gradient_fn = make_gradient_fn(model, weights, image, clip)
        rest = mean_states(gradient_fn, sampler, key, start, settings.settle, settings.steps)
        return jax.tree.map(lambda s: s.reshape(-1, settings.chains, *s.shape[1:]).mean(axis=1), rest)

    key, run_key = jax.random.split(jax.random.key(config.seed))
    found = run(run_key, trained.weights, image)
    rest, blank = (jax.tree.map(lambda s, part=part: s[part], found) for part in (slice(-1), slice(-1, None)))
    gradient_fn = Partial(
        lambda weights, image, position: make_gradient_fn(model, weights, image)(position),
        trained.weights,
        jax.device_put(protocol.images[rows]),
    )
    signals = default_signals(config.record.layers, shapes)
    contrasts = protocol.table["contrast"][rows]
    return predict(gradient_fn, rest, blank, contrasts, geometry, signals, key, settings.lanczos)


def predict_recording(config: ConfigDict, workdir: str | pathlib.Path) -> pathlib.Path | None:
    """Write the predictions for the recording that `workdir` holds, or is to hold, of `contrast_and_angle`.

    A file that was made from the same weights and settings stays.  Returns its path; None, having said why, where there
    is nothing to predict.

    Args:
        config: of the run.
        workdir: run folder with a trained model.
    """
    settings = config.record.prediction
    if EXPERIMENT not in config.record.experiments or settings.angles == 0:
        return None
    trained = read_trained(config, workdir)
    about = {
        "updates": trained.updates,
        "prediction": dict(settings.items()),
        "sampler": {"name": config.sampler.name, **dict(config.sampler[config.sampler.name].items())},
        "set": dict(config.record.sets[EXPERIMENT].items()) if EXPERIMENT in config.record.sets else {},
        "layers": config.record.layers,
    }
    about = json.loads(json.dumps(about))
    path = pathlib.Path(workdir) / FILE
    if path.exists() and json.loads(path.read_text())["about"] == about:
        return path
    data = config.data
    images = load_images(
        data.name, data_dir=data.dir, size=data.size, channels=data.channels, num_train=data.num_train,
        contrast=data.contrast, seed=config.seed,
    )  # fmt: skip
    try:
        return write_predictions({"about": about, **predict_field(config, trained, images)}, workdir)
    except NoPrediction as error:
        print(f"no predictions are written: {error}", flush=True)
        return None


def write_predictions(table: Mapping[str, Any], workdir: str | pathlib.Path) -> pathlib.Path:
    """Write a table of predictions into a run folder; the file is whole or absent."""
    path = pathlib.Path(workdir) / FILE
    write_json(path, table, allow_nan=False)
    return path


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_as_json(entry) for entry in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
