"""Flax modules of the networks f_i: they own parameters and turn them into effective weights.

Sampling calls a network hundreds of times with the same parameters, so a module is split in two.  The module (`Cct`,
`Pointwise`, `DenseNet`, `Net`) holds the parameters; calling it applies weight or spectral normalisation, merges a
convolution and a transposed convolution into one kernel and transforms kernels to the frequency domain where the plan
says so.  The pure functions at the end (`run_...`) use those effective weights on maps laid out (H, W, B, C).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from nrf import convolution as conv
from nrf.architecture import Kind, Mixing, effective_padding
from runtime.errors import ConfigError, did_you_mean

HIDDEN_UNITS = 64  # width of the dense part


def swish(x: jax.Array) -> jax.Array:
    """x sigmoid(x) (Ramachandran et al. 2017)."""
    return x * jax.nn.sigmoid(x)


def leaky_relu(x: jax.Array) -> jax.Array:
    """x where positive, 0.01 x elsewhere; the slope at 0 is 0.01."""
    return jnp.where(x > 0, x, 0.01 * x)


Activation = Callable[[jax.Array], jax.Array]
ACTIVATIONS: dict[str, Activation] = {
    "swish": swish,
    "leaky_relu": leaky_relu,
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
}


class Nonlinearity(NamedTuple):
    """What networks do between their linear maps, one array in, one of the same shape out."""

    activation: Activation  # phi(gain x) / gain
    gate: Activation  # sigmoid(gain x), the factor that half of a gated network's channels put on the other half


def make_nonlinearity(activation: str, gain: float = 1.0) -> Nonlinearity:
    """The nonlinearity of the networks: phi(g x) / g and sigmoid(g x), phi being one of ACTIVATIONS.

    The gain g sets where an activation bends without changing its slope at 0: tanh saturates at 1 / g.  States of
    temperature T that vary by sqrt(T) want g of about 1 / sqrt(T).  Raises ConfigError for an unknown name or g <= 0.
    """
    if activation not in ACTIVATIONS:
        raise ConfigError(f"activation '{activation}' is unknown{did_you_mean(activation, ACTIVATIONS)}")
    if not gain > 0:
        raise ConfigError(f"config.model.gain is {gain}; it must be positive")
    phi = ACTIVATIONS[activation]
    if gain == 1.0:
        return Nonlinearity(phi, jax.nn.sigmoid)
    return Nonlinearity(lambda x: phi(gain * x) / gain, lambda x: jax.nn.sigmoid(gain * x))


def fan_in_uniform(fan_in: int) -> Callable:
    """Initializer drawing from U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""

    def init(key, shape, dtype=jnp.float32):
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def _norm(v: jax.Array, axis: int) -> jax.Array:
    """Euclidean norm over every axis but `axis`, kept broadcastable against v."""
    others = tuple(a for a in range(v.ndim) if a != axis % v.ndim)
    return jnp.sqrt(jnp.sum(v * v, axis=others, keepdims=True))


class Kernel(nn.Module):
    """A weight array under no, weight or spectral normalisation.

    weight: w = g v / ||v||, the norm over all axes but `axis` (Salimans & Kingma 2016); spectral: w = v / sigma with
    sigma the largest singular value of v seen as a matrix of rows `axis`, by one power iteration per call from the
    stored vector u (Miyato et al. 2018).  Gradients pass through sigma with u held constant.
    """

    shape: tuple[int, ...]
    axis: int
    fan_in: int
    norm: str = "none"  # none | weight | spectral

    @nn.compact
    def __call__(self) -> jax.Array:
        if self.norm == "spectral":
            v = self.param("kernel", nn.initializers.normal(1.0), self.shape)
            return self._spectral(v)
        v = self.param("kernel", fan_in_uniform(self.fan_in), self.shape)
        if self.norm == "none":
            return v
        scale = self.param("scale", lambda key: _norm(v, self.axis).reshape(-1))
        broadcast = [1] * v.ndim
        broadcast[self.axis] = -1
        return v * (scale.reshape(broadcast) / _norm(v, self.axis))

    def _spectral(self, v: jax.Array) -> jax.Array:
        rows = jnp.moveaxis(v, self.axis, 0).reshape(v.shape[self.axis], -1)

        def draw():
            u = jax.random.normal(self.make_rng("params"), (rows.shape[0],))
            return u / jnp.linalg.norm(u)

        u = self.variable("spectral", "u", draw)
        fixed = jax.lax.stop_gradient(rows)
        right = fixed.T @ u.value
        right = right / jnp.maximum(jnp.linalg.norm(right), 1e-12)
        left = fixed @ right
        left = left / jnp.maximum(jnp.linalg.norm(left), 1e-12)
        if self.is_mutable_collection("spectral") and not self.is_initializing():
            u.value = left
        return v / (left @ rows @ right)


