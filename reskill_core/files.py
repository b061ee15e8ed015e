"""Atomic writes, bounded reads, write locks and hashes of files."""

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
from weakref import WeakSet

from reskill_core.errors import ReskillError

PART_PREFIX = ".part-"
LOCK = ".lock"
_PROBE_BYTES = 64 * 2**10


def fsync(path: Path) -> None:
    """Flush a file's contents, or the renames inside a folder, to disk, so that they survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def part_path(path: Path) -> Path:
    """Temporary name of ``path`` while it is being written."""
    return path.with_name(f"{PART_PREFIX}{os.getpid()}-{path.name}")


def commit(part: Path, path: Path) -> None:
    """Give a finished file or folder its final name, atomically and durably."""
    if part.is_file():
        fsync(part)
    os.replace(part, path)
    fsync(path.parent)


def atomic_write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that readers, and a crash, see the old or the new contents, never a mixture."""
    with replacing(path) as part:
        part.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; the file then replaces ``path``, or is removed after an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_path(path)
    try:
        yield part
        commit(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; a pipe could block the reader for ever, a device might never end.

    Raises:
        OSError: it is not a regular file, or cannot be opened.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return path.open("rb")


def require_writable_folder(folder: Path, error: type[ReskillError]) -> None:
    """Check, before the work starts, that its results can be written into a folder, which is made if missing.

    Raises:
        error: they cannot; the message has the reason.
    """
    _require_writable(folder, folder / "probe", error)


def require_writable_file(path: Path, error: type[ReskillError]) -> None:
    """Check, before the work starts, that its result file can be written; makes the folder if missing.

    Raises:
        error: it cannot; the message has the reason.
    """
    _require_writable(path, path, error)
    if path.is_dir():
        raise error(f"{path} is a folder; name a file")


def _require_writable(target: Path, file: Path, error: type[ReskillError]) -> None:
    part = part_path(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            # The size of a small result: an empty file can be made even on a full disk.
            part.write_bytes(bytes(_PROBE_BYTES))
        finally:
            part.unlink(missing_ok=True)
    except OSError as cause:
        raise error(f"{target} cannot be written to: {cause.strerror}; choose another place") from cause


def atomic_write_json(path: Path, document: Any) -> None:
    """:func:`atomic_write_bytes` of an indented JSON document; NaN and infinities are refused."""
    atomic_write_bytes(path, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def atomic_write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """:func:`atomic_write_bytes` of a JSON-lines file, one line per row."""
    atomic_write_bytes(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def append_jsonl(path: Path, row: dict[str, Any]) -> None:
    """Append one row to a JSON-lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def read_text(path: Path, error: type[ReskillError], max_bytes: int = 16 * 2**20) -> str:
    """Read a text file of bounded size.

    Raises:
        error: it is missing, too large, not a regular file or not UTF-8; the message names it.
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
    """Parse a JSON text.

    Args:
        text: one document.
        source: its name in messages.
        error: type of the exception to raise.

    Raises:
        error: it is not JSON, nested too deeply, or has a number that is NaN, infinite or too large for a float.
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


class WriteLock:
    """Exclusive lock for writing to a file or folder, within this process and across processes, until it is closed.

    The operating system releases it when the process ends, however it ends. Forked children do not share it: a child
    that outlives its parent does not hold the lock.
    """

    def __init__(self, file: Path, place: Path, error: type[ReskillError], keep: bool = True) -> None:
        """Acquire the lock.

        Args:
            file: the lock file; made if missing.
            place: target of the writing, for the message.
            error: type of the exception to raise.
            keep: keep the lock file when the lock is closed.

        Raises:
            error: the lock is held by another owner, or the file cannot be made.
        """
        self._file, self._keep = file, keep
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW, 0o644)
        except OSError as cause:
            raise error(f"{place} cannot be written to: {cause.strerror}") from cause
        # Closed, which releases the lock, at the latest when this object is garbage-collected.
        self._stream = os.fdopen(descriptor, "rb+", buffering=0)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The previous owner may have removed the file: a lock on the removed file excludes nobody.
            is_current = os.path.samestat(os.fstat(descriptor), file.stat())
        except OSError:
            is_current = False
        if not is_current:
            self._stream.close()
            raise error(f"{place} is being written to by somebody else; wait for it or stop it")
        _LOCKS.add(self)

    def close(self) -> None:
        """Release the lock; a second call has no effect."""
        if self._stream.closed:
            return
        if not self._keep:
            self._file.unlink(missing_ok=True)
        # Explicitly, because a child that was forked just now may still hold the descriptor.
        fcntl.flock(self._stream, fcntl.LOCK_UN)
        self._stream.close()

    def __enter__(self) -> WriteLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_LOCKS: WeakSet[WriteLock] = WeakSet()


def _leave_to_parent() -> None:
    """Close inherited descriptors of the parent's locks in a forked child; the parent keeps the locks."""
    for lock in _LOCKS:
        lock._stream.close()


os.register_at_fork(after_in_child=_leave_to_parent)


def lock_folder(folder: Path, error: type[ReskillError]) -> WriteLock:
    """Lock a folder for writing; it is made if missing.

    Raises:
        error: another writer holds the lock, or the folder cannot be written to.
    """
    return WriteLock(folder / LOCK, folder, error)


def lock_new(path: Path, error: type[ReskillError]) -> WriteLock:
    """Lock the creation of a new file or folder; the lock file is next to it meanwhile.

    Raises:
        error: it exists, another process is creating it, or it cannot be created there.
    """
    lock = WriteLock(path.with_name(f"{LOCK}-{path.name}"), path, error, keep=False)
    if os.path.lexists(path):
        lock.close()
        raise error(f"{path} exists; it is not overwritten, choose another name")
    return lock


def plain_name_fault(name: str) -> str:
    """Return why a name must not be used for a file or folder, for a message; empty if it may."""
    if name in ("", ".", ".."):
        return f"{name!r} is not a name"
    if "/" in name or "\\" in name or "\0" in name:
        return f"{name!r} has a path separator; give a plain name"
    return "" if name.isprintable() else f"{name!r} has characters that cannot be shown"


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's contents."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
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
