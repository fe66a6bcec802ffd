"""Configs: one Python file with presets, changed from the command line, frozen, and kept beside the results.

A config file defines `get_config(preset)`, which returns an `ml_collections.ConfigDict` of plain values (numbers,
strings, tuples, None) in named groups. The command line names the file and the preset and changes single fields:

    python launch.py --config=configs/nrflv.py:mnist --config.train.lr=3e-4 --config.sampler.step_size=0.1,0.05

The value already in the field says how the text is read, so a misspelt field or a value of the wrong kind is an error
before anything is computed, in one sentence that names the field. `fields` has kinds of field that accept more than the
type of their default, or only some of its values.

Once read, a config cannot change. `save_config` writes it into the run folder with the versions of everything that
computed the run, and `check_same` refuses to continue a run under another config.
"""

import contextlib
import functools
import importlib.util
import json
import operator
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict, FrozenConfigDict

from runtime.errors import ConfigError, did_you_mean
from runtime.files import write_json
from runtime.overrides import parse_value

CONFIG_FILE = "config.json"
CONFIGS = Path(__file__).resolve().parents[1] / "configs"
FOLDERS = CONFIGS / "nrflv.py"  # reads run folders as presets
PACKAGES = ("jax", "jaxlib", "flax", "optax", "blackjax", "orbax-checkpoint", "numpy", "scipy", "scikit-image")


def default_name(spec: str) -> str:
    """Name of the run folder of a config: its file's name and the preset."""
    path, _, preset = spec.partition(".py")
    return "-".join(part for part in (Path(path).name, preset.lstrip(":")) if part)


def select_preset(name: str, presets: Mapping[str, Any]) -> Any:
    """Returns `presets[name]`; raises a `ConfigError` with the nearest name where there is none."""
    if name not in presets:
        raise ConfigError(f"unknown preset {name!r}{did_you_mean(name, presets)}")
    return presets[name]


def load_config(spec: str, overrides: Sequence[str] = ()) -> FrozenConfigDict:
    """Returns the config of `FILE.py`, `FILE.py:PRESET` or a run folder with the given fields changed, frozen.

    Args:
        spec: path of the config file, with the name of a preset after a colon, or without (the file's default); or the
            folder of a run, whose config is that of its `config.json`.
        overrides: texts `--config.GROUP.FIELD=VALUE`, in order; the leading `--config.` may be left out.

    Raises:
        ConfigError: no such file, preset or field, or a value of the wrong kind.
    """
    path, preset = (FOLDERS, spec) if Path(spec).is_dir() else _split_spec(spec)
    get_config = load_function(path, "get_config", "preset")
    try:
        config = get_config(preset) if preset else get_config()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except (AttributeError, KeyError, TypeError) as error:
        sentence = _wrong_field(path, error)
        if not sentence:
            raise
        raise ConfigError(sentence) from None
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"{path}: get_config must return an ml_collections.ConfigDict, not {type(config).__name__}")
    config.lock()
    for override in overrides:
        field, equals, text = override.removeprefix("--config.").partition("=")
        if not equals:
            raise ConfigError(f"{override!r} gives no value: write --config.{field}=VALUE")
        _override(config, field, text)
    _try_sweep(config)
    return _freeze(config.to_dict())


def load_function(path: Path, name: str, arguments: str) -> Callable[..., Any]:
    """Returns the function `name(arguments)` of a config file; raises a `ConfigError` for one that defines none."""
    module_spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if module_spec is None:
        raise ConfigError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ConfigError(f"{path}, line {error.lineno}: {error.msg}") from None
    if not callable(getattr(module, name, None)):
        raise ConfigError(f"{path} defines no {name}({arguments})")
    return getattr(module, name)


