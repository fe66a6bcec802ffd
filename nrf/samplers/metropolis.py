"""Samplers that accept or reject: BlackJAX's own HMC, MALA and NUTS on the log density -E/T, one chain per image.

Their acceptance tests make them exact at any step size, so they judge the samplers that have none.  Every image of
the batch is a chain with its own acceptance; chains run side by side under `vmap`.

One chain, one call.  The model's gradient is evaluated for a whole batch, and may hold something of each image (the
clamped pixels of the positive phase), so it cannot be called for one chain alone.  The log density of one chain
therefore carries its own batching rule: under `vmap` over chains it calls gradient_fn once for all of them.  Its
derivative is the gradient that gradient_fn returns; nothing is differentiated a second time.

Walls ('reflect').  Chains run in an unbounded space in which the energy is continued evenly across the walls,
y ↦ E(fold(y)), fold being the reflection of `boundaries`.  The continuation has the symmetry of the walls and so has
each step, hence fold(y) is a chain of its own that samples exp(-E/T) restricted to the box, exactly.  Rejecting what
leaves the box would do so too, but with thousands of units near their walls nearly everything leaves it.

Step sizes have the units of the project's own samplers at every temperature: `step_size` h of HMC and NUTS is that of
`underdamped`, ε of MALA that of `langevin`.

Neal, in Handbook of MCMC (2011); Roberts & Tweedie, Bernoulli 1996; Hoffman & Gelman, JMLR 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
from blackjax.mcmc.hmc import HMCState
from blackjax.mcmc.mala import MALAState

from nrf.samplers.base import GradientFn, Position
from nrf.samplers.boundaries import bounds_per_layer, check_bounds, reflect
from nrf.samplers.options import check_number, is_per_layer, per_layer


@dataclass(frozen=True, kw_only=True)
class MalaOptions:
    """Options of 'mala', and those that 'hmc' and 'nuts' share with it.

    Raises:
        ValueError: a value out of range.
    """

    step_size: float = 0.1  # ε, units of state² per energy; of HMC and NUTS h, units of state per sqrt(energy)
    temperature: float = 1.0  # T, units of energy
    bounds: Any = None  # see `boundaries`
    boundary: str = "reflect"  # or 'none' (clamping has no distribution to accept by)

    def __post_init__(self):
        for name in ("step_size", "temperature"):
            if is_per_layer(getattr(self, name)):
                raise ValueError(f"sampler option {name!r} must be one number, the same in all layers.")
            check_number(name, getattr(self, name), above=0)
        check_bounds(self.bounds, self.boundary, allowed=("reflect", "none"))


@dataclass(frozen=True, kw_only=True)
class HmcOptions(MalaOptions):
    """Options of 'hmc'."""

    num_integration_steps: int = 10  # leapfrog steps
    inverse_mass: Any = 1.0  # a value or one per layer that moves

    def __post_init__(self):
        super().__post_init__()
        check_number("num_integration_steps", self.num_integration_steps, at_least=1)
        check_number("inverse_mass", self.inverse_mass, above=0)


@dataclass(frozen=True, kw_only=True)
class NutsOptions(MalaOptions):
    """Options of 'nuts'."""

    max_num_doublings: int = 6  # at most 2^n leapfrog steps
    inverse_mass: Any = 1.0  # a value or one per layer that moves

    def __post_init__(self):
        super().__post_init__()
        check_number("max_num_doublings", self.max_num_doublings, at_least=1)
        check_number("inverse_mass", self.inverse_mass, above=0)


class MetropolisState(NamedTuple):
    """Carried from step to step."""

    position: Position  # layers (B, ..., C), units of state, inside the box
    energy: jax.Array  # (B,), energy at the position
    gradient: Position  # like position, dE/ds at the position

    @property
    def momentum(self) -> None:
        """None: momenta are drawn anew in every step."""
        return None


class MetropolisInfo(NamedTuple):
    """Diagnostics of one step; energy and gradient belong to the position before it."""

    energy: jax.Array  # (B,), energy of each chain
    gradient: Position  # like position, energy per unit of state
    effective_temperature: jax.Array  # (layers,), the temperature
    acceptance: jax.Array  # scalar in [0, 1], mean acceptance probability of the chains
    is_divergent: jax.Array  # (B,) bool, an energy error beyond 1000 T; always false for MALA
    num_gradients: jax.Array  # (B,) int32, gradients that the chain's trajectory asked for


def init(position: Position, gradient_fn: GradientFn) -> MetropolisState:
    """State at a position inside the box, with its energy and gradient."""
    energy, gradient = gradient_fn(position)
    return MetropolisState(position, energy, gradient)


def place(state: MetropolisState, position: Position, gradient_fn: GradientFn) -> MetropolisState:
    """The state at another position, or under another energy, which has to be evaluated there."""
    return init(position, gradient_fn)


def make_logdensity(
    gradient_fn: GradientFn, position: Position, temperature: Any, bounds: Any = None, boundary: str = "reflect"
):
    """logdensity(position of one chain) -> -E/T, only for use under `vmap` over all the chains of `position`.

    position: layers (B, ..., C), for their shapes; one chain's position lacks the batch axis, and may lie outside the
    box.
    """

    def batched(position):
        layers, structure = jax.tree.flatten(position)
        walls = bounds_per_layer(bounds, boundary, len(layers))
        folded = [reflect(s, wall) for s, wall in zip(layers, walls, strict=True)]
        energy, gradient = gradient_fn(jax.tree.unflatten(structure, [s for s, _ in folded]))
        # Across a wall the continued energy runs backwards.
        slopes = [
            jnp.where(turned, g, -g) / temperature
            for g, (_, turned) in zip(jax.tree.leaves(gradient), folded, strict=True)
        ]
        return -energy / temperature, jax.tree.unflatten(structure, slopes)

    # Weights and images that gradient_fn closes over must reach BlackJAX's loops as arguments: a batching rule runs
    # after the loop is traced, too late for JAX to find what it closes over.
    closed, shapes = jax.make_jaxpr(batched, return_shape=True)(position)
    structure = jax.tree.structure(shapes)
    chains = len(jax.tree.leaves(position)[0])

    def for_all_chains(position, constants):
        results = jax.core.eval_jaxpr(closed.jaxpr, constants, *jax.tree.leaves(position))
        return jax.tree.unflatten(structure, results)

    @jax.custom_batching.custom_vmap
    def for_one_chain(position, constants):
        repeated = jax.tree.map(lambda x: jnp.broadcast_to(x, (chains, *x.shape)), position)
        return jax.tree.map(lambda x: x[0], for_all_chains(repeated, constants))

    @for_one_chain.def_vmap
    def _(axis_size, in_batched, position, constants):
        whole = jax.tree.map(
            lambda x, has_batch: x if has_batch else jnp.broadcast_to(x, (axis_size, *x.shape)), position, in_batched[0]
        )
        results = for_all_chains(whole, constants)
        return results, jax.tree.map(lambda _: True, results)

    @jax.custom_vjp
    def value(position, constants):
        return for_one_chain(position, constants)[0]

    def pull_back(slope, scale):
        return jax.tree.map(lambda x: scale * x, slope), None

    value.defvjp(for_one_chain, pull_back)
    return lambda position: value(position, closed.consts)


def build_kernel(options: MalaOptions | HmcOptions | NutsOptions):
    """Build kernel(key, state, gradient_fn, temperature=None) -> (state, info), sampling exp(-E/T) exactly.

    The options choose the algorithm.  A temperature given to the kernel takes the place of the option.
    """
    make_step, make_chain, length = _ALGORITHMS[type(options)]
    bounds, boundary, step_size = options.bounds, options.boundary, options.step_size

    def kernel(key: jax.Array, state: MetropolisState, gradient_fn: GradientFn, temperature=None):
        temperature = options.temperature if temperature is None else temperature
        logdensity = make_logdensity(gradient_fn, state.position, temperature, bounds, boundary)
        layers, structure = jax.tree.flatten(state.position)
        walls = bounds_per_layer(bounds, boundary, len(layers))
        logp = -state.energy / temperature
        slope = jax.tree.map(lambda g: -g / temperature, state.gradient)
        keys = jax.random.split(key, len(state.energy))
        if length is None:
            settings = (step_size * temperature,)
        else:
            masses = per_layer("inverse_mass", options.inverse_mass, len(layers))
            metric = jnp.concatenate([jnp.full(s[0].size, m, s.dtype) for s, m in zip(layers, masses, strict=True)])
            # BlackJAX's kinetic energy is that of temperature 1: momenta are smaller by sqrt(T), times longer by it.
            settings = (step_size * jnp.sqrt(temperature), metric, getattr(options, length))
        step = make_step()
        chains, diagnostics = jax.vmap(lambda k, s: step(k, s, logdensity, *settings))(
            keys, make_chain(state.position, logp, slope)
        )

        folded = [reflect(s, wall) for s, wall in zip(jax.tree.leaves(chains.position), walls, strict=True)]
        gradient = [
            temperature * jnp.where(turned, g, -g)
            for g, (_, turned) in zip(jax.tree.leaves(chains.logdensity_grad), folded, strict=True)
        ]
        position = jax.tree.unflatten(structure, [s for s, _ in folded])
        new = MetropolisState(position, -temperature * chains.logdensity, jax.tree.unflatten(structure, gradient))
        rate = diagnostics.acceptance_rate
        info = MetropolisInfo(
            state.energy,
            state.gradient,
            jnp.full(len(layers), temperature, jnp.float32),
            jnp.mean(rate).astype(jnp.float32),
            getattr(diagnostics, "is_divergent", jnp.zeros(rate.shape, bool)),
            jnp.broadcast_to(jnp.asarray(getattr(diagnostics, "num_integration_steps", 1), jnp.int32), rate.shape),
        )
        return new, info

    return kernel


# options -> (BlackJAX's kernel, its state, the option that says how long a trajectory is)
_ALGORITHMS = {
    MalaOptions: (blackjax.mala.build_kernel, MALAState, None),
    HmcOptions: (blackjax.hmc.build_kernel, HMCState, "num_integration_steps"),
    NutsOptions: (blackjax.nuts.build_kernel, HMCState, "max_num_doublings"),
}
