"""Reading a sampler's options: per-layer values, ranges and names, each refused with one clear sentence.

The options of a sampler are the fields of its `Options`, a dataclass whose defaults are the sampler's.  Most may differ
between layers: such an option is one value for all layers or a tuple (or list) with one entry per layer that moves.
Signs and ranges are checked when the options are made; the number of entries when the kernel first meets a position,
because only then the number of layers is known.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np


def is_per_layer(value: Any) -> bool:
    """True for a tuple or list, which hold one entry per layer."""
    return isinstance(value, tuple | list)


def per_layer(name: str, value: Any, num_layers: int) -> tuple:
    """One entry of the option per layer: a tuple is checked for its length, a single value is repeated.

    Raises ValueError when a tuple has another number of entries than there are layers that move.
    """
    if not is_per_layer(value):
        return (value,) * num_layers
    if len(value) != num_layers:
        raise ValueError(
            f"sampler option {name!r} has {len(value)} entries but {num_layers} layers move here; "
            f"give one value for all of them or one entry per moving layer."
        )
    return tuple(value)


def each_layer(options: Any, num_layers: int, **override: Any) -> list[SimpleNamespace]:
    """The options of every layer: those that differ between layers cut into their entries, the others repeated.

    Args:
        options: an `Options` dataclass; its `bounds` are left to `boundaries.bounds_per_layer`.
        num_layers: layers that move.
        **override: values that take an option's place; None leaves the option.

    Raises:
        ValueError: a tuple has another number of entries than there are layers that move.
    """
    values = {field.name: getattr(options, field.name) for field in fields(options) if field.name != "bounds"}
    values |= {name: value for name, value in override.items() if value is not None}
    cut = {name: per_layer(name, value, num_layers) for name, value in values.items()}
    return [SimpleNamespace(**{name: entries[i] for name, entries in cut.items()}) for i in range(num_layers)]


def check_number(
    name: str, value: Any, *, above: float = -math.inf, at_least: float = -math.inf, below: float = math.inf
) -> None:
    """Check a number, or each entry of a tuple: finite and within the range.

    Arrays of JAX are let through unread: inside `jit` they have no value yet.  None passes where it is not the whole
    value: it leaves a layer without the option.
    Raises ValueError naming the option, the entry and the range.
    """
    entries = value if is_per_layer(value) else (value,)
    for index, entry in enumerate(entries):
        where = f" (layer entry {index})" if is_per_layer(value) else ""
        if isinstance(entry, jax.Array) or (entry is None and is_per_layer(value)):
            continue
        if isinstance(entry, bool) or not isinstance(entry, int | float | np.integer | np.floating):
            raise ValueError(f"sampler option {name!r}{where} must be a number, not {entry!r}.")
        if not math.isfinite(entry) or entry <= above or entry < at_least or entry >= below:
            wanted = [f"above {above:g}"] * (above > -math.inf) + [f"at least {at_least:g}"] * (at_least > -math.inf)
            wanted += [f"below {below:g}"] * (below < math.inf)
            raise ValueError(
                f"sampler option {name!r}{where} is {entry}, but must be {' and '.join(['finite', *wanted])}."
            )


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Check a name, or each entry of a tuple of names.

    Raises ValueError listing what is allowed and the nearest of it.
    """
    for entry in value if is_per_layer(value) else (value,):
        if entry not in allowed:
            raise ValueError(
                f"sampler option {name!r} is {entry!r}, but must be one of {', '.join(map(repr, allowed))}"
                f"{nearest(entry, allowed)}."
            )


def nearest(word: Any, known: Sequence[str]) -> str:
    """'; did you mean ...?' for a word close to a known one, otherwise nothing."""
    match = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""


def check_names(sampler: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Check that a sampler has all the options given.

    Raises ValueError naming the unknown option, the nearest known one, and all of them.
    """
    for name in given:
        if name not in known:
            raise ValueError(
                f"sampler {sampler!r} has no option {name!r}{nearest(name, known)}; its options are {', '.join(known)}."
            )