class Cct(nn.Module):
    """A convolution, a transposed convolution (both stride 1), or half of each side by side: the base layer of a net.

    A transposed convolution of padding p is a correlation with the flipped kernel and padding k - 1 - p, so the two
    halves become one kernel and run as one convolution.  Calling returns {'kernel', 'bias'}, effective and prepared.
    """

    plan: conv.Convolution
    kind: Kind
    inputs: int
    outputs: int
    norm: str = "none"

    @nn.compact
    def __call__(self) -> dict[str, jax.Array]:
        k = self.plan.kernel
        half = self.outputs // 2 if self.kind == Kind.BOTH else self.outputs
        kernels, biases = [], []
        if self.kind != Kind.TRANSPOSED:
            fan_in = self.inputs * k * k
            kernels.append(Kernel((k, k, self.inputs, half), -1, fan_in, self.norm, name="conv")())
            biases.append(self._bias("conv_bias", half, fan_in))
        if self.kind != Kind.CONV:
            # Transposed kernels are normalised per input channel: that is the first axis of their usual layout.
            fan_in = half * k * k
            kernel = Kernel((k, k, self.inputs, half), -2, fan_in, self.norm, name="transposed")()
            kernels.append(jnp.flip(kernel, (0, 1)))
            biases.append(self._bias("transposed_bias", half, fan_in))
        kernel = jnp.concatenate(kernels, -1)
        return {"kernel": conv.prepare(self.plan, kernel), "bias": jnp.concatenate(biases)}

    def _bias(self, name: str, size: int, fan_in: int) -> jax.Array:
        init = nn.initializers.zeros if self.norm == "spectral" else fan_in_uniform(fan_in)
        return self.param(name, init, (size,))


class Pointwise(nn.Module):
    """A 1 x 1 convolution, never normalised; returns {'kernel' (C_in, C_out), 'bias'}."""

    inputs: int
    outputs: int

    @nn.compact
    def __call__(self) -> dict[str, jax.Array]:
        init = fan_in_uniform(self.inputs)
        return {
            "kernel": self.param("kernel", init, (self.inputs, self.outputs)),
            "bias": self.param("bias", init, (self.outputs,)),
        }


class DenseBlock(nn.Module):
    """One unit of a dense block: 1 x 1 convolution to `growth` channels, then a Cct layer, then the activation."""

    plan: conv.Convolution
    kind: Kind
    inputs: int
    growth: int
    norm: str = "none"

    @nn.compact
    def __call__(self) -> dict:
        return {
            "squeeze": Pointwise(self.inputs, self.growth, name="squeeze")(),
            "cct": Cct(self.plan, self.kind, self.growth, self.growth, self.norm, name="cct")(),
        }


