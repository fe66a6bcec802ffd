"""The energy of a Neural Random Field with latent variables.

    E(s) = sum_i [ 1/2 |s_i|^2 - <b_i, s_i> - 1/2 <s_i, f_i(rho(s_j), j in C_i)> ]

s_0 is the image, the other s_i are latent layers, rho clips states to the range of the state activation, and f_i is the
network of `layers.py`.  `make_energy` takes the static description and returns an `EnergyModel` of pure functions:
`init` makes parameters, `prepare` turns them into effective weights once per sampling phase, and the rest take those
weights and a tuple of states, one float32 array (B, H, W, C) per layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from nrf import convolution as conv
from nrf.architecture import Architecture, Kind
from nrf.layers import Net, NetPlan, main_pads, make_nonlinearity, run_net
from nrf.spectral import forward_transform
from runtime.errors import ConfigError, did_you_mean

States = tuple[jax.Array, ...]
Variables = dict  # {'params': ..., and with spectral normalisation 'spectral': ...}
Weights = dict  # what `prepare` returns

# Range in which a sampler keeps the states: (image, latent layers).  The latter is also the range of rho.
BOUNDS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "hardtanh": ((-1.0, 1.0), (-1.0, 1.0)),
    "hardsig": ((0.0, 1.0), (0.0, 1.0)),
    "relu": ((0.0, 1.0), (0.0, float("inf"))),
}


class EnergyModel(NamedTuple):
    """Pure functions of one model; B images, states as a tuple of (B, H, W, C)."""

    architecture: Architecture
    bounds: tuple[tuple[float, float], ...]  # (low, high) of every layer
    ff_dynamics: bool
    init: Callable[[jax.Array], Variables]  # key -> variables
    prepare: Callable[[Variables], Weights]  # effective weights, differentiable in the parameters
    power_iteration: Callable[[Variables], Variables]  # variables with their spectral vectors advanced once
    energy: Callable[[Weights, States], jax.Array]  # (B,)
    unit_energies: Callable[[Weights, States], States]  # e_i, shaped like the states
    outputs: Callable[[Weights, States], States]  # f_i, shaped like the states
    energy_and_gradient: Callable[..., tuple[jax.Array, States]]  # (B,), dE/ds of the layers asked for


class Parameters(nn.Module):
    """Parameters of the whole model: a bias per unit and one `Net` per layer; calling gives effective weights."""

    plans: tuple[NetPlan, ...]
    norm: str

    @nn.compact
    def __call__(self) -> Weights:
        weights = {"bias": [], "nets": []}
        for index, plan in enumerate(self.plans):
            shape = (*plan.size, plan.channels)
            weights["bias"].append(self.param(f"bias_{index}", nn.initializers.zeros, shape))
            weights["nets"].append(Net(plan, self.norm, name=f"net_{index}")())
        return weights


def restrict(state: jax.Array, bounds: tuple[float, float]) -> jax.Array:
    """rho: clip to the bounds, with derivative 0 at and beyond them (states often sit exactly on a bound)."""
    low, high = bounds
    inside = (state > low) & (state < high)
    return jnp.where(inside, state, jax.lax.stop_gradient(jnp.clip(state, low, high)))


def make_energy(
    architecture: Architecture,
    *,
    state_activation: str = "hardtanh",
    activation: str = "swish",
    gain: float = 1.0,
    weight_norm: bool = True,
    ff_dynamics: bool = False,
    convolution: str = "auto",
) -> EnergyModel:
    """Build the functions of an energy model.

    state_activation: hardtanh, hardsig or relu (rho); activation: swish, leaky_relu, relu or tanh inside the networks,
    with gain (see `layers.make_nonlinearity`); weight_norm: weight normalisation (an architecture that asks for
    spectral normalisation gets that instead and refuses both); ff_dynamics: follow ds/dt = -s + f/2 + b instead of the
    exact gradient; convolution: 'auto', 'direct' or 'spectral'.  Raises ConfigError for unknown names or impossible
    combinations.
    """
    if state_activation not in BOUNDS:
        raise ConfigError(f"state_activation '{state_activation}' is unknown{did_you_mean(state_activation, BOUNDS)}")
    if convolution not in conv.METHODS:
        raise ConfigError(f"convolution '{convolution}' is unknown{did_you_mean(convolution, conv.METHODS)}")
    if weight_norm and architecture.spectral_norm:
        raise ConfigError(
            f"architecture '{architecture.name}' uses spectral normalisation, which excludes weight normalisation; "
            "set model.weight_norm to False"
        )
    plans = plan_nets(architecture, convolution)
    norm = "spectral" if architecture.spectral_norm else "weight" if weight_norm else "none"
    module = Parameters(plans, norm)
    nonlinearity = make_nonlinearity(activation, gain)
    image_bounds, latent_bounds = BOUNDS[state_activation]
    bounds = (image_bounds,) + (latent_bounds,) * (len(architecture.layers) - 1)

    def prepare(variables: Variables) -> Weights:
        return module.apply(variables)

    def power_iteration(variables: Variables) -> Variables:
        if "spectral" not in variables:
            return variables
        _, updated = module.apply(variables, mutable=["spectral"])
        return {**variables, **updated}

    def network_outputs(weights: Weights, maps: Sequence[jax.Array]) -> list[jax.Array]:
        # rho is the same function for every layer: with relu, only the sampler keeps the image below 1.
        rho = dict(enumerate(restrict(s, latent_bounds) for s in maps))
        spectra = {}
        for plan in plans:
            for base, (source, _, _) in zip(plan.base, plan.sources, strict=True):
                if base.method == "spectral" and source not in spectra:
                    spectra[source] = forward_transform(rho[source], base.period)
        return [run_net(p, w, rho, spectra, nonlinearity) for p, w in zip(plans, weights["nets"], strict=True)]

    def unit_maps(weights: Weights, maps: Sequence[jax.Array]) -> list[jax.Array]:
        outputs = network_outputs(weights, maps)
        return [
            (0.5 * s - 0.5 * f - b[:, :, None, :]) * s
            for s, f, b in zip(maps, outputs, weights["bias"], strict=True)
        ]

    def energy(weights: Weights, states: States) -> jax.Array:
        _check_states(architecture, states)
        return sum(jnp.sum(e, axis=(0, 1, 3)) for e in unit_maps(weights, _to_maps(states)))

    def unit_energies(weights: Weights, states: States) -> States:
        _check_states(architecture, states)
        return _to_states(unit_maps(weights, _to_maps(states)))

    def outputs(weights: Weights, states: States) -> States:
        _check_states(architecture, states)
        return _to_states(network_outputs(weights, _to_maps(states)))

    def energy_and_gradient(
        weights: Weights, states: States, layers: Sequence[int] | None = None
    ) -> tuple[jax.Array, States]:
        """Energy (B,) and, for the layers asked for (all by default), dE/ds, or minus ds/dt with ff_dynamics."""
        _check_states(architecture, states)
        layers = tuple(range(len(states))) if layers is None else tuple(layers)
        maps = _to_maps(states)
        if ff_dynamics:
            found = network_outputs(weights, maps)
            pull = [0.5 * f + b[:, :, None, :] for f, b in zip(found, weights["bias"], strict=True)]
            per_image = sum(jnp.sum((0.5 * s - p) * s, axis=(0, 1, 3)) for s, p in zip(maps, pull, strict=True))
            return per_image, _to_states([maps[i] - pull[i] for i in layers])

        def total(free: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
            full = list(maps)
            for index, value in zip(layers, free, strict=True):
                full[index] = value
            per_image = sum(jnp.sum(e, axis=(0, 1, 3)) for e in unit_maps(weights, full))
            return jnp.sum(per_image), per_image

        gradient, per_image = jax.grad(total, has_aux=True)([maps[i] for i in layers])
        return per_image, _to_states(gradient)

    return EnergyModel(
        architecture=architecture,
        bounds=bounds,
        ff_dynamics=ff_dynamics,
        init=lambda key: module.init(key),
        prepare=prepare,
        power_iteration=power_iteration,
        energy=energy,
        unit_energies=unit_energies,
        outputs=outputs,
        energy_and_gradient=energy_and_gradient,
    )


def plan_nets(architecture: Architecture, method: str) -> tuple[NetPlan, ...]:
    """Plans of all networks, with one transform period per source layer so that its consumers share one transform."""
    bases: dict[tuple[int, int], conv.Convolution] = {}
    for i, layer in enumerate(architecture.layers):
        for position, each in enumerate(layer.conv_inputs):
            source = architecture.layers[each.source]
            channels = (source.channels, architecture.base_channels)
            bases[i, position] = conv.plan(source.size, each.kernel, each.pads, channels, layer.size, method)
    for source in range(len(architecture.layers)):
        keys = [
            (i, position)
            for (i, position), base in bases.items()
            if base.method == "spectral" and architecture.layers[i].conv_inputs[position].source == source
        ]
        if keys:
            bases.update(zip(keys, conv.share_period([bases[key] for key in keys]), strict=True))
    plans = []
    for i, layer in enumerate(architecture.layers):
        main = None
        if layer.conv_inputs:
            blocks = layer.num_blocks > 0
            width = architecture.growth_rate if blocks else architecture.base_channels
            channels = (width, width if blocks else layer.channels)
            main = conv.plan(layer.size, layer.main_kernel, main_pads(layer.main_kernel), channels, None, method)
        plans.append(
            NetPlan(
                channels=layer.channels,
                size=layer.size,
                sources=tuple((c.source, c.kind, architecture.layers[c.source].channels) for c in layer.conv_inputs),
                base=tuple(bases[i, position] for position in range(len(layer.conv_inputs))),
                base_channels=architecture.base_channels,
                main=main,
                block_kind=layer.block_kind if layer.conv_inputs else Kind.CONV,
                num_blocks=layer.num_blocks,
                growth=architecture.growth_rate,
                mixing=architecture.mixing,
                dense_sources=tuple(c.source for c in layer.dense_inputs),
                dense_sizes=tuple(
                    (s.channels, s.height, s.width) for s in (architecture.layers[c.source] for c in layer.dense_inputs)
                ),
            )
        )
    return tuple(plans)


def _to_maps(states: States) -> list[jax.Array]:
    return [jnp.transpose(s, (1, 2, 0, 3)) for s in states]


def _to_states(maps: Sequence[jax.Array]) -> States:
    return tuple(jnp.transpose(m, (2, 0, 1, 3)) for m in maps)


def _check_states(architecture: Architecture, states: States) -> None:
    if len(states) != len(architecture.layers):
        raise ValueError(
            f"architecture '{architecture.name}' has {len(architecture.layers)} state layers, not {len(states)}"
        )
    for index, (state, layer) in enumerate(zip(states, architecture.layers, strict=True)):
        if state.shape[1:] != (layer.height, layer.width, layer.channels):
            raise ValueError(
                f"state layer {index} has shape {tuple(state.shape)}; it must be "
                f"(batch, {layer.height}, {layer.width}, {layer.channels})"
            )
