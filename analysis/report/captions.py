"""What is said under each figure of the report: what it shows and how it was made, and what cortex would look like.

Words in braces are filled in by the section that draws the figure.
"""

from __future__ import annotations

CAPTIONS: dict[str, tuple[str, str]] = {
    "stimuli": (
        "Stimuli of the set '{name}' as they were shown, {shown} of {count}, repeats left out; one grey scale for "
        "all. Angles are those of the carrier, c is the contrast.",
        "",
    ),
    "maps": (
        "Mean state with the stimulus minus mean state in the blanks, a row a stimulus, a column a channel. Each "
        "channel has its own scale, symmetric around 0; outlined neurons are active, that is, have a larger mean "
        "with the stimulus ({test}).",
        "activity where the stimulus is, none at contrast 0, and channels that differ in the angles they answer to.",
    ),
    "retinotopy": (
        "Mean state with minus without the stimulus of all channels, on one common scale, for the stimulus above "
        "that changes it the most.",
        "maps keep the place and the shape of the stimulus (retinotopy).",
    ),
    "tuning": (
        "Mean state of the centre neuron of each channel during the stimulus against the stimulus' angle, centred "
        "and scaled to unit length. The better of two least-squares cosines is drawn: one period over the circle "
        "(direction, 'dir') or two (orientation, 'ori'); grey panels failed the test of tuning.",
        "most neurons of V1 are tuned to orientation: two equal peaks 180° apart.",
    ),
    "tuning_polar": (
        "The same curves around the circle of angles: distance from the middle is the response, from the lowest "
        "(inner circle) to the highest (outer circle); the dotted line is the preferred angle.",
        "two lobes opposite each other.",
    ),
    "preferences": (
        "Preferred angles of the tuned channels, where the fitted cosine has its maximum: spokes as long as its "
        "amplitude, and their histogram modulo 180°.",
        "all orientations are represented.",
    ),
    "spectrograms": (
        "Power density × frequency over time of the summed state of all channels that prefer the stimulus, a "
        "stand-in for the local field potential: Hann windows, one colour scale a row, dashed lines at onset and "
        "offset.",
        "a burst at onset, then a narrow band as long as the stimulus lasts, higher at higher contrast.",
    ),
    "power_spectra": (
        "Welch spectra of the same sums during the stimulus (solid) and in the blank before it (dashed), density × "
        "frequency, which takes out the 1/f slope.",
        "a peak that is absent in the blank and moves to higher frequencies with contrast (Ray & Maunsell 2010).",
    ),
    "peak_frequency": (
        "Frequency at which each stimulus raises the power of the summed state the most, relative to the blanks; a "
        "stimulus whose largest rise is within 95 % of the blanks' own has none. The trend leaves contrast 0 out.",
        "about 25 Hz more over the range of contrasts (Ray & Maunsell 2010; Roberts et al. 2013).",
    ),
    "frequency_power": (
        "Left: sum over spectral peaks of frequency × power, mean over the patch neurons that are active and prefer "
        "the stimulus. Right: frequency of the highest peak of each of them, with and without the stimulus.",
        "oscillations that grow and quicken with contrast, at frequencies of their own during the stimulus.",
    ),
    "transients": (
        "State, cut off below each neuron's mean in the blanks, summed over neurons and over the stimuli of a "
        "contrast, less the same in the blanks; the stimulus is on where the ground is shaded.",
        "an overshoot at onset that settles within 100 ms (Müller et al. 2001) with a shape that hardly depends on "
        "contrast (Albrecht et al. 2002), and a weaker one at offset.",
    ),
    "transient_strength": (
        "Overshoot of each stimulus: mean of the first 50 steps after onset less the mean of steps 100 to 150. The "
        "trend leaves contrast 0 out.",
        "the overshoot rises with contrast.",
    ),
    "state_traces": (
        "State summed over the patch around onset, mean over the stimuli at the channel's preferred angle, darker "
        "for higher contrast; channels without a matching stimulus are left out.",
        "a response that grows with contrast, with an onset transient and an oscillation on top.",
    ),
    "autocorrelograms": (
        "Autocorrelogram of the summed state of each channel's active neurons at its preferred angle, linear trend "
        "removed, during the stimulus and in the blank before it.",
        "side peaks at the period of the oscillation with the stimulus, none before it.",
    ),
    "state_momentum": (
        "State (excitation) and negative momentum (inhibition) of the centre neuron at the end of the stimulus and "
        "of the blank (experiment '{name}', stimulus {stimulus}), each divided by its standard deviation; "
        "autocorrelogram of the state; their correlogram, mean over stimuli, with the maximum within 12 steps "
        "marked. The channels with the largest correlation are shown.",
        "inhibition follows excitation by a few milliseconds (Okun & Lampl 2008).",
    ),
    "lag_correlograms": (
        "Correlograms of state and negative momentum, mean over stimuli, of every channel (left) and averaged over "
        "channels (right, near lag 0, the maximum within 12 steps marked); lags are positive where inhibition "
        "follows excitation.",
        "inhibition follows excitation by a few milliseconds. In any stationary process whose state changes with its "
        "momentum, the negative momentum follows the state: the lag is a property of the dynamics, not evidence.",
    ),
    "lag_histogram": (
        "Lag at which the correlogram of state and negative momentum has its maximum: every channel and stimulus "
        "(left), means of channels with their mean and its 95 % interval (right).",
        "a few milliseconds; the lag has no verdict, see above.",
    ),
    "overlapping_angle": (
        "Amplitude of the Gabor function fitted to the correlogram of each pair of channels in the middle of the "
        "map, mean over repeats, against the angle between their preferences; means with bootstrap intervals and a "
        "line.",
        "synchrony falls with the difference of preferences.",
    ),
    "overlapping_neighbours": (
        "Mean correlogram of channels whose numbers are 1 to 5 apart, over all stimuli and both orders, with 99 % "
        "Student-t intervals as bands (stimuli and pairs counted as independent).",
        "a peak at lag 0 with side peaks; channel numbers mean nothing to the model, so that all panels should agree.",
    ),
    "patches_distance": (
        "Amplitude of pairs of a channel at the mobile and one at the static patch, both preferring the static "
        "angle, against the distance of the patches; means with bootstrap intervals and a line.",
        "collinear patches synchronise more, and less so with distance (Gray et al. 1989).",
    ),
    "line_distance": (
        "Amplitude of the correlogram of a channel in the middle with itself at other places along a long stimulus "
        "of its preferred angle, against their distance; means with bootstrap intervals and a line.",
        "synchrony along the contour during the stimulus that falls with distance, and little before it.",
    ),
    "surrogates": (
        "Amplitude of the mean correlogram less the mean of its surrogates, which keep the spectra of all traces "
        "but not what pairs have in common within a repeat: mean over pairs beside the surrogates (left), single "
        "pairs (right).",
        "an excess far to the right of all surrogates.",
    ),
    "matrix": (
        "Half range of the mean correlogram of every pair during the stimulus; dots mark pairs above their "
        "surrogates (false discovery rate {level}).",
        "synchronised pairs, mostly of like preference.",
    ),
    "examples": (
        "Correlograms of single stimuli with the Gabor function fitted to each, from strong to weak pairs; half the "
        "range of the fit is the amplitude used above.",
        "a damped oscillation with its highest peak near lag 0.",
    ),
    "diagnostics": (
        "Free chains from scattered starts (no image): potential scale reduction and effective samples of the "
        "energy and of the worst unit looked at in each layer, temperatures of each layer, energy over the run; and "
        "the energy of held-out images after a positive phase beside that of other images (AUROC 1: always lower, "
        "0.5: no difference).",
        "",
    ),
    "predicted": (
        "What the curvature of the energy at the mean state predicts of the summed signal of one place (line; none "
        "where nothing is predicted), and what was measured (points with 95 % intervals), at each contrast. "
        "Where they agree, the verdict follows from the energy.",
        "",
    ),
    "verdicts": (
        "What each check found with its 95 % interval: the field above its controls and the system with known answers; "
        "filled: the effect is present, empty: it is absent or undecided. Numbers in words have another unit.",
        "",
    ),
}
