"""Files that are there whole or not at all, and their fingerprints."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reskill_core.errors import ReskillError

PART_PREFIX = ".part-"
LOCK = ".lock"


def fsync(path: Path) -> None:
    """Make a file's contents, or the renames inside a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def part_path(path: Path) -> Path:
    """The name under which ``path`` is written before it is complete."""
    return path.with_name(f"{PART_PREFIX}{os.getpid()}-{path.name}")


def commit(part: Path, path: Path) -> None:
    """Give a finished file or folder its final name, atomically and durably."""
    if part.is_file():
        fsync(part)
    os.replace(part, path)
    fsync(path.parent)


def atomic_write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader or a crash sees the old or the new contents, never a mixture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_path(path)
    part.write_bytes(content)
    commit(part, path)


def atomic_write_json(path: Path, document: Any) -> None:
    """:func:`atomic_write_bytes` of an indented JSON document; NaN and infinities are refused."""
    atomic_write_bytes(path, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def atomic_write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """:func:`atomic_write_bytes` of a JSON-lines file, a line for each row."""
    atomic_write_bytes(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def append_jsonl(path: Path, row: dict[str, Any]) -> None:
    """Append one row to a JSON-lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def read_json(path: Path, error: type[ReskillError], max_bytes: int = 16 * 2**20) -> Any:
    """Parse a JSON file of bounded size.

    Raises:
        error: the file is missing, too large or not JSON; the message names it.
    """
    try:
        if path.stat().st_size > max_bytes:
            raise error(f"{path} has {path.stat().st_size} bytes; more than {max_bytes} are not accepted")
        return json.loads(path.read_text())
    except OSError as cause:
        raise error(f"cannot read {path}: {cause.strerror}") from cause
    except (ValueError, RecursionError) as cause:
        raise error(f"{path} is not valid JSON: {cause}") from cause


def lock_folder(folder: Path, error: type[ReskillError]) -> int:
    """Make this process the only one that writes to a folder, until it closes the returned descriptor or ends.

    The lock belongs to this process alone, not to its children.

    Raises:
        error: another process has the lock, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as cause:
        raise error(f"{folder} cannot be written to: {cause.strerror}") from cause
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as cause:
        os.close(descriptor)
        raise error(f"{folder} is being written to by another process; wait for it or stop it") from cause
    return descriptor


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's contents."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def replace_link(link: Path, target: str) -> None:
    """Point a symbolic link at ``target`` (relative to the link's folder), atomically."""
    part = part_path(link)
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    os.replace(part, link)
    fsync(link.parent)