def split_flags(arguments: Sequence[str]) -> tuple[str | None, list[str], list[str]]:
    """Separates the config's flags from a program's others.

    Both `--config=X` and `--config X` are understood.

    Args:
        arguments: the command line without the program's name.

    Returns:
        The value of `--config` (None where absent), the `--config.FIELD=VALUE` texts, and every other argument, in
            order.
    """
    spec, overrides, others = None, [], []
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if flag != "--config" and not flag.startswith("--config."):
            others.append(argument)
            continue
        if not equals:
            value = next(rest, None)
            if value is None or value.startswith("--"):
                raise ConfigError(f"{flag} gives no value: write {flag}=VALUE")
        if flag == "--config" and spec is not None:
            raise ConfigError(f"--config is given twice, {spec} and {value}; leave one out")
        if flag == "--config":
            spec = value
        else:
            overrides.append(f"{flag}={value}")
    return spec, overrides, others


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns {'group.field': value} over all fields of a nested config, in the config's order."""
    config = _unrecorded(config)
    fields = config.to_dict() if isinstance(config, ConfigDict) else config
    return {prefix + name: value for name, value in flatten_dict(fields, sep=".").items()}


def save_config(config: ConfigDict, workdir: str | os.PathLike) -> Path:
    """Writes the config, the packages' versions and the git revision to `workdir/config.json`; returns its path."""
    path = Path(workdir) / CONFIG_FILE
    record = {"config": _unrecorded(config).to_dict(), "versions": _versions(), "revision": _revision()}
    write_json(path, record, indent=2)
    return path


def read_config(workdir: str | os.PathLike) -> FrozenConfigDict:
    """Returns the config that `save_config` wrote into this run folder."""
    return _freeze(read_record(workdir)["config"])


def read_record(workdir: str | os.PathLike) -> dict[str, Any]:
    """Returns all that `save_config` wrote: {'config': nested dict, 'versions': {package: version}, 'revision'}."""
    path = Path(workdir) / CONFIG_FILE
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{workdir} is no run folder: it has no {CONFIG_FILE}") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path} is damaged ({error}); restore it or start the run in a new folder") from None


def check_same(
    config: ConfigDict,
    workdir: str | os.PathLike,
    may_change: Iterable[str] = (),
    added: Mapping[str, Any] | None = None,
) -> None:
    """Raises a `ConfigError` that names the fields in which a config differs from the one its run was started with.

    Args:
        config: the config to go on with.
        workdir: the run folder that holds the earlier one.
        may_change: fields, or whole groups, that may differ, such as ('train.num_steps', 'log').
        added: fields that the configs of earlier versions lack, with the values that stand for what was done then.
    """
    before, now = {**(added or {}), **flatten(read_config(workdir))}, flatten(_freeze(_unrecorded(config).to_dict()))
    allowed = tuple(may_change)
    changes = [
        f"{field} was {before[field]!r} and is {now[field]!r}"
        if field in before and field in now
        else f"{field} is {'new' if field in now else 'gone'}"
        for field in [*before, *(set(now) - set(before))]
        if not (field in before and field in now and _same(before[field], now[field]))
        and not any(field == name or field.startswith(name + ".") for name in allowed)
    ]
    if changes:
        raise ConfigError(
            f"the run in {workdir} was started with another config: {'; '.join(changes)}; "
            "go on with the config it was started with, or start a new run in another folder"
        )


class ReadRecorder:
    """A config that remembers which of its fields were read, so that a test can name the ones that never are.

    Fields are read as attributes, as items, through `get`, or by iterating over a group, like those of the config it
    wraps.
    """

    def __init__(self, config: ConfigDict, prefix: str = "", read: set[str] | None = None):
        self._config, self._prefix = config, prefix
        self._read: set[str] = set() if read is None else read

    def __getitem__(self, name: str) -> Any:
        value = self._config[name]
        if isinstance(value, ConfigDict):
            return ReadRecorder(value, f"{self._prefix}{name}.", self._read)
        self._read.add(self._prefix + name)
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(str(error)) from None

    def __contains__(self, name: str) -> bool:
        return name in self._config

    def __iter__(self) -> Iterator[str]:
        return iter(self._config)

    def __len__(self) -> int:
        return len(self._config)

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default

    def keys(self):
        return self._config.keys()

    def items(self):
        return [(name, self[name]) for name in self]

    def values(self):
        return [self[name] for name in self]

    def to_dict(self) -> dict[str, Any]:
        return {name: value.to_dict() if isinstance(value, ReadRecorder) else value for name, value in self.items()}

    def unread(self) -> list[str]:
        """Returns the fields, in dotted form, that nothing has read."""
        return [field for field in flatten(self._config, self._prefix) if field not in self._read]


