"""Files that are there whole or not at all, and their fingerprints."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from reskill_core.errors import ReskillError

PART_PREFIX = ".part-"
LOCK = ".lock"
_PROBE_BYTES = 64 * 2**10


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
    with replacing(path) as part:
        part.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The name to write a file under, which then takes the place of ``path``; on an error it is removed again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_path(path)
    try:
        yield part
        commit(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, if it is one: a pipe could make the reader wait for ever, a device never end.

    Raises:
        OSError: it is no regular file, or cannot be opened.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return path.open("rb")


def require_writable_folder(folder: Path, error: type[ReskillError]) -> None:
    """Make sure, before the work whose results it shall hold, that files can be written into a folder; makes it.

    Raises:
        error: they cannot, and why.
    """
    probe = part_path(folder / "probe")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            # As much as a small result; an empty file can be made on a full disk, too.
            probe.write_bytes(bytes(_PROBE_BYTES))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as cause:
        raise error(f"{folder} cannot be written to: {cause.strerror}; choose another folder") from cause


def require_writable_file(path: Path, error: type[ReskillError]) -> None:
    """Make sure, before the work whose result it shall hold, that a file can be written; makes its folder.

    Raises:
        error: it cannot, and why.
    """
    if path.is_dir():
        raise error(f"{path} is a folder; name a file")
    require_writable_folder(path.parent, error)


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


def read_text(path: Path, error: type[ReskillError], max_bytes: int = 16 * 2**20) -> str:
    """Read a text file of bounded size.

    Raises:
        error: it is missing, too large, no regular file or not UTF-8; the message names it.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise error(f"{path} is {'a folder' if stat.S_ISDIR(status.st_mode) else 'no regular file'}; name a file")
        if status.st_size > max_bytes:
            raise error(f"{path} has {status.st_size} bytes; more than {max_bytes} are not accepted")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as cause:
        raise error(f"cannot read {path}: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise error(f"{path} is not UTF-8 text (byte {cause.start}); save it as UTF-8") from cause


def read_json(path: Path, error: type[ReskillError], max_bytes: int = 16 * 2**20) -> Any:
    """Parse a JSON file of bounded size.

    Raises:
        error: the file is missing, too large or not JSON; the message names it.
    """
    return parse_json(read_text(path, error, max_bytes), str(path), error)


def parse_json(text: str, source: str, error: type[ReskillError]) -> Any:
    """The value that a JSON text holds.

    Args:
        text: one document.
        source: what it is called in messages.
        error: what to raise.

    Raises:
        error: it is not JSON, nested too deeply, or has a number that is none or too large for one.
    """
    try:
        return json.loads(text, parse_constant=_refuse_number, parse_float=_finite)
    except (ValueError, RecursionError) as cause:
        reason = "it is nested too deeply" if isinstance(cause, RecursionError) else cause
        raise error(f"{source} is not valid JSON: {reason}") from cause


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_number(text[:40])


def _refuse_number(text: str) -> float:
    raise ValueError(f"{text} is no finite number")


def lock_folder(folder: Path, error: type[ReskillError]) -> int:
    """Make this process the only one that writes to a folder, until it closes the returned descriptor or ends.

    The lock belongs to this process alone, not to its children.

    Raises:
        error: another process has the lock, or the folder cannot be written to.
    """
    require_writable_folder(folder, error)
    try:
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
