"""Saved models: our own format, and the files of NDN3 itself, read without running anything in them.

A file of NDN3 (`.ndnmod`) is a pickle of its objects. Unpickling can run any program, so none of it is trusted: NDN3's
classes become inert `Record`s that keep attributes and can do nothing, arrays are rebuilt from their numbers, functions
of TensorFlow (activations hang on the layers) become records that are never called, and every other name is refused.

    NDN            network_list: [parameter dictionary]; networks: [FFNetwork]; noise_dist, tf_seed, …
    FFNetwork      layers: [layer]
    layer          weights, biases: arrays

Our own file is an `.npz` archive under whatever name it was given: `header`, a JSON text, and arrays by name.
"""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from runtime.errors import ConfigError
from runtime.files import write_arrays
from runtime.untrusted import check_archive, check_nesting, check_pickle, check_shape

FORMAT = "v1models.ndn3 1"
# NDN3's classes, whatever module they lay in when a file was written.
CLASSES = {
    "NDN", "NDN3", "Network", "FFNetwork", "SideNetwork", "ScaffoldNetwork", "TemporalNetwork", "SpkNL_Network",
    "Layer", "ConvLayer", "SepLayer", "ConvSepLayer", "AddLayer", "MultLayer", "FilterLayer", "SpikeHistoryLayer",
    "BiConvLayer", "ReadoutLayer", "ConvReadoutLayer", "DiffOfGaussiansLayer", "ConvDiffOfGaussiansLayer",
    "ConvXYLayer", "LinScaleLayer", "LinearScaleLayer", "LinearScalingLayer", "GaborLayer", "HadiReadoutLayer",
    "SpkNL_Layer", "TLayer", "CaTentLayer", "NoRollCaTentLayer", "Regularization", "SepRegularization",
    "UnitRegularization",
}  # fmt: skip
# Modules of NDN3: any other class in one of them becomes a record too.
MODULES = {"NDN", "NDN3", "ffnetwork", "layer", "tlayer", "regularization", "network"}
INERT_PACKAGES = ("tensorflow", "google.protobuf")
ARRAY_KINDS = "biufcSU"


class SavedModel(NamedTuple):
    """What is kept of a model."""

    params: dict[str, Any]  # NDN3's parameter dictionary
    arrays: list[tuple[np.ndarray, np.ndarray]]  # (weights, biases) of each layer, in NDN3's shapes
    noise_dist: str
    tf_seed: int
    poisson_unit_norm: np.ndarray | None  # (N,), or None before the first training
    log_correlation: str | None
    revision: str | None  # None where a file does not say


class UnreadableError(ConfigError):
    """A saved model cannot be read; the message says why."""


def write_model(path: str | os.PathLike, model: SavedModel) -> None:
    """Writes a model in our own format, whole or not at all; folders that are missing are made."""
    header = {
        "format": FORMAT,
        **{name: getattr(model, name) for name in ("params", "noise_dist", "tf_seed", "log_correlation", "revision")},
    }
    arrays = {"header": np.array(json.dumps(header, default=_plain))}
    for index, (weights, biases) in enumerate(model.arrays):
        arrays[f"layer{index}_weights"] = np.asarray(weights)
        if biases is not None:
            arrays[f"layer{index}_biases"] = np.asarray(biases)
    if model.poisson_unit_norm is not None:
        arrays["poisson_unit_norm"] = np.asarray(model.poisson_unit_norm)
    write_arrays(path, arrays)


def _plain(value):
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise ConfigError(f"parameter dictionary: {value!r} cannot be saved; give numbers, texts, lists or None.")


def read_model(path: str | os.PathLike) -> SavedModel:
    """The model in a file of our own format or of NDN3's.

    Raises:
        UnreadableError: there is no such file, it is damaged, it is no model, or it names something that is refused.
    """
    path = Path(path)
    if not path.is_file():
        raise UnreadableError(f"there is no saved model {str(path)!r}.")
    try:
        return _read_own(path) if zipfile.is_zipfile(path) else _read_pickle(path)
    except UnreadableError:
        raise
    except Exception as error:
        # A damaged or hostile pickle can fail in any way, and none of them is a defect of this program.
        raise UnreadableError(f"{path} is damaged or no saved model ({type(error).__name__}: {error}).") from error