def _unrecorded(config):
    """The config behind a recorder: to write the fields down, or to list them, is not to read them."""
    return config._config if isinstance(config, ReadRecorder) else config


def _split_spec(spec: str) -> tuple[Path, str]:
    name, dot_py, preset = spec.partition(".py:")
    path = Path(name + dot_py.rstrip(":"))
    if not path.is_file():
        neighbours = {str(other) for other in path.parent.glob("*.py")} if path.parent.is_dir() else set()
        raise ConfigError(f"there is no config file {str(path)!r}{did_you_mean(str(path), neighbours)}")
    return path, preset


def _wrong_field(path: Path, error: Exception) -> str:
    """What is wrong with a field that a config file reads or sets; '' where the error is another one."""
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno, trace.tb_frame.f_locals))
        trace = trace.tb_next
    if "ml_collections" not in frames[-1][0]:
        return ""
    line = next((f", line {number}" for file, number, _ in reversed(frames) if file == str(path)), "")
    for _, _, names in reversed(frames):
        group, name = names.get("self"), names.get("attribute", names.get("key"))
        if isinstance(group, ConfigDict) and isinstance(name, str):
            if name not in group:
                return f"{path}{line}: the config has no field {name!r} there{did_you_mean(name, group)}"
            return f"{path}{line}: the field {name!r} holds {group[name]!r}: {str(error).splitlines()[0]}"
    return ""


def _override(config: ConfigDict, field: str, text: str) -> None:
    *groups, name = field.split(".")
    for depth, group in enumerate(groups):
        if group not in config:
            raise ConfigError(_unknown_field(config, field, ".".join(groups[:depth]), group))
        config = config[group]
        if not isinstance(config, ConfigDict):
            raise ConfigError(f"--config.{field}: {'.'.join(groups[: depth + 1])!r} is a field, not a group of fields")
    if name not in config:
        raise ConfigError(_unknown_field(config, field, ".".join(groups), name))
    if isinstance(config[name], ConfigDict):
        raise ConfigError(f"--config.{field} is a group of fields ({', '.join(config[name])}): set one of them")
    kinds = config.get_type(name)
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    try:
        config[name] = parse_value(text, kinds, config[name])
    except ValueError as error:
        raise ConfigError(f"--config.{field}={text}: {error}") from None


def _try_sweep(config: ConfigDict) -> None:
    """Gives each field of a sweep's grid each of its values, so that one that is not accepted is refused at once."""
    for entry in config.sweep.get("grid", ()) if "sweep" in config else ():
        try:
            (*groups, name), values = entry[0].split("."), entry[1]
            group = functools.reduce(operator.getitem, groups, config)
            before = group[name]
        except (LookupError, TypeError, ValueError, AttributeError):
            continue  # malformed, or no such field: `sweeps.expand` says so
        for value in values:
            try:
                group[name] = value
            except ConfigError as error:
                raise ConfigError(f"config.sweep.grid: {entry[0]}={value}: {error}") from None
            except TypeError:
                break  # of another kind: `sweeps.expand` says so
        group[name] = before


def _unknown_field(config: ConfigDict, field: str, group: str, name: str) -> str:
    place = f"the group {group!r}" if group else "the config"
    return f"--config.{field}: {place} has no field {name!r}{did_you_mean(name, config)}"


def _freeze(fields: dict[str, Any]) -> FrozenConfigDict:
    return FrozenConfigDict(ConfigDict(_with_tuples(fields)).lock())


def _with_tuples(value: Any) -> Any:
    # A list could be changed after the config is frozen; JSON gives lists back for tuples.
    if isinstance(value, dict):
        return {name: _with_tuples(entry) for name, entry in value.items()}
    return tuple(_with_tuples(entry) for entry in value) if isinstance(value, list) else value


def _same(before: Any, now: Any) -> bool:
    # A NaN is the same setting as a NaN; 1 and 1.0 are, True and 1 are not.
    return repr(before) == repr(now) or (before == now and isinstance(before, bool) == isinstance(now, bool))


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def _revision() -> str | None:
    """Returns the git revision of the program, with '+' behind it where files were changed since; None outside git."""
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
