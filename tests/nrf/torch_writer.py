"""Write files as `torch.save` does, byte for byte in what matters, on machines that have no PyTorch.

`torch.save` itself takes the place of this where it is installed, so that both kinds of file are read in the tests.
"""

from __future__ import annotations

import argparse
import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from typing import ClassVar

import numpy as np

from nrf.torch_files import LEGACY_MAGIC

STORAGE_OF = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage", "bool": "BoolStorage"}


class Name:
    """A global of another package, pickled by its name alone."""

    def __init__(self, module: str, name: str):
        self.line = f"{module}\n{name}\n".encode()


class _Call:
    """A function of another package called with arguments when the file is read."""

    def __init__(self, name: Name, *arguments):
        self.name, self.arguments = name, arguments


class _Storage:
    def __init__(self, key: str, array: np.ndarray):
        self.key, self.array = key, array


class _Pickler(pickle._Pickler):
    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.storages = []

    def persistent_id(self, value):
        if not isinstance(value, _Storage):
            return None
        kind = Name("torch", STORAGE_OF[value.array.dtype.name])
        return ("storage", kind, value.key, "cpu", value.array.size)

    def save_name(self, value):
        self.write(pickle.GLOBAL + value.line)

    def save_call(self, value):
        self.save(value.name)
        self.save(value.arguments)
        self.write(pickle.REDUCE)

    def save_array(self, array):
        # A transposed array stays a view of its storage, as tensors do.
        array = array if array.T.flags.c_contiguous else np.ascontiguousarray(array)
        storage = _Storage(str(len(self.storages)), array if array.flags.c_contiguous else array.T)
        self.storages.append(storage)
        stride = tuple(s // array.itemsize for s in array.strides)
        rebuild = Name("torch._utils", "_rebuild_tensor_v2")
        self.save(_Call(rebuild, storage, 0, array.shape, stride, False, OrderedDict()))

    dispatch[Name], dispatch[_Call], dispatch[np.ndarray] = save_name, save_call, save_array


def call(module: str, name: str, *arguments) -> _Call:
    """Something that a file may try to have called when it is read."""
    return _Call(Name(module, name), *arguments)


def namespace(**flags) -> argparse.Namespace:
    """Flags as the original program keeps them."""
    return argparse.Namespace(**flags)


def write_zip(path, content):
    """The format since PyTorch 1.6."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    pickler.dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", buffer.getvalue())
        for storage in pickler.storages:
            archive.writestr(f"archive/data/{storage.key}", storage.array.tobytes())
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return path


def write_legacy(path, content):
    """The format before."""
    with open(path, "wb") as file:
        for head in (LEGACY_MAGIC, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}):
            pickle.dump(head, file, protocol=2)
        pickler = _Pickler(file)
        # The legacy reference of a storage says whether it is a view of another.
        plain = pickler.persistent_id
        pickler.persistent_id = lambda value: (*plain(value), None) if isinstance(value, _Storage) else None
        pickler.dump(content)
        pickle.dump([storage.key for storage in pickler.storages], file, protocol=2)
        for storage in pickler.storages:
            file.write(struct.pack("<q", storage.array.size) + storage.array.tobytes())
    return path


def write_with_torch(path, content):
    """The format of the installed PyTorch."""
    import torch

    def tensors(value):
        if isinstance(value, dict):
            return {k: tensors(v) for k, v in value.items()}
        return torch.tensor(np.asarray(value)) if isinstance(value, np.ndarray) else value

    torch.save(tensors(content), path)
    return path
