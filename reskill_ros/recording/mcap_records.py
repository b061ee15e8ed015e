"""Reader of MCAP records with bounded sizes and verified checksums.

The records are classes of the MCAP library. Its own stream reader accepts truncated records, decompresses chunks to any
size and does not check the summary.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import lz4.frame  # type: ignore[import-untyped]
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, DataEnd, Footer, Header, McapRecord, Message, Schema, Statistics

from reskill_core.errors import DataError
from reskill_core.files import open_regular

MAGIC = b"\x89MCAP0\r\n"
# Limit for a record and for a decompressed chunk; a few times the size of camera images.
_MAX_BYTES = 256 * 2**20
_HEAD = struct.Struct("<BQ")
_KINDS: dict[int, Any] = {
    Opcode.HEADER: Header,
    Opcode.SCHEMA: Schema,
    Opcode.CHANNEL: Channel,
    Opcode.CHUNK: Chunk,
    Opcode.DATA_END: DataEnd,
    Opcode.STATISTICS: Statistics,
    Opcode.FOOTER: Footer,
}
# Magic bytes of other files that are mistaken for MCAP bags, with the remedy.
_OTHER_KINDS = {
    b"SQLite format 3\0": "a bag in SQLite storage; convert it to MCAP with `ros2 bag convert`",
    b"\x28\xb5\x2f\xfd": "compressed as a whole; unpack it with `zstd -d`",
}
_UNREADABLE = (McapError, ValueError, struct.error, zstandard.ZstdError, RuntimeError, MemoryError, EOFError)


class DamageError(Exception):
    """A file is damaged or truncated; the message says where and how."""


@dataclass(frozen=True)
class _Frame:
    """Record that is not parsed yet."""

    offset: int
    opcode: int
    head: bytes
    content: bytes


def read_records(file: Path) -> Iterator[McapRecord]:
    """Iterate over the needed records of a file in order, including those in chunks.

    Raises:
        DataError: it is not an MCAP file.
        DamageError: it is truncated, or a checksum is wrong. The records before are intact unless the message says
            otherwise.
    """
    try:
        stream = open_regular(file)
    except OSError as cause:
        raise DataError(f"cannot read {file}: {cause.strerror}") from cause
    with stream:
        _check_magic(file, stream)
        yield from _records(stream)


def _check_magic(file: Path, stream: BinaryIO) -> None:
    start = stream.read(max(map(len, _OTHER_KINDS)))
    if not start:
        raise DataError(f"{file} is empty; its recorder wrote nothing")
    if len(start) < len(MAGIC) and MAGIC.startswith(start):
        raise DamageError(f"it ends after {len(start)} bytes")
    if not start.startswith(MAGIC):
        reason = next((text for magic, text in _OTHER_KINDS.items() if start.startswith(magic)), "not an MCAP file")
        raise DataError(f"{file} is {reason}")
    stream.seek(len(MAGIC))


def _records(stream: BinaryIO) -> Iterator[McapRecord]:
    data_crc, summary_crc = zlib.crc32(MAGIC), 0
    data_fault = ""
    for frame in _frames(stream):
        record = _parsed(frame)
        if isinstance(record, DataEnd):
            if record.data_section_crc not in (0, data_crc):
                data_fault = "messages were changed, cut out or put in: the checksum of all of them does not fit"
        elif isinstance(record, Footer):
            # The summary's checksum covers the footer up to itself.
            summary_crc = zlib.crc32(frame.head + frame.content[:16], summary_crc)
            if record.summary_crc not in (0, summary_crc):
                raise DamageError("the checksum of its summary does not fit")
            if stream.read(len(MAGIC) + 1) != MAGIC:
                raise DamageError("it does not end as an MCAP file does")
            if data_fault:
                raise DamageError(data_fault)
            return
        else:
            data_crc = zlib.crc32(frame.head + frame.content, data_crc)
            summary_crc = zlib.crc32(frame.head + frame.content, summary_crc)
        if isinstance(record, DataEnd):
            summary_crc = 0
        elif isinstance(record, Chunk):
            yield from _unpacked(record, frame.offset)
        elif record is not None:
            yield record
    raise DamageError("it has no end: its recorder was killed, or the file was cut off")


def _frames(stream: BinaryIO) -> Iterator[_Frame]:
    while True:
        offset = stream.tell()
        head = stream.read(_HEAD.size)
        if not head:
            return
        if len(head) < _HEAD.size:
            raise DamageError(f"it ends in the middle of a record, at byte {offset}")
        opcode, length = _HEAD.unpack(head)
        if length > _MAX_BYTES:
            raise DamageError(
                f"a record at byte {offset} says it has {length} bytes; no more than {_MAX_BYTES} are read"
            )
        content = stream.read(length)
        if len(content) < length:
            raise DamageError(f"it ends in the middle of a record, at byte {offset}")
        yield _Frame(offset, opcode, head, content)


def _parsed(frame: _Frame) -> McapRecord | None:
    stream = ReadDataStream(BytesIO(frame.content))
    try:
        if frame.opcode == Opcode.MESSAGE:
            return Message.read(stream, len(frame.content))
        kind = _KINDS.get(frame.opcode)
        return None if kind is None else kind.read(stream)
    except _UNREADABLE as cause:
        raise DamageError(f"the record at byte {frame.offset} cannot be read: {cause}") from cause


def _unpacked(chunk: Chunk, offset: int) -> list[McapRecord]:
    """Decompress and parse the records of a chunk."""
    place = f"the chunk at byte {offset}"
    if chunk.uncompressed_size > _MAX_BYTES:
        raise DamageError(f"{place} says it has {chunk.uncompressed_size} bytes; no more than {_MAX_BYTES} are read")
    try:
        data = _decompressed(chunk)
    except _UNREADABLE as cause:
        raise DamageError(f"{place} cannot be unpacked: {cause}") from cause
    if len(data) != chunk.uncompressed_size:
        raise DamageError(f"{place} has not the size it says it has")
    if chunk.uncompressed_crc not in (0, zlib.crc32(data)):
        raise DamageError(f"the checksum of {place} does not fit")
    try:
        records = [_parsed(frame) for frame in _frames(BytesIO(data))]
    except DamageError as damage:
        raise DamageError(f"{place}: {damage}") from damage
    return [record for record in records if record is not None]


def _decompressed(chunk: Chunk) -> bytes:
    """Decompress a chunk, at most to its stated size."""
    if not chunk.uncompressed_size or not chunk.compression:
        return bytes(chunk.data)
    if chunk.compression == "zstd":
        # The decoder would trust the size stated in the frame.
        if zstandard.frame_content_size(chunk.data) not in (-1, chunk.uncompressed_size):
            raise ValueError("it has not the size it says it has")
        return zstandard.ZstdDecompressor().decompress(chunk.data, max_output_size=chunk.uncompressed_size)
    if chunk.compression == "lz4":
        return bytes(lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=chunk.uncompressed_size + 1))
    raise ValueError(f"compression {chunk.compression!r} is not known")
