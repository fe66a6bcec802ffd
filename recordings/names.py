"""Names that whoever records and whoever reads have to agree on: experiments, controls, variables, arrays, folders."""

from __future__ import annotations

# --- experiments: six stimulus sets that the analyses ask for by what they are good for, and two without stimuli

PRIMARY = "contrast_and_angle"  # contrasts × angles: responses, spectra, transients
TUNING = "just_angle"  # many angles: orientation tuning
REPEATED = "just_angle_few_angles"  # few angles, many repeats: variability, synchrony of overlapping fields
LINE = "long_just_fewangles"  # bars across the image: synchrony along a contour
TRIALS = "contrast_trials"  # contrasts × many repeats of one angle: what the checks judge
PATCHES = "double_fewlocs_and_fewerangles"  # two patches: synchrony against distance and collinearity
OBSERVE, FREE = "observe", "free"  # natural images held for the whole recording; no image at all

# --- controls: the recording EXPERIMENT@CONTROL is the experiment with one ingredient taken away

CONTROL_MARK = "@"
LANGEVIN, SHUFFLED, DIAGONAL = CONTROLS = ("langevin", "shuffled_weights", "diagonal_mass")

FIXED_SCALE = "fixed_scale"  # a control of the known system alone

# --- what is recorded

REDUCED, FULL = LEVELS = ("analysis", "full")
STATE, MOMENTUM, ENERGY, GRADIENT = VARIABLES = ("state", "momentum", "energy", "gradient")
DURING, OUTSIDE = "during", "outside"  # the stimulus; both blanks, without the burn-in

# --- arrays of a recording

IMAGES = "images"
TOTAL_ENERGY = "energy/total"  # of all layers together, before each step


def traces(variable: str, layer: int) -> str:
    """Whole traces of a variable, level `full`."""
    return f"{variable}/{layer}"


def statistic(name: str, layer: int) -> str:
    """One statistic of the periods of every neuron, level `analysis`."""
    return f"statistics/{layer}/{name}"


def site_traces(layer: int) -> str:
    """State at the sites of the protocol, level `analysis`."""
    return f"{STATE}/{layer}/sites"


def centre(variable: str, layer: int) -> str:
    """Another variable at the middle of the map, level `analysis`."""
    return f"{variable}/{layer}/centre"


def movie(layer: int) -> str:
    """Every n-th frame of a few stimuli, level `analysis`."""
    return f"movie/{layer}"


def sites(layer: int) -> str:
    """Places of the sites in the map of a layer."""
    return f"sites/{layer}"


# --- files of a run folder

RECORDINGS = "recordings"  # holds one folder a recording
PREDICTIONS = "predictions.json"  # what the curvature says the recording will show
DATA = "data_statistics.json"  # held-out images as numbers, and Gaussian ones of the same covariance
KNOWN = "known"  # a run folder inside it: the system with known answers, recorded beside the field
CONTACT_SHEET = "stimuli.png"  # beside the arrays of a recording: the images that were shown


def of_control(experiment: str, control: str) -> str:
    """Name of the recording of an experiment under a control; of the experiment itself for ''."""
    return f"{experiment}{CONTROL_MARK}{control}" if control else experiment


def split(recording: str) -> tuple[str, str]:
    """Experiment and control of a recording's name; the control is '' for the experiment itself."""
    experiment, _, control = recording.partition(CONTROL_MARK)
    return experiment, control
