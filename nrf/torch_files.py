"""Read a PyTorch checkpoint without PyTorch, and without running anything that it may hold.

A checkpoint is a pickle whose tensors stand outside of it: beside it in a zip archive (since PyTorch 1.6) or behind it
in one file (before).  A pickle can call any function by name, so names are looked up in a short table of what a
checkpoint of parameters needs: tensors, their storages, ordered dictionaries, and `argparse.Namespace`, in which the
original program kept its flags and which `torch.load(weights_only=True)` refuses.  Any other name is refused.

    content = read_torch("model.pt")          # tensors as NumPy arrays, a Namespace as a `Flags` dictionary
"""

from __future__ import annotations

import io
import pathlib
import pickle
import struct
import zipfile
from collections import OrderedDict
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np

from runtime.errors import ConfigError
from runtime.untrusted import check_archive, check_nesting, check_pickle, check_shape

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {
    "FloatStorage": np.float32, "DoubleStorage": np.float64, "HalfStorage": np.float16,
    "BFloat16Storage": np.dtype(jnp.bfloat16), "LongStorage": np.int64, "IntStorage": np.int32,
    "ShortStorage": np.int16, "CharStorage": np.int8, "ByteStorage": np.uint8, "BoolStorage": np.bool_,
}  # fmt: skip


class Flags(dict):
    """An `argparse.Namespace` of the file: its attributes by name."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.update(state)


class _Device(str):
    """A `torch.device`: its name."""

    def __new__(cls, *parts: Any):
        return super().__new__(cls, ":".join(map(str, parts)))


def read_torch(path: str | pathlib.Path) -> Any:
    """The content of a PyTorch checkpoint.

    Args:
        path: a file written by `torch.save`.

    Returns:
        What was saved: tensors are NumPy arrays, an `argparse.Namespace` is a `Flags`.

    Raises:
        ConfigError: no such file, none of PyTorch's, a damaged one, or one that names anything else than a checkpoint
            of parameters needs; the message says the name.
    """
    try:
        with open(path, "rb") as file:
            if zipfile.is_zipfile(file):
                return _read_zip(file)
            file.seek(0)
            return _read_legacy(file)
    except FileNotFoundError:
        raise ConfigError(f"no checkpoint at {path}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; name the checkpoint, a .pt file, in it") from None
    except _Refused as error:
        raise ConfigError(
            f"{path} names {error}, which a checkpoint of parameters has no need of; it was not loaded. Save the "
            "parameters alone, as tensors in a dictionary"
        ) from None
    except Exception as error:  # a damaged pickle can fail in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{path} cannot be read as a PyTorch checkpoint ({reason})") from None


class _Refused(Exception):
    pass


class _Storage:
    """Numbers that tensors share; filled once the file's bytes are read."""

    def __init__(self, dtype: Any, numbers: np.ndarray | None = None):
        self.dtype, self.numbers = np.dtype(dtype), numbers


class _Tensor:
    """A tensor that waits for its storage."""

    def __init__(self, storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]):
        self.parts = storage, offset, tuple(shape), tuple(stride)

    def array(self) -> np.ndarray:
        """The numbers, copied out of the storage."""
        storage, offset, shape, stride = self.parts
        last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True)) if 0 not in shape else offset - 1
        if offset < 0 or min(stride, default=0) < 0 or last >= len(storage.numbers):
            raise ValueError(f"a tensor of shape {shape} reaches beyond its storage")
        check_shape(shape, len(storage.numbers))  # a stride of 0 would repeat a number without end
        bytes_apart = tuple(s * storage.dtype.itemsize for s in stride)
        return np.lib.stride_tricks.as_strided(storage.numbers[offset:], shape, bytes_apart, writeable=False).copy()


def _tensor(storage: _Storage, offset: int, shape: tuple, stride: tuple, *others: Any) -> _Tensor:
    return _Tensor(storage, offset, shape, stride)


def _parameter(tensor: _Tensor, *others: Any) -> _Tensor:
    return tensor


ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("argparse", "Namespace"): Flags,
    ("torch", "Size"): tuple,
    ("torch", "device"): _Device,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **{("torch", name): dtype for name, dtype in STORAGES.items()},
}


class _Unpickler(pickle.Unpickler):
    """Finds nothing but what is in the table; storages come from `load_storage`."""

    def __init__(self, file: BinaryIO, load_storage=None):
        super().__init__(file, encoding="utf-8")
        self._load_storage = load_storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise _Refused(f"'{module}.{name}'")
        return ALLOWED[module, name]

    def persistent_load(self, reference: tuple) -> _Storage:
        if self._load_storage is None or reference[0] != "storage":
            raise ValueError(f"an entry of kind {reference[0]!r}")
        if reference[1] not in STORAGES.values():
            raise ValueError(f"a storage of {reference[1]!r}")
        return self._load_storage(*reference[1:])


def _load(file: BinaryIO, load_storage=None) -> Any:
    check_pickle(file)
    content = _Unpickler(file, load_storage).load()
    check_nesting(content)
    return content


def _read_zip(file: BinaryIO) -> Any:
    with zipfile.ZipFile(file) as archive:
        check_archive(archive)
        pickles = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise ValueError("the archive has no data.pkl")
        root, storages = pickles[0].split("/")[0], {}
        order = f"{root}/byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("its numbers are in big-endian order")

        def load_storage(dtype: Any, key: str, location: str, count: int, *others: Any) -> _Storage:
            if key not in storages:
                storages[key] = _Storage(dtype, np.frombuffer(archive.read(f"{root}/data/{key}"), dtype))
            return storages[key]

        return _filled(_load(io.BytesIO(archive.read(pickles[0])), load_storage))


def _read_legacy(file: BinaryIO) -> Any:
    if _load(file) != LEGACY_MAGIC:
        raise ValueError("it does not begin as one")
    _load(file)  # version of the format
    if not _load(file).get("little_endian", True):
        raise ValueError("its numbers are in big-endian order")
    storages: dict[str, _Storage] = {}

    def load_storage(dtype: Any, key: str, location: str, count: int, view: tuple | None = None) -> _Storage:
        if view is not None:
            raise ValueError("it holds a view of a storage")
        return storages.setdefault(key, _Storage(dtype))

    content = _load(file, load_storage)
    for key in _load(file):
        (count,) = struct.unpack("<q", file.read(8))
        storage = storages[key]
        storage.numbers = np.frombuffer(file.read(count * storage.dtype.itemsize), storage.dtype)
        if len(storage.numbers) != count:
            raise ValueError("it ends too early")
    return _filled(content)


def _filled(content: Any) -> Any:
    """The content with arrays in place of the tensors."""
    if isinstance(content, _Tensor):
        return content.array()
    if isinstance(content, Flags):
        return Flags({name: _filled(value) for name, value in content.items()})
    if isinstance(content, dict):
        return {name: _filled(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(map(_filled, content))
    return content
