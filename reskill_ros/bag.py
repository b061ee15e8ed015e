"""Bags of serialised messages as MCAP, in the folder layout of rosbag2, written so that a crash costs only the tail.

Messages go into small chunks that are handed to the operating system as soon as they are full, and to the disk once
a second: a killed recorder loses the last few kilobytes, a power cut the last second. The reader takes a file that
was never closed as far as it goes. Definitions of all message types are embedded, so that any MCAP tool opens a bag.
"""

from __future__ import annotations

import os
import re
import struct
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
import zstandard
from mcap.exceptions import InvalidMagic, McapError
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer

from reskill_core.errors import DataError
from reskill_core.files import atomic_write_bytes, fsync
from reskill_ros.interfaces import message_definition

# Chunks of a megabyte would keep seconds of a robot's messages in memory only.
CHUNK_BYTES = 4096
SYNC_PERIOD_S = 1.0
_RECORD_SIZE_LIMIT = 256 * 2**20
# What the MCAP library raises where a record or a chunk ends early.
_TORN = (McapError, ValueError, struct.error, zstandard.ZstdError, RuntimeError)


@dataclass
class _Topic:
    type_name: str
    channel: int
    count: int = 0


class BagWriter:
    """Writes one bag: a folder with an MCAP file and, once closed, rosbag2's ``metadata.yaml``.

    Raises:
        DataError: the folder exists and is not empty; bags are never appended to.
    """

    def __init__(self, folder: Path, chunk_bytes: int = CHUNK_BYTES, sync_period_s: float = SYNC_PERIOD_S) -> None:
        self.folder = folder
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(f"bag {folder} exists already; choose another path or remove it")
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{folder.name}_0.mcap"
        self._stream = self._path.open("wb")
        self._writer = Writer(self._stream, chunk_size=chunk_bytes, compression=CompressionType.ZSTD)
        self._writer.start(profile="ros2")
        self._stream.flush()
        fsync(folder)
        self._sync_period_s = sync_period_s
        self._last_sync_s = time.monotonic()
        self._topics: dict[str, _Topic] = {}
        self._time_range_ns: tuple[int, int] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Messages written so far, by topic."""
        return {name: topic.count for name, topic in self._topics.items()}

    @property
    def message_count(self) -> int:
        """Messages written so far."""
        return sum(self.counts.values())

    def add_topic(self, name: str, type_name: str) -> None:
        """Declare a topic before its first message; declaring it again changes nothing.

        Raises:
            GraphError: the definition of its type is not installed.
        """
        if name in self._topics:
            return
        schema = self._writer.register_schema(type_name, "ros2msg", message_definition(type_name).encode())
        self._topics[name] = _Topic(type_name, self._writer.register_channel(name, "cdr", schema))

    def write(self, topic: str, data: bytes, time_ns: int) -> None:
        """Append one serialised message of a declared topic, received at ``time_ns`` [ns, ROS time]."""
        entry = self._topics[topic]
        self._writer.add_message(entry.channel, time_ns, data, publish_time=time_ns, sequence=entry.count)
        entry.count += 1
        first, last = self._time_range_ns or (time_ns, time_ns)
        self._time_range_ns = min(first, time_ns), max(last, time_ns)
        self._stream.flush()
        if time.monotonic() - self._last_sync_s >= self._sync_period_s:
            os.fsync(self._stream.fileno())
            self._last_sync_s = time.monotonic()

    def close(self) -> None:
        """Write the index and ``metadata.yaml``; a second call changes nothing."""
        if self._stream.closed:
            return
        self._writer.finish()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        document = {"rosbag2_bagfile_information": self._metadata()}
        atomic_write_bytes(self.folder / "metadata.yaml", yaml.safe_dump(document, sort_keys=False).encode())

    def _metadata(self) -> dict[str, Any]:
        first, last = self._time_range_ns or (0, 0)
        timing = {
            "duration": {"nanoseconds": last - first},
            "starting_time": {"nanoseconds_since_epoch": first},
            "message_count": self.message_count,
        }
        topics = [
            {
                "topic_metadata": {
                    "name": name,
                    "type": topic.type_name,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": "",
                },
                "message_count": topic.count,
            }
            for name, topic in self._topics.items()
        ]
        return {
            "version": 5,
            "storage_identifier": "mcap",
            **timing,
            "topics_with_message_count": topics,
            "compression_format": "",
            "compression_mode": "",
            "relative_file_paths": [self._path.name],
            "files": [{"path": self._path.name, **timing}],
        }


@dataclass(frozen=True)
class BagMessage:
    """One serialised message of a bag, received at ``time_ns`` [ns]."""

    topic: str
    type_name: str
    time_ns: int
    data: bytes


@dataclass
class BagReader:
    """Reads the bags of :class:`BagWriter` and MCAP bags of rosbag2, in the order in which they were written.

    Attributes:
        path: the bag's folder, or one MCAP file.
        torn: files whose end could not be read, known once they have been iterated over.
    """

    path: Path
    torn: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.files = _bag_files(self.path)

    def messages(self, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
        """All messages, or those of some topics.

        Raises:
            DataError: a file is not MCAP.
        """
        for file in self.files:
            yield from self._file_messages(file, topics)

    def topic_types(self) -> dict[str, str]:
        """Type of every topic that has messages."""
        return {message.topic: message.type_name for message in self.messages()}

    def _file_messages(self, file: Path, topics: Collection[str] | None) -> Iterator[BagMessage]:
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        with file.open("rb") as stream:
            records = StreamReader(stream, validate_crcs=True, record_size_limit=_RECORD_SIZE_LIMIT).records
            while True:
                try:
                    record = next(records, None)
                except InvalidMagic as error:
                    raise DataError(f"{file} is not an MCAP file") from error
                except _TORN:
                    self.torn.append(file)
                    return
                if record is None:
                    return
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    channels[record.id] = record
                elif isinstance(record, Message):
                    channel = channels[record.channel_id]
                    if topics is None or channel.topic in topics:
                        type_name = schemas[channel.schema_id].name
                        yield BagMessage(channel.topic, type_name, record.log_time, record.data)


def _bag_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"there is no bag at {path}")
    # rosbag2 numbers the parts of a split bag without padding: bag_2 comes before bag_10.
    files = sorted(path.glob("*.mcap"), key=lambda file: [int(n) for n in re.findall(r"\d+", file.stem)[-1:]])
    if not files:
        found = ", ".join(sorted(file.name for file in path.iterdir())) or "nothing"
        raise DataError(
            f"{path} holds no MCAP file (found: {found}); other storages are converted by "
            "`ros2 bag convert`, compressed bags by decompressing them"
        )
    return files
