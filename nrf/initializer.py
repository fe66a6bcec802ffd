"""The initializer: a feed-forward network that guesses where the latents will settle, given an image.

Sampling the latents of a clamped image from noise takes hundreds of steps.  A small convolutional network learns, batch
after batch, to predict the states in which the positive phase ended, and its guess is where the next one starts.

    image -> encoder: L + 2 dense blocks on L latent layers -> for each latent layer (C, H, W) a side network:
        1x1, 7x7, activation -> nearest-neighbour resize to (H, W) -> 1x1, 7x7, activation -> 1x1 -> output

Encoder blocks are halves of a convolution and a transposed convolution, each appended to all that came before.  A side
network shrinks its map without padding, by plain convolution, if its layer is smaller than the image.  The output
activation lets guesses leave the range of the states a little, so that gradients do not vanish there:
clip(x) + 0.01 x for hardtanh and hardsig states, leaky relu for relu states.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from nrf import convolution as conv
from nrf.architecture import Architecture, Kind, effective_padding
from nrf.energy import BOUNDS, States, restrict
from nrf.layers import ACTIVATIONS, DenseBlock, Pointwise, leaky_relu, pointwise, run_block
from runtime.errors import ConfigError, did_you_mean

KERNEL = 7
PADDING = effective_padding(KERNEL, KERNEL // 2)
LEAK = 0.01
MOMENTUM = 0.85


class Initializer(NamedTuple):
    """Pure functions of the initializer network; images (B, H, W, C), latents a tuple of (B, H, W, C)."""

    init: Callable[[jax.Array], dict]  # key -> variables
    apply: Callable[[dict, jax.Array], States]  # (variables, image) -> latents
    loss: Callable[[dict, jax.Array, States], tuple[jax.Array, jax.Array]]  # -> (loss, loss of each latent layer)


class _Side(NamedTuple):
    """Plan of one side network: widths, kinds and convolutions of its two blocks, and the size of its layer."""

    widths: tuple[int, int]
    kinds: tuple[Kind, Kind]
    plans: tuple[conv.Convolution, conv.Convolution]
    channels: int


class _Plan(NamedTuple):
    image_channels: int
    growth: int
    encoder: tuple[conv.Convolution, ...]
    sides: tuple[_Side, ...]


class _Weights(nn.Module):
    """Parameters of the encoder and of every side network; calling gives effective weights."""

    plan: _Plan
    norm: str

    @nn.compact
    def __call__(self) -> dict:
        plan, width = self.plan, self.plan.image_channels
        encoder = []
        for index, each in enumerate(plan.encoder):
            name = f"encoder_{index}"
            encoder.append(DenseBlock(each, Kind.BOTH, width, plan.growth, self.norm, name=name)())
            width += plan.growth
        sides = []
        for index, side in enumerate(plan.sides):
            blocks, inputs = [], width
            for part, out, kind, each in zip(("first", "second"), side.widths, side.kinds, side.plans, strict=True):
                blocks.append(DenseBlock(each, kind, inputs, out, self.norm, name=f"side_{index}_{part}")())
                inputs = out
            sides.append({"blocks": blocks, "out": Pointwise(inputs, side.channels, name=f"side_{index}_out")()})
        return {"encoder": encoder, "sides": sides}


def make_initializer(
    architecture: Architecture,
    state_activation: str = "hardtanh",
    activation: str = "swish",
    weight_norm: bool = True,
    convolution: str = "auto",
) -> Initializer:
    """Build the initializer network of an architecture.

    state_activation: hardtanh, hardsig or relu (fixes the output activation); activation: swish, leaky_relu or relu
    inside the network; weight_norm: weight normalisation of the 7x7 kernels; convolution: 'auto', 'direct' or
    'spectral'.  loss(variables, image, latents) = sum over latent layers of the mean squared error over images and
    units, and the terms of that sum, (L,).  Raises ConfigError where a width or a map size cannot work.
    """
    if state_activation not in BOUNDS:
        raise ConfigError(f"state_activation '{state_activation}' is unknown{did_you_mean(state_activation, BOUNDS)}")
    if activation not in ACTIVATIONS:
        raise ConfigError(f"activation '{activation}' is unknown{did_you_mean(activation, ACTIVATIONS)}")
    if convolution not in conv.METHODS:
        raise ConfigError(f"convolution '{convolution}' is unknown{did_you_mean(convolution, conv.METHODS)}")
    plan = _make_plan(architecture, convolution)
    module = _Weights(plan, "weight" if weight_norm else "none")
    phi, image_shape = ACTIVATIONS[activation], architecture.state_shapes(1)[0][1:]

    def squash(x: jax.Array) -> jax.Array:
        bounds = BOUNDS[state_activation][1]
        return leaky_relu(x) if state_activation == "relu" else restrict(x, bounds) + LEAK * x

    def apply(variables: dict, image: jax.Array) -> States:
        if image.shape[1:] != image_shape:
            raise ValueError(f"the image has shape {tuple(image.shape)}; it must be (batch, *{image_shape})")
        weights = module.apply(variables)
        code = jnp.transpose(image, (1, 2, 0, 3))
        for each, block in zip(plan.encoder, weights["encoder"], strict=True):
            code = jnp.concatenate([code, run_block(each, block, code, phi)], -1)
        latents = []
        for side, part in zip(plan.sides, weights["sides"], strict=True):
            y = code
            for each, block in zip(side.plans, part["blocks"], strict=True):
                y = conv.expand(each, run_block(each, block, y, phi))
            latents.append(jnp.transpose(squash(pointwise(y, part["out"])), (2, 0, 1, 3)))
        return tuple(latents)

    def loss(variables: dict, image: jax.Array, latents: States) -> tuple[jax.Array, jax.Array]:
        guesses = apply(variables, image)
        per_layer = jnp.stack([jnp.mean((g - s) ** 2) for g, s in zip(guesses, latents, strict=True)])
        return jnp.sum(per_layer), per_layer

    return Initializer(init=lambda key: module.init(key), apply=apply, loss=loss)


def initializer_optimizer(learning_rate: float | optax.Schedule) -> optax.GradientTransformation:
    """Stochastic gradient descent with Nesterov's momentum: m <- 0.85 m + g, p <- p - lr (g + 0.85 m)."""
    return optax.sgd(learning_rate, momentum=MOMENTUM, nesterov=True)


