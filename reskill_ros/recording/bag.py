"""Bags of serialised messages as MCAP files in the folder layout of rosbag2.

Messages are written in small chunks: each full chunk is passed to the operating system, and the file is synchronised to
disk once a second, so that a killed recorder loses a few kilobytes and a power failure the last second. The reader also
reads files that were never closed. All message definitions are embedded, so that any MCAP tool can read a bag.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from mcap.records import Channel, Header, Message, Schema, Statistics
from mcap.writer import CompressionType, Writer

from reskill_core.config import read_yaml
from reskill_core.errors import ConfigError, DataError
from reskill_core.files import atomic_write_bytes, fsync
from reskill_ros.plumbing.interfaces import message_definition
from reskill_ros.recording.mcap_records import DamageError, read_records

# Chunks of a megabyte would hold seconds of a robot's messages.
CHUNK_BYTES = 4096
SYNC_PERIOD_S = 1.0
# Marks bags whose messages are numbered by topic.
_LIBRARY = "reskill_ros"
_METADATA = "metadata.yaml"
_CONVERT = (
    "convert it with `ros2 bag convert -i <bag> -o options.yaml`, where options.yaml says "
    "`output_bags: [{uri: <new bag>, storage_id: mcap, all_topics: true}]`"
)


@dataclass
class _Topic:
    type_name: str
    schema: int
    channel: int = 0
    count: int = 0


class BagWriter:
    """Writer of one bag: a folder with an MCAP file and, after closing, rosbag2's ``metadata.yaml``.

    Raises:
        DataError: the folder exists and is not empty, because bags are never appended to.
    """

    def __init__(self, folder: Path, chunk_bytes: int = CHUNK_BYTES, sync_period_s: float = SYNC_PERIOD_S) -> None:
        self.folder = folder
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(f"bag {folder} exists already; choose another path or remove it")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise DataError(f"bag {folder} cannot be written: {cause.strerror}") from cause
        self._path = folder / f"{folder.name}_0.mcap"
        try:
            # Exclusive creation: of two writers that start together, only one succeeds.
            self._stream = self._path.open("xb")
        except FileExistsError:
            raise DataError(f"bag {folder} is being written by somebody else; choose another path") from None
        except OSError as cause:
            raise DataError(f"bag {folder} cannot be written: {cause.strerror}") from cause
        self._writer = Writer(
            self._stream, chunk_size=chunk_bytes, compression=CompressionType.ZSTD, enable_data_crcs=True
        )
        self._writer.start(profile="ros2", library=_LIBRARY)
        self._stream.flush()
        fsync(folder)
        self._sync_period_s = sync_period_s
        self._last_sync_s = time.monotonic()
        self._topics: dict[str, _Topic] = {}
        self._time_range_ns: tuple[int, int] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Number of written messages, by topic."""
        return {name: topic.count for name, topic in self._topics.items()}

    @property
    def message_count(self) -> int:
        """Number of written messages."""
        return sum(self.counts.values())

    def add_topic(self, name: str, type_name: str) -> None:
        """Declare a topic, which the bag lists once it has a message; repeated calls have no effect.

        Raises:
            GraphError: the definition of its type is not installed.
        """
        if name in self._topics:
            return
        schema = self._writer.register_schema(type_name, "ros2msg", message_definition(type_name).encode())
        self._topics[name] = _Topic(type_name, schema)

    def write(self, topic: str, data: bytes, time_ns: int) -> None:
        """Append one serialised message of a declared topic, received at ``time_ns`` [ns, ROS time]."""
        entry = self._topics[topic]
        if not entry.count:
            entry.channel = self._writer.register_channel(topic, "cdr", entry.schema)
        self._writer.add_message(entry.channel, time_ns, data, publish_time=time_ns, sequence=entry.count)
        entry.count += 1
        first, last = self._time_range_ns or (time_ns, time_ns)
        self._time_range_ns = min(first, time_ns), max(last, time_ns)
        self._stream.flush()
        if time.monotonic() - self._last_sync_s >= self._sync_period_s:
            os.fsync(self._stream.fileno())
            self._last_sync_s = time.monotonic()

    def close(self) -> None:
        """Write the index and ``metadata.yaml``; repeated calls have no effect."""
        if self._stream.closed:
            return
        self._writer.finish()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        document = {"rosbag2_bagfile_information": self._metadata()}
        atomic_write_bytes(self.folder / _METADATA, yaml.safe_dump(document, sort_keys=False).encode())

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
            if topic.count
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
class BagChannel:
    """Channel of a bag: topic, message type, encoding, and definition of the type as text."""

    topic: str
    type_name: str
    encoding: str
    definition: str


@dataclass(frozen=True)
class BagMessage:
    """Serialised message of a bag, received at ``time_ns`` [ns]."""

    channel: BagChannel
    time_ns: int
    data: bytes

    @property
    def topic(self) -> str:
        """Topic on which it was published."""
        return self.channel.topic

    @property
    def type_name(self) -> str:
        """Type of the message."""
        return self.channel.type_name


