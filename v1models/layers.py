"""The layers as Flax modules: a specification, an input shape, and the arrays between them.

Every module has `weights()` (the constrained weights as the forward pass uses them), `__call__(activity)` and
`penalty(strengths)`. The shared steps after the linear part — batch normalisation, bias, activation, signs of
inhibitory outputs, pooling, dropout — live in the base class.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from v1models import layer_specs as spec
from v1models.constraints import clamp_non_negative, inhibitory_signs, normalise, unit_columns
from v1models.convolution import convolve, max_pool
from v1models.gaussians import difference_of_gaussians
from v1models.initialisers import INITIALISERS, initial_gaussians
from v1models.penalties import penalise, penalise_factorised

# Coefficients 1/(2k + 1) of ln(1 + u) = 2 artanh(z), z = u/(2 + u) ≤ 1/3: eight terms reach float32's precision.
_ARTANH_COEFFICIENTS = tuple(1 / (2 * k + 1) for k in range(8))


@jax.custom_jvp
def softplus(x):
    """ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|).

    In float32 the logarithm is a polynomial, accurate to rounding for small e^−|x| too and several times faster than
    log1p on a CPU, where it was a seventh of a training step.
    """
    small = jnp.exp(-jnp.abs(x))
    if x.dtype != jnp.float32:
        return jnp.maximum(x, 0) + jnp.log1p(small)
    z = small / (2 + small)
    square = z * z
    series = jnp.full_like(z, _ARTANH_COEFFICIENTS[-1])
    for coefficient in reversed(_ARTANH_COEFFICIENTS[:-1]):
        series = series * square + coefficient
    return jnp.maximum(x, 0) + 2 * z * series


@softplus.defjvp
def _softplus_derivative(primals, tangents):
    return softplus(primals[0]), jax.nn.sigmoid(primals[0]) * tangents[0]


ACTIVATION_FUNCTIONS = {
    "linear": lambda x: x,
    "relu": jax.nn.relu,
    "leaky_relu": lambda x: jnp.where(x > 0, x, 0.1 * x),
    "softplus": softplus,
    "exponential": jnp.exp,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "quadratic": jnp.square,
    "elu": jax.nn.elu,
    "rectified_quadratic": lambda x: jnp.square(jax.nn.relu(x)),
}
BATCH_NORM_MOMENTUM = 0.9


def _float_dtype():
    return jnp.zeros(()).dtype


class LayerModule(nn.Module):
    """What all layers share. Fields: layer, its specification; input_shape, (rows, columns, channels)."""

    layer: spec.Layer
    input_shape: tuple

    def setup(self):
        layer = self.layer
        if layer.bias:
            initialise = INITIALISERS[layer.bias_initialiser]
            self.bias = self.param(
                "bias", lambda key: initialise(key, self.bias_shape(), layer.bias_scale, _float_dtype())
            )
        if layer.batch_norm:
            self.norm = nn.BatchNorm(momentum=BATCH_NORM_MOMENTUM, use_scale=False, use_bias=True)
        self.build()

    def bias_shape(self):
        return (self.layer.output_shape(self.input_shape)[-1],)

    def weight(self, name, shape):
        """A free weight array with the specification's initial values."""
        initialise = INITIALISERS[self.layer.weight_initialiser]
        return self.param(name, lambda key: initialise(key, shape, self.layer.weight_scale, _float_dtype()))

    def finish(self, drive, train, drop):
        """Batch norm or bias, activation, inhibitory signs, dropout. drive: (B, rows, columns, channels)."""
        layer = self.layer
        if layer.batch_norm:
            drive = self.norm(drive, use_running_average=not train)
        if layer.bias:
            drive = drive + self.bias
        activity = ACTIVATION_FUNCTIONS[layer.activation](drive)
        if layer.inhibitory:
            activity = activity * inhibitory_signs(activity.shape[-1], layer.inhibitory, activity.dtype)
        if getattr(layer, "pool", 1) > 1:
            activity = max_pool(activity, layer.pool)
        if train and drop is not None:
            shape = (1, *activity.shape[1:]) if layer.dropout_mask == "unit" else activity.shape
            kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - drop, shape)
            activity = jnp.where(kept, activity / (1 - drop), 0)
        return activity

    def weights(self):
        """Constrained weights as the forward pass uses them, by name."""
        return {}

    def penalty(self, strengths):
        """Σ λ · penalty over {name: λ}."""
        return jnp.zeros(())


