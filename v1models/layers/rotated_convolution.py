"""Rotation-equivariant convolution: every kernel is applied in four orientations, a quarter turn apart.

Source: Cohen & Welling (2016), ICML, "Group equivariant convolutional networks"; in models of V1, Ecker et al. (2019),
ICLR, "A rotation-equivariant convolutional neural network model of primary visual cortex".
"""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from v1models.convolution import convolve
from v1models.layers.convolution import Convolution, ConvolutionModule
from v1models.layers.layer import Shape, require

TURNS = 4


@dataclass(frozen=True)
class RotatedConvolution(Convolution):
    """y[r·K + k] = act(bₖ + x ⋆ Rʳ wₖ), R a quarter turn: 4 K output channels for K = `features` kernels.

    Where the input comes from such a layer, R turns the kernel and moves its input channels on by one orientation, so
    that turning the image turns all maps and moves their channels on.  Quarter turns are exact on a grid of pixels.
    Batch normalization, bias and dropout treat the four orientations as four images.

    Attributes:
        oriented: whether the input channels are orientations of such a layer, not channels of an image.
    """

    oriented: bool = dataclasses.field(default=True, kw_only=True)

    def output_shape(self, input_shape: Shape) -> Shape:
        rows, columns, kernels = super().output_shape(input_shape)
        return (rows, columns, TURNS * kernels)

    def bias_shape(self, input_shape: Shape) -> tuple[int, ...]:
        return (self.features,)

    def check(self, input_shape: Shape, where: str) -> None:
        super().check(input_shape, where)
        rows, columns = self.kernel_size(input_shape)
        require(rows == columns, f"{where}: its kernel has {rows}×{columns} pixels; only square ones can be turned.")
        require(self.inhibitory == 0, f"{where}: inhibitory is {self.inhibitory}; turned channels share their sign.")
        require(
            not self.oriented or input_shape[2] % TURNS == 0,
            f"{where}: its input has {input_shape[2]} channels, which are not {TURNS} orientations; "
            "set oriented=False where it reads an image.",
        )


class RotatedConvolutionModule(ConvolutionModule):
    """Computes a `RotatedConvolution`."""

    def __call__(self, activity: jax.Array, train: bool = False, drop: jax.Array | None = None) -> jax.Array:
        layer, kernel = self.layer, self.weights()["kernel"]
        turned = jnp.concatenate([turn(kernel, turns, layer.oriented) for turns in range(TURNS)], axis=-1)
        drive = convolve(activity, turned, layer.strides(self.input_shape), layer.dilation, layer.padding)
        batch, rows, columns, _ = drive.shape
        images = jnp.moveaxis(drive.reshape(batch, rows, columns, TURNS, layer.features), 3, 0)
        finished = self.finish(images.reshape(TURNS * batch, rows, columns, layer.features), train, drop)
        finished = finished.reshape(TURNS, batch, *finished.shape[1:])
        return jnp.moveaxis(finished, 0, 3).reshape(batch, *finished.shape[2:4], TURNS * layer.features)


def turn(kernel: jax.Array, turns: int, oriented: bool) -> jax.Array:
    """Kernel (h, h, C, K) after so many quarter turns; the orientations among its input channels move on with it."""
    turned = jnp.rot90(kernel, turns, axes=(0, 1))
    if not oriented:
        return turned
    apart = turned.reshape(*turned.shape[:2], TURNS, -1, turned.shape[3])
    return jnp.roll(apart, turns, axis=2).reshape(turned.shape)
