"""Layer of difference-of-Gaussians filters that are moved over the image."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from v1models.convolution import convolve
from v1models.layers.convolution import kernel_side
from v1models.layers.difference_of_gaussians import DifferenceOfGaussians, DifferenceOfGaussiansModule
from v1models.layers.layer import Shape, require


@dataclass(frozen=True)
class ConvolutionalDifferenceOfGaussians(DifferenceOfGaussians):
    """The filters of `DifferenceOfGaussians` on a width×width grid, applied as a SAME convolution.

    Attributes:
        width: pixels a side.
        stride, dilation, cropped: as for `Convolution`.
    """

    width: int = dataclasses.field(kw_only=True)
    stride: int = dataclasses.field(default=1, kw_only=True)
    dilation: int = dataclasses.field(default=1, kw_only=True)
    cropped: bool = dataclasses.field(default=True, kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        require(
            min(self.width, self.stride, self.dilation) >= 1 and self.width == int(self.width),
            "ConvolutionalDifferenceOfGaussians: width, stride and dilation are whole numbers of at least 1.",
        )
        # A number from the command line may be a float.
        object.__setattr__(self, "width", int(self.width))

    def filter_size(self, input_shape: Shape) -> tuple[int, int]:
        rows, columns = input_shape[:2]
        return kernel_side(self.width, rows, self.cropped), kernel_side(self.width, columns, self.cropped)

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*(-(-size // self.stride) for size in input_shape[:2]), self.features)


class ConvolutionalDifferenceOfGaussiansModule(DifferenceOfGaussiansModule):
    """Computes a `ConvolutionalDifferenceOfGaussians` layer."""

    def __call__(self, activity: jax.Array, train: bool = False, drop: jax.Array | None = None) -> jax.Array:
        layer = self.layer
        image = jnp.sum(activity, -1, keepdims=True)
        drive = convolve(image, self.weights()["kernel"], (layer.stride, layer.stride), layer.dilation, "SAME")
        return self.finish(drive, train, drop)
