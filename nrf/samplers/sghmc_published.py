"""Adaptive SGHMC as published and as the thesis ran it; `sghmc` is the same algorithm with exact noise.

With m the preconditioner of `adaptation` and K the inverse mass over channels:

    σ² = clip(2ℓ²cm - 2ℓ³m²ν - ℓ⁴, σ²min, σ²max),   ℓ = ε/√scale_grad
    p ← p - ε² m G - c K p + σ z
    s ← s + K p,  then clamped to the bounds.  The momentum kept is p, before K and before any clip of its length.

The thesis's clamp σ² ≤ 1e-4 keeps the noise far below what the friction asks for: the temperature at which they
balance, σ²/(2cε²m), is 0.05/m at ε = c = 0.1, and m adapts to 9 to 37, so that the model was sampled at T of 0.001 to
0.005 rather than 1: in a harmonic well of curvature 1 the variance is 0.2 to 0.3 % of the target's, against 95 %
without the clamp.  `info.effective_temperature` is the mean of that ratio over a layer.

Springenberg, Klein, Falkner & Hutter, NeurIPS 2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nrf.samplers.adaptation import SGHMCState, adapted, preconditioner
from nrf.samplers.base import GradientFn, Position, SamplerInfo, standard_normals
from nrf.samplers.boundaries import bounds_per_layer, check_bounds, clamp
from nrf.samplers.mass import check_mass, couple, inverse_mass, largest_eigenvalue
from nrf.samplers.options import check_number, each_layer


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options, with practically no clamp of the noise; per layer, a value or a tuple of one per layer that moves.

    Raises:
        ValueError: a value out of range.
    """

    step_size: Any = 0.1  # per layer: ε
    friction: Any = 0.1  # per layer: c, the share of the momentum lost in a step
    sigma: Any = 0.0  # per layer: ν, the estimated noise of the gradient
    min_sq_sigma: Any = 1e-16  # per layer: σ²min
    max_sq_sigma: Any = 1e6  # per layer: σ²max; where σ²min exceeds it, it holds
    scale_grad: Any = 1.0  # per layer
    momentum_clip: Any = None  # per layer: largest Euclidean norm of a layer's displacement in a step, batch included
    num_burn_in: int = 100  # steps during which v̂ adapts
    mean_batch_preconditioner: bool = False  # m averaged over the batch
    mass: Any = "diagonal"  # per layer: 'diagonal' or 'circulant', see `mass`
    coupling_sd: Any = None  # per layer: width of a circulant mass in channels, None for the published one
    bounds: Any = None  # see `boundaries`
    boundary: str = "clamp"  # or 'none'

    def __post_init__(self):
        check_number("step_size", self.step_size, above=0)
        check_number("friction", self.friction, above=0)
        check_number("scale_grad", self.scale_grad, above=0)
        for name in ("sigma", "min_sq_sigma", "max_sq_sigma", "num_burn_in"):
            check_number(name, getattr(self, name), at_least=0)
        if self.momentum_clip is not None:
            check_number("momentum_clip", self.momentum_clip, above=0)
        check_mass(self.mass, self.coupling_sd)
        check_bounds(self.bounds, self.boundary, allowed=("clamp", "none"))


@dataclass(frozen=True, kw_only=True)
class ThesisOptions(Options):
    """Options with the settings of the published runs as defaults."""

    min_sq_sigma: Any = 9e-5
    max_sq_sigma: Any = 1e-4
    mass: Any = "circulant"


class Update(NamedTuple):
    """Result of one deterministic update."""

    state: SGHMCState
    noise_scale: Position  # σ of each unit
    effective_temperature: jax.Array  # (layers,)


