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
from weakref import WeakSet

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
    _require_writable(folder, folder / "probe", error)


def require_writable_file(path: Path, error: type[ReskillError]) -> None:
    """Make sure, before the work whose result it shall hold, that a file can be written; makes its folder.

    Raises:
        error: it cannot, and why.
    """
    _require_writable(path, path, error)
    if path.is_dir():
        raise error(f"{path} is a folder; name a file")


def _require_writable(target: Path, file: Path, error: type[ReskillError]) -> None:
    part = part_path(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            # As much as a small result; an empty file can be made on a full disk, too.
            part.write_bytes(bytes(_PROBE_BYTES))
        finally:
            part.unlink(missing_ok=True)
    except OSError as cause:
        raise error(f"{target} cannot be written to: {cause.strerror}; choose another place") from cause


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


class WriteLock:
    """Makes its owner the only one, in this process and all others, that writes to a place, until it is closed.

    The operating system takes it back when the process ends, however it ends. Children that the process forks do not
    share it: one that outlives its parent keeps nobody out.
    """

    def __init__(self, file: Path, place: Path, error: type[ReskillError], keep: bool = True) -> None:
        """Take it.

        Args:
            file: the lock file; made if it is not there.
            place: what is written to, for the message.
            error: what to raise.
            keep: leave the file there when the lock is closed.

        Raises:
            error: somebody has the lock, or the file cannot be made.
        """
        self._file, self._keep = file, keep
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW, 0o644)
        except OSError as cause:
            raise error(f"{place} cannot be written to: {cause.strerror}") from cause
        # Closed, and the lock with it, at the latest when nobody knows this object any more.
        self._stream = os.fdopen(descriptor, "rb+", buffering=0)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it before may have removed the file: then this one locks nobody out.
            is_current = os.path.samestat(os.fstat(descriptor), file.stat())
        except OSError:
            is_current = False
        if not is_current:
            self._stream.close()
            raise error(f"{place} is being written to by somebody else; wait for it or stop it")
        _LOCKS.add(self)

    def close(self) -> None:
        """Let others write; a second call changes nothing."""
        if self._stream.closed:
            return
        if not self._keep:
            self._file.unlink(missing_ok=True)
        # Also for a child that has only just been forked and still has the lock.
        fcntl.flock(self._stream, fcntl.LOCK_UN)
        self._stream.close()

    def __enter__(self) -> WriteLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_LOCKS: WeakSet[WriteLock] = WeakSet()


def _leave_to_parent() -> None:
    """In a child: let go of the parent's locks, which stay with it."""
    for lock in _LOCKS:
        lock._stream.close()


os.register_at_fork(after_in_child=_leave_to_parent)


def lock_folder(folder: Path, error: type[ReskillError]) -> WriteLock:
    """Become the only one that writes into a folder, which is made if it is not there.

    Raises:
        error: somebody else writes to it, or it cannot be written to.
    """
    return WriteLock(folder / LOCK, folder, error)


def lock_new(path: Path, error: type[ReskillError]) -> WriteLock:
    """Become the only one that makes a file or folder which is not there yet; the lock is beside it meanwhile.

    Raises:
        error: it is there, somebody else makes it, or it cannot be made there.
    """
    lock = WriteLock(path.with_name(f"{LOCK}-{path.name}"), path, error, keep=False)
    if os.path.lexists(path):
        lock.close()
        raise error(f"{path} exists; it is not overwritten, choose another name")
    return lock


def plain_name_fault(name: str) -> str:
    """Why a name must not become that of a file or folder, for a message; empty if it may."""
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
