"""Layer of difference-of-Gaussians filters that each cover the whole image: the LGN stage of the HSM model.

Source: Antolík, Hofer, Bednar & Mrsic-Flogel (2016), PLoS Comput. Biol. 12(6): e1004927.
"""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from v1models.gaussians import GaussianBounds, default_bounds, difference_of_gaussians
from v1models.initializers import initial_gaussians
from v1models.layers.layer import Layer, LayerModule, Shape, float_dtype, require


@dataclass(frozen=True)
class DifferenceOfGaussians(Layer):
    """Full-image filters G(α₁, s₁) − G(α₂, s₂), see gaussians.py; channels share the filter.

    Attributes:
        features: number of filters.
        bounds: a `GaussianBounds`, or None for the defaults.
        concentric: the surround takes the center's position.
        summed_variance: the surround's variance is s₁ + s₂ instead of s₂.
        initial_y_offset: pixels added to the drawn y centers.
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

    def filter_size(self, input_shape: Shape) -> tuple[int, int]:
        """Rows and columns of a filter."""
        return input_shape[:2]

    def bounds_for(self, input_shape: Shape) -> GaussianBounds:
        """The bounds in force."""
        return default_bounds(*self.filter_size(input_shape)) if self.bounds is None else self.bounds

    def output_shape(self, input_shape: Shape) -> Shape:
        return (1, 1, self.features)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        return {"gaussians": (2, 4, self.features)}


class DifferenceOfGaussiansModule(LayerModule):
    """Computes a `DifferenceOfGaussians` layer."""

    def build(self) -> None:
        layer = self.layer
        bounds = layer.bounds_for(self.input_shape)
        self.gaussians = self.param(
            "gaussians",
            lambda key: initial_gaussians(key, layer.features, bounds, layer.initial_y_offset, float_dtype()),
        )

    def filters(self) -> jax.Array:
        """The filters, (F, rows, columns)."""
        layer = self.layer
        return difference_of_gaussians(
            self.gaussians,
            *layer.filter_size(self.input_shape),
            layer.bounds_for(self.input_shape),
            layer.concentric,
            layer.summed_variance,
        )

    def weights(self) -> dict[str, jax.Array]:
        return {"kernel": jnp.moveaxis(self.filters(), 0, -1)[:, :, None]}

    def __call__(self, activity: jax.Array, train: bool = False, drop: jax.Array | None = None) -> jax.Array:
        # All channels share the filter, so summing them first is the same.
        image = jnp.sum(activity, -1) if activity.shape[-1] > 1 else activity[..., 0]
        drive = jnp.einsum(
            "bp,fp->bf", image.reshape(image.shape[0], -1), self.filters().reshape(self.layer.features, -1)
        )
        return self.finish(drive[:, None, None], train, drop)
