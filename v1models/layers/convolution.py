"""Convolutional layer with free kernels, and max pooling after it."""

import dataclasses
from dataclasses import dataclass

import jax

from v1models.convolution import convolve
from v1models.layers.layer import Shape, choose, require
from v1models.layers.weighted import Weighted, WeightedModule

PADDINGS = ("SAME", "VALID")


def kernel_side(width: int, size: int, cropped: bool) -> int:
    """Pixels of a kernel along an axis of `size` pixels: no more than these if `cropped`, and 1 on an axis of 1."""
    return min(width, size) if cropped or size == 1 else width


@dataclass(frozen=True)
class Convolution(Weighted):
    """Cross-correlation with `features` kernels.

    Attributes:
        width: pixels of a kernel, one number or (rows, columns).
        stride: pixels between two places; it does not apply along an axis where the kernel has width 1.
        dilation: pixels between two of a kernel's places.
        padding: 'SAME' or 'VALID'.
        pool: side of a max pooling (SAME, stride `pool`) after the activation, 1 for none.
        cropped: whether a kernel that is wider than its input is cut to the input's size.
    """

    width: int | tuple[int, int] = dataclasses.field(kw_only=True)
    stride: int = dataclasses.field(default=1, kw_only=True)
    dilation: int = dataclasses.field(default=1, kw_only=True)
    padding: str = dataclasses.field(default="SAME", kw_only=True)
    pool: int = dataclasses.field(default=1, kw_only=True)
    cropped: bool = dataclasses.field(default=True, kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        where = type(self).__name__
        width = tuple(self.width) if isinstance(self.width, (tuple, list)) else (self.width, self.width)
        require(
            len(width) == 2 and all(side == int(side) >= 1 for side in width),
            f"{where}: width is {self.width}; give whole pixels, one number or (rows, columns).",
        )
        # A number from the command line may be a float.
        object.__setattr__(self, "width", tuple(int(side) for side in width))
        require(min(self.stride, self.dilation, self.pool) >= 1, f"{where}: stride, dilation and pool are at least 1.")
        choose(self.padding, PADDINGS, "padding", where)

    def kernel_size(self, input_shape: Shape) -> tuple[int, int]:
        """Rows and columns of a kernel on an input of that shape."""
        rows, columns = zip(self.width, input_shape[:2], strict=True)
        return kernel_side(*rows, self.cropped), kernel_side(*columns, self.cropped)

    def strides(self, input_shape: Shape) -> tuple[int, int]:
        """Stride along rows and columns."""
        rows, columns = self.kernel_size(input_shape)
        return self.stride if rows > 1 else 1, self.stride if columns > 1 else 1

    def grid(self, input_shape: Shape) -> tuple[int, int]:
        """Rows and columns after the convolution and before pooling."""
        extent = (
            (1, 1)
            if self.padding == "SAME"
            else ((width - 1) * self.dilation + 1 for width in self.kernel_size(input_shape))
        )
        return tuple(
            -(-(size - cover + 1) // stride)
            for size, cover, stride in zip(input_shape[:2], extent, self.strides(input_shape), strict=True)
        )

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*(-(-size // self.pool) for size in self.grid(input_shape)), self.features)

    def receptive_shape(self, input_shape: Shape) -> Shape:
        return (*self.kernel_size(input_shape), input_shape[2])

    def check(self, input_shape: Shape, where: str) -> None:
        super().check(input_shape, where)
        require(
            min(self.grid(input_shape)) >= 1,
            f"{where}: a {self.width} kernel with VALID padding does not fit into its {input_shape[:2]} input.",
        )


class ConvolutionModule(WeightedModule):
    """Computes a `Convolution`."""

    def __call__(self, activity: jax.Array, train: bool = False, drop: jax.Array | None = None) -> jax.Array:
        layer, kernel = self.layer, self.weights()["kernel"]
        drive = convolve(activity, kernel, layer.strides(self.input_shape), layer.dilation, layer.padding)
        return self.finish(drive, train, drop)
