"""Compare `nrf.samplers.sghmc_published` with a file of reference steps (`sghmc_*.npz`).

A file holds one layer, the gradients and normal draws of some steps, and what the original made of them.  The same
gradients and draws go through the project's own update, and all that it carries is compared after every step.
"""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np

from nrf.samplers import adaptation, sghmc_published

OUTPUTS = ("param", "momentum", "tau", "g", "v_hat", "sigma")
# Of the largest reference value of each output: float32 over a few steps.
RELATIVE = 1e-5


def recognise(npz) -> bool:
    """Whether the file holds sampler steps: inputs, options, and every carried quantity."""
    return {"config_json", "param_0", "grad", "z", *OUTPUTS} <= set(npz.keys())


def options_of(config: dict) -> dict:
    """The options of the project's sampler that a file's configuration stands for."""
    return {
        "boundary": "none",
        "step_size": config["lr"],
        "friction": config["mdecay"],
        "sigma": config["noise"],
        "scale_grad": config["scale_grad"],
        "min_sq_sigma": config["min_sq_sigma"],
        "max_sq_sigma": config["max_sq_sigma"],
        "num_burn_in": int(config["num_burn_in_steps"]),
        "mass": "circulant" if config["non_diag_inv_mass"] else "diagonal",
        "mean_batch_preconditioner": bool(config["mean_batch_minv_t"]),
        "momentum_clip": config["mom_clip_val"] if config["mom_clip"] else None,
    }


def check(path) -> dict[str, tuple[float, float, float]]:
    """Return {output: (worst absolute error, worst relative error, tolerance of the absolute error)}."""
    with np.load(Path(path), allow_pickle=False) as npz:
        if not recognise(npz):
            raise ValueError(f"{path} does not hold sampler steps ({', '.join(OUTPUTS)} with grad, z and config_json).")
        config = json.loads(str(npz["config_json"]))
        channels_last = {name: np.moveaxis(npz[name], -3, -1) for name in ("param_0", "grad", "z", *OUTPUTS)}

    update = sghmc_published.build_update(sghmc_published.Options(**options_of(config)))

    def one_step(state, inputs):
        gradient, normal = inputs
        new = update(state, (gradient,), (normal,))
        return new.state, (*(field[0] for field in new.state[:5]), new.noise_scale[0])

    start = adaptation.init((channels_last["param_0"],))
    inputs = (channels_last["grad"], channels_last["z"])
    _, ours = jax.jit(lambda s, x: jax.lax.scan(one_step, s, x))(start, inputs)
    return {name: _compare(ours[i], channels_last[name]) for i, name in enumerate(OUTPUTS)}


def _compare(ours, theirs) -> tuple[float, float, float]:
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    largest = float(np.abs(theirs).max())
    # A NaN must not pass as small.
    worst = float(np.nan_to_num(np.abs(ours - theirs), nan=np.inf).max()) if ours.shape == theirs.shape else np.inf
    return worst, worst / max(largest, 1e-30), RELATIVE * largest
