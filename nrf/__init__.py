"""The neural random field with latent variables: energy, samplers, training, stimuli.

An image and several layers of latent units share one energy E(s).  Samplers draw states from exp(-E/T); training
lowers the energy of data and raises that of samples; experiments clamp images and record how the latents move.
"""
