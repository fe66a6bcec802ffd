"""The energy of `nrf/energy.py` and the published sampler written plainly in PyTorch: the peer of the benchmarks.

Layers run as anyone would write them with torch.nn.functional: a convolution per connection, nearest resize,
activation, concatenation, two convolutions, and one backward pass for the gradient.  Only what the benchmarked
architectures need: ordinary convolutions, inputs kept apart or mixed, dense inputs, no dense blocks.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from nrf.architecture import Architecture, Kind, Mixing
from nrf.layers import main_pads
from nrf.samplers.mass import inverse_mass


def activation(name: str, gain: float = 1.0):
    """phi(gain x) / gain, phi being swish or tanh."""
    phi = {"swish": F.silu, "tanh": torch.tanh}[name]
    return phi if gain == 1.0 else lambda x: phi(gain * x) / gain


def effective_kernels(variables: dict, architecture: Architecture) -> dict:
    """Torch tensors of the effective (weight-normalised) weights of a model's parameters."""

    def normalised(entry: dict, axis: int) -> np.ndarray:
        v = np.asarray(entry["kernel"])
        if "scale" not in entry:
            return v
        axis %= v.ndim
        others = tuple(a for a in range(v.ndim) if a != axis)
        shape = [1] * v.ndim
        shape[axis] = -1
        return v * (np.asarray(entry["scale"]).reshape(shape) / np.sqrt((v**2).sum(others, keepdims=True)))

    def conv(entry: dict) -> tuple[torch.Tensor, torch.Tensor]:
        kernel = normalised(entry["conv"], -1).transpose(3, 2, 0, 1)
        return torch.tensor(kernel.copy()), torch.tensor(np.asarray(entry["conv_bias"]))

    def matrix(entry: dict, bias) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(normalised(entry, -1).T.copy()), torch.tensor(np.asarray(bias))

    nets, params = [], variables["params"]
    for i, layer in enumerate(architecture.layers):
        net, tensors = params[f"net_{i}"], {}
        tensors["bias"] = torch.tensor(np.asarray(params[f"bias_{i}"]).transpose(2, 0, 1).copy())
        if layer.conv_inputs:
            tensors["base"] = [conv(net[f"base_{k}"]) for k in range(len(layer.conv_inputs))]
            merge = np.asarray(net["merge"]["kernel"]).T[:, :, None, None]
            tensors["merge"] = (torch.tensor(merge.copy()), torch.tensor(np.asarray(net["merge"]["bias"])))
            tensors["main"] = conv(net["main"])
        if layer.dense_inputs:
            dense = net["dense"]
            tensors["dense"] = [matrix(dense[f"layer_{k}"], dense[f"bias_{k}"]) for k in range(layer.num_blocks + 2)]
        nets.append(tensors)
    return {"nets": nets}


def energy(weights: dict, states: list[torch.Tensor], architecture: Architecture, phi=F.silu) -> torch.Tensor:
    """Energy summed over the batch; states (B, C, H, W), hardtanh units, phi inside the networks."""
    rho = [F.hardtanh(s) for s in states]
    total = torch.zeros(())
    for layer, state, tensors in zip(architecture.layers, states, weights["nets"], strict=True):
        output = torch.zeros_like(state)
        if layer.conv_inputs:
            maps = []
            for each, (kernel, bias) in zip(layer.conv_inputs, tensors["base"], strict=True):
                if each.kind != Kind.CONV:
                    raise ValueError("the PyTorch peer knows ordinary convolutions only")
                y = F.conv2d(rho[each.source], kernel, bias, padding=each.pads)
                maps.append(F.interpolate(y, size=layer.size, mode="nearest"))
            if architecture.mixing == Mixing.SEPARATE:
                hidden = phi(torch.cat(maps, 1))
            elif architecture.mixing == Mixing.JOINT:
                hidden = phi(sum(maps))
            else:
                raise ValueError("the PyTorch peer knows no gated networks")
            merged = F.conv2d(hidden, *tensors["merge"])
            output = output + F.conv2d(merged, *tensors["main"], padding=main_pads(layer.main_kernel))
        if layer.dense_inputs:
            hidden = torch.cat([rho[each.source].flatten(1) for each in layer.dense_inputs], 1)
            for kernel, bias in tensors["dense"][:-1]:
                hidden = phi(F.linear(hidden, kernel, bias))
            output = output + F.linear(hidden, *tensors["dense"][-1]).reshape(state.shape)
        total = total + torch.sum((0.5 * state - 0.5 * output - tensors["bias"]) * state)
    return total


def sampler_steps(weights: dict, states: list[torch.Tensor], architecture: Architecture, steps: int) -> list:
    """Steps of SGHMC without adaptation or coupled mass: gradient, momentum, noise, clamp."""
    momenta = [torch.zeros_like(s) for s in states]
    for _ in range(steps):
        states = [s.detach().requires_grad_(True) for s in states]
        gradients = torch.autograd.grad(energy(weights, states, architecture), states)
        with torch.no_grad():
            momenta = [0.9 * m - 0.01 * g + 0.01 * torch.randn_like(g) for m, g in zip(momenta, gradients, strict=True)]
            states = [torch.clamp(s + m, -1, 1) for s, m in zip(states, momenta, strict=True)]
    return states


class Published(NamedTuple):
    """What adaptive SGHMC carries from step to step, lists of one tensor (B, C, H, W) per layer that moves."""

    positions: list[torch.Tensor]
    momenta: list[torch.Tensor]
    tau: list[torch.Tensor]
    means: list[torch.Tensor]
    squares: list[torch.Tensor]


def begin(states: list[torch.Tensor]) -> Published:
    """At rest, the adaptation at its start."""
    ones = [torch.ones_like(s) for s in states]
    return Published(states, [torch.zeros_like(s) for s in states], ones, ones, ones)


def published_steps(energy_of, state: Published, steps: int, burn_in: int = 0) -> tuple[Published, list[float]]:
    """Steps of adaptive SGHMC with the thesis's settings (`nrf.samplers.sghmc_published`); energies before each step.

    energy_of: energy summed over the batch of the layers that move; the first `burn_in` of these steps adapt.
    """
    step, friction, low, high = 0.1, 0.1, 9e-5, 1e-4
    matrices = [inverse_mass("circulant", s.shape[1]) for s in state.positions]
    matrices = [None if k is None else torch.tensor(k, dtype=torch.float32) for k in matrices]
    energies = []
    for number in range(steps):
        probe = [s.detach().requires_grad_(True) for s in state.positions]
        total = energy_of(probe)
        gradients = torch.autograd.grad(total, probe)
        energies.append(float(total.detach()))
        layers = []
        with torch.no_grad():
            for s, p, tau, mean, square, g, matrix in zip(*state, gradients, matrices, strict=True):
                m = 1 / torch.sqrt(square)
                noise = torch.clamp(2 * step**2 * friction * m - step**4, low, high).sqrt()
                p = p - step**2 * m * g - friction * _couple(matrix, p) + noise * torch.randn_like(p)
                s = torch.clamp(s + _couple(matrix, p), -1, 1)
                if number < burn_in:
                    rate = 1 / (tau + 1)
                    tau = tau + 1 - tau * mean * mean / square
                    mean, square = mean + rate * (g - mean), square + rate * (g * g - square)
                layers.append((s, p, tau, mean, square))
        state = Published(*(list(field) for field in zip(*layers, strict=True)))
    return state, energies


def _couple(matrix, values):
    return values if matrix is None else torch.einsum("kl,blhw->bkhw", matrix, values)
