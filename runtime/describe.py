"""What a config would train, without computing: one record a run, as lines for programs or a table for people.

A record has exactly the keys of `KEYS`:

    run            number of the run (the published one where there is one), else its place in the sweep
    layers         a list of {'kind', 'size', 'activation', 'width', 'stride', 'filters', 'penalties', …}; what a kind
                   of layer has not is None, a penalty that is off is not listed, further entries only where they apply
    learning_rate, batch, epochs, log_every, seeds (a list), noise, regions (a list), inputs, bias
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

KEYS = (
    "run",
    "layers",
    "learning_rate",
    "batch",
    "epochs",
    "log_every",
    "seeds",
    "noise",
    "regions",
    "inputs",
    "bias",
)
LAYER_KEYS = ("kind", "size", "activation", "width", "stride", "filters", "penalties")


def as_json(records: Sequence[Mapping[str, Any]]) -> str:
    """Returns records as JSON, one line each, with the keys of `KEYS` in that order."""
    return "\n".join(json.dumps({key: record[key] for key in KEYS}) for record in records)


def as_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Returns records as text for people: what all runs share first, then a table of what differs.

    Args:
        records: with the keys of `KEYS`, and others, such as a name, which are shown likewise.
    """
    cells = [{key: _text(key, value) for key, value in record.items()} for record in records]
    names = list(dict.fromkeys(key for cell in cells for key in cell))
    shared = [name for name in names if len({cell.get(name, "") for cell in cells}) == 1]
    lines = [f"{len(records)} run{'s' if len(records) > 1 else ''}"]
    lines += [f"  {name.replace('_', ' '):<14} {cells[0][name]}" for name in shared if cells[0][name]]
    differing = [name for name in names if name not in shared]
    if differing:
        rows = [differing, *([cell.get(name, "") for name in differing] for cell in cells)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(differing))]
        lines.append("")
        for row in rows:
            lines.append("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return "\n".join(lines)


def _text(key, value):
    if key == "layers":
        return " → ".join(map(_layer, value))
    if key == "seeds" and len(value) > 2 and list(value) == list(range(value[0], value[0] + len(value))):
        return f"{value[0]} … {value[-1]} ({len(value)})"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _layer(layer):
    parts = [f"{layer['size']} {layer['kind']}"]
    if layer["width"] is not None:
        parts.append(f"{layer['width']}/{layer['stride']}")
    if layer["activation"] not in (None, "linear"):
        parts.append(layer["activation"])
    parts += [f"{name} {strength:g}" for name, strength in layer["penalties"].items()]
    further = {name: value for name, value in layer.items() if name not in LAYER_KEYS}
    parts += [f"{name} {_entry(value)}" for name, value in further.items()]
    return " ".join(parts)


def _entry(value):
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{name} {_entry(one)}" for name, one in value.items()) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)