class WeightedModule(LayerModule):
    """Layers with one weight matrix (inputs, outputs) that can be clamped and normalised."""

    def build(self):
        self.kernel = self.weight("kernel", self.kernel_shape())

    def kernel_shape(self):
        rows, columns, channels = self.layer.receptive_shape(self.input_shape)
        return (rows * columns * channels, self.layer.features)

    def constrained(self):
        """(used, penalised) weights, both (inputs, outputs)."""
        kernel = clamp_non_negative(self.kernel) if self.layer.positive else self.kernel
        return normalise(kernel, self.layer.normalisation)

    def weights(self):
        used = self.constrained()[0]
        return {"kernel": used.reshape(*self.layer.receptive_shape(self.input_shape), used.shape[-1])}

    def penalty(self, strengths):
        penalised = self.constrained()[1]
        penalised = penalised.reshape(*self.layer.receptive_shape(self.input_shape), penalised.shape[-1])
        return sum((strength * penalise(name, penalised) for name, strength in strengths.items()), jnp.zeros(()))


class DenseModule(WeightedModule):
    """y = act(xW + b)."""

    def __call__(self, activity, train=False, drop=None):
        drive = activity.reshape(activity.shape[0], -1) @ self.constrained()[0]
        return self.finish(drive[:, None, None], train, drop)


class ConvolutionModule(WeightedModule):
    """Convolution with free kernels."""

    def __call__(self, activity, train=False, drop=None):
        layer = self.layer
        drive = convolve(
            activity, self.weights()["kernel"], layer.strides(self.input_shape), layer.dilation, layer.padding
        )
        return self.finish(drive, train, drop)


class GaussiansModule(LayerModule):
    """Full-image difference-of-Gaussians filters."""

    def build(self):
        layer = self.layer
        self.gaussians = self.param(
            "gaussians",
            lambda key: initial_gaussians(
                key, layer.features, layer.bounds_for(self.input_shape), layer.initial_y_offset, _float_dtype()
            ),
        )

    def filters(self):
        """(F, rows, columns)."""
        layer = self.layer
        return difference_of_gaussians(
            self.gaussians,
            *layer.filter_size(self.input_shape),
            layer.bounds_for(self.input_shape),
            layer.concentric,
            layer.summed_variance,
        )

    def weights(self):
        return {"kernel": jnp.moveaxis(self.filters(), 0, -1)[:, :, None]}

    def __call__(self, activity, train=False, drop=None):
        # All channels share the filter, so summing them first is the same.
        image = jnp.sum(activity, -1) if activity.shape[-1] > 1 else activity[..., 0]
        drive = jnp.einsum(
            "bp,fp->bf", image.reshape(image.shape[0], -1), self.filters().reshape(self.layer.features, -1)
        )
        return self.finish(drive[:, None, None], train, drop)


class ConvolutionalGaussiansModule(GaussiansModule):
    """Difference-of-Gaussians filters moved over the image."""

    def __call__(self, activity, train=False, drop=None):
        layer = self.layer
        image = jnp.sum(activity, -1, keepdims=True)
        drive = convolve(image, self.weights()["kernel"], (layer.stride, layer.stride), layer.dilation, "SAME")
        return self.finish(drive, train, drop)