@dataclass
class BagReader:
    """Reader of the bags of :class:`BagWriter` and of rosbag2's MCAP bags, in the order of writing.

    Attributes:
        path: folder of the bag, or one MCAP file.
        faults: reasons why written messages could not be read, each with the file; complete after iterating over all
            messages.
    """

    path: Path
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.files = _bag_files(self.path)
        self._metadata = _read_metadata(self.path / _METADATA)

    def messages(self, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
        """Iterate over all messages, or those of some topics; only missing messages of these are reported.

        Raises:
            DataError: a file is not MCAP.
        """
        self.faults = self._metadata.missing_files(self.files)
        read: Counter[str] = Counter()
        for file in self.files:
            for message in self._file_messages(file, topics):
                read[message.topic] += 1
                yield message
        for topic, count in self._metadata.message_counts.items():
            if read[topic] < count and (topics is None or topic in topics):
                self.faults.append(f"{self.path}: {count} messages of {topic} were written, {read[topic]} can be read")

    def channels(self) -> set[BagChannel]:
        """Return the channels that have messages."""
        return {message.channel for message in self.messages()}

    def _file_messages(self, file: Path, topics: Collection[str] | None) -> Iterator[BagMessage]:
        schemas: dict[int, Schema] = {}
        channels: dict[int, BagChannel] = {}
        read: Counter[int] = Counter()
        skipped: Counter[str] = Counter()
        is_ours = False

        def is_wanted(channel: BagChannel) -> bool:
            return topics is None or channel.topic in topics

        try:
            for record in read_records(file):
                if isinstance(record, Header):
                    is_ours = record.library.startswith(_LIBRARY)
                elif isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    channels[record.id] = _channel(record, schemas)
                elif isinstance(record, Statistics):
                    wanted = {number: channel.topic for number, channel in channels.items() if is_wanted(channel)}
                    self._compare_counts(file, record, wanted, read)
                elif isinstance(record, Message):
                    channel = channels.get(record.channel_id)
                    if channel is None:
                        raise DamageError(f"a message belongs to channel {record.channel_id}, which is not in the file")
                    if not is_wanted(channel):
                        continue
                    if is_ours and record.sequence > read[record.channel_id]:
                        skipped[channel.topic] += record.sequence - read[record.channel_id]
                        read[record.channel_id] = record.sequence
                    read[record.channel_id] += 1
                    yield BagMessage(channel, record.log_time, record.data)
        except DamageError as damage:
            self.faults.append(f"{file}: {damage}")
        for topic, count in skipped.items():
            self.faults.append(f"{file}: {count} messages of {topic} are missing between others")

    def _compare_counts(self, file: Path, statistics: Statistics, topics: dict[int, str], read: Counter[int]) -> None:
        for number, topic in topics.items():
            if read[number] != (count := statistics.channel_message_counts.get(number, 0)):
                self.faults.append(f"{file}: {count} messages of {topic} were written, {read[number]} are there")


def _channel(channel: Channel, schemas: dict[int, Schema]) -> BagChannel:
    schema = schemas.get(channel.schema_id)
    if schema is None:
        return BagChannel(channel.topic, "", channel.message_encoding, "")
    definition = schema.data.decode(errors="replace")
    return BagChannel(channel.topic, schema.name, channel.message_encoding, definition)


@dataclass(frozen=True)
class _Metadata:
    """Contents of ``metadata.yaml``: files, and number of messages by topic; empty without it."""

    files: tuple[str, ...] = ()
    message_counts: dict[str, int] = field(default_factory=dict)

    def missing_files(self, files: Sequence[Path]) -> list[str]:
        """Return a fault for each missing file."""
        present = {file.name for file in files}
        return [f"{name} is missing: metadata.yaml lists it" for name in self.files if name not in present]


def _read_metadata(path: Path) -> _Metadata:
    """Read the metadata that a recorder writes when it closes a bag.

    Raises:
        DataError: they are damaged, or the bag has a storage format that is not supported.
    """
    if not path.exists():
        return _Metadata()
    try:
        document = read_yaml(path)["rosbag2_bagfile_information"]
        storage, compression = document["storage_identifier"], document.get("compression_mode", "")
        files = tuple(Path(str(name)).name for name in document["relative_file_paths"])
        topics = document["topics_with_message_count"]
        counts = {str(item["topic_metadata"]["name"]): int(item["message_count"]) for item in topics}
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError) as cause:
        raise DataError(f"{path} is damaged: {cause}; take it away to read the bag's files without it") from cause
    if storage != "mcap":
        raise DataError(f"{path.parent} is a bag in storage {storage!r}; {_CONVERT}")
    if compression:
        raise DataError(f"{path.parent} is compressed (mode {compression}); {_CONVERT}")
    return _Metadata(files, counts)


def _bag_files(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"there is no bag at {path}")
    if not path.is_dir():
        return [path]
    # rosbag2 numbers the parts of a split bag without padding: bag_2 comes before bag_10.
    files = sorted(path.glob("*.mcap"), key=lambda file: [int(n) for n in re.findall(r"\d+", file.stem)[-1:]])
    if not files:
        found = ", ".join(sorted(file.name for file in path.iterdir())) or "nothing"
        raise DataError(
            f"{path} holds no MCAP file (found: {found}); a bag in another storage or compressed: {_CONVERT}"
        )
    return files