def _read_own(path):
    with np.load(path, allow_pickle=False) as npz:
        check_archive(npz.zip)
        header = json.loads(str(npz["header"]))
        if header.pop("format") != FORMAT:
            raise UnreadableError(f"{path} is not of the format {FORMAT!r}, the one this version reads.")
        count = len(header["params"]["layer_sizes"])
        arrays = [(npz[f"layer{i}_weights"], npz.get(f"layer{i}_biases")) for i in range(count)]
        return SavedModel(arrays=arrays, poisson_unit_norm=npz.get("poisson_unit_norm"), **header)


# --- NDN3's own files --------------------------------------------------------------------------------------------


class Record:
    """An object of a class that is not here: its attributes in `fields`, and nothing that it could do."""

    def __init__(self, *arguments: Any, **options: Any):
        self.fields: dict[str, Any] = {}

    def __new__(cls, *arguments: Any, **options: Any):
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        self.fields = {name: value for part in parts if isinstance(part, dict) for name, value in part.items()}

    def __reduce_ex__(self, protocol: int) -> Any:
        raise TypeError("records of saved models are not written")

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or the default where the object had none."""
        return getattr(self, "fields", {}).get(name, default)

    # What a pickle may do to lists and dictionaries that are subclassed.
    def append(self, item: Any) -> None:
        """Takes an item and forgets it."""

    def extend(self, items: Any) -> None:
        """Takes items and forgets them."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Takes an item and forgets it."""


class _Type(Record):
    """The type of numbers in an array."""

    def __init__(self, code: Any = None, *flags: Any):
        super().__init__()
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="

    def resolve(self) -> np.dtype:
        """NumPy's type; only of plain numbers."""
        kind = np.dtype(self.code) if isinstance(self.code, str) and len(self.code) <= 4 else None
        if kind is None or kind.kind not in ARRAY_KINDS:
            raise UnreadableError(f"an array of {self.code!r} in the file is refused; only numbers are read.")
        return kind.newbyteorder(self.order)


class _Array(Record):
    """An array while a file is read; `resolve` gives it."""

    value: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, raw = state
        if isinstance(kind, _Type) and kind.code in ("O8", "O4", "O"):
            self.value = list(raw)
            return
        self.value = _from_buffer(raw, kind, shape, "F" if fortran else "C")

    def resolve(self) -> Any:
        """The numbers, or a list where the file had objects."""
        return self.value


def _from_buffer(raw, kind, shape, order="C"):
    if isinstance(raw, str):  # written by Python 2
        raw = raw.encode("latin1")
    size = tuple(int(length) for length in shape)
    if not raw:
        check_shape(size, 1)  # a number may be written without bytes where it is 0
        return np.zeros(size, kind.resolve())
    return np.frombuffer(bytes(raw), kind.resolve()).reshape(size, order=order).copy()


def _new_array(kind, shape, code):
    return _Array()


def _buffer_array(raw, kind, shape, order):
    array = _Array()
    array.value = _from_buffer(raw, kind, shape, order if order in ("C", "F") else "C")
    return array


def _scalar(kind, raw=b""):
    return _from_buffer(raw, kind, ())[()]


def _latin_bytes(text, encoding):
    if encoding != "latin1":
        raise UnreadableError(f"text in the encoding {encoding!r} is refused.")
    return text.encode("latin1")


def _reconstruct(cls, base=None, state=None):
    if not (isinstance(cls, type) and issubclass(cls, Record)):
        raise UnreadableError(f"an object of {cls!r} is refused.")
    return cls()


def _no_bytes(*arguments):
    if arguments:
        raise UnreadableError("bytes made of something else are refused.")
    return b""


def _dill_type(name):
    if name not in _DILL_TYPES:
        raise UnreadableError(f"it names the type {name!r}, which is refused.")
    return _DILL_TYPES[name]


def _dill_array(make, arguments, state, attributes=None):
    # How dill writes every array: the call that makes an empty one, and its state.
    array = make(*arguments) if isinstance(make, _Maker) else None
    if not isinstance(array, _Array):
        raise UnreadableError(f"an array made by {make!r} is refused.")
    array.__setstate__(state)
    return array


def _new_object(cls, *arguments):
    return _reconstruct(cls)


