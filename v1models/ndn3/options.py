"""The arguments of NDN3's calls: defaults, what is supported, and data brought into one form."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from runtime.errors import ConfigError, did_you_mean

OPT_PARAMS: dict[str, Any] = {
    "batch_size": None,
    "epochs_training": 100,
    "learning_rate": 1e-4,
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-8,
    "epochs_summary": None,  # epochs between two logged scores
    "display": None,  # epochs between two printed ones
    "early_stop": 1,
    "early_stop_mode": 0,
    "func_tol": 0,
    "MAPest": True,  # whether penalties are added to the loss
    "use_gpu": False,
    "epochs_ckpt": None,
    "poisson_unit_norm": None,
    "data_pipe_type": "data_as_var",
    "run_diagnostics": False,
}
# Options with the values that mean something here; NDN3 knows more.
SUPPORTED = {
    "early_stop_mode": (0,),
    "func_tol": (0,),
    "epochs_ckpt": (None,),
    "run_diagnostics": (False,),
    "data_pipe_type": ("data_as_var", "feed_dict", "iterator"),  # three ways to the same numbers
}
LOG_CORRELATIONS = (None, "zero-NaNs", "filter-NaNs")


def read_opt_params(given: Mapping[str, Any] | None, batch_size: int | None, has_test: bool) -> dict[str, Any]:
    """NDN3's `opt_params` with defaults filled in.

    Args:
        given: what the caller gave.
        batch_size: the model's own, used where `given` has none.
        has_test: whether test rows were given.

    Raises:
        ConfigError: an option that is unknown, not supported or missing.
    """
    given = dict(given or {})
    for name in given:
        if name not in OPT_PARAMS:
            raise ConfigError(f"opt_params has no {name!r}{did_you_mean(name, OPT_PARAMS)}")
    options = {**OPT_PARAMS, "batch_size": batch_size, **{k: v for k, v in given.items() if v is not None}}
    for name, values in SUPPORTED.items():
        if options[name] not in values:
            raise ConfigError(
                f"opt_params[{name!r}] is {options[name]!r}, which is not supported; "
                f"use {' or '.join(map(repr, values))}."
            )
    if options["batch_size"] is None:
        raise ConfigError("opt_params has no batch_size; give one, such as 16.")
    for name in ("batch_size", "epochs_training"):
        if int(options[name]) != options[name] or options[name] < 1:
            raise ConfigError(f"opt_params[{name!r}] is {options[name]!r}; it is a whole number of at least 1.")
    if options["learning_rate"] <= 0:
        raise ConfigError(f"opt_params['learning_rate'] is {options['learning_rate']!r}; it must be positive.")
    if options["early_stop"] and not has_test:
        raise ConfigError("early_stop is on but there are no test_indxs; give some, or opt_params['early_stop'] = 0.")
    return options


def refuse(call: str, **given: tuple[Any, Any]) -> None:
    """Raises a `ConfigError` for the first argument, name=(value, supported value), that is not supported."""
    for name, (value, supported) in given.items():
        if value is not supported and not (np.ndim(value) == 0 and value == supported):
            raise ConfigError(f"{call}: {name}={value!r} is not supported; leave it at {supported!r}.")


def array(value: Any, name: str, columns: int | None = None) -> np.ndarray:
    """A matrix (rows, columns) in float32, out of a list of one where NDN3 takes a list of them.

    Raises:
        ConfigError: there are several, it is no matrix of numbers, or it has another number of columns.
    """
    if isinstance(value, (list, tuple)) and value and np.ndim(value[0]) == 2:
        if len(value) > 1:
            raise ConfigError(f"{name} is a list of {len(value)} arrays; one stimulus and one population is supported.")
        value = value[0]
    matrix = np.asarray(value, np.float32)
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2 or (columns is not None and matrix.shape[1] != columns):
        raise ConfigError(f"{name} has shape {matrix.shape}; give (rows, {columns or 'columns'}).")
    if not np.isfinite(matrix).all():
        raise ConfigError(f"{name} holds values that are not finite; leave those rows out or mask them.")
    return matrix


def rows(indices: Any, count: int, name: str) -> np.ndarray:
    """Row numbers as an array; all rows for None. Raises a `ConfigError` for a row that is not there."""
    if indices is None:
        return np.arange(count)
    found = np.asarray(indices, np.int64).reshape(-1)
    if found.size == 0 or found.min() < 0 or found.max() >= count:
        raise ConfigError(f"{name} names rows outside the {count} rows of the data, or none.")
    return found


@contextlib.contextmanager
def on_device(use_gpu: bool) -> Iterator[None]:
    """Computes on the first GPU or on the CPU; raises a `ConfigError` where a GPU is asked for and there is none."""
    try:
        device = jax.devices("gpu" if use_gpu else "cpu")[0]
    except RuntimeError:
        raise ConfigError("use_gpu is True but JAX finds no GPU; set use_gpu to False.") from None
    with jax.default_device(device):
        yield
