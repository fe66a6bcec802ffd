"""Files from elsewhere that are small and claim to be large: refused before they take the memory they ask for.

What a pickle may call is up to the unpickler that reads it; these checks are of what it may ask for.
"""

from __future__ import annotations

import math
import os
import pickletools
import zipfile
from collections.abc import Sequence
from typing import Any, BinaryIO

MOST_ENTRIES = 10**6  # of a file's lists and dictionaries, counted as often as they are referred to


def check_pickle(file: BinaryIO) -> None:
    """Raises a `ValueError` for a pickle that numbers its objects beyond their count; the file stays where it is.

    Python's unpickler makes room for as many objects as the largest number names: a file of ten bytes may ask for
    gigabytes.

    Args:
        file: at the beginning of a pickle.
    """
    start = file.tell()
    for count, (opcode, number, _) in enumerate(pickletools.genops(file)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and number > count:
            raise ValueError(f"its pickle numbers an object {number}, and has {count}")
    file.seek(start)


def check_nesting(content: Any) -> None:
    """Raises a `ValueError` for lists that hold lists twice, which hold lists twice: small in a file, endless outside.

    Args:
        content: of a file: lists, tuples and dictionaries, or objects with a dictionary `fields` of their attributes.
    """
    counted: dict[int, int] = {}

    def count(value: Any) -> int:
        if id(value) not in counted:
            parts = getattr(value, "fields", value)
            parts = parts.values() if isinstance(parts, dict) else parts if isinstance(parts, list | tuple) else ()
            counted[id(value)] = 1 + sum(map(count, parts))
        return counted[id(value)]

    if count(content) > MOST_ENTRIES:
        raise ValueError(f"it has more than {MOST_ENTRIES} entries")


def check_archive(archive: zipfile.ZipFile) -> None:
    """Raises a `ValueError` for an archive whose files are together larger than itself: packed, or one in another."""
    archive.fp.seek(0, os.SEEK_END)
    whole, parts = archive.fp.tell(), sum(info.file_size for info in archive.infolist())
    if parts > whole:
        raise ValueError(f"it unpacks to {parts} bytes and has {whole}; such files are saved without compression")


def check_shape(shape: Sequence[int], numbers: int) -> None:
    """Raises a `ValueError` for an array that has more entries than its file has numbers for it."""
    if min(shape, default=0) < 0 or math.prod(shape) > max(numbers, 0):
        raise ValueError(f"an array of shape {tuple(shape)} has {numbers} numbers")
