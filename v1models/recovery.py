"""Is the truth found: where a simulated population's difference-of-Gaussians units lie, and where fitted ones do.

    centres.npz     true (G, 2), fitted (M, F, 2): x, y in pixels from the center of the top-left pixel; size (2,), rows
                    and columns; weight (M, F), how much each fitted unit counts in its network

A fitted unit counts by √Σ over hidden units of (its weight × the standard deviation of its drive over the images)², as
a share of its network's largest.
"""

import jax
import numpy as np

from v1models.gaussians import CENTER_X, CENTER_Y, clip_parameters
from v1models.layers import DifferenceOfGaussians
from v1models.network import Network
from v1models.simulation import Truth
from v1models.specification import NetworkSpec
from v1models.update import Member

CENTERS = "centres.npz"


def centers(spec: NetworkSpec, members: Member, truth: Truth | None, images: jax.Array) -> dict[str, np.ndarray] | None:
    """True and fitted centers as named arrays, or None where there is nothing to compare.

    Args:
        spec: a NetworkSpec; one whose first layer is no DifferenceOfGaussians gives None.
        members: fitted networks, a `Member` with a leading axis M.
        truth: a simulation's `Truth`, or None; one without such units gives None.
        images: (n, rows, columns, channels) as the networks see them, to measure how strongly units are driven.
    """
    layer = spec.layers[0]
    if truth is None or truth.gaussians is None or type(layer) is not DifferenceOfGaussians:
        return None

    def drive(params, batch_stats):
        variables = {"params": params, **({"batch_stats": batch_stats} if batch_stats else {})}
        return Network(spec).apply(variables, images, method="activities")[0].reshape(len(images), -1)

    weight = np.asarray(jax.jit(jax.vmap(drive))(members.params, members.batch_stats)).std(1)
    if "kernel" in members.params.get("layer1", {}):
        weight = weight * np.linalg.norm(np.asarray(members.params["layer1"]["kernel"]), axis=2)
    bounds = layer.bounds_for(spec.input_shape)
    clip = jax.jit(jax.vmap(lambda gaussians: clip_parameters(gaussians, bounds)))
    clipped = np.asarray(clip(members.params["layer0"]["gaussians"]))
    return {
        "true": truth.gaussians[0, CENTER_X : CENTER_Y + 1].T,
        "fitted": np.moveaxis(clipped[:, 0, CENTER_X : CENTER_Y + 1], 1, 2),
        "weight": weight / np.maximum(weight.max(1, keepdims=True), 1e-12),
        "size": np.array(spec.input_shape[:2]),
    }
