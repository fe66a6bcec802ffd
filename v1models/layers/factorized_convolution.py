"""Convolutional layer whose kernels are products of a vector over channels and a mask over pixels."""

from dataclasses import dataclass

import jax

from v1models.convolution import convolve
from v1models.layers.convolution import Convolution
from v1models.layers.factorized import Factorized, FactorizedModule


@dataclass(frozen=True)
class FactorizedConvolution(Factorized, Convolution):
    """A convolution with kernels k_s[y, x, n] k_t[c, n]; options of both kinds."""


class FactorizedConvolutionModule(FactorizedModule):
    """Computes a `FactorizedConvolution`."""

    def __call__(self, activity: jax.Array, train: bool = False, drop: jax.Array | None = None) -> jax.Array:
        layer, weights = self.layer, self.weights()
        kernel = weights["mask"][:, :, None] * weights["features"]
        drive = convolve(activity, kernel, layer.strides(self.input_shape), layer.dilation, layer.padding)
        return self.finish(drive, train, drop)