def noise_scale(preconditioner, step_size, friction, sigma, scale_grad, min_sq_sigma, max_sq_sigma):
    """σ = sqrt(clip(2ℓ²cm - 2ℓ³m²ν - ℓ⁴, σ²min, σ²max)) with ℓ = ε/√scale_grad; if min exceeds max, max holds."""
    step = step_size / np.sqrt(scale_grad)
    variance = 2 * step**2 * friction * preconditioner - 2 * step**3 * preconditioner**2 * sigma - step**4
    return jnp.sqrt(jnp.minimum(jnp.maximum(variance, min_sq_sigma), max_sq_sigma))


def build_update(options: Options):
    """Build update(state, gradient, normals) -> Update, one step without any randomness of its own.

    gradient, normals: like the position; normals: the N(0, 1) draws to use.
    """

    def update(state: SGHMCState, gradient: Position, normals: Position) -> Update:
        layers, structure = jax.tree.flatten(state.position)
        momenta, squares = jax.tree.leaves(state.momentum), jax.tree.leaves(state.gradient_square)
        settings = each_layer(options, len(layers))
        walls = bounds_per_layer(options.bounds, options.boundary, len(layers))
        scales, effective = [], []
        for i, (force, normal) in enumerate(zip(jax.tree.leaves(gradient), jax.tree.leaves(normals), strict=True)):
            own = settings[i]
            m = preconditioner(squares[i], options.mean_batch_preconditioner)
            matrix = inverse_mass(own.mass, layers[i].shape[-1], own.coupling_sd)
            layers[i], momenta[i], scale, heat = _step(layers[i], momenta[i], force, normal, m, matrix, own)
            if options.boundary == "clamp":
                layers[i] = clamp(layers[i], walls[i])
            scales.append(scale)
            effective.append(heat)
        position, momentum, scales = (jax.tree.unflatten(structure, x) for x in (layers, momenta, scales))
        state = adapted(state, gradient, options.num_burn_in)._replace(position=position, momentum=momentum)
        return Update(state, scales, jnp.stack(effective))

    return update


def _step(position, momentum, force, normal, m, matrix, own):
    scale = noise_scale(
        m, own.step_size, own.friction, own.sigma, own.scale_grad, own.min_sq_sigma, own.max_sq_sigma
    )
    step = own.step_size
    momentum = momentum - step**2 * m * force - own.friction * couple(matrix, momentum) + scale * normal
    displacement = couple(matrix, momentum)
    if own.momentum_clip is not None:
        norm = jnp.sqrt(jnp.sum(displacement * displacement))
        displacement = displacement * jnp.where(norm > own.momentum_clip, own.momentum_clip / norm, 1.0)
    heat = jnp.mean(scale**2 / (2 * own.friction * step**2 * m)).astype(jnp.float32)
    return position + displacement, momentum, scale, heat


def build_kernel(options: Options):
    """Build kernel(key, state, gradient_fn) -> (state, info).

    Raises:
        ValueError: once the number of channels is known, a friction at which the momentum diverges.
    """
    update = build_update(options)

    def kernel(key: jax.Array, state: SGHMCState, gradient_fn: GradientFn):
        _check_friction(options, jax.tree.leaves(state.position))
        energy, gradient = gradient_fn(state.position)
        layers, structure = jax.tree.flatten(state.position)
        new = update(state, gradient, jax.tree.unflatten(structure, standard_normals(key, layers)))
        return new.state, SamplerInfo(energy, gradient, new.effective_temperature, jnp.float32(1.0))

    return kernel


def _check_friction(options, layers):
    for layer, own in zip(layers, each_layer(options, len(layers)), strict=True):
        channels = layer.shape[-1]
        largest = largest_eigenvalue(inverse_mass(own.mass, channels, own.coupling_sd))
        if own.friction * largest >= 2:
            raise ValueError(
                f"sampler option 'friction' = {own.friction:g} makes the published update unstable: each step "
                f"multiplies the momentum by 1 - friction × {largest:.3g} (largest eigenvalue of the inverse mass of "
                f"{channels} channels); take a friction below {2 / largest:.3g}."
            )
