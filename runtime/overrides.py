"""How the text of a command-line flag becomes the value of a config's field.

The kind of a field decides: `1e5` is 100000 in a field of whole numbers and 100000.0 in one of real numbers, `0.1,0.05`
is a tuple where tuples may stand, `none` is None only where None may stand, and everything is text in a field of text.
"""

import ast
import contextlib
from types import NoneType
from typing import Any

TRUE_WORDS, FALSE_WORDS = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def parse_value(text: str, kinds: tuple[type, ...], default: Any) -> Any:
    """Returns the value that a text spells in a field.

    Args:
        text: what stands behind the equals sign.
        kinds: the types that the field may hold; `(NoneType,)`, a field that is None and says no more, takes any
            literal; where both texts and tuples may stand, a comma makes a tuple.
        default: the field's present value; a tuple's elements give the type of the new one's.

    Raises:
        ValueError: the text spells a value of none of these kinds.
    """
    if kinds == (NoneType,):
        return _literal(text)
    if {str, tuple} <= set(kinds) and "," not in text:
        return text
    for kind, read in _READERS.items():
        if kind in kinds:
            with contextlib.suppress(ValueError):
                return _read_tuple(text, default) if kind is tuple else read(text)
    wanted = [name for kind, name in _KIND_NAMES.items() if kind in kinds and not (kind is int and float in kinds)]
    raise ValueError(f"the field holds {' or '.join(wanted)}, now {default!r}")


def _read_none(text: str) -> None:
    if text.lower() not in ("none", "null", ""):
        raise ValueError(text)


def _read_bool(text: str) -> bool:
    if text.lower() in TRUE_WORDS:
        return True
    if text.lower() in FALSE_WORDS:
        return False
    raise ValueError(text)


def _read_float(text: str) -> float:
    number = float(text)
    if number != number:
        raise ValueError("NaN is no setting")
    return number


def _read_int(text: str) -> int:
    # 1e5 is how people write a number of steps; only a whole number passes.
    number = float(text)
    if not number.is_integer():
        raise ValueError(text)
    return int(text) if text.lstrip("+-").isdigit() else int(number)


def _read_tuple(text: str, default: Any) -> tuple:
    """Reads `1,2`, `(1, 2)`, `[1, 2]`, `a,b` or a single element; elements are of the kind of the default's."""
    value = _literal(text)
    if isinstance(value, str):
        value = tuple(word.strip() for word in value.strip("()[]").split(",") if word.strip())
    elements = value if isinstance(value, tuple) else (value,)
    kinds = {type(element) for element in (default if isinstance(default, tuple) else (default,))}
    kind = kinds.pop() if len(kinds) == 1 else None
    return tuple(_as_kind(element, kind) for element in elements)


def _as_kind(element: Any, kind: type | None) -> Any:
    if kind is str or (kind is float and type(element) is int):
        return kind(element)
    if kind in (bool, int, float) and type(element) is not kind:
        raise ValueError(element)
    return element


def _literal(text: str) -> Any:
    """Returns the Python value that the text spells, or the text itself where it spells none."""
    try:
        return _tuples(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        return text


def _tuples(value: Any) -> Any:
    return tuple(_tuples(element) for element in value) if isinstance(value, list | tuple) else value


# Where a field may hold several kinds, the first that can read the text wins.
_READERS = {
    NoneType: _read_none,
    bool: _read_bool,
    float: _read_float,
    int: _read_int,
    tuple: _read_tuple,
    str: str,
}
_KIND_NAMES = {
    bool: "true or false",
    float: "a number",
    int: "a whole number",
    tuple: "a tuple",
    str: "a text",
    NoneType: "None",
}