class FactorisedModule(LayerModule):
    """What/where readout."""

    def build(self):
        rows, columns, channels = self.layer.receptive_shape(self.input_shape)
        self.features = self.weight("features", (channels, self.layer.features))
        self.mask = self.weight("mask", (rows * columns, self.layer.features))

    def non_negative(self, factor):
        """|w| or max(w, 0)."""
        if self.layer.positivity == "absolute":
            return jnp.abs(factor)
        return clamp_non_negative(factor, self.layer.gradient_at_zero)

    def factors(self):
        """Constrained (k_t (C, N), k_s (pixels, N))."""
        layer, features, mask = self.layer, self.features, self.mask
        if layer.positive in ("features", "both"):
            features = self.non_negative(features)
        if layer.positive in ("mask", "both"):
            mask = self.non_negative(mask)
        if layer.normalisation in ("features", "both"):
            features = unit_columns(features)
        if layer.normalisation in ("mask", "both"):
            mask = unit_columns(mask)
        return features, mask

    def weights(self):
        features, mask = self.factors()
        rows, columns, _ = self.layer.receptive_shape(self.input_shape)
        return {"features": features, "mask": mask.reshape(rows, columns, -1)}

    def penalty(self, strengths):
        weights = self.weights()
        return sum(
            (
                strength * penalise_factorised(name, weights["features"], weights["mask"])
                for name, strength in strengths.items()
            ),
            jnp.zeros(()),
        )

    def __call__(self, activity, train=False, drop=None):
        features, mask = self.factors()
        places = activity.reshape(activity.shape[0], -1, activity.shape[-1])
        drive = jnp.sum((places @ features) * mask, axis=1)
        return self.finish(drive[:, None, None], train, drop)


class FactorisedConvolutionModule(FactorisedModule):
    """Convolution with kernels k_s k_t."""

    def __call__(self, activity, train=False, drop=None):
        layer, weights = self.layer, self.weights()
        kernel = weights["mask"][:, :, None] * weights["features"]
        return self.finish(
            convolve(activity, kernel, layer.strides(self.input_shape), layer.dilation, layer.padding), train, drop
        )


class LinearScaleModule(LayerModule):
    """One multiplier and one offset; the multiplier starts at 1."""

    def build(self):
        self.scale = self.param("scale", lambda key: jnp.ones((1,), _float_dtype()))

    def bias_shape(self):
        return (1,)

    def weights(self):
        return {"scale": self.scale}

    def __call__(self, activity, train=False, drop=None):
        return self.finish(activity * self.scale, train, drop)


class PointReadoutModule(WeightedModule):
    """Channels at one place per output."""

    def __call__(self, activity, train=False, drop=None):
        rows, columns = jnp.asarray(self.layer.positions).T
        drive = jnp.einsum("bnc,cn->bn", activity[:, rows, columns], self.constrained()[0])
        return self.finish(drive[:, None, None], train, drop)


class AddStreamsModule(WeightedModule):
    """Weighted sum of streams."""

    def __call__(self, activity, train=False, drop=None):
        streams = activity.reshape(activity.shape[0], -1, self.layer.features)
        drive = jnp.sum(streams * self.constrained()[0], axis=1)
        return self.finish(drive[:, None, None], train, drop)


class MultiplyStreamsModule(WeightedModule):
    """One stream gates another."""

    def __call__(self, activity, train=False, drop=None):
        driven, gate = jnp.moveaxis(activity.reshape(activity.shape[0], 2, self.layer.features), 1, 0)
        drive = driven * clamp_non_negative(1 + self.constrained()[0] * gate)
        return self.finish(drive[:, None, None], train, drop)


class ChannelFilterModule(WeightedModule):
    """A filter over channels at each place."""

    def kernel_shape(self):
        return (self.input_shape[2], self.input_shape[0] * self.input_shape[1])

    def bias_shape(self):
        return (*self.input_shape[:2], 1)

    def __call__(self, activity, train=False, drop=None):
        places = activity.reshape(activity.shape[0], -1, activity.shape[-1])
        drive = jnp.einsum("bpc,cp->bp", places, self.constrained()[0])
        return self.finish(drive.reshape(-1, *self.input_shape[:2], 1), train, drop)


MODULES = {
    spec.Dense: DenseModule,
    spec.Convolution: ConvolutionModule,
    spec.DifferenceOfGaussians: GaussiansModule,
    spec.ConvolutionalDifferenceOfGaussians: ConvolutionalGaussiansModule,
    spec.Factorised: FactorisedModule,
    spec.FactorisedConvolution: FactorisedConvolutionModule,
    spec.LinearScale: LinearScaleModule,
    spec.PointReadout: PointReadoutModule,
    spec.AddStreams: AddStreamsModule,
    spec.MultiplyStreams: MultiplyStreamsModule,
    spec.ChannelFilter: ChannelFilterModule,
}
