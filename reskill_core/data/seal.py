"""Seal of a shard: its first bytes, by which the file is verified before the HDF5 library opens it.

HDF5 files of the default version have no checksum of their structure, and damage to it can make the library hang or
return wrong numbers. A shard therefore starts with a block of text in HDF5's user block, with the file's size and the
SHA-256 of everything except the simulator states. Those are by far the largest part and are read only on demand; they
are checked against the digests of their episodes then.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from reskill_core.files import open_regular

_BLOCK_BYTES = 2**20
SEAL_BYTES = 512  # The smallest user block of HDF5.
_TEXT = "reskill shard\nsize {size}\nsim_state {start} {stop}\nsha256 {sha256}\n"
_PATTERN = re.compile(rb"reskill shard\nsize (\d+)\nsim_state (\d+) (\d+)\nsha256 ([0-9a-f]{64})\n\0*")


@dataclass(frozen=True)
class Seal:
    """Contents of a shard's first block.

    Attributes:
        size: size of the file [byte].
        state_start: start of the simulator states in the file [byte].
        state_stop: end of the simulator states in the file [byte].
        sha256: SHA-256 of all other bytes after this block.
    """

    size: int
    state_start: int
    state_stop: int
    sha256: str

    @classmethod
    def of(cls, image: bytes, state_start: int, state_stop: int) -> Seal:
        """Compute the seal of an HDF5 file, given without its user block."""
        view = memoryview(image)
        sha = hashlib.sha256(view[: state_start - SEAL_BYTES])
        sha.update(view[state_stop - SEAL_BYTES :])
        return cls(SEAL_BYTES + len(image), state_start, state_stop, sha.hexdigest())

    def to_bytes(self) -> bytes:
        """Format the block that precedes the file."""
        text = _TEXT.format(size=self.size, start=self.state_start, stop=self.state_stop, sha256=self.sha256)
        return text.encode().ljust(SEAL_BYTES, b"\0")


def check_seal(path: Path) -> Seal:
    """Read the seal of a shard and compare the file with it.

    Raises:
        ValueError: there is no seal, or the file has changed since it was sealed.
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        match = _PATTERN.fullmatch(file.read(SEAL_BYTES))
        if match is None:
            raise ValueError("it does not start with the seal of a shard")
        seal = Seal(int(match[1]), int(match[2]), int(match[3]), match[4].decode())
        size = os.fstat(file.fileno()).st_size
        if size != seal.size:
            raise ValueError(f"it has {size} bytes, {seal.size} were written")
        if not SEAL_BYTES <= seal.state_start <= seal.state_stop <= size:
            raise ValueError("its simulator states are not inside it")
        sha = hashlib.sha256()
        _add(file, seal.state_start - SEAL_BYTES, sha)
        file.seek(seal.state_stop)
        _add(file, size - seal.state_stop, sha)
        if sha.hexdigest() != seal.sha256:
            raise ValueError("its contents are not what was written, the SHA-256 differs")
    return seal


def _add(file: BinaryIO, count: int, sha: hashlib._Hash) -> None:
    """Add the next ``count`` bytes to a checksum."""
    while count > 0 and (block := file.read(min(count, _BLOCK_BYTES))):
        sha.update(block)
        count -= len(block)
