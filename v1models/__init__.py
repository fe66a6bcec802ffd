"""Models of primary visual cortex fitted to responses to natural images.

import v1models

model = v1models.load("runs/bl4")     # the fitted members of a run folder
model.predict(images)                 # (members, n, N), from images as recorded
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from v1models.saved import FittedModel


def load(workdir: str | PathLike) -> FittedModel:
    """Read the fitted members of a run folder, see `v1models.saved.load`."""
    # Importing v1models stays free of what only this needs.
    from v1models.saved import load as read

    return read(workdir)
