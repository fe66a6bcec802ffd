"""Read-out of the channels at one fixed place per output."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from v1models.layers.layer import Shape, require
from v1models.layers.weighted import Weighted, WeightedModule


@dataclass(frozen=True)
class PointReadout(Weighted):
    """yₙ = act(bₙ + Σ_c w[c, n] x[row n, column n, c]).

    Attributes:
        positions: (row, column) of each output.
    """

    positions: tuple[tuple[int, int], ...] = dataclasses.field(kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "positions", tuple((int(row), int(column)) for row, column in self.positions))
        require(
            len(self.positions) == self.features,
            f"PointReadout: {len(self.positions)} positions for {self.features} outputs; give one each.",
        )

    def check(self, input_shape: Shape, where: str) -> None:
        super().check(input_shape, where)
        for row, column in self.positions:
            require(
                0 <= row < input_shape[0] and 0 <= column < input_shape[1],
                f"{where}: the position ({row}, {column}) lies outside its input of {input_shape[:2]}.",
            )

    def receptive_shape(self, input_shape: Shape) -> Shape:
        return (1, 1, input_shape[2])


class PointReadoutModule(WeightedModule):
    """Computes a `PointReadout`."""

    def __call__(self, activity: jax.Array, train: bool = False, drop: jax.Array | None = None) -> jax.Array:
        rows, columns = jnp.asarray(self.layer.positions).T
        drive = jnp.einsum("bnc,cn->bn", activity[:, rows, columns], self.constrained()[0])
        return self.finish(drive[:, None, None], train, drop)
