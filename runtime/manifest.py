"""A folder of files that is either complete and unaltered, or known not to be.

The manifest is a JSON file that lists every other file of the folder with its size and SHA-256, and whatever the
writer wants to say about the content. It is written last: a folder without one was interrupted, and a folder whose
files do not match it was damaged. The manifest carries its own hash, so that an alteration of the list itself is found
as well.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
BLOCK = 1 << 22


class DamagedError(RuntimeError):
    """A folder is not what its manifest says; the message names the file and what is wrong with it."""


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Lists all files of a folder, hashes them, and writes the list and the content to disk for good.

    Args:
      folder: holds the finished files, in any depth.
      content: what to keep beside the list, as JSON holds it; `read_manifest` returns it.
    """
    files = {
        str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": _file_hash(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    body = {"files": files, "content": content}
    temporary = folder / (MANIFEST + ".incomplete")
    with temporary.open("w") as stream:
        json.dump({"body": body, "sha256": _body_hash(body)}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(folder / MANIFEST)
    for path in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        sync_folder(path)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Returns the content that `write_manifest` was given, without looking at the other files.

    Raises:
      DamagedError: there is no manifest, or it is not as it was written.
    """
    return _read_body(folder)["content"]


def verify(folder: Path) -> None:
    """Reads every file of a folder and raises a `DamagedError` that names the first that differs from the manifest."""
    for name, expected in _read_body(folder)["files"].items():
        path = folder / name
        if not path.is_file():
            raise DamagedError(f"file {name} is missing")
        size = path.stat().st_size
        if size != expected["size"]:
            raise DamagedError(f"file {name} has {size} bytes instead of {expected['size']}")
        if _file_hash(path) != expected["sha256"]:
            raise DamagedError(f"file {name} has other content than was written")


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_body(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / MANIFEST).read_text())
        body, written = record["body"], record["sha256"]
    except FileNotFoundError:
        raise DamagedError(f"file {MANIFEST} is missing, so it was never finished") from None
    except (ValueError, KeyError, TypeError):
        raise DamagedError(f"file {MANIFEST} cannot be read") from None
    if _body_hash(body) != written:
        raise DamagedError(f"file {MANIFEST} has other content than was written")
    return body


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _body_hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
