"""The kinds of layer that a network can have, one file a kind: specification and module side by side.

A new kind is a file of its own and one line in `KINDS`; its name in configs and on disk is its specification's.
"""

from typing import NamedTuple

from v1models.layers.add_streams import AddStreams, AddStreamsModule
from v1models.layers.channel_filter import ChannelFilter, ChannelFilterModule
from v1models.layers.convolution import Convolution, ConvolutionModule
from v1models.layers.convolutional_difference_of_gaussians import (
    ConvolutionalDifferenceOfGaussians,
    ConvolutionalDifferenceOfGaussiansModule,
)
from v1models.layers.dense import Dense, DenseModule
from v1models.layers.difference_of_gaussians import DifferenceOfGaussians, DifferenceOfGaussiansModule
from v1models.layers.divisive_normalization import DivisiveNormalization, DivisiveNormalizationModule
from v1models.layers.factorized import Factorized, FactorizedModule
from v1models.layers.factorized_convolution import FactorizedConvolution, FactorizedConvolutionModule
from v1models.layers.gaussian_readout import GaussianReadout, GaussianReadoutModule
from v1models.layers.layer import Layer, LayerModule
from v1models.layers.linear_scale import LinearScale, LinearScaleModule
from v1models.layers.multiply_streams import MultiplyStreams, MultiplyStreamsModule
from v1models.layers.point_readout import PointReadout, PointReadoutModule
from v1models.layers.rotated_convolution import RotatedConvolution, RotatedConvolutionModule


class Kind(NamedTuple):
    """One kind of layer."""

    layer: type[Layer]  # its specification
    module: type[LayerModule]  # what computes it
    ndn3: tuple[str, ...]  # its names in NDN3's parameter dictionaries; none where NDN3 has no such layer


KINDS: dict[str, Kind] = {
    kind.layer.__name__: kind
    for kind in (
        Kind(Dense, DenseModule, ("normal",)),
        Kind(Convolution, ConvolutionModule, ("conv",)),
        Kind(DifferenceOfGaussians, DifferenceOfGaussiansModule, ("diff_of_gaussians",)),
        Kind(ConvolutionalDifferenceOfGaussians, ConvolutionalDifferenceOfGaussiansModule, ("conv_diff_of_gaussians",)),
        Kind(Factorized, FactorizedModule, ("sep",)),
        Kind(FactorizedConvolution, FactorizedConvolutionModule, ("convsep",)),
        Kind(LinearScale, LinearScaleModule, ("lin_scale",)),
        Kind(PointReadout, PointReadoutModule, ("readout", "conv_readout")),
        Kind(AddStreams, AddStreamsModule, ("add",)),
        Kind(MultiplyStreams, MultiplyStreamsModule, ("mult",)),
        Kind(ChannelFilter, ChannelFilterModule, ("filter",)),
        Kind(GaussianReadout, GaussianReadoutModule, ()),
        Kind(DivisiveNormalization, DivisiveNormalizationModule, ()),
        Kind(RotatedConvolution, RotatedConvolutionModule, ()),
    )
}

__all__ = [
    "KINDS",
    "AddStreams",
    "ChannelFilter",
    "Convolution",
    "ConvolutionalDifferenceOfGaussians",
    "Dense",
    "DifferenceOfGaussians",
    "DivisiveNormalization",
    "Factorized",
    "FactorizedConvolution",
    "GaussianReadout",
    "Kind",
    "Layer",
    "LinearScale",
    "MultiplyStreams",
    "PointReadout",
    "RotatedConvolution",
]
