"""Compare `nrf.visualisation` with files of steps that the original's visualisation made (`reference/nrf/viz_*.npz`).

A file holds a start, one layer and channel, and for two modes the states, momenta, noise draws and gradients of a few
steps.  The same noise goes through the project's own functions, in the published sampler.
"""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from nrf.visualisation import make_visualisation
from tests.parity.nrf import (
    GRADIENT_FLOOR,
    Found,
    _layers,
    _model,
    _nchw,
    _nhwc,
    _published_sampler,
    compare,
    compiled,
)

MODES = ("channels_energy", "channels_state")


def recognise(npz) -> bool:
    """Whether the file holds steps of a visualisation mode with the noise that drove them."""
    names = set(npz.keys())
    modes = [mode for mode in MODES if f"{mode}/state_0" in names and f"{mode}/z_0" in names]
    return {"arch_json", "config_json", "state0_0"} <= names and bool(modes)


def check(path) -> Found:
    """Compare one file: {output: (worst absolute error, worst relative error, tolerance of the absolute error)}."""
    with np.load(Path(path), allow_pickle=False) as npz:
        if not recognise(npz):
            raise ValueError(f"{path}: not a file of visualisation steps.")
        file = {name: npz[name] for name in npz.files}
    found: Found = {}
    options = json.loads(str(file["config_json"]))
    model, variables = _model(file, "auto", options["ff_dynamics"])
    weights = compiled(model.prepare)(variables)
    start = _layers(file, "state0_")
    for mode in MODES:
        if f"{mode}/state_0" in file:
            _check_mode(file, found, mode, model, weights, start, options)
    return found


def _check_mode(file, found: Found, mode: str, model, weights, start, options: dict) -> None:
    layer, clip = options["state_layer_idx"], options["clip_state_grad_norm"] if options["clip_grad"] else None
    layers = list(range(len(start)))
    sampler = _published_sampler(options, model, layers, [_nhwc(file[f"{mode}/z_{i}"]) for i in layers])
    functions = make_visualisation(
        model, sampler, mode, layer, energy_scale=options["energy_scaler"],
        held_value=options["clamp_value"] * options["clamp_idx_one_or_zero"], gradient_clip=clip,
    )  # fmt: skip
    channels = model.architecture.layers[layer].channels
    selected = jnp.broadcast_to(jax.nn.one_hot(options["channel"], channels), (len(start[0]), channels))
    step = compiled(functions.step)
    state = functions.init(weights, start, selected)
    steps = []
    for number in range(len(file[f"{mode}/state_0"])):
        state, info = step(jax.random.key(0), weights, state, selected, jnp.int32(number))
        steps.append((state, info.gradient))
    for i in layers:
        for key, theirs in (("state", "position"), ("mom", "momentum")):
            ours = np.stack([_nchw(getattr(s, theirs)[i]) for s, _ in steps])
            compare(found, f"{mode}/{key}_{i}", ours, file[f"{mode}/{key}_{i}"])
        gradient = np.stack([_nchw(g[i]) for _, g in steps])
        compare(found, f"{mode}/grad_used_{i}", gradient, file[f"{mode}/grad_used_{i}"], GRADIENT_FLOOR)