class DenseNet(nn.Module):
    """The dense part: flattened inputs -> 64 -> activation -> `hidden` x [64 -> activation] -> one unit per neuron.

    sizes: (C, H, W) of each input; flattening is in (C, H, W) order in the parameters, (H, W, C) in the result.
    """

    sizes: tuple[tuple[int, int, int], ...]
    hidden: int
    output: tuple[int, int, int]
    norm: str = "none"

    @nn.compact
    def __call__(self) -> dict:
        counts = [c * h * w for c, h, w in self.sizes]
        widths = [sum(counts)] + [HIDDEN_UNITS] * (self.hidden + 1) + [self.output[0] * self.output[1] * self.output[2]]
        kernels, biases = [], []
        for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            # The last layer is never normalised, and spectral normalisation is for convolutions only.
            norm = "weight" if self.norm == "weight" and index < len(widths) - 2 else "none"
            kernels.append(Kernel((inputs, outputs), -1, inputs, norm, name=f"layer_{index}")())
            biases.append(self.param(f"bias_{index}", fan_in_uniform(inputs), (outputs,)))
        first, start = [], 0
        for (c, h, w), count in zip(self.sizes, counts, strict=True):
            block = kernels[0][start : start + count].reshape(c, h, w, HIDDEN_UNITS)
            first.append(jnp.transpose(block, (1, 2, 0, 3)))
            start += count
        c, h, w = self.output
        last = jnp.transpose(kernels[-1].reshape(HIDDEN_UNITS, c, h, w), (0, 2, 3, 1))
        last_bias = jnp.transpose(biases[-1].reshape(c, h, w), (1, 2, 0))
        return {"first": first, "hidden": kernels[1:-1], "last": last, "biases": biases[:-1], "last_bias": last_bias}


@dataclasses.dataclass(frozen=True)
class NetPlan:
    """Static description of one f_i: the plans of its convolutions and the sizes of its dense part."""

    channels: int
    size: tuple[int, int]
    sources: tuple[tuple[int, Kind, int], ...]  # (layer, kind, channels) of the convolutional inputs
    base: tuple[conv.Convolution, ...]
    base_channels: int
    main: conv.Convolution | None
    block_kind: Kind
    num_blocks: int
    growth: int
    dense_sources: tuple[int, ...]
    dense_sizes: tuple[tuple[int, int, int], ...]
    mixing: Mixing = Mixing.SEPARATE

    @property
    def hidden_channels(self) -> int:
        """Channels after the activation of the base maps."""
        if self.mixing == Mixing.SEPARATE:
            return self.base_channels * len(self.base)
        return self.base_channels // (2 if self.mixing == Mixing.GATED else 1)


class Net(nn.Module):
    """All effective weights of one f_i, from its plan."""

    plan: NetPlan
    norm: str = "none"

    @nn.compact
    def __call__(self) -> dict:
        plan, weights = self.plan, {}
        if plan.base:
            weights["base"] = [
                Cct(base, kind, channels, plan.base_channels, self.norm, name=f"base_{index}")()
                for index, (base, (_, kind, channels)) in enumerate(zip(plan.base, plan.sources, strict=True))
            ]
            width = plan.hidden_channels
            if plan.num_blocks:
                weights["blocks"] = [
                    DenseBlock(
                        plan.main, plan.block_kind, width + b * plan.growth, plan.growth, self.norm, name=f"block_{b}"
                    )()
                    for b in range(plan.num_blocks)
                ]
                weights["out"] = Pointwise(width + plan.num_blocks * plan.growth, plan.channels, name="out")()
            else:
                weights["merge"] = Pointwise(width, plan.base_channels, name="merge")()
                last_norm = "spectral" if self.norm == "spectral" else "none"
                weights["main"] = Cct(
                    plan.main, Kind.CONV, plan.base_channels, plan.channels, last_norm, name="main"
                )()
        if plan.dense_sources:
            output = (plan.channels, *plan.size)
            weights["dense"] = DenseNet(plan.dense_sizes, plan.num_blocks, output, self.norm, name="dense")()
        return weights


# --- effective weights on maps (H, W, B, C) ------------------------------------------------------------------------


def pointwise(x: jax.Array, weights: dict) -> jax.Array:
    """1 x 1 convolution of (H, W, B, C_in)."""
    return jnp.einsum("hwbc,co->hwbo", x, weights["kernel"]) + weights["bias"]


