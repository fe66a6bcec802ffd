"""The kinds of layer a network can have, each a frozen dataclass with only the options that mean something for it.

Shapes are (rows, columns, channels) of one activity, without the batch axis. A layer checks the options that stand
alone when it is made, and those that depend on its input in `check`, which `specification.NetworkSpec` calls.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from flax.core import FrozenDict

from runtime.config import ConfigError
from v1models.constraints import NORMALISATIONS
from v1models.gaussians import GaussianBounds, default_bounds
from v1models.initialisers import INITIALISERS
from v1models.penalties import check_penalties

ACTIVATIONS = (
    "linear",
    "relu",
    "leaky_relu",
    "softplus",
    "exponential",
    "sigmoid",
    "tanh",
    "quadratic",
    "elu",
    "rectified_quadratic",
)
DROPOUT_MASKS = ("entry", "unit")
FACTORS = ("none", "features", "mask", "both")
POSITIVITIES = ("clamp", "absolute")
PADDINGS = ("SAME", "VALID")


def require(condition, message):
    if not condition:
        raise ConfigError(message)


def _choose(value, choices, field, where):
    require(value in choices, f"{where}: {field} is {value!r}; choose one of {', '.join(map(str, choices))}.")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Options that every layer has.

    activation: one of ACTIVATIONS, after the bias. bias: whether there is one per output; bias_initialiser, bias_scale:
    its initial values. inhibitory: the last so many outputs are multiplied by −1 after the activation. dropout: DROP
    probability of outputs in training, survivors divided by the keep probability; dropout_mask: 'entry' draws every
    number by itself, 'unit' draws once per unit for the whole batch. batch_norm: normalise over the batch before the
    activation (decay 0.9, learned offset, no learned scale). penalties: {name: strength}.
    """

    activation: str = "linear"
    bias: bool = True
    bias_initialiser: str = "zeros"
    bias_scale: float = 0.1
    inhibitory: int = 0
    dropout: float = 0.0
    dropout_mask: str = "entry"
    batch_norm: bool = False
    penalties: Mapping = dataclasses.field(default_factory=FrozenDict)

    def __post_init__(self):
        where = type(self).__name__
        object.__setattr__(self, "penalties", FrozenDict(self.penalties))
        _choose(self.activation, ACTIVATIONS, "activation", where)
        _choose(self.bias_initialiser, INITIALISERS, "bias_initialiser", where)
        _choose(self.dropout_mask, DROPOUT_MASKS, "dropout_mask", where)
        require(
            0 <= self.dropout < 1,
            f"{where}: dropout is {self.dropout}, the probability to DROP an output; "
            "it must be at least 0 and below 1.",
        )
        require(
            self.bias_initialiser not in ("lecun_normal", "he_normal"),
            f"{where}: bias_initialiser {self.bias_initialiser!r} scales with a fan-in, which a bias has not.",
        )
        require(not (self.batch_norm and self.bias), f"{where}: batch_norm has its own offset; set bias=False.")

    penalty_family = "none"

    @property
    def constrained_positive(self):
        """Whether the weights that read the previous layer are non-negative."""
        return False

    def output_shape(self, input_shape):
        """(rows, columns, channels) for an input of that shape."""
        return input_shape

    def check(self, input_shape, where):
        """Raise ValueError where an option does not fit the input."""
        check_penalties(self.penalties, self.penalty_family, self.receptive_shape(input_shape), where)
        require(
            0 <= self.inhibitory <= self.output_shape(input_shape)[-1],
            f"{where}: inhibitory is {self.inhibitory}, more than its outputs or negative.",
        )

    def receptive_shape(self, input_shape):
        """(rows, columns, channels) that one output's weights cover."""
        return input_shape


@dataclass(frozen=True)
class Dense(Layer):
    """y = act(xW + b). positive: W ≥ 0 in the forward pass; normalisation: see constraints.normalise."""

    features: int
    positive: bool = dataclasses.field(default=False, kw_only=True)
    normalisation: str = dataclasses.field(default="none", kw_only=True)
    weight_initialiser: str = dataclasses.field(default="normal", kw_only=True)
    weight_scale: float = dataclasses.field(default=0.1, kw_only=True)
    penalty_family = "weights"
    normalisations = NORMALISATIONS
    signs = (False, True)

    def __post_init__(self):
        super().__post_init__()
        where = type(self).__name__
        require(self.features >= 1, f"{where}: features is {self.features}; at least 1.")
        _choose(self.weight_initialiser, INITIALISERS, "weight_initialiser", where)
        _choose(self.normalisation, self.normalisations, "normalisation", where)
        _choose(self.positive, self.signs, "positive", where)

    @property
    def constrained_positive(self):
        return self.positive not in (False, "none")

    def output_shape(self, input_shape):
        return (1, 1, self.features)


