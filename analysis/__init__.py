"""Analysis of recordings: from arrays to statistics, figures and verdicts.

Modules stand in the order in which a recording passes through them.

    timescale       periods of a recording, steps to milliseconds
    statistics      tests, corrections for autocorrelation and multiplicity, intervals, effect sizes
    activity        which neurons respond, activity maps, retinotopy, movies
    orientation     preferred angles of channels, stimuli that drive them
    spectra         oscillations, power spectra, spectrograms, local field potential
    transients      overshoot at onset and offset, variability across repeats, mean traces
    lag             delay between state and momentum
    correlograms    auto- and cross-correlograms by FFT
    gabor_fits      batched fits of damped oscillations to correlograms
    synchrony       groups of repeats, pairs against orientation difference and distance
    surrogates      shift predictor, shuffled repeats, phase randomisation
    physiology      checks with verdicts
    synthetic       recordings with planted effects
    power           false-positive rate and power of the checks

Everything is a pure function of arrays with time on axis 0. `compat=True` reproduces the numbers of the study that this
analysis follows, defects included; each docstring names them.
"""