def run_block(plan: conv.Convolution, weights: dict, x: jax.Array, activation: Activation) -> jax.Array:
    """Output of one dense block, to be appended to x along the channels."""
    y = pointwise(x, weights["squeeze"])
    return activation(conv.apply(plan, y, weights["cct"]["kernel"], weights["cct"]["bias"]))


def run_dense(weights: dict, inputs: list[jax.Array], activation: Activation) -> jax.Array:
    """Dense part of a net for inputs (H, W, B, C), in the map layout of its output."""
    kernels = weights["first"]
    hidden = sum(jnp.einsum("hwbc,hwco->bo", x, kernel) for x, kernel in zip(inputs, kernels, strict=True))
    hidden = activation(hidden + weights["biases"][0])
    for kernel, bias in zip(weights["hidden"], weights["biases"][1:], strict=True):
        hidden = activation(hidden @ kernel + bias)
    return jnp.einsum("bo,ohwc->hwbc", hidden, weights["last"]) + weights["last_bias"][:, :, None, :]


def run_net(plan: NetPlan, weights: dict, inputs: dict, spectra: dict, nonlinearity: Nonlinearity) -> jax.Array:
    """f_i of activated maps: inputs[j] is rho(s_j) as (H, W, B, C), spectra[j] its transform where it was computed."""
    total = None
    if plan.base:
        total = _run_convolutions(plan, weights, inputs, spectra, nonlinearity)
    if plan.dense_sources:
        dense = run_dense(weights["dense"], [inputs[j] for j in plan.dense_sources], nonlinearity.activation)
        total = dense if total is None else total + dense
    return total


def _run_convolutions(plan, weights, inputs, spectra, nonlinearity):
    maps = []
    for base, (source, _, _), each in zip(plan.base, plan.sources, weights["base"], strict=True):
        x = spectra[source] if base.method == "spectral" else inputs[source]
        maps.append(conv.apply(base, x, each["kernel"], each["bias"]))
    if plan.mixing == Mixing.SEPARATE:
        maps = [nonlinearity.activation(y) for y in maps]
    else:
        total = sum(conv.expand(base, y) for base, y in zip(plan.base, maps, strict=True))
        maps = [_mixed(plan.mixing, total, nonlinearity)]
    if not plan.num_blocks:
        if plan.mixing != Mixing.SEPARATE:
            merged = pointwise(maps[0], weights["merge"])
        else:
            # Repeating pixels commutes with a 1 x 1 convolution, so small maps are merged before they are enlarged.
            kernel, width = weights["merge"]["kernel"], plan.base_channels
            merged = weights["merge"]["bias"]
            for index, (base, y) in enumerate(zip(plan.base, maps, strict=True)):
                part = jnp.einsum("hwbc,co->hwbo", y, kernel[index * width : (index + 1) * width])
                merged = merged + conv.expand(base, part)
        return conv.apply(plan.main, merged, weights["main"]["kernel"], weights["main"]["bias"])
    if plan.mixing == Mixing.SEPARATE:
        maps = [conv.expand(base, y) for base, y in zip(plan.base, maps, strict=True)]
    x = jnp.concatenate(maps, -1)
    for block in weights["blocks"]:
        x = jnp.concatenate([x, run_block(plan.main, block, x, nonlinearity.activation)], -1)
    return pointwise(x, weights["out"])


def _mixed(mixing: Mixing, total: jax.Array, nonlinearity: Nonlinearity) -> jax.Array:
    if mixing == Mixing.JOINT:
        return nonlinearity.activation(total)
    values, gates = jnp.split(total, 2, axis=-1)
    return nonlinearity.activation(values) * nonlinearity.gate(gates)


def main_pads(kernel: int) -> int:
    """Padding of a main kernel: it keeps the size (1, 3, 7, 11 -> 0, 1, 3, 5)."""
    return effective_padding(kernel, kernel // 2)
