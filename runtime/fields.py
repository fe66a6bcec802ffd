"""Fields of a config that say, where they are written down, what they accept.

    config.seed = optional(int)                                        # None, or an integer
    config.train.lr = number(2e-3, above=0)
    config.positive.steps = number(20, at_least=1)                     # an integer, as its default is one
    config.positive.start = choice("random", "zeros", "previous")      # the first is the default
    config.record.controls = several(("langevin",), ("langevin", "shuffled_weights"))
    config.sampler.step_size = per_layer(0.1, above=0)                 # a number, or a tuple with one for each layer
    config.sampler.mass = choice_per_layer("diagonal", "circulant")    # a word, or a tuple with one for each layer

A value that is not accepted is refused when it is set, by a preset, the command line or a sweep, in a sentence that
names what is.
"""

import math
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any

from ml_collections.config_dict import FieldReference

from runtime.errors import ConfigError, did_you_mean


class Field(FieldReference):
    """A field that refuses some values.

    Args:
        default: its first value.
        kinds: the type, or the types, of its values.
        refusal: value -> what is wrong with it, or '' where nothing is; None is always accepted where the kinds allow
            it.
    """

    def __init__(self, default: Any, kinds: Any, refusal: Callable[[Any], str]):
        self._refusal = refusal
        super().__init__(default, field_type=kinds)

    def set(self, value: Any, type_safe: bool = True) -> None:
        """Gives the field a value; raises a `ConfigError` that says what is accepted."""
        before = getattr(self, "_value", None)
        super().set(value, type_safe)
        wrong = "" if value is None else self._refusal(self._value)
        if wrong:
            self._value = before
            raise ConfigError(wrong)


def number(default: float, **limits: float) -> Field:
    """Returns a field of numbers like the default within limits: at_least, above, at_most, below."""
    return Field(default, type(default), _Range(**limits))


def optional(kind: type, **limits: float) -> FieldReference:
    """Returns a field that is None until it is given a value of this kind (int, float, str, tuple), within limits."""
    return Field(None, (kind, NoneType), _Range(**limits) if limits else lambda value: "")


def per_layer(value: float | tuple[float, ...] | None, **limits: float) -> Field:
    """Returns a field that holds one number for all layers or a tuple with one for each, every one within limits.

    Where the default is None, None may stand for any of them.
    """
    if value is not None:
        return Field(value, (float, int, tuple), _Range(**limits))
    refusal = _Range(**limits)
    kinds = (float, int, tuple, NoneType)
    return Field(None, kinds, lambda given: refusal(tuple(entry for entry in _entries(given) if entry is not None)))


def choice_per_layer(default: str, *others: str) -> Field:
    """Returns a field that holds one of some words for all layers or a tuple with one for each."""
    one = _one_of((default, *others))
    return Field(default, (str, tuple), lambda words: next(filter(None, map(one, _entries(words))), ""))


def choice(default: str, *others: str) -> Field:
    """Returns a field that holds one of some words."""
    return Field(default, str, _one_of((default, *others)))


def several(default: tuple[str, ...], known: Sequence[str]) -> Field:
    """Returns a field that holds a tuple of some of the known words."""
    one = _one_of(tuple(known))
    return Field(default, tuple, lambda words: next(filter(None, map(one, words)), ""))


class _Range:
    def __init__(
        self, at_least: float = -math.inf, above: float = -math.inf, at_most: float = math.inf, below: float = math.inf
    ):
        self._limits = (at_least, above, at_most, below)
        named = {"at least": at_least, "above": above, "at most": at_most, "below": below}
        self._wanted = " and ".join(f"{name} {limit:g}" for name, limit in named.items() if math.isfinite(limit))

    def __call__(self, value: Any) -> str:
        at_least, above, at_most, below = self._limits
        for entry in _entries(value):
            if isinstance(entry, bool) or not isinstance(entry, int | float):
                return f"{entry!r} is no number"
            # With no limit above, -inf itself must pass.
            if not (at_least <= entry <= at_most and (entry > above or above == -math.inf)
                    and (entry < below or below == math.inf)):  # fmt: skip
                return f"it must be {self._wanted}, not {entry!r}"
        return ""


def _entries(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def _one_of(known: tuple[str, ...]) -> Callable[[Any], str]:
    def refusal(word: Any) -> str:
        if word in known:
            return ""
        near = did_you_mean(str(word), known)
        hint = near if near.startswith(" (did") else ""
        return f"it must be one of {', '.join(known)}, not {word!r}{hint}"

    return refusal
