"""Models of primary visual cortex fitted to responses to natural images.

import v1models

model = v1models.load("runs/bl4")     # the fitted members of a run folder
model.predict(images)                 # (members, n, N), from images as recorded
"""

from v1models.saved import load

__all__ = ["load"]
