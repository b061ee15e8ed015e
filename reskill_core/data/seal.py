"""The first bytes of a shard: enough to know the rest is unharmed before it is given to the HDF5 library.

HDF5 files of the default version carry no checksum of their structure, and damage to it can make the library hang or
return wrong numbers. A shard therefore starts with a block of text in the space that HDF5 leaves to applications (its
user block). It holds the file's size and the SHA-256 of everything up to the simulator states, which fill the rest of
the file: they are by far the largest part, are read only on demand, and are checked against the digests of their
episodes then.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

SEAL_BYTES = 512  # The smallest user block of HDF5.
_TEXT = "reskill shard\nsize {size}\nsim_state_offset {offset}\nsha256 {sha256}\n"
_PATTERN = re.compile(rb"reskill shard\nsize (\d+)\nsim_state_offset (\d+)\nsha256 ([0-9a-f]{64})\n\0*")


@dataclass(frozen=True)
class Seal:
    """What the first block of a shard says.

    Attributes:
        size: size of the file [byte].
        offset: where the simulator states start, which fill the rest of the file [byte].
        sha256: of the bytes between this block and the simulator states.
    """

    size: int
    offset: int
    sha256: str

    @classmethod
    def of(cls, image: bytes, num_state_bytes: int) -> Seal:
        """The seal of an HDF5 file that ends with the simulator states, given without its user block."""
        head = memoryview(image)[: len(image) - num_state_bytes]
        return cls(SEAL_BYTES + len(image), SEAL_BYTES + len(head), hashlib.sha256(head).hexdigest())

    def to_bytes(self) -> bytes:
        """The block to put before the file."""
        return _TEXT.format(size=self.size, offset=self.offset, sha256=self.sha256).encode().ljust(SEAL_BYTES, b"\0")


def check_seal(path: Path) -> Seal:
    """Read the seal of a shard and compare the file with it.

    Raises:
        ValueError: there is no seal, or the file is not what it was when it was sealed.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        match = _PATTERN.fullmatch(file.read(SEAL_BYTES))
        if match is None:
            raise ValueError("it does not start with the seal of a shard")
        seal = Seal(int(match[1]), int(match[2]), match[3].decode())
        size = os.fstat(file.fileno()).st_size
        if size != seal.size:
            raise ValueError(f"it has {size} bytes, {seal.size} were written")
        if hashlib.sha256(file.read(seal.offset - SEAL_BYTES)).hexdigest() != seal.sha256:
            raise ValueError("its contents are not what was written, the SHA-256 differs")
    return seal
