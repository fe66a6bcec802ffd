"""What/where read-out: every output has one vector over channels and one mask over pixels.

Source: Klindt, Ecker, Euler & Bethge (2017), NIPS 30, "Neural system identification for large populations separating
'what' and 'where'".
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from v1models.constraints import clamp_non_negative, unit_columns
from v1models.layers.layer import Shape, choose, require
from v1models.layers.weighted import FreeModule, Weighted
from v1models.penalties import penalize_factorized

FACTORS = ("none", "features", "mask", "both")
POSITIVITIES = ("clamp", "absolute")


@dataclass(frozen=True)
class Factorized(Weighted):
    """yₙ = act(bₙ + Σ_{p,c} k_s[p, n] k_t[c, n] x[p, c]).

    Attributes:
        normalization, positive: the factor they act on, 'none', 'features' (k_t), 'mask' (k_s) or 'both'.
        positivity: 'clamp' max(w, 0) or 'absolute' |w| (Klindt et al.).
        gradient_at_zero: derivative of the clamp at 0.
    """

    positive: str = dataclasses.field(default="none", kw_only=True)
    positivity: str = dataclasses.field(default="clamp", kw_only=True)
    gradient_at_zero: float = dataclasses.field(default=1.0, kw_only=True)

    penalty_family = "factorized"
    normalizations = signs = FACTORS

    def __post_init__(self):
        super().__post_init__()
        choose(self.positivity, POSITIVITIES, "positivity", type(self).__name__)
        require(
            self.positivity == "clamp" or self.positive != "none",
            f"{type(self).__name__}: positivity is absolute but no factor is positive; name it in positive.",
        )

    def parameter_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        rows, columns, channels = self.receptive_shape(input_shape)
        return {"features": (channels, self.features), "mask": (rows * columns, self.features)}


class FactorizedModule(FreeModule):
    """Computes a `Factorized` read-out."""

    def factors(self) -> tuple[jax.Array, jax.Array]:
        """Constrained k_t (C, N) and k_s (pixels, N)."""
        layer, constrained = self.layer, []
        for name in ("features", "mask"):
            factor = self.free[name]
            if layer.positive in (name, "both"):
                absolute = layer.positivity == "absolute"
                factor = jnp.abs(factor) if absolute else clamp_non_negative(factor, layer.gradient_at_zero)
            constrained.append(unit_columns(factor) if layer.normalization in (name, "both") else factor)
        return tuple(constrained)

    def weights(self) -> dict[str, jax.Array]:
        features, mask = self.factors()
        rows, columns, _ = self.layer.receptive_shape(self.input_shape)
        return {"features": features, "mask": mask.reshape(rows, columns, -1)}

    def penalty(self, strengths: Mapping[str, jax.Array]) -> jax.Array:
        weights = self.weights()
        terms = (
            strength * penalize_factorized(name, weights["features"], weights["mask"])
            for name, strength in strengths.items()
        )
        return sum(terms, jnp.zeros(()))

    def __call__(self, activity: jax.Array, train: bool = False, drop: jax.Array | None = None) -> jax.Array:
        features, mask = self.factors()
        places = activity.reshape(activity.shape[0], -1, activity.shape[-1])
        drive = jnp.sum((places @ features) * mask, axis=1)
        return self.finish(drive[:, None, None], train, drop)
