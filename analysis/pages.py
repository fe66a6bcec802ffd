"""Pages for people: HTML from the templates in `analysis/templates`, and the numbers in them.

Templates escape whatever they are given; a value that they ask for and do not get is an error.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd


def render(template: str, **values: Any) -> str:
    """Return the page that a file of `analysis/templates` makes of some values."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"short": short, "plain": plain, "numeric_columns": numeric_columns, "interval": interval}
    return environment


def numeric_columns(frame: pd.DataFrame) -> list[bool]:
    """Return which columns of a table hold numbers and stand to the right."""
    return [pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]


def short(value: Any, digits: int = 3) -> str:
    """Return a number for people: so many significant digits, a dash for what is not finite; large numbers in full."""
    if value is None or not np.isfinite(value):
        return "–"
    if 10**digits <= abs(value) < 1e7:
        return f"{float(value):,.0f}".replace("-", "−")
    return f"{float(value):.{digits}g}".replace("-", "−")


def interval(row: Mapping[str, Any], unit: str = "") -> str:
    """Return what was found with its 95 % interval and unit, a dash where nothing was.

    Args:
        row: found, low, high and maybe unit.
        unit: where the row has none.
    """
    if row.get("found") is None or short(row["found"]) == "–":
        return "–"
    bounds = f" [{short(row.get('low'))}, {short(row.get('high'))}]"
    return f"{short(row['found'])}{bounds if '–' not in bounds else ''} {row.get('unit') or unit}".strip()


def plain(name: str) -> str:
    """Return a name of a file or a field as words."""
    return name.replace("_", " ")


def embed(path: Path) -> str:
    """Return a picture as the source of an image that needs no other file."""
    return f"data:image/{path.suffix[1:]};base64,{base64.b64encode(path.read_bytes()).decode()}"
