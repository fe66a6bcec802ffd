"""A folder of files that is either complete and unaltered, or known not to be.

The manifest is a JSON file that lists every other file of the folder with its size and SHA-256, and whatever the
writer wants to say about the content. It is written last: a folder without one was interrupted, and a folder whose
files do not match it was damaged. The manifest carries its own hash, so that an alteration of the list itself is found
as well.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from runtime.files import INCOMPLETE, sync, write_json

MANIFEST = "manifest.json"
UNFINISHED = (".__lock", INCOMPLETE)
BLOCK = 1 << 22


class DamagedError(RuntimeError):
    """A folder is not what its manifest says; the message names the file and what is wrong with it."""


def write_manifest(
    folder: Path, content: dict[str, Any], files: Iterable[str] | None = None, name: str = MANIFEST
) -> dict[str, Any]:
    """Lists files of a folder, hashes them, and writes the list and the content to disk for good.

    Args:
        folder: holds the finished files, in any depth.
        content: what to keep beside the list, as JSON holds it; `read_manifest` returns it.
        files: the files to list, relative to the folder; all of them by default.
        name: of the manifest, relative to the folder.

    Returns:
        {file: {"size": bytes, "sha256": digest}}.
    """
    if files is None:
        # TensorStore writes a file as NAME.__lock first: what still has that name is no part of the finished content.
        paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(UNFINISHED))
        files = sorted(str(path.relative_to(folder)) for path in paths)
    listed = {file: {"size": (folder / file).stat().st_size, "sha256": _file_hash(folder / file)} for file in files}
    body = {"files": listed, "content": content}
    for parent in {parent for file in listed for parent in Path(file).parents}:
        sync(folder / parent)
    write_json(folder / name, {"body": body, "sha256": _body_hash(body)})
    return listed


def read_manifest(folder: Path, name: str = MANIFEST) -> dict[str, Any]:
    """Returns the content that `write_manifest` was given, without looking at the other files.

    Raises:
        DamagedError: there is no manifest, or it is not as it was written.
    """
    return _read_body(folder, name)["content"]


def listed_files(folder: Path, name: str = MANIFEST) -> dict[str, Any]:
    """Returns the files of a manifest with size and SHA-256, without looking at them; raises a `DamagedError`."""
    return _read_body(folder, name)["files"]


def verify(folder: Path, name: str = MANIFEST, contents: bool = True) -> None:
    """Compares every file of a folder with the manifest and raises a `DamagedError` that names the first that differs.

    Args:
        folder: was given to `write_manifest`.
        name: of the manifest.
        contents: whether files are read; otherwise only their presence and sizes are compared.
    """
    check_files(folder, _read_body(folder, name)["files"], contents)


def check_files(folder: Path, files: dict[str, Any], contents: bool = True) -> None:
    """Compares files of a folder with what is listed of them, see `verify`."""
    for name, expected in files.items():
        path = folder / name
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise DamagedError(f"file {name} is missing") from None
        if size != expected["size"]:
            raise DamagedError(f"file {name} has {size} bytes instead of {expected['size']}")
        if contents and _file_hash(path) != expected["sha256"]:
            raise DamagedError(f"file {name} has other content than was written")


def _read_body(folder: Path, name: str) -> dict[str, Any]:
    try:
        record = json.loads((folder / name).read_text())
        body, written = record["body"], record["sha256"]
    except FileNotFoundError:
        raise DamagedError(f"file {name} is missing, so it was never finished") from None
    except (ValueError, KeyError, TypeError):
        raise DamagedError(f"file {name} cannot be read") from None
    if _body_hash(body) != written:
        raise DamagedError(f"file {name} has other content than was written")
    return body


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _body_hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