def _make_plan(architecture: Architecture, method: str) -> _Plan:
    image, latents = architecture.layers[0], architecture.layers[1:]
    growth, where = architecture.initializer_channels, f"architecture '{architecture.name}'"
    if not latents:
        raise ConfigError(f"{where} has no latent layers to initialize; set the initializer off")
    if growth < 2 or growth % 2:
        raise ConfigError(f"{where}: 'num_ch_initter' is {growth}; the initializer needs an even number of at least 2")
    keep = conv.plan(image.size, KERNEL, PADDING, (growth, growth), None, method)
    sides = []
    for index, layer in enumerate(latents, start=1):
        first, second = max(growth, 2 * layer.channels), max(growth, layer.channels)
        if second % 2:
            raise ConfigError(
                f"{where}, layer {index}: 'state_sizes' has {layer.channels} channels, but the initializer splits them "
                f"in two halves; use an even number, or 'num_ch_initter' of at least {layer.channels + 1}"
            )
        shrinks = layer.width < image.width
        if shrinks and min(image.size) < KERNEL:
            raise ConfigError(
                f"{where}, layer {index}: 'state_sizes' is smaller than the image, and an image of {image.height} x "
                f"{image.width} is too small for the initializer's {KERNEL} x {KERNEL} kernel; set the initializer off"
            )
        kind, pads = (Kind.CONV, 0) if shrinks else (Kind.BOTH, PADDING)
        plans = (
            conv.plan(image.size, KERNEL, pads, (first, first), layer.size, method),
            conv.plan(layer.size, KERNEL, PADDING, (second, second), None, method),
        )
        sides.append(_Side((first, second), (kind, Kind.BOTH), plans, layer.channels))
    return _Plan(image.channels, growth, (keep,) * (len(latents) + 2), tuple(sides))
