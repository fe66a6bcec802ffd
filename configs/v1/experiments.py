"""What the published experiments share: the four baselines, and runs numbered as they were.

A sweep's instances were counted by loops, the outer one first, and the number is part of the published log's name:
bs4_exp5x61 is run 61 of bs4_exp5.  `numbered` counts in the same way, so that run N here is run N there; the folder of
a run begins with its number.
"""

import itertools
from collections.abc import Mapping

from ml_collections import ConfigDict

from configs.v1.suite import dense, hsm_layers, layer, set_layers

# Inputs, learning rate, start of the biases, l2 of the output layer.
BASELINES = {
    1: ("million", 1e-4, "zeros", 0.0),
    2: ("standard", 1e-4, "zeros", 0.0),
    3: ("standard", 1e-3, "normal", 0.0),
    4: ("standard", 1e-3, "normal", 0.1),
}
HIDDEN, OUTPUT = "model.layer1", "model.layer2"


def baseline(config: ConfigDict, number: int, activation: str = "linear") -> None:
    """Make baseline 1 to 4 the model, with its inputs and learning rate; activation: of the Gaussian units."""
    config.data.inputs, config.optimization.learning_rate, bias, l2 = BASELINES[number]
    set_layers(config, *hsm_layers(bias=bias, l2=l2))
    config.model.layer0.activation = activation


def published(config: ConfigDict, experiment: str, script: str, log_name: str, percentiles: tuple = ()) -> None:
    """Say where a config comes from, and the 50th, 90th and 10th percentile of its one run where they are known."""
    config.origin.update({"experiment": experiment, "script": script, "log_name": log_name, "run": 0})
    config.published = percentiles


def loop(label: str, values: tuple, *fields: str) -> tuple:
    """A loop over values of one or several fields: ((label=value, ((field, value), …)), …)."""
    return tuple((f"{label}={as_text(value)}", tuple((field, value) for field in fields)) for value in values)


def penalties(kinds: tuple, strengths: tuple, *layers: str) -> tuple:
    """Loops over kinds of penalty (outer) and strengths, each on all of these layers, such as 'model.layer1'."""
    return tuple(
        (f"{kind}={strength:g}", tuple((f"{place}.penalties.{kind}", strength) for place in layers))
        for kind in kinds
        for strength in strengths
    )


def filters(place: str, widths: tuple, features: tuple = ()) -> tuple:
    """Loops over widths w of a convolution, with stride (w + 1) // 2, and numbers of filters, at a layer's place."""
    wide = tuple(
        (f"w={width}", ((f"{place}.width", width), (f"{place}.stride", (width + 1) // 2))) for width in widths
    )
    return (wide, loop("F", features, f"{place}.features")) if features else (wide,)


def numbered(
    config: ConfigDict,
    log_name: str,
    *loops: tuple,
    first: int = 0,
    logged_first: int | None = None,
    also: tuple = (),
    published: Mapping[int, tuple] | None = None,
) -> None:
    """Add the runs of nested loops, the outer one first, to a config's sweep.

    Args:
        config: its sweep's runs grow.
        log_name: name of the published log, without the number of the run.
        *loops: what `loop`, `penalties` and `filters` give: entries of (text, changes).
        first: number of the first run.
        logged_first: its number in the log, where a second script began to count anew.
        also: further changes, of every run.
        published: {number: (50th, 90th, 10th percentile)}.
    """
    runs, shift = [], 0 if logged_first is None else logged_first - first
    for number, chosen in enumerate(itertools.product(*loops), first):
        changes = dict(also)
        for _, some in chosen:
            changes |= dict(some)
        changes |= {"origin.run": number, "origin.log_name": f"{log_name}x{number + shift}"}
        if published and number in published:
            changes["published"] = published[number]
        name = "_".join([f"{number:03d}", *(text for text, _ in chosen if text)])
        runs.append((name, tuple(changes.items())))
    config.sweep.runs = (*config.sweep.runs, *runs)


def without_effect(config: ConfigDict, field: str) -> None:
    """Take a penalty, 'model.layer1.penalties.l2', out of all runs: the script gave it and it did nothing."""
    *_, place, _, penalty = field.split(".")
    runs = []
    for name, changes in config.sweep.runs:
        idle = [(place, penalty, value) for changed, value in changes if changed == field]
        kept = [change for change in changes if change[0] != field]
        runs.append((name, (*kept, ("origin.without_effect", tuple(idle))) if idle else changes))
    config.sweep.runs = tuple(runs)


def convolved(hidden: str, name: str = "Convolution", features: int = 9, width: int = 7, **options) -> tuple:
    """A convolution of stride (width + 1) // 2, hidden units (0.2 of the neurons; Dense or Factorized) and the neurons.

    The neurons have an l2 of 0.1, the feature vectors of a factorized layer the norm 1.  Options are the convolution's.
    """
    first = layer(
        name,
        **{"features": features, "width": width, "stride": (width + 1) // 2}
        | {"activation": "softplus", "bias_initializer": "normal"}
        | options,
    )
    unit = {"normalization": "features"} if hidden == "Factorized" else {}
    return first, dense(hidden, fraction=0.2, **unit), dense(fraction=1.0, penalties={"l2": 0.1})


def as_text(value) -> str:
    """A value as part of a folder's name."""
    if isinstance(value, tuple):
        return "-".join(map(as_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