@dataclass(frozen=True)
class Convolution(Dense):
    """Cross-correlation with `features` kernels; width: pixels, one number or (rows, columns); SAME or VALID padding.

    cropped: a kernel is never wider than its input; False keeps weights that only ever meet the padding (but not along
    an axis of one pixel). Where the kernel has width 1 along an axis, stride does not apply to it. `pool`: side of a
    max pooling (SAME, stride `pool`) after the activation, 1 for none.
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
        width = (self.width, self.width) if isinstance(self.width, int) else tuple(self.width)
        object.__setattr__(self, "width", width)
        require(len(width) == 2 and min(width) >= 1, f"{where}: width is {width}; give pixels or (rows, columns).")
        require(min(self.stride, self.dilation, self.pool) >= 1, f"{where}: stride, dilation and pool are at least 1.")
        _choose(self.padding, PADDINGS, "padding", where)

    def kernel_size(self, input_shape):
        """(rows, columns) of a kernel on an input of that shape."""
        return tuple(
            min(width, size) if self.cropped or size == 1 else width
            for width, size in zip(self.width, input_shape[:2], strict=True)
        )

    def strides(self, input_shape):
        """Stride along rows and columns."""
        return tuple(self.stride if width > 1 else 1 for width in self.kernel_size(input_shape))

    def grid(self, input_shape):
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

    def output_shape(self, input_shape):
        return (*(-(-size // self.pool) for size in self.grid(input_shape)), self.features)

    def receptive_shape(self, input_shape):
        return (*self.kernel_size(input_shape), input_shape[2])

    def check(self, input_shape, where):
        super().check(input_shape, where)
        require(
            min(self.grid(input_shape)) >= 1,
            f"{where}: a {self.width} kernel with VALID padding does not fit into its {input_shape[:2]} input.",
        )


@dataclass(frozen=True)
class DifferenceOfGaussians(Layer):
    """Full-image filters G(α₁, s₁) − G(α₂, s₂); channels share the filter. Options: see gaussians.py.

    bounds: a GaussianBounds or None for the defaults; initial_y_offset: pixels added to the drawn y centres.
    """

    features: int
    bounds: GaussianBounds | None = dataclasses.field(default=None, kw_only=True)
    concentric: bool = dataclasses.field(default=True, kw_only=True)
    summed_variance: bool = dataclasses.field(default=True, kw_only=True)
    initial_y_offset: float = dataclasses.field(default=0.0, kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        require(self.features >= 1, f"{type(self).__name__}: features is {self.features}; at least 1.")
        if self.bounds is not None:
            object.__setattr__(self, "bounds", GaussianBounds(*(tuple(map(float, b)) for b in self.bounds)))

    def filter_size(self, input_shape):
        """Rows and columns of a filter."""
        return input_shape[:2]

    def bounds_for(self, input_shape):
        """The bounds in force."""
        return default_bounds(*self.filter_size(input_shape)) if self.bounds is None else self.bounds

    def output_shape(self, input_shape):
        return (1, 1, self.features)


@dataclass(frozen=True)
class ConvolutionalDifferenceOfGaussians(DifferenceOfGaussians):
    """The same filters on a width×width grid, applied as a SAME convolution with stride and dilation."""

    width: int = dataclasses.field(kw_only=True)
    stride: int = dataclasses.field(default=1, kw_only=True)
    dilation: int = dataclasses.field(default=1, kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        require(
            min(self.width, self.stride, self.dilation) >= 1,
            "ConvolutionalDifferenceOfGaussians: width, stride and dilation are at least 1.",
        )

    def filter_size(self, input_shape):
        return tuple(min(self.width, size) for size in input_shape[:2])

    def output_shape(self, input_shape):
        return (*(-(-size // self.stride) for size in input_shape[:2]), self.features)


@dataclass(frozen=True)
class Factorised(Dense):
    """What/where readout: yₙ = act(bₙ + Σ_{p,c} k_s[p, n] k_t[c, n] x[p, c]).

    normalisation and positive name the factor they act on: 'none', 'features' (k_t), 'mask' (k_s) or 'both'.
    positivity: 'clamp' max(w, 0) or 'absolute' |w| (Klindt et al.); gradient_at_zero: derivative of the clamp at 0.
    Source: Klindt et al. (2017), NIPS 30.
    """

    positive: str = dataclasses.field(default="none", kw_only=True)
    positivity: str = dataclasses.field(default="clamp", kw_only=True)
    gradient_at_zero: float = dataclasses.field(default=1.0, kw_only=True)
    penalty_family = "factorised"
    normalisations = signs = FACTORS

    def __post_init__(self):
        super().__post_init__()
        _choose(self.positivity, POSITIVITIES, "positivity", type(self).__name__)
        require(
            self.positivity == "clamp" or self.positive != "none",
            f"{type(self).__name__}: positivity is absolute but no factor is positive; name it in positive.",
        )


@dataclass(frozen=True)
class FactorisedConvolution(Convolution):
    """A convolution whose kernels are products k_s[y, x, n] k_t[c, n]; options as for Factorised and Convolution."""

    positive: str = dataclasses.field(default="none", kw_only=True)
    positivity: str = dataclasses.field(default="clamp", kw_only=True)
    gradient_at_zero: float = dataclasses.field(default=1.0, kw_only=True)
    penalty_family = "factorised"
    normalisations = signs = FACTORS

    def __post_init__(self):
        super().__post_init__()
        _choose(self.positivity, POSITIVITIES, "positivity", type(self).__name__)
        require(
            self.positivity == "clamp" or self.positive != "none",
            f"{type(self).__name__}: positivity is absolute but no factor is positive; name it in positive.",
        )


@dataclass(frozen=True)
class LinearScale(Layer):
    """y = act(w x + b) with one multiplier w and one offset b for all of the input."""


@dataclass(frozen=True)
class PointReadout(Dense):
    """Each output reads the channels at one place: yₙ = act(bₙ + Σ_c w[c, n] x[row n, column n, c]).

    positions: (row, column) of each output, fixed.
    """

    positions: tuple = dataclasses.field(kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "positions", tuple((int(row), int(column)) for row, column in self.positions))
        require(
            len(self.positions) == self.features,
            f"PointReadout: {len(self.positions)} positions for {self.features} outputs; give one each.",
        )

    def check(self, input_shape, where):
        super().check(input_shape, where)
        for row, column in self.positions:
            require(
                0 <= row < input_shape[0] and 0 <= column < input_shape[1],
                f"{where}: the position ({row}, {column}) lies outside its input of {input_shape[:2]}.",
            )

    def receptive_shape(self, input_shape):
        return (1, 1, input_shape[2])


@dataclass(frozen=True)
class AddStreams(Dense):
    """Weighted sum of input streams: yₙ = act(bₙ + Σ_s w[s, n] x[s, n]); the input is stream after stream."""

    def streams(self, input_shape):
        """Number of streams in an input of that shape."""
        return input_shape[0] * input_shape[1] * input_shape[2] // self.features

    def check(self, input_shape, where):
        size = input_shape[0] * input_shape[1] * input_shape[2]
        require(
            size % self.features == 0,
            f"{where}: {size} inputs cannot be split into streams of {self.features} outputs.",
        )
        super().check(input_shape, where)

    def receptive_shape(self, input_shape):
        return (1, 1, self.streams(input_shape))


@dataclass(frozen=True)
class MultiplyStreams(AddStreams):
    """One stream gates another: yₙ = act(bₙ + xₙ · max(1 + wₙ gₙ, 0)), the input being x, then g; w starts at 1."""

    weight_initialiser: str = dataclasses.field(default="ones", kw_only=True)

    def check(self, input_shape, where):
        super().check(input_shape, where)
        require(
            self.streams(input_shape) == 2,
            f"{where}: needs an input of two streams, 2 × {self.features} numbers, not {self.streams(input_shape)}.",
        )
        require(self.normalisation == "none", f"{where}: gains are not normalised; set normalisation to none.")

    def receptive_shape(self, input_shape):
        return (1, 1, 1)


@dataclass(frozen=True)
class ChannelFilter(Dense):
    """A filter over channels at each place: y[p] = act(Σ_c w[c, p] x[p, c] + b[p]); keeps the grid, one channel out."""

    features: int = 1

    def __post_init__(self):
        super().__post_init__()
        require(self.features == 1, "ChannelFilter: it has one output channel; leave features at 1.")

    def output_shape(self, input_shape):
        return (*input_shape[:2], 1)

    def receptive_shape(self, input_shape):
        return (1, 1, input_shape[2])
