"""The neural random field with latent variables: energy, samplers, training, stimuli.

An image and several layers of latent units share one energy E(s).  Samplers draw states from exp(-E/T); training
lowers the energy of data and raises that of samples; experiments clamp images and record how the latents move.

    import nrf
    model = nrf.load("runs/quick")              # see `nrf.field` for what it can do
"""

from __future__ import annotations

from os import PathLike


def load(folder: str | PathLike, step: int | str = "latest"):
    """Read a trained field, see `nrf.field.load`."""
    # Importing nrf stays free of what only this needs.
    from nrf.field import load as read

    return read(folder, step)