class _Maker:
    """A function that a pickle may call and cannot change."""

    __slots__ = ("make",)

    def __init__(self, make):
        self.make = make

    def __call__(self, *arguments):
        return self.make(*arguments)

    def __setstate__(self, state):
        raise UnreadableError("it gives a state to a function, which is refused.")


class _Plain(Record):
    """Python's `object`, of which old pickles say that a class descends from it."""


_DILL_TYPES = {"bytes": _Maker(_no_bytes), "object": _Plain}
_NAMES: dict[tuple[str, str], Any] = {
    ("builtins", "bytes"): _Maker(_no_bytes),
    ("__builtin__", "bytes"): _Maker(_no_bytes),
    ("collections", "OrderedDict"): dict,
    ("builtins", "object"): _Plain,
    ("__builtin__", "object"): _Plain,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "slice"): slice,
    ("builtins", "complex"): complex,
    ("_codecs", "encode"): _Maker(_latin_bytes),
    ("copyreg", "_reconstructor"): _Maker(_reconstruct),
    ("copy_reg", "_reconstructor"): _Maker(_reconstruct),
    ("copyreg", "__newobj__"): _Maker(_new_object),
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    **{("numpy", f"{kind}{bits}"): _Plain for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)},
}
for _dill in ("dill._dill", "dill.dill"):
    _NAMES[_dill, "_create_array"] = _Maker(_dill_array)
    _NAMES[_dill, "_load_type"] = _Maker(_dill_type)
for _core in ("numpy.core", "numpy._core"):
    _NAMES[f"{_core}.multiarray", "_reconstruct"] = _Maker(_new_array)
    _NAMES[f"{_core}.multiarray", "scalar"] = _Maker(_scalar)
    _NAMES[f"{_core}.numeric", "_frombuffer"] = _Maker(_buffer_array)


class _Unpickler(pickle.Unpickler):
    """Knows the names above and imports nothing."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _NAMES:
            return _NAMES[module, name]
        last, plain = module.rpartition(".")[2], name.isidentifier()
        inert = any(module == package or module.startswith(package + ".") for package in INERT_PACKAGES)
        if plain and (name in CLASSES or last in MODULES or inert):
            return type(name, (Record,), {})
        raise UnreadableError(f"it names {module}.{name}, which is refused: only NDN3's objects and arrays are read.")

    def persistent_load(self, pid: Any) -> Any:
        raise UnreadableError("it refers to objects outside the file, which is refused.")


def _read_pickle(path):
    try:
        file = io.BytesIO(path.read_bytes())
        check_pickle(file)
        model = _Unpickler(file).load()
        check_nesting(model)
    except UnreadableError as error:
        raise UnreadableError(f"{path} is not read: {error}") from None
    if not isinstance(model, Record):
        raise UnreadableError(f"{path} is no model of NDN3: it holds a {type(model).__name__}.")
    networks, described = _list(model.get("networks")), _list(model.get("network_list"))
    if len(networks) != 1 or len(described) != 1:
        raise UnreadableError(
            f"{path} holds {len(networks)} networks with {len(described)} descriptions; one of each is supported."
        )
    layers = _list(networks[0].get("layers"))
    arrays = [(_resolve(layer.get("weights")), _resolve(layer.get("biases"))) for layer in layers]
    if not arrays or any(weights is None for weights, _ in arrays):
        raise UnreadableError(f"{path} holds layers without weights.")
    rates = _resolve(model.get("poisson_unit_norm"))
    if isinstance(rates, list):
        rates = rates[0] if len(rates) == 1 else np.asarray(rates) if rates else None
    return SavedModel(
        params=_resolve(described[0]),
        arrays=arrays,
        noise_dist=_resolve(model.get("noise_dist", "poisson")),
        tf_seed=int(_resolve(model.get("tf_seed")) or 0),
        poisson_unit_norm=rates,
        log_correlation=_resolve(model.get("log_correlation")),
        revision=None,
    )


def _list(value):
    value = _resolve(value)
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def _resolve(value):
    """A value of a file with its arrays in place of their records; NumPy's numbers become Python's in descriptions."""
    if isinstance(value, _Array):
        return value.resolve()
    if isinstance(value, Mapping):
        return {key: _resolve(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_resolve(entry) for entry in value)
    return value.item() if isinstance(value, np.generic) else value
