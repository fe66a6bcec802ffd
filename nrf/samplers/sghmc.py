"""Adaptive stochastic-gradient Hamiltonian Monte Carlo: the thesis's sampler, and the same algorithm made exact.

Springenberg, Klein, Falkner & Hutter (NeurIPS 2016) run Langevin dynamics with friction, and scale each unit's step by
the inverse root of its gradient's running second moment v̂, learned during burn-in and then frozen:

    r = 1/(τ+1),  m = 1/√v̂                                            (values before this step's adaptation)
    in burn-in:  τ ← τ + 1 - τ g²/v̂;   g ← g + r (G - g);   v̂ ← v̂ + r (G² - v̂)          (old values on the right)

with G = ∂E/∂s and τ = g = v̂ = 1, p = 0 at the start of every phase.

noise='published', the thesis as it was run (`THESIS` holds its settings).  With K the inverse mass over channels:

    σ² = clip(2ℓ²cm - 2ℓ³m²ν - ℓ⁴, σ²min, σ²max),   ℓ = ε/√scale_grad
    p ← p - ε² m G - c K p + σ z
    s ← s + K p,  then clamped to the bounds.  The momentum kept is p, before K and before any clip of its length.

The thesis's clamp σ² ≤ 1e-4 keeps the noise far below what the friction asks for: the temperature at which they
balance, σ²/(2cε²m), is 0.05/m at ε = c = 0.1, and m adapts to 9 to 37, so that the model was sampled at T of 0.001 to
0.005 rather than 1: in a harmonic well of curvature 1 the variance is 0.2 to 0.3 % of the target's, against 95 %
without the clamp.  `info.effective_temperature` is the mean of that ratio over a layer.

noise='matched' (default): the stationary law is exp(-E/T).  Once v̂ is frozen, let a = ε√m for each unit and q = p/a.
The dynamics that are Hamiltonian in (s, q), for any K and any m, are

    ds = a K q dt,   dq = -a G dt - c K q dt + sqrt(2cT) dW        law:  exp(-(E + ½ qᵀKq) / T),

friction operator cK against white noise of 2cT: the leading term of the published σ² (a² 2cT = 2ε²cm at T = 1) is this
balance.  With K = 1 these are the published dynamics; with coupled channels the published drift applies m on one side
only, K p, which has a stationary law in closed form only where m is the same for all channels; here the inverse mass
aKa is symmetric.  Euler steps, as published, add an error of order c and ε²m times the curvature.  Here it is corrected
by splitting, with the exact solution of each piece (BAOAB, half kicks merged as in `underdamped`):

    q ← q - aG;   s ← s + ½aKq;   q ← e^{-cK} q + sqrt(T K⁻¹(1 - e^{-2cK})) z;   s ← s + ½aKq

What error remains: none in the covariance of a Gaussian target without walls (at stable steps, ε²m times the curvature
below 4); O(ε²) in the law of others.  During burn-in v̂ still follows the chain and nothing is claimed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from blackjax.base import SamplingAlgorithm

from nrf.samplers.base import GradientFn, Position, kernel_from_update, zeros_like
from nrf.samplers.boundaries import bounds_per_layer, check_bounds, clamp
from nrf.samplers.integrators import drift, kick
from nrf.samplers.mass import MASSES, couple, inverse_mass, largest_eigenvalue, matrix_function
from nrf.samplers.options import check_choice, check_number, per_layer

NOISES = ("matched", "published")
# Settings of the published runs; the step sizes and clamps are those of all layers.
THESIS = {
    "noise": "published",
    "step_size": 0.1,
    "friction": 0.1,
    "sigma": 0.0,
    "min_sq_sigma": 9e-5,
    "max_sq_sigma": 1e-4,
    "scale_grad": 1.0,
    "num_burn_in": 100,
    "mass": "circulant",
}
PUBLISHED_DEFAULTS = {"sigma": 0.0, "min_sq_sigma": 1e-16, "max_sq_sigma": 1e6, "scale_grad": 1.0}


class SGHMCState(NamedTuple):
    """Carried from step to step; every field but the last has the structure and shapes of the position."""

    position: Position  # layers (B, ..., C), units of state
    momentum: Position  # published: p, units of state per step, before K; matched: q = p/(ε√m), units of sqrt(energy)
    tau: Position  # τ, length of the averaging window in steps
    gradient_mean: Position  # g, running mean of the gradient, energy per unit of state
    gradient_square: Position  # v̂, running mean of its square
    step: jax.Array  # int32 scalar, steps taken


class Update(NamedTuple):
    """Result of one deterministic update."""

    state: SGHMCState
    noise_scale: Position  # published: σ for each unit; matched: the white-noise equivalent sqrt(2cT) ε √m
    effective_temperature: jax.Array  # (layers,)


def init(position: Position, gradient_fn: GradientFn | None = None) -> SGHMCState:
    """State at rest with the adaptation at its start: τ = g = v̂ = 1, p = 0."""
    ones = jax.tree.map(jnp.ones_like, position)
    return SGHMCState(position, zeros_like(position), ones, ones, ones, jnp.int32(0))


def adapt(tau: jax.Array, mean: jax.Array, square: jax.Array, gradient: jax.Array):
    """One burn-in update of (τ, g, v̂) by a gradient, all arrays alike (equations in the module's docstring)."""
    rate = 1.0 / (tau + 1.0)
    return (
        tau + 1.0 - tau * mean * mean / square,
        mean + rate * (gradient - mean),
        square + rate * (gradient * gradient - square),
    )


def published_noise_scale(preconditioner, step_size, friction, sigma, scale_grad, min_sq_sigma, max_sq_sigma):
    """σ = sqrt(clip(2ℓ²cm - 2ℓ³m²ν - ℓ⁴, σ²min, σ²max)) with ℓ = ε/√scale_grad; if min exceeds max, max holds."""
    step = step_size / np.sqrt(scale_grad)
    variance = 2 * step**2 * friction * preconditioner - 2 * step**3 * preconditioner**2 * sigma - step**4
    return jnp.sqrt(jnp.minimum(jnp.maximum(variance, min_sq_sigma), max_sq_sigma))


def build_update(
    step_size: Any = 0.1,
    friction: Any = 0.1,
    temperature: Any = None,
    noise: str = "matched",
    mass: Any = "diagonal",
    coupling_sd: Any = None,
    num_burn_in: int = 100,
    mean_batch_preconditioner: bool = False,
    bounds: Any = None,
    boundary: str | None = None,
    sigma: Any = None,
    min_sq_sigma: Any = None,
    max_sq_sigma: Any = None,
    scale_grad: Any = None,
    momentum_clip: Any = None,
):
    """Build update(state, gradient, normals, temperature=None) -> Update, one step without any randomness of its own.

    gradient, normals: like the position; normals: the N(0, 1) draws to use.  `build_kernel`
    documents the options.
    """
    check_choice("noise", noise, NOISES)
    published = noise == "published"
    check_number("step_size", step_size, above=0)
    check_number("friction", friction, **({"at_least": 0} if published else {"above": 0}))
    check_number("num_burn_in", num_burn_in, at_least=0)
    check_choice("mass", mass, MASSES)
    if coupling_sd is not None:
        check_number("coupling_sd", coupling_sd, above=0)
    boundary = boundary or ("clamp" if published else "reflect")
    check_bounds(bounds, boundary, allowed=("clamp", "none") if published else ("reflect", "clamp", "none"))
    clamps = {"sigma": sigma, "min_sq_sigma": min_sq_sigma, "max_sq_sigma": max_sq_sigma, "scale_grad": scale_grad}
    if published:
        _check_published(temperature, momentum_clip)
        clamps = {name: PUBLISHED_DEFAULTS[name] if value is None else value for name, value in clamps.items()}
        for name, value in clamps.items():
            check_number(name, value, **({"above": 0} if name == "scale_grad" else {"at_least": 0}))
    else:
        temperature = 1.0 if temperature is None else temperature
        check_number("temperature", temperature, at_least=0)
        for name, value in {**clamps, "momentum_clip": momentum_clip}.items():
            if value is not None:
                raise ValueError(
                    f"sampler option {name!r} belongs to noise='published'; with noise='matched' the temperature sets "
                    f"the noise, so leave {name!r} out."
                )

    def update(state: SGHMCState, gradient: Position, normals: Position, temperature=temperature) -> Update:
        if published and temperature is not None:
            _check_published(temperature, None)
        structure = jax.tree.structure(state.position)
        layers, momenta, taus, means, squares = (jax.tree.leaves(field) for field in state[:5])
        count = len(layers)
        values = {
            name: per_layer(name, value, count)
            for name, value in {
                **clamps,
                "step_size": step_size,
                "friction": friction,
                "temperature": temperature,
                "mass": mass,
                "coupling_sd": coupling_sd,
                "momentum_clip": momentum_clip,
            }.items()
        }
        walls = bounds_per_layer(bounds, boundary, count)
        step = state.step + 1
        burning_in = step <= num_burn_in
        scales, effective = [], []
        for i, (force, normal) in enumerate(zip(jax.tree.leaves(gradient), jax.tree.leaves(normals), strict=True)):
            option = {name: entries[i] for name, entries in values.items()}
            matrix = inverse_mass(option["mass"], layers[i].shape[-1], option["coupling_sd"])
            preconditioner = 1.0 / jnp.sqrt(squares[i])
            if mean_batch_preconditioner:
                preconditioner = jnp.broadcast_to(jnp.mean(preconditioner, 0, keepdims=True), layers[i].shape)
            adapted = adapt(taus[i], means[i], squares[i], force)
            taus[i], means[i], squares[i] = (
                jnp.where(burning_in, new, old)
                for new, old in zip(adapted, (taus[i], means[i], squares[i]), strict=True)
            )
            one_layer = _published_layer if published else _matched_layer
            layers[i], momenta[i], scale, heat = one_layer(
                layers[i], momenta[i], force, normal, preconditioner, matrix, walls[i], boundary, option
            )
            scales.append(scale)
            effective.append(heat)
        fields = (jax.tree.unflatten(structure, x) for x in (layers, momenta, taus, means, squares))
        return Update(SGHMCState(*fields, step), jax.tree.unflatten(structure, scales), jnp.stack(effective))

    return update


def _check_published(temperature, momentum_clip):
    if temperature is not None:
        raise ValueError(
            "sampler option 'temperature' has no effect with noise='published', whose clamps set the noise; "
            "leave it out or take noise='matched'."
        )
    if momentum_clip is not None:
        check_number("momentum_clip", momentum_clip, above=0)


def _check_published_friction(friction, layers, options):
    count = len(layers)
    given = {
        "friction": friction,
        "mass": options.get("mass", "diagonal"),
        "coupling_sd": options.get("coupling_sd"),
    }
    values = [per_layer(name, value, count) for name, value in given.items()]
    for layer, loss, mass, width in zip(layers, *values, strict=True):
        channels = layer.shape[-1]
        largest = largest_eigenvalue(inverse_mass(mass, channels, width))
        if loss * largest >= 2:
            raise ValueError(
                f"sampler option 'friction' = {loss:g} makes the published update unstable: each step multiplies the "
                f"momentum by 1 - friction × {largest:.3g} (largest eigenvalue of the inverse mass of {channels} "
                f"channels); take a friction below {2 / largest:.3g}."
            )


def _published_layer(position, momentum, force, normal, preconditioner, matrix, walls, boundary, option):
    step, friction = option["step_size"], option["friction"]
    scale = published_noise_scale(
        preconditioner, step, friction, *(option[k] for k in ("sigma", "scale_grad", "min_sq_sigma", "max_sq_sigma"))
    )
    momentum = momentum - step**2 * preconditioner * force - friction * couple(matrix, momentum) + scale * normal
    move = couple(matrix, momentum)
    if option["momentum_clip"] is not None:
        norm = jnp.sqrt(jnp.sum(move * move))
        move = move * jnp.where(norm > option["momentum_clip"], option["momentum_clip"] / norm, 1.0)
    position = position + move
    if boundary == "clamp":
        position = clamp(position, walls)
    effective = jnp.mean(scale**2 / (2 * friction * step**2 * preconditioner))
    return position, momentum, scale, effective.astype(jnp.float32)


def _matched_layer(position, momentum, force, normal, preconditioner, matrix, walls, boundary, option):
    friction = option["friction"]
    root_heat = jnp.sqrt(jnp.asarray(option["temperature"], position.dtype))
    stride = option["step_size"] * jnp.sqrt(preconditioner)
    geometry = {"inverse_mass": matrix, "bounds": walls, "boundary": boundary}
    momentum = kick(momentum, force, stride)
    position, momentum = drift(position, momentum, 0.5 * stride, **geometry)
    if matrix is None:
        momentum = np.exp(-friction) * momentum + np.sqrt(-np.expm1(-2 * friction)) * root_heat * normal
    else:
        decay = matrix_function(matrix, lambda k: np.exp(-friction * k))
        spread = matrix_function(matrix, lambda k: np.sqrt(-np.expm1(-2 * friction * k) / k))
        momentum = couple(decay, momentum) + root_heat * couple(spread, normal)
    position, momentum = drift(position, momentum, 0.5 * stride, reverse=True, **geometry)
    scale = np.sqrt(2 * friction) * root_heat * stride
    return position, momentum, scale, jnp.asarray(option["temperature"], jnp.float32)


def build_kernel(**options):
    """Build kernel(key, state, gradient_fn, temperature=None) -> (state, info).

    noise: 'matched' samples exp(-E/temperature) exactly but for O(ε²); 'published' is the thesis's update.
    Per layer, a value or a tuple of one per layer that moves: step_size ε; friction c, the share of the momentum lost
    in a step; mass 'diagonal' or 'circulant' (see `mass`) with coupling_sd, its width in channels.
    num_burn_in: steps during which v̂ adapts; mean_batch_preconditioner: m averaged over the batch.
    bounds, boundary: see `boundaries`; boundary is 'reflect' for matched and 'clamp' for published noise if left out.
    Matched only: temperature T (units of energy, per layer, 1 if left out; one given to the kernel takes its place).
    Published only, per layer: sigma ν, the estimated gradient noise; min_sq_sigma, max_sq_sigma, the clamp of σ²
    (practically none if left out); scale_grad; momentum_clip, the largest Euclidean norm of a layer's whole
    displacement in one step, batch included.
    Raises ValueError for values out of range, options of the other kind, and, once the number of channels is known, a
    published friction at which the momentum diverges.
    """
    update = build_update(**options)
    published = options.get("noise") == "published"
    friction = options.get("friction", 0.1)
    check_number("friction", friction, above=0)

    def without_scale(*arguments, **override):
        new = update(*arguments, **override)
        return new.state, new.effective_temperature

    one_step = kernel_from_update(without_scale)

    def kernel(key: jax.Array, state: SGHMCState, gradient_fn: GradientFn, temperature=None):
        if published:
            _check_published_friction(friction, jax.tree.leaves(state.position), options)
        return one_step(key, state, gradient_fn, temperature)

    return kernel


def as_top_level_api(gradient_fn: GradientFn, **options) -> SamplingAlgorithm:
    """The sampler for one target: init(position), step(key, state).  Options as in `build_kernel`."""
    kernel = build_kernel(**options)
    return SamplingAlgorithm(
        lambda position, rng_key=None: init(position, gradient_fn),
        lambda key, state: kernel(key, state, gradient_fn),
    )
